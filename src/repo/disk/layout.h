/* SPDX-License-Identifier: Apache-2.0 */
/* Where in a disk which chunk lies. Chunks of one size need no table; others one of 4.5 bytes each
 * beside their IDs. */
#ifndef VMBI_REPO_DISK_LAYOUT_H
#define VMBI_REPO_DISK_LAYOUT_H

#include "repo/tree/node.h"

typedef struct vmbi_disk_layout {
    uint64_t size;
    vmbi_repo_id *ids;
    size_t n;
    uint32_t fixed;  /* size of all chunks but the last; 0: they differ */
    uint64_t *bases; /* start of every 16th chunk */
    uint32_t *rel;   /* start of a chunk behind its base */
    uint8_t *zero;   /* one bit per chunk: it is all zeros */
} vmbi_disk_layout;

/* Takes the content of the node over. VMB_E_NOT_FOUND: the index lacks a chunk; VMB_E_INVALID: the
 * chunks are not as long as the file. */
vmb_code vmbi_disk_layout_init(vmbi_disk_layout *l, vmbi_repo *r, vmbi_node *node,
                               vmb_error **err);
void vmbi_disk_layout_free(vmbi_disk_layout *l);
uint64_t vmbi_disk_layout_start(const vmbi_disk_layout *l, size_t i); /* i == n: the size */
/* The chunk that holds a byte of the disk. */
size_t vmbi_disk_layout_find(const vmbi_disk_layout *l, uint64_t offset);
static inline bool vmbi_disk_layout_is_zero(const vmbi_disk_layout *l, size_t i)
{
    return (l->zero[i / 8] >> (i % 8) & 1) != 0;
}

#endif
