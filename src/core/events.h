/* SPDX-License-Identifier: Apache-2.0 */
/* Progress of a run, for the caller: queued behind a file descriptor, or given to a function. */
#ifndef VMBI_CORE_EVENTS_H
#define VMBI_CORE_EVENTS_H

#include <pthread.h>

#include <vmbackup/run.h>

#include "base/compiler.h"

struct vmb_event {
    int32_t kind;
    int32_t level;
    int64_t done;
    int64_t total;
    char *subject;
    char *text;
    struct vmb_event *next;
};

enum { VMBI_MAX_EVENTS = 1024 };

typedef struct vmbi_events {
    pthread_mutex_t lock; /* guards all below but fn and user, which are set before the run */
    struct vmb_event *first;
    struct vmb_event *last;
    size_t n;
    int fd; /* eventfd, readable while n > 0 */
    vmb_event_fn fn;
    void *user;
    int64_t last_progress_ns; /* of the emitting thread only */
} vmbi_events;

vmb_code vmbi_events_init(vmbi_events *q, vmb_error **err);
void vmbi_events_done(vmbi_events *q);
/* Emits; silently drops when memory is out: events are a courtesy, the report is the truth. */
void vmbi_events_emit(vmbi_events *q, int32_t kind, int32_t level, const char *subject,
                      const char *text, int64_t done, int64_t total);
/* PROGRESS, at most 10 per second unless `force`. */
void vmbi_events_progress(vmbi_events *q, int64_t done, int64_t total, bool force);
struct vmb_event *vmbi_events_next(vmbi_events *q);
void vmbi_event_free(struct vmb_event *e);

#endif
