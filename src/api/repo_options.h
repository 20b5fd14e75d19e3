/* SPDX-License-Identifier: Apache-2.0 */
/* Options as JSON objects, read strictly into a struct by a table of fields. */
#ifndef VMBI_API_REPO_OPTIONS_H
#define VMBI_API_REPO_OPTIONS_H

#include <stddef.h>

#include <vmbackup/base.h>

#include "base/compiler.h"
#include "codec/json.h"

/* A list of borrowed strings. */
typedef struct vmbi_option_list {
    const char **v; /* owned; the strings are the document's */
    size_t n;
} vmbi_option_list;

typedef enum vmbi_option_kind {
    VMBI_OPTION_BOOL,     /* bool */
    VMBI_OPTION_INT,      /* int64_t within min and max */
    VMBI_OPTION_STRING,   /* const char *, not empty unless min is -1 */
    VMBI_OPTION_STRINGS,  /* vmbi_option_list; one string counts as a list of one */
    VMBI_OPTION_TAGS,     /* vmbi_option_list; elements may be lists, which become "a,b" */
    VMBI_OPTION_DURATION, /* int64_t ns, from a Go duration */
    VMBI_OPTION_TIME      /* int64_t ns since the epoch, from RFC 3339 */
} vmbi_option_kind;

typedef struct vmbi_option {
    const char *name;
    vmbi_option_kind kind;
    size_t offset; /* of the field in the struct */
    int64_t min, max;
} vmbi_option;

#define VMBI_OPTION(type, field, name, kind, ...)                                                  \
    {                                                                                              \
        name, VMBI_OPTION_##kind, offsetof(type, field), __VA_ARGS__                               \
    }

/* Reads a document (NULL or len 0: nothing is given) into the zeroed-or-defaulted struct at out.
 * what completes messages ("forget options"). Fields that are absent or null keep their value.
 * *doc receives the document that the strings belong to; it is NULL without one. On failure out's
 * lists are released. VMB_E_PARSE: no JSON; VMB_E_ARG: an unknown option, a wrong type or value. */
vmb_code vmbi_options_read(const char *text, size_t len, const char *what, const vmbi_option *table,
                           size_t n, void *out, vmbi_json **doc, vmb_error **err);
/* Releases the lists of a struct that was read, and the document. */
void vmbi_options_done(const vmbi_option *table, size_t n, void *out, vmbi_json *doc);

#endif
