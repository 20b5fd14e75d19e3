/* SPDX-License-Identifier: Apache-2.0 */
/* Saving blobs. The caller's thread compresses a blob, takes its place in the open pack and seals
 * the blob straight into that place; full packs are closed, hashed and uploaded by the packer's
 * threads. The number of packs in memory is bounded: who needs one more waits. */
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "repo/restic/indexfile.h"
#include "repo/restic/restic.h"

/* An index file is written after so much time or so many packs, so that a crash costs little. */
#define INDEX_PERIOD (600 * VMBI_SECOND)
enum { INDEX_PACKS = 1024 };
/* A pack of tiny blobs is closed before it is full: what is known of blobs on their way takes more
 * memory than the blobs do. */
enum { MAX_PACK_BLOBS = 16384 };
/* How often a thread that waits looks at cancellation. */
#define LOOK (200 * VMBI_MS)

static void wait_change(vmbi_restic *r)
{
    struct timespec until;
    const int64_t at = vmbi_mono_ns() + LOOK;

    until.tv_sec = (time_t)(at / VMBI_SECOND);
    until.tv_nsec = (long)(at % VMBI_SECOND);
    (void)pthread_cond_timedwait(&r->cond, &r->mutex, &until);
}

/* Keeps the first failure. mutex held. */
static void remember_failure(vmbi_restic *r, vmb_code code, vmb_error **why)
{
    if (r->packer.failure_code == VMB_OK) {
        r->packer.failure_code = code;
        vmbi_error_move(&r->packer.failure, why);
    }
    vmb_error_free(*why);
    *why = NULL;
    (void)pthread_cond_broadcast(&r->cond);
}

static vmb_code failure(const vmbi_restic *r, vmb_error **err)
{
    return r->packer.failure_code == VMB_OK
               ? VMB_OK
               : vmbi_fail(err, r->packer.failure_code, "%s",
                           r->packer.failure != NULL ? vmb_error_message(r->packer.failure)
                                                     : "an upload failed");
}

/* ---- packs in memory ---- */

static void pack_free(vmbi_open_pack *p)
{
    if (p != NULL) {
        if (p->data != NULL) {
            (void)munmap(p->data, p->cap);
        }
        vmbi_pack_blobs_free(&p->blobs);
        vmbi_free(p);
    }
}

static vmbi_open_pack *pack_new(size_t cap)
{
    vmbi_open_pack *p = vmbi_zalloc(sizeof(*p));
    void *data = NULL;

    if (p == NULL) {
        return NULL;
    }
    data = mmap(NULL, cap, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
                0);
    if (data == MAP_FAILED) {
        vmbi_free(p);
        return NULL;
    }
    p->data = data;
    p->cap = cap;
    return p;
}

/* A pack for the next to need one: the idle one or a new one. mutex held. */
static vmb_code take_pack(vmbi_restic *r, vmbi_blob_type type, size_t need, vmbi_open_pack **out,
                          vmb_error **err)
{
    vmbi_open_pack *p = r->packer.idle;

    r->packer.idle = NULL;
    if (p != NULL && p->cap < need) {
        pack_free(p);
        p = NULL;
    }
    if (p == NULL) {
        p = pack_new(need > r->pack_bytes ? need : r->pack_bytes);
        if (p == NULL) {
            return vmbi_fail_nomem(err);
        }
    }
    p->next = NULL;
    p->fill = p->header = 0;
    p->writers = 0;
    p->sealing = NULL;
    vmbi_sha256_begin(&p->hash);
    p->hashed = 0;
    p->hashing = false;
    p->closed = false;
    p->type = type;
    p->blobs.n = 0;
    r->packer.buffers[type]++;
    *out = p;
    return VMB_OK;
}

/* mutex held */
static void give_pack(vmbi_restic *r, vmbi_open_pack *p)
{
    r->packer.buffers[p->type]--;
    if (r->packer.idle == NULL && p->cap == r->pack_bytes) {
        r->packer.idle = p;
    } else {
        pack_free(p);
    }
}

/* mutex held */
static void enqueue(vmbi_restic *r, vmbi_open_pack *p)
{
    if (r->packer.queue_tail != NULL) {
        r->packer.queue_tail->next = p;
    } else {
        r->packer.queue_head = p;
    }
    r->packer.queue_tail = p;
    (void)pthread_cond_broadcast(&r->cond);
}

void vmbi_packer_let_go(vmbi_restic *r)
{
    vmbi_open_pack *p = r->packer.closing;

    r->packer.closing = NULL;
    if (p != NULL && p->writers == 0) {
        enqueue(r, p);
    }
}

void vmbi_packer_leave(vmbi_restic *r, vmbi_open_pack *p)
{
    p->writers--;
    if (p->closed && p->writers == 0 && p != r->packer.closing) {
        enqueue(r, p);
    }
}

/* No blob is added any more. Uploaded as soon as nobody writes into it and the next one closes, or
 * when it is hashed, or when somebody waits for memory or for the upload. mutex held. */
static void close_pack(vmbi_restic *r, vmbi_blob_type type)
{
    vmbi_open_pack *p = r->packer.open[type];

    if (p != NULL) {
        r->packer.open[type] = NULL;
        p->closed = true;
        r->packer.busy++;
        vmbi_packer_let_go(r);
        r->packer.closing = p;
    }
}

/* ---- uploads ---- */

/* Puts the sealed header behind the blobs. */
static vmb_code seal_header(vmbi_lane *lane, vmbi_open_pack *p, vmb_error **err)
{
    uint8_t *at = p->data + p->fill;
    const size_t sealed = p->header + VMBI_RESTIC_OVERHEAD;
    vmb_code code = VMB_OK;

    vmbi_pack_header_write(p->blobs.v, p->blobs.n, at + VMBI_RESTIC_NONCE);
    code = vmbi_restic_seal(lane->box, at + VMBI_RESTIC_NONCE, p->header, at, err);
    at += sealed;
    at[0] = (uint8_t)sealed;
    at[1] = (uint8_t)(sealed >> 8);
    at[2] = (uint8_t)(sealed >> 16);
    at[3] = (uint8_t)(sealed >> 24);
    p->fill += sealed + 4;
    return code;
}

static vmb_code upload(vmbi_restic *r, vmbi_open_pack *p, vmbi_repo_id *id, vmb_error **err)
{
    char path[VMBI_RESTIC_PATH];
    vmbi_lane *lane = NULL;
    vmb_code code = vmbi_lane_get(r, &lane, err);

    if (code == VMB_OK) {
        code = seal_header(lane, p, err);
    }
    vmbi_lane_put(r, lane);
    if (code == VMB_OK) {
        vmbi_restic_hash_pack(p, id);
        vmbi_restic_pack_path(path, id);
        code = vmbi_restic_still_locked(r, NULL, false, err);
    }
    return code == VMB_OK ? vmbi_storage_put(&r->storage, NULL, path, p->data, p->fill, 0, err)
                          : code;
}

/* The pack is durable: its blobs go from the pending ones into the index. mutex held. */
static vmb_code settle(vmbi_restic *r, vmbi_open_pack *p, const vmbi_repo_id *id, vmb_error **err)
{
    vmbi_packer *k = &r->packer;
    vmbi_index_added how = VMBI_INDEX_NEW;
    size_t i = 0;
    vmb_code code = VMB_OK;

    if (k->unindexed_n == k->unindexed_cap) {
        const size_t cap = k->unindexed_cap == 0 ? 64 : k->unindexed_cap * 2;
        uint32_t *v = vmbi_realloc_array(k->unindexed, cap, sizeof(*v));

        if (v == NULL) {
            return vmbi_fail_nomem(err);
        }
        k->unindexed = v;
        k->unindexed_cap = cap;
    }
    code = vmbi_restic_index_add(r->index, id, p->blobs.v, p->blobs.n, &how, err);
    if (code != VMB_OK) {
        return code;
    }
    if (k->unindexed_n == 0) {
        k->unindexed_since_ns = vmbi_mono_ns();
    }
    k->unindexed[k->unindexed_n++] = (uint32_t)vmbi_restic_index_packs(r->index) - 1;
    k->unindexed_blobs += p->blobs.n;
    for (i = 0; i < p->blobs.n; i++) {
        vmbi_pending_remove(&r->pending, p->blobs.v[i].type, &p->blobs.v[i].id);
    }
    r->stats.packs_written++;
    r->stats.pack_bytes_written += p->fill;
    return VMB_OK;
}

static void finish_pack(vmbi_restic *r, vmbi_open_pack *p)
{
    vmb_error *why = NULL;
    vmbi_repo_id id;
    vmb_code code = VMB_OK;

    (void)pthread_mutex_lock(&r->mutex);
    code = r->packer.failure_code;
    (void)pthread_mutex_unlock(&r->mutex);
    if (code == VMB_OK) { /* after a failure what is queued is only dropped */
        code = upload(r, p, &id, &why);
        (void)pthread_mutex_lock(&r->mutex);
        if (code == VMB_OK) {
            code = settle(r, p, &id, &why);
        }
        if (code != VMB_OK) {
            remember_failure(r, code, &why);
        }
        (void)pthread_mutex_unlock(&r->mutex);
    }
    if (code == VMB_OK) {
        code = vmbi_restic_write_index(r, NULL, false, &why);
    }
    (void)pthread_mutex_lock(&r->mutex);
    if (code != VMB_OK) {
        remember_failure(r, code, &why);
    }
    r->packer.busy--;
    /* After a failure pending blobs may still point to the pack. */
    if (r->packer.failure_code != VMB_OK) {
        vmbi_pending_free(&r->pending);
    }
    give_pack(r, p);
    (void)pthread_cond_broadcast(&r->cond);
    (void)pthread_mutex_unlock(&r->mutex);
}

static void *upload_thread(void *arg)
{
    vmbi_restic *r = arg;

    (void)pthread_mutex_lock(&r->mutex);
    for (;;) {
        vmbi_open_pack *p = r->packer.queue_head;

        if (p != NULL) {
            r->packer.queue_head = p->next;
            if (p->next == NULL) {
                r->packer.queue_tail = NULL;
            }
            (void)pthread_mutex_unlock(&r->mutex);
            finish_pack(r, p);
            (void)pthread_mutex_lock(&r->mutex);
        } else if (r->packer.stop) {
            break;
        } else {
            (void)pthread_cond_wait(&r->cond, &r->mutex);
        }
    }
    (void)pthread_mutex_unlock(&r->mutex);
    return NULL;
}

/* Starts the threads at the first save. mutex held. */
static vmb_code start_threads(vmbi_restic *r, vmb_error **err)
{
    vmbi_packer *k = &r->packer;

    while (k->threads_n < k->threads_wanted) {
        const int rc = pthread_create(&k->threads[k->threads_n], NULL, upload_thread, r);

        if (rc != 0 && k->threads_n == 0) {
            return vmbi_fail_errno(err, rc, "start a thread for uploads");
        }
        if (rc != 0) {
            k->threads_wanted = k->threads_n; /* fewer will do */
            break;
        }
        k->threads_n++;
    }
    return VMB_OK;
}

void vmbi_packer_stop(vmbi_restic *r)
{
    vmbi_packer *k = &r->packer;
    vmb_error *why = NULL;
    unsigned i = 0;

    (void)pthread_mutex_lock(&r->mutex);
    k->stop = true;
    remember_failure(r, VMB_E_STATE, &why); /* what is queued and was not flushed is dropped */
    (void)pthread_mutex_unlock(&r->mutex);
    for (i = 0; i < k->threads_n; i++) {
        (void)pthread_join(k->threads[i], NULL);
    }
    pack_free(k->open[0]);
    pack_free(k->open[1]);
    pack_free(k->closing);
    pack_free(k->idle);
    vmbi_free(k->unindexed);
    vmb_error_free(k->failure);
    k->open[0] = k->open[1] = k->closing = k->idle = NULL;
    k->unindexed = NULL;
    k->unindexed_n = 0;
    k->failure = NULL;
}

void vmbi_packer_restart(vmbi_restic *r)
{
    const size_t max_buffers = r->packer.max_buffers;
    const unsigned threads_wanted = r->packer.threads_wanted;

    vmbi_packer_stop(r);
    memset(&r->packer, 0, sizeof(r->packer));
    r->packer.max_buffers = max_buffers;
    r->packer.threads_wanted = threads_wanted;
}

/* ---- index files ---- */

enum { MAX_TEXT_BLOBS = VMBI_INDEX_FILE_BLOBS + MAX_PACK_BLOBS, BLOB_TEXT = 160 };

static bool index_due(const vmbi_packer *k, bool all)
{
    return k->unindexed_n > 0 &&
           (all || k->unindexed_blobs >= VMBI_INDEX_FILE_BLOBS || k->unindexed_n >= INDEX_PACKS ||
            vmbi_mono_ns() - k->unindexed_since_ns >= INDEX_PERIOD);
}

/* The text of the first packs of the list, up to a full file; *taken: how many. mutex held. */
static vmb_code index_text(vmbi_restic *r, vmbi_buf *text, size_t *taken, vmb_error **err)
{
    vmbi_packer *k = &r->packer;
    vmbi_pack_blobs blobs = {NULL, 0, 0};
    size_t n = 0, count = 0;
    vmb_code code = VMB_OK;

    /* at once: growing by and by would leave holes in the heap as large as the text */
    vmbi_buf_reserve(text, (k->unindexed_blobs < MAX_TEXT_BLOBS ? k->unindexed_blobs
                                                                : MAX_TEXT_BLOBS) * BLOB_TEXT);
    vmbi_indexfile_begin(text);
    while (code == VMB_OK && n < k->unindexed_n && count < VMBI_INDEX_FILE_BLOBS) {
        code = vmbi_restic_index_pack_blobs(r->index, k->unindexed[n], &blobs, err);
        vmbi_indexfile_pack(text, n == 0, vmbi_restic_index_pack_id(r->index, k->unindexed[n]),
                            blobs.v, blobs.n);
        count += blobs.n;
        n++;
    }
    vmbi_indexfile_end(text);
    vmbi_pack_blobs_free(&blobs);
    *taken = n;
    return code == VMB_OK ? vmbi_buf_check(text, err, "index file") : code;
}

/* mutex held */
static vmb_code drop_indexed(vmbi_restic *r, size_t n, vmb_error **err)
{
    vmbi_packer *k = &r->packer;
    vmbi_pack_blobs blobs = {NULL, 0, 0};
    size_t i = 0, left = 0;
    vmb_code code = VMB_OK;

    memmove(k->unindexed, k->unindexed + n, (k->unindexed_n - n) * sizeof(*k->unindexed));
    k->unindexed_n -= n;
    k->unindexed_since_ns = vmbi_mono_ns();
    for (i = 0; code == VMB_OK && i < k->unindexed_n; i++) {
        code = vmbi_restic_index_pack_blobs(r->index, k->unindexed[i], &blobs, err);
        left += blobs.n;
    }
    vmbi_pack_blobs_free(&blobs);
    k->unindexed_blobs = left;
    return code;
}

vmb_code vmbi_restic_write_index(vmbi_restic *r, vmb_job *job, bool all, vmb_error **err)
{
    vmbi_buf text = VMBI_BUF_INIT(VMBI_RESTIC_META_MAX);
    vmb_code code = VMB_OK;

    (void)pthread_mutex_lock(&r->mutex);
    while (all && r->packer.writing_index) {
        wait_change(r);
    }
    if (!r->packer.writing_index) { /* one at a time: the packs it names stay at the list's head */
        r->packer.writing_index = true;
        while (code == VMB_OK && index_due(&r->packer, all)) {
            vmbi_repo_id id;
            size_t taken = 0;

            vmbi_buf_reset(&text);
            code = index_text(r, &text, &taken, err);
            (void)pthread_mutex_unlock(&r->mutex);
            if (code == VMB_OK) {
                code = vmbi_restic_still_locked(r, job, true, err);
            }
            if (code == VMB_OK) {
                code = vmbi_restic_save_file(r, job, "index/", text.data, text.len, &id, err);
            }
            (void)pthread_mutex_lock(&r->mutex);
            if (code == VMB_OK) {
                code = drop_indexed(r, taken, err);
            }
        }
        r->packer.writing_index = false;
        (void)pthread_cond_broadcast(&r->cond);
    }
    (void)pthread_mutex_unlock(&r->mutex);
    vmbi_buf_free(&text);
    return code;
}

/* ---- saving ---- */

/* Packs of trees are closed earlier: a snapshot has few, and while they fill they are memory. */
static bool fits(const vmbi_open_pack *p, size_t sealed)
{
    if (p->blobs.n >= MAX_PACK_BLOBS) {
        return false;
    }

    const size_t header = p->header + VMBI_PACK_ENTRY_COMPRESSED + VMBI_PACK_FIXED;
    const size_t cap = p->type == VMBI_BLOB_TREE && p->fill > 0 ? p->cap / 2 : p->cap;

    return p->fill < cap && sealed + header <= cap - p->fill && header <= VMBI_PACK_MAX_HEADER &&
           p->blobs.n < MAX_PACK_BLOBS;
}

/* May one more pack be held? One of three or more is kept for trees, so that they do not wait for
 * uploads of data. mutex held. */
static bool may_take(const vmbi_packer *k, vmbi_blob_type type)
{
    const size_t data_max = k->max_buffers > 2 ? k->max_buffers - 1 : k->max_buffers;

    return k->buffers[0] + k->buffers[1] < k->max_buffers &&
           (type == VMBI_BLOB_TREE || k->buffers[VMBI_BLOB_DATA] < data_max);
}

/* Sees to it that the open pack has room; waits for memory. mutex held, given up while waiting. */
static vmb_code make_room(vmbi_restic *r, vmbi_blob_type type, size_t sealed, vmb_error **err)
{
    const size_t need = sealed + VMBI_PACK_ENTRY_COMPRESSED + VMBI_PACK_FIXED;
    vmb_code code = VMB_OK;

    for (;;) {
        code = failure(r, err);
        if (code == VMB_OK) {
            code = vmbi_limits_check(&r->storage.job->limits, err, "save a blob");
        }
        if (code != VMB_OK) {
            return code;
        }
        if (r->packer.open[type] != NULL) {
            if (fits(r->packer.open[type], sealed)) {
                return VMB_OK;
            }
            close_pack(r, type);
        }
        /* No deadlock: at most one buffer is held open, by the other type; closed ones get free. */
        if (may_take(&r->packer, type)) {
            return take_pack(r, type, need, &r->packer.open[type], err);
        }
        vmbi_packer_let_go(r);
        wait_change(r);
    }
}

/* Takes the blob's place in the open pack. mutex held. */
static vmb_code reserve(vmbi_restic *r, const vmbi_pack_blob *wanted, vmbi_open_pack **pack,
                        vmbi_pack_writer *writer, vmb_error **err)
{
    vmbi_pack_blob b = *wanted;
    vmbi_pending_blob *pending = NULL;
    vmbi_open_pack *p = NULL;
    vmb_code code = make_room(r, b.type, b.length, err);

    if (code != VMB_OK) {
        return code;
    }
    p = r->packer.open[b.type];
    b.offset = (uint32_t)p->fill;
    code = vmbi_pack_blobs_add(&p->blobs, &b, err);
    if (code != VMB_OK) {
        return code;
    }
    pending = vmbi_pending_get(&r->pending, b.type, &b.id);
    if (pending != NULL) {
        pending->pack = p;
        pending->number = (uint32_t)p->blobs.n - 1;
    }
    p->fill += b.length;
    p->header += b.size != 0 ? VMBI_PACK_ENTRY_COMPRESSED : VMBI_PACK_ENTRY;
    p->writers++;
    *writer = (vmbi_pack_writer){p->sealing, b.offset};
    p->sealing = writer;
    *pack = p;
    return VMB_OK;
}

static void release(vmbi_restic *r, vmbi_open_pack *p, const vmbi_pack_blob *b,
                    const vmbi_pack_writer *writer)
{
    vmbi_pack_writer **link = &p->sealing;
    vmbi_pending_blob *pending = NULL;

    (void)pthread_mutex_lock(&r->mutex);
    while (*link != writer) {
        link = &(*link)->next;
    }
    *link = writer->next;
    pending = vmbi_pending_get(&r->pending, b->type, &b->id);
    if (pending != NULL) {
        pending->ready = true;
    }
    vmbi_packer_leave(r, p);
    (void)pthread_mutex_unlock(&r->mutex);
}

/* Do samples of a large blob not shrink at all? Then the whole is not worth the time: finding out
 * costs a thirtieth of what compressing random data does. */
static bool looks_random(vmbi_lane *lane, const uint8_t *data, size_t len)
{
    enum { SAMPLES = 8, SAMPLE = 4096, WORTH = 256 << 10 };
    size_t sum = 0, i = 0;

    if (len < WORTH) {
        return false;
    }
    for (i = 0; i < SAMPLES; i++) {
        size_t n = 0;

        if (vmbi_zstd_compress(lane->enc, data + i * (len / SAMPLES), SAMPLE, lane->scratch.p,
                               lane->scratch.cap, &n, NULL) != VMB_OK) {
            return false;
        }
        sum += n;
    }
    return sum >= (size_t)SAMPLES * SAMPLE;
}

/* Compresses where that is wanted and gains something. Trees are always compressed in version 2,
 * as restic wants to find them; data that does not shrink is stored as it is, to be read faster. */
static vmb_code shrink(vmbi_restic *r, vmbi_lane *lane, vmbi_pack_blob *b, const void **data,
                       size_t *len, vmb_error **err)
{
    const bool tree = b->type == VMBI_BLOB_TREE;
    size_t cap = 0, n = 0;
    vmb_code code = VMB_OK;

    if (r->config.version < 2 || *len == 0 || (!tree && r->compression == VMBI_REPO_OFF)) {
        return VMB_OK;
    }
    cap = vmbi_zstd_bound(*len);
    code = vmbi_lane_encoder(r, lane, err);
    if (code == VMB_OK) {
        code = vmbi_room_reserve(&lane->scratch, cap, err);
    }
    if (code == VMB_OK && !tree && r->compression == VMBI_REPO_AUTO &&
        looks_random(lane, *data, *len)) {
        return VMB_OK;
    }
    if (code == VMB_OK) {
        code = vmbi_zstd_compress(lane->enc, *data, *len, lane->scratch.p, cap, &n, err);
    }
    if (code == VMB_OK && (tree || n < *len - *len / 64)) {
        b->size = (uint32_t)*len;
        *data = lane->scratch.p;
        *len = n;
    }
    return code;
}

/* A blob that could not be stored after all spoils the repository object: another thread may have
 * been told that the blob is known, and its place in the pack may be taken. */
static void spoil(vmbi_restic *r, vmb_code code, vmb_error **err)
{
    vmb_error *why = NULL;

    (void)vmbi_fail(&why, code, "%s", err != NULL && *err != NULL ? vmb_error_message(*err)
                                                                  : "a blob could not be stored");
    (void)pthread_mutex_lock(&r->mutex);
    remember_failure(r, code, &why);
    (void)pthread_mutex_unlock(&r->mutex);
}

static vmb_code store_blob(vmbi_restic *r, vmbi_blob_type type, const vmbi_repo_id *id,
                           const void *data, size_t len, vmb_error **err)
{
    vmbi_pack_blob b = {*id, 0, 0, 0, type};
    const size_t plain = len;
    vmbi_lane *lane = NULL;
    vmbi_open_pack *p = NULL;
    vmbi_pack_writer writer = {NULL, 0};
    vmb_code code = vmbi_lane_get(r, &lane, err);

    if (code == VMB_OK) {
        code = shrink(r, lane, &b, &data, &len, err);
    }
    if (code == VMB_OK) {
        b.length = (uint32_t)(len + VMBI_RESTIC_OVERHEAD);
        (void)pthread_mutex_lock(&r->mutex);
        code = reserve(r, &b, &p, &writer, err);
        if (code == VMB_OK) {
            r->stats.blobs_new++;
            r->stats.bytes_new += plain;
            r->stats.bytes_stored += b.length;
        }
        (void)pthread_mutex_unlock(&r->mutex);
    }
    if (code == VMB_OK) {
        code = vmbi_restic_seal(lane->box, data, len, p->data + writer.offset, err);
        if (code != VMB_OK) {
            spoil(r, code, err);
        }
        release(r, p, &b, &writer);
    } else {
        spoil(r, code, err);
    }
    vmbi_lane_put(r, lane);
    return code;
}

/* Is the blob known? If not, it is pending from now on, for this thread to store. mutex held. */
static vmb_code claim(vmbi_restic *r, vmbi_blob_type type, const vmbi_repo_id *id, size_t len,
                      bool *known, vmb_error **err)
{
    vmb_code code = failure(r, err);

    if (code != VMB_OK) {
        return code;
    }
    if (!r->index_loaded) {
        return vmbi_fail(err, VMB_E_STATE, "save a blob: the index was not loaded");
    }
    if (vmbi_pending_get(&r->pending, type, id) != NULL ||
        vmbi_restic_index_has(r->index, type, id)) {
        r->stats.blobs_known++;
        r->stats.bytes_known += len;
        *known = true;
        return VMB_OK;
    }
    *known = false;
    code = start_threads(r, err);
    return code == VMB_OK ? vmbi_pending_add(&r->pending, type, id, err) : code;
}

vmb_code vmbi_restic_save(vmbi_repo *base, vmbi_blob_type type, const vmbi_repo_id *id,
                          const void *data, size_t len, bool *known, vmb_error **err)
{
    vmbi_restic *r = vmbi_restic_of(base);
    bool have = false;
    vmb_code code = VMB_OK;

    if (len > (size_t)VMBI_REPO_MAX_BLOB || (type != VMBI_BLOB_DATA && type != VMBI_BLOB_TREE)) {
        return vmbi_fail(err, VMB_E_LIMIT, "save a blob: %zu bytes are too many", len);
    }
    code = vmbi_restic_may_write(r, VMBI_REPO_SHARED, err);
    if (code != VMB_OK) {
        return code;
    }
    (void)pthread_mutex_lock(&r->mutex);
    code = claim(r, type, id, len, &have, err);
    (void)pthread_mutex_unlock(&r->mutex);
    if (code == VMB_OK && !have) {
        code = store_blob(r, type, id, data, len, err);
    }
    if (code == VMB_OK && known != NULL) {
        *known = have;
    }
    return code;
}

vmb_code vmbi_restic_save_blob(vmbi_repo *base, vmbi_blob_type type, const void *data, size_t len,
                               vmbi_repo_id *id, bool *known, vmb_error **err)
{
    vmbi_repo_id own;
    vmb_code code = VMB_OK;

    vmbi_restic_hash_blob(vmbi_restic_of(base), data, len, &own);
    code = vmbi_restic_save(base, type, &own, data, len, known, err);
    if (code == VMB_OK) {
        *id = own;
    }
    return code;
}

/* Is any blob older than the ticket still on its way? Closes the open packs that hold such. mutex
 * held. */
static bool push_out(vmbi_restic *r, uint64_t ticket)
{
    bool any = false;
    size_t i = 0;

    for (i = 0; i < r->pending.cap; i++) {
        const vmbi_pending_blob *b = &r->pending.v[i];

        if (b->used && b->ticket < ticket) {
            any = true;
            if (b->pack != NULL && !b->pack->closed) {
                close_pack(r, b->type);
            }
        }
    }
    return any;
}

/* Waits for the blobs that were saved before, by whatever thread: others may go on meanwhile. */
vmb_code vmbi_restic_flush(vmbi_repo *base, vmb_error **err)
{
    vmbi_restic *r = vmbi_restic_of(base);
    uint64_t ticket = 0;
    vmb_code code = VMB_OK;

    (void)pthread_mutex_lock(&r->mutex);
    ticket = r->pending.next_ticket;
    code = failure(r, err);
    while (code == VMB_OK && push_out(r, ticket)) {
        vmbi_packer_let_go(r);
        code = vmbi_limits_check(&r->storage.job->limits, err, "flush");
        if (code == VMB_OK) {
            wait_change(r);
            code = failure(r, err);
        }
    }
    (void)pthread_mutex_unlock(&r->mutex);
    return code == VMB_OK ? vmbi_restic_write_index(r, NULL, true, err) : code;
}
