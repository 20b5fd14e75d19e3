/* SPDX-License-Identifier: Apache-2.0 */
/* Everything that is known of one backup. */
#include "core/catalog/parts.h"

#include "base/error.h"
#include "core/backup.h"

/* A JSON side file under `key` of obj; absent files are null. */
static vmb_code add_document(vmb_catalog *cat, const char *backup, int32_t file, vmbi_json *obj,
                             const char *key, vmb_error **err)
{
    vmbi_json *doc = NULL;
    vmb_code rc = vmbi_catalog_read_json(cat, backup, file, &doc, err);
    if (rc == VMB_OK && !vmbi_json_set(obj, key, doc != NULL ? doc : vmbi_json_null())) {
        rc = vmbi_fail_nomem(err);
    }
    return rc;
}

static vmb_code add_files(vmb_catalog *cat, const char *backup, vmbi_json *obj, vmb_error **err)
{
    vmbi_buf folder = VMBI_BUF_INIT(1024);
    vmbi_catalog_keys keys = {0};
    vmbi_json *list = vmbi_json_array();
    vmb_code rc = list != NULL ? vmbi_backup_file(backup, "", &folder, err) : vmbi_fail_nomem(err);
    if (rc == VMB_OK) {
        rc = vmbi_catalog_keys_of(cat, folder.data, &keys, err);
    }
    for (size_t i = 0; i < keys.n && rc == VMB_OK; i++) {
        vmbi_json *f = vmbi_json_object();
        if (f == NULL || !vmbi_json_set_str(f, "key", keys.v[i].path) ||
            !vmbi_json_set_int(f, "size", keys.v[i].size)) {
            vmbi_json_free(f);
            f = NULL;
        }
        rc = vmbi_json_append(list, f) ? VMB_OK : vmbi_fail_nomem(err);
    }
    if (rc == VMB_OK) {
        rc = vmbi_json_set(obj, "files", vmbi_json_ref(list)) ? VMB_OK : vmbi_fail_nomem(err);
    }
    vmbi_catalog_keys_free(&keys);
    vmbi_json_free(list);
    vmbi_buf_free(&folder);
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
    vmb_code rc = doc != NULL ? vmbi_catalog_require(cat, backup, &meta, err)
                              : vmbi_fail_nomem(err);
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
