/* SPDX-License-Identifier: Apache-2.0 */
/* From the file system to a node: metadata as restic takes it. */
#ifndef VMBI_REPO_TREE_STAT_H
#define VMBI_REPO_TREE_STAT_H

#include <sys/stat.h>

#include "repo/tree/node.h"

/* Names of the user and group looked up last: directories mostly belong to one. */
typedef struct vmbi_owner_cache {
    bool has_user, has_group;
    uint32_t uid, gid;
    char user[256], group[256];
} vmbi_owner_cache;

/* Fills everything but content and subtree. dirfd and name lead to the entry (symlinks are not
 * followed); node_name is what the node is called. fd: the entry, opened for reading, or -1.
 * *warning (may be set on success too): what could
 * not be read, an owned text for the log. */
vmb_code vmbi_stat_node(int dirfd, const char *name, int fd, const char *node_name,
                        const struct stat *st, vmbi_owner_cache *owners, vmbi_node *out,
                        char **warning, vmb_error **err);

#endif
