/* SPDX-License-Identifier: Apache-2.0 */
/* OpenSSL's one-purpose digest calls are used on purpose, although 3.0 marks them as old: they
 * allocate nothing and cannot fail, so a digest never has an error path, and they cost a tenth of
 * EVP's set-up on the short inputs that signatures consist of. */
#define OPENSSL_API_COMPAT 0x10101000L
#include "codec/digest.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include <isa-l/crc.h>
#include <openssl/crypto.h>
#include <openssl/md5.h>
#include <openssl/sha.h>

#include "base/alloc.h"
#include "base/error.h"

struct vmbi_digest {
    int kind;
    union {
        SHA256_CTX sha256;
        SHA_CTX sha1;
        MD5_CTX md5;
    } u;
};

enum { BLOCK = 64 }; /* of all three digests, as HMAC needs it */

static size_t digest_size(int kind)
{
    return kind == VMBI_SHA256 ? 32 : kind == VMBI_SHA1 ? 20 : 16;
}

static void digest_init(vmbi_digest *d, int kind)
{
    d->kind = kind;
    if (kind == VMBI_SHA256) {
        SHA256_Init(&d->u.sha256);
    } else if (kind == VMBI_SHA1) {
        SHA1_Init(&d->u.sha1);
    } else {
        MD5_Init(&d->u.md5);
    }
}

vmb_code vmbi_digest_new(int kind, vmbi_digest **out, vmb_error **err)
{
    vmbi_digest *d;

    if (kind != VMBI_SHA256 && kind != VMBI_MD5 && kind != VMBI_SHA1) {
        return vmbi_fail(err, VMB_E_ARG, "unknown digest %d", kind);
    }
    d = vmbi_zalloc(sizeof(*d));
    if (d == NULL) {
        return vmbi_fail_nomem(err);
    }
    digest_init(d, kind);
    *out = d;
    return VMB_OK;
}

void vmbi_digest_update(vmbi_digest *d, const void *data, size_t len)
{
    if (len == 0) {
        return;
    }
    if (d->kind == VMBI_SHA256) {
        SHA256_Update(&d->u.sha256, data, len);
    } else if (d->kind == VMBI_SHA1) {
        SHA1_Update(&d->u.sha1, data, len);
    } else {
        MD5_Update(&d->u.md5, data, len);
    }
}

void vmbi_digest_final(vmbi_digest *d, uint8_t *out)
{
    if (d->kind == VMBI_SHA256) {
        SHA256_Final(out, &d->u.sha256);
    } else if (d->kind == VMBI_SHA1) {
        SHA1_Final(out, &d->u.sha1);
    } else {
        MD5_Final(out, &d->u.md5);
    }
}

void vmbi_digest_free(vmbi_digest *d)
{
    if (d != NULL) {
        OPENSSL_cleanse(d, sizeof(*d));
        vmbi_free(d);
    }
}

static void digest_once(int kind, const void *data, size_t len, uint8_t *out)
{
    vmbi_digest d;

    digest_init(&d, kind);
    vmbi_digest_update(&d, data, len);
    vmbi_digest_final(&d, out);
}

void vmbi_sha256(const void *data, size_t len, uint8_t out[32])
{
    digest_once(VMBI_SHA256, data, len, out);
}

void vmbi_md5(const void *data, size_t len, uint8_t out[16])
{
    digest_once(VMBI_MD5, data, len, out);
}

/* RFC 2104. */
static void hmac(int kind, const void *key, size_t key_len, const void *data, size_t len,
                 uint8_t *out)
{
    vmbi_digest d;
    uint8_t inner[BLOCK] = {0};
    uint8_t outer[BLOCK];

    if (key_len > BLOCK) {
        digest_once(kind, key, key_len, inner);
    } else if (key_len > 0) {
        memcpy(inner, key, key_len);
    }
    for (size_t i = 0; i < BLOCK; i++) {
        outer[i] = inner[i] ^ 0x5c;
        inner[i] ^= 0x36;
    }
    digest_init(&d, kind);
    vmbi_digest_update(&d, inner, BLOCK);
    vmbi_digest_update(&d, data, len);
    vmbi_digest_final(&d, out);
    digest_init(&d, kind);
    vmbi_digest_update(&d, outer, BLOCK);
    vmbi_digest_update(&d, out, digest_size(kind));
    vmbi_digest_final(&d, out);
    OPENSSL_cleanse(&d, sizeof(d));
    OPENSSL_cleanse(inner, sizeof(inner));
    OPENSSL_cleanse(outer, sizeof(outer));
}

void vmbi_hmac_sha256(const void *key, size_t key_len, const void *data, size_t len,
                      uint8_t out[32])
{
    hmac(VMBI_SHA256, key, key_len, data, len, out);
}

uint32_t vmbi_crc32(uint32_t crc, const void *data, size_t len)
{
    return len == 0 ? crc : crc32_gzip_refl(crc, data, len);
}

uint32_t vmbi_crc32c(uint32_t crc, const void *data, size_t len)
{
    const uint8_t *p = data;

    /* ISA-L takes an int length and a pointer without const, and leaves the inversions to us. */
    crc = ~crc;
    while (len > 0) {
        size_t n = len > (1U << 30) ? (1U << 30) : len;

        crc = crc32_iscsi((unsigned char *)(uintptr_t)p, (int)n, crc);
        p += n;
        len -= n;
    }
    return ~crc;
}

/* Without any source of randomness the bytes are still unlike those of any other call and process:
 * enough for the names and masks they are used for, no secret depends on them. */
static void random_fallback(uint8_t *p, size_t len)
{
    static uint32_t counter;
    struct {
        struct timespec mono, wall;
        const void *here;
        pid_t pid;
        uint32_t count;
    } seed;
    uint8_t d[32];

    memset(&seed, 0, sizeof(seed));
    while (len > 0) {
        size_t n = len < sizeof(d) ? len : sizeof(d);

        clock_gettime(CLOCK_MONOTONIC, &seed.mono);
        clock_gettime(CLOCK_REALTIME, &seed.wall);
        seed.here = &seed;
        seed.pid = getpid();
        seed.count = __atomic_add_fetch(&counter, 1, __ATOMIC_RELAXED);
        vmbi_sha256(&seed, sizeof(seed), d);
        memcpy(p, d, n);
        p += n;
        len -= n;
    }
}

void vmbi_random(void *out, size_t len)
{
    uint8_t *p = out;

    while (len > 0) {
        ssize_t n = getrandom(p, len, 0);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            random_fallback(p, len);
            return;
        }
        p += n;
        len -= (size_t)n;
    }
}

void vmbi_uuid4(char out[37])
{
    uint8_t b[16];
    size_t at = 0;

    vmbi_random(b, sizeof(b));
    b[6] = (uint8_t)((b[6] & 0x0f) | 0x40); /* version 4 */
    b[8] = (uint8_t)((b[8] & 0x3f) | 0x80); /* RFC 4122 variant */
    for (size_t i = 0; i < sizeof(b); i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) {
            out[at++] = '-';
        }
        vmbi_hex(&b[i], 1, out + at);
        at += 2;
    }
}

bool vmbi_mem_equal_ct(const void *a, const void *b, size_t len)
{
    return len == 0 || CRYPTO_memcmp(a, b, len) == 0;
}
