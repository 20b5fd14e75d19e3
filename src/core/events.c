/* SPDX-License-Identifier: Apache-2.0 */
#include "core/events.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"

vmb_code vmbi_events_init(vmbi_events *q, vmb_error **err)
{
    *q = (vmbi_events){.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    if (q->fd < 0) {
        return vmbi_fail_errno(err, errno, "create an event descriptor");
    }
    if (pthread_mutex_init(&q->lock, NULL) != 0) {
        (void)close(q->fd);
        q->fd = -1;
        return vmbi_fail_nomem(err);
    }
    return VMB_OK;
}

void vmbi_event_free(struct vmb_event *e)
{
    if (e != NULL) {
        vmbi_free(e->subject);
        vmbi_free(e->text);
        vmbi_free(e);
    }
}

void vmbi_events_done(vmbi_events *q)
{
    while (q->first != NULL) {
        struct vmb_event *e = q->first;
        q->first = e->next;
        vmbi_event_free(e);
    }
    if (q->fd >= 0) {
        (void)close(q->fd);
        (void)pthread_mutex_destroy(&q->lock);
    }
}

/* Takes the oldest progress event out, or the oldest of any kind. Caller holds the lock. */
static struct vmb_event *evict(vmbi_events *q)
{
    struct vmb_event **link = &q->first;
    while (*link != NULL && (*link)->kind != VMB_EVENT_PROGRESS) {
        link = &(*link)->next;
    }
    if (*link == NULL) {
        link = &q->first;
    }
    struct vmb_event *victim = *link;
    *link = victim->next;
    if (q->last == victim) {
        q->last = q->first;
        while (q->last != NULL && q->last->next != NULL) {
            q->last = q->last->next;
        }
    }
    q->n--;
    return victim;
}

static void enqueue(vmbi_events *q, struct vmb_event *e)
{
    struct vmb_event *victim = NULL;
    (void)pthread_mutex_lock(&q->lock);
    if (q->n >= VMBI_MAX_EVENTS) {
        victim = evict(q);
    }
    if (q->last != NULL) {
        q->last->next = e;
    } else {
        q->first = e;
        const uint64_t one = 1;
        ssize_t n = write(q->fd, &one, sizeof(one));
        (void)n; /* non-blocking; a full counter is readable as well */
    }
    q->last = e;
    q->n++;
    (void)pthread_mutex_unlock(&q->lock);
    vmbi_event_free(victim);
}

void vmbi_events_emit(vmbi_events *q, int32_t kind, int32_t level, const char *subject,
                      const char *text, int64_t done, int64_t total)
{
    struct vmb_event *e = vmbi_zalloc(sizeof(*e));
    if (e == NULL) {
        return;
    }
    *e = (struct vmb_event){.kind = kind, .level = level, .done = done, .total = total};
    e->subject = vmbi_strdup(subject != NULL ? subject : "");
    e->text = vmbi_strdup(text != NULL ? text : "");
    if (e->subject == NULL || e->text == NULL) {
        vmbi_event_free(e);
        return;
    }
    if (q->fn != NULL) {
        q->fn(q->user, e);
        vmbi_event_free(e);
    } else {
        enqueue(q, e);
    }
}

void vmbi_events_progress(vmbi_events *q, int64_t done, int64_t total, bool force)
{
    int64_t now = vmbi_mono_ns();
    if (force || now - q->last_progress_ns >= 100 * VMBI_MS) {
        q->last_progress_ns = now;
        vmbi_events_emit(q, VMB_EVENT_PROGRESS, 0, "", "", done, total);
    }
}

struct vmb_event *vmbi_events_next(vmbi_events *q)
{
    (void)pthread_mutex_lock(&q->lock);
    struct vmb_event *e = q->first;
    if (e != NULL) {
        q->first = e->next;
        q->n--;
        e->next = NULL;
        if (q->first == NULL) {
            q->last = NULL;
            uint64_t count = 0;
            ssize_t n = read(q->fd, &count, sizeof(count)); /* back to unreadable */
            (void)n;
        }
    }
    (void)pthread_mutex_unlock(&q->lock);
    return e;
}
