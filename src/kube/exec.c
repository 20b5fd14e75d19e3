/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/exec.h"

#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "kube/status.h"
#include "kube/websocket.h"

enum {
    READ_BYTES = 64 * 1024,
    HEAD_MAX_BYTES = 64 * 1024,
    URL_MAX_BYTES = 256 * 1024,
    STATUS_MAX_BYTES = 64 * 1024
};

/* Pings tell a silent command from a dead connection. */
#define PING_EVERY_NS (10 * VMBI_SECOND)
#define DEAD_AFTER_NS (60 * VMBI_SECOND)
/* The server closes right after the status; longer is not worth waiting for. */
#define CLOSE_GRACE_NS (2 * VMBI_SECOND)
#define REFUSAL_BODY_NS (5 * VMBI_SECOND)
#define HANDSHAKE_NS (60 * VMBI_SECOND)

enum { CHANNEL_STDOUT = 1, CHANNEL_STDERR = 2, CHANNEL_ERROR = 3 };

/* Offered one at a time, v4 first: asked for v5, kube-apiserver (1.36) reports success when it
 * loses the node in the middle of a command, while v4 shows the broken end. What v5 adds, closing
 * standard input, is not used here. */
static const char *const protocols[] = {"v4.channel.k8s.io", "v5.channel.k8s.io"};

typedef struct call {
    vmbi_kube *k;
    const vmbi_kube_exec *exec;
    const vmbi_limits *limits;
    char what[VMBI_KUBE_WHAT_SIZE];
    vmbi_buf target; /* request target: path and query */
    size_t protocol; /* which one is offered */
    char key[VMBI_WS_KEY_SIZE];
    vmbi_stream *stream;
    vmbi_ws *ws;
    vmbi_buf in;     /* of the handshake: what came so far */
    int channel;     /* of the message that arrives now; -1: its first byte is still to come */
    vmbi_buf status; /* what the error channel said */
    bool has_status;
} call;

/* ---- asking --------------------------------------------------------------------------------- */

static void split_server(const char *server, const char **host, size_t *host_len,
                         const char **prefix)
{
    const char *p = strstr(server, "://");
    *host = p != NULL ? p + 3 : server;
    *host_len = strcspn(*host, "/");
    *prefix = *host + *host_len;
}

static vmb_code build_target(call *c, vmb_error **err)
{
    const char *host = NULL;
    const char *prefix = NULL;
    size_t host_len = 0;
    vmbi_kube_path path = {"", "v1", "pods", c->exec->ns, c->exec->pod, "exec"};
    split_server(vmbi_kube_server(c->k), &host, &host_len, &prefix);
    vmbi_buf_adds(&c->target, prefix);
    vmb_code rc = vmbi_kube_path_add(&c->target, &path, err);
    if (rc != VMB_OK) {
        return rc;
    }
    for (size_t i = 0; i < c->exec->argc; i++) {
        vmbi_kube_query_add(&c->target, "command", c->exec->argv[i]);
    }
    vmbi_kube_query_add(&c->target, "container", c->exec->container);
    vmbi_kube_query_add(&c->target, "stdout", "true");
    vmbi_kube_query_add(&c->target, "stderr", "true");
    return vmbi_buf_check(&c->target, err, "exec request");
}

static vmb_code add_header(void *user, const char *name, const char *value, vmb_error **err)
{
    if (value[strcspn(value, "\r\n")] != '\0') {
        return vmbi_fail(err, VMB_E_INVALID, "header %s: holds a line break", name);
    }
    vmbi_buf_addf(user, "%s: %s\r\n", name, value);
    return VMB_OK;
}

static vmb_code send_request(call *c, const vmbi_kube_session *session, const vmbi_limits *limits,
                             vmb_error **err)
{
    vmbi_buf b = VMBI_BUF_INIT(URL_MAX_BYTES + HEAD_MAX_BYTES);
    const char *host = NULL;
    const char *prefix = NULL;
    size_t host_len = 0;
    split_server(vmbi_kube_server(c->k), &host, &host_len, &prefix);
    vmbi_ws_new_key(c->key);
    vmbi_buf_addf(&b, "GET %s HTTP/1.1\r\nHost: %.*s\r\n", c->target.data, (int)host_len, host);
    vmbi_buf_addf(&b,
                  "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                  "Sec-WebSocket-Key: %s\r\nSec-WebSocket-Protocol: %s\r\n",
                  c->key, protocols[c->protocol]);
    vmb_code rc = add_header(&b, "User-Agent", vmbi_kube_user_agent(c->k), err);
    if (rc == VMB_OK) {
        rc = vmbi_kube_login_headers(c->k, &session->login, add_header, &b, err);
    }
    vmbi_buf_adds(&b, "\r\n");
    if (rc == VMB_OK) {
        rc = vmbi_buf_check(&b, err, "exec request");
    }
    if (rc == VMB_OK) {
        rc = vmbi_stream_send(c->stream, b.data, b.len, limits, err);
    }
    if (b.data != NULL) {
        explicit_bzero(b.data, b.len);
    }
    vmbi_buf_free(&b);
    return rc;
}

/* Receives until the head of the answer is whole; what follows it stays in c->in. */
static vmb_code receive_head(call *c, const vmbi_limits *limits, vmbi_ws_head *head,
                             vmb_error **err)
{
    char chunk[4096];
    vmbi_buf_reset(&c->in);
    for (;;) {
        size_t n = 0;
        vmb_code rc = vmbi_stream_recv(c->stream, chunk, sizeof(chunk), limits, &n, err);
        if (rc != VMB_OK) {
            return rc;
        }
        if (n == 0) {
            return vmbi_fail_retryable(err, VMB_E_NET,
                                       "the connection was closed before an answer came");
        }
        vmbi_buf_add(&c->in, chunk, n);
        rc = vmbi_buf_check(&c->in, err, "answer to the exec request");
        if (rc != VMB_OK) {
            return rc;
        }
        int parsed = vmbi_ws_head_parse(c->in.data, c->in.len, head);
        if (parsed != 0) {
            return parsed > 0 ? VMB_OK
                              : vmbi_fail(err, VMB_E_PROTOCOL, "the answer is no HTTP/1.1");
        }
    }
}

/* The server calls a container that the pod does not have a bad request. */
static vmb_code name_missing(vmb_code code, vmb_error **err)
{
    if (code == VMB_E_INVALID && err != NULL &&
        strstr(vmb_error_message(*err), "is not valid for pod") != NULL) {
        return vmbi_fail(err, VMB_E_NOT_FOUND, "%s", vmb_error_message(*err));
    }
    return code;
}

/* The body of a refusal, as far as it comes soon; then the refusal as an error. */
static vmb_code fail_refused(call *c, vmbi_ws_head *head, vmb_error **err)
{
    char chunk[4096];
    char value[64];
    char type[128];
    uint64_t length = HEAD_MAX_BYTES;
    size_t n = 1;
    vmbi_limits soon = vmbi_limits_within(c->limits, REFUSAL_BODY_NS);
    if (vmbi_ws_head_find(head, "Content-Length", value, sizeof(value))) {
        (void)vmbi_parse_u64(value, strlen(value), &length);
    }
    bool typed = vmbi_ws_head_find(head, "Content-Type", type, sizeof(type));
    size_t offset = head->head_len; /* the head points into c->in, which may move from here on */
    while (n > 0 && c->in.len - offset < length && c->in.status == VMB_OK) {
        if (vmbi_stream_recv(c->stream, chunk, sizeof(chunk), &soon, &n, NULL) != VMB_OK) {
            break;
        }
        vmbi_buf_add(&c->in, chunk, n);
    }
    vmb_code rc = vmbi_limits_check(c->limits, err, c->what);
    if (rc != VMB_OK) {
        return rc;
    }
    vmbi_kube_answer answer = {
        .http_status = head->status,
        .content_type = typed ? type : "",
        .body = c->in.data + offset,
        .len = c->in.len - offset,
    };
    return name_missing(vmbi_kube_status_fail(&answer, c->what, err), err);
}

/* One handshake. *http_status tells how it was answered, 0 when it was not. */
static vmb_code open_once(call *c, vmbi_kube_session *session, const vmbi_limits *limits,
                          int *http_status, vmb_error **err)
{
    vmbi_ws_head head;
    vmb_code rc = vmbi_stream_connect(session->http, vmbi_kube_server(c->k), limits, &c->stream,
                                      err);
    if (rc == VMB_OK) {
        rc = send_request(c, session, limits, err);
    }
    if (rc == VMB_OK) {
        rc = receive_head(c, limits, &head, err);
    }
    if (rc == VMB_OK) {
        *http_status = head.status;
        if (head.status != 101) {
            return fail_refused(c, &head, err);
        }
        rc = vmbi_ws_head_check(&head, c->key, &protocols[c->protocol], 1, err);
        vmbi_buf_consume(&c->in, head.head_len);
    }
    return rc == VMB_OK ? rc : vmbi_wrap(err, rc, "%s", c->what);
}

/* Does the answer say that another protocol may do? (A bad request in another respect is answered
 * the same way once more.) */
static bool is_about_protocol(int http_status)
{
    return http_status == 400 || http_status == 406 || http_status == 426 || http_status == 501;
}

/* Handshakes until one is taken: a login that was refused is renewed once, the second protocol is
 * for servers that do not know the first. */
static vmb_code open_stream(call *c, vmb_error **err)
{
    vmbi_limits within = vmbi_limits_within(c->limits, HANDSHAKE_NS);
    vmb_error *e = NULL;
    vmb_code rc = VMB_OK;
    bool renewed = false;
    bool again = true;
    while (again) {
        vmbi_kube_session session = {0};
        int http_status = 0;
        vmb_error_free(e);
        e = NULL;
        vmbi_stream_free(c->stream);
        c->stream = NULL;
        rc = vmbi_kube_session_open(c->k, &within, &session, &e);
        if (rc != VMB_OK) {
            rc = vmbi_wrap(&e, rc, "%s", c->what);
            break;
        }
        rc = open_once(c, &session, &within, &http_status, &e);
        again = false;
        if (http_status == 401 && !renewed) {
            again = renewed = vmbi_kube_session_refused(c->k, &session);
        } else if (rc != VMB_OK && rc != VMB_E_NOT_FOUND && is_about_protocol(http_status) && c->protocol == 0) {
            again = true;
            c->protocol = 1;
        }
        vmbi_kube_session_close(c->k, &session);
    }
    vmbi_error_move(err, &e);
    return rc;
}

/* ---- listening ------------------------------------------------------------------------------- */

static vmb_code give(const vmbi_kube_out *out, const uint8_t *data, size_t len, vmb_error **err)
{
    return out->fn != NULL && len > 0 ? out->fn(out->user, data, len, err) : VMB_OK;
}

/* A message's first byte names its channel. */
static vmb_code on_data(void *user, bool first, const uint8_t *data, size_t len, vmb_error **err)
{
    call *c = user;
    c->channel = first ? -1 : c->channel;
    if (c->channel < 0 && len > 0) {
        c->channel = data[0];
        data++;
        len--;
    }
    switch (c->channel) {
    case CHANNEL_STDOUT:
        return give(&c->exec->out, data, len, err);
    case CHANNEL_STDERR:
        return give(&c->exec->errout, data, len, err);
    case CHANNEL_ERROR:
        vmbi_buf_add(&c->status, data, len);
        c->has_status = c->has_status || len > 0; /* an empty message only opens the channel */
        return vmbi_buf_check(&c->status, err, "exec status");
    default:
        return VMB_OK; /* -1: not known yet; others are not for us */
    }
}

static vmb_code send_pending(call *c, const vmbi_limits *limits, vmb_error **err)
{
    vmbi_buf *pending = vmbi_ws_pending(c->ws);
    if (pending->len == 0) {
        return VMB_OK;
    }
    vmb_code rc = vmbi_stream_send(c->stream, pending->data, pending->len, limits, err);
    vmbi_buf_reset(pending);
    return rc;
}

static vmb_code fail_lost(const call *c, const vmb_error *why, vmb_error **err)
{
    /* not marked retryable: the command may have run */
    return vmbi_fail(err, VMB_E_NET, "%s: the connection ended before the exit code came%s%s",
                     c->what, why != NULL ? ": " : "", vmb_error_message(why));
}

/* Receives once. *n = 0 with VMB_OK: nothing came for a while; *ended: the stream is over. */
static vmb_code receive(call *c, char *buf, size_t *n, bool *ended, vmb_error **err)
{
    vmb_error *e = NULL;
    vmbi_limits slice = vmbi_limits_within(c->limits,
                                           c->has_status ? CLOSE_GRACE_NS : PING_EVERY_NS);
    *n = 0;
    vmb_code rc = vmbi_limits_check(c->limits, err, c->what);
    if (rc != VMB_OK) {
        return rc; /* a flood never waits: look at the limits here too */
    }
    rc = vmbi_stream_recv(c->stream, buf, READ_BYTES, &slice, n, &e);
    *ended = rc == VMB_OK && *n == 0;
    if (rc == VMB_E_NET && c->has_status) {
        *ended = true; /* a server may end without ceremony once it has said everything */
        rc = VMB_OK;
    } else if (rc == VMB_E_NET) {
        rc = fail_lost(c, e, err);
    } else if (rc == VMB_E_TIMEOUT || rc == VMB_E_CANCELLED) {
        rc = vmbi_limits_check(c->limits, err, c->what);
        *ended = rc == VMB_OK && c->has_status;
    } else if (rc != VMB_OK) {
        vmbi_error_move(err, &e);
        rc = vmbi_wrap(err, rc, "%s", c->what);
    }
    vmb_error_free(e);
    return rc;
}

/* A quiet while: ask whether the other side lives. */
static vmb_code check_alive(call *c, int64_t heard_ns, vmb_error **err)
{
    if (vmbi_mono_ns() - heard_ns >= DEAD_AFTER_NS) {
        return vmbi_fail(err, VMB_E_NET, "%s: the connection is dead: no answer to pings for %d s",
                         c->what, (int)(DEAD_AFTER_NS / VMBI_SECOND));
    }
    vmb_code rc = vmbi_ws_ping(c->ws, err);
    return rc == VMB_OK ? send_pending(c, c->limits, err) : rc;
}

static vmb_code feed(call *c, const char *data, size_t len, vmb_error **err)
{
    vmb_error *e = NULL;
    vmb_code rc = vmbi_ws_feed(c->ws, data, len, err);
    if (rc != VMB_OK) {
        (void)send_pending(c, c->limits, NULL); /* tells the server what it did wrong, if it can */
        return rc == VMB_E_PROTOCOL ? vmbi_wrap(err, rc, "%s", c->what) : rc;
    }
    rc = send_pending(c, c->limits, &e);
    if (rc == VMB_E_NET) {
        rc = VMB_OK; /* what it still has for us is worth reading; then recv will tell */
    } else {
        vmbi_error_move(err, &e);
    }
    vmb_error_free(e);
    return rc;
}

static vmb_code listen_to_end(call *c, vmb_error **err)
{
    int64_t heard_ns = vmbi_mono_ns();
    bool ended = false;
    char *buf = vmbi_alloc(READ_BYTES);
    if (buf == NULL) {
        return vmbi_fail_nomem(err);
    }
    vmb_code rc = c->in.len > 0 ? feed(c, c->in.data, c->in.len, err) : VMB_OK;
    while (rc == VMB_OK && !ended && !vmbi_ws_is_closed(c->ws)) {
        size_t n = 0;
        rc = receive(c, buf, &n, &ended, err);
        if (rc == VMB_OK && n > 0) {
            heard_ns = vmbi_mono_ns();
            rc = feed(c, buf, n, err);
        } else if (rc == VMB_OK && !ended) {
            rc = check_alive(c, heard_ns, err);
        }
    }
    vmbi_free(buf);
    return rc;
}

static vmb_code take_exit_code(const call *c, int32_t *exit_code, vmb_error **err)
{
    if (c->has_status) {
        return vmbi_kube_status_exit(c->status.data, c->status.len, c->what, exit_code, err);
    }
    if (vmbi_ws_is_closed(c->ws) && vmbi_ws_close_code(c->ws) > 1000) {
        return vmbi_fail(err, VMB_E_NET, "%s: the server closed before the exit code came: %d %s",
                         c->what, vmbi_ws_close_code(c->ws), vmbi_ws_close_reason(c->ws));
    }
    return fail_lost(c, NULL, err);
}

/* Says good-bye as far as it goes at once: the limits may have ended. */
static void hang_up(call *c)
{
    vmbi_limits now = vmbi_limits_within(NULL, 0);
    if (c->ws != NULL && !vmbi_ws_is_closed(c->ws) && vmbi_ws_close(c->ws, NULL) == VMB_OK) {
        (void)send_pending(c, &now, NULL);
    }
}

vmb_code vmbi_kube_exec_run(vmbi_kube *k, const vmbi_kube_exec *exec, const vmbi_limits *limits,
                            int32_t *exit_code, vmb_error **err)
{
    call c = {.k = k, .exec = exec, .limits = limits, .channel = -1};
    vmbi_buf_init(&c.target, URL_MAX_BYTES);
    vmbi_buf_init(&c.in, HEAD_MAX_BYTES);
    vmbi_buf_init(&c.status, STATUS_MAX_BYTES);
    vmbi_kube_path path = {"", "v1", "pod", exec->ns, exec->pod, NULL};
    vmbi_kube_path_describe("exec in", &path, c.what);
    size_t len = strlen(c.what);
    vmbi_buf name = VMBI_BUF_INIT(VMBI_KUBE_WHAT_SIZE - 1);
    vmbi_buf_add(&name, c.what, len);
    vmbi_buf_addf(&name, " container %.64s", exec->container);
    if (name.status == VMB_OK) {
        memcpy(c.what, name.data, name.len + 1);
    }
    vmbi_buf_free(&name);
    vmb_code rc = build_target(&c, err);
    if (rc != VMB_OK) {
        rc = vmbi_wrap(err, rc, "%s", c.what);
    }
    if (rc == VMB_OK) {
        rc = open_stream(&c, err);
    }
    if (rc == VMB_OK) {
        rc = vmbi_ws_new(on_data, &c, &c.ws, err);
    }
    if (rc == VMB_OK) {
        rc = listen_to_end(&c, err);
    }
    if (rc == VMB_OK) {
        rc = take_exit_code(&c, exit_code, err);
    }
    if (c.stream != NULL) {
        hang_up(&c);
    }
    vmbi_stream_free(c.stream);
    vmbi_ws_free(c.ws);
    vmbi_buf_free(&c.target);
    vmbi_buf_free(&c.in);
    vmbi_buf_free(&c.status);
    return rc;
}
