/* SPDX-License-Identifier: Apache-2.0 */
/* Reading blobs that lie side by side in one pack with one request. Two at a time are decoded, since
 * two digests cost little more than one. What is not compressed is decrypted where it was read. */
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "repo/restic/restic.h"

/* Larger blobs are not held two at a time. */
enum { PAIR_MAX = 12 << 20 };

typedef struct decoded {
    vmbi_pack_blob blob;
    size_t i;       /* its number; the run's n when this one is free */
    uint8_t *plain; /* in the lane */
    size_t len;
    vmbi_sha256_state hash; /* of the first `hashed` bytes */
    size_t hashed;
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
    bool in_order;
    vmbi_repo_blob_fn fn;
    void *user;
} run;

static vmb_code check_places(const vmbi_blob_place *places, size_t n, vmb_error **err)
{
    const uint64_t from = places[0].offset;
    const uint64_t to = (uint64_t)places[n - 1].offset + places[n - 1].stored_len;
    size_t i = 0;

    for (i = 0; i < n; i++) {
        if (places[i].pack != places[0].pack || places[i].stored_len < VMBI_RESTIC_OVERHEAD ||
            places[i].offset < from || (uint64_t)places[i].offset + places[i].stored_len > to ||
            (i > 0 && places[i].offset < places[i - 1].offset)) {
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

/* An index may lie: what shares bytes with its neighbour is not decrypted over itself. */
static bool stands_alone(const run *u, size_t i)
{
    const vmbi_blob_place *p = &u->places[i];

    return (i == 0 || p[-1].offset + (uint64_t)p[-1].stored_len <= p->offset) &&
           (i + 1 == u->n || p->offset + (uint64_t)p->stored_len <= p[1].offset);
}

/* The failure of the memory only; that of the blob is kept in d. */
static vmb_code decode(run *u, size_t i, vmbi_room *room, decoded *d, vmb_error **err)
{
    const vmbi_blob_place *p = &u->places[i];
    const uint32_t size = p->size + VMBI_RESTIC_OVERHEAD == p->stored_len ? 0 : p->size;
    uint8_t *sealed = u->raw + (p->offset - u->places[0].offset);
    vmb_code code = VMB_OK;

    d->blob = (vmbi_pack_blob){u->ids[i], p->offset, p->stored_len, size, u->type};
    d->i = i;
    d->len = d->hashed = 0;
    vmbi_sha256_begin(&d->hash);
    if (vmbi_pack_blob_size(&d->blob) > (size_t)VMBI_REPO_MAX_BLOB) {
        return vmbi_fail(err, VMB_E_LIMIT, "a blob of %zu bytes", vmbi_pack_blob_size(&d->blob));
    }
    d->plain = sealed + VMBI_RESTIC_NONCE;
    if (size != 0 || !stands_alone(u, i)) {
        code = vmbi_room_reserve(room, vmbi_pack_blob_size(&d->blob), err);
        d->plain = room->p;
    }
    if (code == VMB_OK) {
        d->code = vmbi_restic_decode_blob(u->lane, &d->blob, sealed, d->plain,
                                          vmbi_pack_blob_size(&d->blob), &d->len, &d->why);
    }
    return code;
}

/* Hands a blob on; a damaged one is read again on its own, from whatever copy. */
static vmb_code give(run *u, decoded *d, vmb_error **err)
{
    const size_t i = d->i;
    vmbi_repo_id real;
    vmb_error *why = NULL;
    vmb_code code = d->code;

    if (code == VMB_OK) {
        vmbi_sha256_end(&d->hash, real.b);
        code = vmbi_restic_match_blob(&d->blob, &real, NULL);
    }
    vmb_error_free(vmbi_steal(&d->why));
    if (code != VMB_OK) {
        code = vmbi_restic_load_into(&u->r->base, u->type, &d->blob.id, d->plain,
                                     vmbi_pack_blob_size(&d->blob), &d->len, &why);
    }
    d->i = u->n;
    code = u->fn(u->user, i, code == VMB_OK ? d->plain : NULL, d->len, why, err);
    vmb_error_free(why);
    return code;
}

/* Decodes the next blob when there is one, and room for it beside the other one. */
static vmb_code fill(run *u, size_t k, size_t *next, vmb_error **err)
{
    const decoded *other = &u->pair[1 - k];
    decoded *d = &u->pair[k];

    if (d->i != u->n || *next == u->n ||
        (other->i != u->n &&
         vmbi_pack_blob_size(&other->blob) + u->places[*next].size > (size_t)PAIR_MAX)) {
        return VMB_OK;
    }
    return decode(u, (*next)++, &u->lane->plain[k], d, err);
}

/* Hashes both as far as the shorter one goes, or what is there of one alone. */
static void hash_some(const run *u, decoded *a, decoded *b)
{
    const size_t left_a = a->i != u->n ? a->len - a->hashed : 0;
    const size_t left_b = b->i != u->n ? b->len - b->hashed : 0;
    const size_t both = left_a < left_b ? left_a : left_b;
    const size_t n_a = both > 0 ? both : left_a, n_b = both > 0 ? both : left_b;

    vmbi_sha256_add_pair(&a->hash, n_a > 0 ? a->plain + a->hashed : NULL, n_a, &b->hash,
                         n_b > 0 ? b->plain + b->hashed : NULL, n_b);
    a->hashed += n_a;
    b->hashed += n_b;
}

static bool is_whole(const run *u, const decoded *d)
{
    return d->i != u->n && d->hashed == d->len;
}

/* The next one may take its place in the pair only when order does not matter or both are done. */
static vmb_code give_whole(run *u, vmb_error **err)
{
    decoded *first = &u->pair[u->pair[1].i < u->pair[0].i ? 1 : 0];
    decoded *second = &u->pair[first == &u->pair[0] ? 1 : 0];
    vmb_code code = VMB_OK;

    if (is_whole(u, first)) {
        code = give(u, first, err);
    }
    if (code == VMB_OK && is_whole(u, second) && (!u->in_order || first->i == u->n)) {
        code = give(u, second, err);
    }
    return code;
}

static vmb_code give_all(run *u, vmb_error **err)
{
    size_t next = 0;
    vmb_code code = VMB_OK;

    u->pair[0].i = u->pair[1].i = u->n;
    do {
        code = fill(u, 0, &next, err);
        if (code == VMB_OK) {
            code = fill(u, 1, &next, err);
        }
        if (code == VMB_OK) {
            hash_some(u, &u->pair[0], &u->pair[1]);
            code = give_whole(u, err);
        }
    } while (code == VMB_OK && (next < u->n || u->pair[0].i != u->n || u->pair[1].i != u->n));
    return code;
}

vmb_code vmbi_restic_load_run(vmbi_repo *base, vmbi_blob_type type, const vmbi_repo_id *ids,
                              const vmbi_blob_place *places, size_t n, bool in_order,
                              vmbi_repo_blob_fn fn, void *user, vmb_error **err)
{
    run u = {.r = vmbi_restic_of(base), .type = type, .ids = ids, .places = places, .n = n,
             .in_order = in_order, .fn = fn, .user = user};
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
        code = give_all(&u, err);
    }
    vmbi_lane_put(u.r, u.lane);
    for (k = 0; k < 2; k++) {
        vmb_error_free(u.pair[k].why);
    }
    return code;
}
