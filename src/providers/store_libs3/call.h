/* SPDX-License-Identifier: Apache-2.0 */
/* Private to store_libs3: one request through libs3, from its start to its end, with our limits.
 *
 * One source for the libs3 of Debian and Ubuntu (2.0: Signature V2, no session tokens, no region)
 * and for 3.x/4.x (Signature V4, a time-out argument in every call). */
#ifndef VMBI_STORE_LIBS3_CALL_H
#define VMBI_STORE_LIBS3_CALL_H

#include <libs3.h>

#include "base/cancel.h"
#include "providers/store_s3/config.h"
#include "providers/store_s3/credentials.h"

#ifdef VMBI_LIBS3_TIMEOUT /* found out by the build: 4.x */
#define VMBI_LIBS3_CONTEXT(c) (c)->context, 0
#else
#define VMBI_LIBS3_CONTEXT(c) (c)->context
#endif

typedef struct vmbi_libs3 {
    vmbi_s3_config config;
    vmbi_s3_credentials credentials;
    S3BucketContext bucket; /* points into the two above and host */
    char *host;
} vmbi_libs3;

/* A request under way. */
typedef struct vmbi_libs3_call {
    S3RequestContext *context;
    const char *what;          /* for messages */
    const vmbi_limits *limits; /* may be NULL */
    /* Set by libs3's completion callback: */
    S3Status status;
    bool done;
    char message[256]; /* the server's words; "" when it had none */
    /* Set by callbacks of the provider to end the request with a code of their own: */
    vmb_code code;
    vmb_error *error;
    /* From the answer's headers: */
    int64_t content_length;
    int64_t last_modified_s;
    char etag[256];
    bool got_bytes; /* no second try by itself after the sink has seen bytes */
    int64_t last_move_ns;
} vmbi_libs3_call;

/* Starts the request (a call of libs3 with the context of *c); called anew for each try. */
typedef void (*vmbi_libs3_start_fn)(const vmbi_libs3 *s, vmbi_libs3_call *c, void *user);
/* Callback data of a request is its vmbi_libs3_call; what else callbacks need is reached through
 * `user`, which follows the call in the caller's structure. */
extern const S3ResponseHandler vmbi_libs3_response_handler;

/* Runs to the end, with retries of what may pass; VMB_OK only for S3StatusOK. */
vmb_code vmbi_libs3_run(const vmbi_libs3 *s, vmbi_libs3_call *c, vmbi_libs3_start_fn start,
                        void *user, vmb_error **err);
void vmbi_libs3_call_init(vmbi_libs3_call *c, const char *what, const vmbi_limits *limits);
vmb_code vmbi_libs3_global_init(vmb_error **err);

#endif
