/* SPDX-License-Identifier: Apache-2.0 */
/* Hooks of a Backup's spec: compiling them, and choosing those of a pod. */
#include "model/hooks.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "codec/duration.h"
#include "codec/jscan.h"
#include "model/hooks_impl.h"
#include "model/incexc.h"
#include "model/selector.h"

/* One hook as the spec writes it. */
typedef struct exec_hook {
    char *container;
    vmbi_strs argv;
    vmbi_on_error on_error;
    int64_t timeout_ns; /* 0: the default; -1: no limit */
} exec_hook;

typedef struct exec_list {
    exec_hook *v;
    size_t n;
} exec_list;

/* One entry of hooks.resources[]. */
typedef struct hook_entry {
    char *name;
    vmbi_incexc namespaces;
    vmbi_incexc resources;
    vmb_selector *selector; /* NULL: every pod */
    exec_list lists[2];     /* by phase */
} hook_entry;

struct vmbi_hooks {
    hook_entry *entries;
    size_t n;
};

/* ---- life ---------------------------------------------------------------------------------- */

static void exec_list_done(exec_list *l)
{
    for (size_t i = 0; i < l->n; i++) {
        vmbi_free(l->v[i].container);
        vmbi_strs_free(&l->v[i].argv);
    }
    vmbi_free(l->v);
}

static void entry_done(hook_entry *e)
{
    vmbi_free(e->name);
    vmbi_incexc_free(&e->namespaces);
    vmbi_incexc_free(&e->resources);
    vmbi_selector_free(e->selector);
    exec_list_done(&e->lists[VMBI_HOOK_PRE]);
    exec_list_done(&e->lists[VMBI_HOOK_POST]);
}

void vmbi_hooks_free(vmbi_hooks *h)
{
    if (h == NULL) {
        return;
    }
    for (size_t i = 0; i < h->n; i++) {
        entry_done(&h->entries[i]);
    }
    vmbi_free(h->entries);
    vmbi_free(h);
}

/* ---- compiling ----------------------------------------------------------------------------- */

static vmb_code read_list(const vmbi_json *from, const char *field, const char *where,
                          vmbi_strs *out, vmb_error **err)
{
    const vmbi_json *list = vmbi_json_get(from, field);

    if (!vmbi_json_is_null(list) && !vmbi_json_is_array(list)) {
        return vmbi_fail(err, VMB_E_INVALID, "%s.%s: must be a list of strings", where, field);
    }
    for (size_t i = 0; i < vmbi_json_len(list); i++) {
        const char *s = vmbi_json_str(vmbi_json_at(list, i));
        vmb_code code = s == NULL ? vmbi_fail(err, VMB_E_INVALID, "%s.%s[%zu]: must be a string",
                                              where, field, i)
                                  : vmbi_strs_add(out, s, err);
        if (code != VMB_OK) {
            return code;
        }
    }
    return VMB_OK;
}

static vmb_code read_timeout(const vmbi_json *exec, const char *where, int64_t *out,
                             vmb_error **err)
{
    const vmbi_json *v = vmbi_json_get(exec, "timeout");
    const char *text = vmbi_json_str(v);
    int64_t ns = 0;

    if (vmbi_json_is_null(v)) {
        *out = 0;
        return VMB_OK;
    }
    if (text == NULL || !vmbi_duration_parse(text, &ns)) {
        return vmbi_fail(err, VMB_E_INVALID,
                         "%s.timeout: \"%.40s\" is no duration such as 30s or 2m", where,
                         text != NULL ? text : vmbi_json_type_name(v));
    }
    *out = ns < 0 ? -1 : ns;
    return VMB_OK;
}

static vmb_code read_on_error(const vmbi_json *exec, const char *where, vmbi_on_error *out,
                              vmb_error **err)
{
    const vmbi_json *v = vmbi_json_get(exec, "onError");
    const char *text = vmbi_json_str(v);

    *out = VMBI_ON_ERROR_UNSET;
    if (vmbi_json_is_null(v) || (text != NULL && text[0] == '\0')) {
        return VMB_OK;
    }
    if (text != NULL && strcmp(text, "Continue") == 0) {
        *out = VMBI_ON_ERROR_CONTINUE;
        return VMB_OK;
    }
    if (text != NULL && strcmp(text, "Fail") == 0) {
        *out = VMBI_ON_ERROR_FAIL;
        return VMB_OK;
    }
    return vmbi_fail(err, VMB_E_INVALID, "%s.onError: must be Continue or Fail, not \"%.40s\"",
                     where, text != NULL ? text : vmbi_json_type_name(v));
}

static vmb_code exec_init(exec_hook *x, const vmbi_json *hook, const char *where, vmb_error **err)
{
    const vmbi_json *exec = vmbi_json_get(hook, "exec");
    const char *container = vmbi_json_get_str(exec, "container");
    vmb_code code;

    if (!vmbi_json_is_object(exec)) {
        return vmbi_fail(err, VMB_E_INVALID, "%s: a hook needs \"exec\"", where);
    }
    x->container = vmbi_strdup(container != NULL ? container : "");
    if (x->container == NULL) {
        return vmbi_fail_nomem(err);
    }
    code = read_list(exec, "command", where, &x->argv, err);
    if (code == VMB_OK && x->argv.n == 0) {
        code = vmbi_fail(err, VMB_E_INVALID, "%s.command: a hook needs a command", where);
    }
    if (code == VMB_OK) {
        code = read_on_error(exec, where, &x->on_error, err);
    }
    if (code == VMB_OK) {
        code = read_timeout(exec, where, &x->timeout_ns, err);
    }
    return code;
}

static vmb_code exec_list_init(exec_list *l, const vmbi_json *list, const char *where,
                               vmb_error **err)
{
    size_t n = vmbi_json_len(list);
    char path[160];

    if (!vmbi_json_is_null(list) && !vmbi_json_is_array(list)) {
        return vmbi_fail(err, VMB_E_INVALID, "%s: must be a list of hooks", where);
    }
    l->v = vmbi_zalloc(n * sizeof(*l->v));
    if (l->v == NULL) {
        return vmbi_fail_nomem(err);
    }
    for (size_t i = 0; i < n; i++) {
        (void)snprintf(path, sizeof(path), "%.120s[%zu].exec", where, i);
        l->n = i + 1;
        vmb_code code = exec_init(&l->v[i], vmbi_json_at(list, i), path, err);
        if (code != VMB_OK) {
            return code;
        }
    }
    return VMB_OK;
}

static vmb_code init_pair(vmbi_incexc *ie, const vmbi_json *from, const char *in_field,
                          const char *ex_field, const vmbi_discovery *resolver, const char *where,
                          vmb_error **err)
{
    vmbi_strs in = {0};
    vmbi_strs ex = {0};
    vmbi_strs in_names = {0};
    vmbi_strs ex_names = {0};
    vmb_code code = read_list(from, in_field, where, &in, err);

    if (code == VMB_OK) {
        code = read_list(from, ex_field, where, &ex, err);
    }
    if (code == VMB_OK && resolver != NULL) {
        code = vmbi_discovery_resolve_list(resolver, &in, &in_names, err);
        if (code == VMB_OK) {
            code = vmbi_discovery_resolve_list(resolver, &ex, &ex_names, err);
        }
    }
    if (code == VMB_OK) {
        code = vmbi_incexc_init(ie, resolver != NULL ? &in_names : &in,
                                resolver != NULL ? &ex_names : &ex, err);
    }
    vmbi_strs_free(&in);
    vmbi_strs_free(&ex);
    vmbi_strs_free(&in_names);
    vmbi_strs_free(&ex_names);
    return code;
}

static vmb_code entry_init(hook_entry *e, const vmbi_json *doc, const vmbi_discovery *discovery,
                           const char *where, vmb_error **err)
{
    const char *name = vmbi_json_get_str(doc, "name");
    const vmbi_json *selector = vmbi_json_get(doc, "labelSelector");
    char path[120];
    vmb_code code;

    e->name = vmbi_strdup(name != NULL ? name : "");
    if (e->name == NULL) {
        return vmbi_fail_nomem(err);
    }
    code = init_pair(&e->namespaces, doc, "includedNamespaces", "excludedNamespaces", NULL, where,
                     err);
    if (code == VMB_OK) {
        code = init_pair(&e->resources, doc, "includedResources", "excludedResources", discovery,
                         where, err);
    }
    if (code == VMB_OK && !vmbi_json_is_null(selector)) {
        (void)snprintf(path, sizeof(path), "%.90s.labelSelector", where);
        code = vmbi_selector_from_tree(selector, path, &e->selector, err);
    }
    if (code == VMB_OK) {
        (void)snprintf(path, sizeof(path), "%.90s.pre", where);
        code = exec_list_init(&e->lists[VMBI_HOOK_PRE], vmbi_json_get(doc, "pre"), path, err);
    }
    if (code == VMB_OK) {
        (void)snprintf(path, sizeof(path), "%.90s.post", where);
        code = exec_list_init(&e->lists[VMBI_HOOK_POST], vmbi_json_get(doc, "post"), path, err);
    }
    return code;
}

vmb_code vmbi_hooks_compile(const vmbi_json *hooks, const vmbi_discovery *discovery,
                            vmbi_hooks **out, vmb_error **err)
{
    const vmbi_json *list = vmbi_json_get(hooks, "resources");
    size_t n = vmbi_json_len(list);
    vmbi_hooks *h = vmbi_zalloc(sizeof(*h));
    char where[64];
    vmb_code code = VMB_OK;

    if (h == NULL) {
        return vmbi_fail_nomem(err);
    }
    h->entries = vmbi_zalloc(n * sizeof(*h->entries));
    if (h->entries == NULL) {
        vmbi_hooks_free(h);
        return vmbi_fail_nomem(err);
    }
    if (!vmbi_json_is_null(list) && !vmbi_json_is_array(list)) {
        code = vmbi_fail(err, VMB_E_INVALID, "spec.hooks.resources: must be a list");
    }
    for (size_t i = 0; code == VMB_OK && i < n; i++) {
        (void)snprintf(where, sizeof(where), "spec.hooks.resources[%zu]", i);
        h->n = i + 1;
        code = entry_init(&h->entries[i], vmbi_json_at(list, i), discovery, where, err);
    }
    if (code != VMB_OK) {
        vmbi_hooks_free(h);
        return code;
    }
    *out = h;
    return VMB_OK;
}

/* ---- choosing ------------------------------------------------------------------------------ */

static void hook_done(vmbi_hook *h)
{
    vmbi_free(h->container);
    vmbi_free(h->target);
    vmbi_free(h->name);
    vmbi_strs_free(&h->argv);
}

void vmbi_hook_list_free(vmbi_hook_list *l)
{
    for (size_t i = 0; i < l->n; i++) {
        hook_done(&l->v[i]);
    }
    vmbi_free(l->v);
    vmbi_strs_free(&l->warnings);
    *l = (vmbi_hook_list){0};
}

static vmb_code list_push(vmbi_hook_list *l, vmbi_hook *h, vmb_error **err)
{
    if (l->n == l->cap) {
        size_t cap = l->cap == 0 ? 4 : l->cap * 2;
        vmbi_hook *v = vmbi_realloc_array(l->v, cap, sizeof(*v));

        if (v == NULL) {
            return vmbi_fail_nomem(err);
        }
        l->v = v;
        l->cap = cap;
    }
    l->v[l->n++] = *h;
    return VMB_OK;
}

static const char *find_container(const vmbi_json *list, const char *name, bool sidecars_only)
{
    for (size_t i = 0; i < vmbi_json_len(list); i++) {
        const vmbi_json *c = vmbi_json_at(list, i);
        const char *own = vmbi_json_get_str(c, "name");
        const char *policy = vmbi_json_get_str(c, "restartPolicy");

        if (sidecars_only && (policy == NULL || strcmp(policy, "Always") != 0)) {
            continue;
        }
        if (own != NULL && (name == NULL || strcmp(own, name) == 0)) {
            return own;
        }
    }
    return NULL;
}

const char *vmbi_hooks_container(const vmbi_json *pod, const char *name)
{
    const char *found = find_container(vmbi_json_path(pod, "spec.containers"), name, false);

    if (found == NULL && name != NULL) {
        found = find_container(vmbi_json_path(pod, "spec.initContainers"), name, true);
    }
    return found;
}

vmb_code vmbi_hooks_add(vmbi_hook_list *l, const vmbi_json *pod, const vmbi_hook_draft *draft,
                        int64_t default_timeout_ns, vmb_error **err)
{
    const char *wanted = draft->container[0] != '\0' ? draft->container : NULL;
    const char *target = vmbi_hooks_container(pod, wanted);
    vmbi_hook h = {.on_error = draft->on_error, .source = draft->source, .index = draft->index};
    vmb_code code = VMB_OK;

    h.timeout_ns = draft->timeout_ns == 0 ? default_timeout_ns : draft->timeout_ns;
    h.container = vmbi_strdup(draft->container);
    h.name = vmbi_strdup(draft->name);
    h.target = target != NULL ? vmbi_strdup(target) : NULL;
    if (h.container == NULL || h.name == NULL || (target != NULL && h.target == NULL)) {
        code = vmbi_fail_nomem(err);
    }
    for (size_t i = 0; code == VMB_OK && i < draft->argv->n; i++) {
        code = vmbi_strs_add(&h.argv, draft->argv->v[i], err);
    }
    if (code == VMB_OK) {
        code = list_push(l, &h, err);
    }
    if (code != VMB_OK) {
        hook_done(&h);
    }
    return code;
}

static bool entry_applies(const hook_entry *e, const vmbi_json *pod)
{
    const char *ns = vmbi_json_path_str(pod, "metadata.namespace");

    return vmbi_incexc_wants(&e->namespaces, ns != NULL ? ns : "") &&
           vmbi_incexc_wants(&e->resources, "pods") &&
           (e->selector == NULL ||
            vmbi_selector_matches_tree(e->selector, vmbi_json_path(pod, "metadata.labels")));
}

static vmb_code add_from_spec(const vmbi_hooks *h, const vmbi_json *pod, vmbi_hook_phase phase,
                              int64_t default_timeout_ns, vmbi_hook_list *l, vmb_error **err)
{
    for (size_t i = 0; h != NULL && i < h->n; i++) {
        const hook_entry *e = &h->entries[i];
        const exec_list *hooks = &e->lists[phase];

        if (hooks->n == 0 || !entry_applies(e, pod)) {
            continue;
        }
        for (size_t k = 0; k < hooks->n; k++) {
            vmbi_hook_draft draft = {.container = hooks->v[k].container,
                                     .argv = &hooks->v[k].argv,
                                     .on_error = hooks->v[k].on_error,
                                     .timeout_ns = hooks->v[k].timeout_ns,
                                     .source = VMBI_HOOK_SPEC,
                                     .name = e->name,
                                     .index = k};
            vmb_code code = vmbi_hooks_add(l, pod, &draft, default_timeout_ns, err);
            if (code != VMB_OK) {
                return code;
            }
        }
    }
    return VMB_OK;
}

static bool pod_finished(const vmbi_json *pod)
{
    const char *phase = vmbi_json_path_str(pod, "status.phase");

    return phase != NULL && (strcmp(phase, "Succeeded") == 0 || strcmp(phase, "Failed") == 0);
}

vmb_code vmbi_hooks_for_pod(const vmbi_hooks *h, const vmbi_json *pod, vmbi_hook_phase phase,
                            int64_t default_timeout_ns, vmbi_hook_list *out, vmb_error **err)
{
    vmbi_hook_list l = {.pod_finished = pod_finished(pod)};
    vmb_code code = vmbi_hooks_add_annotated(&l, pod, phase, default_timeout_ns, err);

    if (code == VMB_OK && l.n == 0) {
        code = add_from_spec(h, pod, phase, default_timeout_ns, &l, err);
    }
    if (code != VMB_OK) {
        vmbi_hook_list_free(&l);
        return code;
    }
    *out = l;
    return VMB_OK;
}

/* ---- raw bytes ----------------------------------------------------------------------------- */

static bool entries_may_apply(const vmbi_hooks *h, vmbi_hook_phase phase)
{
    for (size_t i = 0; h != NULL && i < h->n; i++) {
        if (h->entries[i].lists[phase].n > 0) {
            return true;
        }
    }
    return false;
}

vmb_code vmbi_hooks_for_pod_raw(const vmbi_hooks *h, const char *pod, size_t len,
                                vmbi_hook_phase phase, int64_t default_timeout_ns,
                                vmbi_hook_list *out, vmb_error **err)
{
    static const char key[] = "hook.backup.velero.io/command";
    vmbi_object_scan scan;
    vmbi_json *tree = NULL;
    vmb_code code;

    if (!vmbi_jscan_k8s_object(pod, len, &scan)) {
        return vmbi_fail(err, VMB_E_PARSE, "pod: malformed JSON");
    }
    bool annotated = scan.annotations.p != NULL &&
                     memmem(scan.annotations.p, scan.annotations.len, key, sizeof(key) - 1) != NULL;
    if (!annotated && !entries_may_apply(h, phase)) {
        *out = (vmbi_hook_list){0};
        return VMB_OK;
    }
    code = vmbi_json_parse(pod, len, "pod", &tree, err);
    if (code != VMB_OK) {
        return code;
    }
    code = vmbi_hooks_for_pod(h, tree, phase, default_timeout_ns, out, err);
    vmbi_json_free(tree);
    return code;
}
