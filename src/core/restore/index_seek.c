/* SPDX-License-Identifier: Apache-2.0 */
/* Single objects of resources that are too large to be kept. The first that is asked for costs one
 * pass over the archive, which notes where each of them lies; then each costs a short piece of it.
 */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "codec/gzseek.h"
#include "core/restore/index_impl.h"

enum { PLACES_MAX = 4 * 1024 * 1024 /* 64 MiB of them */ };

typedef struct place {
    uint64_t hash; /* of resource, namespace and name */
    uint64_t at;   /* of the entry in the tar */
} place;

struct vmbi_index_seek {
    vmbi_gzscan *scan;
    place *v; /* sorted by hash, then as in the archive */
    size_t n;
    size_t cap;
};

void vmbi_index_seek_free(vmbi_index_seek *s)
{
    if (s != NULL) {
        vmbi_gzscan_free(s->scan);
        vmbi_free(s->v);
        vmbi_free(s);
    }
}

static uint64_t hash_text(uint64_t h, const char *s)
{
    do { /* with the NUL: "a","bc" is not "ab","c" */
        h = (h ^ (uint8_t)*s) * UINT64_C(0x100000001b3); /* FNV-1a */
    } while (*s++ != '\0');
    return h;
}

static uint64_t hash_of(const char *group_resource, const char *ns, const char *name)
{
    return hash_text(hash_text(hash_text(UINT64_C(0xcbf29ce484222325), group_resource), ns), name);
}

typedef struct builder {
    const vmbi_index *x;
    vmbi_index_seek *s;
} builder;

static vmb_code note_place(void *user, const char *path, uint64_t at, vmb_error **err)
{
    builder *b = user;
    vmbi_index_entry e;
    if (!vmbi_index_entry_parse(path, &e) || e.version[0] != '\0') {
        return VMB_OK;
    }
    const vmbi_index_resource *r = vmbi_index_find(b->x, e.group_resource);
    if (r == NULL || !r->streamed) {
        return VMB_OK;
    }
    if (b->s->n == b->s->cap) {
        size_t cap = b->s->cap == 0 ? 1024 : b->s->cap + b->s->cap / 2;
        place *v = cap <= PLACES_MAX ? vmbi_realloc_array(b->s->v, cap, sizeof(*v)) : NULL;
        if (v == NULL) {
            return cap <= PLACES_MAX
                       ? vmbi_fail_nomem(err)
                       : vmbi_fail(err, VMB_E_LIMIT, "a backup with too many objects to note");
        }
        b->s->v = v;
        b->s->cap = cap;
    }
    b->s->v[b->s->n++] = (place){hash_of(e.group_resource, e.ns, e.name), at};
    return VMB_OK;
}

static int compare_places(const void *a, const void *b)
{
    const place *one = a;
    const place *two = b;
    if (one->hash != two->hash) {
        return one->hash < two->hash ? -1 : 1;
    }
    return one->at < two->at ? -1 : one->at > two->at ? 1 : 0;
}

static vmb_code build(vmbi_index *x, vmbi_index_seek **out, vmb_error **err)
{
    vmbi_index_source src;
    vmbi_index_seek *s = vmbi_zalloc(sizeof(*s));
    if (s == NULL) {
        return vmbi_fail_nomem(err);
    }
    builder b = {x, s};
    vmb_code rc = vmbi_index_open(x, &src, err);
    if (rc == VMB_OK) {
        rc = vmbi_gzscan_new(vmbi_index_pull, &src, &s->scan, err);
    }
    if (rc == VMB_OK) {
        rc = vmbi_tar_places(vmbi_gzscan_read, s->scan, note_place, &b, err);
    }
    vmbi_index_close(&src);
    if (rc == VMB_OK) {
        qsort(s->v, s->n, sizeof(*s->v), compare_places);
        *out = s;
    } else {
        vmbi_index_seek_free(s);
    }
    return rc;
}

/* NULL in *out: there are too many, and the archive must be walked. */
static vmb_code seek_of(vmbi_index *x, const vmbi_index_seek **out, vmb_error **err)
{
    vmb_error *why = NULL;
    vmb_code rc = VMB_OK;
    (void)pthread_mutex_lock(&x->lock);
    if (x->seek == NULL && !x->no_seek) {
        rc = build(x, &x->seek, &why);
        if (rc == VMB_E_LIMIT) {
            x->no_seek = true;
            rc = VMB_OK;
        }
    }
    *out = x->seek;
    (void)pthread_mutex_unlock(&x->lock);
    if (rc != VMB_OK) {
        vmbi_error_move(err, &why);
        return vmbi_wrap(err, rc, "read %s", x->path);
    }
    vmb_error_free(why);
    return VMB_OK;
}

/* ---- looking up ---------------------------------------------------------------------------- */

/* The first place with this hash; n: none. */
static size_t first_of(const vmbi_index_seek *s, uint64_t hash)
{
    size_t low = 0;
    size_t high = s->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (s->v[middle].hash < hash) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < s->n && s->v[low].hash == hash ? low : s->n;
}

/* The entry at the place: it is the one, or another of the same hash. */
static vmb_code take(void *user, const char *path, const char *data, size_t len, vmb_error **err)
{
    vmb_code rc = vmbi_index_take(user, path, data, len, err);
    return rc != VMB_OK ? rc : 1; /* ends the reading all the same */
}

static vmb_code read_at(const vmbi_index *x, const vmbi_index_seek *s, uint64_t at,
                        vmbi_index_wanted *w, vmb_error **err)
{
    vmbi_index_source src;
    vmbi_gzcursor *c = NULL;
    vmb_code rc = vmbi_index_open(x, &src, err);
    src.offset = (int64_t)vmbi_gzscan_start(s->scan, at);
    if (rc == VMB_OK) {
        rc = vmbi_gzcursor_new(s->scan, at, vmbi_index_pull, &src, &c, err);
    }
    if (rc == VMB_OK) {
        rc = vmbi_tar_read(vmbi_gzcursor_read, c, VMBI_INDEX_MAX_ITEM, take, w, err);
    }
    vmbi_gzcursor_free(c);
    vmbi_index_close(&src);
    return rc != VMB_OK ? vmbi_wrap(err, rc, "read %s", x->path) : VMB_OK;
}

vmb_code vmbi_index_seek_has(vmbi_index *x, const char *group_resource, const char *ns,
                             const char *name, bool *known, bool *has, vmb_error **err)
{
    const vmbi_index_seek *s = NULL;
    vmb_code rc = seek_of(x, &s, err);
    *known = rc == VMB_OK && s != NULL;
    *has = *known && first_of(s, hash_of(group_resource, ns, name)) < s->n;
    return rc;
}

vmb_code vmbi_index_seek_get(vmbi_index *x, const char *group_resource, const char *ns,
                             const char *name, vmbi_buf *out, bool *known, bool *found,
                             vmb_error **err)
{
    const vmbi_index_seek *s = NULL;
    uint64_t hash = hash_of(group_resource, ns, name);
    vmbi_index_wanted w = {group_resource, ns, name, out, false};
    vmb_code rc = seek_of(x, &s, err);
    *known = rc == VMB_OK && s != NULL;
    for (size_t i = *known ? first_of(s, hash) : 0;
         *known && rc == VMB_OK && !w.found && i < s->n && s->v[i].hash == hash; i++) {
        rc = read_at(x, s, s->v[i].at, &w, err);
    }
    *found = w.found;
    return rc;
}
