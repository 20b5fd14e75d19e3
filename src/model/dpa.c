/* SPDX-License-Identifier: Apache-2.0 */
/* Source: oadp-operator 1.5, api/v1alpha1 and internal/controller (validator.go, bsl.go, vsl.go). The
 * order of the checks is its order, since it reports the first failure. */
#include "model/dpa.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/strs.h"
#include "model/dpa_impl.h"

void vmbi_dpa_free(vmbi_dpa *d)
{
    vmbi_free(d->name);
    vmbi_free(d->ns);
    vmbi_free(d->uploader);
    vmbi_strs_free(&d->features);
    vmbi_json_free(d->locations);
    vmbi_json_free(d->snapshot_locations);
    *d = (vmbi_dpa){0};
}

bool vmbi_dpa_has_plugin(const vmbi_dpa_reader *r, const char *name)
{
    const vmbi_json *list = vmbi_json_path(r->doc, "spec.configuration.velero.defaultPlugins");
    for (size_t i = 0; i < vmbi_json_len(list); i++) {
        if (vmbi_streq(vmbi_json_str(vmbi_json_at(list, i)), name)) {
            return true;
        }
    }
    return false;
}

bool vmbi_dpa_flag(const vmbi_dpa_reader *r, const char *path, bool dflt)
{
    const vmbi_json *v = vmbi_json_path(r->doc, path);
    if (!vmbi_json_is_null(v) && !vmbi_json_is_bool(v)) {
        vmbi_problems_add(r->p, true, path, NULL, "must be true or false");
    }
    return vmbi_json_bool(v, dflt);
}

static int tristate(const vmbi_dpa_reader *r, const char *path)
{
    const vmbi_json *v = vmbi_json_path(r->doc, path);
    return vmbi_json_is_bool(v) ? (vmbi_json_bool(v, false) ? 1 : 0) : -1;
}

/* ---- the whole ----------------------------------------------------------------------------- */

static void check_head(const vmbi_dpa_reader *r, size_t others)
{
    const char *kind = vmbi_json_get_str(r->doc, "kind");
    if (kind != NULL && strcmp(kind, "DataProtectionApplication") != 0) {
        vmbi_problems_add(r->p, true, "kind", "write DataProtectionApplication",
                          "\"%.80s\" is no DataProtectionApplication", kind);
    }
    if (others > 0) {
        vmbi_problems_add(r->p, true, "metadata.namespace", "delete all but one",
                          "the namespace holds %zu more DataProtectionApplications", others);
    }
}

static void check_velero(const vmbi_dpa_reader *r)
{
    static const char velero[] = "spec.configuration.velero";
    const vmbi_json *locations = vmbi_json_path(r->doc, "spec.backupLocations");
    bool none = vmbi_dpa_flag(r, "spec.configuration.velero.noDefaultBackupLocation", false);
    if (!vmbi_json_is_object(vmbi_json_path(r->doc, velero))) {
        vmbi_problems_add(r->p, true, velero, "write {} at least", "is missing");
        return;
    }
    if (none && vmbi_json_len(locations) > 0) {
        vmbi_problems_add(r->p, true, "spec.backupLocations",
                          "delete noDefaultBackupLocation or the locations",
                          "there are some, and noDefaultBackupLocation is set");
    }
    if (none && r->backup_images) {
        vmbi_problems_add(r->p, true, "spec.backupImages", "set it to false",
                          "images need a location, and noDefaultBackupLocation is set");
    }
    if (!none && vmbi_json_len(locations) == 0) {
        vmbi_problems_add(r->p, true, "spec.backupLocations",
                          "add a location, or set noDefaultBackupLocation", "is empty");
    }
    if (vmbi_dpa_has_plugin(r, "vsm")) {
        vmbi_problems_add(r->p, true, "spec.configuration.velero.defaultPlugins",
                          "use the data mover of Velero: snapshotMoveData", "vsm is gone");
    }
    if (vmbi_dpa_has_plugin(r, "aws") && vmbi_dpa_has_plugin(r, "legacy-aws")) {
        vmbi_problems_add(r->p, true, "spec.configuration.velero.defaultPlugins",
                          "keep one of them", "aws and legacy-aws exclude each other");
    }
}

static void check_old_fields(const vmbi_dpa_reader *r)
{
    if (!vmbi_json_is_null(vmbi_json_path(r->doc, "spec.configuration.restic"))) {
        vmbi_problems_add(r->p, true, "spec.configuration.restic",
                          "move it to configuration.nodeAgent with uploaderType restic",
                          "is not read any more");
    }
    if (!vmbi_json_is_null(vmbi_json_path(r->doc, "spec.features.dataMover"))) {
        vmbi_problems_add(r->p, true, "spec.features.dataMover", "delete it",
                          "is not read any more");
    }
}

static vmb_code read_node_agent(const vmbi_dpa_reader *r, vmbi_dpa *d)
{
    static const char agent[] = "spec.configuration.nodeAgent";
    static const char type[] = "spec.configuration.nodeAgent.uploaderType";
    const char *uploader = vmbi_json_path_str(r->doc, type);
    bool there = vmbi_json_is_object(vmbi_json_path(r->doc, agent));
    d->node_agent = there && vmbi_dpa_flag(r, "spec.configuration.nodeAgent.enable", false);
    if (there && !vmbi_streq(uploader, "kopia") && !vmbi_streq(uploader, "restic")) {
        vmbi_problems_add(r->p, true, type, "write kopia", "must be kopia or restic");
    } else if (vmbi_streq(uploader, "restic")) {
        vmbi_problems_add(r->p, false, type, "write kopia", "restic is deprecated");
    }
    d->uploader = vmbi_strdup(there && uploader != NULL ? uploader : "");
    return d->uploader != NULL ? VMB_OK : vmbi_fail_nomem(r->err);
}

/* The flags that are written, and those that come with plugins. */
static vmb_code read_features(const vmbi_dpa_reader *r, vmbi_dpa *d)
{
    const vmbi_json *list = vmbi_json_path(r->doc, "spec.configuration.velero.featureFlags");
    vmb_code rc = VMB_OK;
    for (size_t i = 0; i < vmbi_json_len(list) && rc == VMB_OK; i++) {
        const char *flag = vmbi_json_str(vmbi_json_at(list, i));
        if (flag != NULL && !vmbi_strs_has(&d->features, flag)) {
            rc = vmbi_strs_add(&d->features, flag, r->err);
        }
    }
    if (rc == VMB_OK && vmbi_dpa_has_plugin(r, "csi") &&
        !vmbi_strs_has(&d->features, "EnableCSI")) {
        rc = vmbi_strs_add(&d->features, "EnableCSI", r->err);
    }
    const char *priority = vmbi_json_path_str(
        r->doc, "spec.configuration.velero.restoreResourcesVersionPriority");
    if (rc == VMB_OK && priority != NULL && priority[0] != '\0' &&
        !vmbi_strs_has(&d->features, "EnableAPIGroupVersions")) {
        rc = vmbi_strs_add(&d->features, "EnableAPIGroupVersions", r->err);
    }
    return rc;
}

static vmb_code read_all(vmbi_dpa_reader *r, size_t others, vmbi_dpa *d)
{
    const char *name = vmbi_json_path_str(r->doc, "metadata.name");
    const char *ns = vmbi_json_path_str(r->doc, "metadata.namespace");
    d->name = vmbi_strdup(name != NULL ? name : "");
    d->ns = vmbi_strdup(ns != NULL ? ns : "");
    d->locations = vmbi_json_array();
    d->snapshot_locations = vmbi_json_array();
    if (d->name == NULL || d->ns == NULL || d->locations == NULL ||
        d->snapshot_locations == NULL) {
        return vmbi_fail_nomem(r->err);
    }
    d->backup_images = r->backup_images = vmbi_dpa_flag(r, "spec.backupImages", true);
    d->fs_backup_default = tristate(r, "spec.configuration.velero.defaultVolumesToFSBackup");
    d->move_data_default = tristate(r, "spec.configuration.velero.defaultSnapshotMoveData");
    r->dpa = d;
    check_head(r, others);
    check_velero(r);
    vmb_code rc = read_features(r, d);
    if (rc == VMB_OK) {
        rc = vmbi_dpa_read_locations(r);
    }
    if (rc == VMB_OK) {
        rc = vmbi_dpa_read_snapshot_locations(r);
    }
    check_old_fields(r);
    return rc == VMB_OK ? read_node_agent(r, d) : rc;
}

vmb_code vmbi_dpa_from_tree(const vmbi_json *doc, const char *source, size_t others,
                            const vmbi_dpa_secrets *secrets, vmbi_dpa *out,
                            vmbi_problems *problems, vmb_error **err)
{
    vmbi_problems own = {0};
    vmbi_dpa made = {0};
    vmbi_dpa_reader r = {.doc = doc, .p = problems != NULL ? problems : &own, .secrets = secrets,
                         .err = err};
    if (!vmbi_json_is_object(doc)) {
        return vmbi_fail(err, VMB_E_INVALID, "%s: a DataProtectionApplication is an object, this "
                         "is %s", source, vmbi_json_type_name(doc));
    }
    size_t before = r.p->errors;
    vmb_code rc = read_all(&r, others, &made);
    if (rc == VMB_OK && r.p->status == VMB_E_NOMEM) {
        rc = vmbi_fail_nomem(err);
    }
    if (rc == VMB_OK && r.p->errors > before) {
        rc = vmbi_problems_check(r.p, source, err);
    }
    vmbi_problems_free(&own);
    if (rc != VMB_OK) {
        vmbi_dpa_free(&made);
        return rc;
    }
    *out = made;
    return VMB_OK;
}

/* ---- the condition ------------------------------------------------------------------------- */

/* The condition as it is in the document; NULL. */
static const vmbi_json *former_condition(const vmbi_json *doc)
{
    const vmbi_json *list = vmbi_json_path(doc, "status.conditions");
    for (size_t i = 0; i < vmbi_json_len(list); i++) {
        if (vmbi_streq(vmbi_json_get_str(vmbi_json_at(list, i), "type"), "Reconciled")) {
            return vmbi_json_at(list, i);
        }
    }
    return NULL;
}

/* Merge patches replace lists: conditions of other types are taken along. */
static bool copy_others(const vmbi_json *doc, vmbi_json *list)
{
    const vmbi_json *all = vmbi_json_path(doc, "status.conditions");
    bool ok = true;
    for (size_t i = 0; i < vmbi_json_len(all) && ok; i++) {
        vmbi_json *one = vmbi_json_at(all, i);
        ok = vmbi_streq(vmbi_json_get_str(one, "type"), "Reconciled") ||
             vmbi_json_append(list, vmbi_json_copy(one));
    }
    return ok;
}

vmb_code vmbi_dpa_status_patch(const vmbi_json *doc, const char *why, int64_t now_unix_ns,
                               vmbi_json **out, vmb_error **err)
{
    const vmbi_json *former = former_condition(doc);
    const char *status = why == NULL ? "True" : "False";
    const char *since = vmbi_json_get_str(former, "lastTransitionTime");
    char now[VMBI_RFC3339_SIZE];
    vmbi_format_rfc3339(now_unix_ns, now);
    if (since == NULL || !vmbi_streq(vmbi_json_get_str(former, "status"), status)) {
        since = now;
    }
    vmbi_json *patch = vmbi_json_object();
    vmbi_json *part = vmbi_json_ensure_object(patch, "status");
    vmbi_json *list = vmbi_json_array();
    vmbi_json *c = vmbi_json_object();
    bool ok = part != NULL && list != NULL && c != NULL && copy_others(doc, list) &&
              vmbi_json_set_str(c, "type", "Reconciled") &&
              vmbi_json_set_str(c, "status", status) &&
              vmbi_json_set_str(c, "reason", why == NULL ? "Complete" : "Error") &&
              vmbi_json_set_str(c, "message", why == NULL ? "Reconcile complete" : why) &&
              vmbi_json_set_str(c, "lastTransitionTime", since);
    ok = ok && vmbi_json_append(list, vmbi_json_ref(c)) &&
         vmbi_json_set(part, "conditions", vmbi_json_ref(list));
    vmbi_json_free(c);
    vmbi_json_free(list);
    if (!ok) {
        vmbi_json_free(patch);
        return vmbi_fail_nomem(err);
    }
    *out = patch;
    return VMB_OK;
}
