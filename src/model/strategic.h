/* SPDX-License-Identifier: Apache-2.0 */
/* Strategic merge patches of the built-in kinds of Kubernetes (apimachinery's pkg/util/
 * strategicpatch, v0.36): lists merge by element where the API's types say so. */
#ifndef VMBI_MODEL_STRATEGIC_H
#define VMBI_MODEL_STRATEGIC_H

#include "base/compiler.h"
#include "codec/json.h"

typedef struct vmbi_strategic_kind {
    const char *api_version;
    const char *kind;
    const char *type;
} vmbi_strategic_kind;

typedef struct vmbi_strategic_field {
    const char *type;
    const char *field;
    const char *child; /* type of the value, or of the list's elements; NULL: nothing known below */
    bool merge;        /* a list that merges by element */
    const char *key;   /* the elements' key; NULL: elements are plain values */
    bool retain_keys;
} vmbi_strategic_field;

extern const vmbi_strategic_kind vmbi_strategic_kinds[];
extern const size_t vmbi_strategic_kinds_len;
extern const vmbi_strategic_field vmbi_strategic_fields[];
extern const size_t vmbi_strategic_fields_len;

/* Applies a patch to an object, in place; the kind is read from the object. VMB_E_INVALID: a kind
 * that is not built in, or a malformed patch; the object may then be changed in part. */
vmb_code vmbi_strategic_merge(vmbi_json *obj, const vmbi_json *patch, vmb_error **err);

#endif
