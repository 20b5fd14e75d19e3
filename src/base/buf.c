/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/strs.h"

void vmbi_buf_init(vmbi_buf *b, size_t max)
{
    *b = (vmbi_buf)VMBI_BUF_INIT(max);
}

void vmbi_buf_free(vmbi_buf *b)
{
    vmbi_free(b->data);
    vmbi_buf_init(b, b->max);
}

void vmbi_buf_reset(vmbi_buf *b)
{
    b->len = 0;
    b->status = VMB_OK;
    if (b->data != NULL) {
        b->data[0] = '\0';
    }
}

void vmbi_buf_reserve(vmbi_buf *b, size_t extra)
{
    if (b->status != VMB_OK) {
        return;
    }
    if (extra > b->max || b->len > b->max - extra) {
        b->status = VMB_E_LIMIT;
        return;
    }
    size_t need = b->len + extra + 1; /* cannot overflow: max <= SIZE_MAX - 1 in practice */
    if (need <= b->cap) {
        return;
    }
    size_t cap = b->cap < 128 ? 128 : b->cap;
    while (cap < need) {
        cap = cap > SIZE_MAX / 2 ? need : cap * 2;
    }
    if (cap > b->max && b->max < SIZE_MAX) {
        cap = need > b->max + 1 ? need : b->max + 1;
    }
    char *data = vmbi_realloc_array(b->data, cap, 1);
    if (data == NULL) {
        b->status = VMB_E_NOMEM;
        return;
    }
    b->data = data;
    b->data[b->len] = '\0';
    b->cap = cap;
}

void vmbi_buf_add(vmbi_buf *b, const void *data, size_t len)
{
    vmbi_buf_reserve(b, len);
    if (b->status == VMB_OK) {
        if (len != 0) {
            memcpy(b->data + b->len, data, len);
        }
        b->len += len;
        b->data[b->len] = '\0';
    }
}

void vmbi_buf_adds(vmbi_buf *b, const char *s)
{
    vmbi_buf_add(b, s, strlen(s));
}

void vmbi_buf_addc(vmbi_buf *b, char c)
{
    vmbi_buf_add(b, &c, 1);
}

void vmbi_buf_addf(vmbi_buf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0) {
        b->status = b->status != VMB_OK ? b->status : VMB_E_INTERNAL;
        return;
    }
    vmbi_buf_reserve(b, (size_t)n);
    if (b->status != VMB_OK) {
        return;
    }
    va_start(ap, fmt);
    (void)vsnprintf(b->data + b->len, (size_t)n + 1, fmt, ap); /* measured above */
    va_end(ap);
    b->len += (size_t)n;
}

static void add_json_byte(vmbi_buf *b, unsigned char c)
{
    static const char hex[] = "0123456789abcdef";
    char esc[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
    switch (c) {
    case '"':
        vmbi_buf_add(b, "\\\"", 2);
        break;
    case '\\':
        vmbi_buf_add(b, "\\\\", 2);
        break;
    case '\n':
        vmbi_buf_add(b, "\\n", 2);
        break;
    case '\r':
        vmbi_buf_add(b, "\\r", 2);
        break;
    case '\t':
        vmbi_buf_add(b, "\\t", 2);
        break;
    case '\b':
        vmbi_buf_add(b, "\\b", 2);
        break;
    case '\f':
        vmbi_buf_add(b, "\\f", 2);
        break;
    default:
        vmbi_buf_add(b, esc, 6);
        break;
    }
}

static bool json_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x80 && c != '"' && c != '\\' && c != '<' && c != '>' && c != '&';
}

void vmbi_buf_add_json_string(vmbi_buf *b, const char *str, size_t len)
{
    const unsigned char *s = (const unsigned char *)str;
    vmbi_buf_addc(b, '"');
    size_t i = 0;
    while (i < len && b->status == VMB_OK) {
        size_t run = i;
        while (run < len && json_plain(s[run])) {
            run++;
        }
        if (run > i) {
            vmbi_buf_add(b, s + i, run - i);
            i = run;
            continue;
        }
        size_t n = vmbi_utf8_sequence(str + i, len - i);
        if (n == 0) {
            vmbi_buf_adds(b, "\\ufffd");
            n = 1;
        } else if (n == 1) {
            add_json_byte(b, s[i]);
        } else if (n == 3 && s[i] == 0xe2 && s[i + 1] == 0x80 && (s[i + 2] & 0xfe) == 0xa8) {
            vmbi_buf_adds(b, s[i + 2] == 0xa8 ? "\\u2028" : "\\u2029");
        } else {
            vmbi_buf_add(b, s + i, n);
        }
        i += n;
    }
    vmbi_buf_addc(b, '"');
}

void vmbi_buf_consume(vmbi_buf *b, size_t n)
{
    if (n >= b->len) {
        b->len = 0;
    } else {
        memmove(b->data, b->data + n, b->len - n);
        b->len -= n;
    }
    if (b->data != NULL) {
        b->data[b->len] = '\0';
    }
}

vmb_code vmbi_buf_check(const vmbi_buf *b, vmb_error **err, const char *what)
{
    if (VMBI_LIKELY(b->status == VMB_OK)) {
        return VMB_OK;
    }
    if (b->status == VMB_E_NOMEM) {
        return vmbi_fail_nomem(err);
    }
    return vmbi_fail(err, b->status, "%s: larger than the limit of %zu bytes", what, b->max);
}

vmb_code vmbi_buf_take(vmbi_buf *b, char **out, size_t *out_len, vmb_error **err,
                       const char *what)
{
    vmbi_buf_reserve(b, 0);
    vmb_code rc = vmbi_buf_check(b, err, what);
    if (rc != VMB_OK) {
        return rc;
    }
    b->data[b->len] = '\0';
    *out = vmbi_steal(&b->data);
    if (out_len != NULL) {
        *out_len = b->len;
    }
    vmbi_buf_init(b, b->max);
    return VMB_OK;
}
