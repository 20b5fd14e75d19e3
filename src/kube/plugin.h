/* SPDX-License-Identifier: Apache-2.0 */
/* Credential plugins: programs that print an ExecCredential. Source: client-go's
 * pkg/apis/clientauthentication v1 and v1beta1. */
#ifndef VMBI_KUBE_PLUGIN_H
#define VMBI_KUBE_PLUGIN_H

#include "base/buf.h"
#include "base/cancel.h"
#include "kube/kubeconfig.h"

typedef struct vmbi_kube_credential {
    char *token;             /* NULL: none */
    char *cert_pem;          /* NULL: none; then key_pem is set too */
    char *key_pem;
    int64_t expires_unix_ns; /* 0: good until the server refuses it */
} vmbi_kube_credential;

void vmbi_kube_credential_free(vmbi_kube_credential *c); /* wipes; zeroes */

/* Runs config->plugin, for at most 60 s. */
vmb_code vmbi_kube_plugin_run(const vmbi_kube_config *config, const vmbi_limits *limits,
                              vmbi_kube_credential *out, vmb_error **err);
/* The parts, for tests: the document for KUBERNETES_EXEC_INFO, and reading the answer. */
vmb_code vmbi_kube_plugin_info(const vmbi_kube_config *config, vmbi_buf *out, vmb_error **err);
vmb_code vmbi_kube_plugin_parse(const vmbi_kube_plugin *plugin, const char *text, size_t len,
                                vmbi_kube_credential *out, vmb_error **err);

#endif
