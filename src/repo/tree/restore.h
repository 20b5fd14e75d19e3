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
    uint64_t files_skipped;  /* were there, and not to be overwritten */
    uint64_t files_verified; /* read back and found equal */
    uint64_t excluded;
} vmbi_restore_stats;

typedef enum vmbi_overwrite {
    VMBI_OVERWRITE_NEVER = 0, /* what is there stays as it is, and is counted */
    VMBI_OVERWRITE_ALWAYS = 1 /* files and links are replaced; folders are used as they are */
} vmbi_overwrite;

typedef struct vmbi_restore_options {
    const char *snapshot; /* ID, its start, or "latest" */
    const char *path;     /* absolute path inside the snapshot; NULL: everything */
    const char *target;   /* an existing folder */
    /* Patterns in restic's syntax, against the path in the snapshot ("/home/x"). Either includes
     * or excludes. */
    const char *const *includes;
    size_t n_includes;
    const char *const *excludes;
    size_t n_excludes;
    vmbi_overwrite overwrite;
    bool no_sparse; /* writes zeros; else they become holes */
    bool verify;    /* reads each written file back and compares it with its blobs' IDs */
    bool dry_run;   /* counts, and writes nothing */
    void (*progress)(void *user, const vmbi_restore_stats *so_far); /* after each entry; NULL */
    void (*warn)(void *user, const char *path, const char *text); /* NULL: not told */
    void *user;
} vmbi_restore_options;

/* Needs the index. Content of a file that cannot be read is a warning and leaves no file. */
vmb_code vmbi_tree_restore(vmbi_repo *r, const vmbi_restore_options *o, vmb_job *job,
                           vmbi_restore_stats *stats, vmb_error **err);

#endif
