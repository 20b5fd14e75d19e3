/* SPDX-License-Identifier: Apache-2.0 */
/* What a restore leaves in the store, in Velero's names and forms. */
#include "core/restore/restore.h"

#include <string.h>

#include "base/error.h"
#include "core/catalog.h"

enum { MAX_FILE = 512 * 1024 * 1024 };

vmb_code vmbi_restore_file(const char *restore, const char *prefix, const char *suffix,
                           vmbi_buf *out, vmb_error **err)
{
    vmbi_buf_reset(out);
    vmbi_buf_addf(out, "restores/%s/%s%s%s", restore, prefix, restore, suffix);
    return vmbi_buf_check(out, err, "store key");
}

static vmb_code put(vmbi_restore *r, const char *prefix, const char *suffix, const void *data,
                    size_t len, vmb_error **err)
{
    vmbi_buf path = VMBI_BUF_INIT(1024);
    vmb_code rc = vmbi_restore_file(r->name, prefix, suffix, &path, err);
    if (rc == VMB_OK) {
        rc = vmbi_store_put(&r->store, &r->job, path.data, data, len, 0, err);
    }
    if (rc == VMB_OK) {
        vmbi_events_emit(r->events, VMB_EVENT_STORED, VMB_LOG_INFO, path.data, "", (int64_t)len,
                         -1);
    }
    vmbi_buf_free(&path);
    return rc;
}

static vmb_code put_text(vmbi_restore *r, const char *prefix, const char *suffix, vmbi_buf *text,
                         vmb_error **err)
{
    vmbi_buf packed = VMBI_BUF_INIT(MAX_FILE);
    vmbi_buf_addc(text, '\n');
    vmb_code rc = vmbi_buf_check(text, err, suffix);
    if (rc == VMB_OK) {
        rc = vmbi_gzip_buf(text->data, text->len, &packed, err);
    }
    if (rc == VMB_OK) {
        rc = put(r, prefix, suffix, packed.data, packed.len, err);
    }
    vmbi_buf_free(&packed);
    return rc;
}

static vmb_code put_json(vmbi_restore *r, const char *prefix, const char *suffix,
                         const vmbi_json *doc, vmb_error **err)
{
    vmbi_buf text = VMBI_BUF_INIT(MAX_FILE);
    vmb_code rc = doc != NULL ? vmbi_json_print(doc, &text, err) : vmbi_fail_nomem(err);
    if (rc == VMB_OK) {
        rc = put_text(r, prefix, suffix, &text, err);
    }
    vmbi_buf_free(&text);
    return rc;
}

static vmb_code put_list(vmbi_restore *r, vmb_error **err)
{
    vmbi_buf text = VMBI_BUF_INIT(MAX_FILE);
    vmb_code rc = vmbi_restore_list(r, &text, err);
    if (rc == VMB_OK) {
        rc = put_text(r, "restore-", "-resource-list.json.gz", &text, err);
    }
    vmbi_buf_free(&text);
    return rc;
}

/* The names of volumes that were provisioned are known by now. */
static void fill_volume_names(vmbi_restore *r)
{
    for (size_t i = 0; i < vmbi_json_len(r->volumes); i++) {
        vmbi_json *e = vmbi_json_at(r->volumes, i);
        const char *ns = vmbi_json_get_str(e, "pvcNamespace");
        const char *claim = vmbi_json_get_str(e, "pvcName");
        vmbi_buf text = VMBI_BUF_INIT(VMBI_OBJECT_MAX_BYTES);
        vmbi_json *pvc = NULL;
        if (vmbi_json_get(e, "pvName") == NULL && ns != NULL && claim != NULL &&
            vmbi_cluster_get(&r->cluster, &r->job, "", "v1", "persistentvolumeclaims", ns, claim,
                             &text, NULL) == VMB_OK) {
            (void)vmbi_json_parse(text.data, text.len, claim, &pvc, NULL);
        }
        const char *volume = vmbi_json_path_str(pvc, "spec.volumeName");
        if (vmbi_json_get(e, "pvName") == NULL) {
            (void)vmbi_json_set_str(e, "pvName", volume != NULL ? volume : ""); /* a courtesy */
        }
        vmbi_json_free(pvc);
        vmbi_buf_free(&text);
    }
}

/* The Restore itself, which Velero has in the cluster only: so that a store alone tells of it. */
static vmb_code put_resource(vmbi_restore *r, vmb_error **err)
{
    vmbi_buf path = VMBI_BUF_INIT(1024);
    vmbi_buf text = VMBI_BUF_INIT(MAX_FILE);
    vmb_code rc = vmbi_json_print(r->resource, &text, err);
    if (rc == VMB_OK) {
        vmbi_buf_addf(&path, "restores/%s/" VMBI_CATALOG_RESTORE, r->name);
        rc = vmbi_buf_check(&path, err, "store key");
    }
    if (rc == VMB_OK) {
        rc = vmbi_store_put(&r->store, &r->job, path.data, text.data, text.len, 0, err);
    }
    vmbi_buf_free(&path);
    vmbi_buf_free(&text);
    return rc;
}

/* Velero's order: log, results, resource list, operations, volumes. */
vmb_code vmbi_restore_put_files(vmbi_restore *r, vmb_error **err)
{
    vmbi_json *none = vmbi_json_array();
    fill_volume_names(r);
    vmb_code rc = vmbi_runlog_finish(&r->log, err);
    if (rc == VMB_OK) {
        rc = put(r, "restore-", "-logs.gz", r->log.packed.data, r->log.packed.len, err);
    }
    if (rc == VMB_OK) {
        rc = put_json(r, "restore-", "-results.gz", r->log.results, err);
    }
    if (rc == VMB_OK) {
        rc = put_list(r, err);
    }
    if (rc == VMB_OK) {
        rc = put_json(r, "restore-", "-itemoperations.json.gz", none, err);
    }
    if (rc == VMB_OK) {
        rc = put_json(r, "", "-volumeinfo.json.gz", r->volumes, err);
    }
    if (rc == VMB_OK) {
        rc = put_resource(r, err);
    }
    vmbi_json_free(none);
    return rc;
}
