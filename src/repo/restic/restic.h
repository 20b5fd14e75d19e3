/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of an opened restic repository, shared by the files of this folder.
 *
 * Locks, in this order: locker.mutex, mutex, lanes_mutex; none is held during I/O. */
#ifndef VMBI_REPO_RESTIC_RESTIC_H
#define VMBI_REPO_RESTIC_RESTIC_H

#include <pthread.h>

#include "base/cancel.h"
#include "base/job.h"
#include "codec/sha256.h"
#include "codec/zstd.h"
#include "repo/format.h"
#include "repo/restic/config.h"
#include "repo/restic/crypto.h"
#include "repo/restic/index.h"
#include "repo/restic/pending.h"
#include "repo/storage.h"

enum {
    VMBI_RESTIC_PATH = 96,              /* "data/xx/<64 hex>" and its NUL fit */
    VMBI_RESTIC_META_MAX = 512 << 20,   /* of an index, snapshot or lock file, unpacked */
    VMBI_RESTIC_MAX_UPLOADS = 16
};

/* Memory that is kept for the next to need as much. */
typedef struct vmbi_room {
    uint8_t *p;
    size_t cap;
} vmbi_room;

/* What one thread needs for its work on a blob. */
typedef struct vmbi_lane {
    struct vmbi_lane *next;
    vmbi_restic_box *box;
    vmbi_zstd_enc *enc; /* made on first use */
    vmbi_zstd_dec *dec;
    vmbi_room scratch;  /* of who saves or reads a blob */
    vmbi_room plain[2]; /* of who reads runs or checks packs */
} vmbi_lane;

/* A thread that seals a blob into its place in a pack; on that thread's stack. */
typedef struct vmbi_pack_writer {
    struct vmbi_pack_writer *next;
    size_t offset;
} vmbi_pack_writer;

/* A pack being filled, sealed or uploaded. */
typedef struct vmbi_open_pack {
    struct vmbi_open_pack *next; /* in the queue of uploads */
    uint8_t *data;               /* mapped: pages cost nothing before they are written */
    size_t cap;
    size_t fill;
    size_t header; /* plaintext bytes of the header so far */
    unsigned writers; /* threads that are sealing into data, or hashing it */
    vmbi_pack_writer *sealing; /* those that are sealing */
    vmbi_sha256_state hash;    /* of the first `hashed` bytes */
    size_t hashed;
    bool hashing; /* by a thread that hashes a blob */
    bool closed;
    vmbi_blob_type type;
    vmbi_pack_blobs blobs;
} vmbi_open_pack;

typedef struct vmbi_packer {
    vmbi_open_pack *open[2]; /* by type */
    vmbi_open_pack *closing; /* closed, and left for a while to threads that hash blobs */
    vmbi_open_pack *queue_head, *queue_tail;
    vmbi_open_pack *idle; /* at most one, for the next to need it */
    size_t buffers[2], max_buffers; /* alive, by type, without the idle one */
    size_t busy;                 /* closed and not yet durable */
    pthread_t threads[VMBI_RESTIC_MAX_UPLOADS];
    unsigned threads_n, threads_wanted;
    bool stop;
    uint32_t *unindexed; /* packs that no index file names yet */
    size_t unindexed_n, unindexed_cap;
    size_t unindexed_blobs;
    int64_t unindexed_since_ns;
    bool writing_index;
    vmb_error *failure; /* of an upload: every later save and flush fails with it */
    vmb_code failure_code;
} vmbi_packer;

typedef struct vmbi_locker {
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    pthread_t thread;
    bool running, stop;
    bool held;
    vmbi_repo_lock_kind kind;
    vmbi_repo_id id;          /* of the lock file */
    int64_t refreshed_mono_ns; /* when the lock file was written */
    int64_t seen_mono_ns;      /* when it was last seen in the store */
    bool lost;                 /* it was removed by others, or is too old to be trusted */
} vmbi_locker;

typedef struct vmbi_restic {
    struct vmbi_repo base; /* first */
    vmbi_storage storage;
    vmbi_restic_config config;
    vmbi_restic_keys keys; /* wiped at close */
    vmbi_repo_id key_id;   /* the key file that opened the repository */
    uint64_t scrypt_n;
    uint32_t scrypt_r, scrypt_p;
    char hostname[128];
    char username[128];
    vmbi_repo_compression compression;
    size_t pack_bytes;

    pthread_mutex_t lanes_mutex;
    vmbi_lane *lanes; /* idle ones; lanes_mutex */

    pthread_mutex_t mutex; /* of all below */
    pthread_cond_t cond;   /* something of the packer has changed */
    vmbi_restic_index *index;
    bool index_loaded;
    bool index_exact;        /* index holds what index_files says, and what was saved since */
    uint8_t index_files[32]; /* digest of the sorted IDs of the index files that were read */
    uint64_t index_saved;    /* stats.blobs_new at that time */
    vmbi_pending pending;
    vmbi_packer packer;
    vmbi_repo_stats stats;

    vmbi_locker locker;
} vmbi_restic;

static inline vmbi_restic *vmbi_restic_of(vmbi_repo *r)
{
    return (vmbi_restic *)(void *)r; /* base is its first member */
}

/* lane.c */
vmb_code vmbi_lane_get(vmbi_restic *r, vmbi_lane **out, vmb_error **err);
void vmbi_lane_put(vmbi_restic *r, vmbi_lane *lane); /* NULL allowed */
void vmbi_lanes_free(vmbi_restic *r);
/* What was in the room is lost when it has to grow. */
vmb_code vmbi_room_reserve(vmbi_room *room, size_t size, vmb_error **err);
vmb_code vmbi_lane_encoder(vmbi_restic *r, vmbi_lane *lane, vmb_error **err);
vmb_code vmbi_lane_decoder(vmbi_lane *lane, vmb_error **err);

/* file.c: index, snapshot and lock files. dir is "index/" and so on. */
void vmbi_restic_path(char out[VMBI_RESTIC_PATH], const char *dir, const vmbi_repo_id *id);
void vmbi_restic_pack_path(char out[VMBI_RESTIC_PATH], const vmbi_repo_id *id);
/* Reads, verifies the name against the content, opens and unpacks. */
vmb_code vmbi_restic_load_file(vmbi_restic *r, const char *dir, const vmbi_repo_id *id,
                               vmbi_buf *out, vmb_error **err);
/* The part behind the reading: text of a sealed file. */
vmb_code vmbi_restic_unpack(vmbi_restic *r, vmbi_lane *lane, uint8_t *sealed, size_t len,
                            vmbi_buf *out, vmb_error **err);
/* Stores bytes as they are under their own digest; removes such a file (what: "key", for messages). */
vmb_code vmbi_restic_put_named(vmbi_restic *r, vmb_job *job, const char *dir, const void *data,
                               size_t len, vmbi_repo_id *id, vmb_error **err);
vmb_code vmbi_restic_remove_named(vmbi_restic *r, const char *dir, const char *what,
                                  const vmbi_repo_id *id, vmb_error **err);
vmb_code vmbi_restic_save_file(vmbi_restic *r, vmb_job *job, const char *dir, const char *text,
                               size_t len, vmbi_repo_id *id, vmb_error **err);
/* IDs of the files below dir, sorted; names that are no IDs are passed over. */
typedef struct vmbi_id_list {
    vmbi_repo_id *v;
    int64_t *sizes;
    size_t n, cap;
} vmbi_id_list;
void vmbi_id_list_free(vmbi_id_list *l);
vmb_code vmbi_restic_list(vmbi_restic *r, const char *dir, vmbi_id_list *out, vmb_error **err);
bool vmbi_id_list_has(const vmbi_id_list *l, const vmbi_repo_id *id, size_t *at);

/* key.c */
vmb_code vmbi_restic_key_find(vmbi_restic *r, const void *password, size_t len, const char *hint,
                              vmb_error **err);
vmb_code vmbi_restic_key_new(vmbi_restic *r, const void *password, size_t len, vmbi_repo_id *id,
                             vmb_error **err);

/* packer.c */
void vmbi_packer_stop(vmbi_restic *r);
/* One writer less; uploads the pack when it was the last of a closed one. mutex held. */
void vmbi_packer_leave(vmbi_restic *r, vmbi_open_pack *p);
/* Nobody need hash the pack that is closing any more: it is uploaded. mutex held. */
void vmbi_packer_let_go(vmbi_restic *r);
vmb_code vmbi_restic_save_blob(vmbi_repo *base, vmbi_blob_type type, const void *data, size_t len,
                               vmbi_repo_id *id, bool *known, vmb_error **err);
/* Stops, and is ready for the next save as if nothing had been saved before. */
void vmbi_packer_restart(vmbi_restic *r);
vmb_code vmbi_restic_save(vmbi_repo *base, vmbi_blob_type type, const vmbi_repo_id *id,
                          const void *data, size_t len, bool *known, vmb_error **err);
vmb_code vmbi_restic_flush(vmbi_repo *base, vmb_error **err);
/* Writes what is in packer.unindexed, when `all` or when it is due. Called without the mutex. job:
 * NULL for that of the storage. */
vmb_code vmbi_restic_write_index(vmbi_restic *r, vmb_job *job, bool all, vmb_error **err);

/* salvage.c: work has ended before its flush. What it has uploaded is put into an index file as far
 * as that goes, in bounded time and whatever was cancelled, so that the next attempt finds it. With
 * the shared lock; nothing happens when nothing is waiting. */
void vmbi_packer_salvage(vmbi_restic *r);

/* packhash.c */
void vmbi_restic_hash_blob(vmbi_restic *r, const void *data, size_t len, vmbi_repo_id *out);
/* ID of a whole pack, when nobody else uses it any more. */
void vmbi_restic_hash_pack(vmbi_open_pack *p, vmbi_repo_id *out);

/* blob.c */
bool vmbi_restic_has(vmbi_repo *base, vmbi_blob_type type, const vmbi_repo_id *id);
bool vmbi_restic_size(vmbi_repo *base, vmbi_blob_type type, const vmbi_repo_id *id, uint64_t *out);
bool vmbi_restic_find(vmbi_repo *base, vmbi_blob_type type, const vmbi_repo_id *id,
                      vmbi_blob_place *out);
vmb_code vmbi_restic_load(vmbi_repo *base, vmbi_blob_type type, const vmbi_repo_id *id,
                          vmbi_buf *out, vmb_error **err);
vmb_code vmbi_restic_load_into(vmbi_repo *base, vmbi_blob_type type, const vmbi_repo_id *id,
                               void *out, size_t cap, size_t *len, vmb_error **err);
vmb_code vmbi_restic_load_run(vmbi_repo *base, vmbi_blob_type type, const vmbi_repo_id *ids,
                              const vmbi_blob_place *places, size_t n, bool in_order,
                              vmbi_repo_blob_fn fn, void *user, vmb_error **err);
/* Opens a sealed blob and verifies its ID. size: what the index says, 0 when not compressed. out
 * has room for `cap` bytes. sealed is overwritten when the blob is compressed. */
vmb_code vmbi_restic_open_blob(vmbi_lane *lane, const vmbi_pack_blob *b, uint8_t *sealed, void *out,
                               size_t cap, size_t *len, vmb_error **err);
/* The two halves of it: for callers that have something else to hash at the same time. */
vmb_code vmbi_restic_decode_blob(vmbi_lane *lane, const vmbi_pack_blob *b, uint8_t *sealed,
                                 void *out, size_t cap, size_t *len, vmb_error **err);
vmb_code vmbi_restic_match_blob(const vmbi_pack_blob *b, const vmbi_repo_id *real,
                                vmb_error **err);
static inline size_t vmbi_pack_blob_size(const vmbi_pack_blob *b)
{
    return b->size != 0 ? b->size : b->length - VMBI_RESTIC_OVERHEAD;
}

/* indexload.c */
vmb_code vmbi_restic_load_index(vmbi_repo *base, vmb_error **err);
vmb_code vmbi_restic_renew_index(vmbi_repo *base, vmb_error **err);

/* snapshot.c */
vmb_code vmbi_restic_snapshot_list(vmbi_repo *base, vmbi_snapshot_fn fn, void *user,
                                   vmb_error **err);
vmb_code vmbi_restic_snapshot_load(vmbi_repo *base, const char *id,
                                   char full_id[VMBI_REPO_HEX_SIZE], vmbi_json **out,
                                   vmb_error **err);
vmb_code vmbi_restic_snapshot_save(vmbi_repo *base, const vmbi_json *snapshot,
                                   char id[VMBI_REPO_HEX_SIZE], vmb_error **err);
vmb_code vmbi_restic_snapshot_delete(vmbi_repo *base, const char *id, vmb_error **err);

/* keys.c */
vmb_code vmbi_restic_key_list(vmbi_repo *base, vmbi_repo_key_fn fn, void *user, vmb_error **err);
vmb_code vmbi_restic_key_add(vmbi_repo *base, const void *password, size_t len,
                             char id[VMBI_REPO_HEX_SIZE], vmb_error **err);
vmb_code vmbi_restic_key_remove(vmbi_repo *base, const char *id, vmb_error **err);
vmb_code vmbi_restic_key_passwd(vmbi_repo *base, const void *password, size_t len,
                                char id[VMBI_REPO_HEX_SIZE], vmb_error **err);

/* lock.c */
vmb_code vmbi_restic_lock(vmbi_repo *base, vmbi_repo_lock_kind kind, int64_t wait_ns,
                          vmb_error **err);
void vmbi_restic_unlock(vmbi_repo *base);
vmb_code vmbi_restic_break_locks(vmbi_repo *base, bool all, size_t *removed, vmb_error **err);
/* May the repository be changed now? VMB_E_STATE without (that kind of) lock, VMB_E_CONFLICT when
 * it was not refreshed for so long that others may take it for stale. */
vmb_code vmbi_restic_may_write(vmbi_restic *r, vmbi_repo_lock_kind kind, vmb_error **err);

/* The same with a look whether our lock file is still there, before something is written; unless
 * `now`, not more often than every few seconds. */
vmb_code vmbi_restic_still_locked(vmbi_restic *r, vmb_job *job, bool now, vmb_error **err);

/* check.c, prune.c */
vmb_code vmbi_restic_check(vmbi_repo *base, const vmbi_repo_check_options *o,
                           vmbi_repo_finding_fn fn, void *user, uint64_t *errors, vmb_error **err);
vmb_code vmbi_restic_prune(vmbi_repo *base, const vmbi_repo_prune_options *o,
                           vmbi_repo_prune_stats *stats, vmb_error **err);

/* A line for the job's log. */
void vmbi_restic_log(const vmbi_restic *r, int32_t level, const char *fmt, ...) VMBI_PRINTF(3, 4);

#endif
