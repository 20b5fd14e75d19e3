/* SPDX-License-Identifier: Apache-2.0 */
/* Copying snapshots into another repository, which may differ in version, compression, chunker and
 * password. Blobs that the target has are not read. */
#ifndef VMBI_REPO_OPS_COPY_H
#define VMBI_REPO_OPS_COPY_H

#include "base/job.h"
#include "repo/ops/snapshots.h"

typedef struct vmbi_copy_stats {
    uint64_t snapshots;        /* copied */
    uint64_t snapshots_known;  /* found in the target from an earlier copy, left out */
    uint64_t trees;            /* visited */
    uint64_t blobs, bytes;     /* copied; plaintext bytes */
} vmbi_copy_stats;

typedef struct vmbi_copy_options {
    vmbi_snapshot_filter filter; /* of the source's snapshots */
    void (*progress)(void *user, const vmbi_copy_stats *so_far); /* NULL: not told */
    void *user;
} vmbi_copy_options;

/* Needs a lock and the index of both. Data is durable before its snapshot is saved. Memory: the
 * largest tree blob, 43 bytes for each tree visited, and 32 MiB. *out (may be NULL) receives an
 * owned array: for each snapshot {"source":id,"id":id in the target,"copied":bool}. As restic's
 * copies do, a copied snapshot has no parent and names its source as "original".
 * A blob that cannot be read ends the copy with its error; snapshots saved before stay. */
vmb_code vmbi_copy(vmbi_repo *from, vmbi_repo *to, const vmbi_copy_options *o, vmb_job *job,
                   vmbi_json **out, vmbi_copy_stats *stats, vmb_error **err);

#endif
