/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/job.h"

static void buf_appends_grow_and_stay_terminated(void **state)
{
    vmbi_buf b = VMBI_BUF_INIT(100000);

    (void)state;
    for (size_t i = 0; i < 10000; i++) {
        vmbi_buf_addc(&b, (char)('a' + i % 26));
        assert_int_equal(b.len, i + 1);
        assert_int_equal(b.data[i + 1], '\0');
    }
    assert_memory_equal(b.data, "abcdefghijklmnopqrstuvwxyzabc", 29);
    vmbi_buf_adds(&b, "end");
    vmbi_buf_addf(&b, "%d-%s", 42, "x");
    assert_string_equal(b.data + 10000, "end42-x");
    assert_int_equal(vmbi_buf_check(&b, NULL, "b"), VMB_OK);
    vmbi_buf_free(&b);
    assert_null(b.data);
    assert_int_equal(b.max, 100000);
}

static void buf_reserved_is_terminated(void **state)
{
    vmbi_buf b = VMBI_BUF_INIT(1000);

    (void)state;
    vmbi_buf_reserve(&b, 500);
    assert_non_null(b.data);
    assert_true(b.cap > 500);
    assert_int_equal(b.data[0], '\0');
    vmbi_buf_free(&b);
}

static void buf_ceiling_is_exact_and_sticky(void **state)
{
    vmbi_buf b = VMBI_BUF_INIT(10);
    vmb_error *err = NULL;

    (void)state;
    vmbi_buf_adds(&b, "0123456789");
    assert_int_equal(b.status, VMB_OK);
    vmbi_buf_addc(&b, 'x');
    assert_int_equal(b.status, VMB_E_LIMIT);
    vmbi_buf_adds(&b, "");
    vmbi_buf_addf(&b, "%d", 1);
    assert_int_equal(b.len, 10);
    assert_string_equal(b.data, "0123456789");
    assert_int_equal(vmbi_buf_check(&b, &err, "answer"), VMB_E_LIMIT);
    assert_string_equal(vmb_error_message(err), "answer: larger than the limit of 10 bytes");
    vmb_error_free(err);
    vmbi_buf_reset(&b);
    assert_string_equal(b.data, "");
    vmbi_buf_adds(&b, "again");
    assert_int_equal(vmbi_buf_check(&b, NULL, "b"), VMB_OK);
    vmbi_buf_reserve(&b, SIZE_MAX);
    assert_int_equal(b.status, VMB_E_LIMIT);
    vmbi_buf_free(&b);
    assert_int_equal(b.status, VMB_OK);
}

static void buf_without_memory_is_sticky(void **state)
{
    vmbi_buf b = VMBI_BUF_INIT(1000);
    vmb_error *err = NULL;
    char *text = NULL;

    (void)state;
    vmbi_buf_adds(&b, "kept");
    vmbi_alloc_fail_from(1);
    for (int i = 0; i < 100; i++) {
        vmbi_buf_adds(&b, "0123456789");
    }
    vmbi_alloc_fail_from(0);
    assert_int_equal(vmbi_buf_check(&b, &err, "b"), VMB_E_NOMEM);
    assert_memory_equal(b.data, "kept", 4);
    assert_int_equal(vmbi_buf_take(&b, &text, NULL, NULL, "b"), VMB_E_NOMEM);
    assert_null(text);
    vmb_error_free(err);
    vmbi_buf_free(&b);
}

static void buf_consume_drops_the_front(void **state)
{
    vmbi_buf b = VMBI_BUF_INIT(1000);

    (void)state;
    vmbi_buf_consume(&b, 5);
    vmbi_buf_adds(&b, "hello world");
    vmbi_buf_consume(&b, 6);
    assert_string_equal(b.data, "world");
    assert_int_equal(b.len, 5);
    vmbi_buf_consume(&b, 0);
    assert_string_equal(b.data, "world");
    vmbi_buf_consume(&b, 99);
    assert_string_equal(b.data, "");
    assert_int_equal(b.len, 0);
    vmbi_buf_free(&b);
}

static void buf_take_hands_over(void **state)
{
    vmbi_buf b = VMBI_BUF_INIT(1000);
    char *text = NULL;
    size_t len = 9;

    (void)state;
    assert_int_equal(vmbi_buf_take(&b, &text, &len, NULL, "b"), VMB_OK);
    assert_string_equal(text, "");
    assert_int_equal(len, 0);
    vmbi_free(text);
    vmbi_buf_add(&b, "a\0b", 3);
    assert_int_equal(vmbi_buf_take(&b, &text, &len, NULL, "b"), VMB_OK);
    assert_int_equal(len, 3);
    assert_memory_equal(text, "a\0b", 4);
    assert_null(b.data);
    vmbi_free(text);
    vmbi_buf_adds(&b, "usable");
    assert_string_equal(b.data, "usable");
    vmbi_buf_free(&b);
}

/* As Go's encoding/json writes strings. */
static void buf_json_string_is_gos(void **state)
{
    static const struct {
        const char *in;
        size_t len;
        const char *out;
    } cases[] = {
        {"", 0, "\"\""},
        {"plain text 123", 14, "\"plain text 123\""},
        {"\"\\/", 3, "\"\\\"\\\\/\""},
        {"\b\f\n\r\t", 5, "\"\\b\\f\\n\\r\\t\""},
        {"\0\x01\x1f\x7f", 4, "\"\\u0000\\u0001\\u001f\x7f\""},
        {"<a&b>", 5, "\"\\u003ca\\u0026b\\u003e\""},
        {"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", 9, "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\""},
        {"\xe2\x80\xa8\xe2\x80\xa9\xe2\x80\xaa", 9, "\"\\u2028\\u2029\xe2\x80\xaa\""},
        {"\xff"
         "a\xc3",
         3, "\"\\ufffda\\ufffd\""},
        {"\xed\xa0\x80", 3, "\"\\ufffd\\ufffd\\ufffd\""},
        {"\xe2\x82", 2, "\"\\ufffd\\ufffd\""},
        {"\xc0\xaf", 2, "\"\\ufffd\\ufffd\""},
    };

    (void)state;
    for (size_t i = 0; i < VMBI_ARRAY_LEN(cases); i++) {
        vmbi_buf b = VMBI_BUF_INIT(1000);

        vmbi_buf_add_json_string(&b, cases[i].in, cases[i].len);
        assert_string_equal(b.data, cases[i].out);
        vmbi_buf_free(&b);
    }
}

static void sink_to_buf_keeps_ceiling(void **state)
{
    vmbi_buf b = VMBI_BUF_INIT(5);
    struct vmb_sink s = vmbi_sink_to_buf(&b);

    (void)state;
    assert_int_equal(s.write(s.user, "abc", 3, NULL), VMB_OK);
    assert_int_equal(s.write(s.user, "def", 3, NULL), VMB_E_LIMIT);
    assert_string_equal(b.data, "abc");
    vmbi_buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buf_appends_grow_and_stay_terminated),
        cmocka_unit_test(buf_reserved_is_terminated),
        cmocka_unit_test(buf_ceiling_is_exact_and_sticky),
        cmocka_unit_test(buf_without_memory_is_sticky),
        cmocka_unit_test(buf_consume_drops_the_front),
        cmocka_unit_test(buf_take_hands_over),
        cmocka_unit_test(buf_json_string_is_gos),
        cmocka_unit_test(sink_to_buf_keeps_ceiling),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
