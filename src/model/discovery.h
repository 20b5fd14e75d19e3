/* SPDX-License-Identifier: Apache-2.0 */
/* What a cluster serves, from the document that vmb_cluster_provider.discover writes, in the order
 * in which a backup collects it; and the resolution of resource names that users write.
 * Immutable, usable from any thread. */
#ifndef VMBI_MODEL_DISCOVERY_H
#define VMBI_MODEL_DISCOVERY_H

#include "base/strs.h"
#include "codec/json.h"

typedef struct vmbi_resource {
    const char *group;          /* "" for the core group */
    const char *version;        /* "v1" */
    const char *name;           /* plural: "pods" */
    const char *singular;       /* "pod"; lower-cased kind when the server names none */
    const char *kind;           /* "Pod" */
    const char *group_resource; /* "pods", "deployments.apps": Velero's name for it */
    const char *api_version;    /* "v1", "apps/v1" */
    vmbi_strs short_names;
    bool namespaced;
    bool preferred; /* of this group's versions, the one that is collected */
    bool eligible;  /* list, create, get and delete are served: it can be backed up */
    bool can_list;
    bool can_get;
} vmbi_resource;

typedef struct vmbi_discovery vmbi_discovery;

vmb_code vmbi_discovery_parse(const char *json, size_t len, vmbi_discovery **out, vmb_error **err);
vmb_code vmbi_discovery_from_tree(const vmbi_json *doc, vmbi_discovery **out, vmb_error **err);
void vmbi_discovery_free(vmbi_discovery *d);

/* The resources to collect, in order: preferred and eligible ones; groups in the server's order
 * with "extensions" last; pods, persistentvolumeclaims, persistentvolumes first in the core
 * group. Pointers live as long as the discovery. */
size_t vmbi_discovery_count(const vmbi_discovery *d);
const vmbi_resource *vmbi_discovery_at(const vmbi_discovery *d, size_t i);

/* Look-ups return NULL when absent. version NULL: the preferred one. */
const vmbi_resource *vmbi_discovery_find(const vmbi_discovery *d, const char *group,
                                         const char *version, const char *resource);
const vmbi_resource *vmbi_discovery_find_kind(const vmbi_discovery *d, const char *group,
                                              const char *version, const char *kind);
/* By "plural" or "plural.group", exact. */
const vmbi_resource *vmbi_discovery_find_gr(const vmbi_discovery *d, const char *group_resource);
/* By apiVersion ("apps/v1") and kind of an object. */
const vmbi_resource *vmbi_discovery_find_object(const vmbi_discovery *d, const char *api_version,
                                                const char *kind);
/* What a user wrote: short name, singular, plural or kind, with or without (a prefix of) the
 * group. NULL when unresolved or not eligible. */
const vmbi_resource *vmbi_discovery_resolve(const vmbi_discovery *d, const char *written);
/* The same for a list: resolved names become "plural.group", others stay as they are ("*", globs,
 * unknown names). */
vmb_code vmbi_discovery_resolve_list(const vmbi_discovery *d, const vmbi_strs *written,
                                     vmbi_strs *out, vmb_error **err);

/* Warnings of the provider (groups that could not be read); borrowed. */
const vmbi_strs *vmbi_discovery_warnings(const vmbi_discovery *d);
/* serverVersion; "" when unknown. */
const char *vmbi_discovery_git_version(const vmbi_discovery *d);
const char *vmbi_discovery_major(const vmbi_discovery *d);
const char *vmbi_discovery_minor(const vmbi_discovery *d);

#endif
