/* SPDX-License-Identifier: Apache-2.0 */
/* Patterns for paths in restic's syntax: components with the wildcards of Go's filepath.Match
 * ('*', '?', "[a-z]", "[^a]", '\'), "**" for any number of components, a leading '/' for the root;
 * without it a pattern matches anywhere in a path. A match of a folder matches all below it. */
#ifndef VMBI_REPO_TREE_PATTERN_H
#define VMBI_REPO_TREE_PATTERN_H

#include <vmbackup/base.h>

#include "base/compiler.h"

typedef struct vmbi_patterns vmbi_patterns; /* used by one thread at a time */

/* Empty patterns are left out. "!pattern" takes back what patterns before it have matched.
 * ignore_case: patterns and paths are compared in lower case. VMB_E_ARG names a malformed one. */
vmb_code vmbi_patterns_new(const char *const *v, size_t n, bool ignore_case, vmbi_patterns **out,
                           vmb_error **err);
void vmbi_patterns_free(vmbi_patterns *p); /* NULL allowed */

/* Is the absolute path matched, in restic's order of patterns? *child (may be NULL): may paths
 * below it be matched? NULL patterns match nothing. */
vmb_code vmbi_patterns_match(vmbi_patterns *p, const char *path, bool *matched, bool *child,
                             vmb_error **err);

/* One name against one glob, as filepath.Match; malformed globs match nothing. */
bool vmbi_glob_match(const char *glob, const char *name);
bool vmbi_glob_valid(const char *glob);

#endif
