/* SPDX-License-Identifier: Apache-2.0 */
/* The small requests of clients: DownloadRequest, ServerStatusRequest, BackupRepository. */
#include "core/control/control.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "core/store.h"

#define LINK_NS (600 * VMBI_SECOND)
#define STATUS_LIFE_NS (60 * VMBI_SECOND)
#define REPOSITORY_NS (60 * VMBI_SECOND) /* between looks at one that is not ready */

enum { URL_MAX_BYTES = 64 * 1024 };

/* Reads the object; *tree NULL with VMB_OK: it is gone. */
static vmb_code read_object(vmb_control *c, vmbi_kind_id kind, const char *name, vmbi_json **tree,
                            vmb_error **err)
{
    vmb_error *why = NULL;
    vmb_code rc = vmbi_object_get(c, kind, name, tree, &why);
    if (rc == VMB_E_NOT_FOUND) {
        vmb_error_free(why);
        return VMB_OK;
    }
    vmbi_error_move(err, &why);
    return rc;
}

/* ---- downloads ---------------------------------------------------------------------------- */

/* Where the file of a target lies, "%s" being the name; and whether it is a restore's. */
static const struct {
    const char *kind;
    const char *path;
    bool of_restore;
} targets[] = {
    {"BackupLog", "backups/%s/%s-logs.gz", false},
    {"BackupContents", "backups/%s/%s.tar.gz", false},
    {"BackupVolumeSnapshots", "backups/%s/%s-volumesnapshots.json.gz", false},
    {"BackupItemOperations", "backups/%s/%s-itemoperations.json.gz", false},
    {"BackupResourceList", "backups/%s/%s-resource-list.json.gz", false},
    {"BackupResults", "backups/%s/%s-results.gz", false},
    {"BackupVolumeInfos", "backups/%s/%s-volumeinfo.json.gz", false},
    {"CSIBackupVolumeSnapshots", "backups/%s/%s-csi-volumesnapshots.json.gz", false},
    {"CSIBackupVolumeSnapshotContents", "backups/%s/%s-csi-volumesnapshotcontents.json.gz", false},
    {"RestoreLog", "restores/%s/restore-%s-logs.gz", true},
    {"RestoreResults", "restores/%s/restore-%s-results.gz", true},
    {"RestoreResourceList", "restores/%s/restore-%s-resource-list.json.gz", true},
    {"RestoreItemOperations", "restores/%s/restore-%s-itemoperations.json.gz", true},
    {"RestoreVolumeInfo", "restores/%s/%s-volumeinfo.json.gz", true},
};

static vmb_code put_name(const char *path, const char *name, vmbi_buf *out, vmb_error **err)
{
    if (name[0] == '\0' || strchr(name, '/') != NULL) {
        return vmbi_fail(err, VMB_E_INVALID, "spec.target.name: \"%s\" is no name", name);
    }
    for (const char *p = path; *p != '\0'; p++) {
        if (p[0] == '%' && p[1] == 's') {
            vmbi_buf_adds(out, name);
            p++;
        } else {
            vmbi_buf_addc(out, *p);
        }
    }
    return vmbi_buf_check(out, err, "name of a file");
}

/* The location of the backup, or of the restore's backup. */
static vmb_code find_location(vmb_control *c, const char *name, bool of_restore, vmbi_located *out,
                              vmb_error **err)
{
    vmbi_json *restore = NULL;
    vmbi_json *backup = NULL;
    vmb_code rc = VMB_OK;
    if (of_restore) {
        rc = vmbi_object_get(c, VMBI_KIND_RESTORE, name, &restore, err);
        name = vmbi_json_path_str(restore, "spec.backupName");
        name = name != NULL ? name : "";
    }
    if (rc == VMB_OK) {
        rc = vmbi_object_get(c, VMBI_KIND_BACKUP, name, &backup, err);
    }
    if (rc == VMB_OK) {
        rc = vmbi_locate(c, vmbi_json_path_str(backup, "spec.storageLocation"), out, err);
    }
    vmbi_json_free(restore);
    vmbi_json_free(backup);
    return rc;
}

static vmb_code make_link(vmb_control *c, const vmbi_json *tree, vmbi_buf *url, vmb_error **err)
{
    const char *kind = vmbi_json_path_str(tree, "spec.target.kind");
    const char *name = vmbi_json_path_str(tree, "spec.target.name");
    vmbi_located l = {0};
    vmbi_buf path = VMBI_BUF_INIT(1024);
    vmbi_buf key = VMBI_BUF_INIT(1024);
    size_t i = 0;
    while (i < VMBI_ARRAY_LEN(targets) && !vmbi_streq(targets[i].kind, kind)) {
        i++;
    }
    if (i == VMBI_ARRAY_LEN(targets) || name == NULL) {
        return vmbi_fail(err, VMB_E_INVALID, "spec.target: kind %s is unknown, or has no name",
                         kind != NULL ? kind : "\"\"");
    }
    vmb_code rc = put_name(targets[i].path, name, &path, err);
    if (rc == VMB_OK) {
        rc = find_location(c, name, targets[i].of_restore, &l, err);
    }
    if (rc == VMB_OK) {
        rc = vmbi_store_key(&l.store, path.data, &key, err);
    }
    if (rc == VMB_OK && l.store.location->store.presign == NULL) {
        rc = vmbi_fail(err, VMB_E_UNSUPPORTED, "location %s: its store makes no download links",
                       l.store.location->name);
    }
    if (rc == VMB_OK) {
        const vmb_store_provider *p = &l.store.location->store;
        struct vmb_sink sink = vmbi_sink_to_buf(url);
        vmb_job job = vmbi_control_job(c, VMBI_NORMAL);
        rc = vmbi_check_provider(err, p->presign(p->user, &job, key.data, LINK_NS, &sink, err),
                                 "make a download link");
    }
    vmbi_located_done(&l);
    vmbi_buf_free(&path);
    vmbi_buf_free(&key);
    return rc;
}

static vmb_code write_link(vmb_control *c, const vmbi_json *tree, bool first, vmb_error **err)
{
    const char *name = vmbi_json_path_str(tree, "metadata.name");
    vmbi_buf url = VMBI_BUF_INIT(URL_MAX_BYTES);
    char until[VMBI_RFC3339_SIZE];
    vmb_code rc = make_link(c, tree, &url, err);
    if (rc != VMB_OK) {
        if (first && (rc == VMB_E_INVALID || rc == VMB_E_NOT_FOUND || rc == VMB_E_UNSUPPORTED)) {
            vmbi_control_event(c, tree, true, "NoLink", "%s",
                               err != NULL ? vmb_error_message(*err) : "");
        }
        vmbi_buf_free(&url);
        return rc;
    }
    vmbi_format_rfc3339(vmbi_unix_ns() + LINK_NS, until);
    vmbi_json *patch = vmbi_phase_patch("Processed");
    vmbi_json *status = vmbi_json_get(patch, "status");
    if (status == NULL || !vmbi_json_set_str(status, "downloadURL", url.data) ||
        !vmbi_json_set_str(status, "expiration", until)) {
        vmbi_json_free(patch);
        patch = NULL;
    }
    vmbi_buf_free(&url);
    return vmbi_object_patch(c, VMBI_KIND_DOWNLOAD, name, patch, VMBI_NORMAL, err);
}

vmb_code vmbi_reconcile_download(vmb_control *c, vmbi_turn *turn, vmb_error **err)
{
    vmbi_json *tree = NULL;
    int64_t at = 0;
    vmb_code rc = read_object(c, VMBI_KIND_DOWNLOAD, turn->name, &tree, err);
    if (rc != VMB_OK || tree == NULL) {
        return rc;
    }
    const char *phase = vmbi_json_path_str(tree, "status.phase");
    const char *until = vmbi_json_path_str(tree, "status.expiration");
    const char *created = vmbi_json_path_str(tree, "metadata.creationTimestamp");
    if (!vmbi_streq(phase, "Processed") && created != NULL && vmbi_parse_rfc3339(created, &at) &&
        at + LINK_NS <= vmbi_unix_ns()) {
        rc = vmbi_object_remove(c, VMBI_KIND_DOWNLOAD, turn->name, err); /* nobody waits any more */
    } else if (!vmbi_streq(phase, "Processed")) {
        rc = write_link(c, tree, turn->failures == 0, err);
    } else if (until == NULL || !vmbi_parse_rfc3339(until, &at) || at <= vmbi_unix_ns()) {
        rc = vmbi_object_remove(c, VMBI_KIND_DOWNLOAD, turn->name, err);
    } else {
        turn->again_ns = at - vmbi_unix_ns() + VMBI_SECOND;
    }
    vmbi_json_free(tree);
    return rc;
}

/* ---- status of the server ----------------------------------------------------------------- */

static vmbi_json *plugins_json(const vmb_control *c)
{
    vmbi_json *list = vmbi_json_array();
    bool ok = list != NULL;
    const vmb_ctx *ctx = c->ctx;
    for (size_t i = 0; i < ctx->n_actions + ctx->n_snapshots && ok; i++) {
        bool action = i < ctx->n_actions;
        const char *name = action ? ctx->actions[i].name : ctx->snapshots[i - ctx->n_actions].name;
        vmbi_json *p = vmbi_json_object();
        ok = p != NULL && vmbi_json_set_str(p, "name", name) &&
             vmbi_json_set_str(p, "kind", action ? "BackupItemActionV2" : "VolumeSnapshotter");
        if (!ok) {
            vmbi_json_free(p);
            p = NULL;
        }
        ok = vmbi_json_append(list, p);
    }
    if (!ok) {
        vmbi_json_free(list);
        list = NULL;
    }
    return list;
}

vmb_code vmbi_reconcile_status(vmb_control *c, vmbi_turn *turn, vmb_error **err)
{
    vmbi_json *tree = NULL;
    int64_t at = 0;
    vmb_code rc = read_object(c, VMBI_KIND_STATUS, turn->name, &tree, err);
    if (rc != VMB_OK || tree == NULL) {
        return rc;
    }
    const char *when = vmbi_json_path_str(tree, "status.processedTimestamp");
    if (!vmbi_streq(vmbi_json_path_str(tree, "status.phase"), "Processed")) {
        vmbi_json *patch = vmbi_phase_patch("Processed");
        vmbi_json *status = vmbi_json_get(patch, "status");
        if (status == NULL || !vmbi_set_now(status, "processedTimestamp") ||
            !vmbi_json_set_str(status, "serverVersion", c->settings.version) ||
            !vmbi_json_set(status, "plugins", plugins_json(c))) {
            vmbi_json_free(patch);
            patch = NULL;
        }
        rc = vmbi_object_patch(c, VMBI_KIND_STATUS, turn->name, patch, VMBI_NORMAL, err);
    } else if (when == NULL || !vmbi_parse_rfc3339(when, &at) ||
               at + STATUS_LIFE_NS <= vmbi_unix_ns()) {
        rc = vmbi_object_remove(c, VMBI_KIND_STATUS, turn->name, err);
    } else {
        turn->again_ns = at + STATUS_LIFE_NS - vmbi_unix_ns() + VMBI_SECOND;
    }
    vmbi_json_free(tree);
    return rc;
}

/* ---- repositories ------------------------------------------------------------------------- */

/* A repository is opened by whoever reads or writes volumes; here it is only said whether its
 * location can be reached. */
vmb_code vmbi_reconcile_repository(vmb_control *c, vmbi_turn *turn, vmb_error **err)
{
    vmbi_json *tree = NULL;
    vmbi_located l = {0};
    vmb_error *why = NULL;
    vmb_code rc = read_object(c, VMBI_KIND_REPOSITORY, turn->name, &tree, err);
    if (rc != VMB_OK || tree == NULL) {
        return rc;
    }
    rc = vmbi_locate(c, vmbi_json_path_str(tree, "spec.backupStorageLocation"), &l, &why);
    bool good = rc == VMB_OK && strcmp(vmbi_located_phase(&l), "Available") == 0;
    vmbi_json *patch = vmbi_phase_patch(good ? "Ready" : "NotReady");
    vmbi_json *status = vmbi_json_get(patch, "status");
    const char *message = good           ? ""
                          : rc != VMB_OK ? vmb_error_message(why)
                                         : "its storage location is not available";
    if (status == NULL || !vmbi_json_set_str(status, "message", message)) {
        vmbi_json_free(patch);
        patch = NULL;
    }
    rc = vmbi_object_patch(c, VMBI_KIND_REPOSITORY, turn->name, patch, VMBI_NORMAL, err);
    turn->again_ns = good ? -1 : REPOSITORY_NS;
    vmb_error_free(why);
    vmbi_located_done(&l);
    vmbi_json_free(tree);
    return rc;
}
