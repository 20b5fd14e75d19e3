/* SPDX-License-Identifier: Apache-2.0 */
/* Paths of fields, checked against the table while they are read. */
#include <string.h>

#include "base/error.h"
#include "base/strs.h"
#include "model/fields.h"

typedef struct path_reader {
    const char *path; /* as given, for messages */
    vmbi_path *out;
    char *p;                   /* what is left of out->text */
    vmbi_field_type type;      /* of what has been reached */
    const vmbi_field *members; /* of it */
    vmb_error **err;
} path_reader;

static vmb_code unknown_field(const path_reader *r, const char *name)
{
    const char *nearest = vmbi_fields_nearest(r->members, name);

    if (nearest != NULL) {
        return vmbi_fail(r->err, VMB_E_ARG, "field \"%s\": \"%s\" is unknown, did you mean \"%s\"?",
                         r->path, name, nearest);
    }
    return vmbi_fail(r->err, VMB_E_ARG, "field \"%s\": \"%s\" is unknown", r->path, name);
}

static vmb_code push(path_reader *r, const char *key, size_t index)
{
    if (r->out->n == VMBI_PATH_MAX_STEPS) {
        return vmbi_fail(r->err, VMB_E_ARG, "field \"%.100s…\": too many steps", r->path);
    }
    r->out->steps[r->out->n++] = (vmbi_path_step){key, index};
    return VMB_OK;
}

/* Goes down to a member of the object reached, or to an entry of the map reached. */
static vmb_code enter_key(path_reader *r, const char *key)
{
    if (r->type == VMBI_FIELD_OBJECT) {
        const vmbi_field *f = vmbi_fields_find(r->members, key);

        if (f == NULL) {
            return unknown_field(r, key);
        }
        r->type = f->type;
        r->members = f->members;
    } else if (r->type == VMBI_FIELD_MAP) {
        r->type = VMBI_FIELD_STRING;
    } else if (r->type != VMBI_FIELD_ANY) {
        return vmbi_fail(r->err, VMB_E_ARG, "field \"%s\": \"%s\" cannot be a member of %s",
                         r->path, key, vmbi_field_type_text(r->type));
    }
    return push(r, key, 0);
}

static vmb_code enter_index(path_reader *r, uint64_t index)
{
    if (r->type == VMBI_FIELD_OBJECTS) {
        r->type = VMBI_FIELD_OBJECT;
    } else if (r->type == VMBI_FIELD_STRINGS) {
        r->type = VMBI_FIELD_STRING;
    } else if (r->type != VMBI_FIELD_ANY) {
        return vmbi_fail(r->err, VMB_E_ARG, "field \"%s\": an index needs a list, not %s", r->path,
                         vmbi_field_type_text(r->type));
    }
    return push(r, NULL, (size_t)index);
}

/* "[3]" or "[\"key\"]"; r->p stands behind '['. */
static vmb_code read_bracket(path_reader *r)
{
    char *start = r->p;
    char *close;
    uint64_t index;

    if (*start == '"') {
        close = strstr(start + 1, "\"]");
        if (close == NULL) {
            return vmbi_fail(r->err, VMB_E_ARG, "field \"%s\": '[\"' without '\"]'", r->path);
        }
        *close = '\0';
        r->p = close + 2;
        return enter_key(r, start + 1);
    }
    close = strchr(start, ']');
    if (close == NULL || !vmbi_parse_u64(start, (size_t)(close - start), &index) ||
        index > UINT32_MAX) {
        return vmbi_fail(r->err, VMB_E_ARG, "field \"%s\": '[…]' needs a number or a quoted key",
                         r->path);
    }
    r->p = close + 1;
    return enter_index(r, index);
}

/* The key at r->p, ended in place. The byte that ended it is returned through *end. Keys of maps
 * have dots of their own: they reach to the end of the path. */
static char *read_key(path_reader *r, char *end)
{
    char *start = r->p;
    size_t len = r->type == VMBI_FIELD_MAP ? strlen(start) : strcspn(start, ".[");

    *end = start[len];
    r->p = *end != '\0' ? start + len + 1 : start + len;
    start[len] = '\0';
    return start;
}

static vmb_code read_steps(path_reader *r)
{
    char next = '.';

    for (;;) {
        vmb_code code;

        if (next == '[') {
            code = read_bracket(r);
            if (code != VMB_OK) {
                return code;
            }
            next = *r->p;
            r->p += next != '\0' ? 1 : 0;
        } else if (next == '.') {
            char *key = read_key(r, &next);

            if (key[0] == '\0') {
                return vmbi_fail(r->err, VMB_E_ARG, "field \"%s\": a name is missing", r->path);
            }
            code = enter_key(r, key);
            if (code != VMB_OK) {
                return code;
            }
        } else if (next == '\0') {
            r->out->type = r->type;
            return VMB_OK;
        } else {
            return vmbi_fail(r->err, VMB_E_ARG, "field \"%s\": '.' or '[' is missing after ']'",
                             r->path);
        }
    }
}

vmb_code vmbi_path_parse_in(const vmbi_field *root, const char *path, vmbi_path *out,
                            vmb_error **err)
{
    size_t len = strlen(path);
    path_reader r = {.path = path,
                     .out = out,
                     .p = out->text,
                     .type = root->type,
                     .members = root->members,
                     .err = err};

    if (len >= sizeof(out->text)) {
        return vmbi_fail(err, VMB_E_ARG, "field \"%.100s…\": the path is longer than %d bytes",
                         path, VMBI_PATH_MAX_BYTES - 1);
    }
    memcpy(out->text, path, len + 1);
    out->n = 0;
    return read_steps(&r);
}

vmb_code vmbi_path_parse(const char *path, vmbi_path *out, vmb_error **err)
{
    return vmbi_path_parse_in(&vmbi_backup_fields, path, out, err);
}
