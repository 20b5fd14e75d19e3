/* SPDX-License-Identifier: Apache-2.0 */
/* vmbackup repo restore and dump. */
#include "repo_cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const struct cli_option cli_repo_restore_options[] = {
    {"target", 't', CLI_STRING, "DIR", "folder to restore into; made when it is not there"},
    {"disk", 0, CLI_STRING, "FILE|DEVICE", "instead: write the disk in the snapshot here"},
    {"include", 'i', CLI_LIST, "PATTERN", "only what matches"},
    {"exclude", 'e', CLI_LIST, "PATTERN", "all but what matches"},
    {"overwrite", 0, CLI_STRING, "WHEN", "always, or never (default): what is there stays"},
    {"no-sparse", 0, CLI_BOOL, NULL, "write zeros instead of holes"},
    {"verify", 0, CLI_BOOL, NULL, "read back what was written and compare"},
    {"dry-run", 'n', CLI_BOOL, NULL, "write nothing"},
    {"host", 'H', CLI_LIST, "NAME", "for latest: of this host"},
    {"tag", 0, CLI_LIST, "TAG[,TAG]", "for latest: with these tags"},
    {"path", 0, CLI_LIST, "PATH", "for latest: of this path"},
    {NULL, 0, CLI_BOOL, NULL, NULL}};

/* What the calls below need beside their options. */
static const char *from_snapshot;
static const vmb_blocks_provider *target_disk;

static vmb_code restore_files(vmb_repo *repo, const char *options, size_t len, char **out,
                              size_t *out_len, vmb_error **err)
{
    return vmb_repo_restore(repo, from_snapshot, options, len, out, out_len, err);
}

static vmb_code restore_disk(vmb_repo *repo, const char *options, size_t len, char **out,
                             size_t *out_len, vmb_error **err)
{
    return vmb_repo_restore_disk(repo, from_snapshot, target_disk, options, len, out, out_len, err);
}

static int to_folder(struct repo_session *s, json_t *o)
{
    const struct cli_args *args = s->args;
    const char *target = cli_value(args, "target");
    char text[32];
    char took[32];
    json_t *v;
    int result;

    json_object_set_new(o, "target", repo_text("target", target));
    repo_add_list(args, "include", o, "includes");
    repo_add_list(args, "exclude", o, "excludes");
    repo_add_string(args, "overwrite", o, "overwrite");
    repo_add_flag(args, "dry-run", o, "dryRun");
    if (cli_flag(args, "no-sparse")) {
        json_object_set_new(o, "sparse", json_false());
    }
    if (mkdir(target, 0700) != 0 && errno != EEXIST) {
        cli_error("%s: %s", target, strerror(errno));
        json_decref(o);
        return CLI_FAILED;
    }
    v = repo_call(s, restore_files, o, args->names[0], &result);
    if (!v) {
        return result;
    }
    repo_bytes((double)cli_number(v, "bytes_restored", NULL), text, sizeof(text));
    repo_duration(json_real_value(json_object_get(v, "total_duration")), took, sizeof(took));
    if (s->json) {
        repo_print_line(v);
    } else if (!s->quiet) {
        printf("restored %lld files and %lld folders, %s, of snapshot %.8s to %s in %s\n",
               cli_number(v, "files_restored", NULL), cli_number(v, "dirs_restored", NULL), text,
               cli_text(v, "snapshot_id", NULL), target, took);
        if (cli_number(v, "files_skipped", NULL) > 0) {
            printf("%lld were there already and were left as they are: --overwrite always replaces "
                   "them\n",
                   cli_number(v, "files_skipped", NULL));
        }
    }
    if (cli_number(v, "warnings", NULL) > 0) {
        result = CLI_FAILED;
    }
    if (result != CLI_OK && !s->json) {
        cli_error("%lld problems: not everything is as it was", cli_number(v, "warnings", NULL));
    }
    json_decref(v);
    return result;
}

static int to_disk(struct repo_session *s, json_t *o)
{
    const char *path = cli_value(s->args, "disk");
    struct stat st;
    const bool fresh = lstat(path, &st) != 0 && errno == ENOENT;
    vmb_blocks_provider blocks = {.struct_size = sizeof(blocks)};
    vmb_error *err = NULL;
    char written[32];
    char zeros[32];
    json_t *v;
    int result;

    if (vmb_blocks_open_file(path, 1, &blocks, &err) != VMB_OK) {
        json_decref(o);
        return repo_fail(s, path, err);
    }
    target_disk = &blocks;
    v = repo_call(s, restore_disk, o, s->args->names[0], &result);
    blocks.destroy(blocks.user);
    if (!v) {
        if (fresh) {
            unlink(path); /* it has the disk's size, and looks whole */
        }
        return result;
    }
    repo_bytes((double)cli_number(v, "bytesWritten", NULL), written, sizeof(written));
    repo_bytes((double)cli_number(v, "bytesZero", NULL), zeros, sizeof(zeros));
    if (s->json) {
        repo_print_line(v);
    } else if (!s->quiet) {
        printf("restored the disk of snapshot %.8s to %s: %s written, %s zeros%s\n",
               cli_text(v, "snapshot_id", NULL), path, written, zeros,
               cli_flag(s->args, "verify") ? ", verified" : "");
    }
    json_decref(v);
    return result;
}

static int check_restore(const struct cli_args *args)
{
    bool disk = cli_value(args, "disk") != NULL;

    if (args->name_count == 0) {
        cli_error("no snapshot is named: vmbackup repo restore SNAPSHOT|latest --target DIR");
        return CLI_USAGE;
    }
    if (disk == (cli_value(args, "target") != NULL)) {
        cli_error("give either --target DIR for files, or --disk FILE|DEVICE for a disk");
        return CLI_USAGE;
    }
    if (disk && (cli_value(args, "include") || cli_value(args, "exclude") ||
                 cli_value(args, "overwrite") || cli_flag(args, "dry-run"))) {
        cli_error(
            "--include, --exclude, --overwrite and --dry-run are for files: a disk is written "
            "as a whole");
        return CLI_USAGE;
    }
    return CLI_OK;
}

int cli_repo_restore(struct cli_args *args)
{
    struct repo_session s;
    char *id = NULL;
    const char *path = NULL;
    json_t *o;
    int result = check_restore(args);

    if (result != CLI_OK) {
        return result;
    }
    if (!repo_split_snapshot(args->names[0], &id, &path)) {
        return CLI_FAILED;
    }
    result = repo_open(&s, args);
    if (result == CLI_OK) {
        o = json_object();
        from_snapshot = id;
        repo_add_filters(args, o);
        repo_add_flag(args, "verify", o, "verify");
        if (path) {
            json_object_set_new(o, "path", repo_text("path", path));
        }
        repo_progress_init(&s.progress, "restored", s.quiet, s.json);
        result = cli_value(args, "disk") ? to_disk(&s, o) : to_folder(&s, o);
        repo_close(&s);
    }
    free(id);
    return result;
}

/* ---- dump ------------------------------------------------------------------------------------ */

const struct cli_option cli_repo_dump_options[] = {
    {"target", 't', CLI_STRING, "FILE", "write to a file instead"},
    {NULL, 0, CLI_BOOL, NULL, NULL}};

static vmb_code write_out(void *user, const void *data, size_t len)
{
    return fwrite(data, 1, len, user) == len ? VMB_OK : VMB_E_IO;
}

int cli_repo_dump(struct cli_args *args)
{
    struct repo_session s;
    const char *target = cli_value(args, "target");
    vmb_error *err = NULL;
    char *id = NULL;
    const char *path = NULL;
    FILE *out = stdout;
    int result;

    if (args->name_count == 0 || !repo_split_snapshot(args->names[0], &id, &path)) {
        cli_error("no file is named: vmbackup repo dump SNAPSHOT|latest PATH");
        return CLI_USAGE;
    }
    path = args->name_count > 1 ? args->names[1] : path;
    if (!path) {
        cli_error("no file is named: vmbackup repo dump %s PATH", args->names[0]);
        free(id);
        return CLI_USAGE;
    }
    result = repo_open(&s, args);
    if (result == CLI_OK && target) {
        out = fopen(target, "wxe");
        if (!out) {
            cli_error("%s: %s", target, strerror(errno));
            result = CLI_FAILED;
        }
    }
    if (result == CLI_OK) {
        if (vmb_repo_dump(s.repo, id, path, write_out, out, &err) != VMB_OK) {
            result = repo_fail(&s, path, err);
        }
        if (target && fclose(out) != 0 && result == CLI_OK) {
            cli_error("%s: %s", target, strerror(errno));
            result = CLI_FAILED;
        }
        if (target && result != CLI_OK) {
            unlink(target); /* half a file helps nobody */
        }
    }
    repo_close(&s);
    free(id);
    return result;
}
