/* SPDX-License-Identifier: Apache-2.0 */
/* A growable byte buffer with a ceiling. Errors are sticky: append without checking, check once. */
#ifndef VMBI_BASE_BUF_H
#define VMBI_BASE_BUF_H

#include <vmbackup/base.h>

#include "base/compiler.h"

typedef struct vmbi_buf {
    char *data;      /* NUL-terminated when not NULL */
    size_t len;      /* bytes used, without the NUL */
    size_t cap;      /* bytes allocated */
    size_t max;      /* ceiling of len */
    vmb_code status; /* VMB_OK, VMB_E_NOMEM or VMB_E_LIMIT; after a failure appends do nothing */
} vmbi_buf;

#define VMBI_BUF_INIT(limit) {NULL, 0, 0, (limit), VMB_OK}

void vmbi_buf_init(vmbi_buf *b, size_t max);
void vmbi_buf_free(vmbi_buf *b);  /* releases and re-initialises, keeps max */
void vmbi_buf_reset(vmbi_buf *b); /* len = 0, status = VMB_OK, keeps the memory */
void vmbi_buf_reserve(vmbi_buf *b, size_t extra);
void vmbi_buf_add(vmbi_buf *b, const void *data, size_t len);
void vmbi_buf_adds(vmbi_buf *b, const char *s);
void vmbi_buf_addc(vmbi_buf *b, char c);
void vmbi_buf_addf(vmbi_buf *b, const char *fmt, ...) VMBI_PRINTF(2, 3);
/* Adds a JSON string with quotes, escaped as Go's encoding/json does (<, >, & as \u003c …,
 * U+2028/9, control bytes; invalid UTF-8 becomes U+FFFD). */
void vmbi_buf_add_json_string(vmbi_buf *b, const char *s, size_t len);
/* Drops the first n bytes. */
void vmbi_buf_consume(vmbi_buf *b, size_t n);
/* Status as an error naming `what`. */
vmb_code vmbi_buf_check(const vmbi_buf *b, vmb_error **err, const char *what);
/* Hands the memory over as a NUL-terminated string (never NULL on success). */
vmb_code vmbi_buf_take(vmbi_buf *b, char **out, size_t *out_len, vmb_error **err,
                       const char *what);

#endif
