/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/ops/policy.h"

#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/strs.h"
#include "codec/json.h"

enum { MAX_SPAN = 100000 }; /* years, months, days or hours */

/* ---- spans ------------------------------------------------------------------------------------- */

static int32_t *span_unit(vmbi_keep_span *s, char unit)
{
    return unit == 'y' ? &s->years
           : unit == 'm' ? &s->months
           : unit == 'd' ? &s->days
           : unit == 'h' ? &s->hours
                         : NULL;
}

vmb_code vmbi_keep_span_parse(const char *text, vmbi_keep_span *out, vmb_error **err)
{
    vmbi_keep_span s = {0};
    const char *p = text;
    while (*p != '\0') {
        size_t len = strspn(p, "0123456789");
        int32_t *unit = span_unit(&s, p[len]);
        int64_t v = 0;
        if (len == 0 || unit == NULL || !vmbi_parse_i64(p, len, &v) || v > MAX_SPAN) {
            return vmbi_fail(err, VMB_E_ARG, "\"%.40s\" is no span of time like 1y5m7d2h", text);
        }
        *unit = (int32_t)v;
        p += len + 1;
    }
    *out = s;
    return VMB_OK;
}

static bool span_is_zero(const vmbi_keep_span *s)
{
    return s->years == 0 && s->months == 0 && s->days == 0 && s->hours == 0;
}

static void span_print(const vmbi_keep_span *s, vmbi_buf *out)
{
    const int32_t v[] = {s->years, s->months, s->days, s->hours};
    for (size_t i = 0; i < VMBI_ARRAY_LEN(v); i++) {
        if (v[i] != 0) {
            vmbi_buf_addf(out, "%d%c", (int)v[i], "ymdh"[i]);
        }
    }
}

bool vmbi_policy_is_empty(const vmbi_policy *p)
{
    return p->last == 0 && p->hourly == 0 && p->daily == 0 && p->weekly == 0 && p->monthly == 0 &&
           p->yearly == 0 && span_is_zero(&p->within) && span_is_zero(&p->within_hourly) &&
           span_is_zero(&p->within_daily) && span_is_zero(&p->within_weekly) &&
           span_is_zero(&p->within_monthly) && span_is_zero(&p->within_yearly) && p->n_tags == 0;
}

/* ---- the calendar ------------------------------------------------------------------------------ */

/* A snapshot's time in its own zone. */
typedef struct civil {
    int64_t year, days; /* days since 1970-01-01 */
    int month, day, hour; /* from 1, from 1, from 0 */
    int64_t second_of_day, ns;
} civil;

/* Days since 1970-01-01 of the first of a month; months beyond 1 to 12 carry over. Counted in
 * years from March, so that the leap day is the last one. */
static int64_t first_of_month(int64_t year, int64_t month)
{
    int64_t m = year * 12 + month - 1 - 2; /* months since March of year 0 */
    int64_t y = m >= 0 ? m / 12 : -((11 - m) / 12);
    int64_t in_year = m - y * 12;
    int64_t era = y >= 0 ? y / 400 : -((399 - y) / 400);
    int64_t of_era = y - era * 400;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + (153 * in_year + 2) / 5 -
           719468;
}

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b != 0 && (a < 0) != (b < 0) ? 1 : 0);
}

static civil civil_of(const vmbi_snapshot *s)
{
    civil c = {0};
    int64_t seconds = floor_div(s->time_unix_ns, VMBI_SECOND);
    c.ns = s->time_unix_ns - seconds * VMBI_SECOND;
    seconds += s->utc_offset_s;
    c.days = floor_div(seconds, 86400);
    c.second_of_day = seconds - c.days * 86400;
    c.hour = (int)(c.second_of_day / 3600);
    c.year = 1970 + floor_div(c.days, 366);
    while (first_of_month(c.year + 1, 1) <= c.days) {
        c.year++;
    }
    c.month = 1;
    while (first_of_month(c.year, c.month + 1) <= c.days) {
        c.month++;
    }
    c.day = (int)(c.days - first_of_month(c.year, c.month)) + 1;
    return c;
}

/* ISO 8601: a week belongs to the year of its Thursday. */
static int64_t year_and_week(const civil *c)
{
    int64_t weekday = c->days + 3 - floor_div(c->days + 3, 7) * 7; /* 1970-01-01 was a Thursday */
    int64_t thursday = c->days + 3 - weekday;
    int64_t year = c->year;
    year += first_of_month(year + 1, 1) <= thursday ? 1 : first_of_month(year, 1) > thursday ? -1 : 0;
    return year * 100 + (thursday - first_of_month(year, 1)) / 7 + 1;
}

typedef enum bucket_kind { LAST, HOURLY, DAILY, WEEKLY, MONTHLY, YEARLY, KINDS } bucket_kind;

static int64_t bucket_key(bucket_kind kind, const civil *c, size_t nr)
{
    switch (kind) {
    case HOURLY:
        return c->days * 24 + c->hour;
    case DAILY:
        return c->days;
    case WEEKLY:
        return year_and_week(c);
    case MONTHLY:
        return c->year * 12 + c->month;
    case YEARLY:
        return c->year;
    case LAST:
    case KINDS:
        break;
    }
    return (int64_t)nr;
}

/* The moment that lies a span before a snapshot; saturates. */
static int64_t moment_before(const vmbi_snapshot *latest, const vmbi_keep_span *span)
{
    civil c = civil_of(latest);
    int64_t days = first_of_month(c.year - span->years, (int64_t)c.month - span->months) + c.day -
                   1 - span->days;
    int64_t seconds = days * 86400 + c.second_of_day - latest->utc_offset_s -
                      (int64_t)span->hours * 3600;
    if (seconds < INT64_MIN / VMBI_SECOND + 1) {
        return INT64_MIN;
    }
    return seconds * VMBI_SECOND + c.ns;
}

/* ---- applying ---------------------------------------------------------------------------------- */

static const char *const kind_names[KINDS] = {"last",   "hourly",  "daily",
                                              "weekly", "monthly", "yearly"};

typedef struct rule {
    bucket_kind kind;
    const vmbi_keep_span *within; /* NULL: counted */
    int64_t left;                 /* -1: without end */
    int64_t after_unix_ns;        /* with within: only snapshots after this */
    int64_t key;                  /* of the last one kept */
    bool has_key;
} rule;

typedef struct applying {
    const vmbi_policy *policy;
    rule counted[KINDS];
    rule within[KINDS]; /* from HOURLY on */
    int64_t after_unix_ns; /* of the plain within */
} applying;

static void set_up(applying *a, const vmbi_policy *p, const vmbi_snapshot *const *group, size_t n,
                   int64_t now)
{
    const int64_t counts[KINDS] = {p->last, p->hourly, p->daily, p->weekly, p->monthly, p->yearly};
    const vmbi_keep_span *spans[KINDS] = {&p->within,        &p->within_hourly,
                                          &p->within_daily,  &p->within_weekly,
                                          &p->within_monthly, &p->within_yearly};
    const vmbi_snapshot *latest = NULL; /* that is not in the future */
    for (size_t i = 0; i < n && latest == NULL; i++) {
        latest = group[i]->time_unix_ns < now ? group[i] : NULL;
    }
    a->policy = p;
    for (size_t k = 0; k < KINDS; k++) {
        int64_t after = latest != NULL ? moment_before(latest, spans[k]) : INT64_MIN;
        a->counted[k] = (rule){.kind = (bucket_kind)k, .left = counts[k]};
        a->within[k] = (rule){.kind = (bucket_kind)k, .within = spans[k], .after_unix_ns = after};
    }
}

static vmb_code add_reason(vmbi_verdict *v, vmb_error **err, const char *before, const char *text,
                           const vmbi_keep_span *span)
{
    vmbi_buf b = VMBI_BUF_INIT(4096);
    vmbi_buf_addf(&b, "%s%s", before, text);
    if (span != NULL) {
        vmbi_buf_addc(&b, ' ');
        span_print(span, &b);
    }
    vmb_code rc = vmbi_buf_check(&b, err, "reason");
    if (rc == VMB_OK) {
        rc = vmbi_strs_add(&v->reasons, b.data, err);
    }
    v->keep = v->keep || rc == VMB_OK;
    vmbi_buf_free(&b);
    return rc;
}

static vmb_code apply_tags(const vmbi_policy *p, const vmbi_snapshot *s, vmbi_verdict *v,
                           vmb_error **err)
{
    vmb_code rc = VMB_OK;
    for (size_t i = 0; i < p->n_tags && rc == VMB_OK; i++) {
        if (!vmbi_snapshot_has_tags(s, p->tags[i])) {
            continue;
        }
        vmbi_buf text = VMBI_BUF_INIT(4096);
        vmbi_strs parts = {0};
        rc = vmbi_strs_split(&parts, p->tags[i], ',', err);
        for (size_t k = 0; k < parts.n; k++) {
            const char *t = parts.v[k] + strspn(parts.v[k], " \t");
            size_t len = strlen(t);
            while (len > 0 && vmbi_is_space(t[len - 1])) {
                len--;
            }
            vmbi_buf_adds(&text, k > 0 ? ", " : "has tags [");
            vmbi_buf_add(&text, t, len);
        }
        vmbi_buf_addc(&text, ']');
        rc = rc == VMB_OK ? vmbi_buf_check(&text, err, "reason") : rc;
        rc = rc == VMB_OK ? add_reason(v, err, "", text.data, NULL) : rc;
        vmbi_strs_free(&parts);
        vmbi_buf_free(&text);
    }
    return rc;
}

/* The oldest of a group is kept as well while its rule has something left: that gives the longest
 * history. */
static vmb_code apply_rule(rule *u, const civil *c, size_t nr, bool oldest, vmbi_verdict *v,
                           vmb_error **err)
{
    int64_t key = bucket_key(u->kind, c, nr);
    bool repeated = u->has_key && u->key == key;
    char text[40];
    if (repeated && !oldest) {
        return VMB_OK;
    }
    u->key = key;
    u->has_key = true;
    u->left -= u->left > 0 ? 1 : 0;
    vmbi_buf b = VMBI_BUF_INIT(sizeof(text) - 1);
    vmbi_buf_addf(&b, "%s %s", kind_names[u->kind], u->within != NULL ? "within" : "snapshot");
    vmb_code rc = vmbi_buf_check(&b, err, "reason");
    if (rc == VMB_OK) {
        rc = add_reason(v, err, repeated ? "oldest " : "", b.data, u->within);
    }
    vmbi_buf_free(&b);
    return rc;
}

static vmb_code apply_one(applying *a, const vmbi_snapshot *s, size_t nr, bool oldest,
                          vmbi_verdict *v, vmb_error **err)
{
    civil c = civil_of(s);
    vmb_code rc = apply_tags(a->policy, s, v, err);
    const rule *plain = &a->within[LAST];
    if (rc == VMB_OK && !span_is_zero(plain->within) && s->time_unix_ns > plain->after_unix_ns) {
        rc = add_reason(v, err, "", "within", plain->within);
    }
    for (size_t k = 0; k < KINDS && rc == VMB_OK; k++) {
        if (a->counted[k].left != 0) {
            rc = apply_rule(&a->counted[k], &c, nr, oldest, v, err);
        }
    }
    for (size_t k = HOURLY; k < KINDS && rc == VMB_OK; k++) {
        rule *u = &a->within[k];
        if (!span_is_zero(u->within) && s->time_unix_ns > u->after_unix_ns) {
            rc = apply_rule(u, &c, nr, oldest, v, err);
        }
    }
    for (size_t k = 0; k < KINDS; k++) {
        v->left[k] = a->counted[k].left;
    }
    return rc;
}

void vmbi_verdict_done(vmbi_verdict *v)
{
    vmbi_strs_free(&v->reasons);
    *v = (vmbi_verdict){0};
}

vmb_code vmbi_policy_apply(const vmbi_policy *p, const vmbi_snapshot *const *group, size_t n,
                           int64_t now_unix_ns, vmbi_verdict *out, vmb_error **err)
{
    applying a = {0};
    vmb_code rc = VMB_OK;
    set_up(&a, p, group, n, now_unix_ns != 0 ? now_unix_ns : vmbi_unix_ns());
    memset(out, 0, n * sizeof(*out));
    for (size_t i = 0; i < n && rc == VMB_OK; i++) {
        rc = apply_one(&a, group[i], i, i + 1 == n, &out[i], err);
    }
    for (size_t i = 0; i < n && rc != VMB_OK; i++) {
        vmbi_verdict_done(&out[i]);
    }
    return rc;
}
