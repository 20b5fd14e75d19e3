/* SPDX-License-Identifier: Apache-2.0 */
/* Building a filter from a Backup's spec. */
#include "model/filter.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "model/filter_impl.h"

typedef struct builder {
    const vmbi_filter_input *in;
    vmbi_filter *f;
    vmbi_problems *problems; /* never NULL */
    vmb_error **err;
} builder;

/* ---- reading lists ------------------------------------------------------------------------- */

static vmb_code read_list(builder *b, const vmbi_json *from, const char *field, vmbi_strs *out)
{
    const vmbi_json *list = vmbi_json_get(from, field);

    if (!vmbi_json_is_null(list) && !vmbi_json_is_array(list)) {
        return vmbi_fail(b->err, VMB_E_INVALID, "spec.%s: must be a list of strings", field);
    }
    for (size_t i = 0; i < vmbi_json_len(list); i++) {
        const char *s = vmbi_json_str(vmbi_json_at(list, i));
        vmb_code code =
            s == NULL ? vmbi_fail(b->err, VMB_E_INVALID, "spec.%s[%zu]: must be a string", field, i)
                      : vmbi_strs_add(out, s, b->err);
        if (code != VMB_OK) {
            return code;
        }
    }
    return VMB_OK;
}

/* A plain name that is no resource matches nothing, which a user hardly means. */
static void warn_unknown(builder *b, const char *field, const char *name)
{
    const char *remedy = "check the name with: kubectl api-resources";

    if (vmbi_glob_is_pattern(name)) {
        return;
    }
    if (strchr(name, '/') != NULL) {
        remedy = "write it as resource.group, without a version: deployments.apps";
    }
    vmbi_problems_add(b->problems, false, field, remedy,
                      "\"%.100s\" is no resource that this cluster serves and that can be backed "
                      "up: it matches nothing",
                      name);
}

/* Which scope a list is about; names of the other scope are dropped from it without a word. */
typedef enum list_scope { SCOPE_ANY, SCOPE_NAMESPACED, SCOPE_CLUSTER } list_scope;

static vmb_code add_resolved(builder *b, const char *field, const char *name, list_scope scope,
                             vmbi_strs *out)
{
    const vmbi_resource *r;

    if (strcmp(name, "*") == 0) {
        return vmbi_strs_add(out, name, b->err);
    }
    r = vmbi_discovery_resolve(b->in->discovery, name);
    if (r == NULL) {
        warn_unknown(b, field, name);
        return vmbi_strs_add(out, name, b->err);
    }
    if (scope != SCOPE_ANY && r->namespaced != (scope == SCOPE_NAMESPACED)) {
        return VMB_OK;
    }
    return vmbi_strs_add(out, r->group_resource, b->err);
}

static vmb_code read_resources(builder *b, const char *field, list_scope scope, vmbi_strs *out)
{
    vmbi_strs written = {0};
    char path[80] = "spec.";
    size_t len = strlen(field);
    vmb_code code = read_list(b, b->in->spec, field, &written);

    memcpy(path + 5, field, len < sizeof(path) - 6 ? len : sizeof(path) - 6);
    for (size_t i = 0; code == VMB_OK && i < written.n; i++) {
        code = add_resolved(b, path, written.v[i], scope, out);
    }
    vmbi_strs_free(&written);
    return code;
}

/* ---- resources ----------------------------------------------------------------------------- */

static vmb_code build_old_style(builder *b)
{
    vmbi_strs in = {0};
    vmbi_strs ex = {0};
    vmb_code code = read_resources(b, "includedResources", SCOPE_ANY, &in);

    if (code == VMB_OK) {
        code = read_resources(b, "excludedResources", SCOPE_ANY, &ex);
    }
    if (code == VMB_OK) {
        code = vmbi_incexc_init(&b->f->resources, &in, &ex, b->err);
    }
    vmbi_strs_free(&in);
    vmbi_strs_free(&ex);
    return code;
}

/* Does any of the two lists match? The spec's lists have precedence over the policy's. */
static vmb_code matched_already(builder *b, const vmbi_strs *in, const vmbi_strs *ex,
                                const char *name, bool *yes)
{
    vmbi_incexc ie = {0};
    vmb_code code = vmbi_incexc_init(&ie, in, ex, b->err);

    if (code == VMB_OK) {
        *yes = vmbi_globset_matches(&ie.includes, name) || vmbi_globset_matches(&ie.excludes, name);
        vmbi_incexc_free(&ie);
    }
    return code;
}

static vmb_code add_policy(builder *b, const char *field, list_scope scope, vmbi_strs *in,
                           vmbi_strs *ex, vmbi_strs *to)
{
    vmbi_strs written = {0};
    vmbi_strs names = {0};
    vmb_code code = read_list(b, b->in->policy, field, &written);

    for (size_t i = 0; code == VMB_OK && i < written.n; i++) {
        code = add_resolved(b, "includeExcludePolicy", written.v[i], scope, &names);
    }
    for (size_t i = 0; code == VMB_OK && i < names.n; i++) {
        bool yes = false;

        code = matched_already(b, in, ex, names.v[i], &yes);
        if (code == VMB_OK && !yes) {
            code = vmbi_strs_add(to, names.v[i], b->err);
        }
    }
    vmbi_strs_free(&written);
    vmbi_strs_free(&names);
    return code;
}

static vmb_code build_scope(builder *b, const char *in_field, const char *ex_field,
                            list_scope scope, vmbi_incexc *out)
{
    vmbi_strs in = {0};
    vmbi_strs ex = {0};
    vmb_code code = read_resources(b, in_field, scope, &in);

    if (code == VMB_OK) {
        code = read_resources(b, ex_field, scope, &ex);
    }
    if (code == VMB_OK && b->in->policy != NULL) {
        code = add_policy(b, ex_field, scope, &in, &ex, &ex);
    }
    if (code == VMB_OK && b->in->policy != NULL) {
        code = add_policy(b, in_field, scope, &in, &ex, &in);
    }
    if (code == VMB_OK) {
        code = vmbi_incexc_init(out, &in, &ex, b->err);
    }
    vmbi_strs_free(&in);
    vmbi_strs_free(&ex);
    return code;
}

static vmb_code build_new_style(builder *b)
{
    vmbi_filter *f = b->f;
    vmb_code code =
        build_scope(b, "includedNamespaceScopedResources", "excludedNamespaceScopedResources",
                    SCOPE_NAMESPACED, &f->namespaced);

    if (code == VMB_OK) {
        code = build_scope(b, "includedClusterScopedResources", "excludedClusterScopedResources",
                           SCOPE_CLUSTER, &f->cluster);
    }
    f->full_backup = f->cluster.includes.items.n == 0 && f->cluster.excludes.items.n == 0 &&
                     f->ns.everything && vmbi_incexc_is_everything(&f->namespaced);
    return code;
}

static bool is_list(const vmbi_json *v)
{
    return vmbi_json_is_null(v) || vmbi_json_is_array(v);
}

static vmb_code build_resources(builder *b)
{
    const vmbi_json *spec = b->in->spec;
    const vmbi_json *cluster = vmbi_json_get(spec, "includeClusterResources");
    const vmbi_json *in = vmbi_json_get(spec, "includedResources");
    const vmbi_json *ex = vmbi_json_get(spec, "excludedResources");

    if (!is_list(in) || !is_list(ex)) {
        return vmbi_fail(b->err, VMB_E_INVALID, "spec.%s: must be a list of strings",
                         is_list(in) ? "excludedResources" : "includedResources");
    }

    if (!vmbi_json_is_null(cluster) && !vmbi_json_is_bool(cluster)) {
        return vmbi_fail(b->err, VMB_E_INVALID,
                         "spec.includeClusterResources: must be true or false");
    }
    if (vmbi_json_is_bool(cluster)) {
        b->f->cluster_scope = vmbi_json_bool(cluster, false) ? VMBI_CLUSTER_YES : VMBI_CLUSTER_NO;
    }
    b->f->old_style = vmbi_json_is_bool(cluster) || vmbi_json_len(in) > 0 || vmbi_json_len(ex) > 0;
    if (b->f->old_style && b->in->policy != NULL) {
        vmbi_problems_add(b->problems, true, "spec.resourcePolicy",
                          "use the included and excluded lists by scope instead",
                          "an includeExcludePolicy cannot be used together with "
                          "includedResources, excludedResources or includeClusterResources");
    }
    return b->f->old_style ? build_old_style(b) : build_new_style(b);
}

/* ---- namespaces ---------------------------------------------------------------------------- */

static vmb_code build_namespaces(builder *b)
{
    const vmbi_strs *labelled = b->in->excluded_namespaces;
    vmbi_strs in = {0};
    vmbi_strs ex = {0};
    vmb_code code = read_list(b, b->in->spec, "includedNamespaces", &in);

    if (code == VMB_OK) {
        code = read_list(b, b->in->spec, "excludedNamespaces", &ex);
    }
    for (size_t i = 0; code == VMB_OK && labelled != NULL && i < labelled->n; i++) {
        if (vmbi_strs_has(&in, labelled->v[i])) {
            vmbi_problems_add(b->problems, true, "spec.includedNamespaces",
                              "remove the label from the namespace, or the namespace from the list",
                              "namespace \"%.63s\" is labelled velero.io/exclude-from-backup=true "
                              "and cannot be included",
                              labelled->v[i]);
        }
        code = vmbi_strs_add(&ex, labelled->v[i], b->err);
    }
    if (code == VMB_OK) {
        code = vmbi_nsfilter_init(&b->f->ns, &in, &ex, b->in->namespaces, b->err);
    }
    if (code == VMB_OK && b->f->ns.matched_nothing) {
        vmbi_problems_add(b->problems, false, "spec.includedNamespaces", NULL,
                          "the patterns match no namespace: nothing in namespaces is backed up");
    }
    vmbi_strs_free(&in);
    vmbi_strs_free(&ex);
    return code;
}

/* ---- selectors ----------------------------------------------------------------------------- */

static vmb_code add_selector(builder *b, const vmbi_json *tree, const char *what, bool *everything)
{
    vmbi_filter *f = b->f;
    vmbi_buf text = VMBI_BUF_INIT(4 * VMBI_SELECTOR_MAX_TEXT);
    vmb_selector *sel = NULL;
    vmb_code code;

    if (vmbi_json_is_null(tree)) {
        return vmbi_fail(b->err, VMB_E_INVALID, "%s: must be a label selector, not null", what);
    }
    code = vmbi_selector_from_tree(tree, what, &sel, b->err);
    if (code != VMB_OK) {
        return code;
    }
    *everything = *everything || vmbi_selector_is_everything(sel);
    code = vmbi_selector_print(sel, &text, b->err);
    if (code == VMB_OK) {
        code = vmbi_buf_take(&text, &f->selector_texts[f->n_selectors], NULL, b->err, what);
    }
    if (code != VMB_OK) {
        vmbi_buf_free(&text);
        vmbi_selector_free(sel);
        return code;
    }
    f->selectors[f->n_selectors++] = sel;
    return VMB_OK;
}

static void drop_selectors(vmbi_filter *f)
{
    for (size_t i = 0; i < f->n_selectors; i++) {
        vmbi_selector_free(f->selectors[i]);
        vmbi_free(f->selector_texts[i]);
    }
    f->n_selectors = 0;
}

static vmb_code build_selectors(builder *b)
{
    const vmbi_json *one = vmbi_json_get(b->in->spec, "labelSelector");
    const vmbi_json *any = vmbi_json_get(b->in->spec, "orLabelSelectors");
    size_t room = vmbi_json_len(any) + 1;
    bool everything = false;
    vmb_code code = VMB_OK;

    if (!vmbi_json_is_null(any) && !vmbi_json_is_array(any)) {
        return vmbi_fail(b->err, VMB_E_INVALID, "spec.orLabelSelectors: must be a list");
    }
    b->f->selectors = vmbi_zalloc(room * sizeof(vmb_selector *));
    b->f->selector_texts = vmbi_zalloc(room * sizeof(char *));
    if (b->f->selectors == NULL || b->f->selector_texts == NULL) {
        return vmbi_fail_nomem(b->err);
    }
    if (!vmbi_json_is_null(one)) {
        code = add_selector(b, one, "spec.labelSelector", &everything);
    }
    for (size_t i = 0; code == VMB_OK && i + 1 < room; i++) {
        code = add_selector(b, vmbi_json_at(any, i), "spec.orLabelSelectors", &everything);
    }
    if (everything) {
        drop_selectors(b->f);
    }
    return code;
}

/* ---- ordered resources --------------------------------------------------------------------- */

static void strs_release(void *p)
{
    vmbi_strs_free(p);
    vmbi_free(p);
}

static vmb_code build_ordered(builder *b)
{
    const vmbi_json *map = vmbi_json_get(b->in->spec, "orderedResources");

    for (void *it = vmbi_json_iter(map); it != NULL; it = vmbi_json_iter_next(map, it)) {
        const char *text = vmbi_json_str(vmbi_json_iter_value(it));
        vmbi_strs *list;
        vmb_code code;

        if (text == NULL) {
            return vmbi_fail(b->err, VMB_E_INVALID,
                             "spec.orderedResources: values must be strings");
        }
        list = vmbi_zalloc(sizeof(*list));
        if (list == NULL) {
            return vmbi_fail_nomem(b->err);
        }
        code = vmbi_strs_split(list, text, ',', b->err);
        if (code == VMB_OK) {
            code = vmbi_map_set(&b->f->ordered, vmbi_json_iter_key(it), list, b->err);
        }
        if (code != VMB_OK) {
            strs_release(list);
            return code;
        }
    }
    return VMB_OK;
}

/* ---- whole --------------------------------------------------------------------------------- */

void vmbi_filter_free(vmbi_filter *f)
{
    if (f == NULL) {
        return;
    }
    if (f->selectors != NULL && f->selector_texts != NULL) {
        drop_selectors(f);
    }
    vmbi_free(f->selectors);
    vmbi_free(f->selector_texts);
    vmbi_nsfilter_free(&f->ns);
    vmbi_incexc_free(&f->resources);
    vmbi_incexc_free(&f->namespaced);
    vmbi_incexc_free(&f->cluster);
    vmbi_map_free(&f->ordered);
    vmbi_free(f);
}

static vmb_code build(builder *b)
{
    vmb_code code = build_namespaces(b);

    if (code == VMB_OK) {
        code = build_resources(b);
    }
    if (code == VMB_OK) {
        code = build_selectors(b);
    }
    if (code == VMB_OK) {
        code = build_ordered(b);
    }
    return code;
}

vmb_code vmbi_filter_new(const vmbi_filter_input *in, vmbi_filter **out, vmbi_problems *problems,
                         vmb_error **err)
{
    vmbi_problems own = {0};
    builder b = {.in = in, .problems = problems != NULL ? problems : &own, .err = err};
    size_t errors_before = b.problems->errors;
    vmb_code code;

    b.f = vmbi_zalloc(sizeof(*b.f));
    if (b.f == NULL) {
        return vmbi_fail_nomem(err);
    }
    b.f->discovery = in->discovery;
    b.f->ordered = (vmbi_map)VMBI_MAP_INIT(strs_release);
    code = build(&b);
    if (code == VMB_OK && b.problems->status != VMB_OK) {
        code = vmbi_fail_nomem(err);
    }
    if (code == VMB_OK && b.problems->errors > errors_before) {
        code = vmbi_problems_check(b.problems, "backup", err);
    }
    vmbi_problems_free(&own);
    if (code != VMB_OK) {
        vmbi_filter_free(b.f);
        return code;
    }
    *out = b.f;
    return VMB_OK;
}
