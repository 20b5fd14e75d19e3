/* SPDX-License-Identifier: Apache-2.0 */
/* Backups: one at a time from New to the end, with its progress in the object. */
#include "core/control/control.h"

#include <poll.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "codec/duration.h"
#include "core/control/recover.h"
#include "core/run.h"
#include "model/backup.h"
#include "model/labelname.h"

#define PROGRESS_NS VMBI_SECOND             /* between two patches of the progress */
#define VALIDATION_WAIT_NS (VMBI_SECOND / 2) /* for a location that was never looked at */

typedef struct backup_turn {
    vmb_control *c;
    const char *name;
    vmbi_json *tree;     /* the Backup as it was read */
    const char *location; /* borrowed from the located one */
    int64_t start_unix_ns;
    int64_t told_mono_ns; /* the last progress */
} backup_turn;

/* ---- while it runs ------------------------------------------------------------------------ */

static bool set_time(vmbi_json *obj, const char *key, int64_t unix_ns)
{
    char text[VMBI_RFC3339_SIZE];
    vmbi_format_rfc3339(unix_ns, text);
    return vmbi_json_set_str(obj, key, text);
}

static vmbi_json *started_patch(const backup_turn *b)
{
    char label[VMBI_LABEL_NAME_SIZE];
    vmbi_json *patch = vmbi_phase_patch("InProgress");
    vmbi_json *status = vmbi_json_get(patch, "status");
    vmbi_json *spec = vmbi_json_ensure_object(patch, "spec");
    vmbi_json *labels = vmbi_json_ensure_object(vmbi_json_ensure_object(patch, "metadata"),
                                                "labels");
    int64_t ttl = vmbi_backup_duration_ns(vmbi_json_get(b->tree, "spec"), "ttl",
                                          b->c->settings.default_ttl_ns);
    vmbi_label_valid_name(b->location, label);
    bool ok = status != NULL && spec != NULL && labels != NULL;
    ok = ok && vmbi_json_set_int(status, "version", 1);
    ok = ok && vmbi_json_set_str(status, "formatVersion", "1.1.0");
    ok = ok && set_time(status, "startTimestamp", b->start_unix_ns);
    ok = ok && set_time(status, "expiration", b->start_unix_ns + ttl);
    ok = ok && vmbi_json_set_str(spec, "storageLocation", b->location);
    ok = ok && vmbi_json_set_str(labels, "velero.io/storage-location", label);
    if (!ok) {
        vmbi_json_free(patch);
        patch = NULL;
    }
    return patch;
}

/* A patch that is lost here is made up for by a later one. */
static void on_event(void *user, const vmb_event *e)
{
    backup_turn *b = user;
    vmbi_json *patch = NULL;
    int64_t now = vmbi_mono_ns();
    if (e->kind == VMB_EVENT_PHASE && strcmp(e->text, "InProgress") == 0) {
        patch = started_patch(b);
        vmbi_control_event(b->c, b->tree, false, "InProgress", "the backup has begun");
    } else if (e->kind == VMB_EVENT_PHASE && vmbi_starts_with(e->text, "Finalizing")) {
        patch = vmbi_phase_patch(e->text);
    } else if (e->kind == VMB_EVENT_PROGRESS && now - b->told_mono_ns >= PROGRESS_NS) {
        b->told_mono_ns = now;
        patch = vmbi_progress_patch("itemsBackedUp", e->done, e->total);
    }
    if (patch != NULL) {
        (void)vmbi_object_patch(b->c, VMBI_KIND_BACKUP, b->name, patch, VMBI_NORMAL, NULL);
    }
}

/* ---- the end ------------------------------------------------------------------------------ */

static double count_of(const vmbi_json *status, const char *key)
{
    return (double)vmbi_json_int(vmbi_json_get(status, key), 0);
}

static void count_outcome(vmb_control *c, const vmbi_json *report)
{
    vmbi_metrics *m = &c->metrics;
    vmbi_json *backup = vmbi_json_get(report, "backup");
    const vmbi_json *status = vmbi_json_get(backup, "status");
    const char *label = vmbi_json_get_str(vmbi_json_path(backup, "metadata.labels"),
                                          "velero.io/schedule-name");
    const char *phase = vmbi_json_get_str(status, "phase");
    double longest = 0;
    label = label != NULL ? label : "";
    phase = phase != NULL ? phase : "";
    bool completed = strcmp(phase, "Completed") == 0;
    vmbi_metrics_add(m, completed                                ? "backup_success_total"
                        : strcmp(phase, "PartiallyFailed") == 0  ? "backup_partial_failure_total"
                        : strcmp(phase, "FailedValidation") == 0 ? "backup_validation_failure_total"
                                                                 : "backup_failure_total",
                     label, 1);
    vmbi_metrics_set(m, "backup_last_status", label, completed ? 1 : 0);
    if (completed) {
        vmbi_metrics_set(m, "backup_last_successful_timestamp", label,
                         (double)(vmbi_unix_ns() / VMBI_SECOND));
    }
    vmbi_metrics_observe(m, "backup_duration_seconds", label,
                         (double)vmbi_json_int(vmbi_json_get(report, "durationNs"), 0) / 1e9);
    double archive = (double)vmbi_json_int(vmbi_json_path(report, "bytes.archive"), 0);
    vmbi_metrics_set(m, "backup_tarball_size_bytes", label, archive);
    vmbi_metrics_add(m, "bytes_stored_total", label, archive);
    vmbi_metrics_add(m, "bytes_read_total", label,
                     (double)vmbi_json_int(vmbi_json_path(report, "bytes.objects"), 0));
    vmbi_metrics_set(m, "backup_items_total", label,
                     count_of(vmbi_json_get(status, "progress"), "totalItems"));
    vmbi_metrics_set(m, "backup_items_errors", label, count_of(status, "errors"));
    vmbi_metrics_add(m, "backup_warning_total", label, count_of(status, "warnings") > 0 ? 1 : 0);
    double begun = count_of(status, "csiVolumeSnapshotsAttempted");
    double ready = count_of(status, "csiVolumeSnapshotsCompleted");
    vmbi_metrics_add(m, "csi_snapshot_attempt_total", label, begun);
    vmbi_metrics_add(m, "csi_snapshot_success_total", label, ready);
    vmbi_metrics_add(m, "csi_snapshot_failure_total", label, begun > ready ? begun - ready : 0);
    const vmbi_json *freezes = vmbi_json_get(report, "freezes");
    for (size_t i = 0; i < vmbi_json_len(freezes); i++) {
        const vmbi_json *ns = vmbi_json_get(vmbi_json_at(freezes, i), "frozenNs");
        double seconds = (double)vmbi_json_int(ns, 0) / 1e9;
        longest = seconds > longest ? seconds : longest;
    }
    vmbi_metrics_set(m, "freeze_seconds", label, longest);
    vmbi_metrics_most(m, "freeze_seconds_max", "", longest);
}

/* What the run made of the Backup, as a patch of the object. */
vmbi_json *vmbi_backup_outcome_patch(const vmbi_json *backup)
{
    vmbi_json *patch = vmbi_json_object();
    vmbi_json *meta = vmbi_json_ensure_object(patch, "metadata");
    vmbi_json *status = vmbi_json_copy(vmbi_json_get(backup, "status"));
    static const char *const copied[] = {"labels", "annotations"};
    bool ok = meta != NULL && status != NULL;
    for (size_t i = 0; i < VMBI_ARRAY_LEN(copied) && ok; i++) {
        vmbi_json *v = vmbi_json_path(backup, i == 0 ? "metadata.labels" : "metadata.annotations");
        ok = v == NULL || vmbi_json_set(meta, copied[i], vmbi_json_copy(v));
    }
    ok = ok && vmbi_json_set(patch, "spec", vmbi_json_copy(vmbi_json_get(backup, "spec")));
    /* what an earlier state left is taken back */
    static const char *const gone[] = {"queuePosition", "failureReason"};
    for (size_t i = 0; i < VMBI_ARRAY_LEN(gone) && ok; i++) {
        ok = vmbi_json_get(status, gone[i]) != NULL ||
             vmbi_json_set(status, gone[i], vmbi_json_null());
    }
    if (!ok) {
        vmbi_json_free(status);
        vmbi_json_free(patch);
        return NULL;
    }
    if (!vmbi_json_set(patch, "status", status)) {
        vmbi_json_free(patch);
        patch = NULL;
    }
    return patch;
}

static vmb_code write_outcome(const backup_turn *b, const vmbi_json *report, const vmb_error *why,
                              vmb_error **err)
{
    const vmbi_json *backup = vmbi_json_get(report, "backup");
    const char *phase = vmbi_json_path_str(backup, "status.phase");
    if (phase == NULL) {
        return vmbi_fail(err, VMB_E_INTERNAL, "backup %s: the run gave no phase", b->name);
    }
    if (!vmbi_leader_decides(b->c, phase)) {
        return VMB_OK;
    }
    count_outcome(b->c, report);
    vmb_code rc = vmbi_object_patch(b->c, VMBI_KIND_BACKUP, b->name,
                                    vmbi_backup_outcome_patch(backup), VMBI_LAST_WORD, err);
    if (rc == VMB_OK) {
        bool good = strcmp(phase, "Completed") == 0;
        vmbi_control_event(b->c, b->tree, !good, phase, "%s",
                           why != NULL ? vmb_error_message(why)
                           : good      ? "the backup is stored"
                                       : "the backup is stored, with errors: see its log");
    }
    return rc;
}

/* ---- one backup --------------------------------------------------------------------------- */

static vmb_code refuse(const backup_turn *b, const char *why, vmb_error **err)
{
    vmbi_json *patch = vmbi_phase_patch("FailedValidation");
    vmbi_json *status = vmbi_json_get(patch, "status");
    vmbi_json *lines = vmbi_json_array();
    bool ok = lines != NULL && vmbi_json_append_str(lines, why);
    ok = ok && status != NULL && vmbi_json_set(status, "validationErrors", vmbi_json_ref(lines));
    vmbi_json_free(lines);
    if (!ok) {
        vmbi_json_free(patch);
        return vmbi_fail_nomem(err);
    }
    vmbi_metrics_add(&b->c->metrics, "backup_validation_failure_total", "", 1);
    vmb_code rc = vmbi_object_patch(b->c, VMBI_KIND_BACKUP, b->name, patch, VMBI_NORMAL, err);
    if (rc == VMB_OK) {
        vmbi_control_event(b->c, b->tree, true, "FailedValidation", "%s", why);
    }
    return rc;
}

/* The Backup as the run is to have it: what belongs to the server's bookkeeping is left out. */
static vmb_code make_spec(const backup_turn *b, vmb_spec **out, vmb_error **err)
{
    vmbi_json *tree = vmbi_json_copy(b->tree);
    vmbi_json *meta = vmbi_json_get(tree, "metadata");
    vmbi_json *spec = vmbi_json_ensure_object(tree, "spec");
    char ttl[VMBI_DURATION_SIZE];
    if (meta == NULL || spec == NULL) {
        vmbi_json_free(tree);
        return vmbi_fail_nomem(err);
    }
    vmbi_json_del(meta, "managedFields");
    vmbi_json_del(meta, "resourceVersion");
    vmbi_json_del(tree, "status");
    bool ok = vmbi_json_set_str(spec, "storageLocation", b->location);
    if (vmbi_backup_duration_ns(spec, "ttl", 0) == 0) {
        vmbi_duration_format(b->c->settings.default_ttl_ns, ttl);
        ok = ok && vmbi_json_set_str(spec, "ttl", ttl);
    }
    vmb_code rc = ok ? vmbi_spec_from_tree(tree, out, err) : vmbi_fail_nomem(err);
    vmbi_json_free(tree);
    return rc;
}

/* Hands the control's stop on to the run. */
static void *pass_cancel(void *arg)
{
    void **both = arg;
    vmb_control *c = both[0];
    vmb_run *run = both[1];
    vmbi_cancel *over = both[2];
    struct pollfd fds[2] = {{vmbi_cancel_fd(c->stop), POLLIN, 0},
                            {vmbi_cancel_fd(over), POLLIN, 0}};
    while (!vmbi_cancel_is_set(c->stop) && !vmbi_cancel_is_set(over)) {
        (void)poll(fds, 2, -1);
    }
    if (vmbi_cancel_is_set(c->stop)) {
        vmbi_cancel_fire(run->cancel);
    }
    return NULL;
}

vmb_code vmbi_control_execute(vmb_control *c, vmb_run *run, vmb_error **err)
{
    vmbi_cancel *over = NULL;
    pthread_t thread;
    vmb_code rc = vmbi_cancel_new(&over, err);
    void *both[3] = {c, run, over};
    if (rc == VMB_OK && vmbi_thread_start(&thread, pass_cancel, both) != 0) {
        rc = vmbi_fail(err, VMB_E_NOMEM, "run: no thread");
        vmbi_cancel_free(over);
        return rc;
    }
    if (rc != VMB_OK) {
        return rc;
    }
    vmbi_ctx_enter(run->ctx);
    rc = vmbi_run_execute(run, err);
    vmbi_ctx_leave(run->ctx);
    vmbi_cancel_fire(over);
    (void)pthread_join(thread, NULL);
    vmbi_cancel_free(over);
    return rc;
}

static vmb_code run_backup(backup_turn *b, const vmbi_located *l, vmb_error **err)
{
    vmb_spec *spec = NULL;
    vmb_run *run = NULL;
    vmb_error *why = NULL;
    b->location = l->store.location->name;
    vmb_code rc = make_spec(b, &spec, err);
    if (rc == VMB_OK) {
        rc = vmbi_run_new(l->ctx, spec, &run, err);
    }
    if (rc == VMB_OK) {
        const char *schedule = vmbi_json_get_str(vmbi_json_path(b->tree, "metadata.labels"),
                                                 "velero.io/schedule-name");
        vmbi_metrics_add(&b->c->metrics, "backup_attempt_total", schedule != NULL ? schedule : "",
                         1);
        b->start_unix_ns = vmbi_unix_ns();
        b->told_mono_ns = vmbi_mono_ns();
        run->events.fn = on_event;
        run->events.user = b;
        vmb_code ran = vmbi_control_execute(b->c, run, &why);
        rc = write_outcome(b, run->report, ran != VMB_OK ? why : NULL, err);
        vmb_error_free(why);
    }
    vmbi_run_free(run);
    vmbi_spec_free(spec);
    return rc;
}

/* Takes the Backup: of two servers only one succeeds. */
static vmb_code claim(const backup_turn *b, vmb_error **err)
{
    vmbi_json *patch = vmbi_phase_patch("ReadyToStart");
    if (patch == NULL || !vmbi_patch_only_if(patch, b->tree)) {
        vmbi_json_free(patch);
        return vmbi_fail_nomem(err);
    }
    return vmbi_object_patch(b->c, VMBI_KIND_BACKUP, b->name, patch, VMBI_NORMAL, err);
}

static vmb_code start_backup(backup_turn *b, vmbi_turn *turn, vmb_error **err)
{
    vmbi_located l = {0};
    vmb_error *why = NULL;
    vmb_code rc = vmbi_locate(b->c, vmbi_json_path_str(b->tree, "spec.storageLocation"), &l, &why);
    if (rc == VMB_E_NOT_FOUND || rc == VMB_E_INVALID) {
        rc = refuse(b, vmb_error_message(why), err);
        vmb_error_free(why);
        return rc;
    }
    if (rc != VMB_OK) {
        vmbi_error_move(err, &why);
        return rc;
    }
    const char *phase = vmbi_located_phase(&l);
    if (phase[0] == '\0') {
        turn->again_ns = VALIDATION_WAIT_NS; /* the location's own loop is about to look at it */
    } else if (strcmp(phase, "Available") != 0) {
        vmbi_buf text = VMBI_BUF_INIT(2048);
        const char *message = vmbi_json_path_str(l.tree, "status.message");
        vmbi_buf_addf(&text, "storage location %s is not available: %s",
                      l.store.location->name, message != NULL ? message : "not validated yet");
        rc = refuse(b, text.data != NULL ? text.data : "", err);
        vmbi_buf_free(&text);
    } else {
        bool adopted = false;
        rc = vmbi_adopt_backup(b->c, b->tree, &l, &adopted, err);
        if (rc == VMB_OK && !adopted) {
            rc = claim(b, err);
        }
        if (rc == VMB_OK && !adopted) {
            rc = run_backup(b, &l, err);
        }
    }
    vmbi_located_done(&l);
    return rc;
}

vmb_code vmbi_reconcile_backup(vmb_control *c, vmbi_turn *turn, vmb_error **err)
{
    vmb_error *why = NULL;
    backup_turn b = {.c = c, .name = turn->name};
    vmb_code rc = vmbi_object_get(c, VMBI_KIND_BACKUP, turn->name, &b.tree, &why);
    if (rc == VMB_E_NOT_FOUND) {
        vmb_error_free(why);
        return VMB_OK;
    }
    if (rc != VMB_OK) {
        vmbi_error_move(err, &why);
        return rc;
    }
    const char *phase = vmbi_json_path_str(b.tree, "status.phase");
    phase = phase != NULL ? phase : "";
    if (vmbi_phase_is_working(phase)) {
        rc = vmbi_recover_backup(c, b.tree, turn, err);
    } else if (vmbi_phase_is_waiting(phase) &&
               vmbi_json_path(b.tree, "metadata.deletionTimestamp") == NULL) {
        rc = start_backup(&b, turn, err);
    }
    vmbi_json_free(b.tree);
    return rc;
}
