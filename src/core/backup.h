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

    vmbi_freeze *freezes;
    size_t n_freezes;
    int64_t hooks_attempted;
    int64_t hooks_failed;
    int64_t snapshots_attempted;
    int64_t snapshots_completed;
    int64_t start_unix_ns;
    int64_t completion_unix_ns;
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

/* ---- volumes.c ------------------------------------------------------------------------------- */

/* Decides about a claim and starts its snapshot, if it is to have one. pods: the pods of its
 * block (Pod objects). *out: the volume, NULL when the claim needs none; borrowed from b.
 * *failed: the claim's item must not be stored. */
vmb_code vmbi_volume_begin(vmbi_backup *b, const vmbi_json *claim, const vmbi_json *const *pods,
                           size_t n_pods, vmbi_volume **out, bool *failed, vmb_error **err);
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
/* Gives up every snapshot that is not finished (only lets go of it when the backup is to `keep`),
 * and frees all. */
void vmbi_volumes_done(vmbi_backup *b);

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
