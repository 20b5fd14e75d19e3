/* SPDX-License-Identifier: Apache-2.0 */
/* One component of a pattern against one name, with the meaning of Go's filepath.Match. */
#include <string.h>

#include "base/strs.h"
#include "repo/tree/pattern.h"

typedef struct rune {
    uint32_t c;
    size_t n;   /* bytes */
    bool valid; /* UTF-8 */
} rune;

/* A byte that is no UTF-8 counts as one character, U+FFFD. */
static rune rune_at(const char *s)
{
    static const uint32_t first_mask[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    size_t n = *s != '\0' ? vmbi_utf8_sequence(s, strlen(s)) : 0;
    if (n == 0) {
        return (rune){0xfffd, 1, false};
    }
    uint32_t c = (unsigned char)s[0] & first_mask[n];
    for (size_t i = 1; i < n; i++) {
        c = c << 6 | ((unsigned char)s[i] & 0x3f);
    }
    return (rune){c, n, true};
}

/* One end of a range; NULL when malformed. A class goes on behind it: its ']' is still to come. */
static const char *range_end(const char *p, uint32_t *c)
{
    if (*p == '\0' || *p == '-' || *p == ']') {
        return NULL;
    }
    if (*p == '\\') {
        p++;
        if (*p == '\0') {
            return NULL;
        }
    }
    rune r = rune_at(p);
    *c = r.c;
    p += r.n;
    return r.valid && *p != '\0' ? p : NULL;
}

/* A class behind its '['; returns what follows its ']', NULL when malformed. */
static const char *class_match(const char *p, uint32_t c, bool *hit)
{
    bool negated = *p == '^';
    bool found = false;
    size_t ranges = 0;
    p += negated ? 1 : 0;
    while (*p != ']' || ranges == 0) {
        uint32_t low = 0;
        uint32_t high = 0;
        p = range_end(p, &low);
        high = low;
        if (p != NULL && *p == '-') {
            p = range_end(p + 1, &high);
        }
        if (p == NULL) {
            return NULL;
        }
        found = found || (low <= c && c <= high);
        ranges++;
    }
    *hit = found != negated;
    return p + 1;
}

/* One item of a glob (not '*') against the name; returns what follows it, NULL when malformed. */
static const char *item_match(const char *p, const char *name, size_t *taken, bool *hit)
{
    rune r = rune_at(name);
    bool some = *name != '\0' && *name != '/';
    *taken = 1;
    if (*p == '[') {
        p = class_match(p + 1, r.c, hit);
        *hit = *hit && *name != '\0';
        *taken = r.n;
        return p;
    }
    if (*p == '?') {
        *hit = some;
        *taken = r.n;
        return p + 1;
    }
    if (*p == '\\') {
        p++;
        if (*p == '\0') {
            return NULL;
        }
    }
    *hit = *p == *name;
    return p + 1;
}

bool vmbi_glob_valid(const char *glob)
{
    while (glob != NULL && *glob != '\0') {
        size_t taken = 0;
        bool hit = false;
        glob = *glob == '*' ? glob + 1 : item_match(glob, "x", &taken, &hit);
    }
    return glob != NULL;
}

bool vmbi_glob_match(const char *glob, const char *name)
{
    const char *star = NULL;  /* behind the last '*' */
    const char *retry = NULL; /* where the name goes on when that takes one byte more */
    while (*glob != '\0' || *name != '\0') {
        size_t taken = 0;
        bool hit = false;
        if (*glob == '*') {
            star = ++glob;
            retry = name;
            continue;
        }
        const char *next = *glob != '\0' ? item_match(glob, name, &taken, &hit) : glob;
        if (next == NULL) {
            return false;
        }
        if (hit) {
            glob = next;
            name += taken;
        } else if (star != NULL && *retry != '\0' && *retry != '/') {
            name = ++retry;
            glob = star;
        } else {
            return false;
        }
    }
    return true;
}
