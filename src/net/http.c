/* SPDX-License-Identifier: Apache-2.0 */
#include "net/http.h"

#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/error.h"
#include "net/conn.h"

static vmb_code copy_pem(const char *pem, size_t len, char **out, vmb_error **err)
{
    if (!pem || len == 0) {
        return VMB_OK;
    }
    *out = vmbi_strndup(pem, len);
    return *out ? VMB_OK : vmbi_fail_nomem(err);
}

static vmb_code copy_text(const char *s, char **out, vmb_error **err)
{
    if (!s) {
        return VMB_OK;
    }
    *out = vmbi_strdup(s);
    return *out ? VMB_OK : vmbi_fail_nomem(err);
}

static vmb_code copy_config(vmbi_http *h, const vmbi_http_config *c, vmb_error **err)
{
    vmb_code code = copy_pem(c->ca_pem, c->ca_pem_len, &h->ca_pem, err);

    if (code == VMB_OK) {
        code = copy_pem(c->client_cert_pem, c->client_cert_len, &h->client_cert, err);
    }
    if (code == VMB_OK) {
        code = copy_pem(c->client_key_pem, c->client_key_len, &h->client_key, err);
    }
    if (code == VMB_OK) {
        code = copy_text(c->tls_server_name, &h->tls_server_name, err);
    }
    if (code == VMB_OK) {
        code = copy_text(c->proxy_url, &h->proxy_url, err);
    }
    if (code == VMB_OK) {
        code = copy_text(c->user_agent ? c->user_agent : "libvmbackup/" VMBI_VERSION,
                         &h->user_agent, err);
    }
    h->config.ca_pem = h->ca_pem;
    h->config.client_cert_pem = h->client_cert;
    h->config.client_key_pem = h->client_key;
    h->config.tls_server_name = h->tls_server_name;
    h->config.proxy_url = h->proxy_url;
    h->config.user_agent = h->user_agent;
    return code;
}

vmb_code vmbi_http_new(const vmbi_http_config *config, vmbi_http **out, vmb_error **err)
{
    static const vmbi_http_config defaults;
    vmbi_http *h = vmbi_zalloc(sizeof(*h));
    vmb_code code = VMB_OK;

    if (!h) {
        return vmbi_fail_nomem(err);
    }
    if (pthread_mutex_init(&h->lock, NULL) != 0) {
        vmbi_free(h);
        return vmbi_fail_nomem(err);
    }
    h->config = config ? *config : defaults;
    h->pid = getpid();
    code = copy_config(h, &h->config, err);
    if (code != VMB_OK) {
        vmbi_http_free(h);
        return code;
    }
    *out = h;
    return VMB_OK;
}

void vmbi_http_free(vmbi_http *h)
{
    vmbi_conn *c = NULL;
    vmbi_sigpipe guard;

    if (!h) {
        return;
    }
    c = h->pid == getpid() ? h->idle : NULL; /* the parent's sockets are not ours to close */
    vmbi_sigpipe_block(&guard);
    while (c) {
        vmbi_conn *next = c->next;

        vmbi_conn_free(c);
        c = next;
    }
    vmbi_sigpipe_restore(&guard);
    if (h->client_key) {
        explicit_bzero(h->client_key, h->config.client_key_len);
    }
    vmbi_free(h->ca_pem);
    vmbi_free(h->client_cert);
    vmbi_free(h->client_key);
    vmbi_free(h->tls_server_name);
    vmbi_free(h->proxy_url);
    vmbi_free(h->user_agent);
    (void)pthread_mutex_destroy(&h->lock);
    vmbi_free(h);
}
