/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the catalogue share. */
#ifndef VMBI_CORE_CATALOG_PARTS_H
#define VMBI_CORE_CATALOG_PARTS_H

#include "base/job.h"
#include "codec/tar.h"
#include "core/catalog.h"

enum {
    VMBI_CATALOG_MAX_METADATA = 4 * 1024 * 1024,  /* as a Backup may have; etcd's limit is below */
    VMBI_CATALOG_MAX_DOCUMENT = 64 * 1024 * 1024, /* of JSON; its tree takes several times as much */
    VMBI_CATALOG_MAX_ITEM = 64 * 1024 * 1024
};

/* A job without a deadline that hears the catalogue's cancellation, with its store. */
vmb_job vmbi_catalog_job(const vmb_catalog *cat);

/* Reads velero-backup.json; VMB_E_NOT_FOUND when there is none. */
vmb_code vmbi_catalog_metadata(vmb_catalog *cat, const char *backup, vmbi_json **out,
                               vmb_error **err);
/* The same, with an error that says that there is no such backup. */
vmb_code vmbi_catalog_require(vmb_catalog *cat, const char *backup, vmbi_json **out,
                              vmb_error **err);
/* Path of a file below the location's prefix; VMB_E_ARG for what is no VMB_FILE_. *packed (may be
 * NULL): it is given out unpacked. */
vmb_code vmbi_catalog_file_path(const char *name, int32_t file, vmbi_buf *out, bool *packed,
                                vmb_error **err);
/* Reads a file of the backup into memory. */
vmb_code vmbi_catalog_read_buf(vmb_catalog *cat, const char *backup, int32_t file, vmbi_buf *out,
                               vmb_error **err);
/* Reads a JSON file of the backup; *out NULL when the file is not there. */
vmb_code vmbi_catalog_read_json(vmb_catalog *cat, const char *backup, int32_t file,
                                vmbi_json **out, vmb_error **err);

/* An entry of a list for what is there and cannot be read; NULL: no memory. */
vmbi_json *vmbi_catalog_unreadable(const char *name, const vmb_error *why);

/* One file of a folder. */
typedef struct vmbi_catalog_key {
    char *path; /* below the location's prefix */
    int64_t size;
    int64_t mtime_unix_ns; /* -1 unknown */
} vmbi_catalog_key;
typedef struct vmbi_catalog_keys {
    vmbi_catalog_key *v;
    size_t n, cap;
} vmbi_catalog_keys;
/* All keys below a folder ("backups/b1/"), sorted. */
vmb_code vmbi_catalog_keys_of(vmb_catalog *cat, const char *folder, vmbi_catalog_keys *out,
                              vmb_error **err);
void vmbi_catalog_keys_free(vmbi_catalog_keys *k);
/* Names of all folders in "backups/", sorted. */
vmb_code vmbi_catalog_folders(vmb_catalog *cat, const char *top, vmbi_strs *names,
                              vmb_error **err); /* of "backups/" or "restores/" */
vmb_code vmbi_catalog_names(vmb_catalog *cat, vmbi_strs *names, vmb_error **err);

/* Walks the archive of a backup in pieces: every entry with its content, in memory one entry and
 * one piece. fn as for vmbi_tar_read(). *packed_bytes (may be NULL): size of the archive. */
vmb_code vmbi_catalog_walk(vmb_catalog *cat, const char *backup, vmbi_tar_entry_fn fn, void *user,
                           int64_t *packed_bytes, vmb_error **err);

/* The path of an archive's entry, taken apart; slices of the path. False: no object. */
typedef struct vmbi_archive_path {
    vmbi_slice resource; /* "pods", "virtualmachines.kubevirt.io" */
    vmbi_slice version;  /* "v1-preferredversion"; len 0 for the classic path */
    vmbi_slice ns;       /* len 0: cluster-scoped */
    vmbi_slice name;
} vmbi_archive_path;
bool vmbi_archive_path_parse(const char *path, vmbi_archive_path *out);

/* ---- volume data of a backup -------------------------------------------------------------------- */

/* What a backup has outside of its folder. */
typedef struct vmbi_backup_data {
    vmbi_json *contents;  /* array of VolumeSnapshotContents of the backup, from the archive */
    vmbi_json *volumes;   /* array of what repositories hold: {"snapshotID","uploaderType",
                           * "repoIdentifier","path","node","spec","status","kind"} */
    vmbi_json *native;    /* array of native snapshots, from volumesnapshots.json */
} vmbi_backup_data;
vmb_code vmbi_backup_data_read(vmb_catalog *cat, const char *backup, vmbi_backup_data *out,
                               vmb_error **err);
void vmbi_backup_data_free(vmbi_backup_data *d);

/* Removes the storage's snapshot behind a saved VolumeSnapshotContent through the cluster. */
vmb_code vmbi_catalog_drop_content(vmb_catalog *cat, vmb_job *job, const vmbi_json *content,
                                   const char *backup, vmb_error **err);

#endif
