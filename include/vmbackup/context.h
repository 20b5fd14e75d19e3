/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file context.h
 * @brief The context: settings, providers and storage locations that runs work with.
 *
 * A context is configured by one thread, is frozen by the first run or catalogue that uses it
 * (later changes: VMB_E_STATE), and may then be shared by any number of threads. It is
 * reference-counted; runs and catalogues hold a reference.
 */
#ifndef VMBACKUP_CONTEXT_H
#define VMBACKUP_CONTEXT_H

#include <vmbackup/base.h>
#include <vmbackup/provider.h>
#include <vmbackup/volume.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Creates a context with the default settings, no providers and no locations. Nothing is opened.
 * @param out receives an owned context, to be given back with vmb_ctx_unref()
 * @return VMB_OK, VMB_E_ARG
 */
VMB_API vmb_code vmb_ctx_new(vmb_ctx **out, vmb_error **err);
/** Takes a further reference; returns ctx. Any thread. */
VMB_API vmb_ctx *vmb_ctx_ref(vmb_ctx *ctx);
/**
 * Gives a reference back, from any thread; the last one calls every provider's destroy on that
 * thread. NULL is allowed. In a child process of the creator no provider is called.
 */
VMB_API void vmb_ctx_unref(vmb_ctx *ctx);

/**
 * Sets one setting. Keys, with type and default:
 *  - "namespace": where Velero's resources live ("velero")
 *  - "page-size": objects per list request, 1 to 10000 ("500")
 *  - "log-level": debug, info, warning or error: what goes into the backup's log ("info")
 *  - "hook-timeout": Go duration, for hooks that name none ("30s")
 *  - "resource-timeout": Go duration, limit of single Kubernetes and store operations ("10m")
 *  - "snapshot-poll": Go duration between looks at a snapshot ("1s")
 *  - "fs-backup-timeout": Go duration, limit of all filesystem backups together, from the start of
 *    the backup ("4h"); the annotation velero.io/pod-volume-timeout of a Backup decides over it
 *  - "volume-workers": volumes saved by filesystem backup at the same time, 1 to 8 ("1")
 *  - "default-snapshot-locations": "provider:location,…", the VolumeSnapshotLocation of a provider
 *    that has several, for Backups that name none of them ("")
 *  - "strict-hooks": "true" (a hook without onError fails its pod, as Velero documents) or
 *    "false" (it continues, as Velero 1.18 does) ("true")
 * @return VMB_OK, VMB_E_ARG (unknown key or bad value: the message says which are known),
 *         VMB_E_STATE (frozen)
 */
VMB_API vmb_code vmb_ctx_set(vmb_ctx *ctx, const char *key, const char *value, vmb_error **err);

/**
 * Receives log lines. Called from the thread that executes the run, never under a lock; by several
 * threads at a time when several runs execute; by the threads of control loops; and by calls on
 * repositories, where vmb_repo_set_event_fn() tells what may be called from within.
 * @param level one of VMB_LOG_…
 * @param msg   NUL-terminated text without the time; borrowed for the call
 */
typedef void (*vmb_log_fn)(void *user, int32_t level, const char *msg);
/**
 * Sets the log receiver, in place of a former one; fn NULL: none. destroy(user) is called exactly
 * once, also when this call fails; NULL is allowed.
 * @return VMB_OK, VMB_E_ARG, VMB_E_STATE (frozen)
 */
VMB_API vmb_code vmb_ctx_set_log(vmb_ctx *ctx, vmb_log_fn fn, void *user,
                                 void (*destroy)(void *user), vmb_error **err);

/**
 * Registers a built-in provider with its settings, a JSON or YAML object (NULL: none):
 *  - "cluster.kube": {"kubeconfig","context","qps","burst","prefetch"…}: a Kubernetes API server;
 *    without kubeconfig: $KUBECONFIG, the in-cluster account, ~/.kube/config. Brings
 *    "exec.kube" with it.
 *  - "cluster.dir": {"path"}: a folder of manifests, read-only
 *  - "snapshot.csi": {}: CSI snapshots through the run's cluster
 *  - "volume.repo": {"hostPods","node","password","passwordFile","compression"…}: filesystem
 *    backup into repositories of restic's format in the run's storage location, one for each
 *    namespace; reads the volumes of pods on the node that it runs on
 *  - "actions.kubernetes", "actions.kubevirt": {}: item actions
 * docs/providers.md lists every setting.
 * @return VMB_OK, VMB_E_ARG (unknown name or setting), VMB_E_STATE, or the provider's failure
 */
VMB_API vmb_code vmb_ctx_use(vmb_ctx *ctx, const char *name, const char *settings, size_t len,
                             vmb_error **err);
/**
 * Registers a provider of one's own. The last cluster and exec provider replaces former ones, which
 * are destroyed then. The table is copied; what `user` owns is destroyed also after a failure.
 * @return VMB_OK, VMB_E_ARG (a table that is too small, of another api_version, or lacks what is
 *         required: the message names the member), VMB_E_STATE (frozen)
 */
VMB_API vmb_code vmb_ctx_add_cluster_provider(vmb_ctx *ctx, const vmb_cluster_provider *p,
                                              vmb_error **err);
/** Registers what runs commands in containers; codes as for the cluster provider. */
VMB_API vmb_code vmb_ctx_add_exec_provider(vmb_ctx *ctx, const vmb_exec_provider *p,
                                           vmb_error **err);
/** Registers a snapshot provider; several may be registered, the highest bid wins. */
VMB_API vmb_code vmb_ctx_add_snapshot_provider(vmb_ctx *ctx, const vmb_snapshot_provider *p,
                                               vmb_error **err);
/**
 * Registers what saves volumes by filesystem backup; several may be registered, the highest bid
 * wins. Without one, a volume that is to be saved this way counts as an error.
 */
VMB_API vmb_code vmb_ctx_add_volume_provider(vmb_ctx *ctx, const vmb_volume_provider *p,
                                             vmb_error **err);
/** Registers an item action; actions run in the order of registration. */
VMB_API vmb_code vmb_ctx_add_action_provider(vmb_ctx *ctx, const vmb_action_provider *p,
                                             vmb_error **err);

/**
 * Adds a storage location from a BackupStorageLocation resource (velero.io/v1) in YAML or JSON.
 * spec.provider chooses the store: "aws" or "velero.io/aws" (S3 with signature V4),
 * "vmbackup.io/libs3" (S3 through libs3), "vmbackup.io/dir" (config.path: a folder). The sizes
 * partSize, maxParts, partsInFlight and maxTries of S3 stores may stand in config, or, beside a
 * Velero that refuses unknown keys there, as annotations vmbackup.io/part-size, max-parts,
 * parts-in-flight and max-tries.
 * @return VMB_OK, VMB_E_ARG, VMB_E_PARSE, VMB_E_INVALID, VMB_E_EXISTS, VMB_E_STATE
 */
VMB_API vmb_code vmb_ctx_add_location(vmb_ctx *ctx, const char *doc, size_t len, vmb_error **err);
/**
 * Adds a location whose store is a provider of one's own.
 * @param location name of the location
 * @param prefix   key prefix in the store, "" for none
 * @param is_default 1 makes it the default location
 */
VMB_API vmb_code vmb_ctx_add_store_provider(vmb_ctx *ctx, const char *location, const char *prefix,
                                            int32_t is_default, const vmb_store_provider *p,
                                            vmb_error **err);
/**
 * Adds every BackupStorageLocation of the setting "namespace" that the cluster holds, with the
 * credentials of the Secrets that they name. Locations of a name known already are left out. One
 * that cannot be set up (a missing Secret, a setting that is wrong) is added nevertheless: it is
 * described as Unavailable, and every use of it tells why.
 * @param count receives how many were added; may be NULL
 */
VMB_API vmb_code vmb_ctx_load_locations(vmb_ctx *ctx, size_t *count, vmb_error **err);
/**
 * Describes all locations as owned JSON: [{"name","provider","bucket","prefix","accessMode",
 * "default":bool,"phase","message","lastValidationTime","creationTimestamp"}].
 * @param validate 1 contacts each store first (as Velero's validation does) and reports phase
 *        Available or Unavailable; 0 leaves phase "Unknown"
 */
VMB_API vmb_code vmb_ctx_locations_json(vmb_ctx *ctx, int32_t validate, char **out,
                                        size_t *out_len, vmb_error **err);
/**
 * Reads resources of Velero in the namespace of the setting "namespace" from the cluster.
 * @param resource plural name in the group velero.io: "backups", "restores", "schedules",
 *        "backupstoragelocations", "volumesnapshotlocations" and others
 * @param name     NULL for all of them
 * @param out      receives owned JSON: an array sorted by name, or the named one
 * @return VMB_OK, VMB_E_ARG, VMB_E_STATE (no cluster), VMB_E_NOT_FOUND (no such object, or a cluster
 *         without that kind), VMB_E_DENIED and others of the cluster
 */
VMB_API vmb_code vmb_ctx_resources_json(vmb_ctx *ctx, const char *resource, const char *name,
                                        char **out, size_t *out_len, vmb_error **err);

#ifdef __cplusplus
}
#endif
#endif
