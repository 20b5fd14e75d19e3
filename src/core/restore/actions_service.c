/* SPDX-License-Identifier: Apache-2.0 */
/* Services: addresses are given anew; node ports only when nobody asked for them explicitly. */
#include "core/restore/restore.h"

#include <string.h>

#include "base/error.h"

static const char last_applied[] = "kubectl.kubernetes.io/last-applied-configuration";

/* What `kubectl apply` was given; NULL when it was not used. */
static vmb_code read_applied(const vmbi_json *service, vmbi_json **out, vmb_error **err)
{
    const vmbi_json *text =
        vmbi_json_get(vmbi_json_path(service, "metadata.annotations"), last_applied);
    *out = NULL;
    return vmbi_json_is_string(text) ? vmbi_json_parse(vmbi_json_str(text), vmbi_json_str_len(text),
                                                       last_applied, out, err)
                                     : VMB_OK;
}

static int64_t port_number(const vmbi_json *v)
{
    int64_t n = vmbi_json_int(v, 0);
    const char *s = vmbi_json_str(v);
    if (vmbi_json_is_real(v)) {
        double d = vmbi_json_real(v, 0);
        n = d >= 0 && d <= 65535 ? (int64_t)d : 0; /* what is no port counts as none */
    } else if (s != NULL && !vmbi_parse_i64(s, strlen(s), &n)) {
        n = 0;
    }
    return n;
}

/* Did the applied configuration name this node port: by the port's name, or by number when it has
 * none? */
static bool is_applied(const vmbi_json *applied, const vmbi_json *port)
{
    const vmbi_json *list = vmbi_json_path(applied, "spec.ports");
    const char *name = vmbi_json_get_str(port, "name");
    bool named = name != NULL && name[0] != '\0';
    for (size_t i = 0; i < vmbi_json_len(list); i++) {
        const vmbi_json *p = vmbi_json_at(list, i);
        int64_t wanted = port_number(vmbi_json_get(p, "nodePort"));
        const char *other = vmbi_json_get_str(p, "name");
        if (wanted <= 0 || (other != NULL) != named) {
            continue;
        }
        if (named ? strcmp(other, name) == 0
                  : wanted == vmbi_json_int(vmbi_json_get(port, "nodePort"), 0)) {
            return true;
        }
    }
    return false;
}

/* Did somebody own the field by server-side apply? */
static bool is_managed(const vmbi_json *service, const vmbi_json *port)
{
    const vmbi_json *list = vmbi_json_path(service, "metadata.managedFields");
    const char *protocol = vmbi_json_get_str(port, "protocol");
    vmbi_buf key = VMBI_BUF_INIT(128);
    bool found = false;
    vmbi_buf_addf(&key, "k:{\"port\":%lld,\"protocol\":\"%s\"}",
                  (long long)vmbi_json_int(vmbi_json_get(port, "port"), 0),
                  protocol != NULL ? protocol : "");
    for (size_t i = 0; i < vmbi_json_len(list) && key.status == VMB_OK && !found; i++) {
        const vmbi_json *spec =
            vmbi_json_get(vmbi_json_get(vmbi_json_at(list, i), "fieldsV1"), "f:spec");
        const vmbi_json *p = vmbi_json_get(vmbi_json_get(spec, "f:ports"), key.data);
        found = vmbi_json_get(p, "f:nodePort") != NULL;
    }
    vmbi_buf_free(&key);
    return found;
}

static void drop_node_ports(const vmbi_json *service, const vmbi_json *applied)
{
    const vmbi_json *ports = vmbi_json_path(service, "spec.ports");
    for (size_t i = 0; i < vmbi_json_len(ports); i++) {
        vmbi_json *port = vmbi_json_at(ports, i);
        bool keep = applied != NULL ? is_applied(applied, port) : is_managed(service, port);
        if (!keep) {
            vmbi_json_del(port, "nodePort");
        }
    }
}

static void drop_health_port(vmbi_json *service, const vmbi_json *applied)
{
    vmbi_json *spec = vmbi_json_get(service, "spec");
    const vmbi_json *managed = vmbi_json_path(service, "metadata.managedFields");
    if (!vmbi_streq(vmbi_json_get_str(spec, "externalTrafficPolicy"), "Local") ||
        !vmbi_streq(vmbi_json_get_str(spec, "type"), "LoadBalancer") ||
        port_number(vmbi_json_path(applied, "spec.healthCheckNodePort")) != 0) {
        return;
    }
    for (size_t i = 0; i < vmbi_json_len(managed); i++) {
        const vmbi_json *f =
            vmbi_json_get(vmbi_json_get(vmbi_json_at(managed, i), "fieldsV1"), "f:spec");
        if (vmbi_json_get(f, "f:healthCheckNodePort") != NULL) {
            return;
        }
    }
    vmbi_json_del(spec, "healthCheckNodePort");
}

vmb_code vmbi_restore_action_service(vmbi_restore *r, vmbi_ritem *item, vmb_error **err)
{
    vmbi_json *spec = vmbi_json_get(item->obj, "spec");
    vmbi_json *applied = NULL;
    if (!vmbi_streq(vmbi_json_get_str(spec, "clusterIP"), "None")) {
        vmbi_json_del(spec, "clusterIP");
        vmbi_json_del(spec, "clusterIPs");
    }
    if (vmbi_json_bool(vmbi_json_get(r->spec, "preserveNodePorts"), false)) {
        return VMB_OK;
    }
    vmb_code rc = read_applied(item->obj, &applied, err);
    if (rc == VMB_OK) {
        if (!vmbi_streq(vmbi_json_get_str(spec, "type"), "ExternalName")) {
            drop_node_ports(item->obj, applied);
        }
        drop_health_port(item->obj, applied);
    }
    vmbi_json_free(applied);
    return rc;
}
