/* SPDX-License-Identifier: Apache-2.0 */
/* What a backup has outside of its folder: snapshots in the storage, volumes in repositories. */
#include "core/catalog/parts.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/strs.h"
#include "model/labelname.h"

typedef struct finder {
    vmbi_backup_data *data;
    const char *backup;
    char label[VMBI_LABEL_NAME_SIZE];
} finder;

void vmbi_backup_data_free(vmbi_backup_data *d)
{
    vmbi_json_free(d->contents);
    vmbi_json_free(d->volumes);
    vmbi_json_free(d->native);
    *d = (vmbi_backup_data){0};
}

/* Was the object made by this backup? */
static bool is_labelled(const finder *f, const vmbi_json *object)
{
    const char *of = vmbi_json_get_str(vmbi_json_path(object, "metadata.labels"),
                                       "velero.io/backup-name");
    return of != NULL && (strcmp(of, f->label) == 0 || strcmp(of, f->backup) == 0);
}

/* A saved volume in the form that providers take: the resource's spec and status, and beside them
 * what a provider's own backup function writes. */
static vmb_code add_volume(finder *f, vmbi_json *object, const char *kind, const char *uploader,
                           vmb_error **err)
{
    static const char *const copied[] = {"spec", "status"};
    const vmbi_json *status = vmbi_json_get(object, "status");
    const char *id = vmbi_json_get_str(status, "snapshotID");
    const char *repo = vmbi_json_path_str(object, "spec.repoIdentifier");
    const char *path = vmbi_json_get_str(status, "path");
    const char *node = vmbi_json_path_str(object, "spec.node");
    vmbi_json *v = vmbi_json_object();
    bool ok = v != NULL && vmbi_json_set_str(v, "snapshotID", id) &&
              vmbi_json_set_str(v, "kind", kind) &&
              vmbi_json_set_str(v, "uploaderType", uploader) &&
              vmbi_json_set_str(v, "repoIdentifier", repo != NULL ? repo : "") &&
              vmbi_json_set_str(v, "path", path != NULL ? path : "") &&
              vmbi_json_set_str(v, "node", node != NULL ? node : "");
    for (size_t i = 0; i < VMBI_ARRAY_LEN(copied) && ok; i++) {
        vmbi_json *part = vmbi_json_get(object, copied[i]);
        ok = part == NULL || vmbi_json_set(v, copied[i], vmbi_json_ref(part));
    }
    if (!ok) {
        vmbi_json_free(v);
        return vmbi_fail_nomem(err);
    }
    return vmbi_json_append(f->data->volumes, v) ? VMB_OK : vmbi_fail_nomem(err);
}

static bool has_snapshot(const vmbi_json *object)
{
    const char *id = vmbi_json_path_str(object, "status.snapshotID");
    return id != NULL && id[0] != '\0';
}

/* ---- the archive --------------------------------------------------------------------------- */

static bool is_resource(const vmbi_archive_path *p, const char *name)
{
    return p->version.len == 0 && p->resource.len == strlen(name) &&
           memcmp(p->resource.p, name, p->resource.len) == 0;
}

static vmb_code take_entry(void *user, const char *path, const char *data, size_t len,
                           vmb_error **err)
{
    finder *f = user;
    vmbi_archive_path p;
    vmbi_json *object = NULL;
    bool content = false;
    bool moved = false;
    if (vmbi_archive_path_parse(path, &p)) {
        content = is_resource(&p, "volumesnapshotcontents.snapshot.storage.k8s.io");
        moved = is_resource(&p, "datauploads.velero.io");
    }
    if (!content && !moved) {
        return VMB_OK;
    }
    vmb_code rc = vmbi_json_parse(data, len, path, &object, err);
    if (rc == VMB_OK && content && is_labelled(f, object)) {
        rc = vmbi_json_append(f->data->contents, vmbi_json_ref(object)) ? VMB_OK
                                                                        : vmbi_fail_nomem(err);
    } else if (rc == VMB_OK && moved && is_labelled(f, object) && has_snapshot(object)) {
        rc = add_volume(f, object, "DataUpload", "kopia", err);
    }
    vmbi_json_free(object);
    return rc;
}

/* ---- side files ---------------------------------------------------------------------------- */

static vmb_code take_pod_volumes(finder *f, const vmbi_json *list, vmb_error **err)
{
    vmb_code rc = VMB_OK;
    for (size_t i = 0; i < vmbi_json_len(list) && rc == VMB_OK; i++) {
        vmbi_json *one = vmbi_json_at(list, i);
        const char *uploader = vmbi_json_path_str(one, "spec.uploaderType");
        if (has_snapshot(one)) {
            rc = add_volume(f, one, "PodVolumeBackup",
                            uploader != NULL && uploader[0] != '\0' ? uploader : "restic", err);
        }
    }
    return rc;
}

static vmb_code take_native(finder *f, const vmbi_json *list, vmb_error **err)
{
    for (size_t i = 0; i < vmbi_json_len(list); i++) {
        vmbi_json *one = vmbi_json_at(list, i);
        const char *id = vmbi_json_path_str(one, "status.providerSnapshotID");
        if (id != NULL && id[0] != '\0' &&
            !vmbi_json_append(f->data->native, vmbi_json_ref(one))) {
            return vmbi_fail_nomem(err);
        }
    }
    return VMB_OK;
}

vmb_code vmbi_backup_data_read(vmb_catalog *cat, const char *backup, vmbi_backup_data *out,
                               vmb_error **err)
{
    vmbi_backup_data data = {vmbi_json_array(), vmbi_json_array(), vmbi_json_array()};
    finder f = {.data = &data, .backup = backup};
    vmbi_json *pods = NULL;
    vmbi_json *native = NULL;
    vmb_error *why = NULL;
    vmbi_label_valid_name(backup, f.label);
    vmb_code rc = data.contents != NULL && data.volumes != NULL && data.native != NULL
                      ? vmbi_catalog_walk(cat, backup, take_entry, &f, NULL, &why)
                      : vmbi_fail_nomem(&why);
    if (rc == VMB_E_NOT_FOUND) { /* a backup that failed early has none */
        vmb_error_free(vmbi_steal(&why));
        rc = VMB_OK;
    }
    if (rc == VMB_OK) {
        rc = vmbi_catalog_read_json(cat, backup, VMB_FILE_POD_VOLUME_BACKUPS, &pods, &why);
    }
    if (rc == VMB_OK) {
        rc = take_pod_volumes(&f, pods, &why);
    }
    if (rc == VMB_OK) {
        rc = vmbi_catalog_read_json(cat, backup, VMB_FILE_VOLUME_SNAPSHOTS, &native, &why);
    }
    if (rc == VMB_OK) {
        rc = take_native(&f, native, &why);
    }
    vmbi_json_free(pods);
    vmbi_json_free(native);
    if (rc != VMB_OK) {
        vmbi_backup_data_free(&data);
        vmbi_error_move(err, &why);
        return rc;
    }
    *out = data;
    return VMB_OK;
}
