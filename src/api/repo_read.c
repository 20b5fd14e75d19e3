/* SPDX-License-Identifier: Apache-2.0 */
/* repo.h: looking into a repository. */
#include "api/repo_handle.h"
#include "base/error.h"
#include "repo/ops/find.h"
#include "repo/ops/ls.h"
#include "repo/ops/stats.h"

/* ---- snapshots ------------------------------------------------------------------------------- */

typedef struct snapshots_options {
    vmbi_repoapi_filter filter;
    int64_t latest;
} snapshots_options;

static const vmbi_option snapshots_table[] = {
    VMBI_OPTION(snapshots_options, filter.snapshots, "snapshots", STRINGS, 0, 0),
    VMBI_REPOAPI_FILTER_FIELDS(snapshots_options),
    VMBI_OPTION(snapshots_options, latest, "latest", INT, 1, 1000000),
};

static vmb_code list_snapshots(vmb_repo *repo, const snapshots_options *o, vmbi_json **out,
                               vmb_error **err)
{
    vmbi_snapshot_filter filter = vmbi_repoapi_filter_of(&o->filter);
    vmbi_snapshot_set set = {0};
    vmbi_json *list = vmbi_json_array();
    bool ok = list != NULL;

    filter.latest = (size_t)o->latest;
    vmb_code rc = ok ? vmbi_snapshots_load(repo->repo, &filter, &set, err) : vmbi_fail_nomem(err);
    if (rc == VMB_OK) {
        for (size_t i = 0; i < set.n && ok; i++) {
            ok = vmbi_json_append(list, vmbi_snapshot_json(&set.v[i]));
        }
        rc = ok ? VMB_OK : vmbi_fail_nomem(err);
        if (set.damaged > 0) {
            vmbi_buf text = VMBI_BUF_INIT(128);

            vmbi_buf_addf(&text, "%zu snapshot files are damaged and left out: check tells which",
                          set.damaged);
            vmbi_repoapi_tell(repo, VMB_LOG_WARNING, "snapshots",
                              text.data != NULL ? text.data : "");
            vmbi_buf_free(&text);
        }
        vmbi_snapshots_free(&set);
    }
    if (rc != VMB_OK) {
        vmbi_json_free(list);
        return rc;
    }
    *out = list;
    return VMB_OK;
}

vmb_code vmb_repo_snapshots_json(vmb_repo *repo, const char *options, size_t len, char **out,
                                 size_t *out_len, vmb_error **err)
{
    snapshots_options o = {0};
    vmbi_json *doc = NULL;
    vmbi_json *list = NULL;

    if (out == NULL) {
        return vmbi_repoapi_missing("vmb_repo_snapshots_json", err);
    }
    vmb_code rc = vmbi_repoapi_enter(repo, "vmb_repo_snapshots_json", err);
    if (rc != VMB_OK) {
        return rc;
    }
    rc = vmbi_options_read(options, len, "snapshots options", snapshots_table,
                           VMBI_ARRAY_LEN(snapshots_table), &o, &doc, err);
    if (rc == VMB_OK) {
        rc = vmbi_repoapi_lock(repo, VMBI_REPOAPI_READ, false, err);
    }
    if (rc == VMB_OK) {
        rc = list_snapshots(repo, &o, &list, err);
        vmbi_repoapi_unlock(repo);
    }
    if (rc == VMB_OK) {
        rc = vmbi_repoapi_give(list, out, out_len, err);
    }
    vmbi_options_done(snapshots_table, VMBI_ARRAY_LEN(snapshots_table), &o, doc);
    vmbi_repoapi_leave(repo);
    return rc;
}

/* ---- entries and content --------------------------------------------------------------------- */

/* The caller's receiver, which gives codes without error objects. */
typedef struct receiver {
    vmb_json_fn json;
    vmb_code (*data)(void *user, const void *data, size_t len);
    void *user;
} receiver;

static vmb_code give_json(void *user, const char *json, size_t len, vmb_error **err)
{
    const receiver *to = user;

    return vmbi_check_provider(err, to->json(to->user, json, len),
                               "the receiver ended the listing");
}

static vmb_code give_data(void *user, const void *data, size_t len, vmb_error **err)
{
    const receiver *to = user;

    return vmbi_check_provider(err, to->data(to->user, data, len), "the receiver ended the dump");
}

typedef struct ls_options {
    const char *path;
    bool recursive;
    vmbi_repoapi_filter filter;
} ls_options;

static const vmbi_option ls_table[] = {
    VMBI_OPTION(ls_options, path, "path", STRING, 0, 0),
    VMBI_OPTION(ls_options, recursive, "recursive", BOOL, 0, 0),
    VMBI_REPOAPI_FILTER_FIELDS(ls_options),
};

vmb_code vmb_repo_ls(vmb_repo *repo, const char *snapshot, const char *options, size_t len,
                     vmb_json_fn fn, void *user, vmb_error **err)
{
    ls_options o = {0};
    receiver to = {.json = fn, .user = user};
    vmbi_snapshot found = {.json = NULL};
    vmbi_json *doc = NULL;

    if (snapshot == NULL || fn == NULL) {
        return vmbi_repoapi_missing("vmb_repo_ls", err);
    }
    vmb_code rc = vmbi_repoapi_enter(repo, "vmb_repo_ls", err);
    if (rc != VMB_OK) {
        return rc;
    }
    rc = vmbi_options_read(options, len, "ls options", ls_table, VMBI_ARRAY_LEN(ls_table), &o, &doc,
                           err);
    if (rc == VMB_OK) {
        rc = vmbi_repoapi_lock(repo, VMBI_REPOAPI_READ, true, err);
    }
    if (rc == VMB_OK) {
        const vmbi_ls_options lo = {.path = o.path, .recursive = o.recursive};

        rc = vmbi_repoapi_find(repo, snapshot, &o.filter, &found, err);
        if (rc == VMB_OK) {
            rc = vmbi_ls(repo->repo, &found, &lo, &repo->job, give_json, &to, err);
            vmbi_snapshot_done(&found);
        }
        vmbi_repoapi_unlock(repo);
    }
    vmbi_options_done(ls_table, VMBI_ARRAY_LEN(ls_table), &o, doc);
    vmbi_repoapi_leave(repo);
    return rc;
}

vmb_code vmb_repo_dump(vmb_repo *repo, const char *snapshot, const char *path,
                       vmb_code (*fn)(void *user, const void *data, size_t len), void *user,
                       vmb_error **err)
{
    receiver to = {.data = fn, .user = user};
    vmbi_snapshot found = {.json = NULL};

    if (snapshot == NULL || path == NULL || fn == NULL) {
        return vmbi_repoapi_missing("vmb_repo_dump", err);
    }
    vmb_code rc = vmbi_repoapi_enter(repo, "vmb_repo_dump", err);
    if (rc != VMB_OK) {
        return rc;
    }
    rc = vmbi_repoapi_lock(repo, VMBI_REPOAPI_READ, true, err);
    if (rc == VMB_OK) {
        rc = vmbi_snapshot_find(repo->repo, snapshot, NULL, &found, err);
        if (rc == VMB_OK) {
            rc = vmbi_dump(repo->repo, &found, path, &repo->job, give_data, &to, err);
            vmbi_snapshot_done(&found);
        }
        vmbi_repoapi_unlock(repo);
    }
    vmbi_repoapi_leave(repo);
    return rc;
}

/* ---- find ------------------------------------------------------------------------------------ */

typedef struct find_options {
    vmbi_option_list patterns;
    bool ignore_case;
    vmbi_repoapi_filter filter;
    int64_t oldest_unix_ns, newest_unix_ns; /* INT64_MIN: not given */
} find_options;

static const vmbi_option find_table[] = {
    VMBI_OPTION(find_options, patterns, "patterns", STRINGS, 0, 0),
    VMBI_OPTION(find_options, ignore_case, "ignoreCase", BOOL, 0, 0),
    VMBI_OPTION(find_options, filter.snapshots, "snapshots", STRINGS, 0, 0),
    VMBI_REPOAPI_FILTER_FIELDS(find_options),
    VMBI_OPTION(find_options, oldest_unix_ns, "oldest", TIME, 0, 0),
    VMBI_OPTION(find_options, newest_unix_ns, "newest", TIME, 0, 0),
};

vmb_code vmb_repo_find(vmb_repo *repo, const char *options, size_t len, vmb_json_fn fn, void *user,
                       vmb_error **err)
{
    find_options o = {.oldest_unix_ns = INT64_MIN, .newest_unix_ns = INT64_MIN};
    receiver to = {.json = fn, .user = user};
    vmbi_json *doc = NULL;

    if (fn == NULL) {
        return vmbi_repoapi_missing("vmb_repo_find", err);
    }
    vmb_code rc = vmbi_repoapi_enter(repo, "vmb_repo_find", err);
    if (rc != VMB_OK) {
        return rc;
    }
    rc = vmbi_options_read(options, len, "find options", find_table, VMBI_ARRAY_LEN(find_table), &o,
                           &doc, err);
    if (rc == VMB_OK && o.patterns.n == 0) {
        rc = vmbi_fail(err, VMB_E_ARG, "find options: \"patterns\" is missing: name what to find");
    }
    if (rc == VMB_OK) {
        rc = vmbi_repoapi_lock(repo, VMBI_REPOAPI_READ, true, err);
    }
    if (rc == VMB_OK) {
        const vmbi_find_options fo = {
            .filter = vmbi_repoapi_filter_of(&o.filter),
            .patterns = o.patterns.v,
            .n_patterns = o.patterns.n,
            .ignore_case = o.ignore_case,
            .has_oldest = o.oldest_unix_ns != INT64_MIN,
            .has_newest = o.newest_unix_ns != INT64_MIN,
            .oldest_unix_ns = o.oldest_unix_ns,
            .newest_unix_ns = o.newest_unix_ns,
        };
        rc = vmbi_find(repo->repo, &fo, &repo->job, give_json, &to, err);
        vmbi_repoapi_unlock(repo);
    }
    vmbi_options_done(find_table, VMBI_ARRAY_LEN(find_table), &o, doc);
    vmbi_repoapi_leave(repo);
    return rc;
}

/* ---- statistics ------------------------------------------------------------------------------ */

typedef struct stats_options {
    const char *mode;
    vmbi_repoapi_filter filter;
} stats_options;

static const vmbi_option stats_table[] = {
    VMBI_OPTION(stats_options, mode, "mode", STRING, 0, 0),
    VMBI_OPTION(stats_options, filter.snapshots, "snapshots", STRINGS, 0, 0),
    VMBI_REPOAPI_FILTER_FIELDS(stats_options),
};

vmb_code vmb_repo_stats_json(vmb_repo *repo, const char *options, size_t len, char **out,
                             size_t *out_len, vmb_error **err)
{
    stats_options o = {0};
    vmbi_stats_mode mode = VMBI_STATS_RESTORE_SIZE;
    vmbi_ops_stats stats = {0};
    vmbi_json *doc = NULL;

    if (out == NULL) {
        return vmbi_repoapi_missing("vmb_repo_stats_json", err);
    }
    vmb_code rc = vmbi_repoapi_enter(repo, "vmb_repo_stats_json", err);
    if (rc != VMB_OK) {
        return rc;
    }
    rc = vmbi_options_read(options, len, "stats options", stats_table, VMBI_ARRAY_LEN(stats_table),
                           &o, &doc, err);
    if (rc == VMB_OK) {
        rc = vmbi_stats_mode_parse(o.mode, &mode, err);
    }
    if (rc == VMB_OK) {
        rc = vmbi_repoapi_lock(repo, VMBI_REPOAPI_READ, true, err);
    }
    if (rc == VMB_OK) {
        const vmbi_snapshot_filter filter = vmbi_repoapi_filter_of(&o.filter);

        rc = vmbi_stats(repo->repo, mode, &filter, &repo->job, &stats, err);
        vmbi_repoapi_unlock(repo);
    }
    if (rc == VMB_OK) {
        rc = vmbi_repoapi_give(vmbi_ops_stats_json(mode, &stats), out, out_len, err);
    }
    vmbi_options_done(stats_table, VMBI_ARRAY_LEN(stats_table), &o, doc);
    vmbi_repoapi_leave(repo);
    return rc;
}
