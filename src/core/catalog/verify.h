/* SPDX-License-Identifier: Apache-2.0 */
/* One look whether a backup is whole: what its parts share. */
#ifndef VMBI_CORE_CATALOG_VERIFY_H
#define VMBI_CORE_CATALOG_VERIFY_H

#include <stdarg.h>

#include "base/map.h"
#include "core/catalog/parts.h"

typedef struct vmbi_verify {
    vmb_catalog *cat;
    const char *backup;
    vmbi_json *meta; /* NULL when it cannot be read */
    uint32_t present; /* bit per VMB_FILE_ */
    vmbi_json *problems;
    size_t errors;
    bool out_of_memory; /* while a problem was noted */
    vmbi_json *resource_list; /* NULL: absent */
    vmbi_json *volume_infos;  /* NULL: absent */
    int64_t objects;
    int64_t object_bytes;
    int64_t archive_bytes;
    int64_t volumes;
} vmbi_verify;

void vmbi_verify_note(vmbi_verify *v, bool is_error, const char *file, const char *fmt, ...)
    VMBI_PRINTF(4, 5);
/* Notes a failure that tells of the backup; others are returned. */
vmb_code vmbi_verify_take(vmbi_verify *v, const char *file, vmb_code rc, vmb_error **why,
                          vmb_error **err);

/* verify_archive.c */
vmb_code vmbi_verify_archive(vmbi_verify *v, vmb_error **err);
/* verify_volumes.c: reads what repositories hold of the backup. */
vmb_code vmbi_verify_volumes(vmbi_verify *v, vmb_error **err);

#endif
