/* SPDX-License-Identifier: Apache-2.0 */
/* The working state of one backup, shared by the steps that make it: collect, block, hooks,
 * volumes, finish. One thread owns it. */
#ifndef VMBI_CORE_BACKUP_H
#define VMBI_CORE_BACKUP_H

#include "base/job.h"
#include "base/map.h"
#include "core/archive.h"
#include "core/cluster.h"
#include "core/context.h"
#include "core/events.h"
#include "core/runlog.h"
#include "core/store.h"
#include "model/filter.h"
#include "model/hooks.h"
#include "model/policy.h"

typedef struct vmbi_block vmbi_block; /* block.h */

/* One claim that the backup considered: snapshotted, or skipped with a reason. */
typedef struct vmbi_volume {
    char *ns;
    char *claim;
    char *pv;
    vmbi_json *pv_info;                     /* {"reclaimPolicy","labels"}; NULL unknown */
    const vmb_snapshot_provider *provider;  /* NULL: not snapshotted */
    void *op;                               /* open operation, NULL otherwise */
    int32_t state;                          /* VMB_SNAPSHOT_… */
    bool failed;
    bool finished; /* the store holds what the archive needs of it */
    char *skip_reason;                      /* Velero's skippedReason; NULL when not skipped */
    int64_t start_unix_ns;
    int64_t cut_unix_ns;
    vmbi_json *info;      /* entry of volumeinfo.json, once described */
    vmbi_json *operation; /* entry of itemoperations.json; NULL none */
} vmbi_volume;

typedef enum vmbi_fs_state {
    VMBI_FS_WAITING,
    VMBI_FS_RUNNING,
    VMBI_FS_SAVED,
    VMBI_FS_FAILED,
    VMBI_FS_REFUSED /* was not even begun: Velero would have made no PodVolumeBackup */
} vmbi_fs_state;

/* One volume of a pod that is saved by filesystem backup. While its block is saved, the fields from
 * `state` on belong to the thread that saves it, under the lock of fsbackup.c. */
typedef struct vmbi_pod_volume {
    char *ns;
    char *pod;
    char *pod_uid;
    char *node;
    char *volume;       /* its name in the pod's spec */
    char *claim;        /* NULL: the volume has none */
    char *claim_uid;
    char *pv;           /* NULL: not known */
    vmbi_json *pv_info; /* {"reclaimPolicy","labels"}; NULL unknown */
    vmbi_json *tags;    /* Velero's */
    const vmb_volume_provider *provider;
    char *document;     /* what the provider is told; NULL once it is saved */
    size_t document_len;

    vmbi_fs_state state;
    bool told;          /* the present state was made known */
    int64_t done_bytes;
    int64_t total_bytes; /* -1 not known */
    int64_t start_unix_ns;
    int64_t completion_unix_ns;
    char *result;       /* what the provider wrote, JSON */
    size_t result_len;
    vmb_error *why;     /* of a failure */
} vmbi_pod_volume;

/* How long a guest was held by its hooks: from the start of the first pre hook to the end of the
 * last post hook. */
typedef struct vmbi_freeze {
    char *ns;
    char *pod;
    int64_t duration_ns;
} vmbi_freeze;

typedef struct vmbi_backup {
    vmb_ctx *ctx;
    const char *name;      /* metadata.name, borrowed from resource */
    vmbi_json *resource;   /* the Backup with defaults; status is added at the end */
    char *resource_json;   /* the same as text, for providers */
    vmb_job job;           /* limits, log, cluster */
    vmb_cluster cluster;
    vmbi_strs namespaces;          /* all that exist; until the filter is built */
    vmbi_strs excluded_namespaces; /* those labelled to be left out */
    vmbi_policy *policy; /* volume policy; NULL: none */
    vmbi_json *snapshot_locations; /* array of the chosen ones; NULL: none were looked for */
    vmbi_filter *filter;
    vmbi_hooks *hooks;
    vmbi_store store;
    vmbi_archive archive;
    vmbi_runlog log;
    vmbi_events *events;   /* of the run */

    vmbi_keyset seen;          /* items that were taken or are being taken */
    vmbi_map used_namespaces;  /* a namespaced item was collected there; values are not used */
    vmbi_map used_resources;   /* "plural.group" of stored items; values are not used */

    vmbi_volume **volumes;
    size_t n_volumes;
    size_t failed_open; /* volumes that have failed and whose snapshot is not given up yet */

    vmbi_pod_volume **pod_volumes;
    size_t n_pod_volumes;
    vmbi_map fs_claims;     /* "ns/claim" given to filesystem backup: its vmbi_pod_volume */
    vmbi_map fs_skips;      /* "ns/claim" that a pod did not give to it: why, as Velero writes it */
    vmbi_map fs_namespaces; /* namespaces whose pods were looked at: claims that they give to it */
    bool stored;            /* the backup is in the store */

    vmbi_freeze *freezes;
    size_t n_freezes;
    int64_t hooks_attempted;
    int64_t hooks_failed;
    int64_t snapshots_attempted;
    int64_t snapshots_completed;
    int64_t start_unix_ns;
    int64_t start_mono_ns;
    int64_t completion_unix_ns;
    struct vmbi_plan *plan; /* a dry run notes here; NULL: a backup */
    bool keep; /* failed, but files and snapshots may belong to a backup that is listed */
} vmbi_backup;

/* Key of an item in `seen`. ns NULL or "": cluster-scoped. */
vmbi_key16 vmbi_item_key(const char *group_resource, const char *ns, const char *name);

/* Is this a name that the archive can hold: no "", ".", "..", no '/', no control character? */
bool vmbi_item_name_ok(const char *name);
/* Can the backup go on after this failure of an item or a list? */
bool vmbi_backup_is_over(const vmbi_backup *b, vmb_code rc);

/* ---- block.c: an item with everything that must be taken together with it ------------------- */

/* Takes an object: runs actions over it and what it names, hooks and snapshots around pods and
 * claims, and writes all of it. The object's key is in `seen` already. Problems of single items go
 * to the log; a failure is returned only when the backup cannot go on (cancelled, archive broken,
 * out of memory). */
vmb_code vmbi_block_take(vmbi_backup *b, const vmbi_resource *res, const char *ns,
                         const char *name, const char *json, size_t len, vmb_error **err);
/* Writes one object as it is. */
vmb_code vmbi_backup_write(vmbi_backup *b, const vmbi_resource *res, const char *ns,
                           const char *name, const char *json, size_t len,
                           const vmbi_object_scan *scan, vmb_error **err);

/* ---- hookrun.c ------------------------------------------------------------------------------ */

/* Runs the hooks of one phase in a pod; *failed becomes true when one that must not fail did.
 * Post hooks ignore the run's cancellation, not their own timeouts. */
void vmbi_hooks_run(vmbi_backup *b, const char *ns, const char *pod, const vmbi_hook_list *hooks,
                    vmbi_hook_phase phase, bool *failed);
vmb_code vmbi_backup_note_freeze(vmbi_backup *b, const char *ns, const char *pod,
                                 int64_t duration_ns, vmb_error **err);

/* ---- snapshotlocations.c -------------------------------------------------------------------- */

/* Chooses the VolumeSnapshotLocations of the backup and names them in its spec; what is wrong goes to
 * problems. */
vmb_code vmbi_snapshot_locations_load(vmbi_backup *b, vmbi_problems *problems, vmb_error **err);
/* Fails when Velero would save the volume through one of them, which is not done here. */
vmb_code vmbi_snapshot_refuse_native(const vmbi_backup *b, const vmbi_json *pv, vmb_error **err);

/* ---- volumes.c: claims ------------------------------------------------------------------------ */

/* Reads the policy that spec.resourcePolicy names; what is wrong with it goes to problems. */
vmb_code vmbi_volumes_load_policy(vmbi_backup *b, vmbi_problems *problems, vmb_error **err);

/* Decides about a claim of a block and starts its snapshot, if it is to have one; the pods of the
 * block have been decided about. *out: the volume, NULL when the claim has no snapshot; borrowed
 * from b. *failed: the claim's item must not be stored. */
vmb_code vmbi_volume_begin(vmbi_backup *b, vmbi_block *blk, const vmbi_json *claim,
                           vmbi_volume **out, bool *failed, vmb_error **err);
void vmbi_volume_free(vmbi_volume *v);
vmb_code vmbi_volume_new(vmbi_backup *b, const vmbi_json *claim, const vmbi_json *pv,
                         vmbi_volume **out, vmb_error **err);
/* Notes that a claim has no snapshot, and why. */
vmb_code vmbi_volume_skip(vmbi_backup *b, const vmbi_json *claim, const vmbi_json *pv,
                          const char *reason, vmb_error **err);
void vmbi_volume_event(vmbi_backup *b, const vmbi_volume *v, const char *text);
/* {"reclaimPolicy","labels"} of a volume; NULL when memory is out. */
vmbi_json *vmbi_volume_pv_info(const vmbi_json *pv);
/* An object as a tree, of the block or else of the cluster; *out is a reference, NULL when it does
 * not exist. */
vmb_code vmbi_volume_object(vmbi_backup *b, vmbi_block *blk, const char *group,
                            const char *resource, const char *ns, const char *name,
                            vmbi_json **out, vmb_error **err);

/* ---- snapshots.c ------------------------------------------------------------------------------ */

/* Starts a claim's snapshot; *out NULL when no provider takes it (which is noted). */
vmb_code vmbi_snapshot_begin(vmbi_backup *b, const vmbi_json *claim, const vmbi_json *pv,
                             const vmbi_json *storage_class, vmbi_volume **out, vmb_error **err);
/* Waits until every one of the volumes is cut or has failed. */
void vmbi_volumes_wait_cut(vmbi_backup *b, vmbi_volume **volumes, size_t n);
/* Removes the snapshots that have failed; to be called while no guest is frozen. */
void vmbi_volumes_drop_failed(vmbi_backup *b);
/* The claim's item as the archive wants it: *item is patched. */
vmb_code vmbi_volume_patch_claim(vmbi_backup *b, vmbi_volume *v, vmbi_json *item, vmb_error **err);
/* Waits until all are ready, writes their objects into the archive and keeps their records. */
vmb_code vmbi_volumes_complete(vmbi_backup *b, vmb_error **err);
/* The backup is stored: release what snapshots need no more. */
void vmbi_volumes_finish(vmbi_backup *b);
/* Gives up every snapshot that is not finished and removes what filesystem backup saved, unless
 * the backup is stored (only lets go of it when it is to `keep`), and frees all. */
void vmbi_volumes_done(vmbi_backup *b);

/* ---- podvolumes.c: what pods give to filesystem backup ------------------------------------------ */

/* Decides about the volumes of a pod. Those to be saved are appended to b->pod_volumes. Problems
 * go to the log; *drop: the pod must not be stored. */
vmb_code vmbi_pod_volumes_choose(vmbi_backup *b, vmbi_block *blk, const vmbi_json *pod, bool *drop,
                                 vmb_error **err);
/* Is the claim given to filesystem backup by annotations and defaults, by whatever pod of its
 * namespace, running or not? */
vmb_code vmbi_claim_is_given(vmbi_backup *b, vmbi_block *blk, const vmbi_json *claim, bool *yes,
                             vmb_error **err);
/* "ns/name" */
vmb_code vmbi_claim_key(const char *ns, const char *claim, vmbi_buf *out, vmb_error **err);
/* Frees a value of fs_namespaces. */
void vmbi_pod_volumes_free_claims(void *p);
void vmbi_pod_volume_free(vmbi_pod_volume *v);

/* ---- fsbackup.c --------------------------------------------------------------------------------- */

/* Saves the pod volumes from number `first` on, in threads; nothing is waited for. *out NULL: there
 * is nothing to save. */
typedef struct vmbi_fs_batch vmbi_fs_batch;
vmb_code vmbi_fs_begin(vmbi_backup *b, size_t first, vmbi_fs_batch **out, vmb_error **err);
/* Waits for all of them, tells and logs what comes of them, and frees the batch (NULL allowed). */
void vmbi_fs_wait(vmbi_fs_batch *batch);
/* Removes what was saved, for a backup that did not become one; frees all. */
void vmbi_fs_done(vmbi_backup *b);

/* ---- podvolumerecords.c ------------------------------------------------------------------------ */

/* The list of podvolumebackups.json.gz: null when there is none; NULL: memory is out. */
vmbi_json *vmbi_pod_volume_records(const vmbi_backup *b);
/* The volume's entry in volumeinfo.json; NULL: memory is out. */
vmbi_json *vmbi_pod_volume_info(const vmbi_pod_volume *v);

/* ---- collect.c ---------------------------------------------------------------------------------- */

/* Names of all namespaces, and of those labelled to be left out. */
vmb_code vmbi_collect_namespaces(vmbi_backup *b, vmbi_strs *all, vmbi_strs *excluded,
                                 vmb_error **err);
/* Takes everything the filter wants. */
vmb_code vmbi_collect(vmbi_backup *b, vmb_error **err);

/* ---- sidefiles.c ---------------------------------------------------------------------------------- */

/* Stores every file of the backup but the archive and velero-backup.json. */
vmb_code vmbi_sidefiles_put(vmbi_backup *b, vmb_error **err);
/* Stores velero-backup.json, which makes the backup visible. */
vmb_code vmbi_metadata_put(vmbi_backup *b, vmb_error **err);
/* What lies under the name of velero-backup.json, asked with limits of its own. */
typedef enum vmbi_metadata_state {
    VMBI_METADATA_ABSENT,
    VMBI_METADATA_OURS,   /* of this very run */
    VMBI_METADATA_OTHERS, /* of another run of this name */
    VMBI_METADATA_UNKNOWN /* the store does not say */
} vmbi_metadata_state;
vmbi_metadata_state vmbi_metadata_look(vmbi_backup *b);
/* Removes velero-backup.json; true when it is gone for sure. */
bool vmbi_metadata_remove(vmbi_backup *b);
/* Removes the files of a backup that did not become whole; problems are only logged. */
void vmbi_sidefiles_remove(vmbi_backup *b);
/* "backups/<name>/<suffix>"; suffix with "%s" in it: the name is put there. */
vmb_code vmbi_backup_file(const char *backup, const char *suffix, vmbi_buf *out, vmb_error **err);

#endif
