/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of strings, and small string helpers without locale. */
#ifndef VMBI_BASE_STRS_H
#define VMBI_BASE_STRS_H

#include <vmbackup/base.h>

#include "base/compiler.h"

typedef struct vmbi_strs {
    char **v; /* owned strings */
    size_t n;
    size_t cap;
} vmbi_strs;

void vmbi_strs_free(vmbi_strs *l);
vmb_code vmbi_strs_add(vmbi_strs *l, const char *s, vmb_error **err);
vmb_code vmbi_strs_addn(vmbi_strs *l, const char *s, size_t len, vmb_error **err);
bool vmbi_strs_has(const vmbi_strs *l, const char *s);
void vmbi_strs_sort(vmbi_strs *l); /* byte order */
/* Splits at every sep; empty parts are kept. */
vmb_code vmbi_strs_split(vmbi_strs *l, const char *s, char sep, vmb_error **err);

bool vmbi_streq(const char *a, const char *b); /* NULL equals NULL only */
bool vmbi_starts_with(const char *s, const char *prefix);
bool vmbi_ends_with(const char *s, const char *suffix);
bool vmbi_strcaseeq(const char *a, const char *b); /* ASCII */
char vmbi_lower(char c);                           /* ASCII */
bool vmbi_is_digit(char c);
bool vmbi_is_alnum(char c); /* ASCII */
bool vmbi_is_space(char c); /* space, tab, CR, LF */
/* Decimal integer, whole string, no sign but '-'; false on anything else or overflow. */
bool vmbi_parse_i64(const char *s, size_t len, int64_t *out);
bool vmbi_parse_u64(const char *s, size_t len, uint64_t *out);
/* Go's strconv.ParseBool: 1 t T TRUE true True 0 f F FALSE false False. */
bool vmbi_parse_bool(const char *s, bool *out);
/* Length (1 to 4) of the UTF-8 sequence at s, len >= 1; 0 when invalid. */
size_t vmbi_utf8_sequence(const char *s, size_t len);
/* Writes a code point (at most 0x10ffff); returns the number of bytes, 1 to 4. */
size_t vmbi_utf8_encode(uint32_t c, char out[4]);
/* Valid UTF-8 (no surrogates, no overlong forms)? */
bool vmbi_utf8_valid(const char *s, size_t len);
/* Makes text of unknown origin printable, in place: bytes that are no UTF-8 become '?', control
 * characters but tabs (and, with keep_lines, newlines) become spaces. */
void vmbi_text_clean(char *s, bool keep_lines);

#endif
