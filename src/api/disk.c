/* SPDX-License-Identifier: Apache-2.0 */
/* repo.h: disks inside of snapshots. */
#include <unistd.h>

#include "api/repo_handle.h"
#include "base/alloc.h"
#include "base/error.h"
#include "repo/disk/disk.h"

enum { MIN_CACHE = 16 << 20, MAX_CACHE = 1 << 30 };

struct vmb_disk {
    vmb_repo *repo; /* a reference */
    vmbi_disk *disk;
};

static vmb_code open_disk(vmb_repo *repo, const char *snapshot, const char *path,
                          int64_t cache_bytes, vmb_disk **out, vmb_error **err)
{
    vmb_disk *d = vmbi_zalloc(sizeof(*d));

    if (d == NULL) {
        return vmbi_fail_nomem(err);
    }
    vmb_code rc = vmbi_repoapi_lock(repo, VMBI_REPOAPI_READ, true, err);
    if (rc == VMB_OK) {
        rc = vmbi_disk_open(repo->repo, snapshot, path, (uint64_t)cache_bytes, &repo->job, &d->disk,
                            err);
        if (rc == VMB_OK) {
            vmbi_repoapi_hold(repo);
        }
        vmbi_repoapi_unlock(repo);
    }
    if (rc != VMB_OK) {
        vmbi_free(d);
        return rc;
    }
    d->repo = repo;
    *out = d;
    return VMB_OK;
}

vmb_code vmb_disk_open(vmb_repo *repo, const char *snapshot, const char *path, int64_t cache_bytes,
                       vmb_disk **out, vmb_error **err)
{
    if (snapshot == NULL || out == NULL) {
        return vmbi_repoapi_missing("vmb_disk_open", err);
    }
    *out = NULL;
    if (cache_bytes != 0 && (cache_bytes < MIN_CACHE || cache_bytes > MAX_CACHE)) {
        return vmbi_fail(err, VMB_E_ARG,
                         "vmb_disk_open: cache_bytes must be 0 or from 16 MiB to 1 GiB");
    }
    if (path != NULL && path[0] != '/') {
        return vmbi_fail(err, VMB_E_ARG, "vmb_disk_open: \"%.300s\" is no absolute path", path);
    }
    vmb_code rc = vmbi_repoapi_enter(repo, "vmb_disk_open", err);
    if (rc == VMB_OK) {
        rc = open_disk(repo, snapshot, path, cache_bytes, out, err);
        vmbi_repoapi_leave(repo);
    }
    return rc;
}

void vmb_disk_free(vmb_disk *disk)
{
    if (disk != NULL) {
        /* of a child process only the memory is given back */
        if (getpid() == disk->repo->ctx->pid) {
            vmbi_disk_close(disk->disk);
        }
        vmbi_repoapi_release(disk->repo);
        vmbi_free(disk);
    }
}

int64_t vmb_disk_size(const vmb_disk *disk)
{
    return disk != NULL ? (int64_t)vmbi_disk_size(disk->disk) : 0;
}

/* A range inside of the disk? */
static vmb_code check_range(const vmb_disk *disk, int64_t offset, int64_t length,
                            const char *function, vmb_error **err)
{
    int64_t end = 0;

    if (offset < 0 || length < 0 || __builtin_add_overflow(offset, length, &end) ||
        end > vmb_disk_size(disk)) {
        return vmbi_fail(err, VMB_E_ARG,
                         "%s: %lld bytes at %lld are not within the disk's %lld bytes", function,
                         (long long)length, (long long)offset, (long long)vmb_disk_size(disk));
    }
    return VMB_OK;
}

typedef struct walk {
    vmb_extent_fn fn;
    void *user;
    vmb_code code; /* what the caller's function ended the walk with */
} walk;

static vmb_code give_extent(void *user, int64_t offset_bytes, int64_t length_bytes, int32_t kind)
{
    walk *w = user;

    w->code = w->fn(w->user, offset_bytes, length_bytes, kind);
    return w->code == VMB_OK ? VMB_OK : VMB_E_PROVIDER;
}

vmb_code vmb_disk_extents(vmb_disk *disk, int64_t offset_bytes, int64_t length_bytes,
                          vmb_extent_fn fn, void *user, vmb_error **err)
{
    walk w = {.fn = fn, .user = user, .code = VMB_OK};

    if (disk == NULL || fn == NULL) {
        return vmbi_repoapi_missing("vmb_disk_extents", err);
    }
    vmb_code rc = vmbi_ctx_check(disk->repo->ctx, false, err);
    if (rc == VMB_OK) {
        rc = check_range(disk, offset_bytes, length_bytes, "vmb_disk_extents", err);
    }
    if (rc == VMB_OK && length_bytes > 0) {
        rc = vmbi_disk_extents(disk->disk, (uint64_t)offset_bytes, (uint64_t)length_bytes,
                               give_extent, &w, err);
    }
    return w.code != VMB_OK
               ? vmbi_check_provider(err, w.code, "vmb_disk_extents: the receiver ended the walk")
               : rc;
}

vmb_code vmb_disk_pread(vmb_disk *disk, void *data, size_t len, int64_t offset_bytes,
                        vmb_error **err)
{
    if (disk == NULL || (data == NULL && len > 0)) {
        return vmbi_repoapi_missing("vmb_disk_pread", err);
    }
    vmb_repo *repo = disk->repo;
    vmb_code rc = vmbi_ctx_check(repo->ctx, false, err);
    if (rc == VMB_OK) {
        rc = check_range(disk, offset_bytes, len <= INT64_MAX ? (int64_t)len : -1, "vmb_disk_pread",
                         err);
    }
    if (rc == VMB_OK) {
        rc = vmbi_limits_check(&repo->job.limits, err, "vmb_disk_pread");
    }
    if (rc == VMB_OK && len > 0) {
        vmbi_ctx_enter(repo->ctx);
        (void)pthread_rwlock_rdlock(&repo->index_lock);
        rc = vmbi_disk_pread(disk->disk, data, len, (uint64_t)offset_bytes, err);
        (void)pthread_rwlock_unlock(&repo->index_lock);
        vmbi_ctx_leave(repo->ctx);
    }
    return rc;
}
