/* SPDX-License-Identifier: Apache-2.0 */
/* Starting a snapshot. */
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "codec/digest.h"
#include "providers/snapshot_csi/csi.h"

enum {
    NAME_MAX_BYTES = 63, /* the name also becomes a label's value */
    SUFFIX_BYTES = 5
};
#define FIRST_PAUSE (250 * VMBI_MS)

void vmbi_csi_op_free(vmbi_csi_op *op)
{
    if (op == NULL) {
        return;
    }
    vmbi_json_free(op->volume);
    vmbi_json_free(op->snapshot_class);
    vmbi_json_free(op->vs);
    vmbi_json_free(op->vsc);
    vmbi_free(op->backup_name);
    vmbi_free(op->backup_uid);
    vmbi_free(op->vs_name);
    vmbi_free(op->vsc_name);
    vmbi_free(op->operation_id);
    vmbi_free(op->last_error);
    vmb_error_free(op->create_error);
    vmbi_free(op);
}

vmb_code vmbi_csi_wrap(const vmbi_csi_op *op, vmb_error **err, vmb_code code)
{
    return vmbi_wrap(err, code, "snapshot %s/%s of claim %s, driver %s", op->ns,
                     op->vs_name != NULL ? op->vs_name : "?", op->claim, op->driver);
}

static vmb_code check_volume(vmbi_csi_op *op, vmb_error **err)
{
    const vmbi_json *claim = vmbi_json_get(op->volume, "pvc");
    op->ns = vmbi_namespace_of(claim);
    op->claim = vmbi_name_of(claim);
    op->driver = vmbi_json_path_str(vmbi_json_get(op->volume, "pv"), "spec.csi.driver");
    const char *phase = vmbi_json_path_str(claim, "status.phase");
    const char *cls = vmbi_json_path_str(claim, "spec.storageClassName");
    if (op->ns[0] == '\0' || op->claim[0] == '\0') {
        return vmbi_fail(err, VMB_E_INVALID, "the volume has no claim with name and namespace");
    }
    if (!vmbi_streq(phase, "Bound")) {
        return vmbi_fail(err, VMB_E_INVALID, "claim %s/%s is %s, not Bound", op->ns, op->claim,
                         phase != NULL ? phase : "without a phase");
    }
    if (cls == NULL || cls[0] == '\0') { /* a snapshot of it could not be provisioned from */
        return vmbi_fail(err, VMB_E_INVALID, "claim %s/%s has no storage class", op->ns, op->claim);
    }
    if (op->driver == NULL || op->driver[0] == '\0') {
        return vmbi_fail(err, VMB_E_UNSUPPORTED, "claim %s/%s: its volume is not a CSI volume",
                         op->ns, op->claim);
    }
    return VMB_OK;
}

/* The name that generateName would give, chosen here: when the answer to the creation is lost, the
 * object can still be found and removed. */
static vmb_code make_name(vmbi_csi_op *op, vmb_error **err)
{
    static const char alphabet[] = "bcdfghjklmnpqrstvwxz2456789";
    vmbi_buf b = VMBI_BUF_INIT(1024);
    uint8_t noise[SUFFIX_BYTES];
    vmbi_buf_addf(&b, "velero-%s-", op->claim);
    vmb_code code = vmbi_buf_check(&b, err, "snapshot name");
    if (code == VMB_OK) {
        if (b.len > NAME_MAX_BYTES - SUFFIX_BYTES) {
            b.len = NAME_MAX_BYTES - SUFFIX_BYTES;
        }
        vmbi_random(noise, sizeof noise);
        for (size_t i = 0; i < sizeof noise; i++) {
            vmbi_buf_addc(&b, alphabet[noise[i] % (sizeof alphabet - 1)]);
        }
        code = vmbi_buf_take(&b, &op->vs_name, NULL, err, "snapshot name");
    }
    vmbi_buf_free(&b);
    return code;
}

static vmb_code make_operation_id(vmbi_csi_op *op, vmb_error **err)
{
    char now[VMBI_RFC3339_SIZE];
    vmbi_buf b = VMBI_BUF_INIT(1024);
    vmbi_format_rfc3339(vmbi_unix_ns(), now);
    vmbi_buf_addf(&b, "%s/%s/%s", op->ns, op->vs_name, now);
    vmb_code code = vmbi_buf_take(&b, &op->operation_id, NULL, err, "operation id");
    vmbi_buf_free(&b);
    return code;
}

static vmb_code set_backup(vmbi_csi_op *op, vmb_job *job, const vmbi_json *backup, vmb_error **err)
{
    const char *uid = vmbi_json_path_str(backup, "metadata.uid");
    op->backup_name = vmbi_strdup(vmb_job_backup_name(job));
    op->backup_uid = vmbi_strdup(uid != NULL ? uid : "");
    if (op->backup_name == NULL || op->backup_uid == NULL) {
        return vmbi_fail_nomem(err);
    }
    vmbi_label_safe(op->backup_name, op->backup_label);
    return VMB_OK;
}

/* The VolumeSnapshot as the API server wants it; NULL when memory is out. */
static vmbi_json *snapshot_object(const vmbi_csi_op *op)
{
    const vmbi_json *labels = vmbi_json_path(vmbi_json_get(op->volume, "pvc"), "metadata.labels");
    vmbi_json *o = vmbi_json_object();
    if (o == NULL) {
        return NULL;
    }
    bool ok = vmbi_json_set_str(o, "apiVersion", VMBI_CSI_GROUP "/v1") &&
              vmbi_json_set_str(o, "kind", "VolumeSnapshot");
    vmbi_json *meta = vmbi_json_ensure_object(o, "metadata");
    vmbi_json *spec = vmbi_json_ensure_object(o, "spec");
    vmbi_json *source = spec != NULL ? vmbi_json_ensure_object(spec, "source") : NULL;
    ok = ok && meta != NULL && source != NULL && vmbi_json_set_str(meta, "name", op->vs_name) &&
         vmbi_json_set_str(meta, "namespace", op->ns);
    if (ok && vmbi_json_is_object(labels)) {
        ok = vmbi_json_set(meta, "labels", vmbi_json_copy(labels));
    }
    if (ok && op->backup_label[0] != '\0') {
        ok = vmbi_set_label(o, "velero.io/backup-name", op->backup_label);
    }
    ok = ok && vmbi_json_set_str(source, "persistentVolumeClaimName", op->claim) &&
         vmbi_json_set_str(spec, "volumeSnapshotClassName", vmbi_name_of(op->snapshot_class));
    if (!ok) {
        vmbi_json_free(o);
        return NULL;
    }
    return o;
}

/* Only a plain refusal says that nothing was created. Everything else may have happened after the
 * creation, want of memory for the answer included; VMB_E_EXISTS too, because a repeated request
 * may meet its own first try. */
static bool was_refused(vmb_code code)
{
    return code == VMB_E_ARG || code == VMB_E_DENIED || code == VMB_E_INVALID ||
           code == VMB_E_NOT_FOUND || code == VMB_E_UNSUPPORTED || code == VMB_E_STATE ||
           code == VMB_E_FORKED;
}

/* From the call on the operation owns what may exist in the cluster: whatever becomes of the
 * answer, the operation is kept so that it can be looked up or removed by name. */
static vmb_code create(vmbi_csi_op *op, vmb_job *job, vmb_error **err)
{
    vmbi_json *object = snapshot_object(op);
    char *text = NULL;
    char *answer = NULL;
    size_t len = 0;
    size_t answer_len = 0;
    vmb_error *local = NULL;
    vmb_code code =
        object != NULL ? vmbi_json_to_text(object, &text, &len, err) : vmbi_fail_nomem(err);
    if (code != VMB_OK) {
        goto out;
    }
    code = vmb_cluster_create(vmb_job_cluster(job), job, VMBI_CSI_GROUP, NULL, "volumesnapshots",
                              op->ns, text, len, &answer, &answer_len, &local);
    if (code == VMB_OK) {
        code = vmbi_json_parse(answer, answer_len, "created snapshot", &op->vs, &local);
        if (code != VMB_OK) {
            vmbi_error_move(&op->create_error, &local);
            code = VMB_OK;
        }
    } else if (was_refused(code)) {
        vmbi_error_move(err, &local);
    } else {
        vmbi_error_move(&op->create_error, &local);
        code = VMB_OK;
    }
out:
    vmb_free(answer);
    vmbi_free(text);
    vmbi_json_free(object);
    return code;
}

static vmb_code prepare(const vmbi_csi *csi, vmb_job *job, vmbi_csi_op *op, vmb_error **err)
{
    vmbi_json *backup = NULL;
    const char *text = vmb_job_backup_json(job);
    vmb_code code = VMB_OK;
    if (vmb_job_cluster(job) == NULL) {
        return vmbi_fail(err, VMB_E_UNSUPPORTED, "CSI snapshots need a cluster");
    }
    if (text != NULL) {
        code = vmbi_json_parse(text, strlen(text), "backup", &backup, err);
    }
    if (code == VMB_OK) {
        code = set_backup(op, job, backup, err);
    }
    if (code == VMB_OK) {
        code = vmbi_csi_choose_class(csi, job, vmbi_json_get(op->volume, "pvc"), backup, op->driver,
                                     &op->snapshot_class, err);
    }
    if (code == VMB_OK) {
        code = make_name(op, err);
    }
    if (code == VMB_OK) {
        code = make_operation_id(op, err);
    }
    vmbi_json_free(backup);
    return code;
}

vmb_code vmbi_csi_begin(void *user, vmb_job *job, const char *volume, size_t len, void **out,
                        vmb_error **err)
{
    const vmbi_csi *csi = user;
    vmbi_csi_op *op = vmbi_zalloc(sizeof *op);
    if (op == NULL) {
        return vmbi_fail_nomem(err);
    }
    op->pause_ns = FIRST_PAUSE < csi->poll_ns ? FIRST_PAUSE : csi->poll_ns;
    vmb_code code = vmbi_json_parse(volume, len, "volume", &op->volume, err);
    if (code == VMB_OK) {
        code = check_volume(op, err);
    }
    if (code == VMB_OK) {
        code = prepare(csi, job, op, err);
        code = code == VMB_OK ? create(op, job, err) : code;
        if (code != VMB_OK) {
            code = vmbi_wrap(err, code, "snapshot of claim %s/%s", op->ns, op->claim);
        }
    }
    if (code != VMB_OK) {
        vmbi_csi_op_free(op);
        return code;
    }
    *out = op;
    return VMB_OK;
}
