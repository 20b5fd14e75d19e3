/* SPDX-License-Identifier: Apache-2.0 */
/* Velero's two restore actions that a ConfigMap in its namespace configures: other storage classes,
 * other images (Velero 1.18, pkg/restore/actions/change_*.go). */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "core/restore/restore.h"

vmb_code vmbi_restore_plugin_config(vmbi_restore *r, const char *plugin, vmbi_json **out,
                                    vmb_error **err)
{
    char selector[256];
    vmbi_buf text = VMBI_BUF_INIT(VMBI_OBJECT_MAX_BYTES);
    vmbi_json *list = NULL;
    (void)snprintf(selector, sizeof(selector), "velero.io/plugin-config,%s=RestoreItemAction",
                   plugin);
    vmb_code rc = vmbi_cluster_list_array(&r->cluster, &r->job, "", "v1", "configmaps",
                                          r->ctx->settings.ns, selector, &text, err);
    if (rc == VMB_E_NOT_FOUND) { /* a cluster that never had a Velero */
        rc = VMB_OK;
    } else if (rc == VMB_OK) {
        rc = vmbi_json_parse(text.data, text.len, plugin, &list, err);
    }
    if (rc == VMB_OK && vmbi_json_len(list) > 1) {
        rc = vmbi_fail(err, VMB_E_INVALID,
                       "found more than one ConfigMap matching label selector "
                       "\"%s\"",
                       selector);
    }
    const vmbi_json *data = vmbi_json_get(vmbi_json_at(list, 0), "data");
    if (rc == VMB_OK && vmbi_json_len(data) > 0) {
        *out = vmbi_json_copy(data);
        rc = *out != NULL ? VMB_OK : vmbi_fail_nomem(err);
    }
    vmbi_json_free(list);
    vmbi_buf_free(&text);
    return rc;
}

vmb_code vmbi_restore_read_plugins(vmbi_restore *r, vmb_error **err)
{
    vmb_error *why = NULL;
    vmb_code rc = vmbi_restore_plugin_config(r, "velero.io/change-storage-class", &r->class_map, &why);
    if (rc == VMB_OK) {
        rc = vmbi_restore_plugin_config(r, "velero.io/change-image-name", &r->image_map, &why);
    }
    if (rc == VMB_E_DENIED ||
        rc == VMB_E_INVALID) { /* not allowed to look: then nobody configured */
        vmbi_restore_warn(r, NULL, why, "configuration of restore actions");
        vmb_error_free(vmbi_steal(&why));
        rc = VMB_OK;
    }
    vmbi_error_move(err, &why);
    return rc;
}

/* ---- storage classes ----------------------------------------------------------------------- */

static vmb_code change_class(vmbi_restore *r, vmbi_json *spec, vmb_error **err)
{
    const char *now = vmbi_json_get_str(spec, "storageClassName");
    const char *wanted = now != NULL ? vmbi_json_get_str(r->class_map, now) : NULL;
    if (wanted == NULL) {
        return VMB_OK;
    }
    vmbi_buf text = VMBI_BUF_INIT(VMBI_OBJECT_MAX_BYTES);
    vmb_code rc = vmbi_cluster_get(&r->cluster, &r->job, "storage.k8s.io", NULL, "storageclasses",
                                   NULL, wanted, &text, err);
    vmbi_buf_free(&text);
    if (rc != VMB_OK) {
        return vmbi_wrap(err, rc, "error getting storage class %s from API", wanted);
    }
    return vmbi_json_set_str(spec, "storageClassName", wanted) ? VMB_OK : vmbi_fail_nomem(err);
}

static vmb_code change_classes(vmbi_restore *r, const vmbi_ritem *item, vmb_error **err)
{
    vmb_code rc = VMB_OK;
    if (strcmp(item->group_resource, "persistentvolumes") == 0 ||
        strcmp(item->group_resource, "persistentvolumeclaims") == 0) {
        return change_class(r, vmbi_json_get(item->obj, "spec"), err);
    }
    if (strcmp(item->group_resource, "statefulsets.apps") == 0) {
        const vmbi_json *list = vmbi_json_path(item->obj, "spec.volumeClaimTemplates");
        for (size_t i = 0; i < vmbi_json_len(list) && rc == VMB_OK; i++) {
            rc = change_class(r, vmbi_json_get(vmbi_json_at(list, i), "spec"), err);
        }
    }
    return rc;
}

/* ---- images -------------------------------------------------------------------------------- */

/* A rule is "old,new", each a part of the name; blanks around them do not count. */
static bool split_rule(const char *rule, vmbi_buf *from, vmbi_buf *to)
{
    const char *comma = strchr(rule, ',');
    if (comma == NULL) {
        return false;
    }
    const char *parts[2] = {rule, comma + 1};
    const char *ends[2] = {comma, comma + 1 + strlen(comma + 1)};
    vmbi_buf *out[2] = {from, to};
    for (size_t i = 0; i < 2; i++) {
        while (parts[i] < ends[i] && vmbi_is_space(*parts[i])) {
            parts[i]++;
        }
        while (ends[i] > parts[i] && vmbi_is_space(ends[i][-1])) {
            ends[i]--;
        }
        vmbi_buf_reset(out[i]);
        vmbi_buf_add(out[i], parts[i], (size_t)(ends[i] - parts[i]));
    }
    return from->len > 0 && to->len > 0;
}

static void replace_all(const char *text, const vmbi_buf *from, const vmbi_buf *to, vmbi_buf *out)
{
    const char *hit;
    vmbi_buf_reset(out);
    while ((hit = strstr(text, from->data)) != NULL) {
        vmbi_buf_add(out, text, (size_t)(hit - text));
        vmbi_buf_add(out, to->data, to->len);
        text = hit + from->len;
    }
    vmbi_buf_adds(out, text);
}

static bool change_image(const vmbi_restore *r, vmbi_json *container)
{
    const char *image = vmbi_json_get_str(container, "image");
    vmbi_buf from = VMBI_BUF_INIT(4096);
    vmbi_buf to = VMBI_BUF_INIT(4096);
    vmbi_buf fresh = VMBI_BUF_INIT(65536);
    bool ok = true;
    bool done = image == NULL;
    for (void *it = vmbi_json_iter(r->image_map); it != NULL && !done;
         it = vmbi_json_iter_next(r->image_map, it)) {
        const char *rule = vmbi_json_str(vmbi_json_iter_value(it));
        if (rule != NULL && split_rule(rule, &from, &to) && strstr(image, from.data) != NULL) {
            replace_all(image, &from, &to, &fresh);
            ok = fresh.status == VMB_OK && vmbi_json_set_str(container, "image", fresh.data);
            done = true;
        }
    }
    vmbi_buf_free(&from);
    vmbi_buf_free(&to);
    vmbi_buf_free(&fresh);
    return ok;
}

static vmb_code change_images(const vmbi_restore *r, const vmbi_ritem *item, vmb_error **err)
{
    static const struct {
        const char *resource;
        const char *path;
    } places[] = {
        {"pods", "spec"},
        {"deployments.apps", "spec.template.spec"},
        {"statefulsets.apps", "spec.template.spec"},
        {"daemonsets.apps", "spec.template.spec"},
        {"replicasets.apps", "spec.template.spec"},
        {"replicationcontrollers", "spec.template.spec"},
        {"jobs.batch", "spec.template.spec"},
        {"cronjobs.batch", "spec.jobTemplate.spec.template.spec"},
    };
    static const char *const lists[] = {"containers", "initContainers"};
    for (size_t i = 0; i < VMBI_ARRAY_LEN(places); i++) {
        if (strcmp(places[i].resource, item->group_resource) != 0) {
            continue;
        }
        const vmbi_json *spec = vmbi_json_path(item->obj, places[i].path);
        for (size_t k = 0; k < VMBI_ARRAY_LEN(lists); k++) {
            const vmbi_json *list = vmbi_json_get(spec, lists[k]);
            for (size_t n = 0; n < vmbi_json_len(list); n++) {
                if (!change_image(r, vmbi_json_at(list, n))) {
                    return vmbi_fail_nomem(err);
                }
            }
        }
    }
    return VMB_OK;
}

vmb_code vmbi_restore_plugins(vmbi_restore *r, vmbi_ritem *item, vmb_error **err)
{
    vmb_code rc = r->class_map != NULL ? change_classes(r, item, err) : VMB_OK;
    return rc == VMB_OK && r->image_map != NULL ? change_images(r, item, err) : rc;
}
