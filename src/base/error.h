/* SPDX-License-Identifier: Apache-2.0 */
/* Building errors. Idiom: `return vmbi_fail(err, VMB_E_NET, "connect to %s: %s", host, why);` */
#ifndef VMBI_BASE_ERROR_H
#define VMBI_BASE_ERROR_H

#include <vmbackup/base.h>

#include "base/compiler.h"

/* Stores a new error (when err is not NULL; a former one is released) and returns code. Reporting
 * VMB_E_NOMEM allocates nothing. Messages are cut at 4 KiB. */
vmb_code vmbi_fail(vmb_error **err, vmb_code code, const char *fmt, ...) VMBI_PRINTF(3, 4);
/* The same with VMB_ERROR_RETRYABLE set. */
vmb_code vmbi_fail_retryable(vmb_error **err, vmb_code code, const char *fmt, ...)
    VMBI_PRINTF(3, 4);
/* From an errno value: maps it to a code (ENOENT: NOT_FOUND, EACCES/EPERM: DENIED, EEXIST: EXISTS,
 * ENOSPC/EDQUOT: FULL, ENOMEM: NOMEM, else IO) and appends ": <strerror>" to the text. */
vmb_code vmbi_fail_errno(vmb_error **err, int errnum, const char *fmt, ...) VMBI_PRINTF(3, 4);
/* Out of memory. */
vmb_code vmbi_fail_nomem(vmb_error **err);
/* Puts "<text>: " in front of the message of *err, keeping code and flags; returns the code of
 * *err (or `code` when there is no error object). Use once per layer, with what *we* tried. */
vmb_code vmbi_wrap(vmb_error **err, vmb_code code, const char *fmt, ...) VMBI_PRINTF(3, 4);
/* Moves an error: *dst = *src, *src = NULL; a NULL dst releases it. */
void vmbi_error_move(vmb_error **dst, vmb_error **src);
bool vmbi_error_is_retryable(const vmb_error *e);
/* Code a provider returned: anything that is neither VMB_OK nor a known code becomes
 * VMB_E_PROVIDER with a message; a failure without an error object gets one naming `what`. */
vmb_code vmbi_check_provider(vmb_error **err, vmb_code code, const char *what);

#endif
