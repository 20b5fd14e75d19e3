/* SPDX-License-Identifier: Apache-2.0 */
/* Private to store_libs3: listing (version 1 of S3's list, the only one that libs3 has). */
#ifndef VMBI_STORE_LIBS3_LIST_H
#define VMBI_STORE_LIBS3_LIST_H

#include <vmbackup/provider.h>

#include "providers/store_libs3/call.h"

vmb_code vmbi_libs3_list(const vmbi_libs3 *s, const vmbi_limits *limits, const char *prefix,
                         const char *delimiter, vmb_key_sink *out, vmb_error **err);

#endif
