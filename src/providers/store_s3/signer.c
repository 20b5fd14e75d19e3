/* SPDX-License-Identifier: Apache-2.0 */
/* The keys to sign with, and how they are had: from a file, or from STS for a web identity. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/strs.h"
#include "providers/store_s3/request.h"
#include "providers/store_s3/xml.h"

enum { TOKEN_MAX = 64 * 1024 };
#define RENEW_EARLY_NS (300 * VMBI_SECOND)
/* After a failure, while the old keys are still valid. */
#define EXCHANGE_PAUSE_NS (30 * VMBI_SECOND)

static vmb_code read_token(const char *path, vmbi_buf *out, vmb_error **err)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    char chunk[4096];
    ssize_t n = 1;

    if (fd < 0) {
        return vmbi_fail_errno(err, errno, "web identity token %s", path);
    }
    while (n > 0 && out->status == VMB_OK) {
        n = read(fd, chunk, sizeof(chunk));
        if (n > 0) {
            vmbi_buf_add(out, chunk, (size_t)n);
        }
    }
    (void)close(fd);
    explicit_bzero(chunk, sizeof(chunk));
    while (out->len > 0 && vmbi_is_space(out->data[out->len - 1])) {
        out->data[--out->len] = '\0';
    }
    if (n < 0 || out->len == 0) {
        return vmbi_fail(err, VMB_E_IO, "web identity token %s: empty or not readable", path);
    }
    return vmbi_buf_check(out, err, "web identity token");
}

static vmb_code build_form(const vmbi_s3_credentials *c, vmbi_buf *form, vmb_error **err)
{
    const char *session = c->role_session_name ? c->role_session_name : "vmbackup";
    vmbi_buf token = VMBI_BUF_INIT(TOKEN_MAX);
    vmb_code code = read_token(c->token_file, &token, err);

    if (code == VMB_OK) {
        vmbi_buf_adds(form, "Action=AssumeRoleWithWebIdentity&Version=2011-06-15"
                            "&DurationSeconds=3600&RoleArn=");
        vmbi_url_encode(form, c->role_arn, strlen(c->role_arn), NULL);
        vmbi_buf_adds(form, "&RoleSessionName=");
        vmbi_url_encode(form, session, strlen(session), NULL);
        vmbi_buf_adds(form, "&WebIdentityToken=");
        vmbi_url_encode(form, token.data, token.len, NULL);
        code = vmbi_buf_check(form, err, "request to STS");
    }
    if (token.data) {
        explicit_bzero(token.data, token.len);
    }
    vmbi_buf_free(&token);
    return code;
}

static vmb_code take_text(const vmbi_http_response *r, const char *element, char **out,
                          vmb_error **err)
{
    char path[160] = "AssumeRoleWithWebIdentityResponse/AssumeRoleWithWebIdentityResult/"
                     "Credentials/";
    char text[4096];
    const size_t len = strlen(path);

    if (len + strlen(element) >= sizeof(path)) {
        return vmbi_fail(err, VMB_E_INTERNAL, "STS: element name");
    }
    memcpy(path + len, element, strlen(element) + 1);
    if (!vmbi_s3_xml_text(r->body.data, r->body.len, path, text, sizeof(text))) {
        return vmbi_fail(err, VMB_E_PROTOCOL, "STS: no %s in the answer", element);
    }
    *out = vmbi_strdup(text);
    explicit_bzero(text, sizeof(text));
    return *out ? VMB_OK : vmbi_fail_nomem(err);
}

static vmb_code parse_answer(const vmbi_http_response *r, vmbi_s3_credentials *c, vmb_error **err)
{
    char name[64] = "";
    char *expiry = NULL;
    vmb_code code = VMB_OK;

    if (r->status != 200) {
        (void)vmbi_s3_xml_text(r->body.data, r->body.len, "ErrorResponse/Error/Code", name,
                               sizeof(name));
        return vmbi_fail(err, r->status >= 500 ? VMB_E_SERVER : VMB_E_DENIED,
                         "STS: web identity refused (%s, HTTP %d)", name, r->status);
    }
    code = take_text(r, "AccessKeyId", &c->access_key, err);
    if (code == VMB_OK) {
        code = take_text(r, "SecretAccessKey", &c->secret_key, err);
    }
    if (code == VMB_OK) {
        code = take_text(r, "SessionToken", &c->session_token, err);
    }
    if (code == VMB_OK) {
        code = take_text(r, "Expiration", &expiry, err);
    }
    if (code == VMB_OK && !vmbi_parse_rfc3339(expiry, &c->expires_unix_ns)) {
        code = vmbi_fail(err, VMB_E_PROTOCOL, "STS: Expiration is no time");
    }
    vmbi_free(expiry);
    return code;
}

/* AssumeRoleWithWebIdentity: an unsigned form, the token is the proof. *c has role and token file,
 * and gets the keys. */
static vmb_code exchange(const vmbi_s3 *s, const char *region, const vmbi_limits *limits,
                         vmbi_s3_credentials *c, vmb_error **err)
{
    static const vmbi_http_header type[] = {{"Content-Type", "application/x-www-form-urlencoded"}};
    const char *override = secure_getenv("AWS_ENDPOINT_URL_STS");
    vmbi_http_request q = {.method = "POST", .headers = type, .n_headers = 1};
    vmbi_http_response r;
    vmbi_buf url = VMBI_BUF_INIT(2048);
    vmbi_buf form = VMBI_BUF_INIT(4 * TOKEN_MAX);
    vmb_code code = build_form(c, &form, err);

    vmbi_http_response_init(&r, 64 * 1024);
    if (override && override[0] != '\0') {
        vmbi_buf_adds(&url, override);
    } else {
        vmbi_buf_addf(&url, "https://sts.%s.amazonaws.com%s/", region,
                      vmbi_starts_with(region, "cn-") ? ".cn" : "");
    }
    if (code == VMB_OK) {
        code = vmbi_buf_check(&url, err, "STS address");
    }
    if (code == VMB_OK) {
        q.url = url.data;
        q.body = form.data;
        q.body_len = form.len;
        code = vmbi_http_perform(s->http, &q, limits, &r, err);
    }
    if (code == VMB_OK) {
        code = parse_answer(&r, c, err);
    }
    if (form.data) {
        explicit_bzero(form.data, form.len);
    }
    if (r.body.data) {
        explicit_bzero(r.body.data, r.body.len);
    }
    vmbi_http_response_free(&r);
    vmbi_buf_free(&form);
    vmbi_buf_free(&url);
    return code;
}

static bool needs_exchange(const vmbi_s3_credentials *c)
{
    return c->role_arn && c->token_file &&
           (!c->access_key ||
            (c->expires_unix_ns != 0 && c->expires_unix_ns - RENEW_EARLY_NS < vmbi_unix_ns()));
}

static void drop_keys(vmbi_s3_credentials *c)
{
    char **fields[] = {&c->access_key, &c->secret_key, &c->session_token};
    size_t i = 0;

    for (i = 0; i < VMBI_ARRAY_LEN(fields); i++) {
        if (*fields[i]) {
            explicit_bzero(*fields[i], strlen(*fields[i]));
        }
        vmbi_free(*fields[i]);
        *fields[i] = NULL;
    }
    c->expires_unix_ns = 0;
}

/* Puts new credentials in place; *c is taken. */
static void install(vmbi_s3 *s, vmbi_s3_credentials *c)
{
    vmbi_s3_credentials old;

    (void)pthread_mutex_lock(&s->lock);
    old = s->credentials;
    s->credentials = *c;
    (void)pthread_mutex_unlock(&s->lock);
    memset(c, 0, sizeof(*c));
    vmbi_s3_credentials_free(&old);
}

/* Keys that run out soon are as good as new ones for as long as the service is away. */
static bool still_valid(const vmbi_s3_credentials *c)
{
    return c->access_key && c->expires_unix_ns > vmbi_unix_ns();
}

/* New keys for *c, and for the store. */
static vmb_code exchange_for(vmbi_s3 *s, const char *region, const vmbi_limits *limits,
                             vmbi_s3_credentials *c, vmb_error **err)
{
    vmbi_s3_credentials fresh;
    vmbi_s3_credentials copy;
    vmb_code code = VMB_OK;

    memset(&fresh, 0, sizeof(fresh));
    memset(&copy, 0, sizeof(copy));
    code = vmbi_s3_credentials_copy(c, &fresh, err);
    if (code == VMB_OK) {
        drop_keys(&fresh);
        code = exchange(s, region, limits, &fresh, err);
    }
    if (code == VMB_OK) {
        code = vmbi_s3_credentials_copy(&fresh, &copy, err);
    }
    if (code == VMB_OK) {
        install(s, &copy);
        vmbi_s3_credentials_free(c);
        *c = fresh;
    } else {
        vmbi_s3_credentials_free(&fresh);
    }
    return code;
}

static vmb_code renew_if_due(vmbi_s3 *s, const char *region, const vmbi_limits *limits,
                             int64_t not_before_mono_ns, vmbi_s3_credentials *c, vmb_error **err)
{
    vmb_error *e = NULL;
    vmb_code code = VMB_OK;

    if (!needs_exchange(c) || (still_valid(c) && vmbi_mono_ns() < not_before_mono_ns)) {
        return VMB_OK;
    }
    code = exchange_for(s, region, limits, c, &e);
    if (code != VMB_OK && still_valid(c)) {
        vmb_error_free(vmbi_steal(&e));
        code = VMB_OK;
        (void)pthread_mutex_lock(&s->lock);
        s->exchange_after_mono_ns = vmbi_mono_ns() + EXCHANGE_PAUSE_NS;
        (void)pthread_mutex_unlock(&s->lock);
    }
    vmbi_error_move(err, &e);
    return code;
}

vmb_code vmbi_s3_signer_get(vmbi_s3 *s, const vmbi_limits *limits, vmbi_s3_signer *out,
                            vmb_error **err)
{
    vmbi_s3_signer signer;
    int64_t not_before_mono_ns = 0;
    vmb_code code = VMB_OK;

    memset(&signer, 0, sizeof(signer));
    (void)pthread_mutex_lock(&s->lock);
    code = vmbi_s3_credentials_copy(&s->credentials, &signer.credentials, err);
    memcpy(signer.region, s->region, sizeof(signer.region));
    signer.unix_ns = vmbi_unix_ns() + s->clock_offset_ns;
    not_before_mono_ns = s->exchange_after_mono_ns;
    (void)pthread_mutex_unlock(&s->lock);
    if (code == VMB_OK) {
        code = renew_if_due(s, signer.region, limits, not_before_mono_ns, &signer.credentials, err);
    }
    if (code == VMB_OK) {
        *out = signer;
    } else {
        vmbi_s3_credentials_free(&signer.credentials);
    }
    return code;
}

bool vmbi_s3_signer_renew(vmbi_s3 *s, const char *refused_access_key, const vmbi_limits *limits)
{
    const vmbi_s3_config *c = &s->config;
    vmbi_s3_credentials fresh;
    char region[VMBI_S3_REGION_MAX];
    bool changed = false;

    memset(&fresh, 0, sizeof(fresh));
    (void)pthread_mutex_lock(&s->lock);
    memcpy(region, s->region, sizeof(region));
    (void)pthread_mutex_unlock(&s->lock);
    if (vmbi_s3_credentials_load(c->credentials, c->credentials_file, c->profile, &fresh, NULL) !=
        VMB_OK) {
        return false;
    }
    if (needs_exchange(&fresh) && exchange(s, region, limits, &fresh, NULL) != VMB_OK) {
        vmbi_s3_credentials_free(&fresh);
        return false;
    }
    changed = !vmbi_streq(fresh.access_key, refused_access_key);
    if (changed) {
        install(s, &fresh);
    }
    vmbi_s3_credentials_free(&fresh);
    return changed;
}
