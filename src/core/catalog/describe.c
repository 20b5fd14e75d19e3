/* SPDX-License-Identifier: Apache-2.0 */
/* Everything that is known of one backup. */
#include "core/catalog/parts.h"

#include "base/alloc.h"
#include "base/error.h"
#include "base/job.h"
#include "core/backup.h"

enum { MAX_DOCUMENT = 64 * 1024 * 1024 }; /* of JSON; its tree takes several times as much */

/* A JSON side file under `key` of obj; absent files are null. */
static vmb_code add_document(vmb_catalog *cat, const char *backup, int32_t file, vmbi_json *obj,
                             const char *key, vmb_error **err)
{
    vmbi_buf text = VMBI_BUF_INIT(MAX_DOCUMENT);
    vmbi_json *doc = NULL;
    vmb_error *why = NULL;
    vmb_code rc = vmbi_catalog_read_buf(cat, backup, file, &text, &why);
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
    vmb_code rc = doc != NULL ? vmbi_catalog_metadata(cat, backup, &meta, err) : vmbi_fail_nomem(err);
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
