/* SPDX-License-Identifier: Apache-2.0 */
#include "providers/store_libs3/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"

enum { IN_MEMORY = 8 * 1024 * 1024 };
#define PUT_MAX (INT64_C(5) * 1024 * 1024 * 1024)

vmb_code vmbi_libs3_spool_init(vmbi_libs3_spool *s, vmb_error **err)
{
    memset(s, 0, sizeof(*s));
    vmbi_buf_init(&s->head, IN_MEMORY);
    s->fd = -1;
    return vmbi_digest_new(VMBI_MD5, &s->md5, err);
}

static vmb_code open_file(vmbi_libs3_spool *s, vmb_error **err)
{
    const char *dir = secure_getenv("TMPDIR");

    dir = dir && dir[0] == '/' ? dir : "/var/tmp";
    s->fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    return s->fd >= 0 ? VMB_OK
                      : vmbi_fail_errno(err, errno, "libs3 store: temporary file in %s", dir);
}

static vmb_code write_file(vmbi_libs3_spool *s, const char *p, size_t len, vmb_error **err)
{
    while (len > 0) {
        const ssize_t n = write(s->fd, p, len);

        if (n < 0 && errno != EINTR) {
            return vmbi_fail_errno(err, errno, "libs3 store: write temporary file");
        }
        p += n > 0 ? n : 0;
        len -= n > 0 ? (size_t)n : 0;
    }
    return VMB_OK;
}

vmb_code vmbi_libs3_spool_write(vmbi_libs3_spool *s, const void *data, size_t len, vmb_error **err)
{
    const size_t room = IN_MEMORY - s->head.len;
    const size_t n = len < room ? len : room;
    vmb_code code = VMB_OK;

    if ((int64_t)len > PUT_MAX - s->size) {
        return vmbi_fail(err, VMB_E_LIMIT,
                         "libs3 store: the object is larger than 5 GiB, which one PUT cannot "
                         "carry; use provider aws");
    }
    vmbi_digest_update(s->md5, data, len);
    if (n > 0) {
        vmbi_buf_add(&s->head, data, n);
        code = vmbi_buf_check(&s->head, err, "object");
    }
    if (code == VMB_OK && len > n && s->fd < 0) {
        code = open_file(s, err);
    }
    if (code == VMB_OK && len > n) {
        code = write_file(s, (const char *)data + n, len - n, err);
    }
    s->size += (int64_t)len;
    return code;
}

int64_t vmbi_libs3_spool_read(const vmbi_libs3_spool *s, int64_t offset, void *buf, size_t len)
{
    const int64_t head = (int64_t)s->head.len;

    if (offset < head) {
        const size_t n = head - offset < (int64_t)len ? (size_t)(head - offset) : len;

        memcpy(buf, s->head.data + offset, n);
        return (int64_t)n;
    }
    if (s->fd < 0) {
        return 0;
    }
    return (int64_t)pread(s->fd, buf, len, (off_t)(offset - head));
}

void vmbi_libs3_spool_done(vmbi_libs3_spool *s)
{
    if (s->fd >= 0) {
        (void)close(s->fd);
        s->fd = -1;
    }
    vmbi_buf_free(&s->head);
    vmbi_digest_free(s->md5);
    s->md5 = NULL;
}
