/* SPDX-License-Identifier: Apache-2.0 */
/* catalog.h: argument checks, then core/catalog.c. */
#include <vmbackup/catalog.h>

#include "base/error.h"
#include "core/catalog.h"

static vmb_code missing(vmb_error **err, const char *function)
{
    return vmbi_fail(err, VMB_E_ARG, "%s: an argument is NULL or empty", function);
}

/* A name that is part of a key: it must not lead elsewhere. */
static bool is_name(const char *s)
{
    if (s == NULL || s[0] == '\0' || s[0] == '.') {
        return false;
    }
    for (; *s != '\0'; s++) {
        if (*s == '/') {
            return false;
        }
    }
    return true;
}

static vmb_code give(vmbi_json *doc, char **out, size_t *out_len, vmb_error **err)
{
    vmb_code rc = vmbi_json_to_text(doc, out, out_len, err);
    vmbi_json_free(doc);
    return rc;
}

vmb_code vmb_catalog_open(vmb_ctx *ctx, const char *location, vmb_catalog **out, vmb_error **err)
{
    if (ctx == NULL || out == NULL) {
        return missing(err, "vmb_catalog_open");
    }
    *out = NULL;
    vmb_code rc = vmbi_ctx_check(ctx, false, err);
    return rc != VMB_OK ? rc : vmbi_catalog_open(ctx, location, out, err);
}

void vmb_catalog_free(vmb_catalog *cat)
{
    vmbi_catalog_free(cat);
}

vmb_code vmb_catalog_list_json(vmb_catalog *cat, char **out, size_t *out_len, vmb_error **err)
{
    if (cat == NULL || out == NULL) {
        return missing(err, "vmb_catalog_list_json");
    }
    vmbi_json *doc = NULL;
    vmb_code rc = vmbi_catalog_list(cat, &doc, err);
    return rc != VMB_OK ? rc : give(doc, out, out_len, err);
}

vmb_code vmb_catalog_describe_json(vmb_catalog *cat, const char *backup, char **out,
                                   size_t *out_len, vmb_error **err)
{
    if (cat == NULL || !is_name(backup) || out == NULL) {
        return missing(err, "vmb_catalog_describe_json");
    }
    vmbi_json *doc = NULL;
    vmb_code rc = vmbi_catalog_describe(cat, backup, &doc, err);
    return rc != VMB_OK ? rc : give(doc, out, out_len, err);
}

vmb_code vmb_catalog_read(vmb_catalog *cat, const char *backup, int32_t file, vmb_write_fn fn,
                          void *user, vmb_error **err)
{
    if (cat == NULL || !is_name(backup) || fn == NULL) {
        return missing(err, "vmb_catalog_read");
    }
    return vmbi_catalog_read(cat, backup, file, fn, user, err);
}

vmb_code vmb_catalog_read_item(vmb_catalog *cat, const char *backup, const char *resource,
                               const char *ns, const char *name, char **out, size_t *out_len,
                               vmb_error **err)
{
    if (cat == NULL || !is_name(backup) || !is_name(resource) || !is_name(name) || out == NULL) {
        return missing(err, "vmb_catalog_read_item");
    }
    vmbi_buf b = VMBI_BUF_INIT(64 * 1024 * 1024);
    vmb_code rc = vmbi_catalog_read_item(cat, backup, resource, ns, name, &b, err);
    if (rc == VMB_OK) {
        rc = vmbi_buf_take(&b, out, out_len, err, name);
    }
    vmbi_buf_free(&b);
    return rc;
}
