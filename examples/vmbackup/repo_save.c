/* SPDX-License-Identifier: Apache-2.0 */
/* vmbackup repo backup. */
#include "repo_cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "repo_scan.h"

const struct cli_option cli_repo_backup_options[] = {
    {"disk", 0, CLI_LIST, "PATH", "save a block device or disk image as a disk; may be repeated"},
    {"disk-images", 0, CLI_LIST, "GLOB",
     "cut files with such names into fixed chunks, as disks are"},
    {"chunk-size", 0, CLI_STRING, "SIZE", "of disks: 64K to 8M; default 4M"},
    {"tag", 0, CLI_LIST, "TAG[,TAG]", "tags of the snapshot"},
    {"host", 'H', CLI_STRING, "NAME", "host of the snapshot; default this machine's name"},
    {"exclude", 'e', CLI_LIST, "PATTERN", "leave out what matches, as restic does"},
    {"iexclude", 0, CLI_LIST, "PATTERN", "the same without regard to case"},
    {"exclude-file", 0, CLI_LIST, "FILE", "a file with such patterns"},
    {"exclude-caches", 0, CLI_BOOL, NULL, "leave out folders that a CACHEDIR.TAG marks"},
    {"exclude-if-present", 0, CLI_LIST, "NAME[:HEADER]", "leave out folders that hold such a file"},
    {"exclude-larger-than", 0, CLI_STRING, "SIZE", "leave out larger files, such as 10M"},
    {"one-file-system", 'x', CLI_BOOL, NULL, "stay on the file systems of the paths"},
    {"parent", 0, CLI_STRING, "SNAPSHOT",
     "compare with this one; default the latest of the same paths and host"},
    {"force", 'f', CLI_BOOL, NULL, "read everything anew"},
    {"dry-run", 'n', CLI_BOOL, NULL, "read and count, store nothing"},
    {"time", 0, CLI_STRING, "TIME", "of the snapshot, such as \"2026-05-20 08:00:22\""},
    {"readers", 0, CLI_STRING, "N", "threads that read and seal; default 2"},
    {NULL, 0, CLI_BOOL, NULL, NULL}};

/* Absolute and without "." and "..", as the path is written: links are not followed. */
static char *clean_path(const char *path)
{
    char *cwd = path[0] == '/' ? NULL : getcwd(NULL, 0);
    char *full = NULL;
    char *out = NULL;
    char *rest;
    char *part;
    size_t len = 0;

    if ((path[0] != '/' && !cwd) || asprintf(&full, "%s/%s", cwd ? cwd : "", path) < 0) {
        free(cwd);
        return NULL;
    }
    free(cwd);
    out = calloc(1, strlen(full) + 2);
    rest = full;
    while (out && (part = strsep(&rest, "/")) != NULL) {
        if (!strcmp(part, "..")) {
            while (len > 0 && out[--len] != '/') {
            }
        } else if (*part && strcmp(part, ".") != 0) {
            out[len++] = '/';
            memcpy(out + len, part, strlen(part));
            len += strlen(part);
        }
        out[len] = '\0';
    }
    if (out && len == 0) {
        memcpy(out, "/", 2);
    }
    free(full);
    return out;
}

/* The tags of "a,b" one by one. */
static void add_tags(const struct cli_args *args, json_t *options)
{
    json_t *list = json_array();

    for (size_t i = 0; i < args->given_count; i++) {
        const char *at = args->given[i].value;

        while (!strcmp(args->given[i].option->name, "tag") && *at) {
            size_t len = strcspn(at, ",");

            if (len > 0) {
                char *tag = strndup(at, len);

                json_array_append_new(list, tag ? repo_text("tag", tag) : NULL);
                free(tag);
            }
            at += len + (at[len] ? 1 : 0);
        }
    }
    json_object_set_new(options, "tags", list);
}

/* Patterns of --exclude-file: one a line, # begins a comment. */
static int add_exclude_files(const struct cli_args *args, json_t *options)
{
    json_t *list = json_object_get(options, "excludes");

    for (size_t i = 0; i < args->given_count; i++) {
        char *text = NULL;
        char *rest;
        char *line;
        size_t len;

        if (strcmp(args->given[i].option->name, "exclude-file") != 0) {
            continue;
        }
        if (cli_read_file(args->given[i].value, &text, &len) != CLI_OK) {
            return CLI_FAILED;
        }
        if (!list) {
            list = json_array();
            json_object_set_new(options, "excludes", list);
        }
        rest = text;
        while ((line = strsep(&rest, "\n")) != NULL) {
            line += strspn(line, " \t\r");
            line[strcspn(line, "\r")] = '\0';
            for (len = strlen(line); len > 0 && strchr(" \t", line[len - 1]); len--) {
                line[len - 1] = '\0'; /* blanks at the end are no part of it, as with restic */
            }
            if (*line && *line != '#') {
                json_array_append_new(list, repo_text("exclude-file", line));
            }
        }
        free(text);
    }
    return CLI_OK;
}

/* What files and disks have in common. */
static json_t *common_options(const struct cli_args *args)
{
    json_t *o = json_object();

    add_tags(args, o);
    repo_add_string(args, "host", o, "host");
    repo_add_string(args, "parent", o, "parent");
    repo_add_flag(args, "force", o, "force");
    if (!repo_add_time(args, "time", o, "time") ||
        !repo_add_number(args, "readers", o, "readers") ||
        !repo_add_size(args, "chunk-size", o, "chunkSize")) {
        json_decref(o);
        return NULL;
    }
    return o;
}

static void print_summary(const struct repo_session *s, const json_t *v, bool disk)
{
    double processed = (double)cli_number(v, "total_bytes_processed", NULL);
    double stored = (double)cli_number(v, "data_added_packed", NULL);
    char a[32];
    char b[32];
    char t[32];

    if (s->json) {
        repo_print_line(v);
        return;
    }
    if (s->quiet) {
        return;
    }
    if (disk) {
        repo_bytes((double)cli_number(v, "bytesRead", NULL), a, sizeof(a));
        repo_bytes((double)cli_number(v, "bytesZero", NULL), b, sizeof(b));
        repo_bytes((double)cli_number(v, "bytesUnchanged", NULL), t, sizeof(t));
        printf("\nDisk:  %s read, %s zeros, %s unchanged\n", a, b, t);
    } else {
        printf("\nFiles:       %5lld new, %5lld changed, %5lld unmodified\n"
               "Dirs:        %5lld new, %5lld changed, %5lld unmodified\n",
               cli_number(v, "files_new", NULL), cli_number(v, "files_changed", NULL),
               cli_number(v, "files_unmodified", NULL), cli_number(v, "dirs_new", NULL),
               cli_number(v, "dirs_changed", NULL), cli_number(v, "dirs_unmodified", NULL));
    }
    repo_bytes((double)cli_number(v, "data_added", NULL), a, sizeof(a));
    repo_bytes(stored, b, sizeof(b));
    if (json_is_true(json_object_get(v, "dry_run"))) {
        printf("Would add to the repository: %s\n", a);
    } else {
        printf("Added to the repository: %s (%s stored)\n", a, b);
    }
    repo_bytes(processed, a, sizeof(a));
    repo_duration(json_real_value(json_object_get(v, "total_duration")), t, sizeof(t));
    printf("\nprocessed %lld files, %s in %s", cli_number(v, "total_files_processed", NULL), a, t);
    if (stored > 0) {
        printf(" (%.1f:1)", processed / stored);
    }
    printf("\n");
    if (*cli_text(v, "snapshot_id", NULL)) {
        printf("snapshot %.8s saved\n", cli_text(v, "snapshot_id", NULL));
    }
}

static int finish(struct repo_session *s, json_t *summary, bool disk, int result)
{
    if (!summary) {
        return result;
    }
    print_summary(s, summary, disk);
    if (cli_number(summary, "warnings", NULL) > 0) {
        if (!s->json) { /* there each of them was a line */
            fprintf(stderr, "warning: some of the source could not be read\n");
        }
        result = CLI_PARTIAL;
    }
    json_decref(summary);
    return result;
}

static int save_files(struct repo_session *s, char **paths)
{
    const struct cli_args *args = s->args;
    json_t *o = common_options(args);
    json_t *list = json_array();
    json_t *summary;
    int result = CLI_OK;
    bool all;

    for (size_t i = 0; paths[i]; i++) {
        json_t *path = json_string(paths[i]);

        if (!path) {
            cli_error("%s: the path is no UTF-8: save the folder above it", paths[i]);
            result = CLI_USAGE;
        }
        json_array_append_new(list, path);
    }
    if (!o || result != CLI_OK) {
        json_decref(o);
        json_decref(list);
        return CLI_USAGE;
    }
    json_object_set_new(o, "paths", list);
    repo_add_list(args, "exclude", o, "excludes");
    repo_add_list(args, "iexclude", o, "iexcludes");
    repo_add_list(args, "exclude-if-present", o, "excludeIfPresent");
    repo_add_list(args, "disk-images", o, "diskImages");
    repo_add_flag(args, "exclude-caches", o, "excludeCaches");
    repo_add_flag(args, "one-file-system", o, "oneFileSystem");
    repo_add_flag(args, "dry-run", o, "dryRun");
    if (!repo_add_size(args, "exclude-larger-than", o, "excludeLargerThan") ||
        add_exclude_files(args, o) != CLI_OK) {
        json_decref(o);
        return CLI_USAGE;
    }
    /* with excludes a count of everything says little */
    all = !json_object_get(o, "excludes") && !json_object_get(o, "iexcludes") &&
          !json_object_get(o, "excludeLargerThan");
    repo_progress_init(&s->progress, "saved", s->quiet, s->json);
    if (all && !s->quiet) {
        s->progress.scan_total = repo_scan_total;
        repo_scan_start(paths, cli_flag(args, "one-file-system"));
    }
    summary = repo_call(s, vmb_repo_backup, o, "backup", &result);
    repo_scan_end();
    return finish(s, summary, false, result);
}

static const vmb_blocks_provider *source_disk; /* of save_disk, for the call below */

static vmb_code backup_disk(vmb_repo *repo, const char *options, size_t len, char **out,
                            size_t *out_len, vmb_error **err)
{
    return vmb_repo_backup_disk(repo, source_disk, options, len, out, out_len, err);
}

static int save_disk(struct repo_session *s, const char *path)
{
    vmb_blocks_provider blocks = {.struct_size = sizeof(blocks)};
    json_t *o = common_options(s->args);
    char *slash = strrchr(path, '/');
    char *folder;
    vmb_error *err = NULL;
    json_t *summary;
    int result;

    if (!o || !slash) { /* a clean path has a slash */
        json_decref(o);
        return CLI_USAGE;
    }
    json_object_set_new(o, "name", repo_text("disk", slash[1] ? slash + 1 : "disk.img"));
    folder = slash == path ? strdup("/") : strndup(path, (size_t)(slash - path));
    json_object_set_new(o, "path", folder ? repo_text("disk", folder) : NULL);
    free(folder);
    if (vmb_blocks_open_file(path, 0, &blocks, &err) != VMB_OK) {
        json_decref(o);
        return repo_fail(s, path, err);
    }
    source_disk = &blocks;
    repo_progress_init(&s->progress, "saved", s->quiet, s->json);
    summary = repo_call(s, backup_disk, o, path, &result);
    blocks.destroy(blocks.user);
    return finish(s, summary, true, result);
}

static bool is_device(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISBLK(st.st_mode);
}

/* All names and --disk values, cleaned; NULL-terminated. *disks: how many of them are disks; they
 * are all or none. */
static char **collect(const struct cli_args *args, size_t *disks)
{
    char **out = calloc(args->name_count + args->given_count + 1, sizeof(*out));
    size_t count = 0;
    size_t files = 0;

    *disks = 0;
    for (size_t i = 0; out && i < args->name_count + args->given_count; i++) {
        bool named = i < args->name_count;
        size_t at = named ? i : i - args->name_count;
        const char *path = named ? args->names[at] : args->given[at].value;

        if (!named && strcmp(args->given[at].option->name, "disk") != 0) {
            continue;
        }
        *disks += !named || is_device(path) ? 1 : 0;
        files += named && !is_device(path) ? 1 : 0;
        out[count] = clean_path(path);
        count += out[count] ? 1 : 0;
    }
    if (*disks > 0 && files > 0) {
        cli_error("a snapshot holds either files or a disk: save them by two commands");
    } else if (count == 0) {
        cli_error("nothing to save is named: vmbackup repo backup PATH…, or --disk PATH");
    } else {
        return out;
    }
    for (size_t i = 0; i < count; i++) {
        free(out[i]);
    }
    free(out);
    return NULL;
}

int cli_repo_backup(struct cli_args *args)
{
    struct repo_session s;
    size_t disks;
    char **paths = collect(args, &disks);
    int result;

    if (!paths) {
        return CLI_USAGE;
    }
    if (disks > 0 && cli_flag(args, "dry-run")) {
        cli_error("--dry-run is for files: a disk has to be read to know what it adds");
        result = CLI_USAGE;
    } else {
        result = repo_open(&s, args);
        if (result == CLI_OK && disks == 0) {
            result = save_files(&s, paths);
            repo_close(&s);
        } else if (result == CLI_OK) {
            for (size_t i = 0; paths[i] && result == CLI_OK; i++) {
                result = save_disk(&s, paths[i]);
            }
            repo_close(&s);
        }
    }
    for (size_t i = 0; paths[i]; i++) {
        free(paths[i]);
    }
    free(paths);
    return result;
}
