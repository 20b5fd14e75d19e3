/* SPDX-License-Identifier: Apache-2.0 */
/* Schedules: looked at every minute and when they change. */
#include "model/schedule.h"

#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "core/control/control.h"
#include "model/labelname.h"

typedef struct blocking {
    char schedule[VMBI_LABEL_NAME_SIZE]; /* as a label: long names are cut there */
    bool found;
    int64_t newest_unix_ns; /* creation of the schedule's newest backup */
} blocking;

static void look_backup(void *user, const vmbi_cached *e)
{
    blocking *b = user;
    const char *phase = vmbi_cached_field(e, VMBI_BACKUP_PHASE);
    int64_t at = 0;
    if (strcmp(vmbi_cached_field(e, VMBI_BACKUP_SCHEDULE), b->schedule) != 0) {
        return;
    }
    b->found = b->found || vmbi_phase_is_waiting(phase) || strcmp(phase, "InProgress") == 0;
    if (vmbi_parse_rfc3339(vmbi_cached_field(e, VMBI_BACKUP_CREATED), &at) &&
        at > b->newest_unix_ns) {
        b->newest_unix_ns = at;
    }
}

static vmb_code patch_schedule(vmb_control *c, const char *name, vmbi_json *patch, vmb_error **err)
{
    return vmbi_object_patch(c, VMBI_KIND_SCHEDULE, name, patch, VMBI_LAST_WORD, err);
}

static vmb_code write_ran(vmb_control *c, const char *name, int64_t at, vmb_error **err)
{
    vmbi_json *patch = NULL;
    vmb_code rc = vmbi_schedule_ran_patch(at, &patch, err);
    return rc == VMB_OK ? patch_schedule(c, name, patch, err) : rc;
}

/* Writes Enabled or FailedValidation where it is not so already. */
static vmb_code write_phase(vmb_control *c, const vmbi_json *tree, const vmbi_problems *problems,
                            vmb_error **err)
{
    const char *name = vmbi_json_path_str(tree, "metadata.name");
    vmbi_json *patch = NULL;
    vmb_code rc = vmbi_schedule_phase_patch(problems, &patch, err);
    const char *phase = vmbi_json_path_str(patch, "status.phase");
    if (rc == VMB_OK && vmbi_streq(phase, vmbi_json_path_str(tree, "status.phase"))) {
        vmbi_json_free(patch);
        return VMB_OK;
    }
    bool bad = !vmbi_streq(phase, "Enabled");
    rc = rc == VMB_OK ? patch_schedule(c, name, patch, err) : rc;
    if (rc == VMB_OK) {
        vmbi_control_event(c, tree, bad, bad ? "FailedValidation" : "Enabled", "%s",
                           bad ? "see status.validationErrors" : "backups will be made");
    }
    return rc;
}

/* The time is written whatever became of the backup: a name that is taken was this very run. */
static vmb_code submit(vmb_control *c, const vmbi_schedule *s, const vmbi_json *tree, int64_t now,
                       vmb_error **err)
{
    vmbi_json *backup = NULL;
    vmb_error *why = NULL;
    vmb_code rc = vmbi_schedule_backup(s, now, &backup, err);
    if (rc != VMB_OK) {
        return rc;
    }
    rc = vmbi_object_create(c, "velero.io", "v1", "backups", backup, NULL, &why);
    if (rc != VMB_OK && rc != VMB_E_EXISTS) {
        vmbi_control_event(c, tree, true, "NotSubmitted", "%s", vmb_error_message(why));
        vmbi_error_move(err, &why);
        return rc;
    }
    vmb_error_free(why);
    return write_ran(c, s->name, now, err);
}

static vmb_code step(vmb_control *c, const vmbi_schedule *s, const vmbi_json *tree,
                     vmbi_turn *turn, vmb_error **err)
{
    blocking b = {.found = false};
    int64_t now = vmbi_unix_ns();
    int64_t next = 0;
    vmbi_json *patch = NULL;
    vmb_code rc = VMB_OK;
    vmbi_label_valid_name(s->name, b.schedule);
    vmbi_cached_each(c, VMBI_KIND_BACKUP, look_backup, &b);
    turn->again_ns = c->settings.schedule_ns;
    switch (vmbi_schedule_look(s, c->settings.skip_immediately, b.found, now, &next)) {
    case VMBI_SCHEDULE_SKIP:
        rc = vmbi_schedule_skip_patch(now, &patch, err);
        return rc == VMB_OK ? patch_schedule(c, s->name, patch, err) : rc;
    case VMBI_SCHEDULE_SUBMIT:
        if (next > 0 && b.newest_unix_ns > next) {
            /* this run's backup exists: the process ended before it could write the time */
            return write_ran(c, s->name, b.newest_unix_ns, err);
        }
        return submit(c, s, tree, now, err);
    case VMBI_SCHEDULE_WAIT:
        if (next > now && next - now < turn->again_ns) {
            turn->again_ns = next - now + VMBI_MS; /* due once the time is past */
        }
        return VMB_OK;
    case VMBI_SCHEDULE_PAUSED:
    case VMBI_SCHEDULE_BLOCKED:
    default:
        return VMB_OK;
    }
}

vmb_code vmbi_reconcile_schedule(vmb_control *c, vmbi_turn *turn, vmb_error **err)
{
    vmbi_json *tree = NULL;
    vmb_error *why = NULL;
    vmbi_problems problems = {0};
    vmbi_schedule s = {0};
    vmb_code rc = vmbi_object_get(c, VMBI_KIND_SCHEDULE, turn->name, &tree, &why);
    if (rc == VMB_E_NOT_FOUND) {
        vmb_error_free(why);
        return VMB_OK;
    }
    if (rc != VMB_OK) {
        vmbi_error_move(err, &why);
        return rc;
    }
    rc = vmbi_schedule_from_tree(tree, "schedule", c->settings.zone, &s, &problems, &why);
    if (rc == VMB_OK || rc == VMB_E_INVALID) {
        bool valid = rc == VMB_OK;
        vmb_error_free(why);
        rc = write_phase(c, tree, &problems, err);
        if (rc == VMB_OK && valid) {
            rc = step(c, &s, tree, turn, err);
        }
        vmbi_schedule_free(&s);
    } else {
        vmbi_error_move(err, &why);
    }
    vmbi_problems_free(&problems);
    vmbi_json_free(tree);
    return rc;
}
