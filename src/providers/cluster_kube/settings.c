/* SPDX-License-Identifier: Apache-2.0 */
#include "providers/cluster_kube/settings.h"

#include <string.h>

#include "base/error.h"

enum { RATE_MAX = 1000000 };

static const char known[] =
    "kubeconfig, context, namespace, qps, burst, prefetch, compression, userAgent";

static vmb_code set_text(const char *key, const vmbi_json *v, const char **out, vmb_error **err)
{
    const char *s = vmbi_json_str(v);
    if (s == NULL || s[strcspn(s, "\r\n")] != '\0') {
        return vmbi_fail(err, VMB_E_ARG, "cluster setting %s: must be a string of one line", key);
    }
    *out = s[0] != '\0' ? s : NULL;
    return VMB_OK;
}

static vmb_code set_count(const char *key, const vmbi_json *v, int64_t *out, vmb_error **err)
{
    const char *s = vmbi_json_str(v);
    int64_t n = vmbi_json_int(v, -1);
    if (s != NULL && !vmbi_parse_i64(s, strlen(s), &n)) {
        n = -1;
    }
    if (n < 0 || n > RATE_MAX) {
        return vmbi_fail(err, VMB_E_ARG, "cluster setting %s: must be a number from 0 to %d", key,
                         (int)RATE_MAX);
    }
    *out = n;
    return VMB_OK;
}

static vmb_code set_flag(const char *key, const vmbi_json *v, bool *out, vmb_error **err)
{
    const char *s = vmbi_json_str(v);
    if (vmbi_json_is_bool(v)) {
        *out = vmbi_json_bool(v, false);
        return VMB_OK;
    }
    if (s != NULL && vmbi_parse_bool(s, out)) {
        return VMB_OK;
    }
    int64_t n = vmbi_json_int(v, -1);
    if (n != 0 && n != 1) {
        return vmbi_fail(err, VMB_E_ARG, "cluster setting %s: must be true or false", key);
    }
    *out = n == 1;
    return VMB_OK;
}

static vmb_code read_one(const char *key, const vmbi_json *v, vmbi_kube_settings *s,
                         vmb_error **err)
{
    if (vmbi_json_is_null(v)) {
        return VMB_OK;
    }
    if (strcmp(key, "kubeconfig") == 0) {
        return set_text(key, v, &s->client.kubeconfig, err);
    }
    if (strcmp(key, "context") == 0) {
        return set_text(key, v, &s->client.context, err);
    }
    if (strcmp(key, "namespace") == 0) {
        return set_text(key, v, &s->client.ns, err);
    }
    if (strcmp(key, "userAgent") == 0) {
        return set_text(key, v, &s->client.user_agent, err);
    }
    if (strcmp(key, "qps") == 0) {
        return set_count(key, v, &s->client.qps, err);
    }
    if (strcmp(key, "burst") == 0) {
        return set_count(key, v, &s->client.burst, err);
    }
    if (strcmp(key, "prefetch") == 0) {
        return set_flag(key, v, &s->prefetch, err);
    }
    bool on = false;
    vmb_code rc = set_flag(key, v, &on, err);
    s->client.gzip = on ? 1 : 0;
    return rc;
}

static bool is_known(const char *key)
{
    static const char *const keys[] = {"kubeconfig", "context",  "namespace",   "qps",
                                       "burst",      "prefetch", "compression", "userAgent"};
    for (size_t i = 0; i < VMBI_ARRAY_LEN(keys); i++) {
        if (strcmp(keys[i], key) == 0) {
            return true;
        }
    }
    return false;
}

vmb_code vmbi_kube_settings_read(const vmbi_json *settings, vmbi_kube_settings *out,
                                 vmb_error **err)
{
    vmbi_kube_settings s = {
        .client = {.qps = VMBI_KUBE_QPS, .burst = VMBI_KUBE_BURST, .gzip = VMBI_KUBE_GZIP_AUTO},
        .prefetch = true,
    };
    if (settings != NULL && !vmbi_json_is_null(settings) && !vmbi_json_is_object(settings)) {
        return vmbi_fail(err, VMB_E_ARG, "cluster settings: must be an object, not %s",
                         vmbi_json_type_name(settings));
    }
    for (void *it = vmbi_json_iter(settings); it != NULL;
         it = vmbi_json_iter_next(settings, it)) {
        const char *key = vmbi_json_iter_key(it);
        if (!is_known(key)) {
            return vmbi_fail(err, VMB_E_ARG, "cluster setting \"%s\" is unknown; known: %s", key,
                             known);
        }
        vmb_code rc = read_one(key, vmbi_json_iter_value(it), &s, err);
        if (rc != VMB_OK) {
            return rc;
        }
    }
    *out = s;
    return VMB_OK;
}
