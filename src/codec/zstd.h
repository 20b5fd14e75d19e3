/* SPDX-License-Identifier: Apache-2.0 */
/* zstd frames (libzstd). Encoders and decoders are reused from call to call, by one thread at a
 * time. Frames carry their content size and no checksum. */
#ifndef VMBI_CODEC_ZSTD_H
#define VMBI_CODEC_ZSTD_H

#include <vmbackup/base.h>

#include "base/buf.h"
#include "base/compiler.h"

typedef struct vmbi_zstd_enc vmbi_zstd_enc;
typedef struct vmbi_zstd_dec vmbi_zstd_dec;

/* window_log bounds the memory of both sides: 19 is 512 KiB. */
vmb_code vmbi_zstd_enc_new(int level, int window_log, vmbi_zstd_enc **out, vmb_error **err);
/* Sets the sizes of the match tables, as powers of two, in place of the level's. */
vmb_code vmbi_zstd_enc_tables(vmbi_zstd_enc *e, int chain_log, int hash_log, vmb_error **err);
void vmbi_zstd_enc_free(vmbi_zstd_enc *e); /* NULL allowed */
/* Room that any input of len bytes needs. */
size_t vmbi_zstd_bound(size_t len);
/* One frame. VMB_E_LIMIT (without a message when err is NULL) when it does not fit into cap. */
vmb_code vmbi_zstd_compress(vmbi_zstd_enc *e, const void *data, size_t len, void *out, size_t cap,
                            size_t *out_len, vmb_error **err);

vmb_code vmbi_zstd_dec_new(vmbi_zstd_dec **out, vmb_error **err);
void vmbi_zstd_dec_free(vmbi_zstd_dec *d); /* NULL allowed */
/* One or several frames into memory of known size: VMB_E_LIMIT when they hold more than cap,
 * VMB_E_PARSE when malformed or cut. */
vmb_code vmbi_zstd_decompress(vmbi_zstd_dec *d, const void *data, size_t len, void *out, size_t cap,
                              size_t *out_len, vmb_error **err);
/* The same for an unknown size; the ceiling of `out` gives VMB_E_LIMIT. Appends. */
vmb_code vmbi_zstd_decompress_buf(vmbi_zstd_dec *d, const void *data, size_t len, vmbi_buf *out,
                                  vmb_error **err);

#endif
