/* SPDX-License-Identifier: Apache-2.0 */
/* Restoring a disk: chunks are read in the order of the packs, several with one request; threads
 * decrypt and decompress; the target gets one write at a time. */
#include "repo/disk/restore.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/job.h"
#include "repo/disk/find.h"
#include "repo/disk/zero.h"

enum {
    DEFAULT_THREADS = 2,
    WINDOW_CHUNKS = 65536,           /* that are put into order at a time */
    RUN_MAX_BLOBS = 64,
    RUN_MAX_BYTES = 4 * 1024 * 1024, /* of one request, unless one chunk is larger */
    RUN_MAX_GAP = 64 * 1024,         /* of bytes that nobody wants, between two chunks */
    STEP = 32 * 1024,                /* zeros inside of a chunk are looked for in such steps */
    ZEROS = 256 * 1024
};

/* A chunk of the disk and where it is stored. */
typedef struct item {
    vmbi_blob_place place;
    uint32_t chunk;
} item;

typedef struct restorer {
    vmbi_repo *repo;
    const vmb_blocks_provider *target;
    vmb_job *job;
    vmbi_disk_layout layout;
    size_t threads;
    vmbi_crew crew;
    item *items;
    size_t n_items;
    size_t next;            /* under the crew's lock */
    pthread_mutex_t writer; /* one call of the target at a time; guards stats */
    vmbi_disk_restore_stats stats;
} restorer;

/* One request: blobs that lie side by side, each for one or more chunks. */
typedef struct run {
    restorer *r;
    const item *items; /* in order; equal places follow each other */
    size_t n_items;
    size_t n;
    vmbi_repo_id ids[RUN_MAX_BLOBS];
    vmbi_blob_place places[RUN_MAX_BLOBS];
    size_t first[RUN_MAX_BLOBS + 1]; /* items of a blob */
} run;

/* ---- writing ----------------------------------------------------------------------------------- */

static const uint8_t zeros[ZEROS];

static vmb_code write_at(restorer *r, const void *data, size_t len, uint64_t offset,
                         vmb_error **err)
{
    vmb_code rc = r->target->pwrite(r->target->user, r->job, data, len, (int64_t)offset, err);
    rc = vmbi_check_provider(err, rc, "pwrite");
    return rc == VMB_OK ? VMB_OK
                        : vmbi_wrap(err, rc, "write the disk at %llu", (unsigned long long)offset);
}

/* writer held, or no threads run */
static vmb_code write_zeros(restorer *r, uint64_t from, uint64_t to, vmb_error **err)
{
    vmb_code rc = VMB_OK;
    if (r->target->zero != NULL) {
        rc = r->target->zero(r->target->user, r->job, (int64_t)from, (int64_t)(to - from), err);
        rc = vmbi_check_provider(err, rc, "zero");
        r->stats.bytes_zero += to - from;
        return rc == VMB_OK ? VMB_OK
                            : vmbi_wrap(err, rc, "zero the disk at %llu", (unsigned long long)from);
    }
    while (from < to && rc == VMB_OK) {
        size_t n = to - from < ZEROS ? (size_t)(to - from) : ZEROS;
        rc = write_at(r, zeros, n, from, err);
        r->stats.bytes_written += n;
        from += n;
        if (rc == VMB_OK) {
            rc = vmbi_limits_check(&r->job->limits, err, "restore a disk");
        }
    }
    return rc;
}

/* Length of the piece at the front that is all zeros, or has no whole step of zeros. */
static size_t piece(const uint8_t *p, size_t len, bool *zero)
{
    size_t n = len < STEP ? len : STEP;
    *zero = vmbi_disk_is_zero(p, n);
    while (n < len) {
        size_t step = len - n < STEP ? len - n : STEP;
        if (vmbi_disk_is_zero(p + n, step) != *zero) {
            break;
        }
        n += step;
    }
    return n;
}

/* One chunk; writer held. */
static vmb_code write_chunk(restorer *r, const uint8_t *data, size_t len, uint64_t offset,
                            vmb_error **err)
{
    vmb_code rc = VMB_OK;
    while (len > 0 && rc == VMB_OK) {
        bool zero = false;
        size_t n = r->target->zero != NULL ? piece(data, len, &zero) : len;
        if (zero) {
            rc = write_zeros(r, offset, offset + n, err);
        } else {
            rc = write_at(r, data, n, offset, err);
            r->stats.bytes_written += n;
        }
        data += n;
        offset += n;
        len -= n;
    }
    return rc;
}

static vmb_code write_blob(void *user, size_t i, const void *data, size_t len, vmb_error *why,
                           vmb_error **err)
{
    const run *w = user;
    restorer *r = w->r;
    vmb_code rc = VMB_OK;
    if (data == NULL) {
        return vmbi_fail(err, vmb_error_code(why), "%s", vmb_error_message(why));
    }
    for (size_t k = w->first[i]; k < w->first[i + 1] && rc == VMB_OK; k++) {
        uint64_t from = vmbi_disk_layout_start(&r->layout, w->items[k].chunk);
        uint64_t to = vmbi_disk_layout_start(&r->layout, (size_t)w->items[k].chunk + 1);
        if (to - from != len) {
            return vmbi_fail(err, VMB_E_INVALID, "a chunk has %zu bytes instead of %llu", len,
                             (unsigned long long)(to - from));
        }
        (void)pthread_mutex_lock(&r->writer);
        rc = write_chunk(r, data, len, from, err);
        (void)pthread_mutex_unlock(&r->writer);
        vmbi_crew_add_done(&r->crew, len);
    }
    return rc;
}

/* ---- order ------------------------------------------------------------------------------------- */

static int by_place(const void *a, const void *b)
{
    const item *x = a;
    const item *y = b;
    if (x->place.pack != y->place.pack) {
        return x->place.pack < y->place.pack ? -1 : 1;
    }
    if (x->place.offset != y->place.offset) {
        return x->place.offset < y->place.offset ? -1 : 1;
    }
    return x->chunk < y->chunk ? -1 : x->chunk > y->chunk ? 1 : 0;
}

static bool same_place(const vmbi_blob_place *a, const vmbi_blob_place *b)
{
    return a->pack == b->pack && a->offset == b->offset;
}

/* May the place be read with the run? */
static bool joins(const run *w, const vmbi_blob_place *p)
{
    const vmbi_blob_place *last = &w->places[w->n - 1];
    uint64_t end = (uint64_t)last->offset + last->stored_len;
    return w->n < RUN_MAX_BLOBS && p->pack == last->pack && p->offset >= end &&
           p->offset - end <= RUN_MAX_GAP &&
           (uint64_t)p->offset + p->stored_len - w->places[0].offset <= RUN_MAX_BYTES;
}

/* Takes the next run; false: there is none left. */
static bool take_run(restorer *r, run *w)
{
    (void)pthread_mutex_lock(&r->crew.lock);
    size_t i = r->next;
    w->r = r;
    w->items = r->items + i;
    w->n = w->n_items = 0;
    for (; i < r->n_items && !r->crew.stop; i++) {
        const item *it = &r->items[i];
        if (w->n == 0 || !same_place(&w->places[w->n - 1], &it->place)) {
            if (w->n > 0 && !joins(w, &it->place)) {
                break;
            }
            w->ids[w->n] = r->layout.ids[it->chunk];
            w->places[w->n] = it->place;
            w->first[w->n] = w->n_items;
            w->n++;
        }
        w->n_items++;
        w->first[w->n] = w->n_items;
    }
    r->next = i;
    (void)pthread_mutex_unlock(&r->crew.lock);
    return w->n > 0;
}

static vmb_code restore_runs(void *user, vmb_error **err)
{
    restorer *r = user;
    vmb_code rc = VMB_OK;
    run *w = vmbi_alloc(sizeof(*w));
    if (w == NULL) {
        return vmbi_fail_nomem(err);
    }
    while (rc == VMB_OK && take_run(r, w)) {
        rc = vmbi_repo_load_run(r->repo, VMBI_BLOB_DATA, w->ids, w->places, w->n, false, write_blob, w,
                                err);
    }
    vmbi_free(w);
    return rc;
}

/* Chunks from..to: zeros are made at once, the others are put into order. */
static vmb_code plan(restorer *r, size_t from, size_t to, vmb_error **err)
{
    vmb_code rc = VMB_OK;
    r->n_items = r->next = 0;
    for (size_t i = from; i < to && rc == VMB_OK; i++) {
        const size_t first = i;
        while (i < to && vmbi_disk_layout_is_zero(&r->layout, i)) {
            i++;
        }
        if (i > first) {
            uint64_t start = vmbi_disk_layout_start(&r->layout, first);
            uint64_t end = vmbi_disk_layout_start(&r->layout, i);
            rc = write_zeros(r, start, end, err);
            vmbi_crew_add_done(&r->crew, end - start);
        }
        if (i < to && rc == VMB_OK) {
            item *it = &r->items[r->n_items++];
            it->chunk = (uint32_t)i;
            if (!vmbi_repo_find_blob(r->repo, VMBI_BLOB_DATA, &r->layout.ids[i], &it->place)) {
                rc = vmbi_fail(err, VMB_E_NOT_FOUND, "the index has lost a blob");
            }
        }
    }
    if (rc == VMB_OK && r->n_items > 0) {
        qsort(r->items, r->n_items, sizeof(*r->items), by_place);
    }
    return rc;
}

static vmb_code restore_all(restorer *r, vmb_error **err)
{
    const size_t n = r->layout.n;
    vmb_code rc = VMB_OK;
    r->items = vmbi_alloc_array(n < WINDOW_CHUNKS ? n + 1 : WINDOW_CHUNKS, sizeof(*r->items));
    if (r->items == NULL) {
        return vmbi_fail_nomem(err);
    }
    for (size_t from = 0; from < n && rc == VMB_OK; from += WINDOW_CHUNKS) {
        size_t to = n - from < WINDOW_CHUNKS ? n : from + WINDOW_CHUNKS;
        rc = plan(r, from, to, err);
        if (rc == VMB_OK && r->n_items > 0) {
            rc = vmbi_crew_run(&r->crew, r->threads, restore_runs, r, err);
        }
    }
    vmbi_free(r->items);
    return rc;
}

/* ---- the target -------------------------------------------------------------------------------- */

static vmb_code make_size(restorer *r, vmb_error **err)
{
    const vmb_blocks_provider *t = r->target;
    int64_t have = 0;
    vmb_code rc = VMB_OK;
    if (t->resize != NULL) {
        rc = t->resize(t->user, r->job, (int64_t)r->layout.size, err);
        return vmbi_check_provider(err, rc, "resize");
    }
    rc = t->size(t->user, r->job, &have, err);
    rc = vmbi_check_provider(err, rc, "size");
    if (rc == VMB_OK && (have < 0 || (uint64_t)have < r->layout.size)) {
        rc = vmbi_fail(err, VMB_E_FULL, "the disk needs %llu bytes, the target has %lld",
                       (unsigned long long)r->layout.size, (long long)have);
    }
    return rc;
}

static vmb_code write_and_verify(restorer *r, bool verify, vmb_error **err)
{
    const vmb_blocks_provider *t = r->target;
    vmb_code rc = make_size(r, err);
    if (rc == VMB_OK) {
        rc = restore_all(r, err);
    }
    if (rc == VMB_OK && t->flush != NULL) {
        rc = t->flush(t->user, r->job, err);
        rc = vmbi_check_provider(err, rc, "flush");
    }
    if (rc == VMB_OK && verify) {
        rc = vmbi_disk_verify(r->repo, t, &r->layout, &r->crew, r->threads,
                              &r->stats.bytes_verified, err);
    }
    return rc;
}

static vmb_code check_target(const vmb_blocks_provider *t, bool verify, vmb_error **err)
{
    if (t->pwrite == NULL || (t->size == NULL && t->resize == NULL)) {
        return vmbi_fail(err, VMB_E_ARG, "the disk cannot be written: it has no size or no pwrite");
    }
    return verify && t->pread == NULL
               ? vmbi_fail(err, VMB_E_ARG, "the disk cannot be verified: it has no pread")
               : VMB_OK;
}

vmb_code vmbi_disk_restore(vmbi_repo *repo, const vmb_blocks_provider *target,
                           const vmbi_disk_restore_options *o, vmb_job *job,
                           vmbi_disk_restore_stats *stats, vmb_error **err)
{
    restorer r = {.repo = repo, .target = target, .job = job};
    vmbi_node node = {0};
    char full_id[VMBI_REPO_HEX_SIZE];
    r.threads = o->threads != 0 ? o->threads : DEFAULT_THREADS;
    vmb_code rc = check_target(target, o->verify, err);
    if (rc == VMB_OK) {
        rc = vmbi_disk_find(repo, o->snapshot, o->path, &node, full_id, NULL, err);
    }
    if (rc == VMB_OK) {
        rc = vmbi_disk_layout_init(&r.layout, repo, &node, err);
        rc = rc == VMB_OK ? rc : vmbi_wrap(err, rc, "%s in snapshot %s", node.name, full_id);
    }
    vmbi_node_done(&node);
    if (rc != VMB_OK) {
        return rc;
    }
    const uint64_t size = r.layout.size;
    rc = vmbi_crew_init(&r.crew, job, o->progress, o->user, o->verify ? 2 * size : size, err);
    if (rc == VMB_OK && pthread_mutex_init(&r.writer, NULL) != 0) {
        vmbi_crew_done(&r.crew);
        rc = vmbi_fail_nomem(err);
    } else if (rc == VMB_OK) {
        rc = write_and_verify(&r, o->verify, err);
        if (rc == VMB_OK && o->progress != NULL) {
            o->progress(o->user, r.crew.total, r.crew.total);
        }
        (void)pthread_mutex_destroy(&r.writer);
        vmbi_crew_done(&r.crew);
    }
    r.stats.bytes = size;
    if (rc == VMB_OK && stats != NULL) {
        *stats = r.stats;
    }
    vmbi_disk_layout_free(&r.layout);
    return rc;
}
