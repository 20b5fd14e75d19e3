/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "codec/digest.h"
#include "codec/sha256.h"

enum { SIZE = 5000 };

static uint32_t next_number(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

static void fill(uint8_t *p, size_t len, uint32_t seed)
{
    for (size_t i = 0; i < len; i++) {
        p[i] = (uint8_t)next_number(&seed);
    }
}

/* The plain digest is OpenSSL's. */
static void assert_digest(vmbi_sha256_state *s, const uint8_t *data, size_t len)
{
    uint8_t got[32], want[32];

    vmbi_sha256_end(s, got);
    vmbi_sha256(data, len, want);
    assert_memory_equal(got, want, 32);
}

static void pieces_of_any_size_equal_whole(void **state)
{
    uint8_t data[SIZE];
    uint32_t seed = 1;

    (void)state;
    fill(data, sizeof(data), 5);
    for (size_t len = 0; len < 300; len++) { /* every padding */
        vmbi_sha256_state s;

        vmbi_sha256_begin(&s);
        vmbi_sha256_add(&s, data, len);
        assert_digest(&s, data, len);
    }
    for (int round = 0; round < 200; round++) {
        const size_t len = next_number(&seed) % SIZE;
        vmbi_sha256_state s;

        vmbi_sha256_begin(&s);
        for (size_t at = 0; at < len;) {
            size_t n = next_number(&seed) % 200;

            n = n < len - at ? n : len - at;
            vmbi_sha256_add(&s, data + at, n);
            at += n;
        }
        assert_digest(&s, data, len);
    }
}

static void pairs_equal_two_wholes(void **state)
{
    uint8_t a[SIZE], b[SIZE];
    uint32_t seed = 7;

    (void)state;
    fill(a, sizeof(a), 11);
    fill(b, sizeof(b), 13);
    for (int round = 0; round < 500; round++) {
        const size_t a_len = next_number(&seed) % SIZE, b_len = next_number(&seed) % SIZE;
        vmbi_sha256_state s, t;
        size_t i = 0, j = 0;

        vmbi_sha256_begin(&s);
        vmbi_sha256_begin(&t);
        while (i < a_len || j < b_len) {
            size_t m = next_number(&seed) % 1000, n = next_number(&seed) % 1000;

            m = m < a_len - i ? m : a_len - i;
            n = n < b_len - j ? n : b_len - j;
            vmbi_sha256_add_pair(&s, a + i, m, &t, b + j, n);
            i += m;
            j += n;
        }
        assert_digest(&s, a, a_len);
        assert_digest(&t, b, b_len);
    }
}

static void state_begun_again_forgets(void **state)
{
    vmbi_sha256_state s;

    (void)state;
    vmbi_sha256_begin(&s);
    vmbi_sha256_add(&s, "something else", 14);
    vmbi_sha256_begin(&s);
    vmbi_sha256_add(&s, "abc", 3);
    assert_digest(&s, (const uint8_t *)"abc", 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_of_any_size_equal_whole),
        cmocka_unit_test(pairs_equal_two_wholes),
        cmocka_unit_test(state_begun_again_forgets),
    };

    print_message("SHA-256 by %s\n", vmbi_sha256_engine());
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
