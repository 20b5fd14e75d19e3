/* SPDX-License-Identifier: Apache-2.0 */
/* Private to restoring: threads that work through numbered pieces, and the target they share. */
#ifndef VMBI_REPO_DISK_RESTORE_H
#define VMBI_REPO_DISK_RESTORE_H

#include <pthread.h>

#include "repo/disk/disk.h"
#include "repo/disk/layout.h"

enum { VMBI_CREW_MAX = 16 };

/* Threads of one phase. The caller's thread watches: progress, cancellation. */
typedef struct vmbi_crew {
    vmb_job *job;
    vmbi_disk_progress_fn progress;
    void *progress_user;
    uint64_t total;
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t change;
    uint64_t done;
    size_t running;
    bool stop; /* after a failure or cancellation */
    vmb_code code;
    vmb_error *why;
} vmbi_crew;

vmb_code vmbi_crew_init(vmbi_crew *c, vmb_job *job, vmbi_disk_progress_fn progress, void *user,
                        uint64_t total, vmb_error **err);
void vmbi_crew_done(vmbi_crew *c);
/* Runs work on n threads until each has returned. work takes pieces until there are none or
 * vmbi_crew_goes_on says no. Its failure, the first one, is the result. */
typedef vmb_code (*vmbi_crew_fn)(void *user, vmb_error **err);
vmb_code vmbi_crew_run(vmbi_crew *c, size_t n, vmbi_crew_fn work, void *user, vmb_error **err);
bool vmbi_crew_goes_on(vmbi_crew *c);
void vmbi_crew_add_done(vmbi_crew *c, uint64_t bytes);

/* Reads the target back and compares it with the chunks. serial: one pread at a time. */
vmb_code vmbi_disk_verify(vmbi_repo *r, const vmb_blocks_provider *target,
                          const vmbi_disk_layout *layout, vmbi_crew *crew, size_t threads,
                          uint64_t *verified, vmb_error **err);

#endif
