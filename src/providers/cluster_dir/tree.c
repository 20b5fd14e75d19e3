/* SPDX-License-Identifier: Apache-2.0 */
#include "providers/cluster_dir/tree.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "providers/cluster_dir/kinds.h"

void vmbi_dir_item_free(vmbi_dir_item *item)
{
    if (item == NULL) {
        return;
    }
    vmbi_free(item->key);
    vmbi_free(item->ns);
    vmbi_free(item->version);
    vmbi_free(item->json);
    vmbi_free(item);
}

static void resource_free(vmbi_dir_resource *r)
{
    if (r == NULL) {
        return;
    }
    for (size_t i = 0; i < r->n; i++) {
        vmbi_dir_item_free(r->items[i]);
    }
    vmbi_free(r->items);
    vmbi_map_free(&r->by_key);
    vmbi_strs_free(&r->short_names);
    vmbi_free(r->group);
    vmbi_free(r->version);
    vmbi_free(r->plural);
    vmbi_free(r->singular);
    vmbi_free(r->kind);
    vmbi_free(r);
}

void vmbi_dir_tree_free(vmbi_dir_tree *t)
{
    for (size_t i = 0; i < t->n; i++) {
        resource_free(t->resources[i]);
    }
    vmbi_free(t->resources);
    vmbi_strs_free(&t->files);
    vmbi_strs_free(&t->warnings);
    memset(t, 0, sizeof *t);
}

vmbi_dir_resource *vmbi_dir_tree_find(const vmbi_dir_tree *t, const char *group, const char *plural)
{
    for (size_t i = 0; i < t->n; i++) {
        if (vmbi_streq(t->resources[i]->plural, plural) &&
            vmbi_streq(t->resources[i]->group, group)) {
            return t->resources[i];
        }
    }
    return NULL;
}

vmbi_dir_resource *vmbi_dir_tree_find_kind(const vmbi_dir_tree *t, const char *group,
                                           const char *kind)
{
    for (size_t i = 0; i < t->n; i++) {
        if (vmbi_streq(t->resources[i]->kind, kind) && vmbi_streq(t->resources[i]->group, group)) {
            return t->resources[i];
        }
    }
    return NULL;
}

static void lower_in_place(char *s)
{
    for (; s != NULL && *s != '\0'; s++) {
        *s = vmbi_lower(*s);
    }
}

static vmb_code resource_new(const char *group, const char *version, const char *plural,
                             const char *singular, const char *kind, const char *short_names,
                             vmbi_dir_resource **out, vmb_error **err)
{
    vmbi_dir_resource *r = vmbi_zalloc(sizeof *r);
    if (r == NULL) {
        return vmbi_fail_nomem(err);
    }
    vmb_code code = VMB_OK;
    r->group = vmbi_strdup(group);
    r->version = vmbi_strdup(version);
    r->plural = vmbi_strdup(plural);
    r->singular = vmbi_strdup(singular != NULL ? singular : kind);
    r->kind = vmbi_strdup(kind);
    lower_in_place(r->singular);
    if (r->group == NULL || r->version == NULL || r->plural == NULL || r->singular == NULL ||
        r->kind == NULL) {
        code = vmbi_fail_nomem(err);
    } else if (short_names[0] != '\0') {
        code = vmbi_strs_split(&r->short_names, short_names, ',', err);
    }
    if (code != VMB_OK) {
        resource_free(r);
        return code;
    }
    *out = r;
    return VMB_OK;
}

vmb_code vmbi_dir_tree_add(vmbi_dir_tree *t, const char *group, const char *version,
                           const char *plural, const char *singular, const char *kind,
                           const char *short_names, bool namespaced, vmbi_dir_resource **out,
                           vmb_error **err)
{
    if (t->n == t->cap) {
        size_t cap = t->cap == 0 ? 128 : t->cap * 2;
        vmbi_dir_resource **grown = vmbi_realloc_array(t->resources, cap, sizeof *grown);
        if (grown == NULL) {
            return vmbi_fail_nomem(err);
        }
        t->resources = grown;
        t->cap = cap;
    }
    vmbi_dir_resource *r = NULL;
    vmb_code code = resource_new(group, version, plural, singular, kind, short_names, &r, err);
    if (code != VMB_OK || r == NULL) {
        return code;
    }
    r->namespaced = namespaced;
    t->resources[t->n++] = r;
    *out = r;
    return VMB_OK;
}

/* Best served version of a definition; v1beta1 definitions may have spec.version alone. */
static const char *definition_version(const vmbi_json *crd)
{
    const char *best = vmbi_json_path_str(crd, "spec.version");
    const vmbi_json *versions = vmbi_json_path(crd, "spec.versions");
    for (size_t i = 0; i < vmbi_json_len(versions); i++) {
        const vmbi_json *v = vmbi_json_at(versions, i);
        const char *name = vmbi_json_get_str(v, "name");
        if (name != NULL && vmbi_json_bool(vmbi_json_get(v, "served"), true) &&
            (best == NULL || vmbi_dir_version_compare(name, best) < 0)) {
            best = name;
        }
    }
    return best;
}

vmb_code vmbi_dir_tree_add_definition(vmbi_dir_tree *t, const vmbi_json *crd, vmb_error **err)
{
    const char *group = vmbi_json_path_str(crd, "spec.group");
    const char *plural = vmbi_json_path_str(crd, "spec.names.plural");
    const char *kind = vmbi_json_path_str(crd, "spec.names.kind");
    const char *version = definition_version(crd);
    if (group == NULL || plural == NULL || kind == NULL || version == NULL) {
        return vmbi_fail(err, VMB_E_INVALID,
                         "CustomResourceDefinition: spec.group, names.plural, names.kind and a "
                         "served version are required");
    }
    if (vmbi_dir_tree_find(t, group, plural) != NULL) {
        return VMB_OK; /* a second copy is reported as a duplicate object */
    }
    bool namespaced = vmbi_streq(vmbi_json_path_str(crd, "spec.scope"), "Namespaced");
    vmbi_dir_resource *r = NULL;
    vmb_code code =
        vmbi_dir_tree_add(t, group, version, plural, vmbi_json_path_str(crd, "spec.names.singular"),
                          kind, "", namespaced, &r, err);
    const vmbi_json *shorts = vmbi_json_path(crd, "spec.names.shortNames");
    for (size_t i = 0; code == VMB_OK && i < vmbi_json_len(shorts); i++) {
        const char *s = vmbi_json_str(vmbi_json_at(shorts, i));
        code = s != NULL ? vmbi_strs_add(&r->short_names, s, err) : VMB_OK;
    }
    if (code == VMB_OK) {
        r->from_definition = true;
    }
    return code;
}

vmb_code vmbi_dir_resource_take(vmbi_dir_resource *r, vmbi_dir_item *item, vmb_error **err)
{
    vmb_code code = VMB_OK;
    const vmbi_dir_item *other = vmbi_map_get(&r->by_key, item->key);
    if (other != NULL) {
        code = vmbi_fail(err, VMB_E_EXISTS, "%s %s is defined twice: %s line %d and %s line %d",
                         r->kind, item->key, other->file, other->line, item->file, item->line);
        goto out;
    }
    if (r->n == r->cap) {
        size_t cap = r->cap == 0 ? 8 : r->cap * 2;
        vmbi_dir_item **grown = vmbi_realloc_array(r->items, cap, sizeof *grown);
        if (grown == NULL) {
            code = vmbi_fail_nomem(err);
            goto out;
        }
        r->items = grown;
        r->cap = cap;
    }
    code = vmbi_map_set(&r->by_key, item->key, item, err);
    if (code == VMB_OK) {
        r->items[r->n++] = item;
        return VMB_OK;
    }
out:
    vmbi_dir_item_free(item);
    return code;
}

static int item_compare(const void *a, const void *b)
{
    const vmbi_dir_item *const *x = a;
    const vmbi_dir_item *const *y = b;
    return strcmp((*x)->key, (*y)->key);
}

/* A folder may hold objects of another version than the one served. Nothing converts them here, so
 * they are handed out as they are; when all agree, that version is served. */
static vmb_code settle_version(vmbi_dir_tree *t, vmbi_dir_resource *r, vmb_error **err)
{
    size_t foreign = 0;
    const char *first = NULL;
    bool uniform = true;
    for (size_t i = 0; i < r->n; i++) {
        if (!vmbi_streq(r->items[i]->version, r->version)) {
            foreign++;
        }
        if (first == NULL) {
            first = r->items[i]->version;
        }
        uniform = uniform && vmbi_streq(first, r->items[i]->version);
    }
    if (foreign == 0) {
        return VMB_OK;
    }
    if (uniform && !r->from_definition) {
        char *version = vmbi_strdup(first);
        if (version == NULL) {
            return vmbi_fail_nomem(err);
        }
        vmbi_free(r->version);
        r->version = version;
        return VMB_OK;
    }
    vmbi_buf note = VMBI_BUF_INIT(1024);
    vmbi_buf_addf(&note, "%zu %s of another version than %s are served without conversion", foreign,
                  r->plural, r->version);
    vmb_code code = vmbi_buf_check(&note, err, "note");
    if (code == VMB_OK) {
        code = vmbi_strs_add(&t->warnings, note.data, err);
    }
    vmbi_buf_free(&note);
    return code;
}

vmb_code vmbi_dir_tree_seal(vmbi_dir_tree *t, vmb_error **err)
{
    for (size_t i = 0; i < t->n; i++) {
        vmbi_dir_resource *r = t->resources[i];
        if (r->n > 1) {
            qsort(r->items, r->n, sizeof(vmbi_dir_item *), item_compare);
        }
        vmb_code code = settle_version(t, r, err);
        if (code != VMB_OK) {
            return code;
        }
    }
    return VMB_OK;
}

/* ---- discovery ------------------------------------------------------------------------------ */

static vmbi_json *resource_entry(const vmbi_dir_resource *r)
{
    static const char *const verbs[] = {"create", "delete", "get", "list"};
    vmbi_json *o = vmbi_json_object();
    vmbi_json *v = vmbi_json_array();
    bool ok = o != NULL && v != NULL;
    for (size_t i = 0; ok && i < VMBI_ARRAY_LEN(verbs); i++) {
        ok = vmbi_json_append_str(v, verbs[i]);
    }
    if (!ok) {
        vmbi_json_free(v);
        vmbi_json_free(o);
        return NULL;
    }
    ok &= vmbi_json_set(o, "verbs", v);
    ok &= vmbi_json_set_str(o, "name", r->plural);
    ok &= vmbi_json_set_str(o, "singularName", r->singular);
    ok &= vmbi_json_set_str(o, "kind", r->kind);
    ok &= vmbi_json_set_bool(o, "namespaced", r->namespaced);
    ok &= vmbi_json_set(o, "shortNames", vmbi_json_string_array(&r->short_names));
    if (!ok) {
        vmbi_json_free(o);
        return NULL;
    }
    return o;
}

/* The group's entry with this name in an array of groups or versions; made when missing. */
static vmbi_json *named_entry(vmbi_json *list, const char *key, const char *name,
                              const char *list_key)
{
    for (size_t i = 0; i < vmbi_json_len(list); i++) {
        vmbi_json *e = vmbi_json_at(list, i);
        if (vmbi_streq(vmbi_json_get_str(e, key), name)) {
            return e;
        }
    }
    vmbi_json *e = vmbi_json_object();
    bool ok = e != NULL && vmbi_json_set_str(e, key, name) &&
              vmbi_json_set(e, list_key, vmbi_json_array());
    if (!ok) {
        vmbi_json_free(e);
        return NULL;
    }
    if (!vmbi_json_append(list, e)) {
        return NULL;
    }
    return vmbi_json_at(list, vmbi_json_len(list) - 1);
}

/* Known groups prefer the version of the table when it is used, others their best one. */
static bool settle_preferred(vmbi_json *groups)
{
    bool ok = true;
    for (size_t i = 0; i < vmbi_json_len(groups); i++) {
        vmbi_json *g = vmbi_json_at(groups, i);
        const vmbi_json *versions = vmbi_json_get(g, "versions");
        const char *usual = vmbi_dir_group_preferred(vmbi_json_get_str(g, "group"));
        const char *best = NULL;
        for (size_t k = 0; k < vmbi_json_len(versions); k++) {
            const char *v = vmbi_json_get_str(vmbi_json_at(versions, k), "version");
            if (vmbi_streq(v, usual)) {
                best = v;
                break;
            }
            if (best == NULL || vmbi_dir_version_compare(v, best) < 0) {
                best = v;
            }
        }
        ok &= best != NULL && vmbi_json_set_str(g, "preferredVersion", best);
    }
    return ok;
}

static bool add_groups(const vmbi_dir_tree *t, vmbi_json *groups)
{
    for (size_t i = 0; i < t->n; i++) {
        const vmbi_dir_resource *r = t->resources[i];
        vmbi_json *g = named_entry(groups, "group", r->group, "versions");
        vmbi_json *v = g == NULL ? NULL
                                 : named_entry(vmbi_json_get(g, "versions"), "version", r->version,
                                               "resources");
        if (v == NULL || !vmbi_json_append(vmbi_json_get(v, "resources"), resource_entry(r))) {
            return false;
        }
    }
    return settle_preferred(groups);
}

vmbi_json *vmbi_dir_tree_discovery(const vmbi_dir_tree *t)
{
    vmbi_json *doc = vmbi_json_object();
    if (doc == NULL) {
        return NULL;
    }
    bool ok = vmbi_json_set(doc, "groups", vmbi_json_array()) &&
              vmbi_json_set(doc, "warnings", vmbi_json_string_array(&t->warnings));
    vmbi_json *version = vmbi_json_ensure_object(doc, "serverVersion");
    ok = ok && version != NULL && vmbi_json_set_str(version, "gitVersion", "v0.0.0-directory") &&
         vmbi_json_set_str(version, "major", "0") && vmbi_json_set_str(version, "minor", "0") &&
         add_groups(t, vmbi_json_get(doc, "groups"));
    if (!ok) {
        vmbi_json_free(doc);
        return NULL;
    }
    return doc;
}
