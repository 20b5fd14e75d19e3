/* SPDX-License-Identifier: Apache-2.0 */
/* A directory's nodes in memory. */
#ifndef VMBI_REPO_TREE_TREE_H
#define VMBI_REPO_TREE_TREE_H

#include "repo/tree/node.h"

typedef struct vmbi_node_list {
    vmbi_node *v;
    size_t n;
    size_t cap;
} vmbi_node_list;

void vmbi_node_list_free(vmbi_node_list *l);
/* Takes node over in every case. */
vmb_code vmbi_node_list_push(vmbi_node_list *l, vmbi_node *node, vmb_error **err);
/* By name; the list is sorted as trees are. NULL when absent. */
const vmbi_node *vmbi_node_list_find(const vmbi_node_list *l, const char *name);
/* Reads and writes a tree blob. */
vmb_code vmbi_tree_load(vmbi_repo *r, const vmbi_repo_id *id, vmbi_node_list *out,
                        vmb_error **err);
vmb_code vmbi_tree_save(vmbi_repo *r, const vmbi_node_list *l, vmbi_repo_id *id,
                        vmb_error **err);
/* The root tree of a snapshot. */
vmb_code vmbi_tree_of_snapshot(vmbi_repo *r, const char *snapshot,
                               char full_id[VMBI_REPO_HEX_SIZE], vmbi_repo_id *tree,
                               vmb_error **err);

#endif
