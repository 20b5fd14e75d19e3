/* SPDX-License-Identifier: Apache-2.0 */
#include "restore_support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/strs.h"
#include "codec/gzip.h"
#include "codec/tar.h"

/* ---- a cluster in memory ------------------------------------------------------------------- */

#define RES(name, kind, ns)                                                                        \
    "{\"name\":\"" name "\",\"singularName\":\"\",\"kind\":\"" kind "\",\"namespaced\":" ns        \
    ",\"shortNames\":[],\"verbs\":[\"create\",\"delete\",\"get\",\"list\"]}"

static const char discovery[] =
    "{\"serverVersion\":{\"gitVersion\":\"v1\",\"major\":\"1\",\"minor\":\"1\"},\"groups\":[{"
    "\"group\":\"\",\"preferredVersion\":\"v1\",\"versions\":[{\"version\":\"v1\",\"resources\":"
    "[" RES("configmaps", "ConfigMap", "true") "," RES("namespaces", "Namespace", "false") "," RES(
        "pods", "Pod",
        "true") "," RES("services", "Service",
                        "true") "," RES("persistentvolumes", "PersistentVolume",
                                        "false") "," RES("persistentvolumeclaims",
                                                         "PersistentVolumeClaim",
                                                         "true") "," RES("serviceaccounts",
                                                                         "ServiceAccount",
                                                                         "true") "]}]}]}";

static vmb_code f_discover(void *user, vmb_job *job, vmb_sink *out, vmb_error **err)
{
    (void)user;
    (void)job;
    return vmb_sink_write(out, discovery, sizeof(discovery) - 1, err);
}

static void path_of(char out[256], const char *group, const char *resource, const char *ns,
                    const char *name)
{
    (void)snprintf(out, 256, "%s%s%s/%s/%s", resource, group[0] != '\0' ? "." : "", group,
                   ns != NULL ? ns : "", name);
}

object *find(fake *f, const char *path)
{
    for (size_t i = 0; i < f->n; i++) {
        if (strcmp(f->objects[i].path, path) == 0) {
            return &f->objects[i];
        }
    }
    return NULL;
}

static vmb_code f_list(void *user, vmb_job *job, const char *group, const char *version,
                       const char *resource, const char *ns, const char *selector,
                       int64_t page_size, vmb_item_sink *out, vmb_error **err)
{
    fake *f = user;
    vmb_code rc = VMB_OK;
    (void)job;
    (void)group;
    (void)version;
    (void)resource;
    (void)page_size;
    /* only what configures the action for storage classes */
    if (ns == NULL || selector == NULL || strstr(selector, "change-storage-class") == NULL) {
        return VMB_OK;
    }
    for (size_t i = 0; i < f->n && rc == VMB_OK; i++) {
        if (strcmp(f->objects[i].path, "configmaps/velero/classes") == 0) {
            rc = vmb_item_sink_push(out, f->objects[i].json, strlen(f->objects[i].json), err);
        }
    }
    return rc;
}

static vmb_code f_get(void *user, vmb_job *job, const char *group, const char *version,
                      const char *resource, const char *ns, const char *name, vmb_sink *out,
                      vmb_error **err)
{
    fake *f = user;
    char path[256];
    (void)job;
    (void)version;
    path_of(path, group, resource, ns, name);
    (void)pthread_mutex_lock(&f->lock);
    object *o = find(f, path);
    vmb_code rc = VMB_E_NOT_FOUND;
    if (o != NULL && f->leaving != NULL && strcmp(path, f->leaving) == 0 &&
        f->leaving_looks-- == 0) {
        o->path[0] = '\0';
        f->leaving = NULL;
        o = NULL;
    }
    if (o != NULL) {
        rc = vmb_sink_write(out, o->json, strlen(o->json), err);
    } else {
        vmb_error_set(err, VMB_E_NOT_FOUND, 0, "not found");
    }
    (void)pthread_mutex_unlock(&f->lock);
    return rc;
}

void add(fake *f, const char *path, const char *json)
{
    assert_true(f->n < MAX_OBJECTS);
    (void)snprintf(f->objects[f->n].path, sizeof(f->objects[f->n].path), "%s", path);
    f->objects[f->n++].json = strdup(json);
}

/* The object as the server keeps it, and its path; NULL when memory is out. */
static char *stamped(const char *json, size_t len, char path[256], const char *group,
                     const char *resource, const char *ns)
{
    vmbi_json *tree = NULL;
    char now[VMBI_RFC3339_SIZE];
    char *text = NULL;
    vmbi_format_rfc3339(vmbi_unix_ns(), now);
    if (vmbi_json_parse(json, len, "object", &tree, NULL) == VMB_OK &&
        vmbi_json_set_str(vmbi_json_get(tree, "metadata"), "creationTimestamp", now)) {
        path_of(path, group, resource, ns, vmbi_json_path_str(tree, "metadata.name"));
        vmbi_json *spec = vmbi_json_get(tree, "spec");
        if (strcmp(resource, "pods") == 0 && (vmbi_json_get(spec, "initContainers") != NULL ||
                                              strstr(path, "/vmbackup-restore-") != NULL)) {
            /* the scheduler is quick with pods that wait */
            (void)vmbi_json_set_str(spec, "nodeName", "placed");
        }
        (void)vmbi_json_to_text(tree, &text, NULL, NULL);
    }
    vmbi_json_free(tree);
    return text;
}

static vmb_code f_create(void *user, vmb_job *job, const char *group, const char *version,
                         const char *resource, const char *ns, const char *json, size_t len,
                         vmb_sink *out, vmb_error **err)
{
    fake *f = user;
    char path[256];
    char *text = stamped(json, len, path, group, resource, ns);
    vmb_code rc;
    (void)job;
    (void)version;
    if (text == NULL) {
        return VMB_E_NOMEM;
    }
    (void)pthread_mutex_lock(&f->lock);
    f->busy++;
    f->busiest = f->busy > f->busiest ? f->busy : f->busiest;
    (void)pthread_mutex_unlock(&f->lock);
    if (f->pause_us > 0) {
        (void)usleep((useconds_t)f->pause_us);
    }
    (void)pthread_mutex_lock(&f->lock);
    f->busy--;
    if (f->cancel != NULL && f->creates_left-- <= 0) {
        vmb_run_cancel(f->cancel);
    }
    if (f->fail_path != NULL && strcmp(f->fail_path, path) == 0) {
        rc = f->fail_code != VMB_OK ? f->fail_code : VMB_E_INVALID;
        vmb_error_set(err, rc, 0, "refused by the fake");
        f->fail_path = f->fail_times > 0 && --f->fail_times == 0 ? NULL : f->fail_path;
    } else if (find(f, path) != NULL) {
        vmb_error_set(err, VMB_E_EXISTS, 0, "already exists");
        rc = VMB_E_EXISTS;
    } else {
        add(f, path, text);
        if (strstr(path, "/vmbackup-restore-") != NULL) {
            (void)snprintf(f->holder, sizeof(f->holder), "%s", path);
        }
        rc = vmb_sink_write(out, text, strlen(text), err);
    }
    if (rc == VMB_OK && f->lost_path != NULL && strcmp(f->lost_path, path) == 0) {
        f->lost_path = NULL;
        vmb_error_set(err, VMB_E_NET, 0, "the connection broke");
        rc = VMB_E_NET;
    }
    (void)pthread_mutex_unlock(&f->lock);
    vmb_free(text);
    return rc;
}

static vmb_code f_patch(void *user, vmb_job *job, const char *group, const char *version,
                        const char *resource, const char *ns, const char *name,
                        const char *subresource, int32_t kind, const char *json, size_t len,
                        vmb_sink *out, vmb_error **err)
{
    fake *f = user;
    vmbi_json *patch = NULL;
    vmbi_json *tree = NULL;
    char path[256];
    char *text = NULL;
    (void)job;
    (void)version;
    (void)subresource;
    (void)kind;
    path_of(path, group, resource, ns, name);
    (void)pthread_mutex_lock(&f->lock);
    object *o = find(f, path);
    vmb_code rc = o != NULL ? vmbi_json_parse(json, len, "patch", &patch, err) : VMB_E_NOT_FOUND;
    if (rc == VMB_OK) {
        rc = vmbi_json_parse(o->json, strlen(o->json), "object", &tree, err);
    }
    if (rc == VMB_OK && vmbi_json_merge_patch(tree, patch)) {
        rc = vmbi_json_to_text(tree, &text, NULL, err);
    }
    if (rc == VMB_OK) {
        free(o->json);
        o->json = strdup(text);
        rc = vmb_sink_write(out, text, strlen(text), err);
    }
    (void)pthread_mutex_unlock(&f->lock);
    vmb_free(text);
    vmbi_json_free(patch);
    vmbi_json_free(tree);
    return rc;
}

static vmb_code f_exec(void *user, vmb_job *job, const char *ns, const char *pod,
                       const char *container, const char *const *argv, size_t argc, vmb_sink *out,
                       vmb_sink *errout, int32_t *exit_code, vmb_error **err)
{
    fake *f = user;
    size_t used = strlen(f->hooks);
    (void)job;
    (void)argc;
    (void)out;
    (void)errout;
    (void)err;
    (void)snprintf(f->hooks + used, sizeof(f->hooks) - used, "%s/%s/%s:%s;", ns, pod, container,
                   argv[0]);
    *exit_code = strcmp(argv[0], "bad") == 0 ? 1 : 0;
    if (f->cancel != NULL && f->cancel_in_hook != 0) {
        vmb_run_cancel(f->cancel);
    }
    return VMB_OK;
}

static vmb_code f_save(void *user, vmb_job *job, const char *volume, size_t len,
                       vmb_progress *progress, vmb_sink *out, vmb_error **err)
{
    (void)user;
    (void)job;
    (void)volume;
    (void)len;
    (void)progress;
    (void)out;
    vmb_error_set(err, VMB_E_UNSUPPORTED, 0, "not here");
    return VMB_E_UNSUPPORTED;
}

/* Finds no place at first, as long as the pod's volume is not mounted. */
static vmb_code f_fill(void *user, vmb_job *job, const char *volume, size_t len,
                       const char *snapshot, size_t snapshot_len, vmb_progress *progress,
                       vmb_error **err)
{
    fake *f = user;
    vmbi_json *v = NULL;
    vmbi_json *s = NULL;
    (void)job;
    if (f->fills++ == 0) {
        vmb_error_set(err, VMB_E_NOT_FOUND, 0, "no such folder");
        return VMB_E_NOT_FOUND;
    }
    if (f->fill_fails != 0) {
        vmb_error_set(err, VMB_E_FULL, 0, "the disk is too small");
        return VMB_E_FULL;
    }
    vmb_progress_update(progress, 1, 2);
    vmb_code rc = vmbi_json_parse(volume, len, "volume", &v, err);
    if (rc == VMB_OK) {
        rc = vmbi_json_parse(snapshot, snapshot_len, "snapshot", &s, err);
    }
    if (rc == VMB_OK) {
        (void)snprintf(f->hooks, sizeof(f->hooks), "%s/%s/%s=%s",
                       vmbi_json_path_str(v, "pod.metadata.namespace"),
                       vmbi_json_path_str(v, "pod.metadata.name"),
                       vmbi_json_path_str(v, "volume.name"),
                       vmbi_json_path_str(s, "status.snapshotID"));
    }
    vmbi_json_free(v);
    vmbi_json_free(s);
    return rc;
}

/* ---- backups ------------------------------------------------------------------------------- */

static vmb_code to_buf(void *user, const void *data, size_t len, vmb_error **err)
{
    vmbi_buf_add(user, data, len);
    return vmbi_buf_check(user, err, "archive");
}

void write_file(const fake *f, const char *name, const void *data, size_t len)
{
    char path[256];
    (void)snprintf(path, sizeof(path), "%s/backups/b1/%s", f->dir, name);
    FILE *out = fopen(path, "wb");
    assert_non_null(out);
    assert_int_equal(fwrite(data, 1, len, out), len);
    assert_int_equal(fclose(out), 0);
}

void write_gz(const fake *f, const char *name, const char *text)
{
    vmbi_buf gz = VMBI_BUF_INIT(65536);
    assert_int_equal(vmbi_gzip_buf(text, strlen(text), &gz, NULL), VMB_OK);
    write_file(f, name, gz.data, gz.len);
    vmbi_buf_free(&gz);
}

void make_backup(const fake *f, const item *items, size_t n)
{
    vmbi_buf tar = VMBI_BUF_INIT(64 << 20);
    vmbi_buf gz = VMBI_BUF_INIT(64 << 20);
    vmbi_tar *t = NULL;
    char path[512];
    static const char meta[] =
        "{\"apiVersion\":\"velero.io/v1\",\"kind\":\"Backup\",\"metadata\":{\"name\":\"b1\","
        "\"labels\":{\"velero.io/schedule-name\":\"daily\"}},\"spec\":{},\"status\":{\"phase\":"
        "\"Completed\",\"startTimestamp\":\"2026-01-01T00:00:00Z\"}}";
    assert_int_equal(vmbi_tar_new(to_buf, &tar, &t, NULL), VMB_OK);
    vmbi_slice version = {"1.1.0\n", 6};
    assert_int_equal(vmbi_tar_add(t, "metadata/version", 0, &version, 1, NULL), VMB_OK);
    for (size_t i = 0; i < n; i++) {
        vmbi_slice text = {items[i].json, strlen(items[i].json)};
        (void)snprintf(path, sizeof(path), "resources/%s", items[i].path);
        assert_int_equal(vmbi_tar_add(t, path, 0, &text, 1, NULL), VMB_OK);
        const char *slash = strchr(items[i].path, '/');
        (void)snprintf(path, sizeof(path), "resources/%.*s/v1-preferredversion%s",
                       (int)(slash - items[i].path), items[i].path, slash);
        assert_int_equal(vmbi_tar_add(t, path, 0, &text, 1, NULL), VMB_OK);
    }
    assert_int_equal(vmbi_tar_finish(t, NULL), VMB_OK);
    vmbi_tar_free(t);
    assert_int_equal(vmbi_gzip_buf(tar.data, tar.len, &gz, NULL), VMB_OK);
    write_file(f, "b1.tar.gz", gz.data, gz.len);
    write_file(f, "velero-backup.json", meta, sizeof(meta) - 1);
    vmbi_buf_free(&tar);
    vmbi_buf_free(&gz);
}

const item shop[SHOP_ITEMS] = {
    {"configmaps/namespaces/shop/a.json", OBJ("ConfigMap", "a", "shop", ",\"data\":{\"k\":\"v\"}")},
    {"configmaps/namespaces/other/b.json", OBJ("ConfigMap", "b", "other", "")},
    {"pods/namespaces/shop/web.json",
     "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"web\",\"namespace\":"
     "\"shop\","
     "\"labels\":{\"app\":\"web\"},\"ownerReferences\":[{}]},\"spec\":{\"nodeName\":\"n1\","
     "\"containers\":[{\"name\":\"c\"}],\"volumes\":[{\"name\":\"d\",\"persistentVolumeClaim\":{"
     "\"claimName\":\"disk\"}}]},\"status\":{\"phase\":\"Running\"}}"},
    {"pods/namespaces/shop/done.json",
     OBJ("Pod", "done", "shop", ",\"status\":{\"phase\":\"Succeeded\"}")},
    {"persistentvolumeclaims/namespaces/shop/disk.json",
     OBJ("PersistentVolumeClaim", "disk", "shop",
         ",\"spec\":{\"volumeName\":\"pv1\"},\"status\":{\"phase\":\"Bound\"}")},
    {"persistentvolumes/cluster/pv1.json",
     "{\"apiVersion\":\"v1\",\"kind\":\"PersistentVolume\",\"metadata\":{\"name\":\"pv1\"},"
     "\"spec\":{"
     "\"persistentVolumeReclaimPolicy\":\"Retain\",\"claimRef\":{\"name\":\"disk\",\"namespace\":"
     "\"shop\",\"uid\":\"u\"}}}"},
    {"namespaces/cluster/shop.json",
     "{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"shop\",\"labels\":{"
     "\"team\":\"x\"}},\"spec\":{}}"},
    {"services/namespaces/shop/svc.json",
     OBJ("Service", "svc", "shop",
         ",\"spec\":{\"clusterIP\":\"10.0.0.1\",\"clusterIPs\":[\"10.0.0.1\"],\"type\":"
         "\"NodePort\","
         "\"ports\":[{\"port\":80,\"nodePort\":30000,\"protocol\":\"TCP\"}]}")},
};

/* ---- running ------------------------------------------------------------------------------- */

static void on_event(void *user, const vmb_event *event)
{
    fake *f = user;
    (void)event;
    *(pthread_equal(f->thread, pthread_self()) ? &f->events : &f->strangers) += 1;
}

static void on_log(void *user, int32_t level, const char *msg)
{
    (void)level;
    (void)msg;
    on_event(user, NULL);
}

vmb_ctx *make_ctx(fake *f)
{
    char location[512];
    vmb_ctx *ctx = NULL;
    vmb_cluster_provider cluster = {.struct_size = sizeof(cluster),
                                    .api_version = VMB_PROVIDER_API,
                                    .name = "fake",
                                    .user = f,
                                    .discover = f_discover,
                                    .list = f_list,
                                    .get = f_get,
                                    .create = f_create,
                                    .patch = f_patch};
    vmb_exec_provider exec = {.struct_size = sizeof(exec),
                              .api_version = VMB_PROVIDER_API,
                              .name = "fake",
                              .user = f,
                              .exec = f_exec};
    assert_int_equal(vmb_ctx_new(&ctx, NULL), VMB_OK);
    assert_int_equal(vmb_ctx_add_cluster_provider(ctx, &cluster, NULL), VMB_OK);
    vmb_volume_provider volumes = {.struct_size = sizeof(volumes),
                                   .api_version = VMB_PROVIDER_API,
                                   .name = "fake",
                                   .user = f,
                                   .backup = f_save,
                                   .restore = f_fill};
    assert_int_equal(vmb_ctx_add_exec_provider(ctx, &exec, NULL), VMB_OK);
    assert_int_equal(vmb_ctx_add_volume_provider(ctx, &volumes, NULL), VMB_OK);
    (void)snprintf(
        location, sizeof(location),
        "{\"apiVersion\":\"velero.io/v1\",\"kind\":\"BackupStorageLocation\",\"metadata\":"
        "{\"name\":\"default\"},\"spec\":{\"provider\":\"vmbackup.io/dir\",\"default\":"
        "true,\"config\":{\"path\":\"%s\"}}}",
        f->dir);
    assert_int_equal(vmb_ctx_set_log(ctx, on_log, f, NULL, NULL), VMB_OK);
    assert_int_equal(vmb_ctx_add_location(ctx, location, strlen(location), NULL), VMB_OK);
    return ctx;
}

int setup(void **state)
{
    fake *f = calloc(1, sizeof(*f));
    char path[128];
    assert_non_null(f);
    (void)pthread_mutex_init(&f->lock, NULL);
    (void)snprintf(f->dir, sizeof(f->dir), "%s", "/tmp/vmbackup-restore-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    (void)snprintf(path, sizeof(path), "%s/backups", f->dir);
    assert_int_equal(mkdir(path, 0700), 0);
    (void)snprintf(path, sizeof(path), "%s/backups/b1", f->dir);
    assert_int_equal(mkdir(path, 0700), 0);
    *state = f;
    return 0;
}

static void remove_tree(const char *path)
{
    static const char *const files[] = {"backups/b1/b1-podvolumebackups.json.gz",
                                        "backups/b1/b1.tar.gz",
                                        "backups/b1/b1-volumeinfo.json.gz",
                                        "backups/b1/velero-backup.json",
                                        "backups/b1",
                                        "backups",
                                        "restores/r1/restore-r1-logs.gz",
                                        "restores/r1/restore-r1-results.gz",
                                        "restores/r1/restore-r1-resource-list.json.gz",
                                        "restores/r1/restore-r1-itemoperations.json.gz",
                                        "restores/r1/r1-volumeinfo.json.gz",
                                        "restores/r1/vmbackup-restore.json",
                                        "restores/r1/vmbackup-unfinished.json",
                                        "restores/r1",
                                        "restores",
                                        ""};
    char full[256];
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        (void)snprintf(full, sizeof(full), "%s/%s", path, files[i]);
        (void)remove(full);
    }
}

int teardown(void **state)
{
    fake *f = *state;
    for (size_t i = 0; i < f->n; i++) {
        free(f->objects[i].json);
    }
    remove_tree(f->dir);
    free(f);
    return 0;
}

/* Runs a Restore whose spec is `spec`; the report is owned. */
vmbi_json *restore_labelled(fake *f, const char *spec, const char *labels, const char *phase)
{
    char doc[2048];
    vmb_ctx *ctx = make_ctx(f);
    vmb_spec *s = NULL;
    vmb_run *run = NULL;
    vmb_error *err = NULL;
    vmbi_json *report = NULL;
    char *text = NULL;
    size_t len = 0;
    (void)snprintf(doc, sizeof(doc),
                   "{\"apiVersion\":\"velero.io/v1\",\"kind\":\"Restore\",\"metadata\":{\"name\":"
                   "\"r1\",\"labels\":%s},\"spec\":%s}",
                   labels, spec);
    assert_int_equal(vmb_spec_parse(doc, strlen(doc), NULL, &s, NULL), VMB_OK);
    assert_int_equal(vmb_run_new(ctx, s, &run, NULL), VMB_OK);
    if (f->cancel != NULL) {
        f->cancel = run;
    }
    f->thread = pthread_self();
    assert_int_equal(vmb_run_set_event_fn(run, on_event, f, NULL), VMB_OK);
    (void)vmb_run_execute(run, &err);
    assert_true(f->events > 0);
    assert_int_equal(f->strangers, 0);
    if (strcmp(vmb_run_phase(run), phase) != 0) {
        fail_msg("phase %s: %s", vmb_run_phase(run), vmb_error_message(err));
    }
    assert_int_equal(vmb_run_report_json(run, &text, &len, NULL), VMB_OK);
    assert_int_equal(vmbi_json_parse(text, len, "report", &report, NULL), VMB_OK);
    assert_string_equal(vmbi_json_get_str(report, "kind"), "RunReport");
    vmb_free(text);
    vmb_error_free(err);
    vmb_run_free(run);
    vmb_spec_free(s);
    vmb_ctx_unref(ctx);
    return report;
}

vmbi_json *restore(fake *f, const char *spec, const char *phase)
{
    return restore_labelled(f, spec, "{}", phase);
}

vmbi_json *created(fake *f, const char *path)
{
    vmbi_json *tree = NULL;
    object *o = find(f, path);
    if (o == NULL) {
        fail_msg("%s was not created", path);
        return NULL;
    }
    assert_int_equal(vmbi_json_parse(o->json, strlen(o->json), path, &tree, NULL), VMB_OK);
    return tree;
}

size_t place(fake *f, const char *path)
{
    object *o = find(f, path);
    assert_non_null(o);
    return (size_t)(o - f->objects);
}
