/* SPDX-License-Identifier: Apache-2.0 */
/* Item actions: which of them apply to a resource, and running them over one object. */
#ifndef VMBI_CORE_ACTION_H
#define VMBI_CORE_ACTION_H

#include <vmbackup/provider.h>

#include "base/buf.h"
#include "core/context.h"
#include "model/discovery.h"

typedef struct vmbi_related {
    char *group;
    char *resource;
    char *ns; /* NULL: cluster-scoped */
    char *name;
    uint32_t flags; /* VMB_RELATED_… */
} vmbi_related;

struct vmb_action_result {
    char *item; /* replacement, NULL: unchanged */
    size_t item_len;
    vmbi_related *related;
    size_t n_related;
    size_t cap_related;
    bool skip;
};

enum { VMBI_MAX_RELATED = 10000 }; /* of one object */

vmb_code vmbi_action_result_set_item(vmb_action_result *r, const char *json, size_t len,
                                     vmb_error **err);
vmb_code vmbi_action_result_add(vmb_action_result *r, const char *group, const char *resource,
                                const char *ns, const char *name, uint32_t flags,
                                vmb_error **err);
void vmbi_action_result_free(vmb_action_result *r);

/* Does any registered action want this resource? */
bool vmbi_actions_apply(const vmb_ctx *ctx, const vmbi_resource *res);
/* Runs every action that applies, each seeing the object as the former left it; the result has
 * the final item only when it changed. */
vmb_code vmbi_actions_run(const vmb_ctx *ctx, vmb_job *job, const vmbi_resource *res,
                          const char *item, size_t len, vmb_action_result *result,
                          vmb_error **err);

#endif
