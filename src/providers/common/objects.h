/* SPDX-License-Identifier: Apache-2.0 */
/* Small helpers that the built-in actions and the snapshot provider share. */
#ifndef VMBI_PROVIDERS_OBJECTS_H
#define VMBI_PROVIDERS_OBJECTS_H

#include <vmbackup/provider.h>

#include "base/compiler.h"
#include "codec/json.h"

/* One object or list of the run's cluster as a tree. VMB_E_UNSUPPORTED without a cluster. */
vmb_code vmbi_fetch(vmb_job *job, const char *group, const char *resource, const char *ns,
                    const char *name, vmbi_json **out, vmb_error **err);
vmb_code vmbi_fetch_list(vmb_job *job, const char *group, const char *resource, const char *ns,
                         const char *label_selector, vmbi_json **out, vmb_error **err);
/* True when the run has a cluster that serves the resource. */
bool vmbi_served(vmb_job *job, const char *group, const char *resource);
/* Hands a changed object to the run. */
vmb_code vmbi_result_set_tree(vmb_action_result *result, const vmbi_json *item, vmb_error **err);
/* metadata.name, metadata.namespace ("" when absent). */
const char *vmbi_name_of(const vmbi_json *obj);
const char *vmbi_namespace_of(const vmbi_json *obj);
/* Value of a label or an annotation; NULL when absent. */
const char *vmbi_label_of(const vmbi_json *obj, const char *key);
const char *vmbi_annotation_of(const vmbi_json *obj, const char *key);
bool vmbi_set_label(vmbi_json *obj, const char *key, const char *value);
bool vmbi_set_annotation(vmbi_json *obj, const char *key, const char *value);
/* Logs a formatted line through the job. */
void vmbi_job_logf(const vmb_job *job, int32_t level, const char *fmt, ...) VMBI_PRINTF(3, 4);
/* Label-safe form of a name: up to 63 bytes unchanged, else 57 bytes and 6 hex digits of its
 * SHA-256. Source: Velero pkg/label/label.go, GetValidName. */
#define VMBI_LABEL_SIZE 64
void vmbi_label_safe(const char *name, char out[VMBI_LABEL_SIZE]);

#endif
