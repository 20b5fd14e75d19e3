/* SPDX-License-Identifier: Apache-2.0 */
/* Hexadecimal and base64 (RFC 4648) text. */
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/strs.h"
#include "codec/digest.h"

static const char hex_digits[] = "0123456789abcdef";
static const char base64_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void vmbi_hex(const void *data, size_t len, char *out)
{
    const uint8_t *p = data;

    for (size_t i = 0; i < len; i++) {
        *out++ = hex_digits[p[i] >> 4];
        *out++ = hex_digits[p[i] & 15];
    }
    *out = '\0';
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = vmbi_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool vmbi_unhex(const char *hex, size_t len, uint8_t *out)
{
    if (len % 2 != 0) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        if (hex_value(hex[i]) < 0) {
            return false;
        }
    }
    for (size_t i = 0; i < len; i += 2) {
        out[i / 2] = (uint8_t)(hex_value(hex[i]) * 16 + hex_value(hex[i + 1]));
    }
    return true;
}

size_t vmbi_base64_size(size_t len)
{
    return (len + 2) / 3 * 4 + 1;
}

void vmbi_base64(const void *data, size_t len, char *out)
{
    const uint8_t *p = data;

    for (; len >= 3; len -= 3, p += 3) {
        *out++ = base64_digits[p[0] >> 2];
        *out++ = base64_digits[(p[0] & 3) << 4 | p[1] >> 4];
        *out++ = base64_digits[(p[1] & 15) << 2 | p[2] >> 6];
        *out++ = base64_digits[p[2] & 63];
    }
    if (len > 0) {
        unsigned second = len == 2 ? p[1] : 0;

        *out++ = base64_digits[p[0] >> 2];
        *out++ = base64_digits[(p[0] & 3U) << 4 | second >> 4];
        *out++ = len == 2 ? base64_digits[(second & 15) << 2] : '=';
        *out++ = '=';
    }
    *out = '\0';
}

static int base64_value(char c)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Decodes into out, which has room; false when malformed. */
static bool unbase64_into(const char *text, size_t len, uint8_t *out, size_t *out_len)
{
    uint32_t acc = 0;
    size_t n = 0, digits = 0, pads = 0;

    for (size_t i = 0; i < len; i++) {
        int v = base64_value(text[i]);

        if (vmbi_is_space(text[i])) {
            continue;
        }
        if (text[i] == '=') {
            pads++;
            continue;
        }
        if (v < 0 || pads > 0) {
            return false;
        }
        acc = acc << 6 | (uint32_t)v;
        if (++digits % 4 == 0) {
            out[n++] = (uint8_t)(acc >> 16);
            out[n++] = (uint8_t)(acc >> 8);
            out[n++] = (uint8_t)acc;
        }
    }
    if (digits % 4 == 1 || pads != (4 - digits % 4) % 4) {
        return false;
    }
    /* As Go does by default, bits beyond the last whole byte are ignored. */
    if (digits % 4 >= 2) {
        acc <<= 6 * (4 - digits % 4);
        out[n++] = (uint8_t)(acc >> 16);
        if (digits % 4 == 3) {
            out[n++] = (uint8_t)(acc >> 8);
        }
    }
    *out_len = n;
    return true;
}

vmb_code vmbi_unbase64(const char *text, size_t len, uint8_t **out, size_t *out_len,
                       vmb_error **err)
{
    uint8_t *p = vmbi_alloc(len / 4 * 3 + 4);

    if (p == NULL) {
        return vmbi_fail_nomem(err);
    }
    if (!unbase64_into(text, len, p, out_len)) {
        vmbi_free(p);
        return vmbi_fail(err, VMB_E_PARSE, "malformed base64 text");
    }
    p[*out_len] = 0; /* handy when it is text */
    *out = p;
    return VMB_OK;
}
