/* SPDX-License-Identifier: Apache-2.0 */
/* What an answer that is no success means. */
#include <string.h>

#include "base/error.h"
#include "base/strs.h"
#include "providers/store_s3/request.h"
#include "providers/store_s3/xml.h"

void vmbi_s3_error_code(const vmbi_http_response *response, char *out, size_t size)
{
    if (!vmbi_s3_xml_text(response->body.data, response->body.len, "Error/Code", out, size)) {
        out[0] = '\0';
    }
}

bool vmbi_s3_etag(const vmbi_http_response *response, char out[VMBI_S3_ETAG_MAX])
{
    char raw[VMBI_S3_ETAG_MAX];
    const char *p = raw;
    size_t len = 0;

    if (!vmbi_http_header_find(response, "ETag", raw, sizeof(raw))) {
        return false;
    }
    len = strlen(p);
    if (len >= 2 && p[0] == '"' && p[len - 1] == '"') {
        p++;
        len -= 2;
    }
    memcpy(out, p, len);
    out[len] = '\0';
    return true;
}

/* Codes that say more than the status does. Sorted is not needed: a dozen. */
static const struct {
    const char *name;
    vmb_code code;
} by_name[] = {
    {"AccessDenied", VMB_E_DENIED},
    {"AllAccessDisabled", VMB_E_DENIED},
    {"AccountProblem", VMB_E_DENIED},
    {"InvalidAccessKeyId", VMB_E_DENIED},
    {"SignatureDoesNotMatch", VMB_E_DENIED},
    {"ExpiredToken", VMB_E_DENIED},
    {"InvalidToken", VMB_E_DENIED},
    {"RequestTimeTooSkewed", VMB_E_DENIED},
    {"NoSuchKey", VMB_E_NOT_FOUND},
    {"NoSuchBucket", VMB_E_NOT_FOUND},
    {"NoSuchUpload", VMB_E_NOT_FOUND},
    {"NotImplemented", VMB_E_UNSUPPORTED},
    {"PreconditionFailed", VMB_E_CONFLICT},
    {"InvalidRange", VMB_E_ARG},
    {"KeyTooLongError", VMB_E_ARG},
    {"KeyTooLong", VMB_E_ARG},
    {"InvalidObjectName", VMB_E_ARG},
    {"XMinioInvalidObjectName", VMB_E_ARG},
    {"XMinioParentIsObject", VMB_E_UNSUPPORTED},
    {"XMinioObjectExistsAsDirectory", VMB_E_UNSUPPORTED},
    {"EntityTooLarge", VMB_E_LIMIT},
    {"EntityTooSmall", VMB_E_LIMIT},
    {"QuotaExceeded", VMB_E_FULL},
    {"InsufficientStorage", VMB_E_FULL},
    {"InsufficientCapacity", VMB_E_FULL},
    {"StorageFull", VMB_E_FULL},
    {"ENOSPC", VMB_E_FULL},
    {"XMinioStorageFull", VMB_E_FULL},
    {"XMinioAdminBucketQuotaExceeded", VMB_E_FULL},
};

static vmb_code by_status(int status)
{
    switch (status) {
    case 401:
    case 403:
        return VMB_E_DENIED;
    case 404:
        return VMB_E_NOT_FOUND;
    case 409:
    case 412:
        return VMB_E_CONFLICT;
    case 413:
        return VMB_E_LIMIT;
    case 416:
        return VMB_E_ARG;
    case 429:
        return VMB_E_SERVER;
    case 501:
        return VMB_E_UNSUPPORTED;
    case 507:
        return VMB_E_FULL;
    default:
        return status >= 500 ? VMB_E_SERVER : status >= 400 ? VMB_E_INVALID : VMB_E_PROTOCOL;
    }
}

/* The server's words, made fit for a message: one line, no controls, not long. */
static void server_text(const vmbi_http_response *r, char *out, size_t size)
{
    char text[1024];
    size_t i = 0;

    out[0] = '\0';
    if (!vmbi_s3_xml_text(r->body.data, r->body.len, "Error/Message", text, sizeof(text))) {
        return;
    }
    for (i = 0; text[i] != '\0' && i + 1 < size; i++) {
        const unsigned char c = (unsigned char)text[i];

        out[i] = c < 0x20 || c == 0x7f ? ' ' : text[i];
    }
    while (i > 0 &&
           (out[i - 1] == '.' || out[i - 1] == ' ' || ((unsigned char)out[i - 1] & 0xc0) == 0x80)) {
        i--; /* a trailing full stop, or half a character after cutting */
    }
    out[i] = '\0';
    if (i > 1 && out[0] >= 'A' && out[0] <= 'Z' && out[1] >= 'a' && out[1] <= 'z') {
        out[0] = vmbi_lower(out[0]);
    }
}

static vmb_code fail_without_xml(const vmbi_s3 *s, const char *what, const vmbi_http_response *r,
                                 vmb_code code, vmb_error **err)
{
    char type[64];

    if (r->status == 404) {
        return vmbi_fail(err, code, "%s in bucket %s: not found", what, s->config.bucket);
    }
    if (!vmbi_http_header_find(r, "Content-Type", type, sizeof(type)) || r->body.len == 0) {
        type[0] = '\0';
    }
    if (code == VMB_E_SERVER) {
        return vmbi_fail_retryable(err, code, "%s in bucket %s: HTTP %d without an S3 error%s%s",
                                   what, s->config.bucket, r->status, type[0] ? ", but " : "",
                                   type);
    }
    return vmbi_fail(err, code, "%s in bucket %s: HTTP %d without an S3 error%s%s", what,
                     s->config.bucket, r->status, type[0] ? ", but " : "", type);
}

vmb_code vmbi_s3_fail(const vmbi_s3 *s, const char *what, const vmbi_http_response *r,
                      vmb_error **err)
{
    char name[64];
    char text[256];
    vmb_code code = by_status(r->status);
    size_t i = 0;

    vmbi_s3_error_code(r, name, sizeof(name));
    if (name[0] == '\0') {
        return fail_without_xml(s, what, r, code, err);
    }
    for (i = 0; i < VMBI_ARRAY_LEN(by_name); i++) {
        if (strcmp(name, by_name[i].name) == 0) {
            code = by_name[i].code;
        }
    }
    if (r->status / 100 == 2) {
        code = VMB_E_SERVER; /* an error wrapped in a success */
    }
    server_text(r, text, sizeof(text));
    if (code == VMB_E_SERVER) {
        return vmbi_fail_retryable(err, code, "%s in bucket %s: %s (%s, HTTP %d)", what,
                                   s->config.bucket, text[0] ? text : "failed", name, r->status);
    }
    return vmbi_fail(err, code, "%s in bucket %s: %s (%s, HTTP %d)", what, s->config.bucket,
                     text[0] ? text : "refused", name, r->status);
}
