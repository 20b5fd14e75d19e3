/* SPDX-License-Identifier: Apache-2.0 */
/* Workers that hash, compress, seal and pack blobs, while the caller reads and cuts. */
#ifndef VMBI_REPO_TREE_POOL_H
#define VMBI_REPO_TREE_POOL_H

#include <pthread.h>
#include <stdatomic.h>

#include "repo/repo.h"

/* What a caller waits for: the blobs of one directory, say. */
typedef struct vmbi_pool_group {
    size_t pending; /* under the pool's lock */
} vmbi_pool_group;

/* Work of another kind than saving a blob: run on a worker, whose number is below n_threads. */
typedef void (*vmbi_pool_task_fn)(void *task, size_t worker);

enum { VMBI_RING_LENT = 64 };

/* Memory that the caller reads into and that workers borrow stretches of, without a copy. */
typedef struct vmbi_ring {
    uint8_t *base; /* owned */
    size_t cap;
    struct { /* under the pool's lock */
        size_t from, to;
        bool lent;
    } parts[VMBI_RING_LENT];
} vmbi_ring;

typedef struct vmbi_pool_job {
    uint8_t *data; /* owned, unless it is a part of the ring */
    size_t len;
    vmbi_repo_id *id; /* written before the group's count goes down */
    vmbi_pool_group *group;
    struct vmbi_pool_job *next;
    vmbi_ring *ring; /* NULL: data is owned */
    size_t part;
    vmbi_pool_task_fn task; /* NULL: save data; else the job is the caller's */
    void *arg;
} vmbi_pool_job;

enum {
    VMBI_POOL_MAX_THREADS = 16,
    VMBI_POOL_MAX_SPARES = 4,
    VMBI_POOL_MAX_TASKS = 256, /* that wait or run */
    VMBI_POOL_WAKE_TASKS = 16, /* so many small tasks are worth waking a worker */
    VMBI_POOL_PAIR_KNOWN = 8   /* after so many known blobs the next are hashed two at a time */
};

typedef struct vmbi_pool {
    vmbi_repo *repo;
    pthread_mutex_t lock;  /* guards all below */
    pthread_cond_t work;   /* a job or the end has come */
    pthread_cond_t room;   /* bytes were given back, or a group has ended */
    vmbi_pool_job *first, *last;
    size_t bytes;     /* in jobs that wait or run */
    size_t max_bytes;
    size_t n_tasks;
    size_t n_unseen;  /* tasks put in the queue since a worker was woken for one */
    size_t n_started; /* threads that know their number */
    bool stopping;
    bool dry_run; /* set it after init: blobs are hashed and counted, not saved */
    uint64_t dry_blobs, dry_bytes; /* that would have been new */
    size_t known;     /* how many blobs one after the other were in the repository */
    bool keep_spares;
    uint8_t *spares[VMBI_POOL_MAX_SPARES];
    size_t n_spares;
    vmb_error *failed; /* the first failure; nothing is saved after it */
    vmb_code failed_code;
    pthread_t threads[VMBI_POOL_MAX_THREADS];
    size_t n_threads;
} vmbi_pool;

/* max_bytes bounds the data in flight; a single larger job is let in alone. */
vmb_code vmbi_pool_init(vmbi_pool *p, vmbi_repo *repo, size_t threads, size_t max_bytes,
                        vmb_error **err);
/* Saves data (taken over in every case) as a data blob; the ID is in *id when the group has been
 * waited for. Blocks while the budget is used up. */
vmb_code vmbi_pool_save(vmbi_pool *p, uint8_t *data, size_t len, vmbi_repo_id *id,
                        vmbi_pool_group *group, vmb_error **err);
/* For data that comes in buffers of one size: those that are done are kept, and handed out again by
 * vmbi_pool_spare (NULL: there is none now), which saves the kernel's work on fresh memory. */
void vmbi_pool_keep_spares(vmbi_pool *p);
uint8_t *vmbi_pool_spare(vmbi_pool *p);
/* A ring for the caller's reading; *ring is zeroed. Freed when nothing of it is lent any more. */
vmb_code vmbi_ring_init(vmbi_ring *ring, size_t cap, vmb_error **err);
void vmbi_ring_done(vmbi_ring *ring); /* zeroed memory allowed */
/* Waits until no worker has any of the bytes from … to - 1. */
void vmbi_pool_reclaim(vmbi_pool *p, const vmbi_ring *ring, size_t from, size_t to);
/* As vmbi_pool_save, with bytes of the ring, which stay there until they are reclaimed. */
vmb_code vmbi_pool_lend(vmbi_pool *p, vmbi_ring *ring, size_t from, size_t len, vmbi_repo_id *id,
                        vmbi_pool_group *group, vmb_error **err);
/* Runs a task; *job is zeroed memory of the caller that lasts until the group was waited for. Tasks
 * are run also after a failure. Blocks while VMBI_POOL_MAX_TASKS are under way. */
void vmbi_pool_run(vmbi_pool *p, vmbi_pool_job *job, vmbi_pool_task_fn task, void *arg,
                   vmbi_pool_group *group);
/* The first failure; VMB_OK. */
vmb_code vmbi_pool_failed(vmbi_pool *p);
/* Saves a blob on this thread, or only counts it in a dry run. */
vmb_code vmbi_pool_save_now(vmbi_pool *p, vmbi_blob_type type, const void *data, size_t len,
                            vmbi_repo_id *id, bool *known, vmb_error **err);
/* Waits until vmbi_pool_save of so many bytes would not wait, for a single caller who wants to fill
 * its buffer only then. After a failure it does not wait. */
void vmbi_pool_wait_room(vmbi_pool *p, size_t len);
/* Waits until nothing of the group is pending. */
vmb_code vmbi_pool_wait(vmbi_pool *p, vmbi_pool_group *group, vmb_error **err);
/* Ends the threads; jobs that wait are done first, or dropped after a failure. */
void vmbi_pool_done(vmbi_pool *p);

#endif
