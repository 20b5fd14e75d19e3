/* SPDX-License-Identifier: Apache-2.0 */
/* Looking times up in a zone, and loading one. Source of the form: RFC 8536; zone_rule.c has the
 * rule that holds after the last listed change. */
#include "base/zone.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/strs.h"
#include "base/zone_rule.h"

enum {
    MAX_FILE = 1024 * 1024, /* the largest zone of tzdata has 4 KiB */
    MAX_CHANGES = 20000,
    MAX_TYPES = 256,
    MAX_NAME = 64,
    HEADER_SIZE = 44,
    DAY = 86400
};

struct vmbi_zone {
    int64_t *changes;   /* ascending instants */
    uint8_t *types;     /* type that holds from the change of the same index on */
    size_t n_changes;
    int32_t *offsets;   /* by type */
    size_t n_types;
    bool has_rule;      /* after the last change */
    vmbi_zone_rule rule;
};

/* ---- calendar ------------------------------------------------------------------------------ */

/* Floor division and its remainder. */
static int64_t divide(int64_t a, int64_t b, int64_t *rest)
{
    int64_t q = a / b;
    *rest = a % b;
    if (*rest < 0) {
        *rest += b;
        q--;
    }
    return q;
}

int64_t vmbi_zone_days(int64_t year, int64_t month, int64_t day)
{
    int64_t in_era;
    int64_t m;
    year += divide(month - 1, 12, &m);
    /* years begin in March here, so that the leap day is the last one */
    year -= m < 2 ? 1 : 0;
    m = m < 2 ? m + 10 : m - 2;
    int64_t era = divide(year, 400, &in_era);
    int64_t in_year = (153 * m + 2) / 5 + day - 1;
    return era * 146097 + in_era * 365 + in_era / 4 - in_era / 100 + in_year - 719468;
}

/* The date of a day that is counted from 1970. */
static void date_of(int64_t days, vmbi_civil *out)
{
    int64_t d;
    int64_t weekday;
    int64_t era = divide(days + 719468, 146097, &d);
    int64_t y = (d - d / 1460 + d / 36524 - d / 146096) / 365;
    int64_t in_year = d - (365 * y + y / 4 - y / 100);
    int64_t m = (5 * in_year + 2) / 153;
    (void)divide(days + 4, 7, &weekday); /* the first of January 1970 was a Thursday */
    out->day = (int)(in_year - (153 * m + 2) / 5 + 1);
    out->month = (int)(m < 10 ? m + 3 : m - 9);
    out->year = era * 400 + y + (out->month <= 2 ? 1 : 0);
    out->weekday = (int)weekday;
}

static void civil_of(int64_t local_s, vmbi_civil *out)
{
    int64_t s;
    int64_t days = divide(local_s, DAY, &s);
    date_of(days, out);
    out->hour = (int)(s / 3600);
    out->minute = (int)(s / 60 % 60);
    out->second = (int)(s % 60);
}

/* ---- looking up ---------------------------------------------------------------------------- */

void vmbi_zone_at(const vmbi_zone *z, int64_t unix_s, vmbi_zone_span *out)
{
    *out = (vmbi_zone_span){INT64_MIN, INT64_MAX, 0};
    if (z == NULL) {
        return;
    }
    size_t lo = 0;
    size_t hi = z->n_changes; /* number of changes at or before unix_s */
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (z->changes[mid] <= unix_s) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    if (lo == z->n_changes && z->has_rule) {
        vmbi_civil c;
        civil_of(unix_s, &c);
        vmbi_zone_rule_at(&z->rule, unix_s, c.year, out);
        if (lo > 0 && out->start_unix_s < z->changes[lo - 1]) {
            out->start_unix_s = z->changes[lo - 1];
        }
        return;
    }
    out->offset_s = z->offsets[lo > 0 ? z->types[lo - 1] : 0];
    if (lo > 0) {
        out->start_unix_s = z->changes[lo - 1];
    }
    if (lo < z->n_changes) {
        out->end_unix_s = z->changes[lo];
    }
}

void vmbi_zone_civil(const vmbi_zone *z, int64_t unix_s, vmbi_civil *out)
{
    vmbi_zone_span span;
    vmbi_zone_at(z, unix_s, &span);
    civil_of(unix_s + span.offset_s, out);
}

int64_t vmbi_zone_unix(const vmbi_zone *z, const vmbi_civil *c)
{
    int64_t local = vmbi_zone_days(c->year, c->month, c->day) * DAY +
                    INT64_C(3600) * c->hour + INT64_C(60) * c->minute + c->second;
    vmbi_zone_span span;
    vmbi_zone_at(z, local, &span); /* as if it were UTC: right unless a change is near */
    int64_t utc = local - span.offset_s;
    if (utc < span.start_unix_s || utc >= span.end_unix_s) {
        vmbi_zone_at(z, utc, &span);
        utc = local - span.offset_s;
    }
    return utc;
}

/* ---- reading TZif -------------------------------------------------------------------------- */

static uint32_t be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static int64_t be64(const uint8_t *p)
{
    return (int64_t)((uint64_t)be32(p) << 32 | be32(p + 4));
}

typedef struct counts {
    size_t is_ut, is_std, leaps, changes, types, chars;
} counts;

/* The header at *p; moves behind it. */
static bool read_header(const uint8_t **p, const uint8_t *end, uint8_t *version, counts *c)
{
    const uint8_t *h = *p;
    if (end - h < HEADER_SIZE || memcmp(h, "TZif", 4) != 0) {
        return false;
    }
    *version = h[4];
    *c = (counts){be32(h + 20), be32(h + 24), be32(h + 28), be32(h + 32), be32(h + 36),
                  be32(h + 40)};
    *p = h + HEADER_SIZE;
    return c->is_ut <= MAX_TYPES && c->is_std <= MAX_TYPES && c->leaps <= MAX_CHANGES &&
           c->changes <= MAX_CHANGES && c->types >= 1 && c->types <= MAX_TYPES &&
           c->chars <= MAX_FILE;
}

static size_t body_size(const counts *c, size_t time_size)
{
    return c->changes * (time_size + 1) + c->types * 6 + c->chars + c->leaps * (time_size + 4) +
           c->is_std + c->is_ut;
}

/* Takes changes and types out of a body that is complete. */
static bool read_body(vmbi_zone *z, const uint8_t *p, const counts *c, size_t time_size)
{
    const uint8_t *types = p + c->changes * time_size;
    const uint8_t *infos = types + c->changes;
    for (size_t i = 0; i < c->changes; i++) {
        const uint8_t *at = p + i * time_size;
        z->changes[i] = time_size == 8 ? be64(at) : (int32_t)be32(at);
        z->types[i] = types[i];
        if (types[i] >= c->types || (i > 0 && z->changes[i] <= z->changes[i - 1])) {
            return false;
        }
    }
    for (size_t i = 0; i < c->types; i++) {
        z->offsets[i] = (int32_t)be32(infos + i * 6);
        if (z->offsets[i] <= -DAY * 7 || z->offsets[i] >= DAY * 7) {
            return false;
        }
    }
    z->n_changes = c->changes;
    z->n_types = c->types;
    return true;
}

/* The rule between two newlines at the end. */
static bool read_footer(vmbi_zone *z, const uint8_t *p, const uint8_t *end)
{
    char text[128];
    if (end - p < 2 || *p != '\n') {
        return false;
    }
    const uint8_t *close = memchr(p + 1, '\n', (size_t)(end - p - 1));
    size_t len = close != NULL ? (size_t)(close - p - 1) : sizeof(text);
    if (len >= sizeof(text)) {
        return false;
    }
    memcpy(text, p + 1, len);
    text[len] = '\0';
    z->has_rule = len > 0;
    return len == 0 || vmbi_zone_rule_parse(text, &z->rule);
}

vmb_code vmbi_zone_parse(const void *data, size_t len, const char *name, vmbi_zone **out,
                         vmb_error **err)
{
    const uint8_t *p = data;
    const uint8_t *end = p + len;
    uint8_t version = 0;
    size_t time_size = 4;
    counts c;
    bool ok = len <= MAX_FILE && read_header(&p, end, &version, &c);
    if (ok && version >= '2') {
        /* the same again with longer numbers */
        time_size = 8;
        ok = body_size(&c, 4) <= (size_t)(end - p);
        p += ok ? body_size(&c, 4) : 0;
        ok = ok && read_header(&p, end, &version, &c);
    }
    ok = ok && body_size(&c, time_size) <= (size_t)(end - p);
    if (!ok) {
        return vmbi_fail(err, VMB_E_PARSE, "time zone %s: its file is malformed", name);
    }
    vmbi_zone *z = vmbi_zalloc(sizeof(*z));
    if (z != NULL) {
        z->changes = vmbi_alloc_array(c.changes, sizeof(*z->changes));
        z->types = vmbi_alloc_array(c.changes, sizeof(*z->types));
        z->offsets = vmbi_alloc_array(c.types, sizeof(*z->offsets));
    }
    if (z == NULL || z->changes == NULL || z->types == NULL || z->offsets == NULL) {
        vmbi_zone_free(z);
        return vmbi_fail_nomem(err);
    }
    if (!read_body(z, p, &c, time_size) ||
        (time_size == 8 && !read_footer(z, p + body_size(&c, time_size), end))) {
        vmbi_zone_free(z);
        return vmbi_fail(err, VMB_E_PARSE, "time zone %s: its file is malformed", name);
    }
    *out = z;
    return VMB_OK;
}

void vmbi_zone_free(vmbi_zone *z)
{
    if (z != NULL) {
        vmbi_free(z->changes);
        vmbi_free(z->types);
        vmbi_free(z->offsets);
        vmbi_free(z);
    }
}

/* ---- files --------------------------------------------------------------------------------- */

/* The name becomes a path: it must not leave the folder. */
static bool name_ok(const char *name)
{
    size_t len = strlen(name);
    bool part_starts = true;
    for (size_t i = 0; i < len; i++) {
        char ch = name[i];
        bool fits = vmbi_is_alnum(ch) || ch == '_' || ch == '-' || ch == '+' ||
                    (ch == '/' && !part_starts);
        if (!fits) {
            return false;
        }
        part_starts = ch == '/';
    }
    return len <= MAX_NAME && len > 0 && !part_starts;
}

static vmb_code read_all(int fd, const char *path, uint8_t **out, size_t *out_len, vmb_error **err)
{
    struct stat st;
    uint8_t *data = NULL;
    size_t len = 0;
    if (fstat(fd, &st) != 0) {
        return vmbi_fail_errno(err, errno, "%s", path);
    }
    if (!S_ISREG(st.st_mode) || st.st_size < 0 || st.st_size > MAX_FILE) {
        return vmbi_fail(err, VMB_E_NOT_FOUND, "%s is not the file of a time zone", path);
    }
    data = vmbi_alloc((size_t)st.st_size);
    if (data == NULL) {
        return vmbi_fail_nomem(err);
    }
    while (len < (size_t)st.st_size) {
        ssize_t n = read(fd, data + len, (size_t)st.st_size - len);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            vmb_code rc = vmbi_fail_errno(err, errno, "read %s", path);
            vmbi_free(data);
            return rc;
        }
        if (n == 0) {
            break; /* it was cut meanwhile: the parser will see */
        }
        len += (size_t)n;
    }
    *out = data;
    *out_len = len;
    return VMB_OK;
}

vmb_code vmbi_zone_load(const char *name, vmbi_zone **out, vmb_error **err)
{
    static const char *const folders[] = {"/usr/share/zoneinfo", "/usr/share/lib/zoneinfo",
                                          "/usr/lib/locale/TZ", "/etc/zoneinfo"};
    char path[128];
    int fd = -1;
    if (name[0] == '\0' || strcmp(name, "UTC") == 0) {
        *out = vmbi_zalloc(sizeof(**out));
        if (*out != NULL && ((*out)->offsets = vmbi_zalloc(sizeof(int32_t))) == NULL) {
            vmbi_free(vmbi_steal(out));
        }
        return *out != NULL ? VMB_OK : vmbi_fail_nomem(err);
    }
    if (!name_ok(name)) {
        return vmbi_fail(err, VMB_E_INVALID, "\"%.80s\" is not the name of a time zone", name);
    }
    for (size_t i = 0; i < VMBI_ARRAY_LEN(folders) && fd < 0; i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", folders[i], name);
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    }
    if (fd < 0) {
        return vmbi_fail(err, VMB_E_NOT_FOUND, "time zone %s: %s", name,
                         access(folders[0], F_OK) == 0
                             ? "there is none of this name"
                             : "this system has no time zones (package tzdata)");
    }
    uint8_t *data = NULL;
    size_t len = 0;
    vmb_code rc = read_all(fd, path, &data, &len, err);
    (void)close(fd);
    if (rc == VMB_OK) {
        rc = vmbi_zone_parse(data, len, name, out, err);
    }
    vmbi_free(data);
    return rc;
}
