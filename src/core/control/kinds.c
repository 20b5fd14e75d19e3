/* SPDX-License-Identifier: Apache-2.0 */
/* The resources that are watched, and what is kept of them. */
#include "core/control/control.h"

#include <string.h>

static const char *const location_fields[] = {"status.phase", "spec.default",
                                              "metadata.creationTimestamp", "spec.accessMode",
                                              NULL};
static const char *const backup_fields[] = {
    "metadata.uid", "status.phase", "spec.storageLocation", "status.expiration",
    "metadata.labels/velero.io/schedule-name", "metadata.creationTimestamp",
    "metadata.deletionTimestamp", "status.startTimestamp", NULL};
static const char *const delete_fields[] = {"status.phase", "spec.backupName", NULL};
static const char *const phase_fields[] = {"status.phase", NULL};
static const char *const restore_fields[] = {"status.phase", "spec.backupName",
                                             "metadata.deletionTimestamp", NULL};
static const char *const no_fields[] = {NULL};

static bool in(const char *phase, const char *const *list)
{
    for (; *list != NULL; list++) {
        if (strcmp(phase, *list) == 0) {
            return true;
        }
    }
    return false;
}

bool vmbi_phase_is_working(const char *phase)
{
    static const char *const list[] = {"InProgress",
                                       "WaitingForPluginOperations",
                                       "WaitingForPluginOperationsPartiallyFailed",
                                       "Finalizing",
                                       "FinalizingPartiallyFailed",
                                       NULL};
    return in(phase, list);
}

bool vmbi_phase_is_waiting(const char *phase)
{
    static const char *const list[] = {"", "New", "Queued", "ReadyToStart", NULL};
    return in(phase, list);
}

static bool backup_wants(const vmbi_cached *e)
{
    const char *phase = vmbi_cached_field(e, VMBI_BACKUP_PHASE);
    return vmbi_phase_is_waiting(phase) || vmbi_phase_is_working(phase);
}

static bool backup_first(const vmbi_cached *e)
{
    return vmbi_phase_is_working(vmbi_cached_field(e, VMBI_BACKUP_PHASE));
}

static bool restore_wants(const vmbi_cached *e)
{
    const char *phase = vmbi_cached_field(e, VMBI_RESTORE_PHASE);
    return vmbi_phase_is_waiting(phase) || vmbi_phase_is_working(phase) ||
           vmbi_cached_field(e, VMBI_RESTORE_DELETED)[0] != '\0';
}

static bool restore_first(const vmbi_cached *e)
{
    return vmbi_phase_is_working(vmbi_cached_field(e, VMBI_RESTORE_PHASE));
}

static bool repository_wants(const vmbi_cached *e)
{
    return strcmp(vmbi_cached_field(e, 0), "Ready") != 0;
}

const vmbi_kind vmbi_kinds[VMBI_KINDS] = {
    [VMBI_KIND_LOCATION] = {"velero.io", "v1", "backupstoragelocations", "BackupStorageLocation",
                            false, location_fields, NULL, NULL, vmbi_reconcile_location},
    [VMBI_KIND_BACKUP] = {"velero.io", "v1", "backups", "Backup", false, backup_fields,
                          backup_wants, backup_first, vmbi_reconcile_backup},
    [VMBI_KIND_DELETE] = {"velero.io", "v1", "deletebackuprequests", "DeleteBackupRequest", false,
                          delete_fields, NULL, NULL, vmbi_reconcile_delete},
    [VMBI_KIND_SCHEDULE] = {"velero.io", "v1", "schedules", "Schedule", false, phase_fields, NULL,
                            NULL, vmbi_reconcile_schedule},
    [VMBI_KIND_DOWNLOAD] = {"velero.io", "v1", "downloadrequests", "DownloadRequest", false,
                            phase_fields, NULL, NULL, vmbi_reconcile_download},
    [VMBI_KIND_STATUS] = {"velero.io", "v1", "serverstatusrequests", "ServerStatusRequest", false,
                          phase_fields, NULL, NULL, vmbi_reconcile_status},
    [VMBI_KIND_RESTORE] = {"velero.io", "v1", "restores", "Restore", false, restore_fields,
                           restore_wants, restore_first, vmbi_reconcile_restore},
    [VMBI_KIND_REPOSITORY] = {"velero.io", "v1", "backuprepositories", "BackupRepository", true,
                              phase_fields, repository_wants, NULL, vmbi_reconcile_repository},
    [VMBI_KIND_DPA] = {"oadp.openshift.io", "v1alpha1", "dataprotectionapplications",
                       "DataProtectionApplication", true, no_fields, NULL, NULL,
                       vmbi_reconcile_dpa},
};
