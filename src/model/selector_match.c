/* SPDX-License-Identifier: Apache-2.0 */
/* Matching of selectors against labels in their three forms. Nothing is allocated. */
#include <string.h>

#include "base/strs.h"
#include "model/selector_impl.h"

enum { DECODED_MAX = 1024 }; /* longer keys and values equal none that a selector can hold */

static bool has_value(const vmbi_requirement *r, const char *v, size_t len)
{
    for (size_t i = 0; i < r->n_values; i++) {
        if (r->values[i].len == len && memcmp(r->values[i].p, v, len) == 0) {
            return true;
        }
    }
    return false;
}

/* Does the requirement hold for an object that has its key with this value? */
static bool value_fits(const vmbi_requirement *r, const char *v, size_t len)
{
    int64_t number;

    switch (r->op) {
    case VMBI_OP_EQUALS:
    case VMBI_OP_DOUBLE_EQUALS:
    case VMBI_OP_IN:
        return has_value(r, v, len);
    case VMBI_OP_NOT_EQUALS:
    case VMBI_OP_NOT_IN:
        return !has_value(r, v, len);
    case VMBI_OP_EXISTS:
        return true;
    case VMBI_OP_NOT_EXISTS:
        return false;
    case VMBI_OP_GREATER:
        return vmbi_selector_number((vmbi_slice){v, len}, &number) && number > r->number;
    case VMBI_OP_LESS:
        return vmbi_selector_number((vmbi_slice){v, len}, &number) && number < r->number;
    }
    return false;
}

static uint64_t all_bits(size_t n)
{
    return n == VMBI_SELECTOR_FAST_MAX ? UINT64_MAX : (UINT64_C(1) << n) - 1;
}

/* Values are compared by strcmp where one is enough: it needs no length. */
static inline bool value_fits_str(const vmbi_requirement *r, const char *v)
{
    if (r->op == VMBI_OP_EQUALS) {
        return strcmp(r->values[0].p, v) == 0;
    }
    return value_fits(r, v, strlen(v));
}

static bool matches_kv_fast(const vmb_selector *sel, const char *const *kv, size_t n_pairs)
{
    uint64_t seen = 0;
    uint64_t all = all_bits(sel->n);

    for (size_t i = 0; i < n_pairs && seen != all; i++) {
        const char *key = kv[2 * i];
        size_t j = sel->head[(uint8_t)key[0]];

        if (j == 0) {
            continue;
        }
        for (j--; j < sel->n && sel->reqs[j].key[0] == key[0]; j++) {
            if (strcmp(sel->reqs[j].key, key) != 0) {
                continue;
            }
            if (!value_fits_str(&sel->reqs[j], kv[2 * i + 1])) {
                return false;
            }
            seen |= UINT64_C(1) << j;
        }
    }
    return (seen & sel->need) == sel->need;
}

bool vmbi_selector_matches_kv(const vmb_selector *sel, const char *const *kv, size_t n_pairs)
{
    if (sel->nothing) {
        return false;
    }
    if (sel->fast) {
        return matches_kv_fast(sel, kv, n_pairs);
    }
    for (size_t j = 0; j < sel->n; j++) {
        const vmbi_requirement *r = &sel->reqs[j];
        size_t i = 0;

        while (i < n_pairs && strcmp(kv[2 * i], r->key) != 0) {
            i++;
        }
        if (i < n_pairs ? !value_fits_str(r, kv[2 * i + 1]) : vmbi_selector_needs_key(r->op)) {
            return false;
        }
    }
    return true;
}

/* One label of the raw object. A value that is no string is passed over, as absent. */
typedef struct raw_labels {
    const char *p;
    const char *end;
    char key_buf[DECODED_MAX];
    char value_buf[DECODED_MAX];
} raw_labels;

static inline void raw_space(raw_labels *s)
{
    /* the API server sends no blanks: most calls end at the first comparison */
    while (s->p < s->end && (uint8_t)*s->p <= ' ' && vmbi_is_space(*s->p)) {
        s->p++;
    }
}

/* Bytes of a word that are zero have their high bit set in the result; the lowest one is exact. */
static inline uint64_t zero_bytes(uint64_t x)
{
    return (x - UINT64_C(0x0101010101010101)) & ~x & UINT64_C(0x8080808080808080);
}

/* The first '"' or '\\' from p on; end when there is none. Eight bytes at a time. */
static inline const char *find_special(const char *p, const char *end)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    while (end - p >= 8) {
        uint64_t word;

        memcpy(&word, p, sizeof(word));
        uint64_t hit = zero_bytes(word ^ UINT64_C(0x2222222222222222)) |
                       zero_bytes(word ^ UINT64_C(0x5C5C5C5C5C5C5C5C));
        if (hit != 0) {
            return p + (__builtin_ctzll(hit) >> 3);
        }
        p += 8;
    }
#endif
    while (p < end && *p != '"' && *p != '\\') {
        p++;
    }
    return p;
}

/* The string at s->p (after its opening quote) without its quotes; escapes are decoded to buf. */
static inline bool raw_string(raw_labels *s, char *buf, vmbi_slice *out)
{
    const char *start = s->p;
    const char *p = find_special(start, s->end);
    bool escaped = false;

    while (p < s->end && *p == '\\') {
        escaped = true;
        p = s->end - p > 2 ? find_special(p + 2, s->end) : s->end;
    }
    if (p >= s->end) {
        return false;
    }
    s->p = p + 1;
    *out = (vmbi_slice){start, (size_t)(p - start)};
    if (VMBI_UNLIKELY(escaped)) {
        vmbi_slice quoted = {start - 1, (size_t)(s->p - start) + 1};

        /* What does not decode (or is too long) can equal no value of a selector: keep it raw. */
        if (vmbi_jscan_string(quoted, buf, DECODED_MAX)) {
            *out = (vmbi_slice){buf, strlen(buf)};
        }
    }
    return true;
}

/* 1: a label; 0: the end; -1: malformed. */
static inline int raw_next(raw_labels *s, bool first, vmbi_slice *key, vmbi_slice *value)
{
    for (;; first = false) {
        raw_space(s);
        if (s->p < s->end && *s->p == '}') {
            return 0;
        }
        if (!first) {
            if (s->p >= s->end || *s->p++ != ',') {
                return -1;
            }
            raw_space(s);
        }
        if (s->p >= s->end || *s->p++ != '"' || !raw_string(s, s->key_buf, key)) {
            return -1;
        }
        raw_space(s);
        if (s->p >= s->end || *s->p++ != ':') {
            return -1;
        }
        raw_space(s);
        if (s->p < s->end && *s->p == '"') {
            s->p++;
            return raw_string(s, s->value_buf, value) ? 1 : -1;
        }
        s->p = vmbi_jscan_skip(s->p, s->end);
        if (s->p == NULL) {
            return -1;
        }
    }
}

/* 1: an object is open; 0: no labels (null, nothing); -1: malformed. */
static int raw_open(raw_labels *s, vmbi_slice labels)
{
    s->p = labels.p;
    s->end = labels.p == NULL ? NULL : labels.p + labels.len;
    if (labels.p == NULL) {
        return 0;
    }
    raw_space(s);
    if (s->p == s->end || (s->end - s->p >= 4 && memcmp(s->p, "null", 4) == 0)) {
        return 0;
    }
    return *s->p++ == '{' ? 1 : -1;
}

static bool matches_raw_fast(const vmb_selector *sel, raw_labels *s)
{
    uint64_t seen = 0;
    uint64_t all = all_bits(sel->n);
    vmbi_slice key;
    vmbi_slice value;
    bool first = true;

    while (seen != all) {
        int more = raw_next(s, first, &key, &value);

        if (more <= 0) {
            return more == 0 && (seen & sel->need) == sel->need;
        }
        first = false;
        size_t j = key.len == 0 ? 0 : sel->head[(uint8_t)key.p[0]];
        if (j == 0) {
            continue;
        }
        for (j--; j < sel->n && sel->reqs[j].key[0] == key.p[0]; j++) {
            const vmbi_requirement *r = &sel->reqs[j];

            if (r->key_len != key.len || memcmp(r->key, key.p, key.len) != 0) {
                continue;
            }
            if (!value_fits(r, value.p, value.len)) {
                return false;
            }
            seen |= UINT64_C(1) << j;
        }
    }
    return true;
}

static bool matches_raw_slow(const vmb_selector *sel, raw_labels *s)
{
    const char *start = s->p;

    for (size_t j = 0; j < sel->n; j++) {
        const vmbi_requirement *r = &sel->reqs[j];
        vmbi_slice key;
        vmbi_slice value;
        bool found = false;
        int more;

        s->p = start;
        for (bool first = true; !found && (more = raw_next(s, first, &key, &value)) != 0;
             first = false) {
            if (more < 0) {
                return false;
            }
            found = r->key_len == key.len && memcmp(r->key, key.p, key.len) == 0;
        }
        if (found ? !value_fits(r, value.p, value.len) : vmbi_selector_needs_key(r->op)) {
            return false;
        }
    }
    return true;
}

bool vmbi_selector_matches_raw(const vmb_selector *sel, vmbi_slice labels)
{
    raw_labels s;

    if (sel->nothing) {
        return false;
    }
    if (sel->n == 0) {
        return true;
    }
    int open = raw_open(&s, labels);
    if (open <= 0) {
        return open == 0 && vmbi_selector_matches_kv(sel, NULL, 0);
    }
    return sel->fast ? matches_raw_fast(sel, &s) : matches_raw_slow(sel, &s);
}

bool vmbi_selector_matches_tree(const vmb_selector *sel, const vmbi_json *labels)
{
    if (sel->nothing) {
        return false;
    }
    for (size_t j = 0; j < sel->n; j++) {
        const vmbi_requirement *r = &sel->reqs[j];
        const vmbi_json *v = vmbi_json_get(labels, r->key);
        const char *text = vmbi_json_str(v);

        if (text != NULL ? !value_fits(r, text, vmbi_json_str_len(v))
                         : vmbi_selector_needs_key(r->op)) {
            return false;
        }
    }
    return true;
}

bool vmbi_selector_is_everything(const vmb_selector *sel)
{
    return !sel->nothing && sel->n == 0;
}

bool vmbi_selector_is_nothing(const vmb_selector *sel)
{
    return sel->nothing;
}
