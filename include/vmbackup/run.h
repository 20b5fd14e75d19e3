/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file run.h
 * @brief One execution of a backup or a restore.
 *
 * A run is driven by one thread at a time. While vmb_run_execute() blocks that thread, another one
 * may call vmb_run_cancel(), vmb_run_phase(), vmb_run_fd() and vmb_run_next_event() (one thread at
 * a time takes events). Nothing else of the run may be called then, save from within callbacks,
 * where vmb_run_execute() is VMB_E_STATE.
 */
#ifndef VMBACKUP_RUN_H
#define VMBACKUP_RUN_H

#include <vmbackup/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Prepares a backup or, when the spec's kind is Restore, a restore. Freezes the context, copies the
 * spec.
 * @return VMB_OK, VMB_E_ARG, VMB_E_STATE (no cluster or no location), VMB_E_NOMEM
 */
VMB_API vmb_code vmb_run_new(vmb_ctx *ctx, const vmb_spec *spec, vmb_run **out, vmb_error **err);
/**
 * Runs to the end and blocks the caller meanwhile. May be called once.
 * @return VMB_OK when the backup lies in the store whole, or the objects are restored (phase
 *         Completed or PartiallyFailed);
 *         VMB_E_INVALID (phase FailedValidation), VMB_E_CANCELLED, or the fatal failure
 *         (phase Failed). vmb_run_phase() and vmb_run_report_json() work in every case.
 */
VMB_API vmb_code vmb_run_execute(vmb_run *run, vmb_error **err);
/**
 * Asks a run to stop; it thaws guests, cleans up and ends as Failed. Any thread, any time until
 * vmb_run_free(); further calls do nothing. Async-signal-safe.
 */
VMB_API void vmb_run_cancel(vmb_run *run);
/**
 * Velero's phase: "New", "InProgress", "Completed", "PartiallyFailed", "Failed" … "" for NULL.
 * Static string; any thread.
 */
VMB_API const char *vmb_run_phase(const vmb_run *run);
/**
 * The outcome as owned JSON: {"apiVersion":"vmbackup.io/v1","kind":"RunReport","backup":{…the
 * Backup resource with status},"warnings":{…},"errors":{…},"freezes":[{"namespace","pod",
 * "frozenNs"}],"bytes":{"objects","archive"},"durationNs":n}; docs/schema/run-report.json is its schema.
 * Of a restore "restore" stands in the place of "backup", and "freezes" and "bytes" are missing.
 * @return VMB_OK, VMB_E_ARG, VMB_E_STATE (the run has not ended)
 */
VMB_API vmb_code vmb_run_report_json(const vmb_run *run, char **out, size_t *out_len,
                                     vmb_error **err);
/**
 * Tells what a backup would do, without doing it: the cluster is read, nothing is stored, no hook
 * runs, no snapshot is cut. Owned JSON: {"apiVersion":"vmbackup.io/v1","kind":"RunPlan","backup":
 * {…with defaults},"storageLocation","items":[{"resource","namespace","name"}],"leftOut":[{…,
 * "reason"}],"leftOutTypes":["…"],"volumes":[{"namespace","pvc","pv","method":"snapshot"|
 * "filesystem backup"|"none",…}],"hooks":[{"namespace","pod","phase","container","command",
 * "timeoutNs"}],"warnings":{},"errors":{}}. Freezes the context.
 * @return VMB_OK, VMB_E_ARG, VMB_E_STATE (no cluster or no location), VMB_E_INVALID (the backup would
 *         be refused: phase FailedValidation), or the cluster's failure
 */
VMB_API vmb_code vmb_run_plan_json(vmb_ctx *ctx, const vmb_spec *spec, char **out, size_t *out_len,
                                   vmb_error **err);
/** Releases a run; NULL is allowed. Not while vmb_run_execute() is active. */
VMB_API void vmb_run_free(vmb_run *run);

/** Kinds of events; skip those you do not know. */
enum {
    VMB_EVENT_PHASE = 1,    /**< the phase changed; text is the phase */
    VMB_EVENT_PROGRESS = 2, /**< done and total items (total -1 unknown); at most 10 per second */
    VMB_EVENT_LOG = 3,      /**< a warning or error; level and text */
    VMB_EVENT_HOOK = 4,     /**< a hook ended; subject "ns/pod", text says how */
    VMB_EVENT_VOLUME = 5,   /**< a volume changed state; subject "ns/pvc", without a claim
                                 "ns/pod/volume"; text is the state; done and total bytes while
                                 filesystem backup saves it */
    VMB_EVENT_STORED = 6    /**< a file was stored; subject is the key, done its bytes */
};
/** File descriptor that is readable while events wait; owned by the run; -1 on failure. */
VMB_API int32_t vmb_run_fd(const vmb_run *run);
/**
 * Takes the next event without blocking. At most 1024 wait; when more come the oldest progress
 * events are dropped first.
 * @param out receives an owned event, or NULL when none waits
 * @return VMB_OK (also when none waits), VMB_E_ARG
 */
VMB_API vmb_code vmb_run_next_event(vmb_run *run, vmb_event **out, vmb_error **err);
/** Receives events during vmb_run_execute() on its thread. event is borrowed for the call. */
typedef void (*vmb_event_fn)(void *user, const vmb_event *event);
/**
 * Delivers events to a function instead of the queue; to be set before vmb_run_execute(). fn NULL:
 * back to the queue. `user` stays the caller's and must live until vmb_run_free().
 * @return VMB_OK, VMB_E_ARG, VMB_E_STATE (the run has begun)
 */
VMB_API vmb_code vmb_run_set_event_fn(vmb_run *run, vmb_event_fn fn, void *user, vmb_error **err);

/* Reading an event: from any thread while it lives. What a kind does not have is 0, "" or -1. */
VMB_API int32_t vmb_event_kind(const vmb_event *e);  /**< one of VMB_EVENT_; 0 for NULL */
VMB_API int32_t vmb_event_level(const vmb_event *e); /**< one of VMB_LOG_ */
VMB_API const char *vmb_event_subject(const vmb_event *e); /**< "" when none. Borrowed. */
VMB_API const char *vmb_event_text(const vmb_event *e);    /**< "" when none. Borrowed. */
VMB_API int64_t vmb_event_done(const vmb_event *e);  /**< items or bytes so far */
VMB_API int64_t vmb_event_total(const vmb_event *e); /**< -1 unknown */
/** Releases an event of vmb_run_next_event(); NULL is allowed. */
VMB_API void vmb_event_free(vmb_event *e);

#ifdef __cplusplus
}
#endif
#endif
