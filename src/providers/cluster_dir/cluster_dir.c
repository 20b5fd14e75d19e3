/* SPDX-License-Identifier: Apache-2.0 */
/* A folder of manifests as a read-only cluster. Everything is read once, at construction; after
 * that the provider is constant and any number of threads may use it. */
#include <string.h>

#include <vmbackup/selector.h>

#include "base/alloc.h"
#include "base/error.h"
#include "codec/jscan.h"
#include "providers/builtin.h"
#include "providers/cluster_dir/tree.h"

typedef struct cluster_dir {
    vmbi_dir_tree tree;
    char *discovery; /* the document, printed once */
    size_t discovery_len;
} cluster_dir;

static void dir_destroy(void *user)
{
    cluster_dir *d = user;
    if (d == NULL) {
        return;
    }
    vmbi_dir_tree_free(&d->tree);
    vmbi_free(d->discovery);
    vmbi_free(d);
}

static vmb_code dir_discover(void *user, vmb_job *job, vmb_sink *out, vmb_error **err)
{
    const cluster_dir *d = user;
    (void)job; /* nothing to wait for */
    return vmb_sink_write(out, d->discovery, d->discovery_len, err);
}

static vmb_code find(const cluster_dir *d, const char *group, const char *resource,
                     const vmbi_dir_resource **out, vmb_error **err)
{
    *out = vmbi_dir_tree_find(&d->tree, group != NULL ? group : "", resource);
    if (*out == NULL) {
        return vmbi_fail(err, VMB_E_NOT_FOUND, "resource %s%s%s: not in the folder", resource,
                         group != NULL && group[0] != '\0' ? "." : "", group != NULL ? group : "");
    }
    return VMB_OK;
}

static vmb_code match_pairs(const vmb_selector *sel, const vmbi_json *labels, bool *yes,
                            vmb_error **err)
{
    size_t n = vmbi_json_len(labels);
    size_t used = 0;
    int32_t matches = 0;
    const char **kv = NULL;
    if (n > 0) {
        kv = vmbi_alloc_array(n, 2 * sizeof *kv);
        if (kv == NULL) {
            return vmbi_fail_nomem(err);
        }
    }
    for (void *it = vmbi_json_iter(labels); it != NULL; it = vmbi_json_iter_next(labels, it)) {
        const char *value = vmbi_json_str(vmbi_json_iter_value(it));
        if (value != NULL) {
            kv[2 * used] = vmbi_json_iter_key(it);
            kv[2 * used + 1] = value;
            used++;
        }
    }
    vmb_code code = vmb_selector_matches(sel, kv, used, &matches, err);
    vmbi_free(kv);
    *yes = matches != 0;
    return code;
}

static vmb_code item_matches(const vmb_selector *sel, const vmbi_dir_item *item, bool *yes,
                             vmb_error **err)
{
    vmbi_slice meta;
    vmbi_slice text;
    vmbi_json *labels = NULL;
    vmb_code code = VMB_OK;
    if (vmbi_jscan_find(item->json, item->len, "metadata", &meta) &&
        vmbi_jscan_find(meta.p, meta.len, "labels", &text)) {
        code = vmbi_json_parse(text.p, text.len, "labels", &labels, err);
    }
    if (code == VMB_OK) {
        code = match_pairs(sel, vmbi_json_is_object(labels) ? labels : NULL, yes, err);
    }
    vmbi_json_free(labels);
    return code;
}

static vmb_code list_item(const vmb_selector *sel, vmb_job *job, const vmbi_dir_item *item,
                          vmb_item_sink *out, vmb_error **err)
{
    bool yes = true;
    vmb_code code = VMB_OK;
    if (vmb_job_cancelled(job)) {
        return vmbi_fail(err, VMB_E_CANCELLED, "listing was cancelled");
    }
    if (sel != NULL) {
        code = item_matches(sel, item, &yes, err);
    }
    return code == VMB_OK && yes ? vmb_item_sink_push(out, item->json, item->len, err) : code;
}

static vmb_code dir_list(void *user, vmb_job *job, const char *group, const char *version,
                         const char *resource, const char *ns, const char *label_selector,
                         int64_t page_size, vmb_item_sink *out, vmb_error **err)
{
    const cluster_dir *d = user;
    const vmbi_dir_resource *r = NULL;
    vmb_selector *sel = NULL;
    (void)version;   /* one version of a resource is served */
    (void)page_size; /* everything is in memory */
    vmb_code code = find(d, group, resource, &r, err);
    if (code == VMB_OK && label_selector != NULL && label_selector[0] != '\0') {
        code = vmb_selector_parse(label_selector, &sel, err);
    }
    for (size_t i = 0; code == VMB_OK && i < r->n; i++) {
        if (ns == NULL || ns[0] == '\0' || vmbi_streq(r->items[i]->ns, ns)) {
            code = list_item(sel, job, r->items[i], out, err);
        }
    }
    vmb_selector_free(sel);
    return code;
}

static vmb_code dir_get(void *user, vmb_job *job, const char *group, const char *version,
                        const char *resource, const char *ns, const char *name, vmb_sink *out,
                        vmb_error **err)
{
    const cluster_dir *d = user;
    const vmbi_dir_resource *r = NULL;
    vmbi_buf key = VMBI_BUF_INIT(1024);
    (void)job;     /* nothing to wait for */
    (void)version; /* one version of a resource is served */
    vmb_code code = find(d, group, resource, &r, err);
    if (code != VMB_OK) {
        return code;
    }
    if (r->namespaced) {
        vmbi_buf_addf(&key, "%s/", ns != NULL ? ns : "");
    }
    vmbi_buf_adds(&key, name);
    code = vmbi_buf_check(&key, err, "object name");
    if (code == VMB_OK) {
        const vmbi_dir_item *item = vmbi_map_get(&r->by_key, key.data);
        code = item != NULL ? vmb_sink_write(out, item->json, item->len, err)
                            : vmbi_fail(err, VMB_E_NOT_FOUND, "%s %s: not in the folder", r->plural,
                                        key.data);
    }
    vmbi_buf_free(&key);
    return code;
}

static vmb_code check_settings(const vmbi_json *settings, const char **path, vmb_error **err)
{
    for (void *it = vmbi_json_iter(settings); it != NULL; it = vmbi_json_iter_next(settings, it)) {
        if (!vmbi_streq(vmbi_json_iter_key(it), "path")) {
            return vmbi_fail(err, VMB_E_ARG,
                             "cluster.dir: setting \"%s\" is unknown; known is \"path\"",
                             vmbi_json_iter_key(it));
        }
    }
    *path = vmbi_json_get_str(settings, "path");
    if (*path == NULL || (*path)[0] == '\0') {
        return vmbi_fail(err, VMB_E_ARG, "cluster.dir: setting \"path\" is required: a folder");
    }
    return VMB_OK;
}

static vmb_code print_discovery(cluster_dir *d, vmb_error **err)
{
    vmbi_json *doc = vmbi_dir_tree_discovery(&d->tree);
    if (doc == NULL) {
        return vmbi_fail_nomem(err);
    }
    vmb_code code = vmbi_json_to_text(doc, &d->discovery, &d->discovery_len, err);
    vmbi_json_free(doc);
    return code;
}

vmb_code vmbi_cluster_dir_new(const vmbi_json *settings, vmb_cluster_provider *out, vmb_error **err)
{
    const char *path = NULL;
    vmb_code code = check_settings(settings, &path, err);
    if (code != VMB_OK) {
        return code;
    }
    cluster_dir *d = vmbi_zalloc(sizeof *d);
    if (d == NULL) {
        return vmbi_fail_nomem(err);
    }
    code = vmbi_dir_load(path, &d->tree, err);
    if (code == VMB_OK) {
        code = print_discovery(d, err);
    }
    if (code != VMB_OK) {
        dir_destroy(d);
        return code;
    }
    memset(out, 0, sizeof *out);
    out->struct_size = sizeof *out;
    out->api_version = VMB_PROVIDER_API;
    out->name = "cluster.dir";
    out->user = d;
    out->destroy = dir_destroy;
    out->discover = dir_discover;
    out->list = dir_list;
    out->get = dir_get;
    return VMB_OK;
}
