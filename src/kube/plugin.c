/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/plugin.h"

#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "codec/digest.h"
#include "codec/json.h"
#include "kube/file.h"
#include "kube/process.h"

enum { OUTPUT_MAX = 1 << 20, ERROR_MAX = 4096, INFO_MAX = 2 << 20, LINE_MAX_BYTES = 200 };

#define PLUGIN_TIMEOUT_NS (60 * VMBI_SECOND)

static const char info_name[] = "KUBERNETES_EXEC_INFO";

void vmbi_kube_credential_free(vmbi_kube_credential *c)
{
    vmbi_kube_wipe(c->token);
    vmbi_free(c->cert_pem);
    vmbi_kube_wipe(c->key_pem);
    *c = (vmbi_kube_credential){0};
}

static vmbi_json *cluster_info(const vmbi_kube_config *c, vmb_error **err)
{
    vmbi_json *o = vmbi_json_object();
    vmbi_json *extra = NULL;
    bool ok = o != NULL && vmbi_json_set_str(o, "server", c->server);
    if (ok && c->tls_server_name != NULL) {
        ok = vmbi_json_set_str(o, "tls-server-name", c->tls_server_name);
    }
    if (ok && c->insecure) {
        ok = vmbi_json_set_bool(o, "insecure-skip-tls-verify", true);
    }
    if (ok && c->proxy_url != NULL) {
        ok = vmbi_json_set_str(o, "proxy-url", c->proxy_url);
    }
    if (ok && c->ca_pem != NULL) {
        char *text = vmbi_alloc(vmbi_base64_size(c->ca_len));
        if (text != NULL) {
            vmbi_base64(c->ca_pem, c->ca_len, text);
        }
        ok = text != NULL && vmbi_json_set_str(o, "certificate-authority-data", text);
        vmbi_free(text);
    }
    if (ok && c->plugin.cluster_config != NULL) {
        const char *text = c->plugin.cluster_config;
        ok = vmbi_json_parse(text, strlen(text), "plugin config", &extra, err) == VMB_OK &&
             vmbi_json_set(o, "config", extra);
    }
    if (!ok) {
        vmbi_json_free(o);
        return NULL;
    }
    return o;
}

vmb_code vmbi_kube_plugin_info(const vmbi_kube_config *config, vmbi_buf *out, vmb_error **err)
{
    vmbi_json *doc = vmbi_json_object();
    vmbi_json *spec = vmbi_json_object();
    bool ok = doc != NULL && spec != NULL && vmbi_json_set_bool(spec, "interactive", false);
    if (ok && config->plugin.provide_cluster) {
        ok = vmbi_json_set(spec, "cluster", cluster_info(config, NULL));
    }
    ok = ok && vmbi_json_set_str(doc, "apiVersion", config->plugin.api_version) &&
         vmbi_json_set_str(doc, "kind", "ExecCredential") &&
         vmbi_json_set(doc, "spec", vmbi_json_ref(spec));
    vmb_code rc = ok ? vmbi_json_print(doc, out, err) : vmbi_fail_nomem(err);
    vmbi_json_free(spec);
    vmbi_json_free(doc);
    return rc;
}

static vmb_code copy_part(const vmbi_json *status, const char *field, char **out, vmb_error **err)
{
    const char *s = vmbi_json_get_str(status, field);
    if (s != NULL && s[0] != '\0') {
        *out = vmbi_strdup(s);
        return *out != NULL ? VMB_OK : vmbi_fail_nomem(err);
    }
    return VMB_OK;
}

static vmb_code read_status(const vmbi_kube_plugin *plugin, const vmbi_json *doc,
                            vmbi_kube_credential *c, vmb_error **err)
{
    const vmbi_json *status = vmbi_json_get(doc, "status");
    const char *expires = vmbi_json_get_str(status, "expirationTimestamp");
    const char *version = vmbi_json_get_str(doc, "apiVersion");
    if (!vmbi_streq(vmbi_json_get_str(doc, "kind"), "ExecCredential") ||
        !vmbi_streq(version, plugin->api_version)) {
        return vmbi_fail(err, VMB_E_PROTOCOL, "printed no ExecCredential of %s",
                         plugin->api_version);
    }
    vmb_code rc = copy_part(status, "token", &c->token, err);
    if (rc == VMB_OK) {
        rc = copy_part(status, "clientCertificateData", &c->cert_pem, err);
    }
    if (rc == VMB_OK) {
        rc = copy_part(status, "clientKeyData", &c->key_pem, err);
    }
    if (rc != VMB_OK) {
        return rc;
    }
    if ((c->cert_pem == NULL) != (c->key_pem == NULL)) {
        return vmbi_fail(err, VMB_E_PROTOCOL, "gave a client certificate without key or a key "
                                              "without certificate");
    }
    if (c->token == NULL && c->cert_pem == NULL) {
        return vmbi_fail(err, VMB_E_PROTOCOL, "gave neither token nor client certificate");
    }
    if (expires != NULL && !vmbi_parse_rfc3339(expires, &c->expires_unix_ns)) {
        return vmbi_fail(err, VMB_E_PROTOCOL, "gave an expirationTimestamp that is no time");
    }
    return VMB_OK;
}

vmb_code vmbi_kube_plugin_parse(const vmbi_kube_plugin *plugin, const char *text, size_t len,
                                vmbi_kube_credential *out, vmb_error **err)
{
    vmbi_kube_credential c = {0};
    vmbi_json *doc = NULL;
    vmb_code rc;
    /* the text may hold a token: the parser's message is not passed on */
    if (vmbi_json_parse(text, len, "ExecCredential", &doc, NULL) != VMB_OK) {
        rc = vmbi_fail(err, VMB_E_PROTOCOL, "printed no valid JSON");
    } else {
        rc = read_status(plugin, doc, &c, err);
    }
    vmbi_json_free(doc);
    if (rc == VMB_OK) {
        *out = c;
        c = (vmbi_kube_credential){0};
    }
    vmbi_kube_credential_free(&c);
    return rc;
}

static bool same_name(const char *a, const char *b)
{
    size_t n = strcspn(a, "=");
    return strncmp(a, b, n) == 0 && (b[n] == '=' || b[n] == '\0');
}

static bool overridden(const vmbi_kube_plugin *p, const char *entry)
{
    for (size_t i = 0; i < p->env.n; i++) {
        if (same_name(p->env.v[i], entry)) {
            return true;
        }
    }
    return same_name(info_name, entry);
}

/* The process's environment with the plugin's own variables; strings are borrowed. */
static char **build_env(const vmbi_kube_plugin *p, char *info)
{
    size_t n = 0;
    while (environ != NULL && environ[n] != NULL) {
        n++;
    }
    char **env = vmbi_alloc_array(n + p->env.n + 2, sizeof(*env));
    if (env == NULL) {
        return NULL;
    }
    size_t k = 0;
    for (size_t i = 0; i < n; i++) {
        if (!overridden(p, environ[i])) {
            env[k++] = environ[i];
        }
    }
    for (size_t i = 0; i < p->env.n; i++) {
        env[k++] = p->env.v[i];
    }
    env[k++] = info;
    env[k] = NULL;
    return env;
}

static char **build_argv(const vmbi_kube_plugin *p)
{
    char **argv = vmbi_alloc_array(p->args.n + 2, sizeof(*argv));
    if (argv != NULL) {
        argv[0] = p->command;
        for (size_t i = 0; i < p->args.n; i++) {
            argv[i + 1] = p->args.v[i];
        }
        argv[p->args.n + 1] = NULL;
    }
    return argv;
}

/* First line of what the plugin said on standard error, printable. */
static void error_line(const vmbi_buf *errout, char out[LINE_MAX_BYTES])
{
    size_t n = 0;
    for (size_t i = 0; i < errout->len && n + 1 < LINE_MAX_BYTES; i++) {
        char ch = errout->data[i];
        if (ch == '\n') {
            break;
        }
        out[n++] = ch >= ' ' && ch <= '~' ? ch : '?';
    }
    out[n] = '\0';
}

static vmb_code judge(const vmbi_kube_plugin *p, int wait_status, const vmbi_buf *out,
                      const vmbi_buf *errout, vmbi_kube_credential *credential, vmb_error **err)
{
    char line[LINE_MAX_BYTES];
    error_line(errout, line);
    const char *colon = line[0] != '\0' ? ": " : "";
    if (WIFSIGNALED(wait_status)) {
        return vmbi_fail(err, VMB_E_DENIED, "was killed by signal %d%s%s", WTERMSIG(wait_status),
                         colon, line);
    }
    if (wait_status != 0) {
        return vmbi_fail(err, VMB_E_DENIED, "failed with exit code %d%s%s",
                         WEXITSTATUS(wait_status), colon, line);
    }
    if (out->status == VMB_E_NOMEM) {
        return vmbi_fail_nomem(err);
    }
    return vmbi_kube_plugin_parse(p, out->data != NULL ? out->data : "", out->len, credential,
                                  err);
}

vmb_code vmbi_kube_plugin_run(const vmbi_kube_config *config, const vmbi_limits *limits,
                              vmbi_kube_credential *out, vmb_error **err)
{
    const vmbi_kube_plugin *p = &config->plugin;
    vmbi_limits within = vmbi_limits_within(limits, PLUGIN_TIMEOUT_NS);
    vmbi_buf info = VMBI_BUF_INIT(INFO_MAX);
    vmbi_buf text = VMBI_BUF_INIT(OUTPUT_MAX);
    vmbi_buf errout = VMBI_BUF_INIT(ERROR_MAX);
    char **env = NULL;
    char **argv = build_argv(p);
    int wait_status = 0;
    vmbi_buf_addf(&info, "%s=", info_name);
    vmb_code rc = vmbi_kube_plugin_info(config, &info, err);
    if (rc == VMB_OK) {
        rc = vmbi_buf_check(&info, err, info_name);
    }
    if (rc != VMB_OK) {
        goto out;
    }
    env = build_env(p, info.data);
    if (argv == NULL || env == NULL) {
        rc = vmbi_fail_nomem(err);
        goto out;
    }
    rc = vmbi_kube_process_run(argv, env, &within, &text, &errout, &wait_status, err);
    if (rc == VMB_E_NOT_FOUND && p->install_hint != NULL) {
        rc = vmbi_fail(err, rc, "the program is not installed; %.500s", p->install_hint);
    }
    if (rc == VMB_OK) {
        rc = judge(p, wait_status, &text, &errout, out, err);
    }
out:
    if (rc != VMB_OK) {
        rc = vmbi_wrap(err, rc, "%s: credential plugin %s", config->origin, p->command);
    }
    if (text.data != NULL) {
        explicit_bzero(text.data, text.cap);
    }
    vmbi_buf_free(&text);
    vmbi_buf_free(&errout);
    vmbi_buf_free(&info);
    vmbi_free(env);
    vmbi_free(argv);
    return rc;
}
