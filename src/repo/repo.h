/* SPDX-License-Identifier: Apache-2.0 */
/* Deduplicating repositories, whatever their format. A repository lives below a prefix of a store.
 *
 * Order of a writer: open, lock (shared), load_index, save blobs, flush, snapshot_save, close.
 * Order of a reader: open, lock (shared; may be left out), snapshot_list, load_index, load blobs.
 *
 * All functions on an opened repository may be called from any thread, except those marked "alone":
 * no other call may run at that time. Work is done on the caller's thread (hashing, compression,
 * sealing) and on the repository's own threads (uploads of packs, refreshing the lock). */
#ifndef VMBI_REPO_REPO_H
#define VMBI_REPO_REPO_H

#include <vmbackup/provider.h>

#include "base/buf.h"
#include "base/compiler.h"
#include "codec/json.h"

enum {
    VMBI_REPO_ID_SIZE = 32,
    VMBI_REPO_HEX_SIZE = 65,   /* an ID in hex with its NUL */
    /* Plaintext bytes of a blob that we write or read. A folder is one blob: this is room for
     * 1.3 million entries. Nobody else comes near: a chunk of a file has at most 8 MiB. */
    VMBI_REPO_MAX_BLOB = 512 << 20
};

typedef struct vmbi_repo vmbi_repo;

typedef struct vmbi_repo_id {
    uint8_t b[VMBI_REPO_ID_SIZE];
} vmbi_repo_id;

typedef enum vmbi_blob_type {
    VMBI_BLOB_DATA = 0,
    VMBI_BLOB_TREE = 1
} vmbi_blob_type;

typedef enum vmbi_repo_compression {
    VMBI_REPO_AUTO = 0,
    VMBI_REPO_OFF = 1,
    VMBI_REPO_MAX = 2
} vmbi_repo_compression;

typedef enum vmbi_repo_lock_kind {
    VMBI_REPO_SHARED = 0,
    VMBI_REPO_EXCLUSIVE = 1
} vmbi_repo_lock_kind;

/* Zero it, then set what is wanted. Everything behind a pointer is borrowed: store and job until
 * the repository is closed, the rest for the call. */
typedef struct vmbi_repo_options {
    const vmb_store_provider *store; /* required */
    vmb_job *job;                    /* required: deadline, cancellation and log of all calls */
    const char *prefix;              /* "" or NULL: the store's root; no '/' at its ends */
    const char *format;              /* NULL: "restic" */
    const void *password;            /* required; the bytes as they are, no trimming */
    size_t password_len;
    const char *key_hint; /* ID (or its start) of the key to try first; NULL */
    const char *hostname; /* of locks and keys; NULL: this machine's */
    const char *username; /* NULL: this process's */
    vmbi_repo_compression compression;
    uint64_t pack_bytes;   /* target size of packs, 4 to 128 MiB; 0: 16 MiB */
    uint64_t memory_bytes; /* for packs being filled and uploaded; 0: 3 packs; at least 2 packs */
    uint32_t uploads;      /* packs in flight at a time, 1 to 16; 0: 2 */
    /* init only */
    uint32_t version;            /* 1 or 2; 0: 2 */
    uint64_t chunker_polynomial; /* 0: a random irreducible one */
    uint64_t scrypt_n;           /* 0: N 32768, r 8, p 1 */
    uint32_t scrypt_r, scrypt_p;
} vmbi_repo_options;

/* Makes a repository and opens it. VMB_E_EXISTS when there is one (or parts of one). */
vmb_code vmbi_repo_init(const vmbi_repo_options *o, vmbi_repo **out, vmb_error **err);
/* VMB_E_NOT_FOUND: no repository there; VMB_E_DENIED: no key opens with this password;
 * VMB_E_UNSUPPORTED: a version or layout that we do not know. */
vmb_code vmbi_repo_open(const vmbi_repo_options *o, vmbi_repo **out, vmb_error **err);
/* Gives the lock back and frees. What was saved and not flushed is lost, but for packs that have been
 * uploaded: an index file names them when the lock is given back, if that can be written within half
 * a minute. NULL allowed. Alone. */
void vmbi_repo_close(vmbi_repo *r);

/* What is fixed in the repository. id is borrowed hex. */
typedef struct vmbi_repo_info {
    const char *format;
    const char *id;
    uint32_t version;
    uint64_t chunker_polynomial; /* of restic's chunker */
} vmbi_repo_info;
void vmbi_repo_get_info(const vmbi_repo *r, vmbi_repo_info *out);

/* Locks against other processes; the lock is refreshed by a thread until unlock or close. One lock
 * at a time. Waits up to wait_ns for others. VMB_E_CONFLICT names the lock in the way. */
vmb_code vmbi_repo_lock(vmbi_repo *r, vmbi_repo_lock_kind kind, int64_t wait_ns, vmb_error **err);
void vmbi_repo_unlock(vmbi_repo *r);
/* Removes stale locks of dead or silent processes; all: every lock. *removed may be NULL. */
vmb_code vmbi_repo_break_locks(vmbi_repo *r, bool all, size_t *removed, vmb_error **err);

/* Reads the index. Needed before has_blob, save_blob and load_blob. Calling it again adds what
 * others have written meanwhile. A damaged index file is an error that names it. Alone. */
vmb_code vmbi_repo_load_index(vmbi_repo *r, vmb_error **err);

/* Forgets the index, what was saved and not flushed, and a failed upload: as after open, but the
 * lock, if one is held, stays. For whoever keeps a repository open between locks: what was known
 * at the former lock may have been pruned by others. Alone. */
vmb_code vmbi_repo_reset(vmbi_repo *r, vmb_error **err);
/* Resets and reads the index, unless what is known is what the store has. With the lock. Alone. */
vmb_code vmbi_repo_renew_index(vmbi_repo *r, vmb_error **err);

/* ID of a blob with these bytes. */
void vmbi_repo_hash(const vmbi_repo *r, const void *data, size_t len, vmbi_repo_id *out);
/* The same for two blobs at once, in little more than the time of one when they are alike in size. */
void vmbi_repo_hash_pair(const vmbi_repo *r, const void *a, size_t a_len, vmbi_repo_id *a_out,
                         const void *b, size_t b_len, vmbi_repo_id *b_out);
/* Is the blob stored, or on its way into the store? */
bool vmbi_repo_has_blob(vmbi_repo *r, vmbi_blob_type type, const vmbi_repo_id *id);
/* Plaintext size of a blob; false when it is not known. */
bool vmbi_repo_blob_size(vmbi_repo *r, vmbi_blob_type type, const vmbi_repo_id *id,
                         uint64_t *size_bytes);
/* Stores a blob unless it is known. Blocks while the memory budget is used up. Needs a lock.
 * known (may be NULL): true when nothing had to be stored. After a failed upload every later call
 * fails with that error. */
vmb_code vmbi_repo_save_blob(vmbi_repo *r, vmbi_blob_type type, const void *data, size_t len,
                             vmbi_repo_id *id, bool *known, vmb_error **err);
/* The same for bytes whose ID the caller has computed with vmbi_repo_hash. */
vmb_code vmbi_repo_save_hashed(vmbi_repo *r, vmbi_blob_type type, const vmbi_repo_id *id,
                               const void *data, size_t len, bool *known, vmb_error **err);
/* Reads a blob, verified against its ID, into out (reset first; its ceiling counts). Every copy is
 * tried. VMB_E_NOT_FOUND: not in the index; VMB_E_INVALID: damaged, with pack and position. */
vmb_code vmbi_repo_load_blob(vmbi_repo *r, vmbi_blob_type type, const vmbi_repo_id *id,
                             vmbi_buf *out, vmb_error **err);
/* The same into the caller's memory, for disks: without a copy. */
vmb_code vmbi_repo_load_blob_into(vmbi_repo *r, vmbi_blob_type type, const vmbi_repo_id *id,
                                  void *out, size_t cap, size_t *len, vmb_error **err);
/* Where a blob lies, so that a restore can read neighbours together: blobs of equal pack numbers,
 * ordered by offset. pack numbers mean nothing beyond this repository object. */
typedef struct vmbi_blob_place {
    uint32_t pack;
    uint32_t offset;
    uint32_t stored_len;
    uint32_t size; /* plaintext */
} vmbi_blob_place;
bool vmbi_repo_find_blob(vmbi_repo *r, vmbi_blob_type type, const vmbi_repo_id *id,
                         vmbi_blob_place *out);
/* Reads blobs of one pack with one request: places sorted by offset, of one pack, not further
 * apart than the caller likes. ids[i] belongs to places[i]. fn gets each verified blob, in order
 * when that is wanted (which takes a little longer); the data is borrowed for the call. A damaged blob is read again on its own, from other copies
 * if there are any; then its error is handed to fn with data NULL, and fn decides. */
typedef vmb_code (*vmbi_repo_blob_fn)(void *user, size_t i, const void *data, size_t len,
                                      vmb_error *why, vmb_error **err);
vmb_code vmbi_repo_load_run(vmbi_repo *r, vmbi_blob_type type, const vmbi_repo_id *ids,
                            const vmbi_blob_place *places, size_t n, bool in_order,
                            vmbi_repo_blob_fn fn, void *user, vmb_error **err);

/* Makes everything that was saved durable and known to others: open packs, then index files. */
vmb_code vmbi_repo_flush(vmbi_repo *r, vmb_error **err);

/* Counters since open. */
typedef struct vmbi_repo_stats {
    uint64_t blobs_new, blobs_known;      /* of save calls */
    uint64_t bytes_new, bytes_known;      /* plaintext */
    uint64_t bytes_stored;                /* sealed bytes of new blobs */
    uint64_t packs_written, pack_bytes_written;
    uint64_t index_blobs, index_packs, index_memory_bytes;
} vmbi_repo_stats;
void vmbi_repo_get_stats(vmbi_repo *r, vmbi_repo_stats *out);

/* Snapshots are JSON trees with restic's fields (time, parent, tree, paths, hostname, username,
 * uid, gid, excludes, tags, original, program_version, summary). */
typedef vmb_code (*vmbi_snapshot_fn)(void *user, const char *id, const vmbi_json *snapshot,
                                     vmb_error **err);
/* Calls fn for each, in the order of IDs. A damaged snapshot file is handed over with snapshot
 * NULL. fn may end the walk with its own code. */
vmb_code vmbi_repo_snapshot_list(vmbi_repo *r, vmbi_snapshot_fn fn, void *user, vmb_error **err);
/* id: hex, or its start when that is unambiguous (VMB_E_CONFLICT), or "latest". full_id receives
 * the whole ID; it may be NULL. */
vmb_code vmbi_repo_snapshot_load(vmbi_repo *r, const char *id, char full_id[VMBI_REPO_HEX_SIZE],
                                 vmbi_json **out, vmb_error **err);
/* Flushes first. Needs a lock. */
vmb_code vmbi_repo_snapshot_save(vmbi_repo *r, const vmbi_json *snapshot,
                                 char id[VMBI_REPO_HEX_SIZE], vmb_error **err);
/* Removes one snapshot by its whole ID. Needs the exclusive lock. */
vmb_code vmbi_repo_snapshot_delete(vmbi_repo *r, const char *id, vmb_error **err);

/* Keys. */
typedef struct vmbi_repo_key {
    char id[VMBI_REPO_HEX_SIZE];
    char created[48];
    char username[128];
    char hostname[128];
    bool current; /* the one that opened the repository */
} vmbi_repo_key;
typedef vmb_code (*vmbi_repo_key_fn)(void *user, const vmbi_repo_key *key, vmb_error **err);
vmb_code vmbi_repo_key_list(vmbi_repo *r, vmbi_repo_key_fn fn, void *user, vmb_error **err);
vmb_code vmbi_repo_key_add(vmbi_repo *r, const void *password, size_t len,
                           char id[VMBI_REPO_HEX_SIZE], vmb_error **err);
/* The key in use is refused with VMB_E_STATE. Needs the exclusive lock. */
vmb_code vmbi_repo_key_remove(vmbi_repo *r, const char *id, vmb_error **err);
/* A new key in place of the one in use. Needs the exclusive lock. */
vmb_code vmbi_repo_key_passwd(vmbi_repo *r, const void *password, size_t len,
                              char id[VMBI_REPO_HEX_SIZE], vmb_error **err);

/* Check. */
typedef enum vmbi_finding_level {
    VMBI_FINDING_HINT = 0,  /* harmless: orphan packs, duplicates */
    VMBI_FINDING_ERROR = 1
} vmbi_finding_level;
typedef struct vmbi_repo_finding {
    vmbi_finding_level level;
    const char *file_kind;  /* config, key, index, snapshot, lock, pack, tree, blob */
    const char *file;       /* name below the prefix ("data/ab/abcd…"), or "" */
    const char *blob;       /* hex of the blob, or "" */
    const char *message;
} vmbi_repo_finding;
typedef void (*vmbi_repo_finding_fn)(void *user, const vmbi_repo_finding *f);
typedef struct vmbi_repo_check_options {
    bool read_data; /* read every pack */
    uint64_t max_findings; /* 0: 1000 */
} vmbi_repo_check_options;
/* Checks the whole repository. *errors receives the number of findings of level ERROR; VMB_OK when
 * the check itself could be done. With a lock (a repository that cannot be written is checked
 * without one, and what others prune meanwhile is then found missing). Reads the index anew: r has that one afterwards.
 * Alone. fn may be called from another thread, never two at a time. */
vmb_code vmbi_repo_check(vmbi_repo *r, const vmbi_repo_check_options *o, vmbi_repo_finding_fn fn,
                         void *user, uint64_t *errors, vmb_error **err);

/* Prune: drops what no snapshot needs. Needs the exclusive lock. Alone. */
typedef struct vmbi_repo_prune_options {
    uint32_t max_unused_percent; /* of the repository; packs are rewritten down to this. 5 is usual */
    uint64_t max_repack_bytes;   /* 0: no limit */
    bool dry_run;
} vmbi_repo_prune_options;
typedef struct vmbi_repo_prune_stats {
    uint64_t packs_kept, packs_repacked, packs_deleted;
    uint64_t blobs_used, blobs_unused, bytes_unused, bytes_freed;
} vmbi_repo_prune_stats;
vmb_code vmbi_repo_prune(vmbi_repo *r, const vmbi_repo_prune_options *o,
                         vmbi_repo_prune_stats *stats, vmb_error **err);

void vmbi_repo_id_hex(const vmbi_repo_id *id, char out[VMBI_REPO_HEX_SIZE]);
bool vmbi_repo_id_parse(const char *hex, size_t len, vmbi_repo_id *out);

#endif
