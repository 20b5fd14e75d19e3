/* SPDX-License-Identifier: Apache-2.0 */
/* Private to store_s3: the last step of a multipart upload, which makes the object visible. */
#ifndef VMBI_STORE_S3_COMPLETE_H
#define VMBI_STORE_S3_COMPLETE_H

#include "providers/store_s3/object.h"

typedef struct vmbi_s3_part {
    char *etag; /* owned */
    char checksum[VMBI_S3_CHECKSUM_SIZE];
    uint8_t md5[16];
} vmbi_s3_part;

typedef struct vmbi_s3_parts {
    vmbi_s3_part *v;
    size_t cap; /* all zero until a part is done */
} vmbi_s3_parts;

vmb_code vmbi_s3_parts_reserve(vmbi_s3_parts *l, size_t n, vmb_error **err);
void vmbi_s3_parts_free(vmbi_s3_parts *l);

typedef struct vmbi_s3_completion {
    const char *key;
    const char *what;
    const char *upload_id;
    const vmbi_s3_parts *parts;
    size_t n_parts;
    int64_t total; /* bytes of all parts */
    bool if_absent;
} vmbi_s3_completion;

/* Success only when the object is known to be there and to be ours. */
vmb_code vmbi_s3_complete(vmbi_s3 *s, const vmbi_s3_completion *c, const vmbi_limits *limits,
                          vmb_error **err);

/* VMB_E_EXISTS when the key is taken. Asked for even where the server knows If-None-Match: some
 * ignore the header (RGW does on Complete). */
vmb_code vmbi_s3_refuse_existing(vmbi_s3 *s, const char *key, const vmbi_limits *limits,
                                 vmb_error **err);
/* Does the store do conditional puts, as far as known? */
bool vmbi_s3_conditional(vmbi_s3 *s);
void vmbi_s3_set_unconditional(vmbi_s3 *s);

#endif
