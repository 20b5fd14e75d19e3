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


static void assert_yaml(const char *json, const char *want)
{
    vmbi_json *v = parse(json);
    vmbi_json *back = NULL;
    vmbi_buf out = VMBI_BUF_INIT(100000);
    vmb_error *err = NULL;

    assert_int_equal(vmbi_yaml_print(v, &out, NULL), VMB_OK);
    if (want != NULL) {
        assert_string_equal(out.data, want);
    }
    vmbi_buf line = VMBI_BUF_INIT(200000);
    vmbi_buf_adds(&line, "---\n"); /* so that it is YAML whatever it begins with */
    vmbi_buf_add(&line, out.data, out.len);
    if (vmbi_doc_parse(line.data, line.len, "t", NULL, &back, NULL, &err) != VMB_OK) {
        fail_msg("%s gave %s: %s", json, out.data, vmb_error_message(err));
    }
    if (!vmbi_json_equal(v, back)) {
        fail_msg("%s gave %s", json, out.data);
    }
    vmbi_buf_free(&line);
    vmbi_buf_free(&out);
    vmbi_json_free(back);
    vmbi_json_free(v);
}

static void yaml_print_is_kubectls(void **state)
{
    (void)state;
    assert_yaml(
        "{\"kind\":\"Backup\",\"apiVersion\":\"velero.io/"
        "v1\",\"spec\":{\"list\":[\"a\",{\"y1\":1,\"x\":[2,[3]]"
        "}],\"e\":{},\"f\":[],\"n\":null,\"t\":true,\"r\":1.5},\"metadata\":{\"name\":\"b\"}}",
        "apiVersion: velero.io/v1\nkind: Backup\nmetadata:\n  name: b\nspec:\n  e: {}\n  f: []\n  "
        "list:\n"
        "  - a\n  - x:\n    - 2\n    - - 3\n    y1: 1\n  \"n\": null\n  r: 1.5\n  t: true\n");
    assert_yaml("[[1,[2,3]],[],{}]", "- - 1\n  - - 2\n    - 3\n- []\n- {}\n");
    assert_yaml("{\"a\":\"x\\ny\\n\",\"b\":\"x\\n\\ny\",\"c\":\"x\\n\\n\",\"d\":[\"p\\nq\"]}",
                "a: |\n  x\n  y\nb: |-\n  x\n\n  y\nc: |+\n  x\n\nd:\n- |-\n  p\n  q\n");
}

static void yaml_print_strings_stay_strings(void **state)
{
    static const char *const cases[] = {"",
                                        "true",
                                        "yes",
                                        "y",
                                        "null",
                                        "~",
                                        "1",
                                        "012",
                                        "0x1f",
                                        "1e3",
                                        "1.5",
                                        ".5",
                                        ".inf",
                                        "1_000",
                                        "1:30",
                                        "2001-01-01",
                                        "2026-05-20T08:00:22Z",
                                        " a",
                                        "a ",
                                        "a: b",
                                        "a:",
                                        ":a",
                                        "a #b",
                                        "#a",
                                        "- a",
                                        "-",
                                        "--- a",
                                        "...",
                                        "? a",
                                        "[a]",
                                        "{a}",
                                        "*a",
                                        "&a",
                                        "!a",
                                        "|",
                                        ">",
                                        "%a",
                                        "@a",
                                        "`a`",
                                        "'a'",
                                        "a'b",
                                        "<<",
                                        "=",
                                        ",a",
                                        "a, b",
                                        "a\\nb",
                                        "\\na",
                                        " a\\nb",
                                        "a \\nb",
                                        "a\\tb",
                                        "\\u0001",
                                        "\\u007f",
                                        "\\u0085",
                                        "\\u2028x",
                                        "\\ufeff",
                                        "\\ufffd",
                                        "\xc3\xa4",
                                        "\\ud83d\\ude00",
                                        "\\\"q\\\"",
                                        "back\\\\slash",
                                        "a\\r\\nb",
                                        "\\n",
                                        "\\n\\n",
                                        "x\\n\\n\\n",
                                        "x\\n y\\n",
                                        "http://a:80/b?c=d&e",
                                        "[]",
                                        "{}",
                                        "-1",
                                        "+1",
                                        "a\\n...\\nb",
                                        "---",
                                        "1 2",
                                        "null ",
                                        "\\u00a0",
                                        "key: |",
                                        "\\u0000x"};

    (void)state;
    for (size_t i = 0; i < VMBI_ARRAY_LEN(cases) - 1; i++) {
        vmbi_buf json = VMBI_BUF_INIT(1000);

        vmbi_buf_addf(&json, "{\"v\":\"%s\",\"%s\":[\"%s\",{\"k%s\":[\"%s\"]}]}", cases[i],
                      strcmp(cases[i], "v") == 0 ? "w" : cases[i], cases[i], cases[i], cases[i]);
        assert_yaml(json.data, NULL);
        vmbi_buf_reset(&json);
        vmbi_buf_addf(&json, "[\"%s\"]", cases[i]);
        assert_yaml(json.data, NULL);
        vmbi_buf_free(&json);
    }
    vmbi_json *s = vmbi_json_string("a\nb");
    vmbi_buf out = VMBI_BUF_INIT(100);
    assert_int_equal(vmbi_yaml_print(s, &out, NULL), VMB_OK);
    assert_string_equal(out.data, "|-\n  a\n  b\n");
    vmbi_buf_free(&out);
    vmbi_json_free(s);
}

static void yaml_print_limits_are_kept(void **state)
{
    vmbi_json *v = vmbi_json_array();
    vmbi_json *inner = v;
    vmbi_buf out = VMBI_BUF_INIT(100);

    (void)state;
    for (int i = 0; i < 600; i++) {
        vmbi_json *next = vmbi_json_array();

        assert_true(vmbi_json_append(inner, next));
        inner = next;
    }
    assert_int_equal(vmbi_yaml_print(v, &out, NULL), VMB_E_LIMIT);
    vmbi_buf_free(&out);
    vmbi_json_free(v);
}

/* Fails each allocation of ours in turn; libyaml has its own. */
static void yaml_print_out_of_memory_is_reported(void **state)
{
    vmbi_json *v = parse("{\"a\":{\"b\":[1.5,\"x\"]}}");
    bool done = false;

    (void)state;
    for (uint64_t n = 1; !done; n++) {
        vmbi_buf out = VMBI_BUF_INIT(1000);
        vmb_error *err = NULL;
        vmb_code code;

        vmbi_alloc_fail_from(n);
        code = vmbi_yaml_print(v, &out, &err);
        done = vmbi_alloc_count() < n;
        vmbi_alloc_fail_from(0);
        assert_int_equal(code, done ? VMB_OK : VMB_E_NOMEM);
        vmb_error_free(err);
        vmbi_buf_free(&out);
        assert_in_range(n, 1, 100);
    }
    vmbi_json_free(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(yaml_print_is_kubectls),
        cmocka_unit_test(yaml_print_strings_stay_strings),
        cmocka_unit_test(yaml_print_limits_are_kept),
        cmocka_unit_test(yaml_print_out_of_memory_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
