/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/status.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/strs.h"
#include "codec/json.h"

enum { TEXT_SIZE = 1024, LINE_SIZE = 200 };

typedef struct status_rule {
    const char *key;
    vmb_code code;
    bool retryable;
} status_rule;

/* StatusReason values; sorted. */
static const status_rule reasons[] = {
    {"AlreadyExists", VMB_E_EXISTS, false},
    {"BadRequest", VMB_E_INVALID, false},
    {"Conflict", VMB_E_CONFLICT, false},
    {"Expired", VMB_E_GONE, true},
    {"Forbidden", VMB_E_DENIED, false},
    {"Gone", VMB_E_GONE, true},
    {"InternalError", VMB_E_SERVER, true},
    {"Invalid", VMB_E_INVALID, false},
    {"MethodNotAllowed", VMB_E_UNSUPPORTED, false},
    {"NotAcceptable", VMB_E_UNSUPPORTED, false},
    {"NotFound", VMB_E_NOT_FOUND, false},
    {"RequestEntityTooLarge", VMB_E_LIMIT, false},
    {"ServerTimeout", VMB_E_SERVER, true},
    {"ServiceUnavailable", VMB_E_SERVER, true},
    {"StoreReadError", VMB_E_SERVER, true},
    {"Timeout", VMB_E_SERVER, true},
    {"TooManyRequests", VMB_E_SERVER, true},
    {"Unauthorized", VMB_E_DENIED, false},
    {"UnsupportedMediaType", VMB_E_UNSUPPORTED, false},
};

static const struct {
    int http_status;
    vmb_code code;
} by_number[] = {
    {400, VMB_E_INVALID},     {401, VMB_E_DENIED},      {403, VMB_E_DENIED},
    {404, VMB_E_NOT_FOUND},   {405, VMB_E_UNSUPPORTED}, {406, VMB_E_UNSUPPORTED},
    {407, VMB_E_DENIED},      {408, VMB_E_TIMEOUT},     {409, VMB_E_CONFLICT},
    {410, VMB_E_GONE},        {412, VMB_E_CONFLICT},    {413, VMB_E_LIMIT},
    {415, VMB_E_UNSUPPORTED}, {422, VMB_E_INVALID},
};

static const status_rule *rule_of_reason(const char *reason)
{
    for (size_t i = 0; reason != NULL && i < VMBI_ARRAY_LEN(reasons); i++) {
        if (strcmp(reasons[i].key, reason) == 0) {
            return &reasons[i];
        }
    }
    return NULL;
}

static bool is_overload(int http_status)
{
    return http_status >= 500 || http_status == 429;
}

static vmb_code code_of_number(int http_status)
{
    for (size_t i = 0; i < VMBI_ARRAY_LEN(by_number); i++) {
        if (by_number[i].http_status == http_status) {
            return by_number[i].code;
        }
    }
    return is_overload(http_status) ? VMB_E_SERVER : VMB_E_PROTOCOL;
}

static vmb_code report(vmb_error **err, vmb_code code, bool retryable, const char *what,
                       const char *text)
{
    return retryable ? vmbi_fail_retryable(err, code, "%s: %s", what, text)
                     : vmbi_fail(err, code, "%s: %s", what, text);
}

/* Server text for a one-line message: control bytes become spaces, runs of spaces one. Stops at
 * size - 1 bytes, never inside a UTF-8 sequence. */
static void clean_text(const char *s, size_t len, char *out, size_t size)
{
    size_t n = 0;
    bool gap = false;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c <= ' ' || c == 0x7f) {
            gap = n > 0;
            continue;
        }
        if (n + 2 >= size) {
            break;
        }
        if (gap) {
            out[n++] = ' ';
            gap = false;
        }
        out[n++] = (char)c;
    }
    if (n + 2 >= size) {
        while (n > 0 && ((unsigned char)out[n - 1] & 0xc0) == 0x80) {
            n--;
        }
        if (n > 0 && ((unsigned char)out[n - 1] & 0x80) != 0) {
            n--;
        }
    }
    out[n] = '\0';
    if (!vmbi_utf8_valid(out, n)) {
        for (size_t i = 0; i < n; i++) {
            if (((unsigned char)out[i] & 0x80) != 0) {
                out[i] = '?';
            }
        }
    }
}

static size_t first_byte(const char *s, size_t len)
{
    size_t i = 0;
    while (i < len && vmbi_is_space(s[i])) {
        i++;
    }
    return i;
}

static void first_line(const vmbi_kube_answer *a, char out[LINE_SIZE])
{
    size_t start = first_byte(a->body, a->len);
    size_t end = start;
    while (end < a->len && a->body[end] != '\n' && a->body[end] != '\r') {
        end++;
    }
    clean_text(a->body + start, end - start, out, LINE_SIZE);
}

static bool is_html(const vmbi_kube_answer *a)
{
    size_t i = first_byte(a->body, a->len);
    return (a->content_type != NULL && vmbi_starts_with(a->content_type, "text/html")) ||
           (i < a->len && a->body[i] == '<');
}

/* An answer that is no Status: text of a proxy, a login page, Go's "404 page not found". */
static vmb_code fail_plain(const vmbi_kube_answer *a, const char *what, vmb_error **err)
{
    char line[LINE_SIZE];
    first_line(a, line);
    vmb_code code = code_of_number(a->http_status);
    if (is_html(a)) {
        /* A page's 404 says nothing about an object: whoever answered is no API server. */
        if (code != VMB_E_DENIED && code != VMB_E_SERVER) {
            code = VMB_E_PROTOCOL;
        }
        return code == VMB_E_SERVER
                   ? vmbi_fail_retryable(err, code, "%s: http status %d with a web page: %s", what,
                                         a->http_status, line)
                   : vmbi_fail(err, code,
                               "%s: http status %d with a web page, is this an api server?: %s",
                               what, a->http_status, line);
    }
    const char *colon = line[0] != '\0' ? ": " : "";
    return code == VMB_E_SERVER || code == VMB_E_GONE
               ? vmbi_fail_retryable(err, code, "%s: http status %d%s%s", what, a->http_status,
                                     colon, line)
               : vmbi_fail(err, code, "%s: http status %d%s%s", what, a->http_status, colon, line);
}

/* The Status object of an answer, or NULL when it holds none. */
static vmbi_json *parse_status(const char *body, size_t len)
{
    size_t i = first_byte(body, len);
    vmbi_json *doc = NULL;
    if (i == len || body[i] != '{' ||
        vmbi_json_parse(body, len, "status", &doc, NULL) != VMB_OK) {
        return NULL;
    }
    if (!vmbi_streq(vmbi_json_get_str(doc, "kind"), "Status") &&
        vmbi_json_get_str(doc, "status") == NULL) {
        vmbi_json_free(doc);
        return NULL;
    }
    return doc;
}

static const char *status_text(const vmbi_json *status, char out[TEXT_SIZE])
{
    const char *message = vmbi_json_get_str(status, "message");
    const char *reason = vmbi_json_get_str(status, "reason");
    clean_text(message != NULL ? message : "", message != NULL ? strlen(message) : 0, out,
               TEXT_SIZE);
    if (out[0] == '\0' && reason != NULL) {
        clean_text(reason, strlen(reason), out, TEXT_SIZE);
    }
    return out[0] != '\0' ? out : "the server gave no message";
}

vmb_code vmbi_kube_status_fail(const vmbi_kube_answer *answer, const char *what, vmb_error **err)
{
    vmbi_json *status = parse_status(answer->body, answer->len);
    if (status == NULL) {
        return fail_plain(answer, what, err);
    }
    char text[TEXT_SIZE];
    const status_rule *rule = rule_of_reason(vmbi_json_get_str(status, "reason"));
    vmb_code code = rule != NULL ? rule->code : code_of_number(answer->http_status);
    bool retryable = rule != NULL ? rule->retryable : code == VMB_E_SERVER || code == VMB_E_GONE;
    vmb_code rc = report(err, code, retryable, what, status_text(status, text));
    vmbi_json_free(status);
    return rc;
}

vmb_code vmbi_kube_status_continue(const char *body, size_t len, char **token, vmb_error **err)
{
    *token = NULL;
    vmbi_json *status = parse_status(body, len);
    const char *s = vmbi_json_path_str(status, "metadata.continue");
    vmb_code rc = VMB_OK;
    if (s != NULL && s[0] != '\0') {
        *token = vmbi_strdup(s);
        rc = *token != NULL ? VMB_OK : vmbi_fail_nomem(err);
    }
    vmbi_json_free(status);
    return rc;
}

/* details.causes[] with reason ExitCode carries the number in its message. */
static bool find_exit_code(const vmbi_json *status, int32_t *exit_code)
{
    const vmbi_json *causes = vmbi_json_path(status, "details.causes");
    for (size_t i = 0; i < vmbi_json_len(causes); i++) {
        const vmbi_json *cause = vmbi_json_at(causes, i);
        const char *text = vmbi_json_get_str(cause, "message");
        int64_t n = 0;
        if (vmbi_streq(vmbi_json_get_str(cause, "reason"), "ExitCode") && text != NULL &&
            vmbi_parse_i64(text, strlen(text), &n) && n >= INT32_MIN && n <= INT32_MAX) {
            *exit_code = (int32_t)n;
            return true;
        }
    }
    return false;
}

vmb_code vmbi_kube_status_exit(const char *body, size_t len, const char *what, int32_t *exit_code,
                               vmb_error **err)
{
    vmbi_json *status = parse_status(body, len);
    if (status == NULL) {
        return vmbi_fail(err, VMB_E_PROTOCOL, "%s: the error channel carried no status", what);
    }
    const char *outcome = vmbi_json_get_str(status, "status");
    const char *reason = vmbi_json_get_str(status, "reason");
    const status_rule *rule = rule_of_reason(reason);
    char text[TEXT_SIZE];
    vmb_code rc = VMB_OK;
    if (vmbi_streq(outcome, "Success")) {
        *exit_code = 0;
    } else if (!vmbi_streq(reason, "NonZeroExitCode")) {
        /* the command may have run or not: repeating it is for the caller to decide */
        rc = vmbi_fail(err, rule != NULL ? rule->code : VMB_E_SERVER, "%s: %s", what,
                       status_text(status, text));
    } else if (!find_exit_code(status, exit_code)) {
        rc = vmbi_fail(err, VMB_E_PROTOCOL, "%s: the status has no exit code: %s", what,
                       status_text(status, text));
    }
    vmbi_json_free(status);
    return rc;
}
