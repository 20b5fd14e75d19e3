/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include <vmbackup/selector.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/strs.h"
#include "fake_cluster.h"

typedef struct kind_row {
    const char *group;
    const char *version;
    const char *plural;
    const char *kind;
    bool namespaced;
} kind_row;

static const kind_row rows[] = {
    {"", "v1", "pods", "Pod", true},
    {"", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", true},
    {"", "v1", "persistentvolumes", "PersistentVolume", false},
    {"", "v1", "secrets", "Secret", true},
    {"", "v1", "configmaps", "ConfigMap", true},
    {"", "v1", "serviceaccounts", "ServiceAccount", true},
    {"apps", "v1", "controllerrevisions", "ControllerRevision", true},
    {"rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding", false},
    {"rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", false},
    {"scheduling.k8s.io", "v1", "priorityclasses", "PriorityClass", false},
    {"snapshot.storage.k8s.io", "v1", "volumesnapshotclasses", "VolumeSnapshotClass", false},
    {"snapshot.storage.k8s.io", "v1", "volumesnapshotcontents", "VolumeSnapshotContent", false},
    {"snapshot.storage.k8s.io", "v1", "volumesnapshots", "VolumeSnapshot", true},
    {"kubevirt.io", "v1", "virtualmachines", "VirtualMachine", true},
    {"kubevirt.io", "v1", "virtualmachineinstances", "VirtualMachineInstance", true},
    {"cdi.kubevirt.io", "v1beta1", "datavolumes", "DataVolume", true},
    {"instancetype.kubevirt.io", "v1beta1", "virtualmachineinstancetypes",
     "VirtualMachineInstancetype", true},
    {"instancetype.kubevirt.io", "v1beta1", "virtualmachineclusterinstancetypes",
     "VirtualMachineClusterInstancetype", false},
    {"instancetype.kubevirt.io", "v1beta1", "virtualmachinepreferences", "VirtualMachinePreference",
     true},
    {"instancetype.kubevirt.io", "v1beta1", "virtualmachineclusterpreferences",
     "VirtualMachineClusterPreference", false},
    {"k8s.cni.cncf.io", "v1", "network-attachment-definitions", "NetworkAttachmentDefinition",
     true},
};

static void free_tree(void *p)
{
    vmbi_json_free(p);
}

vmbi_json *fake_json(const char *text)
{
    vmbi_json *out = NULL;
    char *copy = vmbi_strdup(text);
    assert_non_null(copy);
    for (char *p = copy; *p != '\0'; p++) {
        *p = *p == '\'' ? '"' : *p;
    }
    vmb_error *err = NULL;
    if (vmbi_json_parse(copy, strlen(copy), "fixture", &out, &err) != VMB_OK) {
        fail_msg("%s", vmb_error_message(err));
    }
    vmbi_free(copy);
    return out;
}

static void key_of(char *out, size_t size, const char *group, const char *resource, const char *ns,
                   const char *name)
{
    int n = snprintf(out, size, "%s/%s/%s/%s", group, resource, ns != NULL ? ns : "", name);
    assert_true(n > 0 && (size_t)n < size);
}

/* Takes obj over when it succeeds. */
static vmb_code put_tree(fake_cluster *f, const char *group, const char *resource, vmbi_json *obj,
                         vmb_error **err)
{
    char key[1024];
    key_of(key, sizeof key, group, resource, vmbi_json_path_str(obj, "metadata.namespace"),
           vmbi_json_path_str(obj, "metadata.name"));
    return vmbi_map_set(&f->objects, key, obj, err);
}

void fake_put(fake_cluster *f, const char *group, const char *resource, const char *json)
{
    assert_int_equal(put_tree(f, group, resource, fake_json(json), NULL), VMB_OK);
}

vmbi_json *fake_get(fake_cluster *f, const char *group, const char *resource, const char *ns,
                    const char *name)
{
    char key[1024];
    key_of(key, sizeof key, group, resource, ns, name);
    return vmbi_map_get(&f->objects, key);
}

/* The map has no removal: an absent object is a NULL value. */
static void drop(fake_cluster *f, const char *group, const char *resource, const char *ns,
                 const char *name)
{
    char key[1024];
    key_of(key, sizeof key, group, resource, ns, name);
    if (vmbi_map_get(&f->objects, key) != NULL) {
        assert_int_equal(vmbi_map_set(&f->objects, key, NULL, NULL), VMB_OK);
    }
}

static bool key_is_of(const char *key, const char *group, const char *resource)
{
    char prefix[512];
    int n = snprintf(prefix, sizeof prefix, "%s/%s/", group, resource);
    return strncmp(key, prefix, (size_t)n) == 0;
}

size_t fake_count(fake_cluster *f, const char *group, const char *resource)
{
    size_t n = 0;
    for (size_t i = 0; i < f->objects.n; i++) {
        n += f->objects.entries[i].value != NULL &&
             key_is_of(f->objects.entries[i].key, group, resource);
    }
    return n;
}

void fake_fail(fake_cluster *f, fake_verb verb, const char *resource, vmb_code code, int times)
{
    memset(&f->fault[verb], 0, sizeof f->fault[verb]);
    f->fault[verb].code = code;
    f->fault[verb].times = times;
    f->fault[verb].resource = resource;
}

static vmb_code fault(fake_cluster *f, fake_verb verb, const char *resource, bool after,
                      vmb_error **err)
{
    struct fake_fault *t = &f->fault[verb];
    if (t->times == 0 || t->after != after ||
        (t->resource != NULL && !vmbi_streq(t->resource, resource))) {
        return VMB_OK;
    }
    t->times--;
    return t->retryable ? vmbi_fail_retryable(err, t->code, "fault on demand")
                        : vmbi_fail(err, t->code, "fault on demand");
}

/* ---- the snapshot controller and the storage ----------------------------------------------------
 */

#define SNAP "snapshot.storage.k8s.io"

static void set_error(vmbi_json *status, const char *text)
{
    vmbi_json *e = vmbi_json_ensure_object(status, "error");
    assert_true(vmbi_json_set_str(e, "message", text));
}

static void bind(fake_cluster *f, vmbi_json *vs)
{
    const char *uid = vmbi_json_path_str(vs, "metadata.uid");
    char text[2048];
    (void)snprintf(
        text, sizeof text,
        "{'apiVersion':'" SNAP "/v1','kind':'VolumeSnapshotContent','metadata':{'name':"
        "'snapcontent-%s','uid':'c-%s','annotations':{'snapshot.storage.kubernetes.io/"
        "volumesnapshot-being-created':'yes'}},'spec':{'deletionPolicy':'%s','driver':'d.csi',"
        "'volumeSnapshotRef':{'name':'%s','namespace':'%s','uid':'%s'},"
        "'source':{'volumeHandle':'vol-1'}}}",
        uid, uid, f->storage.deletion_policy != NULL ? f->storage.deletion_policy : "Delete",
        vmbi_json_path_str(vs, "metadata.name"), vmbi_json_path_str(vs, "metadata.namespace"), uid);
    fake_put(f, SNAP, "volumesnapshotcontents", text);
    (void)snprintf(text, sizeof text, "snapcontent-%s", uid);
    vmbi_json *status = vmbi_json_ensure_object(vs, "status");
    assert_true(vmbi_json_set_str(status, "boundVolumeSnapshotContentName", text));
    assert_true(vmbi_json_set_bool(status, "readyToUse", false));
}

static void advance_content(fake_cluster *f, vmbi_json *vs, vmbi_json *vsc)
{
    fake_storage *s = &f->storage;
    if (!s->sidecar || vmbi_json_path(vsc, "metadata.deletionTimestamp") != NULL) {
        return;
    }
    if (s->vsc_error != NULL) {
        vmbi_json *status = vmbi_json_ensure_object(vsc, "status");
        assert_true(vmbi_json_set(status, "error", fake_json(s->vsc_error)));
        return;
    }
    vmbi_json *status = NULL;
    if (f->looks >= s->handle_after) {
        status = vmbi_json_ensure_object(vsc, "status");
        if (vmbi_json_get(status, "snapshotHandle") == NULL) {
            s->snapshots++;
            assert_true(vmbi_json_set_str(status, "snapshotHandle", "snap-1"));
            assert_true(vmbi_json_set_bool(status, "readyToUse", false));
            if (s->restore_size > 0) {
                assert_true(vmbi_json_set_int(status, "restoreSize", s->restore_size));
            }
        }
    }
    if (status != NULL && f->looks >= s->ready_after) {
        vmbi_json *vs_status = vmbi_json_ensure_object(vs, "status");
        assert_true(vmbi_json_set_bool(status, "readyToUse", true));
        assert_true(vmbi_json_set_bool(vs_status, "readyToUse", true));
        vmbi_json_del(vs_status, "error");
        vmbi_json_del(vmbi_json_path(vsc, "metadata.annotations"),
                      "snapshot.storage.kubernetes.io/volumesnapshot-being-created");
    }
}

static void advance(fake_cluster *f)
{
    fake_storage *s = &f->storage;
    if (!s->controller) {
        return;
    }
    f->looks++;
    for (size_t i = 0; i < f->objects.n; i++) {
        vmbi_json *vs = f->objects.entries[i].value;
        if (vs == NULL || !key_is_of(f->objects.entries[i].key, SNAP, "volumesnapshots")) {
            continue;
        }
        if (s->vs_error != NULL) {
            vmbi_json *status = vmbi_json_ensure_object(vs, "status");
            if (s->vs_error_until < 0 || f->looks < s->vs_error_until) {
                set_error(status, s->vs_error);
                continue;
            }
            vmbi_json_del(status, "error");
        }
        const char *bound = vmbi_json_path_str(vs, "status.boundVolumeSnapshotContentName");
        if (bound == NULL && f->looks >= s->bind_after) {
            bind(f, vs);
            return; /* the map may have moved */
        }
        vmbi_json *vsc =
            bound != NULL ? fake_get(f, SNAP, "volumesnapshotcontents", NULL, bound) : NULL;
        if (vsc != NULL) {
            advance_content(f, vs, vsc);
        }
    }
}

static void mark_deleted(vmbi_json *obj)
{
    assert_true(vmbi_json_set_str(vmbi_json_get(obj, "metadata"), "deletionTimestamp",
                                  "2026-11-24T00:00:00Z"));
}

static void remove_content(fake_cluster *f, vmbi_json *vsc)
{
    const char *policy = vmbi_json_path_str(vsc, "spec.deletionPolicy");
    char name[256];
    (void)snprintf(name, sizeof name, "%s", vmbi_json_path_str(vsc, "metadata.name"));
    if (vmbi_streq(policy, "Delete")) {
        if (!f->storage.sidecar) { /* nobody drops the finalizer */
            mark_deleted(vsc);
            return;
        }
        if (vmbi_json_path_str(vsc, "status.snapshotHandle") != NULL) {
            f->storage.snapshots--;
        }
    }
    drop(f, SNAP, "volumesnapshotcontents", NULL, name);
}

static void remove_snapshot(fake_cluster *f, vmbi_json *vs)
{
    const char *bound = vmbi_json_path_str(vs, "status.boundVolumeSnapshotContentName");
    vmbi_json *vsc =
        bound != NULL ? fake_get(f, SNAP, "volumesnapshotcontents", NULL, bound) : NULL;
    char ns[256];
    char name[256];
    (void)snprintf(ns, sizeof ns, "%s", vmbi_json_path_str(vs, "metadata.namespace"));
    (void)snprintf(name, sizeof name, "%s", vmbi_json_path_str(vs, "metadata.name"));
    if (vsc != NULL && vmbi_streq(vmbi_json_path_str(vsc, "spec.deletionPolicy"), "Delete")) {
        if (!f->storage.sidecar) {
            mark_deleted(vs);
            mark_deleted(vsc);
            return;
        }
        remove_content(f, vsc);
    }
    drop(f, SNAP, "volumesnapshots", ns, name);
}

/* ---- the vtable ---------------------------------------------------------------------------------
 */

static vmb_code send(const vmbi_json *obj, vmb_sink *out, vmb_error **err)
{
    char *text = NULL;
    size_t len = 0;
    vmb_code code = vmbi_json_to_text(obj, &text, &len, err);
    if (code == VMB_OK) {
        code = vmb_sink_write(out, text, len, err);
    }
    vmbi_free(text);
    return code;
}

static vmb_code missing(vmb_error **err, const char *resource, const char *name)
{
    return vmbi_fail(err, VMB_E_NOT_FOUND, "%s %s: not found", resource, name);
}

static bool selected(const vmb_selector *sel, const vmbi_json *obj)
{
    const vmbi_json *labels = vmbi_json_path(obj, "metadata.labels");
    const char *kv[64];
    size_t n = 0;
    int32_t yes = 0;
    for (void *it = vmbi_json_iter(labels); it != NULL && n < 32;
         it = vmbi_json_iter_next(labels, it)) {
        kv[2 * n] = vmbi_json_iter_key(it);
        kv[2 * n + 1] = vmbi_json_str(vmbi_json_iter_value(it));
        n++;
    }
    assert_int_equal(vmb_selector_matches(sel, kv, n, &yes, NULL), VMB_OK);
    return yes != 0;
}

static vmb_code do_list(void *user, vmb_job *job, const char *group, const char *version,
                        const char *resource, const char *ns, const char *label_selector,
                        int64_t page_size, vmb_item_sink *out, vmb_error **err)
{
    fake_cluster *f = user;
    vmb_selector *sel = NULL;
    (void)job;
    (void)version;
    (void)page_size;
    f->calls[FAKE_LIST]++;
    (void)snprintf(f->last_selector, sizeof f->last_selector, "%s",
                   label_selector != NULL ? label_selector : "");
    vmb_code code = fault(f, FAKE_LIST, resource, false, err);
    if (code == VMB_OK && label_selector != NULL && label_selector[0] != '\0') {
        code = vmb_selector_parse(label_selector, &sel, err);
    }
    for (size_t i = 0; code == VMB_OK && i < f->objects.n; i++) {
        const vmbi_json *obj = f->objects.entries[i].value;
        if (obj == NULL || !key_is_of(f->objects.entries[i].key, group, resource) ||
            (ns != NULL && !vmbi_streq(vmbi_json_path_str(obj, "metadata.namespace"), ns)) ||
            (sel != NULL && !selected(sel, obj))) {
            continue;
        }
        char *text = NULL;
        size_t len = 0;
        code = vmbi_json_to_text(obj, &text, &len, err);
        if (code == VMB_OK) {
            code = vmb_item_sink_push(out, text, len, err);
        }
        vmbi_free(text);
    }
    vmb_selector_free(sel);
    return code;
}

static vmb_code do_get(void *user, vmb_job *job, const char *group, const char *version,
                       const char *resource, const char *ns, const char *name, vmb_sink *out,
                       vmb_error **err)
{
    fake_cluster *f = user;
    (void)version;
    f->calls[FAKE_GET]++;
    vmb_code code = vmbi_limits_check(&job->limits, err, "get");
    if (code == VMB_OK) {
        code = fault(f, FAKE_GET, resource, false, err);
    }
    if (code != VMB_OK) {
        return code;
    }
    if (vmbi_streq(group, SNAP)) {
        advance(f);
    }
    const vmbi_json *obj = fake_get(f, group, resource, ns, name);
    return obj != NULL ? send(obj, out, err) : missing(err, resource, name);
}

static vmb_code do_create(void *user, vmb_job *job, const char *group, const char *version,
                          const char *resource, const char *ns, const char *json, size_t len,
                          vmb_sink *out, vmb_error **err)
{
    fake_cluster *f = user;
    vmbi_json *obj = NULL;
    (void)job;
    (void)version;
    f->calls[FAKE_CREATE]++;
    vmb_code code = fault(f, FAKE_CREATE, resource, false, err);
    if (code == VMB_OK) {
        code = vmbi_json_parse(json, len, "object", &obj, err);
    }
    if (code != VMB_OK) {
        return code;
    }
    if (fake_get(f, group, resource, ns, vmbi_json_path_str(obj, "metadata.name")) != NULL) {
        vmbi_json_free(obj);
        return vmbi_fail(err, VMB_E_EXISTS, "exists already");
    }
    char uid[32];
    (void)snprintf(uid, sizeof uid, "uid-%d", ++f->created);
    vmbi_json *meta = vmbi_json_get(obj, "metadata");
    assert_true(vmbi_json_set_str(meta, "uid", uid));
    assert_true(vmbi_json_set_str(meta, "creationTimestamp", "2026-11-24T01:02:03Z"));
    code = put_tree(f, group, resource, obj, err);
    if (code != VMB_OK) {
        vmbi_json_free(obj);
        return code;
    }
    code = fault(f, FAKE_CREATE, resource, true, err);
    return code == VMB_OK ? send(obj, out, err) : code;
}

static vmb_code do_patch(void *user, vmb_job *job, const char *group, const char *version,
                         const char *resource, const char *ns, const char *name,
                         const char *subresource, int32_t patch_kind, const char *json, size_t len,
                         vmb_sink *out, vmb_error **err)
{
    fake_cluster *f = user;
    vmbi_json *patch = NULL;
    (void)job;
    (void)version;
    (void)subresource;
    assert_int_equal(patch_kind, VMB_PATCH_MERGE);
    f->calls[FAKE_PATCH]++;
    vmb_code code = fault(f, FAKE_PATCH, resource, false, err);
    if (code != VMB_OK) {
        return code;
    }
    vmbi_json *obj = fake_get(f, group, resource, ns, name);
    if (obj == NULL) {
        return missing(err, resource, name);
    }
    code = vmbi_json_parse(json, len, "patch", &patch, err);
    if (code == VMB_OK) {
        assert_true(vmbi_json_merge_patch(obj, patch));
        code = send(obj, out, err);
    }
    vmbi_json_free(patch);
    return code;
}

static vmb_code do_remove(void *user, vmb_job *job, const char *group, const char *version,
                          const char *resource, const char *ns, const char *name, vmb_error **err)
{
    fake_cluster *f = user;
    (void)job;
    (void)version;
    f->calls[FAKE_REMOVE]++;
    vmb_code code = fault(f, FAKE_REMOVE, resource, false, err);
    if (code != VMB_OK) {
        return code;
    }
    vmbi_json *obj = fake_get(f, group, resource, ns, name);
    if (obj == NULL) {
        return missing(err, resource, name);
    }
    if (vmbi_streq(resource, "volumesnapshots")) {
        remove_snapshot(f, obj);
    } else if (vmbi_streq(resource, "volumesnapshotcontents")) {
        remove_content(f, obj);
    } else {
        drop(f, group, resource, ns, name);
    }
    return VMB_OK;
}

static bool word_in(const char *list, const char *word)
{
    size_t len = strlen(word);
    for (const char *p = list; p != NULL && *p != '\0'; p += *p == ',' ? 1 : 0) {
        size_t n = strcspn(p, ",");
        if (n == len && memcmp(p, word, len) == 0) {
            return true;
        }
        p += n;
    }
    return false;
}

static const char *without_groups; /* during fake_open only */

static vmb_code do_discover(void *user, vmb_job *job, vmb_sink *out, vmb_error **err)
{
    vmbi_buf b = VMBI_BUF_INIT(65536);
    const char *group = NULL;
    (void)user;
    (void)job;
    vmbi_buf_adds(&b, "{\"serverVersion\":{\"gitVersion\":\"v1.30.0\",\"major\":\"1\",\"minor\":"
                      "\"30\"},\"warnings\":[],\"groups\":[");
    for (size_t i = 0; i < VMBI_ARRAY_LEN(rows); i++) {
        if (word_in(without_groups, rows[i].group)) {
            continue;
        }
        if (!vmbi_streq(group, rows[i].group)) {
            vmbi_buf_addf(&b,
                          "%s{\"group\":\"%s\",\"preferredVersion\":\"%s\",\"versions\":"
                          "[{\"version\":\"%s\",\"resources\":[",
                          group != NULL ? "]}]}," : "", rows[i].group, rows[i].version,
                          rows[i].version);
        } else {
            vmbi_buf_addc(&b, ',');
        }
        group = rows[i].group;
        vmbi_buf_addf(&b,
                      "{\"name\":\"%s\",\"singularName\":\"\",\"kind\":\"%s\",\"namespaced\":%s,"
                      "\"shortNames\":[],\"verbs\":[\"create\",\"delete\",\"get\",\"list\"]}",
                      rows[i].plural, rows[i].kind, rows[i].namespaced ? "true" : "false");
    }
    vmbi_buf_adds(&b, "]}]}]}");
    vmb_code code = vmb_sink_write(out, b.data, b.len, err);
    vmbi_buf_free(&b);
    return code;
}

static void do_log(void *user, int32_t level, const char *msg)
{
    fake_cluster *f = user;
    vmbi_buf_addf(&f->log, "%c:%s\n", "DIWE"[level], msg);
}

void fake_open(fake_cluster *f, const char *without)
{
    memset(f, 0, sizeof *f);
    vmbi_buf_init(&f->log, 1 << 20);
    f->objects.free_value = free_tree;
    f->provider = (vmb_cluster_provider){.struct_size = sizeof f->provider,
                                         .api_version = VMB_PROVIDER_API,
                                         .name = "fake",
                                         .user = f,
                                         .discover = do_discover,
                                         .list = do_list,
                                         .get = do_get,
                                         .create = do_create,
                                         .patch = do_patch,
                                         .remove = do_remove};
    f->job.log = do_log;
    f->job.log_user = f;
    without_groups = without;
    assert_int_equal(vmbi_cluster_open(&f->cluster, &f->provider, 10 * VMBI_SECOND, &f->job, NULL),
                     VMB_OK);
    without_groups = NULL;
    f->job.cluster = &f->cluster;
    f->storage = (fake_storage){.controller = true,
                                .sidecar = true,
                                .bind_after = 2,
                                .handle_after = 4,
                                .ready_after = 6,
                                .restore_size = 1073741824};
}

void fake_close(fake_cluster *f)
{
    vmbi_cluster_close(&f->cluster);
    vmbi_map_free(&f->objects);
    vmbi_buf_free(&f->log);
    vmbi_cancel_free(f->cancel);
}

void fake_backup(fake_cluster *f, const char *name, const char *json)
{
    f->job.backup_name = name;
    f->job.backup_json = json;
}

/* ---- actions ------------------------------------------------------------------------------------
 */

vmb_code fake_actions_add(void *user, const vmb_action_provider *p, vmb_error **err)
{
    fake_actions *a = user;
    (void)err;
    assert_true(a->n < VMBI_ARRAY_LEN(a->v));
    assert_int_equal(p->struct_size, sizeof *p);
    assert_int_equal(p->api_version, VMB_PROVIDER_API);
    a->v[a->n++] = *p;
    return VMB_OK;
}

void fake_actions_free(fake_actions *a)
{
    for (size_t i = 0; i < a->n; i++) {
        if (a->v[i].destroy != NULL) {
            a->v[i].destroy(a->v[i].user);
        }
    }
}

vmb_code fake_actions_run(const fake_actions *a, fake_cluster *f, const char *group,
                          const char *resource, vmbi_json **item, vmb_action_result *result,
                          vmb_error **err)
{
    char gr[256];
    char *text = NULL;
    size_t len = 0;
    (void)snprintf(gr, sizeof gr, "%s%s%s", resource, group[0] != '\0' ? "." : "", group);
    assert_int_equal(vmbi_json_to_text(*item, &text, &len, NULL), VMB_OK);
    vmb_code code = VMB_OK;
    for (size_t i = 0; code == VMB_OK && i < a->n && !result->skip; i++) {
        if (!word_in(a->v[i].applies_to, gr)) {
            continue;
        }
        const char *now = result->item != NULL ? result->item : text;
        size_t now_len = result->item != NULL ? result->item_len : len;
        code = a->v[i].backup(a->v[i].user, &f->job, group, resource, now, now_len, result, err);
    }
    if (result->item != NULL) {
        vmbi_json *changed = NULL;
        assert_int_equal(vmbi_json_parse(result->item, result->item_len, "item", &changed, NULL),
                         VMB_OK);
        vmbi_json_free(*item);
        *item = changed;
    }
    vmbi_free(text);
    return code;
}

int fake_related(const vmb_action_result *r, const char *group, const char *resource,
                 const char *ns, const char *name)
{
    for (size_t i = 0; i < r->n_related; i++) {
        const vmbi_related *x = &r->related[i];
        if (vmbi_streq(x->group, group) && vmbi_streq(x->resource, resource) &&
            vmbi_streq(x->ns, ns) && vmbi_streq(x->name, name)) {
            return (int)x->flags;
        }
    }
    return -1;
}
