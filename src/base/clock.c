/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/strs.h"

int64_t vmbi_mono_ns(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_MONOTONIC, &ts); /* cannot fail with these arguments */
    return (int64_t)ts.tv_sec * VMBI_SECOND + ts.tv_nsec;
}

int64_t vmbi_unix_ns(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * VMBI_SECOND + ts.tv_nsec;
}

/* Civil date from days since 1970-01-01 and back (proleptic Gregorian calendar, era arithmetic
 * over 400 years with March as the first month). */
static void civil_from_days(int64_t days, int *year, int *month, int *day)
{
    int64_t z = days + 719468;
    int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    int64_t doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t mp = (5 * doy + 2) / 153;
    *day = (int)(doy - (153 * mp + 2) / 5 + 1);
    *month = (int)(mp < 10 ? mp + 3 : mp - 9);
    *year = (int)(yoe + era * 400 + (*month <= 2 ? 1 : 0));
}

static int64_t days_from_civil(int64_t year, int month, int day)
{
    year -= month <= 2 ? 1 : 0;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t yoe = year - era * 400;
    int64_t doy = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    return era * 146097 + doe - 719468;
}

struct parts {
    int year, month, day, hour, minute, second;
};

static struct parts split_time(int64_t unix_ns)
{
    int64_t s = unix_ns / VMBI_SECOND - (unix_ns % VMBI_SECOND < 0 ? 1 : 0);
    int64_t days = s / 86400 - (s % 86400 < 0 ? 1 : 0);
    int rest = (int)(s - days * 86400);
    struct parts p = {0};
    civil_from_days(days, &p.year, &p.month, &p.day);
    p.hour = rest / 3600;
    p.minute = rest / 60 % 60;
    p.second = rest % 60;
    return p;
}

static char *put_digits(char *out, int v, int n, char behind)
{
    for (int i = n - 1; i >= 0; i--) {
        out[i] = (char)('0' + v % 10);
        v /= 10;
    }
    out[n] = behind;
    return out + n + 1;
}

/* Without snprintf: each file of a backup has three times. int64_t ns are the years 1677 to 2262. */
void vmbi_format_rfc3339(int64_t unix_ns, char out[VMBI_RFC3339_SIZE])
{
    struct parts p = split_time(unix_ns);
    char *at = put_digits(out, p.year, 4, '-');
    at = put_digits(at, p.month, 2, '-');
    at = put_digits(at, p.day, 2, 'T');
    at = put_digits(at, p.hour, 2, ':');
    at = put_digits(at, p.minute, 2, ':');
    at = put_digits(at, p.second, 2, 'Z');
    *at = '\0';
}

void vmbi_format_iso_basic(int64_t unix_ns, char out[VMBI_RFC3339_SIZE])
{
    struct parts p = split_time(unix_ns);
    (void)snprintf(out, VMBI_RFC3339_SIZE, "%04d%02d%02dT%02d%02d%02dZ", p.year, p.month, p.day,
                   p.hour, p.minute, p.second);
}

static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

/* Reads exactly n digits at *s and moves on. */
static bool digits(const char **s, int n, int *out)
{
    int v = 0;
    for (int i = 0; i < n; i++) {
        if (!vmbi_is_digit((*s)[i])) {
            return false;
        }
        v = v * 10 + ((*s)[i] - '0');
    }
    *s += n;
    *out = v;
    return true;
}

static bool literal(const char **s, char c)
{
    if (**s != c) {
        return false;
    }
    (*s)++;
    return true;
}

static int days_in_month(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return days[month - 1] + (month == 2 && leap ? 1 : 0);
}

static bool join_time(const struct parts *p, int64_t *unix_s)
{
    if (p->month < 1 || p->month > 12 || p->day < 1 || p->day > days_in_month(p->year, p->month) ||
        p->hour > 23 || p->minute > 59 || p->second > 60 || p->year < 1678 || p->year > 2261) {
        return false; /* years outside do not fit int64 nanoseconds */
    }
    *unix_s = days_from_civil(p->year, p->month, p->day) * 86400 + p->hour * 3600 +
              p->minute * 60 + p->second;
    return true;
}

static bool parse_zone(const char **s, int *offset_s)
{
    *offset_s = 0;
    if (**s == 'Z' || **s == 'z') {
        (*s)++;
        return true;
    }
    int sign = **s == '-' ? -1 : 1;
    int h = 0;
    int m = 0;
    if (**s != '+' && **s != '-') {
        return false;
    }
    (*s)++;
    if (!digits(s, 2, &h) || !literal(s, ':') || !digits(s, 2, &m) || h > 23 || m > 59) {
        return false;
    }
    *offset_s = sign * (h * 3600 + m * 60);
    return true;
}

bool vmbi_parse_rfc3339(const char *s, int64_t *unix_ns)
{
    struct parts p = {0};
    int64_t unix_s = 0;
    int64_t fraction = 0;
    int offset = 0;
    if (!digits(&s, 4, &p.year) || !literal(&s, '-') || !digits(&s, 2, &p.month) ||
        !literal(&s, '-') || !digits(&s, 2, &p.day) || (*s != 'T' && *s != 't')) {
        return false;
    }
    s++;
    if (!digits(&s, 2, &p.hour) || !literal(&s, ':') || !digits(&s, 2, &p.minute) ||
        !literal(&s, ':') || !digits(&s, 2, &p.second)) {
        return false;
    }
    if (*s == '.') {
        int64_t scale = VMBI_SECOND;
        if (!vmbi_is_digit(*++s)) {
            return false;
        }
        for (; vmbi_is_digit(*s); s++) {
            scale /= 10;
            fraction += (*s - '0') * scale;
        }
    }
    if (!parse_zone(&s, &offset) || *s != '\0' || !join_time(&p, &unix_s)) {
        return false;
    }
    *unix_ns = (unix_s - offset) * VMBI_SECOND + fraction;
    return true;
}

bool vmbi_parse_http_date(const char *s, int64_t *unix_ns)
{
    struct parts p = {0};
    int64_t unix_s = 0;
    const char *comma = strchr(s, ',');
    if (comma == NULL || comma[1] != ' ') {
        return false;
    }
    s = comma + 2;
    if (!digits(&s, 2, &p.day) || !literal(&s, ' ')) {
        return false;
    }
    for (int i = 0; i < 12; i++) {
        if (strncmp(s, months[i], 3) == 0) {
            p.month = i + 1;
        }
    }
    if (p.month == 0) {
        return false;
    }
    s += 3;
    if (!literal(&s, ' ') || !digits(&s, 4, &p.year) || !literal(&s, ' ') ||
        !digits(&s, 2, &p.hour) || !literal(&s, ':') || !digits(&s, 2, &p.minute) ||
        !literal(&s, ':') || !digits(&s, 2, &p.second) || strcmp(s, " GMT") != 0 ||
        !join_time(&p, &unix_s)) {
        return false;
    }
    *unix_ns = unix_s * VMBI_SECOND;
    return true;
}

int64_t vmbi_unix_left(int64_t now, int64_t since, int64_t period)
{
    int64_t gone;
    if (now < since || __builtin_sub_overflow(now, since, &gone) || gone >= period) {
        return 0;
    }
    return period - gone;
}
