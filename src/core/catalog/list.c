/* SPDX-License-Identifier: Apache-2.0 */
/* The catalogue itself, and what it lists. */
#include "core/catalog/parts.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/job.h"
#include "base/strs.h"
#include "core/backup.h"

enum { MAX_BACKUPS = 100000 };

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

vmb_job vmbi_catalog_job(const vmb_catalog *cat)
{
    vmb_job job = {0};
    job.limits.cancel = cat->cancel;
    job.store = &cat->store.location->store;
    job.store_prefix = cat->store.location->prefix;
    return job;
}

typedef struct folders {
    const char *top; /* "backups/" */
    vmbi_strs *names;
} folders;

static vmb_code note_prefix(void *user, const char *key, int64_t size, int64_t mtime,
                            int32_t is_prefix, vmb_error **err)
{
    folders *f = user;
    (void)size;
    (void)mtime;
    if (!is_prefix || !vmbi_starts_with(key, f->top)) {
        return VMB_OK;
    }
    const char *name = key + strlen(f->top);
    size_t len = strlen(name);
    len -= len > 0 && name[len - 1] == '/' ? 1 : 0;
    if (len == 0) {
        return VMB_OK;
    }
    if (f->names->n >= MAX_BACKUPS) {
        return vmbi_fail(err, VMB_E_LIMIT, "%s: more than %d folders in the location", f->top,
                         MAX_BACKUPS);
    }
    return vmbi_strs_addn(f->names, name, len, err);
}

vmb_code vmbi_catalog_metadata(vmb_catalog *cat, const char *backup, vmbi_json **out,
                               vmb_error **err)
{
    vmb_job job = vmbi_catalog_job(cat);
    vmbi_buf path = VMBI_BUF_INIT(1024);
    vmbi_buf text = VMBI_BUF_INIT(VMBI_CATALOG_MAX_METADATA);
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

vmbi_json *vmbi_catalog_unreadable(const char *name, const vmb_error *why)
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

vmb_code vmbi_catalog_require(vmb_catalog *cat, const char *backup, vmbi_json **out,
                              vmb_error **err)
{
    vmb_error *why = NULL;
    vmb_code rc = vmbi_catalog_metadata(cat, backup, out, &why);
    if (rc == VMB_E_NOT_FOUND) {
        rc = vmbi_fail(&why, VMB_E_NOT_FOUND, "backup %s does not exist in location %s", backup,
                       cat->store.location->name);
    }
    vmbi_error_move(err, &why);
    return rc;
}

vmb_code vmbi_catalog_folders(vmb_catalog *cat, const char *top, vmbi_strs *names, vmb_error **err)
{
    vmb_job job = vmbi_catalog_job(cat);
    folders f = {top, names};
    struct vmb_key_sink sink = {note_prefix, &f};
    job.limits = vmbi_limits_within(&job.limits, cat->store.timeout_ns);
    vmb_code rc = vmbi_store_list(&cat->store, &job, top, "/", &sink, err);
    vmbi_strs_sort(names);
    return rc;
}

vmb_code vmbi_catalog_names(vmb_catalog *cat, vmbi_strs *names, vmb_error **err)
{
    return vmbi_catalog_folders(cat, "backups/", names, err);
}

vmb_code vmbi_catalog_list(vmb_catalog *cat, vmbi_json **out, vmb_error **err)
{
    vmbi_strs names = {0};
    vmbi_json *list = vmbi_json_array();
    vmb_code rc = list != NULL ? vmbi_catalog_names(cat, &names, err) : vmbi_fail_nomem(err);
    for (size_t i = 0; i < names.n && rc == VMB_OK; i++) {
        vmbi_json *doc = NULL;
        vmb_error *why = NULL;
        vmb_code got = vmbi_catalog_metadata(cat, names.v[i], &doc, &why);
        if (got == VMB_E_NOMEM) {
            rc = vmbi_fail_nomem(err);
        } else if (got != VMB_E_NOT_FOUND) { /* without metadata it is no backup (yet) */
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

/* ---- keys ---------------------------------------------------------------------------------- */

enum { MAX_KEYS = 100000 };

void vmbi_catalog_keys_free(vmbi_catalog_keys *k)
{
    for (size_t i = 0; i < k->n; i++) {
        vmbi_free(k->v[i].path);
    }
    vmbi_free(k->v);
    *k = (vmbi_catalog_keys){0};
}

static vmb_code note_key(void *user, const char *key, int64_t size, int64_t mtime,
                         int32_t is_prefix, vmb_error **err)
{
    vmbi_catalog_keys *k = user;
    if (is_prefix) {
        return VMB_OK;
    }
    if (k->n >= MAX_KEYS) {
        return vmbi_fail(err, VMB_E_LIMIT, "more than %d files in one folder", MAX_KEYS);
    }
    if (k->n == k->cap) {
        size_t cap = k->cap != 0 ? k->cap * 2 : 16;
        vmbi_catalog_key *v = vmbi_realloc_array(k->v, cap, sizeof(*v));
        if (v == NULL) {
            return vmbi_fail_nomem(err);
        }
        k->v = v;
        k->cap = cap;
    }
    char *path = vmbi_strdup(key);
    if (path == NULL) {
        return vmbi_fail_nomem(err);
    }
    k->v[k->n++] = (vmbi_catalog_key){path, size, mtime};
    return VMB_OK;
}

vmb_code vmbi_catalog_keys_of(vmb_catalog *cat, const char *folder, vmbi_catalog_keys *out,
                              vmb_error **err)
{
    vmb_job job = vmbi_catalog_job(cat);
    struct vmb_key_sink sink = {note_key, out};
    job.limits = vmbi_limits_within(&job.limits, cat->store.timeout_ns);
    return vmbi_store_list(&cat->store, &job, folder, "", &sink, err);
}
