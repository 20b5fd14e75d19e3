/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of a discovery, shared by its builder and the resolution of names. */
#ifndef VMBI_MODEL_DISCOVERY_IMPL_H
#define VMBI_MODEL_DISCOVERY_IMPL_H

#include "base/map.h"
#include "model/discovery.h"

struct vmbi_discovery {
    vmbi_resource *all; /* in the server's order, every version */
    size_t n;
    size_t cap;
    const vmbi_resource **collected; /* in the order of collection */
    size_t n_collected;
    vmbi_map by_resource; /* "group/version/plural" */
    vmbi_map by_kind;     /* "group/version/Kind" and "group//Kind" */
    vmbi_map by_gr;       /* "plural.group": the preferred version */
    vmbi_strs warnings;
    char *git_version;
    char *major;
    char *minor;
};

#endif
