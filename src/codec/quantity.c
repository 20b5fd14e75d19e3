/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/strs.h"
#include "codec/duration.h"

/* A decimal number as text: digits without the point, and where the point stands. */
typedef struct decimal {
    const char *s; /* the number, perhaps with a '.' in it */
    size_t dot;    /* index of '.', or the length when there is none */
    int64_t n;     /* digits */
    int64_t point; /* digits before the point; may be negative or beyond n after scaling */
} decimal;

typedef struct suffix {
    const char *name;
    uint64_t factor;  /* binary suffixes */
    int32_t exponent; /* decimal suffixes */
} suffix;

static const suffix suffixes[] = {
    {"", 1, 0},
    {"n", 1, -9},
    {"u", 1, -6},
    {"m", 1, -3},
    {"k", 1, 3},
    {"M", 1, 6},
    {"G", 1, 9},
    {"T", 1, 12},
    {"P", 1, 15},
    {"E", 1, 18},
    {"Ki", UINT64_C(1) << 10, 0},
    {"Mi", UINT64_C(1) << 20, 0},
    {"Gi", UINT64_C(1) << 30, 0},
    {"Ti", UINT64_C(1) << 40, 0},
    {"Pi", UINT64_C(1) << 50, 0},
    {"Ei", UINT64_C(1) << 60, 0},
};

/* No int64 has more digits than 19: exponents beyond this only add zeros. */
enum { MAX_EXPONENT = 1000, MAX_TEXT = 256 };

static uint64_t digit_at(const decimal *d, int64_t i)
{
    if (i < 0 || i >= d->n) {
        return 0;
    }
    size_t at = (size_t)i;
    return (uint64_t)(d->s[at >= d->dot ? at + 1 : at] - '0');
}

/* |value| rounded up to a whole number. */
static bool decimal_value(const decimal *d, uint64_t factor, uint64_t *out)
{
    uint64_t whole = 0;
    uint64_t part = 0;
    bool inexact = false;

    for (int64_t i = 0; i < d->point; i++) {
        if (__builtin_mul_overflow(whole, UINT64_C(10), &whole) ||
            __builtin_add_overflow(whole, digit_at(d, i), &whole)) {
            return false;
        }
    }
    /* From the last digit to the first every step stays below 10 * 2^60, and the result is exact
     * however many digits there are. */
    for (int64_t i = d->n - 1; i >= d->point; i--) {
        part += digit_at(d, i) * factor;
        inexact = inexact || part % 10 != 0;
        part /= 10;
    }
    return !__builtin_mul_overflow(whole, factor, &whole) &&
           !__builtin_add_overflow(whole, part, &whole) &&
           !__builtin_add_overflow(whole, (uint64_t)inexact, out);
}

static size_t scan_number(const char *s, decimal *d)
{
    size_t i = 0;
    bool dotted = false;

    for (; vmbi_is_digit(s[i]) || (s[i] == '.' && !dotted); i++) {
        if (s[i] == '.') {
            dotted = true;
            d->dot = i;
        }
    }
    d->s = s;
    if (!dotted) {
        d->dot = i;
    }
    d->n = (int64_t)(i - (dotted ? 1 : 0));
    d->point = (int64_t)d->dot;
    return i;
}

/* "Mi", "k", "e3", "E-2" …; the letter E alone is exa. */
static bool parse_suffix(const char *s, uint64_t *factor, int64_t *exponent)
{
    for (size_t i = 0; i < VMBI_ARRAY_LEN(suffixes); i++) {
        if (strcmp(s, suffixes[i].name) == 0) {
            *factor = suffixes[i].factor;
            *exponent = suffixes[i].exponent;
            return true;
        }
    }
    if (*s != 'e' && *s != 'E') {
        return false;
    }
    s++;
    if (*s == '+') {
        s++;
        if (*s == '-') {
            return false;
        }
    }
    int64_t e;
    if (!vmbi_parse_i64(s, strlen(s), &e)) {
        return false;
    }
    *factor = 1;
    *exponent = e > MAX_EXPONENT ? MAX_EXPONENT : e < -MAX_EXPONENT ? -MAX_EXPONENT : e;
    return true;
}

bool vmbi_quantity_parse(const char *s, int64_t *value)
{
    decimal d;
    bool negative;
    uint64_t factor, v;
    int64_t exponent;

    if (s == NULL || strlen(s) > MAX_TEXT) {
        return false;
    }
    negative = *s == '-';
    if (*s == '-' || *s == '+') {
        s++;
    }
    s += scan_number(s, &d);
    if (d.n == 0 || !parse_suffix(s, &factor, &exponent)) {
        return false;
    }
    d.point += exponent;
    if (!decimal_value(&d, factor, &v) || v > (uint64_t)INT64_MAX + (negative ? 1 : 0)) {
        return false;
    }
    *value = negative ? (int64_t)(0 - v) : (int64_t)v;
    return true;
}
