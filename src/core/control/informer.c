/* SPDX-License-Identifier: Apache-2.0 */
/* From a watch to a cache of one kind, and to work in its controller's queue. */
#include "core/control/control.h"

#include <string.h>

#include "base/clock.h"
#include "base/error.h"

#define PAUSE_NS (2 * VMBI_SECOND) /* after a lost watch */
#define ABSENT_NS (60 * VMBI_SECOND) /* between looks for a kind that the cluster lacks */

/* ---- reading the caches ------------------------------------------------------------------- */

void vmbi_cached_each(vmb_control *c, vmbi_kind_id kind,
                      void (*fn)(void *user, const vmbi_cached *e), void *user)
{
    vmbi_informer *i = &c->informers[kind];
    (void)pthread_mutex_lock(&i->lock);
    for (size_t k = 0; k < i->cache.n; k++) {
        fn(user, i->cache.v[k]);
    }
    (void)pthread_mutex_unlock(&i->lock);
}

bool vmbi_cached_look(vmb_control *c, vmbi_kind_id kind, const char *name, size_t field,
                      vmbi_buf *out)
{
    vmbi_informer *i = &c->informers[kind];
    (void)pthread_mutex_lock(&i->lock);
    const vmbi_cached *e = vmbi_cache_get(&i->cache, name);
    if (e != NULL && out != NULL) {
        vmbi_buf_adds(out, vmbi_cached_field(e, field));
    }
    (void)pthread_mutex_unlock(&i->lock);
    return e != NULL;
}

size_t vmbi_cached_count(vmb_control *c, vmbi_kind_id kind)
{
    vmbi_informer *i = &c->informers[kind];
    (void)pthread_mutex_lock(&i->lock);
    size_t n = i->cache.n;
    (void)pthread_mutex_unlock(&i->lock);
    return n;
}

/* ---- events ------------------------------------------------------------------------------- */

/* Interrupted work goes before everything that is due. */
static vmb_code enqueue_entry(vmbi_informer *i, const vmbi_cached *e, vmb_error **err)
{
    if (i->kind->wants != NULL && !i->kind->wants(e)) {
        return VMB_OK;
    }
    bool first = i->kind->first != NULL && i->kind->first(e);
    return vmbi_enqueue(i->c, (int)(i->controller - i->c->controllers), e->name,
                        first ? -3600 * VMBI_SECOND : 0, err);
}

static vmb_code take_object(vmbi_informer *i, const vmbi_json *object, bool gone, vmb_error **err)
{
    const vmbi_cached *e = NULL;
    vmb_code rc = VMB_OK;
    (void)pthread_mutex_lock(&i->lock);
    if (gone) {
        const char *name = vmbi_json_path_str(object, "metadata.name");
        vmbi_cache_drop(&i->cache, name != NULL ? name : "");
    } else {
        rc = vmbi_cache_put(&i->cache, object, &e, err);
    }
    if (rc == VMB_OK && e != NULL) {
        rc = enqueue_entry(i, e, err);
    }
    (void)pthread_mutex_unlock(&i->lock);
    return rc;
}

static void note_position(vmbi_informer *i, const vmbi_json *object)
{
    const char *rv = vmbi_json_path_str(object, "metadata.resourceVersion");
    /* while a list comes its objects are no position: the list's own is told at its end */
    if (rv != NULL && !i->listing && strlen(rv) < sizeof(i->position)) {
        memcpy(i->position, rv, strlen(rv) + 1);
    }
}

static vmb_code on_event(void *user, const char *type, const char *json, size_t len,
                         vmb_error **err)
{
    vmbi_informer *i = user;
    vmbi_json *object = NULL;
    vmb_code rc = vmbi_json_parse(json, len, i->kind->resource, &object, err);
    if (rc != VMB_OK) {
        return rc;
    }
    bool bookmark = strcmp(type, "BOOKMARK") == 0;
    if (strcmp(type, "SYNCED") == 0) {
        i->listing = false;
        (void)pthread_mutex_lock(&i->lock);
        vmbi_cache_end(&i->cache);
        (void)pthread_mutex_unlock(&i->lock);
        note_position(i, object);
        atomic_store_explicit(&i->synced, true, memory_order_release);
    } else if (!bookmark) {
        rc = take_object(i, object, strcmp(type, "DELETED") == 0, err);
    }
    if (rc == VMB_OK) {
        note_position(i, object);
    }
    vmbi_json_free(object);
    return rc;
}

/* ---- the thread --------------------------------------------------------------------------- */

static vmb_code follow(vmbi_informer *i, vmb_error **err)
{
    const vmb_cluster_provider *p = i->c->cluster.provider;
    struct vmb_watch_sink sink = {on_event, i};
    vmb_job job = {.limits = {0, i->c->stop}};
    if (i->position[0] == '\0') {
        i->listing = true;
        (void)pthread_mutex_lock(&i->lock);
        vmbi_cache_begin(&i->cache);
        (void)pthread_mutex_unlock(&i->lock);
    }
    vmb_code rc = p->watch(p->user, &job, i->kind->group, i->kind->version, i->kind->resource,
                           i->c->ctx->settings.ns, i->position, &sink, err);
    return vmbi_check_provider(err, rc, "watch objects");
}

/* What a lost watch means; returns the pause before the next. */
static int64_t judge(vmbi_informer *i, vmb_code rc, const vmb_error *why)
{
    if (rc == VMB_E_GONE || i->listing) {
        i->position[0] = '\0'; /* list again */
    }
    if (rc == VMB_E_GONE || rc == VMB_OK) {
        return 0;
    }
    if (rc == VMB_E_NOT_FOUND && i->kind->optional) {
        atomic_store(&i->absent, true);
        return ABSENT_NS;
    }
    if (rc == VMB_E_PROTOCOL || rc == VMB_E_PARSE || rc == VMB_E_LIMIT || rc == VMB_E_NOMEM) {
        i->position[0] = '\0'; /* an event may have been lost */
    }
    vmbi_control_log(i->c, VMB_LOG_WARNING, "%s", vmb_error_message(why));
    return PAUSE_NS;
}

static void *run_informer(void *arg)
{
    vmbi_informer *i = arg;
    while (!vmbi_cancel_is_set(i->c->stop)) {
        vmb_error *why = NULL;
        vmbi_limits limits = {0, i->c->stop};
        vmb_code rc = follow(i, &why);
        if (!vmbi_cancel_is_set(i->c->stop)) {
            (void)vmbi_limits_sleep(&limits, judge(i, rc, why), NULL, "watch");
        }
        vmb_error_free(why);
    }
    return NULL;
}

vmb_code vmbi_informer_start(vmbi_informer *i, vmb_error **err)
{
    i->started = vmbi_thread_start(&i->thread, run_informer, i) == 0;
    return i->started ? VMB_OK
                      : vmbi_fail(err, VMB_E_NOMEM, "watch %s: no thread", i->kind->resource);
}

void vmbi_informer_join(vmbi_informer *i)
{
    if (i->started) {
        (void)pthread_join(i->thread, NULL);
        i->started = false;
    }
}
