/* SPDX-License-Identifier: Apache-2.0 */
/* The small texts: durations, quantities, base64, hexadecimal, times. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "codec/digest.h"
#include "codec/duration.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_duration(const char *text)
{
    char out[VMBI_DURATION_SIZE];
    int64_t ns, back;

    if (vmbi_duration_parse(text, &ns)) {
        vmbi_duration_format(ns, out);
        if (!vmbi_duration_parse(out, &back) || back != ns) {
            abort();
        }
    }
}

static void check_base64(const char *text, size_t size)
{
    uint8_t *raw = NULL;
    uint8_t *again = NULL;
    size_t len, again_len;

    if (vmbi_unbase64(text, size, &raw, &len, NULL) != VMB_OK) {
        return;
    }
    char *coded = vmbi_alloc(vmbi_base64_size(len));
    if (coded != NULL) {
        vmbi_base64(raw, len, coded);
        if (vmbi_unbase64(coded, strlen(coded), &again, &again_len, NULL) != VMB_OK ||
            again_len != len || memcmp(raw, again, len) != 0) {
            abort();
        }
    }
    vmbi_free(again);
    vmbi_free(coded);
    vmbi_free(raw);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = vmbi_strndup((const char *)data, size);
    uint8_t *out = vmbi_alloc(size / 2 + 1);
    int64_t v;

    if (text != NULL && out != NULL) {
        check_duration(text);
        (void)vmbi_quantity_parse(text, &v);
        (void)vmbi_parse_rfc3339(text, &v);
        (void)vmbi_parse_http_date(text, &v);
        check_base64(text, size);
        (void)vmbi_unhex(text, size, out);
    }
    vmbi_free(out);
    vmbi_free(text);
    return 0;
}
