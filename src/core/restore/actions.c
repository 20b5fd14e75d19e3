/* SPDX-License-Identifier: Apache-2.0 */
/* What kinds need when they come back: Velero's built-in restore actions (pkg/restore/actions) and
 * those of its KubeVirt plugin. */
#include "core/restore/restore.h"

#include <string.h>

#include "base/error.h"
#include "codec/digest.h"
#include "core/restore/hooks.h"
#include "core/restore/podvolumes.h"

/* Removes the elements of a list whose string at `field` starts with prefix. */
static void drop_prefixed(vmbi_json *list, const char *field, const char *prefix)
{
    for (size_t i = vmbi_json_len(list); i > 0; i--) {
        const char *s = vmbi_json_get_str(vmbi_json_at(list, i - 1), field);
        if (s != NULL && vmbi_starts_with(s, prefix)) {
            vmbi_json_del_at(list, i - 1);
        }
    }
}

/* ---- pods ---------------------------------------------------------------------------------- */

static void related_claims(vmbi_restore *r, const vmbi_ritem *item, const vmbi_json *volumes)
{
    for (size_t i = 0; i < vmbi_json_len(volumes); i++) {
        const char *claim =
            vmbi_json_path_str(vmbi_json_at(volumes, i), "persistentVolumeClaim.claimName");
        if (claim != NULL) {
            vmbi_restore_related(r, item, "persistentvolumeclaims", item->ns, claim);
        }
    }
}

static vmb_code action_pod(vmbi_restore *r, vmbi_ritem *item, vmb_error **err)
{
    const vmbi_json *labels = vmbi_json_path(item->obj, "metadata.labels");
    const char *role = vmbi_json_get_str(labels, "kubevirt.io");
    if (vmbi_streq(role, "virt-launcher") || vmbi_streq(role, "hotplug-disk")) {
        item->skip = true; /* KubeVirt makes them from the virtual machine */
        return VMB_OK;
    }
    vmbi_json *spec = vmbi_json_get(item->obj, "spec");
    vmbi_json_del(spec, "nodeName");
    vmbi_json_del(spec, "priority");
    const char *account = vmbi_json_get_str(spec, "serviceAccountName");
    vmbi_buf prefix = VMBI_BUF_INIT(1024);
    vmbi_buf_addf(&prefix, "%s-token-", account != NULL ? account : "");
    vmb_code rc = vmbi_buf_check(&prefix, err, "name of a service account");
    if (rc == VMB_OK) {
        static const char *const lists[] = {"containers", "initContainers"};
        drop_prefixed(vmbi_json_get(spec, "volumes"), "name", prefix.data);
        for (size_t k = 0; k < VMBI_ARRAY_LEN(lists); k++) {
            const vmbi_json *list = vmbi_json_get(spec, lists[k]);
            for (size_t i = 0; i < vmbi_json_len(list); i++) {
                drop_prefixed(vmbi_json_get(vmbi_json_at(list, i), "volumeMounts"), "name",
                              prefix.data);
            }
        }
        related_claims(r, item, vmbi_json_get(spec, "volumes"));
        const char *class_name = vmbi_json_get_str(spec, "priorityClassName");
        if (class_name != NULL && class_name[0] != '\0') {
            vmbi_restore_related(r, item, "priorityclasses.scheduling.k8s.io", "", class_name);
        }
    }
    vmbi_buf_free(&prefix);
    /* what waited in a former restore waits no more */
    drop_prefixed(vmbi_json_get(spec, "initContainers"), "name", "restore-wait");
    drop_prefixed(vmbi_json_get(spec, "initContainers"), "name", "restic-wait");
    if (rc == VMB_OK) {
        rc = vmbi_restore_add_wait(r, item, err);
    }
    return rc == VMB_OK ? vmbi_restore_init_hooks(r, item, err) : rc;
}

static vmb_code action_job(vmbi_restore *r, vmbi_ritem *item, vmb_error **err)
{
    static const char *const labels[] = {"controller-uid", "batch.kubernetes.io/controller-uid"};
    (void)r;
    (void)err;
    for (size_t i = 0; i < VMBI_ARRAY_LEN(labels); i++) {
        vmbi_json_del(vmbi_json_path(item->obj, "spec.selector.matchLabels"), labels[i]);
        vmbi_json_del(vmbi_json_path(item->obj, "spec.template.metadata.labels"), labels[i]);
    }
    return VMB_OK;
}

/* ---- accounts, roles, secrets -------------------------------------------------------------- */

static vmb_code action_account(vmbi_restore *r, vmbi_ritem *item, vmb_error **err)
{
    vmbi_json *secrets = vmbi_json_get(item->obj, "secrets");
    vmbi_buf prefix = VMBI_BUF_INIT(1024);
    (void)r;
    vmbi_buf_addf(&prefix, "%s-token-", item->name);
    vmb_code rc = vmbi_buf_check(&prefix, err, "name of a service account");
    /* only the last one of that name, as Velero does it */
    for (size_t i = vmbi_json_len(secrets); i > 0 && rc == VMB_OK; i--) {
        const char *s = vmbi_json_get_str(vmbi_json_at(secrets, i - 1), "name");
        if (s != NULL && vmbi_starts_with(s, prefix.data)) {
            vmbi_json_del_at(secrets, i - 1);
            break;
        }
    }
    vmbi_buf_free(&prefix);
    return rc;
}

static vmb_code action_binding(vmbi_restore *r, vmbi_ritem *item, vmb_error **err)
{
    const vmbi_json *subjects = vmbi_json_get(item->obj, "subjects");
    for (size_t i = 0; i < vmbi_json_len(subjects); i++) {
        vmbi_json *s = vmbi_json_at(subjects, i);
        const char *ns = vmbi_json_get_str(s, "namespace");
        if (ns != NULL && !vmbi_json_set_str(s, "namespace", vmbi_restore_target(r->filter, ns))) {
            return vmbi_fail_nomem(err);
        }
    }
    return VMB_OK;
}

/* Was the secret made for a service account by the cluster (before Kubernetes 1.24)? */
static bool is_made_by_cluster(vmbi_restore *r, const vmbi_ritem *item)
{
    const char *account = vmbi_json_get_str(vmbi_json_path(item->obj, "metadata.annotations"),
                                            "kubernetes.io/service-account.name");
    vmbi_buf prefix = VMBI_BUF_INIT(1024);
    if (account == NULL) {
        return false;
    }
    vmbi_buf_addf(&prefix, "%s-token-", account);
    bool yes = prefix.status == VMB_OK && vmbi_starts_with(item->name, prefix.data);
    vmbi_buf_free(&prefix);
    if (yes) {
        vmbi_buf text = VMBI_BUF_INIT(VMBI_OBJECT_MAX_BYTES);
        yes = vmbi_cluster_get(&r->cluster, &r->job, "", "v1", "serviceaccounts", item->target,
                               account, &text, NULL) == VMB_OK;
        vmbi_buf_free(&text);
    }
    return yes;
}

static vmb_code action_secret(vmbi_restore *r, vmbi_ritem *item, vmb_error **err)
{
    (void)err;
    if (!vmbi_streq(vmbi_json_get_str(item->obj, "type"), "kubernetes.io/service-account-token")) {
        return VMB_OK;
    }
    if (is_made_by_cluster(r, item)) {
        item->skip = true;
        return VMB_OK;
    }
    vmbi_json *data = vmbi_json_get(item->obj, "data");
    vmbi_json_del(vmbi_json_path(item->obj, "metadata.annotations"),
                  "kubernetes.io/service-account.uid");
    vmbi_json_del(data, "token");
    vmbi_json_del(data, "ca.crt");
    return VMB_OK;
}

/* ---- the API itself ------------------------------------------------------------------------ */

static vmb_code action_skip(vmbi_restore *r, vmbi_ritem *item, vmb_error **err)
{
    (void)r;
    (void)err;
    item->skip = true;
    return VMB_OK;
}

/* Version v1 knows preserveUnknownFields only as false: the schemas say it instead. */
static vmb_code action_definition(vmbi_restore *r, vmbi_ritem *item, vmb_error **err)
{
    vmbi_json *spec = vmbi_json_get(item->obj, "spec");
    const vmbi_json *versions = vmbi_json_get(spec, "versions");
    (void)r;
    if (!vmbi_streq(vmbi_json_get_str(item->obj, "apiVersion"), "apiextensions.k8s.io/v1") ||
        !vmbi_json_bool(vmbi_json_get(spec, "preserveUnknownFields"), false)) {
        return VMB_OK;
    }
    bool ok = vmbi_json_set_bool(spec, "preserveUnknownFields", false);
    for (size_t i = 0; i < vmbi_json_len(versions) && ok; i++) {
        vmbi_json *schema = vmbi_json_path(vmbi_json_at(versions, i), "schema.openAPIV3Schema");
        ok = !vmbi_json_is_object(schema) ||
             vmbi_json_set_bool(schema, "x-kubernetes-preserve-unknown-fields", true);
    }
    return ok ? VMB_OK : vmbi_fail_nomem(err);
}

static vmb_code action_webhook(vmbi_restore *r, vmbi_ritem *item, vmb_error **err)
{
    const vmbi_json *hooks = vmbi_json_get(item->obj, "webhooks");
    (void)r;
    if (!vmbi_streq(vmbi_json_get_str(item->obj, "apiVersion"),
                    "admissionregistration.k8s.io/v1")) {
        return VMB_OK;
    }
    for (size_t i = 0; i < vmbi_json_len(hooks); i++) {
        vmbi_json *hook = vmbi_json_at(hooks, i);
        const char *effects = vmbi_json_get_str(hook, "sideEffects");
        if (!vmbi_streq(effects, "None") && !vmbi_streq(effects, "NoneOnDryRun") &&
            vmbi_json_is_object(hook) && !vmbi_json_set_str(hook, "sideEffects", "None")) {
            return vmbi_fail_nomem(err);
        }
    }
    return VMB_OK;
}

/* ---- virtual machines ---------------------------------------------------------------------- */

static const vmbi_json *restore_labels(const vmbi_restore *r)
{
    return vmbi_json_path(r->resource, "metadata.labels");
}

/* Labels of the Restore change what a machine's copy must not share with the original. */
static bool edit_machine(const vmbi_restore *r, vmbi_json *instance_spec)
{
    const vmbi_json *labels = restore_labels(r);
    vmbi_json *domain = vmbi_json_get(instance_spec, "domain");
    bool ok = true;
    if (vmbi_json_get(labels, "velero.kubevirt.io/clear-mac-address") != NULL) {
        const vmbi_json *list = vmbi_json_path(domain, "devices.interfaces");
        for (size_t i = 0; i < vmbi_json_len(list) && ok; i++) {
            vmbi_json_del(vmbi_json_at(list, i), "macAddress");
        }
    }
    if (vmbi_json_get(labels, "velero.kubevirt.io/generate-new-firmware-uuid") != NULL &&
        domain != NULL) {
        char uuid[37];
        vmbi_uuid4(uuid);
        vmbi_json *firmware = vmbi_json_ensure_object(domain, "firmware");
        ok = firmware != NULL && vmbi_json_set_str(firmware, "uuid", uuid);
    }
    return ok;
}

static void related_if_there(vmbi_restore *r, const vmbi_ritem *item, const char *resource,
                             const char *name)
{
    if (name != NULL && vmbi_index_has(&r->index, resource, item->ns, name)) {
        vmbi_restore_related(r, item, resource, item->ns, name);
    }
}

/* Disks, credentials and the saved types of a machine or instance. */
static void related_of_machine(vmbi_restore *r, const vmbi_ritem *item, const vmbi_json *spec)
{
    static const struct {
        const char *path;
        const char *resource;
    } sources[] = {
        {"persistentVolumeClaim.claimName", "persistentvolumeclaims"},
        {"dataVolume.name", "datavolumes.cdi.kubevirt.io"},
        {"dataVolume.name", "persistentvolumeclaims"},
        {"configMap.name", "configmaps"},
        {"secret.secretName", "secrets"},
        {"cloudInitNoCloud.secretRef.name", "secrets"},
        {"cloudInitNoCloud.networkDataSecretRef.name", "secrets"},
        {"cloudInitConfigDrive.secretRef.name", "secrets"},
        {"cloudInitConfigDrive.networkDataSecretRef.name", "secrets"},
        {"sysprep.secret.name", "secrets"},
        {"sysprep.configMap.name", "configmaps"},
        {"serviceAccount.serviceAccountName", "serviceaccounts"},
    };
    const vmbi_json *volumes = vmbi_json_get(spec, "volumes");
    for (size_t i = 0; i < vmbi_json_len(volumes); i++) {
        for (size_t k = 0; k < VMBI_ARRAY_LEN(sources); k++) {
            related_if_there(r, item, sources[k].resource,
                             vmbi_json_path_str(vmbi_json_at(volumes, i), sources[k].path));
        }
    }
    const vmbi_json *credentials = vmbi_json_get(spec, "accessCredentials");
    for (size_t i = 0; i < vmbi_json_len(credentials); i++) {
        const vmbi_json *c = vmbi_json_at(credentials, i);
        related_if_there(r, item, "secrets",
                         vmbi_json_path_str(c, "sshPublicKey.source.secret.secretName"));
        related_if_there(r, item, "secrets",
                         vmbi_json_path_str(c, "userPassword.source.secret.secretName"));
    }
}

static vmb_code action_machine(vmbi_restore *r, vmbi_ritem *item, vmb_error **err)
{
    vmbi_json *spec = vmbi_json_get(item->obj, "spec");
    const char *strategy =
        vmbi_json_get_str(restore_labels(r), "velero.kubevirt.io/restore-run-strategy");
    vmbi_json *instance = vmbi_json_path(spec, "template.spec");
    bool ok = edit_machine(r, instance);
    if (ok && strategy != NULL && spec != NULL) {
        ok = vmbi_json_set_str(spec, "runStrategy", strategy);
        vmbi_json_del(spec, "running");
    }
    if (!ok) {
        return vmbi_fail_nomem(err);
    }
    related_if_there(r, item, "controllerrevisions.apps",
                     vmbi_json_path_str(spec, "instancetype.revisionName"));
    related_if_there(r, item, "controllerrevisions.apps",
                     vmbi_json_path_str(spec, "preference.revisionName"));
    related_of_machine(r, item, instance);
    if (spec != NULL && !vmbi_restore_fill_machine(r, item, instance) && !item->skip) {
        vmbi_json_del(spec, "running"); /* it must not start on disks without their content */
        ok = vmbi_json_set_str(spec, "runStrategy", "Halted");
        vmbi_restore_warn(r, item->target, NULL,
                          "machine %s stays halted, since a disk of it was not restored",
                          item->name);
    }
    return ok ? VMB_OK : vmbi_fail_nomem(err);
}

static vmb_code action_instance(vmbi_restore *r, vmbi_ritem *item, vmb_error **err)
{
    static const char *const stale[] = {
        "kubevirt.io/created-by",  "kubevirt.io/migrationJobUID",
        "kubevirt.io/nodeName",    "kubevirt.io/migrationTargetNodeName",
        "kubevirt.io/schedulable", "kubevirt.io/install-strategy",
    };
    if (vmbi_json_get(vmbi_json_path(item->obj, "metadata.annotations"),
                      "cdi.kubevirt.io/velero.isOwned") != NULL) {
        item->skip = true; /* its machine makes it */
        return VMB_OK;
    }
    vmbi_json *labels = vmbi_json_path(item->obj, "metadata.labels");
    for (size_t i = 0; i < VMBI_ARRAY_LEN(stale); i++) {
        vmbi_json_del(labels, stale[i]);
    }
    vmbi_json *spec = vmbi_json_get(item->obj, "spec");
    related_of_machine(r, item, spec);
    if (!vmbi_restore_fill_machine(r, item, spec)) {
        return item->skip ? VMB_OK
                          : vmbi_fail(err, VMB_E_STATE,
                                      "a disk of it was not restored, and it would start");
    }
    return edit_machine(r, spec) ? VMB_OK : vmbi_fail_nomem(err);
}

/* ---- the table ----------------------------------------------------------------------------- */

static const struct {
    const char *resource;
    vmb_code (*run)(vmbi_restore *r, vmbi_ritem *item, vmb_error **err);
} actions[] = {
    {"pods", action_pod},
    {"jobs.batch", action_job},
    {"serviceaccounts", action_account},
    {"rolebindings.rbac.authorization.k8s.io", action_binding},
    {"clusterrolebindings.rbac.authorization.k8s.io", action_binding},
    {"secrets", action_secret},
    {"apiservices.apiregistration.k8s.io", action_skip},
    {"customresourcedefinitions.apiextensions.k8s.io", action_definition},
    {"mutatingwebhookconfigurations.admissionregistration.k8s.io", action_webhook},
    {"validatingwebhookconfigurations.admissionregistration.k8s.io", action_webhook},
    {"services", vmbi_restore_action_service},
    {"persistentvolumeclaims", vmbi_restore_action_claim},
    {"volumesnapshots.snapshot.storage.k8s.io", vmbi_restore_action_snapshot},
    {"volumesnapshotcontents.snapshot.storage.k8s.io", vmbi_restore_action_content},
    {"volumesnapshotclasses.snapshot.storage.k8s.io", vmbi_restore_action_class},
    {"virtualmachines.kubevirt.io", action_machine},
    {"virtualmachineinstances.kubevirt.io", action_instance},
    /* these would start work again */
    {"virtualmachineinstancemigrations.kubevirt.io", action_skip},
    {"virtualmachinesnapshots.snapshot.kubevirt.io", action_skip},
    {"virtualmachinesnapshotcontents.snapshot.kubevirt.io", action_skip},
    {"virtualmachinerestores.snapshot.kubevirt.io", action_skip},
    {"virtualmachineclones.clone.kubevirt.io", action_skip},
    {"virtualmachineexports.export.kubevirt.io", action_skip},
    {"virtualmachinebackups.backup.kubevirt.io", action_skip},
    {"virtualmachinebackuptrackers.backup.kubevirt.io", action_skip},
    /* Velero's mover reads them; nothing here needs them in the cluster */
    {"datauploads.velero.io", action_skip},
};

vmb_code vmbi_restore_actions(vmbi_restore *r, vmbi_ritem *item, vmb_error **err)
{
    vmb_code rc = vmbi_restore_plugins(r, item, err);
    for (size_t i = 0; i < VMBI_ARRAY_LEN(actions) && rc == VMB_OK; i++) {
        if (strcmp(actions[i].resource, item->group_resource) == 0) {
            rc = actions[i].run(r, item, err);
        }
    }
    return rc;
}
