/* SPDX-License-Identifier: Apache-2.0 */
/* Reading and changing single objects. Results go to a function in one piece. */
#ifndef VMBI_KUBE_OBJECTS_H
#define VMBI_KUBE_OBJECTS_H

#include "kube/client.h"

typedef vmb_code (*vmbi_kube_out_fn)(void *user, const void *data, size_t len, vmb_error **err);
typedef struct vmbi_kube_out {
    vmbi_kube_out_fn fn;
    void *user;
} vmbi_kube_out;

vmb_code vmbi_kube_get(vmbi_kube *k, const vmbi_kube_path *path, const vmbi_limits *limits,
                       vmbi_kube_out out, vmb_error **err);
/* path names the collection (no name). */
vmb_code vmbi_kube_create(vmbi_kube *k, const vmbi_kube_path *path, const char *json, size_t len,
                          const vmbi_limits *limits, vmbi_kube_out out, vmb_error **err);
/* content_type is the kind of the patch: application/merge-patch+json … */
vmb_code vmbi_kube_patch(vmbi_kube *k, const vmbi_kube_path *path, const char *content_type,
                         const char *json, size_t len, const vmbi_limits *limits,
                         vmbi_kube_out out, vmb_error **err);
/* Dependents are removed in the background. */
vmb_code vmbi_kube_remove(vmbi_kube *k, const vmbi_kube_path *path, const vmbi_limits *limits,
                          vmb_error **err);

#endif
