/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/zstd.h"

#include <zstd.h>
#include <zstd_errors.h>

#include "base/alloc.h"
#include "base/error.h"

/* What a decoder may be made to hold by a frame's header: 128 MiB, the default of zstd itself. */
enum { MAX_WINDOW_LOG = 27 };

struct vmbi_zstd_enc {
    ZSTD_CCtx *ctx;
};

struct vmbi_zstd_dec {
    ZSTD_DCtx *ctx;
};

static vmb_code fail(vmb_error **err, size_t rc, const char *what)
{
    const ZSTD_ErrorCode why = ZSTD_getErrorCode(rc);

    if (why == ZSTD_error_memory_allocation) {
        return vmbi_fail_nomem(err);
    }
    return vmbi_fail(err, why == ZSTD_error_dstSize_tooSmall ? VMB_E_LIMIT : VMB_E_PARSE, "%s: %s",
                     what, ZSTD_getErrorName(rc));
}

vmb_code vmbi_zstd_enc_new(int level, int window_log, vmbi_zstd_enc **out, vmb_error **err)
{
    vmbi_zstd_enc *e = vmbi_zalloc(sizeof(*e));
    size_t rc;

    if (e == NULL) {
        return vmbi_fail_nomem(err);
    }
    e->ctx = ZSTD_createCCtx();
    if (e->ctx == NULL) {
        vmbi_zstd_enc_free(e);
        return vmbi_fail_nomem(err);
    }
    rc = ZSTD_CCtx_setParameter(e->ctx, ZSTD_c_compressionLevel, level);
    if (!ZSTD_isError(rc)) {
        rc = ZSTD_CCtx_setParameter(e->ctx, ZSTD_c_windowLog, window_log);
    }
    if (ZSTD_isError(rc)) {
        vmbi_zstd_enc_free(e);
        return vmbi_fail(err, VMB_E_INTERNAL, "zstd level %d, window %d: %s", level, window_log,
                         ZSTD_getErrorName(rc));
    }
    *out = e;
    return VMB_OK;
}

vmb_code vmbi_zstd_enc_tables(vmbi_zstd_enc *e, int chain_log, int hash_log, vmb_error **err)
{
    size_t rc = ZSTD_CCtx_setParameter(e->ctx, ZSTD_c_chainLog, chain_log);

    if (!ZSTD_isError(rc)) {
        rc = ZSTD_CCtx_setParameter(e->ctx, ZSTD_c_hashLog, hash_log);
    }
    return ZSTD_isError(rc) ? vmbi_fail(err, VMB_E_INTERNAL, "zstd tables %d, %d: %s", chain_log,
                                        hash_log, ZSTD_getErrorName(rc))
                            : VMB_OK;
}

void vmbi_zstd_enc_free(vmbi_zstd_enc *e)
{
    if (e != NULL) {
        (void)ZSTD_freeCCtx(e->ctx);
        vmbi_free(e);
    }
}

size_t vmbi_zstd_bound(size_t len)
{
    return ZSTD_compressBound(len);
}

vmb_code vmbi_zstd_compress(vmbi_zstd_enc *e, const void *data, size_t len, void *out, size_t cap,
                            size_t *out_len, vmb_error **err)
{
    const size_t rc = ZSTD_compress2(e->ctx, out, cap, data, len);

    if (ZSTD_isError(rc)) {
        return fail(err, rc, "compress");
    }
    *out_len = rc;
    return VMB_OK;
}

vmb_code vmbi_zstd_dec_new(vmbi_zstd_dec **out, vmb_error **err)
{
    vmbi_zstd_dec *d = vmbi_zalloc(sizeof(*d));

    if (d == NULL) {
        return vmbi_fail_nomem(err);
    }
    d->ctx = ZSTD_createDCtx();
    if (d->ctx == NULL ||
        ZSTD_isError(ZSTD_DCtx_setParameter(d->ctx, ZSTD_d_windowLogMax, MAX_WINDOW_LOG))) {
        vmbi_zstd_dec_free(d);
        return vmbi_fail_nomem(err);
    }
    *out = d;
    return VMB_OK;
}

void vmbi_zstd_dec_free(vmbi_zstd_dec *d)
{
    if (d != NULL) {
        (void)ZSTD_freeDCtx(d->ctx);
        vmbi_free(d);
    }
}

vmb_code vmbi_zstd_decompress(vmbi_zstd_dec *d, const void *data, size_t len, void *out, size_t cap,
                              size_t *out_len, vmb_error **err)
{
    const size_t rc = ZSTD_decompressDCtx(d->ctx, out, cap, data, len);

    if (ZSTD_isError(rc)) {
        return fail(err, rc, "decompress");
    }
    *out_len = rc;
    return VMB_OK;
}

vmb_code vmbi_zstd_decompress_buf(vmbi_zstd_dec *d, const void *data, size_t len, vmbi_buf *out,
                                  vmb_error **err)
{
    ZSTD_inBuffer in = {data, len, 0};
    ZSTD_outBuffer piece;
    size_t rc = 0;
    char probe; /* stands in for `out` when that is full: nothing may come any more */

    (void)ZSTD_DCtx_reset(d->ctx, ZSTD_reset_session_only);
    do {
        const size_t room = out->max - out->len;

        vmbi_buf_reserve(out, room < ZSTD_DStreamOutSize() ? room : ZSTD_DStreamOutSize());
        if (vmbi_buf_check(out, err, "decompressed data") != VMB_OK) {
            return out->status;
        }
        piece = room > 0 ? (ZSTD_outBuffer){out->data + out->len, out->cap - 1 - out->len, 0}
                         : (ZSTD_outBuffer){&probe, 1, 0};
        rc = ZSTD_decompressStream(d->ctx, &piece, &in);
        if (ZSTD_isError(rc)) {
            return fail(err, rc, "decompress");
        }
        if (room == 0 && piece.pos > 0) {
            return vmbi_fail(err, VMB_E_LIMIT, "decompressed data: larger than %zu bytes",
                             out->max);
        }
        out->len += piece.pos;
        /* rc is 0 at the end of a frame; else, while pieces get full, output is held back. */
    } while (in.pos < in.size || (rc != 0 && piece.pos == piece.size));
    if (rc != 0) {
        return vmbi_fail(err, VMB_E_PARSE, "decompress: the data is cut");
    }
    out->data[out->len] = '\0';
    return VMB_OK;
}
