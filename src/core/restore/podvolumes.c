/* SPDX-License-Identifier: Apache-2.0 */
/* Content of pods' volumes that was saved by filesystem backup: brought back by a volume provider
 * into the volumes of the restored pods. */
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "core/restore/hooks.h"

#define POLL_NS (INT64_C(500) * VMBI_MS)

/* Is this record one of the pod's, with content? */
static bool names_pod(const vmbi_json *record, const char *ns, const char *pod)
{
    return vmbi_streq(vmbi_json_path_str(record, "spec.pod.namespace"), ns) &&
           vmbi_streq(vmbi_json_path_str(record, "spec.pod.name"), pod);
}

static bool is_complete(const vmbi_json *record)
{
    return vmbi_streq(vmbi_json_path_str(record, "status.phase"), "Completed");
}

/* A volume of this pod with content: an empty one has no snapshot. */
static bool is_of_pod(const vmbi_json *record, const char *ns, const char *pod)
{
    const char *snapshot = vmbi_json_path_str(record, "status.snapshotID");
    return names_pod(record, ns, pod) && snapshot != NULL && snapshot[0] != '\0' &&
           is_complete(record);
}

/* Volumes that the backup could not save come back empty: nobody is to learn that too late. */
static void warn_of_lost(vmbi_restore *r, const vmbi_ritem *item)
{
    for (size_t i = 0; i < vmbi_json_len(r->pod_volumes); i++) {
        const vmbi_json *record = vmbi_json_at(r->pod_volumes, i);
        const char *volume = vmbi_json_path_str(record, "spec.volume");
        const char *why = vmbi_json_path_str(record, "status.message");
        if (names_pod(record, item->ns, item->name) && !is_complete(record)) {
            vmbi_restore_warn(r, item->target, NULL,
                              "volume %s of pod %s: the backup did not save its content%s%s",
                              volume != NULL ? volume : "", item->name,
                              why != NULL && why[0] != '\0' ? ": " : "", why != NULL ? why : "");
        }
    }
}

vmb_code vmbi_restore_note_volumes(vmbi_restore *r, const vmbi_ritem *item, vmb_error **err)
{
    bool found = false;
    if (!vmbi_restore_wants_resource(r->filter, "persistentvolumeclaims") ||
        !vmbi_restore_wants_resource(r->filter, "persistentvolumes")) {
        return VMB_OK;
    }
    warn_of_lost(r, item);
    for (size_t i = 0; i < vmbi_json_len(r->pod_volumes) && !found; i++) {
        found = is_of_pod(vmbi_json_at(r->pod_volumes, i), item->ns, item->name);
    }
    const char *name = vmbi_json_path_str(item->obj, "metadata.name");
    vmbi_json *entry = found ? vmbi_json_object() : NULL;
    if (!found) {
        return VMB_OK;
    }
    bool ok = entry != NULL && vmbi_json_set_str(entry, "namespace", item->target) &&
              vmbi_json_set_str(entry, "name", name != NULL ? name : item->name) &&
              vmbi_json_set_str(entry, "sourceNamespace", item->ns) &&
              vmbi_json_set_str(entry, "sourceName", item->name);
    (void)pthread_mutex_lock(&r->lock);
    ok = ok && vmbi_json_append(r->volume_pods, vmbi_json_ref(entry));
    (void)pthread_mutex_unlock(&r->lock);
    vmbi_json_free(entry);
    return ok ? VMB_OK : vmbi_fail_nomem(err);
}

/* ---- one volume ---------------------------------------------------------------------------- */

static vmbi_json *fetch(vmbi_restore *r, const char *resource, const char *ns, const char *name,
                        vmb_error **err)
{
    vmbi_buf text = VMBI_BUF_INIT(VMBI_OBJECT_MAX_BYTES);
    vmbi_json *tree = NULL;
    if (name != NULL && vmbi_cluster_get(&r->cluster, &r->job, "", "v1", resource, ns, name, &text,
                                         err) == VMB_OK) {
        (void)vmbi_json_parse(text.data != NULL ? text.data : "", text.len, name, &tree, err);
    }
    vmbi_buf_free(&text);
    return tree;
}

static const vmbi_json *volume_named(const vmbi_json *pod, const char *name)
{
    const vmbi_json *list = vmbi_json_path(pod, "spec.volumes");
    for (size_t i = 0; i < vmbi_json_len(list); i++) {
        if (vmbi_streq(vmbi_json_get_str(vmbi_json_at(list, i), "name"), name)) {
            return vmbi_json_at(list, i);
        }
    }
    return NULL;
}

/* What a volume provider wants to know; see volume.h. Owned text. */
static vmb_code describe(vmbi_restore *r, const vmbi_json *pod, const vmbi_json *volume, char **out,
                         size_t *len, vmb_error **err)
{
    const char *ns = vmbi_json_path_str(pod, "metadata.namespace");
    const char *claim = vmbi_json_path_str(volume, "persistentVolumeClaim.claimName");
    vmbi_json *pvc = fetch(r, "persistentvolumeclaims", ns, claim, NULL);
    vmbi_json *pv =
        fetch(r, "persistentvolumes", NULL, vmbi_json_path_str(pvc, "spec.volumeName"), NULL);
    const char *mode = vmbi_json_path_str(pvc, "spec.volumeMode");
    vmbi_json *doc = vmbi_json_object();
    vmbi_json *tags = vmbi_json_ensure_object(doc, "tags");
    bool ok = tags != NULL && vmbi_json_set(doc, "pod", vmbi_json_copy(pod)) &&
              vmbi_json_set(doc, "volume", vmbi_json_copy(volume));
    ok = ok && vmbi_json_set(doc, "pvc", pvc != NULL ? vmbi_json_ref(pvc) : vmbi_json_null());
    ok = ok && vmbi_json_set(doc, "pv", pv != NULL ? vmbi_json_ref(pv) : vmbi_json_null());
    ok = ok && vmbi_json_set_str(doc, "mode", mode != NULL ? mode : "Filesystem");
    ok = ok && vmbi_json_set_str(tags, "restore", r->name);
    ok = ok && vmbi_json_set_str(tags, "restore-uid", r->uid);
    ok = ok && vmbi_json_set(doc, "parent", vmbi_json_null());
    vmb_code rc = ok ? vmbi_json_to_text(doc, out, len, err) : vmbi_fail_nomem(err);
    vmbi_json_free(doc);
    vmbi_json_free(pvc);
    vmbi_json_free(pv);
    return rc;
}

static const vmb_volume_provider *best_provider(vmbi_restore *r, const char *text, size_t len)
{
    const vmb_volume_provider *best = NULL;
    int32_t best_score = 0;
    for (size_t i = 0; i < r->ctx->n_volumes; i++) {
        const vmb_volume_provider *p = &r->ctx->volumes[i];
        int32_t score = 100;
        if (p->restore == NULL ||
            (p->bid != NULL && p->bid(p->user, &r->job, text, len, &score, NULL) != VMB_OK)) {
            continue;
        }
        if (score > best_score) {
            best = p;
            best_score = score;
        }
    }
    return best;
}

/* May come from threads of the provider. */
static void progress(void *user, int64_t done_bytes, int64_t total_bytes)
{
    vmbi_restore *r = user;
    vmbi_events_emit(r->events, VMB_EVENT_VOLUME, VMB_LOG_INFO, "", "restoring", done_bytes,
                     total_bytes);
}

/* The volume is there once the pod's node has mounted it: until then the provider finds no place.
 */
static vmb_code restore_when_mounted(vmbi_restore *r, const vmb_volume_provider *p,
                                     const char *volume, size_t len, const vmbi_json *record,
                                     vmb_error **err)
{
    vmbi_limits limits = vmbi_limits_within(&r->job.limits, r->ctx->settings.resource_timeout_ns);
    struct vmb_progress sink = {progress, r};
    char *text = NULL;
    size_t text_len = 0;
    vmb_code rc = vmbi_json_to_text(record, &text, &text_len, err);
    while (rc == VMB_OK) {
        vmb_error *why = NULL;
        rc = p->restore(p->user, &r->job, volume, len, text, text_len, &sink, &why);
        rc = vmbi_check_provider(&why, rc, "restore a volume");
        if (rc == VMB_E_NOT_FOUND &&
            vmbi_limits_sleep(&limits, POLL_NS, NULL, "wait for a volume") == VMB_OK) {
            vmb_error_free(why);
            rc = VMB_OK;
            continue;
        }
        vmbi_error_move(err, &why);
        break;
    }
    vmb_free(text);
    return rc;
}

static vmb_code note(vmbi_restore *r, const vmbi_json *pod, const vmbi_json *volume,
                     const vmbi_json *record, vmb_error **err)
{
    const char *claim = vmbi_json_path_str(volume, "persistentVolumeClaim.claimName");
    const char *ns = vmbi_json_path_str(pod, "metadata.namespace");
    const char *type = vmbi_json_path_str(record, "spec.uploaderType");
    vmbi_json *e = vmbi_json_object();
    vmbi_json *info = vmbi_json_ensure_object(e, "pvrInfo");
    bool ok = info != NULL && vmbi_json_set_str(e, "restoreMethod", "PodVolumeRestore") &&
              vmbi_json_set_bool(e, "snapshotDataMoved", false);
    if (ok && claim != NULL) {
        ok = vmbi_json_set_str(e, "pvcName", claim) && vmbi_json_set_str(e, "pvcNamespace", ns);
    }
    ok = ok &&
         vmbi_json_set_str(info, "snapshotHandle", vmbi_json_path_str(record, "status.snapshotID"));
    ok = ok &&
         vmbi_json_set_int(info, "size",
                           vmbi_json_int(vmbi_json_path(record, "status.progress.totalBytes"), 0));
    ok = ok && vmbi_json_set_str(info, "uploaderType", type != NULL && type[0] ? type : "restic");
    ok = ok && vmbi_json_set_str(info, "volumeName", vmbi_json_get_str(volume, "name"));
    ok = ok && vmbi_json_set_str(info, "podName", vmbi_json_path_str(pod, "metadata.name"));
    ok = ok && vmbi_json_set_str(info, "podNamespace", ns);
    ok = ok && vmbi_json_set_str(info, "Phase", "Completed");
    if (!ok) {
        vmbi_json_free(e);
        return vmbi_fail_nomem(err);
    }
    vmbi_restore_note_volume(r, e);
    return VMB_OK;
}

static vmb_code restore_one(vmbi_restore *r, const vmbi_json *pod, const vmbi_json *record,
                            vmb_error **err)
{
    const char *name = vmbi_json_path_str(record, "spec.volume");
    const vmbi_json *volume = volume_named(pod, name);
    char *text = NULL;
    size_t len = 0;
    if (volume == NULL) {
        return vmbi_fail(err, VMB_E_NOT_FOUND, "the pod has no such volume");
    }
    vmb_code rc = describe(r, pod, volume, &text, &len, err);
    const vmb_volume_provider *p = rc == VMB_OK ? best_provider(r, text, len) : NULL;
    if (rc == VMB_OK && p == NULL) {
        rc = vmbi_fail(err, VMB_E_UNSUPPORTED,
                       "no volume provider is registered that can restore it");
    }
    if (rc == VMB_OK) {
        rc = restore_when_mounted(r, p, text, len, record, err);
    }
    vmb_free(text);
    return rc == VMB_OK ? note(r, pod, volume, record, err) : rc;
}

static void restore_pod(vmbi_restore *r, const vmbi_json *entry)
{
    const char *ns = vmbi_json_get_str(entry, "namespace");
    const char *name = vmbi_json_get_str(entry, "name");
    for (size_t i = 0; i < vmbi_json_len(r->pod_volumes) && !vmbi_restore_is_broken(r); i++) {
        const vmbi_json *record = vmbi_json_at(r->pod_volumes, i);
        vmb_error *why = NULL;
        if (!is_of_pod(record, vmbi_json_get_str(entry, "sourceNamespace"),
                       vmbi_json_get_str(entry, "sourceName"))) {
            continue;
        }
        vmbi_json *pod = fetch(r, "pods", ns, name, &why);
        vmb_code rc = pod != NULL ? restore_one(r, pod, record, &why) : vmb_error_code(why);
        vmbi_json_free(pod);
        if (rc != VMB_OK && !vmbi_restore_is_over(r, rc, &why)) {
            const char *volume = vmbi_json_path_str(record, "spec.volume");
            vmbi_restore_error(r, NULL, why, "pod volume restore failed: volume %s of pod %s/%s",
                               volume != NULL ? volume : "", ns, name);
        }
        vmb_error_free(why);
    }
}

void vmbi_restore_pod_volumes(vmbi_restore *r)
{
    for (size_t i = 0; i < vmbi_json_len(r->volume_pods); i++) {
        restore_pod(r, vmbi_json_at(r->volume_pods, i));
        vmbi_restore_relay(r);
    }
}
