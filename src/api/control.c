/* SPDX-License-Identifier: Apache-2.0 */
/* control.h: argument checks, then core/control/. */
#include <vmbackup/control.h>

#include <string.h>
#include <unistd.h>

#include "api/location.h"
#include "base/error.h"
#include "codec/yaml.h"
#include "core/control/control.h"

static vmb_code missing(vmb_error **err, const char *function)
{
    return vmbi_fail(err, VMB_E_ARG, "%s: an argument is NULL", function);
}

static vmb_code add_location(vmb_ctx *ctx, vmbi_json *tree, vmb_error **err)
{
    return vmbi_location_add(ctx, tree, "storage location of the cluster", err);
}

vmb_code vmb_control_new(vmb_ctx *ctx, const char *settings, size_t len, vmb_control **out,
                         vmb_error **err)
{
    if (ctx == NULL || out == NULL || (settings == NULL && len != 0)) {
        return missing(err, "vmb_control_new");
    }
    *out = NULL;
    vmbi_json *tree = NULL;
    vmb_code rc = vmbi_ctx_check(ctx, false, err);
    if (rc == VMB_OK && len != 0) {
        rc = vmbi_doc_parse(settings, len, "control settings", NULL, &tree, NULL, err);
    }
    if (rc == VMB_OK) {
        rc = vmbi_control_new(ctx, tree, add_location, out, err);
    }
    vmbi_json_free(tree);
    return rc;
}

vmb_code vmb_control_run(vmb_control *control, vmb_error **err)
{
    if (control == NULL) {
        return missing(err, "vmb_control_run");
    }
    vmb_code rc = vmbi_ctx_check(control->ctx, false, err);
    return rc != VMB_OK ? rc : vmbi_control_run(control, err);
}

void vmb_control_stop(vmb_control *control)
{
    /* a child process shares the descriptor, and must not stop its parent */
    if (control != NULL && getpid() == control->ctx->pid) {
        vmbi_cancel_fire(control->stop);
    }
}

int32_t vmb_control_ready(const vmb_control *control)
{
    return control != NULL && atomic_load(&control->ready) ? 1 : 0;
}

vmb_code vmb_control_metrics(vmb_control *control, char **out, size_t *out_len, vmb_error **err)
{
    if (control == NULL || out == NULL) {
        return missing(err, "vmb_control_metrics");
    }
    vmbi_buf text = VMBI_BUF_INIT(VMBI_METRICS_MAX_BYTES);
    vmb_code rc = vmbi_control_print_metrics(control, &text, err);
    if (rc == VMB_OK) {
        rc = vmbi_buf_take(&text, out, out_len, err, "metrics");
    }
    vmbi_buf_free(&text);
    return rc;
}

void vmb_control_free(vmb_control *control)
{
    vmbi_control_free(control);
}
