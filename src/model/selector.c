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
    SHOWN_MAX = 80 /* bytes of a bad key or value in a message */
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

bool vmbi_selector_number(vmbi_slice v, int64_t *out)
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
                                  size_t n_values, int64_t *number, vmb_code bad, const char *where,
                                  vmb_error **err)
{
    const char *why = NULL;

    if (!vmbi_label_key_ok(key.p, key.len, &why)) {
        return vmbi_fail(err, bad, "%s: bad label key \"%.*s\": %s", where, shown(key), key.p, why);
    }
    why = op_count_problem(op, n_values);
    if (why != NULL) {
        return vmbi_fail(err, bad, "%s: key \"%.*s\": %s", where, shown(key), key.p, why);
    }
    if ((op == VMBI_OP_GREATER || op == VMBI_OP_LESS) && !vmbi_selector_number(values[0], number)) {
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

bool vmbi_selector_needs_key(vmbi_selector_op op)
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
    sel->fast = sel->n <= VMBI_SELECTOR_FAST_MAX;
    if (!sel->fast) {
        return;
    }
    for (size_t i = sel->n; i-- > 0;) {
        sel->head[(uint8_t)sel->reqs[i].key[0]] = (uint8_t)(i + 1);
        if (vmbi_selector_needs_key(sel->reqs[i].op)) {
            sel->need |= UINT64_C(1) << i;
        }
    }
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
        [VMBI_OP_EQUALS] = "=",    [VMBI_OP_DOUBLE_EQUALS] = "==", [VMBI_OP_NOT_EQUALS] = "!=",
        [VMBI_OP_IN] = " in (",    [VMBI_OP_NOT_IN] = " notin (",  [VMBI_OP_EXISTS] = "",
        [VMBI_OP_NOT_EXISTS] = "", [VMBI_OP_GREATER] = ">",        [VMBI_OP_LESS] = "<",
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
