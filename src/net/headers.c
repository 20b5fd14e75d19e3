/* SPDX-License-Identifier: Apache-2.0 */
#include "net/headers.h"

#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/strs.h"

enum { MAX_RESPONSE_HEADERS = 128 * 1024, MAX_REQUEST_HEADER = 128 * 1024 };

void vmbi_headers_clear(vmbi_http_headers *h)
{
    struct curl_slist *i = NULL;

    for (i = h->list; i; i = i->next) {
        explicit_bzero(i->data, strlen(i->data));
    }
    curl_slist_free_all(h->list);
    h->list = NULL;
    h->has_content_type = false;
    h->has_expect = false;
}

void vmbi_headers_done(vmbi_http_headers *h)
{
    vmbi_headers_clear(h);
    if (h->url) {
        explicit_bzero(h->url, strlen(h->url));
    }
    vmbi_free(h->url);
    h->url = NULL;
}

static vmb_code append(vmbi_http_headers *h, vmbi_buf *line, vmb_error **err)
{
    vmb_code code = vmbi_buf_check(line, err, "request header");

    if (code == VMB_OK) {
        struct curl_slist *list = curl_slist_append(h->list, line->data);

        if (list) {
            h->list = list;
        } else {
            code = vmbi_fail_nomem(err);
        }
    }
    if (line->data) {
        explicit_bzero(line->data, line->len);
    }
    vmbi_buf_free(line);
    return code;
}

vmb_code vmbi_http_headers_add(vmbi_http_headers *h, const char *name, const char *value,
                               vmb_error **err)
{
    vmbi_buf line = VMBI_BUF_INIT(MAX_REQUEST_HEADER);

    if (name[0] == '\0' || name[strcspn(name, ":\r\n \t;")] != '\0' ||
        value[strcspn(value, "\r\n")] != '\0') {
        return vmbi_fail(err, VMB_E_ARG, "request header %.*s: line break or bad name",
                         (int)strcspn(name, "\r\n"), name);
    }
    h->has_content_type = h->has_content_type || vmbi_strcaseeq(name, "Content-Type");
    h->has_expect = h->has_expect || vmbi_strcaseeq(name, "Expect");
    vmbi_buf_adds(&line, name);
    if (value[0] == '\0') {
        vmbi_buf_addc(&line, ';'); /* curl's notation for a header without a value */
    } else {
        vmbi_buf_adds(&line, ": ");
        vmbi_buf_adds(&line, value);
    }
    return append(h, &line, err);
}

vmb_code vmbi_http_headers_set_url(vmbi_http_headers *h, const char *url, vmb_error **err)
{
    char *copy = vmbi_strdup(url);

    if (!copy) {
        return vmbi_fail_nomem(err);
    }
    vmbi_free(h->url);
    h->url = copy;
    return VMB_OK;
}

vmb_code vmbi_headers_suppress(vmbi_http_headers *h, const char *name, vmb_error **err)
{
    vmbi_buf line = VMBI_BUF_INIT(256);

    vmbi_buf_adds(&line, name);
    vmbi_buf_addc(&line, ':');
    return append(h, &line, err);
}

void vmbi_http_response_init(vmbi_http_response *r, size_t max_body)
{
    memset(r, 0, sizeof(*r));
    vmbi_buf_init(&r->headers, MAX_RESPONSE_HEADERS);
    vmbi_buf_init(&r->body, max_body);
    vmbi_response_reset(r);
}

void vmbi_http_response_free(vmbi_http_response *r)
{
    if (!r) {
        return;
    }
    vmbi_buf_free(&r->headers);
    vmbi_buf_free(&r->body);
}

void vmbi_response_reset(vmbi_http_response *r)
{
    r->status = 0;
    r->content_length = -1;
    r->date_unix_ns = 0;
    r->retry_after_ns = -1;
    vmbi_buf_reset(&r->headers);
    vmbi_buf_reset(&r->body);
}

/* "HTTP/1.1 200 OK" or "HTTP/2 200". */
static int parse_status(const char *line, size_t len)
{
    const char *space = memchr(line, ' ', len);
    int64_t status = 0;

    if (!space || (size_t)(line + len - space) < 4 || !vmbi_parse_i64(space + 1, 3, &status)) {
        return 0;
    }
    return (int)status;
}

void vmbi_response_header_line(vmbi_http_response *r, const char *line, size_t len)
{
    if (len > 5 && memcmp(line, "HTTP/", 5) == 0) {
        vmbi_response_reset(r); /* also after "100 Continue" */
        r->status = parse_status(line, len);
        return;
    }
    vmbi_buf_add(&r->headers, line, len);
}

static bool header_name_is(const char *line, size_t len, const char *name)
{
    size_t i = 0;

    for (i = 0; name[i] != '\0'; i++) {
        if (i >= len || vmbi_lower(line[i]) != vmbi_lower(name[i])) {
            return false;
        }
    }
    return i < len && line[i] == ':';
}

bool vmbi_http_header_find(const vmbi_http_response *r, const char *name, char *out, size_t size)
{
    const char *p = r->headers.data;
    const char *end = p ? p + r->headers.len : NULL;
    const size_t name_len = strlen(name);

    while (p && p < end) {
        const char *nl = memchr(p, '\n', (size_t)(end - p));
        const char *stop = nl ? nl : end;

        if (header_name_is(p, (size_t)(stop - p), name)) {
            const char *v = p + name_len + 1;

            while (v < stop && vmbi_is_space(*v)) {
                v++;
            }
            while (stop > v && vmbi_is_space(stop[-1])) {
                stop--;
            }
            if ((size_t)(stop - v) >= size) {
                return false; /* half a value would mislead */
            }
            memcpy(out, v, (size_t)(stop - v));
            out[stop - v] = '\0';
            return true;
        }
        p = nl ? nl + 1 : end;
    }
    return false;
}

/* RFC 9110 section 10.2.3: seconds, or a date; the server's own Date is the reference when there
 * is one, so that a wrong clock on our side does not stretch the wait. */
static int64_t parse_retry_after(const char *value, int64_t date_unix_ns)
{
    int64_t n = 0;

    if (vmbi_parse_i64(value, strlen(value), &n)) {
        return n < 0 ? -1 : n > 86400 ? 86400 * VMBI_SECOND : n * VMBI_SECOND;
    }
    if (vmbi_parse_http_date(value, &n)) {
        const int64_t now = date_unix_ns != 0 ? date_unix_ns : vmbi_unix_ns();

        return n > now ? n - now : 0;
    }
    return -1;
}

void vmbi_response_headers_end(vmbi_http_response *r)
{
    char value[128];

    if (vmbi_http_header_find(r, "Content-Length", value, sizeof(value)) &&
        !vmbi_parse_i64(value, strlen(value), &r->content_length)) {
        r->content_length = -1;
    }
    if (vmbi_http_header_find(r, "Date", value, sizeof(value)) &&
        !vmbi_parse_http_date(value, &r->date_unix_ns)) {
        r->date_unix_ns = 0;
    }
    if (vmbi_http_header_find(r, "Retry-After", value, sizeof(value))) {
        r->retry_after_ns = parse_retry_after(value, r->date_unix_ns);
    }
}
