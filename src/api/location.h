/* SPDX-License-Identifier: Apache-2.0 */
/* Locations from BackupStorageLocation trees, for other files of api/. */
#ifndef VMBI_API_LOCATION_H
#define VMBI_API_LOCATION_H

#include <vmbackup/context.h>

#include "codec/json.h"

/* Adds one to a context that is not frozen, with the credentials that its Secrets hold. */
vmb_code vmbi_location_add(vmb_ctx *ctx, vmbi_json *tree, const char *source, vmb_error **err);

#endif
