/* SPDX-License-Identifier: Apache-2.0 */
/* What a location holds, and what can be done with it. Names of backups are checked by the caller
 * (vmbi_item_name_ok(), no dot in front). */
#ifndef VMBI_CORE_CATALOG_H
#define VMBI_CORE_CATALOG_H

#include <vmbackup/catalog.h>

#include "base/cancel.h"
#include "core/context.h"
#include "core/store.h"

/* Holds velero-backup.json while a backup is deleted. */
#define VMBI_CATALOG_DELETING "vmbackup-deleting.json"
/* Holds the Restore in the folder of a restore: Velero keeps it in the cluster only. */
#define VMBI_CATALOG_RESTORE "vmbackup-restore.json"

struct vmb_catalog {
    vmb_ctx *ctx; /* a reference */
    vmbi_store store;
    const vmbi_cancel *cancel; /* of whoever works with it; NULL: none */
};

vmb_code vmbi_catalog_open(vmb_ctx *ctx, const char *location, vmb_catalog **out, vmb_error **err);
void vmbi_catalog_free(vmb_catalog *cat);
vmb_code vmbi_catalog_list(vmb_catalog *cat, vmbi_json **out, vmb_error **err);
vmb_code vmbi_catalog_describe(vmb_catalog *cat, const char *backup, vmbi_json **out,
                               vmb_error **err);
vmb_code vmbi_catalog_read(vmb_catalog *cat, const char *backup, int32_t file, vmb_write_fn fn,
                           void *user, vmb_error **err);
vmb_code vmbi_catalog_read_item(vmb_catalog *cat, const char *backup, const char *resource,
                                const char *ns, const char *name, vmbi_buf *out, vmb_error **err);
/* Velero's validity check: the store answers, and its top level holds known folders only. cancel
 * (NULL: nothing does) ends the wait for a store that does not. */
vmb_code vmbi_location_validate(const vmb_ctx *ctx, const vmbi_store_location *location,
                                const vmbi_cancel *cancel, vmb_error **err);

vmb_code vmbi_catalog_presign(vmb_catalog *cat, const char *backup, int32_t file, int64_t ttl_ns,
                              vmbi_buf *out, vmb_error **err);
/* The restores that have files in the location. */
vmb_code vmbi_catalog_restores(vmb_catalog *cat, vmbi_json **out, vmb_error **err);
/* Removes the files of a restore. */
vmb_code vmbi_catalog_remove_restore(vmb_catalog *cat, const char *restore, vmb_error **err);

typedef struct vmbi_verify_options {
    bool deep;
} vmbi_verify_options;
vmb_code vmbi_catalog_verify(vmb_catalog *cat, const char *backup, const vmbi_verify_options *o,
                             vmbi_json **out, vmb_error **err);

typedef struct vmbi_copy_options {
    bool archive_only;
} vmbi_copy_options;
vmb_code vmbi_catalog_copy(vmb_catalog *from, const char *backup, vmb_catalog *to,
                           const vmbi_copy_options *o, vmbi_json **out, vmb_error **err);

/* ignore: JSON pointers. */
vmb_code vmbi_catalog_diff(vmb_catalog *cat_a, const char *a, vmb_catalog *cat_b, const char *b,
                           const vmbi_strs *ignore, vmb_write_fn fn, void *user, vmb_error **err);

typedef struct vmbi_delete_options {
    bool force;         /* files go although volume data could not be removed */
    bool orphan;        /* a folder without velero-backup.json, too */
    int64_t older_than_ns; /* of orphans; 0: of any age */
    bool keep_restores; /* the caller sees to the Restores itself */
} vmbi_delete_options;
/* The report of vmb_catalog_delete(). */
vmb_code vmbi_catalog_delete(vmb_catalog *cat, const char *backup, const vmbi_delete_options *o,
                             vmbi_json **out, vmb_error **err);
vmb_code vmbi_catalog_expired(vmb_catalog *cat, int64_t now_unix_ns, vmbi_json **out,
                              vmb_error **err);
vmb_code vmbi_catalog_orphans(vmb_catalog *cat, vmbi_json **out, vmb_error **err);
/* What no listing shows: begun uploads and temporary files of writers that died. */
vmb_code vmbi_catalog_sweep(vmb_catalog *cat, int64_t older_than_ns, int64_t *removed,
                            vmb_error **err);

#endif
