/* SPDX-License-Identifier: Apache-2.0 */
/* Glob patterns as Velero's include/exclude lists use them (gobwas/glob v0.2.3 without separators):
 * '*' any run, '?' one character, [abc] [a-z] [!a] classes, {a,b} alternatives, \x literal. */
#ifndef VMBI_MODEL_GLOB_H
#define VMBI_MODEL_GLOB_H

#include <vmbackup/base.h>

#include "base/compiler.h"

typedef struct vmbi_glob vmbi_glob; /* immutable */

enum { VMBI_GLOB_MAX_BYTES = 1024 };

/* VMB_E_PARSE when the pattern is malformed, VMB_E_LIMIT when it is too long or too wide. */
vmb_code vmbi_glob_new(const char *pattern, vmbi_glob **out, vmb_error **err);
void vmbi_glob_free(vmbi_glob *g);
/* Time is bounded by pattern length times text length. */
bool vmbi_glob_matches(const vmbi_glob *g, const char *text);
/* Does it hold a byte that makes it more than a literal? */
bool vmbi_glob_is_pattern(const char *s);

#endif
