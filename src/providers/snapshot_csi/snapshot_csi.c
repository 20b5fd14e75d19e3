/* SPDX-License-Identifier: Apache-2.0 */
/* CSI snapshots through the run's cluster: VolumeSnapshot objects, as Velero makes them. */
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "codec/duration.h"
#include "providers/builtin.h"
#include "providers/snapshot_csi/csi.h"

#define CLASSES_MAX_AGE (60 * VMBI_SECOND)

static void csi_destroy(void *user)
{
    vmbi_csi *csi = user;
    if (csi != NULL) {
        vmbi_run_cache_free(csi->classes);
        vmbi_free(csi);
    }
}

static vmb_code csi_bid(void *user, vmb_job *job, const char *volume, size_t len, int32_t *score,
                        vmb_error **err)
{
    vmbi_json *doc = NULL;
    (void)user;
    vmb_code code = vmbi_json_parse(volume, len, "volume", &doc, err);
    if (code != VMB_OK) {
        return code;
    }
    const char *driver = vmbi_json_path_str(vmbi_json_get(doc, "pv"), "spec.csi.driver");
    *score =
        driver != NULL && driver[0] != '\0' && vmbi_served(job, VMBI_CSI_GROUP, "volumesnapshots")
            ? 100
            : 0;
    vmbi_json_free(doc);
    return VMB_OK;
}

static void csi_op_free(void *user, void *op)
{
    (void)user;
    vmbi_csi_op_free(op);
}

static vmb_code read_settings(const vmbi_json *settings, vmbi_csi *csi, vmb_error **err)
{
    for (void *it = vmbi_json_iter(settings); it != NULL; it = vmbi_json_iter_next(settings, it)) {
        const char *key = vmbi_json_iter_key(it);
        const char *value = vmbi_json_str(vmbi_json_iter_value(it));
        int64_t *slot = vmbi_streq(key, "pollInterval")     ? &csi->poll_ns
                        : vmbi_streq(key, "cleanupTimeout") ? &csi->cleanup_ns
                        : vmbi_streq(key, "errorGrace")     ? &csi->grace_ns
                                                            : NULL;
        if (slot == NULL) {
            return vmbi_fail(err, VMB_E_ARG,
                             "snapshot.csi: setting \"%s\" is unknown; known are "
                             "\"cleanupTimeout\", \"errorGrace\" and \"pollInterval\"",
                             key);
        }
        if (value == NULL || !vmbi_duration_parse(value, slot) || *slot < VMBI_MS) {
            return vmbi_fail(err, VMB_E_ARG,
                             "snapshot.csi: setting \"%s\" is no duration of at least 1ms", key);
        }
    }
    return VMB_OK;
}

vmb_code vmbi_snapshot_csi_new(const vmbi_json *settings, vmb_snapshot_provider *out,
                               vmb_error **err)
{
    vmbi_csi *csi = vmbi_zalloc(sizeof *csi);
    if (csi == NULL) {
        return vmbi_fail_nomem(err);
    }
    csi->poll_ns = VMBI_SECOND;
    csi->cleanup_ns = 30 * VMBI_SECOND;
    csi->grace_ns = 5 * VMBI_SECOND;
    vmb_code code = read_settings(settings, csi, err);
    if (code == VMB_OK) {
        code = vmbi_run_cache_new(vmbi_csi_list_classes, vmb_free, CLASSES_MAX_AGE, &csi->classes,
                                  err);
    }
    if (code != VMB_OK) {
        csi_destroy(csi);
        return code;
    }
    memset(out, 0, sizeof *out);
    out->struct_size = sizeof *out;
    out->api_version = VMB_PROVIDER_API;
    out->name = "snapshot.csi";
    out->user = csi;
    out->destroy = csi_destroy;
    out->bid = csi_bid;
    out->begin = vmbi_csi_begin;
    out->poll = vmbi_csi_poll;
    out->describe = vmbi_csi_describe;
    out->finish = vmbi_csi_finish;
    out->cancel = vmbi_csi_cancel;
    out->op_free = csi_op_free;
    return VMB_OK;
}
