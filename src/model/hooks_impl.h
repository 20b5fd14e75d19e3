/* SPDX-License-Identifier: Apache-2.0 */
/* Between the hooks of the spec and those of annotations. */
#ifndef VMBI_MODEL_HOOKS_IMPL_H
#define VMBI_MODEL_HOOKS_IMPL_H

#include "model/hooks.h"

/* A hook before it is bound to a pod; everything is borrowed. */
typedef struct vmbi_hook_draft {
    const char *container; /* "" when none is named */
    const vmbi_strs *argv;
    vmbi_on_error on_error;
    int64_t timeout_ns; /* 0: the default; -1: no limit */
    vmbi_hook_source source;
    const char *name;
    size_t index;
} vmbi_hook_draft;

/* Binds a draft to the pod's container and appends it. */
vmb_code vmbi_hooks_add(vmbi_hook_list *l, const vmbi_json *pod, const vmbi_hook_draft *draft,
                        int64_t default_timeout_ns, vmb_error **err);
/* Appends the hook of the pod's annotations, if there is one for the phase. */
vmb_code vmbi_hooks_add_annotated(vmbi_hook_list *l, const vmbi_json *pod, vmbi_hook_phase phase,
                                  int64_t default_timeout_ns, vmb_error **err);

#endif
