/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/duration.h"

#include <string.h>

#include "base/strs.h"

typedef struct unit {
    const char *name;
    uint64_t ns;
} unit;

/* Longest names first where one is the beginning of another; both micro signs that Go takes. */
static const unit units[] = {
    {"ns", 1},           {"us", 1000},      {"\xc2\xb5s", 1000}, /* U+00B5 */
    {"\xce\xbcs", 1000},                                         /* U+03BC */
    {"ms", 1000000},     {"s", 1000000000}, {"m", 60000000000},  {"h", 3600000000000},
};

/* The largest magnitude: that of INT64_MIN. */
#define MAX_MAGNITUDE (UINT64_C(1) << 63)

static size_t digits_len(const char *s)
{
    size_t n = 0;

    while (vmbi_is_digit(s[n])) {
        n++;
    }
    return n;
}

static bool digits_value(const char *s, size_t n, uint64_t *out)
{
    uint64_t v = 0;

    for (size_t i = 0; i < n; i++) {
        if (__builtin_mul_overflow(v, UINT64_C(10), &v) ||
            __builtin_add_overflow(v, (uint64_t)(s[i] - '0'), &v)) {
            return false;
        }
    }
    *out = v;
    return true;
}

/* Whole part of 0.<digits> * scale. Computed in floating point because Go does it so:
 * "0.3333333333333333333h" is 20 minutes there. Digits beyond int64 are ignored. */
static uint64_t fraction_of(const char *s, size_t n, uint64_t scale)
{
    uint64_t v = 0;
    double power = 1;

    for (size_t i = 0; i < n && v <= (uint64_t)INT64_MAX / 10; i++) {
        uint64_t next = v * 10 + (uint64_t)(s[i] - '0');

        if (next > MAX_MAGNITUDE) {
            break;
        }
        v = next;
        power *= 10;
    }
    return (uint64_t)((double)v * ((double)scale / power));
}

static const unit *find_unit(const char *s, size_t len)
{
    for (size_t i = 0; i < VMBI_ARRAY_LEN(units); i++) {
        if (strlen(units[i].name) == len && memcmp(units[i].name, s, len) == 0) {
            return &units[i];
        }
    }
    return NULL;
}

/* One "<number><unit>"; returns what follows, NULL when malformed. Adds to *total. */
static const char *parse_term(const char *s, uint64_t *total)
{
    size_t whole_len = digits_len(s);
    const char *frac = NULL;
    size_t frac_len = 0;
    const char *p = s + whole_len;
    uint64_t whole;

    if (*p == '.') {
        frac = p + 1;
        frac_len = digits_len(frac);
        p = frac + frac_len;
    }
    if (whole_len + frac_len == 0 || !digits_value(s, whole_len, &whole)) {
        return NULL;
    }
    size_t unit_len = strcspn(p, ".0123456789");
    const unit *u = find_unit(p, unit_len);
    if (u == NULL || __builtin_mul_overflow(whole, u->ns, &whole) ||
        __builtin_add_overflow(whole, fraction_of(frac, frac_len, u->ns), &whole) ||
        __builtin_add_overflow(*total, whole, total) || *total > MAX_MAGNITUDE) {
        return NULL;
    }
    return p + unit_len;
}

bool vmbi_duration_parse(const char *s, int64_t *ns)
{
    bool negative = false;
    uint64_t total = 0;

    if (s == NULL) {
        return false;
    }
    if (*s == '-' || *s == '+') {
        negative = *s == '-';
        s++;
    }
    if (strcmp(s, "0") == 0) {
        *ns = 0;
        return true;
    }
    if (*s == '\0') {
        return false;
    }
    while (*s != '\0') {
        s = parse_term(s, &total);
        if (s == NULL) {
            return false;
        }
    }
    if (!negative && total == MAX_MAGNITUDE) {
        return false;
    }
    *ns = negative ? (int64_t)(0 - total) : (int64_t)total;
    return true;
}

/* Writes v backwards so that it ends before p; returns its first byte. */
static char *put_uint(char *p, uint64_t v)
{
    do {
        *--p = (char)('0' + v % 10);
        v /= 10;
    } while (v > 0);
    return p;
}

/* Writes v / 10^digits backwards without trailing zeros; "12.5", "12". */
static char *put_decimal(char *p, uint64_t v, int digits)
{
    bool started = false;

    for (int i = 0; i < digits; i++) {
        unsigned d = (unsigned)(v % 10);

        v /= 10;
        started = started || d != 0;
        if (started) {
            *--p = (char)('0' + d);
        }
    }
    if (started) {
        *--p = '.';
    }
    return put_uint(p, v);
}

/* Below one second Go names the largest unit that makes the number at least 1. */
static char *put_subsecond(char *p, uint64_t v)
{
    *--p = 's';
    if (v < 1000) {
        *--p = 'n';
        return put_decimal(p, v, 0);
    }
    if (v < 1000000) {
        *--p = '\xb5'; /* U+00B5 in UTF-8, backwards */
        *--p = '\xc2';
        return put_decimal(p, v, 3);
    }
    *--p = 'm';
    return put_decimal(p, v, 6);
}

void vmbi_duration_format(int64_t ns, char out[VMBI_DURATION_SIZE])
{
    char tmp[VMBI_DURATION_SIZE];
    char *end = tmp + sizeof(tmp) - 1;
    char *p = end;
    uint64_t v = ns < 0 ? 0 - (uint64_t)ns : (uint64_t)ns;

    *end = '\0';
    if (v == 0) {
        *--p = 's';
        *--p = '0';
    } else if (v < 1000000000) {
        p = put_subsecond(p, v);
    } else {
        uint64_t minutes = v / 60000000000;

        *--p = 's';
        p = put_decimal(p, v % 60000000000, 9);
        if (minutes > 0) {
            *--p = 'm';
            p = put_uint(p, minutes % 60);
        }
        if (minutes >= 60) {
            *--p = 'h';
            p = put_uint(p, minutes / 60);
        }
    }
    if (ns < 0) {
        *--p = '-';
    }
    memcpy(out, p, (size_t)(end - p) + 1);
}
