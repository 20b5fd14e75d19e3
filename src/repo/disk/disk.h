/* SPDX-License-Identifier: Apache-2.0 */
/* Disks in a repository: a snapshot with one file in it, cut into chunks of one size, so that a
 * change stays where it is. What is saved here is an ordinary file to restic; what restic has cut
 * in its own way is read here all the same.
 *
 * The blocks tables that come in are whole (the caller has copied them from what it was given):
 * functions that may be NULL are looked at, struct_size is not. */
#ifndef VMBI_REPO_DISK_DISK_H
#define VMBI_REPO_DISK_DISK_H

#include <vmbackup/volume.h>

#include "repo/repo.h"

enum {
    VMBI_DISK_CHUNK_MIN = 64 * 1024,
    VMBI_DISK_CHUNK_DEFAULT = 4 * 1024 * 1024,
    VMBI_DISK_CHUNK_MAX = 8 * 1024 * 1024,
    VMBI_DISK_STATE_MAX = 4096 /* bytes of a source's state */
};

/* Told from the caller's thread now and then; total_bytes is the disk's size. */
typedef void (*vmbi_disk_progress_fn)(void *user, uint64_t done_bytes, uint64_t total_bytes);

/* ---- saving ---------------------------------------------------------------------------------- */

typedef struct vmbi_disk_save_options {
    const char *name;   /* of the file; NULL: "disk.img" */
    const char *folder; /* absolute path of its folder in the snapshot; NULL: "/" */
    const char *parent; /* snapshot (as for vmbi_repo_snapshot_load) whose file of the same path
                           gives the unchanged chunks; NULL: none */
    bool force;         /* the parent is only recorded: everything is read */
    const char *const *tags;
    size_t n_tags;
    const char *hostname; /* NULL: this machine's */
    const char *username; /* NULL: left out */
    int64_t time_unix_ns; /* of the snapshot; 0: now */
    uint32_t chunk_bytes; /* a power of two; 0: that of the parent if it has one, else 4 MiB, or
                             8 MiB when the list of chunks would get too long */
    size_t threads;       /* that hash, compress and seal; 0: 2 */
    size_t memory_bytes;  /* for chunks in flight; 0: 8 MiB; at least two chunks are held */
    vmbi_disk_progress_fn progress; /* NULL: not told */
    void *user;
} vmbi_disk_save_options;

typedef struct vmbi_disk_save_stats {
    uint64_t bytes;           /* size of the disk */
    uint64_t bytes_read;      /* read from the source */
    uint64_t bytes_zero;      /* zeros: told by the source, or found in what was read */
    uint64_t bytes_unchanged; /* taken from the parent without reading */
    uint64_t chunks;
    uint32_t chunk_bytes;
    bool parent_used;         /* chunks could be taken from it */
} vmbi_disk_save_stats;

/* Saves a disk as a snapshot. Needs a lock and the index. The parent is only an aid: when it lacks
 * something, is damaged, or its state is not known to the source, everything is read; the job's
 * log says so. VMB_E_ARG: options; VMB_E_LIMIT: too many chunks; VMB_E_PROVIDER: the source broke
 * its contract; else its failure or that of the store. */
vmb_code vmbi_disk_save(vmbi_repo *r, const vmb_blocks_provider *source,
                        const vmbi_disk_save_options *o, vmb_job *job,
                        char id[VMBI_REPO_HEX_SIZE], vmbi_disk_save_stats *stats, vmb_error **err);

/* ---- restoring ------------------------------------------------------------------------------- */

typedef struct vmbi_disk_restore_options {
    const char *snapshot; /* as for vmbi_repo_snapshot_load */
    const char *path;     /* absolute path of the file; NULL: the only file */
    bool verify;          /* read the target back and compare it with the chunks' IDs */
    size_t threads;       /* that read, decrypt and decompress; 0: 2 */
    vmbi_disk_progress_fn progress; /* NULL: not told */
    void *user;
} vmbi_disk_restore_options;

typedef struct vmbi_disk_restore_stats {
    uint64_t bytes;         /* size of the disk */
    uint64_t bytes_written; /* data */
    uint64_t bytes_zero;    /* made zero without writing, where the target can */
    uint64_t bytes_verified;
} vmbi_disk_restore_stats;

/* Writes a file of a snapshot to a target. Needs the index. The target is made as big as the file
 * when it can be resized; else it must be big enough (VMB_E_FULL), and what lies behind is left
 * alone. VMB_E_INVALID: damaged data, or the target reads back something else. */
vmb_code vmbi_disk_restore(vmbi_repo *r, const vmb_blocks_provider *target,
                           const vmbi_disk_restore_options *o, vmb_job *job,
                           vmbi_disk_restore_stats *stats, vmb_error **err);

/* ---- reading --------------------------------------------------------------------------------- */

typedef struct vmbi_disk vmbi_disk;

/* Opens a regular file of a snapshot for random reads. Needs the index; repository and job are
 * borrowed until close. path NULL: the only file (VMB_E_CONFLICT when there are several).
 * cache_bytes: of chunks that were read; 0: 32 MiB. VMB_E_NOT_FOUND: no such snapshot or file, or
 * a chunk is not in the index; VMB_E_INVALID: no regular file. */
vmb_code vmbi_disk_open(vmbi_repo *r, const char *snapshot, const char *path, uint64_t cache_bytes,
                        vmb_job *job, vmbi_disk **out, vmb_error **err);
/* After the last call of the others. NULL allowed. */
void vmbi_disk_close(vmbi_disk *d);
uint64_t vmbi_disk_size(const vmbi_disk *d);
/* Reads exactly len bytes, verified; past the end is VMB_E_ARG. Any number of threads. */
vmb_code vmbi_disk_pread(vmbi_disk *d, void *data, size_t len, uint64_t offset, vmb_error **err);
/* Walks a range (cut at the disk's end): VMB_EXTENT_ZERO and VMB_EXTENT_DATA, neighbours of one
 * kind as one extent, in order and without gaps. Nothing is read. A failure of fn ends the walk
 * with that code (and no error object). Any number of threads. */
typedef vmb_code (*vmbi_disk_extent_fn)(void *user, int64_t offset_bytes, int64_t length_bytes,
                                        int32_t kind);
vmb_code vmbi_disk_extents(vmbi_disk *d, uint64_t offset, uint64_t length, vmbi_disk_extent_fn fn,
                           void *user, vmb_error **err);

#endif
