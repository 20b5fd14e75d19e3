/* SPDX-License-Identifier: Apache-2.0 */
/* The opening handshake of a WebSocket. Source: RFC 6455, section 4. */
#include <string.h>

#include "base/error.h"
#include "base/strs.h"
#include "codec/digest.h"
#include "kube/websocket.h"

enum { VALUE_SIZE = 512 };

/* RFC 6455, section 1.3. */
static const char accept_guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

void vmbi_ws_new_key(char key[VMBI_WS_KEY_SIZE])
{
    uint8_t nonce[16];
    vmbi_random(nonce, sizeof(nonce));
    vmbi_base64(nonce, sizeof(nonce), key);
}

int vmbi_ws_head_parse(const char *data, size_t len, vmbi_ws_head *out)
{
    static const char version[] = "HTTP/1.";
    int64_t status = 0;
    size_t known = sizeof(version) - 1;
    if (memcmp(data, version, len < known ? len : known) != 0) {
        return -1;
    }
    const char *end = memmem(data, len, "\r\n\r\n", 4);
    if (end == NULL) {
        return 0;
    }
    const char *line_end = memmem(data, len, "\r\n", 2);
    /* "HTTP/1.1 101 Switching Protocols" */
    if (line_end - data < 12 || data[8] != ' ' || !vmbi_parse_i64(data + 9, 3, &status) ||
        status < 100) {
        return -1;
    }
    *out = (vmbi_ws_head){
        .status = (int)status,
        .headers = line_end + 2,
        .headers_len = end > line_end ? (size_t)(end - line_end) : 0,
        .head_len = (size_t)(end - data) + 4,
    };
    return 1;
}

static bool name_is(const char *line, size_t len, const char *name)
{
    for (size_t i = 0; i < len; i++) {
        if (name[i] == '\0' || vmbi_lower(line[i]) != vmbi_lower(name[i])) {
            return false; /* a server's bytes may be NUL, too */
        }
    }
    return name[len] == '\0';
}

bool vmbi_ws_head_find(const vmbi_ws_head *head, const char *name, char *out, size_t size)
{
    const char *p = head->headers;
    const char *end = p + head->headers_len;
    while (p < end) {
        const char *eol = memmem(p, (size_t)(end - p), "\r\n", 2);
        eol = eol != NULL ? eol : end;
        const char *colon = memchr(p, ':', (size_t)(eol - p));
        if (colon != NULL && name_is(p, (size_t)(colon - p), name)) {
            const char *from = colon + 1;
            const char *to = eol;
            while (from < to && vmbi_is_space(*from)) {
                from++;
            }
            while (to > from && vmbi_is_space(to[-1])) {
                to--;
            }
            size_t n = (size_t)(to - from);
            if (n >= size) {
                return false;
            }
            memcpy(out, from, n);
            out[n] = '\0';
            return true;
        }
        p = eol + 2;
    }
    return false;
}

static vmb_code expected_accept(const char *key, char out[VALUE_SIZE], vmb_error **err)
{
    uint8_t sum[20];
    vmbi_digest *d = NULL;
    vmb_code rc = vmbi_digest_new(VMBI_SHA1, &d, err);
    if (rc == VMB_OK) {
        vmbi_digest_update(d, key, strlen(key));
        vmbi_digest_update(d, accept_guid, sizeof(accept_guid) - 1);
        vmbi_digest_final(d, sum);
        vmbi_base64(sum, sizeof(sum), out);
    }
    vmbi_digest_free(d);
    return rc;
}

/* A comma list holds a token, in any case? */
static bool has_token(const char *list, const char *token)
{
    size_t len = strlen(token);
    while (*list != '\0') {
        while (*list == ' ' || *list == ',') {
            list++;
        }
        size_t n = strcspn(list, ", ");
        if (n == len && name_is(list, n, token)) {
            return true;
        }
        list += n;
    }
    return false;
}

vmb_code vmbi_ws_head_check(const vmbi_ws_head *head, const char *key,
                            const char *const *protocols, size_t n, vmb_error **err)
{
    char value[VALUE_SIZE];
    char accept[VALUE_SIZE];
    vmb_code rc = expected_accept(key, accept, err);
    if (rc != VMB_OK) {
        return rc;
    }
    if (!vmbi_ws_head_find(head, "Upgrade", value, sizeof(value)) ||
        !vmbi_strcaseeq(value, "websocket") ||
        !vmbi_ws_head_find(head, "Connection", value, sizeof(value)) ||
        !has_token(value, "upgrade")) {
        return vmbi_fail(err, VMB_E_PROTOCOL, "the server did not switch to a websocket");
    }
    if (!vmbi_ws_head_find(head, "Sec-WebSocket-Accept", value, sizeof(value)) ||
        strcmp(value, accept) != 0) {
        return vmbi_fail(err, VMB_E_PROTOCOL, "the websocket handshake was answered wrongly");
    }
    if (!vmbi_ws_head_find(head, "Sec-WebSocket-Protocol", value, sizeof(value))) {
        return vmbi_fail(err, VMB_E_PROTOCOL, "the server chose no exec protocol");
    }
    for (size_t i = 0; i < n; i++) {
        if (strcmp(value, protocols[i]) == 0) {
            return VMB_OK;
        }
    }
    return vmbi_fail(err, VMB_E_PROTOCOL, "the server chose an exec protocol that was not offered");
}
