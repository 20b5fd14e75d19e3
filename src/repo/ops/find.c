/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/ops/find.h"

#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "repo/ops/nodejson.h"
#include "repo/tree/pattern.h"
#include "repo/tree/tree.h"

enum {
    FLUSH_BYTES = 16 << 20,
    MAX_BYTES = FLUSH_BYTES + (8 << 20)
};

typedef struct finding {
    const vmbi_find_options *o;
    vmb_job *job;
    vmbi_patterns *patterns;
    const vmbi_snapshot *snapshot;
    vmbi_ops_json_fn fn;
    void *user;
    vmbi_buf out; /* "" or {"matches":[… */
    uint64_t hits; /* in out */
} finding;

/* Hands over what has been found in the snapshot so far. */
static vmb_code flush(finding *f, vmb_error **err)
{
    if (f->hits == 0) {
        return VMB_OK;
    }
    vmbi_buf_addf(&f->out, "],\"hits\":%llu,\"snapshot\":\"%s\"}", (unsigned long long)f->hits,
                  f->snapshot->id);
    vmb_code rc = vmbi_buf_check(&f->out, err, "hits");
    if (rc == VMB_OK) {
        rc = f->fn(f->user, f->out.data, f->out.len, err);
    }
    vmbi_buf_reset(&f->out);
    f->hits = 0;
    return rc;
}

static bool in_time(const vmbi_find_options *o, struct timespec t)
{
    int64_t ns = (int64_t)t.tv_sec * VMBI_SECOND + t.tv_nsec;
    return (!o->has_oldest || ns >= o->oldest_unix_ns) &&
           (!o->has_newest || ns <= o->newest_unix_ns);
}

static vmb_code visit(void *user, const vmbi_repo_id *tree, const char *path,
                      const vmbi_node *node, bool *descend, vmb_error **err)
{
    finding *f = user;
    bool hit = false;
    bool child = false;
    (void)tree;
    vmb_code rc = vmbi_patterns_match(f->patterns, path, &hit, &child, err);
    *descend = *descend && (child || hit);
    if (rc != VMB_OK || !hit || !in_time(f->o, node->mtime)) {
        return rc;
    }
    vmbi_buf_adds(&f->out, f->hits == 0 ? "{\"matches\":[" : ",");
    vmbi_nodejson_find(node, path, &f->out);
    f->hits++;
    rc = vmbi_buf_check(&f->out, err, "hits");
    return rc == VMB_OK && f->out.len > FLUSH_BYTES ? flush(f, err) : rc;
}

static vmb_code unreadable(void *user, const vmbi_repo_id *tree, const char *path,
                           const vmb_error *why, vmb_error **err)
{
    finding *f = user;
    vmbi_buf text = VMBI_BUF_INIT(8192);
    char hex[VMBI_REPO_HEX_SIZE];
    (void)err;
    vmbi_repo_id_hex(tree, hex);
    vmbi_buf_addf(&text, "find: snapshot %.8s: %.1000s: tree %s cannot be read: %.1000s",
                  f->snapshot->id, path, hex, vmb_error_message(why));
    if (f->job->log != NULL && text.data != NULL) {
        f->job->log(f->job->log_user, VMB_LOG_WARNING, text.data);
    }
    vmbi_buf_free(&text);
    return VMB_OK;
}

/* A '!' has no meaning in a search. */
static vmb_code check_patterns(const vmbi_find_options *o, vmb_error **err)
{
    for (size_t i = 0; i < o->n_patterns; i++) {
        if (o->patterns[i][0] == '!') {
            return vmbi_fail(err, VMB_E_ARG, "find: the pattern \"%.200s\" begins with '!'",
                             o->patterns[i]);
        }
    }
    return o->n_patterns > 0 ? VMB_OK : vmbi_fail(err, VMB_E_ARG, "find: no pattern is given");
}

vmb_code vmbi_find(vmbi_repo *r, const vmbi_find_options *o, vmb_job *job, vmbi_ops_json_fn fn,
                   void *user, vmb_error **err)
{
    finding f = {.o = o, .job = job, .fn = fn, .user = user, .out = VMBI_BUF_INIT(MAX_BYTES)};
    vmbi_tree_walk w = {.repo = r, .job = job, .visit = visit, .unreadable = unreadable,
                        .user = &f};
    vmbi_snapshot_set set = {0};
    vmb_code rc = check_patterns(o, err);
    if (rc == VMB_OK) {
        rc = vmbi_patterns_new(o->patterns, o->n_patterns, o->ignore_case, &f.patterns, err);
    }
    if (rc == VMB_OK) {
        rc = vmbi_snapshots_load(r, &o->filter, &set, err);
    }
    for (size_t i = 0; i < set.n && rc == VMB_OK; i++) {
        f.snapshot = &set.v[i];
        rc = vmbi_tree_walk_run(&w, &set.v[i].tree, err);
        rc = rc == VMB_OK ? flush(&f, err) : rc;
    }
    vmbi_snapshots_free(&set);
    vmbi_patterns_free(f.patterns);
    vmbi_buf_free(&f.out);
    return rc;
}
