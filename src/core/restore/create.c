/* SPDX-License-Identifier: Apache-2.0 */
/* How an object gets into the cluster, and what follows: its status, its hooks. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "core/restore/hooks.h"
#include "core/restore/podvolumes.h"

enum { ID_SIZE = 1024, REFUSALS_MAX = 16 };

#define PATIENCE_NS (20 * VMBI_SECOND)
#define FIRST_PAUSE_NS (100 * VMBI_MS)
#define LONGEST_PAUSE_NS (2 * VMBI_SECOND)

static const char pods[] = "pods";
static const char crds[] = "customresourcedefinitions.apiextensions.k8s.io";

/* ---- where --------------------------------------------------------------------------------- */

/* Group, version and plural of the object as it is now: an action may have changed its kind. */
typedef struct target {
    char group[256];
    char version[64];
    char resource[256];
    vmbi_restore_place at; /* points to these */
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
    const char *name = vmbi_json_path_str(item->obj, "metadata.name");
    t->at = (vmbi_restore_place){t->group, t->version, t->resource,
                                 item->target[0] != '\0' ? item->target : NULL, name};
    return name != NULL && name[0] != '\0';
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
        rc = vmbi_cluster_patch(&r->cluster, &r->job, t->group, t->version, t->resource, t->at.ns,
                                t->at.name, "status", VMB_PATCH_MERGE, text, len, NULL, &why);
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

/* ---- asking the server ---------------------------------------------------------------------- */

/* A server that failed for longer than anybody waits is not waited for again with every object of
 * that resource and namespace; nor with those of ever more of them, such as those of a webhook that
 * does not answer. */
static bool patience(vmbi_restore *r, const vmbi_restore_place *at, bool lost)
{
    vmbi_buf key = VMBI_BUF_INIT(1024);
    vmbi_buf_addf(&key, "%s.%s|%s", at->resource, at->group, at->ns != NULL ? at->ns : "");
    bool left = key.status == VMB_OK;
    (void)pthread_mutex_lock(&r->lock);
    if (left && lost && r->refused.n < REFUSALS_MAX) {
        (void)vmbi_map_set(&r->refused, key.data, &r->refused, NULL); /* else: patient again */
    }
    left = left && r->refused.n < REFUSALS_MAX && !vmbi_map_has(&r->refused, key.data);
    (void)pthread_mutex_unlock(&r->lock);
    vmbi_buf_free(&key);
    return left;
}

static bool is_there(vmbi_restore *r, const vmbi_restore_place *at, vmb_code *rc)
{
    vmbi_buf text = VMBI_BUF_INIT(VMBI_OBJECT_MAX_BYTES);
    *rc = vmbi_cluster_get(&r->cluster, &r->job, at->group, at->version, at->resource, at->ns,
                           at->name, &text, NULL);
    vmbi_buf_free(&text);
    return *rc == VMB_OK;
}

/* Before the next try. False: there is none. *rc, *err: of the try before; kept, unless the restore
 * was cancelled. */
static bool pause_between(vmbi_restore *r, const vmbi_restore_place *at, const vmbi_limits *limits,
                          int64_t *pause, vmb_code *rc, vmb_error **err)
{
    vmb_error *why = NULL;
    int64_t spread = (int64_t)(strlen(at->name) % 8) * *pause / 16; /* not all at once */
    int64_t left = vmbi_limits_remaining_ns(limits);
    if (left >= 0 && left < *pause + spread) {
        (void)patience(r, at, true);
        return false;
    }
    vmb_code slept = vmbi_limits_sleep(limits, *pause + spread, &why, "create an object");
    *pause = 2 * *pause < LONGEST_PAUSE_NS ? 2 * *pause : LONGEST_PAUSE_NS;
    if (slept != VMB_OK) {
        *rc = slept;
        vmbi_error_move(err, &why);
        return false;
    }
    vmb_error_free(vmbi_steal(err));
    return true;
}

/* The client does not repeat creates, since a generated name would make two objects. These have
 * names of their own: after a lost answer or a failure of the server it is asked (and waited for,
 * as reads are) whether the object came into being. A conflict is one about something else: the
 * quota of a namespace that many creates change at a time. */
vmb_code vmbi_restore_post(vmbi_restore *r, const vmbi_restore_place *at, const char *text,
                           size_t len, bool *lost, vmb_error **err)
{
    vmbi_limits limits = vmbi_limits_within(&r->job.limits, PATIENCE_NS);
    int64_t pause = FIRST_PAUSE_NS;
    *lost = false;
    for (bool first = true;; first = false) {
        vmb_code rc = vmbi_cluster_create(&r->cluster, &r->job, at->group, at->version,
                                          at->resource, at->ns, text, len, NULL, err);
        vmb_code found = VMB_E_NOT_FOUND;
        if (rc != VMB_E_NET && rc != VMB_E_SERVER && rc != VMB_E_CONFLICT) {
            *lost = rc == VMB_E_TIMEOUT || (*lost && rc == VMB_E_EXISTS);
            return rc;
        }
        bool may_be = rc != VMB_E_CONFLICT;
        *lost = *lost || may_be;
        if (may_be && is_there(r, at, &found)) {
            return VMB_E_EXISTS;
        }
        if (found != VMB_E_NOT_FOUND) {
            return rc;
        }
        if (first && rc == VMB_E_NET) { /* the server is back: reads wait for it */
            vmb_error_free(vmbi_steal(err));
        } else if (!patience(r, at, false) || !pause_between(r, at, &limits, &pause, &rc, err)) {
            return rc;
        }
    }
}

/* ---- creating ------------------------------------------------------------------------------ */

/* A create that is refused may concern an object that is there: admission and quotas are asked
 * before the name is looked at. As with Velero it counts as existing then. */
static const vmbi_restored *create_failed(vmbi_restore *r, vmbi_ritem *item, const target *t,
                                          vmb_code rc, vmb_error **why)
{
    if (vmbi_restore_is_over(r, rc, why)) {
        return &vmbi_restored_failed;
    }
    if (rc == VMB_E_EXISTS || (rc != VMB_E_NET && rc != VMB_E_NOT_FOUND &&
                               is_there(r, &t->at, &rc))) {
        bool pod = strcmp(item->group_resource, pods) == 0;
        if (pod && !r->resumed && !item->lost && vmbi_restore_note_waiting(r, item)) {
            return &vmbi_restored_present;
        }
        const vmbi_restored *what = vmbi_restore_existing(r, item, &t->at);
        return pod && what == &vmbi_restored_clash && vmbi_restore_note_waiting(r, item)
                   ? &vmbi_restored_present
                   : what;
    }
    char id[ID_SIZE];
    vmbi_restore_id(item, id, sizeof(id));
    vmbi_restore_error(r, item->target, *why, "error restoring %s", id);
    return &vmbi_restored_failed;
}

/* What is due once an object was created; resumed: by the run that this one continues. */
static void after_create(vmbi_restore *r, vmbi_ritem *item, const target *t, bool resumed)
{
    vmb_error *why = NULL;
    restore_status(r, item, t);
    if (strcmp(item->group_resource, crds) == 0) {
        wait_definition(r, item, t);
    }
    bool pod = strcmp(item->group_resource, pods) == 0;
    bool found = resumed || item->lost;
    if (pod && found) { /* one that waits no more has its volumes, and has written to them */
        (void)vmbi_restore_note_waiting(r, item);
    }
    if (pod && vmbi_restore_follows_up(r, resumed) &&
        (vmbi_restore_note_pod(r, item, &why) != VMB_OK ||
         (!found && vmbi_restore_note_volumes(r, item, r->uid, &why) != VMB_OK)) &&
        !vmbi_restore_is_over(r, vmb_error_code(why), &why)) {
        vmbi_restore_error(r, item->target, why, "hooks of pod %s", item->name);
    }
    vmb_error_free(why);
}

const vmbi_restored *vmbi_restore_create(vmbi_restore *r, vmbi_ritem *item)
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
        vmbi_restore_error(r, item->target, NULL,
                           "error restoring %s %s: its kind or its name is missing",
                           item->group_resource, item->name);
        return &vmbi_restored_failed;
    }
    vmb_code rc = vmbi_json_to_text(item->obj, &text, &len, &why);
    if (rc == VMB_OK) {
        rc = vmbi_restore_post(r, &t.at, text, len, &item->lost, &why);
    }
    vmb_free(text);
    const vmbi_restored *what =
        rc == VMB_OK ? &vmbi_restored_created : create_failed(r, item, &t, rc, &why);
    if (what == &vmbi_restored_created) {
        after_create(r, item, &t, rc != VMB_OK && (r->resumed || !item->lost));
    }
    vmb_error_free(why);
    return what;
}
