/* SPDX-License-Identifier: Apache-2.0 */
/* Private to store_s3: one multipart upload. Parts go up on threads that live from the first full
 * part to commit or abort; everything here is called by one thread at a time. */
#ifndef VMBI_STORE_S3_MULTIPART_H
#define VMBI_STORE_S3_MULTIPART_H

#include "providers/store_s3/object.h"

typedef struct vmbi_s3_multipart vmbi_s3_multipart;

/* A buffer for a part, handed to and fro. */
typedef struct vmbi_s3_block {
    char *data;
    size_t len;
    size_t cap;
} vmbi_s3_block;

/* Initiates the upload; max_blocks bounds the buffers at work, the caller's included. */
vmb_code vmbi_s3_multipart_begin(vmbi_s3 *s, const char *key, const vmbi_limits *limits,
                                 int max_blocks, vmbi_s3_multipart **out, vmb_error **err);
/* Takes the block's memory (also on failure) and uploads it as the next part. */
vmb_code vmbi_s3_multipart_push(vmbi_s3_multipart *m, vmbi_s3_block *block,
                                const vmbi_limits *limits, vmb_error **err);
/* Gives an empty block of at least `cap` bytes; waits until one may be had. Fails with the failure
 * of a part. */
vmb_code vmbi_s3_multipart_block(vmbi_s3_multipart *m, size_t cap, const vmbi_limits *limits,
                                 vmbi_s3_block *out, vmb_error **err);
/* Waits for all parts and completes. With if_absent VMB_E_EXISTS when the key is taken. The caller
 * aborts after a failure. */
vmb_code vmbi_s3_multipart_complete(vmbi_s3_multipart *m, bool if_absent, const vmbi_limits *limits,
                                    vmb_error **err);
/* Stops the threads and tells the server to drop the parts, for a few seconds at most. */
void vmbi_s3_multipart_abort(vmbi_s3_multipart *m);
/* Stops the threads and releases. NULL allowed. */
void vmbi_s3_multipart_free(vmbi_s3_multipart *m);

/* Headers of objects that are created (encryption, tags); returns how many. */
size_t vmbi_s3_create_headers(const vmbi_s3 *s, vmbi_http_header out[4]);

#endif
