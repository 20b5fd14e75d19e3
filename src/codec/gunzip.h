/* SPDX-License-Identifier: Apache-2.0 */
/* The pulling half of decompression: the caller owns both buffers. vmbi_gunzip (gzip.h) pushes on
 * top of it, tar reading pulls. */
#ifndef VMBI_CODEC_GUNZIP_H
#define VMBI_CODEC_GUNZIP_H

#include <vmbackup/base.h>

#include "base/compiler.h"

typedef struct vmbi_inflate vmbi_inflate;

vmb_code vmbi_inflate_new(vmbi_inflate **out, vmb_error **err);
void vmbi_inflate_free(vmbi_inflate *z);
/* Decompresses from *in into out; advances *in and *in_len; *made tells what was written. Less than
 * out_size with nothing left in *in_len means that more input is needed. Checksums and lengths of
 * each member are checked; VMB_E_PARSE when the data is no gzip or damaged. */
vmb_code vmbi_inflate_step(vmbi_inflate *z, const uint8_t **in, size_t *in_len, uint8_t *out,
                           size_t out_size, size_t *made, vmb_error **err);
/* At the end of input: VMB_E_PARSE unless a member has just ended. */
vmb_code vmbi_inflate_finish(const vmbi_inflate *z, vmb_error **err);

#endif
