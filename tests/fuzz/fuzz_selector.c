/* SPDX-License-Identifier: Apache-2.0 */
/* Selectors: text, a NUL, and the raw bytes of labels. What parses must print and parse again to
 * the same; bytes and tree of the same labels must match alike. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "codec/json.h"
#include "model/selector.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_print(const vmb_selector *sel)
{
    vmbi_buf first = VMBI_BUF_INIT(1 << 22);
    vmbi_buf second = VMBI_BUF_INIT(1 << 22);
    vmb_selector *again = NULL;

    if (vmbi_selector_print(sel, &first, NULL) == VMB_OK && first.len <= VMBI_SELECTOR_MAX_TEXT) {
        const char *text = first.data != NULL ? first.data : "";

        if (vmbi_selector_parse(text, first.len, &again, NULL) != VMB_OK ||
            vmbi_selector_print(again, &second, NULL) != VMB_OK || second.len != first.len ||
            (first.len > 0 && memcmp(first.data, second.data, first.len) != 0)) {
            abort();
        }
    }
    vmbi_selector_free(again);
    vmbi_buf_free(&first);
    vmbi_buf_free(&second);
}

static void check_labels(const vmb_selector *sel, const char *labels, size_t len)
{
    bool raw = vmbi_selector_matches_raw(sel, (vmbi_slice){labels, len});
    vmbi_json *tree = NULL;

    if (vmbi_json_parse(labels, len, "labels", &tree, NULL) == VMB_OK &&
        vmbi_json_is_object(tree) && raw != vmbi_selector_matches_tree(sel, tree)) {
        abort();
    }
    vmbi_json_free(tree);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    const char *nul = memchr(text, '\0', size);
    size_t len = nul != NULL ? (size_t)(nul - text) : size;
    vmb_selector *sel = NULL;
    vmbi_json *tree = NULL;

    if (len > 0 && text[0] == '{') {
        if (vmbi_json_parse(text, len, "selector", &tree, NULL) == VMB_OK) {
            (void)vmbi_selector_from_tree(tree, "selector", &sel, NULL);
        }
        vmbi_json_free(tree);
    } else {
        (void)vmbi_selector_parse(text, len, &sel, NULL);
    }
    if (sel != NULL) {
        check_print(sel);
        if (nul != NULL) {
            check_labels(sel, nul + 1, size - len - 1);
        }
    }
    vmbi_selector_free(sel);
    return 0;
}
