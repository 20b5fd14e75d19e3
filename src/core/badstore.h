/* SPDX-License-Identifier: Apache-2.0 */
/* The store of a location that could not be set up: every use tells why. So one broken location does
 * not keep the others from being used, and is still listed. */
#ifndef VMBI_CORE_BADSTORE_H
#define VMBI_CORE_BADSTORE_H

#include <vmbackup/provider.h>

/* code and message of every failure; the message is copied. */
vmb_code vmbi_badstore_new(vmb_code code, const char *message, vmb_store_provider *out,
                           vmb_error **err);

#endif
