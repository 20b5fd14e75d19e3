/* SPDX-License-Identifier: Apache-2.0 */
/* The structured form of selectors: matchLabels and matchExpressions. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/strs.h"
#include "model/selector_impl.h"

static vmbi_slice slice_of(const vmbi_json *v)
{
    return (vmbi_slice){vmbi_json_str(v), vmbi_json_str_len(v)};
}

static vmb_code check_members(const vmbi_json *obj, const char *const *known, const char *what,
                              vmb_error **err)
{
    for (void *it = vmbi_json_iter(obj); it != NULL; it = vmbi_json_iter_next(obj, it)) {
        const char *const *k = known;

        while (*k != NULL && strcmp(*k, vmbi_json_iter_key(it)) != 0) {
            k++;
        }
        if (*k == NULL) {
            return vmbi_fail(err, VMB_E_INVALID, "%s: unknown member \"%.80s\"", what,
                             vmbi_json_iter_key(it));
        }
    }
    return VMB_OK;
}

static vmb_code add_match_labels(vmb_selector *sel, const vmbi_json *labels, const char *what,
                                 vmb_error **err)
{
    char where[160];

    (void)snprintf(where, sizeof(where), "%.120s.matchLabels", what);
    if (!vmbi_json_is_object(labels)) {
        return vmbi_fail(err, VMB_E_INVALID, "%s: must be a map of strings, not %s", where,
                         vmbi_json_type_name(labels));
    }
    for (void *it = vmbi_json_iter(labels); it != NULL; it = vmbi_json_iter_next(labels, it)) {
        const char *key = vmbi_json_iter_key(it);
        const vmbi_json *v = vmbi_json_iter_value(it);
        vmbi_slice value = slice_of(v);
        vmb_code code;

        if (value.p == NULL) {
            return vmbi_fail(err, VMB_E_INVALID, "%s: the value of \"%.80s\" must be a string",
                             where, key);
        }
        code = vmbi_selector_add(sel, (vmbi_slice){key, strlen(key)}, VMBI_OP_EQUALS, &value, 1,
                                 VMB_E_INVALID, where, err);
        if (code != VMB_OK) {
            return code;
        }
    }
    return VMB_OK;
}

static bool operator_of(const char *text, vmbi_selector_op *op)
{
    static const struct {
        const char *name;
        vmbi_selector_op op;
    } table[] = {
        {"In", VMBI_OP_IN},
        {"NotIn", VMBI_OP_NOT_IN},
        {"Exists", VMBI_OP_EXISTS},
        {"DoesNotExist", VMBI_OP_NOT_EXISTS},
    };

    for (size_t i = 0; text != NULL && i < VMBI_ARRAY_LEN(table); i++) {
        if (strcmp(table[i].name, text) == 0) {
            *op = table[i].op;
            return true;
        }
    }
    return false;
}

static vmb_code values_of(const vmbi_json *list, const char *where, vmbi_slice **out, size_t *n,
                          vmb_error **err)
{
    size_t count = vmbi_json_len(list);
    vmbi_slice *values;

    if (!vmbi_json_is_null(list) && !vmbi_json_is_array(list)) {
        return vmbi_fail(err, VMB_E_INVALID, "%s.values: must be a list of strings, not %s", where,
                         vmbi_json_type_name(list));
    }
    values = vmbi_alloc_array(count, sizeof(*values));
    if (values == NULL) {
        return vmbi_fail_nomem(err);
    }
    for (size_t i = 0; i < count; i++) {
        values[i] = slice_of(vmbi_json_at(list, i));
        if (values[i].p == NULL) {
            vmbi_free(values);
            return vmbi_fail(err, VMB_E_INVALID, "%s.values[%zu]: must be a string", where, i);
        }
    }
    *out = values;
    *n = count;
    return VMB_OK;
}

static vmb_code add_expression(vmb_selector *sel, const vmbi_json *e, const char *where,
                               vmb_error **err)
{
    static const char *const known[] = {"key", "operator", "values", NULL};
    vmbi_slice key = slice_of(vmbi_json_get(e, "key"));
    const char *text = vmbi_json_get_str(e, "operator");
    vmbi_selector_op op = VMBI_OP_IN;
    vmbi_slice *values = NULL;
    size_t n = 0;
    vmb_code code;

    if (!vmbi_json_is_object(e)) {
        return vmbi_fail(err, VMB_E_INVALID, "%s: must be an object, not %s", where,
                         vmbi_json_type_name(e));
    }
    code = check_members(e, known, where, err);
    if (code != VMB_OK) {
        return code;
    }
    if (key.p == NULL) {
        return vmbi_fail(err, VMB_E_INVALID, "%s.key: a label key is missing", where);
    }
    if (!operator_of(text, &op)) {
        return vmbi_fail(err, VMB_E_INVALID,
                         "%s.operator: \"%.40s\" is none of In, NotIn, Exists, DoesNotExist", where,
                         text != NULL ? text : "");
    }
    code = values_of(vmbi_json_get(e, "values"), where, &values, &n, err);
    if (code == VMB_OK) {
        code = vmbi_selector_add(sel, key, op, values, n, VMB_E_INVALID, where, err);
    }
    vmbi_free(values);
    return code;
}

static vmb_code add_expressions(vmb_selector *sel, const vmbi_json *list, const char *what,
                                vmb_error **err)
{
    char where[160];

    if (!vmbi_json_is_array(list)) {
        return vmbi_fail(err, VMB_E_INVALID, "%s.matchExpressions: must be a list, not %s", what,
                         vmbi_json_type_name(list));
    }
    for (size_t i = 0; i < vmbi_json_len(list); i++) {
        (void)snprintf(where, sizeof(where), "%.100s.matchExpressions[%zu]", what, i);
        vmb_code code = add_expression(sel, vmbi_json_at(list, i), where, err);
        if (code != VMB_OK) {
            return code;
        }
    }
    return VMB_OK;
}

static vmb_code fill(vmb_selector *sel, const vmbi_json *tree, const char *what, vmb_error **err)
{
    static const char *const known[] = {"matchLabels", "matchExpressions", NULL};
    const vmbi_json *labels = vmbi_json_get(tree, "matchLabels");
    const vmbi_json *expressions = vmbi_json_get(tree, "matchExpressions");
    vmb_code code = VMB_OK;

    if (!vmbi_json_is_object(tree)) {
        return vmbi_fail(err, VMB_E_INVALID, "%s: must be an object, not %s", what,
                         vmbi_json_type_name(tree));
    }
    code = check_members(tree, known, what, err);
    if (code == VMB_OK && !vmbi_json_is_null(labels)) {
        code = add_match_labels(sel, labels, what, err);
    }
    if (code == VMB_OK && !vmbi_json_is_null(expressions)) {
        code = add_expressions(sel, expressions, what, err);
    }
    return code;
}

vmb_code vmbi_selector_from_tree(const vmbi_json *tree, const char *what, vmb_selector **out,
                                 vmb_error **err)
{
    vmb_selector *sel = NULL;
    vmb_code code = vmbi_selector_new(&sel, err);

    if (code != VMB_OK) {
        return code;
    }
    if (vmbi_json_is_null(tree)) {
        sel->nothing = true;
    } else {
        code = fill(sel, tree, what, err);
    }
    if (code != VMB_OK) {
        vmbi_selector_free(sel);
        return code;
    }
    vmbi_selector_seal(sel);
    *out = sel;
    return VMB_OK;
}
