/* SPDX-License-Identifier: Apache-2.0 */
#include "providers/common/runcache.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/strs.h"
#include "codec/jscan.h"

enum { SLOTS = 64 };

struct vmbi_cached {
    atomic_uint refs; /* taken under the cache's lock, given back anywhere */
    void *value;
    void (*free_value)(void *);
};

typedef struct slot {
    char *id; /* run and key; NULL: free */
    vmbi_cached *cached;
    int64_t made_mono_ns;
} slot;

struct vmbi_run_cache {
    pthread_mutex_t lock; /* protects slots */
    slot slots[SLOTS];
    vmbi_run_cache_make make;
    void (*free_value)(void *);
    int64_t max_age_ns;
};

vmb_code vmbi_run_cache_new(vmbi_run_cache_make make, void (*free_value)(void *),
                            int64_t max_age_ns, vmbi_run_cache **out, vmb_error **err)
{
    vmbi_run_cache *c = vmbi_zalloc(sizeof *c);
    if (c == NULL) {
        return vmbi_fail_nomem(err);
    }
    c->make = make;
    c->free_value = free_value;
    c->max_age_ns = max_age_ns;
    if (pthread_mutex_init(&c->lock, NULL) != 0) {
        vmbi_free(c);
        return vmbi_fail_nomem(err);
    }
    *out = c;
    return VMB_OK;
}

const void *vmbi_cached_value(const vmbi_cached *v)
{
    return v->value;
}

void vmbi_cached_unref(vmbi_cached *v)
{
    /* acq_rel: the last user's reads happen before the value goes away */
    if (v != NULL && atomic_fetch_sub_explicit(&v->refs, 1, memory_order_acq_rel) == 1) {
        if (v->free_value != NULL) {
            v->free_value(v->value);
        }
        vmbi_free(v);
    }
}

void vmbi_run_cache_free(vmbi_run_cache *c)
{
    if (c == NULL) {
        return;
    }
    for (size_t i = 0; i < SLOTS; i++) {
        vmbi_free(c->slots[i].id);
        vmbi_cached_unref(c->slots[i].cached);
    }
    (void)pthread_mutex_destroy(&c->lock); /* nobody holds it any more */
    vmbi_free(c);
}

static vmb_code make_id(vmb_job *job, const char *key, char **out, vmb_error **err)
{
    const char *backup = vmb_job_backup_json(job);
    vmbi_slice meta;
    vmbi_slice uid = {NULL, 0};
    vmbi_buf b = VMBI_BUF_INIT(8192);
    if (backup != NULL && vmbi_jscan_find(backup, strlen(backup), "metadata", &meta) &&
        !vmbi_jscan_find(meta.p, meta.len, "uid", &uid)) {
        uid.len = 0;
    }
    vmbi_buf_addf(&b, "%p/%s/", (void *)vmb_job_cluster(job), vmb_job_backup_name(job));
    vmbi_buf_add(&b, uid.len > 0 ? uid.p : "", uid.len);
    vmbi_buf_addf(&b, "/%s", key);
    vmb_code code = vmbi_buf_take(&b, out, NULL, err, "cache key");
    vmbi_buf_free(&b);
    return code;
}

static vmbi_cached *lookup(vmbi_run_cache *c, const char *id, int64_t now)
{
    vmbi_cached *found = NULL;
    (void)pthread_mutex_lock(&c->lock);
    for (size_t i = 0; i < SLOTS && found == NULL; i++) {
        const slot *s = &c->slots[i];
        if (s->id != NULL && vmbi_streq(s->id, id) &&
            (c->max_age_ns < 0 || now - s->made_mono_ns <= c->max_age_ns)) {
            found = s->cached;
            atomic_fetch_add_explicit(&found->refs, 1, memory_order_relaxed);
        }
    }
    (void)pthread_mutex_unlock(&c->lock);
    return found;
}

/* Puts a value in the place of its predecessor, a free place, or the oldest one. Takes over id. */
static void store(vmbi_run_cache *c, char *id, vmbi_cached *v, int64_t now)
{
    slot old;
    size_t best = 0;
    (void)pthread_mutex_lock(&c->lock);
    for (size_t i = 0; i < SLOTS; i++) {
        if (c->slots[i].id != NULL && vmbi_streq(c->slots[i].id, id)) {
            best = i;
            break;
        }
        if (c->slots[best].id != NULL &&
            (c->slots[i].id == NULL || c->slots[i].made_mono_ns < c->slots[best].made_mono_ns)) {
            best = i;
        }
    }
    old = c->slots[best];
    c->slots[best] = (slot){id, v, now};
    atomic_fetch_add_explicit(&v->refs, 1, memory_order_relaxed);
    (void)pthread_mutex_unlock(&c->lock);
    vmbi_free(old.id);
    vmbi_cached_unref(old.cached);
}

vmb_code vmbi_run_cache_get(vmbi_run_cache *c, vmb_job *job, const char *key, vmbi_cached **out,
                            vmb_error **err)
{
    char *id = NULL;
    vmbi_cached *v = NULL;
    vmb_code code = make_id(job, key, &id, err);
    if (code != VMB_OK) {
        return code;
    }
    v = lookup(c, id, vmbi_mono_ns());
    if (v != NULL) {
        *out = v;
        vmbi_free(id);
        return VMB_OK;
    }
    v = vmbi_zalloc(sizeof *v);
    if (v == NULL) {
        vmbi_free(id);
        return vmbi_fail_nomem(err);
    }
    code = c->make(job, key, &v->value, err);
    if (code != VMB_OK) {
        vmbi_free(v);
        vmbi_free(id);
        return code;
    }
    v->free_value = c->free_value;
    atomic_init(&v->refs, 1);
    store(c, id, v, vmbi_mono_ns());
    *out = v;
    return VMB_OK;
}
