/* SPDX-License-Identifier: Apache-2.0 */
/* The credential of the moment: a fixed token, a token file that changes, or a plugin's answer with
 * its time of expiry. Safe for threads; one renews, the others wait for it. */
#ifndef VMBI_KUBE_AUTH_H
#define VMBI_KUBE_AUTH_H

#include "base/cancel.h"
#include "kube/kubeconfig.h"

typedef struct vmbi_kube_auth vmbi_kube_auth;

/* What one request uses; owned copies. */
typedef struct vmbi_kube_login {
    char *authorization; /* "Bearer …"; NULL: none */
    char *cert_pem;      /* from a plugin; NULL: none, or the kubeconfig's own */
    char *key_pem;
    uint64_t generation;      /* changes with every renewal */
    uint64_t cert_generation; /* generation of the certificate; 0: none */
} vmbi_kube_login;
void vmbi_kube_login_free(vmbi_kube_login *login); /* wipes; zeroes */

/* config must outlive it. */
vmb_code vmbi_kube_auth_new(const vmbi_kube_config *config, vmbi_kube_auth **out,
                            vmb_error **err);
void vmbi_kube_auth_free(vmbi_kube_auth *auth);
vmb_code vmbi_kube_auth_get(vmbi_kube_auth *auth, const vmbi_limits *limits,
                            vmbi_kube_login *out, vmb_error **err);
/* The server refused a login (401): true when the next get brings another one, so that one more
 * try makes sense. */
bool vmbi_kube_auth_refused(vmbi_kube_auth *auth, uint64_t generation);

#endif
