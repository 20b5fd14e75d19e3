/* SPDX-License-Identifier: Apache-2.0 */
/* selector.h: argument checks, then model/selector.c. */
#include <vmbackup/selector.h>

#include <string.h>

#include "base/error.h"
#include "base/strs.h"
#include "codec/yaml.h"
#include "model/selector.h"

enum {
    DOC_MAX_BYTES = 1024 * 1024,
    /* every value may be printed once more than it was written, with its key */
    TEXT_MAX_BYTES = 8 * DOC_MAX_BYTES
};

static vmb_code missing(vmb_error **err, const char *function)
{
    return vmbi_fail(err, VMB_E_ARG, "%s: an argument is NULL", function);
}

vmb_code vmb_selector_parse(const char *text, vmb_selector **out, vmb_error **err)
{
    if (text == NULL || out == NULL) {
        return missing(err, "vmb_selector_parse");
    }
    *out = NULL;
    return vmbi_selector_parse(text, strlen(text), out, err);
}

/* A document reader takes null for an empty document; here it has a meaning. */
static bool is_null(const char *doc, size_t len)
{
    while (len > 0 && vmbi_is_space(doc[0])) {
        doc++;
        len--;
    }
    while (len > 0 && vmbi_is_space(doc[len - 1])) {
        len--;
    }
    return len == 4 && memcmp(doc, "null", 4) == 0;
}

vmb_code vmb_selector_from_json(const char *doc, size_t len, vmb_selector **out, vmb_error **err)
{
    vmbi_json *tree = NULL;
    vmb_code code;

    if (doc == NULL || out == NULL) {
        return missing(err, "vmb_selector_from_json");
    }
    *out = NULL;
    if (len > DOC_MAX_BYTES) {
        return vmbi_fail(err, VMB_E_LIMIT, "label selector: longer than %d bytes", DOC_MAX_BYTES);
    }
    if (is_null(doc, len)) {
        return vmbi_selector_from_tree(NULL, "label selector", out, err);
    }
    code = vmbi_doc_parse(doc, len, "label selector", NULL, &tree, NULL, err);
    if (code != VMB_OK) {
        return code;
    }
    code = vmbi_selector_from_tree(tree, "label selector", out, err);
    vmbi_json_free(tree);
    return code;
}

vmb_code vmb_selector_matches(const vmb_selector *sel, const char *const *kv, size_t n_pairs,
                              int32_t *yes, vmb_error **err)
{
    size_t nulls = 0;

    if (sel == NULL || yes == NULL || (kv == NULL && n_pairs > 0)) {
        return missing(err, "vmb_selector_matches");
    }
    for (size_t i = 0; i < 2 * n_pairs; i++) {
        nulls += kv[i] == NULL ? 1 : 0; /* counted, not branched on: this is the fast path */
    }
    if (nulls > 0) {
        return vmbi_fail(err, VMB_E_ARG, "vmb_selector_matches: %zu strings of kv are NULL", nulls);
    }
    *yes = vmbi_selector_matches_kv(sel, kv, n_pairs) ? 1 : 0;
    return VMB_OK;
}

vmb_code vmb_selector_to_string(const vmb_selector *sel, char **out, vmb_error **err)
{
    vmbi_buf text = VMBI_BUF_INIT(TEXT_MAX_BYTES);
    vmb_code code;

    if (sel == NULL || out == NULL) {
        return missing(err, "vmb_selector_to_string");
    }
    code = vmbi_selector_print(sel, &text, err);
    if (code == VMB_OK) {
        code = vmbi_buf_take(&text, out, NULL, err, "label selector");
    }
    vmbi_buf_free(&text);
    return code;
}

void vmb_selector_free(vmb_selector *sel)
{
    vmbi_selector_free(sel);
}
