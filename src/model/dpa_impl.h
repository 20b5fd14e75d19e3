/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a DataProtectionApplication: what its files share. */
#ifndef VMBI_MODEL_DPA_IMPL_H
#define VMBI_MODEL_DPA_IMPL_H

#include "model/dpa.h"

typedef struct vmbi_dpa_reader {
    const vmbi_json *doc;
    vmbi_problems *p;                /* never NULL */
    const vmbi_dpa_secrets *secrets; /* NULL: Secrets are not looked at */
    vmb_error **err;
    bool backup_images;
    vmbi_dpa *dpa; /* being filled */
} vmbi_dpa_reader;

bool vmbi_dpa_has_plugin(const vmbi_dpa_reader *r, const char *name);
/* A boolean; another type is a problem. */
bool vmbi_dpa_flag(const vmbi_dpa_reader *r, const char *path, bool dflt);
vmb_code vmbi_dpa_read_locations(vmbi_dpa_reader *r);
vmb_code vmbi_dpa_read_snapshot_locations(vmbi_dpa_reader *r);

#endif
