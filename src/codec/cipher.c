/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/cipher.h"

#include <limits.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include "base/alloc.h"
#include "base/error.h"

struct vmbi_aes_ctr {
    EVP_CIPHER_CTX *ctx;
};

struct vmbi_aes_block {
    EVP_CIPHER_CTX *ctx;
};

struct vmbi_poly1305 {
    EVP_MAC_CTX *ctx;
};

/* OpenSSL's own messages say nothing that a user could act on: these calls fail for lack of memory
 * or of an algorithm (a FIPS provider). Its list of errors, which the program's calls share, is left
 * empty; it is empty before when there was no memory for it either. */
static vmb_code failed(vmb_error **err, const char *what)
{
    bool nomem = ERR_peek_error() == 0;

    for (unsigned long e = ERR_get_error(); e != 0; e = ERR_get_error()) {
        nomem = nomem || ERR_GET_REASON(e) == ERR_R_MALLOC_FAILURE;
    }
    if (nomem) {
        return vmbi_fail_nomem(err);
    }
    return vmbi_fail(err, VMB_E_UNSUPPORTED, "%s: the cryptographic library failed", what);
}

static EVP_CIPHER_CTX *cipher_ctx(const char *name, const uint8_t *key)
{
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, name, NULL);
    EVP_CIPHER_CTX *ctx = cipher != NULL ? EVP_CIPHER_CTX_new() : NULL;

    if (ctx != NULL && (EVP_EncryptInit_ex2(ctx, cipher, key, NULL, NULL) != 1 ||
                        EVP_CIPHER_CTX_set_padding(ctx, 0) != 1)) {
        EVP_CIPHER_CTX_free(ctx);
        ctx = NULL;
    }
    EVP_CIPHER_free(cipher); /* the context holds its own reference */
    return ctx;
}

vmb_code vmbi_aes_ctr_new(const uint8_t key[32], vmbi_aes_ctr **out, vmb_error **err)
{
    vmbi_aes_ctr *c = vmbi_zalloc(sizeof(*c));

    if (c == NULL) {
        return vmbi_fail_nomem(err);
    }
    c->ctx = cipher_ctx("AES-256-CTR", key);
    if (c->ctx == NULL) {
        vmbi_free(c);
        return failed(err, "AES-256-CTR");
    }
    *out = c;
    return VMB_OK;
}

void vmbi_aes_ctr_free(vmbi_aes_ctr *c)
{
    if (c != NULL) {
        EVP_CIPHER_CTX_free(c->ctx);
        vmbi_free(c);
    }
}

vmb_code vmbi_aes_ctr_start(vmbi_aes_ctr *c, const uint8_t counter[16], vmb_error **err)
{
    return EVP_EncryptInit_ex2(c->ctx, NULL, NULL, counter, NULL) == 1
               ? VMB_OK
               : failed(err, "AES-256-CTR");
}

vmb_code vmbi_aes_ctr_apply(vmbi_aes_ctr *c, const void *in, size_t len, void *out, vmb_error **err)
{
    const uint8_t *from = in;
    uint8_t *to = out;

    while (len > 0) {
        const int n = len > INT_MAX / 2 ? INT_MAX / 2 + 1 : (int)len; /* whole blocks */
        int done = 0;

        if (EVP_EncryptUpdate(c->ctx, to, &done, from, n) != 1 || done != n) {
            return failed(err, "AES-256-CTR");
        }
        from += n;
        to += n;
        len -= (size_t)n;
    }
    return VMB_OK;
}

vmb_code vmbi_aes_block_new(const uint8_t key[16], vmbi_aes_block **out, vmb_error **err)
{
    vmbi_aes_block *b = vmbi_zalloc(sizeof(*b));

    if (b == NULL) {
        return vmbi_fail_nomem(err);
    }
    b->ctx = cipher_ctx("AES-128-ECB", key);
    if (b->ctx == NULL) {
        vmbi_free(b);
        return failed(err, "AES-128");
    }
    *out = b;
    return VMB_OK;
}

void vmbi_aes_block_free(vmbi_aes_block *b)
{
    if (b != NULL) {
        EVP_CIPHER_CTX_free(b->ctx);
        vmbi_free(b);
    }
}

vmb_code vmbi_aes_block_encrypt(vmbi_aes_block *b, const uint8_t in[16], uint8_t out[16],
                                vmb_error **err)
{
    int done = 0;

    return EVP_EncryptUpdate(b->ctx, out, &done, in, 16) == 1 && done == 16
               ? VMB_OK
               : failed(err, "AES-128");
}

vmb_code vmbi_poly1305_new(vmbi_poly1305 **out, vmb_error **err)
{
    vmbi_poly1305 *p = vmbi_zalloc(sizeof(*p));
    EVP_MAC *mac = NULL;

    if (p == NULL) {
        return vmbi_fail_nomem(err);
    }
    mac = EVP_MAC_fetch(NULL, "POLY1305", NULL);
    p->ctx = mac != NULL ? EVP_MAC_CTX_new(mac) : NULL;
    EVP_MAC_free(mac); /* the context holds its own reference */
    if (p->ctx == NULL) {
        vmbi_free(p);
        return failed(err, "Poly1305");
    }
    *out = p;
    return VMB_OK;
}

void vmbi_poly1305_free(vmbi_poly1305 *p)
{
    if (p != NULL) {
        EVP_MAC_CTX_free(p->ctx);
        vmbi_free(p);
    }
}

vmb_code vmbi_poly1305_start(vmbi_poly1305 *p, const uint8_t key[32], vmb_error **err)
{
    return EVP_MAC_init(p->ctx, key, 32, NULL) == 1 ? VMB_OK : failed(err, "Poly1305");
}

vmb_code vmbi_poly1305_update(vmbi_poly1305 *p, const void *data, size_t len, vmb_error **err)
{
    return len == 0 || EVP_MAC_update(p->ctx, data, len) == 1 ? VMB_OK : failed(err, "Poly1305");
}

vmb_code vmbi_poly1305_final(vmbi_poly1305 *p, uint8_t tag[16], vmb_error **err)
{
    size_t len = 0;

    return EVP_MAC_final(p->ctx, tag, &len, 16) == 1 && len == 16 ? VMB_OK
                                                                 : failed(err, "Poly1305");
}

static vmb_code check_scrypt(uint64_t n, uint32_t r, uint32_t p, uint64_t max_bytes,
                             vmb_error **err)
{
    uint64_t block = UINT64_C(128) * r, v = 0, b = 0, total = 0;

    if (n < 2 || (n & (n - 1)) != 0 || r == 0 || p == 0 ||
        (uint64_t)r * p >= (UINT64_C(1) << 30)) {
        return vmbi_fail(err, VMB_E_INVALID, "scrypt: the parameters are not allowed");
    }
    if (__builtin_mul_overflow(block, n, &v) || __builtin_mul_overflow(block, (uint64_t)p, &b) ||
        __builtin_add_overflow(v, b, &total) || total > max_bytes) {
        return vmbi_fail(err, VMB_E_LIMIT, "scrypt: more than %llu bytes of memory wanted",
                         (unsigned long long)max_bytes);
    }
    return VMB_OK;
}

vmb_code vmbi_scrypt(const void *password, size_t password_len, const uint8_t *salt,
                     size_t salt_len, uint64_t n, uint32_t r, uint32_t p, uint64_t max_bytes,
                     uint8_t *out, size_t out_len, vmb_error **err)
{
    vmb_code code = check_scrypt(n, r, p, max_bytes, err);

    if (code != VMB_OK) {
        return code;
    }
    /* OpenSSL counts a few blocks more than check_scrypt, hence the slack. */
    if (EVP_PBE_scrypt(password, password_len, salt, salt_len, n, r, p, max_bytes + (1 << 20), out,
                       out_len) != 1) {
        OPENSSL_cleanse(out, out_len);
        /* the parameters are right: with the algorithm there, only memory can be missing */
        EVP_KDF *kdf = EVP_KDF_fetch(NULL, OSSL_KDF_NAME_SCRYPT, NULL);
        bool there = kdf != NULL;
        EVP_KDF_free(kdf);
        code = failed(there ? NULL : err, "scrypt");
        return there ? vmbi_fail_nomem(err) : code;
    }
    return VMB_OK;
}
