/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the catalogue share. */
#ifndef VMBI_CORE_CATALOG_PARTS_H
#define VMBI_CORE_CATALOG_PARTS_H

#include "core/catalog.h"

enum { VMBI_CATALOG_MAX_METADATA = 4 * 1024 * 1024 }; /* as a Backup may have; etcd's limit is below */

/* Reads velero-backup.json; VMB_E_NOT_FOUND when there is none. */
vmb_code vmbi_catalog_metadata(vmb_catalog *cat, const char *backup, vmbi_json **out,
                               vmb_error **err);
/* Reads a file of the backup into memory. */
vmb_code vmbi_catalog_read_buf(vmb_catalog *cat, const char *backup, int32_t file, vmbi_buf *out,
                               vmb_error **err);

#endif
