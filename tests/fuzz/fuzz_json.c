/* SPDX-License-Identifier: Apache-2.0 */
/* JSON text: what the parser takes the scanner takes too, and printing loses nothing. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "codec/jscan.h"
#include "codec/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void scan(const char *text, size_t size)
{
    char small[16];
    vmbi_jscan s;
    vmbi_slice k, v;
    vmbi_object_scan o;

    if (vmbi_jscan_object(&s, text, size)) {
        while (vmbi_jscan_member(&s, &k, &v) == 1) {
            (void)vmbi_jscan_string(v, small, sizeof(small));
        }
    }
    if (vmbi_jscan_array(&s, text, size)) {
        while (vmbi_jscan_element(&s, &v) == 1) {
            (void)vmbi_jscan_string(v, small, sizeof(small));
        }
    }
    (void)vmbi_jscan_k8s_object(text, size, &o);
}

static void check_scanner_agrees(const char *text, size_t size)
{
    const char *end = vmbi_jscan_skip(text, text + size);

    if (end == NULL) {
        abort();
    }
    for (; end < text + size; end++) {
        if (strchr(" \t\r\n", *end) == NULL) {
            abort();
        }
    }
}

static void check_print(const vmbi_json *v)
{
    vmbi_json *back = NULL;
    char *text = NULL;
    char *again = NULL;
    size_t len = 0;
    size_t again_len = 0;

    if (vmbi_json_to_text(v, &text, &len, NULL) != VMB_OK ||
        vmbi_json_parse(text, len, "printed", &back, NULL) != VMB_OK ||
        vmbi_json_to_text(back, &again, &again_len, NULL) != VMB_OK || len != again_len ||
        memcmp(text, again, len) != 0) {
        abort();
    }
    vmbi_free(text);
    vmbi_free(again);
    vmbi_json_free(back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    vmbi_json *v = NULL;

    scan(text, size);
    if (vmbi_json_parse(text, size, "fuzz", &v, NULL) == VMB_OK) {
        check_scanner_agrees(text, size);
        check_print(v);
        vmbi_json_free(v);
    }
    return 0;
}
