/* SPDX-License-Identifier: Apache-2.0 */
#include "base/strs.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"

void vmbi_strs_free(vmbi_strs *l)
{
    for (size_t i = 0; i < l->n; i++) {
        vmbi_free(l->v[i]);
    }
    vmbi_free(l->v);
    *l = (vmbi_strs){0};
}

vmb_code vmbi_strs_addn(vmbi_strs *l, const char *s, size_t len, vmb_error **err)
{
    if (l->n == l->cap) {
        size_t cap = l->cap == 0 ? 8 : l->cap * 2;
        char **v = vmbi_realloc_array(l->v, cap, sizeof(*v));
        if (v == NULL) {
            return vmbi_fail_nomem(err);
        }
        l->v = v;
        l->cap = cap;
    }
    char *copy = vmbi_strndup(s, len);
    if (copy == NULL) {
        return vmbi_fail_nomem(err);
    }
    l->v[l->n++] = copy;
    return VMB_OK;
}

vmb_code vmbi_strs_add(vmbi_strs *l, const char *s, vmb_error **err)
{
    return vmbi_strs_addn(l, s, strlen(s), err);
}

bool vmbi_strs_has(const vmbi_strs *l, const char *s)
{
    for (size_t i = 0; i < l->n; i++) {
        if (strcmp(l->v[i], s) == 0) {
            return true;
        }
    }
    return false;
}

static int compare(const void *a, const void *b)
{
    const char *const *x = a;
    const char *const *y = b;
    return strcmp(*x, *y);
}

void vmbi_strs_sort(vmbi_strs *l)
{
    if (l->n > 1) {
        qsort(l->v, l->n, sizeof(*l->v), compare);
    }
}

vmb_code vmbi_strs_split(vmbi_strs *l, const char *s, char sep, vmb_error **err)
{
    for (;;) {
        const char *end = strchr(s, sep);
        vmb_code rc = vmbi_strs_addn(l, s, end != NULL ? (size_t)(end - s) : strlen(s), err);
        if (rc != VMB_OK || end == NULL) {
            return rc;
        }
        s = end + 1;
    }
}

bool vmbi_streq(const char *a, const char *b)
{
    if (a == NULL || b == NULL) {
        return a == b;
    }
    return strcmp(a, b) == 0;
}

bool vmbi_starts_with(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

bool vmbi_ends_with(const char *s, const char *suffix)
{
    size_t n = strlen(s);
    size_t m = strlen(suffix);
    return n >= m && memcmp(s + n - m, suffix, m) == 0;
}

char vmbi_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

bool vmbi_strcaseeq(const char *a, const char *b)
{
    while (*a != '\0' && vmbi_lower(*a) == vmbi_lower(*b)) {
        a++;
        b++;
    }
    return vmbi_lower(*a) == vmbi_lower(*b);
}

bool vmbi_is_digit(char c)
{
    return c >= '0' && c <= '9';
}

bool vmbi_is_alnum(char c)
{
    return vmbi_is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool vmbi_is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

bool vmbi_parse_u64(const char *s, size_t len, uint64_t *out)
{
    uint64_t v = 0;
    if (len == 0) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        if (!vmbi_is_digit(s[i]) || __builtin_mul_overflow(v, 10u, &v) ||
            __builtin_add_overflow(v, (uint64_t)(s[i] - '0'), &v)) {
            return false;
        }
    }
    *out = v;
    return true;
}

bool vmbi_parse_i64(const char *s, size_t len, int64_t *out)
{
    bool negative = len > 0 && s[0] == '-';
    uint64_t v = 0;
    if (!vmbi_parse_u64(s + (negative ? 1 : 0), len - (negative ? 1 : 0), &v)) {
        return false;
    }
    if (v > (uint64_t)INT64_MAX + (negative ? 1 : 0)) {
        return false;
    }
    *out = negative ? (v == 0 ? 0 : -(int64_t)(v - 1) - 1) : (int64_t)v;
    return true;
}

bool vmbi_parse_bool(const char *s, bool *out)
{
    static const char *const yes[] = {"1", "t", "T", "TRUE", "true", "True"};
    static const char *const no[] = {"0", "f", "F", "FALSE", "false", "False"};
    for (size_t i = 0; i < VMBI_ARRAY_LEN(yes); i++) {
        if (strcmp(s, yes[i]) == 0 || strcmp(s, no[i]) == 0) {
            *out = strcmp(s, yes[i]) == 0;
            return true;
        }
    }
    return false;
}

size_t vmbi_utf8_sequence(const char *str, size_t len)
{
    const unsigned char *s = (const unsigned char *)str;
    if (s[0] < 0x80) {
        return 1;
    }
    size_t n = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    if (s[0] < 0xc2 || s[0] > 0xf4 || n > len) {
        return 0;
    }
    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    bool bad = (s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
               (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f);
    return bad ? 0 : n;
}

bool vmbi_utf8_valid(const char *s, size_t len)
{
    size_t i = 0;
    while (i < len) {
        size_t n = vmbi_utf8_sequence(s + i, len - i);
        if (n == 0) {
            return false;
        }
        i += n;
    }
    return true;
}

void vmbi_text_clean(char *s, bool keep_lines)
{
    size_t len = strlen(s);
    size_t i = 0;
    while (i < len) {
        size_t n = vmbi_utf8_sequence(s + i, len - i);
        unsigned char c = (unsigned char)s[i];
        if (n == 0) {
            s[i] = '?';
        } else if ((c < 0x20 && c != '\t' && !(c == '\n' && keep_lines)) || c == 0x7f) {
            s[i] = ' ';
        }
        i += n == 0 ? 1 : n;
    }
}

size_t vmbi_utf8_encode(uint32_t c, char out[4])
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xc0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xe0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3f));
        out[2] = (char)(0x80 | (c & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3f));
    out[2] = (char)(0x80 | (c >> 6 & 0x3f));
    out[3] = (char)(0x80 | (c & 0x3f));
    return 4;
}
