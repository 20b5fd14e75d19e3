/* SPDX-License-Identifier: Apache-2.0 */
/* Headers of pack files, as plaintext. Source: restic internal/repository/pack/pack.go. */
#ifndef VMBI_REPO_RESTIC_PACK_H
#define VMBI_REPO_RESTIC_PACK_H

#include "base/buf.h"
#include "repo/repo.h"
#include "repo/restic/crypto.h"

enum {
    VMBI_PACK_ENTRY = 37,            /* type, sealed length, ID */
    VMBI_PACK_ENTRY_COMPRESSED = 41, /* with the uncompressed length */
    VMBI_PACK_FIXED = 36,            /* nonce and tag of the header, its length */
    VMBI_PACK_MAX_HEADER = (16 << 20) + 4
};

/* One blob of a pack. size: plaintext length when compressed, else 0. */
typedef struct vmbi_pack_blob {
    vmbi_repo_id id;
    uint32_t offset;
    uint32_t length; /* sealed */
    uint32_t size;
    vmbi_blob_type type;
} vmbi_pack_blob;

typedef struct vmbi_pack_blobs {
    vmbi_pack_blob *v;
    size_t n;
    size_t cap;
} vmbi_pack_blobs;
void vmbi_pack_blobs_free(vmbi_pack_blobs *l);
vmb_code vmbi_pack_blobs_add(vmbi_pack_blobs *l, const vmbi_pack_blob *b, vmb_error **err);

/* Bytes of the plaintext header of these blobs, and of the whole pack file. */
size_t vmbi_pack_header_size(const vmbi_pack_blob *v, size_t n);
uint64_t vmbi_pack_file_size(const vmbi_pack_blob *v, size_t n);
/* Writes vmbi_pack_header_size bytes. */
void vmbi_pack_header_write(const vmbi_pack_blob *v, size_t n, uint8_t *out);
/* Decodes a plaintext header; offsets are running sums. blobs_bytes: what lies before the header
 * in the file; the lengths must add up to it. compressed_allowed: version 2. Appends. */
vmb_code vmbi_pack_header_parse(const uint8_t *p, size_t len, uint64_t blobs_bytes,
                                bool compressed_allowed, vmbi_pack_blobs *out, vmb_error **err);

#endif
