/* SPDX-License-Identifier: Apache-2.0 */
#include "core/outcome.h"

#include "base/clock.h"
#include "base/error.h"
#include "codec/digest.h"

bool vmbi_outcome_identify(vmbi_json *meta, const char *ns, int64_t start_unix_ns)
{
    char uid[37];
    vmbi_uuid4(uid);
    return vmbi_json_set_str(meta, "namespace", ns) &&
           (vmbi_json_get_str(meta, "uid") != NULL || vmbi_json_set_str(meta, "uid", uid)) &&
           (vmbi_json_get_str(meta, "creationTimestamp") != NULL ||
            vmbi_outcome_time(meta, "creationTimestamp", start_unix_ns));
}

bool vmbi_outcome_time(vmbi_json *obj, const char *key, int64_t unix_ns)
{
    char text[VMBI_RFC3339_SIZE];
    vmbi_format_rfc3339(unix_ns, text);
    return vmbi_json_set_str(obj, key, text);
}

bool vmbi_outcome_count(vmbi_json *obj, const char *key, int64_t n)
{
    return n == 0 || vmbi_json_set_int(obj, key, n);
}

static bool set_progress(vmbi_json *status, const vmbi_outcome *o)
{
    vmbi_json *progress = vmbi_json_ensure_object(status, "progress");
    return progress != NULL && vmbi_json_set_int(progress, "totalItems", o->items) &&
           vmbi_json_set_int(progress, o->items_key, o->items);
}

bool vmbi_outcome_status(vmbi_json *status, const vmbi_outcome *o)
{
    bool ok = vmbi_json_set_str(status, "phase", o->phase);
    if (ok && o->validation_errors != NULL) {
        ok =
            vmbi_json_set(status, "validationErrors", vmbi_json_string_array(o->validation_errors));
    } else if (ok) {
        vmbi_json *hooks = vmbi_json_ensure_object(status, "hookStatus");
        ok = vmbi_outcome_time(status, "startTimestamp", o->start_unix_ns) &&
             vmbi_outcome_time(status, "completionTimestamp", o->completion_unix_ns) &&
             set_progress(status, o) && hooks != NULL &&
             vmbi_outcome_count(hooks, "hooksAttempted", o->hooks_attempted) &&
             vmbi_outcome_count(hooks, "hooksFailed", o->hooks_failed);
    }
    return ok && (o->failure == NULL || vmbi_json_set_str(status, "failureReason", o->failure)) &&
           vmbi_outcome_count(status, "warnings", o->log->warnings) &&
           vmbi_outcome_count(status, "errors", o->log->errors);
}

void vmbi_outcome_log(vmbi_runlog *log, const vmbi_problems *problems,
                      const vmbi_discovery *discovery)
{
    for (size_t i = 0; i < problems->n; i++) {
        const vmbi_problem *p = &problems->v[i];
        vmbi_runlog_add(log, p->is_error ? VMB_LOG_ERROR : VMB_LOG_WARNING, NULL, "%s: %s",
                        p->field, p->message);
    }
    const vmbi_strs *warnings = discovery != NULL ? vmbi_discovery_warnings(discovery) : NULL;
    for (size_t i = 0; warnings != NULL && i < warnings->n; i++) {
        vmbi_runlog_add(log, VMB_LOG_WARNING, NULL, "discovery: %s", warnings->v[i]);
    }
}

static vmbi_json *results_part(const vmbi_runlog *log, const char *key)
{
    vmbi_json *part = vmbi_json_get(log->results, key);
    return part != NULL ? vmbi_json_ref(part) : vmbi_json_object();
}

vmb_code vmbi_outcome_report(vmb_run *run, const char *key, vmbi_json *resource,
                             const vmbi_runlog *log, int64_t duration_ns, const vmbi_json *extra,
                             vmb_error **err)
{
    vmbi_json *doc = vmbi_json_object();
    bool ok = doc != NULL && vmbi_json_set_str(doc, "apiVersion", "vmbackup.io/v1");
    ok = ok && vmbi_json_set_str(doc, "kind", "RunReport");
    ok = ok &&
         vmbi_json_set(doc, key, resource != NULL ? vmbi_json_ref(resource) : vmbi_json_null());
    ok = ok && vmbi_json_set(doc, "warnings", results_part(log, "warnings"));
    ok = ok && vmbi_json_set(doc, "errors", results_part(log, "errors"));
    for (void *it = vmbi_json_iter(extra); it != NULL && ok; it = vmbi_json_iter_next(extra, it)) {
        ok = vmbi_json_set(doc, vmbi_json_iter_key(it), vmbi_json_ref(vmbi_json_iter_value(it)));
    }
    ok = ok && vmbi_json_set_int(doc, "durationNs", duration_ns);
    if (!ok) {
        vmbi_json_free(doc);
        return vmbi_fail_nomem(err);
    }
    vmbi_json_free(run->report);
    run->report = doc;
    return VMB_OK;
}
