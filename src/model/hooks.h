/* SPDX-License-Identifier: Apache-2.0 */
/* Backup hooks: those of the spec, compiled once, and those of a pod's annotations; which of them
 * run in a pod. Pure. A compiled set is immutable. */
#ifndef VMBI_MODEL_HOOKS_H
#define VMBI_MODEL_HOOKS_H

#include "base/strs.h"
#include "codec/json.h"
#include "model/discovery.h"

typedef enum vmbi_hook_phase { VMBI_HOOK_PRE = 0, VMBI_HOOK_POST = 1 } vmbi_hook_phase;
typedef enum vmbi_hook_source { VMBI_HOOK_ANNOTATION = 0, VMBI_HOOK_SPEC = 1 } vmbi_hook_source;
typedef enum vmbi_on_error {
    VMBI_ON_ERROR_UNSET = 0, /* Velero documents Fail, and behaves as Continue */
    VMBI_ON_ERROR_CONTINUE = 1,
    VMBI_ON_ERROR_FAIL = 2
} vmbi_on_error;

typedef struct vmbi_hook {
    char *container; /* as written; "" when the hook names none. Part of Velero's hook key. */
    char *target;    /* container to run in; NULL when the pod has no such container */
    vmbi_strs argv;  /* never empty */
    vmbi_on_error on_error;
    int64_t timeout_ns; /* > 0, or -1 for no limit */
    vmbi_hook_source source;
    char *name;   /* of the hooks.resources[] entry; "" for annotations */
    size_t index; /* in the entry's pre[] or post[] list; 0 for annotations */
} vmbi_hook;

typedef struct vmbi_hook_list {
    vmbi_hook *v;
    size_t n;
    size_t cap;
    vmbi_strs warnings; /* for the log: bad annotation values */
    bool pod_finished;  /* phase Succeeded or Failed: hooks cannot run */
} vmbi_hook_list;

typedef struct vmbi_hooks vmbi_hooks;

/* hooks: "spec.hooks" of the Backup, NULL for none. discovery NULL: resource names are taken
 * literally. VMB_E_INVALID for a bad selector, duration or missing command. Nothing is kept. */
vmb_code vmbi_hooks_compile(const vmbi_json *hooks, const vmbi_discovery *discovery,
                            vmbi_hooks **out, vmb_error **err);
void vmbi_hooks_free(vmbi_hooks *h);

/* Hooks of one phase for a pod (a whole Pod object), in the order in which they run. h may be
 * NULL (annotations only). default_timeout_ns stands for a timeout of 0 or none. */
vmb_code vmbi_hooks_for_pod(const vmbi_hooks *h, const vmbi_json *pod, vmbi_hook_phase phase,
                            int64_t default_timeout_ns, vmbi_hook_list *out, vmb_error **err);
/* The same for raw bytes; for pods without hooks no tree is built. */
vmb_code vmbi_hooks_for_pod_raw(const vmbi_hooks *h, const char *pod, size_t len,
                                vmbi_hook_phase phase, int64_t default_timeout_ns,
                                vmbi_hook_list *out, vmb_error **err);
void vmbi_hook_list_free(vmbi_hook_list *l);
/* Does the container come from a running set of the pod: a container or a sidecar? NULL name: the
 * first container. Borrowed result; NULL when absent. */
const char *vmbi_hooks_container(const vmbi_json *pod, const char *name);

#endif
