/* SPDX-License-Identifier: Apache-2.0 */
/* The names of a directory, in byte order: their bytes and 8 bytes for each. */
#ifndef VMBI_REPO_TREE_NAMES_H
#define VMBI_REPO_TREE_NAMES_H

#include "base/buf.h"
#include "base/compiler.h"

typedef struct vmbi_names {
    vmbi_buf text;  /* NUL behind each name */
    size_t *starts; /* n of them */
    size_t n, cap;
} vmbi_names;

/* Reads the directory behind dirfd, which stays open. Free it also after failures. */
vmb_code vmbi_names_read(int dirfd, vmbi_names *out, vmb_error **err);
static inline const char *vmbi_names_at(const vmbi_names *l, size_t i)
{
    return l->text.data + l->starts[i];
}
void vmbi_names_free(vmbi_names *l);

#endif
