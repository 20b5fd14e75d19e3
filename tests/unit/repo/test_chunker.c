/* SPDX-License-Identifier: Apache-2.0 */
/* Cut points against restic's: the vectors were made with restic's own chunker. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "codec/digest.h"
#include "repo/chunker.h"

enum { MIB = 1024 * 1024 };

/* splitmix64 from seed 0 as little-endian bytes. */
static uint8_t *stream(size_t len)
{
    uint8_t *p = malloc(len);
    uint64_t s = 0;
    for (size_t i = 0; i < len; i += 8) {
        s += UINT64_C(0x9E3779B97F4A7C15);
        uint64_t z = s;
        z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
        z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
        z ^= z >> 31;
        for (size_t k = 0; k < 8; k++) {
            p[i + k] = (uint8_t)(z >> (8 * k));
        }
    }
    return p;
}

/* Chunks everything, given `step` more bytes at a time; returns the number of chunks. */
static size_t chunk_all(const vmbi_rabin *t, const uint8_t *data, size_t len, size_t step,
                        size_t *lengths, size_t max)
{
    vmbi_chunker c;
    vmbi_chunker_init(&c, t);
    size_t start = 0;
    size_t have = 0;
    size_t n = 0;
    while (start < len) {
        size_t cut = 0;
        have = have > start ? have : start;
        assert_int_equal(
            vmbi_chunker_next(&c, data + start, have - start, have == len, &cut, NULL), VMB_OK);
        if (cut == 0) {
            assert_true(have < len);
            have = len - have < step ? len : have + step;
        } else {
            assert_true(n < max);
            lengths[n++] = cut;
            start += cut;
        }
    }
    vmbi_chunker_done(&c);
    return n;
}

static void expect(uint64_t polynomial, const uint8_t *data, size_t len, const size_t *want,
                   size_t n_want, bool all)
{
    static const size_t steps[] = {64 * MIB, 333333};
    vmbi_rabin *t = NULL;
    assert_int_equal(vmbi_rabin_new(polynomial, &t, NULL), VMB_OK);
    for (size_t s = 0; s < 2; s++) {
        size_t got[128];
        size_t n = chunk_all(t, data, len, steps[s], got, 128);
        assert_true(n >= n_want);
        assert_true(!all || n == n_want);
        for (size_t i = 0; i < n_want; i++) {
            assert_int_equal(got[i], want[i]);
        }
    }
    vmbi_rabin_free(t);
}

static void chunker_random_cuts_as_restic(void **state)
{
    static const size_t one[] = {1285841, 609147,  536277,  939814,  759094,  1146182,
                                 2257240, 1210894, 631848,  864506,  3818237, 2152464,
                                 1101042, 1239951, 1416160, 1138876, 1138629, 1036623,
                                 2456254, 591608,  915531,  3296875, 2517760, 493579};
    static const size_t other[] = {2111936, 1674500, 1563097, 2888909, 655795,
                                   1675700, 607140,  2043697, 652730,  1529734};
    (void)state;
    uint8_t *data = stream(32 * MIB);
    expect(UINT64_C(0x3da3358b4dc173), data, 32 * MIB, one, 24, true);
    expect(UINT64_C(0x31242a6d9f1f67), data, 32 * MIB, other, 10, false);
    uint8_t digest[32];
    char hex[65];
    vmbi_sha256(data, 1285841, digest);
    vmbi_hex(digest, 32, hex);
    assert_string_equal(hex, "0c9722f1466328d522e24f6602dff1054317d580ebd2bad4cbac3410f5f8384e");
    free(data);
}

static void chunker_zero_runs_cut_at_the_minimum(void **state)
{
    static const size_t want[] = {1000064, 524288, 524288, 524288, 524288, 524288, 884917, 493579};
    (void)state;
    uint8_t *data = stream(32 * MIB);
    uint8_t *mix = calloc(1, 5000000);
    memcpy(mix, data, 1000000);
    memcpy(mix + 4000000, data + 32 * MIB - 1000000, 1000000);
    expect(UINT64_C(0x3da3358b4dc173), mix, 5000000, want, 8, true);
    free(mix);
    free(data);
}

static void chunker_repeated_byte_cuts_at_the_maximum(void **state)
{
    static const size_t want[] = {8388608, 8388608, 4194304};
    (void)state;
    uint8_t *data = malloc(20 * MIB);
    memset(data, 0x55, 20 * MIB);
    expect(UINT64_C(0x3da3358b4dc173), data, 20 * MIB, want, 3, true);
    free(data);
}

static void chunker_short_streams_are_one_chunk(void **state)
{
    (void)state;
    uint8_t *data = stream(MIB);
    for (size_t len = 1; len <= 3; len++) {
        expect(UINT64_C(0x3da3358b4dc173), data, len, &len, 1, true);
    }
    size_t min = VMBI_CHUNK_MIN;
    expect(UINT64_C(0x3da3358b4dc173), data, min, &min, 1, true);
    free(data);
}

static void rabin_digest_as_restic(void **state)
{
    (void)state;
    uint8_t *data = stream(2 * MIB);
    vmbi_rabin *t = NULL;
    assert_int_equal(vmbi_rabin_new(UINT64_C(0x3da3358b4dc173), &t, NULL), VMB_OK);
    assert_true(vmbi_rabin_digest(t, data + 1285841 - 64) == UINT64_C(0x1b22f289c00000));
    vmbi_rabin_free(t);
    free(data);
}

/* The end of the first chunk by the rule itself, each window from its beginning. */
static size_t plain_cut(const vmbi_rabin *t, const uint8_t *p, size_t len)
{
    size_t end = len < VMBI_CHUNK_MAX ? len : VMBI_CHUNK_MAX;
    for (size_t at = VMBI_CHUNK_MIN; at < end; at++) {
        if ((vmbi_rabin_digest(t, p + at - VMBI_CHUNK_WINDOW) & 0xfffff) == 0) {
            return at;
        }
    }
    return end;
}

static void expect_plain(const uint8_t *data, size_t len)
{
    static const size_t steps[] = {64 * MIB, 70001, 999983};
    vmbi_rabin *t = NULL;
    assert_int_equal(vmbi_rabin_new(UINT64_C(0x3da3358b4dc173), &t, NULL), VMB_OK);
    size_t want[64];
    size_t n_want = 0;
    for (size_t start = 0; start < len; start += want[n_want++]) { /* slow: once for all steps */
        assert_true(n_want < 64);
        want[n_want] = plain_cut(t, data + start, len - start);
    }
    for (size_t s = 0; s < 3; s++) {
        size_t got[64];
        size_t n = chunk_all(t, data, len, steps[s], got, 64);
        assert_int_equal(n, n_want);
        assert_memory_equal(got, want, n * sizeof(*got));
    }
    vmbi_rabin_free(t);
}

static void chunker_any_data_cuts_by_the_rule(void **state)
{
    (void)state;
    size_t len = 4 * MIB;
    uint8_t *p = stream(len);
    expect_plain(p, len);
    expect_plain(p, len - 1);
    /* Zeros but for one byte in 66: windows of zeros everywhere, in runs of two. */
    for (size_t period = 64; period <= 67; period++) {
        memset(p, 0, len);
        for (size_t i = 0; i < len; i += period) {
            p[i] = (uint8_t)(i / period | 1);
        }
        expect_plain(p, len);
    }
    free(p);
}

static void rabin_bad_polynomial_is_refused(void **state)
{
    (void)state;
    static const uint64_t bad[] = {0, 1, 0x7f, UINT64_C(1) << 54, UINT64_MAX};
    for (size_t i = 0; i < 5; i++) {
        vmbi_rabin *t = NULL;
        assert_int_equal(vmbi_rabin_new(bad[i], &t, NULL), VMB_E_INVALID);
        assert_null(t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chunker_random_cuts_as_restic),
        cmocka_unit_test(chunker_zero_runs_cut_at_the_minimum),
        cmocka_unit_test(chunker_repeated_byte_cuts_at_the_maximum),
        cmocka_unit_test(chunker_short_streams_are_one_chunk),
        cmocka_unit_test(rabin_digest_as_restic),
        cmocka_unit_test(chunker_any_data_cuts_by_the_rule),
        cmocka_unit_test(rabin_bad_polynomial_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
