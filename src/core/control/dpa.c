/* SPDX-License-Identifier: Apache-2.0 */
/* DataProtectionApplications of OADP: their locations become objects, and their condition is
 * written. */
#include "model/dpa.h"

#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "core/control/control.h"

#define AGAIN_NS (60 * VMBI_SECOND) /* Secrets are not watched */

enum { SECRET_MAX_BYTES = 4 << 20 };

typedef struct application {
    vmb_control *c;
    vmbi_json *tree;
    vmbi_dpa dpa;
} application;

/* ---- Secrets ------------------------------------------------------------------------------ */

static vmb_code look_secret(void *user, const char *secret, const char *key, bool *found,
                            vmb_error **err)
{
    application *a = user;
    vmb_job job = vmbi_control_job(a->c, VMBI_NORMAL);
    vmbi_buf text = VMBI_BUF_INIT(SECRET_MAX_BYTES);
    vmbi_json *tree = NULL;
    vmb_error *why = NULL;
    vmb_code rc = vmbi_cluster_get(&a->c->cluster, &job, "", "v1", "secrets",
                                   a->c->ctx->settings.ns, secret, &text, &why);
    if (rc == VMB_OK) {
        rc = vmbi_json_parse(text.data, text.len, secret, &tree, &why);
    }
    const char *value = vmbi_json_get_str(vmbi_json_get(tree, "data"), key);
    *found = value != NULL && value[0] != '\0';
    if (text.data != NULL) {
        explicit_bzero(text.data, text.len);
    }
    vmbi_buf_free(&text);
    vmbi_json_free(tree);
    if (rc == VMB_E_NOT_FOUND) {
        vmb_error_free(why);
        return VMB_OK;
    }
    vmbi_error_move(err, &why);
    return rc;
}

/* ---- locations ---------------------------------------------------------------------------- */

/* The application owns what it makes: with it, it goes. */
static bool set_owner(const application *a, vmbi_json *object)
{
    vmbi_json *meta = vmbi_json_ensure_object(object, "metadata");
    vmbi_json *owner = vmbi_json_object();
    vmbi_json *owners = vmbi_json_array();
    const char *uid = vmbi_json_path_str(a->tree, "metadata.uid");
    bool ok = meta != NULL && owner != NULL && owners != NULL;
    ok = ok && vmbi_json_set_str(owner, "apiVersion", "oadp.openshift.io/v1alpha1") &&
         vmbi_json_set_str(owner, "kind", "DataProtectionApplication") &&
         vmbi_json_set_str(owner, "name", a->dpa.name) &&
         vmbi_json_set_str(owner, "uid", uid != NULL ? uid : "") &&
         vmbi_json_set_bool(owner, "controller", true);
    ok = ok && vmbi_json_append(owners, vmbi_json_ref(owner)) &&
         vmbi_json_set(meta, "ownerReferences", vmbi_json_ref(owners));
    vmbi_json_free(owner);
    vmbi_json_free(owners);
    return ok;
}

/* Creates an object of the application, or brings labels and spec of the one that exists up to
 * date. */
static vmb_code write_object(const application *a, const char *resource, const vmbi_json *wanted,
                             vmb_error **err)
{
    vmb_control *c = a->c;
    const char *name = vmbi_json_path_str(wanted, "metadata.name");
    vmbi_json *object = vmbi_json_copy(wanted);
    vmb_job job = vmbi_control_job(c, VMBI_NORMAL);
    vmb_error *why = NULL;
    char *text = NULL;
    size_t len = 0;
    if (name == NULL || object == NULL || !set_owner(a, object)) {
        vmbi_json_free(object);
        return name != NULL ? vmbi_fail_nomem(err)
                            : vmbi_fail(err, VMB_E_INTERNAL, "a location without a name");
    }
    vmb_code rc = vmbi_json_to_text(object, &text, &len, err);
    vmbi_json_free(object);
    if (rc != VMB_OK) {
        return rc;
    }
    rc = vmbi_cluster_patch(&c->cluster, &job, "velero.io", "v1", resource, c->ctx->settings.ns,
                            name, NULL, VMB_PATCH_MERGE, text, len, NULL, &why);
    if (rc == VMB_E_NOT_FOUND) {
        vmb_error_free(why);
        why = NULL;
        rc = vmbi_cluster_create(&c->cluster, &job, "velero.io", "v1", resource,
                                 c->ctx->settings.ns, text, len, NULL, &why);
    }
    vmbi_error_move(err, &why);
    vmb_free(text);
    return rc;
}

static vmb_code write_objects(const application *a, const char *resource, const vmbi_json *list,
                              vmb_error **err)
{
    vmb_code rc = VMB_OK;
    for (size_t i = 0; i < vmbi_json_len(list) && rc == VMB_OK; i++) {
        rc = write_object(a, resource, vmbi_json_at(list, i), err);
    }
    return rc;
}

static void note_name(void *user, const vmbi_cached *e)
{
    (void)vmbi_strs_add(user, e->name, NULL); /* one that is left out is looked at the next time */
}

static bool is_listed(const vmbi_json *list, const char *name)
{
    for (size_t i = 0; i < vmbi_json_len(list); i++) {
        if (vmbi_streq(vmbi_json_path_str(vmbi_json_at(list, i), "metadata.name"), name)) {
            return true;
        }
    }
    return false;
}

/* Locations that the application made and does not list any more. */
static vmb_code remove_unlisted(const application *a, vmb_error **err)
{
    vmbi_strs names = {0};
    vmb_code rc = VMB_OK;
    const char *uid = vmbi_json_path_str(a->tree, "metadata.uid");
    vmbi_cached_each(a->c, VMBI_KIND_LOCATION, note_name, &names);
    for (size_t i = 0; i < names.n && rc == VMB_OK; i++) {
        vmbi_json *tree = NULL;
        if (is_listed(a->dpa.locations, names.v[i]) ||
            vmbi_object_get(a->c, VMBI_KIND_LOCATION, names.v[i], &tree, NULL) != VMB_OK) {
            continue;
        }
        const vmbi_json *owner = vmbi_json_at(vmbi_json_path(tree, "metadata.ownerReferences"), 0);
        if (uid != NULL && vmbi_streq(vmbi_json_get_str(owner, "uid"), uid)) {
            rc = vmbi_object_remove(a->c, VMBI_KIND_LOCATION, names.v[i], err);
        }
        vmbi_json_free(tree);
    }
    vmbi_strs_free(&names);
    return rc;
}

/* ---- the condition ------------------------------------------------------------------------ */

static const vmbi_json *condition_of(const vmbi_json *doc)
{
    const vmbi_json *list = vmbi_json_path(doc, "status.conditions");
    for (size_t i = 0; i < vmbi_json_len(list); i++) {
        const vmbi_json *one = vmbi_json_at(list, i);
        if (vmbi_streq(vmbi_json_get_str(one, "type"), "Reconciled")) {
            return one;
        }
    }
    return NULL;
}

static bool says_the_same(const vmbi_json *a, const vmbi_json *b)
{
    return a != NULL && b != NULL &&
           vmbi_streq(vmbi_json_get_str(a, "status"), vmbi_json_get_str(b, "status")) &&
           vmbi_streq(vmbi_json_get_str(a, "message"), vmbi_json_get_str(b, "message"));
}

static vmb_code write_condition(const application *a, const char *name, const char *why,
                                vmb_error **err)
{
    vmb_control *c = a->c;
    const vmbi_kind *k = &vmbi_kinds[VMBI_KIND_DPA];
    vmb_job job = vmbi_control_job(c, VMBI_NORMAL);
    vmbi_json *patch = NULL;
    char *text = NULL;
    size_t len = 0;
    vmb_code rc = vmbi_dpa_status_patch(a->tree, why, vmbi_unix_ns(), &patch, err);
    if (rc == VMB_OK && !says_the_same(condition_of(patch), condition_of(a->tree))) {
        rc = vmbi_json_to_text(patch, &text, &len, err);
        if (rc == VMB_OK) {
            rc = vmbi_cluster_patch(&c->cluster, &job, k->group, k->version, k->resource,
                                    c->ctx->settings.ns, name, "status", VMB_PATCH_MERGE, text, len,
                                    NULL, err);
        }
        if (rc == VMB_OK) {
            vmbi_control_event(c, a->tree, why != NULL, why != NULL ? "Error" : "Complete", "%s",
                               why != NULL ? why : "the locations are in place");
        }
    }
    vmb_free(text);
    vmbi_json_free(patch);
    return rc;
}

vmb_code vmbi_reconcile_dpa(vmb_control *c, vmbi_turn *turn, vmb_error **err)
{
    application a = {.c = c};
    vmb_error *why = NULL;
    vmbi_dpa_secrets secrets = {look_secret, &a};
    vmb_code rc = vmbi_object_get(c, VMBI_KIND_DPA, turn->name, &a.tree, &why);
    if (rc == VMB_E_NOT_FOUND) {
        vmb_error_free(why);
        return VMB_OK;
    }
    if (rc != VMB_OK) {
        vmbi_error_move(err, &why);
        return rc;
    }
    size_t all = vmbi_cached_count(c, VMBI_KIND_DPA);
    rc = vmbi_dpa_from_tree(a.tree, turn->name, all > 0 ? all - 1 : 0, &secrets, &a.dpa, NULL,
                            &why);
    bool valid = rc == VMB_OK;
    if (valid) {
        rc = write_objects(&a, "backupstoragelocations", a.dpa.locations, &why);
    }
    if (rc == VMB_OK) {
        rc = write_objects(&a, "volumesnapshotlocations", a.dpa.snapshot_locations, &why);
    }
    if (rc == VMB_OK) {
        rc = remove_unlisted(&a, &why);
    }
    if (rc == VMB_OK || rc == VMB_E_INVALID) {
        rc = write_condition(&a, turn->name, rc != VMB_OK ? vmb_error_message(why) : NULL, err);
        vmb_error_free(why);
        turn->again_ns = AGAIN_NS;
    } else {
        vmbi_error_move(err, &why);
    }
    if (valid) {
        vmbi_dpa_free(&a.dpa);
    }
    vmbi_json_free(a.tree);
    return rc;
}
