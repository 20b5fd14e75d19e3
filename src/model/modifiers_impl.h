/* SPDX-License-Identifier: Apache-2.0 */
/* Resource modifiers from the inside: modifiers_parse.c makes them, modifiers.c applies them. */
#ifndef VMBI_MODEL_MODIFIERS_IMPL_H
#define VMBI_MODEL_MODIFIERS_IMPL_H

#include <regex.h>

#include "model/incexc.h"
#include "model/jsonpatch.h"
#include "model/modifiers.h"
#include "model/selector.h"

enum { VMBI_MODIFIER_TEXT_MAX = 512 }; /* of patterns, and of places in messages */

typedef struct vmbi_modifier_op {
    vmbi_jsonpatch_op op; /* strings are borrowed from the document, the value is owned */
    vmbi_json *value;
} vmbi_modifier_op;

typedef enum vmbi_modifier_kind {
    VMBI_MODIFIER_JSON,
    VMBI_MODIFIER_MERGE,
    VMBI_MODIFIER_STRATEGIC
} vmbi_modifier_kind;

typedef struct vmbi_modifier_rule {
    const char *group_resource; /* a glob whose '*' stops at '.' */
    vmbi_incexc namespaces;
    bool has_regex;
    regex_t regex;
    vmb_selector *selector; /* NULL: any labels */
    vmbi_modifier_op *matches;
    size_t n_matches;
    vmbi_modifier_kind kind;
    vmbi_modifier_op *ops; /* of VMBI_MODIFIER_JSON */
    size_t n_ops;
    vmbi_json *patches; /* array: of the other kinds */
} vmbi_modifier_rule;

struct vmbi_modifiers {
    vmbi_json *doc;
    vmbi_modifier_rule *rules;
    size_t n;
};

#endif
