/* SPDX-License-Identifier: Apache-2.0 */
/* The namespace filter of a Backup: lists as written, expanded against the namespaces that exist
 * when the run starts (Velero 1.18.1, pkg/util/wildcard/expand.go). */
#ifndef VMBI_MODEL_NSFILTER_H
#define VMBI_MODEL_NSFILTER_H

#include "model/incexc.h"

typedef struct vmbi_nsfilter {
    vmbi_incexc names;    /* after expansion */
    vmbi_strs listed;     /* namespaces to list: included and not excluded, sorted */
    vmbi_strs missing;    /* literal includes that do not exist */
    bool everything;      /* nothing is restricted */
    bool all_included;    /* includes are empty or "*": only excludes restrict */
    bool matched_nothing; /* wildcards that matched no namespace: nothing namespaced is wanted */
} vmbi_nsfilter;

/* includes and excludes as in the spec (NULL: empty); existing: all namespaces of the cluster. */
vmb_code vmbi_nsfilter_init(vmbi_nsfilter *f, const vmbi_strs *includes, const vmbi_strs *excludes,
                            const vmbi_strs *existing, vmb_error **err);
void vmbi_nsfilter_free(vmbi_nsfilter *f);
bool vmbi_nsfilter_wants(const vmbi_nsfilter *f, const char *ns);
/* Is one entry acceptable in a namespace list ("*" itself included)? `why`: static reason. */
bool vmbi_nsfilter_entry_ok(const char *entry, const char **why);

#endif
