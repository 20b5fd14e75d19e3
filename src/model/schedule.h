/* SPDX-License-Identifier: Apache-2.0 */
/* A Schedule (velero.io/v1): when it is due, and the Backup that it makes. */
#ifndef VMBI_MODEL_SCHEDULE_H
#define VMBI_MODEL_SCHEDULE_H

#include "codec/json.h"
#include "model/cron.h"
#include "model/problems.h"

typedef struct vmbi_schedule {
    char *name;
    char *ns;        /* "" when absent */
    vmbi_json *doc;  /* a reference */
    vmbi_cron *cron; /* NULL only when problems were found */
    bool paused;
    bool owner_references;      /* spec.useOwnerReferencesInBackup */
    int skip_immediately;       /* 1, 0; -1 unset: the server's default counts */
    int64_t created_unix_ns;    /* metadata.creationTimestamp; 0 unknown */
    int64_t last_backup_unix_ns;  /* status.lastBackup; 0 never */
    int64_t last_skipped_unix_ns; /* status.lastSkipped; 0 never */
} vmbi_schedule;

/* zone: of expressions without one; NULL: UTC. Problems (may be NULL) receives everything that is
 * wrong; any error fails the call with VMB_E_INVALID. What is wrong with the template as a Backup
 * comes as warnings: Velero enables such a schedule, and each of its backups fails. */
vmb_code vmbi_schedule_parse(const char *doc, size_t len, const char *source, const char *zone,
                             vmbi_schedule *out, vmbi_problems *problems, vmb_error **err);
vmb_code vmbi_schedule_from_tree(vmbi_json *doc, const char *source, const char *zone,
                                 vmbi_schedule *out, vmbi_problems *problems, vmb_error **err);
void vmbi_schedule_free(vmbi_schedule *s);

/* Is a backup to be made now? *next_unix_ns (may be NULL): the first time after the last backup,
 * skip or creation; due once `now` is later. Runs that were missed count as one. 0: never. Does
 * not look at paused. */
bool vmbi_schedule_due(const vmbi_schedule *s, int64_t now_unix_ns, int64_t *next_unix_ns);

/* What one look at a schedule asks for. */
typedef enum vmbi_schedule_step {
    VMBI_SCHEDULE_WAIT,   /* nothing before *next_unix_ns */
    VMBI_SCHEDULE_SKIP,   /* write vmbi_schedule_skip_patch() and look again */
    VMBI_SCHEDULE_SUBMIT, /* create vmbi_schedule_backup(), write vmbi_schedule_ran_patch() */
    VMBI_SCHEDULE_PAUSED,
    VMBI_SCHEDULE_BLOCKED /* due, but a backup of it has not ended: look again later */
} vmbi_schedule_step;
/* skip_default: for a schedule that does not say (Velero's --schedule-skip-immediately).
 * busy: vmbi_schedule_blocked_by() holds for some Backup. */
vmbi_schedule_step vmbi_schedule_look(const vmbi_schedule *s, bool skip_default, bool busy,
                                      int64_t now_unix_ns, int64_t *next_unix_ns);
/* Does this Backup resource keep the schedule from making another: labelled with its name and in
 * phase "", New, Queued, ReadyToStart or InProgress? */
bool vmbi_schedule_blocked_by(const vmbi_schedule *s, const vmbi_json *backup);

/* "<schedule>-20261124105500", local time of the schedule's zone. */
vmb_code vmbi_schedule_backup_name(const vmbi_schedule *s, int64_t now_unix_ns, vmbi_buf *out,
                                   vmb_error **err);
/* The Backup resource, owned: spec is the template; labels those of the template or else of the
 * schedule, with velero.io/schedule-name; the schedule's annotations; an owner reference when it
 * wants one (needs metadata.uid). */
vmb_code vmbi_schedule_backup(const vmbi_schedule *s, int64_t now_unix_ns, vmbi_json **out,
                              vmb_error **err);

/* Merge patches to write back, owned. problems NULL or without errors: phase Enabled, else
 * FailedValidation with validationErrors. */
vmb_code vmbi_schedule_phase_patch(const vmbi_problems *problems, vmbi_json **out,
                                   vmb_error **err);
vmb_code vmbi_schedule_ran_patch(int64_t now_unix_ns, vmbi_json **out, vmb_error **err);
vmb_code vmbi_schedule_skip_patch(int64_t now_unix_ns, vmbi_json **out, vmb_error **err);

#endif
