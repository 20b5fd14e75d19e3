/* SPDX-License-Identifier: Apache-2.0 */
/* Reading small files whole: kubeconfigs, tokens, certificates. */
#ifndef VMBI_KUBE_FILE_H
#define VMBI_KUBE_FILE_H

#include <vmbackup/base.h>

#include "base/compiler.h"

/* Reads at most max bytes (more: VMB_E_LIMIT); *out is owned and NUL-terminated. Pipes are read
 * too ("--kubeconfig <(…)"), for at most 5 s. `what` names the file's role in messages. */
vmb_code vmbi_kube_file_read(const char *path, size_t max, const char *what, char **out,
                             size_t *out_len, vmb_error **err);

/* Identity of a file's present content: changes when the file is replaced or written. */
typedef struct vmbi_kube_stamp {
    uint64_t device, inode, size;
    int64_t mtime_ns;
} vmbi_kube_stamp;
bool vmbi_kube_file_stamp(const char *path, vmbi_kube_stamp *out); /* false: cannot be told */
bool vmbi_kube_stamp_equal(const vmbi_kube_stamp *a, const vmbi_kube_stamp *b);

/* Frees a string after wiping it; NULL allowed. */
void vmbi_kube_wipe(char *secret);

#endif
