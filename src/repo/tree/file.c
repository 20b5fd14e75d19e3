/* SPDX-License-Identifier: Apache-2.0 */
/* Reading one file: cut where restic cuts, disk images at fixed places; holes are neither read nor
 * hashed. */
#include "repo/tree/saver.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/error.h"

enum {
    READ_STEP = 1024 * 1024,
    RING_SIZE = VMBI_CHUNK_MAX + 2 * READ_STEP, /* a chunk being read, others at the workers */
    SLAB_IDS = 1024
};

/* IDs of a large file: stable places for the workers to write to. */
typedef struct slab {
    vmbi_repo_id ids[SLAB_IDS];
    size_t n;
    struct slab *next;
} slab;

typedef struct reading {
    vmbi_saver *s;
    int fd;
    bool sparse;
    uint64_t offset;    /* of the chunk being read */
    size_t at, have;    /* its bytes in the ring */
    bool eof;
    uint64_t next_data; /* no data between offset and here, when beyond offset */
    uint64_t size;      /* as seen by fstat, for holes at the end */
    slab *first, *last;
    size_t n_ids;
    vmbi_pool_group group;
} reading;

/* Reads once or more until n bytes are there or the file ends; -1 on failure. */
static ssize_t read_fully(int fd, uint8_t *p, size_t n, uint64_t offset)
{
    size_t got = 0;
    while (got < n) {
        ssize_t k = pread(fd, p + got, n - got, (off_t)(offset + got));
        if (k < 0 && errno == EINTR) {
            continue;
        }
        if (k <= 0) {
            return k < 0 ? -1 : (ssize_t)got;
        }
        got += (size_t)k;
    }
    return (ssize_t)got;
}

static vmb_code read_failed(vmb_error **err)
{
    return vmbi_fail(err, VMB_E_IO, "read: %s", strerrordesc_np(errno));
}

/* ---- small files: one blob ----------------------------------------------------------------- */

vmb_code vmbi_saver_small(vmbi_saver *s, vmbi_saver_worker *w, int fd, vmbi_node *node,
                          bool *grew, bool *fatal, vmb_error **err)
{
    if (w->data == NULL) {
        w->data = vmbi_alloc(VMBI_CHUNK_MIN + 1);
    }
    vmbi_repo_id *content = w->data != NULL ? vmbi_zalloc(sizeof(*content)) : NULL;
    if (content == NULL) {
        return vmbi_fail_nomem(err);
    }
    node->content = content;
    node->size = 0;
    ssize_t got = read_fully(fd, w->data, VMBI_CHUNK_MIN + 1, 0);
    if (got < 0) {
        return read_failed(err);
    }
    *grew = got > VMBI_CHUNK_MIN; /* another size than before is fine, but one blob it must be */
    if (got == 0 || *grew) {
        return VMB_OK;
    }
    node->n_content = 1;
    node->size = (uint64_t)got;
    vmb_code rc = vmbi_pool_save_now(&s->pool, VMBI_BLOB_DATA, w->data, (size_t)got, content, NULL,
                                     err);
    *fatal = rc != VMB_OK;
    return rc;
}

/* ---- large files --------------------------------------------------------------------------- */

static vmbi_repo_id *new_id(reading *r)
{
    if (r->last == NULL || r->last->n == SLAB_IDS) {
        slab *next = vmbi_alloc(sizeof(*next));
        if (next == NULL) {
            return NULL;
        }
        next->n = 0;
        next->next = NULL;
        if (r->last != NULL) {
            r->last->next = next;
        } else {
            r->first = next;
        }
        r->last = next;
    }
    r->n_ids++;
    return &r->last->ids[r->last->n++];
}

/* The ring for cutting, which only large files need. */
static vmb_code get_ring(vmbi_saver *s, vmb_error **err)
{
    vmb_code rc = VMB_OK;
    if (s->ring.base == NULL) {
        rc = vmbi_ring_init(&s->ring, RING_SIZE, err);
        if (rc == VMB_OK) {
            memset(s->ring.base, 0, VMBI_CHUNK_MIN);
            vmbi_repo_hash(s->repo, s->ring.base, VMBI_CHUNK_MIN, &s->zero_id);
            s->zero_saved = vmbi_repo_has_blob(s->repo, VMBI_BLOB_DATA, &s->zero_id);
        }
    }
    return rc;
}

/* A chunk of zeros, whose ID is known once it has been saved. */
static vmb_code save_zero_chunk(reading *r, vmb_error **err)
{
    vmbi_saver *s = r->s;
    vmbi_repo_id *id = new_id(r);
    uint8_t *zeros = NULL;
    if (id != NULL && !s->zero_saved) {
        zeros = vmbi_zalloc(VMBI_CHUNK_MIN);
    }
    if (id == NULL || (zeros == NULL && !s->zero_saved)) {
        return vmbi_fail_nomem(err);
    }
    *id = s->zero_id;
    if (zeros != NULL) {
        s->zero_saved = true;
        return vmbi_pool_save(&s->pool, zeros, VMBI_CHUNK_MIN, id, &r->group, err);
    }
    return VMB_OK;
}

/* Is there nothing but a hole for at least a chunk of that many bytes behind r->offset? */
static bool in_hole(reading *r, uint64_t chunk)
{
    if (!r->sparse) {
        return false;
    }
    if (r->next_data <= r->offset) {
        off_t at = lseek(r->fd, (off_t)r->offset, SEEK_DATA);
        if (at < 0 && errno == ENXIO) {
            r->next_data = r->size; /* a hole up to the end */
        } else if (at < 0) {
            r->sparse = false;
            return false;
        } else {
            r->next_data = (uint64_t)at;
        }
        if (r->next_data <= r->offset) { /* data here: ask again at the next chunk */
            return false;
        }
    }
    return r->next_data - r->offset >= chunk;
}

/* restic's chunker cuts a run of zeros at every 512 KiB, so whole chunks of a hole need no look. */
static vmb_code skip_hole(reading *r, vmb_error **err)
{
    vmb_code rc = VMB_OK;
    while (rc == VMB_OK && in_hole(r, VMBI_CHUNK_MIN)) {
        rc = save_zero_chunk(r, err);
        r->offset += VMBI_CHUNK_MIN;
        r->s->stats.bytes_zero += VMBI_CHUNK_MIN;
        r->have = 0;
        r->eof = false;
        vmbi_chunker_reset(&r->s->chunker);
        if (rc == VMB_OK) {
            rc = vmbi_limits_check(&r->s->job->limits, err, "back up a file");
        }
    }
    return rc;
}

static vmb_code read_more(reading *r, vmb_error **err)
{
    vmbi_ring *ring = &r->s->ring;
    size_t room = VMBI_CHUNK_MAX - r->have;
    size_t want = room < READ_STEP ? room : READ_STEP;
    if (r->at + r->have + want > ring->cap) { /* on at the ring's start */
        vmbi_pool_reclaim(&r->s->pool, ring, 0, r->have + want);
        memmove(ring->base, ring->base + r->at, r->have);
        r->at = 0;
    } else {
        vmbi_pool_reclaim(&r->s->pool, ring, r->at + r->have, r->at + r->have + want);
    }
    ssize_t got = read_fully(r->fd, ring->base + r->at + r->have, want, r->offset + r->have);
    if (got < 0) {
        return read_failed(err);
    }
    r->have += (size_t)got;
    r->eof = (size_t)got < want;
    r->s->stats.bytes_read += (uint64_t)got;
    return vmbi_limits_check(&r->s->job->limits, err, "back up a file");
}

static bool all_zero(const uint8_t *p, size_t len)
{
    return p[0] == 0 && memcmp(p, p + 1, len - 1) == 0;
}

static vmb_code next_chunk(reading *r, vmb_error **err)
{
    vmbi_saver *s = r->s;
    size_t cut = 0;
    vmb_code rc = skip_hole(r, err);
    while (rc == VMB_OK && cut == 0 && !(r->eof && r->have == 0)) {
        rc = vmbi_chunker_next(&s->chunker, s->ring.base + r->at, r->have, r->eof, &cut, err);
        if (rc == VMB_OK && cut == 0) {
            rc = read_more(r, err);
        }
    }
    if (rc == VMB_OK && cut == VMBI_CHUNK_MIN && all_zero(s->ring.base + r->at, cut)) {
        rc = save_zero_chunk(r, err);
    } else if (rc == VMB_OK && cut > 0) {
        vmbi_repo_id *id = new_id(r);
        rc = id != NULL ? vmbi_pool_lend(&s->pool, &s->ring, r->at, cut, id, &r->group, err)
                        : vmbi_fail_nomem(err);
    }
    r->at += cut;
    r->have -= cut;
    r->offset += cut;
    return rc;
}

static vmb_code collect_ids(reading *r, vmbi_node *node, vmb_error **err)
{
    node->content = vmbi_alloc_array(r->n_ids, sizeof(*node->content));
    if (node->content == NULL) {
        return vmbi_fail_nomem(err);
    }
    for (const slab *b = r->first; b != NULL; b = b->next) {
        memcpy(node->content + node->n_content, b->ids, b->n * sizeof(*b->ids));
        node->n_content += b->n;
    }
    return VMB_OK;
}

static vmb_code cut_content(reading *r, vmb_error **err)
{
    vmb_code rc = get_ring(r->s, err);
    vmbi_chunker_reset(&r->s->chunker);
    while (rc == VMB_OK && !(r->eof && r->have == 0)) {
        rc = next_chunk(r, err);
    }
    return rc;
}

/* ---- disk images ------------------------------------------------------------------------------- */

/* A chunk of zeros of a disk image: made once, then known by its ID. */
static vmb_code image_zero(reading *r, size_t chunk, vmb_error **err)
{
    vmbi_saver *s = r->s;
    vmbi_repo_id *id = new_id(r);
    uint8_t *zeros = NULL;
    if (id == NULL) {
        return vmbi_fail_nomem(err);
    }
    if (!s->image_zero_saved) {
        zeros = vmbi_zalloc(chunk);
        if (zeros == NULL) {
            return vmbi_fail_nomem(err);
        }
        vmbi_repo_hash(s->repo, zeros, chunk, &s->image_zero_id);
        s->image_zero_saved = true;
        return vmbi_pool_save(&s->pool, zeros, chunk, id, &r->group, err);
    }
    *id = s->image_zero_id;
    return VMB_OK;
}

static vmb_code image_chunk(reading *r, size_t chunk, vmb_error **err)
{
    if (in_hole(r, chunk)) {
        r->s->stats.bytes_zero += chunk;
        r->offset += chunk;
        return image_zero(r, chunk, err);
    }
    vmbi_ring *ring = &r->s->ring;
    size_t at = r->at + chunk <= ring->cap ? r->at : 0;
    vmbi_pool_reclaim(&r->s->pool, ring, at, at + chunk);
    ssize_t got = read_fully(r->fd, ring->base + at, chunk, r->offset);
    r->eof = got < (ssize_t)chunk;
    vmbi_repo_id *id = got > 0 ? new_id(r) : NULL;
    if (id == NULL) {
        return got < 0 ? read_failed(err) : got > 0 ? vmbi_fail_nomem(err) : VMB_OK;
    }
    r->s->stats.bytes_read += (uint64_t)got;
    r->offset += (uint64_t)got;
    r->at = at + (size_t)got;
    return vmbi_pool_lend(&r->s->pool, ring, at, (size_t)got, id, &r->group, err);
}

static vmb_code cut_image(reading *r, vmb_error **err)
{
    size_t chunk = vmbi_saver_image_chunk(r->s);
    vmb_code rc = get_ring(r->s, err);
    while (rc == VMB_OK && !r->eof) {
        rc = image_chunk(r, chunk, err);
        rc = rc == VMB_OK ? vmbi_limits_check(&r->s->job->limits, err, "back up a file") : rc;
    }
    return rc;
}

vmb_code vmbi_saver_large(vmbi_saver *s, int fd, const struct stat *st, bool image,
                          vmbi_node *node, vmb_error **err)
{
    uint64_t size = (uint64_t)st->st_size;
    reading r = {.s = s, .fd = fd, .size = size, .sparse = (uint64_t)st->st_blocks * 512 < size};
    vmb_code rc = image ? cut_image(&r, err) : cut_content(&r, err);
    /* the workers write into the slabs: wait in any case */
    vmb_code waited = vmbi_pool_wait(&s->pool, &r.group, rc == VMB_OK ? err : NULL);
    rc = rc == VMB_OK ? waited : rc;
    if (rc == VMB_OK) {
        rc = collect_ids(&r, node, err);
        node->size = r.offset;
    }
    while (r.first != NULL) {
        slab *next = r.first->next;
        vmbi_free(r.first);
        r.first = next;
    }
    return rc;
}
