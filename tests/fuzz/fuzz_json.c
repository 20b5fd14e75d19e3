/* SPDX-License-Identifier: Apache-2.0 */
/* JSON text: what the parser takes the scanner takes too, our reading is that of jansson, and
 * printing loses nothing. */
#include <jansson.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "codec/jscan.h"
#include "codec/json.h"
#include "codec/json_read.h"

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

/* Prints v and parses the text; the text is handed out. */
static vmbi_json *reread(const vmbi_json *v, char **text)
{
    vmbi_json *back = NULL;
    size_t len = 0;

    if (vmbi_json_to_text(v, text, &len, NULL) != VMB_OK ||
        vmbi_json_parse(*text, len, "printed", &back, NULL) != VMB_OK) {
        abort();
    }
    return back;
}

/* The first text may differ in numbers ("1.0" becomes "1", "-0.0" becomes "-0"); from then on
 * nothing changes. */
static void check_print(const vmbi_json *v)
{
    char *text[3] = {NULL, NULL, NULL};
    vmbi_json *first = reread(v, &text[0]);
    vmbi_json *second = reread(first, &text[1]);
    vmbi_json *third = reread(second, &text[2]);

    if (strcmp(text[1], text[2]) != 0 || !vmbi_json_equal(second, third)) {
        abort();
    }
    for (size_t i = 0; i < 3; i++) {
        vmbi_free(text[i]);
    }
    vmbi_json_free(first);
    vmbi_json_free(second);
    vmbi_json_free(third);
}

/* What our reader takes jansson takes, with an equal tree. */
static void check_reading(const char *text, size_t size)
{
    vmbi_json *ours = NULL;
    json_t *theirs = NULL;
    json_error_t e;

    if (vmbi_json_read(text, size, &ours) == VMB_OK) {
        theirs = json_loadb(text, size, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &e);
        if (!json_equal(ours, theirs)) {
            abort();
        }
        json_decref(theirs);
        vmbi_json_free(ours);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    vmbi_json *v = NULL;

    scan(text, size);
    if (vmbi_json_parse(text, size, "fuzz", &v, NULL) == VMB_OK) {
        check_scanner_agrees(text, size);
        check_reading(text, size);
        check_print(v);
        vmbi_json_free(v);
    }
    return 0;
}
