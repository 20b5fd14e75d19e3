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
 * Opens the catalogue of a location. Freezes the context; the catalogue holds a reference to it.
 * Nothing is read yet.
 * @param location name; NULL = the default location
 * @return VMB_OK, VMB_E_ARG, VMB_E_NOT_FOUND (no such location, or no default one), or why the
 *         location could not be set up
 */
VMB_API vmb_code vmb_catalog_open(vmb_ctx *ctx, const char *location, vmb_catalog **out,
                                  vmb_error **err);
/** Releases a catalogue; NULL is allowed. */
VMB_API void vmb_catalog_free(vmb_catalog *cat);
/**
 * Lists the complete backups (those with a velero-backup.json) as owned JSON, an array of Backup
 * resources sorted by name. Unreadable entries are given as
 * {"metadata":{"name"},"error":"…"}.
 * @return VMB_OK, VMB_E_ARG, or the store's failure
 */
VMB_API vmb_code vmb_catalog_list_json(vmb_catalog *cat, char **out, size_t *out_len,
                                       vmb_error **err);
/**
 * Describes one backup as owned JSON: {"backup":{…},"resourceList":{…},"volumes":[…],
 * "results":{…},"itemOperations":[…],"podVolumeBackups":[…],"files":[{"key","size"}]}.
 */
VMB_API vmb_code vmb_catalog_describe_json(vmb_catalog *cat, const char *backup, char **out,
                                           size_t *out_len, vmb_error **err);
/**
 * Lists the restores that left files in the location, as owned JSON, an array of Restore resources
 * sorted by name. Of another program's restores the location knows no more than
 * {"metadata":{"name"},"status":{"errors":n,"warnings":n}}; the cluster has the rest (see
 * vmb_ctx_resources_json()). Unreadable entries are given as {"metadata":{"name"},"error":"…"}.
 */
VMB_API vmb_code vmb_catalog_restores_json(vmb_catalog *cat, char **out, size_t *out_len,
                                           vmb_error **err);

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
    VMB_FILE_VOLUME_SNAPSHOTS = 9,
    VMB_FILE_CSI_VOLUME_SNAPSHOTS = 10,         /**< of Velero 1.4 to 1.16, as the next one */
    VMB_FILE_CSI_VOLUME_SNAPSHOT_CONTENTS = 11,
    VMB_FILE_RESTORE = 20,                      /**< the Restore as it ended, JSON; only of this library's
                                                 *   restores. The restore's name stands for the backup's */
    VMB_FILE_RESTORE_LOG = 21,                  /**< as all of a restore */
    VMB_FILE_RESTORE_RESULTS = 22,
    VMB_FILE_RESTORE_RESOURCE_LIST = 23,
    VMB_FILE_RESTORE_ITEM_OPERATIONS = 24,
    VMB_FILE_RESTORE_VOLUME_INFO = 25
};
/**
 * Receives bytes, on the thread of the caller; data is borrowed for the call. Return VMB_OK to go on;
 * a negative value ends the read with that code.
 */
typedef vmb_code (*vmb_write_fn)(void *user, const void *data, size_t len);
/**
 * Reads one file of a backup, or of a restore.
 * @return VMB_OK, VMB_E_ARG, VMB_E_NOT_FOUND, the callback's code, or the store's failure
 */
VMB_API vmb_code vmb_catalog_read(vmb_catalog *cat, const char *backup, int32_t file,
                                  vmb_write_fn fn, void *user, vmb_error **err);
/**
 * Reads one object out of a backup's archive as owned JSON.
 * @param resource "plural" or "plural.group"; ns NULL for cluster-scoped objects
 * @return VMB_OK, VMB_E_ARG, VMB_E_NOT_FOUND (no such backup or object), or the store's failure
 */
VMB_API vmb_code vmb_catalog_read_item(vmb_catalog *cat, const char *backup, const char *resource,
                                       const char *ns, const char *name, char **out,
                                       size_t *out_len, vmb_error **err);

/**
 * Makes a link to one file, as it lies in the store: packed files stay packed.
 * @param backup the backup, or the restore for VMB_FILE_RESTORE_ kinds
 * @param file   one of VMB_FILE_
 * @param ttl_ns how long the link works, > 0; stores have a limit, S3's is a week
 * @param out    receives the owned URL
 * @return VMB_OK, VMB_E_ARG, VMB_E_NOT_FOUND (no such file), VMB_E_UNSUPPORTED (the store has no
 *         links), or the store's failure
 */
VMB_API vmb_code vmb_catalog_presign(vmb_catalog *cat, const char *backup, int32_t file,
                                     int64_t ttl_ns, char **out, size_t *out_len, vmb_error **err);

/**
 * Looks whether a backup is whole. It reads every file: each must be there, unpack and parse; each
 * object of the archive must parse and stand under its own name; every entry of the resource list
 * must be in the archive. Memory is bounded whatever the size of the archive.
 * @param options JSON or YAML object, NULL for none: {"deep":bool} reads every byte of the volumes
 *        that repositories hold, through the volume providers of the context, too
 * @param out receives owned JSON: {"backup","ok":bool,"problems":[{"level":"error"|"warning",
 *        "file","message"}],"files":n,"objects":n,"archiveBytes":n,"objectBytes":n,"volumes":n}
 * @return VMB_OK when the look was possible ("ok" tells the outcome), VMB_E_ARG, VMB_E_NOT_FOUND,
 *         or the store's failure
 */
VMB_API vmb_code vmb_catalog_verify_json(vmb_catalog *cat, const char *backup, const char *options,
                                         size_t len, char **out, size_t *out_len, vmb_error **err);

/**
 * Copies a backup into another location: every file as it lies, velero-backup.json last and with
 * spec.storageLocation of the target. What was written is read back and compared. A copy that ends
 * early is not listed. Volume data in repositories and snapshots in the storage are not copied: a
 * backup that has some is refused unless "archiveOnly" says so.
 * @param from the catalogue that has the backup
 * @param to   the catalogue of another location
 * @param options JSON or YAML object, NULL for none: {"archiveOnly":bool}
 * @param out receives owned JSON: {"backup","from","to","files":n,"bytes":n}; may be NULL
 * @return VMB_OK, VMB_E_ARG, VMB_E_NOT_FOUND, VMB_E_EXISTS (the target has a backup of that name),
 *         VMB_E_DENIED (the target is read-only), VMB_E_INVALID (volume data; not finished yet), or
 *         the store's failure
 */
VMB_API vmb_code vmb_catalog_copy(vmb_catalog *from, const char *backup, vmb_catalog *to,
                                  const char *options, size_t len, char **out, size_t *out_len,
                                  vmb_error **err);

/**
 * Compares the objects of two backups and writes a line of JSON for each that differs:
 * {"change":"added"|"removed"|"changed","resource","namespace","name","patch":[…]}; namespace is ""
 * for cluster-scoped objects, patch is there for changed ones: the JSON patch (RFC 6902) that makes
 * the object of `a` that of `b`. The last line is {"added":n,"removed":n,"changed":n,"same":n}.
 * Memory: 40 bytes an object and at most 32 MiB of changed objects at a time.
 * @param cat_a the catalogue of the first backup
 * @param a     its name
 * @param cat_b the catalogue of the second one, which may be the same
 * @param b     its name
 * @param options JSON or YAML object, NULL for none: {"ignore":["/metadata/resourceVersion",…]}:
 *        JSON pointers of what is not to be compared
 * @param fn   receives the lines, in pieces that may end anywhere
 * @param user first argument of fn
 * @return VMB_OK, VMB_E_ARG, VMB_E_NOT_FOUND, the callback's code, or the stores' failure
 */
VMB_API vmb_code vmb_catalog_diff(vmb_catalog *cat_a, const char *a, vmb_catalog *cat_b,
                                  const char *b, const char *options, size_t len, vmb_write_fn fn,
                                  void *user, vmb_error **err);

/**
 * Deletes a backup: what it has in the storage (CSI snapshots, through the cluster of the context),
 * in repositories (through its volume providers), its restores (in the cluster and the store), and
 * its files. It disappears from listings first, before anything of it is removed; a deletion that
 * ended early is taken up by deleting again, and vmb_catalog_orphans_json() shows it. When volume
 * data cannot be removed the files stay, and the backup is listed again if it still is whole.
 * @param options JSON or YAML object, NULL for none:
 *        {"force":bool} removes the files also when volume data could not be removed,
 *        {"orphan":bool} allows a folder that never had a velero-backup.json,
 *        {"olderThan":"24h"} with it: only when nothing in it has changed for so long
 * @param out receives owned JSON: {"backup","deleted":bool,"listed":bool,"errors":["…"],
 *        "snapshots":n,"volumes":n,"restores":["…"],"files":n}; may be NULL
 * @return VMB_OK when the request was worked off ("deleted" tells the outcome), VMB_E_ARG,
 *         VMB_E_NOT_FOUND, VMB_E_DENIED (the location is read-only), VMB_E_STATE (an orphan that is
 *         too young), or the failure of a store that does not answer
 */
VMB_API vmb_code vmb_catalog_delete(vmb_catalog *cat, const char *backup, const char *options,
                                    size_t len, char **out, size_t *out_len, vmb_error **err);
/**
 * Lists the backups whose status.expiration has passed, as owned JSON sorted by name:
 * [{"name","phase","expiration"}].
 * @param now_unix_ns the present, ns since 1970
 */
VMB_API vmb_code vmb_catalog_expired_json(vmb_catalog *cat, int64_t now_unix_ns, char **out,
                                          size_t *out_len, vmb_error **err);
/**
 * Lists the folders of backups without velero-backup.json, as owned JSON sorted by name:
 * [{"name","files":n,"bytes":n,"lastModified","deleting":bool}]. Such a folder is a backup that is
 * being written just now, what a writer that died left, or ("deleting") a deletion that ended early.
 */
VMB_API vmb_code vmb_catalog_orphans_json(vmb_catalog *cat, char **out, size_t *out_len,
                                          vmb_error **err);

/**
 * Drops what writers that died left in the store where no listing shows it: uploads in parts that
 * nobody ended, temporary files. Only below the folders that backups, restores and repositories
 * have in the location, where the store knows what they were meant for (a folder store does not),
 * and only what has not changed for a time. Does nothing for a store that leaves nothing behind.
 * @param older_than_ns that time, an hour at least: longer than any writer rests
 * @param removed       receives how many were dropped, also on failure; may be NULL
 * @return VMB_OK, VMB_E_ARG, VMB_E_DENIED (the location is read-only, or the store does not let us
 *         look: S3 wants s3:ListBucketMultipartUploads), or another failure of the store
 */
VMB_API vmb_code vmb_catalog_sweep(vmb_catalog *cat, int64_t older_than_ns, int64_t *removed,
                                   vmb_error **err);

#ifdef __cplusplus
}
#endif
#endif
