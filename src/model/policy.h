/* SPDX-License-Identifier: Apache-2.0 */
/* Resource policies (Velero pkg internal/resourcepolicies, v1): what is done with a volume, and
 * lists of resources that complete those of a Backup. Immutable. */
#ifndef VMBI_MODEL_POLICY_H
#define VMBI_MODEL_POLICY_H

#include "codec/json.h"
#include "model/problems.h"

typedef enum vmbi_policy_action {
    VMBI_POLICY_NONE = 0, /* no rule matches: the usual rules decide */
    VMBI_POLICY_SKIP,
    VMBI_POLICY_FS_BACKUP,
    VMBI_POLICY_SNAPSHOT, /* also where snapshotVolumes is false */
    VMBI_POLICY_CUSTOM    /* someone else's business: neither snapshot nor file system backup */
} vmbi_policy_action;

typedef struct vmbi_policy vmbi_policy;

/* The policy's YAML. problems (may be NULL) receives all that is wrong; any error fails the call
 * with VMB_E_INVALID. source names the document in messages. */
vmb_code vmbi_policy_parse(const char *text, size_t len, const char *source, vmbi_policy **out,
                           vmbi_problems *problems, vmb_error **err);
/* From the ConfigMap object that spec.resourcePolicy names: it has exactly one key. */
vmb_code vmbi_policy_from_configmap(const vmbi_json *configmap, vmbi_policy **out,
                                    vmbi_problems *problems, vmb_error **err);
void vmbi_policy_free(vmbi_policy *p);

/* A volume as it is known; what is not known is NULL. pv decides over volume (an entry of a pod's
 * spec.volumes) where both are given. */
typedef struct vmbi_policy_volume {
    const vmbi_json *pv;
    const vmbi_json *pvc;
    const vmbi_json *volume;
} vmbi_policy_volume;
/* The first rule whose conditions all hold. */
vmbi_policy_action vmbi_policy_match(const vmbi_policy *p, const vmbi_policy_volume *v);
/* includeExcludePolicy, for vmbi_filter_input.policy; NULL when there is none. Borrowed. */
const vmbi_json *vmbi_policy_include_exclude(const vmbi_policy *p);

#endif
