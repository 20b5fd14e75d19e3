/* SPDX-License-Identifier: Apache-2.0 */
#include "core/action.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"

vmb_code vmbi_action_result_set_item(vmb_action_result *r, const char *json, size_t len,
                                     vmb_error **err)
{
    char *copy = vmbi_strndup(json, len);
    if (copy == NULL) {
        return vmbi_fail_nomem(err);
    }
    vmbi_free(r->item);
    r->item = copy;
    r->item_len = len;
    return VMB_OK;
}

static void free_related(vmbi_related *rel)
{
    vmbi_free(rel->group);
    vmbi_free(rel->resource);
    vmbi_free(rel->ns);
    vmbi_free(rel->name);
}

vmb_code vmbi_action_result_add(vmb_action_result *r, const char *group, const char *resource,
                                const char *ns, const char *name, uint32_t flags, vmb_error **err)
{
    if (r->n_related >= VMBI_MAX_RELATED) {
        return vmbi_fail(err, VMB_E_LIMIT, "action: more than %d related objects of one object",
                         VMBI_MAX_RELATED);
    }
    if (r->n_related == r->cap_related) {
        size_t cap = r->cap_related == 0 ? 8 : r->cap_related * 2;
        vmbi_related *v = vmbi_realloc_array(r->related, cap, sizeof(*v));
        if (v == NULL) {
            return vmbi_fail_nomem(err);
        }
        r->related = v;
        r->cap_related = cap;
    }
    vmbi_related rel = {
        .group = vmbi_strdup(group),
        .resource = vmbi_strdup(resource),
        .ns = ns != NULL && ns[0] != '\0' ? vmbi_strdup(ns) : NULL,
        .name = vmbi_strdup(name),
        .flags = flags,
    };
    bool ns_missing = ns != NULL && ns[0] != '\0' && rel.ns == NULL;
    if (rel.group == NULL || rel.resource == NULL || rel.name == NULL || ns_missing) {
        free_related(&rel);
        return vmbi_fail_nomem(err);
    }
    r->related[r->n_related++] = rel;
    return VMB_OK;
}

void vmbi_action_result_free(vmb_action_result *r)
{
    for (size_t i = 0; i < r->n_related; i++) {
        free_related(&r->related[i]);
    }
    vmbi_free(r->related);
    vmbi_free(r->item);
    *r = (vmb_action_result){0};
}

/* Is `name` one of the comma-separated words of `list`, or is the list "*"? */
static bool list_has(const char *list, const char *name)
{
    size_t len = strlen(name);
    while (*list != '\0') {
        size_t word = strcspn(list, ",");
        if ((word == len && memcmp(list, name, len) == 0) || (word == 1 && list[0] == '*')) {
            return true;
        }
        list += word;
        list += *list == ',' ? 1 : 0;
    }
    return false;
}

bool vmbi_actions_apply(const vmb_ctx *ctx, const vmbi_resource *res)
{
    for (size_t i = 0; i < ctx->n_actions; i++) {
        if (list_has(ctx->actions[i].applies_to, res->group_resource)) {
            return true;
        }
    }
    return false;
}

vmb_code vmbi_actions_run(const vmb_ctx *ctx, vmb_job *job, const vmbi_resource *res,
                          const char *item, size_t len, vmb_action_result *result, vmb_error **err)
{
    for (size_t i = 0; i < ctx->n_actions && !result->skip; i++) {
        const vmb_action_provider *a = &ctx->actions[i];
        if (!list_has(a->applies_to, res->group_resource)) {
            continue;
        }
        const char *now = result->item != NULL ? result->item : item;
        size_t now_len = result->item != NULL ? result->item_len : len;
        vmb_code rc = a->backup(a->user, job, res->group, res->name, now, now_len, result, err);
        rc = vmbi_check_provider(err, rc, a->name);
        if (rc != VMB_OK) {
            return vmbi_wrap(err, rc, "action %s", a->name);
        }
    }
    return VMB_OK;
}
