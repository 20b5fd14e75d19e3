/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "net/http.h"
#include "server.h"

struct fixture {
    test_server *server;
    vmbi_http *http;
    char url[256];
};

static int setup(void **state)
{
    static struct fixture f;
    vmbi_http_config config = {.retry_base_ns = 5 * VMBI_MS,
                               .retry_cap_ns = 20 * VMBI_MS,
                               .max_tries = 4,
                               .idle_timeout_ns = 2 * VMBI_SECOND};

    memset(&f, 0, sizeof(f));
    f.server = test_server_start();
    if (vmbi_http_new(&config, &f.http, NULL) != VMB_OK) {
        return -1;
    }
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    vmbi_http_free(f->http);
    test_server_stop(f->server);
    return 0;
}

static const char *url(struct fixture *f, const char *path)
{
    snprintf(f->url, sizeof(f->url), "http://127.0.0.1:%d%s", test_server_port(f->server), path);
    return f->url;
}

static vmb_code perform(struct fixture *f, vmbi_http_request *q, const char *path,
                        const vmbi_limits *limits, vmbi_http_response *r, vmb_error **err)
{
    q->url = url(f, path);
    q->method = q->method ? q->method : "GET";
    return vmbi_http_perform(f->http, q, limits, r, err);
}

static void get_simple_collects_body_and_headers(void **state)
{
    struct fixture *f = *state;
    vmbi_http_request q = {0};
    vmbi_http_response r;
    char value[64];

    vmbi_http_response_init(&r, 1024);
    assert_int_equal(perform(f, &q, "/hello", NULL, &r, NULL), VMB_OK);
    assert_int_equal(r.status, 200);
    assert_int_equal(r.tries, 1);
    assert_int_equal(r.content_length, 5);
    assert_true(r.date_unix_ns == INT64_C(1369353600) * VMBI_SECOND);
    assert_int_equal(r.body.len, 5);
    assert_memory_equal(r.body.data, "hello", 5);
    assert_true(vmbi_http_header_find(&r, "x-tHING", value, sizeof(value)));
    assert_string_equal(value, "some value");
    assert_false(vmbi_http_header_find(&r, "X-Thin", value, sizeof(value)));
    assert_false(vmbi_http_header_find(&r, "X-Thing", value, 5));
    vmbi_http_response_free(&r);
}

static void requests_in_sequence_share_one_connection(void **state)
{
    struct fixture *f = *state;
    vmbi_http_request q = {0};
    vmbi_http_response r;
    int i = 0;

    vmbi_http_response_init(&r, 1024);
    for (i = 0; i < 20; i++) {
        assert_int_equal(perform(f, &q, "/hello", NULL, &r, NULL), VMB_OK);
    }
    assert_int_equal(test_server_requests(f->server), 20);
    assert_int_equal(test_server_connections(f->server), 1);
    vmbi_http_response_free(&r);
}

static void put_body_is_sent_with_length_and_own_headers_only(void **state)
{
    struct fixture *f = *state;
    const vmbi_http_header headers[] = {{"X-A", "1"}, {"X-Empty", ""}};
    vmbi_http_request q = {
        .method = "PUT", .headers = headers, .n_headers = 2, .body = "0123456789", .body_len = 10};
    vmbi_http_response r;

    vmbi_http_response_init(&r, 65536);
    assert_int_equal(perform(f, &q, "/echo/a/../b//c%2F?x=%20", NULL, &r, NULL), VMB_OK);
    assert_non_null(strstr(r.body.data, "body=10\nPUT /echo/a/../b//c%2F?x=%20 HTTP/1.1\r\n"));
    assert_non_null(strstr(r.body.data, "Content-Length: 10\r\n"));
    assert_non_null(strstr(r.body.data, "X-A: 1\r\n"));
    assert_non_null(strstr(r.body.data, "X-Empty:"));
    assert_null(strstr(r.body.data, "Expect"));
    assert_null(strstr(r.body.data, "Content-Type"));
    assert_null(strstr(r.body.data, "Transfer-Encoding"));
    vmbi_http_response_free(&r);
}

static void post_empty_body_sends_length_zero(void **state)
{
    struct fixture *f = *state;
    vmbi_http_request q = {.method = "POST", .body = "", .body_len = 0};
    vmbi_http_response r;

    vmbi_http_response_init(&r, 65536);
    assert_int_equal(perform(f, &q, "/echo", NULL, &r, NULL), VMB_OK);
    assert_non_null(strstr(r.body.data, "POST /echo"));
    assert_non_null(strstr(r.body.data, "Content-Length: 0\r\n"));
    vmbi_http_response_free(&r);
}

static void delete_and_head_have_no_body(void **state)
{
    struct fixture *f = *state;
    vmbi_http_request q = {.method = "DELETE"};
    vmbi_http_response r;

    vmbi_http_response_init(&r, 65536);
    assert_int_equal(perform(f, &q, "/echo", NULL, &r, NULL), VMB_OK);
    assert_non_null(strstr(r.body.data, "DELETE /echo"));
    assert_null(strstr(r.body.data, "Content-Length"));
    vmbi_http_response_free(&r);
}

static void transient_status_is_retried_until_it_passes(void **state)
{
    struct fixture *f = *state;
    vmbi_http_request q = {0};
    vmbi_http_response r;

    vmbi_http_response_init(&r, 1024);
    assert_int_equal(perform(f, &q, "/fail-twice", NULL, &r, NULL), VMB_OK);
    assert_int_equal(r.status, 200);
    assert_int_equal(r.tries, 3);
    assert_int_equal(r.body.len, 4);
    vmbi_http_response_free(&r);
}

static void transient_status_after_last_try_is_returned(void **state)
{
    struct fixture *f = *state;
    vmbi_http_request q = {0};
    vmbi_http_response r;

    vmbi_http_response_init(&r, 1024);
    assert_int_equal(perform(f, &q, "/fail-always", NULL, &r, NULL), VMB_OK);
    assert_int_equal(r.status, 503);
    assert_int_equal(r.tries, 4);
    assert_memory_equal(r.body.data, "busy", 4);
    vmbi_http_response_free(&r);
}

static void no_retry_tries_once(void **state)
{
    struct fixture *f = *state;
    vmbi_http_request q = {.no_retry = true};
    vmbi_http_response r;

    vmbi_http_response_init(&r, 1024);
    assert_int_equal(perform(f, &q, "/fail-always", NULL, &r, NULL), VMB_OK);
    assert_int_equal(r.tries, 1);
    assert_int_equal(test_server_requests(f->server), 1);
    vmbi_http_response_free(&r);
}

/* curl would send it again by itself when a pooled connection turns out dead. */
static void no_retry_is_not_sent_again_on_another_connection(void **state)
{
    struct fixture *f = *state;
    vmbi_http_request hello = {.method = "GET"};
    vmbi_http_request q = {.method = "POST", .body = "x", .body_len = 1, .no_retry = true};
    vmbi_http_response r;

    vmbi_http_response_init(&r, 1024);
    assert_int_equal(perform(f, &hello, "/hello", NULL, &r, NULL), VMB_OK);
    assert_int_equal(perform(f, &q, "/drop-once", NULL, &r, NULL), VMB_E_NET);
    /* another connection may be there already, but nothing was sent over it */
    assert_int_equal(test_server_requests(f->server), 2);
    q.no_retry = false;
    assert_int_equal(perform(f, &q, "/drop-once", NULL, &r, NULL), VMB_OK);
    vmbi_http_response_free(&r);
}

static void other_status_is_not_retried(void **state)
{
    struct fixture *f = *state;
    vmbi_http_request q = {0};
    vmbi_http_response r;

    vmbi_http_response_init(&r, 1024);
    assert_int_equal(perform(f, &q, "/not-found", NULL, &r, NULL), VMB_OK);
    assert_int_equal(r.status, 404);
    assert_int_equal(r.tries, 1);
    vmbi_http_response_free(&r);
}

static void retry_after_is_waited_for(void **state)
{
    struct fixture *f = *state;
    vmbi_http_request q = {0};
    vmbi_http_response r;
    const int64_t start = vmbi_mono_ns();

    vmbi_http_response_init(&r, 1024);
    assert_int_equal(perform(f, &q, "/retry-after", NULL, &r, NULL), VMB_OK);
    assert_int_equal(r.status, 200);
    assert_true(vmbi_mono_ns() - start >= 990 * VMBI_MS);
    vmbi_http_response_free(&r);
}

static void retry_after_past_the_deadline_returns_the_answer_at_once(void **state)
{
    struct fixture *f = *state;
    vmbi_http_request q = {0};
    vmbi_http_response r;
    const int64_t start = vmbi_mono_ns();
    const vmbi_limits limits = vmbi_limits_within(NULL, 100 * VMBI_SECOND);

    vmbi_http_response_init(&r, 1024);
    assert_int_equal(perform(f, &q, "/retry-after-long", &limits, &r, NULL), VMB_OK);
    assert_int_equal(r.status, 503);
    assert_int_equal(r.tries, 1);
    assert_true(vmbi_mono_ns() - start < 50 * VMBI_SECOND);
    vmbi_http_response_free(&r);
}

static void broken_answer_is_retried_when_collected(void **state)
{
    struct fixture *f = *state;
    vmbi_http_request q = {0};
    vmbi_http_response r;

    vmbi_http_response_init(&r, 1024);
    assert_int_equal(perform(f, &q, "/cut-once", NULL, &r, NULL), VMB_OK);
    assert_int_equal(r.body.len, 5);
    assert_memory_equal(r.body.data, "whole", 5);
    assert_int_equal(perform(f, &q, "/drop-once", NULL, &r, NULL), VMB_OK);
    assert_memory_equal(r.body.data, "whole", 5);
    vmbi_http_response_free(&r);
}

static vmb_code keep(void *user, const void *data, size_t len, vmb_error **err)
{
    (void)err;
    vmbi_buf_add(user, data, len);
    return VMB_OK;
}

static void broken_answer_is_not_retried_after_bytes_went_to_the_sink(void **state)
{
    struct fixture *f = *state;
    vmbi_buf got = VMBI_BUF_INIT(1024);
    vmbi_http_request q = {.on_body = keep, .user = &got};
    vmbi_http_response r;
    vmb_error *err = NULL;

    vmbi_http_response_init(&r, 1024);
    assert_int_equal(perform(f, &q, "/cut-always", NULL, &r, &err), VMB_E_NET);
    assert_int_equal(vmb_error_flags(err) & VMB_ERROR_RETRYABLE, VMB_ERROR_RETRYABLE);
    assert_int_equal(r.tries, 1);
    assert_int_equal(got.len, 4);
    vmb_error_free(err);
    vmbi_buf_free(&got);
    vmbi_http_response_free(&r);
}

static void body_of_an_error_answer_does_not_go_to_the_sink(void **state)
{
    struct fixture *f = *state;
    vmbi_buf got = VMBI_BUF_INIT(1024);
    vmbi_http_request q = {.on_body = keep, .user = &got};
    vmbi_http_response r;

    vmbi_http_response_init(&r, 1024);
    assert_int_equal(perform(f, &q, "/not-found", NULL, &r, NULL), VMB_OK);
    assert_int_equal(got.len, 0);
    assert_memory_equal(r.body.data, "no such thing", 13);
    vmbi_buf_free(&got);
    vmbi_http_response_free(&r);
}

static vmb_code refuse(void *user, const void *data, size_t len, vmb_error **err)
{
    (void)user;
    (void)data;
    (void)len;
    return vmbi_fail(err, VMB_E_FULL, "sink is full");
}

static void sink_failure_ends_the_request_with_its_code(void **state)
{
    struct fixture *f = *state;
    vmbi_http_request q = {.on_body = refuse};
    vmbi_http_response r;
    vmb_error *err = NULL;

    vmbi_http_response_init(&r, 1024);
    assert_int_equal(perform(f, &q, "/hello", NULL, &r, &err), VMB_E_FULL);
    assert_string_equal(vmb_error_message(err), "sink is full");
    assert_int_equal(test_server_requests(f->server), 1);
    vmb_error_free(err);
    vmbi_http_response_free(&r);
}

static void body_above_the_limit_is_refused(void **state)
{
    struct fixture *f = *state;
    vmbi_http_request q = {0};
    vmbi_http_response r;

    vmbi_http_response_init(&r, 4);
    assert_int_equal(perform(f, &q, "/hello", NULL, &r, NULL), VMB_E_LIMIT);
    assert_int_equal(test_server_requests(f->server), 1);
    vmbi_http_response_free(&r);
}

static void server_that_never_answers_meets_the_deadline(void **state)
{
    struct fixture *f = *state;
    vmbi_http_request q = {0};
    vmbi_http_response r;
    const vmbi_limits limits = vmbi_limits_within(NULL, 300 * VMBI_MS);
    const int64_t start = vmbi_mono_ns();

    vmbi_http_response_init(&r, 1024);
    assert_int_equal(perform(f, &q, "/never", &limits, &r, NULL), VMB_E_TIMEOUT);
    assert_true(vmbi_mono_ns() - start >= 290 * VMBI_MS);
    assert_true(vmbi_mono_ns() - start < 20 * VMBI_SECOND);
    vmbi_http_response_free(&r);
}

static void stalled_body_meets_the_idle_limit(void **state)
{
    struct fixture *f = *state;
    vmbi_http_request q = {.idle_timeout_ns = 200 * VMBI_MS, .no_retry = true};
    vmbi_http_response r;
    const int64_t start = vmbi_mono_ns();
    vmb_error *err = NULL;

    vmbi_http_response_init(&r, 1024);
    assert_int_equal(perform(f, &q, "/stall", NULL, &r, &err), VMB_E_TIMEOUT);
    assert_true(vmbi_mono_ns() - start < 20 * VMBI_SECOND);
    assert_non_null(strstr(vmb_error_message(err), "no byte moved"));
    vmb_error_free(err);
    vmbi_http_response_free(&r);
}

static void *fire_later(void *arg)
{
    const struct timespec t = {0, 150 * 1000 * 1000};

    nanosleep(&t, NULL);
    vmbi_cancel_fire(arg);
    return NULL;
}

static void cancelled_request_ends_within_a_moment(void **state)
{
    struct fixture *f = *state;
    vmbi_http_request q = {0};
    vmbi_http_response r;
    vmbi_cancel *cancel = NULL;
    vmbi_limits limits = {0, NULL};
    pthread_t t;
    int64_t start = 0;

    assert_int_equal(vmbi_cancel_new(&cancel, NULL), VMB_OK);
    limits.cancel = cancel;
    vmbi_http_response_init(&r, 1024);
    start = vmbi_mono_ns();
    pthread_create(&t, NULL, fire_later, cancel);
    assert_int_equal(perform(f, &q, "/never", &limits, &r, NULL), VMB_E_CANCELLED);
    assert_true(vmbi_mono_ns() - start < 20 * VMBI_SECOND);
    pthread_join(t, NULL);
    vmbi_http_response_free(&r);
    vmbi_cancel_free(cancel);
}

static void refused_connection_is_an_error_after_all_tries(void **state)
{
    struct fixture *f = *state;
    vmbi_http_request q = {.method = "GET", .url = "http://127.0.0.1:1/x?X-Amz-Signature=s3cret"};
    vmbi_http_response r;
    vmb_error *err = NULL;

    vmbi_http_response_init(&r, 1024);
    assert_int_equal(vmbi_http_perform(f->http, &q, NULL, &r, &err), VMB_E_NET);
    assert_int_equal(r.tries, 4);
    assert_int_equal(r.status, 0);
    assert_non_null(strstr(vmb_error_message(err), "GET http://127.0.0.1:1/x: "));
    assert_null(strstr(vmb_error_message(err), "s3cret"));
    vmb_error_free(err);
    vmbi_http_response_free(&r);
}

static void peer_that_speaks_no_http_is_a_protocol_error(void **state)
{
    struct fixture *f = *state;
    vmbi_http_request q = {0};
    vmbi_http_response r;

    vmbi_http_response_init(&r, 1024);
    assert_int_equal(perform(f, &q, "/garbage", NULL, &r, NULL), VMB_E_PROTOCOL);
    vmbi_http_response_free(&r);
}

static void url_that_is_no_http_url_is_refused(void **state)
{
    static const char *const bad[] = {"file:///etc/passwd", "http://",   "https://user:pw@host/",
                                      "ftp://h/",           "127.0.0.1", ""};
    struct fixture *f = *state;
    vmbi_http_response r;
    size_t i = 0;

    vmbi_http_response_init(&r, 1024);
    for (i = 0; i < VMBI_ARRAY_LEN(bad); i++) {
        vmbi_http_request q = {.method = "GET", .url = bad[i]};

        assert_int_equal(vmbi_http_perform(f->http, &q, NULL, &r, NULL), VMB_E_ARG);
    }
    vmbi_http_response_free(&r);
}

static void header_with_line_break_is_refused(void **state)
{
    const vmbi_http_header bad[] = {{"X-A", "1\r\nX-B: 2"}};
    struct fixture *f = *state;
    vmbi_http_request q = {.headers = bad, .n_headers = 1};
    vmbi_http_response r;

    vmbi_http_response_init(&r, 1024);
    assert_int_equal(perform(f, &q, "/hello", NULL, &r, NULL), VMB_E_ARG);
    assert_int_equal(test_server_requests(f->server), 0);
    vmbi_http_response_free(&r);
}

static vmb_code sign(void *user, int try_number, vmbi_http_headers *headers, vmb_error **err)
{
    char value[16];

    *(int *)user = try_number;
    snprintf(value, sizeof(value), "try-%d", try_number);
    return vmbi_http_headers_add(headers, "X-Try", value, err);
}

static void signer_is_called_before_every_try(void **state)
{
    struct fixture *f = *state;
    int last = 0;
    vmbi_http_request q = {.sign = sign, .user = &last};
    vmbi_http_response r;

    vmbi_http_response_init(&r, 65536);
    assert_int_equal(perform(f, &q, "/fail-twice", NULL, &r, NULL), VMB_OK);
    assert_int_equal(last, 3);
    assert_int_equal(perform(f, &q, "/echo", NULL, &r, NULL), VMB_OK);
    assert_non_null(strstr(r.body.data, "X-Try: try-1\r\n"));
    vmbi_http_response_free(&r);
}

static bool retry_on_error_body(void *user, const vmbi_http_response *r, int try_number)
{
    (void)user;
    (void)try_number;
    return r->body.len > 0 && strstr(r->body.data, "<Error") != NULL;
}

static void caller_decides_about_an_answer_that_looks_fine(void **state)
{
    struct fixture *f = *state;
    vmbi_http_request q = {.retry = retry_on_error_body};
    vmbi_http_response r;

    vmbi_http_response_init(&r, 1024);
    assert_int_equal(perform(f, &q, "/error-in-200", NULL, &r, NULL), VMB_OK);
    assert_int_equal(r.tries, 2);
    assert_memory_equal(r.body.data, "<Result/>", 9);
    vmbi_http_response_free(&r);
}

static void memory_running_out_fails_the_request_cleanly(void **state)
{
    struct fixture *f = *state;
    vmb_code code = VMB_E_NOMEM;
    uint64_t n = 0;

    for (n = 1; n < 100 && code != VMB_OK; n++) {
        vmbi_http_request q = {.method = "PUT", .body = "x", .body_len = 1};
        vmbi_http_response r;

        vmbi_http_response_init(&r, 65536);
        vmbi_alloc_fail_from(n);
        code = perform(f, &q, "/echo", NULL, &r, NULL);
        vmbi_alloc_fail_from(0);
        assert_true(code == VMB_OK || code == VMB_E_NOMEM);
        vmbi_http_response_free(&r);
    }
    assert_int_equal(code, VMB_OK);
    assert_true(n > 3);
}

static void *many(void *arg)
{
    struct fixture *f = arg;
    char u[256];
    intptr_t failures = 0;
    int i = 0;

    snprintf(u, sizeof(u), "http://127.0.0.1:%d/hello", test_server_port(f->server));
    for (i = 0; i < 50; i++) {
        vmbi_http_request q = {.method = "GET", .url = u};
        vmbi_http_response r;

        vmbi_http_response_init(&r, 1024);
        if (vmbi_http_perform(f->http, &q, NULL, &r, NULL) != VMB_OK || r.status != 200 ||
            r.body.len != 5) {
            failures++;
        }
        vmbi_http_response_free(&r);
    }
    return (void *)failures;
}

static void threads_share_one_client(void **state)
{
    struct fixture *f = *state;
    pthread_t t[8];
    intptr_t failures = 0;
    size_t i = 0;

    for (i = 0; i < VMBI_ARRAY_LEN(t); i++) {
        pthread_create(&t[i], NULL, many, f);
    }
    for (i = 0; i < VMBI_ARRAY_LEN(t); i++) {
        void *n = NULL;

        pthread_join(t[i], &n);
        failures += (intptr_t)n;
    }
    assert_int_equal(failures, 0);
    assert_int_equal(test_server_requests(f->server), 400);
    assert_true(test_server_connections(f->server) <= 8);
}

static void sigpipe_mask_of_the_caller_is_left_as_it_was(void **state)
{
    struct fixture *f = *state;
    vmbi_http_request q = {0};
    vmbi_http_response r;
    sigset_t now;

    vmbi_http_response_init(&r, 1024);
    assert_int_equal(perform(f, &q, "/hello", NULL, &r, NULL), VMB_OK);
    assert_int_equal(pthread_sigmask(SIG_BLOCK, NULL, &now), 0);
    assert_int_equal(sigismember(&now, SIGPIPE), 0);
    vmbi_http_response_free(&r);
}

static void stream_carries_bytes_both_ways(void **state)
{
    struct fixture *f = *state;
    char u[256];
    char buf[256];
    const char hello[] = "GET /ws HTTP/1.1\r\nHost: x\r\n\r\n";
    const vmbi_limits limits = vmbi_limits_within(NULL, 5 * VMBI_SECOND);
    const vmbi_limits passed = vmbi_limits_within(NULL, 0);
    vmbi_stream *s = NULL;
    size_t got = 0;
    size_t total = 0;

    snprintf(u, sizeof(u), "ws://127.0.0.1:%d/ws", test_server_port(f->server));
    assert_int_equal(vmbi_stream_connect(f->http, u, &limits, &s, NULL), VMB_OK);
    assert_int_equal(vmbi_stream_send(s, hello, strlen(hello), &limits, NULL), VMB_OK);
    while (total < 36) {
        assert_int_equal(vmbi_stream_recv(s, buf + total, sizeof(buf) - total, &limits, &got, NULL),
                         VMB_OK);
        total += got;
    }
    assert_memory_equal(buf, "HTTP/1.1 101 Switching Protocols\r\n\r\n", 36);
    assert_int_equal(vmbi_stream_recv(s, buf, sizeof(buf), &passed, &got, NULL), VMB_E_TIMEOUT);
    assert_int_equal(vmbi_stream_send(s, "ping", 4, &limits, NULL), VMB_OK);
    assert_int_equal(vmbi_stream_recv(s, buf, sizeof(buf), &limits, &got, NULL), VMB_OK);
    assert_int_equal(got, 4);
    assert_memory_equal(buf, "ping", 4);
    vmbi_stream_free(s);
}

static void stream_end_is_reported_as_zero_bytes(void **state)
{
    struct fixture *f = *state;
    char u[256];
    char buf[256];
    const char hello[] = "GET /garbage HTTP/1.1\r\nHost: x\r\n\r\n";
    const vmbi_limits limits = vmbi_limits_within(NULL, 5 * VMBI_SECOND);
    vmbi_stream *s = NULL;
    size_t got = 1;
    int rounds = 0;

    snprintf(u, sizeof(u), "http://127.0.0.1:%d/", test_server_port(f->server));
    assert_int_equal(vmbi_stream_connect(f->http, u, &limits, &s, NULL), VMB_OK);
    assert_int_equal(vmbi_stream_send(s, hello, strlen(hello), &limits, NULL), VMB_OK);
    while (got > 0 && rounds++ < 100) {
        assert_int_equal(vmbi_stream_recv(s, buf, sizeof(buf), &limits, &got, NULL), VMB_OK);
    }
    assert_int_equal(got, 0);
    vmbi_stream_free(s);
}

static void stream_to_a_closed_port_fails(void **state)
{
    struct fixture *f = *state;
    vmbi_stream *s = NULL;
    vmb_error *err = NULL;

    assert_int_equal(vmbi_stream_connect(f->http, "wss://127.0.0.1:1/", NULL, &s, &err), VMB_E_NET);
    assert_null(s);
    assert_non_null(strstr(vmb_error_message(err), "wss://127.0.0.1:1/"));
    vmb_error_free(err);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(get_simple_collects_body_and_headers),
        TEST(requests_in_sequence_share_one_connection),
        TEST(put_body_is_sent_with_length_and_own_headers_only),
        TEST(post_empty_body_sends_length_zero),
        TEST(delete_and_head_have_no_body),
        TEST(transient_status_is_retried_until_it_passes),
        TEST(transient_status_after_last_try_is_returned),
        TEST(no_retry_tries_once),
        TEST(no_retry_is_not_sent_again_on_another_connection),
        TEST(other_status_is_not_retried),
        TEST(retry_after_is_waited_for),
        TEST(retry_after_past_the_deadline_returns_the_answer_at_once),
        TEST(broken_answer_is_retried_when_collected),
        TEST(broken_answer_is_not_retried_after_bytes_went_to_the_sink),
        TEST(body_of_an_error_answer_does_not_go_to_the_sink),
        TEST(sink_failure_ends_the_request_with_its_code),
        TEST(body_above_the_limit_is_refused),
        TEST(server_that_never_answers_meets_the_deadline),
        TEST(stalled_body_meets_the_idle_limit),
        TEST(cancelled_request_ends_within_a_moment),
        TEST(refused_connection_is_an_error_after_all_tries),
        TEST(peer_that_speaks_no_http_is_a_protocol_error),
        TEST(url_that_is_no_http_url_is_refused),
        TEST(header_with_line_break_is_refused),
        TEST(signer_is_called_before_every_try),
        TEST(caller_decides_about_an_answer_that_looks_fine),
        TEST(memory_running_out_fails_the_request_cleanly),
        TEST(threads_share_one_client),
        TEST(sigpipe_mask_of_the_caller_is_left_as_it_was),
        TEST(stream_carries_bytes_both_ways),
        TEST(stream_end_is_reported_as_zero_bytes),
        TEST(stream_to_a_closed_port_fails),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
