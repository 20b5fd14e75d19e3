/* SPDX-License-Identifier: Apache-2.0 */
/* Against the examples that AWS publishes for Signature Version 4 in S3. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "codec/digest.h"
#include "net/sigv4.h"

/* 20130524T000000Z */
#define WHEN (INT64_C(1369353600) * VMBI_SECOND)
#define HOST "examplebucket.s3.amazonaws.com"

static const vmbi_sigv4 example = {"AKIAIOSFODNN7EXAMPLE",
                                   "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
                                   NULL,
                                   "us-east-1",
                                   "s3",
                                   WHEN};

static void expect(const char *method, const char *path, const char *query,
                   const vmbi_http_header *headers, size_t n, const char *payload,
                   const char *signature)
{
    const vmbi_sigv4_request r = {method, path, query, headers, n, payload};
    vmbi_buf out = VMBI_BUF_INIT(4096);
    char tail[80];

    assert_int_equal(vmbi_sigv4_authorize(&example, &r, &out, NULL), VMB_OK);
    snprintf(tail, sizeof(tail), "Signature=%s", signature);
    assert_non_null(strstr(out.data, "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/"
                                     "us-east-1/s3/aws4_request, SignedHeaders="));
    if (!strstr(out.data, tail)) {
        print_error("%s\nis not %s\n", out.data, tail);
        fail();
    }
    vmbi_buf_free(&out);
}

static void key_of_the_example_matches(void **state)
{
    uint8_t key[32];
    char hex[65];

    (void)state;
    vmbi_sigv4_key(&example, key);
    vmbi_hex(key, sizeof(key), hex);
    assert_string_equal(hex, "dbb893acc010964918f1fd433add87c70e8b0db6be30c1fbeafefa5ec6ba8378");
}

static void get_with_range_matches(void **state)
{
    const vmbi_http_header h[] = {{"Host", HOST},
                                  {"x-amz-content-sha256", VMBI_SIGV4_EMPTY_SHA256},
                                  {"X-Amz-Date", "20130524T000000Z"},
                                  {"Range", "  bytes=0-9 "}};

    (void)state;
    expect("GET", "/test.txt", "", h, 4, VMBI_SIGV4_EMPTY_SHA256,
           "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
}

static void put_with_date_and_storage_class_matches(void **state)
{
    const char body[] = "Welcome to Amazon S3.";
    uint8_t digest[32];
    char hex[65];
    vmbi_http_header h[] = {{"date", "Fri, 24 May 2013 00:00:00 GMT"},
                            {"host", HOST},
                            {"x-amz-content-sha256", hex},
                            {"x-amz-date", "20130524T000000Z"},
                            {"x-amz-storage-class", "REDUCED_REDUNDANCY"}};
    vmbi_buf path = VMBI_BUF_INIT(100);

    (void)state;
    vmbi_sha256(body, strlen(body), digest);
    vmbi_hex(digest, sizeof(digest), hex);
    vmbi_buf_addc(&path, '/');
    vmbi_url_encode(&path, "test$file.text", 14, "/");
    assert_string_equal(path.data, "/test%24file.text");
    expect("PUT", path.data, "", h, 5, hex,
           "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
    vmbi_buf_free(&path);
}

static void query_without_value_matches(void **state)
{
    const vmbi_http_header params[] = {{"lifecycle", NULL}};
    const vmbi_http_header h[] = {{"host", HOST},
                                  {"x-amz-content-sha256", VMBI_SIGV4_EMPTY_SHA256},
                                  {"x-amz-date", "20130524T000000Z"}};
    vmbi_buf q = VMBI_BUF_INIT(100);

    (void)state;
    assert_int_equal(vmbi_sigv4_query(params, 1, &q, NULL), VMB_OK);
    assert_string_equal(q.data, "lifecycle=");
    expect("GET", "/", q.data, h, 3, VMBI_SIGV4_EMPTY_SHA256,
           "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
    vmbi_buf_free(&q);
}

static void query_with_two_parameters_matches(void **state)
{
    const vmbi_http_header params[] = {{"prefix", "J"}, {"max-keys", "2"}};
    const vmbi_http_header h[] = {{"host", HOST},
                                  {"x-amz-content-sha256", VMBI_SIGV4_EMPTY_SHA256},
                                  {"x-amz-date", "20130524T000000Z"}};
    vmbi_buf q = VMBI_BUF_INIT(100);

    (void)state;
    assert_int_equal(vmbi_sigv4_query(params, 2, &q, NULL), VMB_OK);
    expect("GET", "/", q.data, h, 3, VMBI_SIGV4_EMPTY_SHA256,
           "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
    vmbi_buf_free(&q);
}

static void query_is_encoded_and_sorted_by_name_then_value(void **state)
{
    const vmbi_http_header params[] = {
        {"a-b", "2"}, {"a", "z/ +"}, {"a", "b"}, {"\xc3\xa9", "~"}, {"a.b", ""}};
    vmbi_buf q = VMBI_BUF_INIT(100);

    (void)state;
    assert_int_equal(vmbi_sigv4_query(params, 5, &q, NULL), VMB_OK);
    assert_string_equal(q.data, "%C3%A9=~&a=b&a=z%2F%20%2B&a-b=2&a.b=");
    vmbi_buf_free(&q);
}

static void presigned_get_matches(void **state)
{
    vmbi_buf url = VMBI_BUF_INIT(4096);

    (void)state;
    assert_int_equal(
        vmbi_sigv4_presign(&example, "GET", "https://" HOST, "/test.txt", 86400, &url, NULL),
        VMB_OK);
    assert_string_equal(url.data,
                        "https://" HOST "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256"
                        "&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2F"
                        "aws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400"
                        "&X-Amz-SignedHeaders=host&X-Amz-Signature="
                        "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404");
    vmbi_buf_free(&url);
}

static void presigned_default_port_is_not_signed(void **state)
{
    vmbi_buf a = VMBI_BUF_INIT(4096);
    vmbi_buf b = VMBI_BUF_INIT(4096);
    vmbi_buf c = VMBI_BUF_INIT(4096);

    (void)state;
    assert_int_equal(vmbi_sigv4_presign(&example, "GET", "https://" HOST, "/k", 60, &a, NULL), 0);
    assert_int_equal(
        vmbi_sigv4_presign(&example, "GET", "https://" HOST ":443", "/k", 60, &b, NULL), 0);
    assert_int_equal(
        vmbi_sigv4_presign(&example, "GET", "https://" HOST ":8443", "/k", 60, &c, NULL), 0);
    assert_string_equal(strstr(a.data, "Signature="), strstr(b.data, "Signature="));
    assert_string_not_equal(strstr(a.data, "Signature="), strstr(c.data, "Signature="));
    vmbi_buf_free(&a);
    vmbi_buf_free(&b);
    vmbi_buf_free(&c);
}

static void sign_chunk(const char *previous, const char *chunk, size_t len, char out[65])
{
    vmbi_buf text = VMBI_BUF_INIT(4096);
    uint8_t digest[32];
    char hex[65];

    vmbi_sha256(chunk, len, digest);
    vmbi_hex(digest, sizeof(digest), hex);
    vmbi_buf_addf(&text,
                  "AWS4-HMAC-SHA256-PAYLOAD\n20130524T000000Z\n"
                  "20130524/us-east-1/s3/aws4_request\n%s\n%s\n%s",
                  previous, VMBI_SIGV4_EMPTY_SHA256, hex);
    vmbi_sigv4_sign(&example, text.data, text.len, out);
    vmbi_buf_free(&text);
}

/* We do not send signed chunks; the example still proves header and string signing. */
static void chunked_put_matches(void **state)
{
    const char *payload = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD";
    const char *seed = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9";
    const vmbi_http_header h[] = {{"content-encoding", "aws-chunked"},
                                  {"content-length", "66824"},
                                  {"host", "s3.amazonaws.com"},
                                  {"x-amz-content-sha256", payload},
                                  {"x-amz-date", "20130524T000000Z"},
                                  {"x-amz-decoded-content-length", "66560"},
                                  {"x-amz-storage-class", "REDUCED_REDUNDANCY"}};
    char *data = malloc(65536);
    char first[65];
    char second[65];
    char last[65];

    (void)state;
    assert_non_null(data);
    memset(data, 'a', 65536);
    expect("PUT", "/examplebucket/chunkObject.txt", "", h, 7, payload, seed);
    sign_chunk(seed, data, 65536, first);
    assert_string_equal(first, "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648");
    sign_chunk(first, data, 1024, second);
    assert_string_equal(second, "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497");
    sign_chunk(second, data, 0, last);
    assert_string_equal(last, "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9");
    free(data);
}

static void header_values_are_trimmed_and_collapsed(void **state)
{
    const vmbi_http_header a[] = {{"X-Amz-Meta-A", "  one   two\t three "}, {"HOST", "h"}};
    const vmbi_http_header b[] = {{"host", "h"}, {"x-amz-meta-a", "one two three"}};
    const vmbi_sigv4_request ra = {"GET", "/", "", a, 2, VMBI_SIGV4_UNSIGNED};
    const vmbi_sigv4_request rb = {"GET", "/", "", b, 2, VMBI_SIGV4_UNSIGNED};
    vmbi_buf oa = VMBI_BUF_INIT(4096);
    vmbi_buf ob = VMBI_BUF_INIT(4096);

    (void)state;
    assert_int_equal(vmbi_sigv4_authorize(&example, &ra, &oa, NULL), VMB_OK);
    assert_int_equal(vmbi_sigv4_authorize(&example, &rb, &ob, NULL), VMB_OK);
    assert_string_equal(oa.data, ob.data);
    vmbi_buf_free(&oa);
    vmbi_buf_free(&ob);
}

/* Names that prefix one another must be sorted as names, not as lines. */
static void header_that_prefixes_another_comes_first(void **state)
{
    const vmbi_http_header h[] = {{"x-amz-meta-a-b", "2"}, {"x-amz-meta-a", "1"}, {"host", "h"}};
    const vmbi_sigv4_request r = {"GET", "/", "", h, 3, VMBI_SIGV4_UNSIGNED};
    vmbi_buf out = VMBI_BUF_INIT(4096);

    (void)state;
    assert_int_equal(vmbi_sigv4_authorize(&example, &r, &out, NULL), VMB_OK);
    assert_non_null(strstr(out.data, "SignedHeaders=host;x-amz-meta-a;x-amz-meta-a-b,"));
    vmbi_buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(key_of_the_example_matches),
        cmocka_unit_test(get_with_range_matches),
        cmocka_unit_test(put_with_date_and_storage_class_matches),
        cmocka_unit_test(query_without_value_matches),
        cmocka_unit_test(query_with_two_parameters_matches),
        cmocka_unit_test(query_is_encoded_and_sorted_by_name_then_value),
        cmocka_unit_test(presigned_get_matches),
        cmocka_unit_test(presigned_default_port_is_not_signed),
        cmocka_unit_test(chunked_put_matches),
        cmocka_unit_test(header_values_are_trimmed_and_collapsed),
        cmocka_unit_test(header_that_prefixes_another_comes_first),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
