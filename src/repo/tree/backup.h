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
    uint64_t excluded;        /* entries that an option left out */
    /* against the parent, as restic's summary has them */
    uint64_t files_new, files_changed, dirs_new, dirs_changed, dirs_unchanged;
    uint64_t data_blobs, tree_blobs; /* that were new to the repository */
    uint64_t data_added;             /* their plaintext bytes */
    uint64_t data_added_packed;      /* the same as they are stored */
    bool root_is_empty;              /* content_root: that is why nothing was saved */
} vmbi_tree_stats;

typedef struct vmbi_tree_options {
    const char *const *paths; /* absolute, without "." and ".." in them */
    size_t n_paths;
    bool content_root;        /* one path, a folder: what is in it stands at the snapshot's root,
                                 as with restic's target "."; VMB_E_NOT_FOUND when it is empty */
    const char *parent;       /* snapshot to compare with; NULL: none */
    const char *const *tags;
    size_t n_tags;
    const char *hostname; /* NULL: this machine's */
    const char *username; /* NULL: the user's name */
    int64_t time_unix_ns; /* of the snapshot; 0: now */
    bool one_file_system;
    size_t threads;       /* that read small files, hash and compress; 0: 2 */
    size_t memory_bytes;  /* data in flight; 0: 24 MiB */
    /* Excludes, in restic's syntax: patterns of --exclude and --iexclude, "!" takes back, "**" is
     * any number of folders. They are tested in the order given, the paths themselves too. */
    const char *const *excludes;
    size_t n_excludes;
    const char *const *iexcludes; /* the case of letters does not count */
    size_t n_iexcludes;
    const char *const *exclude_if_present; /* "FILE[:HEADER]": leaves out all else beside FILE */
    size_t n_exclude_if_present;
    bool exclude_caches;         /* folders with a CACHEDIR.TAG */
    uint64_t exclude_larger_than; /* files of more bytes; 0: no limit */
    /* Files whose names match one of these globs are cut into chunks of disk_chunk_bytes, so that
     * a change inside of a disk image stays local. restic reads them as any other file. */
    const char *const *disk_images;
    size_t n_disk_images;
    uint32_t disk_chunk_bytes; /* a power of two, 64 KiB to 8 MiB; 0: 4 MiB */
    bool dry_run;              /* reads and counts, stores nothing; the ID is "" */
    const char *program_version; /* kept in the snapshot; NULL: left out */
    void (*progress)(void *user, const vmbi_tree_stats *so_far); /* after each entry; NULL */
    void (*warn)(void *user, const char *path, const char *text); /* NULL: not told */
    void *user;
} vmbi_tree_options;

/* Saves a snapshot: needs a lock and the index. Entries that vanish or cannot be read are warned
 * of and left out; VMB_E_NOT_FOUND when nothing is left to save. */
vmb_code vmbi_tree_backup(vmbi_repo *r, const vmbi_tree_options *o, vmb_job *job,
                          char id[VMBI_REPO_HEX_SIZE], vmbi_tree_stats *stats, vmb_error **err);

#endif
