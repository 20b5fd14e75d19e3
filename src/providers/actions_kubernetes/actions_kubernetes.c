/* SPDX-License-Identifier: Apache-2.0 */
/* Actions for what every Kubernetes cluster has. Pods are here, the others in their own files.
 * Source: Velero 1.18 pkg/backup/actions/pod_action.go, pkg/itemblock/actions/pod_action.go. */
#include <string.h>

#include "base/error.h"
#include "codec/json.h"
#include "providers/actions_kubernetes/actions.h"
#include "providers/builtin.h"
#include "providers/common/objects.h"

/* Claims of generic ephemeral volumes are left to the pod on purpose: restored before it, such a
 * claim has no owner and the pod would refuse it. */
static vmb_code relate_claims(const vmbi_json *pod, vmb_action_result *result, vmb_error **err)
{
    const vmbi_json *volumes = vmbi_json_path(pod, "spec.volumes");
    vmb_code code = VMB_OK;
    for (size_t i = 0; code == VMB_OK && i < vmbi_json_len(volumes); i++) {
        const char *claim =
            vmbi_json_path_str(vmbi_json_at(volumes, i), "persistentVolumeClaim.claimName");
        if (claim != NULL && claim[0] != '\0') {
            code = vmb_action_result_add_related(result, "", "persistentvolumeclaims",
                                                 vmbi_namespace_of(pod), claim, 0, err);
        }
    }
    return code;
}

static vmb_code pod_backup(void *user, vmb_job *job, const char *group, const char *resource,
                           const char *item, size_t len, vmb_action_result *result, vmb_error **err)
{
    vmbi_json *pod = NULL;
    (void)user;
    (void)job;
    (void)group;
    (void)resource;
    vmb_code code = vmbi_json_parse(item, len, "pod", &pod, err);
    if (code != VMB_OK) {
        return code;
    }
    code = relate_claims(pod, result, err);
    const char *priority = vmbi_json_path_str(pod, "spec.priorityClassName");
    if (code == VMB_OK && priority != NULL && priority[0] != '\0') {
        code = vmb_action_result_add_related(result, "scheduling.k8s.io", "priorityclasses", NULL,
                                             priority, 0, err);
    }
    vmbi_json_free(pod);
    return code;
}

static vmb_code pods_action(vmb_action_provider *out, vmb_error **err)
{
    (void)err; /* nothing can fail */
    memset(out, 0, sizeof *out);
    out->struct_size = sizeof *out;
    out->api_version = VMB_PROVIDER_API;
    out->name = "actions.kubernetes/pods";
    out->applies_to = "pods";
    out->backup = pod_backup;
    return VMB_OK;
}

vmb_code vmbi_actions_kubernetes(vmbi_action_add_fn add, void *user, vmb_error **err)
{
    static vmb_code (*const make[])(vmb_action_provider *, vmb_error **) = {
        pods_action, vmbi_claims_action, vmbi_accounts_action};
    for (size_t i = 0; i < VMBI_ARRAY_LEN(make); i++) {
        vmb_action_provider p;
        vmb_code code = make[i](&p, err);
        if (code == VMB_OK) {
            code = add(user, &p, err);
        }
        if (code != VMB_OK) {
            return code;
        }
    }
    return VMB_OK;
}
