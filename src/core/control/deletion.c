/* SPDX-License-Identifier: Apache-2.0 */
/* DeleteBackupRequests, in Velero's order: data of volumes, files, restores, the Backup, and the
 * requests. A Backup stays in phase Deleting only while somebody works on it, or when some of its
 * data is gone. */
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "core/catalog.h"
#include "core/control/recover.h"

#define REQUEST_LIFE_NS (24 * 3600 * VMBI_SECOND)
#define RESTORE_WAIT_NS (2 * VMBI_SECOND) /* between looks at a restore that stands in the way */

typedef struct deletion {
    vmb_control *c;
    const vmbi_json *request;
    const char *name;   /* of the request */
    const char *backup; /* its name */
    vmbi_json *tree;    /* the Backup; NULL: there is none */
    bool goes_on;       /* an earlier turn has begun it */
    bool waits;         /* a restore of the backup has to end first */
} deletion;

static vmb_code write_end(const deletion *d, const char *why, vmb_error **err)
{
    vmbi_json *patch = vmbi_phase_patch("Processed");
    vmbi_json *status = vmbi_json_get(patch, "status");
    vmbi_json *lines = vmbi_json_array();
    bool ok = status != NULL && lines != NULL && vmbi_json_append_str(lines, why) &&
              vmbi_json_set(status, "errors", vmbi_json_ref(lines));
    vmbi_json_free(lines);
    if (!ok) {
        vmbi_json_free(patch);
        patch = NULL;
    }
    vmbi_metrics_add(&d->c->metrics, "backup_deletion_failure_total", "", 1);
    vmb_code rc = vmbi_object_patch(d->c, VMBI_KIND_DELETE, d->name, patch, VMBI_NORMAL, err);
    if (rc == VMB_OK) {
        vmbi_control_event(d->c, d->request, true, "NotDeleted", "%s", why);
    }
    return rc;
}

/* What forbids the deletion, as an error; VMB_OK when nothing does. */
static vmb_code check(const deletion *d, const vmbi_located *l, vmb_error **err)
{
    const char *phase = vmbi_json_path_str(d->tree, "status.phase");
    /* ReadyToStart: a run has taken it and is about to begin */
    if (phase != NULL && (vmbi_phase_is_working(phase) || strcmp(phase, "ReadyToStart") == 0)) {
        return vmbi_fail(err, VMB_E_STATE, "backup is still in progress");
    }
    if (vmbi_located_read_only(l)) {
        return vmbi_fail(err, VMB_E_STATE,
                         "cannot delete backup because backup storage location %s is currently in "
                         "read-only mode",
                         l->store.location->name);
    }
    if (strcmp(vmbi_located_phase(l), "Available") != 0) {
        return vmbi_fail(err, VMB_E_STATE,
                         "cannot delete backup because backup storage location %s is currently in "
                         "Unavailable state",
                         l->store.location->name);
    }
    return VMB_OK;
}

/* ---- restores of the backup, other requests ----------------------------------------------- */

typedef struct matches {
    const char *backup;
    size_t field;
    vmbi_strs names;
    vmb_code rc;
} matches;

static void note_match(void *user, const vmbi_cached *e)
{
    matches *m = user;
    if (strcmp(vmbi_cached_field(e, m->field), m->backup) == 0 && m->rc == VMB_OK) {
        m->rc = vmbi_strs_add(&m->names, e->name, NULL);
    }
}

static vmb_code remove_all(const deletion *d, vmbi_kind_id kind, size_t field, const char *except,
                           vmb_error **err)
{
    matches m = {.backup = d->backup, .field = field};
    vmbi_cached_each(d->c, kind, note_match, &m);
    vmb_code rc = m.rc != VMB_OK ? vmbi_fail_nomem(err) : VMB_OK;
    for (size_t i = 0; i < m.names.n && rc == VMB_OK; i++) {
        if (!vmbi_streq(m.names.v[i], except)) {
            rc = vmbi_object_remove(d->c, kind, m.names.v[i], err);
        }
    }
    vmbi_strs_free(&m.names);
    return rc;
}

/* ---- the deletion ------------------------------------------------------------------------- */

/* The Backup must be as it was looked at: a run may have taken it meanwhile, and its files must not
 * go while it writes them. */
static vmb_code begin(const deletion *d, vmb_error **err)
{
    vmbi_json *patch = vmbi_phase_patch("Deleting");
    if (patch == NULL || !vmbi_patch_only_if(patch, d->tree)) {
        vmbi_json_free(patch);
        return vmbi_fail_nomem(err);
    }
    vmb_code rc = vmbi_object_patch(d->c, VMBI_KIND_DELETE, d->name, vmbi_phase_patch("InProgress"),
                                    VMBI_NORMAL, err);
    if (rc != VMB_OK) {
        vmbi_json_free(patch);
        return rc;
    }
    return vmbi_object_patch(d->c, VMBI_KIND_BACKUP, d->backup, patch, VMBI_NORMAL, err);
}

/* All that could not be removed, as one text. */
static vmb_code tell_errors(const vmbi_json *report, vmb_error **err)
{
    const vmbi_json *errors = vmbi_json_get(report, "errors");
    vmbi_buf text = VMBI_BUF_INIT(3000);
    for (size_t i = 0; i < vmbi_json_len(errors) && text.status == VMB_OK; i++) {
        vmbi_buf_addf(&text, "%s%s", i > 0 ? "; " : "", vmbi_json_str(vmbi_json_at(errors, i)));
    }
    vmb_code rc = vmbi_fail(err, VMB_E_STATE, "%s",
                            text.len > 0 ? text.data : "the backup could not be removed whole");
    vmbi_buf_free(&text);
    return rc;
}

/* Snapshots, volumes in repositories and files: the catalogue knows their order. */
static vmb_code delete_data(const deletion *d, const vmbi_located *l, vmb_error **err)
{
    static const vmbi_delete_options options = {.orphan = true, .keep_restores = true};
    vmb_catalog *cat = NULL;
    vmbi_json *report = NULL;
    vmb_error *why = NULL;
    vmb_code rc = vmbi_catalog_open(l->ctx, l->store.location->name, &cat, &why);
    if (rc == VMB_OK) {
        cat->cancel = d->c->stop;
        rc = vmbi_catalog_delete(cat, d->backup, &options, &report, &why);
    }
    if (rc == VMB_E_NOT_FOUND) { /* an earlier turn has come that far, or there never was a file */
        vmb_error_free(why);
        why = NULL;
        rc = VMB_OK;
    } else if (rc == VMB_OK && !vmbi_json_bool(vmbi_json_get(report, "deleted"), false)) {
        rc = tell_errors(report, &why);
    }
    vmbi_error_move(err, &why);
    vmbi_json_free(report);
    vmbi_catalog_free(cat);
    return rc;
}

/* Restores that run now need the files. Their names are those of the cache, which our own workers
 * act upon; their phases are read, after the Backup has become Deleting: a restore that begins now
 * sees that (see restore.c). */
static vmb_code look_running(const deletion *d, vmbi_strs *running, vmb_error **err)
{
    matches m = {.backup = d->backup, .field = VMBI_RESTORE_BACKUP};
    vmbi_cached_each(d->c, VMBI_KIND_RESTORE, note_match, &m);
    vmb_code rc = m.rc != VMB_OK ? vmbi_fail_nomem(err) : VMB_OK;
    for (size_t i = 0; i < m.names.n && rc == VMB_OK; i++) {
        vmbi_json *tree = NULL;
        vmb_error *why = NULL;
        rc = vmbi_object_get(d->c, VMBI_KIND_RESTORE, m.names.v[i], &tree, &why);
        const char *phase = vmbi_json_path_str(tree, "status.phase");
        if (phase != NULL && vmbi_phase_is_working(phase)) {
            rc = vmbi_strs_add(running, m.names.v[i], &why);
        }
        vmbi_json_free(tree);
        if (rc == VMB_E_NOT_FOUND) {
            vmb_error_free(vmbi_steal(&why));
            rc = VMB_OK;
        }
        vmbi_error_move(err, &why);
    }
    vmbi_strs_free(&m.names);
    return rc;
}

static vmb_code wait_for_restores(deletion *d, vmb_error **err)
{
    vmbi_strs running = {0};
    vmb_code rc = look_running(d, &running, err);
    d->waits = rc == VMB_OK && running.n > 0;
    if (d->waits && !d->goes_on) { /* said once */
        vmbi_control_event(d->c, d->request, false, "Waiting",
                           "restore %s of the backup has to end first", running.v[0]);
    }
    vmbi_strs_free(&running);
    return rc;
}

static vmb_code delete_restores(const deletion *d, const vmbi_located *l, vmb_error **err)
{
    matches m = {.backup = d->backup, .field = VMBI_RESTORE_BACKUP};
    vmbi_cached_each(d->c, VMBI_KIND_RESTORE, note_match, &m);
    vmb_code rc = m.rc != VMB_OK ? vmbi_fail_nomem(err) : VMB_OK;
    for (size_t i = 0; i < m.names.n && rc == VMB_OK; i++) {
        rc = vmbi_restore_remove_files(d->c, l, m.names.v[i], err);
        if (rc == VMB_OK) {
            rc = vmbi_object_remove(d->c, VMBI_KIND_RESTORE, m.names.v[i], err);
        }
    }
    vmbi_strs_free(&m.names);
    return rc;
}

/* Another cluster's backup of the same name is not this one's data. */
static vmb_code look_stored(const deletion *d, const vmbi_located *l, bool *foreign,
                            vmb_error **err)
{
    vmbi_json *stored = NULL;
    vmb_error *why = NULL;
    vmb_code rc = vmbi_located_metadata(d->c, l, d->backup, &stored, &why);
    *foreign = rc == VMB_OK && !vmbi_backup_is_stored(d->tree, stored);
    vmbi_json_free(stored);
    if (rc == VMB_E_NOT_FOUND || rc == VMB_E_PARSE || rc == VMB_E_INVALID) {
        vmb_error_free(why); /* nothing that would be listed */
        return VMB_OK;
    }
    vmbi_error_move(err, &why);
    return rc;
}

/* What was deleted: the objects that tell of it. */
static vmb_code remove_objects(const deletion *d, vmb_error **err)
{
    vmb_code rc = vmbi_object_remove(d->c, VMBI_KIND_BACKUP, d->backup, err);
    if (rc == VMB_OK) {
        vmbi_control_event(d->c, d->request, false, "Deleted", "backup %s is deleted", d->backup);
        vmbi_metrics_add(&d->c->metrics, "backup_deletion_success_total", "", 1);
        rc = remove_all(d, VMBI_KIND_DELETE, VMBI_DELETE_BACKUP, NULL, err);
    }
    return rc;
}

static vmb_code delete_backup(deletion *d, const vmbi_located *l, vmb_error **err)
{
    bool foreign = false;
    vmb_code rc = look_stored(d, l, &foreign, err);
    if (rc == VMB_OK) {
        rc = begin(d, err);
    }
    if (rc == VMB_OK) {
        rc = wait_for_restores(d, err);
    }
    if (rc != VMB_OK || d->waits) {
        return rc;
    }
    if (foreign) {
        vmbi_control_event(d->c, d->tree, true, "FilesKept",
                           "what lies in location %s under this name is another backup: it stays",
                           l->store.location->name);
    } else {
        rc = delete_data(d, l, err);
        if (rc == VMB_OK) {
            rc = delete_restores(d, l, err);
        }
    }
    return rc == VMB_OK ? remove_objects(d, err) : rc;
}

/* ---- deletions that failed ---------------------------------------------------------------- */

typedef struct requested {
    const char *backup;
    bool found;
} requested;

static void look_request(void *user, const vmbi_cached *e)
{
    requested *r = user;
    const char *phase = vmbi_cached_field(e, VMBI_DELETE_PHASE);
    r->found = r->found || (strcmp(phase, "Processed") != 0 &&
                            strcmp(vmbi_cached_field(e, VMBI_DELETE_BACKUP), r->backup) == 0);
}

bool vmbi_deletion_requested(vmb_control *c, const char *backup)
{
    requested r = {backup, false};
    vmbi_cached_each(c, VMBI_KIND_DELETE, look_request, &r);
    return r.found;
}

/* The phase that the Backup had before; NULL: some of its data may be gone, it stays Deleting. */
static const char *former_phase(const vmbi_json *tree, const vmbi_json *stored)
{
    if (stored != NULL && vmbi_backup_is_stored(tree, stored)) {
        return vmbi_json_path_str(stored, "status.phase");
    }
    if (vmbi_json_path_str(tree, "status.failureReason") != NULL) {
        return "Failed";
    }
    return vmbi_json_len(vmbi_json_path(tree, "status.validationErrors")) > 0 ? "FailedValidation"
                                                                              : NULL;
}

vmb_code vmbi_backup_undelete(vmb_control *c, const vmbi_located *l, const char *name,
                              vmb_error **err)
{
    vmbi_json *tree = NULL;
    vmbi_json *stored = NULL;
    vmb_error *why = NULL;
    vmb_code rc = vmbi_object_get(c, VMBI_KIND_BACKUP, name, &tree, &why);
    if (rc == VMB_OK && vmbi_streq(vmbi_json_path_str(tree, "status.phase"), "Deleting")) {
        rc = vmbi_located_metadata(c, l, name, &stored, &why);
        if (rc == VMB_E_NOT_FOUND || rc == VMB_E_PARSE || rc == VMB_E_INVALID) {
            vmb_error_free(vmbi_steal(&why));
            rc = VMB_OK;
        }
        const char *phase = former_phase(tree, stored);
        vmbi_json *patch = rc == VMB_OK && phase != NULL ? vmbi_phase_patch(phase) : NULL;
        if (patch != NULL && vmbi_patch_only_if(patch, tree)) {
            rc = vmbi_object_patch(c, VMBI_KIND_BACKUP, name, patch, VMBI_NORMAL, &why);
        } else {
            vmbi_json_free(patch);
        }
    }
    vmbi_json_free(stored);
    vmbi_json_free(tree);
    if (rc == VMB_E_NOT_FOUND || rc == VMB_E_CONFLICT) { /* somebody else was faster */
        vmb_error_free(vmbi_steal(&why));
        rc = VMB_OK;
    }
    vmbi_error_move(err, &why);
    return rc;
}

/* The end of a request that cannot be fulfilled. What is not given back now is by the next sync. */
static vmb_code give_up(const deletion *d, const vmbi_located *l, const char *why, vmb_error **err)
{
    if (d->tree != NULL) {
        if (l->ctx != NULL) {
            (void)vmbi_backup_undelete(d->c, l, d->backup, NULL);
        }
        vmbi_control_event(d->c, d->tree, true, "NotDeleted", "%s", why);
    }
    return write_end(d, why, err);
}

static bool is_passing(vmb_code rc)
{
    return rc == VMB_E_NET || rc == VMB_E_TIMEOUT || rc == VMB_E_SERVER || rc == VMB_E_CANCELLED ||
           rc == VMB_E_NOMEM || rc == VMB_E_CONFLICT;
}

static vmb_code process(deletion *d, vmbi_turn *turn, vmb_error **err)
{
    vmbi_located l = {0};
    vmb_error *why = NULL;
    vmb_code rc = vmbi_object_get(d->c, VMBI_KIND_BACKUP, d->backup, &d->tree, &why);
    if (rc == VMB_E_NOT_FOUND) {
        vmb_error_free(why);
        if (d->goes_on) {
            /* an earlier turn has deleted all but the requests */
            return remove_all(d, VMBI_KIND_DELETE, VMBI_DELETE_BACKUP, NULL, err);
        }
        return write_end(d, "backup not found", err);
    }
    if (rc == VMB_OK) {
        vmbi_metrics_add(&d->c->metrics, "backup_deletion_attempt_total", "", d->goes_on ? 0 : 1);
        rc = vmbi_locate(d->c, vmbi_json_path_str(d->tree, "spec.storageLocation"), &l, &why);
    }
    if (rc == VMB_OK) {
        rc = check(d, &l, &why);
    }
    if (rc == VMB_OK) {
        rc = remove_all(d, VMBI_KIND_DELETE, VMBI_DELETE_BACKUP, d->name, &why);
    }
    if (rc == VMB_OK) {
        rc = delete_backup(d, &l, &why);
    }
    if (rc != VMB_OK && !(is_passing(rc) && turn->failures < 5)) {
        rc = give_up(d, &l, vmb_error_message(why), err);
        vmb_error_free(why);
    } else {
        vmbi_error_move(err, &why);
    }
    turn->again_ns = d->waits ? RESTORE_WAIT_NS : -1;
    vmbi_located_done(&l);
    vmbi_json_free(d->tree);
    return rc;
}

vmb_code vmbi_reconcile_delete(vmb_control *c, vmbi_turn *turn, vmb_error **err)
{
    vmbi_json *request = NULL;
    vmb_error *why = NULL;
    vmb_code rc = vmbi_object_get(c, VMBI_KIND_DELETE, turn->name, &request, &why);
    if (rc == VMB_E_NOT_FOUND) {
        vmb_error_free(why);
        return VMB_OK;
    }
    if (rc != VMB_OK) {
        vmbi_error_move(err, &why);
        return rc;
    }
    const char *backup = vmbi_json_path_str(request, "spec.backupName");
    const char *created = vmbi_json_path_str(request, "metadata.creationTimestamp");
    const char *phase = vmbi_json_path_str(request, "status.phase");
    deletion d = {.c = c, .request = request, .name = turn->name, .backup = backup,
                  .goes_on = vmbi_streq(phase, "InProgress")};
    int64_t at = 0;
    if (vmbi_streq(phase, "Processed")) {
        bool old = created == NULL || !vmbi_parse_rfc3339(created, &at) ||
                   at + REQUEST_LIFE_NS <= vmbi_unix_ns();
        turn->again_ns = old ? -1 : at + REQUEST_LIFE_NS - vmbi_unix_ns() + VMBI_SECOND;
        rc = old ? vmbi_object_remove(c, VMBI_KIND_DELETE, turn->name, err) : VMB_OK;
    } else if (backup == NULL || backup[0] == '\0' || strchr(backup, '/') != NULL) {
        rc = write_end(&d, "spec.backupName is required", err);
    } else {
        rc = process(&d, turn, err);
    }
    vmbi_json_free(request);
    return rc;
}
