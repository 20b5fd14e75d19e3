/* SPDX-License-Identifier: Apache-2.0 */
/* Private to store_s3: where access keys come from. */
#ifndef VMBI_STORE_S3_CREDENTIALS_H
#define VMBI_STORE_S3_CREDENTIALS_H

#include <vmbackup/base.h>

#include "base/compiler.h"

typedef struct vmbi_s3_credentials {
    char *access_key; /* NULL with a web identity that is not exchanged yet */
    char *secret_key;
    char *session_token; /* NULL: none */
    char *region;        /* the profile's; NULL: none */
    char *role_arn;      /* with token_file: keys are had from STS */
    char *role_session_name;
    char *token_file;
    int64_t expires_unix_ns; /* of keys from STS; 0: never */
} vmbi_s3_credentials;

/* Reads one profile of a credentials (or config) file. */
vmb_code vmbi_s3_credentials_parse(const char *text, size_t len, const char *profile,
                                   vmbi_s3_credentials *out, vmb_error **err);
/* text, else file, else the environment (AWS_ACCESS_KEY_ID …, AWS_WEB_IDENTITY_TOKEN_FILE …,
 * AWS_SHARED_CREDENTIALS_FILE, ~/.aws/credentials); profile NULL: AWS_PROFILE or "default". */
vmb_code vmbi_s3_credentials_load(const char *text, const char *file, const char *profile,
                                  vmbi_s3_credentials *out, vmb_error **err);
vmb_code vmbi_s3_credentials_copy(const vmbi_s3_credentials *c, vmbi_s3_credentials *out,
                                  vmb_error **err);
void vmbi_s3_credentials_free(vmbi_s3_credentials *c); /* wipes; zeroes *c */

#endif
