/* SPDX-License-Identifier: Apache-2.0 */
/* Forgetting: the verdicts of a policy as JSON, then the removals. */
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "repo/ops/policy.h"

typedef struct forgetting {
    vmbi_repo *r;
    const vmbi_forget_options *o;
    vmb_job *job;
    vmbi_snapshot_set set;
    const vmbi_snapshot **remove;
    size_t n_remove;
    vmbi_json *groups;
} forgetting;

/* An empty list prints as null, as Go's nil slices do. */
static vmbi_json *or_null(vmbi_json *list)
{
    if (list == NULL || vmbi_json_len(list) > 0) {
        return list;
    }
    vmbi_json_free(list);
    return vmbi_json_null();
}

static vmbi_json *counters_json(const int64_t left[6])
{
    static const char *const names[] = {"last",   "hourly",  "daily",
                                        "weekly", "monthly", "yearly"};
    vmbi_json *v = vmbi_json_object();
    bool ok = v != NULL;
    for (size_t i = 0; i < VMBI_ARRAY_LEN(names) && ok; i++) {
        ok = left[i] == 0 || vmbi_json_set_int(v, names[i], left[i]);
    }
    if (!ok) {
        vmbi_json_free(v);
        return NULL;
    }
    return v;
}

static vmbi_json *reason_json(const vmbi_snapshot *s, const vmbi_verdict *v)
{
    vmbi_json *reason = vmbi_json_object();
    bool ok = reason != NULL && vmbi_json_set(reason, "snapshot", vmbi_snapshot_json(s)) &&
              vmbi_json_set(reason, "matches", vmbi_json_string_array(&v->reasons)) &&
              vmbi_json_set(reason, "counters", counters_json(v->left));
    if (!ok) {
        vmbi_json_free(reason);
        return NULL;
    }
    return reason;
}

/* key is borrowed; verdicts NULL: all are removed. */
static vmb_code report_group(forgetting *f, const vmbi_json *key, const vmbi_snapshot *const *v,
                             size_t n, const vmbi_verdict *verdicts, vmb_error **err)
{
    vmbi_json *out = vmbi_json_copy(key);
    vmbi_json *keep = vmbi_json_array();
    vmbi_json *remove = vmbi_json_array();
    vmbi_json *reasons = vmbi_json_array();
    bool ok = out != NULL && keep != NULL && remove != NULL && reasons != NULL;
    for (size_t i = 0; i < n && ok; i++) {
        if (verdicts != NULL && verdicts[i].keep) {
            ok = vmbi_json_append(keep, vmbi_snapshot_json(v[i])) &&
                 vmbi_json_append(reasons, reason_json(v[i], &verdicts[i]));
        } else {
            f->remove[f->n_remove++] = v[i];
            ok = vmbi_json_append(remove, vmbi_snapshot_json(v[i]));
        }
    }
    bool set = vmbi_json_set(out, "keep", or_null(keep));
    set = vmbi_json_set(out, "remove", or_null(remove)) && set;
    set = vmbi_json_set(out, "reasons", or_null(reasons)) && set;
    if (!ok || !set) {
        vmbi_json_free(out);
        return vmbi_fail_nomem(err);
    }
    return vmbi_json_append(f->groups, out) ? VMB_OK : vmbi_fail_nomem(err);
}

static vmb_code judge_group(forgetting *f, const vmbi_snapshot_group *g, vmb_error **err)
{
    const vmbi_policy *p = &f->o->policy;
    vmbi_verdict *verdicts = vmbi_zalloc(g->n * sizeof(*verdicts));
    size_t kept = 0;
    if (verdicts == NULL) {
        return vmbi_fail_nomem(err);
    }
    vmb_code rc = vmbi_policy_apply(p, g->v, g->n, 0, verdicts, err);
    for (size_t i = 0; i < g->n && rc == VMB_OK; i++) {
        kept += verdicts[i].keep ? 1 : 0;
    }
    if (rc == VMB_OK && kept == 0 && !vmbi_policy_is_empty(p)) {
        char *text = NULL;
        if (vmbi_json_to_text(g->key, &text, NULL, NULL) == VMB_OK) {
            rc = vmbi_fail(err, VMB_E_STATE,
                           "forget: the policy would remove every snapshot of the group %s", text);
        } else {
            rc = vmbi_fail_nomem(err);
        }
        vmbi_free(text);
    }
    if (rc == VMB_OK) {
        rc = report_group(f, g->key, g->v, g->n, verdicts, err);
    }
    for (size_t i = 0; i < g->n; i++) {
        vmbi_verdict_done(&verdicts[i]);
    }
    vmbi_free(verdicts);
    return rc;
}

static vmb_code judge(forgetting *f, vmb_error **err)
{
    vmbi_snapshot_groups groups = {0};
    vmb_code rc = vmbi_snapshots_group(&f->set, f->o->group_by, &groups, err);
    for (size_t i = 0; i < groups.n && rc == VMB_OK; i++) {
        rc = judge_group(f, &groups.v[i], err);
    }
    vmbi_snapshot_groups_free(&groups);
    return rc;
}

/* Snapshots that were named go without a policy: one group, newest first. */
static vmb_code take_named(forgetting *f, vmb_error **err)
{
    size_t n = f->set.n;
    const vmbi_snapshot **v = vmbi_zalloc((n + 1) * sizeof(*v));
    vmbi_json *key = vmbi_json_object();
    bool ok = v != NULL && key != NULL && vmbi_json_set_str(key, "host", "") &&
              vmbi_json_set(key, "paths", vmbi_json_null()) &&
              vmbi_json_set(key, "tags", vmbi_json_null());
    for (size_t i = 0; i < n && ok; i++) {
        v[i] = &f->set.v[n - 1 - i];
    }
    vmb_code rc = ok ? report_group(f, key, v, n, NULL, err) : vmbi_fail_nomem(err);
    vmbi_json_free(key);
    vmbi_free(v);
    return rc;
}

static vmb_code check_options(const vmbi_forget_options *o, vmb_error **err)
{
    const vmbi_policy *p = &o->policy;
    const vmbi_snapshot_filter *f = &o->filter;
    if (p->last < -1 || p->hourly < -1 || p->daily < -1 || p->weekly < -1 || p->monthly < -1 ||
        p->yearly < -1) {
        return vmbi_fail(err, VMB_E_ARG, "forget: a number to keep is -1 (all), 0 or more");
    }
    if (f->n_ids > 0 || !vmbi_policy_is_empty(p)) {
        return VMB_OK;
    }
    if (!o->allow_remove_all) {
        return vmbi_fail(err, VMB_E_ARG, "forget: neither snapshots nor a policy are given");
    }
    return f->n_hosts + f->n_tags + f->n_paths > 0
               ? VMB_OK
               : vmbi_fail(err, VMB_E_ARG, "forget: to remove all, a host, tag or path is needed");
}

/* Goes on after a failure, so that one file does not keep the others; returns the first one. */
static vmb_code remove_all(forgetting *f, size_t *removed, vmb_error **err)
{
    vmb_code first = VMB_OK;
    for (size_t i = 0; i < f->n_remove; i++) {
        vmb_error *why = NULL;
        vmb_code rc = vmbi_limits_check(&f->job->limits, &why, "forget snapshots");
        bool ends = rc != VMB_OK;
        if (rc == VMB_OK) {
            rc = vmbi_repo_snapshot_delete(f->r, f->remove[i]->id, &why);
        }
        *removed += rc == VMB_OK ? 1 : 0;
        if (rc != VMB_OK && first == VMB_OK) {
            first = rc;
            vmbi_error_move(err, &why);
        }
        vmb_error_free(why);
        if (ends) {
            break;
        }
    }
    return first;
}

vmb_code vmbi_forget(vmbi_repo *r, const vmbi_forget_options *o, vmb_job *job, vmbi_json **out,
                     size_t *removed, vmb_error **err)
{
    forgetting f = {.r = r, .o = o, .job = job};
    size_t count = 0;
    vmb_code rc = check_options(o, err);
    if (rc == VMB_OK) {
        rc = vmbi_snapshots_load(r, &o->filter, &f.set, err);
    }
    if (rc == VMB_OK) {
        f.remove = vmbi_zalloc((f.set.n + 1) * sizeof(*f.remove));
        f.groups = vmbi_json_array();
        rc = f.remove != NULL && f.groups != NULL ? VMB_OK : vmbi_fail_nomem(err);
    }
    if (rc == VMB_OK) {
        rc = o->filter.n_ids > 0 ? take_named(&f, err) : judge(&f, err);
    }
    if (rc == VMB_OK && o->dry_run) {
        count = f.n_remove;
    } else if (rc == VMB_OK) {
        rc = remove_all(&f, &count, err);
    }
    if (rc == VMB_OK) {
        *out = vmbi_steal(&f.groups);
    }
    if (removed != NULL) {
        *removed = count;
    }
    vmbi_json_free(f.groups);
    vmbi_free(f.remove);
    vmbi_snapshots_free(&f.set);
    return rc;
}
