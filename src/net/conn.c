/* SPDX-License-Identifier: Apache-2.0 */
#include "net/conn.h"

#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/strs.h"

enum {
    POOL_MAX = 16,            /* idle handles kept per server */
    RECV_BUFFER = 128 * 1024, /* CURLOPT_BUFFERSIZE */
    SEND_BUFFER = 256 * 1024, /* CURLOPT_UPLOAD_BUFFERSIZE */
    CONNECT_TIMEOUT_MS = 10000,
    EXPECT_TIMEOUT_MS = 1000
};

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;

static void init_curl(void)
{
    (void)curl_global_init(CURL_GLOBAL_DEFAULT); /* a failure shows again in curl_easy_init */
}

void vmbi_conn_free(vmbi_conn *c)
{
    if (!c) {
        return;
    }
    if (c->multi && c->easy) {
        (void)curl_multi_remove_handle(c->multi, c->easy);
    }
    curl_easy_cleanup(c->easy);
    if (c->multi) {
        (void)curl_multi_cleanup(c->multi);
    }
    curl_slist_free_all(c->connect_to);
    vmbi_free(c);
}

static vmbi_conn *conn_new(void)
{
    vmbi_conn *c = NULL;

    (void)pthread_once(&curl_once, init_curl);
    c = vmbi_zalloc(sizeof(*c));
    if (!c) {
        return NULL;
    }
    c->multi = curl_multi_init();
    c->easy = curl_easy_init();
    if (!c->multi || !c->easy) {
        vmbi_conn_free(c);
        return NULL;
    }
    (void)curl_multi_setopt(c->multi, CURLMOPT_MAXCONNECTS, 2L);
    return c;
}

static CURLcode set_blob(CURL *easy, CURLoption option, char *data, size_t len)
{
    struct curl_blob blob = {.data = data, .len = len, .flags = CURL_BLOB_NOCOPY};

    return curl_easy_setopt(easy, option, &blob);
}

static CURLcode set_tls(const vmbi_http *h, CURL *easy)
{
    const vmbi_http_config *c = &h->config;
    CURLcode rc = CURLE_OK;

    rc |= curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (c->insecure_skip_verify) {
        rc |= curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0L);
        rc |= curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0L);
    }
    if (h->ca_pem) {
        rc |= set_blob(easy, CURLOPT_CAINFO_BLOB, h->ca_pem, c->ca_pem_len);
        if (c->ca_replaces_system) {
            rc |= curl_easy_setopt(easy, CURLOPT_CAINFO, NULL);
            rc |= curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
        }
    }
    if (h->client_cert) {
        rc |= curl_easy_setopt(easy, CURLOPT_SSLCERTTYPE, "PEM");
        rc |= set_blob(easy, CURLOPT_SSLCERT_BLOB, h->client_cert, c->client_cert_len);
    }
    if (h->client_key) {
        rc |= curl_easy_setopt(easy, CURLOPT_SSLKEYTYPE, "PEM");
        rc |= set_blob(easy, CURLOPT_SSLKEY_BLOB, h->client_key, c->client_key_len);
    }
    return rc;
}

static CURLcode set_common(const vmbi_http *h, vmbi_conn *c)
{
    CURL *easy = c->easy;
    const int64_t ns = h->config.connect_timeout_ns;
    CURLcode rc = CURLE_OK;

    rc |= curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, c->errbuf);
    rc |= curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    rc |= curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 1L);
    rc |= curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
    /* One exchange per connection at a time: HTTP/2 would only add framing and its own flow
     * control windows to bulk transfers. */
    rc |= curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    rc |=
        curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS,
                         ns > 0 ? (long)((ns + VMBI_MS - 1) / VMBI_MS) : (long)CONNECT_TIMEOUT_MS);
    rc |= curl_easy_setopt(easy, CURLOPT_EXPECT_100_TIMEOUT_MS, (long)EXPECT_TIMEOUT_MS);
    rc |= curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    rc |= curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, (long)RECV_BUFFER);
    rc |= curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, (long)SEND_BUFFER);
    rc |= curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    rc |= curl_easy_setopt(easy, CURLOPT_USERAGENT, h->user_agent);
#if LIBCURL_VERSION_NUM >= 0x075500
    rc |= curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
#else
    rc |= curl_easy_setopt(easy, CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
#if LIBCURL_VERSION_NUM >= 0x075700
    /* Without this a cancelled transfer waits for its name lookup, which may take half a minute. */
    (void)curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
#endif
    if (h->proxy_url) {
        rc |= curl_easy_setopt(easy, CURLOPT_PROXY, h->proxy_url);
    }
    return rc | set_tls(h, easy);
}

static vmbi_conn *pool_pop(vmbi_http *h)
{
    vmbi_conn *c = NULL;

    if (h->pid != getpid()) {
        return NULL;
    }
    (void)pthread_mutex_lock(&h->lock);
    c = h->idle;
    if (c) {
        h->idle = c->next;
        h->n_idle--;
        c->next = NULL;
    }
    (void)pthread_mutex_unlock(&h->lock);
    return c;
}

vmb_code vmbi_conn_take(vmbi_http *h, vmbi_conn **out, vmb_error **err)
{
    vmbi_conn *c = pool_pop(h);

    if (!c) {
        c = conn_new();
    }
    if (!c) {
        return vmbi_fail_nomem(err);
    }
    c->errbuf[0] = '\0';
    if (set_common(h, c) != CURLE_OK) {
        vmbi_conn_free(c);
        return vmbi_fail(err, VMB_E_UNSUPPORTED,
                         "prepare connection: the installed libcurl lacks an option or memory "
                         "is out");
    }
    *out = c;
    return VMB_OK;
}

void vmbi_conn_give(vmbi_http *h, vmbi_conn *c)
{
    bool kept = false;

    if (!c) {
        return;
    }
    (void)curl_multi_remove_handle(c->multi, c->easy);
    curl_easy_reset(c->easy);
    curl_slist_free_all(c->connect_to);
    c->connect_to = NULL;
    (void)pthread_mutex_lock(&h->lock);
    if (h->n_idle < POOL_MAX && h->pid == getpid()) {
        c->next = h->idle;
        h->idle = c;
        h->n_idle++;
        kept = true;
    }
    (void)pthread_mutex_unlock(&h->lock);
    if (!kept) {
        vmbi_conn_free(c);
    }
}

/* Splits "scheme://authority/rest"; host_len counts the host (with brackets for IPv6), port points
 * at the digits or is NULL. */
struct url_parts {
    const char *authority;
    size_t authority_len;
    size_t host_len;
    const char *port;
    size_t port_len;
};

static bool split_url(const char *url, struct url_parts *out)
{
    const char *a = strstr(url, "://");
    const char *colon = NULL;
    size_t i = 0;

    if (!a || a == url) {
        return false;
    }
    a += 3;
    out->authority = a;
    out->authority_len = strcspn(a, "/?#");
    for (i = 0; i < out->authority_len; i++) {
        if (a[i] == ':') {
            colon = a + i;
        } else if (a[i] == ']') {
            colon = NULL;
        } else if (a[i] == '@') {
            return false; /* credentials in URLs end up in logs: refused */
        }
    }
    out->host_len = colon ? (size_t)(colon - a) : out->authority_len;
    out->port = colon ? colon + 1 : NULL;
    out->port_len = colon ? out->authority_len - out->host_len - 1 : 0;
    return out->host_len > 0;
}

/* Rewrites the URL so that curl uses the TLS server name for SNI and verification while it
 * connects to the real host. */
static vmb_code set_server_name(vmbi_http *h, vmbi_conn *c, const char *url,
                                const struct url_parts *p, char **host_header, vmb_error **err)
{
    vmbi_buf b = VMBI_BUF_INIT(128 * 1024);
    vmbi_buf to = VMBI_BUF_INIT(4096);
    char *host = NULL;
    vmb_code code = VMB_OK;

    vmbi_buf_add(&b, url, (size_t)(p->authority - url));
    vmbi_buf_adds(&b, h->tls_server_name);
    vmbi_buf_add(&b, p->authority + p->host_len, strlen(p->authority + p->host_len));
    vmbi_buf_adds(&to, "::");
    vmbi_buf_add(&to, p->authority, p->host_len);
    vmbi_buf_addc(&to, ':');
    if (p->port_len > 0) {
        vmbi_buf_add(&to, p->port, p->port_len);
    }
    code = vmbi_buf_check(&b, err, "request URL");
    if (code == VMB_OK) {
        code = vmbi_buf_check(&to, err, "request host");
    }
    if (code == VMB_OK) {
        struct curl_slist *list = curl_slist_append(NULL, to.data);

        curl_slist_free_all(c->connect_to);
        c->connect_to = list;
        host = vmbi_strndup(p->authority, p->authority_len);
        if (!host || !list ||
            curl_easy_setopt(c->easy, CURLOPT_CONNECT_TO, c->connect_to) != CURLE_OK ||
            curl_easy_setopt(c->easy, CURLOPT_URL, b.data) != CURLE_OK) {
            code = vmbi_fail_nomem(err);
        }
    }
    if (code == VMB_OK && host_header) {
        *host_header = vmbi_steal(&host);
    }
    vmbi_free(host);
    vmbi_buf_free(&b);
    vmbi_buf_free(&to);
    return code;
}

vmb_code vmbi_conn_set_url(vmbi_http *h, vmbi_conn *c, const char *url, char **host_header,
                           vmb_error **err)
{
    struct url_parts p;

    if (!(vmbi_starts_with(url, "http://") || vmbi_starts_with(url, "https://")) ||
        !split_url(url, &p)) {
        return vmbi_fail(err, VMB_E_ARG, "request URL: http://host or https://host expected%s",
                         strchr(url, '@') ? ", without a user" : "");
    }
    if (h->tls_server_name && vmbi_starts_with(url, "https://")) {
        return set_server_name(h, c, url, &p, host_header, err);
    }
    if (curl_easy_setopt(c->easy, CURLOPT_URL, url) != CURLE_OK) {
        return vmbi_fail_nomem(err);
    }
    return VMB_OK;
}

void vmbi_conn_describe(const char *method, const char *url, vmbi_buf *out)
{
    vmbi_buf_adds(out, method);
    vmbi_buf_addc(out, ' ');
    vmbi_buf_add(out, url, strcspn(url, "?#"));
}

enum verdict { V_NET_AGAIN, V_NET, V_TIMEOUT, V_PROTOCOL, V_ARG, V_NOMEM };

static enum verdict judge(CURLcode code)
{
    /* An if-chain by groups: CURLcode has a hundred values, most of them of other protocols. */
    if (code == CURLE_OUT_OF_MEMORY) {
        return V_NOMEM;
    }
    if (code == CURLE_OPERATION_TIMEDOUT) {
        return V_TIMEOUT;
    }
    if (code == CURLE_URL_MALFORMAT || code == CURLE_SSL_CERTPROBLEM ||
        code == CURLE_SSL_CACERT_BADFILE || code == CURLE_BAD_FUNCTION_ARGUMENT ||
        code == CURLE_SSL_CIPHER) {
        return V_ARG;
    }
    if (code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_ISSUER_ERROR ||
        code == CURLE_SSL_PINNEDPUBKEYNOTMATCH || code == CURLE_SSL_INVALIDCERTSTATUS) {
        return V_NET; /* trying again does not change a certificate */
    }
    if (code == CURLE_UNSUPPORTED_PROTOCOL || code == CURLE_WEIRD_SERVER_REPLY ||
        code == CURLE_BAD_CONTENT_ENCODING || code == CURLE_TOO_MANY_REDIRECTS) {
        return V_PROTOCOL;
    }
    return V_NET_AGAIN;
}

vmb_code vmbi_conn_fail(vmbi_conn *c, CURLcode code, const char *what, vmb_error **err)
{
    const char *text = c->errbuf[0] ? c->errbuf : curl_easy_strerror(code);
    char why[CURL_ERROR_SIZE];
    size_t len = strcspn(text, "\r\n");

    len = len < sizeof(why) - 1 ? len : sizeof(why) - 1;
    memcpy(why, text, len);
    why[len] = '\0';
    if (len > 1 && why[1] >= 'a' && why[1] <= 'z') {
        why[0] = vmbi_lower(why[0]);
    }
    switch (judge(code)) {
    case V_NOMEM:
        return vmbi_fail_nomem(err);
    case V_TIMEOUT:
        return vmbi_fail_retryable(err, VMB_E_TIMEOUT, "%s: %s", what, why);
    case V_ARG:
        return vmbi_fail(err, VMB_E_ARG, "%s: %s", what, why);
    case V_NET:
        return vmbi_fail(err, VMB_E_NET, "%s: %s", what, why);
    case V_PROTOCOL:
        return vmbi_fail(err, VMB_E_PROTOCOL, "%s: %s", what, why);
    case V_NET_AGAIN:
        break;
    }
    return vmbi_fail_retryable(err, VMB_E_NET, "%s: %s", what, why);
}
