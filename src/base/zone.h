/* SPDX-License-Identifier: Apache-2.0 */
/* Time zones: the TZif files of the system (RFC 8536), read without the process's TZ. A zone is
 * immutable and may be used by any thread. */
#ifndef VMBI_BASE_ZONE_H
#define VMBI_BASE_ZONE_H

#include <vmbackup/base.h>

#include "base/compiler.h"

typedef struct vmbi_zone vmbi_zone;

/* By name ("Europe/Berlin"; "UTC" and "" need no file), from the folders where Unix keeps them.
 * VMB_E_INVALID: no name of a zone; VMB_E_NOT_FOUND: no such zone, or the system has none. */
vmb_code vmbi_zone_load(const char *name, vmbi_zone **out, vmb_error **err);
/* From the bytes of a TZif file, for tests and embedded tables. */
vmb_code vmbi_zone_parse(const void *data, size_t len, const char *name, vmbi_zone **out,
                         vmb_error **err);
void vmbi_zone_free(vmbi_zone *z); /* NULL allowed */

/* Offset of local time from UTC at an instant, in seconds, and the stretch of time for which it
 * holds: start <= unix_s < end. z NULL: UTC. */
typedef struct vmbi_zone_span {
    int64_t start_unix_s, end_unix_s; /* INT64_MIN and INT64_MAX: without end */
    int32_t offset_s;
} vmbi_zone_span;
void vmbi_zone_at(const vmbi_zone *z, int64_t unix_s, vmbi_zone_span *out);

/* A local date and time. */
typedef struct vmbi_civil {
    int64_t year;
    int month, day;           /* from 1 */
    int hour, minute, second; /* no leap seconds */
    int weekday;              /* 0 is Sunday; not read by vmbi_zone_unix() */
} vmbi_civil;
void vmbi_zone_civil(const vmbi_zone *z, int64_t unix_s, vmbi_civil *out);
/* The instant of a local time; fields out of their range carry over, as in Go's time.Date. A time
 * that a clock change leaves out or repeats gives an instant by one of the two offsets, the one that
 * Go takes. */
int64_t vmbi_zone_unix(const vmbi_zone *z, const vmbi_civil *c);

#endif
