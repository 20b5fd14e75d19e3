/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/discovery.h"

#include <string.h>

#include "base/error.h"

enum {
    BODY_MAX_BYTES = 64 << 20,
    PATH_MAX_BYTES = 1024,
    GROUP_TRIES = 3 /* of one group: its own server may be away for long */
};

/* Newest first; the server takes the first one it knows. Source: k8s.io/api/apidiscovery. */
static const char aggregated_accept[] =
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,"
    "application/json";

typedef struct discovery {
    vmbi_kube *k;
    const vmbi_limits *limits;
    vmbi_json *groups;
    vmbi_json *warnings;
} discovery;

static bool add_warning(vmbi_json *warnings, const char *subject, const char *why)
{
    vmbi_buf b = VMBI_BUF_INIT(2048);
    vmbi_buf_addf(&b, "%.200s: %.1500s", subject, why);
    bool ok = b.status == VMB_OK && vmbi_json_append_str(warnings, b.data);
    vmbi_buf_free(&b);
    return ok;
}

static vmb_code fetch(const discovery *d, const char *path, const char *what, const char *accept,
                      int max_tries, vmbi_json **out, vmb_error **err)
{
    vmbi_http_response response;
    vmbi_kube_call call = {.method = "GET",
                           .path = path,
                           .what = what,
                           .accept = accept,
                           .max_tries = max_tries,
                           .gzip = true};
    vmbi_http_response_init(&response, BODY_MAX_BYTES);
    vmb_code rc = vmbi_kube_call_perform(d->k, &call, d->limits, &response, err);
    if (rc == VMB_OK) {
        rc = vmbi_json_parse(response.body.data, response.body.len, what, out, err);
    }
    vmbi_http_response_free(&response);
    return rc;
}

static bool has_slash(const char *s)
{
    return strchr(s, '/') != NULL;
}

/* ---- one resource ------------------------------------------------------------------------ */

/* A copy of a list of strings; an empty list for anything else. */
static vmbi_json *string_list(const vmbi_json *from)
{
    vmbi_json *list = vmbi_json_array();
    for (size_t i = 0; list != NULL && i < vmbi_json_len(from); i++) {
        const char *s = vmbi_json_str(vmbi_json_at(from, i));
        if (s != NULL && !vmbi_json_append_str(list, s)) {
            vmbi_json_free(list);
            return NULL;
        }
    }
    return list;
}

static bool add_resource(vmbi_json *resources, const vmbi_json *from, const char *name,
                         const char *singular, const char *kind, bool namespaced)
{
    vmbi_json *r = vmbi_json_object();
    bool ok = r != NULL && vmbi_json_set_str(r, "name", name) &&
              vmbi_json_set_str(r, "singularName", singular != NULL ? singular : "") &&
              vmbi_json_set_str(r, "kind", kind) &&
              vmbi_json_set_bool(r, "namespaced", namespaced) &&
              vmbi_json_set(r, "shortNames", string_list(vmbi_json_get(from, "shortNames"))) &&
              vmbi_json_set(r, "verbs", string_list(vmbi_json_get(from, "verbs")));
    if (!ok) {
        vmbi_json_free(r);
        return false;
    }
    return vmbi_json_append(resources, r);
}

static vmbi_json *new_version(const char *version, vmbi_json *resources)
{
    vmbi_json *v = vmbi_json_object();
    if (v == NULL) {
        vmbi_json_free(resources);
        return NULL;
    }
    bool ok = vmbi_json_set(v, "resources", resources) && vmbi_json_set_str(v, "version", version);
    if (!ok) {
        vmbi_json_free(v);
        return NULL;
    }
    return v;
}

static bool add_group(vmbi_json *groups, const char *name, const char *preferred,
                      vmbi_json *versions)
{
    vmbi_json *g = vmbi_json_object();
    if (g == NULL) {
        vmbi_json_free(versions);
        return false;
    }
    bool ok = vmbi_json_set(g, "versions", versions) && vmbi_json_set_str(g, "group", name) &&
              vmbi_json_set_str(g, "preferredVersion", preferred);
    if (!ok) {
        vmbi_json_free(g);
        return false;
    }
    return vmbi_json_append(groups, g);
}

/* ---- aggregated discovery ------------------------------------------------------------------ */

static vmbi_json *aggregated_version(const vmbi_json *from)
{
    const vmbi_json *list = vmbi_json_get(from, "resources");
    vmbi_json *resources = vmbi_json_array();
    for (size_t i = 0; resources != NULL && i < vmbi_json_len(list); i++) {
        const vmbi_json *r = vmbi_json_at(list, i);
        const char *name = vmbi_json_get_str(r, "resource");
        const char *kind = vmbi_json_path_str(r, "responseKind.kind");
        if (name == NULL || kind == NULL || kind[0] == '\0') {
            continue; /* a parent that only carries subresources */
        }
        if (!add_resource(resources, r, name, vmbi_json_get_str(r, "singularResource"), kind,
                          vmbi_streq(vmbi_json_get_str(r, "scope"), "Namespaced"))) {
            vmbi_json_free(resources);
            return NULL;
        }
    }
    return resources != NULL ? new_version(vmbi_json_get_str(from, "version"), resources) : NULL;
}

static bool aggregated_group(const vmbi_json *from, vmbi_json *groups, vmbi_json *warnings)
{
    const char *name = vmbi_json_path_str(from, "metadata.name");
    const vmbi_json *list = vmbi_json_get(from, "versions");
    const char *preferred = NULL; /* versions stand in the order of preference */
    name = name != NULL ? name : "";
    vmbi_json *versions = vmbi_json_array();
    bool ok = versions != NULL;
    for (size_t i = 0; ok && i < vmbi_json_len(list); i++) {
        const vmbi_json *v = vmbi_json_at(list, i);
        const char *version = vmbi_json_get_str(v, "version");
        if (version == NULL) {
            continue;
        }
        if (vmbi_streq(vmbi_json_get_str(v, "freshness"), "Stale")) {
            vmbi_buf subject = VMBI_BUF_INIT(512);
            vmbi_buf_addf(&subject, "api group %.200s/%.100s", name, version);
            ok = add_warning(warnings, subject.data != NULL ? subject.data : "api group",
                             "left out: its server does not answer (stale discovery)");
            vmbi_buf_free(&subject);
            continue;
        }
        preferred = preferred != NULL ? preferred : version;
        ok = vmbi_json_append(versions, aggregated_version(v));
    }
    if (!ok || preferred == NULL) {
        vmbi_json_free(versions);
        return ok;
    }
    return add_group(groups, name, preferred, versions);
}

bool vmbi_kube_discovery_add_aggregated(const vmbi_json *doc, vmbi_json *groups,
                                        vmbi_json *warnings)
{
    const vmbi_json *items = vmbi_json_get(doc, "items");
    bool ok = true;
    for (size_t i = 0; ok && i < vmbi_json_len(items); i++) {
        ok = aggregated_group(vmbi_json_at(items, i), groups, warnings);
    }
    return ok;
}

/* ---- one request per group version --------------------------------------------------------- */

vmbi_json *vmbi_kube_discovery_version(const vmbi_json *doc, const char *version)
{
    const vmbi_json *list = vmbi_json_get(doc, "resources");
    vmbi_json *resources = vmbi_json_array();
    for (size_t i = 0; resources != NULL && i < vmbi_json_len(list); i++) {
        const vmbi_json *r = vmbi_json_at(list, i);
        const char *name = vmbi_json_get_str(r, "name");
        const char *kind = vmbi_json_get_str(r, "kind");
        if (name == NULL || has_slash(name) || kind == NULL || kind[0] == '\0') {
            continue;
        }
        if (!add_resource(resources, r, name, vmbi_json_get_str(r, "singularName"), kind,
                          vmbi_json_bool(vmbi_json_get(r, "namespaced"), false))) {
            vmbi_json_free(resources);
            return NULL;
        }
    }
    return resources != NULL ? new_version(version, resources) : NULL;
}

/* Adds one version of a group; a failing one only gives a warning. */
static vmb_code add_legacy_version(const discovery *d, const char *group, const char *version,
                                   vmbi_json *versions, vmb_error **err)
{
    vmbi_buf path = VMBI_BUF_INIT(PATH_MAX_BYTES);
    vmbi_buf what = VMBI_BUF_INIT(PATH_MAX_BYTES);
    vmbi_json *doc = NULL;
    vmb_error *e = NULL;
    vmbi_buf_adds(&path, group[0] != '\0' ? "/apis/" : "/api");
    vmbi_url_encode(&path, group, strlen(group), "");
    vmbi_buf_addc(&path, '/');
    vmbi_url_encode(&path, version, strlen(version), "");
    vmbi_buf_addf(&what, "discover %s%s%s", group, group[0] != '\0' ? "/" : "", version);
    vmb_code rc = vmbi_buf_check(&path, err, "discovery path");
    if (rc == VMB_OK) {
        rc = vmbi_buf_check(&what, err, "discovery path");
    }
    if (rc != VMB_OK) {
        goto out;
    }
    rc = fetch(d, path.data, what.data, NULL, GROUP_TRIES, &doc, &e);
    if (rc == VMB_OK) {
        rc = vmbi_json_append(versions, vmbi_kube_discovery_version(doc, version))
                 ? VMB_OK
                 : vmbi_fail_nomem(err);
    } else if (rc == VMB_E_CANCELLED || rc == VMB_E_NOMEM ||
               vmbi_limits_remaining_ns(d->limits) == 0) {
        vmbi_error_move(err, &e);
    } else {
        rc = add_warning(d->warnings, "api group left out", vmb_error_message(e))
                 ? VMB_OK
                 : vmbi_fail_nomem(err);
    }
out:
    vmb_error_free(e);
    vmbi_json_free(doc);
    vmbi_buf_free(&path);
    vmbi_buf_free(&what);
    return rc;
}

/* "v1" out of an entry of /api's list (a string) or /apis' list (an object). */
static const char *version_name(const vmbi_json *entry)
{
    const char *s = vmbi_json_str(entry);
    return s != NULL ? s : vmbi_json_get_str(entry, "version");
}

static vmb_code add_legacy_group(const discovery *d, const char *group, const char *preferred,
                                 const vmbi_json *list, vmb_error **err)
{
    vmbi_json *versions = vmbi_json_array();
    vmb_code rc = versions != NULL ? VMB_OK : vmbi_fail_nomem(err);
    for (size_t i = 0; rc == VMB_OK && i < vmbi_json_len(list); i++) {
        const char *version = version_name(vmbi_json_at(list, i));
        if (version != NULL) {
            rc = add_legacy_version(d, group, version, versions, err);
        }
    }
    if (rc != VMB_OK || vmbi_json_len(versions) == 0) {
        vmbi_json_free(versions);
        return rc;
    }
    const char *first = vmbi_json_get_str(vmbi_json_at(versions, 0), "version");
    bool served = false;
    for (size_t i = 0; preferred != NULL && i < vmbi_json_len(versions); i++) {
        served = served ||
                 vmbi_streq(vmbi_json_get_str(vmbi_json_at(versions, i), "version"), preferred);
    }
    return add_group(d->groups, group, served ? preferred : first, versions)
               ? VMB_OK
               : vmbi_fail_nomem(err);
}

/* ---- the whole ------------------------------------------------------------------------------- */

/* /api or /apis, in whichever form the server answers. */
static vmb_code discover_root(const discovery *d, const char *path, vmb_error **err)
{
    vmbi_json *doc = NULL;
    char what[32] = "discover ";
    vmb_code rc = VMB_OK;
    memcpy(what + 9, path, strlen(path) + 1); /* "/api" or "/apis" */
    rc = fetch(d, path, what, aggregated_accept, 0, &doc, err);
    if (rc != VMB_OK) {
        return rc;
    }
    const char *kind = vmbi_json_get_str(doc, "kind");
    if (vmbi_streq(kind, "APIGroupDiscoveryList")) {
        rc = vmbi_kube_discovery_add_aggregated(doc, d->groups, d->warnings)
                 ? VMB_OK
                 : vmbi_fail_nomem(err);
    } else if (vmbi_streq(kind, "APIVersions")) {
        rc = add_legacy_group(d, "", NULL, vmbi_json_get(doc, "versions"), err);
    } else if (vmbi_streq(kind, "APIGroupList")) {
        const vmbi_json *list = vmbi_json_get(doc, "groups");
        for (size_t i = 0; rc == VMB_OK && i < vmbi_json_len(list); i++) {
            const vmbi_json *g = vmbi_json_at(list, i);
            const char *name = vmbi_json_get_str(g, "name");
            if (name != NULL && name[0] != '\0') {
                rc = add_legacy_group(d, name, vmbi_json_path_str(g, "preferredVersion.version"),
                                      vmbi_json_get(g, "versions"), err);
            }
        }
    } else {
        rc = vmbi_fail(err, VMB_E_PROTOCOL, "%s: the answer is no discovery document but %s", what,
                       kind != NULL ? kind : "something without a kind");
    }
    vmbi_json_free(doc);
    return rc;
}

static bool set_server_version(vmbi_json *doc, const vmbi_json *from)
{
    static const char *const fields[] = {"gitVersion", "major", "minor"};
    vmbi_json *v = vmbi_json_object();
    bool ok = v != NULL;
    for (size_t i = 0; ok && i < VMBI_ARRAY_LEN(fields); i++) {
        const char *s = vmbi_json_get_str(from, fields[i]);
        ok = vmbi_json_set_str(v, fields[i], s != NULL ? s : "");
    }
    if (!ok) {
        vmbi_json_free(v);
        return false;
    }
    return vmbi_json_set(doc, "serverVersion", v);
}

/* The version is told to the user, nothing depends on it: where it is forbidden we go on. */
static vmb_code discover_version(const discovery *d, vmbi_json *doc, vmb_error **err)
{
    vmbi_json *version = NULL;
    vmb_error *e = NULL;
    vmb_code rc = fetch(d, "/version", "get the server's version", NULL, 0, &version, &e);
    bool ok = true;
    if (rc == VMB_E_DENIED || rc == VMB_E_NOT_FOUND) {
        ok = add_warning(d->warnings, "server version unknown", vmb_error_message(e));
        rc = VMB_OK;
    }
    if (rc == VMB_OK && (!ok || !set_server_version(doc, version))) {
        rc = vmbi_fail_nomem(err);
    } else if (rc != VMB_OK) {
        vmbi_error_move(err, &e);
    }
    vmb_error_free(e);
    vmbi_json_free(version);
    return rc;
}

vmb_code vmbi_kube_discover(vmbi_kube *k, const vmbi_limits *limits, vmbi_buf *out,
                            vmb_error **err)
{
    vmbi_json *doc = vmbi_json_object();
    discovery d = {k, limits, vmbi_json_array(), vmbi_json_array()};
    vmb_code rc = VMB_OK;
    if (doc == NULL || d.groups == NULL || d.warnings == NULL) {
        rc = vmbi_fail_nomem(err);
        goto out;
    }
    rc = discover_version(&d, doc, err);
    if (rc == VMB_OK) {
        rc = discover_root(&d, "/api", err);
    }
    if (rc == VMB_OK) {
        rc = discover_root(&d, "/apis", err);
    }
    if (rc == VMB_OK && !(vmbi_json_set(doc, "groups", vmbi_json_ref(d.groups)) &&
                          vmbi_json_set(doc, "warnings", vmbi_json_ref(d.warnings)))) {
        rc = vmbi_fail_nomem(err);
    }
    if (rc == VMB_OK) {
        rc = vmbi_json_print(doc, out, err);
    }
out:
    vmbi_json_free(d.groups);
    vmbi_json_free(d.warnings);
    vmbi_json_free(doc);
    return rc;
}
