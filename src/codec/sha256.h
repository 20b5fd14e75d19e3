/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256 in pieces and in pairs. One digest is bound by the latency of the processor's SHA
 * instructions; two that are independent run side by side in little more than the time of one. */
#ifndef VMBI_CODEC_SHA256_H
#define VMBI_CODEC_SHA256_H

#include <stddef.h>
#include <stdint.h>

/* A digest being computed, in the caller's memory. */
typedef struct vmbi_sha256_state {
    uint32_t h[8];
    uint64_t bytes;
    uint8_t part[64]; /* the first bytes % 64 of it wait for the rest of their block */
} vmbi_sha256_state;

void vmbi_sha256_begin(vmbi_sha256_state *s);
void vmbi_sha256_add(vmbi_sha256_state *s, const void *data, size_t len);
/* The same for two digests at once; best when the lengths are alike. */
void vmbi_sha256_add_pair(vmbi_sha256_state *a, const void *a_data, size_t a_len,
                          vmbi_sha256_state *b, const void *b_data, size_t b_len);
void vmbi_sha256_end(vmbi_sha256_state *s, uint8_t out[32]); /* then begin again, or forget it */

/* What vmbi_sha256_* uses on this machine: "sha-ni" or "openssl". */
const char *vmbi_sha256_engine(void);

#endif
