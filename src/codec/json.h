/* SPDX-License-Identifier: Apache-2.0 */
/* JSON trees on jansson: the only header that stands before it. Objects print with sorted keys
 * and Go's escapes, as Velero and the API server print them. */
#ifndef VMBI_CODEC_JSON_H
#define VMBI_CODEC_JSON_H

#include <vmbackup/base.h>

#include "base/buf.h"
#include "base/compiler.h"
#include "base/strs.h"

typedef struct json_t vmbi_json; /* reference-counted; not shared between threads */

enum { VMBI_JSON_MAX_DEPTH = 128 };

/* Parses one value; trailing text, duplicate keys, bad UTF-8, NUL in strings and depth beyond
 * VMBI_JSON_MAX_DEPTH are refused. Message: "<what>: line L column C: …". Numbers beyond int64
 * become reals. */
vmb_code vmbi_json_parse(const char *text, size_t len, const char *what, vmbi_json **out,
                         vmb_error **err);
/* The same for a piece of a larger text: lines in messages count from first_line. */
vmb_code vmbi_json_parse_from(const char *text, size_t len, const char *what, int first_line,
                              vmbi_json **out, vmb_error **err);
void vmbi_json_free(vmbi_json *v); /* gives one reference back; NULL allowed */
vmbi_json *vmbi_json_ref(vmbi_json *v);
vmbi_json *vmbi_json_copy(const vmbi_json *v); /* deep; NULL when memory is out */
bool vmbi_json_equal(const vmbi_json *a, const vmbi_json *b);

/* Compact with sorted keys; integers stay integers. */
vmb_code vmbi_json_print(const vmbi_json *v, vmbi_buf *out, vmb_error **err);
/* Two-space indentation as Go's json.MarshalIndent with the given key order first at top level
 * (NULL-terminated list; NULL: sorted): Velero's velero-backup.json. */
vmb_code vmbi_json_print_indent(const vmbi_json *v, const char *const *first_keys, vmbi_buf *out,
                                vmb_error **err);
vmb_code vmbi_json_to_text(const vmbi_json *v, char **out, size_t *out_len, vmb_error **err);

/* Types. All accept NULL (false). */
bool vmbi_json_is_object(const vmbi_json *v);
bool vmbi_json_is_array(const vmbi_json *v);
bool vmbi_json_is_string(const vmbi_json *v);
bool vmbi_json_is_int(const vmbi_json *v);
bool vmbi_json_is_real(const vmbi_json *v);
bool vmbi_json_is_bool(const vmbi_json *v);
bool vmbi_json_is_null(const vmbi_json *v);          /* JSON null or NULL */
const char *vmbi_json_type_name(const vmbi_json *v); /* "object", "string" … */

/* Reading; borrowed results. A NULL or wrongly typed value gives NULL, 0 or the default. */
vmbi_json *vmbi_json_get(const vmbi_json *obj, const char *key);
/* Steps down: keys separated by '.', no escapes ("metadata.name"); for keys with dots use get. */
vmbi_json *vmbi_json_path(const vmbi_json *obj, const char *path);
const char *vmbi_json_str(const vmbi_json *v); /* NULL when no string */
size_t vmbi_json_str_len(const vmbi_json *v);
const char *vmbi_json_path_str(const vmbi_json *obj, const char *path); /* NULL when no string */
const char *vmbi_json_get_str(const vmbi_json *obj, const char *key);
int64_t vmbi_json_int(const vmbi_json *v, int64_t dflt);
bool vmbi_json_bool(const vmbi_json *v, bool dflt);
double vmbi_json_real(const vmbi_json *v, double dflt);
size_t vmbi_json_len(const vmbi_json *v); /* elements of an array or object, else 0 */
vmbi_json *vmbi_json_at(const vmbi_json *arr, size_t i);

/* Iterates an object in its own order: for (void *it = vmbi_json_iter(o); it; it =
 * vmbi_json_iter_next(o, it)). Do not add or remove keys meanwhile. */
void *vmbi_json_iter(const vmbi_json *obj);
void *vmbi_json_iter_next(const vmbi_json *obj, void *it);
const char *vmbi_json_iter_key(void *it);
vmbi_json *vmbi_json_iter_value(void *it);

/* Building. Constructors return NULL when memory is out (or for invalid UTF-8). The set and append
 * functions take ownership of `v` in every case, accept v == NULL as failure, and return false on
 * failure: build freely and check once with &=. */
vmbi_json *vmbi_json_object(void);
vmbi_json *vmbi_json_array(void);
vmbi_json *vmbi_json_string(const char *s);
vmbi_json *vmbi_json_stringn(const char *s, size_t len);
vmbi_json *vmbi_json_integer(int64_t i);
vmbi_json *vmbi_json_boolean(bool b);
vmbi_json *vmbi_json_null(void);
vmbi_json *vmbi_json_from_double(double d);
vmbi_json *vmbi_json_string_array(const vmbi_strs *l);
bool vmbi_json_set(vmbi_json *obj, const char *key, vmbi_json *v);
bool vmbi_json_set_str(vmbi_json *obj, const char *key, const char *s);
bool vmbi_json_set_int(vmbi_json *obj, const char *key, int64_t i);
bool vmbi_json_set_bool(vmbi_json *obj, const char *key, bool b);
bool vmbi_json_append(vmbi_json *arr, vmbi_json *v);
bool vmbi_json_append_str(vmbi_json *arr, const char *s);
/* A new array of strings; NULL without memory, or when one is no UTF-8. */
vmbi_json *vmbi_json_strings(const char *const *v, size_t n);
void vmbi_json_del(vmbi_json *obj, const char *key);
/* Overwrites the bytes of a string that was a secret; anything else is left as it is. */
void vmbi_json_wipe(vmbi_json *v);
bool vmbi_json_set_at(vmbi_json *arr, size_t i, vmbi_json *v);
void vmbi_json_del_at(vmbi_json *arr, size_t i);
/* Gets or creates the object under key. */
vmbi_json *vmbi_json_ensure_object(vmbi_json *obj, const char *key);
/* RFC 7386 merge patch, in place on an object. */
bool vmbi_json_merge_patch(vmbi_json *target, const vmbi_json *patch);

#endif
