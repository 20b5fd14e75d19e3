/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/alloc.h"
#include "cluster.h"
#include "model/fields.h"
#include "model/restore.h"
#include "model/restore_filter.h"

#define HEAD "apiVersion: velero.io/v1\nkind: Restore\nmetadata:\n  name: r1\nspec:\n" /* 5 lines  \
                                                                                        */

static vmb_spec *parse(const char *doc)
{
    vmb_spec *spec = NULL;
    vmb_error *err = NULL;

    if (vmbi_spec_parse(doc, strlen(doc), "test", &spec, &err) != VMB_OK) {
        fail_msg("%s", vmb_error_message(err));
    }
    return spec;
}

static void spec_of_kind_restore_has_its_own_fields(void **state)
{
    vmb_spec *spec = parse(HEAD "  backupName: b1\n  namespaceMapping: {a: b}\n");
    const vmbi_json *v = NULL;
    vmb_error *err = NULL;

    (void)state;
    assert_string_equal(vmbi_spec_kind(spec), "Restore");
    assert_int_equal(vmbi_spec_get(spec, "spec.namespaceMapping.a", &v, NULL), VMB_OK);
    assert_string_equal(vmbi_json_str(v), "b");
    assert_int_equal(vmbi_spec_get(spec, "spec.ttl", &v, &err), VMB_E_ARG);
    assert_non_null(strstr(vmb_error_message(err), "\"ttl\" is unknown"));
    vmb_error_free(err);
    vmbi_spec_free(spec);
}

static void spec_without_kind_is_a_backup(void **state)
{
    vmb_spec *spec = parse("metadata: {name: x}\n");

    (void)state;
    assert_string_equal(vmbi_spec_kind(spec), "Backup");
    assert_ptr_equal(vmbi_spec_fields(spec), &vmbi_backup_fields);
    vmbi_spec_free(spec);
}

static void restore_created_names_its_backup(void **state)
{
    vmb_spec *spec = NULL;
    vmbi_problems p = {0};

    (void)state;
    assert_int_equal(vmbi_spec_new_restore("r1", "b1", &spec, NULL), VMB_OK);
    assert_string_equal(vmbi_json_path_str(spec->root, "spec.backupName"), "b1");
    assert_int_equal(vmbi_spec_validate(spec, &p, NULL), VMB_OK);
    assert_int_equal(p.errors, 0);
    vmbi_problems_free(&p);
    vmbi_spec_free(spec);
}

static const struct {
    const char *doc;
    const char *field; /* NULL: no error */
    int line;
    const char *message;
} cases[] = {
    {HEAD "  backupName: b1\n", NULL, 0, NULL},
    {HEAD "  scheduleName: s1\n", NULL, 0, NULL},
    {HEAD "  restorePVs: true\n", "spec.backupName", 0, "neither a backup nor a schedule"},
    {HEAD "  backupName: b1\n  scheduleName: s1\n", "spec.scheduleName", 7, "together"},
    {HEAD "  backupName: b1\n  ttl: 1h\n", "spec.ttl", 7, "no field that Velero 1.18 knows"},
    {HEAD "  backupName: b1\n  existingResourcePolicy: recreate\n", "spec.existingResourcePolicy",
     7, "neither none nor update"},
    {HEAD "  backupName: b1\n  existingResourcePolicy: update\n", NULL, 0, NULL},
    {HEAD "  backupName: b1\n  includedResources: [pods, nodes]\n", "spec.includedResources[1]", 7,
     "never restored"},
    {HEAD "  backupName: b1\n  namespaceMapping:\n    a: B_c\n", "spec.namespaceMapping.a", 8,
     "no name of a namespace"},
    {HEAD "  backupName: b1\n  labelSelector: {matchLabels: {a: b}}\n  orLabelSelectors:\n"
          "  - {matchLabels: {a: b}}\n",
     "spec.orLabelSelectors", 8, "together"},
    {HEAD "  backupName: b1\n  resourceModifier: {kind: secret, name: x}\n",
     "spec.resourceModifier.kind", 7, "not the kind of a resource modifier"},
    {HEAD "  backupName: b1\n  hooks:\n    resources:\n    - name: h\n      postHooks:\n"
          "      - init:\n          initContainers:\n          - name: c\n            image: i\n",
     "spec.hooks.resources[0].postHooks[0].init.initContainers[0].command", 0, "missing"},
    {HEAD "  backupName: b1\n  hooks:\n    resources:\n    - name: h\n      postHooks:\n"
          "      - exec: {command: [ls], waitTimeout: 5, onError: Fail}\n",
     "spec.hooks.resources[0].postHooks[0].exec.waitTimeout", 11, "duration"},
    {HEAD "  backupName: b1\n  includedNamespaces: [a]\n  excludedNamespaces: [a]\n",
     "spec.excludedNamespaces[0]", 8, "also in includedNamespaces"},
};

static void restore_validation_names_field_and_line(void **state)
{
    (void)state;
    for (size_t i = 0; i < VMBI_ARRAY_LEN(cases); i++) {
        vmb_spec *spec = parse(cases[i].doc);
        vmbi_problems p = {0};
        const vmbi_problem *found = NULL;

        assert_int_equal(vmbi_spec_validate(spec, &p, NULL), VMB_OK);
        for (size_t k = 0; k < p.n && cases[i].field != NULL && found == NULL; k++) {
            found = strcmp(p.v[k].field, cases[i].field) == 0 ? &p.v[k] : NULL;
        }
        if (cases[i].field == NULL ? p.errors != 0 : found == NULL || !found->is_error) {
            fail_msg("case %zu: %zu errors, first %s: %s", i, p.errors, p.n ? p.v[0].field : "",
                     p.n ? p.v[0].message : "");
        }
        if (found != NULL) {
            assert_non_null(strstr(found->message, cases[i].message));
            assert_true(cases[i].line == 0 || found->line == cases[i].line);
        }
        vmbi_problems_free(&p);
        vmbi_spec_free(spec);
    }
}

static void restore_defaults_exclude_what_is_never_restored(void **state)
{
    vmb_spec *spec = parse(HEAD "  backupName: b1\n  excludedResources: [nodes, secrets]\n"
                                "status: {phase: New}\n");
    vmbi_json *r = NULL;

    (void)state;
    assert_int_equal(vmbi_restore_defaulted(spec->root, &r, NULL), VMB_OK);
    const vmbi_json *list = vmbi_json_path(r, "spec.excludedResources");
    assert_int_equal(vmbi_json_len(list), 10); /* nodes stands there once */
    assert_string_equal(vmbi_json_path_str(r, "spec.itemOperationTimeout"), "4h0m0s");
    assert_null(vmbi_json_get(r, "status"));
    vmbi_json_free(r);
    vmbi_spec_free(spec);
}

/* ---- filter -------------------------------------------------------------------------------- */

static vmbi_restore_filter *filter(const char *spec_json, vmbi_json **tree, vmbi_discovery **d)
{
    static const char *const names[] = {"gears.tools.example.com", "pods"};
    vmbi_restore_filter *f = NULL;
    vmbi_strs present = {0};

    *d = NULL;
    assert_int_equal(
        vmbi_discovery_parse(cluster_discovery, sizeof(cluster_discovery) - 1, d, NULL), VMB_OK);
    for (size_t i = 0; i < VMBI_ARRAY_LEN(names); i++) {
        assert_int_equal(vmbi_strs_add(&present, names[i], NULL), VMB_OK);
    }
    assert_int_equal(vmbi_json_parse(spec_json, strlen(spec_json), "spec", tree, NULL), VMB_OK);
    assert_int_equal(vmbi_restore_filter_new(*tree, *d, &present, &f, NULL), VMB_OK);
    vmbi_strs_free(&present);
    return f;
}

#define WITH(json, body)                                                                           \
    do {                                                                                           \
        vmbi_json *tree;                                                                           \
        vmbi_discovery *d;                                                                         \
        vmbi_restore_filter *f = filter(json, &tree, &d);                                          \
        body;                                                                                      \
        vmbi_restore_filter_free(f);                                                               \
        vmbi_discovery_free(d);                                                                    \
        vmbi_json_free(tree);                                                                      \
    } while (0)

static void filter_scopes_follow_velero(void **state)
{
    (void)state;
    WITH("{\"includedNamespaces\":[\"*\"]}", assert_true(vmbi_restore_wants_cluster_scope(f)));
    WITH("{\"includedNamespaces\":[\"a\"]}", assert_false(vmbi_restore_wants_cluster_scope(f));
         assert_false(vmbi_restore_refuses_cluster_scope(f)));
    WITH("{\"includedNamespaces\":[\"a\"],\"includeClusterResources\":true}",
         assert_true(vmbi_restore_wants_cluster_scope(f)));
    WITH("{\"includeClusterResources\":false}", assert_true(vmbi_restore_refuses_cluster_scope(f)));
}

static void filter_resolves_names_of_cluster_and_backup(void **state)
{
    (void)state;
    /* gears come with a CRD of the backup: the cluster does not know them yet */
    WITH("{\"includedResources\":[\"po\",\"gears\"]}",
         assert_true(vmbi_restore_wants_resource(f, "pods"));
         assert_true(vmbi_restore_wants_resource(f, "gears.tools.example.com"));
         assert_false(vmbi_restore_wants_resource(f, "secrets")); assert_true(
             vmbi_restore_wants_resource(f, "volumesnapshotcontents.snapshot.storage.k8s.io")));
}

static void filter_labels_status_and_targets(void **state)
{
    vmbi_slice a = {"{\"app\":\"a\"}", 11};
    vmbi_slice c = {"{\"app\":\"c\"}", 11};

    (void)state;
    WITH("{\"orLabelSelectors\":[{\"matchLabels\":{\"app\":\"a\"}},{\"matchLabels\":{\"app\":\"b\"}"
         "}],"
         "\"namespaceMapping\":{\"x\":\"y\"},\"restoreStatus\":{\"includedResources\":[\"pods\"]}}",
         assert_true(vmbi_restore_wants_labels(f, a));
         assert_false(vmbi_restore_wants_labels(f, c));
         assert_string_equal(vmbi_restore_target(f, "x"), "y");
         assert_string_equal(vmbi_restore_target(f, "z"), "z");
         assert_true(vmbi_restore_wants_status(f, "pods"));
         assert_false(vmbi_restore_wants_status(f, "secrets")));
    WITH("{}", assert_false(vmbi_restore_wants_status(f, "pods")));
    WITH("{\"restoreStatus\":{}}", assert_true(vmbi_restore_wants_status(f, "pods")));
}

static void order_is_velero_s(void **state)
{
    static const char *const given[] = {
        "zebras.example.com", "pods",       "clusters.cluster.x-k8s.io", "configmaps",
        "apples.example.com", "namespaces", "persistentvolumeclaims",    "persistentvolumes"};
    static const char *const wanted[] = {
        "namespaces", "persistentvolumes",  "persistentvolumeclaims", "configmaps",
        "pods",       "apples.example.com", "zebras.example.com",     "clusters.cluster.x-k8s.io"};
    vmbi_strs present = {0};
    vmbi_strs order = {0};

    (void)state;
    for (size_t i = 0; i < VMBI_ARRAY_LEN(given); i++) {
        assert_int_equal(vmbi_strs_add(&present, given[i], NULL), VMB_OK);
    }
    assert_int_equal(vmbi_restore_order(&present, &order, NULL), VMB_OK);
    assert_int_equal(order.n, VMBI_ARRAY_LEN(wanted));
    for (size_t i = 0; i < order.n; i++) {
        assert_string_equal(order.v[i], wanted[i]);
    }
    vmbi_strs_free(&present);
    vmbi_strs_free(&order);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spec_of_kind_restore_has_its_own_fields),
        cmocka_unit_test(spec_without_kind_is_a_backup),
        cmocka_unit_test(restore_created_names_its_backup),
        cmocka_unit_test(restore_validation_names_field_and_line),
        cmocka_unit_test(restore_defaults_exclude_what_is_never_restored),
        cmocka_unit_test(filter_scopes_follow_velero),
        cmocka_unit_test(filter_resolves_names_of_cluster_and_backup),
        cmocka_unit_test(filter_labels_status_and_targets),
        cmocka_unit_test(order_is_velero_s),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
