/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file control.h
 * @brief The control loops of a server: does what Velero's controllers do, for the custom
 *        resources of one namespace.
 *
 * Watches Backups, Restores, Schedules, BackupStorageLocations, DeleteBackupRequests,
 * DownloadRequests, ServerStatusRequests, BackupRepositories and, where the cluster serves them,
 * OADP's DataProtectionApplications, and writes their phases. docs/operator.md tells what each
 * loop does. A program needs little more than this and a signal handler: see examples/operator.
 */
#ifndef VMBACKUP_CONTROL_H
#define VMBACKUP_CONTROL_H

#include <vmbackup/base.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct vmb_control vmb_control; /**< the control loops over one namespace */

/**
 * Prepares the loops over the namespace of the context's setting "namespace". Freezes the context,
 * whose locations are not used: they are those of the cluster.
 * @param settings JSON or YAML object, NULL for the defaults. Keys, with default:
 *  - "defaultLocation": location of Backups that name none when none is marked ("default")
 *  - "defaultTTL": Go duration ("720h")
 *  - "validationPeriod", "syncPeriod": of locations that do not say ("1m")
 *  - "gcPeriod": between looks for expired backups ("1h")
 *  - "schedulePeriod": between looks at schedules ("1m")
 *  - "scheduleSkipImmediately": for schedules that do not say (false)
 *  - "timeZone": IANA name, of schedules without one ("UTC")
 *  - "leaderElection": true lets one of several processes work (false)
 *  - "leaseName" ("vmbackup-operator"), "identity" (host name and process id)
 *  - "version": what ServerStatusRequests are told (the library's own)
 * @return VMB_OK, VMB_E_ARG (unknown key or bad value), VMB_E_PARSE, VMB_E_STATE (no cluster),
 *         VMB_E_UNSUPPORTED (the cluster cannot be watched, or a provider is serial)
 */
VMB_API vmb_code vmb_control_new(vmb_ctx *ctx, const char *settings, size_t len,
                                 vmb_control **out, vmb_error **err);
/**
 * Runs the loops until vmb_control_stop(); blocks the caller meanwhile and works on threads of its
 * own. May be called once.
 * @return VMB_OK after vmb_control_stop(); VMB_E_CONFLICT when the lease was lost (end the process
 *         and start anew); VMB_E_DENIED, VMB_E_NOT_FOUND and others when the namespace cannot be
 *         watched
 */
VMB_API vmb_code vmb_control_run(vmb_control *control, vmb_error **err);
/**
 * Asks the loops to end. A backup that is running is cancelled, cleaned up and ends as Failed. Any
 * thread, any number of times; async-signal-safe.
 */
VMB_API void vmb_control_stop(vmb_control *control);
/** 1 when every kind was read once and the loops work, or while another process leads. */
VMB_API int32_t vmb_control_ready(const vmb_control *control);
/** Metrics in Prometheus' text form, owned; any thread. docs/operator.md lists the names. */
VMB_API vmb_code vmb_control_metrics(vmb_control *control, char **out, size_t *out_len,
                                     vmb_error **err);
/** Releases; NULL is allowed. Not while vmb_control_run() is active. */
VMB_API void vmb_control_free(vmb_control *control);

#ifdef __cplusplus
}
#endif
#endif
