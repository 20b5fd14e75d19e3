/* SPDX-License-Identifier: Apache-2.0 */
/* Dropping what no snapshot needs. The exclusive lock keeps writers out; at every instant a crash
 * leaves a repository that reads: new packs and an index that names them come before old index
 * files go, and packs go last. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "repo/restic/indexfile.h"
#include "repo/restic/walk.h"

enum fate { KEEP = 0, DELETE, REPACK, ABSENT };

typedef struct pack_state {
    uint32_t pack;
    uint8_t fate;
    bool awkward; /* repacked in any case: mixed types, or trees that are not compressed */
    uint64_t used, unused; /* sealed bytes */
} pack_state;

typedef struct pruning {
    vmbi_restic *r;
    const vmbi_repo_prune_options *o;
    vmbi_repo_prune_stats stats;
    vmbi_walk walk;
    vmbi_id_list files;     /* packs in the store */
    vmbi_id_list old_index; /* index files at the start */
    pack_state *packs;
    size_t packs_n;
    vmbi_restic_index *old; /* all packs; r->index has only those that stay, once decided */
} pruning;

static vmb_code refuse(void *user, const char *kind, const char *file, const char *blob,
                       const char *message, vmb_error **err)
{
    (void)user;
    return vmbi_fail(err, VMB_E_INVALID, "prune: refused, the repository is damaged: %s %s%s: %s",
                     kind, file, blob, message);
}

/* ---- deciding ---- */

static vmb_code count_pack(pruning *p, pack_state *s, uint8_t *seen, vmbi_pack_blobs *blobs,
                           vmb_error **err)
{
    bool trees = false, data = false;
    size_t i = 0;
    vmb_code code = vmbi_restic_index_pack_blobs(p->r->index, s->pack, blobs, err);

    for (i = 0; code == VMB_OK && i < blobs->n; i++) {
        const vmbi_pack_blob *b = &blobs->v[i];
        const size_t record = vmbi_restic_index_record(p->r->index, b->type, &b->id);
        const bool first = (seen[record / 8] >> (record % 8) & 1) == 0;

        trees = trees || b->type == VMBI_BLOB_TREE;
        data = data || b->type == VMBI_BLOB_DATA;
        s->awkward = s->awkward || (p->r->config.version >= 2 && b->type == VMBI_BLOB_TREE &&
                                    b->size == 0);
        if (vmbi_walk_is_used(&p->walk, record) && first) { /* one copy is enough */
            s->used += b->length;
            p->stats.blobs_used++;
        } else {
            s->unused += b->length;
            p->stats.blobs_unused++;
        }
        seen[record / 8] = (uint8_t)(seen[record / 8] | 1u << (record % 8));
    }
    s->awkward = s->awkward || (trees && data);
    return code;
}

static vmb_code judge_pack(pruning *p, pack_state *s, const vmbi_pack_blobs *blobs, vmb_error **err)
{
    const vmbi_repo_id *id = vmbi_restic_index_pack_id(p->r->index, s->pack);
    char path[VMBI_RESTIC_PATH];
    size_t at = 0;
    const bool there = vmbi_id_list_has(&p->files, id, &at);
    const bool whole = there && (p->files.sizes[at] < 0 ||
                                 (uint64_t)p->files.sizes[at] ==
                                     vmbi_pack_file_size(blobs->v, blobs->n));

    vmbi_restic_pack_path(path, id);
    if (s->used > 0 && !whole) {
        return vmbi_fail(err, VMB_E_INVALID, "prune: refused: %s is needed and %s", path,
                         there ? "has the wrong size" : "missing");
    }
    p->stats.bytes_unused += s->unused;
    s->fate = s->used > 0 ? KEEP : there ? DELETE : ABSENT;
    return VMB_OK;
}

static int most_unused_first(const void *a, const void *b)
{
    const pack_state *x = a, *y = b;
    const double rx = (double)x->unused / (double)(x->used + x->unused + 1);
    const double ry = (double)y->unused / (double)(y->used + y->unused + 1);

    if (x->awkward != y->awkward) {
        return x->awkward ? -1 : 1;
    }
    return rx > ry ? -1 : rx < ry ? 1 : x->pack < y->pack ? -1 : x->pack > y->pack;
}

/* Marks packs to be written anew, the emptiest first, until little enough unused is left. */
static void choose_repacks(pruning *p)
{
    uint64_t used = 0, unused = 0, repacked = 0, allowed = 0;
    size_t i = 0;

    for (i = 0; i < p->packs_n; i++) {
        used += p->packs[i].used;
        unused += p->packs[i].fate == KEEP ? p->packs[i].unused : 0;
    }
    allowed = used / 100 * p->o->max_unused_percent;
    qsort(p->packs, p->packs_n, sizeof(*p->packs), most_unused_first);
    for (i = 0; i < p->packs_n; i++) {
        pack_state *s = &p->packs[i];
        const uint64_t size = s->used + s->unused;

        if (s->fate != KEEP || (!s->awkward && (s->unused == 0 || unused <= allowed)) ||
            (p->o->max_repack_bytes != 0 && repacked + size > p->o->max_repack_bytes)) {
            continue;
        }
        s->fate = REPACK;
        repacked += size;
        unused -= s->unused;
    }
}

static vmb_code decide(pruning *p, vmb_error **err)
{
    vmbi_pack_blobs blobs = {NULL, 0, 0};
    uint8_t *seen = vmbi_zalloc(vmbi_restic_index_records(p->r->index) / 8 + 1);
    size_t i = 0;
    vmb_code code = VMB_OK;

    p->packs_n = vmbi_restic_index_packs(p->r->index);
    p->packs = vmbi_alloc_array(p->packs_n, sizeof(*p->packs));
    if (seen == NULL || p->packs == NULL) {
        vmbi_free(seen);
        return vmbi_fail_nomem(err);
    }
    for (i = 0; code == VMB_OK && i < p->packs_n; i++) {
        p->packs[i] = (pack_state){.pack = (uint32_t)i};
        code = count_pack(p, &p->packs[i], seen, &blobs, err);
        if (code == VMB_OK) {
            code = judge_pack(p, &p->packs[i], &blobs, err);
        }
    }
    if (code == VMB_OK) {
        choose_repacks(p);
    }
    for (i = 0; i < p->packs_n; i++) {
        p->stats.packs_kept += p->packs[i].fate == KEEP;
        p->stats.packs_repacked += p->packs[i].fate == REPACK;
        p->stats.packs_deleted += p->packs[i].fate == DELETE;
        if (p->packs[i].fate == DELETE || p->packs[i].fate == REPACK) {
            p->stats.bytes_freed += p->packs[i].unused;
        }
    }
    vmbi_free(seen);
    vmbi_pack_blobs_free(&blobs);
    return code;
}

/* ---- doing ---- */

/* The index of what stays; r writes into it from now on. */
static vmb_code split_index(pruning *p, vmb_error **err)
{
    vmbi_pack_blobs blobs = {NULL, 0, 0};
    vmbi_restic_index *kept = NULL;
    size_t i = 0;
    vmb_code code = vmbi_restic_index_new(&kept, err);

    for (i = 0; code == VMB_OK && i < p->packs_n; i++) {
        vmbi_index_added how = VMBI_INDEX_NEW;

        if (p->packs[i].fate == KEEP) {
            code = vmbi_restic_index_pack_blobs(p->r->index, p->packs[i].pack, &blobs, err);
            if (code == VMB_OK) {
                code = vmbi_restic_index_add(
                    kept, vmbi_restic_index_pack_id(p->r->index, p->packs[i].pack), blobs.v, blobs.n,
                    &how, err);
            }
        }
    }
    vmbi_pack_blobs_free(&blobs);
    if (code != VMB_OK) {
        vmbi_restic_index_free(kept);
        return code;
    }
    (void)pthread_mutex_lock(&p->r->mutex);
    p->old = p->r->index;
    p->r->index = kept;
    p->r->index_exact = false;
    (void)pthread_mutex_unlock(&p->r->mutex);
    return VMB_OK;
}

/* Is the blob of an old pack needed, and not among what stays? */
static bool to_copy(pruning *p, const vmbi_pack_blob *b)
{
    return vmbi_walk_is_used(&p->walk, vmbi_restic_index_record(p->old, b->type, &b->id)) &&
           !vmbi_restic_has(&p->r->base, b->type, &b->id);
}

/* Copies one blob; sealed is spoilt. */
static vmb_code copy_blob(pruning *p, vmbi_lane *lane, const vmbi_pack_blob *b, uint8_t *sealed,
                          vmbi_buf *plain, vmb_error **err)
{
    size_t len = 0;
    vmb_code code = VMB_OK;

    vmbi_buf_reset(plain);
    vmbi_buf_reserve(plain, vmbi_pack_blob_size(b));
    code = vmbi_buf_check(plain, err, "blob");
    if (code == VMB_OK) {
        code = vmbi_restic_open_blob(lane, b, sealed, plain->data, plain->cap - 1, &len, err);
    }
    return code == VMB_OK
               ? vmbi_restic_save(&p->r->base, b->type, &b->id, plain->data, len, NULL, err)
               : code;
}

/* Copies what is needed of one pack. Blobs that lie near each other are read with one request. */
static vmb_code copy_pack(pruning *p, vmbi_lane *lane, const char *path, const vmbi_pack_blobs *blobs,
                          vmbi_buf *plain, vmb_error **err)
{
    enum { MAX_GAP = 1 << 20, MAX_READ = 16 << 20 };
    size_t i = 0, k = 0;
    vmb_code code = VMB_OK;

    while (code == VMB_OK && i < blobs->n) {
        uint64_t from = blobs->v[i].offset;
        uint64_t to = from + blobs->v[i].length;

        if (!to_copy(p, &blobs->v[i])) {
            i++;
            continue;
        }
        for (k = i + 1; k < blobs->n; k++) { /* as far as the run reaches */
            const uint64_t end = (uint64_t)blobs->v[k].offset + blobs->v[k].length;

            if (end - from > MAX_READ || blobs->v[k].offset - to > MAX_GAP) {
                break;
            }
            to = to_copy(p, &blobs->v[k]) ? end : to;
        }
        code = vmbi_room_reserve(&lane->scratch, (size_t)(to - from), err);
        if (code == VMB_OK) {
            code = vmbi_storage_read(&p->r->storage, path, from, lane->scratch.p, (size_t)(to - from),
                                     err);
        }
        for (; code == VMB_OK && i < blobs->n &&
               (uint64_t)blobs->v[i].offset + blobs->v[i].length <= to; i++) {
            if (to_copy(p, &blobs->v[i])) {
                code = copy_blob(p, lane, &blobs->v[i], lane->scratch.p + (blobs->v[i].offset - from),
                                 plain, err);
            }
        }
    }
    return code == VMB_OK ? VMB_OK : vmbi_wrap(err, code, "prune: copy blobs of %s", path);
}

static vmb_code repack(pruning *p, vmb_error **err)
{
    vmbi_pack_blobs blobs = {NULL, 0, 0};
    vmbi_buf plain = VMBI_BUF_INIT(VMBI_REPO_MAX_BLOB);
    vmbi_lane *lane = NULL;
    size_t i = 0;
    vmb_code code = vmbi_lane_get(p->r, &lane, err);

    for (i = 0; code == VMB_OK && i < p->packs_n; i++) {
        char path[VMBI_RESTIC_PATH];

        if (p->packs[i].fate != REPACK) {
            continue;
        }
        vmbi_restic_pack_path(path, vmbi_restic_index_pack_id(p->old, p->packs[i].pack));
        code = vmbi_restic_index_pack_blobs(p->old, p->packs[i].pack, &blobs, err);
        if (code == VMB_OK) {
            code = copy_pack(p, lane, path, &blobs, &plain, err);
        }
    }
    vmbi_lane_put(p->r, lane);
    vmbi_buf_free(&plain);
    vmbi_pack_blobs_free(&blobs);
    return code == VMB_OK ? vmbi_restic_flush(&p->r->base, err) : code;
}

/* Names the packs that stay in new index files: they are given to the packer's list of packs that
 * no index file names. */
static vmb_code write_index(pruning *p, size_t kept, vmb_error **err)
{
    vmbi_packer *k = &p->r->packer;
    uint32_t *list = vmbi_alloc_array(kept + 1, sizeof(*list));
    size_t i = 0;

    if (list == NULL) {
        return vmbi_fail_nomem(err);
    }
    for (i = 0; i < kept; i++) {
        list[i] = (uint32_t)i; /* they were the first to get into the new index */
    }
    (void)pthread_mutex_lock(&p->r->mutex);
    vmbi_free(k->unindexed);
    k->unindexed = list;
    k->unindexed_n = kept;
    k->unindexed_cap = kept + 1;
    (void)pthread_mutex_unlock(&p->r->mutex);
    return vmbi_restic_write_index(p->r, NULL, true, err);
}

static vmb_code remove_files(pruning *p, const vmbi_id_list *list, const char *dir, vmb_error **err)
{
    size_t i = 0;
    vmb_code code = VMB_OK;

    for (i = 0; code == VMB_OK && i < list->n; i++) {
        char path[VMBI_RESTIC_PATH];

        vmbi_restic_path(path, dir, &list->v[i]);
        code = vmbi_restic_still_locked(p->r, NULL, true, err);
        if (code == VMB_OK) {
            code = vmbi_storage_remove(&p->r->storage, NULL, path, err);
        }
    }
    return code;
}

/* A pack that cannot be removed is garbage for the next time. */
static vmb_code remove_pack(pruning *p, const vmbi_repo_id *id, vmb_error **err)
{
    char path[VMBI_RESTIC_PATH];
    vmb_error *why = NULL;
    vmb_code code = vmbi_restic_still_locked(p->r, NULL, false, err);

    if (code != VMB_OK) {
        return code;
    }
    vmbi_restic_pack_path(path, id);
    if (vmbi_storage_remove(&p->r->storage, NULL, path, &why) != VMB_OK) {
        vmbi_restic_log(p->r, VMB_LOG_WARNING, "%s", vmb_error_message(why));
    }
    vmb_error_free(why);
    return VMB_OK;
}

/* Packs that no index names: left by a writer that died. */
static vmb_code drop_orphans(pruning *p, vmb_error **err)
{
    uint8_t *known = vmbi_zalloc(p->files.n + 1);
    size_t i = 0, at = 0;
    vmb_code code = known != NULL ? VMB_OK : vmbi_fail_nomem(err);

    for (i = 0; code == VMB_OK && i < vmbi_restic_index_packs(p->r->index); i++) {
        if (vmbi_id_list_has(&p->files, vmbi_restic_index_pack_id(p->r->index, (uint32_t)i), &at)) {
            known[at] = 1;
        }
    }
    for (at = 0; code == VMB_OK && at < p->files.n; at++) {
        if (!known[at]) {
            p->stats.packs_deleted++;
            p->stats.bytes_freed += p->files.sizes[at] > 0 ? (uint64_t)p->files.sizes[at] : 0;
            code = p->o->dry_run ? VMB_OK : remove_pack(p, &p->files.v[at], err);
        }
    }
    vmbi_free(known);
    return code;
}

static bool changes(const pruning *p)
{
    size_t i = 0;

    while (i < p->packs_n && p->packs[i].fate == KEEP) {
        i++;
    }
    return i < p->packs_n;
}

static vmb_code carry_out(pruning *p, vmb_error **err)
{
    const size_t kept = (size_t)p->stats.packs_kept;
    size_t i = 0;
    vmb_code code = split_index(p, err);

    if (code == VMB_OK) {
        code = repack(p, err);
    }
    if (code == VMB_OK) {
        code = write_index(p, kept, err);
    }
    if (code == VMB_OK) {
        code = remove_files(p, &p->old_index, "index/", err);
    }
    for (i = 0; code == VMB_OK && i < p->packs_n; i++) {
        if (p->packs[i].fate == DELETE || p->packs[i].fate == REPACK) {
            code = remove_pack(p, vmbi_restic_index_pack_id(p->old, p->packs[i].pack), err);
        }
    }
    return code;
}

/* Starts with the index as it is in the store, and nothing else. */
static vmb_code reload(pruning *p, vmb_error **err)
{
    vmbi_restic *r = p->r;
    vmbi_restic_index *x = NULL;
    vmb_code code = vmbi_restic_flush(&r->base, err);

    if (code == VMB_OK) {
        code = vmbi_restic_index_new(&x, err);
    }
    if (code != VMB_OK) {
        return code;
    }
    (void)pthread_mutex_lock(&r->mutex);
    vmbi_restic_index_free(r->index);
    r->index = x;
    r->index_loaded = r->index_exact = false;
    (void)pthread_mutex_unlock(&r->mutex);
    code = vmbi_restic_list(r, "index/", &p->old_index, err);
    if (code == VMB_OK) {
        code = vmbi_restic_load_index(&r->base, err);
    }
    return code == VMB_OK ? vmbi_restic_list(r, "data/", &p->files, err) : code;
}

vmb_code vmbi_restic_prune(vmbi_repo *base, const vmbi_repo_prune_options *o,
                           vmbi_repo_prune_stats *stats, vmb_error **err)
{
    vmbi_restic *r = vmbi_restic_of(base);
    pruning p = {.r = r, .o = o};
    vmb_code code = vmbi_restic_may_write(r, VMBI_REPO_EXCLUSIVE, err);

    if (code == VMB_OK && o->max_unused_percent > 100) {
        code = vmbi_fail(err, VMB_E_ARG, "prune: more than 100 percent unused");
    }
    if (code != VMB_OK) {
        return code;
    }
    p.walk = (vmbi_walk){.r = r, .problem = refuse, .user = &p};
    code = reload(&p, err);
    if (code == VMB_OK) {
        code = vmbi_walk_all(&p.walk, err);
    }
    if (code == VMB_OK) {
        code = decide(&p, err);
    }
    if (code == VMB_OK) {
        code = drop_orphans(&p, err);
    }
    if (code == VMB_OK && !o->dry_run && changes(&p)) {
        code = carry_out(&p, err);
    }
    if (code == VMB_OK && stats != NULL) {
        *stats = p.stats;
    }
    vmbi_restic_index_free(p.old);
    vmbi_free(p.packs);
    vmbi_free(p.walk.used);
    vmbi_id_list_free(&p.files);
    vmbi_id_list_free(&p.old_index);
    return code;
}
