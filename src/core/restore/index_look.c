/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/job.h"
#include "codec/gzip.h"
#include "core/restore/index_impl.h"

/* ---- looking up ---------------------------------------------------------------------------- */

vmbi_index_resource *vmbi_index_find(const vmbi_index *x, const char *group_resource)
{
    return vmbi_map_get(&x->by_name, group_resource);
}

const char *vmbi_index_text(const vmbi_index *x, uint32_t offset)
{
    return x->names.data + offset;
}

static vmb_code unpack(const vmbi_index_chunk *c, vmbi_buf *out, vmb_error **err)
{
    vmbi_gunzip *z = NULL;
    vmbi_buf_reset(out);
    vmbi_buf_reserve(out, c->raw_len);
    struct vmb_sink sink = vmbi_sink_to_buf(out);
    vmb_code rc = vmbi_gunzip_new(c->raw_len, sink.write, sink.user, &z, err);
    if (rc == VMB_OK) {
        rc = vmbi_gunzip_write(z, c->packed, c->packed_len, err);
    }
    if (rc == VMB_OK) {
        rc = vmbi_gunzip_finish(z, err);
    }
    vmbi_gunzip_free(z);
    return rc;
}

typedef struct place {
    const vmbi_index *x;
    const vmbi_index_resource *r;
} place;

static int compare_item(const vmbi_index *x, const vmbi_index_item *item, const char *ns,
                        const char *name)
{
    int c = strcmp(vmbi_index_text(x, item->ns), ns);
    return c != 0 ? c : strcmp(vmbi_index_text(x, item->name), name);
}

static int compare_items(const void *a, const void *b, void *user)
{
    const place *p = user;
    const vmbi_index_item *one = &p->r->items[*(const uint32_t *)a];
    const vmbi_index_item *two = &p->r->items[*(const uint32_t *)b];
    return compare_item(p->x, one, vmbi_index_text(p->x, two->ns),
                        vmbi_index_text(p->x, two->name));
}

static vmb_code sort_items(vmbi_index *x, vmbi_index_resource *r, vmb_error **err)
{
    vmb_code rc = VMB_OK;
    (void)pthread_mutex_lock(&x->lock);
    if (r->sorted == NULL) {
        uint32_t *v = vmbi_alloc_array(r->count, sizeof(*v));
        for (size_t i = 0; v != NULL && i < r->count; i++) {
            v[i] = (uint32_t)i;
        }
        if (v != NULL) {
            place p = {x, r};
            qsort_r(v, r->count, sizeof(*v), compare_items, &p);
            r->sorted = v;
        } else {
            rc = vmbi_fail_nomem(err);
        }
    }
    (void)pthread_mutex_unlock(&x->lock);
    return rc;
}

static const vmbi_index_item *find_item(const vmbi_index *x, const vmbi_index_resource *r,
                                        const char *ns, const char *name)
{
    size_t low = 0;
    size_t high = r->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const vmbi_index_item *item = &r->items[r->sorted[middle]];
        int c = compare_item(x, item, ns, name);
        if (c == 0) {
            return item;
        }
        if (c < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return NULL;
}

vmb_code vmbi_index_take(void *user, const char *path, const char *data, size_t len,
                         vmb_error **err)
{
    vmbi_index_wanted *s = user;
    vmbi_index_entry e;
    if (!vmbi_index_entry_parse(path, &e) || e.version[0] != '\0' ||
        strcmp(e.group_resource, s->group_resource) != 0 || strcmp(e.ns, s->ns) != 0 ||
        strcmp(e.name, s->name) != 0) {
        return VMB_OK;
    }
    s->found = true;
    vmbi_buf_add(s->out, data, len);
    vmb_code rc = vmbi_buf_check(s->out, err, "object");
    return rc != VMB_OK ? rc : 1; /* ends the walk */
}

static vmb_code absent(const char *group_resource, const char *ns, const char *name,
                       vmb_error **err)
{
    return vmbi_fail(err, VMB_E_NOT_FOUND, "the backup has no %s %s%s%s", group_resource, ns,
                     ns[0] != '\0' ? "/" : "", name);
}

static vmb_code get_streamed(vmbi_index *x, vmbi_index_wanted *s, vmb_error **err)
{
    bool known = false;
    vmb_code rc =
        vmbi_index_seek_get(x, s->group_resource, s->ns, s->name, s->out, &known, &s->found, err);
    if (rc == VMB_OK && !known) {
        rc = vmbi_index_walk(x, vmbi_index_take, s, err);
    }
    return rc == VMB_OK && !s->found ? absent(s->group_resource, s->ns, s->name, err) : rc;
}

/* NULL in *item: the resource has none of that name. */
static vmb_code look_up(vmbi_index *x, vmbi_index_resource *r, const char *ns, const char *name,
                        const vmbi_index_item **item, vmb_error **err)
{
    vmb_code rc = sort_items(x, r, err);
    *item = rc == VMB_OK ? find_item(x, r, ns, name) : NULL;
    return rc;
}

vmb_code vmbi_index_get(vmbi_index *x, const char *group_resource, const char *ns, const char *name,
                        vmbi_buf *out, vmb_error **err)
{
    vmbi_index_resource *r = vmbi_index_find(x, group_resource);
    const vmbi_index_item *item = NULL;
    if (r == NULL || r->count == 0) {
        return absent(group_resource, ns, name, err);
    }
    if (r->streamed) {
        vmbi_index_wanted s = {group_resource, ns, name, out, false};
        return get_streamed(x, &s, err);
    }
    vmb_code rc = look_up(x, r, ns, name, &item, err);
    if (rc != VMB_OK || item == NULL) {
        return rc != VMB_OK ? rc : absent(group_resource, ns, name, err);
    }
    vmbi_buf raw = VMBI_BUF_INIT(2 * (size_t)VMBI_INDEX_MAX_ITEM);
    rc = unpack(&r->chunks[item->chunk], &raw, err);
    if (rc == VMB_OK) {
        vmbi_buf_add(out, raw.data + item->offset, item->len);
        rc = vmbi_buf_check(out, err, "object");
    }
    vmbi_buf_free(&raw);
    return rc;
}

bool vmbi_index_has(vmbi_index *x, const char *group_resource, const char *ns, const char *name)
{
    vmbi_index_resource *r = vmbi_index_find(x, group_resource);
    const vmbi_index_item *item = NULL;
    bool known = false;
    bool has = false;
    if (r == NULL || r->count == 0) {
        return false;
    }
    if (!r->streamed) {
        return look_up(x, r, ns, name, &item, NULL) == VMB_OK && item != NULL;
    }
    if (vmbi_index_seek_has(x, group_resource, ns, name, &known, &has, NULL) == VMB_OK && !known) {
        vmbi_buf text = VMBI_BUF_INIT(VMBI_INDEX_MAX_ITEM);
        has = vmbi_index_get(x, group_resource, ns, name, &text, NULL) == VMB_OK;
        vmbi_buf_free(&text);
    }
    return has;
}

/* ---- all of a resource --------------------------------------------------------------------- */

typedef struct each {
    const char *group_resource;
    const char *version; /* "": the plain path */
    vmbi_index_fn fn;
    void *user;
} each;

static vmb_code give_entry(void *user, const char *path, const char *data, size_t len,
                           vmb_error **err)
{
    each *w = user;
    vmbi_index_entry e;
    if (!vmbi_index_entry_parse(path, &e) || e.preferred || strcmp(e.version, w->version) != 0 ||
        strcmp(e.group_resource, w->group_resource) != 0) {
        return VMB_OK;
    }
    return w->fn(w->user, e.ns, e.name, data, len, err);
}

static vmb_code each_streamed(const vmbi_index *x, const vmbi_index_resource *r, vmbi_index_fn fn,
                              void *user, vmb_error **err)
{
    char name[1024];
    size_t n = strlen(r->group_resource);
    if (n >= sizeof(name)) {
        return vmbi_fail(err, VMB_E_LIMIT, "name of a resource with %zu bytes", n);
    }
    memcpy(name, r->group_resource, n + 1);
    char *slash = strchr(name, '/');
    if (slash != NULL) {
        *slash = '\0';
    }
    each w = {name, slash != NULL ? slash + 1 : "", fn, user};
    return vmbi_index_walk(x, give_entry, &w, err);
}

vmb_code vmbi_index_each(vmbi_index *x, vmbi_index_resource *r, vmbi_index_fn fn, void *user,
                         vmb_error **err)
{
    if (r->streamed) {
        return each_streamed(x, r, fn, user, err);
    }
    vmbi_buf raw = VMBI_BUF_INIT(2 * (size_t)VMBI_INDEX_MAX_ITEM);
    size_t loaded = r->n_chunks;
    vmb_code rc = VMB_OK;
    for (size_t i = 0; i < r->count && rc == VMB_OK; i++) {
        const vmbi_index_item *item = &r->items[i];
        if (item->chunk != loaded) {
            rc = unpack(&r->chunks[item->chunk], &raw, err);
            loaded = item->chunk;
        }
        if (rc == VMB_OK) {
            rc = fn(user, vmbi_index_text(x, item->ns), vmbi_index_text(x, item->name),
                    raw.data + item->offset, item->len, err);
        }
    }
    vmbi_buf_free(&raw);
    return rc;
}
