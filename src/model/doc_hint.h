/* SPDX-License-Identifier: Apache-2.0 */
/* Mistakes of Backup documents that show in the text only: what syntax errors of hand-copied
 * examples mean, and characters that look like others. */
#ifndef VMBI_MODEL_DOC_HINT_H
#define VMBI_MODEL_DOC_HINT_H

#include "model/problems.h"

/* A vmbi_doc_hint: the remedy for a syntax error; NULL when it is none of the known ones. */
const char *vmbi_backup_doc_hint(const char *text, size_t len, int line, int column,
                                 const char *problem);
/* Adds a warning for each look-alike character (at most 20). */
void vmbi_backup_doc_notes(const char *text, size_t len, vmbi_problems *notes);
/* The remedy for a value that ends in a number of its own ("true 1", "30s 10") or holds a
 * placeholder ("<namespace>"); NULL for others. */
const char *vmbi_value_hint(const char *value);

#endif
