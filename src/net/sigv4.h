/* SPDX-License-Identifier: Apache-2.0 */
/* AWS Signature Version 4, in headers and in the query of a presigned URL. Knows nothing of S3 but
 * its way to write paths: encoded once, never normalised. */
#ifndef VMBI_NET_SIGV4_H
#define VMBI_NET_SIGV4_H

#include "base/buf.h"
#include "net/http.h"

typedef struct vmbi_sigv4 {
    const char *access_key;
    const char *secret_key;
    const char *session_token; /* NULL: none */
    const char *region;
    const char *service; /* "s3", "sts" */
    int64_t unix_ns;     /* time of signing */
} vmbi_sigv4;

/* SHA-256 of nothing, and the literal that leaves a body out of the signature. */
#define VMBI_SIGV4_EMPTY_SHA256 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define VMBI_SIGV4_UNSIGNED "UNSIGNED-PAYLOAD"

/* "a=1&b=2": names and values percent-encoded, sorted by name, then value; a value may be NULL
 * (written as "name="). This is the canonical form, and a server takes it as a query. */
vmb_code vmbi_sigv4_query(const vmbi_http_header *params, size_t n, vmbi_buf *out, vmb_error **err);

/* The parts of a request that are signed. */
typedef struct vmbi_sigv4_request {
    const char *method;
    const char *path;                /* encoded, as sent */
    const char *query;               /* as made by vmbi_sigv4_query; "" without one */
    const vmbi_http_header *headers; /* all that are to be signed, with host and x-amz-date */
    size_t n_headers;
    const char *payload; /* hex SHA-256, or one of AWS's literals */
} vmbi_sigv4_request;

/* Appends the value of the Authorization header to out. */
vmb_code vmbi_sigv4_authorize(const vmbi_sigv4 *s, const vmbi_sigv4_request *request, vmbi_buf *out,
                              vmb_error **err);
/* The signature of a string to sign, in hex. */
void vmbi_sigv4_sign(const vmbi_sigv4 *s, const char *text, size_t len, char out[65]);
/* The signing key that the signature is made with. */
void vmbi_sigv4_key(const vmbi_sigv4 *s, uint8_t out[32]);
/* Appends a URL that grants `method` on it for ttl_s seconds: base is "https://host[:port]". */
vmb_code vmbi_sigv4_presign(const vmbi_sigv4 *s, const char *method, const char *base,
                            const char *path, int64_t ttl_s, vmbi_buf *out, vmb_error **err);

#endif
