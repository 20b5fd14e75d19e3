/* SPDX-License-Identifier: Apache-2.0 */
#include "model/location.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/strs.h"
#include "codec/digest.h"
#include "codec/duration.h"
#include "model/doc_hint.h"
#include "model/labelname.h"

typedef struct reader {
    const vmbi_json *doc;
    vmbi_location *l;
    vmbi_problems *p; /* never NULL */
    vmb_error **err;
} reader;

void vmbi_location_free(vmbi_location *l)
{
    char **texts[] = {&l->name,
                      &l->ns,
                      &l->provider,
                      &l->bucket,
                      &l->prefix,
                      &l->ca_cert,
                      &l->ca_cert_secret,
                      &l->ca_cert_key,
                      &l->credential_secret,
                      &l->credential_key,
                      &l->creation_timestamp,
                      &l->phase};

    for (size_t i = 0; i < VMBI_ARRAY_LEN(texts); i++) {
        vmbi_free(*texts[i]);
    }
    vmbi_json_free(l->config);
    *l = (vmbi_location){0};
}

/* ---- pieces -------------------------------------------------------------------------------- */

/* Text at a path, "" when absent; another type is a problem. */
static vmb_code read_text(reader *r, const char *path, char **out)
{
    const vmbi_json *v = vmbi_json_path(r->doc, path);
    const char *s = vmbi_json_str(v);

    if (s == NULL && !vmbi_json_is_null(v)) {
        vmbi_problems_add(r->p, true, path, "put the value in quotes",
                          "must be a string, not of type %s", vmbi_json_type_name(v));
    }
    *out = vmbi_strdup(s != NULL ? s : "");
    return *out != NULL ? VMB_OK : vmbi_fail_nomem(r->err);
}

/* Slashes at both ends go, as Velero does it. */
static void trim_slashes(char *s)
{
    size_t len = strlen(s);
    size_t start = strspn(s, "/");

    while (len > start && s[len - 1] == '/') {
        len--;
    }
    memmove(s, s + start, len - start);
    s[len - start] = '\0';
}

static void require(reader *r, const char *path, const char *value)
{
    if (value[0] == '\0') {
        vmbi_problems_add(r->p, true, path, NULL, "is missing");
    }
}

static void read_bool(reader *r, const char *path, bool *out)
{
    const vmbi_json *v = vmbi_json_path(r->doc, path);

    if (!vmbi_json_is_null(v) && !vmbi_json_is_bool(v)) {
        const char *text = vmbi_json_str(v);

        vmbi_problems_add(r->p, true, path, text != NULL ? vmbi_value_hint(text) : NULL,
                          "must be true or false");
    }
    *out = vmbi_json_bool(v, false);
}

static void read_duration(reader *r, const char *path, int64_t *out)
{
    const vmbi_json *v = vmbi_json_path(r->doc, path);
    const char *text = vmbi_json_str(v);
    int64_t ns = 0;

    *out = -1;
    if (vmbi_json_is_null(v)) {
        return;
    }
    if (text == NULL || !vmbi_duration_parse(text, &ns)) {
        vmbi_problems_add(r->p, true, path, "give a number with a unit: 1m, 30s", "is no duration");
    } else if (ns >= 0) {
        *out = ns; /* Velero takes a negative one for unset */
    }
}

/* ---- groups of fields ---------------------------------------------------------------------- */

static void check_head(reader *r)
{
    const char *kind = vmbi_json_get_str(r->doc, "kind");
    const char *version = vmbi_json_get_str(r->doc, "apiVersion");

    if (kind == NULL || strcmp(kind, "BackupStorageLocation") != 0) {
        vmbi_problems_add(r->p, true, "kind", "write BackupStorageLocation",
                          "\"%.80s\" is no storage location", kind != NULL ? kind : "");
    }
    if (version == NULL || strcmp(version, "velero.io/v1") != 0) {
        vmbi_problems_add(r->p, true, "apiVersion", "write velero.io/v1",
                          "\"%.80s\" is not the version of a storage location",
                          version != NULL ? version : "");
    }
}

static vmb_code read_metadata(reader *r)
{
    vmbi_location *l = r->l;
    vmb_code code = read_text(r, "metadata.name", &l->name);

    if (code == VMB_OK) {
        code = read_text(r, "metadata.namespace", &l->ns);
    }
    if (code == VMB_OK) {
        code = read_text(r, "metadata.creationTimestamp", &l->creation_timestamp);
    }
    if (code == VMB_OK) {
        code = read_text(r, "status.phase", &l->phase);
    }
    if (code == VMB_OK && !vmbi_dns_subdomain_ok(l->name, strlen(l->name))) {
        vmbi_problems_add(r->p, true, "metadata.name", vmbi_value_hint(l->name),
                          "\"%.100s\" is no name of a storage location", l->name);
    }
    return code;
}

static vmb_code read_object_storage(reader *r)
{
    vmbi_location *l = r->l;
    vmb_code code = read_text(r, "spec.objectStorage.bucket", &l->bucket);

    if (code == VMB_OK) {
        code = read_text(r, "spec.objectStorage.prefix", &l->prefix);
    }
    if (code != VMB_OK) {
        return code;
    }
    trim_slashes(l->bucket);
    trim_slashes(l->prefix);
    if (strchr(l->bucket, '/') != NULL && !vmbi_starts_with(l->bucket, "arn:aws:s3:")) {
        vmbi_problems_add(r->p, true, "spec.objectStorage.bucket",
                          "the part after '/' belongs into spec.objectStorage.prefix",
                          "\"%.100s\" holds a '/'", l->bucket);
    }
    /* the folder store may go without: config.path names its place */
    if (strcmp(l->provider, "vmbackup.io/dir") != 0) {
        require(r, "spec.objectStorage.bucket", l->bucket);
    }
    return VMB_OK;
}

static vmb_code read_ca_cert(reader *r)
{
    static const char path[] = "spec.objectStorage.caCert";
    const char *text = vmbi_json_path_str(r->doc, path);
    uint8_t *pem = NULL;
    size_t len = 0;
    vmb_code code;

    if (text == NULL || text[0] == '\0') {
        r->l->ca_cert = vmbi_strdup("");
        return r->l->ca_cert != NULL ? VMB_OK : vmbi_fail_nomem(r->err);
    }
    code = vmbi_unbase64(text, strlen(text), &pem, &len, NULL);
    if (code == VMB_E_NOMEM) {
        return vmbi_fail_nomem(r->err);
    }
    if (code != VMB_OK || len == 0 || memchr(pem, '\0', len) != NULL) {
        vmbi_problems_add(r->p, true, path, "encode the PEM file: base64 -w0 ca.pem",
                          "is not the base64 form of a certificate");
        r->l->ca_cert = vmbi_strdup("");
    } else {
        r->l->ca_cert = vmbi_strndup((const char *)pem, len);
        if (memmem(pem, len, "-----BEGIN", 10) == NULL) {
            vmbi_problems_add(r->p, true, path, "encode the PEM file: base64 -w0 ca.pem",
                              "does not hold a certificate in PEM form");
        }
    }
    vmbi_free(pem);
    return r->l->ca_cert != NULL ? VMB_OK : vmbi_fail_nomem(r->err);
}

/* A reference to a key of a Secret: both names or none. */
static vmb_code read_secret(reader *r, const char *path, char **secret, char **key)
{
    char field[80];
    vmb_code code;

    (void)snprintf(field, sizeof(field), "%s.name", path);
    code = read_text(r, field, secret);
    if (code == VMB_OK) {
        (void)snprintf(field, sizeof(field), "%s.key", path);
        code = read_text(r, field, key);
    }
    if (code == VMB_OK && vmbi_json_is_object(vmbi_json_path(r->doc, path)) &&
        ((*secret)[0] == '\0' || (*key)[0] == '\0')) {
        vmbi_problems_add(r->p, true, path, NULL, "needs both name and key of a Secret");
    }
    return code;
}

static vmb_code read_config(reader *r)
{
    const vmbi_json *config = vmbi_json_path(r->doc, "spec.config");

    if (!vmbi_json_is_null(config) && !vmbi_json_is_object(config)) {
        vmbi_problems_add(r->p, true, "spec.config", NULL, "must be a map of strings");
        config = NULL;
    }
    for (void *it = vmbi_json_iter(config); it != NULL; it = vmbi_json_iter_next(config, it)) {
        char field[160];

        if (!vmbi_json_is_string(vmbi_json_iter_value(it))) {
            (void)snprintf(field, sizeof(field), "spec.config.%.120s", vmbi_json_iter_key(it));
            vmbi_problems_add(r->p, true, field, "put the value in quotes",
                              "must be a string, not of type %s",
                              vmbi_json_type_name(vmbi_json_iter_value(it)));
        }
    }
    r->l->config = vmbi_json_is_null(config) ? vmbi_json_object() : vmbi_json_copy(config);
    return r->l->config != NULL ? VMB_OK : vmbi_fail_nomem(r->err);
}

static void read_access_mode(reader *r)
{
    const vmbi_json *v = vmbi_json_path(r->doc, "spec.accessMode");
    const char *mode = vmbi_json_str(v);

    if (mode != NULL && strcmp(mode, "ReadOnly") == 0) {
        r->l->read_only = true;
    } else if (!vmbi_json_is_null(v) &&
               (mode == NULL || (mode[0] != '\0' && strcmp(mode, "ReadWrite") != 0))) {
        vmbi_problems_add(r->p, true, "spec.accessMode",
                          mode != NULL ? vmbi_value_hint(mode) : NULL,
                          "must be ReadWrite or ReadOnly");
    }
}

static vmb_code read_all(reader *r)
{
    vmbi_location *l = r->l;
    vmb_code code;

    check_head(r);
    code = read_metadata(r);
    if (code == VMB_OK) {
        code = read_text(r, "spec.provider", &l->provider);
    }
    if (code == VMB_OK) {
        require(r, "spec.provider", l->provider);
        code = read_object_storage(r);
    }
    if (code == VMB_OK) {
        code = read_ca_cert(r);
    }
    if (code == VMB_OK) {
        code = read_secret(r, "spec.objectStorage.caCertRef", &l->ca_cert_secret, &l->ca_cert_key);
    }
    if (code == VMB_OK) {
        code = read_secret(r, "spec.credential", &l->credential_secret, &l->credential_key);
    }
    if (code == VMB_OK) {
        code = read_config(r);
    }
    if (code != VMB_OK) {
        return code;
    }
    if (l->ca_cert_secret[0] != '\0' && vmbi_json_path_str(r->doc, "spec.objectStorage.caCert")) {
        vmbi_problems_add(r->p, true, "spec.objectStorage.caCertRef", "delete one of the two",
                          "cannot be used together with caCert");
    }
    read_access_mode(r);
    read_bool(r, "spec.default", &l->is_default);
    read_duration(r, "spec.backupSyncPeriod", &l->backup_sync_period_ns);
    read_duration(r, "spec.validationFrequency", &l->validation_frequency_ns);
    return VMB_OK;
}

static vmb_code from_tree(const vmbi_json *doc, const char *source, vmbi_location *out,
                          vmbi_problems *problems, vmb_error **err)
{
    vmbi_problems own = {0};
    vmbi_location made = {0};
    reader r = {.doc = doc, .l = &made, .p = problems != NULL ? problems : &own, .err = err};
    size_t errors_before = r.p->errors;
    vmb_code code;

    code = read_all(&r);
    if (code == VMB_OK && r.p->status == VMB_E_NOMEM) {
        code = vmbi_fail_nomem(err);
    }
    if (code == VMB_OK && r.p->errors > errors_before) {
        code = vmbi_problems_check(r.p, source, err);
    }
    vmbi_problems_free(&own);
    if (code != VMB_OK) {
        vmbi_location_free(&made);
        return code;
    }
    *out = made;
    return VMB_OK;
}

vmb_code vmbi_location_from_tree(const vmbi_json *doc, const char *source, vmbi_location *out,
                                 vmbi_problems *problems, vmb_error **err)
{
    if (!vmbi_json_is_object(doc)) {
        return vmbi_fail(err, VMB_E_INVALID, "%s: a storage location is an object, this is %s",
                         source, vmbi_json_type_name(doc));
    }
    return from_tree(doc, source, out, problems, err);
}

vmb_code vmbi_location_parse(const char *doc, size_t len, const char *source, vmbi_location *out,
                             vmbi_problems *problems, vmb_error **err)
{
    vmbi_problems own = {0};
    vmbi_problems *p = problems != NULL ? problems : &own;
    vmbi_positions *places = NULL;
    vmbi_json *tree = NULL;
    vmb_code code = vmbi_doc_parse(doc, len, source, vmbi_backup_doc_hint, &tree, &places, err);

    if (code != VMB_OK) {
        return code;
    }
    p->places = places;
    code = vmbi_location_from_tree(tree, source, out, p, err);
    p->places = NULL;
    vmbi_positions_free(places);
    vmbi_problems_free(&own);
    vmbi_json_free(tree);
    return code;
}

bool vmbi_location_is_s3(const vmbi_location *l)
{
    static const char *const s3[] = {"aws", "velero.io/aws", "vmbackup.io/libs3"};

    for (size_t i = 0; i < VMBI_ARRAY_LEN(s3); i++) {
        if (strcmp(s3[i], l->provider) == 0) {
            return true;
        }
    }
    return false;
}
