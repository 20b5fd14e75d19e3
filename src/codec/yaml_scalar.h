/* SPDX-License-Identifier: Apache-2.0 */
/* What a scalar means, as go.yaml.in/yaml/v2 (behind sigs.k8s.io/yaml) decides. */
#ifndef VMBI_CODEC_YAML_SCALAR_H
#define VMBI_CODEC_YAML_SCALAR_H

#include "codec/json.h"

/* A new value: null, boolean, integer, real or string. tag is the full one
 * ("tag:yaml.org,2002:str") or NULL; plain: untagged and without quotes. VMB_E_INVALID for what
 * JSON cannot hold (infinity, not a number, NUL in a string), for unknown tags and values that do
 * not fit theirs; the message is a bare reason. */
vmb_code vmbi_yaml_scalar(const char *tag, bool plain, const char *s, size_t len, vmbi_json **out,
                          vmb_error **err);
/* May a sequence (else a mapping) have this tag? */
bool vmbi_yaml_tag_fits_collection(const char *tag, bool sequence);

#endif
