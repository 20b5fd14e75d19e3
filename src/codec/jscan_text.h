/* SPDX-License-Identifier: Apache-2.0 */
/* What scanning and decoding of JSON strings share; inline, because the scan stands and falls with
 * them. */
#ifndef VMBI_CODEC_JSCAN_TEXT_H
#define VMBI_CODEC_JSCAN_TEXT_H

#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "base/compiler.h"
#include "base/strs.h"

static inline bool vmbi_jscan_is_plain(char c)
{
    return c != '"' && c != '\\' && (unsigned char)c >= 0x20;
}

/* First byte that is a quote, a backslash or a control character; end when there is none. */
static inline const char *vmbi_jscan_plain(const char *p, const char *end)
{
#ifdef __SSE2__
    const __m128i quote = _mm_set1_epi8('"');
    const __m128i slash = _mm_set1_epi8('\\');
    const __m128i control = _mm_set1_epi8(0x1f);

    while (end - p >= 16) {
        __m128i v;

        memcpy(&v, p, sizeof(v));
        __m128i hit = _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(v, quote), _mm_cmpeq_epi8(v, slash)),
                                   _mm_cmpeq_epi8(_mm_min_epu8(v, control), v));
        int mask = _mm_movemask_epi8(hit);
        if (mask != 0) {
            return p + __builtin_ctz((unsigned)mask);
        }
        p += 16;
    }
#endif
    while (p < end && vmbi_jscan_is_plain(*p)) {
        p++;
    }
    return p;
}

static inline int vmbi_jscan_hex(char c)
{
    if (vmbi_is_digit(c)) {
        return c - '0';
    }
    c = vmbi_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Four hexadecimal digits at p, or -1. */
static inline int32_t vmbi_jscan_hex4(const char *p, const char *end)
{
    int32_t v = 0;

    if (end - p < 4) {
        return -1;
    }
    for (int i = 0; i < 4; i++) {
        int d = vmbi_jscan_hex(p[i]);

        if (d < 0) {
            return -1;
        }
        v = v * 16 + d;
    }
    return v;
}

#endif
