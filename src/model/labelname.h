/* SPDX-License-Identifier: Apache-2.0 */
/* Names that Kubernetes accepts: labels, label values, DNS-1123 labels and subdomains. */
#ifndef VMBI_MODEL_LABELNAME_H
#define VMBI_MODEL_LABELNAME_H

#include <vmbackup/base.h>

#include "base/compiler.h"

#define VMBI_LABEL_NAME_SIZE 64
/* A name as a label value, as Velero shortens it (pkg/label GetValidName): up to 63 bytes
 * unchanged, else the first 57 bytes and 6 hex digits of the name's SHA-256. */
void vmbi_label_valid_name(const char *name, char out[VMBI_LABEL_NAME_SIZE]);

/* Label key ("[prefix/]name") and value. `why` (may be NULL) receives a static reason. */
bool vmbi_label_key_ok(const char *s, size_t len, const char **why);
bool vmbi_label_value_ok(const char *s, size_t len, const char **why);

/* DNS-1123: a label has at most 63 bytes, a subdomain 253 (and labels of any length in it). */
bool vmbi_dns_label_ok(const char *s, size_t len);
bool vmbi_dns_subdomain_ok(const char *s, size_t len);

#endif
