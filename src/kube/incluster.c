/* SPDX-License-Identifier: Apache-2.0 */
/* The cluster as a pod sees it. Source: client-go's rest.InClusterConfig. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/error.h"
#include "kube/file.h"
#include "kube/kubeconfig.h"

enum { CA_MAX_BYTES = 1 << 20, NS_MAX_BYTES = 256 };

static const char service_dir[] = "/var/run/secrets/kubernetes.io/serviceaccount";

static const char *non_empty(const char *s)
{
    return s != NULL && s[0] != '\0' ? s : NULL;
}

vmbi_kube_sources vmbi_kube_sources_from_env(const char *explicit_path)
{
    return (vmbi_kube_sources){
        .explicit_path = non_empty(explicit_path),
        .list = non_empty(getenv("KUBECONFIG")),
        .home = non_empty(getenv("HOME")),
        .service_host = non_empty(getenv("KUBERNETES_SERVICE_HOST")),
        .service_port = non_empty(getenv("KUBERNETES_SERVICE_PORT")),
        .service_dir = service_dir,
    };
}

static char *join(const char *dir, const char *name)
{
    vmbi_buf b = VMBI_BUF_INIT(4096);
    char *out = NULL;
    vmbi_buf_addf(&b, "%s/%s", dir, name);
    (void)vmbi_buf_take(&b, &out, NULL, NULL, "path"); /* NULL tells */
    vmbi_buf_free(&b);
    return out;
}

static char *service_url(const char *host, const char *port)
{
    bool v6 = strchr(host, ':') != NULL;
    vmbi_buf b = VMBI_BUF_INIT(1024);
    char *out = NULL;
    vmbi_buf_addf(&b, "https://%s%s%s:%s", v6 ? "[" : "", host, v6 ? "]" : "", port);
    (void)vmbi_buf_take(&b, &out, NULL, NULL, "url");
    vmbi_buf_free(&b);
    return out;
}

/* The namespace file is a convenience: without it there is no default namespace. */
static char *read_namespace(const char *dir)
{
    char *path = join(dir, "namespace");
    char *ns = NULL;
    size_t len = 0;
    if (path == NULL ||
        vmbi_kube_file_read(path, NS_MAX_BYTES, "namespace file", &ns, &len, NULL) != VMB_OK) {
        ns = vmbi_strdup("");
    } else {
        while (len > 0 && vmbi_is_space(ns[len - 1])) {
            ns[--len] = '\0';
        }
    }
    vmbi_free(path);
    return ns;
}

vmb_code vmbi_kube_config_in_cluster(const vmbi_kube_sources *sources, vmbi_kube_config *out,
                                     vmb_error **err)
{
    vmbi_kube_config c = {0};
    vmb_code rc;
    char *ca_path = NULL;
    vmbi_kube_stamp stamp;
    if (non_empty(sources->service_host) == NULL || non_empty(sources->service_port) == NULL) {
        return vmbi_fail(err, VMB_E_NOT_FOUND,
                         "in-cluster configuration: KUBERNETES_SERVICE_HOST and "
                         "KUBERNETES_SERVICE_PORT are not set");
    }
    c.origin = vmbi_strdup("in-cluster configuration");
    c.server = service_url(sources->service_host, sources->service_port);
    c.token_file = join(sources->service_dir, "token");
    c.ns = read_namespace(sources->service_dir);
    ca_path = join(sources->service_dir, "ca.crt");
    if (c.origin == NULL || c.server == NULL || c.token_file == NULL || c.ns == NULL ||
        ca_path == NULL) {
        rc = vmbi_fail_nomem(err);
        goto out;
    }
    if (!vmbi_kube_file_stamp(c.token_file, &stamp)) {
        rc = vmbi_fail(err, VMB_E_NOT_FOUND, "in-cluster configuration: no token file %s",
                       c.token_file);
        goto out;
    }
    rc = vmbi_kube_file_read(ca_path, CA_MAX_BYTES, "certificate authority", &c.ca_pem, &c.ca_len,
                             err);
    if (rc != VMB_OK) {
        rc = vmbi_wrap(err, rc, "in-cluster configuration");
        goto out;
    }
    *out = c;
    c = (vmbi_kube_config){0};
out:
    vmbi_free(ca_path);
    vmbi_kube_config_free(&c);
    return rc;
}
