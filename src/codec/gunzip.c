/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/gunzip.h"

#include <limits.h>
#include <string.h>

#include <zlib.h>

#include "base/alloc.h"
#include "base/error.h"
#include "codec/gzip.h"

enum { OUT_SIZE = 64 * 1024, GZIP_WINDOW = 15 + 16 /* gzip only, largest window */ };

struct vmbi_inflate {
    z_stream z;
    bool member_ended; /* between members: more may follow, or the end */
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

vmb_code vmbi_inflate_new(vmbi_inflate **out, vmb_error **err)
{
    vmbi_inflate *z = vmbi_zalloc(sizeof(*z));

    if (z == NULL) {
        return vmbi_fail_nomem(err);
    }
    z->z.zalloc = zlib_alloc;
    z->z.zfree = zlib_free;
    if (inflateInit2(&z->z, GZIP_WINDOW) != Z_OK) {
        vmbi_free(z);
        return vmbi_fail_nomem(err);
    }
    *out = z;
    return VMB_OK;
}

void vmbi_inflate_free(vmbi_inflate *z)
{
    if (z != NULL) {
        (void)inflateEnd(&z->z);
        vmbi_free(z);
    }
}

static unsigned cut(size_t n)
{
    return n > UINT_MAX ? UINT_MAX : (unsigned)n;
}

vmb_code vmbi_inflate_step(vmbi_inflate *z, const uint8_t **in, size_t *in_len, uint8_t *out,
                           size_t out_size, size_t *made, vmb_error **err)
{
    size_t done = 0;

    /* zlib may hold output back when it had no room: it is asked even without input. */
    while (done < out_size) {
        unsigned given = cut(*in_len);
        unsigned room = cut(out_size - done);
        int rc;

        if (z->member_ended) {
            if (given == 0) {
                break;
            }
            (void)inflateReset(&z->z); /* fails only for a broken state */
            z->member_ended = false;
        }
        z->z.next_in = (Bytef *)(uintptr_t)*in; /* zlib reads only */
        z->z.avail_in = given;
        z->z.next_out = out + done;
        z->z.avail_out = room;
        rc = inflate(&z->z, Z_NO_FLUSH);
        *in += given - z->z.avail_in;
        *in_len -= given - z->z.avail_in;
        done += room - z->z.avail_out;
        z->member_ended = rc == Z_STREAM_END;
        if (rc == Z_MEM_ERROR) {
            return vmbi_fail_nomem(err);
        }
        if (rc != Z_OK && rc != Z_STREAM_END && rc != Z_BUF_ERROR) {
            return vmbi_fail(err, VMB_E_PARSE, "damaged gzip data: %s",
                             z->z.msg == NULL ? "unknown reason" : z->z.msg);
        }
        if (rc == Z_BUF_ERROR || (*in_len == 0 && z->z.avail_out > 0)) {
            break;
        }
    }
    *made = done;
    return VMB_OK;
}

vmb_code vmbi_inflate_finish(const vmbi_inflate *z, vmb_error **err)
{
    return z->member_ended ? VMB_OK : vmbi_fail(err, VMB_E_PARSE, "gzip data ends before its end");
}

struct vmbi_gunzip {
    vmbi_inflate *z;
    uint64_t max_out; /* 0: none */
    uint64_t total;
    vmbi_write_fn fn;
    void *user;
    uint8_t out[OUT_SIZE];
};

vmb_code vmbi_gunzip_new(uint64_t max_out, vmbi_write_fn fn, void *user, vmbi_gunzip **out,
                         vmb_error **err)
{
    vmbi_gunzip *g = vmbi_alloc(sizeof(*g));
    vmb_code code;

    if (g == NULL) {
        return vmbi_fail_nomem(err);
    }
    code = vmbi_inflate_new(&g->z, err);
    if (code != VMB_OK) {
        vmbi_free(g);
        return code;
    }
    g->max_out = max_out;
    g->total = 0;
    g->fn = fn;
    g->user = user;
    *out = g;
    return VMB_OK;
}

vmb_code vmbi_gunzip_write(vmbi_gunzip *g, const void *data, size_t len, vmb_error **err)
{
    const uint8_t *p = data;
    size_t made = OUT_SIZE;

    while (len > 0 || made == OUT_SIZE) {
        vmb_code code = vmbi_inflate_step(g->z, &p, &len, g->out, OUT_SIZE, &made, err);

        if (code != VMB_OK) {
            return code;
        }
        g->total += made;
        if (g->max_out != 0 && g->total > g->max_out) {
            return vmbi_fail(err, VMB_E_LIMIT, "gzip data holds more than %llu bytes",
                             (unsigned long long)g->max_out);
        }
        if (made > 0) {
            code = g->fn(g->user, g->out, made, err);
            if (code != VMB_OK) {
                return code;
            }
        }
    }
    return VMB_OK;
}

vmb_code vmbi_gunzip_finish(vmbi_gunzip *g, vmb_error **err)
{
    return vmbi_inflate_finish(g->z, err);
}

void vmbi_gunzip_free(vmbi_gunzip *g)
{
    if (g != NULL) {
        vmbi_inflate_free(g->z);
        vmbi_free(g);
    }
}
