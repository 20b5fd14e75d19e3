/* SPDX-License-Identifier: Apache-2.0 */
#include "model/strategic.h"

#include <string.h>

#include "base/error.h"
#include "base/strs.h"

enum { MAX_DEPTH = 64 };

static const char directive[] = "$patch";
static const char order_prefix[] = "$setElementOrder/";
static const char delete_prefix[] = "$deleteFromPrimitiveList/";
static const char retain[] = "$retainKeys";

static vmb_code merge_object(vmbi_json *obj, const vmbi_json *patch, const char *type, int depth,
                             vmb_error **err);

static const vmbi_strategic_field *find_field(const char *type, const char *field)
{
    for (size_t i = 0; type != NULL && i < vmbi_strategic_fields_len; i++) {
        const vmbi_strategic_field *f = &vmbi_strategic_fields[i];

        if (strcmp(f->type, type) == 0 && strcmp(f->field, field) == 0) {
            return f;
        }
    }
    return NULL;
}

static const char *find_type(const vmbi_json *obj)
{
    const char *api = vmbi_json_get_str(obj, "apiVersion");
    const char *kind = vmbi_json_get_str(obj, "kind");

    for (size_t i = 0; api != NULL && kind != NULL && i < vmbi_strategic_kinds_len; i++) {
        const vmbi_strategic_kind *k = &vmbi_strategic_kinds[i];

        if (strcmp(k->api_version, api) == 0 && strcmp(k->kind, kind) == 0) {
            return k->type;
        }
    }
    return NULL;
}

/* ---- lists --------------------------------------------------------------------------------- */

/* Have both the same key (or value)? */
static bool is_same(const vmbi_json *a, const vmbi_json *b, const char *key)
{
    const vmbi_json *of_a = key != NULL ? vmbi_json_get(a, key) : a;
    const vmbi_json *of_b = key != NULL ? vmbi_json_get(b, key) : b;

    return of_a != NULL && of_b != NULL && vmbi_json_equal(of_a, of_b);
}

/* Position of the element with the same key (or value); the length when there is none. */
static size_t find_element(const vmbi_json *list, const vmbi_json *element, const char *key)
{
    size_t n = vmbi_json_len(list);

    for (size_t i = 0; i < n; i++) {
        if (is_same(vmbi_json_at(list, i), element, key)) {
            return i;
        }
    }
    return n;
}

/* Appends all of the list that the patch names, in the patch's order. Keys need not be unique: a
 * Service has a port 53 for each protocol. */
static bool take_named(const vmbi_json *list, const vmbi_json *patch, const char *key,
                       vmbi_json *out)
{
    bool ok = true;

    for (size_t n = 0; ok && n < vmbi_json_len(patch); n++) {
        const vmbi_json *p = vmbi_json_at(patch, n);

        for (size_t i = 0; ok && find_element(patch, p, key) == n && i < vmbi_json_len(list); i++) {
            ok = !is_same(vmbi_json_at(list, i), p, key) ||
                 vmbi_json_append(out, vmbi_json_ref(vmbi_json_at(list, i)));
        }
    }
    return ok;
}

/* Elements of the patch stand in its order and those of the object in theirs; where the two meet,
 * the object's former order decides, and what is new comes first. */
static bool order_elements(vmbi_json *list, const vmbi_json *patch, const vmbi_json *former,
                           const char *key)
{
    vmbi_json *ours = vmbi_json_array();
    vmbi_json *theirs = vmbi_json_array();
    size_t i = 0;
    size_t k = 0;
    bool ok = ours != NULL && theirs != NULL;

    for (size_t n = 0; ok && n < vmbi_json_len(list); n++) {
        const vmbi_json *e = vmbi_json_at(list, n);

        if (find_element(patch, e, key) == vmbi_json_len(patch)) {
            ok = vmbi_json_append(ours, vmbi_json_ref(vmbi_json_at(list, n)));
        }
    }
    ok = ok && take_named(list, patch, key, theirs);
    for (size_t n = 0; ok && n < vmbi_json_len(list); n++) {
        vmbi_json *a = vmbi_json_at(ours, i);
        vmbi_json *b = vmbi_json_at(theirs, k);
        size_t at_a = a != NULL ? find_element(former, a, key) : 0;
        size_t at_b = b != NULL ? find_element(former, b, key) : 0;
        size_t end = vmbi_json_len(former);
        bool first = b == NULL || (a != NULL && at_a < end && at_b < end && at_a < at_b);

        ok = vmbi_json_set_at(list, n, vmbi_json_ref(first ? a : b));
        i += first ? 1 : 0;
        k += first ? 0 : 1;
    }
    vmbi_json_free(ours);
    vmbi_json_free(theirs);
    return ok;
}

static vmb_code merge_values(vmbi_json *list, const vmbi_json *patch, vmb_error **err)
{
    bool ok = true;

    for (size_t i = 0; ok && i < vmbi_json_len(patch); i++) {
        const vmbi_json *v = vmbi_json_at(patch, i);

        ok = find_element(list, v, NULL) < vmbi_json_len(list) ||
             vmbi_json_append(list, vmbi_json_copy(v));
    }
    return ok ? VMB_OK : vmbi_fail_nomem(err);
}

/* A copy of an object without directives. */
static vmbi_json *plain_copy(const vmbi_json *v)
{
    vmbi_json *copy = vmbi_json_copy(v);

    vmbi_json_del(copy, directive);
    vmbi_json_del(copy, retain);
    return copy;
}

static vmb_code merge_element(vmbi_json *list, const vmbi_json *e, const vmbi_strategic_field *f,
                              int depth, vmb_error **err)
{
    const char *how = vmbi_json_get_str(e, directive);
    size_t at;

    if (!vmbi_json_is_object(e) || vmbi_json_get(e, f->key) == NULL) {
        return vmbi_fail(err, VMB_E_INVALID,
                         "an element of %s does not contain declared merge key: %s", f->field,
                         f->key);
    }
    at = find_element(list, e, f->key);
    if (how != NULL && strcmp(how, "delete") == 0) {
        if (at < vmbi_json_len(list)) {
            vmbi_json_del_at(list, at);
        }
        return VMB_OK;
    }
    if (at == vmbi_json_len(list)) {
        return vmbi_json_append(list, plain_copy(e)) ? VMB_OK : vmbi_fail_nomem(err);
    }
    if (how != NULL && strcmp(how, "replace") == 0) {
        return vmbi_json_set_at(list, at, plain_copy(e)) ? VMB_OK : vmbi_fail_nomem(err);
    }
    return merge_object(vmbi_json_at(list, at), e, f->child, depth + 1, err);
}

/* [{"$patch":"replace"}, …]: the whole list. */
static bool is_replacement(const vmbi_json *patch)
{
    for (size_t i = 0; i < vmbi_json_len(patch); i++) {
        const vmbi_json *e = vmbi_json_at(patch, i);

        if (vmbi_json_len(e) == 1 && vmbi_streq(vmbi_json_get_str(e, directive), "replace")) {
            return true;
        }
    }
    return false;
}

static bool copy_replacement(vmbi_json *obj, const char *field, const vmbi_json *patch)
{
    vmbi_json *list = vmbi_json_array();
    bool ok = list != NULL;

    for (size_t i = 0; ok && i < vmbi_json_len(patch); i++) {
        const vmbi_json *e = vmbi_json_at(patch, i);

        ok = vmbi_json_get(e, directive) != NULL || vmbi_json_append(list, vmbi_json_copy(e));
    }
    if (!ok) {
        vmbi_json_free(list);
        return false;
    }
    return vmbi_json_set(obj, field, list);
}

static vmb_code merge_list(vmbi_json *obj, const vmbi_json *patch, const vmbi_strategic_field *f,
                           int depth, vmb_error **err)
{
    vmbi_json *list = vmbi_json_get(obj, f->field);
    vmbi_json *former;
    vmb_code code = VMB_OK;

    if (is_replacement(patch)) {
        return copy_replacement(obj, f->field, patch) ? VMB_OK : vmbi_fail_nomem(err);
    }
    if (!vmbi_json_is_array(list)) {
        if (!vmbi_json_set(obj, f->field, vmbi_json_array())) {
            return vmbi_fail_nomem(err);
        }
        list = vmbi_json_get(obj, f->field);
    }
    former = vmbi_json_copy(list);
    if (former == NULL) {
        return vmbi_fail_nomem(err);
    }
    if (f->key == NULL) {
        code = merge_values(list, patch, err);
    }
    for (size_t i = 0; f->key != NULL && code == VMB_OK && i < vmbi_json_len(patch); i++) {
        code = merge_element(list, vmbi_json_at(patch, i), f, depth, err);
    }
    if (code == VMB_OK && !order_elements(list, patch, former, f->key)) {
        code = vmbi_fail_nomem(err);
    }
    vmbi_json_free(former);
    return code;
}

static void delete_values(vmbi_json *list, const vmbi_json *values)
{
    for (size_t i = vmbi_json_len(list); i > 0; i--) {
        if (find_element(values, vmbi_json_at(list, i - 1), NULL) < vmbi_json_len(values)) {
            vmbi_json_del_at(list, i - 1);
        }
    }
}

/* ---- objects ------------------------------------------------------------------------------- */

/* Only the named members stay. */
static vmb_code retain_keys(vmbi_json *obj, const vmbi_json *keys, vmb_error **err)
{
    vmbi_strs gone = {0};
    vmb_code code = VMB_OK;

    for (void *it = vmbi_json_iter(obj); it != NULL && code == VMB_OK;
         it = vmbi_json_iter_next(obj, it)) {
        const char *key = vmbi_json_iter_key(it);
        bool kept = false;

        for (size_t i = 0; i < vmbi_json_len(keys) && !kept; i++) {
            kept = vmbi_streq(vmbi_json_str(vmbi_json_at(keys, i)), key);
        }
        code = kept ? VMB_OK : vmbi_strs_add(&gone, key, err);
    }
    for (size_t i = 0; i < gone.n && code == VMB_OK; i++) {
        vmbi_json_del(obj, gone.v[i]);
    }
    vmbi_strs_free(&gone);
    return code;
}

static vmb_code clear(vmbi_json *obj, vmb_error **err)
{
    vmbi_json *none = vmbi_json_array();
    vmb_code code = none != NULL ? retain_keys(obj, none, err) : vmbi_fail_nomem(err);

    vmbi_json_free(none);
    return code;
}

static vmb_code merge_member(vmbi_json *obj, const char *key, const vmbi_json *value,
                             const char *type, int depth, vmb_error **err)
{
    const vmbi_strategic_field *f = find_field(type, key);
    vmbi_json *old = vmbi_json_get(obj, key);

    if (vmbi_json_is_null(value)) {
        vmbi_json_del(obj, key);
        return VMB_OK;
    }
    if (vmbi_starts_with(key, delete_prefix)) {
        delete_values(vmbi_json_get(obj, key + sizeof(delete_prefix) - 1), value);
        return VMB_OK;
    }
    if (vmbi_starts_with(key, order_prefix)) {
        return VMB_OK; /* the order of the patch's own elements is kept in any case */
    }
    if (f != NULL && f->merge && vmbi_json_is_array(value)) {
        return merge_list(obj, value, f, depth, err);
    }
    if (vmbi_json_is_object(value)) {
        if (!vmbi_json_is_object(old) && !vmbi_json_set(obj, key, vmbi_json_object())) {
            return vmbi_fail_nomem(err);
        }
        return merge_object(vmbi_json_get(obj, key), value, f != NULL ? f->child : NULL, depth + 1,
                            err);
    }
    return vmbi_json_set(obj, key, vmbi_json_copy(value)) ? VMB_OK : vmbi_fail_nomem(err);
}

static vmb_code merge_object(vmbi_json *obj, const vmbi_json *patch, const char *type, int depth,
                             vmb_error **err)
{
    const char *how = vmbi_json_get_str(patch, directive);
    const vmbi_json *kept = vmbi_json_get(patch, retain);
    vmb_code code = VMB_OK;

    if (depth > MAX_DEPTH) {
        return vmbi_fail(err, VMB_E_LIMIT, "a patch nested deeper than %d", MAX_DEPTH);
    }
    if (how != NULL && strcmp(how, "replace") != 0 && strcmp(how, "delete") != 0 &&
        strcmp(how, "merge") != 0) {
        return vmbi_fail(err, VMB_E_INVALID, "unknown patch type found: %s", how);
    }
    if (how != NULL && strcmp(how, "merge") != 0) {
        code = clear(obj, err);
    } else if (vmbi_json_is_array(kept)) {
        code = retain_keys(obj, kept, err);
    }
    if (code != VMB_OK || (how != NULL && strcmp(how, "delete") == 0)) {
        return code;
    }
    for (void *it = vmbi_json_iter(patch); it != NULL && code == VMB_OK;
         it = vmbi_json_iter_next(patch, it)) {
        const char *key = vmbi_json_iter_key(it);

        if (strcmp(key, directive) != 0 && strcmp(key, retain) != 0) {
            code = merge_member(obj, key, vmbi_json_iter_value(it), type, depth, err);
        }
    }
    return code;
}

vmb_code vmbi_strategic_merge(vmbi_json *obj, const vmbi_json *patch, vmb_error **err)
{
    const char *type = find_type(obj);
    const char *api = vmbi_json_get_str(obj, "apiVersion");
    const char *kind = vmbi_json_get_str(obj, "kind");

    if (type == NULL) {
        return vmbi_fail(err, VMB_E_INVALID,
                         "no kind \"%s\" is registered for version \"%s\": strategic merge patches "
                         "are for Kubernetes' own kinds",
                         kind != NULL ? kind : "", api != NULL ? api : "");
    }
    if (!vmbi_json_is_object(patch)) {
        return vmbi_fail(err, VMB_E_INVALID, "a strategic merge patch is an object, not %s",
                         vmbi_json_type_name(patch));
    }
    return merge_object(obj, patch, type, 0, err);
}
