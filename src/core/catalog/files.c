/* SPDX-License-Identifier: Apache-2.0 */
/* The files of a backup, unpacked where they are packed. */
#include "core/catalog/parts.h"

#include "base/error.h"
#include "base/job.h"
#include "codec/gzip.h"
#include "core/backup.h"

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
