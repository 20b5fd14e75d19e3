/* SPDX-License-Identifier: Apache-2.0 */
/* The index in memory: which blob lies where. Not thread-safe.
 *
 * Memory: a blob takes a record of 38 bytes (ID, kind, sealed and plaintext length) and, in a hash
 * table of 4-byte slots that is filled between 68 % and 85 %, 4.7 to 5.9 bytes; a pack takes 36
 * bytes, up to 41 with the slack of its list. That is at most 44.1 bytes per blob and 41 per pack:
 * below 48 for packs of ten blobs and more. While the table grows, once per quarter more blobs, the
 * old one stands beside it. Of the offsets every 32nd is stored: the records of a pack stand together
 * in the order of the pack, and an offset is the sum of the lengths before it. */
#ifndef VMBI_REPO_RESTIC_INDEX_H
#define VMBI_REPO_RESTIC_INDEX_H

#include "repo/restic/pack.h"

typedef struct vmbi_restic_index vmbi_restic_index;

vmb_code vmbi_restic_index_new(vmbi_restic_index **out, vmb_error **err);
void vmbi_restic_index_free(vmbi_restic_index *x); /* NULL allowed */

/* What add found out about the pack. */
typedef enum vmbi_index_added {
    VMBI_INDEX_NEW,
    VMBI_INDEX_SAME,  /* described before, identically: nothing was added */
    VMBI_INDEX_DIFFERS /* described before, otherwise: nothing was added */
} vmbi_index_added;
/* Adds a pack with its blobs, which are sorted by offset here. Overlaps, lengths below 32 and sizes
 * beyond 4 GiB are VMB_E_INVALID. On failure the index is unchanged. */
vmb_code vmbi_restic_index_add(vmbi_restic_index *x, const vmbi_repo_id *pack, vmbi_pack_blob *v,
                               size_t n, vmbi_index_added *how, vmb_error **err);

bool vmbi_restic_index_has(const vmbi_restic_index *x, vmbi_blob_type type,
                           const vmbi_repo_id *id);
/* Finds copies: start with *cursor = 0; false when there are no (more) copies. */
bool vmbi_restic_index_find(const vmbi_restic_index *x, vmbi_blob_type type,
                            const vmbi_repo_id *id, uint64_t *cursor, uint32_t *pack,
                            vmbi_pack_blob *out);

size_t vmbi_restic_index_packs(const vmbi_restic_index *x);
/* Numbers of records are below this. */
size_t vmbi_restic_index_records(const vmbi_restic_index *x);
size_t vmbi_restic_index_blobs(const vmbi_restic_index *x);
size_t vmbi_restic_index_bytes(const vmbi_restic_index *x); /* memory in use */
const vmbi_repo_id *vmbi_restic_index_pack_id(const vmbi_restic_index *x, uint32_t pack);
/* The blobs of a pack, ordered by offset; out is emptied first. */
vmb_code vmbi_restic_index_pack_blobs(const vmbi_restic_index *x, uint32_t pack,
                                      vmbi_pack_blobs *out, vmb_error **err);
/* Number of the record that stands for the blob, the same for all of its copies as long as nothing
 * is added; SIZE_MAX when it is absent. */
size_t vmbi_restic_index_record(const vmbi_restic_index *x, vmbi_blob_type type,
                                const vmbi_repo_id *id);

#endif
