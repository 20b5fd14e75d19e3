/* SPDX-License-Identifier: Apache-2.0 */
/* Target namespaces: from the backup's object with its labels, annotations and spec, or bare. */
#include "core/restore/restore.h"

#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"

#define TERMINATING_NS (INT64_C(600) * VMBI_SECOND)

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

/* A namespace that is going away is waited for: what is created in it would go as well. */
static ns_state wait_gone(vmbi_restore *r, const char *name, vmb_error **err)
{
    vmbi_limits limits = vmbi_limits_within(&r->job.limits, TERMINATING_NS);
    for (;;) {
        vmb_error_free(vmbi_steal(err));
        ns_state state = look(r, name, err);
        if (state != NS_TERMINATING) {
            return state;
        }
        vmb_error_free(vmbi_steal(err));
        if (vmbi_limits_sleep(&limits, VMBI_SECOND, err, "wait for a namespace to go") != VMB_OK) {
            return NS_TERMINATING;
        }
    }
}

static bool create(vmbi_restore *r, const char *source, const char *target, vmb_error **err)
{
    vmbi_json *ns = make_namespace(r, source, target);
    char *json = NULL;
    size_t len = 0;
    vmb_code rc = ns != NULL ? vmbi_json_to_text(ns, &json, &len, err) : vmbi_fail_nomem(err);
    if (rc == VMB_OK) {
        rc = vmbi_cluster_create(&r->cluster, &r->job, "", "v1", "namespaces", NULL, json, len,
                                 NULL, err);
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

static bool ensure(vmbi_restore *r, const char *source, const char *target)
{
    vmb_error *why = NULL;
    ns_state state = look(r, target, &why);
    if (state == NS_TERMINATING) {
        state = wait_gone(r, target, &why);
    }
    if (state == NS_ABSENT) {
        vmb_error_free(vmbi_steal(&why));
    }
    bool ok = state == NS_READY || (state == NS_ABSENT && create(r, source, target, &why));
    if (!ok && !vmbi_restore_is_over(r, vmb_error_code(why), &why)) {
        vmbi_restore_error(r, NULL, why,
                           state == NS_TERMINATING
                               ? "timed out waiting for terminating namespace %s to disappear "
                                 "before restoring"
                               : "namespace %s cannot be restored into",
                           target);
    }
    vmb_error_free(why);
    return ok;
}

bool vmbi_restore_namespace(vmbi_restore *r, const char *source, const char *target)
{
    static char bad; /* its address marks a namespace that could not be made */
    static char good;
    (void)pthread_mutex_lock(&r->ns_lock);
    void *known = vmbi_map_get(&r->namespaces, target);
    if (known == NULL) {
        known = ensure(r, source, target) ? &good : &bad;
        vmb_error *why = NULL;
        vmb_code rc = vmbi_map_set(&r->namespaces, target, known, &why);
        if (rc != VMB_OK) {
            vmbi_restore_break(r, rc, &why);
        }
    }
    bool ok = known == &good;
    (void)pthread_mutex_unlock(&r->ns_lock);
    return ok;
}
