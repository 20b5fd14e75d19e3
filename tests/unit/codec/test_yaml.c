/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/error.h"
#include "codec/yaml.h"

static vmbi_json *parse(const char *text)
{
    vmbi_json *v = NULL;
    vmb_error *err = NULL;

    if (vmbi_doc_parse(text, strlen(text), "t", NULL, &v, NULL, &err) != VMB_OK) {
        fail_msg("%s: %s", text, vmb_error_message(err));
    }
    return v;
}

static void assert_json(const char *text, const char *want)
{
    vmbi_json *v = parse(text);
    char *got = NULL;
    size_t len;

    assert_int_equal(vmbi_json_to_text(v, &got, &len, NULL), VMB_OK);
    if (strcmp(got, want) != 0) {
        fail_msg("%s gave %s, not %s", text, got, want);
    }
    vmbi_free(got);
    vmbi_json_free(v);
}

static void assert_refused(const char *text, vmb_code code, const char *message)
{
    vmbi_json *v = NULL;
    vmbi_positions *places = NULL;
    vmb_error *err = NULL;
    vmb_code got = vmbi_doc_parse(text, strlen(text), "t", NULL, &v, &places, &err);

    if (got != code || (message != NULL && strcmp(vmb_error_message(err), message) != 0)) {
        fail_msg("%s gave %d: %s", text, got, vmb_error_message(err));
    }
    assert_null(v);
    assert_null(places);
    vmb_error_free(err);
}

/* What sigs.k8s.io/yaml 1.6.0 makes of plain scalars. */
static void scalar_plain_is_typed_as_in_go(void **state)
{
    static const struct {
        const char *text;
        const char *json;
    } cases[] = {
        {"true", "true"},
        {"True", "true"},
        {"TRUE", "true"},
        {"tRue", "\"tRue\""},
        {"yes", "true"},
        {"Yes", "true"},
        {"YES", "true"},
        {"yES", "\"yES\""},
        {"y", "true"},
        {"Y", "true"},
        {"n", "false"},
        {"N", "false"},
        {"no", "false"},
        {"No", "false"},
        {"NO", "false"},
        {"on", "true"},
        {"On", "true"},
        {"ON", "true"},
        {"off", "false"},
        {"Off", "false"},
        {"OFF", "false"},
        {"false", "false"},
        {"False", "false"},
        {"null", "null"},
        {"Null", "null"},
        {"NULL", "null"},
        {"~", "null"},
        {"", "null"},
        {"nUll", "\"nUll\""},
        {"0", "0"},
        {"-0", "0"},
        {"+0", "0"},
        {"1", "1"},
        {"+1", "1"},
        {"-1", "-1"},
        {"012", "10"},
        {"-012", "-10"},
        {"+012", "10"},
        {"08", "8"},
        {"09", "9"},
        {"0o12", "10"},
        {"0O12", "10"},
        {"-0o12", "-10"},
        {"0x1F", "31"},
        {"0X1f", "31"},
        {"-0x1F", "-31"},
        {"0b101", "5"},
        {"0B101", "5"},
        {"-0b101", "-5"},
        {"1_000", "1000"},
        {"_1", "\"_1\""},
        {"1_", "1"},
        {"1__0", "10"},
        {"0_", "0"},
        {"-_1", "-1"},
        {"0x_1", "1"},
        {"0x1_", "1"},
        {"1:30", "\"1:30\""},
        {"190:20:30", "\"190:20:30\""},
        {"1e3", "1000"},
        {"1E3", "1000"},
        {"1e+3", "1000"},
        {"1e-3", "0.001"},
        {"1.", "1"},
        {"1.0", "1"},
        {".5", "0.5"},
        {".8_18", "0.818"},
        {".8_", "\".8_\""},
        {"-.5", "-0.5"},
        {"+.5", "0.5"},
        {"5.e3", "5000"},
        {".e3", "\".e3\""},
        {"1.5e3", "1500"},
        {"1_000.5", "1000.5"},
        {"1e", "\"1e\""},
        {"e1", "\"e1\""},
        {"1e400", "\"1e400\""},
        {"-1e400", "\"-1e400\""},
        {"inf", "\"inf\""},
        {"nan", "\"nan\""},
        {"Infinity", "\"Infinity\""},
        {"NaN", "\"NaN\""},
        {"9223372036854775807", "9223372036854775807"},
        {"-9223372036854775808", "-9223372036854775808"},
        {"-9223372036854775809", "-9223372036854776000"},
        {"18446744073709551616", "18446744073709552000"},
        {"0xfffffffffffffffff", "\"0xfffffffffffffffff\""},
        {"2001-01-01", "\"2001-01-01\""},
        {"2001-12-14T21:59:43.10-05:00", "\"2001-12-14T21:59:43.10-05:00\""},
        {"2001-12-14 21:59:43.10 -5", "\"2001-12-14 21:59:43.10 -5\""},
        {"0x", "\"0x\""},
        {"0b", "\"0b\""},
        {"0o", "\"0o\""},
        {"0b2", "\"0b2\""},
        {"0xg", "\"0xg\""},
        {"+", "\"+\""},
        {".", "\".\""},
        {"..", "\"..\""},
        {"...x", "\"...x\""},
        {"1.2.3", "\"1.2.3\""},
        {"1,000", "\"1,000\""},
        {"0.1", "0.1"},
        {"0.30000000000000004", "0.30000000000000004"},
        {"1e21", "1e+21"},
        {"1e20", "100000000000000000000"},
        {"123456789012345678901234567890", "1.2345678901234568e+29"},
        {"<<", "\"\\u003c\\u003c\""},
        {"=", "\"=\""},
        {"1 2", "\"1 2\""},
        {"0x1p4", "\"0x1p4\""},
        {"0x1.8p1", "\"0x1.8p1\""},
        {"1e5_0", "1e+50"},
        {"00", "0"},
        {"000", "0"},
        {"007", "7"},
        {"0777", "511"},
        {"0_7", "7"},
        {"1.e+5", "100000"},
        {"+0x1", "1"},
        {"+0b1", "1"},
        {"0b", "\"0b\""},
        {"685_230.15", "685230.15"},
        {"685.230_15e+03", "685230.15"},
        {"-1_0", "-10"},
        {"0888", "888"},
        {"0.", "0"},
        {"00.5", "0.5"},
        {"1.5_", "1.5"},
        {"Inf", "\"Inf\""},
        {"+Inf", "\"+Inf\""},
        {"-Inf", "\"-Inf\""},
        {"+inf", "\"+inf\""},
        {"1_0.0e1_0", "100000000000"},
    };

    (void)state;
    for (size_t i = 0; i < VMBI_ARRAY_LEN(cases); i++) {
        char text[100] = "a: ", json[100] = "{\"a\":";
        size_t n = strlen(cases[i].text), m = strlen(cases[i].json);

        memcpy(text + 3, cases[i].text, n + 1);
        memcpy(json + 5, cases[i].json, m);
        memcpy(json + 5 + m, "}", 2);
        assert_json(text, json);
    }
}

/* Kubernetes holds these as float64 in the end. */
static void scalar_beyond_int64_is_real(void **state)
{
    (void)state;
    assert_json("a: 18446744073709551615", "{\"a\":18446744073709552000}");
    assert_json("a: 9223372036854775808", "{\"a\":9223372036854776000}");
}

static void scalar_integral_real_is_integer(void **state)
{
    vmbi_json *v = parse("[1]");

    (void)state;
    vmbi_json_free(v);
    v = parse("a: 1e3\nb: 2.0\nc: 2.5\nd: 1e18\ne: -0.0\n");
    assert_true(vmbi_json_is_int(vmbi_json_get(v, "a")));
    assert_int_equal(vmbi_json_int(vmbi_json_get(v, "a"), 0), 1000);
    assert_true(vmbi_json_is_int(vmbi_json_get(v, "b")));
    assert_true(vmbi_json_is_real(vmbi_json_get(v, "c")));
    assert_true(vmbi_json_is_real(vmbi_json_get(v, "d")));
    assert_true(vmbi_json_is_int(vmbi_json_get(v, "e")));
    vmbi_json_free(v);
}

static void scalar_infinity_is_refused(void **state)
{
    (void)state;
    assert_refused("a: .inf", VMB_E_INVALID,
                   "t: line 1 column 4: infinity and not-a-number cannot be stored");
    assert_refused("b: 1\na: .NaN", VMB_E_INVALID,
                   "t: line 2 column 4: infinity and not-a-number cannot be stored");
    assert_json("a: '.inf'", "{\"a\":\".inf\"}");
}

static void scalar_styles_and_tags_are_honoured(void **state)
{
    (void)state;
    assert_json("a: '123'", "{\"a\":\"123\"}");
    assert_json("a: \"true\"", "{\"a\":\"true\"}");
    assert_json("a: 'it''s'", "{\"a\":\"it's\"}");
    assert_json("a: |\n  x\n  y\n", "{\"a\":\"x\\ny\\n\"}");
    assert_json("a: >-\n  x\n  y\n", "{\"a\":\"x y\"}");
    assert_json("a: \"\\x41\\u00e4\\U0001F600\"", "{\"a\":\"A\xc3\xa4\xf0\x9f\x98\x80\"}");
    assert_json("a: !!str 123", "{\"a\":\"123\"}");
    assert_json("a: !!str yes", "{\"a\":\"yes\"}");
    assert_json("a: !!str", "{\"a\":\"\"}");
    assert_json("a: !!str ~", "{\"a\":\"~\"}");
    assert_json("a: !<tag:yaml.org,2002:str> 1", "{\"a\":\"1\"}");
    assert_json("a: !!int '12'", "{\"a\":12}");
    assert_json("a: !!float 0x10", "{\"a\":16}");
    assert_json("a: !!float 1.5", "{\"a\":1.5}");
    assert_json("a: !!bool yes", "{\"a\":true}");
    assert_json("a: !!null ''", "{\"a\":null}");
    assert_json("a: !!timestamp 2001-01-01", "{\"a\":\"2001-01-01\"}");
    assert_json("a: ! 12", "{\"a\":\"12\"}");
    assert_json("!!map {a: !!seq [1]}", "{\"a\":[1]}");
    assert_refused("a: !!int x", VMB_E_INVALID,
                   "t: line 1 column 4: the value does not fit its tag");
    assert_refused("a: !!bool 1", VMB_E_INVALID, NULL);
    assert_refused("a: !!null x", VMB_E_INVALID, NULL);
    assert_refused("a: !!map x", VMB_E_INVALID, NULL);
    assert_refused("a: !foo 1", VMB_E_INVALID, "t: line 1 column 4: this tag is not supported");
    assert_refused("a: !!binary aGVsbG8=", VMB_E_INVALID, NULL);
    assert_refused("!!set {a, b}", VMB_E_INVALID, NULL);
    assert_refused("!!python/object:os.system {}", VMB_E_INVALID, NULL);
    assert_refused("a: \"x\\0y\"", VMB_E_INVALID,
                   "t: line 1 column 4: a string must not contain a NUL character");
}

static void keys_become_strings(void **state)
{
    (void)state;
    assert_json("1: a", "{\"1\":\"a\"}");
    assert_json("012: a", "{\"10\":\"a\"}");
    assert_json("true: a", "{\"true\":\"a\"}");
    assert_json("yes: a", "{\"true\":\"a\"}");
    assert_json("'yes': a", "{\"yes\":\"a\"}");
    assert_json("1.5: a", "{\"1.5\":\"a\"}");
    assert_json("1e3: a", "{\"1000\":\"a\"}");
    assert_json("2001-01-01: x", "{\"2001-01-01\":\"x\"}");
    assert_json("'': 1", "{\"\":1}");
    assert_json("? a\n? b\n", "{\"a\":null,\"b\":null}");
    assert_json("&a a: &b b\nc: *a\n*b : d\n", "{\"a\":\"b\",\"b\":\"d\",\"c\":\"a\"}");
    assert_refused("~: a", VMB_E_INVALID, "t: line 1 column 1: a key must be a string");
    assert_refused("? [a]\n: b\n", VMB_E_INVALID, "t: line 1 column 3: a key must be a string");
    assert_refused("? {a: b}\n: b\n", VMB_E_INVALID, NULL);
    assert_refused("x: &x [1]\n*x : b\n", VMB_E_INVALID,
                   "t: line 2 column 1: a key must be a string");
}

static void keys_twice_are_refused(void **state)
{
    (void)state;
    assert_refused("a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\n", VMB_E_INVALID,
                   "t: line 5 column 3: key \"c\" stands twice, first on line 3");
    assert_refused("1: a\n'1': b\n", VMB_E_INVALID,
                   "t: line 2 column 1: key \"1\" stands twice, first on line 1");
    assert_refused("{a: 1, 'a': 2}", VMB_E_PARSE, NULL); /* read as JSON */
    assert_refused("x: {a: 1, 'a': 2}", VMB_E_INVALID, NULL);
    assert_refused("app: a\napp: b\napp: c\n", VMB_E_INVALID,
                   "t: line 2 column 1: key \"app\" stands twice, first on line 1");
    assert_refused("x: &x {}\na:\n  <<: *x\n  <<: *x\n", VMB_E_INVALID,
                   "t: line 4 column 3: key \"<<\" stands twice, first on line 3");
}

static void aliases_are_expanded(void **state)
{
    (void)state;
    assert_json("a: &x {p: [1, 2]}\nb: *x\nc: [*x, *x]\n",
                "{\"a\":{\"p\":[1,2]},\"b\":{\"p\":[1,2]},\"c\":[{\"p\":[1,2]},{\"p\":[1,2]}]}");
    assert_json("a: &x 1\nb: &x 2\nc: *x\n", "{\"a\":1,\"b\":2,\"c\":2}");
    assert_json("a: &x [&x 1, &x 2, *x]\nb: *x\n", "{\"a\":[1,2,2],\"b\":2}");
    assert_refused("a: *x", VMB_E_INVALID, "t: line 1 column 4: alias of an unknown anchor");
    assert_refused("a: &x [1, *x]", VMB_E_INVALID, "t: line 1 column 11: anchor contains itself");
    assert_refused("a: &x {b: {c: *x}}", VMB_E_INVALID, NULL);
}

static void aliases_share_nothing(void **state)
{
    vmbi_json *v = parse("a: &x {p: 1}\nb: *x\n");

    (void)state;
    assert_true(vmbi_json_set_int(vmbi_json_get(v, "b"), "p", 2));
    assert_int_equal(vmbi_json_int(vmbi_json_path(v, "a.p"), 0), 1);
    vmbi_json_free(v);
}

static void alias_bomb_meets_limit(void **state)
{
    static const char nodes[] =
        "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\n"
        "c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\n"
        "e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\n"
        "g: &g [*f,*f,*f,*f,*f,*f,*f,*f,*f]\nh: &h [*g,*g,*g,*g,*g,*g,*g,*g,*g]\n";
    static const char refs[] = "*a,*a,*a,*a,*a,*a,*a,*a,*a,*a,";
    vmbi_buf b = VMBI_BUF_INIT(VMBI_DOC_MAX_BYTES);

    (void)state;
    assert_refused(nodes, VMB_E_LIMIT, NULL);
    /* few nodes, but each a megabyte */
    vmbi_buf_adds(&b, "a: &a ");
    for (size_t i = 0; i < 1 << 20; i++) {
        vmbi_buf_addc(&b, 'x');
    }
    vmbi_buf_adds(&b, "\nb: [");
    for (size_t i = 0; i < 10; i++) {
        vmbi_buf_adds(&b, refs);
    }
    vmbi_buf_adds(&b, "]\n");
    assert_refused(b.data, VMB_E_LIMIT, NULL);
    vmbi_buf_free(&b);
}

static void merge_keys_are_honoured(void **state)
{
    (void)state;
    assert_json("b: &x {a: 1, z: 0}\nd: {<<: *x, a: 3}\n",
                "{\"b\":{\"a\":1,\"z\":0},\"d\":{\"a\":3,\"z\":0}}");
    /* wherever it stands: YAML's rule, while Go lets the later one win */
    assert_json("b: &x {a: 1}\nc: {a: 2, <<: *x}\n", "{\"b\":{\"a\":1},\"c\":{\"a\":2}}");
    assert_json("x: &x {a: 1}\nv: &v {a: 2, b: 2}\nz: {<<: [*x, *v], c: 3}\n",
                "{\"v\":{\"a\":2,\"b\":2},\"x\":{\"a\":1},\"z\":{\"a\":1,\"b\":2,\"c\":3}}");
    assert_json("z: {<<: {a: {b: 1}}}\n", "{\"z\":{\"a\":{\"b\":1}}}");
    assert_json("b: &x {a: 1}\nc: {'<<': *x}\n",
                "{\"b\":{\"a\":1},\"c\":{\"\\u003c\\u003c\":{\"a\":1}}}");
    assert_json("a: <<", "{\"a\":\"\\u003c\\u003c\"}");
    assert_refused("x: {<<: 1}", VMB_E_INVALID, NULL);
    assert_refused(
        "x: {<<: [1]}", VMB_E_INVALID,
        "t: line 1 column 5: the value of \"<<\" must be a mapping or a list of mappings");
}

static void document_forms_are_recognised(void **state)
{
    (void)state;
    assert_json("a", "\"a\"");
    assert_json("- a\n- b\n", "[\"a\",\"b\"]");
    assert_json("a:\n- b\n- c\n", "{\"a\":[\"b\",\"c\"]}");
    assert_json("a: [1,2,]", "{\"a\":[1,2]}");
    assert_json("a: 1\n...\n", "{\"a\":1}");
    assert_json("---\n---\na: 1\n---\n", "{\"a\":1}");
    assert_json("%YAML 1.1\n---\na: yes\n", "{\"a\":true}");
    assert_json("\xef\xbb\xbf"
                "a: 1\n",
                "{\"a\":1}");
    assert_json("\xef\xbb\xbf{\"a\": 1}", "{\"a\":1}");
    assert_json("a: 1\r\nb: 2\r\n", "{\"a\":1,\"b\":2}");
    assert_json(" \n {\"a\": [1, \"012\"]}\n", "{\"a\":[1,\"012\"]}");
    assert_json("x: \xc3\xa4\n", "{\"x\":\"\xc3\xa4\"}");
}

static void document_empty_or_second_is_refused(void **state)
{
    (void)state;
    assert_refused("", VMB_E_PARSE, "t: the document is empty");
    assert_refused("# only a comment\n", VMB_E_PARSE, "t: the document is empty");
    assert_refused("---\n", VMB_E_PARSE, "t: the document is empty");
    assert_refused("null", VMB_E_PARSE, "t: the document is empty");
    assert_refused("a: 1\n---\nb: 2\n", VMB_E_INVALID,
                   "t: line 3: a second document begins where one is expected");
    assert_refused("a: 1\n--- {}\n", VMB_E_INVALID, NULL);
    assert_refused("a: 1\n---\n\"x", VMB_E_PARSE, NULL);
    assert_refused("{\"a\":1} {\"b\":2}", VMB_E_PARSE, "t: line 1 column 9: end of file expected");
}

static void document_malformed_names_line_and_column(void **state)
{
    (void)state;
    assert_refused("spec:\n  includedResources: []\n  - pods\n", VMB_E_PARSE,
                   "t: line 3 column 3: did not find expected key while parsing a block mapping");
    assert_refused("a: b: c\n", VMB_E_PARSE,
                   "t: line 1 column 5: mapping values are not allowed in this context");
    assert_refused(
        "a:\n\t- b\n", VMB_E_PARSE,
        "t: line 2 column 1: found character that cannot start any token while scanning for "
        "the next token");
    assert_refused("a: \"x\n", VMB_E_PARSE, NULL);
    assert_refused("a: 1\nb: x\x01y\n", VMB_E_PARSE,
                   "t: line 2 column 5: control characters are not allowed");
    assert_refused("{\"a\": 1,\n \"b\": }", VMB_E_PARSE, "t: line 2 column 7: unexpected token");
    assert_refused("%YAML 2.0\n---\na: 1\n", VMB_E_PARSE, NULL);
}

static const char *remedy(const char *text, size_t len, int line, int column, const char *problem)
{
    assert_int_equal(len, strlen(text));
    assert_int_equal(line, 2);
    assert_int_equal(column, 3);
    assert_string_equal(problem, "did not find expected key");
    return strstr(text, "[]") == NULL ? NULL : "delete the []";
}

static void document_hint_is_appended(void **state)
{
    static const char text[] = "  a: []\n  - pods\n";
    static const char other[] = "  a: {}\n  - pods\n";
    vmbi_json *v = NULL;
    vmb_error *err = NULL;

    (void)state;
    assert_int_equal(vmbi_doc_parse(text, strlen(text), "f.yaml", remedy, &v, NULL, &err),
                     VMB_E_PARSE);
    assert_string_equal(vmb_error_message(err),
                        "f.yaml: line 2 column 3: did not find expected key while "
                        "parsing a block mapping; delete the []");
    vmb_error_free(err);
    err = NULL;
    assert_int_equal(vmbi_doc_parse(other, strlen(other), "f.yaml", remedy, &v, NULL, &err),
                     VMB_E_PARSE);
    assert_string_equal(
        vmb_error_message(err),
        "f.yaml: line 2 column 3: did not find expected key while parsing a block mapping");
    vmb_error_free(err);
    assert_null(v);
}

static void document_bad_bytes_are_refused(void **state)
{
    vmbi_json *v = NULL;
    vmb_error *err = NULL;

    (void)state;
    assert_int_equal(vmbi_doc_parse("a: 1\nb: \0\n", 10, "t", NULL, &v, NULL, &err), VMB_E_PARSE);
    assert_string_equal(vmb_error_message(err), "t: line 2 column 4: the text contains a NUL byte");
    vmb_error_free(err);
    assert_refused("a: 1\nb: \xff\n", VMB_E_PARSE, "t: line 2: the text is not UTF-8");
    assert_refused("a: \xed\xa0\x80\n", VMB_E_PARSE, "t: line 1: the text is not UTF-8");
    err = NULL;
    assert_int_equal(vmbi_doc_parse("\xff\xfe"
                                    "a\0:\0",
                                    6, "t", NULL, &v, NULL, &err),
                     VMB_E_PARSE);
    vmb_error_free(err);
    assert_null(v);
}

static void document_depth_is_limited(void **state)
{
    vmbi_buf b = VMBI_BUF_INIT(VMBI_DOC_MAX_BYTES);
    vmbi_json *v = NULL;

    (void)state;
    vmbi_buf_adds(&b, "a: ");
    for (int i = 0; i < VMBI_DOC_MAX_DEPTH - 1; i++) {
        vmbi_buf_addc(&b, '[');
    }
    size_t n = b.len;
    for (int i = 0; i < VMBI_DOC_MAX_DEPTH - 1; i++) {
        vmbi_buf_addc(&b, ']');
    }
    assert_int_equal(vmbi_doc_parse(b.data, b.len, "t", NULL, &v, NULL, NULL), VMB_OK);
    vmbi_json_free(v);
    b.len = n;
    vmbi_buf_adds(&b, "[");
    assert_refused(b.data, VMB_E_LIMIT, "t: line 1 column 67: nested too deeply");
    /* and no quadratic work before the limit is seen */
    vmbi_buf_reset(&b);
    vmbi_buf_adds(&b, "a: ");
    for (int i = 0; i < 4000000; i++) {
        vmbi_buf_addc(&b, '[');
    }
    assert_refused(b.data, VMB_E_LIMIT, NULL);
    vmbi_buf_free(&b);
}

static void document_size_is_limited(void **state)
{
    size_t len = 100000000;
    char *text = vmbi_alloc(len);
    vmbi_json *v = NULL;
    vmb_error *err = NULL;

    (void)state;
    assert_non_null(text);
    memset(text, '#', len);
    assert_int_equal(vmbi_doc_parse(text, len, "big.yaml", NULL, &v, NULL, &err), VMB_E_LIMIT);
    assert_string_equal(vmb_error_message(err), "big.yaml: larger than 4194304 bytes");
    vmb_error_free(err);
    err = NULL;
    assert_int_equal(vmbi_doc_parse_stream(text, len, "big.yaml", NULL, NULL, &err), VMB_E_LIMIT);
    vmb_error_free(err);
    vmbi_free(text);
}

static void document_many_nodes_meet_limit(void **state)
{
    vmbi_buf b = VMBI_BUF_INIT(VMBI_DOC_MAX_BYTES);

    (void)state;
    for (int i = 0; i < VMBI_DOC_MAX_NODES + 1; i++) {
        vmbi_buf_adds(&b, "- a\n");
    }
    assert_refused(b.data, VMB_E_LIMIT, NULL);
    vmbi_buf_free(&b);
}

/* Positions. */

static void assert_at(const vmbi_positions *p, const char *path, int line, int column)
{
    int l = 0, c = 0;

    if (!vmbi_positions_find(p, path, &l, &c) || l != line || c != column) {
        fail_msg("%s is at %d:%d", path, l, c);
    }
}

static void assert_nowhere(const vmbi_positions *p, const char *path)
{
    int l = -7, c = -7;

    if (vmbi_positions_find(p, path, &l, &c)) {
        fail_msg("%s is at %d:%d", path, l, c);
    }
    assert_int_equal(l, -7);
}

static void positions_yaml_paths_are_found(void **state)
{
    static const char text[] = "apiVersion: velero.io/v1\n"             /* 1 */
                               "metadata:\n"                            /* 2 */
                               "  name: b\xc3\xa4\n"                    /* 3 */
                               "  labels:\n"                            /* 4 */
                               "    velero.io/storage-location: x\n"    /* 5 */
                               "    \"a\\\"b\": y\n"                    /* 6 */
                               "spec:\n"                                /* 7 */
                               "  hooks:\n"                             /* 8 */
                               "    resources:\n"                       /* 9 */
                               "    - name: one\n"                      /* 10 */
                               "      pre:\n"                           /* 11 */
                               "      - exec: {command: [a, b], c: }\n" /* 12 */
                               "    - name: two\n"                      /* 13 */
                               "  ttl:   720h\n"                        /* 14 */
                               "  empty:\n"                             /* 15 */
                               "  text: |\n"                            /* 16 */
                               "    x\n";                               /* 17 */
    vmbi_json *v = NULL;
    vmbi_positions *p = NULL;

    (void)state;
    assert_int_equal(vmbi_doc_parse(text, strlen(text), "t", NULL, &v, &p, NULL), VMB_OK);
    assert_at(p, "", 1, 1);
    assert_at(p, "apiVersion", 1, 13);
    assert_at(p, "metadata", 2, 1);
    assert_at(p, "metadata.name", 3, 9);
    assert_at(p, "metadata.labels", 4, 3);
    assert_at(p, "metadata.labels[\"velero.io/storage-location\"]", 5, 33);
    assert_at(p, "metadata.labels[\"a\"b\"]", 6, 13);
    assert_at(p, "spec.hooks.resources", 9, 5);
    assert_at(p, "spec.hooks.resources[0]", 10, 7);
    assert_at(p, "spec.hooks.resources[0].name", 10, 13);
    assert_at(p, "spec.hooks.resources[0].pre[0].exec", 12, 15);
    assert_at(p, "spec.hooks.resources[0].pre[0].exec.command[1]", 12, 29);
    assert_at(p, "spec.hooks.resources[1].name", 13, 13);
    assert_at(p, "spec.ttl", 14, 10);
    assert_at(p, "spec.empty", 15, 9);
    assert_at(p, "spec.text", 16, 9);
    assert_at(p, "[\"spec\"].ttl", 14, 10);
    assert_nowhere(p, "spec.other");
    assert_nowhere(p, "spec.hooks.resources[2]");
    assert_nowhere(p, "spec.hooks.resources[x]");
    assert_nowhere(p, "spec.hooks.resources[");
    assert_nowhere(p, "spec.ttl.more");
    assert_nowhere(p, "spec.ttl[0]");
    assert_nowhere(p, "metadata.labels[\"velero");
    assert_nowhere(p, "apiVersion.");
    assert_nowhere(NULL, "spec");
    vmbi_positions_free(p);
    vmbi_positions_free(NULL);
    vmbi_json_free(v);
}

static void positions_aliases_lead_to_the_text(void **state)
{
    static const char text[] = "a: &x\n  p: 1\n  q: [5]\nb: *x\nc:\n  <<: *x\n  r: 2\n";
    vmbi_json *v = NULL;
    vmbi_positions *p = NULL;

    (void)state;
    assert_int_equal(vmbi_doc_parse(text, strlen(text), "t", NULL, &v, &p, NULL), VMB_OK);
    assert_at(p, "b", 4, 4);
    assert_at(p, "b.p", 2, 6);
    assert_at(p, "b.q[0]", 3, 7);
    assert_at(p, "c.q[0]", 3, 7);
    assert_at(p, "c.r", 7, 6);
    assert_at(p, "c.p", 2, 6);
    vmbi_positions_free(p);
    vmbi_json_free(v);
}

static void positions_json_paths_are_found(void **state)
{
    static const char text[] =
        "\n{\"a\": 1,\n \"b\\n\": {\"c\\u0064\": [10,\n  {\"e\": \"\xc3\xa4\"}, null]}}\n";
    vmbi_json *v = NULL;
    vmbi_positions *p = NULL;

    (void)state;
    assert_int_equal(vmbi_doc_parse(text, strlen(text), "t", NULL, &v, &p, NULL), VMB_OK);
    assert_at(p, "", 2, 1);
    assert_at(p, "a", 2, 7);
    assert_at(p, "b\n.cd", 3, 21);
    assert_at(p, "b\n.cd[0]", 3, 22);
    assert_at(p, "b\n.cd[1].e", 4, 9);
    assert_at(p, "b\n.cd[2]", 4, 15);
    assert_nowhere(p, "b\n.cd[3]");
    vmbi_positions_free(p);
    vmbi_json_free(v);
}

static void positions_elements_have_no_keys(void **state)
{
    vmbi_json *v = NULL;
    vmbi_positions *p = NULL;

    (void)state;
    assert_int_equal(vmbi_doc_parse("- x", 3, "t", NULL, &v, &p, NULL), VMB_OK);
    assert_at(p, "[0]", 1, 3);
    assert_nowhere(p, "spec");
    assert_nowhere(p, "[\"\"]");
    vmbi_positions_free(p);
    vmbi_json_free(v);
    assert_int_equal(vmbi_doc_parse("first: [a]", 10, "t", NULL, &v, &p, NULL), VMB_OK);
    assert_nowhere(p, "first.first");
    vmbi_positions_free(p);
    vmbi_json_free(v);
}

/* Streams. */

typedef struct collected {
    vmbi_buf out; /* "line:json " of each */
    int stop_after;
    int n;
} collected;

static vmb_code collect(void *user, vmbi_json *doc, int line, vmb_error **err)
{
    collected *c = user;

    vmbi_buf_addf(&c->out, "%d:", line);
    assert_int_equal(vmbi_json_print(doc, &c->out, NULL), VMB_OK);
    vmbi_buf_addc(&c->out, ' ');
    return ++c->n == c->stop_after ? vmbi_fail(err, VMB_E_CANCELLED, "enough") : VMB_OK;
}

static void assert_stream(const char *text, const char *want)
{
    collected c = {VMBI_BUF_INIT(100000), 0, 0};
    vmb_error *err = NULL;

    if (vmbi_doc_parse_stream(text, strlen(text), "t", collect, &c, &err) != VMB_OK) {
        fail_msg("%s: %s", text, vmb_error_message(err));
    }
    assert_string_equal(c.out.data == NULL ? "" : c.out.data, want);
    vmbi_buf_free(&c.out);
}

static void stream_gives_each_document(void **state)
{
    (void)state;
    assert_stream("", "");
    assert_stream("# nothing\n", "");
    assert_stream("a: 1\n", "1:{\"a\":1} ");
    assert_stream("---\na: 1\n---\n# empty\n---\n- b\n...\n---\nc\n",
                  "2:{\"a\":1} 6:[\"b\"] 9:\"c\" ");
    assert_stream("{\"a\":1}", "1:{\"a\":1} ");
    assert_stream("[{\"a\":1}]", "1:[{\"a\":1}] ");
    assert_stream("{\"a\":1}\n{\"b\":\n2}\n---\n{\"c\":3}\n",
                  "1:{\"a\":1} 2:{\"b\":2} 5:{\"c\":3} ");
    assert_stream("a: &x 1\nb: *x\n---\n&x c: *x\n", "1:{\"a\":1,\"b\":1} 4:{\"c\":\"c\"} ");
}

static void stream_failures_stop_it(void **state)
{
    collected c = {VMBI_BUF_INIT(100000), 2, 0};
    vmb_error *err = NULL;
    static const char three[] = "a: 1\n---\nb: 2\n---\nc: 3\n";
    static const char bad[] = "a: &x 1\n---\nb: *x\n";
    static const char bad_json[] = "{\"a\":1}\n{\"b\":}\n";

    (void)state;
    assert_int_equal(vmbi_doc_parse_stream(three, strlen(three), "t", collect, &c, &err),
                     VMB_E_CANCELLED);
    assert_string_equal(vmb_error_message(err), "enough");
    assert_int_equal(c.n, 2);
    vmb_error_free(err);
    err = NULL;
    c.n = c.stop_after = 0;
    assert_int_equal(vmbi_doc_parse_stream(bad, strlen(bad), "t", collect, &c, &err),
                     VMB_E_INVALID);
    assert_string_equal(vmb_error_message(err), "t: line 3 column 4: alias of an unknown anchor");
    assert_int_equal(c.n, 1);
    vmb_error_free(err);
    err = NULL;
    assert_int_equal(vmbi_doc_parse_stream(bad_json, strlen(bad_json), "t", collect, &c, &err),
                     VMB_E_PARSE);
    assert_string_equal(vmb_error_message(err), "t: line 2 column 6: unexpected token");
    vmb_error_free(err);
    vmbi_buf_free(&c.out);
}

static vmb_code count(void *user, vmbi_json *doc, int line, vmb_error **err)
{
    size_t *n = user;

    (void)line;
    (void)err;
    *n += vmbi_json_len(vmbi_json_get(doc, "items"));
    return VMB_OK;
}

/* More nodes than a single specification may have: a dump of a cluster is honest. */
static void stream_long_list_is_read(void **state)
{
    vmbi_buf b = VMBI_BUF_INIT(VMBI_DOC_STREAM_MAX_BYTES);
    size_t n = 0;

    (void)state;
    vmbi_buf_adds(&b, "kind: List\nitems:\n");
    for (int i = 0; i < 60000; i++) {
        vmbi_buf_addf(&b, "- kind: ConfigMap\n  metadata:\n    name: c%d\n", i);
    }
    assert_int_equal(vmbi_doc_parse_stream(b.data, b.len, "t", count, &n, NULL), VMB_OK);
    assert_int_equal(n, 60000);
    vmbi_buf_free(&b);
}

/* Fails each allocation of ours in turn; libyaml and jansson have their own. */
static void document_out_of_memory_is_reported(void **state)
{
    static const char *const texts[] = {
        "a: &x {p: [1, 2.5, 'q']}\nb: *x\nc:\n  <<: *x\n  d: 1\n1: x\n",
        "{\"a\":[1,{\"b\":\"c\"}],\"d\":99999999999999999999}",
        "a: b: c",
        "a: 1\na: 2\n",
    };

    (void)state;
    for (size_t i = 0; i < VMBI_ARRAY_LEN(texts); i++) {
        bool done = false;

        for (uint64_t n = 1; !done; n++) {
            vmbi_json *v = NULL;
            vmbi_positions *p = NULL;
            vmb_error *err = NULL;
            vmb_code code;

            vmbi_alloc_fail_from(n);
            code = vmbi_doc_parse(texts[i], strlen(texts[i]), "t", NULL, &v, &p, &err);
            done = vmbi_alloc_count() < n;
            vmbi_alloc_fail_from(0);
            if (!done && code == VMB_OK) {
                fail_msg("allocation %llu of %s was not missed", (unsigned long long)n, texts[i]);
            }
            assert_true((code == VMB_OK) == (v != NULL) && (v != NULL) == (p != NULL));
            assert_true(done || code == VMB_E_NOMEM || i >= 2);
            vmb_error_free(err);
            vmbi_positions_free(p);
            vmbi_json_free(v);
            assert_in_range(n, 1, 1000);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scalar_plain_is_typed_as_in_go),
        cmocka_unit_test(scalar_beyond_int64_is_real),
        cmocka_unit_test(scalar_integral_real_is_integer),
        cmocka_unit_test(scalar_infinity_is_refused),
        cmocka_unit_test(scalar_styles_and_tags_are_honoured),
        cmocka_unit_test(keys_become_strings),
        cmocka_unit_test(keys_twice_are_refused),
        cmocka_unit_test(aliases_are_expanded),
        cmocka_unit_test(aliases_share_nothing),
        cmocka_unit_test(alias_bomb_meets_limit),
        cmocka_unit_test(merge_keys_are_honoured),
        cmocka_unit_test(document_forms_are_recognised),
        cmocka_unit_test(document_empty_or_second_is_refused),
        cmocka_unit_test(document_malformed_names_line_and_column),
        cmocka_unit_test(document_hint_is_appended),
        cmocka_unit_test(document_bad_bytes_are_refused),
        cmocka_unit_test(document_depth_is_limited),
        cmocka_unit_test(document_size_is_limited),
        cmocka_unit_test(document_many_nodes_meet_limit),
        cmocka_unit_test(positions_yaml_paths_are_found),
        cmocka_unit_test(positions_aliases_lead_to_the_text),
        cmocka_unit_test(positions_json_paths_are_found),
        cmocka_unit_test(positions_elements_have_no_keys),
        cmocka_unit_test(stream_gives_each_document),
        cmocka_unit_test(stream_failures_stop_it),
        cmocka_unit_test(stream_long_list_is_read),
        cmocka_unit_test(document_out_of_memory_is_reported),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
