/* SPDX-License-Identifier: Apache-2.0 */
/* Storage locations of a context: from BackupStorageLocation resources to stores. */
#include <vmbackup/context.h>

#include <string.h>

#include "api/location.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/job.h"
#include "base/strs.h"
#include "codec/digest.h"
#include "codec/duration.h"
#include "codec/yaml.h"
#include "core/badstore.h"
#include "core/catalog.h"
#include "core/cluster.h"
#include "core/context.h"
#include "model/location.h"
#include "providers/builtin.h"

enum { MAX_LOCATIONS_BYTES = 16 * 1024 * 1024 };

/* A decoded value of a Secret or ConfigMap key, NUL-terminated. */
static vmb_code secret_value(vmb_cluster *cluster, vmb_job *job, const char *ns,
                             const char *secret, const char *key, char **out, vmb_error **err)
{
    vmbi_buf text = VMBI_BUF_INIT(4 * 1024 * 1024);
    vmbi_json *tree = NULL;
    uint8_t *bytes = NULL;
    size_t len = 0;
    vmb_code rc = vmbi_cluster_get(cluster, job, "", "v1", "secrets", ns, secret, &text, err);
    if (rc == VMB_OK) {
        rc = vmbi_json_parse(text.data, text.len, secret, &tree, err);
    }
    if (rc == VMB_OK) {
        const char *value = vmbi_json_get_str(vmbi_json_get(tree, "data"), key);
        rc = value == NULL ? vmbi_fail(err, VMB_E_NOT_FOUND, "it has no key %s", key)
                           : vmbi_unbase64(value, strlen(value), &bytes, &len, err);
    }
    if (rc == VMB_OK) {
        char *copy = vmbi_strndup((const char *)bytes, len);
        rc = copy != NULL ? VMB_OK : vmbi_fail_nomem(err);
        *out = copy;
    }
    if (bytes != NULL) {
        explicit_bzero(bytes, len);
    }
    if (text.data != NULL) {
        explicit_bzero(text.data, text.len);
    }
    vmbi_json_wipe(vmbi_json_get(vmbi_json_get(tree, "data"), key));
    vmbi_free(bytes);
    vmbi_json_free(tree);
    vmbi_buf_free(&text);
    return rc != VMB_OK ? vmbi_wrap(err, rc, "secret %s/%s", ns, secret) : VMB_OK;
}

/* Reads what the location keeps in Secrets: credentials and a CA certificate. */
static vmb_code read_secrets(vmb_ctx *ctx, const vmbi_location *l, char **credentials,
                             char **ca_cert, vmb_error **err)
{
    bool wants_credentials = l->credential_secret[0] != '\0';
    bool wants_ca = l->ca_cert_secret[0] != '\0';
    const char *ns = l->ns[0] != '\0' ? l->ns : ctx->settings.ns;
    if (!wants_credentials && !wants_ca) {
        return VMB_OK;
    }
    if (ctx->cluster.get == NULL) {
        return vmbi_fail(err, VMB_E_INVALID,
                         "location %s: names the Secret %s, and the context has no cluster to read "
                         "it from; add the cluster first, or use config.credentialsFile",
                         l->name, wants_credentials ? l->credential_secret : l->ca_cert_secret);
    }
    vmb_cluster cluster = {&ctx->cluster, NULL, ctx->settings.resource_timeout_ns};
    vmb_job job = {0};
    vmb_code rc = VMB_OK;
    if (wants_credentials) {
        rc = secret_value(&cluster, &job, ns, l->credential_secret, l->credential_key, credentials,
                          err);
    }
    if (rc == VMB_OK && wants_ca) {
        rc = secret_value(&cluster, &job, ns, l->ca_cert_secret, l->ca_cert_key, ca_cert, err);
    }
    return rc != VMB_OK ? vmbi_wrap(err, rc, "location %s", l->name) : VMB_OK;
}

/* Numbers of our own that a location may set: in config, or, where a Velero reads the same location
 * and would refuse unknown keys, as annotations. */
static bool set_number(const vmbi_location *l, const vmbi_json *tree, const char *key,
                       const char *annotation, vmbi_json *config, vmbi_json *settings)
{
    const char *text = vmbi_json_get_str(config, key);
    int64_t n = 0;
    if (text == NULL) {
        text = vmbi_json_get_str(vmbi_json_path(tree, "metadata.annotations"), annotation);
    }
    if (text == NULL || !vmbi_location_is_s3(l)) {
        return true;
    }
    bool ok = vmbi_quantity_parse(text, &n)
                  ? vmbi_json_set_int(settings, key, n)
                  : vmbi_json_set_str(settings, key, text); /* the store tells what is wrong */
    vmbi_json_del(config, key);
    return ok;
}

static vmbi_json *store_settings(const vmbi_location *l, const vmbi_json *tree,
                                 const char *credentials, const char *ca_cert)
{
    static const struct {
        const char *key;
        const char *annotation;
    } numbers[] = {
        {"partSize", "vmbackup.io/part-size"},
        {"maxParts", "vmbackup.io/max-parts"},
        {"partsInFlight", "vmbackup.io/parts-in-flight"},
        {"maxTries", "vmbackup.io/max-tries"},
    };
    vmbi_json *s = vmbi_json_object();
    vmbi_json *config = vmbi_json_copy(l->config);
    bool ok = s != NULL && config != NULL;
    for (size_t i = 0; i < VMBI_ARRAY_LEN(numbers) && ok; i++) {
        ok = set_number(l, tree, numbers[i].key, numbers[i].annotation, config, s);
    }
    ok = ok && vmbi_json_set(s, "config", vmbi_json_ref(config));
    ok = ok && (l->bucket[0] == '\0' || vmbi_json_set_str(s, "bucket", l->bucket));
    ok = ok && (credentials == NULL || vmbi_json_set_str(s, "credentials", credentials));
    ok = ok && (ca_cert == NULL || ca_cert[0] == '\0' || vmbi_json_set_str(s, "caCert", ca_cert));
    vmbi_json_free(config);
    if (!ok) {
        vmbi_json_free(s);
        s = NULL;
    }
    return s;
}

static vmb_code make_store(const vmbi_location *l, const vmbi_json *settings,
                           vmb_store_provider *out, vmb_error **err)
{
    if (strcmp(l->provider, "aws") == 0 || strcmp(l->provider, "velero.io/aws") == 0) {
        return vmbi_store_s3_new(settings, out, err);
    }
    if (strcmp(l->provider, "vmbackup.io/dir") == 0) {
        return vmbi_store_dir_new(settings, out, err);
    }
#ifdef VMBI_HAVE_LIBS3
    if (strcmp(l->provider, "vmbackup.io/libs3") == 0) {
        return vmbi_store_libs3_new(settings, out, err);
    }
#endif
    return vmbi_fail(err, VMB_E_INVALID,
                     "spec.provider: %s is unknown; known are aws, velero.io/aws, "
                     "vmbackup.io/libs3 (where built in), vmbackup.io/dir",
                     l->provider);
}

/* Takes in one BackupStorageLocation tree. */
vmb_code vmbi_location_add(vmb_ctx *ctx, vmbi_json *tree, const char *source, vmb_error **err)
{
    vmbi_location l = {0};
    vmbi_json *settings = NULL;
    vmb_store_provider store;
    char *credentials = NULL;
    char *ca_cert = NULL;
    vmb_code rc = vmbi_location_from_tree(tree, source, &l, NULL, err);
    if (rc != VMB_OK) {
        return rc;
    }
    rc = read_secrets(ctx, &l, &credentials, &ca_cert, err);
    if (rc == VMB_OK) {
        settings = store_settings(&l, tree, credentials, ca_cert != NULL ? ca_cert : l.ca_cert);
        rc = settings != NULL ? VMB_OK : vmbi_fail_nomem(err);
    }
    if (rc == VMB_OK) {
        rc = make_store(&l, settings, &store, err);
        rc = rc != VMB_OK ? vmbi_wrap(err, rc, "location %s", l.name) : VMB_OK;
    }
    if (rc == VMB_OK) {
        rc = vmbi_ctx_add_store(ctx, l.name, l.prefix, l.is_default, l.read_only, tree, &store,
                                err);
    }
    if (credentials != NULL) {
        explicit_bzero(credentials, strlen(credentials));
    }
    vmbi_free(credentials);
    vmbi_free(ca_cert);
    vmbi_json_wipe(vmbi_json_get(settings, "credentials"));
    vmbi_json_free(settings);
    vmbi_location_free(&l);
    return rc;
}

vmb_code vmb_ctx_add_location(vmb_ctx *ctx, const char *doc, size_t len, vmb_error **err)
{
    if (ctx == NULL || doc == NULL) {
        return vmbi_fail(err, VMB_E_ARG, "vmb_ctx_add_location: an argument is NULL");
    }
    vmbi_json *tree = NULL;
    vmb_code rc = vmbi_ctx_check(ctx, true, err);
    if (rc == VMB_OK) {
        rc = vmbi_doc_parse(doc, len, "location", NULL, &tree, NULL, err);
    }
    if (rc == VMB_OK) {
        rc = vmbi_location_add(ctx, tree, "location", err);
    }
    vmbi_json_free(tree);
    return rc;
}

/* ---- from the cluster ---------------------------------------------------------------------- */

static bool known(const vmb_ctx *ctx, const char *name)
{
    for (size_t i = 0; i < ctx->n_locations; i++) {
        if (name != NULL && strcmp(ctx->locations[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

/* A location that cannot be used is listed as Unavailable; the others are not its concern. */
static vmb_code add_unusable(vmb_ctx *ctx, vmbi_json *tree, const vmb_error *why, vmb_error **err)
{
    const char *name = vmbi_json_path_str(tree, "metadata.name");
    const char *prefix = vmbi_json_path_str(tree, "spec.objectStorage.prefix");
    const char *mode = vmbi_json_path_str(tree, "spec.accessMode");
    vmb_store_provider store;
    vmb_code rc = vmbi_badstore_new(vmb_error_code(why), vmb_error_message(why), &store, err);
    if (rc == VMB_OK) {
        rc = vmbi_ctx_add_store(ctx, name, prefix != NULL ? prefix : "",
                                vmbi_json_bool(vmbi_json_path(tree, "spec.default"), false),
                                vmbi_streq(mode, "ReadOnly"), tree, &store, err);
    }
    return rc;
}

static vmb_code add_loaded(vmb_ctx *ctx, vmbi_json *tree, vmb_error **err)
{
    vmb_error *why = NULL;
    vmb_code rc = vmbi_location_add(ctx, tree, "storage location of the cluster", &why);
    bool general = rc == VMB_E_NOMEM || rc == VMB_E_CANCELLED || rc == VMB_E_LIMIT;
    if (rc == VMB_OK || general || vmbi_json_path_str(tree, "metadata.name") == NULL) {
        vmbi_error_move(err, &why);
        return rc;
    }
    rc = add_unusable(ctx, tree, why, err);
    vmb_error_free(why);
    return rc;
}

vmb_code vmb_ctx_load_locations(vmb_ctx *ctx, size_t *count, vmb_error **err)
{
    if (ctx == NULL) {
        return vmbi_fail(err, VMB_E_ARG, "vmb_ctx_load_locations: an argument is NULL");
    }
    vmb_code rc = vmbi_ctx_check(ctx, true, err);
    if (rc == VMB_OK && ctx->cluster.get == NULL) {
        rc = vmbi_fail(err, VMB_E_STATE, "vmb_ctx_load_locations: the context has no cluster");
    }
    if (rc != VMB_OK) {
        return rc;
    }
    vmb_cluster cluster = {&ctx->cluster, NULL, ctx->settings.resource_timeout_ns};
    vmb_job job = {0};
    vmbi_buf text = VMBI_BUF_INIT(MAX_LOCATIONS_BYTES);
    vmbi_json *list = NULL;
    size_t added = 0;
    rc = vmbi_cluster_list_array(&cluster, &job, "velero.io", "v1", "backupstoragelocations",
                                 ctx->settings.ns, NULL, &text, err);
    if (rc == VMB_OK) {
        rc = vmbi_json_parse(text.data, text.len, "list of storage locations", &list, err);
    }
    for (size_t i = 0; i < vmbi_json_len(list) && rc == VMB_OK; i++) {
        vmbi_json *tree = vmbi_json_at(list, i);
        if (known(ctx, vmbi_json_path_str(tree, "metadata.name"))) {
            continue;
        }
        /* items of a list come without their type */
        if (!vmbi_json_set_str(tree, "apiVersion", "velero.io/v1") ||
            !vmbi_json_set_str(tree, "kind", "BackupStorageLocation")) {
            rc = vmbi_fail_nomem(err);
        } else {
            rc = add_loaded(ctx, tree, err);
        }
        added += rc == VMB_OK ? 1 : 0;
    }
    vmbi_json_free(list);
    vmbi_buf_free(&text);
    if (rc == VMB_OK && count != NULL) {
        *count = added;
    }
    return rc != VMB_OK ? vmbi_wrap(err, rc, "storage locations in namespace %s", ctx->settings.ns)
                        : VMB_OK;
}

/* ---- describing ---------------------------------------------------------------------------- */

static const char *or_empty(const char *s)
{
    return s != NULL ? s : "";
}

static bool describe(const vmb_ctx *ctx, const vmbi_store_location *l, bool validate,
                     vmbi_json *list)
{
    const vmbi_json *r = l->resource;
    vmb_error *why = NULL;
    char now[VMBI_RFC3339_SIZE] = "";
    const char *phase = "Unknown";
    if (validate) {
        phase = vmbi_location_validate(ctx, l, NULL, &why) == VMB_OK ? "Available" : "Unavailable";
        vmbi_format_rfc3339(vmbi_unix_ns(), now);
    }
    const char *provider = vmbi_json_path_str(r, "spec.provider");
    vmbi_json *e = vmbi_json_object();
    bool ok = e != NULL && vmbi_json_set_str(e, "name", l->name);
    ok = ok && vmbi_json_set_str(e, "provider", provider != NULL ? provider : l->store.name);
    ok = ok && vmbi_json_set_str(e, "bucket",
                                 or_empty(vmbi_json_path_str(r, "spec.objectStorage.bucket")));
    ok = ok && vmbi_json_set_str(e, "prefix", l->prefix);
    ok = ok && vmbi_json_set_str(e, "accessMode", l->read_only ? "ReadOnly" : "ReadWrite");
    ok = ok && vmbi_json_set_bool(e, "default", l->is_default);
    ok = ok && vmbi_json_set_str(e, "phase", phase);
    ok = ok && vmbi_json_set_str(e, "message", vmb_error_message(why));
    ok = ok && vmbi_json_set_str(e, "lastValidationTime", now);
    ok = ok && vmbi_json_set_str(e, "creationTimestamp",
                                 or_empty(vmbi_json_path_str(r, "metadata.creationTimestamp")));
    vmb_error_free(why);
    if (!ok) {
        vmbi_json_free(e);
        return false;
    }
    return vmbi_json_append(list, e);
}

vmb_code vmb_ctx_locations_json(vmb_ctx *ctx, int32_t validate, char **out, size_t *out_len,
                                vmb_error **err)
{
    if (ctx == NULL || out == NULL) {
        return vmbi_fail(err, VMB_E_ARG, "vmb_ctx_locations_json: an argument is NULL");
    }
    vmb_code rc = vmbi_ctx_check(ctx, false, err);
    if (rc != VMB_OK) {
        return rc;
    }
    vmbi_json *list = vmbi_json_array();
    bool ok = list != NULL;
    vmbi_ctx_enter(ctx);
    for (size_t i = 0; i < ctx->n_locations && ok; i++) {
        ok = describe(ctx, &ctx->locations[i], validate != 0, list);
    }
    vmbi_ctx_leave(ctx);
    rc = ok ? vmbi_json_to_text(list, out, out_len, err) : vmbi_fail_nomem(err);
    vmbi_json_free(list);
    return rc;
}
