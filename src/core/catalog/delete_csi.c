/* SPDX-License-Identifier: Apache-2.0 */
/* Removing a snapshot in the storage through the cluster. Only the driver's sidecar deletes there,
 * and only when a content with policy Delete, a handle in its status and the finalizer goes away. A
 * content that is gone from the cluster, as Velero leaves it, is therefore made anew for a moment. */
#include "core/catalog/parts.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/strs.h"
#include "codec/digest.h"
#include "core/cluster.h"
#include "model/labelname.h"

#define GROUP "snapshot.storage.k8s.io"
#define MARKS "snapshot.storage.kubernetes.io/" /* in front of finalizers and annotations */
#define WAIT_NS (120 * VMBI_SECOND)
#define PAUSE_NS (250 * VMBI_MS)
#define CLEAN_UP_NS (10 * VMBI_SECOND)

static const char contents[] = "volumesnapshotcontents";
static const char finalizer[] = MARKS "volumesnapshotcontent-bound-protection";

typedef struct dropper {
    vmb_cluster *cluster;
    vmb_job *job;
    const char *backup;
    const vmbi_json *saved;
    const char *handle;
} dropper;

/* ---- steps --------------------------------------------------------------------------------- */

/* *out NULL: it does not exist. */
static vmb_code get(dropper *d, const char *resource, const char *ns, const char *name,
                    vmbi_json **out, vmb_error **err)
{
    vmbi_buf text = VMBI_BUF_INIT(VMBI_OBJECT_MAX_BYTES);
    vmb_error *why = NULL;
    vmb_code rc = vmbi_cluster_get(d->cluster, d->job, GROUP, NULL, resource, ns, name, &text,
                                   &why);
    *out = NULL;
    if (rc == VMB_OK) {
        rc = vmbi_json_parse(text.data, text.len, name, out, &why);
    }
    vmbi_buf_free(&text);
    if (rc == VMB_E_NOT_FOUND) {
        vmb_error_free(why);
        return VMB_OK;
    }
    vmbi_error_move(err, &why);
    return rc;
}

/* What is gone already is no failure. */
static vmb_code ignore_missing(vmb_code rc, vmb_error **why, vmb_error **err)
{
    if (rc == VMB_E_NOT_FOUND) {
        vmb_error_free(*why);
        return VMB_OK;
    }
    vmbi_error_move(err, why);
    return rc;
}

static vmb_code remove_object(dropper *d, const char *resource, const char *ns, const char *name,
                              vmb_error **err)
{
    vmb_error *why = NULL;
    vmb_code rc = vmbi_cluster_remove(d->cluster, d->job, GROUP, NULL, resource, ns, name, &why);
    return ignore_missing(rc, &why, err);
}

static vmb_code patch_content(dropper *d, const char *name, const char *patch, vmb_error **err)
{
    vmb_error *why = NULL;
    vmb_code rc = vmbi_cluster_patch(d->cluster, d->job, GROUP, NULL, contents, NULL, name, NULL,
                                     VMB_PATCH_MERGE, patch, strlen(patch), NULL, &why);
    return ignore_missing(rc, &why, err);
}

/* The driver says that the snapshot does not exist (any more). */
static bool is_gone_in_storage(const vmbi_json *content)
{
    const char *text = vmbi_json_path_str(content, "status.error.message");
    return text != NULL && strstr(text, "code = NotFound") != NULL;
}

typedef enum waiting_for { FOR_HANDLE, FOR_END } waiting_for;

/* Waits until the content has a handle in its status, or has gone. *nothing: there is no snapshot
 * in the storage. */
static vmb_code wait_for(dropper *d, const char *name, waiting_for what, bool *nothing,
                         vmb_error **err)
{
    int64_t end = vmbi_mono_ns() + WAIT_NS;
    vmb_code rc = VMB_OK;
    char last[200] = "";
    while (rc == VMB_OK) {
        vmbi_json *c = NULL;
        rc = get(d, contents, NULL, name, &c, err);
        const char *text = vmbi_json_path_str(c, "status.error.message");
        bool done = rc == VMB_OK &&
                    (c == NULL || (what == FOR_HANDLE &&
                                   vmbi_json_path_str(c, "status.snapshotHandle") != NULL));
        *nothing = c != NULL && is_gone_in_storage(c);
        (void)snprintf(last, sizeof(last), "%.199s", text != NULL ? text : "");
        vmbi_json_free(c);
        if (rc != VMB_OK || done || *nothing) {
            break;
        }
        if (vmbi_mono_ns() >= end) {
            vmbi_text_clean(last, false);
            return vmbi_fail(err, VMB_E_TIMEOUT,
                             "content %s: %s within %d seconds: %s", name,
                             what == FOR_HANDLE ? "the driver did not take it up"
                                                : "it did not go away",
                             (int)(WAIT_NS / VMBI_SECOND),
                             last[0] != '\0' ? last : "is the driver's sidecar running?");
        }
        rc = vmbi_limits_sleep(&d->job->limits, PAUSE_NS, err, "remove a snapshot");
    }
    return rc;
}

/* ---- a content that is in the cluster still ------------------------------------------------- */

static bool is_of_backup(const dropper *d, const vmbi_json *content)
{
    char label[VMBI_LABEL_NAME_SIZE];
    const char *of = vmbi_json_get_str(vmbi_json_path(content, "metadata.labels"),
                                       "velero.io/backup-name");
    const char *handle = vmbi_json_path_str(content, "status.snapshotHandle");
    vmbi_label_valid_name(d->backup, label);
    return (vmbi_streq(of, label) || vmbi_streq(of, d->backup)) && vmbi_streq(handle, d->handle);
}

/* With its snapshot object when that is bound to it, which makes the controller delete both. */
static vmb_code drop_live(dropper *d, const vmbi_json *content, vmb_error **err)
{
    const char *name = vmbi_json_path_str(content, "metadata.name");
    const char *ns = vmbi_json_path_str(content, "spec.volumeSnapshotRef.namespace");
    const char *vs_name = vmbi_json_path_str(content, "spec.volumeSnapshotRef.name");
    const char *uid = vmbi_json_path_str(content, "spec.volumeSnapshotRef.uid");
    vmbi_json *vs = NULL;
    bool nothing = false;
    vmb_code rc = patch_content(d, name, "{\"spec\":{\"deletionPolicy\":\"Delete\"}}", err);
    if (rc == VMB_OK && ns != NULL && vs_name != NULL) {
        rc = get(d, "volumesnapshots", ns, vs_name, &vs, err);
    }
    if (rc == VMB_OK && vs != NULL && vmbi_streq(vmbi_json_path_str(vs, "metadata.uid"), uid)) {
        rc = remove_object(d, "volumesnapshots", ns, vs_name, err);
    } else if (rc == VMB_OK) {
        rc = patch_content(d, name,
                           "{\"metadata\":{\"annotations\":{\"" MARKS
                           "volumesnapshot-being-deleted\":\"yes\"}}}", err);
        if (rc == VMB_OK) {
            rc = remove_object(d, contents, NULL, name, err);
        }
    }
    vmbi_json_free(vs);
    return rc == VMB_OK ? wait_for(d, name, FOR_END, &nothing, err) : rc;
}

/* ---- a content for a moment ------------------------------------------------------------------ */

static bool set_metadata(const dropper *d, vmbi_json *content, const char *name)
{
    static const char *const secrets[] = {MARKS "deletion-secret-name",
                                          MARKS "deletion-secret-namespace"};
    char label[VMBI_LABEL_NAME_SIZE];
    const vmbi_json *noted = vmbi_json_path(d->saved, "metadata.annotations");
    vmbi_json *meta = vmbi_json_ensure_object(content, "metadata");
    vmbi_json *labels = meta != NULL ? vmbi_json_ensure_object(meta, "labels") : NULL;
    vmbi_json *finalizers = vmbi_json_array();
    bool ok = finalizers != NULL && vmbi_json_append_str(finalizers, finalizer);
    vmbi_label_valid_name(d->backup, label);
    ok = ok && labels != NULL && vmbi_json_set_str(labels, "velero.io/backup-name", label) &&
         vmbi_json_set_str(meta, "name", name) &&
         vmbi_json_set(meta, "finalizers", vmbi_json_ref(finalizers));
    for (size_t i = 0; i < VMBI_ARRAY_LEN(secrets) && ok; i++) {
        const char *value = vmbi_json_get_str(noted, secrets[i]);
        vmbi_json *annotations = value != NULL ? vmbi_json_ensure_object(meta, "annotations") : NULL;
        ok = value == NULL ||
             (annotations != NULL && vmbi_json_set_str(annotations, secrets[i], value));
    }
    vmbi_json_free(finalizers);
    return ok;
}

/* It refers to a snapshot object that never existed, as a pre-provisioned content may. */
static bool set_spec(const dropper *d, vmbi_json *content, const char *uuid)
{
    char ns[64];
    char name[64];
    const char *driver = vmbi_json_path_str(d->saved, "spec.driver");
    vmbi_json *mode = vmbi_json_path(d->saved, "spec.sourceVolumeMode");
    vmbi_json *spec = vmbi_json_ensure_object(content, "spec");
    vmbi_json *source = spec != NULL ? vmbi_json_ensure_object(spec, "source") : NULL;
    vmbi_json *ref = spec != NULL ? vmbi_json_ensure_object(spec, "volumeSnapshotRef") : NULL;
    (void)snprintf(ns, sizeof(ns), "ns-%s", uuid);
    (void)snprintf(name, sizeof(name), "name-%s", uuid);
    return source != NULL && ref != NULL && driver != NULL &&
           vmbi_json_set_str(spec, "deletionPolicy", "Delete") &&
           vmbi_json_set_str(spec, "driver", driver) &&
           vmbi_json_set_str(source, "snapshotHandle", d->handle) &&
           vmbi_json_set_str(ref, "apiVersion", GROUP "/v1") &&
           vmbi_json_set_str(ref, "kind", "VolumeSnapshot") &&
           vmbi_json_set_str(ref, "namespace", ns) && vmbi_json_set_str(ref, "name", name) &&
           (mode == NULL || vmbi_json_set(spec, "sourceVolumeMode", vmbi_json_ref(mode)));
}

static vmb_code create_content(dropper *d, const char *name, const char *uuid, vmb_error **err)
{
    vmbi_buf text = VMBI_BUF_INIT(1024 * 1024);
    vmbi_json *c = vmbi_json_object();
    bool ok = c != NULL && vmbi_json_set_str(c, "apiVersion", GROUP "/v1") &&
              vmbi_json_set_str(c, "kind", "VolumeSnapshotContent") && set_metadata(d, c, name) &&
              set_spec(d, c, uuid);
    vmb_code rc = ok ? vmbi_json_print(c, &text, err) : vmbi_fail_nomem(err);
    if (rc == VMB_OK) {
        rc = vmbi_cluster_create(d->cluster, d->job, GROUP, NULL, contents, NULL, text.data,
                                 text.len, NULL, err);
    }
    vmbi_json_free(c);
    vmbi_buf_free(&text);
    return rc != VMB_OK ? vmbi_wrap(err, rc, "create content %s", name) : VMB_OK;
}

/* The content goes in any case, also after cancellation: nobody else knows of it. Without a handle in
 * its status it goes without the data. */
static vmb_code drop_anew(dropper *d, vmb_error **err)
{
    char uuid[37];
    char name[64];
    bool nothing = false;
    dropper last = *d;
    vmb_job own = *d->job;
    vmbi_uuid4(uuid);
    (void)snprintf(name, sizeof(name), "vsc-%s", uuid);
    vmb_code rc = create_content(d, name, uuid, err);
    if (rc != VMB_OK) {
        return rc;
    }
    rc = wait_for(d, name, FOR_HANDLE, &nothing, err);
    vmb_error *why = NULL;
    own.limits = vmbi_limits_within(NULL, CLEAN_UP_NS);
    last.job = rc == VMB_OK ? d->job : &own;
    vmb_code removed = remove_object(&last, contents, NULL, name, &why);
    if (removed == VMB_OK && rc == VMB_OK) {
        bool ignored = false;
        removed = wait_for(d, name, FOR_END, &ignored, &why);
    }
    if (rc == VMB_OK) {
        rc = removed;
        vmbi_error_move(err, &why);
    }
    vmb_error_free(why);
    return rc;
}

vmb_code vmbi_catalog_drop_content(vmb_catalog *cat, vmb_job *job, const vmbi_json *content,
                                   const char *backup, vmb_error **err)
{
    const char *name = vmbi_json_path_str(content, "metadata.name");
    dropper d = {job->cluster, job, backup, content,
                 vmbi_json_path_str(content, "status.snapshotHandle")};
    vmbi_json *live = NULL;
    (void)cat;
    name = name != NULL ? name : "";
    if (d.handle == NULL || vmbi_json_path_str(content, "spec.driver") == NULL) {
        return vmbi_fail(err, VMB_E_INVALID,
                         "content %s: the archive has no snapshot handle or driver of it", name);
    }
    vmb_code rc = get(&d, contents, NULL, name, &live, err);
    if (rc == VMB_OK) {
        rc = live != NULL && is_of_backup(&d, live) ? drop_live(&d, live, err)
                                                    : drop_anew(&d, err);
    }
    vmbi_json_free(live);
    return rc != VMB_OK ? vmbi_wrap(err, rc, "snapshot %s", d.handle) : VMB_OK;
}
