/* SPDX-License-Identifier: Apache-2.0 */
/* Private to store_dir: listing. */
#ifndef VMBI_STORE_DIR_LIST_H
#define VMBI_STORE_DIR_LIST_H

#include <vmbackup/provider.h>

#include "base/cancel.h"

/* See vmb_store_provider.list; fold: delimiter "/". */
vmb_code vmbi_store_dir_list(int root, const vmbi_limits *limits, const char *prefix, bool fold,
                             vmb_key_sink *out, vmb_error **err);

#endif
