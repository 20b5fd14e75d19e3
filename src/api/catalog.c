/* SPDX-License-Identifier: Apache-2.0 */
/* catalog.h: argument checks, then core/catalog/. */
#include <vmbackup/catalog.h>

#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "codec/duration.h"
#include "codec/yaml.h"
#include "core/backup.h"
#include "core/catalog.h"
#include "model/json_diff.h"

/* What has not changed for an hour may be a writer's that waits, but hardly for longer. */
#define SWEEP_LEAST_NS (3600 * VMBI_SECOND)

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

vmb_code vmb_catalog_restores_json(vmb_catalog *cat, char **out, size_t *out_len, vmb_error **err)
{
    if (cat == NULL || out == NULL) {
        return missing(err, "vmb_catalog_restores_json");
    }
    vmbi_json *doc = NULL;
    vmb_code rc = vmbi_ctx_check(cat->ctx, false, err);
    if (rc == VMB_OK) {
        vmbi_ctx_enter(cat->ctx);
        rc = vmbi_catalog_restores(cat, &doc, err);
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

/* ---- options ------------------------------------------------------------------------------- */

/* An options object; *out NULL when there are none. known: NULL-terminated. */
static vmb_code read_options(const char *options, size_t len, const char *const *known,
                             vmbi_json **out, vmb_error **err)
{
    vmbi_json *tree = NULL;
    if (options == NULL) {
        return len == 0 ? VMB_OK : vmbi_fail(err, VMB_E_ARG, "options: NULL has a length");
    }
    vmb_code rc = vmbi_doc_parse(options, len, "options", NULL, &tree, NULL, err);
    if (rc == VMB_OK && !vmbi_json_is_object(tree)) {
        rc = vmbi_fail(err, VMB_E_ARG, "options: they are %s, not an object",
                       vmbi_json_type_name(tree));
    }
    for (void *it = vmbi_json_iter(tree); it != NULL && rc == VMB_OK;
         it = vmbi_json_iter_next(tree, it)) {
        size_t i = 0;
        while (known[i] != NULL && strcmp(known[i], vmbi_json_iter_key(it)) != 0) {
            i++;
        }
        if (known[i] == NULL) {
            rc = vmbi_fail(err, VMB_E_ARG, "options: \"%.80s\" is unknown",
                           vmbi_json_iter_key(it));
        }
    }
    if (rc != VMB_OK) {
        vmbi_json_free(tree);
        return rc;
    }
    *out = tree;
    return VMB_OK;
}

static vmb_code option_bool(const vmbi_json *tree, const char *key, bool *out, vmb_error **err)
{
    const vmbi_json *v = vmbi_json_get(tree, key);
    if (!vmbi_json_is_null(v) && !vmbi_json_is_bool(v)) {
        return vmbi_fail(err, VMB_E_ARG, "options: %s must be true or false", key);
    }
    *out = vmbi_json_bool(v, false);
    return VMB_OK;
}

/* Hands a document out when the caller wants it. */
static vmb_code give_if(vmbi_json *doc, char **out, size_t *out_len, vmb_error **err)
{
    if (out == NULL) {
        vmbi_json_free(doc);
        return VMB_OK;
    }
    return give(doc, out, out_len, err);
}

/* ---- operations ---------------------------------------------------------------------------- */

vmb_code vmb_catalog_presign(vmb_catalog *cat, const char *backup, int32_t file, int64_t ttl_ns,
                             char **out, size_t *out_len, vmb_error **err)
{
    if (cat == NULL || out == NULL) {
        return missing(err, "vmb_catalog_presign");
    }
    vmb_code rc = check(cat, backup, err);
    if (rc == VMB_OK && ttl_ns <= 0) {
        rc = vmbi_fail(err, VMB_E_ARG, "vmb_catalog_presign: a link works for some time");
    }
    if (rc != VMB_OK) {
        return rc;
    }
    vmbi_buf b = VMBI_BUF_INIT(64 * 1024);
    vmbi_ctx_enter(cat->ctx);
    rc = vmbi_catalog_presign(cat, backup, file, ttl_ns, &b, err);
    vmbi_ctx_leave(cat->ctx);
    if (rc == VMB_OK) {
        rc = vmbi_buf_take(&b, out, out_len, err, "link");
    }
    vmbi_buf_free(&b);
    return rc;
}

vmb_code vmb_catalog_verify_json(vmb_catalog *cat, const char *backup, const char *options,
                                 size_t len, char **out, size_t *out_len, vmb_error **err)
{
    static const char *const known[] = {"deep", NULL};
    vmbi_verify_options o = {0};
    vmbi_json *tree = NULL;
    vmbi_json *doc = NULL;
    if (cat == NULL || out == NULL) {
        return missing(err, "vmb_catalog_verify_json");
    }
    vmb_code rc = check(cat, backup, err);
    if (rc == VMB_OK) {
        rc = read_options(options, len, known, &tree, err);
    }
    if (rc == VMB_OK) {
        rc = option_bool(tree, "deep", &o.deep, err);
    }
    if (rc == VMB_OK) {
        vmbi_ctx_enter(cat->ctx);
        rc = vmbi_catalog_verify(cat, backup, &o, &doc, err);
        vmbi_ctx_leave(cat->ctx);
    }
    vmbi_json_free(tree);
    return rc != VMB_OK ? rc : give(doc, out, out_len, err);
}

vmb_code vmb_catalog_copy(vmb_catalog *from, const char *backup, vmb_catalog *to,
                          const char *options, size_t len, char **out, size_t *out_len,
                          vmb_error **err)
{
    static const char *const known[] = {"archiveOnly", NULL};
    vmbi_copy_options o = {0};
    vmbi_json *tree = NULL;
    vmbi_json *doc = NULL;
    if (from == NULL || to == NULL) {
        return missing(err, "vmb_catalog_copy");
    }
    vmb_code rc = check(from, backup, err);
    if (rc == VMB_OK) {
        rc = vmbi_ctx_check(to->ctx, false, err);
    }
    if (rc == VMB_OK && from->store.location == to->store.location) {
        rc = vmbi_fail(err, VMB_E_ARG, "vmb_catalog_copy: both are location %s",
                       from->store.location->name);
    }
    if (rc == VMB_OK) {
        rc = read_options(options, len, known, &tree, err);
    }
    if (rc == VMB_OK) {
        rc = option_bool(tree, "archiveOnly", &o.archive_only, err);
    }
    if (rc == VMB_OK) {
        vmbi_ctx_enter(from->ctx);
        rc = vmbi_catalog_copy(from, backup, to, &o, &doc, err);
        vmbi_ctx_leave(from->ctx);
    }
    vmbi_json_free(tree);
    return rc != VMB_OK ? rc : give_if(doc, out, out_len, err);
}

static vmb_code read_pointers(const vmbi_json *tree, vmbi_strs *out, vmb_error **err)
{
    const vmbi_json *list = vmbi_json_get(tree, "ignore");
    vmb_code rc = VMB_OK;
    if (!vmbi_json_is_null(list) && !vmbi_json_is_array(list)) {
        return vmbi_fail(err, VMB_E_ARG, "options: ignore must be a list of JSON pointers");
    }
    for (size_t i = 0; i < vmbi_json_len(list) && rc == VMB_OK; i++) {
        const char *text = vmbi_json_str(vmbi_json_at(list, i));
        rc = text == NULL || !vmbi_json_pointer_ok(text)
                 ? vmbi_fail(err, VMB_E_ARG,
                             "options: ignore: \"%.200s\" is no JSON pointer: write "
                             "/metadata/resourceVersion", text != NULL ? text : "")
                 : vmbi_strs_add(out, text, err);
    }
    return rc;
}

vmb_code vmb_catalog_diff(vmb_catalog *cat_a, const char *a, vmb_catalog *cat_b, const char *b,
                          const char *options, size_t len, vmb_write_fn fn, void *user,
                          vmb_error **err)
{
    static const char *const known[] = {"ignore", NULL};
    vmbi_json *tree = NULL;
    vmbi_strs ignore = {0};
    if (cat_a == NULL || cat_b == NULL || fn == NULL) {
        return missing(err, "vmb_catalog_diff");
    }
    vmb_code rc = check(cat_a, a, err);
    if (rc == VMB_OK) {
        rc = check(cat_b, b, err);
    }
    if (rc == VMB_OK) {
        rc = read_options(options, len, known, &tree, err);
    }
    if (rc == VMB_OK) {
        rc = read_pointers(tree, &ignore, err);
    }
    if (rc == VMB_OK) {
        vmbi_ctx_enter(cat_a->ctx);
        rc = vmbi_catalog_diff(cat_a, a, cat_b, b, &ignore, fn, user, err);
        vmbi_ctx_leave(cat_a->ctx);
    }
    vmbi_strs_free(&ignore);
    vmbi_json_free(tree);
    return rc;
}

static vmb_code read_delete_options(const vmbi_json *tree, vmbi_delete_options *o,
                                    vmb_error **err)
{
    const vmbi_json *age = vmbi_json_get(tree, "olderThan");
    const char *text = vmbi_json_str(age);
    vmb_code rc = option_bool(tree, "force", &o->force, err);
    if (rc == VMB_OK) {
        rc = option_bool(tree, "orphan", &o->orphan, err);
    }
    if (rc == VMB_OK && !vmbi_json_is_null(age) &&
        (text == NULL || !vmbi_duration_parse(text, &o->older_than_ns) || o->older_than_ns < 0)) {
        rc = vmbi_fail(err, VMB_E_ARG, "options: olderThan must be a duration like 24h");
    }
    return rc;
}

vmb_code vmb_catalog_delete(vmb_catalog *cat, const char *backup, const char *options, size_t len,
                            char **out, size_t *out_len, vmb_error **err)
{
    static const char *const known[] = {"force", "orphan", "olderThan", NULL};
    vmbi_delete_options o = {0};
    vmbi_json *tree = NULL;
    vmbi_json *doc = NULL;
    if (cat == NULL) {
        return missing(err, "vmb_catalog_delete");
    }
    vmb_code rc = check(cat, backup, err);
    if (rc == VMB_OK) {
        rc = read_options(options, len, known, &tree, err);
    }
    if (rc == VMB_OK) {
        rc = read_delete_options(tree, &o, err);
    }
    if (rc == VMB_OK) {
        vmbi_ctx_enter(cat->ctx);
        rc = vmbi_catalog_delete(cat, backup, &o, &doc, err);
        vmbi_ctx_leave(cat->ctx);
    }
    vmbi_json_free(tree);
    return rc != VMB_OK ? rc : give_if(doc, out, out_len, err);
}

vmb_code vmb_catalog_expired_json(vmb_catalog *cat, int64_t now_unix_ns, char **out,
                                  size_t *out_len, vmb_error **err)
{
    vmbi_json *doc = NULL;
    if (cat == NULL || out == NULL) {
        return missing(err, "vmb_catalog_expired_json");
    }
    vmb_code rc = vmbi_ctx_check(cat->ctx, false, err);
    if (rc == VMB_OK) {
        vmbi_ctx_enter(cat->ctx);
        rc = vmbi_catalog_expired(cat, now_unix_ns, &doc, err);
        vmbi_ctx_leave(cat->ctx);
    }
    return rc != VMB_OK ? rc : give(doc, out, out_len, err);
}

vmb_code vmb_catalog_sweep(vmb_catalog *cat, int64_t older_than_ns, int64_t *removed,
                           vmb_error **err)
{
    int64_t n = 0;
    if (cat == NULL) {
        return missing(err, "vmb_catalog_sweep");
    }
    if (older_than_ns < SWEEP_LEAST_NS) {
        return vmbi_fail(err, VMB_E_ARG, "vmb_catalog_sweep: older_than_ns must be an hour at "
                         "least: writers that live must not lose anything");
    }
    vmb_code rc = vmbi_ctx_check(cat->ctx, false, err);
    if (rc == VMB_OK) {
        vmbi_ctx_enter(cat->ctx);
        rc = vmbi_catalog_sweep(cat, older_than_ns, &n, err);
        vmbi_ctx_leave(cat->ctx);
    }
    if (removed != NULL) {
        *removed = n;
    }
    return rc;
}

vmb_code vmb_catalog_orphans_json(vmb_catalog *cat, char **out, size_t *out_len, vmb_error **err)
{
    vmbi_json *doc = NULL;
    if (cat == NULL || out == NULL) {
        return missing(err, "vmb_catalog_orphans_json");
    }
    vmb_code rc = vmbi_ctx_check(cat->ctx, false, err);
    if (rc == VMB_OK) {
        vmbi_ctx_enter(cat->ctx);
        rc = vmbi_catalog_orphans(cat, &doc, err);
        vmbi_ctx_leave(cat->ctx);
    }
    return rc != VMB_OK ? rc : give(doc, out, out_len, err);
}
