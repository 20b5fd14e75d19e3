/* SPDX-License-Identifier: Apache-2.0 */
/* Reading cron expressions; cron_next.c finds their times. What is accepted, and what it means, is
 * what github.com/robfig/cron v3.0.1 does (parser.go), checked against it by tests/interop. */
#include "model/cron_impl.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/strs.h"
#include "codec/duration.h"

enum { MAX_EXPR = 1024 };

typedef struct field_kind {
    const char *title;
    int min, max;
    const char *const *names; /* NULL ends; value of the first is min */
} field_kind;

static const char *const months[] = {"jan", "feb", "mar", "apr", "may", "jun", "jul",
                                     "aug", "sep", "oct", "nov", "dec", NULL};
static const char *const weekdays[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat", NULL};

static const field_kind kinds[VMBI_CRON_FIELDS] = {
    {"minute", 0, 59, NULL},      {"hour", 0, 23, NULL},           {"day of month", 1, 31, NULL},
    {"month", 1, 12, months}, {"day of week", 0, 6, weekdays},
};

typedef struct reader {
    const char *expr; /* the whole, for columns */
    vmb_error **err;
} reader;

/* A piece of the expression. */
typedef struct piece {
    const char *p;
    size_t len;
} piece;

static vmb_code wrong(const reader *r, const char *at, const char *what, piece word)
{
    return vmbi_fail(r->err, VMB_E_PARSE, "cron expression \"%.200s\": column %zu: \"%.*s\" %s",
                     r->expr, (size_t)(at - r->expr) + 1, (int)(word.len < 80 ? word.len : 80),
                     word.p, what);
}

static bool is_blank(char c)
{
    return vmbi_is_space(c) || c == '\v' || c == '\f';
}

/* Takes the part before the next `sep`, and moves behind that. */
static piece next_part(piece *rest, char sep)
{
    const char *at = memchr(rest->p, sep, rest->len);
    piece part = {rest->p, at != NULL ? (size_t)(at - rest->p) : rest->len};
    size_t taken = part.len + (at != NULL ? 1 : 0);
    rest->p += taken;
    rest->len -= taken;
    return part;
}

static size_t count_of(piece word, char c)
{
    size_t n = 0;
    for (size_t i = 0; i < word.len; i++) {
        n += word.p[i] == c ? 1 : 0;
    }
    return n;
}

/* ---- one field ----------------------------------------------------------------------------- */

static bool read_int(piece word, int64_t *out)
{
    if (word.len > 1 && word.p[0] == '+') {
        word.p++;
        word.len--;
    }
    return word.len > 0 && word.p[0] != '-' && vmbi_parse_i64(word.p, word.len, out);
}

static vmb_code read_value(const reader *r, const field_kind *k, piece word, int64_t *out)
{
    for (int i = 0; k->names != NULL && k->names[i] != NULL; i++) {
        char text[4] = {0};
        for (size_t c = 0; c < word.len && word.len == 3; c++) {
            text[c] = vmbi_lower(word.p[c]);
        }
        if (strcmp(text, k->names[i]) == 0) {
            *out = k->min + i;
            return VMB_OK;
        }
    }
    if (read_int(word, out)) {
        return VMB_OK;
    }
    char what[120];
    (void)snprintf(what, sizeof(what), "is no %s: write %d to %d%s", k->title, k->min, k->max,
                   k->names == NULL ? "" : k->min == 0 ? ", or sun to sat" : ", or jan to dec");
    return wrong(r, word.p, what, word);
}

static vmb_code check_range(const reader *r, const field_kind *k, piece whole, int64_t start,
                            int64_t end, int64_t step)
{
    char what[120] = "";
    if (start < k->min) {
        (void)snprintf(what, sizeof(what), "begins below the least %s, %d", k->title, k->min);
    } else if (end > k->max) {
        (void)snprintf(what, sizeof(what), "goes beyond the last %s, %d%s", k->title, k->max,
                       k->names == weekdays && end == 7 ? " (Sunday is 0)" : "");
    } else if (start > end) {
        (void)snprintf(what, sizeof(what), "ends before it begins");
    } else if (step == 0) {
        (void)snprintf(what, sizeof(what), "has a step of 0");
    }
    return what[0] == '\0' ? VMB_OK : wrong(r, whole.p, what, whole);
}

/* "*", "5", "1-5", with "/step" or without. */
static vmb_code read_range(const reader *r, const field_kind *k, piece whole, vmbi_cron_field *f)
{
    piece rest = whole;
    piece range = next_part(&rest, '/');
    piece low = range;
    bool stepped = count_of(whole, '/') > 0;
    bool single = count_of(range, '-') == 0;
    int64_t start = k->min;
    int64_t end = k->max;
    int64_t step = 1;
    bool star = false;
    vmb_code rc = VMB_OK;
    if (count_of(whole, '/') > 1) {
        return wrong(r, whole.p, "has more than one '/'", whole);
    }
    piece first = next_part(&low, '-');
    if (first.len == 1 && (first.p[0] == '*' || first.p[0] == '?')) {
        star = true; /* whatever a '-' behind it says */
    } else if (count_of(range, '-') > 1) {
        return wrong(r, whole.p, "has more than one '-'", whole);
    } else {
        rc = read_value(r, k, first, &start);
        end = start;
        if (rc == VMB_OK && !single) {
            rc = read_value(r, k, low, &end);
        }
    }
    if (rc == VMB_OK && stepped) {
        if (!read_int(rest, &step)) {
            return wrong(r, whole.p, "has no number for a step", whole);
        }
        end = single ? k->max : end; /* "5/15" goes on to the end */
        star = star && step <= 1;    /* "*" with a step does choose */
    }
    rc = rc == VMB_OK ? check_range(r, k, whole, start, end, step) : rc;
    for (int64_t i = start; rc == VMB_OK && i <= end; i += step) {
        f->bits |= UINT64_C(1) << i;
        if (step > k->max) {
            break;
        }
    }
    f->star = f->star || (rc == VMB_OK && star);
    return rc;
}

static vmb_code read_field(const reader *r, const field_kind *k, piece word, vmbi_cron_field *f)
{
    piece rest = word;
    vmb_code rc = VMB_OK;
    while (rest.len > 0 && rc == VMB_OK) {
        piece part = next_part(&rest, ',');
        rc = part.len > 0 ? read_range(r, k, part, f) : VMB_OK;
    }
    /* robfig/cron takes "," and then never finds a time */
    return rc == VMB_OK && f->bits == 0 ? wrong(r, word.p, "names no value", word) : rc;
}

/* ---- the whole ----------------------------------------------------------------------------- */

static vmb_code read_fields(const reader *r, const char *text, vmbi_cron *c)
{
    piece words[VMBI_CRON_FIELDS];
    size_t n = 0;
    for (const char *p = text; *p != '\0';) {
        const char *start = p;
        if (is_blank(*p)) {
            p++;
            continue;
        }
        while (*p != '\0' && !is_blank(*p)) {
            p++;
        }
        if (n < VMBI_CRON_FIELDS) {
            words[n] = (piece){start, (size_t)(p - start)};
        }
        n++;
    }
    if (n != VMBI_CRON_FIELDS) {
        return vmbi_fail(r->err, VMB_E_PARSE,
                         "cron expression \"%.200s\": it has %zu fields: write 5, minute hour "
                         "day-of-month month day-of-week, or @daily, @every 1h …", r->expr, n);
    }
    vmb_code rc = VMB_OK;
    for (size_t i = 0; i < VMBI_CRON_FIELDS && rc == VMB_OK; i++) {
        rc = read_field(r, &kinds[i], words[i], &c->fields[i]);
    }
    return rc;
}

static vmb_code read_every(const reader *r, const char *text, vmbi_cron *c)
{
    int64_t ns = 0;
    if (!vmbi_duration_parse(text, &ns)) {
        return wrong(r, text, "is no duration: write @every 1h30m",
                     (piece){text, strlen(text)});
    }
    c->every_ns = ns < VMBI_SECOND ? VMBI_SECOND : ns - ns % VMBI_SECOND;
    return VMB_OK;
}

static vmb_code read_descriptor(const reader *r, const char *text, vmbi_cron *c)
{
    static const struct {
        const char *name;
        const char *fields;
    } known[] = {
        {"@yearly", "0 0 1 1 *"},   {"@annually", "0 0 1 1 *"}, {"@monthly", "0 0 1 * *"},
        {"@weekly", "0 0 * * 0"},   {"@daily", "0 0 * * *"},    {"@midnight", "0 0 * * *"},
        {"@hourly", "0 * * * *"},
    };
    for (size_t i = 0; i < VMBI_ARRAY_LEN(known); i++) {
        if (strcmp(text, known[i].name) == 0) {
            return read_fields(r, known[i].fields, c);
        }
    }
    if (vmbi_starts_with(text, "@every ")) {
        return read_every(r, text + 7, c);
    }
    return wrong(r, text,
                 "is unknown: there are @yearly, @annually, @monthly, @weekly, @daily, @midnight, "
                 "@hourly and @every DURATION",
                 (piece){text, strlen(text)});
}

/* Takes "TZ=name " from the front; *text moves behind it. */
static vmb_code read_zone(const reader *r, const char **text, const char **zone, char *name,
                          size_t size)
{
    const char *p = *text;
    if (!vmbi_starts_with(p, "TZ=") && !vmbi_starts_with(p, "CRON_TZ=")) {
        return VMB_OK;
    }
    p = strchr(p, '=') + 1;
    size_t len = strcspn(p, " ");
    piece word = {p, len};
    if (p[len] == '\0') {
        return wrong(r, p, "is followed by nothing: write the fields behind the time zone", word);
    }
    if (len >= size) {
        return wrong(r, p, "is not the name of a time zone", word);
    }
    memcpy(name, p, len);
    name[len] = '\0';
    if (strcmp(name, "Local") != 0) {
        *zone = name;
    }
    p += len;
    while (is_blank(*p)) {
        p++;
    }
    *text = p;
    return VMB_OK;
}

/* Blanks at the end go where a zone stands in front, as there. */
static vmb_code parse_text(const reader *r, const char *zone, vmbi_cron *c, char *copy)
{
    char name[80];
    const char *text = copy;
    vmb_code rc = read_zone(r, &text, &zone, name, sizeof(name));
    if (rc == VMB_OK && text != copy) {
        size_t len = strlen(text);
        while (len > 0 && is_blank(text[len - 1])) {
            len--;
        }
        copy[(size_t)(text - copy) + len] = '\0';
    }
    if (rc == VMB_OK) {
        rc = text[0] == '@' ? read_descriptor(r, text, c) : read_fields(r, text, c);
    }
    if (rc == VMB_OK) {
        rc = vmbi_zone_load(zone != NULL ? zone : "", &c->zone, r->err);
        rc = rc != VMB_OK ? vmbi_wrap(r->err, rc, "cron expression \"%.200s\"", r->expr) : rc;
    }
    return rc;
}

vmb_code vmbi_cron_parse(const char *expr, const char *zone, vmbi_cron **out, vmb_error **err)
{
    if (strlen(expr) > MAX_EXPR) {
        return vmbi_fail(err, VMB_E_PARSE, "cron expression: longer than %d characters", MAX_EXPR);
    }
    if (expr[0] == '\0') {
        return vmbi_fail(err, VMB_E_PARSE, "cron expression: it is empty");
    }
    char *copy = vmbi_strdup(expr);
    vmbi_cron *c = vmbi_zalloc(sizeof(*c));
    /* pieces point into the copy, so that columns count from there */
    reader r = {copy, err};
    vmb_code rc = copy != NULL && c != NULL ? parse_text(&r, zone, c, copy) : vmbi_fail_nomem(err);
    vmbi_free(copy);
    if (rc != VMB_OK) {
        vmbi_cron_free(c);
        return rc;
    }
    *out = c;
    return VMB_OK;
}

void vmbi_cron_free(vmbi_cron *c)
{
    if (c != NULL) {
        vmbi_zone_free(c->zone);
        vmbi_free(c);
    }
}
