/* SPDX-License-Identifier: Apache-2.0 */
/* Reading the document of resource modifiers, strictly. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "codec/yaml.h"
#include "model/fields.h"
#include "model/modifiers_impl.h"

/* ---- the document's form ------------------------------------------------------------------- */

#define END                                                                                        \
    {                                                                                              \
        NULL, VMBI_FIELD_ANY, 0, NULL                                                              \
    }

static const vmbi_field match_fields[] = {
    {"path", VMBI_FIELD_STRING, VMBI_FIELD_REQUIRED, NULL},
    {"value", VMBI_FIELD_STRING, 0, NULL},
    END,
};
static const vmbi_field condition_fields[] = {
    {"namespaces", VMBI_FIELD_STRINGS, 0, NULL},
    {"groupResource", VMBI_FIELD_STRING, VMBI_FIELD_REQUIRED, NULL},
    {"resourceNameRegex", VMBI_FIELD_STRING, 0, NULL},
    {"labelSelector", VMBI_FIELD_ANY, 0, NULL},
    {"matches", VMBI_FIELD_OBJECTS, 0, match_fields},
    END,
};
static const vmbi_field operation_fields[] = {
    {"operation", VMBI_FIELD_STRING, VMBI_FIELD_REQUIRED, NULL},
    {"from", VMBI_FIELD_STRING, 0, NULL},
    {"path", VMBI_FIELD_STRING, VMBI_FIELD_REQUIRED, NULL},
    {"value", VMBI_FIELD_STRING, 0, NULL},
    END,
};
static const vmbi_field data_fields[] = {
    {"patchData", VMBI_FIELD_STRING, 0, NULL},
    END,
};
static const vmbi_field rule_fields[] = {
    {"conditions", VMBI_FIELD_OBJECT, VMBI_FIELD_REQUIRED, condition_fields},
    {"patches", VMBI_FIELD_OBJECTS, 0, operation_fields},
    {"mergePatches", VMBI_FIELD_OBJECTS, 0, data_fields},
    {"strategicPatches", VMBI_FIELD_OBJECTS, 0, data_fields},
    END,
};
static const vmbi_field root_fields[] = {
    {"version", VMBI_FIELD_STRING, VMBI_FIELD_REQUIRED, NULL},
    {"resourceModifierRules", VMBI_FIELD_OBJECTS, VMBI_FIELD_REQUIRED, rule_fields},
    END,
};

static vmb_code check_members(const vmbi_json *obj, const vmbi_field *fields, const char *path,
                              vmb_error **err);

static vmb_code wrong_type(const char *path, const char *name, const vmbi_field *f,
                           const vmbi_json *v, vmb_error **err)
{
    return vmbi_fail(err, VMB_E_INVALID, "%s%s: must be %s, not of type %s%s", path, name,
                     vmbi_field_type_text(f->type), vmbi_json_type_name(v),
                     f->type == VMBI_FIELD_STRING ? ": put it in quotes" : "");
}

static vmb_code check_list(const vmbi_json *list, const vmbi_field *f, const char *path,
                           vmb_error **err)
{
    vmb_code code = VMB_OK;

    if (!vmbi_json_is_array(list)) {
        return wrong_type(path, f->name, f, list, err);
    }
    for (size_t i = 0; i < vmbi_json_len(list) && code == VMB_OK; i++) {
        const vmbi_json *e = vmbi_json_at(list, i);
        char below[VMBI_MODIFIER_TEXT_MAX];

        (void)snprintf(below, sizeof(below), "%.300s%s[%zu].", path, f->name, i);
        if (f->type == VMBI_FIELD_STRINGS ? !vmbi_json_is_string(e) : !vmbi_json_is_object(e)) {
            code = wrong_type(path, f->name, f, e, err);
        } else if (f->type == VMBI_FIELD_OBJECTS) {
            code = check_members(e, f->members, below, err);
        }
    }
    return code;
}

static vmb_code check_value(const vmbi_json *v, const vmbi_field *f, const char *path,
                            vmb_error **err)
{
    char below[VMBI_MODIFIER_TEXT_MAX];

    if (vmbi_json_is_null(v) || f->type == VMBI_FIELD_ANY) {
        return VMB_OK;
    }
    if (f->type == VMBI_FIELD_STRINGS || f->type == VMBI_FIELD_OBJECTS) {
        return check_list(v, f, path, err);
    }
    if (f->type == VMBI_FIELD_STRING ? !vmbi_json_is_string(v) : !vmbi_json_is_object(v)) {
        return wrong_type(path, f->name, f, v, err);
    }
    (void)snprintf(below, sizeof(below), "%s%s.", path, f->name);
    return f->type == VMBI_FIELD_OBJECT ? check_members(v, f->members, below, err) : VMB_OK;
}

static vmb_code check_members(const vmbi_json *obj, const vmbi_field *fields, const char *path,
                              vmb_error **err)
{
    vmb_code code = VMB_OK;

    for (void *it = vmbi_json_iter(obj); it != NULL && code == VMB_OK;
         it = vmbi_json_iter_next(obj, it)) {
        const char *key = vmbi_json_iter_key(it);
        const vmbi_field *f = vmbi_fields_find(fields, key);
        const char *near = f == NULL ? vmbi_fields_nearest(fields, key) : NULL;

        if (f == NULL) {
            code = vmbi_fail(err, VMB_E_INVALID, "%s%s: unknown field%s%s", path, key,
                             near != NULL ? ", did you mean " : "", near != NULL ? near : "");
        } else {
            code = check_value(vmbi_json_iter_value(it), f, path, err);
        }
    }
    for (const vmbi_field *f = fields; f->name != NULL && code == VMB_OK; f++) {
        if ((f->flags & VMBI_FIELD_REQUIRED) != 0 &&
            vmbi_json_is_null(vmbi_json_get(obj, f->name))) {
            code = vmbi_fail(err, VMB_E_INVALID, "%s%s: is missing", path, f->name);
        }
    }
    return code;
}

/* ---- parsing ------------------------------------------------------------------------------- */

/* Velero's rule for values: quoted text is a string, what looks like JSON is JSON, the rest a
 * string. */
static vmb_code parse_value(const char *text, vmbi_json **out, vmb_error **err)
{
    size_t len = strlen(text);
    bool quoted = len >= 2 && text[0] == '"' && text[len - 1] == '"';
    vmbi_json *number = NULL;

    if (quoted) {
        return vmbi_json_parse(text, len, "value", out, err);
    }
    if (len > 0 && (text[0] == '{' || text[0] == '[' || strcmp(text, "null") == 0)) {
        return vmbi_json_parse(text, len, "value", out, err);
    }
    if (vmbi_strcaseeq(text, "true") || vmbi_strcaseeq(text, "false")) {
        *out = vmbi_json_boolean(vmbi_strcaseeq(text, "true"));
        return *out != NULL ? VMB_OK : vmbi_fail_nomem(err);
    }
    if (len > 0 && (vmbi_is_digit(text[0]) || text[0] == '-') &&
        vmbi_json_parse(text, len, "value", &number, NULL) == VMB_OK) {
        *out = number;
        return VMB_OK;
    }
    *out = vmbi_json_string(text);
    return *out != NULL ? VMB_OK : vmbi_fail_nomem(err);
}

static const char *const operations[] = {"add", "remove", "replace", "move", "copy", "test"};

/* The operation in lower case, a static word; NULL when it is none. */
static const char *find_operation(const char *name)
{
    for (size_t i = 0; i < VMBI_ARRAY_LEN(operations); i++) {
        if (vmbi_strcaseeq(operations[i], name)) {
            return operations[i];
        }
    }
    return NULL;
}

static vmb_code parse_op(const vmbi_json *p, const char *op, const char *where,
                         vmbi_modifier_op *out, vmb_error **err)
{
    const char *path = vmbi_json_get_str(p, "path");
    const char *from = vmbi_json_get_str(p, "from");
    const char *value = vmbi_json_get_str(p, "value");

    if (op == NULL) {
        const char *written = vmbi_json_get_str(p, "operation");

        return vmbi_fail(err, VMB_E_INVALID, "%s: unsupported operation %s", where,
                         written != NULL ? written : "");
    }
    if (path == NULL || path[0] == '\0') {
        return vmbi_fail(err, VMB_E_INVALID, "%s: path cannot be empty", where);
    }
    out->op = (vmbi_jsonpatch_op){.op = op, .path = path, .from = from != NULL ? from : ""};
    vmb_code code = parse_value(value != NULL ? value : "", &out->value, err);

    if (code != VMB_OK) {
        return vmbi_wrap(err, code == VMB_E_PARSE ? VMB_E_INVALID : code, "%s", where);
    }
    out->op.value = out->value;
    return VMB_OK;
}

/* op NULL: each element names its own. */
static vmb_code parse_ops(const vmbi_json *list, const char *op, const char *where,
                          vmbi_modifier_op **out, size_t *n, vmb_error **err)
{
    size_t len = vmbi_json_len(list);
    vmb_code code = VMB_OK;

    if (len == 0) {
        return VMB_OK;
    }
    vmbi_modifier_op *v = vmbi_alloc_array(len, sizeof(*v));
    if (v == NULL) {
        return vmbi_fail_nomem(err);
    }
    memset(v, 0, len * sizeof(*v));
    *out = v;
    *n = len;
    for (size_t i = 0; i < len && code == VMB_OK; i++) {
        const vmbi_json *p = vmbi_json_at(list, i);
        const char *own = vmbi_json_get_str(p, "operation");
        char at[VMBI_MODIFIER_TEXT_MAX];

        (void)snprintf(at, sizeof(at), "%.400s[%zu]", where, i);
        code =
            parse_op(p, op != NULL ? op : find_operation(own != NULL ? own : ""), at, &v[i], err);
    }
    return code;
}

/* POSIX expressions do not know these abbreviations of RE2. */
static bool translate_regex(const char *s, char *out, size_t size)
{
    size_t n = 0;

    while (*s != '\0') {
        const char *put = NULL;
        size_t len = 1;

        if (s[0] == '\\' && s[1] == 'd') {
            put = "[0-9]";
        } else if (s[0] == '\\' && s[1] == 'w') {
            put = "[0-9A-Za-z_]";
        } else if (s[0] == '\\' && s[1] == 's') {
            put = "[ \t]";
        } else if (strncmp(s, "(?:", 3) == 0) {
            put = "(";
        }
        len = put != NULL ? strlen(put) : 1;
        if (n + len + 2 > size) {
            return false;
        }
        if (put == NULL && s[0] == '\\' && s[1] != '\0') {
            out[n++] = *s++;
        }
        memcpy(out + n, put != NULL ? put : s, len);
        n += len;
        s += put == NULL ? 1 : put[0] == '(' ? 3 : 2;
    }
    out[n] = '\0';
    return true;
}

static vmb_code parse_regex(const vmbi_json *conditions, const char *where, vmbi_modifier_rule *r,
                            vmb_error **err)
{
    const char *text = vmbi_json_get_str(conditions, "resourceNameRegex");
    char posix[2 * VMBI_MODIFIER_TEXT_MAX];

    if (text == NULL || text[0] == '\0') {
        return VMB_OK;
    }
    if (strlen(text) > VMBI_MODIFIER_TEXT_MAX || !translate_regex(text, posix, sizeof(posix)) ||
        regcomp(&r->regex, posix, REG_EXTENDED | REG_NOSUB) != 0) {
        return vmbi_fail(err, VMB_E_INVALID,
                         "%s.conditions.resourceNameRegex: \"%.100s\" is no "
                         "regular expression",
                         where, text);
    }
    r->has_regex = true;
    return VMB_OK;
}

static vmb_code parse_conditions(const vmbi_json *c, const char *where, vmbi_modifier_rule *r,
                                 vmb_error **err)
{
    const vmbi_json *selector = vmbi_json_get(c, "labelSelector");
    const vmbi_json *list = vmbi_json_get(c, "namespaces");
    vmbi_strs namespaces = {0};
    char at[VMBI_MODIFIER_TEXT_MAX];
    vmb_code code = VMB_OK;

    r->group_resource = vmbi_json_get_str(c, "groupResource");
    if (r->group_resource[0] == '\0' || strlen(r->group_resource) > VMBI_MODIFIER_TEXT_MAX) {
        return vmbi_fail(err, VMB_E_INVALID, "%s.conditions.groupResource: is empty or too long",
                         where);
    }
    for (size_t i = 0; i < vmbi_json_len(list) && code == VMB_OK; i++) {
        code = vmbi_strs_add(&namespaces, vmbi_json_str(vmbi_json_at(list, i)), err);
    }
    if (code == VMB_OK) {
        code = vmbi_incexc_init(&r->namespaces, &namespaces, NULL, err);
    }
    vmbi_strs_free(&namespaces);
    if (code == VMB_OK) {
        code = parse_regex(c, where, r, err);
    }
    (void)snprintf(at, sizeof(at), "%s.conditions.labelSelector", where);
    if (code == VMB_OK && !vmbi_json_is_null(selector)) {
        code = vmbi_selector_from_tree(selector, at, &r->selector, err);
    }
    (void)snprintf(at, sizeof(at), "%s.conditions.matches", where);
    return code == VMB_OK
               ? parse_ops(vmbi_json_get(c, "matches"), "test", at, &r->matches, &r->n_matches, err)
               : code;
}

static vmb_code parse_data(const vmbi_json *list, const char *where, vmbi_modifier_rule *r,
                           vmb_error **err)
{
    r->patches = vmbi_json_array();
    if (r->patches == NULL) {
        return vmbi_fail_nomem(err);
    }
    for (size_t i = 0; i < vmbi_json_len(list); i++) {
        const char *text = vmbi_json_get_str(vmbi_json_at(list, i), "patchData");
        vmbi_json *patch = NULL;
        char at[VMBI_MODIFIER_TEXT_MAX];

        (void)snprintf(at, sizeof(at), "%.400s[%zu].patchData", where, i);
        vmb_code code = vmbi_doc_parse(text != NULL ? text : "", text != NULL ? strlen(text) : 0,
                                       at, NULL, &patch, NULL, err);
        if (code == VMB_OK && !vmbi_json_is_object(patch)) {
            vmbi_json_free(patch);
            code = vmbi_fail(err, VMB_E_INVALID, "%s: must be an object", at);
        }
        if (code != VMB_OK) {
            return code == VMB_E_PARSE ? VMB_E_INVALID : code;
        }
        if (!vmbi_json_append(r->patches, patch)) {
            return vmbi_fail_nomem(err);
        }
    }
    return VMB_OK;
}

static vmb_code parse_rule(const vmbi_json *tree, size_t number, vmbi_modifier_rule *r,
                           vmb_error **err)
{
    const vmbi_json *plain = vmbi_json_get(tree, "patches");
    const vmbi_json *merge = vmbi_json_get(tree, "mergePatches");
    const vmbi_json *strategic = vmbi_json_get(tree, "strategicPatches");
    int kinds =
        (vmbi_json_len(plain) > 0) + (vmbi_json_len(merge) > 0) + (vmbi_json_len(strategic) > 0);
    char where[64];
    char at[VMBI_MODIFIER_TEXT_MAX];

    (void)snprintf(where, sizeof(where), "resourceModifierRules[%zu]", number);
    if (kinds != 1) {
        return vmbi_fail(err, VMB_E_INVALID,
                         kinds == 0 ? "%s: no patch data found"
                                    : "%s: only one of patches, mergePatches, strategicPatches can "
                                      "be specified",
                         where);
    }
    vmb_code code = parse_conditions(vmbi_json_get(tree, "conditions"), where, r, err);
    if (code != VMB_OK) {
        return code;
    }
    r->kind = vmbi_json_len(plain) > 0   ? VMBI_MODIFIER_JSON
              : vmbi_json_len(merge) > 0 ? VMBI_MODIFIER_MERGE
                                         : VMBI_MODIFIER_STRATEGIC;
    (void)snprintf(at, sizeof(at), "%s.%s", where,
                   r->kind == VMBI_MODIFIER_JSON    ? "patches"
                   : r->kind == VMBI_MODIFIER_MERGE ? "mergePatches"
                                                    : "strategicPatches");
    if (r->kind == VMBI_MODIFIER_JSON) {
        return parse_ops(plain, NULL, at, &r->ops, &r->n_ops, err);
    }
    return parse_data(r->kind == VMBI_MODIFIER_MERGE ? merge : strategic, at, r, err);
}

static vmb_code parse_rules(vmbi_modifiers *m, vmb_error **err)
{
    const vmbi_json *list = vmbi_json_get(m->doc, "resourceModifierRules");
    const char *version = vmbi_json_get_str(m->doc, "version");
    vmb_code code = VMB_OK;

    if (!vmbi_strcaseeq(version, "v1")) {
        return vmbi_fail(err, VMB_E_INVALID, "version: unsupported resource modifier version %s",
                         version);
    }
    if (vmbi_json_len(list) == 0) {
        return vmbi_fail(err, VMB_E_INVALID,
                         "resourceModifierRules: resource modifier rules cannot be empty");
    }
    m->rules = vmbi_alloc_array(vmbi_json_len(list), sizeof(*m->rules));
    if (m->rules == NULL) {
        return vmbi_fail_nomem(err);
    }
    for (size_t i = 0; i < vmbi_json_len(list) && code == VMB_OK; i++) {
        m->rules[i] = (vmbi_modifier_rule){.kind = VMBI_MODIFIER_JSON};
        m->n++;
        code = parse_rule(vmbi_json_at(list, i), i, &m->rules[i], err);
    }
    return code;
}

vmb_code vmbi_modifiers_parse(const char *text, size_t len, const char *what, vmbi_modifiers **out,
                              vmb_error **err)
{
    vmbi_modifiers *m = vmbi_zalloc(sizeof(*m));
    vmb_code code;

    if (m == NULL) {
        return vmbi_fail_nomem(err);
    }
    code = vmbi_doc_parse(text, len, what, NULL, &m->doc, NULL, err);
    if (code == VMB_OK && !vmbi_json_is_object(m->doc)) {
        code = vmbi_fail(err, VMB_E_INVALID, "must be an object");
    }
    if (code == VMB_OK) {
        code = check_members(m->doc, root_fields, "", err);
    }
    if (code == VMB_OK) {
        code = parse_rules(m, err);
    }
    if (code != VMB_OK) {
        vmbi_modifiers_free(m);
        code = code == VMB_E_PARSE ? VMB_E_INVALID : code;
        return code == VMB_E_NOMEM ? code : vmbi_wrap(err, code, "%s", what);
    }
    *out = m;
    return VMB_OK;
}
