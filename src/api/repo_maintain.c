/* SPDX-License-Identifier: Apache-2.0 */
/* repo.h: checking, pruning, locks. */
#include "api/repo_handle.h"
#include "base/alloc.h"
#include "base/error.h"

/* ---- check ----------------------------------------------------------------------------------- */

typedef struct check_options {
    bool read_data;
} check_options;

static const vmbi_option check_table[] = {
    VMBI_OPTION(check_options, read_data, "readData", BOOL, 0, 0),
};

typedef struct checking {
    vmb_repo *repo;
    vmbi_json *findings; /* array */
    uint64_t hints;
    bool nomem;
} checking;

/* The event names the file, and the blob in it. */
static void tell_finding(vmb_repo *repo, int32_t level, const vmbi_repo_finding *f)
{
    vmbi_buf text = VMBI_BUF_INIT(4096);

    vmbi_buf_addf(&text, "%s%s%s%s", f->blob[0] != '\0' ? "blob " : "", f->blob,
                  f->blob[0] != '\0' ? ": " : "", f->message);
    vmbi_repoapi_tell(repo, level, f->file, text.status == VMB_OK ? text.data : f->message);
    vmbi_buf_free(&text);
}

/* Threads of the check call it, one at a time. */
static void add_finding(void *user, const vmbi_repo_finding *f)
{
    checking *c = user;
    bool error = f->level == VMBI_FINDING_ERROR;
    vmbi_json *v = vmbi_json_object();
    bool ok = v != NULL;

    c->hints += error ? 0 : 1;
    ok = ok && vmbi_json_set_str(v, "level", error ? "error" : "hint");
    ok = ok && vmbi_json_set_str(v, "kind", f->file_kind);
    ok = ok && vmbi_json_set_str(v, "file", f->file);
    ok = ok && vmbi_json_set_str(v, "blob", f->blob);
    ok = ok && vmbi_json_set_str(v, "message", f->message);
    if (!ok) {
        vmbi_json_free(v);
        v = NULL;
    }
    c->nomem = !vmbi_json_append(c->findings, v) || c->nomem;
    tell_finding(c->repo, error ? VMB_LOG_ERROR : VMB_LOG_INFO, f);
}

/* Owns c->findings from here on. */
static vmb_code give_findings(checking *c, uint64_t errors, char **out, size_t *out_len,
                              vmb_error **err)
{
    vmbi_json *v = vmbi_json_object();
    bool ok = v != NULL;

    ok = ok && vmbi_json_set_int(v, "errors", (int64_t)errors);
    ok = ok && vmbi_json_set_int(v, "hints", (int64_t)c->hints);
    ok = ok && vmbi_json_set(v, "findings", vmbi_steal(&c->findings));
    if (!ok || c->nomem) {
        vmbi_json_free(v);
        v = NULL;
    }
    return vmbi_repoapi_give(v, out, out_len, err);
}

vmb_code vmb_repo_check(vmb_repo *repo, const char *options, size_t len, char **out,
                        size_t *out_len, vmb_error **err)
{
    check_options o = {false};
    checking c = {.repo = repo};
    uint64_t errors = 0;
    vmbi_json *doc = NULL;
    vmb_code rc = vmbi_repoapi_enter(repo, "vmb_repo_check", err);

    if (rc != VMB_OK) {
        return rc;
    }
    rc = vmbi_options_read(options, len, "check options", check_table, VMBI_ARRAY_LEN(check_table),
                           &o, &doc, err);
    if (rc == VMB_OK) {
        c.findings = vmbi_json_array();
        rc = c.findings != NULL ? VMB_OK : vmbi_fail_nomem(err);
    }
    if (rc == VMB_OK) {
        rc = vmbi_repoapi_lock(repo, VMBI_REPOAPI_READ, false, err);
    }
    if (rc == VMB_OK) {
        const vmbi_repo_check_options co = {.read_data = o.read_data};

        (void)pthread_rwlock_wrlock(&repo->index_lock); /* the check replaces the index */
        rc = vmbi_repo_reset(repo->repo, err);
        if (rc == VMB_OK) {
            rc = vmbi_repo_check(repo->repo, &co, add_finding, &c, &errors, err);
        }
        (void)pthread_rwlock_unlock(&repo->index_lock);
        vmbi_repoapi_unlock(repo);
    }
    if (rc == VMB_OK) {
        rc = give_findings(&c, errors, out, out_len, err);
    }
    vmbi_json_free(c.findings);
    vmbi_options_done(check_table, VMBI_ARRAY_LEN(check_table), &o, doc);
    vmbi_repoapi_leave(repo);
    return rc;
}

/* ---- prune ----------------------------------------------------------------------------------- */

typedef struct prune_options {
    int64_t max_unused;
    int64_t max_repack;
    bool dry_run;
} prune_options;

#define FIELD(field, name, kind, ...) VMBI_OPTION(prune_options, field, name, kind, __VA_ARGS__)
static const vmbi_option prune_table[] = {
    FIELD(max_unused, "maxUnused", INT, 0, 100),
    FIELD(max_repack, "maxRepackSize", INT, 1, INT64_MAX),
    FIELD(dry_run, "dryRun", BOOL, 0, 0),
};
#undef FIELD

static vmbi_json *prune_result(const vmbi_repo_prune_stats *s, bool dry_run)
{
    vmbi_json *v = vmbi_json_object();
    bool ok = v != NULL;

    ok = ok && vmbi_json_set_int(v, "packsKept", (int64_t)s->packs_kept);
    ok = ok && vmbi_json_set_int(v, "packsRepacked", (int64_t)s->packs_repacked);
    ok = ok && vmbi_json_set_int(v, "packsDeleted", (int64_t)s->packs_deleted);
    ok = ok && vmbi_json_set_int(v, "blobsUsed", (int64_t)s->blobs_used);
    ok = ok && vmbi_json_set_int(v, "blobsUnused", (int64_t)s->blobs_unused);
    ok = ok && vmbi_json_set_int(v, "bytesUnused", (int64_t)s->bytes_unused);
    ok = ok && vmbi_json_set_int(v, "bytesFreed", (int64_t)s->bytes_freed);
    ok = ok && vmbi_json_set_bool(v, "dryRun", dry_run);
    if (!ok) {
        vmbi_json_free(v);
        return NULL;
    }
    return v;
}

vmb_code vmb_repo_prune(vmb_repo *repo, const char *options, size_t len, char **out,
                        size_t *out_len, vmb_error **err)
{
    prune_options o = {.max_unused = 5};
    vmbi_repo_prune_stats stats = {0};
    vmbi_json *doc = NULL;
    vmb_code rc = vmbi_repoapi_enter(repo, "vmb_repo_prune", err);

    if (rc != VMB_OK) {
        return rc;
    }
    rc = vmbi_options_read(options, len, "prune options", prune_table, VMBI_ARRAY_LEN(prune_table),
                           &o, &doc, err);
    if (rc == VMB_OK) { /* prune reads the index itself */
        rc = vmbi_repoapi_lock(repo, VMBI_REPOAPI_EXCLUSIVE, false, err);
    }
    if (rc == VMB_OK) {
        const vmbi_repo_prune_options po = {
            .max_unused_percent = (uint32_t)o.max_unused,
            .max_repack_bytes = (uint64_t)o.max_repack,
            .dry_run = o.dry_run,
        };

        rc = vmbi_repo_reset(repo->repo, err);
        if (rc == VMB_OK) {
            rc = vmbi_repo_prune(repo->repo, &po, &stats, err);
        }
        vmbi_repoapi_unlock(repo);
    }
    if (rc == VMB_OK) {
        rc = vmbi_repoapi_give(prune_result(&stats, o.dry_run), out, out_len, err);
    }
    vmbi_options_done(prune_table, VMBI_ARRAY_LEN(prune_table), &o, doc);
    vmbi_repoapi_leave(repo);
    return rc;
}

/* ---- locks ----------------------------------------------------------------------------------- */

vmb_code vmb_repo_unlock(vmb_repo *repo, int32_t all, size_t *removed, vmb_error **err)
{
    size_t n = 0;

    if (all != 0 && all != 1) {
        return vmbi_fail(err, VMB_E_ARG, "vmb_repo_unlock: all is not 0 or 1");
    }
    vmb_code rc = vmbi_repoapi_enter(repo, "vmb_repo_unlock", err);
    if (rc != VMB_OK) {
        return rc;
    }
    if (repo->location->read_only) {
        rc = vmbi_fail(err, VMB_E_STATE, "location %s: it is read-only", repo->location->name);
    } else {
        rc = vmbi_repo_break_locks(repo->repo, all == 1, &n, err);
    }
    if (rc == VMB_OK && removed != NULL) {
        *removed = n;
    }
    vmbi_repoapi_leave(repo);
    return rc;
}
