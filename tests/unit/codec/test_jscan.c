/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "codec/jscan.h"
#include "codec/json.h"

/* Copies the text so that it ends where readable memory ends: a read past the end is a crash. */
static char *guard_area;

static const char *guarded(const char *text, size_t len)
{
    long page = sysconf(_SC_PAGESIZE);
    size_t room = 16 * (size_t)page;

    if (guard_area == NULL) {
        guard_area = mmap(NULL, room + (size_t)page, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        assert_ptr_not_equal(guard_area, MAP_FAILED);
        assert_int_equal(mprotect(guard_area + room, (size_t)page, PROT_NONE), 0);
    }
    assert_true(len <= room);
    char *p = guard_area + room - len;
    if (len > 0) {
        memcpy(p, text, len);
    }
    return p;
}

static bool skips_all(const char *text, size_t len)
{
    const char *p = guarded(text, len);

    return vmbi_jscan_skip(p, p + len) == p + len;
}

static const char *const good[] = {
    "{}",
    "[]",
    "0",
    "-0",
    "12",
    "-1.5",
    "1e5",
    "1.25E-7",
    "0.1",
    "0e+1",
    "\"\"",
    "true",
    "false",
    "null",
    " \t\r\n1",
    "{\"a\":1}",
    "{ \"a\" : [ 1 , 2 ] }",
    "[[],{},[{}]]",
    "[1,[2,[3]],\"x\"]",
    "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e4\\ud83d\\ude00\"",
    "\"0123456789abcdef\"",
    "\"0123456789abcdef0123456789abcde\"",
    "\"0123456789abcde\\n0123456789\"",
    "{\"a\":{\"b\":{\"c\":[{\"d\":\"e\"},null,true,false,0.5]}},\"f\":\"g\"}",
    "\"\xc3\xa4\xff\"",
};

static void skip_valid_value_reaches_its_end(void **state)
{
    (void)state;
    for (size_t i = 0; i < VMBI_ARRAY_LEN(good); i++) {
        if (!skips_all(good[i], strlen(good[i]))) {
            fail_msg("%s", good[i]);
        }
    }
    const char *two = "{\"a\":1} {\"b\":2}";
    assert_ptr_equal(vmbi_jscan_skip(two, two + strlen(two)), two + 7);
    const char *number = "12]";
    assert_ptr_equal(vmbi_jscan_skip(number, number + 3), number + 2);
}

static void skip_malformed_gives_null(void **state)
{
    static const char *const bad[] = {
        "",
        " ",
        "{",
        "[",
        "}",
        "]",
        "{]",
        "[}",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{,}",
        "{\"a\" 1}",
        "{a:1}",
        "{1:2}",
        "[1,]",
        "[,1]",
        "[1 2]",
        "[1}",
        "{\"a\":1]",
        "\"",
        "\"a",
        "\"\\",
        "\"\\x\"",
        "\"\\u12g4\"",
        "\"\\u123\"",
        "\"\\u",
        "\"a\nb\"",
        "\"0123456789abcdef\x01\"",
        "tru",
        "True",
        "nul",
        "-",
        "+1",
        "01",
        "-01",
        "1.",
        ".5",
        "1e",
        "1e+",
        "1.e5",
        "nan",
        "'a'",
        "//",
        "\"\\\0\"",
        "[\"a\",",
        "{\"a\":",
        "{\"a",
        "[[[",
        "{\"a\":[1,{\"b\":2}",
        "\xef\xbb\xbf{}",
    };

    (void)state;
    for (size_t i = 0; i < VMBI_ARRAY_LEN(bad); i++) {
        size_t len = strlen(bad[i]);
        const char *p = guarded(bad[i], len);

        if (vmbi_jscan_skip(p, p + len) != NULL) {
            fail_msg("\"%s\" was accepted", bad[i]);
        }
    }
    assert_null(vmbi_jscan_skip("\"\0\"", (const char *)"\"\0\"" + 3));
}

/* Every cut of a valid container is malformed and no byte behind the cut is touched. */
static void skip_cut_value_gives_null(void **state)
{
    (void)state;
    for (size_t i = 0; i < VMBI_ARRAY_LEN(good); i++) {
        if (strchr("{[\"", good[i][0]) == NULL) {
            continue;
        }
        for (size_t len = 0; len < strlen(good[i]); len++) {
            const char *p = guarded(good[i], len);

            assert_null(vmbi_jscan_skip(p, p + len));
        }
    }
}

static void skip_depth_is_limited(void **state)
{
    char text[4 * VMBI_JSON_MAX_DEPTH];
    size_t n = VMBI_JSON_MAX_DEPTH;

    (void)state;
    memset(text, '[', n);
    memset(text + n, ']', n);
    assert_true(skips_all(text, 2 * n));
    memset(text, '[', n + 1);
    memset(text + n + 1, ']', n + 1);
    assert_false(skips_all(text, 2 * n + 2));
}

static void skip_mixed_nesting_checks_each_bracket(void **state)
{
    char text[4 * VMBI_JSON_MAX_DEPTH + 16];
    size_t n = 0, opens;

    (void)state;
    for (size_t i = 0; i < VMBI_JSON_MAX_DEPTH / 2; i++) {
        memcpy(text + n, "[{\"\":", 5);
        n += 5;
        if (n > sizeof(text) - 160) {
            break;
        }
    }
    opens = n / 5;
    text[n++] = '1';
    for (size_t i = 0; i < opens; i++) {
        text[n++] = '}';
        text[n++] = ']';
    }
    assert_true(skips_all(text, n));
    for (size_t i = n - 2 * opens; i < n; i++) {
        char was = text[i];

        text[i] = was == '}' ? ']' : '}';
        assert_false(skips_all(text, n));
        text[i] = was;
    }
}

static bool slice_is(vmbi_slice s, const char *text)
{
    return s.p != NULL && s.len == strlen(text) && memcmp(s.p, text, s.len) == 0;
}

static void member_walks_in_order(void **state)
{
    static const char text[] = " { \"a\" : 1 , \"b\\n\":{\"x\":[]},\"\":\"z\" } ";
    const char *p = guarded(text, sizeof(text) - 1);
    vmbi_jscan s;
    vmbi_slice k, v;

    (void)state;
    assert_true(vmbi_jscan_object(&s, p, sizeof(text) - 1));
    assert_int_equal(vmbi_jscan_member(&s, &k, &v), 1);
    assert_true(slice_is(k, "a") && slice_is(v, "1"));
    assert_int_equal(vmbi_jscan_member(&s, &k, &v), 1);
    assert_true(slice_is(k, "b\\n") && slice_is(v, "{\"x\":[]}"));
    assert_int_equal(vmbi_jscan_member(&s, &k, &v), 1);
    assert_true(slice_is(k, "") && slice_is(v, "\"z\""));
    assert_int_equal(vmbi_jscan_member(&s, &k, &v), 0);
    assert_int_equal(vmbi_jscan_member(&s, &k, &v), 0);
}

static void element_walks_in_order(void **state)
{
    static const char text[] = "[ {\"a\":[1,2]} ,null,\"\"]";
    vmbi_jscan s;
    vmbi_slice v;

    (void)state;
    assert_true(vmbi_jscan_array(&s, text, sizeof(text) - 1));
    assert_int_equal(vmbi_jscan_element(&s, &v), 1);
    assert_true(slice_is(v, "{\"a\":[1,2]}"));
    assert_int_equal(vmbi_jscan_element(&s, &v), 1);
    assert_true(slice_is(v, "null"));
    assert_int_equal(vmbi_jscan_element(&s, &v), 1);
    assert_true(slice_is(v, "\"\""));
    assert_int_equal(vmbi_jscan_element(&s, &v), 0);
    assert_true(vmbi_jscan_array(&s, "[]", 2));
    assert_int_equal(vmbi_jscan_element(&s, &v), 0);
}

static void member_malformed_stays_broken(void **state)
{
    static const char *const bad[] = {"{\"a\":1,}", "{\"a\":1 \"b\":2}", "{\"a\":1",   "{\"a\"",
                                      "{a:1}",      "{\"a\":1} {}",      "{\"a\":01}", "{,",
                                      "{"};

    (void)state;
    for (size_t i = 0; i < VMBI_ARRAY_LEN(bad); i++) {
        const char *p = guarded(bad[i], strlen(bad[i]));
        vmbi_jscan s;
        vmbi_slice k, v;
        int rc;

        assert_true(vmbi_jscan_object(&s, p, strlen(bad[i])));
        while ((rc = vmbi_jscan_member(&s, &k, &v)) == 1) {
        }
        assert_int_equal(rc, -1);
        assert_int_equal(vmbi_jscan_member(&s, &k, &v), -1);
    }
}

static void scan_wrong_type_is_refused(void **state)
{
    vmbi_jscan s;

    (void)state;
    assert_false(vmbi_jscan_object(&s, "[]", 2));
    assert_false(vmbi_jscan_array(&s, "{}", 2));
    assert_false(vmbi_jscan_object(&s, "", 0));
    assert_false(vmbi_jscan_object(&s, "null", 4));
}

static void find_key_gives_raw_value(void **state)
{
    static const char text[] = "{\"ab\":1,\"a\":{\"b\":2},\"c\":\"x\",\"bad\":tru}";
    vmbi_slice v = {NULL, 0};

    (void)state;
    assert_true(vmbi_jscan_find(text, sizeof(text) - 1, "a", &v));
    assert_true(slice_is(v, "{\"b\":2}"));
    assert_true(vmbi_jscan_find(text, sizeof(text) - 1, "c", &v));
    assert_true(slice_is(v, "\"x\""));
    assert_false(vmbi_jscan_find(text, sizeof(text) - 1, "b", &v));
    assert_false(vmbi_jscan_find(text, sizeof(text) - 1, "bad", &v));
    assert_true(slice_is(v, "\"x\""));
}

static void string_decodes_escapes(void **state)
{
    static const struct {
        const char *raw;
        const char *text;
    } cases[] = {
        {"\"\"", ""},
        {"\"abc\"", "abc"},
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t"},
        {"\"\\u0041\\u00e4\\u20AC\"", "A\xc3\xa4\xe2\x82\xac"},
        {"\"\\ud83d\\ude00!\"", "\xf0\x9f\x98\x80!"},
        {"\"\xc3\xa4\\u003cx\\u003E\"", "\xc3\xa4<x>"},
    };
    char out[32];

    (void)state;
    for (size_t i = 0; i < VMBI_ARRAY_LEN(cases); i++) {
        size_t len = strlen(cases[i].raw);
        vmbi_slice raw = {guarded(cases[i].raw, len), len};

        assert_true(vmbi_jscan_string(raw, out, sizeof(out)));
        assert_string_equal(out, cases[i].text);
        /* exactly the room that is needed, and one less */
        size_t need = strlen(cases[i].text) + 1;
        assert_true(vmbi_jscan_string(raw, out, need));
        assert_false(vmbi_jscan_string(raw, out, need - 1));
    }
}

static void string_malformed_is_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "\"",
        "a",
        "1",
        "null",
        "\"a",
        "a\"",
        "\"\\\"",
        "\"\\x\"",
        "\"\\u00\"",
        "\"\\u0000\"",
        "\"\\ud83d\"",
        "\"\\ud83dx\"",
        "\"\\ud83d\\u0041\"",
        "\"\\ude00\"",
        "\"a\"b\"",
        "\"a\nb\"",
        "\"\xff\"",
        "\"\xc3\"",
        "\"\xed\xa0\x80\"",
    };
    char out[32];

    (void)state;
    for (size_t i = 0; i < VMBI_ARRAY_LEN(bad); i++) {
        size_t len = strlen(bad[i]);
        vmbi_slice raw = {guarded(bad[i], len), len};

        if (vmbi_jscan_string(raw, out, sizeof(out))) {
            fail_msg("%s", bad[i]);
        }
    }
    assert_false(vmbi_jscan_string((vmbi_slice){NULL, 0}, out, sizeof(out)));
}

static const char object[] =
    "{\"apiVersion\":\"kubevirt.io/v1\",\"kind\":\"VirtualMachine\",\"metadata\":{\"annotations\":"
    "{\"a/"
    "b\":\"{\\\"kind\\\":\\\"x\\\"}\"},\"labels\":{\"app\":\"web\"},\"managedFields\":[{"
    "\"manager\":"
    "\"virt\",\"fieldsV1\":{\"f:metadata\":{\"f:labels\":{}}}}],\"name\":\"vm1\",\"namespace\":"
    "\"shop\","
    "\"ownerReferences\":[{\"uid\":\"o\"}],\"resourceVersion\":\"123\",\"uid\":\"u-1\"},\"spec\":"
    "{\"metadata\":{\"name\":\"inner\"},\"kind\":\"no\"},\"status\":{}}";

static void k8s_object_fields_are_found(void **state)
{
    size_t len = sizeof(object) - 1;
    const char *p = guarded(object, len);
    vmbi_object_scan o;

    (void)state;
    assert_true(vmbi_jscan_k8s_object(p, len, &o));
    assert_true(slice_is(o.api_version, "\"kubevirt.io/v1\""));
    assert_true(slice_is(o.kind, "\"VirtualMachine\""));
    assert_true(slice_is(o.name, "\"vm1\""));
    assert_true(slice_is(o.ns, "\"shop\""));
    assert_true(slice_is(o.uid, "\"u-1\""));
    assert_true(slice_is(o.resource_version, "\"123\""));
    assert_true(slice_is(o.labels, "{\"app\":\"web\"}"));
    assert_true(slice_is(o.annotations, "{\"a/b\":\"{\\\"kind\\\":\\\"x\\\"}\"}"));
    assert_true(slice_is(o.owners, "[{\"uid\":\"o\"}]"));
    assert_null(o.deletion_timestamp.p);
    assert_ptr_equal(o.body, p + 1);
}

static void k8s_object_cut_is_refused(void **state)
{
    vmbi_object_scan o;

    (void)state;
    for (size_t len = 0; len < sizeof(object) - 1; len++) {
        const char *p = guarded(object, len);

        assert_false(vmbi_jscan_k8s_object(p, len, &o));
    }
}

static void k8s_object_odd_shapes(void **state)
{
    static const char *const bad[] = {
        "{\"metadata\":[]}",
        "{\"metadata\":null}",
        "{\"metadata\":{}}x",
        "{\"metadata\":{},}",
        "{\"metadata\":{\"name\":\"a\",}}",
        "{\"metadata\":{\"name\":\"a\" \"uid\":1}}",
        "{\"kind\":\"a\",\"kind\":\"b\"}",
        "{\"metadata\":{},\"metadata\":{}}",
        "{\"metadata\":{\"name\":\"a\",\"name\":\"b\"}}",
        "[]",
        "\"x\"",
        "",
        "{\"metadata\":{\"a\"}}",
    };
    vmbi_object_scan o;

    (void)state;
    for (size_t i = 0; i < VMBI_ARRAY_LEN(bad); i++) {
        size_t len = strlen(bad[i]);

        if (vmbi_jscan_k8s_object(guarded(bad[i], len), len, &o)) {
            fail_msg("%s", bad[i]);
        }
    }
    assert_true(vmbi_jscan_k8s_object(" {} ", 4, &o));
    assert_null(o.name.p);
    const char *spaced = "{ \"metadata\" : { \"name\" : \"n\" } }";
    assert_true(vmbi_jscan_k8s_object(spaced, strlen(spaced), &o));
    assert_true(slice_is(o.name, "\"n\""));
}

/* The scanner and jansson's parser must agree about what is JSON. */
static void skip_mutations_agree_with_parser(void **state)
{
    static const char alphabet[] = "{}[]\",:\\u0123456789eE+-.tfn \n";
    uint64_t x = 88172645463325252u;
    char text[sizeof(object)];
    size_t len = sizeof(object) - 1;

    (void)state;
    for (int i = 0; i < 20000; i++) {
        vmbi_json *v = NULL;
        bool parsed;

        memcpy(text, object, len);
        for (int k = 0; k <= i % 3; k++) {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            text[x % len] = alphabet[(x >> 32) % (sizeof(alphabet) - 1)];
        }
        vmb_error *err = NULL;
        parsed = vmbi_json_parse(text, len, "x", &v, &err) == VMB_OK;
        bool excused = false;
        if (!parsed) {
            /* matters that the scanner leaves to the parser */
            const char *m = vmb_error_message(err);
            excused = strstr(m, "duplicate") != NULL || strstr(m, "u0000") != NULL ||
                      strstr(m, "Unicode") != NULL || strstr(m, "overflow") != NULL;
        }
        if (skips_all(text, len) != parsed && !excused) {
            fail_msg("parsed %d (%s): %.*s", parsed, vmb_error_message(err), (int)len, text);
        }
        vmb_error_free(err);
        vmbi_json_free(v);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(skip_valid_value_reaches_its_end),
        cmocka_unit_test(skip_malformed_gives_null),
        cmocka_unit_test(skip_cut_value_gives_null),
        cmocka_unit_test(skip_depth_is_limited),
        cmocka_unit_test(skip_mixed_nesting_checks_each_bracket),
        cmocka_unit_test(member_walks_in_order),
        cmocka_unit_test(element_walks_in_order),
        cmocka_unit_test(member_malformed_stays_broken),
        cmocka_unit_test(scan_wrong_type_is_refused),
        cmocka_unit_test(find_key_gives_raw_value),
        cmocka_unit_test(string_decodes_escapes),
        cmocka_unit_test(string_malformed_is_refused),
        cmocka_unit_test(k8s_object_fields_are_found),
        cmocka_unit_test(k8s_object_cut_is_refused),
        cmocka_unit_test(k8s_object_odd_shapes),
        cmocka_unit_test(skip_mutations_agree_with_parser),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
