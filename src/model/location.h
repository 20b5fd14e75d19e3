/* SPDX-License-Identifier: Apache-2.0 */
/* A BackupStorageLocation (velero.io/v1) as a plain value. */
#ifndef VMBI_MODEL_LOCATION_H
#define VMBI_MODEL_LOCATION_H

#include "codec/json.h"
#include "model/problems.h"

typedef struct vmbi_location {
    char *name;
    char *ns;          /* metadata.namespace; "" when absent */
    char *provider;    /* as written: "aws", "velero.io/aws" … */
    char *bucket;      /* slashes at the ends trimmed */
    char *prefix;      /* slashes at the ends trimmed; "" for none */
    vmbi_json *config; /* object of strings, never NULL */
    char *ca_cert;     /* PEM text, decoded from objectStorage.caCert; "" for none */
    char *ca_cert_secret, *ca_cert_key;       /* objectStorage.caCertRef; "" for none */
    char *credential_secret, *credential_key; /* credential; "" for none */
    char *creation_timestamp;                 /* RFC 3339; "" when unknown */
    char *phase;                              /* status.phase; "" when unknown */
    bool read_only;
    bool is_default;
    int64_t backup_sync_period_ns;   /* -1 unset */
    int64_t validation_frequency_ns; /* -1 unset */
} vmbi_location;

/* Problems (may be NULL) receives everything that is wrong; any error fails the call with
 * VMB_E_INVALID. source names the document in messages. */
vmb_code vmbi_location_parse(const char *doc, size_t len, const char *source, vmbi_location *out,
                             vmbi_problems *problems, vmb_error **err);
vmb_code vmbi_location_from_tree(const vmbi_json *doc, const char *source, vmbi_location *out,
                                 vmbi_problems *problems, vmb_error **err);
void vmbi_location_free(vmbi_location *l);
/* True for the providers that speak S3: "aws", "velero.io/aws", "vmbackup.io/libs3". */
bool vmbi_location_is_s3(const vmbi_location *l);

#endif
