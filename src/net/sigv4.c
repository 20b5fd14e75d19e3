/* SPDX-License-Identifier: Apache-2.0 */
#include "net/sigv4.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/strs.h"
#include "codec/digest.h"

enum { TEXT_MAX = 256 * 1024, MAX_HEADERS = 64 };

static void step(const uint8_t *key, size_t key_len, const char *text, uint8_t out[32])
{
    vmbi_hmac_sha256(key, key_len, text, strlen(text), out);
}

void vmbi_sigv4_key(const vmbi_sigv4 *s, uint8_t out[32])
{
    char date[VMBI_RFC3339_SIZE];
    uint8_t key[4 + 1024];
    uint8_t a[32];
    uint8_t b[32];
    size_t len = strlen(s->secret_key);

    vmbi_format_iso_basic(s->unix_ns, date);
    date[8] = '\0';
    len = len < sizeof(key) - 4 ? len : sizeof(key) - 4;
    memcpy(key, "AWS4", 4);
    memcpy(key + 4, s->secret_key, len);
    step(key, len + 4, date, a);
    step(a, sizeof(a), s->region, b);
    step(b, sizeof(b), s->service, a);
    step(a, sizeof(a), "aws4_request", out);
    explicit_bzero(key, sizeof(key));
    explicit_bzero(a, sizeof(a));
    explicit_bzero(b, sizeof(b));
}

void vmbi_sigv4_sign(const vmbi_sigv4 *s, const char *text, size_t len, char out[65])
{
    uint8_t key[32];
    uint8_t mac[32];

    vmbi_sigv4_key(s, key);
    vmbi_hmac_sha256(key, sizeof(key), text, len, mac);
    vmbi_hex(mac, sizeof(mac), out);
    explicit_bzero(key, sizeof(key));
}

static int compare_params(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static vmb_code encode_param(const vmbi_http_header *p, vmbi_strs *list, vmb_error **err)
{
    vmbi_buf b = VMBI_BUF_INIT(TEXT_MAX);
    vmb_code code = VMB_OK;

    vmbi_url_encode(&b, p->name, strlen(p->name), NULL);
    /* 0x01 sorts before every encoded character, so that "a=…" comes before "a-b=…" as sorting by
     * name, then value demands; it becomes '=' afterwards. */
    vmbi_buf_addc(&b, '\x01');
    if (p->value) {
        vmbi_url_encode(&b, p->value, strlen(p->value), NULL);
    }
    code = vmbi_buf_check(&b, err, "query");
    if (code == VMB_OK) {
        code = vmbi_strs_add(list, b.data, err);
    }
    vmbi_buf_free(&b);
    return code;
}

vmb_code vmbi_sigv4_query(const vmbi_http_header *params, size_t n, vmbi_buf *out, vmb_error **err)
{
    vmbi_strs list = {NULL, 0, 0};
    vmb_code code = VMB_OK;
    size_t i = 0;

    for (i = 0; i < n && code == VMB_OK; i++) {
        code = encode_param(&params[i], &list, err);
    }
    if (code == VMB_OK && list.n > 0) {
        qsort(list.v, list.n, sizeof(list.v[0]), compare_params);
    }
    for (i = 0; i < list.n && code == VMB_OK; i++) {
        char *mark = strchr(list.v[i], '\x01');

        *mark = '=';
        if (i > 0) {
            vmbi_buf_addc(out, '&');
        }
        vmbi_buf_adds(out, list.v[i]);
    }
    vmbi_strs_free(&list);
    return code == VMB_OK ? vmbi_buf_check(out, err, "query") : code;
}

/* Header names in the order of their lower-case forms. */
static int compare_names(const char *a, const char *b)
{
    for (; *a && vmbi_lower(*a) == vmbi_lower(*b); a++, b++) {
    }
    return (int)(unsigned char)vmbi_lower(*a) - (int)(unsigned char)vmbi_lower(*b);
}

static int compare_headers(const void *a, const void *b)
{
    return compare_names((*(const vmbi_http_header *const *)a)->name,
                         (*(const vmbi_http_header *const *)b)->name);
}

static void add_lower(vmbi_buf *out, const char *name)
{
    for (; *name; name++) {
        vmbi_buf_addc(out, vmbi_lower(*name));
    }
}

/* Trimmed, runs of spaces made one. */
static void add_value(vmbi_buf *out, const char *v)
{
    bool gap = false;
    bool any = false;

    for (; *v; v++) {
        if (vmbi_is_space(*v)) {
            gap = any;
            continue;
        }
        if (gap) {
            vmbi_buf_addc(out, ' ');
        }
        vmbi_buf_addc(out, *v);
        gap = false;
        any = true;
    }
}

/* Appends "SignedHeaders" to names and the whole canonical request to text. */
static vmb_code canonical(const vmbi_sigv4_request *r, vmbi_buf *names, vmbi_buf *text,
                          vmb_error **err)
{
    const vmbi_http_header *sorted[MAX_HEADERS];
    size_t i = 0;
    vmb_code code = VMB_OK;

    if (r->n_headers > MAX_HEADERS) {
        return vmbi_fail(err, VMB_E_LIMIT, "signature: more than %d headers", (int)MAX_HEADERS);
    }
    for (i = 0; i < r->n_headers; i++) {
        sorted[i] = &r->headers[i];
    }
    qsort(sorted, r->n_headers, sizeof(sorted[0]), compare_headers);
    vmbi_buf_adds(text, r->method);
    vmbi_buf_addc(text, '\n');
    vmbi_buf_adds(text, r->path);
    vmbi_buf_addc(text, '\n');
    vmbi_buf_adds(text, r->query);
    vmbi_buf_addc(text, '\n');
    for (i = 0; i < r->n_headers; i++) {
        add_lower(text, sorted[i]->name);
        vmbi_buf_addc(text, ':');
        add_value(text, sorted[i]->value);
        vmbi_buf_addc(text, '\n');
        if (i > 0) {
            vmbi_buf_addc(names, ';');
        }
        add_lower(names, sorted[i]->name);
    }
    vmbi_buf_addc(text, '\n');
    code = vmbi_buf_check(names, err, "signed headers");
    if (code == VMB_OK) {
        vmbi_buf_adds(text, names->data);
        vmbi_buf_addc(text, '\n');
        vmbi_buf_adds(text, r->payload);
        code = vmbi_buf_check(text, err, "canonical request");
    }
    return code;
}

static void add_scope(const vmbi_sigv4 *s, vmbi_buf *out)
{
    char date[VMBI_RFC3339_SIZE];

    vmbi_format_iso_basic(s->unix_ns, date);
    date[8] = '\0';
    vmbi_buf_addf(out, "%s/%s/%s/aws4_request", date, s->region, s->service);
}

/* Signature of a request; names receives the list of signed headers. */
static vmb_code sign_request(const vmbi_sigv4 *s, const vmbi_sigv4_request *r, vmbi_buf *names,
                             char signature[65], vmb_error **err)
{
    vmbi_buf text = VMBI_BUF_INIT(TEXT_MAX);
    vmbi_buf to_sign = VMBI_BUF_INIT(4096);
    char date[VMBI_RFC3339_SIZE];
    uint8_t digest[32];
    char hex[65];
    vmb_code code = canonical(r, names, &text, err);

    if (code == VMB_OK) {
        vmbi_sha256(text.data, text.len, digest);
        vmbi_hex(digest, sizeof(digest), hex);
        vmbi_format_iso_basic(s->unix_ns, date);
        vmbi_buf_addf(&to_sign, "AWS4-HMAC-SHA256\n%s\n", date);
        add_scope(s, &to_sign);
        vmbi_buf_addf(&to_sign, "\n%s", hex);
        code = vmbi_buf_check(&to_sign, err, "string to sign");
    }
    if (code == VMB_OK) {
        vmbi_sigv4_sign(s, to_sign.data, to_sign.len, signature);
    }
    vmbi_buf_free(&text);
    vmbi_buf_free(&to_sign);
    return code;
}

vmb_code vmbi_sigv4_authorize(const vmbi_sigv4 *s, const vmbi_sigv4_request *request, vmbi_buf *out,
                              vmb_error **err)
{
    vmbi_buf names = VMBI_BUF_INIT(8192);
    char signature[65];
    vmb_code code = sign_request(s, request, &names, signature, err);

    if (code == VMB_OK) {
        vmbi_buf_addf(out, "AWS4-HMAC-SHA256 Credential=%s/", s->access_key);
        add_scope(s, out);
        vmbi_buf_addf(out, ", SignedHeaders=%s, Signature=%s", names.data, signature);
        code = vmbi_buf_check(out, err, "authorization");
    }
    vmbi_buf_free(&names);
    return code;
}

/* "https://host:port" without scheme; a default port is not part of the Host header. */
static vmb_code host_of(const char *base, char out[512], vmb_error **err)
{
    const char *host = strstr(base, "://");
    const size_t len = host ? strlen(host + 3) : 0;

    if (!host || len == 0 || len >= 512) {
        return vmbi_fail(err, VMB_E_ARG, "presign: base URL has no usable host");
    }
    memcpy(out, host + 3, len + 1);
    if (vmbi_starts_with(base, "https:") && vmbi_ends_with(out, ":443")) {
        out[len - 4] = '\0';
    } else if (vmbi_starts_with(base, "http:") && vmbi_ends_with(out, ":80")) {
        out[len - 3] = '\0';
    }
    return VMB_OK;
}

vmb_code vmbi_sigv4_presign(const vmbi_sigv4 *s, const char *method, const char *base,
                            const char *path, int64_t ttl_s, vmbi_buf *out, vmb_error **err)
{
    char host[512];
    char date[VMBI_RFC3339_SIZE];
    char expires[32];
    char signature[65];
    vmbi_buf credential = VMBI_BUF_INIT(2048);
    vmbi_buf query = VMBI_BUF_INIT(TEXT_MAX);
    vmbi_buf names = VMBI_BUF_INIT(256);
    vmb_code code = host_of(base, host, err);

    vmbi_format_iso_basic(s->unix_ns, date);
    (void)snprintf(expires, sizeof(expires), "%lld", (long long)ttl_s);
    vmbi_buf_addf(&credential, "%s/", s->access_key);
    add_scope(s, &credential);
    if (code == VMB_OK) {
        code = vmbi_buf_check(&credential, err, "presign");
    }
    if (code == VMB_OK) {
        const vmbi_http_header params[] = {
            {"X-Amz-Algorithm", "AWS4-HMAC-SHA256"},
            {"X-Amz-Credential", credential.data},
            {"X-Amz-Date", date},
            {"X-Amz-Expires", expires},
            {"X-Amz-SignedHeaders", "host"},
            {"X-Amz-Security-Token", s->session_token},
        };

        code = vmbi_sigv4_query(params, VMBI_ARRAY_LEN(params) - (s->session_token ? 0 : 1), &query,
                                err);
    }
    if (code == VMB_OK) {
        const vmbi_http_header headers[] = {{"host", host}};
        const vmbi_sigv4_request r = {method, path, query.data, headers, 1, VMBI_SIGV4_UNSIGNED};

        code = sign_request(s, &r, &names, signature, err);
    }
    if (code == VMB_OK) {
        vmbi_buf_addf(out, "%s%s?%s&X-Amz-Signature=%s", base, path, query.data, signature);
        code = vmbi_buf_check(out, err, "presign");
    }
    vmbi_buf_free(&credential);
    vmbi_buf_free(&query);
    vmbi_buf_free(&names);
    return code;
}
