/* SPDX-License-Identifier: Apache-2.0 */
/* A VirtualMachine brings all that it needs to run again elsewhere.
 * Source: kubevirt-velero-plugin 0.9 pkg/plugin/vm_backup_item_action.go. */
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "providers/actions_kubevirt/graph.h"
#include "providers/common/objects.h"

typedef struct vm_action {
    int64_t wait_ns;
} vm_action;

/* One look at a machine. Trees are owned except those below others. */
typedef struct vm_view {
    vmb_job *job;
    vmbi_json *backup; /* NULL outside a backup */
    vmbi_json *vm;
    vmbi_json *vmi;      /* NULL: not running */
    vmbi_json *launcher; /* NULL: none found */
    const char *ns;
    const char *name;
    const vmbi_json *vmi_spec; /* of the template */
} vm_view;

static void view_done(vm_view *v)
{
    vmbi_json_free(v->backup);
    vmbi_json_free(v->vm);
    vmbi_json_free(v->vmi);
    vmbi_json_free(v->launcher);
}

static vmb_code unsafe(vmb_error **err, const vm_view *v, const char *why)
{
    return vmbi_fail(err, VMB_E_INVALID, "virtual machine %s/%s cannot be safely backed up: %s",
                     v->ns, v->name, why);
}

/* ---- the running instance ---------------------------------------------------------------------
 */

static bool is_up(const vm_view *v)
{
    const char *s = vmbi_json_path_str(v->vm, "status.printableStatus");
    return vmbi_streq(s, "Running") || vmbi_streq(s, "Starting");
}

/* An instance that should exist may be a moment away: after the wait the machine counts as off. */
static vmb_code find_instance(const vm_action *a, vm_view *v, vmb_error **err)
{
    const int64_t step_ns = 500 * VMBI_MS;
    int64_t end = vmbi_mono_ns() + a->wait_ns;
    if (vmb_job_cluster(v->job) == NULL ||
        (!is_up(v) && !vmbi_json_bool(vmbi_json_path(v->vm, "status.created"), false))) {
        return VMB_OK;
    }
    for (;;) {
        vmb_error *local = NULL;
        vmb_code code = vmbi_fetch(v->job, VMBI_KUBEVIRT_GROUP, "virtualmachineinstances", v->ns,
                                   v->name, &v->vmi, &local);
        if (code != VMB_E_NOT_FOUND) {
            vmbi_error_move(err, &local);
            return code;
        }
        vmb_error_free(local);
        if (!is_up(v) || vmbi_mono_ns() >= end) {
            break;
        }
        code = vmb_job_sleep(v->job, step_ns < a->wait_ns ? step_ns : a->wait_ns, err);
        if (code != VMB_OK) {
            return code;
        }
    }
    vmbi_job_logf(v->job, VMB_LOG_INFO,
                  "virtual machine %s/%s has no instance: it is backed up as stopped", v->ns,
                  v->name);
    return VMB_OK;
}

static vmb_code check_instance(const vm_view *v, vmb_error **err)
{
    if (v->vmi == NULL || !is_up(v)) {
        return VMB_OK;
    }
    if (!vmbi_backup_includes(v->backup, VMBI_RES_VMI)) {
        return unsafe(err, v, "it runs, and virtualmachineinstances are not in the backup");
    }
    if (vmbi_opted_out(v->vmi)) {
        return unsafe(err, v, "it runs, and its instance is excluded by label");
    }
    if (!vmbi_backup_includes(v->backup, VMBI_RES_PVC)) {
        return VMB_OK; /* no disks: nothing that a running guest could tear */
    }
    if (!vmbi_backup_includes(v->backup, VMBI_RES_POD)) {
        return unsafe(err, v, "it runs, and pods are not in the backup while its claims are");
    }
    if (v->launcher != NULL && vmbi_opted_out(v->launcher)) {
        return unsafe(err, v, "it runs, and its launcher pod is excluded by label");
    }
    return VMB_OK;
}

static vmb_code check(const vm_view *v, vmb_error **err)
{
    if (v->backup == NULL) {
        return VMB_OK;
    }
    vmb_code code = check_instance(v, err);
    if (code == VMB_OK && !vmbi_backup_metadata_only(v->backup)) {
        code = vmbi_check_volumes(v->job, v->backup, v->ns, v->name, v->vmi_spec,
                                  vmbi_json_path(v->vm, "spec.dataVolumeTemplates"), err);
    }
    return code;
}

/* ---- instance type and preference -------------------------------------------------------------
 */

typedef struct type_names {
    const char *field;      /* in spec */
    const char *status_ref; /* in status */
    const char *namespaced; /* lower-case kind */
    const char *resource;
    const char *cluster_resource;
} type_names;

static const type_names types[] = {
    {"instancetype", "instancetypeRef", "virtualmachineinstancetype", "virtualmachineinstancetypes",
     "virtualmachineclusterinstancetypes"},
    {"preference", "preferenceRef", "virtualmachinepreference", "virtualmachinepreferences",
     "virtualmachineclusterpreferences"},
};

static const char *revision_of(const vm_view *v, const type_names *t)
{
    const vmbi_json *ref = vmbi_json_get(vmbi_json_get(v->vm, "status"), t->status_ref);
    const char *name = vmbi_json_path_str(ref, "controllerRevisionRef.name");
    if (name == NULL || name[0] == '\0') {
        name = vmbi_json_get_str(vmbi_json_get(vmbi_json_get(v->vm, "spec"), t->field),
                                 "revisionName");
    }
    return name != NULL && name[0] != '\0' ? name : NULL;
}

/* The kind is written in any case, singular or plural; none means the cluster's. */
static bool is_namespaced_type(const type_names *t, const char *kind)
{
    size_t len = strlen(t->namespaced);
    if (kind == NULL || strlen(kind) < len || strlen(kind) > len + 1) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        if (vmbi_lower(kind[i]) != t->namespaced[i]) {
            return false;
        }
    }
    return kind[len] == '\0' || vmbi_lower(kind[len]) == 's';
}

static vmb_code relate_type(const vm_view *v, vmbi_vm_refs *refs, const type_names *t,
                            vmb_error **err)
{
    const char *revision = revision_of(v, t);
    const vmbi_json *ref = vmbi_json_get(vmbi_json_get(v->vm, "spec"), t->field);
    const char *name = vmbi_json_get_str(ref, "name");
    if (name == NULL || name[0] == '\0') { /* inferred from a volume: only the status knows */
        ref = vmbi_json_get(vmbi_json_get(v->vm, "status"), t->status_ref);
        name = vmbi_json_get_str(ref, "name");
    }
    vmb_code code = VMB_OK;
    if (revision != NULL) {
        code = vmbi_vm_refs_add(refs, "apps", "controllerrevisions", v->ns, revision, 0, err);
    }
    if (code == VMB_OK && name != NULL && name[0] != '\0') {
        bool namespaced = is_namespaced_type(t, vmbi_json_get_str(ref, "kind"));
        code = vmbi_vm_refs_add(refs, "instancetype.kubevirt.io",
                                namespaced ? t->resource : t->cluster_resource,
                                namespaced ? v->ns : NULL, name, VMB_RELATED_OPTIONAL, err);
    }
    return code;
}

/* The status does not survive a restore: the spec must name the revisions itself. */
static vmb_code pin_revisions(const vm_view *v, vmb_action_result *result, vmb_error **err)
{
    bool changed = false;
    for (size_t i = 0; i < VMBI_ARRAY_LEN(types); i++) {
        const vmbi_json *ref = vmbi_json_get(vmbi_json_get(v->vm, "status"), types[i].status_ref);
        const char *revision = vmbi_json_path_str(ref, "controllerRevisionRef.name");
        vmbi_json *matcher = vmbi_json_get(vmbi_json_get(v->vm, "spec"), types[i].field);
        if (revision != NULL && revision[0] != '\0' && vmbi_json_is_object(matcher)) {
            if (!vmbi_json_set_str(matcher, "revisionName", revision)) {
                return vmbi_fail_nomem(err);
            }
            changed = true;
        }
    }
    return changed ? vmbi_result_set_tree(result, v->vm, err) : VMB_OK;
}

/* ---- relations --------------------------------------------------------------------------------
 */

static vmb_code relate_running(const vm_view *v, vmbi_vm_refs *refs, vmb_error **err)
{
    if (v->vmi == NULL) {
        return VMB_OK;
    }
    vmb_code code = vmbi_vm_refs_add(refs, VMBI_KUBEVIRT_GROUP, "virtualmachineinstances", v->ns,
                                     v->name, 0, err);
    if (code == VMB_OK && v->launcher != NULL) {
        code = vmbi_vm_refs_add(refs, "", "pods", v->ns, vmbi_name_of(v->launcher), 0, err);
    }
    if (code == VMB_OK) { /* volumes plugged into the instance are not in the machine's spec */
        code = vmbi_vm_refs_add_spec(refs, vmbi_json_get(v->vmi, "spec"), err);
    }
    return code;
}

/* A preference can switch persistent state on without a word in the spec; then only the claim in
 * the cluster tells. A claim that is there for changed block tracking alone is left behind. */
static bool may_have_state(const vm_view *v)
{
    const vmbi_json *spec = vmbi_json_get(v->vm, "spec");
    return vmbi_vm_has_state(v->vmi_spec) || vmbi_vm_has_state(vmbi_json_get(v->vmi, "spec")) ||
           (vmbi_json_is_object(vmbi_json_get(spec, "preference")) && v->vmi == NULL &&
            vmbi_json_path(v->vm, "status.changedBlockTracking") == NULL);
}

static vmb_code relate_all(const vm_view *v, vmbi_vm_refs *refs, vmb_error **err)
{
    const vmbi_json *templates = vmbi_json_path(v->vm, "spec.dataVolumeTemplates");
    vmb_code code = VMB_OK;
    for (size_t i = 0; code == VMB_OK && i < VMBI_ARRAY_LEN(types); i++) {
        code = relate_type(v, refs, &types[i], err);
    }
    if (code == VMB_OK) {
        code = relate_running(v, refs, err);
    }
    if (code == VMB_OK) {
        code = vmbi_vm_refs_add_spec(refs, v->vmi_spec, err);
    }
    for (size_t i = 0; code == VMB_OK && i < vmbi_json_len(templates); i++) {
        code = vmbi_vm_refs_add_disk(refs, vmbi_name_of(vmbi_json_at(templates, i)), err);
    }
    if (code == VMB_OK && may_have_state(v)) {
        code = vmbi_vm_refs_add_state(refs, v->name, err);
    }
    return code;
}

static vmb_code vm_backup(void *user, vmb_job *job, const char *group, const char *resource,
                          const char *item, size_t len, vmb_action_result *result, vmb_error **err)
{
    vm_view v;
    vmbi_vm_refs refs;
    (void)group;
    (void)resource;
    memset(&v, 0, sizeof v);
    v.job = job;
    vmb_code code = vmbi_json_parse(item, len, "virtual machine", &v.vm, err);
    if (code != VMB_OK) {
        return code;
    }
    v.ns = vmbi_namespace_of(v.vm);
    v.name = vmbi_name_of(v.vm);
    v.vmi_spec = vmbi_json_path(v.vm, "spec.template.spec");
    vmbi_vm_refs_init(&refs, job, v.ns, result);
    code = vmbi_backup_of(job, &v.backup, err);
    if (code == VMB_OK) {
        code = find_instance(user, &v, err);
    }
    if (code == VMB_OK && v.vmi != NULL) {
        code = vmbi_launcher_find(job, v.vmi, &v.launcher, err);
    }
    if (code == VMB_OK) {
        code = check(&v, err);
    }
    if (code == VMB_OK) {
        code = relate_all(&v, &refs, err);
    }
    if (code == VMB_OK) {
        code = pin_revisions(&v, result, err);
    }
    vmbi_vm_refs_done(&refs);
    view_done(&v);
    return code;
}

static void vm_destroy(void *user)
{
    vmbi_free(user);
}

vmb_code vmbi_vm_action(int64_t wait_ns, vmb_action_provider *out, vmb_error **err)
{
    vm_action *a = vmbi_zalloc(sizeof *a);
    if (a == NULL) {
        return vmbi_fail_nomem(err);
    }
    a->wait_ns = wait_ns;
    memset(out, 0, sizeof *out);
    out->struct_size = sizeof *out;
    out->api_version = VMB_PROVIDER_API;
    out->name = "actions.kubevirt/machines";
    out->user = a;
    out->destroy = vm_destroy;
    out->applies_to = "virtualmachines.kubevirt.io";
    out->backup = vm_backup;
    return VMB_OK;
}
