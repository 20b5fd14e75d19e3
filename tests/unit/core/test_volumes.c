/* SPDX-License-Identifier: Apache-2.0 */
/* Which volumes filesystem backup saves, what is recorded of them, and what failures leave. */
#include <setjmp.h>
#include <stdatomic.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "volumes_support.h"

#define DEFAULT_ON "\"defaultVolumesToFsBackup\":true"
#define HOOKS                                                                        \
    "\"pre.hook.backup.velero.io/command\":\"[\\\"freeze\\\"]\","                    \
    "\"post.hook.backup.velero.io/command\":\"[\\\"thaw\\\"]\""

typedef struct world {
    fakes f;
    fake_volumes v;
    vmb_ctx *ctx;
    vmb_run *run;
} world;

static void open_world(world *w, bool with_provider)
{
    memset(&w->v, 0, sizeof(w->v));
    fakes_init(&w->f);
    w->run = NULL;
    w->ctx = volumes_ctx(&w->f, with_provider ? &w->v : NULL);
    assert_non_null(w->ctx);
}

static void close_world(world *w)
{
    vmb_run_free(w->run);
    vmb_ctx_unref(w->ctx);
    volumes_done(&w->v);
    fakes_done(&w->f);
}

static void execute_noted(world *w, const char *spec, const char *notes, const char *phase)
{
    vmb_error *err = NULL;
    w->run = volumes_run(w->ctx, spec, notes);
    assert_non_null(w->run);
    (void)vmb_run_execute(w->run, &err);
    if (strcmp(vmb_run_phase(w->run), phase) != 0) {
        print_error("%s\n", err != NULL ? vmb_error_message(err) : "no error");
    }
    vmb_error_free(err);
    assert_string_equal(vmb_run_phase(w->run), phase);
}

static void execute(world *w, const char *spec, const char *phase)
{
    execute_noted(w, spec, "", phase);
}

static bool stored(const world *w, const char *resource, const char *name)
{
    char *item = fakes_member(w->ctx, "b1", resource, "shop", name);
    vmb_free(item);
    return item != NULL;
}

/* ---- which volumes ------------------------------------------------------------------------- */

static void optin_names_are_not_trimmed(void **state)
{
    (void)state;
    world w;
    open_world(&w, true);
    volumes_pod(&w.f, "p", "Running", "\"backup.velero.io/backup-volumes\":\"a, b,gone\"",
                "{\"name\":\"a\",\"emptyDir\":{}},{\"name\":\"b\",\"emptyDir\":{}}",
                "\"volumeMounts\":[{\"name\":\"a\"},{\"name\":\"b\"}]");
    execute(&w, "", "Completed");
    assert_true(volumes_saved(&w.f, "a"));
    assert_false(volumes_saved(&w.f, "b"));
    assert_int_equal(w.v.started, 1);
    close_world(&w);
}

static void default_saves_all_but_what_is_never_saved(void **state)
{
    (void)state;
    world w;
    open_world(&w, true);
    fakes_add(&w.f, "persistentvolumeclaims",
              "{\"apiVersion\":\"v1\",\"kind\":\"PersistentVolumeClaim\",\"metadata\":{\"name\":"
              "\"p-eph\",\"namespace\":\"shop\",\"uid\":\"uid-eph\"},\"spec\":{},\"status\":{"
              "\"phase\":\"Bound\"}}");
    volumes_pod(&w.f, "p", "Running", "\"backup.velero.io/backup-volumes-excludes\":\"out\"",
                "{\"name\":\"e\",\"emptyDir\":{}},{\"name\":\"h\",\"hostPath\":{\"path\":\"/\"}},"
                "{\"name\":\"s\",\"secret\":{}},{\"name\":\"c\",\"configMap\":{}},"
                "{\"name\":\"j\",\"projected\":{}},{\"name\":\"d\",\"downwardAPI\":{}},"
                "{\"name\":\"default-token-x\",\"emptyDir\":{}},"
                "{\"name\":\"out\",\"emptyDir\":{}},"
                "{\"name\":\"eph\",\"ephemeral\":{\"volumeClaimTemplate\":{}}}",
                "\"volumeMounts\":[{\"name\":\"e\"},{\"name\":\"h\"},{\"name\":\"s\"},{\"name\":"
                "\"c\"},{\"name\":\"j\"},{\"name\":\"d\"},{\"name\":\"default-token-x\"},{\"name\":"
                "\"out\"},{\"name\":\"eph\"}]");
    execute(&w, DEFAULT_ON, "Completed");
    assert_true(volumes_saved(&w.f, "e"));
    assert_true(volumes_saved(&w.f, "eph"));
    assert_int_equal(w.v.started, 2);
    assert_int_equal(volumes_count(w.run, "warnings"), 1); /* of hostPath */
    assert_int_equal(fakes_at(&w.f, "begin p-eph"), -1);
    close_world(&w);
}

static void old_name_of_the_default_counts(void **state)
{
    (void)state;
    world w;
    open_world(&w, true);
    volumes_usual_pod(&w.f, "");
    execute(&w, "\"defaultVolumesToRestic\":true,\"defaultVolumesToFsBackup\":false", "Completed");
    assert_true(volumes_saved(&w.f, "disk"));
    assert_true(volumes_saved(&w.f, "cache"));
    close_world(&w);
}

static void volumes_that_no_container_mounts_are_skipped_with_a_warning(void **state)
{
    (void)state;
    world w;
    open_world(&w, true);
    volumes_pod(&w.f, "p", "Running", "", "{\"name\":\"e\",\"emptyDir\":{}}",
                "\"volumeMounts\":[]");
    execute(&w, DEFAULT_ON, "Completed");
    assert_int_equal(w.v.started, 0);
    assert_int_equal(volumes_count(w.run, "warnings"), 1);
    close_world(&w);
}

static void volume_on_a_hostpath_is_skipped_with_a_warning(void **state)
{
    (void)state;
    world w;
    open_world(&w, true);
    fakes_add(&w.f, "persistentvolumeclaims",
              "{\"apiVersion\":\"v1\",\"kind\":\"PersistentVolumeClaim\",\"metadata\":{\"name\":"
              "\"local\",\"namespace\":\"shop\"},\"spec\":{\"volumeName\":\"pv-h\"},\"status\":{"
              "\"phase\":\"Bound\"}}");
    fakes_add(&w.f, "persistentvolumes",
              "{\"apiVersion\":\"v1\",\"kind\":\"PersistentVolume\",\"metadata\":{\"name\":"
              "\"pv-h\"},\"spec\":{\"hostPath\":{\"path\":\"/x\"}}}");
    volumes_pod(&w.f, "p", "Running", "",
                "{\"name\":\"v\",\"persistentVolumeClaim\":{\"claimName\":\"local\"}}",
                "\"volumeMounts\":[{\"name\":\"v\"}]");
    execute(&w, DEFAULT_ON, "Completed");
    assert_int_equal(w.v.started, 0);
    assert_int_equal(volumes_count(w.run, "warnings"), 1);
    assert_int_equal(fakes_at(&w.f, "begin local"), -1);
    vmbi_json *info = volumes_file(w.ctx, VMB_FILE_VOLUME_INFO);
    char *text = NULL;
    assert_int_equal(vmbi_json_to_text(info, &text, NULL, NULL), VMB_OK);
    assert_non_null(strstr(text, "podvolume: pod p: hostPath volumes are not saved"));
    vmb_free(text);
    vmbi_json_free(info);
    close_world(&w);
}

static void finished_pod_saves_nothing_and_warns(void **state)
{
    (void)state;
    world w;
    open_world(&w, true);
    volumes_pod(&w.f, "p", "Succeeded", "\"backup.velero.io/backup-volumes\":\"v\"",
                "{\"name\":\"v\",\"persistentVolumeClaim\":{\"claimName\":\"disk\"}}",
                "\"volumeMounts\":[{\"name\":\"v\"}]");
    execute(&w, "", "Completed");
    assert_int_equal(w.v.started, 0);
    assert_int_equal(fakes_at(&w.f, "begin disk"), -1); /* as Velero: neither way */
    assert_int_equal(volumes_count(w.run, "warnings"), 1);
    assert_true(stored(&w, "pods", "p"));
    assert_true(stored(&w, "persistentvolumeclaims", "disk"));
    close_world(&w);
}

static void shared_claim_is_saved_through_one_pod(void **state)
{
    (void)state;
    world w;
    open_world(&w, true);
    volumes_usual_pod(&w.f, "");
    volumes_pod(&w.f, "second", "Running", "",
                "{\"name\":\"other\",\"persistentVolumeClaim\":{\"claimName\":\"disk\"}}",
                "\"volumeMounts\":[{\"name\":\"other\"}]");
    execute(&w, DEFAULT_ON, "Completed");
    /* cache, and the claim once, through whichever pod came first */
    assert_int_equal(w.v.started, 2);
    close_world(&w);
}

static void excluded_claims_are_not_saved(void **state)
{
    (void)state;
    world w;
    open_world(&w, true);
    volumes_usual_pod(&w.f, "");
    execute(&w, DEFAULT_ON ",\"excludedResources\":[\"persistentvolumeclaims\"]", "Completed");
    assert_false(volumes_saved(&w.f, "disk"));
    assert_true(volumes_saved(&w.f, "cache"));
    close_world(&w);
}

static void claim_of_a_pod_outside_the_backup_is_still_given(void **state)
{
    (void)state;
    world w;
    open_world(&w, true);
    volumes_usual_pod(&w.f, "\"backup.velero.io/backup-volumes\":\"disk\"");
    execute(&w, "\"includedResources\":[\"persistentvolumeclaims\"]", "Completed");
    assert_int_equal(w.v.started, 0);
    assert_int_equal(fakes_at(&w.f, "begin disk"), -1);
    close_world(&w);
}

static void opted_out_claim_is_snapshotted(void **state)
{
    (void)state;
    world w;
    open_world(&w, true);
    volumes_usual_pod(&w.f, "\"backup.velero.io/backup-volumes-excludes\":\"disk\"");
    execute(&w, DEFAULT_ON, "Completed");
    assert_false(volumes_saved(&w.f, "disk"));
    assert_true(fakes_at(&w.f, "begin disk") >= 0);
    close_world(&w);
}

/* ---- records ------------------------------------------------------------------------------- */

static void check_text(const vmbi_json *doc, const char *path, const char *wanted)
{
    const char *text = vmbi_json_path_str(doc, path);
    assert_non_null(text);
    assert_string_equal(text, wanted);
}

static void saved_claim_is_recorded_and_not_snapshotted(void **state)
{
    (void)state;
    world w;
    open_world(&w, true);
    volumes_usual_pod(&w.f, "");
    execute(&w, DEFAULT_ON, "Completed");
    assert_int_equal(fakes_at(&w.f, "begin disk"), -1);
    assert_true(stored(&w, "persistentvolumeclaims", "disk"));
    vmbi_json *list = volumes_file(w.ctx, VMB_FILE_POD_VOLUME_BACKUPS);
    assert_int_equal(vmbi_json_len(list), 2);
    vmbi_json *r = volumes_record(list, "disk");
    assert_non_null(r);
    check_text(r, "kind", "PodVolumeBackup");
    check_text(r, "apiVersion", "velero.io/v1");
    check_text(r, "metadata.namespace", "velero");
    check_text(r, "metadata.generateName", "b1-");
    assert_int_equal(strlen(vmbi_json_path_str(r, "metadata.name")), strlen("b1-x7k2p"));
    const vmbi_json *labels = vmbi_json_path(r, "metadata.labels");
    assert_string_equal(vmbi_json_get_str(labels, "velero.io/backup-name"), "b1");
    assert_string_equal(vmbi_json_get_str(labels, "velero.io/pvc-uid"), "uid-disk");
    assert_string_equal(vmbi_json_get_str(vmbi_json_path(r, "metadata.annotations"),
                                          "velero.io/pvc-name"), "disk");
    const vmbi_json *owner = vmbi_json_at(vmbi_json_path(r, "metadata.ownerReferences"), 0);
    check_text(owner, "kind", "Backup");
    check_text(owner, "name", "b1");
    check_text(r, "spec.node", "n1");
    check_text(r, "spec.pod.name", "launcher");
    check_text(r, "spec.pod.uid", "uid-launcher");
    check_text(r, "spec.backupStorageLocation", "default");
    check_text(r, "spec.repoIdentifier", "s3:x/restic/shop");
    check_text(r, "spec.uploaderType", "restic");
    check_text(r, "spec.tags.pvc-uid", "uid-disk");
    check_text(r, "spec.tags.ns", "shop");
    check_text(r, "spec.tags.volume", "disk");
    check_text(r, "status.phase", "Completed");
    check_text(r, "status.snapshotID", "id-disk");
    check_text(r, "status.path", "/pods/disk");
    assert_int_equal(vmbi_json_int(vmbi_json_path(r, "status.progress.totalBytes"), 0), 4);
    assert_null(vmbi_json_path(volumes_record(list, "cache"), "metadata.annotations"));
    vmbi_json_free(list);
    close_world(&w);
}

static void saved_volumes_stand_in_volumeinfo(void **state)
{
    (void)state;
    world w;
    open_world(&w, true);
    volumes_usual_pod(&w.f, "");
    execute(&w, DEFAULT_ON, "Completed");
    vmbi_json *list = volumes_file(w.ctx, VMB_FILE_VOLUME_INFO);
    assert_int_equal(vmbi_json_len(list), 2);
    vmbi_json *e = volumes_record(list, "disk");
    check_text(e, "backupMethod", "PodVolumeBackup");
    check_text(e, "pvcName", "disk");
    check_text(e, "pvName", "pv-1");
    check_text(e, "result", "succeeded");
    check_text(e, "pvInfo.reclaimPolicy", "Delete");
    check_text(e, "pvbInfo.snapshotHandle", "id-disk");
    check_text(e, "pvbInfo.Phase", "Completed");
    e = volumes_record(list, "cache");
    assert_null(vmbi_json_get(e, "pvcName"));
    assert_null(vmbi_json_get(e, "pvName"));
    vmbi_json_free(list);
    close_world(&w);
}

static void block_claim_is_told_to_the_provider(void **state)
{
    (void)state;
    world w;
    open_world(&w, true);
    fakes_add(&w.f, "persistentvolumeclaims",
              "{\"apiVersion\":\"v1\",\"kind\":\"PersistentVolumeClaim\",\"metadata\":{\"name\":"
              "\"raw\",\"namespace\":\"shop\"},\"spec\":{\"volumeMode\":\"Block\"},\"status\":{"
              "\"phase\":\"Bound\"}}");
    volumes_pod(&w.f, "p", "Running", "",
                "{\"name\":\"v\",\"persistentVolumeClaim\":{\"claimName\":\"raw\"}}",
                "\"volumeDevices\":[{\"name\":\"v\"}]");
    execute(&w, DEFAULT_ON, "Completed");
    assert_int_equal(w.v.n_docs, 1);
    assert_non_null(strstr(w.v.docs[0], "\"mode\":\"Block\""));
    assert_non_null(strstr(w.v.docs[0], "\"location\":{\"bucket\":\"\""));
    assert_non_null(strstr(w.v.docs[0], "\"parent\":null"));
    close_world(&w);
}

/* ---- order, threads, time ------------------------------------------------------------------ */

static void hooks_surround_what_is_saved(void **state)
{
    (void)state;
    world w;
    open_world(&w, true);
    volumes_usual_pod(&w.f, HOOKS);
    execute(&w, DEFAULT_ON, "Completed");
    int freeze = fakes_at(&w.f, "exec launcher freeze");
    int first = fakes_at(&w.f, "save disk");
    int last = fakes_at(&w.f, "saved cache");
    int thaw = fakes_at(&w.f, "exec launcher thaw");
    assert_true(freeze >= 0 && freeze < first && first < last && last < thaw);
    close_world(&w);
}

static void failed_pre_hook_saves_nothing(void **state)
{
    (void)state;
    world w;
    open_world(&w, true);
    w.f.fail_command = "freeze";
    volumes_usual_pod(&w.f, HOOKS);
    execute(&w, DEFAULT_ON, "PartiallyFailed");
    assert_int_equal(w.v.started, 0);
    assert_false(stored(&w, "pods", "launcher"));
    close_world(&w);
}

static int most_at_a_time(const char *workers, uint32_t flags)
{
    world w;
    fakes_init(&w.f);
    memset(&w.v, 0, sizeof(w.v));
    w.v.flags = flags;
    w.v.sleep_ns = 50000000;
    w.ctx = volumes_ctx(&w.f, &w.v);
    assert_non_null(w.ctx);
    volumes_pod(&w.f, "p", "Running", "",
                "{\"name\":\"a\",\"emptyDir\":{}},{\"name\":\"b\",\"emptyDir\":{}},"
                "{\"name\":\"c\",\"emptyDir\":{}},{\"name\":\"d\",\"emptyDir\":{}}",
                "\"volumeMounts\":[{\"name\":\"a\"},{\"name\":\"b\"},{\"name\":\"c\"},"
                "{\"name\":\"d\"}]");
    assert_int_equal(vmb_ctx_set(w.ctx, "volume-workers", workers, NULL), VMB_OK);
    execute(&w, DEFAULT_ON, "Completed");
    assert_int_equal(w.v.started, 4);
    int most = w.v.max_running;
    close_world(&w);
    return most;
}

static void workers_save_at_the_same_time_unless_serial(void **state)
{
    (void)state;
    assert_int_equal(most_at_a_time("1", 0), 1);
    assert_true(most_at_a_time("3", 0) >= 2);
    assert_true(most_at_a_time("3", 0) <= 3);
    assert_int_equal(most_at_a_time("8", VMB_PROVIDER_SERIAL), 1);
}

static void worker_settings_are_checked(void **state)
{
    (void)state;
    world w;
    open_world(&w, true);
    assert_int_equal(vmb_ctx_set(w.ctx, "volume-workers", "0", NULL), VMB_E_ARG);
    assert_int_equal(vmb_ctx_set(w.ctx, "volume-workers", "9", NULL), VMB_E_ARG);
    assert_int_equal(vmb_ctx_set(w.ctx, "volume-workers", "8", NULL), VMB_OK);
    assert_int_equal(vmb_ctx_set(w.ctx, "fs-backup-timeout", "0s", NULL), VMB_E_ARG);
    assert_int_equal(vmb_ctx_set(w.ctx, "fs-backup-timeout", "1h", NULL), VMB_OK);
    close_world(&w);
}

static int64_t now_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void timeout_of_the_annotation_fails_the_volume(void **state)
{
    (void)state;
    world w;
    open_world(&w, true);
    w.v.sleep_ns = 60000000000;
    volumes_usual_pod(&w.f, "");
    int64_t start = now_ms();
    execute_noted(&w, DEFAULT_ON, "\"velero.io/pod-volume-timeout\":\"300ms\"",
                  "PartiallyFailed");
    assert_true(now_ms() - start < 10000);
    vmbi_json *list = volumes_file(w.ctx, VMB_FILE_POD_VOLUME_BACKUPS);
    assert_int_equal(vmbi_json_len(list), 2); /* unlike Velero, which records nothing then */
    check_text(volumes_record(list, "disk"), "status.phase", "Failed");
    assert_non_null(vmbi_json_path_str(volumes_record(list, "disk"), "status.message"));
    vmbi_json_free(list);
    close_world(&w);
}

/* The wall clock, which somebody may set. */
static atomic_llong clock_jump_s;

int clock_gettime(clockid_t id, struct timespec *t)
{
    int rc = (int)syscall(SYS_clock_gettime, id, t);
    if (rc == 0 && id == CLOCK_REALTIME) {
        t->tv_sec += (time_t)atomic_load(&clock_jump_s);
    }
    return rc;
}

static void set_clock(fakes *f, const char *key)
{
    (void)f;
    (void)key;
    atomic_store(&clock_jump_s, 36000);
}

static void clock_that_is_set_meanwhile_is_no_timeout(void **state)
{
    (void)state;
    world w;
    open_world(&w, true);
    volumes_usual_pod(&w.f, "");
    w.f.on_put = set_clock; /* when the archive begins */
    execute_noted(&w, DEFAULT_ON, "\"velero.io/pod-volume-timeout\":\"1h\"", "Completed");
    atomic_store(&clock_jump_s, 0);
    assert_true(volumes_saved(&w.f, "disk"));
    close_world(&w);
}

static void cancelled_run_ends_within_a_second_and_forgets(void **state)
{
    (void)state;
    world w;
    open_world(&w, true);
    volumes_pod(&w.f, "p", "Running", "",
                "{\"name\":\"a\",\"emptyDir\":{}},{\"name\":\"b\",\"emptyDir\":{}}",
                "\"volumeMounts\":[{\"name\":\"a\"},{\"name\":\"b\"}]");
    w.v.sleep_ns = 200000000;
    w.run = volumes_run(w.ctx, DEFAULT_ON, "");
    w.v.cancel = w.run; /* while b is saved; a has been */
    int64_t start = now_ms();
    assert_int_equal(vmb_run_execute(w.run, NULL), VMB_E_CANCELLED);
    assert_true(now_ms() - start < 1200);
    assert_string_equal(vmb_run_phase(w.run), "Failed");
    assert_int_equal(w.v.removed, 1);
    assert_true(fakes_at(&w.f, "forget {\"snapshotID\":\"id-a\"") >= 0);
    assert_null(fakes_file(&w.f, "backups/b1/velero-backup.json", NULL));
    close_world(&w);
}

/* ---- failures ------------------------------------------------------------------------------ */

static void failed_volume_costs_its_claim_not_its_pod(void **state)
{
    (void)state;
    world w;
    open_world(&w, true);
    w.v.fail_volume = "disk";
    volumes_usual_pod(&w.f, HOOKS);
    execute(&w, DEFAULT_ON, "PartiallyFailed");
    assert_int_equal(volumes_count(w.run, "errors"), 1);
    assert_true(fakes_at(&w.f, "exec launcher thaw") >= 0);
    assert_true(stored(&w, "pods", "launcher"));
    assert_false(stored(&w, "persistentvolumeclaims", "disk"));
    vmbi_json *list = volumes_file(w.ctx, VMB_FILE_POD_VOLUME_BACKUPS);
    vmbi_json *r = volumes_record(list, "disk");
    check_text(r, "status.phase", "Failed");
    assert_non_null(strstr(vmbi_json_path_str(r, "status.message"), "broken"));
    assert_null(vmbi_json_path(r, "status.snapshotID"));
    check_text(volumes_record(list, "cache"), "status.phase", "Completed");
    vmbi_json_free(list);
    list = volumes_file(w.ctx, VMB_FILE_VOLUME_INFO);
    check_text(volumes_record(list, "disk"), "result", "failed");
    vmbi_json_free(list);
    assert_int_equal(w.v.removed, 0);
    close_world(&w);
}

static void without_a_provider_pod_and_claim_are_left_out(void **state)
{
    (void)state;
    world w;
    open_world(&w, false);
    volumes_pod(&w.f, "p", "Running", "\"backup.velero.io/backup-volumes\":\"v\"",
                "{\"name\":\"v\",\"persistentVolumeClaim\":{\"claimName\":\"disk\"}}",
                "\"volumeMounts\":[{\"name\":\"v\"}]");
    execute(&w, "", "PartiallyFailed");
    assert_int_equal(volumes_count(w.run, "errors"), 1);
    assert_false(stored(&w, "pods", "p"));
    assert_false(stored(&w, "persistentvolumeclaims", "disk"));
    assert_int_equal(fakes_at(&w.f, "begin disk"), -1);
    close_world(&w);
}

static void provider_that_bids_nothing_is_not_asked(void **state)
{
    (void)state;
    world w;
    open_world(&w, true);
    w.v.score = -1;
    volumes_usual_pod(&w.f, "");
    execute(&w, DEFAULT_ON, "PartiallyFailed");
    assert_int_equal(w.v.started, 0);
    assert_int_equal(volumes_count(w.run, "errors"), 2);
    close_world(&w);
}

static void missing_claim_leaves_the_pod_out(void **state)
{
    (void)state;
    world w;
    open_world(&w, true);
    volumes_pod(&w.f, "p", "Running", "",
                "{\"name\":\"v\",\"persistentVolumeClaim\":{\"claimName\":\"gone\"}},"
                "{\"name\":\"e\",\"emptyDir\":{}}",
                "\"volumeMounts\":[{\"name\":\"v\"},{\"name\":\"e\"}]");
    execute(&w, DEFAULT_ON, "PartiallyFailed");
    assert_false(stored(&w, "pods", "p"));
    assert_true(volumes_saved(&w.f, "e"));
    close_world(&w);
}

static void odd_result_is_an_error_of_the_provider(void **state)
{
    static const char *const results[] = {"", "[]", "{}", "{\"snapshotID\":\"a\"}",
                                          "{\"snapshotID\":\"a\",\"uploaderType\":\"tape\"}",
                                          "{\"snapshotID\":7,\"uploaderType\":\"restic\"}"};
    (void)state;
    for (size_t i = 0; i < sizeof(results) / sizeof(results[0]); i++) {
        world w;
        open_world(&w, true);
        w.v.result = results[i];
        volumes_usual_pod(&w.f, "");
        execute(&w, DEFAULT_ON, "PartiallyFailed");
        assert_int_equal(volumes_count(w.run, "errors"), 2);
        close_world(&w);
    }
}

static void empty_volume_is_recorded_without_a_snapshot(void **state)
{
    (void)state;
    world w;
    open_world(&w, true);
    w.v.result = "{\"snapshotID\":\"\",\"uploaderType\":\"restic\",\"message\":\"was empty\"}";
    volumes_usual_pod(&w.f, "");
    execute(&w, DEFAULT_ON, "Completed");
    vmbi_json *list = volumes_file(w.ctx, VMB_FILE_POD_VOLUME_BACKUPS);
    vmbi_json *r = volumes_record(list, "disk");
    check_text(r, "status.phase", "Completed");
    check_text(r, "status.message", "was empty");
    assert_null(vmbi_json_path(r, "status.snapshotID"));
    vmbi_json_free(list);
    close_world(&w);
}

static void provider_is_destroyed_once_also_when_refused(void **state)
{
    (void)state;
    world w;
    open_world(&w, true);
    vmb_volume_provider p = {.struct_size = sizeof(p), .api_version = VMB_PROVIDER_API,
                             .name = "bad", .user = NULL};
    assert_int_equal(vmb_ctx_add_volume_provider(w.ctx, &p, NULL), VMB_E_ARG); /* no backup */
    p.struct_size = 8;
    assert_int_equal(vmb_ctx_add_volume_provider(w.ctx, &p, NULL), VMB_E_ARG);
    assert_int_equal(vmb_ctx_add_volume_provider(w.ctx, NULL, NULL), VMB_E_ARG);
    vmb_ctx_unref(w.ctx);
    w.ctx = NULL;
    assert_int_equal(w.v.destroyed, 1);
    close_world(&w);
}

/* ---- policies ------------------------------------------------------------------------------ */

#define POLICY ",\"resourcePolicy\":{\"kind\":\"ConfigMap\",\"name\":\"rules\"}"

static void add_policy(world *w, const char *text)
{
    char doc[2048];
    (void)snprintf(doc, sizeof(doc),
                   "{\"metadata\":{\"name\":\"rules\",\"namespace\":\"velero\"},\"data\":{"
                   "\"p\":\"version: v1\\nvolumePolicies:\\n%s\"}}", text);
    fakes_add(&w->f, "configmaps", doc);
}

#define RULE(condition, action)                                                       \
    "- conditions: {" condition "}\\n  action: {type: " action "}\\n"

static void policy_decides_over_annotations(void **state)
{
    (void)state;
    world w;
    open_world(&w, true);
    add_policy(&w, RULE("volumeTypes: [emptyDir]", "skip")
               RULE("csi: {driver: d}", "fs-backup"));
    volumes_usual_pod(&w.f, "\"backup.velero.io/backup-volumes\":\"cache\"");
    execute(&w, "\"snapshotVolumes\":true" POLICY, "Completed");
    assert_true(volumes_saved(&w.f, "disk"));
    assert_false(volumes_saved(&w.f, "cache"));
    assert_int_equal(fakes_at(&w.f, "begin disk"), -1);
    close_world(&w);
}

static void policy_snapshot_decides_over_the_spec(void **state)
{
    (void)state;
    world w;
    open_world(&w, true);
    add_policy(&w, RULE("csi: {}", "snapshot"));
    volumes_usual_pod(&w.f, "");
    execute(&w, DEFAULT_ON ",\"snapshotVolumes\":false" POLICY, "Completed");
    assert_true(fakes_at(&w.f, "begin disk") >= 0);
    assert_false(volumes_saved(&w.f, "disk"));
    assert_true(volumes_saved(&w.f, "cache")); /* no rule: the default */
    close_world(&w);
}

static void policy_skip_takes_neither_way(void **state)
{
    (void)state;
    world w;
    open_world(&w, true);
    add_policy(&w, RULE("csi: {}", "skip"));
    volumes_usual_pod(&w.f, "\"backup.velero.io/backup-volumes\":\"disk\"");
    execute(&w, "\"snapshotVolumes\":true" POLICY, "Completed");
    assert_int_equal(fakes_at(&w.f, "begin disk"), -1);
    assert_int_equal(w.v.started, 0);
    assert_true(stored(&w, "persistentvolumeclaims", "disk"));
    vmbi_json *list = volumes_file(w.ctx, VMB_FILE_VOLUME_INFO);
    const char *why = vmbi_json_path_str(vmbi_json_at(list, 0), "skippedReason");
    assert_non_null(why);
    assert_non_null(strstr(why, "policy"));
    vmbi_json_free(list);
    close_world(&w);
}

static void policy_that_is_missing_or_wrong_fails_validation(void **state)
{
    (void)state;
    world w;
    open_world(&w, true);
    execute(&w, "\"snapshotVolumes\":true" POLICY, "FailedValidation");
    close_world(&w);
    open_world(&w, true);
    add_policy(&w, RULE("csi: {}", "explode"));
    execute(&w, "\"snapshotVolumes\":true" POLICY, "FailedValidation");
    close_world(&w);
}

static void policy_lists_complete_the_filters(void **state)
{
    (void)state;
    world w;
    open_world(&w, true);
    fakes_add(&w.f, "configmaps",
              "{\"metadata\":{\"name\":\"rules\",\"namespace\":\"velero\"},\"data\":{\"p\":"
              "\"version: v1\\nincludeExcludePolicy:\\n  excludedNamespaceScopedResources: "
              "[configmaps]\\n\"}}");
    fakes_add(&w.f, "configmaps", "{\"metadata\":{\"name\":\"c\",\"namespace\":\"shop\"}}");
    volumes_usual_pod(&w.f, "");
    execute(&w, "\"snapshotVolumes\":true" POLICY, "Completed");
    assert_false(stored(&w, "configmaps", "c"));
    assert_true(stored(&w, "pods", "launcher"));
    close_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(optin_names_are_not_trimmed),
        cmocka_unit_test(default_saves_all_but_what_is_never_saved),
        cmocka_unit_test(old_name_of_the_default_counts),
        cmocka_unit_test(volumes_that_no_container_mounts_are_skipped_with_a_warning),
        cmocka_unit_test(volume_on_a_hostpath_is_skipped_with_a_warning),
        cmocka_unit_test(finished_pod_saves_nothing_and_warns),
        cmocka_unit_test(shared_claim_is_saved_through_one_pod),
        cmocka_unit_test(excluded_claims_are_not_saved),
        cmocka_unit_test(claim_of_a_pod_outside_the_backup_is_still_given),
        cmocka_unit_test(opted_out_claim_is_snapshotted),
        cmocka_unit_test(saved_claim_is_recorded_and_not_snapshotted),
        cmocka_unit_test(saved_volumes_stand_in_volumeinfo),
        cmocka_unit_test(block_claim_is_told_to_the_provider),
        cmocka_unit_test(hooks_surround_what_is_saved),
        cmocka_unit_test(failed_pre_hook_saves_nothing),
        cmocka_unit_test(workers_save_at_the_same_time_unless_serial),
        cmocka_unit_test(worker_settings_are_checked),
        cmocka_unit_test(timeout_of_the_annotation_fails_the_volume),
        cmocka_unit_test(clock_that_is_set_meanwhile_is_no_timeout),
        cmocka_unit_test(cancelled_run_ends_within_a_second_and_forgets),
        cmocka_unit_test(failed_volume_costs_its_claim_not_its_pod),
        cmocka_unit_test(without_a_provider_pod_and_claim_are_left_out),
        cmocka_unit_test(provider_that_bids_nothing_is_not_asked),
        cmocka_unit_test(missing_claim_leaves_the_pod_out),
        cmocka_unit_test(odd_result_is_an_error_of_the_provider),
        cmocka_unit_test(empty_volume_is_recorded_without_a_snapshot),
        cmocka_unit_test(provider_is_destroyed_once_also_when_refused),
        cmocka_unit_test(policy_decides_over_annotations),
        cmocka_unit_test(policy_snapshot_decides_over_the_spec),
        cmocka_unit_test(policy_skip_takes_neither_way),
        cmocka_unit_test(policy_that_is_missing_or_wrong_fails_validation),
        cmocka_unit_test(policy_lists_complete_the_filters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
