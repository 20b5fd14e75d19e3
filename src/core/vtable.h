/* SPDX-License-Identifier: Apache-2.0 */
/* Taking in a caller's vtable: copy what both sides know, refuse what is too old. */
#ifndef VMBI_CORE_VTABLE_H
#define VMBI_CORE_VTABLE_H

#include <stdint.h>

#include <vmbackup/base.h>

#include "base/compiler.h"

/* Every vtable starts with these fields. */
typedef struct vmbi_vtable_head {
    size_t struct_size;
    uint32_t api_version;
    uint32_t flags;
    const char *name;
    void *user;
    void (*destroy)(void *user);
} vmbi_vtable_head;

/* Copies min(theirs, ours) bytes of src into the zeroed dst. min_size: size of the first release,
 * smaller tables are refused. kind completes messages ("store provider"). */
vmb_code vmbi_vtable_copy(void *dst, size_t dst_size, size_t min_size, const void *src,
                          const char *kind, vmb_error **err);
/* Calls the table's destroy, if there is one that can be trusted. */
void vmbi_vtable_destroy(const void *table);

#endif
