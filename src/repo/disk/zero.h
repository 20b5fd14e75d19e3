/* SPDX-License-Identifier: Apache-2.0 */
/* Zeros: telling them fast, and the IDs of chunks of nothing else. */
#ifndef VMBI_REPO_DISK_ZERO_H
#define VMBI_REPO_DISK_ZERO_H

#include "repo/repo.h"

bool vmbi_disk_is_zero(const void *data, size_t len);

enum { VMBI_DISK_ZERO_SIZES = 24 };

/* IDs of zero chunks by size: hashed once per size, at most so many sizes. */
typedef struct vmbi_disk_zero_ids {
    vmbi_repo *repo;
    size_t n;
    struct {
        uint32_t size;
        vmbi_repo_id id;
    } v[VMBI_DISK_ZERO_SIZES];
} vmbi_disk_zero_ids;

/* ID of a blob of size zeros; NULL when it is not worth knowing or memory is out. */
const vmbi_repo_id *vmbi_disk_zero_id(vmbi_disk_zero_ids *z, uint32_t size);

#endif
