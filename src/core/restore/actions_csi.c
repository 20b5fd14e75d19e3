/* SPDX-License-Identifier: Apache-2.0 */
/* Claims and CSI snapshots: a snapshot of the backup is bound statically by its handle, under a
 * name of its own for each restore, and the claim is filled from it (Velero 1.18,
 * pkg/restore/actions/csi). The name's digest also takes the namespace in, so that equal names in
 * two namespaces do not meet in one cluster-scoped content. */
#include "core/restore/restore.h"

#include <string.h>

#include "base/error.h"
#include "codec/digest.h"

enum { NAME_SIZE = 65 };

static const char snapshots[] = "volumesnapshots.snapshot.storage.k8s.io";
static const char contents[] = "volumesnapshotcontents.snapshot.storage.k8s.io";
static const char group[] = "snapshot.storage.k8s.io";

static vmb_code new_name(const vmbi_restore *r, const char *ns, const char *snapshot,
                         char out[NAME_SIZE], vmb_error **err)
{
    vmbi_buf text = VMBI_BUF_INIT(4096);
    uint8_t digest[32];
    vmbi_buf_addf(&text, "%s/%s/%s", r->uid, ns, snapshot);
    vmb_code rc = vmbi_buf_check(&text, err, "name of a snapshot");
    if (rc == VMB_OK) {
        vmbi_sha256(text.data, text.len, digest);
        vmbi_hex(digest, sizeof(digest), out);
    }
    vmbi_buf_free(&text);
    return rc;
}

/* The KubeVirt plugin keeps the claim's uid in a label, and what the label held before in an
 * annotation. */
static bool undo_uid_label(vmbi_json *obj, const char *annotation)
{
    static const char label[] = "velero.kubevirt.io/pvc-uid";
    vmbi_json *labels = vmbi_json_path(obj, "metadata.labels");
    vmbi_json *notes = vmbi_json_path(obj, "metadata.annotations");
    const char *before = vmbi_json_get_str(notes, annotation);
    bool ok = true;
    if (vmbi_json_get(labels, label) == NULL) {
        return true;
    }
    if (before != NULL) {
        ok = vmbi_json_set_str(labels, label, before);
        vmbi_json_del(notes, annotation);
    } else {
        vmbi_json_del(labels, label);
    }
    return ok;
}

/* ---- claims -------------------------------------------------------------------------------- */

static void related_volume(vmbi_restore *r, const vmbi_ritem *item)
{
    const char *volume = vmbi_json_path_str(item->original, "spec.volumeName");
    if (vmbi_streq(vmbi_json_path_str(item->original, "status.phase"), "Bound") && volume != NULL &&
        volume[0] != '\0') {
        vmbi_restore_related(r, item, "persistentvolumes", "", volume);
    }
}

static bool is_there(vmbi_restore *r, const vmbi_ritem *item)
{
    vmbi_buf text = VMBI_BUF_INIT(VMBI_OBJECT_MAX_BYTES);
    vmb_code rc = vmbi_cluster_get(&r->cluster, &r->job, "", "v1", "persistentvolumeclaims",
                                   item->target, item->name, &text, NULL);
    vmbi_buf_free(&text);
    return rc == VMB_OK;
}

/* The entry of the restore's volumeinfo; the volume's name is filled in at the end. */
static vmb_code note_snapshot(vmbi_restore *r, const vmbi_ritem *item, const char *snapshot,
                              vmb_error **err)
{
    vmbi_buf text = VMBI_BUF_INIT(VMBI_INDEX_MAX_ITEM);
    vmbi_json *vs = NULL;
    if (vmbi_index_get(&r->index, snapshots, item->ns, snapshot, &text, NULL) == VMB_OK) {
        (void)vmbi_json_parse(text.data, text.len, snapshot, &vs, NULL); /* restoring it tells */
    }
    vmbi_buf_free(&text);
    const vmbi_json *notes = vmbi_json_path(vs, "metadata.annotations");
    const char *handle = vmbi_json_get_str(notes, "velero.io/csi-volumesnapshot-handle");
    const char *driver = vmbi_json_get_str(notes, "velero.io/csi-driver-name");
    const char *content = vmbi_json_path_str(vs, "status.boundVolumeSnapshotContentName");
    vmbi_json *e = vmbi_json_object();
    vmbi_json *csi = vmbi_json_object();
    bool ok = e != NULL && csi != NULL && vmbi_json_set_str(e, "pvcName", item->name) &&
              vmbi_json_set_str(e, "pvcNamespace", item->target) &&
              vmbi_json_set_str(e, "restoreMethod", "CSISnapshot") &&
              vmbi_json_set_bool(e, "snapshotDataMoved", false);
    ok = ok && vmbi_json_set_str(csi, "snapshotHandle", handle != NULL ? handle : "");
    ok = ok && vmbi_json_set_str(csi, "driver", driver != NULL ? driver : "");
    ok = ok && vmbi_json_set_str(csi, "vscName", content != NULL ? content : "");
    ok = ok && vmbi_json_set(e, "csiSnapshotInfo", vmbi_json_ref(csi));
    vmbi_json_free(csi);
    vmbi_json_free(vs);
    if (!ok) {
        vmbi_json_free(e);
        return vmbi_fail_nomem(err);
    }
    vmbi_restore_note_volume(r, e);
    return VMB_OK;
}

static vmb_code fill_from_snapshot(vmbi_restore *r, vmbi_ritem *item, const char *snapshot,
                                   vmb_error **err)
{
    char name[NAME_SIZE];
    vmbi_json *spec = vmbi_json_ensure_object(item->obj, "spec");
    vmbi_json *source = vmbi_json_object();
    vmb_code rc = new_name(r, item->ns, snapshot, name, err);
    bool ok = rc == VMB_OK && spec != NULL && source != NULL;
    ok = ok && vmbi_json_set_str(source, "apiGroup", group);
    ok = ok && vmbi_json_set_str(source, "kind", "VolumeSnapshot");
    ok = ok && vmbi_json_set_str(source, "name", name);
    ok = ok && vmbi_json_set(spec, "dataSource", vmbi_json_ref(source));
    vmbi_json_free(source);
    if (rc != VMB_OK || !ok) {
        return rc != VMB_OK ? rc : vmbi_fail_nomem(err);
    }
    vmbi_json_del(spec, "dataSourceRef");
    vmbi_json_del(spec, "volumeName");
    rc = note_snapshot(r, item, snapshot, err);
    if (rc == VMB_OK) {
        vmbi_restore_related(r, item, snapshots, item->ns, snapshot);
    }
    return rc;
}

static vmb_code claim_source(vmbi_restore *r, vmbi_ritem *item, vmb_error **err)
{
    const vmbi_json *notes = vmbi_json_path(item->original, "metadata.annotations");
    const char *snapshot = vmbi_json_get_str(notes, "velero.io/volume-snapshot-name");
    if (!r->restore_pvs) {
        vmbi_json *spec = vmbi_json_get(item->obj, "spec");
        vmbi_json_del(spec, "volumeName");
        vmbi_json_del(spec, "dataSource");
        vmbi_json_del(spec, "dataSourceRef");
        return VMB_OK;
    }
    if (vmbi_json_bool(vmbi_json_path(r->backup, "spec.snapshotMoveData"), false)) {
        return vmbi_json_get(notes, "velero.io/data-upload-name") == NULL
                   ? VMB_OK
                   : vmbi_fail(err, VMB_E_UNSUPPORTED,
                               "its data was moved into a kopia repository by Velero's data mover, "
                               "which cannot be read yet");
    }
    if (snapshot == NULL) {
        return VMB_OK;
    }
    if (is_there(r, item)) {
        vmbi_restore_info(r, item, "the claim exists: it is not filled from the snapshot");
        return VMB_OK;
    }
    return fill_from_snapshot(r, item, snapshot, err);
}

vmb_code vmbi_restore_action_claim(vmbi_restore *r, vmbi_ritem *item, vmb_error **err)
{
    static const char *const stale[] = {
        "pv.kubernetes.io/bind-completed",
        "pv.kubernetes.io/bound-by-controller",
        "volume.kubernetes.io/storage-provisioner",
        "volume.beta.kubernetes.io/storage-provisioner",
        "volume.kubernetes.io/selected-node",
        "velero.io/volume-snapshot-name",
        "velero.io/data-upload-name",
    };
    vmbi_json *notes = vmbi_json_path(item->obj, "metadata.annotations");
    if (vmbi_json_get(notes, "kvp.kubevirt.io/storage.inprogress") != NULL) {
        item->skip = true; /* CDI was still filling it: it starts again */
        return VMB_OK;
    }
    for (size_t i = 0; i < VMBI_ARRAY_LEN(stale); i++) {
        vmbi_json_del(notes, stale[i]);
    }
    if (!undo_uid_label(item->obj, "velero.kubevirt.io/original-pvc-uid")) {
        return vmbi_fail_nomem(err);
    }
    related_volume(r, item);
    return claim_source(r, item, err);
}

/* ---- snapshots ----------------------------------------------------------------------------- */

/* A class of the driver, for its secrets; NULL when there is none. */
static vmbi_json *find_class(vmbi_restore *r, const char *driver)
{
    vmbi_buf text = VMBI_BUF_INIT(VMBI_OBJECT_MAX_BYTES);
    vmbi_json *list = NULL;
    vmbi_json *found = NULL;
    vmb_code rc = vmbi_cluster_list_array(&r->cluster, &r->job, group, NULL,
                                          "volumesnapshotclasses", NULL, "", &text, NULL);
    if (rc == VMB_OK && driver != NULL) {
        rc = vmbi_json_parse(text.data, text.len, "list", &list, NULL);
    }
    for (size_t i = 0; rc == VMB_OK && i < vmbi_json_len(list) && found == NULL; i++) {
        const vmbi_json *c = vmbi_json_at(list, i);
        const char *name = vmbi_json_path_str(c, "metadata.name");
        if (name != NULL && vmbi_streq(vmbi_json_get_str(c, "driver"), driver)) {
            found = vmbi_json_string(name);
        }
    }
    vmbi_json_free(list);
    vmbi_buf_free(&text);
    return found;
}

/* Backups of versions before 1.16 may hold no content: the snapshot itself tells handle and driver.
 */
static vmb_code make_content(vmbi_restore *r, const vmbi_ritem *item, const char *name,
                             vmb_error **err)
{
    const vmbi_json *notes = vmbi_json_path(item->original, "metadata.annotations");
    const char *handle = vmbi_json_get_str(notes, "velero.io/csi-volumesnapshot-handle");
    const char *driver = vmbi_json_get_str(notes, "velero.io/csi-driver-name");
    const char *api = vmbi_json_get_str(item->obj, "apiVersion");
    if (handle == NULL || driver == NULL) {
        return vmbi_fail(err, VMB_E_INVALID, "VS %s doesn't have bound VSC", item->name);
    }
    vmbi_json *doc = vmbi_json_object();
    vmbi_json *spec = vmbi_json_ensure_object(doc, "spec");
    vmbi_json *ref = vmbi_json_ensure_object(spec, "volumeSnapshotRef");
    vmbi_json *source = vmbi_json_ensure_object(spec, "source");
    vmbi_json *meta = vmbi_json_ensure_object(doc, "metadata");
    char *text = NULL;
    size_t len = 0;
    bool ok = meta != NULL && ref != NULL && source != NULL;
    ok = ok && vmbi_json_set_str(doc, "apiVersion", api != NULL ? api : "");
    ok = ok && vmbi_json_set_str(doc, "kind", "VolumeSnapshotContent");
    ok = ok && vmbi_json_set_str(meta, "name", name);
    ok = ok && vmbi_json_set_str(spec, "deletionPolicy", "Retain");
    ok = ok && vmbi_json_set_str(spec, "driver", driver);
    ok = ok && vmbi_json_set_str(source, "snapshotHandle", handle);
    ok = ok && vmbi_json_set_str(ref, "namespace", item->target);
    ok = ok && vmbi_json_set_str(ref, "name", name) && vmbi_restore_label(r, doc);
    vmbi_json *class = ok ? find_class(r, driver) : NULL;
    ok = ok && (class == NULL || vmbi_json_set(spec, "volumeSnapshotClassName", class));
    vmb_code rc = ok ? vmbi_json_to_text(doc, &text, &len, err) : vmbi_fail_nomem(err);
    if (rc == VMB_OK) {
        rc = vmbi_cluster_create(&r->cluster, &r->job, group, NULL, "volumesnapshotcontents", NULL,
                                 text, len, NULL, err);
    }
    vmb_free(text);
    vmbi_json_free(doc);
    return rc;
}

static vmb_code rebind_snapshot(const vmbi_ritem *item, const char *name, vmb_error **err)
{
    vmbi_json *spec = vmbi_json_ensure_object(item->obj, "spec");
    vmbi_json *meta = vmbi_json_ensure_object(item->obj, "metadata");
    vmbi_json *notes = vmbi_json_ensure_object(meta, "annotations");
    vmbi_json *source = vmbi_json_object();
    bool ok = spec != NULL && meta != NULL && notes != NULL && source != NULL;
    ok = ok && vmbi_json_set_str(source, "volumeSnapshotContentName", name);
    ok = ok && vmbi_json_set(spec, "source", vmbi_json_ref(source));
    ok = ok && vmbi_json_set_str(meta, "name", name);
    ok = ok && vmbi_json_set_str(notes, "velero.io/csi-vsc-deletion-policy", "Retain");
    ok = ok && undo_uid_label(item->obj, "velero.kubevirt.io/original-volumesnapshot-uid");
    vmbi_json_free(source);
    vmbi_json_del(spec, "volumeSnapshotClassName");
    return ok ? VMB_OK : vmbi_fail_nomem(err);
}

vmb_code vmbi_restore_action_snapshot(vmbi_restore *r, vmbi_ritem *item, vmb_error **err)
{
    const char *content =
        vmbi_json_path_str(item->original, "status.boundVolumeSnapshotContentName");
    char name[NAME_SIZE];
    if (!r->restore_pvs) {
        item->skip = true;
        return VMB_OK;
    }
    vmb_code rc = new_name(r, item->ns, item->name, name, err);
    if (rc == VMB_OK) {
        rc = rebind_snapshot(item, name, err);
    }
    if (rc == VMB_OK && content != NULL && vmbi_index_has(&r->index, contents, "", content)) {
        vmbi_restore_related(r, item, contents, "", content);
    } else if (rc == VMB_OK) {
        rc = make_content(r, item, name, err);
    }
    return rc;
}

static vmb_code rebind_content(vmbi_restore *r, const vmbi_ritem *item, const char *name,
                               const char *handle, vmb_error **err)
{
    vmbi_json *spec = vmbi_json_get(item->obj, "spec");
    vmbi_json *ref = vmbi_json_get(spec, "volumeSnapshotRef");
    const char *ns = vmbi_json_get_str(ref, "namespace");
    vmbi_json *source = vmbi_json_object();
    bool ok =
        source != NULL && vmbi_json_set_str(vmbi_json_get(item->obj, "metadata"), "name", name);
    ok = ok &&
         vmbi_json_set_str(ref, "namespace", vmbi_restore_target(r->filter, ns != NULL ? ns : ""));
    ok = ok && vmbi_json_set_str(ref, "name", name);
    ok = ok && vmbi_json_set_str(spec, "deletionPolicy", "Retain");
    ok = ok && vmbi_json_set_str(source, "snapshotHandle", handle);
    ok = ok && vmbi_json_set(spec, "source", vmbi_json_ref(source));
    vmbi_json_free(source);
    if (!ok) {
        return vmbi_fail_nomem(err);
    }
    vmbi_json_del(ref, "uid");
    vmbi_json_del(ref, "resourceVersion");
    vmbi_json_del(spec, "volumeSnapshotClassName");
    vmbi_json *class = find_class(r, vmbi_json_get_str(spec, "driver"));
    return class == NULL || vmbi_json_set(spec, "volumeSnapshotClassName", class)
               ? VMB_OK
               : vmbi_fail_nomem(err);
}

vmb_code vmbi_restore_action_content(vmbi_restore *r, vmbi_ritem *item, vmb_error **err)
{
    static const char secret_name[] = "snapshot.storage.kubernetes.io/deletion-secret-name";
    static const char secret_ns[] = "snapshot.storage.kubernetes.io/deletion-secret-namespace";
    const char *handle = vmbi_json_path_str(item->original, "status.snapshotHandle");
    const char *snapshot = vmbi_json_path_str(item->original, "spec.volumeSnapshotRef.name");
    const char *ns = vmbi_json_path_str(item->original, "spec.volumeSnapshotRef.namespace");
    char name[NAME_SIZE];
    if (!r->restore_pvs) {
        item->skip = true;
        return VMB_OK;
    }
    if (handle == NULL) { /* some older versions stored contents in their static form */
        handle = vmbi_json_path_str(item->original, "spec.source.snapshotHandle");
    }
    if (handle == NULL || snapshot == NULL || ns == NULL) {
        return vmbi_fail(err, VMB_E_INVALID, "fail to get snapshot handle from VSC %s status",
                         item->name);
    }
    vmb_code rc = new_name(r, ns, snapshot, name, err);
    if (rc == VMB_OK) {
        rc = rebind_content(r, item, name, handle, err);
    }
    if (rc == VMB_OK) {
        vmbi_json *notes = vmbi_json_path(item->obj, "metadata.annotations");
        const char *secret = vmbi_json_get_str(notes, secret_name);
        const char *where = vmbi_json_get_str(notes, secret_ns);
        /* work of the source's controllers that was under way */
        vmbi_json_del(notes, "snapshot.storage.kubernetes.io/volumesnapshot-being-created");
        vmbi_json_del(notes, "snapshot.storage.kubernetes.io/volumesnapshot-being-deleted");
        if (secret != NULL && where != NULL &&
            vmbi_index_has(&r->index, "secrets", where, secret)) {
            vmbi_restore_related(r, item, "secrets", where, secret);
        }
    }
    return rc;
}

vmb_code vmbi_restore_action_class(vmbi_restore *r, vmbi_ritem *item, vmb_error **err)
{
    static const char secret_name[] = "csi.storage.k8s.io/snapshotter-list-secret-name";
    static const char secret_ns[] = "csi.storage.k8s.io/snapshotter-list-secret-namespace";
    const vmbi_json *notes = vmbi_json_path(item->obj, "metadata.annotations");
    const char *secret = vmbi_json_get_str(notes, secret_name);
    const char *where = vmbi_json_get_str(notes, secret_ns);
    (void)err;
    if (!r->restore_pvs) {
        item->skip = true;
    } else if (secret != NULL && where != NULL &&
               vmbi_index_has(&r->index, "secrets", where, secret)) {
        vmbi_restore_related(r, item, "secrets", where, secret);
    }
    return VMB_OK;
}
