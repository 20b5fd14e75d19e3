/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of a pod's volume: for the provider that saves it, and for Velero: its
 * PodVolumeBackup and its entry in volumeinfo.json. Source: Velero 1.18 pkg/podvolume/backupper.go,
 * internal/volume/volumes_information.go. */
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/strs.h"
#include "codec/digest.h"
#include "core/podvolumes.h"
#include "model/labelname.h"

static const char *text_of(const vmbi_json *obj, const char *path)
{
    const char *s = vmbi_json_path_str(obj, path);
    return s != NULL ? s : "";
}

static vmbi_json *copy_or_null(const vmbi_json *v)
{
    return v != NULL ? vmbi_json_copy(v) : vmbi_json_null();
}

/* ---- for the provider ---------------------------------------------------------------------------- */

/* Velero's tags of a snapshot in a repository. */
static vmbi_json *make_tags(const vmbi_backup *b, const vmbi_pod_volume *v)
{
    vmbi_json *tags = vmbi_json_object();
    bool ok = tags != NULL && vmbi_json_set_str(tags, "backup", b->name);
    ok = ok && vmbi_json_set_str(tags, "backup-uid", text_of(b->resource, "metadata.uid"));
    ok = ok && vmbi_json_set_str(tags, "pod", v->pod);
    ok = ok && vmbi_json_set_str(tags, "pod-uid", v->pod_uid);
    ok = ok && vmbi_json_set_str(tags, "ns", v->ns);
    ok = ok && vmbi_json_set_str(tags, "volume", v->volume);
    ok = ok && (v->claim_uid == NULL || vmbi_json_set_str(tags, "pvc-uid", v->claim_uid));
    if (!ok) {
        vmbi_json_free(tags);
        tags = NULL;
    }
    return tags;
}

/* The location, without what is secret or long. */
static vmbi_json *make_location(const vmbi_store_location *l)
{
    vmbi_json *out = vmbi_json_object();
    const vmbi_json *spec = vmbi_json_get(l->resource, "spec");
    bool ok = out != NULL && vmbi_json_set_str(out, "name", l->name);
    ok = ok && vmbi_json_set_str(out, "prefix", l->prefix);
    ok = ok && vmbi_json_set_str(out, "provider", text_of(spec, "provider"));
    ok = ok && vmbi_json_set_str(out, "bucket", text_of(spec, "objectStorage.bucket"));
    ok = ok && vmbi_json_set(out, "config", copy_or_null(vmbi_json_get(spec, "config")));
    if (!ok) {
        vmbi_json_free(out);
        out = NULL;
    }
    return out;
}

static vmb_code make_document(const vmbi_backup *b, const vmbi_pod_volume_parts *parts,
                              vmbi_pod_volume *v, vmb_error **err)
{
    bool block = strcmp(text_of(parts->claim, "spec.volumeMode"), "Block") == 0;
    vmbi_json *doc = vmbi_json_object();
    bool ok = doc != NULL && vmbi_json_set(doc, "pod", vmbi_json_copy(parts->pod));
    ok = ok && vmbi_json_set(doc, "volume", vmbi_json_copy(parts->volume));
    ok = ok && vmbi_json_set(doc, "pvc", copy_or_null(parts->claim));
    ok = ok && vmbi_json_set(doc, "pv", copy_or_null(parts->pv));
    ok = ok && vmbi_json_set_str(doc, "mode", block ? "Block" : "Filesystem");
    ok = ok && vmbi_json_set(doc, "tags", vmbi_json_ref(v->tags));
    ok = ok && vmbi_json_set(doc, "parent", vmbi_json_null());
    ok = ok && vmbi_json_set(doc, "location", make_location(b->store.location));
    vmb_code rc = ok ? vmbi_json_to_text(doc, &v->document, &v->document_len, err)
                     : vmbi_fail_nomem(err);
    vmbi_json_free(doc);
    return rc;
}

/* Highest bid above 0. */
static vmb_code choose(vmbi_backup *b, vmbi_pod_volume *v, vmb_error **err)
{
    int32_t best = 0;
    for (size_t i = 0; i < b->ctx->n_volumes; i++) {
        const vmb_volume_provider *p = &b->ctx->volumes[i];
        int32_t score = 100;
        if (p->bid != NULL) {
            vmb_code rc = p->bid(p->user, &b->job, v->document, v->document_len, &score, err);
            rc = vmbi_check_provider(err, rc, "bid for a volume");
            if (rc != VMB_OK) {
                return vmbi_wrap(err, rc, "volume provider %s", p->name);
            }
        }
        if (score > best) {
            best = score;
            v->provider = p;
        }
    }
    if (b->ctx->n_volumes == 0) {
        return vmbi_fail(err, VMB_E_UNSUPPORTED,
                         "no provider for filesystem backup is registered");
    }
    return v->provider != NULL
               ? VMB_OK
               : vmbi_fail(err, VMB_E_UNSUPPORTED,
                           "no provider for filesystem backup takes it (pod on node %s)", v->node);
}

static bool fill(vmbi_pod_volume *v, const vmbi_pod_volume_parts *parts)
{
    const char *pv = vmbi_json_path_str(parts->claim, "spec.volumeName");
    v->ns = vmbi_strdup(text_of(parts->pod, "metadata.namespace"));
    v->pod = vmbi_strdup(text_of(parts->pod, "metadata.name"));
    v->pod_uid = vmbi_strdup(text_of(parts->pod, "metadata.uid"));
    v->node = vmbi_strdup(text_of(parts->pod, "spec.nodeName"));
    v->volume = vmbi_strdup(text_of(parts->volume, "name"));
    if (v->ns == NULL || v->pod == NULL || v->pod_uid == NULL || v->node == NULL ||
        v->volume == NULL) {
        return false;
    }
    if (parts->claim != NULL) {
        v->claim = vmbi_strdup(text_of(parts->claim, "metadata.name"));
        v->claim_uid = vmbi_strdup(text_of(parts->claim, "metadata.uid"));
        v->pv = vmbi_strdup(pv != NULL ? pv : "");
        v->pv_info = parts->pv != NULL ? vmbi_volume_pv_info(parts->pv) : NULL;
    }
    return parts->claim == NULL || (v->claim != NULL && v->claim_uid != NULL && v->pv != NULL &&
                                    (parts->pv == NULL || v->pv_info != NULL));
}

vmb_code vmbi_pod_volume_new(vmbi_backup *b, const vmbi_pod_volume_parts *parts,
                             vmbi_pod_volume **out, vmb_error **err)
{
    vmbi_pod_volume *v = vmbi_zalloc(sizeof(*v));
    if (v == NULL) {
        return vmbi_fail_nomem(err);
    }
    v->total_bytes = -1;
    bool ok = fill(v, parts);
    v->tags = ok ? make_tags(b, v) : NULL;
    vmb_code rc = v->tags != NULL ? make_document(b, parts, v, err) : vmbi_fail_nomem(err);
    if (rc == VMB_OK) {
        rc = choose(b, v, err);
    }
    if (rc != VMB_OK) {
        vmbi_pod_volume_free(v);
        return rc;
    }
    *out = v;
    return VMB_OK;
}

/* ---- for Velero: PodVolumeBackup -------------------------------------------------------------------- */

static bool set_time(vmbi_json *obj, const char *key, int64_t unix_ns)
{
    char text[VMBI_RFC3339_SIZE];
    if (unix_ns == 0) {
        return true;
    }
    vmbi_format_rfc3339(unix_ns, text);
    return vmbi_json_set_str(obj, key, text);
}

static const char *phase_of(const vmbi_pod_volume *v)
{
    return v->state == VMBI_FS_SAVED ? "Completed" : "Failed";
}

/* "b1-x7k2p", as the API server completes generateName. */
static vmb_code make_name(const vmbi_backup *b, vmbi_buf *out)
{
    static const char letters[] = "bcdfghjklmnpqrstvwxz2456789";
    char uid[37];
    vmbi_uuid4(uid);
    vmbi_buf_addf(out, "%.240s-", b->name);
    for (size_t i = 0; i < 5; i++) {
        /* two hex digits of random bits each */
        unsigned n = 0;
        for (size_t k = 0; k < 2; k++) {
            char c = uid[(i < 4 ? 2 * i : 9) + k];
            n = n * 16 + (unsigned)(vmbi_is_digit(c) ? c - '0' : c - 'a' + 10);
        }
        vmbi_buf_addc(out, letters[n % (sizeof(letters) - 1)]);
    }
    return out->status;
}

static vmbi_json *make_owner(const vmbi_backup *b)
{
    vmbi_json *owner = vmbi_json_object();
    vmbi_json *list = vmbi_json_array();
    bool ok = owner != NULL && list != NULL && vmbi_json_set_str(owner, "apiVersion", "velero.io/v1");
    ok = ok && vmbi_json_set_str(owner, "kind", "Backup");
    ok = ok && vmbi_json_set_str(owner, "name", b->name);
    ok = ok && vmbi_json_set_str(owner, "uid", text_of(b->resource, "metadata.uid"));
    ok = ok && vmbi_json_set_bool(owner, "controller", true);
    ok = ok && vmbi_json_append(list, vmbi_json_ref(owner));
    vmbi_json_free(owner);
    if (!ok) {
        vmbi_json_free(list);
        list = NULL;
    }
    return list;
}

static bool set_labels(const vmbi_backup *b, const vmbi_pod_volume *v, vmbi_json *meta)
{
    char label[VMBI_LABEL_NAME_SIZE];
    vmbi_json *labels = vmbi_json_ensure_object(meta, "labels");
    vmbi_label_valid_name(b->name, label);
    bool ok = labels != NULL && vmbi_json_set_str(labels, "velero.io/backup-name", label);
    ok = ok && vmbi_json_set_str(labels, "velero.io/backup-uid",
                                 text_of(b->resource, "metadata.uid"));
    if (ok && v->claim != NULL) {
        vmbi_json *notes = vmbi_json_ensure_object(meta, "annotations");
        ok = notes != NULL && vmbi_json_set_str(notes, "velero.io/pvc-name", v->claim);
        ok = ok && vmbi_json_set_str(labels, "velero.io/pvc-uid", v->claim_uid);
    }
    return ok;
}

static bool set_metadata(const vmbi_backup *b, const vmbi_pod_volume *v, vmbi_json *pvb)
{
    char uid[37];
    vmbi_buf name = VMBI_BUF_INIT(512);
    vmbi_buf prefix = VMBI_BUF_INIT(512);
    vmbi_json *meta = vmbi_json_ensure_object(pvb, "metadata");
    vmbi_uuid4(uid);
    vmbi_buf_addf(&prefix, "%s-", b->name);
    bool ok = meta != NULL && prefix.status == VMB_OK && make_name(b, &name) == VMB_OK;
    ok = ok && vmbi_json_set_str(meta, "name", name.data);
    ok = ok && vmbi_json_set_str(meta, "generateName", prefix.data);
    ok = ok && vmbi_json_set_str(meta, "namespace", b->ctx->settings.ns);
    ok = ok && vmbi_json_set_str(meta, "uid", uid);
    ok = ok && set_time(meta, "creationTimestamp", v->start_unix_ns);
    ok = ok && vmbi_json_set(meta, "ownerReferences", make_owner(b));
    ok = ok && set_labels(b, v, meta);
    vmbi_buf_free(&name);
    vmbi_buf_free(&prefix);
    return ok;
}

static bool set_spec(const vmbi_backup *b, const vmbi_pod_volume *v, const vmbi_json *result,
                     vmbi_json *pvb)
{
    vmbi_json *spec = vmbi_json_ensure_object(pvb, "spec");
    vmbi_json *pod = vmbi_json_ensure_object(spec, "pod");
    bool ok = spec != NULL && pod != NULL && vmbi_json_set_str(pod, "kind", "Pod");
    ok = ok && vmbi_json_set_str(pod, "namespace", v->ns);
    ok = ok && vmbi_json_set_str(pod, "name", v->pod);
    ok = ok && vmbi_json_set_str(pod, "uid", v->pod_uid);
    ok = ok && vmbi_json_set_str(spec, "node", v->node);
    ok = ok && vmbi_json_set_str(spec, "volume", v->volume);
    ok = ok && vmbi_json_set_str(spec, "backupStorageLocation", b->store.location->name);
    ok = ok && vmbi_json_set_str(spec, "repoIdentifier", text_of(result, "repoIdentifier"));
    ok = ok && vmbi_json_set_str(spec, "uploaderType",
                                 result != NULL ? text_of(result, "uploaderType") : "restic");
    return ok && vmbi_json_set(spec, "tags", vmbi_json_copy(v->tags));
}

static bool set_status(const vmbi_pod_volume *v, const vmbi_json *result, vmbi_json *pvb)
{
    vmbi_json *status = vmbi_json_ensure_object(pvb, "status");
    vmbi_json *progress = vmbi_json_ensure_object(status, "progress");
    const char *message = v->why != NULL ? vmb_error_message(v->why) : text_of(result, "message");
    const char *id = text_of(result, "snapshotID");
    int64_t size = vmbi_json_int(vmbi_json_get(result, "size"), 0);
    int64_t more = vmbi_json_int(vmbi_json_get(result, "incrementalSize"), 0);
    bool ok = status != NULL && progress != NULL && vmbi_json_set_str(status, "phase", phase_of(v));
    ok = ok && vmbi_json_set_str(status, "path", text_of(result, "path"));
    ok = ok && (id[0] == '\0' || vmbi_json_set_str(status, "snapshotID", id));
    ok = ok && (message[0] == '\0' || vmbi_json_set_str(status, "message", message));
    ok = ok && set_time(status, "startTimestamp", v->start_unix_ns);
    ok = ok && set_time(status, "completionTimestamp", v->completion_unix_ns);
    if (ok && result != NULL) { /* Go leaves zeros out */
        ok = size == 0 || (vmbi_json_set_int(progress, "totalBytes", size) &&
                           vmbi_json_set_int(progress, "bytesDone", size));
        ok = ok && (more == 0 || vmbi_json_set_int(status, "incrementalBytes", more));
    } else if (ok && result == NULL && v->total_bytes > 0) {
        ok = vmbi_json_set_int(progress, "totalBytes", v->total_bytes) &&
             vmbi_json_set_int(progress, "bytesDone", v->done_bytes);
    }
    return ok;
}

/* NULL: it failed, or memory is out (parsing what was parsed before fails for nothing else). */
static vmbi_json *result_of(const vmbi_pod_volume *v, bool *ok)
{
    vmbi_json *result = NULL;
    *ok = v->state != VMBI_FS_SAVED ||
          vmbi_json_parse(v->result, v->result_len, "result", &result, NULL) == VMB_OK;
    return result;
}

static vmbi_json *make_record(const vmbi_backup *b, const vmbi_pod_volume *v)
{
    bool ok = true;
    vmbi_json *result = result_of(v, &ok);
    vmbi_json *pvb = vmbi_json_object();
    ok = ok && pvb != NULL && vmbi_json_set_str(pvb, "kind", "PodVolumeBackup");
    ok = ok && vmbi_json_set_str(pvb, "apiVersion", "velero.io/v1");
    ok = ok && set_metadata(b, v, pvb) && set_spec(b, v, result, pvb);
    ok = ok && set_status(v, result, pvb);
    vmbi_json_free(result);
    if (!ok) {
        vmbi_json_free(pvb);
        pvb = NULL;
    }
    return pvb;
}

vmbi_json *vmbi_pod_volume_records(const vmbi_backup *b)
{
    vmbi_json *list = NULL;
    for (size_t i = 0; i < b->n_pod_volumes; i++) {
        if (b->pod_volumes[i]->state == VMBI_FS_REFUSED) {
            continue;
        }
        list = list != NULL ? list : vmbi_json_array();
        if (list == NULL || !vmbi_json_append(list, make_record(b, b->pod_volumes[i]))) {
            vmbi_json_free(list);
            return NULL;
        }
    }
    return list != NULL ? list : vmbi_json_null();
}

/* ---- for Velero: volumeinfo ------------------------------------------------------------------------- */

static bool set_pvb_info(const vmbi_pod_volume *v, const vmbi_json *result, vmbi_json *e)
{
    vmbi_json *info = vmbi_json_ensure_object(e, "pvbInfo");
    int64_t more = vmbi_json_int(vmbi_json_get(result, "incrementalSize"), 0);
    bool ok = info != NULL &&
              vmbi_json_set_str(info, "snapshotHandle", text_of(result, "snapshotID"));
    ok = ok && vmbi_json_set_int(info, "size", vmbi_json_int(vmbi_json_get(result, "size"), 0));
    ok = ok && (more == 0 || vmbi_json_set_int(info, "incrementalSize", more));
    ok = ok && vmbi_json_set_str(info, "uploaderType",
                                 result != NULL ? text_of(result, "uploaderType") : "restic");
    ok = ok && vmbi_json_set_str(info, "volumeName", v->volume);
    ok = ok && vmbi_json_set_str(info, "podName", v->pod);
    ok = ok && vmbi_json_set_str(info, "podNamespace", v->ns);
    ok = ok && vmbi_json_set_str(info, "nodeName", v->node);
    return ok && vmbi_json_set_str(info, "Phase", phase_of(v));
}

vmbi_json *vmbi_pod_volume_info(const vmbi_pod_volume *v)
{
    bool ok = true;
    vmbi_json *result = result_of(v, &ok);
    vmbi_json *e = vmbi_json_object();
    bool saved = v->state == VMBI_FS_SAVED;
    ok = ok && e != NULL && vmbi_json_set_str(e, "backupMethod", "PodVolumeBackup");
    ok = ok && vmbi_json_set_bool(e, "snapshotDataMoved", false);
    ok = ok && vmbi_json_set_bool(e, "preserveLocalSnapshot", false);
    ok = ok && vmbi_json_set_bool(e, "skipped", false);
    ok = ok && vmbi_json_set_str(e, "result", saved ? "succeeded" : "failed");
    ok = ok && set_time(e, "startTimestamp", v->start_unix_ns);
    ok = ok && set_time(e, "completionTimestamp", v->completion_unix_ns);
    if (ok && v->claim != NULL) {
        ok = vmbi_json_set_str(e, "pvcName", v->claim) &&
             vmbi_json_set_str(e, "pvcNamespace", v->ns) &&
             vmbi_json_set_str(e, "pvName", v->pv);
        ok = ok && (v->pv_info == NULL || vmbi_json_set(e, "pvInfo", vmbi_json_ref(v->pv_info)));
    }
    ok = ok && set_pvb_info(v, result, e);
    vmbi_json_free(result);
    if (!ok) {
        vmbi_json_free(e);
        e = NULL;
    }
    return e;
}
