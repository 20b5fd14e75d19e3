/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file volume.h
 * @brief Providers for the data of volumes: disks as blocks, and filesystem backup.
 *
 * The rules of provider.h hold here as well.
 */
#ifndef VMBACKUP_VOLUME_H
#define VMBACKUP_VOLUME_H

#include <vmbackup/base.h>
#include <vmbackup/provider.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- blocks: one disk ---------------------------------------------------------------------- */

typedef struct vmb_extent_sink vmb_extent_sink; /**< takes the extents of a disk */

/** What is known of an extent. */
enum {
    VMB_EXTENT_DATA = 0,     /**< may hold anything: it is read */
    VMB_EXTENT_ZERO = 1,     /**< reads as zeros: a hole, or discarded */
    VMB_EXTENT_UNCHANGED = 2 /**< the same bytes as in the state that `since` names */
};
/**
 * Gives one extent, in ascending order, without overlaps, inside of the range that was asked for.
 * Gaps between extents count as VMB_EXTENT_DATA.
 * @param offset_bytes first byte
 * @param length_bytes > 0
 * @param kind one of VMB_EXTENT_
 */
VMB_API vmb_code vmb_extent_sink_push(vmb_extent_sink *sink, int64_t offset_bytes,
                                      int64_t length_bytes, int32_t kind, vmb_error **err);

/**
 * One disk: the source of a backup or the target of a restore. It is opened by whoever makes the
 * table and closed by destroy. pread may be called from several threads at a time unless
 * VMB_PROVIDER_SERIAL is set; the other functions are not called beside another one.
 */
typedef struct vmb_blocks_provider {
    size_t struct_size;
    uint32_t api_version;
    uint32_t flags;
    const char *name;
    void *user;
    void (*destroy)(void *user);
    /** Size of the disk. Required. A source must not change its size while it is read. */
    vmb_code (*size)(void *user, vmb_job *job, int64_t *size_bytes, vmb_error **err);
    /** Reads exactly len bytes; a disk that ends before is VMB_E_IO. NULL: only a target. */
    vmb_code (*pread)(void *user, vmb_job *job, void *data, size_t len, int64_t offset_bytes,
                      vmb_error **err);
    /**
     * Pushes the extents of a range. NULL: everything is data.
     * @param since a state of this disk that `state` gave earlier, to tell what has changed; NULL:
     *        only holes are asked for. VMB_E_NOT_FOUND: the state is not known (any more): the
     *        disk is then read as a whole.
     */
    vmb_code (*extents)(void *user, vmb_job *job, int64_t offset_bytes, int64_t length_bytes,
                        const char *since, vmb_extent_sink *out, vmb_error **err);
    /**
     * Writes the name of the disk's present state, at most 4096 bytes of UTF-8 without NUL; it is
     * stored with the backup and given to `extents` at the next one. It is asked for before
     * anything is read, and must tell this disk from every other. NULL: there is none.
     */
    vmb_code (*state)(void *user, vmb_job *job, vmb_sink *out, vmb_error **err);
    /** Makes the disk that big, or VMB_E_FULL when it cannot be. NULL: the size is fixed. */
    vmb_code (*resize)(void *user, vmb_job *job, int64_t size_bytes, vmb_error **err);
    /** Writes exactly len bytes. NULL: only a source. */
    vmb_code (*pwrite)(void *user, vmb_job *job, const void *data, size_t len,
                       int64_t offset_bytes, vmb_error **err);
    /** Makes a range read as zeros, without storage where that can be. NULL: zeros are written. */
    vmb_code (*zero)(void *user, vmb_job *job, int64_t offset_bytes, int64_t length_bytes,
                     vmb_error **err);
    /** Makes all that was written durable. NULL: nothing to do. */
    vmb_code (*flush)(void *user, vmb_job *job, vmb_error **err);
} vmb_blocks_provider;

/**
 * Opens a regular file or a block device as a disk: holes by SEEK_HOLE, zeros by hole punching or
 * BLKZEROOUT.
 * @param path  path of the file; a symlink is followed
 * @param write 1: a target, the file is created (mode 0600) when it does not exist; 0: a source
 * @param out   receives the table; the caller owns it and calls out->destroy(out->user)
 * @return VMB_OK, VMB_E_NOT_FOUND, VMB_E_DENIED, VMB_E_IO, VMB_E_INVALID (a folder, a socket …)
 */
VMB_API vmb_code vmb_blocks_open_file(const char *path, int32_t write, vmb_blocks_provider *out,
                                      vmb_error **err);

/* ---- filesystem backup ------------------------------------------------------------------------ */

typedef struct vmb_progress vmb_progress; /**< takes how far an operation is */
/** Reports progress; total_bytes -1 when it is not known. Cheap: call it as often as you like. */
VMB_API void vmb_progress_update(vmb_progress *progress, int64_t done_bytes, int64_t total_bytes);

/**
 * The store of the run's location and the location's prefix in it ("" or "a/b"), for providers
 * that keep data beside the archives. NULL outside a run. Both borrowed for the job's life.
 */
VMB_API const vmb_store_provider *vmb_job_store(const vmb_job *job, const char **prefix);

/**
 * Filesystem backup: saves the content of pods' volumes while the pod runs. For each volume that
 * is to be saved this way the highest bid wins. All functions block; the library calls them from
 * threads of its own, for different volumes at the same time (setting "volume-workers").
 *
 * A volume is a JSON object: {"pod":{…},"volume":{…entry of the pod's spec.volumes…},
 * "pvc":{…}|null,"pv":{…}|null,"mode":"Filesystem"|"Block","tags":{"backup":"…",…},
 * "parent":"snapshotID"|null (the provider's choice),
 * "location":{"name","prefix","provider","bucket","config":{…}|null} (of the storage location)}.
 * For restore there is no location, but "waiter":"name" when a container of the pod waits for the
 * content of a filesystem: the provider ends its wait by the file .velero/<name> in the volume.
 */
typedef struct vmb_volume_provider {
    size_t struct_size;
    uint32_t api_version;
    uint32_t flags;
    const char *name;
    void *user;
    void (*destroy)(void *user);
    /** How well the provider fits: 0 not at all, 100 generic. NULL: 100 for every volume. */
    vmb_code (*bid)(void *user, vmb_job *job, const char *volume, size_t len, int32_t *score,
                    vmb_error **err);
    /**
     * Saves a volume. Required. Writes one JSON object: {"snapshotID":"…" ("" for an empty
     * volume),"uploaderType":"restic"|"kopia","repoIdentifier":"…","path":"…" (on the node),
     * "node":"…","size":bytes,"incrementalSize":bytes,"message":"…"}.
     */
    vmb_code (*backup)(void *user, vmb_job *job, const char *volume, size_t len,
                       vmb_progress *progress, vmb_sink *out, vmb_error **err);
    /**
     * Brings a volume back into the volume of a pod that waits for it. NULL: unsupported.
     * VMB_E_NOT_FOUND says that the pod's volume is not there yet: the call is repeated for a while.
     * Files that are in the volume already are overwritten, others are left alone.
     * @param snapshot what backup wrote (or the spec and status of a PodVolumeBackup), as JSON;
     *        with snapshotID "" there is no content, and the wait is to be ended
     */
    vmb_code (*restore)(void *user, vmb_job *job, const char *volume, size_t len,
                        const char *snapshot, size_t snapshot_len, vmb_progress *progress,
                        vmb_error **err);
    /** Removes what backup saved; success when it is gone already. NULL: unsupported. */
    vmb_code (*remove)(void *user, vmb_job *job, const char *snapshot, size_t snapshot_len,
                       vmb_error **err);
    /**
     * Reads every byte of what backup saved and checks it against its digests. VMB_E_UNSUPPORTED:
     * another provider's snapshot. NULL: unsupported.
     */
    vmb_code (*verify)(void *user, vmb_job *job, const char *snapshot, size_t snapshot_len,
                       vmb_progress *progress, vmb_error **err);
} vmb_volume_provider;

#ifdef __cplusplus
}
#endif
#endif
