/* SPDX-License-Identifier: Apache-2.0 */
/* BackupStorageLocations: validated again and again, with their phase. */
#include "core/control/control.h"

#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "codec/duration.h"
#include "core/catalog.h"

/* Time until the next validation is due; negative: never again. */
static int64_t due_in(const vmb_control *c, const vmbi_json *tree)
{
    const char *last = vmbi_json_path_str(tree, "status.lastValidationTime");
    const char *text = vmbi_json_path_str(tree, "spec.validationFrequency");
    int64_t period = c->settings.validation_ns;
    int64_t at = 0;
    int64_t ns = 0;
    if (text != NULL && vmbi_duration_parse(text, &ns) && ns >= 0) {
        period = ns;
    }
    if (last == NULL || !vmbi_parse_rfc3339(last, &at)) {
        return 0;
    }
    if (period == 0) {
        return -1;
    }
    return vmbi_unix_left(vmbi_unix_ns(), at, period);
}

static vmb_code write_phase(vmb_control *c, const vmbi_json *tree, const char *phase,
                            const char *message, vmb_error **err)
{
    const char *name = vmbi_json_path_str(tree, "metadata.name");
    const char *before = vmbi_json_path_str(tree, "status.phase");
    vmbi_json *patch = vmbi_phase_patch(phase);
    vmbi_json *status = vmbi_json_get(patch, "status");
    bool good = strcmp(phase, "Available") == 0;
    bool ok = status != NULL && vmbi_set_now(status, "lastValidationTime");
    ok = ok && (message[0] != '\0' ? vmbi_json_set_str(status, "message", message)
                                   : vmbi_json_set(status, "message", vmbi_json_null()));
    if (!ok) {
        vmbi_json_free(patch);
        return vmbi_fail_nomem(err);
    }
    vmb_code rc = vmbi_object_patch(c, VMBI_KIND_LOCATION, name, patch, VMBI_NORMAL, err);
    if (rc == VMB_OK && !vmbi_streq(before, phase)) {
        vmbi_control_event(c, tree, !good, phase, "%s", good ? "the store answers" : message);
    }
    vmbi_metrics_set(&c->metrics, "backup_location_status_gauge", name, good ? 1 : 0);
    return rc;
}

/* Another, newer location is the default: this one is no more. */
static vmb_code drop_default(vmb_control *c, const vmbi_json *tree, vmb_error **err)
{
    const char *name = vmbi_json_path_str(tree, "metadata.name");
    vmbi_buf dflt = VMBI_BUF_INIT(1024);
    vmb_code rc = vmbi_default_location(c, &dflt, err);
    if (rc == VMB_OK && vmbi_json_bool(vmbi_json_path(tree, "spec.default"), false) &&
        !vmbi_streq(name, dflt.data)) {
        vmbi_json *patch = vmbi_json_object();
        vmbi_json *spec = vmbi_json_ensure_object(patch, "spec");
        if (spec == NULL || !vmbi_json_set_bool(spec, "default", false)) {
            vmbi_json_free(patch);
            patch = NULL;
        }
        rc = vmbi_object_patch(c, VMBI_KIND_LOCATION, name, patch, VMBI_NORMAL, err);
    }
    vmbi_buf_free(&dflt);
    return rc;
}

/* Opening is part of the validation: a missing Secret or a bad setting makes it Unavailable. */
static vmb_code validate(vmb_control *c, const char *name, vmb_error **err)
{
    vmbi_located l = {0};
    vmb_code rc = vmbi_locate(c, name, &l, err);
    if (rc == VMB_OK) {
        rc = vmbi_location_validate(l.ctx, l.store.location, c->stop, err);
    }
    vmbi_located_done(&l);
    return rc;
}

vmb_code vmbi_reconcile_location(vmb_control *c, vmbi_turn *turn, vmb_error **err)
{
    vmbi_json *tree = NULL;
    vmb_error *why = NULL;
    vmb_code rc = vmbi_object_get(c, VMBI_KIND_LOCATION, turn->name, &tree, &why);
    if (rc == VMB_E_NOT_FOUND) {
        vmbi_metrics_forget(&c->metrics, "backup_location_status_gauge", turn->name);
        vmbi_metrics_forget(&c->metrics, "location_missing_backups", turn->name);
        vmb_error_free(why);
        return VMB_OK;
    }
    if (rc != VMB_OK) {
        vmbi_error_move(err, &why);
        return rc;
    }
    int64_t left = due_in(c, tree);
    if (left == 0) {
        vmb_code valid = validate(c, turn->name, &why);
        if (vmbi_cancel_is_set(c->stop)) { /* says nothing about the store */
            vmb_error_free(why);
            vmbi_json_free(tree);
            return VMB_OK;
        }
        rc = write_phase(c, tree, valid == VMB_OK ? "Available" : "Unavailable",
                         vmb_error_message(why), err);
        left = c->settings.validation_ns > 0 ? c->settings.validation_ns : -1;
        vmb_error_free(why);
    } else {
        vmbi_metrics_set(&c->metrics, "backup_location_status_gauge", turn->name,
                         vmbi_streq(vmbi_json_path_str(tree, "status.phase"), "Available") ? 1 : 0);
    }
    if (rc == VMB_OK) {
        rc = vmbi_enqueue(c, VMBI_CONTROLLER_SYNC, turn->name, 0, err);
    }
    if (rc == VMB_OK) {
        rc = drop_default(c, tree, err);
    }
    turn->again_ns = left;
    vmbi_json_free(tree);
    return rc;
}
