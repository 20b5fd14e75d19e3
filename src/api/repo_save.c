/* SPDX-License-Identifier: Apache-2.0 */
/* repo.h: saving files and bringing them back. */
#include <string.h>

#include "api/repo_handle.h"
#include "base/clock.h"
#include "base/error.h"
#include "repo/tree/backup.h"
#include "repo/tree/restore.h"

/* ---- saving files ---------------------------------------------------------------------------- */

typedef struct backup_options {
    vmbi_option_list paths;
    vmbi_option_list tags;
    const char *host;
    int64_t time_unix_ns;
    const char *parent;
    bool force;
    bool one_file_system;
    int64_t readers;
} backup_options;

#define FIELD(field, name, kind, ...) VMBI_OPTION(backup_options, field, name, kind, __VA_ARGS__)
static const vmbi_option backup_table[] = {
    FIELD(paths, "paths", STRINGS, 0, 0),
    FIELD(tags, "tags", STRINGS, 0, 0),
    FIELD(host, "host", STRING, 0, 0),
    FIELD(time_unix_ns, "time", TIME, 0, 0),
    FIELD(parent, "parent", STRING, 0, 0),
    FIELD(force, "force", BOOL, 0, 0),
    FIELD(one_file_system, "oneFileSystem", BOOL, 0, 0),
    FIELD(readers, "readers", INT, 1, 64),
};
#undef FIELD

typedef struct saving {
    vmb_repo *repo;
    vmbi_repo_stats before;
    int64_t start_ns;
} saving;

static vmbi_json *backup_summary(const saving *x, const char *id, const vmbi_tree_stats *s)
{
    vmbi_repo_stats now;
    vmbi_json *v = vmbi_json_object();
    bool ok = v != NULL;

    vmbi_repo_get_stats(x->repo->repo, &now);
    ok = ok && vmbi_json_set_str(v, "message_type", "summary");
    ok = ok && vmbi_json_set_int(v, "files_unmodified", (int64_t)s->files_unchanged);
    ok = ok && vmbi_json_set_int(v, "total_files_processed", (int64_t)s->files);
    ok = ok && vmbi_json_set_int(v, "total_bytes_processed", (int64_t)s->bytes);
    ok = ok && vmbi_json_set_int(v, "data_added", (int64_t)(now.bytes_new - x->before.bytes_new));
    ok = ok && vmbi_json_set_int(v, "data_added_packed",
                                 (int64_t)(now.bytes_stored - x->before.bytes_stored));
    ok = ok && vmbi_json_set(v, "total_duration",
                             vmbi_json_from_double((double)(vmbi_mono_ns() - x->start_ns) / 1e9));
    ok = ok && vmbi_json_set_str(v, "snapshot_id", id);
    ok = ok && vmbi_json_set_int(v, "bytesRead", (int64_t)s->bytes_read);
    ok = ok && vmbi_json_set_int(v, "bytesZero", (int64_t)s->bytes_zero);
    ok = ok && vmbi_json_set_int(v, "warnings", (int64_t)s->warnings);
    if (!ok) {
        vmbi_json_free(v);
        return NULL;
    }
    return v;
}

static vmb_code backup(vmb_repo *repo, const backup_options *o, vmbi_json **summary,
                       vmb_error **err)
{
    saving x = {.repo = repo, .start_ns = vmbi_mono_ns()};
    vmbi_tree_stats stats = {0};
    char id[VMBI_REPO_HEX_SIZE] = "";
    const vmbi_tree_options t = {
        .paths = o->paths.v,
        .n_paths = o->paths.n,
        .parent = o->force ? NULL : o->parent,
        .tags = o->tags.v,
        .n_tags = o->tags.n,
        .hostname = o->host != NULL ? o->host : repo->hostname,
        .username = repo->username,
        .time_unix_ns = o->time_unix_ns,
        .one_file_system = o->one_file_system,
        .threads = (size_t)o->readers,
        .warn = vmbi_repoapi_warn,
        .user = repo,
    };

    vmbi_repo_get_stats(repo->repo, &x.before);
    vmb_code rc = vmbi_tree_backup(repo->repo, &t, &repo->job, id, &stats, err);
    if (rc == VMB_OK) {
        *summary = backup_summary(&x, id, &stats);
    }
    return rc;
}

vmb_code vmb_repo_backup(vmb_repo *repo, const char *options, size_t len, char **summary,
                         size_t *summary_len, vmb_error **err)
{
    backup_options o = {0};
    vmbi_json *doc = NULL;
    vmbi_json *result = NULL;
    vmb_code rc = vmbi_repoapi_enter(repo, "vmb_repo_backup", err);

    if (rc != VMB_OK) {
        return rc;
    }
    rc = vmbi_options_read(options, len, "backup options", backup_table,
                           VMBI_ARRAY_LEN(backup_table), &o, &doc, err);
    if (rc == VMB_OK && o.paths.n == 0) {
        rc = vmbi_fail(err, VMB_E_ARG, "backup options: \"paths\" is missing: name what to save");
    }
    if (rc == VMB_OK) {
        rc = vmbi_repoapi_lock(repo, VMBI_REPOAPI_WRITE, true, err);
    }
    if (rc == VMB_OK) {
        rc = backup(repo, &o, &result, err);
        vmbi_repoapi_unlock(repo);
    }
    if (rc == VMB_OK) {
        rc = vmbi_repoapi_give(result, summary, summary_len, err);
    }
    vmbi_options_done(backup_table, VMBI_ARRAY_LEN(backup_table), &o, doc);
    vmbi_repoapi_leave(repo);
    return rc;
}

/* ---- bringing files back --------------------------------------------------------------------- */

typedef struct restore_options {
    const char *target;
    const char *path;
} restore_options;

#define FIELD(field, name, kind, ...) VMBI_OPTION(restore_options, field, name, kind, __VA_ARGS__)
static const vmbi_option restore_table[] = {
    FIELD(target, "target", STRING, 0, 0),
    FIELD(path, "path", STRING, 0, 0),
};
#undef FIELD

static vmbi_json *restore_summary(const vmbi_restore_stats *s, int64_t start_ns)
{
    vmbi_json *v = vmbi_json_object();
    bool ok = v != NULL;

    ok = ok && vmbi_json_set_str(v, "message_type", "summary");
    ok = ok && vmbi_json_set_int(v, "files_restored", (int64_t)s->files);
    ok = ok && vmbi_json_set_int(v, "dirs", (int64_t)s->dirs);
    ok = ok && vmbi_json_set_int(v, "others", (int64_t)s->others);
    ok = ok && vmbi_json_set_int(v, "bytes_restored", (int64_t)s->bytes);
    ok = ok && vmbi_json_set_int(v, "bytesHole", (int64_t)s->bytes_hole);
    ok = ok && vmbi_json_set_int(v, "warnings", (int64_t)s->warnings);
    ok = ok && vmbi_json_set(v, "total_duration",
                             vmbi_json_from_double((double)(vmbi_mono_ns() - start_ns) / 1e9));
    if (!ok) {
        vmbi_json_free(v);
        return NULL;
    }
    return v;
}

vmb_code vmb_repo_restore(vmb_repo *repo, const char *snapshot, const char *options, size_t len,
                          char **summary, size_t *summary_len, vmb_error **err)
{
    restore_options o = {0};
    vmbi_restore_stats stats = {0};
    vmbi_json *doc = NULL;
    int64_t start_ns = vmbi_mono_ns();

    if (snapshot == NULL) {
        return vmbi_repoapi_missing("vmb_repo_restore", err);
    }
    vmb_code rc = vmbi_repoapi_enter(repo, "vmb_repo_restore", err);
    if (rc != VMB_OK) {
        return rc;
    }
    rc = vmbi_options_read(options, len, "restore options", restore_table,
                           VMBI_ARRAY_LEN(restore_table), &o, &doc, err);
    if (rc == VMB_OK && o.target == NULL) {
        rc = vmbi_fail(err, VMB_E_ARG, "restore options: \"target\" is missing: name a folder");
    }
    if (rc == VMB_OK) {
        rc = vmbi_repoapi_lock(repo, VMBI_REPOAPI_READ, true, err);
    }
    if (rc == VMB_OK) {
        const vmbi_restore_options t = {
            .snapshot = snapshot,
            .path = o.path,
            .target = o.target,
            .warn = vmbi_repoapi_warn,
            .user = repo,
        };
        rc = vmbi_tree_restore(repo->repo, &t, &repo->job, &stats, err);
        vmbi_repoapi_unlock(repo);
    }
    if (rc == VMB_OK) {
        rc = vmbi_repoapi_give(restore_summary(&stats, start_ns), summary, summary_len, err);
    }
    vmbi_options_done(restore_table, VMBI_ARRAY_LEN(restore_table), &o, doc);
    vmbi_repoapi_leave(repo);
    return rc;
}
