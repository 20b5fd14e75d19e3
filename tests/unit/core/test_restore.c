/* SPDX-License-Identifier: Apache-2.0 */
/* Restores into a cluster in memory: order, filters, mapping, existing objects, hooks, results; and
 * the index of archives. */
#include "restore_support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/job.h"
#include "codec/gzip.h"
#include "codec/json.h"
#include "codec/tar.h"
#include "core/context.h"
#include "core/restore/index.h"

static void restore_creates_in_order(void **state)
{
    fake *f = *state;
    SHOP(f);
    vmbi_json *report = restore(f, "{\"backupName\":\"b1\"}", "Completed");
    assert_true(place(f, "namespaces//shop") < place(f, "persistentvolumes//pv1"));
    assert_true(place(f, "persistentvolumes//pv1") < place(f, "persistentvolumeclaims/shop/disk"));
    assert_true(place(f, "persistentvolumeclaims/shop/disk") < place(f, "configmaps/shop/a"));
    assert_true(place(f, "configmaps/shop/a") < place(f, "pods/shop/web"));
    assert_true(place(f, "pods/shop/web") < place(f, "services/shop/svc"));
    assert_null(find(f, "pods/shop/done"));        /* it has ended */
    assert_non_null(find(f, "namespaces//other")); /* bare: the backup has no object of it */
    vmbi_json *ns = created(f, "namespaces//shop");
    assert_string_equal(vmbi_json_path_str(ns, "metadata.labels.team"), "x");
    vmbi_json_free(ns);
    assert_string_equal(vmbi_json_path_str(report, "restore.status.phase"), "Completed");
    vmbi_json_free(report);
}

static void restore_resets_and_labels(void **state)
{
    fake *f = *state;
    SHOP(f);
    vmbi_json_free(
        restore(f, "{\"backupName\":\"b1\",\"namespaceMapping\":{\"shop\":\"new\"}}", "Completed"));
    vmbi_json *pod = created(f, "pods/new/web");
    const vmbi_json *meta = vmbi_json_get(pod, "metadata");
    const vmbi_json *labels = vmbi_json_get(meta, "labels");
    assert_null(vmbi_json_get(meta, "uid"));
    assert_null(vmbi_json_get(meta, "ownerReferences"));
    assert_null(vmbi_json_get(pod, "status"));
    assert_null(vmbi_json_path(pod, "spec.nodeName"));
    assert_string_equal(vmbi_json_get_str(meta, "namespace"), "new");
    assert_string_equal(vmbi_json_get_str(labels, "velero.io/backup-name"), "b1");
    assert_string_equal(vmbi_json_get_str(labels, "velero.io/restore-name"), "r1");
    assert_string_equal(vmbi_json_get_str(labels, "app"), "web");
    vmbi_json_free(pod);
    vmbi_json *pv = created(f, "persistentvolumes//pv1");
    assert_string_equal(vmbi_json_path_str(pv, "spec.claimRef.namespace"), "new");
    assert_null(vmbi_json_path(pv, "spec.claimRef.uid"));
    vmbi_json_free(pv);
    vmbi_json *svc = created(f, "services/new/svc");
    assert_null(vmbi_json_path(svc, "spec.clusterIP"));
    assert_null(vmbi_json_get(vmbi_json_at(vmbi_json_path(svc, "spec.ports"), 0), "nodePort"));
    vmbi_json_free(svc);
    assert_null(find(f, "namespaces//shop"));
}

static void restore_of_a_namespace_takes_related_volume(void **state)
{
    fake *f = *state;
    SHOP(f);
    vmbi_json_free(
        restore(f, "{\"backupName\":\"b1\",\"includedNamespaces\":[\"shop\"]}", "Completed"));
    assert_non_null(find(f, "persistentvolumes//pv1")); /* its claim names it */
    assert_null(find(f, "configmaps/other/b"));
}

static void restore_selectors_hold_for_the_top_only(void **state)
{
    fake *f = *state;
    SHOP(f);
    vmbi_json_free(
        restore(f, "{\"backupName\":\"b1\",\"labelSelector\":{\"matchLabels\":{\"app\":\"web\"}}}",
                "Completed"));
    assert_non_null(find(f, "pods/shop/web"));
    assert_non_null(find(f, "persistentvolumeclaims/shop/disk")); /* the pod mounts it */
    assert_null(find(f, "configmaps/shop/a"));
}

static void restore_of_a_schedule_takes_its_latest(void **state)
{
    fake *f = *state;
    SHOP(f);
    vmbi_json *report = restore(f, "{\"scheduleName\":\"daily\"}", "Completed");
    assert_string_equal(vmbi_json_path_str(report, "restore.spec.backupName"), "b1");
    vmbi_json_free(report);
    vmbi_json_free(restore(f, "{\"scheduleName\":\"weekly\"}", "FailedValidation"));
}

static void restore_of_a_missing_backup_is_refused(void **state)
{
    fake *f = *state;
    vmbi_json *report = restore(f, "{\"backupName\":\"none\"}", "FailedValidation");
    assert_int_equal(vmbi_json_len(vmbi_json_path(report, "restore.status.validationErrors")), 1);
    vmbi_json_free(report);
}

static size_t warnings_of(const vmbi_json *report, const char *part, const char *ns)
{
    return vmbi_json_len(
        vmbi_json_get(vmbi_json_get(vmbi_json_get(report, part), "namespaces"), ns));
}

static void existing_object_that_differs_warns(void **state)
{
    fake *f = *state;
    SHOP(f);
    add(f, "configmaps/shop/a", OBJ("ConfigMap", "a", "shop", ",\"data\":{\"k\":\"live\"}"));
    vmbi_json *report = restore(f, "{\"backupName\":\"b1\"}", "Completed");
    const vmbi_json *line =
        vmbi_json_at(vmbi_json_get(vmbi_json_path(report, "warnings.namespaces"), "shop"), 0);
    assert_int_equal(warnings_of(report, "warnings", "shop"), 1);
    assert_string_equal(vmbi_json_str(line),
                        "could not restore, ConfigMap:a already exists. Warning: the in-cluster "
                        "version is different than the backed-up version");
    vmbi_json_free(report);
    vmbi_json *a = created(f, "configmaps/shop/a");
    assert_string_equal(vmbi_json_path_str(a, "data.k"), "live");
    vmbi_json_free(a);
}

static void existing_object_that_is_equal_is_silent(void **state)
{
    fake *f = *state;
    SHOP(f);
    add(f, "configmaps/shop/a",
        "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"a\",\"namespace\":"
        "\"shop\",\"uid\":\"other\",\"managedFields\":[1]},\"data\":{\"k\":\"v\"}}");
    vmbi_json *report = restore(f, "{\"backupName\":\"b1\"}", "Completed");
    assert_int_equal(warnings_of(report, "warnings", "shop"), 0);
    vmbi_json_free(report);
}

static void existing_object_is_updated_by_policy(void **state)
{
    fake *f = *state;
    SHOP(f);
    add(f, "configmaps/shop/a",
        OBJ("ConfigMap", "a", "shop", ",\"data\":{\"k\":\"live\",\"more\":\"x\"}"));
    vmbi_json_free(
        restore(f, "{\"backupName\":\"b1\",\"existingResourcePolicy\":\"update\"}", "Completed"));
    vmbi_json *a = created(f, "configmaps/shop/a");
    assert_string_equal(vmbi_json_path_str(a, "data.k"), "v");
    assert_null(vmbi_json_path(a, "data.more"));
    assert_string_equal(
        vmbi_json_get_str(vmbi_json_path(a, "metadata.labels"), "velero.io/restore-name"), "r1");
    vmbi_json_free(a);
}

static void failed_object_makes_it_partial(void **state)
{
    fake *f = *state;
    SHOP(f);
    f->fail_path = "configmaps/shop/a";
    vmbi_json *report = restore(f, "{\"backupName\":\"b1\"}", "PartiallyFailed");
    assert_int_equal(warnings_of(report, "errors", "shop"), 1);
    assert_non_null(find(f, "pods/shop/web"));
    vmbi_json_free(report);
}

static void hooks_run_when_containers_do(void **state)
{
    fake *f = *state;
    static const item pod[] = {
        {"pods/namespaces/shop/web.json",
         "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"web\",\"namespace\":"
         "\"shop\",\"annotations\":{\"velero.io/restore-status\":\"true\"}},\"spec\":{"
         "\"containers\":[{\"name\":\"c\"}]},\"status\":{\"phase\":\"Running\","
         "\"containerStatuses\":[{\"name\":\"c\",\"state\":{\"running\":{}}}]}}"}};
    make_backup(f, pod, 1);
    vmbi_json *report = restore(
        f,
        "{\"backupName\":\"b1\",\"hooks\":{\"resources\":[{\"name\":\"h\",\"postHooks\":[{\"init\":"
        "{"
        "\"initContainers\":[{\"name\":\"i\",\"image\":\"x\",\"command\":[\"y\"]}]}},{\"exec\":{"
        "\"command\":[\"good\"]}},{\"exec\":{\"command\":[\"bad\"],\"onError\":\"Fail\"}},{"
        "\"exec\":{\"command\":[\"late\"]}}]}]}}",
        "PartiallyFailed");
    vmbi_json *web = created(f, "pods/shop/web");
    assert_string_equal(
        vmbi_json_get_str(vmbi_json_at(vmbi_json_path(web, "spec.initContainers"), 0), "name"),
        "i");
    vmbi_json_free(web);
    assert_string_equal(f->hooks, "shop/web/c:good;shop/web/c:bad;"); /* the third is not run */
    assert_int_equal(
        vmbi_json_int(vmbi_json_path(report, "restore.status.hookStatus.hooksAttempted"), 0), 3);
    assert_int_equal(
        vmbi_json_int(vmbi_json_path(report, "restore.status.hookStatus.hooksFailed"), 0), 2);
    vmbi_json_free(report);
}

static void pod_volumes_are_filled_when_mounted(void **state)
{
    fake *f = *state;
    static const char records[] =
        "[{\"spec\":{\"pod\":{\"namespace\":\"shop\",\"name\":\"web\"},\"volume\":\"d\","
        "\"uploaderType\":\"restic\"},\"status\":{\"phase\":\"Completed\",\"snapshotID\":"
        "\"abc\"}},{\"spec\":{\"pod\":{\"namespace\":\"shop\",\"name\":\"web\"},\"volume\":"
        "\"d\"},\"status\":{\"phase\":\"Failed\",\"message\":\"the node is gone\"}}]";
    SHOP(f);
    write_gz(f, "b1-podvolumebackups.json.gz", records);
    vmbi_json *report =
        restore(f, "{\"backupName\":\"b1\",\"namespaceMapping\":{\"shop\":\"new\"}}", "Completed");
    assert_int_equal(f->fills, 2);
    assert_string_equal(f->hooks, "new/web/d=abc");
    /* what the backup could not save is told */
    assert_int_equal(vmbi_json_int(vmbi_json_path(report, "restore.status.warnings"), 0), 1);
    vmbi_json *pod = created(f, "pods/new/web");
    const vmbi_json *wait = vmbi_json_at(vmbi_json_path(pod, "spec.initContainers"), 0);
    assert_string_equal(vmbi_json_get_str(wait, "name"), "restore-wait");
    assert_string_equal(vmbi_json_str(vmbi_json_at(vmbi_json_get(wait, "args"), 0)),
                        vmbi_json_path_str(report, "restore.metadata.uid"));
    vmbi_json_free(pod);
    vmbi_json_free(report);
}

static void storage_classes_are_changed(void **state)
{
    fake *f = *state;
    static const item claim[] = {
        {"persistentvolumeclaims/namespaces/shop/disk.json",
         OBJ("PersistentVolumeClaim", "disk", "shop", ",\"spec\":{\"storageClassName\":\"old\"}")}};
    make_backup(f, claim, 1);
    add(f, "configmaps/velero/classes",
        "{\"metadata\":{\"name\":\"classes\"},\"data\":{\"old\":\"new\"}}");
    vmbi_json_free(restore(f, "{\"backupName\":\"b1\"}", "PartiallyFailed")); /* no such class */
    assert_null(find(f, "persistentvolumeclaims/shop/disk"));
    add(f, "storageclasses.storage.k8s.io//new", "{\"metadata\":{\"name\":\"new\"}}");
    vmbi_json_free(restore(f, "{\"backupName\":\"b1\"}", "Completed"));
    vmbi_json *disk = created(f, "persistentvolumeclaims/shop/disk");
    assert_string_equal(vmbi_json_path_str(disk, "spec.storageClassName"), "new");
    vmbi_json_free(disk);
}

static void machines_change_by_labels_of_the_restore(void **state)
{
    fake *f = *state;
    static const item vms[] = {
        {"virtualmachines.kubevirt.io/namespaces/shop/vm.json",
         "{\"apiVersion\":\"kubevirt.io/v1\",\"kind\":\"VirtualMachine\",\"metadata\":{\"name\":"
         "\"vm\",\"namespace\":\"shop\"},\"spec\":{\"running\":true,\"template\":{\"spec\":{"
         "\"domain\":{\"devices\":{\"interfaces\":[{\"macAddress\":\"02:00:00:00:00:01\"}]},"
         "\"firmware\":{\"uuid\":\"u\"}},\"volumes\":[{\"dataVolume\":{\"name\":\"root\"}}]}}}}"},
        {"datavolumes.cdi.kubevirt.io/namespaces/shop/root.json",
         "{\"apiVersion\":\"cdi.kubevirt.io/v1beta1\",\"kind\":\"DataVolume\",\"metadata\":{"
         "\"name\":\"root\",\"namespace\":\"shop\"}}"},
        {"virtualmachineinstances.kubevirt.io/namespaces/shop/vm.json",
         "{\"apiVersion\":\"kubevirt.io/v1\",\"kind\":\"VirtualMachineInstance\",\"metadata\":{"
         "\"name\":\"vm\",\"namespace\":\"shop\",\"annotations\":{"
         "\"cdi.kubevirt.io/velero.isOwned\":\"true\"}}}"},
        {"pods/namespaces/shop/virt-launcher-vm.json",
         "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"virt-launcher-vm\","
         "\"namespace\":\"shop\",\"labels\":{\"kubevirt.io\":\"virt-launcher\"}},\"spec\":{}}"}};
    make_backup(f, vms, 4);
    vmbi_json_free(restore_labelled(f, "{\"backupName\":\"b1\"}",
                                    "{\"velero.kubevirt.io/restore-run-strategy\":\"Halted\","
                                    "\"velero.kubevirt.io/clear-mac-address\":\"true\","
                                    "\"velero.kubevirt.io/generate-new-firmware-uuid\":\"true\"}",
                                    "Completed"));
    vmbi_json *vm = created(f, "virtualmachines.kubevirt.io/shop/vm");
    const vmbi_json *domain = vmbi_json_path(vm, "spec.template.spec.domain");
    assert_string_equal(vmbi_json_path_str(vm, "spec.runStrategy"), "Halted");
    assert_null(vmbi_json_path(vm, "spec.running"));
    assert_null(
        vmbi_json_get(vmbi_json_at(vmbi_json_path(domain, "devices.interfaces"), 0), "macAddress"));
    assert_int_equal(strlen(vmbi_json_path_str(domain, "firmware.uuid")), 36);
    vmbi_json_free(vm);
    assert_true(place(f, "datavolumes.cdi.kubevirt.io/shop/root") <
                place(f, "virtualmachines.kubevirt.io/shop/vm"));
    assert_null(find(f, "virtualmachineinstances.kubevirt.io/shop/vm"));
    assert_null(find(f, "pods/shop/virt-launcher-vm"));
}

static void many_objects_are_created_side_by_side(void **state)
{
    enum { MANY = 200 };
    fake *f = *state;
    item *items = calloc(MANY, sizeof(*items));
    char *texts = calloc(MANY, 512);
    for (int i = 0; i < MANY; i++) {
        char *at = texts + 512 * i;
        (void)snprintf(at, 128, "configmaps/namespaces/shop/cm-%03d.json", i);
        (void)snprintf(at + 128, 384,
                       "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":"
                       "\"cm-%03d\",\"namespace\":\"shop\"}}",
                       i);
        items[i] = (item){at, at + 128};
    }
    make_backup(f, items, MANY);
    f->pause_us = 2000;
    vmbi_json_free(restore(f, "{\"backupName\":\"b1\"}", "Completed"));
    assert_int_equal(f->n, MANY + 1);
    assert_true(f->busiest > 4 && f->busiest <= 16);
    free(items);
    free(texts);
}

static void cancelled_restore_fails_and_leaves_its_log(void **state)
{
    fake *f = *state;
    char path[256];
    SHOP(f);
    f->cancel = (vmb_run *)(void *)f; /* any; replaced by the run */
    vmbi_json *report = restore(f, "{\"backupName\":\"b1\"}", "Failed");
    assert_non_null(vmbi_json_path_str(report, "restore.status.failureReason"));
    (void)snprintf(path, sizeof(path), "%s/restores/r1/restore-r1-logs.gz", f->dir);
    assert_int_equal(access(path, F_OK), 0);
    vmbi_json_free(report);
}

static void restore_out_of_memory_ends_cleanly(void **state)
{
    static const char doc[] =
        "{\"apiVersion\":\"velero.io/v1\",\"kind\":\"Restore\",\"metadata\":{\"name\":\"r1\"},"
        "\"spec\":{\"backupName\":\"b1\",\"existingResourcePolicy\":\"update\",\"hooks\":{"
        "\"resources\":[{\"name\":\"h\",\"postHooks\":[{\"init\":{\"initContainers\":[{\"name\":"
        "\"i\",\"image\":\"x\",\"command\":[\"y\"]}]}}]}]}}}";
    fake *f = *state;
    vmb_code rc = VMB_E_NOMEM;
    SHOP(f);
    for (uint64_t n = 1; rc != VMB_OK; n += n < 400 ? 3 : 29) {
        vmb_ctx *ctx = make_ctx(f);
        vmb_spec *spec = NULL;
        vmb_run *run = NULL;
        assert_true(n < 100000);
        assert_int_equal(vmb_spec_parse(doc, sizeof(doc) - 1, NULL, &spec, NULL), VMB_OK);
        vmbi_alloc_fail_from(n);
        rc = vmb_run_new(ctx, spec, &run, NULL);
        if (rc == VMB_OK) {
            rc = vmb_run_execute(run, NULL);
        }
        if (rc == VMB_OK && strcmp(vmb_run_phase(run), "Completed") != 0) {
            rc = VMB_E_NOMEM; /* errors of single objects */
        }
        vmbi_alloc_fail_from(0);
        vmb_run_free(run);
        vmb_spec_free(spec);
        vmb_ctx_unref(ctx);
    }
    assert_non_null(find(f, "pods/shop/web"));
}

/* ---- the index ----------------------------------------------------------------------------- */

static bool keep_all(void *user, const char *group_resource)
{
    (void)user;
    (void)group_resource;
    return true;
}

static vmb_code count_one(void *user, const char *ns, const char *name, const char *json,
                          size_t len, vmb_error **err)
{
    size_t *n = user;
    (void)ns;
    (void)name;
    (void)err;
    *n += json[0] == '{' && json[len - 1] == '}' ? 1 : 1000;
    return VMB_OK;
}

static void check_index(fake *f, size_t budget, bool streamed)
{
    vmb_ctx *ctx = make_ctx(f);
    vmbi_store store = {vmbi_ctx_location(ctx, NULL, NULL), 60 * VMBI_SECOND};
    vmb_job job = {0};
    vmbi_index x;
    vmbi_buf text = VMBI_BUF_INIT(1 << 20);
    size_t n = 0;
    assert_int_equal(
        vmbi_index_load(&x, &store, &job, "backups/b1/b1.tar.gz", budget, keep_all, NULL, NULL),
        VMB_OK);
    vmbi_index_resource *r = vmbi_index_find(&x, "configmaps");
    assert_non_null(r);
    assert_int_equal(r->count, 2);
    assert_int_equal(r->streamed, streamed);
    assert_string_equal(r->version, "v1");
    assert_int_equal(vmbi_index_each(&x, r, count_one, &n, NULL), VMB_OK);
    assert_int_equal(n, 2);
    assert_int_equal(vmbi_index_get(&x, "configmaps", "other", "b", &text, NULL), VMB_OK);
    assert_non_null(strstr(text.data, "\"name\":\"b\""));
    assert_int_equal(vmbi_index_get(&x, "configmaps", "other", "c", &text, NULL), VMB_E_NOT_FOUND);
    assert_false(vmbi_index_has(&x, "secrets", "shop", "a"));
    vmbi_buf_free(&text);
    vmbi_index_free(&x);
    vmb_ctx_unref(ctx);
}

static void index_within_budget_keeps_objects(void **state)
{
    SHOP((fake *)*state);
    check_index(*state, 1 << 20, false);
}

static void index_beyond_budget_reads_again(void **state)
{
    SHOP((fake *)*state);
    check_index(*state, 0, true);
}

/* What is not kept is found without a walk over the archive for each object. */
static void index_beyond_budget_finds_single_objects(void **state)
{
    enum { MANY = 900, TEXT = 4096 };
    fake *f = *state;
    item *items = calloc(MANY, sizeof(*items));
    char *texts = calloc(MANY, 128 + TEXT);
    uint32_t noise = 1;
    for (int i = 0; i < MANY; i++) {
        char *at = texts + (128 + TEXT) * i;
        (void)snprintf(at, 128, "configmaps/namespaces/shop/cm-%03d.json", i);
        int n = snprintf(at + 128, TEXT, "{\"n\":%d,\"x\":\"", i);
        for (; n < TEXT - 4; n++) {
            noise = noise * 1664525 + 1013904223;
            at[128 + n] = (char)('a' + (noise >> 24) % 26);
        }
        memcpy(at + 128 + n, "\"}", 3);
        items[i] = (item){at, at + 128};
    }
    make_backup(f, items, MANY);
    vmb_ctx *ctx = make_ctx(f);
    vmbi_store store = {vmbi_ctx_location(ctx, NULL, NULL), 60 * VMBI_SECOND};
    vmb_job job = {0};
    vmbi_index x;
    assert_int_equal(
        vmbi_index_load(&x, &store, &job, "backups/b1/b1.tar.gz", 0, keep_all, NULL, NULL), VMB_OK);
    assert_null(x.seek);
    for (int i = 0; i < MANY; i += 13) {
        vmbi_buf text = VMBI_BUF_INIT(1 << 20);
        char name[32];
        (void)snprintf(name, sizeof(name), "cm-%03d", i);
        assert_true(vmbi_index_has(&x, "configmaps", "shop", name));
        assert_false(vmbi_index_has(&x, "configmaps", "other", name));
        assert_int_equal(vmbi_index_get(&x, "configmaps", "shop", name, &text, NULL), VMB_OK);
        assert_string_equal(text.data, items[i].json);
        vmbi_buf_free(&text);
    }
    assert_non_null(x.seek);
    vmbi_index_free(&x);
    vmb_ctx_unref(ctx);
    free(items);
    free(texts);
}

/* Files without a byte take no room, and are looked up all the same. */
static void restore_of_empty_objects_says_so(void **state)
{
    fake *f = *state;
    static char large[50000];
    int n = snprintf(large, sizeof(large),
                     "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"a\"},"
                     "\"data\":{\"k\":\"%040000d\"}}", 7);
    assert_true(n > 40000 && n < (int)sizeof(large));
    const item items[] = {
        {"configmaps/namespaces/shop/a.json", large},
        {"configmaps/namespaces/shop/b.json", ""},
        {"namespaces/cluster/shop.json", ""},
    };
    make_backup(f, items, 3);
    vmbi_json_free(restore(f, "{\"backupName\":\"b1\"}", "PartiallyFailed"));
    assert_non_null(find(f, "configmaps/shop/a"));
    assert_null(find(f, "configmaps/shop/b"));
}

static void restore_of_a_cut_archive_fails(void **state)
{
    fake *f = *state;
    char path[256];
    SHOP(f);
    (void)snprintf(path, sizeof(path), "%s/backups/b1/b1.tar.gz", f->dir);
    assert_int_equal(truncate(path, 300), 0);
    vmbi_json_free(restore(f, "{\"backupName\":\"b1\"}", "Failed"));
    assert_int_equal(f->n, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(restore_creates_in_order),
        TEST(restore_resets_and_labels),
        TEST(restore_of_a_namespace_takes_related_volume),
        TEST(restore_selectors_hold_for_the_top_only),
        TEST(restore_of_a_schedule_takes_its_latest),
        TEST(restore_of_a_missing_backup_is_refused),
        TEST(existing_object_that_differs_warns),
        TEST(existing_object_that_is_equal_is_silent),
        TEST(existing_object_is_updated_by_policy),
        TEST(failed_object_makes_it_partial),
        TEST(hooks_run_when_containers_do),
        TEST(pod_volumes_are_filled_when_mounted),
        TEST(storage_classes_are_changed),
        TEST(machines_change_by_labels_of_the_restore),
        TEST(many_objects_are_created_side_by_side),
        TEST(cancelled_restore_fails_and_leaves_its_log),
        TEST(restore_out_of_memory_ends_cleanly),
        TEST(index_within_budget_keeps_objects),
        TEST(index_beyond_budget_reads_again),
        TEST(index_beyond_budget_finds_single_objects),
        TEST(restore_of_empty_objects_says_so),
        TEST(restore_of_a_cut_archive_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
