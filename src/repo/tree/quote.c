/* SPDX-License-Identifier: Apache-2.0 */
/* Go's strconv.Quote, in which restic keeps names that need not be UTF-8. */
#include "repo/tree/node.h"

#include <string.h>

#include "base/strs.h"

static const struct {
    uint32_t first;
    uint32_t last;
} printable_ranges[] = {
#include "repo/tree/printable.inc"
};

static bool is_printable(uint32_t c)
{
    size_t low = 0;
    size_t high = VMBI_ARRAY_LEN(printable_ranges);
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (c < printable_ranges[mid].first) {
            high = mid;
        } else if (c > printable_ranges[mid].last) {
            low = mid + 1;
        } else {
            return true;
        }
    }
    return false;
}

static uint32_t decode(const unsigned char *s, size_t n)
{
    static const uint32_t first_mask[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    uint32_t c = s[0] & first_mask[n];
    for (size_t i = 1; i < n; i++) {
        c = c << 6 | (s[i] & 0x3f);
    }
    return c;
}

static void quote_rune(uint32_t c, vmbi_buf *out)
{
    static const char controls[] = "abtnvfr"; /* 0x07 to 0x0d */
    if (c >= 0x07 && c <= 0x0d) {
        vmbi_buf_addf(out, "\\%c", controls[c - 7]);
    } else if (c < 0x20 || c == 0x7f) {
        vmbi_buf_addf(out, "\\x%02x", (unsigned)c);
    } else if (c < 0x10000) {
        vmbi_buf_addf(out, "\\u%04x", (unsigned)c);
    } else {
        vmbi_buf_addf(out, "\\U%08x", (unsigned)c);
    }
}

void vmbi_go_quote(const char *str, size_t len, vmbi_buf *out)
{
    const unsigned char *s = (const unsigned char *)str;
    size_t i = 0;
    while (i < len) {
        size_t n = vmbi_utf8_sequence(str + i, len - i);
        if (n == 0) {
            vmbi_buf_addf(out, "\\x%02x", s[i]);
            i++;
            continue;
        }
        uint32_t c = decode(s + i, n);
        if (c == '"' || c == '\\') {
            vmbi_buf_addc(out, '\\');
            vmbi_buf_addc(out, (char)c);
        } else if (is_printable(c)) {
            vmbi_buf_add(out, s + i, n);
        } else {
            quote_rune(c, out);
        }
        i += n;
    }
}

static int hex_digit(char c)
{
    c = vmbi_lower(c);
    return vmbi_is_digit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One escape behind its backslash; returns the bytes read, 0 when malformed. */
static size_t unescape(const char *s, size_t len, char out[4], size_t *n)
{
    static const char names[] = "abtnvfr\\\"'";
    static const char values[] = "\a\b\t\n\v\f\r\\\"'";
    if (len == 0) {
        return 0;
    }
    const char *at = s[0] != '\0' ? strchr(names, s[0]) : NULL;
    if (at != NULL) {
        out[0] = values[at - names];
        *n = 1;
        return 1;
    }
    bool octal = s[0] >= '0' && s[0] <= '7';
    size_t digits = s[0] == 'x' ? 2 : s[0] == 'u' ? 4 : s[0] == 'U' ? 8 : octal ? 3 : 0;
    size_t skip = octal ? 0 : 1;
    uint32_t v = 0;
    if (digits == 0 || len < skip + digits) {
        return 0;
    }
    for (size_t i = 0; i < digits; i++) {
        int d = hex_digit(s[skip + i]);
        if (d < 0 || (octal && d > 7)) {
            return 0;
        }
        v = v * (octal ? 8 : 16) + (uint32_t)d;
    }
    if (digits <= 3) { /* a byte */
        out[0] = (char)(unsigned char)v;
        *n = 1;
        return v > 0xff ? 0 : skip + digits;
    }
    *n = vmbi_utf8_encode(v, out);
    return v > 0x10ffff || (v >= 0xd800 && v < 0xe000) ? 0 : skip + digits;
}

bool vmbi_go_unquote(const char *s, size_t len, char *out, size_t size, size_t *out_len)
{
    size_t n = 0;
    size_t i = 0;
    while (i < len) {
        char bytes[4] = {s[i], 0, 0, 0};
        size_t k = 1;
        size_t read = 1;
        if (s[i] == '\\') {
            read = unescape(s + i + 1, len - i - 1, bytes, &k);
            if (read == 0) {
                return false;
            }
            read++;
        }
        if (size - n <= k) {
            return false;
        }
        memcpy(out + n, bytes, k);
        n += k;
        i += read;
    }
    out[n] = '\0';
    *out_len = n;
    return true;
}
