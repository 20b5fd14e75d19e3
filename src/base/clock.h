/* SPDX-License-Identifier: Apache-2.0 */
/* Time: monotonic and wall clocks, RFC 3339. */
#ifndef VMBI_BASE_CLOCK_H
#define VMBI_BASE_CLOCK_H

#include <vmbackup/base.h>

#include "base/compiler.h"

#define VMBI_SECOND INT64_C(1000000000)
#define VMBI_MS INT64_C(1000000)

int64_t vmbi_mono_ns(void);
int64_t vmbi_unix_ns(void);

#define VMBI_RFC3339_SIZE 40
/* "2026-05-20T08:00:22Z", whole seconds, UTC. */
void vmbi_format_rfc3339(int64_t unix_ns, char out[VMBI_RFC3339_SIZE]);
/* Accepts fractions and offsets; false when malformed. */
bool vmbi_parse_rfc3339(const char *s, int64_t *unix_ns);
/* "20130524T000000Z", for AWS signatures. */
void vmbi_format_iso_basic(int64_t unix_ns, char out[VMBI_RFC3339_SIZE]);
/* Reads "Fri, 24 May 2013 00:00:00 GMT". */
bool vmbi_parse_http_date(const char *s, int64_t *unix_ns);
/* What is left now of a period (not negative) that began then: nothing, too, when the clock has been
 * set back since. */
int64_t vmbi_unix_left(int64_t now, int64_t since, int64_t period);

#endif
