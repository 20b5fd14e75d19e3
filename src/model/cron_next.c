/* SPDX-License-Identifier: Apache-2.0 */
/* The times of a cron expression. The search goes field by field and steps as robfig/cron does it
 * (spec.go), so that both agree also where clocks are put forward or back. */
#include "model/cron_impl.h"

#include "base/clock.h"

enum { YEARS = 5, MAX_STEPS = 100000, MINUTE = 60, HOUR = 3600 };

/* A place in time, with its local date. */
typedef struct place {
    const vmbi_cron *cron;
    int64_t t; /* seconds since 1970 */
    vmbi_civil c;
    bool moved; /* once moved, it stands at the start of the field that moves */
    int steps;
} place;

static void go(place *p, int64_t t)
{
    p->t = t;
    p->steps++;
    vmbi_zone_civil(p->cron->zone, t, &p->c);
}

static void go_local(place *p, const vmbi_civil *c)
{
    go(p, vmbi_zone_unix(p->cron->zone, c));
}

static bool fits(const place *p, int field, int value)
{
    return (p->cron->fields[field].bits >> value & 1) != 0;
}

static bool day_fits(const place *p)
{
    bool day = fits(p, VMBI_CRON_DAY, p->c.day);
    bool weekday = fits(p, VMBI_CRON_WEEKDAY, p->c.weekday);
    /* two fields that choose are alternatives */
    return p->cron->fields[VMBI_CRON_DAY].star || p->cron->fields[VMBI_CRON_WEEKDAY].star
               ? day && weekday
               : day || weekday;
}

/* Each of these moves on to a time whose field fits; false: a larger unit began anew, and all must
 * be looked at again. */

static bool seek_month(place *p)
{
    while (!fits(p, VMBI_CRON_MONTH, p->c.month)) {
        if (!p->moved) {
            p->moved = true;
            go_local(p, &(vmbi_civil){.year = p->c.year, .month = p->c.month, .day = 1});
        }
        vmbi_civil next = p->c;
        next.month++;
        go_local(p, &next);
        if (p->c.month == 1 || p->steps > MAX_STEPS) {
            return false;
        }
    }
    return true;
}

static bool seek_day(place *p)
{
    while (!day_fits(p)) {
        if (!p->moved) {
            p->moved = true;
            go_local(p, &(vmbi_civil){p->c.year, p->c.month, p->c.day, 0, 0, 0, 0});
        }
        vmbi_civil next = p->c;
        next.day++;
        go_local(p, &next);
        if (p->c.hour != 0) { /* there is no midnight that day */
            go(p, p->t + (p->c.hour > 12 ? 24 - p->c.hour : -p->c.hour) * INT64_C(3600));
        }
        if (p->c.day == 1 || p->steps > MAX_STEPS) {
            return false;
        }
    }
    return true;
}

static bool seek_hour(place *p)
{
    while (!fits(p, VMBI_CRON_HOUR, p->c.hour)) {
        if (!p->moved) {
            p->moved = true;
            go_local(p, &(vmbi_civil){p->c.year, p->c.month, p->c.day, p->c.hour, 0, 0, 0});
        }
        go(p, p->t + HOUR);
        if (p->c.hour == 0) {
            return false;
        }
    }
    return true;
}

static int64_t start_of_minute(int64_t t)
{
    int64_t rest = t % MINUTE;
    return t - (rest < 0 ? rest + MINUTE : rest);
}

static bool seek_minute(place *p)
{
    while (!fits(p, VMBI_CRON_MINUTE, p->c.minute)) {
        if (!p->moved) {
            p->moved = true;
            go(p, start_of_minute(p->t));
        }
        go(p, p->t + MINUTE);
        if (p->c.minute == 0) {
            return false;
        }
    }
    return true;
}

/* Times fall on the second 0. */
static bool seek_second(place *p)
{
    if (p->c.second == 0) {
        return true;
    }
    p->moved = true;
    go(p, p->t + MINUTE - p->c.second);
    return false;
}

static bool next_second(const vmbi_cron *c, int64_t after_s, int64_t *out_s)
{
    place p = {.cron = c};
    go(&p, after_s + 1);
    int64_t limit = p.c.year + YEARS;
    while (p.c.year <= limit && p.steps <= MAX_STEPS) {
        if (seek_month(&p) && seek_day(&p) && seek_hour(&p) && seek_minute(&p) &&
            seek_second(&p)) {
            *out_s = p.t;
            return true;
        }
    }
    return false;
}

static int64_t floor_seconds(int64_t ns)
{
    return ns / VMBI_SECOND - (ns % VMBI_SECOND < 0 ? 1 : 0);
}

static bool to_ns(int64_t s, int64_t *out)
{
    int64_t ns;
    if (__builtin_mul_overflow(s, VMBI_SECOND, &ns)) {
        return false;
    }
    *out = ns;
    return true;
}

bool vmbi_cron_next(const vmbi_cron *c, int64_t after_unix_ns, int64_t *out_unix_ns)
{
    int64_t s = floor_seconds(after_unix_ns);
    int64_t next;
    if (c->every_ns > 0) {
        return to_ns(s + c->every_ns / VMBI_SECOND, out_unix_ns);
    }
    return next_second(c, s, &next) && to_ns(next, out_unix_ns);
}

/* Is there a time between a start and the limit? */
static bool hits(const vmbi_cron *c, int64_t start, int64_t limit, int64_t *out_s)
{
    int64_t next;
    if (!next_second(c, start, &next) || next >= limit) {
        return false;
    }
    *out_s = next;
    return true;
}

/* The later one starts, the later is the next time: the last start from which it still lies before
 * the limit gives the last time before the limit. Starts are tried from near to far. */
bool vmbi_cron_prev(const vmbi_cron *c, int64_t before_unix_ns, int64_t *out_unix_ns)
{
    const int64_t farthest = YEARS * INT64_C(366) * 24 * HOUR;
    /* the first second that is not before */
    int64_t limit = floor_seconds(before_unix_ns) + (before_unix_ns % VMBI_SECOND != 0 ? 1 : 0);
    int64_t back = HOUR;
    int64_t found;
    if (c->every_ns > 0) {
        return false;
    }
    while (!hits(c, limit - back, limit, &found)) {
        if (back >= farthest) {
            return false;
        }
        back = back * 2 < farthest ? back * 2 : farthest;
    }
    int64_t lo = limit - back;
    int64_t hi = back == HOUR ? limit : limit - back / 2;
    while (hi - lo > 1) {
        int64_t mid = lo + (hi - lo) / 2;
        if (hits(c, mid, limit, &found)) {
            lo = mid;
        } else {
            hi = mid;
        }
    }
    return to_ns(found, out_unix_ns);
}

int64_t vmbi_cron_every_ns(const vmbi_cron *c)
{
    return c->every_ns;
}

const vmbi_zone *vmbi_cron_zone(const vmbi_cron *c)
{
    return c->zone;
}
