/* SPDX-License-Identifier: Apache-2.0 */
/* Decoding of one JSON string. */
#include <string.h>

#include "base/strs.h"
#include "codec/jscan.h"
#include "codec/jscan_text.h"

/* A \u escape, with its second half when it is a surrogate; NULL when malformed or NUL. */
static const char *decode_u(const char *p, const char *end, uint32_t *c)
{
    int32_t hi = vmbi_jscan_hex4(p + 2, end);
    int32_t lo;

    if (hi <= 0 || (hi >= 0xdc00 && hi <= 0xdfff)) {
        return NULL;
    }
    p += 6;
    *c = (uint32_t)hi;
    if (hi < 0xd800 || hi > 0xdbff) {
        return p;
    }
    if (end - p < 6 || p[0] != '\\' || p[1] != 'u') {
        return NULL;
    }
    lo = vmbi_jscan_hex4(p + 2, end);
    if (lo < 0xdc00 || lo > 0xdfff) {
        return NULL;
    }
    *c = 0x10000 + (((uint32_t)hi & 0x3ff) << 10 | ((uint32_t)lo & 0x3ff));
    return p + 6;
}

static const char *decode_escape(const char *p, const char *end, uint32_t *c)
{
    static const char from[] = "\"\\/bfnrt";
    static const char to[] = "\"\\/\b\f\n\r\t";

    if (end - p < 2) {
        return NULL;
    }
    if (p[1] == 'u') {
        return decode_u(p, end, c);
    }
    const char *at = p[1] == '\0' ? NULL : strchr(from, p[1]);
    if (at == NULL) {
        return NULL;
    }
    *c = (unsigned char)to[at - from];
    return p + 2;
}

bool vmbi_jscan_string(vmbi_slice raw, char *out, size_t size)
{
    const char *p, *end;
    char utf8[4];
    size_t n = 0;

    if (raw.p == NULL || raw.len < 2 || raw.p[0] != '"' || raw.p[raw.len - 1] != '"') {
        return false;
    }
    p = raw.p + 1;
    end = raw.p + raw.len - 1;
    while (p < end) {
        const char *q = vmbi_jscan_plain(p, end);
        size_t run = (size_t)(q - p);
        uint32_t c;

        if (run >= size - n) {
            return false;
        }
        memcpy(out + n, p, run);
        n += run;
        if (q == end) {
            break;
        }
        if (*q != '\\' || (p = decode_escape(q, end, &c)) == NULL) {
            return false;
        }
        run = vmbi_utf8_encode(c, utf8);
        if (run >= size - n) {
            return false;
        }
        memcpy(out + n, utf8, run);
        n += run;
    }
    if (n >= size || !vmbi_utf8_valid(out, n)) {
        return false;
    }
    out[n] = '\0';
    return true;
}
