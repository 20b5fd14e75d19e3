/* SPDX-License-Identifier: Apache-2.0 */
/* Ciphers, Poly1305 and scrypt (OpenSSL). Objects are used by one thread at a time; their keys are
 * wiped when they are freed. */
#ifndef VMBI_CODEC_CIPHER_H
#define VMBI_CODEC_CIPHER_H

#include <vmbackup/base.h>

#include "base/compiler.h"

/* AES-256 in counter mode: the whole 16-byte block is one big-endian counter that wraps. */
typedef struct vmbi_aes_ctr vmbi_aes_ctr;
vmb_code vmbi_aes_ctr_new(const uint8_t key[32], vmbi_aes_ctr **out, vmb_error **err);
void vmbi_aes_ctr_free(vmbi_aes_ctr *c); /* NULL allowed */
/* Starts a message; then apply as often as wanted. in may equal out. */
vmb_code vmbi_aes_ctr_start(vmbi_aes_ctr *c, const uint8_t counter[16], vmb_error **err);
vmb_code vmbi_aes_ctr_apply(vmbi_aes_ctr *c, const void *in, size_t len, void *out,
                            vmb_error **err);

/* Single blocks of AES-128. */
typedef struct vmbi_aes_block vmbi_aes_block;
vmb_code vmbi_aes_block_new(const uint8_t key[16], vmbi_aes_block **out, vmb_error **err);
void vmbi_aes_block_free(vmbi_aes_block *b); /* NULL allowed */
vmb_code vmbi_aes_block_encrypt(vmbi_aes_block *b, const uint8_t in[16], uint8_t out[16],
                                vmb_error **err);

/* Poly1305 with a one-time key r || s; r is clamped here. */
typedef struct vmbi_poly1305 vmbi_poly1305;
vmb_code vmbi_poly1305_new(vmbi_poly1305 **out, vmb_error **err);
void vmbi_poly1305_free(vmbi_poly1305 *p); /* NULL allowed */
vmb_code vmbi_poly1305_start(vmbi_poly1305 *p, const uint8_t key[32], vmb_error **err);
vmb_code vmbi_poly1305_update(vmbi_poly1305 *p, const void *data, size_t len, vmb_error **err);
vmb_code vmbi_poly1305_final(vmbi_poly1305 *p, uint8_t tag[16], vmb_error **err);

/* scrypt. VMB_E_INVALID for parameters that the function does not allow (N a power of two above 1,
 * r and p at least 1, r * p below 2^30), VMB_E_LIMIT when it would need more than max_bytes. */
vmb_code vmbi_scrypt(const void *password, size_t password_len, const uint8_t *salt,
                     size_t salt_len, uint64_t n, uint32_t r, uint32_t p, uint64_t max_bytes,
                     uint8_t *out, size_t out_len, vmb_error **err);

#endif
