/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file schedule.h
 * @brief When schedules are due, in Velero's cron dialect; usable without a context.
 *
 * An expression has five fields (minute, hour, day of month, month, day of week) with lists, ranges,
 * steps and English names, or is one of @yearly, @annually, @monthly, @weekly, @daily, @midnight,
 * @hourly, "@every 1h30m". "TZ=Europe/Berlin " or "CRON_TZ=… " in front names its time zone. When
 * both day fields choose, a day that fits one of them counts; "*" does not choose, a step of it
 * does. Zones come from the system's time zone files. Source: github.com/robfig/cron v3.0.1.
 *
 * All functions may be called from any thread. Times are nanoseconds since 1970-01-01 UTC.
 */
#ifndef VMBACKUP_SCHEDULE_H
#define VMBACKUP_SCHEDULE_H

#include <vmbackup/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Finds the first time after a given one.
 * @param expr  cron expression
 * @param zone  name of the time zone of an expression without one; NULL: UTC
 * @param after_unix_ns the time to start after
 * @param next_unix_ns  receives the time
 * @return VMB_OK, VMB_E_ARG, VMB_E_PARSE (the message tells the column), VMB_E_INVALID (the zone's
 *         name), VMB_E_NOT_FOUND (no such zone, or no time within five years), VMB_E_NOMEM
 */
VMB_API vmb_code vmb_schedule_next(const char *expr, const char *zone, int64_t after_unix_ns,
                                   int64_t *next_unix_ns, vmb_error **err);
/**
 * Finds the last time before a given one.
 * @return as for vmb_schedule_next(); VMB_E_UNSUPPORTED for "@every", whose times count from the
 *         last run
 */
VMB_API vmb_code vmb_schedule_prev(const char *expr, const char *zone, int64_t before_unix_ns,
                                   int64_t *prev_unix_ns, vmb_error **err);
/**
 * Tells whether a run is due. Runs that were missed count as one.
 * @param base_unix_ns the last run, or when the schedule was made if it never ran
 * @param now_unix_ns  the present
 * @param due          receives 1 when the first time after the base has passed, else 0
 * @param next_unix_ns receives that time; may be NULL
 * @return as for vmb_schedule_next()
 */
VMB_API vmb_code vmb_schedule_due(const char *expr, const char *zone, int64_t base_unix_ns,
                                  int64_t now_unix_ns, int32_t *due, int64_t *next_unix_ns,
                                  vmb_error **err);
/**
 * Makes the Backup of a Schedule resource (velero.io/v1, YAML or JSON) as owned JSON: named
 * "<schedule>-YYYYMMDDhhmmss" in the schedule's zone, with the labels of the template or else of the
 * schedule, the label velero.io/schedule-name, the schedule's annotations, and an owner reference
 * when spec.useOwnerReferencesInBackup asks for one.
 * @param doc     the resource
 * @param len     its length in bytes
 * @param zone    time zone of an expression without one; NULL: UTC
 * @param now_unix_ns the time in the name
 * @return VMB_OK, VMB_E_ARG, VMB_E_PARSE, VMB_E_INVALID, VMB_E_NOMEM
 */
VMB_API vmb_code vmb_schedule_backup_json(const char *doc, size_t len, const char *zone,
                                          int64_t now_unix_ns, char **out, size_t *out_len,
                                          vmb_error **err);

#ifdef __cplusplus
}
#endif
#endif
