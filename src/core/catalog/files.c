/* SPDX-License-Identifier: Apache-2.0 */
/* The files of a backup, unpacked where they are packed. */
#include "core/catalog/parts.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "codec/gzip.h"
#include "core/backup.h"

static const struct file_kind {
    int32_t file;
    bool packed;        /* given unpacked */
    const char *format; /* the name comes in wherever %s stands */
} files[] = {
    {VMB_FILE_METADATA, false, "backups/%s/velero-backup.json"},
    {VMB_FILE_CONTENTS, false, "backups/%s/%s.tar.gz"},
    {VMB_FILE_LOG, true, "backups/%s/%s-logs.gz"},
    {VMB_FILE_RESULTS, true, "backups/%s/%s-results.gz"},
    {VMB_FILE_RESOURCE_LIST, true, "backups/%s/%s-resource-list.json.gz"},
    {VMB_FILE_VOLUME_INFO, true, "backups/%s/%s-volumeinfo.json.gz"},
    {VMB_FILE_ITEM_OPERATIONS, true, "backups/%s/%s-itemoperations.json.gz"},
    {VMB_FILE_POD_VOLUME_BACKUPS, true, "backups/%s/%s-podvolumebackups.json.gz"},
    {VMB_FILE_VOLUME_SNAPSHOTS, true, "backups/%s/%s-volumesnapshots.json.gz"},
    {VMB_FILE_CSI_VOLUME_SNAPSHOTS, true, "backups/%s/%s-csi-volumesnapshots.json.gz"},
    {VMB_FILE_CSI_VOLUME_SNAPSHOT_CONTENTS, true,
     "backups/%s/%s-csi-volumesnapshotcontents.json.gz"},
    {VMB_FILE_RESTORE, false, "restores/%s/" VMBI_CATALOG_RESTORE},
    {VMB_FILE_RESTORE_LOG, true, "restores/%s/restore-%s-logs.gz"},
    {VMB_FILE_RESTORE_RESULTS, true, "restores/%s/restore-%s-results.gz"},
    {VMB_FILE_RESTORE_RESOURCE_LIST, true, "restores/%s/restore-%s-resource-list.json.gz"},
    {VMB_FILE_RESTORE_ITEM_OPERATIONS, true, "restores/%s/restore-%s-itemoperations.json.gz"},
    {VMB_FILE_RESTORE_VOLUME_INFO, true, "restores/%s/%s-volumeinfo.json.gz"},
};

vmb_code vmbi_catalog_file_path(const char *name, int32_t file, vmbi_buf *out, bool *packed,
                                vmb_error **err)
{
    size_t i = 0;
    while (i < VMBI_ARRAY_LEN(files) && files[i].file != file) {
        i++;
    }
    if (i == VMBI_ARRAY_LEN(files)) {
        return vmbi_fail(err, VMB_E_ARG, "file %d: not a kind of file", (int)file);
    }
    if (packed != NULL) {
        *packed = files[i].packed;
    }
    vmbi_buf_reset(out);
    const char *rest = files[i].format;
    for (const char *mark; (mark = strstr(rest, "%s")) != NULL; rest = mark + 2) {
        vmbi_buf_add(out, rest, (size_t)(mark - rest));
        vmbi_buf_adds(out, name);
    }
    vmbi_buf_adds(out, rest);
    return vmbi_buf_check(out, err, "store key");
}

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
    vmb_job job = vmbi_catalog_job(cat);
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
static void explain_missing(vmb_catalog *cat, const char *backup, int32_t file, vmb_error **err)
{
    vmb_job job = vmbi_catalog_job(cat);
    vmbi_buf path = VMBI_BUF_INIT(1024);
    bool exists = true;
    if (file < VMB_FILE_RESTORE &&
        vmbi_backup_file(backup, "velero-backup.json", &path, NULL) == VMB_OK &&
        vmbi_store_exists(&cat->store, &job, path.data, &exists, NULL, NULL) == VMB_OK && !exists) {
        (void)vmbi_fail(err, VMB_E_NOT_FOUND, "backup %s does not exist in location %s", backup,
                        cat->store.location->name);
    }
    vmbi_buf_free(&path);
}

vmb_code vmbi_catalog_read(vmb_catalog *cat, const char *backup, int32_t file, vmb_write_fn fn,
                           void *user, vmb_error **err)
{
    vmbi_buf path = VMBI_BUF_INIT(1024);
    pipe p = {fn, user, NULL};
    bool packed = false;
    vmb_code rc = vmbi_catalog_file_path(backup, file, &path, &packed, err);
    if (rc == VMB_OK && packed) {
        rc = vmbi_gunzip_new(0, to_caller, &p, &p.gunzip, err);
    }
    if (rc == VMB_OK) {
        rc = stream(cat, path.data, &p, err);
        if (rc == VMB_E_NOT_FOUND && err != NULL) {
            explain_missing(cat, backup, file, err);
        } else if (rc != VMB_OK) {
            rc = vmbi_wrap(err, rc, "read %s", path.data);
        }
    }
    vmbi_gunzip_free(p.gunzip);
    vmbi_buf_free(&path);
    return rc;
}

static vmb_code to_buf(void *user, const void *data, size_t len)
{
    vmbi_buf *b = user;
    vmbi_buf_add(b, data, len);
    return b->status;
}

vmb_code vmbi_catalog_read_buf(vmb_catalog *cat, const char *backup, int32_t file, vmbi_buf *out,
                               vmb_error **err)
{
    vmb_code rc = vmbi_catalog_read(cat, backup, file, to_buf, out, err);
    if (rc == VMB_E_LIMIT && out->status == VMB_E_LIMIT) {
        rc = vmbi_fail(err, VMB_E_LIMIT, "backup %s: a file of it has more than %zu MiB", backup,
                       out->max / 1024 / 1024);
    }
    return rc;
}

vmb_code vmbi_catalog_read_json(vmb_catalog *cat, const char *backup, int32_t file,
                                vmbi_json **out, vmb_error **err)
{
    vmbi_buf text = VMBI_BUF_INIT(VMBI_CATALOG_MAX_DOCUMENT);
    vmbi_buf path = VMBI_BUF_INIT(1024);
    vmbi_json *doc = NULL;
    vmb_error *why = NULL;
    vmb_code rc = vmbi_catalog_file_path(backup, file, &path, NULL, &why);
    if (rc == VMB_OK) {
        rc = vmbi_catalog_read_buf(cat, backup, file, &text, &why);
    }
    if (rc == VMB_OK) {
        rc = vmbi_json_parse(text.data != NULL ? text.data : "", text.len, path.data, &doc, &why);
    } else if (rc == VMB_E_NOT_FOUND) {
        vmb_error_free(vmbi_steal(&why));
        rc = VMB_OK;
    }
    vmbi_buf_free(&text);
    vmbi_buf_free(&path);
    if (rc == VMB_OK) {
        *out = doc;
        return VMB_OK;
    }
    vmbi_error_move(err, &why);
    return rc;
}

/* ---- links --------------------------------------------------------------------------------- */

vmb_code vmbi_catalog_presign(vmb_catalog *cat, const char *backup, int32_t file, int64_t ttl_ns,
                              vmbi_buf *out, vmb_error **err)
{
    const vmb_store_provider *s = &cat->store.location->store;
    vmbi_buf path = VMBI_BUF_INIT(1024);
    vmbi_buf key = VMBI_BUF_INIT(1024);
    vmb_job job = vmbi_catalog_job(cat);
    struct vmb_sink sink = vmbi_sink_to_buf(out);
    bool exists = false;
    job.limits = vmbi_limits_within(&job.limits, cat->store.timeout_ns);
    vmb_code rc = vmbi_catalog_file_path(backup, file, &path, NULL, err);
    if (rc == VMB_OK && s->presign == NULL) {
        rc = vmbi_fail(err, VMB_E_UNSUPPORTED, "location %s: its store makes no links",
                       cat->store.location->name);
    }
    if (rc == VMB_OK) {
        rc = vmbi_store_exists(&cat->store, &job, path.data, &exists, NULL, err);
    }
    if (rc == VMB_OK && !exists) {
        rc = vmbi_fail(err, VMB_E_NOT_FOUND, "%s does not exist in location %s", path.data,
                       cat->store.location->name);
        if (err != NULL) {
            explain_missing(cat, backup, file, err);
        }
    }
    if (rc == VMB_OK) {
        rc = vmbi_store_key(&cat->store, path.data, &key, err);
    }
    if (rc == VMB_OK) {
        rc = s->presign(s->user, &job, key.data, ttl_ns, &sink, err);
        rc = vmbi_check_provider(err, rc, "make a link");
    }
    vmbi_buf_free(&key);
    vmbi_buf_free(&path);
    return rc;
}
