/* SPDX-License-Identifier: Apache-2.0 */
/* YAML (libyaml) and JSON documents into trees, with the position of every value.
 *
 * YAML becomes JSON as sigs.k8s.io/yaml does it: YAML 1.1 types for plain scalars (true, false,
 * null, ~, ints, floats; also y/n/yes/no/on/off as booleans, 0x10, 012 as octal, 1_000), quoted
 * scalars are strings, points in time are strings, keys are strings. Numbers without fraction are
 * integers ("1e3"). Unlike there, duplicate keys are errors, a key wins over a merge key ("<<")
 * wherever it stands, as YAML says, and unknown tags are refused. Anchors and aliases are expanded
 * within a node limit. */
#ifndef VMBI_CODEC_YAML_H
#define VMBI_CODEC_YAML_H

#include "codec/json.h"

enum {
    VMBI_DOC_MAX_DEPTH = 64,
    VMBI_DOC_MAX_NODES = 200000, /* after alias expansion */
    VMBI_DOC_MAX_BYTES = 4 * 1024 * 1024,
    VMBI_DOC_STREAM_MAX_BYTES = 64 * 1024 * 1024
};

typedef struct vmbi_positions vmbi_positions; /* path -> line, column; NULL accepted everywhere */

void vmbi_positions_free(vmbi_positions *p);
/* Path as in "spec.hooks.resources[0].name" (keys with dots are written in brackets with quotes:
 * metadata.labels["velero.io/storage-location"]); "" is the document. False when unknown. Lines and
 * columns from 1. A value that begins on a later line than its key is found at the key. */
bool vmbi_positions_find(const vmbi_positions *p, const char *path, int *line, int *column);

/* Parses exactly one document; empty input is an error. JSON is recognised by its first byte
 * '{' or '[' and then parsed strictly as JSON. positions may be NULL.
 * `hint` (may be NULL) is called on a syntax error with the text, line and libyaml's problem, and
 * may return a static remedy that is appended to the message. */
typedef const char *(*vmbi_doc_hint)(const char *text, size_t len, int line, int column,
                                     const char *problem);
vmb_code vmbi_doc_parse(const char *text, size_t len, const char *what, vmbi_doc_hint hint,
                        vmbi_json **out, vmbi_positions **positions, vmb_error **err);
/* Parses a stream of documents ("---" separated, or JSON values), calling fn for each non-empty one
 * with its first line; a negative return of fn ends it with that code. Input beyond
 * VMBI_DOC_STREAM_MAX_BYTES is VMB_E_LIMIT. The document is borrowed (take a reference to keep). */
typedef vmb_code (*vmbi_doc_fn)(void *user, vmbi_json *doc, int line, vmb_error **err);
vmb_code vmbi_doc_parse_stream(const char *text, size_t len, const char *what, vmbi_doc_fn fn,
                               void *user, vmb_error **err);

#endif
