/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "cluster.h"
#include "model/filter.h"

static vmbi_discovery *discovery;

static int group_setup(void **state)
{
    (void)state;
    assert_int_equal(
        vmbi_discovery_parse(cluster_discovery, sizeof(cluster_discovery) - 1, &discovery, NULL),
        VMB_OK);
    return 0;
}

static int group_teardown(void **state)
{
    (void)state;
    vmbi_discovery_free(discovery);
    return 0;
}

static vmb_code make(const char *spec, const char *labelled, const char *policy, vmbi_filter **out,
                     vmbi_problems *problems, vmb_error **err)
{
    vmbi_json *tree = NULL;
    vmbi_json *policy_tree = NULL;
    vmbi_strs namespaces = {0};
    vmbi_strs excluded = {0};
    vmb_code code;

    assert_int_equal(vmbi_json_parse(spec, strlen(spec), "spec", &tree, NULL), VMB_OK);
    if (policy != NULL) {
        assert_int_equal(vmbi_json_parse(policy, strlen(policy), "p", &policy_tree, NULL), VMB_OK);
    }
    assert_int_equal(vmbi_strs_split(&namespaces, "a,b,t-1,t-2", ',', NULL), VMB_OK);
    if (labelled != NULL) {
        assert_int_equal(vmbi_strs_add(&excluded, labelled, NULL), VMB_OK);
    }
    vmbi_filter_input in = {.spec = tree,
                            .discovery = discovery,
                            .namespaces = &namespaces,
                            .excluded_namespaces = &excluded,
                            .policy = policy_tree};
    code = vmbi_filter_new(&in, out, problems, err);
    vmbi_json_free(tree);
    vmbi_json_free(policy_tree);
    vmbi_strs_free(&namespaces);
    vmbi_strs_free(&excluded);
    return code;
}

static vmbi_filter *filter_of(const char *spec)
{
    vmbi_filter *f = NULL;
    vmb_error *err = NULL;

    if (make(spec, NULL, NULL, &f, NULL, &err) != VMB_OK) {
        fail_msg("%s: %s", spec, vmb_error_message(err));
    }
    return f;
}

/* The wanted resources, in the order of collection, joined by spaces; groups cut off. */
static void collect(const vmbi_filter *f, char *out, size_t size)
{
    size_t used = 0;

    out[0] = '\0';
    for (size_t i = 0; i < vmbi_discovery_count(discovery); i++) {
        const vmbi_resource *r = vmbi_discovery_at(discovery, i);

        if (vmbi_filter_wants_resource(f, r)) {
            used += (size_t)snprintf(out + used, size - used, "%s%s", used > 0 ? " " : "", r->name);
        }
    }
}

#define NAMESPACED                                                                                 \
    "pods persistentvolumeclaims configmaps events olds deployments statefulsets virtualmachines " \
    "backups deployments"

typedef struct resource_case {
    const char *spec;
    const char *want;
} resource_case;

#define EVERYTHING                                                                                 \
    "pods persistentvolumeclaims persistentvolumes configmaps events namespaces nodes olds "       \
    "deployments statefulsets storageclasses customresourcedefinitions virtualmachines backups "   \
    "deployments"
#define NAMESPACED_AND_NAMESPACES                                                                  \
    "pods persistentvolumeclaims configmaps events namespaces olds deployments statefulsets "      \
    "virtualmachines backups deployments"

static const resource_case resource_cases[] = {
    /* no filter: a full backup; snapshots that lie around are left alone */
    {"{}", EVERYTHING},
    {"{\"includedNamespaces\":[\"*\"]}", EVERYTHING},
    {"{\"includedNamespaces\":[]}", EVERYTHING},
    {"{\"includedNamespaces\":[\"a\"]}", NAMESPACED_AND_NAMESPACES},
    {"{\"includedNamespaces\":[\"*\"],\"excludedNamespaces\":[\"t-*\"]}",
     NAMESPACED_AND_NAMESPACES},
    {"{\"includedNamespaces\":[\"a\",\"b\",\"t-*\"]}", EVERYTHING},
    /* old style */
    {"{\"includeClusterResources\":true,\"includedNamespaces\":[\"a\"]}", EVERYTHING},
    {"{\"includeClusterResources\":true}", EVERYTHING},
    {"{\"includeClusterResources\":false}",
     "pods persistentvolumeclaims configmaps events olds deployments statefulsets virtualmachines "
     "backups deployments"},
    {"{\"includedResources\":[\"po\",\"Deployment.apps\"]}", "pods deployments"},
    {"{\"includedResources\":[\"foos\"]}", ""},
    {"{\"includedResources\":[\"apps/deployments\"]}", ""},
    {"{\"includedResources\":[\"*\"],\"includedNamespaces\":[\"a\"]}", NAMESPACED_AND_NAMESPACES},
    {"{\"includedResources\":[\"pv\"],\"includedNamespaces\":[\"a\"]}", ""},
    {"{\"includedResources\":[\"pv\"]}", "persistentvolumes"},
    {"{\"includedResources\":[\"*.velero.io\",\"virtualmachine*\"]}", "virtualmachines backups"},
    {"{\"includedResources\":[\"volumesnapshots\"]}", ""},
    {"{\"excludedResources\":[\"deploy.apps\",\"events\",\"persistentvolume*\",\"*s.*io\"]}",
     "pods configmaps namespaces nodes olds statefulsets deployments"},
    /* new style */
    {"{\"includedNamespaceScopedResources\":[\"pods\",\"pv\"]}", "pods namespaces"},
    {"{\"excludedNamespaceScopedResources\":[\"*\"]}", "namespaces"},
    {"{\"excludedNamespaceScopedResources\":[\"events\"],\"includedNamespaces\":[\"a\"]}",
     "pods persistentvolumeclaims configmaps namespaces olds deployments statefulsets "
     "virtualmachines backups deployments"},
    {"{\"includedClusterScopedResources\":[\"*\"],\"includedNamespaces\":[\"a\"]}", EVERYTHING},
    {"{\"includedClusterScopedResources\":[\"sc\"]}",
     "pods persistentvolumeclaims configmaps events namespaces olds deployments statefulsets "
     "storageclasses virtualmachines backups deployments"},
    {"{\"excludedClusterScopedResources\":[\"*\"]}", NAMESPACED},
    {"{\"excludedClusterScopedResources\":[\"namespaces\"]}", NAMESPACED},
};

static void filter_resource_cases_are_collected(void **state)
{
    char got[1024];

    (void)state;
    for (size_t i = 0; i < VMBI_ARRAY_LEN(resource_cases); i++) {
        vmbi_filter *f = filter_of(resource_cases[i].spec);

        collect(f, got, sizeof(got));
        if (strcmp(got, resource_cases[i].want) != 0) {
            fail_msg("%s:\n got %s\nwant %s", resource_cases[i].spec, got, resource_cases[i].want);
        }
        vmbi_filter_free(f);
    }
}

static void filter_lists_cluster_wide_only_when_nothing_is_restricted(void **state)
{
    static const struct {
        const char *spec;
        bool wide;
        size_t listed;
    } cases[] = {
        {"{}", true, 4},
        {"{\"includedNamespaces\":[\"*\"],\"excludedNamespaces\":[\"t-*\"]}", true, 2},
        {"{\"includedNamespaces\":[\"a\"]}", false, 1},
        {"{\"includedNamespaces\":[\"x*\"]}", false, 0},
        {"{\"includedNamespaces\":[\"?\",\"t-*\"]}", true, 4},
    };

    (void)state;
    for (size_t i = 0; i < VMBI_ARRAY_LEN(cases); i++) {
        vmbi_filter *f = filter_of(cases[i].spec);

        assert_int_equal(vmbi_filter_lists_cluster_wide(f), cases[i].wide);
        assert_int_equal(vmbi_filter_namespaces(f)->n, cases[i].listed);
        vmbi_filter_free(f);
    }
}

static void filter_wildcard_without_match_warns_and_takes_nothing(void **state)
{
    vmbi_filter *f = NULL;
    vmbi_problems problems = {0};
    char got[1024];

    (void)state;
    assert_int_equal(make("{\"includedNamespaces\":[\"x*\"],\"includedResources\":[\"*\"]}", NULL,
                          NULL, &f, &problems, NULL),
                     VMB_OK);
    assert_int_equal(problems.n, 1);
    assert_int_equal(problems.errors, 0);
    assert_false(vmbi_filter_wants_namespace(f, "a"));
    /* Velero would take cluster-scoped resources here; nothing was asked for */
    collect(f, got, sizeof(got));
    assert_null(strstr(got, "storageclasses"));
    vmbi_problems_free(&problems);
    vmbi_filter_free(f);
}

static void filter_labelled_namespace_is_excluded_or_refused(void **state)
{
    vmbi_filter *f = NULL;
    vmb_error *err = NULL;

    (void)state;
    assert_int_equal(make("{}", "b", NULL, &f, NULL, NULL), VMB_OK);
    assert_true(vmbi_filter_wants_namespace(f, "a"));
    assert_false(vmbi_filter_wants_namespace(f, "b"));
    vmbi_filter_free(f);
    f = NULL;
    assert_int_equal(make("{\"includedNamespaces\":[\"b\"]}", "b", NULL, &f, NULL, &err),
                     VMB_E_INVALID);
    assert_null(f);
    assert_non_null(strstr(vmb_error_message(err), "exclude-from-backup"));
    vmb_error_free(err);
}

static void filter_unknown_resources_are_warned_about(void **state)
{
    vmbi_filter *f = NULL;
    vmbi_problems problems = {0};

    (void)state;
    assert_int_equal(make("{\"includedResources\":[\"foos\",\"apps/deployments\",\"*.x\",\"po\"]}",
                          NULL, NULL, &f, &problems, NULL),
                     VMB_OK);
    assert_int_equal(problems.n, 2);
    assert_string_equal(problems.v[0].field, "spec.includedResources");
    assert_non_null(strstr(problems.v[1].remedy, "deployments.apps"));
    vmbi_problems_free(&problems);
    vmbi_filter_free(f);
}

static void filter_selectors_are_listed_with(void **state)
{
    vmbi_filter *f = filter_of("{\"labelSelector\":{\"matchLabels\":{\"app\":\"db\"}}}");

    (void)state;
    assert_int_equal(vmbi_filter_selector_count(f), 1);
    assert_string_equal(vmbi_filter_selector_text(f, 0), "app=db");
    assert_null(vmbi_filter_selector_text(f, 1));
    vmbi_filter_free(f);
    f = filter_of("{\"orLabelSelectors\":[{\"matchLabels\":{\"a\":\"1\"}},{\"matchLabels\":"
                  "{\"b\":\"2\"}}]}");
    assert_int_equal(vmbi_filter_selector_count(f), 2);
    assert_true(vmbi_filter_labels_match(f, (vmbi_slice){"{\"b\":\"2\"}", 9}));
    assert_false(vmbi_filter_labels_match(f, (vmbi_slice){"{\"b\":\"1\"}", 9}));
    assert_false(vmbi_filter_labels_match(f, (vmbi_slice){NULL, 0}));
    vmbi_filter_free(f);
    /* an empty selector selects everything: no selector at all */
    f = filter_of("{\"labelSelector\":{}}");
    assert_int_equal(vmbi_filter_selector_count(f), 0);
    assert_true(vmbi_filter_labels_match(f, (vmbi_slice){NULL, 0}));
    vmbi_filter_free(f);
    f = filter_of("{\"orLabelSelectors\":[{\"matchLabels\":{\"a\":\"1\"}},{}]}");
    assert_int_equal(vmbi_filter_selector_count(f), 0);
    vmbi_filter_free(f);
}

static void filter_namespace_objects_follow_names_and_labels(void **state)
{
    static const vmbi_slice match = {"{\"app\":\"db\"}", 12};
    static const vmbi_slice none = {NULL, 0};
    vmbi_filter *f = filter_of("{\"includedNamespaces\":[\"a\"],\"labelSelector\":"
                               "{\"matchLabels\":{\"app\":\"db\"}}}");

    (void)state;
    assert_true(vmbi_filter_wants_namespace_object(f, "a", none, true));
    assert_true(vmbi_filter_wants_namespace_object(f, "b", match, true));
    assert_false(vmbi_filter_wants_namespace_object(f, "b", none, true));
    assert_false(vmbi_filter_wants_namespace_object(f, "a", match, false));
    vmbi_filter_free(f);
    f = filter_of("{\"labelSelector\":{\"matchLabels\":{\"app\":\"db\"}}}");
    assert_false(vmbi_filter_wants_namespace_object(f, "a", none, true));
    assert_true(vmbi_filter_wants_namespace_object(f, "a", match, true));
    vmbi_filter_free(f);
    f = filter_of("{}");
    assert_true(vmbi_filter_wants_namespace_object(f, "a", none, true));
    assert_false(vmbi_filter_wants_namespace_object(f, "a", none, false));
    vmbi_filter_free(f);
}

static vmbi_item_verdict judge(const char *spec, const char *resource, const char *object,
                               bool must)
{
    vmbi_filter *f = filter_of(spec);
    const vmbi_resource *r = vmbi_discovery_find_gr(discovery, resource);
    vmbi_object_scan scan;
    char ns[64] = "";
    vmbi_item_verdict v;

    assert_non_null(r);
    assert_true(vmbi_jscan_k8s_object(object, strlen(object), &scan));
    if (scan.ns.p != NULL) {
        assert_true(vmbi_jscan_string(scan.ns, ns, sizeof(ns)));
    }
    v = vmbi_filter_item(f, r, ns, &scan, must);
    vmbi_filter_free(f);
    return v;
}

#define OBJ(extra) "{\"metadata\":{\"name\":\"x\",\"namespace\":\"a\"" extra "}}"
#define CLUSTER_OBJ(extra) "{\"metadata\":{\"name\":\"x\"" extra "}}"
#define LABEL(v) ",\"labels\":{\"velero.io/exclude-from-backup\":\"" v "\"}"
#define DELETING ",\"deletionTimestamp\":\"2026-01-01T00:00:00Z\""

static void filter_items_pass_the_last_checks(void **state)
{
    static const struct {
        const char *spec;
        const char *resource;
        const char *object;
        bool must;
        vmbi_item_verdict want;
    } cases[] = {
        {"{}", "pods", OBJ(""), false, VMBI_ITEM_TAKE},
        {"{}", "pods", OBJ(LABEL("true")), false, VMBI_ITEM_EXCLUDE_LABEL},
        {"{}", "pods", OBJ(LABEL("True")), false, VMBI_ITEM_TAKE},
        {"{}", "pods", OBJ(LABEL("true")), true, VMBI_ITEM_TAKE},
        {"{}", "pods", OBJ(DELETING), false, VMBI_ITEM_DELETING},
        {"{}", "pods", OBJ(DELETING), true, VMBI_ITEM_DELETING},
        {"{}", "pods", OBJ(",\"deletionTimestamp\":null"), false, VMBI_ITEM_TAKE},
        {"{\"includedNamespaces\":[\"b\"]}", "pods", OBJ(""), false, VMBI_ITEM_NAMESPACE},
        {"{\"includedNamespaces\":[\"b\"]}", "pods", OBJ(""), true, VMBI_ITEM_TAKE},
        {"{\"includedResources\":[\"pods\"]}", "persistentvolumeclaims", OBJ(""), false,
         VMBI_ITEM_RESOURCE},
        /* a claim's volume comes in although cluster-scoped resources are not listed … */
        {"{\"includedNamespaces\":[\"a\"]}", "persistentvolumes", CLUSTER_OBJ(""), false,
         VMBI_ITEM_TAKE},
        /* … unless they are excluded */
        {"{\"includeClusterResources\":false}", "persistentvolumes", CLUSTER_OBJ(""), false,
         VMBI_ITEM_CLUSTER_EXCLUDED},
        {"{\"includedResources\":[\"pods\"]}", "persistentvolumes", CLUSTER_OBJ(""), false,
         VMBI_ITEM_CLUSTER_EXCLUDED},
        {"{\"includedResources\":[\"pods\",\"pv\"],\"includedNamespaces\":[\"a\"]}",
         "persistentvolumes", CLUSTER_OBJ(""), false, VMBI_ITEM_TAKE},
        {"{\"excludedResources\":[\"pv\"],\"includeClusterResources\":true}", "persistentvolumes",
         CLUSTER_OBJ(""), false, VMBI_ITEM_CLUSTER_EXCLUDED},
        {"{\"excludedClusterScopedResources\":[\"pv\"]}", "persistentvolumes", CLUSTER_OBJ(""),
         false, VMBI_ITEM_CLUSTER_EXCLUDED},
        {"{\"includedClusterScopedResources\":[\"sc\"]}", "persistentvolumes", CLUSTER_OBJ(""),
         false, VMBI_ITEM_TAKE},
        {"{\"includeClusterResources\":false}", "namespaces", CLUSTER_OBJ(""), false,
         VMBI_ITEM_TAKE},
        {"{}", "volumesnapshots.snapshot.storage.k8s.io", OBJ(""), false, VMBI_ITEM_RESOURCE},
        {"{}", "volumesnapshots.snapshot.storage.k8s.io", OBJ(""), true, VMBI_ITEM_TAKE},
        {"{}", "volumesnapshotcontents.snapshot.storage.k8s.io", CLUSTER_OBJ(""), false,
         VMBI_ITEM_CLUSTER_EXCLUDED},
    };

    (void)state;
    for (size_t i = 0; i < VMBI_ARRAY_LEN(cases); i++) {
        vmbi_item_verdict v =
            judge(cases[i].spec, cases[i].resource, cases[i].object, cases[i].must);

        if (v != cases[i].want) {
            fail_msg("case %zu %s %s: %s", i, cases[i].spec, cases[i].object,
                     vmbi_item_verdict_text(v));
        }
    }
}

static void filter_policy_yields_to_the_spec(void **state)
{
    static const char policy[] =
        "{\"includedClusterScopedResources\":[\"storageclasses\",\"nodes\"],"
        "\"excludedNamespaceScopedResources\":[\"pods\",\"events\"]}";
    vmbi_filter *f = NULL;
    vmb_error *err = NULL;
    char got[1024];

    (void)state;
    assert_int_equal(make("{\"excludedClusterScopedResources\":[\"nodes\"],"
                          "\"includedNamespaceScopedResources\":[\"pods\"]}",
                          NULL, policy, &f, NULL, NULL),
                     VMB_OK);
    collect(f, got, sizeof(got));
    assert_string_equal(got, "pods namespaces storageclasses");
    vmbi_filter_free(f);
    f = NULL;
    assert_int_equal(make("{\"includedResources\":[\"pods\"]}", NULL, policy, &f, NULL, &err),
                     VMB_E_INVALID);
    assert_null(f);
    vmb_error_free(err);
}

static void filter_orders_crds_and_twins_are_known(void **state)
{
    vmbi_filter *f = filter_of("{\"orderedResources\":{\"pods\":\"a/x, a/y\"},"
                               "\"includedNamespaces\":[\"a\"]}");
    const vmbi_strs *list = vmbi_filter_ordered(f, "pods");

    (void)state;
    assert_non_null(list);
    assert_int_equal(list->n, 2);
    assert_string_equal(list->v[1], " a/y");
    assert_null(vmbi_filter_ordered(f, "pod"));
    assert_true(vmbi_filter_adds_crds(f));
    vmbi_filter_free(f);
    f = filter_of("{}"); /* includes them anyway */
    assert_false(vmbi_filter_adds_crds(f));
    vmbi_filter_free(f);
    f = filter_of("{\"includeClusterResources\":false}");
    assert_false(vmbi_filter_adds_crds(f));
    vmbi_filter_free(f);
    assert_string_equal(vmbi_filter_twin("deployments.apps"), "deployments.extensions");
    assert_string_equal(vmbi_filter_twin("events"), "events.events.k8s.io");
    assert_null(vmbi_filter_twin("pods"));
}

static void filter_of_wrong_types_is_refused(void **state)
{
    static const char *const bad[] = {
        "{\"includedNamespaces\":\"a\"}",
        "{\"includedNamespaces\":[1]}",
        "{\"includedResources\":{}}",
        "{\"includeClusterResources\":\"yes\"}",
        "{\"labelSelector\":[]}",
        "{\"orLabelSelectors\":{}}",
        "{\"orLabelSelectors\":[null]}",
        "{\"orderedResources\":{\"a\":1}}",
        "{\"labelSelector\":{\"matchLabels\":{\"a b\":\"c\"}}}",
    };

    (void)state;
    for (size_t i = 0; i < VMBI_ARRAY_LEN(bad); i++) {
        vmbi_filter *f = NULL;

        assert_int_equal(make(bad[i], NULL, NULL, &f, NULL, NULL), VMB_E_INVALID);
        assert_null(f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(filter_resource_cases_are_collected),
        cmocka_unit_test(filter_lists_cluster_wide_only_when_nothing_is_restricted),
        cmocka_unit_test(filter_wildcard_without_match_warns_and_takes_nothing),
        cmocka_unit_test(filter_labelled_namespace_is_excluded_or_refused),
        cmocka_unit_test(filter_unknown_resources_are_warned_about),
        cmocka_unit_test(filter_selectors_are_listed_with),
        cmocka_unit_test(filter_namespace_objects_follow_names_and_labels),
        cmocka_unit_test(filter_items_pass_the_last_checks),
        cmocka_unit_test(filter_policy_yields_to_the_spec),
        cmocka_unit_test(filter_orders_crds_and_twins_are_known),
        cmocka_unit_test(filter_of_wrong_types_is_refused),
    };

    return cmocka_run_group_tests(tests, group_setup, group_teardown) != 0;
}
