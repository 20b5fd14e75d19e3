/* SPDX-License-Identifier: Apache-2.0 */
/* Finding and reading blobs. */
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "codec/digest.h"
#include "repo/restic/restic.h"

static bool lookup(vmbi_restic *r, vmbi_blob_type type, const vmbi_repo_id *id, uint64_t *cursor,
                   uint32_t *pack, vmbi_repo_id *pack_id, vmbi_pack_blob *out)
{
    bool found = false;

    (void)pthread_mutex_lock(&r->mutex);
    found = vmbi_restic_index_find(r->index, type, id, cursor, pack, out);
    if (found) {
        *pack_id = *vmbi_restic_index_pack_id(r->index, *pack);
    }
    (void)pthread_mutex_unlock(&r->mutex);
    return found;
}

bool vmbi_restic_has(vmbi_repo *base, vmbi_blob_type type, const vmbi_repo_id *id)
{
    vmbi_restic *r = vmbi_restic_of(base);
    bool found = false;

    (void)pthread_mutex_lock(&r->mutex);
    found = vmbi_restic_index_has(r->index, type, id) ||
            vmbi_pending_get(&r->pending, type, id) != NULL;
    (void)pthread_mutex_unlock(&r->mutex);
    return found;
}

bool vmbi_restic_size(vmbi_repo *base, vmbi_blob_type type, const vmbi_repo_id *id, uint64_t *out)
{
    uint64_t cursor = 0;
    uint32_t pack = 0;
    vmbi_repo_id pack_id;
    vmbi_pack_blob b;

    if (!lookup(vmbi_restic_of(base), type, id, &cursor, &pack, &pack_id, &b)) {
        return false;
    }
    *out = vmbi_pack_blob_size(&b);
    return true;
}

bool vmbi_restic_find(vmbi_repo *base, vmbi_blob_type type, const vmbi_repo_id *id,
                      vmbi_blob_place *out)
{
    uint64_t cursor = 0;
    uint32_t pack = 0;
    vmbi_repo_id pack_id;
    vmbi_pack_blob b;

    if (!lookup(vmbi_restic_of(base), type, id, &cursor, &pack, &pack_id, &b)) {
        return false;
    }
    *out = (vmbi_blob_place){pack, b.offset, b.length, (uint32_t)vmbi_pack_blob_size(&b)};
    return true;
}

vmb_code vmbi_restic_open_blob(vmbi_lane *lane, const vmbi_pack_blob *b, uint8_t *sealed, void *out,
                               size_t cap, size_t *len, vmb_error **err)
{
    const size_t want = vmbi_pack_blob_size(b);
    vmbi_repo_id real;
    size_t n = b->length - VMBI_RESTIC_OVERHEAD;
    vmb_code code = VMB_OK;

    if (want > cap) {
        return vmbi_fail(err, VMB_E_LIMIT, "the blob has %zu bytes, there is room for %zu", want, cap);
    }
    if (b->size == 0) {
        code = vmbi_restic_open(lane->box, sealed, b->length, out, err);
    } else {
        code = vmbi_restic_open(lane->box, sealed, b->length, sealed + VMBI_RESTIC_NONCE, err);
        if (code == VMB_OK) {
            code = vmbi_lane_decoder(lane, err);
        }
        if (code == VMB_OK) {
            code = vmbi_zstd_decompress(lane->dec, sealed + VMBI_RESTIC_NONCE, n, out, want, &n,
                                        err);
        }
    }
    if (code == VMB_E_DENIED || code == VMB_E_PARSE || code == VMB_E_LIMIT) {
        vmb_error *why = NULL;

        if (err != NULL) {
            vmbi_error_move(&why, err);
        }
        code = vmbi_fail(err, VMB_E_INVALID, "damaged: %s", vmb_error_message(why));
        vmb_error_free(why);
        return code;
    }
    if (code != VMB_OK) {
        return code;
    }
    if (n != want) {
        return vmbi_fail(err, VMB_E_INVALID, "damaged: it has %zu bytes, the index says %zu", n,
                         want);
    }
    vmbi_sha256(out, n, real.b);
    if (memcmp(real.b, b->id.b, VMBI_REPO_ID_SIZE) != 0) {
        return vmbi_fail(err, VMB_E_INVALID, "damaged: the content does not match the ID");
    }
    *len = n;
    return VMB_OK;
}

/* What a copy that cannot be read says: pack, place, blob. */
static vmb_code locate(vmb_error **err, vmb_code code, const vmbi_repo_id *pack,
                       const vmbi_pack_blob *b)
{
    char blob[VMBI_REPO_HEX_SIZE];
    char hex[VMBI_REPO_HEX_SIZE];

    vmbi_repo_id_hex(&b->id, blob);
    vmbi_repo_id_hex(pack, hex);
    return vmbi_wrap(err, code, "blob %s in pack %s at %u (%u bytes)", blob, hex,
                     (unsigned)b->offset, (unsigned)b->length);
}

static vmb_code read_copy(vmbi_restic *r, vmbi_lane *lane, const vmbi_repo_id *pack,
                          const vmbi_pack_blob *b, void *out, size_t cap, size_t *len,
                          vmb_error **err)
{
    char path[VMBI_RESTIC_PATH];
    vmb_error *why = NULL;
    vmb_code code = VMB_OK;

    if (b->length > (size_t)VMBI_REPO_MAX_BLOB + (size_t)VMBI_REPO_MAX_BLOB / 128) {
        return vmbi_fail(err, VMB_E_LIMIT, "a blob of %u bytes", (unsigned)b->length);
    }
    vmbi_restic_pack_path(path, pack);
    code = vmbi_lane_scratch(lane, b->length, &why);
    if (code == VMB_OK) {
        code = vmbi_storage_read(&r->storage, path, b->offset, lane->scratch, b->length, &why);
    }
    if (code == VMB_OK) {
        code = vmbi_restic_open_blob(lane, b, lane->scratch, out, cap, len, &why);
    }
    if (code != VMB_OK) {
        code = locate(&why, code, pack, b);
        vmbi_error_move(err, &why);
    }
    return code;
}

/* Reads a blob that is still on its way, out of the pack in memory. VMB_E_NOT_FOUND: it is none. */
static vmb_code read_pending(vmbi_restic *r, vmbi_lane *lane, vmbi_blob_type type,
                             const vmbi_repo_id *id, void *out, size_t cap, size_t *len,
                             vmb_error **err)
{
    vmbi_pending_blob *p = NULL;
    vmbi_pack_blob b;
    vmb_code code = VMB_OK;

    (void)pthread_mutex_lock(&r->mutex);
    while ((p = vmbi_pending_get(&r->pending, type, id)) != NULL && !p->ready && code == VMB_OK) {
        (void)pthread_mutex_unlock(&r->mutex);
        code = vmbi_limits_sleep(&r->storage.job->limits, 1000000, err, "read a blob");
        (void)pthread_mutex_lock(&r->mutex);
    }
    if (code == VMB_OK && p == NULL) {
        code = VMB_E_NOT_FOUND;
    } else if (code == VMB_OK) {
        b = p->pack->blobs.v[p->number];
        code = vmbi_lane_scratch(lane, b.length, err);
        if (code == VMB_OK) {
            memcpy(lane->scratch, p->pack->data + b.offset, b.length);
        }
    }
    (void)pthread_mutex_unlock(&r->mutex);
    return code == VMB_OK ? vmbi_restic_open_blob(lane, &b, lane->scratch, out, cap, len, err)
                          : code;
}

/* Copies in packs, one after the other, until one can be read. */
static vmb_code read_any(vmbi_restic *r, vmbi_lane *lane, vmbi_blob_type type,
                         const vmbi_repo_id *id, void *out, size_t cap, size_t *len,
                         vmb_error **err)
{
    uint64_t cursor = 0;
    uint32_t pack = 0;
    vmbi_repo_id pack_id;
    vmbi_pack_blob b;
    vmb_code code = VMB_E_NOT_FOUND;

    while (code != VMB_OK && code != VMB_E_CANCELLED && code != VMB_E_TIMEOUT &&
           code != VMB_E_NOMEM && lookup(r, type, id, &cursor, &pack, &pack_id, &b)) {
        if (err != NULL && *err != NULL) {
            vmbi_restic_log(r, VMB_LOG_WARNING, "%s; trying another copy", vmb_error_message(*err));
        }
        code = read_copy(r, lane, &pack_id, &b, out, cap, len, err);
    }
    return code;
}

vmb_code vmbi_restic_load_into(vmbi_repo *base, vmbi_blob_type type, const vmbi_repo_id *id,
                               void *out, size_t cap, size_t *len, vmb_error **err)
{
    vmbi_restic *r = vmbi_restic_of(base);
    vmbi_lane *lane = NULL;
    vmb_error *why = NULL;
    vmb_code code = vmbi_lane_get(r, &lane, err);

    if (code != VMB_OK) {
        return code;
    }
    code = read_any(r, lane, type, id, out, cap, len, &why);
    if (code == VMB_E_NOT_FOUND && why == NULL) {
        code = read_pending(r, lane, type, id, out, cap, len, &why);
    }
    if (code == VMB_E_NOT_FOUND && why == NULL) { /* settled between the two looks? */
        code = read_any(r, lane, type, id, out, cap, len, &why);
    }
    if (code == VMB_E_NOT_FOUND && why == NULL) {
        char hex[VMBI_REPO_HEX_SIZE];

        vmbi_repo_id_hex(id, hex);
        code = vmbi_fail(&why, VMB_E_NOT_FOUND, "%s blob %s: not in the index",
                         type == VMBI_BLOB_TREE ? "tree" : "data", hex);
    }
    vmbi_lane_put(r, lane);
    if (code != VMB_OK) {
        vmbi_error_move(err, &why);
    }
    vmb_error_free(why);
    return code;
}

static bool pending_size(vmbi_restic *r, vmbi_blob_type type, const vmbi_repo_id *id, uint64_t *out)
{
    vmbi_pending_blob *p = NULL;
    bool found = false;

    (void)pthread_mutex_lock(&r->mutex);
    p = vmbi_pending_get(&r->pending, type, id);
    found = p != NULL && p->pack != NULL;
    if (found) {
        *out = vmbi_pack_blob_size(&p->pack->blobs.v[p->number]);
    }
    (void)pthread_mutex_unlock(&r->mutex);
    return found;
}

vmb_code vmbi_restic_load(vmbi_repo *base, vmbi_blob_type type, const vmbi_repo_id *id,
                          vmbi_buf *out, vmb_error **err)
{
    uint64_t size = 0;
    size_t len = 0;
    vmb_code code = VMB_OK;

    if (!vmbi_restic_size(base, type, id, &size) &&
        !pending_size(vmbi_restic_of(base), type, id, &size)) {
        (void)vmbi_restic_size(base, type, id, &size); /* settled between the two looks */
    }
    if (size > (uint64_t)VMBI_REPO_MAX_BLOB) {
        return vmbi_fail(err, VMB_E_LIMIT, "a blob of %llu bytes", (unsigned long long)size);
    }
    vmbi_buf_reserve(out, (size_t)size);
    code = vmbi_buf_check(out, err, "blob");
    if (code == VMB_OK) {
        code = vmbi_restic_load_into(base, type, id, out->data, out->cap - 1, &len, err);
    }
    if (code == VMB_OK) {
        out->len = len;
        out->data[len] = '\0';
    }
    return code;
}

/* One blob of a run: from what was read, or, when that is damaged, on its own. */
static vmb_code give_one(vmbi_restic *r, vmbi_lane *lane, const vmbi_pack_blob *b, uint8_t *sealed,
                         size_t i, vmbi_buf *plain, vmbi_repo_blob_fn fn, void *user,
                         vmb_error **err)
{
    vmb_error *why = NULL;
    size_t len = 0;
    vmb_code code = VMB_OK;

    vmbi_buf_reset(plain);
    vmbi_buf_reserve(plain, vmbi_pack_blob_size(b));
    code = vmbi_buf_check(plain, err, "blob");
    if (code != VMB_OK) {
        return code;
    }
    code = vmbi_restic_open_blob(lane, b, sealed, plain->data, plain->cap - 1, &len, &why);
    if (code != VMB_OK) {
        vmb_error_free(why);
        why = NULL;
        code = vmbi_restic_load_into(&r->base, b->type, &b->id, plain->data, plain->cap - 1, &len,
                                     &why);
    }
    code = fn(user, i, code == VMB_OK ? plain->data : NULL, len, why, err);
    vmb_error_free(why);
    return code;
}

vmb_code vmbi_restic_load_run(vmbi_repo *base, vmbi_blob_type type, const vmbi_repo_id *ids,
                              const vmbi_blob_place *places, size_t n, vmbi_repo_blob_fn fn,
                              void *user, vmb_error **err)
{
    vmbi_restic *r = vmbi_restic_of(base);
    vmbi_buf raw = VMBI_BUF_INIT((size_t)VMBI_REPO_MAX_BLOB * 2);
    vmbi_buf plain = VMBI_BUF_INIT(VMBI_REPO_MAX_BLOB);
    char path[VMBI_RESTIC_PATH];
    vmbi_repo_id pack;
    vmbi_lane *lane = NULL;
    uint64_t from = 0, to = 0;
    size_t i = 0;
    vmb_error *why = NULL;
    vmb_code code = VMB_OK, read = VMB_OK;

    if (n == 0) {
        return VMB_OK;
    }
    from = places[0].offset;
    to = (uint64_t)places[n - 1].offset + places[n - 1].stored_len;
    for (i = 0; i < n; i++) {
        if (places[i].pack != places[0].pack || places[i].stored_len < VMBI_RESTIC_OVERHEAD ||
            places[i].offset < from || (uint64_t)places[i].offset + places[i].stored_len > to) {
            return vmbi_fail(err, VMB_E_ARG, "read blobs: the places are not in one pack, in order");
        }
    }
    (void)pthread_mutex_lock(&r->mutex);
    if (places[0].pack < vmbi_restic_index_packs(r->index)) {
        pack = *vmbi_restic_index_pack_id(r->index, places[0].pack);
    } else {
        code = vmbi_fail(err, VMB_E_ARG, "read blobs: there is no pack %u", (unsigned)places[0].pack);
    }
    (void)pthread_mutex_unlock(&r->mutex);
    if (code != VMB_OK) {
        return code;
    }
    vmbi_restic_pack_path(path, &pack);
    vmbi_buf_reserve(&raw, (size_t)(to - from));
    code = vmbi_buf_check(&raw, err, "read blobs");
    if (code == VMB_OK) {
        code = vmbi_lane_get(r, &lane, err);
    }
    if (code == VMB_OK) {
        read = vmbi_storage_read(&r->storage, path, from, raw.data, (size_t)(to - from), &why);
        if (read == VMB_E_CANCELLED || read == VMB_E_TIMEOUT || read == VMB_E_NET) {
            code = read;
            vmbi_error_move(err, &why);
        } else if (read != VMB_OK) { /* a short pack: what is there comes one by one */
            memset(raw.data, 0, (size_t)(to - from));
        }
        vmb_error_free(why);
    }
    for (i = 0; code == VMB_OK && i < n; i++) {
        const uint32_t size = places[i].size + VMBI_RESTIC_OVERHEAD == places[i].stored_len
                                  ? 0 : places[i].size;
        vmbi_pack_blob b = {ids[i], places[i].offset, places[i].stored_len, size, type};

        code = give_one(r, lane, &b, (uint8_t *)raw.data + (places[i].offset - from), i, &plain, fn,
                        user, err);
    }
    vmbi_lane_put(r, lane);
    vmbi_buf_free(&raw);
    vmbi_buf_free(&plain);
    return code;
}
