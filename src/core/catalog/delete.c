/* SPDX-License-Identifier: Apache-2.0 */
/* Deleting a backup. Whatever kills the process on the way: a backup is listed only while nothing of
 * it has been removed. So velero-backup.json goes first, into a file beside it under another name,
 * which is the last to be removed; who finds that file finds a deletion to take up. */
#include "core/catalog/parts.h"

#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/strs.h"
#include "core/backup.h"
#include "core/cluster.h"

static const char metadata_file[] = "velero-backup.json";

typedef struct deletion {
    vmb_catalog *cat;
    const char *backup;
    const vmbi_delete_options *o;
    vmb_job job;
    vmb_cluster cluster;
    bool connected;
    bool was_listed;    /* velero-backup.json was there when we came */
    bool resumed;       /* the file of an earlier deletion was there */
    vmbi_backup_data data;
    vmbi_json *errors;  /* strings */
    vmbi_json *restores;
    int64_t snapshots, volumes, files;
    bool deleted, listed;
} deletion;

/* ---- helpers ------------------------------------------------------------------------------- */

/* Keeps a failure for the report; what ends the whole deletion is returned. */
static vmb_code collect(deletion *d, vmb_code rc, vmb_error **why, vmb_error **err)
{
    if (rc == VMB_OK || rc == VMB_E_CANCELLED || rc == VMB_E_NOMEM) {
        vmbi_error_move(err, why);
        return rc;
    }
    bool ok = vmbi_json_append_str(d->errors, vmb_error_message(*why));
    vmb_error_free(vmbi_steal(why));
    return ok ? VMB_OK : vmbi_fail_nomem(err);
}

static vmb_code exists(deletion *d, const char *file, bool *yes, vmb_error **err)
{
    vmbi_buf path = VMBI_BUF_INIT(1024);
    vmb_code rc = vmbi_backup_file(d->backup, file, &path, err);
    if (rc == VMB_OK) {
        rc = vmbi_store_exists(&d->cat->store, &d->job, path.data, yes, NULL, err);
    }
    vmbi_buf_free(&path);
    return rc;
}

static vmb_code move_file(deletion *d, const char *from, const char *to, vmb_error **err)
{
    vmbi_buf path = VMBI_BUF_INIT(1024);
    vmbi_buf text = VMBI_BUF_INIT(VMBI_CATALOG_MAX_METADATA);
    const vmbi_store *s = &d->cat->store;
    vmb_code rc = vmbi_backup_file(d->backup, from, &path, err);
    if (rc == VMB_OK) {
        rc = vmbi_store_get(s, &d->job, path.data, &text, err);
    }
    if (rc == VMB_OK) {
        rc = vmbi_backup_file(d->backup, to, &path, err);
    }
    if (rc == VMB_OK) {
        rc = vmbi_store_put(s, &d->job, path.data, text.data != NULL ? text.data : "", text.len, 0,
                            err);
    }
    if (rc == VMB_OK) {
        rc = vmbi_backup_file(d->backup, from, &path, err);
    }
    if (rc == VMB_OK) {
        rc = vmbi_store_remove(s, &d->job, path.data, err);
    }
    vmbi_buf_free(&text);
    vmbi_buf_free(&path);
    return rc;
}

/* ---- what there is to delete ---------------------------------------------------------------- */

/* A folder that never was a backup may be one that is being written. */
static vmb_code check_orphan(deletion *d, const vmbi_catalog_keys *keys, vmb_error **err)
{
    int64_t newest = 0;
    if (keys->n == 0 || !d->o->orphan) {
        return vmbi_fail(err, VMB_E_NOT_FOUND, "backup %s does not exist in location %s%s",
                         d->backup, d->cat->store.location->name,
                         keys->n > 0 ? "; files without velero-backup.json lie there" : "");
    }
    for (size_t i = 0; i < keys->n; i++) {
        int64_t mtime = keys->v[i].mtime_unix_ns;
        newest = mtime < 0 ? INT64_MAX : mtime > newest ? mtime : newest;
    }
    if (d->o->older_than_ns > 0 && newest > vmbi_unix_ns() - d->o->older_than_ns) {
        return vmbi_fail(err, VMB_E_STATE,
                         "%s in location %s changed too lately: it may be a backup that is being "
                         "written", d->backup, d->cat->store.location->name);
    }
    return VMB_OK;
}

static vmb_code look(deletion *d, vmb_error **err)
{
    vmbi_buf folder = VMBI_BUF_INIT(1024);
    vmbi_catalog_keys keys = {0};
    vmb_code rc = exists(d, metadata_file, &d->was_listed, err);
    if (rc == VMB_OK) {
        rc = exists(d, VMBI_CATALOG_DELETING, &d->resumed, err);
    }
    if (rc == VMB_OK && !d->was_listed && !d->resumed) {
        rc = vmbi_backup_file(d->backup, "", &folder, err);
        if (rc == VMB_OK) {
            rc = vmbi_catalog_keys_of(d->cat, folder.data, &keys, err);
        }
        if (rc == VMB_OK) {
            rc = check_orphan(d, &keys, err);
        }
    }
    vmbi_catalog_keys_free(&keys);
    vmbi_buf_free(&folder);
    return rc;
}

/* Velero gives up on a damaged archive as well: what it speaks of would be forgotten. */
static vmb_code read_data(deletion *d, vmb_error **err)
{
    vmb_error *why = NULL;
    vmb_code rc = vmbi_backup_data_read(d->cat, d->backup, &d->data, &why);
    return collect(d, rc, &why, err);
}

static vmb_code connect(deletion *d, vmb_error **err)
{
    const vmb_ctx *ctx = d->cat->ctx;
    vmb_error *why = NULL;
    if (ctx->cluster.get == NULL) {
        return VMB_OK;
    }
    vmb_code rc = vmbi_cluster_open(&d->cluster, &ctx->cluster, ctx->settings.resource_timeout_ns,
                                    &d->job, &why);
    d->connected = rc == VMB_OK;
    d->job.cluster = d->connected ? &d->cluster : NULL;
    return collect(d, rc, &why, err);
}

static vmb_code complain(deletion *d, const char *fmt, size_t n, const char *rest, vmb_error **err)
{
    vmb_error *why = NULL;
    vmb_code rc = vmbi_fail(&why, VMB_E_STATE, "%zu %s %s", n, fmt, rest);
    return collect(d, rc, &why, err);
}

/* What cannot be removed with what is registered is told before anything is touched. */
static vmb_code check_means(deletion *d, vmb_error **err)
{
    const vmb_ctx *ctx = d->cat->ctx;
    size_t contents = vmbi_json_len(d->data.contents);
    size_t volumes = vmbi_json_len(d->data.volumes);
    size_t native = vmbi_json_len(d->data.native);
    bool can_remove = false;
    vmb_code rc = VMB_OK;
    for (size_t i = 0; i < ctx->n_volumes; i++) {
        can_remove = can_remove || ctx->volumes[i].remove != NULL;
    }
    if (contents > 0 && ctx->cluster.get == NULL) {
        rc = complain(d, "CSI snapshots:", contents, "they are removed through a cluster, and there "
                      "is none", err);
    } else if (contents > 0 && d->connected &&
               (ctx->cluster.create == NULL || ctx->cluster.patch == NULL ||
                ctx->cluster.remove == NULL)) {
        rc = complain(d, "CSI snapshots:", contents, "the cluster is read-only", err);
    }
    if (rc == VMB_OK && volumes > 0 && !can_remove) {
        rc = complain(d, "volumes in repositories:", volumes, "no volume provider can remove them",
                      err);
    }
    if (rc == VMB_OK && native > 0) {
        rc = complain(d, "native snapshots:", native, "only Velero's plugin that made them can "
                      "remove them", err);
    }
    return rc;
}

/* ---- removing ------------------------------------------------------------------------------ */

static vmb_code drop_contents(deletion *d, vmb_error **err)
{
    vmb_code rc = VMB_OK;
    for (size_t i = 0; i < vmbi_json_len(d->data.contents) && rc == VMB_OK && d->connected; i++) {
        vmb_error *why = NULL;
        rc = vmbi_catalog_drop_content(d->cat, &d->job, vmbi_json_at(d->data.contents, i),
                                       d->backup, &why);
        d->snapshots += rc == VMB_OK ? 1 : 0;
        rc = collect(d, rc, &why, err);
    }
    return rc;
}

static vmb_code drop_volume(deletion *d, const vmbi_json *volume, vmb_error **err)
{
    vmb_ctx *ctx = d->cat->ctx;
    char *text = NULL;
    size_t len = 0;
    vmb_code rc = vmbi_json_to_text(volume, &text, &len, err);
    bool known = rc != VMB_OK;
    for (size_t i = 0; i < ctx->n_volumes && !known; i++) {
        const vmb_volume_provider *p = &ctx->volumes[i];
        vmb_error *why = NULL;
        if (p->remove == NULL) {
            continue;
        }
        rc = p->remove(p->user, &d->job, text, len, &why);
        rc = vmbi_check_provider(&why, rc, "remove a volume from its repository");
        known = rc != VMB_E_UNSUPPORTED;
        if (known) {
            vmbi_error_move(err, &why);
        }
        vmb_error_free(why);
    }
    if (!known) {
        rc = vmbi_fail(err, VMB_E_UNSUPPORTED, "no volume provider can remove it");
    }
    vmb_free(text);
    return rc != VMB_OK ? vmbi_wrap(err, rc, "volume snapshot %s",
                                    vmbi_json_get_str(volume, "snapshotID"))
                        : VMB_OK;
}

static vmb_code drop_volumes(deletion *d, vmb_error **err)
{
    vmb_code rc = VMB_OK;
    for (size_t i = 0; i < vmbi_json_len(d->data.volumes) && rc == VMB_OK; i++) {
        vmb_error *why = NULL;
        rc = drop_volume(d, vmbi_json_at(d->data.volumes, i), &why);
        d->volumes += rc == VMB_OK ? 1 : 0;
        rc = collect(d, rc, &why, err);
    }
    return rc;
}

static vmb_code remove_folder(vmb_catalog *cat, vmb_job *job, const char *folder, const char *last,
                              int64_t *files, vmb_error **err)
{
    vmbi_catalog_keys keys = {0};
    vmb_code rc = vmbi_catalog_keys_of(cat, folder, &keys, err);
    size_t len = strlen(folder);
    const char *kept = NULL;
    for (size_t i = 0; i < keys.n && rc == VMB_OK; i++) {
        if (last != NULL && strcmp(keys.v[i].path + len, last) == 0) {
            kept = keys.v[i].path;
            continue;
        }
        rc = vmbi_store_remove(&cat->store, job, keys.v[i].path, err);
        *files += rc == VMB_OK ? 1 : 0;
    }
    if (rc == VMB_OK && kept != NULL) {
        rc = vmbi_store_remove(&cat->store, job, kept, err);
        *files += rc == VMB_OK ? 1 : 0;
    }
    vmbi_catalog_keys_free(&keys);
    return rc;
}

vmb_code vmbi_catalog_remove_restore(vmb_catalog *cat, const char *restore, vmb_error **err)
{
    vmbi_buf folder = VMBI_BUF_INIT(1024);
    vmb_job job = vmbi_catalog_job(cat);
    int64_t files = 0;
    if (cat->store.location->read_only) {
        return vmbi_fail(err, VMB_E_DENIED, "location %s is read-only", cat->store.location->name);
    }
    vmbi_buf_addf(&folder, "restores/%s/", restore);
    vmb_code rc = vmbi_buf_check(&folder, err, "store key");
    if (rc == VMB_OK) {
        rc = remove_folder(cat, &job, folder.data, NULL, &files, err);
    }
    vmbi_buf_free(&folder);
    return rc;
}

static vmb_code remove_files(deletion *d, vmb_error **err)
{
    vmbi_buf folder = VMBI_BUF_INIT(1024);
    vmb_code rc = vmbi_backup_file(d->backup, "", &folder, err);
    if (rc == VMB_OK) {
        rc = remove_folder(d->cat, &d->job, folder.data, VMBI_CATALOG_DELETING, &d->files, err);
    }
    d->deleted = rc == VMB_OK;
    vmbi_buf_free(&folder);
    return rc;
}

/* ---- restores ------------------------------------------------------------------------------ */

/* object: it is in the cluster. */
static vmb_code remove_one_restore(deletion *d, const char *name, bool object, vmb_error **err)
{
    vmb_error *why = NULL;
    vmb_code rc = vmbi_catalog_remove_restore(d->cat, name, &why);
    if (rc == VMB_OK && object && d->cat->ctx->cluster.remove != NULL) {
        rc = vmbi_cluster_remove(&d->cluster, &d->job, "velero.io", NULL, "restores",
                                 d->cat->ctx->settings.ns, name, &why);
        if (rc == VMB_E_NOT_FOUND) {
            vmb_error_free(vmbi_steal(&why));
            rc = VMB_OK;
        }
    }
    if (rc == VMB_OK && !vmbi_json_append_str(d->restores, name)) {
        return vmbi_fail_nomem(err);
    }
    return collect(d, rc, &why, err);
}

static vmb_code remove_listed(deletion *d, const vmbi_json *list, bool objects, vmb_error **err)
{
    vmb_code rc = VMB_OK;
    for (size_t i = 0; i < vmbi_json_len(list) && rc == VMB_OK; i++) {
        const vmbi_json *one = vmbi_json_at(list, i);
        const char *name = vmbi_json_path_str(one, "metadata.name");
        if (vmbi_streq(vmbi_json_path_str(one, "spec.backupName"), d->backup) && name != NULL &&
            vmbi_item_name_ok(name)) {
            rc = remove_one_restore(d, name, objects, err);
        }
    }
    return rc;
}

/* Those that the location alone knows: of programs, without an object in the cluster. */
static vmb_code remove_recorded(deletion *d, vmb_error **err)
{
    vmbi_json *list = NULL;
    vmb_error *why = NULL;
    vmb_code rc = vmbi_catalog_restores(d->cat, &list, &why);
    rc = collect(d, rc, &why, err);
    if (rc == VMB_OK) {
        rc = remove_listed(d, list, false, err);
    }
    vmbi_json_free(list);
    return rc;
}

static vmb_code remove_restores(deletion *d, vmb_error **err)
{
    vmbi_buf text = VMBI_BUF_INIT(VMBI_CATALOG_MAX_DOCUMENT);
    vmbi_json *list = NULL;
    vmb_error *why = NULL;
    if (!d->connected || d->o->keep_restores) {
        return VMB_OK;
    }
    vmb_code rc = vmbi_cluster_list_array(&d->cluster, &d->job, "velero.io", NULL, "restores",
                                          d->cat->ctx->settings.ns, NULL, &text, &why);
    if (rc == VMB_E_NOT_FOUND) { /* a cluster without Velero's resources */
        vmb_error_free(vmbi_steal(&why));
        vmbi_buf_free(&text);
        return VMB_OK;
    }
    if (rc == VMB_OK && text.len > 0) {
        rc = vmbi_json_parse(text.data, text.len, "list of restores", &list, &why);
    }
    rc = collect(d, rc, &why, err);
    if (rc == VMB_OK) {
        rc = remove_listed(d, list, true, err);
    }
    vmbi_json_free(list);
    vmbi_buf_free(&text);
    return rc;
}

/* ---- the whole ----------------------------------------------------------------------------- */

/* Errors stand in the way: the backup is listed again when nothing of it has been removed, neither
 * now nor by an earlier deletion. */
static vmb_code keep(deletion *d, bool hidden, vmb_error **err)
{
    d->listed = d->was_listed && (!hidden || d->snapshots + d->volumes == 0);
    if (hidden && d->listed) {
        return move_file(d, VMBI_CATALOG_DELETING, metadata_file, err);
    }
    return VMB_OK;
}

static vmb_code work(deletion *d, vmb_error **err)
{
    vmb_code rc = look(d, err);
    if (rc == VMB_OK) {
        rc = read_data(d, err);
    }
    if (rc == VMB_OK) {
        rc = connect(d, err);
    }
    if (rc == VMB_OK) {
        rc = check_means(d, err);
    }
    if (rc == VMB_OK && vmbi_json_len(d->errors) > 0 && !d->o->force) {
        return keep(d, false, err);
    }
    if (rc == VMB_OK && d->was_listed) {
        rc = move_file(d, metadata_file, VMBI_CATALOG_DELETING, err);
    }
    if (rc == VMB_OK) {
        rc = drop_contents(d, err);
    }
    if (rc == VMB_OK) {
        rc = drop_volumes(d, err);
    }
    if (rc == VMB_OK && vmbi_json_len(d->errors) > 0 && !d->o->force) {
        return keep(d, true, err);
    }
    if (rc == VMB_OK) {
        rc = remove_files(d, err);
    }
    if (rc == VMB_OK) {
        rc = remove_restores(d, err);
    }
    return rc == VMB_OK && !d->o->keep_restores ? remove_recorded(d, err) : rc;
}

static vmb_code report(deletion *d, vmbi_json **out, vmb_error **err)
{
    vmbi_json *r = vmbi_json_object();
    bool ok = r != NULL && vmbi_json_set_str(r, "backup", d->backup) &&
              vmbi_json_set_bool(r, "deleted", d->deleted) &&
              vmbi_json_set_bool(r, "listed", d->listed) &&
              vmbi_json_set(r, "errors", vmbi_json_ref(d->errors)) &&
              vmbi_json_set_int(r, "snapshots", d->snapshots) &&
              vmbi_json_set_int(r, "volumes", d->volumes) &&
              vmbi_json_set(r, "restores", vmbi_json_ref(d->restores)) &&
              vmbi_json_set_int(r, "files", d->files);
    if (!ok) {
        vmbi_json_free(r);
        return vmbi_fail_nomem(err);
    }
    *out = r;
    return VMB_OK;
}

vmb_code vmbi_catalog_delete(vmb_catalog *cat, const char *backup, const vmbi_delete_options *o,
                             vmbi_json **out, vmb_error **err)
{
    deletion d = {.cat = cat, .backup = backup, .o = o, .job = vmbi_catalog_job(cat),
                  .errors = vmbi_json_array(), .restores = vmbi_json_array()};
    vmb_code rc = d.errors != NULL && d.restores != NULL ? VMB_OK : vmbi_fail_nomem(err);
    d.job.backup_name = backup;
    if (rc == VMB_OK && cat->store.location->read_only) {
        rc = vmbi_fail(err, VMB_E_DENIED, "location %s is read-only", cat->store.location->name);
    }
    if (rc == VMB_OK) {
        rc = work(&d, err);
    }
    if (rc == VMB_OK && out != NULL) {
        rc = report(&d, out, err);
    }
    if (d.connected) {
        vmbi_cluster_close(&d.cluster);
    }
    vmbi_backup_data_free(&d.data);
    vmbi_json_free(d.errors);
    vmbi_json_free(d.restores);
    return rc;
}
