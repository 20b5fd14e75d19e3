/* SPDX-License-Identifier: Apache-2.0 */
/* repo.h: forgetting snapshots, and copying them. */
#include "api/repo_handle.h"
#include "base/alloc.h"
#include "base/error.h"
#include "repo/ops/copy.h"
#include "repo/ops/policy.h"

/* ---- forget ---------------------------------------------------------------------------------- */

enum { MAX_KEEP = 1000000 };

typedef struct forget_options {
    vmbi_repoapi_filter filter;
    int64_t last, hourly, daily, weekly, monthly, yearly;
    const char *within[6];
    vmbi_option_list keep_tags;
    const char *group_by;
    bool dry_run;
    bool allow_remove_all;
} forget_options;

#define FIELD(field, name, kind, ...) VMBI_OPTION(forget_options, field, name, kind, __VA_ARGS__)
static const vmbi_option forget_table[] = {
    FIELD(filter.snapshots, "snapshots", STRINGS, 0, 0),
    FIELD(last, "keepLast", INT, -1, MAX_KEEP),
    FIELD(hourly, "keepHourly", INT, -1, MAX_KEEP),
    FIELD(daily, "keepDaily", INT, -1, MAX_KEEP),
    FIELD(weekly, "keepWeekly", INT, -1, MAX_KEEP),
    FIELD(monthly, "keepMonthly", INT, -1, MAX_KEEP),
    FIELD(yearly, "keepYearly", INT, -1, MAX_KEEP),
    FIELD(within[0], "keepWithin", STRING, 0, 0),
    FIELD(within[1], "keepWithinHourly", STRING, 0, 0),
    FIELD(within[2], "keepWithinDaily", STRING, 0, 0),
    FIELD(within[3], "keepWithinWeekly", STRING, 0, 0),
    FIELD(within[4], "keepWithinMonthly", STRING, 0, 0),
    FIELD(within[5], "keepWithinYearly", STRING, 0, 0),
    FIELD(keep_tags, "keepTags", TAGS, 0, 0),
    FIELD(group_by, "groupBy", STRING, -1, 0),
    VMBI_REPOAPI_FILTER_FIELDS(forget_options),
    FIELD(dry_run, "dryRun", BOOL, 0, 0),
    FIELD(allow_remove_all, "unsafeAllowRemoveAll", BOOL, 0, 0),
};
#undef FIELD

static vmb_code make_policy(const forget_options *o, vmbi_policy *p, vmb_error **err)
{
    vmbi_keep_span *const spans[6] = {&p->within,        &p->within_hourly,  &p->within_daily,
                                      &p->within_weekly, &p->within_monthly, &p->within_yearly};
    static const char *const names[6] = {"keepWithin",        "keepWithinHourly",
                                         "keepWithinDaily",   "keepWithinWeekly",
                                         "keepWithinMonthly", "keepWithinYearly"};
    vmb_code rc = VMB_OK;

    p->last = o->last;
    p->hourly = o->hourly;
    p->daily = o->daily;
    p->weekly = o->weekly;
    p->monthly = o->monthly;
    p->yearly = o->yearly;
    p->tags = o->keep_tags.v;
    p->n_tags = o->keep_tags.n;
    for (size_t i = 0; i < 6 && rc == VMB_OK; i++) {
        if (o->within[i] != NULL) {
            rc = vmbi_keep_span_parse(o->within[i], spans[i], err);
            rc = rc != VMB_OK ? vmbi_wrap(err, rc, "forget options: \"%s\"", names[i]) : VMB_OK;
        }
    }
    return rc;
}

static vmb_code make_forget(const forget_options *o, vmbi_forget_options *out, vmb_error **err)
{
    *out = (vmbi_forget_options){
        .filter = vmbi_repoapi_filter_of(&o->filter),
        .group_by = VMBI_GROUP_DEFAULT,
        .dry_run = o->dry_run,
        .allow_remove_all = o->allow_remove_all,
    };
    vmb_code rc = make_policy(o, &out->policy, err);
    if (rc == VMB_OK && o->group_by != NULL) {
        rc = vmbi_group_parse(o->group_by, &out->group_by, err);
        rc = rc != VMB_OK ? vmbi_wrap(err, rc, "forget options: \"groupBy\"") : VMB_OK;
    }
    if (rc == VMB_OK && o->filter.snapshots.n > 0 && !vmbi_policy_is_empty(&out->policy)) {
        rc = vmbi_fail(err, VMB_E_ARG, "forget options: give either \"snapshots\" or what to keep");
    }
    return rc;
}

vmb_code vmb_repo_forget(vmb_repo *repo, const char *options, size_t len, char **out,
                         size_t *out_len, vmb_error **err)
{
    forget_options o = {0};
    vmbi_forget_options fo;
    vmbi_json *doc = NULL;
    vmbi_json *groups = NULL;
    vmb_code rc = vmbi_repoapi_enter(repo, "vmb_repo_forget", err);

    if (rc != VMB_OK) {
        return rc;
    }
    rc = vmbi_options_read(options, len, "forget options", forget_table,
                           VMBI_ARRAY_LEN(forget_table), &o, &doc, err);
    if (rc == VMB_OK) {
        rc = make_forget(&o, &fo, err);
    }
    if (rc == VMB_OK) {
        rc = vmbi_repoapi_lock(repo, o.dry_run ? VMBI_REPOAPI_READ : VMBI_REPOAPI_EXCLUSIVE, false,
                               err);
    }
    if (rc == VMB_OK) {
        rc = vmbi_forget(repo->repo, &fo, &repo->job, &groups, NULL, err);
        vmbi_repoapi_unlock(repo);
    }
    if (rc == VMB_OK) {
        rc = vmbi_repoapi_give(groups, out, out_len, err);
    }
    vmbi_options_done(forget_table, VMBI_ARRAY_LEN(forget_table), &o, doc);
    vmbi_repoapi_leave(repo);
    return rc;
}

/* ---- copy ------------------------------------------------------------------------------------ */

typedef struct copy_options {
    vmbi_repoapi_filter filter;
} copy_options;

static const vmbi_option copy_table[] = {
    VMBI_OPTION(copy_options, filter.snapshots, "snapshots", STRINGS, 0, 0),
    VMBI_REPOAPI_FILTER_FIELDS(copy_options),
};

static void copy_progress(void *user, const vmbi_copy_stats *so_far)
{
    vmbi_repoapi_progress(user, (int64_t)so_far->bytes, -1);
}

static vmbi_json *copy_result(const vmbi_copy_stats *s, vmbi_json *snapshots)
{
    vmbi_json *v = vmbi_json_object();
    bool ok = v != NULL;

    ok = ok && vmbi_json_set_int(v, "copied", (int64_t)s->snapshots);
    ok = ok && vmbi_json_set_int(v, "known", (int64_t)s->snapshots_known);
    ok = ok && vmbi_json_set_int(v, "trees", (int64_t)s->trees);
    ok = ok && vmbi_json_set_int(v, "blobs", (int64_t)s->blobs);
    ok = ok && vmbi_json_set_int(v, "bytes", (int64_t)s->bytes);
    ok = ok && vmbi_json_set(v, "snapshots", vmbi_json_ref(snapshots));
    vmbi_json_free(snapshots);
    if (!ok) {
        vmbi_json_free(v);
        return NULL;
    }
    return v;
}

/* Between the two calls' begin and end. */
static vmb_code copy(vmb_repo *from, vmb_repo *to, const copy_options *o, vmbi_json **result,
                     vmb_error **err)
{
    const vmbi_copy_options co = {
        .filter = vmbi_repoapi_filter_of(&o->filter),
        .progress = copy_progress,
        .user = to,
    };
    vmbi_copy_stats stats = {0};
    vmbi_json *snapshots = NULL;
    vmb_code rc = vmbi_repoapi_lock(from, VMBI_REPOAPI_READ, true, err);

    if (rc != VMB_OK) {
        return vmbi_wrap(err, rc, "the repository to copy from");
    }
    rc = vmbi_repoapi_lock(to, VMBI_REPOAPI_WRITE, true, err);
    if (rc == VMB_OK) {
        rc = vmbi_copy(from->repo, to->repo, &co, &to->job, &snapshots, &stats, err);
        vmbi_repoapi_unlock(to);
    }
    vmbi_repoapi_unlock(from);
    if (rc == VMB_OK) {
        *result = copy_result(&stats, snapshots);
    }
    return rc;
}

vmb_code vmb_repo_copy(vmb_repo *from, vmb_repo *to, const char *options, size_t len, char **out,
                       size_t *out_len, vmb_error **err)
{
    copy_options o = {0};
    vmbi_json *doc = NULL;
    vmbi_json *result = NULL;

    if (from == to) {
        return vmbi_fail(err, VMB_E_ARG, "vmb_repo_copy: from and to are the same repository");
    }
    vmb_code rc = vmbi_repoapi_enter(from, "vmb_repo_copy", err);
    if (rc != VMB_OK) {
        return rc;
    }
    rc = vmbi_repoapi_enter(to, "vmb_repo_copy", err);
    if (rc != VMB_OK) {
        vmbi_repoapi_leave(from);
        return rc;
    }
    rc = vmbi_options_read(options, len, "copy options", copy_table, VMBI_ARRAY_LEN(copy_table), &o,
                           &doc, err);
    if (rc == VMB_OK) {
        rc = copy(from, to, &o, &result, err);
    }
    if (rc == VMB_OK) {
        rc = vmbi_repoapi_give(result, out, out_len, err);
    }
    vmbi_options_done(copy_table, VMBI_ARRAY_LEN(copy_table), &o, doc);
    vmbi_repoapi_leave(to);
    vmbi_repoapi_leave(from);
    return rc;
}
