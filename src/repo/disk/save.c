/* SPDX-License-Identifier: Apache-2.0 */
/* Saving a disk: the caller's thread asks for extents and reads; workers hash and store. */
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/job.h"
#include "repo/disk/disk.h"
#include "repo/disk/find.h"
#include "repo/disk/snapshot.h"
#include "repo/disk/window.h"
#include "repo/disk/zero.h"
#include "repo/tree/pool.h"

enum {
    DEFAULT_THREADS = 2,
    DEFAULT_MEMORY = 8 * 1024 * 1024,
    WINDOW_CHUNKS = 4096,       /* whose extents are asked for at a time */
    LOOK_CHUNKS = 256,          /* between two looks at cancellation when nothing is read */
    MAX_CHUNKS = 1900 * 1000,   /* a tree's JSON has 67 bytes for each, and must be one blob */
    GAP_WORTH = 32 * 1024       /* zeros inside of a chunk that are worth two reads */
};

typedef struct saver {
    vmbi_repo *repo;
    const vmb_blocks_provider *source;
    const vmbi_disk_save_options *options;
    vmb_job *job;
    uint64_t size;
    uint32_t chunk;
    size_t n;
    vmbi_repo_id *ids;
    char *state; /* of the source, for the next backup; NULL: none */

    vmbi_node parent; /* its file; content NULL: there is none */
    vmbi_json *parent_snapshot;
    char parent_id[VMBI_REPO_HEX_SIZE];
    const char *since; /* the parent's state, as long as the source knows it */

    vmbi_pool pool;
    bool pool_open;
    vmbi_pool_group group;
    uint8_t *buffer; /* a chunk that is being read; NULL: the workers have it */
    vmbi_repo_id zero_id;
    bool zero_saved;
    vmbi_disk_window window;
    bool refined; /* the window's holes are known, too */
    vmbi_disk_save_stats stats;
} saver;

static void note(const saver *s, const char *text, const char *why)
{
    vmbi_buf b = VMBI_BUF_INIT(2048);
    vmbi_buf_addf(&b, "disk: %s%s%s", text, why != NULL ? ": " : "", why != NULL ? why : "");
    if (b.status == VMB_OK && s->job->log != NULL) {
        s->job->log(s->job->log_user, VMB_LOG_INFO, b.data);
    }
    vmbi_buf_free(&b);
}

static size_t chunk_len(const saver *s, size_t i)
{
    uint64_t left = s->size - (uint64_t)i * s->chunk;
    return left < s->chunk ? (size_t)left : s->chunk;
}

/* ---- source and parent ------------------------------------------------------------------------- */

static vmb_code take_state(saver *s, vmb_error **err)
{
    vmbi_buf b = VMBI_BUF_INIT(VMBI_DISK_STATE_MAX);
    struct vmb_sink sink = vmbi_sink_to_buf(&b);
    vmb_error *why = NULL;
    if (s->source->state == NULL) {
        return VMB_OK;
    }
    vmb_code rc = s->source->state(s->source->user, s->job, &sink, &why);
    rc = vmbi_check_provider(&why, rc, "state");
    if (rc == VMB_OK && b.status == VMB_E_LIMIT) {
        rc = vmbi_fail(&why, VMB_E_PROVIDER, "state: more than %d bytes", VMBI_DISK_STATE_MAX);
    }
    if (rc == VMB_OK && b.len > 0) {
        vmbi_json *text = vmbi_json_stringn(b.data, b.len); /* looks at the UTF-8 */
        if (text == NULL || memchr(b.data, '\0', b.len) != NULL) {
            rc = vmbi_fail(&why, VMB_E_PROVIDER, "state: no UTF-8 text");
        }
        vmbi_json_free(text);
    }
    if (rc == VMB_OK && b.len > 0) {
        rc = vmbi_buf_take(&b, &s->state, NULL, &why, "state");
    }
    vmbi_buf_free(&b);
    vmbi_error_move(err, &why);
    return rc;
}

static vmb_code take_size(saver *s, vmb_error **err)
{
    int64_t size = -1;
    vmb_code rc = s->source->size(s->source->user, s->job, &size, err);
    rc = vmbi_check_provider(err, rc, "size");
    if (rc == VMB_OK && size < 0) {
        rc = vmbi_fail(err, VMB_E_PROVIDER, "size: %lld bytes", (long long)size);
    }
    s->size = rc == VMB_OK ? (uint64_t)size : 0;
    s->stats.bytes = s->size;
    return rc;
}

static bool ends_backup(vmb_code rc)
{
    return rc == VMB_E_NOMEM || rc == VMB_E_CANCELLED || rc == VMB_E_TIMEOUT;
}

/* The parent saves time only: without a usable one everything is read. */
static vmb_code load_parent(saver *s, vmb_error **err)
{
    vmb_error *why = NULL;
    vmbi_disk_mark mark = {0};
    if (s->options->parent == NULL) {
        return VMB_OK;
    }
    char *path = vmbi_disk_path(s->options);
    vmb_code rc = path == NULL ? vmbi_fail_nomem(&why)
                               : vmbi_disk_find(s->repo, s->options->parent, path, &s->parent,
                                                s->parent_id, &s->parent_snapshot, &why);
    vmbi_free(path);
    if (rc != VMB_OK && !ends_backup(rc)) {
        note(s, "nothing can be taken from the parent", vmb_error_message(why));
        vmb_error_free(why);
        s->parent_id[0] = '\0';
        return VMB_OK;
    }
    if (rc != VMB_OK) {
        vmbi_error_move(err, &why);
        return rc;
    }
    bool marked = vmbi_disk_mark_read(s->parent_snapshot, &mark);
    if (marked && s->options->chunk_bytes == 0) {
        s->chunk = mark.chunk_bytes;
    }
    bool known = marked && mark.state != NULL && mark.source != NULL && s->source->name != NULL &&
                 strcmp(mark.source, s->source->name) == 0;
    bool fits = known && mark.chunk_bytes == s->chunk &&
                s->parent.n_content == (s->parent.size + s->chunk - 1) / s->chunk;
    if (fits && !s->options->force && s->source->extents != NULL) {
        s->since = mark.state;
    } else if (!s->options->force && s->source->state != NULL) {
        note(s, "everything is read: the parent has no state, or other chunks", NULL);
    }
    return VMB_OK;
}

static vmb_code choose_chunks(saver *s, vmb_error **err)
{
    uint32_t wanted = s->options->chunk_bytes;
    s->chunk = wanted != 0 ? wanted : VMBI_DISK_CHUNK_DEFAULT;
    vmb_code rc = load_parent(s, err);
    if (rc != VMB_OK) {
        return rc;
    }
    if (wanted == 0 && s->size / s->chunk >= MAX_CHUNKS && s->chunk < VMBI_DISK_CHUNK_MAX) {
        s->chunk = VMBI_DISK_CHUNK_MAX;
        s->since = NULL;
    }
    uint64_t n = s->size / s->chunk + (s->size % s->chunk != 0 ? 1 : 0);
    if (n > MAX_CHUNKS) {
        return vmbi_fail(err, VMB_E_LIMIT,
                         "a disk of %llu bytes has more than %d chunks of %u bytes",
                         (unsigned long long)s->size, MAX_CHUNKS, (unsigned)s->chunk);
    }
    s->n = (size_t)n;
    s->ids = vmbi_alloc_array(s->n, sizeof(*s->ids));
    s->stats.chunks = n;
    s->stats.chunk_bytes = s->chunk;
    return s->ids != NULL ? VMB_OK : vmbi_fail_nomem(err);
}

/* ---- chunks ------------------------------------------------------------------------------------ */

static vmb_code take_buffer(saver *s, vmb_error **err)
{
    if (s->buffer == NULL) { /* it counts from now on: who waited first needs no third one */
        vmbi_pool_wait_room(&s->pool, s->chunk);
        s->buffer = vmbi_pool_spare(&s->pool);
    }
    if (s->buffer == NULL) {
        s->buffer = vmbi_alloc(s->chunk);
    }
    return s->buffer != NULL ? VMB_OK : vmbi_fail_nomem(err);
}

static vmb_code hand_over(saver *s, size_t i, size_t len, vmb_error **err)
{
    return vmbi_pool_save(&s->pool, vmbi_steal(&s->buffer), len, &s->ids[i], &s->group, err);
}

static vmb_code zero_chunk(saver *s, size_t i, vmb_error **err)
{
    const size_t len = chunk_len(s, i);
    const bool whole = len == s->chunk;
    vmb_code rc = VMB_OK;
    s->stats.bytes_zero += len;
    if (!whole || !s->zero_saved) {
        rc = take_buffer(s, err);
        if (rc == VMB_OK) {
            memset(s->buffer, 0, len);
        }
        if (rc == VMB_OK && !whole) { /* the disk's end, met once */
            return hand_over(s, i, len, err);
        }
        if (rc == VMB_OK) {
            rc = vmbi_repo_save_blob(s->repo, VMBI_BLOB_DATA, s->buffer, len, &s->zero_id, NULL,
                                     err);
            s->zero_saved = rc == VMB_OK;
        }
    }
    if (rc == VMB_OK) {
        s->ids[i] = s->zero_id;
    }
    return rc;
}

/* May the parent's chunk be taken? It must be as long, and still be there. */
static bool parent_chunk(saver *s, size_t i, uint64_t from, uint64_t to)
{
    uint64_t size = 0;
    return s->since != NULL && i < s->parent.n_content &&
           !vmbi_disk_ranges_touch(&s->window.changed, from, to) &&
           vmbi_repo_blob_size(s->repo, VMBI_BLOB_DATA, &s->parent.content[i], &size) &&
           size == to - from;
}

static vmb_code read_part(saver *s, uint64_t from, uint64_t to, uint64_t base, bool *zero,
                          vmb_error **err)
{
    uint8_t *p = s->buffer + (from - base);
    const size_t len = (size_t)(to - from);
    vmb_code rc = s->source->pread(s->source->user, s->job, p, len, (int64_t)from, err);
    rc = vmbi_check_provider(err, rc, "pread");
    if (rc != VMB_OK) {
        return vmbi_wrap(err, rc, "read the disk at %llu", (unsigned long long)from);
    }
    s->stats.bytes_read += len;
    *zero = *zero && vmbi_disk_is_zero(p, len);
    return VMB_OK;
}

/* Reads what may be other than zero of [from, to). */
static vmb_code read_parts(saver *s, uint64_t from, uint64_t to, bool *zero, vmb_error **err)
{
    uint64_t at = from;
    vmb_code rc = VMB_OK;
    *zero = true;
    while (rc == VMB_OK && at < to) {
        const vmbi_disk_range *r = vmbi_disk_ranges_next(&s->window.nonzero, at);
        uint64_t start = r == NULL || r->from > to ? to : r->from > at ? r->from : at;
        memset(s->buffer + (at - from), 0, (size_t)(start - at));
        if (start == to) {
            break;
        }
        uint64_t end = r->to < to ? r->to : to;
        at = end;
        while (at < to) { /* over small gaps */
            r = vmbi_disk_ranges_next(&s->window.nonzero, at);
            if (r == NULL || r->from >= to || r->from - end > GAP_WORTH) {
                break;
            }
            end = r->to < to ? r->to : to;
            at = end;
        }
        rc = read_part(s, start, end, from, zero, err);
    }
    return rc;
}

static vmb_code read_chunk(saver *s, size_t i, uint64_t from, uint64_t to, vmb_error **err)
{
    bool zero = false;
    vmb_code rc = vmbi_limits_check(&s->job->limits, err, "back up a disk");
    if (rc == VMB_OK && s->since != NULL && !s->refined) {
        rc = vmbi_disk_window_refine(&s->window, s->source, s->job, err);
        s->refined = true;
    }
    if (rc == VMB_OK) {
        rc = take_buffer(s, err);
    }
    if (rc == VMB_OK) {
        rc = read_parts(s, from, to, &zero, err);
    }
    if (rc == VMB_OK) {
        rc = zero ? zero_chunk(s, i, err) : hand_over(s, i, (size_t)(to - from), err);
    }
    return rc;
}

static void tell(saver *s, uint64_t done)
{
    if (s->options->progress != NULL) {
        s->options->progress(s->options->user, done, s->size);
    }
}

static vmb_code save_chunk(saver *s, size_t i, vmb_error **err)
{
    const uint64_t from = (uint64_t)i * s->chunk;
    const uint64_t to = from + chunk_len(s, i);
    vmb_code rc = VMB_OK;
    if (parent_chunk(s, i, from, to)) {
        s->ids[i] = s->parent.content[i];
        s->stats.bytes_unchanged += to - from;
        s->stats.parent_used = true;
    } else if (!vmbi_disk_ranges_touch(&s->window.nonzero, from, to)) {
        rc = zero_chunk(s, i, err);
    } else {
        rc = read_chunk(s, i, from, to, err);
        if (rc == VMB_OK) {
            tell(s, to);
        }
        return rc;
    }
    if (rc == VMB_OK && i % LOOK_CHUNKS == 0) {
        tell(s, to);
        rc = vmbi_limits_check(&s->job->limits, err, "back up a disk");
    }
    return rc;
}

static vmb_code ask(saver *s, uint64_t from, uint64_t to, vmb_error **err)
{
    vmb_error *why = NULL;
    vmb_code rc = vmbi_disk_window_ask(&s->window, s->source, s->job, from, to, s->since, &why);
    s->refined = false;
    if (rc == VMB_E_NOT_FOUND && s->since != NULL) {
        note(s, "everything is read: the source does not know the parent's state",
             vmb_error_message(why));
        vmb_error_free(vmbi_steal(&why));
        s->since = NULL;
        rc = vmbi_disk_window_ask(&s->window, s->source, s->job, from, to, NULL, &why);
    }
    if (rc != VMB_OK) {
        rc = vmbi_wrap(&why, rc, "ask for the disk's extents at %llu", (unsigned long long)from);
    }
    vmbi_error_move(err, &why);
    return rc;
}

static vmb_code save_chunks(saver *s, vmb_error **err)
{
    vmb_code rc = VMB_OK;
    for (size_t i = 0; i < s->n && rc == VMB_OK; i++) {
        if (i % WINDOW_CHUNKS == 0) {
            size_t last = s->n - i < WINDOW_CHUNKS ? s->n : i + WINDOW_CHUNKS;
            uint64_t to = last == s->n ? s->size : (uint64_t)last * s->chunk;
            rc = ask(s, (uint64_t)i * s->chunk, to, err);
        }
        if (rc == VMB_OK) {
            rc = save_chunk(s, i, err);
        }
    }
    /* the workers write into ids: wait in any case */
    vmb_code waited = s->pool_open ? vmbi_pool_wait(&s->pool, &s->group, rc == VMB_OK ? err : NULL)
                                   : VMB_OK;
    return rc == VMB_OK ? waited : rc;
}

/* ---- the whole --------------------------------------------------------------------------------- */

/* A disk that did not change keeps its time, and so its tree. */
static bool same_content(const saver *s)
{
    return s->parent.name != NULL && s->parent.size == s->size && s->parent.n_content == s->n &&
           s->n > 0 && memcmp(s->parent.content, s->ids, s->n * sizeof(*s->ids)) == 0;
}

static vmb_code finish(saver *s, char id[VMBI_REPO_HEX_SIZE], vmb_error **err)
{
    const vmbi_disk_save_options *o = s->options;
    const int64_t now = o->time_unix_ns != 0 ? o->time_unix_ns : vmbi_unix_ns();
    const vmbi_disk_mark mark = {s->source->name, s->state, s->chunk};
    vmbi_node node = {
        .type = VMBI_NODE_FILE,
        .mode = vmbi_node_mode(S_IFREG | 0600),
        .mtime = {now / VMBI_SECOND, now % VMBI_SECOND},
        .uid = getuid(),
        .gid = getgid(),
        .size = s->size,
        .links = 1,
    };
    if (same_content(s)) {
        node.mtime = s->parent.mtime;
    }
    node.atime = node.ctime = node.mtime;
    node.content = vmbi_steal(&s->ids);
    node.n_content = s->n;
    return vmbi_disk_snapshot_save(s->repo, o, &node, s->parent_id, &mark, id, err);
}

static vmb_code open_pool(saver *s, vmb_error **err)
{
    const vmbi_disk_save_options *o = s->options;
    size_t memory = o->memory_bytes != 0 ? o->memory_bytes : DEFAULT_MEMORY;
    size_t flight = memory > 2 * (size_t)s->chunk ? memory : 2 * (size_t)s->chunk;
    vmb_code rc = vmbi_pool_init(&s->pool, s->repo, o->threads != 0 ? o->threads : DEFAULT_THREADS,
                                 flight, err);
    s->pool_open = rc == VMB_OK;
    if (s->pool_open) {
        vmbi_pool_keep_spares(&s->pool);
    }
    return rc;
}

static vmb_code check_source(const vmb_blocks_provider *source, vmb_error **err)
{
    return source->size != NULL && source->pread != NULL
               ? VMB_OK
               : vmbi_fail(err, VMB_E_ARG, "the disk cannot be read: it has no size or no pread");
}

vmb_code vmbi_disk_save(vmbi_repo *r, const vmb_blocks_provider *source,
                        const vmbi_disk_save_options *o, vmb_job *job,
                        char id[VMBI_REPO_HEX_SIZE], vmbi_disk_save_stats *stats, vmb_error **err)
{
    saver s = {.repo = r, .source = source, .options = o, .job = job};
    vmb_code rc = vmbi_disk_check_options(o, err);
    if (rc == VMB_OK) {
        rc = check_source(source, err);
    }
    if (rc == VMB_OK) { /* before anything is read: what changes from now on is read next time */
        rc = take_state(&s, err);
    }
    if (rc == VMB_OK) {
        rc = take_size(&s, err);
    }
    if (rc == VMB_OK) {
        rc = choose_chunks(&s, err);
    }
    if (rc == VMB_OK) {
        rc = open_pool(&s, err);
    }
    if (rc == VMB_OK) {
        rc = save_chunks(&s, err);
    }
    if (s.pool_open) {
        vmbi_pool_done(&s.pool); /* gives its memory back before the tree needs some */
    }
    vmbi_free(vmbi_steal(&s.buffer));
    vmbi_disk_window_free(&s.window);
    if (rc == VMB_OK) {
        rc = finish(&s, id, err);
    }
    if (rc == VMB_OK) {
        tell(&s, s.size);
    }
    if (rc == VMB_OK && stats != NULL) {
        *stats = s.stats;
    }
    vmbi_node_done(&s.parent);
    vmbi_json_free(s.parent_snapshot);
    vmbi_free(s.state);
    vmbi_free(s.ids);
    return rc;
}
