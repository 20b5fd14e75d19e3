/* SPDX-License-Identifier: Apache-2.0 */
/* Running a helper program and collecting what it prints. */
#ifndef VMBI_KUBE_PROCESS_H
#define VMBI_KUBE_PROCESS_H

#include "base/buf.h"
#include "base/cancel.h"

/* Runs argv[0] (found by PATH when it holds no '/') with the environment envp, standard input
 * empty. out and errout take what their ceilings allow and drop the rest. When the limits end, the
 * program and its children are killed. VMB_E_NOT_FOUND or VMB_E_DENIED when it cannot be started.
 * *wait_status is what waitpid() reports, 0 when the host program took it away from us. */
vmb_code vmbi_kube_process_run(char *const *argv, char *const *envp, const vmbi_limits *limits,
                               vmbi_buf *out, vmbi_buf *errout, int *wait_status, vmb_error **err);

#endif
