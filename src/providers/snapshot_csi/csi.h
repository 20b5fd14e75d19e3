/* SPDX-License-Identifier: Apache-2.0 */
/* One CSI snapshot, from its class to its release. Private to this provider.
 * Source: external-snapshotter 8.6 client/apis/volumesnapshot/v1/types.go, Velero 1.18
 * pkg/backup/actions/csi, pkg/util/csi/volume_snapshot.go. */
#ifndef VMBI_SNAPSHOT_CSI_H
#define VMBI_SNAPSHOT_CSI_H

#include <vmbackup/provider.h>

#include "codec/json.h"
#include "providers/common/objects.h"
#include "providers/common/runcache.h"

#define VMBI_CSI_GROUP "snapshot.storage.k8s.io"
#define VMBI_CSI_ANNOTATIONS "snapshot.storage.kubernetes.io/"

typedef struct vmbi_csi {
    int64_t poll_ns;         /* longest pause between two looks */
    int64_t cleanup_ns;      /* how long the removal of a snapshot is watched */
    int64_t grace_ns;        /* how long an error that cannot heal must stand before it counts */
    vmbi_run_cache *classes; /* text of the list of classes */
} vmbi_csi;

typedef struct vmbi_csi_op {
    vmbi_json *volume; /* {"pvc","pv","storageClass"} */
    const char *ns;    /* of the claim; borrowed from volume, as the next two */
    const char *claim;
    const char *driver;
    char *backup_name;
    char *backup_uid;
    char backup_label[VMBI_LABEL_SIZE];
    vmbi_json *snapshot_class;
    char *vs_name;
    char *operation_id;
    vmbi_json *vs;  /* as last seen; NULL: not yet */
    vmbi_json *vsc; /* as last seen; NULL: not yet */
    char *vsc_name; /* NULL: not bound yet */
    /* Creation whose outcome is unknown (the answer was lost). The object may exist. */
    vmb_error *create_error;
    char *last_error;      /* what the controllers or the API server said last; NULL nothing */
    int64_t pause_ns;      /* before the next look */
    int64_t stuck_mono_ns; /* since when an error that cannot heal stands; 0: none */
    int64_t ready_unix_ns; /* 0: not ready */
    int ready_looks;       /* at a content that is ready while its snapshot does not say so yet */
    int32_t state;
    bool released;
} vmbi_csi_op;

void vmbi_csi_op_free(vmbi_csi_op *op);
/* Puts "snapshot ns/name of claim ns/claim, driver d: " in front of the message. */
vmb_code vmbi_csi_wrap(const vmbi_csi_op *op, vmb_error **err, vmb_code code);

/* Chooses the VolumeSnapshotClass for a claim (classes.c). */
vmb_code vmbi_csi_choose_class(const vmbi_csi *csi, vmb_job *job, const vmbi_json *claim,
                               const vmbi_json *backup, const char *driver, vmbi_json **out,
                               vmb_error **err);
/* The list of classes as text, for the run's cache. */
vmb_code vmbi_csi_list_classes(vmb_job *job, const char *key, void **value, vmb_error **err);

/* begin.c, watch.c, describe.c, release.c */
vmb_code vmbi_csi_begin(void *user, vmb_job *job, const char *volume, size_t len, void **op,
                        vmb_error **err);
vmb_code vmbi_csi_poll(void *user, vmb_job *job, void *op, int64_t wait_ns, int32_t *state,
                       vmb_error **err);
vmb_code vmbi_csi_describe(void *user, vmb_job *job, void *op, vmb_sink *out, vmb_error **err);
vmb_code vmbi_csi_finish(void *user, vmb_job *job, void *op, vmb_error **err);
vmb_code vmbi_csi_cancel(void *user, vmb_job *job, void *op, vmb_error **err);

/* Fetches the VolumeSnapshot or the content anew. *out NULL: it does not exist. A failure that may
 * pass is noted in last_error and reported as *unsure; the object is then unknown. */
vmb_code vmbi_csi_look_vs(vmbi_csi_op *op, vmb_job *job, vmbi_json **out, bool *unsure,
                          vmb_error **err);
vmb_code vmbi_csi_look_vsc(vmbi_csi_op *op, vmb_job *job, const char *name, vmbi_json **out,
                           bool *unsure, vmb_error **err);
/* Size in bytes that a volume made from the snapshot needs; 0 unknown. */
int64_t vmbi_csi_restore_size(const vmbi_csi_op *op);

#endif
