/* SPDX-License-Identifier: Apache-2.0 */
/* Private to net/: curl handles and their pool. */
#ifndef VMBI_NET_CONN_H
#define VMBI_NET_CONN_H

#include <curl/curl.h>
#include <pthread.h>
#include <sys/types.h>

#include "net/http.h"
#include "net/sigpipe.h"

/* An easy handle inside a multi handle of its own. The multi handle keeps the connections, so a
 * pooled pair is a pooled connection; it makes waiting interruptible by a descriptor. */
typedef struct vmbi_conn {
    CURLM *multi;
    CURL *easy;
    char errbuf[CURL_ERROR_SIZE];
    struct curl_slist *connect_to; /* owned; see vmbi_conn_set_url */
    struct vmbi_conn *next;        /* in the pool */
} vmbi_conn;

struct vmbi_http {
    /* Owned copies; the strings of config point into them. */
    vmbi_http_config config;
    char *ca_pem;
    char *client_cert;
    char *client_key;
    char *tls_server_name;
    char *proxy_url;
    char *user_agent;
    pid_t pid;            /* creator: a forked child must not touch the parent's connections */
    pthread_mutex_t lock; /* guards idle and n_idle */
    vmbi_conn *idle;      /* last used first */
    size_t n_idle;
};

/* A handle with the server's options set, from the pool or new. */
vmb_code vmbi_conn_take(vmbi_http *h, vmbi_conn **out, vmb_error **err);
/* Back to the pool (or released when it is full). NULL allowed. */
void vmbi_conn_give(vmbi_http *h, vmbi_conn *c);
void vmbi_conn_free(vmbi_conn *c);
/* Sets the URL; with a TLS server name the handle connects to the URL's host under that name, and
 * *host_header receives the Host value to send (owned; NULL: curl's own). host_header may be
 * NULL. */
vmb_code vmbi_conn_set_url(vmbi_http *h, vmbi_conn *c, const char *url, char **host_header,
                           vmb_error **err);
/* A failed CURLcode as an error: "<what>: <why>". */
vmb_code vmbi_conn_fail(vmbi_conn *c, CURLcode code, const char *what, vmb_error **err);
/* What to call a request in messages: "GET https://host/path" without query and user. */
void vmbi_conn_describe(const char *method, const char *url, vmbi_buf *out);

#endif
