/* SPDX-License-Identifier: Apache-2.0 */
/* A token bucket: at most `burst` requests at once and `qps` a second in the long run, so that a
 * backup does not starve the API server's other clients. */
#ifndef VMBI_KUBE_THROTTLE_H
#define VMBI_KUBE_THROTTLE_H

#include <pthread.h>

#include "base/cancel.h"

typedef struct vmbi_kube_throttle {
    pthread_mutex_t lock;
    int64_t interval_ns; /* between requests in the long run; 0: no limit */
    int64_t slack_ns;    /* how far ahead of its time a request may go: (burst - 1) intervals */
    int64_t next_ns;     /* lock: when the next request is due in a perfectly even stream */
} vmbi_kube_throttle;

/* qps 0: no limit; burst below 1 counts as 1. */
void vmbi_kube_throttle_init(vmbi_kube_throttle *t, int64_t qps, int64_t burst);
void vmbi_kube_throttle_done(vmbi_kube_throttle *t);
/* Takes a place in the queue at the time `now_ns`; returns how long to wait for it. */
int64_t vmbi_kube_throttle_reserve(vmbi_kube_throttle *t, int64_t now_ns);
vmb_code vmbi_kube_throttle_wait(vmbi_kube_throttle *t, const vmbi_limits *limits,
                                 vmb_error **err);

#endif
