/* SPDX-License-Identifier: Apache-2.0 */
/* Rules: RFC 8259 grammar is checked in full except that bytes inside strings need not be valid
 * UTF-8 (vmbi_jscan_string checks the strings that are decoded). */
#include "codec/jscan.h"

#include <string.h>

#include "base/strs.h"
#include "codec/jscan_text.h"
#include "codec/json.h"

static inline const char *skip_space(const char *p, const char *end)
{
    while (p < end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t')) {
        p++;
    }
    return p;
}

/* p is behind the opening quote; returns the place behind the closing one. */
static inline const char *skip_string(const char *p, const char *end)
{
    for (;;) {
        p = vmbi_jscan_plain(p, end);
        if (VMBI_UNLIKELY(p == end)) {
            return NULL;
        }
        if (VMBI_LIKELY(*p == '"')) {
            return p + 1;
        }
        if (*p != '\\' || end - p < 2) {
            return NULL;
        }
        if (p[1] == 'u') {
            if (vmbi_jscan_hex4(p + 2, end) < 0) {
                return NULL;
            }
            p += 6;
        } else if (p[1] != '\0' && strchr("\"\\/bfnrt", p[1]) != NULL) {
            p += 2;
        } else {
            return NULL;
        }
    }
}

static const char *skip_digits(const char *p, const char *end)
{
    while (p < end && vmbi_is_digit(*p)) {
        p++;
    }
    return p;
}

static const char *skip_number(const char *p, const char *end)
{
    const char *q;

    if (*p == '-') {
        p++;
    }
    q = skip_digits(p, end);
    if (q == p || (*p == '0' && q != p + 1)) {
        return NULL;
    }
    p = q;
    if (p < end && *p == '.') {
        q = skip_digits(p + 1, end);
        if (q == p + 1) {
            return NULL;
        }
        p = q;
    }
    if (p < end && (*p == 'e' || *p == 'E')) {
        p++;
        if (p < end && (*p == '+' || *p == '-')) {
            p++;
        }
        q = skip_digits(p, end);
        if (q == p) {
            return NULL;
        }
        p = q;
    }
    return p;
}

static const char *skip_word(const char *p, const char *end, const char *word, size_t len)
{
    return (size_t)(end - p) >= len && memcmp(p, word, len) == 0 ? p + len : NULL;
}

static inline const char *skip_scalar(const char *p, const char *end)
{
    switch (*p) {
    case '"':
        return skip_string(p + 1, end);
    case 't':
        return skip_word(p, end, "true", 4);
    case 'f':
        return skip_word(p, end, "false", 5);
    case 'n':
        return skip_word(p, end, "null", 4);
    default:
        return skip_number(p, end);
    }
}

/* `"key" :` and the white space around; returns the first byte of the value. */
static inline const char *skip_key(const char *p, const char *end)
{
    p = skip_space(p, end);
    if (p == end || *p != '"') {
        return NULL;
    }
    p = skip_string(p + 1, end);
    if (p == NULL) {
        return NULL;
    }
    p = skip_space(p, end);
    return p < end && *p == ':' ? p + 1 : NULL;
}

/* The containers that are open, one bit each: 1 for an object. */
typedef struct nest {
    uint64_t bits[(VMBI_JSON_MAX_DEPTH + 63) / 64];
    unsigned depth;
} nest;

static inline bool nest_push(nest *n, bool object)
{
    uint64_t bit = UINT64_C(1) << (n->depth % 64);
    uint64_t *word = &n->bits[n->depth / 64];

    if (VMBI_UNLIKELY(n->depth >= VMBI_JSON_MAX_DEPTH)) {
        return false;
    }
    *word = object ? *word | bit : *word & ~bit;
    n->depth++;
    return true;
}

static inline bool nest_is_object(const nest *n)
{
    unsigned top = n->depth - 1;

    return (n->bits[top / 64] >> (top % 64) & 1) != 0;
}

/* Behind a value: closes containers and passes the comma; the place of the next value (for
 * objects behind its key), or NULL. Sets depth 0 when the outermost value ends at the result. */
static inline const char *after_value(const char *p, const char *end, nest *n)
{
    while (n->depth > 0) {
        bool object = nest_is_object(n);

        p = skip_space(p, end);
        if (VMBI_UNLIKELY(p == end)) {
            return NULL;
        }
        if (*p == ',') {
            return object ? skip_key(p + 1, end) : p + 1;
        }
        if (*p != (object ? '}' : ']')) {
            return NULL;
        }
        p++;
        n->depth--;
    }
    return p;
}

const char *vmbi_jscan_skip(const char *p, const char *end)
{
    nest n;

    n.depth = 0;
    do {
        p = skip_space(p, end);
        if (VMBI_UNLIKELY(p == end)) {
            return NULL;
        }
        if (*p == '{' || *p == '[') {
            bool object = *p == '{';

            if (!nest_push(&n, object)) {
                return NULL;
            }
            const char *q = skip_space(p + 1, end);
            if (q < end && *q == (object ? '}' : ']')) {
                n.depth--;
                p = after_value(q + 1, end, &n);
            } else {
                p = object ? skip_key(q, end) : q;
            }
        } else {
            p = skip_scalar(p, end);
            if (p != NULL) {
                p = after_value(p, end, &n);
            }
        }
    } while (p != NULL && n.depth > 0);
    return p;
}

static bool start(vmbi_jscan *s, const char *json, size_t len, bool array)
{
    const char *end = json + len;
    const char *p = skip_space(json, end);

    if (p == end || *p != (array ? '[' : '{')) {
        return false;
    }
    *s = (vmbi_jscan){.p = p + 1, .end = end, .first = true, .array = array};
    return true;
}

bool vmbi_jscan_object(vmbi_jscan *s, const char *json, size_t len)
{
    return start(s, json, len, false);
}

bool vmbi_jscan_array(vmbi_jscan *s, const char *json, size_t len)
{
    return start(s, json, len, true);
}

/* A cut input is what a broken scan looks like from then on. */
static int broken(vmbi_jscan *s)
{
    s->p = s->end;
    s->first = false;
    return -1;
}

/* Moves to the next key or element: 1, 0 at the end (p becomes NULL and stays so), -1. */
static int advance(vmbi_jscan *s)
{
    if (s->p == NULL) {
        return 0;
    }
    s->p = skip_space(s->p, s->end);
    if (s->p == s->end) {
        return broken(s);
    }
    if (*s->p == (s->array ? ']' : '}')) {
        s->p = skip_space(s->p + 1, s->end);
        if (s->p != s->end) {
            return broken(s);
        }
        s->p = NULL;
        return 0;
    }
    if (!s->first) {
        if (*s->p != ',') {
            return broken(s);
        }
        s->p = skip_space(s->p + 1, s->end);
    }
    s->first = false;
    return 1;
}

static bool read_key(vmbi_jscan *s, vmbi_slice *key)
{
    const char *p = s->p;

    if (p == s->end || *p != '"') {
        return false;
    }
    const char *q = skip_string(p + 1, s->end);
    if (q == NULL) {
        return false;
    }
    *key = (vmbi_slice){p + 1, (size_t)(q - p) - 2};
    q = skip_space(q, s->end);
    if (q == s->end || *q != ':') {
        return false;
    }
    s->p = skip_space(q + 1, s->end);
    return true;
}

static int read_value(vmbi_jscan *s, vmbi_slice *value)
{
    const char *q = vmbi_jscan_skip(s->p, s->end);

    if (q == NULL) {
        return broken(s);
    }
    *value = (vmbi_slice){s->p, (size_t)(q - s->p)};
    s->p = q;
    return 1;
}

int vmbi_jscan_member(vmbi_jscan *s, vmbi_slice *key, vmbi_slice *value)
{
    int rc = advance(s);

    if (rc != 1) {
        return rc;
    }
    return read_key(s, key) ? read_value(s, value) : broken(s);
}

int vmbi_jscan_element(vmbi_jscan *s, vmbi_slice *value)
{
    int rc = advance(s);

    return rc == 1 ? read_value(s, value) : rc;
}

static bool slice_is(vmbi_slice s, const char *text, size_t len)
{
    return s.len == len && memcmp(s.p, text, len) == 0;
}

bool vmbi_jscan_find(const char *json, size_t len, const char *key, vmbi_slice *value)
{
    vmbi_jscan s;
    vmbi_slice k, v;
    size_t key_len = strlen(key);

    if (!vmbi_jscan_object(&s, json, len)) {
        return false;
    }
    while (vmbi_jscan_member(&s, &k, &v) == 1) {
        if (slice_is(k, key, key_len)) {
            *value = v;
            return true;
        }
    }
    return false;
}

typedef struct wanted {
    const char *key;
    size_t len;
    size_t offset; /* of the slice in vmbi_object_scan */
} wanted;

#define WANTED(key, field)                                                                         \
    {                                                                                              \
        (key), sizeof(key) - 1, offsetof(vmbi_object_scan, field)                                  \
    }

static const wanted wanted_top[] = {
    WANTED("apiVersion", api_version),
    WANTED("kind", kind),
};

static const wanted wanted_meta[] = {
    WANTED("name", name),
    WANTED("namespace", ns),
    WANTED("uid", uid),
    WANTED("resourceVersion", resource_version),
    WANTED("deletionTimestamp", deletion_timestamp),
    WANTED("labels", labels),
    WANTED("annotations", annotations),
    WANTED("ownerReferences", owners),
};

static vmbi_slice *find_wanted(vmbi_object_scan *out, const wanted *w, size_t n, vmbi_slice key)
{
    for (size_t i = 0; i < n; i++) {
        if (slice_is(key, w[i].key, w[i].len)) {
            return (vmbi_slice *)(void *)((char *)out + w[i].offset);
        }
    }
    return NULL;
}

/* Keeps the wanted members of the object whose scan has begun, up to its '}'. A key that stands
 * twice is refused: which one counts would be a matter of the reader. */
static bool scan_members(vmbi_jscan *s, const wanted *w, size_t n, vmbi_object_scan *out, bool top);

/* metadata is walked in place, so that its bytes are looked at once. */
static bool scan_metadata(vmbi_jscan *s, vmbi_object_scan *out, bool *seen)
{
    vmbi_jscan meta;

    if (*seen || s->p == s->end || *s->p != '{') {
        return false;
    }
    *seen = true;
    meta = (vmbi_jscan){.p = s->p + 1, .end = s->end, .first = true};
    if (!scan_members(&meta, wanted_meta, VMBI_ARRAY_LEN(wanted_meta), out, false)) {
        return false;
    }
    s->p = meta.p;
    return true;
}

static bool scan_members(vmbi_jscan *s, const wanted *w, size_t n, vmbi_object_scan *out, bool top)
{
    bool seen_meta = false;

    for (;;) {
        vmbi_slice key, value;
        vmbi_slice *slot;

        s->p = skip_space(s->p, s->end);
        if (s->p < s->end && *s->p == '}') {
            s->p++;
            return true;
        }
        if (advance(s) != 1 || !read_key(s, &key)) {
            return false;
        }
        if (top && slice_is(key, "metadata", 8)) {
            if (!scan_metadata(s, out, &seen_meta)) {
                return false;
            }
            continue;
        }
        slot = find_wanted(out, w, n, key);
        if (read_value(s, &value) != 1 || (slot != NULL && slot->p != NULL)) {
            return false;
        }
        if (slot != NULL) {
            *slot = value;
        }
    }
}

bool vmbi_jscan_k8s_object(const char *json, size_t len, vmbi_object_scan *out)
{
    vmbi_object_scan o;
    vmbi_jscan s;

    memset(&o, 0, sizeof(o));
    if (!vmbi_jscan_object(&s, json, len)) {
        return false;
    }
    o.body = s.p;
    if (!scan_members(&s, wanted_top, VMBI_ARRAY_LEN(wanted_top), &o, true) ||
        skip_space(s.p, s.end) != s.end) {
        return false;
    }
    *out = o;
    return true;
}
