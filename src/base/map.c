/* SPDX-License-Identifier: Apache-2.0 */
#include "base/map.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"

/* FNV-1a, 64 bit. Keys come from a cluster's own names; the map is not a defence against crafted
 * collisions, only its users' sizes are limited. */
static uint64_t hash_string(const char *s)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    for (; *s != '\0'; s++) {
        h = (h ^ (unsigned char)*s) * UINT64_C(0x100000001b3);
    }
    return h;
}

void vmbi_map_free(vmbi_map *m)
{
    for (size_t i = 0; i < m->n; i++) {
        vmbi_free(m->entries[i].key);
        if (m->free_value != NULL) {
            m->free_value(m->entries[i].value);
        }
    }
    vmbi_free(m->entries);
    vmbi_free(m->index);
    *m = (vmbi_map)VMBI_MAP_INIT(m->free_value);
}

static vmbi_map_entry *find(const vmbi_map *m, const char *key, uint64_t hash)
{
    if (m->index_cap == 0) {
        return NULL;
    }
    size_t mask = m->index_cap - 1;
    for (size_t i = (size_t)hash & mask; m->index[i] != 0; i = (i + 1) & mask) {
        vmbi_map_entry *e = &m->entries[m->index[i] - 1];
        if (e->hash == hash && strcmp(e->key, key) == 0) {
            return e;
        }
    }
    return NULL;
}

void *vmbi_map_get(const vmbi_map *m, const char *key)
{
    vmbi_map_entry *e = find(m, key, hash_string(key));
    return e != NULL ? e->value : NULL;
}

bool vmbi_map_has(const vmbi_map *m, const char *key)
{
    return find(m, key, hash_string(key)) != NULL;
}

static vmb_code grow(vmbi_map *m, vmb_error **err)
{
    if (m->n == m->cap) {
        size_t cap = m->cap == 0 ? 16 : m->cap * 2;
        if (cap > UINT32_MAX / 4) {
            return vmbi_fail(err, VMB_E_LIMIT, "map: too many entries");
        }
        vmbi_map_entry *entries = vmbi_realloc_array(m->entries, cap, sizeof(*entries));
        if (entries == NULL) {
            return vmbi_fail_nomem(err);
        }
        m->entries = entries;
        m->cap = cap;
    }
    if (m->index_cap >= m->cap * 2) {
        return VMB_OK;
    }
    size_t index_cap = m->cap * 2; /* a power of two, at most half full */
    uint32_t *index = vmbi_zalloc(index_cap * sizeof(*index));
    if (index == NULL) {
        return vmbi_fail_nomem(err);
    }
    for (size_t e = 0; e < m->n; e++) {
        size_t i = (size_t)m->entries[e].hash & (index_cap - 1);
        while (index[i] != 0) {
            i = (i + 1) & (index_cap - 1);
        }
        index[i] = (uint32_t)e + 1;
    }
    vmbi_free(m->index);
    m->index = index;
    m->index_cap = index_cap;
    return VMB_OK;
}

vmb_code vmbi_map_set(vmbi_map *m, const char *key, void *value, vmb_error **err)
{
    uint64_t hash = hash_string(key);
    vmbi_map_entry *e = find(m, key, hash);
    if (e != NULL) {
        if (m->free_value != NULL && e->value != value) {
            m->free_value(e->value);
        }
        e->value = value;
        return VMB_OK;
    }
    vmb_code rc = grow(m, err);
    if (rc != VMB_OK) {
        return rc;
    }
    char *copy = vmbi_strdup(key);
    if (copy == NULL) {
        return vmbi_fail_nomem(err);
    }
    m->entries[m->n] = (vmbi_map_entry){copy, value, hash};
    size_t i = (size_t)hash & (m->index_cap - 1);
    while (m->index[i] != 0) {
        i = (i + 1) & (m->index_cap - 1);
    }
    m->index[i] = (uint32_t)++m->n;
    return VMB_OK;
}

/* ---- set of 16-byte keys -------------------------------------------------------------------- */

static bool key_is_zero(const vmbi_key16 *k)
{
    static const vmbi_key16 zero;
    return memcmp(k, &zero, sizeof(zero)) == 0;
}

/* Slot of the key, or the empty slot where it belongs. */
static vmbi_key16 *slot_of(vmbi_key16 *slots, size_t cap, const vmbi_key16 *key)
{
    uint64_t h = 0;
    memcpy(&h, key->b, sizeof(h)); /* a digest: any 8 bytes are a hash */
    size_t i = (size_t)h & (cap - 1);
    while (!key_is_zero(&slots[i]) && memcmp(&slots[i], key, sizeof(*key)) != 0) {
        i = (i + 1) & (cap - 1);
    }
    return &slots[i];
}

void vmbi_keyset_free(vmbi_keyset *s)
{
    vmbi_free(s->slots);
    *s = (vmbi_keyset){0};
}

bool vmbi_keyset_has(const vmbi_keyset *s, const vmbi_key16 *key)
{
    return s->cap != 0 && !key_is_zero(slot_of(s->slots, s->cap, key));
}

static vmb_code keyset_grow(vmbi_keyset *s, vmb_error **err)
{
    size_t cap = s->cap == 0 ? 256 : s->cap * 2;
    vmbi_key16 *slots = cap > SIZE_MAX / sizeof(*slots) ? NULL : vmbi_zalloc(cap * sizeof(*slots));
    if (slots == NULL) {
        return vmbi_fail_nomem(err);
    }
    for (size_t i = 0; i < s->cap; i++) {
        if (!key_is_zero(&s->slots[i])) {
            *slot_of(slots, cap, &s->slots[i]) = s->slots[i];
        }
    }
    vmbi_free(s->slots);
    s->slots = slots;
    s->cap = cap;
    return VMB_OK;
}

vmb_code vmbi_keyset_add(vmbi_keyset *s, const vmbi_key16 *key, bool *added, vmb_error **err)
{
    if (s->n >= s->cap - s->cap / 4) {
        vmb_code rc = keyset_grow(s, err);
        if (rc != VMB_OK) {
            return rc;
        }
    }
    vmbi_key16 *slot = slot_of(s->slots, s->cap, key);
    *added = key_is_zero(slot);
    if (*added) {
        *slot = *key;
        s->n++;
    }
    return VMB_OK;
}
