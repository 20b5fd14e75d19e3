/* SPDX-License-Identifier: Apache-2.0 */
#include "core/restore/index.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "codec/gzip.h"
#include "core/restore/index_impl.h"

enum { ITEMS_MAX = 50 * 1000 * 1000 };

/* ---- keeping objects ----------------------------------------------------------------------- */

static void free_resource(vmbi_index_resource *r)
{
    if (r == NULL) {
        return;
    }
    for (size_t i = 0; i < r->n_chunks; i++) {
        vmbi_free(r->chunks[i].packed);
    }
    vmbi_free(r->chunks);
    vmbi_free(r->items);
    vmbi_free(r->sorted);
    vmbi_buf_free(&r->open);
    vmbi_free(r->group_resource);
    vmbi_free(r->version);
    vmbi_free(r);
}

static vmb_code add_resource(vmbi_index *x, const char *name, vmbi_index_resource **out,
                             vmb_error **err)
{
    vmbi_index_resource **v = vmbi_realloc_array(x->resources, x->n + 1, sizeof(*v));
    if (v == NULL) {
        return vmbi_fail_nomem(err);
    }
    x->resources = v;
    vmbi_index_resource *r = vmbi_zalloc(sizeof(*r));
    if (r == NULL) {
        return vmbi_fail_nomem(err);
    }
    vmbi_buf_init(&r->open, VMBI_INDEX_MAX_ITEM);
    r->group_resource = vmbi_strdup(name);
    r->version = vmbi_strdup("");
    if (r->group_resource == NULL || r->version == NULL ||
        vmbi_map_set(&x->by_name, name, r, err) != VMB_OK) {
        free_resource(r);
        return vmbi_fail_nomem(err);
    }
    x->resources[x->n++] = r;
    *out = r;
    return VMB_OK;
}

/* The resource of an entry; most entries come in long runs of one. */
static vmb_code resource_of(vmbi_index *x, const char *name, vmbi_index_resource **out,
                            vmb_error **err)
{
    if (x->last == NULL || strcmp(x->last->group_resource, name) != 0) {
        x->last = vmbi_map_get(&x->by_name, name);
        if (x->last == NULL) {
            vmb_code rc = add_resource(x, name, &x->last, err);
            if (rc != VMB_OK) {
                return rc;
            }
        }
    }
    *out = x->last;
    return VMB_OK;
}

/* Packs the open chunk. */
static vmb_code close_chunk(vmbi_index *x, vmbi_index_resource *r, vmb_error **err)
{
    if (r->open.len == 0) {
        return VMB_OK;
    }
    vmbi_buf packed = VMBI_BUF_INIT(2 * (size_t)VMBI_INDEX_MAX_ITEM);
    vmbi_index_chunk *v = vmbi_realloc_array(r->chunks, r->n_chunks + 1, sizeof(*v));
    if (v == NULL) {
        return vmbi_fail_nomem(err);
    }
    r->chunks = v;
    vmb_code rc = vmbi_gzip_buf(r->open.data, r->open.len, &packed, err);
    char *exact = rc == VMB_OK ? vmbi_memdup(packed.data, packed.len) : NULL;
    if (rc == VMB_OK && exact == NULL) {
        rc = vmbi_fail_nomem(err);
    }
    if (rc == VMB_OK) {
        v[r->n_chunks++] = (vmbi_index_chunk){exact, packed.len, r->open.len};
        r->packed_bytes += packed.len;
        x->packed_bytes += packed.len;
    }
    vmbi_buf_free(&packed);
    if (r->open.cap > 4 * VMBI_INDEX_CHUNK_BYTES) {
        vmbi_buf_free(&r->open);
    } else {
        vmbi_buf_reset(&r->open);
    }
    return rc;
}

/* Gives the largest resource up until the rest is within the budget. */
static void keep_budget(vmbi_index *x)
{
    while (x->packed_bytes > x->budget_bytes) {
        vmbi_index_resource *largest = NULL;
        for (size_t i = 0; i < x->n; i++) {
            vmbi_index_resource *r = x->resources[i];
            if (!r->streamed && (largest == NULL || r->packed_bytes > largest->packed_bytes)) {
                largest = r;
            }
        }
        if (largest == NULL || largest->packed_bytes == 0) {
            return;
        }
        x->packed_bytes -= largest->packed_bytes;
        for (size_t i = 0; i < largest->n_chunks; i++) {
            vmbi_free(largest->chunks[i].packed);
        }
        vmbi_free(largest->chunks);
        vmbi_free(largest->items);
        vmbi_buf_free(&largest->open);
        largest->chunks = NULL;
        largest->items = NULL;
        largest->n_chunks = 0;
        largest->cap = 0;
        largest->packed_bytes = 0;
        largest->streamed = true;
    }
}

static vmb_code add_text(vmbi_index *x, const char *s, uint32_t *offset, vmb_error **err)
{
    *offset = (uint32_t)x->names.len; /* the ceiling of names is below 4 GiB */
    vmbi_buf_add(&x->names, s, strlen(s) + 1);
    return vmbi_buf_check(&x->names, err, "names of a backup's objects");
}

static vmb_code namespace_of(vmbi_index *x, const char *ns, uint32_t *offset, vmb_error **err)
{
    uintptr_t known = (uintptr_t)vmbi_map_get(&x->namespaces, ns);
    if (known != 0) {
        *offset = (uint32_t)(known - 1);
        return VMB_OK;
    }
    vmb_code rc = add_text(x, ns, offset, err);
    if (rc == VMB_OK) {
        rc = vmbi_map_set(&x->namespaces, ns, (void *)((uintptr_t)*offset + 1), err);
    }
    return rc;
}

static vmb_code grow_items(vmbi_index_resource *r, vmb_error **err)
{
    if (r->count < r->cap) {
        return VMB_OK;
    }
    if (r->count >= ITEMS_MAX) {
        return vmbi_fail(err, VMB_E_LIMIT, "a backup with more than %d objects of one resource",
                         ITEMS_MAX);
    }
    size_t cap = r->cap == 0 ? 16 : r->cap + r->cap / 2;
    vmbi_index_item *v = vmbi_realloc_array(r->items, cap, sizeof(*v));
    if (v == NULL) {
        return vmbi_fail_nomem(err);
    }
    r->items = v;
    r->cap = cap;
    return VMB_OK;
}

static vmb_code keep_object(vmbi_index *x, vmbi_index_resource *r, const vmbi_index_entry *e,
                            const char *data, size_t len, vmb_error **err)
{
    if (r->streamed) {
        r->count++;
        return VMB_OK;
    }
    if (len == 0) { /* no JSON in any case; in its chunk it must have a place */
        data = " ";
        len = 1;
    }
    vmbi_index_item item = {.len = (uint32_t)len};
    vmb_code rc = grow_items(r, err);
    if (rc == VMB_OK) {
        rc = namespace_of(x, e->ns, &item.ns, err);
    }
    if (rc == VMB_OK) {
        rc = add_text(x, e->name, &item.name, err);
    }
    if (rc == VMB_OK && r->open.len > 0 && r->open.len + len > VMBI_INDEX_CHUNK_BYTES) {
        rc = close_chunk(x, r, err);
    }
    if (rc != VMB_OK) {
        return rc;
    }
    item.chunk = (uint32_t)r->n_chunks;
    item.offset = (uint32_t)r->open.len;
    vmbi_buf_add(&r->open, data, len);
    r->items[r->count++] = item;
    if (x->packed_bytes > x->budget_bytes) {
        keep_budget(x);
    }
    return vmbi_buf_check(&r->open, err, "object of a backup");
}

typedef struct loader {
    vmbi_index *x;
    vmbi_index_wants_fn wants;
    void *user;
} loader;

static vmb_code take_entry(void *user, const char *path, const char *data, size_t len,
                           vmb_error **err)
{
    loader *l = user;
    vmbi_index_resource *r = NULL;
    vmbi_index_entry e;
    if (!vmbi_index_entry_parse(path, &e)) {
        return VMB_OK;
    }
    l->x->has_resources = true;
    if (!l->wants(l->user, e.group_resource)) {
        return VMB_OK;
    }
    vmb_code rc = resource_of(l->x, e.group_resource, &r, err);
    if (rc != VMB_OK) {
        return rc;
    }
    if (e.preferred) { /* the same bytes as under the plain path; only the folder's name counts */
        if (r->version[0] == '\0') {
            char *version = vmbi_strdup(e.version);
            if (version == NULL) {
                return vmbi_fail_nomem(err);
            }
            vmbi_free(r->version);
            r->version = version;
        }
        return VMB_OK;
    }
    if (e.version[0] != '\0') {
        vmbi_buf text = VMBI_BUF_INIT(1024);
        vmbi_buf_addf(&text, "%s/%s", e.group_resource, e.version);
        rc = vmbi_buf_check(&text, err, "name of a resource");
        if (rc == VMB_OK) {
            rc = resource_of(l->x, text.data, &r, err);
        }
        vmbi_buf_free(&text);
        return rc == VMB_OK ? keep_object(l->x, r, &e, data, len, err) : rc;
    }
    l->x->items++;
    return keep_object(l->x, r, &e, data, len, err);
}

vmb_code vmbi_index_load(vmbi_index *x, const vmbi_store *store, vmb_job *job, const char *path,
                         size_t budget_bytes, vmbi_index_wants_fn wants, void *user,
                         vmb_error **err)
{
    *x = (vmbi_index){
        .store = store,
        .job = job,
        .budget_bytes = budget_bytes,
        .by_name = VMBI_MAP_INIT(NULL),
        .namespaces = VMBI_MAP_INIT(NULL),
    };
    vmbi_buf_init(&x->names, VMBI_INDEX_NAMES_MAX);
    (void)pthread_mutex_init(&x->lock, NULL);
    x->path = vmbi_strdup(path);
    loader l = {x, wants, user};
    vmb_code rc = x->path != NULL ? vmbi_index_walk(x, take_entry, &l, err) : vmbi_fail_nomem(err);
    for (size_t i = 0; i < x->n && rc == VMB_OK; i++) {
        rc = close_chunk(x, x->resources[i], err);
        vmbi_buf_free(&x->resources[i]->open);
    }
    x->last = NULL;
    if (rc != VMB_OK) {
        vmbi_index_free(x);
        return rc;
    }
    keep_budget(x);
    return VMB_OK;
}

void vmbi_index_free(vmbi_index *x)
{
    if (x->job == NULL) {
        return; /* never loaded, or freed already */
    }
    for (size_t i = 0; i < x->n; i++) {
        free_resource(x->resources[i]);
    }
    vmbi_index_seek_free(x->seek);
    vmbi_free(x->resources);
    vmbi_map_free(&x->by_name);
    vmbi_map_free(&x->namespaces);
    vmbi_buf_free(&x->names);
    vmbi_free(x->path);
    (void)pthread_mutex_destroy(&x->lock);
    *x = (vmbi_index){.by_name = VMBI_MAP_INIT(NULL), .namespaces = VMBI_MAP_INIT(NULL)};
}
