/* SPDX-License-Identifier: Apache-2.0 */
/* Letting a snapshot go: with its data kept for the backup, or without a trace.
 *
 * The order matters, because the storage deletes on behalf of the objects: keeping means policy
 * Retain first and only then deleting the objects; removing means policy Delete first, and watching
 * until both are gone, because only the driver's sidecar deletes in the storage. */
#include <stdio.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "providers/snapshot_csi/csi.h"

#define LOST_ANSWER_WAIT (2 * VMBI_SECOND)
#define BIND_WAIT (2 * VMBI_SECOND) /* for a controller that runs at all */
#define WATCH_PAUSE (250 * VMBI_MS)

/* VMB_E_NOT_FOUND is the caller's business. Success means that the answer shows the policy. */
static vmb_code set_policy(vmb_job *job, const char *vsc, const char *policy, vmb_error **err)
{
    char *answer = NULL;
    size_t len = 0;
    vmbi_json *obj = NULL;
    vmbi_buf patch = VMBI_BUF_INIT(256);
    vmbi_buf_addf(&patch, "{\"spec\":{\"deletionPolicy\":\"%s\"}}", policy);
    vmb_code code = vmbi_buf_check(&patch, err, "patch");
    if (code == VMB_OK) {
        code = vmb_cluster_patch(vmb_job_cluster(job), job, VMBI_CSI_GROUP, NULL,
                                 "volumesnapshotcontents", NULL, vsc, NULL, VMB_PATCH_MERGE,
                                 patch.data, patch.len, &answer, &len, err);
    }
    if (code == VMB_OK) {
        code = vmbi_json_parse(answer, len, "patched content", &obj, err);
    }
    if (code == VMB_OK && !vmbi_streq(vmbi_json_path_str(obj, "spec.deletionPolicy"), policy)) {
        code = vmbi_fail(err, VMB_E_PROTOCOL, "the policy did not become %s", policy);
    }
    vmb_free(answer);
    vmbi_json_free(obj);
    vmbi_buf_free(&patch);
    return code == VMB_OK ? VMB_OK
                          : vmbi_wrap(err, code, "set policy %s on content %s", policy, vsc);
}

/* Removes an object; one that is not there is no failure. */
static vmb_code remove_object(vmb_job *job, const char *resource, const char *ns, const char *name,
                              vmb_error **err)
{
    vmb_error *local = NULL;
    vmb_code code = vmb_cluster_remove(vmb_job_cluster(job), job, VMBI_CSI_GROUP, NULL, resource,
                                       ns, name, &local);
    if (code == VMB_E_NOT_FOUND) {
        vmb_error_free(local);
        return VMB_OK;
    }
    vmbi_error_move(err, &local);
    return code;
}

vmb_code vmbi_csi_finish(void *user, vmb_job *job, void *opaque, vmb_error **err)
{
    vmbi_csi_op *op = opaque;
    vmb_error *local = NULL;
    (void)user;
    if (op->released || op->vsc_name == NULL) {
        return VMB_OK;
    }
    vmb_code code = set_policy(job, op->vsc_name, "Retain", &local);
    if (code == VMB_E_NOT_FOUND) { /* gone already: only the snapshot object is left to remove */
        vmb_error_free(vmbi_steal(&local));
        code = VMB_OK;
    }
    if (code != VMB_OK) { /* deleting now would delete the data of the backup */
        vmbi_error_move(err, &local);
        return vmbi_csi_wrap(op, err, code);
    }
    vmb_code first = remove_object(job, "volumesnapshotcontents", NULL, op->vsc_name, err);
    code = remove_object(job, "volumesnapshots", op->ns, op->vs_name, first == VMB_OK ? err : NULL);
    op->released = first == VMB_OK && code == VMB_OK;
    return op->released ? VMB_OK : vmbi_csi_wrap(op, err, first != VMB_OK ? first : code);
}

/* ---- cancel ------------------------------------------------------------------------------------
 */

typedef struct traces {
    bool vs;
    bool vsc;
} traces;

/* The name of the content: as bound, or as the controller derives it from the snapshot's UID. */
static vmb_code content_name(const vmbi_csi_op *op, const vmbi_json *vs, char **out,
                             vmb_error **err)
{
    const char *bound = vmbi_json_path_str(vs, "status.boundVolumeSnapshotContentName");
    const char *uid = vmbi_json_path_str(vs != NULL ? vs : op->vs, "metadata.uid");
    vmbi_buf b = VMBI_BUF_INIT(1024);
    *out = NULL;
    if (op->vsc_name != NULL) {
        vmbi_buf_adds(&b, op->vsc_name);
    } else if (bound != NULL && bound[0] != '\0') {
        vmbi_buf_adds(&b, bound);
    } else if (uid != NULL) {
        vmbi_buf_addf(&b, "snapcontent-%s", uid);
    } else {
        return VMB_OK;
    }
    vmb_code code = vmbi_buf_take(&b, out, NULL, err, "content name");
    vmbi_buf_free(&b);
    return code;
}

/* A content may only be touched when it is ours. */
static bool is_ours(const vmbi_csi_op *op, const vmbi_json *vs, const vmbi_json *vsc)
{
    const char *bound = vmbi_json_path_str(vsc, "spec.volumeSnapshotRef.uid");
    const char *uid = vmbi_json_path_str(vs != NULL ? vs : op->vs, "metadata.uid");
    return vsc != NULL && uid != NULL && vmbi_streq(bound, uid);
}

/* Deleting too early loses the storage's snapshot: without a handle in its status the sidecar just
 * lets the content go, while the driver may be cutting. So the handle is waited for as long as
 * somebody seems to be at work. */
static bool at_work(const vmbi_csi *csi, const vmbi_json *vs, const vmbi_json *vsc, int64_t gone_ns)
{
    const vmbi_json *status = vmbi_json_get(vsc, "status");
    bool failed = vmbi_json_is_object(vmbi_json_get(status, "error")) ||
                  (vsc == NULL && vmbi_json_is_object(vmbi_json_path(vs, "status.error")));
    if (failed || gone_ns >= csi->cleanup_ns / 2 ||
        vmbi_json_get_str(status, "snapshotHandle") != NULL ||
        vmbi_json_path(vsc, "metadata.deletionTimestamp") != NULL) {
        return false;
    }
    return gone_ns < BIND_WAIT ||
           vmbi_annotation_of(vsc, VMBI_CSI_ANNOTATIONS "volumesnapshot-being-created") != NULL;
}

static vmb_code annotate(vmb_job *job, const char *vsc, const char *key, const char *value,
                         vmb_error **err)
{
    vmb_error *local = NULL;
    vmbi_buf patch = VMBI_BUF_INIT(512);
    vmbi_buf_addf(&patch, "{\"metadata\":{\"annotations\":{\"%s\":\"%s\"}}}", key, value);
    vmb_code code = vmbi_buf_check(&patch, err, "patch");
    if (code == VMB_OK) {
        code = vmb_cluster_patch(vmb_job_cluster(job), job, VMBI_CSI_GROUP, NULL,
                                 "volumesnapshotcontents", NULL, vsc, NULL, VMB_PATCH_MERGE,
                                 patch.data, patch.len, NULL, NULL, &local);
    }
    if (code == VMB_E_NOT_FOUND) { /* gone meanwhile: all the better */
        vmb_error_free(vmbi_steal(&local));
        code = VMB_OK;
    }
    if (local != NULL) {
        vmbi_error_move(err, &local);
    }
    vmbi_buf_free(&patch);
    return code;
}

/* The mark that the controller sets when a snapshot is deleted. When we find the content alone, the
 * controller may have missed it; without the mark the sidecar does not touch a bound content. */
static vmb_code mark_deleted(vmb_job *job, const char *vsc, vmb_error **err)
{
    return annotate(job, vsc, VMBI_CSI_ANNOTATIONS "volumesnapshot-being-deleted", "yes", err);
}

/* A content that was deleted while the driver cut is not looked at again by the sidecar (8.7 leaves
 * changes of status and of its own marks out of its queue) until the resync after 15 minutes. Any
 * other change wakes it. */
static vmb_code nudge(vmb_job *job, const char *vsc, vmb_error **err)
{
    char now[32];
    int n = snprintf(now, sizeof now, "%lld", (long long)vmbi_unix_ns());
    return n > 0 ? annotate(job, vsc, "vmbackup.io/delete-again", now, err) : VMB_OK;
}

static bool needs_nudge(const vmbi_json *vsc)
{
    return vmbi_json_path(vsc, "metadata.deletionTimestamp") != NULL &&
           vmbi_json_path_str(vsc, "status.snapshotHandle") != NULL &&
           vmbi_annotation_of(vsc, VMBI_CSI_ANNOTATIONS "volumesnapshot-being-created") == NULL;
}

/* Brings a content to policy Delete; when its snapshot is gone, it must be deleted by us too. */
static vmb_code doom_content(vmb_job *job, const vmbi_json *vsc, bool alone, vmb_error **err)
{
    const char *name = vmbi_name_of(vsc);
    vmb_error *local = NULL;
    vmb_code code = VMB_OK;
    if (!vmbi_streq(vmbi_json_path_str(vsc, "spec.deletionPolicy"), "Delete")) {
        code = set_policy(job, name, "Delete", &local);
        if (code == VMB_E_NOT_FOUND) {
            vmb_error_free(local);
            return VMB_OK;
        }
    }
    vmbi_error_move(err, &local);
    if (code == VMB_OK && alone && vmbi_json_path(vsc, "metadata.deletionTimestamp") == NULL) {
        code = mark_deleted(job, name, err);
        if (code == VMB_OK) {
            code = remove_object(job, "volumesnapshotcontents", NULL, name, err);
        }
    } else if (code == VMB_OK && needs_nudge(vsc)) {
        code = nudge(job, name, err);
    }
    return code;
}

/* One round: looks for both objects and pushes each towards its end. */
static vmb_code sweep(const vmbi_csi *csi, vmbi_csi_op *op, vmb_job *job, int64_t gone_ns,
                      traces *left, vmb_error **err)
{
    vmbi_json *vs = NULL;
    vmbi_json *vsc = NULL;
    char *name = NULL;
    bool vs_unsure = false;
    bool vsc_unsure = false;
    vmb_code code = vmbi_csi_look_vs(op, job, &vs, &vs_unsure, err);
    if (code == VMB_OK) {
        code = content_name(op, vs, &name, err);
    }
    if (code == VMB_OK && name != NULL) {
        code = vmbi_csi_look_vsc(op, job, name, &vsc, &vsc_unsure, err);
    }
    bool ours = is_ours(op, vs, vsc);
    bool wait = at_work(csi, vs, ours ? vsc : NULL, gone_ns);
    if (code == VMB_OK && ours) {
        code = doom_content(job, vsc, vs == NULL && !vs_unsure && !wait, err);
    }
    if (code == VMB_OK && vs != NULL && !wait &&
        vmbi_json_path(vs, "metadata.deletionTimestamp") == NULL) {
        code = remove_object(job, "volumesnapshots", op->ns, op->vs_name, err);
    }
    left->vs = vs != NULL || vs_unsure;
    left->vsc = ours || vsc_unsure;
    if (code == VMB_OK && vs != NULL && op->vs == NULL) {
        op->vs = vmbi_steal(&vs); /* its UID leads to the content */
    }
    vmbi_json_free(vs);
    vmbi_json_free(vsc);
    vmbi_free(name);
    return code;
}

static vmb_code report(const vmbi_csi_op *op, const traces *left, vmb_error **err)
{
    vmb_code code =
        vmbi_fail(err, VMB_E_TIMEOUT, "left behind:%s%s%s%s", left->vs ? " VolumeSnapshot" : "",
                  left->vs && left->vsc ? " and" : "", left->vsc ? " VolumeSnapshotContent" : "",
                  op->last_error != NULL ? "" : ", its driver has not removed it");
    if (op->last_error != NULL) {
        code = vmbi_wrap(err, code, "last answer: %s", op->last_error);
    }
    return vmbi_csi_wrap(op, err, code);
}

vmb_code vmbi_csi_cancel(void *user, vmb_job *job, void *opaque, vmb_error **err)
{
    const vmbi_csi *csi = user;
    vmbi_csi_op *op = opaque;
    int64_t start = vmbi_mono_ns();
    int64_t lost_ns = LOST_ANSWER_WAIT < csi->cleanup_ns ? LOST_ANSWER_WAIT : csi->cleanup_ns;
    int64_t pause_ns = WATCH_PAUSE < csi->cleanup_ns / 4 ? WATCH_PAUSE : csi->cleanup_ns / 4;
    bool seen = op->vs != NULL;
    if (op->released || vmb_job_cluster(job) == NULL) {
        return VMB_OK;
    }
    for (;;) {
        traces left = {false, false};
        vmb_code code = sweep(csi, op, job, vmbi_mono_ns() - start, &left, err);
        int64_t gone_ns = vmbi_mono_ns() - start;
        if (code != VMB_OK) {
            return vmbi_csi_wrap(op, err, code);
        }
        seen = seen || left.vs;
        /* A request whose answer was lost may still be on its way. */
        if (!left.vs && !left.vsc && (seen || gone_ns >= lost_ns)) {
            op->released = true;
            return VMB_OK;
        }
        if (gone_ns >= csi->cleanup_ns) {
            return report(op, &left, err);
        }
        code = vmb_job_sleep(job, pause_ns, NULL);
        if (code == VMB_E_TIMEOUT) {
            return report(op, &left, err);
        }
        if (code != VMB_OK) {
            return vmbi_csi_wrap(op, err, vmbi_fail(err, code, "clean-up was cancelled"));
        }
    }
}
