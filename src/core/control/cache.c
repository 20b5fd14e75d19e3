/* SPDX-License-Identifier: Apache-2.0 */
#include "core/control/cache.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"

enum { ENTRY_MAX_BYTES = 16 * 1024, FIELD_MAX_BYTES = 1024 };

void vmbi_cache_free(vmbi_cache *c)
{
    for (size_t i = 0; i < c->n; i++) {
        vmbi_free(c->v[i]);
    }
    vmbi_free(c->v);
    c->v = NULL;
    c->n = 0;
    c->cap = 0;
}

void vmbi_field_text(const vmbi_json *object, const char *field, vmbi_buf *out)
{
    const char *slash = strchr(field, '/');
    const vmbi_json *v = NULL;
    if (slash == NULL) {
        v = vmbi_json_path(object, field);
    } else {
        char path[64];
        size_t len = (size_t)(slash - field);
        if (len < sizeof(path)) {
            memcpy(path, field, len);
            path[len] = '\0';
            v = vmbi_json_get(vmbi_json_path(object, path), slash + 1);
        }
    }
    if (vmbi_json_is_string(v)) {
        vmbi_buf_adds(out, vmbi_json_str(v));
    } else if (vmbi_json_is_bool(v)) {
        vmbi_buf_adds(out, vmbi_json_bool(v, false) ? "true" : "false");
    } else if (vmbi_json_is_int(v)) {
        vmbi_buf_addf(out, "%lld", (long long)vmbi_json_int(v, 0));
    }
}

/* Where the name stands, or would stand. */
static size_t position(const vmbi_cache *c, const char *name, bool *found)
{
    size_t low = 0;
    size_t high = c->n;
    *found = false;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int order = strcmp(c->v[mid]->name, name);
        if (order == 0) {
            *found = true;
            return mid;
        }
        if (order < 0) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

/* One object with a monstrous field must not keep all of its kind from being seen: such a field
 * counts as empty. Whoever works on the object reads it whole. */
static void add_field(const vmbi_json *object, const char *field, vmbi_buf *text)
{
    vmbi_buf one = VMBI_BUF_INIT(FIELD_MAX_BYTES);
    vmbi_field_text(object, field, &one);
    if (one.status == VMB_OK) {
        vmbi_buf_add(text, one.data, one.len);
    } else if (one.status != VMB_E_LIMIT) {
        text->status = one.status;
    }
    vmbi_buf_add(text, "", 1);
    vmbi_buf_free(&one);
}

static vmb_code make_entry(const vmbi_cache *c, const vmbi_json *object, vmbi_cached **out,
                           vmb_error **err)
{
    vmbi_buf text = VMBI_BUF_INIT(ENTRY_MAX_BYTES);
    const char *name = vmbi_json_path_str(object, "metadata.name");
    if (name == NULL || name[0] == '\0') {
        return vmbi_fail(err, VMB_E_PROTOCOL, "the server sent an object without a name");
    }
    vmbi_buf_add(&text, name, strlen(name) + 1);
    for (size_t i = 0; c->fields[i] != NULL; i++) {
        add_field(object, c->fields[i], &text);
    }
    vmb_code rc = vmbi_buf_check(&text, err, name);
    vmbi_cached *e = rc == VMB_OK ? vmbi_alloc(sizeof(*e) + text.len) : NULL;
    if (e != NULL) {
        memcpy(e->name, text.data, text.len);
        e->round = c->round;
        *out = e;
    } else if (rc == VMB_OK) {
        rc = vmbi_fail_nomem(err);
    }
    vmbi_buf_free(&text);
    return rc;
}

static vmb_code make_room(vmbi_cache *c, vmb_error **err)
{
    if (c->n < c->cap) {
        return VMB_OK;
    }
    size_t cap = c->cap != 0 ? c->cap * 2 : 16;
    if (cap > VMBI_CACHE_OBJECTS_MAX) {
        return vmbi_fail(err, VMB_E_LIMIT, "the namespace holds more than %d objects of a kind",
                         VMBI_CACHE_OBJECTS_MAX);
    }
    vmbi_cached **v = vmbi_realloc_array(c->v, cap, sizeof(vmbi_cached *));
    if (v == NULL) {
        return vmbi_fail_nomem(err);
    }
    c->v = v;
    c->cap = cap;
    return VMB_OK;
}

vmb_code vmbi_cache_put(vmbi_cache *c, const vmbi_json *object, const vmbi_cached **out,
                        vmb_error **err)
{
    vmbi_cached *e = NULL;
    bool found = false;
    vmb_code rc = make_entry(c, object, &e, err);
    if (rc != VMB_OK) {
        return rc;
    }
    size_t at = position(c, e->name, &found);
    if (found) {
        vmbi_free(c->v[at]);
    } else {
        rc = make_room(c, err);
        if (rc != VMB_OK) {
            vmbi_free(e);
            return rc;
        }
        memmove(&c->v[at + 1], &c->v[at], (c->n - at) * sizeof(vmbi_cached *));
        c->n++;
    }
    c->v[at] = e;
    if (out != NULL) {
        *out = e;
    }
    return VMB_OK;
}

void vmbi_cache_drop(vmbi_cache *c, const char *name)
{
    bool found = false;
    size_t at = position(c, name, &found);
    if (found) {
        vmbi_free(c->v[at]);
        c->n--;
        memmove(&c->v[at], &c->v[at + 1], (c->n - at) * sizeof(vmbi_cached *));
    }
}

const vmbi_cached *vmbi_cache_get(const vmbi_cache *c, const char *name)
{
    bool found = false;
    size_t at = position(c, name, &found);
    return found ? c->v[at] : NULL;
}

const char *vmbi_cached_field(const vmbi_cached *e, size_t i)
{
    const char *p = e->name;
    for (size_t k = 0; k <= i; k++) {
        p += strlen(p) + 1;
    }
    return p;
}

void vmbi_cache_begin(vmbi_cache *c)
{
    c->round++;
}

void vmbi_cache_end(vmbi_cache *c)
{
    size_t kept = 0;
    for (size_t i = 0; i < c->n; i++) {
        if (c->v[i]->round == c->round) {
            c->v[kept++] = c->v[i];
        } else {
            vmbi_free(c->v[i]);
        }
    }
    c->n = kept;
}
