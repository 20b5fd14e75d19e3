/* SPDX-License-Identifier: Apache-2.0 */
/* Sealed messages of restic: nonce[16] || AES-256-CTR ciphertext || Poly1305-AES tag[16].
 * Source: restic internal/repository/crypto/crypto.go. */
#ifndef VMBI_REPO_RESTIC_CRYPTO_H
#define VMBI_REPO_RESTIC_CRYPTO_H

#include <vmbackup/base.h>

#include "base/compiler.h"

enum {
    VMBI_RESTIC_NONCE = 16,
    VMBI_RESTIC_OVERHEAD = 32 /* nonce and tag */
};

typedef struct vmbi_restic_keys {
    uint8_t encrypt[32];
    uint8_t mac_k[16];
    uint8_t mac_r[16]; /* as stored: clamped on use only */
} vmbi_restic_keys;

/* Contexts for one pair of keys; one thread at a time. */
typedef struct vmbi_restic_box vmbi_restic_box;
/* VMB_E_INVALID for a key that is all zero. */
vmb_code vmbi_restic_box_new(const vmbi_restic_keys *keys, vmbi_restic_box **out, vmb_error **err);
void vmbi_restic_box_free(vmbi_restic_box *b); /* NULL allowed */
/* Writes len + OVERHEAD bytes with a fresh random nonce. data and out do not overlap, except that
 * data may be out + NONCE (in place). */
vmb_code vmbi_restic_seal(vmbi_restic_box *b, const void *data, size_t len, uint8_t *out,
                          vmb_error **err);
/* The same with a given nonce: for tests with known vectors only. */
vmb_code vmbi_restic_seal_nonce(vmbi_restic_box *b, const uint8_t nonce[16], const void *data,
                                size_t len, uint8_t *out, vmb_error **err);
/* Writes len - OVERHEAD bytes; out may be sealed + NONCE (in place). The tag is verified, in
 * constant time, before anything is decrypted: VMB_E_DENIED when it is wrong, VMB_E_INVALID for
 * a message that is too short or has a zero nonce. */
vmb_code vmbi_restic_open(vmbi_restic_box *b, const uint8_t *sealed, size_t len, uint8_t *out,
                          vmb_error **err);

#endif
