/* SPDX-License-Identifier: Apache-2.0 */
/* Volumes and claims: a volume whose data is elsewhere is provisioned anew, one without data in the
 * backup is brought back as it was when it is retained (Velero 1.18, pkg/restore/restore.go). */
#include "core/restore/podvolumes.h"

#include <string.h>

#include "base/clock.h"
#include "base/error.h"

static bool provision_anew(vmbi_restore *r, const vmbi_ritem *item, const char *why)
{
    static char mark;
    vmb_error *e = NULL;
    (void)pthread_mutex_lock(&r->lock);
    vmb_code rc = vmbi_map_set(&r->provision, item->name, &mark, &e);
    (void)pthread_mutex_unlock(&r->lock);
    if (rc != VMB_OK) {
        vmbi_restore_break(r, rc, &e);
    }
    vmbi_restore_info(r, item, "provisioned anew: %s", why);
    return false;
}

/* What binds a claim and a volume is unique to the source. */
static void reset_binding(vmbi_json *obj)
{
    vmbi_json *ref = vmbi_json_path(obj, "spec.claimRef");
    vmbi_json *notes = vmbi_json_path(obj, "metadata.annotations");
    vmbi_json_del(ref, "uid");
    vmbi_json_del(ref, "resourceVersion");
    vmbi_json_del(notes, "pv.kubernetes.io/bind-completed");
    vmbi_json_del(notes, "pv.kubernetes.io/bound-by-controller");
}

static bool as_it_was(vmbi_restore *r, vmbi_ritem *item)
{
    vmbi_json *ref = vmbi_json_path(item->obj, "spec.claimRef");
    const char *ns = vmbi_json_get_str(ref, "namespace");
    if (ns != NULL && !vmbi_json_set_str(ref, "namespace", vmbi_restore_target(r->filter, ns))) {
        vmbi_restore_break(r, VMB_E_NOMEM, NULL);
        return false;
    }
    reset_binding(item->obj);
    return true;
}

/* Backups of versions before 1.13 have no volumeinfo: the claim of a fs-backup names itself. */
static bool has_pod_volume(const vmbi_restore *r, const vmbi_json *pv)
{
    const vmbi_json *ref = vmbi_json_path(pv, "spec.claimRef");
    const char *ns = vmbi_json_get_str(ref, "namespace");
    const char *claim = vmbi_json_get_str(ref, "name");
    for (size_t i = 0; claim != NULL && i < vmbi_json_len(r->pod_volumes); i++) {
        const vmbi_json *b = vmbi_json_at(r->pod_volumes, i);
        const char *name =
            vmbi_json_get_str(vmbi_json_path(b, "metadata.annotations"), "velero.io/pvc-name");
        if (vmbi_streq(name, claim) &&
            vmbi_streq(vmbi_json_path_str(b, "spec.pod.namespace"), ns)) {
            return true;
        }
    }
    return false;
}

/* Without volumeinfo: does the claim in the archive name a snapshot? */
static bool has_snapshot(vmbi_restore *r, const vmbi_json *pv)
{
    const vmbi_json *ref = vmbi_json_path(pv, "spec.claimRef");
    const char *ns = vmbi_json_get_str(ref, "namespace");
    const char *claim = vmbi_json_get_str(ref, "name");
    if (ns == NULL || claim == NULL) {
        return false;
    }
    vmbi_buf text = VMBI_BUF_INIT(VMBI_INDEX_MAX_ITEM);
    vmbi_json *pvc = NULL;
    bool found = false;
    if (vmbi_index_get(&r->index, "persistentvolumeclaims", ns, claim, &text, NULL) == VMB_OK &&
        vmbi_json_parse(text.data, text.len, claim, &pvc, NULL) == VMB_OK) {
        const vmbi_json *notes = vmbi_json_path(pvc, "metadata.annotations");
        found = vmbi_json_get(notes, "velero.io/volume-snapshot-name") != NULL ||
                vmbi_json_get(notes, "velero.io/data-upload-name") != NULL;
    }
    vmbi_json_free(pvc);
    vmbi_buf_free(&text);
    return found;
}

bool vmbi_restore_volume(vmbi_restore *r, vmbi_ritem *item, bool *failed)
{
    const vmbi_json *info = vmbi_json_get(r->volume_info, item->name);
    const char *method = vmbi_json_get_str(info, "backupMethod");
    const char *policy = vmbi_json_path_str(item->obj, "spec.persistentVolumeReclaimPolicy");
    if (vmbi_streq(method, "NativeSnapshot")) {
        vmbi_restore_error(r, "", NULL,
                           "error executing PVAction for persistentvolumes/%s: snapshots of the "
                           "storage's own API are not supported, only those of CSI",
                           item->name);
        *failed = true;
        return false;
    }
    if (vmbi_streq(method, "PodVolumeBackup") || (info == NULL && has_pod_volume(r, item->obj))) {
        return provision_anew(r, item, "its content comes from a backup of files");
    }
    if (vmbi_streq(method, "CSISnapshot") || (info == NULL && has_snapshot(r, item->obj))) {
        return provision_anew(r, item, "its content comes from a CSI snapshot");
    }
    if (vmbi_streq(policy, "Delete")) {
        return provision_anew(r, item, "it has no snapshot and its reclaim policy is Delete");
    }
    return as_it_was(r, item);
}

/* A claim says that its content is to come until it is there: a restore that did not end can be
 * run again, and knows which volumes are empty. */
static bool note_content(vmbi_restore *r, vmbi_ritem *item)
{
    vmbi_json *meta = vmbi_json_get(item->obj, "metadata");
    vmbi_json_del(vmbi_json_get(meta, "annotations"), VMBI_CONTENT_NOTE);
    if (vmbi_restore_record_of_claim(r, item->ns, item->name) == NULL) {
        return true;
    }
    vmbi_json *notes = vmbi_json_ensure_object(meta, "annotations");
    return notes != NULL && vmbi_json_set_str(notes, VMBI_CONTENT_NOTE, "pending");
}

bool vmbi_restore_claim_volume(vmbi_restore *r, vmbi_ritem *item)
{
    vmbi_json *spec = vmbi_json_get(item->obj, "spec");
    const char *volume = vmbi_json_get_str(spec, "volumeName");
    if (!note_content(r, item)) {
        return false;
    }
    if (volume == NULL || volume[0] == '\0') {
        return true;
    }
    reset_binding(item->obj);
    (void)pthread_mutex_lock(&r->lock);
    bool anew = vmbi_map_has(&r->provision, volume);
    (void)pthread_mutex_unlock(&r->lock);
    if (anew) {
        vmbi_json_del(spec, "volumeName");
    }
    return true;
}

void vmbi_restore_note_volume(vmbi_restore *r, vmbi_json *entry)
{
    (void)pthread_mutex_lock(&r->lock);
    bool ok = vmbi_json_append(r->volumes, entry);
    (void)pthread_mutex_unlock(&r->lock);
    if (!ok) {
        vmbi_restore_break(r, VMB_E_NOMEM, NULL);
    }
}

/* ---- what provisioning cannot know --------------------------------------------------------- */

static vmbi_json *get_tree(vmbi_restore *r, const char *resource, const char *ns, const char *name,
                           vmb_code *rc, vmb_error **err)
{
    vmbi_buf text = VMBI_BUF_INIT(VMBI_OBJECT_MAX_BYTES);
    vmbi_json *tree = NULL;
    *rc = vmbi_cluster_get(&r->cluster, &r->job, "", "v1", resource, ns, name, &text, err);
    if (*rc == VMB_OK) {
        *rc = vmbi_json_parse(text.data != NULL ? text.data : "", text.len, name, &tree, err);
    }
    vmbi_buf_free(&text);
    return tree;
}

/* Waits until the claim is bound; its volume's name into out. False: it is not (an error is noted
 * unless it waits for its first consumer). */
static bool wait_bound(vmbi_restore *r, const char *ns, const char *claim, vmbi_buf *out,
                       vmbi_limits *limits)
{
    int64_t pause = 50 * VMBI_MS;
    for (;;) {
        vmb_code rc = VMB_OK;
        vmb_error *why = NULL;
        vmbi_json *pvc = get_tree(r, "persistentvolumeclaims", ns, claim, &rc, &why);
        const char *volume = vmbi_json_path_str(pvc, "spec.volumeName");
        bool bound = vmbi_streq(vmbi_json_path_str(pvc, "status.phase"), "Bound");
        const char *class_name = vmbi_json_path_str(pvc, "spec.storageClassName");
        vmbi_buf_reset(out);
        if (bound && volume != NULL) {
            vmbi_buf_adds(out, volume);
        }
        bool waits = false;
        if (rc == VMB_OK && !bound && class_name != NULL) {
            vmb_code got = VMB_OK;
            vmbi_buf text = VMBI_BUF_INIT(VMBI_OBJECT_MAX_BYTES);
            vmbi_json *class = NULL;
            got = vmbi_cluster_get(&r->cluster, &r->job, "storage.k8s.io", NULL, "storageclasses",
                                   NULL, class_name, &text, NULL);
            if (got == VMB_OK) {
                (void)vmbi_json_parse(text.data, text.len, class_name, &class, NULL);
            }
            waits =
                vmbi_streq(vmbi_json_get_str(class, "volumeBindingMode"), "WaitForFirstConsumer");
            vmbi_json_free(class);
            vmbi_buf_free(&text);
        }
        vmbi_json_free(pvc);
        if (rc == VMB_OK && !out->len && !waits) {
            rc = vmbi_limits_sleep(limits, pause, &why, "wait for a claim to be bound");
            pause = pause < VMBI_SECOND ? 2 * pause : pause;
            if (rc == VMB_OK) {
                continue;
            }
        }
        if (rc != VMB_OK && !vmbi_restore_is_over(r, rc, &why)) {
            vmbi_restore_warn(r, ns, why,
                              "claim %s: its volume's reclaim policy and labels are not restored",
                              claim);
        }
        vmb_error_free(why);
        return out->len > 0;
    }
}

static void patch_volume(vmbi_restore *r, const vmbi_json *wanted, const char *volume)
{
    vmb_code rc = VMB_OK;
    vmb_error *why = NULL;
    vmbi_json *pv = get_tree(r, "persistentvolumes", NULL, volume, &rc, &why);
    const char *policy = vmbi_json_get_str(wanted, "reclaimPolicy");
    const vmbi_json *labels = vmbi_json_get(wanted, "labels");
    vmbi_json *target = vmbi_json_copy(pv);
    bool ok = rc != VMB_OK || target != NULL;
    if (ok && rc == VMB_OK && policy != NULL) {
        ok = vmbi_json_set_str(vmbi_json_ensure_object(target, "spec"),
                               "persistentVolumeReclaimPolicy", policy);
    }
    if (ok && rc == VMB_OK && vmbi_json_len(labels) > 0) {
        ok = vmbi_json_set(vmbi_json_ensure_object(target, "metadata"), "labels",
                           vmbi_json_copy(labels));
    }
    vmbi_json *patch = ok && rc == VMB_OK ? vmbi_merge_diff(pv, target) : NULL;
    if (rc == VMB_OK && (!ok || patch == NULL)) {
        rc = vmbi_fail_nomem(&why);
    }
    if (rc == VMB_OK && vmbi_json_len(patch) > 0) {
        char *text = NULL;
        size_t len = 0;
        rc = vmbi_json_to_text(patch, &text, &len, &why);
        if (rc == VMB_OK) {
            rc = vmbi_cluster_patch(&r->cluster, &r->job, "", "v1", "persistentvolumes", NULL,
                                    volume, NULL, VMB_PATCH_MERGE, text, len, NULL, &why);
        }
        vmb_free(text);
    }
    if (rc != VMB_OK && !vmbi_restore_is_over(r, rc, &why)) {
        vmbi_restore_error(r, "", why, "volume %s: its reclaim policy and labels", volume);
    }
    vmb_error_free(why);
    vmbi_json_free(patch);
    vmbi_json_free(target);
    vmbi_json_free(pv);
}

static bool was_created(vmbi_restore *r, const char *ns, const char *claim)
{
    vmbi_buf key = VMBI_BUF_INIT(1024);
    vmbi_buf_addf(&key, "v1/PersistentVolumeClaim|%s|%s", ns, claim);
    const vmbi_restored *what = key.status == VMB_OK ? vmbi_map_get(&r->items, key.data) : NULL;
    vmbi_buf_free(&key);
    return what == &vmbi_restored_created;
}

void vmbi_restore_patch_volumes(vmbi_restore *r)
{
    vmbi_limits limits = vmbi_limits_within(&r->job.limits, r->ctx->settings.resource_timeout_ns);
    vmbi_buf volume = VMBI_BUF_INIT(1024);
    for (void *it = vmbi_json_iter(r->volume_info); it != NULL && !vmbi_restore_is_broken(r);
         it = vmbi_json_iter_next(r->volume_info, it)) {
        const vmbi_json *info = vmbi_json_iter_value(it);
        const vmbi_json *wanted = vmbi_json_get(info, "pvInfo");
        const char *method = vmbi_json_get_str(info, "backupMethod");
        const char *ns = vmbi_json_get_str(info, "pvcNamespace");
        const char *claim = vmbi_json_get_str(info, "pvcName");
        if (!vmbi_json_is_object(wanted) || ns == NULL || claim == NULL ||
            (!vmbi_streq(method, "PodVolumeBackup") && !vmbi_streq(method, "CSISnapshot")) ||
            !vmbi_map_has(&r->provision, vmbi_json_iter_key(it))) {
            continue;
        }
        ns = vmbi_restore_target(r->filter, ns);
        if (was_created(r, ns, claim) && wait_bound(r, ns, claim, &volume, &limits)) {
            patch_volume(r, wanted, volume.data);
        }
    }
    vmbi_buf_free(&volume);
}
