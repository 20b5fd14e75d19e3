/* SPDX-License-Identifier: Apache-2.0 */
/* The blocks are OpenSSL's, except where two digests run side by side on a processor with the SHA
 * extensions of x86: there the rounds of both are interleaved, which OpenSSL has no call for. */
#define OPENSSL_API_COMPAT 0x10101000L /* as in digest.c: these calls cannot fail */
#include "codec/sha256.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#include <openssl/sha.h>

enum { BLOCK = 64 };

#if defined(__x86_64__)

#include <cpuid.h>
#include <immintrin.h>

#define WITH_SHA __attribute__((target("sha,sse4.1,ssse3")))

/* FIPS 180-4, 4.2.2. */
static const uint32_t round_constants[64] __attribute__((aligned(16))) = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

/* The instructions hold the state as two vectors: ABEF and CDGH. */
typedef struct lanes {
    __m128i abef, cdgh;
} lanes;

WITH_SHA static inline lanes load_state(const uint32_t h[8])
{
    const __m128i low = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(const void *)h), 0xb1);
    const __m128i high =
        _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(const void *)(h + 4)), 0x1b);

    return (lanes){_mm_alignr_epi8(low, high, 8), _mm_blend_epi16(high, low, 0xf0)};
}

WITH_SHA static inline void store_state(lanes s, uint32_t h[8])
{
    const __m128i low = _mm_shuffle_epi32(s.abef, 0x1b);
    const __m128i high = _mm_shuffle_epi32(s.cdgh, 0xb1);

    _mm_storeu_si128((__m128i *)(void *)h, _mm_blend_epi16(low, high, 0xf0));
    _mm_storeu_si128((__m128i *)(void *)(h + 4), _mm_alignr_epi8(high, low, 8));
}

WITH_SHA static inline __m128i load_words(const uint8_t *p)
{
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);

    return _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(const void *)p), swap);
}

WITH_SHA static inline lanes four_rounds(lanes s, int k, __m128i words)
{
    __m128i x = _mm_add_epi32(
        words, _mm_load_si128((const __m128i *)(const void *)&round_constants[k]));

    s.cdgh = _mm_sha256rnds2_epu32(s.cdgh, s.abef, x);
    x = _mm_shuffle_epi32(x, 0x0e);
    s.abef = _mm_sha256rnds2_epu32(s.abef, s.cdgh, x);
    return s;
}

/* Four words further in the message schedule, in place of the oldest four. */
WITH_SHA static inline __m128i more_words(__m128i w0, __m128i w1, __m128i w2, __m128i w3)
{
    return _mm_sha256msg2_epu32(
        _mm_add_epi32(_mm_sha256msg1_epu32(w0, w1), _mm_alignr_epi8(w3, w2, 4)), w3);
}

WITH_SHA static void pair_blocks(uint32_t ah[8], const uint8_t *p, uint32_t bh[8], const uint8_t *q,
                                 size_t n)
{
    lanes a = load_state(ah), b = load_state(bh);

    for (; n > 0; n--, p += BLOCK, q += BLOCK) {
        const lanes a_before = a, b_before = b;
        __m128i u0 = load_words(p), u1 = load_words(p + 16);
        __m128i u2 = load_words(p + 32), u3 = load_words(p + 48);
        __m128i v0 = load_words(q), v1 = load_words(q + 16);
        __m128i v2 = load_words(q + 32), v3 = load_words(q + 48);

#define BOTH(k, u, v)               \
    do {                            \
        a = four_rounds(a, (k), u); \
        b = four_rounds(b, (k), v); \
    } while (0)
        BOTH(0, u0, v0);
        BOTH(4, u1, v1);
        BOTH(8, u2, v2);
        BOTH(12, u3, v3);
#if defined(__clang__)
#pragma clang loop unroll(full)
#else
#pragma GCC unroll 3
#endif
        for (int k = 16; k < 64; k += 16) {
            u0 = more_words(u0, u1, u2, u3);
            v0 = more_words(v0, v1, v2, v3);
            BOTH(k, u0, v0);
            u1 = more_words(u1, u2, u3, u0);
            v1 = more_words(v1, v2, v3, v0);
            BOTH(k + 4, u1, v1);
            u2 = more_words(u2, u3, u0, u1);
            v2 = more_words(v2, v3, v0, v1);
            BOTH(k + 8, u2, v2);
            u3 = more_words(u3, u0, u1, u2);
            v3 = more_words(v3, v0, v1, v2);
            BOTH(k + 12, u3, v3);
        }
#undef BOTH
        a.abef = _mm_add_epi32(a.abef, a_before.abef);
        a.cdgh = _mm_add_epi32(a.cdgh, a_before.cdgh);
        b.abef = _mm_add_epi32(b.abef, b_before.abef);
        b.cdgh = _mm_add_epi32(b.cdgh, b_before.cdgh);
    }
    store_state(a, ah);
    store_state(b, bh);
}

/* Asking the processor is slow in a guest: once is enough, and twice does no harm. */
static bool has_sha(void)
{
    static atomic_int known; /* 0: not asked yet, 1: no, 2: yes */
    int v = atomic_load_explicit(&known, memory_order_relaxed);

    if (v == 0) {
        unsigned a = 0, b = 0, c = 0, d = 0;
        const bool basic = __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_SSE4_1) != 0 &&
                           (c & bit_SSSE3) != 0;

        b = 0;
        v = basic && __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (b & bit_SHA) != 0 ? 2 : 1;
        atomic_store_explicit(&known, v, memory_order_relaxed);
    }
    return v == 2;
}

#else

static bool has_sha(void)
{
    return false;
}

static void pair_blocks(uint32_t ah[8], const uint8_t *p, uint32_t bh[8], const uint8_t *q,
                        size_t n)
{
    (void)ah;
    (void)p;
    (void)bh;
    (void)q;
    (void)n;
}

#endif

const char *vmbi_sha256_engine(void)
{
    return has_sha() ? "sha-ni" : "openssl";
}

/* Whole blocks, by OpenSSL: its update with nothing left over is its block function. */
static void blocks(uint32_t h[8], const uint8_t *p, size_t n)
{
    SHA256_CTX c;
    size_t i = 0;

    if (n == 0) {
        return;
    }
    SHA256_Init(&c);
    for (i = 0; i < 8; i++) {
        c.h[i] = h[i];
    }
    SHA256_Update(&c, p, n * BLOCK);
    for (i = 0; i < 8; i++) {
        h[i] = c.h[i];
    }
}

void vmbi_sha256_begin(vmbi_sha256_state *s)
{
    /* FIPS 180-4, 5.3.3. */
    static const uint32_t start[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

    memcpy(s->h, start, sizeof(start));
    s->bytes = 0;
}

/* Takes what completes the waiting block, or all of it; the number of bytes taken. */
static size_t fill_part(vmbi_sha256_state *s, const uint8_t *p, size_t len)
{
    const size_t have = (size_t)(s->bytes % BLOCK);
    const size_t n = have == 0 ? 0 : len < BLOCK - have ? len : BLOCK - have;

    if (n > 0) {
        memcpy(s->part + have, p, n);
        s->bytes += n;
        if (have + n == BLOCK) {
            blocks(s->h, s->part, 1);
        }
    }
    return n;
}

/* The last bytes, fewer than a block; nothing waits. */
static void keep_part(vmbi_sha256_state *s, const uint8_t *p, size_t len)
{
    if (len > 0) {
        memcpy(s->part, p, len);
        s->bytes += len;
    }
}

void vmbi_sha256_add(vmbi_sha256_state *s, const void *data, size_t len)
{
    const uint8_t *p = data;
    const size_t used = len > 0 ? fill_part(s, p, len) : 0;
    const size_t whole = (len - used) / BLOCK;

    if (len == used) {
        return;
    }
    p += used;
    blocks(s->h, p, whole);
    s->bytes += whole * BLOCK;
    keep_part(s, p + whole * BLOCK, len - used - whole * BLOCK);
}

void vmbi_sha256_add_pair(vmbi_sha256_state *a, const void *a_data, size_t a_len,
                          vmbi_sha256_state *b, const void *b_data, size_t b_len)
{
    const uint8_t *p = a_data, *q = b_data;

    if (a_len > 0 && b_len > 0 && has_sha()) {
        const size_t a_used = fill_part(a, p, a_len), b_used = fill_part(b, q, b_len);
        const size_t a_blocks = (a_len - a_used) / BLOCK, b_blocks = (b_len - b_used) / BLOCK;
        const size_t n = a_blocks < b_blocks ? a_blocks : b_blocks;

        p += a_used;
        q += b_used;
        pair_blocks(a->h, p, b->h, q, n);
        a->bytes += n * BLOCK;
        b->bytes += n * BLOCK;
        p += n * BLOCK;
        q += n * BLOCK;
        a_len -= a_used + n * BLOCK;
        b_len -= b_used + n * BLOCK;
    }
    vmbi_sha256_add(a, p, a_len);
    vmbi_sha256_add(b, q, b_len);
}

void vmbi_sha256_end(vmbi_sha256_state *s, uint8_t out[32])
{
    const uint64_t bits = s->bytes * 8;
    const size_t have = (size_t)(s->bytes % BLOCK);
    size_t i = 0;

    s->part[have] = 0x80;
    memset(s->part + have + 1, 0, BLOCK - have - 1);
    if (have >= BLOCK - 8) { /* the length needs a block of its own */
        blocks(s->h, s->part, 1);
        memset(s->part, 0, BLOCK);
    }
    for (i = 0; i < 8; i++) {
        s->part[BLOCK - 1 - i] = (uint8_t)(bits >> (8 * i));
    }
    blocks(s->h, s->part, 1);
    for (i = 0; i < 32; i++) {
        out[i] = (uint8_t)(s->h[i / 4] >> (24 - 8 * (i % 4)));
    }
}
