/* SPDX-License-Identifier: Apache-2.0 */
/* Executing hooks in pods: timeouts, exit codes, what a failure means, counters. */
#include "core/backup.h"

#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "core/plan.h"

enum { HOOK_OUTPUT_KEPT = 16 * 1024 };

static const char *phase_name(vmbi_hook_phase phase)
{
    return phase == VMBI_HOOK_PRE ? "pre" : "post";
}

/* Keeps the first bytes and drops the rest: a hook may print without end. */
static vmb_code keep_output(void *user, const void *data, size_t len, vmb_error **err)
{
    vmbi_buf *b = user;
    (void)err;
    size_t room = b->max - b->len;
    vmbi_buf_add(b, data, len < room ? len : room);
    return VMB_OK;
}

static void log_output(vmbi_backup *b, const vmbi_log_fields *f, const char *stream,
                       const vmbi_buf *out)
{
    if (out->len > 0) {
        vmbi_runlog_add(&b->log, VMB_LOG_INFO, f, "hook %s: %s%s", stream, out->data,
                        out->len == out->max ? " … (cut)" : "");
    }
}

/* One command; the error tells why it counts as failed. */
static vmb_code exec_hook(vmbi_backup *b, const char *ns, const char *pod, const vmbi_hook *hook,
                          vmbi_hook_phase phase, vmb_error **err)
{
    const vmb_exec_provider *p = &b->ctx->exec;
    if (p->exec == NULL) {
        return vmbi_fail(err, VMB_E_UNSUPPORTED, "no exec provider is registered");
    }
    if (hook->target == NULL) {
        return vmbi_fail(err, VMB_E_NOT_FOUND, "the pod has no container %s", hook->container);
    }
    vmbi_log_fields f = {"pods", ns, pod, NULL};
    vmbi_buf out = VMBI_BUF_INIT(HOOK_OUTPUT_KEPT);
    vmbi_buf errout = VMBI_BUF_INIT(HOOK_OUTPUT_KEPT);
    struct vmb_sink out_sink = {keep_output, &out};
    struct vmb_sink err_sink = {keep_output, &errout};
    vmb_job job = b->job;
    int64_t timeout = hook->timeout_ns;
    if (phase == VMBI_HOOK_POST) {
        /* a guest is thawed also when the run is cancelled, but never without end */
        timeout = timeout < 0 ? b->ctx->settings.resource_timeout_ns : timeout;
        job.limits = (vmbi_limits){0, NULL};
    }
    job.limits = vmbi_limits_within(&job.limits, timeout);
    int32_t exit_code = -1;
    vmb_code rc = p->exec(p->user, &job, ns, pod, hook->target,
                          (const char *const *)hook->argv.v, hook->argv.n, &out_sink, &err_sink,
                          &exit_code, err);
    rc = vmbi_check_provider(err, rc, "run a command");
    log_output(b, &f, "stdout", &out);
    log_output(b, &f, "stderr", &errout);
    if (rc == VMB_OK && exit_code != 0) {
        rc = vmbi_fail(err, VMB_E_PROVIDER, "command ended with exit code %d", (int)exit_code);
    }
    vmbi_buf_free(&out);
    vmbi_buf_free(&errout);
    return rc;
}

static bool stops_pod(const vmbi_backup *b, const vmbi_hook *hook)
{
    return hook->on_error == VMBI_ON_ERROR_FAIL ||
           (hook->on_error == VMBI_ON_ERROR_UNSET && b->ctx->settings.strict_hooks);
}

static void report_hook(vmbi_backup *b, const char *ns, const char *pod, const vmbi_hook *hook,
                        vmbi_hook_phase phase, int64_t ns_taken, const vmb_error *why)
{
    vmbi_buf subject = VMBI_BUF_INIT(1024);
    vmbi_buf text = VMBI_BUF_INIT(8192);
    vmbi_buf_addf(&subject, "%s/%s", ns, pod);
    vmbi_buf_addf(&text, "%s hook %s in container %s %s after %lld ms%s%s", phase_name(phase),
                  hook->argv.v[0], hook->target != NULL ? hook->target : hook->container,
                  why == NULL ? "ended" : "failed", (long long)(ns_taken / VMBI_MS),
                  why == NULL ? "" : ": ", vmb_error_message(why));
    if (subject.status == VMB_OK && text.status == VMB_OK) {
        vmbi_events_emit(b->events, VMB_EVENT_HOOK, why == NULL ? VMB_LOG_INFO : VMB_LOG_ERROR,
                         subject.data, text.data, ns_taken, -1);
    }
    vmbi_buf_free(&subject);
    vmbi_buf_free(&text);
}

void vmbi_hooks_run(vmbi_backup *b, const char *ns, const char *pod, const vmbi_hook_list *hooks,
                    vmbi_hook_phase phase, bool *failed)
{
    if (b->plan != NULL) {
        vmbi_plan_hooks(b, ns, pod, hooks, phase);
        return;
    }
    for (size_t i = 0; i < hooks->warnings.n; i++) {
        vmbi_log_fields f = {"pods", ns, pod, NULL};
        vmbi_runlog_add(&b->log, VMB_LOG_WARNING, &f, "%s", hooks->warnings.v[i]);
    }
    b->hooks_attempted += (int64_t)hooks->n;
    for (size_t i = 0; i < hooks->n; i++) {
        const vmbi_hook *hook = &hooks->v[i];
        vmb_error *why = NULL;
        int64_t start = vmbi_mono_ns();
        vmb_code rc = exec_hook(b, ns, pod, hook, phase, &why);
        report_hook(b, ns, pod, hook, phase, vmbi_mono_ns() - start, why);
        if (rc == VMB_OK) {
            vmbi_log_fields f = {"pods", ns, pod, NULL};
            vmbi_runlog_add(&b->log, VMB_LOG_INFO, &f, "%s hook %s ended", phase_name(phase),
                            hook->argv.v[0]);
            continue;
        }
        b->hooks_failed++;
        vmbi_runlog_error(&b->log, "pods", ns, pod, why, "%s hook %s failed", phase_name(phase),
                          hook->argv.v[0]);
        vmb_error_free(why);
        if (stops_pod(b, hook)) {
            *failed = true;
            break;
        }
    }
}

vmb_code vmbi_backup_note_freeze(vmbi_backup *b, const char *ns, const char *pod,
                                 int64_t duration_ns, vmb_error **err)
{
    vmbi_freeze *v = vmbi_realloc_array(b->freezes, b->n_freezes + 1, sizeof(*v));
    if (v == NULL) {
        return vmbi_fail_nomem(err);
    }
    b->freezes = v;
    vmbi_freeze f = {vmbi_strdup(ns), vmbi_strdup(pod), duration_ns};
    if (f.ns == NULL || f.pod == NULL) {
        vmbi_free(f.ns);
        vmbi_free(f.pod);
        return vmbi_fail_nomem(err);
    }
    b->freezes[b->n_freezes++] = f;
    return VMB_OK;
}
