/* SPDX-License-Identifier: Apache-2.0 */
/* The volumes of one pod, filled one after the other by volume providers. A volume is there once
 * the pod's node has mounted it; until then the provider finds no place, and it is tried again. */
#include <stdatomic.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/strs.h"
#include "core/restore/podvolumes.h"

#define RETRY_NS (INT64_C(500) * VMBI_MS)
#define TELL_NS VMBI_SECOND /* between events of progress */

enum { MAX_VOLUMES = 10000 };

/* ---- the list ------------------------------------------------------------------------------ */

vmb_code vmbi_fill_pod_init(vmbi_fill_pod *p, const char *ns, const char *name, const char *waiter,
                            vmb_error **err)
{
    *p = (vmbi_fill_pod){.ns = vmbi_strdup(ns), .name = vmbi_strdup(name),
                         .waiter = vmbi_strdup(waiter)};
    if (p->ns == NULL || p->name == NULL || p->waiter == NULL) {
        vmbi_fill_pod_done(p);
        return vmbi_fail_nomem(err);
    }
    return VMB_OK;
}

vmb_code vmbi_fill_pod_add(vmbi_fill_pod *p, const char *volume, const vmbi_json *record,
                           bool is_disk, vmb_error **err)
{
    if (p->n >= MAX_VOLUMES) {
        return vmbi_fail(err, VMB_E_LIMIT, "more than %d volumes", MAX_VOLUMES);
    }
    char *name = vmbi_strdup(volume);
    vmbi_fill_volume *list =
        name != NULL ? vmbi_realloc_array(p->v, p->n + 1, sizeof(*list)) : NULL;
    if (list == NULL) {
        vmbi_free(name);
        return vmbi_fail_nomem(err);
    }
    p->v = list;
    p->v[p->n++] = (vmbi_fill_volume){.name = name, .record = record, .is_disk = is_disk};
    return VMB_OK;
}

void vmbi_fill_pod_done(vmbi_fill_pod *p)
{
    for (size_t i = 0; i < p->n; i++) {
        vmbi_free(p->v[i].name);
    }
    vmbi_free(p->v);
    vmbi_free(p->ns);
    vmbi_free(p->name);
    vmbi_free(p->waiter);
    *p = (vmbi_fill_pod){0};
}

/* ---- what a provider is told ----------------------------------------------------------------- */

/* One try at one volume. */
typedef struct attempt {
    vmbi_restore *r;
    const vmbi_fill_pod *p;
    vmbi_json *pod;       /* as it is in the cluster; owned */
    const vmbi_json *volume; /* entry of its spec.volumes */
    vmbi_json *claim;     /* owned; NULL: none */
    vmbi_json *pv;        /* owned; NULL: none */
    char subject[600];    /* for events */
    _Atomic(int64_t) told_ns; /* of the last event */
} attempt;

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

static vmb_code fetch_claim(attempt *a, vmb_error **err)
{
    const char *name = vmbi_json_path_str(a->volume, "persistentVolumeClaim.claimName");
    vmbi_buf own = VMBI_BUF_INIT(1024);
    if (name == NULL && vmbi_json_is_object(vmbi_json_get(a->volume, "ephemeral"))) {
        vmbi_buf_addf(&own, "%s-%s", a->p->name, vmbi_json_get_str(a->volume, "name"));
        name = own.data;
    }
    vmb_code rc = VMB_OK;
    if (name != NULL) {
        a->claim = fetch(a->r, "persistentvolumeclaims", a->p->ns, name, err);
        rc = a->claim != NULL ? VMB_OK : VMB_E_STATE;
    }
    const char *pv = vmbi_json_path_str(a->claim, "spec.volumeName");
    if (pv != NULL && pv[0] != '\0') { /* the provider finds the place by its name */
        a->pv = fetch(a->r, "persistentvolumes", NULL, pv, NULL);
    }
    vmbi_buf_free(&own);
    return rc;
}

static vmb_code look(attempt *a, const char *volume, vmb_error **err)
{
    vmb_error *why = NULL;
    a->pod = fetch(a->r, "pods", a->p->ns, a->p->name, &why);
    if (a->pod == NULL) { /* not to be taken for a volume that is not there yet */
        bool gone = vmb_error_code(why) == VMB_E_NOT_FOUND;
        vmb_code rc = gone ? VMB_E_STATE : vmb_error_code(why);
        if (gone) {
            vmb_error_free(vmbi_steal(&why));
            return vmbi_fail(err, rc, "the pod is gone");
        }
        vmbi_error_move(err, &why);
        return rc;
    }
    const char *phase = vmbi_json_path_str(a->pod, "status.phase");
    const char *node = vmbi_json_path_str(a->pod, "spec.nodeName");
    a->volume = volume_named(a->pod, volume);
    if (a->volume == NULL) {
        return vmbi_fail(err, VMB_E_INVALID, "the pod has no such volume");
    }
    if (vmbi_streq(phase, "Succeeded") || vmbi_streq(phase, "Failed")) {
        return vmbi_fail(err, VMB_E_STATE, "the pod has ended");
    }
    if (node == NULL || node[0] == '\0') {
        return vmbi_fail(err, VMB_E_NOT_FOUND, "the pod is on no node");
    }
    return fetch_claim(a, err);
}

/* See volume.h. Owned text. */
static vmb_code describe(const attempt *a, bool is_disk, bool wait, char **out, size_t *len,
                         vmb_error **err)
{
    const char *mode = vmbi_json_path_str(a->claim, "spec.volumeMode");
    vmbi_json *doc = vmbi_json_object();
    vmbi_json *tags = vmbi_json_ensure_object(doc, "tags");
    bool ok = tags != NULL && vmbi_json_set(doc, "pod", vmbi_json_ref(a->pod)) &&
              vmbi_json_set(doc, "volume", vmbi_json_copy(a->volume));
    ok = ok && vmbi_json_set(doc, "pvc", a->claim != NULL ? vmbi_json_ref(a->claim)
                                                          : vmbi_json_null());
    ok = ok && vmbi_json_set(doc, "pv", a->pv != NULL ? vmbi_json_ref(a->pv) : vmbi_json_null());
    ok = ok && vmbi_json_set_str(doc, "mode", mode != NULL ? mode : is_disk ? "Block" : "Filesystem");
    ok = ok && vmbi_json_set_str(tags, "restore", a->r->name);
    ok = ok && vmbi_json_set_str(tags, "restore-uid", a->r->uid);
    ok = ok && vmbi_json_set(doc, "parent", vmbi_json_null());
    if (ok && !is_disk && (!a->p->clean || wait)) {
        ok = vmbi_json_set_str(doc, "waiter", a->p->waiter);
    }
    vmb_code rc = ok ? vmbi_json_to_text(doc, out, len, err) : vmbi_fail_nomem(err);
    vmbi_json_free(doc);
    return rc;
}

bool vmbi_restore_has_filler(const vmbi_restore *r)
{
    for (size_t i = 0; i < r->ctx->n_volumes; i++) {
        if (r->ctx->volumes[i].restore != NULL) {
            return true;
        }
    }
    return false;
}

static const vmb_volume_provider *best_provider(attempt *a, vmb_job *job, const char *text,
                                                size_t len, vmb_error **err)
{
    const vmb_volume_provider *best = NULL;
    int32_t best_score = 0;
    for (size_t i = 0; i < a->r->ctx->n_volumes; i++) {
        const vmb_volume_provider *p = &a->r->ctx->volumes[i];
        int32_t score = 100;
        if (p->restore == NULL ||
            (p->bid != NULL && p->bid(p->user, job, text, len, &score, NULL) != VMB_OK)) {
            continue;
        }
        if (score > best_score) {
            best = p;
            best_score = score;
        }
    }
    if (best == NULL && !vmbi_restore_has_filler(a->r)) {
        (void)vmbi_fail(err, VMB_E_UNSUPPORTED, "no volume provider is registered that can fill it");
    } else if (best == NULL) {
        (void)vmbi_fail(err, VMB_E_UNSUPPORTED, "no volume provider takes volumes of node %s",
                        vmbi_json_path_str(a->pod, "spec.nodeName"));
    }
    return best;
}

/* May come from threads of the provider. */
static void progress(void *user, int64_t done_bytes, int64_t total_bytes)
{
    attempt *a = user;
    int64_t now = vmbi_mono_ns();
    int64_t last = atomic_load_explicit(&a->told_ns, memory_order_relaxed);
    if (now - last >= TELL_NS && atomic_compare_exchange_strong(&a->told_ns, &last, now)) {
        vmbi_events_emit(a->r->events, VMB_EVENT_VOLUME, VMB_LOG_INFO, a->subject, "restoring",
                         done_bytes, total_bytes);
    }
}

/* record NULL: nothing but the file that ends the wait. */
static vmb_code snapshot_text(const attempt *a, const vmbi_json *record, char **out, size_t *len,
                              vmb_error **err)
{
    if (record != NULL) {
        return vmbi_json_to_text(record, out, len, err);
    }
    vmbi_json *doc = vmbi_json_object();
    bool ok = doc != NULL && vmbi_json_set_str(doc, "snapshotID", "") &&
              vmbi_json_set_str(doc, "namespace", a->p->ns) &&
              vmbi_json_set_str(doc, "uploaderType", "restic");
    vmb_code rc = ok ? vmbi_json_to_text(doc, out, len, err) : vmbi_fail_nomem(err);
    vmbi_json_free(doc);
    return rc;
}

static vmb_code hand_over(attempt *a, vmbi_fill_volume *v, vmb_error **err)
{
    struct vmb_progress sink = {progress, a};
    vmb_job job = a->r->job;
    char *volume = NULL;
    char *snapshot = NULL;
    size_t volume_len = 0;
    size_t snapshot_len = 0;
    job.limits = a->r->volume_limits;
    vmb_code rc = vmbi_limits_check(&job.limits, err, "restore volumes");
    if (rc == VMB_OK) {
        rc = describe(a, v->is_disk, v->record == NULL, &volume, &volume_len, err);
    }
    if (rc == VMB_OK) {
        rc = snapshot_text(a, v->record, &snapshot, &snapshot_len, err);
    }
    const vmb_volume_provider *p =
        rc == VMB_OK ? best_provider(a, &job, volume, volume_len, err) : NULL;
    if (rc == VMB_OK && p == NULL) {
        rc = VMB_E_UNSUPPORTED;
    }
    if (rc == VMB_OK) {
        vmbi_restore_record_begin(a->r, a->pod, a->claim, v);
        rc = p->restore(p->user, &job, volume, volume_len, snapshot, snapshot_len, &sink, err);
        rc = vmbi_check_provider(err, rc, "restore a volume");
    }
    vmb_free(volume);
    vmb_free(snapshot);
    return rc;
}

/* ---- the end of a volume --------------------------------------------------------------------- */

static vmb_code note(vmbi_restore *r, const attempt *a, const vmbi_fill_volume *v, vmb_error **err)
{
    const char *claim = vmbi_json_path_str(a->claim, "metadata.name");
    const char *pv = vmbi_json_path_str(a->claim, "spec.volumeName");
    const char *type = vmbi_json_path_str(v->record, "spec.uploaderType");
    vmbi_json *e = vmbi_json_object();
    vmbi_json *info = vmbi_json_ensure_object(e, "pvrInfo");
    bool ok = info != NULL && vmbi_json_set_str(e, "restoreMethod", "PodVolumeRestore") &&
              vmbi_json_set_bool(e, "snapshotDataMoved", false);
    if (ok && claim != NULL) {
        ok = vmbi_json_set_str(e, "pvcName", claim) &&
             vmbi_json_set_str(e, "pvcNamespace", a->p->ns);
    }
    if (ok && pv != NULL) {
        ok = vmbi_json_set_str(e, "pvName", pv);
    }
    ok = ok && vmbi_json_set_str(info, "snapshotHandle",
                                 vmbi_json_path_str(v->record, "status.snapshotID"));
    ok = ok && vmbi_json_set_int(
                   info, "size",
                   vmbi_json_int(vmbi_json_path(v->record, "status.progress.totalBytes"), 0));
    ok = ok && vmbi_json_set_str(info, "uploaderType", type != NULL && type[0] ? type : "restic");
    ok = ok && vmbi_json_set_str(info, "volumeName", v->name);
    ok = ok && vmbi_json_set_str(info, "podName", a->p->name);
    ok = ok && vmbi_json_set_str(info, "podNamespace", a->p->ns);
    ok = ok && vmbi_json_set_str(info, "nodeName", vmbi_json_path_str(a->pod, "spec.nodeName"));
    ok = ok && vmbi_json_set_str(info, "Phase", "Completed");
    if (!ok) {
        vmbi_json_free(e);
        return vmbi_fail_nomem(err);
    }
    vmbi_restore_note_volume(r, e);
    return VMB_OK;
}

/* The claim's content is complete: it says no longer that it is to come. */
static vmb_code clear_claim(vmbi_restore *r, const attempt *a, vmb_error **err)
{
    static const char patch[] = "{\"metadata\":{\"annotations\":{\"" VMBI_CONTENT_NOTE "\":null}}}";
    const char *name = vmbi_json_path_str(a->claim, "metadata.name");
    if (vmbi_json_get(vmbi_json_path(a->claim, "metadata.annotations"), VMBI_CONTENT_NOTE) ==
        NULL) {
        return VMB_OK;
    }
    return vmbi_cluster_patch(&r->cluster, &r->job, "", "v1", "persistentvolumeclaims", a->p->ns,
                              name, NULL, VMB_PATCH_MERGE, patch, sizeof(patch) - 1, NULL, err);
}

static void set_subject(attempt *a, const vmbi_fill_volume *v)
{
    const char *claim = vmbi_json_path_str(a->claim, "metadata.name");
    vmbi_buf text = VMBI_BUF_INIT(sizeof(a->subject));
    vmbi_buf_addf(&text, "%s/%s%s%s", a->p->ns, claim != NULL ? claim : a->p->name,
                  claim != NULL ? "" : "/", claim != NULL ? "" : v->name);
    if (text.status == VMB_OK && text.len < sizeof(a->subject)) {
        memcpy(a->subject, text.data, text.len + 1);
    }
    vmbi_buf_free(&text);
}

/* VMB_E_NOT_FOUND: it is not there yet. */
static vmb_code fill_one(vmbi_restore *r, const vmbi_fill_pod *p, vmbi_fill_volume *v,
                         vmb_error **err)
{
    attempt a = {.r = r, .p = p};
    vmb_code rc = look(&a, v->name, err);
    if (rc == VMB_OK) {
        set_subject(&a, v);
        rc = hand_over(&a, v, err);
    }
    if (rc == VMB_OK && v->record != NULL) {
        rc = note(r, &a, v, err);
    }
    if (rc == VMB_OK && v->record != NULL) {
        vmbi_events_emit(r->events, VMB_EVENT_VOLUME, VMB_LOG_INFO, a.subject, "restored", -1, -1);
        rc = clear_claim(r, &a, err);
    }
    vmbi_json_free(a.pod);
    vmbi_json_free(a.claim);
    vmbi_json_free(a.pv);
    return rc;
}

static void end_volume(vmbi_restore *r, vmbi_fill_pod *p, const vmbi_fill_volume *v,
                       const vmb_error *why)
{
    p->failed += why != NULL ? 1 : 0;
    if (why != NULL) {
        vmbi_restore_error(r, p->ns, why, "pod volume restore failed: volume %s of pod %s/%s",
                           v->name, p->ns, p->name);
    } else {
        vmbi_restore_info(r, NULL, "volume %s of pod %s/%s: its content is restored", v->name,
                          p->ns, p->name);
    }
}

/* Every disk is complete: the pod need not wait any longer. */
static bool end_wait(vmbi_restore *r, vmbi_fill_pod *p)
{
    static char name[] = VMBI_WAIT_VOLUME;
    vmbi_fill_volume wait = {.name = name};
    vmb_error *why = NULL;
    if (!p->marks || p->failed > 0) {
        return true;
    }
    vmb_code rc = fill_one(r, p, &wait, &why);
    bool later = rc == VMB_E_NOT_FOUND &&
                 vmbi_mono_ns() - p->first_ns < r->ctx->settings.resource_timeout_ns;
    if (rc != VMB_OK && !later && !vmbi_restore_is_over(r, rc, &why)) {
        vmbi_restore_error(r, p->ns, why, "pod %s/%s goes on waiting", p->ns, p->name);
    }
    vmb_error_free(why);
    return !later;
}

bool vmbi_fill_pod_step(vmbi_restore *r, vmbi_fill_pod *p)
{
    p->first_ns = p->first_ns != 0 ? p->first_ns : vmbi_mono_ns();
    while (p->next < p->n && !vmbi_restore_is_broken(r)) {
        vmbi_fill_volume *v = &p->v[p->next];
        vmb_error *why = NULL;
        vmb_code rc = fill_one(r, p, v, &why);
        if (rc == VMB_E_NOT_FOUND && !vmbi_cancel_is_set(r->job.limits.cancel) &&
            vmbi_mono_ns() - p->first_ns < r->ctx->settings.resource_timeout_ns &&
            vmbi_limits_remaining_ns(&r->volume_limits) != 0) {
            vmb_error_free(why);
            p->due_ns = vmbi_mono_ns() + RETRY_NS;
            return false;
        }
        if (rc != VMB_OK && why == NULL) {
            (void)vmbi_fail(&why, rc, "%s", vmb_code_name(rc));
        }
        vmbi_restore_record_end(r, v, why);
        if (rc == VMB_OK || !vmbi_restore_is_over(r, rc, &why)) {
            end_volume(r, p, v, why);
        }
        vmb_error_free(why);
        p->next++;
    }
    if (p->next < p->n || vmbi_restore_is_broken(r)) {
        return true;
    }
    p->due_ns = vmbi_mono_ns() + RETRY_NS;
    return end_wait(r, p);
}
