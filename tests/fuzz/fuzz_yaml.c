/* SPDX-License-Identifier: Apache-2.0 */
/* YAML documents: what is read prints as YAML that reads back the same. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "codec/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static vmb_code check(void *user, vmbi_json *doc, int line, vmb_error **err)
{
    vmbi_buf out = VMBI_BUF_INIT(VMBI_DOC_MAX_BYTES);
    vmbi_json *back = NULL;

    (void)user;
    (void)line;
    (void)err;
    vmbi_buf_adds(&out, "--- \n");
    if (vmbi_yaml_print(doc, &out, NULL) == VMB_OK) {
        if (vmbi_doc_parse(out.data, out.len, "printed", NULL, &back, NULL, NULL) != VMB_OK ||
            !vmbi_json_equal(doc, back)) {
            abort();
        }
    }
    vmbi_json_free(back);
    vmbi_buf_free(&out);
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
