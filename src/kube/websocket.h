/* SPDX-License-Identifier: Apache-2.0 */
/* WebSocket frames without I/O: bytes go in, payload and bytes to send come out. Client side, no
 * extensions. Source: RFC 6455. */
#ifndef VMBI_KUBE_WEBSOCKET_H
#define VMBI_KUBE_WEBSOCKET_H

#include "base/buf.h"

typedef struct vmbi_ws vmbi_ws;

/* A piece of a binary message; `first` when it begins one. Pieces come as they arrive, so a
 * message's size costs no memory. len may be 0. */
typedef vmb_code (*vmbi_ws_data_fn)(void *user, bool first, const uint8_t *data, size_t len,
                                    vmb_error **err);

vmb_code vmbi_ws_new(vmbi_ws_data_fn fn, void *user, vmbi_ws **out, vmb_error **err);
void vmbi_ws_free(vmbi_ws *ws);
/* Takes received bytes. VMB_E_PROTOCOL when the peer breaks the rules (a close frame that says so
 * is then pending), or fn's failure; both are final. */
vmb_code vmbi_ws_feed(vmbi_ws *ws, const void *data, size_t len, vmb_error **err);
/* The peer has sent its close frame: nothing more will come. */
bool vmbi_ws_is_closed(const vmbi_ws *ws);
/* Code and reason of that frame ("" when there was none); for messages. */
int vmbi_ws_close_code(const vmbi_ws *ws);
const char *vmbi_ws_close_reason(const vmbi_ws *ws);
vmb_code vmbi_ws_ping(vmbi_ws *ws, vmb_error **err);
vmb_code vmbi_ws_close(vmbi_ws *ws, vmb_error **err); /* status 1000 */
/* Bytes that want to be sent (pongs, pings, close); empty it with vmbi_buf_reset after sending. */
vmbi_buf *vmbi_ws_pending(vmbi_ws *ws);

/* ---- the opening handshake ------------------------------------------------------------------ */

enum { VMBI_WS_KEY_SIZE = 25 };
void vmbi_ws_new_key(char key[VMBI_WS_KEY_SIZE]);

/* An HTTP/1.1 answer's head. */
typedef struct vmbi_ws_head {
    int status;
    const char *headers; /* "Name: value\r\n" lines */
    size_t headers_len;
    size_t head_len; /* bytes up to and with the empty line */
} vmbi_ws_head;
/* 1: a whole head stands at the front; 0: more bytes are needed; -1: this is no HTTP/1.x. */
int vmbi_ws_head_parse(const char *data, size_t len, vmbi_ws_head *out);
/* Value of a header, trimmed; false when absent or longer than size - 1. */
bool vmbi_ws_head_find(const vmbi_ws_head *head, const char *name, char *out, size_t size);
/* Checks a 101 answer: Upgrade, Connection, Sec-WebSocket-Accept for key, and that the chosen
 * protocol is among the n offered. */
vmb_code vmbi_ws_head_check(const vmbi_ws_head *head, const char *key,
                            const char *const *protocols, size_t n, vmb_error **err);

#endif
