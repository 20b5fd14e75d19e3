/* SPDX-License-Identifier: Apache-2.0 */
/* Reading, from a byte to a byte; a broken connection is taken up again where it broke. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/strs.h"
#include "providers/store_s3/object.h"

/* Pause before a broken download is taken up again. Tries that bring no byte are net's to repeat;
 * each resumption here follows some progress. */
#define RESUME_PAUSE_NS (100 * VMBI_MS)

struct get {
    vmbi_s3 *s;
    const char *what;
    vmb_sink *sink;
    int64_t at;    /* offset of the next byte */
    int64_t end;   /* offset behind the last byte wanted; -1: to the end of the object */
    bool ranged;   /* this try asks for a range */
    bool checked;  /* this try's headers were looked at */
    bool progress; /* this try brought bytes */
    vmb_code sink_code;
    char etag[VMBI_S3_ETAG_MAX]; /* of the first answer; "" when it told none */
};

/* "bytes 5-9/100": first offset and total size (-1 for '*'). */
static bool parse_content_range(const char *text, int64_t *first, int64_t *total)
{
    const char *dash = strchr(text, '-');
    const char *slash = strchr(text, '/');

    if (!vmbi_starts_with(text, "bytes ") || !slash) {
        return false;
    }
    text += 6;
    if (text[0] == '*') {
        *first = -1;
    } else if (!dash || dash > slash || !vmbi_parse_i64(text, (size_t)(dash - text), first)) {
        return false;
    }
    if (strcmp(slash + 1, "*") == 0) {
        *total = -1;
        return true;
    }
    return vmbi_parse_i64(slash + 1, strlen(slash + 1), total);
}

/* Is this the part of the object that was asked for, and still the same object? */
static vmb_code check_headers(struct get *g, const vmbi_http_response *r, vmb_error **err)
{
    char etag[VMBI_S3_ETAG_MAX];
    char range[128];
    int64_t first = 0;
    int64_t total = -1;

    if (g->ranged) {
        if (r->status != 206 || !vmbi_http_header_find(r, "Content-Range", range, sizeof(range)) ||
            !parse_content_range(range, &first, &total) || first != g->at) {
            return vmbi_fail(err, VMB_E_PROTOCOL, "%s: the store does not serve ranges", g->what);
        }
    } else {
        total = r->content_length;
    }
    if (total >= 0 && (g->end < 0 || g->end > total)) {
        g->end = total;
    }
    if (vmbi_s3_etag(r, etag)) {
        if (g->etag[0] != '\0' && strcmp(g->etag, etag) != 0) {
            return vmbi_fail(err, VMB_E_CONFLICT, "%s: it changed while it was read", g->what);
        }
        memcpy(g->etag, etag, sizeof(etag));
    }
    return VMB_OK;
}

static vmb_code on_body(void *user, const vmbi_http_response *r, const void *data, size_t len,
                        vmb_error **err)
{
    struct get *g = user;
    vmb_code code = VMB_OK;

    if (!g->checked) {
        code = check_headers(g, r, err);
        g->checked = true;
    }
    if (code == VMB_OK && g->end >= 0 && (int64_t)len > g->end - g->at) {
        code = vmbi_fail(err, VMB_E_PROTOCOL, "%s: more bytes than asked for", g->what);
    }
    if (code == VMB_OK) {
        code = vmb_sink_write(g->sink, data, len, err);
        g->at += (int64_t)len;
        g->progress = true;
    }
    g->sink_code = code; /* ours or the sink's: not a broken connection */
    return code;
}

static vmb_code one_request(struct get *g, const char *key, const vmbi_limits *limits,
                            vmbi_http_response *r, vmb_error **err)
{
    char range[64];
    char if_match[VMBI_S3_ETAG_MAX + 2];
    vmbi_http_header headers[2];
    vmbi_s3_request q = {.what = g->what,
                         .method = "GET",
                         .key = key,
                         .headers = headers,
                         .customer_key = true,
                         .on_body = on_body,
                         .user = g};

    g->ranged = g->at > 0 || g->end >= 0;
    g->checked = false;
    g->progress = false;
    if (g->ranged && g->end >= 0) {
        (void)snprintf(range, sizeof(range), "bytes=%lld-%lld", (long long)g->at,
                       (long long)g->end - 1);
    } else if (g->ranged) {
        (void)snprintf(range, sizeof(range), "bytes=%lld-", (long long)g->at);
    }
    if (g->ranged) {
        headers[q.n_headers++] = (vmbi_http_header){"range", range};
    }
    if (g->etag[0] != '\0' && !strchr(g->etag, '"')) { /* not a weak one, which never matches */
        (void)snprintf(if_match, sizeof(if_match), "\"%s\"", g->etag);
        headers[q.n_headers++] = (vmbi_http_header){"if-match", if_match};
    }
    return vmbi_s3_perform(g->s, &q, limits, r, err);
}

/* A server may give less of a range than was asked for. */
static vmb_code check_whole(const struct get *g, vmb_error **err)
{
    return g->end < 0 || g->at >= g->end
               ? VMB_OK
               : vmbi_fail_retryable(err, VMB_E_NET, "%s: the answer ended %lld bytes early",
                                     g->what, (long long)(g->end - g->at));
}

/* 416: the range starts at or behind the end. Reading nothing from the very end is fine. */
static vmb_code judge_416(struct get *g, const char *key, bool to_end, const vmbi_limits *limits,
                          vmb_error **err)
{
    vmbi_s3_info info;
    vmb_code code = VMB_OK;

    if (to_end) {
        code = vmbi_s3_stat(g->s, key, limits, &info, err);
        if (code == VMB_OK && info.size_bytes == g->at) {
            return VMB_OK;
        }
    }
    return code != VMB_OK ? code : vmbi_fail(err, VMB_E_ARG, "%s: starts past the end", g->what);
}

static bool is_broken(const struct get *g, vmb_code code, const vmb_error *e)
{
    return g->sink_code == VMB_OK && vmbi_error_is_retryable(e) &&
           (code == VMB_E_NET || code == VMB_E_TIMEOUT);
}

static vmb_code read_all(struct get *g, const char *key, bool to_end, const vmbi_limits *limits,
                         vmb_error **err)
{
    for (;;) {
        vmbi_http_response r;
        vmb_error *e = NULL;
        vmb_code code = one_request(g, key, limits, &r, &e);
        const int status = r.status;
        bool again = false;

        if (code == VMB_OK && status == 416) {
            code = judge_416(g, key, to_end, limits, &e);
        } else if (code == VMB_OK && status == 412 && g->etag[0] != '\0') {
            code = vmbi_fail(&e, VMB_E_CONFLICT, "%s: it changed while it was read", g->what);
        } else if (code == VMB_OK && status / 100 != 2) {
            code = vmbi_s3_fail(g->s, g->what, &r, &e);
        } else if (code == VMB_OK && !g->checked) {
            code = check_headers(g, &r, &e); /* an empty body: the callback never ran */
        }
        if (code == VMB_OK && status / 100 == 2) {
            code = check_whole(g, &e);
        }
        vmbi_http_response_free(&r);
        again = code != VMB_OK && g->progress && is_broken(g, code, e);
        if (again && g->at == g->end) {
            again = false; /* all there; only the goodbye was lost */
            code = VMB_OK;
            vmb_error_free(vmbi_steal(&e));
        }
        if (!again) {
            vmbi_error_move(err, &e);
            return code;
        }
        vmb_error_free(e);
        code = vmbi_limits_sleep(limits, RESUME_PAUSE_NS, err, g->what);
        if (code != VMB_OK) {
            return code;
        }
    }
}

vmb_code vmbi_s3_get(vmbi_s3 *s, const vmb_job *job, const char *key, int64_t offset,
                     int64_t length, vmb_sink *out, vmb_error **err)
{
    vmbi_buf what = VMBI_BUF_INIT(2048);
    struct get g = {.s = s, .sink = out, .at = offset, .end = -1};
    const vmbi_limits *limits = vmbi_s3_limits(job);
    vmbi_s3_info info;
    vmb_code code = VMB_OK;

    if (offset < 0 || length < -1) {
        return vmbi_fail(err, VMB_E_ARG, "read object \"%s\": negative range", key);
    }
    code = vmbi_s3_what("read", key, &what, err);
    g.what = what.data;
    if (code == VMB_OK && length == 0) {
        code = vmbi_s3_stat(s, key, limits, &info, err); /* only whether it is there */
    } else if (code == VMB_OK) {
        if (length > 0 && length <= INT64_MAX - offset) {
            g.end = offset + length;
        }
        code = read_all(&g, key, length == -1, limits, err);
    }
    vmbi_buf_free(&what);
    return code;
}
