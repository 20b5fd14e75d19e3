/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/ops/copy.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/map.h"
#include "repo/tree/pool.h"
#include "repo/tree/tree.h"

enum {
    BATCH = 32 * 1024,               /* blobs that are sorted by their places and read together */
    RUN_MAX_BLOBS = 64,
    RUN_MAX_BYTES = 8 * 1024 * 1024, /* of one request */
    RUN_MAX_GAP = 256 * 1024,
    POOL_BYTES = 16 * 1024 * 1024,
    POOL_THREADS = 2
};

/* A blob that the target lacks, and where the source has it. */
typedef struct wanted {
    vmbi_repo_id id;
    vmbi_blob_place place;
} wanted;

typedef struct copying {
    vmbi_repo *from, *to;
    const vmbi_copy_options *o;
    vmb_job *job;
    vmbi_pool pool;
    vmbi_pool_group group;
    vmbi_keyset visited; /* trees, over all snapshots */
    wanted *batch;
    size_t n_batch;
    vmbi_repo_id run_ids[RUN_MAX_BLOBS];
    vmbi_repo_id *saved; /* where the pool writes IDs, BATCH of them; they are known already */
    size_t n_saved;
    vmbi_copy_stats stats;
} copying;

static void tell(copying *c)
{
    if (c->o->progress != NULL) {
        c->o->progress(c->o->user, &c->stats);
    }
}

/* ---- blobs of files ---------------------------------------------------------------------------- */

static int by_place(const void *a, const void *b)
{
    const vmbi_blob_place *x = &((const wanted *)a)->place;
    const vmbi_blob_place *y = &((const wanted *)b)->place;
    if (x->pack != y->pack) {
        return x->pack < y->pack ? -1 : 1;
    }
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

static vmb_code save_copy(void *user, size_t i, const void *data, size_t len, vmb_error *why,
                          vmb_error **err)
{
    copying *c = user;
    if (data == NULL) {
        return vmbi_fail(err, vmb_error_code(why), "copy: %s", vmb_error_message(why));
    }
    (void)i;
    uint8_t *own = vmbi_memdup(data, len);
    if (own == NULL) {
        return vmbi_fail_nomem(err);
    }
    c->stats.blobs++;
    c->stats.bytes += len;
    return vmbi_pool_save(&c->pool, own, len, &c->saved[c->n_saved++], &c->group, err);
}

/* One request for blobs that lie close to each other; *n: how many. */
static vmb_code copy_run(copying *c, const wanted *v, size_t left, size_t *n, vmb_error **err)
{
    vmbi_blob_place places[RUN_MAX_BLOBS];
    size_t k = 0;
    while (k < left && k < RUN_MAX_BLOBS) {
        const vmbi_blob_place *p = &v[k].place;
        if (k > 0) {
            uint64_t end = (uint64_t)places[k - 1].offset + places[k - 1].stored_len;
            if (p->pack != places[0].pack || p->offset < end || p->offset - end > RUN_MAX_GAP ||
                (uint64_t)p->offset + p->stored_len - places[0].offset > RUN_MAX_BYTES) {
                break;
            }
        }
        places[k] = *p;
        c->run_ids[k] = v[k].id;
        k++;
    }
    *n = k;
    return vmbi_repo_load_run(c->from, VMBI_BLOB_DATA, c->run_ids, places, k, false, save_copy, c,
                              err);
}

static vmb_code copy_batch(copying *c, vmb_error **err)
{
    vmb_code rc = VMB_OK;
    size_t n = 0;
    qsort(c->batch, c->n_batch, sizeof(*c->batch), by_place);
    for (size_t i = 0; i < c->n_batch; i++) { /* a blob may be wanted several times */
        if (n == 0 || by_place(&c->batch[i], &c->batch[n - 1]) != 0) {
            c->batch[n++] = c->batch[i];
        }
    }
    for (size_t i = 0; i < n && rc == VMB_OK;) {
        size_t run = 0;
        rc = vmbi_limits_check(&c->job->limits, err, "copy snapshots");
        rc = rc == VMB_OK ? copy_run(c, &c->batch[i], n - i, &run, err) : rc;
        i += run;
        tell(c);
    }
    vmb_code waited = vmbi_pool_wait(&c->pool, &c->group, rc == VMB_OK ? err : NULL);
    c->n_batch = 0;
    c->n_saved = 0;
    return rc == VMB_OK ? waited : rc;
}

static vmb_code want(copying *c, const vmbi_repo_id *id, vmb_error **err)
{
    if (vmbi_repo_has_blob(c->to, VMBI_BLOB_DATA, id)) {
        return VMB_OK;
    }
    wanted *w = &c->batch[c->n_batch];
    if (!vmbi_repo_find_blob(c->from, VMBI_BLOB_DATA, id, &w->place)) {
        char hex[VMBI_REPO_HEX_SIZE];
        vmbi_repo_id_hex(id, hex);
        return vmbi_fail(err, VMB_E_NOT_FOUND, "copy: the index of the source has no blob %s", hex);
    }
    w->id = *id;
    c->n_batch++;
    return c->n_batch == BATCH ? copy_batch(c, err) : VMB_OK;
}

/* ---- trees ------------------------------------------------------------------------------------- */

/* The tree's bytes as they are: another encoder's trees keep their IDs. */
static vmb_code copy_tree(copying *c, const vmbi_repo_id *id, bool *fresh, vmb_error **err)
{
    vmbi_buf text = VMBI_BUF_INIT(VMBI_REPO_MAX_BLOB);
    vmbi_key16 key;
    bool known = false;
    memcpy(key.b, id->b, sizeof(key.b));
    vmb_code rc = vmbi_keyset_add(&c->visited, &key, fresh, err);
    if (rc != VMB_OK || !*fresh) {
        return rc;
    }
    c->stats.trees++;
    if (vmbi_repo_has_blob(c->to, VMBI_BLOB_TREE, id)) {
        return VMB_OK;
    }
    rc = vmbi_repo_load_blob(c->from, VMBI_BLOB_TREE, id, &text, err);
    if (rc == VMB_OK) {
        rc = vmbi_repo_save_hashed(c->to, VMBI_BLOB_TREE, id, text.data, text.len, &known, err);
        c->stats.blobs++;
        c->stats.bytes += text.len;
    }
    vmbi_buf_free(&text);
    return rc;
}

static vmb_code visit(void *user, const vmbi_repo_id *tree, const char *path,
                      const vmbi_node *node, bool *descend, vmb_error **err)
{
    copying *c = user;
    vmb_code rc = VMB_OK;
    bool fresh = false;
    (void)tree;
    (void)path;
    for (size_t i = 0; i < node->n_content && rc == VMB_OK; i++) {
        rc = want(c, &node->content[i], err);
    }
    if (rc == VMB_OK && node->has_subtree) {
        rc = copy_tree(c, &node->subtree, &fresh, err);
        *descend = fresh;
    }
    return rc;
}

static vmb_code copy_data(copying *c, const vmbi_snapshot *s, vmb_error **err)
{
    vmbi_tree_walk w = {.repo = c->from, .job = c->job, .visit = visit, .user = c};
    bool fresh = false;
    vmb_code rc = copy_tree(c, &s->tree, &fresh, err);
    if (rc == VMB_OK && fresh) {
        rc = vmbi_tree_walk_run(&w, &s->tree, err);
    }
    return rc == VMB_OK ? copy_batch(c, err) : rc;
}

/* ---- snapshots --------------------------------------------------------------------------------- */

/* The ID that a snapshot had before it was copied or rewritten. */
static const char *original_of(const vmbi_snapshot *s)
{
    const char *original = vmbi_json_get_str(s->json, "original");
    return original != NULL ? original : s->id;
}

/* A snapshot without what a copy changes, and with lists whose order does not count sorted. */
static vmb_code comparable(const vmbi_snapshot *s, vmbi_json **out, vmb_error **err)
{
    static const char *const fields[] = {"tree", "hostname", "username", "uid", "gid", "excludes"};
    static const char *const lists[] = {"paths", "tags"};
    vmbi_json *v = vmbi_json_object();
    bool ok = v != NULL && vmbi_json_set_int(v, "time", s->time_unix_ns);
    for (size_t i = 0; i < VMBI_ARRAY_LEN(fields) && ok; i++) {
        vmbi_json *field = vmbi_json_get(s->json, fields[i]);
        ok = field == NULL || vmbi_json_set(v, fields[i], vmbi_json_ref(field));
    }
    for (size_t i = 0; i < VMBI_ARRAY_LEN(lists) && ok; i++) {
        const vmbi_json *list = vmbi_json_get(s->json, lists[i]);
        vmbi_strs strs = {0};
        for (size_t k = 0; k < vmbi_json_len(list) && ok; k++) {
            const char *text = vmbi_json_str(vmbi_json_at(list, k));
            ok = vmbi_strs_add(&strs, text != NULL ? text : "", NULL) == VMB_OK;
        }
        vmbi_strs_sort(&strs);
        ok = ok && vmbi_json_set(v, lists[i], vmbi_json_string_array(&strs));
        vmbi_strs_free(&strs);
    }
    if (!ok) {
        vmbi_json_free(v);
        return vmbi_fail_nomem(err);
    }
    *out = v;
    return VMB_OK;
}

/* The target's copy of a snapshot; NULL when it has none. */
static vmb_code find_copy(const vmbi_snapshot_set *target, const vmbi_snapshot *s,
                          const char **found, vmb_error **err)
{
    vmbi_json *want = NULL;
    *found = NULL;
    vmb_code rc = comparable(s, &want, err);
    for (size_t i = 0; i < target->n && rc == VMB_OK && *found == NULL; i++) {
        const vmbi_snapshot *t = &target->v[i];
        vmbi_json *have = NULL;
        if (strcmp(original_of(t), original_of(s)) != 0 && strcmp(t->id, original_of(s)) != 0) {
            continue;
        }
        rc = comparable(t, &have, err);
        if (rc == VMB_OK && vmbi_json_equal(want, have)) {
            *found = t->id;
        }
        vmbi_json_free(have);
    }
    vmbi_json_free(want);
    return rc;
}

static vmb_code save_snapshot(copying *c, const vmbi_snapshot *s, char id[VMBI_REPO_HEX_SIZE],
                              vmb_error **err)
{
    vmbi_json *v = vmbi_json_copy(s->json);
    if (v == NULL) {
        return vmbi_fail_nomem(err);
    }
    vmbi_json_del(v, "parent"); /* means nothing there */
    bool ok = vmbi_json_get_str(v, "original") != NULL || vmbi_json_set_str(v, "original", s->id);
    vmb_code rc = ok ? vmbi_repo_snapshot_save(c->to, v, id, err) : vmbi_fail_nomem(err);
    vmbi_json_free(v);
    return rc;
}

static vmb_code report(vmbi_json *list, const char *source, const char *id, bool copied,
                       vmb_error **err)
{
    vmbi_json *v = list != NULL ? vmbi_json_object() : NULL;
    if (list == NULL) {
        return VMB_OK;
    }
    bool ok = v != NULL && vmbi_json_set_str(v, "source", source) &&
              vmbi_json_set_str(v, "id", id) && vmbi_json_set_bool(v, "copied", copied);
    if (!ok) {
        vmbi_json_free(v);
        return vmbi_fail_nomem(err);
    }
    return vmbi_json_append(list, v) ? VMB_OK : vmbi_fail_nomem(err);
}

static vmb_code copy_one(copying *c, const vmbi_snapshot_set *target, const vmbi_snapshot *s,
                         vmbi_json *list, vmb_error **err)
{
    const char *known = NULL;
    char id[VMBI_REPO_HEX_SIZE] = "";
    vmb_code rc = find_copy(target, s, &known, err);
    if (rc == VMB_OK && known != NULL) {
        c->stats.snapshots_known++;
        return report(list, s->id, known, false, err);
    }
    if (rc == VMB_OK) {
        rc = copy_data(c, s, err);
    }
    if (rc == VMB_OK) {
        rc = vmbi_repo_flush(c->to, err);
    }
    if (rc == VMB_OK) {
        rc = save_snapshot(c, s, id, err);
    }
    if (rc == VMB_OK) {
        c->stats.snapshots++;
        tell(c);
        rc = report(list, s->id, id, true, err);
    }
    return rc;
}

static vmb_code copy_all(copying *c, vmbi_json *list, vmb_error **err)
{
    vmbi_snapshot_set source = {0};
    vmbi_snapshot_set target = {0};
    vmb_code rc = vmbi_snapshots_load(c->from, &c->o->filter, &source, err);
    if (rc == VMB_OK) {
        rc = vmbi_snapshots_load(c->to, NULL, &target, err);
    }
    for (size_t i = 0; i < source.n && rc == VMB_OK; i++) {
        rc = copy_one(c, &target, &source.v[i], list, err);
    }
    vmbi_snapshots_free(&source);
    vmbi_snapshots_free(&target);
    return rc;
}

vmb_code vmbi_copy(vmbi_repo *from, vmbi_repo *to, const vmbi_copy_options *o, vmb_job *job,
                   vmbi_json **out, vmbi_copy_stats *stats, vmb_error **err)
{
    copying *c = vmbi_zalloc(sizeof(*c));
    vmbi_json *list = out != NULL ? vmbi_json_array() : NULL;
    if (c == NULL || (out != NULL && list == NULL)) {
        vmbi_free(c);
        vmbi_json_free(list);
        return vmbi_fail_nomem(err);
    }
    c->from = from;
    c->to = to;
    c->o = o;
    c->job = job;
    c->batch = vmbi_alloc_array(BATCH, sizeof(*c->batch));
    c->saved = vmbi_alloc_array(BATCH, sizeof(*c->saved));
    bool ready = c->batch != NULL && c->saved != NULL;
    vmb_code rc = ready ? vmbi_pool_init(&c->pool, to, POOL_THREADS, POOL_BYTES, err)
                        : vmbi_fail_nomem(err);
    if (rc == VMB_OK) {
        rc = copy_all(c, list, err);
        vmbi_pool_done(&c->pool);
    }
    if (stats != NULL) {
        *stats = c->stats;
    }
    if (rc == VMB_OK && out != NULL) {
        *out = vmbi_steal(&list);
    }
    vmbi_json_free(list);
    vmbi_keyset_free(&c->visited);
    vmbi_free(c->batch);
    vmbi_free(c->saved);
    vmbi_free(c);
    return rc;
}
