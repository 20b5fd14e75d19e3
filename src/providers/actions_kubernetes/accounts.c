/* SPDX-License-Identifier: Apache-2.0 */
/* Service accounts bring the cluster role bindings that name them, and the roles behind these.
 * Source: Velero 1.18 pkg/backup/actions/service_account_action.go. */
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/map.h"
#include "providers/actions_kubernetes/actions.h"
#include "providers/common/objects.h"
#include "providers/common/runcache.h"

static const char rbac_group[] = "rbac.authorization.k8s.io";

/* Pairs of binding and role ("" when the role is none) of one account. */
static void free_pairs(void *p)
{
    vmbi_strs *pairs = p;
    vmbi_strs_free(pairs);
    vmbi_free(pairs);
}

static void free_account_map(void *p)
{
    vmbi_map_free(p);
    vmbi_free(p);
}

static vmb_code note_binding(vmbi_map *by_account, const char *account, const char *binding,
                             const char *role, vmb_error **err)
{
    vmbi_strs *pairs = vmbi_map_get(by_account, account);
    if (pairs == NULL) {
        pairs = vmbi_zalloc(sizeof *pairs);
        if (pairs == NULL) {
            return vmbi_fail_nomem(err);
        }
        vmb_code code = vmbi_map_set(by_account, account, pairs, err);
        if (code != VMB_OK) {
            free_pairs(pairs);
            return code;
        }
    }
    vmb_code code = vmbi_strs_add(pairs, binding, err);
    return code == VMB_OK ? vmbi_strs_add(pairs, role, err) : code;
}

static vmb_code note_subjects(vmbi_map *by_account, const vmbi_json *binding, vmb_error **err)
{
    const vmbi_json *subjects = vmbi_json_get(binding, "subjects");
    const char *role = vmbi_json_path_str(binding, "roleRef.name");
    if (role == NULL || !vmbi_streq(vmbi_json_path_str(binding, "roleRef.kind"), "ClusterRole")) {
        role = "";
    }
    vmb_code code = VMB_OK;
    for (size_t i = 0; code == VMB_OK && i < vmbi_json_len(subjects); i++) {
        const vmbi_json *s = vmbi_json_at(subjects, i);
        const char *name = vmbi_json_get_str(s, "name");
        const char *ns = vmbi_json_get_str(s, "namespace");
        if (!vmbi_streq(vmbi_json_get_str(s, "kind"), "ServiceAccount") || name == NULL ||
            ns == NULL) {
            continue;
        }
        vmbi_buf account = VMBI_BUF_INIT(1024);
        vmbi_buf_addf(&account, "%s/%s", ns, name);
        code = vmbi_buf_check(&account, err, "account name");
        if (code == VMB_OK) {
            code = note_binding(by_account, account.data, vmbi_name_of(binding), role, err);
        }
        vmbi_buf_free(&account);
    }
    return code;
}

static vmb_code make_account_map(vmb_job *job, const char *key, void **value, vmb_error **err)
{
    vmbi_json *bindings = NULL;
    vmbi_map *by_account = NULL;
    (void)key; /* one list for the whole cluster */
    vmb_code code =
        vmbi_fetch_list(job, rbac_group, "clusterrolebindings", NULL, NULL, &bindings, err);
    if (code != VMB_OK) {
        return vmbi_wrap(err, code, "list cluster role bindings");
    }
    by_account = vmbi_zalloc(sizeof *by_account);
    if (by_account == NULL) {
        code = vmbi_fail_nomem(err);
    } else {
        by_account->free_value = free_pairs;
    }
    for (size_t i = 0; code == VMB_OK && i < vmbi_json_len(bindings); i++) {
        code = note_subjects(by_account, vmbi_json_at(bindings, i), err);
    }
    vmbi_json_free(bindings);
    if (code != VMB_OK) {
        if (by_account != NULL) {
            free_account_map(by_account);
        }
        return code;
    }
    *value = by_account;
    return VMB_OK;
}

static vmb_code relate_bindings(vmbi_run_cache *cache, vmb_job *job, const char *account,
                                vmb_action_result *result, vmb_error **err)
{
    vmbi_cached *cached = NULL;
    vmb_code code = vmbi_run_cache_get(cache, job, "", &cached, err);
    if (code != VMB_OK) {
        return code;
    }
    const vmbi_strs *pairs = vmbi_map_get(vmbi_cached_value(cached), account);
    for (size_t i = 0; code == VMB_OK && pairs != NULL && i + 1 < pairs->n; i += 2) {
        code = vmb_action_result_add_related(result, rbac_group, "clusterrolebindings", NULL,
                                             pairs->v[i], 0, err);
        if (code == VMB_OK && pairs->v[i + 1][0] != '\0') {
            code = vmb_action_result_add_related(result, rbac_group, "clusterroles", NULL,
                                                 pairs->v[i + 1], 0, err);
        }
    }
    vmbi_cached_unref(cached);
    return code;
}

static vmb_code account_backup(void *user, vmb_job *job, const char *group, const char *resource,
                               const char *item, size_t len, vmb_action_result *result,
                               vmb_error **err)
{
    vmbi_json *account = NULL;
    vmbi_buf name = VMBI_BUF_INIT(1024);
    (void)group;
    (void)resource;
    if (!vmbi_served(job, rbac_group, "clusterrolebindings")) {
        return VMB_OK;
    }
    vmb_code code = vmbi_json_parse(item, len, "service account", &account, err);
    if (code != VMB_OK) {
        return code;
    }
    vmbi_buf_addf(&name, "%s/%s", vmbi_namespace_of(account), vmbi_name_of(account));
    code = vmbi_buf_check(&name, err, "account name");
    if (code == VMB_OK) {
        code = relate_bindings(user, job, name.data, result, err);
    }
    vmbi_buf_free(&name);
    vmbi_json_free(account);
    return code;
}

static void accounts_destroy(void *user)
{
    vmbi_run_cache_free(user);
}

vmb_code vmbi_accounts_action(vmb_action_provider *out, vmb_error **err)
{
    vmbi_run_cache *cache = NULL;
    vmb_code code = vmbi_run_cache_new(make_account_map, free_account_map, -1, &cache, err);
    if (code != VMB_OK) {
        return code;
    }
    memset(out, 0, sizeof *out);
    out->struct_size = sizeof *out;
    out->api_version = VMB_PROVIDER_API;
    out->name = "actions.kubernetes/accounts";
    out->user = cache;
    out->destroy = accounts_destroy;
    out->applies_to = "serviceaccounts";
    out->backup = account_backup;
    return VMB_OK;
}
