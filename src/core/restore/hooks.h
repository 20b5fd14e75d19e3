/* SPDX-License-Identifier: Apache-2.0 */
/* What pods get by hooks: init containers, and commands once their containers run. */
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

#endif
