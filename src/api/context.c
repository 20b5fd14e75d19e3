/* SPDX-License-Identifier: Apache-2.0 */
/* context.h: argument checks, then core/context.c. Locations are in api/location.c. */
#include <vmbackup/context.h>

#include <string.h>

#include "base/error.h"
#include "codec/yaml.h"
#include "core/context.h"
#include "core/vtable.h"
#include "providers/builtin.h"

static vmb_code missing(vmb_error **err, const char *function)
{
    return vmbi_fail(err, VMB_E_ARG, "%s: an argument is NULL", function);
}

vmb_code vmb_ctx_new(vmb_ctx **out, vmb_error **err)
{
    if (out == NULL) {
        return missing(err, "vmb_ctx_new");
    }
    *out = NULL;
    return vmbi_ctx_new(out, err);
}

vmb_ctx *vmb_ctx_ref(vmb_ctx *ctx)
{
    if (ctx != NULL) {
        atomic_fetch_add_explicit(&ctx->refs, 1, memory_order_relaxed);
    }
    return ctx;
}

void vmb_ctx_unref(vmb_ctx *ctx)
{
    if (ctx != NULL) {
        vmbi_ctx_unref(ctx);
    }
}

vmb_code vmb_ctx_set(vmb_ctx *ctx, const char *key, const char *value, vmb_error **err)
{
    if (ctx == NULL || key == NULL || value == NULL) {
        return missing(err, "vmb_ctx_set");
    }
    vmb_code rc = vmbi_ctx_check(ctx, true, err);
    return rc != VMB_OK ? rc : vmbi_ctx_set(ctx, key, value, err);
}

vmb_code vmb_ctx_set_log(vmb_ctx *ctx, vmb_log_fn fn, void *user, void (*destroy)(void *user),
                         vmb_error **err)
{
    vmb_code rc = ctx != NULL ? vmbi_ctx_check(ctx, true, err) : missing(err, "vmb_ctx_set_log");
    if (rc != VMB_OK) {
        if (destroy != NULL) {
            destroy(user);
        }
        return rc;
    }
    if (ctx->log_destroy != NULL) {
        ctx->log_destroy(ctx->log_user);
    }
    ctx->log_fn = fn;
    ctx->log_user = user;
    ctx->log_destroy = destroy;
    return VMB_OK;
}

/* ---- providers ----------------------------------------------------------------------------- */

/* A caller's table: checked, else destroyed, since registration owns it from the call on. */
static vmb_code accept(vmb_ctx *ctx, const void *table, const char *function, vmb_error **err)
{
    if (table == NULL) {
        return missing(err, function);
    }
    vmb_code rc = ctx != NULL ? vmbi_ctx_check(ctx, true, err) : missing(err, function);
    if (rc != VMB_OK) {
        vmbi_vtable_destroy(table);
    }
    return rc;
}

vmb_code vmb_ctx_add_cluster_provider(vmb_ctx *ctx, const vmb_cluster_provider *p, vmb_error **err)
{
    vmb_code rc = accept(ctx, p, "vmb_ctx_add_cluster_provider", err);
    return rc != VMB_OK ? rc : vmbi_ctx_add_cluster(ctx, p, err);
}

vmb_code vmb_ctx_add_exec_provider(vmb_ctx *ctx, const vmb_exec_provider *p, vmb_error **err)
{
    vmb_code rc = accept(ctx, p, "vmb_ctx_add_exec_provider", err);
    return rc != VMB_OK ? rc : vmbi_ctx_add_exec(ctx, p, err);
}

vmb_code vmb_ctx_add_snapshot_provider(vmb_ctx *ctx, const vmb_snapshot_provider *p,
                                       vmb_error **err)
{
    vmb_code rc = accept(ctx, p, "vmb_ctx_add_snapshot_provider", err);
    return rc != VMB_OK ? rc : vmbi_ctx_add_snapshot(ctx, p, err);
}

vmb_code vmb_ctx_add_volume_provider(vmb_ctx *ctx, const vmb_volume_provider *p, vmb_error **err)
{
    vmb_code rc = accept(ctx, p, "vmb_ctx_add_volume_provider", err);
    return rc != VMB_OK ? rc : vmbi_ctx_add_volume(ctx, p, err);
}

vmb_code vmb_ctx_add_action_provider(vmb_ctx *ctx, const vmb_action_provider *p, vmb_error **err)
{
    vmb_code rc = accept(ctx, p, "vmb_ctx_add_action_provider", err);
    return rc != VMB_OK ? rc : vmbi_ctx_add_action(ctx, p, err);
}

vmb_code vmb_ctx_add_store_provider(vmb_ctx *ctx, const char *location, const char *prefix,
                                    int32_t is_default, const vmb_store_provider *p,
                                    vmb_error **err)
{
    vmb_code rc = accept(ctx, p, "vmb_ctx_add_store_provider", err);
    if (rc == VMB_OK && (location == NULL || location[0] == '\0')) {
        vmbi_vtable_destroy(p);
        return missing(err, "vmb_ctx_add_store_provider");
    }
    return rc != VMB_OK ? rc
                        : vmbi_ctx_add_store(ctx, location, prefix != NULL ? prefix : "",
                                             is_default != 0, false, NULL, p, err);
}

/* ---- built-in providers -------------------------------------------------------------------- */

static vmb_code use_cluster_kube(vmb_ctx *ctx, const vmbi_json *settings, vmb_error **err)
{
    vmb_cluster_provider cluster;
    vmb_exec_provider exec;
    vmb_code rc = vmbi_cluster_kube_new(settings, &cluster, &exec, err);
    if (rc == VMB_OK) {
        rc = vmbi_ctx_add_cluster(ctx, &cluster, err);
        vmb_code second = vmbi_ctx_add_exec(ctx, &exec, rc == VMB_OK ? err : NULL);
        rc = rc == VMB_OK ? second : rc;
    }
    return rc;
}

static vmb_code use_cluster_dir(vmb_ctx *ctx, const vmbi_json *settings, vmb_error **err)
{
    vmb_cluster_provider p;
    vmb_code rc = vmbi_cluster_dir_new(settings, &p, err);
    return rc != VMB_OK ? rc : vmbi_ctx_add_cluster(ctx, &p, err);
}

static vmb_code use_snapshot_csi(vmb_ctx *ctx, const vmbi_json *settings, vmb_error **err)
{
    vmb_snapshot_provider p;
    vmb_code rc = vmbi_snapshot_csi_new(settings, &p, err);
    return rc != VMB_OK ? rc : vmbi_ctx_add_snapshot(ctx, &p, err);
}

static vmb_code use_volume_repo(vmb_ctx *ctx, const vmbi_json *settings, vmb_error **err)
{
    vmb_volume_provider p;
    vmb_code rc = vmbi_volume_repo_new(settings, &p, err);
    return rc != VMB_OK ? rc : vmbi_ctx_add_volume(ctx, &p, err);
}

static vmb_code add_action(void *user, const vmb_action_provider *p, vmb_error **err)
{
    return vmbi_ctx_add_action(user, p, err);
}

static vmb_code no_settings(const vmbi_json *settings, const char *name, vmb_error **err)
{
    return vmbi_json_len(settings) == 0
               ? VMB_OK
               : vmbi_fail(err, VMB_E_ARG, "%s: takes no settings", name);
}

static vmb_code use_actions_kubernetes(vmb_ctx *ctx, const vmbi_json *settings, vmb_error **err)
{
    vmb_code rc = no_settings(settings, "actions.kubernetes", err);
    return rc != VMB_OK ? rc : vmbi_actions_kubernetes(add_action, ctx, err);
}

static vmb_code use_actions_kubevirt(vmb_ctx *ctx, const vmbi_json *settings, vmb_error **err)
{
    vmb_code rc = no_settings(settings, "actions.kubevirt", err);
    return rc != VMB_OK ? rc : vmbi_actions_kubevirt(add_action, ctx, err);
}

static const struct {
    const char *name;
    vmb_code (*use)(vmb_ctx *ctx, const vmbi_json *settings, vmb_error **err);
} builtins[] = {
    {"actions.kubernetes", use_actions_kubernetes}, {"actions.kubevirt", use_actions_kubevirt},
    {"cluster.dir", use_cluster_dir},               {"cluster.kube", use_cluster_kube},
    {"snapshot.csi", use_snapshot_csi},             {"volume.repo", use_volume_repo},
};

vmb_code vmb_ctx_use(vmb_ctx *ctx, const char *name, const char *settings, size_t len,
                     vmb_error **err)
{
    if (ctx == NULL || name == NULL || (settings == NULL && len != 0)) {
        return missing(err, "vmb_ctx_use");
    }
    vmb_code rc = vmbi_ctx_check(ctx, true, err);
    if (rc != VMB_OK) {
        return rc;
    }
    size_t i = 0;
    while (i < VMBI_ARRAY_LEN(builtins) && strcmp(builtins[i].name, name) != 0) {
        i++;
    }
    if (i == VMBI_ARRAY_LEN(builtins)) {
        return vmbi_fail(err, VMB_E_ARG,
                         "provider %s is unknown; built in are actions.kubernetes, "
                         "actions.kubevirt, cluster.dir, cluster.kube, snapshot.csi, volume.repo",
                         name);
    }
    vmbi_json *tree = NULL;
    if (len != 0) {
        rc = vmbi_doc_parse(settings, len, name, NULL, &tree, NULL, err);
    }
    if (rc == VMB_OK && tree != NULL && !vmbi_json_is_object(tree)) {
        rc = vmbi_fail(err, VMB_E_ARG, "%s: settings must be an object", name);
    }
    if (rc == VMB_OK) {
        rc = builtins[i].use(ctx, tree, err);
    }
    vmbi_json_free(tree);
    return rc;
}
