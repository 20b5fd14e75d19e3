/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/strs.h"
#include "fake_cluster.h"
#include "providers/builtin.h"
#include "providers/common/objects.h"

#define RBAC "rbac.authorization.k8s.io"

typedef struct fixture {
    fake_cluster f;
    fake_actions a;
    vmb_action_result r;
    vmbi_json *item;
    vmb_error *err;
} fixture;

static void open_fixture(fixture *x, const char *without)
{
    memset(x, 0, sizeof *x);
    fake_open(&x->f, without);
    fake_backup(&x->f, "b1", "{\"metadata\":{\"name\":\"b1\",\"uid\":\"u1\"}}");
    assert_int_equal(vmbi_actions_kubernetes(fake_actions_add, &x->a, NULL), VMB_OK);
    assert_int_equal(x->a.n, 3);
}

static void reset(fixture *x)
{
    vmbi_action_result_free(&x->r);
    vmbi_json_free(x->item);
    x->item = NULL;
    vmb_error_free(x->err);
    x->err = NULL;
}

static void close_fixture(fixture *x)
{
    reset(x);
    fake_actions_free(&x->a);
    fake_close(&x->f);
}

static vmb_code run(fixture *x, const char *resource, const char *json)
{
    reset(x);
    x->item = fake_json(json);
    return fake_actions_run(&x->a, &x->f, "", resource, &x->item, &x->r, &x->err);
}

static int core_related(fixture *x, const char *resource, const char *ns, const char *name)
{
    return fake_related(&x->r, "", resource, ns, name);
}

/* ---- pods
 * ---------------------------------------------------------------------------------------- */

static void pod_brings_claims_and_priority(void **unused)
{
    fixture x;
    (void)unused;
    open_fixture(&x, "");
    assert_int_equal(
        run(&x, "pods",
            "{'metadata':{'name':'p','namespace':'s'},'spec':{'priorityClassName':'high','volumes':"
            "[{'name':'a','persistentVolumeClaim':{'claimName':'c1'}},{'name':'b','emptyDir':{}},"
            "{'name':'e','ephemeral':{'volumeClaimTemplate':{}}},"
            "{'name':'d','persistentVolumeClaim':{'claimName':'c2'}}]}}"),
        VMB_OK);
    assert_int_equal(x.r.n_related, 3);
    assert_int_equal(core_related(&x, "persistentvolumeclaims", "s", "c1"), 0);
    assert_int_equal(core_related(&x, "persistentvolumeclaims", "s", "c2"), 0);
    assert_int_equal(fake_related(&x.r, "scheduling.k8s.io", "priorityclasses", NULL, "high"), 0);
    assert_null(x.r.item);
    close_fixture(&x);
}

static void pod_without_anything_brings_nothing(void **unused)
{
    fixture x;
    (void)unused;
    open_fixture(&x, "");
    assert_int_equal(run(&x, "pods", "{'metadata':{'name':'p','namespace':'s'}}"), VMB_OK);
    assert_int_equal(x.r.n_related, 0);
    close_fixture(&x);
}

/* ---- claims
 * -------------------------------------------------------------------------------------- */

static const char bound_claim[] =
    "{'metadata':{'name':'c1','namespace':'s','labels':{'velero.io/restore-name':'r','velero.io/"
    "volume-snapshot-name':'v','velero.io/backup-name':'other','keep':'1'}},'spec':{'volumeName':"
    "'pv1','storageClassName':'fast','selector':{'matchLabels':{'a':'b'}},'dataSource':{'kind':"
    "'X'},'dataSourceRef':{'kind':'X'}},'status':{'phase':'Bound'}}";

static void claim_bound_is_cleaned_and_brings_volume(void **unused)
{
    fixture x;
    (void)unused;
    open_fixture(&x, "");
    assert_int_equal(run(&x, "persistentvolumeclaims", bound_claim), VMB_OK);
    assert_int_equal(core_related(&x, "persistentvolumes", NULL, "pv1"), 0);
    vmbi_json *want = fake_json(
        "{'metadata':{'name':'c1','namespace':'s','labels':{'keep':'1'}},'spec':{'volumeName':"
        "'pv1','storageClassName':'fast'},'status':{'phase':'Bound'}}");
    assert_true(vmbi_json_equal(x.item, want));
    vmbi_json_free(want);
    close_fixture(&x);
}

static void claim_own_backup_label_stays(void **unused)
{
    fixture x;
    (void)unused;
    open_fixture(&x, "");
    assert_int_equal(run(&x, "persistentvolumeclaims",
                         "{'metadata':{'name':'c','namespace':'s','labels':{'velero.io/"
                         "backup-name':'b1'}},'spec':{'volumeName':'v'},'status':{'phase':"
                         "'Bound'}}"),
                     VMB_OK);
    assert_string_equal(vmbi_label_of(x.item, "velero.io/backup-name"), "b1");
    close_fixture(&x);
}

static void claim_without_class_keeps_users_selector(void **unused)
{
    fixture x;
    (void)unused;
    open_fixture(&x, "");
    assert_int_equal(
        run(&x, "persistentvolumeclaims",
            "{'metadata':{'name':'c','namespace':'s'},'spec':{'volumeName':'v','storageClassName':"
            "'','selector':{'matchLabels':{'velero.io/dynamic-pv-restore':'x','velero.io/y':'z',"
            "'tier':'db'}}},'status':{'phase':'Bound'}}"),
        VMB_OK);
    vmbi_json *want = fake_json("{'matchLabels':{'tier':'db'}}");
    assert_true(vmbi_json_equal(vmbi_json_path(x.item, "spec.selector"), want));
    vmbi_json_free(want);
    close_fixture(&x);
}

static void claim_unbound_is_untouched(void **unused)
{
    fixture x;
    (void)unused;
    open_fixture(&x, "");
    assert_int_equal(run(&x, "persistentvolumeclaims",
                         "{'metadata':{'name':'c','namespace':'s'},'spec':{'dataSource':{}},"
                         "'status':{'phase':'Pending'}}"),
                     VMB_OK);
    assert_int_equal(x.r.n_related, 0);
    assert_null(x.r.item);
    assert_int_equal(x.f.calls[FAKE_LIST], 0);
    close_fixture(&x);
}

static void put_pods(fixture *x)
{
    fake_put(&x->f, "", "pods",
             "{'metadata':{'name':'runs','namespace':'s'},'spec':{'volumes':[{'name':'d',"
             "'persistentVolumeClaim':{'claimName':'c1'}}]},'status':{'phase':'Running'}}");
    fake_put(&x->f, "", "pods",
             "{'metadata':{'name':'done','namespace':'s'},'spec':{'volumes':[{'name':'d',"
             "'persistentVolumeClaim':{'claimName':'c1'}}]},'status':{'phase':'Succeeded'}}");
    fake_put(&x->f, "", "pods",
             "{'metadata':{'name':'dies','namespace':'s','deletionTimestamp':'2026-01-01T00:00:00Z'"
             "},'spec':{'volumes':[{'name':'d','persistentVolumeClaim':{'claimName':'c1'}}]},"
             "'status':{'phase':'Running'}}");
    fake_put(&x->f, "", "pods",
             "{'metadata':{'name':'away','namespace':'t'},'spec':{'volumes':[{'name':'d',"
             "'persistentVolumeClaim':{'claimName':'c1'}}]},'status':{'phase':'Running'}}");
    fake_put(&x->f, "", "pods",
             "{'metadata':{'name':'own','namespace':'s'},'spec':{'volumes':[{'name':'eph',"
             "'ephemeral':{}}]},'status':{'phase':'Running'}}");
}

static void claim_brings_running_pods_that_mount_it(void **unused)
{
    fixture x;
    (void)unused;
    open_fixture(&x, "");
    put_pods(&x);
    assert_int_equal(run(&x, "persistentvolumeclaims", bound_claim), VMB_OK);
    assert_int_equal(x.r.n_related, 2);
    assert_int_equal(core_related(&x, "pods", "s", "runs"), VMB_RELATED_OPTIONAL);
    assert_int_equal(run(&x, "persistentvolumeclaims",
                         "{'metadata':{'name':'own-eph','namespace':'s'},'spec':{'volumeName':'v'},"
                         "'status':{'phase':'Bound'}}"),
                     VMB_OK);
    assert_int_equal(core_related(&x, "pods", "s", "own"), VMB_RELATED_OPTIONAL);
    assert_int_equal(x.f.calls[FAKE_LIST], 1); /* one list per namespace */
    close_fixture(&x);
}

static void claim_brings_its_volume_group(void **unused)
{
    fixture x;
    (void)unused;
    open_fixture(&x, "");
    fake_put(
        &x.f, "", "persistentvolumeclaims",
        "{'metadata':{'name':'twin','namespace':'s','labels':{'velero.io/volume-group':'g'}}}");
    fake_put(
        &x.f, "", "persistentvolumeclaims",
        "{'metadata':{'name':'else','namespace':'s','labels':{'velero.io/volume-group':'h'}}}");
    assert_int_equal(run(&x, "persistentvolumeclaims",
                         "{'metadata':{'name':'c','namespace':'s','labels':{'velero.io/"
                         "volume-group':'g'}},'spec':{'volumeName':'v'},'status':{'phase':"
                         "'Bound'}}"),
                     VMB_OK);
    assert_int_equal(x.r.n_related, 2);
    assert_int_equal(core_related(&x, "persistentvolumeclaims", "s", "twin"), VMB_RELATED_OPTIONAL);
    close_fixture(&x);
}

static void claim_failed_list_keeps_claim_out(void **unused)
{
    fixture x;
    (void)unused;
    open_fixture(&x, "");
    fake_fail(&x.f, FAKE_LIST, "pods", VMB_E_SERVER, 1);
    assert_int_equal(run(&x, "persistentvolumeclaims", bound_claim), VMB_E_SERVER);
    assert_non_null(strstr(vmb_error_message(x.err), "list pods in s"));
    assert_int_equal(run(&x, "persistentvolumeclaims", bound_claim), VMB_OK); /* not remembered */
    close_fixture(&x);
}

/* ---- service accounts
 * ----------------------------------------------------------------------------- */

static void put_bindings(fixture *x)
{
    fake_put(
        &x->f, RBAC, "clusterrolebindings",
        "{'metadata':{'name':'b1'},'roleRef':{'kind':'ClusterRole','name':'r1'},'subjects':"
        "[{'kind':'ServiceAccount','name':'sa','namespace':'s'},{'kind':'User','name':'sa'}]}");
    fake_put(&x->f, RBAC, "clusterrolebindings",
             "{'metadata':{'name':'b2'},'roleRef':{'kind':'ClusterRole','name':'r2'},'subjects':"
             "[{'kind':'ServiceAccount','name':'sa','namespace':'other'},{'kind':'Group','name':"
             "'s/sa','namespace':'s'}]}");
    fake_put(&x->f, RBAC, "clusterrolebindings",
             "{'metadata':{'name':'b3'},'roleRef':{'kind':'ClusterRole','name':'r3'}}");
}

static const char account[] = "{'metadata':{'name':'sa','namespace':'s'}}";

static void account_brings_bindings_and_roles(void **unused)
{
    fixture x;
    (void)unused;
    open_fixture(&x, "");
    put_bindings(&x);
    assert_int_equal(run(&x, "serviceaccounts", account), VMB_OK);
    assert_int_equal(x.r.n_related, 2);
    assert_int_equal(fake_related(&x.r, RBAC, "clusterrolebindings", NULL, "b1"), 0);
    assert_int_equal(fake_related(&x.r, RBAC, "clusterroles", NULL, "r1"), 0);
    close_fixture(&x);
}

static void account_bindings_are_listed_once_per_run(void **unused)
{
    fixture x;
    (void)unused;
    open_fixture(&x, "");
    put_bindings(&x);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(run(&x, "serviceaccounts", account), VMB_OK);
    }
    assert_int_equal(x.f.calls[FAKE_LIST], 1);
    /* another run must not see this one's list */
    fake_backup(&x.f, "b1", "{\"metadata\":{\"name\":\"b1\",\"uid\":\"u2\"}}");
    fake_put(&x.f, RBAC, "clusterrolebindings",
             "{'metadata':{'name':'late'},'roleRef':{'kind':'ClusterRole','name':'r'},'subjects':"
             "[{'kind':'ServiceAccount','name':'sa','namespace':'s'}]}");
    assert_int_equal(run(&x, "serviceaccounts", account), VMB_OK);
    assert_int_equal(x.f.calls[FAKE_LIST], 2);
    assert_int_equal(fake_related(&x.r, RBAC, "clusterrolebindings", NULL, "late"), 0);
    close_fixture(&x);
}

static void account_without_rbac_is_plain(void **unused)
{
    fixture x;
    (void)unused;
    open_fixture(&x, RBAC);
    assert_int_equal(run(&x, "serviceaccounts", account), VMB_OK);
    assert_int_equal(x.r.n_related, 0);
    assert_int_equal(x.f.calls[FAKE_LIST], 0);
    close_fixture(&x);
}

static void label_safe_matches_velero(void **unused)
{
    char out[VMBI_LABEL_SIZE];
    (void)unused;
    vmbi_label_safe("du-11111111-2222-3333-4444-555555555555.66666666-7777-8888-9999-aaaaaaaaaaaa",
                    out);
    assert_string_equal(out, "du-11111111-2222-3333-4444-555555555555.66666666-7777-88814b395");
    vmbi_label_safe("short", out);
    assert_string_equal(out, "short");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pod_brings_claims_and_priority),
        cmocka_unit_test(pod_without_anything_brings_nothing),
        cmocka_unit_test(claim_bound_is_cleaned_and_brings_volume),
        cmocka_unit_test(claim_own_backup_label_stays),
        cmocka_unit_test(claim_without_class_keeps_users_selector),
        cmocka_unit_test(claim_unbound_is_untouched),
        cmocka_unit_test(claim_brings_running_pods_that_mount_it),
        cmocka_unit_test(claim_brings_its_volume_group),
        cmocka_unit_test(claim_failed_list_keeps_claim_out),
        cmocka_unit_test(account_brings_bindings_and_roles),
        cmocka_unit_test(account_bindings_are_listed_once_per_run),
        cmocka_unit_test(account_without_rbac_is_plain),
        cmocka_unit_test(label_safe_matches_velero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
