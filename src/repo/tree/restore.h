/* SPDX-License-Identifier: Apache-2.0 */
/* Bringing a snapshot's files back. Nothing outside of the target is touched, whatever the snapshot
 * says: names are single components, symlinks are never followed. */
#ifndef VMBI_REPO_TREE_RESTORE_H
#define VMBI_REPO_TREE_RESTORE_H

#include "repo/repo.h"

typedef struct vmbi_restore_stats {
    uint64_t files, dirs, others;
    uint64_t bytes;      /* of file content */
    uint64_t bytes_hole; /* of these, zeros that were left as holes */
    uint64_t warnings;
} vmbi_restore_stats;

typedef struct vmbi_restore_options {
    const char *snapshot; /* ID, its start, or "latest" */
    const char *path;     /* absolute path inside the snapshot; NULL: everything */
    const char *target;   /* an existing folder; entries that exist in it are not overwritten */
    void (*warn)(void *user, const char *path, const char *text); /* NULL: not told */
    void *user;
} vmbi_restore_options;

/* Needs the index. Content of a file that cannot be read is a warning and leaves no file. */
vmb_code vmbi_tree_restore(vmbi_repo *r, const vmbi_restore_options *o, vmb_job *job,
                           vmbi_restore_stats *stats, vmb_error **err);

#endif
