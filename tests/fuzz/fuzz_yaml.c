/* SPDX-License-Identifier: Apache-2.0 */
/* YAML documents, their positions, and streams of them. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "codec/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What was read is a tree that prints as JSON. */
static vmb_code check(void *user, vmbi_json *doc, int line, vmb_error **err)
{
    char *text = NULL;
    size_t len = 0;

    (void)user;
    (void)err;
    if (line < 1 || vmbi_json_to_text(doc, &text, &len, NULL) != VMB_OK) {
        abort();
    }
    vmbi_free(text);
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
