/* SPDX-License-Identifier: Apache-2.0 */
/* run.h: argument checks, then core/run.c. */
#include <vmbackup/run.h>

#include <unistd.h>

#include "base/error.h"
#include "core/run.h"

static vmb_code missing(vmb_error **err, const char *function)
{
    return vmbi_fail(err, VMB_E_ARG, "%s: an argument is NULL", function);
}

vmb_code vmb_run_new(vmb_ctx *ctx, const vmb_spec *spec, vmb_run **out, vmb_error **err)
{
    if (ctx == NULL || spec == NULL || out == NULL) {
        return missing(err, "vmb_run_new");
    }
    *out = NULL;
    vmb_code rc = vmbi_ctx_check(ctx, false, err);
    if (rc != VMB_OK) {
        return rc;
    }
    if (ctx->cluster.get == NULL) {
        return vmbi_fail(err, VMB_E_STATE,
                         "vmb_run_new: the context has no cluster; see vmb_ctx_use()");
    }
    if (ctx->n_locations == 0) {
        return vmbi_fail(err, VMB_E_STATE,
                         "vmb_run_new: the context has no storage location; see "
                         "vmb_ctx_add_location()");
    }
    return vmbi_run_new(ctx, spec, out, err);
}

vmb_code vmb_run_execute(vmb_run *run, vmb_error **err)
{
    if (run == NULL) {
        return missing(err, "vmb_run_execute");
    }
    vmb_code rc = vmbi_ctx_check(run->ctx, false, err);
    if (rc == VMB_OK) {
        vmbi_ctx_enter(run->ctx);
        rc = vmbi_run_execute(run, err);
        vmbi_ctx_leave(run->ctx);
    }
    return rc;
}

void vmb_run_cancel(vmb_run *run)
{
    /* a child process shares the descriptor, and must not wake its parent */
    if (run != NULL && getpid() == run->ctx->pid) {
        vmbi_cancel_fire(run->cancel);
    }
}

const char *vmb_run_phase(const vmb_run *run)
{
    return run != NULL ? atomic_load_explicit(&run->phase, memory_order_acquire) : "";
}

vmb_code vmb_run_report_json(const vmb_run *run, char **out, size_t *out_len, vmb_error **err)
{
    if (run == NULL || out == NULL) {
        return missing(err, "vmb_run_report_json");
    }
    if (run->report == NULL) {
        return vmbi_fail(err, VMB_E_STATE, "vmb_run_report_json: the run has not ended");
    }
    return vmbi_json_to_text(run->report, out, out_len, err);
}

vmb_code vmb_run_plan_json(vmb_ctx *ctx, const vmb_spec *spec, char **out, size_t *out_len,
                           vmb_error **err)
{
    vmb_run *run = NULL;
    vmbi_json *doc = NULL;
    if (out == NULL) {
        return missing(err, "vmb_run_plan_json");
    }
    vmb_code rc = vmb_run_new(ctx, spec, &run, err);
    if (rc == VMB_OK) {
        vmbi_ctx_enter(ctx);
        rc = vmbi_run_plan(run, &doc, err);
        vmbi_ctx_leave(ctx);
    }
    if (rc == VMB_OK) {
        rc = vmbi_json_to_text(doc, out, out_len, err);
    }
    vmbi_json_free(doc);
    vmbi_run_free(run);
    return rc;
}

void vmb_run_free(vmb_run *run)
{
    vmbi_run_free(run);
}

int32_t vmb_run_fd(const vmb_run *run)
{
    return run != NULL ? run->events.fd : -1;
}

vmb_code vmb_run_next_event(vmb_run *run, vmb_event **out, vmb_error **err)
{
    if (run == NULL || out == NULL) {
        return missing(err, "vmb_run_next_event");
    }
    vmb_code rc = vmbi_ctx_check(run->ctx, false, err);
    if (rc == VMB_OK) {
        *out = vmbi_events_next(&run->events);
    }
    return rc;
}

vmb_code vmb_run_set_event_fn(vmb_run *run, vmb_event_fn fn, void *user, vmb_error **err)
{
    if (run == NULL) {
        return missing(err, "vmb_run_set_event_fn");
    }
    if (run->executed || atomic_load(&run->executing)) {
        return vmbi_fail(err, VMB_E_STATE, "vmb_run_set_event_fn: the run has started");
    }
    run->events.fn = fn;
    run->events.user = user;
    return VMB_OK;
}

int32_t vmb_event_kind(const vmb_event *e)
{
    return e != NULL ? e->kind : 0;
}

int32_t vmb_event_level(const vmb_event *e)
{
    return e != NULL ? e->level : 0;
}

const char *vmb_event_subject(const vmb_event *e)
{
    return e != NULL ? e->subject : "";
}

const char *vmb_event_text(const vmb_event *e)
{
    return e != NULL ? e->text : "";
}

int64_t vmb_event_done(const vmb_event *e)
{
    return e != NULL ? e->done : 0;
}

int64_t vmb_event_total(const vmb_event *e)
{
    return e != NULL ? e->total : -1;
}

void vmb_event_free(vmb_event *e)
{
    vmbi_event_free(e);
}
