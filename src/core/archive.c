/* SPDX-License-Identifier: Apache-2.0 */
#include "core/archive.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"

/* Names of one kind: "ns/name" strings, NUL-terminated, back to back. */
typedef struct name_list {
    vmbi_buf text;
    size_t n;
} name_list;

static void free_names(void *p)
{
    name_list *l = p;
    if (l != NULL) {
        vmbi_buf_free(&l->text);
        vmbi_free(l);
    }
}

static vmb_code to_gzip(void *user, const void *data, size_t len, vmb_error **err)
{
    return vmbi_gzip_write(user, data, len, err);
}

vmb_code vmbi_archive_open(vmbi_archive *a, const vmbi_store *store, vmb_job *job,
                           const char *path, vmb_error **err)
{
    *a = (vmbi_archive){.names = VMBI_MAP_INIT(free_names), .broken = VMB_OK};
    vmbi_buf_init(&a->path, 4096);
    vmbi_buf_init(&a->last_types, 4096);
    vmb_code rc = vmbi_put_begin(&a->put, store, job, path, 0, err);
    if (rc == VMB_OK) {
        rc = vmbi_gzip_new(vmbi_put_write, &a->put, &a->gzip, err);
    }
    if (rc == VMB_OK) {
        rc = vmbi_tar_new(to_gzip, a->gzip, &a->tar, err);
    }
    if (rc == VMB_OK) {
        vmbi_slice version = {"1.1.0\n", 6};
        rc = vmbi_tar_add(a->tar, "metadata/version", vmbi_unix_ns() / VMBI_SECOND, &version, 1,
                          err);
    }
    if (rc != VMB_OK) {
        vmbi_archive_close(a);
    }
    return rc;
}

/* Finds or creates the list of names of a resource's kind. */
static vmb_code names_of(vmbi_archive *a, const vmbi_resource *res, name_list **out,
                         vmb_error **err)
{
    vmbi_buf key = VMBI_BUF_INIT(1024);
    vmbi_buf_addf(&key, "%s/%s", res->api_version, res->kind);
    vmb_code rc = vmbi_buf_check(&key, err, "kind");
    name_list *l = rc == VMB_OK ? vmbi_map_get(&a->names, key.data) : NULL;
    if (rc == VMB_OK && l == NULL) {
        l = vmbi_zalloc(sizeof(*l));
        rc = l != NULL ? VMB_OK : vmbi_fail_nomem(err);
        if (rc == VMB_OK) {
            vmbi_buf_init(&l->text, VMBI_NAMES_MAX_BYTES);
            rc = vmbi_map_set(&a->names, key.data, l, err);
            if (rc != VMB_OK) {
                free_names(l);
            }
        }
    }
    vmbi_buf_free(&key);
    if (rc == VMB_OK) {
        *out = l;
    }
    return rc;
}

/* Makes `res` the resource added last. */
static vmb_code switch_to(vmbi_archive *a, const vmbi_resource *res, vmb_error **err)
{
    if (a->last == res) {
        return VMB_OK;
    }
    name_list *names = NULL;
    vmb_code rc = names_of(a, res, &names, err);
    vmbi_buf *b = &a->last_types;
    a->last = NULL;
    vmbi_buf_reset(b);
    vmbi_buf_adds(b, "\"apiVersion\":");
    vmbi_buf_add_json_string(b, res->api_version, strlen(res->api_version));
    vmbi_buf_adds(b, ",\"kind\":");
    vmbi_buf_add_json_string(b, res->kind, strlen(res->kind));
    vmbi_buf_addc(b, ',');
    rc = rc == VMB_OK ? vmbi_buf_check(b, err, "object type") : rc;
    if (rc == VMB_OK) {
        a->last = res;
        a->last_names = names;
    }
    return rc;
}

static vmb_code note_name(vmbi_archive *a, const char *ns, const char *name, vmb_error **err)
{
    name_list *l = a->last_names;
    if (ns != NULL && ns[0] != '\0') {
        vmbi_buf_adds(&l->text, ns);
        vmbi_buf_addc(&l->text, '/');
    }
    vmbi_buf_add(&l->text, name, strlen(name) + 1);
    l->n++;
    return vmbi_buf_check(&l->text, err, "list of stored objects");
}

/* resources/<GR>[/<version dir>]/namespaces/<ns>/<name>.json or …/cluster/<name>.json */
static vmb_code build_path(vmbi_buf *path, const vmbi_resource *res, bool versioned,
                           const char *ns, const char *name, vmb_error **err)
{
    vmbi_buf_reset(path);
    vmbi_buf_adds(path, "resources/");
    vmbi_buf_adds(path, res->group_resource);
    vmbi_buf_addc(path, '/');
    if (versioned) {
        vmbi_buf_adds(path, res->version);
        vmbi_buf_adds(path, res->preferred ? "-preferredversion/" : "/");
    }
    if (ns != NULL && ns[0] != '\0') {
        vmbi_buf_adds(path, "namespaces/");
        vmbi_buf_adds(path, ns);
        vmbi_buf_addc(path, '/');
    } else {
        vmbi_buf_adds(path, "cluster/");
    }
    vmbi_buf_adds(path, name);
    vmbi_buf_adds(path, ".json");
    return vmbi_buf_check(path, err, "archive path");
}

static vmb_code add_entries(vmbi_archive *a, const vmbi_resource *res, const char *ns,
                            const char *name, const vmbi_slice *parts, size_t n, vmb_error **err)
{
    int64_t now = vmbi_unix_ns() / VMBI_SECOND;
    vmb_code rc = VMB_OK;
    if (res->preferred) {
        rc = build_path(&a->path, res, false, ns, name, err);
        if (rc == VMB_OK) {
            rc = vmbi_tar_add(a->tar, a->path.data, now, parts, n, err);
        }
    }
    if (rc == VMB_OK) {
        rc = build_path(&a->path, res, true, ns, name, err);
    }
    if (rc == VMB_OK) {
        rc = vmbi_tar_add(a->tar, a->path.data, now, parts, n, err);
    }
    return rc;
}

vmb_code vmbi_archive_add(vmbi_archive *a, const vmbi_resource *res, const char *ns,
                          const char *name, const char *json, size_t len,
                          const vmbi_object_scan *scan, vmb_error **err)
{
    if (a->broken != VMB_OK) {
        return vmbi_fail(err, a->broken, "archive: an earlier write failed");
    }
    vmb_code rc = switch_to(a, res, err);
    size_t head = (size_t)(scan->body - json); /* up to and with the '{' */
    vmbi_slice parts[3] = {{json, head},
                           {a->last_types.data, a->last_types.len},
                           {scan->body, len - head}};
    vmbi_slice whole = {json, len};
    bool typed = scan->api_version.p != NULL;
    if (rc == VMB_OK && typed != (scan->kind.p != NULL)) {
        return vmbi_fail(err, VMB_E_PROVIDER,
                         "%s %s: the object has only one of apiVersion and kind", res->name, name);
    }
    if (rc == VMB_OK) {
        rc = typed ? add_entries(a, res, ns, name, &whole, 1, err)
                   : add_entries(a, res, ns, name, parts, 3, err);
    }
    if (rc == VMB_OK) {
        rc = note_name(a, ns, name, err);
    }
    if (rc != VMB_OK) {
        a->broken = rc;
        return vmbi_wrap(err, rc, "write the archive");
    }
    a->items++;
    a->raw_bytes += (int64_t)len;
    return VMB_OK;
}

vmb_code vmbi_archive_commit(vmbi_archive *a, vmb_error **err)
{
    vmb_code rc = a->broken != VMB_OK
                      ? vmbi_fail(err, a->broken, "archive: an earlier write failed")
                      : vmbi_tar_finish(a->tar, err);
    if (rc == VMB_OK) {
        rc = vmbi_gzip_finish(a->gzip, err);
    }
    if (rc == VMB_OK) {
        rc = vmbi_put_commit(&a->put, err);
    }
    if (rc != VMB_OK) {
        a->broken = rc;
        return vmbi_wrap(err, rc, "write the archive");
    }
    return VMB_OK;
}

void vmbi_archive_close(vmbi_archive *a)
{
    vmbi_put_abort(&a->put);
    vmbi_tar_free(a->tar);
    vmbi_gzip_free(a->gzip);
    vmbi_buf_free(&a->path);
    vmbi_buf_free(&a->last_types);
    vmbi_map_free(&a->names);
    a->last = NULL;
    a->tar = NULL;
    a->gzip = NULL;
}

/* ---- resource list ------------------------------------------------------------------------- */

static int compare_strings(const void *a, const void *b)
{
    const char *const *x = a;
    const char *const *y = b;
    return strcmp(*x, *y);
}

static vmb_code print_names(const name_list *l, vmbi_buf *out, vmb_error **err)
{
    const char **v = vmbi_alloc_array(l->n, sizeof(*v));
    if (v == NULL) {
        return vmbi_fail_nomem(err);
    }
    const char *p = l->text.data;
    for (size_t i = 0; i < l->n; i++) {
        v[i] = p;
        p += strlen(p) + 1;
    }
    qsort(v, l->n, sizeof(*v), compare_strings);
    vmbi_buf_addc(out, '[');
    for (size_t i = 0; i < l->n; i++) {
        if (i > 0) {
            vmbi_buf_addc(out, ',');
        }
        vmbi_buf_add_json_string(out, v[i], strlen(v[i]));
    }
    vmbi_buf_addc(out, ']');
    vmbi_free(v);
    return vmbi_buf_check(out, err, "resource list");
}

vmb_code vmbi_archive_resource_list(vmbi_archive *a, vmbi_buf *out, vmb_error **err)
{
    const char **keys = vmbi_alloc_array(a->names.n, sizeof(*keys));
    if (keys == NULL) {
        return vmbi_fail_nomem(err);
    }
    for (size_t i = 0; i < a->names.n; i++) {
        keys[i] = a->names.entries[i].key;
    }
    if (a->names.n > 1) {
        qsort(keys, a->names.n, sizeof(*keys), compare_strings);
    }
    vmb_code rc = VMB_OK;
    vmbi_buf_addc(out, '{');
    for (size_t i = 0; i < a->names.n && rc == VMB_OK; i++) {
        if (i > 0) {
            vmbi_buf_addc(out, ',');
        }
        vmbi_buf_add_json_string(out, keys[i], strlen(keys[i]));
        vmbi_buf_addc(out, ':');
        rc = print_names(vmbi_map_get(&a->names, keys[i]), out, err);
    }
    vmbi_buf_addc(out, '}');
    vmbi_free(keys);
    return rc != VMB_OK ? rc : vmbi_buf_check(out, err, "resource list");
}
