/* SPDX-License-Identifier: Apache-2.0 */
/* The init container restore-wait: it holds a pod back until the content of its volumes is there,
 * that is until each of its mounts has a file .velero/<uid of the restore>. Source: Velero 1.18
 * pkg/restore/actions/pod_volume_restore_action.go, cmd/velero-restore-helper. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/strs.h"
#include "codec/yaml.h"
#include "core/restore/podvolumes.h"

enum { NEWEST_HELPER_IMAGE = 16 /* minor version: from 1.17 on Velero's own image has the program */ };

static const char default_image[] = "velero/velero:v1.18.1";
static const char default_tag[] = "v1.18.1";
static const char default_command[] = "/velero-restore-helper";

/* ---- what configures it -------------------------------------------------------------------- */

static const char *text_of(const vmbi_json *obj, const char *key)
{
    const char *s = vmbi_json_get_str(obj, key);
    return s != NULL ? s : "";
}

static const char *tag_of(const char *image)
{
    const char *slash = strrchr(image, '/');
    const char *colon = strrchr(slash != NULL ? slash : image, ':');
    return colon != NULL ? colon + 1 : image + strlen(image);
}

/* Velero up to 1.16 has the program in an image of its own. */
static void helper_of_velero(const char *image, vmbi_buf *out)
{
    const char *tag = tag_of(image);
    int64_t minor = 0;
    vmbi_buf_reset(out);
    if (vmbi_starts_with(tag, "v1.") &&
        vmbi_parse_i64(tag + 3, strspn(tag + 3, "0123456789"), &minor) &&
        minor <= NEWEST_HELPER_IMAGE) {
        vmbi_buf_addf(out, "velero/velero-restore-helper:%s", tag);
    } else {
        vmbi_buf_adds(out, image);
    }
}

/* The image of the Velero that is installed, or the latest one that is known here. */
static void usual_image(vmbi_restore *r, vmbi_buf *out)
{
    vmbi_buf text = VMBI_BUF_INIT(VMBI_OBJECT_MAX_BYTES);
    vmbi_json *server = NULL;
    const char *image = NULL;
    if (vmbi_cluster_get(&r->cluster, &r->job, "apps", NULL, "deployments", r->ctx->settings.ns,
                         "velero", &text, NULL) == VMB_OK &&
        vmbi_json_parse(text.data != NULL ? text.data : "", text.len, "deployment", &server,
                        NULL) == VMB_OK) {
        image = vmbi_json_get_str(
            vmbi_json_at(vmbi_json_path(server, "spec.template.spec.containers"), 0), "image");
    }
    helper_of_velero(image != NULL && image[0] != '\0' ? image : default_image, out);
    vmbi_json_free(server);
    vmbi_buf_free(&text);
}

/* An image without a registry does not count, one without a tag gets Velero's. */
static void choose_image(vmbi_restore *r, const vmbi_json *config, vmbi_buf *out)
{
    const char *own = text_of(config, "image");
    usual_image(r, out);
    if (strchr(own, '/') == NULL) {
        return;
    }
    const char *tag = tag_of(out->data != NULL ? out->data : "");
    vmbi_buf full = VMBI_BUF_INIT(4096);
    vmbi_buf_adds(&full, own);
    if (tag_of(own)[0] == '\0') {
        vmbi_buf_addf(&full, ":%s", tag[0] != '\0' ? tag : default_tag);
    }
    vmbi_buf_reset(out);
    vmbi_buf_adds(out, full.data != NULL ? full.data : "");
    vmbi_buf_free(&full);
}

static bool set_resources(vmbi_json *container, const vmbi_json *config)
{
    static const struct {
        const char *part, *key, *setting, *usual;
    } known[] = {
        {"requests", "cpu", "cpuRequest", "100m"},
        {"requests", "memory", "memRequest", "128Mi"},
        {"limits", "cpu", "cpuLimit", "100m"},
        {"limits", "memory", "memLimit", "128Mi"},
    };
    vmbi_json *resources = vmbi_json_ensure_object(container, "resources");
    bool ok = resources != NULL;
    for (size_t i = 0; i < VMBI_ARRAY_LEN(known) && ok; i++) {
        const char *own = text_of(config, known[i].setting);
        vmbi_json *part = vmbi_json_ensure_object(resources, known[i].part);
        ok = part != NULL &&
             vmbi_json_set_str(part, known[i].key, own[0] != '\0' ? own : known[i].usual);
    }
    return ok;
}

/* "restricted", as the Pod Security Standards call it. */
static vmbi_json *usual_security(void)
{
    vmbi_json *s = NULL;
    static const char text[] =
        "{\"allowPrivilegeEscalation\":false,\"capabilities\":{\"drop\":[\"ALL\"]},"
        "\"seccompProfile\":{\"type\":\"RuntimeDefault\"},\"runAsUser\":1000,"
        "\"runAsNonRoot\":true}";
    (void)vmbi_json_parse(text, sizeof(text) - 1, "securityContext", &s, NULL);
    return s;
}

static bool set_number(vmbi_json *s, const char *field, const char *text)
{
    int64_t n = 0;
    return text[0] == '\0' ||
           (vmbi_parse_i64(text, strlen(text), &n) && vmbi_json_set_int(s, field, n));
}

/* NULL: nothing is configured, or nothing that can be used (which is told). */
static vmbi_json *own_security(vmbi_restore *r, const vmbi_json *config)
{
    const char *user = text_of(config, "secCtxRunAsUser");
    const char *group = text_of(config, "secCtxRunAsGroup");
    const char *escalation = text_of(config, "secCtxAllowPrivilegeEscalation");
    const char *more = text_of(config, "secCtx");
    bool allow = false;
    if (user[0] == '\0' && group[0] == '\0' && escalation[0] == '\0' && more[0] == '\0') {
        return NULL;
    }
    vmbi_json *s = vmbi_json_object();
    vmbi_json *patch = NULL;
    bool ok = s != NULL && set_number(s, "runAsUser", user) && set_number(s, "runAsGroup", group);
    ok = ok && (escalation[0] == '\0' ||
                (vmbi_parse_bool(escalation, &allow) &&
                 vmbi_json_set_bool(s, "allowPrivilegeEscalation", allow)));
    ok = ok && (more[0] == '\0' ||
                (vmbi_doc_parse(more, strlen(more), "secCtx", NULL, &patch, NULL, NULL) == VMB_OK &&
                 vmbi_json_is_object(patch) && vmbi_json_merge_patch(s, patch)));
    vmbi_json_free(patch);
    if (!ok) {
        vmbi_restore_warn(r, NULL, NULL,
                          "the ConfigMap of velero.io/pod-volume-restore: secCtx cannot be read, "
                          "the usual securityContext is used");
        vmbi_json_free(s);
        return NULL;
    }
    return s;
}

static vmbi_json *field_variable(const char *name, const char *path)
{
    vmbi_json *v = vmbi_json_object();
    vmbi_json *ref = vmbi_json_ensure_object(vmbi_json_ensure_object(v, "valueFrom"), "fieldRef");
    if (ref == NULL || !vmbi_json_set_str(v, "name", name) ||
        !vmbi_json_set_str(ref, "fieldPath", path)) {
        vmbi_json_free(v);
        return NULL;
    }
    return v;
}

static vmb_code make_container(vmbi_restore *r, const vmbi_json *config, vmb_error **err)
{
    vmbi_buf image = VMBI_BUF_INIT(4096);
    const char *command = text_of(config, "command");
    const char *argv[] = {command[0] != '\0' ? command : default_command};
    const char *args[] = {r->uid};
    vmbi_json *c = vmbi_json_object();
    vmbi_json *env = vmbi_json_array();
    choose_image(r, config, &image);
    bool ok = c != NULL && image.status == VMB_OK && image.data != NULL;
    ok = ok && vmbi_json_set_str(c, "name", VMBI_WAIT_CONTAINER);
    ok = ok && vmbi_json_set_str(c, "image", image.data);
    ok = ok && vmbi_json_set(c, "command", vmbi_json_strings(argv, 1));
    ok = ok && vmbi_json_set(c, "args", vmbi_json_strings(args, 1));
    ok = ok && vmbi_json_append(env, field_variable("POD_NAMESPACE", "metadata.namespace"));
    ok = ok && vmbi_json_append(env, field_variable("POD_NAME", "metadata.name"));
    ok = ok && vmbi_json_set(c, "env", vmbi_json_ref(env)) && set_resources(c, config);
    vmbi_json *security = ok ? own_security(r, config) : NULL;
    ok = ok && (security == NULL || vmbi_json_set(c, "securityContext", security));
    vmbi_json_free(env);
    vmbi_buf_free(&image);
    if (!ok) {
        vmbi_json_free(c);
        return vmbi_fail_nomem(err);
    }
    r->wait = c;
    return VMB_OK;
}

vmb_code vmbi_restore_read_wait(vmbi_restore *r, vmb_error **err)
{
    vmbi_json *config = NULL;
    vmb_error *why = NULL;
    if (vmbi_json_len(r->pod_volumes) == 0) {
        return VMB_OK;
    }
    vmb_code rc = vmbi_restore_plugin_config(r, "velero.io/pod-volume-restore", &config, &why);
    if (rc == VMB_E_DENIED || rc == VMB_E_INVALID) {
        vmbi_restore_warn(r, NULL, why, "configuration of restore actions");
        vmb_error_free(vmbi_steal(&why));
        rc = VMB_OK;
    }
    vmbi_error_move(err, &why);
    if (rc == VMB_OK) {
        rc = make_container(r, config, err);
    }
    vmbi_json_free(config);
    return rc;
}

/* ---- in a pod ------------------------------------------------------------------------------- */

static bool names_volume(const vmbi_json *list, const char *volume)
{
    for (size_t i = 0; i < vmbi_json_len(list); i++) {
        if (vmbi_streq(vmbi_json_get_str(vmbi_json_at(list, i), "name"), volume)) {
            return true;
        }
    }
    return false;
}

bool vmbi_restore_is_disk(const vmbi_json *spec, const char *volume)
{
    static const char *const lists[] = {"containers", "initContainers"};
    for (size_t k = 0; k < VMBI_ARRAY_LEN(lists); k++) {
        const vmbi_json *list = vmbi_json_get(spec, lists[k]);
        for (size_t i = 0; i < vmbi_json_len(list); i++) {
            if (names_volume(vmbi_json_get(vmbi_json_at(list, i), "volumeDevices"), volume)) {
                return true;
            }
        }
    }
    return false;
}

bool vmbi_restore_mount(vmbi_json *container, const char *volume, const char *prefix)
{
    bool disk = vmbi_starts_with(prefix, "/dev/");
    const char *key = disk ? "volumeDevices" : "volumeMounts";
    vmbi_buf path = VMBI_BUF_INIT(1024);
    vmbi_json *list = vmbi_json_get(container, key);
    vmbi_json *m = vmbi_json_object();
    vmbi_buf_addf(&path, "%s%s", prefix, volume);
    if (list == NULL && vmbi_json_set(container, key, vmbi_json_array())) {
        list = vmbi_json_get(container, key);
    }
    bool ok = list != NULL && path.status == VMB_OK && m != NULL;
    ok = ok && vmbi_json_set_str(m, "name", volume) &&
         vmbi_json_set_str(m, disk ? "devicePath" : "mountPath", path.data) &&
         vmbi_json_append(list, vmbi_json_ref(m));
    vmbi_json_free(m);
    vmbi_buf_free(&path);
    return ok;
}

bool vmbi_restore_add_wait_volume(vmbi_json *spec)
{
    vmbi_json *list = vmbi_json_get(spec, "volumes");
    vmbi_json *v = vmbi_json_object();
    bool ok = v != NULL && vmbi_json_set_str(v, "name", VMBI_WAIT_VOLUME) &&
              vmbi_json_ensure_object(v, "emptyDir") != NULL &&
              vmbi_json_append(list, vmbi_json_ref(v));
    vmbi_json_free(v);
    return ok;
}

vmbi_json *vmbi_restore_wait_container(const vmbi_restore *r, const vmbi_json *spec)
{
    vmbi_json *c = vmbi_json_copy(r->wait);
    const vmbi_json *first = vmbi_json_get(
        vmbi_json_at(vmbi_json_get(spec, "containers"), 0), "securityContext");
    if (c != NULL && vmbi_json_get(c, "securityContext") == NULL &&
        !vmbi_json_set(c, "securityContext",
                       vmbi_json_is_object(first) ? vmbi_json_copy(first) : usual_security())) {
        vmbi_json_free(c);
        return NULL;
    }
    return c;
}

static void drop_wait_volume(vmbi_json *spec)
{
    vmbi_json *list = vmbi_json_get(spec, "volumes");
    for (size_t i = vmbi_json_len(list); i > 0; i--) {
        if (vmbi_streq(vmbi_json_get_str(vmbi_json_at(list, i - 1), "name"), VMBI_WAIT_VOLUME)) {
            vmbi_json_del_at(list, i - 1);
        }
    }
}

static bool prepend(vmbi_json *spec, vmbi_json *container)
{
    const vmbi_json *own = vmbi_json_get(spec, "initContainers");
    vmbi_json *list = vmbi_json_array();
    bool ok = list != NULL && vmbi_json_append(list, vmbi_json_ref(container));
    for (size_t i = 0; ok && i < vmbi_json_len(own); i++) {
        ok = vmbi_json_append(list, vmbi_json_ref(vmbi_json_at(own, i)));
    }
    ok = ok && vmbi_json_set(spec, "initContainers", vmbi_json_ref(list));
    vmbi_json_free(list);
    return ok;
}

vmb_code vmbi_restore_add_wait(vmbi_restore *r, vmbi_ritem *item, vmb_error **err)
{
    vmbi_json *spec = vmbi_json_get(item->obj, "spec");
    vmbi_json *container = NULL;
    bool disks = false;
    bool ok = true;
    drop_wait_volume(spec);
    for (size_t i = 0; i < vmbi_json_len(r->pod_volumes) && ok; i++) {
        const vmbi_json *record = vmbi_restore_record_of(r, i, item->ns, item->name);
        const char *volume = vmbi_json_path_str(record, "spec.volume");
        if (volume == NULL || !names_volume(vmbi_json_get(spec, "volumes"), volume)) {
            continue;
        }
        if (container == NULL) {
            container = vmbi_restore_wait_container(r, spec);
            ok = container != NULL;
        }
        if (vmbi_restore_is_disk(spec, volume)) {
            disks = true;
        } else {
            ok = ok && vmbi_restore_mount(container, volume, "/restores/");
        }
    }
    if (ok && disks) {
        ok = vmbi_restore_add_wait_volume(spec) &&
             vmbi_restore_mount(container, VMBI_WAIT_VOLUME, "/restores/");
    }
    ok = ok && (container == NULL || prepend(spec, container));
    vmbi_json_free(container);
    return ok ? VMB_OK : vmbi_fail_nomem(err);
}
