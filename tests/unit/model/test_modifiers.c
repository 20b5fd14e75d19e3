/* SPDX-License-Identifier: Apache-2.0 */
/* Resource modifiers: the cases of Velero's and Kubernetes' documentation. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "model/modifiers.h"
#include "model/strategic.h"

#define RULES "version: v1\nresourceModifierRules:\n"

#define DEPLOYMENT                                                                                 \
    "{\"apiVersion\":\"apps/"                                                                      \
    "v1\",\"kind\":\"Deployment\",\"metadata\":{\"labels\":{\"app\":\"web\"},"                     \
    "\"name\":\"web\",\"namespace\":\"shop\"},\"spec\":{\"replicas\":1,\"template\":{\"spec\":{"   \
    "\"containers\":[{\"image\":\"nginx\",\"name\":\"nginx\"},{\"image\":\"busybox\",\"name\":"    \
    "\"side\"}],\"tolerations\":[{\"key\":\"a\"}]}}}}"

/* Applies rules to an object; the result is owned text, and problems tells how many rules failed.
 */
static char *apply(const char *rules, const char *group_resource, const char *json,
                   size_t *problems)
{
    vmbi_modifiers *m = NULL;
    vmbi_json *obj = NULL;
    vmbi_strs lines = {0};
    vmb_error *err = NULL;
    char *text = NULL;

    if (vmbi_modifiers_parse(rules, strlen(rules), "rules", &m, &err) != VMB_OK) {
        fail_msg("%s", vmb_error_message(err));
    }
    assert_int_equal(vmbi_json_parse(json, strlen(json), "object", &obj, NULL), VMB_OK);
    assert_int_equal(vmbi_modifiers_apply(m, group_resource, &obj, &lines, NULL), VMB_OK);
    assert_int_equal(vmbi_json_to_text(obj, &text, NULL, NULL), VMB_OK);
    *problems = lines.n;
    vmbi_strs_free(&lines);
    vmbi_json_free(obj);
    vmbi_modifiers_free(m);
    return text;
}

static void expect(const char *rules, const char *group_resource, const char *part, bool there,
                   size_t problems)
{
    size_t n = 0;
    char *text = apply(rules, group_resource, DEPLOYMENT, &n);

    if ((strstr(text, part) != NULL) != there || n != problems) {
        fail_msg("%s: \"%s\" %s in %s, %zu problems", rules, part, there ? "missing" : "found",
                 text, n);
    }
    vmbi_free(text);
}

#define ON(cond, patches) RULES "- conditions: {" cond "}\n" patches
#define REPLICAS "  patches:\n  - {operation: replace, path: /spec/replicas, value: \"3\"}\n"

static void rule_conditions_are_all_needed(void **state)
{
    (void)state;
    expect(ON("groupResource: deployments.apps", REPLICAS), "deployments.apps", "\"replicas\":3",
           true, 0);
    expect(ON("groupResource: \"*.apps\"", REPLICAS), "deployments.apps", "\"replicas\":3", true,
           0);
    /* '*' stops at '.' */
    expect(ON("groupResource: \"*\"", REPLICAS), "deployments.apps", "\"replicas\":3", false, 0);
    expect(ON("groupResource: \"**\"", REPLICAS), "deployments.apps", "\"replicas\":3", true, 0);
    expect(ON("groupResource: \"{pods,deployments.apps}\"", REPLICAS), "deployments.apps",
           "\"replicas\":3", true, 0);
    expect(ON("groupResource: deployments.apps, namespaces: [other]", REPLICAS), "deployments.apps",
           "\"replicas\":3", false, 0);
    expect(ON("groupResource: deployments.apps, resourceNameRegex: \"^w.b$\"", REPLICAS),
           "deployments.apps", "\"replicas\":3", true, 0);
    expect(ON("groupResource: deployments.apps, resourceNameRegex: \"^\\\\d+$\"", REPLICAS),
           "deployments.apps", "\"replicas\":3", false, 0);
    expect(ON("groupResource: deployments.apps, labelSelector: {matchLabels: {app: db}}", REPLICAS),
           "deployments.apps", "\"replicas\":3", false, 0);
    expect(ON("groupResource: deployments.apps, matches: [{path: /spec/replicas, value: \"1\"}]",
              REPLICAS),
           "deployments.apps", "\"replicas\":3", true, 0);
    expect(ON("groupResource: deployments.apps, matches: [{path: /spec/none, value: \"1\"}]",
              REPLICAS),
           "deployments.apps", "\"replicas\":3", false, 0);
}

static void rules_see_the_object_as_it_came(void **state)
{
    (void)state;
    expect(RULES "- conditions: {groupResource: deployments.apps}\n" REPLICAS
                 "- conditions: {groupResource: deployments.apps, matches: [{path: /spec/replicas, "
                 "value: \"1\"}]}\n"
                 "  mergePatches:\n  - patchData: '{\"spec\":{\"paused\":true}}'\n",
           "deployments.apps", "\"paused\":true,\"replicas\":3", true, 0);
}

#define PATCHES(ops) ON("groupResource: deployments.apps", "  patches:\n" ops)

static void json_patch_operations(void **state)
{
    (void)state;
    expect(PATCHES("  - {operation: add, path: /metadata/labels/new, value: yes it is}\n"),
           "deployments.apps", "\"new\":\"yes it is\"", true, 0);
    expect(PATCHES("  - {operation: add, path: /metadata/labels/n, value: '\"5\"'}\n"),
           "deployments.apps", "\"n\":\"5\"", true, 0);
    expect(PATCHES("  - {operation: add, path: /spec/template/spec/tolerations/0, value: "
                   "'{\"key\":\"first\"}'}\n"),
           "deployments.apps", "\"tolerations\":[{\"key\":\"first\"},{\"key\":\"a\"}]", true, 0);
    expect(PATCHES("  - {operation: add, path: /spec/template/spec/tolerations/-, value: "
                   "'{\"key\":\"last\"}'}\n"),
           "deployments.apps", "[{\"key\":\"a\"},{\"key\":\"last\"}]", true, 0);
    expect(PATCHES("  - {operation: remove, path: /spec/template/spec/containers/0}\n"),
           "deployments.apps", "nginx", false, 0);
    expect(PATCHES("  - {operation: copy, from: /metadata/name, path: /metadata/labels/copy}\n"),
           "deployments.apps", "\"copy\":\"web\"", true, 0);
    expect(PATCHES("  - {operation: move, from: /metadata/labels/app, path: /metadata/labels/b}\n"),
           "deployments.apps", "\"labels\":{\"b\":\"web\"}", true, 0);
    expect(PATCHES("  - {operation: add, path: /metadata/labels/a~1b, value: c}\n"),
           "deployments.apps", "\"a/b\":\"c\"", true, 0);
    /* a failed test leaves the object, without an error; other failures are errors */
    expect(PATCHES("  - {operation: test, path: /spec/replicas, value: \"7\"}\n"
                   "  - {operation: replace, path: /spec/replicas, value: \"3\"}\n"),
           "deployments.apps", "\"replicas\":1", true, 0);
    expect(PATCHES("  - {operation: replace, path: /spec/replicas, value: \"3\"}\n"
                   "  - {operation: remove, path: /spec/none}\n"),
           "deployments.apps", "\"replicas\":1", true, 1);
    expect(PATCHES("  - {operation: add, path: /spec/none/deep, value: x}\n"), "deployments.apps",
           "none", false, 1);
}

static void merge_patch_removes_with_null(void **state)
{
    (void)state;
    expect(ON("groupResource: deployments.apps",
              "  mergePatches:\n  - patchData: |\n      metadata:\n        labels: {app: null, x: "
              "\"1\"}\n"),
           "deployments.apps", "\"labels\":{\"x\":\"1\"}", true, 0);
}

#define STRATEGIC(yaml)                                                                            \
    ON("groupResource: deployments.apps", "  strategicPatches:\n  - patchData: |\n" yaml)

static void strategic_merge_follows_merge_keys(void **state)
{
    (void)state;
    /* an element with the key is merged in its place, a new one comes first */
    expect(STRATEGIC("      spec: {template: {spec: {containers: [{name: side, image: b2}]}}}\n"),
           "deployments.apps",
           "[{\"image\":\"nginx\",\"name\":\"nginx\"},{\"image\":\"b2\",\"name\":\"side\"}]", true,
           0);
    expect(STRATEGIC("      spec: {template: {spec: {containers: [{name: new, image: nn}]}}}\n"),
           "deployments.apps", "\"containers\":[{\"image\":\"nn\",\"name\":\"new\"},", true, 0);
    expect(STRATEGIC("      spec: {template: {spec: {containers: [{name: side, $patch: "
                     "delete}]}}}\n"),
           "deployments.apps", "\"containers\":[{\"image\":\"nginx\",\"name\":\"nginx\"}]", true,
           0);
    expect(STRATEGIC("      spec: {template: {spec: {containers: [{$patch: replace}, {name: only, "
                     "image: oo}]}}}\n"),
           "deployments.apps", "\"containers\":[{\"image\":\"oo\",\"name\":\"only\"}]", true, 0);
    /* tolerations have no merge key: the list is replaced */
    expect(STRATEGIC("      spec: {template: {spec: {tolerations: [{key: b}]}}}\n"),
           "deployments.apps", "\"tolerations\":[{\"key\":\"b\"}]", true, 0);
    expect(STRATEGIC("      spec: {replicas: null}\n"), "deployments.apps", "replicas", false, 0);
    expect(STRATEGIC("      metadata: {finalizers: [a]}\n"), "deployments.apps",
           "\"finalizers\":[\"a\"]", true, 0);
    expect(STRATEGIC("      spec: {template: {spec: {containers: [{image: nameless}]}}}\n"),
           "deployments.apps", "nameless", false, 1);
}

/* The key of a port is its number, whatever its protocol. */
static void strategic_merge_keeps_elements_that_share_a_key(void **state)
{
    size_t n = 0;
    char *text = apply(ON("groupResource: services", "  strategicPatches:\n  - patchData: |\n"
                          "      spec: {ports: [{port: 53, name: dns}, {port: 80}]}\n"),
                       "services",
                       "{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"name\":\"s\"},"
                       "\"spec\":{\"ports\":[{\"port\":53,\"protocol\":\"TCP\"},"
                       "{\"port\":53,\"protocol\":\"UDP\"}]}}", &n);

    (void)state;
    assert_int_equal(n, 0);
    assert_non_null(strstr(text, "[{\"name\":\"dns\",\"port\":53,\"protocol\":\"TCP\"},"
                                 "{\"port\":53,\"protocol\":\"UDP\"},{\"port\":80}]"));
    vmbi_free(text);
}

static void strategic_merge_of_unknown_kind_fails(void **state)
{
    size_t n = 0;
    char *text = apply(ON("groupResource: gears.example.com",
                          "  strategicPatches:\n  - patchData: '{\"spec\":{\"a\":1}}'\n"),
                       "gears.example.com",
                       "{\"apiVersion\":\"example.com/v1\",\"kind\":\"Gear\",\"metadata\":{}}", &n);

    (void)state;
    assert_int_equal(n, 1);
    assert_null(strstr(text, "spec"));
    vmbi_free(text);
}

static void strategic_tables_are_consistent(void **state)
{
    (void)state;
    for (size_t i = 1; i < vmbi_strategic_fields_len; i++) {
        const vmbi_strategic_field *a = &vmbi_strategic_fields[i - 1];
        const vmbi_strategic_field *b = &vmbi_strategic_fields[i];
        int c = strcmp(a->type, b->type);

        assert_true(c < 0 || (c == 0 && strcmp(a->field, b->field) < 0));
    }
}

/* ---- documents ----------------------------------------------------------------------------- */

static const struct {
    const char *doc;
    const char *message;
} bad[] = {
    {"version: v2\nresourceModifierRules: []\n", "unsupported resource modifier version v2"},
    {"version: v1\nresourceModifierRules: []\n", "cannot be empty"},
    {"resourceModifierRules: []\n", "version: is missing"},
    {RULES "- conditions: {}\n" REPLICAS, "resourceModifierRules[0].conditions.groupResource"},
    {RULES "- conditions: {groupResource: pods}\n", "no patch data found"},
    {RULES "- conditions: {groupResource: pods}\n" REPLICAS "  mergePatches: [{patchData: '{}'}]\n",
     "only one of patches"},
    {RULES "- conditions: {groupResource: pods}\n  patches:\n  - {operation: set, path: /a}\n",
     "resourceModifierRules[0].patches[0]: unsupported operation set"},
    {RULES "- conditions: {groupResource: pods}\n  patches:\n  - {operation: add, path: /a, value: "
           "3}\n",
     "put it in quotes"},
    {RULES "- conditions: {groupResource: pods, nameSpaces: [a]}\n" REPLICAS,
     "did you mean namespaces"},
    {RULES "- conditions: {groupResource: pods, resourceNameRegex: '('}\n" REPLICAS,
     "no regular expression"},
    {RULES "- conditions: {groupResource: pods, labelSelector: {matchLabels: 3}}\n" REPLICAS,
     "labelSelector"},
    {"[]", "must be an object"},
};

static void document_problems_are_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < VMBI_ARRAY_LEN(bad); i++) {
        vmbi_modifiers *m = NULL;
        vmb_error *err = NULL;

        assert_int_equal(vmbi_modifiers_parse(bad[i].doc, strlen(bad[i].doc), "rules", &m, &err),
                         VMB_E_INVALID);
        if (strstr(vmb_error_message(err), bad[i].message) == NULL) {
            fail_msg("case %zu: %s", i, vmb_error_message(err));
        }
        assert_null(m);
        vmb_error_free(err);
    }
}

static void rules_out_of_memory_leave_nothing(void **state)
{
    static const char doc[] = RULES "- conditions: {groupResource: \"**\", namespaces: [shop], "
                                    "labelSelector: {matchLabels: {app: web}}}\n" REPLICAS
                                    "- conditions: {groupResource: \"**\"}\n  strategicPatches:\n"
                                    "  - patchData: '{\"spec\":{\"template\":{\"spec\":{"
                                    "\"containers\":[{\"name\":\"n\"}]}}}}'\n";
    vmb_code code = VMB_E_NOMEM;

    (void)state;
    for (uint64_t n = 1; code != VMB_OK && n < 20000; n++) {
        vmbi_modifiers *m = NULL;
        vmbi_json *obj = NULL;
        vmbi_strs lines = {0};

        assert_int_equal(vmbi_json_parse(DEPLOYMENT, sizeof(DEPLOYMENT) - 1, "o", &obj, NULL),
                         VMB_OK);
        vmbi_alloc_fail_from(n);
        code = vmbi_modifiers_parse(doc, sizeof(doc) - 1, "rules", &m, NULL);
        if (code == VMB_OK) {
            code = vmbi_modifiers_apply(m, "deployments.apps", &obj, &lines, NULL);
        }
        vmbi_alloc_fail_from(0);
        assert_true(code == VMB_OK || code == VMB_E_NOMEM);
        vmbi_modifiers_free(m);
        vmbi_strs_free(&lines);
        vmbi_json_free(obj);
    }
    assert_int_equal(code, VMB_OK);
}

/* Each copy of the document into itself doubles it. */
static void copies_without_end_are_a_problem(void **state)
{
    static const char head[] = ON("groupResource: deployments.apps", "  patches:\n");
    char rules[8192];
    size_t used = sizeof(head) - 1;

    (void)state;
    memcpy(rules, head, used);
    for (int i = 0; i < 60; i++) {
        used += (size_t)snprintf(rules + used, sizeof(rules) - used,
                                 "  - {operation: copy, from: \"\", path: /more%d}\n", i);
    }
    expect(rules, "deployments.apps", "more0", false, 1); /* the rule as a whole does not apply */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rule_conditions_are_all_needed),
        cmocka_unit_test(rules_see_the_object_as_it_came),
        cmocka_unit_test(json_patch_operations),
        cmocka_unit_test(merge_patch_removes_with_null),
        cmocka_unit_test(strategic_merge_follows_merge_keys),
        cmocka_unit_test(strategic_merge_keeps_elements_that_share_a_key),
        cmocka_unit_test(strategic_merge_of_unknown_kind_fails),
        cmocka_unit_test(strategic_tables_are_consistent),
        cmocka_unit_test(document_problems_are_named),
        cmocka_unit_test(rules_out_of_memory_leave_nothing),
        cmocka_unit_test(copies_without_end_are_a_problem),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
