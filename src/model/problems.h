/* SPDX-License-Identifier: Apache-2.0 */
/* A list of what is wrong with a document, each with its place and its remedy. */
#ifndef VMBI_MODEL_PROBLEMS_H
#define VMBI_MODEL_PROBLEMS_H

#include "codec/json.h"
#include "codec/yaml.h"

typedef struct vmbi_problem {
    bool is_error; /* else a warning */
    int line;      /* 0: unknown */
    int column;
    char *field;   /* "spec.ttl"; never NULL */
    char *message; /* never NULL */
    char *remedy;  /* "" when none */
} vmbi_problem;

typedef struct vmbi_problems {
    vmbi_problem *v;
    size_t n;
    size_t cap;
    size_t errors;                /* of the n */
    const vmbi_positions *places; /* borrowed while adding; NULL: lines are 0 */
    vmb_code status;              /* sticky: VMB_OK, VMB_E_NOMEM, VMB_E_LIMIT */
} vmbi_problems;

enum { VMBI_PROBLEMS_MAX = 1000 }; /* further ones are only counted as the limit's last line */

void vmbi_problems_free(vmbi_problems *p);
/* remedy may be NULL. Failures are sticky in p->status. */
void vmbi_problems_add(vmbi_problems *p, bool is_error, const char *field, const char *remedy,
                       const char *fmt, ...) VMBI_PRINTF(5, 6);
/* The same with a place of one's own. */
void vmbi_problems_add_at(vmbi_problems *p, bool is_error, int line, int column, const char *field,
                          const char *remedy, const char *fmt, ...) VMBI_PRINTF(7, 8);
/* Errors first, then by line; stable. */
void vmbi_problems_sort(vmbi_problems *p);
/* {"problems":[…]} as vmb_spec_validate() documents it. */
vmb_code vmbi_problems_to_json(const vmbi_problems *p, char **out, size_t *out_len,
                               vmb_error **err);
/* VMB_OK without errors; else VMB_E_INVALID with the first message, its place and the number. */
vmb_code vmbi_problems_check(const vmbi_problems *p, const char *source, vmb_error **err);
/* "field: message" of every error, as Velero's status.validationErrors wants it. */
vmb_code vmbi_problems_error_lines(const vmbi_problems *p, vmbi_strs *out, vmb_error **err);

#endif
