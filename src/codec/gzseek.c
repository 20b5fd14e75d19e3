/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/gzseek.h"

#include <limits.h>
#include <string.h>

#include <zlib.h>

#include "base/alloc.h"
#include "base/error.h"

enum {
    IN_SIZE = 64 * 1024,
    WINDOW = 32 * 1024,
    GZIP_BITS = 15 + 16, /* gzip, largest window */
    RAW_BITS = -15,      /* blocks only */
    TRAILER = 8,         /* behind a member's blocks */
    MARKS_MAX = 256,     /* 8 MiB of windows at the very most */
    FIRST_SPAN = 256 * 1024
};

typedef struct mark {
    uint64_t in;  /* the first byte of which no bit was used */
    uint64_t out; /* of the data */
    int bits;     /* used last of the byte before `in`: those that were left of it */
    char *window; /* compressed; NULL: nothing comes before */
    size_t len;
} mark;

/* Compressed data on its way through zlib. */
typedef struct input {
    vmbi_read_fn read;
    void *user;
    z_stream z;
    uint64_t pos; /* of z.next_in in the compressed data */
    bool eof;
    uint8_t buf[IN_SIZE];
} input;

struct vmbi_gzscan {
    input in;
    bool begun;
    bool plain;        /* no gzip data at all */
    bool member_ended; /* between members */
    uint64_t out;
    uint64_t span; /* of data between marks */
    mark *marks;
    size_t n;
};

static void *zlib_alloc(void *user, unsigned n, unsigned size)
{
    (void)user;
    return vmbi_alloc_array(n, size);
}

static void zlib_free(void *user, void *p)
{
    (void)user;
    vmbi_free(p);
}

static vmb_code init_input(input *in, vmbi_read_fn read, void *user, int bits, vmb_error **err)
{
    in->read = read;
    in->user = user;
    in->z.zalloc = zlib_alloc;
    in->z.zfree = zlib_free;
    return inflateInit2(&in->z, bits) == Z_OK ? VMB_OK : vmbi_fail_nomem(err);
}

/* More input behind what is left, or eof. */
static vmb_code refill(input *in, vmb_error **err)
{
    size_t left = in->z.avail_in;
    if (left > 0) {
        memmove(in->buf, in->z.next_in, left);
    }
    int64_t n = in->read(in->user, in->buf + left, sizeof(in->buf) - left, err);
    if (n < 0) {
        return (vmb_code)n;
    }
    if ((uint64_t)n > sizeof(in->buf) - left) {
        return vmbi_fail(err, VMB_E_PROVIDER, "read of an archive gave too many bytes");
    }
    in->eof = n == 0;
    in->z.next_in = in->buf;
    in->z.avail_in = (unsigned)(left + (size_t)n);
    return VMB_OK;
}

/* One call of zlib; *made: how much it gave. */
static int step(input *in, void *buf, size_t size, int flush, size_t *made)
{
    unsigned before = in->z.avail_in;
    unsigned room = size > UINT_MAX ? UINT_MAX : (unsigned)size;
    in->z.next_out = buf;
    in->z.avail_out = room;
    int rc = inflate(&in->z, flush);
    in->pos += before - in->z.avail_in;
    *made = room - in->z.avail_out;
    return rc;
}

static vmb_code fail_zlib(const input *in, int rc, vmb_error **err)
{
    if (rc == Z_MEM_ERROR) {
        return vmbi_fail_nomem(err);
    }
    if (rc == Z_BUF_ERROR) {
        return vmbi_fail(err, VMB_E_PARSE, "gzip data ends before its end");
    }
    return vmbi_fail(err, VMB_E_PARSE, "damaged gzip data: %s",
                     in->z.msg == NULL ? "unknown reason" : in->z.msg);
}

/* ---- scanning ------------------------------------------------------------------------------ */

vmb_code vmbi_gzscan_new(vmbi_read_fn read, void *user, vmbi_gzscan **out, vmb_error **err)
{
    vmbi_gzscan *s = vmbi_zalloc(sizeof(*s));
    if (s == NULL) {
        return vmbi_fail_nomem(err);
    }
    s->span = FIRST_SPAN;
    s->marks = vmbi_alloc_array(MARKS_MAX, sizeof(*s->marks));
    vmb_code rc =
        s->marks != NULL ? init_input(&s->in, read, user, GZIP_BITS, err) : vmbi_fail_nomem(err);
    if (rc != VMB_OK) {
        vmbi_free(s->marks);
        vmbi_free(s);
        return rc;
    }
    *out = s;
    return VMB_OK;
}

void vmbi_gzscan_free(vmbi_gzscan *s)
{
    if (s == NULL) {
        return;
    }
    for (size_t i = 0; i < s->n; i++) {
        vmbi_free(s->marks[i].window);
    }
    vmbi_free(s->marks);
    (void)inflateEnd(&s->in.z);
    vmbi_free(s);
}

/* Every second mark goes, and the next ones come half as often. */
static void thin_out(vmbi_gzscan *s)
{
    for (size_t i = 0; i < s->n; i++) {
        if (i % 2 == 0) {
            s->marks[i / 2] = s->marks[i];
        } else {
            vmbi_free(s->marks[i].window);
        }
    }
    s->n = (s->n + 1) / 2;
    s->span *= 2;
}

static vmb_code add_mark(vmbi_gzscan *s, vmb_error **err)
{
    uint8_t window[WINDOW];
    unsigned len = sizeof(window);
    vmbi_buf packed = VMBI_BUF_INIT(2 * (size_t)WINDOW);
    if (s->n == MARKS_MAX) {
        thin_out(s);
    }
    mark m = {s->in.pos, s->out, s->in.z.data_type & 7, NULL, 0};
    vmb_code rc = VMB_OK;
    if (inflateGetDictionary(&s->in.z, window, &len) != Z_OK) {
        return vmbi_fail(err, VMB_E_PARSE, "damaged gzip data");
    }
    if (len > 0) {
        rc = vmbi_gzip_buf(window, len, &packed, err);
        m.window = rc == VMB_OK ? vmbi_memdup(packed.data, packed.len) : NULL;
        m.len = packed.len;
        rc = rc == VMB_OK && m.window == NULL ? vmbi_fail_nomem(err) : rc;
    }
    vmbi_buf_free(&packed);
    if (rc == VMB_OK) {
        s->marks[s->n++] = m;
    }
    return rc;
}

/* Decides by the first two bytes. */
static vmb_code begin(vmbi_gzscan *s, vmb_error **err)
{
    vmb_code rc = VMB_OK;
    while (rc == VMB_OK && s->in.z.avail_in < 2 && !s->in.eof) {
        rc = refill(&s->in, err);
    }
    s->begun = true;
    s->plain = s->in.z.avail_in < 2 || s->in.buf[0] != 0x1f || s->in.buf[1] != 0x8b;
    return rc;
}

static int64_t pass_on(input *in, void *buf, size_t size, vmb_error **err)
{
    if (in->z.avail_in == 0 && !in->eof) {
        vmb_code rc = refill(in, err);
        if (rc != VMB_OK) {
            return rc;
        }
    }
    size_t n = in->z.avail_in < size ? in->z.avail_in : size;
    memcpy(buf, in->z.next_in, n);
    in->z.next_in += n;
    in->z.avail_in -= (unsigned)n;
    return (int64_t)n;
}

/* Up to the end of a block at most. *made 0: go on. */
static vmb_code scan_block(vmbi_gzscan *s, void *buf, size_t size, size_t *made, vmb_error **err)
{
    if (s->member_ended) {
        (void)inflateReset(&s->in.z); /* fails only for a broken state */
        s->member_ended = false;
    }
    int rc = step(&s->in, buf, size, Z_BLOCK, made);
    s->out += *made;
    s->member_ended = rc == Z_STREAM_END;
    if (rc != Z_OK && rc != Z_STREAM_END && (rc != Z_BUF_ERROR || s->in.eof)) {
        return fail_zlib(&s->in, rc, err);
    }
    bool block = rc == Z_OK && (s->in.z.data_type & 128) != 0 && (s->in.z.data_type & 64) == 0;
    uint64_t due = s->n == 0 ? 0 : s->marks[s->n - 1].out + s->span;
    return block && s->out >= due ? add_mark(s, err) : VMB_OK;
}

int64_t vmbi_gzscan_read(void *scan, void *buf, size_t size, vmb_error **err)
{
    vmbi_gzscan *s = scan;
    vmb_code rc = s->begun ? VMB_OK : begin(s, err);
    size_t made = 0;
    if (rc == VMB_OK && s->plain) {
        return pass_on(&s->in, buf, size, err);
    }
    while (rc == VMB_OK && made == 0) {
        if (s->in.z.avail_in == 0 && !s->in.eof) {
            rc = refill(&s->in, err);
        }
        if (rc == VMB_OK && s->member_ended && s->in.z.avail_in == 0 && s->in.eof) {
            return 0;
        }
        if (rc == VMB_OK) {
            rc = scan_block(s, buf, size, &made, err);
        }
    }
    return rc == VMB_OK ? (int64_t)made : rc;
}

/* ---- reading from the middle --------------------------------------------------------------- */

struct vmbi_gzcursor {
    input in;
    const mark *from; /* NULL: from the start */
    uint64_t skip;    /* data before the place */
    bool primed;
    bool raw;         /* in the blocks of the first member */
    unsigned trailer; /* bytes of it that are still to be passed over */
    bool member_ended;
    bool plain;
};

static const mark *find_mark(const vmbi_gzscan *s, uint64_t place)
{
    const mark *best = NULL;
    for (size_t i = 0; i < s->n && s->marks[i].out <= place; i++) {
        best = &s->marks[i];
    }
    return best;
}

uint64_t vmbi_gzscan_start(const vmbi_gzscan *s, uint64_t place)
{
    const mark *m = find_mark(s, place);
    return s->plain ? place : m == NULL ? 0 : m->in - (m->bits > 0 ? 1 : 0);
}

vmb_code vmbi_gzcursor_new(const vmbi_gzscan *s, uint64_t place, vmbi_read_fn read, void *user,
                           vmbi_gzcursor **out, vmb_error **err)
{
    const mark *m = find_mark(s, place);
    vmbi_gzcursor *c = vmbi_zalloc(sizeof(*c));
    if (c == NULL) {
        return vmbi_fail_nomem(err);
    }
    c->from = m;
    c->raw = m != NULL;
    c->plain = s->plain;
    c->skip = s->plain ? 0 : place - (m != NULL ? m->out : 0);
    vmb_code rc = init_input(&c->in, read, user, m != NULL ? RAW_BITS : GZIP_BITS, err);
    if (rc != VMB_OK) {
        vmbi_free(c);
        return rc;
    }
    *out = c;
    return VMB_OK;
}

void vmbi_gzcursor_free(vmbi_gzcursor *c)
{
    if (c != NULL) {
        (void)inflateEnd(&c->in.z);
        vmbi_free(c);
    }
}

static vmb_code to_buf(void *user, const void *data, size_t len, vmb_error **err)
{
    vmbi_buf_add(user, data, len);
    return vmbi_buf_check(user, err, "window");
}

/* Gives zlib the data before the mark, and the bits of the byte that it begins in. */
static vmb_code prime(vmbi_gzcursor *c, vmb_error **err)
{
    const mark *m = c->from;
    vmbi_buf window = VMBI_BUF_INIT(WINDOW);
    vmbi_gunzip *z = NULL;
    vmb_code rc = VMB_OK;
    c->primed = true;
    if (m == NULL) {
        return VMB_OK;
    }
    if (m->bits > 0) {
        rc = refill(&c->in, err);
        if (rc == VMB_OK && c->in.z.avail_in == 0) {
            rc = fail_zlib(&c->in, Z_BUF_ERROR, err);
        }
        if (rc == VMB_OK) {
            int byte = *c->in.z.next_in++;
            c->in.z.avail_in--;
            (void)inflatePrime(&c->in.z, m->bits, byte >> (8 - m->bits));
        }
    }
    if (rc == VMB_OK && m->window != NULL) {
        rc = vmbi_gunzip_new(WINDOW, to_buf, &window, &z, err);
        rc = rc == VMB_OK ? vmbi_gunzip_write(z, m->window, m->len, err) : rc;
        rc = rc == VMB_OK ? vmbi_gunzip_finish(z, err) : rc;
        vmbi_gunzip_free(z);
        if (rc == VMB_OK) {
            (void)inflateSetDictionary(&c->in.z, (const Bytef *)window.data, (uInt)window.len);
        }
    }
    vmbi_buf_free(&window);
    return rc;
}

/* Between members: over the trailer of one that was read as blocks, then as gzip. */
static void next_member(vmbi_gzcursor *c)
{
    unsigned n = c->trailer < c->in.z.avail_in ? c->trailer : c->in.z.avail_in;
    c->in.z.next_in += n;
    c->in.z.avail_in -= n;
    c->trailer -= n;
    if (c->trailer == 0 && c->in.z.avail_in > 0) {
        (void)inflateReset2(&c->in.z, GZIP_BITS);
        c->raw = false;
        c->member_ended = false;
    }
}

static vmb_code read_some(vmbi_gzcursor *c, void *buf, size_t size, size_t *made, vmb_error **err)
{
    vmb_code rc = VMB_OK;
    *made = 0;
    while (rc == VMB_OK && *made == 0) {
        if (c->in.z.avail_in == 0 && !c->in.eof) {
            rc = refill(&c->in, err);
        }
        if (rc == VMB_OK && c->member_ended) {
            next_member(c);
            if (c->member_ended && c->in.eof && c->in.z.avail_in == 0) {
                return VMB_OK; /* the end */
            }
            continue;
        }
        int z = rc == VMB_OK ? step(&c->in, buf, size, Z_NO_FLUSH, made) : Z_OK;
        c->member_ended = z == Z_STREAM_END;
        c->trailer = c->member_ended && c->raw ? TRAILER : 0;
        if (z != Z_OK && z != Z_STREAM_END && (z != Z_BUF_ERROR || c->in.eof)) {
            rc = fail_zlib(&c->in, z, err);
        }
    }
    return rc;
}

int64_t vmbi_gzcursor_read(void *cursor, void *buf, size_t size, vmb_error **err)
{
    vmbi_gzcursor *c = cursor;
    if (c->plain) {
        return pass_on(&c->in, buf, size, err);
    }
    vmb_code rc = c->primed ? VMB_OK : prime(c, err);
    size_t made = 0;
    while (rc == VMB_OK) {
        rc = read_some(c, buf, c->skip > 0 && c->skip < size ? (size_t)c->skip : size, &made, err);
        if (rc != VMB_OK || made == 0 || c->skip == 0) {
            break;
        }
        c->skip -= made;
    }
    return rc == VMB_OK ? (int64_t)made : rc;
}
