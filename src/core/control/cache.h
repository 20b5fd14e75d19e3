/* SPDX-License-Identifier: Apache-2.0 */
/* What is kept in memory of the objects of one kind: a few fields of each, as text. Sorted by name.
 * Has no lock. */
#ifndef VMBI_CORE_CONTROL_CACHE_H
#define VMBI_CORE_CONTROL_CACHE_H

#include <vmbackup/base.h>

#include "codec/json.h"

enum { VMBI_CACHE_FIELDS_MAX = 12, VMBI_CACHE_OBJECTS_MAX = 200000 };

typedef struct vmbi_cached {
    uint32_t round; /* of the list that it was last seen in */
    char name[];    /* followed by the fields, each ended by a NUL */
} vmbi_cached;

typedef struct vmbi_cache {
    const char *const *fields; /* "spec.a.b", or "metadata.labels/key.with.dots"; ended by NULL */
    vmbi_cached **v;
    size_t n;
    size_t cap;
    uint32_t round;
} vmbi_cache;

void vmbi_cache_free(vmbi_cache *c);
/* Takes in an object in its present state; *out (may be NULL) is the entry, borrowed. An object
 * without a name is VMB_E_PROTOCOL. */
vmb_code vmbi_cache_put(vmbi_cache *c, const vmbi_json *object, const vmbi_cached **out,
                        vmb_error **err);
void vmbi_cache_drop(vmbi_cache *c, const char *name);
const vmbi_cached *vmbi_cache_get(const vmbi_cache *c, const char *name); /* NULL: absent */
/* Field number i; "" when the object has none. */
const char *vmbi_cached_field(const vmbi_cached *e, size_t i);

/* A list begins; when it has ended, drop everything that it did not bring. */
void vmbi_cache_begin(vmbi_cache *c);
void vmbi_cache_end(vmbi_cache *c);

/* A field of an object as text, appended: strings as they are, numbers and truth values printed,
 * anything else "". */
void vmbi_field_text(const vmbi_json *object, const char *field, vmbi_buf *out);

#endif
