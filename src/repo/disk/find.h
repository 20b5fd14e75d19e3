/* SPDX-License-Identifier: Apache-2.0 */
/* Finding the file that a disk is in a snapshot. */
#ifndef VMBI_REPO_DISK_FIND_H
#define VMBI_REPO_DISK_FIND_H

#include "repo/tree/node.h"

/* path: absolute; NULL: the only file. *out is the caller's (vmbi_node_done), and *json, which may
 * be NULL, too. */
vmb_code vmbi_disk_find(vmbi_repo *r, const char *snapshot, const char *path, vmbi_node *out,
                        char full_id[VMBI_REPO_HEX_SIZE], vmbi_json **json, vmb_error **err);

#endif
