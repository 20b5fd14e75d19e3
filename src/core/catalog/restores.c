/* SPDX-License-Identifier: Apache-2.0 */
/* The restores that left files in a location. */
#include "core/catalog/parts.h"

#include "base/alloc.h"
#include "base/error.h"
#include "base/strs.h"

static int64_t count_messages(const vmbi_json *part)
{
    const vmbi_json *namespaces = vmbi_json_get(part, "namespaces");
    int64_t n = (int64_t)(vmbi_json_len(vmbi_json_get(part, "velero")) +
                          vmbi_json_len(vmbi_json_get(part, "cluster")));
    for (void *it = vmbi_json_iter(namespaces); it != NULL;
         it = vmbi_json_iter_next(namespaces, it)) {
        n += (int64_t)vmbi_json_len(vmbi_json_iter_value(it));
    }
    return n;
}

/* All that another program's restore tells without the cluster. */
static vmb_code foreign(vmb_catalog *cat, const char *name, vmbi_json **out, vmb_error **err)
{
    vmbi_json *results = NULL;
    vmb_code rc = vmbi_catalog_read_json(cat, name, VMB_FILE_RESTORE_RESULTS, &results, err);
    if (rc != VMB_OK) {
        return rc;
    }
    vmbi_json *e = vmbi_json_object();
    vmbi_json *meta = vmbi_json_ensure_object(e, "metadata");
    vmbi_json *status = vmbi_json_ensure_object(e, "status");
    bool ok = meta != NULL && status != NULL && vmbi_json_set_str(meta, "name", name);
    if (ok && results != NULL) {
        ok = vmbi_json_set_int(status, "errors",
                               count_messages(vmbi_json_get(results, "errors"))) &&
             vmbi_json_set_int(status, "warnings",
                               count_messages(vmbi_json_get(results, "warnings")));
    }
    vmbi_json_free(results);
    if (!ok) {
        vmbi_json_free(e);
        return vmbi_fail_nomem(err);
    }
    *out = e;
    return VMB_OK;
}

static vmb_code one_restore(vmb_catalog *cat, const char *name, vmbi_json **out, vmb_error **err)
{
    vmbi_json *doc = NULL;
    vmb_code rc = vmbi_catalog_read_json(cat, name, VMB_FILE_RESTORE, &doc, err);
    if (rc == VMB_OK && doc == NULL) {
        return foreign(cat, name, out, err);
    }
    if (rc == VMB_OK && !vmbi_streq(vmbi_json_path_str(doc, "metadata.name"), name)) {
        /* the name leads to the files: one must not be listed as another */
        rc = vmbi_fail(err, VMB_E_INVALID, "restores/%s/%s: metadata.name is not %s", name,
                       VMBI_CATALOG_RESTORE, name);
    }
    if (rc != VMB_OK) {
        vmbi_json_free(doc);
        return rc;
    }
    *out = doc;
    return VMB_OK;
}

vmb_code vmbi_catalog_restores(vmb_catalog *cat, vmbi_json **out, vmb_error **err)
{
    vmbi_strs names = {0};
    vmbi_json *list = vmbi_json_array();
    vmb_code rc = list != NULL ? vmbi_catalog_folders(cat, "restores/", &names, err)
                               : vmbi_fail_nomem(err);
    for (size_t i = 0; i < names.n && rc == VMB_OK; i++) {
        vmbi_json *doc = NULL;
        vmb_error *why = NULL;
        vmb_code got = one_restore(cat, names.v[i], &doc, &why);
        if (got == VMB_E_NOMEM) {
            rc = vmbi_fail_nomem(err);
        } else {
            doc = got == VMB_OK ? doc : vmbi_catalog_unreadable(names.v[i], why);
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
