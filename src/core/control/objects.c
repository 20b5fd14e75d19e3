/* SPDX-License-Identifier: Apache-2.0 */
/* Reading and writing the custom resources, and telling about them. */
#include "core/control/control.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"

enum { OBJECT_MAX_BYTES = 8 << 20, MESSAGE_SIZE = 1024 };

#define LAST_WORD_NS (10 * VMBI_SECOND)

vmb_job vmbi_control_job(vmb_control *c, vmbi_urgency urgency)
{
    vmb_job job = {.limits = {0, c->stop}};
    if (urgency == VMBI_LAST_WORD && vmbi_cancel_is_set(c->stop)) {
        job.limits = vmbi_limits_within(NULL, LAST_WORD_NS);
    }
    return job;
}

vmb_code vmbi_object_get(vmb_control *c, vmbi_kind_id kind, const char *name, vmbi_json **out,
                         vmb_error **err)
{
    const vmbi_kind *k = &vmbi_kinds[kind];
    vmb_job job = vmbi_control_job(c, VMBI_NORMAL);
    vmbi_buf text = VMBI_BUF_INIT(OBJECT_MAX_BYTES);
    vmb_code rc = vmbi_cluster_get(&c->cluster, &job, k->group, k->version, k->resource,
                                   c->ctx->settings.ns, name, &text, err);
    if (rc == VMB_OK) {
        rc = vmbi_json_parse(text.data != NULL ? text.data : "", text.len, name, out, err);
    }
    vmbi_buf_free(&text);
    return rc;
}

vmb_code vmbi_object_patch(vmb_control *c, vmbi_kind_id kind, const char *name, vmbi_json *patch,
                           vmbi_urgency urgency, vmb_error **err)
{
    const vmbi_kind *k = &vmbi_kinds[kind];
    vmb_job job = vmbi_control_job(c, urgency);
    char *text = NULL;
    size_t len = 0;
    vmb_code rc = patch != NULL ? vmbi_json_to_text(patch, &text, &len, err)
                                : vmbi_fail_nomem(err);
    if (rc == VMB_OK) {
        rc = vmbi_cluster_patch(&c->cluster, &job, k->group, k->version, k->resource,
                                c->ctx->settings.ns, name, NULL, VMB_PATCH_MERGE, text, len, NULL,
                                err);
    }
    vmb_free(text);
    vmbi_json_free(patch);
    return rc;
}

vmb_code vmbi_object_create(vmb_control *c, const char *group, const char *version,
                            const char *resource, vmbi_json *object, vmbi_json **out,
                            vmb_error **err)
{
    vmb_job job = vmbi_control_job(c, VMBI_LAST_WORD);
    vmbi_buf answer = VMBI_BUF_INIT(OBJECT_MAX_BYTES);
    char *text = NULL;
    size_t len = 0;
    vmb_code rc = object != NULL ? vmbi_json_to_text(object, &text, &len, err)
                                 : vmbi_fail_nomem(err);
    if (rc == VMB_OK) {
        rc = vmbi_cluster_create(&c->cluster, &job, group, version, resource, c->ctx->settings.ns,
                                 text, len, &answer, err);
    }
    if (rc == VMB_OK && out != NULL) {
        rc = vmbi_json_parse(answer.data, answer.len, resource, out, err);
    }
    vmb_free(text);
    vmbi_buf_free(&answer);
    vmbi_json_free(object);
    return rc;
}

vmb_code vmbi_object_remove(vmb_control *c, vmbi_kind_id kind, const char *name, vmb_error **err)
{
    const vmbi_kind *k = &vmbi_kinds[kind];
    vmb_job job = vmbi_control_job(c, VMBI_NORMAL);
    vmb_error *why = NULL;
    vmb_code rc = vmbi_cluster_remove(&c->cluster, &job, k->group, k->version, k->resource,
                                      c->ctx->settings.ns, name, &why);
    if (rc == VMB_E_NOT_FOUND) {
        vmb_error_free(why);
        return VMB_OK;
    }
    vmbi_error_move(err, &why);
    return rc;
}

vmbi_json *vmbi_phase_patch(const char *phase)
{
    vmbi_json *patch = vmbi_json_object();
    vmbi_json *status = vmbi_json_ensure_object(patch, "status");
    if (status == NULL || !vmbi_json_set_str(status, "phase", phase)) {
        vmbi_json_free(patch);
        patch = NULL;
    }
    return patch;
}

vmbi_json *vmbi_progress_patch(const char *done_key, int64_t done, int64_t total)
{
    vmbi_json *patch = vmbi_json_object();
    vmbi_json *progress =
        vmbi_json_ensure_object(vmbi_json_ensure_object(patch, "status"), "progress");
    if (progress == NULL || !vmbi_json_set_int(progress, done_key, done) ||
        !vmbi_json_set_int(progress, "totalItems", total >= done ? total : done)) {
        vmbi_json_free(patch);
        patch = NULL;
    }
    return patch;
}

bool vmbi_patch_only_if(vmbi_json *patch, const vmbi_json *object)
{
    vmbi_json *meta = vmbi_json_ensure_object(patch, "metadata");
    const char *rv = vmbi_json_path_str(object, "metadata.resourceVersion");
    return meta != NULL && vmbi_json_set_str(meta, "resourceVersion", rv != NULL ? rv : "");
}

bool vmbi_set_now(vmbi_json *object, const char *key)
{
    char now[VMBI_RFC3339_SIZE];
    vmbi_format_rfc3339(vmbi_unix_ns(), now);
    return vmbi_json_set_str(object, key, now);
}

void vmbi_control_log(vmb_control *c, int32_t level, const char *fmt, ...)
{
    char line[MESSAGE_SIZE];
    va_list args;
    if (c->ctx->log_fn == NULL) {
        return;
    }
    va_start(args, fmt);
    (void)vsnprintf(line, sizeof(line), fmt, args);
    va_end(args);
    vmbi_text_clean(line, false);
    c->ctx->log_fn(c->ctx->log_user, level, line);
}

/* ---- events ------------------------------------------------------------------------------- */

static const char *meta_text(const vmbi_json *object, const char *path)
{
    const char *s = vmbi_json_path_str(object, path);
    return s != NULL ? s : "";
}

static vmbi_json *event_document(vmb_control *c, const vmbi_json *object, bool warning,
                                 const char *reason, const char *message)
{
    static const char *const copied[] = {"name", "uid", "resourceVersion"};
    char path[64];
    char name[300];
    vmbi_json *e = vmbi_json_object();
    vmbi_json *meta = vmbi_json_ensure_object(e, "metadata");
    vmbi_json *about = vmbi_json_ensure_object(e, "involvedObject");
    vmbi_json *source = vmbi_json_ensure_object(e, "source");
    bool ok = meta != NULL && about != NULL && source != NULL;
    (void)snprintf(name, sizeof(name), "%.200s.%llx", meta_text(object, "metadata.name"),
                   (unsigned long long)vmbi_unix_ns());
    ok = ok && vmbi_json_set_str(meta, "name", name);
    ok = ok && vmbi_json_set_str(meta, "namespace", c->ctx->settings.ns);
    ok = ok && vmbi_json_set_str(about, "namespace", c->ctx->settings.ns);
    ok = ok && vmbi_json_set_str(about, "kind", meta_text(object, "kind"));
    ok = ok && vmbi_json_set_str(about, "apiVersion", meta_text(object, "apiVersion"));
    for (size_t i = 0; i < VMBI_ARRAY_LEN(copied) && ok; i++) {
        (void)snprintf(path, sizeof(path), "metadata.%s", copied[i]);
        ok = vmbi_json_set_str(about, copied[i], meta_text(object, path));
    }
    ok = ok && vmbi_json_set_str(source, "component", "vmbackup-operator");
    ok = ok && vmbi_json_set_str(e, "type", warning ? "Warning" : "Normal");
    ok = ok && vmbi_json_set_str(e, "reason", reason) && vmbi_json_set_str(e, "message", message);
    ok = ok && vmbi_set_now(e, "firstTimestamp") && vmbi_set_now(e, "lastTimestamp");
    ok = ok && vmbi_json_set_int(e, "count", 1);
    if (!ok) {
        vmbi_json_free(e);
        e = NULL;
    }
    return e;
}

void vmbi_control_event(vmb_control *c, const vmbi_json *object, bool warning, const char *reason,
                        const char *fmt, ...)
{
    char message[MESSAGE_SIZE];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(message, sizeof(message), fmt, args);
    va_end(args);
    vmbi_text_clean(message, false);
    vmbi_control_log(c, warning ? VMB_LOG_WARNING : VMB_LOG_INFO, "%s %s: %s: %s",
                     meta_text(object, "kind"), meta_text(object, "metadata.name"), reason,
                     message);
    (void)vmbi_object_create(c, "", "v1", "events",
                             event_document(c, object, warning, reason, message), NULL, NULL);
}
