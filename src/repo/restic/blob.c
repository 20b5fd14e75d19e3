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

vmb_code vmbi_restic_decode_blob(vmbi_lane *lane, const vmbi_pack_blob *b, uint8_t *sealed,
                                 void *out, size_t cap, size_t *len, vmb_error **err)
{
    const size_t want = vmbi_pack_blob_size(b);
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
    *len = n;
    return VMB_OK;
}

vmb_code vmbi_restic_match_blob(const vmbi_pack_blob *b, const vmbi_repo_id *real, vmb_error **err)
{
    return memcmp(real->b, b->id.b, VMBI_REPO_ID_SIZE) == 0
               ? VMB_OK
               : vmbi_fail(err, VMB_E_INVALID, "damaged: the content does not match the ID");
}

vmb_code vmbi_restic_open_blob(vmbi_lane *lane, const vmbi_pack_blob *b, uint8_t *sealed, void *out,
                               size_t cap, size_t *len, vmb_error **err)
{
    vmbi_repo_id real;
    size_t n = 0;
    vmb_code code = vmbi_restic_decode_blob(lane, b, sealed, out, cap, &n, err);

    if (code == VMB_OK) {
        vmbi_sha256(out, n, real.b);
        code = vmbi_restic_match_blob(b, &real, err);
    }
    if (code == VMB_OK) {
        *len = n;
    }
    return code;
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
    code = vmbi_room_reserve(&lane->scratch, b->length, &why);
    if (code == VMB_OK) {
        code = vmbi_storage_read(&r->storage, path, b->offset, lane->scratch.p, b->length, &why);
    }
    if (code == VMB_OK) {
        code = vmbi_restic_open_blob(lane, b, lane->scratch.p, out, cap, len, &why);
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
        code = vmbi_room_reserve(&lane->scratch, b.length, err);
        if (code == VMB_OK) {
            memcpy(lane->scratch.p, p->pack->data + b.offset, b.length);
        }
    }
    (void)pthread_mutex_unlock(&r->mutex);
    return code == VMB_OK ? vmbi_restic_open_blob(lane, &b, lane->scratch.p, out, cap, len, err)
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
