/* SPDX-License-Identifier: Apache-2.0 */
/* A run: from a spec to a backup in the store, or to restored objects in the cluster. */
#ifndef VMBI_CORE_RUN_H
#define VMBI_CORE_RUN_H

#include <stdatomic.h>

#include <vmbackup/run.h>

#include "base/cancel.h"
#include "core/context.h"
#include "core/events.h"
#include "model/backup.h"

struct vmb_run {
    vmb_ctx *ctx;
    vmb_spec *spec;
    vmbi_cancel *cancel;
    vmbi_events events;
    atomic_bool executing;    /* re-entry and a second execute are refused */
    bool executed;
    _Atomic(const char *) phase; /* static strings */
    vmbi_json *report;        /* filled when execute ends */
};

vmb_code vmbi_run_new(vmb_ctx *ctx, const vmb_spec *spec, vmb_run **out, vmb_error **err);
void vmbi_run_free(vmb_run *run);
vmb_code vmbi_run_execute(vmb_run *run, vmb_error **err);
/* What the run would do, without doing it: nothing is stored, no hook runs, no snapshot is cut. */
vmb_code vmbi_run_plan(vmb_run *run, vmbi_json **out, vmb_error **err);
/* phase: a static string; emits an event. */
void vmbi_run_set_phase(vmb_run *run, const char *phase);

#endif
