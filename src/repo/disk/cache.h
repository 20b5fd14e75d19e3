/* SPDX-License-Identifier: Apache-2.0 */
/* Chunks that were read, the latest ones first. Any thread; who wants a chunk that another one is
 * reading waits for it. */
#ifndef VMBI_REPO_DISK_CACHE_H
#define VMBI_REPO_DISK_CACHE_H

#include "repo/repo.h"

typedef struct vmbi_disk_cache vmbi_disk_cache;
typedef struct vmbi_cached_chunk vmbi_cached_chunk;

/* max_bytes bounds the chunks; one that is larger comes alone. */
vmb_code vmbi_disk_cache_new(vmbi_repo *r, vmb_job *job, uint64_t max_bytes, vmbi_disk_cache **out,
                             vmb_error **err);
void vmbi_disk_cache_free(vmbi_disk_cache *c); /* nothing is held any more; NULL allowed */
/* Reads a chunk of that size, or finds it. It stays until put. Hold one at a time: who waits for
 * room must not be in the way of others. */
vmb_code vmbi_disk_cache_get(vmbi_disk_cache *c, const vmbi_repo_id *id, size_t size,
                             vmbi_cached_chunk **out, vmb_error **err);
const uint8_t *vmbi_cached_chunk_data(const vmbi_cached_chunk *e);
void vmbi_disk_cache_put(vmbi_disk_cache *c, vmbi_cached_chunk *e);
/* Chunks that had to be read so far, for tests. */
uint64_t vmbi_disk_cache_loads(vmbi_disk_cache *c);

#endif
