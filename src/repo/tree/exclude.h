/* SPDX-License-Identifier: Apache-2.0 */
/* What a backup leaves out, by restic's rules. */
#ifndef VMBI_REPO_TREE_EXCLUDE_H
#define VMBI_REPO_TREE_EXCLUDE_H

#include <sys/stat.h>

#include "repo/tree/backup.h"

enum { VMBI_EXCLUDE_MAX_TAGS = 63 };

typedef struct vmbi_excludes vmbi_excludes; /* used by one thread */

/* Warnings about tag files go through warn. */
vmb_code vmbi_excludes_new(const vmbi_tree_options *o, vmbi_excludes **out, vmb_error **err);
void vmbi_excludes_free(vmbi_excludes *x);

/* Which of the tag files of exclude_if_present and exclude_caches lie in a directory: one bit for
 * each. warn gets what keeps one from being looked at. */
uint64_t vmbi_excludes_tags(const vmbi_excludes *x, int dirfd, const char *dir,
                            void (*warn)(void *user, const char *path, const char *text),
                            void *user);
/* By name, before the entry is looked at. tags: of its directory. */
vmb_code vmbi_excludes_name(vmbi_excludes *x, const char *path, const char *name, uint64_t tags,
                            bool *excluded, vmb_error **err);
bool vmbi_excludes_size(const vmbi_excludes *x, const struct stat *st);

#endif
