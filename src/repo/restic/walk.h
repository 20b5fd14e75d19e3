/* SPDX-License-Identifier: Apache-2.0 */
/* Which blobs the snapshots need: a walk over all trees, each visited once. */
#ifndef VMBI_REPO_RESTIC_WALK_H
#define VMBI_REPO_RESTIC_WALK_H

#include "repo/restic/restic.h"

typedef struct vmbi_walk {
    vmbi_restic *r;
    /* Something is wrong. kind: "snapshot", "tree" or "blob"; file: a name or ""; blob: hex or "".
     * VMB_OK goes on. */
    vmb_code (*problem)(void *user, const char *kind, const char *file, const char *blob,
                        const char *message, vmb_error **err);
    void *user;
    /* One bit for each record of r->index that vmbi_restic_index_record names. Freed by the caller
     * with vmbi_free. */
    uint8_t *used;
    size_t used_records;
    uint64_t trees;
    /* inside */
    vmbi_repo_id *stack;
    size_t stack_n, stack_cap;
    vmbi_buf text;
} vmbi_walk;

/* Set r, problem and user, zero the rest. r->index is loaded and does not change meanwhile. */
vmb_code vmbi_walk_all(vmbi_walk *w, vmb_error **err);
static inline bool vmbi_walk_is_used(const vmbi_walk *w, size_t record)
{
    return record < w->used_records && (w->used[record / 8] >> (record % 8) & 1) != 0;
}

#endif
