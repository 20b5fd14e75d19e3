/* SPDX-License-Identifier: Apache-2.0 */
#include "model/jsonpatch.h"

#include <string.h>

#include "base/error.h"

enum {
    TOKEN_MAX = 1024,
    NODE_BYTES = 16,                    /* what a value counts besides its text */
    RESULT_MAX_BYTES = 16 * 1024 * 1024 /* etcd takes objects of 1.5 MiB */
};

typedef struct pointer {
    vmbi_json *parent; /* NULL: the document itself is meant */
    char token[TOKEN_MAX];
} pointer;

static vmb_code missing(const vmbi_jsonpatch_op *op, const char *path, vmbi_jsonpatch_end *end,
                        vmb_error **err)
{
    *end = VMBI_JSONPATCH_MISSING;
    return vmbi_fail(err, VMB_E_INVALID, "%s operation does not apply: doc is missing path: \"%s\"",
                     op->op, path);
}

/* The next token of a pointer, unescaped; false when it is too long or malformed. */
static bool next_token(const char **p, char out[TOKEN_MAX])
{
    size_t n = 0;

    for ((*p)++; **p != '\0' && **p != '/'; (*p)++) {
        char c = **p;

        if (c == '~') {
            (*p)++;
            if (**p != '0' && **p != '1') {
                return false;
            }
            c = **p == '0' ? '~' : '/';
        }
        if (n + 1 >= TOKEN_MAX) {
            return false;
        }
        out[n++] = c;
    }
    out[n] = '\0';
    return true;
}

/* Index of an element; `size` elements may be named, `size` itself too when adding. */
static bool find_index(const char *token, size_t size, bool adding, size_t *out)
{
    int64_t n = 0;

    if (adding && strcmp(token, "-") == 0) {
        *out = size;
        return true;
    }
    if (!vmbi_parse_i64(token, strlen(token), &n)) {
        return false;
    }
    if (n < 0) {
        n += (int64_t)size + (adding ? 1 : 0);
    }
    if (n < 0 || (uint64_t)n > size || ((uint64_t)n == size && !adding)) {
        return false;
    }
    *out = (size_t)n;
    return true;
}

static vmbi_json *child(const vmbi_json *v, const char *token)
{
    size_t i = 0;

    if (vmbi_json_is_object(v)) {
        return vmbi_json_get(v, token);
    }
    return vmbi_json_is_array(v) && find_index(token, vmbi_json_len(v), false, &i)
               ? vmbi_json_at(v, i)
               : NULL;
}

/* Leads to the parent of what a pointer names. */
static vmb_code resolve(vmbi_json *doc, const vmbi_jsonpatch_op *op, const char *path, pointer *out,
                        vmbi_jsonpatch_end *end, vmb_error **err)
{
    const char *p = path;

    out->parent = NULL;
    out->token[0] = '\0';
    if (path[0] != '\0' && path[0] != '/') {
        return missing(op, path, end, err);
    }
    while (*p == '/') {
        out->parent = out->parent == NULL ? doc : child(out->parent, out->token);
        if (out->parent == NULL || !next_token(&p, out->token)) {
            return missing(op, path, end, err);
        }
    }
    return VMB_OK;
}

static vmbi_json *look(vmbi_json *doc, const pointer *at)
{
    return at->parent == NULL ? doc : child(at->parent, at->token);
}

/* Puts an element before position i. Takes v. */
static bool insert(vmbi_json *arr, size_t i, vmbi_json *v)
{
    size_t n = vmbi_json_len(arr);
    bool ok = vmbi_json_append(arr, v);

    for (size_t k = n; ok && k > i; k--) {
        vmbi_json *before = vmbi_json_ref(vmbi_json_at(arr, k - 1));
        vmbi_json *last = vmbi_json_ref(vmbi_json_at(arr, k));

        ok = vmbi_json_set_at(arr, k, before);
        ok = vmbi_json_set_at(arr, k - 1, last) && ok;
    }
    return ok;
}

/* Takes value. */
static vmb_code add(vmbi_json **doc, const vmbi_jsonpatch_op *op, vmbi_json *value,
                    vmbi_jsonpatch_end *end, vmb_error **err)
{
    pointer at;
    size_t i = 0;
    vmb_code code = resolve(*doc, op, op->path, &at, end, err);

    if (code != VMB_OK || value == NULL) {
        vmbi_json_free(value);
        return code != VMB_OK ? code : vmbi_fail_nomem(err);
    }
    if (at.parent == NULL) {
        vmbi_json_free(*doc);
        *doc = value;
        return VMB_OK;
    }
    if (vmbi_json_is_object(at.parent)) {
        return vmbi_json_set(at.parent, at.token, value) ? VMB_OK : vmbi_fail_nomem(err);
    }
    if (!vmbi_json_is_array(at.parent) ||
        !find_index(at.token, vmbi_json_len(at.parent), true, &i)) {
        vmbi_json_free(value);
        return missing(op, op->path, end, err);
    }
    return insert(at.parent, i, value) ? VMB_OK : vmbi_fail_nomem(err);
}

/* Removes what is at path; *out (may be NULL) receives it. */
static vmb_code take(vmbi_json *doc, const vmbi_jsonpatch_op *op, const char *path, vmbi_json **out,
                     vmbi_jsonpatch_end *end, vmb_error **err)
{
    pointer at;
    size_t i = 0;
    vmb_code code = resolve(doc, op, path, &at, end, err);
    vmbi_json *v = code == VMB_OK && at.parent != NULL ? look(doc, &at) : NULL;

    if (code == VMB_OK && v == NULL) {
        code = missing(op, path, end, err);
    }
    if (code != VMB_OK) {
        return code;
    }
    if (out != NULL) {
        *out = vmbi_json_ref(v);
    }
    if (vmbi_json_is_object(at.parent)) {
        vmbi_json_del(at.parent, at.token);
    } else if (find_index(at.token, vmbi_json_len(at.parent), false, &i)) {
        vmbi_json_del_at(at.parent, i);
    }
    return VMB_OK;
}

static vmb_code replace(vmbi_json **doc, const vmbi_jsonpatch_op *op, vmbi_jsonpatch_end *end,
                        vmb_error **err)
{
    pointer at;
    size_t i = 0;
    vmb_code code = resolve(*doc, op, op->path, &at, end, err);

    if (code == VMB_OK && look(*doc, &at) == NULL) {
        code = missing(op, op->path, end, err);
    }
    if (code == VMB_OK && at.parent != NULL && vmbi_json_is_array(at.parent) &&
        find_index(at.token, vmbi_json_len(at.parent), false, &i)) {
        return vmbi_json_set_at(at.parent, i, vmbi_json_copy(op->value)) ? VMB_OK
                                                                         : vmbi_fail_nomem(err);
    }
    return code == VMB_OK ? add(doc, op, vmbi_json_copy(op->value), end, err) : code;
}

static vmb_code test(vmbi_json *doc, const vmbi_jsonpatch_op *op, vmbi_jsonpatch_end *end,
                     vmb_error **err)
{
    pointer at;
    vmb_code code = resolve(doc, op, op->path, &at, end, err);
    const vmbi_json *v = code == VMB_OK ? look(doc, &at) : NULL;

    if (code != VMB_OK) {
        return code;
    }
    if (v == NULL && !vmbi_json_is_null(op->value)) {
        return missing(op, op->path, end, err);
    }
    if ((v == NULL && vmbi_json_is_null(op->value)) ||
        (v != NULL && op->value != NULL && vmbi_json_equal(v, op->value))) {
        return VMB_OK;
    }
    *end = VMBI_JSONPATCH_TEST_FAILED;
    return vmbi_fail(err, VMB_E_INVALID, "testing path %s failed", op->path);
}

/* About what a tree takes as text; stops counting beyond the limit. */
static size_t weight(const vmbi_json *v)
{
    size_t sum = NODE_BYTES + (vmbi_json_is_string(v) ? vmbi_json_str_len(v) : 0);

    if (vmbi_json_is_object(v)) {
        for (void *it = vmbi_json_iter(v); it != NULL && sum <= RESULT_MAX_BYTES;
             it = vmbi_json_iter_next(v, it)) {
            sum += strlen(vmbi_json_iter_key(it)) + weight(vmbi_json_iter_value(it));
        }
    } else if (vmbi_json_is_array(v)) {
        for (size_t i = 0; i < vmbi_json_len(v) && sum <= RESULT_MAX_BYTES; i++) {
            sum += weight(vmbi_json_at(v, i));
        }
    }
    return sum;
}

/* A copy of the document into itself doubles it: a few of them would fill any memory. */
static vmb_code copy(vmbi_json **doc, const vmbi_jsonpatch_op *op, vmbi_jsonpatch_end *end,
                     vmb_error **err)
{
    pointer at;
    vmb_code code = resolve(*doc, op, op->from, &at, end, err);
    const vmbi_json *v = code == VMB_OK ? look(*doc, &at) : NULL;

    if (code == VMB_OK && v == NULL) {
        code = missing(op, op->from, end, err);
    }
    if (code == VMB_OK && weight(v) + weight(*doc) > RESULT_MAX_BYTES) {
        code =
            vmbi_fail(err, VMB_E_LIMIT, "copy from \"%s\" would make an object of more than %d MiB",
                      op->from, RESULT_MAX_BYTES / (1024 * 1024));
    }
    return code == VMB_OK ? add(doc, op, vmbi_json_copy(v), end, err) : code;
}

vmb_code vmbi_jsonpatch_apply(vmbi_json **doc, const vmbi_jsonpatch_op *op, vmbi_jsonpatch_end *end,
                              vmb_error **err)
{
    vmbi_json *moved = NULL;
    vmb_code code;

    *end = VMBI_JSONPATCH_DONE;
    if (strcmp(op->op, "add") == 0) {
        return add(doc, op, vmbi_json_copy(op->value), end, err);
    }
    if (strcmp(op->op, "remove") == 0) {
        return take(*doc, op, op->path, NULL, end, err);
    }
    if (strcmp(op->op, "replace") == 0) {
        return replace(doc, op, end, err);
    }
    if (strcmp(op->op, "test") == 0) {
        return test(*doc, op, end, err);
    }
    if (strcmp(op->op, "copy") == 0) {
        return copy(doc, op, end, err);
    }
    if (strcmp(op->op, "move") == 0) {
        code = take(*doc, op, op->from, &moved, end, err);
        return code == VMB_OK ? add(doc, op, moved, end, err) : code;
    }
    return vmbi_fail(err, VMB_E_INVALID, "unsupported operation %s", op->op);
}
