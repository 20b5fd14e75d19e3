/* SPDX-License-Identifier: Apache-2.0 */
/* schedule.h: argument checks, then model/cron.c and model/schedule.c. */
#include <vmbackup/schedule.h>

#include "base/error.h"
#include "model/cron.h"
#include "model/schedule.h"

static vmb_code missing(vmb_error **err, const char *function)
{
    return vmbi_fail(err, VMB_E_ARG, "%s: an argument is NULL", function);
}

vmb_code vmb_schedule_next(const char *expr, const char *zone, int64_t after_unix_ns,
                           int64_t *next_unix_ns, vmb_error **err)
{
    vmbi_cron *cron = NULL;
    if (expr == NULL || next_unix_ns == NULL) {
        return missing(err, "vmb_schedule_next");
    }
    vmb_code rc = vmbi_cron_parse(expr, zone, &cron, err);
    if (rc == VMB_OK && !vmbi_cron_next(cron, after_unix_ns, next_unix_ns)) {
        rc = vmbi_fail(err, VMB_E_NOT_FOUND,
                       "cron expression \"%.200s\": no time within five years", expr);
    }
    vmbi_cron_free(cron);
    return rc;
}

vmb_code vmb_schedule_prev(const char *expr, const char *zone, int64_t before_unix_ns,
                           int64_t *prev_unix_ns, vmb_error **err)
{
    vmbi_cron *cron = NULL;
    if (expr == NULL || prev_unix_ns == NULL) {
        return missing(err, "vmb_schedule_prev");
    }
    vmb_code rc = vmbi_cron_parse(expr, zone, &cron, err);
    if (rc == VMB_OK && vmbi_cron_every_ns(cron) > 0) {
        rc = vmbi_fail(err, VMB_E_UNSUPPORTED,
                       "cron expression \"%.200s\": its times count from the last run", expr);
    }
    if (rc == VMB_OK && !vmbi_cron_prev(cron, before_unix_ns, prev_unix_ns)) {
        rc = vmbi_fail(err, VMB_E_NOT_FOUND,
                       "cron expression \"%.200s\": no time within five years", expr);
    }
    vmbi_cron_free(cron);
    return rc;
}

vmb_code vmb_schedule_due(const char *expr, const char *zone, int64_t base_unix_ns,
                          int64_t now_unix_ns, int32_t *due, int64_t *next_unix_ns,
                          vmb_error **err)
{
    int64_t next = 0;
    if (expr == NULL || due == NULL) {
        return missing(err, "vmb_schedule_due");
    }
    vmb_code rc = vmb_schedule_next(expr, zone, base_unix_ns, &next, err);
    if (rc == VMB_OK) {
        *due = now_unix_ns > next ? 1 : 0;
        if (next_unix_ns != NULL) {
            *next_unix_ns = next;
        }
    }
    return rc;
}

vmb_code vmb_schedule_backup_json(const char *doc, size_t len, const char *zone,
                                  int64_t now_unix_ns, char **out, size_t *out_len,
                                  vmb_error **err)
{
    vmbi_schedule schedule = {0};
    vmbi_json *backup = NULL;
    if (doc == NULL || out == NULL) {
        return missing(err, "vmb_schedule_backup_json");
    }
    vmb_code rc = vmbi_schedule_parse(doc, len, "schedule", zone, &schedule, NULL, err);
    if (rc == VMB_OK) {
        rc = vmbi_schedule_backup(&schedule, now_unix_ns, &backup, err);
    }
    if (rc == VMB_OK) {
        rc = vmbi_json_to_text(backup, out, out_len, err);
    }
    vmbi_json_free(backup);
    vmbi_schedule_free(&schedule);
    return rc;
}
