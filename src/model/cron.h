/* SPDX-License-Identifier: Apache-2.0 */
/* Velero's cron dialect (github.com/robfig/cron v3, ParseStandard): five fields, names, steps,
 * ranges and lists, @daily and its kin, "@every 1h30m", and a zone in front ("TZ=Europe/Berlin "). */
#ifndef VMBI_MODEL_CRON_H
#define VMBI_MODEL_CRON_H

#include "base/zone.h"

typedef struct vmbi_cron vmbi_cron;

/* zone: where an expression without a zone of its own counts; NULL or "": UTC. Messages tell the
 * column of the mistake. VMB_E_PARSE, VMB_E_NOT_FOUND (zone), VMB_E_NOMEM. */
vmb_code vmbi_cron_parse(const char *expr, const char *zone, vmbi_cron **out, vmb_error **err);
void vmbi_cron_free(vmbi_cron *c); /* NULL allowed */

/* First time after `after`; false when there is none within five years. */
bool vmbi_cron_next(const vmbi_cron *c, int64_t after_unix_ns, int64_t *out_unix_ns);
/* Last time before `before`; false when there is none in the five years before, and always for
 * "@every", whose times depend on where one starts. */
bool vmbi_cron_prev(const vmbi_cron *c, int64_t before_unix_ns, int64_t *out_unix_ns);
/* Length of "@every" in ns; 0 for other expressions. */
int64_t vmbi_cron_every_ns(const vmbi_cron *c);
/* Its zone: for times in names; NULL is UTC. Borrowed. */
const vmbi_zone *vmbi_cron_zone(const vmbi_cron *c);

#endif
