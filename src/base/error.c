/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/strs.h"

enum { MESSAGE_MAX = 4096 };

struct vmb_error {
    vmb_code code;
    uint32_t flags;
    char message[]; /* NUL-terminated */
};

/* Handed out when the error itself cannot be allocated; never freed. */
static struct {
    vmb_code code;
    uint32_t flags;
    char message[16];
} const nomem_error = {VMB_E_NOMEM, 0, "out of memory"};

static vmb_error *nomem(void)
{
    /* The object is const and only read through this pointer; vmb_error_free() knows it. */
    union {
        const void *c;
        vmb_error *e;
    } u = {&nomem_error};
    return u.e;
}

vmb_code vmb_error_code(const vmb_error *e)
{
    return e != NULL ? e->code : VMB_OK;
}

const char *vmb_error_message(const vmb_error *e)
{
    return e != NULL ? e->message : "";
}

uint32_t vmb_error_flags(const vmb_error *e)
{
    return e != NULL ? e->flags : 0;
}

void vmb_error_free(vmb_error *e)
{
    if (e != NULL && e != nomem()) {
        vmbi_free(e);
    }
}

static void store(vmb_error **slot, vmb_error *e)
{
    vmb_error_free(*slot);
    *slot = e;
}

static vmb_error *make(vmb_code code, uint32_t flags, const char *prefix, const char *text)
{
    size_t prefix_len = strlen(prefix);
    size_t text_len = strlen(text);
    if (prefix_len > MESSAGE_MAX) {
        prefix_len = MESSAGE_MAX;
    }
    if (text_len > MESSAGE_MAX - prefix_len) {
        text_len = MESSAGE_MAX - prefix_len;
    }
    vmb_error *e = vmbi_alloc(sizeof(*e) + prefix_len + text_len + 1);
    if (e == NULL) {
        return nomem();
    }
    e->code = code;
    e->flags = flags;
    memcpy(e->message, prefix, prefix_len);
    memcpy(e->message + prefix_len, text, text_len);
    e->message[prefix_len + text_len] = '\0';
    vmbi_text_clean(e->message, false); /* cut in a character, or a peer's or provider's text */
    return e;
}

void vmb_error_set(vmb_error **slot, vmb_code code, uint32_t flags, const char *msg)
{
    if (slot != NULL) {
        store(slot, make(code, flags, "", msg != NULL ? msg : vmb_code_name(code)));
    }
}

VMBI_PRINTF(4, 0)
static vmb_code failv(vmb_error **err, vmb_code code, uint32_t flags, const char *fmt, va_list ap)
{
    if (err != NULL) {
        char text[MESSAGE_MAX];
        (void)vsnprintf(text, sizeof(text), fmt, ap); /* cut when too long */
        store(err, make(code, flags, "", text));
    }
    return code;
}

vmb_code vmbi_fail(vmb_error **err, vmb_code code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vmb_code rc = failv(err, code, 0, fmt, ap);
    va_end(ap);
    return rc;
}

vmb_code vmbi_fail_retryable(vmb_error **err, vmb_code code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vmb_code rc = failv(err, code, VMB_ERROR_RETRYABLE, fmt, ap);
    va_end(ap);
    return rc;
}

vmb_code vmbi_fail_nomem(vmb_error **err)
{
    if (err != NULL) {
        store(err, nomem());
    }
    return VMB_E_NOMEM;
}

static vmb_code code_of_errno(int errnum)
{
    switch (errnum) {
    case ENOENT:
        return VMB_E_NOT_FOUND;
    case EACCES:
    case EPERM:
    case EROFS:
        return VMB_E_DENIED;
    case EEXIST:
        return VMB_E_EXISTS;
    case ENOSPC:
    case EDQUOT:
        return VMB_E_FULL;
    case ENOMEM:
        return VMB_E_NOMEM;
    case ETIMEDOUT:
        return VMB_E_TIMEOUT;
    default:
        return VMB_E_IO;
    }
}

vmb_code vmbi_fail_errno(vmb_error **err, int errnum, const char *fmt, ...)
{
    vmb_code code = code_of_errno(errnum);
    if (err == NULL) {
        return code;
    }
    char text[MESSAGE_MAX];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    const char *why = strerrordesc_np(errnum); /* no locale, thread-safe */
    return vmbi_fail(err, code, "%s: %s", text, why != NULL ? why : "unknown error");
}

vmb_code vmbi_wrap(vmb_error **err, vmb_code code, const char *fmt, ...)
{
    if (err == NULL) {
        return code;
    }
    if (*err == nomem()) {
        return VMB_E_NOMEM;
    }
    char prefix[MESSAGE_MAX];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(prefix, sizeof(prefix) - 2, fmt, ap);
    va_end(ap);
    if (*err == NULL) {
        return vmbi_fail(err, code, "%s: %s", prefix, vmb_code_name(code));
    }
    size_t len = strlen(prefix);
    memcpy(prefix + len, ": ", 3);
    vmb_code kept = (*err)->code;
    store(err, make(kept, (*err)->flags, prefix, (*err)->message));
    return kept;
}

void vmbi_error_move(vmb_error **dst, vmb_error **src)
{
    if (dst == NULL) {
        vmb_error_free(*src);
    } else if (dst != src) {
        store(dst, *src);
    }
    if (dst != src) {
        *src = NULL;
    }
}

bool vmbi_error_is_retryable(const vmb_error *e)
{
    return (vmb_error_flags(e) & VMB_ERROR_RETRYABLE) != 0;
}

static const char *const code_names[] = {
    "VMB_OK",          "VMB_E_ARG",      "VMB_E_NOMEM",     "VMB_E_STATE",    "VMB_E_INVALID",
    "VMB_E_PARSE",     "VMB_E_NOT_FOUND", "VMB_E_EXISTS",   "VMB_E_DENIED",   "VMB_E_TIMEOUT",
    "VMB_E_CANCELLED", "VMB_E_IO",       "VMB_E_NET",       "VMB_E_PROTOCOL", "VMB_E_LIMIT",
    "VMB_E_UNSUPPORTED", "VMB_E_PROVIDER", "VMB_E_FORKED",  "VMB_E_CONFLICT", "VMB_E_GONE",
    "VMB_E_FULL",      "VMB_E_SERVER",   "VMB_E_INTERNAL",
};

static bool code_is_known(vmb_code code)
{
    return code <= 0 && code > -(vmb_code)VMBI_ARRAY_LEN(code_names);
}

const char *vmb_code_name(vmb_code code)
{
    return code_is_known(code) ? code_names[-code] : "VMB_E_UNKNOWN";
}

vmb_code vmbi_check_provider(vmb_error **err, vmb_code code, const char *what)
{
    if (VMBI_LIKELY(code == VMB_OK)) {
        return code;
    }
    if (!code_is_known(code)) {
        return vmbi_fail(err, VMB_E_PROVIDER, "%s: provider returned the unknown code %d", what,
                         (int)code);
    }
    if (err != NULL && *err == NULL) {
        return vmbi_fail(err, code, "%s: %s", what, vmb_code_name(code));
    }
    return code;
}
