/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots of claims: choosing a provider, driving them through their states, and what the
 * archive and Velero's volumeinfo say of them. */
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/strs.h"
#include "core/backup.h"
#include "core/plan.h"
#include "model/backup.h"

enum { MAX_DESCRIPTION = 64 * 1024 * 1024 };

/* ---- starting ------------------------------------------------------------------------------ */

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

vmb_code vmbi_snapshot_begin(vmbi_backup *b, const vmbi_json *claim, const vmbi_json *pv,
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
        rc = vmbi_snapshot_refuse_native(b, pv, err);
        if (rc != VMB_OK) {
            goto out;
        }
        rc = vmbi_volume_skip(
            b, claim, pv,
            "csiSnapshot: no snapshot provider takes this volume (not a CSI volume?);", err);
        goto out;
    }
    if (rc == VMB_OK && b->plan != NULL) {
        vmbi_plan_snapshot(b, claim, p->name);
        goto out;
    }
    if (rc == VMB_OK) {
        rc = vmbi_volume_new(b, claim, pv, &v, err);
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

/* ---- driving ------------------------------------------------------------------------------- */

/* Notes a failure. The snapshot is given up later, by vmbi_volumes_drop_failed(): removing it can
 * take long, and guests may be frozen now. */
static void fail_volume(vmbi_backup *b, vmbi_volume *v, const vmb_error *why, const char *what)
{
    v->failed = true;
    vmbi_runlog_error(&b->log, "persistentvolumeclaims", v->ns, v->claim, why, "%s", what);
    vmbi_volume_event(b, v, "failed");
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
                vmbi_volume_event(b, v, state >= VMB_SNAPSHOT_READY ? "ready" : "cut");
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
    b->stored = true;
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
        vmbi_volume_free(b->volumes[i]);
    }
    vmbi_free(b->volumes);
    b->volumes = NULL;
    b->n_volumes = 0;
    vmbi_fs_done(b);
}
