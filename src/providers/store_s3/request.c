/* SPDX-License-Identifier: Apache-2.0 */
#include "providers/store_s3/request.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/strs.h"
#include "codec/digest.h"
#include "net/sigv4.h"
#include "providers/store_s3/xml.h"

enum { MAX_SIGNED = 40, DEFAULT_BODY = 1024 * 1024, INTEGRITY_TRIES = 2 };
/* Servers refuse clocks that are 15 minutes off; less is not worth a correction. */
#define SKEW_NS (300 * VMBI_SECOND)

/* One call of vmbi_s3_perform. */
struct attempt {
    vmbi_s3 *s;
    const vmbi_s3_request *q;
    const vmbi_limits *limits;
    vmbi_http_response *response;
    vmbi_buf query;
    char payload[65];
    int64_t signed_at_ns; /* x-amz-date of the last try */
    char *access_key;     /* of the last try, owned */
    bool clock_corrected;
    bool region_corrected;
    bool renewed;
    int integrity_failures;
};

/* ---- signing --------------------------------------------------------------------------------- */

struct signed_headers {
    vmbi_http_header h[MAX_SIGNED];
    size_t n;
};

static void add(struct signed_headers *l, const char *name, const char *value)
{
    if (value && l->n < MAX_SIGNED) {
        l->h[l->n].name = name;
        l->h[l->n].value = value;
        l->n++;
    }
}

static void collect_headers(const struct attempt *a, const vmbi_s3_signer *signer, const char *host,
                            const char *date, struct signed_headers *l)
{
    const vmbi_s3_config *c = &a->s->config;
    size_t i = 0;

    add(l, "host", host);
    add(l, "x-amz-date", date);
    add(l, "x-amz-content-sha256", a->payload);
    add(l, "x-amz-security-token", signer->credentials.session_token);
    if (a->q->customer_key && c->sse_c_key) {
        add(l, "x-amz-server-side-encryption-customer-algorithm", "AES256");
        add(l, "x-amz-server-side-encryption-customer-key", c->sse_c_key);
        add(l, "x-amz-server-side-encryption-customer-key-MD5", c->sse_c_key_md5);
    }
    for (i = 0; i < a->q->n_headers; i++) {
        add(l, a->q->headers[i].name, a->q->headers[i].value);
    }
}

static vmb_code sign_and_add(struct attempt *a, const vmbi_s3_signer *signer, const char *base,
                             const char *path, vmbi_http_headers *headers, vmb_error **err)
{
    const vmbi_s3_credentials *c = &signer->credentials;
    const vmbi_sigv4 v4 = {c->access_key,  c->secret_key, c->session_token,
                           signer->region, "s3",          signer->unix_ns};
    char date[VMBI_RFC3339_SIZE];
    vmbi_buf authorization = VMBI_BUF_INIT(8192);
    struct signed_headers l = {.n = 0};
    vmb_code code = VMB_OK;
    size_t i = 0;

    vmbi_format_iso_basic(signer->unix_ns, date);
    collect_headers(a, signer, strstr(base, "://") + 3, date, &l);
    {
        const vmbi_sigv4_request r = {a->q->method, path, a->query.data ? a->query.data : "",
                                      l.h,          l.n,  a->payload};

        code = vmbi_sigv4_authorize(&v4, &r, &authorization, err);
    }
    for (i = 1; i < l.n && code == VMB_OK; i++) { /* all but host, which curl sends */
        code = vmbi_http_headers_add(headers, l.h[i].name, l.h[i].value, err);
    }
    if (code == VMB_OK) {
        code = vmbi_http_headers_add(headers, "Authorization", authorization.data, err);
    }
    vmbi_buf_free(&authorization);
    return code;
}

static vmb_code set_url(const struct attempt *a, const char *base, const char *path,
                        vmbi_http_headers *headers, vmb_error **err)
{
    vmbi_buf url = VMBI_BUF_INIT(64 * 1024);
    vmb_code code = VMB_OK;

    vmbi_buf_adds(&url, base);
    vmbi_buf_adds(&url, path);
    if (a->query.len > 0) {
        vmbi_buf_addc(&url, '?');
        vmbi_buf_adds(&url, a->query.data);
    }
    code = vmbi_buf_check(&url, err, "request URL");
    if (code == VMB_OK) {
        code = vmbi_http_headers_set_url(headers, url.data, err);
    }
    vmbi_buf_free(&url);
    return code;
}

static vmb_code on_sign(void *user, int try_number, vmbi_http_headers *headers, vmb_error **err)
{
    struct attempt *a = user;
    vmbi_s3_signer signer;
    vmbi_buf base = VMBI_BUF_INIT(2048);
    vmbi_buf path = VMBI_BUF_INIT(8192);
    vmb_code code = vmbi_s3_signer_get(a->s, a->limits, &signer, err);

    (void)try_number;
    if (code != VMB_OK) {
        return code;
    }
    code = vmbi_s3_address(a->s, signer.region, a->q->key, false, &base, &path, err);
    if (code == VMB_OK) {
        code = set_url(a, base.data, path.data, headers, err);
    }
    if (code == VMB_OK) {
        code = sign_and_add(a, &signer, base.data, path.data, headers, err);
    }
    if (code == VMB_OK) {
        a->signed_at_ns = signer.unix_ns;
        vmbi_free(a->access_key);
        a->access_key = vmbi_steal(&signer.credentials.access_key);
    }
    vmbi_s3_credentials_free(&signer.credentials);
    vmbi_buf_free(&base);
    vmbi_buf_free(&path);
    return code;
}

static vmb_code on_body(void *user, const void *data, size_t len, vmb_error **err)
{
    struct attempt *a = user;

    return a->q->on_body(a->q->user, a->response, data, len, err);
}

/* ---- answers that can be mended -------------------------------------------------------------- */

/* The server's Date tells how far our clock is off. HEAD answers carry no error code: there a
 * great difference between the clocks must do. */
static bool correct_clock(struct attempt *a, const vmbi_http_response *r, const char *name)
{
    int64_t difference = 0;

    if (a->clock_corrected || r->date_unix_ns == 0) {
        return false;
    }
    difference = r->date_unix_ns - a->signed_at_ns;
    if (strcmp(name, "RequestTimeTooSkewed") != 0 &&
        !(name[0] == '\0' && (difference > SKEW_NS || difference < -SKEW_NS))) {
        return false;
    }
    a->clock_corrected = true;
    (void)pthread_mutex_lock(&a->s->lock);
    a->s->clock_offset_ns = r->date_unix_ns - vmbi_unix_ns();
    (void)pthread_mutex_unlock(&a->s->lock);
    return true;
}

static bool region_is_plausible(const char *region)
{
    const char *p = region;

    for (; *p; p++) {
        if (!vmbi_is_alnum(*p) && *p != '-' && *p != '_') {
            return false;
        }
    }
    return p != region;
}

static bool correct_region(struct attempt *a, const vmbi_http_response *r)
{
    char region[VMBI_S3_REGION_MAX];
    bool changed = false;

    if (a->region_corrected) {
        return false;
    }
    if (!vmbi_http_header_find(r, "x-amz-bucket-region", region, sizeof(region)) &&
        !vmbi_s3_xml_text(r->body.data, r->body.len, "Error/Region", region, sizeof(region))) {
        return false;
    }
    if (!region_is_plausible(region)) {
        return false;
    }
    a->region_corrected = true;
    (void)pthread_mutex_lock(&a->s->lock);
    changed = strcmp(a->s->region, region) != 0;
    if (changed) {
        (void)snprintf(a->s->region, sizeof(a->s->region), "%s", region);
    }
    a->s->region_known = true;
    (void)pthread_mutex_unlock(&a->s->lock);
    return changed;
}

static bool is_one_of(const char *name, const char *const *list, size_t n)
{
    size_t i = 0;

    for (i = 0; i < n; i++) {
        if (strcmp(name, list[i]) == 0) {
            return true;
        }
    }
    return false;
}

static bool on_retry(void *user, const vmbi_http_response *r, int try_number)
{
    static const char *const transient[] = {"RequestTimeout",     "OperationAborted",
                                            "IncompleteBody",     "ConditionalRequestConflict",
                                            "InternalError",      "SlowDown",
                                            "ServiceUnavailable", "SlowDownRead",
                                            "SlowDownWrite",      "XMinioServerNotInitialized"};
    static const char *const integrity[] = {"BadDigest", "XAmzContentSHA256Mismatch",
                                            "XAmzContentChecksumMismatch"};
    static const char *const expired[] = {"ExpiredToken", "InvalidToken", "RequestExpired",
                                          "ExpiredTokenException", "InvalidAccessKeyId"};
    struct attempt *a = user;
    char name[64];

    if (r->status / 100 == 2) {
        return a->q->retry && a->q->retry(a->q->user, r, try_number);
    }
    vmbi_s3_error_code(r, name, sizeof(name));
    if (r->status == 403 && correct_clock(a, r, name)) {
        return true;
    }
    if ((r->status == 301 || r->status == 307 || r->status == 400 || r->status == 403) &&
        correct_region(a, r)) {
        return true;
    }
    if (is_one_of(name, expired, VMBI_ARRAY_LEN(expired)) && !a->renewed) {
        a->renewed = true;
        return vmbi_s3_signer_renew(a->s, a->access_key, a->limits);
    }
    if (is_one_of(name, integrity, VMBI_ARRAY_LEN(integrity))) {
        return ++a->integrity_failures <= INTEGRITY_TRIES;
    }
    if (is_one_of(name, transient, VMBI_ARRAY_LEN(transient))) {
        return true;
    }
    return a->q->retry && a->q->retry(a->q->user, r, try_number);
}

/* ---- performing ------------------------------------------------------------------------------ */

static void set_payload(struct attempt *a)
{
    uint8_t digest[32];

    if (!a->q->body || a->q->body_len == 0) {
        memcpy(a->payload, VMBI_SIGV4_EMPTY_SHA256, sizeof(a->payload));
    } else if (a->q->hash_body) {
        vmbi_sha256(a->q->body, a->q->body_len, digest);
        vmbi_hex(digest, sizeof(digest), a->payload);
    } else {
        memcpy(a->payload, VMBI_SIGV4_UNSIGNED, sizeof(VMBI_SIGV4_UNSIGNED));
    }
}

vmb_code vmbi_s3_perform(vmbi_s3 *s, const vmbi_s3_request *request, const vmbi_limits *limits,
                         vmbi_http_response *response, vmb_error **err)
{
    struct attempt a;
    vmbi_http_request http;
    vmbi_buf base = VMBI_BUF_INIT(2048);
    vmbi_buf path = VMBI_BUF_INIT(8192);
    vmb_code code = VMB_OK;

    vmbi_http_response_init(response, request->max_body > 0 ? request->max_body : DEFAULT_BODY);
    memset(&a, 0, sizeof(a));
    memset(&http, 0, sizeof(http));
    a.s = s;
    a.q = request;
    a.limits = limits;
    a.response = response;
    vmbi_buf_init(&a.query, 32 * 1024);
    set_payload(&a);
    code = vmbi_sigv4_query(request->params, request->n_params, &a.query, err);
    if (code == VMB_OK) { /* a name for messages; each try computes its own address */
        code = vmbi_s3_address(s, s->config.region ? s->config.region : "us-east-1", request->key,
                               false, &base, &path, err);
        vmbi_buf_adds(&base, path.data ? path.data : "");
    }
    if (code == VMB_OK) {
        code = vmbi_buf_check(&base, err, "request URL");
    }
    if (code == VMB_OK) {
        http.method = request->method;
        http.url = base.data;
        http.body = request->body;
        http.body_len = request->body_len;
        http.sign = on_sign;
        http.on_body = request->on_body ? on_body : NULL;
        http.retry = on_retry;
        http.user = &a;
        /* Lets the server refuse before megabytes are sent in vain. */
        http.expect_continue = request->body_len > 1024 * 1024;
        http.idle_timeout_ns = request->idle_timeout_ns;
        code = vmbi_http_perform(s->http, &http, limits, response, err);
    }
    vmbi_free(a.access_key);
    vmbi_buf_free(&a.query);
    vmbi_buf_free(&base);
    vmbi_buf_free(&path);
    return code == VMB_OK ? code : vmbi_wrap(err, code, "%s", request->what);
}

vmb_code vmbi_s3_perform_ok(vmbi_s3 *s, const vmbi_s3_request *request, const vmbi_limits *limits,
                            vmbi_http_response *response, vmb_error **err)
{
    vmb_code code = vmbi_s3_perform(s, request, limits, response, err);

    if (code == VMB_OK && response->status / 100 != 2) {
        code = vmbi_s3_fail(s, request->what, response, err);
    }
    return code;
}
