/* SPDX-License-Identifier: Apache-2.0 */
/* Trees as text: sorted keys, Go's escapes and Go's numbers (encoding/json), which jansson's own
 * printer cannot do. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "codec/json.h"

/* Trees that were built, not parsed, may be somewhat deeper than what we would parse. */
enum { MAX_PRINT_DEPTH = 2 * VMBI_JSON_MAX_DEPTH, MAX_NUMBER = 64 };

typedef struct member {
    const char *key;
    const json_t *value;
    size_t rank; /* place among the first keys, or behind them */
} member;

typedef struct printer {
    vmbi_buf *out;
    bool indent;
    const char *const *first_keys; /* of the outermost object */
    unsigned depth;
    member *members; /* of all objects that are open, innermost last */
    size_t n, cap;
} printer;

static void print_value(printer *p, const json_t *v);

static void fail(printer *p, vmb_code code)
{
    if (p->out->status == VMB_OK) {
        p->out->status = code;
    }
}

/* Numbers. */

/* Shortest text of a real that reads back as the same value. jansson writes and reads it, since
 * the C library's conversions depend on the locale and jansson corrects that. */
static bool shortest(double d, char *text, size_t *len)
{
    json_t *v = json_real(d);
    bool ok = false;

    for (size_t digits = 1; v != NULL && digits <= 17 && !ok; digits++) {
        json_error_t e;
        json_t *back;

        *len = json_dumpb(v, text, MAX_NUMBER, JSON_ENCODE_ANY | JSON_REAL_PRECISION(digits));
        if (*len == 0 || *len > MAX_NUMBER) {
            break;
        }
        back = json_loadb(text, *len, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, &e);
        ok = back != NULL && (json_real_value(back) == d || digits == 17);
        json_decref(back);
    }
    json_decref(v);
    return ok;
}

/* Splits "-12.5e-7" into digits without leading and trailing zeros ("125") and the place of the
 * point (0.125 has 0, 12.5 has 2). */
static size_t split_number(const char *text, size_t len, char *digits, int *point)
{
    size_t n = 0;
    bool dotted = false;
    int64_t exponent = 0;

    *point = 0;
    for (size_t i = 0; i < len; i++) {
        if (text[i] == 'e' || text[i] == 'E') {
            size_t from = i + (text[i + 1] == '+' ? 2 : 1);
            (void)vmbi_parse_i64(text + from, len - from, &exponent);
            break;
        }
        if (text[i] == '.') {
            dotted = true;
        } else if (vmbi_is_digit(text[i])) {
            *point += dotted ? 0 : 1;
            if (n > 0 || text[i] != '0') {
                digits[n++] = text[i];
            } else {
                *point -= 1; /* a leading zero */
            }
        }
    }
    while (n > 0 && digits[n - 1] == '0') {
        n--;
    }
    *point += (int)exponent;
    return n;
}

static void put_zeros(vmbi_buf *out, int n)
{
    for (int i = 0; i < n; i++) {
        vmbi_buf_addc(out, '0');
    }
}

/* encoding/json: exponents below 1e-6 and from 1e21 on, plain decimals between. */
static void print_real(printer *p, double d)
{
    char text[MAX_NUMBER], digits[MAX_NUMBER];
    size_t len, n;
    int point;

    if (!shortest(d, text, &len)) {
        fail(p, VMB_E_NOMEM);
        return;
    }
    if (text[0] == '-') {
        vmbi_buf_addc(p->out, '-');
    }
    n = split_number(text, len, digits, &point);
    if (n == 0) {
        vmbi_buf_addc(p->out, '0');
    } else if (point < -5 || point > 21) {
        vmbi_buf_addc(p->out, digits[0]);
        if (n > 1) {
            vmbi_buf_addc(p->out, '.');
            vmbi_buf_add(p->out, digits + 1, n - 1);
        }
        vmbi_buf_addf(p->out, "e%c%d", point > 0 ? '+' : '-', abs(point - 1));
    } else if (point <= 0) {
        vmbi_buf_adds(p->out, "0.");
        put_zeros(p->out, -point);
        vmbi_buf_add(p->out, digits, n);
    } else if ((size_t)point >= n) {
        vmbi_buf_add(p->out, digits, n);
        put_zeros(p->out, point - (int)n);
    } else {
        vmbi_buf_add(p->out, digits, (size_t)point);
        vmbi_buf_addc(p->out, '.');
        vmbi_buf_add(p->out, digits + point, n - (size_t)point);
    }
}

static void print_integer(printer *p, int64_t i)
{
    char tmp[24];
    char *at = tmp + sizeof(tmp);
    uint64_t v = i < 0 ? 0 - (uint64_t)i : (uint64_t)i;

    do {
        *--at = (char)('0' + v % 10);
        v /= 10;
    } while (v > 0);
    if (i < 0) {
        *--at = '-';
    }
    vmbi_buf_add(p->out, at, (size_t)(tmp + sizeof(tmp) - at));
}

/* Containers. */

static void new_line(printer *p)
{
    if (p->indent) {
        vmbi_buf_addc(p->out, '\n');
        for (unsigned i = 0; i < p->depth; i++) {
            vmbi_buf_add(p->out, "  ", 2);
        }
    }
}

static size_t rank_of(const printer *p, const char *key)
{
    size_t rank = 0;

    if (p->first_keys == NULL || p->depth != 0) {
        return 0;
    }
    while (p->first_keys[rank] != NULL && strcmp(p->first_keys[rank], key) != 0) {
        rank++;
    }
    return rank;
}

static int compare(const void *a, const void *b)
{
    const member *x = a;
    const member *y = b;

    if (x->rank != y->rank) {
        return x->rank < y->rank ? -1 : 1;
    }
    return strcmp(x->key, y->key);
}

/* Puts the members of v behind the others, sorted; returns the number of the first. What the API
 * server sends is sorted already: then nothing moves. */
static size_t push_members(printer *p, const json_t *v)
{
    size_t base = p->n;
    size_t count = vmbi_json_len(v);
    bool sorted = true;

    if (count > p->cap - p->n) {
        size_t cap = (p->n + count) * 2;
        member *m = vmbi_realloc_array(p->members, cap, sizeof(*m));

        if (m == NULL) {
            fail(p, VMB_E_NOMEM);
            return base;
        }
        p->members = m;
        p->cap = cap;
    }
    for (void *it = vmbi_json_iter(v); it != NULL; it = vmbi_json_iter_next(v, it)) {
        const char *key = vmbi_json_iter_key(it);

        p->members[p->n] = (member){key, vmbi_json_iter_value(it), rank_of(p, key)};
        if (p->n > base && compare(&p->members[p->n - 1], &p->members[p->n]) > 0) {
            sorted = false;
        }
        p->n++;
    }
    if (!sorted) {
        qsort(p->members + base, count, sizeof(member), compare);
    }
    return base;
}

static void print_object(printer *p, const json_t *v)
{
    size_t base = push_members(p, v);
    size_t end = p->n;

    vmbi_buf_addc(p->out, '{');
    p->depth++;
    for (size_t i = base; i < end; i++) {
        member m = p->members[i]; /* the array may move meanwhile */

        if (i > base) {
            vmbi_buf_addc(p->out, ',');
        }
        new_line(p);
        vmbi_buf_add_json_string(p->out, m.key, strlen(m.key));
        vmbi_buf_addc(p->out, ':');
        if (p->indent) {
            vmbi_buf_addc(p->out, ' ');
        }
        print_value(p, m.value);
    }
    p->depth--;
    if (end > base) {
        new_line(p);
    }
    vmbi_buf_addc(p->out, '}');
    p->n = base;
}

static void print_array(printer *p, const json_t *v)
{
    size_t n = json_array_size(v);

    vmbi_buf_addc(p->out, '[');
    p->depth++;
    for (size_t i = 0; i < n; i++) {
        if (i > 0) {
            vmbi_buf_addc(p->out, ',');
        }
        new_line(p);
        print_value(p, json_array_get(v, i));
    }
    p->depth--;
    if (n > 0) {
        new_line(p);
    }
    vmbi_buf_addc(p->out, ']');
}

static void print_value(printer *p, const json_t *v)
{
    if (p->out->status != VMB_OK) {
        return;
    }
    if (p->depth >= MAX_PRINT_DEPTH) {
        fail(p, VMB_E_LIMIT);
        return;
    }
    switch (v == NULL ? JSON_NULL : json_typeof(v)) {
    case JSON_OBJECT:
        print_object(p, v);
        break;
    case JSON_ARRAY:
        print_array(p, v);
        break;
    case JSON_STRING:
        vmbi_buf_add_json_string(p->out, json_string_value(v), json_string_length(v));
        break;
    case JSON_INTEGER:
        print_integer(p, json_integer_value(v));
        break;
    case JSON_REAL:
        print_real(p, json_real_value(v));
        break;
    case JSON_TRUE:
        vmbi_buf_adds(p->out, "true");
        break;
    case JSON_FALSE:
        vmbi_buf_adds(p->out, "false");
        break;
    case JSON_NULL:
        vmbi_buf_adds(p->out, "null");
        break;
    }
}

static vmb_code print(const vmbi_json *v, bool indent, const char *const *first_keys, vmbi_buf *out,
                      vmb_error **err)
{
    printer p = {.out = out, .indent = indent, .first_keys = first_keys};

    print_value(&p, v);
    vmbi_free(p.members);
    return vmbi_buf_check(out, err, "json text");
}

vmb_code vmbi_json_print(const vmbi_json *v, vmbi_buf *out, vmb_error **err)
{
    return print(v, false, NULL, out, err);
}

vmb_code vmbi_json_print_indent(const vmbi_json *v, const char *const *first_keys, vmbi_buf *out,
                                vmb_error **err)
{
    return print(v, true, first_keys, out, err);
}

vmb_code vmbi_json_to_text(const vmbi_json *v, char **out, size_t *out_len, vmb_error **err)
{
    vmbi_buf buf = VMBI_BUF_INIT(SIZE_MAX / 2);
    vmb_code code = vmbi_json_print(v, &buf, err);

    if (code == VMB_OK) {
        code = vmbi_buf_take(&buf, out, out_len, err, "json text");
    }
    vmbi_buf_free(&buf);
    return code;
}
