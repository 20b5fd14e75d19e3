/* SPDX-License-Identifier: Apache-2.0 */
/* What an API server sends: streams of watch events, pages of lists, Status objects, discovery
 * documents, heads of answers. The first byte chooses the reader, the second where a stream is
 * torn: it must be read the same in one piece and in two. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/strs.h"
#include "kube/discovery.h"
#include "kube/page.h"
#include "kube/status.h"
#include "kube/watch.h"
#include "kube/websocket.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static vmb_code keep_event(void *user, const char *type, const char *json, size_t len,
                           vmb_error **err)
{
    vmbi_buf *b = user;

    (void)err;
    if (len < 2 || json[0] != '{' || json[len - 1] != '}') {
        abort();
    }
    vmbi_buf_adds(b, type);
    vmbi_buf_addc(b, ' ');
    vmbi_buf_add(b, json, len);
    vmbi_buf_addc(b, '\n');
    return VMB_OK;
}

static vmb_code feed_events(const char *p, size_t len, size_t first, vmbi_buf *seen)
{
    vmbi_kube_lines l;
    vmb_code code = VMB_OK;

    vmbi_kube_lines_init(&l, "watch", keep_event, seen);
    code = vmbi_kube_lines_feed(&l, p, first, NULL);
    if (code == VMB_OK) {
        code = vmbi_kube_lines_feed(&l, p + first, len - first, NULL);
    }
    vmbi_buf_adds(seen, l.position);
    vmbi_kube_lines_done(&l);
    return code;
}

static void fuzz_watch(const char *p, size_t len, size_t first)
{
    vmbi_buf whole = VMBI_BUF_INIT(1 << 22);
    vmbi_buf torn = VMBI_BUF_INIT(1 << 22);
    vmb_code code = feed_events(p, len, len, &whole);

    if (feed_events(p, len, first, &torn) != code || torn.len != whole.len ||
        (whole.len > 0 && memcmp(torn.data, whole.data, whole.len) != 0)) {
        abort();
    }
    vmbi_buf_free(&whole);
    vmbi_buf_free(&torn);
}

static vmb_code parse_item(void *user, const char *json, size_t len, vmb_error **err)
{
    size_t *n = user;
    vmbi_object_scan scan;

    (void)err;
    *n += vmbi_jscan_k8s_object(json, len, &scan) ? 1 : 0;
    return VMB_OK;
}

static void fuzz_page(const char *p, size_t len)
{
    vmbi_kube_page page;
    size_t n = 0;

    if (vmbi_kube_page_parse(p, len, "list", &page, NULL) == VMB_OK) {
        if (page.continue_token != NULL && page.continue_token[0] == '\0') {
            abort();
        }
        /* the whole was looked at before: only an item that is no object ends the walk */
        (void)vmbi_kube_page_each(&page, "list", parse_item, &n, NULL);
        vmbi_kube_page_done(&page);
    }
}

static void fuzz_status(const char *p, size_t len, int http_status)
{
    const vmbi_kube_answer answer = {http_status, "", p, len};
    vmb_error *err = NULL;
    char *token = NULL;
    int32_t exit_code = -1;

    if (vmbi_kube_status_fail(&answer, "get", &err) == VMB_OK) {
        abort();
    }
    if (!vmbi_utf8_valid(vmb_error_message(err), strlen(vmb_error_message(err)))) {
        abort();
    }
    vmb_error_free(err);
    (void)vmbi_kube_status_continue(p, len, &token, NULL);
    vmbi_free(token);
    (void)vmbi_kube_status_exit(p, len, "exec", &exit_code, NULL);
}

static void fuzz_discovery(const char *p, size_t len)
{
    vmbi_json *doc = NULL;
    vmbi_json *groups = vmbi_json_array();
    vmbi_json *warnings = vmbi_json_array();

    if (vmbi_json_parse(p, len, "discovery", &doc, NULL) == VMB_OK) {
        (void)vmbi_kube_discovery_add_aggregated(doc, groups, warnings);
        vmbi_json_free(vmbi_kube_discovery_version(doc, "v1"));
    }
    vmbi_json_free(doc);
    vmbi_json_free(groups);
    vmbi_json_free(warnings);
}

static vmb_code keep_payload(void *user, bool first, const uint8_t *data, size_t len,
                             vmb_error **err)
{
    vmbi_buf *b = user;

    (void)err;
    if (first) {
        vmbi_buf_adds(b, "|");
    }
    vmbi_buf_add(b, data, len);
    return VMB_OK;
}

static vmb_code feed_frames(const char *p, size_t len, size_t first, vmbi_buf *seen)
{
    vmbi_ws *ws = NULL;
    vmb_code code = vmbi_ws_new(keep_payload, seen, &ws, NULL);

    if (code != VMB_OK) {
        abort();
    }
    code = vmbi_ws_feed(ws, p, first, NULL);
    if (code == VMB_OK && !vmbi_ws_is_closed(ws)) {
        code = vmbi_ws_feed(ws, p + first, len - first, NULL);
    }
    vmbi_ws_free(ws);
    return code;
}

static void fuzz_frames(const char *p, size_t len, size_t first)
{
    vmbi_buf whole = VMBI_BUF_INIT(1 << 22);
    vmbi_buf torn = VMBI_BUF_INIT(1 << 22);
    (void)feed_frames(p, len, len, &whole);
    (void)feed_frames(p, len, first, &torn);
    /* not their codes: wslay looks at the reason of a torn close frame less closely */
    if (torn.len != whole.len ||
        (whole.len > 0 && memcmp(torn.data, whole.data, whole.len) != 0)) {
        abort();
    }
    vmbi_buf_free(&whole);
    vmbi_buf_free(&torn);
}

static void fuzz_head(const char *p, size_t len)
{
    static const char *const protocols[] = {"v4.channel.k8s.io"};
    vmbi_ws_head head;
    char value[64];

    if (vmbi_ws_head_parse(p, len, &head) == 1) {
        if (head.head_len > len || head.headers < p || head.headers_len > head.head_len) {
            abort();
        }
        (void)vmbi_ws_head_find(&head, "Content-Length", value, sizeof(value));
        (void)vmbi_ws_head_check(&head, "dGhlIHNhbXBsZSBub25jZQ==", protocols, 1, NULL);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3) {
        return 0;
    }
    const uint8_t kind = data[0];
    const size_t len = size - 2;
    const size_t first = data[1] % (len + 1);
    char *p = vmbi_memdup(data + 2, len); /* alone, so that reading beyond it is seen */

    switch (kind) {
    case 'w':
        fuzz_watch(p, len, first);
        break;
    case 'p':
        fuzz_page(p, len);
        break;
    case 's':
        fuzz_status(p, len, 100 + data[1] * 2);
        break;
    case 'd':
        fuzz_discovery(p, len);
        break;
    case 'f':
        fuzz_frames(p, len, first);
        break;
    case 'h':
        fuzz_head(p, len);
        break;
    default:
        break;
    }
    vmbi_free(p);
    return 0;
}
