/* SPDX-License-Identifier: Apache-2.0 */
/* The difference of two JSON values as a JSON patch (RFC 6902). */
#ifndef VMBI_MODEL_JSON_DIFF_H
#define VMBI_MODEL_JSON_DIFF_H

#include "codec/json.h"

/* Appends the operations that make `from` into `to`, in an order in which they can be applied:
 * add, remove and replace, with members by key. `out` is an array. */
vmb_code vmbi_json_diff(const vmbi_json *from, const vmbi_json *to, vmbi_json *out,
                        vmb_error **err);

/* Is the text a JSON pointer (RFC 6901) that names something below the root? */
bool vmbi_json_pointer_ok(const char *pointer);
/* Removes what a pointer names, if it is there. */
void vmbi_json_pointer_remove(vmbi_json *value, const char *pointer);

#endif
