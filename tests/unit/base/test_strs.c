/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/strs.h"

static void list_keeps_and_sorts(void **state)
{
    vmbi_strs l = {0};

    (void)state;
    assert_false(vmbi_strs_has(&l, "a"));
    for (int i = 99; i >= 0; i--) {
        char text[3] = {(char)('0' + i / 10), (char)('0' + i % 10), '\0'};

        assert_int_equal(vmbi_strs_add(&l, text, NULL), VMB_OK);
    }
    assert_int_equal(vmbi_strs_addn(&l, "abcdef", 3, NULL), VMB_OK);
    assert_true(vmbi_strs_has(&l, "42"));
    assert_true(vmbi_strs_has(&l, "abc"));
    assert_false(vmbi_strs_has(&l, "abcdef"));
    vmbi_strs_sort(&l);
    assert_int_equal(l.n, 101);
    assert_string_equal(l.v[0], "00");
    assert_string_equal(l.v[99], "99");
    assert_string_equal(l.v[100], "abc");
    vmbi_strs_free(&l);
    assert_int_equal(l.n, 0);
    assert_null(l.v);
    vmbi_strs_sort(&l);
    vmbi_strs_free(&l);
}

static void list_split_keeps_empty_parts(void **state)
{
    static const struct {
        const char *text;
        size_t n;
        const char *first, *last;
    } cases[] = {
        {"", 1, "", ""},  {"a", 1, "a", "a"},    {"a,b", 2, "a", "b"},
        {",", 2, "", ""}, {"a,,b,", 4, "a", ""},
    };

    (void)state;
    for (size_t i = 0; i < VMBI_ARRAY_LEN(cases); i++) {
        vmbi_strs l = {0};

        assert_int_equal(vmbi_strs_split(&l, cases[i].text, ',', NULL), VMB_OK);
        assert_int_equal(l.n, cases[i].n);
        assert_string_equal(l.v[0], cases[i].first);
        assert_string_equal(l.v[l.n - 1], cases[i].last);
        vmbi_strs_free(&l);
    }
}

static void list_without_memory_stays_whole(void **state)
{
    (void)state;
    for (uint64_t n = 1;; n++) {
        vmbi_strs l = {0};
        vmb_error *err = NULL;
        vmb_code code;

        vmbi_alloc_fail_from(n);
        code = vmbi_strs_split(&l, "a,b,c,d,e,f,g,h,i,j", ',', &err);
        vmbi_alloc_fail_from(0);
        for (size_t i = 0; i < l.n; i++) {
            assert_int_equal(l.v[i][0], 'a' + (int)i);
        }
        vmbi_strs_free(&l);
        vmb_error_free(err);
        if (code == VMB_OK) {
            assert_int_equal(n, 13); /* ten strings, two arrays, and one more that is not reached */
            return;
        }
        assert_int_equal(code, VMB_E_NOMEM);
        assert_in_range(n, 1, 12);
    }
}

static void string_helpers_compare(void **state)
{
    (void)state;
    assert_true(vmbi_streq("a", "a"));
    assert_false(vmbi_streq("a", "ab"));
    assert_false(vmbi_streq(NULL, ""));
    assert_false(vmbi_streq("", NULL));
    assert_true(vmbi_streq(NULL, NULL));
    assert_true(vmbi_starts_with("abc", "ab"));
    assert_true(vmbi_starts_with("abc", ""));
    assert_false(vmbi_starts_with("a", "ab"));
    assert_true(vmbi_ends_with("abc", "bc"));
    assert_true(vmbi_ends_with("abc", ""));
    assert_false(vmbi_ends_with("c", "bc"));
    assert_true(vmbi_strcaseeq("Content-Type", "content-TYPE"));
    assert_false(vmbi_strcaseeq("a", "ab"));
    assert_false(vmbi_strcaseeq("ab", "a"));
    assert_false(vmbi_strcaseeq("[", "{")); /* differ in the case bit only */
}

static void characters_are_ascii_only(void **state)
{
    (void)state;
    for (int i = -128; i < 256; i++) {
        char c = (char)i;
        bool digit = i >= '0' && i <= '9';
        bool alpha = (i >= 'a' && i <= 'z') || (i >= 'A' && i <= 'Z');

        assert_int_equal(vmbi_is_digit(c), digit);
        assert_int_equal(vmbi_is_alnum(c), digit || alpha);
        assert_int_equal(vmbi_is_space(c), i == ' ' || i == '\t' || i == '\r' || i == '\n');
        assert_int_equal(vmbi_lower(c), i >= 'A' && i <= 'Z' ? i + 32 : c);
    }
}

static void integers_whole_string_only(void **state)
{
    static const struct {
        const char *text;
        bool i_ok, u_ok;
        int64_t i;
        uint64_t u;
    } cases[] = {
        {"0", true, true, 0, 0},
        {"007", true, true, 7, 7},
        {"-0", true, false, 0, 0},
        {"-12", true, false, -12, 0},
        {"9223372036854775807", true, true, INT64_MAX, INT64_MAX},
        {"9223372036854775808", false, true, 0, (uint64_t)INT64_MAX + 1},
        {"-9223372036854775808", true, false, INT64_MIN, 0},
        {"-9223372036854775809", false, false, 0, 0},
        {"18446744073709551615", false, true, 0, UINT64_MAX},
        {"18446744073709551616", false, false, 0, 0},
        {"99999999999999999999999", false, false, 0, 0},
        {"", false, false, 0, 0},
        {"-", false, false, 0, 0},
        {"+1", false, false, 0, 0},
        {" 1", false, false, 0, 0},
        {"1 ", false, false, 0, 0},
        {"1x", false, false, 0, 0},
        {"--1", false, false, 0, 0},
        {"0x1", false, false, 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < VMBI_ARRAY_LEN(cases); i++) {
        int64_t a = 42;
        uint64_t b = 42;
        size_t len = strlen(cases[i].text);

        assert_int_equal(vmbi_parse_i64(cases[i].text, len, &a), cases[i].i_ok);
        assert_int_equal(a, cases[i].i_ok ? cases[i].i : 42);
        assert_int_equal(vmbi_parse_u64(cases[i].text, len, &b), cases[i].u_ok);
        assert_int_equal(b, cases[i].u_ok ? cases[i].u : 42);
    }
    uint64_t part = 0;
    assert_true(vmbi_parse_u64("1234", 2, &part));
    assert_int_equal(part, 12);
}

static void bool_is_gos(void **state)
{
    static const char *const yes[] = {"1", "t", "T", "TRUE", "true", "True"};
    static const char *const no[] = {"0", "f", "F", "FALSE", "false", "False"};
    static const char *const bad[] = {"", "yes", "no", "tRUE", "on", "2", " true", "true "};
    bool v;

    (void)state;
    for (size_t i = 0; i < 6; i++) {
        v = false;
        assert_true(vmbi_parse_bool(yes[i], &v) && v);
        assert_true(vmbi_parse_bool(no[i], &v) && !v);
    }
    for (size_t i = 0; i < VMBI_ARRAY_LEN(bad); i++) {
        assert_false(vmbi_parse_bool(bad[i], &v));
    }
}

static size_t encode(uint32_t c, char *out)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xc0 | c >> 6);
        out[1] = (char)(0x80 | (c & 63));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xe0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 63));
        out[2] = (char)(0x80 | (c & 63));
        return 3;
    }
    out[0] = (char)(0xf0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 63));
    out[2] = (char)(0x80 | (c >> 6 & 63));
    out[3] = (char)(0x80 | (c & 63));
    return 4;
}

static void utf8_every_character_is_judged(void **state)
{
    char b[4];

    (void)state;
    for (uint32_t c = 0; c < 0x200000; c++) {
        size_t n = encode(c, b);
        bool want = c < 0x110000 && (c < 0xd800 || c > 0xdfff);

        if (vmbi_utf8_valid(b, n) != want) {
            fail_msg("U+%x", c);
        }
        if (n > 1 && vmbi_utf8_valid(b, n - 1)) {
            fail_msg("U+%x, cut", c);
        }
    }
    assert_false(vmbi_utf8_valid("\xc0\x80", 2));
    assert_false(vmbi_utf8_valid("\xc1\xbf", 2));
    assert_false(vmbi_utf8_valid("\xe0\x9f\xbf", 3));
    assert_false(vmbi_utf8_valid("\xf0\x8f\xbf\xbf", 4));
    assert_false(vmbi_utf8_valid("\x80", 1));
    assert_false(vmbi_utf8_valid("ok\xff", 3));
    assert_true(vmbi_utf8_valid("", 0));
}

static void text_clean_leaves_one_line(void **state)
{
    char text[] = "a\tb\nc\x01\x7f\xc3\xa4\xff\xe2\x82";
    char kept[] = "a\r\nb\x1b[31m";

    (void)state;
    vmbi_text_clean(text, false);
    assert_string_equal(text, "a\tb c  \xc3\xa4???");
    vmbi_text_clean(kept, true);
    assert_string_equal(kept, "a \nb [31m");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(list_keeps_and_sorts),
        cmocka_unit_test(list_split_keeps_empty_parts),
        cmocka_unit_test(list_without_memory_stays_whole),
        cmocka_unit_test(string_helpers_compare),
        cmocka_unit_test(characters_are_ascii_only),
        cmocka_unit_test(integers_whole_string_only),
        cmocka_unit_test(bool_is_gos),
        cmocka_unit_test(utf8_every_character_is_judged),
        cmocka_unit_test(text_clean_leaves_one_line),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
