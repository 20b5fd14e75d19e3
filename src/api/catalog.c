/* SPDX-License-Identifier: Apache-2.0 */
/* catalog.h: argument checks, then core/catalog.c. */
#include <vmbackup/catalog.h>

#include "base/error.h"
#include "core/backup.h"
#include "core/catalog.h"

static vmb_code missing(vmb_error **err, const char *function)
{
    return vmbi_fail(err, VMB_E_ARG, "%s: an argument is NULL", function);
}

/* A name is part of a key: it must not lead elsewhere. */
static vmb_code check_name(const char *s, const char *what, vmb_error **err)
{
    if (s == NULL) {
        return vmbi_fail(err, VMB_E_ARG, "the name of %s is NULL", what);
    }
    if (s[0] == '.' || !vmbi_item_name_ok(s)) {
        return vmbi_fail(err, VMB_E_ARG,
                         "\"%.253s\" is not the name of %s: it must not be empty, start with a dot "
                         "or hold a slash", s, what);
    }
    return VMB_OK;
}

/* A catalogue is used in the process that opened it. */
static vmb_code check(const vmb_catalog *cat, const char *backup, vmb_error **err)
{
    vmb_code rc = check_name(backup, "a backup", err);
    return rc != VMB_OK ? rc : vmbi_ctx_check(cat->ctx, false, err);
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
    vmb_code rc = vmbi_ctx_check(cat->ctx, false, err);
    if (rc == VMB_OK) {
        vmbi_ctx_enter(cat->ctx);
        rc = vmbi_catalog_list(cat, &doc, err);
        vmbi_ctx_leave(cat->ctx);
    }
    return rc != VMB_OK ? rc : give(doc, out, out_len, err);
}

vmb_code vmb_catalog_describe_json(vmb_catalog *cat, const char *backup, char **out,
                                   size_t *out_len, vmb_error **err)
{
    if (cat == NULL || out == NULL) {
        return missing(err, "vmb_catalog_describe_json");
    }
    vmbi_json *doc = NULL;
    vmb_code rc = check(cat, backup, err);
    if (rc == VMB_OK) {
        vmbi_ctx_enter(cat->ctx);
        rc = vmbi_catalog_describe(cat, backup, &doc, err);
        vmbi_ctx_leave(cat->ctx);
    }
    return rc != VMB_OK ? rc : give(doc, out, out_len, err);
}

vmb_code vmb_catalog_read(vmb_catalog *cat, const char *backup, int32_t file, vmb_write_fn fn,
                          void *user, vmb_error **err)
{
    if (cat == NULL || fn == NULL) {
        return missing(err, "vmb_catalog_read");
    }
    vmb_code rc = check(cat, backup, err);
    if (rc == VMB_OK) {
        vmbi_ctx_enter(cat->ctx);
        rc = vmbi_catalog_read(cat, backup, file, fn, user, err);
        vmbi_ctx_leave(cat->ctx);
    }
    return rc;
}

vmb_code vmb_catalog_read_item(vmb_catalog *cat, const char *backup, const char *resource,
                               const char *ns, const char *name, char **out, size_t *out_len,
                               vmb_error **err)
{
    if (cat == NULL || out == NULL) {
        return missing(err, "vmb_catalog_read_item");
    }
    vmb_code rc = check(cat, backup, err);
    if (rc == VMB_OK) {
        rc = check_name(resource, "a resource", err);
    }
    if (rc == VMB_OK) {
        rc = check_name(name, "an object", err);
    }
    if (rc != VMB_OK) {
        return rc;
    }
    vmbi_buf b = VMBI_BUF_INIT(64 * 1024 * 1024);
    vmbi_ctx_enter(cat->ctx);
    rc = vmbi_catalog_read_item(cat, backup, resource, ns, name, &b, err);
    vmbi_ctx_leave(cat->ctx);
    if (rc == VMB_OK) {
        rc = vmbi_buf_take(&b, out, out_len, err, name);
    }
    vmbi_buf_free(&b);
    return rc;
}
