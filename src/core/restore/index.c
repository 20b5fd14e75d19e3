/* SPDX-License-Identifier: Apache-2.0 */
#include "core/restore/index.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/job.h"
#include "codec/gzip.h"

enum { READ_BYTES = 1024 * 1024, ITEMS_MAX = 50 * 1000 * 1000 };

/* ---- the archive as a stream --------------------------------------------------------------- */

/* The tar reader pulls and stores push: the object is fetched in ranges. */
typedef struct source {
    const vmbi_store *store;
    vmb_job *job;
    const char *key;
    int64_t size;
    int64_t offset;
    vmbi_buf part;
    size_t used;
} source;

static vmb_code fetch_part(source *s, vmb_error **err)
{
    const vmb_store_provider *p = &s->store->location->store;
    int64_t want = s->size - s->offset < READ_BYTES ? s->size - s->offset : READ_BYTES;
    vmbi_buf_reset(&s->part);
    s->used = 0;
    struct vmb_sink sink = vmbi_sink_to_buf(&s->part);
    vmb_code rc = p->get(p->user, s->job, s->key, s->offset, want, &sink, err);
    rc = vmbi_check_provider(err, rc, "read an object");
    if (rc == VMB_OK && s->part.len != (size_t)want) {
        rc = vmbi_fail(err, VMB_E_CONFLICT, "%s: changed while it was read", s->key);
    }
    s->offset += want;
    return rc;
}

static int64_t read_part(void *user, void *buf, size_t size, vmb_error **err)
{
    source *s = user;
    if (s->used == s->part.len) {
        if (s->offset >= s->size) {
            return 0;
        }
        vmb_code rc = fetch_part(s, err);
        if (rc != VMB_OK) {
            return rc;
        }
    }
    size_t n = s->part.len - s->used < size ? s->part.len - s->used : size;
    memcpy(buf, s->part.data + s->used, n);
    s->used += n;
    return (int64_t)n;
}

/* Walks the archive. */
static vmb_code walk(const vmbi_index *x, vmbi_tar_entry_fn fn, void *user, vmb_error **err)
{
    vmbi_buf key = VMBI_BUF_INIT(4096);
    source s = {.store = x->store, .job = x->job, .part = VMBI_BUF_INIT(READ_BYTES)};
    const vmb_store_provider *p = &x->store->location->store;
    int64_t mtime = 0;
    vmb_code rc = vmbi_store_key(x->store, x->path, &key, err);
    if (rc == VMB_OK) {
        s.key = key.data;
        rc = p->stat(p->user, x->job, s.key, &s.size, &mtime, err);
        rc = vmbi_check_provider(err, rc, "look at an object");
    }
    if (rc == VMB_OK) {
        rc = vmbi_tar_read(read_part, &s, VMBI_INDEX_MAX_ITEM, fn, user, err);
    }
    vmbi_buf_free(&s.part);
    vmbi_buf_free(&key);
    return rc != VMB_OK ? vmbi_wrap(err, rc, "read %s", x->path) : VMB_OK;
}

/* ---- paths --------------------------------------------------------------------------------- */

typedef struct entry {
    char group_resource[512]; /* with "/version" for an additional version */
    char version[128];        /* "": the plain path */
    bool preferred;           /* of a -preferredversion folder: a second copy */
    char ns[256];
    char name[512];
} entry;

/* Copies up to the next '/' and steps behind it; false when it does not fit or is empty. */
static bool step(const char **p, char *out, size_t size)
{
    size_t n = strcspn(*p, "/");
    if (n == 0 || n >= size) {
        return false;
    }
    memcpy(out, *p, n);
    out[n] = '\0';
    *p += n + ((*p)[n] == '/' ? 1 : 0);
    return true;
}

static bool cut_suffix(char *s, const char *suffix)
{
    size_t n = strlen(s);
    size_t m = strlen(suffix);
    if (n <= m || strcmp(s + n - m, suffix) != 0) {
        return false;
    }
    s[n - m] = '\0';
    return true;
}

/* False for anything that is no object. */
static bool parse_entry(const char *path, entry *e)
{
    static const char top[] = "resources/";
    char word[256];
    if (strncmp(path, top, sizeof(top) - 1) != 0) {
        return false;
    }
    const char *p = path + sizeof(top) - 1;
    *e = (entry){.preferred = false};
    if (!step(&p, e->group_resource, sizeof(e->group_resource)) ||
        !step(&p, word, sizeof(word))) {
        return false;
    }
    if (strcmp(word, "namespaces") != 0 && strcmp(word, "cluster") != 0) {
        e->preferred = cut_suffix(word, "-preferredversion");
        size_t n = strlen(word);
        if (n >= sizeof(e->version)) {
            return false;
        }
        memcpy(e->version, word, n + 1);
        if (!step(&p, word, sizeof(word))) {
            return false;
        }
    }
    bool namespaced = strcmp(word, "namespaces") == 0;
    if ((!namespaced && strcmp(word, "cluster") != 0) ||
        (namespaced && !step(&p, e->ns, sizeof(e->ns))) || !step(&p, e->name, sizeof(e->name))) {
        return false;
    }
    return *p == '\0' && cut_suffix(e->name, ".json");
}

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

static vmb_code keep_object(vmbi_index *x, vmbi_index_resource *r, const entry *e,
                            const char *data, size_t len, vmb_error **err)
{
    if (r->streamed) {
        r->count++;
        return VMB_OK;
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
    entry e;
    if (!parse_entry(path, &e)) {
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
    vmb_code rc = x->path != NULL ? walk(x, take_entry, &l, err) : vmbi_fail_nomem(err);
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
    vmbi_free(x->resources);
    vmbi_map_free(&x->by_name);
    vmbi_map_free(&x->namespaces);
    vmbi_buf_free(&x->names);
    vmbi_free(x->path);
    (void)pthread_mutex_destroy(&x->lock);
    *x = (vmbi_index){.by_name = VMBI_MAP_INIT(NULL), .namespaces = VMBI_MAP_INIT(NULL)};
}

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

/* One object out of the stream. */
typedef struct search {
    const char *group_resource;
    const char *ns;
    const char *name;
    vmbi_buf *out;
    bool found;
} search;

static vmb_code match(void *user, const char *path, const char *data, size_t len, vmb_error **err)
{
    search *s = user;
    entry e;
    if (!parse_entry(path, &e) || e.version[0] != '\0' ||
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

vmb_code vmbi_index_get(vmbi_index *x, const char *group_resource, const char *ns,
                        const char *name, vmbi_buf *out, vmb_error **err)
{
    vmbi_index_resource *r = vmbi_index_find(x, group_resource);
    if (r == NULL || r->count == 0) {
        return absent(group_resource, ns, name, err);
    }
    if (r->streamed) {
        search s = {group_resource, ns, name, out, false};
        vmb_code rc = walk(x, match, &s, err);
        return rc == VMB_OK && !s.found ? absent(group_resource, ns, name, err) : rc;
    }
    vmb_code rc = sort_items(x, r, err);
    const vmbi_index_item *item = rc == VMB_OK ? find_item(x, r, ns, name) : NULL;
    if (rc != VMB_OK) {
        return rc;
    }
    if (item == NULL) {
        return absent(group_resource, ns, name, err);
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
    vmbi_buf text = VMBI_BUF_INIT(VMBI_INDEX_MAX_ITEM);
    vmb_code rc = vmbi_index_get(x, group_resource, ns, name, &text, NULL);
    vmbi_buf_free(&text);
    return rc == VMB_OK;
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
    entry e;
    if (!parse_entry(path, &e) || e.preferred || strcmp(e.version, w->version) != 0 ||
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
    return walk(x, give_entry, &w, err);
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
