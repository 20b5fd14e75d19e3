/* SPDX-License-Identifier: Apache-2.0 */
/* The questions that a filter answers. */
#include <string.h>

#include "base/alloc.h"
#include "model/filter_impl.h"

#define CRDS "customresourcedefinitions.apiextensions.k8s.io"

/* Snapshots that a backup makes come in as related items; those that lie around are left alone. */
static bool is_auto_excluded(const char *group_resource)
{
    return strcmp(group_resource, "volumesnapshots.snapshot.storage.k8s.io") == 0 ||
           strcmp(group_resource, "volumesnapshotcontents.snapshot.storage.k8s.io") == 0;
}

static bool is_namespaces(const vmbi_resource *res)
{
    return strcmp(res->group_resource, "namespaces") == 0;
}

static bool wants_old_style(const vmbi_filter *f, const vmbi_resource *res)
{
    if (!res->namespaced && f->cluster_scope == VMBI_CLUSTER_NO) {
        return false;
    }
    if (!res->namespaced && !is_namespaces(res) && f->cluster_scope == VMBI_CLUSTER_AUTO &&
        !f->ns.everything) {
        return false;
    }
    return vmbi_incexc_wants(&f->resources, res->group_resource);
}

static bool wants_new_style(const vmbi_filter *f, const vmbi_resource *res)
{
    const vmbi_globset *in = &f->cluster.includes;

    if (res->namespaced) {
        return vmbi_incexc_wants(&f->namespaced, res->group_resource);
    }
    if (vmbi_globset_matches(&f->cluster.excludes, res->group_resource)) {
        return false;
    }
    return f->full_backup || vmbi_globset_matches(in, res->group_resource) || is_namespaces(res);
}

bool vmbi_filter_wants_resource(const vmbi_filter *f, const vmbi_resource *res)
{
    if (is_auto_excluded(res->group_resource)) {
        return false;
    }
    return f->old_style ? wants_old_style(f, res) : wants_new_style(f, res);
}

/* Is a cluster-scoped type excluded by name? What is merely not included may still come in as a
 * related item. */
static bool excludes_cluster_resource(const vmbi_filter *f, const vmbi_resource *res)
{
    if (is_auto_excluded(res->group_resource)) {
        return true;
    }
    if (!f->old_style) {
        return vmbi_globset_matches(&f->cluster.excludes, res->group_resource);
    }
    return f->cluster_scope == VMBI_CLUSTER_NO ||
           vmbi_globset_matches(&f->resources.excludes, res->group_resource) ||
           (f->cluster_scope == VMBI_CLUSTER_AUTO &&
            !vmbi_incexc_wants(&f->resources, res->group_resource));
}

bool vmbi_filter_wants_namespace(const vmbi_filter *f, const char *ns)
{
    return vmbi_nsfilter_wants(&f->ns, ns);
}

bool vmbi_filter_lists_cluster_wide(const vmbi_filter *f)
{
    return !f->ns.matched_nothing && (f->ns.all_included || f->ns.everything);
}

const vmbi_strs *vmbi_filter_namespaces(const vmbi_filter *f)
{
    return &f->ns.listed;
}

const vmbi_strs *vmbi_filter_missing_namespaces(const vmbi_filter *f)
{
    return &f->ns.missing;
}

size_t vmbi_filter_selector_count(const vmbi_filter *f)
{
    return f->n_selectors;
}

const char *vmbi_filter_selector_text(const vmbi_filter *f, size_t i)
{
    return i < f->n_selectors ? f->selector_texts[i] : NULL;
}

bool vmbi_filter_labels_match(const vmbi_filter *f, vmbi_slice labels)
{
    for (size_t i = 0; i < f->n_selectors; i++) {
        if (vmbi_selector_matches_raw(f->selectors[i], labels)) {
            return true;
        }
    }
    return f->n_selectors == 0;
}

bool vmbi_filter_wants_namespace_object(const vmbi_filter *f, const char *name, vmbi_slice labels,
                                        bool active)
{
    if (!active) {
        return false;
    }
    if (f->n_selectors > 0 && vmbi_filter_labels_match(f, labels)) {
        return true;
    }
    if (f->n_selectors > 0 && f->ns.everything) {
        return false;
    }
    return vmbi_nsfilter_wants(&f->ns, name);
}

static bool is_set(vmbi_slice raw)
{
    return raw.p != NULL && raw.len > 0 && raw.p[0] != 'n';
}

static bool has_exclude_label(vmbi_slice labels)
{
    vmbi_slice value;
    char text[8];

    return labels.p != NULL &&
           vmbi_jscan_find(labels.p, labels.len, "velero.io/exclude-from-backup", &value) &&
           vmbi_jscan_string(value, text, sizeof(text)) && strcmp(text, "true") == 0;
}

static vmbi_item_verdict check_filters(const vmbi_filter *f, const vmbi_resource *res,
                                       const char *ns, const vmbi_object_scan *obj)
{
    bool namespaced = ns != NULL && ns[0] != '\0';

    if (has_exclude_label(obj->labels)) {
        return VMBI_ITEM_EXCLUDE_LABEL;
    }
    if (namespaced && !vmbi_filter_wants_namespace(f, ns)) {
        return VMBI_ITEM_NAMESPACE;
    }
    if (!namespaced && !is_namespaces(res) && excludes_cluster_resource(f, res)) {
        return VMBI_ITEM_CLUSTER_EXCLUDED;
    }
    if (namespaced && !vmbi_filter_wants_resource(f, res)) {
        return VMBI_ITEM_RESOURCE;
    }
    return VMBI_ITEM_TAKE;
}

vmbi_item_verdict vmbi_filter_item(const vmbi_filter *f, const vmbi_resource *res, const char *ns,
                                   const vmbi_object_scan *obj, bool must)
{
    vmbi_item_verdict verdict = must ? VMBI_ITEM_TAKE : check_filters(f, res, ns, obj);

    if (verdict == VMBI_ITEM_TAKE && is_set(obj->deletion_timestamp)) {
        return VMBI_ITEM_DELETING;
    }
    return verdict;
}

const char *vmbi_item_verdict_text(vmbi_item_verdict v)
{
    switch (v) {
    case VMBI_ITEM_TAKE:
        return "taken";
    case VMBI_ITEM_DELETING:
        return "it is being deleted";
    case VMBI_ITEM_EXCLUDE_LABEL:
        return "it is labelled velero.io/exclude-from-backup=true";
    case VMBI_ITEM_NAMESPACE:
        return "its namespace is excluded";
    case VMBI_ITEM_CLUSTER_EXCLUDED:
        return "its cluster-scoped resource is excluded";
    case VMBI_ITEM_RESOURCE:
        return "its resource is excluded";
    }
    return "unknown";
}

const vmbi_strs *vmbi_filter_ordered(const vmbi_filter *f, const char *resource)
{
    return vmbi_map_get(&f->ordered, resource);
}

bool vmbi_filter_adds_crds(const vmbi_filter *f)
{
    const vmbi_resource *crds = vmbi_discovery_resolve(f->discovery, CRDS);

    return crds != NULL && !vmbi_filter_wants_resource(f, crds) &&
           !excludes_cluster_resource(f, crds);
}

const char *vmbi_filter_twin(const char *group_resource)
{
    static const char *const twins[][2] = {
        {"deployments.extensions", "deployments.apps"},
        {"daemonsets.extensions", "daemonsets.apps"},
        {"replicasets.extensions", "replicasets.apps"},
        {"networkpolicies.extensions", "networkpolicies.networking.k8s.io"},
        {"events", "events.events.k8s.io"},
    };

    for (size_t i = 0; i < VMBI_ARRAY_LEN(twins); i++) {
        for (size_t side = 0; side < 2; side++) {
            if (strcmp(twins[i][side], group_resource) == 0) {
                return twins[i][1 - side];
            }
        }
    }
    return NULL;
}
