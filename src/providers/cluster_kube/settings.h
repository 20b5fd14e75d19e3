/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMBI_CLUSTER_KUBE_SETTINGS_H
#define VMBI_CLUSTER_KUBE_SETTINGS_H

#include "codec/json.h"
#include "kube/client.h"

typedef struct vmbi_kube_settings {
    vmbi_kube_options client; /* strings borrowed from the settings */
    bool prefetch;
} vmbi_kube_settings;

/* Reads the settings that builtin.h names; numbers and booleans may come as strings. VMB_E_ARG
 * for unknown ones and for values that make no sense. */
vmb_code vmbi_kube_settings_read(const vmbi_json *settings, vmbi_kube_settings *out,
                                 vmb_error **err);

#endif
