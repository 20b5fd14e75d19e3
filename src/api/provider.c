/* SPDX-License-Identifier: Apache-2.0 */
/* What providers call back: jobs, sinks, the cluster, action results. */
#include <vmbackup/provider.h>

#include <string.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/job.h"
#include "core/action.h"
#include "core/cluster.h"

static vmb_code bad_arg(vmb_error **err, const char *function, const char *what)
{
    return vmbi_fail(err, VMB_E_ARG, "%s: %s", function, what);
}

/* ---- jobs ---------------------------------------------------------------------------------- */

int32_t vmb_job_cancelled(const vmb_job *job)
{
    return job != NULL && vmbi_limits_check(&job->limits, NULL, "") != VMB_OK ? 1 : 0;
}

int64_t vmb_job_remaining_ns(const vmb_job *job)
{
    return job != NULL ? vmbi_limits_remaining_ns(&job->limits) : -1;
}

int32_t vmb_job_cancel_fd(const vmb_job *job)
{
    return job != NULL ? vmbi_cancel_fd(job->limits.cancel) : -1;
}

vmb_code vmb_job_sleep(const vmb_job *job, int64_t ns, vmb_error **err)
{
    return vmbi_limits_sleep(job != NULL ? &job->limits : NULL, ns > 0 ? ns : 0, err, "wait");
}

void vmb_job_log(const vmb_job *job, int32_t level, const char *msg)
{
    if (job != NULL && job->log != NULL && msg != NULL && level >= VMB_LOG_DEBUG &&
        level <= VMB_LOG_ERROR) {
        job->log(job->log_user, level, msg);
    }
}

vmb_cluster *vmb_job_cluster(const vmb_job *job)
{
    return job != NULL ? job->cluster : NULL;
}

const char *vmb_job_backup_name(const vmb_job *job)
{
    return job != NULL && job->backup_name != NULL ? job->backup_name : "";
}

const char *vmb_job_backup_json(const vmb_job *job)
{
    return job != NULL ? job->backup_json : NULL;
}

/* ---- sinks --------------------------------------------------------------------------------- */

vmb_code vmb_sink_write(vmb_sink *sink, const void *data, size_t len, vmb_error **err)
{
    if (sink == NULL || (data == NULL && len != 0)) {
        return bad_arg(err, "vmb_sink_write", "sink or data is NULL");
    }
    return sink->write(sink->user, data, len, err);
}

vmb_code vmb_item_sink_push(vmb_item_sink *sink, const char *json, size_t len, vmb_error **err)
{
    if (sink == NULL || json == NULL) {
        return bad_arg(err, "vmb_item_sink_push", "sink or json is NULL");
    }
    return sink->push(sink->user, json, len, err);
}

vmb_code vmb_watch_sink_push(vmb_watch_sink *sink, const char *type, const char *json, size_t len,
                             vmb_error **err)
{
    if (sink == NULL || type == NULL || json == NULL) {
        return bad_arg(err, "vmb_watch_sink_push", "sink, type or json is NULL");
    }
    return sink->push(sink->user, type, json, len, err);
}

vmb_code vmb_key_sink_push(vmb_key_sink *sink, const char *key, int64_t size_bytes,
                           int64_t mtime_unix_ns, int32_t is_prefix, vmb_error **err)
{
    if (sink == NULL || key == NULL) {
        return bad_arg(err, "vmb_key_sink_push", "sink or key is NULL");
    }
    return sink->push(sink->user, key, size_bytes, mtime_unix_ns, is_prefix, err);
}

/* ---- cluster ------------------------------------------------------------------------------- */

/* Moves a result into the caller's outputs, either of which may be NULL. */
static vmb_code give(vmbi_buf *b, vmb_code rc, char **out, size_t *out_len, vmb_error **err)
{
    if (rc == VMB_OK && out != NULL) {
        rc = vmbi_buf_take(b, out, out_len, err, "object");
    }
    vmbi_buf_free(b);
    return rc;
}

static bool addressed(const vmb_cluster *c, const vmb_job *job, const char *group,
                      const char *resource)
{
    return c != NULL && job != NULL && group != NULL && resource != NULL && resource[0] != '\0';
}

vmb_code vmb_cluster_get(vmb_cluster *cluster, vmb_job *job, const char *group,
                         const char *version, const char *resource, const char *ns,
                         const char *name, char **out, size_t *out_len, vmb_error **err)
{
    if (!addressed(cluster, job, group, resource) || name == NULL || name[0] == '\0') {
        return bad_arg(err, "vmb_cluster_get", "cluster, job, group, resource or name is missing");
    }
    vmbi_buf b = VMBI_BUF_INIT(VMBI_OBJECT_MAX_BYTES);
    vmb_code rc = vmbi_cluster_get(cluster, job, group, version, resource, ns, name, &b, err);
    return give(&b, rc, out, out_len, err);
}

vmb_code vmb_cluster_list(vmb_cluster *cluster, vmb_job *job, const char *group,
                          const char *version, const char *resource, const char *ns,
                          const char *label_selector, char **out, size_t *out_len,
                          vmb_error **err)
{
    if (!addressed(cluster, job, group, resource)) {
        return bad_arg(err, "vmb_cluster_list", "cluster, job, group or resource is missing");
    }
    vmbi_buf b = VMBI_BUF_INIT(VMBI_OBJECT_MAX_BYTES);
    vmb_code rc = vmbi_cluster_list_array(cluster, job, group, version, resource, ns,
                                          label_selector, &b, err);
    return give(&b, rc, out, out_len, err);
}

vmb_code vmb_cluster_create(vmb_cluster *cluster, vmb_job *job, const char *group,
                            const char *version, const char *resource, const char *ns,
                            const char *json, size_t len, char **out, size_t *out_len,
                            vmb_error **err)
{
    if (!addressed(cluster, job, group, resource) || json == NULL) {
        return bad_arg(err, "vmb_cluster_create",
                       "cluster, job, group, resource or json is missing");
    }
    vmbi_buf b = VMBI_BUF_INIT(VMBI_OBJECT_MAX_BYTES);
    vmb_code rc =
        vmbi_cluster_create(cluster, job, group, version, resource, ns, json, len, &b, err);
    return give(&b, rc, out, out_len, err);
}

vmb_code vmb_cluster_patch(vmb_cluster *cluster, vmb_job *job, const char *group,
                           const char *version, const char *resource, const char *ns,
                           const char *name, const char *subresource, int32_t patch_kind,
                           const char *json, size_t len, char **out, size_t *out_len,
                           vmb_error **err)
{
    if (!addressed(cluster, job, group, resource) || name == NULL || json == NULL ||
        (patch_kind != VMB_PATCH_MERGE && patch_kind != VMB_PATCH_JSON)) {
        return bad_arg(err, "vmb_cluster_patch",
                       "cluster, job, group, resource, name, patch_kind or json is missing");
    }
    vmbi_buf b = VMBI_BUF_INIT(VMBI_OBJECT_MAX_BYTES);
    vmb_code rc = vmbi_cluster_patch(cluster, job, group, version, resource, ns, name, subresource,
                                     patch_kind, json, len, &b, err);
    return give(&b, rc, out, out_len, err);
}

vmb_code vmb_cluster_remove(vmb_cluster *cluster, vmb_job *job, const char *group,
                            const char *version, const char *resource, const char *ns,
                            const char *name, vmb_error **err)
{
    if (!addressed(cluster, job, group, resource) || name == NULL || name[0] == '\0') {
        return bad_arg(err, "vmb_cluster_remove",
                       "cluster, job, group, resource or name is missing");
    }
    return vmbi_cluster_remove(cluster, job, group, version, resource, ns, name, err);
}

int32_t vmb_cluster_serves(vmb_cluster *cluster, const char *group, const char *resource)
{
    return cluster != NULL && group != NULL && resource != NULL &&
                   vmbi_discovery_find(cluster->discovery, group, NULL, resource) != NULL
               ? 1
               : 0;
}

/* ---- action results ------------------------------------------------------------------------ */

vmb_code vmb_action_result_set_item(vmb_action_result *r, const char *json, size_t len,
                                    vmb_error **err)
{
    if (r == NULL || json == NULL) {
        return bad_arg(err, "vmb_action_result_set_item", "result or json is NULL");
    }
    return vmbi_action_result_set_item(r, json, len, err);
}

vmb_code vmb_action_result_add_related(vmb_action_result *r, const char *group,
                                       const char *resource, const char *ns, const char *name,
                                       uint32_t flags, vmb_error **err)
{
    if (r == NULL || group == NULL || resource == NULL || resource[0] == '\0' || name == NULL ||
        name[0] == '\0') {
        return bad_arg(err, "vmb_action_result_add_related",
                       "result, group, resource or name is missing");
    }
    return vmbi_action_result_add(r, group, resource, ns, name, flags, err);
}

void vmb_action_result_skip(vmb_action_result *r)
{
    if (r != NULL) {
        r->skip = true;
    }
}
