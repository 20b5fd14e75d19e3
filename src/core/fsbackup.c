/* SPDX-License-Identifier: Apache-2.0 */
/* Filesystem backups of a block, in threads of their own. The run's thread waits for them; it alone
 * writes the log and tells events, so that its receivers stay on one thread. */
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/strs.h"
#include "base/thread.h"
#include "codec/duration.h"
#include "core/backup.h"

enum {
    MAX_THREADS = 8,
    MAX_LINES = 1000, /* of providers, waiting for the run's thread */
    MAX_RESULT = 1024 * 1024,
    TELL_MS = 100
};

typedef struct fs_line {
    const vmbi_pod_volume *volume;
    int32_t level;
    char *text;
} fs_line;

struct vmbi_fs_batch {
    vmbi_backup *b;
    vmb_job job; /* what threads copy: deadline, cluster, store */
    size_t first; /* volumes of this batch */
    size_t end;

    pthread_mutex_t lock; /* guards all below, and the volumes' fields from `state` on */
    pthread_cond_t changed;
    size_t next;
    size_t alive; /* threads */
    fs_line *lines;
    size_t n_lines;
    size_t dropped_lines;
    pthread_t threads[MAX_THREADS];
    size_t n_threads;
};

/* One volume in the hands of a thread. */
typedef struct fs_task {
    vmbi_fs_batch *batch;
    vmbi_pod_volume *volume;
} fs_task;

/* ---- in threads ------------------------------------------------------------------------------ */

static void task_log(void *user, int32_t level, const char *msg)
{
    fs_task *t = user;
    vmbi_fs_batch *batch = t->batch;
    char *text = vmbi_strdup(msg);
    (void)pthread_mutex_lock(&batch->lock);
    if (text != NULL && batch->n_lines < MAX_LINES) {
        batch->lines[batch->n_lines++] = (fs_line){t->volume, level, text};
        text = NULL;
        (void)pthread_cond_signal(&batch->changed);
    } else {
        batch->dropped_lines++;
    }
    (void)pthread_mutex_unlock(&batch->lock);
    vmbi_free(text);
}

static void task_progress(void *user, int64_t done_bytes, int64_t total_bytes)
{
    fs_task *t = user;
    (void)pthread_mutex_lock(&t->batch->lock);
    t->volume->done_bytes = done_bytes;
    t->volume->total_bytes = total_bytes;
    t->volume->told = false;
    (void)pthread_mutex_unlock(&t->batch->lock);
}

/* What a provider wrote must be what records are made of. */
static vmb_code check_result(const char *text, size_t len, vmb_error **err)
{
    vmbi_json *doc = NULL;
    vmb_code rc = vmbi_json_parse(text != NULL ? text : "", len, "result", &doc, err);
    const char *type = vmbi_json_get_str(doc, "uploaderType");
    if (rc == VMB_OK && (!vmbi_json_is_object(doc) ||
                         vmbi_json_get_str(doc, "snapshotID") == NULL ||
                         (!vmbi_streq(type, "restic") && !vmbi_streq(type, "kopia")))) {
        rc = vmbi_fail(err, VMB_E_PROVIDER,
                       "the provider's result lacks snapshotID, or uploaderType is neither restic "
                       "nor kopia");
    }
    vmbi_json_free(doc);
    return rc == VMB_E_PARSE ? VMB_E_PROVIDER : rc;
}

static vmb_code save(fs_task *t, vmbi_buf *result, vmb_error **err)
{
    const vmb_volume_provider *p = t->volume->provider;
    struct vmb_sink sink = vmbi_sink_to_buf(result);
    struct vmb_progress progress = {task_progress, t};
    vmb_job job = t->batch->job;
    job.log = task_log;
    job.log_user = t;
    vmb_code rc = vmbi_limits_check(&job.limits, err, "save volumes");
    if (rc == VMB_OK) {
        rc = p->backup(p->user, &job, t->volume->document, t->volume->document_len, &progress,
                       &sink, err);
        rc = vmbi_check_provider(err, rc, "save a volume");
    }
    return rc == VMB_OK ? check_result(result->data, result->len, err) : rc;
}

static void save_volume(vmbi_fs_batch *batch, vmbi_pod_volume *v)
{
    fs_task t = {batch, v};
    vmbi_buf result = VMBI_BUF_INIT(MAX_RESULT);
    vmb_error *why = NULL;
    vmb_code rc = save(&t, &result, &why);
    (void)pthread_mutex_lock(&batch->lock);
    v->completion_unix_ns = vmbi_unix_ns();
    if (rc == VMB_OK) {
        rc = vmbi_buf_take(&result, &v->result, &v->result_len, &why, "result");
    }
    if (rc != VMB_OK && why == NULL) {
        (void)vmbi_fail_nomem(&why); /* an error object that could not be made */
    }
    v->state = rc == VMB_OK ? VMBI_FS_SAVED : VMBI_FS_FAILED;
    v->why = why;
    v->told = false;
    vmb_free(v->document);
    v->document = NULL;
    (void)pthread_cond_signal(&batch->changed);
    (void)pthread_mutex_unlock(&batch->lock);
    vmbi_buf_free(&result);
}

static vmbi_pod_volume *next_volume(vmbi_fs_batch *batch)
{
    vmbi_pod_volume *v = NULL;
    (void)pthread_mutex_lock(&batch->lock);
    while (v == NULL && batch->next < batch->end) {
        v = batch->b->pod_volumes[batch->next++];
        v = v->state == VMBI_FS_WAITING ? v : NULL;
    }
    if (v != NULL) {
        v->state = VMBI_FS_RUNNING;
        v->start_unix_ns = vmbi_unix_ns();
        v->told = false;
        (void)pthread_cond_signal(&batch->changed);
    }
    (void)pthread_mutex_unlock(&batch->lock);
    return v;
}

static void *work(void *user)
{
    vmbi_fs_batch *batch = user;
    vmbi_pod_volume *v = next_volume(batch);
    while (v != NULL) {
        save_volume(batch, v);
        v = next_volume(batch);
    }
    (void)pthread_mutex_lock(&batch->lock);
    batch->alive--;
    (void)pthread_cond_signal(&batch->changed);
    (void)pthread_mutex_unlock(&batch->lock);
    return NULL;
}

/* ---- starting ----------------------------------------------------------------------------------- */

/* Velero measures from the start of the backup; the annotation decides over the setting. The wall
 * clock, which may be set meanwhile, has no part in it. */
static vmbi_limits time_left(const vmbi_backup *b)
{
    const char *text = vmbi_json_get_str(vmbi_json_path(b->resource, "metadata.annotations"),
                                         "velero.io/pod-volume-timeout");
    int64_t timeout = b->ctx->settings.fs_backup_timeout_ns;
    int64_t own = 0;
    if (text != NULL && vmbi_duration_parse(text, &own) && own > 0) {
        timeout = own;
    }
    timeout -= vmbi_mono_ns() - b->start_mono_ns;
    return vmbi_limits_within(&b->job.limits, timeout > 0 ? timeout : 0);
}

static bool init_waiting(vmbi_fs_batch *batch)
{
    pthread_condattr_t attr;
    if (pthread_condattr_init(&attr) != 0) {
        return false;
    }
    bool ok = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0 &&
              pthread_cond_init(&batch->changed, &attr) == 0;
    (void)pthread_condattr_destroy(&attr);
    if (ok && pthread_mutex_init(&batch->lock, NULL) != 0) {
        (void)pthread_cond_destroy(&batch->changed);
        ok = false;
    }
    return ok;
}

static void start_threads(vmbi_fs_batch *batch, size_t wanted)
{
    (void)pthread_mutex_lock(&batch->lock);
    while (batch->n_threads < wanted &&
           vmbi_thread_start(&batch->threads[batch->n_threads], work, batch) == 0) {
        batch->n_threads++;
        batch->alive++;
    }
    (void)pthread_mutex_unlock(&batch->lock);
}

vmb_code vmbi_fs_begin(vmbi_backup *b, size_t first, vmbi_fs_batch **out, vmb_error **err)
{
    size_t n = 0;
    for (size_t i = first; i < b->n_pod_volumes; i++) {
        n += b->pod_volumes[i]->state == VMBI_FS_WAITING ? 1 : 0;
    }
    *out = NULL;
    if (n == 0) {
        return VMB_OK;
    }
    vmbi_fs_batch *batch = vmbi_zalloc(sizeof(*batch));
    fs_line *lines = vmbi_alloc_array(MAX_LINES, sizeof(*lines));
    if (batch == NULL || lines == NULL || !init_waiting(batch)) {
        vmbi_free(batch);
        vmbi_free(lines);
        return vmbi_fail_nomem(err);
    }
    batch->b = b;
    batch->lines = lines;
    batch->job = b->job;
    batch->job.limits = time_left(b);
    batch->first = first;
    batch->next = first;
    batch->end = b->n_pod_volumes;
    size_t workers = b->ctx->serial ? 1 : (size_t)b->ctx->settings.volume_workers;
    workers = workers < MAX_THREADS ? workers : MAX_THREADS;
    start_threads(batch, n < workers ? n : workers);
    *out = batch;
    return VMB_OK;
}

/* ---- waiting: on the run's thread ----------------------------------------------------------------- */

static const char *state_text(vmbi_fs_state state)
{
    switch (state) {
    case VMBI_FS_RUNNING:
        return "saving";
    case VMBI_FS_SAVED:
        return "saved";
    case VMBI_FS_WAITING:
    case VMBI_FS_FAILED:
    case VMBI_FS_REFUSED:
        break;
    }
    return "failed";
}

static void tell_volume(vmbi_backup *b, const vmbi_pod_volume *v, vmbi_fs_state state,
                        int64_t done, int64_t total)
{
    vmbi_buf subject = VMBI_BUF_INIT(1024);
    if (v->claim != NULL) {
        vmbi_buf_addf(&subject, "%s/%s", v->ns, v->claim);
    } else {
        vmbi_buf_addf(&subject, "%s/%s/%s", v->ns, v->pod, v->volume);
    }
    if (subject.status == VMB_OK) {
        vmbi_events_emit(b->events, VMB_EVENT_VOLUME, VMB_LOG_INFO, subject.data,
                         state_text(state), done, total);
    }
    vmbi_buf_free(&subject);
}

static void log_end(vmbi_backup *b, const vmbi_pod_volume *v, vmbi_fs_state state)
{
    vmbi_log_fields f = {"pods", v->ns, v->pod, NULL};
    if (state == VMBI_FS_SAVED) {
        vmbi_runlog_add(&b->log, VMB_LOG_INFO, &f, "volume %s: saved, %lld bytes", v->volume,
                        (long long)v->done_bytes);
    } else if (state == VMBI_FS_FAILED) {
        vmbi_runlog_error(&b->log, "pods", v->ns, v->pod, v->why,
                          "filesystem backup of volume %s failed", v->volume);
    }
}

/* Tells what has changed. The lock is held at call and return, not meanwhile: receivers may take
 * their time. A volume that has ended belongs to this thread alone. */
static void tell(vmbi_fs_batch *batch)
{
    vmbi_backup *b = batch->b;
    while (batch->n_lines > 0) {
        fs_line line = batch->lines[0];
        batch->n_lines--;
        memmove(batch->lines, batch->lines + 1, batch->n_lines * sizeof(*batch->lines));
        (void)pthread_mutex_unlock(&batch->lock);
        vmbi_log_fields f = {"pods", line.volume->ns, line.volume->pod, NULL};
        vmbi_runlog_add(&b->log, line.level, &f, "volume %s: %s", line.volume->volume, line.text);
        vmbi_free(line.text);
        (void)pthread_mutex_lock(&batch->lock);
    }
    for (size_t i = batch->first; i < batch->end; i++) {
        vmbi_pod_volume *v = b->pod_volumes[i];
        if (v->told || v->state == VMBI_FS_WAITING || v->state == VMBI_FS_REFUSED) {
            continue;
        }
        vmbi_fs_state state = v->state;
        int64_t done = v->done_bytes;
        int64_t total = v->total_bytes;
        v->told = true;
        (void)pthread_mutex_unlock(&batch->lock);
        tell_volume(b, v, state, done, total);
        log_end(b, v, state);
        (void)pthread_mutex_lock(&batch->lock);
    }
}

static void rest(vmbi_fs_batch *batch)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += TELL_MS * 1000000L;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000L;
    }
    (void)pthread_cond_timedwait(&batch->changed, &batch->lock, &until);
}

void vmbi_fs_wait(vmbi_fs_batch *batch)
{
    if (batch == NULL) {
        return;
    }
    if (batch->n_threads == 0) { /* the system gives none: then here */
        batch->alive = 1;
        (void)work(batch);
    }
    (void)pthread_mutex_lock(&batch->lock);
    while (batch->alive > 0) {
        tell(batch);
        if (batch->alive > 0) {
            rest(batch);
        }
    }
    (void)pthread_mutex_unlock(&batch->lock);
    for (size_t i = 0; i < batch->n_threads; i++) {
        (void)pthread_join(batch->threads[i], NULL);
    }
    (void)pthread_mutex_lock(&batch->lock);
    tell(batch);
    (void)pthread_mutex_unlock(&batch->lock);
    if (batch->dropped_lines > 0) {
        vmbi_runlog_add(&batch->b->log, VMB_LOG_INFO, NULL,
                        "%zu lines of filesystem backups were left out", batch->dropped_lines);
    }
    (void)pthread_cond_destroy(&batch->changed);
    (void)pthread_mutex_destroy(&batch->lock);
    vmbi_free(batch->lines);
    vmbi_free(batch);
}

/* ---- the end --------------------------------------------------------------------------------------- */

static void take_back(vmbi_backup *b, vmbi_pod_volume *v)
{
    const vmb_volume_provider *p = v->provider;
    vmb_job job = b->job;
    vmb_error *why = NULL;
    job.limits = (vmbi_limits){0, NULL}; /* clean up also after cancellation */
    job.limits = vmbi_limits_within(&job.limits, b->ctx->settings.resource_timeout_ns);
    vmb_code rc = p->remove != NULL
                      ? p->remove(p->user, &job, v->result, v->result_len, &why)
                      : vmbi_fail(&why, VMB_E_UNSUPPORTED, "the provider cannot remove");
    if (vmbi_check_provider(&why, rc, "remove a saved volume") != VMB_OK) {
        vmbi_log_fields f = {"pods", v->ns, v->pod, vmb_error_message(why)};
        vmbi_runlog_add(&b->log, VMB_LOG_WARNING, &f,
                        "what was saved of volume %s could not be removed", v->volume);
    }
    vmb_error_free(why);
}

void vmbi_fs_done(vmbi_backup *b)
{
    for (size_t i = 0; i < b->n_pod_volumes; i++) {
        vmbi_pod_volume *v = b->pod_volumes[i];
        if (v->state == VMBI_FS_SAVED && !b->stored && !b->keep) {
            take_back(b, v);
        }
        vmbi_pod_volume_free(v);
    }
    vmbi_free(b->pod_volumes);
    b->pod_volumes = NULL;
    b->n_pod_volumes = 0;
    vmbi_map_free(&b->fs_claims);
    vmbi_map_free(&b->fs_skips);
}
