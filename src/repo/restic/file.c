/* SPDX-License-Identifier: Apache-2.0 */
/* Files that are one sealed message (index, snapshot, lock), and listings. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "codec/digest.h"
#include "repo/restic/restic.h"

/* First byte of a plaintext in version 2 that is not JSON itself. */
enum { MARK_ZSTD = 2 };

void vmbi_restic_path(char out[VMBI_RESTIC_PATH], const char *dir, const vmbi_repo_id *id)
{
    const size_t n = strlen(dir); /* one of our own short names */

    memcpy(out, dir, n);
    vmbi_repo_id_hex(id, out + n);
}

void vmbi_restic_pack_path(char out[VMBI_RESTIC_PATH], const vmbi_repo_id *id)
{
    memcpy(out, "data/", 5);
    vmbi_repo_id_hex(id, out + 8);
    out[5] = out[8];
    out[6] = out[9];
    out[7] = '/';
}

static vmb_code unpack_text(vmbi_restic *r, vmbi_lane *lane, const uint8_t *p, size_t len,
                            vmbi_buf *out, vmb_error **err)
{
    vmb_code code = VMB_OK;

    if (r->config.version >= 2 && len > 0 && p[0] != '{' && p[0] != '[') {
        if (p[0] != MARK_ZSTD) {
            return vmbi_fail(err, VMB_E_UNSUPPORTED, "unknown encoding %u of a file", (unsigned)p[0]);
        }
        code = vmbi_lane_decoder(lane, err);
        return code == VMB_OK ? vmbi_zstd_decompress_buf(lane->dec, p + 1, len - 1, out, err) : code;
    }
    vmbi_buf_add(out, p, len);
    return vmbi_buf_check(out, err, "file");
}

vmb_code vmbi_restic_unpack(vmbi_restic *r, vmbi_lane *lane, uint8_t *sealed, size_t len,
                            vmbi_buf *out, vmb_error **err)
{
    vmb_code code = vmbi_restic_open(lane->box, sealed, len, sealed + VMBI_RESTIC_NONCE, err);

    return code == VMB_OK ? unpack_text(r, lane, sealed + VMBI_RESTIC_NONCE,
                                        len - VMBI_RESTIC_OVERHEAD, out, err)
                          : code;
}

vmb_code vmbi_restic_load_file(vmbi_restic *r, const char *dir, const vmbi_repo_id *id,
                               vmbi_buf *out, vmb_error **err)
{
    vmbi_buf raw = VMBI_BUF_INIT(VMBI_RESTIC_META_MAX);
    char path[VMBI_RESTIC_PATH];
    vmbi_lane *lane = NULL;
    vmbi_repo_id real;
    vmb_code code = VMB_OK;

    vmbi_restic_path(path, dir, id);
    code = vmbi_storage_get(&r->storage, path, &raw, err);
    if (code != VMB_OK) {
        goto out;
    }
    vmbi_sha256(raw.data, raw.len, real.b);
    if (memcmp(real.b, id->b, VMBI_REPO_ID_SIZE) != 0) {
        code = vmbi_fail(err, VMB_E_INVALID, "%s: damaged: the content does not match the name",
                         path);
        goto out;
    }
    code = vmbi_lane_get(r, &lane, err);
    if (code == VMB_OK) {
        code = vmbi_restic_unpack(r, lane, (uint8_t *)raw.data, raw.len, out, err);
        if (code != VMB_OK) {
            code = vmbi_wrap(err, code, "%s", path);
        }
    }
out:
    vmbi_lane_put(r, lane);
    vmbi_buf_free(&raw);
    return code;
}

/* Plaintext of a file: marked and compressed in version 2. It leaves room for the seal. */
static vmb_code pack_text(vmbi_restic *r, vmbi_lane *lane, const char *text, size_t len,
                          size_t *out_len, vmb_error **err)
{
    uint8_t *to = NULL;
    vmb_code code = vmbi_room_reserve(&lane->scratch,
                                      vmbi_zstd_bound(len) + 1 + VMBI_RESTIC_OVERHEAD, err);

    if (code != VMB_OK) {
        return code;
    }
    to = lane->scratch.p + VMBI_RESTIC_NONCE;
    if (r->config.version < 2) {
        memcpy(to, text, len);
        *out_len = len;
        return VMB_OK;
    }
    to[0] = MARK_ZSTD;
    code = vmbi_lane_encoder(r, lane, err);
    if (code == VMB_OK) {
        code = vmbi_zstd_compress(lane->enc, text, len, to + 1, vmbi_zstd_bound(len), out_len, err);
        *out_len += 1;
    }
    return code;
}

vmb_code vmbi_restic_put_named(vmbi_restic *r, vmb_job *job, const char *dir, const void *data,
                               size_t len, vmbi_repo_id *id, vmb_error **err)
{
    char path[VMBI_RESTIC_PATH];
    vmbi_repo_id own;
    vmb_code code = VMB_OK;

    vmbi_sha256(data, len, own.b);
    vmbi_restic_path(path, dir, &own);
    code = vmbi_storage_put(&r->storage, job, path, data, len, 0, err);
    if (code == VMB_OK) {
        *id = own;
    }
    return code;
}

vmb_code vmbi_restic_remove_named(vmbi_restic *r, const char *dir, const char *what,
                                  const vmbi_repo_id *id, vmb_error **err)
{
    char path[VMBI_RESTIC_PATH];
    bool there = false;
    vmb_code code = VMB_OK;

    vmbi_restic_path(path, dir, id);
    code = vmbi_storage_exists(&r->storage, NULL, path, &there, err);
    if (code == VMB_OK && !there) {
        code = vmbi_fail(err, VMB_E_NOT_FOUND, "%s %s: there is none", what, path + strlen(dir));
    }
    return code == VMB_OK ? vmbi_storage_remove(&r->storage, NULL, path, err) : code;
}

vmb_code vmbi_restic_save_file(vmbi_restic *r, vmb_job *job, const char *dir, const char *text,
                               size_t len, vmbi_repo_id *id, vmb_error **err)
{
    vmbi_lane *lane = NULL;
    size_t n = 0;
    vmb_code code = vmbi_lane_get(r, &lane, err);

    if (code == VMB_OK) {
        code = pack_text(r, lane, text, len, &n, err);
    }
    if (code == VMB_OK) {
        code = vmbi_restic_seal(lane->box, lane->scratch.p + VMBI_RESTIC_NONCE, n, lane->scratch.p,
                                err);
    }
    if (code == VMB_OK) {
        code = vmbi_restic_put_named(r, job, dir, lane->scratch.p, n + VMBI_RESTIC_OVERHEAD, id, err);
    }
    vmbi_lane_put(r, lane);
    return code;
}

void vmbi_id_list_free(vmbi_id_list *l)
{
    vmbi_free(l->v);
    vmbi_free(l->sizes);
    *l = (vmbi_id_list){NULL, NULL, 0, 0};
}

static vmb_code list_add(void *user, const char *path, const char *name, int64_t size_bytes,
                         vmb_error **err)
{
    vmbi_id_list *l = user;
    vmbi_repo_id id;

    (void)path;
    if (!vmbi_repo_id_parse(name, strlen(name), &id)) {
        return VMB_OK; /* somebody's note, or the rest of an upload */
    }
    if (l->n == l->cap) {
        const size_t cap = l->cap == 0 ? 64 : l->cap * 2;
        vmbi_repo_id *v = vmbi_realloc_array(l->v, cap, sizeof(*v));
        int64_t *sizes = NULL;

        if (v == NULL) {
            return vmbi_fail_nomem(err);
        }
        l->v = v;
        sizes = vmbi_realloc_array(l->sizes, cap, sizeof(*sizes));
        if (sizes == NULL) {
            return vmbi_fail_nomem(err);
        }
        l->sizes = sizes;
        l->cap = cap;
    }
    l->v[l->n] = id;
    l->sizes[l->n++] = size_bytes;
    return VMB_OK;
}

vmb_code vmbi_restic_list(vmbi_restic *r, const char *dir, vmbi_id_list *out, vmb_error **err)
{
    vmb_code code = vmbi_storage_list(&r->storage, dir, list_add, out, err);
    size_t i = 0;

    /* Stores list in byte order, and hex keeps the order of bytes; a store that does not is put
     * right by insertion, which costs nothing when there is nothing to do. */
    for (i = 1; code == VMB_OK && i < out->n; i++) {
        const vmbi_repo_id id = out->v[i];
        const int64_t size = out->sizes[i];
        size_t k = i;

        while (k > 0 && memcmp(out->v[k - 1].b, id.b, VMBI_REPO_ID_SIZE) > 0) {
            out->v[k] = out->v[k - 1];
            out->sizes[k] = out->sizes[k - 1];
            k--;
        }
        out->v[k] = id;
        out->sizes[k] = size;
    }
    return code;
}

bool vmbi_id_list_has(const vmbi_id_list *l, const vmbi_repo_id *id, size_t *at)
{
    size_t lo = 0, hi = l->n;

    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        const int c = memcmp(l->v[mid].b, id->b, VMBI_REPO_ID_SIZE);

        if (c == 0) {
            if (at != NULL) {
                *at = mid;
            }
            return true;
        }
        if (c < 0) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return false;
}
