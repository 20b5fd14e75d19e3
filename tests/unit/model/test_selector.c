/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "codec/json.h"
#include "model/selector.h"

#define A "{\"app\":\"db\",\"tier\":\"be\"}"
#define NONE "{}"
#define X63 "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffggg"

typedef enum outcome { NO, YES, BAD } outcome;

typedef struct match_case {
    int number;       /* in the sheet of semantics */
    const char *text; /* structured when it starts with '{' or is "null" */
    const char *labels;
    outcome want;
} match_case;

static const match_case cases[] = {
    {1, "null", A, NO},
    {2, "{}", NONE, YES},
    {3, "{\"matchLabels\":{\"app\":\"db\"}}", A, YES},
    {4, "{\"matchLabels\":{\"app\":\"\"}}", "{\"app\":\"\"}", YES},
    {5, "{\"matchLabels\":{\"app\":\"\"}}", NONE, NO},
    {6, "{\"matchExpressions\":[{\"key\":\"app\",\"operator\":\"In\",\"values\":[]}]}", A, BAD},
    {7, "{\"matchExpressions\":[{\"key\":\"app\",\"operator\":\"NotIn\",\"values\":[]}]}", A, BAD},
    {8, "{\"matchExpressions\":[{\"key\":\"app\",\"operator\":\"NotIn\",\"values\":[\"db\"]}]}",
     NONE, YES},
    {9, "{\"matchExpressions\":[{\"key\":\"app\",\"operator\":\"NotIn\",\"values\":[\"db\"]}]}", A,
     NO},
    {10, "{\"matchExpressions\":[{\"key\":\"app\",\"operator\":\"Exists\",\"values\":[\"x\"]}]}", A,
     BAD},
    {11, "{\"matchExpressions\":[{\"key\":\"app\",\"operator\":\"Exists\"}]}", "{\"app\":\"\"}",
     YES},
    {12, "{\"matchExpressions\":[{\"key\":\"app\",\"operator\":\"DoesNotExist\"}]}", NONE, YES},
    {13, "{\"matchExpressions\":[{\"key\":\"app\",\"operator\":\"DoesNotExist\"}]}", A, NO},
    {14, "{\"matchExpressions\":[{\"key\":\"app\",\"operator\":\"in\",\"values\":[\"db\"]}]}", A,
     BAD},
    {15, "{\"matchExpressions\":[{\"key\":\"n\",\"operator\":\"Gt\",\"values\":[\"1\"]}]}",
     "{\"n\":\"2\"}", BAD},
    {16,
     "{\"matchLabels\":{\"app\":\"db\"},\"matchExpressions\":[{\"key\":\"tier\",\"operator\":"
     "\"In\",\"values\":[\"fe\",\"be\"]}]}",
     A, YES},
    {17,
     "{\"matchLabels\":{\"app\":\"db\"},\"matchExpressions\":[{\"key\":\"app\",\"operator\":"
     "\"In\",\"values\":[\"web\"]}]}",
     A, NO},
    {18, "{\"matchLabels\":{\"bad key\":\"x\"}}", A, BAD},
    {19, "", NONE, YES},
    {20, "app", A, YES},
    {21, "!app", A, NO},
    {22, "!app", NONE, YES},
    {23, "app == db", A, YES},
    {24, "{\"matchExpressions\":[{\"key\":\"app\",\"operator\":\"In\",\"values\":[\"a b\"]}]}", A,
     BAD},
    {25, "app!=db", NONE, YES},
    {26, "app!=web", A, YES},
    {27, "app in (db,web)", A, YES},
    {28, "app in(db)", A, YES},
    {29, "app notin (db)", NONE, YES},
    {30, "app in (db)", NONE, NO},
    {31, "app in ()", "{\"app\":\"\"}", YES},
    {32, "app in ()", A, NO},
    {33, "app notin ()", "{\"app\":\"\"}", NO},
    {34, "x in (foo,,baz)", "{\"x\":\"\"}", YES},
    {35, "app=", "{\"app\":\"\"}", YES},
    {36, "app=", NONE, NO},
    {37, "app!=", NONE, YES},
    {38, "n>5", "{\"n\":\"6\"}", YES},
    {39, "n>5", "{\"n\":\"5\"}", NO},
    {40, "n<5", NONE, NO},
    {41, "n>5", "{\"n\":\"abc\"}", NO},
    {42, "n>5.5", "{\"n\":\"6\"}", BAD},
    {43, "n<-1", "{\"n\":\"-2\"}", BAD},
    {44, "n>=5", "{\"n\":\"5\"}", BAD},
    {45, "app=db,", A, BAD},
    {46, ",app=db", A, BAD},
    {47, "app=db tier=be", A, BAD},
    {48, "in in (in)", "{\"in\":\"in\"}", YES},
    {49, "!app=db", A, BAD},
    {50, "app=db=x", A, BAD},
    {51, "<none>", A, BAD},
    {52, "app in db", A, BAD},
    {53, "App=db", A, NO},
    {53, "app=DB", A, NO},
    {54, "Example.com/r=x", NONE, BAD},
    {55, "/r=x", NONE, BAD},
    {55, "a/b/c=x", NONE, BAD},
    {56, "app=-x", NONE, BAD},
    {57, "k=" X63, "{\"k\":\"" X63 "\"}", YES},
    {58, "k=" X63 "h", NONE, BAD},
    {58, X63 "h=x", NONE, BAD},
    {59, "app=db,app!=db", A, NO},
    {60, "app,!gone", A, YES},
    /* beyond the sheet */
    {61, "example.com/role = a", "{ \"example.com/role\" : \"a\" }", YES},
    {62, "app in (db,)", "{\"app\":\"\"}", YES},
    {63, "app in (,db)", A, YES},
    {64, "app in (db", A, BAD},
    {65, "app in (db web)", A, BAD},
    {66, "app,,tier", A, BAD},
    {67, "!", A, BAD},
    {68, "!!app", A, BAD},
    {69, "app ! = db", A, BAD},
    {70, "notin notin (notin)", "{\"notin\":\"x\"}", YES},
    {71, " \t\r\n", NONE, YES},
    {72, "app= db , tier = be", A, YES},
    {73, "{\"matchLabels\":{\"app\":1}}", A, BAD},
    {74, "{\"matchlabels\":{\"app\":\"db\"}}", A, BAD},
    {75, "{\"matchLabels\":null,\"matchExpressions\":null}", NONE, YES},
    {76, "{\"matchLabels\":\"app=<a>\"}", NONE, BAD},
    {77, "n<5", "{\"n\":\"-7\"}", YES},
    {78, "n>5", "{\"n\":\"+6\"}", YES},
    {79, "n>9223372036854775807", "{\"n\":\"9223372036854775808\"}", NO},
    {80, "n>9223372036854775808", NONE, BAD},
    {81, "app=db", "{\"\\u0061pp\":\"d\\u0062\"}", YES},
    {82, "app=db", "{\"app\":3}", NO},
    {83, "!app", "{\"app\":3}", YES},
    {84, "app=db", "{\"x\":{\"app\":\"db\"},\"y\":[1,2],\"app\":\"db\"}", YES},
};

static vmb_code compile(const char *text, vmb_selector **sel)
{
    vmb_error *err = NULL;
    vmb_code code;

    if (text[0] == '{' || strcmp(text, "null") == 0) {
        vmbi_json *tree = NULL;

        /* "null" alone is no document for a strict reader: give it as no tree */
        if (text[0] == '{') {
            assert_int_equal(vmbi_json_parse(text, strlen(text), "test", &tree, NULL), VMB_OK);
        }
        code = vmbi_selector_from_tree(tree, "sel", sel, &err);
        vmbi_json_free(tree);
    } else {
        code = vmbi_selector_parse(text, strlen(text), sel, &err);
    }
    assert_int_equal(vmb_error_code(err), code);
    if (code != VMB_OK) {
        assert_true(strlen(vmb_error_message(err)) > 10);
    }
    vmb_error_free(err);
    return code;
}

/* kv strings from a JSON object; values that are no strings are left out. */
static size_t to_kv(const vmbi_json *labels, const char **kv)
{
    size_t n = 0;

    for (void *it = vmbi_json_iter(labels); it != NULL; it = vmbi_json_iter_next(labels, it)) {
        const char *v = vmbi_json_str(vmbi_json_iter_value(it));

        if (v != NULL) {
            kv[2 * n] = vmbi_json_iter_key(it);
            kv[2 * n + 1] = v;
            n++;
        }
    }
    return n;
}

static void check_case(const match_case *c)
{
    vmb_selector *sel = NULL;
    vmbi_json *labels = NULL;
    const char *kv[32];
    vmb_code code = compile(c->text, &sel);

    if ((code != VMB_OK) != (c->want == BAD)) {
        fail_msg("case %d \"%s\": code %d", c->number, c->text, (int)code);
    }
    if (code != VMB_OK) {
        assert_null(sel);
        assert_true(code == VMB_E_PARSE || code == VMB_E_INVALID);
        return;
    }
    assert_int_equal(vmbi_json_parse(c->labels, strlen(c->labels), "test", &labels, NULL), VMB_OK);
    bool by_kv = vmbi_selector_matches_kv(sel, kv, to_kv(labels, kv));
    bool by_raw = vmbi_selector_matches_raw(sel, (vmbi_slice){c->labels, strlen(c->labels)});
    bool by_tree = vmbi_selector_matches_tree(sel, labels);
    if (by_kv != (c->want == YES) || by_raw != by_kv || by_tree != by_kv) {
        fail_msg("case %d \"%s\" on %s: kv %d raw %d tree %d", c->number, c->text, c->labels, by_kv,
                 by_raw, by_tree);
    }
    vmbi_json_free(labels);
    vmbi_selector_free(sel);
}

static void selector_cases_of_the_sheet_match_as_apimachinery(void **state)
{
    int seen[61] = {0};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        check_case(&cases[i]);
        if (cases[i].number <= 60) {
            seen[cases[i].number] = 1;
        }
    }
    for (int i = 1; i <= 60; i++) {
        assert_int_equal(seen[i], 1);
    }
}

static void expect_print(const char *text, const char *want)
{
    vmb_selector *sel = NULL;
    vmb_selector *again = NULL;
    vmbi_buf b = VMBI_BUF_INIT(4096);

    assert_int_equal(compile(text, &sel), VMB_OK);
    assert_int_equal(vmbi_selector_print(sel, &b, NULL), VMB_OK);
    assert_string_equal(b.data != NULL ? b.data : "", want);
    /* what is printed parses to the same */
    assert_int_equal(vmbi_selector_parse(want, strlen(want), &again, NULL), VMB_OK);
    vmbi_buf_reset(&b);
    assert_int_equal(vmbi_selector_print(again, &b, NULL), VMB_OK);
    assert_string_equal(b.data != NULL ? b.data : "", want);
    vmbi_selector_free(again);
    vmbi_selector_free(sel);
    vmbi_buf_free(&b);
}

static void selector_printed_is_sorted_and_parses_again(void **state)
{
    (void)state;
    expect_print("", "");
    expect_print("z,a", "a,z");
    expect_print(" tier notin ( x , a,,x ) , app==db , !gone,n>5,m<7,b!=c,e=",
                 "app==db,b!=c,e=,!gone,m<7,n>5,tier notin (,a,x)");
    expect_print("x in ()", "x in ()");
    expect_print("k=2,k=1", "k=2,k=1");
    expect_print("{\"matchLabels\":{\"b\":\"1\",\"a\":\"2\"},\"matchExpressions\":[{\"key\":\"a\","
                 "\"operator\":\"NotIn\",\"values\":[\"z\",\"y\"]}]}",
                 "a=2,a notin (y,z),b=1");
}

static void selector_of_null_has_no_string_form(void **state)
{
    vmb_selector *sel = NULL;
    vmbi_buf b = VMBI_BUF_INIT(64);

    (void)state;
    assert_int_equal(vmbi_selector_from_tree(NULL, "sel", &sel, NULL), VMB_OK);
    assert_true(vmbi_selector_is_nothing(sel));
    assert_false(vmbi_selector_is_everything(sel));
    assert_int_equal(vmbi_selector_print(sel, &b, NULL), VMB_E_UNSUPPORTED);
    vmbi_selector_free(sel);
}

/* 100 requirements do not fit the bit mask of the fast path. */
static void selector_of_many_requirements_matches_like_a_small_one(void **state)
{
    vmbi_buf text = VMBI_BUF_INIT(8192);
    vmbi_buf raw = VMBI_BUF_INIT(8192);
    vmb_selector *sel = NULL;

    (void)state;
    vmbi_buf_addc(&raw, '{');
    for (int i = 0; i < 100; i++) {
        vmbi_buf_addf(&text, "%sk%d=v%d", i > 0 ? "," : "", i, i);
        vmbi_buf_addf(&raw, "%s\"k%d\":\"v%d\"", i > 0 ? "," : "", 99 - i, 99 - i);
    }
    vmbi_buf_adds(&text, ",!absent");
    vmbi_buf_addc(&raw, '}');
    assert_int_equal(vmbi_selector_parse(text.data, text.len, &sel, NULL), VMB_OK);
    assert_true(vmbi_selector_matches_raw(sel, (vmbi_slice){raw.data, raw.len}));
    char *last = strstr(raw.data, "\"v57\"");
    assert_non_null(last);
    last[1] = 'w';
    assert_false(vmbi_selector_matches_raw(sel, (vmbi_slice){raw.data, raw.len}));
    vmbi_selector_free(sel);
    vmbi_buf_free(&text);
    vmbi_buf_free(&raw);
}

static void selector_raw_labels_malformed_match_nothing(void **state)
{
    static const char *const bad[] = {"{",           "{\"a\"", "{\"a\":\"b\"",  "{\"a\":\"b",
                                      "{\"a\":}",    "[]",     "{\"a\" \"b\"}", "{,\"a\":\"b\"}",
                                      "{\"a\":\"b\\"};
    vmb_selector *absent = NULL;

    (void)state;
    assert_int_equal(vmbi_selector_parse("!gone,a!=x", 10, &absent, NULL), VMB_OK);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        /* exact memory, so that a read past the end is seen by the sanitizer */
        char *copy = vmbi_memdup(bad[i], strlen(bad[i]));

        assert_false(vmbi_selector_matches_raw(absent, (vmbi_slice){copy, strlen(bad[i])}));
        vmbi_free(copy);
    }
    assert_true(vmbi_selector_matches_raw(absent, (vmbi_slice){NULL, 0}));
    assert_true(vmbi_selector_matches_raw(absent, (vmbi_slice){"null", 4}));
    assert_true(vmbi_selector_matches_raw(absent, (vmbi_slice){"{}", 2}));
    vmbi_selector_free(absent);
}

static void selector_too_long_is_refused(void **state)
{
    static char text[VMBI_SELECTOR_MAX_TEXT + 2];
    vmb_selector *sel = NULL;

    (void)state;
    memset(text, ' ', sizeof(text) - 1);
    assert_int_equal(vmbi_selector_parse(text, VMBI_SELECTOR_MAX_TEXT + 1, &sel, NULL),
                     VMB_E_LIMIT);
    assert_int_equal(vmbi_selector_parse(text, VMBI_SELECTOR_MAX_TEXT, &sel, NULL), VMB_OK);
    vmbi_selector_free(sel);
    sel = NULL;
    /* "a in (,,,…": every comma is a value */
    memcpy(text, "a in (", 6);
    memset(text + 6, ',', VMBI_SELECTOR_MAX_TEXT - 7);
    text[VMBI_SELECTOR_MAX_TEXT - 1] = ')';
    assert_int_equal(vmbi_selector_parse(text, VMBI_SELECTOR_MAX_TEXT, &sel, NULL), VMB_E_LIMIT);
    assert_null(sel);
}

static void selector_messages_name_the_position(void **state)
{
    vmb_selector *sel = NULL;
    vmb_error *err = NULL;

    (void)state;
    assert_int_equal(vmbi_selector_parse("app=db tier=be", 14, &sel, &err), VMB_E_PARSE);
    assert_non_null(strstr(vmb_error_message(err), "position 8"));
    assert_non_null(strstr(vmb_error_message(err), "tier"));
    vmb_error_free(err);
}

static void selector_out_of_memory_leaves_nothing(void **state)
{
    static const char text[] = "b in (x,y,z),a=1,!c,d notin (q)";

    (void)state;
    for (uint64_t n = 1; n < 1000; n++) {
        vmb_selector *sel = NULL;
        vmb_error *err = NULL;
        vmbi_buf b = VMBI_BUF_INIT(1024);

        vmbi_alloc_fail_from(n);
        vmb_code code = vmbi_selector_parse(text, sizeof(text) - 1, &sel, &err);
        if (code == VMB_OK) {
            code = vmbi_selector_print(sel, &b, &err);
        }
        vmbi_alloc_fail_from(0);
        vmbi_buf_free(&b);
        vmbi_selector_free(sel);
        assert_true(code == VMB_OK || code == VMB_E_NOMEM);
        vmb_error_free(err);
        if (code == VMB_OK) {
            assert_true(n > 10);
            return;
        }
    }
    fail_msg("never succeeded");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(selector_cases_of_the_sheet_match_as_apimachinery),
        cmocka_unit_test(selector_printed_is_sorted_and_parses_again),
        cmocka_unit_test(selector_of_null_has_no_string_form),
        cmocka_unit_test(selector_of_many_requirements_matches_like_a_small_one),
        cmocka_unit_test(selector_raw_labels_malformed_match_nothing),
        cmocka_unit_test(selector_too_long_is_refused),
        cmocka_unit_test(selector_messages_name_the_position),
        cmocka_unit_test(selector_out_of_memory_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
