/* SPDX-License-Identifier: Apache-2.0 */
/* spec.h: argument and type checks, then model/backup.c. */
#include <vmbackup/spec.h>

#include <string.h>

#include "base/error.h"
#include "base/strs.h"
#include "codec/duration.h"
#include "model/backup.h"
#include "model/fields.h"
#include "model/restore.h"

enum { VALUE_MAX_BYTES = 1024 * 1024 };

static vmb_code missing(vmb_error **err, const char *function)
{
    return vmbi_fail(err, VMB_E_ARG, "%s: an argument is NULL", function);
}

static vmb_code check_utf8(const char *s, const char *what, vmb_error **err)
{
    if (!vmbi_utf8_valid(s, strlen(s))) {
        return vmbi_fail(err, VMB_E_ARG, "%s: is not UTF-8", what);
    }
    return VMB_OK;
}

/* ---- life ---------------------------------------------------------------------------------- */

vmb_code vmb_spec_new(const char *name, vmb_spec **out, vmb_error **err)
{
    if (out == NULL) {
        return missing(err, "vmb_spec_new");
    }
    *out = NULL;
    if (name != NULL && check_utf8(name, "vmb_spec_new: name", err) != VMB_OK) {
        return VMB_E_ARG;
    }
    return vmbi_spec_new(name, out, err);
}

vmb_code vmb_spec_new_restore(const char *name, const char *backup, vmb_spec **out, vmb_error **err)
{
    if (out == NULL) {
        return missing(err, "vmb_spec_new_restore");
    }
    *out = NULL;
    if ((name != NULL && check_utf8(name, "vmb_spec_new_restore: name", err) != VMB_OK) ||
        (backup != NULL && check_utf8(backup, "vmb_spec_new_restore: backup", err) != VMB_OK)) {
        return VMB_E_ARG;
    }
    return vmbi_spec_new_restore(name, backup, out, err);
}

const char *vmb_spec_kind(const vmb_spec *spec)
{
    return spec != NULL ? vmbi_spec_kind(spec) : "";
}

vmb_code vmb_spec_parse(const char *doc, size_t len, const char *source, vmb_spec **out,
                        vmb_error **err)
{
    if (doc == NULL || out == NULL) {
        return missing(err, "vmb_spec_parse");
    }
    *out = NULL;
    return vmbi_spec_parse(doc, len, source, out, err);
}

vmb_code vmb_spec_clone(const vmb_spec *spec, vmb_spec **out, vmb_error **err)
{
    if (spec == NULL || out == NULL) {
        return missing(err, "vmb_spec_clone");
    }
    *out = NULL;
    return vmbi_spec_clone(spec, out, err);
}

void vmb_spec_free(vmb_spec *spec)
{
    vmbi_spec_free(spec);
}

vmb_code vmb_spec_validate(const vmb_spec *spec, char **report, size_t *report_len, vmb_error **err)
{
    vmbi_problems problems = {0};
    vmb_code code;

    if (spec == NULL) {
        return missing(err, "vmb_spec_validate");
    }
    code = vmbi_spec_validate(spec, &problems, err);
    if (code == VMB_OK && report != NULL) {
        code = vmbi_problems_to_json(&problems, report, report_len, err);
    }
    if (code == VMB_OK) {
        code = vmbi_problems_check(&problems, spec->source, err);
    }
    vmbi_problems_free(&problems);
    return code;
}

vmb_code vmb_spec_to_json(const vmb_spec *spec, char **out, size_t *out_len, vmb_error **err)
{
    if (spec == NULL || out == NULL) {
        return missing(err, "vmb_spec_to_json");
    }
    return vmbi_json_to_text(vmbi_spec_root(spec), out, out_len, err);
}

/* ---- reading ------------------------------------------------------------------------------- */

static vmb_code wrong_value(const vmbi_json *v, const char *path, const char *wanted,
                            vmb_error **err)
{
    return vmbi_fail(err, VMB_E_INVALID, "field \"%s\": is of type %s, not %s", path,
                     vmbi_json_type_name(v), wanted);
}

vmb_code vmb_spec_get_string(const vmb_spec *spec, const char *path, const char **out,
                             vmb_error **err)
{
    const vmbi_json *v = NULL;
    vmb_code code;

    if (spec == NULL || path == NULL || out == NULL) {
        return missing(err, "vmb_spec_get_string");
    }
    code = vmbi_spec_get(spec, path, &v, err);
    if (code != VMB_OK) {
        return code;
    }
    if (!vmbi_json_is_string(v)) {
        return wrong_value(v, path, "a string", err);
    }
    *out = vmbi_json_str(v);
    return VMB_OK;
}

vmb_code vmb_spec_get_bool(const vmb_spec *spec, const char *path, int32_t *out, vmb_error **err)
{
    const vmbi_json *v = NULL;
    vmb_code code;

    if (spec == NULL || path == NULL || out == NULL) {
        return missing(err, "vmb_spec_get_bool");
    }
    code = vmbi_spec_get(spec, path, &v, err);
    if (code != VMB_OK) {
        return code;
    }
    if (!vmbi_json_is_bool(v)) {
        return wrong_value(v, path, "a boolean", err);
    }
    *out = vmbi_json_bool(v, false) ? 1 : 0;
    return VMB_OK;
}

vmb_code vmb_spec_get_int(const vmb_spec *spec, const char *path, int64_t *out, vmb_error **err)
{
    const vmbi_json *v = NULL;
    vmb_code code;

    if (spec == NULL || path == NULL || out == NULL) {
        return missing(err, "vmb_spec_get_int");
    }
    code = vmbi_spec_get(spec, path, &v, err);
    if (code != VMB_OK) {
        return code;
    }
    if (!vmbi_json_is_int(v)) {
        return wrong_value(v, path, "an integer", err);
    }
    *out = vmbi_json_int(v, 0);
    return VMB_OK;
}

vmb_code vmb_spec_get_duration_ns(const vmb_spec *spec, const char *path, int64_t *out,
                                  vmb_error **err)
{
    const char *text = NULL;
    int64_t ns = 0;
    vmb_code code;

    if (spec == NULL || path == NULL || out == NULL) {
        return missing(err, "vmb_spec_get_duration_ns");
    }
    code = vmb_spec_get_string(spec, path, &text, err);
    if (code != VMB_OK) {
        return code;
    }
    if (!vmbi_duration_parse(text, &ns)) {
        return vmbi_fail(err, VMB_E_INVALID, "field \"%s\": \"%.80s\" is no duration", path, text);
    }
    *out = ns;
    return VMB_OK;
}

vmb_code vmb_spec_get_count(const vmb_spec *spec, const char *path, size_t *out, vmb_error **err)
{
    const vmbi_json *v = NULL;
    vmb_error *why = NULL;
    vmb_code code;

    if (spec == NULL || path == NULL || out == NULL) {
        return missing(err, "vmb_spec_get_count");
    }
    code = vmbi_spec_get(spec, path, &v, &why);
    if (code == VMB_E_NOT_FOUND) {
        vmb_error_free(why);
        *out = 0;
        return VMB_OK;
    }
    if (code != VMB_OK) {
        vmbi_error_move(err, &why);
        return code;
    }
    if (!vmbi_json_is_array(v) && !vmbi_json_is_object(v)) {
        return wrong_value(v, path, "a list or map", err);
    }
    *out = vmbi_json_len(v);
    return VMB_OK;
}

vmb_code vmb_spec_get_json(const vmb_spec *spec, const char *path, char **out, size_t *out_len,
                           vmb_error **err)
{
    const vmbi_json *v = NULL;
    vmb_code code;

    if (spec == NULL || path == NULL || out == NULL) {
        return missing(err, "vmb_spec_get_json");
    }
    code = vmbi_spec_get(spec, path, &v, err);
    return code == VMB_OK ? vmbi_json_to_text(v, out, out_len, err) : code;
}

/* ---- changing ------------------------------------------------------------------------------ */

/* Does the field at the path take values of the type? A setter of the wrong type is a mistake in
 * the program, not in its data. */
static vmb_code check_type(const vmb_spec *spec, const char *path, vmbi_field_type type,
                           vmb_error **err)
{
    vmbi_path p;
    vmb_code code = vmbi_path_parse_in(vmbi_spec_fields(spec), path, &p, err);

    if (code != VMB_OK) {
        return code;
    }
    if (p.type == type || p.type == VMBI_FIELD_ANY ||
        (p.type == VMBI_FIELD_DURATION && type == VMBI_FIELD_STRING)) {
        return VMB_OK;
    }
    return vmbi_fail(err, VMB_E_ARG, "field \"%s\": takes %s, not %s", path,
                     vmbi_field_type_text(p.type), vmbi_field_type_text(type));
}

vmb_code vmb_spec_set_string(vmb_spec *spec, const char *path, const char *value, vmb_error **err)
{
    vmb_code code;

    if (spec == NULL || path == NULL || value == NULL) {
        return missing(err, "vmb_spec_set_string");
    }
    code = check_type(spec, path, VMBI_FIELD_STRING, err);
    if (code == VMB_OK) {
        code = check_utf8(value, path, err);
    }
    return code == VMB_OK ? vmbi_spec_set(spec, path, vmbi_json_string(value), err) : code;
}

vmb_code vmb_spec_set_bool(vmb_spec *spec, const char *path, int32_t value, vmb_error **err)
{
    vmb_code code;

    if (spec == NULL || path == NULL) {
        return missing(err, "vmb_spec_set_bool");
    }
    code = check_type(spec, path, VMBI_FIELD_BOOL, err);
    return code == VMB_OK ? vmbi_spec_set(spec, path, vmbi_json_boolean(value != 0), err) : code;
}

vmb_code vmb_spec_set_int(vmb_spec *spec, const char *path, int64_t value, vmb_error **err)
{
    vmb_code code;

    if (spec == NULL || path == NULL) {
        return missing(err, "vmb_spec_set_int");
    }
    code = check_type(spec, path, VMBI_FIELD_INT, err);
    return code == VMB_OK ? vmbi_spec_set(spec, path, vmbi_json_integer(value), err) : code;
}

vmb_code vmb_spec_set_duration_ns(vmb_spec *spec, const char *path, int64_t value, vmb_error **err)
{
    char text[VMBI_DURATION_SIZE];
    vmb_code code;

    if (spec == NULL || path == NULL) {
        return missing(err, "vmb_spec_set_duration_ns");
    }
    if (value < 0) {
        return vmbi_fail(err, VMB_E_ARG, "field \"%s\": a duration cannot be negative", path);
    }
    code = check_type(spec, path, VMBI_FIELD_DURATION, err);
    if (code != VMB_OK) {
        return code;
    }
    vmbi_duration_format(value, text);
    return vmbi_spec_set(spec, path, vmbi_json_string(text), err);
}

vmb_code vmb_spec_add_string(vmb_spec *spec, const char *path, const char *value, vmb_error **err)
{
    vmb_code code;

    if (spec == NULL || path == NULL || value == NULL) {
        return missing(err, "vmb_spec_add_string");
    }
    code = check_utf8(value, path, err);
    return code == VMB_OK ? vmbi_spec_append(spec, path, value, err) : code;
}

vmb_code vmb_spec_set_entry(vmb_spec *spec, const char *path, const char *key, const char *value,
                            vmb_error **err)
{
    vmb_code code;

    if (spec == NULL || path == NULL || key == NULL || value == NULL) {
        return missing(err, "vmb_spec_set_entry");
    }
    code = check_utf8(key, path, err);
    if (code == VMB_OK) {
        code = check_utf8(value, path, err);
    }
    return code == VMB_OK ? vmbi_spec_set_entry(spec, path, key, value, err) : code;
}

vmb_code vmb_spec_set_json(vmb_spec *spec, const char *path, const char *doc, size_t len,
                           vmb_error **err)
{
    vmbi_path p;
    vmbi_json *value = NULL;
    vmb_code code;

    if (spec == NULL || path == NULL || doc == NULL) {
        return missing(err, "vmb_spec_set_json");
    }
    code = vmbi_path_parse_in(vmbi_spec_fields(spec), path, &p, err);
    if (code != VMB_OK) {
        return code;
    }
    if (len > VALUE_MAX_BYTES) {
        return vmbi_fail(err, VMB_E_LIMIT, "field \"%s\": a value has at most %d bytes", path,
                         VALUE_MAX_BYTES);
    }
    code = vmbi_doc_parse(doc, len, path, NULL, &value, NULL, err);
    return code == VMB_OK ? vmbi_spec_set(spec, path, value, err) : code;
}

vmb_code vmb_spec_unset(vmb_spec *spec, const char *path, vmb_error **err)
{
    if (spec == NULL || path == NULL) {
        return missing(err, "vmb_spec_unset");
    }
    return vmbi_spec_unset(spec, path, err);
}
