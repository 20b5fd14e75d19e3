/* SPDX-License-Identifier: Apache-2.0 */
/* Private to store_dir: keys as paths that cannot leave the folder. Symbolic links below the
 * folder are never followed. */
#ifndef VMBI_STORE_DIR_PATH_H
#define VMBI_STORE_DIR_PATH_H

#include <sys/types.h>

#include <vmbackup/base.h>

#include "base/compiler.h"

/* Folder at the root for unfinished objects; hidden from lists and refused in keys. */
#define VMBI_STORE_DIR_TMP ".vmbackup-tmp"
enum { VMBI_STORE_KEY_MAX = 1024 };

/* VMB_E_ARG unless the key can be a file below the folder: no empty part, no "." or "..", no
 * leading or trailing '/', at most 1024 bytes, each part at most 255. */
vmb_code vmbi_store_dir_check_key(const char *key, vmb_error **err);
/* The same for a prefix, whose last part may be incomplete or empty. */
vmb_code vmbi_store_dir_check_prefix(const char *prefix, vmb_error **err);

/* open() below root; -1 with errno. ELOOP for a symbolic link on the way. */
int vmbi_store_dir_open(int root, const char *path, int flags);
/* Opens the folder that holds the key's file; *name points into key. -1 with errno. */
int vmbi_store_dir_open_parent(int root, const char *key, const char **name);
/* Creates the folders of a key, each made durable in its parent. 0, or -1 with errno. */
int vmbi_store_dir_make_parents(int root, const char *key);
/* Removes folders of a key that are empty now; failures do not matter. */
void vmbi_store_dir_prune_parents(int root, const char *key);

#endif
