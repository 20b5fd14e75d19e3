/* SPDX-License-Identifier: Apache-2.0 */
/* Expired backups get a DeleteBackupRequest. */
#include "core/control/control.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "core/control/recover.h"
#include "model/labelname.h"

typedef struct expired {
    vmbi_strs names;
    vmb_code rc;
    int64_t now;
    int64_t next; /* the earliest expiration that is still to come */
} expired;

static void note_expired(void *user, const vmbi_cached *e)
{
    expired *x = user;
    int64_t at = 0;
    if (!vmbi_parse_rfc3339(vmbi_cached_field(e, VMBI_BACKUP_EXPIRATION), &at)) {
        return; /* without one it is kept for ever */
    }
    if (at > x->now) {
        x->next = at < x->next ? at : x->next;
    } else if (x->rc == VMB_OK) {
        x->rc = vmbi_strs_add(&x->names, e->name, NULL);
    }
}

static vmb_code mark(vmb_control *c, const char *name, const char *reason, vmb_error **err)
{
    vmbi_json *patch = vmbi_json_object();
    vmbi_json *labels =
        vmbi_json_ensure_object(vmbi_json_ensure_object(patch, "metadata"), "labels");
    bool ok = labels != NULL &&
              vmbi_json_set(labels, "velero.io/gc-failure",
                            reason != NULL ? vmbi_json_string(reason) : vmbi_json_null());
    if (!ok) {
        vmbi_json_free(patch);
        patch = NULL;
    }
    return vmbi_object_patch(c, VMBI_KIND_BACKUP, name, patch, VMBI_NORMAL, err);
}

static vmb_code request_deletion(vmb_control *c, const vmbi_json *backup, vmb_error **err)
{
    const char *name = vmbi_json_path_str(backup, "metadata.name");
    const char *uid = vmbi_json_path_str(backup, "metadata.uid");
    char label[VMBI_LABEL_NAME_SIZE];
    char generate[300];
    vmbi_json *r = vmbi_json_object();
    vmbi_json *meta = vmbi_json_ensure_object(r, "metadata");
    vmbi_json *labels = vmbi_json_ensure_object(meta, "labels");
    vmbi_json *spec = vmbi_json_ensure_object(r, "spec");
    vmbi_label_valid_name(name, label);
    (void)snprintf(generate, sizeof(generate), "%.240s-", name);
    bool ok = labels != NULL && spec != NULL &&
              vmbi_json_set_str(r, "apiVersion", "velero.io/v1") &&
              vmbi_json_set_str(r, "kind", "DeleteBackupRequest") &&
              vmbi_json_set_str(meta, "generateName", generate) &&
              vmbi_json_set_str(labels, "velero.io/backup-name", label) &&
              vmbi_json_set_str(labels, "velero.io/backup-uid", uid != NULL ? uid : "") &&
              vmbi_json_set_str(spec, "backupName", name);
    if (!ok) {
        vmbi_json_free(r);
        r = NULL;
    }
    vmb_code rc = vmbi_object_create(c, "velero.io", "v1", "deletebackuprequests", r, NULL, err);
    if (rc == VMB_OK) {
        vmbi_control_event(c, backup, false, "Expired", "its time to live is over");
    }
    return rc;
}

/* Why an expired backup cannot be deleted now; NULL: it can. *retry: for a passing reason. */
static const char *obstacle(vmb_control *c, const char *location, bool *retry)
{
    vmbi_json *tree = NULL;
    vmb_code rc = vmbi_object_get(c, VMBI_KIND_LOCATION, location, &tree, NULL);
    const char *phase = vmbi_json_path_str(tree, "status.phase");
    const char *mode = vmbi_json_path_str(tree, "spec.accessMode");
    const char *why = rc == VMB_E_NOT_FOUND        ? "BSLNotFound"
                      : rc != VMB_OK               ? "BSLCannotGet"
                      : vmbi_streq(mode, "ReadOnly") ? "BSLReadOnly"
                                                   : NULL;
    *retry = rc == VMB_OK && !vmbi_streq(phase, "Available");
    vmbi_json_free(tree);
    return why;
}

static vmb_code collect_one(vmb_control *c, const char *name, vmb_error **err)
{
    vmbi_json *backup = NULL;
    bool retry = false;
    vmb_error *gone = NULL;
    vmb_code rc = vmbi_object_get(c, VMBI_KIND_BACKUP, name, &backup, &gone);
    if (rc == VMB_E_NOT_FOUND) {
        vmb_error_free(gone);
        return VMB_OK;
    }
    if (rc != VMB_OK) {
        vmbi_error_move(err, &gone);
        return rc;
    }
    const char *location = vmbi_json_path_str(backup, "spec.storageLocation");
    const char *why = obstacle(c, location != NULL ? location : "", &retry);
    const vmbi_json *labels = vmbi_json_path(backup, "metadata.labels");
    const char *marked = vmbi_json_get_str(labels, "velero.io/gc-failure");
    if (!vmbi_streq(marked, why) && !retry) {
        rc = mark(c, name, why, err);
    }
    if (rc == VMB_OK && why == NULL && !retry && !vmbi_deletion_requested(c, name)) {
        rc = request_deletion(c, backup, err);
    }
    vmbi_json_free(backup);
    return rc;
}

vmb_code vmbi_reconcile_gc(vmb_control *c, vmbi_turn *turn, vmb_error **err)
{
    expired x = {.now = vmbi_unix_ns(), .next = INT64_MAX};
    vmbi_cached_each(c, VMBI_KIND_BACKUP, note_expired, &x);
    vmb_code rc = x.rc != VMB_OK ? vmbi_fail_nomem(err) : VMB_OK;
    for (size_t i = 0; i < x.names.n && rc == VMB_OK; i++) {
        rc = collect_one(c, x.names.v[i], err);
    }
    vmbi_strs_free(&x.names);
    turn->again_ns = c->settings.gc_ns > 0 ? c->settings.gc_ns : VMBI_SECOND;
    return rc;
}
