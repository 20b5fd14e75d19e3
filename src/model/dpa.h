/* SPDX-License-Identifier: Apache-2.0 */
/* OADP's DataProtectionApplication (oadp.openshift.io/v1alpha1): its checks, the locations that it
 * asks for, and the condition to write back. */
#ifndef VMBI_MODEL_DPA_H
#define VMBI_MODEL_DPA_H

#include "codec/json.h"
#include "model/problems.h"

typedef struct vmbi_dpa {
    char *name;
    char *ns;
    vmbi_strs features;      /* feature flags, with those that plugins bring (EnableCSI) */
    bool backup_images;      /* spec.backupImages, true when unset */
    bool node_agent;         /* configuration.nodeAgent.enable */
    char *uploader;          /* "kopia" or "restic"; "" when there is no node agent */
    int fs_backup_default;   /* 1, 0, -1 unset: configuration.velero.defaultVolumesToFSBackup */
    int move_data_default;   /* the same: defaultSnapshotMoveData */
    vmbi_json *locations;    /* array of BackupStorageLocation resources */
    vmbi_json *snapshot_locations; /* array of VolumeSnapshotLocation resources */
} vmbi_dpa;

/* Where the check looks at Secrets of the application's namespace. */
typedef struct vmbi_dpa_secrets {
    /* VMB_OK and whether the key is there and not empty; a failure ends the check. */
    vmb_code (*look)(void *user, const char *secret, const char *key, bool *found,
                     vmb_error **err);
    void *user;
} vmbi_dpa_secrets;

/* Problems (may be NULL) receives everything that is wrong; OADP reports the first one only, which
 * is also the message of the VMB_E_INVALID that any error gives. others: how many further
 * applications the namespace holds. secrets NULL: they are not looked at. CloudStorage buckets are refused: their CloudStorage resource
 * is not read here. */
vmb_code vmbi_dpa_from_tree(const vmbi_json *doc, const char *source, size_t others,
                            const vmbi_dpa_secrets *secrets, vmbi_dpa *out,
                            vmbi_problems *problems, vmb_error **err);
void vmbi_dpa_free(vmbi_dpa *d);

/* The status to write (a merge patch for the status subresource, owned): condition Reconciled,
 * True with reason Complete when why is NULL, else False with reason Error and the message. The
 * transition time of `doc` is kept when the condition's status stays. */
vmb_code vmbi_dpa_status_patch(const vmbi_json *doc, const char *why, int64_t now_unix_ns,
                               vmbi_json **out, vmb_error **err);

#endif
