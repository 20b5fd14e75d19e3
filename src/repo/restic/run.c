/* SPDX-License-Identifier: Apache-2.0 */
/* Reading blobs that lie side by side in one pack with one request. Two at a time are decoded, since
 * two digests cost little more than one. */
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "repo/restic/restic.h"

/* Larger blobs are not held two at a time. */
enum { PAIR_MAX = 12 << 20 };

typedef struct decoded {
    vmbi_pack_blob blob;
    uint8_t *plain; /* in the lane */
    size_t len;
    vmb_code code;
    vmb_error *why;
} decoded;

typedef struct run {
    vmbi_restic *r;
    vmbi_lane *lane;
    vmbi_blob_type type;
    const vmbi_repo_id *ids;
    const vmbi_blob_place *places;
    size_t n;
    uint8_t *raw; /* what was read, from the first place on */
    decoded pair[2];
} run;

static vmb_code check_places(const vmbi_blob_place *places, size_t n, vmb_error **err)
{
    const uint64_t from = places[0].offset;
    const uint64_t to = (uint64_t)places[n - 1].offset + places[n - 1].stored_len;
    size_t i = 0;

    for (i = 0; i < n; i++) {
        if (places[i].pack != places[0].pack || places[i].stored_len < VMBI_RESTIC_OVERHEAD ||
            places[i].offset < from || (uint64_t)places[i].offset + places[i].stored_len > to) {
            return vmbi_fail(err, VMB_E_ARG, "read blobs: the places are not in one pack, in order");
        }
    }
    return VMB_OK;
}

static vmb_code pack_path(vmbi_restic *r, uint32_t number, char path[VMBI_RESTIC_PATH],
                          vmb_error **err)
{
    vmb_code code = VMB_OK;

    (void)pthread_mutex_lock(&r->mutex);
    if (number < vmbi_restic_index_packs(r->index)) {
        vmbi_restic_pack_path(path, vmbi_restic_index_pack_id(r->index, number));
    } else {
        code = vmbi_fail(err, VMB_E_ARG, "read blobs: there is no pack %u", (unsigned)number);
    }
    (void)pthread_mutex_unlock(&r->mutex);
    return code;
}

/* Reads all places at once. A pack that is too short gives zeros: what is there comes one by one. */
static vmb_code read_raw(run *u, vmb_error **err)
{
    const uint64_t from = u->places[0].offset;
    const size_t len = (size_t)(u->places[u->n - 1].offset - from) + u->places[u->n - 1].stored_len;
    char path[VMBI_RESTIC_PATH];
    vmb_error *why = NULL;
    vmb_code code = pack_path(u->r, u->places[0].pack, path, err);

    if (code == VMB_OK && len > (size_t)VMBI_REPO_MAX_BLOB * 2) {
        code = vmbi_fail(err, VMB_E_LIMIT, "read blobs: %zu bytes at once are too many", len);
    }
    if (code == VMB_OK) {
        code = vmbi_room_reserve(&u->lane->scratch, len, err);
    }
    if (code != VMB_OK) {
        return code;
    }
    u->raw = u->lane->scratch.p;
    code = vmbi_storage_read(&u->r->storage, path, from, u->raw, len, &why);
    if (code == VMB_E_CANCELLED || code == VMB_E_TIMEOUT || code == VMB_E_NET) {
        vmbi_error_move(err, &why);
        return code;
    }
    if (code != VMB_OK) {
        memset(u->raw, 0, len);
    }
    vmb_error_free(why);
    return VMB_OK;
}

/* The failure of the memory only; that of the blob is kept in d. */
static vmb_code decode(run *u, size_t i, vmbi_room *room, decoded *d, vmb_error **err)
{
    const vmbi_blob_place *p = &u->places[i];
    const uint32_t size = p->size + VMBI_RESTIC_OVERHEAD == p->stored_len ? 0 : p->size;
    vmb_code code = VMB_OK;

    d->blob = (vmbi_pack_blob){u->ids[i], p->offset, p->stored_len, size, u->type};
    d->len = 0;
    if (vmbi_pack_blob_size(&d->blob) > (size_t)VMBI_REPO_MAX_BLOB) {
        return vmbi_fail(err, VMB_E_LIMIT, "a blob of %zu bytes", vmbi_pack_blob_size(&d->blob));
    }
    code = vmbi_room_reserve(room, vmbi_pack_blob_size(&d->blob), err);
    if (code == VMB_OK) {
        d->plain = room->p;
        d->code = vmbi_restic_decode_blob(u->lane, &d->blob, u->raw + (p->offset - u->places[0].offset),
                                          d->plain, vmbi_pack_blob_size(&d->blob), &d->len, &d->why);
    }
    return code;
}

static void verify(decoded *d, size_t n)
{
    vmbi_sha256_state s[2];
    vmbi_repo_id real;
    size_t i = 0;

    vmbi_sha256_begin(&s[0]);
    vmbi_sha256_begin(&s[1]);
    vmbi_sha256_add_pair(&s[0], d[0].plain, d[0].len, &s[1], n > 1 ? d[1].plain : NULL,
                         n > 1 ? d[1].len : 0);
    for (i = 0; i < n; i++) {
        if (d[i].code == VMB_OK) {
            vmbi_sha256_end(&s[i], real.b);
            d[i].code = vmbi_restic_match_blob(&d[i].blob, &real, &d[i].why);
        }
    }
}

/* Hands a blob on; a damaged one is read again on its own, from whatever copy. */
static vmb_code give(run *u, size_t i, decoded *d, vmbi_repo_blob_fn fn, void *user,
                     vmb_error **err)
{
    vmb_error *why = vmbi_steal(&d->why);
    vmb_code code = d->code;

    if (code != VMB_OK) {
        vmb_error_free(why);
        why = NULL;
        code = vmbi_restic_load_into(&u->r->base, u->type, &d->blob.id, d->plain,
                                     vmbi_pack_blob_size(&d->blob), &d->len, &why);
    }
    code = fn(user, i, code == VMB_OK ? d->plain : NULL, d->len, why, err);
    vmb_error_free(why);
    return code;
}

static vmb_code give_all(run *u, vmbi_repo_blob_fn fn, void *user, vmb_error **err)
{
    size_t i = 0, k = 0, n = 0;
    vmb_code code = VMB_OK;

    for (i = 0; code == VMB_OK && i < u->n; i += n) {
        n = i + 1 < u->n && (size_t)u->places[i].size + u->places[i + 1].size <= PAIR_MAX ? 2 : 1;
        for (k = 0; code == VMB_OK && k < n; k++) {
            code = decode(u, i + k, &u->lane->plain[k], &u->pair[k], err);
        }
        if (code == VMB_OK) {
            verify(u->pair, n);
        }
        for (k = 0; code == VMB_OK && k < n; k++) {
            code = give(u, i + k, &u->pair[k], fn, user, err);
        }
    }
    return code;
}

vmb_code vmbi_restic_load_run(vmbi_repo *base, vmbi_blob_type type, const vmbi_repo_id *ids,
                              const vmbi_blob_place *places, size_t n, vmbi_repo_blob_fn fn,
                              void *user, vmb_error **err)
{
    run u = {.r = vmbi_restic_of(base), .type = type, .ids = ids, .places = places, .n = n};
    size_t k = 0;
    vmb_code code = n > 0 ? check_places(places, n, err) : VMB_OK;

    if (code != VMB_OK || n == 0) {
        return code;
    }
    code = vmbi_lane_get(u.r, &u.lane, err);
    if (code == VMB_OK) {
        code = read_raw(&u, err);
    }
    if (code == VMB_OK) {
        code = give_all(&u, fn, user, err);
    }
    vmbi_lane_put(u.r, u.lane);
    for (k = 0; k < 2; k++) {
        vmb_error_free(u.pair[k].why);
    }
    return code;
}
