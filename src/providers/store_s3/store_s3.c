/* SPDX-License-Identifier: Apache-2.0 */
/* A store in a bucket of an S3 server, over Signature V4 and multipart uploads. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/strs.h"
#include "net/sigv4.h"
#include "providers/builtin.h"
#include "providers/store_s3/object.h"
#include "providers/store_s3/put.h"

#define PRESIGN_MAX_S INT64_C(604800)

static void s3_destroy(void *user)
{
    vmbi_s3 *s = user;

    if (!s) {
        return;
    }
    vmbi_http_free(s->http);
    vmbi_s3_config_free(&s->config);
    vmbi_s3_credentials_free(&s->credentials);
    (void)pthread_mutex_destroy(&s->lock);
    vmbi_free(s);
}

static vmb_code s3_put_begin(void *user, vmb_job *job, const char *key, int64_t size_hint,
                             uint32_t put_flags, void **op, vmb_error **err)
{
    vmbi_s3_put *p = NULL;
    vmb_code code = vmbi_s3_check_key(key, err);

    if (code == VMB_OK && (put_flags & ~(uint32_t)VMB_PUT_IF_ABSENT) != 0) {
        code = vmbi_fail(err, VMB_E_ARG, "write object \"%s\": unknown flag", key);
    }
    if (code == VMB_OK) {
        code = vmbi_limits_check(vmbi_s3_limits(job), err, key);
    }
    if (code == VMB_OK) {
        code =
            vmbi_s3_put_begin(user, key, size_hint, (put_flags & VMB_PUT_IF_ABSENT) != 0, &p, err);
    }
    if (code == VMB_OK) {
        *op = p;
    }
    return code;
}

static vmb_code s3_put_write(void *user, vmb_job *job, void *op, const void *data, size_t len,
                             vmb_error **err)
{
    (void)user;
    return vmbi_s3_put_write(op, job, data, len, err);
}

static vmb_code s3_put_commit(void *user, vmb_job *job, void *op, vmb_error **err)
{
    (void)user;
    return vmbi_s3_put_commit(op, job, err);
}

static void s3_put_abort(void *user, void *op)
{
    (void)user;
    vmbi_s3_put_abort(op);
}

static vmb_code s3_get(void *user, vmb_job *job, const char *key, int64_t offset, int64_t length,
                       vmb_sink *out, vmb_error **err)
{
    vmb_code code = vmbi_s3_check_key(key, err);

    return code == VMB_OK ? vmbi_s3_get(user, job, key, offset, length, out, err) : code;
}

static vmb_code s3_stat(void *user, vmb_job *job, const char *key, int64_t *size_bytes,
                        int64_t *mtime_unix_ns, vmb_error **err)
{
    vmbi_s3_info info;
    vmb_code code = vmbi_s3_check_key(key, err);

    if (code == VMB_OK) {
        code = vmbi_s3_stat(user, key, vmbi_s3_limits(job), &info, err);
    }
    if (code == VMB_OK) {
        *size_bytes = info.size_bytes;
        *mtime_unix_ns = info.mtime_unix_ns;
    }
    return code;
}

static vmb_code s3_list(void *user, vmb_job *job, const char *prefix, const char *delimiter,
                        vmb_key_sink *out, vmb_error **err)
{
    return vmbi_s3_list(user, job, prefix ? prefix : "", delimiter, out, err);
}

static vmb_code s3_remove(void *user, vmb_job *job, const char *key, vmb_error **err)
{
    vmb_code code = vmbi_s3_check_key(key, err);

    return code == VMB_OK ? vmbi_s3_remove(user, key, vmbi_s3_limits(job), err) : code;
}

static vmb_code s3_sweep(void *user, vmb_job *job, const char *prefix, int64_t before_unix_ns,
                         int64_t *removed, vmb_error **err)
{
    return vmbi_s3_sweep(user, vmbi_s3_limits(job), prefix, before_unix_ns, removed, err);
}

/* A URL cannot be corrected by its answer: the region must be right before it is signed. */
static vmb_code learn_region(vmbi_s3 *s, const vmbi_limits *limits, vmb_error **err)
{
    const vmbi_s3_request q = {.what = "look at the bucket", .method = "HEAD"};
    vmbi_http_response r;
    bool known = false;
    vmb_code code = VMB_OK;

    (void)pthread_mutex_lock(&s->lock);
    known = s->region_known;
    (void)pthread_mutex_unlock(&s->lock);
    if (known) {
        return VMB_OK;
    }
    code = vmbi_s3_perform_ok(s, &q, limits, &r, err);
    vmbi_http_response_free(&r);
    return code;
}

static vmb_code presign_url(vmbi_s3 *s, const char *key, int64_t ttl_s,
                            const vmbi_s3_signer *signer, vmbi_buf *url, vmb_error **err)
{
    const vmbi_s3_credentials *c = &signer->credentials;
    const vmbi_sigv4 v4 = {c->access_key,  c->secret_key, c->session_token,
                           signer->region, "s3",          signer->unix_ns};
    vmbi_buf base = VMBI_BUF_INIT(2048);
    vmbi_buf path = VMBI_BUF_INIT(8192);
    vmb_code code = vmbi_s3_address(s, signer->region, key, true, &base, &path, err);

    if (code == VMB_OK) {
        code = vmbi_sigv4_presign(&v4, "GET", base.data, path.data, ttl_s, url, err);
    }
    vmbi_buf_free(&base);
    vmbi_buf_free(&path);
    return code;
}

static vmb_code s3_presign(void *user, vmb_job *job, const char *key, int64_t ttl_ns, vmb_sink *out,
                           vmb_error **err)
{
    vmbi_s3 *s = user;
    const vmbi_limits *limits = vmbi_s3_limits(job);
    const int64_t ttl_s = ttl_ns / VMBI_SECOND;
    vmbi_buf url = VMBI_BUF_INIT(64 * 1024);
    vmbi_s3_signer signer;
    vmb_code code = vmbi_s3_check_key(key, err);

    if (code == VMB_OK && (ttl_s < 1 || ttl_s > PRESIGN_MAX_S)) {
        code = vmbi_fail(err, VMB_E_ARG, "presign \"%s\": valid for 1 second to 7 days", key);
    }
    if (code == VMB_OK && s->config.sse_c_key) {
        code = vmbi_fail(err, VMB_E_UNSUPPORTED,
                         "presign \"%s\": objects under a customer's key need it in a header", key);
    }
    if (code == VMB_OK) {
        code = learn_region(s, limits, err);
    }
    if (code == VMB_OK) {
        code = vmbi_s3_signer_get(s, limits, &signer, err);
    }
    if (code == VMB_OK) {
        code = presign_url(s, key, ttl_s, &signer, &url, err);
        vmbi_s3_credentials_free(&signer.credentials);
    }
    if (code == VMB_OK) {
        code = vmb_sink_write(out, url.data, url.len, err);
    }
    vmbi_buf_free(&url);
    return code;
}

static vmb_code make_http(vmbi_s3 *s, vmb_error **err)
{
    const vmbi_s3_config *c = &s->config;
    const vmbi_http_config config = {.ca_pem = c->ca_pem,
                                     .ca_pem_len = c->ca_pem ? strlen(c->ca_pem) : 0,
                                     .insecure_skip_verify = c->insecure_skip_verify,
                                     .max_tries = c->max_tries};

    return vmbi_http_new(&config, &s->http, err);
}

/* The configuration's region, else the profile's or environment's; AWS tells its own in the first
 * answer, other servers do not. */
static vmb_code choose_region(vmbi_s3 *s, vmb_error **err)
{
    const char *region = s->config.region ? s->config.region : s->credentials.region;

    if (!region && s->config.endpoint) {
        return vmbi_fail(err, VMB_E_ARG, "s3 store: region is required together with s3Url");
    }
    s->region_known = region != NULL;
    region = region ? region : "us-east-1";
    if (strlen(region) >= sizeof(s->region)) {
        return vmbi_fail(err, VMB_E_ARG, "s3 store: region is too long");
    }
    (void)snprintf(s->region, sizeof(s->region), "%s", region);
    return VMB_OK;
}

vmb_code vmbi_store_s3_new(const vmbi_json *settings, vmb_store_provider *out, vmb_error **err)
{
    vmbi_s3 *s = vmbi_zalloc(sizeof(*s));
    vmb_code code = VMB_OK;

    if (!s) {
        return vmbi_fail_nomem(err);
    }
    (void)pthread_mutex_init(&s->lock, NULL); /* cannot fail with default attributes on Linux */
    code = vmbi_s3_config_parse(settings, &s->config, err);
    if (code == VMB_OK) {
        code = vmbi_s3_credentials_load(s->config.credentials, s->config.credentials_file,
                                        s->config.profile, &s->credentials, err);
    }
    if (code == VMB_OK) {
        code = choose_region(s, err);
    }
    if (code == VMB_OK) {
        code = make_http(s, err);
    }
    if (code != VMB_OK) {
        s3_destroy(s);
        return code;
    }
    *out = (vmb_store_provider){.struct_size = sizeof(*out),
                                .api_version = VMB_PROVIDER_API,
                                .name = "s3",
                                .user = s,
                                .destroy = s3_destroy,
                                .put_begin = s3_put_begin,
                                .put_write = s3_put_write,
                                .put_commit = s3_put_commit,
                                .put_abort = s3_put_abort,
                                .get = s3_get,
                                .stat = s3_stat,
                                .list = s3_list,
                                .remove = s3_remove,
                                .presign = s3_presign,
                                .sweep = s3_sweep};
    return VMB_OK;
}
