/* SPDX-License-Identifier: Apache-2.0 */
/* The context: settings, registered providers, locations. Written by one thread until frozen, read
 * by any number afterwards; nothing in it changes after that but the reference count. */
#ifndef VMBI_CORE_CONTEXT_H
#define VMBI_CORE_CONTEXT_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

#include <vmbackup/context.h>
#include <vmbackup/volume.h>

#include "codec/json.h"

typedef struct vmbi_settings {
    char *ns;                   /* where Velero's resources live */
    int64_t page_size;          /* objects per list request */
    int32_t log_level;          /* least VMB_LOG_ level that goes into the backup's log */
    int64_t hook_timeout_ns;    /* for hooks that name none */
    int64_t resource_timeout_ns;
    int64_t snapshot_poll_ns;
    int64_t fs_backup_timeout_ns; /* from the start of a backup, for all its filesystem backups */
    int64_t volume_workers;     /* volumes saved at the same time */
    char *snapshot_locations;   /* "provider:location,…" of backups that name none; "" none */
    bool strict_hooks;          /* a hook without onError fails its pod */
} vmbi_settings;

/* A storage location: a store provider, a prefix in it and the resource it came from. */
typedef struct vmbi_store_location {
    char *name;
    char *prefix;            /* "" or "a/b" without slashes at the ends */
    bool is_default;
    bool read_only;
    vmbi_json *resource;     /* the BackupStorageLocation, NULL for a caller's own store */
    vmb_store_provider store;
} vmbi_store_location;

struct vmb_ctx {
    atomic_uint refs;
    atomic_bool frozen;
    pid_t pid; /* of the creator: a child process may only free */
    vmb_ctx *parent; /* NULL, or whose providers and settings these are; a reference */
    vmbi_settings settings;

    vmb_log_fn log_fn;
    void *log_user;
    void (*log_destroy)(void *user);

    vmb_cluster_provider cluster; /* struct_size 0: none */
    vmb_exec_provider exec;       /* struct_size 0: none */
    vmb_snapshot_provider *snapshots;
    size_t n_snapshots;
    vmb_volume_provider *volumes;
    size_t n_volumes;
    vmb_action_provider *actions; /* applies_to is owned */
    size_t n_actions;
    vmbi_store_location *locations;
    size_t n_locations;

    bool serial;                 /* one of the providers has VMB_PROVIDER_SERIAL */
    pthread_mutex_t serial_lock; /* recursive; held by whoever works with the providers then */
};

vmb_code vmbi_ctx_new(vmb_ctx **out, vmb_error **err);
void vmbi_ctx_unref(vmb_ctx *ctx);
/* A context with the providers and settings of another one, and no locations: for who takes
 * locations as they come and go. Keeps a reference to the parent, which must have no serial
 * provider. */
vmb_code vmbi_ctx_derive(vmb_ctx *parent, vmb_ctx **out, vmb_error **err);
/* VMB_E_FORKED in a child process, VMB_E_STATE when a change is wanted and the context is frozen. */
vmb_code vmbi_ctx_check(const vmb_ctx *ctx, bool change, vmb_error **err);
void vmbi_ctx_freeze(vmb_ctx *ctx);
/* Around all work with providers: with a serial one among them only one thread works at a time. */
void vmbi_ctx_enter(vmb_ctx *ctx);
void vmbi_ctx_leave(vmb_ctx *ctx);
vmb_code vmbi_ctx_set(vmb_ctx *ctx, const char *key, const char *value, vmb_error **err);

/* The add functions own the provider from the call on: on failure its destroy has been called. */
vmb_code vmbi_ctx_add_cluster(vmb_ctx *ctx, const vmb_cluster_provider *p, vmb_error **err);
vmb_code vmbi_ctx_add_exec(vmb_ctx *ctx, const vmb_exec_provider *p, vmb_error **err);
vmb_code vmbi_ctx_add_snapshot(vmb_ctx *ctx, const vmb_snapshot_provider *p, vmb_error **err);
vmb_code vmbi_ctx_add_volume(vmb_ctx *ctx, const vmb_volume_provider *p, vmb_error **err);
vmb_code vmbi_ctx_add_action(vmb_ctx *ctx, const vmb_action_provider *p, vmb_error **err);
vmb_code vmbi_ctx_add_store(vmb_ctx *ctx, const char *name, const char *prefix, bool is_default,
                            bool read_only, vmbi_json *resource, const vmb_store_provider *p,
                            vmb_error **err);

/* NULL name: the default location, or the only one. NULL result: *err says which exist. */
const vmbi_store_location *vmbi_ctx_location(const vmb_ctx *ctx, const char *name, vmb_error **err);

#endif
