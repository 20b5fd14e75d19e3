/* SPDX-License-Identifier: Apache-2.0 */
/* Collection: every wanted resource, listed page by page, filtered and taken; then the Namespace
 * objects and the definitions of the custom resources that were taken. */
#include "core/backup.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/strs.h"
#include "codec/digest.h"
#include "core/action.h"
#include "core/plan.h"

enum { MAX_NAMESPACES = 1000000 };

vmbi_key16 vmbi_item_key(const char *group_resource, const char *ns, const char *name)
{
    /* "resource\0ns\0name\0": names hold no NUL, so the text is unambiguous */
    char text[1024];
    const char *parts[3] = {group_resource, ns != NULL ? ns : "", name};
    size_t len = 0;
    uint8_t digest[32];
    vmbi_key16 key;
    for (size_t i = 0; i < 3; i++) {
        size_t n = strlen(parts[i]) + 1;
        if (n > sizeof(text) - len) {
            n = sizeof(text) - len; /* Kubernetes' names are far shorter; cut ones still differ */
        }
        memcpy(text + len, parts[i], n);
        len += n;
    }
    vmbi_sha256(text, len, digest);
    memcpy(key.b, digest, sizeof(key.b));
    return key;
}

bool vmbi_item_name_ok(const char *name)
{
    if (name[0] == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
        return false;
    }
    for (const char *p = name; *p != '\0'; p++) {
        if (*p == '/' || (unsigned char)*p < 0x20 || *p == 0x7f) {
            return false;
        }
    }
    return vmbi_utf8_valid(name, strlen(name));
}

bool vmbi_backup_is_over(const vmbi_backup *b, vmb_code rc)
{
    return rc == VMB_E_CANCELLED || rc == VMB_E_NOMEM || b->archive.broken != VMB_OK;
}

/* ---- namespaces ---------------------------------------------------------------------------- */

typedef struct ns_pass {
    vmbi_strs *all;
    vmbi_strs *excluded;
} ns_pass;

static bool label_is_true(vmbi_slice labels, const char *key)
{
    vmbi_slice value;
    return labels.p != NULL && vmbi_jscan_find(labels.p, labels.len, key, &value) &&
           value.len == 6 && memcmp(value.p, "\"true\"", 6) == 0;
}

static vmb_code note_namespace(void *user, const char *json, size_t len, vmb_error **err)
{
    ns_pass *pass = user;
    vmbi_object_scan scan;
    char name[256];
    if (!vmbi_jscan_k8s_object(json, len, &scan) ||
        !vmbi_jscan_string(scan.name, name, sizeof(name))) {
        return vmbi_fail(err, VMB_E_PROTOCOL, "list of namespaces: not a Kubernetes object");
    }
    if (pass->all->n >= MAX_NAMESPACES) {
        return vmbi_fail(err, VMB_E_LIMIT, "more than %d namespaces", MAX_NAMESPACES);
    }
    vmb_code rc = vmbi_strs_add(pass->all, name, err);
    if (rc == VMB_OK && label_is_true(scan.labels, "velero.io/exclude-from-backup")) {
        rc = vmbi_strs_add(pass->excluded, name, err);
    }
    return rc;
}

vmb_code vmbi_collect_namespaces(vmbi_backup *b, vmbi_strs *all, vmbi_strs *excluded,
                                 vmb_error **err)
{
    const vmbi_resource *res =
        vmbi_discovery_find(b->cluster.discovery, "", NULL, "namespaces");
    if (res == NULL) {
        return vmbi_fail(err, VMB_E_UNSUPPORTED, "the cluster does not serve namespaces");
    }
    ns_pass pass = {all, excluded};
    struct vmb_item_sink sink = {note_namespace, &pass};
    vmb_code rc = vmbi_cluster_list(&b->cluster, &b->job, res, NULL, NULL,
                                    b->ctx->settings.page_size, &sink, err);
    return rc != VMB_OK ? vmbi_wrap(err, rc, "list namespaces") : VMB_OK;
}

/* ---- one resource -------------------------------------------------------------------------- */

typedef struct list_pass {
    vmbi_backup *b;
    const vmbi_resource *res;
    bool as_block; /* actions, hooks or volumes may concern it */
    int64_t until_check;
    vmb_code failed; /* what ended the list from here, should the provider not hand it on */
} list_pass;

/* One object of a list could not be taken: unless the backup is over, it is reported and the list
 * goes on. name "": unknown. */
static vmb_code skip_object(list_pass *pass, const char *ns, const char *name, vmb_code rc,
                            vmb_error **why, vmb_error **err)
{
    if (rc != VMB_OK && !vmbi_backup_is_over(pass->b, rc)) {
        vmbi_runlog_error(&pass->b->log, pass->res->group_resource, ns, name, *why,
                          "the object is not backed up");
        vmb_error_free(vmbi_steal(why));
        return VMB_OK;
    }
    vmbi_error_move(err, why);
    return rc;
}

static vmb_code take_object(list_pass *pass, const char *json, size_t len, vmb_error **err)
{
    vmbi_backup *b = pass->b;
    vmbi_object_scan scan;
    char name[512] = "";
    char ns[256] = "";
    vmb_error *why = NULL;
    vmb_code rc = VMB_OK;
    if (!vmbi_jscan_k8s_object(json, len, &scan) ||
        !vmbi_jscan_string(scan.name, name, sizeof(name)) ||
        (scan.ns.p != NULL && !vmbi_jscan_string(scan.ns, ns, sizeof(ns)))) {
        rc = vmbi_fail(&why, VMB_E_PROTOCOL, "the list holds something that is no object");
    } else if (!vmbi_item_name_ok(name) || (ns[0] != '\0' && !vmbi_item_name_ok(ns))) {
        rc = vmbi_fail(&why, VMB_E_PROTOCOL, "\"%s\" in namespace \"%s\" is no object's name",
                       name, ns);
    }
    if (rc != VMB_OK) {
        return skip_object(pass, "", name, rc, &why, err);
    }
    vmbi_item_verdict verdict = vmbi_filter_item(b->filter, pass->res, ns, &scan, false);
    if (verdict != VMBI_ITEM_TAKE) {
        if (b->log.level == VMB_LOG_DEBUG) {
            vmbi_log_fields f = {pass->res->group_resource, ns, name, NULL};
            vmbi_runlog_add(&b->log, VMB_LOG_DEBUG, &f, "left out: %s",
                            vmbi_item_verdict_text(verdict));
        }
        if (b->plan != NULL) {
            vmbi_plan_leave(b, pass->res, ns, name, vmbi_item_verdict_text(verdict));
        }
        return VMB_OK;
    }
    vmbi_key16 key = vmbi_item_key(pass->res->group_resource, ns, name);
    bool added = false;
    rc = vmbi_keyset_add(&b->seen, &key, &added, err);
    if (rc != VMB_OK || !added) {
        return rc;
    }
    rc = pass->as_block ? vmbi_block_take(b, pass->res, ns, name, json, len, &why)
                        : vmbi_backup_write(b, pass->res, ns, name, json, len, &scan, &why);
    return rc == VMB_OK ? VMB_OK : skip_object(pass, ns, name, rc, &why, err);
}

static vmb_code on_object(void *user, const char *json, size_t len, vmb_error **err)
{
    list_pass *pass = user;
    vmb_code rc = pass->failed;
    if (rc != VMB_OK) {
        return vmbi_fail(err, rc, "list objects: the list has been ended");
    }
    if (--pass->until_check < 0) {
        pass->until_check = 64;
        rc = vmbi_limits_check(&pass->b->job.limits, err, "back up objects");
    }
    rc = rc == VMB_OK ? take_object(pass, json, len, err) : rc;
    pass->failed = rc;
    return rc;
}

static vmb_code list_one(list_pass *pass, const char *ns, const char *selector, vmb_error **err)
{
    vmbi_backup *b = pass->b;
    struct vmb_item_sink sink = {on_object, pass};
    vmb_error *why = NULL;
    vmb_code rc = vmbi_cluster_list(&b->cluster, &b->job, pass->res, ns, selector,
                                    b->ctx->settings.page_size, &sink, &why);
    if (rc == VMB_OK && pass->failed != VMB_OK) {
        rc = vmbi_fail(&why, pass->failed, "list objects: ended by %s",
                       vmb_code_name(pass->failed));
    }
    pass->failed = VMB_OK;
    if (rc == VMB_OK) {
        return VMB_OK;
    }
    if (vmbi_backup_is_over(b, rc)) {
        vmbi_error_move(err, &why);
        return rc;
    }
    if (rc == VMB_E_NOT_FOUND) {
        vmbi_log_fields f = {pass->res->group_resource, ns, NULL, vmb_error_message(why)};
        vmbi_runlog_add(&b->log, VMB_LOG_WARNING, &f, "the type vanished while listing");
    } else {
        vmbi_runlog_error(&b->log, pass->res->group_resource, ns, NULL, why,
                          "the list of objects failed");
    }
    vmb_error_free(why);
    return VMB_OK;
}

static vmb_code list_scope(list_pass *pass, const char *ns, vmb_error **err)
{
    size_t n = vmbi_filter_selector_count(pass->b->filter);
    if (n == 0) {
        return list_one(pass, ns, NULL, err);
    }
    vmb_code rc = VMB_OK;
    for (size_t i = 0; i < n && rc == VMB_OK; i++) {
        rc = list_one(pass, ns, vmbi_filter_selector_text(pass->b->filter, i), err);
    }
    return rc;
}

/* Splits "ns/name" or "name"; false when it does not fit the resource's scope or the filters. */
static bool split_ordered(const list_pass *pass, const char *entry, char *ns, size_t size,
                          const char **name)
{
    const char *slash = strchr(entry, '/');
    size_t len = slash != NULL ? (size_t)(slash - entry) : 0;
    if (pass->res->namespaced != (slash != NULL) || len >= size) {
        return false;
    }
    memcpy(ns, entry, len);
    ns[len] = '\0';
    *name = slash != NULL ? slash + 1 : entry;
    return slash == NULL || vmbi_filter_wants_namespace(pass->b->filter, ns);
}

/* An entry of orderedResources: taken first if the filters want it. */
static vmb_code take_ordered(list_pass *pass, const char *entry, vmb_error **err)
{
    vmbi_backup *b = pass->b;
    char ns[256];
    const char *name = NULL;
    if (!split_ordered(pass, entry, ns, sizeof(ns), &name)) {
        return VMB_OK; /* as with Velero: only what the filters want is put in order */
    }
    vmbi_buf text = VMBI_BUF_INIT(VMBI_OBJECT_MAX_BYTES);
    vmb_error *why = NULL;
    vmbi_object_scan scan;
    vmb_code rc = vmbi_cluster_get(&b->cluster, &b->job, pass->res->group, pass->res->version,
                                   pass->res->name, ns[0] != '\0' ? ns : NULL, name, &text, &why);
    if (rc == VMB_OK && !vmbi_jscan_k8s_object(text.data != NULL ? text.data : "", text.len,
                                               &scan)) {
        rc = vmbi_fail(&why, VMB_E_PROTOCOL, "not a Kubernetes object");
    } else if (rc == VMB_OK && vmbi_filter_labels_match(b->filter, scan.labels)) {
        rc = take_object(pass, text.data, text.len, &why);
    } else if (rc == VMB_E_NOT_FOUND) {
        vmbi_log_fields f = {pass->res->group_resource, ns, name, NULL};
        vmbi_runlog_add(&b->log, VMB_LOG_WARNING, &f,
                        "named in orderedResources, but it does not exist");
        rc = VMB_OK;
    }
    vmbi_buf_free(&text);
    if (rc != VMB_OK && !vmbi_backup_is_over(b, rc)) {
        vmbi_runlog_error(&b->log, pass->res->group_resource, ns, name, why,
                          "an object of orderedResources cannot be read");
        rc = VMB_OK;
    } else {
        vmbi_error_move(err, &why);
    }
    vmb_error_free(why);
    return rc;
}

static vmb_code take_resource(vmbi_backup *b, const vmbi_resource *res, vmb_error **err)
{
    list_pass pass = {.b = b, .res = res};
    pass.as_block = vmbi_actions_apply(b->ctx, res) || strcmp(res->group_resource, "pods") == 0 ||
                    strcmp(res->group_resource, "persistentvolumeclaims") == 0;
    int64_t before = b->archive.items;
    vmb_code rc = VMB_OK;
    const vmbi_strs *ordered = vmbi_filter_ordered(b->filter, res->name);
    for (size_t i = 0; ordered != NULL && i < ordered->n && rc == VMB_OK; i++) {
        rc = take_ordered(&pass, ordered->v[i], err);
    }
    if (!res->namespaced || vmbi_filter_lists_cluster_wide(b->filter)) {
        rc = rc == VMB_OK ? list_scope(&pass, NULL, err) : rc;
    } else {
        const vmbi_strs *list = vmbi_filter_namespaces(b->filter);
        for (size_t i = 0; i < list->n && rc == VMB_OK; i++) {
            rc = list_scope(&pass, list->v[i], err);
        }
    }
    if (rc == VMB_OK && b->archive.items > before) {
        vmbi_log_fields f = {res->group_resource, NULL, NULL, NULL};
        vmbi_runlog_add(&b->log, VMB_LOG_INFO, &f, "%lld objects",
                        (long long)(b->archive.items - before));
    }
    return rc;
}

/* ---- Namespace objects and CRDs ------------------------------------------------------------- */

static bool phase_is_active(const char *json, size_t len)
{
    vmbi_slice status;
    vmbi_slice phase;
    return !vmbi_jscan_find(json, len, "status", &status) ||
           !vmbi_jscan_find(status.p, status.len, "phase", &phase) ||
           (phase.len == 8 && memcmp(phase.p, "\"Active\"", 8) == 0);
}

static vmb_code on_namespace(void *user, const char *json, size_t len, vmb_error **err)
{
    list_pass *pass = user;
    vmbi_backup *b = pass->b;
    vmbi_object_scan scan;
    char name[256];
    if (!vmbi_jscan_k8s_object(json, len, &scan) ||
        !vmbi_jscan_string(scan.name, name, sizeof(name))) {
        return vmbi_fail(err, VMB_E_PROTOCOL, "list of namespaces: not a Kubernetes object");
    }
    bool wanted = vmbi_map_has(&b->used_namespaces, name) ||
                  vmbi_filter_wants_namespace_object(b->filter, name, scan.labels,
                                                     phase_is_active(json, len));
    return wanted ? take_object(pass, json, len, err) : VMB_OK;
}

static vmb_code on_crd(void *user, const char *json, size_t len, vmb_error **err)
{
    list_pass *pass = user;
    vmbi_object_scan scan;
    char name[512];
    if (!vmbi_jscan_k8s_object(json, len, &scan) ||
        !vmbi_jscan_string(scan.name, name, sizeof(name)) ||
        !vmbi_map_has(&pass->b->used_resources, name)) {
        return VMB_OK;
    }
    return take_object(pass, json, len, err);
}

static vmb_code extra_pass(vmbi_backup *b, const char *group, const char *resource,
                           vmb_code (*fn)(void *, const char *, size_t, vmb_error **),
                           vmb_error **err)
{
    const vmbi_resource *res = vmbi_discovery_find(b->cluster.discovery, group, NULL, resource);
    if (res == NULL) {
        return VMB_OK;
    }
    list_pass pass = {.b = b, .res = res, .as_block = vmbi_actions_apply(b->ctx, res)};
    struct vmb_item_sink sink = {fn, &pass};
    vmb_error *why = NULL;
    vmb_code rc = vmbi_cluster_list(&b->cluster, &b->job, res, NULL, NULL,
                                    b->ctx->settings.page_size, &sink, &why);
    if (rc != VMB_OK && !vmbi_backup_is_over(b, rc)) {
        vmbi_runlog_error(&b->log, res->group_resource, "", NULL, why,
                          "the list of objects failed");
        rc = VMB_OK;
    } else {
        vmbi_error_move(err, &why);
    }
    vmb_error_free(why);
    return rc;
}

static void report_missing_namespaces(vmbi_backup *b)
{
    const vmbi_strs *missing = vmbi_filter_missing_namespaces(b->filter);
    for (size_t i = 0; i < missing->n; i++) {
        vmbi_log_fields f = {"namespaces", "", missing->v[i], NULL};
        vmbi_runlog_add(&b->log, VMB_LOG_ERROR, &f, "the included namespace does not exist");
    }
}

vmb_code vmbi_collect(vmbi_backup *b, vmb_error **err)
{
    vmbi_map twins_taken = VMBI_MAP_INIT(NULL);
    const vmbi_resource *namespaces =
        vmbi_discovery_find(b->cluster.discovery, "", NULL, "namespaces");
    vmb_code rc = VMB_OK;
    for (size_t i = 0; i < vmbi_discovery_count(b->cluster.discovery) && rc == VMB_OK; i++) {
        const vmbi_resource *res = vmbi_discovery_at(b->cluster.discovery, i);
        const char *twin = vmbi_filter_twin(res->group_resource);
        if (res == namespaces || !vmbi_filter_wants_resource(b->filter, res) ||
            (twin != NULL && vmbi_map_has(&twins_taken, twin))) {
            if (b->plan != NULL && res != namespaces) {
                vmbi_plan_leave_type(b, res);
            }
            continue;
        }
        if (twin != NULL) {
            rc = vmbi_map_set(&twins_taken, res->group_resource, NULL, err);
        }
        rc = rc == VMB_OK ? take_resource(b, res, err) : rc;
    }
    vmbi_map_free(&twins_taken);
    if (rc == VMB_OK && namespaces != NULL && vmbi_filter_wants_resource(b->filter, namespaces)) {
        report_missing_namespaces(b);
        rc = extra_pass(b, "", "namespaces", on_namespace, err);
    }
    if (rc == VMB_OK && vmbi_filter_adds_crds(b->filter)) {
        rc = extra_pass(b, "apiextensions.k8s.io", "customresourcedefinitions", on_crd, err);
    }
    return rc;
}
