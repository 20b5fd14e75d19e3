/* SPDX-License-Identifier: Apache-2.0 */
/* One object: whether it is restored, what is changed in it, and how it gets into the cluster. */
#include "core/restore/restore.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "core/restore/hooks.h"

enum { ID_SIZE = 1024 };

static const char pods[] = "pods";
static const char jobs[] = "jobs.batch";
static const char claims[] = "persistentvolumeclaims";
static const char volumes[] = "persistentvolumes";
static const char crds[] = "customresourcedefinitions.apiextensions.k8s.io";

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

/* ---- where --------------------------------------------------------------------------------- */

/* Group, version and plural of the object as it is now: an action may have changed its kind. */
typedef struct target {
    char group[256];
    char version[64];
    char resource[256];
} target;

static bool find_target(vmbi_restore *r, const vmbi_ritem *item, target *t)
{
    const char *api = vmbi_json_get_str(item->obj, "apiVersion");
    const char *kind = vmbi_json_get_str(item->obj, "kind");
    const char *was = vmbi_json_get_str(item->original, "kind");
    if (api == NULL || kind == NULL) {
        return false;
    }
    const char *slash = strchr(api, '/');
    int n =
        snprintf(t->group, sizeof(t->group), "%.*s", slash != NULL ? (int)(slash - api) : 0, api);
    int m = snprintf(t->version, sizeof(t->version), "%s", slash != NULL ? slash + 1 : api);
    const char *dot = strchr(item->group_resource, '.');
    int k = snprintf(t->resource, sizeof(t->resource), "%.*s",
                     dot != NULL ? (int)(dot - item->group_resource)
                                 : (int)strlen(item->group_resource),
                     item->group_resource);
    if (n < 0 || (size_t)n >= sizeof(t->group) || m < 0 || (size_t)m >= sizeof(t->version) ||
        k < 0 || (size_t)k >= sizeof(t->resource)) {
        return false;
    }
    if (was != NULL && strcmp(was, kind) != 0) {
        const vmbi_resource *res = vmbi_discovery_find_object(r->cluster.discovery, api, kind);
        if (res == NULL || snprintf(t->resource, sizeof(t->resource), "%s", res->name) < 0) {
            return false;
        }
    }
    return true;
}

/* ---- status -------------------------------------------------------------------------------- */

static bool wants_status(vmbi_restore *r, const vmbi_ritem *item)
{
    const char *mark = vmbi_json_get_str(vmbi_json_path(item->obj, "metadata.annotations"),
                                         "velero.io/restore-status");
    bool wants = vmbi_restore_wants_status(r->filter, item->group_resource);
    if (mark == NULL) {
        return wants;
    }
    while (vmbi_is_space(*mark)) {
        mark++;
    }
    char word[8] = "";
    size_t n = strlen(mark);
    while (n > 0 && vmbi_is_space(mark[n - 1])) {
        n--;
    }
    if (n < sizeof(word)) {
        memcpy(word, mark, n);
        word[n] = '\0';
    }
    if (vmbi_strcaseeq(word, "true")) {
        return true;
    }
    return vmbi_strcaseeq(word, "false") ? false : wants;
}

static void restore_status(vmbi_restore *r, const vmbi_ritem *item, const target *t)
{
    vmbi_json *status = vmbi_json_get(item->original, "status");
    if (status == NULL || !wants_status(r, item)) {
        return;
    }
    vmbi_json *patch = vmbi_json_object();
    char *text = NULL;
    size_t len = 0;
    vmb_error *why = NULL;
    vmb_code rc = patch != NULL && vmbi_json_set(patch, "status", vmbi_json_ref(status))
                      ? vmbi_json_to_text(patch, &text, &len, &why)
                      : vmbi_fail_nomem(&why);
    if (rc == VMB_OK) {
        rc = vmbi_cluster_patch(&r->cluster, &r->job, t->group, t->version, t->resource,
                                item->target[0] != '\0' ? item->target : NULL,
                                vmbi_json_path_str(item->obj, "metadata.name"), "status",
                                VMB_PATCH_MERGE, text, len, NULL, &why);
    }
    if (rc != VMB_OK && !vmbi_restore_is_over(r, rc, &why)) {
        vmbi_restore_warn(r, item->target, why, "status of %s %s", item->group_resource,
                          item->name);
    }
    vmb_error_free(why);
    vmb_free(text);
    vmbi_json_free(patch);
}

/* ---- definitions --------------------------------------------------------------------------- */

static bool is_established(const vmbi_json *crd)
{
    const vmbi_json *list = vmbi_json_path(crd, "status.conditions");
    bool established = false;
    bool accepted = false;
    for (size_t i = 0; i < vmbi_json_len(list); i++) {
        const vmbi_json *c = vmbi_json_at(list, i);
        bool yes = vmbi_streq(vmbi_json_get_str(c, "status"), "True");
        established |= yes && vmbi_streq(vmbi_json_get_str(c, "type"), "Established");
        accepted |= yes && vmbi_streq(vmbi_json_get_str(c, "type"), "NamesAccepted");
    }
    return established && accepted;
}

/* Objects of the new kind can be created only when the server is ready for them. */
static void wait_definition(vmbi_restore *r, const vmbi_ritem *item, const target *t)
{
    vmbi_limits limits = vmbi_limits_within(&r->job.limits, r->ctx->settings.resource_timeout_ns);
    int64_t pause = 50 * VMBI_MS;
    vmb_error *why = NULL;
    vmb_code rc = VMB_OK;
    bool ready = false;
    while (rc == VMB_OK && !ready) {
        vmbi_buf text = VMBI_BUF_INIT(VMBI_OBJECT_MAX_BYTES);
        vmbi_json *crd = NULL;
        rc = vmbi_cluster_get(&r->cluster, &r->job, t->group, t->version, t->resource, NULL,
                              item->name, &text, &why);
        if (rc == VMB_OK) {
            rc = vmbi_json_parse(text.data != NULL ? text.data : "", text.len, item->name, &crd,
                                 &why);
        }
        ready = rc == VMB_OK && is_established(crd);
        vmbi_json_free(crd);
        vmbi_buf_free(&text);
        if (rc == VMB_OK && !ready) {
            rc = vmbi_limits_sleep(&limits, pause, &why, "wait for a CRD");
            pause = pause < VMBI_SECOND ? 2 * pause : pause;
        }
    }
    if (rc != VMB_OK && !vmbi_restore_is_over(r, rc, &why)) {
        vmbi_restore_error(r, item->target, why,
                           "the CRD %s is not available to use for custom resources", item->name);
    }
    vmb_error_free(why);
}

/* ---- creating ------------------------------------------------------------------------------ */

/* The server's words for a node port that another service has: Velero takes an existing service
 * for one that was there already. */
static bool is_port_clash(const vmbi_ritem *item, const vmb_error *why)
{
    return vmbi_streq(vmbi_json_get_str(item->obj, "kind"), "Service") &&
           strstr(vmb_error_message(why), "provided port is already allocated") != NULL;
}

static bool is_there(vmbi_restore *r, const vmbi_ritem *item, const target *t)
{
    vmbi_buf text = VMBI_BUF_INIT(VMBI_OBJECT_MAX_BYTES);
    vmb_code rc = vmbi_cluster_get(&r->cluster, &r->job, t->group, t->version, t->resource,
                                   item->target[0] != '\0' ? item->target : NULL,
                                   vmbi_json_path_str(item->obj, "metadata.name"), &text, NULL);
    vmbi_buf_free(&text);
    return rc == VMB_OK;
}

/* Creates have no retry in the client, since a generated name would make two objects. These have
 * names of their own: after a lost answer the server is asked (and waited for, as reads are)
 * whether the object came into being. */
static vmb_code create_named(vmbi_restore *r, const vmbi_ritem *item, const target *t,
                             const char *text, size_t len, vmb_error **err)
{
    const char *ns = item->target[0] != '\0' ? item->target : NULL;
    vmb_code rc = vmbi_cluster_create(&r->cluster, &r->job, t->group, t->version, t->resource, ns,
                                      text, len, NULL, err);
    if (rc != VMB_E_NET && rc != VMB_E_SERVER) {
        return rc;
    }
    vmbi_buf live = VMBI_BUF_INIT(VMBI_OBJECT_MAX_BYTES);
    vmb_code there = vmbi_cluster_get(&r->cluster, &r->job, t->group, t->version, t->resource, ns,
                                      vmbi_json_path_str(item->obj, "metadata.name"), &live, NULL);
    vmbi_buf_free(&live);
    if (there == VMB_OK) {
        return VMB_E_EXISTS;
    }
    if (there == VMB_E_NOT_FOUND) {
        vmb_error_free(vmbi_steal(err));
        rc = vmbi_cluster_create(&r->cluster, &r->job, t->group, t->version, t->resource, ns, text,
                                 len, NULL, err);
    }
    return rc;
}

static const vmbi_restored *create_failed(vmbi_restore *r, vmbi_ritem *item, const target *t,
                                          vmb_code rc, vmb_error **why)
{
    if (rc == VMB_E_EXISTS || (is_port_clash(item, *why) && is_there(r, item, t))) {
        return vmbi_restore_existing(r, item, t->group, t->version, t->resource);
    }
    if (!vmbi_restore_is_over(r, rc, why)) {
        char id[ID_SIZE];
        vmbi_restore_id(item, id, sizeof(id));
        vmbi_restore_error(r, item->target, *why, "error restoring %s", id);
    }
    return &vmbi_restored_failed;
}

static const vmbi_restored *create(vmbi_restore *r, vmbi_ritem *item)
{
    vmbi_json *meta = vmbi_json_get(item->obj, "metadata");
    vmb_error *why = NULL;
    char *text = NULL;
    size_t len = 0;
    target t;
    bool ok = item->target[0] == '\0' || vmbi_json_set_str(meta, "namespace", item->target);
    ok = ok && vmbi_restore_label(r, item->obj);
    if (!ok) {
        vmbi_restore_break(r, VMB_E_NOMEM, NULL);
        return &vmbi_restored_failed;
    }
    if (!find_target(r, item, &t)) {
        vmbi_restore_error(r, item->target, NULL, "error restoring %s %s: what kind is it?",
                           item->group_resource, item->name);
        return &vmbi_restored_failed;
    }
    vmb_code rc = vmbi_json_to_text(item->obj, &text, &len, &why);
    if (rc == VMB_OK) {
        rc = create_named(r, item, &t, text, len, &why);
    }
    vmb_free(text);
    const vmbi_restored *what = &vmbi_restored_created;
    if (rc != VMB_OK) {
        what = create_failed(r, item, &t, rc, &why);
    } else {
        restore_status(r, item, &t);
        if (strcmp(item->group_resource, crds) == 0) {
            wait_definition(r, item, &t);
        }
        if (strcmp(item->group_resource, pods) == 0 &&
            (vmbi_restore_note_pod(r, item, &why) != VMB_OK ||
             vmbi_restore_note_volumes(r, item, &why) != VMB_OK) &&
            !vmbi_restore_is_over(r, vmb_error_code(why), &why)) {
            vmbi_restore_error(r, item->target, why, "hooks of pod %s", item->name);
        }
    }
    vmb_error_free(why);
    return what;
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
    return create(r, item);
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
    vmb_code rc = vmbi_json_parse(json, len, "object", &item->obj, &why);
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
