/* SPDX-License-Identifier: Apache-2.0 */
/* Private to store_dir: writing one object. */
#ifndef VMBI_STORE_DIR_PUT_H
#define VMBI_STORE_DIR_PUT_H

#include <vmbackup/base.h>

#include "base/compiler.h"

typedef struct vmbi_dir_put vmbi_dir_put;

vmb_code vmbi_dir_put_begin(int root, const char *key, bool if_absent, vmbi_dir_put **out,
                            vmb_error **err);
vmb_code vmbi_dir_put_write(vmbi_dir_put *p, const void *data, size_t len, vmb_error **err);
/* Makes the bytes durable, then the name. Does not free. */
vmb_code vmbi_dir_put_commit(vmbi_dir_put *p, vmb_error **err);
/* Releases; drops the bytes unless committed. NULL allowed. */
void vmbi_dir_put_free(vmbi_dir_put *p);

/* Removes files of the private folder that have not changed since a time: writers that died left
 * them. */
vmb_code vmbi_dir_sweep(int root, int64_t before_unix_ns, int64_t *removed, vmb_error **err);

#endif
