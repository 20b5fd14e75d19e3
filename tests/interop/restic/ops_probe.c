/* SPDX-License-Identifier: Apache-2.0 */
/* The hands of run_ops.py and run_kill_repo.py: operations with options from a JSON object.
 *   ops_probe VERB STORE PREFIX [OPTIONS]
 * STORE is a folder, or the JSON settings of an S3 store. The password is $RESTIC_PASSWORD. Prints
 * JSON; ends with 0, or 1 and "CODE: message" on stderr. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/job.h"
#include "codec/json.h"
#include "providers/builtin.h"
#include "repo/ops/copy.h"
#include "repo/ops/find.h"
#include "repo/ops/ls.h"
#include "repo/ops/policy.h"
#include "repo/ops/stats.h"
#include "repo/tree/backup.h"
#include "repo/tree/pattern.h"
#include "repo/tree/restore.h"

static vmb_error *error;
static vmb_job job;
static vmbi_json *options;

#define TRY(call)               \
    do {                        \
        vmb_code try_ = (call); \
        if (try_ != VMB_OK) {   \
            return try_;        \
        }                       \
    } while (0)

static void log_line(void *user, int32_t level, const char *msg)
{
    (void)user;
    fprintf(stderr, "log %d: %s\n", level, msg);
}

static void warn(void *user, const char *path, const char *text)
{
    (void)user;
    fprintf(stderr, "warning: %s: %s\n", path, text);
}

/* ---- options ----------------------------------------------------------------------------------- */

enum { MAX_STRINGS = 4096 };
static const char *strings[MAX_STRINGS];
static size_t n_strings;

/* A list of strings of the options; they live as long as the options. */
static const char *const *list(const char *key, size_t *n)
{
    const vmbi_json *v = vmbi_json_get(options, key);
    const char **first = &strings[n_strings];
    *n = vmbi_json_len(v);
    for (size_t i = 0; i < *n && n_strings < MAX_STRINGS; i++) {
        strings[n_strings++] = vmbi_json_str(vmbi_json_at(v, i));
    }
    return first;
}

static const char *text(const char *key)
{
    return vmbi_json_get_str(options, key);
}

static int64_t number(const char *key)
{
    return vmbi_json_int(vmbi_json_get(options, key), 0);
}

static bool flag(const char *key)
{
    return vmbi_json_bool(vmbi_json_get(options, key), false);
}

static vmbi_snapshot_filter filter(void)
{
    vmbi_snapshot_filter f = {0};
    f.ids = list("snapshots", &f.n_ids);
    f.hosts = list("host", &f.n_hosts);
    f.tags = list("tags", &f.n_tags);
    f.paths = list("paths", &f.n_paths);
    f.latest = (size_t)number("latest");
    return f;
}

static vmb_code print_json(vmbi_json *v)
{
    char *out = NULL;
    vmb_code rc = v != NULL ? vmbi_json_to_text(v, &out, NULL, &error) : vmbi_fail_nomem(&error);
    if (rc == VMB_OK) {
        printf("%s\n", out);
    }
    vmb_free(out);
    vmbi_json_free(v);
    return rc;
}

static vmb_code print_line(void *user, const char *json, size_t len, vmb_error **err)
{
    (void)user;
    (void)err;
    (void)fwrite(json, 1, len, stdout);
    putchar('\n');
    return VMB_OK;
}

/* ---- verbs ------------------------------------------------------------------------------------- */

static vmb_code run_backup(vmbi_repo *r)
{
    vmbi_tree_options o = {.parent = text("parent"), .hostname = "probe", .username = "root",
                           .warn = warn};
    vmbi_tree_stats s = {0};
    struct rusage use;
    char id[VMBI_REPO_HEX_SIZE] = "";
    o.paths = list("paths", &o.n_paths);
    o.tags = list("tags", &o.n_tags);
    o.excludes = list("excludes", &o.n_excludes);
    o.iexcludes = list("iexcludes", &o.n_iexcludes);
    o.exclude_if_present = list("excludeIfPresent", &o.n_exclude_if_present);
    o.disk_images = list("diskImages", &o.n_disk_images);
    o.exclude_caches = flag("excludeCaches");
    o.exclude_larger_than = (uint64_t)number("excludeLargerThan");
    o.one_file_system = flag("oneFileSystem");
    o.dry_run = flag("dryRun");
    o.threads = (size_t)number("readers");
    if (text("time") != NULL) {
        (void)vmbi_parse_rfc3339(text("time"), &o.time_unix_ns);
    }
    TRY(vmbi_tree_backup(r, &o, &job, id, &s, &error));
    (void)getrusage(RUSAGE_SELF, &use);
    vmbi_repo_stats rs;
    vmbi_repo_get_stats(r, &rs);
    printf("{\"snapshot\":\"%s\",\"files\":%" PRIu64 ",\"dirs\":%" PRIu64 ",\"others\":%" PRIu64
           ",\"unchanged\":%" PRIu64 ",\"new\":%" PRIu64 ",\"changed\":%" PRIu64
           ",\"dirs_new\":%" PRIu64 ",\"dirs_changed\":%" PRIu64 ",\"dirs_unchanged\":%" PRIu64
           ",\"bytes\":%" PRIu64 ",\"read\":%" PRIu64 ",\"zero\":%" PRIu64 ",\"warnings\":%" PRIu64
           ",\"excluded\":%" PRIu64 ",\"data_blobs\":%" PRIu64 ",\"tree_blobs\":%" PRIu64
           ",\"data_added\":%" PRIu64 ",\"maxrss_kib\":%ld,\"index_bytes\":%" PRIu64 "}\n",
           id, s.files, s.dirs, s.others, s.files_unchanged, s.files_new, s.files_changed,
           s.dirs_new, s.dirs_changed, s.dirs_unchanged, s.bytes, s.bytes_read, s.bytes_zero,
           s.warnings, s.excluded, s.data_blobs, s.tree_blobs, s.data_added, use.ru_maxrss,
           rs.index_memory_bytes);
    return VMB_OK;
}

static vmb_code run_restore(vmbi_repo *r)
{
    vmbi_restore_options o = {.snapshot = text("snapshot"), .path = text("path"),
                              .target = text("target"), .no_sparse = flag("noSparse"),
                              .verify = flag("verify"), .dry_run = flag("dryRun"), .warn = warn};
    vmbi_restore_stats s = {0};
    struct rusage use;
    const char *overwrite = text("overwrite");
    o.includes = list("includes", &o.n_includes);
    o.excludes = list("excludes", &o.n_excludes);
    o.overwrite = overwrite != NULL && strcmp(overwrite, "always") == 0 ? VMBI_OVERWRITE_ALWAYS
                                                                        : VMBI_OVERWRITE_NEVER;
    TRY(vmbi_tree_restore(r, &o, &job, &s, &error));
    (void)getrusage(RUSAGE_SELF, &use);
    printf("{\"files\":%" PRIu64 ",\"dirs\":%" PRIu64 ",\"others\":%" PRIu64 ",\"bytes\":%" PRIu64
           ",\"holes\":%" PRIu64 ",\"warnings\":%" PRIu64 ",\"skipped\":%" PRIu64
           ",\"verified\":%" PRIu64 ",\"excluded\":%" PRIu64 ",\"maxrss_kib\":%ld}\n",
           s.files, s.dirs, s.others, s.bytes, s.bytes_hole, s.warnings, s.files_skipped,
           s.files_verified, s.excluded, use.ru_maxrss);
    return VMB_OK;
}

static vmb_code run_snapshots(vmbi_repo *r)
{
    vmbi_snapshot_filter f = filter();
    vmbi_snapshot_set set = {0};
    TRY(vmbi_snapshots_load(r, &f, &set, &error));
    vmbi_json *out = vmbi_json_array();
    for (size_t i = 0; i < set.n; i++) {
        (void)vmbi_json_append(out, vmbi_snapshot_json(&set.v[i]));
    }
    vmbi_snapshots_free(&set);
    return print_json(out);
}

/* Saves the snapshots of the file that "from" names: an array. */
static vmb_code run_fake(vmbi_repo *r)
{
    vmbi_buf b = VMBI_BUF_INIT(64 << 20);
    vmbi_json *all = NULL;
    char block[65536];
    char id[VMBI_REPO_HEX_SIZE];
    size_t n = 0;
    FILE *f = fopen(text("from"), "rb");
    while (f != NULL && (n = fread(block, 1, sizeof(block), f)) > 0) {
        vmbi_buf_add(&b, block, n);
    }
    if (f != NULL) {
        (void)fclose(f);
    }
    vmb_code rc = vmbi_json_parse(b.data != NULL ? b.data : "", b.len, "snapshots", &all, &error);
    for (size_t i = 0; i < vmbi_json_len(all) && rc == VMB_OK; i++) {
        rc = vmbi_repo_snapshot_save(r, vmbi_json_at(all, i), id, &error);
    }
    vmbi_json_free(all);
    vmbi_buf_free(&b);
    return rc;
}

static vmb_code run_forget(vmbi_repo *r)
{
    vmbi_forget_options o = {.filter = filter(), .dry_run = flag("dryRun"),
                             .allow_remove_all = flag("unsafeAllowRemoveAll")};
    vmbi_policy *p = &o.policy;
    vmbi_json *out = NULL;
    const struct {
        const char *key;
        vmbi_keep_span *span;
    } spans[] = {{"keepWithin", &p->within},
                 {"keepWithinHourly", &p->within_hourly},
                 {"keepWithinDaily", &p->within_daily},
                 {"keepWithinWeekly", &p->within_weekly},
                 {"keepWithinMonthly", &p->within_monthly},
                 {"keepWithinYearly", &p->within_yearly}};
    p->last = number("keepLast");
    p->hourly = number("keepHourly");
    p->daily = number("keepDaily");
    p->weekly = number("keepWeekly");
    p->monthly = number("keepMonthly");
    p->yearly = number("keepYearly");
    p->tags = list("keepTags", &p->n_tags);
    for (size_t i = 0; i < VMBI_ARRAY_LEN(spans); i++) {
        if (text(spans[i].key) != NULL) {
            TRY(vmbi_keep_span_parse(text(spans[i].key), spans[i].span, &error));
        }
    }
    TRY(vmbi_group_parse(text("groupBy") != NULL ? text("groupBy") : "host,paths", &o.group_by,
                         &error));
    TRY(vmbi_forget(r, &o, &job, &out, NULL, &error));
    return print_json(out);
}

static vmb_code run_ls(vmbi_repo *r, const char *verb)
{
    vmbi_snapshot s = {0};
    vmbi_ls_options o = {text("path"), flag("recursive")};
    TRY(vmbi_snapshot_find(r, text("snapshot"), NULL, &s, &error));
    vmb_code rc = vmbi_ls(r, &s, &o, &job, print_line, NULL, &error);
    (void)verb;
    vmbi_snapshot_done(&s);
    return rc;
}

static vmb_code write_out(void *user, const void *data, size_t len, vmb_error **err)
{
    (void)user;
    return fwrite(data, 1, len, stdout) == len ? VMB_OK : vmbi_fail(err, VMB_E_IO, "write");
}

static vmb_code run_dump(vmbi_repo *r)
{
    vmbi_snapshot s = {0};
    TRY(vmbi_snapshot_find(r, text("snapshot"), NULL, &s, &error));
    vmb_code rc = vmbi_dump(r, &s, text("path"), &job, write_out, NULL, &error);
    vmbi_snapshot_done(&s);
    return rc;
}

static vmb_code run_find(vmbi_repo *r)
{
    vmbi_find_options o = {.filter = filter(), .ignore_case = flag("ignoreCase")};
    o.patterns = list("patterns", &o.n_patterns);
    o.has_oldest = text("oldest") != NULL && vmbi_parse_rfc3339(text("oldest"), &o.oldest_unix_ns);
    o.has_newest = text("newest") != NULL && vmbi_parse_rfc3339(text("newest"), &o.newest_unix_ns);
    return vmbi_find(r, &o, &job, print_line, NULL, &error);
}

static vmb_code run_stats(vmbi_repo *r)
{
    vmbi_snapshot_filter f = filter();
    vmbi_stats_mode mode = VMBI_STATS_RESTORE_SIZE;
    vmbi_ops_stats s = {0};
    TRY(vmbi_stats_mode_parse(text("mode"), &mode, &error));
    TRY(vmbi_stats(r, mode, &f, &job, &s, &error));
    return print_json(vmbi_ops_stats_json(mode, &s));
}

static void finding(void *user, const vmbi_repo_finding *f)
{
    (void)user;
    fprintf(stderr, "%s %s %s %s: %s\n", f->level == VMBI_FINDING_ERROR ? "error" : "hint",
            f->file_kind, f->file, f->blob, f->message);
}

static vmb_code run_check(vmbi_repo *r)
{
    vmbi_repo_check_options o = {.read_data = flag("readData")};
    uint64_t errors = 0;
    TRY(vmbi_repo_check(r, &o, finding, NULL, &errors, &error));
    printf("{\"errors\":%" PRIu64 "}\n", errors);
    return VMB_OK;
}

static vmb_code run_prune(vmbi_repo *r)
{
    vmbi_repo_prune_options o = {.max_unused_percent = 5, .dry_run = flag("dryRun")};
    vmbi_repo_prune_stats s = {0};
    o.max_unused_percent = options != NULL && vmbi_json_get(options, "maxUnused") != NULL
                               ? (uint32_t)number("maxUnused")
                               : 5;
    TRY(vmbi_repo_prune(r, &o, &s, &error));
    printf("{\"kept\":%" PRIu64 ",\"repacked\":%" PRIu64 ",\"deleted\":%" PRIu64 "}\n",
           s.packs_kept, s.packs_repacked, s.packs_deleted);
    return VMB_OK;
}

/* ---- repositories ------------------------------------------------------------------------------ */

static vmb_code open_store(const char *where, vmb_store_provider *out)
{
    vmbi_json *settings = NULL;
    vmb_code rc = VMB_OK;
    memset(out, 0, sizeof(*out));
    if (where[0] == '{') {
        rc = vmbi_json_parse(where, strlen(where), "settings", &settings, &error);
        rc = rc == VMB_OK ? vmbi_store_s3_new(settings, out, &error) : rc;
    } else {
        settings = vmbi_json_object();
        vmbi_json *config = vmbi_json_ensure_object(settings, "config");
        (void)vmbi_json_set_str(config, "path", where);
        rc = vmbi_store_dir_new(settings, out, &error);
    }
    vmbi_json_free(settings);
    return rc;
}

static vmb_code open_repo(const char *verb, const vmb_store_provider *store, const char *prefix,
                          vmbi_repo **out)
{
    const char *password = getenv("RESTIC_PASSWORD");
    const char *compression = text("compression") != NULL ? text("compression") : "auto";
    vmbi_repo_options o = {.store = store, .job = &job, .prefix = prefix, .password = password,
                           .password_len = strlen(password),
                           .version = (uint32_t)number("version"), .scrypt_n = 1024,
                           .scrypt_r = 8, .scrypt_p = 1, .memory_bytes = 32 << 20,
                           .pack_bytes = (uint64_t)number("packSize") << 20};
    o.compression = strcmp(compression, "off") == 0   ? VMBI_REPO_OFF
                    : strcmp(compression, "max") == 0 ? VMBI_REPO_MAX
                                                      : VMBI_REPO_AUTO;
    if (strcmp(verb, "init") == 0) {
        return vmbi_repo_init(&o, out, &error);
    }
    bool alone = strcmp(verb, "forget") == 0 || strcmp(verb, "prune") == 0;
    TRY(vmbi_repo_open(&o, out, &error));
    TRY(vmbi_repo_lock(*out, alone ? VMBI_REPO_EXCLUSIVE : VMBI_REPO_SHARED,
                       number("wait") * VMBI_SECOND, &error));
    bool checks = strcmp(verb, "check") == 0 || strcmp(verb, "prune") == 0;
    return checks ? VMB_OK : vmbi_repo_load_index(*out, &error);
}

static vmb_code run_copy(vmbi_repo *from)
{
    vmbi_copy_options o = {.filter = filter()};
    vmbi_copy_stats s = {0};
    vmb_store_provider store;
    vmbi_repo *to = NULL;
    vmbi_json *out = NULL;
    TRY(open_store(text("to"), &store));
    vmb_code rc = open_repo("copy", &store, text("toPrefix") != NULL ? text("toPrefix") : "", &to);
    if (rc == VMB_OK) {
        rc = vmbi_copy(from, to, &o, &job, &out, &s, &error);
    }
    if (rc == VMB_OK) {
        fprintf(stderr, "copied %" PRIu64 " known %" PRIu64 " trees %" PRIu64 " blobs %" PRIu64
                        " bytes %" PRIu64 "\n",
                s.snapshots, s.snapshots_known, s.trees, s.blobs, s.bytes);
        rc = print_json(out);
    }
    vmbi_repo_close(to);
    if (store.destroy != NULL) {
        store.destroy(store.user);
    }
    return rc;
}

static vmb_code run(const char *verb, vmbi_repo *r)
{
    static const struct {
        const char *verb;
        vmb_code (*run)(vmbi_repo *r);
    } verbs[] = {{"backup", run_backup}, {"restore", run_restore}, {"snapshots", run_snapshots},
                 {"fake", run_fake},     {"forget", run_forget},   {"dump", run_dump},
                 {"find", run_find},     {"stats", run_stats},     {"check", run_check},
                 {"prune", run_prune},   {"copy", run_copy}};
    for (size_t i = 0; i < VMBI_ARRAY_LEN(verbs); i++) {
        if (strcmp(verb, verbs[i].verb) == 0) {
            return verbs[i].run(r);
        }
    }
    if (strcmp(verb, "unlock") == 0) {
        return vmbi_repo_break_locks(r, flag("all"), NULL, &error);
    }
    return strcmp(verb, "ls") == 0     ? run_ls(r, verb)
           : strcmp(verb, "init") == 0 ? VMB_OK
                                       : vmbi_fail(&error, VMB_E_ARG, "no verb %s", verb);
}

/* Reads {"patterns","ignoreCase","paths"}; prints a list of [matched, child] for the paths. */
static vmb_code run_match(void)
{
    size_t n = 0;
    size_t n_paths = 0;
    vmbi_patterns *p = NULL;
    const char *const *v = list("patterns", &n);
    const char *const *paths = list("paths", &n_paths);
    TRY(vmbi_patterns_new(v, n, flag("ignoreCase"), &p, &error));
    for (size_t i = 0; i < n_paths; i++) {
        bool hit = false;
        bool child = false;
        TRY(vmbi_patterns_match(p, paths[i], &hit, &child, &error));
        printf("%s[%s,%s]", i > 0 ? "," : "[", hit ? "true" : "false", child ? "true" : "false");
    }
    printf("]\n");
    vmbi_patterns_free(p);
    return VMB_OK;
}

static vmb_code work(int argc, char **argv)
{
    vmb_store_provider store;
    vmbi_repo *r = NULL;
    if (argc > 4) {
        TRY(vmbi_json_parse(argv[4], strlen(argv[4]), "options", &options, &error));
    }
    if (strcmp(argv[1], "match") == 0) {
        return run_match();
    }
    TRY(open_store(argv[2], &store));
    vmb_code rc = VMB_OK;
    if (strcmp(argv[1], "unlock") == 0) {
        const char *password = getenv("RESTIC_PASSWORD");
        vmbi_repo_options o = {.store = &store, .job = &job, .prefix = argv[3],
                               .password = password, .password_len = strlen(password)};
        rc = vmbi_repo_open(&o, &r, &error);
    } else {
        rc = open_repo(argv[1], &store, argv[3], &r);
    }
    rc = rc == VMB_OK ? run(argv[1], r) : rc;
    vmbi_repo_close(r);
    if (store.destroy != NULL) {
        store.destroy(store.user);
    }
    return rc;
}

int main(int argc, char **argv)
{
    if (argc < 4 || getenv("RESTIC_PASSWORD") == NULL) {
        fprintf(stderr, "usage: ops_probe VERB STORE PREFIX [OPTIONS]\n");
        return 2;
    }
    job.log = log_line;
    vmb_code rc = work(argc, argv);
    if (rc != VMB_OK) {
        fprintf(stderr, "%s: %s\n", vmb_code_name(rc), vmb_error_message(error));
    }
    vmb_error_free(error);
    vmbi_json_free(options);
    return rc == VMB_OK ? 0 : 1;
}
