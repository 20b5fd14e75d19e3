/* SPDX-License-Identifier: Apache-2.0 */
/* DataVolumes and claims: marks by which CDI and the KubeVirt plugin know at a restore that a disk
 * is filled already. Source: kubevirt-velero-plugin 0.9 pkg/plugin/dv_backup_item_action.go,
 * pvc_backup_item_action.go. Difference: a DataVolume that is gone does not fail its claim. */
#include <string.h>

#include "base/error.h"
#include "providers/actions_kubevirt/graph.h"
#include "providers/common/objects.h"

static bool succeeded(const vmbi_json *dv)
{
    return vmbi_streq(vmbi_json_path_str(dv, "status.phase"), "Succeeded");
}

static vmb_code data_volume_backup(vmb_job *job, vmbi_json *dv, vmb_action_result *result,
                                   vmb_error **err)
{
    (void)job;
    if (!succeeded(dv)) {
        return VMB_OK;
    }
    const char *claim = vmbi_json_path_str(dv, "status.claimName");
    if (!vmbi_set_annotation(dv, "cdi.kubevirt.io/storage.prePopulated", vmbi_name_of(dv))) {
        return vmbi_fail_nomem(err);
    }
    vmb_code code = vmb_action_result_add_related(
        result, "", "persistentvolumeclaims", vmbi_namespace_of(dv),
        claim != NULL && claim[0] != '\0' ? claim : vmbi_name_of(dv), 0, err);
    return code == VMB_OK ? vmbi_result_set_tree(result, dv, err) : code;
}

static const char *owning_data_volume(const vmbi_json *claim)
{
    const vmbi_json *owners = vmbi_json_path(claim, "metadata.ownerReferences");
    for (size_t i = 0; i < vmbi_json_len(owners); i++) {
        const vmbi_json *o = vmbi_json_at(owners, i);
        const char *version = vmbi_json_get_str(o, "apiVersion");
        if (vmbi_streq(vmbi_json_get_str(o, "kind"), "DataVolume") && version != NULL &&
            vmbi_starts_with(version, VMBI_CDI_GROUP "/")) {
            return vmbi_json_get_str(o, "name");
        }
    }
    return NULL;
}

static vmb_code mark_population(vmb_job *job, vmbi_json *claim, vmb_error **err)
{
    const char *name = owning_data_volume(claim);
    vmbi_json *dv = NULL;
    vmb_error *local = NULL;
    if (name == NULL || !vmbi_served(job, VMBI_CDI_GROUP, "datavolumes")) {
        return VMB_OK;
    }
    vmb_code code =
        vmbi_fetch(job, VMBI_CDI_GROUP, "datavolumes", vmbi_namespace_of(claim), name, &dv, &local);
    if (code == VMB_E_NOT_FOUND) { /* collected after the import: the claim speaks for itself */
        vmb_error_free(local);
        return VMB_OK;
    }
    vmbi_error_move(err, &local);
    if (code == VMB_OK &&
        !vmbi_set_annotation(claim,
                             succeeded(dv) ? "cdi.kubevirt.io/storage.populatedFor"
                                           : "kvp.kubevirt.io/storage.inprogress",
                             name)) {
        code = vmbi_fail_nomem(err);
    }
    vmbi_json_free(dv);
    return code;
}

/* A label by which a restore can select one claim; what the user had there is kept aside. */
static bool mark_uid(vmbi_json *claim)
{
    static const char label[] = "velero.kubevirt.io/pvc-uid";
    const char *uid = vmbi_json_path_str(claim, "metadata.uid");
    const char *former = vmbi_label_of(claim, label);
    bool ok = true;
    if (uid == NULL || uid[0] == '\0') {
        return true;
    }
    if (former != NULL) {
        ok = vmbi_set_annotation(claim, "velero.kubevirt.io/original-pvc-uid", former);
    }
    return ok && vmbi_set_label(claim, label, uid);
}

static vmb_code claim_backup(vmb_job *job, vmbi_json *claim, vmb_action_result *result,
                             vmb_error **err)
{
    vmb_code code = mark_population(job, claim, err);
    if (code == VMB_OK && !mark_uid(claim)) {
        code = vmbi_fail_nomem(err);
    }
    return code == VMB_OK ? vmbi_result_set_tree(result, claim, err) : code;
}

static vmb_code disk_backup(void *user, vmb_job *job, const char *group, const char *resource,
                            const char *item, size_t len, vmb_action_result *result,
                            vmb_error **err)
{
    vmbi_json *obj = NULL;
    (void)user;
    (void)resource;
    vmb_code code = vmbi_json_parse(item, len, "disk", &obj, err);
    if (code == VMB_OK) {
        code = vmbi_streq(group, VMBI_CDI_GROUP) ? data_volume_backup(job, obj, result, err)
                                                 : claim_backup(job, obj, result, err);
    }
    vmbi_json_free(obj);
    return code;
}

vmb_code vmbi_disks_action(vmb_action_provider *out, vmb_error **err)
{
    (void)err; /* nothing can fail */
    memset(out, 0, sizeof *out);
    out->struct_size = sizeof *out;
    out->api_version = VMB_PROVIDER_API;
    out->name = "actions.kubevirt/disks";
    out->applies_to = "datavolumes.cdi.kubevirt.io,persistentvolumeclaims";
    out->backup = disk_backup;
    return VMB_OK;
}
