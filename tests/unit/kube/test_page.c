/* SPDX-License-Identifier: Apache-2.0 */
/* Taking list pages apart, and discovery documents. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/error.h"
#include "kube/discovery.h"
#include "kube/page.h"

typedef struct got {
    vmbi_buf text; /* items, each followed by '|' */
    size_t fail_at;
    size_t n;
} got;

static vmb_code on_item(void *user, const char *json, size_t len, vmb_error **err)
{
    got *g = user;
    if (++g->n == g->fail_at) {
        return vmbi_fail(err, VMB_E_FULL, "full");
    }
    vmbi_buf_add(&g->text, json, len);
    vmbi_buf_addc(&g->text, '|');
    return VMB_OK;
}

static vmb_code split(const char *json, got *g, char token[64])
{
    vmbi_kube_page page = {{NULL, 0}, NULL};
    *g = (got){.text = VMBI_BUF_INIT(4096)};
    vmbi_buf_adds(&g->text, "");
    token[0] = '\0';
    vmb_code rc = vmbi_kube_page_parse(json, strlen(json), "list x", &page, NULL);
    if (rc == VMB_OK) {
        if (page.continue_token != NULL) {
            memcpy(token, page.continue_token, strlen(page.continue_token) + 1);
        }
        rc = vmbi_kube_page_each(&page, "list x", on_item, g, NULL);
    }
    vmbi_kube_page_done(&page);
    return rc;
}

static void page_table_gives_items_and_token(void **state)
{
    static const struct {
        const char *json, *items, *token;
    } table[] = {
        {"{\"kind\":\"PodList\",\"metadata\":{\"resourceVersion\":\"1\"},\"items\":[]}", "", ""},
        {"{\"metadata\":{\"continue\":\"abc\"},\"items\":[{\"a\":1},{\"b\":[{}]}]}",
         "{\"a\":1}|{\"b\":[{}]}|", "abc"},
        /* order of the members and white space do not matter */
        {" {\n\"items\" : [ {\"a\": \"]}\\\"\"} , {} ] , \"metadata\":{ \"continue\" : \"t\" } } ",
         "{\"a\": \"]}\\\"\"}|{}|", "t"},
        /* a Go list without omitempty, and one with it */
        {"{\"kind\":\"PodList\",\"items\":null}", "", ""},
        {"{\"kind\":\"FooList\",\"metadata\":{}}", "", ""},
        {"{\"metadata\":{\"continue\":\"\"},\"items\":[{}]}", "{}|", ""},
        {"{\"metadata\":{\"continue\":null},\"items\":[{}]}", "{}|", ""},
        {"{\"metadata\":null,\"items\":[{}]}", "{}|", ""},
        /* members named like ours inside an item are the item's own */
        {"{\"items\":[{\"items\":[1],\"metadata\":{\"continue\":\"no\"}}],\"metadata\":{}}",
         "{\"items\":[1],\"metadata\":{\"continue\":\"no\"}}|", ""},
        {"{\"metadata\":{\"continue\":\"a\\u002fb\\\"c\"},\"items\":[]}", "", "a/b\"c"},
    };
    (void)state;
    for (size_t i = 0; i < VMBI_ARRAY_LEN(table); i++) {
        got g;
        char token[64];
        assert_int_equal(split(table[i].json, &g, token), VMB_OK);
        assert_string_equal(g.text.data, table[i].items);
        assert_string_equal(token, table[i].token);
        vmbi_buf_free(&g.text);
    }
}

static void page_malformed_is_refused_before_any_item(void **state)
{
    static const char *const table[] = {
        "",
        "{",
        "[]",
        "null",
        "{\"items\":[{\"a\":1},",
        "{\"items\":[{\"a\":1}]",
        "{\"items\":[{\"a\":1}]} x",
        "{\"items\":[{\"a\":1} {\"b\":1}]}",
        "{\"items\":{}}",
        "{\"items\":\"x\"}",
        "{\"kind\":\"Pod\",\"metadata\":{\"name\":\"x\"}}",
        "{\"kind\":\"Status\",\"status\":\"Failure\"}",
        "{\"items\":[],\"metadata\":{\"continue\":17}}",
        "{\"items\":[{\"a\":\"\x01\"}]}",
    };
    (void)state;
    for (size_t i = 0; i < VMBI_ARRAY_LEN(table); i++) {
        got g;
        char token[64];
        if (split(table[i], &g, token) != VMB_E_PROTOCOL) {
            fail_msg("%s was taken", table[i]);
        }
        assert_int_equal(g.n, 0);
        vmbi_buf_free(&g.text);
    }
}

static void page_item_of_other_type_ends_the_list(void **state)
{
    got g;
    char token[64];
    (void)state;
    assert_int_equal(split("{\"items\":[{},null,{}]}", &g, token), VMB_E_PROTOCOL);
    assert_int_equal(g.n, 1);
    vmbi_buf_free(&g.text);
}

static void page_every_cut_is_refused(void **state)
{
    static const char whole[] = "{\"kind\":\"L\",\"metadata\":{\"continue\":\"x\\n\"},\"items\":["
                                "{\"a\":[1,-2.5e3,true]},{\"b\":\"\\u00e9\"}]}";
    (void)state;
    for (size_t n = 0; n < sizeof(whole) - 1; n++) {
        vmbi_kube_page page = {{NULL, 0}, NULL};
        assert_int_equal(vmbi_kube_page_parse(whole, n, "x", &page, NULL), VMB_E_PROTOCOL);
    }
}

static void page_receiver_failure_ends_with_its_code(void **state)
{
    static const char json[] = "{\"items\":[{},{},{}]}";
    vmbi_kube_page page = {{NULL, 0}, NULL};
    got g = {.text = VMBI_BUF_INIT(64), .fail_at = 2};
    vmb_error *err = NULL;
    (void)state;
    assert_int_equal(vmbi_kube_page_parse(json, sizeof(json) - 1, "x", &page, NULL), VMB_OK);
    assert_int_equal(vmbi_kube_page_each(&page, "x", on_item, &g, &err), VMB_E_FULL);
    assert_string_equal(vmb_error_message(err), "full");
    assert_int_equal(g.n, 2);
    vmb_error_free(err);
    vmbi_kube_page_done(&page);
    vmbi_buf_free(&g.text);
}

static void page_huge_token_is_a_limit(void **state)
{
    vmbi_buf b = VMBI_BUF_INIT(1 << 20);
    vmbi_kube_page page = {{NULL, 0}, NULL};
    (void)state;
    vmbi_buf_adds(&b, "{\"items\":[],\"metadata\":{\"continue\":\"");
    for (int i = 0; i < 40000; i++) {
        vmbi_buf_addc(&b, 'x');
    }
    vmbi_buf_adds(&b, "\"}}");
    assert_int_equal(vmbi_kube_page_parse(b.data, b.len, "x", &page, NULL), VMB_E_LIMIT);
    vmbi_buf_free(&b);
}

/* ---- discovery ------------------------------------------------------------------------------- */

static vmbi_json *parse(const char *text)
{
    vmbi_json *v = NULL;
    assert_int_equal(vmbi_json_parse(text, strlen(text), "test", &v, NULL), VMB_OK);
    return v;
}

static void assert_prints(const vmbi_json *v, const char *text)
{
    vmbi_buf b = VMBI_BUF_INIT(65536);
    assert_int_equal(vmbi_json_print(v, &b, NULL), VMB_OK);
    assert_string_equal(b.data, text);
    vmbi_buf_free(&b);
}

static void discovery_aggregated_becomes_our_form(void **state)
{
    vmbi_json *doc = parse(
        "{\"kind\":\"APIGroupDiscoveryList\",\"items\":["
        "{\"metadata\":{},\"versions\":[{\"version\":\"v1\",\"freshness\":\"Current\","
        "\"resources\":[{\"resource\":\"pods\",\"responseKind\":{\"group\":\"\",\"version\":"
        "\"v1\",\"kind\":\"Pod\"},\"scope\":\"Namespaced\",\"singularResource\":\"pod\","
        "\"shortNames\":[\"po\"],\"verbs\":[\"get\",\"list\"],\"subresources\":[{\"subresource\":"
        "\"exec\"}]},{\"resource\":\"onlysub\",\"responseKind\":{\"group\":\"\",\"version\":\"\","
        "\"kind\":\"\"},\"scope\":\"Namespaced\",\"verbs\":null}]}]},"
        "{\"metadata\":{\"name\":\"x.io\"},\"versions\":[{\"version\":\"v2\",\"freshness\":"
        "\"Stale\",\"resources\":[]},{\"version\":\"v1\",\"resources\":[{\"resource\":\"foos\","
        "\"responseKind\":{\"kind\":\"Foo\"},\"scope\":\"Cluster\",\"verbs\":[\"list\"]}]}]},"
        "{\"metadata\":{\"name\":\"dead.io\"},\"versions\":[{\"version\":\"v1\",\"freshness\":"
        "\"Stale\"}]}]}");
    vmbi_json *groups = vmbi_json_array();
    vmbi_json *warnings = vmbi_json_array();
    (void)state;
    assert_true(vmbi_kube_discovery_add_aggregated(doc, groups, warnings));
    assert_prints(groups,
                  "[{\"group\":\"\",\"preferredVersion\":\"v1\",\"versions\":[{\"resources\":[{"
                  "\"kind\":\"Pod\",\"name\":\"pods\",\"namespaced\":true,\"shortNames\":[\"po\"],"
                  "\"singularName\":\"pod\",\"verbs\":[\"get\",\"list\"]}],\"version\":\"v1\"}]},"
                  "{\"group\":\"x.io\",\"preferredVersion\":\"v1\",\"versions\":[{\"resources\":[{"
                  "\"kind\":\"Foo\",\"name\":\"foos\",\"namespaced\":false,\"shortNames\":[],"
                  "\"singularName\":\"\",\"verbs\":[\"list\"]}],\"version\":\"v1\"}]}]");
    assert_int_equal(vmbi_json_len(warnings), 2);
    assert_non_null(strstr(vmbi_json_str(vmbi_json_at(warnings, 0)), "x.io/v2"));
    assert_non_null(strstr(vmbi_json_str(vmbi_json_at(warnings, 1)), "dead.io/v1"));
    vmbi_json_free(doc);
    vmbi_json_free(groups);
    vmbi_json_free(warnings);
}

static void discovery_legacy_leaves_subresources_out(void **state)
{
    vmbi_json *doc = parse(
        "{\"kind\":\"APIResourceList\",\"groupVersion\":\"apps/v1\",\"resources\":["
        "{\"name\":\"deployments\",\"singularName\":\"deployment\",\"namespaced\":true,"
        "\"kind\":\"Deployment\",\"verbs\":[\"list\"],\"shortNames\":[\"deploy\"]},"
        "{\"name\":\"deployments/scale\",\"singularName\":\"\",\"namespaced\":true,"
        "\"kind\":\"Scale\",\"verbs\":[\"get\"]}]}");
    vmbi_json *version = vmbi_kube_discovery_version(doc, "v1");
    (void)state;
    assert_prints(version,
                  "{\"resources\":[{\"kind\":\"Deployment\",\"name\":\"deployments\","
                  "\"namespaced\":true,\"shortNames\":[\"deploy\"],\"singularName\":"
                  "\"deployment\",\"verbs\":[\"list\"]}],\"version\":\"v1\"}");
    vmbi_json_free(version);
    vmbi_json_free(doc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(page_table_gives_items_and_token),
        cmocka_unit_test(page_malformed_is_refused_before_any_item),
        cmocka_unit_test(page_item_of_other_type_ends_the_list),
        cmocka_unit_test(page_every_cut_is_refused),
        cmocka_unit_test(page_receiver_failure_ends_with_its_code),
        cmocka_unit_test(page_huge_token_is_a_limit),
        cmocka_unit_test(discovery_aggregated_becomes_our_form),
        cmocka_unit_test(discovery_legacy_leaves_subresources_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
