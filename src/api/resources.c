/* SPDX-License-Identifier: Apache-2.0 */
/* vmb_ctx_resources_json: Velero's resources as the cluster has them. */
#include <vmbackup/context.h>

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/job.h"
#include "core/backup.h"
#include "core/cluster.h"
#include "core/context.h"

enum { MAX_LIST_BYTES = 256 * 1024 * 1024 };

/* What lists leave out is known: their items come without kind and apiVersion. */
static const struct resource {
    const char *name;
    const char *kind;
    const char *version;
} resources[] = {
    {"backups", "Backup", "v1"},
    {"restores", "Restore", "v1"},
    {"schedules", "Schedule", "v1"},
    {"backupstoragelocations", "BackupStorageLocation", "v1"},
    {"volumesnapshotlocations", "VolumeSnapshotLocation", "v1"},
    {"backuprepositories", "BackupRepository", "v1"},
    {"deletebackuprequests", "DeleteBackupRequest", "v1"},
    {"downloadrequests", "DownloadRequest", "v1"},
    {"serverstatusrequests", "ServerStatusRequest", "v1"},
    {"podvolumebackups", "PodVolumeBackup", "v1"},
    {"podvolumerestores", "PodVolumeRestore", "v1"},
    {"datauploads", "DataUpload", "v2alpha1"},
    {"datadownloads", "DataDownload", "v2alpha1"},
};

static const struct resource *find(const char *name, vmb_error **err)
{
    for (size_t i = 0; i < VMBI_ARRAY_LEN(resources); i++) {
        if (strcmp(resources[i].name, name) == 0) {
            return &resources[i];
        }
    }
    (void)vmbi_fail(err, VMB_E_ARG, "\"%.63s\" is not the plural name of a kind of Velero", name);
    return NULL;
}

static bool set_type(vmbi_json *object, const struct resource *r)
{
    return vmbi_json_is_object(object) && vmbi_json_set_str(object, "kind", r->kind) &&
           vmbi_json_set_str(object, "apiVersion",
                             strcmp(r->version, "v1") == 0 ? "velero.io/v1"
                                                           : "velero.io/v2alpha1");
}

static const char *name_of(const vmbi_json *object)
{
    const char *name = vmbi_json_path_str(object, "metadata.name");
    return name != NULL ? name : "";
}

static int by_name(const void *a, const void *b)
{
    return strcmp(name_of(*(vmbi_json *const *)a), name_of(*(vmbi_json *const *)b));
}

/* Sorted, and every item with its type. */
static vmb_code arrange(const vmbi_json *list, const struct resource *r, vmbi_json **out,
                        vmb_error **err)
{
    size_t n = vmbi_json_len(list);
    vmbi_json **v = vmbi_zalloc((n + 1) * sizeof(vmbi_json *));
    vmbi_json *sorted = vmbi_json_array();
    bool ok = v != NULL && sorted != NULL;
    for (size_t i = 0; i < n && ok; i++) {
        v[i] = vmbi_json_at(list, i);
        ok = set_type(v[i], r);
    }
    if (ok) {
        qsort(v, n, sizeof(vmbi_json *), by_name);
    }
    for (size_t i = 0; i < n && ok; i++) {
        ok = vmbi_json_append(sorted, vmbi_json_ref(v[i]));
    }
    vmbi_free(v);
    if (!ok) {
        vmbi_json_free(sorted);
        return vmbi_fail_nomem(err);
    }
    *out = sorted;
    return VMB_OK;
}

static vmb_code read_resources(vmb_ctx *ctx, const struct resource *r, const char *name,
                               vmbi_json **out, vmb_error **err)
{
    vmb_cluster cluster = {&ctx->cluster, NULL, ctx->settings.resource_timeout_ns};
    vmb_job job = {0};
    vmbi_buf text = VMBI_BUF_INIT(MAX_LIST_BYTES);
    vmbi_json *doc = NULL;
    vmb_code rc = name != NULL
                      ? vmbi_cluster_get(&cluster, &job, "velero.io", r->version, r->name,
                                         ctx->settings.ns, name, &text, err)
                      : vmbi_cluster_list_array(&cluster, &job, "velero.io", r->version, r->name,
                                                ctx->settings.ns, NULL, &text, err);
    if (rc == VMB_OK) {
        rc = vmbi_json_parse(text.data != NULL ? text.data : "", text.len, r->name, &doc, err);
    }
    vmbi_buf_free(&text);
    if (rc == VMB_OK && name == NULL) {
        rc = arrange(doc, r, out, err);
        vmbi_json_free(doc);
    } else if (rc == VMB_OK) {
        *out = doc;
    }
    return rc;
}

vmb_code vmb_ctx_resources_json(vmb_ctx *ctx, const char *resource, const char *name, char **out,
                                size_t *out_len, vmb_error **err)
{
    if (ctx == NULL || resource == NULL || out == NULL) {
        return vmbi_fail(err, VMB_E_ARG, "vmb_ctx_resources_json: an argument is NULL");
    }
    if (name != NULL && !vmbi_item_name_ok(name)) {
        return vmbi_fail(err, VMB_E_ARG, "\"%.253s\" is not the name of an object", name);
    }
    vmbi_json *doc = NULL;
    vmb_code rc = vmbi_ctx_check(ctx, false, err);
    const struct resource *r = rc == VMB_OK ? find(resource, err) : NULL;
    if (r == NULL) {
        return rc != VMB_OK ? rc : VMB_E_ARG;
    }
    if (ctx->cluster.get == NULL) {
        return vmbi_fail(err, VMB_E_STATE, "vmb_ctx_resources_json: the context has no cluster");
    }
    vmbi_ctx_enter(ctx);
    rc = read_resources(ctx, r, name, &doc, err);
    vmbi_ctx_leave(ctx);
    if (rc != VMB_OK) {
        return vmbi_wrap(err, rc, "%s%s%s in namespace %s", resource, name != NULL ? " " : "",
                         name != NULL ? name : "", ctx->settings.ns);
    }
    rc = vmbi_json_to_text(doc, out, out_len, err);
    vmbi_json_free(doc);
    return rc;
}
