/* SPDX-License-Identifier: Apache-2.0 */
#include "core/control/recover.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "model/labelname.h"

enum { STORE_TRIES = 6, LIST_MAX_BYTES = 16 << 20 };

vmbi_json *vmbi_failed_patch(const char *reason)
{
    vmbi_json *patch = vmbi_phase_patch("Failed");
    vmbi_json *status = vmbi_json_get(patch, "status");
    if (status == NULL || !vmbi_json_set_str(status, "failureReason", reason) ||
        !vmbi_set_now(status, "completionTimestamp")) {
        vmbi_json_free(patch);
        patch = NULL;
    }
    return patch;
}

/* ---- snapshots that nobody holds any more ------------------------------------------------- */

/* A snapshot object that the dead run made; its data goes with it. */
static void drop_snapshot(vmb_control *c, const vmbi_json *vs)
{
    static const char group[] = "snapshot.storage.k8s.io";
    const char *ns = vmbi_json_path_str(vs, "metadata.namespace");
    const char *name = vmbi_json_path_str(vs, "metadata.name");
    const char *content = vmbi_json_path_str(vs, "status.boundVolumeSnapshotContentName");
    static const char reclaim[] = "{\"spec\":{\"deletionPolicy\":\"Delete\"}}";
    vmb_job job = vmbi_control_job(c, VMBI_NORMAL);
    if (content != NULL) {
        (void)vmbi_cluster_patch(&c->cluster, &job, group, "v1", "volumesnapshotcontents", NULL,
                                 content, NULL, VMB_PATCH_MERGE, reclaim, sizeof(reclaim) - 1, NULL,
                                 NULL);
    }
    if (ns != NULL && name != NULL) {
        (void)vmbi_cluster_remove(&c->cluster, &job, group, "v1", "volumesnapshots", ns, name,
                                  NULL);
    }
}

/* As far as it can be done: a cluster without snapshots has none. */
static void drop_snapshots(vmb_control *c, const char *backup)
{
    char label[VMBI_LABEL_NAME_SIZE];
    char selector[128];
    vmbi_buf text = VMBI_BUF_INIT(LIST_MAX_BYTES);
    vmbi_json *list = NULL;
    vmb_job job = vmbi_control_job(c, VMBI_NORMAL);
    vmbi_label_valid_name(backup, label);
    (void)snprintf(selector, sizeof(selector), "velero.io/backup-name=%s", label);
    if (vmbi_cluster_list_array(&c->cluster, &job, "snapshot.storage.k8s.io", "v1",
                                "volumesnapshots", NULL, selector, &text, NULL) == VMB_OK &&
        vmbi_json_parse(text.data, text.len, "snapshots", &list, NULL) == VMB_OK) {
        for (size_t i = 0; i < vmbi_json_len(list); i++) {
            drop_snapshot(c, vmbi_json_at(list, i));
        }
    }
    vmbi_json_free(list);
    vmbi_buf_free(&text);
}

/* ---- backups ------------------------------------------------------------------------------ */

static vmb_code fail_backup(vmb_control *c, const vmbi_json *tree, const char *more,
                            vmb_error **err)
{
    char reason[1024];
    const char *phase = vmbi_json_path_str(tree, "status.phase");
    const char *name = vmbi_json_path_str(tree, "metadata.name");
    (void)snprintf(reason, sizeof(reason),
                   "the server ended while the backup was in phase %s%s%.700s",
                   phase != NULL ? phase : "", more[0] != '\0' ? "; " : "", more);
    vmb_code rc = vmbi_object_patch(c, VMBI_KIND_BACKUP, name, vmbi_failed_patch(reason),
                                    VMBI_NORMAL, err);
    if (rc == VMB_OK) {
        vmbi_metrics_add(&c->metrics, "backup_failure_total", "", 1);
        vmbi_control_event(c, tree, true, "Failed", "%s", reason);
    }
    return rc;
}

/* The store holds velero-backup.json: is it of this very Backup? */
static vmb_code adopt(vmb_control *c, const vmbi_json *tree, const vmbi_json *stored,
                      vmb_error **err)
{
    const char *name = vmbi_json_path_str(tree, "metadata.name");
    const char *phase = vmbi_json_path_str(stored, "status.phase");
    if (!vmbi_streq(vmbi_json_path_str(stored, "metadata.uid"),
                    vmbi_json_path_str(tree, "metadata.uid"))) {
        return fail_backup(c, tree, "another backup of this name lies in the store", err);
    }
    if (phase == NULL || vmbi_phase_is_working(phase) || vmbi_phase_is_waiting(phase)) {
        return fail_backup(c, tree, "what lies in the store is not finished", err);
    }
    vmb_code rc = vmbi_object_patch(c, VMBI_KIND_BACKUP, name, vmbi_backup_outcome_patch(stored),
                                    VMBI_NORMAL, err);
    if (rc == VMB_OK) {
        vmbi_control_event(c, tree, false, phase,
                           "the server ended just after the backup was stored");
    }
    return rc;
}

bool vmbi_backup_is_stored(const vmbi_json *tree, const vmbi_json *stored)
{
    const char *phase = vmbi_json_path_str(tree, "status.phase");
    const char *uid = vmbi_json_path_str(tree, "metadata.uid");
    if (uid != NULL && vmbi_streq(uid, vmbi_json_path_str(stored, "metadata.uid"))) {
        return true;
    }
    /* one that a sync has brought has another uid, and the status that lies in the store */
    bool failed = phase != NULL && vmbi_starts_with(phase, "Failed");
    const char *start = vmbi_json_path_str(tree, "status.startTimestamp");
    const char *reason = vmbi_json_path_str(tree, "status.failureReason");
    return start != NULL &&
           vmbi_streq(start, vmbi_json_path_str(stored, "status.startTimestamp")) &&
           (!failed || vmbi_streq(phase, vmbi_json_path_str(stored, "status.phase"))) &&
           (reason == NULL ||
            vmbi_streq(reason, vmbi_json_path_str(stored, "status.failureReason")));
}

vmb_code vmbi_adopt_backup(vmb_control *c, const vmbi_json *tree, const vmbi_located *l,
                           bool *adopted, vmb_error **err)
{
    vmbi_json *stored = NULL;
    vmb_error *why = NULL;
    const char *uid = vmbi_json_path_str(tree, "metadata.uid");
    vmb_code rc = vmbi_located_metadata(c, l, vmbi_json_path_str(tree, "metadata.name"), &stored,
                                        &why);
    *adopted = false;
    if (rc == VMB_E_NOT_FOUND || rc == VMB_E_PARSE || rc == VMB_E_INVALID) {
        vmb_error_free(why);
        return VMB_OK; /* what lies there is the run's business */
    }
    if (rc != VMB_OK) {
        vmbi_error_move(err, &why);
        return rc;
    }
    const char *phase = vmbi_json_path_str(stored, "status.phase");
    if (uid != NULL && vmbi_streq(vmbi_json_path_str(stored, "metadata.uid"), uid) &&
        phase != NULL && !vmbi_phase_is_working(phase) && !vmbi_phase_is_waiting(phase)) {
        rc = adopt(c, tree, stored, err);
        *adopted = rc == VMB_OK;
    }
    vmbi_json_free(stored);
    return rc;
}

/* Nothing that would be taken for a backup: removes the rest. */
static vmb_code clear(vmb_control *c, const vmbi_located *l, const vmbi_json *tree,
                      vmb_error **err)
{
    vmbi_buf folder = VMBI_BUF_INIT(1024);
    const char *name = vmbi_json_path_str(tree, "metadata.name");
    vmbi_buf_addf(&folder, "backups/%s/", name);
    vmb_code rc = vmbi_buf_check(&folder, err, "name of a folder");
    if (rc == VMB_OK) {
        rc = vmbi_located_clear(c, l, folder.data, err);
    }
    vmbi_buf_free(&folder);
    if (rc == VMB_OK) {
        drop_snapshots(c, name);
    }
    return rc;
}

vmb_code vmbi_recover_backup(vmb_control *c, const vmbi_json *tree, vmbi_turn *turn,
                             vmb_error **err)
{
    vmbi_located l = {0};
    vmbi_json *stored = NULL;
    vmb_error *why = NULL;
    vmb_code rc = vmbi_locate(c, vmbi_json_path_str(tree, "spec.storageLocation"), &l, &why);
    if (rc == VMB_OK) {
        rc = vmbi_located_metadata(c, &l, turn->name, &stored, &why);
        if (rc == VMB_E_NOT_FOUND) {
            vmb_error_free(why);
            why = NULL;
            rc = clear(c, &l, tree, &why);
        }
    }
    if (rc == VMB_OK) {
        rc = stored != NULL ? adopt(c, tree, stored, err) : fail_backup(c, tree, "", err);
    } else if (rc == VMB_E_NOT_FOUND || turn->failures >= STORE_TRIES) {
        rc = fail_backup(c, tree, vmb_error_message(why), err); /* it must not stay as it is */
    } else {
        vmbi_error_move(err, &why);
    }
    vmb_error_free(why);
    vmbi_json_free(stored);
    vmbi_located_done(&l);
    return rc;
}
