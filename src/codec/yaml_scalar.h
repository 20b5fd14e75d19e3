/* SPDX-License-Identifier: Apache-2.0 */
/* What an untagged plain scalar means, as go.yaml.in/yaml/v2 (behind sigs.k8s.io/yaml) decides. */
#ifndef VMBI_CODEC_YAML_SCALAR_H
#define VMBI_CODEC_YAML_SCALAR_H

#include "codec/json.h"

/* A new value: null, boolean, integer, real or string. VMB_E_INVALID for what JSON cannot hold
 * (infinity, not a number, NUL in a string); the message is a bare reason. */
vmb_code vmbi_yaml_resolve(const char *s, size_t len, vmbi_json **out, vmb_error **err);
/* Would vmbi_yaml_resolve give something else than a string? */
bool vmbi_yaml_is_typed(const char *s, size_t len);
vmb_code vmbi_yaml_string(const char *s, size_t len, vmbi_json **out, vmb_error **err);

#endif
