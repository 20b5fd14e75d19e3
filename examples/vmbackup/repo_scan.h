/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMBACKUP_REPO_SCAN_H
#define VMBACKUP_REPO_SCAN_H

#include <stdbool.h>
#include <sys/types.h>
#include <sys/stat.h>

/* Counts below paths (NULL-terminated, kept until the end) on a thread. stay: on their file
 * systems. */
void repo_scan_start(char **paths, bool stay);
void repo_scan_end(void);
/* Bytes of all files once they are counted; -1 before. */
long long repo_scan_total(void);

#endif
