/* SPDX-License-Identifier: Apache-2.0 */
/* A store through libs3, for servers that want Signature V2, and for who trusts that library.
 *
 * What it cannot do, compared with the s3 provider:
 *  - on libs3 2.0 (Debian, Ubuntu): session tokens and verified TLS (the certificate chain is never
 *    checked, so https needs insecureSkipTLSVerify), keys with bytes outside A-Za-z0-9-._~/ (a
 *    space would be stored as '+');
 *  - on 3.x and 4.x: keys with control characters, which break its lists;
 *  - custom CAs, encryption, tags, checksums, several parts in flight: objects go up by one PUT
 *    from a spool, 5 GiB at most;
 *  - conditional puts: VMB_PUT_IF_ABSENT looks the key up before the PUT;
 *  - a wrong clock is not corrected; regions are not discovered;
 *  - presigned URLs with 3.x and 4.x (their signatures are refused by servers). */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/job.h"
#include "base/strs.h"
#include "codec/digest.h"
#include "net/http.h"
#include "providers/builtin.h"
#include "providers/store_libs3/call.h"
#include "providers/store_libs3/list.h"
#include "providers/store_libs3/spool.h"

enum { KEY_MAX = 1024 };

static const vmbi_limits *limits_of(const vmb_job *job)
{
    return job ? &job->limits : NULL;
}

static vmb_code check_key(const char *key, vmb_error **err)
{
    const size_t len = strlen(key);
    size_t i = 0;

    if (len == 0 || len > KEY_MAX || key[0] == '/') {
        return vmbi_fail(err, VMB_E_ARG,
                         "key \"%.64s\": empty, longer than 1024 bytes or with a leading \"/\"",
                         key);
    }
#ifndef S3_DEFAULT_REGION
    for (i = 0; i < len; i++) {
        if (!vmbi_is_alnum(key[i]) && !strchr("-._~/", key[i])) {
            return vmbi_fail(err, VMB_E_UNSUPPORTED,
                             "key \"%s\": libs3 2.0 stores other characters than A-Za-z0-9-._~/ "
                             "under other names",
                             key);
        }
    }
#else
    for (i = 0; i < len; i++) {
        if ((unsigned char)key[i] < 0x20 || key[i] == 0x7f) {
            return vmbi_fail(err, VMB_E_UNSUPPORTED,
                             "key: libs3 cannot list keys with control characters");
        }
    }
#endif
    return VMB_OK;
}

static vmb_code begin(const char *verb, const char *key, const vmb_job *job, vmbi_libs3_call *c,
                      vmbi_buf *what, vmb_error **err)
{
    vmb_code code = check_key(key, err);

    vmbi_buf_init(what, 2048);
    if (code == VMB_OK) {
        vmbi_buf_addf(what, "%s object \"%s\"", verb, key);
        code = vmbi_buf_check(what, err, verb);
    }
    vmbi_libs3_call_init(c, what->data, limits_of(job));
    return code;
}

/* ---- head and delete ------------------------------------------------------------------------- */

static void start_head(const vmbi_libs3 *s, vmbi_libs3_call *c, void *user)
{
    S3_head_object(&s->bucket, user, VMBI_LIBS3_CONTEXT(c), &vmbi_libs3_response_handler, c);
}

static void start_delete(const vmbi_libs3 *s, vmbi_libs3_call *c, void *user)
{
    S3_delete_object(&s->bucket, user, VMBI_LIBS3_CONTEXT(c), &vmbi_libs3_response_handler, c);
}

/* start functions get their data as void *; keys are only read there. */
static void *as_user(const char *key)
{
    union {
        const char *c;
        void *v;
    } u = {key};

    return u.v;
}

static vmb_code head(const vmbi_libs3 *s, const vmb_job *job, const char *key, vmbi_libs3_call *c,
                     vmb_error **err)
{
    vmbi_buf what;
    vmb_code code = begin("look at", key, job, c, &what, err);

    if (code == VMB_OK) {
        code = vmbi_libs3_run(s, c, start_head, as_user(key), err);
    }
    vmbi_buf_free(&what);
    return code;
}

static vmb_code libs3_stat(void *user, vmb_job *job, const char *key, int64_t *size_bytes,
                           int64_t *mtime_unix_ns, vmb_error **err)
{
    vmbi_libs3_call c;
    vmb_code code = head(user, job, key, &c, err);

    if (code == VMB_OK) {
        *size_bytes = c.content_length;
        *mtime_unix_ns = c.last_modified_s >= 0 ? c.last_modified_s * VMBI_SECOND : -1;
    }
    return code;
}

static vmb_code libs3_remove(void *user, vmb_job *job, const char *key, vmb_error **err)
{
    vmbi_libs3_call c;
    vmbi_buf what;
    vmb_error *e = NULL;
    vmb_code code = begin("remove", key, job, &c, &what, &e);

    if (code == VMB_OK) {
        code = vmbi_libs3_run(user, &c, start_delete, as_user(key), &e);
    }
    if (code == VMB_E_NOT_FOUND && c.status != S3StatusErrorNoSuchBucket) {
        vmb_error_free(vmbi_steal(&e));
        code = VMB_OK;
    }
    vmbi_error_move(err, &e);
    vmbi_buf_free(&what);
    return code;
}

/* ---- get ------------------------------------------------------------------------------------- */

struct get {
    vmbi_libs3_call c; /* first: it is the callback data */
    const char *key;
    vmb_sink *out;
    int64_t at;
    int64_t end;
    char etag[256];
};

static S3Status on_get(int size, const char *data, void *user)
{
    struct get *g = user;

    g->c.last_move_ns = vmbi_mono_ns();
    if (size <= 0) {
        return S3StatusOK;
    }
    if (size > g->end - g->at) {
        g->c.code =
            vmbi_fail(&g->c.error, VMB_E_PROTOCOL, "%s: more bytes than asked for", g->c.what);
        return S3StatusAbortedByCallback;
    }
    g->c.code = vmbi_limits_check(g->c.limits, &g->c.error, g->c.what);
    if (g->c.code != VMB_OK) {
        return S3StatusAbortedByCallback;
    }
    g->c.got_bytes = true;
    g->c.code = vmb_sink_write(g->out, data, (size_t)size, &g->c.error);
    g->at += size;
    g->c.last_move_ns = vmbi_mono_ns();
    return g->c.code == VMB_OK ? S3StatusOK : S3StatusAbortedByCallback;
}

static void start_get(const vmbi_libs3 *s, vmbi_libs3_call *c, void *user)
{
    static const S3GetObjectHandler handler = {{NULL, NULL}, on_get};
    struct get *g = user;
    S3GetObjectHandler h = handler;
    S3GetConditions conditions = {-1, -1, g->etag[0] ? g->etag : NULL, NULL};

    h.responseHandler = vmbi_libs3_response_handler;
    S3_get_object(&s->bucket, g->key, &conditions, (uint64_t)g->at, (uint64_t)(g->end - g->at),
                  VMBI_LIBS3_CONTEXT(c), &h, c);
}

static vmb_code libs3_get(void *user, vmb_job *job, const char *key, int64_t offset, int64_t length,
                          vmb_sink *out, vmb_error **err)
{
    struct get g;
    vmbi_libs3_call info;
    vmbi_buf what = VMBI_BUF_INIT(2048);
    vmb_code code = VMB_OK;

    memset(&g, 0, sizeof(g));
    if (offset < 0 || length < -1) {
        return vmbi_fail(err, VMB_E_ARG, "read object \"%s\": negative range", key);
    }
    code = head(user, job, key, &info, err);
    if (code != VMB_OK || length == 0) {
        return code;
    }
    if (offset > info.content_length || (length > 0 && offset == info.content_length)) {
        return vmbi_fail(err, VMB_E_ARG, "read object \"%s\": starts past the end", key);
    }
    g.key = key;
    g.out = out;
    g.at = offset;
    g.end = info.content_length;
    if (length > 0 && length < g.end - offset) {
        g.end = offset + length;
    }
    memcpy(g.etag, info.etag, sizeof(g.etag));
    code = begin("read", key, job, &g.c, &what, err);
    while (code == VMB_OK && g.at < g.end) {
        const int64_t before = g.at;
        vmb_error *e = NULL;

        g.c.got_bytes = false;
        code = vmbi_libs3_run(user, &g.c, start_get, &g, &e);
        if (code == VMB_OK && g.at < g.end) {
            code = vmbi_fail(&e, VMB_E_PROTOCOL, "%s: fewer bytes than asked for", what.data);
        } else if ((code == VMB_E_NET || code == VMB_E_TIMEOUT || code == VMB_E_SERVER) &&
                   g.c.code == VMB_OK && vmbi_error_is_retryable(e) && g.at > before) {
            vmb_error_free(vmbi_steal(&e)); /* broken on the way: go on where it broke */
            code = vmbi_limits_sleep(limits_of(job), 100 * VMBI_MS, &e, what.data);
        }
        vmbi_error_move(err, &e);
    }
    vmbi_buf_free(&what);
    return code;
}

/* ---- put ------------------------------------------------------------------------------------- */

struct put {
    vmbi_libs3_call c; /* first: it is the callback data */
    char *key;
    bool if_absent;
    vmbi_libs3_spool spool;
    int64_t sent;
    char md5[32];
};

static void put_free(struct put *p)
{
    if (p) {
        vmbi_libs3_spool_done(&p->spool);
        vmbi_free(p->key);
        vmbi_free(p);
    }
}

static vmb_code libs3_put_begin(void *user, vmb_job *job, const char *key, int64_t size_hint,
                                uint32_t put_flags, void **op, vmb_error **err)
{
    struct put *p = NULL;
    vmb_code code = check_key(key, err);

    (void)user;
    (void)size_hint;
    if (code == VMB_OK && (put_flags & ~(uint32_t)VMB_PUT_IF_ABSENT) != 0) {
        code = vmbi_fail(err, VMB_E_ARG, "write object \"%s\": unknown flag", key);
    }
    if (code == VMB_OK) {
        code = vmbi_limits_check(limits_of(job), err, key);
    }
    if (code != VMB_OK) {
        return code;
    }
    p = vmbi_zalloc(sizeof(*p));
    if (!p) {
        return vmbi_fail_nomem(err);
    }
    p->if_absent = (put_flags & VMB_PUT_IF_ABSENT) != 0;
    p->key = vmbi_strdup(key);
    code = p->key ? vmbi_libs3_spool_init(&p->spool, err) : vmbi_fail_nomem(err);
    if (code != VMB_OK) {
        put_free(p);
        return code;
    }
    *op = p;
    return VMB_OK;
}

static vmb_code libs3_put_write(void *user, vmb_job *job, void *op, const void *data, size_t len,
                                vmb_error **err)
{
    struct put *p = op;
    vmb_code code = vmbi_limits_check(limits_of(job), err, "write object");

    (void)user;
    return code == VMB_OK ? vmbi_libs3_spool_write(&p->spool, data, len, err) : code;
}

static int on_put(int size, char *buffer, void *user)
{
    struct put *p = user;
    const int64_t left = p->spool.size - p->sent;
    const size_t want = size < left ? (size_t)size : (size_t)left;
    const int64_t n = want > 0 ? vmbi_libs3_spool_read(&p->spool, p->sent, buffer, want) : 0;

    p->c.last_move_ns = vmbi_mono_ns();
    if (n < 0 || (n == 0 && want > 0)) {
        p->c.code = vmbi_fail(&p->c.error, VMB_E_IO, "%s: read temporary file", p->c.what);
        return -1;
    }
    p->sent += n;
    return (int)n;
}

static void start_put(const vmbi_libs3 *s, vmbi_libs3_call *c, void *user)
{
    struct put *p = user;
    S3PutObjectHandler h = {{NULL, NULL}, on_put};
    S3PutProperties properties;

    memset(&properties, 0, sizeof(properties));
    properties.md5 = p->md5;
    properties.expires = -1;
    properties.cannedAcl = S3CannedAclPrivate;
    h.responseHandler = vmbi_libs3_response_handler;
    p->sent = 0;
    S3_put_object(&s->bucket, p->key, (uint64_t)p->spool.size, &properties, VMBI_LIBS3_CONTEXT(c),
                  &h, c);
}

static vmb_code refuse_existing(const vmbi_libs3 *s, const vmb_job *job, const char *key,
                                vmb_error **err)
{
    vmbi_libs3_call c;
    vmb_error *e = NULL;
    vmb_code code = head(s, job, key, &c, &e);

    if (code == VMB_E_NOT_FOUND) {
        vmb_error_free(e);
        return VMB_OK;
    }
    if (code == VMB_OK) {
        return vmbi_fail(err, VMB_E_EXISTS, "write object \"%s\": exists already", key);
    }
    vmbi_error_move(err, &e);
    return code;
}

static vmb_code libs3_put_commit(void *user, vmb_job *job, void *op, vmb_error **err)
{
    struct put *p = op;
    vmbi_buf what = VMBI_BUF_INIT(2048);
    uint8_t md5[16];
    char hex[33];
    vmb_code code = begin("write", p->key, job, &p->c, &what, err);

    vmbi_digest_final(p->spool.md5, md5);
    vmbi_base64(md5, sizeof(md5), p->md5);
    vmbi_hex(md5, sizeof(md5), hex);
    if (code == VMB_OK && p->if_absent) {
        code = refuse_existing(user, job, p->key, err);
    }
    if (code == VMB_OK) {
        code = vmbi_libs3_run(user, &p->c, start_put, p, err);
    }
    if (code == VMB_OK && p->c.etag[0] == '\0') {
        /* libs3 takes the headers of "100 Continue" for the answer's, and those have no ETag. */
        vmbi_libs3_call info;

        code = head(user, job, p->key, &info, err);
        memcpy(p->c.etag, info.etag, sizeof(p->c.etag));
    }
    if (code == VMB_OK && !strstr(p->c.etag, hex)) {
        (void)libs3_remove(user, job, p->key, NULL);
        code = vmbi_fail(err, VMB_E_PROTOCOL,
                         "%s: the ETag in the answer is not that of the bytes sent; removed",
                         what.data);
    }
    vmbi_buf_free(&what);
    put_free(p);
    return code;
}

static void libs3_put_abort(void *user, void *op)
{
    (void)user;
    put_free(op);
}

/* ---- list and presign ------------------------------------------------------------------------ */

static vmb_code libs3_list(void *user, vmb_job *job, const char *prefix, const char *delimiter,
                           vmb_key_sink *out, vmb_error **err)
{
    return vmbi_libs3_list(user, limits_of(job), prefix ? prefix : "", delimiter, out, err);
}

#ifndef S3_DEFAULT_REGION
static vmb_code libs3_presign(void *user, vmb_job *job, const char *key, int64_t ttl_ns,
                              vmb_sink *out, vmb_error **err)
{
    const vmbi_libs3 *s = user;
    char url[S3_MAX_AUTHENTICATED_QUERY_STRING_SIZE];
    const int64_t ttl_s = ttl_ns / VMBI_SECOND;
    S3Status status = S3StatusOK;
    vmb_code code = check_key(key, err);

    if (code == VMB_OK) {
        code = vmbi_limits_check(limits_of(job), err, "presign");
    }
    if (code == VMB_OK && ttl_s < 1) {
        code = vmbi_fail(err, VMB_E_ARG, "presign \"%s\": valid for 1 second at least", key);
    }
    if (code != VMB_OK) {
        return code;
    }
    status = S3_generate_authenticated_query_string(url, &s->bucket, key,
                                                    vmbi_unix_ns() / VMBI_SECOND + ttl_s, NULL);
    if (status != S3StatusOK) {
        return vmbi_fail(err, VMB_E_INTERNAL, "presign \"%s\": libs3: %s", key,
                         S3_get_status_name(status));
    }
    return vmb_sink_write(out, url, strlen(url), err);
}
#endif

/* ---- constructor ----------------------------------------------------------------------------- */

static void libs3_destroy(void *user)
{
    vmbi_libs3 *s = user;

    if (s) {
        vmbi_s3_config_free(&s->config);
        vmbi_s3_credentials_free(&s->credentials);
        vmbi_free(s->host);
        vmbi_free(s);
    }
}

static vmb_code refuse_config(const vmbi_libs3 *s, vmb_error **err)
{
    const vmbi_s3_config *c = &s->config;
    const char *what = NULL;

    if (c->sse || c->kms_key_id || c->sse_c_key) {
        what = "server-side encryption";
    } else if (c->tagging) {
        what = "tagging";
    } else if (c->checksum != VMBI_S3_CHECKSUM_NONE) {
        what = "checksumAlgorithm";
    } else if (c->ca_pem) {
        what = "caCert";
    } else if (c->base_path[0] != '\0') {
        what = "a path in s3Url";
    } else if (!s->credentials.access_key) {
        what = "web identities";
    }
#ifndef S3_DEFAULT_REGION
    if (!what && s->credentials.session_token) {
        what = "session tokens";
    } else if (!what && !c->insecure_skip_verify &&
               !(c->endpoint && vmbi_starts_with(c->endpoint, "http://"))) {
        what = "verified TLS (set insecureSkipTLSVerify to accept that)";
    }
#endif
    return what ? vmbi_fail(err, VMB_E_UNSUPPORTED,
                            "libs3 store: this libs3 cannot do %s; use provider aws", what)
                : VMB_OK;
}

static vmb_code set_bucket(vmbi_libs3 *s, vmb_error **err)
{
    const vmbi_s3_config *c = &s->config;
    const bool tls = !c->endpoint || vmbi_starts_with(c->endpoint, "https://");

    s->host = vmbi_strdup(c->endpoint ? strstr(c->endpoint, "://") + 3 : S3_DEFAULT_HOSTNAME);
    if (!s->host) {
        return vmbi_fail_nomem(err);
    }
    s->bucket.hostName = s->host;
    s->bucket.bucketName = c->bucket;
    s->bucket.protocol = tls ? S3ProtocolHTTPS : S3ProtocolHTTP;
    s->bucket.uriStyle = c->path_style ? S3UriStylePath : S3UriStyleVirtualHost;
    s->bucket.accessKeyId = s->credentials.access_key;
    s->bucket.secretAccessKey = s->credentials.secret_key;
#ifdef S3_DEFAULT_REGION
    s->bucket.securityToken = s->credentials.session_token;
    s->bucket.authRegion = c->region ? c->region : s->credentials.region;
#endif
    return VMB_OK;
}

vmb_code vmbi_store_libs3_new(const vmbi_json *settings, vmb_store_provider *out, vmb_error **err)
{
    vmbi_libs3 *s = vmbi_zalloc(sizeof(*s));
    vmb_code code = VMB_OK;

    if (!s) {
        return vmbi_fail_nomem(err);
    }
    code = vmbi_s3_config_parse(settings, &s->config, err);
    if (code == VMB_OK) {
        code = vmbi_s3_credentials_load(s->config.credentials, s->config.credentials_file,
                                        s->config.profile, &s->credentials, err);
    }
    if (code == VMB_OK) {
        code = refuse_config(s, err);
    }
    if (code == VMB_OK) {
        code = set_bucket(s, err);
    }
    if (code == VMB_OK) {
        code = vmbi_libs3_global_init(err);
    }
    if (code != VMB_OK) {
        libs3_destroy(s);
        return code;
    }
    *out = (vmb_store_provider){.struct_size = sizeof(*out),
                                .api_version = VMB_PROVIDER_API,
                                .name = "libs3",
                                .user = s,
                                .destroy = libs3_destroy,
                                .put_begin = libs3_put_begin,
                                .put_write = libs3_put_write,
                                .put_commit = libs3_put_commit,
                                .put_abort = libs3_put_abort,
                                .get = libs3_get,
                                .stat = libs3_stat,
                                .list = libs3_list,
                                .remove = libs3_remove};
#ifndef S3_DEFAULT_REGION
    out->presign = libs3_presign;
#endif
    return VMB_OK;
}
