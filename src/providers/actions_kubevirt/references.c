/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "providers/actions_kubevirt/graph.h"
#include "providers/common/objects.h"

enum {
    KIND_DISK = 1,    /* a claim and perhaps a DataVolume */
    KIND_NETWORK = 2, /* "name" or "namespace/name" */
    KIND_CLUSTER = 4  /* cluster-scoped */
};

typedef struct reference {
    const char *path; /* below the instance's spec; "[]" steps through a list */
    const char *group;
    const char *resource;
    uint32_t flags; /* VMB_RELATED_… */
    uint32_t kind;
} reference;

static const reference references[] = {
    {"volumes[].dataVolume.name", "", "persistentvolumeclaims", 0, KIND_DISK},
    {"volumes[].persistentVolumeClaim.claimName", "", "persistentvolumeclaims", 0, KIND_DISK},
    {"volumes[].ephemeral.persistentVolumeClaim.claimName", "", "persistentvolumeclaims", 0, 0},
    {"volumes[].memoryDump.claimName", "", "persistentvolumeclaims", VMB_RELATED_OPTIONAL, 0},
    {"volumes[].configMap.name", "", "configmaps", 0, 0},
    {"volumes[].secret.secretName", "", "secrets", 0, 0},
    {"volumes[].serviceAccount.serviceAccountName", "", "serviceaccounts", 0, 0},
    {"volumes[].cloudInitNoCloud.secretRef.name", "", "secrets", 0, 0},
    {"volumes[].cloudInitNoCloud.networkDataSecretRef.name", "", "secrets", 0, 0},
    {"volumes[].cloudInitConfigDrive.secretRef.name", "", "secrets", 0, 0},
    {"volumes[].cloudInitConfigDrive.networkDataSecretRef.name", "", "secrets", 0, 0},
    {"volumes[].sysprep.secret.name", "", "secrets", 0, 0},
    {"volumes[].sysprep.configMap.name", "", "configmaps", 0, 0},
    {"volumes[].containerDisk.imagePullSecret", "", "secrets", 0, 0},
    {"domain.firmware.kernelBoot.container.imagePullSecret", "", "secrets", 0, 0},
    {"accessCredentials[].sshPublicKey.source.secret.secretName", "", "secrets", 0, 0},
    {"accessCredentials[].userPassword.source.secret.secretName", "", "secrets", 0, 0},
    {"networks[].multus.networkName", "k8s.cni.cncf.io", "network-attachment-definitions", 0,
     KIND_NETWORK},
    {"priorityClassName", "scheduling.k8s.io", "priorityclasses", 0, KIND_CLUSTER},
};

void vmbi_vm_refs_init(vmbi_vm_refs *r, vmb_job *job, const char *ns, vmb_action_result *result)
{
    memset(r, 0, sizeof *r);
    r->job = job;
    r->ns = ns;
    r->result = result;
}

void vmbi_vm_refs_done(vmbi_vm_refs *r)
{
    vmbi_map_free(&r->seen);
}

vmb_code vmbi_vm_refs_add(vmbi_vm_refs *r, const char *group, const char *resource, const char *ns,
                          const char *name, uint32_t flags, vmb_error **err)
{
    static char mark;
    vmbi_buf key = VMBI_BUF_INIT(2048);
    if (name[0] == '\0') {
        return VMB_OK;
    }
    if (vmb_job_cluster(r->job) != NULL && group[0] != '\0' &&
        !vmbi_served(r->job, group, resource)) {
        return VMB_OK; /* not installed: nothing there to take */
    }
    vmbi_buf_addf(&key, "%s/%s/%s/%s", group, resource, ns != NULL ? ns : "", name);
    vmb_code code = vmbi_buf_check(&key, err, "object name");
    if (code == VMB_OK && !vmbi_map_has(&r->seen, key.data)) {
        code = vmbi_map_set(&r->seen, key.data, &mark, err);
        if (code == VMB_OK) {
            code = vmb_action_result_add_related(r->result, group, resource, ns, name, flags, err);
        }
    }
    vmbi_buf_free(&key);
    return code;
}

vmb_code vmbi_vm_refs_add_disk(vmbi_vm_refs *r, const char *name, vmb_error **err)
{
    vmb_code code =
        vmbi_vm_refs_add(r, VMBI_CDI_GROUP, "datavolumes", r->ns, name, VMB_RELATED_OPTIONAL, err);
    return code != VMB_OK ? code
                          : vmbi_vm_refs_add(r, "", "persistentvolumeclaims", r->ns, name, 0, err);
}

static vmb_code add_network(vmbi_vm_refs *r, const reference *ref, const char *value,
                            vmb_error **err)
{
    const char *slash = strchr(value, '/');
    if (slash == NULL) {
        return vmbi_vm_refs_add(r, ref->group, ref->resource, r->ns, value, ref->flags, err);
    }
    char *ns = vmbi_strndup(value, (size_t)(slash - value));
    if (ns == NULL) {
        return vmbi_fail_nomem(err);
    }
    vmb_code code = vmbi_vm_refs_add(r, ref->group, ref->resource, ns, slash + 1, ref->flags, err);
    vmbi_free(ns);
    return code;
}

/* parent: the object that holds the name; "optional": true beside it means what it says. */
static vmb_code add_leaf(vmbi_vm_refs *r, const reference *ref, const vmbi_json *parent,
                         const char *value, vmb_error **err)
{
    uint32_t flags = ref->flags;
    if (vmbi_json_bool(vmbi_json_get(parent, "optional"), false)) {
        flags |= VMB_RELATED_OPTIONAL;
    }
    switch (ref->kind) {
    case KIND_DISK:
        return vmbi_vm_refs_add_disk(r, value, err);
    case KIND_NETWORK:
        return add_network(r, ref, value, err);
    case KIND_CLUSTER:
        return vmbi_vm_refs_add(r, ref->group, ref->resource, NULL, value, flags, err);
    default:
        return vmbi_vm_refs_add(r, ref->group, ref->resource, r->ns, value, flags, err);
    }
}

/* Follows the rest of a path from node. Paths are ours: depth is bounded by their length. */
static vmb_code follow(vmbi_vm_refs *r, const reference *ref, const char *path,
                       const vmbi_json *node, vmb_error **err)
{
    char step[64];
    size_t len = strcspn(path, ".[");
    if (node == NULL || len >= sizeof step) {
        return VMB_OK;
    }
    memcpy(step, path, len);
    step[len] = '\0';
    const vmbi_json *child = vmbi_json_get(node, step);
    if (path[len] == '\0') {
        const char *value = vmbi_json_str(child);
        return value != NULL ? add_leaf(r, ref, node, value, err) : VMB_OK;
    }
    if (path[len] == '.') {
        return follow(r, ref, path + len + 1, child, err);
    }
    vmb_code code = VMB_OK;
    for (size_t i = 0; code == VMB_OK && i < vmbi_json_len(child); i++) {
        code = follow(r, ref, path + len + 3, vmbi_json_at(child, i), err); /* past "[]." */
    }
    return code;
}

static void warn_host_disks(const vmbi_vm_refs *r, const vmbi_json *vmi_spec)
{
    const vmbi_json *volumes = vmbi_json_get(vmi_spec, "volumes");
    for (size_t i = 0; i < vmbi_json_len(volumes); i++) {
        const vmbi_json *v = vmbi_json_at(volumes, i);
        if (vmbi_json_is_object(vmbi_json_get(v, "hostDisk"))) {
            const char *name = vmbi_json_get_str(v, "name");
            vmbi_job_logf(r->job, VMB_LOG_WARNING,
                          "volume %s in namespace %s is a disk on its node and is not backed up",
                          name != NULL ? name : "", r->ns);
        }
    }
}

vmb_code vmbi_vm_refs_add_spec(vmbi_vm_refs *r, const vmbi_json *vmi_spec, vmb_error **err)
{
    vmb_code code = VMB_OK;
    for (size_t i = 0; code == VMB_OK && i < VMBI_ARRAY_LEN(references); i++) {
        code = follow(r, &references[i], references[i].path, vmi_spec, err);
    }
    warn_host_disks(r, vmi_spec);
    return code;
}

/* ---- persistent state ------------------------------------------------------------------------ */

bool vmbi_vm_has_state(const vmbi_json *vmi_spec)
{
    return vmbi_json_bool(vmbi_json_path(vmi_spec, "domain.devices.tpm.persistent"), false) ||
           vmbi_json_bool(vmbi_json_path(vmi_spec, "domain.firmware.bootloader.efi.persistent"),
                          false);
}

/* RFC 3339 times of one format compare as text. */
static const vmbi_json *newest_alive(const vmbi_json *claims)
{
    const vmbi_json *best = NULL;
    const char *best_time = NULL;
    for (size_t i = 0; i < vmbi_json_len(claims); i++) {
        const vmbi_json *c = vmbi_json_at(claims, i);
        const char *made = vmbi_json_path_str(c, "metadata.creationTimestamp");
        if (vmbi_json_path(c, "metadata.deletionTimestamp") != NULL) {
            continue;
        }
        if (best == NULL ||
            strcmp(made != NULL ? made : "", best_time != NULL ? best_time : "") > 0) {
            best = c;
            best_time = made;
        }
    }
    return best;
}

vmb_code vmbi_vm_refs_add_state(vmbi_vm_refs *r, const char *machine, vmb_error **err)
{
    vmbi_json *claims = NULL;
    vmbi_buf text = VMBI_BUF_INIT(1024);
    vmb_code code = VMB_OK;
    if (vmb_job_cluster(r->job) == NULL) {
        return VMB_OK;
    }
    if (strlen(machine) < VMBI_LABEL_SIZE) { /* longer names are no label values */
        vmbi_buf_addf(&text, "persistent-state-for=%s", machine);
        code = vmbi_buf_check(&text, err, "selector");
        if (code == VMB_OK) {
            code = vmbi_fetch_list(r->job, "", "persistentvolumeclaims", r->ns, text.data, &claims,
                                   err);
        }
    }
    const vmbi_json *claim = newest_alive(claims);
    if (code == VMB_OK && claim != NULL) {
        code =
            vmbi_vm_refs_add(r, "", "persistentvolumeclaims", r->ns, vmbi_name_of(claim), 0, err);
    } else if (code == VMB_OK) {
        /* before KubeVirt 1.4: a fixed name and no label */
        vmbi_buf_reset(&text);
        vmbi_buf_addf(&text, "persistent-state-for-%s", machine);
        code = vmbi_buf_check(&text, err, "claim name");
        if (code == VMB_OK) {
            code = vmbi_vm_refs_add(r, "", "persistentvolumeclaims", r->ns, text.data,
                                    VMB_RELATED_OPTIONAL, err);
        }
    }
    vmbi_json_free(claims);
    vmbi_buf_free(&text);
    return code;
}
