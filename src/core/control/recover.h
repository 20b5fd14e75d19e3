/* SPDX-License-Identifier: Apache-2.0 */
/* What a server that died left behind: work that is InProgress and that nobody does any more. */
#ifndef VMBI_CORE_CONTROL_RECOVER_H
#define VMBI_CORE_CONTROL_RECOVER_H

#include "core/control/control.h"
#include "core/run.h"

/* Ends a Backup in a working phase: as what the store says when its velero-backup.json is there,
 * else as Failed, after removing what the run left in the store and its snapshots. */
vmb_code vmbi_recover_backup(vmb_control *c, const vmbi_json *tree, vmbi_turn *turn,
                             vmb_error **err);
/* The same for a Backup that has not begun as far as its object tells: *adopted becomes true when
 * the store holds it whole all the same (the server died before it could write the phase). */
vmb_code vmbi_adopt_backup(vmb_control *c, const vmbi_json *tree, const vmbi_located *l,
                           bool *adopted, vmb_error **err);
/* The object's patch for what a run made of a Backup (or what its stored file says). */
vmbi_json *vmbi_backup_outcome_patch(const vmbi_json *backup);
/* {"status":{"phase":"Failed","failureReason","completionTimestamp"}}; NULL without memory. */
vmbi_json *vmbi_failed_patch(const char *reason);
/* Removes restores/<name>/ from a location. */
vmb_code vmbi_restore_remove_files(vmb_control *c, const vmbi_located *l, const char *restore,
                                   vmb_error **err);
/* Runs on the caller's thread; the control's stop cancels it. */
vmb_code vmbi_control_execute(vmb_control *c, vmb_run *run, vmb_error **err);

/* Is there a DeleteBackupRequest that is not processed yet? */
bool vmbi_deletion_requested(vmb_control *c, const char *backup);
/* A Backup that is Deleting, and that nobody deletes any more, gets its phase back when all of it is
 * still there: velero-backup.json is the first of its files that a deletion hides. */
vmb_code vmbi_backup_undelete(vmb_control *c, const vmbi_located *l, const char *name,
                              vmb_error **err);

/* Is what lies in the store (velero-backup.json) the backup of this object? Not when this one only
 * failed since another one of its name was there: that one must survive its deletion. */
bool vmbi_backup_is_stored(const vmbi_json *tree, const vmbi_json *stored);

#endif
