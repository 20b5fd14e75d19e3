/* SPDX-License-Identifier: Apache-2.0 */
/* Taking and keeping the lease. */
#include "core/control/control.h"

#include <string.h>

#include "base/clock.h"
#include "base/error.h"

#define RETRY_NS (2 * VMBI_SECOND)
#define ASK_NS (5 * VMBI_SECOND)

static const char group[] = "coordination.k8s.io";

static vmb_job lease_job(vmb_control *c)
{
    vmb_job job = vmbi_control_job(c, VMBI_NORMAL);
    job.limits = vmbi_limits_within(&job.limits, ASK_NS);
    return job;
}

static vmb_code read_lease(vmb_control *c, vmbi_json **out, vmb_error **err)
{
    vmbi_buf text = VMBI_BUF_INIT(1 << 20);
    vmb_job job = lease_job(c);
    vmb_error *why = NULL;
    vmb_code rc = vmbi_cluster_get(&c->cluster, &job, group, "v1", "leases", c->ctx->settings.ns,
                                   c->settings.lease_name, &text, &why);
    if (rc == VMB_OK) {
        rc = vmbi_json_parse(text.data, text.len, "lease", out, &why);
    }
    vmbi_buf_free(&text);
    if (rc == VMB_E_NOT_FOUND) {
        vmb_error_free(why);
        return VMB_OK;
    }
    vmbi_error_move(err, &why);
    return rc;
}

static vmb_code write_lease(vmb_control *c, const vmbi_json *lease, bool release, vmb_error **err)
{
    vmb_job job = release ? vmbi_control_job(c, VMBI_LAST_WORD) : lease_job(c);
    char *text = NULL;
    size_t len = 0;
    vmbi_json *doc = vmbi_lease_document(&c->lease, lease, c->settings.lease_name, vmbi_unix_ns(),
                                         release);
    vmb_code rc = doc != NULL ? vmbi_json_to_text(doc, &text, &len, err) : vmbi_fail_nomem(err);
    if (rc == VMB_OK && lease == NULL) {
        rc = vmbi_cluster_create(&c->cluster, &job, group, "v1", "leases", c->ctx->settings.ns,
                                 text, len, NULL, err);
    } else if (rc == VMB_OK) {
        rc = vmbi_cluster_patch(&c->cluster, &job, group, "v1", "leases", c->ctx->settings.ns,
                                c->settings.lease_name, NULL, VMB_PATCH_MERGE, text, len, NULL,
                                err);
    }
    vmb_free(text);
    vmbi_json_free(doc);
    return rc;
}

/* One look; what came of it. */
static vmbi_lease_step look(vmb_control *c)
{
    vmbi_json *lease = NULL;
    vmb_error *why = NULL;
    int64_t asked = vmbi_mono_ns();
    vmbi_lease_step step = vmbi_lease_missed(&c->lease, asked);
    if (step == VMBI_LEASE_LOST) { /* this process stood still: nothing must be asked first */
        return step;
    }
    vmb_code rc = read_lease(c, &lease, &why);
    if (rc == VMB_OK) {
        step = vmbi_lease_look(&c->lease, lease, vmbi_mono_ns());
    }
    if (rc == VMB_OK && (step == VMBI_LEASE_CREATE || step == VMBI_LEASE_WRITE)) {
        rc = write_lease(c, lease, false, &why);
        if (rc == VMB_OK) {
            vmbi_lease_written(&c->lease, asked);
        }
    }
    if (rc != VMB_OK) {
        step = vmbi_lease_missed(&c->lease, vmbi_mono_ns());
        if (!vmbi_cancel_is_set(c->stop) && rc != VMB_E_CONFLICT && rc != VMB_E_EXISTS) {
            vmbi_control_log(c, VMB_LOG_WARNING, "lease: %s", vmb_error_message(why));
        }
    }
    vmb_error_free(why);
    vmbi_json_free(lease);
    return step;
}

static void *keep_lease(void *arg)
{
    vmb_control *c = arg;
    vmbi_limits limits = {0, c->stop};
    while (vmbi_limits_sleep(&limits, RETRY_NS, NULL, "lease") == VMB_OK) {
        if (look(c) == VMBI_LEASE_LOST) {
            atomic_store(&c->lost, true);
            vmbi_cancel_fire(c->stop);
        }
    }
    return NULL;
}

vmb_code vmbi_leader_begin(vmb_control *c, vmb_error **err)
{
    vmbi_limits limits = {0, c->stop};
    c->lease.identity = c->settings.identity;
    c->lease.duration_ns = 15 * VMBI_SECOND; /* as Kubernetes' own controllers */
    c->lease.renew_ns = 10 * VMBI_SECOND;
    while (!c->lease.held && !vmbi_cancel_is_set(c->stop)) {
        (void)look(c);
        if (!c->lease.held) {
            (void)vmbi_limits_sleep(&limits, RETRY_NS, NULL, "lease");
        }
    }
    if (!c->lease.held) {
        return VMB_OK;
    }
    vmbi_control_log(c, VMB_LOG_INFO, "%s holds the lease %s", c->settings.identity,
                     c->settings.lease_name);
    c->lease_started = vmbi_thread_start(&c->lease_thread, keep_lease, c) == 0;
    return c->lease_started ? VMB_OK : vmbi_fail(err, VMB_E_NOMEM, "lease: no thread");
}

bool vmbi_leader_decides(vmb_control *c, const char *phase)
{
    return !atomic_load(&c->lost) || strcmp(phase, "Failed") != 0;
}

void vmbi_leader_end(vmb_control *c)
{
    vmbi_json *lease = NULL;
    if (c->lease_started) {
        (void)pthread_join(c->lease_thread, NULL);
        c->lease_started = false;
    }
    if (!c->lease.held || atomic_load(&c->lost)) {
        return;
    }
    vmbi_buf text = VMBI_BUF_INIT(1 << 20);
    vmb_job job = vmbi_control_job(c, VMBI_LAST_WORD);
    if (vmbi_cluster_get(&c->cluster, &job, group, "v1", "leases", c->ctx->settings.ns,
                         c->settings.lease_name, &text, NULL) == VMB_OK &&
        vmbi_json_parse(text.data, text.len, "lease", &lease, NULL) == VMB_OK &&
        vmbi_lease_look(&c->lease, lease, vmbi_mono_ns()) == VMBI_LEASE_WRITE) {
        (void)write_lease(c, lease, true, NULL); /* else the next one waits for it to run out */
    }
    vmbi_json_free(lease);
    vmbi_buf_free(&text);
    c->lease.held = false;
}
