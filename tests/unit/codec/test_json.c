/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "codec/json.h"

static vmbi_json *parse(const char *text)
{
    vmbi_json *v = NULL;
    vmb_error *err = NULL;

    if (vmbi_json_parse(text, strlen(text), "t", &v, &err) != VMB_OK) {
        fail_msg("%s: %s", text, vmb_error_message(err));
    }
    return v;
}

/* Takes the tree. */
static void assert_prints(vmbi_json *v, const char *want)
{
    char *text = NULL;
    size_t len = 0;

    assert_int_equal(vmbi_json_to_text(v, &text, &len, NULL), VMB_OK);
    assert_string_equal(text, want);
    assert_int_equal(len, strlen(want));
    vmbi_free(text);
    vmbi_json_free(v);
}

static void assert_refused(const char *text, size_t len, vmb_code code, const char *message)
{
    vmbi_json *v = NULL;
    vmb_error *err = NULL;
    vmb_code got = vmbi_json_parse(text, len, "spec", &v, &err);

    if (got != code) {
        fail_msg("%.60s gave %d: %s", text, got, vmb_error_message(err));
    }
    assert_null(v);
    if (message != NULL) {
        assert_string_equal(vmb_error_message(err), message);
    }
    vmb_error_free(err);
}

static void parse_malformed_names_line_and_column(void **state)
{
    (void)state;
    assert_refused("", 0, VMB_E_PARSE, NULL);
    assert_refused(NULL, 0, VMB_E_PARSE, NULL);
    assert_refused("{\n  \"a\": 1,\n  \"b\" 2}", 20, VMB_E_PARSE,
                   "spec: line 3 column 7: ':' expected");
    assert_refused("[1] x", 5, VMB_E_PARSE, "spec: line 1 column 5: end of file expected");
    assert_refused("[1", 2, VMB_E_PARSE, "spec: line 1 column 2: ']' expected near end of file");
}

static void parse_error_holds_no_content(void **state)
{
    static const char text[] = "{\"password\": \"hunter2\" \"x\": hunter3}";
    vmbi_json *v = NULL;
    vmb_error *err = NULL;

    (void)state;
    assert_int_equal(vmbi_json_parse(text, sizeof(text) - 1, "s", &v, &err), VMB_E_PARSE);
    assert_null(strstr(vmb_error_message(err), "hunter"));
    vmb_error_free(err);
}

static void parse_duplicate_key_is_refused(void **state)
{
    (void)state;
    assert_refused("{\"a\":1,\n\"a\":2}", 14, VMB_E_PARSE,
                   "spec: line 2 column 3: duplicate object key near '\"a\"'");
    assert_refused("{\"x\":{\"\\u0061\":1,\"a\":2}}", 24, VMB_E_PARSE, NULL);
}

static void parse_bad_text_is_refused(void **state)
{
    (void)state;
    assert_refused("[\"\\u0000\"]", 10, VMB_E_PARSE, NULL);
    assert_refused("[\"\0\"]", 5, VMB_E_PARSE, NULL);
    assert_refused("[1\0]", 4, VMB_E_PARSE, "spec: line 1 column 3: a NUL byte");
    assert_refused("[1\0, 2]", 7, VMB_E_PARSE, NULL);
    assert_refused("1\0", 2, VMB_E_PARSE, NULL);
    assert_refused("[\"\xff\"]", 5, VMB_E_PARSE, NULL);
    assert_refused("[\"\xed\xa0\x80\"]", 7, VMB_E_PARSE, NULL);
    assert_refused("\xef\xbb\xbf{}", 5, VMB_E_PARSE, NULL);
    assert_refused("[1,]", 4, VMB_E_PARSE, NULL);
    assert_refused("[01]", 4, VMB_E_PARSE, NULL);
    assert_refused("[NaN]", 5, VMB_E_PARSE, NULL);
    assert_refused("[1e400]", 7, VMB_E_PARSE, NULL);
    assert_refused("[99999999999999999999,1e400]", 28, VMB_E_PARSE, NULL);
}

static void parse_depth_is_limited(void **state)
{
    char text[1000];
    size_t n = VMBI_JSON_MAX_DEPTH;

    (void)state;
    memset(text, '[', n);
    memset(text + n, ']', n);
    text[2 * n] = '\0';
    assert_prints(parse(text), text);
    memset(text, '[', n + 1);
    memset(text + n + 1, ']', n + 1);
    assert_refused(text, 2 * n + 2, VMB_E_LIMIT, "spec: line 1 column 129: nested too deeply");
    /* brackets in strings do not count */
    memset(text, '[', sizeof(text));
    text[0] = text[sizeof(text) - 2] = '"';
    text[sizeof(text) - 1] = '\0';
    assert_prints(parse(text), text);
}

static void parse_any_value_is_allowed(void **state)
{
    (void)state;
    assert_prints(parse(" \"a\" "), "\"a\"");
    assert_prints(parse("null"), "null");
    assert_prints(parse("-12"), "-12");
    assert_prints(parse("true"), "true");
}

static void print_sorts_keys_by_bytes(void **state)
{
    (void)state;
    assert_prints(
        parse("{\"b\":1,\"a\":{\"z\":0,\"y\":[{\"d\":1,\"c\":2}]},\"B\":2,\"\":3,\"\xc3\xa4\":4,"
              "\"a.b\":5,\"a-b\":6,\"ab\":7}"),
        "{\"\":3,\"B\":2,\"a\":{\"y\":[{\"c\":2,\"d\":1}],\"z\":0},\"a-b\":6,\"a.b\":5,"
        "\"ab\":7,\"b\":1,\"\xc3\xa4\":4}");
}

/* As Go's encoding/json prints them. */
static void print_escapes_as_go(void **state)
{
    (void)state;
    assert_prints(
        parse("[\"<a&b>\",\"\\u2028\\u2029\",\"\\b\\f\\n\\r\\t\\u0001\\u001f\\u007f\",\"\\\"\\\\/"
              "\"]"),
        "[\"\\u003ca\\u0026b\\u003e\",\"\\u2028\\u2029\",\"\\b\\f\\n\\r\\t\\u0001\\u001f\x7f\","
        "\"\\\"\\\\/\"]");
    assert_prints(parse("{\"<k>\":\"\xc3\xa4\\ud83d\\ude00\"}"),
                  "{\"\\u003ck\\u003e\":\"\xc3\xa4\xf0\x9f\x98\x80\"}");
}

static void print_integers_exactly(void **state)
{
    (void)state;
    assert_prints(parse("[0,-0,9223372036854775807,-9223372036854775808,9007199254740993]"),
                  "[0,0,9223372036854775807,-9223372036854775808,9007199254740993]");
}

/* As Go prints float64. Numbers beyond int64 are float64 to Kubernetes as well. */
static void print_reals_as_go(void **state)
{
    static const struct {
        const char *in;
        const char *out;
    } cases[] = {
        {"1.0", "1"},
        {"1.5", "1.5"},
        {"-0.0", "-0"},
        {"0.1", "0.1"},
        {"100.0", "100"},
        {"1e2", "100"},
        {"0.1e1", "1"},
        {"123.456", "123.456"},
        {"0.000001", "0.000001"},
        {"0.0000001", "1e-7"},
        {"1.5e-9", "1.5e-9"},
        {"1.234e-12", "1.234e-12"},
        {"1e20", "100000000000000000000"},
        {"1e21", "1e+21"},
        {"1.7976931348623157e308", "1.7976931348623157e+308"},
        {"5e-324", "5e-324"},
        {"0.30000000000000004", "0.30000000000000004"},
        {"2.5e10", "25000000000"},
        {"9223372036854775808", "9223372036854776000"},
        {"8.41e21", "8.41e+21"},
        {"4.35", "4.35"},
        {"0.3333333333333333", "0.3333333333333333"},
        {"18446744073709551615", "18446744073709552000"},
        {"-99999999999999999999", "-100000000000000000000"},
        {"123456789012345678901234567890", "1.2345678901234568e+29"},
        {"0.001", "0.001"},
        {"3.0e-5", "0.00003"},
    };

    (void)state;
    for (size_t i = 0; i < VMBI_ARRAY_LEN(cases); i++) {
        assert_prints(parse(cases[i].in), cases[i].out);
    }
    /* only what is a number is taken for one */
    assert_prints(parse("{\"99999999999999999999\":\"99999999999999999999 "
                        "\\\"-1e\",\"b\":[99999999999999999999]}"),
                  "{\"99999999999999999999\":\"99999999999999999999 "
                  "\\\"-1e\",\"b\":[100000000000000000000]}");
}

static void print_indent_is_marshal_indent(void **state)
{
    static const char *const first[] = {"kind", "apiVersion", "absent", NULL};
    vmbi_json *v =
        parse("{\"a\":[1,{\"x\":{}}],\"apiVersion\":\"v1\",\"e\":[],\"kind\":\"K\",\"o\":{\"kind\":"
              "1,\"b\":2}}");
    vmbi_buf out = VMBI_BUF_INIT(1000);

    (void)state;
    assert_int_equal(vmbi_json_print_indent(v, first, &out, NULL), VMB_OK);
    assert_string_equal(
        out.data, "{\n  \"kind\": \"K\",\n  \"apiVersion\": \"v1\",\n  \"a\": [\n    1,\n    "
                  "{\n      \"x\": {}\n    }\n  ],\n  \"e\": [],\n  \"o\": {\n    \"b\": 2,\n    "
                  "\"kind\": 1\n  }\n}");
    vmbi_buf_reset(&out);
    assert_int_equal(vmbi_json_print_indent(v, NULL, &out, NULL), VMB_OK);
    assert_memory_equal(out.data, "{\n  \"a\": [", 10);
    vmbi_buf_free(&out);
    vmbi_json_free(v);
}

static void print_past_ceiling_is_limit(void **state)
{
    vmbi_json *v = parse("[1,2,3,\"0123456789\"]");
    vmbi_buf out = VMBI_BUF_INIT(10);
    vmb_error *err = NULL;

    (void)state;
    assert_int_equal(vmbi_json_print(v, &out, &err), VMB_E_LIMIT);
    assert_non_null(err);
    vmb_error_free(err);
    vmbi_buf_free(&out);
    vmbi_json_free(v);
}

static void print_too_deep_is_limit(void **state)
{
    vmbi_json *v = vmbi_json_array();
    vmbi_json *inner = v;
    char *text = NULL;
    size_t len;

    (void)state;
    for (int i = 0; i < 600; i++) {
        vmbi_json *next = vmbi_json_array();

        assert_true(vmbi_json_append(inner, next));
        inner = next;
    }
    assert_int_equal(vmbi_json_to_text(v, &text, &len, NULL), VMB_E_LIMIT);
    assert_null(text);
    vmbi_json_free(v);
}

static void print_many_keys_is_sorted(void **state)
{
    vmbi_json *v = vmbi_json_object();
    char *text = NULL;
    size_t len;

    (void)state;
    for (unsigned i = 0; i < 5000; i++) {
        unsigned n = i * 2477 % 5000; /* coprime: every number once */
        char key[5] = {(char)('a' + n / 1000), (char)('a' + n / 100 % 10),
                       (char)('a' + n / 10 % 10), (char)('a' + n % 10), '\0'};

        assert_true(vmbi_json_set_int(v, key, n));
    }
    assert_int_equal(vmbi_json_to_text(v, &text, &len, NULL), VMB_OK);
    const char *p = text;
    for (int i = 0; i < 5000; i++) {
        p = strchr(p, ':');
        assert_non_null(p);
        assert_int_equal(p[-2] - 'a', i % 10);
        assert_int_equal(p[-5] - 'a', i / 1000);
        p++;
    }
    assert_null(strchr(p, ':'));
    vmbi_free(text);
    vmbi_json_free(v);
}

static void getters_wrong_types_give_defaults(void **state)
{
    vmbi_json *v = parse(
        "{\"s\":\"x\",\"i\":7,\"r\":1.5,\"b\":true,\"n\":null,\"a\":[1,2],\"o\":{\"p\":{\"q\":"
        "\"deep\"}}}");

    (void)state;
    assert_string_equal(vmbi_json_get_str(v, "s"), "x");
    assert_null(vmbi_json_get_str(v, "i"));
    assert_null(vmbi_json_get_str(NULL, "i"));
    assert_null(vmbi_json_get(vmbi_json_get(v, "s"), "x"));
    assert_string_equal(vmbi_json_path_str(v, "o.p.q"), "deep");
    assert_null(vmbi_json_path(v, "o.p.q.r"));
    assert_null(vmbi_json_path(v, "o..q"));
    assert_null(vmbi_json_path(v, "x.y"));
    assert_null(vmbi_json_path(NULL, "x"));
    assert_int_equal(vmbi_json_int(vmbi_json_get(v, "i"), 3), 7);
    assert_int_equal(vmbi_json_int(vmbi_json_get(v, "s"), 3), 3);
    assert_int_equal(vmbi_json_int(NULL, 3), 3);
    assert_true(vmbi_json_bool(vmbi_json_get(v, "b"), false));
    assert_true(vmbi_json_bool(vmbi_json_get(v, "i"), true));
    assert_true(vmbi_json_real(vmbi_json_get(v, "r"), 0) > 1.4);
    assert_true(vmbi_json_real(vmbi_json_get(v, "i"), 0) > 6.9);
    assert_int_equal(vmbi_json_len(vmbi_json_get(v, "a")), 2);
    assert_int_equal(vmbi_json_len(v), 7);
    assert_int_equal(vmbi_json_len(vmbi_json_get(v, "s")), 0);
    assert_int_equal(vmbi_json_len(NULL), 0);
    assert_int_equal(vmbi_json_int(vmbi_json_at(vmbi_json_get(v, "a"), 1), 0), 2);
    assert_null(vmbi_json_at(vmbi_json_get(v, "a"), 2));
    assert_true(vmbi_json_is_null(vmbi_json_get(v, "n")));
    assert_true(vmbi_json_is_null(NULL));
    assert_false(vmbi_json_is_object(NULL));
    assert_string_equal(vmbi_json_type_name(vmbi_json_get(v, "r")), "number");
    assert_string_equal(vmbi_json_type_name(v), "object");
    vmbi_json_free(v);
}

static void iteration_keeps_own_order(void **state)
{
    vmbi_json *v = parse("{\"z\":0,\"a\":1,\"m\":2}");
    char order[4] = {0};
    size_t n = 0;

    (void)state;
    for (void *it = vmbi_json_iter(v); it != NULL; it = vmbi_json_iter_next(v, it)) {
        order[n] = vmbi_json_iter_key(it)[0];
        assert_int_equal(vmbi_json_int(vmbi_json_iter_value(it), -1), n);
        n++;
    }
    assert_string_equal(order, "zam");
    vmbi_json_free(v);
}

static void building_failed_parts_are_reported(void **state)
{
    vmbi_json *v = vmbi_json_object();
    bool ok = true;

    (void)state;
    ok &= vmbi_json_set_str(v, "s", "x");
    ok &= vmbi_json_set_int(v, "i", 5);
    ok &= vmbi_json_set_bool(v, "b", false);
    ok &= vmbi_json_set(v, "a", vmbi_json_array());
    ok &= vmbi_json_append_str(vmbi_json_get(v, "a"), "e");
    ok &= vmbi_json_set(vmbi_json_ensure_object(v, "o"), "n", vmbi_json_null());
    ok &= vmbi_json_set_bool(vmbi_json_ensure_object(v, "o"), "m", true);
    assert_true(ok);
    assert_false(vmbi_json_set_str(v, "bad", "\xff"));
    assert_false(vmbi_json_set(v, "bad", NULL));
    assert_false(vmbi_json_set(NULL, "k", vmbi_json_string("freed all the same")));
    assert_false(vmbi_json_set(vmbi_json_get(v, "s"), "k", vmbi_json_string("freed")));
    assert_false(vmbi_json_append(vmbi_json_get(v, "a"), vmbi_json_from_double(NAN)));
    assert_null(vmbi_json_stringn("a\xff", 2));
    vmbi_json_del(v, "absent");
    vmbi_json_del(v, "b");
    assert_prints(v, "{\"a\":[\"e\"],\"i\":5,\"o\":{\"m\":true,\"n\":null},\"s\":\"x\"}");
}

static void array_elements_are_replaced_and_removed(void **state)
{
    vmbi_json *v = parse("[0,1,2]");

    (void)state;
    assert_true(vmbi_json_set_at(v, 1, vmbi_json_string("x")));
    assert_false(vmbi_json_set_at(v, 3, vmbi_json_string("x")));
    vmbi_json_del_at(v, 0);
    vmbi_json_del_at(v, 9);
    assert_prints(v, "[\"x\",2]");
}

static void copy_is_deep(void **state)
{
    vmbi_json *v = parse("{\"a\":{\"b\":1}}");
    vmbi_json *c = vmbi_json_copy(v);

    (void)state;
    assert_true(vmbi_json_equal(v, c));
    assert_true(vmbi_json_set_int(vmbi_json_get(c, "a"), "b", 2));
    assert_false(vmbi_json_equal(v, c));
    assert_prints(v, "{\"a\":{\"b\":1}}");
    vmbi_json_free(c);
}

static void string_array_holds_all(void **state)
{
    vmbi_strs l = {0};

    (void)state;
    assert_int_equal(vmbi_strs_add(&l, "a", NULL), VMB_OK);
    assert_int_equal(vmbi_strs_add(&l, "b", NULL), VMB_OK);
    assert_prints(vmbi_json_string_array(&l), "[\"a\",\"b\"]");
    assert_int_equal(vmbi_strs_add(&l, "\xff", NULL), VMB_OK);
    assert_null(vmbi_json_string_array(&l));
    vmbi_strs_free(&l);
}

/* RFC 7386, appendix A. Our function patches objects in place: each case of the table stands under
 * a key "x" on both sides. (Its one case with a null patch deletes the key then.) */
static void merge_patch_rfc_table_matches(void **state)
{
    static const struct {
        const char *target, *patch, *result;
    } cases[] = {
        {"{\"a\":\"b\"}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
        {"{\"a\":\"b\"}", "{\"b\":\"c\"}", "{\"a\":\"b\",\"b\":\"c\"}"},
        {"{\"a\":\"b\"}", "{\"a\":null}", "{}"},
        {"{\"a\":\"b\",\"b\":\"c\"}", "{\"a\":null}", "{\"b\":\"c\"}"},
        {"{\"a\":[\"b\"]}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
        {"{\"a\":\"c\"}", "{\"a\":[\"b\"]}", "{\"a\":[\"b\"]}"},
        {"{\"a\":{\"b\":\"c\"}}", "{\"a\":{\"b\":\"d\",\"c\":null}}", "{\"a\":{\"b\":\"d\"}}"},
        {"{\"a\":[{\"b\":\"c\"}]}", "{\"a\":[1]}", "{\"a\":[1]}"},
        {"[\"a\",\"b\"]", "[\"c\",\"d\"]", "[\"c\",\"d\"]"},
        {"{\"a\":\"b\"}", "[\"c\"]", "[\"c\"]"},
        {"{\"a\":\"foo\"}", "\"bar\"", "\"bar\""},
        {"{\"e\":null}", "{\"a\":1}", "{\"a\":1,\"e\":null}"},
        {"[1,2]", "{\"a\":\"b\",\"c\":null}", "{\"a\":\"b\"}"},
        {"{}", "{\"a\":{\"bb\":{\"ccc\":null}}}", "{\"a\":{\"bb\":{}}}"},
    };

    (void)state;
    for (size_t i = 0; i < VMBI_ARRAY_LEN(cases); i++) {
        vmbi_json *t = vmbi_json_object();
        vmbi_json *p = vmbi_json_object();
        vmbi_json *w = vmbi_json_object();

        assert_true(vmbi_json_set(t, "x", parse(cases[i].target)));
        assert_true(vmbi_json_set(p, "x", parse(cases[i].patch)));
        assert_true(vmbi_json_set(w, "x", parse(cases[i].result)));
        assert_true(vmbi_json_merge_patch(t, p));
        if (!vmbi_json_equal(t, w)) {
            fail_msg("case %zu", i);
        }
        vmbi_json_free(t);
        vmbi_json_free(p);
        vmbi_json_free(w);
    }
}

static void merge_patch_shares_nothing(void **state)
{
    vmbi_json *t = vmbi_json_object();
    vmbi_json *p = parse("{\"a\":[{\"n\":null}],\"o\":{\"b\":{}}}");

    (void)state;
    assert_true(vmbi_json_merge_patch(t, p));
    assert_true(vmbi_json_set_int(vmbi_json_path(p, "o.b"), "later", 1));
    assert_true(vmbi_json_append(vmbi_json_get(p, "a"), vmbi_json_integer(1)));
    vmbi_json_free(p);
    assert_false(vmbi_json_merge_patch(t, NULL));
    assert_prints(t, "{\"a\":[{\"n\":null}],\"o\":{\"b\":{}}}");
}

/* Fails each of our own allocations in turn (jansson's own stay with malloc). */
static void print_out_of_memory_is_reported(void **state)
{
    vmbi_json *v = parse("{\"b\":{\"y\":[1,2,{\"k\":\"v\"}]},\"a\":99999999999999999999}");
    uint64_t n = 1;

    (void)state;
    for (;; n++) {
        char *text = NULL;
        size_t len;
        vmb_error *err = NULL;
        vmb_code code;

        vmbi_alloc_fail_from(n);
        code = vmbi_json_to_text(v, &text, &len, &err);
        vmbi_alloc_fail_from(0);
        if (code == VMB_OK) {
            vmbi_free(text);
            break;
        }
        assert_int_equal(code, VMB_E_NOMEM);
        assert_null(text);
        assert_int_equal(vmb_error_code(err), VMB_E_NOMEM);
        vmb_error_free(err);
    }
    assert_in_range(n, 2, 100);
    vmbi_json_free(v);
}

static void parse_out_of_memory_is_reported(void **state)
{
    static const char text[] = "[99999999999999999999]";
    uint64_t n = 1;

    (void)state;
    for (;; n++) {
        vmbi_json *v = NULL;
        vmb_error *err = NULL;
        vmb_code code;

        vmbi_alloc_fail_from(n);
        code = vmbi_json_parse(text, sizeof(text) - 1, "t", &v, &err);
        vmbi_alloc_fail_from(0);
        if (code == VMB_OK) {
            vmbi_json_free(v);
            break;
        }
        assert_int_equal(code, VMB_E_NOMEM);
        assert_null(v);
        vmb_error_free(err);
    }
    assert_in_range(n, 2, 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parse_malformed_names_line_and_column),
        cmocka_unit_test(parse_error_holds_no_content),
        cmocka_unit_test(parse_duplicate_key_is_refused),
        cmocka_unit_test(parse_bad_text_is_refused),
        cmocka_unit_test(parse_depth_is_limited),
        cmocka_unit_test(parse_any_value_is_allowed),
        cmocka_unit_test(print_sorts_keys_by_bytes),
        cmocka_unit_test(print_escapes_as_go),
        cmocka_unit_test(print_integers_exactly),
        cmocka_unit_test(print_reals_as_go),
        cmocka_unit_test(print_indent_is_marshal_indent),
        cmocka_unit_test(print_past_ceiling_is_limit),
        cmocka_unit_test(print_too_deep_is_limit),
        cmocka_unit_test(print_many_keys_is_sorted),
        cmocka_unit_test(getters_wrong_types_give_defaults),
        cmocka_unit_test(iteration_keeps_own_order),
        cmocka_unit_test(building_failed_parts_are_reported),
        cmocka_unit_test(array_elements_are_replaced_and_removed),
        cmocka_unit_test(copy_is_deep),
        cmocka_unit_test(string_array_holds_all),
        cmocka_unit_test(merge_patch_rfc_table_matches),
        cmocka_unit_test(merge_patch_shares_nothing),
        cmocka_unit_test(print_out_of_memory_is_reported),
        cmocka_unit_test(parse_out_of_memory_is_reported),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
