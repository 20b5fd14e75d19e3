/* SPDX-License-Identifier: Apache-2.0 */
/* Include and exclude lists (Velero pkg/util/collections/includes_excludes.go): excludes win; an
 * empty include list, or one that holds "*", includes everything. Patterns are tried in sorted
 * order, and one that does not compile ends the search without a match. */
#ifndef VMBI_MODEL_INCEXC_H
#define VMBI_MODEL_INCEXC_H

#include "base/strs.h"
#include "model/glob.h"

typedef struct vmbi_globset {
    vmbi_strs items;   /* sorted, unique */
    vmbi_glob **globs; /* one per item; NULL: plain text, or beyond first_bad */
    size_t *patterns;  /* the n_patterns items that are more than plain text, before first_bad */
    size_t n_patterns;
    size_t first_bad; /* the first item that does not compile; items.n when all do */
} vmbi_globset;

typedef struct vmbi_incexc {
    vmbi_globset includes;
    vmbi_globset excludes;
} vmbi_incexc;

void vmbi_globset_free(vmbi_globset *s);
vmb_code vmbi_globset_init(vmbi_globset *s, const vmbi_strs *items, vmb_error **err);
bool vmbi_globset_matches(const vmbi_globset *s, const char *text);
bool vmbi_globset_has(const vmbi_globset *s, const char *item); /* literally */

/* Lists may be NULL (empty). */
vmb_code vmbi_incexc_init(vmbi_incexc *ie, const vmbi_strs *includes, const vmbi_strs *excludes,
                          vmb_error **err);
void vmbi_incexc_free(vmbi_incexc *ie);
bool vmbi_incexc_wants(const vmbi_incexc *ie, const char *text);
/* Excludes empty, and includes empty or exactly "*". */
bool vmbi_incexc_is_everything(const vmbi_incexc *ie);

#endif
