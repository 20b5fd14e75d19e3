/* SPDX-License-Identifier: Apache-2.0 */
/* Where an object stands: group, version, resource, namespace, name; as a URL path and as words for
 * messages. Source: Kubernetes API conventions, "API terminology" (/api/v1 for the core group,
 * /apis/GROUP/VERSION for the others). */
#ifndef VMBI_KUBE_PATH_H
#define VMBI_KUBE_PATH_H

#include "base/buf.h"

typedef struct vmbi_kube_path {
    const char *group;       /* "" or NULL: the core group */
    const char *version;     /* required */
    const char *resource;    /* plural, required */
    const char *ns;          /* NULL or "": cluster-scoped, or all namespaces */
    const char *name;        /* NULL: the collection */
    const char *subresource; /* NULL: none */
} vmbi_kube_path;

/* Appends "/api/v1/namespaces/NS/RESOURCE/NAME". VMB_E_ARG for parts that no path can hold ("",
 * ".", ".."); every other byte is percent-encoded where it must be. */
vmb_code vmbi_kube_path_add(vmbi_buf *url, const vmbi_kube_path *path, vmb_error **err);

enum { VMBI_KUBE_WHAT_SIZE = 384 };
/* "get deployments.apps ns/name", "list pods in namespace ns", "list pods"; cut to the size. */
void vmbi_kube_path_describe(const char *verb, const vmbi_kube_path *path,
                             char out[VMBI_KUBE_WHAT_SIZE]);

/* Appends "KEY=VALUE", preceded by '?' or '&' as url needs it; the value is encoded. */
void vmbi_kube_query_add(vmbi_buf *url, const char *key, const char *value);

#endif
