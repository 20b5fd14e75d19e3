/* SPDX-License-Identifier: Apache-2.0 */
#include "support/fakes.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Volumes are saved by threads. */
static pthread_mutex_t journal_lock = PTHREAD_MUTEX_INITIALIZER;

void fakes_note(fakes *f, const char *what, const char *subject, const char *more)
{
    char line[512];
    (void)snprintf(line, sizeof(line), "%s %s%s%s", what, subject, more[0] != '\0' ? " " : "",
                   more);
    (void)pthread_mutex_lock(&journal_lock);
    if (f->n_journal < FAKE_MAX) {
        f->journal[f->n_journal++] = strdup(line);
    }
    (void)pthread_mutex_unlock(&journal_lock);
}

void fakes_init(fakes *f)
{
    memset(f, 0, sizeof(*f));
    f->polls_until_cut = 1;
}

void fakes_done(fakes *f)
{
    for (size_t i = 0; i < f->n_journal; i++) {
        free(f->journal[i]);
    }
    for (size_t i = 0; i < f->n_objects; i++) {
        free(f->objects[i].json);
    }
    for (size_t i = 0; i < f->n_files; i++) {
        free(f->files[i].key);
        free(f->files[i].data);
    }
}

/* Value of the first "key":"…" in the text. */
static void field(const char *json, const char *key, char *out, size_t size)
{
    char mark[64];
    out[0] = '\0';
    (void)snprintf(mark, sizeof(mark), "\"%s\":\"", key);
    const char *p = strstr(json, mark);
    if (p != NULL) {
        p += strlen(mark);
        size_t n = strcspn(p, "\"");
        (void)snprintf(out, size, "%.*s", (int)n, p);
    }
}

void fakes_add(fakes *f, const char *group_resource, const char *json)
{
    size_t i = f->n_objects++;
    f->objects[i].group_resource = group_resource;
    f->objects[i].json = strdup(json);
    field(json, "namespace", f->objects[i].ns, sizeof(f->objects[i].ns));
    field(json, "name", f->objects[i].name, sizeof(f->objects[i].name));
}

/* ---- cluster ------------------------------------------------------------------------------- */

static const char discovery[] =
    "{\"serverVersion\":{\"gitVersion\":\"v1.36.3\",\"major\":\"1\",\"minor\":\"36\"},"
    "\"groups\":[{\"group\":\"\",\"preferredVersion\":\"v1\",\"versions\":[{\"version\":\"v1\","
    "\"resources\":["
#define RES(name, single, kind, ns)                                                              \
    "{\"name\":\"" name "\",\"singularName\":\"" single "\",\"kind\":\"" kind                    \
    "\",\"namespaced\":" ns ",\"shortNames\":[],\"verbs\":[\"create\",\"delete\",\"get\",\"list\"]}"
    RES("configmaps", "configmap", "ConfigMap", "true") ","
    RES("namespaces", "namespace", "Namespace", "false") ","
    RES("persistentvolumeclaims", "persistentvolumeclaim", "PersistentVolumeClaim", "true") ","
    RES("persistentvolumes", "persistentvolume", "PersistentVolume", "false") ","
    RES("pods", "pod", "Pod", "true")
    "]}]},{\"group\":\"snapshot.storage.k8s.io\",\"preferredVersion\":\"v1\",\"versions\":[{"
    "\"version\":\"v1\",\"resources\":["
    RES("volumesnapshots", "volumesnapshot", "VolumeSnapshot", "true")
    "]}]}]}";

static vmb_code cluster_discover(void *user, vmb_job *job, vmb_sink *out, vmb_error **err)
{
    (void)user;
    (void)job;
    return vmb_sink_write(out, discovery, sizeof(discovery) - 1, err);
}

static int is_resource(const fakes *f, size_t i, const char *group, const char *resource)
{
    char gr[128];
    (void)snprintf(gr, sizeof(gr), "%s%s%s", resource, group[0] != '\0' ? "." : "", group);
    return strcmp(f->objects[i].group_resource, gr) == 0;
}

static vmb_code cluster_list(void *user, vmb_job *job, const char *group, const char *version,
                             const char *resource, const char *ns, const char *label_selector,
                             int64_t page_size, vmb_item_sink *out, vmb_error **err)
{
    fakes *f = user;
    (void)job;
    (void)version;
    (void)page_size;
    (void)label_selector;
    if (f->fail_resource != NULL && strcmp(f->fail_resource, resource) == 0) {
        vmb_error_set(err, f->list_fails, 0, "list refused by the fake");
        return f->list_fails;
    }
    for (size_t i = 0; i < f->n_objects; i++) {
        if (is_resource(f, i, group, resource) &&
            (ns == NULL || strcmp(ns, f->objects[i].ns) == 0)) {
            vmb_code rc =
                vmb_item_sink_push(out, f->objects[i].json, strlen(f->objects[i].json), err);
            if (rc != VMB_OK && !f->ignores_sink) {
                return rc;
            }
        }
    }
    return VMB_OK;
}

static vmb_code cluster_get(void *user, vmb_job *job, const char *group, const char *version,
                            const char *resource, const char *ns, const char *name, vmb_sink *out,
                            vmb_error **err)
{
    fakes *f = user;
    (void)job;
    (void)version;
    for (size_t i = 0; i < f->n_objects; i++) {
        if (is_resource(f, i, group, resource) &&
            strcmp(ns != NULL ? ns : "", f->objects[i].ns) == 0 &&
            strcmp(name, f->objects[i].name) == 0) {
            return vmb_sink_write(out, f->objects[i].json, strlen(f->objects[i].json), err);
        }
    }
    vmb_error_set(err, VMB_E_NOT_FOUND, 0, "no such object in the fake");
    return VMB_E_NOT_FOUND;
}

/* ---- exec ---------------------------------------------------------------------------------- */

static vmb_code exec_run(void *user, vmb_job *job, const char *ns, const char *pod,
                         const char *container, const char *const *argv, size_t argc,
                         vmb_sink *out, vmb_sink *errout, int32_t *exit_code, vmb_error **err)
{
    fakes *f = user;
    (void)ns;
    (void)container;
    (void)argc;
    (void)errout;
    fakes_note(f, "exec", pod, argv[0]);
    if (f->cancel_on_exec != NULL) {
        vmb_run_cancel(f->cancel_on_exec);
        f->cancel_on_exec = NULL;
        vmb_error_set(err, VMB_E_CANCELLED, 0, "cancelled in the fake");
        return VMB_E_CANCELLED;
    }
    if (vmb_job_cancelled(job)) {
        vmb_error_set(err, VMB_E_CANCELLED, 0, "cancelled");
        return VMB_E_CANCELLED;
    }
    *exit_code = f->fail_command != NULL && strcmp(f->fail_command, argv[0]) == 0 ? 1 : 0;
    return vmb_sink_write(out, "hello\n", 6, err);
}

/* ---- store --------------------------------------------------------------------------------- */

typedef struct fake_put {
    char *key;
    char *data;
    size_t len;
    uint32_t flags;
} fake_put;

static long find_file(const fakes *f, const char *key)
{
    for (size_t i = 0; i < f->n_files; i++) {
        if (strcmp(f->files[i].key, key) == 0) {
            return (long)i;
        }
    }
    return -1;
}

static vmb_code put_begin(void *user, vmb_job *job, const char *key, int64_t size_hint,
                          uint32_t put_flags, void **op, vmb_error **err)
{
    fakes *f = user;
    (void)job;
    (void)size_hint;
    (void)err;
    fake_put *p = calloc(1, sizeof(*p));
    p->key = strdup(key);
    p->flags = put_flags;
    fakes_note(f, "put", key, "");
    if (f->on_put != NULL) {
        f->on_put(f, key);
    }
    *op = p;
    return VMB_OK;
}

static vmb_code put_write(void *user, vmb_job *job, void *op, const void *data, size_t len,
                          vmb_error **err)
{
    fakes *f = user;
    fake_put *p = op;
    (void)job;
    if (f->write_fails != VMB_OK) {
        vmb_error_set(err, f->write_fails, 0, "the fake store is broken");
        return f->write_fails;
    }
    p->data = realloc(p->data, p->len + len + 1);
    memcpy(p->data + p->len, data, len);
    p->len += len;
    return VMB_OK;
}

static void put_abort(void *user, void *op)
{
    fakes *f = user;
    fake_put *p = op;
    fakes_note(f, "abort", p->key, "");
    free(p->key);
    free(p->data);
    free(p);
}

static vmb_code put_commit(void *user, vmb_job *job, void *op, vmb_error **err)
{
    fakes *f = user;
    fake_put *p = op;
    (void)job;
    long at = find_file(f, p->key);
    if (at >= 0 && (p->flags & VMB_PUT_IF_ABSENT) != 0) {
        put_abort(user, op);
        vmb_error_set(err, VMB_E_EXISTS, 0, "exists");
        return VMB_E_EXISTS;
    }
    fakes_note(f, "commit", p->key, "");
    if (at >= 0) {
        free(f->files[at].key);
        free(f->files[at].data);
    }
    size_t i = at >= 0 ? (size_t)at : f->n_files++;
    f->files[i].key = p->key;
    f->files[i].data = p->data;
    f->files[i].len = p->len;
    free(p);
    if (f->lost_answer != NULL && strcmp(f->lost_answer, f->files[i].key) == 0) {
        vmb_error_set(err, VMB_E_NET, 0, "the answer was lost in the fake");
        return VMB_E_NET;
    }
    return VMB_OK;
}

static vmb_code store_get(void *user, vmb_job *job, const char *key, int64_t offset,
                          int64_t length, vmb_sink *out, vmb_error **err)
{
    fakes *f = user;
    (void)job;
    (void)offset;
    (void)length;
    long i = find_file(f, key);
    if (i < 0) {
        vmb_error_set(err, VMB_E_NOT_FOUND, 0, "no such key");
        return VMB_E_NOT_FOUND;
    }
    return f->files[i].len == 0 ? VMB_OK
                                : vmb_sink_write(out, f->files[i].data, f->files[i].len, err);
}

static vmb_code store_stat(void *user, vmb_job *job, const char *key, int64_t *size_bytes,
                           int64_t *mtime_unix_ns, vmb_error **err)
{
    fakes *f = user;
    (void)job;
    long i = find_file(f, key);
    if (i < 0) {
        vmb_error_set(err, VMB_E_NOT_FOUND, 0, "no such key");
        return VMB_E_NOT_FOUND;
    }
    *size_bytes = (int64_t)f->files[i].len;
    *mtime_unix_ns = -1;
    return VMB_OK;
}

static vmb_code store_list(void *user, vmb_job *job, const char *prefix, const char *delimiter,
                           vmb_key_sink *out, vmb_error **err)
{
    fakes *f = user;
    (void)job;
    char last[512] = "";
    for (size_t i = 0; i < f->n_files; i++) {
        const char *key = f->files[i].key;
        size_t n = strlen(prefix);
        if (strncmp(key, prefix, n) != 0) {
            continue;
        }
        const char *slash = delimiter != NULL && delimiter[0] != '\0' ? strchr(key + n, '/') : NULL;
        vmb_code rc = VMB_OK;
        if (slash != NULL) {
            char folded[512];
            (void)snprintf(folded, sizeof(folded), "%.*s", (int)(slash - key + 1), key);
            if (strcmp(folded, last) != 0) {
                rc = vmb_key_sink_push(out, folded, -1, -1, 1, err);
                (void)snprintf(last, sizeof(last), "%s", folded);
            }
        } else {
            rc = vmb_key_sink_push(out, key, (int64_t)f->files[i].len, -1, 0, err);
        }
        if (rc != VMB_OK) {
            return rc;
        }
    }
    return f->also_lists != NULL ? vmb_key_sink_push(out, f->also_lists, 1, -1, 0, err) : VMB_OK;
}

static vmb_code store_remove(void *user, vmb_job *job, const char *key, vmb_error **err)
{
    fakes *f = user;
    (void)job;
    (void)err;
    fakes_note(f, "remove", key, "");
    long i = find_file(f, key);
    if (i >= 0) {
        free(f->files[i].key);
        free(f->files[i].data);
        f->files[i] = f->files[--f->n_files];
    }
    return VMB_OK;
}

/* ---- snapshots ----------------------------------------------------------------------------- */

typedef struct fake_op {
    char claim[64];
    char ns[64];
    int polls;
    int cut;
} fake_op;

static vmb_code snap_begin(void *user, vmb_job *job, const char *volume, size_t len, void **op,
                           vmb_error **err)
{
    fakes *f = user;
    (void)job;
    (void)len;
    fake_op *o = calloc(1, sizeof(*o));
    const char *pvc = strstr(volume, "\"pvc\":");
    field(pvc, "name", o->claim, sizeof(o->claim));
    field(pvc, "namespace", o->ns, sizeof(o->ns));
    fakes_note(f, "begin", o->claim, "");
    if (f->begin_fails != VMB_OK) {
        vmb_error_set(err, f->begin_fails, 0, "begin refused by the fake");
        free(o);
        return f->begin_fails;
    }
    f->open_ops++;
    *op = o;
    return VMB_OK;
}

static vmb_code snap_poll(void *user, vmb_job *job, void *op, int64_t wait_ns, int32_t *state,
                          vmb_error **err)
{
    fakes *f = user;
    fake_op *o = op;
    (void)job;
    (void)wait_ns;
    vmb_code fails = o->cut ? f->ready_fails : f->cut_fails;
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    f->polls++;
    if (fails == VMB_OK && (int64_t)now.tv_sec * 1000000000 + now.tv_nsec < f->cut_at_ns) {
        *state = VMB_SNAPSHOT_PENDING;
        return VMB_OK;
    }
    if (fails != VMB_OK) {
        vmb_error_set(err, fails, 0, "snapshot failed in the fake");
        return fails;
    }
    if (o->cut) {
        *state = VMB_SNAPSHOT_READY;
        fakes_note(f, "ready", o->claim, "");
    } else if (++o->polls >= f->polls_until_cut) {
        o->cut = 1;
        *state = VMB_SNAPSHOT_CUT;
        fakes_note(f, "cut", o->claim, "");
    } else {
        *state = VMB_SNAPSHOT_PENDING;
    }
    return VMB_OK;
}

static vmb_code snap_describe(void *user, vmb_job *job, void *op, vmb_sink *out, vmb_error **err)
{
    fake_op *o = op;
    (void)user;
    (void)job;
    char doc[2048];
    int n = snprintf(
        doc, sizeof(doc),
        "{\"claimPatch\":{\"metadata\":{\"annotations\":{\"velero.io/volume-snapshot-name\":\"vs-%s\"}}},"
        "\"items\":[{\"group\":\"snapshot.storage.k8s.io\",\"version\":\"v1\",\"resource\":"
        "\"volumesnapshots\",\"object\":{\"apiVersion\":\"snapshot.storage.k8s.io/v1\",\"kind\":"
        "\"VolumeSnapshot\",\"metadata\":{\"name\":\"vs-%s\",\"namespace\":\"%s\"}}}],"
        "\"volumeInfo\":{\"pvcName\":\"%s\",\"pvcNamespace\":\"%s\",\"backupMethod\":\"CSISnapshot\"},"
        "\"operation\":{\"spec\":{\"operationID\":\"%s\"},\"status\":{\"phase\":\"Completed\"}}}",
        o->claim, o->claim, o->ns, o->claim, o->ns, o->claim);
    return vmb_sink_write(out, doc, (size_t)n, err);
}

static vmb_code snap_finish(void *user, vmb_job *job, void *op, vmb_error **err)
{
    fakes *f = user;
    (void)job;
    (void)err;
    fakes_note(f, "finish", ((fake_op *)op)->claim, "");
    f->finished++;
    return VMB_OK;
}

static vmb_code snap_cancel(void *user, vmb_job *job, void *op, vmb_error **err)
{
    fakes *f = user;
    (void)job;
    (void)err;
    fakes_note(f, "cancel", ((fake_op *)op)->claim, "");
    f->cancelled++;
    return VMB_OK;
}

static void snap_free(void *user, void *op)
{
    ((fakes *)user)->open_ops--;
    free(op);
}

/* ---- registration -------------------------------------------------------------------------- */

static void destroy_cluster(void *user)
{
    ((fakes *)user)->destroyed[0]++;
}

static void destroy_exec(void *user)
{
    ((fakes *)user)->destroyed[1]++;
}

static void destroy_store(void *user)
{
    ((fakes *)user)->destroyed[2]++;
}

static void destroy_snapshot(void *user)
{
    ((fakes *)user)->destroyed[3]++;
}

#define HEAD(type, text, fn) \
    .struct_size = sizeof(type), .api_version = VMB_PROVIDER_API, .name = text, .user = f, \
    .destroy = fn

vmb_code fakes_register(fakes *f, vmb_ctx *ctx, vmb_error **err)
{
    vmb_cluster_provider cluster = {HEAD(vmb_cluster_provider, "fake", destroy_cluster),
                                    .discover = cluster_discover, .list = cluster_list,
                                    .get = cluster_get};
    vmb_exec_provider exec = {HEAD(vmb_exec_provider, "fake", destroy_exec), .exec = exec_run};
    vmb_store_provider store = {HEAD(vmb_store_provider, "fake", destroy_store),
                                .put_begin = put_begin, .put_write = put_write,
                                .put_commit = put_commit, .put_abort = put_abort,
                                .get = store_get, .stat = store_stat, .list = store_list,
                                .remove = store_remove};
    vmb_snapshot_provider snapshot = {HEAD(vmb_snapshot_provider, "fake", destroy_snapshot),
                                      .begin = snap_begin, .poll = snap_poll,
                                      .describe = snap_describe, .finish = snap_finish,
                                      .cancel = snap_cancel, .op_free = snap_free};
    vmb_code rc[4];
    rc[0] = vmb_ctx_add_cluster_provider(ctx, &cluster, err);
    rc[1] = vmb_ctx_add_exec_provider(ctx, &exec, rc[0] == VMB_OK ? err : NULL);
    rc[2] = vmb_ctx_add_store_provider(ctx, "default", "", 1, &store, NULL);
    rc[3] = vmb_ctx_add_snapshot_provider(ctx, &snapshot, NULL);
    for (size_t i = 0; i < 4; i++) {
        if (rc[i] != VMB_OK) {
            return rc[i];
        }
    }
    return VMB_OK;
}

vmb_ctx *fakes_ctx(fakes *f)
{
    vmb_ctx *ctx = NULL;
    if (vmb_ctx_new(&ctx, NULL) != VMB_OK || fakes_register(f, ctx, NULL) != VMB_OK ||
        vmb_ctx_set(ctx, "snapshot-poll", "1ms", NULL) != VMB_OK) {
        vmb_ctx_unref(ctx);
        ctx = NULL;
    }
    return ctx;
}

void fakes_put(fakes *f, const char *key, const char *text)
{
    size_t i = f->n_files++;
    f->files[i].key = strdup(key);
    f->files[i].data = strdup(text);
    f->files[i].len = strlen(text);
}

const char *fakes_file(const fakes *f, const char *key, size_t *len)
{
    long i = find_file(f, key);
    if (i < 0) {
        return NULL;
    }
    if (len != NULL) {
        *len = f->files[i].len;
    }
    return f->files[i].data;
}

int fakes_at(const fakes *f, const char *prefix)
{
    for (size_t i = 0; i < f->n_journal; i++) {
        if (strncmp(f->journal[i], prefix, strlen(prefix)) == 0) {
            return (int)i;
        }
    }
    return -1;
}

char *fakes_member(vmb_ctx *ctx, const char *backup, const char *resource, const char *ns,
                   const char *name)
{
    vmb_catalog *cat = NULL;
    char *out = NULL;
    if (vmb_catalog_open(ctx, NULL, &cat, NULL) == VMB_OK) {
        (void)vmb_catalog_read_item(cat, backup, resource, ns, name, &out, NULL, NULL);
    }
    vmb_catalog_free(cat);
    return out;
}
