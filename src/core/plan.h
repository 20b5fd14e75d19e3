/* SPDX-License-Identifier: Apache-2.0 */
/* A dry run: the steps of a backup note here what they would do instead of doing it. */
#ifndef VMBI_CORE_PLAN_H
#define VMBI_CORE_PLAN_H

#include "core/backup.h"

typedef struct vmbi_plan {
    vmbi_json *items;    /* that would be stored */
    vmbi_json *left_out; /* that are not, each with the reason */
    vmbi_json *types;    /* resources that are not listed at all */
    vmbi_json *volumes;  /* that would be snapshotted */
    vmbi_json *hooks;    /* that would run */
    bool failed;         /* memory ran out while something was noted */
} vmbi_plan;

vmb_code vmbi_plan_init(vmbi_plan *p, vmb_error **err);
void vmbi_plan_done(vmbi_plan *p);

void vmbi_plan_take(vmbi_backup *b, const vmbi_resource *res, const char *ns, const char *name);
void vmbi_plan_leave(vmbi_backup *b, const vmbi_resource *res, const char *ns, const char *name,
                     const char *reason);
void vmbi_plan_leave_type(vmbi_backup *b, const vmbi_resource *res);
void vmbi_plan_snapshot(vmbi_backup *b, const vmbi_json *claim, const char *provider);
void vmbi_plan_hooks(vmbi_backup *b, const char *ns, const char *pod, const vmbi_hook_list *hooks,
                     vmbi_hook_phase phase);

/* The document of vmb_run_plan_json(). */
vmb_code vmbi_plan_report(const vmbi_backup *b, vmbi_json **out, vmb_error **err);

#endif
