/* SPDX-License-Identifier: Apache-2.0 */
/* Validation of a Backup or Restore: types, unknown members and missing ones, by the table of fields.
 *
 * An unknown member of spec is an error. Kubernetes drops such members, which for a backup means
 * that a misspelt filter is ignored without a word. Unknown members of metadata are warned about.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/strs.h"
#include "model/doc_hint.h"
#include "model/validate_impl.h"

/* ---- the path ------------------------------------------------------------------------------ */

static size_t extend(vmbi_checker *c, const char *before, const char *text, const char *after)
{
    size_t len = c->len;
    int n = snprintf(c->path + len, sizeof(c->path) - len, "%s%s%s", before, text, after);

    if (n > 0 && (size_t)n < sizeof(c->path) - len) {
        c->len += (size_t)n;
    } else {
        c->path[len] = '\0'; /* too long to name: problems are reported at the parent */
    }
    return len;
}

size_t vmbi_check_enter(vmbi_checker *c, const char *key)
{
    if (key[0] == '\0' || strpbrk(key, ".[]\"") != NULL) {
        return extend(c, "[\"", key, "\"]");
    }
    return extend(c, c->len > 0 ? "." : "", key, "");
}

size_t vmbi_check_enter_index(vmbi_checker *c, size_t index)
{
    char text[24];

    (void)snprintf(text, sizeof(text), "%zu", index);
    return extend(c, "[", text, "]");
}

void vmbi_check_leave(vmbi_checker *c, size_t len)
{
    c->len = len;
    c->path[len] = '\0';
}

static void VMBI_PRINTF(4, 0)
    report(vmbi_checker *c, bool is_error, const char *remedy, const char *fmt, va_list args)
{
    char text[768];

    (void)vsnprintf(text, sizeof(text), fmt, args);
    vmbi_problems_add(c->p, is_error, c->path, remedy, "%s", text);
}

void vmbi_check_error(vmbi_checker *c, const char *remedy, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    report(c, true, remedy, fmt, args);
    va_end(args);
}

void vmbi_check_warning(vmbi_checker *c, const char *remedy, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    report(c, false, remedy, fmt, args);
    va_end(args);
}

/* ---- wrong types --------------------------------------------------------------------------- */

#define CALLOUT "the number looks like a callout of a documentation page: delete it"
#define MATCH_LABELS                                                                               \
    "write each label as \"key: value\" on a line of its own below matchLabels (app: web). One "   \
    "key cannot have several values: for \"any of these\" use matchExpressions with operator In, " \
    "or one orLabelSelectors item for each value"

static const char *remedy_for_text(vmbi_field_type want, const char *text)
{
    const char *hint = vmbi_value_hint(text);
    bool b;
    int64_t i;

    if (want == VMBI_FIELD_MAP) {
        return strchr(text, '=') != NULL
                   ? MATCH_LABELS
                   : "write each entry as \"key: value\" on a line of its own";
    }
    if (hint != NULL) {
        return hint;
    }
    if (want == VMBI_FIELD_BOOL) {
        return vmbi_parse_bool(text, &b) ? "write it without quotes" : "write true or false";
    }
    if (want == VMBI_FIELD_INT && vmbi_parse_i64(text, strlen(text), &i)) {
        return "write it without quotes";
    }
    if (want == VMBI_FIELD_STRINGS || want == VMBI_FIELD_OBJECTS) {
        return "write a list: each element on a line of its own, after \"- \"";
    }
    return NULL;
}

static const char *remedy_for_type(vmbi_field_type want, const vmbi_json *v)
{
    bool scalar_wanted = want == VMBI_FIELD_STRING || want == VMBI_FIELD_DURATION;

    if (vmbi_json_is_string(v)) {
        return remedy_for_text(want, vmbi_json_str(v));
    }
    if (want == VMBI_FIELD_DURATION && vmbi_json_is_int(v)) {
        return "give a unit: 720h, 10m, 30s";
    }
    if (scalar_wanted && !vmbi_json_is_object(v) && !vmbi_json_is_array(v)) {
        return "put the value in quotes";
    }
    if (vmbi_json_is_int(v) && !scalar_wanted && want != VMBI_FIELD_BOOL) {
        return CALLOUT;
    }
    if (vmbi_json_is_array(v) && (want == VMBI_FIELD_MAP || want == VMBI_FIELD_OBJECT)) {
        return "write \"key: value\" lines without \"- \" before them";
    }
    if (vmbi_json_is_object(v) && (want == VMBI_FIELD_STRINGS || want == VMBI_FIELD_OBJECTS)) {
        return "begin each element of the list with \"- \"";
    }
    return NULL;
}

static void wrong_type(vmbi_checker *c, const vmbi_json *v, vmbi_field_type want)
{
    const char *text = vmbi_json_str(v);
    const char *remedy = remedy_for_type(want, v);

    if (text != NULL) {
        vmbi_check_error(c, remedy, "must be %s, not the text \"%.80s\"",
                         vmbi_field_type_text(want), text);
    } else {
        vmbi_check_error(c, remedy, "must be %s, not of type %s", vmbi_field_type_text(want),
                         vmbi_json_type_name(v));
    }
}

/* ---- members ------------------------------------------------------------------------------- */

/* "metadata.labels.velero.io/x" written as one key at the top level: shows it nested. */
static bool dotted_remedy(const vmbi_field *root, const char *key, char *out, size_t size)
{
    vmbi_path path;
    size_t used = 0;

    if (strchr(key, '.') == NULL || vmbi_path_parse_in(root, key, &path, NULL) != VMB_OK) {
        return false;
    }
    used = (size_t)snprintf(out, size, "write it nested, each name on a line of its own:");
    for (size_t i = 0; i < path.n && used < size; i++) {
        const vmbi_path_step *s = &path.steps[i];

        if (s->key != NULL) {
            used += (size_t)snprintf(out + used, size - used, " %s:", s->key);
        }
    }
    return true;
}

static void unknown_member(vmbi_checker *c, const char *key, const vmbi_field *members)
{
    /* documents that are no resources have no table of their kind */
    const vmbi_field *root = c->root != NULL ? c->root->members : NULL;
    const vmbi_field *spec = root != NULL ? vmbi_fields_find(root, "spec") : NULL;
    const char *nearest = vmbi_fields_nearest(members, key);
    bool top = root != NULL && members == root;
    bool in_metadata = vmbi_starts_with(c->path, "metadata.");
    char remedy[512] = "";

    if (top && dotted_remedy(c->root, key, remedy, sizeof(remedy))) {
        /* said already */
    } else if (top && spec != NULL && vmbi_fields_find(spec->members, key) != NULL) {
        (void)snprintf(remedy, sizeof(remedy), "it belongs below spec: indent it");
    } else if (nearest != NULL) {
        (void)snprintf(remedy, sizeof(remedy), "did you mean %s?", nearest);
    } else if (strchr(key, '=') != NULL) {
        (void)snprintf(remedy, sizeof(remedy), "write \"key: value\", not \"key=value\"");
    }
    if (in_metadata) {
        vmbi_check_warning(c, remedy, "is no field that Velero 1.18 knows");
    } else {
        vmbi_check_error(c, remedy, "is no field that Velero 1.18 knows");
    }
}

static void check_object(vmbi_checker *c, const vmbi_json *v, const vmbi_field *members)
{
    for (void *it = vmbi_json_iter(v); it != NULL; it = vmbi_json_iter_next(v, it)) {
        const char *key = vmbi_json_iter_key(it);
        const vmbi_field *f = vmbi_fields_find(members, key);
        size_t mark = vmbi_check_enter(c, key);

        if (f == NULL) {
            unknown_member(c, key, members);
        } else {
            vmbi_check_type(c, vmbi_json_iter_value(it), f);
        }
        vmbi_check_leave(c, mark);
    }
    for (const vmbi_field *f = members; f->name != NULL; f++) {
        if ((f->flags & VMBI_FIELD_REQUIRED) != 0 && vmbi_json_get(v, f->name) == NULL) {
            size_t mark = vmbi_check_enter(c, f->name);

            vmbi_check_error(c, NULL, "is missing");
            vmbi_check_leave(c, mark);
        }
    }
}

static void check_map(vmbi_checker *c, const vmbi_json *v)
{
    for (void *it = vmbi_json_iter(v); it != NULL; it = vmbi_json_iter_next(v, it)) {
        const vmbi_json *value = vmbi_json_iter_value(it);
        size_t mark = vmbi_check_enter(c, vmbi_json_iter_key(it));

        if (vmbi_json_is_null(value)) {
            vmbi_check_error(c, "write \"\" for an empty value", "has no value");
        } else if (!vmbi_json_is_string(value)) {
            wrong_type(c, value, VMBI_FIELD_STRING);
        }
        vmbi_check_leave(c, mark);
    }
}

static void check_elements(vmbi_checker *c, const vmbi_json *v, const vmbi_field *field)
{
    for (size_t i = 0; i < vmbi_json_len(v); i++) {
        const vmbi_json *element = vmbi_json_at(v, i);
        size_t mark = vmbi_check_enter_index(c, i);

        if (field->type == VMBI_FIELD_STRINGS && !vmbi_json_is_string(element)) {
            wrong_type(c, element, VMBI_FIELD_STRING);
        } else if (field->type == VMBI_FIELD_OBJECTS && !vmbi_json_is_object(element)) {
            wrong_type(c, element, VMBI_FIELD_OBJECT);
        } else if (field->type == VMBI_FIELD_OBJECTS) {
            check_object(c, element, field->members);
        }
        vmbi_check_leave(c, mark);
    }
}

static bool type_fits(const vmbi_json *v, vmbi_field_type type)
{
    switch (type) {
    case VMBI_FIELD_STRING:
    case VMBI_FIELD_DURATION:
        return vmbi_json_is_string(v);
    case VMBI_FIELD_BOOL:
        return vmbi_json_is_bool(v);
    case VMBI_FIELD_INT:
        return vmbi_json_is_int(v);
    case VMBI_FIELD_STRINGS:
    case VMBI_FIELD_OBJECTS:
        return vmbi_json_is_array(v);
    case VMBI_FIELD_MAP:
    case VMBI_FIELD_OBJECT:
        return vmbi_json_is_object(v);
    case VMBI_FIELD_ANY:
        break;
    }
    return true;
}

static void null_value(vmbi_checker *c, const vmbi_field *field)
{
    bool list = field->type == VMBI_FIELD_OBJECTS || field->type == VMBI_FIELD_STRINGS;

    vmbi_check_error(
        c, list ? "leave the field out, or write []" : "leave the field out, or give it a value",
        "must be %s, but has no value", vmbi_field_type_text(field->type));
}

void vmbi_check_type(vmbi_checker *c, const vmbi_json *v, const vmbi_field *field)
{
    if (vmbi_json_is_null(v)) {
        if ((field->flags & VMBI_FIELD_NULLABLE) == 0) {
            null_value(c, field);
        }
        return;
    }
    if (!type_fits(v, field->type)) {
        wrong_type(c, v, field->type);
        return;
    }
    if (field->type == VMBI_FIELD_OBJECT) {
        check_object(c, v, field->members);
    } else if (field->type == VMBI_FIELD_MAP) {
        check_map(c, v);
    } else if (field->type == VMBI_FIELD_STRINGS || field->type == VMBI_FIELD_OBJECTS) {
        check_elements(c, v, field);
    }
}

/* ---- the whole ----------------------------------------------------------------------------- */

static void add_notes(vmbi_checker *c, const vmbi_problems *notes)
{
    for (size_t i = 0; notes != NULL && i < notes->n; i++) {
        const vmbi_problem *n = &notes->v[i];

        vmbi_problems_add_at(c->p, n->is_error, n->line, n->column, n->field, n->remedy, "%s",
                             n->message);
    }
}

static void check_head(vmbi_checker *c, const vmbi_json *root)
{
    const char *version = vmbi_json_get_str(root, "apiVersion");
    const char *kind = vmbi_json_get_str(root, "kind");
    char remedy[32];
    size_t mark;

    if (version != NULL && strcmp(version, "velero.io/v1") != 0) {
        mark = vmbi_check_enter(c, "apiVersion");
        vmbi_check_error(c, "write velero.io/v1", "\"%.80s\" is not the version of a %s", version,
                         c->kind);
        vmbi_check_leave(c, mark);
    }
    if (kind != NULL && strcmp(kind, c->kind) != 0) {
        mark = vmbi_check_enter(c, "kind");
        (void)snprintf(remedy, sizeof(remedy), "write %s", c->kind);
        vmbi_check_error(c, remedy, "\"%.80s\" is not a %s", kind, c->kind);
        vmbi_check_leave(c, mark);
    }
}

static vmb_code validate(const vmb_spec *spec, bool restore, vmbi_problems *p, vmb_error **err)
{
    vmbi_checker c = {
        .p = p,
        .root = restore ? &vmbi_restore_fields : &vmbi_backup_fields,
        .kind = restore ? "Restore" : "Backup",
    };
    const vmbi_json *content = vmbi_json_get(spec->root, "spec");

    p->places = spec->places;
    add_notes(&c, vmbi_spec_notes(spec));
    vmbi_check_type(&c, spec->root, c.root);
    check_head(&c, spec->root);
    vmbi_check_metadata(&c, spec->root);
    if (vmbi_json_is_object(content)) {
        size_t mark = vmbi_check_enter(&c, "spec");

        if (restore) {
            vmbi_check_restore(&c, content);
        } else {
            vmbi_check_spec(&c, content);
            vmbi_check_hooks(&c, content);
        }
        vmbi_check_leave(&c, mark);
    }
    p->places = NULL;
    vmbi_problems_sort(p);
    return p->status == VMB_E_NOMEM ? vmbi_fail_nomem(err) : VMB_OK;
}

vmb_code vmbi_spec_validate(const vmb_spec *spec, vmbi_problems *p, vmb_error **err)
{
    return validate(spec, vmbi_spec_is_restore(spec), p, err);
}

vmb_code vmbi_backup_validate(const vmb_spec *spec, vmbi_problems *p, vmb_error **err)
{
    return validate(spec, false, p, err);
}
