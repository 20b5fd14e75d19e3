/* SPDX-License-Identifier: Apache-2.0 */
/* What a folder of manifests holds: resources as discovery lists them, each with its objects as
 * compact JSON text. Built once, then read by any number of threads. */
#ifndef VMBI_CLUSTER_DIR_TREE_H
#define VMBI_CLUSTER_DIR_TREE_H

#include <vmbackup/base.h>

#include "base/compiler.h"
#include "base/map.h"
#include "base/strs.h"
#include "codec/json.h"

typedef struct vmbi_dir_item {
    char *key;        /* "namespace/name", or "name" for cluster-scoped objects */
    const char *name; /* the end of key */
    char *ns;         /* NULL: cluster-scoped */
    char *version;    /* version part of its apiVersion */
    char *json;
    size_t len;
    const char *file; /* borrowed from the tree's list of files */
    int line;
} vmbi_dir_item;

typedef struct vmbi_dir_resource {
    char *group;
    char *version;
    char *plural;
    char *singular;
    char *kind;
    vmbi_strs short_names;
    bool namespaced;
    bool from_definition;  /* a CustomResourceDefinition of the folder describes it */
    vmbi_dir_item **items; /* sorted by key once sealed */
    size_t n;
    size_t cap;
    vmbi_map by_key; /* key -> item, borrowed */
} vmbi_dir_resource;

typedef struct vmbi_dir_tree {
    vmbi_dir_resource **resources; /* in the order of discovery */
    size_t n;
    size_t cap;
    vmbi_strs files; /* paths below the folder */
    vmbi_strs warnings;
} vmbi_dir_tree;

void vmbi_dir_tree_free(vmbi_dir_tree *t); /* the contents, not t itself */
/* By group and plural name; NULL when unknown. */
vmbi_dir_resource *vmbi_dir_tree_find(const vmbi_dir_tree *t, const char *group,
                                      const char *plural);
vmbi_dir_resource *vmbi_dir_tree_find_kind(const vmbi_dir_tree *t, const char *group,
                                           const char *kind);
/* Adds an empty resource; singular NULL: the lower-case kind; short_names: comma list. */
vmb_code vmbi_dir_tree_add(vmbi_dir_tree *t, const char *group, const char *version,
                           const char *plural, const char *singular, const char *kind,
                           const char *short_names, bool namespaced, vmbi_dir_resource **out,
                           vmb_error **err);
/* Adds the resource that a CustomResourceDefinition describes. */
vmb_code vmbi_dir_tree_add_definition(vmbi_dir_tree *t, const vmbi_json *crd, vmb_error **err);
/* Takes the item over in every case. A second object of the same name is VMB_E_EXISTS with a
 * message that names both places. */
vmb_code vmbi_dir_resource_take(vmbi_dir_resource *r, vmbi_dir_item *item, vmb_error **err);
void vmbi_dir_item_free(vmbi_dir_item *item);
/* Sorts the objects, settles versions and notes what a reader should know. */
vmb_code vmbi_dir_tree_seal(vmbi_dir_tree *t, vmb_error **err);
/* The discovery document of vmb_cluster_provider.discover; NULL when memory is out. */
vmbi_json *vmbi_dir_tree_discovery(const vmbi_dir_tree *t);

/* Order of Kubernetes versions: v2 before v1 before v1beta2 before v1beta1 before v1alpha1, others
 * last by name. Negative: a comes first. */
int vmbi_dir_version_compare(const char *a, const char *b);
/* Plural as apimachinery guesses it from a kind. */
vmb_code vmbi_dir_guess_plural(const char *kind, char **out, vmb_error **err);

/* Reads the folder and everything below it. */
vmb_code vmbi_dir_load(const char *path, vmbi_dir_tree *out, vmb_error **err);

#endif
