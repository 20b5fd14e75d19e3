/* SPDX-License-Identifier: Apache-2.0 */
/* What runs of both kinds say of themselves: who they are, what they met, how they ended. */
#ifndef VMBI_CORE_OUTCOME_H
#define VMBI_CORE_OUTCOME_H

#include "base/strs.h"
#include "core/run.h"
#include "core/runlog.h"
#include "model/discovery.h"

/* Metadata that the API server would set: namespace, and unless it has them uid and creation time.
 */
bool vmbi_outcome_identify(vmbi_json *meta, const char *ns, int64_t start_unix_ns);

/* Fields of a status, in Velero's form. */
bool vmbi_outcome_time(vmbi_json *obj, const char *key, int64_t unix_ns);
bool vmbi_outcome_count(vmbi_json *obj, const char *key, int64_t n); /* 0 is left out */

typedef struct vmbi_outcome {
    const char *phase;
    const char *failure;                /* failureReason; NULL: none */
    const vmbi_strs *validation_errors; /* of a run that did not begin; NULL: it did */
    int64_t start_unix_ns;
    int64_t completion_unix_ns;
    int64_t items;         /* of progress: all there were, and done */
    const char *items_key; /* "itemsBackedUp" */
    int64_t hooks_attempted;
    int64_t hooks_failed;
    const vmbi_runlog *log;
} vmbi_outcome;
/* Adds what both kinds have to a status; false when memory is out. */
bool vmbi_outcome_status(vmbi_json *status, const vmbi_outcome *o);

/* What validation and discovery had to say goes into the log. discovery may be NULL. */
void vmbi_outcome_log(vmbi_runlog *log, const vmbi_problems *problems,
                      const vmbi_discovery *discovery);

/* The run's report: the resource (NULL: none) under `key`, the log's results, the duration. extra
 * (may be NULL) has further members; it is not taken. */
vmb_code vmbi_outcome_report(vmb_run *run, const char *key, vmbi_json *resource,
                             const vmbi_runlog *log, int64_t duration_ns, const vmbi_json *extra,
                             vmb_error **err);

#endif
