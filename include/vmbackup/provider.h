/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file provider.h
 * @brief What a provider implements (vtables) and what it may call (jobs, sinks, the cluster).
 *
 * Rules that hold for every vtable:
 *  - zero the structure, set struct_size = sizeof and api_version = VMB_PROVIDER_API, fill in the
 *    functions. The library copies it on registration and keeps no pointer to it.
 *  - `user` is the first argument of every function. `destroy(user)` is called exactly once, also
 *    when registration fails, after the last other call; NULL is allowed.
 *  - functions may be called from any thread, but never two at a time for one operation handle.
 *    Different operations of one provider may run at the same time unless
 *    VMB_PROVIDER_SERIAL is set in flags.
 *  - return VMB_OK or a negative VMB_E_ code and, through vmb_error_set(), a message. Any other
 *    value is reported as VMB_E_PROVIDER. Nothing may be thrown across the border.
 *  - every function that can wait takes a job: observe its deadline and cancellation
 *    (within one second) and do not keep it after returning, unless said otherwise.
 *  - arguments are borrowed for the call.
 *  - jobs, sinks and progress are used while the call lasts, from its thread or from others that the
 *    provider lets wait; a sink by one thread at a time.
 *  - the library calls without a lock of its own: a function may call the library, but not execute
 *    or free the run that it is called for.
 */
#ifndef VMBACKUP_PROVIDER_H
#define VMBACKUP_PROVIDER_H

#include <vmbackup/base.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    VMB_PROVIDER_API = 1,    /**< value of api_version; changes only when a meaning changes */
    VMB_PROVIDER_SERIAL = 1  /**< flag: never call two functions of this provider at a time */
};

/* ---- jobs: deadline, cancellation, log, cluster ------------------------------------------- */

typedef struct vmb_job vmb_job;         /**< what a call is done for; valid during the call */
typedef struct vmb_cluster vmb_cluster; /**< the run's cluster, whatever provider is behind it */

/** Levels of vmb_job_log() and of the log callback. */
enum {
    VMB_LOG_DEBUG = 0,
    VMB_LOG_INFO = 1,
    VMB_LOG_WARNING = 2, /**< counted in status.warnings of the backup */
    VMB_LOG_ERROR = 3    /**< counted in status.errors: the backup becomes PartiallyFailed */
};

/** 1 when the run was cancelled or the job's deadline has passed. Any thread. */
VMB_API int32_t vmb_job_cancelled(const vmb_job *job);
/** Time left in ns: -1 without a deadline, 0 when it has passed. Any thread while the call lasts. */
VMB_API int64_t vmb_job_remaining_ns(const vmb_job *job);
/**
 * A file descriptor that becomes readable when the run is cancelled, for poll(); -1 if there is
 * none. Do not read from or close it.
 */
VMB_API int32_t vmb_job_cancel_fd(const vmb_job *job);
/**
 * Sleeps for ns or until cancellation or the deadline.
 * @return VMB_OK after the full time, VMB_E_CANCELLED or VMB_E_TIMEOUT
 */
VMB_API vmb_code vmb_job_sleep(const vmb_job *job, int64_t ns, vmb_error **err);
/**
 * Adds a line to the backup's log. Any thread while the call lasts.
 * @param level one of VMB_LOG_; with another one nothing is logged
 * @param msg   NUL-terminated, copied
 */
VMB_API void vmb_job_log(const vmb_job *job, int32_t level, const char *msg);
/** The cluster of the run; NULL when the run has none. Borrowed for the job's life. */
VMB_API vmb_cluster *vmb_job_cluster(const vmb_job *job);
/** Name of the backup; "" outside a backup. Borrowed. */
VMB_API const char *vmb_job_backup_name(const vmb_job *job);
/** The Backup resource of the run as compact JSON with sorted keys; NULL outside a backup. */
VMB_API const char *vmb_job_backup_json(const vmb_job *job);

/* ---- sinks: where a provider puts its results ---------------------------------------------- */

typedef struct vmb_sink vmb_sink;           /**< takes bytes */
typedef struct vmb_item_sink vmb_item_sink; /**< takes Kubernetes objects */
typedef struct vmb_key_sink vmb_key_sink;   /**< takes entries of a store listing */
typedef struct vmb_watch_sink vmb_watch_sink; /**< takes the changes of a resource */

/** Gives bytes to the caller. A failure must end the provider's call with the same code. */
VMB_API vmb_code vmb_sink_write(vmb_sink *sink, const void *data, size_t len, vmb_error **err);
/**
 * Gives one object of a list, as JSON. apiVersion and kind may be missing, as in the items of a
 * list of the Kubernetes API. The receiver may call the same provider's other functions from
 * inside this call. VMB_E_CANCELLED and other failures must end the list with that code.
 */
VMB_API vmb_code vmb_item_sink_push(vmb_item_sink *sink, const char *json, size_t len,
                                    vmb_error **err);
/**
 * Gives one change of a watched resource. A failure must end the watch with that code.
 * @param type "ADDED", "MODIFIED" or "DELETED" (json is the object), "BOOKMARK" (an object of
 *             which only metadata.resourceVersion counts), or "SYNCED": the same, when every
 *             object that exists has been given
 */
VMB_API vmb_code vmb_watch_sink_push(vmb_watch_sink *sink, const char *type, const char *json,
                                     size_t len, vmb_error **err);
/**
 * Gives one entry of a store listing.
 * @param key           full key (for a prefix: with the delimiter at its end)
 * @param size_bytes    size; -1 unknown
 * @param mtime_unix_ns time of the last change; -1 unknown
 * @param is_prefix     1 for a common prefix, 0 for an object
 */
VMB_API vmb_code vmb_key_sink_push(vmb_key_sink *sink, const char *key, int64_t size_bytes,
                                   int64_t mtime_unix_ns, int32_t is_prefix, vmb_error **err);

/* ---- cluster: where Kubernetes objects come from -------------------------------------------- */

/** Kinds of patch, see patch below. */
enum {
    VMB_PATCH_MERGE = 1, /**< application/merge-patch+json */
    VMB_PATCH_JSON = 2   /**< application/json-patch+json */
};

/**
 * Access to Kubernetes objects. A resource is addressed by group ("" for the core group), version
 * and plural name; ns is NULL for cluster-scoped objects and for lists over all namespaces. Restores
 * call from several threads, and ask again for what they created: for a CustomResourceDefinition
 * until its condition Established is True, at most the setting "resource-timeout".
 */
typedef struct vmb_cluster_provider {
    size_t struct_size;
    uint32_t api_version;
    uint32_t flags;
    const char *name;
    void *user;
    void (*destroy)(void *user);
    /**
     * Writes one JSON document: {"serverVersion":{"gitVersion","major","minor"},
     * "groups":[{"group","preferredVersion","versions":[{"version","resources":[{"name",
     * "singularName","kind","namespaced":bool,"shortNames":[],"verbs":[]}]}]}],
     * "warnings":["…"]} with groups in the server's order, subresources left out. Required.
     */
    vmb_code (*discover)(void *user, vmb_job *job, vmb_sink *out, vmb_error **err);
    /**
     * Pushes every object; page_size objects are asked for at a time (0: the provider's choice).
     * An object may be pushed twice when a list had to be restarted (HTTP 410). A missing
     * namespace or unknown resource yields nothing or VMB_E_NOT_FOUND. Required.
     * @param label_selector selector in string form, NULL or "" for everything
     */
    vmb_code (*list)(void *user, vmb_job *job, const char *group, const char *version,
                     const char *resource, const char *ns, const char *label_selector,
                     int64_t page_size, vmb_item_sink *out, vmb_error **err);
    /** Writes one object as JSON; VMB_E_NOT_FOUND when absent. Required. */
    vmb_code (*get)(void *user, vmb_job *job, const char *group, const char *version,
                    const char *resource, const char *ns, const char *name, vmb_sink *out,
                    vmb_error **err);
    /**
     * Creates an object and writes it as the server returns it (metadata.generateName is
     * honoured). VMB_E_EXISTS when the name is taken. NULL: read-only cluster.
     */
    vmb_code (*create)(void *user, vmb_job *job, const char *group, const char *version,
                       const char *resource, const char *ns, const char *json, size_t len,
                       vmb_sink *out, vmb_error **err);
    /**
     * Patches an object or its subresource (NULL or "status") and writes the result.
     * NULL: read-only cluster.
     */
    vmb_code (*patch)(void *user, vmb_job *job, const char *group, const char *version,
                      const char *resource, const char *ns, const char *name,
                      const char *subresource, int32_t patch_kind, const char *json, size_t len,
                      vmb_sink *out, vmb_error **err);
    /** Deletes an object; VMB_E_NOT_FOUND when absent. NULL: read-only cluster. */
    vmb_code (*remove)(void *user, vmb_job *job, const char *group, const char *version,
                       const char *resource, const char *ns, const char *name, vmb_error **err);
    /**
     * Follows the changes of a resource until the job ends or the watch is lost. Without a
     * resource version it pushes every object as "ADDED" and then "SYNCED" first. A provider
     * resumes by itself where a connection ended. NULL: unsupported.
     * @param resource_version where to go on: that of the newest object or bookmark; NULL or ""
     *        begins anew. VMB_E_GONE when the position is forgotten
     */
    vmb_code (*watch)(void *user, vmb_job *job, const char *group, const char *version,
                      const char *resource, const char *ns, const char *resource_version,
                      vmb_watch_sink *out, vmb_error **err);
} vmb_cluster_provider;

/**
 * The same operations on the run's cluster, for other providers (snapshots, actions). Outputs are
 * owned and released with vmb_free(). `out`/`out_len` may be NULL where the result is not wanted.
 * version may be NULL: the preferred version of discovery. Errors: those of the provider,
 * VMB_E_ARG, VMB_E_UNSUPPORTED (read-only cluster), VMB_E_TIMEOUT, VMB_E_CANCELLED.
 */
VMB_API vmb_code vmb_cluster_get(vmb_cluster *cluster, vmb_job *job, const char *group,
                                 const char *version, const char *resource, const char *ns,
                                 const char *name, char **out, size_t *out_len, vmb_error **err);
/** Lists as one JSON array of objects; at most 64 MiB, else VMB_E_LIMIT. */
VMB_API vmb_code vmb_cluster_list(vmb_cluster *cluster, vmb_job *job, const char *group,
                                  const char *version, const char *resource, const char *ns,
                                  const char *label_selector, char **out, size_t *out_len,
                                  vmb_error **err);
/** Creates an object; the result is the object as the server returns it. */
VMB_API vmb_code vmb_cluster_create(vmb_cluster *cluster, vmb_job *job, const char *group,
                                    const char *version, const char *resource, const char *ns,
                                    const char *json, size_t len, char **out, size_t *out_len,
                                    vmb_error **err);
/** Patches an object or, with subresource "status", its status; the result is the object. */
VMB_API vmb_code vmb_cluster_patch(vmb_cluster *cluster, vmb_job *job, const char *group,
                                   const char *version, const char *resource, const char *ns,
                                   const char *name, const char *subresource, int32_t patch_kind,
                                   const char *json, size_t len, char **out, size_t *out_len,
                                   vmb_error **err);
/** Deletes an object; VMB_E_NOT_FOUND when it is absent. */
VMB_API vmb_code vmb_cluster_remove(vmb_cluster *cluster, vmb_job *job, const char *group,
                                    const char *version, const char *resource, const char *ns,
                                    const char *name, vmb_error **err);
/** 1 when discovery lists the resource (any version), else 0. */
VMB_API int32_t vmb_cluster_serves(vmb_cluster *cluster, const char *group, const char *resource);

/* ---- exec: commands in containers ------------------------------------------------------------ */

/** Runs commands in containers of pods. */
typedef struct vmb_exec_provider {
    size_t struct_size;
    uint32_t api_version;
    uint32_t flags;
    const char *name;
    void *user;
    void (*destroy)(void *user);
    /**
     * Runs a command and waits for its end within the job's deadline. Required.
     * @param container never NULL
     * @param argv,argc the command, no shell involved
     * @param out,errout receive stdout and stderr; they cap what they keep and never fail for size
     * @param exit_code receives the exit code when VMB_OK is returned
     * @return VMB_OK when the command ended by itself (with any exit code), VMB_E_TIMEOUT,
     *         VMB_E_CANCELLED, VMB_E_NOT_FOUND (no such pod or container), or another failure
     */
    vmb_code (*exec)(void *user, vmb_job *job, const char *ns, const char *pod,
                     const char *container, const char *const *argv, size_t argc, vmb_sink *out,
                     vmb_sink *errout, int32_t *exit_code, vmb_error **err);
} vmb_exec_provider;

/* ---- store: where archives go ------------------------------------------------------------------ */

/** Flags of put_begin. */
enum {
    VMB_PUT_IF_ABSENT = 1 /**< VMB_E_EXISTS when the key exists (checked no later than commit) */
};

/**
 * An object store, one bucket or folder. Keys are relative to it, '/'-separated, without a leading
 * '/', at most 1024 bytes. An object becomes visible whole, at put_commit, or not at all.
 */
typedef struct vmb_store_provider {
    size_t struct_size;
    uint32_t api_version;
    uint32_t flags;
    const char *name;
    void *user;
    void (*destroy)(void *user);
    /**
     * Starts an object. Required, with put_write, put_commit and put_abort.
     * @param size_hint expected size in bytes; -1 unknown
     * @param put_flags bit set of VMB_PUT_ flags
     * @param op        receives the operation; ended by put_commit or put_abort, exactly one
     */
    vmb_code (*put_begin)(void *user, vmb_job *job, const char *key, int64_t size_hint,
                          uint32_t put_flags, void **op, vmb_error **err);
    /** Adds bytes; blocks for back-pressure. After a failure only put_abort may follow. */
    vmb_code (*put_write)(void *user, vmb_job *job, void *op, const void *data, size_t len,
                          vmb_error **err);
    /** Makes the object visible and ends the operation, also when it fails. */
    vmb_code (*put_commit)(void *user, vmb_job *job, void *op, vmb_error **err);
    /** Drops the object and ends the operation. Works after cancellation; must not block long. */
    void (*put_abort)(void *user, void *op);
    /**
     * Reads an object or a part. Required. VMB_E_NOT_FOUND when absent.
     * @param offset first byte, >= 0; at or past the end: VMB_E_ARG unless the range is empty
     * @param length bytes; -1 to the end; a range past the end is cut
     */
    vmb_code (*get)(void *user, vmb_job *job, const char *key, int64_t offset, int64_t length,
                    vmb_sink *out, vmb_error **err);
    /** Size in bytes; VMB_E_NOT_FOUND when absent. Required. */
    vmb_code (*stat)(void *user, vmb_job *job, const char *key, int64_t *size_bytes,
                     int64_t *mtime_unix_ns, vmb_error **err);
    /**
     * Lists keys that start with prefix, in byte order. With delimiter "/" keys beyond the next
     * '/' are folded into prefixes; NULL or "" lists everything below. Required.
     */
    vmb_code (*list)(void *user, vmb_job *job, const char *prefix, const char *delimiter,
                     vmb_key_sink *out, vmb_error **err);
    /** Removes an object; success when it is absent. Required. */
    vmb_code (*remove)(void *user, vmb_job *job, const char *key, vmb_error **err);
    /** Writes a URL that can be fetched without credentials for ttl_ns. NULL: unsupported. */
    vmb_code (*presign)(void *user, vmb_job *job, const char *key, int64_t ttl_ns, vmb_sink *out,
                        vmb_error **err);
    /**
     * Drops what writers that died left where no listing shows it: begun uploads, temporary files.
     * Only what belongs to keys that start with prefix, as far as that is known, and only what has
     * not changed since a time. NULL: nothing is left behind, or the store sees to it itself.
     * @param before_unix_ns that time, ns since 1970
     * @param removed        receives how many were dropped, also when the rest fails
     */
    vmb_code (*sweep)(void *user, vmb_job *job, const char *prefix, int64_t before_unix_ns,
                      int64_t *removed, vmb_error **err);
} vmb_store_provider;

/* ---- snapshot: point-in-time copies of volumes --------------------------------------------------- */

/** States that vmb_snapshot_provider.poll reports; they only grow. */
enum {
    VMB_SNAPSHOT_PENDING = 0,
    VMB_SNAPSHOT_CUT = 1,  /**< the point in time is fixed: the guest may be thawed */
    VMB_SNAPSHOT_READY = 2 /**< the snapshot can be restored from */
};

/**
 * Snapshots volumes. For each volume that is to be snapshotted the highest bid wins.
 *
 * Life of an operation: begin, poll until CUT (pre and post hooks run around this), describe (for
 * the claim's item in the archive), poll until READY, describe again (objects and volume record),
 * finish or cancel, op_free.
 */
typedef struct vmb_snapshot_provider {
    size_t struct_size;
    uint32_t api_version;
    uint32_t flags;
    const char *name;
    void *user;
    void (*destroy)(void *user);
    /**
     * How well the provider fits the volume: 0 not at all, 100 generic, more for specialists.
     * NULL: 100 for every volume.
     * @param volume JSON: {"pvc":{…the claim},"pv":{…the volume}|null,"storageClass":{…}|null}
     */
    vmb_code (*bid)(void *user, vmb_job *job, const char *volume, size_t len, int32_t *score,
                    vmb_error **err);
    /** Starts a snapshot; does not wait for it. Required. */
    vmb_code (*begin)(void *user, vmb_job *job, const char *volume, size_t len, void **op,
                      vmb_error **err);
    /**
     * Waits at most wait_ns for the next state and reports the current one. An error means that
     * the snapshot has failed for good; cancel follows. Required.
     */
    vmb_code (*poll)(void *user, vmb_job *job, void *op, int64_t wait_ns, int32_t *state,
                     vmb_error **err);
    /**
     * Writes a JSON document, from CUT on: {"claimPatch":{…merge patch for the claim's item},
     * "items":[{"group","version","resource","object":{…}}] (archive items, complete when READY, of
     * resources that the cluster serves; [] for none), "volumeInfo":{…an entry of Velero's
     * volumeinfo.json; with "backupMethod":"CSISnapshot" it needs "csiSnapshotInfo":
     * {"snapshotHandle","driver"}},"operationID":"…",
     * "operation":{…an entry of itemoperations.json}|null}. Required.
     */
    vmb_code (*describe)(void *user, vmb_job *job, void *op, vmb_sink *out, vmb_error **err);
    /**
     * The backup holds the snapshot: drop what is needed no more, keep the data. Idempotent.
     * NULL: nothing to do.
     */
    vmb_code (*finish)(void *user, vmb_job *job, void *op, vmb_error **err);
    /** The snapshot is not wanted: remove it and its data as far as possible. Required. */
    vmb_code (*cancel)(void *user, vmb_job *job, void *op, vmb_error **err);
    /** Releases the operation; no further call for it follows. Required. */
    void (*op_free)(void *user, void *op);
} vmb_snapshot_provider;

/* ---- action: what an item needs, and how it is changed for the archive ------------------------- */

typedef struct vmb_action_result vmb_action_result; /**< receives what an action decides */

/**
 * An item action, called for each object before it goes into the archive. Actions run in the
 * order of registration, each sees the object as the former left it.
 */
typedef struct vmb_action_provider {
    size_t struct_size;
    uint32_t api_version;
    uint32_t flags;
    const char *name;
    void *user;
    void (*destroy)(void *user);
    /**
     * Comma list of the resources it wants, in the form "plural" or "plural.group"
     * ("pods,persistentvolumeclaims,virtualmachines.kubevirt.io"), "*" for all. Copied.
     */
    const char *applies_to;
    /**
     * @param group,resource of the object; item its JSON with apiVersion and kind
     * @return VMB_OK; an error keeps the object out of the archive (an item error)
     */
    vmb_code (*backup)(void *user, vmb_job *job, const char *group, const char *resource,
                       const char *item, size_t len, vmb_action_result *result, vmb_error **err);
} vmb_action_provider;

/** Replaces the object by another JSON document (same kind and name). */
VMB_API vmb_code vmb_action_result_set_item(vmb_action_result *r, const char *json, size_t len,
                                            vmb_error **err);
/** Flags of vmb_action_result_add_related(). */
enum {
    VMB_RELATED_MUST = 1,    /**< take it even where filters exclude it */
    VMB_RELATED_OPTIONAL = 2 /**< no warning when it does not exist */
};
/**
 * Names an object that belongs with this one. It is fetched, filtered and stored before it.
 * @param group "" for the core group; resource plural; ns NULL for cluster-scoped objects
 */
VMB_API vmb_code vmb_action_result_add_related(vmb_action_result *r, const char *group,
                                               const char *resource, const char *ns,
                                               const char *name, uint32_t flags, vmb_error **err);
/** Leaves the object out of the archive, without an error. */
VMB_API void vmb_action_result_skip(vmb_action_result *r);

#ifdef __cplusplus
}
#endif
#endif
