/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "codec/digest.h"

static void assert_hex(const uint8_t *d, size_t len, const char *want)
{
    char text[65];

    vmbi_hex(d, len, text);
    assert_string_equal(text, want);
}

/* FIPS 180-4 and RFC 1321 examples. */
static void digest_known_inputs_match(void **state)
{
    uint8_t d[32];

    (void)state;
    vmbi_sha256("", 0, d);
    assert_hex(d, 32, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    vmbi_sha256("abc", 3, d);
    assert_hex(d, 32, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    vmbi_sha256(NULL, 0, d);
    assert_hex(d, 32, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    vmbi_md5("message digest", 14, d);
    assert_hex(d, 16, "f96b697d7cb7938d525a2f31aaf161d0");
}

static void digest_stream_equals_whole(void **state)
{
    static const struct {
        int kind;
        size_t len;
        const char *want; /* of one million 'a' */
    } cases[] = {
        {VMBI_SHA256, 32, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"},
        {VMBI_SHA1, 20, "34aa973cd4c4daa4f61eeb2bdbad27316534016f"},
        {VMBI_MD5, 16, "7707d6ae4e027c70eea2a935c2296f21"},
    };
    char block[1000];

    (void)state;
    memset(block, 'a', sizeof(block));
    for (size_t i = 0; i < VMBI_ARRAY_LEN(cases); i++) {
        vmbi_digest *d = NULL;
        uint8_t out[32];

        assert_int_equal(vmbi_digest_new(cases[i].kind, &d, NULL), VMB_OK);
        for (size_t n = 0; n < 1000; n++) {
            size_t cut = n % 1001;

            vmbi_digest_update(d, block, cut);
            vmbi_digest_update(d, block + cut, sizeof(block) - cut);
        }
        vmbi_digest_final(d, out);
        assert_hex(out, cases[i].len, cases[i].want);
        vmbi_digest_free(d);
    }
}

static void digest_unknown_kind_is_refused(void **state)
{
    vmbi_digest *d = NULL;
    vmb_error *err = NULL;

    (void)state;
    assert_int_equal(vmbi_digest_new(9, &d, &err), VMB_E_ARG);
    assert_null(d);
    assert_non_null(err);
    vmb_error_free(err);
    vmbi_digest_free(NULL);
}

/* RFC 4231 cases 1, 2 and 6 (key longer than a block), RFC 2202 for SHA-1. */
static void hmac_rfc_vectors_match(void **state)
{
    uint8_t key[131], d[32];

    (void)state;
    memset(key, 0x0b, 20);
    vmbi_hmac_sha256(key, 20, "Hi There", 8, d);
    assert_hex(d, 32, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    vmbi_hmac_sha256("Jefe", 4, "what do ya want for nothing?", 28, d);
    assert_hex(d, 32, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    memset(key, 0xaa, sizeof(key));
    vmbi_hmac_sha256(key, 131, "Test Using Larger Than Block-Size Key - Hash Key First", 54, d);
    assert_hex(d, 32, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

/* AWS's published example: the V4 signing key of 2013-05-24. */
static void hmac_aws_vectors_match(void **state)
{
    static const char secret[] = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
    uint8_t k[32];
    char first[64] = "AWS4";

    (void)state;
    memcpy(first + 4, secret, sizeof(secret));
    vmbi_hmac_sha256(first, strlen(first), "20130524", 8, k);
    vmbi_hmac_sha256(k, 32, "us-east-1", 9, k);
    vmbi_hmac_sha256(k, 32, "s3", 2, k);
    vmbi_hmac_sha256(k, 32, "aws4_request", 12, k);
    assert_hex(k, 32, "dbb893acc010964918f1fd433add87c70e8b0db6be30c1fbeafefa5ec6ba8378");
}

static uint32_t crc_slow(uint32_t poly, const uint8_t *p, size_t len)
{
    uint32_t crc = UINT32_MAX;

    for (size_t i = 0; i < len; i++) {
        crc ^= p[i];
        for (int k = 0; k < 8; k++) {
            crc = (crc >> 1) ^ ((crc & 1) != 0 ? poly : 0);
        }
    }
    return ~crc;
}

static void crc_check_values_match(void **state)
{
    uint8_t data[1000];

    (void)state;
    assert_int_equal(vmbi_crc32(0, "123456789", 9), 0xcbf43926);
    assert_int_equal(vmbi_crc32c(0, "123456789", 9), 0xe3069283);
    assert_int_equal(vmbi_crc32(0, NULL, 0), 0);
    assert_int_equal(vmbi_crc32c(0, NULL, 0), 0);
    for (size_t i = 0; i < sizeof(data); i++) {
        data[i] = (uint8_t)(i * 7 + i / 3);
    }
    for (size_t len = 0; len < sizeof(data); len += 13) {
        size_t cut = len / 3;
        uint32_t a = vmbi_crc32(vmbi_crc32(0, data, cut), data + cut, len - cut);
        uint32_t c = vmbi_crc32c(vmbi_crc32c(0, data, cut), data + cut, len - cut);

        assert_int_equal(a, crc_slow(0xedb88320, data, len));
        assert_int_equal(c, crc_slow(0x82f63b78, data, len));
    }
}

static void hex_round_trips(void **state)
{
    uint8_t all[256], back[256];
    char text[513];

    (void)state;
    for (size_t i = 0; i < 256; i++) {
        all[i] = (uint8_t)i;
    }
    vmbi_hex(all, 256, text);
    assert_int_equal(strlen(text), 512);
    assert_memory_equal(text + 2 * 0xab, "ab", 2);
    assert_true(vmbi_unhex(text, 512, back));
    assert_memory_equal(all, back, 256);
    assert_true(vmbi_unhex("AbCd", 4, back));
    assert_int_equal(back[0] * 256 + back[1], 0xabcd);
    assert_false(vmbi_unhex("abc", 3, back));
    assert_false(vmbi_unhex("0g", 2, back));
    assert_false(vmbi_unhex("0x", 2, back));
}

/* RFC 4648, section 10. */
static void base64_rfc_vectors_match(void **state)
{
    static const char *const plain[] = {"", "f", "fo", "foo", "foob", "fooba", "foobar"};
    static const char *const coded[] = {"",         "Zg==",     "Zm8=",    "Zm9v",
                                        "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"};

    (void)state;
    for (size_t i = 0; i < VMBI_ARRAY_LEN(plain); i++) {
        char text[16];
        uint8_t *back = NULL;
        size_t n = 99, len = strlen(plain[i]);

        assert_int_equal(vmbi_base64_size(len), strlen(coded[i]) + 1);
        vmbi_base64(plain[i], len, text);
        assert_string_equal(text, coded[i]);
        assert_int_equal(vmbi_unbase64(text, strlen(text), &back, &n, NULL), VMB_OK);
        assert_int_equal(n, len);
        assert_memory_equal(back, plain[i], len);
        vmbi_free(back);
    }
}

static void base64_white_space_is_ignored(void **state)
{
    static const char text[] = " Zm9v\r\nYm\tFy\n";
    uint8_t *back = NULL;
    size_t n = 0;

    (void)state;
    assert_int_equal(vmbi_unbase64(text, strlen(text), &back, &n, NULL), VMB_OK);
    assert_int_equal(n, 6);
    assert_memory_equal(back, "foobar", 6);
    vmbi_free(back);
}

static void base64_malformed_is_refused(void **state)
{
    static const char *const cases[] = {
        "Z",    "Zg",    "Zg=", "Zg===", "Zm9",      "Zm9v=", "Z===",  "Zg=a",    "Zm-v",
        "Zm_v", "Zm9v!", "=",   "====",  "Zg==Zg==", "Z=g=",  "Zm9vZ", "\xc3\xa4"};

    (void)state;
    for (size_t i = 0; i < VMBI_ARRAY_LEN(cases); i++) {
        uint8_t *back = NULL;
        size_t n = 42;
        vmb_error *err = NULL;

        if (vmbi_unbase64(cases[i], strlen(cases[i]), &back, &n, &err) != VMB_E_PARSE) {
            fail_msg("\"%s\" was accepted", cases[i]);
        }
        assert_null(back);
        assert_int_equal(n, 42);
        assert_non_null(err);
        vmb_error_free(err);
    }
}

static void random_calls_differ(void **state)
{
    uint8_t a[64] = {0}, b[64] = {0};
    unsigned bits = 0;

    (void)state;
    vmbi_random(a, sizeof(a));
    vmbi_random(b, sizeof(b));
    for (size_t i = 0; i < sizeof(a); i++) {
        bits += (unsigned)__builtin_popcount((unsigned)(a[i] ^ b[i]));
    }
    assert_in_range(bits, 150, 362); /* 256 expected, sigma 11.3 */
}

static void uuid4_has_version_and_variant(void **state)
{
    char a[37], b[37];

    (void)state;
    for (int i = 0; i < 100; i++) {
        vmbi_uuid4(a);
        vmbi_uuid4(b);
        assert_int_equal(strlen(a), 36);
        assert_int_equal(strspn(a, "0123456789abcdef-"), 36);
        assert_true(a[8] == '-' && a[13] == '-' && a[18] == '-' && a[23] == '-');
        assert_int_equal(a[14], '4');
        assert_non_null(memchr("89ab", a[19], 4));
        assert_string_not_equal(a, b);
    }
}

static void mem_equal_tells_difference(void **state)
{
    (void)state;
    assert_true(vmbi_mem_equal_ct("abc", "abc", 3));
    assert_false(vmbi_mem_equal_ct("abc", "abd", 3));
    assert_true(vmbi_mem_equal_ct(NULL, NULL, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(digest_known_inputs_match),
        cmocka_unit_test(digest_stream_equals_whole),
        cmocka_unit_test(digest_unknown_kind_is_refused),
        cmocka_unit_test(hmac_rfc_vectors_match),
        cmocka_unit_test(hmac_aws_vectors_match),
        cmocka_unit_test(crc_check_values_match),
        cmocka_unit_test(hex_round_trips),
        cmocka_unit_test(base64_rfc_vectors_match),
        cmocka_unit_test(base64_white_space_is_ignored),
        cmocka_unit_test(base64_malformed_is_refused),
        cmocka_unit_test(random_calls_differ),
        cmocka_unit_test(uuid4_has_version_and_variant),
        cmocka_unit_test(mem_equal_tells_difference),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
