/* SPDX-License-Identifier: Apache-2.0 */
/* Go durations ("1h30m", "-1.5s", "300ms") and Kubernetes quantities ("16Mi", "1.5G"). */
#ifndef VMBI_CODEC_DURATION_H
#define VMBI_CODEC_DURATION_H

#include <vmbackup/base.h>

#include "base/compiler.h"

/* Go's time.ParseDuration; false when malformed or out of int64 nanoseconds. */
bool vmbi_duration_parse(const char *s, int64_t *ns);
#define VMBI_DURATION_SIZE 40
/* Go's Duration.String ("720h0m0s", "1.5s", "0s"). */
void vmbi_duration_format(int64_t ns, char out[VMBI_DURATION_SIZE]);

/* Kubernetes quantity, rounded up to a whole number; false when malformed or beyond int64. */
bool vmbi_quantity_parse(const char *s, int64_t *value);

#endif
