/* SPDX-License-Identifier: Apache-2.0 */
/* What the actions of this folder share: references of a machine's spec, what the Backup takes in,
 * and finding the pod that runs a machine. Private to this provider.
 * Source: KubeVirt 1.9 staging/src/kubevirt.io/api/core/v1/schema.go, kubevirt-velero-plugin 0.9
 * pkg/util/kvgraph. */
#ifndef VMBI_ACTIONS_KUBEVIRT_GRAPH_H
#define VMBI_ACTIONS_KUBEVIRT_GRAPH_H

#include <vmbackup/provider.h>

#include "base/map.h"
#include "codec/json.h"

#define VMBI_KUBEVIRT_GROUP "kubevirt.io"
#define VMBI_CDI_GROUP "cdi.kubevirt.io"

/* ---- references (references.c) ---- */

/* Collects related objects, each once. */
typedef struct vmbi_vm_refs {
    vmb_job *job;
    const char *ns; /* of the machine */
    vmb_action_result *result;
    vmbi_map seen;
} vmbi_vm_refs;

void vmbi_vm_refs_init(vmbi_vm_refs *r, vmb_job *job, const char *ns, vmb_action_result *result);
void vmbi_vm_refs_done(vmbi_vm_refs *r);
/* Adds one object unless it was added before or the cluster does not serve its resource. */
vmb_code vmbi_vm_refs_add(vmbi_vm_refs *r, const char *group, const char *resource, const char *ns,
                          const char *name, uint32_t flags, vmb_error **err);
/* The claim of a disk and the DataVolume of the same name, which may be gone. */
vmb_code vmbi_vm_refs_add_disk(vmbi_vm_refs *r, const char *name, vmb_error **err);
/* Everything that the spec of a VirtualMachineInstance names. */
vmb_code vmbi_vm_refs_add_spec(vmbi_vm_refs *r, const vmbi_json *vmi_spec, vmb_error **err);
/* Claim with the machine's TPM and EFI state, found in the cluster. */
vmb_code vmbi_vm_refs_add_state(vmbi_vm_refs *r, const char *machine, vmb_error **err);
/* Does the spec keep TPM or EFI state? */
bool vmbi_vm_has_state(const vmbi_json *vmi_spec);

/* ---- the Backup (included.c) ---- */

enum { VMBI_RES_VM, VMBI_RES_VMI, VMBI_RES_POD, VMBI_RES_PVC, VMBI_RES_DV };

/* The run's Backup as a tree; *out NULL outside a backup. */
vmb_code vmbi_backup_of(const vmb_job *job, vmbi_json **out, vmb_error **err);
/* Do the resource filters let this kind in? True without a Backup. */
bool vmbi_backup_includes(const vmbi_json *backup, int resource);
/* Is the Backup for metadata only? */
bool vmbi_backup_metadata_only(const vmbi_json *backup);
/* Does the object opt out by label? */
bool vmbi_opted_out(const vmbi_json *obj);
/* Refuses a machine whose disks the filters would leave behind. own_templates: the machine's
 * dataVolumeTemplates, NULL for none. */
vmb_code vmbi_check_volumes(vmb_job *job, const vmbi_json *backup, const char *ns,
                            const char *machine, const vmbi_json *vmi_spec,
                            const vmbi_json *own_templates, vmb_error **err);

/* ---- the launcher pod (launcher.c) ---- */

/* The pod that runs the instance; *out NULL when there is none. */
vmb_code vmbi_launcher_find(vmb_job *job, const vmbi_json *vmi, vmbi_json **out, vmb_error **err);

/* ---- actions ---- */

/* wait_ns: how long a starting machine's instance is waited for. */
vmb_code vmbi_vm_action(int64_t wait_ns, vmb_action_provider *out, vmb_error **err);
vmb_code vmbi_vmi_action(vmb_action_provider *out, vmb_error **err);
vmb_code vmbi_disks_action(vmb_action_provider *out, vmb_error **err);

#endif
