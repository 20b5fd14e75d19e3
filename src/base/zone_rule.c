/* SPDX-License-Identifier: Apache-2.0 */
#include "base/zone_rule.h"

#include <string.h>

#include "base/strs.h"

enum { DAY = 86400, HOUR = 3600 };

/* ---- parsing ------------------------------------------------------------------------------- */

static bool read_number(const char **p, int max, int *out)
{
    int n = 0;
    const char *s = *p;
    for (; vmbi_is_digit(*s); s++) {
        n = n * 10 + (*s - '0');
        if (n > max) {
            return false;
        }
    }
    if (s == *p) {
        return false;
    }
    *p = s;
    *out = n;
    return true;
}

static bool accept(const char **p, char c)
{
    if (**p != c) {
        return false;
    }
    ++*p;
    return true;
}

/* "CET" or "<+03>": only that it is there counts. */
static bool skip_name(const char **p)
{
    const char *s = *p;
    if (*s == '<') {
        s += strcspn(s, ">");
        if (*s == '\0') {
            return false;
        }
        *p = s + 1;
        return true;
    }
    while ((*s >= 'A' && *s <= 'Z') || (*s >= 'a' && *s <= 'z')) {
        s++;
    }
    bool ok = s - *p >= 3;
    *p = s;
    return ok;
}

/* [+-]h[h][:mm[:ss]] */
static bool read_time(const char **p, int32_t *out)
{
    int h;
    int m = 0;
    int s = 0;
    bool negative = **p == '-';
    if (negative || **p == '+') {
        ++*p;
    }
    bool ok = read_number(p, 167, &h);
    if (ok && accept(p, ':')) {
        ok = read_number(p, 59, &m);
        if (ok && accept(p, ':')) {
            ok = read_number(p, 59, &s);
        }
    }
    if (ok) {
        int32_t total = h * HOUR + m * 60 + s;
        *out = negative ? -total : total;
    }
    return ok;
}

static bool read_day(const char **p, vmbi_zone_day *out)
{
    bool ok;
    *out = (vmbi_zone_day){.kind = 'N', .second = 2 * HOUR};
    if (accept(p, 'M')) {
        out->kind = 'M';
        ok = read_number(p, 12, &out->month) && accept(p, '.') && read_number(p, 5, &out->week) &&
             accept(p, '.') && read_number(p, 6, &out->day) && out->month >= 1 && out->week >= 1;
    } else if (accept(p, 'J')) {
        out->kind = 'J';
        ok = read_number(p, 365, &out->day) && out->day >= 1;
    } else {
        ok = read_number(p, 365, &out->day);
    }
    return ok && (!accept(p, '/') || read_time(p, &out->second));
}

bool vmbi_zone_rule_parse(const char *text, vmbi_zone_rule *out)
{
    const char *p = text;
    vmbi_zone_rule r = {0};
    int32_t west = 0;
    if (!skip_name(&p) || !read_time(&p, &west)) {
        return false;
    }
    r.standard_s = -west; /* POSIX counts to the west */
    if (*p != '\0') {
        r.changes = true;
        r.daylight_s = r.standard_s + HOUR;
        if (!skip_name(&p)) {
            return false;
        }
        if (*p != ',' && *p != '\0') {
            if (!read_time(&p, &west)) {
                return false;
            }
            r.daylight_s = -west;
        }
        if (!accept(&p, ',') || !read_day(&p, &r.start) || !accept(&p, ',') ||
            !read_day(&p, &r.end) || *p != '\0') {
            return false;
        }
    }
    *out = r;
    return true;
}

/* ---- looking up ---------------------------------------------------------------------------- */

static bool is_leap(int64_t year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

/* Days from 1970 to the rule's day in a year. */
static int64_t day_in(const vmbi_zone_day *d, int64_t year)
{
    int64_t first = vmbi_zone_days(year, 1, 1);
    if (d->kind == 'N') {
        return first + d->day;
    }
    if (d->kind == 'J') {
        return first + d->day - 1 + (is_leap(year) && d->day >= 60 ? 1 : 0);
    }
    int64_t month = vmbi_zone_days(year, d->month, 1);
    int64_t next = vmbi_zone_days(year, d->month + 1, 1);
    int64_t weekday = ((month + 4) % 7 + 7) % 7;
    int64_t at = month + ((d->day - weekday) % 7 + 7) % 7 + (d->week - 1) * INT64_C(7);
    while (at >= next) { /* week 5 is the last one */
        at -= 7;
    }
    return at;
}

void vmbi_zone_rule_at(const vmbi_zone_rule *r, int64_t unix_s, int64_t year, vmbi_zone_span *out)
{
    *out = (vmbi_zone_span){INT64_MIN, INT64_MAX, r->standard_s};
    if (!r->changes) {
        return;
    }
    /* the changes nearest to the instant on both sides; what holds is what the last one began */
    for (int64_t y = year - 1; y <= year + 1; y++) {
        int64_t start = day_in(&r->start, y) * DAY + r->start.second - r->standard_s;
        int64_t end = day_in(&r->end, y) * DAY + r->end.second - r->daylight_s;
        const struct {
            int64_t at;
            int32_t offset;
        } changes[] = {{start, r->daylight_s}, {end, r->standard_s}};
        for (size_t i = 0; i < 2; i++) {
            /* later or equal: of two at one instant the second holds */
            if (changes[i].at <= unix_s && changes[i].at >= out->start_unix_s) {
                out->start_unix_s = changes[i].at;
                out->offset_s = changes[i].offset;
            }
            if (changes[i].at > unix_s && changes[i].at < out->end_unix_s) {
                out->end_unix_s = changes[i].at;
            }
        }
    }
}
