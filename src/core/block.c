/* SPDX-License-Identifier: Apache-2.0 */
/* A block: one collected object with everything that must be taken together with it. Related
 * objects come before the one that named them; hooks of all its pods run around the cut of all its
 * volumes; only then anything is written. */
#include "core/block.h"

#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/strs.h"
#include "core/action.h"
#include "core/plan.h"

enum {
    MAX_DEPTH = 32,          /* of objects naming objects */
    MAX_BLOCK_ITEMS = 20000,
    MAX_BLOCK_BYTES = 48 * 1024 * 1024
};

static void free_item(vmbi_block_item *it)
{
    vmbi_free(it->ns);
    vmbi_free(it->name);
    vmbi_free(it->json);
    vmbi_json_free(it->tree);
    vmbi_hook_list_free(&it->pre);
    vmbi_hook_list_free(&it->post);
}

static void free_block(vmbi_block *blk)
{
    for (size_t i = 0; i < blk->n; i++) {
        free_item(&blk->v[i]);
    }
    vmbi_free(blk->v);
}

static bool is_core(const vmbi_resource *res, const char *name)
{
    return strcmp(res->group_resource, name) == 0;
}

/* Appends; takes json over in every case. */
static vmb_code push(vmbi_block *blk, const vmbi_resource *res, const char *ns, const char *name,
                     char *json, size_t len, vmb_error **err)
{
    if (blk->n >= MAX_BLOCK_ITEMS || blk->bytes > MAX_BLOCK_BYTES) {
        vmb_free(json);
        return vmbi_fail(err, VMB_E_LIMIT, "more than %d objects or %d bytes belong together",
                         MAX_BLOCK_ITEMS, MAX_BLOCK_BYTES);
    }
    if (blk->n == blk->cap) {
        size_t cap = blk->cap == 0 ? 16 : blk->cap * 2;
        vmbi_block_item *v = vmbi_realloc_array(blk->v, cap, sizeof(*v));
        if (v == NULL) {
            vmb_free(json);
            return vmbi_fail_nomem(err);
        }
        blk->v = v;
        blk->cap = cap;
    }
    vmbi_block_item it = {.res = res, .json = json, .len = len, .is_pod = is_core(res, "pods")};
    it.ns = vmbi_strdup(ns != NULL ? ns : "");
    it.name = vmbi_strdup(name);
    if (it.ns == NULL || it.name == NULL) {
        free_item(&it);
        return vmbi_fail_nomem(err);
    }
    blk->bytes += len;
    blk->v[blk->n++] = it;
    return VMB_OK;
}

/* ---- the closure --------------------------------------------------------------------------- */

static vmb_code add_item(vmbi_backup *b, vmbi_block *blk, const vmbi_resource *res, const char *ns,
                         const char *name, char *json, size_t len, int depth, vmb_error **err);

/* A copy of an object with apiVersion and kind, which the items of a list lack. */
static vmb_code typed_copy(const vmbi_resource *res, const char *json, size_t len, char **out,
                           size_t *out_len, vmb_error **err)
{
    vmbi_object_scan scan;
    if (!vmbi_jscan_k8s_object(json, len, &scan)) {
        return vmbi_fail(err, VMB_E_PROTOCOL, "not a Kubernetes object");
    }
    vmbi_buf b = VMBI_BUF_INIT(VMBI_OBJECT_MAX_BYTES + 4096);
    size_t head = (size_t)(scan.body - json);
    vmbi_buf_add(&b, json, head);
    if (scan.api_version.p == NULL && scan.kind.p == NULL) {
        vmbi_buf_adds(&b, "\"apiVersion\":");
        vmbi_buf_add_json_string(&b, res->api_version, strlen(res->api_version));
        vmbi_buf_adds(&b, ",\"kind\":");
        vmbi_buf_add_json_string(&b, res->kind, strlen(res->kind));
        vmbi_buf_addc(&b, ',');
    }
    vmbi_buf_add(&b, json + head, len - head);
    vmb_code rc = vmbi_buf_take(&b, out, out_len, err, "object");
    vmbi_buf_free(&b);
    return rc;
}

/* Reads a related object; *json NULL (and VMB_OK) when it is not to be taken. */
static vmb_code fetch_related(vmbi_backup *b, const vmbi_resource *res, const vmbi_related *rel,
                              char **json, size_t *len, vmb_error **err)
{
    vmbi_buf text = VMBI_BUF_INIT(VMBI_OBJECT_MAX_BYTES);
    vmb_error *why = NULL;
    *json = NULL;
    vmb_code rc = vmbi_cluster_get(&b->cluster, &b->job, res->group, res->version, res->name,
                                   rel->ns, rel->name, &text, &why);
    vmbi_object_scan scan;
    char name[512];
    if (rc == VMB_OK && (!vmbi_jscan_k8s_object(text.data != NULL ? text.data : "", text.len,
                                                &scan) ||
                         !vmbi_jscan_string(scan.name, name, sizeof(name)) ||
                         strcmp(name, rel->name) != 0)) {
        rc = vmbi_fail(&why, VMB_E_PROTOCOL, "%s %s: the cluster gave something else", res->name,
                       rel->name);
    }
    if (rc == VMB_OK) {
        vmbi_item_verdict verdict = vmbi_filter_item(b->filter, res, rel->ns, &scan,
                                                     (rel->flags & VMB_RELATED_MUST) != 0);
        if (verdict == VMBI_ITEM_TAKE) {
            rc = typed_copy(res, text.data, text.len, json, len, &why);
        } else {
            vmbi_log_fields f = {res->group_resource, rel->ns != NULL ? rel->ns : "", rel->name,
                                 NULL};
            vmbi_runlog_add(&b->log, VMB_LOG_INFO, &f, "related object is left out: %s",
                            vmbi_item_verdict_text(verdict));
            if (b->plan != NULL) {
                vmbi_plan_leave(b, res, rel->ns, rel->name, vmbi_item_verdict_text(verdict));
            }
        }
    }
    vmbi_buf_free(&text);
    if (rc == VMB_E_NOT_FOUND) {
        vmbi_log_fields f = {res->group_resource, rel->ns != NULL ? rel->ns : "", rel->name,
                             NULL};
        vmbi_runlog_add(&b->log,
                        (rel->flags & VMB_RELATED_OPTIONAL) != 0 ? VMB_LOG_INFO
                                                                 : VMB_LOG_WARNING,
                        &f, "related object does not exist");
        vmb_error_free(why);
        return VMB_OK;
    }
    vmbi_error_move(err, &why);
    return rc;
}

static vmb_code add_related(vmbi_backup *b, vmbi_block *blk, const vmbi_related *rel, int depth,
                            vmb_error **err)
{
    const vmbi_resource *res =
        vmbi_discovery_find(b->cluster.discovery, rel->group, NULL, rel->resource);
    if (res == NULL) {
        vmbi_log_fields f = {rel->resource, rel->ns != NULL ? rel->ns : "", rel->name, NULL};
        vmbi_runlog_add(&b->log,
                        (rel->flags & VMB_RELATED_OPTIONAL) != 0 ? VMB_LOG_INFO
                                                                 : VMB_LOG_WARNING,
                        &f, "the cluster does not serve this related object's type");
        return VMB_OK;
    }
    if (!vmbi_item_name_ok(rel->name) || (rel->ns != NULL && !vmbi_item_name_ok(rel->ns))) {
        return vmbi_fail(err, VMB_E_PROVIDER, "the related %s \"%s\" in namespace \"%s\" has no "
                         "object's name", res->group_resource, rel->name,
                         rel->ns != NULL ? rel->ns : "");
    }
    vmbi_key16 key = vmbi_item_key(res->group_resource, rel->ns, rel->name);
    if (vmbi_keyset_has(&b->seen, &key)) {
        return VMB_OK;
    }
    char *json = NULL;
    size_t len = 0;
    bool added = false;
    vmb_code rc = fetch_related(b, res, rel, &json, &len, err);
    if (rc != VMB_OK || json == NULL) {
        return rc;
    }
    rc = vmbi_keyset_add(&b->seen, &key, &added, err);
    if (rc != VMB_OK) {
        vmb_free(json);
        return rc;
    }
    return add_item(b, blk, res, rel->ns, rel->name, json, len, depth + 1, err);
}

/* What actions made of an object must still be that object: its place in the archive, its hooks
 * and its volumes are found by what it was. */
static vmb_code check_replacement(const vmbi_resource *res, const char *ns, const char *name,
                                  const struct vmb_action_result *result, vmb_error **err)
{
    vmbi_json *tree = NULL;
    if (result->item == NULL) {
        return VMB_OK;
    }
    vmb_code rc = vmbi_json_parse(result->item, result->item_len, "an action's result", &tree, err);
    const char *its_ns = vmbi_json_path_str(tree, "metadata.namespace");
    if (rc == VMB_OK &&
        (!vmbi_streq(vmbi_json_get_str(tree, "kind"), res->kind) ||
         !vmbi_streq(vmbi_json_path_str(tree, "metadata.name"), name) ||
         strcmp(its_ns != NULL ? its_ns : "", ns != NULL ? ns : "") != 0 ||
         vmbi_json_get_str(tree, "apiVersion") == NULL)) {
        rc = vmbi_fail(err, VMB_E_PROVIDER, "an action gave another object instead of this one");
    }
    vmbi_json_free(tree);
    return rc;
}

/* Runs actions over the object, adds what it names, then the object. Takes json over. Failures of
 * this object are logged and leave it out; a returned failure ends the backup. */
static vmb_code add_item(vmbi_backup *b, vmbi_block *blk, const vmbi_resource *res, const char *ns,
                         const char *name, char *json, size_t len, int depth, vmb_error **err)
{
    struct vmb_action_result result = {0};
    vmb_error *why = NULL;
    vmb_code rc = VMB_OK;
    if (depth > MAX_DEPTH) {
        rc = vmbi_fail(&why, VMB_E_LIMIT, "objects name each other more than %d levels deep",
                       MAX_DEPTH);
    }
    if (rc == VMB_OK) {
        rc = vmbi_actions_run(b->ctx, &b->job, res, json, len, &result, &why);
    }
    if (rc == VMB_OK && !result.skip) {
        rc = check_replacement(res, ns, name, &result, &why);
    }
    for (size_t i = 0; i < result.n_related && rc == VMB_OK && !result.skip; i++) {
        rc = add_related(b, blk, &result.related[i], depth, &why);
    }
    if (rc == VMB_OK && !result.skip) {
        if (result.item != NULL) {
            vmb_free(json);
            json = vmbi_steal(&result.item);
            len = result.item_len;
        }
        rc = push(blk, res, ns, name, vmbi_steal(&json), len, &why);
    }
    if (rc == VMB_OK && result.skip && b->plan != NULL) {
        vmbi_plan_leave(b, res, ns, name, "an action leaves it out");
    }
    vmb_free(json);
    vmbi_action_result_free(&result);
    if (rc != VMB_OK && !vmbi_backup_is_over(b, rc)) {
        vmbi_runlog_error(&b->log, res->group_resource, ns != NULL ? ns : "", name, why,
                          "the object is not backed up");
        rc = VMB_OK;
    } else {
        vmbi_error_move(err, &why);
    }
    vmb_error_free(why);
    return rc;
}

/* ---- hooks --------------------------------------------------------------------------------- */

static vmb_code find_hooks(vmbi_backup *b, vmbi_block_item *pod, vmb_error **err)
{
    int64_t timeout = b->ctx->settings.hook_timeout_ns;
    vmb_code rc = vmbi_hooks_for_pod_raw(b->hooks, pod->json, pod->len, VMBI_HOOK_PRE, timeout,
                                         &pod->pre, err);
    if (rc == VMB_OK) {
        rc = vmbi_hooks_for_pod_raw(b->hooks, pod->json, pod->len, VMBI_HOOK_POST, timeout,
                                    &pod->post, err);
    }
    if (rc == VMB_OK && pod->pre.n + pod->post.n > 0 && pod->pre.pod_finished) {
        vmbi_log_fields f = {"pods", pod->ns, pod->name, NULL};
        vmbi_runlog_add(&b->log, VMB_LOG_WARNING, &f,
                        "hooks are skipped: the pod has completed, commands cannot run in it");
        vmbi_hook_list_free(&pod->pre);
        vmbi_hook_list_free(&pod->post);
        pod->pre = (vmbi_hook_list){0};
        pod->post = (vmbi_hook_list){0};
    }
    return rc;
}

static vmb_code run_pre_hooks(vmbi_backup *b, vmbi_block *blk, vmb_error **err)
{
    for (size_t i = 0; i < blk->n; i++) {
        vmbi_block_item *it = &blk->v[i];
        if (!it->is_pod) {
            continue;
        }
        vmb_error *why = NULL;
        vmb_code rc = find_hooks(b, it, &why);
        if (rc != VMB_OK && !vmbi_backup_is_over(b, rc)) {
            vmbi_runlog_error(&b->log, "pods", it->ns, it->name, why, "the pod is not backed up");
            vmb_error_free(why);
            it->drop = true;
            continue;
        }
        vmbi_error_move(err, &why);
        if (rc == VMB_OK) {
            rc = vmbi_limits_check(&b->job.limits, err, "run hooks");
        }
        if (rc != VMB_OK) {
            return rc;
        }
        if (it->pre.n > 0) {
            it->held = true;
            it->held_ns = vmbi_mono_ns();
            vmbi_hooks_run(b, it->ns, it->name, &it->pre, VMBI_HOOK_PRE, &it->drop);
        }
    }
    return VMB_OK;
}

/* Every pod whose pre hooks were started gets its post hooks, whatever happened in between; pods
 * with post hooks only get them when the block was cut. */
static vmb_code run_post_hooks(vmbi_backup *b, vmbi_block *blk, bool cut, vmb_error **err)
{
    vmb_code rc = VMB_OK;
    for (size_t i = 0; i < blk->n; i++) {
        vmbi_block_item *it = &blk->v[i];
        if (!it->is_pod || (!it->held && !(cut && it->post.n > 0))) {
            continue;
        }
        bool failed = false;
        vmbi_hooks_run(b, it->ns, it->name, &it->post, VMBI_HOOK_POST, &failed);
        if (it->held) {
            vmb_code noted = vmbi_backup_note_freeze(b, it->ns, it->name,
                                                     vmbi_mono_ns() - it->held_ns, err);
            rc = rc == VMB_OK ? noted : rc;
        }
    }
    return rc;
}

/* ---- volumes ------------------------------------------------------------------------------- */

vmbi_block_item *vmbi_block_find(vmbi_block *blk, const char *group_resource, const char *ns,
                                 const char *name)
{
    for (size_t i = 0; i < blk->n; i++) {
        vmbi_block_item *it = &blk->v[i];
        if (strcmp(it->name, name) == 0 && strcmp(it->ns, ns) == 0 &&
            is_core(it->res, group_resource)) {
            return it;
        }
    }
    return NULL;
}

vmb_code vmbi_block_tree(vmbi_block_item *it, const vmbi_json **out, vmb_error **err)
{
    vmb_code rc = it->tree != NULL ? VMB_OK
                                   : vmbi_json_parse(it->json, it->len, it->name, &it->tree, err);
    if (rc == VMB_OK) {
        *out = it->tree;
    }
    return rc;
}

void vmbi_block_drop_trees(vmbi_block *blk)
{
    for (size_t i = 0; i < blk->n; i++) {
        vmbi_json_free(blk->v[i].tree);
        blk->v[i].tree = NULL;
    }
}

static vmb_code begin_volume(vmbi_backup *b, vmbi_block *blk, vmbi_block_item *it, vmb_error **err)
{
    vmbi_json *claim = NULL;
    vmb_code rc = vmbi_json_parse(it->json, it->len, it->name, &claim, err);
    if (rc == VMB_OK) {
        rc = vmbi_volume_begin(b, blk, claim, &it->volume, &it->drop, err);
    }
    vmbi_json_free(claim);
    return rc;
}

static vmb_code choose_pod_volumes(vmbi_backup *b, vmbi_block *blk, vmbi_block_item *it,
                                   vmb_error **err)
{
    const vmbi_json *pod = NULL;
    vmb_code rc = vmbi_block_tree(it, &pod, err);
    if (rc == VMB_OK && !it->drop) {
        rc = vmbi_pod_volumes_choose(b, blk, pod, &it->drop, err);
    }
    return rc;
}

/* Calls fn for the block's items of one resource; what fails is logged and left out. */
static vmb_code for_items(vmbi_backup *b, vmbi_block *blk, const char *resource,
                          vmb_code (*fn)(vmbi_backup *, vmbi_block *, vmbi_block_item *,
                                         vmb_error **),
                          vmb_error **err)
{
    vmb_code rc = VMB_OK;
    for (size_t i = 0; i < blk->n && rc == VMB_OK; i++) {
        vmbi_block_item *it = &blk->v[i];
        if (!is_core(it->res, resource)) {
            continue;
        }
        vmb_error *why = NULL;
        rc = fn(b, blk, it, &why);
        if (rc != VMB_OK && !vmbi_backup_is_over(b, rc)) {
            vmbi_runlog_error(&b->log, resource, it->ns, it->name, why,
                              "the object is not backed up");
            vmb_error_free(vmbi_steal(&why));
            it->drop = true;
            rc = VMB_OK;
        }
        vmbi_error_move(err, &why);
    }
    return rc;
}

/* Starts the snapshots of all claims and the filesystem backups of all pods, then waits for all
 * cuts, and for what is saved. */
static vmb_code cut_volumes(vmbi_backup *b, vmbi_block *blk, vmb_error **err)
{
    vmbi_volume **volumes = vmbi_alloc_array(blk->n, sizeof(vmbi_volume *));
    vmbi_fs_batch *batch = NULL;
    size_t first = b->n_pod_volumes;
    size_t n = 0;
    if (volumes == NULL) {
        return vmbi_fail_nomem(err);
    }
    vmb_code rc = for_items(b, blk, "pods", choose_pod_volumes, err);
    if (rc == VMB_OK) {
        rc = for_items(b, blk, "persistentvolumeclaims", begin_volume, err);
    }
    vmbi_block_drop_trees(blk);
    if (rc == VMB_OK && b->plan == NULL && !b->ctx->serial) {
        rc = vmbi_fs_begin(b, first, &batch, err);
    }
    for (size_t i = 0; i < blk->n; i++) {
        if (blk->v[i].volume != NULL) {
            volumes[n++] = blk->v[i].volume;
        }
    }
    if (n > 0) {
        vmbi_volumes_wait_cut(b, volumes, n); /* also after a failure: those begun are driven */
    }
    if (rc == VMB_OK && b->plan == NULL && b->ctx->serial) { /* two providers at a time are not allowed */
        rc = vmbi_fs_begin(b, first, &batch, err);
    }
    vmbi_fs_wait(batch);
    vmbi_free(volumes);
    return rc;
}

static vmb_code patch_claim(vmbi_backup *b, vmbi_block_item *it, vmb_error **err)
{
    vmbi_json *tree = NULL;
    char *text = NULL;
    size_t len = 0;
    vmb_code rc = vmbi_json_parse(it->json, it->len, it->name, &tree, err);
    if (rc == VMB_OK) {
        rc = vmbi_volume_patch_claim(b, it->volume, tree, err);
    }
    if (rc == VMB_OK) {
        rc = vmbi_json_to_text(tree, &text, &len, err);
    }
    if (rc == VMB_OK) {
        vmb_free(it->json);
        it->json = text;
        it->len = len;
    }
    vmbi_json_free(tree);
    return rc;
}

/* ---- writing ------------------------------------------------------------------------------- */

vmb_code vmbi_backup_write(vmbi_backup *b, const vmbi_resource *res, const char *ns,
                           const char *name, const char *json, size_t len,
                           const vmbi_object_scan *scan, vmb_error **err)
{
    vmb_code rc = VMB_OK;
    if (b->plan != NULL) {
        vmbi_plan_take(b, res, ns, name);
    } else {
        rc = vmbi_archive_add(&b->archive, res, ns, name, json, len, scan, err);
    }
    if (rc == VMB_OK && !vmbi_map_has(&b->used_resources, res->group_resource)) {
        rc = vmbi_map_set(&b->used_resources, res->group_resource, NULL, err);
    }
    if (rc == VMB_OK && ns != NULL && ns[0] != '\0' && !vmbi_map_has(&b->used_namespaces, ns)) {
        rc = vmbi_map_set(&b->used_namespaces, ns, NULL, err);
    }
    if (rc == VMB_OK) {
        vmbi_events_progress(b->events, b->archive.items, -1, false);
    }
    return rc;
}

/* Did the filesystem backup fail that was to save this claim? */
static bool lost_by_pod(const vmbi_backup *b, const vmbi_block_item *it)
{
    vmbi_buf key = VMBI_BUF_INIT(1024);
    const vmbi_pod_volume *v = NULL;
    if (b->fs_claims.n > 0 && vmbi_claim_key(it->ns, it->name, &key, NULL) == VMB_OK) {
        v = vmbi_map_get(&b->fs_claims, key.data);
    }
    vmbi_buf_free(&key);
    return v != NULL && v->state != VMBI_FS_SAVED;
}

static vmb_code write_items(vmbi_backup *b, vmbi_block *blk, vmb_error **err)
{
    for (size_t i = 0; i < blk->n; i++) {
        vmbi_block_item *it = &blk->v[i];
        vmb_error *why = NULL;
        vmb_code rc = VMB_OK;
        if (it->volume != NULL && it->volume->failed) {
            continue; /* logged when it failed; a claim without its data is not kept */
        }
        if (b->plan == NULL && is_core(it->res, "persistentvolumeclaims") && lost_by_pod(b, it)) {
            continue; /* the same */
        }
        if (it->drop) {
            continue;
        }
        if (it->volume != NULL) {
            rc = patch_claim(b, it, &why);
        }
        vmbi_object_scan scan;
        if (rc == VMB_OK && !vmbi_jscan_k8s_object(it->json, it->len, &scan)) {
            rc = vmbi_fail(&why, VMB_E_PROVIDER, "an action gave something that is no object");
        }
        if (rc == VMB_OK) {
            rc = vmbi_backup_write(b, it->res, it->ns, it->name, it->json, it->len, &scan, &why);
        }
        if (rc != VMB_OK && (b->archive.broken != VMB_OK || rc == VMB_E_NOMEM)) {
            vmbi_error_move(err, &why);
            return rc;
        }
        if (rc != VMB_OK) {
            vmbi_runlog_error(&b->log, it->res->group_resource, it->ns, it->name, why,
                              "the object is not backed up");
            vmb_error_free(why);
        }
    }
    return VMB_OK;
}

vmb_code vmbi_block_take(vmbi_backup *b, const vmbi_resource *res, const char *ns,
                         const char *name, const char *json, size_t len, vmb_error **err)
{
    vmbi_block blk = {0};
    char *copy = NULL;
    vmb_code rc = typed_copy(res, json, len, &copy, &len, err);
    if (rc == VMB_OK) {
        rc = add_item(b, &blk, res, ns, name, copy, len, 0, err);
    }
    if (rc == VMB_OK) {
        rc = run_pre_hooks(b, &blk, err);
        bool cut = false;
        if (rc == VMB_OK) {
            rc = cut_volumes(b, &blk, err);
            cut = rc == VMB_OK;
        }
        vmb_code post = run_post_hooks(b, &blk, cut, cut ? err : NULL);
        vmbi_volumes_drop_failed(b);
        rc = rc == VMB_OK ? post : rc;
    }
    if (rc == VMB_OK) {
        rc = vmbi_limits_check(&b->job.limits, err, "back up objects");
    }
    if (rc == VMB_OK) {
        rc = write_items(b, &blk, err);
    }
    free_block(&blk);
    return rc;
}
