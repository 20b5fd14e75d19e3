/* SPDX-License-Identifier: Apache-2.0 */
/* What has expired, and what lies about. */
#include "core/catalog/parts.h"

#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "core/backup.h"

static vmb_code add_expired(vmbi_json *list, const vmbi_json *backup, vmb_error **err)
{
    static const char *const paths[] = {"metadata.name", "status.phase", "status.expiration"};
    static const char *const keys[] = {"name", "phase", "expiration"};
    vmbi_json *e = vmbi_json_object();
    bool ok = e != NULL;
    for (size_t i = 0; i < VMBI_ARRAY_LEN(paths) && ok; i++) {
        const char *text = vmbi_json_path_str(backup, paths[i]);
        ok = vmbi_json_set_str(e, keys[i], text != NULL ? text : "");
    }
    if (!ok) {
        vmbi_json_free(e);
        e = NULL;
    }
    return vmbi_json_append(list, e) ? VMB_OK : vmbi_fail_nomem(err);
}

vmb_code vmbi_catalog_expired(vmb_catalog *cat, int64_t now_unix_ns, vmbi_json **out,
                              vmb_error **err)
{
    vmbi_json *all = NULL;
    vmbi_json *list = vmbi_json_array();
    vmb_code rc = list != NULL ? vmbi_catalog_list(cat, &all, err) : vmbi_fail_nomem(err);
    for (size_t i = 0; i < vmbi_json_len(all) && rc == VMB_OK; i++) {
        const vmbi_json *backup = vmbi_json_at(all, i);
        const char *text = vmbi_json_path_str(backup, "status.expiration");
        int64_t when = 0;
        if (text != NULL && vmbi_parse_rfc3339(text, &when) && when <= now_unix_ns) {
            rc = add_expired(list, backup, err);
        }
    }
    vmbi_json_free(all);
    if (rc != VMB_OK) {
        vmbi_json_free(list);
        return rc;
    }
    *out = list;
    return VMB_OK;
}

/* One folder; adds nothing when it is a backup. */
static vmb_code look(vmb_catalog *cat, const char *name, vmbi_json *list, vmb_error **err)
{
    vmbi_buf folder = VMBI_BUF_INIT(1024);
    vmbi_catalog_keys keys = {0};
    char modified[VMBI_RFC3339_SIZE] = "";
    bool listed = false;
    bool deleting = false;
    int64_t bytes = 0;
    int64_t newest = -1;
    vmb_code rc = vmbi_backup_file(name, "", &folder, err);
    if (rc == VMB_OK) {
        rc = vmbi_catalog_keys_of(cat, folder.data, &keys, err);
    }
    for (size_t i = 0; i < keys.n; i++) {
        const char *file = keys.v[i].path + folder.len;
        listed = listed || strcmp(file, "velero-backup.json") == 0;
        deleting = deleting || strcmp(file, VMBI_CATALOG_DELETING) == 0;
        bytes += keys.v[i].size > 0 ? keys.v[i].size : 0;
        newest = keys.v[i].mtime_unix_ns > newest ? keys.v[i].mtime_unix_ns : newest;
    }
    if (rc == VMB_OK && !listed && keys.n > 0) {
        vmbi_json *e = vmbi_json_object();
        if (newest >= 0) {
            vmbi_format_rfc3339(newest, modified);
        }
        bool ok = e != NULL && vmbi_json_set_str(e, "name", name) &&
                  vmbi_json_set_int(e, "files", (int64_t)keys.n) &&
                  vmbi_json_set_int(e, "bytes", bytes) &&
                  vmbi_json_set_str(e, "lastModified", modified) &&
                  vmbi_json_set_bool(e, "deleting", deleting);
        if (!ok) {
            vmbi_json_free(e);
            e = NULL;
        }
        rc = vmbi_json_append(list, e) ? VMB_OK : vmbi_fail_nomem(err);
    }
    vmbi_catalog_keys_free(&keys);
    vmbi_buf_free(&folder);
    return rc;
}

vmb_code vmbi_catalog_orphans(vmb_catalog *cat, vmbi_json **out, vmb_error **err)
{
    vmbi_strs names = {0};
    vmbi_json *list = vmbi_json_array();
    vmb_code rc = list != NULL ? vmbi_catalog_names(cat, &names, err) : vmbi_fail_nomem(err);
    for (size_t i = 0; i < names.n && rc == VMB_OK; i++) {
        rc = look(cat, names.v[i], list, err);
    }
    vmbi_strs_free(&names);
    if (rc != VMB_OK) {
        vmbi_json_free(list);
        return rc;
    }
    *out = list;
    return VMB_OK;
}

/* Only in folders of ours: another program's uploads may lie in the same bucket. */
vmb_code vmbi_catalog_sweep(vmb_catalog *cat, int64_t older_than_ns, int64_t *removed,
                            vmb_error **err)
{
    static const char *const folders[] = {"backups/", "restores/", "restic/"};
    const vmbi_store_location *location = cat->store.location;
    const vmb_store_provider *p = &location->store;
    vmb_job job = vmbi_catalog_job(cat);
    vmbi_buf key = VMBI_BUF_INIT(1024);
    const int64_t before = vmbi_unix_ns() - older_than_ns;
    vmb_code rc = VMB_OK;
    *removed = 0;
    if (location->read_only) {
        return vmbi_fail(err, VMB_E_DENIED, "location %s is read-only", location->name);
    }
    for (size_t i = 0; i < VMBI_ARRAY_LEN(folders) && rc == VMB_OK && p->sweep != NULL; i++) {
        int64_t n = 0;
        rc = vmbi_store_key(&cat->store, folders[i], &key, err);
        if (rc == VMB_OK) {
            rc = p->sweep(p->user, &job, key.data, before, &n, err);
            rc = vmbi_check_provider(err, rc, "sweep a store");
            *removed += n;
        }
    }
    vmbi_buf_free(&key);
    return rc != VMB_OK ? vmbi_wrap(err, rc, "sweep location %s", location->name) : VMB_OK;
}
