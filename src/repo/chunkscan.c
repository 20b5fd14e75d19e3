/* SPDX-License-Identifier: Apache-2.0 */
/* 32 fingerprints at a time in AVX2: vector k holds byte k of all of them. Every table of 256
 * entries is linear over GF(2), so it is the sum of one look-up for each half of a byte, and a look-up
 * of 16 entries is one shuffle. */
#include "repo/chunkscan.h"

#include <string.h>

#if defined(__x86_64__)

#include <immintrin.h>

#define WITH_AVX2 __attribute__((target("avx2")))
/* Vectors in arrays stay in registers only when the loops over them are unrolled. */
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

enum { STEP = VMBI_SCAN_STEP, TURN = 16, SHIFT = 3 };

_Static_assert((int)STEP == (int)VMBI_CHUNK_WINDOW, "a step's bytes are the next step's window");

bool vmbi_scan_wide_usable(void)
{
    return __builtin_cpu_supports("avx2") != 0;
}

static void slice(uint8_t t[VMBI_SCAN_SLICES][2][16], const uint64_t table[256])
{
    for (unsigned k = 0; k < VMBI_SCAN_SLICES; k++) {
        for (unsigned v = 0; v < 16; v++) {
            t[k][0][v] = (uint8_t)(table[v] << SHIFT >> (8 * k));
            t[k][1][v] = (uint8_t)(table[v << 4] << SHIFT >> (8 * k));
        }
    }
}

void vmbi_scan_tables_init(vmbi_scan_tables *t, const uint64_t mod[256], const uint64_t out[256])
{
    slice(t->mod, mod); /* what clears the byte above falls out of the slices */
    slice(t->out, out);
}

WITH_AVX2 static inline __m256i table(const uint8_t t[16])
{
    return _mm256_broadcastsi128_si256(_mm_load_si128((const __m128i *)(const void *)t));
}

/* 16 bytes at `at` of every stretch, turned: vector i holds byte i of all 32. */
WITH_AVX2 static inline void turn(const uint8_t *data, const size_t first[VMBI_SCAN_STREAMS],
                                  ptrdiff_t at, __m256i out[TURN])
{
    __m256i a[TURN], b[TURN];

    UNROLL
    for (size_t i = 0; i < TURN; i++) {
        const uint8_t *low = data + first[i] + at, *high = data + first[i + TURN] + at;

        a[i] = _mm256_inserti128_si256(
            _mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)low)),
            _mm_loadu_si128((const __m128i *)(const void *)high), 1);
    }
    /* Each round turns the bits of (row, column) round by one; after four they have changed places. */
    UNROLL
    for (size_t round = 0; round < 4; round++) {
        UNROLL
        for (size_t i = 0; i < TURN / 2; i++) {
            b[2 * i] = _mm256_unpacklo_epi8(a[i], a[i + TURN / 2]);
            b[2 * i + 1] = _mm256_unpackhi_epi8(a[i], a[i + TURN / 2]);
        }
        UNROLL
        for (size_t i = 0; i < TURN; i++) {
            a[i] = b[i];
        }
    }
    UNROLL
    for (size_t i = 0; i < TURN; i++) {
        out[i] = a[i];
    }
}

/* A step's bytes, which are one line of the cache in most streams: each is touched once. */
WITH_AVX2 static inline void turn_step(const uint8_t *data, const size_t first[VMBI_SCAN_STREAMS],
                                       ptrdiff_t at, __m256i out[STEP])
{
    for (ptrdiff_t i = 0; i < STEP; i += TURN) {
        turn(data, first, at + i, out + i);
    }
}

static void note_hits(vmbi_found f[VMBI_SCAN_STREAMS], const size_t first[VMBI_SCAN_STREAMS],
                      size_t place, uint32_t hits)
{
    while (hits != 0) {
        const unsigned lane = (unsigned)__builtin_ctz(hits);

        vmbi_found_note(&f[lane], first[lane] + place);
        hits &= hits - 1;
    }
}

/* One byte further in all streams. */
#define ROLL(with_old, in, old)                                                              \
    do {                                                                                     \
        const __m256i top_low = _mm256_and_si256(s6, half);                                  \
        const __m256i top_high = _mm256_and_si256(_mm256_srli_epi16(s6, 4), half);           \
        const __m256i old_low = _mm256_and_si256((old), half);                               \
        const __m256i old_high = _mm256_and_si256(_mm256_srli_epi16((old), 4), half);        \
        const __m256i in_low = _mm256_and_si256(_mm256_slli_epi16((in), SHIFT), keep_high);  \
        const __m256i in_high = _mm256_and_si256(_mm256_srli_epi16((in), 5), keep_low);      \
        s6 = _mm256_xor_si256(s5, LOOK_UP(6, with_old));                                     \
        s5 = _mm256_xor_si256(s4, LOOK_UP(5, with_old));                                     \
        s4 = _mm256_xor_si256(s3, LOOK_UP(4, with_old));                                     \
        s3 = _mm256_xor_si256(s2, LOOK_UP(3, with_old));                                     \
        s2 = _mm256_xor_si256(s1, LOOK_UP(2, with_old));                                     \
        s1 = _mm256_xor_si256(_mm256_xor_si256(s0, in_high), LOOK_UP(1, with_old));          \
        s0 = _mm256_xor_si256(in_low, LOOK_UP(0, with_old));                                 \
    } while (0)
#define LOOK_UP(k, with_old)                                                                  \
    _mm256_xor_si256(                                                                         \
        _mm256_xor_si256(_mm256_shuffle_epi8(table(t->mod[k][0]), top_low),                   \
                         _mm256_shuffle_epi8(table(t->mod[k][1]), top_high)),                 \
        (with_old) ? _mm256_xor_si256(_mm256_shuffle_epi8(table(t->out[k][0]), old_low),      \
                                      _mm256_shuffle_epi8(table(t->out[k][1]), old_high))     \
                   : zero)

WITH_AVX2 void vmbi_scan_wide(const vmbi_scan_tables *tables, const uint8_t *data,
                              const size_t first[VMBI_SCAN_STREAMS], size_t n,
                              vmbi_found f[VMBI_SCAN_STREAMS])
{
    vmbi_scan_tables aligned __attribute__((aligned(16)));
    const vmbi_scan_tables *t = &aligned;
    const __m256i half = _mm256_set1_epi8(0x0f), zero = _mm256_setzero_si256();
    const __m256i keep_high = _mm256_set1_epi8((char)0xf8), keep_low = _mm256_set1_epi8(0x07);
    const __m256i below_cut = _mm256_set1_epi8(0x7f);
    /* The bytes of this step and of the one before: byte i of that leaves when byte i comes. */
    __m256i seen[2][STEP];
    __m256i s0 = zero, s1 = zero, s2 = zero, s3 = zero, s4 = zero, s5 = zero, s6 = zero;
    size_t now = 0;

    aligned = *tables;
    turn_step(data, first, -VMBI_CHUNK_WINDOW, seen[0]);
    for (size_t i = 0; i < STEP; i++) {
        ROLL(false, seen[0][i], zero);
    }
    for (size_t at = 0; at < n; at += STEP) {
        now ^= 1;
        turn_step(data, first, (ptrdiff_t)at, seen[now]);
        for (size_t i = 0; i < STEP; i++) {
            __m256i low = zero;
            uint32_t hits = 0;

            ROLL(true, seen[now][i], seen[now ^ 1][i]);
            low = _mm256_or_si256(_mm256_or_si256(s0, s1), _mm256_and_si256(s2, below_cut));
            hits = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(low, zero));
            if (VMBI_UNLIKELY(hits != 0)) {
                note_hits(f, first, at + i + 1, hits);
            }
        }
    }
}

#else

bool vmbi_scan_wide_usable(void)
{
    return false;
}

void vmbi_scan_tables_init(vmbi_scan_tables *t, const uint64_t mod[256], const uint64_t out[256])
{
    (void)mod;
    (void)out;
    memset(t, 0, sizeof(*t));
}

void vmbi_scan_wide(const vmbi_scan_tables *t, const uint8_t *data,
                    const size_t first[VMBI_SCAN_STREAMS], size_t n,
                    vmbi_found f[VMBI_SCAN_STREAMS])
{
    (void)t;
    (void)data;
    (void)first;
    (void)n;
    (void)f;
}

#endif
