/* SPDX-License-Identifier: Apache-2.0 */
/* Scanning JSON bytes without a tree: the fast path of collection. Nothing is allocated.
 *
 * The scanner accepts what the API server sends (valid JSON); on malformed input it fails, it never
 * reads past the end. Depth is limited to VMBI_JSON_MAX_DEPTH. */
#ifndef VMBI_CODEC_JSCAN_H
#define VMBI_CODEC_JSCAN_H

#include <vmbackup/base.h>

#include "base/compiler.h"

typedef struct vmbi_slice {
    const char *p;
    size_t len;
} vmbi_slice;

/* End of the JSON value that starts at p (after white space); NULL when malformed or cut. */
const char *vmbi_jscan_skip(const char *p, const char *end);

/* Walks the members of an object: init with the whole object's bytes; next returns 1 with the raw
 * key (without quotes, escapes not decoded) and the raw value, 0 at the end, -1 when malformed. */
typedef struct vmbi_jscan {
    const char *p;
    const char *end;
    bool first;
    bool array;
} vmbi_jscan;
bool vmbi_jscan_object(vmbi_jscan *s, const char *json, size_t len);
bool vmbi_jscan_array(vmbi_jscan *s, const char *json, size_t len);
int vmbi_jscan_member(vmbi_jscan *s, vmbi_slice *key, vmbi_slice *value);
int vmbi_jscan_element(vmbi_jscan *s, vmbi_slice *value);
/* Raw value of a key of an object; false when absent or malformed. */
bool vmbi_jscan_find(const char *json, size_t len, const char *key, vmbi_slice *value);
/* Decodes a raw JSON string (with quotes) into a NUL-terminated buffer; false when it is no
 * string, malformed or longer than size - 1 bytes. Plain strings are copied at once. */
bool vmbi_jscan_string(vmbi_slice raw, char *out, size_t size);

/* What collection wants to know of an object. Slices are raw values (strings with quotes; p NULL
 * when absent). */
typedef struct vmbi_object_scan {
    vmbi_slice api_version, kind;
    vmbi_slice name, ns, uid, resource_version, deletion_timestamp, labels, annotations, owners;
    const char *body; /* first byte after the opening '{' */
} vmbi_object_scan;
bool vmbi_jscan_k8s_object(const char *json, size_t len, vmbi_object_scan *out);

#endif
