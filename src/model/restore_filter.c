/* SPDX-License-Identifier: Apache-2.0 */
#include "model/restore_filter.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"

typedef enum scope { SCOPE_AUTO, SCOPE_ALL, SCOPE_NONE } scope;

struct vmbi_restore_filter {
    const vmbi_json *mapping; /* borrowed from the spec; NULL: none */
    vmbi_incexc resources;
    vmbi_incexc namespaces;
    vmbi_incexc status;
    bool has_status;
    scope cluster;
    vmb_selector **selectors; /* one of them must match; none: everything does */
    size_t n_selectors;
};

static vmb_code read_list(const vmbi_json *obj, const char *field, vmbi_strs *out, vmb_error **err)
{
    const vmbi_json *list = vmbi_json_get(obj, field);
    vmb_code rc = VMB_OK;

    for (size_t i = 0; i < vmbi_json_len(list) && rc == VMB_OK; i++) {
        const char *s = vmbi_json_str(vmbi_json_at(list, i));

        rc = s != NULL ? vmbi_strs_add(out, s, err) : VMB_OK;
    }
    return rc;
}

/* A name that the cluster does not know (yet: its CRD may come out of the backup). */
static const char *find_present(const vmbi_strs *present, const char *name)
{
    size_t len = strlen(name);

    for (size_t i = 0; present != NULL && i < present->n; i++) {
        const char *p = present->v[i];

        if (strncmp(p, name, len) == 0 && (p[len] == '\0' || p[len] == '.')) {
            return p;
        }
    }
    return name;
}

static vmb_code resolve(const vmbi_json *obj, const char *field, const vmbi_discovery *discovery,
                        const vmbi_strs *present, vmbi_strs *out, vmb_error **err)
{
    vmbi_strs written = {0};
    vmb_code rc = read_list(obj, field, &written, err);

    for (size_t i = 0; i < written.n && rc == VMB_OK; i++) {
        const char *s = written.v[i];
        const vmbi_resource *res = vmbi_discovery_resolve(discovery, s);

        rc = vmbi_strs_add(out, res != NULL ? res->group_resource : find_present(present, s), err);
    }
    vmbi_strs_free(&written);
    return rc;
}

static vmb_code resolve_pair(const vmbi_json *obj, const vmbi_discovery *discovery,
                             const vmbi_strs *present, vmbi_incexc *out, vmb_error **err)
{
    vmbi_strs in = {0};
    vmbi_strs ex = {0};
    vmb_code rc = resolve(obj, "includedResources", discovery, present, &in, err);

    if (rc == VMB_OK) {
        rc = resolve(obj, "excludedResources", discovery, present, &ex, err);
    }
    if (rc == VMB_OK) {
        rc = vmbi_incexc_init(out, &in, &ex, err);
    }
    vmbi_strs_free(&in);
    vmbi_strs_free(&ex);
    return rc;
}

static vmb_code read_namespaces(const vmbi_json *spec, vmbi_incexc *out, vmb_error **err)
{
    vmbi_strs in = {0};
    vmbi_strs ex = {0};
    vmb_code rc = read_list(spec, "includedNamespaces", &in, err);

    if (rc == VMB_OK) {
        rc = read_list(spec, "excludedNamespaces", &ex, err);
    }
    if (rc == VMB_OK) {
        rc = vmbi_incexc_init(out, &in, &ex, err);
    }
    vmbi_strs_free(&in);
    vmbi_strs_free(&ex);
    return rc;
}

static vmb_code add_selector(vmbi_restore_filter *f, const vmbi_json *tree, const char *what,
                             vmb_error **err)
{
    vmb_selector **v = vmbi_realloc_array(f->selectors, f->n_selectors + 1, sizeof(*v));

    if (v == NULL) {
        return vmbi_fail_nomem(err);
    }
    f->selectors = v;
    vmb_code rc = vmbi_selector_from_tree(tree, what, &v[f->n_selectors], err);
    f->n_selectors += rc == VMB_OK ? 1 : 0;
    return rc;
}

static vmb_code read_selectors(vmbi_restore_filter *f, const vmbi_json *spec, vmb_error **err)
{
    const vmbi_json *one = vmbi_json_get(spec, "labelSelector");
    const vmbi_json *any = vmbi_json_get(spec, "orLabelSelectors");
    vmb_code rc = VMB_OK;

    if (vmbi_json_is_object(one)) {
        return add_selector(f, one, "spec.labelSelector", err);
    }
    for (size_t i = 0; i < vmbi_json_len(any) && rc == VMB_OK; i++) {
        rc = add_selector(f, vmbi_json_at(any, i), "spec.orLabelSelectors", err);
    }
    return rc;
}

vmb_code vmbi_restore_filter_new(const vmbi_json *spec, const vmbi_discovery *discovery,
                                 const vmbi_strs *present, vmbi_restore_filter **out,
                                 vmb_error **err)
{
    vmbi_restore_filter *f = vmbi_zalloc(sizeof(*f));
    const vmbi_json *cluster = vmbi_json_get(spec, "includeClusterResources");
    const vmbi_json *status = vmbi_json_get(spec, "restoreStatus");

    if (f == NULL) {
        return vmbi_fail_nomem(err);
    }
    f->mapping = vmbi_json_get(spec, "namespaceMapping");
    f->cluster = !vmbi_json_is_bool(cluster)     ? SCOPE_AUTO
                 : vmbi_json_bool(cluster, true) ? SCOPE_ALL
                                                 : SCOPE_NONE;
    f->has_status = vmbi_json_is_object(status);
    vmb_code rc = resolve_pair(spec, discovery, present, &f->resources, err);
    if (rc == VMB_OK) {
        rc = read_namespaces(spec, &f->namespaces, err);
    }
    if (rc == VMB_OK && f->has_status) {
        rc = resolve_pair(status, discovery, present, &f->status, err);
    }
    if (rc == VMB_OK) {
        rc = read_selectors(f, spec, err);
    }
    if (rc != VMB_OK) {
        vmbi_restore_filter_free(f);
        return rc;
    }
    *out = f;
    return VMB_OK;
}

void vmbi_restore_filter_free(vmbi_restore_filter *f)
{
    if (f == NULL) {
        return;
    }
    vmbi_incexc_free(&f->resources);
    vmbi_incexc_free(&f->namespaces);
    vmbi_incexc_free(&f->status);
    for (size_t i = 0; i < f->n_selectors; i++) {
        vmbi_selector_free(f->selectors[i]);
    }
    vmbi_free(f->selectors);
    vmbi_free(f);
}

bool vmbi_restore_must_have(const char *group_resource)
{
    return strcmp(group_resource, "datauploads.velero.io") == 0 ||
           strcmp(group_resource, "volumesnapshotcontents.snapshot.storage.k8s.io") == 0;
}

bool vmbi_restore_wants_resource(const vmbi_restore_filter *f, const char *group_resource)
{
    return vmbi_restore_must_have(group_resource) ||
           vmbi_incexc_wants(&f->resources, group_resource);
}

bool vmbi_restore_wants_namespace(const vmbi_restore_filter *f, const char *ns)
{
    return vmbi_incexc_wants(&f->namespaces, ns);
}

bool vmbi_restore_wants_cluster_scope(const vmbi_restore_filter *f)
{
    return f->cluster == SCOPE_ALL ||
           (f->cluster == SCOPE_AUTO && vmbi_incexc_is_everything(&f->namespaces));
}

bool vmbi_restore_refuses_cluster_scope(const vmbi_restore_filter *f)
{
    return f->cluster == SCOPE_NONE;
}

bool vmbi_restore_wants_labels(const vmbi_restore_filter *f, vmbi_slice labels)
{
    for (size_t i = 0; i < f->n_selectors; i++) {
        if (vmbi_selector_matches_raw(f->selectors[i], labels)) {
            return true;
        }
    }
    return f->n_selectors == 0;
}

bool vmbi_restore_wants_status(const vmbi_restore_filter *f, const char *group_resource)
{
    return f->has_status && vmbi_incexc_wants(&f->status, group_resource);
}

const char *vmbi_restore_target(const vmbi_restore_filter *f, const char *ns)
{
    const char *to = vmbi_json_get_str(f->mapping, ns);

    return to != NULL && to[0] != '\0' ? to : ns;
}

/* ---- order --------------------------------------------------------------------------------- */

/* Velero 1.18, pkg/cmd/server/config/config.go. */
static const char *const first[] = {
    "customresourcedefinitions.apiextensions.k8s.io",
    "namespaces",
    "storageclasses.storage.k8s.io",
    "volumesnapshotclasses.snapshot.storage.k8s.io",
    "volumesnapshotcontents.snapshot.storage.k8s.io",
    "volumesnapshots.snapshot.storage.k8s.io",
    "datauploads.velero.io",
    "persistentvolumes",
    "persistentvolumeclaims",
    "clusterroles.rbac.authorization.k8s.io",
    "roles.rbac.authorization.k8s.io",
    "serviceaccounts",
    "clusterrolebindings.rbac.authorization.k8s.io",
    "rolebindings.rbac.authorization.k8s.io",
    "secrets",
    "configmaps",
    "limitranges",
    "priorityclasses.scheduling.k8s.io",
    "pods",
    "replicasets.apps",
    "clusterclasses.cluster.x-k8s.io",
    "endpoints",
    "services",
};
static const char *const last[] = {
    "clusterbootstraps.run.tanzu.vmware.com",      "clusters.cluster.x-k8s.io",
    "clusterresourcesets.addons.cluster.x-k8s.io", "apps.kappctrl.k14s.io",
    "packageinstalls.packaging.carvel.dev",
};

static bool in_list(const char *const *list, size_t n, const char *s)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(list[i], s) == 0) {
            return true;
        }
    }
    return false;
}

static vmb_code add_list(const char *const *list, size_t n, const vmbi_strs *present,
                         vmbi_strs *out, vmb_error **err)
{
    vmb_code rc = VMB_OK;

    for (size_t i = 0; i < n && rc == VMB_OK; i++) {
        rc = vmbi_strs_has(present, list[i]) ? vmbi_strs_add(out, list[i], err) : VMB_OK;
    }
    return rc;
}

vmb_code vmbi_restore_order(const vmbi_strs *present, vmbi_strs *out, vmb_error **err)
{
    vmbi_strs rest = {0};
    vmb_code rc = add_list(first, VMBI_ARRAY_LEN(first), present, out, err);

    for (size_t i = 0; i < present->n && rc == VMB_OK; i++) {
        const char *s = present->v[i];

        if (!in_list(first, VMBI_ARRAY_LEN(first), s) && !in_list(last, VMBI_ARRAY_LEN(last), s)) {
            rc = vmbi_strs_add(&rest, s, err);
        }
    }
    vmbi_strs_sort(&rest);
    for (size_t i = 0; i < rest.n && rc == VMB_OK; i++) {
        rc = vmbi_strs_add(out, rest.v[i], err);
    }
    vmbi_strs_free(&rest);
    return rc == VMB_OK ? add_list(last, VMBI_ARRAY_LEN(last), present, out, err) : rc;
}
