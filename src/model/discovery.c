/* SPDX-License-Identifier: Apache-2.0 */
#include "model/discovery.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/map.h"
#include "model/discovery_impl.h"

enum {
    RESOURCES_MAX = 100000,
    KEY_SIZE = 1024 /* "group/version/resource" in the indexes */
};

/* ---- building ------------------------------------------------------------------------------ */

static void resource_done(vmbi_resource *r)
{
    char **owned[] = {(char **)(uintptr_t)&r->group,      (char **)(uintptr_t)&r->version,
                      (char **)(uintptr_t)&r->name,       (char **)(uintptr_t)&r->singular,
                      (char **)(uintptr_t)&r->kind,       (char **)(uintptr_t)&r->group_resource,
                      (char **)(uintptr_t)&r->api_version};

    for (size_t i = 0; i < VMBI_ARRAY_LEN(owned); i++) {
        vmbi_free(*owned[i]);
    }
    vmbi_strs_free(&r->short_names);
}

void vmbi_discovery_free(vmbi_discovery *d)
{
    if (d == NULL) {
        return;
    }
    for (size_t i = 0; i < d->n; i++) {
        resource_done(&d->all[i]);
    }
    vmbi_free(d->all);
    vmbi_free(d->collected);
    vmbi_map_free(&d->by_resource);
    vmbi_map_free(&d->by_kind);
    vmbi_map_free(&d->by_gr);
    vmbi_strs_free(&d->warnings);
    vmbi_free(d->git_version);
    vmbi_free(d->major);
    vmbi_free(d->minor);
    vmbi_free(d);
}

static char *join(const char *a, char sep, const char *b)
{
    size_t la = strlen(a);
    size_t lb = strlen(b);
    char *s;

    if (la == 0) {
        return vmbi_strdup(b);
    }
    if (lb == 0) {
        return vmbi_strdup(a);
    }
    s = vmbi_alloc(la + lb + 2);
    if (s != NULL) {
        memcpy(s, a, la);
        s[la] = sep;
        memcpy(s + la + 1, b, lb + 1);
    }
    return s;
}

static char *lowered(const char *s)
{
    char *copy = vmbi_strdup(s);

    for (char *p = copy; p != NULL && *p != '\0'; p++) {
        *p = vmbi_lower(*p);
    }
    return copy;
}

static void read_verbs(vmbi_resource *r, const vmbi_json *verbs)
{
    static const char *const needed[] = {"list", "create", "get", "delete"};
    unsigned seen = 0;

    for (size_t i = 0; i < vmbi_json_len(verbs); i++) {
        const char *verb = vmbi_json_str(vmbi_json_at(verbs, i));

        for (size_t k = 0; verb != NULL && k < VMBI_ARRAY_LEN(needed); k++) {
            seen |= strcmp(verb, needed[k]) == 0 ? 1U << k : 0U;
        }
    }
    r->can_list = (seen & 1U) != 0;
    r->can_get = (seen & 4U) != 0;
    r->eligible = seen == 15U;
}

static vmb_code resource_init(vmbi_resource *r, const char *group, const char *version,
                              const vmbi_json *doc, vmb_error **err)
{
    const char *name = vmbi_json_get_str(doc, "name");
    const char *kind = vmbi_json_get_str(doc, "kind");
    const char *singular = vmbi_json_get_str(doc, "singularName");
    const vmbi_json *shorts = vmbi_json_get(doc, "shortNames");
    vmb_code code = VMB_OK;

    r->group = vmbi_strdup(group);
    r->version = vmbi_strdup(version);
    r->name = vmbi_strdup(name);
    r->kind = vmbi_strdup(kind != NULL ? kind : "");
    r->singular = lowered(singular != NULL && singular[0] != '\0' ? singular
                          : kind != NULL                          ? kind
                                                                  : "");
    r->group_resource = join(name, '.', group);
    r->api_version = join(group, '/', version);
    r->namespaced = vmbi_json_bool(vmbi_json_get(doc, "namespaced"), false);
    read_verbs(r, vmbi_json_get(doc, "verbs"));
    if (r->group == NULL || r->version == NULL || r->name == NULL || r->kind == NULL ||
        r->singular == NULL || r->group_resource == NULL || r->api_version == NULL) {
        return vmbi_fail_nomem(err);
    }
    for (size_t i = 0; code == VMB_OK && i < vmbi_json_len(shorts); i++) {
        const char *s = vmbi_json_str(vmbi_json_at(shorts, i));

        code = s != NULL ? vmbi_strs_add(&r->short_names, s, err) : VMB_OK;
    }
    return code;
}

static vmb_code add_resource(vmbi_discovery *d, const char *group, const char *version,
                             const vmbi_json *doc, vmb_error **err)
{
    vmbi_resource r = {0};
    const char *name = vmbi_json_get_str(doc, "name");
    vmb_code code;

    if (name == NULL || name[0] == '\0' || strchr(name, '/') != NULL) {
        return VMB_OK; /* subresources are no objects */
    }
    if (d->n == RESOURCES_MAX) {
        return vmbi_fail(err, VMB_E_LIMIT, "discovery: more than %d resources", RESOURCES_MAX);
    }
    if (d->n == d->cap) {
        size_t cap = d->cap == 0 ? 64 : d->cap * 2;
        vmbi_resource *all = vmbi_realloc_array(d->all, cap, sizeof(*all));

        if (all == NULL) {
            return vmbi_fail_nomem(err);
        }
        d->all = all;
        d->cap = cap;
    }
    code = resource_init(&r, group, version, doc, err);
    if (code != VMB_OK) {
        resource_done(&r);
        return code;
    }
    d->all[d->n++] = r;
    return VMB_OK;
}

static vmb_code add_group(vmbi_discovery *d, const vmbi_json *group, vmb_error **err)
{
    const char *name = vmbi_json_get_str(group, "group");
    const vmbi_json *versions = vmbi_json_get(group, "versions");

    for (size_t v = 0; v < vmbi_json_len(versions); v++) {
        const vmbi_json *version = vmbi_json_at(versions, v);
        const char *text = vmbi_json_get_str(version, "version");
        const vmbi_json *resources = vmbi_json_get(version, "resources");

        if (text == NULL) {
            return vmbi_fail(err, VMB_E_INVALID,
                             "discovery: group \"%.100s\" has a version "
                             "without a name",
                             name != NULL ? name : "");
        }
        for (size_t i = 0; i < vmbi_json_len(resources); i++) {
            vmb_code code =
                add_resource(d, name != NULL ? name : "", text, vmbi_json_at(resources, i), err);
            if (code != VMB_OK) {
                return code;
            }
        }
    }
    return VMB_OK;
}

/* ---- indexes ------------------------------------------------------------------------------- */

static bool make_key(char key[KEY_SIZE], const char *group, const char *version, const char *name)
{
    int n = snprintf(key, KEY_SIZE, "%s/%s/%s", group, version, name);

    return n > 0 && n < KEY_SIZE;
}

/* The first one wins: later entries of the same key are other spellings of the same thing. */
static vmb_code index_add(vmbi_map *map, const char *key, vmbi_resource *r, vmb_error **err)
{
    return vmbi_map_has(map, key) ? VMB_OK : vmbi_map_set(map, key, r, err);
}

/* Chooses the version of each resource that is collected: the group's preferred one where it
 * serves the resource, else the first that does. */
static vmb_code choose_version(vmbi_discovery *d, size_t i, const char *preferred, vmb_error **err)
{
    vmbi_resource *r = &d->all[i];
    vmbi_resource *chosen = vmbi_map_get(&d->by_gr, r->group_resource);

    if (chosen != NULL && strcmp(r->version, preferred) != 0) {
        return VMB_OK;
    }
    if (chosen != NULL) {
        chosen->preferred = false;
    }
    r->preferred = true;
    return vmbi_map_set(&d->by_gr, r->group_resource, r, err);
}

static vmb_code index_group(vmbi_discovery *d, size_t from, const char *preferred, vmb_error **err)
{
    vmb_code code = VMB_OK;

    for (size_t i = from; code == VMB_OK && i < d->n; i++) {
        code = choose_version(d, i, preferred, err);
    }
    return code;
}

static vmb_code index_names(vmbi_discovery *d, vmb_error **err)
{
    char key[KEY_SIZE];
    vmb_code code = VMB_OK;

    for (int pass = 0; pass < 2; pass++) {
        /* preferred ones first, so that a look-up without version finds them */
        for (size_t i = 0; code == VMB_OK && i < d->n; i++) {
            vmbi_resource *r = &d->all[i];

            if (r->preferred != (pass == 0)) {
                continue;
            }
            if (make_key(key, r->group, r->version, r->name)) {
                code = index_add(&d->by_resource, key, r, err);
            }
            if (code == VMB_OK && make_key(key, r->group, r->version, r->kind)) {
                code = index_add(&d->by_kind, key, r, err);
            }
            if (code == VMB_OK && make_key(key, r->group, "", r->kind)) {
                code = index_add(&d->by_kind, key, r, err);
            }
        }
    }
    return code;
}

/* Rank of a resource within the core group; the sort is stable. */
static int core_rank(const vmbi_resource *r)
{
    static const char *const first[] = {"pods", "persistentvolumeclaims", "persistentvolumes"};
    int rank = 0;

    while (rank < 3 && strcmp(first[rank], r->name) != 0) {
        rank++;
    }
    return rank;
}

static void append_ranked(vmbi_discovery *d, bool core, int rank, bool extensions)
{
    for (size_t i = 0; i < d->n; i++) {
        const vmbi_resource *r = &d->all[i];
        bool is_core = r->group[0] == '\0';

        if (!r->preferred || !r->eligible || (strcmp(r->group, "extensions") == 0) != extensions) {
            continue;
        }
        if (is_core != core || (core && core_rank(r) != rank)) {
            continue;
        }
        d->collected[d->n_collected++] = r;
    }
}

/* Order of collection. The server lists the core group first; should one not, its place is kept
 * simple: core resources always come first. */
static vmb_code order_collection(vmbi_discovery *d, vmb_error **err)
{
    d->collected = vmbi_alloc_array(d->n, sizeof(*d->collected));
    if (d->collected == NULL) {
        return vmbi_fail_nomem(err);
    }
    for (int rank = 0; rank <= 3; rank++) {
        append_ranked(d, true, rank, false);
    }
    append_ranked(d, false, 0, false);
    append_ranked(d, false, 0, true);
    return VMB_OK;
}

/* ---- the document -------------------------------------------------------------------------- */

static vmb_code copy_text(char **out, const vmbi_json *doc, const char *path, vmb_error **err)
{
    const char *s = vmbi_json_path_str(doc, path);

    *out = vmbi_strdup(s != NULL ? s : "");
    return *out == NULL ? vmbi_fail_nomem(err) : VMB_OK;
}

static vmb_code read_head(vmbi_discovery *d, const vmbi_json *doc, vmb_error **err)
{
    const vmbi_json *warnings = vmbi_json_get(doc, "warnings");
    vmb_code code = copy_text(&d->git_version, doc, "serverVersion.gitVersion", err);

    if (code == VMB_OK) {
        code = copy_text(&d->major, doc, "serverVersion.major", err);
    }
    if (code == VMB_OK) {
        code = copy_text(&d->minor, doc, "serverVersion.minor", err);
    }
    for (size_t i = 0; code == VMB_OK && i < vmbi_json_len(warnings); i++) {
        const char *s = vmbi_json_str(vmbi_json_at(warnings, i));

        code = s != NULL ? vmbi_strs_add(&d->warnings, s, err) : VMB_OK;
    }
    return code;
}

/* The array of resources may move while it grows, so the indexes are built after it. */
static vmb_code read_groups(vmbi_discovery *d, const vmbi_json *groups, vmb_error **err)
{
    size_t *starts = vmbi_alloc_array(vmbi_json_len(groups) + 1, sizeof(*starts));
    size_t total;
    vmb_code code = VMB_OK;

    if (starts == NULL) {
        return vmbi_fail_nomem(err);
    }
    for (size_t g = 0; code == VMB_OK && g < vmbi_json_len(groups); g++) {
        starts[g] = d->n;
        code = add_group(d, vmbi_json_at(groups, g), err);
    }
    total = d->n;
    for (size_t g = 0; code == VMB_OK && g < vmbi_json_len(groups); g++) {
        const char *preferred = vmbi_json_get_str(vmbi_json_at(groups, g), "preferredVersion");

        d->n = g + 1 < vmbi_json_len(groups) ? starts[g + 1] : total;
        code = index_group(d, starts[g], preferred != NULL ? preferred : "", err);
    }
    d->n = total;
    vmbi_free(starts);
    return code;
}

vmb_code vmbi_discovery_from_tree(const vmbi_json *doc, vmbi_discovery **out, vmb_error **err)
{
    vmbi_discovery *d;
    vmb_code code;

    if (!vmbi_json_is_array(vmbi_json_get(doc, "groups"))) {
        return vmbi_fail(err, VMB_E_INVALID, "discovery: the document has no list \"groups\"");
    }
    d = vmbi_zalloc(sizeof(*d));
    if (d == NULL) {
        return vmbi_fail_nomem(err);
    }
    code = read_head(d, doc, err);
    if (code == VMB_OK) {
        code = read_groups(d, vmbi_json_get(doc, "groups"), err);
    }
    if (code == VMB_OK) {
        code = index_names(d, err);
    }
    if (code == VMB_OK) {
        code = order_collection(d, err);
    }
    if (code != VMB_OK) {
        vmbi_discovery_free(d);
        return code;
    }
    *out = d;
    return VMB_OK;
}

vmb_code vmbi_discovery_parse(const char *json, size_t len, vmbi_discovery **out, vmb_error **err)
{
    vmbi_json *doc = NULL;
    vmb_code code = vmbi_json_parse(json, len, "discovery", &doc, err);

    if (code != VMB_OK) {
        return code;
    }
    code = vmbi_discovery_from_tree(doc, out, err);
    vmbi_json_free(doc);
    return code;
}

/* ---- reading ------------------------------------------------------------------------------- */

size_t vmbi_discovery_count(const vmbi_discovery *d)
{
    return d->n_collected;
}

const vmbi_resource *vmbi_discovery_at(const vmbi_discovery *d, size_t i)
{
    return i < d->n_collected ? d->collected[i] : NULL;
}

const vmbi_resource *vmbi_discovery_find_gr(const vmbi_discovery *d, const char *group_resource)
{
    return vmbi_map_get(&d->by_gr, group_resource);
}

const vmbi_resource *vmbi_discovery_find(const vmbi_discovery *d, const char *group,
                                         const char *version, const char *resource)
{
    char key[KEY_SIZE];

    if (version != NULL) {
        return make_key(key, group, version, resource) ? vmbi_map_get(&d->by_resource, key) : NULL;
    }
    int n = snprintf(key, sizeof(key), "%s%s%s", resource, group[0] != '\0' ? "." : "", group);
    return n > 0 && n < KEY_SIZE ? vmbi_discovery_find_gr(d, key) : NULL;
}

const vmbi_resource *vmbi_discovery_find_kind(const vmbi_discovery *d, const char *group,
                                              const char *version, const char *kind)
{
    char key[KEY_SIZE];

    return make_key(key, group, version != NULL ? version : "", kind)
               ? vmbi_map_get(&d->by_kind, key)
               : NULL;
}

const vmbi_resource *vmbi_discovery_find_object(const vmbi_discovery *d, const char *api_version,
                                                const char *kind)
{
    const char *slash = strchr(api_version, '/');
    char group[256];

    if (slash == NULL) {
        return vmbi_discovery_find_kind(d, "", api_version, kind);
    }
    if ((size_t)(slash - api_version) >= sizeof(group)) {
        return NULL;
    }
    memcpy(group, api_version, (size_t)(slash - api_version));
    group[slash - api_version] = '\0';
    return vmbi_discovery_find_kind(d, group, slash + 1, kind);
}

const vmbi_strs *vmbi_discovery_warnings(const vmbi_discovery *d)
{
    return &d->warnings;
}

const char *vmbi_discovery_git_version(const vmbi_discovery *d)
{
    return d->git_version;
}

const char *vmbi_discovery_major(const vmbi_discovery *d)
{
    return d->major;
}

const char *vmbi_discovery_minor(const vmbi_discovery *d)
{
    return d->minor;
}
