/* SPDX-License-Identifier: Apache-2.0 */
/* The index from the inside: index_walk.c reads archives, index.c keeps objects, index_look.c gives
 * them out, index_seek.c finds those that were not kept. */
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
/* One object that is looked for among the entries of the archive. */
typedef struct vmbi_index_wanted {
    const char *group_resource;
    const char *ns;
    const char *name;
    vmbi_buf *out;
    bool found;
} vmbi_index_wanted;

/* Takes the object (user: vmbi_index_wanted) and ends the walk with 1; passes over all others. */
vmb_code vmbi_index_take(void *user, const char *path, const char *data, size_t len,
                         vmb_error **err);
/* Walks the archive. */
vmb_code vmbi_index_walk(const vmbi_index *x, vmbi_tar_entry_fn fn, void *user, vmb_error **err);

/* The archive as a stream: the tar reader pulls and stores push, so it is fetched in ranges. */
typedef struct vmbi_index_source {
    const vmbi_index *x;
    vmbi_buf key;
    int64_t size;
    int64_t offset; /* of the next range; may be set before the first pull */
    vmbi_buf part;
    size_t used;
} vmbi_index_source;
/* Closing is due also when opening failed. */
vmb_code vmbi_index_open(const vmbi_index *x, vmbi_index_source *s, vmb_error **err);
int64_t vmbi_index_pull(void *source, void *buf, size_t size, vmb_error **err);
void vmbi_index_close(vmbi_index_source *s);

/* Objects of streamed resources. *known false: there are too many of them, walk the archive. */
vmb_code vmbi_index_seek_has(vmbi_index *x, const char *group_resource, const char *ns,
                             const char *name, bool *known, bool *has, vmb_error **err);
/* Appended to out when *found. */
vmb_code vmbi_index_seek_get(vmbi_index *x, const char *group_resource, const char *ns,
                             const char *name, vmbi_buf *out, bool *known, bool *found,
                             vmb_error **err);
void vmbi_index_seek_free(vmbi_index_seek *s);

#endif
