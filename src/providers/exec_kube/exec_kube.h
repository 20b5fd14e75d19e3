/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMBI_EXEC_KUBE_H
#define VMBI_EXEC_KUBE_H

#include <vmbackup/provider.h>

#include "kube/client.h"

/* Fills an exec provider that holds a reference to k. */
void vmbi_exec_kube_fill(vmbi_kube *k, vmb_exec_provider *out);

#endif
