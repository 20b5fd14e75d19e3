/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/disk/cache.h"

#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/job.h"

enum {
    BUCKETS = 1024,
    LEAST = 4096,       /* bytes that a small chunk is counted as, for what manages it */
    MAPPED = 256 * 1024 /* from here on a chunk has pages of its own */
};
/* How often a thread that waits looks at cancellation. */
#define LOOK (200 * VMBI_MS)

typedef enum state {
    LOADING = 0,
    READY,
    FAILED /* no longer in the table */
} state;

struct vmbi_cached_chunk {
    vmbi_repo_id id;
    uint8_t *data;
    size_t size;
    size_t counted; /* bytes of the budget: twice while it is loaded, for its sealed form */
    state state;
    size_t pins; /* threads that use it or wait for it */
    vmb_error *why;
    vmb_code code;
    vmbi_cached_chunk *chain;         /* of its bucket */
    vmbi_cached_chunk *newer, *older; /* of those in the table */
};

struct vmbi_disk_cache {
    vmbi_repo *repo;
    vmb_job *job;
    uint64_t max_bytes;
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t change;
    uint64_t used;
    uint64_t loads;
    vmbi_cached_chunk *newest, *oldest;
    vmbi_cached_chunk *buckets[BUCKETS];
};

static bool init_cond(pthread_cond_t *cond)
{
    pthread_condattr_t attr;
    if (pthread_condattr_init(&attr) != 0) {
        return false;
    }
    bool ok = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0 &&
              pthread_cond_init(cond, &attr) == 0;
    (void)pthread_condattr_destroy(&attr);
    return ok;
}

vmb_code vmbi_disk_cache_new(vmbi_repo *r, vmb_job *job, uint64_t max_bytes, vmbi_disk_cache **out,
                             vmb_error **err)
{
    vmbi_disk_cache *c = vmbi_zalloc(sizeof(*c));
    if (c == NULL) {
        return vmbi_fail_nomem(err);
    }
    c->repo = r;
    c->job = job;
    c->max_bytes = max_bytes;
    if (pthread_mutex_init(&c->lock, NULL) != 0) {
        vmbi_free(c);
        return vmbi_fail_nomem(err);
    }
    if (!init_cond(&c->change)) {
        (void)pthread_mutex_destroy(&c->lock);
        vmbi_free(c);
        return vmbi_fail_nomem(err);
    }
    *out = c;
    return VMB_OK;
}

/* Large chunks come and go in many threads: from malloc, each thread's arena would keep some. */
static uint8_t *data_new(size_t size)
{
    if (size < MAPPED) {
        return vmbi_alloc(size);
    }
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p != MAP_FAILED ? p : NULL;
}

static void data_free(uint8_t *data, size_t size)
{
    if (data != NULL && size >= MAPPED) {
        (void)munmap(data, size);
    } else {
        vmbi_free(data);
    }
}

static void chunk_free(vmbi_cached_chunk *e)
{
    data_free(e->data, e->size);
    vmb_error_free(e->why);
    vmbi_free(e);
}

void vmbi_disk_cache_free(vmbi_disk_cache *c)
{
    if (c == NULL) {
        return;
    }
    while (c->newest != NULL) {
        vmbi_cached_chunk *e = c->newest;
        c->newest = e->older;
        chunk_free(e);
    }
    (void)pthread_cond_destroy(&c->change);
    (void)pthread_mutex_destroy(&c->lock);
    vmbi_free(c);
}

/* ---- table and order; lock held ---------------------------------------------------------------- */

static vmbi_cached_chunk **bucket_of(vmbi_disk_cache *c, const vmbi_repo_id *id)
{
    /* IDs are digests: any bytes of them will do */
    return &c->buckets[(id->b[0] | (unsigned)id->b[1] << 8) % BUCKETS];
}

static vmbi_cached_chunk *find(vmbi_disk_cache *c, const vmbi_repo_id *id)
{
    vmbi_cached_chunk *e = *bucket_of(c, id);
    while (e != NULL && memcmp(e->id.b, id->b, VMBI_REPO_ID_SIZE) != 0) {
        e = e->chain;
    }
    return e;
}

static void unlink_order(vmbi_disk_cache *c, vmbi_cached_chunk *e)
{
    *(e->newer != NULL ? &e->newer->older : &c->newest) = e->older;
    *(e->older != NULL ? &e->older->newer : &c->oldest) = e->newer;
}

static void make_newest(vmbi_disk_cache *c, vmbi_cached_chunk *e)
{
    e->newer = NULL;
    e->older = c->newest;
    *(c->newest != NULL ? &c->newest->newer : &c->oldest) = e;
    c->newest = e;
}

static void insert(vmbi_disk_cache *c, vmbi_cached_chunk *e)
{
    vmbi_cached_chunk **bucket = bucket_of(c, &e->id);
    e->chain = *bucket;
    *bucket = e;
    make_newest(c, e);
    c->used += e->counted;
}

static void take_out(vmbi_disk_cache *c, vmbi_cached_chunk *e)
{
    vmbi_cached_chunk **p = bucket_of(c, &e->id);
    while (*p != e) {
        p = &(*p)->chain;
    }
    *p = e->chain;
    unlink_order(c, e);
    c->used -= e->counted;
}

/* Drops what nobody uses, oldest first, until there is room. */
static bool make_room(vmbi_disk_cache *c, size_t counted)
{
    vmbi_cached_chunk *e = c->oldest;
    while (c->used + counted > c->max_bytes && e != NULL) {
        vmbi_cached_chunk *newer = e->newer;
        if (e->pins == 0) {
            take_out(c, e);
            chunk_free(e);
        }
        e = newer;
    }
    return c->used + counted <= c->max_bytes || c->used == 0;
}

static vmb_code wait_change(vmbi_disk_cache *c, vmb_error **err)
{
    struct timespec until;
    const int64_t at = vmbi_mono_ns() + LOOK;
    until.tv_sec = (time_t)(at / VMBI_SECOND);
    until.tv_nsec = (long)(at % VMBI_SECOND);
    (void)pthread_cond_timedwait(&c->change, &c->lock, &until);
    return vmbi_limits_check(&c->job->limits, err, "read a disk");
}

static void unpin(vmbi_disk_cache *c, vmbi_cached_chunk *e)
{
    e->pins--;
    if (e->pins == 0 && e->state == FAILED) {
        chunk_free(e);
    }
    (void)pthread_cond_broadcast(&c->change);
}

/* ---- getting ----------------------------------------------------------------------------------- */

static vmb_code load(vmbi_disk_cache *c, vmbi_cached_chunk *e, vmb_error **err)
{
    size_t len = 0;
    e->data = data_new(e->size);
    if (e->data == NULL) {
        return vmbi_fail_nomem(err);
    }
    vmb_code rc = vmbi_repo_load_blob_into(c->repo, VMBI_BLOB_DATA, &e->id, e->data, e->size, &len,
                                           err);
    if (rc == VMB_OK && len != e->size) {
        rc = vmbi_fail(err, VMB_E_INVALID, "a chunk has %zu bytes instead of %zu", len, e->size);
    }
    return rc;
}

/* A chunk that is in the table, pinned by the caller: waits until it is there. Lock held. */
static vmb_code await(vmbi_disk_cache *c, vmbi_cached_chunk *e, vmb_error **err)
{
    vmb_code rc = VMB_OK;
    while (rc == VMB_OK && e->state == LOADING) {
        rc = wait_change(c, err);
    }
    if (rc == VMB_OK && e->state == FAILED) {
        rc = vmbi_fail(err, e->code, "%s", vmb_error_message(e->why));
    }
    if (rc != VMB_OK) {
        unpin(c, e);
        return rc;
    }
    unlink_order(c, e);
    make_newest(c, e);
    return VMB_OK;
}

/* Puts e into the table and reads it. Lock held, given up meanwhile. */
static vmb_code fill(vmbi_disk_cache *c, vmbi_cached_chunk *e, vmb_error **err)
{
    vmb_error *why = NULL;
    insert(c, e);
    c->loads++;
    (void)pthread_mutex_unlock(&c->lock);
    vmb_code rc = load(c, e, &why);
    (void)pthread_mutex_lock(&c->lock);
    e->state = rc == VMB_OK ? READY : FAILED;
    if (rc != VMB_OK) {
        e->code = rc;
        (void)vmbi_fail(err, rc, "%s", vmb_error_message(why));
        vmbi_error_move(&e->why, &why);
        take_out(c, e);
        unpin(c, e);
    } else {
        c->used -= e->counted / 2;
        e->counted -= e->counted / 2;
        (void)pthread_cond_broadcast(&c->change);
    }
    return rc;
}

vmb_code vmbi_disk_cache_get(vmbi_disk_cache *c, const vmbi_repo_id *id, size_t size,
                             vmbi_cached_chunk **out, vmb_error **err)
{
    vmbi_cached_chunk *fresh = vmbi_zalloc(sizeof(*fresh));
    vmbi_cached_chunk *e = NULL;
    vmb_code rc = VMB_OK;
    if (fresh == NULL) {
        return vmbi_fail_nomem(err);
    }
    fresh->id = *id;
    fresh->size = size;
    fresh->counted = 2 * (size < LEAST ? LEAST : size);
    fresh->pins = 1;
    (void)pthread_mutex_lock(&c->lock);
    while (rc == VMB_OK && (e = find(c, id)) == NULL && !make_room(c, fresh->counted)) {
        rc = wait_change(c, err);
    }
    if (rc == VMB_OK && e != NULL) {
        e->pins++;
        rc = await(c, e, err);
    } else if (rc == VMB_OK) {
        e = vmbi_steal(&fresh);
        rc = fill(c, e, err);
    }
    (void)pthread_mutex_unlock(&c->lock);
    vmbi_free(fresh);
    if (rc == VMB_OK) {
        *out = e;
    }
    return rc;
}

const uint8_t *vmbi_cached_chunk_data(const vmbi_cached_chunk *e)
{
    return e->data;
}

void vmbi_disk_cache_put(vmbi_disk_cache *c, vmbi_cached_chunk *e)
{
    (void)pthread_mutex_lock(&c->lock);
    unpin(c, e);
    (void)pthread_mutex_unlock(&c->lock);
}

uint64_t vmbi_disk_cache_loads(vmbi_disk_cache *c)
{
    (void)pthread_mutex_lock(&c->lock);
    uint64_t loads = c->loads;
    (void)pthread_mutex_unlock(&c->lock);
    return loads;
}
