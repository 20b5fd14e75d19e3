/* SPDX-License-Identifier: Apache-2.0 */
/* What the API server serves. Asks for the aggregated document (two requests) and falls back to
 * one request per group and version for servers older than 1.26. */
#ifndef VMBI_KUBE_DISCOVERY_H
#define VMBI_KUBE_DISCOVERY_H

#include "codec/json.h"
#include "kube/client.h"

/* Appends the document that provider.h describes under vmb_cluster_provider.discover. Groups that
 * cannot be discovered are left out and named in its warnings. */
vmb_code vmbi_kube_discover(vmbi_kube *k, const vmbi_limits *limits, vmbi_buf *out,
                            vmb_error **err);

/* The parts, for tests. Each appends to `groups` (in our form) and `warnings`. */
/* An APIGroupDiscoveryList. */
bool vmbi_kube_discovery_add_aggregated(const vmbi_json *doc, vmbi_json *groups,
                                        vmbi_json *warnings);
/* An APIResourceList of one group version, as an entry of "versions"; NULL without memory. */
vmbi_json *vmbi_kube_discovery_version(const vmbi_json *doc, const char *version);

#endif
