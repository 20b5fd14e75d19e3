/* SPDX-License-Identifier: Apache-2.0 */
/* Values that cost a list request, kept for the length of a run. One provider may serve several
 * runs from several threads: entries are told apart by the run's cluster, backup name and backup
 * UID, and values are counted references. */
#ifndef VMBI_PROVIDERS_RUNCACHE_H
#define VMBI_PROVIDERS_RUNCACHE_H

#include <vmbackup/provider.h>

#include "base/compiler.h"

typedef struct vmbi_run_cache vmbi_run_cache;
typedef struct vmbi_cached vmbi_cached; /* a counted reference to a value */

/* Makes the value of a key, without any lock held. */
typedef vmb_code (*vmbi_run_cache_make)(vmb_job *job, const char *key, void **value,
                                        vmb_error **err);

/* max_age_ns: a value older than this is made again; -1: kept as long as the run is remembered. */
vmb_code vmbi_run_cache_new(vmbi_run_cache_make make, void (*free_value)(void *),
                            int64_t max_age_ns, vmbi_run_cache **out, vmb_error **err);
void vmbi_run_cache_free(vmbi_run_cache *c);
/* *out receives a reference; give it back with vmbi_cached_unref. Failures are not remembered. */
vmb_code vmbi_run_cache_get(vmbi_run_cache *c, vmb_job *job, const char *key, vmbi_cached **out,
                            vmb_error **err);
const void *vmbi_cached_value(const vmbi_cached *v);
void vmbi_cached_unref(vmbi_cached *v); /* NULL allowed */

#endif
