/* SPDX-License-Identifier: Apache-2.0 */
/* What the run's Backup takes in, seen from a virtual machine. Source: kubevirt-velero-plugin 0.9
 * pkg/util/util.go; differences: the short names of kubectl, "*", and the scoped filters of
 * Velero 1.11 are understood too. */
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "providers/actions_kubevirt/graph.h"
#include "providers/common/objects.h"

typedef struct resource_names {
    const char *singular;
    const char *short_name;
} resource_names;

static const resource_names names[] = {
    [VMBI_RES_VM] = {"virtualmachine", "vm"}, [VMBI_RES_VMI] = {"virtualmachineinstance", "vmi"},
    [VMBI_RES_POD] = {"pod", "po"},           [VMBI_RES_PVC] = {"persistentvolumeclaim", "pvc"},
    [VMBI_RES_DV] = {"datavolume", "dv"},
};

vmb_code vmbi_backup_of(const vmb_job *job, vmbi_json **out, vmb_error **err)
{
    const char *text = vmb_job_backup_json(job);
    if (text == NULL) {
        *out = NULL;
        return VMB_OK;
    }
    return vmbi_json_parse(text, strlen(text), "backup", out, err);
}

/* Compares the part before the group, without case, with or without an 's' at the end. */
static bool word_is(const char *written, const char *name)
{
    size_t len = strcspn(written, ".");
    size_t want = strlen(name);
    if (len == want + 1 && vmbi_lower(written[len - 1]) == 's') {
        len--;
    }
    if (len != want) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        if (vmbi_lower(written[i]) != name[i]) {
            return false;
        }
    }
    return true;
}

static bool listed(const vmbi_json *spec, const char *field, int resource)
{
    const vmbi_json *list = vmbi_json_get(spec, field);
    for (size_t i = 0; i < vmbi_json_len(list); i++) {
        const char *word = vmbi_json_str(vmbi_json_at(list, i));
        if (word != NULL && (vmbi_streq(word, "*") || word_is(word, names[resource].singular) ||
                             word_is(word, names[resource].short_name))) {
            return true;
        }
    }
    return false;
}

static bool filtered(const vmbi_json *spec, const char *included, const char *excluded,
                     int resource)
{
    return (vmbi_json_len(vmbi_json_get(spec, included)) > 0 &&
            !listed(spec, included, resource)) ||
           listed(spec, excluded, resource);
}

bool vmbi_backup_includes(const vmbi_json *backup, int resource)
{
    const vmbi_json *spec = vmbi_json_get(backup, "spec");
    return !filtered(spec, "includedResources", "excludedResources", resource) &&
           !filtered(spec, "includedNamespaceScopedResources", "excludedNamespaceScopedResources",
                     resource);
}

bool vmbi_backup_metadata_only(const vmbi_json *backup)
{
    return vmbi_json_get(vmbi_json_path(backup, "metadata.labels"),
                         "velero.kubevirt.io/metadataBackup") != NULL;
}

bool vmbi_opted_out(const vmbi_json *obj)
{
    return vmbi_streq(vmbi_label_of(obj, "velero.io/exclude-from-backup"), "true");
}

/* ---- volumes --------------------------------------------------------------------------------- */

static bool has_template(const vmbi_json *templates, const char *name)
{
    for (size_t i = 0; i < vmbi_json_len(templates); i++) {
        if (vmbi_streq(vmbi_name_of(vmbi_json_at(templates, i)), name)) {
            return true;
        }
    }
    return false;
}

static vmb_code left_out(vmb_error **err, const char *ns, const char *machine, const char *what,
                         const char *name, const char *why)
{
    return vmbi_fail(err, VMB_E_INVALID,
                     "virtual machine %s/%s would not be restored correctly: %s %s is %s", ns,
                     machine, what, name, why);
}

/* Fetches an object that may be absent: *out NULL then. */
static vmb_code fetch_if_there(vmb_job *job, const char *group, const char *resource,
                               const char *ns, const char *name, vmbi_json **out, vmb_error **err)
{
    vmb_error *local = NULL;
    if (vmb_job_cluster(job) == NULL || (group[0] != '\0' && !vmbi_served(job, group, resource))) {
        *out = NULL;
        return VMB_OK;
    }
    vmb_code code = vmbi_fetch(job, group, resource, ns, name, out, &local);
    if (code == VMB_E_NOT_FOUND) {
        vmb_error_free(local);
        *out = NULL;
        return VMB_OK;
    }
    vmbi_error_move(err, &local);
    return code;
}

static vmb_code check_claim(vmb_job *job, const vmbi_json *backup, const char *ns,
                            const char *machine, const char *name, vmb_error **err)
{
    vmbi_json *claim = NULL;
    if (!vmbi_backup_includes(backup, VMBI_RES_PVC)) {
        return left_out(err, ns, machine, "claim", name, "not among the resources of the backup");
    }
    vmb_code code = fetch_if_there(job, "", "persistentvolumeclaims", ns, name, &claim, err);
    if (code == VMB_OK && claim != NULL && vmbi_opted_out(claim)) {
        code = left_out(err, ns, machine, "claim", name, "excluded by its label");
    }
    vmbi_json_free(claim);
    return code;
}

static vmb_code check_data_volume(vmb_job *job, const vmbi_json *backup, const char *ns,
                                  const char *machine, const char *name, vmb_error **err)
{
    vmbi_json *dv = NULL;
    vmb_code code = fetch_if_there(job, VMBI_CDI_GROUP, "datavolumes", ns, name, &dv, err);
    if (code != VMB_OK) {
        return code;
    }
    if (dv == NULL) { /* collected after the import: the claim stands for it */
        return check_claim(job, backup, ns, machine, name, err);
    }
    if (!vmbi_backup_includes(backup, VMBI_RES_DV)) {
        code =
            left_out(err, ns, machine, "DataVolume", name, "not among the resources of the backup");
    } else if (vmbi_opted_out(dv)) {
        code = left_out(err, ns, machine, "DataVolume", name, "excluded by its label");
    }
    vmbi_json_free(dv);
    return code;
}

vmb_code vmbi_check_volumes(vmb_job *job, const vmbi_json *backup, const char *ns,
                            const char *machine, const vmbi_json *vmi_spec,
                            const vmbi_json *own_templates, vmb_error **err)
{
    const vmbi_json *volumes = vmbi_json_get(vmi_spec, "volumes");
    vmb_code code = VMB_OK;
    for (size_t i = 0; code == VMB_OK && i < vmbi_json_len(volumes); i++) {
        const vmbi_json *v = vmbi_json_at(volumes, i);
        const char *dv = vmbi_json_path_str(v, "dataVolume.name");
        const char *claim = vmbi_json_path_str(v, "persistentVolumeClaim.claimName");
        if (dv != NULL && dv[0] != '\0' && !has_template(own_templates, dv)) {
            code = check_data_volume(job, backup, ns, machine, dv, err);
        } else if (claim != NULL && claim[0] != '\0') {
            code = check_claim(job, backup, ns, machine, claim, err);
        }
    }
    return code;
}
