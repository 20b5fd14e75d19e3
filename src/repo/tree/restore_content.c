/* SPDX-License-Identifier: Apache-2.0 */
/* The content of a large file: several threads fetch, open and write runs of its blobs. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/thread.h"
#include "repo/tree/restorer.h"

enum {
    THREADS_MAX = 4,
    WORTH_BLOBS = 8 /* fewer are done by the caller alone */
};

typedef struct fetching {
    vmbi_restorer *r;
    const vmbi_node *node;
    int fd;
    pthread_mutex_t lock; /* of all below */
    size_t next;          /* blob that nobody has yet */
    uint64_t offset;      /* where it goes */
    uint64_t hole;
    bool zero_known;      /* zero is the blob of nothing but zeros that was met last */
    vmbi_repo_id zero;
    vmb_code code;
    vmb_error *why;
} fetching;

/* A blob of the file, and where it goes. */
typedef struct piece {
    vmbi_blob_place place;
    vmbi_repo_id id;
    uint64_t at;
} piece;

/* What one thread has taken: neighbours in the file that lie in one pack, in the pack's order, which
 * is not quite the file's when several threads have saved it. */
typedef struct stretch {
    fetching *f;
    piece v[VMBI_TREE_RUN_MAX];
    size_t n;
    size_t first[VMBI_TREE_RUN_MAX + 1]; /* piece of each blob of the request; the same may be wanted
                                          * at several places */
    uint64_t hole;
} stretch;

static int by_place(const void *a, const void *b)
{
    const piece *x = a;
    const piece *y = b;
    if (x->place.offset != y->place.offset) {
        return x->place.offset < y->place.offset ? -1 : 1;
    }
    return x->at < y->at ? -1 : x->at > y->at;
}

static void remember_zero(fetching *f, const vmbi_repo_id *id)
{
    (void)pthread_mutex_lock(&f->lock);
    f->zero = *id;
    f->zero_known = true;
    (void)pthread_mutex_unlock(&f->lock);
}

static vmb_code write_one(void *user, size_t i, const void *data, size_t len, vmb_error *why,
                          vmb_error **err)
{
    stretch *s = user;
    vmb_code rc = VMB_OK;
    if (data == NULL) {
        return vmbi_fail(err, vmb_error_code(why), "%s", vmb_error_message(why));
    }
    for (size_t k = s->first[i]; k < s->first[i + 1] && rc == VMB_OK; k++) {
        uint64_t hole = 0;
        rc = vmbi_restorer_write(s->f->r, s->f->fd, data, len, s->v[k].at, &hole, err);
        s->hole += hole;
        if (hole > 0) {
            remember_zero(s->f, &s->v[k].id);
        }
    }
    return rc;
}

/* The same zeros again need no look: a hole is one blob, many times. lock held. */
static void skip_zeros(fetching *f)
{
    const vmbi_node *node = f->node;
    uint64_t size = 0;
    while (f->zero_known && f->next < node->n_content &&
           memcmp(node->content[f->next].b, f->zero.b, sizeof(f->zero.b)) == 0 &&
           vmbi_repo_blob_size(f->r->repo, VMBI_BLOB_DATA, &f->zero, &size)) {
        f->next++;
        f->offset += size;
        f->hole += size;
    }
}

/* Takes the next stretch; s->n is 0 when there is none. */
static vmb_code take(fetching *f, stretch *s, vmb_error **err)
{
    vmb_code rc = VMB_OK;
    (void)pthread_mutex_lock(&f->lock);
    s->f = f;
    s->n = 0;
    while (rc == VMB_OK && f->code == VMB_OK && s->n < VMBI_TREE_RUN_MAX) {
        piece *p = &s->v[s->n];
        skip_zeros(f);
        if (f->next == f->node->n_content) {
            break;
        }
        p->id = f->node->content[f->next];
        p->at = f->offset;
        if (!vmbi_repo_find_blob(f->r->repo, VMBI_BLOB_DATA, &p->id, &p->place)) {
            char hex[VMBI_REPO_HEX_SIZE];
            vmbi_repo_id_hex(&p->id, hex);
            rc = vmbi_fail(err, VMB_E_NOT_FOUND, "the index has no blob %s", hex);
        } else if (s->n > 0 && p->place.pack != s->v[0].place.pack) {
            break;
        } else {
            f->offset += p->place.size;
            f->next++;
            s->n++;
        }
    }
    (void)pthread_mutex_unlock(&f->lock);
    return rc;
}

/* One request, from the i-th piece on; *next: the first one behind it. */
static vmb_code fetch_run(stretch *s, size_t i, size_t *next, vmb_error **err)
{
    vmbi_repo_id ids[VMBI_TREE_RUN_MAX];
    vmbi_blob_place places[VMBI_TREE_RUN_MAX];
    size_t n = 0;
    for (; i < s->n; i++) {
        const vmbi_blob_place *p = &s->v[i].place;
        if (n == 0 || p->offset != places[n - 1].offset) {
            if (n > 0 && !vmbi_tree_joins(&places[0], &places[n - 1], p)) {
                break;
            }
            places[n] = *p;
            ids[n] = s->v[i].id;
            s->first[n++] = i;
        }
        s->first[n] = i + 1;
    }
    *next = i;
    return vmbi_repo_load_run(s->f->r->repo, VMBI_BLOB_DATA, ids, places, n, false, write_one, s,
                              err);
}

static vmb_code fetch_stretch(stretch *s, vmb_error **err)
{
    vmb_code rc = VMB_OK;
    qsort(s->v, s->n, sizeof(s->v[0]), by_place);
    for (size_t i = 0; i < s->n && rc == VMB_OK;) {
        rc = fetch_run(s, i, &i, err);
        if (rc == VMB_OK) {
            rc = vmbi_limits_check(&s->f->r->job->limits, err, "restore");
        }
    }
    return rc;
}

static void *fetch(void *arg)
{
    fetching *f = arg;
    vmb_error *why = NULL;
    stretch s;
    s.hole = 0;
    vmb_code rc = take(f, &s, &why);
    while (rc == VMB_OK && s.n > 0) {
        rc = fetch_stretch(&s, &why);
        if (rc == VMB_OK) {
            rc = take(f, &s, &why);
        }
    }
    (void)pthread_mutex_lock(&f->lock);
    f->hole += s.hole;
    if (rc != VMB_OK && f->code == VMB_OK) {
        f->code = rc;
        vmbi_error_move(&f->why, &why);
    }
    (void)pthread_mutex_unlock(&f->lock);
    vmb_error_free(why);
    return NULL;
}

/* Threads must not run the host program's signal handlers. */
static size_t start_threads(fetching *f, pthread_t threads[THREADS_MAX])
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    size_t want = cores > THREADS_MAX ? THREADS_MAX : cores > 1 ? (size_t)cores : 1;
    size_t n = 0;
    while (n + 1 < want && f->node->n_content >= WORTH_BLOBS &&
           vmbi_thread_start(&threads[n], fetch, f) == 0) {
        n++;
    }
    return n;
}

vmb_code vmbi_restorer_content(vmbi_restorer *r, const vmbi_node *node, int fd, uint64_t *size,
                               vmb_error **err)
{
    fetching f = {.r = r, .node = node, .fd = fd};
    pthread_t threads[THREADS_MAX];
    if (pthread_mutex_init(&f.lock, NULL) != 0) {
        return vmbi_fail_nomem(err);
    }
    size_t n = start_threads(&f, threads);
    (void)fetch(&f);
    while (n > 0) {
        (void)pthread_join(threads[--n], NULL);
    }
    (void)pthread_mutex_destroy(&f.lock);
    r->stats.bytes_hole += f.hole;
    *size = f.offset;
    vmbi_error_move(err, &f.why);
    return f.code;
}
