/* SPDX-License-Identifier: Apache-2.0 */
/* Cancellation (a sticky flag and an eventfd) and limits: what every wait observes. */
#ifndef VMBI_BASE_CANCEL_H
#define VMBI_BASE_CANCEL_H

#include <vmbackup/base.h>

#include "base/compiler.h"

typedef struct vmbi_cancel vmbi_cancel;

vmb_code vmbi_cancel_new(vmbi_cancel **out, vmb_error **err);
void vmbi_cancel_free(vmbi_cancel *c);
void vmbi_cancel_fire(vmbi_cancel *c);             /* any thread, async-signal-safe */
bool vmbi_cancel_is_set(const vmbi_cancel *c);     /* NULL: false */
int vmbi_cancel_fd(const vmbi_cancel *c);          /* readable once fired; NULL: -1 */

/* Deadline and cancellation of one operation; pass by pointer, both parts optional. */
typedef struct vmbi_limits {
    int64_t deadline_mono_ns;  /* 0: none */
    const vmbi_cancel *cancel; /* NULL: none */
} vmbi_limits;

/* Limits that end at most `ns` from now (ns < 0: no change), and never later than `outer`. */
vmbi_limits vmbi_limits_within(const vmbi_limits *outer, int64_t ns);
/* VMB_OK, VMB_E_CANCELLED or VMB_E_TIMEOUT; limits may be NULL. `what` completes the message. */
vmb_code vmbi_limits_check(const vmbi_limits *l, vmb_error **err, const char *what);
/* ns left; -1 without a deadline, 0 when passed. */
int64_t vmbi_limits_remaining_ns(const vmbi_limits *l);
/* The same in ms for poll(), at least 1 while time is left, capped by `cap_ms` (-1: no cap). */
int vmbi_limits_poll_ms(const vmbi_limits *l, int cap_ms);
/* Sleeps ns or less; VMB_OK after the full time. */
vmb_code vmbi_limits_sleep(const vmbi_limits *l, int64_t ns, vmb_error **err, const char *what);

#endif
