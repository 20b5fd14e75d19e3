/* SPDX-License-Identifier: Apache-2.0 */
/* Private to store_s3: writing one object, by one PUT while it fits into a part, else by parts. */
#ifndef VMBI_STORE_S3_PUT_H
#define VMBI_STORE_S3_PUT_H

#include "providers/store_s3/request.h"

typedef struct vmbi_s3_put vmbi_s3_put;

vmb_code vmbi_s3_put_begin(vmbi_s3 *s, const char *key, int64_t size_hint, bool if_absent,
                           vmbi_s3_put **out, vmb_error **err);
vmb_code vmbi_s3_put_write(vmbi_s3_put *p, const vmb_job *job, const void *data, size_t len,
                           vmb_error **err);
/* Ends the operation in every case. */
vmb_code vmbi_s3_put_commit(vmbi_s3_put *p, const vmb_job *job, vmb_error **err);
void vmbi_s3_put_abort(vmbi_s3_put *p);

/* Size of the part that follows `total` bytes: `base`, growing with the object so that 10,000
 * parts hold 5 TiB. Whole MiB, at most 5 GiB. */
int64_t vmbi_s3_part_size(int64_t base, int64_t total, int max_parts);
/* Base size for an object of a known size (-1: unknown). */
int64_t vmbi_s3_part_base(int64_t configured, int64_t size_hint, int max_parts);

#endif
