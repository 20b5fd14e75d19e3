/* SPDX-License-Identifier: Apache-2.0 */
/* The engine over providers in memory: order of hooks, cuts and writes; what failures leave. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <vmbackup/vmbackup.h>

#include "base/alloc.h"
#include "support/fakes.h"

#define HOOKS                                                                        \
    "\"pre.hook.backup.velero.io/command\":\"[\\\"freeze\\\"]\","                    \
    "\"post.hook.backup.velero.io/command\":\"[\\\"thaw\\\"]\""

static void add_shop(fakes *f, const char *pod_phase, const char *annotations)
{
    char pod[2048];
    (void)snprintf(pod, sizeof(pod),
                   "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"launcher\","
                   "\"namespace\":\"shop\",\"annotations\":{%s}},\"spec\":{\"containers\":["
                   "{\"name\":\"compute\"}],\"volumes\":[{\"name\":\"disk\","
                   "\"persistentVolumeClaim\":{\"claimName\":\"disk\"}}]},"
                   "\"status\":{\"phase\":\"%s\"}}",
                   annotations, pod_phase);
    fakes_add(f, "namespaces",
              "{\"metadata\":{\"name\":\"shop\"},\"status\":{\"phase\":\"Active\"}}");
    fakes_add(f, "namespaces",
              "{\"metadata\":{\"name\":\"other\"},\"status\":{\"phase\":\"Active\"}}");
    fakes_add(f, "pods", pod);
    fakes_add(f, "persistentvolumeclaims",
              "{\"apiVersion\":\"v1\",\"kind\":\"PersistentVolumeClaim\",\"metadata\":{\"name\":"
              "\"disk\",\"namespace\":\"shop\"},\"spec\":{\"volumeName\":\"pv-1\"},"
              "\"status\":{\"phase\":\"Bound\"}}");
    fakes_add(f, "persistentvolumes",
              "{\"apiVersion\":\"v1\",\"kind\":\"PersistentVolume\",\"metadata\":{\"name\":"
              "\"pv-1\"},\"spec\":{\"persistentVolumeReclaimPolicy\":\"Delete\"}}");
    fakes_add(f, "configmaps",
              "{\"metadata\":{\"name\":\"settings\",\"namespace\":\"shop\"},\"data\":{\"a\":\"b\"}}");
    fakes_add(f, "configmaps",
              "{\"metadata\":{\"name\":\"noise\",\"namespace\":\"other\"},\"data\":{}}");
}

/* A context whose pods name their claims, as actions.kubernetes does it. */
static vmb_ctx *shop_ctx(fakes *f)
{
    vmb_ctx *ctx = fakes_ctx(f);
    assert_non_null(ctx);
    assert_int_equal(vmb_ctx_use(ctx, "actions.kubernetes", NULL, 0, NULL), VMB_OK);
    return ctx;
}

static vmb_run *new_run(vmb_ctx *ctx)
{
    vmb_spec *spec = NULL;
    vmb_run *run = NULL;
    assert_int_equal(vmb_spec_new("b1", &spec, NULL), VMB_OK);
    assert_int_equal(vmb_spec_add_string(spec, "spec.includedNamespaces", "shop", NULL), VMB_OK);
    assert_int_equal(vmb_run_new(ctx, spec, &run, NULL), VMB_OK);
    vmb_spec_free(spec);
    return run;
}

static void run_whole_writes_metadata_last(void **state)
{
    (void)state;
    fakes f;
    fakes_init(&f);
    add_shop(&f, "Running", HOOKS);
    vmb_ctx *ctx = shop_ctx(&f);
    vmb_run *run = new_run(ctx);
    vmb_error *err = NULL;
    vmb_code rc = vmb_run_execute(run, &err);
    if (rc != VMB_OK) {
        print_error("%s\n", vmb_error_message(err));
    }
    assert_int_equal(rc, VMB_OK);
    assert_string_equal(vmb_run_phase(run), "Completed");
    int last = fakes_at(&f, "commit backups/b1/velero-backup.json");
    assert_true(last > 0);
    for (size_t i = (size_t)last + 1; i < f.n_journal; i++) {
        assert_int_not_equal(strncmp(f.journal[i], "commit", 6), 0);
    }
    static const char *const files[] = {"b1.tar.gz", "b1-logs.gz", "b1-results.gz",
                                        "b1-resource-list.json.gz", "b1-volumeinfo.json.gz",
                                        "b1-itemoperations.json.gz",
                                        "b1-podvolumebackups.json.gz",
                                        "b1-volumesnapshots.json.gz"};
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        char key[128];
        (void)snprintf(key, sizeof(key), "backups/b1/%s", files[i]);
        assert_non_null(fakes_file(&f, key, NULL));
    }
    char *cm = fakes_member(ctx, "b1", "configmaps", "shop", "settings");
    assert_non_null(cm);
    assert_non_null(strstr(cm, "\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\""));
    vmb_free(cm);
    assert_null(fakes_member(ctx, "b1", "configmaps", "other", "noise"));
    char *ns = fakes_member(ctx, "b1", "namespaces", NULL, "shop");
    assert_non_null(ns);
    vmb_free(ns);
    char *claim = fakes_member(ctx, "b1", "persistentvolumeclaims", "shop", "disk");
    assert_non_null(claim);
    assert_non_null(strstr(claim, "velero.io/volume-snapshot-name"));
    vmb_free(claim);
    vmb_run_free(run);
    vmb_ctx_unref(ctx);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(f.destroyed[i], 1);
    }
    assert_int_equal(f.open_ops, 0);
    fakes_done(&f);
}

static void run_hooks_surround_the_cut_only(void **state)
{
    (void)state;
    fakes f;
    fakes_init(&f);
    f.polls_until_cut = 3;
    add_shop(&f, "Running", HOOKS);
    vmb_ctx *ctx = shop_ctx(&f);
    vmb_run *run = new_run(ctx);
    assert_int_equal(vmb_run_execute(run, NULL), VMB_OK);
    int freeze = fakes_at(&f, "exec launcher freeze");
    int begin = fakes_at(&f, "begin disk");
    int cut = fakes_at(&f, "cut disk");
    int thaw = fakes_at(&f, "exec launcher thaw");
    int ready = fakes_at(&f, "ready disk");
    int meta = fakes_at(&f, "commit backups/b1/velero-backup.json");
    int finish = fakes_at(&f, "finish disk");
    assert_true(freeze >= 0 && freeze < begin && begin < cut && cut < thaw && thaw < ready &&
                ready < meta && meta < finish);
    char *report = NULL;
    assert_int_equal(vmb_run_report_json(run, &report, NULL, NULL), VMB_OK);
    assert_non_null(strstr(report, "\"frozenNs\""));
    assert_non_null(strstr(report, "\"hooksAttempted\":2"));
    vmb_free(report);
    vmb_run_free(run);
    vmb_ctx_unref(ctx);
    fakes_done(&f);
}

static void hook_pre_failure_drops_pod_but_thaws_and_keeps_claim(void **state)
{
    (void)state;
    fakes f;
    fakes_init(&f);
    f.fail_command = "freeze";
    add_shop(&f, "Running", HOOKS);
    vmb_ctx *ctx = shop_ctx(&f);
    vmb_run *run = new_run(ctx);
    assert_int_equal(vmb_run_execute(run, NULL), VMB_OK);
    assert_string_equal(vmb_run_phase(run), "PartiallyFailed");
    assert_true(fakes_at(&f, "exec launcher thaw") > fakes_at(&f, "exec launcher freeze"));
    assert_null(fakes_member(ctx, "b1", "pods", "shop", "launcher"));
    char *claim = fakes_member(ctx, "b1", "persistentvolumeclaims", "shop", "disk");
    assert_non_null(claim);
    vmb_free(claim);
    vmb_run_free(run);
    vmb_ctx_unref(ctx);
    fakes_done(&f);
}

static void snapshot_failure_thaws_and_leaves_claim_out(void **state)
{
    (void)state;
    vmb_code *knobs[3];
    for (size_t i = 0; i < 2; i++) {
        fakes f;
        fakes_init(&f);
        knobs[0] = &f.begin_fails;
        knobs[1] = &f.cut_fails;
        *knobs[i] = VMB_E_SERVER;
        add_shop(&f, "Running", HOOKS);
        vmb_ctx *ctx = shop_ctx(&f);
        vmb_run *run = new_run(ctx);
        assert_int_equal(vmb_run_execute(run, NULL), VMB_OK);
        assert_string_equal(vmb_run_phase(run), "PartiallyFailed");
        assert_true(fakes_at(&f, "exec launcher thaw") > 0);
        assert_null(fakes_member(ctx, "b1", "persistentvolumeclaims", "shop", "disk"));
        char *pod = fakes_member(ctx, "b1", "pods", "shop", "launcher");
        assert_non_null(pod);
        vmb_free(pod);
        /* removing a snapshot can take long: never while the guest is frozen */
        int cancel = fakes_at(&f, "cancel disk");
        assert_true(cancel < 0 || cancel > fakes_at(&f, "exec launcher thaw"));
        assert_int_equal(cancel >= 0, i == 1);
        assert_int_equal(f.open_ops, 0);
        vmb_run_free(run);
        vmb_ctx_unref(ctx);
        fakes_done(&f);
    }
}

static void run_cancelled_during_freeze_thaws_and_leaves_nothing(void **state)
{
    (void)state;
    fakes f;
    fakes_init(&f);
    add_shop(&f, "Running", HOOKS);
    vmb_ctx *ctx = shop_ctx(&f);
    vmb_run *run = new_run(ctx);
    f.cancel_on_exec = run;
    assert_int_equal(vmb_run_execute(run, NULL), VMB_E_CANCELLED);
    assert_string_equal(vmb_run_phase(run), "Failed");
    assert_true(fakes_at(&f, "exec launcher thaw") > fakes_at(&f, "exec launcher freeze"));
    assert_int_equal(f.n_files, 0);
    assert_int_equal(f.open_ops, 0);
    vmb_run_free(run);
    vmb_ctx_unref(ctx);
    fakes_done(&f);
}

static void store_down_still_thaws_and_fails(void **state)
{
    (void)state;
    fakes f;
    fakes_init(&f);
    f.write_fails = VMB_E_NET;
    add_shop(&f, "Running", HOOKS);
    vmb_ctx *ctx = shop_ctx(&f);
    vmb_run *run = new_run(ctx);
    assert_int_not_equal(vmb_run_execute(run, NULL), VMB_OK);
    assert_string_equal(vmb_run_phase(run), "Failed");
    bool frozen = fakes_at(&f, "exec launcher freeze") >= 0;
    assert_true(!frozen || fakes_at(&f, "exec launcher thaw") >= 0);
    assert_int_equal(f.n_files, 0);
    assert_int_equal(f.open_ops, 0);
    assert_int_equal(f.finished, 0);
    vmb_run_free(run);
    vmb_ctx_unref(ctx);
    fakes_done(&f);
}

static void hook_of_completed_pod_is_skipped_with_a_warning(void **state)
{
    (void)state;
    fakes f;
    fakes_init(&f);
    add_shop(&f, "Succeeded", HOOKS);
    vmb_ctx *ctx = shop_ctx(&f);
    vmb_run *run = new_run(ctx);
    assert_int_equal(vmb_run_execute(run, NULL), VMB_OK);
    assert_string_equal(vmb_run_phase(run), "Completed");
    assert_int_equal(fakes_at(&f, "exec"), -1);
    char *report = NULL;
    assert_int_equal(vmb_run_report_json(run, &report, NULL, NULL), VMB_OK);
    assert_non_null(strstr(report, "hooks are skipped"));
    vmb_free(report);
    vmb_run_free(run);
    vmb_ctx_unref(ctx);
    fakes_done(&f);
}

static void run_of_existing_name_is_refused(void **state)
{
    (void)state;
    fakes f;
    fakes_init(&f);
    add_shop(&f, "Running", "");
    vmb_ctx *ctx = shop_ctx(&f);
    vmb_run *first = new_run(ctx);
    assert_int_equal(vmb_run_execute(first, NULL), VMB_OK);
    size_t files = f.n_files;
    vmb_run *second = new_run(ctx);
    assert_int_equal(vmb_run_execute(second, NULL), VMB_E_EXISTS);
    assert_string_equal(vmb_run_phase(second), "Failed");
    assert_int_equal(f.n_files, files);
    assert_int_equal(vmb_run_execute(second, NULL), VMB_E_STATE);
    vmb_run_free(first);
    vmb_run_free(second);
    vmb_ctx_unref(ctx);
    fakes_done(&f);
}

/* Whoever takes the deletion up would remove what the run writes. */
static void run_in_a_folder_that_is_being_deleted_is_refused(void **state)
{
    (void)state;
    fakes f;
    fakes_init(&f);
    add_shop(&f, "Running", "");
    fakes_put(&f, "backups/b1/vmbackup-deleting.json", "{}");
    vmb_ctx *ctx = shop_ctx(&f);
    vmb_run *run = new_run(ctx);
    vmb_error *err = NULL;
    assert_int_equal(vmb_run_execute(run, &err), VMB_E_EXISTS);
    assert_non_null(strstr(vmb_error_message(err), "not deleted whole"));
    assert_string_equal(vmb_run_phase(run), "Failed");
    assert_int_equal(f.n_files, 1);
    assert_int_equal(fakes_at(&f, "exec"), -1);
    vmb_error_free(err);
    vmb_run_free(run);
    vmb_ctx_unref(ctx);
    fakes_done(&f);
}

static void list_failure_is_an_item_error(void **state)
{
    (void)state;
    fakes f;
    fakes_init(&f);
    add_shop(&f, "Running", "");
    f.fail_resource = "configmaps";
    f.list_fails = VMB_E_SERVER;
    vmb_ctx *ctx = shop_ctx(&f);
    vmb_run *run = new_run(ctx);
    assert_int_equal(vmb_run_execute(run, NULL), VMB_OK);
    assert_string_equal(vmb_run_phase(run), "PartiallyFailed");
    vmb_run_free(run);
    vmb_ctx_unref(ctx);
    fakes_done(&f);
}

static void spec_invalid_is_failed_validation_and_stores_nothing(void **state)
{
    (void)state;
    static const char doc[] = "apiVersion: velero.io/v1\nkind: Backup\nmetadata:\n  name: b1\n"
                              "spec:\n  labelSelector: {matchLabels: {a: b}}\n"
                              "  orLabelSelectors: [{matchLabels: {c: d}}]\n";
    fakes f;
    fakes_init(&f);
    add_shop(&f, "Running", "");
    vmb_ctx *ctx = shop_ctx(&f);
    vmb_spec *spec = NULL;
    vmb_run *run = NULL;
    vmb_error *err = NULL;
    assert_int_equal(vmb_spec_parse(doc, sizeof(doc) - 1, "b.yaml", &spec, NULL), VMB_OK);
    assert_int_equal(vmb_run_new(ctx, spec, &run, NULL), VMB_OK);
    assert_int_equal(vmb_run_execute(run, &err), VMB_E_INVALID);
    assert_string_equal(vmb_run_phase(run), "FailedValidation");
    assert_non_null(strstr(vmb_error_message(err), "orLabelSelectors"));
    assert_int_equal(f.n_journal, 0);
    vmb_error_free(err);
    vmb_run_free(run);
    vmb_spec_free(spec);
    vmb_ctx_unref(ctx);
    fakes_done(&f);
}

static void provider_refused_is_destroyed_once(void **state)
{
    (void)state;
    fakes f;
    fakes_init(&f);
    vmb_ctx *ctx = fakes_ctx(&f);
    vmb_run *run = new_run(ctx); /* freezes */
    vmb_error *err = NULL;
    assert_int_equal(fakes_register(&f, ctx, &err), VMB_E_STATE);
    vmb_error_free(err);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(f.destroyed[i], 1);
    }
    vmb_run_free(run);
    vmb_ctx_unref(ctx);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(f.destroyed[i], 2);
    }
    fakes_done(&f);
}

/* Every allocation of the library fails in turn: never a crash, never a visible half backup. */
static void run_without_memory_fails_cleanly(void **state)
{
    (void)state;
    for (uint64_t n = 1; n < 100000; n += n < 2000 ? 1 : 37) {
        fakes f;
        fakes_init(&f);
        add_shop(&f, "Running", HOOKS);
        vmb_ctx *ctx = shop_ctx(&f);
        vmb_run *run = new_run(ctx);
        vmbi_alloc_fail_from(n);
        vmb_code rc = vmb_run_execute(run, NULL);
        bool enough = vmbi_alloc_count() < n;
        vmbi_alloc_fail_from(0);
        bool visible = fakes_file(&f, "backups/b1/velero-backup.json", NULL) != NULL;
        /* after the metadata is stored nothing may turn the run into a failure but the report */
        assert_true(rc == VMB_OK || rc == VMB_E_NOMEM || !visible);
        assert_int_equal(f.open_ops, 0);
        vmb_run_free(run);
        vmb_ctx_unref(ctx);
        fakes_done(&f);
        if (enough) {
            return;
        }
    }
    fail_msg("the run never had enough memory");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(run_whole_writes_metadata_last),
        cmocka_unit_test(run_hooks_surround_the_cut_only),
        cmocka_unit_test(hook_pre_failure_drops_pod_but_thaws_and_keeps_claim),
        cmocka_unit_test(snapshot_failure_thaws_and_leaves_claim_out),
        cmocka_unit_test(run_cancelled_during_freeze_thaws_and_leaves_nothing),
        cmocka_unit_test(store_down_still_thaws_and_fails),
        cmocka_unit_test(hook_of_completed_pod_is_skipped_with_a_warning),
        cmocka_unit_test(run_of_existing_name_is_refused),
        cmocka_unit_test(run_in_a_folder_that_is_being_deleted_is_refused),
        cmocka_unit_test(list_failure_is_an_item_error),
        cmocka_unit_test(spec_invalid_is_failed_validation_and_stores_nothing),
        cmocka_unit_test(provider_refused_is_destroyed_once),
        cmocka_unit_test(run_without_memory_fails_cleanly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
