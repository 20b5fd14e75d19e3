/* SPDX-License-Identifier: Apache-2.0 */
/* A cron expression inside: what cron.c reads and cron_next.c follows. */
#ifndef VMBI_MODEL_CRON_IMPL_H
#define VMBI_MODEL_CRON_IMPL_H

#include "model/cron.h"

enum {
    VMBI_CRON_MINUTE,
    VMBI_CRON_HOUR,
    VMBI_CRON_DAY,
    VMBI_CRON_MONTH,
    VMBI_CRON_WEEKDAY,
    VMBI_CRON_FIELDS
};

typedef struct vmbi_cron_field {
    uint64_t bits; /* of the values that fit */
    bool star;     /* a "*" without a step is among them: the field does not choose */
} vmbi_cron_field;

struct vmbi_cron {
    vmbi_cron_field fields[VMBI_CRON_FIELDS];
    int64_t every_ns; /* > 0: "@every", and the fields do not count */
    vmbi_zone *zone;
};

#endif
