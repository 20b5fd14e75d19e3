/* SPDX-License-Identifier: Apache-2.0 */
/* The archive of a backup: objects into tar into gzip into the store, streaming; and the list of
 * what went in. */
#ifndef VMBI_CORE_ARCHIVE_H
#define VMBI_CORE_ARCHIVE_H

#include "base/map.h"
#include "codec/jscan.h"
#include "codec/tar.h"
#include "core/store.h"
#include "model/discovery.h"

typedef struct vmbi_archive {
    vmbi_put put;
    vmbi_gzip *gzip;
    vmbi_tar *tar;
    vmbi_buf path;
    int64_t items;
    int64_t raw_bytes;      /* of objects, each counted once */
    vmbi_map names;         /* "apiVersion/Kind" -> name_list */
    /* of the resource added last: most objects come in long runs of one resource */
    const vmbi_resource *last;
    void *last_names;       /* its name_list */
    vmbi_buf last_types;    /* "apiVersion" and "kind" as the first members of an object */
    vmb_code broken;        /* the first failure; the archive takes nothing more */
} vmbi_archive;

enum { VMBI_NAMES_MAX_BYTES = 512 * 1024 * 1024 };

/* Opens the object <path> in the store and writes the version entry. */
vmb_code vmbi_archive_open(vmbi_archive *a, const vmbi_store *store, vmb_job *job,
                           const char *path, vmb_error **err);
/* Adds one object under both of its paths. json may lack apiVersion and kind: they are put in.
 * scan: of json. ns NULL or "": cluster-scoped. */
vmb_code vmbi_archive_add(vmbi_archive *a, const vmbi_resource *res, const char *ns,
                          const char *name, const char *json, size_t len,
                          const vmbi_object_scan *scan, vmb_error **err);
vmb_code vmbi_archive_commit(vmbi_archive *a, vmb_error **err);
/* Releases; aborts the object when it was not committed. */
void vmbi_archive_close(vmbi_archive *a);
/* Velero's resource list, {"apiVersion/Kind":["ns/name",…]} with sorted names. */
vmb_code vmbi_archive_resource_list(vmbi_archive *a, vmbi_buf *out, vmb_error **err);

#endif
