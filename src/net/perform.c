/* SPDX-License-Identifier: Apache-2.0 */
/* One exchange, and the loop that repeats it. */
#include <string.h>
#include <sys/random.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/strs.h"
#include "net/conn.h"
#include "net/headers.h"

enum { DEFAULT_TRIES = 8, POLL_CAP_MS = 1000, ERROR_BODY_MAX = 64 * 1024 };
#define DEFAULT_IDLE_NS (60 * VMBI_SECOND)
#define DEFAULT_BASE_NS (150 * VMBI_MS)
#define DEFAULT_CAP_NS (20 * VMBI_SECOND)
/* A server may ask for patience, not for a day of it. */
#define RETRY_AFTER_MAX_NS (120 * VMBI_SECOND)

/* State of one perform call. */
struct call {
    vmbi_http *http;
    const vmbi_http_request *request;
    const vmbi_limits *limits;
    vmbi_http_response *response;
    vmbi_buf name;             /* for messages */
    vmbi_http_headers headers; /* of the current try */
    char *host_header;         /* owned, see vmbi_conn_set_url */
    int64_t idle_ns;           /* -1: none */
    /* The current try: */
    vmbi_conn *conn;
    size_t sent;            /* bytes of the body handed to curl */
    int64_t last_move_ns;   /* when a byte last moved */
    bool sink_used;         /* bytes were given to the body sink, in any try */
    vmb_code callback_code; /* failure born in a callback */
    vmb_error *callback_err;
};

static void stop(struct call *c, vmb_code code)
{
    if (c->callback_code == VMB_OK) {
        c->callback_code = code;
    }
}

static size_t on_header(char *data, size_t size, size_t n, void *user)
{
    struct call *c = user;

    c->last_move_ns = vmbi_mono_ns();
    vmbi_response_header_line(c->response, data, size * n);
    if (size * n <= 2 && (data[0] == '\r' || data[0] == '\n')) {
        vmbi_response_headers_end(c->response);
    }
    if (c->response->headers.status != VMB_OK) {
        stop(c, vmbi_buf_check(&c->response->headers, &c->callback_err, "response headers"));
        return 0;
    }
    return size * n;
}

static size_t on_body(char *data, size_t size, size_t n, void *user)
{
    struct call *c = user;
    const size_t len = size * n;
    vmbi_buf *body = &c->response->body;

    c->last_move_ns = vmbi_mono_ns();
    if (len == 0) {
        return 0;
    }
    /* curl hands over many pieces between two looks of ours at the limits, and sinks are slow. */
    stop(c, vmbi_limits_check(c->limits, &c->callback_err, c->name.data));
    if (c->callback_code != VMB_OK) {
        return 0;
    }
    if (c->request->on_body && c->response->status / 100 == 2) {
        c->sink_used = true;
        stop(c, c->request->on_body(c->request->user, data, len, &c->callback_err));
        c->last_move_ns = vmbi_mono_ns(); /* a slow sink is not an idle server */
    } else if (c->request->on_body || c->response->status / 100 != 2) {
        const size_t most = body->max < ERROR_BODY_MAX ? body->max : ERROR_BODY_MAX;
        const size_t room = body->len < most ? most - body->len : 0;

        vmbi_buf_add(body, data, len < room ? len : room);
        stop(c, vmbi_buf_check(body, &c->callback_err, c->name.data));
    } else {
        vmbi_buf_add(body, data, len);
        stop(c, vmbi_buf_check(body, &c->callback_err, c->name.data));
    }
    return c->callback_code == VMB_OK ? len : 0;
}

static size_t on_read(char *buf, size_t size, size_t n, void *user)
{
    struct call *c = user;
    const size_t left = c->request->body_len - c->sent;
    const size_t len = left < size * n ? left : size * n;

    c->last_move_ns = vmbi_mono_ns();
    if (len > 0) {
        memcpy(buf, (const char *)c->request->body + c->sent, len);
        c->sent += len;
    }
    return len;
}

/* curl rewinds when it finds a pooled connection dead after it began to send. What must not be sent
 * twice then fails: nobody knows whether the server has done it. */
static int on_seek(void *user, curl_off_t offset, int origin)
{
    struct call *c = user;

    if (origin != SEEK_SET || offset < 0 || (size_t)offset > c->request->body_len) {
        return CURL_SEEKFUNC_FAIL;
    }
    if (c->sent > 0 && offset == 0) {
        if (c->request->no_retry) {
            return CURL_SEEKFUNC_FAIL;
        }
        c->response->tries++; /* the server may have seen, and done, the first sending */
    }
    c->sent = (size_t)offset;
    return CURL_SEEKFUNC_OK;
}

static CURLcode set_method(struct call *c, CURL *easy)
{
    const vmbi_http_request *q = c->request;
    CURLcode rc = CURLE_OK;

    if (q->body) {
        rc |= curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
        rc |= curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)q->body_len);
        rc |= curl_easy_setopt(easy, CURLOPT_READFUNCTION, on_read);
        rc |= curl_easy_setopt(easy, CURLOPT_READDATA, c);
        rc |= curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, on_seek);
        rc |= curl_easy_setopt(easy, CURLOPT_SEEKDATA, c);
        rc |= curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, q->method);
    } else if (strcmp(q->method, "HEAD") == 0) {
        rc |= curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
    } else {
        rc |= curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
        rc |= curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, q->method);
    }
    rc |= curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    rc |= curl_easy_setopt(easy, CURLOPT_HEADERDATA, c);
    rc |= curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    rc |= curl_easy_setopt(easy, CURLOPT_WRITEDATA, c);
    return rc;
}

/* Headers of this try: the request's, the signer's, and silence for those of curl's own that
 * would be wrong. */
static vmb_code build_headers(struct call *c, int try_number, vmb_error **err)
{
    const vmbi_http_request *q = c->request;
    vmb_code code = VMB_OK;
    size_t i = 0;

    vmbi_headers_clear(&c->headers);
    for (i = 0; i < q->n_headers && code == VMB_OK; i++) {
        code = vmbi_http_headers_add(&c->headers, q->headers[i].name, q->headers[i].value, err);
    }
    if (code == VMB_OK && q->sign) {
        code = q->sign(q->user, try_number, &c->headers, err);
    }
    if (code == VMB_OK && q->body && !c->headers.has_expect) {
        code = q->expect_continue
                   ? vmbi_http_headers_add(&c->headers, "Expect", "100-continue", err)
                   : vmbi_headers_suppress(&c->headers, "Expect", err);
    }
    return code;
}

static vmb_code prepare(struct call *c, int try_number, vmb_error **err)
{
    CURL *easy = c->conn->easy;
    const char *url = NULL;
    CURLcode rc = CURLE_OK;
    vmb_code code = build_headers(c, try_number, err);

    if (code != VMB_OK) {
        return code;
    }
    url = c->headers.url ? c->headers.url : c->request->url;
    vmbi_free(c->host_header);
    c->host_header = NULL;
    code = vmbi_conn_set_url(c->http, c->conn, url, &c->host_header, err);
    if (code == VMB_OK && c->host_header) {
        code = vmbi_http_headers_add(&c->headers, "Host", c->host_header, err);
    }
    if (code != VMB_OK) {
        return code;
    }
    rc = set_method(c, easy);
    rc |= curl_easy_setopt(easy, CURLOPT_HTTPHEADER, c->headers.list);
    return rc == CURLE_OK ? VMB_OK : vmbi_fail_nomem(err);
}

static vmb_code check_idle(const struct call *c, vmb_error **err)
{
    const int64_t still = vmbi_mono_ns() - c->last_move_ns;

    if (c->idle_ns >= 0 && still >= c->idle_ns) {
        return vmbi_fail_retryable(err, VMB_E_TIMEOUT, "%s: no byte moved for %lld s", c->name.data,
                                   (long long)(still / VMBI_SECOND));
    }
    return VMB_OK;
}

/* Longest wait before something must be looked at. */
static int wait_ms(const struct call *c)
{
    int ms = vmbi_limits_poll_ms(c->limits, POLL_CAP_MS);

    if (c->idle_ns >= 0) {
        const int64_t left = (c->last_move_ns + c->idle_ns - vmbi_mono_ns()) / VMBI_MS + 1;

        ms = left < ms ? (left > 0 ? (int)left : 1) : ms;
    }
    return ms;
}

/* Drives the transfer to its end: a CURLcode in *result, or a failure of ours. */
static vmb_code drive(struct call *c, CURLcode *result, vmb_error **err)
{
    const int cancel_fd = c->limits ? vmbi_cancel_fd(c->limits->cancel) : -1;
    struct curl_waitfd extra = {.fd = cancel_fd, .events = CURL_WAIT_POLLIN};
    vmb_code code = VMB_OK;
    int running = 1;
    int left = 0;
    CURLMsg *msg = NULL;

    for (;;) {
        if (curl_multi_perform(c->conn->multi, &running) != CURLM_OK) {
            return vmbi_fail(err, VMB_E_NET, "%s: transfer engine failed", c->name.data);
        }
        if (c->callback_code != VMB_OK) {
            vmbi_error_move(err, &c->callback_err);
            return c->callback_code;
        }
        if (running == 0) {
            break;
        }
        code = vmbi_limits_check(c->limits, err, c->name.data);
        if (code == VMB_OK) {
            code = check_idle(c, err);
        }
        if (code != VMB_OK) {
            return code;
        }
        (void)curl_multi_poll(c->conn->multi, &extra, cancel_fd >= 0 ? 1 : 0, wait_ms(c), NULL);
    }
    msg = curl_multi_info_read(c->conn->multi, &left);
    if (!msg || msg->msg != CURLMSG_DONE) {
        return vmbi_fail(err, VMB_E_NET, "%s: transfer ended without a result", c->name.data);
    }
    *result = msg->data.result;
    return VMB_OK;
}

static vmb_code one_try(struct call *c, int try_number, vmb_error **err)
{
    CURLcode result = CURLE_OK;
    vmb_code code = vmbi_conn_take(c->http, &c->conn, err);

    if (code != VMB_OK) {
        return code;
    }
    vmbi_response_reset(c->response);
    c->response->tries = try_number;
    c->sent = 0;
    c->callback_code = VMB_OK;
    code = prepare(c, try_number, err);
    if (code == VMB_OK) {
        c->last_move_ns = vmbi_mono_ns();
        if (curl_multi_add_handle(c->conn->multi, c->conn->easy) != CURLM_OK) {
            code = vmbi_fail_nomem(err);
        } else {
            code = drive(c, &result, err);
        }
    }
    if (code == VMB_OK && result != CURLE_OK) {
        code = vmbi_conn_fail(c->conn, result, c->name.data, err);
    }
    vmbi_conn_give(c->http, c->conn); /* removing an unfinished transfer closes its connection */
    c->conn = NULL;
    return code;
}

static bool status_is_transient(int status)
{
    return status == 429 || status == 500 || status == 502 || status == 503 || status == 504;
}

/* Is another try right, after this outcome? */
static bool wants_retry(struct call *c, vmb_code code, const vmb_error *e, int try_number)
{
    const vmbi_http_config *config = &c->http->config;
    const vmbi_http_request *q = c->request;
    const int max_tries = q->max_tries > 0        ? q->max_tries
                          : config->max_tries > 0 ? config->max_tries
                                                  : DEFAULT_TRIES;

    if (q->no_retry || c->sink_used || try_number >= max_tries) {
        return false;
    }
    if (code != VMB_OK) {
        return (code == VMB_E_NET || code == VMB_E_TIMEOUT) && vmbi_error_is_retryable(e) &&
               c->callback_code == VMB_OK;
    }
    return status_is_transient(c->response->status) ||
           (q->retry && q->retry(q->user, c->response, try_number));
}

/* Full jitter: uniform between 0 and the doubled base, so that many clients spread out. */
static int64_t backoff_ns(const struct call *c, int try_number)
{
    const vmbi_http_config *config = &c->http->config;
    const int64_t cap = config->retry_cap_ns > 0 ? config->retry_cap_ns : DEFAULT_CAP_NS;
    int64_t top = config->retry_base_ns > 0 ? config->retry_base_ns : DEFAULT_BASE_NS;
    int64_t asked = c->response->retry_after_ns;
    uint64_t random = 0;
    int64_t wait = 0;
    int i = 0;

    for (i = 1; i < try_number && top < cap; i++) {
        top *= 2;
    }
    top = top < cap ? top : cap;
    if (getrandom(&random, sizeof(random), GRND_NONBLOCK) != (ssize_t)sizeof(random)) {
        random = (uint64_t)vmbi_mono_ns();
    }
    wait = (int64_t)(random % (uint64_t)(top + 1));
    asked = asked < RETRY_AFTER_MAX_NS ? asked : RETRY_AFTER_MAX_NS;
    return asked > wait ? asked + wait / 4 : wait;
}

static vmb_code perform_tries(struct call *c, vmb_error **err)
{
    int try_number = 0;

    for (try_number = 1;; try_number++) {
        vmb_error *e = NULL;
        vmb_code code = vmbi_limits_check(c->limits, err, c->name.data);
        int64_t wait = 0;
        int64_t left = 0;
        bool again = false;

        if (code != VMB_OK) {
            return code;
        }
        /* The error object is needed for the verdict even when the caller wants none. */
        code = one_try(c, try_number, &e);
        again = wants_retry(c, code, e, try_number);
        if (again) {
            wait = backoff_ns(c, try_number);
            left = vmbi_limits_remaining_ns(c->limits);
            again = left < 0 || wait < left; /* else: report what we know now, not a time-out */
        }
        if (!again) {
            vmbi_error_move(err, &e);
            return code;
        }
        vmb_error_free(e);
        code = vmbi_limits_sleep(c->limits, wait, err, c->name.data);
        if (code != VMB_OK) {
            return code;
        }
    }
}

vmb_code vmbi_http_perform(vmbi_http *h, const vmbi_http_request *request,
                           const vmbi_limits *limits, vmbi_http_response *response, vmb_error **err)
{
    struct call c;
    vmbi_sigpipe guard;
    vmb_code code = VMB_OK;

    memset(&c, 0, sizeof(c));
    c.http = h;
    c.request = request;
    c.limits = limits;
    c.response = response;
    vmbi_buf_init(&c.name, 2048);
    vmbi_conn_describe(request->method, request->url, &c.name);
    c.idle_ns = request->idle_timeout_ns != 0   ? request->idle_timeout_ns
                : h->config.idle_timeout_ns > 0 ? h->config.idle_timeout_ns
                                                : DEFAULT_IDLE_NS;
    if (c.name.status != VMB_OK) { /* a very long URL: the method must do as a name */
        vmbi_buf_reset(&c.name);
        vmbi_buf_adds(&c.name, request->method);
    }
    code = vmbi_buf_check(&c.name, err, "request name");
    if (code == VMB_OK) {
        vmbi_sigpipe_block(&guard);
        code = perform_tries(&c, err);
        vmbi_sigpipe_restore(&guard);
    }
    vmb_error_free(c.callback_err);
    vmbi_headers_done(&c.headers);
    vmbi_free(c.host_header);
    vmbi_buf_free(&c.name);
    return code;
}
