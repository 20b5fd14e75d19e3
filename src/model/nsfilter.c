/* SPDX-License-Identifier: Apache-2.0 */
#include "model/nsfilter.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "model/labelname.h"

static bool has_wildcard(const char *s)
{
    return strpbrk(s, "*?[") != NULL;
}

static bool any_wildcard(const vmbi_strs *l)
{
    for (size_t i = 0; l != NULL && i < l->n; i++) {
        if (has_wildcard(l->v[i])) {
            return true;
        }
    }
    return false;
}

static bool includes_all(const vmbi_strs *includes)
{
    return includes == NULL || includes->n == 0 || vmbi_strs_has(includes, "*");
}

/* Replaces wildcards by the namespaces that they match; plain entries pass through even where no
 * such namespace exists. */
static vmb_code expand(const vmbi_strs *from, const vmbi_strs *existing, vmbi_strs *out,
                       vmb_error **err)
{
    vmb_code code = VMB_OK;

    for (size_t i = 0; code == VMB_OK && from != NULL && i < from->n; i++) {
        vmbi_glob *g = NULL;

        if (!has_wildcard(from->v[i])) {
            code = vmbi_strs_add(out, from->v[i], err);
            continue;
        }
        code = vmbi_glob_new(from->v[i], &g, err);
        if (code != VMB_OK) {
            return vmbi_wrap(err, code, "namespaces");
        }
        for (size_t k = 0; code == VMB_OK && k < existing->n; k++) {
            if (vmbi_glob_matches(g, existing->v[k])) {
                code = vmbi_strs_add(out, existing->v[k], err);
            }
        }
        vmbi_glob_free(g);
    }
    return code;
}

static bool lists_all(const vmbi_globset *names, const vmbi_globset *existing)
{
    for (size_t i = 0; i < existing->items.n; i++) {
        if (!vmbi_globset_has(names, existing->items.v[i])) {
            return false;
        }
    }
    return existing->items.n > 0 && names->items.n == existing->items.n;
}

static vmb_code fill_lists(vmbi_nsfilter *f, const vmbi_globset *existing, vmb_error **err)
{
    const vmbi_strs *names = &f->names.includes.items;
    vmb_code code = VMB_OK;

    for (size_t i = 0; code == VMB_OK && i < existing->items.n; i++) {
        if (vmbi_nsfilter_wants(f, existing->items.v[i])) {
            code = vmbi_strs_add(&f->listed, existing->items.v[i], err);
        }
    }
    for (size_t i = 0; code == VMB_OK && !f->all_included && i < names->n; i++) {
        const char *ns = names->v[i];

        if (ns[0] != '\0' && !vmbi_globset_has(existing, ns) && vmbi_nsfilter_wants(f, ns)) {
            code = vmbi_strs_add(&f->missing, ns, err);
        }
    }
    return code;
}

static vmb_code fill(vmbi_nsfilter *f, const vmbi_strs *includes, const vmbi_strs *excludes,
                     const vmbi_strs *existing, vmb_error **err)
{
    vmbi_strs in = {0};
    vmbi_strs ex = {0};
    vmbi_globset known = {0};
    bool expands = !includes_all(includes) && (any_wildcard(includes) || any_wildcard(excludes));
    vmb_code code = VMB_OK;

    f->all_included = includes_all(includes);
    if (!expands) {
        code = vmbi_incexc_init(&f->names, includes, excludes, err);
    } else {
        code = expand(includes, existing, &in, err);
        if (code == VMB_OK) {
            code = expand(excludes, existing, &ex, err);
        }
        f->matched_nothing = in.n == 0;
        if (code == VMB_OK) {
            code = vmbi_incexc_init(&f->names, &in, &ex, err);
        }
    }
    if (code == VMB_OK) {
        code = vmbi_globset_init(&known, existing, err);
    }
    if (code == VMB_OK) {
        f->everything = !f->matched_nothing && f->names.excludes.items.n == 0 &&
                        (f->all_included || lists_all(&f->names.includes, &known));
        code = fill_lists(f, &known, err);
    }
    vmbi_strs_free(&in);
    vmbi_strs_free(&ex);
    vmbi_globset_free(&known);
    return code;
}

vmb_code vmbi_nsfilter_init(vmbi_nsfilter *f, const vmbi_strs *includes, const vmbi_strs *excludes,
                            const vmbi_strs *existing, vmb_error **err)
{
    static const vmbi_strs none = {0};
    vmbi_nsfilter made = {0};
    vmb_code code = fill(&made, includes, excludes, existing != NULL ? existing : &none, err);

    if (code != VMB_OK) {
        vmbi_nsfilter_free(&made);
        return code;
    }
    *f = made;
    return VMB_OK;
}

void vmbi_nsfilter_free(vmbi_nsfilter *f)
{
    vmbi_incexc_free(&f->names);
    vmbi_strs_free(&f->listed);
    vmbi_strs_free(&f->missing);
}

bool vmbi_nsfilter_wants(const vmbi_nsfilter *f, const char *ns)
{
    return !f->matched_nothing && vmbi_incexc_wants(&f->names, ns);
}

static bool brackets_ok(const char *s, const char **why)
{
    for (const char *p = s; *p != '\0'; p++) {
        if (*p == ']') {
            *why = "']' without '['";
            return false;
        }
        if (*p != '[') {
            continue;
        }
        const char *close = strchr(p, ']');
        if (close == NULL) {
            *why = "'[' without ']'";
            return false;
        }
        if (close == p + 1) {
            *why = "empty '[]'";
            return false;
        }
        p = close;
    }
    return true;
}

/* What is left of a pattern must look like a namespace: each wildcard byte stands for a letter. */
static bool name_ok(const char *s, const char **why)
{
    char plain[64];
    size_t len = strlen(s);

    if (len >= sizeof(plain)) {
        *why = "a namespace has at most 63 characters";
        return false;
    }
    for (size_t i = 0; i <= len; i++) {
        plain[i] = s[i];
        if (s[i] != '\0' && strchr("*?[]", s[i]) != NULL) {
            plain[i] = 'x';
        }
    }
    if (!vmbi_dns_label_ok(plain, len)) {
        *why = "a namespace holds lower-case letters, digits and '-', and starts and ends with a "
               "letter or digit";
        return false;
    }
    return true;
}

bool vmbi_nsfilter_entry_ok(const char *entry, const char **why)
{
    const char *reason = NULL;
    bool ok = true;

    if (entry[0] == '\0') {
        return true; /* Velero's "no namespace" */
    }
    if (strpbrk(entry, "|()!{},") != NULL) {
        reason = "patterns may use '*', '?' and '[…]' only, none of | ( ) ! { } ,";
        ok = false;
    } else if (strstr(entry, "**") != NULL) {
        reason = "'**' is not allowed, one '*' is enough";
        ok = false;
    } else {
        ok = brackets_ok(entry, &reason) && name_ok(entry, &reason);
    }
    if (!ok && why != NULL) {
        *why = reason;
    }
    return ok;
}
