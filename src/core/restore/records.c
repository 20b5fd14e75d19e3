/* SPDX-License-Identifier: Apache-2.0 */
/* PodVolumeRestores of a restore that is an object in the cluster, which owns them: what `velero
 * restore describe` shows. They are in progress from the start, so that no node agent takes them for
 * its work. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "codec/digest.h"
#include "core/restore/podvolumes.h"

static const char group[] = "velero.io";
static const char resource[] = "podvolumerestores";

static bool is_kept(const vmbi_restore *r)
{
    return !r->own_uid &&
           vmbi_discovery_find(r->cluster.discovery, group, NULL, resource) != NULL;
}

static bool set_owner(const vmbi_restore *r, vmbi_json *meta)
{
    vmbi_json *list = vmbi_json_array();
    vmbi_json *o = vmbi_json_object();
    bool ok = o != NULL && vmbi_json_set_str(o, "apiVersion", "velero.io/v1") &&
              vmbi_json_set_str(o, "kind", "Restore") && vmbi_json_set_str(o, "name", r->name) &&
              vmbi_json_set_str(o, "uid", r->uid) && vmbi_json_set_bool(o, "controller", true);
    ok = ok && vmbi_json_append(list, vmbi_json_ref(o)) &&
         vmbi_json_set(meta, "ownerReferences", vmbi_json_ref(list));
    vmbi_json_free(o);
    vmbi_json_free(list);
    return ok;
}

static bool set_meta(const vmbi_restore *r, vmbi_json *doc, const vmbi_json *pod,
                     const vmbi_json *claim, const char *name)
{
    vmbi_json *meta = vmbi_json_ensure_object(doc, "metadata");
    vmbi_json *labels = vmbi_json_ensure_object(meta, "labels");
    const char *claim_uid = vmbi_json_path_str(claim, "metadata.uid");
    const char *pod_uid = vmbi_json_path_str(pod, "metadata.uid");
    return labels != NULL && vmbi_json_set_str(meta, "name", name) &&
           vmbi_json_set_str(meta, "namespace", r->ctx->settings.ns) &&
           vmbi_json_set_str(labels, "velero.io/restore-name", r->restore_label) &&
           vmbi_json_set_str(labels, "velero.io/restore-uid", r->uid) &&
           vmbi_json_set_str(labels, "velero.io/pod-uid", pod_uid != NULL ? pod_uid : "") &&
           (claim_uid == NULL || vmbi_json_set_str(labels, "velero.io/pvc-uid", claim_uid)) &&
           set_owner(r, meta);
}

static bool set_pod(vmbi_json *spec, const vmbi_json *pod)
{
    static const char *const fields[] = {"namespace", "name", "uid"};
    vmbi_json *ref = vmbi_json_ensure_object(spec, "pod");
    bool ok = ref != NULL && vmbi_json_set_str(ref, "kind", "Pod");
    for (size_t i = 0; i < VMBI_ARRAY_LEN(fields) && ok; i++) {
        const char *s = vmbi_json_get_str(vmbi_json_get(pod, "metadata"), fields[i]);
        ok = s == NULL || vmbi_json_set_str(ref, fields[i], s);
    }
    return ok;
}

static bool set_spec(const vmbi_restore *r, vmbi_json *doc, const vmbi_json *pod,
                     const vmbi_fill_volume *v)
{
    static const struct {
        const char *field, *path;
    } copied[] = {{"snapshotID", "status.snapshotID"},
                  {"sourceNamespace", "spec.pod.namespace"},
                  {"repoIdentifier", "spec.repoIdentifier"}};
    const char *type = vmbi_json_path_str(v->record, "spec.uploaderType");
    vmbi_json *spec = vmbi_json_ensure_object(doc, "spec");
    bool ok = spec != NULL && set_pod(spec, pod) && vmbi_json_set_str(spec, "volume", v->name) &&
              vmbi_json_set_str(spec, "backupStorageLocation", r->store.location->name);
    for (size_t i = 0; i < VMBI_ARRAY_LEN(copied) && ok; i++) {
        const char *s = vmbi_json_path_str(v->record, copied[i].path);
        ok = vmbi_json_set_str(spec, copied[i].field, s != NULL ? s : "");
    }
    return ok && vmbi_json_set_str(spec, "uploaderType",
                                   type != NULL && type[0] != '\0' ? type : "restic");
}

static int64_t size_of(const vmbi_fill_volume *v)
{
    return vmbi_json_int(vmbi_json_path(v->record, "status.progress.totalBytes"), 0);
}

static bool set_time(vmbi_json *status, const char *field)
{
    char now[VMBI_RFC3339_SIZE];
    vmbi_format_rfc3339(vmbi_unix_ns(), now);
    return vmbi_json_set_str(status, field, now);
}

static void tell(vmbi_restore *r, const vmb_error *why)
{
    vmbi_restore_info(r, NULL, "a PodVolumeRestore could not be kept: %s", vmb_error_message(why));
}

void vmbi_restore_record_begin(vmbi_restore *r, const vmbi_json *pod, const vmbi_json *claim,
                               vmbi_fill_volume *v)
{
    uint8_t random[4];
    char hex[9];
    char name[sizeof(v->object)];
    char *text = NULL;
    size_t len = 0;
    vmb_error *why = NULL;
    if (v->record == NULL || v->object[0] != '\0' || !is_kept(r)) {
        return;
    }
    vmbi_random(random, sizeof(random));
    vmbi_hex(random, sizeof(random), hex);
    (void)snprintf(name, sizeof(name), "%.244s-%s", r->name, hex);
    vmbi_json *doc = vmbi_json_object();
    vmbi_json *status = vmbi_json_ensure_object(doc, "status");
    vmbi_json *progress = vmbi_json_ensure_object(status, "progress");
    const char *node = vmbi_json_path_str(pod, "spec.nodeName");
    bool ok = progress != NULL && vmbi_json_set_str(doc, "apiVersion", "velero.io/v1") &&
              vmbi_json_set_str(doc, "kind", "PodVolumeRestore") &&
              set_meta(r, doc, pod, claim, name) && set_spec(r, doc, pod, v);
    ok = ok && vmbi_json_set_str(status, "phase", "InProgress") &&
         set_time(status, "startTimestamp") &&
         vmbi_json_set_int(progress, "totalBytes", size_of(v));
    ok = ok && (node == NULL || vmbi_json_set_str(status, "node", node));
    vmb_code rc = ok ? vmbi_json_to_text(doc, &text, &len, &why) : vmbi_fail_nomem(&why);
    if (rc == VMB_OK) {
        rc = vmbi_cluster_create(&r->cluster, &r->job, group, NULL, resource, r->ctx->settings.ns,
                                 text, len, NULL, &why);
    }
    if (rc == VMB_OK) {
        memcpy(v->object, name, strlen(name) + 1);
    } else {
        tell(r, why);
    }
    vmb_free(text);
    vmb_error_free(why);
    vmbi_json_free(doc);
}

void vmbi_restore_record_end(vmbi_restore *r, const vmbi_fill_volume *v, const vmb_error *why)
{
    vmb_error *failed = NULL;
    char *text = NULL;
    size_t len = 0;
    vmb_job job = r->job; /* also for a restore that was cancelled */
    if (v->object[0] == '\0') {
        return;
    }
    job.limits = vmbi_limits_within(NULL, r->ctx->settings.resource_timeout_ns);
    vmb_code code = vmb_error_code(why);
    vmbi_json *patch = vmbi_json_object();
    vmbi_json *status = vmbi_json_ensure_object(patch, "status");
    bool ok = status != NULL &&
              vmbi_json_set_str(status, "phase", why == NULL                ? "Completed"
                                                 : code == VMB_E_CANCELLED ? "Canceled"
                                                                           : "Failed") &&
              set_time(status, "completionTimestamp");
    if (ok && why != NULL) {
        ok = vmbi_json_set_str(status, "message", vmb_error_message(why));
    } else if (ok) {
        vmbi_json *progress = vmbi_json_ensure_object(status, "progress");
        ok = progress != NULL && vmbi_json_set_int(progress, "bytesDone", size_of(v));
    }
    vmb_code rc = ok ? vmbi_json_to_text(patch, &text, &len, &failed) : vmbi_fail_nomem(&failed);
    if (rc == VMB_OK) {
        rc = vmbi_cluster_patch(&r->cluster, &job, group, NULL, resource, r->ctx->settings.ns,
                                v->object, NULL, VMB_PATCH_MERGE, text, len, NULL, &failed);
    }
    if (rc != VMB_OK) {
        tell(r, failed);
    }
    vmb_free(text);
    vmb_error_free(failed);
    vmbi_json_free(patch);
}
