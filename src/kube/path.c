/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/path.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/strs.h"
#include "net/http.h"

/* Path segments may hold these unencoded (RFC 3986, pchar); RBAC names use ':' a lot. */
static const char segment_keep[] = ":@!$&'()*+,;=";

static bool is_set(const char *s)
{
    return s != NULL && s[0] != '\0';
}

/* An empty segment would address the collection instead of the object, and dots would be folded by
 * proxies: both would reach something else than what was asked for. */
static vmb_code add_segment(vmbi_buf *url, const char *what, const char *s, vmb_error **err)
{
    if (!is_set(s)) {
        return vmbi_fail(err, VMB_E_ARG, "the %s is empty", what);
    }
    if (strcmp(s, ".") == 0 || strcmp(s, "..") == 0) {
        return vmbi_fail(err, VMB_E_ARG, "the %s may not be \"%s\"", what, s);
    }
    vmbi_buf_addc(url, '/');
    vmbi_url_encode(url, s, strlen(s), segment_keep);
    return VMB_OK;
}

vmb_code vmbi_kube_path_add(vmbi_buf *url, const vmbi_kube_path *path, vmb_error **err)
{
    vmb_code code;
    if (is_set(path->group)) {
        vmbi_buf_adds(url, "/apis");
        code = add_segment(url, "group", path->group, err);
    } else {
        vmbi_buf_adds(url, "/api");
        code = VMB_OK;
    }
    if (code == VMB_OK) {
        code = add_segment(url, "version", path->version, err);
    }
    if (code == VMB_OK && is_set(path->ns)) {
        vmbi_buf_adds(url, "/namespaces");
        code = add_segment(url, "namespace", path->ns, err);
    }
    if (code == VMB_OK) {
        code = add_segment(url, "resource", path->resource, err);
    }
    if (code == VMB_OK && path->name != NULL) {
        code = add_segment(url, "name", path->name, err);
    }
    if (code == VMB_OK && path->subresource != NULL) {
        code = add_segment(url, "subresource", path->subresource, err);
    }
    return code;
}

void vmbi_kube_path_describe(const char *verb, const vmbi_kube_path *path,
                             char out[VMBI_KUBE_WHAT_SIZE])
{
    bool grouped = is_set(path->group);
    bool in_ns = is_set(path->ns);
    const char *resource = path->resource != NULL ? path->resource : "?";
    const char *sub = path->subresource;
    int n = snprintf(out, VMBI_KUBE_WHAT_SIZE, "%.16s %.100s%s%.60s%s%.40s", verb, resource,
                     grouped ? "." : "", grouped ? path->group : "", sub != NULL ? "/" : "",
                     sub != NULL ? sub : "");
    if (n < 0 || n >= VMBI_KUBE_WHAT_SIZE) {
        return;
    }
    size_t room = VMBI_KUBE_WHAT_SIZE - (size_t)n;
    if (path->name != NULL) {
        (void)snprintf(out + n, room, " %.64s%s%.80s", in_ns ? path->ns : "", in_ns ? "/" : "",
                       path->name);
    } else if (in_ns) {
        (void)snprintf(out + n, room, " in namespace %.64s", path->ns);
    }
}

void vmbi_kube_query_add(vmbi_buf *url, const char *key, const char *value)
{
    bool first = url->data == NULL || memchr(url->data, '?', url->len) == NULL;
    vmbi_buf_addc(url, first ? '?' : '&');
    vmbi_buf_adds(url, key);
    vmbi_buf_addc(url, '=');
    vmbi_url_encode(url, value, strlen(value), "");
}
