/* SPDX-License-Identifier: Apache-2.0 */
#include "core/control/lease.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"

static const char *text(const vmbi_json *v, const char *path)
{
    const char *s = vmbi_json_path_str(v, path);
    return s != NULL ? s : "";
}

vmbi_lease_step vmbi_lease_missed(const vmbi_lease *l, int64_t mono_ns)
{
    return l->held && mono_ns - l->renewed_mono_ns >= l->renew_ns ? VMBI_LEASE_LOST
                                                                  : VMBI_LEASE_WAIT;
}

vmbi_lease_step vmbi_lease_look(vmbi_lease *l, const vmbi_json *lease, int64_t mono_ns)
{
    char seen[sizeof(l->seen)];
    if (lease == NULL) {
        return l->held && vmbi_lease_missed(l, mono_ns) == VMBI_LEASE_LOST ? VMBI_LEASE_LOST
                                                                           : VMBI_LEASE_CREATE;
    }
    const char *holder = text(lease, "spec.holderIdentity");
    int64_t seconds = vmbi_json_int(vmbi_json_path(lease, "spec.leaseDurationSeconds"), 0);
    /* the times first: a long name must not push them out */
    (void)snprintf(seen, sizeof(seen), "%s|%s|%s", text(lease, "spec.renewTime"),
                   text(lease, "spec.acquireTime"), holder);
    if (strcmp(seen, l->seen) != 0) {
        memcpy(l->seen, seen, sizeof(seen));
        l->seen_mono_ns = mono_ns;
    }
    if (strcmp(holder, l->identity) == 0) {
        return vmbi_lease_missed(l, mono_ns) == VMBI_LEASE_LOST ? VMBI_LEASE_LOST
                                                                : VMBI_LEASE_WRITE;
    }
    if (l->held) {
        return VMBI_LEASE_LOST;
    }
    bool expired = mono_ns - l->seen_mono_ns >= seconds * VMBI_SECOND;
    return holder[0] == '\0' || expired ? VMBI_LEASE_WRITE : VMBI_LEASE_WAIT;
}

void vmbi_lease_written(vmbi_lease *l, int64_t asked_mono_ns)
{
    l->held = true;
    l->renewed_mono_ns = asked_mono_ns;
}

/* Kubernetes' MicroTime. */
static bool set_micro_time(vmbi_json *obj, const char *key, int64_t unix_ns)
{
    char whole[VMBI_RFC3339_SIZE];
    char out[VMBI_RFC3339_SIZE + 8];
    vmbi_format_rfc3339(unix_ns, whole);
    size_t len = strlen(whole);
    int64_t micros = unix_ns % VMBI_SECOND / 1000;
    (void)snprintf(out, sizeof(out), "%.*s.%06dZ", (int)(len > 0 ? len - 1 : 0), whole,
                   (int)(micros > 0 ? micros : 0));
    return vmbi_json_set_str(obj, key, out);
}

vmbi_json *vmbi_lease_document(const vmbi_lease *l, const vmbi_json *lease, const char *name,
                               int64_t unix_ns, bool release)
{
    vmbi_json *doc = vmbi_json_object();
    vmbi_json *meta = vmbi_json_ensure_object(doc, "metadata");
    vmbi_json *spec = vmbi_json_ensure_object(doc, "spec");
    bool ours = strcmp(text(lease, "spec.holderIdentity"), l->identity) == 0;
    int64_t changes = vmbi_json_int(vmbi_json_path(lease, "spec.leaseTransitions"), 0);
    bool ok = meta != NULL && spec != NULL;
    if (lease == NULL) {
        ok = ok && vmbi_json_set_str(doc, "apiVersion", "coordination.k8s.io/v1") &&
             vmbi_json_set_str(doc, "kind", "Lease") && vmbi_json_set_str(meta, "name", name);
    } else {
        ok = ok && vmbi_json_set_str(meta, "resourceVersion",
                                     text(lease, "metadata.resourceVersion"));
    }
    ok = ok && vmbi_json_set_str(spec, "holderIdentity", release ? "" : l->identity);
    ok = ok && vmbi_json_set_int(spec, "leaseDurationSeconds",
                                 release ? 1 : l->duration_ns / VMBI_SECOND);
    ok = ok && set_micro_time(spec, "renewTime", unix_ns);
    ok = ok && (ours || (set_micro_time(spec, "acquireTime", unix_ns) &&
                         vmbi_json_set_int(spec, "leaseTransitions",
                                           lease == NULL ? 0 : changes + 1)));
    if (!ok) {
        vmbi_json_free(doc);
        doc = NULL;
    }
    return doc;
}
