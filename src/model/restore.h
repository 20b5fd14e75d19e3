/* SPDX-License-Identifier: Apache-2.0 */
/* The Restore resource: what vmb_spec holds when its kind says so. See backup.h for the rest. */
#ifndef VMBI_MODEL_RESTORE_H
#define VMBI_MODEL_RESTORE_H

#include "model/backup.h"

/* name and backup may be NULL: unset. */
vmb_code vmbi_spec_new_restore(const char *name, const char *backup, vmb_spec **out,
                               vmb_error **err);

/* A deep copy of the Restore as a run works with it: apiVersion, kind; itemOperationTimeout with
 * Velero's default; what is never restored appended to excludedResources; includedNamespaces ["*"]
 * when unset; "hooks" present. `status` is removed. The result is owned. */
vmb_code vmbi_restore_defaulted(const vmbi_json *restore, vmbi_json **out, vmb_error **err);

/* Resources that no restore brings back, as Velero names them; NULL-terminated. */
extern const char *const vmbi_restore_never[];

#endif
