/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/job.h"
#include "base/thread.h"
#include "repo/disk/restore.h"

/* How often the caller's thread looks at cancellation and tells of progress. */
#define LOOK (200 * VMBI_MS)

typedef struct member {
    vmbi_crew *crew;
    vmbi_crew_fn work;
    void *user;
    pthread_t thread;
} member;

vmb_code vmbi_crew_init(vmbi_crew *c, vmb_job *job, vmbi_disk_progress_fn progress, void *user,
                        uint64_t total, vmb_error **err)
{
    pthread_condattr_t attr;
    memset(c, 0, sizeof(*c));
    c->job = job;
    c->progress = progress;
    c->progress_user = user;
    c->total = total;
    if (pthread_mutex_init(&c->lock, NULL) != 0) {
        return vmbi_fail_nomem(err);
    }
    bool ok = pthread_condattr_init(&attr) == 0;
    if (ok) {
        ok = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0 &&
             pthread_cond_init(&c->change, &attr) == 0;
        (void)pthread_condattr_destroy(&attr);
    }
    if (!ok) {
        (void)pthread_mutex_destroy(&c->lock);
        return vmbi_fail_nomem(err);
    }
    return VMB_OK;
}

void vmbi_crew_done(vmbi_crew *c)
{
    vmb_error_free(c->why);
    (void)pthread_cond_destroy(&c->change);
    (void)pthread_mutex_destroy(&c->lock);
}

bool vmbi_crew_goes_on(vmbi_crew *c)
{
    (void)pthread_mutex_lock(&c->lock);
    bool stop = c->stop;
    (void)pthread_mutex_unlock(&c->lock);
    return !stop;
}

void vmbi_crew_add_done(vmbi_crew *c, uint64_t bytes)
{
    (void)pthread_mutex_lock(&c->lock);
    c->done += bytes;
    (void)pthread_mutex_unlock(&c->lock);
}

/* lock held */
static void remember(vmbi_crew *c, vmb_code code, vmb_error **why)
{
    if (code != VMB_OK && c->code == VMB_OK) {
        c->code = code;
        vmbi_error_move(&c->why, why);
    }
    c->stop = c->stop || code != VMB_OK;
    vmb_error_free(vmbi_steal(why));
}

static void *run_member(void *arg)
{
    const member *m = arg;
    vmbi_crew *c = m->crew;
    vmb_error *why = NULL;
    vmb_code rc = m->work(m->user, &why);
    (void)pthread_mutex_lock(&c->lock);
    remember(c, rc, &why);
    c->running--;
    (void)pthread_cond_broadcast(&c->change);
    (void)pthread_mutex_unlock(&c->lock);
    return NULL;
}

static bool start(member *m)
{
    return vmbi_thread_start(&m->thread, run_member, m) == 0;
}

/* Until all have ended. lock held. */
static void watch(vmbi_crew *c)
{
    while (c->running > 0) {
        struct timespec until;
        const int64_t at = vmbi_mono_ns() + LOOK;
        until.tv_sec = (time_t)(at / VMBI_SECOND);
        until.tv_nsec = (long)(at % VMBI_SECOND);
        (void)pthread_cond_timedwait(&c->change, &c->lock, &until);
        uint64_t done = c->done;
        (void)pthread_mutex_unlock(&c->lock);
        vmb_error *why = NULL;
        vmb_code rc = vmbi_limits_check(&c->job->limits, &why, "restore a disk");
        if (c->progress != NULL) {
            c->progress(c->progress_user, done, c->total);
        }
        (void)pthread_mutex_lock(&c->lock);
        remember(c, rc, &why);
    }
}

vmb_code vmbi_crew_run(vmbi_crew *c, size_t n, vmbi_crew_fn work, void *user, vmb_error **err)
{
    member members[VMBI_CREW_MAX];
    size_t started = 0;
    n = n < 1 ? 1 : n > VMBI_CREW_MAX ? VMBI_CREW_MAX : n;
    (void)pthread_mutex_lock(&c->lock);
    while (started < n) {
        members[started] = (member){.crew = c, .work = work, .user = user};
        if (!start(&members[started])) {
            break;
        }
        started++;
        c->running++;
    }
    watch(c);
    vmb_code rc = c->code;
    if (rc != VMB_OK) {
        (void)vmbi_fail(err, rc, "%s", vmb_error_message(c->why));
    }
    (void)pthread_mutex_unlock(&c->lock);
    for (size_t i = 0; i < started; i++) {
        (void)pthread_join(members[i].thread, NULL);
    }
    return started > 0 ? rc : vmbi_fail(err, VMB_E_NOMEM, "no thread could be started");
}
