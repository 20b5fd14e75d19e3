/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/watch.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/strs.h"
#include "codec/jscan.h"
#include "kube/fetch.h"
#include "kube/status.h"

enum {
    URL_MAX_BYTES = 8192,
    HEADERS_MAX = 4,
    LIST_PAGE = 100, /* small pages: a watcher is to stay small */
    TYPE_SIZE = 16,
    /* The server ends a watch after this long, so that a dead connection is noticed soon; it sends
     * a bookmark just before. */
    WATCH_SECONDS = 60,
    WATCH_JITTER = 20,
    LOST_MAX = 3 /* times in a row without any event */
};

#define DEAD_AFTER_NS (15 * VMBI_SECOND) /* beyond the time after which the server ends it */
#define PAUSE_NS (VMBI_SECOND / 2)       /* between attempts that brought nothing */

/* ---- the stream --------------------------------------------------------------------------- */

void vmbi_kube_lines_init(vmbi_kube_lines *l, const char *what, vmbi_kube_event_fn fn, void *user)
{
    *l = (vmbi_kube_lines){.what = what, .fn = fn, .user = user};
    vmbi_buf_init(&l->line, VMBI_KUBE_EVENT_MAX_BYTES);
}

void vmbi_kube_lines_done(vmbi_kube_lines *l)
{
    vmbi_buf_free(&l->line);
}

static bool read_position(vmbi_slice object, char out[VMBI_KUBE_RV_SIZE])
{
    vmbi_slice metadata;
    vmbi_slice raw;
    char position[VMBI_KUBE_RV_SIZE];
    if (!vmbi_jscan_find(object.p, object.len, "metadata", &metadata) ||
        !vmbi_jscan_find(metadata.p, metadata.len, "resourceVersion", &raw) ||
        !vmbi_jscan_string(raw, position, sizeof(position)) || position[0] == '\0') {
        return false;
    }
    memcpy(out, position, sizeof(position));
    return true;
}

/* An event of type ERROR holds a Status. */
static vmb_code fail_event(const vmbi_kube_lines *l, vmbi_slice status, vmb_error **err)
{
    vmbi_slice raw = {NULL, 0};
    uint64_t code = 500;
    if (vmbi_jscan_find(status.p, status.len, "code", &raw)) {
        (void)vmbi_parse_u64(raw.p, raw.len, &code);
    }
    vmbi_kube_answer answer = {
        .http_status = code >= 300 && code < 600 ? (int)code : 500,
        .content_type = "application/json",
        .body = status.p,
        .len = status.len,
    };
    return vmbi_kube_status_fail(&answer, l->what, err);
}

static vmb_code take_line(vmbi_kube_lines *l, const char *line, size_t len, vmb_error **err)
{
    vmbi_slice raw;
    vmbi_slice object;
    char type[TYPE_SIZE];
    while (len > 0 && vmbi_is_space(line[len - 1])) {
        len--;
    }
    if (len == 0) {
        return VMB_OK;
    }
    if (!vmbi_jscan_find(line, len, "type", &raw) || !vmbi_jscan_string(raw, type, sizeof(type)) ||
        !vmbi_jscan_find(line, len, "object", &object) || object.p[0] != '{') {
        return vmbi_fail(err, VMB_E_PROTOCOL, "%s: the server sent something that is no event",
                         l->what);
    }
    if (strcmp(type, "ERROR") == 0) {
        return fail_event(l, object, err);
    }
    vmb_code rc = l->fn(l->user, type, object.p, object.len, err);
    if (rc == VMB_OK) {
        l->events++;
        (void)read_position(object, l->position); /* an event without one moves nothing */
    }
    return rc;
}

vmb_code vmbi_kube_lines_feed(vmbi_kube_lines *l, const char *data, size_t len, vmb_error **err)
{
    while (len > 0) {
        const char *end = memchr(data, '\n', len);
        size_t n = end != NULL ? (size_t)(end - data) : len;
        vmb_code rc = VMB_OK;
        if (end != NULL && l->line.len == 0) {
            rc = take_line(l, data, n, err);
        } else {
            vmbi_buf_add(&l->line, data, n);
            rc = vmbi_buf_check(&l->line, err, "an event of a watch");
            if (rc == VMB_OK && end != NULL) {
                rc = take_line(l, l->line.data, l->line.len, err);
                vmbi_buf_free(&l->line); /* a large object must not stay */
            }
        }
        if (rc != VMB_OK) {
            return rc;
        }
        n += end != NULL ? 1 : 0;
        data += n;
        len -= n;
    }
    return VMB_OK;
}

/* ---- one request -------------------------------------------------------------------------- */

typedef struct watcher {
    vmbi_kube *k;
    const vmbi_kube_watch *watch;
    const vmbi_limits *limits;
    vmbi_kube_session session;
    vmbi_kube_lines lines;
    char what[VMBI_KUBE_WHAT_SIZE];
} watcher;

static vmb_code add_header(void *user, const char *name, const char *value, vmb_error **err)
{
    return vmbi_http_headers_add(user, name, value, err);
}

static vmb_code sign(void *user, int try_number, vmbi_http_headers *headers, vmb_error **err)
{
    watcher *w = user;
    (void)try_number;
    return vmbi_kube_login_headers(w->k, &w->session.login, add_header, headers, err);
}

static vmb_code on_body(void *user, const void *data, size_t len, vmb_error **err)
{
    watcher *w = user;
    return vmbi_kube_lines_feed(&w->lines, data, len, err);
}

static vmb_code build_url(const watcher *w, int seconds, vmbi_buf *url, vmb_error **err)
{
    char text[24];
    vmbi_buf_adds(url, vmbi_kube_server(w->k));
    vmb_code rc = vmbi_kube_path_add(url, w->watch->path, err);
    if (rc != VMB_OK) {
        return rc;
    }
    (void)snprintf(text, sizeof(text), "%d", seconds);
    vmbi_kube_query_add(url, "watch", "true");
    vmbi_kube_query_add(url, "allowWatchBookmarks", "true");
    vmbi_kube_query_add(url, "timeoutSeconds", text);
    vmbi_kube_query_add(url, "resourceVersion", w->lines.position);
    return vmbi_buf_check(url, err, "request path");
}

/* *http_status tells how the request was answered, 0 when it was not. */
static vmb_code follow_once(watcher *w, int *http_status, vmb_error **err)
{
    vmbi_buf url = VMBI_BUF_INIT(URL_MAX_BYTES);
    vmbi_http_response response;
    const vmbi_http_header headers[] = {{"Accept", "application/json"}};
    int seconds = WATCH_SECONDS + (int)(vmbi_mono_ns() / VMBI_MS % WATCH_JITTER);
    vmbi_http_response_init(&response, 1 << 16);
    vmb_code rc = build_url(w, seconds, &url, err);
    if (rc == VMB_OK) {
        rc = vmbi_kube_session_open(w->k, w->limits, &w->session, err);
    }
    if (rc == VMB_OK) {
        vmbi_http_request request = {
            .method = "GET",
            .url = url.data,
            .headers = headers,
            .n_headers = VMBI_ARRAY_LEN(headers),
            .sign = sign,
            .on_body = on_body,
            .user = w,
            .idle_timeout_ns = seconds * VMBI_SECOND + DEAD_AFTER_NS,
        };
        rc = vmbi_http_perform(w->session.http, &request, w->limits, &response, err);
        *http_status = response.status;
    }
    if (rc == VMB_OK && response.status / 100 != 2) {
        vmbi_kube_answer answer = {
            .http_status = response.status,
            .content_type = "application/json",
            .body = response.body.data != NULL ? response.body.data : "",
            .len = response.body.len,
        };
        rc = vmbi_kube_status_fail(&answer, w->what, err);
    }
    vmbi_http_response_free(&response);
    vmbi_buf_free(&url);
    return rc;
}

/* ---- the beginning: a list ---------------------------------------------------------------- */

static vmb_code push_added(void *user, const char *json, size_t len, vmb_error **err)
{
    watcher *w = user;
    vmb_code rc = vmbi_limits_check(w->limits, err, w->what);
    return rc != VMB_OK ? rc : w->lines.fn(w->lines.user, "ADDED", json, len, err);
}

static vmb_code push_synced(watcher *w, vmb_error **err)
{
    vmbi_buf doc = VMBI_BUF_INIT(256);
    vmbi_buf_adds(&doc, "{\"metadata\":{\"resourceVersion\":");
    vmbi_buf_add_json_string(&doc, w->lines.position, strlen(w->lines.position));
    vmbi_buf_adds(&doc, "}}");
    vmb_code rc = vmbi_buf_check(&doc, err, w->what);
    if (rc == VMB_OK) {
        rc = w->lines.fn(w->lines.user, "SYNCED", doc.data, doc.len, err);
    }
    vmbi_buf_free(&doc);
    return rc;
}

/* The position of the first page counts: whatever changed while the other pages came is then told
 * once more, and nothing is missed. */
static vmb_code list_all(watcher *w, vmb_error **err)
{
    vmbi_kube_list list = {.path = w->watch->path, .page_size = LIST_PAGE};
    vmbi_kube_fetch fetch;
    vmbi_kube_sheet sheet;
    char *token = NULL;
    vmbi_kube_fetch_init(&fetch, w->k, &list);
    vmbi_kube_sheet_init(&sheet);
    vmb_code rc = VMB_OK;
    bool first = true;
    do {
        rc = vmbi_kube_fetch_page(&fetch, token, w->limits, &sheet, err);
        vmbi_slice page = {sheet.response.body.data, sheet.response.body.len};
        if (rc == VMB_OK && first && !read_position(page, w->lines.position)) {
            rc = vmbi_fail(err, VMB_E_PROTOCOL, "%s: the list has no resourceVersion", w->what);
        }
        if (rc == VMB_OK) {
            rc = vmbi_kube_page_each(&sheet.page, w->what, push_added, w, err);
        }
        first = false;
        token = sheet.page.continue_token; /* fetch_page copies it before it drops the page */
    } while (rc == VMB_OK && token != NULL);
    vmbi_kube_sheet_done(&sheet);
    return rc == VMB_OK ? push_synced(w, err) : rc;
}

/* ---- the whole ---------------------------------------------------------------------------- */

/* Is this the end of one connection rather than of the watch? */
static bool is_interruption(vmb_code rc)
{
    return rc == VMB_OK || rc == VMB_E_NET || rc == VMB_E_TIMEOUT || rc == VMB_E_SERVER;
}

static vmb_code follow(watcher *w, vmb_error **err)
{
    vmb_error *e = NULL;
    vmb_code rc = VMB_OK;
    bool renewed = false;
    for (int lost = 0;;) {
        uint64_t before = w->lines.events;
        int http_status = 0;
        vmb_error_free(e);
        e = NULL;
        vmbi_buf_reset(&w->lines.line);
        rc = follow_once(w, &http_status, &e);
        bool again = http_status == 401 && !renewed && vmbi_kube_session_refused(w->k, &w->session);
        vmbi_kube_session_close(w->k, &w->session);
        renewed = again;
        if (vmbi_limits_check(w->limits, NULL, w->what) != VMB_OK) {
            vmb_error_free(e);
            return vmbi_limits_check(w->limits, err, w->what);
        }
        lost = w->lines.events != before || rc == VMB_OK ? 0 : lost + 1;
        if (!again && (!is_interruption(rc) || lost >= LOST_MAX)) {
            break;
        }
        if (w->lines.events == before) {
            (void)vmbi_limits_sleep(w->limits, PAUSE_NS, NULL, w->what); /* checked next turn */
        }
    }
    vmbi_error_move(err, &e);
    return rc;
}

vmb_code vmbi_kube_watch_each(vmbi_kube *k, const vmbi_kube_watch *watch,
                              const vmbi_limits *limits, vmbi_kube_event_fn fn, void *user,
                              vmb_error **err)
{
    watcher w = {.k = k, .watch = watch, .limits = limits};
    const char *from = watch->resource_version;
    vmb_code rc = VMB_OK;
    vmbi_kube_path_describe("watch", watch->path, w.what);
    vmbi_kube_lines_init(&w.lines, w.what, fn, user);
    if (from == NULL || from[0] == '\0') {
        rc = list_all(&w, err);
    } else if (strlen(from) >= sizeof(w.lines.position)) {
        rc = vmbi_fail(err, VMB_E_ARG, "%s: the resource version is too long", w.what);
    } else {
        memcpy(w.lines.position, from, strlen(from) + 1);
    }
    if (rc == VMB_OK) {
        rc = follow(&w, err);
    }
    vmbi_kube_lines_done(&w.lines);
    return rc;
}
