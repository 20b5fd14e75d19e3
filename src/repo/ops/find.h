/* SPDX-License-Identifier: Apache-2.0 */
/* Finding entries by name in snapshots. */
#ifndef VMBI_REPO_OPS_FIND_H
#define VMBI_REPO_OPS_FIND_H

#include "repo/ops/ls.h"

typedef struct vmbi_find_options {
    vmbi_snapshot_filter filter;
    const char *const *patterns; /* restic's: one must match; at least one */
    size_t n_patterns;
    bool ignore_case;
    bool has_oldest, has_newest; /* of the entries' modification times */
    int64_t oldest_unix_ns, newest_unix_ns;
} vmbi_find_options;

/* Calls fn for each snapshot with hits, oldest snapshot first, with restic's object {"matches":[
 * {"path","permissions","type","mode","mtime",…}],"hits":n,"snapshot":id}. After 16 MiB of matches
 * an object is handed over, and the same snapshot goes on in another one. A tree that cannot be
 * read is logged and passed over. VMB_E_ARG: a malformed pattern. Needs the index. */
vmb_code vmbi_find(vmbi_repo *r, const vmbi_find_options *o, vmb_job *job, vmbi_ops_json_fn fn,
                   void *user, vmb_error **err);

#endif
