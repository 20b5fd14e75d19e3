/* SPDX-License-Identifier: Apache-2.0 */
#include "model/modifiers.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "model/modifiers_impl.h"
#include "model/strategic.h"

enum { MATCH_STEPS = 200000 };

static void free_ops(vmbi_modifier_op *v, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        vmbi_json_free(v[i].value);
    }
    vmbi_free(v);
}

void vmbi_modifiers_free(vmbi_modifiers *m)
{
    if (m == NULL) {
        return;
    }
    for (size_t i = 0; i < m->n; i++) {
        vmbi_modifier_rule *r = &m->rules[i];

        vmbi_incexc_free(&r->namespaces);
        if (r->has_regex) {
            regfree(&r->regex);
        }
        vmbi_selector_free(r->selector);
        free_ops(r->matches, r->n_matches);
        free_ops(r->ops, r->n_ops);
        vmbi_json_free(r->patches);
    }
    vmbi_free(m->rules);
    vmbi_json_free(m->doc);
    vmbi_free(m);
}

/* ---- conditions ---------------------------------------------------------------------------- */

/* A glob whose '*' stops at '.', "**" does not; {a,b} are alternatives. */
static bool glob(const char *p, const char *s, int *steps)
{
    if (--*steps < 0) {
        return false;
    }
    if (*p == '\0') {
        return *s == '\0';
    }
    if (*p == '*') {
        bool any = p[1] == '*';

        for (const char *rest = p + (any ? 2 : 1);; s++) {
            if (glob(rest, s, steps)) {
                return true;
            }
            if (*s == '\0' || (*s == '.' && !any)) {
                return false;
            }
        }
    }
    if (*p == '{') {
        const char *end = strchr(p, '}');
        char text[VMBI_MODIFIER_TEXT_MAX + 1];

        while (end != NULL && p < end) {
            size_t n = strcspn(p + 1, ",}");

            if (snprintf(text, sizeof(text), "%.*s%s", (int)n, p + 1, end + 1) >= 0 &&
                glob(text, s, steps)) {
                return true;
            }
            p += n + 1;
        }
        return false;
    }
    if (*s == '\0' || (*p == '?' ? *s == '.' : *p != *s)) {
        return false;
    }
    return glob(p + 1, s + 1, steps);
}

static bool matches_values(const vmbi_modifier_rule *r, vmbi_json *obj, vmb_code *code,
                           vmb_error **err)
{
    for (size_t i = 0; i < r->n_matches; i++) {
        vmbi_jsonpatch_end end;

        *code = vmbi_jsonpatch_apply(&obj, &r->matches[i].op, &end, err);
        if (*code != VMB_OK) {
            if (*code != VMB_E_NOMEM && end != VMBI_JSONPATCH_DONE) {
                *code = VMB_OK; /* it does not match */
            }
            return false;
        }
    }
    return true;
}

static bool matches(const vmbi_modifier_rule *r, const char *group_resource, vmbi_json *obj,
                    vmb_code *code, vmb_error **err)
{
    const char *ns = vmbi_json_path_str(obj, "metadata.namespace");
    const char *name = vmbi_json_path_str(obj, "metadata.name");
    int steps = MATCH_STEPS;

    *code = VMB_OK;
    if (ns != NULL && ns[0] != '\0' && !vmbi_incexc_wants(&r->namespaces, ns)) {
        return false;
    }
    if (!glob(r->group_resource, group_resource, &steps)) {
        return false;
    }
    if (r->has_regex && regexec(&r->regex, name != NULL ? name : "", 0, NULL, 0) != 0) {
        return false;
    }
    if (r->selector != NULL &&
        !vmbi_selector_matches_tree(r->selector, vmbi_json_path(obj, "metadata.labels"))) {
        return false;
    }
    return matches_values(r, obj, code, err);
}

/* ---- applying ------------------------------------------------------------------------------ */

/* *obj is replaced when all went well. A failed test leaves it, without a problem. */
static vmb_code apply_json(const vmbi_modifier_rule *r, vmbi_json **obj, vmb_error **err)
{
    vmbi_json *copy = vmbi_json_copy(*obj);
    vmb_code code = copy != NULL ? VMB_OK : vmbi_fail_nomem(err);
    vmbi_jsonpatch_end end = VMBI_JSONPATCH_DONE;
    vmb_error *why = NULL;

    for (size_t i = 0; i < r->n_ops && code == VMB_OK; i++) {
        code = vmbi_jsonpatch_apply(&copy, &r->ops[i].op, &end, &why);
    }
    if (code == VMB_OK) {
        vmbi_json_free(*obj);
        *obj = copy;
        return VMB_OK;
    }
    vmbi_json_free(copy);
    if (end == VMBI_JSONPATCH_TEST_FAILED) {
        vmb_error_free(why);
        return VMB_OK;
    }
    vmbi_error_move(err, &why);
    return code;
}

static vmb_code apply_trees(const vmbi_modifier_rule *r, vmbi_json **obj, vmb_error **err)
{
    vmbi_json *copy = vmbi_json_copy(*obj);
    vmb_code code = copy != NULL ? VMB_OK : vmbi_fail_nomem(err);

    for (size_t i = 0; i < vmbi_json_len(r->patches) && code == VMB_OK; i++) {
        const vmbi_json *patch = vmbi_json_at(r->patches, i);

        if (r->kind == VMBI_MODIFIER_STRATEGIC) {
            code = vmbi_strategic_merge(copy, patch, err);
        } else if (!vmbi_json_merge_patch(copy, patch)) {
            code = vmbi_fail_nomem(err);
        }
    }
    if (code != VMB_OK) {
        vmbi_json_free(copy);
        return code;
    }
    vmbi_json_free(*obj);
    *obj = copy;
    return VMB_OK;
}

vmb_code vmbi_modifiers_apply(const vmbi_modifiers *m, const char *group_resource, vmbi_json **obj,
                              vmbi_strs *problems, vmb_error **err)
{
    vmbi_json *original = vmbi_json_ref(*obj); /* conditions look at it as it came */
    vmb_code code = VMB_OK;

    for (size_t i = 0; i < m->n && code == VMB_OK; i++) {
        const vmbi_modifier_rule *r = &m->rules[i];
        vmb_error *why = NULL;

        if (matches(r, group_resource, original, &code, &why)) {
            code = r->kind == VMBI_MODIFIER_JSON ? apply_json(r, obj, &why)
                                                 : apply_trees(r, obj, &why);
        }
        if (code != VMB_OK && code != VMB_E_NOMEM) {
            char line[1024];

            (void)snprintf(line, sizeof(line), "error in applying patch %s",
                           vmb_error_message(why));
            code = vmbi_strs_add(problems, line, err);
        } else if (code == VMB_E_NOMEM) {
            vmbi_error_move(err, &why);
        }
        vmb_error_free(why);
    }
    vmbi_json_free(original);
    return code;
}
