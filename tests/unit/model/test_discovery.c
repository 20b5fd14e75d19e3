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
#include "model/discovery.h"

static int setup(void **state)
{
    vmbi_discovery *d = NULL;

    assert_int_equal(
        vmbi_discovery_parse(cluster_discovery, sizeof(cluster_discovery) - 1, &d, NULL), VMB_OK);
    *state = d;
    return 0;
}

static int teardown(void **state)
{
    vmbi_discovery_free(*state);
    return 0;
}

static void discovery_is_collected_in_order(void **state)
{
    static const char *const want[] = {"pods",
                                       "persistentvolumeclaims",
                                       "persistentvolumes",
                                       "configmaps",
                                       "events",
                                       "namespaces",
                                       "nodes",
                                       "olds.apps",
                                       "deployments.apps",
                                       "statefulsets.apps",
                                       "storageclasses.storage.k8s.io",
                                       "customresourcedefinitions.apiextensions.k8s.io",
                                       "volumesnapshots.snapshot.storage.k8s.io",
                                       "volumesnapshotcontents.snapshot.storage.k8s.io",
                                       "virtualmachines.kubevirt.io",
                                       "backups.velero.io",
                                       "deployments.extensions"};
    const vmbi_discovery *d = *state;

    assert_int_equal(vmbi_discovery_count(d), VMBI_ARRAY_LEN(want));
    for (size_t i = 0; i < VMBI_ARRAY_LEN(want); i++) {
        assert_string_equal(vmbi_discovery_at(d, i)->group_resource, want[i]);
        assert_true(vmbi_discovery_at(d, i)->eligible);
    }
    assert_null(vmbi_discovery_at(d, VMBI_ARRAY_LEN(want)));
}

static void discovery_prefers_the_groups_version(void **state)
{
    const vmbi_discovery *d = *state;
    const vmbi_resource *r = vmbi_discovery_find(d, "apps", NULL, "deployments");

    assert_non_null(r);
    assert_string_equal(r->version, "v1");
    assert_string_equal(r->api_version, "apps/v1");
    assert_true(r->preferred);
    r = vmbi_discovery_find(d, "apps", "v1beta2", "deployments");
    assert_non_null(r);
    assert_false(r->preferred);
    /* served by an older version only */
    r = vmbi_discovery_find_gr(d, "olds.apps");
    assert_non_null(r);
    assert_string_equal(r->version, "v1beta2");
    assert_null(vmbi_discovery_find(d, "apps", "v2", "deployments"));
    assert_null(vmbi_discovery_find_gr(d, "pods/log"));
}

static void discovery_finds_kinds_and_objects(void **state)
{
    const vmbi_discovery *d = *state;

    assert_string_equal(vmbi_discovery_find_kind(d, "apps", NULL, "Deployment")->version, "v1");
    assert_string_equal(vmbi_discovery_find_kind(d, "apps", "v1beta2", "Deployment")->version,
                        "v1beta2");
    assert_string_equal(vmbi_discovery_find_object(d, "v1", "Pod")->name, "pods");
    assert_string_equal(vmbi_discovery_find_object(d, "kubevirt.io/v1", "VirtualMachine")->name,
                        "virtualmachines");
    assert_null(vmbi_discovery_find_object(d, "v1", "pod"));
    assert_null(vmbi_discovery_find_object(d, "kubevirt.io/v2", "VirtualMachine"));
    assert_string_equal(vmbi_discovery_git_version(d), "v1.31.2");
    assert_string_equal(vmbi_discovery_minor(d), "31");
    assert_int_equal(vmbi_discovery_warnings(d)->n, 1);
}

static void resource_names_resolve_as_users_write_them(void **state)
{
    static const struct {
        const char *written;
        const char *want; /* NULL: unresolved */
    } cases[] = {
        {"po", "pods"},
        {"pod", "pods"},
        {"pods", "pods"},
        {"Pods", "pods"},
        {"POD", "pods"},
        {"PO", NULL}, /* short names are case-sensitive */
        {"VirtualMachine", "virtualmachines.kubevirt.io"},
        {"vm", "virtualmachines.kubevirt.io"},
        {"vm.kubevirt", "virtualmachines.kubevirt.io"},
        {"deployments.apps", "deployments.apps"},
        {"deploy.apps", "deployments.apps"},
        {"Deployment.apps", "deployments.apps"},
        {"deploy.app", "deployments.apps"},
        {"deployments", "deployments.extensions"}, /* the server's first group */
        {"deploy", "deployments.extensions"},
        {"storageclass.storage", "storageclasses.storage.k8s.io"},
        {"statefulset", "statefulsets.apps"}, /* no singular name: the kind, lower-cased */
        {"apps/deployments", NULL},
        {"deployments.v1.apps", NULL},
        {"foos", NULL},
        {"tokenreviews", NULL},
        {"bindings", NULL},
        {"pods.apps", NULL},
        {"", NULL},
        {".apps", NULL},
        {"*", NULL},
    };

    for (size_t i = 0; i < VMBI_ARRAY_LEN(cases); i++) {
        const vmbi_resource *r = vmbi_discovery_resolve(*state, cases[i].written);

        if ((r == NULL) != (cases[i].want == NULL) ||
            (r != NULL && strcmp(r->group_resource, cases[i].want) != 0)) {
            fail_msg("%s: %s", cases[i].written, r != NULL ? r->group_resource : "unresolved");
        }
    }
}

static void resource_list_keeps_what_is_unknown(void **state)
{
    vmbi_strs in = {0};
    vmbi_strs out = {0};

    assert_int_equal(vmbi_strs_split(&in, "po,*.velero.io,foos,*", ',', NULL), VMB_OK);
    assert_int_equal(vmbi_discovery_resolve_list(*state, &in, &out, NULL), VMB_OK);
    assert_int_equal(out.n, 4);
    assert_string_equal(out.v[0], "pods");
    assert_string_equal(out.v[1], "*.velero.io");
    assert_string_equal(out.v[2], "foos");
    assert_string_equal(out.v[3], "*");
    vmbi_strs_free(&in);
    vmbi_strs_free(&out);
}

static void discovery_without_groups_is_refused(void **state)
{
    vmbi_discovery *d = NULL;
    vmb_error *err = NULL;

    (void)state;
    assert_int_equal(vmbi_discovery_parse("{}", 2, &d, &err), VMB_E_INVALID);
    vmb_error_free(err);
    assert_int_equal(vmbi_discovery_parse("[", 1, &d, NULL), VMB_E_PARSE);
    assert_int_equal(vmbi_discovery_parse("{\"groups\":[]}", 13, &d, NULL), VMB_OK);
    assert_int_equal(vmbi_discovery_count(d), 0);
    vmbi_discovery_free(d);
}

static void discovery_out_of_memory_leaves_nothing(void **state)
{
    vmbi_json *doc = NULL;

    (void)state;
    assert_int_equal(
        vmbi_json_parse(cluster_discovery, sizeof(cluster_discovery) - 1, "d", &doc, NULL), VMB_OK);
    for (uint64_t n = 1; n < 5000; n++) {
        vmbi_discovery *d = NULL;
        vmb_code code;

        vmbi_alloc_fail_from(n);
        code = vmbi_discovery_from_tree(doc, &d, NULL);
        vmbi_alloc_fail_from(0);
        vmbi_discovery_free(d);
        if (code == VMB_OK) {
            assert_true(n > 100);
            vmbi_json_free(doc);
            return;
        }
        assert_int_equal(code, VMB_E_NOMEM);
    }
    fail_msg("never succeeded");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(discovery_is_collected_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(discovery_prefers_the_groups_version, setup, teardown),
        cmocka_unit_test_setup_teardown(discovery_finds_kinds_and_objects, setup, teardown),
        cmocka_unit_test_setup_teardown(resource_names_resolve_as_users_write_them, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(resource_list_keeps_what_is_unknown, setup, teardown),
        cmocka_unit_test(discovery_without_groups_is_refused),
        cmocka_unit_test(discovery_out_of_memory_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
