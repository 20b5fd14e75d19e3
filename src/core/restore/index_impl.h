/* SPDX-License-Identifier: Apache-2.0 */
/* The index from the inside: index_walk.c reads archives, index.c keeps objects, index_look.c gives
 * them out. */
#ifndef VMBI_CORE_RESTORE_INDEX_IMPL_H
#define VMBI_CORE_RESTORE_INDEX_IMPL_H

#include "core/restore/index.h"

/* What the path of an entry says. */
typedef struct vmbi_index_entry {
    char group_resource[512]; /* with "/version" for an additional version */
    char version[128];        /* "": the plain path */
    bool preferred;           /* of a -preferredversion folder: a second copy */
    char ns[256];
    char name[512];
} vmbi_index_entry;

/* False for anything that is no object. */
bool vmbi_index_entry_parse(const char *path, vmbi_index_entry *e);
/* Walks the archive. */
vmb_code vmbi_index_walk(const vmbi_index *x, vmbi_tar_entry_fn fn, void *user, vmb_error **err);

#endif
