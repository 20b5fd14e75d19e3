/* SPDX-License-Identifier: Apache-2.0 */
/* Comparing the archives of two backups, whose order may differ. The first walk over `a` keeps a
 * digest of each object; the walk over `b` finds what is new and what differs; a second walk over
 * `a` finds what is gone and gathers the changed objects in batches, and for each batch `b` is
 * walked once more to compare them. */
#include "core/catalog/parts.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/map.h"
#include "codec/digest.h"
#include "model/json_diff.h"

enum { BATCH_BYTES = 32 * 1024 * 1024, MAX_LINE = 256 * 1024 * 1024 };

typedef struct entry {
    vmbi_key16 key; /* of the path; all zero: free */
    uint8_t sum[16];
    uint32_t waits; /* number in the batch + 1; 0: not there */
    uint8_t state;  /* a STATE_ */
} entry;

enum {
    STATE_ONLY_A = 0,
    STATE_SAME = 1,
    STATE_CHANGED = 2,
    STATE_DONE = 3 /* compared or reported */
};

typedef struct table {
    entry *slots;
    size_t n, cap;
} table;

/* A changed object of `a` that waits for its counterpart. */
typedef struct waiting {
    char *json;
    size_t len;
} waiting;

typedef struct diffing {
    vmb_catalog *cat_a, *cat_b;
    const char *a, *b;
    const vmbi_strs *ignore;
    vmb_write_fn fn;
    void *user;
    table objects;
    waiting *batch;
    size_t n_batch, cap_batch;
    size_t batch_bytes;
    vmbi_keyset seen_b; /* keys of `b` that have been looked at: an archive may hold one twice */
    int64_t added, removed, changed, same;
} diffing;

/* ---- table --------------------------------------------------------------------------------- */

static const vmbi_key16 no_key;

static vmbi_key16 key_of(const char *path)
{
    uint8_t sum[32];
    vmbi_key16 key;
    vmbi_sha256(path, strlen(path), sum);
    memcpy(key.b, sum, sizeof(key.b));
    return key;
}

/* The slot of a key, or the free one where it belongs. cap is a power of two, never full. */
static entry *slot_of(const table *t, const vmbi_key16 *key)
{
    uint64_t h;
    memcpy(&h, key->b, sizeof(h));
    size_t i = (size_t)h & (t->cap - 1);
    while (memcmp(&t->slots[i].key, &no_key, sizeof(no_key)) != 0 &&
           memcmp(&t->slots[i].key, key, sizeof(*key)) != 0) {
        i = (i + 1) & (t->cap - 1);
    }
    return &t->slots[i];
}

static entry *find(const table *t, const vmbi_key16 *key)
{
    entry *e = t->cap > 0 ? slot_of(t, key) : NULL;
    return e != NULL && memcmp(&e->key, key, sizeof(*key)) == 0 ? e : NULL;
}

static vmb_code grow(table *t, vmb_error **err)
{
    table larger = {.cap = t->cap > 0 ? t->cap * 2 : 1024, .n = t->n};
    larger.slots = vmbi_alloc_array(larger.cap, sizeof(*larger.slots));
    if (larger.slots == NULL) {
        return vmbi_fail_nomem(err);
    }
    memset(larger.slots, 0, larger.cap * sizeof(*larger.slots));
    for (size_t i = 0; i < t->cap; i++) {
        if (memcmp(&t->slots[i].key, &no_key, sizeof(no_key)) != 0) {
            *slot_of(&larger, &t->slots[i].key) = t->slots[i];
        }
    }
    vmbi_free(t->slots);
    *t = larger;
    return VMB_OK;
}

static vmb_code put(table *t, const vmbi_key16 *key, const uint8_t sum[16], vmb_error **err)
{
    if (t->n + t->n / 2 >= t->cap) {
        vmb_code rc = grow(t, err);
        if (rc != VMB_OK) {
            return rc;
        }
    }
    entry *e = slot_of(t, key);
    t->n += memcmp(&e->key, key, sizeof(*key)) != 0 ? 1 : 0;
    e->key = *key;
    memcpy(e->sum, sum, sizeof(e->sum)); /* of entries under one path the last one counts */
    return VMB_OK;
}

/* ---- writing ------------------------------------------------------------------------------- */

static vmb_code write_line(diffing *d, const vmbi_json *doc, vmb_error **err)
{
    vmbi_buf line = VMBI_BUF_INIT(MAX_LINE);
    vmb_code rc = doc != NULL ? vmbi_json_print(doc, &line, err) : vmbi_fail_nomem(err);
    if (rc == VMB_OK) {
        vmbi_buf_addc(&line, '\n');
        rc = vmbi_buf_check(&line, err, "line of a comparison");
    }
    if (rc == VMB_OK) {
        rc = d->fn(d->user, line.data, line.len);
        rc = rc == VMB_OK ? VMB_OK : vmbi_check_provider(err, rc, "the caller's write function");
    }
    vmbi_buf_free(&line);
    return rc;
}

static bool set_slice(vmbi_json *doc, const char *key, vmbi_slice s)
{
    return vmbi_json_set(doc, key, vmbi_json_stringn(s.len > 0 ? s.p : "", s.len));
}

/* Takes patch over; NULL: none. */
static vmb_code report(diffing *d, const char *change, const vmbi_archive_path *p,
                       vmbi_json *patch, vmb_error **err)
{
    vmbi_json *doc = vmbi_json_object();
    bool ok = doc != NULL && vmbi_json_set_str(doc, "change", change) &&
              set_slice(doc, "resource", p->resource) && set_slice(doc, "namespace", p->ns) &&
              set_slice(doc, "name", p->name);
    if (ok && patch != NULL) {
        ok = vmbi_json_set(doc, "patch", vmbi_json_ref(patch));
    }
    vmb_code rc = ok ? write_line(d, doc, err) : vmbi_fail_nomem(err);
    vmbi_json_free(patch);
    vmbi_json_free(doc);
    return rc;
}

/* ---- the walks ----------------------------------------------------------------------------- */

/* Objects are compared under their classic path: the other one holds the same bytes. */
static bool is_object(const char *path, vmbi_archive_path *p)
{
    return vmbi_archive_path_parse(path, p) && p->version.len == 0;
}

static void sum_of(const char *data, size_t len, uint8_t out[16])
{
    uint8_t sum[32];
    vmbi_sha256(data, len, sum);
    memcpy(out, sum, 16);
}

static vmb_code note_a(void *user, const char *path, const char *data, size_t len, vmb_error **err)
{
    diffing *d = user;
    vmbi_archive_path p;
    uint8_t sum[16];
    if (!is_object(path, &p)) {
        return VMB_OK;
    }
    vmbi_key16 key = key_of(path);
    sum_of(data, len, sum);
    return put(&d->objects, &key, sum, err);
}

static vmb_code look_at_b(void *user, const char *path, const char *data, size_t len,
                          vmb_error **err)
{
    diffing *d = user;
    vmbi_archive_path p;
    uint8_t sum[16];
    bool fresh = false;
    if (!is_object(path, &p)) {
        return VMB_OK;
    }
    vmbi_key16 key = key_of(path);
    entry *e = find(&d->objects, &key);
    if (e == NULL) {
        vmb_code rc = vmbi_keyset_add(&d->seen_b, &key, &fresh, err);
        if (rc != VMB_OK || !fresh) {
            return rc;
        }
        d->added++;
        return report(d, "added", &p, NULL, err);
    }
    sum_of(data, len, sum);
    e->state = memcmp(sum, e->sum, sizeof(sum)) == 0 ? STATE_SAME : STATE_CHANGED;
    return VMB_OK;
}

static vmb_code flush_batch(diffing *d, vmb_error **err);

static vmb_code gather(diffing *d, entry *e, const char *data, size_t len, vmb_error **err)
{
    if (d->n_batch == d->cap_batch) {
        size_t cap = d->cap_batch > 0 ? d->cap_batch * 2 : 64;
        waiting *v = vmbi_realloc_array(d->batch, cap, sizeof(*v));
        if (v == NULL) {
            return vmbi_fail_nomem(err);
        }
        d->batch = v;
        d->cap_batch = cap;
    }
    char *copy = vmbi_strndup(data, len);
    if (copy == NULL) {
        return vmbi_fail_nomem(err);
    }
    d->batch[d->n_batch++] = (waiting){copy, len};
    e->waits = (uint32_t)d->n_batch;
    d->batch_bytes += len + sizeof(waiting);
    return d->batch_bytes >= BATCH_BYTES ? flush_batch(d, err) : VMB_OK;
}

static vmb_code look_again_at_a(void *user, const char *path, const char *data, size_t len,
                                vmb_error **err)
{
    diffing *d = user;
    vmbi_archive_path p;
    uint8_t sum[16];
    if (!is_object(path, &p)) {
        return VMB_OK;
    }
    vmbi_key16 key = key_of(path);
    entry *e = find(&d->objects, &key);
    sum_of(data, len, sum);
    if (e == NULL || memcmp(sum, e->sum, sizeof(sum)) != 0) {
        return VMB_OK; /* a former entry of the same path */
    }
    if (e->state == STATE_ONLY_A) {
        e->state = STATE_DONE;
        d->removed++;
        return report(d, "removed", &p, NULL, err);
    }
    if (e->state == STATE_CHANGED) {
        e->state = STATE_DONE;
        return gather(d, e, data, len, err);
    }
    d->same += e->state == STATE_SAME ? 1 : 0;
    e->state = STATE_DONE;
    return VMB_OK;
}

/* ---- changed objects ----------------------------------------------------------------------- */

static vmb_code parse(const diffing *d, const char *data, size_t len, const char *path,
                      vmbi_json **out, vmb_error **err)
{
    vmb_code rc = vmbi_json_parse(data, len, path, out, err);
    for (size_t i = 0; i < d->ignore->n && rc == VMB_OK; i++) {
        vmbi_json_pointer_remove(*out, d->ignore->v[i]);
    }
    return rc;
}

static vmb_code compare_one(diffing *d, const vmbi_archive_path *p, const char *path,
                            const waiting *w, const char *data, size_t len, vmb_error **err)
{
    vmbi_json *from = NULL;
    vmbi_json *to = NULL;
    vmbi_json *patch = vmbi_json_array();
    vmb_code rc = patch != NULL ? parse(d, w->json, w->len, path, &from, err)
                                : vmbi_fail_nomem(err);
    if (rc == VMB_OK) {
        rc = parse(d, data, len, path, &to, err);
    }
    if (rc == VMB_OK) {
        rc = vmbi_json_diff(from, to, patch, err);
    }
    if (rc == VMB_OK && vmbi_json_len(patch) > 0) {
        d->changed++;
        rc = report(d, "changed", p, vmbi_steal(&patch), err);
    } else if (rc == VMB_OK) {
        d->same++;
    }
    vmbi_json_free(patch);
    vmbi_json_free(from);
    vmbi_json_free(to);
    return rc;
}

static vmb_code match_b(void *user, const char *path, const char *data, size_t len,
                        vmb_error **err)
{
    diffing *d = user;
    vmbi_archive_path p;
    if (!is_object(path, &p)) {
        return VMB_OK;
    }
    vmbi_key16 key = key_of(path);
    entry *e = find(&d->objects, &key);
    if (e == NULL || e->waits == 0) {
        return VMB_OK;
    }
    waiting *w = &d->batch[e->waits - 1];
    vmb_code rc = compare_one(d, &p, path, w, data, len, err);
    vmbi_free(vmbi_steal(&w->json));
    e->waits = 0;
    return rc;
}

static void drop_batch(diffing *d)
{
    for (size_t i = 0; i < d->n_batch; i++) {
        vmbi_free(d->batch[i].json);
    }
    d->n_batch = 0;
    d->batch_bytes = 0;
}

static vmb_code flush_batch(diffing *d, vmb_error **err)
{
    vmb_code rc = d->n_batch > 0 ? vmbi_catalog_walk(d->cat_b, d->b, match_b, d, NULL, err)
                                 : VMB_OK;
    drop_batch(d);
    return rc;
}

static vmb_code write_totals(diffing *d, vmb_error **err)
{
    vmbi_json *doc = vmbi_json_object();
    bool ok = doc != NULL && vmbi_json_set_int(doc, "added", d->added) &&
              vmbi_json_set_int(doc, "removed", d->removed) &&
              vmbi_json_set_int(doc, "changed", d->changed) &&
              vmbi_json_set_int(doc, "same", d->same);
    vmb_code rc = ok ? write_line(d, doc, err) : vmbi_fail_nomem(err);
    vmbi_json_free(doc);
    return rc;
}

static vmb_code require(vmb_catalog *cat, const char *backup, vmb_error **err)
{
    vmbi_json *meta = NULL;
    vmb_code rc = vmbi_catalog_require(cat, backup, &meta, err);
    vmbi_json_free(meta);
    return rc;
}

vmb_code vmbi_catalog_diff(vmb_catalog *cat_a, const char *a, vmb_catalog *cat_b, const char *b,
                           const vmbi_strs *ignore, vmb_write_fn fn, void *user, vmb_error **err)
{
    diffing d = {.cat_a = cat_a, .cat_b = cat_b, .a = a, .b = b, .ignore = ignore, .fn = fn,
                 .user = user};
    vmb_code rc = require(cat_a, a, err);
    if (rc == VMB_OK) {
        rc = require(cat_b, b, err);
    }
    if (rc == VMB_OK) {
        rc = vmbi_catalog_walk(cat_a, a, note_a, &d, NULL, err);
    }
    if (rc == VMB_OK) {
        rc = vmbi_catalog_walk(cat_b, b, look_at_b, &d, NULL, err);
    }
    if (rc == VMB_OK) {
        rc = vmbi_catalog_walk(cat_a, a, look_again_at_a, &d, NULL, err);
    }
    if (rc == VMB_OK) {
        rc = flush_batch(&d, err);
    }
    if (rc == VMB_OK) {
        rc = write_totals(&d, err);
    }
    drop_batch(&d);
    vmbi_free(d.batch);
    vmbi_free(d.objects.slots);
    vmbi_keyset_free(&d.seen_b);
    return rc;
}
