/* SPDX-License-Identifier: Apache-2.0 */
/* The log of a run: Velero's log text (compressed as it grows) and Velero's results document, both
 * from the same entries. An entry at error level makes the backup PartiallyFailed. */
#ifndef VMBI_CORE_RUNLOG_H
#define VMBI_CORE_RUNLOG_H

#include <vmbackup/context.h>

#include "codec/gzip.h"
#include "codec/json.h"
#include "core/events.h"

enum {
    VMBI_LOG_MAX_BYTES = 32 * 1024 * 1024, /* compressed; lines beyond are counted, not kept */
    VMBI_RESULTS_MAX = 20000               /* warnings and errors that are kept as text */
};

typedef struct vmbi_log_fields {
    const char *resource; /* "pods"; NULL: not about an item */
    const char *ns;       /* NULL: not about a namespace; "" : cluster-scoped */
    const char *name;
    const char *error; /* text of the error behind the entry */
} vmbi_log_fields;

typedef struct vmbi_runlog {
    int32_t level; /* least level kept in the log text */
    const char *kind; /* "backup" or "restore": names the subject, and the form of results */
    char *subject;    /* "velero/b1" */
    vmb_log_fn fn;
    void *fn_user;
    vmbi_events *events;
    vmbi_gzip *gzip;
    vmbi_buf packed;
    vmbi_buf line;
    vmbi_json *results; /* {"warnings":{…},"errors":{…}} */
    int64_t warnings;
    int64_t errors;
    int64_t kept;
    int64_t dropped_lines;
    vmb_code status; /* sticky failure of the collector itself */
} vmbi_runlog;

vmb_code vmbi_runlog_init(vmbi_runlog *log, int32_t level, const char *ns, const char *backup,
                          vmbi_events *events, vmb_error **err);
/* The same for a run of another kind, a static word. The results of a "restore" are plain
 * messages, as Velero writes them. */
vmb_code vmbi_runlog_init_kind(vmbi_runlog *log, int32_t level, const char *kind, const char *ns,
                               const char *name, vmbi_events *events, vmb_error **err);
void vmbi_runlog_done(vmbi_runlog *log);
/* fields may be NULL. */
void vmbi_runlog_add(vmbi_runlog *log, int32_t level, const vmbi_log_fields *fields,
                     const char *fmt, ...) VMBI_PRINTF(4, 5);
/* An error object as the reason; its message goes into the error field. */
void vmbi_runlog_error(vmbi_runlog *log, const char *resource, const char *ns, const char *name,
                       const vmb_error *why, const char *fmt, ...) VMBI_PRINTF(6, 7);
/* For vmb_job.log. */
void vmbi_runlog_job(void *log, int32_t level, const char *msg);
/* Ends the log text; packed holds a whole gzip file afterwards. */
vmb_code vmbi_runlog_finish(vmbi_runlog *log, vmb_error **err);

#endif
