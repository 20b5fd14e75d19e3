/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/kubeconfig.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "codec/digest.h"
#include "codec/json.h"
#include "kube/file.h"
#include "kube/kubefiles.h"

enum { PEM_MAX_BYTES = 1 << 20, PATH_MAX_BYTES = 4096 };

/* One mapping of a file, with the words to name it in messages. */
typedef struct entry {
    const vmbi_kube_file *file;
    const char *section; /* "cluster", "user", "context" */
    const char *name;
    const vmbi_json *value; /* NULL: empty */
} entry;

static vmb_code fail_field(const entry *e, const char *field, vmb_error **err, const char *why)
{
    return vmbi_fail(err, VMB_E_INVALID, "kubeconfig %s: %s \"%s\": %s: %s", e->file->path,
                     e->section, e->name, field, why);
}

/* A field as text; *out is NULL when it is absent, null or empty. Borrowed. */
static vmb_code get_text(const entry *e, const char *field, const char **out, vmb_error **err)
{
    const vmbi_json *v = vmbi_json_get(e->value, field);
    *out = NULL;
    if (vmbi_json_is_null(v)) {
        return VMB_OK;
    }
    if (!vmbi_json_is_string(v)) {
        return fail_field(e, field, err, "must be a string");
    }
    *out = vmbi_json_str_len(v) > 0 ? vmbi_json_str(v) : NULL;
    return VMB_OK;
}

static vmb_code copy_text(const entry *e, const char *field, char **out, vmb_error **err)
{
    const char *s = NULL;
    vmb_code rc = get_text(e, field, &s, err);
    if (rc == VMB_OK && s != NULL) {
        *out = vmbi_strdup(s);
        rc = *out != NULL ? VMB_OK : vmbi_fail_nomem(err);
    }
    return rc;
}

static vmb_code get_flag(const entry *e, const char *field, bool *out, vmb_error **err)
{
    const vmbi_json *v = vmbi_json_get(e->value, field);
    if (!vmbi_json_is_null(v) && !vmbi_json_is_bool(v)) {
        return fail_field(e, field, err, "must be true or false");
    }
    *out = vmbi_json_bool(v, false);
    return VMB_OK;
}

/* A path of a file, seen from the folder of the kubeconfig that names it. */
static vmb_code resolve(const entry *e, const char *path, char **out, vmb_error **err)
{
    vmbi_buf b = VMBI_BUF_INIT(PATH_MAX_BYTES);
    if (path[0] != '/') {
        vmbi_buf_addf(&b, "%s/", e->file->dir);
    }
    vmbi_buf_adds(&b, path);
    vmb_code rc = vmbi_buf_take(&b, out, NULL, err, "path in a kubeconfig");
    vmbi_buf_free(&b);
    return rc;
}

static vmb_code read_pem(const entry *e, const char *field, const char *path, char **out,
                         size_t *len, vmb_error **err)
{
    char *full = NULL;
    vmb_code rc = resolve(e, path, &full, err);
    if (rc == VMB_OK) {
        rc = vmbi_kube_file_read(full, PEM_MAX_BYTES, "file", out, len, err);
        if (rc != VMB_OK) {
            rc = vmbi_wrap(err, rc, "kubeconfig %s: %s \"%s\": %s", e->file->path, e->section,
                           e->name, field);
        }
    }
    vmbi_free(full);
    return rc;
}

/* PEM text from "FIELD-data" (base64), else from the file that FIELD names. */
static vmb_code load_pem(const entry *e, const char *field, const char *data_field, char **out,
                         size_t *len, vmb_error **err)
{
    const char *data = NULL;
    const char *path = NULL;
    uint8_t *bytes = NULL;
    vmb_code rc = get_text(e, data_field, &data, err);
    if (rc == VMB_OK) {
        rc = get_text(e, field, &path, err);
    }
    if (rc == VMB_OK && data == NULL && path != NULL) {
        return read_pem(e, field, path, out, len, err);
    }
    if (rc != VMB_OK || data == NULL) {
        return rc;
    }
    size_t n = 0;
    if (vmbi_unbase64(data, strlen(data), &bytes, &n, NULL) != VMB_OK) {
        return fail_field(e, data_field, err, "is not base64");
    }
    *out = vmbi_strndup((const char *)bytes, n);
    *len = n;
    explicit_bzero(bytes, n);
    vmbi_free(bytes);
    return *out != NULL ? VMB_OK : vmbi_fail_nomem(err);
}

/* http://HOST or https://HOST, without the slash at its end; a bare host gets its scheme as
 * client-go's DefaultServerURL gives it. */
static vmb_code load_server(const entry *e, vmbi_kube_config *c, vmb_error **err)
{
    const char *s = NULL;
    vmb_code rc = get_text(e, "server", &s, err);
    if (rc != VMB_OK) {
        return rc;
    }
    if (s == NULL) {
        return fail_field(e, "server", err, "is missing");
    }
    const char *scheme = "";
    if (strstr(s, "://") == NULL) {
        bool tls = c->ca_pem != NULL || c->insecure;
        scheme = tls ? "https://" : "http://";
    } else if (!vmbi_starts_with(s, "https://") && !vmbi_starts_with(s, "http://")) {
        return fail_field(e, "server", err, "must be an http or https url");
    }
    size_t len = strlen(s);
    while (len > 0 && s[len - 1] == '/') {
        len--;
    }
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)s[i] <= ' ' || s[i] == '?' || s[i] == '#' || s[i] == '@') {
            return fail_field(e, "server", err, "holds a character that has no place here");
        }
    }
    vmbi_buf b = VMBI_BUF_INIT(PATH_MAX_BYTES);
    vmbi_buf_adds(&b, scheme);
    vmbi_buf_add(&b, s, len);
    if (vmbi_ends_with(b.data != NULL ? b.data : "", ":")) {
        rc = fail_field(e, "server", err, "has no host");
    } else {
        rc = vmbi_buf_take(&b, &c->server, NULL, err, "server url");
    }
    vmbi_buf_free(&b);
    return rc;
}

/* The part of a cluster that is meant for credential plugins. */
static vmb_code load_plugin_extension(const entry *e, vmbi_kube_config *c, vmb_error **err)
{
    const vmbi_json *list = vmbi_json_get(e->value, "extensions");
    for (size_t i = 0; i < vmbi_json_len(list); i++) {
        const vmbi_json *item = vmbi_json_at(list, i);
        const vmbi_json *value = vmbi_json_get(item, "extension");
        if (vmbi_streq(vmbi_json_get_str(item, "name"), "client.authentication.k8s.io/exec") &&
            !vmbi_json_is_null(value)) {
            return vmbi_json_to_text(value, &c->plugin.cluster_config, NULL, err);
        }
    }
    return VMB_OK;
}

static vmb_code load_cluster(const entry *e, vmbi_kube_config *c, vmb_error **err)
{
    vmb_code rc = get_flag(e, "insecure-skip-tls-verify", &c->insecure, err);
    if (rc == VMB_OK) {
        rc = load_pem(e, "certificate-authority", "certificate-authority-data", &c->ca_pem,
                      &c->ca_len, err);
    }
    if (rc == VMB_OK && c->insecure && c->ca_pem != NULL) {
        rc = fail_field(e, "insecure-skip-tls-verify", err,
                        "contradicts the certificate authority that is given too");
    }
    if (rc == VMB_OK) {
        rc = load_server(e, c, err);
    }
    if (rc == VMB_OK) {
        rc = copy_text(e, "tls-server-name", &c->tls_server_name, err);
    }
    if (rc == VMB_OK) {
        rc = copy_text(e, "proxy-url", &c->proxy_url, err);
    }
    if (rc == VMB_OK) {
        rc = get_flag(e, "disable-compression", &c->no_compression, err);
    }
    return rc == VMB_OK ? load_plugin_extension(e, c, err) : rc;
}

static vmb_code load_plugin_env(const entry *e, vmbi_kube_plugin *p, vmb_error **err)
{
    const vmbi_json *list = vmbi_json_get(e->value, "env");
    for (size_t i = 0; i < vmbi_json_len(list); i++) {
        const char *name = vmbi_json_get_str(vmbi_json_at(list, i), "name");
        const char *value = vmbi_json_get_str(vmbi_json_at(list, i), "value");
        if (name == NULL || name[0] == '\0' || strchr(name, '=') != NULL) {
            return fail_field(e, "env", err, "every entry needs a name without '='");
        }
        vmbi_buf b = VMBI_BUF_INIT(1 << 17);
        vmbi_buf_addf(&b, "%s=%s", name, value != NULL ? value : "");
        vmb_code rc = vmbi_buf_check(&b, err, "env of a credential plugin");
        if (rc == VMB_OK) {
            rc = vmbi_strs_add(&p->env, b.data, err);
        }
        vmbi_buf_free(&b);
        if (rc != VMB_OK) {
            return rc;
        }
    }
    return VMB_OK;
}

static vmb_code load_plugin_args(const entry *e, vmbi_kube_plugin *p, vmb_error **err)
{
    const vmbi_json *args = vmbi_json_get(e->value, "args");
    vmb_code rc = VMB_OK;
    for (size_t i = 0; rc == VMB_OK && i < vmbi_json_len(args); i++) {
        const char *arg = vmbi_json_str(vmbi_json_at(args, i));
        rc = arg != NULL ? vmbi_strs_add(&p->args, arg, err)
                         : fail_field(e, "args", err, "must be strings");
    }
    return rc;
}

static vmb_code check_plugin_api(const entry *e, const vmbi_kube_plugin *p, vmb_error **err)
{
    static const char group[] = "client.authentication.k8s.io/";
    if (p->api_version == NULL) {
        return fail_field(e, "apiVersion", err, "is missing");
    }
    if (!vmbi_starts_with(p->api_version, group) ||
        (!vmbi_ends_with(p->api_version, "/v1") && !vmbi_ends_with(p->api_version, "/v1beta1"))) {
        return fail_field(e, "apiVersion", err,
                          "must be client.authentication.k8s.io/v1 or …/v1beta1");
    }
    return VMB_OK;
}

static vmb_code load_plugin(const entry *user, vmbi_kube_plugin *p, vmb_error **err)
{
    entry e = {user->file, "exec of user", user->name, vmbi_json_get(user->value, "exec")};
    const char *command = NULL;
    const char *mode = NULL;
    if (vmbi_json_is_null(e.value)) {
        return VMB_OK;
    }
    vmb_code rc = get_text(&e, "command", &command, err);
    if (rc == VMB_OK && command == NULL) {
        rc = fail_field(&e, "command", err, "is missing");
    }
    if (rc == VMB_OK) {
        rc = get_text(&e, "interactiveMode", &mode, err);
    }
    if (rc == VMB_OK && vmbi_streq(mode, "Always")) {
        rc = fail_field(&e, "interactiveMode", err, "Always needs a terminal, a library has none");
    }
    if (rc == VMB_OK && strchr(command, '/') != NULL) {
        rc = resolve(&e, command, &p->command, err);
    } else if (rc == VMB_OK) {
        p->command = vmbi_strdup(command);
        rc = p->command != NULL ? VMB_OK : vmbi_fail_nomem(err);
    }
    if (rc == VMB_OK) {
        rc = copy_text(&e, "apiVersion", &p->api_version, err);
    }
    if (rc == VMB_OK) {
        rc = check_plugin_api(&e, p, err);
    }
    if (rc == VMB_OK) {
        rc = copy_text(&e, "installHint", &p->install_hint, err);
    }
    if (rc == VMB_OK) {
        rc = get_flag(&e, "provideClusterInfo", &p->provide_cluster, err);
    }
    if (rc == VMB_OK) {
        rc = load_plugin_args(&e, p, err);
    }
    return rc == VMB_OK ? load_plugin_env(&e, p, err) : rc;
}

static vmb_code load_impersonation(const entry *e, vmbi_kube_config *c, vmb_error **err)
{
    const vmbi_json *groups = vmbi_json_get(e->value, "as-groups");
    vmb_code rc = copy_text(e, "as", &c->as_user, err);
    if (rc == VMB_OK) {
        rc = copy_text(e, "as-uid", &c->as_uid, err);
    }
    for (size_t i = 0; rc == VMB_OK && i < vmbi_json_len(groups); i++) {
        const char *group = vmbi_json_str(vmbi_json_at(groups, i));
        rc = group != NULL ? vmbi_strs_add(&c->as_groups, group, err)
                           : fail_field(e, "as-groups", err, "must be strings");
    }
    if (rc == VMB_OK && vmbi_json_len(vmbi_json_get(e->value, "as-user-extra")) > 0) {
        /* leaving it out silently would act with other rights than those asked for */
        rc = fail_field(e, "as-user-extra", err, "is not supported");
    }
    if (rc == VMB_OK && c->as_user == NULL && (c->as_uid != NULL || c->as_groups.n > 0)) {
        rc = fail_field(e, "as", err, "is missing, while as-uid or as-groups is given");
    }
    return rc;
}

/* Ways to log in that the API server no longer has. */
static vmb_code refuse_old_logins(const entry *e, vmb_error **err)
{
    if (!vmbi_json_is_null(vmbi_json_get(e->value, "username")) ||
        !vmbi_json_is_null(vmbi_json_get(e->value, "password"))) {
        return fail_field(e, "username", err,
                          "basic authentication is not supported (no api server since 1.19 takes "
                          "it); use a token, a client certificate or an exec plugin");
    }
    if (!vmbi_json_is_null(vmbi_json_get(e->value, "auth-provider"))) {
        return fail_field(e, "auth-provider", err,
                          "is not supported (removed from kubernetes in 1.26); use an exec plugin");
    }
    return VMB_OK;
}

static vmb_code load_user(const entry *e, vmbi_kube_config *c, vmb_error **err)
{
    const char *token_file = NULL;
    vmb_code rc = refuse_old_logins(e, err);
    if (rc == VMB_OK) {
        rc = load_pem(e, "client-certificate", "client-certificate-data", &c->cert_pem,
                      &c->cert_len, err);
    }
    if (rc == VMB_OK) {
        rc = load_pem(e, "client-key", "client-key-data", &c->key_pem, &c->key_len, err);
    }
    if (rc == VMB_OK && (c->cert_pem == NULL) != (c->key_pem == NULL)) {
        rc = fail_field(e, c->cert_pem == NULL ? "client-certificate" : "client-key", err,
                        "is missing, while its counterpart is given");
    }
    if (rc == VMB_OK) {
        rc = copy_text(e, "token", &c->token, err);
    }
    if (rc == VMB_OK) {
        rc = get_text(e, "tokenFile", &token_file, err);
    }
    if (rc == VMB_OK && token_file != NULL) {
        rc = resolve(e, token_file, &c->token_file, err);
    }
    if (rc == VMB_OK) {
        rc = load_plugin(e, &c->plugin, err);
    }
    return rc == VMB_OK ? load_impersonation(e, c, err) : rc;
}

static vmb_code set_origin(vmbi_kube_config *c, const entry *context, vmb_error **err)
{
    vmbi_buf b = VMBI_BUF_INIT(PATH_MAX_BYTES + 512);
    vmbi_buf_addf(&b, "kubeconfig %s, context \"%.200s\"", context->file->path, context->name);
    vmb_code rc = vmbi_buf_take(&b, &c->origin, NULL, err, "origin");
    vmbi_buf_free(&b);
    return rc;
}

/* Follows the context to its cluster and user. */
static vmb_code resolve_context(const vmbi_kube_files *files, const char *name,
                                vmbi_kube_config *c, vmb_error **err)
{
    entry context = {NULL, "context", name, NULL};
    entry cluster = {NULL, "cluster", NULL, NULL};
    entry user = {NULL, "user", NULL, NULL};
    vmb_code rc = vmbi_kube_files_find(files, "contexts", "context", name, &context.value,
                                       &context.file, err);
    if (rc == VMB_OK) {
        rc = set_origin(c, &context, err);
    }
    if (rc == VMB_OK) {
        rc = get_text(&context, "cluster", &cluster.name, err);
    }
    if (rc == VMB_OK && cluster.name == NULL) {
        rc = fail_field(&context, "cluster", err, "is missing");
    }
    if (rc == VMB_OK) {
        rc = get_text(&context, "user", &user.name, err);
    }
    if (rc == VMB_OK) {
        rc = copy_text(&context, "namespace", &c->ns, err);
    }
    if (rc == VMB_OK) {
        rc = vmbi_kube_files_find(files, "clusters", "cluster", cluster.name, &cluster.value,
                                  &cluster.file, err);
    }
    if (rc == VMB_OK && user.name != NULL) { /* a context may come without a user: kubectl proxy */
        rc = vmbi_kube_files_find(files, "users", "user", user.name, &user.value, &user.file, err);
    }
    if (rc != VMB_OK) {
        return vmbi_wrap(err, rc, "context \"%.200s\"", name);
    }
    rc = load_cluster(&cluster, c, err);
    return rc == VMB_OK && user.name != NULL ? load_user(&user, c, err) : rc;
}

static vmb_code fail_no_files(const vmbi_kube_sources *s, vmb_error **err)
{
    if (s->list != NULL) {
        return vmbi_fail(err, VMB_E_NOT_FOUND,
                         "kubeconfig: none of the files in KUBECONFIG (%s) exists", s->list);
    }
    return vmbi_fail(err, VMB_E_NOT_FOUND,
                     "kubeconfig: no file is given, KUBECONFIG is not set, %s/.kube/config does "
                     "not exist, and this is not a pod",
                     s->home != NULL ? s->home : "$HOME");
}

/* Without any file the pod's service account is the only way left; it has no contexts. */
static vmb_code load_without_files(const vmbi_kube_sources *sources, const char *context,
                                   vmbi_kube_config *out, vmb_error **err)
{
    if (sources->service_host != NULL && context == NULL) {
        return vmbi_kube_config_in_cluster(sources, out, err);
    }
    vmb_code rc = fail_no_files(sources, err);
    return context != NULL ? vmbi_wrap(err, rc, "context \"%.200s\"", context) : rc;
}

vmb_code vmbi_kube_config_load(const vmbi_kube_sources *sources, const char *context,
                               vmbi_kube_config *out, vmb_error **err)
{
    vmbi_kube_files files = {0};
    vmbi_kube_config c = {0};
    vmb_code rc = vmbi_kube_files_load(sources, &files, err);
    if (rc != VMB_OK) {
        return rc;
    }
    context = context != NULL && context[0] != '\0' ? context : NULL;
    if (files.n == 0) {
        vmbi_kube_files_free(&files); /* room was made for a file that is not there */
        return load_without_files(sources, context, out, err);
    }
    const char *name = context != NULL ? context : vmbi_kube_files_current(&files);
    if (name == NULL && sources->explicit_path == NULL && sources->service_host != NULL) {
        rc = vmbi_kube_config_in_cluster(sources, &c, err); /* files that say nothing */
    } else if (name == NULL) {
        rc = vmbi_fail(err, VMB_E_INVALID,
                       "kubeconfig %s: no context is asked for and current-context is not set",
                       files.v[0].path);
    } else {
        rc = resolve_context(&files, name, &c, err);
    }
    if (rc == VMB_OK && c.ns == NULL) {
        c.ns = vmbi_strdup("");
        rc = c.ns != NULL ? VMB_OK : vmbi_fail_nomem(err);
    }
    if (rc == VMB_OK) {
        *out = c;
        c = (vmbi_kube_config){0};
    }
    vmbi_kube_config_free(&c);
    vmbi_kube_files_free(&files);
    return rc;
}

void vmbi_kube_config_free(vmbi_kube_config *c)
{
    vmbi_free(c->origin);
    vmbi_free(c->server);
    vmbi_free(c->ns);
    vmbi_free(c->ca_pem);
    vmbi_free(c->tls_server_name);
    vmbi_free(c->proxy_url);
    vmbi_free(c->cert_pem);
    vmbi_kube_wipe(c->key_pem);
    vmbi_kube_wipe(c->token);
    vmbi_free(c->token_file);
    vmbi_free(c->plugin.command);
    vmbi_strs_free(&c->plugin.args);
    vmbi_strs_free(&c->plugin.env);
    vmbi_free(c->plugin.api_version);
    vmbi_free(c->plugin.install_hint);
    vmbi_free(c->plugin.cluster_config);
    vmbi_free(c->as_user);
    vmbi_free(c->as_uid);
    vmbi_strs_free(&c->as_groups);
    *c = (vmbi_kube_config){0};
}
