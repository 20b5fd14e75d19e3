/* SPDX-License-Identifier: Apache-2.0 */
#include "model/incexc.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"

void vmbi_globset_free(vmbi_globset *s)
{
    for (size_t i = 0; s->globs != NULL && i < s->items.n; i++) {
        vmbi_glob_free(s->globs[i]);
    }
    vmbi_free(s->globs);
    vmbi_free(s->patterns);
    vmbi_strs_free(&s->items);
    *s = (vmbi_globset){0};
}

static void sort_unique(vmbi_strs *l)
{
    size_t kept = 0;

    vmbi_strs_sort(l);
    for (size_t i = 0; i < l->n; i++) {
        if (kept > 0 && strcmp(l->v[kept - 1], l->v[i]) == 0) {
            vmbi_free(l->v[i]);
        } else {
            l->v[kept++] = l->v[i];
        }
    }
    l->n = kept;
}

static vmb_code compile_all(vmbi_globset *s, vmb_error **err)
{
    for (s->first_bad = 0; s->first_bad < s->items.n; s->first_bad++) {
        size_t i = s->first_bad;

        if (!vmbi_glob_is_pattern(s->items.v[i])) {
            continue;
        }
        vmb_code code = vmbi_glob_new(s->items.v[i], &s->globs[i], NULL);
        if (code == VMB_E_NOMEM) {
            return vmbi_fail_nomem(err);
        }
        if (code != VMB_OK) {
            return VMB_OK; /* it ends every search */
        }
        s->patterns[s->n_patterns++] = i;
    }
    return VMB_OK;
}

static vmb_code fill(vmbi_globset *s, const vmbi_strs *items, vmb_error **err)
{
    for (size_t i = 0; i < items->n; i++) {
        vmb_code code = vmbi_strs_add(&s->items, items->v[i], err);

        if (code != VMB_OK) {
            return code;
        }
    }
    sort_unique(&s->items);
    s->globs = vmbi_zalloc(s->items.n * sizeof(vmbi_glob *));
    s->patterns = vmbi_alloc_array(s->items.n, sizeof(*s->patterns));
    if (s->globs == NULL || s->patterns == NULL) {
        return vmbi_fail_nomem(err);
    }
    return compile_all(s, err);
}

vmb_code vmbi_globset_init(vmbi_globset *s, const vmbi_strs *items, vmb_error **err)
{
    vmbi_globset made = {0};
    vmb_code code;

    if (items == NULL || items->n == 0) {
        *s = made;
        return VMB_OK;
    }
    code = fill(&made, items, err);
    if (code != VMB_OK) {
        vmbi_globset_free(&made);
        return code;
    }
    *s = made;
    return VMB_OK;
}

/* Place of an item, by halving; items.n when absent. Lists of thousands of namespaces are usual. */
static size_t find_item(const vmbi_globset *s, const char *item)
{
    size_t low = 0;
    size_t high = s->items.n;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int order = strcmp(s->items.v[mid], item);

        if (order == 0) {
            return mid;
        }
        if (order < 0) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return s->items.n;
}

bool vmbi_globset_matches(const vmbi_globset *s, const char *text)
{
    size_t at = find_item(s, text);

    if (at < s->first_bad && s->globs[at] == NULL) {
        return true;
    }
    for (size_t i = 0; i < s->n_patterns; i++) {
        if (vmbi_glob_matches(s->globs[s->patterns[i]], text)) {
            return true;
        }
    }
    return false;
}

bool vmbi_globset_has(const vmbi_globset *s, const char *item)
{
    return find_item(s, item) < s->items.n;
}

vmb_code vmbi_incexc_init(vmbi_incexc *ie, const vmbi_strs *includes, const vmbi_strs *excludes,
                          vmb_error **err)
{
    vmbi_incexc made = {0};
    vmb_code code = vmbi_globset_init(&made.includes, includes, err);

    if (code == VMB_OK) {
        code = vmbi_globset_init(&made.excludes, excludes, err);
    }
    if (code != VMB_OK) {
        vmbi_incexc_free(&made);
        return code;
    }
    *ie = made;
    return VMB_OK;
}

void vmbi_incexc_free(vmbi_incexc *ie)
{
    vmbi_globset_free(&ie->includes);
    vmbi_globset_free(&ie->excludes);
}

bool vmbi_incexc_wants(const vmbi_incexc *ie, const char *text)
{
    if (vmbi_globset_matches(&ie->excludes, text)) {
        return false;
    }
    return ie->includes.items.n == 0 || vmbi_globset_has(&ie->includes, "*") ||
           vmbi_globset_matches(&ie->includes, text);
}

bool vmbi_incexc_is_everything(const vmbi_incexc *ie)
{
    const vmbi_strs *in = &ie->includes.items;

    return ie->excludes.items.n == 0 && (in->n == 0 || (in->n == 1 && strcmp(in->v[0], "*") == 0));
}
