/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include <vmbackup/selector.h>

static void selector_call_with_null_is_refused(void **state)
{
    vmb_selector *sel = NULL;
    vmb_error *err = NULL;
    int32_t yes = 7;
    char *text = NULL;
    const char *kv[] = {"a", NULL};

    (void)state;
    assert_int_equal(vmb_selector_parse(NULL, &sel, &err), VMB_E_ARG);
    assert_int_equal(vmb_error_code(err), VMB_E_ARG);
    vmb_error_free(err);
    assert_int_equal(vmb_selector_parse("a", NULL, NULL), VMB_E_ARG);
    assert_int_equal(vmb_selector_from_json(NULL, 0, &sel, NULL), VMB_E_ARG);
    assert_int_equal(vmb_selector_matches(NULL, NULL, 0, &yes, NULL), VMB_E_ARG);
    assert_int_equal(vmb_selector_to_string(NULL, &text, NULL), VMB_E_ARG);
    vmb_selector_free(NULL);
    assert_int_equal(vmb_selector_parse("a", &sel, NULL), VMB_OK);
    assert_int_equal(vmb_selector_matches(sel, NULL, 1, &yes, NULL), VMB_E_ARG);
    assert_int_equal(vmb_selector_matches(sel, kv, 1, &yes, NULL), VMB_E_ARG);
    assert_int_equal(vmb_selector_matches(sel, kv, 0, NULL, NULL), VMB_E_ARG);
    assert_int_equal(yes, 7); /* untouched */
    vmb_selector_free(sel);
}

static void selector_parsed_matches_and_prints(void **state)
{
    const char *kv[] = {"tier", "be", "app", "db"};
    vmb_selector *sel = NULL;
    char *text = NULL;
    int32_t yes = 0;

    (void)state;
    assert_int_equal(vmb_selector_parse("tier in (fe,be), app=db", &sel, NULL), VMB_OK);
    assert_int_equal(vmb_selector_matches(sel, kv, 2, &yes, NULL), VMB_OK);
    assert_int_equal(yes, 1);
    assert_int_equal(vmb_selector_matches(sel, kv, 1, &yes, NULL), VMB_OK);
    assert_int_equal(yes, 0);
    assert_int_equal(vmb_selector_to_string(sel, &text, NULL), VMB_OK);
    assert_string_equal(text, "app=db,tier in (be,fe)");
    vmb_free(text);
    vmb_selector_free(sel);
    sel = NULL;
    assert_int_equal(vmb_selector_parse("", &sel, NULL), VMB_OK);
    assert_int_equal(vmb_selector_to_string(sel, &text, NULL), VMB_OK);
    assert_string_equal(text, "");
    vmb_free(text);
    vmb_selector_free(sel);
}

static void selector_from_json_or_yaml_is_compiled(void **state)
{
    static const char json[] = "{\"matchLabels\":{\"app\":\"db\"}} and more";
    static const char yaml[] = "matchExpressions:\n- key: app\n  operator: In\n  values: [db]\n";
    const char *kv[] = {"app", "db"};
    vmb_selector *sel = NULL;
    char *text = NULL;
    int32_t yes = 0;

    (void)state;
    /* the length counts, not a NUL */
    assert_int_equal(vmb_selector_from_json(json, 28, &sel, NULL), VMB_OK);
    assert_int_equal(vmb_selector_matches(sel, kv, 1, &yes, NULL), VMB_OK);
    assert_int_equal(yes, 1);
    vmb_selector_free(sel);
    assert_int_equal(vmb_selector_from_json(yaml, sizeof(yaml) - 1, &sel, NULL), VMB_OK);
    assert_int_equal(vmb_selector_matches(sel, kv, 1, &yes, NULL), VMB_OK);
    assert_int_equal(yes, 1);
    vmb_selector_free(sel);
    assert_int_equal(vmb_selector_from_json("{}", 2, &sel, NULL), VMB_OK);
    assert_int_equal(vmb_selector_matches(sel, NULL, 0, &yes, NULL), VMB_OK);
    assert_int_equal(yes, 1);
    vmb_selector_free(sel);
    assert_int_equal(vmb_selector_from_json("null", 4, &sel, NULL), VMB_OK);
    assert_int_equal(vmb_selector_matches(sel, kv, 1, &yes, NULL), VMB_OK);
    assert_int_equal(yes, 0);
    assert_int_equal(vmb_selector_to_string(sel, &text, NULL), VMB_E_UNSUPPORTED);
    assert_null(text);
    vmb_selector_free(sel);
}

static void selector_malformed_tells_parse_from_content(void **state)
{
    vmb_selector *sel = NULL;
    vmb_error *err = NULL;

    (void)state;
    assert_int_equal(vmb_selector_parse("app=", &sel, NULL), VMB_OK);
    vmb_selector_free(sel);
    assert_int_equal(vmb_selector_parse("app==x=", &sel, &err), VMB_E_PARSE);
    assert_null(sel);
    assert_non_null(strstr(vmb_error_message(err), "position 7"));
    vmb_error_free(err);
    assert_int_equal(vmb_selector_from_json("{", 1, &sel, NULL), VMB_E_PARSE);
    assert_int_equal(vmb_selector_from_json("", 0, &sel, NULL), VMB_E_PARSE);
    assert_int_equal(vmb_selector_from_json("[]", 2, &sel, NULL), VMB_E_INVALID);
    assert_int_equal(vmb_selector_from_json("{\"matchLabels\":1}", 17, &sel, NULL), VMB_E_INVALID);
    assert_null(sel);
}

static void selector_document_too_long_is_refused(void **state)
{
    static char doc[1024 * 1024 + 2];
    vmb_selector *sel = NULL;

    (void)state;
    memset(doc, ' ', sizeof(doc));
    memcpy(doc, "{}", 2);
    assert_int_equal(vmb_selector_from_json(doc, sizeof(doc) - 1, &sel, NULL), VMB_E_LIMIT);
    assert_int_equal(vmb_selector_from_json(doc, sizeof(doc) - 2, &sel, NULL), VMB_OK);
    vmb_selector_free(sel);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(selector_call_with_null_is_refused),
        cmocka_unit_test(selector_parsed_matches_and_prints),
        cmocka_unit_test(selector_from_json_or_yaml_is_compiled),
        cmocka_unit_test(selector_malformed_tells_parse_from_content),
        cmocka_unit_test(selector_document_too_long_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
