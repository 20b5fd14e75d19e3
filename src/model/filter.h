/* SPDX-License-Identifier: Apache-2.0 */
/* What a Backup takes: namespaces, resources, scopes and labels of its spec, resolved against what
 * the cluster serves. Pure: no I/O, no clock; immutable after creation, usable from any thread.
 *
 * Deliberate differences from Velero 1.18 (its documented intent is followed instead):
 *  - the automatic exclusion of volume snapshots does not switch off the "full backup" rule: a
 *    Backup without any filter takes cluster-scoped resources too;
 *  - labelSelector {} selects everything. */
#ifndef VMBI_MODEL_FILTER_H
#define VMBI_MODEL_FILTER_H

#include "codec/jscan.h"
#include "model/discovery.h"
#include "model/nsfilter.h"
#include "model/problems.h"
#include "model/selector.h"

typedef struct vmbi_filter vmbi_filter;

typedef struct vmbi_filter_input {
    const vmbi_json *spec;           /* "spec" of the Backup; NULL: empty. Not kept. */
    const vmbi_discovery *discovery; /* kept: must outlive the filter */
    const vmbi_strs *namespaces;     /* every namespace that exists, also terminating ones */
    /* namespaces with label velero.io/exclude-from-backup=true; NULL: none */
    const vmbi_strs *excluded_namespaces;
    const vmbi_json *policy; /* includeExcludePolicy of a resource policy; NULL: none */
} vmbi_filter_input;

/* problems (may be NULL) receives warnings (wildcards without a match, names that are no known
 * resource) and errors; any error also fails the call with VMB_E_INVALID. */
vmb_code vmbi_filter_new(const vmbi_filter_input *in, vmbi_filter **out, vmbi_problems *problems,
                         vmb_error **err);
void vmbi_filter_free(vmbi_filter *f);

/* Is the resource collected (listed)? Cluster-scoped ones: per the scope rules. */
bool vmbi_filter_wants_resource(const vmbi_filter *f, const vmbi_resource *res);
bool vmbi_filter_wants_namespace(const vmbi_filter *f, const char *ns);
/* May one list over all namespaces stand for the lists of the single ones? Items of it must still
 * pass vmbi_filter_item(). */
bool vmbi_filter_lists_cluster_wide(const vmbi_filter *f);
/* Namespaces to list when not cluster-wide: existing, included, not excluded; sorted. */
const vmbi_strs *vmbi_filter_namespaces(const vmbi_filter *f);
/* Literal included namespaces that do not exist: each is an error of the run when the resource
 * "namespaces" is collected. */
const vmbi_strs *vmbi_filter_missing_namespaces(const vmbi_filter *f);

/* Selectors to list with: none means one list without selector, else one list per selector
 * (duplicates are the caller's matter). Not applied to related items. The text is what goes to
 * the API server. */
size_t vmbi_filter_selector_count(const vmbi_filter *f);
const char *vmbi_filter_selector_text(const vmbi_filter *f, size_t i);
/* Do the labels match one of the selectors (true without selectors)? */
bool vmbi_filter_labels_match(const vmbi_filter *f, vmbi_slice labels);

/* Is this Namespace object collected for its own sake? (One in which a namespaced item was
 * collected is taken in any case.) active: status.phase is Active. */
bool vmbi_filter_wants_namespace_object(const vmbi_filter *f, const char *name, vmbi_slice labels,
                                        bool active);

/* The checks that every item passes just before it is taken, collected or related. */
typedef enum vmbi_item_verdict {
    VMBI_ITEM_TAKE = 0,
    VMBI_ITEM_DELETING,         /* has a deletionTimestamp: never taken */
    VMBI_ITEM_EXCLUDE_LABEL,    /* label velero.io/exclude-from-backup=true */
    VMBI_ITEM_NAMESPACE,        /* its namespace is not wanted */
    VMBI_ITEM_CLUSTER_EXCLUDED, /* cluster-scoped and excluded */
    VMBI_ITEM_RESOURCE          /* namespaced and its type is not wanted */
} vmbi_item_verdict;
/* ns: NULL or "" for cluster-scoped objects. must: only a deletionTimestamp can stop it. */
vmbi_item_verdict vmbi_filter_item(const vmbi_filter *f, const vmbi_resource *res, const char *ns,
                                   const vmbi_object_scan *obj, bool must);
const char *vmbi_item_verdict_text(vmbi_item_verdict v); /* for the log */

/* orderedResources of a plural name: entries as written ("ns/name"), NULL when none. */
const vmbi_strs *vmbi_filter_ordered(const vmbi_filter *f, const char *resource);
/* Are CRDs of stored custom resources added at the end (the filters neither include nor exclude
 * customresourcedefinitions)? */
bool vmbi_filter_adds_crds(const vmbi_filter *f);
/* Resources that exist in two groups (deployments in extensions and apps …): the other group's
 * "plural.group" of a twin, NULL when there is none. The first wanted one met is taken. */
const char *vmbi_filter_twin(const char *group_resource);

#endif
