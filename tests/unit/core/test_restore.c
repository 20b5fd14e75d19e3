/* SPDX-License-Identifier: Apache-2.0 */
/* Restores into a cluster in memory: order, filters, mapping, existing objects, hooks, results; and
 * the index of archives. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <vmbackup/vmbackup.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/job.h"
#include "codec/gzip.h"
#include "codec/json.h"
#include "codec/tar.h"
#include "core/context.h"
#include "core/restore/index.h"

enum { MAX_OBJECTS = 600 };

/* ---- a cluster in memory ------------------------------------------------------------------- */

typedef struct object {
    char path[256]; /* "pods.group/ns/name" */
    char *json;
} object;

typedef struct fake {
    pthread_mutex_t lock;
    object objects[MAX_OBJECTS];
    size_t n;
    int busy, busiest;
    int pause_us;          /* of each create, to let others come in */
    const char *fail_path; /* creating this one fails */
    char dir[64];          /* the store */
    char hooks[512];       /* commands that were run */
    vmb_run *cancel;       /* cancelled by the first create */
    int fills;             /* calls of the volume provider */
    pthread_t thread;      /* that executes the run */
    int events, strangers; /* told on that thread, and on another one */
} fake;

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

static object *find(fake *f, const char *path)
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
    if (o != NULL) {
        rc = vmb_sink_write(out, o->json, strlen(o->json), err);
    } else {
        vmb_error_set(err, VMB_E_NOT_FOUND, 0, "not found");
    }
    (void)pthread_mutex_unlock(&f->lock);
    return rc;
}

static void add(fake *f, const char *path, const char *json)
{
    assert_true(f->n < MAX_OBJECTS);
    (void)snprintf(f->objects[f->n].path, sizeof(f->objects[f->n].path), "%s", path);
    f->objects[f->n++].json = strdup(json);
}

static vmb_code f_create(void *user, vmb_job *job, const char *group, const char *version,
                         const char *resource, const char *ns, const char *json, size_t len,
                         vmb_sink *out, vmb_error **err)
{
    fake *f = user;
    vmbi_json *tree = NULL;
    char path[256];
    vmb_code rc = vmbi_json_parse(json, len, "object", &tree, err);
    (void)job;
    (void)version;
    if (rc != VMB_OK) {
        return rc;
    }
    path_of(path, group, resource, ns, vmbi_json_path_str(tree, "metadata.name"));
    vmbi_json_free(tree);
    (void)pthread_mutex_lock(&f->lock);
    f->busy++;
    f->busiest = f->busy > f->busiest ? f->busy : f->busiest;
    (void)pthread_mutex_unlock(&f->lock);
    if (f->pause_us > 0) {
        (void)usleep((useconds_t)f->pause_us);
    }
    if (f->cancel != NULL) {
        vmb_run_cancel(f->cancel);
    }
    (void)pthread_mutex_lock(&f->lock);
    f->busy--;
    if (f->fail_path != NULL && strcmp(f->fail_path, path) == 0) {
        vmb_error_set(err, VMB_E_INVALID, 0, "refused by the fake");
        rc = VMB_E_INVALID;
    } else if (find(f, path) != NULL) {
        vmb_error_set(err, VMB_E_EXISTS, 0, "already exists");
        rc = VMB_E_EXISTS;
    } else {
        add(f, path, json);
        rc = vmb_sink_write(out, json, len, err);
    }
    (void)pthread_mutex_unlock(&f->lock);
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

typedef struct item {
    const char *path; /* below resources/ */
    const char *json;
} item;

static vmb_code to_buf(void *user, const void *data, size_t len, vmb_error **err)
{
    vmbi_buf_add(user, data, len);
    return vmbi_buf_check(user, err, "archive");
}

static void write_file(const fake *f, const char *name, const void *data, size_t len)
{
    char path[256];
    (void)snprintf(path, sizeof(path), "%s/backups/b1/%s", f->dir, name);
    FILE *out = fopen(path, "wb");
    assert_non_null(out);
    assert_int_equal(fwrite(data, 1, len, out), len);
    assert_int_equal(fclose(out), 0);
}

/* A backup "b1" with these objects, as Velero lays it out. */
static void make_backup(const fake *f, const item *items, size_t n)
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

#define OBJ(kind, name, ns, more)                                                                  \
    "{\"apiVersion\":\"v1\",\"kind\":\"" kind "\",\"metadata\":{\"name\":\"" name                  \
    "\",\"namespace\":\"" ns "\",\"uid\":\"u\",\"resourceVersion\":\"5\"}" more "}"

static const item shop[] = {
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

static vmb_ctx *make_ctx(fake *f)
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

static int setup(void **state)
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
                                        "backups/b1/velero-backup.json",
                                        "backups/b1",
                                        "backups",
                                        "restores/r1/restore-r1-logs.gz",
                                        "restores/r1/restore-r1-results.gz",
                                        "restores/r1/restore-r1-resource-list.json.gz",
                                        "restores/r1/restore-r1-itemoperations.json.gz",
                                        "restores/r1/r1-volumeinfo.json.gz",
                                        "restores/r1",
                                        "restores",
                                        ""};
    char full[256];
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        (void)snprintf(full, sizeof(full), "%s/%s", path, files[i]);
        (void)remove(full);
    }
}

static int teardown(void **state)
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
static vmbi_json *restore_labelled(fake *f, const char *spec, const char *labels, const char *phase)
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

static vmbi_json *restore(fake *f, const char *spec, const char *phase)
{
    return restore_labelled(f, spec, "{}", phase);
}

static vmbi_json *created(fake *f, const char *path)
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

static size_t place(fake *f, const char *path)
{
    object *o = find(f, path);
    assert_non_null(o);
    return (size_t)(o - f->objects);
}

#define SHOP(f) make_backup(f, shop, sizeof(shop) / sizeof(shop[0]))

static void restore_creates_in_order(void **state)
{
    fake *f = *state;
    SHOP(f);
    vmbi_json *report = restore(f, "{\"backupName\":\"b1\"}", "Completed");
    assert_true(place(f, "namespaces//shop") < place(f, "persistentvolumes//pv1"));
    assert_true(place(f, "persistentvolumes//pv1") < place(f, "persistentvolumeclaims/shop/disk"));
    assert_true(place(f, "persistentvolumeclaims/shop/disk") < place(f, "configmaps/shop/a"));
    assert_true(place(f, "configmaps/shop/a") < place(f, "pods/shop/web"));
    assert_true(place(f, "pods/shop/web") < place(f, "services/shop/svc"));
    assert_null(find(f, "pods/shop/done"));        /* it has ended */
    assert_non_null(find(f, "namespaces//other")); /* bare: the backup has no object of it */
    vmbi_json *ns = created(f, "namespaces//shop");
    assert_string_equal(vmbi_json_path_str(ns, "metadata.labels.team"), "x");
    vmbi_json_free(ns);
    assert_string_equal(vmbi_json_path_str(report, "restore.status.phase"), "Completed");
    vmbi_json_free(report);
}

static void restore_resets_and_labels(void **state)
{
    fake *f = *state;
    SHOP(f);
    vmbi_json_free(
        restore(f, "{\"backupName\":\"b1\",\"namespaceMapping\":{\"shop\":\"new\"}}", "Completed"));
    vmbi_json *pod = created(f, "pods/new/web");
    const vmbi_json *meta = vmbi_json_get(pod, "metadata");
    const vmbi_json *labels = vmbi_json_get(meta, "labels");
    assert_null(vmbi_json_get(meta, "uid"));
    assert_null(vmbi_json_get(meta, "ownerReferences"));
    assert_null(vmbi_json_get(pod, "status"));
    assert_null(vmbi_json_path(pod, "spec.nodeName"));
    assert_string_equal(vmbi_json_get_str(meta, "namespace"), "new");
    assert_string_equal(vmbi_json_get_str(labels, "velero.io/backup-name"), "b1");
    assert_string_equal(vmbi_json_get_str(labels, "velero.io/restore-name"), "r1");
    assert_string_equal(vmbi_json_get_str(labels, "app"), "web");
    vmbi_json_free(pod);
    vmbi_json *pv = created(f, "persistentvolumes//pv1");
    assert_string_equal(vmbi_json_path_str(pv, "spec.claimRef.namespace"), "new");
    assert_null(vmbi_json_path(pv, "spec.claimRef.uid"));
    vmbi_json_free(pv);
    vmbi_json *svc = created(f, "services/new/svc");
    assert_null(vmbi_json_path(svc, "spec.clusterIP"));
    assert_null(vmbi_json_get(vmbi_json_at(vmbi_json_path(svc, "spec.ports"), 0), "nodePort"));
    vmbi_json_free(svc);
    assert_null(find(f, "namespaces//shop"));
}

static void restore_of_a_namespace_takes_related_volume(void **state)
{
    fake *f = *state;
    SHOP(f);
    vmbi_json_free(
        restore(f, "{\"backupName\":\"b1\",\"includedNamespaces\":[\"shop\"]}", "Completed"));
    assert_non_null(find(f, "persistentvolumes//pv1")); /* its claim names it */
    assert_null(find(f, "configmaps/other/b"));
}

static void restore_selectors_hold_for_the_top_only(void **state)
{
    fake *f = *state;
    SHOP(f);
    vmbi_json_free(
        restore(f, "{\"backupName\":\"b1\",\"labelSelector\":{\"matchLabels\":{\"app\":\"web\"}}}",
                "Completed"));
    assert_non_null(find(f, "pods/shop/web"));
    assert_non_null(find(f, "persistentvolumeclaims/shop/disk")); /* the pod mounts it */
    assert_null(find(f, "configmaps/shop/a"));
}

static void restore_of_a_schedule_takes_its_latest(void **state)
{
    fake *f = *state;
    SHOP(f);
    vmbi_json *report = restore(f, "{\"scheduleName\":\"daily\"}", "Completed");
    assert_string_equal(vmbi_json_path_str(report, "restore.spec.backupName"), "b1");
    vmbi_json_free(report);
    vmbi_json_free(restore(f, "{\"scheduleName\":\"weekly\"}", "FailedValidation"));
}

static void restore_of_a_missing_backup_is_refused(void **state)
{
    fake *f = *state;
    vmbi_json *report = restore(f, "{\"backupName\":\"none\"}", "FailedValidation");
    assert_int_equal(vmbi_json_len(vmbi_json_path(report, "restore.status.validationErrors")), 1);
    vmbi_json_free(report);
}

static size_t warnings_of(const vmbi_json *report, const char *part, const char *ns)
{
    return vmbi_json_len(
        vmbi_json_get(vmbi_json_get(vmbi_json_get(report, part), "namespaces"), ns));
}

static void existing_object_that_differs_warns(void **state)
{
    fake *f = *state;
    SHOP(f);
    add(f, "configmaps/shop/a", OBJ("ConfigMap", "a", "shop", ",\"data\":{\"k\":\"live\"}"));
    vmbi_json *report = restore(f, "{\"backupName\":\"b1\"}", "Completed");
    const vmbi_json *line =
        vmbi_json_at(vmbi_json_get(vmbi_json_path(report, "warnings.namespaces"), "shop"), 0);
    assert_int_equal(warnings_of(report, "warnings", "shop"), 1);
    assert_string_equal(vmbi_json_str(line),
                        "could not restore, ConfigMap:a already exists. Warning: the in-cluster "
                        "version is different than the backed-up version");
    vmbi_json_free(report);
    vmbi_json *a = created(f, "configmaps/shop/a");
    assert_string_equal(vmbi_json_path_str(a, "data.k"), "live");
    vmbi_json_free(a);
}

static void existing_object_that_is_equal_is_silent(void **state)
{
    fake *f = *state;
    SHOP(f);
    add(f, "configmaps/shop/a",
        "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"a\",\"namespace\":"
        "\"shop\",\"uid\":\"other\",\"managedFields\":[1]},\"data\":{\"k\":\"v\"}}");
    vmbi_json *report = restore(f, "{\"backupName\":\"b1\"}", "Completed");
    assert_int_equal(warnings_of(report, "warnings", "shop"), 0);
    vmbi_json_free(report);
}

static void existing_object_is_updated_by_policy(void **state)
{
    fake *f = *state;
    SHOP(f);
    add(f, "configmaps/shop/a",
        OBJ("ConfigMap", "a", "shop", ",\"data\":{\"k\":\"live\",\"more\":\"x\"}"));
    vmbi_json_free(
        restore(f, "{\"backupName\":\"b1\",\"existingResourcePolicy\":\"update\"}", "Completed"));
    vmbi_json *a = created(f, "configmaps/shop/a");
    assert_string_equal(vmbi_json_path_str(a, "data.k"), "v");
    assert_null(vmbi_json_path(a, "data.more"));
    assert_string_equal(
        vmbi_json_get_str(vmbi_json_path(a, "metadata.labels"), "velero.io/restore-name"), "r1");
    vmbi_json_free(a);
}

static void failed_object_makes_it_partial(void **state)
{
    fake *f = *state;
    SHOP(f);
    f->fail_path = "configmaps/shop/a";
    vmbi_json *report = restore(f, "{\"backupName\":\"b1\"}", "PartiallyFailed");
    assert_int_equal(warnings_of(report, "errors", "shop"), 1);
    assert_non_null(find(f, "pods/shop/web"));
    vmbi_json_free(report);
}

static void hooks_run_when_containers_do(void **state)
{
    fake *f = *state;
    static const item pod[] = {
        {"pods/namespaces/shop/web.json",
         "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"web\",\"namespace\":"
         "\"shop\",\"annotations\":{\"velero.io/restore-status\":\"true\"}},\"spec\":{"
         "\"containers\":[{\"name\":\"c\"}]},\"status\":{\"phase\":\"Running\","
         "\"containerStatuses\":[{\"name\":\"c\",\"state\":{\"running\":{}}}]}}"}};
    make_backup(f, pod, 1);
    vmbi_json *report = restore(
        f,
        "{\"backupName\":\"b1\",\"hooks\":{\"resources\":[{\"name\":\"h\",\"postHooks\":[{\"init\":"
        "{"
        "\"initContainers\":[{\"name\":\"i\",\"image\":\"x\",\"command\":[\"y\"]}]}},{\"exec\":{"
        "\"command\":[\"good\"]}},{\"exec\":{\"command\":[\"bad\"],\"onError\":\"Fail\"}},{"
        "\"exec\":{\"command\":[\"late\"]}}]}]}}",
        "PartiallyFailed");
    vmbi_json *web = created(f, "pods/shop/web");
    assert_string_equal(
        vmbi_json_get_str(vmbi_json_at(vmbi_json_path(web, "spec.initContainers"), 0), "name"),
        "i");
    vmbi_json_free(web);
    assert_string_equal(f->hooks, "shop/web/c:good;shop/web/c:bad;"); /* the third is not run */
    assert_int_equal(
        vmbi_json_int(vmbi_json_path(report, "restore.status.hookStatus.hooksAttempted"), 0), 3);
    assert_int_equal(
        vmbi_json_int(vmbi_json_path(report, "restore.status.hookStatus.hooksFailed"), 0), 2);
    vmbi_json_free(report);
}

static void pod_volumes_are_filled_when_mounted(void **state)
{
    fake *f = *state;
    static const char records[] =
        "[{\"spec\":{\"pod\":{\"namespace\":\"shop\",\"name\":\"web\"},\"volume\":\"d\","
        "\"uploaderType\":\"restic\"},\"status\":{\"phase\":\"Completed\",\"snapshotID\":"
        "\"abc\"}},{\"spec\":{\"pod\":{\"namespace\":\"shop\",\"name\":\"web\"},\"volume\":"
        "\"d\"},\"status\":{\"phase\":\"Failed\",\"message\":\"the node is gone\"}}]";
    vmbi_buf gz = VMBI_BUF_INIT(65536);
    SHOP(f);
    assert_int_equal(vmbi_gzip_buf(records, sizeof(records) - 1, &gz, NULL), VMB_OK);
    write_file(f, "b1-podvolumebackups.json.gz", gz.data, gz.len);
    vmbi_buf_free(&gz);
    vmbi_json *report =
        restore(f, "{\"backupName\":\"b1\",\"namespaceMapping\":{\"shop\":\"new\"}}", "Completed");
    assert_int_equal(f->fills, 2);
    assert_string_equal(f->hooks, "new/web/d=abc");
    /* what the backup could not save is told */
    assert_int_equal(vmbi_json_int(vmbi_json_path(report, "restore.status.warnings"), 0), 1);
    vmbi_json_free(report);
}

static void storage_classes_are_changed(void **state)
{
    fake *f = *state;
    static const item claim[] = {
        {"persistentvolumeclaims/namespaces/shop/disk.json",
         OBJ("PersistentVolumeClaim", "disk", "shop", ",\"spec\":{\"storageClassName\":\"old\"}")}};
    make_backup(f, claim, 1);
    add(f, "configmaps/velero/classes",
        "{\"metadata\":{\"name\":\"classes\"},\"data\":{\"old\":\"new\"}}");
    vmbi_json_free(restore(f, "{\"backupName\":\"b1\"}", "PartiallyFailed")); /* no such class */
    assert_null(find(f, "persistentvolumeclaims/shop/disk"));
    add(f, "storageclasses.storage.k8s.io//new", "{\"metadata\":{\"name\":\"new\"}}");
    vmbi_json_free(restore(f, "{\"backupName\":\"b1\"}", "Completed"));
    vmbi_json *disk = created(f, "persistentvolumeclaims/shop/disk");
    assert_string_equal(vmbi_json_path_str(disk, "spec.storageClassName"), "new");
    vmbi_json_free(disk);
}

static void machines_change_by_labels_of_the_restore(void **state)
{
    fake *f = *state;
    static const item vms[] = {
        {"virtualmachines.kubevirt.io/namespaces/shop/vm.json",
         "{\"apiVersion\":\"kubevirt.io/v1\",\"kind\":\"VirtualMachine\",\"metadata\":{\"name\":"
         "\"vm\",\"namespace\":\"shop\"},\"spec\":{\"running\":true,\"template\":{\"spec\":{"
         "\"domain\":{\"devices\":{\"interfaces\":[{\"macAddress\":\"02:00:00:00:00:01\"}]},"
         "\"firmware\":{\"uuid\":\"u\"}},\"volumes\":[{\"dataVolume\":{\"name\":\"root\"}}]}}}}"},
        {"datavolumes.cdi.kubevirt.io/namespaces/shop/root.json",
         "{\"apiVersion\":\"cdi.kubevirt.io/v1beta1\",\"kind\":\"DataVolume\",\"metadata\":{"
         "\"name\":\"root\",\"namespace\":\"shop\"}}"},
        {"virtualmachineinstances.kubevirt.io/namespaces/shop/vm.json",
         "{\"apiVersion\":\"kubevirt.io/v1\",\"kind\":\"VirtualMachineInstance\",\"metadata\":{"
         "\"name\":\"vm\",\"namespace\":\"shop\",\"annotations\":{"
         "\"cdi.kubevirt.io/velero.isOwned\":\"true\"}}}"},
        {"pods/namespaces/shop/virt-launcher-vm.json",
         "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"virt-launcher-vm\","
         "\"namespace\":\"shop\",\"labels\":{\"kubevirt.io\":\"virt-launcher\"}},\"spec\":{}}"}};
    make_backup(f, vms, 4);
    vmbi_json_free(restore_labelled(f, "{\"backupName\":\"b1\"}",
                                    "{\"velero.kubevirt.io/restore-run-strategy\":\"Halted\","
                                    "\"velero.kubevirt.io/clear-mac-address\":\"true\","
                                    "\"velero.kubevirt.io/generate-new-firmware-uuid\":\"true\"}",
                                    "Completed"));
    vmbi_json *vm = created(f, "virtualmachines.kubevirt.io/shop/vm");
    const vmbi_json *domain = vmbi_json_path(vm, "spec.template.spec.domain");
    assert_string_equal(vmbi_json_path_str(vm, "spec.runStrategy"), "Halted");
    assert_null(vmbi_json_path(vm, "spec.running"));
    assert_null(
        vmbi_json_get(vmbi_json_at(vmbi_json_path(domain, "devices.interfaces"), 0), "macAddress"));
    assert_int_equal(strlen(vmbi_json_path_str(domain, "firmware.uuid")), 36);
    vmbi_json_free(vm);
    assert_true(place(f, "datavolumes.cdi.kubevirt.io/shop/root") <
                place(f, "virtualmachines.kubevirt.io/shop/vm"));
    assert_null(find(f, "virtualmachineinstances.kubevirt.io/shop/vm"));
    assert_null(find(f, "pods/shop/virt-launcher-vm"));
}

static void many_objects_are_created_side_by_side(void **state)
{
    enum { MANY = 200 };
    fake *f = *state;
    item *items = calloc(MANY, sizeof(*items));
    char *texts = calloc(MANY, 512);
    for (int i = 0; i < MANY; i++) {
        char *at = texts + 512 * i;
        (void)snprintf(at, 128, "configmaps/namespaces/shop/cm-%03d.json", i);
        (void)snprintf(at + 128, 384,
                       "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":"
                       "\"cm-%03d\",\"namespace\":\"shop\"}}",
                       i);
        items[i] = (item){at, at + 128};
    }
    make_backup(f, items, MANY);
    f->pause_us = 2000;
    vmbi_json_free(restore(f, "{\"backupName\":\"b1\"}", "Completed"));
    assert_int_equal(f->n, MANY + 1);
    assert_true(f->busiest > 4 && f->busiest <= 16);
    free(items);
    free(texts);
}

static void cancelled_restore_fails_and_leaves_its_log(void **state)
{
    fake *f = *state;
    char path[256];
    SHOP(f);
    f->cancel = (vmb_run *)(void *)f; /* any; replaced by the run */
    vmbi_json *report = restore(f, "{\"backupName\":\"b1\"}", "Failed");
    assert_non_null(vmbi_json_path_str(report, "restore.status.failureReason"));
    (void)snprintf(path, sizeof(path), "%s/restores/r1/restore-r1-logs.gz", f->dir);
    assert_int_equal(access(path, F_OK), 0);
    vmbi_json_free(report);
}

static void restore_out_of_memory_ends_cleanly(void **state)
{
    static const char doc[] =
        "{\"apiVersion\":\"velero.io/v1\",\"kind\":\"Restore\",\"metadata\":{\"name\":\"r1\"},"
        "\"spec\":{\"backupName\":\"b1\",\"existingResourcePolicy\":\"update\",\"hooks\":{"
        "\"resources\":[{\"name\":\"h\",\"postHooks\":[{\"init\":{\"initContainers\":[{\"name\":"
        "\"i\",\"image\":\"x\",\"command\":[\"y\"]}]}}]}]}}}";
    fake *f = *state;
    vmb_code rc = VMB_E_NOMEM;
    SHOP(f);
    for (uint64_t n = 1; rc != VMB_OK; n += n < 400 ? 3 : 29) {
        vmb_ctx *ctx = make_ctx(f);
        vmb_spec *spec = NULL;
        vmb_run *run = NULL;
        assert_true(n < 100000);
        assert_int_equal(vmb_spec_parse(doc, sizeof(doc) - 1, NULL, &spec, NULL), VMB_OK);
        vmbi_alloc_fail_from(n);
        rc = vmb_run_new(ctx, spec, &run, NULL);
        if (rc == VMB_OK) {
            rc = vmb_run_execute(run, NULL);
        }
        if (rc == VMB_OK && strcmp(vmb_run_phase(run), "Completed") != 0) {
            rc = VMB_E_NOMEM; /* errors of single objects */
        }
        vmbi_alloc_fail_from(0);
        vmb_run_free(run);
        vmb_spec_free(spec);
        vmb_ctx_unref(ctx);
    }
    assert_non_null(find(f, "pods/shop/web"));
}

/* ---- the index ----------------------------------------------------------------------------- */

static bool keep_all(void *user, const char *group_resource)
{
    (void)user;
    (void)group_resource;
    return true;
}

static vmb_code count_one(void *user, const char *ns, const char *name, const char *json,
                          size_t len, vmb_error **err)
{
    size_t *n = user;
    (void)ns;
    (void)name;
    (void)err;
    *n += json[0] == '{' && json[len - 1] == '}' ? 1 : 1000;
    return VMB_OK;
}

static void check_index(fake *f, size_t budget, bool streamed)
{
    vmb_ctx *ctx = make_ctx(f);
    vmbi_store store = {vmbi_ctx_location(ctx, NULL, NULL), 60 * VMBI_SECOND};
    vmb_job job = {0};
    vmbi_index x;
    vmbi_buf text = VMBI_BUF_INIT(1 << 20);
    size_t n = 0;
    assert_int_equal(
        vmbi_index_load(&x, &store, &job, "backups/b1/b1.tar.gz", budget, keep_all, NULL, NULL),
        VMB_OK);
    vmbi_index_resource *r = vmbi_index_find(&x, "configmaps");
    assert_non_null(r);
    assert_int_equal(r->count, 2);
    assert_int_equal(r->streamed, streamed);
    assert_string_equal(r->version, "v1");
    assert_int_equal(vmbi_index_each(&x, r, count_one, &n, NULL), VMB_OK);
    assert_int_equal(n, 2);
    assert_int_equal(vmbi_index_get(&x, "configmaps", "other", "b", &text, NULL), VMB_OK);
    assert_non_null(strstr(text.data, "\"name\":\"b\""));
    assert_int_equal(vmbi_index_get(&x, "configmaps", "other", "c", &text, NULL), VMB_E_NOT_FOUND);
    assert_false(vmbi_index_has(&x, "secrets", "shop", "a"));
    vmbi_buf_free(&text);
    vmbi_index_free(&x);
    vmb_ctx_unref(ctx);
}

static void index_within_budget_keeps_objects(void **state)
{
    SHOP((fake *)*state);
    check_index(*state, 1 << 20, false);
}

static void index_beyond_budget_reads_again(void **state)
{
    SHOP((fake *)*state);
    check_index(*state, 0, true);
}

/* Files without a byte take no room, and are looked up all the same. */
static void restore_of_empty_objects_says_so(void **state)
{
    fake *f = *state;
    static char large[50000];
    int n = snprintf(large, sizeof(large),
                     "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"a\"},"
                     "\"data\":{\"k\":\"%040000d\"}}", 7);
    assert_true(n > 40000 && n < (int)sizeof(large));
    const item items[] = {
        {"configmaps/namespaces/shop/a.json", large},
        {"configmaps/namespaces/shop/b.json", ""},
        {"namespaces/cluster/shop.json", ""},
    };
    make_backup(f, items, 3);
    vmbi_json_free(restore(f, "{\"backupName\":\"b1\"}", "PartiallyFailed"));
    assert_non_null(find(f, "configmaps/shop/a"));
    assert_null(find(f, "configmaps/shop/b"));
}

static void restore_of_a_cut_archive_fails(void **state)
{
    fake *f = *state;
    char path[256];
    SHOP(f);
    (void)snprintf(path, sizeof(path), "%s/backups/b1/b1.tar.gz", f->dir);
    assert_int_equal(truncate(path, 300), 0);
    vmbi_json_free(restore(f, "{\"backupName\":\"b1\"}", "Failed"));
    assert_int_equal(f->n, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(restore_creates_in_order),
        TEST(restore_resets_and_labels),
        TEST(restore_of_a_namespace_takes_related_volume),
        TEST(restore_selectors_hold_for_the_top_only),
        TEST(restore_of_a_schedule_takes_its_latest),
        TEST(restore_of_a_missing_backup_is_refused),
        TEST(existing_object_that_differs_warns),
        TEST(existing_object_that_is_equal_is_silent),
        TEST(existing_object_is_updated_by_policy),
        TEST(failed_object_makes_it_partial),
        TEST(hooks_run_when_containers_do),
        TEST(pod_volumes_are_filled_when_mounted),
        TEST(storage_classes_are_changed),
        TEST(machines_change_by_labels_of_the_restore),
        TEST(many_objects_are_created_side_by_side),
        TEST(cancelled_restore_fails_and_leaves_its_log),
        TEST(restore_out_of_memory_ends_cleanly),
        TEST(index_within_budget_keeps_objects),
        TEST(index_beyond_budget_reads_again),
        TEST(restore_of_empty_objects_says_so),
        TEST(restore_of_a_cut_archive_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
