/* SPDX-License-Identifier: Apache-2.0 */
/* A real cluster, behind its API server. */
#include "base/alloc.h"
#include "base/error.h"
#include "base/job.h"
#include "kube/discovery.h"
#include "kube/list.h"
#include "kube/objects.h"
#include "kube/watch.h"
#include "providers/builtin.h"
#include "providers/cluster_kube/settings.h"

enum { DISCOVERY_MAX_BYTES = 64 << 20 };

typedef struct cluster_kube {
    vmbi_kube *kube;
    bool prefetch;
} cluster_kube;

static void kube_destroy(void *user)
{
    cluster_kube *c = user;
    if (c != NULL) {
        vmbi_kube_drop(c->kube);
        vmbi_free(c);
    }
}

static vmb_code sink_out(void *user, const void *data, size_t len, vmb_error **err)
{
    return vmb_sink_write(user, data, len, err);
}

static vmbi_kube_out to_sink(vmb_sink *sink)
{
    return (vmbi_kube_out){sink != NULL ? sink_out : NULL, sink};
}

static vmb_code push_item(void *user, const char *json, size_t len, vmb_error **err)
{
    return vmb_item_sink_push(user, json, len, err);
}

static vmb_code kube_discover(void *user, vmb_job *job, vmb_sink *out, vmb_error **err)
{
    const cluster_kube *c = user;
    vmbi_buf doc = VMBI_BUF_INIT(DISCOVERY_MAX_BYTES);
    vmb_code rc = vmbi_kube_discover(c->kube, &job->limits, &doc, err);
    if (rc == VMB_OK) {
        rc = vmbi_buf_check(&doc, err, "discovery document");
    }
    if (rc == VMB_OK) {
        rc = vmb_sink_write(out, doc.data, doc.len, err);
    }
    vmbi_buf_free(&doc);
    return rc;
}

static vmb_code kube_list(void *user, vmb_job *job, const char *group, const char *version,
                          const char *resource, const char *ns, const char *label_selector,
                          int64_t page_size, vmb_item_sink *out, vmb_error **err)
{
    const cluster_kube *c = user;
    vmbi_kube_path path = {group, version, resource, ns, NULL, NULL};
    vmbi_kube_list list = {&path, label_selector, page_size, c->prefetch};
    if (page_size < 0) {
        return vmbi_fail(err, VMB_E_ARG, "list %s: page size %lld", resource,
                         (long long)page_size);
    }
    return vmbi_kube_list_each(c->kube, &list, &job->limits, push_item, out, err);
}

static vmb_code kube_get(void *user, vmb_job *job, const char *group, const char *version,
                         const char *resource, const char *ns, const char *name, vmb_sink *out,
                         vmb_error **err)
{
    const cluster_kube *c = user;
    vmbi_kube_path path = {group, version, resource, ns, name, NULL};
    if (name == NULL) {
        return vmbi_fail(err, VMB_E_ARG, "get %s: no name", resource);
    }
    return vmbi_kube_get(c->kube, &path, &job->limits, to_sink(out), err);
}

static vmb_code kube_create(void *user, vmb_job *job, const char *group, const char *version,
                            const char *resource, const char *ns, const char *json, size_t len,
                            vmb_sink *out, vmb_error **err)
{
    const cluster_kube *c = user;
    vmbi_kube_path path = {group, version, resource, ns, NULL, NULL};
    return vmbi_kube_create(c->kube, &path, json, len, &job->limits, to_sink(out), err);
}

static vmb_code kube_patch(void *user, vmb_job *job, const char *group, const char *version,
                           const char *resource, const char *ns, const char *name,
                           const char *subresource, int32_t patch_kind, const char *json,
                           size_t len, vmb_sink *out, vmb_error **err)
{
    const cluster_kube *c = user;
    vmbi_kube_path path = {group, version, resource, ns, name, subresource};
    if (name == NULL || (patch_kind != VMB_PATCH_MERGE && patch_kind != VMB_PATCH_JSON)) {
        return vmbi_fail(err, VMB_E_ARG, "patch %s: no name, or patch kind %d is unknown",
                         resource, (int)patch_kind);
    }
    const char *type = patch_kind == VMB_PATCH_MERGE ? "application/merge-patch+json"
                                                     : "application/json-patch+json";
    return vmbi_kube_patch(c->kube, &path, type, json, len, &job->limits, to_sink(out), err);
}

static vmb_code kube_remove(void *user, vmb_job *job, const char *group, const char *version,
                            const char *resource, const char *ns, const char *name,
                            vmb_error **err)
{
    const cluster_kube *c = user;
    vmbi_kube_path path = {group, version, resource, ns, name, NULL};
    if (name == NULL) {
        return vmbi_fail(err, VMB_E_ARG, "delete %s: no name", resource);
    }
    return vmbi_kube_remove(c->kube, &path, &job->limits, err);
}

static vmb_code push_event(void *user, const char *type, const char *json, size_t len,
                           vmb_error **err)
{
    return vmb_watch_sink_push(user, type, json, len, err);
}

static vmb_code kube_watch(void *user, vmb_job *job, const char *group, const char *version,
                           const char *resource, const char *ns, const char *resource_version,
                           vmb_watch_sink *out, vmb_error **err)
{
    const cluster_kube *c = user;
    vmbi_kube_path path = {group, version, resource, ns, NULL, NULL};
    vmbi_kube_watch watch = {&path, resource_version};
    return vmbi_kube_watch_each(c->kube, &watch, &job->limits, push_event, out, err);
}

vmb_code vmbi_cluster_kube_new(const vmbi_json *settings, vmb_cluster_provider *out,
                               vmb_exec_provider *exec_out, vmb_error **err)
{
    vmbi_kube_settings s;
    vmb_code rc = vmbi_kube_settings_read(settings, &s, err);
    if (rc != VMB_OK) {
        return rc;
    }
    cluster_kube *c = vmbi_zalloc(sizeof(*c));
    if (c == NULL) {
        return vmbi_fail_nomem(err);
    }
    c->prefetch = s.prefetch;
    rc = vmbi_kube_new(&s.client, &c->kube, err);
    if (rc != VMB_OK) {
        vmbi_free(c);
        return rc;
    }
    if (exec_out != NULL) {
        vmbi_exec_kube_fill(c->kube, exec_out);
    }
    *out = (vmb_cluster_provider){
        .struct_size = sizeof(*out),
        .api_version = VMB_PROVIDER_API,
        .name = "kubernetes",
        .user = c,
        .destroy = kube_destroy,
        .discover = kube_discover,
        .list = kube_list,
        .get = kube_get,
        .create = kube_create,
        .patch = kube_patch,
        .remove = kube_remove,
        .watch = kube_watch,
    };
    return VMB_OK;
}
