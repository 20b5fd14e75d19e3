/* SPDX-License-Identifier: Apache-2.0 */
/* A hash map from strings to pointers, and a set of 16-byte keys. Insertion order is kept for
 * iteration of the map. */
#ifndef VMBI_BASE_MAP_H
#define VMBI_BASE_MAP_H

#include <vmbackup/base.h>

#include "base/compiler.h"

typedef struct vmbi_map_entry {
    char *key; /* owned */
    void *value;
    uint64_t hash;
} vmbi_map_entry;

typedef struct vmbi_map {
    vmbi_map_entry *entries; /* n used; iterate 0..n-1 */
    size_t n;
    size_t cap;
    uint32_t *index; /* open addressing, entry number + 1 */
    size_t index_cap;
    void (*free_value)(void *); /* may be NULL */
} vmbi_map;

#define VMBI_MAP_INIT(free_fn) {NULL, 0, 0, NULL, 0, (free_fn)}

void vmbi_map_free(vmbi_map *m);
void *vmbi_map_get(const vmbi_map *m, const char *key); /* NULL when absent */
bool vmbi_map_has(const vmbi_map *m, const char *key);
/* Sets; a former value is released by free_value. On failure the value stays the caller's. */
vmb_code vmbi_map_set(vmbi_map *m, const char *key, void *value, vmb_error **err);

typedef struct vmbi_key16 {
    uint8_t b[16];
} vmbi_key16;

typedef struct vmbi_keyset {
    vmbi_key16 *slots; /* all-zero = empty; the zero key itself is never added (it is a digest) */
    size_t n;
    size_t cap;
} vmbi_keyset;

void vmbi_keyset_free(vmbi_keyset *s);
bool vmbi_keyset_has(const vmbi_keyset *s, const vmbi_key16 *key);
/* Adds; *added tells whether it was new. 16 bytes per slot, at most 75 % full. */
vmb_code vmbi_keyset_add(vmbi_keyset *s, const vmbi_key16 *key, bool *added, vmb_error **err);

#endif
