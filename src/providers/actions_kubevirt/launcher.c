/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/error.h"
#include "providers/actions_kubevirt/graph.h"
#include "providers/common/objects.h"

static bool runs(const vmbi_json *pod, const char *vmi_name, const char *vmi_uid)
{
    if (vmi_uid != NULL && vmbi_streq(vmbi_label_of(pod, "kubevirt.io/created-by"), vmi_uid)) {
        return true;
    }
    const char *created_by = vmbi_label_of(pod, "kubevirt.io/created-by");
    return vmbi_streq(vmbi_annotation_of(pod, "kubevirt.io/domain"), vmi_name) &&
           (created_by == NULL || vmi_uid == NULL);
}

/* During a migration an instance has two launchers: the guest runs where the instance says. */
static int score(const vmbi_json *pod, const char *node)
{
    const char *phase = vmbi_json_path_str(pod, "status.phase");
    int points = 1;
    if (vmbi_streq(phase, "Succeeded") || vmbi_streq(phase, "Failed")) {
        return 0;
    }
    points += vmbi_streq(phase, "Running") ? 4 : 0;
    points += node != NULL && vmbi_streq(vmbi_json_path_str(pod, "spec.nodeName"), node) ? 2 : 0;
    points += vmbi_json_path(pod, "metadata.deletionTimestamp") == NULL ? 8 : 0;
    return points;
}

static vmb_code pick(vmb_job *job, const vmbi_json *vmi, const char *selector, vmbi_json **out,
                     vmb_error **err)
{
    vmbi_json *pods = NULL;
    vmbi_json *best = NULL;
    int best_score = 0;
    const char *uid = vmbi_json_path_str(vmi, "metadata.uid");
    const char *node = vmbi_json_path_str(vmi, "status.nodeName");
    vmb_code code = vmbi_fetch_list(job, "", "pods", vmbi_namespace_of(vmi), selector, &pods, err);
    if (code != VMB_OK) {
        return code;
    }
    for (size_t i = 0; i < vmbi_json_len(pods); i++) {
        vmbi_json *pod = vmbi_json_at(pods, i);
        int points = runs(pod, vmbi_name_of(vmi), uid) ? score(pod, node) : 0;
        if (points > best_score) {
            best = pod;
            best_score = points;
        }
    }
    *out = best != NULL ? vmbi_json_ref(best) : NULL;
    vmbi_json_free(pods);
    return VMB_OK;
}

vmb_code vmbi_launcher_find(vmb_job *job, const vmbi_json *vmi, vmbi_json **out, vmb_error **err)
{
    const char *uid = vmbi_json_path_str(vmi, "metadata.uid");
    vmbi_buf selector = VMBI_BUF_INIT(256);
    vmb_code code = VMB_OK;
    *out = NULL;
    if (vmb_job_cluster(job) == NULL) {
        return VMB_OK;
    }
    /* The label with the UID keeps the list at one pod, however many machines there are. */
    if (uid != NULL && uid[0] != '\0' && strlen(uid) < VMBI_LABEL_SIZE) {
        vmbi_buf_addf(&selector, "kubevirt.io=virt-launcher,kubevirt.io/created-by=%s", uid);
        code = vmbi_buf_check(&selector, err, "selector");
        if (code == VMB_OK) {
            code = pick(job, vmi, selector.data, out, err);
        }
    }
    if (code == VMB_OK && *out == NULL) {
        code = pick(job, vmi, "kubevirt.io=virt-launcher", out, err);
    }
    vmbi_buf_free(&selector);
    return code == VMB_OK ? VMB_OK
                          : vmbi_wrap(err, code, "find the launcher pod of %s/%s",
                                      vmbi_namespace_of(vmi), vmbi_name_of(vmi));
}
