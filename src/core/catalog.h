/* SPDX-License-Identifier: Apache-2.0 */
/* Reading what a location holds. */
#ifndef VMBI_CORE_CATALOG_H
#define VMBI_CORE_CATALOG_H

#include <vmbackup/catalog.h>

#include "core/context.h"
#include "core/store.h"

struct vmb_catalog {
    vmb_ctx *ctx; /* a reference */
    vmbi_store store;
};

vmb_code vmbi_catalog_open(vmb_ctx *ctx, const char *location, vmb_catalog **out, vmb_error **err);
void vmbi_catalog_free(vmb_catalog *cat);
vmb_code vmbi_catalog_list(vmb_catalog *cat, vmbi_json **out, vmb_error **err);
vmb_code vmbi_catalog_describe(vmb_catalog *cat, const char *backup, vmbi_json **out,
                               vmb_error **err);
vmb_code vmbi_catalog_read(vmb_catalog *cat, const char *backup, int32_t file, vmb_write_fn fn,
                           void *user, vmb_error **err);
vmb_code vmbi_catalog_read_item(vmb_catalog *cat, const char *backup, const char *resource,
                                const char *ns, const char *name, vmbi_buf *out, vmb_error **err);
/* Velero's validity check: the store answers, and its top level holds known folders only. */
vmb_code vmbi_location_validate(const vmb_ctx *ctx, const vmbi_store_location *location,
                                vmb_error **err);

#endif
