/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/tree/pool.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/thread.h"

static vmbi_pool_job *take_job(vmbi_pool *p)
{
    while (p->first == NULL && !p->stopping) {
        (void)pthread_cond_wait(&p->work, &p->lock);
    }
    vmbi_pool_job *job = p->first;
    if (job != NULL) {
        p->first = job->next;
        p->last = p->first == NULL ? NULL : p->last;
    }
    return job;
}

/* A second job to hash beside the first: where nothing is stored there is no pack to hash beside a
 * blob. Caller holds the lock. */
static vmbi_pool_job *take_second(vmbi_pool *p, const vmbi_pool_job *job)
{
    vmbi_pool_job *next = p->first;
    if (p->known < VMBI_POOL_PAIR_KNOWN || p->dry_run || p->failed_code != VMB_OK ||
        job->task != NULL || next == NULL || next->task != NULL) {
        return NULL;
    }
    p->first = next->next;
    p->last = p->first == NULL ? NULL : p->last;
    return next;
}

vmb_code vmbi_pool_save_now(vmbi_pool *p, vmbi_blob_type type, const void *data, size_t len,
                            vmbi_repo_id *id, bool *known, vmb_error **err)
{
    bool dropped = false;
    if (!p->dry_run) {
        return vmbi_repo_save_blob(p->repo, type, data, len, id, known != NULL ? known : &dropped,
                                   err);
    }
    vmbi_repo_hash(p->repo, data, len, id);
    bool has = vmbi_repo_has_blob(p->repo, type, id);
    if (!has) {
        (void)pthread_mutex_lock(&p->lock);
        p->dry_blobs++;
        p->dry_bytes += len;
        (void)pthread_mutex_unlock(&p->lock);
    }
    if (known != NULL) {
        *known = has;
    }
    return VMB_OK;
}

/* Saves the job's data, whose ID may be known already; the lock is not held. */
static void save(vmbi_pool *p, vmbi_pool_job *job, bool skip, bool hashed)
{
    vmb_error *why = NULL;
    vmb_code rc = VMB_OK;
    bool known = false;
    if (!skip && hashed) {
        rc = vmbi_repo_save_hashed(p->repo, VMBI_BLOB_DATA, job->id, job->data, job->len, &known,
                                   &why);
    } else if (!skip) {
        rc = vmbi_pool_save_now(p, VMBI_BLOB_DATA, job->data, job->len, job->id, &known, &why);
    }
    if (!p->keep_spares && job->ring == NULL) {
        vmbi_free(vmbi_steal(&job->data));
    }
    (void)pthread_mutex_lock(&p->lock);
    p->known = known ? p->known + 1 : 0;
    if (job->ring != NULL) {
        job->ring->parts[job->part].lent = false;
        job->data = NULL;
    } else {
        p->bytes -= job->len;
    }
    if (job->data != NULL && p->n_spares < VMBI_POOL_MAX_SPARES) {
        p->spares[p->n_spares++] = vmbi_steal(&job->data);
    }
    if (rc != VMB_OK && p->failed_code == VMB_OK) {
        p->failed_code = rc;
        p->failed = vmbi_steal(&why);
    }
    (void)pthread_mutex_unlock(&p->lock);
    vmb_error_free(why);
    vmbi_free(job->data);
}

static void save_both(vmbi_pool *p, vmbi_pool_job *a, vmbi_pool_job *b)
{
    vmbi_repo_hash_pair(p->repo, a->data, a->len, a->id, b->data, b->len, b->id);
    save(p, a, false, true);
    save(p, b, false, true);
    vmbi_free(b);
}

/* Caller holds the lock. */
static void count_done(vmbi_pool *p, vmbi_pool_group *group, bool is_task)
{
    p->n_tasks -= is_task ? 1 : 0;
    group->pending--;
    /* who waits for room goes on at half of the tasks, not at each one */
    if (group->pending == 0 || !is_task || p->n_tasks == VMBI_POOL_MAX_TASKS / 2) {
        (void)pthread_cond_broadcast(&p->room);
    }
}

static void *work(void *arg)
{
    vmbi_pool *p = arg;
    (void)pthread_mutex_lock(&p->lock);
    size_t number = p->n_started++;
    for (;;) {
        vmbi_pool_job *job = take_job(p);
        if (job == NULL) {
            break;
        }
        bool skip = p->failed_code != VMB_OK;
        bool is_task = job->task != NULL;
        vmbi_pool_group *group = job->group;
        vmbi_pool_job *second = take_second(p, job);
        vmbi_pool_group *second_group = second != NULL ? second->group : NULL;
        (void)pthread_mutex_unlock(&p->lock);
        if (is_task) {
            job->task(job->arg, number); /* the job is gone when the group is waited for */
        } else if (second != NULL) {
            save_both(p, job, second);
        } else {
            save(p, job, skip, false);
        }
        if (!is_task) {
            vmbi_free(job);
        }
        (void)pthread_mutex_lock(&p->lock);
        count_done(p, group, is_task);
        if (second_group != NULL) {
            count_done(p, second_group, false);
        }
    }
    (void)pthread_mutex_unlock(&p->lock);
    return NULL;
}

static bool start_thread(vmbi_pool *p)
{
    int rc = vmbi_thread_start(&p->threads[p->n_threads], work, p);
    p->n_threads += rc == 0 ? 1 : 0;
    return rc == 0;
}

vmb_code vmbi_pool_init(vmbi_pool *p, vmbi_repo *repo, size_t threads, size_t max_bytes,
                        vmb_error **err)
{
    memset(p, 0, sizeof(*p));
    p->repo = repo;
    p->max_bytes = max_bytes;
    if (pthread_mutex_init(&p->lock, NULL) != 0) {
        return vmbi_fail_nomem(err);
    }
    if (pthread_cond_init(&p->work, NULL) != 0) {
        (void)pthread_mutex_destroy(&p->lock);
        return vmbi_fail_nomem(err);
    }
    if (pthread_cond_init(&p->room, NULL) != 0) {
        (void)pthread_cond_destroy(&p->work);
        (void)pthread_mutex_destroy(&p->lock);
        return vmbi_fail_nomem(err);
    }
    threads = threads < 1 ? 1 : threads > VMBI_POOL_MAX_THREADS ? VMBI_POOL_MAX_THREADS : threads;
    while (p->n_threads < threads && start_thread(p)) {
    }
    if (p->n_threads == 0) {
        vmbi_pool_done(p);
        return vmbi_fail(err, VMB_E_NOMEM, "repository: no thread could be started");
    }
    return VMB_OK;
}

/* A copy of the failure for one more caller; caller holds the lock. */
static vmb_code failure(vmbi_pool *p, vmb_error **err)
{
    return vmbi_fail(err, p->failed_code, "%s", vmb_error_message(p->failed));
}

/* Caller holds the lock. */
static void enqueue(vmbi_pool *p, vmbi_pool_job *job)
{
    if (p->last != NULL) {
        p->last->next = job;
    } else {
        p->first = job;
    }
    p->last = job;
    job->group->pending++;
    p->n_unseen += job->task != NULL ? 1 : 0;
    if (job->task == NULL || p->n_unseen >= VMBI_POOL_WAKE_TASKS) {
        p->n_unseen = 0;
        (void)pthread_cond_signal(&p->work);
    }
}

/* Before a wait for what is queued; caller holds the lock. */
static void wake_all(vmbi_pool *p)
{
    if (p->n_unseen > 0) {
        p->n_unseen = 0;
        (void)pthread_cond_broadcast(&p->work);
    }
}

void vmbi_pool_run(vmbi_pool *p, vmbi_pool_job *job, vmbi_pool_task_fn task, void *arg,
                   vmbi_pool_group *group)
{
    *job = (vmbi_pool_job){.group = group, .task = task, .arg = arg};
    (void)pthread_mutex_lock(&p->lock);
    if (p->n_tasks == VMBI_POOL_MAX_TASKS) {
        wake_all(p);
        while (p->n_tasks > VMBI_POOL_MAX_TASKS / 2) {
            (void)pthread_cond_wait(&p->room, &p->lock);
        }
    }
    p->n_tasks++;
    enqueue(p, job);
    (void)pthread_mutex_unlock(&p->lock);
}

vmb_code vmbi_pool_failed(vmbi_pool *p)
{
    (void)pthread_mutex_lock(&p->lock);
    vmb_code rc = p->failed_code;
    (void)pthread_mutex_unlock(&p->lock);
    return rc;
}

/* lock held */
static void wait_room(vmbi_pool *p, size_t len)
{
    wake_all(p);
    while (p->failed_code == VMB_OK && p->bytes > 0 && p->bytes + len > p->max_bytes) {
        (void)pthread_cond_wait(&p->room, &p->lock);
    }
}

void vmbi_pool_wait_room(vmbi_pool *p, size_t len)
{
    (void)pthread_mutex_lock(&p->lock);
    wait_room(p, len);
    (void)pthread_mutex_unlock(&p->lock);
}

vmb_code vmbi_pool_save(vmbi_pool *p, uint8_t *data, size_t len, vmbi_repo_id *id,
                        vmbi_pool_group *group, vmb_error **err)
{
    vmbi_pool_job *job = vmbi_zalloc(sizeof(*job));
    if (job == NULL) {
        vmbi_free(data);
        return vmbi_fail_nomem(err);
    }
    *job = (vmbi_pool_job){.data = data, .len = len, .id = id, .group = group};
    (void)pthread_mutex_lock(&p->lock);
    wait_room(p, len);
    vmb_code rc = p->failed_code != VMB_OK ? failure(p, err) : VMB_OK;
    if (rc == VMB_OK) {
        p->bytes += len;
        enqueue(p, job);
    }
    (void)pthread_mutex_unlock(&p->lock);
    if (rc != VMB_OK) {
        vmbi_free(data);
        vmbi_free(job);
    }
    return rc;
}

vmb_code vmbi_ring_init(vmbi_ring *ring, size_t cap, vmb_error **err)
{
    ring->base = vmbi_alloc(cap);
    ring->cap = cap;
    return ring->base != NULL ? VMB_OK : vmbi_fail_nomem(err);
}

void vmbi_ring_done(vmbi_ring *ring)
{
    vmbi_free(ring->base);
    memset(ring, 0, sizeof(*ring));
}

/* Caller holds the lock. */
static bool is_lent(const vmbi_ring *ring, size_t from, size_t to)
{
    for (size_t i = 0; i < VMBI_RING_LENT; i++) {
        if (ring->parts[i].lent && ring->parts[i].from < to && from < ring->parts[i].to) {
            return true;
        }
    }
    return false;
}

void vmbi_pool_reclaim(vmbi_pool *p, const vmbi_ring *ring, size_t from, size_t to)
{
    (void)pthread_mutex_lock(&p->lock);
    while (is_lent(ring, from, to)) { /* after a failure jobs are dropped, which is quick */
        (void)pthread_cond_wait(&p->room, &p->lock);
    }
    (void)pthread_mutex_unlock(&p->lock);
}

/* A part of the ring that is not in use; VMBI_RING_LENT: there is none. Caller holds the lock. */
static size_t free_part(const vmbi_ring *ring)
{
    size_t i = 0;
    while (i < VMBI_RING_LENT && ring->parts[i].lent) {
        i++;
    }
    return i;
}

vmb_code vmbi_pool_lend(vmbi_pool *p, vmbi_ring *ring, size_t from, size_t len, vmbi_repo_id *id,
                        vmbi_pool_group *group, vmb_error **err)
{
    vmbi_pool_job *job = vmbi_zalloc(sizeof(*job));
    size_t part = VMBI_RING_LENT;
    if (job == NULL) {
        return vmbi_fail_nomem(err);
    }
    *job = (vmbi_pool_job){
        .data = ring->base + from, .len = len, .id = id, .group = group, .ring = ring};
    (void)pthread_mutex_lock(&p->lock);
    while (p->failed_code == VMB_OK && (part = free_part(ring)) == VMBI_RING_LENT) {
        (void)pthread_cond_wait(&p->room, &p->lock);
    }
    vmb_code rc = p->failed_code != VMB_OK ? failure(p, err) : VMB_OK;
    if (rc == VMB_OK) {
        job->part = part;
        ring->parts[part].from = from;
        ring->parts[part].to = from + len;
        ring->parts[part].lent = true;
        enqueue(p, job);
    }
    (void)pthread_mutex_unlock(&p->lock);
    if (rc != VMB_OK) {
        vmbi_free(job);
    }
    return rc;
}

void vmbi_pool_keep_spares(vmbi_pool *p)
{
    p->keep_spares = true;
}

uint8_t *vmbi_pool_spare(vmbi_pool *p)
{
    uint8_t *spare = NULL;
    (void)pthread_mutex_lock(&p->lock);
    if (p->n_spares > 0) {
        spare = p->spares[--p->n_spares];
    }
    (void)pthread_mutex_unlock(&p->lock);
    return spare;
}

vmb_code vmbi_pool_wait(vmbi_pool *p, vmbi_pool_group *group, vmb_error **err)
{
    (void)pthread_mutex_lock(&p->lock);
    wake_all(p);
    while (group->pending > 0) { /* after a failure jobs are dropped, which is quick */
        (void)pthread_cond_wait(&p->room, &p->lock);
    }
    vmb_code rc = p->failed_code != VMB_OK ? failure(p, err) : VMB_OK;
    (void)pthread_mutex_unlock(&p->lock);
    return rc;
}

void vmbi_pool_done(vmbi_pool *p)
{
    (void)pthread_mutex_lock(&p->lock);
    p->stopping = true;
    (void)pthread_cond_broadcast(&p->work);
    (void)pthread_mutex_unlock(&p->lock);
    for (size_t i = 0; i < p->n_threads; i++) {
        (void)pthread_join(p->threads[i], NULL);
    }
    for (size_t i = 0; i < p->n_spares; i++) {
        vmbi_free(p->spares[i]);
    }
    vmb_error_free(p->failed);
    (void)pthread_cond_destroy(&p->room);
    (void)pthread_cond_destroy(&p->work);
    (void)pthread_mutex_destroy(&p->lock);
    memset(p, 0, sizeof(*p));
}
