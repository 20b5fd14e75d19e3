/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/disk/window.h"

#include "base/alloc.h"
#include "base/error.h"
#include "base/job.h"

static vmb_code add(vmbi_disk_ranges *r, uint64_t from, uint64_t to, vmb_error **err)
{
    if (from >= to) {
        return VMB_OK;
    }
    if (r->n > 0 && (r->v[r->n - 1].to == from || r->n == VMBI_DISK_MAX_RANGES)) {
        r->v[r->n - 1].to = to;
        return VMB_OK;
    }
    if (r->n == r->cap) {
        size_t cap = r->cap == 0 ? 64 : r->cap * 2;
        vmbi_disk_range *v = vmbi_realloc_array(r->v, cap, sizeof(*v));
        if (v == NULL) {
            return vmbi_fail_nomem(err);
        }
        r->v = v;
        r->cap = cap;
    }
    r->v[r->n++] = (vmbi_disk_range){from, to};
    return VMB_OK;
}

/* An extent, or the gap before it. */
static vmb_code tell(vmbi_disk_window *w, uint64_t from, uint64_t to, int32_t kind,
                     vmb_error **err)
{
    vmb_code rc = VMB_OK;
    if (kind != VMB_EXTENT_ZERO) {
        rc = add(&w->nonzero, from, to, err);
    }
    if (kind != VMB_EXTENT_UNCHANGED && rc == VMB_OK) {
        rc = add(&w->changed, from, to, err);
    }
    return rc;
}

/* One question that is being answered. */
typedef struct answer {
    vmbi_disk_window *w;
    bool since; /* without it nothing can be unchanged */
} answer;

static vmb_code push(void *user, int64_t offset_bytes, int64_t length_bytes, int32_t kind,
                     vmb_error **err)
{
    const answer *a = user;
    vmbi_disk_window *w = a->w;
    const uint64_t from = (uint64_t)offset_bytes;
    uint64_t to = 0;
    if (offset_bytes < 0 || length_bytes <= 0 || kind < VMB_EXTENT_DATA ||
        kind > VMB_EXTENT_UNCHANGED ||
        __builtin_add_overflow(from, (uint64_t)length_bytes, &to) || from < w->told || to > w->to) {
        return vmbi_fail(err, VMB_E_PROVIDER,
                         "extents: %lld bytes at %lld of kind %d do not follow %llu below %llu",
                         (long long)length_bytes, (long long)offset_bytes, (int)kind,
                         (unsigned long long)w->told, (unsigned long long)w->to);
    }
    if (kind == VMB_EXTENT_UNCHANGED && !a->since) {
        kind = VMB_EXTENT_DATA;
    }
    vmb_code rc = tell(w, w->told, from, VMB_EXTENT_DATA, err);
    if (rc == VMB_OK) {
        rc = tell(w, from, to, kind, err);
    }
    w->told = to;
    return rc;
}

vmb_code vmbi_disk_window_ask(vmbi_disk_window *w, const vmb_blocks_provider *source, vmb_job *job,
                              uint64_t from, uint64_t to, const char *since, vmb_error **err)
{
    answer a = {w, since != NULL};
    struct vmb_extent_sink sink = {push, &a};
    vmb_error *why = NULL;
    vmb_code rc = VMB_OK;
    w->from = w->told = from;
    w->to = to;
    w->nonzero.n = w->nonzero.at = 0;
    w->changed.n = w->changed.at = 0;
    if (source->extents != NULL) {
        rc = source->extents(source->user, job, (int64_t)from, (int64_t)(to - from), since, &sink,
                             &why);
        rc = vmbi_check_provider(&why, rc, "extents");
    }
    if (rc == VMB_E_UNSUPPORTED) {
        w->nonzero.n = w->changed.n = 0;
        w->told = from;
        rc = VMB_OK;
        vmb_error_free(vmbi_steal(&why));
    }
    if (rc == VMB_OK) {
        rc = tell(w, w->told, to, VMB_EXTENT_DATA, err);
    }
    vmbi_error_move(err, &why);
    return rc;
}

/* *out: what both have. */
static vmb_code intersect(const vmbi_disk_ranges *a, const vmbi_disk_ranges *b,
                          vmbi_disk_ranges *out, vmb_error **err)
{
    size_t i = 0;
    size_t k = 0;
    vmb_code rc = VMB_OK;
    while (i < a->n && k < b->n && rc == VMB_OK) {
        const vmbi_disk_range *x = &a->v[i];
        const vmbi_disk_range *y = &b->v[k];
        uint64_t from = x->from > y->from ? x->from : y->from;
        uint64_t to = x->to < y->to ? x->to : y->to;
        rc = add(out, from, to, err); /* nothing when they do not meet */
        if (x->to <= y->to) {
            i++;
        } else {
            k++;
        }
    }
    return rc;
}

vmb_code vmbi_disk_window_refine(vmbi_disk_window *w, const vmb_blocks_provider *source,
                                 vmb_job *job, vmb_error **err)
{
    vmbi_disk_window holes = {0};
    vmbi_disk_ranges both = {0};
    vmb_code rc = vmbi_disk_window_ask(&holes, source, job, w->from, w->to, NULL, err);
    if (rc == VMB_OK) {
        rc = intersect(&w->nonzero, &holes.nonzero, &both, err);
    }
    if (rc == VMB_OK) {
        vmbi_free(w->nonzero.v);
        w->nonzero = both;
        both = (vmbi_disk_ranges){0};
    }
    vmbi_free(both.v);
    vmbi_disk_window_free(&holes);
    return rc;
}

void vmbi_disk_window_free(vmbi_disk_window *w)
{
    vmbi_free(w->nonzero.v);
    vmbi_free(w->changed.v);
    *w = (vmbi_disk_window){0};
}

const vmbi_disk_range *vmbi_disk_ranges_next(vmbi_disk_ranges *r, uint64_t from)
{
    while (r->at < r->n && r->v[r->at].to <= from) {
        r->at++;
    }
    return r->at < r->n ? &r->v[r->at] : NULL;
}

bool vmbi_disk_ranges_touch(vmbi_disk_ranges *r, uint64_t from, uint64_t to)
{
    const vmbi_disk_range *next = vmbi_disk_ranges_next(r, from);
    return next != NULL && next->from < to;
}
