/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file repo.h
 * @brief Deduplicating repositories in restic's format, and disks inside of them.
 *
 * A repository lies below a prefix of a storage location. Options and results are JSON objects;
 * options may be NULL (len 0), unknown ones are refused with VMB_E_ARG and the known ones named,
 * text that is no JSON with VMB_E_PARSE. docs/repositories.md lists every option and every field
 * of the results; the names are those of restic's own options and of its `--json` output where it
 * has them. Where a result may be NULL it is not wanted; its length may always be NULL. "host",
 * "tags" and "paths" choose snapshots: lists of strings, or one string; an
 * element of "tags" is "a,b" or ["a","b"]: all of these.
 *
 * A handle is used by one thread at a time; a call inside of another one is VMB_E_STATE.
 * vmb_repo_cancel() may be called from any thread, and vmb_disk_pread(), vmb_disk_extents() from
 * any number of threads at a time, also beside calls on the repository. All calls block.
 *
 * A repository takes the lock that an operation needs for the time of the call and gives it back,
 * and reads the index anew when others have changed it. An open disk holds the shared lock until it
 * is released: calls that need the exclusive one are VMB_E_STATE meanwhile. Locations with
 * accessMode ReadOnly are read without locks; calls that write are VMB_E_STATE. Locks of others are
 * VMB_E_CONFLICT with VMB_ERROR_RETRYABLE.
 */
#ifndef VMBACKUP_REPO_H
#define VMBACKUP_REPO_H

#include <vmbackup/base.h>
#include <vmbackup/run.h>
#include <vmbackup/volume.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct vmb_repo vmb_repo; /**< an opened repository */
typedef struct vmb_disk vmb_disk; /**< a disk inside a snapshot, for reading */

/**
 * Makes a repository and opens it. Freezes the context; the handle holds a reference to it.
 * @param location name of a storage location; NULL: the default one
 * @param settings {"prefix": below the location's prefix ("restic/shop"; default ""),
 *        "password" or "passwordFile" (white space at its ends is not part of it), "version": 1|2,
 *        "compression": "auto"|"off"|"max", "packSize": MiB, 4 to 128 (16), "memory": MiB for packs
 *        in flight, 8 to 4096 (32), "uploads": 1 to 16 (2), "host", "username", "keyHint",
 *        "chunkerPolynomial": hex (random; that of another repository to copy well),
 *        "lockWait": Go duration ("0s"), "noLock": bool (reading only)}
 * @return VMB_OK, VMB_E_EXISTS (a repository or a part of one is there), VMB_E_ARG,
 *         VMB_E_NOT_FOUND (no such location), VMB_E_STATE (a read-only one), the store's failure.
 *         After a failure nothing of the repository is left.
 */
VMB_API vmb_code vmb_repo_init(vmb_ctx *ctx, const char *location, const char *settings,
                               size_t len, vmb_repo **out, vmb_error **err);
/**
 * Opens a repository; settings as for vmb_repo_init(), without "version" and "chunkerPolynomial".
 * @return VMB_OK, VMB_E_NOT_FOUND (none there), VMB_E_DENIED (no key opens with this password),
 *         VMB_E_UNSUPPORTED (a version that is not known), VMB_E_ARG, the store's failure
 */
VMB_API vmb_code vmb_repo_open(vmb_ctx *ctx, const char *location, const char *settings,
                               size_t len, vmb_repo **out, vmb_error **err);
/** Releases a repository, after its disks; NULL is allowed. */
VMB_API void vmb_repo_free(vmb_repo *repo);
/** Ends the current and every later call with VMB_E_CANCELLED. Any thread, async-signal-safe. */
VMB_API void vmb_repo_cancel(vmb_repo *repo);
/**
 * What is fixed in a repository, as owned JSON: {"id","version","format","chunkerPolynomial",
 * "location","prefix","readOnly"}.
 */
VMB_API vmb_code vmb_repo_info_json(vmb_repo *repo, char **out, size_t *out_len, vmb_error **err);
/**
 * Receives events of the calls: VMB_EVENT_PROGRESS (bytes; text: how many bytes the call has put
 * into the store so far, in decimal), VMB_EVENT_LOG (warnings, errors that a check finds; subject:
 * the file). Called from the thread that makes the call, or from one that works for it, never two
 * at a time. From within only vmb_repo_cancel() may be called: a call on the repository gives
 * VMB_E_STATE, and a read of one of its disks may never end. fn NULL: no events.
 * @return VMB_OK, VMB_E_ARG, VMB_E_STATE (during a call)
 */
VMB_API vmb_code vmb_repo_set_event_fn(vmb_repo *repo, vmb_event_fn fn, void *user,
                                       vmb_error **err);

/**
 * Saves files and folders as a snapshot.
 * @param options {"paths":["/a",…], "excludes":[…], "iexcludes":[…], "excludeCaches":bool,
 *        "excludeIfPresent":[…], "excludeLargerThan":bytes, "oneFileSystem":bool, "tags":[…],
 *        "host", "time": RFC 3339, "parent": snapshot, "force": bool, "dryRun": bool,
 *        "diskImages": [globs of names that are cut into fixed chunks], "chunkSize": bytes of
 *        these, as for disks, "readers": threads, 1 to 64 (2)}
 * @param summary receives owned JSON: restic's backup summary; may be NULL
 * @return VMB_OK (also with warnings: they are counted in the summary), VMB_E_ARG,
 *         VMB_E_NOT_FOUND (nothing to save), VMB_E_CONFLICT (locked), the store's failure
 */
VMB_API vmb_code vmb_repo_backup(vmb_repo *repo, const char *options, size_t len, char **summary,
                                 size_t *summary_len, vmb_error **err);
/**
 * Saves a disk as a snapshot with one file in it.
 * @param source borrowed for the call
 * @param options {"name": of the file ("disk.img"), "path": of its folder ("/"), "tags", "host",
 *        "time", "parent": snapshot to take unchanged parts from (default: the latest of this
 *        path and host), "force": bool, "chunkSize": bytes, a power of two, 64 KiB to 8 MiB
 *        (4 MiB), "readers": threads, 1 to 64 (2)}
 * @param summary receives owned JSON: as for files, with "bytesRead", "bytesZero",
 *        "bytesUnchanged", "chunks", "chunkSize"; may be NULL
 * @return VMB_OK, VMB_E_ARG (also: a table without size or pread), VMB_E_CONFLICT (locked),
 *         VMB_E_LIMIT (too many chunks), the source's or the store's failure
 */
VMB_API vmb_code vmb_repo_backup_disk(vmb_repo *repo, const vmb_blocks_provider *source,
                                      const char *options, size_t len, char **summary,
                                      size_t *summary_len, vmb_error **err);
/**
 * Brings files of a snapshot back into a folder. Nothing outside of it is touched, whatever the
 * snapshot says.
 * @param snapshot ID, a unique start of one, or "latest"
 * @param options {"target": folder that exists, "path": in the snapshot, "includes":[…], "excludes":[…],
 *        "host","tags","paths" (for "latest"), "overwrite": "never"|"always", "sparse": bool
 *        (true), "verify": bool, "dryRun": bool}
 * @param summary receives owned JSON; may be NULL
 * @return VMB_OK (also with warnings: they are counted in the summary), VMB_E_ARG,
 *         VMB_E_NOT_FOUND (no such snapshot or path), VMB_E_CONFLICT (the ID's start is not
 *         unique; locked), the store's failure
 */
VMB_API vmb_code vmb_repo_restore(vmb_repo *repo, const char *snapshot, const char *options,
                                  size_t len, char **summary, size_t *summary_len,
                                  vmb_error **err);
/**
 * Writes a file of a snapshot to a disk, zeros as holes.
 * @param target borrowed for the call
 * @param options {"path": of the file (default: the only file), "verify": bool,
 *        "host","tags","paths" (for "latest"), "readers": threads, 1 to 64 (2)}
 * @return as for files; VMB_E_FULL (the target is too small), VMB_E_INVALID (damaged, or the target
 *         reads back something else)
 */
VMB_API vmb_code vmb_repo_restore_disk(vmb_repo *repo, const char *snapshot,
                                       const vmb_blocks_provider *target, const char *options,
                                       size_t len, char **summary, size_t *summary_len,
                                       vmb_error **err);

/** Receives one JSON object of a listing; a negative return ends it with that code. */
typedef vmb_code (*vmb_json_fn)(void *user, const char *json, size_t len);
/** Snapshots as an owned JSON array, oldest first. options {"snapshots":[IDs],"host","tags",
 * "paths","latest":n of each host and set of paths}. */
VMB_API vmb_code vmb_repo_snapshots_json(vmb_repo *repo, const char *options, size_t len,
                                         char **out, size_t *out_len, vmb_error **err);
/** Lists the entries of a snapshot. options {"path","recursive":bool, "host","tags","paths" (for
 * "latest")}. */
VMB_API vmb_code vmb_repo_ls(vmb_repo *repo, const char *snapshot, const char *options,
                             size_t len, vmb_json_fn fn, void *user, vmb_error **err);
/**
 * Finds entries by pattern. options {"patterns":[…],"ignoreCase":bool,"snapshots":[…],"host",
 * "tags","paths","oldest","newest": RFC 3339}; fn gets {"snapshot","hits":n,"matches":[…]} per
 * snapshot with hits.
 */
VMB_API vmb_code vmb_repo_find(vmb_repo *repo, const char *options, size_t len, vmb_json_fn fn,
                               void *user, vmb_error **err);
/** Writes the content of one file of a snapshot; a negative return of fn ends it with that code. */
VMB_API vmb_code vmb_repo_dump(vmb_repo *repo, const char *snapshot, const char *path,
                               vmb_code (*fn)(void *user, const void *data, size_t len),
                               void *user, vmb_error **err);
/** Statistics as owned JSON. options {"mode":"restore-size"|"raw-data"|
 * "files-by-contents","snapshots":[…],"host","tags","paths"}. */
VMB_API vmb_code vmb_repo_stats_json(vmb_repo *repo, const char *options, size_t len, char **out,
                                     size_t *out_len, vmb_error **err);

/**
 * Checks the repository. options {"readData":bool}.
 * @param out receives owned JSON {"errors":n,"hints":n,"findings":[{"level","kind","file","blob",
 *        "message"}]}; may be NULL. Findings are data: VMB_OK is returned when the check itself
 *        could be made
 */
VMB_API vmb_code vmb_repo_check(vmb_repo *repo, const char *options, size_t len, char **out,
                                size_t *out_len, vmb_error **err);
/**
 * Removes snapshots by ID or by policy. options {"snapshots":[…]} or {"keepLast","keepHourly",
 * "keepDaily","keepWeekly","keepMonthly","keepYearly": n (-1 all), "keepWithin" and
 * "keepWithinHourly" … : "1y5m7d2h", "keepTags":[[…]], "groupBy":"host,paths", "host","tags",
 * "paths", "dryRun":bool, "unsafeAllowRemoveAll":bool}.
 * @param out receives owned JSON: the groups with what was kept, why, and what was removed; may be
 *        NULL
 * @return VMB_OK, VMB_E_ARG (also: neither snapshots nor a policy), VMB_E_STATE (a policy that
 *         would empty a group: "unsafeAllowRemoveAll"), VMB_E_NOT_FOUND, VMB_E_CONFLICT
 */
VMB_API vmb_code vmb_repo_forget(vmb_repo *repo, const char *options, size_t len, char **out,
                                 size_t *out_len, vmb_error **err);
/** Drops data that no snapshot needs. options {"maxUnused":percent (5),"maxRepackSize":bytes,
 * "dryRun":bool}. */
VMB_API vmb_code vmb_repo_prune(vmb_repo *repo, const char *options, size_t len, char **out,
                                size_t *out_len, vmb_error **err);
/** Copies snapshots into another repository; what is there already is left out. options
 * {"snapshots":[…],"host","tags","paths"}. Progress goes to the event function of `to`; both count
 * as being in a call. */
VMB_API vmb_code vmb_repo_copy(vmb_repo *from, vmb_repo *to, const char *options, size_t len,
                               char **out, size_t *out_len, vmb_error **err);
/** Removes stale locks; all 1: every lock. */
VMB_API vmb_code vmb_repo_unlock(vmb_repo *repo, int32_t all, size_t *removed, vmb_error **err);

/** Keys as an owned JSON array [{"id","created","userName","hostName","current"}]. */
VMB_API vmb_code vmb_repo_keys_json(vmb_repo *repo, char **out, size_t *out_len, vmb_error **err);
/** Adds a key; id (may be NULL) receives its owned ID. */
VMB_API vmb_code vmb_repo_key_add(vmb_repo *repo, const char *password, size_t len, char **id,
                                  vmb_error **err);
/** Removes a key by its ID, or a unique start of it; the one in use is refused with VMB_E_STATE. */
VMB_API vmb_code vmb_repo_key_remove(vmb_repo *repo, const char *id, vmb_error **err);
/** Replaces the key in use by one with this password. */
VMB_API vmb_code vmb_repo_key_passwd(vmb_repo *repo, const char *password, size_t len, char **id,
                                     vmb_error **err);

/* ---- disks ---------------------------------------------------------------------------------- */

/**
 * Opens a file of a snapshot for random reads.
 * @param snapshot ID, a unique start of one, or "latest"
 * @param path absolute path in the snapshot; NULL: the only file in it
 * @param cache_bytes memory for chunks that were read, 16 MiB to 1 GiB; 0: 32 MiB
 * @return VMB_OK, VMB_E_NOT_FOUND, VMB_E_INVALID (no regular file; damaged), VMB_E_CONFLICT (the
 *         ID's start is not unique, or several files)
 */
VMB_API vmb_code vmb_disk_open(vmb_repo *repo, const char *snapshot, const char *path,
                               int64_t cache_bytes, vmb_disk **out, vmb_error **err);
/** Releases a disk; NULL is allowed. Not beside a read of it. */
VMB_API void vmb_disk_free(vmb_disk *disk);
/** Size in bytes; 0 for NULL. Any thread. */
VMB_API int64_t vmb_disk_size(const vmb_disk *disk);
/** Receives an extent, one of VMB_EXTENT_; a negative return ends the walk with that code. */
typedef vmb_code (*vmb_extent_fn)(void *user, int64_t offset_bytes, int64_t length_bytes,
                                  int32_t kind);
/** Walks the extents of a range: zeros and data, without reading any data. Any thread. */
VMB_API vmb_code vmb_disk_extents(vmb_disk *disk, int64_t offset_bytes, int64_t length_bytes,
                                  vmb_extent_fn fn, void *user, vmb_error **err);
/**
 * Reads exactly len bytes, verified. Any thread.
 * @return VMB_OK, VMB_E_ARG (past the end), VMB_E_INVALID (damaged: names pack and position), the
 *         store's failure
 */
VMB_API vmb_code vmb_disk_pread(vmb_disk *disk, void *data, size_t len, int64_t offset_bytes,
                                vmb_error **err);

#ifdef __cplusplus
}
#endif
#endif
