/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file selector.h
 * @brief Label selectors: compile once, match many.
 *
 * Semantics are those of Kubernetes' apimachinery (pkg/labels/selector.go and
 * meta/v1 LabelSelectorAsSelector, v0.36).
 */
#ifndef VMBACKUP_SELECTOR_H
#define VMBACKUP_SELECTOR_H

#include <vmbackup/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Compiles the string form ("app=db,tier in (fe,be),!gone").
 * @param text NUL-terminated; "" selects everything; at most 64 KiB
 * @param out  receives an owned selector
 * @return VMB_OK, VMB_E_ARG, VMB_E_PARSE (message names the position), VMB_E_LIMIT, VMB_E_NOMEM
 */
VMB_API vmb_code vmb_selector_parse(const char *text, vmb_selector **out, vmb_error **err);
/**
 * Compiles the structured form, a JSON or YAML object with matchLabels and matchExpressions.
 * `{}` selects everything, `null` nothing.
 * @param doc the document, need not be NUL-terminated; at most 1 MiB
 * @param len its length in bytes
 * @return VMB_OK, VMB_E_ARG, VMB_E_PARSE, VMB_E_INVALID, VMB_E_LIMIT, VMB_E_NOMEM
 */
VMB_API vmb_code vmb_selector_from_json(const char *doc, size_t len, vmb_selector **out,
                                        vmb_error **err);
/**
 * Matches a set of labels. Does not block or allocate. Any number of threads may match with one
 * selector at the same time.
 * @param sel     the selector
 * @param kv      2 * n_pairs strings: key, value, key, value …; may be NULL when n_pairs is 0
 * @param n_pairs number of pairs; keys are unique, any order
 * @param yes     receives 1 or 0
 * @return VMB_OK or VMB_E_ARG
 */
VMB_API vmb_code vmb_selector_matches(const vmb_selector *sel, const char *const *kv,
                                      size_t n_pairs, int32_t *yes, vmb_error **err);
/**
 * Canonical string form, as apimachinery prints it and as the API server accepts it in a
 * labelSelector query (requirements sorted by key). The match-nothing selector of `null` has no
 * such form: VMB_E_UNSUPPORTED.
 * @param out receives an owned string, release with vmb_free()
 */
VMB_API vmb_code vmb_selector_to_string(const vmb_selector *sel, char **out, vmb_error **err);
/** Releases a selector; NULL is allowed. */
VMB_API void vmb_selector_free(vmb_selector *sel);

#ifdef __cplusplus
}
#endif
#endif
