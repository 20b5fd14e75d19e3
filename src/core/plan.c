/* SPDX-License-Identifier: Apache-2.0 */
#include "core/plan.h"

#include "base/alloc.h"
#include "base/error.h"

vmb_code vmbi_plan_init(vmbi_plan *p, vmb_error **err)
{
    *p = (vmbi_plan){vmbi_json_array(), vmbi_json_array(), vmbi_json_array(), vmbi_json_array(),
                     vmbi_json_array(), false};
    if (p->items == NULL || p->left_out == NULL || p->types == NULL || p->volumes == NULL ||
        p->hooks == NULL) {
        vmbi_plan_done(p);
        return vmbi_fail_nomem(err);
    }
    return VMB_OK;
}

void vmbi_plan_done(vmbi_plan *p)
{
    vmbi_json_free(p->items);
    vmbi_json_free(p->left_out);
    vmbi_json_free(p->types);
    vmbi_json_free(p->volumes);
    vmbi_json_free(p->hooks);
    *p = (vmbi_plan){0};
}

/* ---- notes --------------------------------------------------------------------------------- */

/* Adds an object to a list; takes it over. ok: it was built whole. */
static void add(vmbi_plan *p, vmbi_json *list, vmbi_json *entry, bool ok)
{
    if (!ok) {
        vmbi_json_free(entry);
        entry = NULL;
    }
    p->failed = !vmbi_json_append(list, entry) || p->failed;
}

static bool set_name(vmbi_json *e, const vmbi_resource *res, const char *ns, const char *name)
{
    return e != NULL && vmbi_json_set_str(e, "resource", res->group_resource) &&
           vmbi_json_set_str(e, "namespace", ns != NULL ? ns : "") &&
           vmbi_json_set_str(e, "name", name);
}

void vmbi_plan_take(vmbi_backup *b, const vmbi_resource *res, const char *ns, const char *name)
{
    vmbi_json *e = vmbi_json_object();
    b->archive.items++;
    add(b->plan, b->plan->items, e, set_name(e, res, ns, name));
}

void vmbi_plan_leave(vmbi_backup *b, const vmbi_resource *res, const char *ns, const char *name,
                     const char *reason)
{
    vmbi_json *e = vmbi_json_object();
    bool ok = set_name(e, res, ns, name) && vmbi_json_set_str(e, "reason", reason);
    add(b->plan, b->plan->left_out, e, ok);
}

void vmbi_plan_leave_type(vmbi_backup *b, const vmbi_resource *res)
{
    b->plan->failed = !vmbi_json_append_str(b->plan->types, res->group_resource) ||
                      b->plan->failed;
}

static bool set_volume(vmbi_json *e, const char *ns, const char *claim, const char *pv,
                       const char *method)
{
    return e != NULL && vmbi_json_set_str(e, "namespace", ns != NULL ? ns : "") &&
           vmbi_json_set_str(e, "pvc", claim != NULL ? claim : "") &&
           vmbi_json_set_str(e, "pv", pv != NULL ? pv : "") &&
           vmbi_json_set_str(e, "method", method);
}

void vmbi_plan_snapshot(vmbi_backup *b, const vmbi_json *claim, const char *provider)
{
    vmbi_json *e = vmbi_json_object();
    bool ok = set_volume(e, vmbi_json_path_str(claim, "metadata.namespace"),
                         vmbi_json_path_str(claim, "metadata.name"),
                         vmbi_json_path_str(claim, "spec.volumeName"), "snapshot") &&
              vmbi_json_set_str(e, "provider", provider);
    add(b->plan, b->plan->volumes, e, ok);
}

void vmbi_plan_hooks(vmbi_backup *b, const char *ns, const char *pod, const vmbi_hook_list *hooks,
                     vmbi_hook_phase phase)
{
    for (size_t i = 0; i < hooks->n; i++) {
        const vmbi_hook *h = &hooks->v[i];
        vmbi_json *e = vmbi_json_object();
        bool ok = e != NULL && vmbi_json_set_str(e, "namespace", ns) &&
                  vmbi_json_set_str(e, "pod", pod) &&
                  vmbi_json_set_str(e, "phase", phase == VMBI_HOOK_PRE ? "pre" : "post") &&
                  vmbi_json_set_str(e, "container", h->target != NULL ? h->target : h->container) &&
                  vmbi_json_set(e, "command", vmbi_json_string_array(&h->argv)) &&
                  vmbi_json_set_int(e, "timeoutNs", h->timeout_ns);
        add(b->plan, b->plan->hooks, e, ok);
    }
}

/* ---- the document --------------------------------------------------------------------------- */

/* Volumes that are skipped, and those that pods give to filesystem backup. */
static bool add_volumes(const vmbi_backup *b, vmbi_json *list)
{
    bool ok = true;
    for (size_t i = 0; i < b->n_volumes && ok; i++) {
        const vmbi_volume *v = b->volumes[i];
        vmbi_json *e = vmbi_json_object();
        ok = set_volume(e, v->ns, v->claim, v->pv, "none") &&
             vmbi_json_set_str(e, "reason", v->skip_reason != NULL ? v->skip_reason : "") &&
             vmbi_json_append(list, vmbi_json_ref(e));
        vmbi_json_free(e);
    }
    for (size_t i = 0; i < b->n_pod_volumes && ok; i++) {
        const vmbi_pod_volume *v = b->pod_volumes[i];
        vmbi_json *e = vmbi_json_object();
        ok = set_volume(e, v->ns, v->claim, v->pv, "filesystem backup") &&
             vmbi_json_set_str(e, "pod", v->pod) && vmbi_json_set_str(e, "volume", v->volume) &&
             vmbi_json_set_str(e, "provider", v->provider != NULL ? v->provider->name : "") &&
             vmbi_json_append(list, vmbi_json_ref(e));
        vmbi_json_free(e);
    }
    return ok;
}

vmb_code vmbi_plan_report(const vmbi_backup *b, vmbi_json **out, vmb_error **err)
{
    static const char *const parts[] = {"warnings", "errors"};
    const vmbi_plan *p = b->plan;
    vmbi_json *r = vmbi_json_object();
    bool ok = r != NULL && !p->failed && vmbi_json_set_str(r, "apiVersion", "vmbackup.io/v1") &&
              vmbi_json_set_str(r, "kind", "RunPlan") &&
              vmbi_json_set(r, "backup", vmbi_json_ref(b->resource)) &&
              vmbi_json_set_str(r, "storageLocation", b->store.location->name) &&
              add_volumes(b, p->volumes) && vmbi_json_set(r, "items", vmbi_json_ref(p->items)) &&
              vmbi_json_set(r, "leftOut", vmbi_json_ref(p->left_out)) &&
              vmbi_json_set(r, "leftOutTypes", vmbi_json_ref(p->types)) &&
              vmbi_json_set(r, "volumes", vmbi_json_ref(p->volumes)) &&
              vmbi_json_set(r, "hooks", vmbi_json_ref(p->hooks));
    for (size_t i = 0; i < VMBI_ARRAY_LEN(parts) && ok; i++) {
        vmbi_json *part = vmbi_json_get(b->log.results, parts[i]);
        ok = vmbi_json_set(r, parts[i], part != NULL ? vmbi_json_ref(part) : vmbi_json_object());
    }
    if (!ok) {
        vmbi_json_free(r);
        return vmbi_fail_nomem(err);
    }
    *out = r;
    return VMB_OK;
}
