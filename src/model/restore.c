/* SPDX-License-Identifier: Apache-2.0 */
#include "model/restore.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "codec/duration.h"

/* Velero 1.18, pkg/controller/restore_controller.go. */
const char *const vmbi_restore_never[] = {
    "nodes",
    "events",
    "events.events.k8s.io",
    "backups.velero.io",
    "restores.velero.io",
    "resticrepositories.velero.io",
    "csinodes.storage.k8s.io",
    "volumeattachments.storage.k8s.io",
    "backuprepositories.velero.io",
    NULL,
};

vmb_code vmbi_spec_new_restore(const char *name, const char *backup, vmb_spec **out,
                               vmb_error **err)
{
    vmb_spec *spec = NULL;
    vmb_code code = vmbi_spec_new(name, &spec, err);
    bool ok;

    if (code != VMB_OK) {
        return code;
    }
    ok = vmbi_json_set_str(spec->root, "kind", "Restore");
    vmbi_free(spec->source); /* its name in messages */
    spec->source = vmbi_strdup("restore");
    ok = ok && spec->source != NULL;
    if (ok && backup != NULL) {
        ok = vmbi_json_set_str(vmbi_json_get(spec->root, "spec"), "backupName", backup);
    }
    if (!ok) {
        vmbi_spec_free(spec);
        return vmbi_fail_nomem(err);
    }
    *out = spec;
    return VMB_OK;
}

static bool has_string(const vmbi_json *list, const char *s)
{
    for (size_t i = 0; i < vmbi_json_len(list); i++) {
        if (vmbi_streq(vmbi_json_str(vmbi_json_at(list, i)), s)) {
            return true;
        }
    }
    return false;
}

static vmbi_json *ensure_array(vmbi_json *obj, const char *key)
{
    if (!vmbi_json_is_array(vmbi_json_get(obj, key)) &&
        !vmbi_json_set(obj, key, vmbi_json_array())) {
        return NULL;
    }
    return vmbi_json_get(obj, key);
}

static bool exclude_never(vmbi_json *spec)
{
    vmbi_json *list = ensure_array(spec, "excludedResources");
    bool ok = list != NULL;

    for (const char *const *n = vmbi_restore_never; ok && *n != NULL; n++) {
        ok = has_string(list, *n) || vmbi_json_append_str(list, *n);
    }
    return ok;
}

static bool default_namespaces(vmbi_json *spec)
{
    vmbi_json *list = ensure_array(spec, "includedNamespaces");

    return list != NULL && (vmbi_json_len(list) > 0 || vmbi_json_append_str(list, "*"));
}

static bool default_timeout(vmbi_json *spec)
{
    char text[VMBI_DURATION_SIZE];

    vmbi_duration_format(
        vmbi_backup_duration_ns(spec, "itemOperationTimeout", VMBI_BACKUP_OPERATION_TIMEOUT_NS),
        text);
    return vmbi_json_set_str(spec, "itemOperationTimeout", text);
}

vmb_code vmbi_restore_defaulted(const vmbi_json *restore, vmbi_json **out, vmb_error **err)
{
    vmbi_json *copy = vmbi_json_copy(restore);
    vmbi_json *spec = vmbi_json_ensure_object(copy, "spec");
    bool ok = spec != NULL && vmbi_json_ensure_object(copy, "metadata") != NULL;

    if (ok) {
        vmbi_json_del(copy, "status");
    }
    ok = ok && vmbi_json_set_str(copy, "apiVersion", "velero.io/v1");
    ok = ok && vmbi_json_set_str(copy, "kind", "Restore");
    ok = ok && default_timeout(spec) && default_namespaces(spec) && exclude_never(spec);
    ok = ok && vmbi_json_ensure_object(spec, "hooks") != NULL;
    if (!ok) {
        vmbi_json_free(copy);
        return vmbi_fail_nomem(err);
    }
    *out = copy;
    return VMB_OK;
}
