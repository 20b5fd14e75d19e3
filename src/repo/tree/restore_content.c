/* SPDX-License-Identifier: Apache-2.0 */
/* The content of a large file: several threads fetch, open and write runs of its blobs. */
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "base/error.h"
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
    vmb_code code;
    vmb_error *why;
} fetching;

/* A run of blobs, of one thread. */
typedef struct run {
    fetching *f;
    vmbi_blob_place places[VMBI_TREE_RUN_MAX];
    size_t first, n;
    uint64_t offset, hole;
} run;

static vmb_code write_one(void *user, size_t i, const void *data, size_t len, vmb_error *why,
                          vmb_error **err)
{
    run *u = user;
    (void)i;
    if (data == NULL) {
        return vmbi_fail(err, vmb_error_code(why), "%s", vmb_error_message(why));
    }
    vmb_code rc = vmbi_restorer_write(u->f->r, u->f->fd, data, len, u->offset, &u->hole, err);
    u->offset += len;
    return rc;
}

/* Takes the next run; u->n is 0 when there is none. */
static vmb_code take(fetching *f, run *u, vmb_error **err)
{
    vmb_code rc = VMB_OK;
    (void)pthread_mutex_lock(&f->lock);
    *u = (run){.f = f, .first = f->next, .offset = f->offset};
    if (f->code == VMB_OK && f->next < f->node->n_content) {
        u->n = vmbi_tree_run_length(f->r->repo, f->node, f->next, u->places);
        if (u->n == 0) {
            char hex[VMBI_REPO_HEX_SIZE];
            vmbi_repo_id_hex(&f->node->content[f->next], hex);
            rc = vmbi_fail(err, VMB_E_NOT_FOUND, "the index has no blob %s", hex);
        }
        for (size_t i = 0; i < u->n; i++) {
            f->offset += u->places[i].size;
        }
        f->next += u->n;
    }
    (void)pthread_mutex_unlock(&f->lock);
    return rc;
}

static void *fetch(void *arg)
{
    fetching *f = arg;
    vmb_error *why = NULL;
    uint64_t hole = 0;
    run u;
    vmb_code rc = take(f, &u, &why);
    while (rc == VMB_OK && u.n > 0) {
        rc = vmbi_repo_load_run(f->r->repo, VMBI_BLOB_DATA, &f->node->content[u.first], u.places,
                                u.n, write_one, &u, &why);
        hole += u.hole;
        if (rc == VMB_OK) {
            rc = vmbi_limits_check(&f->r->job->limits, &why, "restore");
        }
        if (rc == VMB_OK) {
            rc = take(f, &u, &why);
        }
    }
    (void)pthread_mutex_lock(&f->lock);
    f->hole += hole;
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
    sigset_t all, before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    while (n + 1 < want && f->node->n_content >= WORTH_BLOBS &&
           pthread_create(&threads[n], NULL, fetch, f) == 0) {
        n++;
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
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
