/* SPDX-License-Identifier: Apache-2.0 */
/* Operations on backups that lie in folders: looking, copying, comparing, deleting. The cluster is a
 * fake with the habits of a snapshot controller; tests/cluster has the real one. */
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include <vmbackup/vmbackup.h>

#include "base/alloc.h"
#include "base/cancel.h"
#include "base/clock.h"
#include "codec/gzip.h"
#include "codec/tar.h"
#include "core/catalog.h"

#define CM(name, value)                                                                      \
    "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"" name           \
    "\",\"namespace\":\"shop\"},\"data\":{\"a\":\"" value "\"}}"
#define CONTENT                                                                              \
    "{\"apiVersion\":\"snapshot.storage.k8s.io/v1\",\"kind\":\"VolumeSnapshotContent\","     \
    "\"metadata\":{\"name\":\"snapcontent-1\",\"labels\":{\"velero.io/backup-name\":\"b1\"}}," \
    "\"spec\":{\"driver\":\"d\",\"deletionPolicy\":\"Retain\"},\"status\":"                   \
    "{\"snapshotHandle\":\"h-1\"}}"

/* ---- a place for two locations ------------------------------------------------------------------ */

typedef struct rig {
    char dir[64];
    vmb_ctx *ctx;
    vmb_catalog *one, *two;
    /* the cluster */
    char *content;        /* the one that exists for a moment */
    int gets;             /* of it */
    bool storage_is_dead; /* no sidecar takes contents up */
    vmbi_cancel *cancel;  /* fired while a content is waited for */
    char dropped[64];     /* handle that a content with policy Delete took along */
    int restores_removed;
    /* the volume provider */
    int removed;
    vmb_code remove_fails;
    vmb_code verify_fails;
} rig;

static int fill(void *user, const void *data, size_t len, vmb_error **err)
{
    (void)err;
    return fwrite(data, 1, len, user) == len ? VMB_OK : VMB_E_IO;
}

static void path_of(const rig *r, const char *location, const char *key, char out[256])
{
    (void)snprintf(out, 256, "%s/%s/%s", r->dir, location, key);
}

static void write_file(const rig *r, const char *key, const char *text, bool packed)
{
    char path[256];
    path_of(r, "one", key, path);
    FILE *f = fopen(path, "wbe");
    assert_non_null(f);
    vmbi_buf b = VMBI_BUF_INIT(1024 * 1024);
    if (packed) {
        assert_int_equal(vmbi_gzip_buf(text, strlen(text), &b, NULL), VMB_OK);
    } else {
        vmbi_buf_adds(&b, text);
    }
    assert_int_equal(fwrite(b.data, 1, b.len, f), b.len);
    vmbi_buf_free(&b);
    (void)fclose(f);
}

static int to_gzip(void *user, const void *data, size_t len, vmb_error **err)
{
    return vmbi_gzip_write(user, data, len, err);
}

/* An archive of pairs of path (below "resources/") and object; NULL ends. */
static void write_archive(const rig *r, const char *backup, const char *const *pairs)
{
    char key[128];
    char path[256];
    vmbi_gzip *z = NULL;
    vmbi_tar *t = NULL;
    (void)snprintf(key, sizeof(key), "backups/%s/%s.tar.gz", backup, backup);
    path_of(r, "one", key, path);
    FILE *f = fopen(path, "wbe");
    assert_non_null(f);
    assert_int_equal(vmbi_gzip_new(fill, f, &z, NULL), VMB_OK);
    assert_int_equal(vmbi_tar_new(to_gzip, z, &t, NULL), VMB_OK);
    vmbi_slice version = {"1.1.0\n", 6};
    assert_int_equal(vmbi_tar_add(t, "metadata/version", 0, &version, 1, NULL), VMB_OK);
    for (; pairs[0] != NULL; pairs += 2) {
        vmbi_slice part = {pairs[1], strlen(pairs[1])};
        const char *rest = strchr(pairs[0], '/');
        (void)snprintf(path, sizeof(path), "resources/%s", pairs[0]);
        assert_int_equal(vmbi_tar_add(t, path, 0, &part, 1, NULL), VMB_OK);
        (void)snprintf(path, sizeof(path), "resources/%.*s/v1-preferredversion%s",
                       (int)(rest - pairs[0]), pairs[0], rest);
        assert_int_equal(vmbi_tar_add(t, path, 0, &part, 1, NULL), VMB_OK);
    }
    assert_int_equal(vmbi_tar_finish(t, NULL), VMB_OK);
    assert_int_equal(vmbi_gzip_finish(z, NULL), VMB_OK);
    vmbi_tar_free(t);
    vmbi_gzip_free(z);
    (void)fclose(f);
}

static void write_side(const rig *r, const char *backup, const char *suffix, const char *text)
{
    char key[128];
    (void)snprintf(key, sizeof(key), "backups/%s/%s-%s", backup, backup, suffix);
    write_file(r, key, text, true);
}

/* A whole backup; list: its resource list. */
static void make_backup(const rig *r, const char *backup, const char *const *pairs,
                        const char *list, const char *pods)
{
    char text[1024];
    char path[256];
    char key[128];
    (void)snprintf(key, sizeof(key), "backups/%s", backup);
    path_of(r, "one", key, path);
    assert_int_equal(mkdir(path, 0700), 0);
    write_archive(r, backup, pairs);
    write_side(r, backup, "logs.gz", "time=x\n");
    write_side(r, backup, "results.gz", "{\"errors\":{},\"warnings\":{}}\n");
    write_side(r, backup, "resource-list.json.gz", list);
    write_side(r, backup, "volumeinfo.json.gz", "[]\n");
    write_side(r, backup, "itemoperations.json.gz", "[]\n");
    write_side(r, backup, "podvolumebackups.json.gz", pods);
    write_side(r, backup, "volumesnapshots.json.gz", "null\n");
    (void)snprintf(text, sizeof(text),
                   "{\"kind\":\"Backup\",\"apiVersion\":\"velero.io/v1\",\"metadata\":{\"name\":"
                   "\"%s\",\"labels\":{\"velero.io/storage-location\":\"one\"}},\"spec\":"
                   "{\"storageLocation\":\"one\"},\"status\":{\"phase\":\"Completed\","
                   "\"formatVersion\":\"1.1.0\",\"expiration\":\"2026-11-24T10:00:00Z\"}}", backup);
    (void)snprintf(key, sizeof(key), "backups/%s/velero-backup.json", backup);
    write_file(r, key, text, false);
}

static const char *const two_maps[] = {"configmaps/namespaces/shop/x.json", CM("x", "1"),
                                       "configmaps/namespaces/shop/y.json", CM("y", "1"), NULL};
static const char two_maps_list[] = "{\"v1/ConfigMap\":[\"shop/x\",\"shop/y\"]}\n";

static bool has_file(const rig *r, const char *location, const char *key)
{
    char path[256];
    path_of(r, location, key, path);
    return access(path, F_OK) == 0;
}

static void remove_file(const rig *r, const char *key)
{
    char path[256];
    path_of(r, "one", key, path);
    assert_int_equal(unlink(path), 0);
}

/* ---- the fake cluster and volume provider -------------------------------------------------------- */

static vmb_code fake_discover(void *user, vmb_job *job, vmb_sink *out, vmb_error **err)
{
    static const char text[] =
        "{\"serverVersion\":{\"gitVersion\":\"v1.36.3\",\"major\":\"1\",\"minor\":\"36\"},"
        "\"groups\":[{\"group\":\"snapshot.storage.k8s.io\",\"preferredVersion\":\"v1\","
        "\"versions\":[{\"version\":\"v1\",\"resources\":[{\"name\":\"volumesnapshotcontents\","
        "\"singularName\":\"volumesnapshotcontent\",\"kind\":\"VolumeSnapshotContent\","
        "\"namespaced\":false,\"shortNames\":[],\"verbs\":[\"create\",\"delete\",\"get\",\"list\"]}"
        "]}]},{\"group\":\"velero.io\",\"preferredVersion\":\"v1\",\"versions\":[{\"version\":"
        "\"v1\",\"resources\":[{\"name\":\"restores\",\"singularName\":\"restore\",\"kind\":"
        "\"Restore\",\"namespaced\":true,\"shortNames\":[],\"verbs\":[\"create\",\"delete\","
        "\"get\",\"list\"]}]}]}]}";
    (void)user;
    (void)job;
    return vmb_sink_write(out, text, sizeof(text) - 1, err);
}

static vmb_code fake_list(void *user, vmb_job *job, const char *group, const char *version,
                          const char *resource, const char *ns, const char *selector,
                          int64_t page_size, vmb_item_sink *out, vmb_error **err)
{
    static const char mine[] = "{\"metadata\":{\"name\":\"r1\",\"namespace\":\"velero\"},"
                               "\"spec\":{\"backupName\":\"b1\"}}";
    static const char other[] = "{\"metadata\":{\"name\":\"r2\",\"namespace\":\"velero\"},"
                                "\"spec\":{\"backupName\":\"b2\"}}";
    (void)user;
    (void)job;
    (void)group;
    (void)version;
    (void)ns;
    (void)selector;
    (void)page_size;
    if (strcmp(resource, "restores") != 0) {
        return VMB_OK;
    }
    vmb_code rc = vmb_item_sink_push(out, mine, sizeof(mine) - 1, err);
    return rc != VMB_OK ? rc : vmb_item_sink_push(out, other, sizeof(other) - 1, err);
}

static vmb_code fake_get(void *user, vmb_job *job, const char *group, const char *version,
                         const char *resource, const char *ns, const char *name, vmb_sink *out,
                         vmb_error **err)
{
    rig *r = user;
    (void)job;
    (void)group;
    (void)version;
    (void)resource;
    (void)ns;
    if (r->content == NULL || strstr(r->content, name) == NULL) {
        vmb_error_set(err, VMB_E_NOT_FOUND, 0, "not found");
        return VMB_E_NOT_FOUND;
    }
    if (r->cancel != NULL) {
        vmbi_cancel_fire(r->cancel);
    }
    if (r->storage_is_dead) {
        static const char dead[] = "{\"metadata\":{},\"status\":{\"error\":{\"message\":"
                                   "\"rpc error: code = NotFound desc = none\"}}}";
        return vmb_sink_write(out, dead, sizeof(dead) - 1, err);
    }
    const char *text = ++r->gets > 1 ? "{\"metadata\":{},\"status\":{\"snapshotHandle\":\"h-1\"}}"
                                     : "{\"metadata\":{}}";
    return vmb_sink_write(out, text, strlen(text), err);
}

static vmb_code fake_create(void *user, vmb_job *job, const char *group, const char *version,
                            const char *resource, const char *ns, const char *json, size_t len,
                            vmb_sink *out, vmb_error **err)
{
    rig *r = user;
    (void)job;
    (void)group;
    (void)version;
    (void)ns;
    assert_string_equal(resource, "volumesnapshotcontents");
    r->content = strndup(json, len);
    r->gets = 0;
    return out != NULL ? vmb_sink_write(out, json, len, err) : VMB_OK;
}

static vmb_code fake_patch(void *user, vmb_job *job, const char *group, const char *version,
                           const char *resource, const char *ns, const char *name,
                           const char *subresource, int32_t patch_kind, const char *json,
                           size_t len, vmb_sink *out, vmb_error **err)
{
    (void)user;
    (void)job;
    (void)group;
    (void)version;
    (void)resource;
    (void)ns;
    (void)name;
    (void)subresource;
    (void)patch_kind;
    (void)json;
    (void)len;
    (void)out;
    vmb_error_set(err, VMB_E_NOT_FOUND, 0, "not found");
    return VMB_E_NOT_FOUND;
}

static vmb_code fake_remove(void *user, vmb_job *job, const char *group, const char *version,
                            const char *resource, const char *ns, const char *name,
                            vmb_error **err)
{
    rig *r = user;
    (void)group;
    (void)version;
    (void)ns;
    if (vmb_job_cancelled(job)) {
        vmb_error_set(err, VMB_E_CANCELLED, 0, "cancelled");
        return VMB_E_CANCELLED;
    }
    if (strcmp(resource, "restores") == 0) {
        assert_string_equal(name, "r1");
        r->restores_removed++;
        return VMB_OK;
    }
    /* the sidecar deletes only what has a handle in its status, the policy and the finalizer */
    if (r->content != NULL && r->gets > 1 && strstr(r->content, "\"deletionPolicy\":\"Delete\"") &&
        strstr(r->content, "\"snapshot.storage.kubernetes.io/"
                           "volumesnapshotcontent-bound-protection\"") &&
        strstr(r->content, "\"snapshotHandle\":\"h-1\"")) {
        (void)snprintf(r->dropped, sizeof(r->dropped), "h-1");
    }
    free(r->content);
    r->content = NULL;
    return VMB_OK;
}

static vmb_code fake_save(void *user, vmb_job *job, const char *volume, size_t len,
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

static vmb_code fake_drop(void *user, vmb_job *job, const char *snapshot, size_t len,
                          vmb_error **err)
{
    rig *r = user;
    const char *prefix = NULL;
    assert_non_null(vmb_job_store(job, &prefix));
    assert_non_null(memmem(snapshot, len, "\"snapshotID\":\"s-1\"", 18));
    if (r->remove_fails != VMB_OK) {
        vmb_error_set(err, r->remove_fails, 0, "the repository is locked");
        return r->remove_fails;
    }
    r->removed++;
    return VMB_OK;
}

static vmb_code fake_verify(void *user, vmb_job *job, const char *snapshot, size_t len,
                            vmb_progress *progress, vmb_error **err)
{
    rig *r = user;
    (void)job;
    (void)snapshot;
    (void)len;
    vmb_progress_update(progress, 1, 1);
    if (r->verify_fails != VMB_OK) {
        vmb_error_set(err, r->verify_fails, 0, "a blob is damaged");
    }
    return r->verify_fails;
}

static void add_location(rig *r, const char *name, bool read_only)
{
    char doc[512];
    char path[256];
    vmb_error *err = NULL;
    path_of(r, name, "", path);
    (void)mkdir(path, 0700);
    int n = snprintf(doc, sizeof(doc),
                     "{\"apiVersion\":\"velero.io/v1\",\"kind\":\"BackupStorageLocation\","
                     "\"metadata\":{\"name\":\"%s\"},\"spec\":{\"provider\":\"vmbackup.io/dir\","
                     "\"accessMode\":\"%s\",\"config\":{\"path\":\"%s\"}}}",
                     name, read_only ? "ReadOnly" : "ReadWrite", path);
    if (vmb_ctx_add_location(r->ctx, doc, (size_t)n, &err) != VMB_OK) {
        fail_msg("%s", vmb_error_message(err));
    }
}

enum { CLUSTER = 1, VOLUMES = 2 };

static void rig_up(rig *r, unsigned with)
{
    char path[256];
    memset(r, 0, sizeof(*r));
    (void)snprintf(r->dir, sizeof(r->dir), "/tmp/vmb-catalog-XXXXXX");
    assert_non_null(mkdtemp(r->dir));
    assert_int_equal(vmb_ctx_new(&r->ctx, NULL), VMB_OK);
    add_location(r, "one", false);
    add_location(r, "two", false);
    add_location(r, "shut", true);
    path_of(r, "one", "backups", path);
    assert_int_equal(mkdir(path, 0700), 0);
    if (with & CLUSTER) {
        vmb_cluster_provider c = {.struct_size = sizeof(c), .api_version = VMB_PROVIDER_API,
                                  .name = "fake", .user = r, .discover = fake_discover,
                                  .list = fake_list, .get = fake_get, .create = fake_create,
                                  .patch = fake_patch, .remove = fake_remove};
        assert_int_equal(vmb_ctx_add_cluster_provider(r->ctx, &c, NULL), VMB_OK);
    }
    if (with & VOLUMES) {
        vmb_volume_provider v = {.struct_size = sizeof(v), .api_version = VMB_PROVIDER_API,
                                 .name = "fake", .user = r, .backup = fake_save,
                                 .remove = fake_drop, .verify = fake_verify};
        assert_int_equal(vmb_ctx_add_volume_provider(r->ctx, &v, NULL), VMB_OK);
    }
    assert_int_equal(vmb_catalog_open(r->ctx, "one", &r->one, NULL), VMB_OK);
    assert_int_equal(vmb_catalog_open(r->ctx, "two", &r->two, NULL), VMB_OK);
}

static int remove_path(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st;
    (void)kind;
    (void)at;
    return remove(path);
}

static void rig_down(rig *r)
{
    vmb_catalog_free(r->one);
    vmb_catalog_free(r->two);
    vmb_ctx_unref(r->ctx);
    free(r->content);
    (void)nftw(r->dir, remove_path, 16, FTW_DEPTH | FTW_PHYS);
}

static void expect_in(char *text, const char *wanted)
{
    if (strstr(text, wanted) == NULL) {
        fail_msg("%s is not in %s", wanted, text);
    }
}

/* ---- verify -------------------------------------------------------------------------------------- */

static void expect_verdict(rig *r, const char *options, bool ok, const char *says)
{
    char *out = NULL;
    vmb_error *err = NULL;
    if (vmb_catalog_verify_json(r->one, "b1", options, options ? strlen(options) : 0, &out, NULL,
                                &err) != VMB_OK) {
        fail_msg("%s", vmb_error_message(err));
    }
    expect_in(out, ok ? "\"ok\":true" : "\"ok\":false");
    expect_in(out, says);
    vmb_free(out);
}

static void verify_whole_backup_is_ok(void **state)
{
    (void)state;
    rig r;
    rig_up(&r, 0);
    make_backup(&r, "b1", two_maps, two_maps_list, "null\n");
    expect_verdict(&r, NULL, true, "\"objects\":2");
    char *out = NULL;
    assert_int_equal(vmb_catalog_verify_json(r.one, "none", NULL, 0, &out, NULL, NULL),
                     VMB_E_NOT_FOUND);
    assert_int_equal(vmb_catalog_verify_json(r.one, "b1", "deeep: true", 11, &out, NULL, NULL),
                     VMB_E_ARG);
    rig_down(&r);
}

static void verify_damage_is_told(void **state)
{
    static const char *const misplaced[] = {"configmaps/namespaces/shop/x.json", CM("z", "1"),
                                            NULL};
    static const char *const broken[] = {"configmaps/namespaces/shop/x.json", "{\"kind\":", NULL};
    (void)state;
    rig r;
    char path[256];
    rig_up(&r, 0);
    make_backup(&r, "b1", two_maps, "{\"v1/ConfigMap\":[\"shop/x\",\"shop/gone\"]}\n", "null\n");
    expect_verdict(&r, NULL, false, "v1/ConfigMap shop/gone is in the resource list only");
    write_side(&r, "b1", "resource-list.json.gz", two_maps_list);
    expect_verdict(&r, NULL, true, "\"problems\":[]");
    remove_file(&r, "backups/b1/b1-volumeinfo.json.gz");
    expect_verdict(&r, NULL, false, "does not exist");
    write_side(&r, "b1", "volumeinfo.json.gz", "{}\n");
    expect_verdict(&r, NULL, false, "holds object where an array belongs");
    write_side(&r, "b1", "volumeinfo.json.gz", "[{]");
    expect_verdict(&r, NULL, false, "b1-volumeinfo.json.gz");
    write_side(&r, "b1", "volumeinfo.json.gz", "[]");
    write_archive(&r, "b1", misplaced);
    expect_verdict(&r, NULL, false, "holds the object shop/z");
    write_archive(&r, "b1", broken);
    expect_verdict(&r, NULL, false, "x.json");
    write_archive(&r, "b1", two_maps);
    path_of(&r, "one", "backups/b1/b1.tar.gz", path);
    assert_int_equal(truncate(path, 150), 0);
    expect_verdict(&r, NULL, false, "b1.tar.gz");
    remove_file(&r, "backups/b1/b1.tar.gz");
    expect_verdict(&r, NULL, false, "b1.tar.gz");
    rig_down(&r);
}

static const char pods_list[] =
    "[{\"spec\":{\"uploaderType\":\"kopia\"},\"status\":{\"phase\":\"Completed\",\"snapshotID\":"
    "\"s-1\"}},{\"spec\":{},\"status\":{\"phase\":\"Completed\"}}]\n";

static void verify_deep_asks_the_provider(void **state)
{
    (void)state;
    rig r;
    rig_up(&r, VOLUMES);
    make_backup(&r, "b1", two_maps, two_maps_list, pods_list);
    expect_verdict(&r, "deep: true", true, "\"volumes\":1");
    r.verify_fails = VMB_E_INVALID;
    expect_verdict(&r, "deep: true", false, "snapshot s-1: a blob is damaged");
    r.verify_fails = VMB_E_UNSUPPORTED;
    expect_verdict(&r, "deep: true", false, "no volume provider can read it");
    rig_down(&r);
}

/* ---- copy ---------------------------------------------------------------------------------------- */

static void copy_names_its_new_location(void **state)
{
    (void)state;
    rig r;
    char *out = NULL;
    rig_up(&r, 0);
    make_backup(&r, "b1", two_maps, two_maps_list, "null\n");
    assert_int_equal(vmb_catalog_copy(r.one, "b1", r.two, NULL, 0, &out, NULL, NULL), VMB_OK);
    expect_in(out, "\"files\":9,\"from\":\"one\",\"to\":\"two\"");
    vmb_free(out);
    assert_int_equal(vmb_catalog_describe_json(r.two, "b1", &out, NULL, NULL), VMB_OK);
    expect_in(out, "\"velero.io/storage-location\":\"two\"");
    expect_in(out, "\"storageLocation\":\"two\"");
    vmb_free(out);
    assert_int_equal(vmb_catalog_copy(r.one, "b1", r.two, NULL, 0, NULL, NULL, NULL),
                     VMB_E_EXISTS);
    rig_down(&r);
}

static void copy_what_cannot_be_is_refused(void **state)
{
    (void)state;
    rig r;
    vmb_catalog *shut = NULL;
    vmb_error *err = NULL;
    rig_up(&r, 0);
    make_backup(&r, "b1", two_maps, two_maps_list, pods_list);
    assert_int_equal(vmb_catalog_open(r.ctx, "shut", &shut, NULL), VMB_OK);
    assert_int_equal(vmb_catalog_copy(r.one, "b1", shut, NULL, 0, NULL, NULL, NULL), VMB_E_DENIED);
    assert_int_equal(vmb_catalog_copy(r.one, "no", r.two, NULL, 0, NULL, NULL, NULL),
                     VMB_E_NOT_FOUND);
    assert_int_equal(vmb_catalog_copy(r.one, "b1", r.one, NULL, 0, NULL, NULL, NULL), VMB_E_ARG);
    assert_int_equal(vmb_catalog_copy(r.one, "b1", r.two, NULL, 0, NULL, NULL, &err),
                     VMB_E_INVALID);
    assert_non_null(strstr(vmb_error_message(err), "1 volumes in repositories"));
    vmb_error_free(err);
    assert_false(has_file(&r, "two", "backups/b1/velero-backup.json"));
    assert_int_equal(vmb_catalog_copy(r.one, "b1", r.two, "archiveOnly: true", 17, NULL, NULL,
                                      NULL), VMB_OK);
    assert_true(has_file(&r, "two", "backups/b1/velero-backup.json"));
    vmb_catalog_free(shut);
    rig_down(&r);
}

/* ---- diff ---------------------------------------------------------------------------------------- */

static vmb_code to_buf(void *user, const void *data, size_t len)
{
    vmbi_buf_add(user, data, len);
    return VMB_OK;
}

static void diff_tells_every_change_once(void **state)
{
    static const char *const later[] = {
        "configmaps/namespaces/shop/z.json", CM("z", "1"),
        "configmaps/namespaces/shop/y.json",
        "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"y\","
        "\"namespace\":\"shop\",\"resourceVersion\":\"7\"},\"data\":{\"a\":\"2\",\"b/c\":\"3\"}}",
        "persistentvolumes/cluster/pv.json", "{\"apiVersion\":\"v1\"}", NULL};
    (void)state;
    rig r;
    vmbi_buf out = VMBI_BUF_INIT(65536);
    rig_up(&r, 0);
    make_backup(&r, "b1", two_maps, two_maps_list, "null\n");
    make_backup(&r, "b2", later, two_maps_list, "null\n");
    assert_int_equal(vmb_catalog_diff(r.one, "b1", r.one, "b2",
                                      "{\"ignore\":[\"/metadata/resourceVersion\"]}", 40, to_buf,
                                      &out, NULL), VMB_OK);
    assert_string_equal(
        out.data,
        "{\"change\":\"added\",\"name\":\"z\",\"namespace\":\"shop\",\"resource\":\"configmaps\"}\n"
        "{\"change\":\"added\",\"name\":\"pv\",\"namespace\":\"\",\"resource\":"
        "\"persistentvolumes\"}\n"
        "{\"change\":\"removed\",\"name\":\"x\",\"namespace\":\"shop\",\"resource\":"
        "\"configmaps\"}\n"
        "{\"change\":\"changed\",\"name\":\"y\",\"namespace\":\"shop\",\"patch\":["
        "{\"op\":\"replace\",\"path\":\"/data/a\",\"value\":\"2\"},"
        "{\"op\":\"add\",\"path\":\"/data/b~1c\",\"value\":\"3\"}],\"resource\":\"configmaps\"}\n"
        "{\"added\":2,\"changed\":1,\"removed\":1,\"same\":0}\n");
    vmbi_buf_reset(&out);
    assert_int_equal(vmb_catalog_diff(r.one, "b1", r.one, "b1", NULL, 0, to_buf, &out, NULL),
                     VMB_OK);
    assert_string_equal(out.data, "{\"added\":0,\"changed\":0,\"removed\":0,\"same\":2}\n");
    vmbi_buf_free(&out);
    rig_down(&r);
}

/* ---- delete -------------------------------------------------------------------------------------- */

static const char *const with_content[] = {
    "configmaps/namespaces/shop/x.json", CM("x", "1"),
    "volumesnapshotcontents.snapshot.storage.k8s.io/cluster/snapcontent-1.json", CONTENT, NULL};

static char *delete_b1(rig *r, const char *options)
{
    char *out = NULL;
    vmb_error *err = NULL;
    if (vmb_catalog_delete(r->one, "b1", options, options ? strlen(options) : 0, &out, NULL,
                           &err) != VMB_OK) {
        fail_msg("%s", vmb_error_message(err));
    }
    return out;
}

static void delete_takes_everything_along(void **state)
{
    (void)state;
    rig r;
    char path[256];
    rig_up(&r, CLUSTER | VOLUMES);
    make_backup(&r, "b1", with_content, "{}\n", pods_list);
    path_of(&r, "one", "restores", path);
    assert_int_equal(mkdir(path, 0700), 0);
    path_of(&r, "one", "restores/r1", path);
    assert_int_equal(mkdir(path, 0700), 0);
    write_file(&r, "restores/r1/restore-r1-logs.gz", "x", true);
    /* two that the cluster does not know, one of them of another backup */
    path_of(&r, "one", "restores/r8", path);
    assert_int_equal(mkdir(path, 0700), 0);
    write_file(&r, "restores/r8/vmbackup-restore.json",
               "{\"metadata\":{\"name\":\"r8\"},\"spec\":{\"backupName\":\"b1\"}}", false);
    path_of(&r, "one", "restores/r9", path);
    assert_int_equal(mkdir(path, 0700), 0);
    write_file(&r, "restores/r9/vmbackup-restore.json",
               "{\"metadata\":{\"name\":\"r9\"},\"spec\":{\"backupName\":\"b9\"}}", false);
    char *out = delete_b1(&r, NULL);
    expect_in(out, "\"deleted\":true,\"errors\":[],\"files\":9,\"listed\":false,\"restores\":"
                   "[\"r1\",\"r8\"],\"snapshots\":1,\"volumes\":1");
    assert_false(has_file(&r, "one", "restores/r8/vmbackup-restore.json"));
    assert_true(has_file(&r, "one", "restores/r9/vmbackup-restore.json"));
    vmb_free(out);
    assert_string_equal(r.dropped, "h-1");
    assert_int_equal(r.removed, 1);
    assert_int_equal(r.restores_removed, 1);
    assert_false(has_file(&r, "one", "backups/b1/b1.tar.gz"));
    assert_false(has_file(&r, "one", "backups/b1/vmbackup-deleting.json"));
    assert_false(has_file(&r, "one", "restores/r1/restore-r1-logs.gz"));
    assert_int_equal(vmb_catalog_delete(r.one, "b1", NULL, 0, NULL, NULL, NULL), VMB_E_NOT_FOUND);
    rig_down(&r);
}

static void delete_without_means_changes_nothing(void **state)
{
    (void)state;
    rig r;
    rig_up(&r, 0);
    make_backup(&r, "b1", with_content, "{}\n", pods_list);
    char *out = delete_b1(&r, NULL);
    expect_in(out, "\"deleted\":false");
    expect_in(out, "\"listed\":true");
    expect_in(out, "1 CSI snapshots: they are removed through a cluster, and there is none");
    expect_in(out, "1 volumes in repositories: no volume provider can remove them");
    vmb_free(out);
    assert_true(has_file(&r, "one", "backups/b1/velero-backup.json"));
    out = delete_b1(&r, "force: true");
    expect_in(out, "\"deleted\":true");
    vmb_free(out);
    assert_false(has_file(&r, "one", "backups/b1/velero-backup.json"));
    rig_down(&r);
}

static void delete_failed_before_anything_lists_again(void **state)
{
    (void)state;
    rig r;
    rig_up(&r, CLUSTER | VOLUMES);
    make_backup(&r, "b1", two_maps, two_maps_list, pods_list);
    r.remove_fails = VMB_E_STATE;
    char *out = delete_b1(&r, NULL);
    expect_in(out, "\"deleted\":false");
    expect_in(out, "\"listed\":true");
    expect_in(out, "volume snapshot s-1: the repository is locked");
    vmb_free(out);
    assert_true(has_file(&r, "one", "backups/b1/velero-backup.json"));
    assert_false(has_file(&r, "one", "backups/b1/vmbackup-deleting.json"));
    rig_down(&r);
}

static void delete_failed_halfway_is_not_listed_and_goes_on(void **state)
{
    (void)state;
    rig r;
    rig_up(&r, CLUSTER | VOLUMES);
    make_backup(&r, "b1", with_content, "{}\n", pods_list);
    r.remove_fails = VMB_E_STATE;
    char *out = delete_b1(&r, NULL);
    expect_in(out, "\"listed\":false");
    expect_in(out, "\"snapshots\":1");
    vmb_free(out);
    assert_int_equal(vmb_catalog_list_json(r.one, &out, NULL, NULL), VMB_OK);
    assert_string_equal(out, "[]");
    vmb_free(out);
    assert_int_equal(vmb_catalog_orphans_json(r.one, &out, NULL, NULL), VMB_OK);
    expect_in(out, "\"deleting\":true");
    vmb_free(out);
    r.remove_fails = VMB_OK;
    r.storage_is_dead = true; /* the snapshot is gone: the driver says so */
    out = delete_b1(&r, NULL);
    expect_in(out, "\"deleted\":true");
    vmb_free(out);
    assert_false(has_file(&r, "one", "backups/b1/b1.tar.gz"));
    rig_down(&r);
}

/* The content that was made for a moment goes, too, when the program is to end just then. */
static void delete_cancelled_leaves_no_content_behind(void **state)
{
    (void)state;
    rig r;
    rig_up(&r, CLUSTER | VOLUMES);
    make_backup(&r, "b1", with_content, "{}\n", "null\n");
    assert_int_equal(vmbi_cancel_new(&r.cancel, NULL), VMB_OK);
    r.one->cancel = r.cancel;
    assert_int_equal(vmb_catalog_delete(r.one, "b1", NULL, 0, NULL, NULL, NULL), VMB_E_CANCELLED);
    assert_null(r.content);
    r.one->cancel = NULL;
    vmbi_cancel_free(r.cancel);
    r.cancel = NULL;
    char *out = delete_b1(&r, NULL); /* taken up again */
    expect_in(out, "\"deleted\":true");
    vmb_free(out);
    rig_down(&r);
}

static void delete_read_only_location_is_refused(void **state)
{
    (void)state;
    rig r;
    vmb_catalog *shut = NULL;
    rig_up(&r, 0);
    assert_int_equal(vmb_catalog_open(r.ctx, "shut", &shut, NULL), VMB_OK);
    assert_int_equal(vmb_catalog_delete(shut, "b1", NULL, 0, NULL, NULL, NULL), VMB_E_DENIED);
    vmb_catalog_free(shut);
    rig_down(&r);
}

static void orphan_goes_when_it_is_old_enough(void **state)
{
    static const char young[] = "{\"orphan\":true,\"olderThan\":\"24h\"}";
    (void)state;
    rig r;
    char *out = NULL;
    rig_up(&r, 0);
    make_backup(&r, "b1", two_maps, two_maps_list, "null\n");
    remove_file(&r, "backups/b1/velero-backup.json");
    assert_int_equal(vmb_catalog_orphans_json(r.one, &out, NULL, NULL), VMB_OK);
    expect_in(out, "\"deleting\":false,\"files\":8");
    vmb_free(out);
    assert_int_equal(vmb_catalog_delete(r.one, "b1", NULL, 0, NULL, NULL, NULL), VMB_E_NOT_FOUND);
    assert_int_equal(vmb_catalog_delete(r.one, "b1", young, sizeof(young) - 1, NULL, NULL, NULL),
                     VMB_E_STATE);
    assert_int_equal(vmb_catalog_delete(r.one, "b1", "orphan: true", 12, NULL, NULL, NULL),
                     VMB_OK);
    assert_int_equal(vmb_catalog_orphans_json(r.one, &out, NULL, NULL), VMB_OK);
    assert_string_equal(out, "[]");
    vmb_free(out);
    rig_down(&r);
}

/* Files that a killed writer left where no listing shows them. */
static void sweep_removes_what_dead_writers_left(void **state)
{
    static const char *const names[] = {"one/.vmbackup-tmp/put-old", "one/.vmbackup-tmp/put-new",
                                        "one/.vmbackup-tmp/other"};
    const struct timespec old[2] = {{1000000000, 0}, {1000000000, 0}};
    (void)state;
    rig r;
    char path[256];
    int64_t removed = -1;
    vmb_catalog *shut = NULL;
    rig_up(&r, 0);
    make_backup(&r, "b1", two_maps, two_maps_list, "null\n");
    assert_int_equal(vmb_catalog_sweep(r.one, INT64_C(3600000000000), &removed, NULL), VMB_OK);
    assert_int_equal(removed, 0);
    path_of(&r, "one", ".vmbackup-tmp", path);
    assert_int_equal(mkdir(path, 0700), 0);
    for (size_t i = 0; i < 3; i++) {
        write_file(&r, names[i] + 4, "x", false);
        (void)snprintf(path, sizeof(path), "%s/%s", r.dir, names[i]);
        if (i != 1) {
            assert_int_equal(utimensat(AT_FDCWD, path, old, 0), 0);
        }
    }
    assert_int_equal(vmb_catalog_sweep(r.one, 1, NULL, NULL), VMB_E_ARG);
    assert_int_equal(vmb_catalog_sweep(NULL, INT64_C(3600000000000), NULL, NULL), VMB_E_ARG);
    assert_int_equal(vmb_catalog_open(r.ctx, "shut", &shut, NULL), VMB_OK);
    assert_int_equal(vmb_catalog_sweep(shut, INT64_C(3600000000000), NULL, NULL), VMB_E_DENIED);
    vmb_catalog_free(shut);
    assert_int_equal(vmb_catalog_sweep(r.one, INT64_C(3600000000000), &removed, NULL), VMB_OK);
    assert_int_equal(removed, 1);
    assert_false(has_file(&r, "one", names[0] + 4));
    assert_true(has_file(&r, "one", names[1] + 4));
    assert_true(has_file(&r, "one", names[2] + 4));
    assert_true(has_file(&r, "one", "backups/b1/velero-backup.json"));
    rig_down(&r);
}

static void expired_backups_are_those_past_their_time(void **state)
{
    (void)state;
    rig r;
    char *out = NULL;
    int64_t when = 0;
    assert_true(vmbi_parse_rfc3339("2026-11-24T10:00:00Z", &when));
    rig_up(&r, 0);
    make_backup(&r, "b1", two_maps, two_maps_list, "null\n");
    assert_int_equal(vmb_catalog_expired_json(r.one, when - 1, &out, NULL, NULL), VMB_OK);
    assert_string_equal(out, "[]");
    vmb_free(out);
    assert_int_equal(vmb_catalog_expired_json(r.one, when, &out, NULL, NULL), VMB_OK);
    assert_string_equal(out, "[{\"expiration\":\"2026-11-24T10:00:00Z\",\"name\":\"b1\","
                             "\"phase\":\"Completed\"}]");
    vmb_free(out);
    rig_down(&r);
}

static void files_of_restores_are_read_by_their_name(void **state)
{
    (void)state;
    rig r;
    char path[256];
    vmbi_buf out = VMBI_BUF_INIT(4096);
    char *url = NULL;
    rig_up(&r, 0);
    path_of(&r, "one", "restores", path);
    assert_int_equal(mkdir(path, 0700), 0);
    path_of(&r, "one", "restores/r1", path);
    assert_int_equal(mkdir(path, 0700), 0);
    write_file(&r, "restores/r1/restore-r1-logs.gz", "hello\n", true);
    assert_int_equal(vmb_catalog_read(r.one, "r1", VMB_FILE_RESTORE_LOG, to_buf, &out, NULL),
                     VMB_OK);
    assert_string_equal(out.data, "hello\n");
    assert_int_equal(vmb_catalog_presign(r.one, "r1", VMB_FILE_RESTORE_LOG, 1, &url, NULL, NULL),
                     VMB_E_UNSUPPORTED);
    assert_int_equal(vmb_catalog_presign(r.one, "r1", VMB_FILE_RESTORE_LOG, 0, &url, NULL, NULL),
                     VMB_E_ARG);
    vmbi_buf_free(&out);
    rig_down(&r);
}

static void restores_are_listed_with_what_the_location_knows_of_them(void **state)
{
    (void)state;
    rig r;
    char path[256];
    char *out = NULL;
    static const char *const folders[] = {"restores", "restores/r1", "restores/r2", "restores/r3",
                                          "restores/r4"};
    rig_up(&r, 0);
    assert_int_equal(vmb_catalog_restores_json(r.one, &out, NULL, NULL), VMB_OK);
    assert_string_equal(out, "[]");
    vmb_free(out);
    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
        path_of(&r, "one", folders[i], path);
        assert_int_equal(mkdir(path, 0700), 0);
    }
    /* ours; Velero's; one that names another; one without any file that tells */
    write_file(&r, "restores/r1/vmbackup-restore.json",
               "{\"metadata\":{\"name\":\"r1\"},\"status\":{\"phase\":\"Completed\"}}", false);
    write_file(&r, "restores/r2/restore-r2-results.gz",
               "{\"errors\":{\"velero\":[\"a\"],\"namespaces\":{\"n\":[\"b\",\"c\"]}},"
               "\"warnings\":{\"cluster\":[\"d\"]}}\n", true);
    write_file(&r, "restores/r3/vmbackup-restore.json", "{\"metadata\":{\"name\":\"r1\"}}", false);
    write_file(&r, "restores/r4/restore-r4-logs.gz", "x\n", true);
    assert_int_equal(vmb_catalog_restores_json(r.one, &out, NULL, NULL), VMB_OK);
    assert_string_equal(
        out, "[{\"metadata\":{\"name\":\"r1\"},\"status\":{\"phase\":\"Completed\"}},"
             "{\"metadata\":{\"name\":\"r2\"},\"status\":{\"errors\":3,\"warnings\":1}},"
             "{\"error\":\"restores/r3/vmbackup-restore.json: metadata.name is not r3\","
             "\"metadata\":{\"name\":\"r3\"}},"
             "{\"metadata\":{\"name\":\"r4\"},\"status\":{}}]");
    vmb_free(out);
    rig_down(&r);
}

static void resources_of_the_cluster_are_sorted_and_have_their_type(void **state)
{
    (void)state;
    rig r;
    char *out = NULL;
    vmb_error *err = NULL;
    rig_up(&r, CLUSTER);
    assert_int_equal(vmb_ctx_resources_json(r.ctx, "restores", NULL, &out, NULL, NULL), VMB_OK);
    expect_in(out, "[{\"apiVersion\":\"velero.io/v1\",\"kind\":\"Restore\",\"metadata\":{\"name\":\"r1\"");
    expect_in(out, "\"name\":\"r2\"");
    vmb_free(out);
    out = NULL;
    assert_int_equal(vmb_ctx_resources_json(r.ctx, "schedules", "none", &out, NULL, &err),
                     VMB_E_NOT_FOUND);
    assert_null(out);
    assert_non_null(strstr(vmb_error_message(err), "schedules none in namespace velero"));
    vmb_error_free(err);
    assert_int_equal(vmb_ctx_resources_json(r.ctx, "pods", NULL, &out, NULL, NULL), VMB_E_ARG);
    assert_int_equal(vmb_ctx_resources_json(r.ctx, "restores", "a/b", &out, NULL, NULL),
                     VMB_E_ARG);
    rig_down(&r);
    rig_up(&r, 0);
    assert_int_equal(vmb_ctx_resources_json(r.ctx, "restores", NULL, &out, NULL, NULL),
                     VMB_E_STATE);
    rig_down(&r);
}

/* ---- memory -------------------------------------------------------------------------------------- */

static vmb_code work_once(rig *r)
{
    char *out = NULL;
    vmbi_buf lines = VMBI_BUF_INIT(65536);
    vmb_code rc = vmb_catalog_verify_json(r->one, "b1", "deep: true", 10, &out, NULL, NULL);
    vmb_free(out);
    if (rc == VMB_OK) {
        rc = vmb_catalog_diff(r->one, "b1", r->one, "b2", NULL, 0, to_buf, &lines, NULL);
    }
    out = NULL;
    if (rc == VMB_OK) {
        rc = vmb_catalog_copy(r->one, "b1", r->two, "archiveOnly: true", 17, &out, NULL, NULL);
    }
    vmb_free(out);
    out = NULL;
    if (rc == VMB_OK) {
        rc = vmb_catalog_delete(r->two, "b1", "force: true", 11, &out, NULL, NULL);
    }
    vmb_free(out);
    vmbi_buf_free(&lines);
    return rc;
}

static void operations_memory_runs_out_anywhere(void **state)
{
    static const char *const later[] = {"configmaps/namespaces/shop/y.json", CM("y", "2"), NULL};
    (void)state;
    rig r;
    rig_up(&r, VOLUMES);
    make_backup(&r, "b1", two_maps, two_maps_list, pods_list);
    make_backup(&r, "b2", later, two_maps_list, "null\n");
    for (uint64_t n = 1; n < 100000; n += 1 + n / 150) {
        vmbi_alloc_fail_from(n);
        vmb_code rc = work_once(&r);
        vmbi_alloc_fail_from(0);
        if (rc == VMB_OK) {
            rig_down(&r);
            return;
        }
        if (rc != VMB_E_NOMEM) {
            fail_msg("allocation %llu: %d", (unsigned long long)n, (int)rc);
        }
        (void)vmb_catalog_delete(r.two, "b1", "{\"force\":true,\"orphan\":true}", 28, NULL, NULL,
                                 NULL);
    }
    fail();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(verify_whole_backup_is_ok),
        cmocka_unit_test(verify_damage_is_told),
        cmocka_unit_test(verify_deep_asks_the_provider),
        cmocka_unit_test(copy_names_its_new_location),
        cmocka_unit_test(copy_what_cannot_be_is_refused),
        cmocka_unit_test(diff_tells_every_change_once),
        cmocka_unit_test(delete_takes_everything_along),
        cmocka_unit_test(delete_without_means_changes_nothing),
        cmocka_unit_test(delete_failed_before_anything_lists_again),
        cmocka_unit_test(delete_failed_halfway_is_not_listed_and_goes_on),
        cmocka_unit_test(delete_cancelled_leaves_no_content_behind),
        cmocka_unit_test(delete_read_only_location_is_refused),
        cmocka_unit_test(orphan_goes_when_it_is_old_enough),
        cmocka_unit_test(sweep_removes_what_dead_writers_left),
        cmocka_unit_test(expired_backups_are_those_past_their_time),
        cmocka_unit_test(files_of_restores_are_read_by_their_name),
        cmocka_unit_test(restores_are_listed_with_what_the_location_knows_of_them),
        cmocka_unit_test(resources_of_the_cluster_are_sorted_and_have_their_type),
        cmocka_unit_test(operations_memory_runs_out_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0 ? 1 : 0;
}
