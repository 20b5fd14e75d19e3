/* SPDX-License-Identifier: Apache-2.0 */
#include "core/restore/restore.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"

enum { MAX_TEXT = 8192, MAX_LIST_BYTES = 512 * 1024 * 1024 };

const vmbi_restored vmbi_restored_working = {NULL, false};
const vmbi_restored vmbi_restored_created = {"created", true};
const vmbi_restored vmbi_restored_updated = {"updated", true};
const vmbi_restored vmbi_restored_skipped = {"skipped", false};
const vmbi_restored vmbi_restored_present = {"skipped", true};
const vmbi_restored vmbi_restored_failed = {"failed", false};
const vmbi_restored vmbi_restored_clash = {"failed", true};

static void VMBI_PRINTF(5, 0) add(vmbi_restore *r, int32_t level, const char *ns,
                                  const vmb_error *why, const char *fmt, va_list args)
{
    char text[MAX_TEXT];
    (void)vsnprintf(text, sizeof(text), fmt, args); /* cut when too long */
    vmbi_log_fields f = {NULL, ns, NULL, why != NULL ? vmb_error_message(why) : NULL};
    (void)pthread_mutex_lock(&r->lock);
    vmbi_runlog_add(&r->log, level, &f, "%s", text);
    (void)pthread_mutex_unlock(&r->lock);
}

void vmbi_restore_warn(vmbi_restore *r, const char *ns, const vmb_error *why, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    add(r, VMB_LOG_WARNING, ns, why, fmt, args);
    va_end(args);
}

void vmbi_restore_error(vmbi_restore *r, const char *ns, const vmb_error *why, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    add(r, VMB_LOG_ERROR, ns, why, fmt, args);
    va_end(args);
}

void vmbi_restore_info(vmbi_restore *r, const vmbi_ritem *item, const char *fmt, ...)
{
    if (r->log.level > VMB_LOG_INFO) {
        return;
    }
    char text[MAX_TEXT];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    vmbi_log_fields f = {NULL, NULL, NULL, NULL};
    if (item != NULL) {
        f = (vmbi_log_fields){item->group_resource, item->target, item->name, NULL};
    }
    (void)pthread_mutex_lock(&r->lock);
    vmbi_runlog_add(&r->log, VMB_LOG_INFO, &f, "%s", text);
    (void)pthread_mutex_unlock(&r->lock);
}

void vmbi_restore_id(const vmbi_ritem *item, char *out, size_t size)
{
    (void)snprintf(out, size, "%s/%s%s%s", item->group_resource, item->target,
                   item->target[0] != '\0' ? "/" : "", item->name);
}

/* ---- telling ------------------------------------------------------------------------------- */

enum { LOG_LINE = 1000 }; /* a kind of event that never leaves the relay */

void vmbi_restore_log_line(void *user, int32_t level, const char *msg)
{
    vmbi_restore *r = user;
    vmbi_events_emit(&r->relay, LOG_LINE, level, "", msg, 0, -1);
}

void vmbi_restore_relay(vmbi_restore *r)
{
    struct vmb_event *e;
    while ((e = vmbi_events_next(&r->relay)) != NULL) {
        if (e->kind == LOG_LINE) {
            r->ctx->log_fn(r->ctx->log_user, e->level, e->text);
        } else {
            vmbi_events_emit(r->receiver, e->kind, e->level, e->subject, e->text, e->done,
                             e->total);
        }
        vmbi_event_free(e);
    }
}

/* ---- the end of it ------------------------------------------------------------------------- */

void vmbi_restore_break(vmbi_restore *r, vmb_code rc, vmb_error **why)
{
    (void)pthread_mutex_lock(&r->lock);
    if (r->broken == VMB_OK) {
        r->broken = rc;
        if (why != NULL) {
            vmbi_error_move(&r->why, why);
        }
    }
    (void)pthread_cond_broadcast(&r->changed);
    (void)pthread_mutex_unlock(&r->lock);
    if (why != NULL) {
        vmb_error_free(vmbi_steal(why));
    }
}

bool vmbi_restore_is_broken(vmbi_restore *r)
{
    (void)pthread_mutex_lock(&r->lock);
    bool broken = r->broken != VMB_OK;
    (void)pthread_mutex_unlock(&r->lock);
    return broken;
}

bool vmbi_restore_is_over(vmbi_restore *r, vmb_code rc, vmb_error **why)
{
    if (rc == VMB_E_NOMEM || rc == VMB_E_CANCELLED || vmbi_cancel_is_set(r->job.limits.cancel)) {
        vmbi_restore_break(r, rc, why);
        return true;
    }
    return false;
}

/* ---- objects ------------------------------------------------------------------------------- */

bool vmbi_restore_claim(vmbi_restore *r, const char *key, bool wait, const vmbi_restored **other)
{
    (void)pthread_mutex_lock(&r->lock);
    const vmbi_restored *found = vmbi_map_get(&r->items, key);
    bool mine = found == NULL;
    if (mine) {
        vmb_code rc = vmbi_map_set(&r->items, key, (void *)(uintptr_t)&vmbi_restored_working, NULL);
        if (rc != VMB_OK) {
            r->broken = r->broken != VMB_OK ? r->broken : rc;
            mine = false;
            found = &vmbi_restored_failed;
        }
    }
    while (!mine && wait && found->action == NULL && r->broken == VMB_OK) {
        (void)pthread_cond_wait(&r->changed, &r->lock);
        found = vmbi_map_get(&r->items, key);
    }
    (void)pthread_mutex_unlock(&r->lock);
    *other = found;
    return mine;
}

void vmbi_restore_settle(vmbi_restore *r, const char *key, const vmbi_restored *what)
{
    (void)pthread_mutex_lock(&r->lock);
    /* the key is there (unless it is a namespace): nothing is allocated for it */
    vmb_code rc = vmbi_map_set(&r->items, key, (void *)(uintptr_t)what, NULL);
    r->broken = r->broken != VMB_OK ? r->broken : rc;
    r->done++;
    (void)pthread_cond_broadcast(&r->changed);
    int64_t done = r->done;
    int64_t total = r->total > done ? r->total : done;
    vmbi_events_progress(r->events, done, total, false);
    (void)pthread_mutex_unlock(&r->lock);
}

/* ---- the list of what was restored --------------------------------------------------------- */

typedef struct line {
    const char *type; /* "v1/Pod", not terminated */
    size_t type_len;
    char *text; /* "ns/name(created)", owned */
} line;

static int compare_lines(const void *a, const void *b)
{
    const line *one = a;
    const line *two = b;
    size_t n = one->type_len < two->type_len ? one->type_len : two->type_len;
    int c = memcmp(one->type, two->type, n);
    if (c == 0 && one->type_len != two->type_len) {
        c = one->type_len < two->type_len ? -1 : 1;
    }
    return c != 0 ? c : strcmp(one->text, two->text);
}

static bool make_line(const char *key, const vmbi_restored *what, line *out)
{
    const char *bar = strchr(key, '|');
    const char *bar2 = bar != NULL ? strchr(bar + 1, '|') : NULL;
    if (bar == NULL || bar2 == NULL) {
        return false;
    }
    vmbi_buf text = VMBI_BUF_INIT(4096);
    size_t ns = (size_t)(bar2 - bar - 1);
    vmbi_buf_add(&text, bar + 1, ns);
    if (ns > 0) {
        vmbi_buf_addc(&text, '/');
    }
    vmbi_buf_addf(&text, "%s(%s)", bar2 + 1, what->action != NULL ? what->action : "failed");
    *out = (line){key, (size_t)(bar - key), NULL};
    vmb_code rc = vmbi_buf_take(&text, &out->text, NULL, NULL, "a name");
    vmbi_buf_free(&text);
    return rc == VMB_OK;
}

static void print_lines(const line *lines, size_t n, vmbi_buf *out)
{
    vmbi_buf_addc(out, '{');
    for (size_t i = 0; i < n; i++) {
        const line *l = &lines[i];
        bool same = i > 0 && l->type_len == lines[i - 1].type_len &&
                    memcmp(l->type, lines[i - 1].type, l->type_len) == 0;
        if (!same) {
            vmbi_buf_adds(out, i > 0 ? "]," : "");
            vmbi_buf_add_json_string(out, l->type, l->type_len);
            vmbi_buf_adds(out, ":[");
        } else {
            vmbi_buf_addc(out, ',');
        }
        vmbi_buf_add_json_string(out, l->text, strlen(l->text));
    }
    vmbi_buf_adds(out, n > 0 ? "]}" : "}");
}

vmb_code vmbi_restore_list(vmbi_restore *r, vmbi_buf *out, vmb_error **err)
{
    line *lines = vmbi_alloc_array(r->items.n, sizeof(*lines));
    size_t n = 0;
    bool ok = lines != NULL;
    for (size_t i = 0; i < r->items.n && ok; i++) {
        ok = make_line(r->items.entries[i].key, r->items.entries[i].value, &lines[n]);
        n += ok ? 1 : 0;
    }
    if (ok) {
        qsort(lines, n, sizeof(*lines), compare_lines);
        print_lines(lines, n, out);
    }
    for (size_t i = 0; i < n; i++) {
        vmb_free(lines[i].text);
    }
    vmbi_free(lines);
    return ok ? vmbi_buf_check(out, err, "list of restored objects") : vmbi_fail_nomem(err);
}
