/* SPDX-License-Identifier: Apache-2.0 */
/* YAML documents: what is read prints as YAML that reads back the same. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "codec/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Prints and parses; NULL when it is too large to print. */
static vmbi_json *reread(const vmbi_json *v)
{
    vmbi_buf out = VMBI_BUF_INIT(VMBI_DOC_MAX_BYTES);
    vmbi_json *back = NULL;

    vmbi_buf_adds(&out, "---\n"); /* so that it is YAML whatever it begins with */
    if (vmbi_yaml_print(v, &out, NULL) == VMB_OK &&
        vmbi_doc_parse(out.data, out.len, "printed", NULL, &back, NULL, NULL) != VMB_OK) {
        abort();
    }
    vmbi_buf_free(&out);
    return back;
}

/* The first reading may turn a real without fraction into an integer; from then on all is equal. */
static vmb_code check(void *user, vmbi_json *doc, int line, vmb_error **err)
{
    vmbi_json *first = reread(doc);
    vmbi_json *second = first == NULL ? NULL : reread(first);

    (void)user;
    (void)line;
    (void)err;
    if (second != NULL && !vmbi_json_equal(first, second)) {
        abort();
    }
    vmbi_json_free(first);
    vmbi_json_free(second);
    return VMB_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    vmbi_json *v = NULL;
    vmbi_positions *p = NULL;
    int line, column;

    if (vmbi_doc_parse(text, size, "fuzz", NULL, &v, &p, NULL) == VMB_OK) {
        if (!vmbi_positions_find(p, "", &line, &column) || line < 1 || column < 1) {
            abort();
        }
        (void)vmbi_positions_find(p, "spec.hooks.resources[0].name", &line, &column);
    }
    vmbi_positions_free(p);
    vmbi_json_free(v);
    (void)vmbi_doc_parse_stream(text, size, "fuzz", check, NULL, NULL);
    return 0;
}
