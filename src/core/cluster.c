/* SPDX-License-Identifier: Apache-2.0 */
#include "core/cluster.h"

#include <string.h>

#include "base/error.h"
#include "base/job.h"

vmb_code vmbi_cluster_open(vmb_cluster *c, const vmb_cluster_provider *provider,
                           int64_t timeout_ns, vmb_job *job, vmb_error **err)
{
    vmbi_buf doc = VMBI_BUF_INIT(VMBI_DISCOVERY_MAX_BYTES);
    struct vmb_sink sink = vmbi_sink_to_buf(&doc);
    vmb_job limited = *job;
    limited.limits = vmbi_limits_within(&job->limits, timeout_ns);
    vmb_code rc = provider->discover(provider->user, &limited, &sink, err);
    rc = vmbi_check_provider(err, rc, "discovery");
    vmbi_discovery *discovery = NULL;
    if (rc == VMB_OK) {
        rc = vmbi_discovery_parse(doc.data != NULL ? doc.data : "", doc.len, &discovery, err);
    }
    vmbi_buf_free(&doc);
    if (rc != VMB_OK) {
        return vmbi_wrap(err, rc, "discover what the cluster serves");
    }
    *c = (vmb_cluster){provider, discovery, timeout_ns};
    return VMB_OK;
}

void vmbi_cluster_close(vmb_cluster *c)
{
    vmbi_discovery_free(c->discovery);
    *c = (vmb_cluster){0};
}

const char *vmbi_cluster_version(const vmb_cluster *c, const char *group, const char *version,
                                 const char *resource)
{
    if (version != NULL) {
        return version;
    }
    const vmbi_resource *res = vmbi_discovery_find(c->discovery, group, NULL, resource);
    return res != NULL ? res->version : "v1";
}

/* What every single request needs: the caller's job with the request's own deadline. */
static vmb_job limit(const vmb_cluster *c, const vmb_job *job)
{
    vmb_job limited = *job;
    limited.limits = vmbi_limits_within(&job->limits, c->timeout_ns);
    return limited;
}

static vmb_code read_only(vmb_error **err, const char *verb, const char *resource)
{
    return vmbi_fail(err, VMB_E_UNSUPPORTED, "%s %s: the cluster is read-only", verb, resource);
}

vmb_code vmbi_cluster_get(vmb_cluster *c, vmb_job *job, const char *group, const char *version,
                          const char *resource, const char *ns, const char *name, vmbi_buf *out,
                          vmb_error **err)
{
    vmb_job limited = limit(c, job);
    struct vmb_sink sink = vmbi_sink_to_buf(out);
    vmb_code rc = c->provider->get(c->provider->user, &limited, group,
                                   vmbi_cluster_version(c, group, version, resource), resource, ns,
                                   name, &sink, err);
    return vmbi_check_provider(err, rc, "get an object");
}

vmb_code vmbi_cluster_list(vmb_cluster *c, vmb_job *job, const vmbi_resource *res, const char *ns,
                           const char *selector, int64_t page_size, vmb_item_sink *out,
                           vmb_error **err)
{
    vmb_code rc = c->provider->list(c->provider->user, job, res->group, res->version, res->name,
                                    ns, selector, page_size, out, err);
    return vmbi_check_provider(err, rc, "list objects");
}

vmb_code vmbi_cluster_create(vmb_cluster *c, vmb_job *job, const char *group, const char *version,
                             const char *resource, const char *ns, const char *json, size_t len,
                             vmbi_buf *out, vmb_error **err)
{
    if (c->provider->create == NULL) {
        return read_only(err, "create", resource);
    }
    vmb_job limited = limit(c, job);
    vmbi_buf scratch = VMBI_BUF_INIT(VMBI_OBJECT_MAX_BYTES);
    struct vmb_sink sink = vmbi_sink_to_buf(out != NULL ? out : &scratch);
    vmb_code rc = c->provider->create(c->provider->user, &limited, group,
                                      vmbi_cluster_version(c, group, version, resource), resource,
                                      ns, json, len, &sink, err);
    vmbi_buf_free(&scratch);
    return vmbi_check_provider(err, rc, "create an object");
}

vmb_code vmbi_cluster_patch(vmb_cluster *c, vmb_job *job, const char *group, const char *version,
                            const char *resource, const char *ns, const char *name,
                            const char *subresource, int32_t kind, const char *json, size_t len,
                            vmbi_buf *out, vmb_error **err)
{
    if (c->provider->patch == NULL) {
        return read_only(err, "patch", resource);
    }
    vmb_job limited = limit(c, job);
    vmbi_buf scratch = VMBI_BUF_INIT(VMBI_OBJECT_MAX_BYTES);
    struct vmb_sink sink = vmbi_sink_to_buf(out != NULL ? out : &scratch);
    vmb_code rc = c->provider->patch(c->provider->user, &limited, group,
                                     vmbi_cluster_version(c, group, version, resource), resource,
                                     ns, name, subresource, kind, json, len, &sink, err);
    vmbi_buf_free(&scratch);
    return vmbi_check_provider(err, rc, "patch an object");
}

vmb_code vmbi_cluster_remove(vmb_cluster *c, vmb_job *job, const char *group, const char *version,
                             const char *resource, const char *ns, const char *name,
                             vmb_error **err)
{
    if (c->provider->remove == NULL) {
        return read_only(err, "delete", resource);
    }
    vmb_job limited = limit(c, job);
    vmb_code rc = c->provider->remove(c->provider->user, &limited, group,
                                      vmbi_cluster_version(c, group, version, resource), resource,
                                      ns, name, err);
    return vmbi_check_provider(err, rc, "delete an object");
}

static vmb_code append_item(void *user, const char *json, size_t len, vmb_error **err)
{
    vmbi_buf *out = user;
    if (out->len > 1) {
        vmbi_buf_addc(out, ',');
    }
    vmbi_buf_add(out, json, len);
    return vmbi_buf_check(out, err, "list of objects");
}

vmb_code vmbi_cluster_list_array(vmb_cluster *c, vmb_job *job, const char *group,
                                 const char *version, const char *resource, const char *ns,
                                 const char *selector, vmbi_buf *out, vmb_error **err)
{
    struct vmb_item_sink sink = {append_item, out};
    vmb_job limited = limit(c, job);
    vmbi_buf_reset(out);
    vmbi_buf_addc(out, '[');
    vmb_code rc = c->provider->list(c->provider->user, &limited, group,
                                    vmbi_cluster_version(c, group, version, resource), resource,
                                    ns, selector, 0, &sink, err);
    rc = vmbi_check_provider(err, rc, "list objects");
    if (rc == VMB_OK) {
        vmbi_buf_addc(out, ']');
        rc = vmbi_buf_check(out, err, "list of objects");
    }
    return rc;
}
