/* SPDX-License-Identifier: Apache-2.0 */
/* The locations of a DataProtectionApplication: checked, and made into resources. */
#include "model/dpa_impl.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/strs.h"

/* One location of the list. */
typedef struct one {
    vmbi_dpa_reader *r;
    size_t index;
    char at[64]; /* "spec.backupLocations[0]" */
    const vmbi_json *entry;
    const vmbi_json *spec; /* entry.velero */
    char name[300];
    char provider[64]; /* without "velero.io/" */
} one;

static void problem(one *o, const char *field, const char *remedy, const char *what)
{
    char path[192]; /* at, a dot, and the longest field */
    (void)snprintf(path, sizeof(path), "%s%s%s", o->at, field[0] != '\0' ? "." : "", field);
    vmbi_problems_add(o->r->p, true, path, remedy, "%s", what);
}

static const char *text_of(const vmbi_json *obj, const char *path)
{
    const char *s = vmbi_json_path_str(obj, path);
    return s != NULL ? s : "";
}

static bool is_true(const char *text)
{
    bool yes = false;
    return vmbi_parse_bool(text, &yes) && yes;
}

/* ---- Secrets ------------------------------------------------------------------------------- */

static const struct {
    const char *provider;
    const char *secret;
} default_secrets[] = {
    {"aws", "cloud-credentials"},
    {"gcp", "cloud-credentials-gcp"},
    {"azure", "cloud-credentials-azure"},
};

/* config.credentialsFile as "secret/key", then credential, then what the provider usually has. */
static void secret_of(const one *o, char name[254], char key[254])
{
    const char *file = text_of(o->spec, "config.credentialsFile");
    const char *slash = strchr(file, '/');
    const char *plain = text_of(o->spec, "credential.name");
    name[0] = '\0';
    (void)snprintf(key, 254, "cloud");
    if (slash != NULL && slash != file && strchr(slash + 1, '/') == NULL) {
        (void)snprintf(name, 254, "%.*s", (int)(slash - file < 253 ? slash - file : 253), file);
        (void)snprintf(key, 254, "%.253s", slash + 1);
        return;
    }
    if (plain[0] != '\0') {
        (void)snprintf(name, 254, "%.253s", plain);
        if (text_of(o->spec, "credential.key")[0] != '\0') {
            (void)snprintf(key, 254, "%.253s", text_of(o->spec, "credential.key"));
        }
        return;
    }
    for (size_t i = 0; i < VMBI_ARRAY_LEN(default_secrets); i++) {
        if (strcmp(o->provider, default_secrets[i].provider) == 0) {
            (void)snprintf(name, 254, "%s", default_secrets[i].secret);
        }
    }
}

static vmb_code check_secret(one *o)
{
    const vmbi_dpa_secrets *s = o->r->secrets;
    char name[254];
    char key[254];
    char what[600];
    bool found = true;
    secret_of(o, name, key);
    if (s == NULL || name[0] == '\0' || vmbi_strs_has(&o->r->dpa->features, "no-secret")) {
        return VMB_OK;
    }
    vmb_code rc = s->look(s->user, name, key, &found, o->r->err);
    if (rc == VMB_OK && !found) {
        (void)snprintf(what, sizeof(what), "the Secret %s is missing, or its key %s is empty", name,
                       key);
        problem(o, "velero.credential", "create the Secret", what);
    }
    return rc;
}

/* ---- checks -------------------------------------------------------------------------------- */

static void check_aws(one *o)
{
    const char *region = text_of(o->spec, "config.region");
    if (text_of(o->spec, "objectStorage.bucket")[0] == '\0') {
        problem(o, "velero.objectStorage.bucket", NULL, "is missing");
    }
    /* Amazon tells the region of a bucket; nobody else does */
    if (region[0] == '\0' && (is_true(text_of(o->spec, "config.s3ForcePathStyle")) ||
                              text_of(o->spec, "config.s3Url")[0] != '\0')) {
        problem(o, "velero.config.region", "write the store's region, or any word", "is missing");
    }
}

static void check_provider(one *o)
{
    static const char *const known[] = {"aws", "gcp", "azure"};
    const char *provider = text_of(o->spec, "provider");
    bool ok = false;
    if (vmbi_starts_with(provider, "velero.io/")) {
        provider += strlen("velero.io/");
    }
    (void)snprintf(o->provider, sizeof(o->provider), "%.63s", provider);
    for (size_t i = 0; i < VMBI_ARRAY_LEN(known); i++) {
        ok = ok || strcmp(provider, known[i]) == 0;
    }
    if (!ok) {
        problem(o, "velero.provider", "write aws, gcp or azure",
                provider[0] != '\0' ? "is unknown" : "is missing");
    } else if (strcmp(provider, "aws") == 0) {
        check_aws(o);
    } else if (strcmp(provider, "azure") == 0) {
        if (text_of(o->spec, "config.resourceGroup")[0] == '\0') {
            problem(o, "velero.config.resourceGroup", NULL, "is missing");
        }
        if (text_of(o->spec, "config.storageAccount")[0] == '\0') {
            problem(o, "velero.config.storageAccount", NULL, "is missing");
        }
    }
}

/* False: nothing can be made of it. */
static bool check_kind(one *o)
{
    bool velero = vmbi_json_is_object(vmbi_json_get(o->entry, "velero"));
    bool bucket = vmbi_json_is_object(vmbi_json_get(o->entry, "bucket"));
    if (velero == bucket) {
        problem(o, "", "write one of velero and bucket",
                velero ? "has velero and bucket" : "has neither velero nor bucket");
        return false;
    }
    if (bucket) {
        problem(o, "bucket", "write the location under velero",
                "CloudStorage resources are not supported");
    }
    return velero;
}

static void check_prefix(one *o)
{
    if (o->r->backup_images && text_of(o->spec, "objectStorage.prefix")[0] == '\0') {
        problem(o, "velero.objectStorage.prefix", "set a prefix, or spec.backupImages to false",
                "is missing, and images are backed up");
    }
}

/* ---- resources ----------------------------------------------------------------------------- */

static bool set_labels(const one *o, vmbi_json *meta, const char *component)
{
    vmbi_json *labels = vmbi_json_ensure_object(meta, "labels");
    return labels != NULL &&
           vmbi_json_set_str(labels, "app.kubernetes.io/name", "oadp-operator-velero") &&
           vmbi_json_set_str(labels, "app.kubernetes.io/instance", o->name) &&
           vmbi_json_set_str(labels, "app.kubernetes.io/managed-by", "oadp-operator") &&
           vmbi_json_set_str(labels, "app.kubernetes.io/component", component) &&
           vmbi_json_set_str(labels, "openshift.io/oadp", "True");
}

/* "https://host:443" and "http://host:80" lose the port: signatures cover the host as sent. */
static bool strip_port(vmbi_json *config)
{
    static const struct {
        const char *scheme;
        const char *port;
    } defaults[] = {{"https://", ":443"}, {"http://", ":80"}};
    const char *url = vmbi_json_get_str(config, "s3Url");
    for (size_t i = 0; url != NULL && i < VMBI_ARRAY_LEN(defaults); i++) {
        size_t len = strlen(url);
        size_t tail = len > 0 && url[len - 1] == '/' ? 1 : 0;
        size_t port = strlen(defaults[i].port);
        if (vmbi_starts_with(url, defaults[i].scheme) && len > port + tail &&
            memcmp(url + len - tail - port, defaults[i].port, port) == 0) {
            vmbi_json *text = vmbi_json_stringn(url, len - tail - port);
            return vmbi_json_set(config, "s3Url", text);
        }
    }
    return true;
}

static bool set_aws(const one *o, vmbi_json *spec)
{
    vmbi_json *config = vmbi_json_get(spec, "config");
    if (strcmp(o->provider, "aws") != 0 || !vmbi_json_is_object(config)) {
        return true;
    }
    return strip_port(config) && (vmbi_json_get(config, "checksumAlgorithm") != NULL ||
                                  vmbi_json_set_str(config, "checksumAlgorithm", ""));
}

/* The Secret is named in the one way that a BackupStorageLocation knows. */
static bool set_secret(const one *o, vmbi_json *spec)
{
    char name[254];
    char key[254];
    secret_of(o, name, key);
    if (name[0] == '\0' || vmbi_strs_has(&o->r->dpa->features, "no-secret")) {
        return true;
    }
    vmbi_json *credential = vmbi_json_object();
    vmbi_json_del(vmbi_json_get(spec, "config"), "credentialsFile");
    bool ok = credential != NULL && vmbi_json_set_str(credential, "name", name) &&
              vmbi_json_set_str(credential, "key", key);
    if (!ok) {
        vmbi_json_free(credential);
        return false;
    }
    return vmbi_json_set(spec, "credential", credential);
}

static vmbi_json *resource(const one *o, const char *kind, const char *component)
{
    vmbi_json *doc = vmbi_json_object();
    vmbi_json *meta = vmbi_json_ensure_object(doc, "metadata");
    bool ok = meta != NULL && vmbi_json_set_str(doc, "apiVersion", "velero.io/v1") &&
              vmbi_json_set_str(doc, "kind", kind) && vmbi_json_set_str(meta, "name", o->name) &&
              (o->r->dpa->ns[0] == '\0' ||
               vmbi_json_set_str(meta, "namespace", o->r->dpa->ns)) &&
              set_labels(o, meta, component) &&
              vmbi_json_set(doc, "spec", vmbi_json_copy(o->spec));
    if (!ok) {
        vmbi_json_free(doc);
        return NULL;
    }
    return doc;
}

static vmb_code add_location(one *o)
{
    vmbi_json *doc = resource(o, "BackupStorageLocation", "bsl");
    vmbi_json *spec = vmbi_json_get(doc, "spec");
    vmbi_json *labels = vmbi_json_path(doc, "metadata.labels");
    bool ok = doc != NULL && set_aws(o, spec) && set_secret(o, spec) &&
              vmbi_json_set_str(labels, "openshift.io/oadp-registry", "True");
    if (!ok) {
        vmbi_json_free(doc);
        return vmbi_fail_nomem(o->r->err);
    }
    return vmbi_json_append(o->r->dpa->locations, doc) ? VMB_OK : vmbi_fail_nomem(o->r->err);
}

/* ---- lists --------------------------------------------------------------------------------- */

static void open_one(one *o, vmbi_dpa_reader *r, const char *list, size_t i)
{
    char path[64];
    (void)snprintf(path, sizeof(path), "spec.%s", list);
    *o = (one){.r = r, .index = i};
    (void)snprintf(o->at, sizeof(o->at), "spec.%s[%zu]", list, i);
    o->entry = vmbi_json_at(vmbi_json_path(r->doc, path), i);
    o->spec = vmbi_json_get(o->entry, "velero");
    const char *name = text_of(o->entry, "name");
    if (name[0] != '\0') {
        (void)snprintf(o->name, sizeof(o->name), "%.253s", name);
    } else {
        (void)snprintf(o->name, sizeof(o->name), "%.240s-%zu", r->dpa->name, i + 1);
    }
}

static vmb_code read_location(vmbi_dpa_reader *r, size_t i, size_t *defaults)
{
    one o;
    open_one(&o, r, "backupLocations", i);
    if (!check_kind(&o)) {
        return VMB_OK;
    }
    bool is_default = vmbi_json_bool(vmbi_json_get(o.spec, "default"), false);
    *defaults += is_default ? 1 : 0;
    check_provider(&o);
    check_prefix(&o);
    if (strcmp(o.name, "default") == 0 && !is_default) {
        problem(&o, "name", "give another name, or set velero.default",
                "a location named default must be the default one");
    }
    vmb_code rc = check_secret(&o);
    return rc == VMB_OK ? add_location(&o) : rc;
}

vmb_code vmbi_dpa_read_locations(vmbi_dpa_reader *r)
{
    size_t n = vmbi_json_len(vmbi_json_path(r->doc, "spec.backupLocations"));
    size_t defaults = 0;
    vmb_code rc = VMB_OK;
    for (size_t i = 0; i < n && rc == VMB_OK; i++) {
        rc = read_location(r, i, &defaults);
    }
    if (rc == VMB_OK && n > 0 && defaults != 1) {
        vmbi_problems_add(r->p, true, "spec.backupLocations", "set default: true in one of them",
                          defaults == 0 ? "none is the default" : "%zu of them are the default",
                          defaults);
    }
    return rc;
}

static const char *const aws_keys[] = {"profile", "region", "credentialsFile",
                                       "enableSharedConfig", NULL};
static const char *const gcp_keys[] = {"project", "snapshotLocation", NULL};
static const char *const azure_keys[] = {"apiTimeout", "incremental", "subscriptionId",
                                         "resourceGroup", NULL};

static const char *const *snapshot_keys(const char *provider)
{
    return strcmp(provider, "aws") == 0     ? aws_keys
           : strcmp(provider, "gcp") == 0   ? gcp_keys
           : strcmp(provider, "azure") == 0 ? azure_keys
                                            : NULL;
}

static void check_snapshot_config(one *o, const char *const *keys)
{
    const vmbi_json *config = vmbi_json_get(o->spec, "config");
    for (void *it = vmbi_json_iter(config); it != NULL; it = vmbi_json_iter_next(config, it)) {
        size_t k = 0;
        while (keys[k] != NULL && strcmp(keys[k], vmbi_json_iter_key(it)) != 0) {
            k++;
        }
        if (keys[k] == NULL) {
            char field[120];
            (void)snprintf(field, sizeof(field), "velero.config.%.80s", vmbi_json_iter_key(it));
            problem(o, field, "delete it", "is unknown");
        }
    }
}

vmb_code vmbi_dpa_read_snapshot_locations(vmbi_dpa_reader *r)
{
    size_t n = vmbi_json_len(vmbi_json_path(r->doc, "spec.snapshotLocations"));
    for (size_t i = 0; i < n; i++) {
        one o;
        open_one(&o, r, "snapshotLocations", i);
        const char *provider = text_of(o.spec, "provider");
        const char *const *keys = snapshot_keys(provider);
        if (!vmbi_json_is_object(o.spec)) {
            problem(&o, "velero", NULL, "is missing");
            continue;
        }
        if (keys == NULL) {
            problem(&o, "velero.provider", "write aws, gcp or azure", "is unknown");
            continue;
        }
        if (strcmp(provider, "aws") == 0 && text_of(o.spec, "config.region")[0] == '\0') {
            problem(&o, "velero.config.region", NULL, "is missing");
        }
        check_snapshot_config(&o, keys);
        if (!vmbi_dpa_has_plugin(r, provider) &&
            !(strcmp(provider, "aws") == 0 && vmbi_dpa_has_plugin(r, "legacy-aws"))) {
            problem(&o, "velero.provider", "add it to configuration.velero.defaultPlugins",
                    "its plugin is not among the plugins");
        }
        vmbi_json *doc = resource(&o, "VolumeSnapshotLocation", "vsl");
        if (!vmbi_json_append(r->dpa->snapshot_locations, doc)) {
            return vmbi_fail_nomem(r->err);
        }
    }
    return VMB_OK;
}
