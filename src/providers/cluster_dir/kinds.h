/* SPDX-License-Identifier: Apache-2.0 */
/* Kinds that a folder of manifests may hold without bringing their definition: what the discovery
 * of a real cluster would say about them. */
#ifndef VMBI_CLUSTER_DIR_KINDS_H
#define VMBI_CLUSTER_DIR_KINDS_H

#include "base/compiler.h"

typedef struct vmbi_dir_kind {
    const char *group; /* "" is the core group */
    const char *version;
    const char *plural;
    const char *kind;
    const char *short_names; /* comma list, "" for none */
    bool namespaced;
    bool native; /* served by every API server; others only where the folder uses their group */
} vmbi_dir_kind;

/* All known kinds, groups in the order of an API server's discovery, core first. */
const vmbi_dir_kind *vmbi_dir_kinds(size_t *count);
/* Version that discovery calls preferred for a group of the table; NULL for an unknown group. */
const char *vmbi_dir_group_preferred(const char *group);

#endif
