/* SPDX-License-Identifier: Apache-2.0 */
/* Blobs on their way into the store: known for deduplication, not yet in the index. A hash table
 * with removal; not thread-safe. */
#ifndef VMBI_REPO_RESTIC_PENDING_H
#define VMBI_REPO_RESTIC_PENDING_H

#include "repo/repo.h"

struct vmbi_open_pack;

typedef struct vmbi_pending_blob {
    vmbi_repo_id id;
    vmbi_blob_type type;
    bool used;
    bool ready;                  /* sealed: can be read from the pack's memory */
    uint32_t number;             /* in pack->blobs */
    uint64_t ticket;             /* grows from blob to blob */
    struct vmbi_open_pack *pack; /* NULL while it is being compressed */
} vmbi_pending_blob;

typedef struct vmbi_pending {
    vmbi_pending_blob *v;
    size_t n, cap;
    uint64_t next_ticket;
} vmbi_pending;

void vmbi_pending_free(vmbi_pending *p);
vmbi_pending_blob *vmbi_pending_get(const vmbi_pending *p, vmbi_blob_type type,
                                    const vmbi_repo_id *id); /* NULL when absent */
/* Adds a blob that is absent. */
vmb_code vmbi_pending_add(vmbi_pending *p, vmbi_blob_type type, const vmbi_repo_id *id,
                          vmb_error **err);
void vmbi_pending_remove(vmbi_pending *p, vmbi_blob_type type, const vmbi_repo_id *id);

#endif
