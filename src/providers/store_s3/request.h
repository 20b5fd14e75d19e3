/* SPDX-License-Identifier: Apache-2.0 */
/* Private to store_s3: the store's state, and one signed request with everything that S3's way of
 * failing asks for. */
#ifndef VMBI_STORE_S3_REQUEST_H
#define VMBI_STORE_S3_REQUEST_H

#include <pthread.h>

#include <vmbackup/provider.h>

#include "base/job.h"
#include "net/http.h"
#include "providers/store_s3/config.h"
#include "providers/store_s3/credentials.h"

enum { VMBI_S3_REGION_MAX = 64, VMBI_S3_ETAG_MAX = 256 };

typedef struct vmbi_s3 {
    vmbi_s3_config config; /* immutable */
    vmbi_http *http;
    pthread_mutex_t lock; /* guards all below */
    vmbi_s3_credentials credentials;
    char region[VMBI_S3_REGION_MAX]; /* to sign with; may be learnt from an answer */
    bool region_known;
    int64_t clock_offset_ns; /* server's clock minus ours */
    int64_t exchange_after_mono_ns; /* not before this once keys could not be renewed */
    bool no_conditional_put; /* the server answered 501 to If-None-Match */
} vmbi_s3;

/* Gets an answer's 2xx body as it arrives. */
typedef vmb_code (*vmbi_s3_body_fn)(void *user, const vmbi_http_response *response,
                                    const void *data, size_t len, vmb_error **err);

typedef struct vmbi_s3_request {
    const char *what; /* for messages: "write object \"k\"" */
    const char *method;
    const char *key;                /* NULL: the bucket */
    const vmbi_http_header *params; /* query, not encoded; a value may be NULL */
    size_t n_params;
    const vmbi_http_header *headers; /* signed */
    size_t n_headers;
    const void *body; /* NULL: none */
    size_t body_len;
    bool hash_body;           /* sign the body's SHA-256; false: Content-MD5 must guard it */
    bool customer_key;        /* add the headers of SSE-C */
    vmbi_s3_body_fn on_body;  /* NULL: collected, at most max_body bytes */
    vmbi_http_retry_fn retry; /* NULL; asked after the rules of S3 */
    void *user;
    size_t max_body;         /* 0: 1 MiB */
    int64_t idle_timeout_ns; /* as in net */
} vmbi_s3_request;

/* Signs, sends, retries; corrects a wrong clock or region and renews credentials on the way.
 * VMB_OK for every answer: the caller judges response->status. The response is initialised here
 * and must be released in every case. */
vmb_code vmbi_s3_perform(vmbi_s3 *s, const vmbi_s3_request *request, const vmbi_limits *limits,
                         vmbi_http_response *response, vmb_error **err);
/* The same, and every answer but 2xx is a failure as vmbi_s3_fail gives it. */
vmb_code vmbi_s3_perform_ok(vmbi_s3 *s, const vmbi_s3_request *request, const vmbi_limits *limits,
                            vmbi_http_response *response, vmb_error **err);

/* An answer that is a failure, as an error: "<what>: <server's message> (<code>, HTTP <status>)".
 */
vmb_code vmbi_s3_fail(const vmbi_s3 *s, const char *what, const vmbi_http_response *response,
                      vmb_error **err);
/* Value of <Error><Code>; "" when the body is no S3 error. */
void vmbi_s3_error_code(const vmbi_http_response *response, char *out, size_t size);
/* ETag header without quotes; false when absent. */
bool vmbi_s3_etag(const vmbi_http_response *response, char out[VMBI_S3_ETAG_MAX]);

/* VMB_E_ARG unless 1 to 1024 bytes of UTF-8 without leading '/'. */
vmb_code vmbi_s3_check_key(const char *key, vmb_error **err);
/* Encoded path of a key (NULL: the bucket) and, in *base, the endpoint that it is below. With
 * use_public the address for others (publicUrl). */
vmb_code vmbi_s3_address(const vmbi_s3 *s, const char *region, const char *key, bool use_public,
                         vmbi_buf *base, vmbi_buf *path, vmb_error **err);
/* A copy of what signing needs, taken under the lock. */
typedef struct vmbi_s3_signer {
    vmbi_s3_credentials credentials;
    char region[VMBI_S3_REGION_MAX];
    int64_t unix_ns; /* the server's time, as far as known */
} vmbi_s3_signer;
/* Exchanges or renews web identities on the way. */
vmb_code vmbi_s3_signer_get(vmbi_s3 *s, const vmbi_limits *limits, vmbi_s3_signer *out,
                            vmb_error **err);
/* Reads the credentials anew after they were refused as expired; true when they changed. */
bool vmbi_s3_signer_renew(vmbi_s3 *s, const char *refused_access_key, const vmbi_limits *limits);

static inline const vmbi_limits *vmbi_s3_limits(const vmb_job *job)
{
    return job ? &job->limits : NULL;
}

#endif
