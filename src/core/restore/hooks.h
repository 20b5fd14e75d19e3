/* SPDX-License-Identifier: Apache-2.0 */
/* What pods get after they were created: commands in their containers, content of their volumes. */
#ifndef VMBI_CORE_RESTORE_HOOKS_H
#define VMBI_CORE_RESTORE_HOOKS_H

#include "core/restore/restore.h"

/* ---- hooks.c --------------------------------------------------------------------------------- */

/* Puts the init containers of hooks into a pod. */
vmb_code vmbi_restore_init_hooks(vmbi_restore *r, vmbi_ritem *item, vmb_error **err);
/* A pod was created: remembers its commands. */
vmb_code vmbi_restore_note_pod(vmbi_restore *r, const vmbi_ritem *item, vmb_error **err);
/* Runs the commands of all pods as their containers come up; failures are errors of the restore. */
void vmbi_restore_run_hooks(vmbi_restore *r);

/* ---- podvolumes.c ---------------------------------------------------------------------------- */

/* A pod was created: remembers it when volumes of it were saved. */
vmb_code vmbi_restore_note_volumes(vmbi_restore *r, const vmbi_ritem *item, vmb_error **err);
/* Brings the content back; failures are errors of the restore. */
void vmbi_restore_pod_volumes(vmbi_restore *r);

#endif
