/* SPDX-License-Identifier: Apache-2.0 */
/* Which of several control processes works: a Lease (coordination.k8s.io/v1), decided without
 * clock or cluster. Source: Kubernetes' leader election (client-go tools/leaderelection): a foreign
 * lease counts from when we saw it change, so that clocks need not agree. */
#ifndef VMBI_CORE_CONTROL_LEASE_H
#define VMBI_CORE_CONTROL_LEASE_H

#include "codec/json.h"

typedef struct vmbi_lease {
    const char *identity;  /* borrowed */
    int64_t duration_ns;   /* for how long others respect ours */
    int64_t renew_ns;      /* after so long without a renewal we stop by ourselves */
    char seen[512];        /* holder and renewal of the lease as last seen */
    int64_t seen_mono_ns;  /* when it became so */
    bool held;
    int64_t renewed_mono_ns; /* when we last wrote it */
} vmbi_lease;

typedef enum vmbi_lease_step {
    VMBI_LEASE_WAIT,   /* somebody else holds it */
    VMBI_LEASE_CREATE, /* there is none: create vmbi_lease_document() */
    VMBI_LEASE_WRITE,  /* ours, or free: patch with vmbi_lease_document() */
    VMBI_LEASE_LOST    /* it was ours: stop all work */
} vmbi_lease_step;

/* What to do; lease: the object, NULL when there is none. */
vmbi_lease_step vmbi_lease_look(vmbi_lease *l, const vmbi_json *lease, int64_t mono_ns);
/* The cluster could not be asked, or the write failed: LOST when too much time has passed. */
vmbi_lease_step vmbi_lease_missed(const vmbi_lease *l, int64_t mono_ns);
/* The write succeeded; `asked` is the time before it was sent. */
void vmbi_lease_written(vmbi_lease *l, int64_t asked_mono_ns);
/* The object to create, or the merge patch for `lease` (with its resource version, so that of two
 * writers one fails); NULL without memory. release: gives it back. */
vmbi_json *vmbi_lease_document(const vmbi_lease *l, const vmbi_json *lease, const char *name,
                               int64_t unix_ns, bool release);

#endif
