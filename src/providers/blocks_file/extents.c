/* SPDX-License-Identifier: Apache-2.0 */
/* Holes: by SEEK_HOLE; where that knows of none, unwritten extents by FIEMAP. */
#include <errno.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/job.h"
#include "providers/blocks_file/file.h"

enum { MAP_EXTENTS = 256 };
/* Asking for the map costs a flush of the file: not for small pieces. */
#define MAP_WORTH INT64_C(67108864)

static vmb_code push(vmb_extent_sink *out, int64_t from, int64_t to, int32_t kind, vmb_error **err)
{
    return from < to ? out->push(out->user, from, to - from, kind, err) : VMB_OK;
}

/* Reads as zeros and surely stays so on the disk: allocated, never written. */
static bool is_unwritten(const struct fiemap_extent *e)
{
    const uint32_t unsure = FIEMAP_EXTENT_UNKNOWN | FIEMAP_EXTENT_DELALLOC |
                            FIEMAP_EXTENT_ENCODED | FIEMAP_EXTENT_DATA_INLINE |
                            FIEMAP_EXTENT_DATA_TAIL | FIEMAP_EXTENT_NOT_ALIGNED;
    return (e->fe_flags & FIEMAP_EXTENT_UNWRITTEN) != 0 && (e->fe_flags & unsure) == 0;
}

/* One answer of the map: pushes what it tells of [*from, to), moves *from on. *last: no more. */
static vmb_code push_mapped(const struct fiemap *map, int64_t *from, int64_t to, bool *last,
                            vmb_extent_sink *out, vmb_error **err)
{
    vmb_code rc = VMB_OK;
    *last = map->fm_mapped_extents == 0;
    for (uint32_t i = 0; i < map->fm_mapped_extents && rc == VMB_OK; i++) {
        const struct fiemap_extent *e = &map->fm_extents[i];
        int64_t start = (int64_t)e->fe_logical;
        int64_t end = start + (int64_t)e->fe_length;
        *last = *last || (e->fe_flags & FIEMAP_EXTENT_LAST) != 0;
        start = start < *from ? *from : start;
        end = end > to ? to : end;
        if (is_unwritten(e) && start < end) {
            rc = push(out, *from, start, VMB_EXTENT_DATA, err);
            if (rc == VMB_OK) {
                rc = push(out, start, end, VMB_EXTENT_ZERO, err);
            }
            *from = end;
        }
    }
    return rc;
}

/* A range in which SEEK_HOLE has found data only. What the map does not tell of is data. */
static vmb_code push_data(const vmbi_blocks_file *f, int64_t from, int64_t to,
                          vmb_extent_sink *out, vmb_error **err)
{
    const size_t size = sizeof(struct fiemap) + MAP_EXTENTS * sizeof(struct fiemap_extent);
    bool last = f->is_device || to - from < MAP_WORTH;
    int64_t ask = from;
    vmb_code rc = VMB_OK;
    struct fiemap *map = last ? NULL : vmbi_alloc(size);
    while (rc == VMB_OK && map != NULL && !last && ask < to) {
        memset(map, 0, size);
        map->fm_start = (uint64_t)ask;
        map->fm_length = (uint64_t)(to - ask);
        map->fm_flags = FIEMAP_FLAG_SYNC; /* else what lies in memory only is missing */
        map->fm_extent_count = MAP_EXTENTS;
        if (ioctl(f->fd, FS_IOC_FIEMAP, map) != 0) {
            break; /* not every file system has it */
        }
        rc = push_mapped(map, &from, to, &last, out, err);
        if (map->fm_mapped_extents > 0) {
            const struct fiemap_extent *e = &map->fm_extents[map->fm_mapped_extents - 1];
            int64_t next = (int64_t)(e->fe_logical + e->fe_length);
            last = last || next <= ask;
            ask = next;
        }
    }
    vmbi_free(map);
    return rc == VMB_OK ? push(out, from, to, VMB_EXTENT_DATA, err) : rc;
}

vmb_code vmbi_blocks_file_extents(void *user, vmb_job *job, int64_t offset_bytes,
                                  int64_t length_bytes, const char *since, vmb_extent_sink *out,
                                  vmb_error **err)
{
    const vmbi_blocks_file *f = user;
    const int64_t end = offset_bytes + length_bytes;
    int64_t at = offset_bytes;
    vmb_code rc = VMB_OK;
    if (since != NULL) {
        return vmbi_fail(err, VMB_E_NOT_FOUND, "%s: a file does not know what has changed",
                         f->path);
    }
    while (at < end && rc == VMB_OK) {
        off_t data = lseek(f->fd, (off_t)at, SEEK_DATA);
        if (data < 0 && errno == ENXIO) {
            return push(out, at, end, VMB_EXTENT_ZERO, err); /* a hole up to the end */
        }
        off_t hole = data >= 0 ? lseek(f->fd, data, SEEK_HOLE) : -1;
        if (data < 0 || hole <= data) { /* a device, or a file system without: all may be data */
            return push(out, at, end, VMB_EXTENT_DATA, err);
        }
        data = data > end ? end : data;
        hole = hole > end ? end : hole;
        rc = push(out, at, data, VMB_EXTENT_ZERO, err);
        if (rc == VMB_OK && data < hole) {
            rc = push_data(f, data, hole, out, err);
        }
        if (rc == VMB_OK && job != NULL) {
            rc = vmbi_limits_check(&job->limits, err, "look for holes");
        }
        at = hole;
    }
    return rc;
}
