/* SPDX-License-Identifier: Apache-2.0 */
/* Zeros without storage: a hole in a file; on a device what it has for that, without a discard
 * whose result nobody promises. */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/ioctl.h>

#include "base/error.h"
#include "base/job.h"
#include "providers/blocks_file/file.h"

enum {
    ZEROS = 65536,
    ALIGN = 4096, /* of the part that a device zeroes itself: no known one has larger blocks */
    ZERO_STEP = 1 << 30 /* bytes between two looks at cancellation */
};

static const uint8_t zeros[ZEROS];

static vmb_code write_zeros(const vmbi_blocks_file *f, vmb_job *job, int64_t from, int64_t to,
                            vmb_error **err)
{
    vmb_code rc = VMB_OK;
    while (from < to && rc == VMB_OK) {
        size_t n = to - from < ZEROS ? (size_t)(to - from) : ZEROS;
        rc = vmbi_blocks_file_write(f, zeros, n, from, err);
        if (rc == VMB_OK && job != NULL) {
            rc = vmbi_limits_check(&job->limits, err, "write zeros");
        }
        from += (int64_t)n;
    }
    return rc;
}

static int allocate(int fd, int mode, int64_t from, int64_t len)
{
    int rc = 0;
    do {
        rc = fallocate(fd, mode, (off_t)from, (off_t)len);
    } while (rc != 0 && errno == EINTR);
    return rc;
}

/* Aligned on devices. false: it cannot be done this way. */
static bool cheap_zero(const vmbi_blocks_file *f, int64_t from, int64_t len)
{
    if (allocate(f->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, from, len) == 0) {
        return true;
    }
    if (f->is_device) {
        uint64_t range[2] = {(uint64_t)from, (uint64_t)len};
        return ioctl(f->fd, BLKZEROOUT, range) == 0;
    }
    return allocate(f->fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, from, len) == 0;
}

vmb_code vmbi_blocks_file_zero(void *user, vmb_job *job, int64_t offset_bytes,
                               int64_t length_bytes, vmb_error **err)
{
    const vmbi_blocks_file *f = user;
    const int64_t end = offset_bytes + length_bytes;
    int64_t from = offset_bytes;
    int64_t to = end;
    if (f->is_device) {
        from = (offset_bytes + ALIGN - 1) / ALIGN * ALIGN;
        to = end / ALIGN * ALIGN;
        if (from >= to) {
            return write_zeros(f, job, offset_bytes, end, err);
        }
    }
    vmb_code rc = write_zeros(f, job, offset_bytes, from, err);
    while (rc == VMB_OK && from < to) {
        int64_t n = to - from < ZERO_STEP ? to - from : ZERO_STEP;
        rc = cheap_zero(f, from, n) ? VMB_OK : write_zeros(f, job, from, from + n, err);
        if (rc == VMB_OK && job != NULL) {
            rc = vmbi_limits_check(&job->limits, err, "write zeros");
        }
        from += n;
    }
    return rc == VMB_OK ? write_zeros(f, job, to, end, err) : rc;
}
