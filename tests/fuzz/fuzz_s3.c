/* SPDX-License-Identifier: Apache-2.0 */
/* What an S3 server and its user write: XML, heads of answers, credentials files. The first byte
 * chooses the reader. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "net/headers.h"
#include "providers/store_s3/credentials.h"
#include "providers/store_s3/xml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static vmb_code look(void *user, const char *path, const char *text, vmb_error **err)
{
    size_t *n = user;

    (void)err;
    if (path[0] == '\0' || path[strlen(path) - 1] == '/') {
        abort();
    }
    *n += strlen(text);
    return VMB_OK;
}

static void fuzz_xml(const char *p, size_t len)
{
    size_t n = 0;
    char text[16] = "?";
    vmb_code code = vmbi_s3_xml_walk(p, len, "answer", look, &n, NULL);

    if (code == VMB_OK && n > len) {
        abort(); /* nothing grows: there are no entities but the five */
    }
    if (vmbi_s3_xml_text(p, len, "Error/Code", text, sizeof(text)) && code != VMB_OK) {
        abort();
    }
    if (vmbi_s3_xml_root(p, len, text, sizeof(text)) && code != VMB_OK) {
        abort();
    }
}

static void fuzz_head(const char *p, size_t len)
{
    vmbi_http_response r;
    char value[32];

    vmbi_http_response_init(&r, 1024);
    while (len > 0) { /* as curl hands them over: a line at a time */
        const char *nl = memchr(p, '\n', len);
        const size_t n = nl != NULL ? (size_t)(nl - p) + 1 : len;

        vmbi_response_header_line(&r, p, n);
        p += n;
        len -= n;
    }
    vmbi_response_headers_end(&r);
    if (vmbi_http_header_find(&r, "ETag", value, sizeof(value)) &&
        strlen(value) >= sizeof(value)) {
        abort();
    }
    vmbi_http_response_free(&r);
}

static void fuzz_credentials(const char *p, size_t len)
{
    vmbi_s3_credentials c;

    if (vmbi_s3_credentials_parse(p, len, "default", &c, NULL) == VMB_OK) {
        if (c.access_key == NULL && c.role_arn == NULL) {
            abort();
        }
        vmbi_s3_credentials_free(&c);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    char *p = vmbi_memdup(data + 1, size - 1); /* alone, so that reading beyond it is seen */

    if (data[0] == 'x') {
        fuzz_xml(p, size - 1);
    } else if (data[0] == 'h') {
        fuzz_head(p, size - 1);
    } else if (data[0] == 'c') {
        fuzz_credentials(p, size - 1);
    }
    vmbi_free(p);
    return 0;
}
