/* SPDX-License-Identifier: Apache-2.0 */
/* A list of snapshots, whatever is in them: grouped, judged by a policy and printed. The newest
 * snapshot of a group is kept by "last 1", and each one has exactly one verdict. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "repo/ops/policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void judge(const vmbi_snapshot_group *g)
{
    static const char *const tags[] = {"a,b", ""};
    const vmbi_policy p = {.last = 1, .hourly = 2, .daily = -1, .weekly = 1, .monthly = 3,
                           .yearly = 1, .within = {1, 2, 3, 4}, .within_weekly = {0, 99999, 0, 1},
                           .tags = tags, .n_tags = 2};
    vmbi_verdict *v = vmbi_zalloc(g->n * sizeof(*v));
    if (v != NULL && vmbi_policy_apply(&p, g->v, g->n, INT64_C(1700000000000000000), v, NULL) ==
                         VMB_OK) {
        for (size_t i = 0; i < g->n; i++) {
            if (v[i].keep != (v[i].reasons.n > 0) || (i == 0 && !v[i].keep)) {
                abort();
            }
            vmbi_verdict_done(&v[i]);
        }
    }
    vmbi_free(v);
}

static void see(const vmbi_snapshot_set *set)
{
    vmbi_snapshot_groups groups = {0};
    size_t n = 0;
    if (vmbi_snapshots_group(set, 7, &groups, NULL) != VMB_OK) {
        return;
    }
    for (size_t i = 0; i < groups.n; i++) {
        n += groups.v[i].n;
        judge(&groups.v[i]);
    }
    if (n != set->n) {
        abort();
    }
    vmbi_snapshot_groups_free(&groups);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char id[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    vmbi_json *list = NULL;
    vmbi_snapshot v[64];
    vmbi_snapshot_set set = {v, 0, 64, 0};
    if (vmbi_json_parse((const char *)data, size, "snapshots", &list, NULL) != VMB_OK) {
        return 0;
    }
    memset(v, 0, sizeof(v));
    for (size_t i = 0; i < vmbi_json_len(list) && set.n < 64; i++) {
        vmbi_json *json = vmbi_json_at(list, i);
        vmbi_snapshot *s = &v[set.n];
        if (json == NULL || !vmbi_snapshot_fill(s, id, json)) {
            memset(s, 0, sizeof(*s));
            continue;
        }
        s->json = json;
        (void)vmbi_snapshot_has_tags(s, "a, b,");
        vmbi_json_free(vmbi_snapshot_json(s));
        set.n++;
    }
    see(&set);
    vmbi_json_free(list);
    return 0;
}
