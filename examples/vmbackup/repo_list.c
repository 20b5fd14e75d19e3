/* SPDX-License-Identifier: Apache-2.0 */
/* vmbackup repo snapshots, ls, find and stats. */
#include "repo_cli.h"

#include <stdlib.h>
#include <string.h>

#define FILTERS                                                                                    \
    {"host", 'H', CLI_LIST, "NAME", "snapshots of this host; may be repeated"},                    \
        {"tag", 0, CLI_LIST, "TAG[,TAG]", "snapshots with all of these tags; may be repeated"},    \
    {                                                                                              \
        "path", 0, CLI_LIST, "PATH", "snapshots of this path; may be repeated"                     \
    }

/* ---- snapshots ------------------------------------------------------------------------------- */

const struct cli_option cli_repo_snapshots_options[] = {
    FILTERS,
    {"latest", 0, CLI_STRING, "N", "only the latest N of each host and set of paths"},
    {NULL, 0, CLI_BOOL, NULL, NULL}};

int cli_repo_snapshots(struct cli_args *args)
{
    struct repo_session s;
    json_t *o;
    json_t *list;
    int result = repo_open(&s, args);

    if (result != CLI_OK) {
        return result;
    }
    o = json_object();
    repo_add_ids(args, 0, o);
    repo_add_filters(args, o);
    if (!repo_add_number(args, "latest", o, "latest")) {
        json_decref(o);
        repo_close(&s);
        return CLI_USAGE;
    }
    repo_progress_init(&s.progress, NULL, s.quiet, s.json);
    list = repo_call(&s, vmb_repo_snapshots_json, o, "snapshots", &result);
    if (list && s.json) {
        repo_print_line(list);
    } else if (list) {
        cli_plain(list);
        repo_print_snapshots(list, NULL);
    }
    json_decref(list);
    repo_close(&s);
    return result;
}

/* ---- ls -------------------------------------------------------------------------------------- */

const struct cli_option cli_repo_ls_options[] = {
    {"long", 'l', CLI_BOOL, NULL, "with permissions, owner, size and time"},
    {"recursive", 0, CLI_BOOL, NULL, "with PATH: also what lies below its folders"},
    FILTERS,
    {NULL, 0, CLI_BOOL, NULL, NULL}};

struct listing {
    bool json;
    bool details;
};

static vmb_code print_entry(void *user, const char *json, size_t len)
{
    const struct listing *l = user;
    json_t *entry;
    char when[32];

    if (l->json) {
        return fwrite(json, 1, len, stdout) == len && fputc('\n', stdout) != EOF ? VMB_OK
                                                                                 : VMB_E_IO;
    }
    entry = json_loadb(json, len, 0, NULL);
    if (!entry) {
        return VMB_E_NOMEM;
    }
    cli_plain(entry);
    if (l->details) {
        repo_time(cli_text(entry, "mtime", NULL), when, sizeof(when));
        printf("%s %5lld %5lld %6lld %s ", cli_text(entry, "permissions", NULL),
               cli_number(entry, "uid", NULL), cli_number(entry, "gid", NULL),
               cli_number(entry, "size", NULL), when);
    }
    printf("%s\n", cli_text(entry, "path", NULL));
    json_decref(entry);
    return ferror(stdout) ? VMB_E_IO : VMB_OK;
}

/* The snapshot itself, before its entries. */
static int print_head(struct repo_session *s, const char *id, json_t *filters, char *full,
                      size_t size)
{
    json_t *list;
    json_t *o = json_copy(filters);
    int result;

    json_object_set_new(o, "snapshots", json_pack("[o]", repo_text("snapshot", id)));
    list = repo_call(s, vmb_repo_snapshots_json, o, id, &result);
    if (list) {
        json_t *snapshot = json_array_get(list, 0);
        char when[32];

        snprintf(full, size, "%s", cli_text(snapshot, "id", NULL));
        if (s->json) {
            json_object_set_new(snapshot, "struct_type", json_string("snapshot"));
            repo_print_line(snapshot);
        } else {
            char *paths;

            cli_plain(snapshot);
            paths = cli_join(json_object_get(snapshot, "paths"), " ", "");
            repo_time(cli_text(snapshot, "time", NULL), when, sizeof(when));
            printf("snapshot %.8s of [%s] at %s:\n", full, paths ? paths : "", when);
            free(paths);
        }
    }
    json_decref(list);
    return result;
}

int cli_repo_ls(struct cli_args *args)
{
    struct repo_session s;
    struct listing l;
    json_t *filters;
    char full[80] = "";
    int result;

    if (args->name_count == 0) {
        cli_error("no snapshot is named: vmbackup repo ls SNAPSHOT|latest");
        return CLI_USAGE;
    }
    result = repo_open(&s, args);
    if (result != CLI_OK) {
        return result;
    }
    l = (struct listing){s.json, cli_flag(args, "long")};
    filters = json_object();
    repo_add_filters(args, filters);
    repo_progress_init(&s.progress, NULL, s.quiet, s.json);
    result = print_head(&s, args->names[0], filters, full, sizeof(full));
    json_decref(filters);
    for (size_t i = 1; result == CLI_OK && (i == 1 || i < args->name_count); i++) {
        const char *path = i < args->name_count ? args->names[i] : NULL;
        json_t *o = json_object();
        vmb_error *err = NULL;
        char *text;

        if (path) {
            json_object_set_new(o, "path", repo_text("path", path));
        }
        if (!path || cli_flag(args, "recursive")) {
            json_object_set_new(o, "recursive", json_true());
        }
        text = repo_options_text(o);
        if (!text) {
            result = CLI_USAGE;
        } else if (vmb_repo_ls(s.repo, full, text, strlen(text), print_entry, &l, &err) != VMB_OK) {
            result = repo_fail(&s, path ? path : full, err);
        }
        free(text);
    }
    repo_close(&s);
    return result;
}

/* ---- find ------------------------------------------------------------------------------------ */

const struct cli_option cli_repo_find_options[] = {
    {"ignore-case", 'i', CLI_BOOL, NULL, "without regard to case"},
    {"long", 'l', CLI_BOOL, NULL, "with permissions, owner, size and time"},
    {"snapshot", 's', CLI_LIST, "ID", "only in this snapshot; may be repeated"},
    {"oldest", 'O', CLI_STRING, "TIME", "changed at this time or later"},
    {"newest", 'N', CLI_STRING, "TIME", "changed at this time or earlier"},
    FILTERS,
    {NULL, 0, CLI_BOOL, NULL, NULL}};

struct finding {
    bool json;
    bool details;
    size_t snapshots; /* printed */
};

static vmb_code print_hits(void *user, const char *json, size_t len)
{
    struct finding *f = user;
    json_t *v;
    const json_t *hit;
    size_t index;
    char when[32];

    if (f->json) { /* one array, as restic prints it */
        printf("%s%.*s", f->snapshots++ ? "," : "[", (int)len, json);
        return ferror(stdout) ? VMB_E_IO : VMB_OK;
    }
    v = json_loadb(json, len, 0, NULL);
    if (!v) {
        return VMB_E_NOMEM;
    }
    cli_plain(v);
    printf("%sFound matching entries in snapshot %.8s\n", f->snapshots++ ? "\n" : "",
           cli_text(v, "snapshot", NULL));
    json_array_foreach(json_object_get(v, "matches"), index, hit)
    {
        if (f->details) {
            repo_time(cli_text(hit, "mtime", NULL), when, sizeof(when));
            printf("%s %5lld %5lld %6lld %s ", cli_text(hit, "permissions", NULL),
                   cli_number(hit, "uid", NULL), cli_number(hit, "gid", NULL),
                   cli_number(hit, "size", NULL), when);
        }
        printf("%s\n", cli_text(hit, "path", NULL));
    }
    json_decref(v);
    return ferror(stdout) ? VMB_E_IO : VMB_OK;
}

int cli_repo_find(struct cli_args *args)
{
    struct repo_session s;
    struct finding f = {0};
    json_t *o = json_object();
    json_t *patterns = json_array();
    vmb_error *err = NULL;
    char *text = NULL;
    int result;

    for (size_t i = 0; i < args->name_count; i++) {
        json_array_append_new(patterns, repo_text("pattern", args->names[i]));
    }
    json_object_set_new(o, "patterns", patterns);
    repo_add_flag(args, "ignore-case", o, "ignoreCase");
    repo_add_list(args, "snapshot", o, "snapshots");
    repo_add_filters(args, o);
    if (args->name_count == 0) {
        cli_error("no pattern is named: vmbackup repo find PATTERN…");
        json_decref(o);
        return CLI_USAGE;
    }
    if (!repo_add_time(args, "oldest", o, "oldest") ||
        !repo_add_time(args, "newest", o, "newest")) {
        json_decref(o);
        return CLI_USAGE;
    }
    text = repo_options_text(o);
    result = text ? repo_open(&s, args) : CLI_USAGE;
    if (result == CLI_OK) {
        f = (struct finding){s.json, cli_flag(args, "long"), 0};
        if (vmb_repo_find(s.repo, text, strlen(text), print_hits, &f, &err) != VMB_OK) {
            result = repo_fail(&s, "find", err);
        }
        if (s.json) {
            printf("%s\n", f.snapshots ? "]" : "[]");
        }
        repo_close(&s);
    }
    free(text);
    return result;
}

/* ---- stats ----------------------------------------------------------------------------------- */

const struct cli_option cli_repo_stats_options[] = {
    {"mode", 0, CLI_STRING, "MODE", "restore-size (default), raw-data or files-by-contents"},
    FILTERS,
    {NULL, 0, CLI_BOOL, NULL, NULL}};

static void print_stats(const json_t *v, const char *mode)
{
    double size = (double)cli_number(v, "total_size", NULL);
    double full = (double)cli_number(v, "total_uncompressed_size", NULL);
    char text[32];

    printf("Stats in %s mode:\n", mode ? mode : "restore-size");
    printf("     Snapshots processed:  %lld\n", cli_number(v, "snapshots_count", NULL));
    if (cli_number(v, "total_file_count", NULL) > 0) {
        printf("        Total File Count:  %lld\n", cli_number(v, "total_file_count", NULL));
    }
    if (cli_number(v, "total_blob_count", NULL) > 0) {
        printf("        Total Blob Count:  %lld\n", cli_number(v, "total_blob_count", NULL));
    }
    if (full > 0) {
        repo_bytes(full, text, sizeof(text));
        printf(" Total Uncompressed Size:  %s\n", text);
        printf("       Compression Ratio:  %.2fx\n", size > 0 ? full / size : 1);
    }
    repo_bytes(size, text, sizeof(text));
    printf("              Total Size:  %s\n", text);
}

int cli_repo_stats(struct cli_args *args)
{
    struct repo_session s;
    json_t *o;
    json_t *v;
    int result = repo_open(&s, args);

    if (result != CLI_OK) {
        return result;
    }
    o = json_object();
    repo_add_ids(args, 0, o);
    repo_add_filters(args, o);
    repo_add_string(args, "mode", o, "mode");
    repo_progress_init(&s.progress, NULL, s.quiet, s.json);
    v = repo_call(&s, vmb_repo_stats_json, o, "stats", &result);
    if (v && s.json) {
        repo_print_line(v);
    } else if (v) {
        print_stats(v, cli_value(args, "mode"));
    }
    json_decref(v);
    repo_close(&s);
    return result;
}
