/* SPDX-License-Identifier: Apache-2.0 */
/* Commands in containers, through the API server. */
#include "base/error.h"
#include "base/job.h"
#include "kube/exec.h"
#include "providers/builtin.h"

static void kube_destroy(void *user)
{
    vmbi_kube_drop(user);
}

static vmb_code sink_out(void *user, const void *data, size_t len, vmb_error **err)
{
    return vmb_sink_write(user, data, len, err);
}

static vmb_code kube_exec(void *user, vmb_job *job, const char *ns, const char *pod,
                          const char *container, const char *const *argv, size_t argc,
                          vmb_sink *out, vmb_sink *errout, int32_t *exit_code, vmb_error **err)
{
    if (argc == 0) {
        return vmbi_fail(err, VMB_E_ARG, "exec in pod %s/%s: no command", ns, pod);
    }
    vmbi_kube_exec exec = {
        .ns = ns,
        .pod = pod,
        .container = container,
        .argv = argv,
        .argc = argc,
        .out = {out != NULL ? sink_out : NULL, out},
        .errout = {errout != NULL ? sink_out : NULL, errout},
    };
    return vmbi_kube_exec_run(user, &exec, &job->limits, exit_code, err);
}

void vmbi_exec_kube_fill(struct vmbi_kube *client, vmb_exec_provider *out)
{
    *out = (vmb_exec_provider){
        .struct_size = sizeof(*out),
        .api_version = VMB_PROVIDER_API,
        .name = "kubernetes",
        .user = vmbi_kube_hold(client),
        .destroy = kube_destroy,
        .exec = kube_exec,
    };
}
