/* SPDX-License-Identifier: Apache-2.0 */
/* Watching a snapshot: cut as soon as its content has a handle, ready when the content says so.
 * Most errors that the controllers report heal by themselves (they try again), so the job's
 * deadline decides; only what cannot heal ends the wait early. */
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "codec/duration.h"
#include "providers/snapshot_csi/csi.h"

enum { READY_LOOKS = 8 };
/* Longest pause while a guest may be frozen. */
#define PAUSE_BEFORE_CUT (500 * VMBI_MS)

static void note(vmbi_csi_op *op, const char *text)
{
    char *copy = vmbi_strdup(text);
    if (copy != NULL) { /* without memory the older note stays: it only explains */
        vmbi_free(op->last_error);
        op->last_error = copy;
    }
}

/* ---- looking ----------------------------------------------------------------------------------
 */

static vmb_code look(vmbi_csi_op *op, vmb_job *job, const char *resource, const char *ns,
                     const char *name, vmbi_json **out, bool *unsure, vmb_error **err)
{
    vmb_error *local = NULL;
    *unsure = false;
    *out = NULL;
    vmb_code code = vmbi_fetch(job, VMBI_CSI_GROUP, resource, ns, name, out, &local);
    if (code == VMB_E_NOT_FOUND) {
        vmb_error_free(local);
        return VMB_OK;
    }
    /* One request may run into its own limit while the job has time left. */
    if (code != VMB_OK && !vmb_job_cancelled(job) &&
        (vmbi_error_is_retryable(local) || code == VMB_E_TIMEOUT)) {
        note(op, vmb_error_message(local));
        vmb_error_free(local);
        *unsure = true;
        return VMB_OK;
    }
    vmbi_error_move(err, &local);
    return code;
}

vmb_code vmbi_csi_look_vs(vmbi_csi_op *op, vmb_job *job, vmbi_json **out, bool *unsure,
                          vmb_error **err)
{
    return look(op, job, "volumesnapshots", op->ns, op->vs_name, out, unsure, err);
}

vmb_code vmbi_csi_look_vsc(vmbi_csi_op *op, vmb_job *job, const char *name, vmbi_json **out,
                           bool *unsure, vmb_error **err)
{
    return look(op, job, "volumesnapshotcontents", NULL, name, out, unsure, err);
}

int64_t vmbi_csi_restore_size(const vmbi_csi_op *op)
{
    /* bytes on the content, a quantity on the snapshot */
    int64_t size = vmbi_json_int(vmbi_json_path(op->vsc, "status.restoreSize"), 0);
    if (size <= 0) {
        const char *text = vmbi_json_path_str(op->vs, "status.restoreSize");
        if (text == NULL || !vmbi_quantity_parse(text, &size)) {
            size = 0;
        }
    }
    return size > 0 ? size : 0;
}

/* ---- errors -----------------------------------------------------------------------------------
 */

static const char *error_text(const vmbi_json *obj)
{
    const vmbi_json *e = vmbi_json_path(obj, "status.error");
    if (!vmbi_json_is_object(e)) {
        return NULL;
    }
    const char *text = vmbi_json_get_str(e, "message");
    return text != NULL && text[0] != '\0' ? text : "an error without a message";
}

/* The controllers give no codes. These texts mean that the snapshot waits for something that will
 * not come by itself. Source: external-snapshotter 8.6 pkg/common-controller. */
static bool cannot_heal(const char *text)
{
    static const char *const texts[] = {
        "ailed to get snapshot class",
        "cannot find CSI PersistentVolumeSource",
        "cannot get claim from snapshot",
        "VolumeSnapshotContent is missing",
        "SnapshotContentMissing",
        "VolumeSnapshotContent is bound to a different",
        "cannot find default snapshot class",
    };
    for (size_t i = 0; i < VMBI_ARRAY_LEN(texts); i++) {
        if (strstr(text, texts[i]) != NULL) {
            return true;
        }
    }
    return false;
}

/* Lets an error stand for a while: right after creation it may stem from an old cache. */
static vmb_code stuck(const vmbi_csi *csi, vmbi_csi_op *op, const char *why, vmb_error **err)
{
    int64_t now = vmbi_mono_ns();
    note(op, why);
    if (op->stuck_mono_ns == 0) {
        op->stuck_mono_ns = now;
    }
    return now - op->stuck_mono_ns >= csi->grace_ns ? vmbi_fail(err, VMB_E_INVALID, "%s", why)
                                                    : VMB_OK;
}

static vmb_code read_errors(const vmbi_csi *csi, vmbi_csi_op *op, vmb_error **err)
{
    const char *text = error_text(op->vsc);
    if (text == NULL) {
        text = error_text(op->vs);
    }
    if (text == NULL) {
        op->stuck_mono_ns = 0;
        return VMB_OK;
    }
    if (cannot_heal(text)) {
        return stuck(csi, op, text, err);
    }
    note(op, text);
    op->stuck_mono_ns = 0;
    return VMB_OK;
}

/* ---- one look at everything --------------------------------------------------------------------
 */

static void keep(vmbi_json **slot, vmbi_json *fresh)
{
    vmbi_json_free(*slot);
    *slot = fresh;
}

static vmb_code set_vsc_name(vmbi_csi_op *op, vmb_error **err)
{
    const char *name = vmbi_json_path_str(op->vs, "status.boundVolumeSnapshotContentName");
    if (name == NULL || name[0] == '\0' || vmbi_streq(name, op->vsc_name)) {
        return VMB_OK;
    }
    char *copy = vmbi_strdup(name);
    if (copy == NULL) {
        return vmbi_fail_nomem(err);
    }
    vmbi_free(op->vsc_name);
    op->vsc_name = copy;
    return VMB_OK;
}

static vmb_code update_vs(vmbi_csi_op *op, vmb_job *job, bool *unsure, vmb_error **err)
{
    vmbi_json *vs = NULL;
    vmb_code code = vmbi_csi_look_vs(op, job, &vs, unsure, err);
    if (code != VMB_OK || *unsure) {
        return code;
    }
    if (vs == NULL && op->create_error != NULL) {
        return vmbi_fail(err, vmb_error_code(op->create_error), "%s",
                         vmb_error_message(op->create_error));
    }
    if (vs == NULL) {
        return vmbi_fail(err, VMB_E_NOT_FOUND, "the VolumeSnapshot is gone");
    }
    keep(&op->vs, vs);
    vmb_error_free(vmbi_steal(&op->create_error)); /* it was created after all */
    if (vmbi_json_path(vs, "metadata.deletionTimestamp") != NULL) {
        return vmbi_fail(err, VMB_E_CONFLICT, "somebody deletes the VolumeSnapshot");
    }
    return set_vsc_name(op, err);
}

static vmb_code check_binding(const vmbi_csi_op *op, const vmbi_json *vsc, vmb_error **err)
{
    const char *bound = vmbi_json_path_str(vsc, "spec.volumeSnapshotRef.uid");
    const char *uid = vmbi_json_path_str(op->vs, "metadata.uid");
    if (vmbi_json_path(vsc, "metadata.deletionTimestamp") != NULL) {
        return vmbi_fail(err, VMB_E_CONFLICT, "somebody deletes the VolumeSnapshotContent %s",
                         op->vsc_name);
    }
    /* the controller's mark outlives the snapshot object when the policy is Retain */
    if (vmbi_annotation_of(vsc, VMBI_CSI_ANNOTATIONS "volumesnapshot-being-deleted") != NULL) {
        return vmbi_fail(err, VMB_E_CONFLICT, "somebody deletes the VolumeSnapshot");
    }
    if (bound != NULL && uid != NULL && !vmbi_streq(bound, uid)) {
        return vmbi_fail(err, VMB_E_CONFLICT,
                         "VolumeSnapshotContent %s belongs to another snapshot", op->vsc_name);
    }
    return VMB_OK;
}

static vmb_code update_vsc(const vmbi_csi *csi, vmbi_csi_op *op, vmb_job *job, bool *unsure,
                           vmb_error **err)
{
    vmbi_json *vsc = NULL;
    vmb_code code = vmbi_csi_look_vsc(op, job, op->vsc_name, &vsc, unsure, err);
    if (code != VMB_OK || *unsure) {
        return code;
    }
    if (vsc == NULL) {
        *unsure = true;
        return stuck(csi, op, "the VolumeSnapshotContent is gone", err);
    }
    code = check_binding(op, vsc, err);
    if (code != VMB_OK) {
        vmbi_json_free(vsc);
        return code;
    }
    keep(&op->vsc, vsc);
    return VMB_OK;
}

/* The snapshot's own status follows the content's within moments; the archive wants both. */
static vmb_code settle_ready(vmbi_csi_op *op, vmb_job *job, vmb_error **err)
{
    bool unsure = false;
    if (!vmbi_json_bool(vmbi_json_path(op->vs, "status.readyToUse"), false)) {
        vmb_code code = update_vs(op, job, &unsure, err);
        if (code != VMB_OK) {
            return code;
        }
        op->ready_looks++;
    }
    if (vmbi_json_bool(vmbi_json_path(op->vs, "status.readyToUse"), false) ||
        op->ready_looks >= READY_LOOKS) {
        op->state = VMB_SNAPSHOT_READY;
        op->ready_unix_ns = vmbi_unix_ns();
    }
    return VMB_OK;
}

static vmb_code update(const vmbi_csi *csi, vmbi_csi_op *op, vmb_job *job, vmb_error **err)
{
    bool unsure = false;
    vmb_code code = VMB_OK;
    if (op->vsc_name == NULL || op->vsc == NULL || op->create_error != NULL) {
        code = update_vs(op, job, &unsure, err);
    }
    if (code == VMB_OK && !unsure && op->vsc_name != NULL) {
        code = update_vsc(csi, op, job, &unsure, err);
    }
    if (code != VMB_OK || unsure) {
        return code;
    }
    const char *handle = vmbi_json_path_str(op->vsc, "status.snapshotHandle");
    bool cut = handle != NULL && handle[0] != '\0';
    if (cut && op->state < VMB_SNAPSHOT_CUT) {
        op->state = VMB_SNAPSHOT_CUT;
    }
    if (cut && vmbi_json_bool(vmbi_json_path(op->vsc, "status.readyToUse"), false)) {
        return settle_ready(op, job, err);
    }
    return read_errors(csi, op, err);
}

/* ---- waiting ----------------------------------------------------------------------------------
 */

static const char *what_is_missing(const vmbi_csi_op *op)
{
    if (op->last_error != NULL) {
        return op->last_error;
    }
    if (op->vsc_name == NULL) {
        return "the snapshot controller has not answered";
    }
    if (vmbi_json_get(op->vsc, "status") == NULL) {
        return "no snapshotter has answered for the driver";
    }
    return op->state >= VMB_SNAPSHOT_CUT ? "the storage has not finished it"
                                         : "the storage has given no handle";
}

/* Sleeps and lengthens the next pause. */
static vmb_code wait_a_little(const vmbi_csi *csi, vmbi_csi_op *op, const vmb_job *job,
                              int64_t left_ns, vmb_error **err)
{
    int64_t ns = left_ns >= 0 && left_ns < op->pause_ns ? left_ns : op->pause_ns;
    vmb_code code = vmb_job_sleep(job, ns, err);
    int64_t longest = op->state < VMB_SNAPSHOT_CUT && csi->poll_ns > PAUSE_BEFORE_CUT
                          ? PAUSE_BEFORE_CUT
                          : csi->poll_ns;
    op->pause_ns += op->pause_ns / 2;
    if (op->pause_ns > longest) {
        op->pause_ns = longest;
    }
    return code;
}

vmb_code vmbi_csi_poll(void *user, vmb_job *job, void *opaque, int64_t wait_ns, int32_t *state,
                       vmb_error **err)
{
    const vmbi_csi *csi = user;
    vmbi_csi_op *op = opaque;
    int64_t start = vmbi_mono_ns();
    int32_t before = op->state;
    for (;;) {
        vmb_code code = op->state < VMB_SNAPSHOT_READY ? update(csi, op, job, err) : VMB_OK;
        int64_t gone = vmbi_mono_ns() - start;
        bool over = op->state > before || op->state == VMB_SNAPSHOT_READY ||
                    (wait_ns >= 0 && gone >= wait_ns);
        if (code == VMB_OK && over) {
            *state = op->state;
            return VMB_OK;
        }
        if (code == VMB_OK) {
            code = wait_a_little(csi, op, job, wait_ns >= 0 ? wait_ns - gone : -1, err);
        }
        if (code == VMB_E_TIMEOUT) { /* of the wait or of a look: what matters is what is missing */
            code = vmbi_fail(err, code, "not %s in time: %s",
                             op->state >= VMB_SNAPSHOT_CUT ? "ready" : "cut", what_is_missing(op));
        }
        if (code != VMB_OK) {
            return vmbi_csi_wrap(op, err, code);
        }
    }
}
