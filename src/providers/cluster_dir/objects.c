/* SPDX-License-Identifier: Apache-2.0 */
/* From documents to the objects of resources. */
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "codec/digest.h"
#include "providers/cluster_dir/kinds.h"
#include "providers/cluster_dir/load.h"

void vmbi_dir_loader_free(vmbi_dir_loader *ld)
{
    for (size_t i = 0; i < ld->n; i++) {
        vmbi_free(ld->pending[i].group);
        vmbi_free(ld->pending[i].kind);
        vmbi_dir_item_free(ld->pending[i].item);
    }
    vmbi_free(ld->pending);
    memset(ld, 0, sizeof *ld);
}

/* Names become parts of paths: nothing that a path could trip over. */
static bool name_is_safe(const char *name)
{
    size_t len = strlen(name);
    if (len == 0 || len > 253 || vmbi_streq(name, ".") || vmbi_streq(name, "..")) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)name[i];
        if (c <= ' ' || c == 0x7f || c == '/' || c == '\\' || c == '%') {
            return false;
        }
    }
    return true;
}

/* The API server stores a Secret's stringData as data: so does every backup of it. */
static vmb_code fold_string_data(vmbi_json *doc, vmb_error **err)
{
    vmbi_json *plain = vmbi_json_get(doc, "stringData");
    if (plain == NULL) {
        return VMB_OK;
    }
    vmbi_json *data = vmbi_json_ensure_object(doc, "data");
    bool ok = data != NULL;
    for (void *it = vmbi_json_iter(plain); ok && it != NULL; it = vmbi_json_iter_next(plain, it)) {
        const vmbi_json *v = vmbi_json_iter_value(it);
        const char *s = vmbi_json_str(v);
        if (s == NULL) {
            return vmbi_fail(err, VMB_E_INVALID, "stringData.%s is not a string",
                             vmbi_json_iter_key(it));
        }
        char *coded = vmbi_alloc(vmbi_base64_size(vmbi_json_str_len(v)));
        ok = coded != NULL;
        if (ok) {
            vmbi_base64(s, vmbi_json_str_len(v), coded);
            ok = vmbi_json_set_str(data, vmbi_json_iter_key(it), coded);
        }
        vmbi_free(coded);
    }
    vmbi_json_del(doc, "stringData");
    return ok ? VMB_OK : vmbi_fail_nomem(err);
}

static vmb_code item_new(const vmbi_json *doc, const char *name, const char *version,
                         const char *file, int line, vmbi_dir_item **out, vmb_error **err)
{
    vmbi_dir_item *item = vmbi_zalloc(sizeof *item);
    if (item == NULL) {
        return vmbi_fail_nomem(err);
    }
    const char *ns = vmbi_json_path_str(doc, "metadata.namespace");
    item->file = file;
    item->line = line;
    item->key = vmbi_strdup(name);
    item->name = item->key;
    item->version = vmbi_strdup(version);
    item->ns = ns != NULL && ns[0] != '\0' ? vmbi_strdup(ns) : NULL;
    vmb_code code = item->key == NULL || item->version == NULL ||
                            (item->ns == NULL && ns != NULL && ns[0] != '\0')
                        ? vmbi_fail_nomem(err)
                        : vmbi_json_to_text(doc, &item->json, &item->len, err);
    if (code != VMB_OK) {
        vmbi_dir_item_free(item);
        return code;
    }
    *out = item;
    return VMB_OK;
}

static vmb_code reserve_pending(vmbi_dir_loader *ld, vmb_error **err)
{
    if (ld->n >= VMBI_DIR_MAX_OBJECTS) {
        return vmbi_fail(err, VMB_E_LIMIT, "more than %d objects", VMBI_DIR_MAX_OBJECTS);
    }
    if (ld->n < ld->cap) {
        return VMB_OK;
    }
    size_t cap = ld->cap == 0 ? 256 : ld->cap * 2;
    vmbi_dir_pending *grown = vmbi_realloc_array(ld->pending, cap, sizeof *grown);
    if (grown == NULL) {
        return vmbi_fail_nomem(err);
    }
    ld->pending = grown;
    ld->cap = cap;
    return VMB_OK;
}

static vmb_code add_pending(vmbi_dir_loader *ld, vmbi_json *doc, const char *api_version,
                            const char *kind, const char *name, int line, vmb_error **err)
{
    const char *slash = strchr(api_version, '/');
    const char *version = slash != NULL ? slash + 1 : api_version;
    vmb_code code = reserve_pending(ld, err);
    if (code != VMB_OK) {
        return code;
    }
    vmbi_dir_pending p = {NULL, NULL, NULL};
    p.group = vmbi_strndup(api_version, slash != NULL ? (size_t)(slash - api_version) : 0);
    p.kind = vmbi_strdup(kind);
    if (p.group == NULL || p.kind == NULL) {
        code = vmbi_fail_nomem(err);
        goto out;
    }
    if (p.group[0] == '\0' && vmbi_streq(kind, "Secret")) {
        code = fold_string_data(doc, err);
    }
    if (code == VMB_OK && vmbi_streq(kind, "CustomResourceDefinition") &&
        vmbi_streq(p.group, "apiextensions.k8s.io")) {
        code = vmbi_dir_tree_add_definition(ld->tree, doc, err);
    }
    if (code == VMB_OK) {
        code = item_new(doc, name, version, ld->file, line, &p.item, err);
    }
    if (code == VMB_OK) {
        ld->pending[ld->n++] = p;
        return VMB_OK;
    }
out:
    vmbi_free(p.group);
    vmbi_free(p.kind);
    return code;
}

static vmb_code add_object(vmbi_dir_loader *ld, vmbi_json *doc, const char *list_version,
                           const char *list_kind, int line, int depth, vmb_error **err);

/* The items of a typed list ("PodList") may leave out what the list says for all of them. */
static vmb_code add_list(vmbi_dir_loader *ld, vmbi_json *list, const char *api_version,
                         const char *kind, int line, int depth, vmb_error **err)
{
    vmbi_json *items = vmbi_json_get(list, "items");
    size_t len = strlen(kind);
    char *item_kind = len > 4 ? vmbi_strndup(kind, len - 4) : NULL;
    vmb_code code = len > 4 && item_kind == NULL ? vmbi_fail_nomem(err) : VMB_OK;
    if (code == VMB_OK && depth >= VMBI_DIR_MAX_LISTS) {
        code = vmbi_fail(err, VMB_E_LIMIT, "lists nested more than %d deep", VMBI_DIR_MAX_LISTS);
    }
    for (size_t i = 0; code == VMB_OK && i < vmbi_json_len(items); i++) {
        code = add_object(ld, vmbi_json_at(items, i), item_kind != NULL ? api_version : NULL,
                          item_kind, line, depth + 1, err);
        if (code != VMB_OK) {
            code = vmbi_wrap(err, code, "items[%zu]", i);
        }
    }
    vmbi_free(item_kind);
    return code;
}

static vmb_code add_object(vmbi_dir_loader *ld, vmbi_json *doc, const char *list_version,
                           const char *list_kind, int line, int depth, vmb_error **err)
{
    if (!vmbi_json_is_object(doc)) {
        return vmbi_fail(err, VMB_E_INVALID, "a manifest is an object, this is %s",
                         vmbi_json_type_name(doc));
    }
    if (list_kind != NULL && vmbi_json_get(doc, "kind") == NULL &&
        (!vmbi_json_set_str(doc, "kind", list_kind) ||
         !vmbi_json_set_str(doc, "apiVersion", list_version))) {
        return vmbi_fail_nomem(err);
    }
    const char *api_version = vmbi_json_get_str(doc, "apiVersion");
    const char *kind = vmbi_json_get_str(doc, "kind");
    if (api_version == NULL || kind == NULL || api_version[0] == '\0' || kind[0] == '\0') {
        return vmbi_fail(err, VMB_E_INVALID, "not a manifest: apiVersion and kind are required");
    }
    if (vmbi_ends_with(kind, "List") && vmbi_json_is_array(vmbi_json_get(doc, "items"))) {
        return add_list(ld, doc, api_version, kind, line, depth, err);
    }
    const char *name = vmbi_json_path_str(doc, "metadata.name");
    if (name == NULL || !name_is_safe(name)) {
        return vmbi_fail(err, VMB_E_INVALID, "%s: metadata.name is missing or no valid name", kind);
    }
    /* `namespace: no` is a boolean in YAML: taken as absent, the object would move elsewhere */
    const vmbi_json *field = vmbi_json_path(doc, "metadata.namespace");
    const char *ns = vmbi_json_str(field);
    if ((ns == NULL && !vmbi_json_is_null(field)) ||
        (ns != NULL && ns[0] != '\0' && !name_is_safe(ns))) {
        return vmbi_fail(err, VMB_E_INVALID, "%s %s: metadata.namespace is no valid name%s", kind,
                         name, ns == NULL ? " (quotes make it text)" : "");
    }
    return add_pending(ld, doc, api_version, kind, name, line, err);
}

vmb_code vmbi_dir_add_document(void *loader, vmbi_json *doc, int line, vmb_error **err)
{
    vmbi_dir_loader *ld = loader;
    vmb_code code = add_object(ld, doc, NULL, NULL, line, 0, err);
    return code == VMB_OK ? VMB_OK : vmbi_wrap(err, code, "%s line %d", ld->file, line);
}

/* ---- resolving kinds ------------------------------------------------------------------------ */

/* Kinds that clusters have only with some operator: listed when the folder uses their group. */
static vmb_code add_known_group(vmbi_dir_tree *t, const char *group, vmb_error **err)
{
    size_t count = 0;
    const vmbi_dir_kind *kinds = vmbi_dir_kinds(&count);
    vmb_code code = VMB_OK;
    for (size_t i = 0; code == VMB_OK && i < count; i++) {
        const vmbi_dir_kind *k = &kinds[i];
        vmbi_dir_resource *r = NULL;
        if (!k->native && vmbi_streq(k->group, group) &&
            vmbi_dir_tree_find(t, k->group, k->plural) == NULL) {
            code = vmbi_dir_tree_add(t, k->group, k->version, k->plural, NULL, k->kind,
                                     k->short_names, k->namespaced, &r, err);
        }
    }
    return code;
}

/* A kind without definition: its name is guessed, its scope read off the objects. */
static vmb_code add_unknown(vmbi_dir_loader *ld, const vmbi_dir_pending *p, vmbi_dir_resource **out,
                            vmb_error **err)
{
    vmbi_buf note = VMBI_BUF_INIT(2048);
    char *plural = NULL;
    bool namespaced = false;
    for (size_t i = 0; i < ld->n && !namespaced; i++) {
        const vmbi_dir_pending *q = &ld->pending[i];
        namespaced = q->item != NULL && q->item->ns != NULL && vmbi_streq(q->kind, p->kind) &&
                     vmbi_streq(q->group, p->group);
    }
    vmb_code code = vmbi_dir_guess_plural(p->kind, &plural, err);
    if (code == VMB_OK) {
        code = vmbi_dir_tree_add(ld->tree, p->group, p->item->version, plural, NULL, p->kind, "",
                                 namespaced, out, err);
    }
    if (code == VMB_OK) {
        vmbi_buf_addf(&note,
                      "%s line %d: kind %s of group \"%s\" has no definition, taken as %s resource "
                      "%s",
                      p->item->file, p->item->line, p->kind, p->group,
                      namespaced ? "namespaced" : "cluster-scoped", plural);
        code = vmbi_buf_check(&note, err, "note");
    }
    if (code == VMB_OK) {
        code = vmbi_strs_add(&ld->tree->warnings, note.data, err);
    }
    vmbi_buf_free(&note);
    vmbi_free(plural);
    return code;
}

/* Writes the namespace that the API server would have stored: "default" where a namespaced object
 * names none, nothing for a cluster-scoped one. */
static vmb_code rewrite_namespace(vmbi_dir_item *item, const char *ns, vmb_error **err)
{
    vmbi_json *doc = NULL;
    char *text = NULL;
    size_t len = 0;
    vmb_code code = vmbi_json_parse(item->json, item->len, item->file, &doc, err);
    if (code != VMB_OK) {
        return code;
    }
    vmbi_json *meta = vmbi_json_get(doc, "metadata");
    if (ns != NULL) {
        code = vmbi_json_set_str(meta, "namespace", ns) ? VMB_OK : vmbi_fail_nomem(err);
    } else {
        vmbi_json_del(meta, "namespace");
    }
    if (code == VMB_OK) {
        code = vmbi_json_to_text(doc, &text, &len, err);
    }
    char *copy = code == VMB_OK && ns != NULL ? vmbi_strdup(ns) : NULL;
    if (code == VMB_OK && ns != NULL && copy == NULL) {
        code = vmbi_fail_nomem(err);
    }
    if (code == VMB_OK) {
        vmbi_free(item->json);
        vmbi_free(item->ns);
        item->json = vmbi_steal(&text);
        item->len = len;
        item->ns = copy;
    }
    vmbi_free(text);
    vmbi_json_free(doc);
    return code;
}

static vmb_code set_key(vmbi_dir_item *item, vmb_error **err)
{
    if (item->ns == NULL) {
        return VMB_OK;
    }
    vmbi_buf key = VMBI_BUF_INIT(1024);
    char *text = NULL;
    vmbi_buf_addf(&key, "%s/%s", item->ns, item->name);
    vmb_code code = vmbi_buf_take(&key, &text, NULL, err, "object key");
    if (code == VMB_OK) {
        vmbi_free(item->key);
        item->key = text;
        item->name = text + strlen(item->ns) + 1;
    }
    vmbi_buf_free(&key);
    return code;
}

static vmb_code resolve_one(vmbi_dir_loader *ld, vmbi_dir_pending *p, vmb_error **err)
{
    vmbi_dir_resource *r = vmbi_dir_tree_find_kind(ld->tree, p->group, p->kind);
    vmb_code code = r != NULL ? VMB_OK : add_unknown(ld, p, &r, err);
    if (code == VMB_OK && r->namespaced && p->item->ns == NULL) {
        code = rewrite_namespace(p->item, "default", err);
    } else if (code == VMB_OK && !r->namespaced && p->item->ns != NULL) {
        code = rewrite_namespace(p->item, NULL, err);
    }
    if (code == VMB_OK) {
        code = set_key(p->item, err);
    }
    return code != VMB_OK ? code : vmbi_dir_resource_take(r, vmbi_steal(&p->item), err);
}

vmb_code vmbi_dir_resolve(vmbi_dir_loader *ld, vmb_error **err)
{
    vmb_code code = VMB_OK;
    for (size_t i = 0; code == VMB_OK && i < ld->n; i++) {
        if (vmbi_dir_tree_find_kind(ld->tree, ld->pending[i].group, ld->pending[i].kind) == NULL) {
            code = add_known_group(ld->tree, ld->pending[i].group, err);
        }
    }
    for (size_t i = 0; code == VMB_OK && i < ld->tree->n; i++) {
        if (ld->tree->resources[i]->from_definition) {
            code = add_known_group(ld->tree, ld->tree->resources[i]->group, err);
        }
    }
    for (size_t i = 0; code == VMB_OK && i < ld->n; i++) {
        code = resolve_one(ld, &ld->pending[i], err);
    }
    return code;
}

vmb_code vmbi_dir_load(const char *path, vmbi_dir_tree *out, vmb_error **err)
{
    vmbi_dir_tree tree;
    vmbi_dir_loader ld;
    size_t count = 0;
    const vmbi_dir_kind *kinds = vmbi_dir_kinds(&count);
    vmb_code code = VMB_OK;
    memset(&tree, 0, sizeof tree);
    memset(&ld, 0, sizeof ld);
    ld.tree = &tree;
    for (size_t i = 0; code == VMB_OK && i < count; i++) {
        vmbi_dir_resource *r = NULL;
        if (kinds[i].native) {
            code = vmbi_dir_tree_add(&tree, kinds[i].group, kinds[i].version, kinds[i].plural, NULL,
                                     kinds[i].kind, kinds[i].short_names, kinds[i].namespaced, &r,
                                     err);
        }
    }
    code = code == VMB_OK ? vmbi_dir_walk(&ld, path, err) : code;
    code = code == VMB_OK ? vmbi_dir_resolve(&ld, err) : code;
    code = code == VMB_OK ? vmbi_dir_tree_seal(&tree, err) : code;
    vmbi_dir_loader_free(&ld);
    if (code != VMB_OK) {
        vmbi_dir_tree_free(&tree);
        return code;
    }
    *out = tree;
    return VMB_OK;
}
