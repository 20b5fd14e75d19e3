/* SPDX-License-Identifier: Apache-2.0 */
/* The API server's refusals as codes and messages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "kube/status.h"

#define STATUS(reason, message)                                                                  \
    "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Failure\",\"message\":\"" message \
    "\",\"reason\":\"" reason "\",\"code\":0}"

typedef struct row {
    int http;
    const char *type;
    const char *body;
    vmb_code code;
    int retryable;
    const char *message;
} row;

static void check(const row *r)
{
    vmb_error *err = NULL;
    vmbi_kube_answer answer = {r->http, r->type, r->body, strlen(r->body)};
    assert_int_equal(vmbi_kube_status_fail(&answer, "get pods a/b", &err), r->code);
    assert_int_equal(vmb_error_code(err), r->code);
    assert_int_equal(vmbi_error_is_retryable(err), r->retryable);
    assert_string_equal(vmb_error_message(err), r->message);
    vmb_error_free(err);
}

static void status_reasons_become_codes(void **state)
{
    static const row table[] = {
        {409, "application/json", STATUS("AlreadyExists", "pods \\\"b\\\" already exists"),
         VMB_E_EXISTS, 0, "get pods a/b: pods \"b\" already exists"},
        {409, "application/json", STATUS("Conflict", "changed"), VMB_E_CONFLICT, 0,
         "get pods a/b: changed"},
        {404, "application/json", STATUS("NotFound", "no b"), VMB_E_NOT_FOUND, 0,
         "get pods a/b: no b"},
        {403, "application/json", STATUS("Forbidden", "User cannot get"), VMB_E_DENIED, 0,
         "get pods a/b: User cannot get"},
        {401, "application/json", STATUS("Unauthorized", "Unauthorized"), VMB_E_DENIED, 0,
         "get pods a/b: Unauthorized"},
        {410, "application/json", STATUS("Expired", "too old"), VMB_E_GONE, 1,
         "get pods a/b: too old"},
        {410, "application/json", STATUS("Gone", "gone"), VMB_E_GONE, 1, "get pods a/b: gone"},
        {422, "application/json", STATUS("Invalid", "spec.x: bad"), VMB_E_INVALID, 0,
         "get pods a/b: spec.x: bad"},
        {400, "application/json", STATUS("BadRequest", "bad"), VMB_E_INVALID, 0,
         "get pods a/b: bad"},
        {413, "application/json", STATUS("RequestEntityTooLarge", "big"), VMB_E_LIMIT, 0,
         "get pods a/b: big"},
        {405, "application/json", STATUS("MethodNotAllowed", "no"), VMB_E_UNSUPPORTED, 0,
         "get pods a/b: no"},
        {429, "application/json", STATUS("TooManyRequests", "later"), VMB_E_SERVER, 1,
         "get pods a/b: later"},
        {500, "application/json", STATUS("InternalError", "etcd"), VMB_E_SERVER, 1,
         "get pods a/b: etcd"},
        {503, "application/json", STATUS("ServiceUnavailable", "down"), VMB_E_SERVER, 1,
         "get pods a/b: down"},
        {504, "application/json", STATUS("Timeout", "slow"), VMB_E_SERVER, 1,
         "get pods a/b: slow"},
    };
    (void)state;
    for (size_t i = 0; i < VMBI_ARRAY_LEN(table); i++) {
        check(&table[i]);
    }
}

static void status_unknown_reason_goes_by_number(void **state)
{
    static const row table[] = {
        {403, "application/json", STATUS("Odd", "why"), VMB_E_DENIED, 0, "get pods a/b: why"},
        {503, "application/json", STATUS("", "why"), VMB_E_SERVER, 1, "get pods a/b: why"},
        {404, "application/json", "{\"kind\":\"Status\",\"status\":\"Failure\"}", VMB_E_NOT_FOUND,
         0, "get pods a/b: the server gave no message"},
        {409, "application/json", "{\"kind\":\"Status\",\"reason\":\"Conflict\"}", VMB_E_CONFLICT,
         0, "get pods a/b: Conflict"},
        {418, "application/json", STATUS("Odd", "tea"), VMB_E_PROTOCOL, 0, "get pods a/b: tea"},
    };
    (void)state;
    for (size_t i = 0; i < VMBI_ARRAY_LEN(table); i++) {
        check(&table[i]);
    }
}

static void status_plain_text_goes_by_number(void **state)
{
    static const row table[] = {
        {404, "text/plain; charset=utf-8", "404 page not found\n", VMB_E_NOT_FOUND, 0,
         "get pods a/b: http status 404: 404 page not found"},
        {502, "text/plain", "bad gateway", VMB_E_SERVER, 1,
         "get pods a/b: http status 502: bad gateway"},
        {401, "", "", VMB_E_DENIED, 0, "get pods a/b: http status 401"},
        {302, "", "", VMB_E_PROTOCOL, 0, "get pods a/b: http status 302"},
        {200, "application/json", "[1,2]", VMB_E_PROTOCOL, 0,
         "get pods a/b: http status 200: [1,2]"},
        {500, NULL, "{broken", VMB_E_SERVER, 1, "get pods a/b: http status 500: {broken"},
    };
    (void)state;
    for (size_t i = 0; i < VMBI_ARRAY_LEN(table); i++) {
        check(&table[i]);
    }
}

static void status_web_page_is_no_api_server(void **state)
{
    static const row table[] = {
        {200, "text/html", "\n <html>\n<body>Login</body>", VMB_E_PROTOCOL, 0,
         "get pods a/b: http status 200 with a web page, is this an api server?: <html>"},
        {404, "text/html", "<h1>No page</h1>\n", VMB_E_PROTOCOL, 0,
         "get pods a/b: http status 404 with a web page, is this an api server?: "
         "<h1>No page</h1>"},
        {200, "", "<!doctype html>", VMB_E_PROTOCOL, 0,
         "get pods a/b: http status 200 with a web page, is this an api server?: "
         "<!doctype html>"},
        {403, "text/html", "<b>no</b>", VMB_E_DENIED, 0,
         "get pods a/b: http status 403 with a web page, is this an api server?: <b>no</b>"},
        {503, "text/html", "<b>busy</b>", VMB_E_SERVER, 1,
         "get pods a/b: http status 503 with a web page: <b>busy</b>"},
    };
    (void)state;
    for (size_t i = 0; i < VMBI_ARRAY_LEN(table); i++) {
        check(&table[i]);
    }
}

static void status_message_becomes_one_clean_line(void **state)
{
    static const row table[] = {
        {403, "application/json", STATUS("Forbidden", "a\\n\\tb\\u0007 c\\u007fd"), VMB_E_DENIED,
         0, "get pods a/b: a b c d"},
        {500, "text/plain", "first\x01line\nsecond", VMB_E_SERVER, 1,
         "get pods a/b: http status 500: first line"},
        {500, "text/plain", "bad \xff utf8", VMB_E_SERVER, 1,
         "get pods a/b: http status 500: bad ? utf8"},
    };
    (void)state;
    for (size_t i = 0; i < VMBI_ARRAY_LEN(table); i++) {
        check(&table[i]);
    }
}

static void status_long_text_is_cut_between_characters(void **state)
{
    char body[4001];
    vmb_error *err = NULL;
    (void)state;
    for (size_t i = 0; i < 2000; i++) {
        memcpy(body + 2 * i, "\xc3\xa9", 2);
    }
    body[4000] = '\0';
    vmbi_kube_answer answer = {500, "text/plain", body, 4000};
    assert_int_equal(vmbi_kube_status_fail(&answer, "x", &err), VMB_E_SERVER);
    const char *message = vmb_error_message(err);
    assert_true(strlen(message) < 300);
    assert_null(strchr(message, '?'));
    assert_non_null(strstr(message, "\xc3\xa9\xc3\xa9"));
    vmb_error_free(err);
}

static void gone_with_token_offers_it(void **state)
{
    static const char body[] =
        "{\"kind\":\"Status\",\"metadata\":{\"continue\":\"tok\"},\"status\":\"Failure\","
        "\"reason\":\"Expired\",\"code\":410}";
    char *token = NULL;
    (void)state;
    assert_int_equal(vmbi_kube_status_continue(body, sizeof(body) - 1, &token, NULL), VMB_OK);
    assert_string_equal(token, "tok");
    vmbi_free(token);
    assert_int_equal(vmbi_kube_status_continue("{}", 2, &token, NULL), VMB_OK);
    assert_null(token);
    assert_int_equal(vmbi_kube_status_continue("", 0, &token, NULL), VMB_OK);
    assert_null(token);
}

static vmb_code parse_exit(const char *body, int32_t *code, vmb_error **err)
{
    return vmbi_kube_status_exit(body, strlen(body), "exec", code, err);
}

static void exit_success_is_zero(void **state)
{
    int32_t code = 99;
    (void)state;
    assert_int_equal(parse_exit("{\"metadata\":{},\"status\":\"Success\"}", &code, NULL), VMB_OK);
    assert_int_equal(code, 0);
}

static void exit_code_comes_from_the_causes(void **state)
{
    int32_t code = 99;
    (void)state;
    assert_int_equal(
        parse_exit("{\"status\":\"Failure\",\"reason\":\"NonZeroExitCode\",\"details\":{\"causes\":"
                   "[{\"reason\":\"Other\",\"message\":\"7\"},{\"reason\":\"ExitCode\","
                   "\"message\":\"137\"}]}}",
                   &code, NULL),
        VMB_OK);
    assert_int_equal(code, 137);
}

static void exit_other_failure_keeps_the_message(void **state)
{
    int32_t code = 99;
    vmb_error *err = NULL;
    (void)state;
    assert_int_equal(parse_exit("{\"status\":\"Failure\",\"reason\":\"InternalError\",\"message\":"
                                "\"executable file not found\",\"code\":500}",
                                &code, &err),
                     VMB_E_SERVER);
    assert_string_equal(vmb_error_message(err), "exec: executable file not found");
    assert_false(vmbi_error_is_retryable(err));
    assert_int_equal(code, 99);
    vmb_error_free(err);
}

static void exit_nonsense_is_protocol(void **state)
{
    static const char *const table[] = {
        "", "exit 3", "{}", "[]",
        "{\"status\":\"Failure\",\"reason\":\"NonZeroExitCode\"}",
        "{\"status\":\"Failure\",\"reason\":\"NonZeroExitCode\",\"details\":{\"causes\":[{"
        "\"reason\":\"ExitCode\",\"message\":\"99999999999\"}]}}",
        "{\"status\":\"Failure\",\"reason\":\"NonZeroExitCode\",\"details\":{\"causes\":[{"
        "\"reason\":\"ExitCode\",\"message\":\"3x\"}]}}",
    };
    (void)state;
    for (size_t i = 0; i < VMBI_ARRAY_LEN(table); i++) {
        int32_t code = 99;
        assert_int_equal(parse_exit(table[i], &code, NULL), VMB_E_PROTOCOL);
        assert_int_equal(code, 99);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(status_reasons_become_codes),
        cmocka_unit_test(status_unknown_reason_goes_by_number),
        cmocka_unit_test(status_plain_text_goes_by_number),
        cmocka_unit_test(status_web_page_is_no_api_server),
        cmocka_unit_test(status_message_becomes_one_clean_line),
        cmocka_unit_test(status_long_text_is_cut_between_characters),
        cmocka_unit_test(gone_with_token_offers_it),
        cmocka_unit_test(exit_success_is_zero),
        cmocka_unit_test(exit_code_comes_from_the_causes),
        cmocka_unit_test(exit_other_failure_keeps_the_message),
        cmocka_unit_test(exit_nonsense_is_protocol),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
