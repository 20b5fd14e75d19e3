/* SPDX-License-Identifier: Apache-2.0 */
/* A backup that was cancelled or has failed leaves packs in the store that no index file names. The
 * next attempt would upload the same once more. */
#include <time.h>

#include "base/clock.h"
#include "base/error.h"
#include "repo/restic/restic.h"

#define UPLOADS_TIME (10 * VMBI_SECOND) /* for what is being uploaded, and does not hear of the end */
#define INDEX_TIME (20 * VMBI_SECOND)
#define LOOK (200 * VMBI_MS)

static bool may_salvage(vmbi_restic *r)
{
    bool shared = false;

    (void)pthread_mutex_lock(&r->locker.mutex);
    shared = r->locker.held && r->locker.kind == VMBI_REPO_SHARED;
    (void)pthread_mutex_unlock(&r->locker.mutex);
    return shared && vmbi_restic_may_write(r, VMBI_REPO_SHARED, NULL) == VMB_OK;
}

/* Packs that are closed go their way, or are dropped after a failure. False: there is nothing that an
 * index could name. */
static bool await_uploads(vmbi_restic *r)
{
    const int64_t until = vmbi_mono_ns() + UPLOADS_TIME;
    bool any = false;

    (void)pthread_mutex_lock(&r->mutex);
    vmbi_packer_let_go(r);
    while (r->packer.busy > 0 && vmbi_mono_ns() < until) {
        const int64_t at = vmbi_mono_ns() + LOOK;
        const struct timespec look = {(time_t)(at / VMBI_SECOND), (long)(at % VMBI_SECOND)};

        (void)pthread_cond_timedwait(&r->cond, &r->mutex, &look);
    }
    any = r->packer.unindexed_n > 0;
    (void)pthread_mutex_unlock(&r->mutex);
    return any;
}

void vmbi_packer_salvage(vmbi_restic *r)
{
    vmb_job job;
    vmb_error *why = NULL;

    if (r->storage.prefix == NULL || !may_salvage(r) || !await_uploads(r)) {
        return;
    }
    job = *r->storage.job;
    job.limits = (vmbi_limits){vmbi_mono_ns() + INDEX_TIME, NULL};
    if (vmbi_restic_write_index(r, &job, true, &why) != VMB_OK) {
        vmbi_restic_log(r, VMB_LOG_WARNING, "what was uploaded stays unknown to the next backup: %s",
                        vmb_error_message(why));
    }
    vmb_error_free(why);
}
