/* SPDX-License-Identifier: Apache-2.0 */
/* A regular file or a block device as a disk. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/job.h"
#include "base/strs.h"
#include "providers/blocks_file/file.h"
#include "providers/builtin.h"

static void file_destroy(void *user)
{
    vmbi_blocks_file *f = user;
    (void)close(f->fd);
    vmbi_free(f->path);
    vmbi_free(f);
}

static vmb_code file_size(void *user, vmb_job *job, int64_t *size_bytes, vmb_error **err)
{
    const vmbi_blocks_file *f = user;
    (void)job;
    if (f->is_device) {
        uint64_t size = 0;
        if (ioctl(f->fd, BLKGETSIZE64, &size) != 0) {
            return vmbi_fail_errno(err, errno, "size of %s", f->path);
        }
        if (size > INT64_MAX) {
            return vmbi_fail(err, VMB_E_LIMIT, "size of %s: too big", f->path);
        }
        *size_bytes = (int64_t)size;
        return VMB_OK;
    }
    struct stat st;
    if (fstat(f->fd, &st) != 0) {
        return vmbi_fail_errno(err, errno, "size of %s", f->path);
    }
    *size_bytes = st.st_size;
    return VMB_OK;
}

static vmb_code file_pread(void *user, vmb_job *job, void *data, size_t len, int64_t offset_bytes,
                           vmb_error **err)
{
    const vmbi_blocks_file *f = user;
    uint8_t *p = data;
    (void)job;
    while (len > 0) {
        ssize_t n = pread(f->fd, p, len, (off_t)offset_bytes);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return vmbi_fail(err, VMB_E_IO, "read %s at %lld: %s", f->path,
                             (long long)offset_bytes, strerrordesc_np(errno));
        }
        if (n == 0) {
            return vmbi_fail(err, VMB_E_IO,
                             "read %s at %lld: it ends here; it has become smaller meanwhile",
                             f->path, (long long)offset_bytes);
        }
        p += n;
        len -= (size_t)n;
        offset_bytes += n;
    }
    return VMB_OK;
}

vmb_code vmbi_blocks_file_write(const vmbi_blocks_file *f, const void *data, size_t len,
                                int64_t offset_bytes, vmb_error **err)
{
    const uint8_t *p = data;
    while (len > 0) {
        ssize_t n = pwrite(f->fd, p, len, (off_t)offset_bytes);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) { /* the end of a device is ENOSPC */
            return vmbi_fail_errno(err, n < 0 ? errno : ENOSPC, "write to %s at %lld", f->path,
                                   (long long)offset_bytes);
        }
        p += n;
        len -= (size_t)n;
        offset_bytes += n;
    }
    return VMB_OK;
}

static vmb_code file_pwrite(void *user, vmb_job *job, const void *data, size_t len,
                            int64_t offset_bytes, vmb_error **err)
{
    (void)job;
    return vmbi_blocks_file_write(user, data, len, offset_bytes, err);
}

static vmb_code file_resize(void *user, vmb_job *job, int64_t size_bytes, vmb_error **err)
{
    const vmbi_blocks_file *f = user;
    if (!f->is_device) {
        return ftruncate(f->fd, (off_t)size_bytes) == 0
                   ? VMB_OK
                   : vmbi_fail_errno(err, errno, "make %s %lld bytes big", f->path,
                                     (long long)size_bytes);
    }
    int64_t have = 0;
    vmb_code rc = file_size(user, job, &have, err);
    if (rc == VMB_OK && have < size_bytes) {
        rc = vmbi_fail(err, VMB_E_FULL, "%s has %lld bytes, %lld are needed", f->path,
                       (long long)have, (long long)size_bytes);
    }
    return rc;
}

static vmb_code file_flush(void *user, vmb_job *job, vmb_error **err)
{
    const vmbi_blocks_file *f = user;
    (void)job;
    if (fdatasync(f->fd) != 0) {
        return vmbi_fail_errno(err, errno, "flush %s", f->path);
    }
    /* who reads it back wants to see what is on the disk */
    (void)posix_fadvise(f->fd, 0, 0, POSIX_FADV_DONTNEED);
    return VMB_OK;
}

/* ---- opening ------------------------------------------------------------------------------- */

static vmb_code not_a_disk(const char *path, vmb_error **err)
{
    return vmbi_fail(err, VMB_E_INVALID, "%s is neither a regular file nor a block device", path);
}

/* Is it a name in /dev, where a new file would be memory that nobody meant? */
static bool names_device(const char *path)
{
    return vmbi_starts_with(path, "/dev/") && !vmbi_starts_with(path, "/dev/shm/");
}

/* O_EXCL on a device refuses one that is mounted (Linux does not look at it for files);
 * O_NONBLOCK does not wait at a FIFO. A file is made only where nothing is, not even a link whose
 * device has gone. */
static int open_or_make(const char *path, bool write)
{
    const int flags = O_CLOEXEC | O_NONBLOCK | (write ? O_RDWR | O_EXCL : O_RDONLY);
    int fd = open(path, flags);
    if (fd < 0 && errno == ENOENT && write && !names_device(path)) {
        fd = open(path, flags | O_CREAT, 0600);
    }
    return fd;
}

static vmb_code open_path(const char *path, bool write, vmbi_blocks_file *f, vmb_error **err)
{
    struct stat st;
    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode)) {
        return not_a_disk(path, err); /* before opening it does something */
    }
    f->fd = open_or_make(path, write);
    if (f->fd < 0 && errno == EBUSY) {
        return vmbi_fail(err, VMB_E_IO, "open %s: it is in use; is it mounted?", path);
    }
    if (f->fd < 0 || fstat(f->fd, &st) != 0) {
        return vmbi_fail_errno(err, errno, "open %s", path);
    }
    f->is_device = S_ISBLK(st.st_mode);
    return f->is_device || S_ISREG(st.st_mode) ? VMB_OK : not_a_disk(path, err);
}

vmb_code vmbi_blocks_file_new(const char *path, bool write, vmb_blocks_provider *out,
                              vmb_error **err)
{
    vmbi_blocks_file *f = vmbi_zalloc(sizeof(*f));
    if (f == NULL) {
        return vmbi_fail_nomem(err);
    }
    f->fd = -1;
    f->path = vmbi_strdup(path);
    vmb_code rc = f->path != NULL ? open_path(path, write, f, err) : vmbi_fail_nomem(err);
    if (rc != VMB_OK) {
        if (f->fd >= 0) {
            (void)close(f->fd);
        }
        vmbi_free(f->path);
        vmbi_free(f);
        return rc;
    }
    *out = (vmb_blocks_provider){
        .struct_size = sizeof(*out),
        .api_version = VMB_PROVIDER_API,
        .name = "file",
        .user = f,
        .destroy = file_destroy,
        .size = file_size,
        .pread = file_pread,
        .extents = vmbi_blocks_file_extents,
        .resize = write ? file_resize : NULL,
        .pwrite = write ? file_pwrite : NULL,
        .zero = write ? vmbi_blocks_file_zero : NULL,
        .flush = write ? file_flush : NULL,
    };
    return VMB_OK;
}
