/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of a selector, shared by the two parsers and the matcher. */
#ifndef VMBI_MODEL_SELECTOR_IMPL_H
#define VMBI_MODEL_SELECTOR_IMPL_H

#include "model/selector.h"

typedef enum vmbi_selector_op {
    VMBI_OP_EQUALS,        /* = */
    VMBI_OP_DOUBLE_EQUALS, /* == */
    VMBI_OP_NOT_EQUALS,    /* != */
    VMBI_OP_IN,
    VMBI_OP_NOT_IN,
    VMBI_OP_EXISTS,
    VMBI_OP_NOT_EXISTS,
    VMBI_OP_GREATER,
    VMBI_OP_LESS
} vmbi_selector_op;

typedef struct vmbi_requirement {
    char *key;
    size_t key_len;
    vmbi_selector_op op;
    vmbi_slice *values; /* owned strings, NUL-terminated */
    size_t n_values;
    int64_t number; /* operand of > and < */
} vmbi_requirement;

enum { VMBI_SELECTOR_FAST_MAX = 64 }; /* requirements that fit a bit mask */

struct vmb_selector {
    bool nothing;           /* matches no object */
    bool fast;              /* at most 64 requirements: `need` and `head` are set */
    vmbi_requirement *reqs; /* sorted by key, in the order of writing for equal keys */
    size_t n;
    size_t cap;
    size_t terms;      /* requirements and values, against VMBI_SELECTOR_MAX_TERMS */
    uint64_t need;     /* bit i: requirement i fails when its key is absent */
    uint8_t head[256]; /* by first byte of a key: 1 + its first requirement, 0 for none */
};

vmb_code vmbi_selector_new(vmb_selector **out, vmb_error **err);
/* Checks and adds one requirement; everything is copied. `where` starts messages. Content that is
 * not acceptable fails with `bad` (VMB_E_PARSE or VMB_E_INVALID). */
vmb_code vmbi_selector_add(vmb_selector *sel, vmbi_slice key, vmbi_selector_op op,
                           const vmbi_slice *values, size_t n_values, vmb_code bad,
                           const char *where, vmb_error **err);
/* Does the requirement fail when its key is absent? */
bool vmbi_selector_needs_key(vmbi_selector_op op);
/* A signed 64-bit decimal, as Go's strconv.ParseInt reads it; false for anything else. */
bool vmbi_selector_number(vmbi_slice v, int64_t *out);
/* Sorts and indexes; after it the selector is immutable. */
void vmbi_selector_seal(vmb_selector *sel);

#endif
