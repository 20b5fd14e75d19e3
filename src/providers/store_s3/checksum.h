/* SPDX-License-Identifier: Apache-2.0 */
/* Private to store_s3: the additional checksums of S3 (x-amz-checksum-…). */
#ifndef VMBI_STORE_S3_CHECKSUM_H
#define VMBI_STORE_S3_CHECKSUM_H

#include "base/compiler.h"

typedef enum vmbi_s3_checksum {
    VMBI_S3_CHECKSUM_NONE = 0,
    VMBI_S3_CHECKSUM_CRC32,
    VMBI_S3_CHECKSUM_CRC32C,
    VMBI_S3_CHECKSUM_SHA1,
    VMBI_S3_CHECKSUM_SHA256,
    VMBI_S3_CHECKSUM_CRC64NVME
} vmbi_s3_checksum;

enum { VMBI_S3_CHECKSUM_SIZE = 48 }; /* base64 of the largest, with a NUL */

/* From the configuration's spelling ("CRC32C", any case; "" is none); false when unknown. */
bool vmbi_s3_checksum_parse(const char *name, vmbi_s3_checksum *out);
const char *vmbi_s3_checksum_name(vmbi_s3_checksum kind);   /* "CRC32C" */
const char *vmbi_s3_checksum_header(vmbi_s3_checksum kind); /* "x-amz-checksum-crc32c" */
/* Base64 of the checksum; "" for none. */
void vmbi_s3_checksum_of(vmbi_s3_checksum kind, const void *data, size_t len,
                         char out[VMBI_S3_CHECKSUM_SIZE]);
/* Base64 of the MD5, for Content-MD5. */
void vmbi_s3_content_md5(const void *data, size_t len, char out[VMBI_S3_CHECKSUM_SIZE]);

#endif
