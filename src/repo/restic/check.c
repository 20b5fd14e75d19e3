/* SPDX-License-Identifier: Apache-2.0 */
/* Checking a repository: every file kind, then what the snapshots need, then, when wanted, every
 * byte of every pack. */
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "codec/digest.h"
#include "codec/sha256.h"
#include "repo/restic/indexfile.h"
#include "repo/restic/keyfile.h"
#include "repo/restic/walk.h"

enum { DEFAULT_FINDINGS = 1000, MAX_PACK_FILE = 512 << 20, THREADS = 2 };

typedef struct checking {
    vmbi_restic *r;
    vmbi_repo_finding_fn fn;
    void *user;
    uint64_t max_findings, findings, errors;
    const char *index_path; /* of the index file being read */
    vmbi_id_list packs;     /* those in the store */
    bool indexes_bad;
    pthread_mutex_t mutex; /* of findings and next, while packs are read */
    uint32_t next;
    vmb_code code;
    vmb_error *err;
} checking;

static void find(checking *c, vmbi_finding_level level, const char *kind, const char *file,
                 const char *blob, const char *message)
{
    const vmbi_repo_finding f = {level, kind, file, blob, message};

    (void)pthread_mutex_lock(&c->mutex);
    c->errors += level == VMBI_FINDING_ERROR;
    if (c->findings++ < c->max_findings && c->fn != NULL) {
        c->fn(c->user, &f);
    }
    (void)pthread_mutex_unlock(&c->mutex);
}

/* Failures of the store or the run end the check; all others are findings. */
static bool ends_check(vmb_code code)
{
    return code == VMB_E_CANCELLED || code == VMB_E_TIMEOUT || code == VMB_E_NOMEM ||
           code == VMB_E_NET || code == VMB_E_SERVER;
}

/* Turns a failure into a finding or passes it on. */
static vmb_code judge(checking *c, vmb_code code, vmb_error **why, const char *kind,
                      const char *file, vmb_error **err)
{
    if (code == VMB_OK) {
        return VMB_OK;
    }
    if (ends_check(code)) {
        vmbi_error_move(err, why);
        return code;
    }
    find(c, VMBI_FINDING_ERROR, kind, file, "", vmb_error_message(*why));
    vmb_error_free(*why);
    *why = NULL;
    return VMB_OK;
}

/* ---- single files ---- */

static vmb_code read_key(checking *c, const char *path, const vmbi_repo_id *id, vmb_error **err)
{
    vmbi_buf raw = VMBI_BUF_INIT(VMBI_RESTIC_KEY_MAX_BYTES);
    vmbi_restic_keyfile k;
    vmbi_repo_id real;
    vmb_code code = vmbi_storage_get(&c->r->storage, path, &raw, err);

    if (code == VMB_OK) {
        vmbi_sha256(raw.data, raw.len, real.b);
        code = memcmp(real.b, id->b, VMBI_REPO_ID_SIZE) == 0
                   ? vmbi_restic_keyfile_parse(raw.data, raw.len, &k, err)
                   : vmbi_fail(err, VMB_E_INVALID,
                               "%s: damaged: the content does not match the name", path);
    }
    vmbi_buf_free(&raw);
    return code;
}

static vmb_code check_keys(checking *c, vmb_error **err)
{
    vmbi_id_list list = {NULL, NULL, 0, 0};
    size_t i = 0;
    vmb_code code = vmbi_restic_list(c->r, "keys/", &list, err);

    for (i = 0; code == VMB_OK && i < list.n; i++) {
        char path[VMBI_RESTIC_PATH];
        vmb_error *why = NULL;

        vmbi_restic_path(path, "keys/", &list.v[i]);
        code = judge(c, read_key(c, path, &list.v[i], &why), &why, "key", path, err);
    }
    vmbi_id_list_free(&list);
    return code;
}

static vmb_code check_config(checking *c, vmb_error **err)
{
    vmbi_buf raw = VMBI_BUF_INIT(1 << 20);
    vmbi_restic_config config;
    vmbi_lane *lane = NULL;
    vmb_error *why = NULL;
    uint8_t *p = NULL;
    vmb_code code = vmbi_lane_get(c->r, &lane, err);

    if (code != VMB_OK) {
        return code;
    }
    code = vmbi_storage_get(&c->r->storage, "config", &raw, &why);
    p = (uint8_t *)raw.data;
    if (code == VMB_OK) {
        code = vmbi_restic_open(lane->box, p, raw.len, p + VMBI_RESTIC_NONCE, &why);
    }
    if (code == VMB_OK) {
        code = vmbi_restic_config_parse(raw.data + VMBI_RESTIC_NONCE, raw.len - VMBI_RESTIC_OVERHEAD,
                                        &config, &why);
    }
    vmbi_lane_put(c->r, lane);
    vmbi_buf_free(&raw);
    return judge(c, code, &why, "config", "config", err);
}

static vmb_code check_locks(checking *c, vmb_error **err)
{
    vmbi_id_list list = {NULL, NULL, 0, 0};
    vmbi_buf text = VMBI_BUF_INIT(64 << 10);
    size_t i = 0;
    vmb_code code = vmbi_restic_list(c->r, "locks/", &list, err);

    for (i = 0; code == VMB_OK && i < list.n; i++) {
        char path[VMBI_RESTIC_PATH];
        vmb_error *why = NULL;

        vmbi_buf_reset(&text);
        vmbi_restic_path(path, "locks/", &list.v[i]);
        code = vmbi_restic_load_file(c->r, "locks/", &list.v[i], &text, &why);
        if (code == VMB_E_NOT_FOUND) { /* given back since the listing */
            vmb_error_free(why);
            code = VMB_OK;
        } else {
            code = judge(c, code, &why, "lock", path, err);
        }
    }
    vmbi_buf_free(&text);
    vmbi_id_list_free(&list);
    return code;
}

/* ---- index files ---- */

static vmb_code take_pack(void *user, const vmbi_repo_id *pack, vmbi_pack_blob *v, size_t n,
                          vmb_error **err)
{
    checking *c = user;
    char path[VMBI_RESTIC_PATH];
    vmbi_index_added how = VMBI_INDEX_NEW;
    vmb_error *why = NULL;
    vmb_code code = vmbi_restic_index_add(c->r->index, pack, v, n, &how, &why);

    vmbi_restic_pack_path(path, pack);
    if (code == VMB_E_INVALID) {
        c->indexes_bad = true;
    }
    code = judge(c, code, &why, "index", c->index_path, err);
    if (code == VMB_OK && how == VMBI_INDEX_SAME) {
        find(c, VMBI_FINDING_HINT, "index", c->index_path, "", "describes a pack once more");
    } else if (code == VMB_OK && how == VMBI_INDEX_DIFFERS) {
        find(c, VMBI_FINDING_ERROR, "index", c->index_path, "",
             "describes a pack otherwise than another index file");
    }
    return code;
}

static vmb_code check_indexes(checking *c, vmb_error **err)
{
    vmbi_id_list list = {NULL, NULL, 0, 0};
    vmbi_buf text = VMBI_BUF_INIT(VMBI_RESTIC_META_MAX);
    size_t i = 0;
    vmb_code code = vmbi_restic_list(c->r, "index/", &list, err);

    for (i = 0; code == VMB_OK && i < list.n; i++) {
        char path[VMBI_RESTIC_PATH];
        vmb_error *why = NULL;

        vmbi_buf_reset(&text);
        vmbi_restic_path(path, "index/", &list.v[i]);
        c->index_path = path;
        code = vmbi_restic_load_file(c->r, "index/", &list.v[i], &text, &why);
        if (code == VMB_OK) {
            code = vmbi_indexfile_parse(text.data != NULL ? text.data : "", text.len, take_pack,
                                        NULL, c, &why);
        }
        c->indexes_bad = c->indexes_bad || code != VMB_OK;
        code = judge(c, code, &why, "index", path, err);
    }
    vmbi_buf_free(&text);
    vmbi_id_list_free(&list);
    return code;
}

/* ---- packs, from outside ---- */

static void check_pack_file(checking *c, uint32_t pack, const vmbi_pack_blobs *blobs)
{
    const vmbi_repo_id *id = vmbi_restic_index_pack_id(c->r->index, pack);
    const uint64_t want = vmbi_pack_file_size(blobs->v, blobs->n);
    char path[VMBI_RESTIC_PATH];
    bool trees = false, data = false;
    size_t at = 0, i = 0;

    vmbi_restic_pack_path(path, id);
    for (i = 0; i < blobs->n; i++) {
        trees = trees || blobs->v[i].type == VMBI_BLOB_TREE;
        data = data || blobs->v[i].type == VMBI_BLOB_DATA;
    }
    if (trees && data) {
        find(c, VMBI_FINDING_HINT, "pack", path, "", "holds trees and data");
    }
    if (!vmbi_id_list_has(&c->packs, id, &at)) {
        find(c, VMBI_FINDING_ERROR, "pack", path, "", "missing");
    } else if (c->packs.sizes[at] >= 0 && (uint64_t)c->packs.sizes[at] != want) {
        find(c, VMBI_FINDING_ERROR, "pack", path, "", "its size is not what the index says");
    }
}

static vmb_code check_pack_files(checking *c, vmb_error **err)
{
    vmbi_pack_blobs blobs = {NULL, 0, 0};
    const uint32_t n = (uint32_t)vmbi_restic_index_packs(c->r->index);
    uint8_t *known = NULL;
    uint32_t i = 0;
    size_t at = 0;
    vmb_code code = vmbi_restic_list(c->r, "data/", &c->packs, err);

    if (code == VMB_OK) {
        known = vmbi_zalloc(c->packs.n + 1);
        code = known != NULL ? VMB_OK : vmbi_fail_nomem(err);
    }
    for (i = 0; code == VMB_OK && i < n; i++) {
        code = vmbi_restic_index_pack_blobs(c->r->index, i, &blobs, err);
        if (code == VMB_OK) {
            check_pack_file(c, i, &blobs);
            if (vmbi_id_list_has(&c->packs, vmbi_restic_index_pack_id(c->r->index, i), &at)) {
                known[at] = 1;
            }
        }
    }
    for (at = 0; code == VMB_OK && at < c->packs.n; at++) {
        char path[VMBI_RESTIC_PATH];

        if (!known[at]) {
            vmbi_restic_pack_path(path, &c->packs.v[at]);
            find(c, VMBI_FINDING_HINT, "pack", path, "", "in no index");
        }
    }
    vmbi_free(known);
    vmbi_pack_blobs_free(&blobs);
    return code;
}

/* ---- packs, from inside ---- */

static bool same_blobs(const vmbi_pack_blobs *a, const vmbi_pack_blobs *b)
{
    size_t i = 0;

    if (a->n != b->n) {
        return false;
    }
    for (i = 0; i < a->n; i++) {
        if (memcmp(a->v[i].id.b, b->v[i].id.b, VMBI_REPO_ID_SIZE) != 0 ||
            a->v[i].type != b->v[i].type || a->v[i].offset != b->v[i].offset ||
            a->v[i].length != b->v[i].length || a->v[i].size != b->v[i].size) {
            return false;
        }
    }
    return true;
}

/* Header of a whole pack in memory; it is opened in place. */
static vmb_code read_header(checking *c, vmbi_lane *lane, uint8_t *p, size_t len,
                            vmbi_pack_blobs *out, vmb_error **err)
{
    size_t sealed = 0, start = 0;
    vmb_code code = VMB_OK;

    if (len < VMBI_PACK_FIXED) {
        return vmbi_fail(err, VMB_E_INVALID, "header: the pack is too short");
    }
    sealed = (size_t)p[len - 4] | (size_t)p[len - 3] << 8 | (size_t)p[len - 2] << 16 |
             (size_t)p[len - 1] << 24;
    if (sealed < VMBI_RESTIC_OVERHEAD || sealed > len - 4) {
        return vmbi_fail(err, VMB_E_INVALID, "header: its length %zu is impossible", sealed);
    }
    start = len - 4 - sealed;
    code = vmbi_restic_open(lane->box, p + start, sealed, p + start + VMBI_RESTIC_NONCE, err);
    if (code != VMB_OK) {
        return vmbi_wrap(err, code, "header");
    }
    return vmbi_pack_header_parse(p + start + VMBI_RESTIC_NONCE, sealed - VMBI_RESTIC_OVERHEAD, start,
                                  c->r->config.version >= 2, out, err);
}

/* What a thread needs to read packs. */
typedef struct reader {
    vmbi_lane *lane;
    vmbi_pack_blobs indexed, header;
    /* The pack being read. */
    const char *path;
    uint8_t *raw;
    size_t len;
    vmbi_sha256_state hash; /* of the first `hashed` bytes */
    size_t hashed;
    const vmbi_pack_blob *decoded; /* a blob that is not compared with its ID yet; NULL */
    size_t decoded_len;            /* in the lane's room */
} reader;

/* Hashes the pack up to `end`, and beside it what was decoded last. */
static void hash_up_to(checking *c, reader *d, size_t end)
{
    const vmbi_pack_blob *b = d->decoded;
    const size_t from = d->hashed;
    vmbi_sha256_state s;
    vmbi_repo_id real;
    vmb_error *why = NULL;

    end = end > from ? end : from;
    d->hashed = end;
    if (b == NULL) {
        vmbi_sha256_add(&d->hash, d->raw + from, end - from);
        return;
    }
    vmbi_sha256_begin(&s);
    vmbi_sha256_add_pair(&s, d->lane->plain[0].p, d->decoded_len, &d->hash, d->raw + from,
                         end - from);
    vmbi_sha256_end(&s, real.b);
    if (vmbi_restic_match_blob(b, &real, &why) != VMB_OK) {
        char hex[VMBI_REPO_HEX_SIZE];

        vmbi_repo_id_hex(&b->id, hex);
        find(c, VMBI_FINDING_ERROR, "blob", d->path, hex, vmb_error_message(why));
        vmb_error_free(why);
    }
    d->decoded = NULL;
}

static vmb_code decode_blob(checking *c, reader *d, const vmbi_pack_blob *b, vmb_error **err)
{
    char hex[VMBI_REPO_HEX_SIZE];
    vmb_error *why = NULL;
    vmb_code code = VMB_OK;

    vmbi_repo_id_hex(&b->id, hex);
    if ((uint64_t)b->offset + b->length > d->len) {
        find(c, VMBI_FINDING_ERROR, "blob", d->path, hex, "lies beyond the end of the pack");
        return VMB_OK;
    }
    hash_up_to(c, d, (size_t)b->offset + b->length); /* before it is opened over itself */
    code = vmbi_pack_blob_size(b) > (size_t)VMBI_REPO_MAX_BLOB
               ? vmbi_fail(&why, VMB_E_LIMIT, "a blob of %zu bytes", vmbi_pack_blob_size(b))
               : vmbi_room_reserve(&d->lane->plain[0], vmbi_pack_blob_size(b), &why);
    if (code == VMB_OK) {
        code = vmbi_restic_decode_blob(d->lane, b, d->raw + b->offset, d->lane->plain[0].p,
                                       vmbi_pack_blob_size(b), &d->decoded_len, &why);
    }
    if (code == VMB_OK) {
        d->decoded = b;
    } else if (!ends_check(code)) {
        find(c, VMBI_FINDING_ERROR, "blob", d->path, hex, vmb_error_message(why));
        code = VMB_OK;
    } else {
        vmbi_error_move(err, &why);
    }
    vmb_error_free(why);
    return code;
}

/* The whole file, of the size that the listing told, or else the index. */
static vmb_code load_pack(checking *c, reader *d, size_t at, vmb_error **err)
{
    const uint64_t size = c->packs.sizes[at] >= 0 ? (uint64_t)c->packs.sizes[at]
                                                  : vmbi_pack_file_size(d->indexed.v, d->indexed.n);
    vmb_code code = VMB_OK;

    if (size > MAX_PACK_FILE) {
        return vmbi_fail(err, VMB_E_LIMIT, "%llu bytes are too many", (unsigned long long)size);
    }
    d->len = (size_t)size;
    code = vmbi_room_reserve(&d->lane->scratch, d->len, err);
    d->raw = d->lane->scratch.p;
    return code == VMB_OK ? vmbi_storage_read(&c->r->storage, d->path, 0, d->raw, d->len, err) : code;
}

static vmb_code read_pack(checking *c, reader *d, uint32_t pack, vmb_error **err)
{
    const vmbi_repo_id id = *vmbi_restic_index_pack_id(c->r->index, pack);
    char path[VMBI_RESTIC_PATH];
    vmbi_repo_id real;
    vmb_error *why = NULL;
    size_t at = 0, i = 0;
    vmb_code code = VMB_OK;

    if (!vmbi_id_list_has(&c->packs, &id, &at)) {
        return VMB_OK; /* found missing before */
    }
    vmbi_restic_pack_path(path, &id);
    d->path = path;
    code = vmbi_restic_index_pack_blobs(c->r->index, pack, &d->indexed, err);
    if (code != VMB_OK) {
        return code;
    }
    code = load_pack(c, d, at, &why);
    if (code != VMB_OK) {
        return judge(c, code, &why, "pack", path, err);
    }
    vmbi_sha256_begin(&d->hash);
    d->hashed = 0;
    d->decoded = NULL;
    /* The blobs first: opening the header in place would spoil a blob if its length is a lie. */
    for (i = 0; code == VMB_OK && i < d->indexed.n; i++) {
        code = decode_blob(c, d, &d->indexed.v[i], err);
    }
    if (code != VMB_OK) {
        return code;
    }
    hash_up_to(c, d, d->len);
    vmbi_sha256_end(&d->hash, real.b);
    if (memcmp(real.b, id.b, VMBI_REPO_ID_SIZE) != 0) {
        find(c, VMBI_FINDING_ERROR, "pack", path, "",
             "damaged: the content does not match the name");
    }
    d->header.n = 0;
    code = read_header(c, d->lane, d->raw, d->len, &d->header, &why);
    if (code == VMB_OK && !same_blobs(&d->header, &d->indexed)) {
        code = vmbi_fail(&why, VMB_E_INVALID, "header: it says otherwise than the index");
    }
    return judge(c, code, &why, "pack", path, err);
}

static void *read_thread(void *arg)
{
    checking *c = arg;
    const uint32_t packs = (uint32_t)vmbi_restic_index_packs(c->r->index);
    vmb_error *why = NULL;
    reader d;
    vmb_code code = VMB_OK;

    memset(&d, 0, sizeof(d));
    code = vmbi_lane_get(c->r, &d.lane, &why);
    while (code == VMB_OK) {
        uint32_t i = 0;

        code = vmbi_limits_check(&c->r->storage.job->limits, &why, "check");
        (void)pthread_mutex_lock(&c->mutex);
        i = c->next < packs && c->code == VMB_OK ? c->next++ : packs;
        (void)pthread_mutex_unlock(&c->mutex);
        if (code != VMB_OK || i == packs) {
            break;
        }
        code = read_pack(c, &d, i, &why);
    }
    (void)pthread_mutex_lock(&c->mutex);
    if (code != VMB_OK && c->code == VMB_OK) {
        c->code = code;
        vmbi_error_move(&c->err, &why);
    }
    (void)pthread_mutex_unlock(&c->mutex);
    vmb_error_free(why);
    vmbi_lane_put(c->r, d.lane);
    vmbi_pack_blobs_free(&d.indexed);
    vmbi_pack_blobs_free(&d.header);
    return NULL;
}

static vmb_code read_packs(checking *c, vmb_error **err)
{
    pthread_t threads[THREADS];
    size_t started = 0, i = 0;

    while (started < THREADS - 1 && pthread_create(&threads[started], NULL, read_thread, c) == 0) {
        started++;
    }
    (void)read_thread(c);
    for (i = 0; i < started; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    vmbi_error_move(err, &c->err);
    return c->code;
}

/* ---- the whole ---- */

static vmb_code tree_problem(void *user, const char *kind, const char *file, const char *blob,
                             const char *message, vmb_error **err)
{
    checking *c = user;
    char path[VMBI_RESTIC_PATH] = "";
    uint64_t cursor = 0;
    uint32_t pack = 0;
    vmbi_pack_blob b;
    vmbi_repo_id id;

    (void)err;
    if (file[0] == '\0' && strcmp(kind, "tree") == 0 && vmbi_repo_id_parse(blob, strlen(blob), &id) &&
        vmbi_restic_index_find(c->r->index, VMBI_BLOB_TREE, &id, &cursor, &pack, &b)) {
        vmbi_restic_pack_path(path, vmbi_restic_index_pack_id(c->r->index, pack));
        file = path;
    }
    find(c, VMBI_FINDING_ERROR, kind, file, blob, message);
    return VMB_OK;
}

/* Puts an empty index in place of what was loaded: all of it is read again. */
static vmb_code fresh_index(vmbi_restic *r, vmb_error **err)
{
    vmbi_restic_index *x = NULL;
    vmb_code code = vmbi_restic_index_new(&x, err);

    if (code != VMB_OK) {
        return code;
    }
    (void)pthread_mutex_lock(&r->mutex);
    if (r->pending.n > 0 || r->packer.unindexed_n > 0) {
        code = vmbi_fail(err, VMB_E_STATE, "check: blobs were saved and not flushed");
    } else {
        vmbi_restic_index *old = r->index;

        r->index = x;
        x = old;
        r->index_loaded = r->index_exact = false;
    }
    (void)pthread_mutex_unlock(&r->mutex);
    vmbi_restic_index_free(x);
    return code;
}

static vmb_code check_all(checking *c, const vmbi_repo_check_options *o, vmb_error **err)
{
    vmbi_walk walk = {.r = c->r, .problem = tree_problem, .user = c};
    vmb_code code = check_config(c, err);

    if (code == VMB_OK) {
        code = check_keys(c, err);
    }
    if (code == VMB_OK) {
        code = check_locks(c, err);
    }
    if (code == VMB_OK) {
        code = check_indexes(c, err);
    }
    if (code == VMB_OK) {
        code = check_pack_files(c, err);
    }
    if (code == VMB_OK) {
        code = vmbi_walk_all(&walk, err);
    }
    vmbi_free(walk.used);
    if (code == VMB_OK && o->read_data) {
        code = read_packs(c, err);
    }
    return code;
}

vmb_code vmbi_restic_check(vmbi_repo *base, const vmbi_repo_check_options *o,
                           vmbi_repo_finding_fn fn, void *user, uint64_t *errors, vmb_error **err)
{
    vmbi_restic *r = vmbi_restic_of(base);
    checking c = {.r = r, .fn = fn, .user = user};
    vmb_code code = VMB_OK;

    c.max_findings = o->max_findings != 0 ? o->max_findings : DEFAULT_FINDINGS;
    if (pthread_mutex_init(&c.mutex, NULL) != 0) {
        return vmbi_fail_nomem(err);
    }
    code = fresh_index(r, err);
    if (code == VMB_OK) {
        code = check_all(&c, o, err);
    }
    if (code == VMB_OK) {
        (void)pthread_mutex_lock(&r->mutex);
        r->index_loaded = !c.indexes_bad;
        (void)pthread_mutex_unlock(&r->mutex);
        *errors = c.errors;
    }
    vmbi_id_list_free(&c.packs);
    (void)pthread_mutex_destroy(&c.mutex);
    return code;
}
