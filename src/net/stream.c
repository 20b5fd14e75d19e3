/* SPDX-License-Identifier: Apache-2.0 */
/* Raw byte streams: curl connects (TLS and proxies included), we send and receive. */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/strs.h"
#include "net/conn.h"

enum { POLL_CAP_MS = 1000 };

struct vmbi_stream {
    vmbi_conn *conn; /* stays inside its multi handle, which owns the connection */
    curl_socket_t fd;
    char *name; /* for messages */
};

/* "ws" and "wss" name the same connections as "http" and "https". */
static vmb_code http_url(const char *url, vmbi_buf *out, vmb_error **err)
{
    if (vmbi_starts_with(url, "ws://")) {
        vmbi_buf_adds(out, "http");
        url += 2;
    } else if (vmbi_starts_with(url, "wss://")) {
        vmbi_buf_adds(out, "https");
        url += 3;
    }
    vmbi_buf_adds(out, url);
    return vmbi_buf_check(out, err, "stream URL");
}

static vmb_code drive_connect(vmbi_stream *s, const vmbi_limits *limits, vmb_error **err)
{
    const int cancel_fd = limits ? vmbi_cancel_fd(limits->cancel) : -1;
    struct curl_waitfd extra = {.fd = cancel_fd, .events = CURL_WAIT_POLLIN};
    vmb_code code = VMB_OK;
    CURLMsg *msg = NULL;
    int running = 1;
    int left = 0;

    for (;;) {
        if (curl_multi_perform(s->conn->multi, &running) != CURLM_OK) {
            return vmbi_fail(err, VMB_E_NET, "%s: transfer engine failed", s->name);
        }
        if (running == 0) {
            break;
        }
        code = vmbi_limits_check(limits, err, s->name);
        if (code != VMB_OK) {
            return code;
        }
        (void)curl_multi_poll(s->conn->multi, &extra, cancel_fd >= 0 ? 1 : 0,
                              vmbi_limits_poll_ms(limits, POLL_CAP_MS), NULL);
    }
    msg = curl_multi_info_read(s->conn->multi, &left);
    if (!msg || msg->msg != CURLMSG_DONE) {
        return vmbi_fail(err, VMB_E_NET, "%s: no result", s->name);
    }
    if (msg->data.result != CURLE_OK) {
        return vmbi_conn_fail(s->conn, msg->data.result, s->name, err);
    }
    return VMB_OK;
}

static vmb_code connect_now(vmbi_http *h, vmbi_stream *s, const char *url,
                            const vmbi_limits *limits, vmb_error **err)
{
    vmb_code code = vmbi_conn_take(h, &s->conn, err);

    if (code != VMB_OK) {
        return code;
    }
    code = vmbi_conn_set_url(h, s->conn, url, NULL, err);
    if (code != VMB_OK) {
        return code;
    }
    if (curl_easy_setopt(s->conn->easy, CURLOPT_CONNECT_ONLY, 1L) != CURLE_OK ||
        curl_easy_setopt(s->conn->easy, CURLOPT_FRESH_CONNECT, 1L) != CURLE_OK ||
        curl_multi_add_handle(s->conn->multi, s->conn->easy) != CURLM_OK) {
        return vmbi_fail_nomem(err);
    }
    code = drive_connect(s, limits, err);
    if (code == VMB_OK &&
        (curl_easy_getinfo(s->conn->easy, CURLINFO_ACTIVESOCKET, &s->fd) != CURLE_OK ||
         s->fd == CURL_SOCKET_BAD)) {
        code = vmbi_fail(err, VMB_E_NET, "%s: no socket after connecting", s->name);
    }
    return code;
}

vmb_code vmbi_stream_connect(vmbi_http *h, const char *url, const vmbi_limits *limits,
                             vmbi_stream **out, vmb_error **err)
{
    vmbi_buf real = VMBI_BUF_INIT(64 * 1024);
    vmbi_buf name = VMBI_BUF_INIT(64 * 1024);
    vmbi_stream *s = vmbi_zalloc(sizeof(*s));
    vmbi_sigpipe guard;
    vmb_code code = s ? VMB_OK : vmbi_fail_nomem(err);

    vmbi_sigpipe_block(&guard);
    if (code != VMB_OK) {
        goto out;
    }
    s->fd = CURL_SOCKET_BAD;
    code = http_url(url, &real, err);
    if (code != VMB_OK) {
        goto out;
    }
    vmbi_conn_describe("connect to", url, &name);
    code = vmbi_buf_take(&name, &s->name, NULL, err, "stream name");
    if (code != VMB_OK) {
        goto out;
    }
    code = connect_now(h, s, real.data, limits, err);
    if (code == VMB_OK) {
        *out = vmbi_steal(&s);
    }
out:
    vmbi_sigpipe_restore(&guard);
    vmbi_stream_free(s);
    vmbi_buf_free(&real);
    vmbi_buf_free(&name);
    return code;
}

static vmb_code wait_ready(const vmbi_stream *s, short events, const vmbi_limits *limits,
                           vmb_error **err)
{
    struct pollfd fds[2] = {{.fd = s->fd, .events = events},
                            {.fd = limits ? vmbi_cancel_fd(limits->cancel) : -1, .events = POLLIN}};
    vmb_code code = vmbi_limits_check(limits, err, s->name);

    if (code != VMB_OK) {
        return code;
    }
    if (poll(fds, 2, vmbi_limits_poll_ms(limits, POLL_CAP_MS)) < 0 && errno != EINTR) {
        return vmbi_fail_errno(err, errno, "%s: wait", s->name);
    }
    return VMB_OK;
}

vmb_code vmbi_stream_send(vmbi_stream *s, const void *data, size_t len, const vmbi_limits *limits,
                          vmb_error **err)
{
    const char *p = data;
    vmbi_sigpipe guard;
    vmb_code code = VMB_OK;

    vmbi_sigpipe_block(&guard);
    while (len > 0 && code == VMB_OK) {
        size_t n = 0;
        const CURLcode rc = curl_easy_send(s->conn->easy, p, len, &n);

        if (rc == CURLE_OK) {
            p += n;
            len -= n;
        } else if (rc == CURLE_AGAIN) {
            code = wait_ready(s, POLLOUT, limits, err);
        } else {
            code = vmbi_conn_fail(s->conn, rc, s->name, err);
        }
    }
    vmbi_sigpipe_restore(&guard);
    return code;
}

vmb_code vmbi_stream_recv(vmbi_stream *s, void *buf, size_t size, const vmbi_limits *limits,
                          size_t *got, vmb_error **err)
{
    vmbi_sigpipe guard;
    vmb_code code = VMB_OK;
    bool done = false;

    vmbi_sigpipe_block(&guard);
    while (!done && code == VMB_OK) {
        size_t n = 0;
        const CURLcode rc = curl_easy_recv(s->conn->easy, buf, size, &n);

        if (rc == CURLE_OK) {
            *got = n;
            done = true;
        } else if (rc == CURLE_AGAIN) {
            code = wait_ready(s, POLLIN, limits, err);
        } else {
            code = vmbi_conn_fail(s->conn, rc, s->name, err);
        }
    }
    vmbi_sigpipe_restore(&guard);
    return code;
}

void vmbi_stream_free(vmbi_stream *s)
{
    vmbi_sigpipe guard;

    if (!s) {
        return;
    }
    vmbi_sigpipe_block(&guard);
    vmbi_conn_free(s->conn); /* the connection is spent: not for the pool */
    vmbi_sigpipe_restore(&guard);
    vmbi_free(s->name);
    vmbi_free(s);
}
