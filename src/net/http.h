/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP on libcurl: connection reuse, deadlines, cancellation, retries with jitter. The only place
 * where anything is retried. Nothing here knows S3 or Kubernetes. */
#ifndef VMBI_NET_HTTP_H
#define VMBI_NET_HTTP_H

#include <vmbackup/base.h>

#include "base/buf.h"
#include "base/cancel.h"
#include "base/compiler.h"

/* How to reach one server: TLS, proxy, retry policy. Immutable after creation, shared by threads;
 * keeps idle connections (per handle checked out by one call at a time). */
typedef struct vmbi_http vmbi_http;

typedef struct vmbi_http_config {
    const char *ca_pem; /* PEM text; NULL: the system's. */
    size_t ca_pem_len;
    bool ca_replaces_system; /* true: only ca_pem counts (Kubernetes); false: both (S3) */
    bool insecure_skip_verify;
    const char *tls_server_name; /* NULL: from the URL */
    const char *client_cert_pem; /* PEM text, NULL: none */
    size_t client_cert_len;
    const char *client_key_pem;
    size_t client_key_len;
    const char *proxy_url;      /* NULL: from the environment (HTTPS_PROXY, NO_PROXY …) */
    const char *user_agent;     /* NULL: "libvmbackup/<version>" */
    int64_t connect_timeout_ns; /* 0: 10 s */
    int64_t idle_timeout_ns;    /* no byte moved for this long: VMB_E_TIMEOUT; 0: 60 s */
    int max_tries;              /* 0: 8 */
    int64_t retry_base_ns;      /* 0: 150 ms */
    int64_t retry_cap_ns;       /* 0: 20 s */
} vmbi_http_config;

vmb_code vmbi_http_new(const vmbi_http_config *config, vmbi_http **out, vmb_error **err);
void vmbi_http_free(vmbi_http *h);

typedef struct vmbi_http_header {
    const char *name;
    const char *value;
} vmbi_http_header;

typedef struct vmbi_http_response {
    int status;             /* HTTP status of the last try; 0 when no answer came */
    int64_t content_length; /* -1 unknown */
    int64_t date_unix_ns;   /* Date header; 0 when absent */
    int64_t retry_after_ns; /* Retry-After header; -1 when absent */
    int tries;              /* how many times the request was sent, repetitions on a pooled
                             * connection that had died included */
    vmbi_buf headers;       /* raw "Name: value\r\n" lines of the last answer */
    vmbi_buf body;          /* body; with a body sink only that of an answer other than 2xx, cut
                             * at 64 KiB */
} vmbi_http_response;
void vmbi_http_response_init(vmbi_http_response *r, size_t max_body);
void vmbi_http_response_free(vmbi_http_response *r);
/* Value of a header of the last answer, white space trimmed; false when absent. Case-insensitive
 * name. */
bool vmbi_http_header_find(const vmbi_http_response *r, const char *name, char *out, size_t size);

/* Called before every try (numbered from 1), so that a signature or a token is fresh: adds
 * headers. */
typedef struct vmbi_http_headers vmbi_http_headers;
vmb_code vmbi_http_headers_add(vmbi_http_headers *h, const char *name, const char *value,
                               vmb_error **err);
/* Directs this try and the later ones to another URL (a signature in the query, a redirect). */
vmb_code vmbi_http_headers_set_url(vmbi_http_headers *h, const char *url, vmb_error **err);
typedef vmb_code (*vmbi_http_sign_fn)(void *user, int try_number, vmbi_http_headers *headers,
                                      vmb_error **err);
/* Called with the body of a 2xx answer as it arrives. On a retry after bytes were delivered the
 * sink is not rewound: such a request is not retried here, the caller may resume it. */
typedef vmb_code (*vmbi_http_body_fn)(void *user, const void *data, size_t len, vmb_error **err);
/* Decides about an answer: return true to try again (the built-in rule: connection failures,
 * 429, 500, 502, 503, 504; honours Retry-After). NULL: built-in rule alone. Called for every
 * answer that the built-in rule would not retry, unless bytes were given to a body sink. */
typedef bool (*vmbi_http_retry_fn)(void *user, const vmbi_http_response *response, int try_number);

typedef struct vmbi_http_request {
    const char *method; /* "GET" … */
    const char *url;    /* sent exactly as given (path as is) */
    const vmbi_http_header *headers;
    size_t n_headers;
    const void *body; /* NULL: none. A body of length 0 sends Content-Length: 0 */
    size_t body_len;
    vmbi_http_sign_fn sign;    /* NULL: none */
    vmbi_http_body_fn on_body; /* NULL: collected in response.body */
    vmbi_http_retry_fn retry;
    void *user;              /* for the three callbacks */
    bool no_retry;           /* one try only (requests that are not idempotent) */
    bool expect_continue;    /* send Expect: 100-continue and wait up to 1 s */
    int64_t idle_timeout_ns; /* 0: as configured; -1: none (a server that thinks for long) */
    int max_tries;           /* 0: as configured */
} vmbi_http_request;

/* Performs a request within the limits, retrying as configured. VMB_OK for any HTTP status that
 * was received and not retried to exhaustion; the caller judges response->status. After the last
 * try of a retryable status the response is returned with VMB_OK too. VMB_E_NET, VMB_E_TIMEOUT,
 * VMB_E_CANCELLED, VMB_E_LIMIT (body above max_body), or the code of a callback. */
vmb_code vmbi_http_perform(vmbi_http *h, const vmbi_http_request *request,
                           const vmbi_limits *limits, vmbi_http_response *response,
                           vmb_error **err);

/* A raw, connected (and TLS-wrapped) byte stream to a server, for WebSocket: speaks no HTTP. Used
 * by one thread at a time; http(s) and ws(s) URLs, of which only scheme, host and port count. */
typedef struct vmbi_stream vmbi_stream;
vmb_code vmbi_stream_connect(vmbi_http *h, const char *url, const vmbi_limits *limits,
                             vmbi_stream **out, vmb_error **err);
/* Sends all bytes. */
vmb_code vmbi_stream_send(vmbi_stream *s, const void *data, size_t len, const vmbi_limits *limits,
                          vmb_error **err);
/* Receives at least one byte; *got = 0 at the end of the stream. */
vmb_code vmbi_stream_recv(vmbi_stream *s, void *buf, size_t size, const vmbi_limits *limits,
                          size_t *got, vmb_error **err);
void vmbi_stream_free(vmbi_stream *s);

/* Percent-encodes into out: every byte but A-Z a-z 0-9 - . _ ~ and those in `keep`. */
void vmbi_url_encode(vmbi_buf *out, const char *s, size_t len, const char *keep);

#endif
