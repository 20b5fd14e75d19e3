/* SPDX-License-Identifier: Apache-2.0 */
/* The resource behind vmb_spec, a Backup or a Restore: a tree with the places of its values. What
 * only Restores have is in restore.h. */
#ifndef VMBI_MODEL_BACKUP_H
#define VMBI_MODEL_BACKUP_H

#include <vmbackup/spec.h>

#include "codec/json.h"
#include "codec/yaml.h"
#include "model/problems.h"

/* What is known of the text that a spec was parsed from; shared by its clones. */
typedef struct vmbi_spec_text vmbi_spec_text;

struct vmb_spec {
    vmbi_json *root;              /* the Backup or Restore object */
    vmbi_spec_text *text;         /* NULL when not from text */
    const vmbi_positions *places; /* of text, borrowed; NULL when not from text */
    char *source;                 /* name in messages, never NULL */
};

#define VMBI_BACKUP_TTL_NS (INT64_C(720) * 3600 * 1000000000)
#define VMBI_BACKUP_CSI_TIMEOUT_NS (INT64_C(600) * 1000000000)
#define VMBI_BACKUP_OPERATION_TIMEOUT_NS (INT64_C(4) * 3600 * 1000000000)

vmb_code vmbi_spec_new(const char *name, vmb_spec **out, vmb_error **err);
vmb_code vmbi_spec_parse(const char *doc, size_t len, const char *source, vmb_spec **out,
                         vmb_error **err);
/* From a tree, which is copied deeply. */
vmb_code vmbi_spec_from_tree(const vmbi_json *backup, vmb_spec **out, vmb_error **err);
vmb_code vmbi_spec_clone(const vmb_spec *spec, vmb_spec **out, vmb_error **err);
void vmbi_spec_free(vmb_spec *spec);

const vmbi_json *vmbi_spec_root(const vmb_spec *spec);
/* "Backup" or "Restore", by `kind`; anything else counts as a Backup. */
const char *vmbi_spec_kind(const vmb_spec *spec);
bool vmbi_spec_is_restore(const vmb_spec *spec);
struct vmbi_field;
const struct vmbi_field *vmbi_spec_fields(const vmb_spec *spec);
/* What was noticed while reading the text (look-alike characters …); NULL when nothing. */
const vmbi_problems *vmbi_spec_notes(const vmb_spec *spec);

/* A deep copy of the Backup as a run works with it: apiVersion and kind set; ttl,
 * csiSnapshotTimeout and itemOperationTimeout with Velero's defaults (0 counts as unset);
 * defaultVolumesToRestic folded into defaultVolumesToFsBackup; includedNamespaces ["*"] when unset;
 * "hooks" and "metadata" present; storageLocation as it is. `status` is removed.
 * default_storage_location NULL: left unset. The result is owned. */
vmb_code vmbi_backup_defaulted(const vmbi_json *backup, const char *default_storage_location,
                               vmbi_json **out, vmb_error **err);
/* Duration field of a spec object in ns; dflt when unset, 0 or malformed. */
int64_t vmbi_backup_duration_ns(const vmbi_json *spec, const char *field, int64_t dflt);

/* Every problem; see vmb_spec_validate(). VMB_OK also with problems (look at p->errors);
 * VMB_E_NOMEM. Names, places and remedies are set. The first one is for the kind that the spec
 * has, the second one expects a Backup. */
vmb_code vmbi_spec_validate(const vmb_spec *spec, vmbi_problems *p, vmb_error **err);
vmb_code vmbi_backup_validate(const vmb_spec *spec, vmbi_problems *p, vmb_error **err);

/* Path-addressed access; see spec.h. */
vmb_code vmbi_spec_get(const vmb_spec *spec, const char *path, const vmbi_json **out,
                       vmb_error **err);
/* Takes ownership of value in every case. */
vmb_code vmbi_spec_set(vmb_spec *spec, const char *path, vmbi_json *value, vmb_error **err);
vmb_code vmbi_spec_append(vmb_spec *spec, const char *path, const char *value, vmb_error **err);
vmb_code vmbi_spec_set_entry(vmb_spec *spec, const char *path, const char *key, const char *value,
                             vmb_error **err);
vmb_code vmbi_spec_unset(vmb_spec *spec, const char *path, vmb_error **err);

#endif
