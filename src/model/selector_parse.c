/* SPDX-License-Identifier: Apache-2.0 */
/* The string form of selectors: requirement {"," requirement}. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/strs.h"
#include "model/selector_impl.h"

typedef enum token_kind {
    TOKEN_END,
    TOKEN_WORD, /* a key, a value, or "in" and "notin" */
    TOKEN_COMMA,
    TOKEN_OPEN,
    TOKEN_CLOSE,
    TOKEN_NOT,
    TOKEN_EQUALS,
    TOKEN_DOUBLE_EQUALS,
    TOKEN_NOT_EQUALS,
    TOKEN_GREATER,
    TOKEN_LESS
} token_kind;

typedef struct parser {
    const char *text;
    const char *p;
    const char *end;
    token_kind kind; /* the token looked at */
    vmbi_slice word; /* its bytes */
    vmb_selector *sel;
    vmbi_slice *values; /* of the requirement being read */
    size_t n_values;
    size_t cap_values;
    vmb_error **err;
} parser;

static bool is_special(char c)
{
    return c == '=' || c == '!' || c == '(' || c == ')' || c == ',' || c == '>' || c == '<';
}

static token_kind special_kind(const char *p, const char *end, size_t *len)
{
    bool equals_follows = end - p > 1 && p[1] == '=';

    *len = 1;
    switch (*p) {
    case '=':
        *len = equals_follows ? 2 : 1;
        return equals_follows ? TOKEN_DOUBLE_EQUALS : TOKEN_EQUALS;
    case '!':
        *len = equals_follows ? 2 : 1;
        return equals_follows ? TOKEN_NOT_EQUALS : TOKEN_NOT;
    case '(':
        return TOKEN_OPEN;
    case ')':
        return TOKEN_CLOSE;
    case ',':
        return TOKEN_COMMA;
    case '>':
        return TOKEN_GREATER;
    default:
        return TOKEN_LESS;
    }
}

static void advance(parser *ps)
{
    size_t len = 0;

    while (ps->p < ps->end && vmbi_is_space(*ps->p)) {
        ps->p++;
    }
    ps->word = (vmbi_slice){ps->p, 0};
    if (ps->p == ps->end) {
        ps->kind = TOKEN_END;
        return;
    }
    if (is_special(*ps->p)) {
        ps->kind = special_kind(ps->p, ps->end, &len);
    } else {
        ps->kind = TOKEN_WORD;
        while (ps->p + len < ps->end && !is_special(ps->p[len]) && !vmbi_is_space(ps->p[len])) {
            len++;
        }
    }
    ps->word.len = len;
    ps->p += len;
}

static bool word_is(const parser *ps, const char *s)
{
    return ps->kind == TOKEN_WORD && ps->word.len == strlen(s) &&
           memcmp(ps->word.p, s, ps->word.len) == 0;
}

static vmb_code unexpected(const parser *ps, const char *expected)
{
    int len = ps->word.len > 40 ? 40 : (int)ps->word.len;

    if (ps->kind == TOKEN_END) {
        return vmbi_fail(ps->err, VMB_E_PARSE,
                         "label selector, position %zu: expected %s, found the end",
                         (size_t)(ps->word.p - ps->text) + 1, expected);
    }
    return vmbi_fail(ps->err, VMB_E_PARSE,
                     "label selector, position %zu: expected %s, found \"%.*s\"",
                     (size_t)(ps->word.p - ps->text) + 1, expected, len, ps->word.p);
}

static vmb_code add_value(parser *ps, vmbi_slice v)
{
    if (ps->n_values == VMBI_SELECTOR_MAX_TERMS) {
        return vmbi_fail(ps->err, VMB_E_LIMIT, "label selector: more than %d values",
                         VMBI_SELECTOR_MAX_TERMS);
    }
    if (ps->n_values == ps->cap_values) {
        size_t cap = ps->cap_values == 0 ? 8 : ps->cap_values * 2;
        vmbi_slice *values = vmbi_realloc_array(ps->values, cap, sizeof(*values));

        if (values == NULL) {
            return vmbi_fail_nomem(ps->err);
        }
        ps->values = values;
        ps->cap_values = cap;
    }
    ps->values[ps->n_values++] = v;
    return VMB_OK;
}

/* "(" [value] {"," [value]} ")"; a place without a value is the empty string. */
static vmb_code parse_list(parser *ps)
{
    if (ps->kind != TOKEN_OPEN) {
        return unexpected(ps, "'('");
    }
    do {
        vmbi_slice v = {"", 0};

        advance(ps);
        if (ps->kind == TOKEN_WORD) {
            v = ps->word;
            advance(ps);
        }
        vmb_code code = add_value(ps, v);
        if (code != VMB_OK) {
            return code;
        }
    } while (ps->kind == TOKEN_COMMA);
    if (ps->kind != TOKEN_CLOSE) {
        return unexpected(ps, "',' or ')'");
    }
    advance(ps);
    return VMB_OK;
}

static vmb_code parse_exact(parser *ps)
{
    vmbi_slice v = {"", 0};

    if (ps->kind == TOKEN_WORD) {
        v = ps->word;
        advance(ps);
    } else if (ps->kind != TOKEN_END && ps->kind != TOKEN_COMMA) {
        return unexpected(ps, "a value");
    }
    return add_value(ps, v);
}

static bool read_operator(parser *ps, vmbi_selector_op *op)
{
    if (word_is(ps, "in")) {
        *op = VMBI_OP_IN;
    } else if (word_is(ps, "notin")) {
        *op = VMBI_OP_NOT_IN;
    } else if (ps->kind == TOKEN_EQUALS) {
        *op = VMBI_OP_EQUALS;
    } else if (ps->kind == TOKEN_DOUBLE_EQUALS) {
        *op = VMBI_OP_DOUBLE_EQUALS;
    } else if (ps->kind == TOKEN_NOT_EQUALS) {
        *op = VMBI_OP_NOT_EQUALS;
    } else if (ps->kind == TOKEN_GREATER) {
        *op = VMBI_OP_GREATER;
    } else if (ps->kind == TOKEN_LESS) {
        *op = VMBI_OP_LESS;
    } else {
        return false;
    }
    advance(ps);
    return true;
}

static int compare_slices(const void *a, const void *b)
{
    const vmbi_slice *x = a;
    const vmbi_slice *y = b;
    size_t min = x->len < y->len ? x->len : y->len;
    int order = memcmp(x->p, y->p, min);

    if (order != 0) {
        return order;
    }
    return x->len == y->len ? 0 : (x->len < y->len ? -1 : 1);
}

/* The values of a list form a set. */
static void sort_unique_values(parser *ps)
{
    size_t kept = 0;

    if (ps->n_values < 2) {
        return;
    }
    qsort(ps->values, ps->n_values, sizeof(*ps->values), compare_slices);
    for (size_t i = 0; i < ps->n_values; i++) {
        if (kept == 0 || compare_slices(&ps->values[kept - 1], &ps->values[i]) != 0) {
            ps->values[kept++] = ps->values[i];
        }
    }
    ps->n_values = kept;
}

static vmb_code parse_requirement(parser *ps)
{
    vmbi_selector_op op = VMBI_OP_EXISTS;
    vmb_code code = VMB_OK;
    char where[64];

    ps->n_values = 0;
    if (ps->kind == TOKEN_NOT) {
        op = VMBI_OP_NOT_EXISTS;
        advance(ps);
    }
    if (ps->kind != TOKEN_WORD) {
        return unexpected(ps, "a label key");
    }
    vmbi_slice key = ps->word;
    (void)snprintf(where, sizeof(where), "label selector, position %zu",
                   (size_t)(key.p - ps->text) + 1);
    advance(ps);
    if (op == VMBI_OP_EXISTS && ps->kind != TOKEN_END && ps->kind != TOKEN_COMMA) {
        if (!read_operator(ps, &op)) {
            return unexpected(ps, "=, ==, !=, >, <, in or notin");
        }
        code = op == VMBI_OP_IN || op == VMBI_OP_NOT_IN ? parse_list(ps) : parse_exact(ps);
        if (code != VMB_OK) {
            return code;
        }
        sort_unique_values(ps);
    }
    return vmbi_selector_add(ps->sel, key, op, ps->values, ps->n_values, VMB_E_PARSE, where,
                             ps->err);
}

static vmb_code parse_all(parser *ps)
{
    advance(ps);
    if (ps->kind == TOKEN_END) {
        return VMB_OK;
    }
    for (;;) {
        vmb_code code = parse_requirement(ps);

        if (code != VMB_OK) {
            return code;
        }
        if (ps->kind == TOKEN_END) {
            return VMB_OK;
        }
        if (ps->kind != TOKEN_COMMA) {
            return unexpected(ps, "',' or the end");
        }
        advance(ps);
    }
}

vmb_code vmbi_selector_parse(const char *text, size_t len, vmb_selector **out, vmb_error **err)
{
    parser ps = {.text = text, .p = text, .end = text + len, .err = err};
    vmb_code code;

    if (len > VMBI_SELECTOR_MAX_TEXT) {
        return vmbi_fail(err, VMB_E_LIMIT, "label selector: longer than %d bytes",
                         VMBI_SELECTOR_MAX_TEXT);
    }
    if (memchr(text, '\0', len) != NULL) {
        return vmbi_fail(err, VMB_E_PARSE, "label selector: holds a NUL byte");
    }
    code = vmbi_selector_new(&ps.sel, err);
    if (code != VMB_OK) {
        return code;
    }
    code = parse_all(&ps);
    vmbi_free(ps.values);
    if (code != VMB_OK) {
        vmbi_selector_free(ps.sel);
        return code;
    }
    vmbi_selector_seal(ps.sel);
    *out = ps.sel;
    return VMB_OK;
}
