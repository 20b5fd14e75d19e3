/* SPDX-License-Identifier: Apache-2.0 */
/* The working state of one restore, shared by the threads that work on it. What changes after the
 * start is guarded by `lock` unless said otherwise; no request is made under it. */
#ifndef VMBI_CORE_RESTORE_RESTORE_H
#define VMBI_CORE_RESTORE_RESTORE_H

#include <pthread.h>

#include "base/job.h"
#include "base/map.h"
#include "core/cluster.h"
#include "core/restore/index.h"
#include "core/run.h"
#include "core/runlog.h"
#include "model/modifiers.h"
#include "model/restore_filter.h"

enum {
    VMBI_RESTORE_WORKERS = 16,  /* requests in flight */
    VMBI_RESTORE_MAX_DEPTH = 16 /* of objects that name objects */
};

/* What became of an object; the names are those of Velero's resource list. */
typedef struct vmbi_restored {
    const char *action; /* "created", "updated", "failed", "skipped"; NULL: in progress */
    bool exists;        /* it is in the cluster now */
} vmbi_restored;

/* How far a restore had come: what it does with pods is not done twice. */
typedef enum vmbi_restore_stage {
    VMBI_RESTORE_OBJECTS, /* nothing but objects */
    VMBI_RESTORE_VOLUMES, /* pod volumes are being filled */
    VMBI_RESTORE_HOOKS    /* commands run in containers */
} vmbi_restore_stage;

typedef struct vmbi_restore {
    vmb_ctx *ctx;
    const char *name;    /* metadata.name, borrowed from resource */
    const char *uid;     /* metadata.uid, borrowed */
    vmbi_json *resource; /* the Restore with defaults; status is added at the end */
    const vmbi_json *spec;
    vmbi_json *backup;       /* the Backup as stored */
    const char *backup_name; /* borrowed from spec */
    vmb_job job;
    vmb_cluster cluster;
    vmbi_discovery *former; /* of before the CRDs came; objects in work may point into it */
    vmbi_store store;
    vmbi_index index;
    vmbi_restore_filter *filter;
    vmbi_events relay;     /* what any thread tells; the run's thread passes it on */
    vmbi_events *events;   /* = &relay */
    vmbi_events *receiver; /* of the run */
    int64_t start_unix_ns;
    int64_t completion_unix_ns;
    bool restore_pvs;   /* spec.restorePVs is not false */
    bool policy_update; /* existingResourcePolicy */
    bool policy_none;
    bool own_uid;             /* the Restore came without one */
    bool noted;               /* the store has the note of a run that has not ended */
    bool resumed;             /* an interrupted run is continued */
    vmbi_restore_stage stage; /* that it had reached */
    int64_t since_unix_ns;    /* the first run's start */
    int64_t passed_by;        /* pods whose hooks may have run; lock */
    char backup_label[64];    /* names as label values */
    char restore_label[64];

    pthread_mutex_t lock;
    pthread_cond_t changed; /* an object is done, with lock */
    vmbi_runlog log;
    vmbi_map items;     /* "gv/Kind|ns|name" -> const vmbi_restored */
    vmbi_map refused;   /* "resource.group|ns": the server fails there; creates do not wait */
    vmbi_map provision; /* names of volumes that are not restored but provisioned anew */
    vmbi_map tried;     /* see podvolumes.h */
    vmbi_json *volumes; /* array: entries of Velero's volumeinfo of restores */
    vmbi_strs order;    /* of resources; read only once objects are restored */
    int64_t total;      /* objects to restore, as far as known */
    int64_t done;
    vmb_code broken; /* why the restore cannot go on; VMB_OK: it can */
    vmb_error *why;

    pthread_mutex_t ns_lock;
    pthread_cond_t ns_changed; /* a namespace is no more busy, with ns_lock */
    vmbi_map namespaces;       /* what is known of targets; ns_lock */
    const vmbi_map *again;     /* targets of this pass; NULL: all. Read only while workers work */

    vmbi_json *volume_pods; /* array of {namespace, name, source…}: pods whose volumes were saved */
    vmbi_json *wait;        /* container that waits for volumes; NULL none; read only */
    vmbi_limits volume_limits; /* for filling volumes; read only */
    vmbi_json *hook_pods;   /* array of {namespace, name, hooks, next}: pods with commands to run */
    int64_t hooks_attempted; /* these two: of the thread that runs hooks */
    int64_t hooks_failed;
    vmbi_modifiers *modifiers; /* NULL: none; read only */
    vmbi_json *class_map;      /* storage class -> another one; NULL none; read only */
    vmbi_json *image_map;      /* rules "old,new" for images; NULL none; read only */

    vmbi_json *volume_info; /* {pv name: entry of the backup's volumeinfo}; read only */
    vmbi_json *pod_volumes; /* array of the backup's PodVolumeBackups; read only, NULL none */
} vmbi_restore;

/* An object in work. */
typedef struct vmbi_ritem {
    const char *group_resource; /* as in the archive */
    const char *ns;             /* of the source; "": cluster-scoped */
    const char *name;           /* in the backup */
    const char *target;         /* namespace in the cluster; "" */
    vmbi_json *obj;             /* changed on its way; owned by restore_item */
    vmbi_json *original;        /* as in the backup */
    int depth;
    int rank;  /* place of its resource in the order */
    bool skip; /* an action drops it */
    bool lost; /* it may have been created without our hearing of it */
} vmbi_ritem;

/* Where an object goes. */
typedef struct vmbi_restore_place {
    const char *group;
    const char *version;
    const char *resource;
    const char *ns; /* NULL: cluster-scoped */
    const char *name;
} vmbi_restore_place;

/* ---- results.c: warnings, errors, what became of objects; any thread ------------------------- */

/* Results as Velero writes them: plain texts, by target namespace ("" : cluster). ns NULL: about
 * the restore itself. why (may be NULL) is put behind the text. */
void vmbi_restore_warn(vmbi_restore *r, const char *ns, const vmb_error *why, const char *fmt, ...)
    VMBI_PRINTF(4, 5);
void vmbi_restore_error(vmbi_restore *r, const char *ns, const vmb_error *why, const char *fmt, ...)
    VMBI_PRINTF(4, 5);
void vmbi_restore_info(vmbi_restore *r, const vmbi_ritem *item, const char *fmt, ...)
    VMBI_PRINTF(3, 4);
/* The restore cannot go on; the first failure counts. Takes the error. */
void vmbi_restore_break(vmbi_restore *r, vmb_code rc, vmb_error **why);
bool vmbi_restore_is_broken(vmbi_restore *r);
/* Is this failure the end of the restore (cancelled, no memory)? Then it is noted as such. */
bool vmbi_restore_is_over(vmbi_restore *r, vmb_code rc, vmb_error **why);
/* Passes events and log lines on to their receivers; on the run's thread only, without the lock. */
void vmbi_restore_relay(vmbi_restore *r);
/* For the log: lines wait for the run's thread. */
void vmbi_restore_log_line(void *user, int32_t level, const char *msg);
/* "pods/ns/name" for messages. */
void vmbi_restore_id(const vmbi_ritem *item, char *out, size_t size);

extern const vmbi_restored vmbi_restored_working;
extern const vmbi_restored vmbi_restored_created;
extern const vmbi_restored vmbi_restored_updated;
extern const vmbi_restored vmbi_restored_skipped;
extern const vmbi_restored vmbi_restored_present; /* skipped, and in the cluster */
extern const vmbi_restored vmbi_restored_failed;
extern const vmbi_restored vmbi_restored_clash; /* failed, and in the cluster */

/* Claims an object; false when another one has: *other tells what became of it. wait: until it is
 * done (only for objects of earlier resources, so that nobody waits for himself). */
bool vmbi_restore_claim(vmbi_restore *r, const char *key, bool wait, const vmbi_restored **other);
void vmbi_restore_settle(vmbi_restore *r, const char *key, const vmbi_restored *what);
/* Velero's list of restored resources. */
vmb_code vmbi_restore_list(vmbi_restore *r, vmbi_buf *out, vmb_error **err);

/* ---- plan.c: resources in order, objects to workers ------------------------------------------ */

vmb_code vmbi_restore_all(vmbi_restore *r, vmb_error **err);

/* ---- item.c: one object ---------------------------------------------------------------------- */

/* Restores an object and what it names. Problems of objects become warnings and errors of the
 * restore. *exists (may be NULL): it is in the cluster. */
void vmbi_restore_item(vmbi_restore *r, const char *group_resource, const char *ns,
                       const char *name, const char *json, size_t len, int depth, bool *exists);
/* Restores an object that another one names, if the archive has it. */
void vmbi_restore_related(vmbi_restore *r, const vmbi_ritem *by, const char *group_resource,
                          const char *ns, const char *name);
int vmbi_restore_rank(const vmbi_restore *r, const char *group_resource);

/* ---- create.c -------------------------------------------------------------------------------- */

/* Creates an object that is ready for it. Returns what became of it. */
const vmbi_restored *vmbi_restore_create(vmbi_restore *r, vmbi_ritem *item);
/* Creates an object with a name, patiently. *lost: it may have been created without an answer. */
vmb_code vmbi_restore_post(vmbi_restore *r, const vmbi_restore_place *at, const char *text,
                           size_t len, bool *lost, vmb_error **err);

/* ---- resume.c: a restore that was interrupted, and is run again ---------------------------------
 */

/* Looks for what an interrupted run of the same restore left, and notes that this one has begun. */
vmb_code vmbi_restore_begin(vmbi_restore *r, vmb_error **err);
/* What cannot simply be done again begins now. */
void vmbi_restore_enter(vmbi_restore *r, vmbi_restore_stage stage);
/* It has ended: the note goes. */
void vmbi_restore_end(vmbi_restore *r);
/* Was the object in the cluster made by this restore: by a create whose answer was lost, or by the
 * run that this one continues? */
bool vmbi_restore_has_made(vmbi_restore *r, const vmbi_ritem *item, const vmbi_json *live);
/* Are volumes and hooks of a pod to be seen to; resumed: it was there already? */
bool vmbi_restore_follows_up(vmbi_restore *r, bool resumed);

/* ---- namespaces.c ---------------------------------------------------------------------------- */

/* Makes sure that a target namespace exists, from the backup's object of the source. False: it
 * does not, and the error is noted; or it is going away: what would be created in it would go as
 * well, so its turn comes later. */
bool vmbi_restore_namespace(vmbi_restore *r, const char *source, const char *target);
/* When everything else is restored: waits for namespaces that were going away. Those that have gone
 * by then are added to gone, and are for another pass; true when there are some. At the end of the
 * limits the others are errors. */
bool vmbi_restore_await_namespaces(vmbi_restore *r, const vmbi_limits *limits, vmbi_map *gone);

/* ---- existing.c: an object whose name is taken ----------------------------------------------- */

/* Returns what became of it. */
const vmbi_restored *vmbi_restore_existing(vmbi_restore *r, vmbi_ritem *item,
                                           const vmbi_restore_place *at);
/* Takes out what the server sets: Velero's list of metadata fields, and status. */
void vmbi_restore_reset(vmbi_json *obj);
bool vmbi_restore_label(const vmbi_restore *r, vmbi_json *obj);
/* Merge patch (RFC 7386) from one object to another; NULL when memory is out. */
vmbi_json *vmbi_merge_diff(const vmbi_json *from, const vmbi_json *to);

/* ---- volumes.c ------------------------------------------------------------------------------- */

/* Decides about a volume; false: it is not restored itself. */
bool vmbi_restore_volume(vmbi_restore *r, vmbi_ritem *item, bool *failed);
/* After the actions: how a claim finds its volume. */
bool vmbi_restore_claim_volume(vmbi_restore *r, vmbi_ritem *item);
/* Notes how a claim's data came back, for the volumeinfo of the restore. */
void vmbi_restore_note_volume(vmbi_restore *r, vmbi_json *entry);
/* When everything is restored: reclaim policies and labels of volumes that were provisioned. */
void vmbi_restore_patch_volumes(vmbi_restore *r);

/* ---- actions*.c: what kinds need ------------------------------------------------------------- */

/* Runs the actions of the object's resource. VMB_OK, or why the object cannot be restored. */
vmb_code vmbi_restore_actions(vmbi_restore *r, vmbi_ritem *item, vmb_error **err);
vmb_code vmbi_restore_action_claim(vmbi_restore *r, vmbi_ritem *item, vmb_error **err);
vmb_code vmbi_restore_action_snapshot(vmbi_restore *r, vmbi_ritem *item, vmb_error **err);
vmb_code vmbi_restore_action_content(vmbi_restore *r, vmbi_ritem *item, vmb_error **err);
vmb_code vmbi_restore_action_class(vmbi_restore *r, vmbi_ritem *item, vmb_error **err);
vmb_code vmbi_restore_action_service(vmbi_restore *r, vmbi_ritem *item, vmb_error **err);

/* ---- plugins.c: Velero's configured restore actions ------------------------------------------ */

vmb_code vmbi_restore_read_plugins(vmbi_restore *r, vmb_error **err);
/* The data of the one ConfigMap that configures an action; *out NULL when there is none. */
vmb_code vmbi_restore_plugin_config(vmbi_restore *r, const char *plugin, vmbi_json **out,
                                    vmb_error **err);
vmb_code vmbi_restore_plugins(vmbi_restore *r, vmbi_ritem *item, vmb_error **err);

/* ---- files.c --------------------------------------------------------------------------------- */

vmb_code vmbi_restore_put_files(vmbi_restore *r, vmb_error **err);
/* "restores/<name>/<prefix><name><suffix>". */
vmb_code vmbi_restore_file(const char *restore, const char *prefix, const char *suffix,
                           vmbi_buf *out, vmb_error **err);

/* ---- life.c ---------------------------------------------------------------------------------- */

/* The whole of a run whose spec is a Restore; *phase is the phase that it ended in. */
vmb_code vmbi_restore_execute(vmb_run *run, const char **phase, vmb_error **err);

#endif
