/* SPDX-License-Identifier: Apache-2.0 */
/* repo.h: saving files and bringing them back. */
#include <string.h>

#include <vmbackup/version.h>

#include "api/repo_handle.h"
#include "base/clock.h"
#include "base/error.h"
#include "repo/tree/backup.h"
#include "repo/tree/restore.h"

/* ---- saving ---------------------------------------------------------------------------------- */

typedef struct backup_options {
    vmbi_option_list paths, excludes, iexcludes, exclude_if_present, tags, disk_images;
    bool exclude_caches;
    int64_t exclude_larger_than;
    bool one_file_system;
    const char *host;
    int64_t time_unix_ns;
    const char *parent;
    bool force;
    bool dry_run;
    int64_t chunk_size;
    int64_t readers;
} backup_options;

#define FIELD(field, name, kind, ...) VMBI_OPTION(backup_options, field, name, kind, __VA_ARGS__)
static const vmbi_option backup_table[] = {
    FIELD(paths, "paths", STRINGS, 0, 0),
    FIELD(excludes, "excludes", STRINGS, 0, 0),
    FIELD(iexcludes, "iexcludes", STRINGS, 0, 0),
    FIELD(exclude_caches, "excludeCaches", BOOL, 0, 0),
    FIELD(exclude_if_present, "excludeIfPresent", STRINGS, 0, 0),
    FIELD(exclude_larger_than, "excludeLargerThan", INT, 1, INT64_MAX),
    FIELD(one_file_system, "oneFileSystem", BOOL, 0, 0),
    FIELD(tags, "tags", STRINGS, 0, 0),
    FIELD(host, "host", STRING, 0, 0),
    FIELD(time_unix_ns, "time", TIME, 0, 0),
    FIELD(parent, "parent", STRING, 0, 0),
    FIELD(force, "force", BOOL, 0, 0),
    FIELD(dry_run, "dryRun", BOOL, 0, 0),
    FIELD(disk_images, "diskImages", STRINGS, 0, 0),
    FIELD(chunk_size, "chunkSize", INT, 64 << 10, 8 << 20),
    FIELD(readers, "readers", INT, 1, 64),
};
#undef FIELD

static void backup_progress(void *user, const vmbi_tree_stats *so_far)
{
    vmbi_repoapi_progress(user, (int64_t)so_far->bytes, -1);
}

static vmbi_json *backup_summary(const vmbi_repoapi_tally *t, const char *id, const char *parent,
                                 const vmbi_tree_stats *s, bool dry_run)
{
    vmbi_json *v = vmbi_repoapi_summary(t);
    bool ok = v != NULL;

    ok = ok && vmbi_json_set_int(v, "files_new", (int64_t)s->files_new);
    ok = ok && vmbi_json_set_int(v, "files_changed", (int64_t)s->files_changed);
    ok = ok && vmbi_json_set_int(v, "files_unmodified", (int64_t)s->files_unchanged);
    ok = ok && vmbi_json_set_int(v, "dirs_new", (int64_t)s->dirs_new);
    ok = ok && vmbi_json_set_int(v, "dirs_changed", (int64_t)s->dirs_changed);
    ok = ok && vmbi_json_set_int(v, "dirs_unmodified", (int64_t)s->dirs_unchanged);
    ok = ok && vmbi_json_set_int(v, "data_blobs", (int64_t)s->data_blobs);
    ok = ok && vmbi_json_set_int(v, "tree_blobs", (int64_t)s->tree_blobs);
    ok = ok && vmbi_json_set_int(v, "data_added", (int64_t)s->data_added);
    ok = ok && vmbi_json_set_int(v, "data_added_packed", (int64_t)s->data_added_packed);
    ok = ok && vmbi_json_set_int(v, "total_files_processed", (int64_t)s->files);
    ok = ok && vmbi_json_set_int(v, "total_bytes_processed", (int64_t)s->bytes);
    ok = ok && vmbi_json_set_str(v, "snapshot_id", id);
    ok = ok && vmbi_json_set_str(v, "parent", parent != NULL ? parent : "");
    ok = ok && vmbi_json_set_int(v, "bytesRead", (int64_t)s->bytes_read);
    ok = ok && vmbi_json_set_int(v, "bytesZero", (int64_t)s->bytes_zero);
    ok = ok && vmbi_json_set_int(v, "excluded", (int64_t)s->excluded);
    ok = ok && vmbi_json_set_int(v, "warnings", (int64_t)s->warnings);
    ok = ok && (!dry_run || vmbi_json_set_bool(v, "dry_run", true));
    if (!ok) {
        vmbi_json_free(v);
        return NULL;
    }
    return v;
}

/* The parent that was asked for, or the one that restic would take; "" without one. */
static vmb_code choose_parent(vmb_repo *repo, const backup_options *o, char id[VMBI_REPO_HEX_SIZE],
                              vmb_error **err)
{
    vmbi_snapshot found = {.json = NULL};
    vmb_code rc = VMB_OK;

    id[0] = '\0';
    if (o->force) {
        return VMB_OK;
    }
    if (o->parent == NULL) {
        return vmbi_snapshot_parent(repo->repo, vmbi_repoapi_host(repo, o->host), o->paths.v,
                                    o->paths.n, o->time_unix_ns, id, err);
    }
    rc = vmbi_snapshot_find(repo->repo, o->parent, NULL, &found, err);
    if (rc == VMB_OK) {
        memcpy(id, found.id, VMBI_REPO_HEX_SIZE);
        vmbi_snapshot_done(&found);
    }
    return rc;
}

static vmb_code backup(vmb_repo *repo, const backup_options *o, vmbi_json **summary,
                       vmb_error **err)
{
    vmbi_tree_stats stats = {0};
    vmbi_repoapi_tally tally;
    char parent[VMBI_REPO_HEX_SIZE];
    char id[VMBI_REPO_HEX_SIZE] = "";
    vmbi_buf version = VMBI_BUF_INIT(64);

    vmbi_repoapi_tally_begin(&tally, repo);
    vmbi_buf_addf(&version, "vmbackup %s", vmb_version_string());
    vmb_code rc = vmbi_buf_check(&version, err, "version");
    if (rc == VMB_OK) {
        rc = choose_parent(repo, o, parent, err);
    }
    if (rc == VMB_OK) {
        const vmbi_tree_options t = {
            .paths = o->paths.v,
            .n_paths = o->paths.n,
            .parent = parent[0] != '\0' ? parent : NULL,
            .tags = o->tags.v,
            .n_tags = o->tags.n,
            .hostname = vmbi_repoapi_host(repo, o->host),
            .username = repo->username,
            .time_unix_ns = o->time_unix_ns,
            .one_file_system = o->one_file_system,
            .threads = (size_t)o->readers,
            .excludes = o->excludes.v,
            .n_excludes = o->excludes.n,
            .iexcludes = o->iexcludes.v,
            .n_iexcludes = o->iexcludes.n,
            .exclude_if_present = o->exclude_if_present.v,
            .n_exclude_if_present = o->exclude_if_present.n,
            .exclude_caches = o->exclude_caches,
            .exclude_larger_than = (uint64_t)o->exclude_larger_than,
            .disk_images = o->disk_images.v,
            .n_disk_images = o->disk_images.n,
            .disk_chunk_bytes = (uint32_t)o->chunk_size,
            .dry_run = o->dry_run,
            .program_version = version.data,
            .progress = backup_progress,
            .warn = vmbi_repoapi_warn,
            .user = repo,
        };
        rc = vmbi_tree_backup(repo->repo, &t, &repo->job, id, &stats, err);
    }
    vmbi_buf_free(&version);
    if (rc == VMB_OK) {
        *summary = backup_summary(&tally, id, parent, &stats, o->dry_run);
    }
    return rc;
}

static vmb_code check_backup(const backup_options *o, vmb_error **err)
{
    if (o->paths.n == 0) {
        return vmbi_fail(err, VMB_E_ARG, "backup options: \"paths\" is missing: name what to save");
    }
    if ((o->chunk_size & (o->chunk_size - 1)) != 0) {
        return vmbi_fail(err, VMB_E_ARG, "backup options: \"chunkSize\" must be a power of two");
    }
    return VMB_OK;
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
    if (rc == VMB_OK) {
        rc = check_backup(&o, err);
    }
    if (rc == VMB_OK) {
        rc = vmbi_repoapi_lock(repo, o.dry_run ? VMBI_REPOAPI_READ : VMBI_REPOAPI_WRITE, true, err);
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

/* ---- bringing back --------------------------------------------------------------------------- */

typedef struct restore_options {
    const char *target;
    const char *path;
    vmbi_option_list includes, excludes;
    vmbi_repoapi_filter filter;
    const char *overwrite;
    bool sparse;
    bool verify;
    bool dry_run;
} restore_options;

#define FIELD(field, name, kind, ...) VMBI_OPTION(restore_options, field, name, kind, __VA_ARGS__)
static const vmbi_option restore_table[] = {
    FIELD(target, "target", STRING, 0, 0),       FIELD(path, "path", STRING, 0, 0),
    FIELD(includes, "includes", STRINGS, 0, 0),  FIELD(excludes, "excludes", STRINGS, 0, 0),
    VMBI_REPOAPI_FILTER_FIELDS(restore_options), FIELD(overwrite, "overwrite", STRING, 0, 0),
    FIELD(sparse, "sparse", BOOL, 0, 0),         FIELD(verify, "verify", BOOL, 0, 0),
    FIELD(dry_run, "dryRun", BOOL, 0, 0),
};
#undef FIELD

static void restore_progress(void *user, const vmbi_restore_stats *so_far)
{
    vmb_repo *repo = user;
    int64_t done = (int64_t)so_far->bytes;

    vmbi_repoapi_progress(repo, done, done <= repo->progress_total ? repo->progress_total : -1);
}

static vmbi_json *restore_summary(const vmbi_restore_stats *s, const char *id, int64_t start_ns,
                                  bool dry_run)
{
    vmbi_json *v = vmbi_json_object();
    bool ok = v != NULL;

    ok = ok && vmbi_json_set_str(v, "message_type", "summary");
    ok = ok && vmbi_json_set_str(v, "snapshot_id", id);
    ok = ok && vmbi_json_set_int(v, "files_restored", (int64_t)s->files);
    ok = ok && vmbi_json_set_int(v, "dirs_restored", (int64_t)s->dirs);
    ok = ok && vmbi_json_set_int(v, "others_restored", (int64_t)s->others);
    ok = ok && vmbi_json_set_int(v, "files_skipped", (int64_t)s->files_skipped);
    ok = ok && vmbi_json_set_int(v, "bytes_restored", (int64_t)s->bytes);
    ok = ok && vmbi_json_set_int(v, "filesVerified", (int64_t)s->files_verified);
    ok = ok && vmbi_json_set_int(v, "bytesHole", (int64_t)s->bytes_hole);
    ok = ok && vmbi_json_set_int(v, "excluded", (int64_t)s->excluded);
    ok = ok && vmbi_json_set_int(v, "warnings", (int64_t)s->warnings);
    ok = ok && vmbi_json_set(v, "total_duration",
                             vmbi_json_from_double((double)(vmbi_mono_ns() - start_ns) / 1e9));
    ok = ok && (!dry_run || vmbi_json_set_bool(v, "dry_run", true));
    if (!ok) {
        vmbi_json_free(v);
        return NULL;
    }
    return v;
}

static vmb_code check_restore(const restore_options *o, vmbi_overwrite *overwrite, vmb_error **err)
{
    if (o->target == NULL) {
        return vmbi_fail(err, VMB_E_ARG, "restore options: \"target\" is missing: name a folder");
    }
    if (o->overwrite != NULL && strcmp(o->overwrite, "never") != 0 &&
        strcmp(o->overwrite, "always") != 0) {
        return vmbi_fail(err, VMB_E_ARG,
                         "restore options: \"overwrite\" is \"%.64s\", allowed are never, always",
                         o->overwrite);
    }
    *overwrite = o->overwrite != NULL && strcmp(o->overwrite, "always") == 0 ? VMBI_OVERWRITE_ALWAYS
                                                                             : VMBI_OVERWRITE_NEVER;
    return VMB_OK;
}

static vmb_code restore(vmb_repo *repo, const char *snapshot, const restore_options *o,
                        vmbi_overwrite overwrite, vmbi_json **summary, vmb_error **err)
{
    vmbi_restore_stats stats = {0};
    vmbi_snapshot found = {.json = NULL};
    int64_t start_ns = vmbi_mono_ns();
    vmb_code rc = vmbi_repoapi_find(repo, snapshot, &o->filter, &found, err);

    if (rc == VMB_OK) {
        bool whole = o->path == NULL && o->includes.n == 0 && o->excludes.n == 0;
        const vmbi_json *bytes = vmbi_json_path(found.json, "summary.total_bytes_processed");
        const vmbi_restore_options t = {
            .snapshot = found.id,
            .path = o->path,
            .target = o->target,
            .includes = o->includes.v,
            .n_includes = o->includes.n,
            .excludes = o->excludes.v,
            .n_excludes = o->excludes.n,
            .overwrite = overwrite,
            .no_sparse = !o->sparse,
            .verify = o->verify,
            .dry_run = o->dry_run,
            .progress = restore_progress,
            .warn = vmbi_repoapi_warn,
            .user = repo,
        };
        repo->progress_total = whole ? vmbi_json_int(bytes, -1) : -1;
        rc = vmbi_tree_restore(repo->repo, &t, &repo->job, &stats, err);
        if (rc == VMB_OK) {
            *summary = restore_summary(&stats, found.id, start_ns, o->dry_run);
        }
        vmbi_snapshot_done(&found);
    }
    return rc;
}

vmb_code vmb_repo_restore(vmb_repo *repo, const char *snapshot, const char *options, size_t len,
                          char **summary, size_t *summary_len, vmb_error **err)
{
    restore_options o = {.sparse = true};
    vmbi_overwrite overwrite = VMBI_OVERWRITE_NEVER;
    vmbi_json *doc = NULL;
    vmbi_json *result = NULL;

    if (snapshot == NULL) {
        return vmbi_repoapi_missing("vmb_repo_restore", err);
    }
    vmb_code rc = vmbi_repoapi_enter(repo, "vmb_repo_restore", err);
    if (rc != VMB_OK) {
        return rc;
    }
    rc = vmbi_options_read(options, len, "restore options", restore_table,
                           VMBI_ARRAY_LEN(restore_table), &o, &doc, err);
    if (rc == VMB_OK) {
        rc = check_restore(&o, &overwrite, err);
    }
    if (rc == VMB_OK) {
        rc = vmbi_repoapi_lock(repo, VMBI_REPOAPI_READ, true, err);
    }
    if (rc == VMB_OK) {
        rc = restore(repo, snapshot, &o, overwrite, &result, err);
        vmbi_repoapi_unlock(repo);
    }
    if (rc == VMB_OK) {
        rc = vmbi_repoapi_give(result, summary, summary_len, err);
    }
    vmbi_options_done(restore_table, VMBI_ARRAY_LEN(restore_table), &o, doc);
    vmbi_repoapi_leave(repo);
    return rc;
}
