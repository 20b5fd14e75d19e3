/* SPDX-License-Identifier: Apache-2.0 */
/* Disks of a virtual machine that were saved by filesystem backup through its launcher pod. That
 * pod is not restored, since KubeVirt makes it from the machine: so a pod of ours holds the disks
 * while they are filled, before the machine comes. Velero leaves such disks empty. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "codec/digest.h"
#include "core/restore/podvolumes.h"

enum { NAME_SIZE = 64 };

typedef struct disks {
    vmbi_restore *r;
    const vmbi_ritem *item;
    vmbi_fill_pod pod;
    vmbi_json *doc; /* of the pod that holds them */
    bool stopped;   /* the machine does not run */
    bool lost;      /* the pod may have been made without an answer */
    char name[NAME_SIZE];
} disks;

/* NULL in *out: there is none. */
static vmb_code get_claim(vmbi_restore *r, const char *ns, const char *name, vmbi_json **out,
                          vmb_error **err)
{
    vmbi_buf text = VMBI_BUF_INIT(VMBI_OBJECT_MAX_BYTES);
    vmb_error *why = NULL;
    vmb_code rc = vmbi_cluster_get(&r->cluster, &r->job, "", "v1", "persistentvolumeclaims", ns,
                                   name, &text, &why);
    if (rc == VMB_OK) {
        rc = vmbi_json_parse(text.data != NULL ? text.data : "", text.len, name, out, &why);
    } else if (rc == VMB_E_NOT_FOUND) {
        vmb_error_free(vmbi_steal(&why));
        rc = VMB_OK;
    }
    vmbi_buf_free(&text);
    vmbi_error_move(err, &why);
    return rc;
}

/* ---- the pod ------------------------------------------------------------------------------- */

/* It goes where the machine may go. */
static bool copy_placing(vmbi_json *spec, const vmbi_json *instance_spec)
{
    static const char *const fields[] = {"nodeSelector", "tolerations", "affinity"};
    bool ok = true;
    for (size_t i = 0; i < VMBI_ARRAY_LEN(fields) && ok; i++) {
        const vmbi_json *v = vmbi_json_get(instance_spec, fields[i]);
        ok = v == NULL || vmbi_json_set(spec, fields[i], vmbi_json_copy(v));
    }
    return ok;
}

/* It ends by itself some time after the time for volumes is over: a run that was killed leaves it,
 * and it must not hold the disks for ever. */
static bool set_deadline(const vmbi_restore *r, vmbi_json *spec)
{
    int64_t left = vmbi_limits_remaining_ns(&r->volume_limits);
    int64_t seconds = left / VMBI_SECOND + 600;
    return left < 0 ||
           vmbi_json_set_int(spec, "activeDeadlineSeconds",
                             seconds < INT32_MAX ? seconds : INT32_MAX);
}

static vmb_code begin_pod(disks *d, const vmbi_json *instance_spec, vmb_error **err)
{
    uint8_t random[4];
    char hex[9];
    vmbi_random(random, sizeof(random));
    vmbi_hex(random, sizeof(random), hex);
    (void)snprintf(d->name, sizeof(d->name), "vmbackup-restore-%s", hex);
    d->doc = vmbi_json_object();
    vmbi_json *meta = vmbi_json_ensure_object(d->doc, "metadata");
    vmbi_json *labels = vmbi_json_ensure_object(meta, "labels");
    vmbi_json *notes = vmbi_json_ensure_object(meta, "annotations");
    vmbi_json *spec = vmbi_json_ensure_object(d->doc, "spec");
    bool ok = notes != NULL && labels != NULL && spec != NULL;
    ok = ok && vmbi_json_set_str(d->doc, "apiVersion", "v1") &&
         vmbi_json_set_str(d->doc, "kind", "Pod") && vmbi_json_set_str(meta, "name", d->name) &&
         vmbi_json_set_str(meta, "namespace", d->item->target);
    ok = ok && vmbi_json_set_str(labels, "velero.io/exclude-from-backup", "true") &&
         vmbi_json_set_str(notes, "vmbackup.io/restores-disks-of", d->item->name) &&
         vmbi_restore_label(d->r, d->doc);
    ok = ok && vmbi_json_set_str(spec, "restartPolicy", "Never") &&
         vmbi_json_set_bool(spec, "automountServiceAccountToken", false) &&
         vmbi_json_set_bool(spec, "enableServiceLinks", false) &&
         vmbi_json_set_int(spec, "terminationGracePeriodSeconds", 0) &&
         set_deadline(d->r, spec) && copy_placing(spec, instance_spec) &&
         vmbi_json_set(spec, "volumes", vmbi_json_array());
    if (!ok) {
        return vmbi_fail_nomem(err);
    }
    vmb_code rc = vmbi_fill_pod_init(&d->pod, d->item->target, d->name, d->r->uid, err);
    d->pod.marks = true;
    d->pod.clean = true;
    return rc;
}

static vmb_code add_disk(disks *d, const char *claim, const vmbi_json *live,
                         const vmbi_json *record, vmb_error **err)
{
    char volume[32];
    (void)snprintf(volume, sizeof(volume), "disk-%zu", d->pod.n);
    bool is_disk = vmbi_streq(vmbi_json_path_str(live, "spec.volumeMode"), "Block");
    vmbi_json *v = vmbi_json_object();
    vmbi_json *ref = vmbi_json_ensure_object(v, "persistentVolumeClaim");
    bool ok = ref != NULL && vmbi_json_set_str(v, "name", volume) &&
              vmbi_json_set_str(ref, "claimName", claim) &&
              vmbi_json_append(vmbi_json_path(d->doc, "spec.volumes"), vmbi_json_ref(v));
    vmbi_json_free(v);
    return ok ? vmbi_fill_pod_add(&d->pod, volume, record, is_disk, err) : vmbi_fail_nomem(err);
}

/* Its container ends when the disks are filled, should we not be allowed to remove it. */
static bool add_container(disks *d)
{
    vmbi_json *spec = vmbi_json_get(d->doc, "spec");
    vmbi_json *c = vmbi_restore_wait_container(d->r, spec);
    vmbi_json *list = vmbi_json_array();
    bool ok = c != NULL && vmbi_restore_add_wait_volume(spec) &&
              vmbi_restore_mount(c, VMBI_WAIT_VOLUME, "/restores/");
    for (size_t i = 0; i < d->pod.n && ok; i++) {
        ok = vmbi_restore_mount(c, d->pod.v[i].name, d->pod.v[i].is_disk ? "/dev/" : "/volumes/");
    }
    ok = ok && vmbi_json_append(list, vmbi_json_ref(c)) &&
         vmbi_json_set(spec, "containers", vmbi_json_ref(list));
    vmbi_json_free(c);
    vmbi_json_free(list);
    return ok;
}

static vmb_code create_pod(disks *d, vmb_error **err)
{
    char *text = NULL;
    size_t len = 0;
    if (!add_container(d)) {
        return vmbi_fail_nomem(err);
    }
    vmb_code rc = vmbi_json_to_text(d->doc, &text, &len, err);
    if (rc == VMB_OK) {
        const vmbi_restore_place at = {"", "v1", "pods", d->item->target, d->name};
        rc = vmbi_restore_post(d->r, &at, text, len, &d->lost, err);
        d->lost = d->lost || rc == VMB_E_CANCELLED;
        if (rc == VMB_E_EXISTS && d->lost) { /* the name is random: it is ours */
            vmb_error_free(vmbi_steal(err));
            rc = VMB_OK;
        }
    }
    vmb_free(text);
    return rc == VMB_OK ? rc : vmbi_wrap(err, rc, "make the pod that holds its disks");
}

static void remove_pod(disks *d)
{
    vmb_error *why = NULL;
    vmb_job job = d->r->job; /* also for a restore that was cancelled */
    job.limits = vmbi_limits_within(NULL, d->r->ctx->settings.resource_timeout_ns);
    vmb_code rc = vmbi_cluster_remove(&d->r->cluster, &job, "", "v1", "pods", d->item->target,
                                      d->name, &why);
    if (rc != VMB_OK && rc != VMB_E_NOT_FOUND) {
        vmbi_restore_warn(d->r, d->item->target, why,
                          "the pod %s, which held disks of %s, could not be removed", d->name,
                          d->item->name);
    }
    vmb_error_free(why);
}

/* ---- which disks --------------------------------------------------------------------------- */

/* Only a claim that says that its content is to come: it is ours, and nothing has used it. */
static vmb_code look_at(disks *d, const char *claim, const vmbi_json *instance_spec,
                        vmb_error **err)
{
    const vmbi_json *record =
        claim != NULL ? vmbi_restore_record_of_claim(d->r, d->item->ns, claim) : NULL;
    vmbi_json *live = NULL;
    vmb_code rc = record != NULL ? get_claim(d->r, d->item->target, claim, &live, err) : VMB_OK;
    if (vmbi_json_get(vmbi_json_path(live, "metadata.annotations"), VMBI_CONTENT_NOTE) != NULL) {
        if (d->doc == NULL) {
            rc = begin_pod(d, instance_spec, err);
        }
        if (rc == VMB_OK) {
            rc = add_disk(d, claim, live, record, err);
        }
        if (rc == VMB_OK) {
            rc = vmbi_restore_note_tried(d->r, d->item->target, claim, err);
        }
    }
    vmbi_json_free(live);
    return rc;
}

/* A machine that was started in spite of its empty disks: they are in use. Where that cannot be
 * told, nothing is written to them. */
static vmb_code check_stopped(disks *d, vmb_error **err)
{
    vmbi_buf text = VMBI_BUF_INIT(VMBI_OBJECT_MAX_BYTES);
    vmb_error *why = NULL;
    vmb_code rc =
        vmbi_cluster_get(&d->r->cluster, &d->r->job, "kubevirt.io", NULL,
                         "virtualmachineinstances", d->item->target, d->item->name, &text, &why);
    vmbi_buf_free(&text);
    d->stopped = rc == VMB_E_NOT_FOUND;
    if (rc != VMB_OK && !d->stopped) {
        vmbi_error_move(err, &why);
        return vmbi_wrap(err, rc, "look whether the machine runs");
    }
    vmb_error_free(why);
    return d->stopped ? VMB_OK
                      : vmbi_fail(err, VMB_E_STATE, "the machine runs: its disks are in use");
}

static vmb_code fill(disks *d, vmb_error **err)
{
    vmb_code rc = check_stopped(d, err);
    if (rc != VMB_OK) {
        return rc;
    }
    if (!vmbi_restore_has_filler(d->r)) {
        return vmbi_fail(err, VMB_E_UNSUPPORTED,
                         "no volume provider is registered that can fill its disks");
    }
    rc = create_pod(d, err);
    if (rc != VMB_OK) {
        if (d->lost) {
            remove_pod(d);
        }
        return rc;
    }
    while (!vmbi_fill_pod_step(d->r, &d->pod) && !vmbi_restore_is_broken(d->r)) {
        int64_t left = d->pod.due_ns - vmbi_mono_ns();
        rc = left > 0 ? vmbi_limits_sleep(&d->r->job.limits, left, err, "fill disks") : VMB_OK;
        if (rc != VMB_OK) {
            break;
        }
    }
    remove_pod(d);
    return rc;
}

bool vmbi_restore_fill_machine(vmbi_restore *r, vmbi_ritem *item,
                               const vmbi_json *instance_spec)
{
    static const char *const paths[] = {"persistentVolumeClaim.claimName", "dataVolume.name"};
    const vmbi_json *volumes = vmbi_json_get(instance_spec, "volumes");
    disks d = {.r = r, .item = item};
    vmb_error *why = NULL;
    vmb_code rc = VMB_OK;
    for (size_t i = 0; i < vmbi_json_len(volumes) && rc == VMB_OK; i++) {
        for (size_t k = 0; k < VMBI_ARRAY_LEN(paths) && rc == VMB_OK; k++) {
            rc = look_at(&d, vmbi_json_path_str(vmbi_json_at(volumes, i), paths[k]), instance_spec,
                         &why);
        }
    }
    if (rc == VMB_OK && d.pod.n > 0) {
        rc = fill(&d, &why);
    }
    bool good = rc == VMB_OK && d.pod.failed == 0 && d.pod.next == d.pod.n;
    if (rc != VMB_OK && !vmbi_restore_is_over(r, rc, &why)) {
        vmbi_restore_error(r, item->target, why, "disks of %s are not restored", item->name);
    }
    item->skip = item->skip || (!good && (!d.stopped || vmbi_restore_is_broken(r)));
    vmb_error_free(why);
    vmbi_fill_pod_done(&d.pod);
    vmbi_json_free(d.doc);
    return good;
}
