/* SPDX-License-Identifier: Apache-2.0 */
/* Private to store_s3: settings, as the BackupStorageLocation of Velero's AWS plugin has them. */
#ifndef VMBI_STORE_S3_CONFIG_H
#define VMBI_STORE_S3_CONFIG_H

#include "codec/json.h"
#include "providers/store_s3/checksum.h"

typedef struct vmbi_s3_config {
    char *bucket;
    char *region;          /* NULL: learnt from the first answer (AWS only) */
    char *endpoint;        /* "https://host[:port]", no default port; NULL: AWS's for the region */
    char *base_path;       /* "" or "/path" behind the endpoint */
    char *public_endpoint; /* for presigned URLs; NULL: endpoint */
    char *public_base_path;
    bool path_style;
    bool insecure_skip_verify;
    char *ca_pem;           /* added to the system's; NULL: none */
    char *profile;          /* NULL: "default" */
    char *credentials;      /* text of a credentials file; NULL: file or environment */
    char *credentials_file; /* NULL: none named */
    char *sse;              /* x-amz-server-side-encryption; NULL: none */
    char *kms_key_id;
    char *sse_c_key; /* base64 of the customer's key; NULL: none */
    char *sse_c_key_md5;
    char *tagging;
    vmbi_s3_checksum checksum;
    int64_t part_size;
    int parts_in_flight;
    int max_parts;
    int max_tries; /* 0: the default of net */
} vmbi_s3_config;

vmb_code vmbi_s3_config_parse(const vmbi_json *settings, vmbi_s3_config *out, vmb_error **err);
void vmbi_s3_config_free(vmbi_s3_config *c); /* wipes secrets */

#endif
