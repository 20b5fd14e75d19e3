/* SPDX-License-Identifier: Apache-2.0 */
#include "core/runlog.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/strs.h"

enum { MAX_MESSAGE = 8192 };

static vmb_code to_packed(void *user, const void *data, size_t len, vmb_error **err)
{
    vmbi_buf *b = user;
    vmbi_buf_add(b, data, len);
    return vmbi_buf_check(b, err, "backup log");
}

vmb_code vmbi_runlog_init(vmbi_runlog *log, int32_t level, const char *ns, const char *backup,
                          vmbi_events *events, vmb_error **err)
{
    return vmbi_runlog_init_kind(log, level, "backup", ns, backup, events, err);
}

vmb_code vmbi_runlog_init_kind(vmbi_runlog *log, int32_t level, const char *kind, const char *ns,
                               const char *name, vmbi_events *events, vmb_error **err)
{
    *log = (vmbi_runlog){.level = level, .kind = kind, .events = events, .status = VMB_OK};
    vmbi_buf_init(&log->packed, VMBI_LOG_MAX_BYTES + 1024 * 1024);
    vmbi_buf_init(&log->line, 64 * 1024);
    vmbi_buf subject = VMBI_BUF_INIT(1024);
    vmbi_buf_addf(&subject, "%s/%s", ns, name);
    vmb_code rc = vmbi_buf_take(&subject, &log->subject, NULL, err, "name of a run");
    vmbi_buf_free(&subject);
    if (rc == VMB_OK) {
        rc = vmbi_gzip_new(to_packed, &log->packed, &log->gzip, err);
    }
    if (rc == VMB_OK) {
        log->results = vmbi_json_object();
        bool ok = log->results != NULL;
        ok = ok && vmbi_json_set(log->results, "errors", vmbi_json_object());
        ok = ok && vmbi_json_set(log->results, "warnings", vmbi_json_object());
        rc = ok ? VMB_OK : vmbi_fail_nomem(err);
    }
    if (rc != VMB_OK) {
        vmbi_runlog_done(log);
    }
    return rc;
}

void vmbi_runlog_done(vmbi_runlog *log)
{
    vmbi_gzip_free(log->gzip);
    vmbi_buf_free(&log->packed);
    vmbi_buf_free(&log->line);
    vmbi_json_free(log->results);
    vmbi_free(log->subject);
    log->gzip = NULL;
    log->results = NULL;
    log->subject = NULL;
}

/* logrus' text format: a value is quoted when it has a byte outside this set. */
static bool bare(const char *s)
{
    for (; *s != '\0'; s++) {
        if (!vmbi_is_alnum(*s) && strchr("-._/@^+", *s) == NULL) {
            return false;
        }
    }
    return true;
}

static void add_value(vmbi_buf *b, const char *s)
{
    if (bare(s)) {
        vmbi_buf_adds(b, s);
        return;
    }
    vmbi_buf_addc(b, '"');
    for (; *s != '\0'; s++) {
        unsigned char c = (unsigned char)*s;
        if (c == '"' || c == '\\') {
            vmbi_buf_addc(b, '\\');
            vmbi_buf_addc(b, (char)c);
        } else if (c == '\n') {
            vmbi_buf_adds(b, "\\n");
        } else if (c == '\t') {
            vmbi_buf_adds(b, "\\t");
        } else if (c < 0x20 || c == 0x7f) {
            vmbi_buf_addf(b, "\\x%02x", c);
        } else {
            vmbi_buf_addc(b, (char)c);
        }
    }
    vmbi_buf_addc(b, '"');
}

static void add_field(vmbi_buf *b, const char *key, const char *value)
{
    if (value != NULL) {
        vmbi_buf_addc(b, ' ');
        vmbi_buf_adds(b, key);
        vmbi_buf_addc(b, '=');
        add_value(b, value);
    }
}

static void write_line(vmbi_runlog *log, int32_t level, const vmbi_log_fields *f, const char *msg)
{
    static const char *const names[] = {"debug", "info", "warning", "error"};
    if (log->packed.len > VMBI_LOG_MAX_BYTES || log->gzip == NULL) {
        log->dropped_lines++;
        return;
    }
    char now[VMBI_RFC3339_SIZE];
    vmbi_format_rfc3339(vmbi_unix_ns(), now);
    vmbi_buf *b = &log->line;
    vmbi_buf_reset(b);
    vmbi_buf_addf(b, "time=\"%s\" level=%s msg=", now, names[level]);
    add_value(b, msg);
    add_field(b, log->kind, log->subject);
    add_field(b, "error", f->error);
    add_field(b, "name", f->name);
    add_field(b, "namespace", f->ns);
    add_field(b, "resource", f->resource);
    vmbi_buf_addc(b, '\n');
    if (b->status == VMB_OK && log->status == VMB_OK) {
        log->status = vmbi_gzip_write(log->gzip, b->data, b->len, NULL);
    } else {
        log->dropped_lines++;
    }
}

/* One string of Velero's results document: " resource: /r name: /n message: /m error: /e", or of a
 * restore's: "m: e". */
static void print_result(const vmbi_runlog *log, const vmbi_log_fields *f, const char *msg,
                         vmbi_buf *text)
{
    bool plain = strcmp(log->kind, "restore") == 0;
    if (plain) {
        vmbi_buf_adds(text, msg);
    } else {
        if (f->resource != NULL) {
            vmbi_buf_addf(text, " resource: /%s", f->resource);
        }
        if (f->name != NULL) {
            vmbi_buf_addf(text, " name: /%s", f->name);
        }
        vmbi_buf_addf(text, " message: /%s", msg);
    }
    if (f->error != NULL) {
        vmbi_buf_addf(text, plain ? ": %s" : " error: /%s", f->error);
    }
    if (text->data != NULL) {
        vmbi_text_clean(text->data, true); /* an error's or name's text may not be UTF-8 */
    }
}

static void keep_result(vmbi_runlog *log, bool is_error, const vmbi_log_fields *f,
                        const char *msg)
{
    if (log->kept >= VMBI_RESULTS_MAX) {
        return;
    }
    log->kept++;
    vmbi_buf text = VMBI_BUF_INIT(4 * MAX_MESSAGE);
    print_result(log, f, msg, &text);
    vmbi_json *part = vmbi_json_get(log->results, is_error ? "errors" : "warnings");
    const char *key = "velero";
    if (f->ns != NULL && !vmbi_utf8_valid(f->ns, strlen(f->ns))) {
        key = "velero"; /* no namespace is called that */
    } else if (f->ns != NULL && f->ns[0] != '\0') {
        part = vmbi_json_ensure_object(part, "namespaces");
        key = f->ns;
    } else if (f->ns != NULL) {
        key = "cluster";
    }
    if (part != NULL && vmbi_json_get(part, key) == NULL &&
        !vmbi_json_set(part, key, vmbi_json_array())) {
        part = NULL;
    }
    if (part == NULL || text.status != VMB_OK ||
        !vmbi_json_append(vmbi_json_get(part, key), vmbi_json_stringn(text.data, text.len))) {
        log->status = log->status != VMB_OK ? log->status : VMB_E_NOMEM;
    }
    vmbi_buf_free(&text);
}

/* For people: the entry on one line. */
static void tell(vmbi_runlog *log, int32_t level, const vmbi_log_fields *f, const char *msg)
{
    vmbi_buf text = VMBI_BUF_INIT(4 * MAX_MESSAGE);
    if (f->resource != NULL) {
        vmbi_buf_addf(&text, "%s %s%s%s: ", f->resource, f->ns != NULL ? f->ns : "",
                      f->ns != NULL && f->ns[0] != '\0' ? "/" : "",
                      f->name != NULL ? f->name : "");
    }
    vmbi_buf_adds(&text, msg);
    if (f->error != NULL) {
        vmbi_buf_addf(&text, ": %s", f->error);
    }
    if (text.status == VMB_OK) {
        if (log->fn != NULL && level >= log->level) {
            log->fn(log->fn_user, level, text.data);
        }
        if (log->events != NULL && level >= VMB_LOG_WARNING) {
            vmbi_events_emit(log->events, VMB_EVENT_LOG, level, "", text.data, 0, -1);
        }
    }
    vmbi_buf_free(&text);
}

static void add(vmbi_runlog *log, int32_t level, const vmbi_log_fields *f, const char *msg)
{
    if (level >= log->level) {
        write_line(log, level, f, msg);
    }
    if (level >= VMB_LOG_WARNING) {
        *(level == VMB_LOG_ERROR ? &log->errors : &log->warnings) += 1;
        keep_result(log, level == VMB_LOG_ERROR, f, msg);
    }
    if (level >= VMB_LOG_WARNING || log->fn != NULL) {
        tell(log, level, f, msg);
    }
}

void vmbi_runlog_add(vmbi_runlog *log, int32_t level, const vmbi_log_fields *fields,
                     const char *fmt, ...)
{
    if (level < log->level && level < VMB_LOG_WARNING) {
        return;
    }
    char msg[MAX_MESSAGE];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(msg, sizeof(msg), fmt, ap); /* cut when too long */
    va_end(ap);
    vmbi_text_clean(msg, true); /* a command's output or a provider's text may be anything */
    add(log, level, fields != NULL ? fields : &(vmbi_log_fields){0}, msg);
}

void vmbi_runlog_error(vmbi_runlog *log, const char *resource, const char *ns, const char *name,
                       const vmb_error *why, const char *fmt, ...)
{
    char msg[MAX_MESSAGE];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(msg, sizeof(msg), fmt, ap);
    va_end(ap);
    vmbi_text_clean(msg, true);
    vmbi_log_fields f = {resource, ns, name, why != NULL ? vmb_error_message(why) : NULL};
    add(log, VMB_LOG_ERROR, &f, msg);
}

void vmbi_runlog_job(void *log, int32_t level, const char *msg)
{
    vmbi_runlog_add(log, level, NULL, "%s", msg);
}

vmb_code vmbi_runlog_finish(vmbi_runlog *log, vmb_error **err)
{
    if (log->dropped_lines > 0) {
        vmbi_buf_reset(&log->line);
        vmbi_buf_addf(&log->line, "# %lld lines were left out: the log reached its limit\n",
                      (long long)log->dropped_lines);
        (void)vmbi_gzip_write(log->gzip, log->line.data, log->line.len, NULL);
    }
    vmb_code rc = vmbi_gzip_finish(log->gzip, err);
    vmbi_gzip_free(log->gzip);
    log->gzip = NULL;
    if (rc == VMB_OK && log->status != VMB_OK) {
        rc = vmbi_fail(err, log->status, "backup log: %s", vmb_code_name(log->status));
    }
    return rc;
}
