/* SPDX-License-Identifier: Apache-2.0 */
/* Digests, MACs, encodings (OpenSSL). */
#ifndef VMBI_CODEC_DIGEST_H
#define VMBI_CODEC_DIGEST_H

#include <vmbackup/base.h>

#include "base/compiler.h"

void vmbi_sha256(const void *data, size_t len, uint8_t out[32]);
void vmbi_md5(const void *data, size_t len, uint8_t out[16]);
void vmbi_hmac_sha256(const void *key, size_t key_len, const void *data, size_t len,
                      uint8_t out[32]);
typedef struct vmbi_digest vmbi_digest; /* streaming */
enum { VMBI_SHA256 = 1, VMBI_MD5 = 2, VMBI_SHA1 = 3 };
vmb_code vmbi_digest_new(int kind, vmbi_digest **out, vmb_error **err);
void vmbi_digest_update(vmbi_digest *d, const void *data, size_t len);
void vmbi_digest_final(vmbi_digest *d, uint8_t *out); /* 32, 16 or 20 bytes; then only free */
void vmbi_digest_free(vmbi_digest *d);

uint32_t vmbi_crc32(uint32_t crc, const void *data, size_t len);  /* start with 0 */
uint32_t vmbi_crc32c(uint32_t crc, const void *data, size_t len); /* start with 0 */

/* out has room for 2 * len + 1, lower case. */
void vmbi_hex(const void *data, size_t len, char *out);
bool vmbi_unhex(const char *hex, size_t len, uint8_t *out);
size_t vmbi_base64_size(size_t len); /* with the NUL */
void vmbi_base64(const void *data, size_t len, char *out);
/* Standard alphabet, padding, white space ignored; *out owned. */
vmb_code vmbi_unbase64(const char *text, size_t len, uint8_t **out, size_t *out_len,
                       vmb_error **err);
/* Random bytes from the kernel. */
void vmbi_random(void *out, size_t len);
/* Random version 4 UUID, 36 characters and a NUL. */
void vmbi_uuid4(char out[37]);
bool vmbi_mem_equal_ct(const void *a, const void *b, size_t len); /* constant time */

#endif
