/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a target back. */
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/job.h"
#include "repo/disk/restore.h"
#include "repo/disk/window.h"
#include "repo/disk/zero.h"

typedef struct verifier {
    vmbi_repo *repo;
    const vmb_blocks_provider *target;
    const vmbi_disk_layout *layout;
    vmbi_crew *crew;
    size_t next; /* chunk; under the crew's lock */
    size_t largest;
    bool zeros_done; /* the zero chunks have been looked at */
} verifier;

static bool take_chunk(verifier *v, size_t *i)
{
    (void)pthread_mutex_lock(&v->crew->lock);
    while (v->zeros_done && v->next < v->layout->n &&
           vmbi_disk_layout_is_zero(v->layout, v->next)) {
        v->next++;
    }
    bool more = !v->crew->stop && v->next < v->layout->n;
    *i = v->next;
    v->next += more ? 1 : 0;
    (void)pthread_mutex_unlock(&v->crew->lock);
    return more;
}

static vmb_code verify_chunk(verifier *v, size_t i, uint8_t *buffer, vmb_error **err)
{
    const uint64_t from = vmbi_disk_layout_start(v->layout, i);
    const size_t len = (size_t)(vmbi_disk_layout_start(v->layout, i + 1) - from);
    const vmb_blocks_provider *t = v->target;
    vmb_code rc = t->pread(t->user, v->crew->job, buffer, len, (int64_t)from, err);
    rc = vmbi_check_provider(err, rc, "pread");
    if (rc != VMB_OK) {
        return vmbi_wrap(err, rc, "read back at %llu", (unsigned long long)from);
    }
    bool same = false;
    if (vmbi_disk_layout_is_zero(v->layout, i)) {
        same = vmbi_disk_is_zero(buffer, len);
    } else {
        vmbi_repo_id id;
        vmbi_repo_hash(v->repo, buffer, len, &id);
        same = memcmp(id.b, v->layout->ids[i].b, VMBI_REPO_ID_SIZE) == 0;
    }
    vmbi_crew_add_done(v->crew, len);
    return same ? VMB_OK
                : vmbi_fail(err, VMB_E_INVALID, "the target reads back other bytes at %llu to %llu",
                            (unsigned long long)from, (unsigned long long)(from + len));
}

static vmb_code verify_chunks(void *user, vmb_error **err)
{
    verifier *v = user;
    vmb_code rc = VMB_OK;
    size_t i = 0;
    uint8_t *buffer = vmbi_alloc(v->largest);
    if (buffer == NULL) {
        return vmbi_fail_nomem(err);
    }
    while (rc == VMB_OK && take_chunk(v, &i)) {
        rc = verify_chunk(v, i, buffer, err);
    }
    vmbi_free(buffer);
    return rc;
}

/* Chunks from..to - 1 are zeros: a hole of the target needs no reading. */
static vmb_code verify_zeros(verifier *v, size_t from, size_t to, vmbi_disk_window *w,
                             uint8_t *buffer, vmb_error **err)
{
    const uint64_t start = vmbi_disk_layout_start(v->layout, from);
    const uint64_t end = vmbi_disk_layout_start(v->layout, to);
    vmb_code rc = vmbi_disk_window_ask(w, v->target, v->crew->job, start, end, NULL, err);
    for (size_t i = from; i < to && rc == VMB_OK; i++) {
        const uint64_t at = vmbi_disk_layout_start(v->layout, i);
        const uint64_t next = vmbi_disk_layout_start(v->layout, i + 1);
        if (vmbi_disk_ranges_touch(&w->nonzero, at, next)) {
            rc = verify_chunk(v, i, buffer, err);
        } else {
            vmbi_crew_add_done(v->crew, next - at);
        }
        if (rc == VMB_OK) {
            rc = vmbi_limits_check(&v->crew->job->limits, err, "verify a disk");
        }
    }
    return rc;
}

/* On the caller's thread: extents are not to be asked for beside other calls. */
static vmb_code verify_all_zeros(verifier *v, vmb_error **err)
{
    vmbi_disk_window w = {0};
    uint8_t *buffer = vmbi_alloc(v->largest);
    vmb_code rc = buffer != NULL ? VMB_OK : vmbi_fail_nomem(err);
    for (size_t i = 0; i < v->layout->n && rc == VMB_OK; i++) {
        const size_t first = i;
        while (i < v->layout->n && vmbi_disk_layout_is_zero(v->layout, i)) {
            i++;
        }
        if (i > first) {
            rc = verify_zeros(v, first, i, &w, buffer, err);
        }
    }
    vmbi_disk_window_free(&w);
    vmbi_free(buffer);
    v->zeros_done = true;
    return rc;
}

vmb_code vmbi_disk_verify(vmbi_repo *r, const vmb_blocks_provider *target,
                          const vmbi_disk_layout *layout, vmbi_crew *crew, size_t threads,
                          uint64_t *verified, vmb_error **err)
{
    verifier v = {.repo = r, .target = target, .layout = layout, .crew = crew};
    for (size_t i = 0; i < layout->n; i++) {
        uint64_t len = vmbi_disk_layout_start(layout, i + 1) - vmbi_disk_layout_start(layout, i);
        v.largest = len > v.largest ? (size_t)len : v.largest;
    }
    /* a serial target is read by one thread */
    threads = (target->flags & VMB_PROVIDER_SERIAL) != 0 ? 1 : threads;
    vmb_code rc = VMB_OK;
    if (layout->n > 0 && target->extents != NULL) {
        rc = verify_all_zeros(&v, err);
    }
    if (layout->n > 0 && rc == VMB_OK) {
        rc = vmbi_crew_run(crew, threads, verify_chunks, &v, err);
    }
    if (rc == VMB_OK) {
        *verified = layout->size;
    }
    return rc;
}
