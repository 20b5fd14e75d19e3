/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/restic/crypto.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "codec/cipher.h"
#include "codec/digest.h"

/* The tag is computed piece by piece behind the cipher, while the piece is still in the cache. */
enum { PIECE = 32 << 10 };

struct vmbi_restic_box {
    vmbi_aes_ctr *ctr;
    vmbi_aes_block *block;
    vmbi_poly1305 *poly;
    uint8_t r[16];
};

static bool all_zero(const uint8_t *p, size_t len)
{
    uint8_t sum = 0;
    size_t i = 0;

    for (i = 0; i < len; i++) {
        sum |= p[i];
    }
    return sum == 0;
}

vmb_code vmbi_restic_box_new(const vmbi_restic_keys *keys, vmbi_restic_box **out, vmb_error **err)
{
    vmbi_restic_box *b = NULL;
    vmb_code code = VMB_OK;

    if (all_zero(keys->encrypt, 32) || all_zero(keys->mac_k, 16) || all_zero(keys->mac_r, 16)) {
        return vmbi_fail(err, VMB_E_INVALID, "repository key: all of it is zero");
    }
    b = vmbi_zalloc(sizeof(*b));
    if (b == NULL) {
        return vmbi_fail_nomem(err);
    }
    memcpy(b->r, keys->mac_r, 16);
    code = vmbi_aes_ctr_new(keys->encrypt, &b->ctr, err);
    if (code == VMB_OK) {
        code = vmbi_aes_block_new(keys->mac_k, &b->block, err);
    }
    if (code == VMB_OK) {
        code = vmbi_poly1305_new(&b->poly, err);
    }
    if (code != VMB_OK) {
        vmbi_restic_box_free(b);
        return code;
    }
    *out = b;
    return VMB_OK;
}

void vmbi_restic_box_free(vmbi_restic_box *b)
{
    if (b != NULL) {
        vmbi_aes_ctr_free(b->ctr);
        vmbi_aes_block_free(b->block);
        vmbi_poly1305_free(b->poly);
        explicit_bzero(b->r, sizeof(b->r));
        vmbi_free(b);
    }
}

/* One-time key of the tag: r || AES(nonce). */
static vmb_code start_tag(vmbi_restic_box *b, const uint8_t *nonce, vmb_error **err)
{
    uint8_t key[32];
    vmb_code code = VMB_OK;

    memcpy(key, b->r, 16);
    code = vmbi_aes_block_encrypt(b->block, nonce, key + 16, err);
    if (code == VMB_OK) {
        code = vmbi_poly1305_start(b->poly, key, err);
    }
    explicit_bzero(key, sizeof(key));
    return code;
}

vmb_code vmbi_restic_seal_nonce(vmbi_restic_box *b, const uint8_t nonce[16], const void *data,
                                size_t len, uint8_t *out, vmb_error **err)
{
    const uint8_t *from = data;
    uint8_t *to = out + VMBI_RESTIC_NONCE;
    vmb_code code = vmbi_aes_ctr_start(b->ctr, nonce, err);

    if (code == VMB_OK) {
        code = start_tag(b, nonce, err);
    }
    memcpy(out, nonce, VMBI_RESTIC_NONCE);
    while (code == VMB_OK && len > 0) {
        const size_t n = len < PIECE ? len : PIECE;

        code = vmbi_aes_ctr_apply(b->ctr, from, n, to, err);
        if (code == VMB_OK) {
            code = vmbi_poly1305_update(b->poly, to, n, err);
        }
        from += n;
        to += n;
        len -= n;
    }
    return code == VMB_OK ? vmbi_poly1305_final(b->poly, to, err) : code;
}

vmb_code vmbi_restic_seal(vmbi_restic_box *b, const void *data, size_t len, uint8_t *out,
                          vmb_error **err)
{
    uint8_t nonce[VMBI_RESTIC_NONCE];

    do {
        vmbi_random(nonce, sizeof(nonce));
    } while (all_zero(nonce, sizeof(nonce))); /* readers refuse it */
    return vmbi_restic_seal_nonce(b, nonce, data, len, out, err);
}

vmb_code vmbi_restic_open(vmbi_restic_box *b, const uint8_t *sealed, size_t len, uint8_t *out,
                          vmb_error **err)
{
    uint8_t tag[16];
    uint8_t nonce[VMBI_RESTIC_NONCE];
    size_t n = 0;
    vmb_code code = VMB_OK;

    if (len < VMBI_RESTIC_OVERHEAD) {
        return vmbi_fail(err, VMB_E_INVALID, "sealed message: shorter than its frame");
    }
    if (all_zero(sealed, VMBI_RESTIC_NONCE)) {
        return vmbi_fail(err, VMB_E_INVALID, "sealed message: the nonce is zero");
    }
    n = len - VMBI_RESTIC_OVERHEAD;
    memcpy(nonce, sealed, sizeof(nonce)); /* the message may be decrypted over itself */
    code = start_tag(b, nonce, err);
    if (code == VMB_OK) {
        code = vmbi_poly1305_update(b->poly, sealed + VMBI_RESTIC_NONCE, n, err);
    }
    if (code == VMB_OK) {
        code = vmbi_poly1305_final(b->poly, tag, err);
    }
    if (code == VMB_OK && !vmbi_mem_equal_ct(tag, sealed + VMBI_RESTIC_NONCE + n, 16)) {
        code = vmbi_fail(err, VMB_E_DENIED, "sealed message: the authentication tag is wrong");
    }
    if (code == VMB_OK) {
        code = vmbi_aes_ctr_start(b->ctr, nonce, err);
    }
    return code == VMB_OK ? vmbi_aes_ctr_apply(b->ctr, sealed + VMBI_RESTIC_NONCE, n, out, err)
                          : code;
}
