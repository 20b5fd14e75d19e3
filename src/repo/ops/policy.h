/* SPDX-License-Identifier: Apache-2.0 */
/* Which snapshots to keep, by restic's rules, and forgetting the others. */
#ifndef VMBI_REPO_OPS_POLICY_H
#define VMBI_REPO_OPS_POLICY_H

#include "base/job.h"
#include "repo/ops/snapshots.h"

/* "1y5m7d2h": years, months and days of the calendar, hours. */
typedef struct vmbi_keep_span {
    int32_t years, months, days, hours;
} vmbi_keep_span;
/* Any choice and order of the four units, each as a number and its letter; negative ones are
 * refused. */
vmb_code vmbi_keep_span_parse(const char *text, vmbi_keep_span *out, vmb_error **err);

/* A zeroed policy is empty: it keeps nothing. */
typedef struct vmbi_policy {
    /* number to keep of each kind; -1: all of them */
    int64_t last, hourly, daily, weekly, monthly, yearly;
    /* relative to the newest snapshot of the group that is not in the future; zero: not asked */
    vmbi_keep_span within, within_hourly, within_daily, within_weekly, within_monthly,
        within_yearly;
    const char *const *tags; /* each is "a,b": keep snapshots that have all of these */
    size_t n_tags;
} vmbi_policy;
bool vmbi_policy_is_empty(const vmbi_policy *p);

/* What a policy says of one snapshot. */
typedef struct vmbi_verdict {
    bool keep;
    vmbi_strs reasons; /* restic's words: "daily snapshot", "oldest weekly snapshot" … */
    int64_t left[6];   /* counters after this snapshot: last, hourly, daily, weekly, monthly,
                        * yearly */
} vmbi_verdict;
/* out has n places for a group, newest first; now_unix_ns tells what is in the future (0: the
 * clock). Release each with vmbi_verdict_done(). */
vmb_code vmbi_policy_apply(const vmbi_policy *p, const vmbi_snapshot *const *group, size_t n,
                           int64_t now_unix_ns, vmbi_verdict *out, vmb_error **err);
void vmbi_verdict_done(vmbi_verdict *v);

typedef struct vmbi_forget_options {
    vmbi_snapshot_filter filter; /* with ids: these are removed, without asking the policy */
    vmbi_policy policy;
    unsigned group_by; /* VMBI_GROUP_ */
    bool dry_run;
    bool allow_remove_all; /* an empty policy removes all that the filter names; it must name
                            * hosts, tags or paths */
} vmbi_forget_options;

/* Removes snapshots. Needs the exclusive lock, also for a dry run on a repository that others write
 * to; the index is not needed.
 * *out receives an owned array of groups, as `restic forget --json` prints it: {"tags","host",
 * "paths","keep":[snapshot]|null,"remove":[snapshot]|null,"reasons":[{"snapshot","matches":[text],
 * "counters":{}}]|null}; with ids it is one group with empty keys. *removed (may be NULL) receives
 * the number of snapshots that were (dry run: would be) removed.
 * VMB_E_ARG: no ids and an empty policy; VMB_E_STATE: a policy that would empty a group. Nothing is
 * removed in these cases. When a removal fails the others are still tried. */
vmb_code vmbi_forget(vmbi_repo *r, const vmbi_forget_options *o, vmb_job *job, vmbi_json **out,
                     size_t *removed, vmb_error **err);

#endif
