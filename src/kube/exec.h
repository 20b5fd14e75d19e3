/* SPDX-License-Identifier: Apache-2.0 */
/* Commands in containers, over a WebSocket. Source: Kubernetes' remotecommand subprotocols
 * v4.channel.k8s.io and v5.channel.k8s.io. */
#ifndef VMBI_KUBE_EXEC_H
#define VMBI_KUBE_EXEC_H

#include "kube/objects.h"

typedef struct vmbi_kube_exec {
    const char *ns;
    const char *pod;
    const char *container;
    const char *const *argv;
    size_t argc;
    vmbi_kube_out out;    /* takes stdout as it comes */
    vmbi_kube_out errout; /* takes stderr */
} vmbi_kube_exec;

/* Runs the command to its end. VMB_OK with its exit code; VMB_E_TIMEOUT or VMB_E_CANCELLED close
 * the connection, which ends the command's streams. Nothing is tried twice but a refused login. */
vmb_code vmbi_kube_exec_run(vmbi_kube *k, const vmbi_kube_exec *exec, const vmbi_limits *limits,
                            int32_t *exit_code, vmb_error **err);

#endif
