/* SPDX-License-Identifier: Apache-2.0 */
/* The control loops behind vmb_control: one thread watches each kind of resource into a small
 * cache, one worker for each controller takes names from its queue and brings the object a step
 * further. Everything that a controller must know after a crash stands in the objects and in the
 * store, nothing in this process. */
#ifndef VMBI_CORE_CONTROL_CONTROL_H
#define VMBI_CORE_CONTROL_CONTROL_H

#include <pthread.h>
#include <stdatomic.h>

#include <vmbackup/control.h>

#include "base/cancel.h"
#include "base/job.h"
#include "base/thread.h"
#include "core/cluster.h"
#include "core/context.h"
#include "core/control/cache.h"
#include "core/control/lease.h"
#include "core/control/metrics.h"
#include "core/control/queue.h"
#include "core/store.h"

/* ---- settings ----------------------------------------------------------------------------- */

typedef struct vmbi_control_settings {
    char *default_location;         /* for Backups that name none, when no location is marked */
    int64_t default_ttl_ns;
    int64_t validation_ns;          /* of storage locations that do not say */
    int64_t sync_ns;                /* the same */
    int64_t gc_ns;
    int64_t schedule_ns;            /* between looks at a schedule */
    bool skip_immediately;          /* for schedules that do not say */
    bool leader_election;
    char *identity;                 /* of this process in the lease */
    char *lease_name;
    char *zone;                     /* of schedules without one; NULL: UTC */
    char *version;                  /* told by ServerStatusRequests */
} vmbi_control_settings;

vmb_code vmbi_control_settings_read(const vmbi_json *doc, vmbi_control_settings *out,
                                    vmb_error **err);
void vmbi_control_settings_free(vmbi_control_settings *s);

/* ---- kinds and controllers ---------------------------------------------------------------- */

typedef enum vmbi_kind_id {
    VMBI_KIND_LOCATION,
    VMBI_KIND_BACKUP,
    VMBI_KIND_DELETE,
    VMBI_KIND_SCHEDULE,
    VMBI_KIND_DOWNLOAD,
    VMBI_KIND_STATUS,
    VMBI_KIND_RESTORE,
    VMBI_KIND_REPOSITORY,
    VMBI_KIND_DPA,
    VMBI_KINDS
} vmbi_kind_id;

typedef enum vmbi_controller_id { /* the first ones work on the kinds of the same number */
    VMBI_CONTROLLER_SYNC = VMBI_KINDS, /* keys: names of locations */
    VMBI_CONTROLLER_GC,                /* one key, "" */
    VMBI_CONTROLLERS
} vmbi_controller_id;

/* Fields that the caches keep, by number. */
enum { VMBI_BACKUP_UID, VMBI_BACKUP_PHASE, VMBI_BACKUP_LOCATION, VMBI_BACKUP_EXPIRATION,
       VMBI_BACKUP_SCHEDULE, VMBI_BACKUP_CREATED, VMBI_BACKUP_DELETED, VMBI_BACKUP_STARTED };
enum { VMBI_LOCATION_PHASE, VMBI_LOCATION_DEFAULT, VMBI_LOCATION_CREATED, VMBI_LOCATION_ACCESS };
enum { VMBI_DELETE_PHASE, VMBI_DELETE_BACKUP };
enum { VMBI_RESTORE_PHASE, VMBI_RESTORE_BACKUP, VMBI_RESTORE_DELETED };

/* One piece of work. */
typedef struct vmbi_turn {
    const char *name;
    uint32_t failures; /* of this name in a row, before this turn */
    int64_t again_ns;  /* out: come back after so long; negative: when the object changes */
} vmbi_turn;

typedef vmb_code (*vmbi_reconcile_fn)(vmb_control *c, vmbi_turn *turn, vmb_error **err);

typedef struct vmbi_kind {
    const char *group;
    const char *version;
    const char *resource;
    const char *kind;
    bool optional;             /* a cluster may lack it */
    const char *const *fields; /* see vmbi_cache */
    /* Is there something to do about it? NULL: always. */
    bool (*wants)(const vmbi_cached *e);
    /* Does it go before the others (work that was interrupted)? NULL: never. */
    bool (*first)(const vmbi_cached *e);
    vmbi_reconcile_fn reconcile;
} vmbi_kind;

extern const vmbi_kind vmbi_kinds[VMBI_KINDS];

typedef struct vmbi_controller {
    vmb_control *c;
    const char *name;
    vmbi_reconcile_fn reconcile;
    pthread_mutex_t lock; /* guards queue */
    pthread_cond_t changed;
    vmbi_queue queue;
    pthread_t thread;
    bool started;
} vmbi_controller;

typedef struct vmbi_informer {
    vmb_control *c;
    const vmbi_kind *kind;
    vmbi_controller *controller;
    pthread_mutex_t lock; /* guards cache */
    vmbi_cache cache;
    char position[64];    /* of the watch; of its thread only */
    bool listing;         /* the same */
    atomic_bool synced;
    atomic_bool absent;   /* the cluster does not serve it */
    pthread_t thread;
    bool started;
} vmbi_informer;

/* Adds a BackupStorageLocation to a context: api/ knows the stores. */
typedef vmb_code (*vmbi_add_location_fn)(vmb_ctx *ctx, vmbi_json *tree, vmb_error **err);

struct vmb_control {
    vmb_ctx *ctx; /* a reference */
    vmbi_control_settings settings;
    vmbi_add_location_fn add_location;
    vmb_cluster cluster; /* without discovery: versions are always told */
    vmbi_cancel *stop;   /* fired by vmb_control_stop(), or when the lease is lost */
    vmbi_informer informers[VMBI_KINDS];
    vmbi_controller controllers[VMBI_CONTROLLERS];
    vmbi_metrics metrics;
    vmbi_lease lease;
    pthread_t lease_thread;
    bool lease_started;
    atomic_bool running;
    atomic_bool ready;
    atomic_bool lost; /* the lease */
};

vmb_code vmbi_control_new(vmb_ctx *ctx, const vmbi_json *settings, vmbi_add_location_fn add,
                          vmb_control **out, vmb_error **err);
void vmbi_control_free(vmb_control *c);
vmb_code vmbi_control_run(vmb_control *c, vmb_error **err);
vmb_code vmbi_control_print_metrics(vmb_control *c, vmbi_buf *out, vmb_error **err);

/* ---- lease: leader.c ---------------------------------------------------------------------- */

/* Blocks until the lease is ours or the control is to stop; then keeps it on a thread. */
vmb_code vmbi_leader_begin(vmb_control *c, vmb_error **err);
void vmbi_leader_end(vmb_control *c); /* gives it back */
/* May this process still write that an object ends in this phase? A run that was cancelled since the
 * lease was lost is the business of the next leader, which may have ended it long ago. */
bool vmbi_leader_decides(vmb_control *c, const char *phase);

/* ---- watching: informer.c ----------------------------------------------------------------- */

vmb_code vmbi_informer_start(vmbi_informer *i, vmb_error **err);
void vmbi_informer_join(vmbi_informer *i);

/* Calls fn for every cached object of a kind, under the lock: fn must be quick and call nothing. */
void vmbi_cached_each(vmb_control *c, vmbi_kind_id kind,
                      void (*fn)(void *user, const vmbi_cached *e), void *user);
/* Is the object cached? Appends field i to out (may be NULL) when it is. */
bool vmbi_cached_look(vmb_control *c, vmbi_kind_id kind, const char *name, size_t i,
                      vmbi_buf *out);
size_t vmbi_cached_count(vmb_control *c, vmbi_kind_id kind);

/* ---- queueing: control.c ------------------------------------------------------------------ */

/* Has a controller look at a name, after delay_ns. */
vmb_code vmbi_enqueue(vmb_control *c, int controller, const char *name, int64_t delay_ns,
                      vmb_error **err);

/* ---- talking to the cluster: objects.c ---------------------------------------------------- */

/* Limits: those of the control; or, to end what was begun, ten seconds whatever happens. */
typedef enum vmbi_urgency { VMBI_NORMAL, VMBI_LAST_WORD } vmbi_urgency;
vmb_job vmbi_control_job(vmb_control *c, vmbi_urgency urgency);

vmb_code vmbi_object_get(vmb_control *c, vmbi_kind_id kind, const char *name, vmbi_json **out,
                         vmb_error **err);
/* Merge patch; takes ownership of it (NULL: out of memory). With metadata.resourceVersion in it the
 * object must be unchanged: else VMB_E_CONFLICT. */
vmb_code vmbi_object_patch(vmb_control *c, vmbi_kind_id kind, const char *name, vmbi_json *patch,
                           vmbi_urgency urgency, vmb_error **err);
/* Takes ownership of object. *out may be NULL. */
vmb_code vmbi_object_create(vmb_control *c, const char *group, const char *version,
                            const char *resource, vmbi_json *object, vmbi_json **out,
                            vmb_error **err);
/* Success when it is gone already. */
vmb_code vmbi_object_remove(vmb_control *c, vmbi_kind_id kind, const char *name, vmb_error **err);
/* {"status":{"phase":phase}} and the like; NULL without memory. */
vmbi_json *vmbi_phase_patch(const char *phase);
/* {"status":{"progress":{done_key:done,"totalItems":total, at least done}}}; NULL without memory. */
vmbi_json *vmbi_progress_patch(const char *done_key, int64_t done, int64_t total);
/* Adds the resource version of `object` to a patch, so that it holds for this version only. */
bool vmbi_patch_only_if(vmbi_json *patch, const vmbi_json *object);
/* A v1 Event about an object; problems are ignored: events are a courtesy. */
void vmbi_control_event(vmb_control *c, const vmbi_json *object, bool warning, const char *reason,
                        const char *fmt, ...) VMBI_PRINTF(5, 6);
void vmbi_control_log(vmb_control *c, int32_t level, const char *fmt, ...) VMBI_PRINTF(3, 4);
bool vmbi_set_now(vmbi_json *object, const char *key);

/* ---- locations: locate.c ------------------------------------------------------------------ */

typedef struct vmbi_located {
    vmb_ctx *ctx;     /* with this location alone */
    vmbi_json *tree;  /* the BackupStorageLocation */
    vmbi_store store; /* of ctx */
} vmbi_located;

/* The name of the default location, appended; "" settings default when none is marked. */
vmb_code vmbi_default_location(vmb_control *c, vmbi_buf *out, vmb_error **err);
/* Opens a location; VMB_E_NOT_FOUND when there is none of that name. name "" or NULL: default. */
vmb_code vmbi_locate(vmb_control *c, const char *name, vmbi_located *out, vmb_error **err);
void vmbi_located_done(vmbi_located *l);
const char *vmbi_located_phase(const vmbi_located *l); /* "" when it was never validated */
bool vmbi_located_read_only(const vmbi_located *l);
/* Names below "backups/" (the folders). */
vmb_code vmbi_located_backups(vmb_control *c, const vmbi_located *l, vmbi_strs *out,
                              vmb_error **err);
/* velero-backup.json of a backup; VMB_E_NOT_FOUND when there is none. */
vmb_code vmbi_located_metadata(vmb_control *c, const vmbi_located *l, const char *backup,
                               vmbi_json **out, vmb_error **err);
/* Removes everything below a folder ("backups/b1/"), velero-backup.json first. */
vmb_code vmbi_located_clear(vmb_control *c, const vmbi_located *l, const char *folder,
                            vmb_error **err);

/* ---- controllers -------------------------------------------------------------------------- */

vmb_code vmbi_reconcile_location(vmb_control *c, vmbi_turn *turn, vmb_error **err);
vmb_code vmbi_reconcile_backup(vmb_control *c, vmbi_turn *turn, vmb_error **err);
vmb_code vmbi_reconcile_delete(vmb_control *c, vmbi_turn *turn, vmb_error **err);
vmb_code vmbi_reconcile_schedule(vmb_control *c, vmbi_turn *turn, vmb_error **err);
vmb_code vmbi_reconcile_download(vmb_control *c, vmbi_turn *turn, vmb_error **err);
vmb_code vmbi_reconcile_status(vmb_control *c, vmbi_turn *turn, vmb_error **err);
vmb_code vmbi_reconcile_restore(vmb_control *c, vmbi_turn *turn, vmb_error **err);
vmb_code vmbi_reconcile_repository(vmb_control *c, vmbi_turn *turn, vmb_error **err);
vmb_code vmbi_reconcile_dpa(vmb_control *c, vmbi_turn *turn, vmb_error **err);
vmb_code vmbi_reconcile_sync(vmb_control *c, vmbi_turn *turn, vmb_error **err);
vmb_code vmbi_reconcile_gc(vmb_control *c, vmbi_turn *turn, vmb_error **err);

/* A phase that a server must not leave behind: InProgress, Finalizing…, WaitingFor… */
bool vmbi_phase_is_working(const char *phase);
bool vmbi_phase_is_waiting(const char *phase); /* "", New, Queued, ReadyToStart */

#endif
