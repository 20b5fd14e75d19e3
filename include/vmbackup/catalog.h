/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file catalog.h
 * @brief What a storage location holds: list, describe, read the files of backups.
 *
 * Reads backups that this library or Velero 1.9 to 1.18 wrote. A catalogue is used by one thread
 * at a time.
 */
#ifndef VMBACKUP_CATALOG_H
#define VMBACKUP_CATALOG_H

#include <vmbackup/base.h>
#include <vmbackup/provider.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Opens the catalogue of a location.
 * @param location name; NULL = the default location
 */
VMB_API vmb_code vmb_catalog_open(vmb_ctx *ctx, const char *location, vmb_catalog **out,
                                  vmb_error **err);
/** Releases a catalogue; NULL is allowed. */
VMB_API void vmb_catalog_free(vmb_catalog *cat);
/**
 * Lists the complete backups (those with a velero-backup.json) as owned JSON, an array of Backup
 * resources sorted by name. Unreadable entries are given as
 * {"metadata":{"name"},"error":"…"}.
 */
VMB_API vmb_code vmb_catalog_list_json(vmb_catalog *cat, char **out, size_t *out_len,
                                       vmb_error **err);
/**
 * Describes one backup as owned JSON: {"backup":{…},"resourceList":{…},"volumes":[…],
 * "results":{…},"itemOperations":[…],"podVolumeBackups":[…],"files":[{"key","size"}]}.
 */
VMB_API vmb_code vmb_catalog_describe_json(vmb_catalog *cat, const char *backup, char **out,
                                           size_t *out_len, vmb_error **err);

/** Files of a backup. */
enum {
    VMB_FILE_METADATA = 1,      /**< velero-backup.json */
    VMB_FILE_CONTENTS = 2,      /**< the tar.gz of objects, as it lies */
    VMB_FILE_LOG = 3,           /**< log text, unpacked */
    VMB_FILE_RESULTS = 4,       /**< JSON, unpacked, as are all below */
    VMB_FILE_RESOURCE_LIST = 5,
    VMB_FILE_VOLUME_INFO = 6,
    VMB_FILE_ITEM_OPERATIONS = 7,
    VMB_FILE_POD_VOLUME_BACKUPS = 8,
    VMB_FILE_VOLUME_SNAPSHOTS = 9
};
/** Receives bytes; a negative return ends the read with that code. */
typedef vmb_code (*vmb_write_fn)(void *user, const void *data, size_t len);
/**
 * Reads one file of a backup.
 * @return VMB_OK, VMB_E_ARG, VMB_E_NOT_FOUND, the callback's code, or the store's failure
 */
VMB_API vmb_code vmb_catalog_read(vmb_catalog *cat, const char *backup, int32_t file,
                                  vmb_write_fn fn, void *user, vmb_error **err);
/**
 * Reads one object out of a backup's archive as owned JSON.
 * @param resource "plural" or "plural.group"; ns NULL for cluster-scoped objects
 */
VMB_API vmb_code vmb_catalog_read_item(vmb_catalog *cat, const char *backup, const char *resource,
                                       const char *ns, const char *name, char **out,
                                       size_t *out_len, vmb_error **err);

#ifdef __cplusplus
}
#endif
#endif
