/* SPDX-License-Identifier: Apache-2.0 */
#include "model/selector.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/strs.h"
#include "model/labelname.h"
#include "model/selector_impl.h"

enum {
    FAST_MAX = 64,      /* requirements that fit a bit mask */
    DECODED_MAX = 1024, /* longer keys and values equal none that a selector can hold */
    SHOWN_MAX = 80      /* bytes of a bad key or value in a message */
};

/* ---- life ---------------------------------------------------------------------------------- */

static void requirement_done(vmbi_requirement *r)
{
    for (size_t i = 0; i < r->n_values; i++) {
        /* the slice is const for readers; the memory is ours */
        vmbi_free((void *)(uintptr_t)r->values[i].p);
    }
    vmbi_free(r->values);
    vmbi_free(r->key);
}

void vmbi_selector_free(vmb_selector *sel)
{
    if (sel == NULL) {
        return;
    }
    for (size_t i = 0; i < sel->n; i++) {
        requirement_done(&sel->reqs[i]);
    }
    vmbi_free(sel->reqs);
    vmbi_free(sel);
}

vmb_code vmbi_selector_new(vmb_selector **out, vmb_error **err)
{
    vmb_selector *sel = vmbi_zalloc(sizeof(*sel));

    if (sel == NULL) {
        return vmbi_fail_nomem(err);
    }
    *out = sel;
    return VMB_OK;
}

static int shown(vmbi_slice s)
{
    return s.len > SHOWN_MAX ? SHOWN_MAX : (int)s.len;
}

static bool parse_number(vmbi_slice v, int64_t *out)
{
    if (v.len > 1 && v.p[0] == '+' && vmbi_is_digit(v.p[1])) {
        return vmbi_parse_i64(v.p + 1, v.len - 1, out);
    }
    return vmbi_parse_i64(v.p, v.len, out);
}

static const char *op_count_problem(vmbi_selector_op op, size_t n)
{
    switch (op) {
    case VMBI_OP_IN:
    case VMBI_OP_NOT_IN:
        return n == 0 ? "In and NotIn need at least one value" : NULL;
    case VMBI_OP_EXISTS:
    case VMBI_OP_NOT_EXISTS:
        return n != 0 ? "Exists and DoesNotExist take no values" : NULL;
    case VMBI_OP_EQUALS:
    case VMBI_OP_DOUBLE_EQUALS:
    case VMBI_OP_NOT_EQUALS:
    case VMBI_OP_GREATER:
    case VMBI_OP_LESS:
        break;
    }
    return n != 1 ? "exactly one value is needed" : NULL;
}

/* The rules of apimachinery's NewRequirement. */
static vmb_code requirement_check(vmbi_slice key, vmbi_selector_op op, const vmbi_slice *values,
                                  size_t n_values, int64_t *number, vmb_code bad,
                                  const char *where, vmb_error **err)
{
    const char *why = NULL;

    if (!vmbi_label_key_ok(key.p, key.len, &why)) {
        return vmbi_fail(err, bad, "%s: bad label key \"%.*s\": %s", where, shown(key), key.p,
                         why);
    }
    why = op_count_problem(op, n_values);
    if (why != NULL) {
        return vmbi_fail(err, bad, "%s: key \"%.*s\": %s", where, shown(key), key.p, why);
    }
    if ((op == VMBI_OP_GREATER || op == VMBI_OP_LESS) && !parse_number(values[0], number)) {
        return vmbi_fail(err, bad, "%s: key \"%.*s\": '>' and '<' need an integer, not \"%.*s\"",
                         where, shown(key), key.p, shown(values[0]), values[0].p);
    }
    for (size_t i = 0; i < n_values; i++) {
        if (!vmbi_label_value_ok(values[i].p, values[i].len, &why)) {
            return vmbi_fail(err, bad, "%s: key \"%.*s\": bad label value \"%.*s\": %s", where,
                             shown(key), key.p, shown(values[i]), values[i].p, why);
        }
    }
    return VMB_OK;
}

static vmb_code requirement_fill(vmbi_requirement *r, vmbi_slice key, const vmbi_slice *values,
                                 size_t n_values)
{
    r->key = vmbi_strndup(key.p, key.len);
    r->key_len = key.len;
    r->values = vmbi_alloc_array(n_values, sizeof(*r->values));
    if (r->key == NULL || r->values == NULL) {
        return VMB_E_NOMEM;
    }
    for (size_t i = 0; i < n_values; i++) {
        r->values[i].p = vmbi_strndup(values[i].p, values[i].len);
        r->values[i].len = values[i].len;
        if (r->values[i].p == NULL) {
            return VMB_E_NOMEM;
        }
        r->n_values = i + 1;
    }
    return VMB_OK;
}

vmb_code vmbi_selector_add(vmb_selector *sel, vmbi_slice key, vmbi_selector_op op,
                           const vmbi_slice *values, size_t n_values, vmb_code bad,
                           const char *where, vmb_error **err)
{
    vmbi_requirement r = {.op = op};
    vmb_code code = requirement_check(key, op, values, n_values, &r.number, bad, where, err);

    if (code != VMB_OK) {
        return code;
    }
    if (n_values >= VMBI_SELECTOR_MAX_TERMS - sel->terms) {
        return vmbi_fail(err, VMB_E_LIMIT, "%s: more than %d keys and values", where,
                         VMBI_SELECTOR_MAX_TERMS);
    }
    if (sel->n == sel->cap) {
        size_t cap = sel->cap == 0 ? 4 : sel->cap * 2;
        vmbi_requirement *reqs = vmbi_realloc_array(sel->reqs, cap, sizeof(*reqs));

        if (reqs == NULL) {
            return vmbi_fail_nomem(err);
        }
        sel->reqs = reqs;
        sel->cap = cap;
    }
    if (requirement_fill(&r, key, values, n_values) != VMB_OK) {
        requirement_done(&r);
        return vmbi_fail_nomem(err);
    }
    sel->reqs[sel->n++] = r;
    sel->terms += n_values + 1;
    return VMB_OK;
}

static bool needs_key(vmbi_selector_op op)
{
    return op != VMBI_OP_NOT_EQUALS && op != VMBI_OP_NOT_IN && op != VMBI_OP_NOT_EXISTS;
}

/* Merges two sorted runs; stable, so that equal keys keep the order of writing. */
static void merge_runs(const vmbi_requirement *from, vmbi_requirement *to, size_t a, size_t mid,
                       size_t end)
{
    size_t i = a;
    size_t j = mid;

    for (size_t k = a; k < end; k++) {
        bool left = i < mid && (j >= end || strcmp(from[i].key, from[j].key) <= 0);

        to[k] = left ? from[i++] : from[j++];
    }
}

static void sort_requirements(vmb_selector *sel)
{
    vmbi_requirement *from = sel->reqs;
    vmbi_requirement *spare = vmbi_alloc_array(sel->n, sizeof(*spare));
    vmbi_requirement *to = spare;

    if (spare == NULL) {
        /* Too little memory for a merge: insertion sort, slow but without memory. */
        for (size_t i = 1; i < sel->n; i++) {
            vmbi_requirement r = sel->reqs[i];
            size_t j = i;

            for (; j > 0 && strcmp(sel->reqs[j - 1].key, r.key) > 0; j--) {
                sel->reqs[j] = sel->reqs[j - 1];
            }
            sel->reqs[j] = r;
        }
        return;
    }
    for (size_t width = 1; width < sel->n; width *= 2) {
        for (size_t a = 0; a < sel->n; a += 2 * width) {
            size_t mid = a + width < sel->n ? a + width : sel->n;
            size_t end = a + 2 * width < sel->n ? a + 2 * width : sel->n;

            merge_runs(from, to, a, mid, end);
        }
        vmbi_requirement *t = from;
        from = to;
        to = t;
    }
    if (from == spare) {
        memcpy(sel->reqs, spare, sel->n * sizeof(*spare));
    }
    vmbi_free(spare);
}

void vmbi_selector_seal(vmb_selector *sel)
{
    if (sel->n > 1) {
        sort_requirements(sel);
    }
    sel->fast = sel->n <= FAST_MAX;
    if (!sel->fast) {
        return;
    }
    for (size_t i = sel->n; i-- > 0;) {
        sel->head[(uint8_t)sel->reqs[i].key[0]] = (uint8_t)(i + 1);
        if (needs_key(sel->reqs[i].op)) {
            sel->need |= UINT64_C(1) << i;
        }
    }
}

/* ---- matching ------------------------------------------------------------------------------ */

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
        return parse_number((vmbi_slice){v, len}, &number) && number > r->number;
    case VMBI_OP_LESS:
        return parse_number((vmbi_slice){v, len}, &number) && number < r->number;
    }
    return false;
}

static uint64_t all_bits(size_t n)
{
    return n == FAST_MAX ? UINT64_MAX : (UINT64_C(1) << n) - 1;
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
        if (i < n_pairs ? !value_fits_str(r, kv[2 * i + 1]) : needs_key(r->op)) {
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
        if (found ? !value_fits(r, value.p, value.len) : needs_key(r->op)) {
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

        if (text != NULL ? !value_fits(r, text, vmbi_json_str_len(v)) : needs_key(r->op)) {
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

/* ---- printing ------------------------------------------------------------------------------ */

static int compare_values(const void *a, const void *b)
{
    const vmbi_slice *const *x = a;
    const vmbi_slice *const *y = b;

    return strcmp((*x)->p, (*y)->p);
}

static vmb_code print_values(const vmbi_requirement *r, vmbi_buf *out, vmb_error **err)
{
    const vmbi_slice **sorted = vmbi_alloc_array(r->n_values, sizeof(*sorted));

    if (sorted == NULL) {
        return vmbi_fail_nomem(err);
    }
    for (size_t i = 0; i < r->n_values; i++) {
        sorted[i] = &r->values[i];
    }
    qsort(sorted, r->n_values, sizeof(*sorted), compare_values);
    for (size_t i = 0; i < r->n_values; i++) {
        if (i > 0) {
            vmbi_buf_addc(out, ',');
        }
        vmbi_buf_add(out, sorted[i]->p, sorted[i]->len);
    }
    vmbi_free(sorted);
    return VMB_OK;
}

static vmb_code print_requirement(const vmbi_requirement *r, vmbi_buf *out, vmb_error **err)
{
    static const char *const before[] = {
        [VMBI_OP_EQUALS] = "=",      [VMBI_OP_DOUBLE_EQUALS] = "==", [VMBI_OP_NOT_EQUALS] = "!=",
        [VMBI_OP_IN] = " in (",      [VMBI_OP_NOT_IN] = " notin (",  [VMBI_OP_EXISTS] = "",
        [VMBI_OP_NOT_EXISTS] = "",   [VMBI_OP_GREATER] = ">",        [VMBI_OP_LESS] = "<",
    };
    bool list = r->op == VMBI_OP_IN || r->op == VMBI_OP_NOT_IN;

    if (r->op == VMBI_OP_NOT_EXISTS) {
        vmbi_buf_addc(out, '!');
    }
    vmbi_buf_add(out, r->key, r->key_len);
    vmbi_buf_adds(out, before[r->op]);
    vmb_code code = print_values(r, out, err);
    if (code == VMB_OK && list) {
        vmbi_buf_addc(out, ')');
    }
    return code;
}

vmb_code vmbi_selector_print(const vmb_selector *sel, vmbi_buf *out, vmb_error **err)
{
    if (sel->nothing) {
        return vmbi_fail(err, VMB_E_UNSUPPORTED,
                         "label selector: the one that matches nothing has no string form");
    }
    for (size_t i = 0; i < sel->n; i++) {
        if (i > 0) {
            vmbi_buf_addc(out, ',');
        }
        vmb_code code = print_requirement(&sel->reqs[i], out, err);
        if (code != VMB_OK) {
            return code;
        }
    }
    return vmbi_buf_check(out, err, "label selector");
}
