/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "net/headers.h"
#include "net/http.h"

static void feed(vmbi_http_response *r, const char *const *lines)
{
    for (; *lines; lines++) {
        vmbi_response_header_line(r, *lines, strlen(*lines));
    }
    vmbi_response_headers_end(r);
}

static void headers_after_a_continue_replace_the_first_ones(void **state)
{
    const char *const lines[] = {"HTTP/1.1 100 Continue\r\n",
                                 "X-Old: 1\r\n",
                                 "\r\n",
                                 "HTTP/1.1 204 No Content\r\n",
                                 "X-New:2\r\n",
                                 "\r\n",
                                 NULL};
    vmbi_http_response r;
    char v[8];

    (void)state;
    vmbi_http_response_init(&r, 0);
    feed(&r, lines);
    assert_int_equal(r.status, 204);
    assert_false(vmbi_http_header_find(&r, "X-Old", v, sizeof(v)));
    assert_true(vmbi_http_header_find(&r, "X-New", v, sizeof(v)));
    assert_string_equal(v, "2");
    assert_true(r.content_length == -1);
    assert_true(r.retry_after_ns == -1);
    vmbi_http_response_free(&r);
}

static void retry_after(const char *date, const char *value, int64_t expected)
{
    char d[80];
    char a[80];
    const char *const lines[] = {"HTTP/1.1 503 X\r\n", d, a, "\r\n", NULL};
    vmbi_http_response r;

    snprintf(d, sizeof(d), "Date: %s\r\n", date);
    snprintf(a, sizeof(a), "Retry-After: %s\r\n", value);
    vmbi_http_response_init(&r, 0);
    feed(&r, lines);
    assert_true(r.retry_after_ns == expected);
    vmbi_http_response_free(&r);
}

static void retry_after_takes_seconds_and_dates(void **state)
{
    const char *date = "Fri, 24 May 2013 00:00:00 GMT";

    (void)state;
    retry_after(date, "0", 0);
    retry_after(date, "7", 7 * VMBI_SECOND);
    retry_after(date, " 120 ", 120 * VMBI_SECOND);
    retry_after(date, "99999999", 86400 * VMBI_SECOND);
    retry_after(date, "-1", -1);
    retry_after(date, "soon", -1);
    retry_after(date, "", -1);
    retry_after(date, "1.5", -1);
    retry_after(date, "Fri, 24 May 2013 00:00:30 GMT", 30 * VMBI_SECOND);
    retry_after(date, "Thu, 23 May 2013 23:59:00 GMT", 0);
    retry_after("", "Thu, 23 May 2013 23:59:00 GMT", 0);
}

static void status_line_malformed_gives_no_status(void **state)
{
    const char *const lines[] = {"HTTP/1.1 abc\r\n", "\r\n", NULL};
    const char *const http2[] = {"HTTP/2 301\r\n", "\r\n", NULL};
    vmbi_http_response r;

    (void)state;
    vmbi_http_response_init(&r, 0);
    feed(&r, lines);
    assert_int_equal(r.status, 0);
    feed(&r, http2);
    assert_int_equal(r.status, 301);
    vmbi_http_response_free(&r);
}

static void headers_without_end_are_limited(void **state)
{
    vmbi_http_response r;
    int i = 0;

    (void)state;
    vmbi_http_response_init(&r, 0);
    for (i = 0; i < 20000; i++) {
        vmbi_response_header_line(&r, "X-Filler: 0123456789\r\n", 22);
    }
    assert_int_equal(r.headers.status, VMB_E_LIMIT);
    assert_true(r.headers.len <= 128 * 1024);
    vmbi_http_response_free(&r);
}

static void encode(const char *in, size_t len, const char *keep, const char *expected)
{
    vmbi_buf b = VMBI_BUF_INIT(1024);

    vmbi_url_encode(&b, in, len, keep);
    assert_int_equal(b.status, VMB_OK);
    assert_string_equal(b.data ? b.data : "", expected);
    vmbi_buf_free(&b);
}

static void url_encoding_keeps_the_unreserved_only(void **state)
{
    (void)state;
    encode("AZaz09-._~", 10, NULL, "AZaz09-._~");
    encode("a b+c%/&=", 9, NULL, "a%20b%2Bc%25%2F%26%3D");
    encode("a/b c", 5, "/", "a/b%20c");
    encode("\xc3\xa9", 2, "/", "%C3%A9");
    encode("\0\x7f!*'()", 7, "/", "%00%7F%21%2A%27%28%29");
    encode("", 0, "/", "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(headers_after_a_continue_replace_the_first_ones),
        cmocka_unit_test(retry_after_takes_seconds_and_dates),
        cmocka_unit_test(status_line_malformed_gives_no_status),
        cmocka_unit_test(headers_without_end_are_limited),
        cmocka_unit_test(url_encoding_keeps_the_unreserved_only),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
