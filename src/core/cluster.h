/* SPDX-License-Identifier: Apache-2.0 */
/* The run's cluster: the registered provider with discovery, limits and contract checks. */
#ifndef VMBI_CORE_CLUSTER_H
#define VMBI_CORE_CLUSTER_H

#include <vmbackup/provider.h>

#include "base/buf.h"
#include "model/discovery.h"

struct vmb_cluster {
    const vmb_cluster_provider *provider; /* borrowed from the context */
    vmbi_discovery *discovery;
    int64_t timeout_ns; /* of single requests; lists only obey the job */
};

enum {
    VMBI_OBJECT_MAX_BYTES = 64 * 1024 * 1024, /* etcd's limit is 1.5 MiB; aggregated APIs differ */
    VMBI_DISCOVERY_MAX_BYTES = 64 * 1024 * 1024
};

/* Reads discovery. */
vmb_code vmbi_cluster_open(vmb_cluster *c, const vmb_cluster_provider *provider,
                           int64_t timeout_ns, vmb_job *job, vmb_error **err);
void vmbi_cluster_close(vmb_cluster *c);

/* out may be NULL. Resource version NULL: preferred. */
vmb_code vmbi_cluster_get(vmb_cluster *c, vmb_job *job, const char *group, const char *version,
                          const char *resource, const char *ns, const char *name, vmbi_buf *out,
                          vmb_error **err);
vmb_code vmbi_cluster_list(vmb_cluster *c, vmb_job *job, const vmbi_resource *res, const char *ns,
                           const char *selector, int64_t page_size, vmb_item_sink *out,
                           vmb_error **err);
vmb_code vmbi_cluster_create(vmb_cluster *c, vmb_job *job, const char *group, const char *version,
                             const char *resource, const char *ns, const char *json, size_t len,
                             vmbi_buf *out, vmb_error **err);
vmb_code vmbi_cluster_patch(vmb_cluster *c, vmb_job *job, const char *group, const char *version,
                            const char *resource, const char *ns, const char *name,
                            const char *subresource, int32_t kind, const char *json, size_t len,
                            vmbi_buf *out, vmb_error **err);
vmb_code vmbi_cluster_remove(vmb_cluster *c, vmb_job *job, const char *group, const char *version,
                             const char *resource, const char *ns, const char *name,
                             vmb_error **err);
/* Version to ask for: the given one, or the preferred one of discovery; "v1" when unknown. */
const char *vmbi_cluster_version(const vmb_cluster *c, const char *group, const char *version,
                                 const char *resource);
/* List as one JSON array, limited to max bytes. */
vmb_code vmbi_cluster_list_array(vmb_cluster *c, vmb_job *job, const char *group,
                                 const char *version, const char *resource, const char *ns,
                                 const char *selector, vmbi_buf *out, vmb_error **err);

#endif
