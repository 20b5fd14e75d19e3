/* SPDX-License-Identifier: Apache-2.0 */
/* The rule of a time zone for times after the last change that its file lists: a POSIX TZ string
 * with the extension of RFC 8536 (times from -167 to 167 hours). */
#ifndef VMBI_BASE_ZONE_RULE_H
#define VMBI_BASE_ZONE_RULE_H

#include "base/zone.h"

/* A day of the year on which the clocks change. */
typedef struct vmbi_zone_day {
    char kind;             /* 'M' month.week.weekday, 'J' day 1 to 365 without leap days, 'N' day
                            * from 0 */
    int month, week, day;
    int32_t second;        /* local time of the change, from midnight */
} vmbi_zone_day;

typedef struct vmbi_zone_rule {
    int32_t standard_s;
    int32_t daylight_s;
    bool changes;          /* else it is always standard time */
    vmbi_zone_day start;   /* of daylight time */
    vmbi_zone_day end;
} vmbi_zone_rule;

bool vmbi_zone_rule_parse(const char *text, vmbi_zone_rule *out);
/* year: of the instant, in UTC. */
void vmbi_zone_rule_at(const vmbi_zone_rule *r, int64_t unix_s, int64_t year, vmbi_zone_span *out);

/* Days from 1970-01-01 to a date; month and day may be out of their range. */
int64_t vmbi_zone_days(int64_t year, int64_t month, int64_t day);

#endif
