/* SPDX-License-Identifier: Apache-2.0 */
#include "core/catalog.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/job.h"
#include "base/strs.h"
#include "codec/tar.h"
#include "core/backup.h"

enum {
    MAX_BACKUPS = 100000,
    MAX_METADATA = 4 * 1024 * 1024, /* as a Backup may have; etcd's limit is below */
    MAX_DOCUMENT = 64 * 1024 * 1024, /* of JSON; its tree takes several times as much */
    MAX_ARCHIVE = 512 * 1024 * 1024, /* compressed */
    MAX_ITEM = 64 * 1024 * 1024
};

vmb_code vmbi_catalog_open(vmb_ctx *ctx, const char *location, vmb_catalog **out, vmb_error **err)
{
    const vmbi_store_location *l = vmbi_ctx_location(ctx, location, err);
    if (l == NULL) {
        return VMB_E_NOT_FOUND;
    }
    vmb_catalog *cat = vmbi_zalloc(sizeof(*cat));
    if (cat == NULL) {
        return vmbi_fail_nomem(err);
    }
    vmbi_ctx_freeze(ctx);
    cat->ctx = vmb_ctx_ref(ctx);
    cat->store = (vmbi_store){l, ctx->settings.resource_timeout_ns};
    *out = cat;
    return VMB_OK;
}

void vmbi_catalog_free(vmb_catalog *cat)
{
    if (cat != NULL) {
        vmbi_ctx_unref(cat->ctx);
        vmbi_free(cat);
    }
}

/* ---- listing ------------------------------------------------------------------------------- */

static vmb_code note_prefix(void *user, const char *key, int64_t size, int64_t mtime,
                            int32_t is_prefix, vmb_error **err)
{
    vmbi_strs *names = user;
    (void)size;
    (void)mtime;
    static const char top[] = "backups/";
    if (!is_prefix || !vmbi_starts_with(key, top)) {
        return VMB_OK;
    }
    const char *name = key + sizeof(top) - 1;
    size_t len = strlen(name);
    len -= len > 0 && name[len - 1] == '/' ? 1 : 0;
    if (len == 0) {
        return VMB_OK;
    }
    if (names->n >= MAX_BACKUPS) {
        return vmbi_fail(err, VMB_E_LIMIT, "more than %d backups in the location", MAX_BACKUPS);
    }
    return vmbi_strs_addn(names, name, len, err);
}

/* Reads velero-backup.json; VMB_E_NOT_FOUND when there is none. */
static vmb_code read_metadata(vmb_catalog *cat, const char *backup, vmbi_json **out,
                              vmb_error **err)
{
    vmb_job job = {0};
    vmbi_buf path = VMBI_BUF_INIT(1024);
    vmbi_buf text = VMBI_BUF_INIT(MAX_METADATA);
    vmb_code rc = vmbi_backup_file(backup, "velero-backup.json", &path, err);
    if (rc == VMB_OK) {
        rc = vmbi_store_get(&cat->store, &job, path.data, &text, err);
    }
    if (rc == VMB_OK) {
        rc = vmbi_json_parse(text.data != NULL ? text.data : "", text.len, path.data, out, err);
    }
    if (rc == VMB_OK && !vmbi_json_is_object(*out)) {
        vmbi_json_free(*out);
        *out = NULL;
        rc = vmbi_fail(err, VMB_E_PARSE, "%s: not an object", path.data);
    }
    if (rc == VMB_OK && !vmbi_streq(vmbi_json_path_str(*out, "metadata.name"), backup)) {
        /* the name leads to the files: one must not be listed as another */
        vmbi_json_free(*out);
        *out = NULL;
        rc = vmbi_fail(err, VMB_E_INVALID, "%s: metadata.name is not %s", path.data, backup);
    }
    vmbi_buf_free(&path);
    vmbi_buf_free(&text);
    return rc;
}

/* An entry for a backup whose metadata cannot be read. */
static vmbi_json *unreadable(const char *name, const vmb_error *why)
{
    vmbi_json *e = vmbi_json_object();
    vmbi_json *meta = vmbi_json_ensure_object(e, "metadata");
    if (meta == NULL || !vmbi_json_set_str(meta, "name", name) ||
        !vmbi_json_set_str(e, "error", vmb_error_message(why))) {
        vmbi_json_free(e);
        e = NULL;
    }
    return e;
}

vmb_code vmbi_catalog_list(vmb_catalog *cat, vmbi_json **out, vmb_error **err)
{
    vmb_job job = {0};
    vmbi_strs names = {0};
    struct vmb_key_sink sink = {note_prefix, &names};
    vmbi_json *list = vmbi_json_array();
    job.limits = vmbi_limits_within(NULL, cat->store.timeout_ns);
    vmb_code rc = list != NULL ? vmbi_store_list(&cat->store, &job, "backups/", "/", &sink, err)
                               : vmbi_fail_nomem(err);
    vmbi_strs_sort(&names);
    for (size_t i = 0; i < names.n && rc == VMB_OK; i++) {
        vmbi_json *doc = NULL;
        vmb_error *why = NULL;
        vmb_code got = read_metadata(cat, names.v[i], &doc, &why);
        if (got == VMB_E_NOMEM) {
            rc = vmbi_fail_nomem(err);
        } else if (got != VMB_E_NOT_FOUND) { /* without metadata it is no backup (yet) */
            doc = got == VMB_OK ? doc : unreadable(names.v[i], why);
            rc = vmbi_json_append(list, doc) ? VMB_OK : vmbi_fail_nomem(err);
        }
        vmb_error_free(why);
    }
    vmbi_strs_free(&names);
    if (rc != VMB_OK) {
        vmbi_json_free(list);
        return rc;
    }
    *out = list;
    return VMB_OK;
}

/* ---- files --------------------------------------------------------------------------------- */

static const struct {
    int32_t file;
    const char *suffix;
    bool packed; /* given unpacked */
} files[] = {
    {VMB_FILE_METADATA, "velero-backup.json", false},
    {VMB_FILE_CONTENTS, "%s.tar.gz", false},
    {VMB_FILE_LOG, "%s-logs.gz", true},
    {VMB_FILE_RESULTS, "%s-results.gz", true},
    {VMB_FILE_RESOURCE_LIST, "%s-resource-list.json.gz", true},
    {VMB_FILE_VOLUME_INFO, "%s-volumeinfo.json.gz", true},
    {VMB_FILE_ITEM_OPERATIONS, "%s-itemoperations.json.gz", true},
    {VMB_FILE_POD_VOLUME_BACKUPS, "%s-podvolumebackups.json.gz", true},
    {VMB_FILE_VOLUME_SNAPSHOTS, "%s-volumesnapshots.json.gz", true},
};

/* From the store's bytes to the caller's function, unpacking on the way if asked. */
typedef struct pipe {
    vmb_write_fn fn;
    void *user;
    vmbi_gunzip *gunzip;
} pipe;

static vmb_code to_caller(void *user, const void *data, size_t len, vmb_error **err)
{
    pipe *p = user;
    vmb_code rc = p->fn(p->user, data, len);
    return rc == VMB_OK ? VMB_OK : vmbi_check_provider(err, rc, "the caller's write function");
}

static vmb_code from_store(void *user, const void *data, size_t len, vmb_error **err)
{
    pipe *p = user;
    return p->gunzip != NULL ? vmbi_gunzip_write(p->gunzip, data, len, err)
                             : to_caller(p, data, len, err);
}

static vmb_code stream(vmb_catalog *cat, const char *path, pipe *p, vmb_error **err)
{
    vmbi_buf key = VMBI_BUF_INIT(1024);
    vmb_job job = {0};
    struct vmb_sink sink = {from_store, p};
    vmb_code rc = vmbi_store_key(&cat->store, path, &key, err);
    if (rc == VMB_OK) {
        const vmb_store_provider *s = &cat->store.location->store;
        rc = s->get(s->user, &job, key.data, 0, -1, &sink, err);
        rc = vmbi_check_provider(err, rc, "read an object");
    }
    if (rc == VMB_OK && p->gunzip != NULL) {
        rc = vmbi_gunzip_finish(p->gunzip, err);
    }
    vmbi_buf_free(&key);
    return rc;
}

/* A missing file mostly means a missing backup: says so. */
static void explain_missing(vmb_catalog *cat, const char *backup, vmb_error **err)
{
    vmb_job job = {0};
    vmbi_buf path = VMBI_BUF_INIT(1024);
    bool exists = true;
    if (vmbi_backup_file(backup, "velero-backup.json", &path, NULL) == VMB_OK &&
        vmbi_store_exists(&cat->store, &job, path.data, &exists, NULL, NULL) == VMB_OK && !exists) {
        (void)vmbi_fail(err, VMB_E_NOT_FOUND, "backup %s does not exist in location %s", backup,
                        cat->store.location->name);
    }
    vmbi_buf_free(&path);
}

vmb_code vmbi_catalog_read(vmb_catalog *cat, const char *backup, int32_t file, vmb_write_fn fn,
                           void *user, vmb_error **err)
{
    size_t i = 0;
    while (i < VMBI_ARRAY_LEN(files) && files[i].file != file) {
        i++;
    }
    if (i == VMBI_ARRAY_LEN(files)) {
        return vmbi_fail(err, VMB_E_ARG, "file %d: not a kind of file", (int)file);
    }
    vmbi_buf path = VMBI_BUF_INIT(1024);
    pipe p = {fn, user, NULL};
    vmb_code rc = vmbi_backup_file(backup, files[i].suffix, &path, err);
    if (rc == VMB_OK && files[i].packed) {
        rc = vmbi_gunzip_new(0, to_caller, &p, &p.gunzip, err);
    }
    if (rc == VMB_OK) {
        rc = stream(cat, path.data, &p, err);
        if (rc == VMB_E_NOT_FOUND && err != NULL) {
            explain_missing(cat, backup, err);
        } else if (rc != VMB_OK) {
            rc = vmbi_wrap(err, rc, "read %s", path.data);
        }
    }
    vmbi_gunzip_free(p.gunzip);
    vmbi_buf_free(&path);
    return rc;
}

/* ---- describing ---------------------------------------------------------------------------- */

static vmb_code to_buf(void *user, const void *data, size_t len)
{
    vmbi_buf *b = user;
    vmbi_buf_add(b, data, len);
    return b->status;
}

/* Reads a file of the backup into memory. */
static vmb_code read_file(vmb_catalog *cat, const char *backup, int32_t file, vmbi_buf *out,
                          vmb_error **err)
{
    vmb_code rc = vmbi_catalog_read(cat, backup, file, to_buf, out, err);
    if (rc == VMB_E_LIMIT && out->status == VMB_E_LIMIT) {
        rc = vmbi_fail(err, VMB_E_LIMIT, "backup %s: a file of it has more than %zu MiB", backup,
                       out->max / 1024 / 1024);
    }
    return rc;
}

/* A JSON side file under `key` of obj; absent files are null. */
static vmb_code add_document(vmb_catalog *cat, const char *backup, int32_t file, vmbi_json *obj,
                             const char *key, vmb_error **err)
{
    vmbi_buf text = VMBI_BUF_INIT(MAX_DOCUMENT);
    vmbi_json *doc = NULL;
    vmb_error *why = NULL;
    vmb_code rc = read_file(cat, backup, file, &text, &why);
    if (rc == VMB_OK) {
        rc = vmbi_json_parse(text.data != NULL ? text.data : "", text.len, key, &doc, &why);
    } else if (rc == VMB_E_NOT_FOUND) {
        vmb_error_free(vmbi_steal(&why));
        doc = vmbi_json_null();
        rc = VMB_OK;
    }
    vmbi_buf_free(&text);
    if (rc == VMB_OK && !vmbi_json_set(obj, key, doc)) {
        rc = vmbi_fail_nomem(&why);
    }
    vmbi_error_move(err, &why);
    return rc;
}

static vmb_code note_file(void *user, const char *key, int64_t size, int64_t mtime,
                          int32_t is_prefix, vmb_error **err)
{
    (void)mtime;
    vmbi_json *f = vmbi_json_object();
    if (is_prefix) {
        vmbi_json_free(f);
        return VMB_OK;
    }
    if (f == NULL || !vmbi_json_set_str(f, "key", key) || !vmbi_json_set_int(f, "size", size)) {
        vmbi_json_free(f);
        return vmbi_fail_nomem(err);
    }
    return vmbi_json_append(user, f) ? VMB_OK : vmbi_fail_nomem(err);
}

static vmb_code add_files(vmb_catalog *cat, const char *backup, vmbi_json *obj, vmb_error **err)
{
    vmb_job job = {0};
    job.limits = vmbi_limits_within(NULL, cat->store.timeout_ns);
    vmbi_buf path = VMBI_BUF_INIT(1024);
    vmbi_json *list = vmbi_json_array();
    struct vmb_key_sink sink = {note_file, list};
    vmb_code rc = list != NULL ? vmbi_backup_file(backup, "", &path, err) : vmbi_fail_nomem(err);
    if (rc == VMB_OK) {
        rc = vmbi_store_list(&cat->store, &job, path.data, "", &sink, err);
    }
    if (rc == VMB_OK) {
        rc = vmbi_json_set(obj, "files", vmbi_steal(&list)) ? VMB_OK : vmbi_fail_nomem(err);
    }
    vmbi_json_free(list);
    vmbi_buf_free(&path);
    return rc;
}

vmb_code vmbi_catalog_describe(vmb_catalog *cat, const char *backup, vmbi_json **out,
                               vmb_error **err)
{
    static const struct {
        int32_t file;
        const char *key;
    } documents[] = {
        {VMB_FILE_RESOURCE_LIST, "resourceList"},
        {VMB_FILE_VOLUME_INFO, "volumes"},
        {VMB_FILE_RESULTS, "results"},
        {VMB_FILE_ITEM_OPERATIONS, "itemOperations"},
        {VMB_FILE_POD_VOLUME_BACKUPS, "podVolumeBackups"},
    };
    vmbi_json *doc = vmbi_json_object();
    vmbi_json *meta = NULL;
    vmb_code rc = doc != NULL ? read_metadata(cat, backup, &meta, err) : vmbi_fail_nomem(err);
    if (rc == VMB_E_NOT_FOUND) {
        vmb_error *why = NULL;
        rc = vmbi_fail(&why, VMB_E_NOT_FOUND, "backup %s does not exist in location %s", backup,
                       cat->store.location->name);
        vmbi_error_move(err, &why);
    }
    if (rc == VMB_OK && !vmbi_json_set(doc, "backup", meta)) {
        rc = vmbi_fail_nomem(err);
    }
    for (size_t i = 0; i < VMBI_ARRAY_LEN(documents) && rc == VMB_OK; i++) {
        rc = add_document(cat, backup, documents[i].file, doc, documents[i].key, err);
    }
    if (rc == VMB_OK) {
        rc = add_files(cat, backup, doc, err);
    }
    if (rc != VMB_OK) {
        vmbi_json_free(doc);
        return rc;
    }
    *out = doc;
    return VMB_OK;
}

/* ---- one object of the archive --------------------------------------------------------------- */

/* The store pushes and the archive reader pulls: the whole archive is buffered compressed, which
 * is small (1.4 MB for 20,000 objects). */
typedef struct item_search {
    const vmbi_buf *packed;
    size_t offset;
    const char *path;
    vmbi_buf *out;
    bool found;
} item_search;

static int64_t read_packed(void *user, void *buf, size_t size, vmb_error **err)
{
    item_search *s = user;
    (void)err;
    size_t left = s->packed->len - s->offset;
    size_t n = left < size ? left : size;
    memcpy(buf, s->packed->data + s->offset, n);
    s->offset += n;
    return (int64_t)n;
}

static vmb_code match_entry(void *user, const char *path, const char *data, size_t len,
                            vmb_error **err)
{
    item_search *s = user;
    if (strcmp(path, s->path) != 0) {
        return VMB_OK;
    }
    vmbi_buf_add(s->out, data, len);
    s->found = true;
    vmb_code rc = vmbi_buf_check(s->out, err, "object");
    return rc != VMB_OK ? rc : 1; /* ends the walk */
}

vmb_code vmbi_catalog_read_item(vmb_catalog *cat, const char *backup, const char *resource,
                                const char *ns, const char *name, vmbi_buf *out, vmb_error **err)
{
    vmbi_buf packed = VMBI_BUF_INIT(MAX_ARCHIVE);
    vmbi_buf path = VMBI_BUF_INIT(4096);
    vmbi_buf_addf(&path, "resources/%s/", resource);
    if (ns != NULL && ns[0] != '\0') {
        vmbi_buf_addf(&path, "namespaces/%s/%s.json", ns, name);
    } else {
        vmbi_buf_addf(&path, "cluster/%s.json", name);
    }
    vmb_code rc = vmbi_buf_check(&path, err, "archive path");
    if (rc == VMB_OK) {
        rc = read_file(cat, backup, VMB_FILE_CONTENTS, &packed, err);
    }
    item_search search = {&packed, 0, path.data, out, false};
    if (rc == VMB_OK) {
        rc = vmbi_tar_read(read_packed, &search, MAX_ITEM, match_entry, &search, err);
    }
    if (rc == VMB_OK && !search.found) {
        rc = vmbi_fail(err, VMB_E_NOT_FOUND, "backup %s: %s is not in its archive", backup,
                       path.data);
    }
    vmbi_buf_free(&packed);
    vmbi_buf_free(&path);
    return rc;
}

/* ---- validity of a location -------------------------------------------------------------------- */

static vmb_code note_top(void *user, const char *key, int64_t size, int64_t mtime,
                         int32_t is_prefix, vmb_error **err)
{
    static const char *const known[] = {"backups/", "restores/", "restic/",
                                        "metadata/", "plugins/",  "kopia/"};
    vmbi_strs *unknown = user;
    (void)size;
    (void)mtime;
    if (!is_prefix || unknown->n >= 3) {
        return VMB_OK;
    }
    for (size_t i = 0; i < VMBI_ARRAY_LEN(known); i++) {
        if (strcmp(key, known[i]) == 0) {
            return VMB_OK;
        }
    }
    size_t len = strlen(key);
    return vmbi_strs_addn(unknown, key, len > 0 ? len - 1 : 0, err);
}

vmb_code vmbi_location_validate(const vmb_ctx *ctx, const vmbi_store_location *location,
                                vmb_error **err)
{
    vmbi_store store = {location, ctx->settings.resource_timeout_ns};
    vmbi_strs unknown = {0};
    struct vmb_key_sink sink = {note_top, &unknown};
    vmb_job job = {0};
    job.limits = vmbi_limits_within(NULL, store.timeout_ns);
    vmb_code rc = vmbi_store_list(&store, &job, "", "/", &sink, err);
    if (rc == VMB_OK && unknown.n > 0) {
        vmbi_buf names = VMBI_BUF_INIT(4096);
        for (size_t i = 0; i < unknown.n; i++) {
            vmbi_buf_addf(&names, "%s%s", i > 0 ? " " : "", unknown.v[i]);
        }
        rc = vmbi_fail(err, VMB_E_INVALID,
                       "Backup store contains invalid top-level directories: [%s]",
                       names.data != NULL ? names.data : "");
        vmbi_buf_free(&names);
    }
    vmbi_strs_free(&unknown);
    return rc;
}
