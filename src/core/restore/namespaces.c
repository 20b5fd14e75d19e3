/* SPDX-License-Identifier: Apache-2.0 */
/* Target namespaces: from the backup's object with its labels, annotations and spec, or bare. */
#include "core/restore/restore.h"

#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"

/* The Namespace to create; NULL when memory is out. */
static vmbi_json *make_namespace(vmbi_restore *r, const char *source, const char *target)
{
    vmbi_buf text = VMBI_BUF_INIT(VMBI_INDEX_MAX_ITEM);
    vmbi_json *stored = NULL;
    if (vmbi_index_get(&r->index, "namespaces", "", source, &text, NULL) == VMB_OK) {
        (void)vmbi_json_parse(text.data, text.len, "namespace", &stored, NULL); /* else bare */
    }
    vmbi_buf_free(&text);
    vmbi_json *ns = vmbi_json_object();
    vmbi_json *meta = vmbi_json_object();
    const vmbi_json *old = vmbi_json_get(stored, "metadata");
    bool ok = ns != NULL && meta != NULL;
    ok = ok && vmbi_json_set_str(ns, "apiVersion", "v1");
    ok = ok && vmbi_json_set_str(ns, "kind", "Namespace");
    ok = ok && vmbi_json_set_str(meta, "name", target);
    static const char *const kept[] = {"labels", "annotations"};
    for (size_t i = 0; i < VMBI_ARRAY_LEN(kept) && ok; i++) {
        const vmbi_json *v = vmbi_json_get(old, kept[i]);
        ok = !vmbi_json_is_object(v) || vmbi_json_set(meta, kept[i], vmbi_json_copy(v));
    }
    vmbi_json *labels = vmbi_json_get(meta, "labels");
    if (ok && vmbi_json_get(labels, "kubernetes.io/metadata.name") != NULL) {
        ok = vmbi_json_set_str(labels, "kubernetes.io/metadata.name", target);
    }
    const vmbi_json *spec = vmbi_json_get(stored, "spec");
    ok = ok && (!vmbi_json_is_object(spec) || vmbi_json_set(ns, "spec", vmbi_json_copy(spec)));
    ok = ok && vmbi_json_set(ns, "metadata", vmbi_json_ref(meta));
    vmbi_json_free(meta);
    vmbi_json_free(stored);
    if (!ok) {
        vmbi_json_free(ns);
        return NULL;
    }
    return ns;
}

typedef enum ns_state { NS_READY, NS_ABSENT, NS_TERMINATING, NS_UNKNOWN } ns_state;

static ns_state look(vmbi_restore *r, const char *name, vmb_error **err)
{
    vmbi_buf text = VMBI_BUF_INIT(VMBI_OBJECT_MAX_BYTES);
    vmbi_json *ns = NULL;
    ns_state state = NS_UNKNOWN;
    vmb_code rc =
        vmbi_cluster_get(&r->cluster, &r->job, "", "v1", "namespaces", NULL, name, &text, err);
    if (rc == VMB_E_NOT_FOUND) {
        state = NS_ABSENT;
    } else if (rc == VMB_OK && vmbi_json_parse(text.data != NULL ? text.data : "", text.len,
                                               "namespace", &ns, err) == VMB_OK) {
        bool going = vmbi_json_path_str(ns, "metadata.deletionTimestamp") != NULL ||
                     vmbi_streq(vmbi_json_path_str(ns, "status.phase"), "Terminating");
        state = going ? NS_TERMINATING : NS_READY;
    }
    vmbi_json_free(ns);
    vmbi_buf_free(&text);
    return state;
}

static bool create(vmbi_restore *r, const char *source, const char *target, vmb_error **err)
{
    vmbi_json *ns = make_namespace(r, source, target);
    char *json = NULL;
    size_t len = 0;
    vmb_code rc = ns != NULL ? vmbi_json_to_text(ns, &json, &len, err) : vmbi_fail_nomem(err);
    vmbi_restore_place at = {"", "v1", "namespaces", NULL, target};
    bool lost = false;
    if (rc == VMB_OK) {
        rc = vmbi_restore_post(r, &at, json, len, &lost, err);
    }
    vmb_free(json);
    vmbi_json_free(ns);
    if (rc == VMB_OK) {
        vmbi_buf key = VMBI_BUF_INIT(1024);
        vmbi_buf_addf(&key, "v1/Namespace||%s", target);
        if (key.status == VMB_OK) {
            vmbi_restore_settle(r, key.data, &vmbi_restored_created);
        }
        vmbi_buf_free(&key);
        return true;
    }
    if (rc == VMB_E_EXISTS) { /* somebody was faster */
        vmb_error_free(vmbi_steal(err));
        return true;
    }
    return false;
}

/* What is known of a target: the map of namespaces holds their addresses. */
static const char known_busy = 0;    /* a worker looks */
static const char known_good = 0;    /* it is there */
static const char known_bad = 0;     /* it cannot be restored into; the error is noted */
static const char known_leaving = 0; /* it is going away: its turn comes later */
static const char known_gone = 0;    /* it has gone, and may be made again */

static const char *ensure(vmbi_restore *r, const char *source, const char *target)
{
    vmb_error *why = NULL;
    ns_state state = look(r, target, &why);
    if (state == NS_TERMINATING) {
        vmb_error_free(why);
        vmbi_restore_info(r, NULL, "namespace %s is going away: what is restored into it waits",
                          target);
        return &known_leaving;
    }
    if (state == NS_ABSENT) {
        vmb_error_free(vmbi_steal(&why));
    }
    bool ok = state == NS_READY || (state == NS_ABSENT && create(r, source, target, &why));
    if (!ok && !vmbi_restore_is_over(r, vmb_error_code(why), &why)) {
        vmbi_restore_error(r, NULL, why, "namespace %s cannot be restored into", target);
    }
    vmb_error_free(why);
    return ok ? &known_good : &known_bad;
}

/* With the lock. */
static void set_known(vmbi_restore *r, const char *target, const char *state)
{
    vmb_error *why = NULL;
    vmb_code rc = vmbi_map_set(&r->namespaces, target, (void *)(uintptr_t)state, &why);
    if (rc != VMB_OK) {
        vmbi_restore_break(r, rc, &why);
    }
}

bool vmbi_restore_namespace(vmbi_restore *r, const char *source, const char *target)
{
    (void)pthread_mutex_lock(&r->ns_lock);
    const char *known = vmbi_map_get(&r->namespaces, target);
    while (known == &known_busy) {
        (void)pthread_cond_wait(&r->ns_changed, &r->ns_lock);
        known = vmbi_map_get(&r->namespaces, target);
    }
    if (known == NULL || known == &known_gone) {
        set_known(r, target, &known_busy);
        (void)pthread_mutex_unlock(&r->ns_lock); /* other namespaces go on meanwhile */
        known = ensure(r, source, target);
        (void)pthread_mutex_lock(&r->ns_lock);
        set_known(r, target, known);
        (void)pthread_cond_broadcast(&r->ns_changed);
    }
    (void)pthread_mutex_unlock(&r->ns_lock);
    return known == &known_good;
}

/* ---- namespaces that were going away ------------------------------------------------------- */

/* Looks at those that wait; the run's thread alone, while no worker works. Returns how many still
 * do. */
static size_t look_at_leaving(vmbi_restore *r, vmbi_map *gone)
{
    size_t left = 0;
    for (size_t i = 0; i < r->namespaces.n && !vmbi_restore_is_broken(r); i++) {
        const vmbi_map_entry *e = &r->namespaces.entries[i];
        vmb_error *why = NULL;
        if (e->value != &known_leaving) {
            continue;
        }
        ns_state state = look(r, e->key, &why);
        left += state == NS_TERMINATING ? 1 : 0;
        if (state != NS_TERMINATING &&
            !(state == NS_UNKNOWN && vmbi_restore_is_over(r, vmb_error_code(why), &why))) {
            vmb_code rc = vmbi_map_set(gone, e->key, (void *)(uintptr_t)&known_gone, NULL);
            if (rc != VMB_OK) {
                vmbi_restore_break(r, rc, NULL);
            }
            set_known(r, e->key, &known_gone);
        }
        vmb_error_free(why);
    }
    return left;
}

static void give_up(vmbi_restore *r)
{
    for (size_t i = 0; i < r->namespaces.n; i++) {
        const vmbi_map_entry *e = &r->namespaces.entries[i];
        if (e->value == &known_leaving) {
            vmbi_restore_error(r, NULL, NULL,
                               "timed out waiting for terminating namespace %s to disappear "
                               "before restoring",
                               e->key);
            set_known(r, e->key, &known_bad);
        }
    }
}

bool vmbi_restore_await_namespaces(vmbi_restore *r, const vmbi_limits *limits, vmbi_map *gone)
{
    vmb_error *why = NULL;
    size_t left;
    while ((left = look_at_leaving(r, gone)) > 0 && gone->n == 0 && !vmbi_restore_is_broken(r)) {
        vmbi_restore_relay(r);
        vmb_code rc = vmbi_limits_sleep(limits, VMBI_SECOND, &why, "wait for a namespace to go");
        if (rc != VMB_OK && !vmbi_restore_is_over(r, rc, &why)) {
            give_up(r);
        }
        vmb_error_free(vmbi_steal(&why));
    }
    return gone->n > 0 && !vmbi_restore_is_broken(r);
}
