/* SPDX-License-Identifier: Apache-2.0 */
/* Reading and changing fields of a resource by their paths. */
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "model/backup.h"
#include "model/fields.h"

static vmbi_json *child(const vmbi_json *v, const vmbi_path_step *step)
{
    return step->key != NULL ? vmbi_json_get(v, step->key) : vmbi_json_at(v, step->index);
}

vmb_code vmbi_spec_get(const vmb_spec *spec, const char *path, const vmbi_json **out,
                       vmb_error **err)
{
    const vmbi_json *v = spec->root;
    vmbi_path p;
    vmb_code code = vmbi_path_parse_in(vmbi_spec_fields(spec), path, &p, err);

    if (code != VMB_OK) {
        return code;
    }
    for (size_t i = 0; i < p.n && v != NULL; i++) {
        v = child(v, &p.steps[i]);
    }
    if (vmbi_json_is_null(v)) {
        return vmbi_fail(err, VMB_E_NOT_FOUND, "field \"%s\": is not set", path);
    }
    *out = v;
    return VMB_OK;
}

/* ---- changing ------------------------------------------------------------------------------ */

static vmb_code check_parent(const vmbi_json *v, const vmbi_path_step *step, const char *path,
                             vmb_error **err)
{
    if (step->key != NULL && !vmbi_json_is_object(v)) {
        return vmbi_fail(err, VMB_E_INVALID, "field \"%s\": \"%s\" would be below %s", path,
                         step->key, vmbi_json_type_name(v));
    }
    if (step->key == NULL && !vmbi_json_is_array(v)) {
        return vmbi_fail(err, VMB_E_INVALID, "field \"%s\": [%zu] would be below %s", path,
                         step->index, vmbi_json_type_name(v));
    }
    if (step->key == NULL && step->index > vmbi_json_len(v)) {
        return vmbi_fail(err, VMB_E_ARG, "field \"%s\": index %zu, but the list has %zu elements",
                         path, step->index, vmbi_json_len(v));
    }
    return VMB_OK;
}

/* Puts a value at a step of a parent; an index at the end of a list appends. Takes the value. */
static bool put(vmbi_json *parent, const vmbi_path_step *step, vmbi_json *value)
{
    if (step->key != NULL) {
        return vmbi_json_set(parent, step->key, value);
    }
    return step->index < vmbi_json_len(parent) ? vmbi_json_set_at(parent, step->index, value)
                                               : vmbi_json_append(parent, value);
}

/* The value that a path's first n steps lead to; containers that are missing are created. */
static vmb_code descend(vmb_spec *spec, const vmbi_path *p, size_t n, const char *path,
                        vmbi_json **out, vmb_error **err)
{
    vmbi_json *v = spec->root;

    for (size_t i = 0; i < n; i++) {
        vmb_code code = check_parent(v, &p->steps[i], path, err);
        vmbi_json *next;

        if (code != VMB_OK) {
            return code;
        }
        next = child(v, &p->steps[i]);
        if (vmbi_json_is_null(next)) {
            bool list = i + 1 < p->n && p->steps[i + 1].key == NULL;

            if (!put(v, &p->steps[i], list ? vmbi_json_array() : vmbi_json_object())) {
                return vmbi_fail_nomem(err);
            }
            next = child(v, &p->steps[i]);
        }
        v = next;
    }
    *out = v;
    return VMB_OK;
}

static vmb_code set_at(vmb_spec *spec, const char *path, vmbi_json *value, vmb_error **err)
{
    vmbi_json *parent = NULL;
    vmbi_path p;
    vmb_code code = vmbi_path_parse_in(vmbi_spec_fields(spec), path, &p, err);

    if (code == VMB_OK) {
        code = descend(spec, &p, p.n - 1, path, &parent, err);
    }
    if (code == VMB_OK) {
        code = check_parent(parent, &p.steps[p.n - 1], path, err);
    }
    if (code != VMB_OK) {
        vmbi_json_free(value);
        return code;
    }
    return put(parent, &p.steps[p.n - 1], value) ? VMB_OK : vmbi_fail_nomem(err);
}

vmb_code vmbi_spec_set(vmb_spec *spec, const char *path, vmbi_json *value, vmb_error **err)
{
    if (value == NULL) {
        return vmbi_fail_nomem(err);
    }
    return set_at(spec, path, value, err);
}

vmb_code vmbi_spec_append(vmb_spec *spec, const char *path, const char *value, vmb_error **err)
{
    vmbi_json *parent = NULL;
    vmbi_json *list;
    vmbi_path p;
    vmb_code code = vmbi_path_parse_in(vmbi_spec_fields(spec), path, &p, err);

    if (code == VMB_OK && p.type != VMBI_FIELD_STRINGS && p.type != VMBI_FIELD_ANY) {
        code = vmbi_fail(err, VMB_E_ARG, "field \"%s\": takes %s, not a list of strings", path,
                         vmbi_field_type_text(p.type));
    }
    if (code == VMB_OK) {
        code = descend(spec, &p, p.n - 1, path, &parent, err);
    }
    if (code == VMB_OK) {
        code = check_parent(parent, &p.steps[p.n - 1], path, err);
    }
    if (code != VMB_OK) {
        return code;
    }
    list = child(parent, &p.steps[p.n - 1]);
    if (vmbi_json_is_null(list)) {
        if (!put(parent, &p.steps[p.n - 1], vmbi_json_array())) {
            return vmbi_fail_nomem(err);
        }
        list = child(parent, &p.steps[p.n - 1]);
    }
    if (!vmbi_json_is_array(list)) {
        return vmbi_fail(err, VMB_E_INVALID, "field \"%s\": holds %s, not a list", path,
                         vmbi_json_type_name(list));
    }
    return vmbi_json_append_str(list, value) ? VMB_OK : vmbi_fail_nomem(err);
}

vmb_code vmbi_spec_set_entry(vmb_spec *spec, const char *path, const char *key, const char *value,
                             vmb_error **err)
{
    vmbi_json *map = NULL;
    vmbi_path p;
    vmb_code code = vmbi_path_parse_in(vmbi_spec_fields(spec), path, &p, err);

    if (code == VMB_OK && p.type != VMBI_FIELD_MAP) {
        code = vmbi_fail(err, VMB_E_ARG, "field \"%s\": takes %s, not a map of strings", path,
                         vmbi_field_type_text(p.type));
    }
    if (code == VMB_OK) {
        code = descend(spec, &p, p.n, path, &map, err);
    }
    if (code != VMB_OK) {
        return code;
    }
    if (!vmbi_json_is_object(map)) {
        return vmbi_fail(err, VMB_E_INVALID, "field \"%s\": holds %s, not a map", path,
                         vmbi_json_type_name(map));
    }
    return vmbi_json_set_str(map, key, value) ? VMB_OK : vmbi_fail_nomem(err);
}

vmb_code vmbi_spec_unset(vmb_spec *spec, const char *path, vmb_error **err)
{
    vmbi_json *v = spec->root;
    vmbi_path p;
    vmb_code code = vmbi_path_parse_in(vmbi_spec_fields(spec), path, &p, err);

    if (code != VMB_OK) {
        return code;
    }
    for (size_t i = 0; i + 1 < p.n && v != NULL; i++) {
        v = child(v, &p.steps[i]);
    }
    const vmbi_path_step *last = &p.steps[p.n - 1];
    if (v == NULL || child(v, last) == NULL) {
        return VMB_OK;
    }
    if (last->key != NULL) {
        vmbi_json_del(v, last->key);
    } else {
        vmbi_json_del_at(v, last->index);
    }
    return VMB_OK;
}
