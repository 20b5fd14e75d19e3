/* SPDX-License-Identifier: Apache-2.0 */
/* Private to ops/: nodes as restic's commands print them. */
#ifndef VMBI_REPO_OPS_NODEJSON_H
#define VMBI_REPO_OPS_NODEJSON_H

#include "repo/tree/node.h"

/* As `restic ls --json`. */
void vmbi_nodejson_ls(const vmbi_node *n, const char *path, vmbi_buf *out);
/* As `restic find --json`. */
void vmbi_nodejson_find(const vmbi_node *n, const char *path, vmbi_buf *out);

#endif
