/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/file.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/error.h"

enum { READ_CHUNK = 8192, PIPE_WAIT_MS = 5000 };

/* One read; waits for a pipe. *n receives the bytes, 0 at the end. */
static vmb_code read_some(int fd, char *chunk, size_t *n, const char *what, const char *path,
                          vmb_error **err)
{
    for (;;) {
        ssize_t got = read(fd, chunk, READ_CHUNK);
        if (got >= 0) {
            *n = (size_t)got;
            return VMB_OK;
        }
        if (errno == EAGAIN) {
            struct pollfd p = {fd, POLLIN, 0};
            if (poll(&p, 1, PIPE_WAIT_MS) == 0) {
                return vmbi_fail(err, VMB_E_TIMEOUT, "read %s %s: no data came", what, path);
            }
        } else if (errno != EINTR) {
            return vmbi_fail_errno(err, errno, "read %s %s", what, path);
        }
    }
}

vmb_code vmbi_kube_file_read(const char *path, size_t max, const char *what, char **out,
                             size_t *out_len, vmb_error **err)
{
    char chunk[READ_CHUNK];
    vmbi_buf buf = VMBI_BUF_INIT(max);
    vmb_code rc = VMB_OK;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        return vmbi_fail_errno(err, errno, "open %s %s", what, path);
    }
    for (;;) {
        size_t n = 0;
        rc = read_some(fd, chunk, &n, what, path, err);
        if (rc != VMB_OK || n == 0) {
            break;
        }
        vmbi_buf_add(&buf, chunk, n);
        if (buf.status != VMB_OK) {
            rc = buf.status == VMB_E_LIMIT
                     ? vmbi_fail(err, VMB_E_LIMIT, "read %s %s: larger than %zu bytes", what, path,
                                 max)
                     : vmbi_fail_nomem(err);
            break;
        }
    }
    if (rc == VMB_OK) {
        rc = vmbi_buf_take(&buf, out, out_len, err, what);
    }
    explicit_bzero(chunk, sizeof(chunk));
    if (buf.data != NULL) {
        explicit_bzero(buf.data, buf.cap);
    }
    vmbi_buf_free(&buf);
    (void)close(fd); /* read only: nothing can be lost */
    return rc;
}

bool vmbi_kube_file_stamp(const char *path, vmbi_kube_stamp *out)
{
    struct stat st;
    if (stat(path, &st) != 0) {
        return false;
    }
    *out = (vmbi_kube_stamp){
        .device = (uint64_t)st.st_dev,
        .inode = (uint64_t)st.st_ino,
        .size = (uint64_t)st.st_size,
        .mtime_ns = (int64_t)st.st_mtim.tv_sec * VMBI_SECOND + (int64_t)st.st_mtim.tv_nsec,
    };
    return true;
}

bool vmbi_kube_stamp_equal(const vmbi_kube_stamp *a, const vmbi_kube_stamp *b)
{
    return a->device == b->device && a->inode == b->inode && a->size == b->size &&
           a->mtime_ns == b->mtime_ns;
}

void vmbi_kube_wipe(char *secret)
{
    if (secret != NULL) {
        explicit_bzero(secret, strlen(secret));
        vmbi_free(secret);
    }
}
