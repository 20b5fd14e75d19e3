/* SPDX-License-Identifier: Apache-2.0 */
/* One object: whether it is restored, and what is changed in it. */
#include "core/restore/restore.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"

enum {
    ID_SIZE = 1024,
    CREATE_MAX_BYTES = 8 * 1024 * 1024 /* API servers take requests of 3 MiB */
};

static const char pods[] = "pods";
static const char jobs[] = "jobs.batch";
static const char claims[] = "persistentvolumeclaims";
static const char volumes[] = "persistentvolumes";

int vmbi_restore_rank(const vmbi_restore *r, const char *group_resource)
{
    for (size_t i = 0; i < r->order.n; i++) {
        if (strcmp(r->order.v[i], group_resource) == 0) {
            return (int)i;
        }
    }
    return (int)r->order.n;
}

/* ---- whether ------------------------------------------------------------------------------- */

/* The filters that also hold for objects that others name. */
static bool allowed(vmbi_restore *r, const vmbi_ritem *item)
{
    if (!vmbi_restore_wants_resource(r->filter, item->group_resource)) {
        return false;
    }
    if (item->ns[0] == '\0') {
        return !vmbi_restore_refuses_cluster_scope(r->filter);
    }
    return (vmbi_restore_wants_namespace(r->filter, item->ns) ||
            vmbi_restore_must_have(item->group_resource)) &&
           vmbi_restore_namespace(r, item->ns, item->target);
}

/* Work that is done is not done again. */
static bool is_completed(const vmbi_ritem *item)
{
    if (strcmp(item->group_resource, pods) == 0) {
        const char *phase = vmbi_json_path_str(item->obj, "status.phase");
        return vmbi_streq(phase, "Succeeded") || vmbi_streq(phase, "Failed");
    }
    if (strcmp(item->group_resource, jobs) == 0) {
        const char *at = vmbi_json_path_str(item->obj, "status.completionTime");
        return at != NULL && at[0] != '\0';
    }
    return false;
}

static bool is_mirror(const vmbi_ritem *item)
{
    const char *mark = vmbi_json_get_str(vmbi_json_path(item->obj, "metadata.annotations"),
                                         "kubernetes.io/config.mirror");
    return strcmp(item->group_resource, pods) == 0 && mark != NULL && mark[0] != '\0';
}

/* ---- preparing ----------------------------------------------------------------------------- */

/* Rules that fail are errors of the restore; the object is restored without them. */
static void modify(vmbi_restore *r, vmbi_ritem *item)
{
    vmbi_strs problems = {0};
    vmb_error *why = NULL;
    if (r->modifiers == NULL) {
        return;
    }
    vmb_code rc =
        vmbi_modifiers_apply(r->modifiers, item->group_resource, &item->obj, &problems, &why);
    if (rc != VMB_OK) {
        vmbi_restore_break(r, rc, &why);
    }
    for (size_t i = 0; i < problems.n; i++) {
        vmbi_restore_error(r, item->target, NULL, "%s", problems.v[i]);
    }
    vmbi_strs_free(&problems);
    vmb_error_free(why);
}

/* Everything between the object of the backup and the one to create. */
static const vmbi_restored *prepare_and_create(vmbi_restore *r, vmbi_ritem *item)
{
    bool failed = false;
    if (is_mirror(item)) {
        vmbi_restore_info(r, item, "not restored: it is a mirror pod");
        return &vmbi_restored_skipped;
    }
    if (strcmp(item->group_resource, volumes) == 0 && !vmbi_restore_volume(r, item, &failed)) {
        return failed ? &vmbi_restored_failed : &vmbi_restored_skipped;
    }
    vmbi_restore_reset(item->obj);
    vmb_error *why = NULL;
    vmb_code rc = vmbi_restore_actions(r, item, &why);
    if (rc != VMB_OK) {
        if (!vmbi_restore_is_over(r, rc, &why)) {
            char id[ID_SIZE];
            vmbi_restore_id(item, id, sizeof(id));
            vmbi_restore_error(r, item->target, why, "error preparing %s", id);
        }
        vmb_error_free(why);
        return &vmbi_restored_failed;
    }
    if (item->skip) {
        return &vmbi_restored_skipped;
    }
    if (strcmp(item->group_resource, claims) == 0 && !vmbi_restore_claim_volume(r, item)) {
        vmbi_restore_break(r, VMB_E_NOMEM, NULL);
        return &vmbi_restored_failed;
    }
    modify(r, item);
    return vmbi_restore_create(r, item);
}

static bool make_key(const vmbi_ritem *item, vmbi_buf *key)
{
    const char *api = vmbi_json_get_str(item->obj, "apiVersion");
    const char *kind = vmbi_json_get_str(item->obj, "kind");
    vmbi_buf_addf(key, "%s/%s|%s|%s", api != NULL ? api : "", kind != NULL ? kind : "",
                  item->target, item->name);
    return key->status == VMB_OK;
}

static void restore_object(vmbi_restore *r, vmbi_ritem *item, int asker_rank, bool *exists)
{
    vmbi_buf key = VMBI_BUF_INIT(4096);
    const vmbi_restored *what = &vmbi_restored_failed;
    if (!allowed(r, item)) {
        return;
    }
    if (is_completed(item)) {
        vmbi_restore_info(r, item, "not restored: it is complete");
        return;
    }
    if (!make_key(item, &key)) {
        vmbi_restore_break(r, key.status, NULL);
    } else if (vmbi_restore_claim(r, key.data, item->rank < asker_rank, &what)) {
        item->original = vmbi_json_copy(item->obj);
        if (item->original == NULL) {
            vmbi_restore_break(r, VMB_E_NOMEM, NULL);
        } else {
            what = prepare_and_create(r, item);
        }
        vmbi_restore_settle(r, key.data, what != NULL ? what : &vmbi_restored_failed);
    }
    if (exists != NULL && what != NULL) {
        *exists = what->exists;
    }
    vmbi_buf_free(&key);
}

static void restore_text(vmbi_restore *r, vmbi_ritem *item, const char *json, size_t len,
                         int asker_rank, bool *exists)
{
    vmb_error *why = NULL;
    item->target = item->ns[0] != '\0' ? vmbi_restore_target(r->filter, item->ns) : "";
    vmb_code rc =
        len <= CREATE_MAX_BYTES
            ? vmbi_json_parse(json, len, "object", &item->obj, &why)
            : vmbi_fail(&why, VMB_E_LIMIT, "%zu bytes are more than an API server takes", len);
    if (rc == VMB_OK && !vmbi_json_is_object(vmbi_json_get(item->obj, "metadata"))) {
        rc = vmbi_fail(&why, VMB_E_PARSE, "it has no metadata");
    }
    if (rc == VMB_OK) {
        item->rank = vmbi_restore_rank(r, item->group_resource);
        restore_object(r, item, asker_rank, exists);
    } else if (!vmbi_restore_is_over(r, rc, &why)) {
        vmbi_restore_error(r, item->target, why, "error decoding %s %s", item->group_resource,
                           item->name);
    }
    vmb_error_free(why);
    vmbi_json_free(item->obj);
    vmbi_json_free(item->original);
}

/* Namespaces are made when something goes into them, and for their own sake here. */
static void restore_namespace(vmbi_restore *r, const char *name)
{
    if (!vmbi_restore_refuses_cluster_scope(r->filter)) {
        (void)vmbi_restore_namespace(r, name, vmbi_restore_target(r->filter, name));
    }
}

void vmbi_restore_item(vmbi_restore *r, const char *group_resource, const char *ns,
                       const char *name, const char *json, size_t len, int depth, bool *exists)
{
    if (strcmp(group_resource, "namespaces") == 0) {
        restore_namespace(r, name);
        return;
    }
    vmbi_ritem item = {
        .group_resource = group_resource, .ns = ns, .name = name, .target = "", .depth = depth};
    restore_text(r, &item, json, len, 0, exists);
}

void vmbi_restore_related(vmbi_restore *r, const vmbi_ritem *by, const char *group_resource,
                          const char *ns, const char *name)
{
    vmbi_buf text = VMBI_BUF_INIT(VMBI_INDEX_MAX_ITEM);
    vmb_error *why = NULL;
    ns = ns != NULL ? ns : "";
    if (by->depth >= VMBI_RESTORE_MAX_DEPTH) {
        return;
    }
    vmb_code rc = vmbi_index_get(&r->index, group_resource, ns, name, &text, &why);
    if (rc == VMB_OK) {
        vmbi_ritem item = {.group_resource = group_resource,
                           .ns = ns,
                           .name = name,
                           .target = "",
                           .depth = by->depth + 1};
        restore_text(r, &item, text.data, text.len, by->rank, NULL);
    } else if (!vmbi_restore_is_over(r, rc, &why)) {
        vmbi_restore_warn(r, ns, why, "unable to restore additional item");
    }
    vmb_error_free(why);
    vmbi_buf_free(&text);
}
