/* SPDX-License-Identifier: Apache-2.0 */
/* A VirtualMachineInstance, alone or owned by a machine.
 * Source: kubevirt-velero-plugin 0.9 pkg/plugin/vmi_backup_item_action.go. Difference: only an
 * owner of kind VirtualMachine counts; an instance of a replica set stands alone. */
#include <string.h>

#include "base/error.h"
#include "providers/actions_kubevirt/graph.h"
#include "providers/common/objects.h"

typedef struct vmi_view {
    vmb_job *job;
    vmbi_json *backup; /* NULL outside a backup */
    vmbi_json *vmi;
    vmbi_json *launcher; /* NULL: none found */
    const char *owner;   /* name of the machine; NULL: none */
} vmi_view;

static const char *owning_machine(const vmbi_json *vmi)
{
    const vmbi_json *owners = vmbi_json_path(vmi, "metadata.ownerReferences");
    for (size_t i = 0; i < vmbi_json_len(owners); i++) {
        const vmbi_json *o = vmbi_json_at(owners, i);
        const char *version = vmbi_json_get_str(o, "apiVersion");
        if (vmbi_streq(vmbi_json_get_str(o, "kind"), "VirtualMachine") && version != NULL &&
            vmbi_starts_with(version, VMBI_KUBEVIRT_GROUP "/")) {
            return vmbi_json_get_str(o, "name");
        }
    }
    return NULL;
}

static bool is_paused(const vmbi_json *vmi)
{
    const vmbi_json *conditions = vmbi_json_path(vmi, "status.conditions");
    for (size_t i = 0; i < vmbi_json_len(conditions); i++) {
        const vmbi_json *c = vmbi_json_at(conditions, i);
        if (vmbi_streq(vmbi_json_get_str(c, "type"), "Paused")) {
            return vmbi_streq(vmbi_json_get_str(c, "status"), "True");
        }
    }
    return false;
}

/* Is there a guest that could write while its disks are copied? */
static bool is_live(const vmbi_json *vmi)
{
    const char *phase = vmbi_json_path_str(vmi, "status.phase");
    return vmbi_streq(phase, "Running") && !is_paused(vmi);
}

static vmb_code unsafe(vmb_error **err, const vmi_view *v, const char *why)
{
    return vmbi_fail(err, VMB_E_INVALID,
                     "virtual machine instance %s/%s cannot be safely backed up: %s",
                     vmbi_namespace_of(v->vmi), vmbi_name_of(v->vmi), why);
}

/* Without its machine an owned instance is of no use: it would be restored by nobody. */
static vmb_code owner_left_out(const vmi_view *v, bool *yes, vmb_error **err)
{
    vmb_error *local = NULL;
    vmbi_json *vm = NULL;
    *yes = !vmbi_backup_includes(v->backup, VMBI_RES_VM);
    if (*yes || vmb_job_cluster(v->job) == NULL) {
        return VMB_OK;
    }
    vmb_code code = vmbi_fetch(v->job, VMBI_KUBEVIRT_GROUP, "virtualmachines",
                               vmbi_namespace_of(v->vmi), v->owner, &vm, &local);
    if (code == VMB_E_NOT_FOUND) {
        vmb_error_free(local);
        return VMB_OK;
    }
    *yes = code == VMB_OK && vmbi_opted_out(vm);
    vmbi_json_free(vm);
    vmbi_error_move(err, &local);
    return code;
}

static vmb_code check_live(const vmi_view *v, vmb_error **err)
{
    if (v->backup == NULL || !is_live(v->vmi)) {
        return VMB_OK;
    }
    bool disks = vmbi_backup_includes(v->backup, VMBI_RES_PVC);
    if (disks && !vmbi_backup_includes(v->backup, VMBI_RES_POD)) {
        return unsafe(err, v, "it runs, and pods are not in the backup while its claims are");
    }
    if (vmb_job_cluster(v->job) != NULL && v->launcher == NULL) {
        return unsafe(err, v, "it runs, and its launcher pod was not found");
    }
    if (v->launcher != NULL && vmbi_opted_out(v->launcher)) {
        return unsafe(err, v, "it runs, and its launcher pod is excluded by label");
    }
    return VMB_OK;
}

static vmb_code relate(const vmi_view *v, vmb_action_result *result, vmb_error **err)
{
    vmbi_vm_refs refs;
    const vmbi_json *spec = vmbi_json_get(v->vmi, "spec");
    vmb_code code = VMB_OK;
    vmbi_vm_refs_init(&refs, v->job, vmbi_namespace_of(v->vmi), result);
    if (v->launcher != NULL) {
        code = vmbi_vm_refs_add(&refs, "", "pods", refs.ns, vmbi_name_of(v->launcher), 0, err);
    }
    if (code == VMB_OK) {
        code = vmbi_vm_refs_add_spec(&refs, spec, err);
    }
    if (code == VMB_OK && vmbi_vm_has_state(spec)) {
        code = vmbi_vm_refs_add_state(&refs, vmbi_name_of(v->vmi), err);
    }
    vmbi_vm_refs_done(&refs);
    return code;
}

/* The restore action of the KubeVirt plugin leaves instances with this mark to their machine. */
static vmb_code mark_owned(const vmi_view *v, vmb_action_result *result, vmb_error **err)
{
    if (!vmbi_set_annotation(v->vmi, "cdi.kubevirt.io/velero.isOwned", "true")) {
        return vmbi_fail_nomem(err);
    }
    return vmbi_result_set_tree(result, v->vmi, err);
}

static vmb_code handle(vmi_view *v, vmb_action_result *result, vmb_error **err)
{
    bool drop = false;
    vmb_code code = VMB_OK;
    v->owner = owning_machine(v->vmi);
    if (v->owner != NULL && v->backup != NULL) {
        code = owner_left_out(v, &drop, err);
    }
    if (code == VMB_OK && drop) {
        vmbi_job_logf(v->job, VMB_LOG_INFO,
                      "virtual machine instance %s/%s is left out with its machine",
                      vmbi_namespace_of(v->vmi), vmbi_name_of(v->vmi));
        vmb_action_result_skip(result);
        return VMB_OK;
    }
    if (code == VMB_OK) {
        code = vmbi_launcher_find(v->job, v->vmi, &v->launcher, err);
    }
    if (code == VMB_OK) {
        code = check_live(v, err);
    }
    if (code == VMB_OK && v->owner != NULL) {
        code = mark_owned(v, result, err);
    } else if (code == VMB_OK && v->backup != NULL && !vmbi_backup_metadata_only(v->backup)) {
        code = vmbi_check_volumes(v->job, v->backup, vmbi_namespace_of(v->vmi),
                                  vmbi_name_of(v->vmi), vmbi_json_get(v->vmi, "spec"), NULL, err);
    }
    return code == VMB_OK ? relate(v, result, err) : code;
}

static vmb_code vmi_backup(void *user, vmb_job *job, const char *group, const char *resource,
                           const char *item, size_t len, vmb_action_result *result, vmb_error **err)
{
    vmi_view v;
    (void)user;
    (void)group;
    (void)resource;
    memset(&v, 0, sizeof v);
    v.job = job;
    vmb_code code = vmbi_json_parse(item, len, "virtual machine instance", &v.vmi, err);
    if (code == VMB_OK) {
        code = vmbi_backup_of(job, &v.backup, err);
    }
    if (code == VMB_OK) {
        code = handle(&v, result, err);
    }
    vmbi_json_free(v.backup);
    vmbi_json_free(v.vmi);
    vmbi_json_free(v.launcher);
    return code;
}

vmb_code vmbi_vmi_action(vmb_action_provider *out, vmb_error **err)
{
    (void)err; /* nothing can fail */
    memset(out, 0, sizeof *out);
    out->struct_size = sizeof *out;
    out->api_version = VMB_PROVIDER_API;
    out->name = "actions.kubevirt/instances";
    out->applies_to = "virtualmachineinstances.kubevirt.io";
    out->backup = vmi_backup;
    return VMB_OK;
}
