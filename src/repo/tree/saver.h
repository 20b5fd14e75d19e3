/* SPDX-License-Identifier: Apache-2.0 */
/* Private to tree/: the state of one vmbi_tree_backup(), and saving the content of one file. */
#ifndef VMBI_REPO_TREE_SAVER_H
#define VMBI_REPO_TREE_SAVER_H

#include "base/job.h"
#include "repo/chunker.h"
#include "repo/tree/backup.h"
#include "repo/tree/node.h"
#include "repo/tree/pool.h"
#include "repo/tree/stat.h"

typedef struct vmbi_saver {
    vmbi_repo *repo;
    vmbi_pool pool;
    const vmbi_tree_options *options;
    vmb_job *job;
    vmbi_rabin *rabin;
    vmbi_chunker chunker;
    uint8_t *window; /* VMBI_CHUNK_MAX bytes: the chunk being read */
    vmbi_repo_id zero_id;
    bool zero_saved;
    vmbi_owner_cache owners;
    vmbi_tree_stats stats;
    uint64_t root_device;
} vmbi_saver;

void vmbi_saver_warn(vmbi_saver *s, const char *path, const char *text);
/* Reads an opened regular file; node->content and node->size are set, content not before the group
 * was waited for. A file that cannot be read to its end is VMB_E_IO. */
vmb_code vmbi_saver_file(vmbi_saver *s, int fd, uint64_t size, uint64_t allocated,
                         vmbi_node *node, vmbi_pool_group *group, vmb_error **err);

#endif
