/* SPDX-License-Identifier: Apache-2.0 */
/* JSON Patch (RFC 6902) on trees, with the leniency of evanphx/json-patch v5, which Velero uses:
 * negative indices count from the end, and a test for null passes on a missing member. */
#ifndef VMBI_MODEL_JSONPATCH_H
#define VMBI_MODEL_JSONPATCH_H

#include "codec/json.h"

typedef struct vmbi_jsonpatch_op {
    const char *op;   /* "add", "remove", "replace", "move", "copy", "test" */
    const char *path; /* JSON pointer; "" the document */
    const char *from; /* of move and copy */
    const vmbi_json *value;
} vmbi_jsonpatch_op;

/* How a patch ended without a change. */
typedef enum vmbi_jsonpatch_end {
    VMBI_JSONPATCH_DONE,
    VMBI_JSONPATCH_TEST_FAILED,
    VMBI_JSONPATCH_MISSING /* a path of a test or another operation does not exist */
} vmbi_jsonpatch_end;

/* Applies one operation to *doc, in place. VMB_OK with *end DONE; VMB_E_INVALID with *end telling
 * what kind of failure it was (DONE: a malformed operation); VMB_E_LIMIT when a copy
 * would make the document too large; VMB_E_NOMEM. A failed operation may
 * have changed nothing; patch a copy to apply several or none. */
vmb_code vmbi_jsonpatch_apply(vmbi_json **doc, const vmbi_jsonpatch_op *op, vmbi_jsonpatch_end *end,
                              vmb_error **err);

#endif
