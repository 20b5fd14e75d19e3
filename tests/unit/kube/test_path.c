/* SPDX-License-Identifier: Apache-2.0 */
/* Request paths, and the rate limit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/clock.h"
#include "kube/path.h"
#include "kube/throttle.h"

static void path_table_builds_urls(void **state)
{
    static const struct {
        vmbi_kube_path path;
        const char *url;
    } table[] = {
        {{"", "v1", "pods", "ns", "web", NULL}, "/api/v1/namespaces/ns/pods/web"},
        {{NULL, "v1", "pods", "", NULL, NULL}, "/api/v1/pods"},
        {{"", "v1", "namespaces", NULL, "shop", NULL}, "/api/v1/namespaces/shop"},
        {{"apps", "v1", "deployments", "ns", NULL, NULL},
         "/apis/apps/v1/namespaces/ns/deployments"},
        {{"kubevirt.io", "v1", "virtualmachines", "ns", "vm", "status"},
         "/apis/kubevirt.io/v1/namespaces/ns/virtualmachines/vm/status"},
        {{"rbac.authorization.k8s.io", "v1", "clusterroles", NULL, "system:node", NULL},
         "/apis/rbac.authorization.k8s.io/v1/clusterroles/system:node"},
        {{"", "v1", "configmaps", "a b", "x/y?z#%", NULL},
         "/api/v1/namespaces/a%20b/configmaps/x%2Fy%3Fz%23%25"},
        {{"", "v1", "configmaps", "ns", "\xc3\xa9", NULL},
         "/api/v1/namespaces/ns/configmaps/%C3%A9"},
    };
    (void)state;
    for (size_t i = 0; i < VMBI_ARRAY_LEN(table); i++) {
        vmbi_buf url = VMBI_BUF_INIT(1024);
        vmb_error *err = NULL;
        assert_int_equal(vmbi_kube_path_add(&url, &table[i].path, &err), VMB_OK);
        assert_string_equal(url.data, table[i].url);
        vmbi_buf_free(&url);
    }
}

static void path_unsafe_part_refused(void **state)
{
    static const vmbi_kube_path table[] = {
        {"", "v1", "pods", "ns", "", NULL},   {"", "v1", "pods", "ns", "..", NULL},
        {"", "v1", "pods", "..", "x", NULL},  {"", "v1", "pods", "ns", ".", NULL},
        {"", NULL, "pods", "ns", "x", NULL},  {"", "v1", NULL, "ns", "x", NULL},
        {"..", "v1", "pods", NULL, "x", NULL}, {"", "v1", "pods", "ns", "x", ""},
    };
    (void)state;
    for (size_t i = 0; i < VMBI_ARRAY_LEN(table); i++) {
        vmbi_buf url = VMBI_BUF_INIT(1024);
        vmb_error *err = NULL;
        assert_int_equal(vmbi_kube_path_add(&url, &table[i], &err), VMB_E_ARG);
        assert_non_null(strstr(vmb_error_message(err), "the "));
        vmb_error_free(err);
        vmbi_buf_free(&url);
    }
}

static void path_description_names_the_object(void **state)
{
    char what[VMBI_KUBE_WHAT_SIZE];
    vmbi_kube_path path = {"apps", "v1", "deployments", "ns", "web", "status"};
    (void)state;
    vmbi_kube_path_describe("patch", &path, what);
    assert_string_equal(what, "patch deployments.apps/status ns/web");
    path = (vmbi_kube_path){"", "v1", "pods", "ns", NULL, NULL};
    vmbi_kube_path_describe("list", &path, what);
    assert_string_equal(what, "list pods in namespace ns");
    path = (vmbi_kube_path){"", "v1", "nodes", NULL, "n1", NULL};
    vmbi_kube_path_describe("get", &path, what);
    assert_string_equal(what, "get nodes n1");
    path = (vmbi_kube_path){"", "v1", "nodes", NULL, NULL, NULL};
    vmbi_kube_path_describe("list", &path, what);
    assert_string_equal(what, "list nodes");
}

static void path_description_long_names_stay_in_bounds(void **state)
{
    char what[VMBI_KUBE_WHAT_SIZE + 1];
    char name[1001];
    (void)state;
    memset(name, 'x', 1000);
    name[1000] = '\0';
    what[VMBI_KUBE_WHAT_SIZE] = '#';
    vmbi_kube_path path = {name, name, name, name, name, name};
    vmbi_kube_path_describe(name, &path, what);
    assert_true(strlen(what) < VMBI_KUBE_WHAT_SIZE);
    assert_int_equal(what[VMBI_KUBE_WHAT_SIZE], '#');
}

static void query_second_key_gets_ampersand(void **state)
{
    vmbi_buf url = VMBI_BUF_INIT(1024);
    (void)state;
    vmbi_buf_adds(&url, "/api/v1/pods");
    vmbi_kube_query_add(&url, "limit", "500");
    vmbi_kube_query_add(&url, "labelSelector", "a in (b,c),!d");
    vmbi_kube_query_add(&url, "command", "");
    assert_string_equal(url.data, "/api/v1/pods?limit=500&labelSelector=a%20in%20%28b%2Cc%29%2C%21d"
                                  "&command=");
    vmbi_buf_free(&url);
}

static void throttle_burst_passes_then_waits(void **state)
{
    vmbi_kube_throttle t;
    const int64_t start = 1000 * VMBI_SECOND;
    (void)state;
    vmbi_kube_throttle_init(&t, 10, 3);
    assert_int_equal(vmbi_kube_throttle_reserve(&t, start), 0);
    assert_int_equal(vmbi_kube_throttle_reserve(&t, start), 0);
    assert_int_equal(vmbi_kube_throttle_reserve(&t, start), 0);
    assert_int_equal(vmbi_kube_throttle_reserve(&t, start), 100 * VMBI_MS);
    assert_int_equal(vmbi_kube_throttle_reserve(&t, start), 200 * VMBI_MS);
    /* after a long pause the burst is full again, and not more than full */
    assert_int_equal(vmbi_kube_throttle_reserve(&t, start + 100 * VMBI_SECOND), 0);
    assert_int_equal(vmbi_kube_throttle_reserve(&t, start + 100 * VMBI_SECOND), 0);
    assert_int_equal(vmbi_kube_throttle_reserve(&t, start + 100 * VMBI_SECOND), 0);
    assert_int_equal(vmbi_kube_throttle_reserve(&t, start + 100 * VMBI_SECOND), 100 * VMBI_MS);
    vmbi_kube_throttle_done(&t);
}

static void throttle_without_rate_never_waits(void **state)
{
    vmbi_kube_throttle t;
    (void)state;
    vmbi_kube_throttle_init(&t, 0, 0);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(vmbi_kube_throttle_reserve(&t, VMBI_SECOND), 0);
    }
    vmbi_kube_throttle_done(&t);
}

static void throttle_wait_hears_the_deadline(void **state)
{
    vmbi_kube_throttle t;
    vmb_error *err = NULL;
    (void)state;
    vmbi_kube_throttle_init(&t, 1, 1);
    assert_int_equal(vmbi_kube_throttle_wait(&t, NULL, &err), VMB_OK);
    vmbi_limits soon = vmbi_limits_within(NULL, 20 * VMBI_MS);
    assert_int_equal(vmbi_kube_throttle_wait(&t, &soon, &err), VMB_E_TIMEOUT);
    vmb_error_free(err);
    vmbi_kube_throttle_done(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(path_table_builds_urls),
        cmocka_unit_test(path_unsafe_part_refused),
        cmocka_unit_test(path_description_names_the_object),
        cmocka_unit_test(path_description_long_names_stay_in_bounds),
        cmocka_unit_test(query_second_key_gets_ampersand),
        cmocka_unit_test(throttle_burst_passes_then_waits),
        cmocka_unit_test(throttle_without_rate_never_waits),
        cmocka_unit_test(throttle_wait_hears_the_deadline),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
