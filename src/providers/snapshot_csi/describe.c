/* SPDX-License-Identifier: Apache-2.0 */
/* What the archive and Velero's records say of a snapshot. Works on what the last look saw: no
 * request is made. Source: Velero 1.18 pkg/backup/actions/csi, internal/volume/
 * volumes_information.go, pkg/itemoperation. */
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "codec/duration.h"
#include "providers/snapshot_csi/csi.h"

#define FINALIZER VMBI_CSI_ANNOTATIONS "volumesnapshotcontent-bound-protection"

enum { QUANTITY_SIZE = 32 };

/* Bytes as Kubernetes prints a binary quantity: the largest unit that divides them. */
static bool format_quantity(int64_t bytes, vmbi_buf *out)
{
    static const char *const units[] = {"", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"};
    size_t u = 0;
    while (bytes != 0 && bytes % 1024 == 0 && u + 1 < VMBI_ARRAY_LEN(units)) {
        bytes /= 1024;
        u++;
    }
    vmbi_buf_addf(out, "%lld%s", (long long)bytes, units[u]);
    return out->status == VMB_OK;
}

static bool set_quantity(vmbi_json *obj, const char *key, int64_t bytes)
{
    vmbi_buf text = VMBI_BUF_INIT(QUANTITY_SIZE);
    bool ok = format_quantity(bytes, &text) && vmbi_json_set_str(obj, key, text.data);
    vmbi_buf_free(&text);
    return ok;
}

static bool is_ready(const vmbi_csi_op *op)
{
    return op->state >= VMB_SNAPSHOT_READY;
}

/* ---- the claim --------------------------------------------------------------------------------
 */

/* A volume cannot be made smaller than its snapshot: the request is raised where it is. */
static bool raise_request(const vmbi_csi_op *op, vmbi_json *patch)
{
    const char *asked =
        vmbi_json_path_str(vmbi_json_get(op->volume, "pvc"), "spec.resources.requests.storage");
    int64_t size = vmbi_csi_restore_size(op);
    int64_t request = 0;
    if (size == 0 || asked == NULL || !vmbi_quantity_parse(asked, &request) || request >= size) {
        return true;
    }
    vmbi_json *o = patch;
    static const char *const path[] = {"spec", "resources", "requests"};
    for (size_t i = 0; o != NULL && i < VMBI_ARRAY_LEN(path); i++) {
        o = vmbi_json_ensure_object(o, path[i]);
    }
    return o != NULL && set_quantity(o, "storage", size);
}

static vmbi_json *claim_patch(const vmbi_csi_op *op)
{
    vmbi_json *patch = vmbi_json_object();
    if (patch == NULL) {
        return NULL;
    }
    bool ok = vmbi_set_label(patch, "velero.io/volume-snapshot-name", op->vs_name) &&
              vmbi_set_annotation(patch, "velero.io/volume-snapshot-name", op->vs_name);
    if (ok && op->backup_label[0] != '\0') {
        ok = vmbi_set_label(patch, "velero.io/backup-name", op->backup_label);
    }
    if (!ok || !raise_request(op, patch)) {
        vmbi_json_free(patch);
        return NULL;
    }
    return patch;
}

/* ---- items ------------------------------------------------------------------------------------
 */

static vmbi_json *entry(const char *resource, const char *kind, vmbi_json *object)
{
    vmbi_json *e = vmbi_json_object();
    const char *api = vmbi_json_get_str(object, "apiVersion");
    const char *version = "v1";
    bool ok = e != NULL && object != NULL;
    if (api != NULL && strchr(api, '/') != NULL) {
        version = strchr(api, '/') + 1;
    } else if (ok) { /* items of a list come without */
        ok = vmbi_json_set_str(object, "apiVersion", VMBI_CSI_GROUP "/v1") &&
             vmbi_json_set_str(object, "kind", kind);
    }
    ok = ok && vmbi_json_set_str(e, "group", VMBI_CSI_GROUP) &&
         vmbi_json_set_str(e, "version", version) && vmbi_json_set_str(e, "resource", resource);
    if (!ok) {
        vmbi_json_free(object);
        vmbi_json_free(e);
        return NULL;
    }
    if (!vmbi_json_set(e, "object", object)) {
        vmbi_json_free(e);
        return NULL;
    }
    return e;
}

/* Deleting the backup goes through the content of the archive: without its finalizer the storage
 * snapshot would stay behind, and marks of work in progress would block it. */
static vmbi_json *content_item(const vmbi_csi_op *op)
{
    vmbi_json *vsc = vmbi_json_copy(op->vsc);
    if (vsc == NULL) {
        return NULL;
    }
    vmbi_json *meta = vmbi_json_ensure_object(vsc, "metadata");
    vmbi_json *annotations = vmbi_json_get(meta, "annotations");
    vmbi_json_del(annotations, VMBI_CSI_ANNOTATIONS "volumesnapshot-being-created");
    vmbi_json_del(annotations, VMBI_CSI_ANNOTATIONS "volumesnapshot-being-deleted");
    bool ok = meta != NULL;
    if (ok && op->backup_label[0] != '\0') {
        ok = vmbi_set_label(vsc, "velero.io/backup-name", op->backup_label);
    }
    vmbi_json *finalizers = vmbi_json_get(meta, "finalizers");
    bool protected = false;
    for (size_t i = 0; i < vmbi_json_len(finalizers); i++) {
        protected = protected || vmbi_streq(vmbi_json_str(vmbi_json_at(finalizers, i)), FINALIZER);
    }
    if (ok && !protected) {
        if (!vmbi_json_is_array(finalizers)) {
            ok = vmbi_json_set(meta, "finalizers", vmbi_json_array());
            finalizers = vmbi_json_get(meta, "finalizers");
        }
        ok = ok && vmbi_json_append_str(finalizers, FINALIZER);
    }
    if (!ok) {
        vmbi_json_free(vsc);
        return NULL;
    }
    return vsc;
}

static vmbi_json *snapshot_item(const vmbi_csi_op *op)
{
    const char *policy = vmbi_json_path_str(op->vsc, "spec.deletionPolicy");
    const char *handle = vmbi_json_path_str(op->vsc, "status.snapshotHandle");
    const char *group = vmbi_json_path_str(op->vsc, "status.volumeGroupSnapshotHandle");
    int64_t size = vmbi_csi_restore_size(op);
    vmbi_json *vs = vmbi_json_copy(op->vs);
    if (vs == NULL) {
        return NULL;
    }
    bool ok = vmbi_set_annotation(vs, "velero.io/csi-driver-name", op->driver);
    if (ok && policy != NULL) {
        ok = vmbi_set_annotation(vs, "velero.io/csi-vsc-deletion-policy", policy);
    }
    if (ok && handle != NULL) {
        ok = vmbi_set_annotation(vs, "velero.io/csi-volumesnapshot-handle", handle);
    }
    if (ok && group != NULL) {
        ok = vmbi_set_annotation(vs, "velero.io/csi-volumegroupsnapshot-handle", group);
    }
    if (ok && size > 0) {
        vmbi_buf text = VMBI_BUF_INIT(QUANTITY_SIZE);
        ok = format_quantity(size, &text) &&
             vmbi_set_annotation(vs, "velero.io/csi-volumesnapshot-restore-size", text.data);
        vmbi_buf_free(&text);
    }
    if (ok && op->backup_label[0] != '\0') {
        ok = vmbi_set_label(vs, "velero.io/backup-name", op->backup_label);
    }
    if (!ok) {
        vmbi_json_free(vs);
        return NULL;
    }
    return vs;
}

static vmbi_json *item_list(const vmbi_csi_op *op)
{
    vmbi_json *list = vmbi_json_array();
    if (list == NULL) {
        return NULL;
    }
    bool ok = vmbi_json_append(list, entry("volumesnapshotclasses", "VolumeSnapshotClass",
                                           vmbi_json_copy(op->snapshot_class))) &&
              vmbi_json_append(list, entry("volumesnapshotcontents", "VolumeSnapshotContent",
                                           content_item(op))) &&
              vmbi_json_append(list, entry("volumesnapshots", "VolumeSnapshot", snapshot_item(op)));
    if (!ok) {
        vmbi_json_free(list);
        return NULL;
    }
    return list;
}

/* ---- volumeinfo.json ---------------------------------------------------------------------------
 */

static const char *text_or(const char *s, const char *dflt)
{
    return s != NULL ? s : dflt;
}

static vmbi_json *snapshot_info(const vmbi_csi_op *op)
{
    const char *group = vmbi_json_path_str(op->vsc, "status.volumeGroupSnapshotHandle");
    const char *handle = vmbi_json_path_str(op->vsc, "status.snapshotHandle");
    vmbi_json *o = vmbi_json_object();
    bool ok = o != NULL && vmbi_json_set_str(o, "snapshotHandle", text_or(handle, "")) &&
              vmbi_json_set_int(o, "size", vmbi_csi_restore_size(op)) &&
              vmbi_json_set_str(o, "driver", op->driver) &&
              vmbi_json_set_str(o, "vscName", text_or(op->vsc_name, "")) &&
              vmbi_json_set_str(o, "operationID", op->operation_id) &&
              vmbi_json_set_bool(o, "ReadyToUse", is_ready(op)) &&
              (group == NULL || vmbi_json_set_str(o, "volumeGroupSnapshotHandle", group));
    if (!ok) {
        vmbi_json_free(o);
        return NULL;
    }
    return o;
}

static vmbi_json *pv_info(const vmbi_json *pv)
{
    vmbi_json *labels = vmbi_json_path(pv, "metadata.labels");
    vmbi_json *o = vmbi_json_object();
    bool ok = o != NULL &&
              vmbi_json_set_str(
                  o, "reclaimPolicy",
                  text_or(vmbi_json_path_str(pv, "spec.persistentVolumeReclaimPolicy"), "")) &&
              vmbi_json_set(o, "labels",
                            vmbi_json_len(labels) > 0 ? vmbi_json_copy(labels) : vmbi_json_null());
    if (!ok) {
        vmbi_json_free(o);
        return NULL;
    }
    return o;
}

static vmbi_json *volume_info(const vmbi_csi_op *op)
{
    const vmbi_json *pv = vmbi_json_get(op->volume, "pv");
    const char *made = vmbi_json_path_str(op->vs, "metadata.creationTimestamp");
    vmbi_json *o = vmbi_json_object();
    bool ok = o != NULL && vmbi_json_set_str(o, "pvcName", op->claim) &&
              vmbi_json_set_str(o, "pvcNamespace", op->ns) &&
              vmbi_json_set_str(o, "pvName", vmbi_name_of(pv)) &&
              vmbi_json_set_str(o, "backupMethod", "CSISnapshot") &&
              vmbi_json_set_bool(o, "snapshotDataMoved", false) &&
              vmbi_json_set_bool(o, "preserveLocalSnapshot", true) &&
              vmbi_json_set_bool(o, "skipped", false) &&
              (made == NULL || vmbi_json_set_str(o, "startTimestamp", made)) &&
              vmbi_json_set(o, "csiSnapshotInfo", snapshot_info(op)) &&
              vmbi_json_set(o, "pvInfo", pv_info(pv));
    if (ok && is_ready(op)) {
        char now[VMBI_RFC3339_SIZE];
        vmbi_format_rfc3339(op->ready_unix_ns, now);
        ok = vmbi_json_set_str(o, "completionTimestamp", now) &&
             vmbi_json_set_str(o, "result", "succeeded");
    }
    if (!ok) {
        vmbi_json_free(o);
        return NULL;
    }
    return o;
}

/* ---- itemoperations.json -----------------------------------------------------------------------
 */

/* The capitals are Velero's: the Go structure has no JSON names. */
static vmbi_json *identifier(const char *resource, const char *ns, const char *name)
{
    vmbi_json *o = vmbi_json_object();
    bool ok = o != NULL && vmbi_json_set_str(o, "Group", VMBI_CSI_GROUP) &&
              vmbi_json_set_str(o, "Resource", resource) && vmbi_json_set_str(o, "Namespace", ns) &&
              vmbi_json_set_str(o, "Name", name);
    if (!ok) {
        vmbi_json_free(o);
        return NULL;
    }
    return o;
}

static vmbi_json *operation_spec(const vmbi_csi_op *op)
{
    vmbi_json *o = vmbi_json_object();
    vmbi_json *after = vmbi_json_array();
    if (o == NULL || after == NULL) {
        vmbi_json_free(o);
        vmbi_json_free(after);
        return NULL;
    }
    bool ok = vmbi_json_append(after, identifier("volumesnapshots", op->ns, op->vs_name)) &&
              vmbi_json_append(after,
                               identifier("volumesnapshotcontents", "", text_or(op->vsc_name, "")));
    ok &= vmbi_json_set(o, "postOperationItems", after);
    ok = ok && vmbi_json_set_str(o, "backupName", op->backup_name) &&
         vmbi_json_set_str(o, "backupUID", op->backup_uid) &&
         vmbi_json_set_str(o, "backupItemAction", "velero.io/csi-volumesnapshot-backupper") &&
         vmbi_json_set(o, "resourceIdentifier",
                       identifier("volumesnapshots", op->ns, op->vs_name)) &&
         vmbi_json_set_str(o, "operationID", op->operation_id);
    if (!ok) {
        vmbi_json_free(o);
        return NULL;
    }
    return o;
}

static vmbi_json *operation_status(const vmbi_csi_op *op)
{
    const char *made = vmbi_json_path_str(op->vs, "metadata.creationTimestamp");
    char updated[VMBI_RFC3339_SIZE];
    vmbi_format_rfc3339(is_ready(op) ? op->ready_unix_ns : vmbi_unix_ns(), updated);
    vmbi_json *o = vmbi_json_object();
    bool ok = o != NULL &&
              vmbi_json_set_str(o, "phase", is_ready(op) ? "Completed" : "InProgress") &&
              vmbi_json_set_str(o, "created", text_or(made, updated)) &&
              vmbi_json_set_str(o, "started", text_or(made, updated)) &&
              vmbi_json_set_str(o, "updated", updated);
    if (!ok) {
        vmbi_json_free(o);
        return NULL;
    }
    return o;
}

static vmbi_json *operation(const vmbi_csi_op *op)
{
    vmbi_json *o = vmbi_json_object();
    bool ok = o != NULL && vmbi_json_set(o, "spec", operation_spec(op)) &&
              vmbi_json_set(o, "status", operation_status(op));
    if (!ok) {
        vmbi_json_free(o);
        return NULL;
    }
    return o;
}

vmb_code vmbi_csi_describe(void *user, vmb_job *job, void *opaque, vmb_sink *out, vmb_error **err)
{
    const vmbi_csi_op *op = opaque;
    char *text = NULL;
    size_t len = 0;
    (void)user;
    (void)job; /* nothing is asked for */
    if (op->state < VMB_SNAPSHOT_CUT) {
        return vmbi_fail(err, VMB_E_STATE, "snapshot %s/%s is not cut yet", op->ns, op->vs_name);
    }
    vmbi_json *doc = vmbi_json_object();
    bool ok = doc != NULL && vmbi_json_set(doc, "claimPatch", claim_patch(op)) &&
              vmbi_json_set(doc, "items", item_list(op)) &&
              vmbi_json_set(doc, "volumeInfo", volume_info(op)) &&
              vmbi_json_set(doc, "operation", operation(op)) &&
              vmbi_json_set_str(doc, "operationID", op->operation_id);
    vmb_code code = ok ? vmbi_json_to_text(doc, &text, &len, err) : vmbi_fail_nomem(err);
    if (code == VMB_OK) {
        code = vmb_sink_write(out, text, len, err);
    }
    vmbi_free(text);
    vmbi_json_free(doc);
    return code;
}
