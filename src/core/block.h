/* SPDX-License-Identifier: Apache-2.0 */
/* The objects of a block, as block.c collects them and as the decisions about volumes see them. */
#ifndef VMBI_CORE_BLOCK_H
#define VMBI_CORE_BLOCK_H

#include "core/backup.h"

typedef struct vmbi_block_item {
    const vmbi_resource *res;
    char *ns; /* "" for cluster-scoped */
    char *name;
    char *json;
    size_t len;
    bool drop;           /* not written */
    bool is_pod;
    bool held;           /* pre hooks were started: post hooks are owed */
    int64_t held_ns;     /* since when, monotonic */
    vmbi_volume *volume; /* of a claim that is snapshotted */
    vmbi_json *tree;     /* of a pod, read once while volumes are decided about; NULL else */
    vmbi_hook_list pre;
    vmbi_hook_list post;
} vmbi_block_item;

struct vmbi_block {
    vmbi_block_item *v;
    size_t n;
    size_t cap;
    size_t bytes;
};

/* NULL when the block does not hold it. ns "" for cluster-scoped objects. */
vmbi_block_item *vmbi_block_find(vmbi_block *blk, const char *group_resource, const char *ns,
                                 const char *name);
/* A pod as a tree, which the item keeps until vmbi_block_drop_trees(). */
vmb_code vmbi_block_tree(vmbi_block_item *it, const vmbi_json **out, vmb_error **err);
void vmbi_block_drop_trees(vmbi_block *blk);

#endif
