/* SPDX-License-Identifier: Apache-2.0 */
/* VolumeSnapshotLocations of a backup: chosen and written into its spec as Velero does it. They tell
 * Velero's snapshot plugins where to work; CSI, through which snapshots are taken here, has no use
 * for them. */
#include "core/backup.h"

#include "base/alloc.h"
#include "base/error.h"
#include "model/snapshot_location.h"

enum { MAX_BYTES = 16 * 1024 * 1024 };

/* All that the namespace holds; an empty array where the cluster does not know the kind. */
static vmb_code read_all(vmbi_backup *b, vmbi_json **out, vmb_error **err)
{
    vmbi_buf text = VMBI_BUF_INIT(MAX_BYTES);
    vmb_code rc = VMB_OK;
    if (vmbi_discovery_find(b->cluster.discovery, "velero.io", NULL, "volumesnapshotlocations") ==
        NULL) {
        vmbi_buf_adds(&text, "[]");
    } else {
        rc = vmbi_cluster_list_array(&b->cluster, &b->job, "velero.io", NULL,
                                     "volumesnapshotlocations", b->ctx->settings.ns, NULL, &text,
                                     err);
    }
    if (rc == VMB_OK) {
        rc = vmbi_json_parse(text.data != NULL ? text.data : "", text.len,
                             "list of volume snapshot locations", out, err);
    }
    vmbi_buf_free(&text);
    return rc;
}

/* The spec names what was chosen, as Velero's does. */
static vmb_code write_names(vmbi_backup *b, vmb_error **err)
{
    vmbi_json *names = vmbi_json_array();
    bool ok = names != NULL;
    for (size_t i = 0; i < vmbi_json_len(b->snapshot_locations) && ok; i++) {
        ok = vmbi_json_append_str(names, vmbi_json_path_str(vmbi_json_at(b->snapshot_locations, i),
                                                            "metadata.name"));
    }
    vmbi_json *spec = vmbi_json_get(b->resource, "spec");
    if (ok && vmbi_json_len(names) > 0) {
        return vmbi_json_set(spec, "volumeSnapshotLocations", names) ? VMB_OK
                                                                     : vmbi_fail_nomem(err);
    }
    vmbi_json_free(names);
    vmbi_json_del(spec, "volumeSnapshotLocations");
    return ok ? VMB_OK : vmbi_fail_nomem(err);
}

vmb_code vmbi_snapshot_locations_load(vmbi_backup *b, vmbi_problems *problems, vmb_error **err)
{
    const vmbi_json *wanted = vmbi_json_path(b->resource, "spec.volumeSnapshotLocations");
    vmb_error *why = NULL;
    vmbi_json *all = NULL;
    size_t errors = problems->errors;
    vmb_code rc = read_all(b, &all, &why);
    if (rc == VMB_E_DENIED) {
        if (vmbi_json_len(wanted) > 0) {
            vmbi_problems_add(problems, true, "spec.volumeSnapshotLocations", NULL,
                              "the volume snapshot locations cannot be read: %s",
                              vmb_error_message(why));
        } /* else nothing of it matters to snapshots through CSI */
        vmb_error_free(why);
        return problems->status;
    }
    if (rc == VMB_OK) {
        rc = vmbi_snapshot_locations_choose(all, wanted, b->ctx->settings.snapshot_locations,
                                            &b->snapshot_locations, problems, &why);
    }
    if (rc == VMB_OK && problems->errors == errors) {
        rc = write_names(b, &why);
    }
    vmbi_json_free(all);
    vmbi_error_move(err, &why);
    return rc;
}

/* A volume that Velero would have saved through a plugin is not left out in silence. */
vmb_code vmbi_snapshot_refuse_native(const vmbi_backup *b, const vmbi_json *pv, vmb_error **err)
{
    const vmbi_json *l = vmbi_snapshot_location_of(b->snapshot_locations, pv);
    if (l == NULL) {
        return VMB_OK;
    }
    return vmbi_fail(err, VMB_E_UNSUPPORTED,
                     "its snapshot would be one of the provider %s, through the volume snapshot "
                     "location %s; snapshots are taken through CSI only: move the volume to a CSI "
                     "driver, or give it to filesystem backup",
                     vmbi_json_path_str(l, "spec.provider"),
                     vmbi_json_path_str(l, "metadata.name"));
}
