/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/gzip.h"

#include <string.h>

#include <isa-l/igzip_lib.h>

#include "base/alloc.h"
#include "base/error.h"

enum {
    /* On a tar of Kubernetes objects level 1 is 30 % smaller than level 0 at the same speed (about
     * 2 GB/s) and within 4 % of zlib's level 6 (0.14 GB/s); level 2 gains nothing over 1, level 3 2
     * % at a tenth of the speed. Measured by tests/bench/bench_gzip.c. */
    LEVEL = 1,
    OUT_SIZE = 64 * 1024,
    IN_SIZE = 64 * 1024,
    MIN_ROOM = 512 /* igzip writes words: a nearly full buffer would stall it */
};

/* What Go's compress/gzip writes at its default level: no name, no time, unknown system. */
static const uint8_t header[10] = {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff};

struct vmbi_gzip {
    struct isal_zstream z;
    vmbi_write_fn fn;
    void *user;
    _Alignas(16) uint8_t level_buf[ISAL_DEF_LVL1_DEFAULT];
    size_t in_len;
    uint8_t in[IN_SIZE]; /* collects small writes: each call of igzip costs microseconds */
    uint8_t out[OUT_SIZE];
};

vmb_code vmbi_gzip_new(vmbi_write_fn fn, void *user, vmbi_gzip **out, vmb_error **err)
{
    vmbi_gzip *z = vmbi_alloc(sizeof(*z));

    if (z == NULL) {
        return vmbi_fail_nomem(err);
    }
    isal_deflate_init(&z->z);
    z->z.level = LEVEL;
    z->z.level_buf = z->level_buf;
    z->z.level_buf_size = sizeof(z->level_buf);
    z->z.gzip_flag = IGZIP_GZIP_NO_HDR; /* the trailer is ISA-L's */
    z->fn = fn;
    z->user = user;
    z->in_len = 0;
    memcpy(z->out, header, sizeof(header));
    z->z.next_out = z->out + sizeof(header);
    z->z.avail_out = OUT_SIZE - sizeof(header);
    *out = z;
    return VMB_OK;
}

static vmb_code flush_out(vmbi_gzip *z, vmb_error **err)
{
    size_t n = OUT_SIZE - z->z.avail_out;
    vmb_code code = n == 0 ? VMB_OK : z->fn(z->user, z->out, n, err);

    z->z.next_out = z->out;
    z->z.avail_out = OUT_SIZE;
    return code;
}

/* Compresses what next_in holds; output leaves in large pieces. */
static vmb_code deflate_step(vmbi_gzip *z, vmb_error **err)
{
    vmb_code code;

    if (z->z.avail_out < MIN_ROOM) {
        code = flush_out(z, err);
        if (code != VMB_OK) {
            return code;
        }
    }
    if (isal_deflate(&z->z) != COMP_OK) {
        return vmbi_fail(err, VMB_E_INTERNAL, "compress: igzip refused its own state");
    }
    return VMB_OK;
}

static vmb_code deflate_all(vmbi_gzip *z, const uint8_t *p, size_t len, vmb_error **err)
{
    vmb_code code = VMB_OK;

    while (len > 0 && code == VMB_OK) {
        uint32_t n = len > (1U << 30) ? 1U << 30 : (uint32_t)len;

        z->z.next_in = (uint8_t *)(uintptr_t)p; /* igzip reads only */
        z->z.avail_in = n;
        while (z->z.avail_in > 0 && code == VMB_OK) {
            code = deflate_step(z, err);
        }
        p += n;
        len -= n;
    }
    return code;
}

static vmb_code flush_in(vmbi_gzip *z, vmb_error **err)
{
    size_t n = z->in_len;

    z->in_len = 0;
    return deflate_all(z, z->in, n, err);
}

vmb_code vmbi_gzip_write(vmbi_gzip *z, const void *data, size_t len, vmb_error **err)
{
    if (len > IN_SIZE - z->in_len) {
        vmb_code code = flush_in(z, err);

        if (code != VMB_OK || len >= IN_SIZE) {
            return code != VMB_OK ? code : deflate_all(z, data, len, err);
        }
    }
    if (len > 0) {
        memcpy(z->in + z->in_len, data, len);
        z->in_len += len;
    }
    return VMB_OK;
}

vmb_code vmbi_gzip_finish(vmbi_gzip *z, vmb_error **err)
{
    vmb_code code = flush_in(z, err);

    z->z.end_of_stream = 1;
    z->z.avail_in = 0;
    while (z->z.internal_state.state != ZSTATE_END && code == VMB_OK) {
        code = deflate_step(z, err);
    }
    return code == VMB_OK ? flush_out(z, err) : code;
}

void vmbi_gzip_free(vmbi_gzip *z)
{
    vmbi_free(z);
}

static vmb_code write_to_buf(void *user, const void *data, size_t len, vmb_error **err)
{
    vmbi_buf *b = user;

    vmbi_buf_add(b, data, len);
    return vmbi_buf_check(b, err, "gzip output");
}

vmb_code vmbi_gzip_buf(const void *data, size_t len, vmbi_buf *out, vmb_error **err)
{
    vmbi_gzip *z = NULL;
    size_t before = out->len;
    vmb_code code = vmbi_gzip_new(write_to_buf, out, &z, err);

    if (code == VMB_OK) {
        code = vmbi_gzip_write(z, data, len, err);
    }
    if (code == VMB_OK) {
        code = vmbi_gzip_finish(z, err);
    }
    if (code != VMB_OK && out->data != NULL) {
        out->len = before;
        out->data[before] = '\0';
    }
    vmbi_gzip_free(z);
    return code;
}
