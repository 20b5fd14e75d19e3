/* SPDX-License-Identifier: Apache-2.0 */
/* Reading archives. libarchive takes the tar apart; gzip is ours, since libarchive does not check
 * the sums of gzip members and a backup must not be trusted without. */
#include <errno.h>
#include <string.h>

#include <archive.h>
#include <archive_entry.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/strs.h"
#include "codec/gunzip.h"
#include "codec/tar.h"

enum { IN_SIZE = 64 * 1024, OUT_SIZE = 128 * 1024 };

typedef struct source {
    vmbi_read_fn read;
    void *user;
    vmbi_inflate *gz;  /* NULL: plain tar */
    const uint8_t *in; /* what is left of buf */
    size_t in_len;
    bool eof;
    vmb_code code; /* first failure; libarchive's message would hide it */
    vmb_error *err;
    uint8_t buf[IN_SIZE];
    uint8_t out[OUT_SIZE];
} source;

/* More input; at the end eof is set. */
static vmb_code refill(source *s)
{
    int64_t n = s->read(s->user, s->buf, sizeof(s->buf), &s->err);

    if (n < 0) {
        s->code = (vmb_code)n;
    } else if ((uint64_t)n > sizeof(s->buf)) {
        s->code = vmbi_fail(&s->err, VMB_E_PROVIDER, "read of an archive gave too many bytes");
    } else {
        s->in = s->buf;
        s->in_len = (size_t)n;
        s->eof = n == 0;
    }
    return s->code;
}

static vmb_code pull_gzip(source *s, size_t *made)
{
    *made = 0;
    while (*made == 0 && s->code == VMB_OK) {
        if (s->in_len == 0 && !s->eof && refill(s) != VMB_OK) {
            break;
        }
        s->code =
            vmbi_inflate_step(s->gz, &s->in, &s->in_len, s->out, sizeof(s->out), made, &s->err);
        if (s->code == VMB_OK && *made == 0 && s->eof) {
            s->code = vmbi_inflate_finish(s->gz, &s->err);
            break;
        }
    }
    return s->code;
}

/* Next bytes of the tar: *data and *len, 0 at the end. */
static vmb_code pull(source *s, const void **data, size_t *len)
{
    if (s->code != VMB_OK) {
        return s->code;
    }
    if (s->gz != NULL) {
        *data = s->out;
        return pull_gzip(s, len);
    }
    if (s->in_len == 0 && !s->eof && refill(s) != VMB_OK) {
        return s->code;
    }
    *data = s->in;
    *len = s->in_len;
    s->in_len = 0;
    return VMB_OK;
}

static la_ssize_t on_read(struct archive *a, void *user, const void **data)
{
    source *s = user;
    size_t len = 0;

    if (pull(s, data, &len) != VMB_OK) {
        archive_set_error(a, EIO, "read failed");
        return -1;
    }
    return (la_ssize_t)len;
}

/* Looks at the first bytes and sets up decompression. */
static vmb_code open_source(source *s)
{
    /* The first read may be short: two bytes must be there to decide. */
    while (s->in_len < 2 && !s->eof) {
        int64_t n = s->read(s->user, s->buf + s->in_len, sizeof(s->buf) - s->in_len, &s->err);

        if (n < 0) {
            s->code = (vmb_code)n;
            return s->code;
        }
        s->eof = n == 0;
        s->in_len += (size_t)n;
    }
    s->in = s->buf;
    if (s->in_len == 0) {
        s->code = vmbi_fail(&s->err, VMB_E_PARSE, "archive is empty");
    } else if (s->in_len >= 2 && s->buf[0] == 0x1f && s->buf[1] == 0x8b) {
        s->code = vmbi_inflate_new(&s->gz, &s->err);
    }
    return s->code;
}

static vmb_code fail_archive(source *s, struct archive *a, vmb_error **err)
{
    if (s->code != VMB_OK) {
        vmbi_error_move(err, &s->err);
        return s->code;
    }
    const char *why = archive_error_string(a);
    if (archive_errno(a) == ENOMEM || why == NULL) { /* some functions only fail for want of it */
        return vmbi_fail_nomem(err);
    }
    return vmbi_fail(err, VMB_E_PARSE, "damaged archive: %s", why);
}

static struct archive *open_archive(source *s, vmb_code *code, vmb_error **err)
{
    struct archive *a = archive_read_new();

    if (a == NULL) {
        *code = vmbi_fail_nomem(err);
        return NULL;
    }
    /* Names are UTF-8 in every archive we read, whatever the locale. archive_read_open() goes on
     * when the data could not be set for want of memory, and crashes: its parts are called here. */
    if (archive_read_support_format_tar(a) != ARCHIVE_OK ||
        archive_read_support_filter_none(a) != ARCHIVE_OK ||
        archive_read_set_callback_data(a, s) != ARCHIVE_OK ||
        archive_read_set_read_callback(a, on_read) != ARCHIVE_OK ||
        archive_read_open1(a) != ARCHIVE_OK) {
        *code = fail_archive(s, a, err);
        archive_read_free(a);
        return NULL;
    }
    return a;
}

/* Without "./" in front; VMB_E_INVALID when it leads out of the archive. */
static vmb_code check_path(const char **path, vmb_error **err)
{
    const char *p = *path;

    while (p[0] == '.' && p[1] == '/') {
        p += 2;
    }
    *path = p;
    if (*p == '\0' || *p == '/') {
        return vmbi_fail(err, VMB_E_INVALID, "archive entry \"%.200s\": path is not relative",
                         *path);
    }
    while (*p != '\0') {
        size_t n = strcspn(p, "/");

        if (n == 2 && p[0] == '.' && p[1] == '.') {
            return vmbi_fail(err, VMB_E_INVALID, "archive entry \"%.200s\": path contains \"..\"",
                             *path);
        }
        p += n + (p[n] == '/' ? 1 : 0);
    }
    return VMB_OK;
}

static vmb_code read_content(source *s, struct archive *a, const char *path, vmbi_buf *content,
                             vmb_error **err)
{
    enum { STEP = 64 * 1024 };

    vmbi_buf_reset(content);
    vmbi_buf_reserve(content, 0); /* an empty file has its NUL too */
    for (;;) {
        size_t room = content->max - content->len < STEP ? content->max - content->len : STEP;

        vmbi_buf_reserve(content, room);
        if (content->status != VMB_OK) {
            return vmbi_buf_check(content, err, path);
        }
        /* a full buffer is asked for one byte more: then the file is too large */
        char over;
        la_ssize_t n = room == 0 ? archive_read_data(a, &over, 1)
                                 : archive_read_data(a, content->data + content->len, room);
        if (n < 0) {
            return fail_archive(s, a, err);
        }
        if (n == 0) {
            content->data[content->len] = '\0';
            return VMB_OK;
        }
        if (room == 0) {
            return vmbi_fail(err, VMB_E_LIMIT, "archive entry %.200s: larger than %zu bytes", path,
                             content->max);
        }
        content->len += (size_t)n;
    }
}

static bool is_ascii(const char *s)
{
    /* '?' stands for what a conversion lost */
    while (*s != '\0' && (unsigned char)*s < 0x80 && *s != '?') {
        s++;
    }
    return *s == '\0';
}

/* libarchive ends the process when it takes a failure for lack of memory, by errno: plain names,
 * which are nearly all, are taken without a conversion that could fail, and errno is not a stale
 * one. */
static const char *entry_path(struct archive_entry *e)
{
    errno = 0;
    const char *path = archive_entry_pathname(e);

    if (path == NULL || !is_ascii(path)) {
        errno = 0;
        const char *utf8 = archive_entry_pathname_utf8(e);
        path = utf8 != NULL ? utf8 : path;
    }
    return path;
}

/* Who gets the entries: one of the two. */
typedef struct receiver {
    vmbi_tar_entry_fn entry;
    vmbi_tar_place_fn place;
    void *user;
} receiver;

/* One entry; *stop when the walk shall end. */
static vmb_code take_entry(source *s, struct archive *a, struct archive_entry *e, vmbi_buf *content,
                           const receiver *to, bool *stop, vmb_error **err)
{
    const char *path = entry_path(e);
    vmb_code code;

    errno = 0; /* see entry_path() */
    if (archive_entry_filetype(e) != AE_IFREG || archive_entry_hardlink(e) != NULL ||
        archive_entry_hardlink_utf8(e) != NULL) {
        return VMB_OK;
    }
    if (path == NULL || !vmbi_utf8_valid(path, strlen(path))) {
        return vmbi_fail(err, VMB_E_INVALID, "archive entry whose path is no UTF-8");
    }
    code = check_path(&path, err);
    if (code == VMB_OK && to->place != NULL) {
        code = to->place(to->user, path, (uint64_t)archive_read_header_position(a), err);
    } else if (code == VMB_OK) {
        code = read_content(s, a, path, content, err);
        code = code == VMB_OK ? to->entry(to->user, path, content->data, content->len, err) : code;
    }
    *stop = code > 0;
    return code > 0 ? VMB_OK : code;
}

/* Behind the last entry: the rest must be readable too, or the archive was cut or damaged. */
static vmb_code drain(source *s, vmb_error **err)
{
    const void *data;
    size_t len;

    do {
        len = 0;
        if (pull(s, &data, &len) != VMB_OK) {
            vmbi_error_move(err, &s->err);
            return s->code;
        }
    } while (len > 0);
    return VMB_OK;
}

/* e is ours: that of the archive is missing when it could not be allocated, and nobody looks. */
static vmb_code walk(source *s, struct archive *a, struct archive_entry *e, vmbi_buf *content,
                     const receiver *to, vmb_error **err)
{
    vmb_code code = VMB_OK;
    bool stop = false;

    while (code == VMB_OK && !stop) {
        int rc = archive_read_next_header2(a, e);

        if (rc == ARCHIVE_EOF) {
            return drain(s, err);
        }
        if (rc != ARCHIVE_OK && rc != ARCHIVE_WARN) {
            return fail_archive(s, a, err);
        }
        code = take_entry(s, a, e, content, to, &stop, err);
    }
    return code;
}

static vmb_code read_archive(vmbi_read_fn read, void *read_user, size_t max_file,
                             const receiver *to, vmb_error **err)
{
    source *s = vmbi_zalloc(sizeof(*s));
    vmbi_buf content = VMBI_BUF_INIT(max_file);
    struct archive_entry *e = NULL;
    struct archive *a = NULL;
    vmb_code code;

    if (s == NULL) {
        return vmbi_fail_nomem(err);
    }
    s->read = read;
    s->user = read_user;
    code = open_source(s);
    if (code != VMB_OK) {
        vmbi_error_move(err, &s->err);
        goto out;
    }
    e = archive_entry_new();
    if (e == NULL) {
        code = vmbi_fail_nomem(err);
        goto out;
    }
    a = open_archive(s, &code, err);
    if (a != NULL) {
        code = walk(s, a, e, &content, to, err);
    }
out:
    archive_entry_free(e);
    if (a != NULL) {
        (void)archive_read_free(a);
    }
    vmbi_buf_free(&content);
    vmbi_inflate_free(s->gz);
    vmb_error_free(s->err);
    vmbi_free(s);
    return code;
}

vmb_code vmbi_tar_read(vmbi_read_fn read, void *read_user, size_t max_file, vmbi_tar_entry_fn fn,
                       void *user, vmb_error **err)
{
    receiver to = {fn, NULL, user};
    return read_archive(read, read_user, max_file, &to, err);
}

vmb_code vmbi_tar_places(vmbi_read_fn read, void *read_user, vmbi_tar_place_fn fn, void *user,
                         vmb_error **err)
{
    receiver to = {NULL, fn, user};
    return read_archive(read, read_user, 0, &to, err);
}
