/* SPDX-License-Identifier: Apache-2.0 */
/* Claims: the volume behind them, the pods that write to them, and what a restored claim must not
 * carry. Source: Velero 1.18 pkg/backup/actions/backup_pv_action.go,
 * pkg/itemblock/actions/pvc_action.go. */
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/map.h"
#include "providers/actions_kubernetes/actions.h"
#include "providers/common/objects.h"
#include "providers/common/runcache.h"

/* Pods come and go while a backup runs: a launcher pod after a live migration must still be found,
 * or its guest would not be frozen. */
#define PODS_MAX_AGE (10 * VMBI_SECOND)

static const char group_label[] = "velero.io/volume-group";

/* ---- running pods of a namespace by claim ---------------------------------------------------- */

static void free_names(void *p)
{
    vmbi_strs *names = p;
    vmbi_strs_free(names);
    vmbi_free(names);
}

static void free_claim_map(void *p)
{
    vmbi_map_free(p);
    vmbi_free(p);
}

static vmb_code note_pod(vmbi_map *by_claim, const char *claim, const char *pod, vmb_error **err)
{
    vmbi_strs *names = vmbi_map_get(by_claim, claim);
    if (names == NULL) {
        names = vmbi_zalloc(sizeof *names);
        if (names == NULL) {
            return vmbi_fail_nomem(err);
        }
        vmb_code code = vmbi_map_set(by_claim, claim, names, err);
        if (code != VMB_OK) {
            free_names(names);
            return code;
        }
    }
    return vmbi_strs_has(names, pod) ? VMB_OK : vmbi_strs_add(names, pod, err);
}

static vmb_code note_volumes(vmbi_map *by_claim, const vmbi_json *pod, vmb_error **err)
{
    const vmbi_json *volumes = vmbi_json_path(pod, "spec.volumes");
    const char *name = vmbi_name_of(pod);
    vmb_code code = VMB_OK;
    for (size_t i = 0; code == VMB_OK && i < vmbi_json_len(volumes); i++) {
        const vmbi_json *v = vmbi_json_at(volumes, i);
        const char *claim = vmbi_json_path_str(v, "persistentVolumeClaim.claimName");
        if (claim != NULL && claim[0] != '\0') {
            code = note_pod(by_claim, claim, name, err);
        } else if (vmbi_json_is_object(vmbi_json_get(v, "ephemeral"))) {
            const char *volume = vmbi_json_get_str(v, "name");
            vmbi_buf owned = VMBI_BUF_INIT(1024);
            vmbi_buf_addf(&owned, "%s-%s", name, volume != NULL ? volume : "");
            code = vmbi_buf_check(&owned, err, "claim name");
            if (code == VMB_OK) {
                code = note_pod(by_claim, owned.data, name, err);
            }
            vmbi_buf_free(&owned);
        }
    }
    return code;
}

/* key is the namespace. */
static vmb_code make_claim_map(vmb_job *job, const char *key, void **value, vmb_error **err)
{
    vmbi_json *pods = NULL;
    vmbi_map *by_claim = NULL;
    vmb_code code = vmbi_fetch_list(job, "", "pods", key, NULL, &pods, err);
    if (code != VMB_OK) {
        return vmbi_wrap(err, code, "list pods in %s", key);
    }
    by_claim = vmbi_zalloc(sizeof *by_claim);
    if (by_claim == NULL) {
        code = vmbi_fail_nomem(err);
        goto out;
    }
    by_claim->free_value = free_names;
    for (size_t i = 0; code == VMB_OK && i < vmbi_json_len(pods); i++) {
        const vmbi_json *pod = vmbi_json_at(pods, i);
        if (vmbi_streq(vmbi_json_path_str(pod, "status.phase"), "Running") &&
            vmbi_json_path(pod, "metadata.deletionTimestamp") == NULL) {
            code = note_volumes(by_claim, pod, err);
        }
    }
out:
    vmbi_json_free(pods);
    if (code != VMB_OK) {
        if (by_claim != NULL) {
            free_claim_map(by_claim);
        }
        return code;
    }
    *value = by_claim;
    return VMB_OK;
}

/* ---- relations ------------------------------------------------------------------------------- */

static vmb_code relate_pods(vmbi_run_cache *cache, vmb_job *job, const vmbi_json *claim,
                            vmb_action_result *result, vmb_error **err)
{
    vmbi_cached *cached = NULL;
    if (vmb_job_cluster(job) == NULL) {
        return VMB_OK;
    }
    vmb_code code = vmbi_run_cache_get(cache, job, vmbi_namespace_of(claim), &cached, err);
    if (code != VMB_OK) {
        return code;
    }
    const vmbi_strs *pods = vmbi_map_get(vmbi_cached_value(cached), vmbi_name_of(claim));
    for (size_t i = 0; code == VMB_OK && pods != NULL && i < pods->n; i++) {
        code = vmb_action_result_add_related(result, "", "pods", vmbi_namespace_of(claim),
                                             pods->v[i], VMB_RELATED_OPTIONAL, err);
    }
    vmbi_cached_unref(cached);
    return code;
}

/* Key of the label that ties claims together; the Backup may choose another. */
static vmb_code group_key(vmb_job *job, char **out, vmb_error **err)
{
    const char *text = vmb_job_backup_json(job);
    vmbi_json *backup = NULL;
    const char *key = NULL;
    if (text != NULL) {
        vmb_code code = vmbi_json_parse(text, strlen(text), "backup", &backup, err);
        if (code != VMB_OK) {
            return code;
        }
        key = vmbi_json_path_str(backup, "spec.volumeGroupSnapshotLabelKey");
    }
    *out = vmbi_strdup(key != NULL && key[0] != '\0' ? key : group_label);
    vmbi_json_free(backup);
    return *out != NULL ? VMB_OK : vmbi_fail_nomem(err);
}

/* Claims of one volume group belong together: their snapshots should be close in time. */
static vmb_code relate_group(vmb_job *job, const vmbi_json *claim, vmb_action_result *result,
                             vmb_error **err)
{
    char *key = NULL;
    vmbi_json *others = NULL;
    vmbi_buf selector = VMBI_BUF_INIT(1024);
    vmb_code code = group_key(job, &key, err);
    const char *value = code == VMB_OK ? vmbi_label_of(claim, key) : NULL;
    if (value == NULL || value[0] == '\0' || vmb_job_cluster(job) == NULL) {
        goto out;
    }
    vmbi_buf_addf(&selector, "%s=%s", key, value);
    code = vmbi_buf_check(&selector, err, "selector");
    if (code == VMB_OK) {
        code = vmbi_fetch_list(job, "", "persistentvolumeclaims", vmbi_namespace_of(claim),
                               selector.data, &others, err);
    }
    for (size_t i = 0; code == VMB_OK && i < vmbi_json_len(others); i++) {
        const char *name = vmbi_name_of(vmbi_json_at(others, i));
        if (!vmbi_streq(name, vmbi_name_of(claim))) {
            code = vmb_action_result_add_related(result, "", "persistentvolumeclaims",
                                                 vmbi_namespace_of(claim), name,
                                                 VMB_RELATED_OPTIONAL, err);
        }
    }
out:
    vmbi_json_free(others);
    vmbi_buf_free(&selector);
    vmbi_free(key);
    return code;
}

/* ---- the claim for the archive ----------------------------------------------------------------
 */

/* Labels by which Velero chose a volume at an earlier restore would pin the new claim to it. */
static void clean_selector(vmbi_json *spec)
{
    static const char prefix[] = "velero.io/";
    if (!vmbi_streq(vmbi_json_get_str(spec, "storageClassName"), "")) {
        vmbi_json_del(spec, "selector");
        return;
    }
    vmbi_json *labels = vmbi_json_path(spec, "selector.matchLabels");
    bool found = true;
    while (found) { /* an iterator does not survive a removal */
        found = false;
        for (void *it = vmbi_json_iter(labels); it != NULL && !found;
             it = vmbi_json_iter_next(labels, it)) {
            if (vmbi_starts_with(vmbi_json_iter_key(it), prefix)) {
                char *key = vmbi_strdup(vmbi_json_iter_key(it));
                found = key != NULL;
                if (found) {
                    vmbi_json_del(labels, key);
                }
                vmbi_free(key);
                break;
            }
        }
    }
}

static void clean_claim(const vmb_job *job, vmbi_json *claim)
{
    vmbi_json *spec = vmbi_json_get(claim, "spec");
    vmbi_json *labels = vmbi_json_path(claim, "metadata.labels");
    char backup[VMBI_LABEL_SIZE];
    vmbi_json_del(spec, "dataSource");
    vmbi_json_del(spec, "dataSourceRef");
    clean_selector(spec);
    vmbi_json_del(labels, "velero.io/restore-name");
    vmbi_json_del(labels, "velero.io/volume-snapshot-name");
    vmbi_label_safe(vmb_job_backup_name(job), backup);
    const char *made_by = vmbi_json_get_str(labels, "velero.io/backup-name");
    if (made_by != NULL && !vmbi_streq(made_by, backup)) {
        vmbi_json_del(labels, "velero.io/backup-name");
    }
}

static vmb_code bound_claim(vmbi_run_cache *cache, vmb_job *job, vmbi_json *claim,
                            vmb_action_result *result, vmb_error **err)
{
    const char *volume = vmbi_json_path_str(claim, "spec.volumeName");
    vmb_code code =
        vmb_action_result_add_related(result, "", "persistentvolumes", NULL, volume, 0, err);
    if (code == VMB_OK) {
        code = relate_pods(cache, job, claim, result, err);
    }
    if (code == VMB_OK) {
        code = relate_group(job, claim, result, err);
    }
    if (code == VMB_OK) {
        clean_claim(job, claim);
        code = vmbi_result_set_tree(result, claim, err);
    }
    return code;
}

static vmb_code claim_backup(void *user, vmb_job *job, const char *group, const char *resource,
                             const char *item, size_t len, vmb_action_result *result,
                             vmb_error **err)
{
    vmbi_json *claim = NULL;
    (void)group;
    (void)resource;
    vmb_code code = vmbi_json_parse(item, len, "claim", &claim, err);
    if (code != VMB_OK) {
        return code;
    }
    const char *volume = vmbi_json_path_str(claim, "spec.volumeName");
    if (vmbi_streq(vmbi_json_path_str(claim, "status.phase"), "Bound") && volume != NULL &&
        volume[0] != '\0') {
        code = bound_claim(user, job, claim, result, err);
    }
    vmbi_json_free(claim);
    return code;
}

static void claims_destroy(void *user)
{
    vmbi_run_cache_free(user);
}

vmb_code vmbi_claims_action(vmb_action_provider *out, vmb_error **err)
{
    vmbi_run_cache *cache = NULL;
    vmb_code code = vmbi_run_cache_new(make_claim_map, free_claim_map, PODS_MAX_AGE, &cache, err);
    if (code != VMB_OK) {
        return code;
    }
    memset(out, 0, sizeof *out);
    out->struct_size = sizeof *out;
    out->api_version = VMB_PROVIDER_API;
    out->name = "actions.kubernetes/claims";
    out->user = cache;
    out->destroy = claims_destroy;
    out->applies_to = "persistentvolumeclaims";
    out->backup = claim_backup;
    return VMB_OK;
}
