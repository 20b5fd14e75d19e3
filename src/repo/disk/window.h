/* SPDX-License-Identifier: Apache-2.0 */
/* What a source tells of a part of its disk: what is not zero, and what has changed. */
#ifndef VMBI_REPO_DISK_WINDOW_H
#define VMBI_REPO_DISK_WINDOW_H

#include <vmbackup/volume.h>

#include "base/compiler.h"

typedef struct vmbi_disk_range {
    uint64_t from, to;
} vmbi_disk_range;

enum { VMBI_DISK_MAX_RANGES = 16384 };

/* Sorted and disjoint. When there are too many, the last one swallows what follows, which costs
 * reading only. */
typedef struct vmbi_disk_ranges {
    vmbi_disk_range *v;
    size_t n, cap;
    size_t at; /* where the last look ended */
} vmbi_disk_ranges;

typedef struct vmbi_disk_window {
    uint64_t from, to;
    uint64_t told; /* extents have been told up to here */
    vmbi_disk_ranges nonzero; /* all but VMB_EXTENT_ZERO */
    vmbi_disk_ranges changed; /* all but VMB_EXTENT_UNCHANGED */
} vmbi_disk_window;

/* Asks the source. since NULL: nothing is unchanged. VMB_E_NOT_FOUND: it does not know since. */
vmb_code vmbi_disk_window_ask(vmbi_disk_window *w, const vmb_blocks_provider *source, vmb_job *job,
                              uint64_t from, uint64_t to, const char *since, vmb_error **err);
/* After a question with since: what is unchanged may be a hole all the same, which a chunk that has
 * changed in part need not read. Asks for the holes of the same window. */
vmb_code vmbi_disk_window_refine(vmbi_disk_window *w, const vmb_blocks_provider *source,
                                 vmb_job *job, vmb_error **err);
void vmbi_disk_window_free(vmbi_disk_window *w);

/* The first range that has something at or behind `from`, NULL when there is none. from must not
 * go down from call to call. */
const vmbi_disk_range *vmbi_disk_ranges_next(vmbi_disk_ranges *r, uint64_t from);
/* Does any range touch [from, to)? */
bool vmbi_disk_ranges_touch(vmbi_disk_ranges *r, uint64_t from, uint64_t to);

#endif
