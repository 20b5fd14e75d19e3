/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/restic/pack.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"

/* Types in a header. */
enum { DATA = 0, TREE = 1, COMPRESSED = 2 };

void vmbi_pack_blobs_free(vmbi_pack_blobs *l)
{
    vmbi_free(l->v);
    *l = (vmbi_pack_blobs){NULL, 0, 0};
}

vmb_code vmbi_pack_blobs_add(vmbi_pack_blobs *l, const vmbi_pack_blob *b, vmb_error **err)
{
    if (l->n == l->cap) {
        const size_t cap = l->cap == 0 ? 32 : l->cap * 2;
        vmbi_pack_blob *v = vmbi_realloc_array(l->v, cap, sizeof(*v));

        if (v == NULL) {
            return vmbi_fail_nomem(err);
        }
        l->v = v;
        l->cap = cap;
    }
    l->v[l->n++] = *b;
    return VMB_OK;
}

size_t vmbi_pack_header_size(const vmbi_pack_blob *v, size_t n)
{
    size_t size = 0;
    size_t i = 0;

    for (i = 0; i < n; i++) {
        size += v[i].size != 0 ? VMBI_PACK_ENTRY_COMPRESSED : VMBI_PACK_ENTRY;
    }
    return size;
}

uint64_t vmbi_pack_file_size(const vmbi_pack_blob *v, size_t n)
{
    uint64_t size = vmbi_pack_header_size(v, n) + VMBI_PACK_FIXED;
    size_t i = 0;

    for (i = 0; i < n; i++) {
        size += v[i].length;
    }
    return size;
}

static uint8_t *put_le32(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
    p[2] = (uint8_t)(v >> 16);
    p[3] = (uint8_t)(v >> 24);
    return p + 4;
}

static uint32_t get_le32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

void vmbi_pack_header_write(const vmbi_pack_blob *v, size_t n, uint8_t *out)
{
    size_t i = 0;

    for (i = 0; i < n; i++) {
        *out++ = (uint8_t)((v[i].type == VMBI_BLOB_TREE ? TREE : DATA) |
                           (v[i].size != 0 ? COMPRESSED : 0));
        out = put_le32(out, v[i].length);
        if (v[i].size != 0) {
            out = put_le32(out, v[i].size);
        }
        memcpy(out, v[i].id.b, VMBI_REPO_ID_SIZE);
        out += VMBI_REPO_ID_SIZE;
    }
}

/* One entry at p; its size, or 0 when it is none. */
static size_t parse_entry(const uint8_t *p, size_t len, bool compressed_allowed, vmbi_pack_blob *b)
{
    const bool compressed = (p[0] & COMPRESSED) != 0;
    const size_t size = compressed ? VMBI_PACK_ENTRY_COMPRESSED : VMBI_PACK_ENTRY;

    if (p[0] > 3 || len < size || (compressed && !compressed_allowed)) {
        return 0;
    }
    b->type = (p[0] & TREE) != 0 ? VMBI_BLOB_TREE : VMBI_BLOB_DATA;
    b->length = get_le32(p + 1);
    b->size = compressed ? get_le32(p + 5) : 0;
    memcpy(b->id.b, p + size - VMBI_REPO_ID_SIZE, VMBI_REPO_ID_SIZE);
    return b->length < VMBI_RESTIC_OVERHEAD || (compressed && b->size == 0) ? 0 : size;
}

vmb_code vmbi_pack_header_parse(const uint8_t *p, size_t len, uint64_t blobs_bytes,
                                bool compressed_allowed, vmbi_pack_blobs *out, vmb_error **err)
{
    uint64_t offset = 0;

    if (len > VMBI_PACK_MAX_HEADER || blobs_bytes > UINT32_MAX) {
        return vmbi_fail(err, VMB_E_INVALID, "pack header: %zu bytes are too many", len);
    }
    while (len > 0) {
        vmbi_pack_blob b;
        const size_t used = parse_entry(p, len, compressed_allowed, &b);
        vmb_code code = VMB_OK;

        if (used == 0) {
            return vmbi_fail(err, VMB_E_INVALID, "pack header: entry %zu is malformed", out->n);
        }
        if (b.length > blobs_bytes - offset) {
            return vmbi_fail(err, VMB_E_INVALID, "pack header: the blobs are longer than the pack");
        }
        b.offset = (uint32_t)offset;
        offset += b.length;
        code = vmbi_pack_blobs_add(out, &b, err);
        if (code != VMB_OK) {
            return code;
        }
        p += used;
        len -= used;
    }
    if (offset != blobs_bytes) {
        return vmbi_fail(err, VMB_E_INVALID, "pack header: the blobs are shorter than the pack");
    }
    return VMB_OK;
}
