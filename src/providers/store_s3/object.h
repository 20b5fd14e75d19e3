/* SPDX-License-Identifier: Apache-2.0 */
/* Private to store_s3: requests about one object. */
#ifndef VMBI_STORE_S3_OBJECT_H
#define VMBI_STORE_S3_OBJECT_H

#include "providers/store_s3/request.h"

typedef struct vmbi_s3_info {
    int64_t size_bytes;
    int64_t mtime_unix_ns;
    char etag[VMBI_S3_ETAG_MAX]; /* "" when the server told none */
} vmbi_s3_info;

/* HEAD. */
vmb_code vmbi_s3_stat(vmbi_s3 *s, const char *key, const vmbi_limits *limits, vmbi_s3_info *out,
                      vmb_error **err);
/* DELETE; success when the object is absent. */
vmb_code vmbi_s3_remove(vmbi_s3 *s, const char *key, const vmbi_limits *limits, vmb_error **err);
/* See vmb_store_provider. */
vmb_code vmbi_s3_get(vmbi_s3 *s, const vmb_job *job, const char *key, int64_t offset,
                     int64_t length, vmb_sink *out, vmb_error **err);
vmb_code vmbi_s3_list(vmbi_s3 *s, const vmb_job *job, const char *prefix, const char *delimiter,
                      vmb_key_sink *out, vmb_error **err);

vmb_code vmbi_s3_sweep(vmbi_s3 *s, const vmbi_limits *limits, const char *prefix,
                       int64_t before_unix_ns, int64_t *removed, vmb_error **err);
/* Undoes the percent encoding of a listed key in place, '+' included (AWS writes spaces so). */
bool vmbi_s3_key_decode(char *s);

/* "verb object \"key\"", for messages. */
vmb_code vmbi_s3_what(const char *verb, const char *key, vmbi_buf *out, vmb_error **err);

/* Does the ETag contradict the MD5 that it should be? Only ETags that have the form of one count:
 * servers that encrypt with keys of a KMS make others. */
bool vmbi_s3_etag_differs(const vmbi_s3 *s, const vmbi_http_response *r, const char *etag,
                          const char *expected);

#endif
