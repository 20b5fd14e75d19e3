/* SPDX-License-Identifier: Apache-2.0 */
/* repo.h: saving disks and bringing them back. */
#include <string.h>

#include "api/repo_handle.h"
#include "base/clock.h"
#include "base/error.h"
#include "core/vtable.h"
#include "repo/disk/disk.h"
#include "repo/ops/snapshots.h"

/* A table as it was in the first release ends with flush. */
#define FIRST_SIZE (offsetof(vmb_blocks_provider, flush) + sizeof(void (*)(void)))

/* Copies what both sides know of a table that the caller keeps. */
static vmb_code take_blocks(const vmb_blocks_provider *theirs, bool target,
                            vmb_blocks_provider *out, vmb_error **err)
{
    vmb_code rc = vmbi_vtable_copy(out, sizeof(*out), FIRST_SIZE, theirs, "blocks provider", err);

    if (rc == VMB_OK &&
        (out->size == NULL || (target ? out->pwrite == NULL : out->pread == NULL))) {
        rc = vmbi_fail(err, VMB_E_ARG, "blocks provider %s: the function %s is missing", out->name,
                       out->size == NULL ? "size"
                       : target          ? "pwrite"
                                         : "pread");
    }
    return rc;
}

static void report(void *user, uint64_t done_bytes, uint64_t total_bytes)
{
    vmbi_repoapi_progress(user, (int64_t)done_bytes, (int64_t)total_bytes);
}

/* ---- saving ---------------------------------------------------------------------------------- */

typedef struct disk_options {
    const char *name;
    const char *path;
    vmbi_option_list tags;
    const char *host;
    int64_t time_unix_ns;
    const char *parent;
    bool force;
    int64_t chunk_size;
    int64_t readers;
} disk_options;

#define FIELD(field, name, kind, ...) VMBI_OPTION(disk_options, field, name, kind, __VA_ARGS__)
static const vmbi_option disk_table[] = {
    FIELD(name, "name", STRING, 0, 0),
    FIELD(path, "path", STRING, 0, 0),
    FIELD(tags, "tags", STRINGS, 0, 0),
    FIELD(host, "host", STRING, 0, 0),
    FIELD(time_unix_ns, "time", TIME, 0, 0),
    FIELD(parent, "parent", STRING, 0, 0),
    FIELD(force, "force", BOOL, 0, 0),
    FIELD(chunk_size, "chunkSize", INT, VMBI_DISK_CHUNK_MIN, VMBI_DISK_CHUNK_MAX),
    FIELD(readers, "readers", INT, 1, 64),
};
#undef FIELD

/* The latest snapshot of this path and host; id is "" when there is none. */
static vmb_code find_parent(vmb_repo *repo, const disk_options *o, char id[VMBI_REPO_HEX_SIZE],
                            vmb_error **err)
{
    const char *folder = o->path != NULL ? o->path : "/";
    const char *name = o->name != NULL ? o->name : "disk.img";
    vmbi_buf b = VMBI_BUF_INIT(16 << 10);

    vmbi_buf_addf(&b, "%s%s%s", folder, strcmp(folder, "/") == 0 ? "" : "/", name);
    vmb_code rc = vmbi_buf_check(&b, err, "path of the disk");
    if (rc == VMB_OK) {
        const char *const paths[1] = {b.data};

        rc = vmbi_snapshot_parent(repo->repo, vmbi_repoapi_host(repo, o->host), paths, 1,
                                  o->time_unix_ns, id, err);
    }
    vmbi_buf_free(&b);
    return rc;
}

static vmbi_json *disk_summary(const vmbi_disk_save_stats *s, const char *id, const char *parent,
                               const vmbi_repoapi_tally *t)
{
    vmbi_json *v = vmbi_repoapi_summary(t);
    bool ok = v != NULL;

    ok = ok && vmbi_json_set_int(v, "total_files_processed", 1);
    ok = ok && vmbi_json_set_int(v, "total_bytes_processed", (int64_t)s->bytes);
    ok = ok && vmbi_json_set_str(v, "snapshot_id", id);
    ok = ok && vmbi_json_set_str(v, "parent", s->parent_used ? parent : "");
    ok = ok && vmbi_json_set_int(v, "bytesRead", (int64_t)s->bytes_read);
    ok = ok && vmbi_json_set_int(v, "bytesZero", (int64_t)s->bytes_zero);
    ok = ok && vmbi_json_set_int(v, "bytesUnchanged", (int64_t)s->bytes_unchanged);
    ok = ok && vmbi_json_set_int(v, "chunks", (int64_t)s->chunks);
    ok = ok && vmbi_json_set_int(v, "chunkSize", (int64_t)s->chunk_bytes);
    if (!ok) {
        vmbi_json_free(v);
        return NULL;
    }
    return v;
}

static vmb_code save_disk(vmb_repo *repo, const vmb_blocks_provider *source, const disk_options *o,
                          vmbi_json **summary, vmb_error **err)
{
    char parent[VMBI_REPO_HEX_SIZE] = "";
    char id[VMBI_REPO_HEX_SIZE] = "";
    vmbi_disk_save_stats stats = {0};
    vmbi_repoapi_tally tally;
    vmb_code rc = VMB_OK;

    vmbi_repoapi_tally_begin(&tally, repo);
    if (o->parent == NULL) {
        rc = find_parent(repo, o, parent, err);
    }
    if (rc == VMB_OK) {
        const vmbi_disk_save_options so = {
            .name = o->name,
            .folder = o->path,
            .parent = o->parent != NULL   ? o->parent
                      : parent[0] != '\0' ? parent
                                          : NULL,
            .force = o->force,
            .tags = o->tags.v,
            .n_tags = o->tags.n,
            .hostname = vmbi_repoapi_host(repo, o->host),
            .username = repo->username,
            .time_unix_ns = o->time_unix_ns,
            .chunk_bytes = (uint32_t)o->chunk_size,
            .threads = (size_t)o->readers,
            .progress = report,
            .user = repo,
        };
        rc = vmbi_disk_save(repo->repo, source, &so, &repo->job, id, &stats, err);
        if (rc == VMB_OK) {
            *summary = disk_summary(&stats, id, so.parent, &tally);
        }
    }
    return rc;
}

vmb_code vmb_repo_backup_disk(vmb_repo *repo, const vmb_blocks_provider *source,
                              const char *options, size_t len, char **summary, size_t *summary_len,
                              vmb_error **err)
{
    disk_options o = {0};
    vmb_blocks_provider blocks;
    vmbi_json *doc = NULL;
    vmbi_json *result = NULL;

    if (source == NULL) {
        return vmbi_repoapi_missing("vmb_repo_backup_disk", err);
    }
    vmb_code rc = vmbi_repoapi_enter(repo, "vmb_repo_backup_disk", err);
    if (rc != VMB_OK) {
        return rc;
    }
    rc = take_blocks(source, false, &blocks, err);
    if (rc == VMB_OK) {
        rc = vmbi_options_read(options, len, "disk options", disk_table, VMBI_ARRAY_LEN(disk_table),
                               &o, &doc, err);
    }
    if (rc == VMB_OK && (o.chunk_size & (o.chunk_size - 1)) != 0) {
        rc = vmbi_fail(err, VMB_E_ARG, "disk options: \"chunkSize\" must be a power of two");
    }
    if (rc == VMB_OK) {
        rc = vmbi_repoapi_lock(repo, VMBI_REPOAPI_WRITE, true, err);
    }
    if (rc == VMB_OK) {
        rc = save_disk(repo, &blocks, &o, &result, err);
        vmbi_repoapi_unlock(repo);
    }
    if (rc == VMB_OK) {
        rc = vmbi_repoapi_give(result, summary, summary_len, err);
    }
    vmbi_options_done(disk_table, VMBI_ARRAY_LEN(disk_table), &o, doc);
    vmbi_repoapi_leave(repo);
    return rc;
}

/* ---- bringing back --------------------------------------------------------------------------- */

typedef struct to_disk_options {
    const char *path;
    bool verify;
    int64_t readers;
    vmbi_repoapi_filter filter;
} to_disk_options;

#define FIELD(field, name, kind, ...) VMBI_OPTION(to_disk_options, field, name, kind, __VA_ARGS__)
static const vmbi_option to_disk_table[] = {
    FIELD(path, "path", STRING, 0, 0),
    FIELD(verify, "verify", BOOL, 0, 0),
    FIELD(readers, "readers", INT, 1, 64),
    VMBI_REPOAPI_FILTER_FIELDS(to_disk_options),
};
#undef FIELD

static vmbi_json *to_disk_summary(const vmbi_disk_restore_stats *s, const char *id,
                                  int64_t start_ns)
{
    vmbi_json *v = vmbi_json_object();
    bool ok = v != NULL;

    ok = ok && vmbi_json_set_str(v, "message_type", "summary");
    ok = ok && vmbi_json_set_str(v, "snapshot_id", id);
    ok = ok && vmbi_json_set_int(v, "total_bytes", (int64_t)s->bytes);
    ok = ok && vmbi_json_set_int(v, "bytesWritten", (int64_t)s->bytes_written);
    ok = ok && vmbi_json_set_int(v, "bytesZero", (int64_t)s->bytes_zero);
    ok = ok && vmbi_json_set_int(v, "bytesVerified", (int64_t)s->bytes_verified);
    ok = ok && vmbi_json_set(v, "total_duration",
                             vmbi_json_from_double((double)(vmbi_mono_ns() - start_ns) / 1e9));
    if (!ok) {
        vmbi_json_free(v);
        return NULL;
    }
    return v;
}

static vmb_code restore_disk(vmb_repo *repo, const char *snapshot,
                             const vmb_blocks_provider *target, const to_disk_options *o,
                             vmbi_json **summary, vmb_error **err)
{
    vmbi_disk_restore_stats stats = {0};
    vmbi_snapshot found = {.json = NULL};
    int64_t start_ns = vmbi_mono_ns();
    vmb_code rc = vmbi_repoapi_find(repo, snapshot, &o->filter, &found, err);

    if (rc == VMB_OK) {
        const vmbi_disk_restore_options ro = {
            .snapshot = found.id,
            .path = o->path,
            .verify = o->verify,
            .threads = (size_t)o->readers,
            .progress = report,
            .user = repo,
        };
        rc = vmbi_disk_restore(repo->repo, target, &ro, &repo->job, &stats, err);
        if (rc == VMB_OK) {
            *summary = to_disk_summary(&stats, found.id, start_ns);
        }
        vmbi_snapshot_done(&found);
    }
    return rc;
}

vmb_code vmb_repo_restore_disk(vmb_repo *repo, const char *snapshot,
                               const vmb_blocks_provider *target, const char *options, size_t len,
                               char **summary, size_t *summary_len, vmb_error **err)
{
    to_disk_options o = {0};
    vmb_blocks_provider blocks;
    vmbi_json *doc = NULL;
    vmbi_json *result = NULL;

    if (snapshot == NULL || target == NULL) {
        return vmbi_repoapi_missing("vmb_repo_restore_disk", err);
    }
    vmb_code rc = vmbi_repoapi_enter(repo, "vmb_repo_restore_disk", err);
    if (rc != VMB_OK) {
        return rc;
    }
    rc = take_blocks(target, true, &blocks, err);
    if (rc == VMB_OK) {
        rc = vmbi_options_read(options, len, "disk options", to_disk_table,
                               VMBI_ARRAY_LEN(to_disk_table), &o, &doc, err);
    }
    if (rc == VMB_OK && o.verify && blocks.pread == NULL) {
        rc = vmbi_fail(err, VMB_E_ARG,
                       "disk options: \"verify\" needs a target that can be read: "
                       "blocks provider %s has no pread",
                       blocks.name);
    }
    if (rc == VMB_OK) {
        rc = vmbi_repoapi_lock(repo, VMBI_REPOAPI_READ, true, err);
    }
    if (rc == VMB_OK) {
        rc = restore_disk(repo, snapshot, &blocks, &o, &result, err);
        vmbi_repoapi_unlock(repo);
    }
    if (rc == VMB_OK) {
        rc = vmbi_repoapi_give(result, summary, summary_len, err);
    }
    vmbi_options_done(to_disk_table, VMBI_ARRAY_LEN(to_disk_table), &o, doc);
    vmbi_repoapi_leave(repo);
    return rc;
}
