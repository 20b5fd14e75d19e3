/* SPDX-License-Identifier: Apache-2.0 */
/* Work that waits for a worker: every key at most once, not before its time, and after failures
 * later and later. Has no clock and no lock: the caller gives the time, in any unit of ns. */
#ifndef VMBI_CORE_CONTROL_QUEUE_H
#define VMBI_CORE_CONTROL_QUEUE_H

#include <vmbackup/base.h>

#include "base/compiler.h"

typedef struct vmbi_work {
    char *key;
    int64_t due_ns;    /* when `waiting` */
    uint64_t order;    /* of the call that made it wait: first come, first served */
    uint32_t failures; /* in a row */
    bool waiting;
    bool working; /* taken and not finished; may wait again meanwhile */
} vmbi_work;

typedef struct vmbi_queue {
    vmbi_work **v; /* in no order */
    size_t n;
    size_t cap;
    uint64_t orders;
} vmbi_queue;

#define VMBI_QUEUE_RETRY_NS (INT64_C(250) * 1000000)
#define VMBI_QUEUE_RETRY_MAX_NS (INT64_C(60) * 1000000000)
#define VMBI_QUEUE_NEVER INT64_MAX

void vmbi_queue_free(vmbi_queue *q);
/* Lets a key wait until due_ns; of two times the earlier one counts. A key that is being worked on
 * is worked on once more afterwards. */
vmb_code vmbi_queue_add(vmbi_queue *q, const char *key, int64_t due_ns, vmb_error **err);
/* Takes the key that is due longest; NULL when none is due, with *next_ns the time to ask again
 * (VMBI_QUEUE_NEVER: when something was added). Borrowed until it is finished. */
const vmbi_work *vmbi_queue_take(vmbi_queue *q, int64_t now_ns, int64_t *next_ns);
/* Ends the work on a taken key. failed: it comes again after a pause that doubles from failure to
 * failure. Else again_ns: it comes again after so long; negative: only when it is added. */
void vmbi_queue_finish(vmbi_queue *q, const vmbi_work *work, int64_t now_ns, bool failed,
                       int64_t again_ns);

#endif
