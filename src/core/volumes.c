/* SPDX-License-Identifier: Apache-2.0 */
/* Volumes of a backup: which claims are snapshotted, driving the snapshots through their states,
 * and what the archive and Velero's volumeinfo say of them. */
#include "core/backup.h"

#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/strs.h"
#include "model/backup.h"

enum {
    MAX_VOLUMES = 100000,
    MAX_DESCRIPTION = 64 * 1024 * 1024,
};

/* ---- records ------------------------------------------------------------------------------- */

static void free_volume(vmbi_volume *v)
{
    vmbi_free(v->ns);
    vmbi_free(v->claim);
    vmbi_free(v->pv);
    vmbi_free(v->skip_reason);
    vmbi_json_free(v->pv_info);
    vmbi_json_free(v->info);
    vmbi_json_free(v->operation);
    vmbi_free(v);
}

static vmb_code new_volume(vmbi_backup *b, const vmbi_json *claim, const vmbi_json *pv,
                           vmbi_volume **out, vmb_error **err)
{
    if (b->n_volumes >= MAX_VOLUMES) {
        return vmbi_fail(err, VMB_E_LIMIT, "more than %d volumes", MAX_VOLUMES);
    }
    const char *pv_name = vmbi_json_path_str(claim, "spec.volumeName");
    vmbi_volume *v = vmbi_zalloc(sizeof(*v));
    vmbi_volume **list = vmbi_realloc_array(b->volumes, b->n_volumes + 1, sizeof(*list));
    if (list != NULL) {
        b->volumes = list;
    }
    if (v == NULL || list == NULL) {
        vmbi_free(v);
        return vmbi_fail_nomem(err);
    }
    v->ns = vmbi_strdup(vmbi_json_path_str(claim, "metadata.namespace"));
    v->claim = vmbi_strdup(vmbi_json_path_str(claim, "metadata.name"));
    v->pv = vmbi_strdup(pv_name != NULL ? pv_name : "");
    v->start_unix_ns = vmbi_unix_ns();
    bool ok = v->ns != NULL && v->claim != NULL && v->pv != NULL;
    if (ok && pv != NULL) {
        const char *policy = vmbi_json_path_str(pv, "spec.persistentVolumeReclaimPolicy");
        vmbi_json *labels = vmbi_json_path(pv, "metadata.labels");
        v->pv_info = vmbi_json_object();
        ok = v->pv_info != NULL && vmbi_json_set_str(v->pv_info, "reclaimPolicy", policy ? policy : "");
        ok = ok && vmbi_json_set(v->pv_info, "labels",
                                 labels != NULL ? vmbi_json_copy(labels) : vmbi_json_null());
    }
    if (!ok) {
        free_volume(v);
        return vmbi_fail_nomem(err);
    }
    b->volumes[b->n_volumes++] = v;
    *out = v;
    return VMB_OK;
}

static void volume_event(vmbi_backup *b, const vmbi_volume *v, const char *text)
{
    vmbi_buf subject = VMBI_BUF_INIT(1024);
    vmbi_buf_addf(&subject, "%s/%s", v->ns, v->claim);
    if (subject.status == VMB_OK) {
        vmbi_events_emit(b->events, VMB_EVENT_VOLUME, VMB_LOG_INFO, subject.data, text, 0, -1);
    }
    vmbi_buf_free(&subject);
}

static vmb_code skip(vmbi_backup *b, const vmbi_json *claim, const vmbi_json *pv,
                     const char *reason, vmb_error **err)
{
    vmbi_volume *v = NULL;
    vmb_code rc = new_volume(b, claim, pv, &v, err);
    if (rc == VMB_OK) {
        v->skip_reason = vmbi_strdup(reason);
        rc = v->skip_reason != NULL ? VMB_OK : vmbi_fail_nomem(err);
    }
    if (rc == VMB_OK) {
        vmbi_log_fields f = {"persistentvolumeclaims", v->ns, v->claim, NULL};
        vmbi_runlog_add(&b->log, VMB_LOG_INFO, &f, "volume is not snapshotted: %s", reason);
        volume_event(b, v, "skipped");
    }
    return rc;
}

/* ---- the decision -------------------------------------------------------------------------- */

/* Fetches one cluster-scoped object as a tree; *out NULL when it does not exist. */
static vmb_code fetch(vmbi_backup *b, const char *group, const char *resource, const char *name,
                      vmbi_json **out, vmb_error **err)
{
    vmbi_buf text = VMBI_BUF_INIT(VMBI_OBJECT_MAX_BYTES);
    vmb_error *why = NULL;
    vmb_code rc = vmbi_cluster_get(&b->cluster, &b->job, group, NULL, resource, NULL, name, &text,
                                   &why);
    *out = NULL;
    if (rc == VMB_OK) {
        rc = vmbi_json_parse(text.data != NULL ? text.data : "", text.len, name, out, &why);
    }
    vmbi_buf_free(&text);
    if (rc == VMB_E_NOT_FOUND) {
        vmb_error_free(why);
        return VMB_OK;
    }
    vmbi_error_move(err, &why);
    return rc;
}

/* Does the comma list in a pod's annotation name the volume? No trimming, as Velero. */
static bool annotation_names(const vmbi_json *pod, const char *key, const char *volume)
{
    const char *list = vmbi_json_get_str(vmbi_json_path(pod, "metadata.annotations"), key);
    size_t len = strlen(volume);
    while (list != NULL && *list != '\0') {
        size_t word = strcspn(list, ",");
        if (word == len && memcmp(list, volume, len) == 0) {
            return true;
        }
        list += word;
        list += *list == ',' ? 1 : 0;
    }
    return false;
}

/* Is the claim given to filesystem backup by a pod, under Velero's opt-in or opt-out rules? */
static bool wants_fs_backup(const vmbi_backup *b, const vmbi_json *claim,
                            const vmbi_json *const *pods, size_t n_pods)
{
    const char *name = vmbi_json_path_str(claim, "metadata.name");
    const char *ns = vmbi_json_path_str(claim, "metadata.namespace");
    bool by_default = vmbi_json_bool(
        vmbi_json_path(b->resource, "spec.defaultVolumesToFsBackup"), false);
    for (size_t p = 0; p < n_pods; p++) {
        if (!vmbi_streq(vmbi_json_path_str(pods[p], "metadata.namespace"), ns)) {
            continue;
        }
        vmbi_json *volumes = vmbi_json_path(pods[p], "spec.volumes");
        for (size_t i = 0; i < vmbi_json_len(volumes); i++) {
            vmbi_json *volume = vmbi_json_at(volumes, i);
            const char *volume_name = vmbi_json_get_str(volume, "name");
            if (volume_name == NULL ||
                !vmbi_streq(vmbi_json_path_str(volume, "persistentVolumeClaim.claimName"), name)) {
                continue;
            }
            bool wants =
                by_default
                    ? !annotation_names(pods[p], "backup.velero.io/backup-volumes-excludes",
                                        volume_name)
                    : annotation_names(pods[p], "backup.velero.io/backup-volumes", volume_name);
            if (wants) {
                return true;
            }
        }
    }
    return false;
}

/* The document that snapshot providers see. */
static vmb_code volume_document(const vmbi_json *claim, const vmbi_json *pv,
                                const vmbi_json *storage_class, char **out, size_t *out_len,
                                vmb_error **err)
{
    vmbi_json *doc = vmbi_json_object();
    bool ok = doc != NULL && vmbi_json_set(doc, "pvc", vmbi_json_copy(claim));
    ok = ok && vmbi_json_set(doc, "pv", pv != NULL ? vmbi_json_copy(pv) : vmbi_json_null());
    ok = ok && vmbi_json_set(doc, "storageClass", storage_class != NULL
                                                      ? vmbi_json_copy(storage_class)
                                                      : vmbi_json_null());
    vmb_code rc = ok ? vmbi_json_to_text(doc, out, out_len, err) : vmbi_fail_nomem(err);
    vmbi_json_free(doc);
    return rc;
}

/* Highest bid above 0; *out NULL when no provider wants the volume. */
static vmb_code choose(vmbi_backup *b, const char *doc, size_t len,
                       const vmb_snapshot_provider **out, vmb_error **err)
{
    int32_t best = 0;
    *out = NULL;
    for (size_t i = 0; i < b->ctx->n_snapshots; i++) {
        const vmb_snapshot_provider *p = &b->ctx->snapshots[i];
        int32_t score = 100;
        if (p->bid != NULL) {
            vmb_code rc = p->bid(p->user, &b->job, doc, len, &score, err);
            rc = vmbi_check_provider(err, rc, "bid for a volume");
            if (rc != VMB_OK) {
                return vmbi_wrap(err, rc, "snapshot provider %s", p->name);
            }
        }
        if (score > best) {
            best = score;
            *out = p;
        }
    }
    return VMB_OK;
}

static vmb_code begin_snapshot(vmbi_backup *b, const vmbi_json *claim, const vmbi_json *pv,
                               const vmbi_json *storage_class, vmbi_volume **out, vmb_error **err)
{
    char *doc = NULL;
    size_t len = 0;
    const vmb_snapshot_provider *p = NULL;
    vmbi_volume *v = NULL;
    vmb_code rc = volume_document(claim, pv, storage_class, &doc, &len, err);
    if (rc == VMB_OK) {
        rc = choose(b, doc, len, &p, err);
    }
    if (rc == VMB_OK && p == NULL) {
        rc = skip(b, claim, pv,
                  "csiSnapshot: no snapshot provider takes this volume (not a CSI volume?);", err);
        goto out;
    }
    if (rc == VMB_OK) {
        rc = new_volume(b, claim, pv, &v, err);
    }
    if (rc == VMB_OK) {
        void *op = NULL;
        b->snapshots_attempted++;
        rc = p->begin(p->user, &b->job, doc, len, &op, err);
        rc = vmbi_check_provider(err, rc, "start a snapshot");
        if (rc == VMB_OK && op == NULL) {
            rc = vmbi_fail(err, VMB_E_PROVIDER, "begin gave no operation");
        }
        v->provider = p;
        v->op = rc == VMB_OK ? op : NULL;
        v->failed = rc != VMB_OK;
        *out = v;
        if (rc != VMB_OK) {
            rc = vmbi_wrap(err, rc, "snapshot provider %s", p->name);
        }
    }
out:
    vmb_free(doc);
    return rc;
}

/* What the spec says of the claim before any provider is asked; NULL: go on. */
static const char *spec_refuses(const vmbi_backup *b, const vmbi_json *claim)
{
    vmbi_json *snapshot_volumes = vmbi_json_path(b->resource, "spec.snapshotVolumes");
    const char *phase = vmbi_json_path_str(claim, "status.phase");
    if (vmbi_json_is_bool(snapshot_volumes) && !vmbi_json_bool(snapshot_volumes, true)) {
        return "csiSnapshot: spec.snapshotVolumes is false;";
    }
    if (phase == NULL || strcmp(phase, "Bound") != 0 ||
        vmbi_json_path_str(claim, "spec.volumeName") == NULL) {
        return "csiSnapshot: the claim is not bound;";
    }
    return NULL;
}

vmb_code vmbi_volume_begin(vmbi_backup *b, const vmbi_json *claim, const vmbi_json *const *pods,
                           size_t n_pods, vmbi_volume **out, bool *failed, vmb_error **err)
{
    const char *ns = vmbi_json_path_str(claim, "metadata.namespace");
    const char *name = vmbi_json_path_str(claim, "metadata.name");
    vmbi_json *pv = NULL;
    vmbi_json *storage_class = NULL;
    vmb_error *why = NULL;
    vmb_code rc = VMB_OK;
    *out = NULL;
    if (ns == NULL || name == NULL) {
        return VMB_OK;
    }
    if (wants_fs_backup(b, claim, pods, n_pods)) {
        rc = vmbi_fail(&why, VMB_E_UNSUPPORTED,
                       "the volume is to be saved by filesystem backup, and no provider for that "
                       "is registered");
        goto out;
    }
    if (vmbi_json_bool(vmbi_json_path(b->resource, "spec.snapshotMoveData"), false)) {
        rc = vmbi_fail(&why, VMB_E_UNSUPPORTED,
                       "spec.snapshotMoveData is true, and moving snapshot data is not supported "
                       "yet; the volume would be without data");
        goto out;
    }
    const char *reason = spec_refuses(b, claim);
    const char *pv_name = vmbi_json_path_str(claim, "spec.volumeName");
    const char *class_name = vmbi_json_path_str(claim, "spec.storageClassName");
    if (pv_name != NULL) {
        rc = fetch(b, "", "persistentvolumes", pv_name, &pv, &why);
    }
    if (rc == VMB_OK && reason != NULL) {
        rc = skip(b, claim, pv, reason, &why);
        goto out;
    }
    if (rc == VMB_OK && class_name != NULL && class_name[0] != '\0') {
        rc = fetch(b, "storage.k8s.io", "storageclasses", class_name, &storage_class, &why);
    }
    if (rc == VMB_OK) {
        rc = begin_snapshot(b, claim, pv, storage_class, out, &why);
    }
out:
    if (rc != VMB_OK) {
        vmbi_runlog_error(&b->log, "persistentvolumeclaims", ns, name, why,
                          "volume cannot be saved");
        *failed = true;
        vmb_error_free(why);
        if (rc == VMB_E_NOMEM || rc == VMB_E_CANCELLED) {
            rc = vmbi_limits_check(&b->job.limits, err, "save volumes");
        } else {
            rc = VMB_OK;
        }
    }
    vmbi_json_free(pv);
    vmbi_json_free(storage_class);
    return rc;
}

/* ---- driving ------------------------------------------------------------------------------- */

/* Notes a failure. The snapshot is given up later, by vmbi_volumes_drop_failed(): removing it can
 * take long, and guests may be frozen now. */
static void fail_volume(vmbi_backup *b, vmbi_volume *v, const vmb_error *why, const char *what)
{
    v->failed = true;
    vmbi_runlog_error(&b->log, "persistentvolumeclaims", v->ns, v->claim, why, "%s", what);
    volume_event(b, v, "failed");
    b->failed_open += v->op != NULL ? 1 : 0;
}

static void give_up(vmbi_backup *b, vmbi_volume *v)
{
    vmb_job job = b->job;
    vmb_error *why = NULL;
    job.limits = (vmbi_limits){0, NULL}; /* clean up also after cancellation */
    job.limits = vmbi_limits_within(&job.limits, b->ctx->settings.resource_timeout_ns);
    vmb_code rc = v->provider->cancel(v->provider->user, &job, v->op, &why);
    if (vmbi_check_provider(&why, rc, "remove a snapshot") != VMB_OK) {
        vmbi_log_fields f = {"persistentvolumeclaims", v->ns, v->claim, vmb_error_message(why)};
        vmbi_runlog_add(&b->log, VMB_LOG_WARNING, &f, "the failed snapshot could not be removed");
    }
    vmb_error_free(why);
    v->provider->op_free(v->provider->user, v->op);
    v->op = NULL;
}

void vmbi_volumes_drop_failed(vmbi_backup *b)
{
    for (size_t i = 0; i < b->n_volumes && b->failed_open > 0; i++) {
        vmbi_volume *v = b->volumes[i];
        if (v->failed && v->op != NULL) {
            give_up(b, v);
            b->failed_open--;
        }
    }
}

/* A provider may answer at once: then the round itself waits, that nothing spins. */
static void rest(const vmb_job *job, int64_t round_start, int64_t poll_ns)
{
    int64_t least = poll_ns < 100 * VMBI_MS ? poll_ns : 100 * VMBI_MS;
    int64_t left = least - (vmbi_mono_ns() - round_start);
    if (left > 0) {
        (void)vmbi_limits_sleep(&job->limits, left, NULL, ""); /* the next round sees the reason */
    }
}

/* Drives the volumes to a state; failures are logged and mark the volume. */
static void drive(vmbi_backup *b, vmbi_volume **volumes, size_t n, int32_t wanted,
                  int64_t timeout_ns, const char *what)
{
    vmb_job job = b->job;
    job.limits = vmbi_limits_within(&b->job.limits, timeout_ns);
    size_t waiting = n;
    while (waiting > 0) {
        /* the wait is shared: with many volumes none is looked at much later than asked for */
        int64_t poll_ns = b->ctx->settings.snapshot_poll_ns;
        int64_t wait = poll_ns / (int64_t)waiting;
        int64_t round_start = vmbi_mono_ns();
        bool moved = false;
        waiting = 0;
        for (size_t i = 0; i < n; i++) {
            vmbi_volume *v = volumes[i];
            if (v == NULL || v->failed || v->op == NULL || v->state >= wanted) {
                continue;
            }
            vmb_error *why = NULL;
            int32_t state = v->state;
            vmb_code rc = vmbi_limits_check(&job.limits, &why, what);
            if (rc == VMB_OK) {
                rc = v->provider->poll(v->provider->user, &job, v->op, wait, &state, &why);
                rc = vmbi_check_provider(&why, rc, what);
            }
            if (rc != VMB_OK) {
                fail_volume(b, v, why, "the snapshot failed");
                vmb_error_free(why);
                continue;
            }
            if (state > v->state) {
                v->state = state;
                moved = true;
                if (state >= VMB_SNAPSHOT_CUT && v->cut_unix_ns == 0) {
                    v->cut_unix_ns = vmbi_unix_ns();
                }
                volume_event(b, v, state >= VMB_SNAPSHOT_READY ? "ready" : "cut");
            }
            waiting += v->state < wanted ? 1 : 0;
        }
        if (waiting > 0 && !moved) {
            rest(&job, round_start, poll_ns);
        }
    }
}

static int64_t csi_timeout(const vmbi_backup *b)
{
    return vmbi_backup_duration_ns(vmbi_json_get(b->resource, "spec"), "csiSnapshotTimeout",
                                   VMBI_BACKUP_CSI_TIMEOUT_NS);
}

void vmbi_volumes_wait_cut(vmbi_backup *b, vmbi_volume **volumes, size_t n)
{
    drive(b, volumes, n, VMB_SNAPSHOT_CUT, csi_timeout(b), "wait for the snapshot's handle");
}

static vmb_code describe(vmbi_backup *b, vmbi_volume *v, vmbi_json **out, vmb_error **err)
{
    vmbi_buf text = VMBI_BUF_INIT(MAX_DESCRIPTION);
    struct vmb_sink sink = vmbi_sink_to_buf(&text);
    vmb_code rc = v->provider->describe(v->provider->user, &b->job, v->op, &sink, err);
    rc = vmbi_check_provider(err, rc, "describe a snapshot");
    if (rc == VMB_OK) {
        rc = vmbi_json_parse(text.data != NULL ? text.data : "", text.len,
                             "description of a snapshot", out, err);
    }
    vmbi_buf_free(&text);
    return rc;
}

vmb_code vmbi_volume_patch_claim(vmbi_backup *b, vmbi_volume *v, vmbi_json *item, vmb_error **err)
{
    vmbi_json *doc = NULL;
    vmb_code rc = describe(b, v, &doc, err);
    if (rc == VMB_OK) {
        vmbi_json *patch = vmbi_json_get(doc, "claimPatch");
        if (vmbi_json_is_object(patch) && !vmbi_json_merge_patch(item, patch)) {
            rc = vmbi_fail_nomem(err);
        }
    }
    vmbi_json_free(doc);
    return rc;
}

/* One object of a description goes into the archive, unless it is there already. */
static vmb_code write_described(vmbi_backup *b, const vmbi_json *entry, vmb_error **err)
{
    const vmbi_json *object = vmbi_json_get(entry, "object");
    const char *group = vmbi_json_get_str(entry, "group");
    const char *version = vmbi_json_get_str(entry, "version");
    const char *resource = vmbi_json_get_str(entry, "resource");
    const char *ns = vmbi_json_path_str(object, "metadata.namespace");
    const char *name = vmbi_json_path_str(object, "metadata.name");
    if (group == NULL || resource == NULL || name == NULL || !vmbi_item_name_ok(name) ||
        (ns != NULL && ns[0] != '\0' && !vmbi_item_name_ok(ns))) {
        return vmbi_fail(err, VMB_E_PROVIDER,
                         "description of a snapshot: an item lacks group, resource or name");
    }
    const vmbi_resource *res =
        vmbi_discovery_find(b->cluster.discovery, group, version, resource);
    if (res == NULL) {
        return vmbi_fail(err, VMB_E_NOT_FOUND, "the cluster does not serve %s.%s", resource,
                         group);
    }
    vmbi_key16 key = vmbi_item_key(res->group_resource, ns, name);
    bool added = false;
    vmb_code rc = vmbi_keyset_add(&b->seen, &key, &added, err);
    if (rc != VMB_OK || !added) {
        return rc;
    }
    char *text = NULL;
    size_t len = 0;
    vmbi_object_scan scan;
    rc = vmbi_json_to_text(object, &text, &len, err);
    if (rc == VMB_OK && !vmbi_jscan_k8s_object(text, len, &scan)) {
        rc = vmbi_fail(err, VMB_E_PROVIDER, "description of a snapshot: %s is no object", name);
    }
    if (rc == VMB_OK) {
        rc = vmbi_backup_write(b, res, ns, name, text, len, &scan, err);
    }
    vmb_free(text);
    return rc;
}

static vmb_code keep_records(vmbi_backup *b, vmbi_volume *v, vmbi_json *doc, vmb_error **err)
{
    vmbi_json *items = vmbi_json_get(doc, "items");
    vmb_code rc = VMB_OK;
    for (size_t i = 0; i < vmbi_json_len(items) && rc == VMB_OK; i++) {
        rc = write_described(b, vmbi_json_at(items, i), err);
    }
    if (rc != VMB_OK) {
        return rc;
    }
    vmbi_json *info = vmbi_json_get(doc, "volumeInfo");
    vmbi_json *operation = vmbi_json_get(doc, "operation");
    v->info = vmbi_json_is_object(info) ? vmbi_json_copy(info) : NULL;
    v->operation = vmbi_json_is_object(operation) ? vmbi_json_copy(operation) : NULL;
    if ((vmbi_json_is_object(info) && v->info == NULL) ||
        (vmbi_json_is_object(operation) && v->operation == NULL)) {
        return vmbi_fail_nomem(err);
    }
    return VMB_OK;
}

vmb_code vmbi_volumes_complete(vmbi_backup *b, vmb_error **err)
{
    drive(b, b->volumes, b->n_volumes, VMB_SNAPSHOT_READY, csi_timeout(b),
          "wait for the snapshot to become ready");
    for (size_t i = 0; i < b->n_volumes; i++) {
        vmbi_volume *v = b->volumes[i];
        vmbi_json *doc = NULL;
        vmb_error *why = NULL;
        if (v->op == NULL || v->failed) {
            continue;
        }
        vmb_code rc = describe(b, v, &doc, &why);
        if (rc == VMB_OK) {
            rc = keep_records(b, v, doc, &why);
        }
        vmbi_json_free(doc);
        if (rc == VMB_OK) {
            v->finished = true;
            b->snapshots_completed++;
        } else if (b->archive.broken != VMB_OK || rc == VMB_E_NOMEM) {
            vmbi_error_move(err, &why);
            return rc;
        } else {
            fail_volume(b, v, why, "the snapshot cannot be recorded");
        }
        vmb_error_free(why);
    }
    vmbi_volumes_drop_failed(b);
    return vmbi_limits_check(&b->job.limits, err, "save volumes");
}

void vmbi_volumes_finish(vmbi_backup *b)
{
    for (size_t i = 0; i < b->n_volumes; i++) {
        vmbi_volume *v = b->volumes[i];
        if (v->op == NULL || !v->finished) {
            continue;
        }
        vmb_error *why = NULL;
        vmb_code rc = VMB_OK;
        if (v->provider->finish != NULL) {
            vmb_job job = b->job;
            job.limits = vmbi_limits_within(&(vmbi_limits){0, NULL},
                                            b->ctx->settings.resource_timeout_ns);
            rc = v->provider->finish(v->provider->user, &job, v->op, &why);
            rc = vmbi_check_provider(&why, rc, "release a snapshot");
        }
        if (rc != VMB_OK) {
            vmbi_log_fields f = {"persistentvolumeclaims", v->ns, v->claim,
                                 vmb_error_message(why)};
            vmbi_runlog_add(&b->log, VMB_LOG_WARNING, &f,
                            "the backup holds the snapshot, but its objects could not be removed "
                            "from the cluster");
        }
        vmb_error_free(why);
        v->provider->op_free(v->provider->user, v->op);
        v->op = NULL;
    }
}

void vmbi_volumes_done(vmbi_backup *b)
{
    for (size_t i = 0; i < b->n_volumes; i++) {
        vmbi_volume *v = b->volumes[i];
        if (v->op != NULL && b->keep) {
            v->provider->op_free(v->provider->user, v->op);
            v->op = NULL;
        } else if (v->op != NULL) {
            vmb_error *why = NULL;
            (void)vmbi_fail(&why, VMB_E_CANCELLED, "the backup did not become whole");
            if (!v->failed) {
                fail_volume(b, v, why, "the snapshot is given up");
            }
            vmb_error_free(why);
        }
    }
    vmbi_volumes_drop_failed(b);
    for (size_t i = 0; i < b->n_volumes; i++) {
        free_volume(b->volumes[i]);
    }
    vmbi_free(b->volumes);
    b->volumes = NULL;
    b->n_volumes = 0;
}
