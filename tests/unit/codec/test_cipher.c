/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "codec/cipher.h"
#include "codec/digest.h"
#include "codec/zstd.h"

static void unhex(const char *hex, uint8_t *out)
{
    assert_true(vmbi_unhex(hex, strlen(hex), out));
}

static void assert_hex(const uint8_t *d, size_t len, const char *want)
{
    char text[257];

    vmbi_hex(d, len, text);
    assert_string_equal(text, want);
}

/* NIST SP 800-38A, F.5.5. In two steps that end inside a block. */
static void aes_ctr_known_input_matches(void **state)
{
    uint8_t key[32], counter[16], in[32], out[32];
    vmbi_aes_ctr *c = NULL;

    (void)state;
    unhex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4", key);
    unhex("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff", counter);
    unhex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51", in);
    assert_int_equal(vmbi_aes_ctr_new(key, &c, NULL), VMB_OK);
    assert_int_equal(vmbi_aes_ctr_start(c, counter, NULL), VMB_OK);
    assert_int_equal(vmbi_aes_ctr_apply(c, in, 5, out, NULL), VMB_OK);
    assert_int_equal(vmbi_aes_ctr_apply(c, in + 5, 27, out + 5, NULL), VMB_OK);
    assert_hex(out, 32, "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5");
    assert_int_equal(vmbi_aes_ctr_start(c, counter, NULL), VMB_OK);
    assert_int_equal(vmbi_aes_ctr_apply(c, out, 32, out, NULL), VMB_OK);
    assert_memory_equal(out, in, 32);
    vmbi_aes_ctr_free(c);
}

/* FIPS 197, C.1. */
static void aes_block_known_input_matches(void **state)
{
    uint8_t key[16], in[16], out[16];
    vmbi_aes_block *b = NULL;

    (void)state;
    unhex("000102030405060708090a0b0c0d0e0f", key);
    unhex("00112233445566778899aabbccddeeff", in);
    assert_int_equal(vmbi_aes_block_new(key, &b, NULL), VMB_OK);
    assert_int_equal(vmbi_aes_block_encrypt(b, in, out, NULL), VMB_OK);
    assert_hex(out, 16, "69c4e0d86a7b0430d8cdb78070b4c55a");
    vmbi_aes_block_free(b);
}

/* RFC 8439, 2.5.2; twice, since the object is used again. */
static void poly1305_known_input_matches(void **state)
{
    static const char text[] = "Cryptographic Forum Research Group";
    uint8_t key[32], tag[16];
    vmbi_poly1305 *p = NULL;
    int i = 0;

    (void)state;
    unhex("85d6be7857556d337f4452fe42d506a80103808afb0db2fd4abff6af4149f51b", key);
    assert_int_equal(vmbi_poly1305_new(&p, NULL), VMB_OK);
    for (i = 0; i < 2; i++) {
        assert_int_equal(vmbi_poly1305_start(p, key, NULL), VMB_OK);
        assert_int_equal(vmbi_poly1305_update(p, text, 10, NULL), VMB_OK);
        assert_int_equal(vmbi_poly1305_update(p, text + 10, 24, NULL), VMB_OK);
        assert_int_equal(vmbi_poly1305_final(p, tag, NULL), VMB_OK);
        assert_hex(tag, 16, "a8061dc1305136c6c22b8baf0c0127a9");
    }
    vmbi_poly1305_free(p);
}

/* RFC 7914, 12. */
static void scrypt_known_input_matches(void **state)
{
    uint8_t out[64];

    (void)state;
    assert_int_equal(vmbi_scrypt("password", 8, (const uint8_t *)"NaCl", 4, 1024, 8, 16, 64 << 20,
                                 out, 64, NULL), VMB_OK);
    assert_hex(out, 64, "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162"
                        "2eaf30d92e22a3886ff109279d9830dac727afb94a83ee6d8360cbdfa2cc0640");
}

static void scrypt_bad_parameters_are_refused(void **state)
{
    static const uint8_t salt[4] = {1, 2, 3, 4};
    uint8_t out[16];

    (void)state;
    assert_int_equal(vmbi_scrypt("p", 1, salt, 4, 1000, 8, 1, 1 << 30, out, 16, NULL),
                     VMB_E_INVALID);
    assert_int_equal(vmbi_scrypt("p", 1, salt, 4, 1, 8, 1, 1 << 30, out, 16, NULL), VMB_E_INVALID);
    assert_int_equal(vmbi_scrypt("p", 1, salt, 4, 16, 0, 1, 1 << 30, out, 16, NULL), VMB_E_INVALID);
    assert_int_equal(vmbi_scrypt("p", 1, salt, 4, 16, 1 << 15, 1 << 15, 1 << 30, out, 16, NULL),
                     VMB_E_INVALID);
    assert_int_equal(vmbi_scrypt("p", 1, salt, 4, 1 << 20, 8, 1, 64 << 20, out, 16, NULL),
                     VMB_E_LIMIT);
    assert_int_equal(vmbi_scrypt("p", 1, salt, 4, UINT64_C(1) << 62, 8, 1, 64 << 20, out, 16, NULL),
                     VMB_E_LIMIT);
}

/* ---- zstd ---- */

static vmbi_zstd_dec *new_dec(void)
{
    vmbi_zstd_dec *d = NULL;

    assert_int_equal(vmbi_zstd_dec_new(&d, NULL), VMB_OK);
    return d;
}

static void zstd_round_trip_gives_the_same(void **state)
{
    enum { LEN = 3 << 20 };
    char *in = calloc(1, LEN), *packed = malloc(vmbi_zstd_bound(LEN)), *out = malloc(LEN);
    vmbi_buf grown = VMBI_BUF_INIT(LEN);
    vmbi_zstd_enc *e = NULL;
    vmbi_zstd_dec *d = new_dec();
    size_t n = 0, len = 0, i = 0;

    (void)state;
    for (i = 0; i < LEN; i += 7) {
        in[i] = (char)(i * i >> 5);
    }
    assert_int_equal(vmbi_zstd_enc_new(3, 19, &e, NULL), VMB_OK);
    assert_int_equal(vmbi_zstd_compress(e, in, LEN, packed, vmbi_zstd_bound(LEN), &n, NULL), VMB_OK);
    assert_true(n < LEN / 2);
    assert_int_equal(vmbi_zstd_decompress(d, packed, n, out, LEN, &len, NULL), VMB_OK);
    assert_int_equal(len, LEN);
    assert_memory_equal(in, out, LEN);
    assert_int_equal(vmbi_zstd_decompress_buf(d, packed, n, &grown, NULL), VMB_OK);
    assert_int_equal(grown.len, LEN);
    assert_memory_equal(in, grown.data, LEN);
    assert_int_equal(vmbi_zstd_compress(e, in, LEN, packed, 100, &n, NULL), VMB_E_LIMIT);
    vmbi_buf_free(&grown);
    vmbi_zstd_enc_free(e);
    vmbi_zstd_dec_free(d);
    free(in);
    free(packed);
    free(out);
}

/* Two frames, the second one raw: "hello " and "restic". */
static void zstd_several_frames_are_joined(void **state)
{
    uint8_t two[64];
    char out[16];
    vmbi_buf grown = VMBI_BUF_INIT(12);
    vmbi_zstd_dec *d = new_dec();
    size_t len = 0;

    (void)state;
    unhex("28b52ffd200631000068656c6c6f2028b52ffd2006310000726573746963", two);
    assert_int_equal(vmbi_zstd_decompress(d, two, 30, out, 12, &len, NULL), VMB_OK);
    assert_int_equal(len, 12);
    assert_memory_equal(out, "hello restic", 12);
    assert_int_equal(vmbi_zstd_decompress_buf(d, two, 30, &grown, NULL), VMB_OK);
    assert_string_equal(grown.data, "hello restic");
    assert_int_equal(vmbi_zstd_decompress(d, two, 30, out, 11, &len, NULL), VMB_E_LIMIT);
    vmbi_buf_free(&grown);
    grown = (vmbi_buf)VMBI_BUF_INIT(11);
    assert_int_equal(vmbi_zstd_decompress_buf(d, two, 30, &grown, NULL), VMB_E_LIMIT);
    vmbi_buf_free(&grown);
    vmbi_zstd_dec_free(d);
}

static void zstd_cut_or_bad_data_is_refused(void **state)
{
    uint8_t frame[32];
    char out[16];
    vmbi_zstd_dec *d = new_dec();
    size_t len = 0, cut = 0;

    (void)state;
    unhex("28b52ffd200631000068656c6c6f20", frame);
    for (cut = 1; cut < 15; cut++) {
        vmbi_buf grown = VMBI_BUF_INIT(100);

        assert_int_not_equal(vmbi_zstd_decompress(d, frame, cut, out, 16, &len, NULL), VMB_OK);
        assert_int_not_equal(vmbi_zstd_decompress_buf(d, frame, cut, &grown, NULL), VMB_OK);
        vmbi_buf_free(&grown);
    }
    frame[0] ^= 1;
    assert_int_equal(vmbi_zstd_decompress(d, frame, 15, out, 16, &len, NULL), VMB_E_PARSE);
    vmbi_zstd_dec_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(aes_ctr_known_input_matches),
        cmocka_unit_test(aes_block_known_input_matches),
        cmocka_unit_test(poly1305_known_input_matches),
        cmocka_unit_test(scrypt_known_input_matches),
        cmocka_unit_test(scrypt_bad_parameters_are_refused),
        cmocka_unit_test(zstd_round_trip_gives_the_same),
        cmocka_unit_test(zstd_several_frames_are_joined),
        cmocka_unit_test(zstd_cut_or_bad_data_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
