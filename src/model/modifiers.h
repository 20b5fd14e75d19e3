/* SPDX-License-Identifier: Apache-2.0 */
/* Resource modifiers of a restore: rules that patch objects on their way (Velero 1.18,
 * internal/resourcemodifiers). Immutable once parsed; usable from any thread. */
#ifndef VMBI_MODEL_MODIFIERS_H
#define VMBI_MODEL_MODIFIERS_H

#include "codec/json.h"

typedef struct vmbi_modifiers vmbi_modifiers;

/* text: the single value of the ConfigMap, YAML. VMB_E_INVALID names what is wrong and where:
 * unknown members, wrong types, a rule with patches of two kinds, … `what` names the document. */
vmb_code vmbi_modifiers_parse(const char *text, size_t len, const char *what, vmbi_modifiers **out,
                              vmb_error **err);
void vmbi_modifiers_free(vmbi_modifiers *m);

/* Applies every rule whose conditions the object meets as it is now. Rules that fail leave it as it
 * is and add a line to problems. *obj may be replaced by another tree. VMB_E_NOMEM only. */
vmb_code vmbi_modifiers_apply(const vmbi_modifiers *m, const char *group_resource, vmbi_json **obj,
                              vmbi_strs *problems, vmb_error **err);

#endif
