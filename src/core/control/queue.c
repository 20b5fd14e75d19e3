/* SPDX-License-Identifier: Apache-2.0 */
#include "core/control/queue.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"

static void work_free(vmbi_work *w)
{
    vmbi_free(w->key);
    vmbi_free(w);
}

void vmbi_queue_free(vmbi_queue *q)
{
    for (size_t i = 0; i < q->n; i++) {
        work_free(q->v[i]);
    }
    vmbi_free(q->v);
    *q = (vmbi_queue){0};
}

static vmbi_work *find(const vmbi_queue *q, const char *key)
{
    for (size_t i = 0; i < q->n; i++) {
        if (strcmp(q->v[i]->key, key) == 0) {
            return q->v[i];
        }
    }
    return NULL;
}

static vmb_code append(vmbi_queue *q, const char *key, vmbi_work **out, vmb_error **err)
{
    if (q->n == q->cap) {
        size_t cap = q->cap != 0 ? q->cap * 2 : 8;
        vmbi_work **v = vmbi_realloc_array(q->v, cap, sizeof(vmbi_work *));
        if (v == NULL) {
            return vmbi_fail_nomem(err);
        }
        q->v = v;
        q->cap = cap;
    }
    vmbi_work *w = vmbi_zalloc(sizeof(*w));
    char *copy = vmbi_strdup(key);
    if (w == NULL || copy == NULL) {
        vmbi_free(w);
        vmbi_free(copy);
        return vmbi_fail_nomem(err);
    }
    w->key = copy;
    q->v[q->n++] = w;
    *out = w;
    return VMB_OK;
}

static void wait_until(vmbi_queue *q, vmbi_work *w, int64_t due_ns)
{
    if (!w->waiting) {
        w->order = q->orders++;
        w->due_ns = due_ns;
    } else if (due_ns < w->due_ns) {
        w->due_ns = due_ns;
    }
    w->waiting = true;
}

vmb_code vmbi_queue_add(vmbi_queue *q, const char *key, int64_t due_ns, vmb_error **err)
{
    vmbi_work *w = find(q, key);
    vmb_code rc = w != NULL ? VMB_OK : append(q, key, &w, err);
    if (rc == VMB_OK && w != NULL) {
        wait_until(q, w, due_ns);
    }
    return rc;
}

const vmbi_work *vmbi_queue_take(vmbi_queue *q, int64_t now_ns, int64_t *next_ns)
{
    vmbi_work *best = NULL;
    *next_ns = VMBI_QUEUE_NEVER;
    for (size_t i = 0; i < q->n; i++) {
        vmbi_work *w = q->v[i];
        if (!w->waiting || w->working) {
            continue;
        }
        if (w->due_ns > now_ns) {
            *next_ns = w->due_ns < *next_ns ? w->due_ns : *next_ns;
        } else if (best == NULL || w->due_ns < best->due_ns ||
                   (w->due_ns == best->due_ns && w->order < best->order)) {
            best = w;
        }
    }
    if (best != NULL) {
        best->waiting = false;
        best->working = true;
    }
    return best;
}

static int64_t pause_ns(uint32_t failures)
{
    int64_t ns = VMBI_QUEUE_RETRY_NS;
    for (uint32_t i = 1; i < failures && ns < VMBI_QUEUE_RETRY_MAX_NS; i++) {
        ns *= 2;
    }
    return ns < VMBI_QUEUE_RETRY_MAX_NS ? ns : VMBI_QUEUE_RETRY_MAX_NS;
}

static void drop(vmbi_queue *q, const vmbi_work *work)
{
    for (size_t i = 0; i < q->n; i++) {
        if (q->v[i] == work) {
            work_free(q->v[i]);
            q->v[i] = q->v[--q->n];
            return;
        }
    }
}

void vmbi_queue_finish(vmbi_queue *q, const vmbi_work *work, int64_t now_ns, bool failed,
                       int64_t again_ns)
{
    vmbi_work *w = find(q, work->key);
    if (w == NULL || !w->working) {
        return;
    }
    w->working = false;
    w->failures = failed ? w->failures + 1 : 0;
    if (failed) {
        /* what was added meanwhile waits for the pause as well: a failure is not to be repeated
         * at the speed of events */
        w->waiting = false;
        wait_until(q, w, now_ns + pause_ns(w->failures));
    } else if (again_ns >= 0) {
        wait_until(q, w, now_ns + again_ns);
    }
    if (!w->waiting) {
        drop(q, w);
    }
}
