/* SPDX-License-Identifier: Apache-2.0 */
/* Private to tree/: the state of one vmbi_tree_restore(). */
#ifndef VMBI_REPO_TREE_RESTORER_H
#define VMBI_REPO_TREE_RESTORER_H

#include "base/job.h"
#include "base/map.h"
#include "repo/tree/pattern.h"
#include "repo/tree/restore.h"
#include "repo/tree/tree.h"

/* A directory of the target. It is made when the first entry in it is restored, so that a filter
 * leaves no empty folders. */
typedef struct vmbi_restore_dir {
    struct vmbi_restore_dir *up; /* NULL: the target folder */
    const char *name;
    const char *path; /* below the target, for messages and links */
    int fd;           /* -1: not made (yet) */
} vmbi_restore_dir;

enum {
    VMBI_BATCH_FILES = 256,
    VMBI_BATCH_BYTES = 8 * 1024 * 1024
};

/* Files of one blob, which are read in the order of the store. */
typedef struct vmbi_restore_batch {
    struct vmbi_batched {
        vmbi_node node;
        vmbi_blob_place place;
    } v[VMBI_BATCH_FILES];
    size_t n;
    size_t bytes;
} vmbi_restore_batch;

typedef struct vmbi_restorer {
    vmbi_repo *repo;
    const vmbi_restore_options *options;
    vmb_job *job;
    int target;     /* descriptor of the target folder */
    vmbi_map links; /* "device:inode" -> path below the target, of files with more names */
    vmbi_patterns *includes, *excludes;
    vmbi_buf check;            /* what was read back */
    vmbi_restore_batch *batch; /* empty while a directory is entered */
    vmbi_restore_stats stats;
} vmbi_restorer;

void vmbi_restorer_warn(vmbi_restorer *r, const char *path, const char *text);
bool vmbi_restorer_is_fatal(vmb_code rc);
/* Makes and opens the directory and those above it. */
vmb_code vmbi_restorer_enter(vmbi_restorer *r, vmbi_restore_dir *d, vmb_error **err);
/* Is something in the way, and does it stay? Then it is counted. */
bool vmbi_restorer_keeps(vmbi_restorer *r, const vmbi_restore_dir *d, const char *name);
/* Puts a finished temporary entry in its place. */
vmb_code vmbi_restorer_place(vmbi_restorer *r, int dirfd, const char *temporary, const char *name,
                             vmb_error **err);
/* Owner, attributes, mode, times. fd: the entry, opened, or -1. */
void vmbi_restorer_metadata(vmbi_restorer *r, int dirfd, const char *name, int fd,
                            const char *path, const vmbi_node *node);
/* Where an entry is made before it replaces another one; name itself when nothing is replaced. */
const char *vmbi_restorer_temporary(const vmbi_restorer *r, const char *name);

/* ---- restore_content.c ----------------------------------------------------------------------- */

/* Writes the content of a file, whose size is in *size afterwards. */
vmb_code vmbi_restorer_content(vmbi_restorer *r, const vmbi_node *node, int fd, uint64_t *size,
                               vmb_error **err);

/* ---- restore_file.c -------------------------------------------------------------------------- */

/* Restores a regular file, or notes it for the batch of its directory (then node is taken over). */
vmb_code vmbi_restorer_file(vmbi_restorer *r, vmbi_restore_dir *d, vmbi_node *node,
                            const char *path, vmb_error **err);
/* Writes bytes at a place, zeros as a hole (counted in *hole) unless told otherwise. Any thread. */
vmb_code vmbi_restorer_write(const vmbi_restorer *r, int fd, const void *data, size_t len,
                             uint64_t at, uint64_t *hole, vmb_error **err);
/* Restores what the batch holds; all of it lies in d. */
vmb_code vmbi_restorer_flush(vmbi_restorer *r, vmbi_restore_dir *d, vmb_error **err);

#endif
