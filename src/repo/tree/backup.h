/* SPDX-License-Identifier: Apache-2.0 */
/* Saving files and folders into a repository, in trees that are equal, byte for byte, to those that
 * restic makes of the same files (in time zone UTC). */
#ifndef VMBI_REPO_TREE_BACKUP_H
#define VMBI_REPO_TREE_BACKUP_H

#include "repo/repo.h"

typedef struct vmbi_tree_stats {
    uint64_t files, dirs, others;
    uint64_t files_unchanged; /* reused from the parent without reading */
    uint64_t bytes;           /* of all files */
    uint64_t bytes_read;
    uint64_t bytes_zero;      /* holes that were neither read nor hashed */
    uint64_t warnings;        /* entries, or parts of them, that could not be read */
} vmbi_tree_stats;

typedef struct vmbi_tree_options {
    const char *const *paths; /* absolute, without "." and ".." in them */
    size_t n_paths;
    const char *parent;       /* snapshot to compare with; NULL: none */
    const char *const *tags;
    size_t n_tags;
    const char *hostname; /* NULL: this machine's */
    const char *username; /* NULL: the user's name */
    int64_t time_unix_ns; /* of the snapshot; 0: now */
    bool one_file_system;
    size_t threads;       /* 0: 2 */
    size_t memory_bytes;  /* data in flight; 0: 24 MiB */
    void (*warn)(void *user, const char *path, const char *text); /* NULL: not told */
    void *user;
} vmbi_tree_options;

/* Saves a snapshot: needs a lock and the index. Entries that vanish or cannot be read are warned
 * of and left out; VMB_E_NOT_FOUND when nothing is left to save. */
vmb_code vmbi_tree_backup(vmbi_repo *r, const vmbi_tree_options *o, vmb_job *job,
                          char id[VMBI_REPO_HEX_SIZE], vmbi_tree_stats *stats, vmb_error **err);

#endif
