/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/tree/pattern.h"

#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/strs.h"

enum { MAX_PATH_BYTES = 1024 * 1024, MAX_PATTERN = 64 * 1024 };

/* A pattern: its components; "**" is the empty string, the root is "/". */
typedef struct pattern {
    vmbi_strs parts;
    bool *simple; /* without wildcards, one for each part */
    bool negated;
} pattern;


struct vmbi_patterns {
    pattern *v;
    size_t n;
    bool ignore_case;
    bool any_negated;
    /* the path being matched */
    vmbi_buf path; /* each '/' became a NUL */
    const char **pieces;
    size_t n_pieces, cap_pieces;
};

/* ---- lower case -------------------------------------------------------------------------------- */

static const struct {
    uint32_t first;
    uint32_t last;
    uint32_t step;
    int32_t distance;
} lower_runs[] = {
#include "repo/tree/lower.inc"
};

static uint32_t lower_of(uint32_t c)
{
    size_t low = 0;
    size_t high = VMBI_ARRAY_LEN(lower_runs);
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (c < lower_runs[mid].first) {
            high = mid;
        } else if (c > lower_runs[mid].last) {
            low = mid + 1;
        } else {
            bool in = (c - lower_runs[mid].first) % lower_runs[mid].step == 0;
            return in ? (uint32_t)((int64_t)c + lower_runs[mid].distance) : c;
        }
    }
    return c;
}

/* Bytes that are no UTF-8 become U+FFFD, as Go's mapping of strings has it. */
static void add_lower(vmbi_buf *out, const char *s)
{
    static const uint32_t first_mask[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    size_t len = strlen(s);
    size_t i = 0;
    while (i < len) {
        char bytes[4];
        size_t n = vmbi_utf8_sequence(s + i, len - i);
        uint32_t c = n == 0 ? 0xfffd : (unsigned char)s[i] & first_mask[n];
        for (size_t k = 1; k < n; k++) {
            c = c << 6 | ((unsigned char)s[i + k] & 0x3f);
        }
        vmbi_buf_add(out, bytes, vmbi_utf8_encode(lower_of(c), bytes));
        i += n == 0 ? 1 : n;
    }
}

/* ---- reading patterns -------------------------------------------------------------------------- */

/* The components of a path without "." and "..", as Go's filepath.Clean leaves them. */
static vmb_code split_clean(const char *s, vmbi_strs *out, vmb_error **err)
{
    bool rooted = s[0] == '/';
    size_t base = 0; /* ".." does not go above this */
    vmb_code rc = rooted ? vmbi_strs_add(out, "/", err) : VMB_OK;
    base = out->n;
    while (*s != '\0' && rc == VMB_OK) {
        size_t len = strcspn(s, "/");
        bool up = len == 2 && s[0] == '.' && s[1] == '.';
        if (up && out->n > base) {
            vmbi_free(out->v[--out->n]);
        } else if (up && !rooted) {
            rc = vmbi_strs_add(out, "..", err);
            base = out->n;
        } else if (!up && len > 0 && !(len == 1 && s[0] == '.')) {
            rc = vmbi_strs_addn(out, s, len, err);
        }
        s += len + (s[len] == '/' ? 1 : 0);
    }
    if (rc == VMB_OK && out->n == 0) {
        rc = vmbi_strs_add(out, ".", err);
    }
    return rc;
}

static void pattern_done(pattern *p)
{
    vmbi_strs_free(&p->parts);
    vmbi_free(p->simple);
}

static vmb_code parse(pattern *p, const char *text, vmb_error **err)
{
    p->negated = text[0] == '!';
    vmb_code rc = split_clean(text + (p->negated ? 1 : 0), &p->parts, err);
    p->simple = rc == VMB_OK ? vmbi_alloc_array(p->parts.n, sizeof(*p->simple)) : NULL;
    if (p->simple == NULL) {
        return rc != VMB_OK ? rc : vmbi_fail_nomem(err);
    }
    for (size_t i = 0; i < p->parts.n; i++) {
        char *part = p->parts.v[i];
        p->simple[i] = strpbrk(part, "\\[]*?") == NULL;
        if (strcmp(part, "**") == 0) {
            part[0] = '\0';
        } else if (!p->simple[i] && !vmbi_glob_valid(part)) {
            return vmbi_fail(err, VMB_E_ARG, "the pattern \"%.200s\" is malformed", text);
        }
    }
    return VMB_OK;
}

static vmb_code add(vmbi_patterns *p, const char *text, vmb_error **err)
{
    vmbi_buf lower = VMBI_BUF_INIT(MAX_PATTERN);
    if (strlen(text) >= MAX_PATTERN / 4) {
        return vmbi_fail(err, VMB_E_LIMIT, "the pattern \"%.200s\" is too long", text);
    }
    if (p->ignore_case) {
        add_lower(&lower, text);
    } else {
        vmbi_buf_adds(&lower, text);
    }
    vmb_code rc = vmbi_buf_check(&lower, err, "pattern");
    if (rc == VMB_OK) {
        pattern *one = &p->v[p->n++];
        rc = parse(one, lower.data, err);
        p->any_negated = p->any_negated || one->negated;
    }
    vmbi_buf_free(&lower);
    return rc;
}

vmb_code vmbi_patterns_new(const char *const *v, size_t n, bool ignore_case, vmbi_patterns **out,
                           vmb_error **err)
{
    vmbi_patterns *p = vmbi_zalloc(sizeof(*p));
    if (p == NULL) {
        return vmbi_fail_nomem(err);
    }
    p->ignore_case = ignore_case;
    vmbi_buf_init(&p->path, MAX_PATH_BYTES);
    p->v = vmbi_zalloc((n > 0 ? n : 1) * sizeof(*p->v));
    vmb_code rc = p->v != NULL ? VMB_OK : vmbi_fail_nomem(err);
    for (size_t i = 0; i < n && rc == VMB_OK; i++) {
        rc = v[i][0] != '\0' ? add(p, v[i], err) : VMB_OK;
    }
    if (rc != VMB_OK) {
        vmbi_patterns_free(p);
        return rc;
    }
    *out = p;
    return VMB_OK;
}

void vmbi_patterns_free(vmbi_patterns *p)
{
    if (p == NULL) {
        return;
    }
    for (size_t i = 0; i < p->n; i++) {
        pattern_done(&p->v[i]);
    }
    vmbi_free(p->v);
    vmbi_buf_free(&p->path);
    vmbi_free(p->pieces);
    vmbi_free(p);
}

/* ---- matching ---------------------------------------------------------------------------------- */

/* Cuts the path into pieces; the first one of an absolute path is "/". */
static vmb_code cut(vmbi_patterns *p, const char *path, vmb_error **err)
{
    vmbi_buf_reset(&p->path);
    if (p->ignore_case) {
        add_lower(&p->path, path);
    } else {
        vmbi_buf_adds(&p->path, path);
    }
    vmb_code rc = vmbi_buf_check(&p->path, err, "path");
    p->n_pieces = 0;
    for (char *s = p->path.data; rc == VMB_OK && s != NULL;) {
        if (p->n_pieces == p->cap_pieces) {
            size_t cap = p->cap_pieces == 0 ? 64 : p->cap_pieces * 2;
            const char **more = vmbi_realloc_array(p->pieces, cap, sizeof(*more));
            if (more == NULL) {
                return vmbi_fail_nomem(err);
            }
            p->pieces = more;
            p->cap_pieces = cap;
        }
        char *end = strchr(s, '/');
        p->pieces[p->n_pieces] = s == p->path.data && end == s ? "/" : s;
        p->n_pieces++;
        if (end != NULL) {
            *end = '\0';
        }
        s = end != NULL ? end + 1 : NULL;
    }
    return rc;
}

static bool part_match(const pattern *p, size_t i, const char *piece)
{
    return p->simple[i] ? strcmp(p->parts.v[i], piece) == 0
                        : vmbi_glob_match(p->parts.v[i], piece);
}

/* Parts from..to against pieces that begin at v. "**" goes back to its last choice only, which is
 * enough: an earlier one could take no less. */
static bool match_at(const pattern *p, size_t from, size_t to, const char *const *v, size_t n)
{
    size_t star = SIZE_MAX; /* the part behind the last "**" */
    size_t retry = 0;
    size_t i = 0;
    while (from < to) {
        if (p->parts.v[from][0] == '\0') {
            star = ++from;
            retry = i;
        } else if (i < n && part_match(p, from, v[i])) {
            from++;
            i++;
        } else if (star != SIZE_MAX && retry < n) {
            from = star;
            i = ++retry;
        } else {
            return false;
        }
    }
    return true;
}

/* The first `to` parts against the first n pieces. Without a root they may begin anywhere, and a
 * path may go on behind them in any case. */
static bool match_some(const pattern *p, size_t to, const char *const *v, size_t n)
{
    if (to > 0 && strcmp(p->parts.v[0], "/") == 0) {
        return match_at(p, 0, to, v, n);
    }
    for (size_t at = n > 0 && strcmp(v[0], "/") == 0 ? 1 : 0; at < n; at++) {
        if (match_at(p, 0, to, v + at, n - at)) {
            return true;
        }
    }
    return false;
}

/* May something below the path match? */
static bool child_match(const pattern *p, const char *const *v, size_t n)
{
    if (strcmp(p->parts.v[0], "/") != 0) {
        return true;
    }
    size_t to = 0;
    while (to < p->parts.n && p->parts.v[to][0] != '\0') {
        to++;
    }
    to = to < n ? to : n;
    return match_some(p, to, v, to);
}

vmb_code vmbi_patterns_match(vmbi_patterns *p, const char *path, bool *matched, bool *child,
                             vmb_error **err)
{
    bool m = false;
    bool c = false;
    vmb_code rc = p != NULL && p->n > 0 ? cut(p, path, err) : VMB_OK;
    for (size_t i = 0; p != NULL && i < p->n && rc == VMB_OK; i++) {
        const pattern *one = &p->v[i];
        bool own = match_some(one, one->parts.n, p->pieces, p->n_pieces);
        if (one->negated) {
            m = m && !own;
            c = c && !own;
            continue;
        }
        m = m || own;
        c = c || child == NULL || child_match(one, p->pieces, p->n_pieces);
        if (m && c && !p->any_negated) {
            break;
        }
    }
    if (rc == VMB_OK) {
        *matched = m;
        if (child != NULL) {
            *child = c;
        }
    }
    return rc;
}
