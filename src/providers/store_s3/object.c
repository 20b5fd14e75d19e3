/* SPDX-License-Identifier: Apache-2.0 */
#include "providers/store_s3/object.h"

#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/strs.h"

vmb_code vmbi_s3_what(const char *verb, const char *key, vmbi_buf *out, vmb_error **err)
{
    vmbi_buf_addf(out, "%s object \"%s\"", verb, key);
    return vmbi_buf_check(out, err, verb);
}

vmb_code vmbi_s3_stat(vmbi_s3 *s, const char *key, const vmbi_limits *limits, vmbi_s3_info *out,
                      vmb_error **err)
{
    vmbi_buf what = VMBI_BUF_INIT(2048);
    vmbi_http_response r;
    vmbi_s3_info info = {0, -1, ""};
    char modified[64];
    vmb_code code = vmbi_s3_what("look at", key, &what, err);

    if (code == VMB_OK) {
        const vmbi_s3_request q = {
            .what = what.data, .method = "HEAD", .key = key, .customer_key = true};

        code = vmbi_s3_perform_ok(s, &q, limits, &r, err);
        if (code == VMB_OK && r.content_length < 0) {
            code = vmbi_fail(err, VMB_E_PROTOCOL, "%s: the answer has no length", what.data);
        }
        if (code == VMB_OK) {
            info.size_bytes = r.content_length;
            if (vmbi_http_header_find(&r, "Last-Modified", modified, sizeof(modified)) &&
                !vmbi_parse_http_date(modified, &info.mtime_unix_ns)) {
                info.mtime_unix_ns = -1;
            }
            if (!vmbi_s3_etag(&r, info.etag)) {
                info.etag[0] = '\0';
            }
            *out = info;
        }
        vmbi_http_response_free(&r);
    }
    vmbi_buf_free(&what);
    return code;
}

vmb_code vmbi_s3_remove(vmbi_s3 *s, const char *key, const vmbi_limits *limits, vmb_error **err)
{
    vmbi_buf what = VMBI_BUF_INIT(2048);
    vmbi_http_response r;
    char name[64];
    vmb_code code = vmbi_s3_what("remove", key, &what, err);

    if (code == VMB_OK) {
        const vmbi_s3_request q = {.what = what.data, .method = "DELETE", .key = key};

        code = vmbi_s3_perform(s, &q, limits, &r, err);
        if (code == VMB_OK && r.status / 100 != 2) {
            vmbi_s3_error_code(&r, name, sizeof(name));
            /* Absent is fine, but a bucket that is not there is not. */
            if (r.status != 404 || strcmp(name, "NoSuchBucket") == 0) {
                code = vmbi_s3_fail(s, what.data, &r, err);
            }
        }
        vmbi_http_response_free(&r);
    }
    vmbi_buf_free(&what);
    return code;
}

static bool is_md5_form(const char *etag)
{
    size_t i = 0;

    for (i = 0; i < 32; i++) {
        const char c = vmbi_lower(etag[i]);

        if (!vmbi_is_digit(c) && !(c >= 'a' && c <= 'f')) {
            return false;
        }
    }
    return etag[32] == '\0' || etag[32] == '-';
}

bool vmbi_s3_etag_differs(const vmbi_s3 *s, const vmbi_http_response *r, const char *etag,
                          const char *expected)
{
    char sse[64];

    if (s->config.sse_c_key || s->config.kms_key_id) {
        return false;
    }
    if (r && vmbi_http_header_find(r, "x-amz-server-side-encryption", sse, sizeof(sse)) &&
        vmbi_starts_with(sse, "aws:kms")) {
        return false;
    }
    return is_md5_form(etag) && !vmbi_strcaseeq(etag, expected);
}
