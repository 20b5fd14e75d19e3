/* SPDX-License-Identifier: Apache-2.0 */
#include "model/json_diff.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/strs.h"

enum { MAX_POINTER = 64 * 1024 };

typedef struct differ {
    vmbi_buf at; /* pointer to where we are */
    vmbi_json *out;
} differ;

static vmb_code compare(differ *d, const vmbi_json *from, const vmbi_json *to, vmb_error **err);

static void push_key(differ *d, const char *key)
{
    vmbi_buf_addc(&d->at, '/');
    for (; *key != '\0'; key++) {
        if (*key == '~' || *key == '/') {
            vmbi_buf_adds(&d->at, *key == '~' ? "~0" : "~1");
        } else {
            vmbi_buf_addc(&d->at, *key);
        }
    }
}

static void pop(differ *d, size_t len)
{
    if (d->at.status == VMB_OK) {
        d->at.len = len;
        d->at.data[len] = '\0';
    }
}

/* value NULL: an operation without one. */
static vmb_code add_op(differ *d, const char *op, const vmbi_json *value, vmb_error **err)
{
    vmb_code rc = vmbi_buf_check(&d->at, err, "JSON pointer");
    if (rc != VMB_OK) {
        return rc;
    }
    vmbi_json *o = vmbi_json_object();
    bool ok = o != NULL && vmbi_json_set_str(o, "op", op) &&
              vmbi_json_set_str(o, "path", d->at.data != NULL ? d->at.data : "") &&
              (value == NULL || vmbi_json_set(o, "value", vmbi_json_copy(value)));
    if (!ok) {
        vmbi_json_free(o);
        return vmbi_fail_nomem(err);
    }
    return vmbi_json_append(d->out, o) ? VMB_OK : vmbi_fail_nomem(err);
}

/* ---- objects ------------------------------------------------------------------------------- */

static vmb_code keys_of(const vmbi_json *a, const vmbi_json *b, vmbi_strs *keys, vmb_error **err)
{
    vmb_code rc = VMB_OK;
    for (void *it = vmbi_json_iter(a); it != NULL && rc == VMB_OK;
         it = vmbi_json_iter_next(a, it)) {
        rc = vmbi_strs_add(keys, vmbi_json_iter_key(it), err);
    }
    for (void *it = vmbi_json_iter(b); it != NULL && rc == VMB_OK;
         it = vmbi_json_iter_next(b, it)) {
        if (vmbi_json_get(a, vmbi_json_iter_key(it)) == NULL) {
            rc = vmbi_strs_add(keys, vmbi_json_iter_key(it), err);
        }
    }
    vmbi_strs_sort(keys);
    return rc;
}

static vmb_code compare_objects(differ *d, const vmbi_json *from, const vmbi_json *to,
                                vmb_error **err)
{
    vmbi_strs keys = {0};
    size_t len = d->at.len;
    vmb_code rc = keys_of(from, to, &keys, err);
    for (size_t i = 0; i < keys.n && rc == VMB_OK; i++) {
        const vmbi_json *a = vmbi_json_get(from, keys.v[i]);
        const vmbi_json *b = vmbi_json_get(to, keys.v[i]);
        push_key(d, keys.v[i]);
        if (a == NULL) {
            rc = add_op(d, "add", b, err);
        } else if (b == NULL) {
            rc = add_op(d, "remove", NULL, err);
        } else {
            rc = compare(d, a, b, err);
        }
        pop(d, len);
    }
    vmbi_strs_free(&keys);
    return rc;
}

/* ---- arrays -------------------------------------------------------------------------------- */

static void push_index(differ *d, size_t i)
{
    vmbi_buf_addf(&d->at, "/%zu", i);
}

/* What is equal in front and behind is left alone; what lies between is compared one by one, and the
 * rest of the longer side is added or removed there. */
static vmb_code compare_arrays(differ *d, const vmbi_json *from, const vmbi_json *to,
                               vmb_error **err)
{
    size_t na = vmbi_json_len(from);
    size_t nb = vmbi_json_len(to);
    size_t front = 0;
    size_t back = 0;
    size_t len = d->at.len;
    vmb_code rc = VMB_OK;
    while (front < na && front < nb &&
           vmbi_json_equal(vmbi_json_at(from, front), vmbi_json_at(to, front))) {
        front++;
    }
    while (back < na - front && back < nb - front &&
           vmbi_json_equal(vmbi_json_at(from, na - 1 - back), vmbi_json_at(to, nb - 1 - back))) {
        back++;
    }
    size_t i = front;
    for (; i < na - back && i < nb - back && rc == VMB_OK; i++) {
        push_index(d, i);
        rc = compare(d, vmbi_json_at(from, i), vmbi_json_at(to, i), err);
        pop(d, len);
    }
    for (size_t end = na - back; end > i && rc == VMB_OK; end--) {
        push_index(d, end - 1); /* from behind, so that indexes stay true */
        rc = add_op(d, "remove", NULL, err);
        pop(d, len);
    }
    for (; i < nb - back && rc == VMB_OK; i++) {
        push_index(d, i);
        rc = add_op(d, "add", vmbi_json_at(to, i), err);
        pop(d, len);
    }
    return rc;
}

/* The depth is that of the parser. */
static vmb_code compare(differ *d, const vmbi_json *from, const vmbi_json *to, vmb_error **err)
{
    if (vmbi_json_is_object(from) && vmbi_json_is_object(to)) {
        return compare_objects(d, from, to, err);
    }
    if (vmbi_json_is_array(from) && vmbi_json_is_array(to)) {
        return compare_arrays(d, from, to, err);
    }
    return vmbi_json_equal(from, to) ? VMB_OK : add_op(d, "replace", to, err);
}

vmb_code vmbi_json_diff(const vmbi_json *from, const vmbi_json *to, vmbi_json *out,
                        vmb_error **err)
{
    differ d = {VMBI_BUF_INIT(MAX_POINTER), out};
    vmbi_buf_reserve(&d.at, 256);
    vmb_code rc = vmbi_buf_check(&d.at, err, "JSON pointer");
    if (rc == VMB_OK) {
        rc = compare(&d, from, to, err);
    }
    vmbi_buf_free(&d.at);
    return rc;
}

/* ---- pointers ------------------------------------------------------------------------------ */

bool vmbi_json_pointer_ok(const char *pointer)
{
    if (pointer[0] != '/') {
        return false;
    }
    for (const char *p = pointer; *p != '\0'; p++) {
        if (*p == '~' && p[1] != '0' && p[1] != '1') {
            return false;
        }
    }
    return true;
}

/* Takes one key off a pointer, unescaped; NULL when memory is out. */
static char *take_key(const char **p)
{
    size_t len = strcspn(*p, "/");
    char *key = vmbi_strndup(*p, len);
    char *to = key;
    if (key == NULL) {
        return NULL;
    }
    for (const char *from = key; *from != '\0'; from++) {
        if (*from == '~') {
            from++;
            *to++ = *from == '1' ? '/' : '~';
        } else {
            *to++ = *from;
        }
    }
    *to = '\0';
    *p += len;
    return key;
}

void vmbi_json_pointer_remove(vmbi_json *value, const char *pointer)
{
    const char *p = pointer;
    while (*p == '/' && value != NULL) {
        int64_t index = -1;
        p++;
        char *key = take_key(&p);
        if (key == NULL) {
            return;
        }
        bool numbered = vmbi_json_is_array(value) && vmbi_parse_i64(key, strlen(key), &index) &&
                        index >= 0 && (size_t)index < vmbi_json_len(value);
        if (*p != '\0') {
            value = numbered ? vmbi_json_at(value, (size_t)index) : vmbi_json_get(value, key);
        } else if (numbered) {
            vmbi_json_del_at(value, (size_t)index);
        } else if (vmbi_json_is_object(value)) {
            vmbi_json_del(value, key);
        }
        vmbi_free(key);
    }
}
