/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of a filter, shared by its builder and the questions that it answers. */
#ifndef VMBI_MODEL_FILTER_IMPL_H
#define VMBI_MODEL_FILTER_IMPL_H

#include "base/map.h"
#include "model/filter.h"

typedef enum vmbi_cluster_scope {
    VMBI_CLUSTER_AUTO, /* includeClusterResources is unset */
    VMBI_CLUSTER_NO,
    VMBI_CLUSTER_YES
} vmbi_cluster_scope;

struct vmbi_filter {
    const vmbi_discovery *discovery;
    vmbi_nsfilter ns;
    bool old_style; /* `resources` and cluster_scope count, else `namespaced` and `cluster` */
    vmbi_cluster_scope cluster_scope;
    vmbi_incexc resources;
    vmbi_incexc namespaced;
    vmbi_incexc cluster;
    bool full_backup; /* new style, and no list restricts anything */
    vmb_selector **selectors;
    char **selector_texts;
    size_t n_selectors;
    vmbi_map ordered; /* plural name: vmbi_strs */
};

#endif
