/* SPDX-License-Identifier: Apache-2.0 */
/* Random reads of a disk in a snapshot. */
#include "repo/disk/read.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/job.h"
#include "repo/disk/find.h"

enum { DEFAULT_CACHE = 32 * 1024 * 1024 };

vmb_code vmbi_disk_open(vmbi_repo *r, const char *snapshot, const char *path, uint64_t cache_bytes,
                        vmb_job *job, vmbi_disk **out, vmb_error **err)
{
    vmbi_node node = {0};
    char full_id[VMBI_REPO_HEX_SIZE];
    vmbi_disk *d = vmbi_zalloc(sizeof(*d));
    if (d == NULL) {
        return vmbi_fail_nomem(err);
    }
    d->job = job;
    vmb_code rc = vmbi_disk_find(r, snapshot, path, &node, full_id, NULL, err);
    if (rc == VMB_OK) {
        rc = vmbi_disk_layout_init(&d->layout, r, &node, err);
        rc = rc == VMB_OK ? rc : vmbi_wrap(err, rc, "%s in snapshot %s", node.name, full_id);
    }
    if (rc == VMB_OK) {
        rc = vmbi_disk_cache_new(r, job, cache_bytes != 0 ? cache_bytes : DEFAULT_CACHE, &d->cache,
                                 err);
    }
    vmbi_node_done(&node);
    if (rc != VMB_OK) {
        vmbi_disk_close(d);
        return rc;
    }
    *out = d;
    return VMB_OK;
}

void vmbi_disk_close(vmbi_disk *d)
{
    if (d != NULL) {
        vmbi_disk_cache_free(d->cache);
        vmbi_disk_layout_free(&d->layout);
        vmbi_free(d);
    }
}

uint64_t vmbi_disk_size(const vmbi_disk *d)
{
    return d->layout.size;
}

/* Bytes of one chunk, from `skip` on. */
static vmb_code read_chunk(vmbi_disk *d, size_t i, size_t size, void *data, size_t skip, size_t n,
                           vmb_error **err)
{
    vmbi_cached_chunk *chunk = NULL;
    if (vmbi_disk_layout_is_zero(&d->layout, i)) {
        memset(data, 0, n);
        return VMB_OK;
    }
    vmb_code rc = vmbi_disk_cache_get(d->cache, &d->layout.ids[i], size, &chunk, err);
    if (rc == VMB_OK) {
        memcpy(data, vmbi_cached_chunk_data(chunk) + skip, n);
        vmbi_disk_cache_put(d->cache, chunk);
    }
    return rc;
}

vmb_code vmbi_disk_pread(vmbi_disk *d, void *data, size_t len, uint64_t offset, vmb_error **err)
{
    uint8_t *p = data;
    vmb_code rc = VMB_OK;
    if (offset > d->layout.size || len > d->layout.size - offset) {
        return vmbi_fail(err, VMB_E_ARG, "read %zu bytes at %llu: the disk has %llu", len,
                         (unsigned long long)offset, (unsigned long long)d->layout.size);
    }
    rc = vmbi_limits_check(&d->job->limits, err, "read a disk");
    while (len > 0 && rc == VMB_OK) {
        const size_t i = vmbi_disk_layout_find(&d->layout, offset);
        const uint64_t start = vmbi_disk_layout_start(&d->layout, i);
        const uint64_t end = vmbi_disk_layout_start(&d->layout, i + 1);
        const size_t n = end - offset < len ? (size_t)(end - offset) : len;
        rc = read_chunk(d, i, (size_t)(end - start), p, (size_t)(offset - start), n, err);
        if (rc != VMB_OK) {
            return vmbi_wrap(err, rc, "read the disk at %llu", (unsigned long long)offset);
        }
        p += n;
        offset += n;
        len -= n;
    }
    return rc;
}

vmb_code vmbi_disk_extents(vmbi_disk *d, uint64_t offset, uint64_t length, vmbi_disk_extent_fn fn,
                           void *user, vmb_error **err)
{
    const vmbi_disk_layout *l = &d->layout;
    if (offset > l->size) {
        return vmbi_fail(err, VMB_E_ARG, "extents at %llu: the disk has %llu bytes",
                         (unsigned long long)offset, (unsigned long long)l->size);
    }
    const uint64_t end = length > l->size - offset ? l->size : offset + length;
    vmb_code rc = VMB_OK;
    while (offset < end && rc == VMB_OK) {
        size_t i = vmbi_disk_layout_find(l, offset);
        const bool zero = vmbi_disk_layout_is_zero(l, i);
        uint64_t to = end;
        for (i++; i < l->n && vmbi_disk_layout_start(l, i) < end; i++) {
            if (vmbi_disk_layout_is_zero(l, i) != zero) {
                to = vmbi_disk_layout_start(l, i);
                break;
            }
        }
        rc = fn(user, (int64_t)offset, (int64_t)(to - offset),
                zero ? VMB_EXTENT_ZERO : VMB_EXTENT_DATA);
        offset = to;
    }
    return rc;
}
