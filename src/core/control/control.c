/* SPDX-License-Identifier: Apache-2.0 */
/* The life of the control loops: lease, caches, workers, and their end. */
#include "core/control/control.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"

#define LOOK_NS (50 * VMBI_MS) /* at the caches while they fill */
#define SYNC_LIMIT_NS (120 * VMBI_SECOND)

/* ---- queues ------------------------------------------------------------------------------- */

vmb_code vmbi_enqueue(vmb_control *c, int controller, const char *name, int64_t delay_ns,
                      vmb_error **err)
{
    vmbi_controller *k = &c->controllers[controller];
    (void)pthread_mutex_lock(&k->lock);
    vmb_code rc = vmbi_queue_add(&k->queue, name, vmbi_mono_ns() + delay_ns, err);
    (void)pthread_cond_signal(&k->changed);
    (void)pthread_mutex_unlock(&k->lock);
    return rc;
}

static void wait_for_work(vmbi_controller *k, int64_t until_mono_ns)
{
    if (until_mono_ns == VMBI_QUEUE_NEVER) {
        (void)pthread_cond_wait(&k->changed, &k->lock);
        return;
    }
    struct timespec at = {.tv_sec = (time_t)(until_mono_ns / VMBI_SECOND),
                          .tv_nsec = (long)(until_mono_ns % VMBI_SECOND)};
    (void)pthread_cond_timedwait(&k->changed, &k->lock, &at);
}

/* One turn, outside of the lock. */
static void work_on(vmbi_controller *k, const vmbi_work *work)
{
    vmb_error *why = NULL;
    vmbi_turn turn = {.name = work->key, .failures = work->failures, .again_ns = -1};
    vmb_code rc = k->reconcile(k->c, &turn, &why);
    bool ending = vmbi_cancel_is_set(k->c->stop);
    if (rc != VMB_OK && rc != VMB_E_CONFLICT && !ending) {
        vmbi_control_log(k->c, VMB_LOG_WARNING, "%s %s: %s", k->name, work->key,
                         vmb_error_message(why));
    }
    vmb_error_free(why);
    (void)pthread_mutex_lock(&k->lock);
    vmbi_queue_finish(&k->queue, work, vmbi_mono_ns(), rc != VMB_OK, turn.again_ns);
    (void)pthread_mutex_unlock(&k->lock);
}

static void *run_controller(void *arg)
{
    vmbi_controller *k = arg;
    while (!vmbi_cancel_is_set(k->c->stop)) {
        int64_t next = 0;
        (void)pthread_mutex_lock(&k->lock);
        const vmbi_work *work = vmbi_queue_take(&k->queue, vmbi_mono_ns(), &next);
        if (work == NULL && !vmbi_cancel_is_set(k->c->stop)) {
            wait_for_work(k, next);
        }
        (void)pthread_mutex_unlock(&k->lock);
        if (work != NULL) {
            work_on(k, work);
        }
    }
    return NULL;
}

static bool init_controller(vmb_control *c, int id, const char *name, vmbi_reconcile_fn fn)
{
    vmbi_controller *k = &c->controllers[id];
    pthread_condattr_t attr;
    k->c = c;
    k->name = name;
    k->reconcile = fn;
    if (pthread_condattr_init(&attr) != 0) {
        return false;
    }
    bool ok = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0 &&
              pthread_cond_init(&k->changed, &attr) == 0 &&
              pthread_mutex_init(&k->lock, NULL) == 0;
    (void)pthread_condattr_destroy(&attr);
    return ok;
}

/* ---- making and ending -------------------------------------------------------------------- */

static bool init_parts(vmb_control *c)
{
    bool ok = true;
    for (int i = 0; i < VMBI_KINDS; i++) {
        const vmbi_kind *kind = &vmbi_kinds[i];
        vmbi_informer *informer = &c->informers[i];
        informer->c = c;
        informer->kind = kind;
        informer->controller = &c->controllers[i];
        informer->cache.fields = kind->fields;
        atomic_init(&informer->synced, false);
        atomic_init(&informer->absent, false);
        ok = ok && pthread_mutex_init(&informer->lock, NULL) == 0;
        ok = ok && init_controller(c, i, kind->resource, kind->reconcile);
    }
    return ok && init_controller(c, VMBI_CONTROLLER_SYNC, "sync", vmbi_reconcile_sync) &&
           init_controller(c, VMBI_CONTROLLER_GC, "garbage collection", vmbi_reconcile_gc);
}

vmb_code vmbi_control_new(vmb_ctx *ctx, const vmbi_json *settings, vmbi_add_location_fn add,
                          vmb_control **out, vmb_error **err)
{
    vmb_control *c = vmbi_zalloc(sizeof(*c));
    if (c == NULL) {
        return vmbi_fail_nomem(err);
    }
    c->ctx = vmb_ctx_ref(ctx);
    c->add_location = add;
    c->cluster = (vmb_cluster){.provider = &ctx->cluster,
                               .timeout_ns = ctx->settings.resource_timeout_ns};
    atomic_init(&c->running, false);
    atomic_init(&c->ready, false);
    atomic_init(&c->lost, false);
    vmbi_metrics_init(&c->metrics);
    vmb_code rc = init_parts(c) ? vmbi_control_settings_read(settings, &c->settings, err)
                                : vmbi_fail_nomem(err);
    if (rc == VMB_OK && ctx->cluster.get == NULL) {
        rc = vmbi_fail(err, VMB_E_STATE, "control: the context has no cluster");
    } else if (rc == VMB_OK && (ctx->cluster.watch == NULL || ctx->cluster.patch == NULL ||
                                ctx->cluster.create == NULL || ctx->cluster.remove == NULL)) {
        rc = vmbi_fail(err, VMB_E_UNSUPPORTED,
                       "control: the cluster cannot be watched and written to");
    } else if (rc == VMB_OK && ctx->serial) {
        rc = vmbi_fail(err, VMB_E_UNSUPPORTED,
                       "control: a provider is serial, and the loops work side by side");
    }
    if (rc == VMB_OK) {
        rc = vmbi_cancel_new(&c->stop, err);
    }
    if (rc != VMB_OK) {
        vmbi_control_free(c);
        return rc;
    }
    vmbi_ctx_freeze(ctx);
    *out = c;
    return VMB_OK;
}

void vmbi_control_free(vmb_control *c)
{
    if (c == NULL) {
        return;
    }
    for (int i = 0; i < VMBI_KINDS; i++) {
        vmbi_cache_free(&c->informers[i].cache);
        (void)pthread_mutex_destroy(&c->informers[i].lock);
    }
    for (int i = 0; i < VMBI_CONTROLLERS; i++) {
        vmbi_queue_free(&c->controllers[i].queue);
        (void)pthread_cond_destroy(&c->controllers[i].changed);
        (void)pthread_mutex_destroy(&c->controllers[i].lock);
    }
    vmbi_metrics_done(&c->metrics);
    vmbi_control_settings_free(&c->settings);
    vmbi_cancel_free(c->stop);
    vmbi_ctx_unref(c->ctx);
    vmbi_free(c);
}

/* Resident pages as the kernel counts them; 0 where it does not tell. */
static double resident_bytes(void)
{
    char text[128] = "";
    uint64_t pages = 0;
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : 0;
    if (fd >= 0) {
        (void)close(fd);
    }
    const char *second = n > 0 ? strchr(text, ' ') : NULL;
    if (second == NULL || !vmbi_parse_u64(second + 1, strcspn(second + 1, " "), &pages)) {
        return 0;
    }
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

vmb_code vmbi_control_print_metrics(vmb_control *c, vmbi_buf *out, vmb_error **err)
{
    bool leads = atomic_load(&c->informers[VMBI_KIND_BACKUP].synced);
    if (leads) {
        vmbi_metrics_set(&c->metrics, "backup_total", "",
                         (double)vmbi_cached_count(c, VMBI_KIND_BACKUP));
        vmbi_metrics_set(&c->metrics, "restore_total", "",
                         (double)vmbi_cached_count(c, VMBI_KIND_RESTORE));
    }
    vmbi_metrics_set(&c->metrics, "leader", "", leads ? 1 : 0);
    vmbi_metrics_set(&c->metrics, "resident_memory_bytes", "", resident_bytes());
    return vmbi_metrics_print(&c->metrics, out, err);
}

/* ---- running ------------------------------------------------------------------------------ */

/* Every cache has to be whole before anything is decided: a Backup that is not known yet would be
 * made a second time from the store. */
static vmb_code wait_synced(vmb_control *c, vmb_error **err)
{
    vmbi_limits limits = {0, c->stop};
    int64_t begin = vmbi_mono_ns();
    for (;;) {
        const char *missing = NULL;
        for (int i = 0; i < VMBI_KINDS; i++) {
            bool there = atomic_load_explicit(&c->informers[i].synced, memory_order_acquire) ||
                         atomic_load(&c->informers[i].absent);
            missing = there ? missing : c->informers[i].kind->resource;
        }
        if (missing == NULL) {
            return VMB_OK;
        }
        if (vmbi_mono_ns() - begin > SYNC_LIMIT_NS) {
            return vmbi_fail(err, VMB_E_TIMEOUT,
                             "control: %s could not be read within %d s: are the custom resources "
                             "installed, and may this account list and watch them?",
                             missing, (int)(SYNC_LIMIT_NS / VMBI_SECOND));
        }
        if (vmbi_limits_sleep(&limits, LOOK_NS, NULL, "wait") != VMB_OK) {
            return VMB_OK; /* asked to stop */
        }
    }
}

static vmb_code start_informers(vmb_control *c, vmb_error **err)
{
    vmb_code rc = VMB_OK;
    for (int i = 0; i < VMBI_KINDS && rc == VMB_OK; i++) {
        rc = vmbi_informer_start(&c->informers[i], err);
    }
    return rc;
}

static vmb_code start_controllers(vmb_control *c, vmb_error **err)
{
    vmb_code rc = vmbi_enqueue(c, VMBI_CONTROLLER_GC, "all", 0, err);
    for (int i = 0; i < VMBI_CONTROLLERS && rc == VMB_OK; i++) {
        vmbi_controller *k = &c->controllers[i];
        k->started = vmbi_thread_start(&k->thread, run_controller, k) == 0;
        if (!k->started) {
            rc = vmbi_fail(err, VMB_E_NOMEM, "control: no thread for %s", k->name);
        }
    }
    return rc;
}

static void join_all(vmb_control *c)
{
    vmbi_cancel_fire(c->stop);
    for (int i = 0; i < VMBI_CONTROLLERS; i++) {
        vmbi_controller *k = &c->controllers[i];
        (void)pthread_mutex_lock(&k->lock);
        (void)pthread_cond_broadcast(&k->changed);
        (void)pthread_mutex_unlock(&k->lock);
        if (k->started) {
            (void)pthread_join(k->thread, NULL);
            k->started = false;
        }
    }
    for (int i = 0; i < VMBI_KINDS; i++) {
        vmbi_informer_join(&c->informers[i]);
    }
}

static void wait_stopped(vmb_control *c)
{
    struct pollfd fd = {vmbi_cancel_fd(c->stop), POLLIN, 0};
    while (!vmbi_cancel_is_set(c->stop)) {
        (void)poll(&fd, 1, -1);
    }
}

vmb_code vmbi_control_run(vmb_control *c, vmb_error **err)
{
    if (atomic_exchange(&c->running, true)) {
        return vmbi_fail(err, VMB_E_STATE, "control: runs already, or has run");
    }
    vmb_code rc = VMB_OK;
    if (c->settings.leader_election) {
        atomic_store(&c->ready, true); /* standing by is being ready */
        rc = vmbi_leader_begin(c, err);
        atomic_store(&c->ready, false);
    }
    if (rc == VMB_OK && !vmbi_cancel_is_set(c->stop)) {
        rc = start_informers(c, err);
        if (rc == VMB_OK) {
            rc = wait_synced(c, err);
        }
        if (rc == VMB_OK && !vmbi_cancel_is_set(c->stop)) {
            rc = start_controllers(c, err);
        }
        if (rc == VMB_OK) {
            atomic_store(&c->ready, true);
            wait_stopped(c);
        }
    }
    atomic_store(&c->ready, false);
    join_all(c);
    vmbi_leader_end(c);
    if (rc == VMB_OK && atomic_load(&c->lost)) {
        rc = vmbi_fail(err, VMB_E_CONFLICT, "control: the lease %s/%s was lost to another process",
                       c->ctx->settings.ns, c->settings.lease_name);
    }
    return rc;
}
