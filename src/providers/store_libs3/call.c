/* SPDX-License-Identifier: Apache-2.0 */
#include "providers/store_libs3/call.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/select.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/strs.h"
#include "net/sigpipe.h"

enum { MAX_TRIES = 8, POLL_CAP_MS = 100, MAX_POLL_FDS = 16 };
#define RETRY_BASE_NS (150 * VMBI_MS)
#define RETRY_CAP_NS (20 * VMBI_SECOND)
#define IDLE_NS (60 * VMBI_SECOND)

static pthread_once_t libs3_once = PTHREAD_ONCE_INIT;
static S3Status libs3_status; /* written once, by init_libs3 */

/* libs3 counts its users without a lock; it is initialised once and never torn down. */
static void init_libs3(void)
{
    int flags = S3_INIT_ALL;

#ifdef S3_INIT_VERIFY_PEER
    flags |= S3_INIT_VERIFY_PEER; /* off unless asked for, and never in 2.0 */
#endif
    libs3_status = S3_initialize("libvmbackup/" VMBI_VERSION, flags, S3_DEFAULT_HOSTNAME);
}

vmb_code vmbi_libs3_global_init(vmb_error **err)
{
    (void)pthread_once(&libs3_once, init_libs3);
    return libs3_status == S3StatusOK ? VMB_OK
                                      : vmbi_fail(err, VMB_E_INTERNAL, "libs3: initialise: %s",
                                                  S3_get_status_name(libs3_status));
}

void vmbi_libs3_call_init(vmbi_libs3_call *c, const char *what, const vmbi_limits *limits)
{
    memset(c, 0, sizeof(*c));
    c->what = what;
    c->limits = limits;
}

static S3Status on_properties(const S3ResponseProperties *p, void *user)
{
    vmbi_libs3_call *c = user;

    c->last_move_ns = vmbi_mono_ns();
    c->content_length = (int64_t)p->contentLength;
    c->last_modified_s = p->lastModified;
    c->etag[0] = '\0';
    if (p->eTag && strlen(p->eTag) < sizeof(c->etag)) {
        memcpy(c->etag, p->eTag, strlen(p->eTag) + 1);
    }
    return S3StatusOK;
}

static void on_complete(S3Status status, const S3ErrorDetails *details, void *user)
{
    vmbi_libs3_call *c = user;
    size_t i = 0;

    c->status = status;
    c->done = true;
    c->message[0] = '\0';
    if (details && details->message) {
        (void)snprintf(c->message, sizeof(c->message), "%s", details->message);
    }
    for (i = 0; c->message[i] != '\0'; i++) {
        if ((unsigned char)c->message[i] < 0x20) {
            c->message[i] = ' ';
        }
    }
}

const S3ResponseHandler vmbi_libs3_response_handler = {on_properties, on_complete};

/* Waits for a socket of the context, for cancellation, or for a moment. */
static void wait_a_moment(const vmbi_libs3_call *c)
{
    struct pollfd fds[MAX_POLL_FDS];
    fd_set r;
    fd_set w;
    fd_set e;
    nfds_t n = 0;
    int max = -1;
    int fd = 0;

    FD_ZERO(&r);
    FD_ZERO(&w);
    FD_ZERO(&e);
    fds[n++] =
        (struct pollfd){.fd = c->limits ? vmbi_cancel_fd(c->limits->cancel) : -1, .events = POLLIN};
    if (S3_get_request_context_fdsets(c->context, &r, &w, &e, &max) != S3StatusOK) {
        max = -1; /* a descriptor beyond FD_SETSIZE, or none yet: the short wait must do */
    }
    for (fd = 0; fd <= max && fd < FD_SETSIZE && n < MAX_POLL_FDS; fd++) {
        const short events =
            (short)((FD_ISSET(fd, &r) ? POLLIN : 0) | (FD_ISSET(fd, &w) ? POLLOUT : 0));

        if (events != 0) {
            fds[n++] = (struct pollfd){.fd = fd, .events = events};
        }
    }
    (void)poll(fds, n, vmbi_limits_poll_ms(c->limits, n > 1 ? POLL_CAP_MS : 10));
}

/* Drives one try to its end, or to the end of our patience. */
static vmb_code drive(vmbi_libs3_call *c, vmb_error **err)
{
    int remaining = 1;
    vmb_code code = VMB_OK;

    c->last_move_ns = vmbi_mono_ns();
    while (!c->done) {
        const S3Status status = S3_runonce_request_context(c->context, &remaining);

        if (status != S3StatusOK) {
            return vmbi_fail(err, VMB_E_NET, "%s: libs3: %s", c->what, S3_get_status_name(status));
        }
        if (c->done || remaining == 0) {
            break;
        }
        code = vmbi_limits_check(c->limits, err, c->what);
        if (code == VMB_OK && vmbi_mono_ns() - c->last_move_ns > IDLE_NS) {
            code = vmbi_fail_retryable(err, VMB_E_TIMEOUT, "%s: no byte moved for 60 s", c->what);
        }
        if (code != VMB_OK) {
            return code;
        }
        wait_a_moment(c);
    }
    return c->done ? VMB_OK : vmbi_fail(err, VMB_E_NET, "%s: libs3 lost the request", c->what);
}

/* Both versions name the same states by other numbers: only names may be used. */
static const struct {
    S3Status status;
    vmb_code code;
    bool transient;
} meanings[] = {
    {S3StatusOutOfMemory, VMB_E_NOMEM, false},
    {S3StatusNameLookupError, VMB_E_NET, true},
    {S3StatusFailedToConnect, VMB_E_NET, true},
    {S3StatusConnectionFailed, VMB_E_NET, true},
    {S3StatusInternalError, VMB_E_NET, true}, /* how a broken transfer is reported */
    {S3StatusServerFailedVerification, VMB_E_NET, false},
    {S3StatusXmlParseFailure, VMB_E_PROTOCOL, false},
    {S3StatusErrorAccessDenied, VMB_E_DENIED, false},
    {S3StatusErrorAccountProblem, VMB_E_DENIED, false},
    {S3StatusErrorInvalidAccessKeyId, VMB_E_DENIED, false},
    {S3StatusErrorSignatureDoesNotMatch, VMB_E_DENIED, false},
    {S3StatusErrorRequestTimeTooSkewed, VMB_E_DENIED, false},
    {S3StatusErrorExpiredToken, VMB_E_DENIED, false},
    {S3StatusErrorInvalidToken, VMB_E_DENIED, false},
    {S3StatusHttpErrorForbidden, VMB_E_DENIED, false},
    {S3StatusErrorNoSuchKey, VMB_E_NOT_FOUND, false},
    {S3StatusErrorNoSuchBucket, VMB_E_NOT_FOUND, false},
    {S3StatusHttpErrorNotFound, VMB_E_NOT_FOUND, false},
    {S3StatusHttpErrorConflict, VMB_E_CONFLICT, false},
    {S3StatusErrorPreconditionFailed, VMB_E_CONFLICT, false},
    {S3StatusErrorInvalidRange, VMB_E_ARG, false},
    {S3StatusErrorKeyTooLong, VMB_E_ARG, false},
    {S3StatusErrorEntityTooLarge, VMB_E_LIMIT, false},
    {S3StatusErrorNotImplemented, VMB_E_UNSUPPORTED, false},
    {S3StatusErrorPermanentRedirect, VMB_E_PROTOCOL, false},
    {S3StatusErrorTemporaryRedirect, VMB_E_PROTOCOL, false},
    {S3StatusHttpErrorMovedTemporarily, VMB_E_PROTOCOL, false},
    {S3StatusErrorInternalError, VMB_E_SERVER, true},
    {S3StatusErrorSlowDown, VMB_E_SERVER, true},
    {S3StatusErrorOperationAborted, VMB_E_SERVER, true},
    {S3StatusErrorRequestTimeout, VMB_E_SERVER, true},
    {S3StatusErrorIncompleteBody, VMB_E_SERVER, true},
    {S3StatusErrorBadDigest, VMB_E_SERVER, true},
    /* Codes and statuses that libs3 does not know, 503 among them. */
    {S3StatusErrorUnknown, VMB_E_SERVER, true},
    {S3StatusHttpErrorUnknown, VMB_E_SERVER, true},
};

static vmb_code judge(vmbi_libs3_call *c, vmb_error **err)
{
    vmb_code code = VMB_E_INVALID;
    bool transient = false;
    size_t i = 0;

    if (c->code != VMB_OK) {
        vmbi_error_move(err, &c->error);
        return c->code;
    }
    if (c->status == S3StatusOK) {
        return VMB_OK;
    }
    for (i = 0; i < VMBI_ARRAY_LEN(meanings); i++) {
        if (meanings[i].status == c->status) {
            code = meanings[i].code;
            transient = meanings[i].transient;
        }
    }
    /* Quotas have no code in libs3; servers name them in their words. */
    if (c->status == S3StatusErrorUnknown &&
        (strstr(c->message, "quota") || strstr(c->message, "Storage") ||
         strstr(c->message, "space"))) {
        code = VMB_E_FULL;
        transient = false;
    }
    return transient ? vmbi_fail_retryable(err, code, "%s: %s%s%s", c->what, c->message,
                                           c->message[0] ? " " : "", S3_get_status_name(c->status))
                     : vmbi_fail(err, code, "%s: %s%s%s", c->what, c->message,
                                 c->message[0] ? " " : "", S3_get_status_name(c->status));
}

static vmb_code one_try(const vmbi_libs3 *s, vmbi_libs3_call *c, vmbi_libs3_start_fn start,
                        void *user, vmb_error **err)
{
    vmb_code code = VMB_OK;

    c->done = false;
    c->code = VMB_OK;
    c->message[0] = '\0';
    if (S3_create_request_context(&c->context) != S3StatusOK) {
        return vmbi_fail_nomem(err);
    }
    start(s, c, user);
    code = drive(c, err);
    S3_destroy_request_context(c->context); /* completes an unfinished request as interrupted */
    c->context = NULL;
    return code == VMB_OK ? judge(c, err) : code;
}

static int64_t backoff_ns(int try_number)
{
    int64_t top = RETRY_BASE_NS;
    uint64_t random = 0;
    int i = 0;

    for (i = 1; i < try_number && top < RETRY_CAP_NS; i++) {
        top *= 2;
    }
    top = top < RETRY_CAP_NS ? top : RETRY_CAP_NS;
    if (getrandom(&random, sizeof(random), GRND_NONBLOCK) != (ssize_t)sizeof(random)) {
        random = (uint64_t)vmbi_mono_ns();
    }
    return (int64_t)(random % (uint64_t)(top + 1));
}

vmb_code vmbi_libs3_run(const vmbi_libs3 *s, vmbi_libs3_call *c, vmbi_libs3_start_fn start,
                        void *user, vmb_error **err)
{
    vmbi_sigpipe guard;
    vmb_code code = VMB_OK;
    int i = 0;

    vmbi_sigpipe_block(&guard);
    for (i = 1;; i++) {
        vmb_error *e = NULL;

        code = vmbi_limits_check(c->limits, &e, c->what);
        if (code == VMB_OK) {
            code = one_try(s, c, start, user, &e);
        }
        if (code == VMB_OK || i == MAX_TRIES || c->got_bytes || !vmbi_error_is_retryable(e) ||
            vmbi_limits_check(c->limits, NULL, "") != VMB_OK) {
            vmbi_error_move(err, &e);
            break;
        }
        vmb_error_free(e);
        code = vmbi_limits_sleep(c->limits, backoff_ns(i), err, c->what);
        if (code != VMB_OK) {
            break;
        }
    }
    vmb_error_free(c->error);
    c->error = NULL;
    vmbi_sigpipe_restore(&guard);
    return code;
}
