/* SPDX-License-Identifier: Apache-2.0 */
/* Resource after resource in Velero's order; the objects of one resource over several connections.
 */
#include "core/restore/restore.h"

#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/strs.h"
#include "base/thread.h"

enum {
    QUEUE_ITEMS = 2 * VMBI_RESTORE_WORKERS,
    QUEUE_BYTES = 8 * 1024 * 1024,
    LARGE_OBJECT = 1024 * 1024 /* one at a time: as trees they take a multiple of it */
};

#define TELL_NS (50 * VMBI_MS)
#define TERMINATING_NS (INT64_C(600) * VMBI_SECOND)

static const char crds[] = "customresourcedefinitions.apiextensions.k8s.io";

/* An object on its way to a worker. */
typedef struct work {
    const char *group_resource;
    size_t len;
    char *json; /* these two and the texts are one piece of memory */
    char *ns;
    char *name;
} work;

/* Workers live as long as the restore; they are started when there is work for several. */
typedef struct pool {
    vmbi_restore *r;
    pthread_mutex_t lock;
    pthread_cond_t more;      /* work is queued, or stop */
    pthread_cond_t less;      /* room is in the queue, or everybody is idle */
    work *queue[QUEUE_ITEMS]; /* lock */
    size_t first;             /* lock */
    size_t n;                 /* lock */
    size_t bytes;             /* of objects in the queue; lock */
    size_t busy;              /* lock */
    bool stop;                /* lock */
    pthread_t threads[VMBI_RESTORE_WORKERS];
    size_t n_threads;
} pool;

static void do_work(vmbi_restore *r, work *w)
{
    if (!vmbi_restore_is_broken(r)) {
        vmbi_restore_item(r, w->group_resource, w->ns, w->name, w->json, w->len, 0, NULL);
    }
    vmbi_free(w);
}

static void *worker(void *user)
{
    pool *p = user;
    (void)pthread_mutex_lock(&p->lock);
    for (;;) {
        while (p->n == 0 && !p->stop) {
            (void)pthread_cond_wait(&p->more, &p->lock);
        }
        if (p->n == 0) {
            break;
        }
        work *w = p->queue[p->first];
        p->first = (p->first + 1) % QUEUE_ITEMS;
        p->n--;
        p->bytes -= w->len;
        p->busy++;
        (void)pthread_cond_signal(&p->less);
        (void)pthread_mutex_unlock(&p->lock);
        do_work(p->r, w);
        (void)pthread_mutex_lock(&p->lock);
        p->busy--;
        if (p->busy == 0 && p->n == 0) {
            (void)pthread_cond_signal(&p->less);
        }
    }
    (void)pthread_mutex_unlock(&p->lock);
    return NULL;
}

static void pool_init(pool *p, vmbi_restore *r)
{
    pthread_condattr_t steady;
    *p = (pool){.r = r};
    (void)pthread_condattr_init(&steady);
    (void)pthread_condattr_setclock(&steady, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&p->lock, NULL);
    (void)pthread_cond_init(&p->more, NULL);
    (void)pthread_cond_init(&p->less, &steady);
    (void)pthread_condattr_destroy(&steady);
}

/* Providers that take one call at a time get no threads but the caller's. */
static void pool_start(pool *p, size_t wanted)
{
    if (p->r->ctx->serial || wanted < 2) {
        return;
    }
    while (p->n_threads < VMBI_RESTORE_WORKERS && p->n_threads < wanted &&
           vmbi_thread_start(&p->threads[p->n_threads], worker, p) == 0) {
        p->n_threads++; /* fewer do as well */
    }
}

/* A short wait for room or the end, then the receivers of events hear what there is. Holds the lock
 * before and after. */
static void wait_and_tell(pool *p)
{
    int64_t until = vmbi_mono_ns() + TELL_NS;
    struct timespec t = {(time_t)(until / VMBI_SECOND), (long)(until % VMBI_SECOND)};
    (void)pthread_cond_timedwait(&p->less, &p->lock, &t);
    (void)pthread_mutex_unlock(&p->lock);
    vmbi_restore_relay(p->r);
    (void)pthread_mutex_lock(&p->lock);
}

/* Until all that was queued is done. */
static void pool_wait(pool *p)
{
    (void)pthread_mutex_lock(&p->lock);
    while (p->n > 0 || p->busy > 0) {
        wait_and_tell(p);
    }
    (void)pthread_mutex_unlock(&p->lock);
    vmbi_restore_relay(p->r);
}

static void pool_done(pool *p)
{
    (void)pthread_mutex_lock(&p->lock);
    p->stop = true;
    (void)pthread_cond_broadcast(&p->more);
    (void)pthread_mutex_unlock(&p->lock);
    for (size_t i = 0; i < p->n_threads; i++) {
        (void)pthread_join(p->threads[i], NULL);
    }
    (void)pthread_mutex_destroy(&p->lock);
    (void)pthread_cond_destroy(&p->more);
    (void)pthread_cond_destroy(&p->less);
}

static void pool_give(pool *p, work *w)
{
    if (w->len > LARGE_OBJECT) {
        pool_wait(p);
    }
    if (p->n_threads == 0 || w->len > LARGE_OBJECT) {
        do_work(p->r, w);
        vmbi_restore_relay(p->r);
        return;
    }
    (void)pthread_mutex_lock(&p->lock);
    while (p->n == QUEUE_ITEMS || (p->n > 0 && p->bytes + w->len > QUEUE_BYTES)) {
        wait_and_tell(p);
    }
    p->bytes += w->len;
    p->queue[(p->first + p->n) % QUEUE_ITEMS] = w;
    p->n++;
    (void)pthread_cond_signal(&p->more);
    (void)pthread_mutex_unlock(&p->lock);
}

/* ---- objects of a resource ----------------------------------------------------------------- */

typedef struct batch {
    pool *p;
    vmbi_restore *r;
    const char *group_resource;
    bool only_count;
    int64_t count;
} batch;

/* Is the object restored for its own sake? Objects of other kinds may still name it. */
static bool wanted(const vmbi_restore *r, const char *group_resource, const char *ns,
                   const char *json, size_t len)
{
    bool must = vmbi_restore_must_have(group_resource);
    if (ns[0] != '\0' && !must && !vmbi_restore_wants_namespace(r->filter, ns)) {
        return false;
    }
    if (ns[0] == '\0' && !vmbi_restore_wants_cluster_scope(r->filter)) {
        return false;
    }
    if (must) {
        return true;
    }
    vmbi_object_scan scan;
    return vmbi_jscan_k8s_object(json, len, &scan)
               ? vmbi_restore_wants_labels(r->filter, scan.labels)
               : true; /* broken: restoring it says so */
}

/* Does the object belong into a namespace of this pass? */
static bool in_pass(const vmbi_restore *r, const char *group_resource, const char *ns,
                    const char *name)
{
    const char *source = strcmp(group_resource, "namespaces") == 0 ? name : ns;
    return r->again == NULL ||
           (source[0] != '\0' && vmbi_map_has(r->again, vmbi_restore_target(r->filter, source)));
}

static work *copy_work(const char *group_resource, const char *ns, const char *name,
                       const char *json, size_t len)
{
    size_t ns_size = strlen(ns) + 1;
    size_t name_size = strlen(name) + 1;
    char *memory = vmbi_alloc(sizeof(work) + len + 1 + ns_size + name_size);
    if (memory == NULL) {
        return NULL;
    }
    work *w = (work *)(void *)memory;
    w->group_resource = group_resource;
    w->len = len;
    w->json = memory + sizeof(work);
    w->ns = w->json + len + 1;
    w->name = w->ns + ns_size;
    memcpy(w->json, json, len);
    w->json[len] = '\0';
    memcpy(w->ns, ns, ns_size);
    memcpy(w->name, name, name_size);
    return w;
}

static vmb_code give_object(void *user, const char *ns, const char *name, const char *json,
                            size_t len, vmb_error **err)
{
    batch *b = user;
    if (vmbi_restore_is_broken(b->r)) {
        return 1; /* ends a walk; the reason is in r */
    }
    vmb_code rc = vmbi_limits_check(&b->r->job.limits, err, "restore");
    if (rc != VMB_OK || !in_pass(b->r, b->group_resource, ns, name) ||
        !wanted(b->r, b->group_resource, ns, json, len)) {
        return rc;
    }
    b->count++;
    if (b->only_count) {
        return VMB_OK;
    }
    work *w = copy_work(b->group_resource, ns, name, json, len);
    if (w == NULL) {
        return vmbi_fail_nomem(err);
    }
    pool_give(b->p, w);
    return VMB_OK;
}

/* The folder of the archive to restore a resource from: the plain one, unless the cluster does not
 * serve that version and the archive has one that it serves. */
static vmbi_index_resource *choose_version(const vmbi_restore *r, const char *name)
{
    vmbi_index_resource *plain = vmbi_index_find(&r->index, name);
    const vmbi_resource *served = vmbi_discovery_find_gr(r->cluster.discovery, name);
    if (plain == NULL || served == NULL || plain->version[0] == '\0' ||
        vmbi_discovery_find(r->cluster.discovery, served->group, plain->version, served->name) !=
            NULL) {
        return plain;
    }
    for (size_t i = 0; i < r->index.n; i++) {
        vmbi_index_resource *other = r->index.resources[i];
        const char *slash = strchr(other->group_resource, '/');
        if (slash != NULL && strncmp(other->group_resource, name, strlen(name)) == 0 &&
            (size_t)(slash - other->group_resource) == strlen(name) &&
            vmbi_discovery_find(r->cluster.discovery, served->group, slash + 1, served->name) !=
                NULL) {
            return other;
        }
    }
    return plain;
}

static vmb_code walk_resource(pool *p, const char *name, bool only_count, int64_t *count,
                              vmb_error **err)
{
    vmbi_restore *r = p->r;
    vmbi_index_resource *res = choose_version(r, name);
    *count = 0;
    if (res == NULL || res->count == 0 || !vmbi_restore_wants_resource(r->filter, name)) {
        return VMB_OK;
    }
    batch b = {p, r, name, only_count, 0};
    vmb_code rc = vmbi_index_each(&r->index, res, give_object, &b, err);
    *count = b.count;
    return rc > 0 ? VMB_OK : rc;
}

/* Velero's kind of count: what the filters select. Streamed resources are not read for it. */
static vmb_code count_all(pool *p, const vmbi_strs *order, vmb_error **err)
{
    vmb_code rc = VMB_OK;
    p->r->total = 0;
    for (size_t i = 0; i < order->n && rc == VMB_OK; i++) {
        const vmbi_index_resource *res = vmbi_index_find(&p->r->index, order->v[i]);
        int64_t count = res != NULL ? (int64_t)res->count : 0;
        if (res != NULL && !res->streamed) {
            rc = walk_resource(p, order->v[i], true, &count, err);
        }
        p->r->total += count;
    }
    return rc;
}

static vmb_code restore_resource(pool *p, const char *name, vmb_error **err)
{
    const vmbi_index_resource *res = vmbi_index_find(&p->r->index, name);
    int64_t count = 0;
    if (res == NULL) {
        return VMB_OK;
    }
    pool_start(p, res->count);
    vmb_code rc = walk_resource(p, name, false, &count, err);
    pool_wait(p);
    if (count > 0) {
        vmbi_restore_info(p->r, NULL, "restored %lld objects of %s", (long long)count, name);
    }
    return rc;
}

/* The CRDs may have brought new resources. */
static vmb_code refresh_discovery(vmbi_restore *r, const vmbi_strs *present, vmb_error **err)
{
    vmb_cluster fresh = {0};
    vmbi_restore_filter *filter = NULL;
    vmb_error *why = NULL;
    vmb_code rc =
        vmbi_cluster_open(&fresh, r->cluster.provider, r->cluster.timeout_ns, &r->job, &why);
    if (rc == VMB_OK) {
        rc = vmbi_restore_filter_new(r->spec, fresh.discovery, present, &filter, &why);
    }
    if (rc != VMB_OK) {
        vmbi_cluster_close(&fresh);
        if (rc == VMB_E_NOMEM || rc == VMB_E_CANCELLED) {
            vmbi_error_move(err, &why);
            return rc;
        }
        vmbi_restore_warn(r, NULL, why, "refresh discovery after restoring CRDs");
        vmb_error_free(why);
        return VMB_OK;
    }
    r->former = r->cluster.discovery;
    r->cluster.discovery = fresh.discovery;
    vmbi_restore_filter_free(r->filter);
    r->filter = filter;
    return VMB_OK;
}

static bool has_created(const vmbi_restore *r)
{
    for (size_t i = 0; i < r->items.n; i++) {
        const vmbi_restored *what = r->items.entries[i].value;
        if (what == &vmbi_restored_created || what == &vmbi_restored_updated) {
            return true;
        }
    }
    return false;
}

static vmb_code present_resources(const vmbi_restore *r, vmbi_strs *out, vmb_error **err)
{
    vmb_code rc = VMB_OK;
    for (size_t i = 0; i < r->index.n && rc == VMB_OK; i++) {
        if (strchr(r->index.resources[i]->group_resource, '/') == NULL) {
            rc = vmbi_strs_add(out, r->index.resources[i]->group_resource, err);
        }
    }
    return rc;
}

/* Everything but the CRDs. */
static vmb_code restore_pass(pool *p, const vmbi_strs *order, vmb_error **err)
{
    vmb_code rc = VMB_OK;
    for (size_t i = 0; i < order->n && rc == VMB_OK && !vmbi_restore_is_broken(p->r); i++) {
        if (strcmp(order->v[i], crds) != 0) {
            rc = restore_resource(p, order->v[i], err);
        }
    }
    return rc;
}

/* The same once more for namespaces that were going away, as they have gone. */
static vmb_code restore_late(pool *p, const vmbi_strs *order, vmb_error **err)
{
    vmbi_restore *r = p->r;
    vmbi_limits limits = vmbi_limits_within(&r->job.limits, TERMINATING_NS);
    vmbi_map gone = VMBI_MAP_INIT(NULL);
    vmb_code rc = VMB_OK;
    while (rc == VMB_OK && vmbi_restore_await_namespaces(r, &limits, &gone)) {
        r->again = &gone;
        rc = restore_pass(p, order, err);
        r->again = NULL;
        vmbi_map_free(&gone);
    }
    vmbi_map_free(&gone);
    return rc;
}

static vmb_code restore_in_order(pool *p, const vmbi_strs *present, const vmbi_strs *order,
                                 vmb_error **err)
{
    vmbi_restore *r = p->r;
    vmb_code rc = restore_resource(p, crds, err);
    if (rc == VMB_OK && has_created(r)) {
        rc = refresh_discovery(r, present, err);
    }
    if (rc == VMB_OK) {
        rc = count_all(p, order, err);
    }
    if (rc == VMB_OK) {
        rc = restore_pass(p, order, err);
    }
    return rc == VMB_OK ? restore_late(p, order, err) : rc;
}

vmb_code vmbi_restore_all(vmbi_restore *r, vmb_error **err)
{
    vmbi_strs present = {0};
    vmb_code rc = present_resources(r, &present, err);
    if (rc == VMB_OK) {
        vmbi_restore_filter_free(r->filter);
        r->filter = NULL;
        rc = vmbi_restore_filter_new(r->spec, r->cluster.discovery, &present, &r->filter, err);
    }
    if (rc == VMB_OK) {
        rc = vmbi_restore_order(&present, &r->order, err);
    }
    if (rc == VMB_OK) {
        pool p;
        pool_init(&p, r);
        rc = restore_in_order(&p, &present, &r->order, err);
        pool_done(&p);
    }
    if (rc == VMB_OK && r->broken != VMB_OK) {
        rc = r->broken;
        vmbi_error_move(err, &r->why);
    }
    vmbi_strs_free(&present);
    return rc;
}
