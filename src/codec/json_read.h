/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMBI_CODEC_JSON_READ_H
#define VMBI_CODEC_JSON_READ_H

#include "codec/json.h"

/* Builds the tree of a well-formed text. VMB_OK, VMB_E_NOMEM, or VMB_E_PARSE for whatever is not
 * plainly right: jansson then says what is wrong with it. Nesting must be limited already. */
vmb_code vmbi_json_read(const char *text, size_t len, vmbi_json **out);

#endif
