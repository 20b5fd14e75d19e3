/* SPDX-License-Identifier: Apache-2.0 */
/* Which volumes of pods are saved by filesystem backup. Source: Velero 1.18
 * internal/volumehelper/volume_policy_helper.go, pkg/podvolume/backupper.go. Unlike there, claims
 * with volumeMode Block are saved, too. */
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/strs.h"
#include "core/block.h"
#include "core/podvolumes.h"

enum { MAX_POD_VOLUMES = 100000 };

vmb_code vmbi_claim_key(const char *ns, const char *claim, vmbi_buf *out, vmb_error **err)
{
    vmbi_buf_reset(out);
    vmbi_buf_addf(out, "%s/%s", ns, claim);
    return vmbi_buf_check(out, err, "name of a claim");
}

void vmbi_pod_volume_free(vmbi_pod_volume *v)
{
    if (v == NULL) {
        return;
    }
    vmbi_free(v->ns);
    vmbi_free(v->pod);
    vmbi_free(v->pod_uid);
    vmbi_free(v->node);
    vmbi_free(v->volume);
    vmbi_free(v->claim);
    vmbi_free(v->claim_uid);
    vmbi_free(v->pv);
    vmbi_json_free(v->pv_info);
    vmbi_json_free(v->tags);
    vmb_free(v->document);
    vmb_free(v->result);
    vmb_error_free(v->why);
    vmbi_free(v);
}

/* ---- one volume of one pod ------------------------------------------------------------------- */

static const char *text_of(const vmbi_json *obj, const char *path)
{
    const char *s = vmbi_json_path_str(obj, path);
    return s != NULL ? s : "";
}

/* The claim behind a volume into out; false when there is none. The claim of an ephemeral volume is
 * called after its pod. */
static bool claim_of(const vmbi_json *pod, const vmbi_json *volume, vmbi_buf *out)
{
    const char *name = vmbi_json_path_str(volume, "persistentVolumeClaim.claimName");
    vmbi_buf_reset(out);
    if (name != NULL) {
        vmbi_buf_adds(out, name);
    } else if (vmbi_json_is_object(vmbi_json_get(volume, "ephemeral"))) {
        vmbi_buf_addf(out, "%s-%s", text_of(pod, "metadata.name"), text_of(volume, "name"));
    }
    return out->status == VMB_OK && out->len > 0;
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

/* Velero's opt-in and opt-out rules. */
static bool given_by_rules(const vmbi_backup *b, const vmbi_json *pod, const char *volume)
{
    bool by_default = vmbi_json_bool(
        vmbi_json_path(b->resource, "spec.defaultVolumesToFsBackup"), false);
    return by_default
               ? !annotation_names(pod, "backup.velero.io/backup-volumes-excludes", volume)
               : annotation_names(pod, "backup.velero.io/backup-volumes", volume);
}

/* Is the claim given to filesystem backup by this pod? *mounts: the pod uses it. */
static bool pod_gives(const vmbi_backup *b, const vmbi_json *pod, const char *claim, bool *mounts)
{
    vmbi_json *volumes = vmbi_json_path(pod, "spec.volumes");
    vmbi_buf name = VMBI_BUF_INIT(1024);
    bool gives = false;
    for (size_t i = 0; i < vmbi_json_len(volumes) && !gives; i++) {
        vmbi_json *volume = vmbi_json_at(volumes, i);
        if (claim_of(pod, volume, &name) && strcmp(name.data, claim) == 0) {
            *mounts = true;
            gives = given_by_rules(b, pod, text_of(volume, "name"));
        }
    }
    vmbi_buf_free(&name);
    return gives;
}

/* ---- claims, from the pods' side --------------------------------------------------------------- */

typedef struct pod_pass {
    const vmbi_backup *b;
    vmbi_strs *claims;
} pod_pass;

static vmb_code note_pod(void *user, const char *json, size_t len, vmb_error **err)
{
    pod_pass *pass = user;
    vmbi_json *pod = NULL;
    vmbi_buf claim = VMBI_BUF_INIT(1024);
    vmb_code rc = vmbi_json_parse(json, len, "pod", &pod, err);
    vmbi_json *volumes = vmbi_json_path(pod, "spec.volumes");
    for (size_t i = 0; i < vmbi_json_len(volumes) && rc == VMB_OK; i++) {
        vmbi_json *volume = vmbi_json_at(volumes, i);
        if (claim_of(pod, volume, &claim) &&
            given_by_rules(pass->b, pod, text_of(volume, "name")) &&
            !vmbi_strs_has(pass->claims, claim.data)) {
            rc = vmbi_strs_add(pass->claims, claim.data, err);
        }
    }
    vmbi_buf_free(&claim);
    vmbi_json_free(pod);
    return rc;
}

void vmbi_pod_volumes_free_claims(void *p)
{
    vmbi_strs *claims = p;
    vmbi_strs_free(claims);
    vmbi_free(claims);
}

/* The claims that the pods of a namespace give to filesystem backup; read once in a run. */
static vmb_code claims_of_namespace(vmbi_backup *b, const char *ns, const vmbi_strs **out,
                                    vmb_error **err)
{
    vmbi_strs *claims = vmbi_map_get(&b->fs_namespaces, ns);
    const vmbi_resource *res = vmbi_discovery_find(b->cluster.discovery, "", NULL, "pods");
    if (claims != NULL) {
        *out = claims;
        return VMB_OK;
    }
    claims = vmbi_zalloc(sizeof(*claims));
    if (claims == NULL) {
        return vmbi_fail_nomem(err);
    }
    pod_pass pass = {b, claims};
    struct vmb_item_sink sink = {note_pod, &pass};
    vmb_code rc = VMB_OK;
    if (res != NULL) {
        vmb_error *why = NULL;
        rc = vmbi_cluster_list(&b->cluster, &b->job, res, ns, NULL, b->ctx->settings.page_size,
                               &sink, &why);
        rc = rc == VMB_E_NOT_FOUND ? VMB_OK : rc;
        if (rc == VMB_OK) {
            vmb_error_free(why);
        } else {
            vmbi_error_move(err, &why);
        }
    }
    if (rc == VMB_OK) {
        rc = vmbi_map_set(&b->fs_namespaces, ns, claims, err);
    }
    if (rc != VMB_OK) {
        vmbi_pod_volumes_free_claims(claims);
        return rc;
    }
    *out = claims;
    return VMB_OK;
}

static bool is_shared(const vmbi_json *claim)
{
    vmbi_json *modes = vmbi_json_path(claim, "spec.accessModes");
    for (size_t i = 0; i < vmbi_json_len(modes); i++) {
        if (vmbi_streq(vmbi_json_str(vmbi_json_at(modes, i)), "ReadWriteMany")) {
            return true;
        }
    }
    return false;
}

vmb_code vmbi_claim_is_given(vmbi_backup *b, vmbi_block *blk, const vmbi_json *claim, bool *yes,
                             vmb_error **err)
{
    const char *ns = text_of(claim, "metadata.namespace");
    const char *name = text_of(claim, "metadata.name");
    bool mounted = false;
    *yes = false;
    for (size_t i = 0; i < blk->n && !*yes; i++) {
        const vmbi_json *pod = NULL;
        vmbi_block_item *it = &blk->v[i];
        if (it->is_pod && strcmp(it->ns, ns) == 0 && vmbi_block_tree(it, &pod, NULL) == VMB_OK) {
            *yes = pod_gives(b, pod, name, &mounted);
        }
    }
    /* pods that write to the claim are in its block; only where none is, or several may use the
     * claim on different nodes, others can still give it */
    if (*yes || (mounted && !is_shared(claim))) {
        return VMB_OK;
    }
    const vmbi_strs *claims = NULL;
    vmb_code rc = claims_of_namespace(b, ns, &claims, err);
    *yes = rc == VMB_OK && vmbi_strs_has(claims, name);
    return rc;
}

/* ---- the decision about a volume --------------------------------------------------------------- */

/* One volume of one pod, on its way through the decision. */
typedef struct volume_view {
    const vmbi_json *pod;
    const vmbi_json *volume;
    const char *ns;
    const char *pod_name;
    const char *name;
    const char *claim_name; /* NULL: none */
    vmbi_json *claim;       /* owned; NULL: none, not looked for yet, or it does not exist */
    vmbi_json *pv;          /* owned; the same */
} volume_view;

static vmb_code load_claim(vmbi_backup *b, vmbi_block *blk, volume_view *v, vmb_error **err)
{
    if (v->claim_name == NULL || v->claim != NULL) {
        return VMB_OK;
    }
    vmb_code rc = vmbi_volume_object(b, blk, "", "persistentvolumeclaims", v->ns, v->claim_name,
                                     &v->claim, err);
    if (rc == VMB_OK && v->claim == NULL) {
        rc = vmbi_fail(err, VMB_E_NOT_FOUND, "the claim %s does not exist", v->claim_name);
    }
    const char *pv = vmbi_json_path_str(v->claim, "spec.volumeName");
    if (rc == VMB_OK && pv != NULL && pv[0] != '\0') {
        rc = vmbi_volume_object(b, blk, "", "persistentvolumes", NULL, pv, &v->pv, err);
    }
    return rc;
}

/* Sources that are never saved; NULL: none of them. */
static const char *excluded_source(const vmbi_backup *b, const volume_view *v)
{
    static const char *const sources[] = {"hostPath", "secret", "configMap", "projected",
                                          "downwardAPI"};
    for (size_t i = 0; i < VMBI_ARRAY_LEN(sources); i++) {
        if (!vmbi_json_is_null(vmbi_json_get(v->volume, sources[i]))) {
            return sources[i];
        }
    }
    if (vmbi_starts_with(v->name, "default-token")) {
        return "service-account token";
    }
    const vmbi_resource *claims =
        vmbi_discovery_find(b->cluster.discovery, "", NULL, "persistentvolumeclaims");
    if (v->claim_name != NULL &&
        (claims == NULL || !vmbi_filter_wants_resource(b->filter, claims))) {
        return "persistentVolumeClaim, which the backup excludes,";
    }
    return NULL;
}

static void log_volume(vmbi_backup *b, const volume_view *v, int32_t level, const char *text)
{
    vmbi_log_fields f = {"pods", v->ns, v->pod_name, NULL};
    vmbi_runlog_add(&b->log, level, &f, "volume %s: %s", v->name, text);
}

/* Notes, as Velero words it, why a claim is not saved by filesystem backup. */
static vmb_code skip(vmbi_backup *b, const volume_view *v, int32_t level, const char *why,
                     vmb_error **err)
{
    log_volume(b, v, level, why);
    if (v->claim_name == NULL) {
        return VMB_OK;
    }
    vmbi_buf key = VMBI_BUF_INIT(1024);
    vmbi_buf text = VMBI_BUF_INIT(4096);
    char *reason = NULL;
    vmb_code rc = vmbi_claim_key(v->ns, v->claim_name, &key, err);
    vmbi_buf_addf(&text, "podvolume: pod %s: %s;", v->pod_name, why);
    if (rc == VMB_OK) {
        rc = vmbi_buf_take(&text, &reason, NULL, err, "reason");
    }
    if (rc == VMB_OK) {
        rc = vmbi_map_set(&b->fs_skips, key.data, reason, err);
    }
    if (rc != VMB_OK) {
        vmb_free(reason);
    }
    vmbi_buf_free(&key);
    vmbi_buf_free(&text);
    return rc;
}

static vmb_code ask_policy(vmbi_backup *b, vmbi_block *blk, volume_view *v, bool *yes,
                           vmb_error **err)
{
    vmb_code rc = load_claim(b, blk, v, err);
    if (rc != VMB_OK) {
        return rc;
    }
    vmbi_policy_volume known = {v->pv, v->claim, v->volume};
    vmbi_policy_action action = vmbi_policy_match(b->policy, &known);
    if (action == VMBI_POLICY_NONE) {
        *yes = given_by_rules(b, v->pod, v->name);
        return v->claim_name == NULL || v->pv != NULL
                   ? VMB_OK
                   : vmbi_fail(err, VMB_E_NOT_FOUND,
                               "no rule of the volume policy matches, and the claim %s has no "
                               "volume", v->claim_name);
    }
    *yes = action == VMBI_POLICY_FS_BACKUP;
    return *yes || action == VMBI_POLICY_SNAPSHOT
               ? VMB_OK
               : skip(b, v, VMB_LOG_INFO, "the volume policy skips it", err);
}

/* Is the volume to be saved by filesystem backup? */
static vmb_code wants(vmbi_backup *b, vmbi_block *blk, volume_view *v, bool *yes, vmb_error **err)
{
    const char *excluded = excluded_source(b, v);
    vmb_code rc = VMB_OK;
    if (b->policy != NULL && excluded == NULL) {
        return ask_policy(b, blk, v, yes, err);
    }
    *yes = given_by_rules(b, v->pod, v->name);
    if (excluded != NULL && *yes) {
        bool host = strcmp(excluded, "hostPath") == 0;
        *yes = false;
        log_volume(b, v, host ? VMB_LOG_WARNING : VMB_LOG_DEBUG,
                   host ? "hostPath volumes are not saved by filesystem backup"
                        : "volumes of this kind are not saved by filesystem backup");
    } else if (excluded == NULL && !*yes &&
               annotation_names(v->pod, "backup.velero.io/backup-volumes-excludes", v->name)) {
        rc = skip(b, v, VMB_LOG_DEBUG, "opted out by annotation", err);
    }
    return rc;
}

/* Why nothing of the pod can be saved; NULL: it runs. */
static const char *not_running(const vmbi_json *pod)
{
    if (vmbi_json_path(pod, "metadata.deletionTimestamp") != NULL) {
        return "the pod is being deleted, its volume is not saved";
    }
    if (text_of(pod, "spec.nodeName")[0] == '\0') {
        return "the pod is on no node, its volume is not saved";
    }
    return strcmp(text_of(pod, "status.phase"), "Running") != 0
               ? "the pod is not running, its volume is not saved"
               : NULL;
}

static bool names_volume(const vmbi_json *list, const char *volume)
{
    for (size_t i = 0; i < vmbi_json_len(list); i++) {
        if (vmbi_streq(vmbi_json_get_str(vmbi_json_at(list, i), "name"), volume)) {
            return true;
        }
    }
    return false;
}

/* Velero looks at regular containers only: a volume of none of them need not be there. */
static bool is_mounted(const vmbi_json *pod, const char *volume)
{
    vmbi_json *containers = vmbi_json_path(pod, "spec.containers");
    for (size_t i = 0; i < vmbi_json_len(containers); i++) {
        const vmbi_json *c = vmbi_json_at(containers, i);
        if (names_volume(vmbi_json_get(c, "volumeMounts"), volume) ||
            names_volume(vmbi_json_get(c, "volumeDevices"), volume)) {
            return true;
        }
    }
    return false;
}

static vmb_code is_taken(const vmbi_backup *b, const volume_view *v, bool *taken, vmb_error **err)
{
    vmbi_buf key = VMBI_BUF_INIT(1024);
    *taken = false;
    if (v->claim_name == NULL) {
        return VMB_OK;
    }
    vmb_code rc = vmbi_claim_key(v->ns, v->claim_name, &key, err);
    *taken = rc == VMB_OK && vmbi_map_has(&b->fs_claims, key.data);
    vmbi_buf_free(&key);
    return rc;
}

/* ---- taking a volume ----------------------------------------------------------------------------- */

/* The claim's fate hangs on the record from now on. */
static vmb_code keep_record(vmbi_backup *b, const volume_view *v, vmbi_pod_volume *record,
                            vmb_error **err)
{
    vmbi_buf key = VMBI_BUF_INIT(1024);
    vmbi_pod_volume **list = NULL;
    vmb_code rc = b->n_pod_volumes < MAX_POD_VOLUMES
                      ? VMB_OK
                      : vmbi_fail(err, VMB_E_LIMIT, "more than %d volumes", MAX_POD_VOLUMES);
    if (rc == VMB_OK) {
        list = vmbi_realloc_array(b->pod_volumes, b->n_pod_volumes + 1, sizeof(vmbi_pod_volume *));
        rc = list != NULL ? VMB_OK : vmbi_fail_nomem(err);
    }
    if (list != NULL) {
        b->pod_volumes = list;
    }
    if (rc == VMB_OK && v->claim_name != NULL) {
        rc = vmbi_claim_key(v->ns, v->claim_name, &key, err);
        rc = rc == VMB_OK ? vmbi_map_set(&b->fs_claims, key.data, record, err) : rc;
    }
    if (rc == VMB_OK) {
        b->pod_volumes[b->n_pod_volumes++] = record;
    }
    vmbi_buf_free(&key);
    return rc;
}

/* Saves what providers are asked about: may it be saved, and by whom? */
static vmb_code take(vmbi_backup *b, vmbi_block *blk, volume_view *v, vmb_error **err)
{
    bool taken = false;
    vmb_code rc = is_taken(b, v, &taken, err);
    if (rc == VMB_OK && taken) {
        log_volume(b, v, VMB_LOG_INFO, "its claim is saved through another pod");
        return VMB_OK;
    }
    rc = rc == VMB_OK ? load_claim(b, blk, v, err) : rc;
    if (rc == VMB_OK && !vmbi_json_is_null(vmbi_json_path(v->pv, "spec.hostPath"))) {
        return skip(b, v, VMB_LOG_WARNING, "hostPath volumes are not saved by filesystem backup",
                    err);
    }
    if (rc == VMB_OK && !is_mounted(v->pod, v->name)) {
        return skip(b, v, VMB_LOG_WARNING, "no container mounts it, it is not saved", err);
    }
    vmbi_pod_volume *record = NULL;
    if (rc == VMB_OK) {
        vmbi_pod_volume_parts parts = {v->pod, v->volume, v->claim, v->pv};
        rc = vmbi_pod_volume_new(b, &parts, &record, err);
    }
    if (rc == VMB_OK) {
        rc = keep_record(b, v, record, err);
    }
    if (rc != VMB_OK) {
        vmbi_pod_volume_free(record);
    }
    return rc;
}

/* What could not be begun still stands for its claim, which must not be stored without data. */
static vmb_code refuse(vmbi_backup *b, const volume_view *v, const vmb_error *why, vmb_error **err)
{
    vmbi_runlog_error(&b->log, "pods", v->ns, v->pod_name, why,
                      "volume %s cannot be saved by filesystem backup", v->name);
    if (v->claim_name == NULL) {
        return VMB_OK;
    }
    vmbi_pod_volume *record = vmbi_zalloc(sizeof(*record));
    if (record == NULL) {
        return vmbi_fail_nomem(err);
    }
    record->state = VMBI_FS_REFUSED;
    vmb_code rc = keep_record(b, v, record, err);
    if (rc != VMB_OK) {
        vmbi_pod_volume_free(record);
    }
    return rc;
}

static vmb_code choose_volume(vmbi_backup *b, vmbi_block *blk, volume_view *v, bool *drop,
                              vmb_error **err)
{
    bool yes = false;
    vmb_error *why = NULL;
    const char *idle = not_running(v->pod);
    vmb_code rc = wants(b, blk, v, &yes, &why);
    if (rc == VMB_OK && yes) {
        rc = idle != NULL ? skip(b, v, VMB_LOG_WARNING, idle, &why) : take(b, blk, v, &why);
    }
    if (rc != VMB_OK && !vmbi_backup_is_over(b, rc)) {
        *drop = true;
        rc = refuse(b, v, why, err);
        vmb_error_free(why);
    } else {
        vmbi_error_move(err, &why);
    }
    vmbi_json_free(v->claim);
    vmbi_json_free(v->pv);
    return rc;
}

vmb_code vmbi_pod_volumes_choose(vmbi_backup *b, vmbi_block *blk, const vmbi_json *pod, bool *drop,
                                 vmb_error **err)
{
    vmbi_json *volumes = vmbi_json_path(pod, "spec.volumes");
    vmbi_buf claim = VMBI_BUF_INIT(1024);
    vmb_code rc = VMB_OK;
    for (size_t i = 0; i < vmbi_json_len(volumes) && rc == VMB_OK; i++) {
        volume_view v = {.pod = pod, .volume = vmbi_json_at(volumes, i)};
        v.ns = text_of(pod, "metadata.namespace");
        v.pod_name = text_of(pod, "metadata.name");
        v.name = text_of(v.volume, "name");
        v.claim_name = claim_of(pod, v.volume, &claim) ? claim.data : NULL;
        rc = choose_volume(b, blk, &v, drop, err);
    }
    vmbi_buf_free(&claim);
    return rc;
}
