/* SPDX-License-Identifier: Apache-2.0 */
/* The objects of an archive, at hand in any order: read through once, kept compressed in chunks
 * within a budget. Resources that do not fit are read from the store again when their turn comes;
 * where their objects lie is noted when one is looked up.
 *
 * Reading is for one thread; get is for any, once reading has ended. */
#ifndef VMBI_CORE_RESTORE_INDEX_H
#define VMBI_CORE_RESTORE_INDEX_H

#include <pthread.h>

#include "base/map.h"
#include "codec/tar.h"
#include "core/store.h"

enum {
    VMBI_INDEX_BUDGET_BYTES = 20 * 1024 * 1024, /* of compressed objects */
    VMBI_INDEX_CHUNK_BYTES = 32 * 1024,         /* of objects, before compression */
    VMBI_INDEX_MAX_ITEM = 64 * 1024 * 1024,
    VMBI_INDEX_NAMES_MAX = 512 * 1024 * 1024
};

typedef struct vmbi_index_item {
    uint32_t name; /* in the index' names */
    uint32_t ns;   /* in the index' names; cluster-scoped: of "" */
    uint32_t chunk;
    uint32_t offset; /* in the chunk, unpacked */
    uint32_t len;
} vmbi_index_item;

typedef struct vmbi_index_chunk {
    char *packed; /* gzip; a single large object has a chunk of its own */
    size_t packed_len;
    size_t raw_len;
} vmbi_index_chunk;

/* Objects of one resource, in the archive's order. */
typedef struct vmbi_index_resource {
    char *group_resource; /* "pods"; with "/v1beta1" behind it: an additional version */
    char *version;        /* the preferred one of the source; "" when the archive does not say */
    bool streamed;        /* not kept: neither chunks nor items */
    size_t count;
    vmbi_index_item *items;
    size_t cap;
    vmbi_index_chunk *chunks;
    size_t n_chunks;
    size_t packed_bytes;
    vmbi_buf open;    /* the chunk that is being filled */
    uint32_t *sorted; /* items by namespace and name; made by the first get */
} vmbi_index_resource;

typedef struct vmbi_index_seek vmbi_index_seek;

typedef struct vmbi_index {
    const vmbi_store *store;
    vmb_job *job;
    char *path; /* of the archive, below the location's prefix */
    size_t budget_bytes;
    vmbi_index_resource **resources;
    size_t n;
    vmbi_map by_name;    /* values: resources */
    vmbi_map namespaces; /* name -> offset + 1 in names */
    vmbi_buf names;
    size_t packed_bytes;
    int64_t items;
    bool has_resources;        /* the archive has a folder resources/ at all */
    vmbi_index_resource *last; /* of the entry read last */
    vmbi_index_seek *seek;     /* places of streamed objects; made when one is looked up */
    bool no_seek;              /* there are too many */
    pthread_mutex_t lock;      /* of `sorted` and these two */
} vmbi_index;

/* Tells whether objects of a resource can be wanted at all; the others are not kept. */
typedef bool (*vmbi_index_wants_fn)(void *user, const char *group_resource);

/* Reads the archive. store, job and path's text must outlive the index. */
vmb_code vmbi_index_load(vmbi_index *x, const vmbi_store *store, vmb_job *job, const char *path,
                         size_t budget_bytes, vmbi_index_wants_fn wants, void *user,
                         vmb_error **err);
void vmbi_index_free(vmbi_index *x);

/* NULL when the archive has none. */
vmbi_index_resource *vmbi_index_find(const vmbi_index *x, const char *group_resource);
const char *vmbi_index_text(const vmbi_index *x, uint32_t offset);
/* One object, appended to out. VMB_E_NOT_FOUND when the archive has none. ns "": cluster-scoped. */
vmb_code vmbi_index_get(vmbi_index *x, const char *group_resource, const char *ns, const char *name,
                        vmbi_buf *out, vmb_error **err);
bool vmbi_index_has(vmbi_index *x, const char *group_resource, const char *ns, const char *name);

/* Every object of a resource, in the archive's order. */
typedef vmb_code (*vmbi_index_fn)(void *user, const char *ns, const char *name, const char *json,
                                  size_t len, vmb_error **err);
vmb_code vmbi_index_each(vmbi_index *x, vmbi_index_resource *r, vmbi_index_fn fn, void *user,
                         vmb_error **err);

#endif
