/* SPDX-License-Identifier: Apache-2.0 */
/* Label selectors with the semantics of apimachinery (pkg/labels/selector.go, v0.36): compiled
 * once, immutable, usable from any number of threads. */
#ifndef VMBI_MODEL_SELECTOR_H
#define VMBI_MODEL_SELECTOR_H

#include <vmbackup/selector.h>

#include "base/buf.h"
#include "codec/jscan.h"
#include "codec/json.h"

enum {
    VMBI_SELECTOR_MAX_TEXT = 64 * 1024,
    VMBI_SELECTOR_MAX_TERMS = 10000 /* requirements and values together */
};

/* String form; "" selects everything. VMB_E_PARSE names the position. */
vmb_code vmbi_selector_parse(const char *text, size_t len, vmb_selector **out, vmb_error **err);
/* Structured form as a tree. NULL and JSON null select nothing, {} everything. `what` names the
 * selector in messages ("spec.labelSelector"). VMB_E_INVALID for content, also unknown members. */
vmb_code vmbi_selector_from_tree(const vmbi_json *tree, const char *what, vmb_selector **out,
                                 vmb_error **err);
void vmbi_selector_free(vmb_selector *sel);

/* Neither allocates nor blocks. kv: key, value, key, value …, keys unique. */
bool vmbi_selector_matches_kv(const vmb_selector *sel, const char *const *kv, size_t n_pairs);
/* labels: raw bytes of the JSON object metadata.labels; p NULL, "null" or "{}": no labels.
 * Malformed labels match nothing. */
bool vmbi_selector_matches_raw(const vmb_selector *sel, vmbi_slice labels);
/* labels: tree of metadata.labels; NULL: no labels. Values that are no strings count as absent. */
bool vmbi_selector_matches_tree(const vmb_selector *sel, const vmbi_json *labels);

bool vmbi_selector_is_everything(const vmb_selector *sel);
bool vmbi_selector_is_nothing(const vmb_selector *sel);
/* Canonical form, requirements sorted by key; "" for everything; VMB_E_UNSUPPORTED for nothing. */
vmb_code vmbi_selector_print(const vmb_selector *sel, vmbi_buf *out, vmb_error **err);

#endif
