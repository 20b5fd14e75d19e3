/* SPDX-License-Identifier: Apache-2.0 */
/* Restores: one at a time from New to the end; their files when they are deleted. */
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "core/catalog.h"
#include "core/control/recover.h"
#include "core/run.h"
#include "model/labelname.h"
#include "model/restore.h"

#define PROGRESS_NS VMBI_SECOND
#define VALIDATION_WAIT_NS (VMBI_SECOND / 2)

static const char deleted[] = "the backup is being deleted";
static const char finalizer[] = "restores.velero.io/external-resources-finalizer";

typedef struct restore_turn {
    vmb_control *c;
    const char *name;
    vmbi_json *tree;
    vmbi_buf backup; /* its name, also when a schedule was named */
    int64_t start_unix_ns;
    int64_t told_mono_ns;
} restore_turn;

static vmb_code patch_restore(const restore_turn *r, vmbi_json *patch, vmb_error **err)
{
    return vmbi_object_patch(r->c, VMBI_KIND_RESTORE, r->name, patch, VMBI_LAST_WORD, err);
}

/* ---- finalizers --------------------------------------------------------------------------- */

static bool has_finalizer(const vmbi_json *tree)
{
    const vmbi_json *list = vmbi_json_path(tree, "metadata.finalizers");
    for (size_t i = 0; i < vmbi_json_len(list); i++) {
        if (vmbi_streq(vmbi_json_str(vmbi_json_at(list, i)), finalizer)) {
            return true;
        }
    }
    return false;
}

/* The list with or without ours, in a patch that holds for this version only. */
static bool set_finalizer(vmbi_json *patch, const vmbi_json *tree, bool wanted)
{
    vmbi_json *meta = vmbi_json_ensure_object(patch, "metadata");
    const vmbi_json *old = vmbi_json_path(tree, "metadata.finalizers");
    vmbi_json *list = vmbi_json_array();
    bool ok = meta != NULL && list != NULL;
    for (size_t i = 0; i < vmbi_json_len(old) && ok; i++) {
        const char *name = vmbi_json_str(vmbi_json_at(old, i));
        ok = name == NULL || strcmp(name, finalizer) == 0 || vmbi_json_append_str(list, name);
    }
    ok = ok && (!wanted || vmbi_json_append_str(list, finalizer));
    ok = ok && vmbi_json_set(meta, "finalizers", vmbi_json_ref(list));
    vmbi_json_free(list);
    return ok && vmbi_patch_only_if(patch, tree);
}

/* The location of the restore's backup; VMB_E_NOT_FOUND when the backup or the location is gone.
 * *deleting (may be NULL): the backup is about to go. */
static vmb_code locate_backup(vmb_control *c, const char *backup, vmbi_located *out, bool *deleting,
                              vmb_error **err)
{
    vmbi_json *tree = NULL;
    vmb_code rc = vmbi_object_get(c, VMBI_KIND_BACKUP, backup, &tree, err);
    if (deleting != NULL) {
        *deleting = vmbi_streq(vmbi_json_path_str(tree, "status.phase"), "Deleting");
    }
    if (rc == VMB_OK) {
        rc = vmbi_locate(c, vmbi_json_path_str(tree, "spec.storageLocation"), out, err);
    }
    vmbi_json_free(tree);
    return rc;
}

vmb_code vmbi_restore_remove_files(vmb_control *c, const vmbi_located *l, const char *restore,
                                   vmb_error **err)
{
    vmb_catalog *cat = NULL;
    vmb_code rc = vmbi_catalog_open(l->ctx, l->store.location->name, &cat, err);
    if (rc == VMB_OK) {
        cat->cancel = c->stop;
        rc = vmbi_catalog_remove_restore(cat, restore, err);
    }
    vmbi_catalog_free(cat);
    return rc;
}

/* Deleted: its files go, then the finalizer lets the object go. */
static vmb_code finish_deletion(const restore_turn *r, const vmbi_turn *turn, vmb_error **err)
{
    vmbi_located l = {0};
    vmb_error *why = NULL;
    const char *backup = vmbi_json_path_str(r->tree, "spec.backupName");
    if (!has_finalizer(r->tree)) {
        return VMB_OK;
    }
    vmb_code rc = locate_backup(r->c, backup != NULL ? backup : "", &l, NULL, &why);
    if (rc == VMB_OK && !vmbi_located_read_only(&l)) {
        rc = vmbi_restore_remove_files(r->c, &l, r->name, &why);
    }
    vmbi_located_done(&l);
    /* a store that is lost for good must not keep the object for ever */
    if (rc != VMB_OK && rc != VMB_E_NOT_FOUND && turn->failures < 8) {
        vmbi_error_move(err, &why);
        return rc;
    }
    vmb_error_free(why);
    vmbi_json *patch = vmbi_json_object();
    if (patch == NULL || !set_finalizer(patch, r->tree, false)) {
        vmbi_json_free(patch);
        patch = NULL;
    }
    return patch_restore(r, patch, err);
}

/* ---- which backup ------------------------------------------------------------------------- */

typedef struct latest {
    char schedule[VMBI_LABEL_NAME_SIZE];
    vmbi_buf *name;
    int64_t at;
} latest;

static void look_latest(void *user, const vmbi_cached *e)
{
    latest *l = user;
    int64_t at = 0;
    if (strcmp(vmbi_cached_field(e, VMBI_BACKUP_SCHEDULE), l->schedule) == 0 &&
        strcmp(vmbi_cached_field(e, VMBI_BACKUP_PHASE), "Completed") == 0 &&
        vmbi_parse_rfc3339(vmbi_cached_field(e, VMBI_BACKUP_STARTED), &at) && at > l->at) {
        l->at = at;
        vmbi_buf_reset(l->name);
        vmbi_buf_adds(l->name, e->name);
    }
}

/* NULL: what is wrong is a matter of validation in the run. */
static vmb_code find_backup(restore_turn *r, vmb_error **err)
{
    const char *backup = vmbi_json_path_str(r->tree, "spec.backupName");
    const char *schedule = vmbi_json_path_str(r->tree, "spec.scheduleName");
    if (backup != NULL && backup[0] != '\0') {
        vmbi_buf_adds(&r->backup, backup);
    } else if (schedule != NULL && schedule[0] != '\0') {
        latest l = {.name = &r->backup, .at = -1};
        vmbi_label_valid_name(schedule, l.schedule);
        vmbi_cached_each(r->c, VMBI_KIND_BACKUP, look_latest, &l);
    }
    if (r->backup.len == 0) {
        return vmbi_fail(err, VMB_E_INVALID, "%s",
                         schedule != NULL && schedule[0] != '\0'
                             ? "No completed backups found for schedule"
                             : "Either a backup or schedule must be specified as a source for the "
                               "restore, but not both");
    }
    return vmbi_buf_check(&r->backup, err, "name of a backup");
}

/* ---- running ------------------------------------------------------------------------------ */

static vmbi_json *started_patch(const restore_turn *r)
{
    char now[VMBI_RFC3339_SIZE];
    vmbi_json *patch = vmbi_phase_patch("InProgress");
    vmbi_json *status = vmbi_json_get(patch, "status");
    vmbi_json *spec = vmbi_json_ensure_object(patch, "spec");
    vmbi_format_rfc3339(r->start_unix_ns, now);
    if (status == NULL || spec == NULL || !vmbi_json_set_str(status, "startTimestamp", now) ||
        !vmbi_json_set_str(spec, "backupName", r->backup.data) ||
        !set_finalizer(patch, r->tree, true)) {
        vmbi_json_free(patch);
        patch = NULL;
    }
    return patch;
}

static void on_event(void *user, const vmb_event *e)
{
    restore_turn *r = user;
    vmbi_json *patch = NULL;
    int64_t now = vmbi_mono_ns();
    if (e->kind == VMB_EVENT_PHASE && vmbi_starts_with(e->text, "Finalizing")) {
        patch = vmbi_phase_patch(e->text);
    } else if (e->kind == VMB_EVENT_PROGRESS && now - r->told_mono_ns >= PROGRESS_NS) {
        r->told_mono_ns = now;
        patch = vmbi_progress_patch("itemsRestored", e->done, e->total);
    }
    if (patch != NULL) { /* a lost one is made up for by a later one */
        (void)vmbi_object_patch(r->c, VMBI_KIND_RESTORE, r->name, patch, VMBI_NORMAL, NULL);
    }
}

static void count_outcome(vmb_control *c, const char *phase)
{
    vmbi_metrics_add(&c->metrics,
                     strcmp(phase, "Completed") == 0          ? "restore_success_total"
                     : strcmp(phase, "PartiallyFailed") == 0  ? "restore_partial_failure_total"
                     : strcmp(phase, "FailedValidation") == 0 ? "restore_validation_failed_total"
                                                              : "restore_failed_total",
                     "", 1);
}

static vmb_code write_outcome(const restore_turn *r, const vmbi_json *report, const vmb_error *why,
                              vmb_error **err)
{
    const vmbi_json *restore = vmbi_json_get(report, "restore");
    vmbi_json *status = vmbi_json_get(restore, "status");
    const char *phase = vmbi_json_get_str(status, "phase");
    vmbi_json *patch = vmbi_json_object();
    if (phase == NULL) {
        vmbi_json_free(patch);
        return vmbi_fail(err, VMB_E_INTERNAL, "restore %s: the run gave no phase", r->name);
    }
    if (!vmbi_leader_decides(r->c, phase)) {
        vmbi_json_free(patch);
        return VMB_OK;
    }
    if (patch == NULL || !vmbi_json_set(patch, "status", vmbi_json_copy(status))) {
        vmbi_json_free(patch);
        patch = NULL;
    }
    count_outcome(r->c, phase);
    vmb_code rc = patch_restore(r, patch, err);
    if (rc == VMB_OK) {
        bool good = strcmp(phase, "Completed") == 0;
        vmbi_control_event(r->c, r->tree, !good, phase, "%s",
                           why != NULL ? vmb_error_message(why)
                           : good      ? "the objects are restored"
                                       : "restored with errors: see its log");
    }
    return rc;
}

static vmb_code make_spec(const restore_turn *r, vmb_spec **out, vmb_error **err)
{
    vmbi_json *tree = vmbi_json_copy(r->tree);
    vmbi_json *meta = vmbi_json_get(tree, "metadata");
    vmbi_json *spec = vmbi_json_ensure_object(tree, "spec");
    if (meta == NULL || spec == NULL) {
        vmbi_json_free(tree);
        return vmbi_fail_nomem(err);
    }
    vmbi_json_del(meta, "managedFields");
    vmbi_json_del(meta, "resourceVersion");
    vmbi_json_del(tree, "status");
    vmbi_json_del(spec, "scheduleName"); /* resolved already */
    vmb_code rc = vmbi_json_set_str(spec, "backupName", r->backup.data)
                      ? vmbi_spec_from_tree(tree, out, err)
                      : vmbi_fail_nomem(err);
    vmbi_json_free(tree);
    return rc;
}

/* A deletion that began between our look at the Backup and our mark in the Restore has not seen us:
 * it takes the files away. One that begins later waits for the restore. */
static vmb_code check_deletion(const restore_turn *r, vmb_error **err)
{
    vmbi_json *tree = NULL;
    vmb_code rc = vmbi_object_get(r->c, VMBI_KIND_BACKUP, r->backup.data, &tree, err);
    if (vmbi_streq(vmbi_json_path_str(tree, "status.phase"), "Deleting")) {
        rc = vmbi_fail(err, VMB_E_STATE, "%s", deleted);
    }
    vmbi_json_free(tree);
    return rc;
}

/* Ends a restore that is marked as running and does not run. */
static vmb_code fail_restore(const restore_turn *r, const char *reason, vmb_error **err)
{
    count_outcome(r->c, "Failed");
    vmb_code rc = patch_restore(r, vmbi_failed_patch(reason), err);
    if (rc == VMB_OK) {
        vmbi_control_event(r->c, r->tree, true, "Failed", "%s", reason);
    }
    return rc;
}

static vmb_code execute(restore_turn *r, vmb_run *run, vmb_error **err)
{
    vmb_error *why = NULL;
    run->events.fn = on_event;
    run->events.user = r;
    vmb_code ran = vmbi_control_execute(r->c, run, &why);
    vmb_code rc = write_outcome(r, run->report, ran != VMB_OK ? why : NULL, err);
    vmb_error_free(why);
    return rc;
}

static vmb_code run_restore(restore_turn *r, const vmbi_located *l, vmb_error **err)
{
    vmb_spec *spec = NULL;
    vmb_run *run = NULL;
    vmb_error *why = NULL;
    r->start_unix_ns = vmbi_unix_ns();
    r->told_mono_ns = vmbi_mono_ns();
    vmb_code rc = make_spec(r, &spec, err);
    if (rc == VMB_OK) {
        rc = vmbi_run_new(l->ctx, spec, &run, err);
    }
    if (rc == VMB_OK) { /* of two servers only one succeeds with this */
        rc = patch_restore(r, started_patch(r), err);
    }
    if (rc == VMB_OK) {
        vmbi_metrics_add(&r->c->metrics, "restore_attempt_total", "", 1);
        vmbi_control_event(r->c, r->tree, false, "InProgress", "the restore has begun");
        rc = check_deletion(r, &why) == VMB_OK ? execute(r, run, err)
                                               : fail_restore(r, vmb_error_message(why), err);
        vmb_error_free(why);
    }
    vmbi_run_free(run);
    vmbi_spec_free(spec);
    return rc;
}

static vmb_code refuse(const restore_turn *r, const char *why, vmb_error **err)
{
    vmbi_json *patch = vmbi_phase_patch("FailedValidation");
    vmbi_json *status = vmbi_json_get(patch, "status");
    vmbi_json *lines = vmbi_json_array();
    bool ok = status != NULL && lines != NULL && vmbi_json_append_str(lines, why) &&
              vmbi_json_set(status, "validationErrors", vmbi_json_ref(lines));
    vmbi_json_free(lines);
    if (!ok) {
        vmbi_json_free(patch);
        patch = NULL;
    }
    count_outcome(r->c, "FailedValidation");
    vmb_code rc = patch_restore(r, patch, err);
    if (rc == VMB_OK) {
        vmbi_control_event(r->c, r->tree, true, "FailedValidation", "%s", why);
    }
    return rc;
}

static vmb_code start_restore(restore_turn *r, vmbi_turn *turn, vmb_error **err)
{
    vmbi_located l = {0};
    vmb_error *why = NULL;
    bool deleting = false;
    vmb_code rc = find_backup(r, &why);
    if (rc == VMB_OK) {
        rc = locate_backup(r->c, r->backup.data, &l, &deleting, &why);
    }
    if (rc == VMB_E_NOT_FOUND || rc == VMB_E_INVALID) {
        rc = refuse(r, vmb_error_message(why), err);
    } else if (rc != VMB_OK) {
        vmbi_error_move(err, &why);
    } else if (deleting) {
        rc = refuse(r, deleted, err);
    } else if (vmbi_located_phase(&l)[0] == '\0') {
        turn->again_ns = VALIDATION_WAIT_NS;
    } else if (strcmp(vmbi_located_phase(&l), "Available") != 0) {
        rc = refuse(r, "the storage location of the backup is not available", err);
    } else {
        rc = run_restore(r, &l, err);
    }
    vmb_error_free(why);
    vmbi_located_done(&l);
    return rc;
}

vmb_code vmbi_reconcile_restore(vmb_control *c, vmbi_turn *turn, vmb_error **err)
{
    vmb_error *why = NULL;
    restore_turn r = {.c = c, .name = turn->name, .backup = VMBI_BUF_INIT(1024)};
    vmb_code rc = vmbi_object_get(c, VMBI_KIND_RESTORE, turn->name, &r.tree, &why);
    if (rc == VMB_E_NOT_FOUND) {
        vmb_error_free(why);
        return VMB_OK;
    }
    if (rc != VMB_OK) {
        vmbi_error_move(err, &why);
        return rc;
    }
    const char *phase = vmbi_json_path_str(r.tree, "status.phase");
    phase = phase != NULL ? phase : "";
    if (vmbi_json_path(r.tree, "metadata.deletionTimestamp") != NULL) {
        rc = finish_deletion(&r, turn, err);
    } else if (vmbi_phase_is_working(phase)) {
        static const char reason[] = "the server ended while the restore was in progress: what it "
                                     "had restored until then is in the cluster";
        rc = fail_restore(&r, reason, err);
    } else if (vmbi_phase_is_waiting(phase)) {
        rc = start_restore(&r, turn, err);
    }
    vmbi_json_free(r.tree);
    vmbi_buf_free(&r.backup);
    return rc;
}
