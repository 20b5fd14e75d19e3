/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/client.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "codec/gzip.h"
#include "kube/status.h"
#include "kube/throttle.h"

enum {
    URL_MAX_BYTES = 64 * 1024,
    HEADERS_MAX = 8,
    ONCE_TRIES = 8,
    /* A server that has answered once gets about half a minute to come back from a restart; one
     * that never did is probably the wrong address. */
    TRIES_KNOWN = 12,
    TRIES_UNKNOWN = 5
};

#define RETRY_CAP_NS (10 * VMBI_SECOND)

/* Net's connections for one client certificate; replaced when a plugin brings another one. */
struct vmbi_kube_transport {
    size_t refs; /* lock of the client */
    uint64_t cert_generation;
    vmbi_http *http;
};

struct vmbi_kube {
    atomic_uint refs; /* relaxed up, release/acquire down */
    vmbi_kube_config config;
    vmbi_kube_auth *auth;
    char *user_agent;
    bool gzip;
    atomic_bool reached; /* the server has answered; relaxed, only a hint */
    vmbi_kube_throttle throttle;
    pthread_mutex_t lock;
    vmbi_kube_transport *transport; /* lock: the newest; holds one reference */
};

static bool is_loopback(const char *server)
{
    const char *host = strstr(server, "://");
    host = host != NULL ? host + 3 : server;
    return vmbi_starts_with(host, "127.") || vmbi_starts_with(host, "localhost") ||
           vmbi_starts_with(host, "[::1]");
}

static vmb_code apply_options(vmbi_kube *k, const vmbi_kube_options *o, vmb_error **err)
{
    const char *agent = o->user_agent != NULL ? o->user_agent : "libvmbackup/" VMBI_VERSION;
    k->user_agent = vmbi_strdup(agent);
    if (k->user_agent == NULL) {
        return vmbi_fail_nomem(err);
    }
    if (o->ns != NULL) {
        char *ns = vmbi_strdup(o->ns);
        if (ns == NULL) {
            return vmbi_fail_nomem(err);
        }
        vmbi_free(k->config.ns);
        k->config.ns = ns;
    }
    k->gzip = o->gzip == VMBI_KUBE_GZIP_AUTO
                  ? !is_loopback(k->config.server) && !k->config.no_compression
                  : o->gzip != 0;
    return VMB_OK;
}

vmb_code vmbi_kube_new(const vmbi_kube_options *options, vmbi_kube **out, vmb_error **err)
{
    vmbi_kube_sources sources = vmbi_kube_sources_from_env(options->kubeconfig);
    vmbi_kube *k = vmbi_zalloc(sizeof(*k));
    if (k == NULL) {
        return vmbi_fail_nomem(err);
    }
    atomic_init(&k->refs, 1);
    atomic_init(&k->reached, false);
    (void)pthread_mutex_init(&k->lock, NULL);
    vmbi_kube_throttle_init(&k->throttle, options->qps, options->burst);
    vmb_code rc = vmbi_kube_config_load(&sources, options->context, &k->config, err);
    if (rc == VMB_OK) {
        rc = apply_options(k, options, err);
    }
    if (rc == VMB_OK) {
        rc = vmbi_kube_auth_new(&k->config, &k->auth, err);
    }
    if (rc != VMB_OK) {
        vmbi_kube_drop(k);
        return rc;
    }
    *out = k;
    return VMB_OK;
}

vmbi_kube *vmbi_kube_hold(vmbi_kube *k)
{
    (void)atomic_fetch_add_explicit(&k->refs, 1, memory_order_relaxed);
    return k;
}

/* Gives a reference to a transport back; the last one frees it. */
static void transport_drop(vmbi_kube *k, vmbi_kube_transport *t)
{
    if (t == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&k->lock);
    bool last = --t->refs == 0;
    (void)pthread_mutex_unlock(&k->lock);
    if (last) {
        vmbi_http_free(t->http);
        vmbi_free(t);
    }
}

void vmbi_kube_drop(vmbi_kube *k)
{
    if (k == NULL || atomic_fetch_sub_explicit(&k->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    transport_drop(k, k->transport);
    vmbi_kube_auth_free(k->auth);
    vmbi_kube_config_free(&k->config);
    vmbi_kube_throttle_done(&k->throttle);
    (void)pthread_mutex_destroy(&k->lock);
    vmbi_free(k->user_agent);
    vmbi_free(k);
}

const char *vmbi_kube_server(const vmbi_kube *k)
{
    return k->config.server;
}

const char *vmbi_kube_user_agent(const vmbi_kube *k)
{
    return k->user_agent;
}

static vmb_code transport_new(const vmbi_kube *k, const vmbi_kube_login *login,
                              vmbi_kube_transport **out, vmb_error **err)
{
    const vmbi_kube_config *c = &k->config;
    bool from_plugin = login->cert_pem != NULL;
    vmbi_http_config http = {
        .ca_pem = c->ca_pem,
        .ca_pem_len = c->ca_len,
        .ca_replaces_system = c->ca_pem != NULL,
        .insecure_skip_verify = c->insecure,
        .tls_server_name = c->tls_server_name,
        .client_cert_pem = from_plugin ? login->cert_pem : c->cert_pem,
        .client_cert_len = from_plugin ? strlen(login->cert_pem) : c->cert_len,
        .client_key_pem = from_plugin ? login->key_pem : c->key_pem,
        .client_key_len = from_plugin ? strlen(login->key_pem) : c->key_len,
        .proxy_url = c->proxy_url,
        .user_agent = k->user_agent,
        .max_tries = TRIES_KNOWN,
        .retry_cap_ns = RETRY_CAP_NS,
    };
    vmbi_kube_transport *t = vmbi_zalloc(sizeof(*t));
    if (t == NULL) {
        return vmbi_fail_nomem(err);
    }
    vmb_code rc = vmbi_http_new(&http, &t->http, err);
    if (rc != VMB_OK) {
        vmbi_free(t);
        return rc;
    }
    t->refs = 1;
    t->cert_generation = login->cert_generation;
    *out = t;
    return VMB_OK;
}

/* The transport for a login, with a reference for the caller. */
static vmb_code transport_take(vmbi_kube *k, const vmbi_kube_login *login,
                               vmbi_kube_transport **out, vmb_error **err)
{
    vmbi_kube_transport *t = NULL;
    vmbi_kube_transport *old = NULL;
    (void)pthread_mutex_lock(&k->lock);
    if (k->transport != NULL && k->transport->cert_generation == login->cert_generation) {
        t = k->transport;
        t->refs++;
    }
    (void)pthread_mutex_unlock(&k->lock);
    if (t == NULL) {
        vmb_code rc = transport_new(k, login, &t, err);
        if (rc != VMB_OK || t == NULL) {
            return rc;
        }
        (void)pthread_mutex_lock(&k->lock);
        /* two threads may both get here: the later one's stays, the other dies with its request */
        old = k->transport;
        k->transport = t;
        t->refs++;
        (void)pthread_mutex_unlock(&k->lock);
        transport_drop(k, old);
    }
    *out = t;
    return VMB_OK;
}

vmb_code vmbi_kube_session_open(vmbi_kube *k, const vmbi_limits *limits, vmbi_kube_session *out,
                                vmb_error **err)
{
    vmbi_kube_session s = {0};
    vmb_code rc = vmbi_kube_throttle_wait(&k->throttle, limits, err);
    if (rc == VMB_OK) {
        rc = vmbi_kube_auth_get(k->auth, limits, &s.login, err);
    }
    if (rc == VMB_OK) {
        rc = transport_take(k, &s.login, &s.transport, err);
    }
    if (rc != VMB_OK) {
        vmbi_kube_login_free(&s.login);
        return rc;
    }
    s.http = s.transport->http;
    *out = s;
    return VMB_OK;
}

void vmbi_kube_session_close(vmbi_kube *k, vmbi_kube_session *session)
{
    transport_drop(k, session->transport);
    vmbi_kube_login_free(&session->login);
    *session = (vmbi_kube_session){0};
}

bool vmbi_kube_session_refused(vmbi_kube *k, const vmbi_kube_session *session)
{
    return vmbi_kube_auth_refused(k->auth, session->login.generation);
}

vmb_code vmbi_kube_login_headers(vmbi_kube *k, const vmbi_kube_login *login,
                                 vmbi_kube_header_fn fn, void *user, vmb_error **err)
{
    const vmbi_kube_config *c = &k->config;
    vmb_code rc = VMB_OK;
    if (login->authorization != NULL) {
        rc = fn(user, "Authorization", login->authorization, err);
    }
    if (rc == VMB_OK && c->as_user != NULL) {
        rc = fn(user, "Impersonate-User", c->as_user, err);
    }
    if (rc == VMB_OK && c->as_uid != NULL) {
        rc = fn(user, "Impersonate-Uid", c->as_uid, err);
    }
    for (size_t i = 0; rc == VMB_OK && i < c->as_groups.n; i++) {
        rc = fn(user, "Impersonate-Group", c->as_groups.v[i], err);
    }
    return rc;
}

/* ---- single requests -------------------------------------------------------------------- */

typedef struct signer {
    vmbi_kube *k;
    vmbi_kube_session *session;
    const vmbi_limits *limits;
} signer;

static vmb_code add_header(void *user, const char *name, const char *value, vmb_error **err)
{
    return vmbi_http_headers_add(user, name, value, err);
}

/* Tries can be minutes apart (Retry-After): from the second one on the token is asked for again. */
static vmb_code sign(void *user, int try_number, vmbi_http_headers *headers, vmb_error **err)
{
    signer *s = user;
    if (try_number > 1) {
        vmbi_kube_login fresh = {0};
        vmb_code rc = vmbi_kube_auth_get(s->k->auth, s->limits, &fresh, err);
        if (rc != VMB_OK) {
            return rc;
        }
        vmbi_kube_login_free(&s->session->login);
        s->session->login = fresh;
    }
    return vmbi_kube_login_headers(s->k, &s->session->login, add_header, headers, err);
}

static vmb_code send_call(vmbi_kube *k, const vmbi_kube_call *call, const char *url,
                          const vmbi_limits *limits, vmbi_kube_session *session, bool reached,
                          vmbi_http_response *response, vmb_error **err)
{
    signer s = {k, session, limits};
    vmbi_http_header headers[HEADERS_MAX];
    size_t n = 0;
    headers[n++] = (vmbi_http_header){
        "Accept", call->accept != NULL ? call->accept : "application/json"};
    if (call->body != NULL) {
        headers[n++] = (vmbi_http_header){"Content-Type", call->content_type};
    }
    if (call->gzip && k->gzip) {
        headers[n++] = (vmbi_http_header){"Accept-Encoding", "gzip"};
    }
    vmbi_http_request request = {
        .method = call->method,
        .url = url,
        .headers = headers,
        .n_headers = n,
        .body = call->body,
        .body_len = call->body_len,
        .sign = sign,
        .user = &s,
        .no_retry = call->once,
        .max_tries = call->max_tries > 0 ? call->max_tries : reached ? 0 : TRIES_UNKNOWN,
    };
    vmb_code rc = vmbi_http_perform(session->http, &request, limits, response, err);
    if (rc == VMB_OK) {
        atomic_store_explicit(&k->reached, true, memory_order_relaxed);
    }
    return rc;
}

static vmb_code buf_write(void *user, const void *data, size_t len, vmb_error **err)
{
    vmbi_buf *b = user;
    vmbi_buf_add(b, data, len);
    return vmbi_buf_check(b, err, "response body");
}

/* Replaces a compressed body by the plain one, within the same ceiling. */
static vmb_code decompress(vmbi_http_response *r, vmb_error **err)
{
    char encoding[32];
    vmbi_gunzip *z = NULL;
    if (!vmbi_http_header_find(r, "Content-Encoding", encoding, sizeof(encoding)) ||
        !vmbi_strcaseeq(encoding, "gzip")) {
        return VMB_OK;
    }
    vmbi_buf plain = VMBI_BUF_INIT(r->body.max);
    vmb_code rc = vmbi_gunzip_new(0, buf_write, &plain, &z, err);
    if (rc == VMB_OK) {
        rc = vmbi_gunzip_write(z, r->body.data, r->body.len, err);
    }
    if (rc == VMB_OK) {
        rc = vmbi_gunzip_finish(z, err);
    }
    vmbi_gunzip_free(z);
    if (rc == VMB_OK) {
        vmbi_buf_free(&r->body);
        r->body = plain;
    } else {
        r->body.status = rc == VMB_E_LIMIT ? VMB_E_LIMIT : r->body.status;
        vmbi_buf_free(&plain);
    }
    return rc;
}

static bool is_json(const vmbi_buf *body)
{
    size_t i = 0;
    while (i < body->len && vmbi_is_space(body->data[i])) {
        i++;
    }
    return i < body->len && body->data[i] == '{';
}

static vmb_code judge(const vmbi_kube_call *call, const vmbi_http_response *r, vmb_error **err)
{
    char type[128];
    if (r->status / 100 == 2 && is_json(&r->body)) {
        return VMB_OK;
    }
    bool typed = vmbi_http_header_find(r, "Content-Type", type, sizeof(type));
    vmbi_kube_answer answer = {
        .http_status = r->status,
        .content_type = typed ? type : "",
        .body = r->body.data != NULL ? r->body.data : "",
        .len = r->body.len,
    };
    return vmbi_kube_status_fail(&answer, call->what, err);
}

static bool is_overloaded(const vmbi_http_response *r)
{
    return r->status == 429 || r->status >= 500;
}

/* Pause before the next try of a request that net may send only once; 429 says that the server
 * did not begin to work on it. */
static int64_t refusal_pause_ns(const vmbi_http_response *r, int tries)
{
    int64_t own = VMBI_SECOND / 4 * tries;
    return r->retry_after_ns > own ? r->retry_after_ns : own;
}

vmb_code vmbi_kube_call_perform(vmbi_kube *k, const vmbi_kube_call *call,
                                const vmbi_limits *limits, vmbi_http_response *response,
                                vmb_error **err)
{
    vmbi_buf url = VMBI_BUF_INIT(URL_MAX_BYTES);
    bool renewed = false;
    vmbi_buf_adds(&url, k->config.server);
    vmbi_buf_adds(&url, call->path);
    vmb_code rc = vmbi_buf_check(&url, err, "request url");
    for (int tries = 1; rc == VMB_OK; tries++) {
        vmbi_kube_session session = {0};
        bool reached = atomic_load_explicit(&k->reached, memory_order_relaxed);
        rc = vmbi_kube_session_open(k, limits, &session, err);
        if (rc == VMB_OK) {
            rc = send_call(k, call, url.data, limits, &session, reached, response, err);
        }
        bool again = rc == VMB_OK && response->status == 401 && !renewed &&
                     vmbi_kube_session_refused(k, &session);
        renewed = renewed || again;
        if (rc == VMB_OK && !reached && !call->once && is_overloaded(response)) {
            again = true; /* the few tries of a first contact were used up: it does live */
        }
        if (rc == VMB_OK && call->once && response->status == 429 && tries < ONCE_TRIES) {
            int64_t pause = refusal_pause_ns(response, tries);
            int64_t left = vmbi_limits_remaining_ns(limits);
            again = left < 0 || pause < left;
            rc = again ? vmbi_limits_sleep(limits, pause, err, call->what) : rc;
        }
        vmbi_kube_session_close(k, &session);
        if (!again || rc != VMB_OK) {
            break;
        }
    }
    vmbi_buf_free(&url);
    if (rc == VMB_OK) {
        rc = decompress(response, err);
    }
    if (rc != VMB_OK) {
        return vmbi_wrap(err, rc, "%s", call->what);
    }
    return judge(call, response, err);
}
