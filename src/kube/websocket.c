/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/websocket.h"

#include <string.h>
#include <wslay/wslay.h>

#include "base/alloc.h"
#include "base/error.h"
#include "codec/digest.h"

enum {
    PENDING_MAX_BYTES = 4 << 20, /* answers to one feed; a feed of pings gives as many pongs */
    FRAME_MAX_BYTES = 1 << 30, /* streamed, so only a sign of nonsense */
    REASON_SIZE = 128            /* a close frame's reason has at most 123 bytes */
};

struct vmbi_ws {
    wslay_event_context_ptr ctx;
    vmbi_ws_data_fn fn;
    void *user;
    const uint8_t *in; /* being fed */
    size_t in_len;
    vmbi_buf pending;
    uint8_t opcode;   /* of the frame that arrives now */
    bool first;       /* its payload begins a message */
    const char *refused; /* what of the server's we do not take, allowed or not */
    vmb_code code;    /* fn's failure */
    vmb_error *err;
    uint16_t close_code;
    char close_reason[REASON_SIZE];
};

static ssize_t on_recv(wslay_event_context_ptr ctx, uint8_t *buf, size_t len, int flags, void *user)
{
    vmbi_ws *ws = user;
    (void)flags;
    if (ws->code != VMB_OK || ws->refused != NULL) {
        wslay_event_set_error(ctx, WSLAY_ERR_CALLBACK_FAILURE);
        return -1;
    }
    size_t n = ws->in_len < len ? ws->in_len : len;
    if (n == 0) {
        wslay_event_set_error(ctx, WSLAY_ERR_WOULDBLOCK);
        return -1;
    }
    memcpy(buf, ws->in, n);
    ws->in += n;
    ws->in_len -= n;
    return (ssize_t)n;
}

static ssize_t on_send(wslay_event_context_ptr ctx, const uint8_t *data, size_t len, int flags,
                       void *user)
{
    vmbi_ws *ws = user;
    (void)flags;
    vmbi_buf_add(&ws->pending, data, len);
    if (ws->pending.status != VMB_OK) {
        wslay_event_set_error(ctx, WSLAY_ERR_CALLBACK_FAILURE);
        return -1;
    }
    return (ssize_t)len;
}

static int on_mask(wslay_event_context_ptr ctx, uint8_t *buf, size_t len, void *user)
{
    (void)ctx;
    (void)user;
    vmbi_random(buf, len);
    return 0;
}

static void deliver(vmbi_ws *ws, const uint8_t *data, size_t len)
{
    if (ws->code == VMB_OK) {
        ws->code = ws->fn(ws->user, ws->first, data, len, &ws->err);
        ws->first = false;
    }
}

static void on_frame_start(wslay_event_context_ptr ctx,
                           const struct wslay_event_on_frame_recv_start_arg *arg, void *user)
{
    vmbi_ws *ws = user;
    (void)ctx;
    ws->opcode = arg->opcode;
    if (arg->opcode == WSLAY_BINARY_FRAME) {
        ws->first = true;
    } else if (arg->opcode == WSLAY_TEXT_FRAME) {
        ws->refused = "a text message";
    }
    if (arg->payload_length > FRAME_MAX_BYTES) {
        ws->refused = "a frame of more than a gigabyte";
    }
}

static void on_frame_chunk(wslay_event_context_ptr ctx,
                           const struct wslay_event_on_frame_recv_chunk_arg *arg, void *user)
{
    vmbi_ws *ws = user;
    (void)ctx;
    if (!wslay_is_ctrl_frame(ws->opcode) && ws->refused == NULL && arg->data_length > 0) {
        deliver(ws, arg->data, arg->data_length);
    }
}

static void on_message(wslay_event_context_ptr ctx, const struct wslay_event_on_msg_recv_arg *arg,
                       void *user)
{
    vmbi_ws *ws = user;
    (void)ctx;
    if (arg->opcode != WSLAY_CONNECTION_CLOSE) {
        return;
    }
    ws->close_code = arg->status_code;
    size_t len = arg->msg_length > 2 ? arg->msg_length - 2 : 0;
    len = len < REASON_SIZE - 1 ? len : REASON_SIZE - 1;
    for (size_t i = 0; i < len; i++) {
        uint8_t c = arg->msg[2 + i];
        ws->close_reason[i] = c >= ' ' && c != 0x7f ? (char)c : ' ';
    }
    ws->close_reason[len] = '\0';
}

vmb_code vmbi_ws_new(vmbi_ws_data_fn fn, void *user, vmbi_ws **out, vmb_error **err)
{
    static const struct wslay_event_callbacks callbacks = {
        on_recv, on_send, on_mask, on_frame_start, on_frame_chunk, NULL, on_message,
    };
    vmbi_ws *ws = vmbi_zalloc(sizeof(*ws));
    if (ws == NULL) {
        return vmbi_fail_nomem(err);
    }
    ws->fn = fn;
    ws->user = user;
    vmbi_buf_init(&ws->pending, PENDING_MAX_BYTES);
    if (wslay_event_context_client_init(&ws->ctx, &callbacks, ws) != 0) {
        vmbi_free(ws);
        return vmbi_fail_nomem(err);
    }
    wslay_event_config_set_no_buffering(ws->ctx, 1);
    *out = ws;
    return VMB_OK;
}

void vmbi_ws_free(vmbi_ws *ws)
{
    if (ws != NULL) {
        wslay_event_context_free(ws->ctx);
        vmbi_buf_free(&ws->pending);
        vmb_error_free(ws->err);
        vmbi_free(ws);
    }
}

/* Moves what wslay queued into pending. */
static vmb_code flush(vmbi_ws *ws, vmb_error **err)
{
    int rc = wslay_event_want_write(ws->ctx) ? wslay_event_send(ws->ctx) : 0;
    if (ws->pending.status != VMB_OK) {
        return vmbi_buf_check(&ws->pending, err, "websocket answers");
    }
    return rc == 0 ? VMB_OK
                   : vmbi_fail(err, rc == WSLAY_ERR_NOMEM ? VMB_E_NOMEM : VMB_E_INTERNAL,
                               "websocket: cannot build a frame");
}

vmb_code vmbi_ws_feed(vmbi_ws *ws, const void *data, size_t len, vmb_error **err)
{
    ws->in = data;
    ws->in_len = len;
    int rc = wslay_event_recv(ws->ctx);
    ws->in_len = 0;
    vmb_code sent = flush(ws, err);
    if (ws->code != VMB_OK) {
        vmbi_error_move(err, &ws->err);
        return ws->code;
    }
    if (ws->refused != NULL) {
        return vmbi_fail(err, VMB_E_PROTOCOL, "websocket: the server sent %s", ws->refused);
    }
    if (sent != VMB_OK) {
        return sent;
    }
    if (rc == WSLAY_ERR_NOMEM) {
        return vmbi_fail_nomem(err);
    }
    if (rc != 0 || (!wslay_event_get_read_enabled(ws->ctx) &&
                    !wslay_event_get_close_received(ws->ctx))) {
        return vmbi_fail(err, VMB_E_PROTOCOL, "websocket: the server broke the protocol (%d)",
                         (int)wslay_event_get_status_code_sent(ws->ctx));
    }
    return VMB_OK;
}

bool vmbi_ws_is_closed(const vmbi_ws *ws)
{
    return wslay_event_get_close_received(ws->ctx) != 0;
}

int vmbi_ws_close_code(const vmbi_ws *ws)
{
    return ws->close_code;
}

const char *vmbi_ws_close_reason(const vmbi_ws *ws)
{
    return ws->close_reason;
}

vmb_code vmbi_ws_ping(vmbi_ws *ws, vmb_error **err)
{
    static const struct wslay_event_msg ping = {WSLAY_PING, NULL, 0};
    if (wslay_event_queue_msg(ws->ctx, &ping) != 0) {
        return vmbi_fail_nomem(err);
    }
    return flush(ws, err);
}

vmb_code vmbi_ws_close(vmbi_ws *ws, vmb_error **err)
{
    if (wslay_event_queue_close(ws->ctx, WSLAY_CODE_NORMAL_CLOSURE, NULL, 0) != 0) {
        return vmbi_fail(err, VMB_E_STATE, "websocket: is closing already");
    }
    return flush(ws, err);
}

vmbi_buf *vmbi_ws_pending(vmbi_ws *ws)
{
    return &ws->pending;
}
