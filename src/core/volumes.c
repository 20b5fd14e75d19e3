/* SPDX-License-Identifier: Apache-2.0 */
/* Claims of a backup: which are snapshotted, which are not and why. */
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/strs.h"
#include "core/block.h"

enum { MAX_VOLUMES = 100000 };

/* ---- records ------------------------------------------------------------------------------- */

void vmbi_volume_free(vmbi_volume *v)
{
    if (v == NULL) {
        return;
    }
    vmbi_free(v->ns);
    vmbi_free(v->claim);
    vmbi_free(v->pv);
    vmbi_free(v->skip_reason);
    vmbi_json_free(v->pv_info);
    vmbi_json_free(v->info);
    vmbi_json_free(v->operation);
    vmbi_free(v);
}

vmbi_json *vmbi_volume_pv_info(const vmbi_json *pv)
{
    const char *policy = vmbi_json_path_str(pv, "spec.persistentVolumeReclaimPolicy");
    vmbi_json *labels = vmbi_json_path(pv, "metadata.labels");
    vmbi_json *info = vmbi_json_object();
    bool ok = info != NULL && vmbi_json_set_str(info, "reclaimPolicy", policy ? policy : "");
    ok = ok && vmbi_json_set(info, "labels",
                             labels != NULL ? vmbi_json_copy(labels) : vmbi_json_null());
    if (!ok) {
        vmbi_json_free(info);
        info = NULL;
    }
    return info;
}

vmb_code vmbi_volume_new(vmbi_backup *b, const vmbi_json *claim, const vmbi_json *pv,
                         vmbi_volume **out, vmb_error **err)
{
    if (b->n_volumes >= MAX_VOLUMES) {
        return vmbi_fail(err, VMB_E_LIMIT, "more than %d volumes", MAX_VOLUMES);
    }
    const char *pv_name = vmbi_json_path_str(claim, "spec.volumeName");
    vmbi_volume *v = vmbi_zalloc(sizeof(*v));
    vmbi_volume **list = vmbi_realloc_array(b->volumes, b->n_volumes + 1, sizeof(vmbi_volume *));
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
    v->pv_info = pv != NULL ? vmbi_volume_pv_info(pv) : NULL;
    v->start_unix_ns = vmbi_unix_ns();
    if (v->ns == NULL || v->claim == NULL || v->pv == NULL || (pv != NULL && v->pv_info == NULL)) {
        vmbi_volume_free(v);
        return vmbi_fail_nomem(err);
    }
    b->volumes[b->n_volumes++] = v;
    *out = v;
    return VMB_OK;
}

void vmbi_volume_event(vmbi_backup *b, const vmbi_volume *v, const char *text)
{
    vmbi_buf subject = VMBI_BUF_INIT(1024);
    if (vmbi_claim_key(v->ns, v->claim, &subject, NULL) == VMB_OK) {
        vmbi_events_emit(b->events, VMB_EVENT_VOLUME, VMB_LOG_INFO, subject.data, text, 0, -1);
    }
    vmbi_buf_free(&subject);
}

/* Velero's skippedReason: what filesystem backup said of the claim, then the given reason. */
static vmb_code full_reason(const vmbi_backup *b, const vmbi_volume *v, const char *reason,
                            char **out, vmb_error **err)
{
    vmbi_buf key = VMBI_BUF_INIT(1024);
    vmbi_buf text = VMBI_BUF_INIT(16 * 1024);
    vmb_code rc = vmbi_claim_key(v->ns, v->claim, &key, err);
    const char *fs = rc == VMB_OK ? vmbi_map_get(&b->fs_skips, key.data) : NULL;
    if (rc == VMB_OK) {
        vmbi_buf_adds(&text, fs != NULL ? fs : "");
        vmbi_buf_adds(&text, reason);
        rc = vmbi_buf_take(&text, out, NULL, err, "reason");
    }
    vmbi_buf_free(&key);
    vmbi_buf_free(&text);
    return rc;
}

vmb_code vmbi_volume_skip(vmbi_backup *b, const vmbi_json *claim, const vmbi_json *pv,
                          const char *reason, vmb_error **err)
{
    vmbi_volume *v = NULL;
    vmb_code rc = vmbi_volume_new(b, claim, pv, &v, err);
    if (rc == VMB_OK) {
        rc = full_reason(b, v, reason, &v->skip_reason, err);
    }
    if (rc == VMB_OK) {
        vmbi_log_fields f = {"persistentvolumeclaims", v->ns, v->claim, NULL};
        vmbi_runlog_add(&b->log, VMB_LOG_INFO, &f, "volume is not snapshotted: %s",
                        v->skip_reason);
        vmbi_volume_event(b, v, "skipped");
    }
    return rc;
}

/* ---- what belongs to a claim --------------------------------------------------------------- */

static vmb_code fetch(vmbi_backup *b, const char *group, const char *resource, const char *ns,
                      const char *name, vmbi_json **out, vmb_error **err)
{
    vmbi_buf text = VMBI_BUF_INIT(VMBI_OBJECT_MAX_BYTES);
    vmb_error *why = NULL;
    vmb_code rc = vmbi_cluster_get(&b->cluster, &b->job, group, NULL, resource, ns, name, &text,
                                   &why);
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

vmb_code vmbi_volume_object(vmbi_backup *b, vmbi_block *blk, const char *group,
                            const char *resource, const char *ns, const char *name,
                            vmbi_json **out, vmb_error **err)
{
    const vmbi_block_item *it =
        group[0] == '\0' ? vmbi_block_find(blk, resource, ns != NULL ? ns : "", name) : NULL;
    *out = NULL;
    return it != NULL ? vmbi_json_parse(it->json, it->len, name, out, err)
                      : fetch(b, group, resource, ns, name, out, err);
}

/* ---- the policy ---------------------------------------------------------------------------- */

static vmb_code read_policy(vmbi_backup *b, const char *name, vmbi_problems *problems,
                            vmb_error **err)
{
    vmbi_json *configmap = NULL;
    vmb_error *why = NULL;
    vmb_code rc = fetch(b, "", "configmaps", b->ctx->settings.ns, name, &configmap, err);
    if (rc == VMB_OK && configmap == NULL) {
        vmbi_problems_add(problems, true, "spec.resourcePolicy.name", "name one that exists",
                          "the ConfigMap %s/%s does not exist", b->ctx->settings.ns, name);
        return problems->status;
    }
    if (rc == VMB_OK) {
        rc = vmbi_policy_from_configmap(configmap, &b->policy, problems, &why);
        if (rc == VMB_E_INVALID && problems->errors == 0) {
            vmbi_problems_add(problems, true, "spec.resourcePolicy", NULL, "%s",
                              vmb_error_message(why));
        }
        rc = rc == VMB_E_INVALID ? problems->status : rc;
        vmbi_error_move(rc != VMB_OK ? err : NULL, &why);
    }
    vmbi_json_free(configmap);
    return rc;
}

vmb_code vmbi_volumes_load_policy(vmbi_backup *b, vmbi_problems *problems, vmb_error **err)
{
    const vmbi_json *policy = vmbi_json_path(b->resource, "spec.resourcePolicy");
    const char *kind = vmbi_json_get_str(policy, "kind");
    const char *name = vmbi_json_get_str(policy, "name");
    if (kind == NULL || !vmbi_strcaseeq(kind, "configmap") || name == NULL) {
        return VMB_OK; /* none, or one that validation has refused */
    }
    return read_policy(b, name, problems, err);
}

/* ---- the decision -------------------------------------------------------------------------- */

/* A claim in the hands of a decision. */
typedef struct claim_view {
    const vmbi_json *claim;
    const char *ns;
    const char *name;
    vmbi_json *pv;            /* owned; NULL: unbound, or it does not exist */
    vmbi_json *storage_class; /* owned */
    const char *skip;         /* why there is no snapshot; NULL: there is one */
} claim_view;

/* What the spec says of the claim before any provider is asked; NULL: go on. */
static const char *spec_refuses(const vmbi_backup *b, const claim_view *c,
                                vmbi_policy_action action)
{
    vmbi_json *snapshot_volumes = vmbi_json_path(b->resource, "spec.snapshotVolumes");
    const char *phase = vmbi_json_path_str(c->claim, "status.phase");
    if (action != VMBI_POLICY_SNAPSHOT && vmbi_json_is_bool(snapshot_volumes) &&
        !vmbi_json_bool(snapshot_volumes, true)) {
        return "csiSnapshot: spec.snapshotVolumes is false;";
    }
    if (phase == NULL || strcmp(phase, "Bound") != 0 ||
        vmbi_json_path_str(c->claim, "spec.volumeName") == NULL) {
        return "csiSnapshot: the claim is not bound;";
    }
    return NULL;
}

static const char *policy_refuses(vmbi_policy_action action)
{
    switch (action) {
    case VMBI_POLICY_SKIP:
        return "csiSnapshot: the volume policy skips it;";
    case VMBI_POLICY_FS_BACKUP:
        return "csiSnapshot: the volume policy gives it to filesystem backup;";
    case VMBI_POLICY_CUSTOM:
        return "csiSnapshot: the volume policy leaves it to others;";
    case VMBI_POLICY_NONE:
    case VMBI_POLICY_SNAPSHOT:
        break;
    }
    return NULL;
}

/* Velero's order: the volume policy; what pods give to filesystem backup; the spec. */
static vmb_code decide(vmbi_backup *b, vmbi_block *blk, claim_view *c, vmb_error **err)
{
    const char *pv_name = vmbi_json_path_str(c->claim, "spec.volumeName");
    vmbi_policy_action action = VMBI_POLICY_NONE;
    vmb_code rc = VMB_OK;
    if (pv_name != NULL && pv_name[0] != '\0') {
        rc = vmbi_volume_object(b, blk, "", "persistentvolumes", NULL, pv_name, &c->pv, err);
    }
    if (rc == VMB_OK && b->policy != NULL) {
        vmbi_policy_volume v = {c->pv, c->claim, NULL};
        action = vmbi_policy_match(b->policy, &v);
        c->skip = policy_refuses(action);
    }
    if (rc == VMB_OK && action == VMBI_POLICY_NONE) {
        bool given = false;
        rc = vmbi_claim_is_given(b, blk, c->claim, &given, err);
        c->skip = given ? "csiSnapshot: a pod gives it to filesystem backup;" : NULL;
    }
    if (rc == VMB_OK && c->skip == NULL) {
        c->skip = spec_refuses(b, c, action);
    }
    return rc;
}

static vmb_code begin(vmbi_backup *b, vmbi_block *blk, claim_view *c, vmbi_volume **out,
                      vmb_error **err)
{
    vmb_code rc = decide(b, blk, c, err);
    if (rc == VMB_OK && c->skip != NULL) {
        return vmbi_volume_skip(b, c->claim, c->pv, c->skip, err);
    }
    if (rc == VMB_OK &&
        vmbi_json_bool(vmbi_json_path(b->resource, "spec.snapshotMoveData"), false)) {
        rc = vmbi_fail(err, VMB_E_UNSUPPORTED,
                       "spec.snapshotMoveData is true, and moving snapshot data is not supported "
                       "yet; the volume would be without data");
    }
    const char *class_name = vmbi_json_path_str(c->claim, "spec.storageClassName");
    if (rc == VMB_OK && class_name != NULL && class_name[0] != '\0') {
        rc = vmbi_volume_object(b, blk, "storage.k8s.io", "storageclasses", NULL, class_name,
                                &c->storage_class, err);
    }
    return rc != VMB_OK ? rc : vmbi_snapshot_begin(b, c->claim, c->pv, c->storage_class, out, err);
}

/* *taken: filesystem backup has the claim. */
static vmb_code is_taken(const vmbi_backup *b, const claim_view *c, bool *taken, vmb_error **err)
{
    vmbi_buf key = VMBI_BUF_INIT(1024);
    vmb_code rc = vmbi_claim_key(c->ns, c->name, &key, err);
    *taken = rc == VMB_OK && vmbi_map_has(&b->fs_claims, key.data);
    vmbi_buf_free(&key);
    return rc;
}

vmb_code vmbi_volume_begin(vmbi_backup *b, vmbi_block *blk, const vmbi_json *claim,
                           vmbi_volume **out, bool *failed, vmb_error **err)
{
    claim_view c = {.claim = claim,
                    .ns = vmbi_json_path_str(claim, "metadata.namespace"),
                    .name = vmbi_json_path_str(claim, "metadata.name")};
    vmb_error *why = NULL;
    bool taken = false;
    *out = NULL;
    if (c.ns == NULL || c.name == NULL) {
        return VMB_OK;
    }
    vmb_code rc = is_taken(b, &c, &taken, &why);
    if (rc == VMB_OK && !taken) {
        rc = begin(b, blk, &c, out, &why);
    }
    if (rc != VMB_OK) {
        vmbi_runlog_error(&b->log, "persistentvolumeclaims", c.ns, c.name, why,
                          "volume cannot be saved");
        *failed = true;
        vmb_error_free(why);
        if (rc == VMB_E_NOMEM || rc == VMB_E_CANCELLED) {
            rc = vmbi_limits_check(&b->job.limits, err, "save volumes");
        } else {
            rc = VMB_OK;
        }
    }
    vmbi_json_free(c.pv);
    vmbi_json_free(c.storage_class);
    return rc;
}
