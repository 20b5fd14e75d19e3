/* SPDX-License-Identifier: Apache-2.0 */
/* Trees: read node by node, or as a directory's nodes in memory. */
#ifndef VMBI_REPO_TREE_TREE_H
#define VMBI_REPO_TREE_TREE_H

#include "base/job.h"
#include "codec/jscan.h"
#include "repo/tree/node.h"

/* Reads a tree blob node by node: one node and the blob's text are in memory. */
typedef struct vmbi_tree_reader {
    vmbi_buf text;
    vmbi_jscan scan;
    vmbi_node node;
} vmbi_tree_reader;
/* Close it after failures, too. */
vmb_code vmbi_tree_reader_open(vmbi_repo *r, const vmbi_repo_id *id, vmbi_tree_reader *t,
                               vmb_error **err);
/* The next node, which is valid until the next call; NULL at the end. */
vmb_code vmbi_tree_reader_next(vmbi_tree_reader *t, const vmbi_node **node, vmb_error **err);
void vmbi_tree_reader_close(vmbi_tree_reader *t);

/* Walks over all entries below a tree, depth first, in the trees' order. */
typedef struct vmbi_tree_walk {
    vmbi_repo *repo;
    vmb_job *job;
    /* path: "/a/b"; tree: the one that the node is in; *descend is true for directories, and may
     * be set to false. */
    vmb_code (*visit)(void *user, const vmbi_repo_id *tree, const char *path,
                      const vmbi_node *node, bool *descend, vmb_error **err);
    /* A tree cannot be read; VMB_OK goes on without it. NULL: ends the walk with that error. */
    vmb_code (*unreadable)(void *user, const vmbi_repo_id *tree, const char *path,
                           const vmb_error *why, vmb_error **err);
    void *user;
} vmbi_tree_walk;
/* Memory: the trees from the root to the entry, together at most 512 MiB (VMB_E_LIMIT). */
vmb_code vmbi_tree_walk_run(const vmbi_tree_walk *w, const vmbi_repo_id *root, vmb_error **err);

/* The node that an absolute path names below a tree; release it with vmbi_node_done(). */
vmb_code vmbi_tree_find(vmbi_repo *r, const vmbi_repo_id *root, const char *path, vmbi_node *out,
                        vmb_error **err);
/* How many blobs of a file from the i-th on lie in one pack, one behind the other: one request for
 * all. 0: the index does not know the first one. */
enum { VMBI_TREE_RUN_MAX = 64 };
size_t vmbi_tree_run_length(vmbi_repo *r, const vmbi_node *node, size_t i,
                            vmbi_blob_place places[VMBI_TREE_RUN_MAX]);
/* May p be read with one request that goes from first to last so far? */
bool vmbi_tree_joins(const vmbi_blob_place *first, const vmbi_blob_place *last,
                     const vmbi_blob_place *p);
/* Reads the content of a file in order, neighbours with one request. fn gets each blob, with its
 * number; data NULL: it cannot be read (see vmbi_repo_load_run). */
vmb_code vmbi_tree_content(vmbi_repo *r, const vmbi_node *file, vmb_job *job, vmbi_repo_blob_fn fn,
                           void *user, vmb_error **err);

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
