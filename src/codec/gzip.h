/* SPDX-License-Identifier: Apache-2.0 */
/* gzip streams: compression with ISA-L (fast), decompression with zlib's inflate. */
#ifndef VMBI_CODEC_GZIP_H
#define VMBI_CODEC_GZIP_H

#include <vmbackup/base.h>

#include "base/buf.h"
#include "base/compiler.h"

typedef vmb_code (*vmbi_write_fn)(void *user, const void *data, size_t len, vmb_error **err);

typedef struct vmbi_gzip vmbi_gzip; /* compressor */
/* One gzip member: header without name and time, as Go writes it; output goes to fn in pieces. */
vmb_code vmbi_gzip_new(vmbi_write_fn fn, void *user, vmbi_gzip **out, vmb_error **err);
vmb_code vmbi_gzip_write(vmbi_gzip *z, const void *data, size_t len, vmb_error **err);
vmb_code vmbi_gzip_finish(vmbi_gzip *z, vmb_error **err); /* then only free */
void vmbi_gzip_free(vmbi_gzip *z);
/* Whole buffer at once, appended to out. */
vmb_code vmbi_gzip_buf(const void *data, size_t len, vmbi_buf *out, vmb_error **err);

typedef struct vmbi_gunzip vmbi_gunzip; /* decompressor, concatenated members allowed */
/* max_out: VMB_E_LIMIT beyond it (0: no limit). */
vmb_code vmbi_gunzip_new(uint64_t max_out, vmbi_write_fn fn, void *user, vmbi_gunzip **out,
                         vmb_error **err);
vmb_code vmbi_gunzip_write(vmbi_gunzip *z, const void *data, size_t len, vmb_error **err);
/* VMB_E_PARSE when the stream is cut. */
vmb_code vmbi_gunzip_finish(vmbi_gunzip *z, vmb_error **err);
void vmbi_gunzip_free(vmbi_gunzip *z);

#endif
