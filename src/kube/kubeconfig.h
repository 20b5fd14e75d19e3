/* SPDX-License-Identifier: Apache-2.0 */
/* How to reach a cluster and who we are there: from kubeconfig files or from inside a pod. All
 * files named are read here, but for token files, which change under a running program. Source:
 * client-go's clientcmd/api/v1 types and its loading rules. */
#ifndef VMBI_KUBE_KUBECONFIG_H
#define VMBI_KUBE_KUBECONFIG_H

#include "base/strs.h"

/* A credential plugin: a program that prints an ExecCredential. */
typedef struct vmbi_kube_plugin {
    char *command;     /* NULL: none. A path, or a name that PATH finds */
    vmbi_strs args;
    vmbi_strs env;     /* "NAME=value" */
    char *api_version; /* client.authentication.k8s.io/v1 or …/v1beta1 */
    char *install_hint; /* NULL: none */
    bool provide_cluster;
    char *cluster_config; /* compact JSON that the cluster gives its plugins; NULL: none */
} vmbi_kube_plugin;

/* Everything owned; NULL or zero where nothing was said. */
typedef struct vmbi_kube_config {
    char *origin; /* for messages: kubeconfig FILE, context "NAME" */
    char *server; /* http(s)://host[:port][/prefix], no slash at its end */
    char *ns;     /* the context's namespace, "" when it has none */
    char *ca_pem;
    size_t ca_len;
    bool insecure;
    char *tls_server_name;
    char *proxy_url;
    bool no_compression;
    char *cert_pem;
    size_t cert_len;
    char *key_pem; /* secret */
    size_t key_len;
    char *token;      /* secret */
    char *token_file; /* wins over token */
    vmbi_kube_plugin plugin; /* used when there is no token */
    char *as_user;           /* impersonation */
    char *as_uid;
    vmbi_strs as_groups;
} vmbi_kube_config;

/* Where to look, so that tests need no environment of their own. NULL: not set. */
typedef struct vmbi_kube_sources {
    const char *explicit_path; /* this file and no other */
    const char *list;          /* KUBECONFIG: paths with ':' between */
    const char *home;          /* HOME, for .kube/config */
    const char *service_host;  /* KUBERNETES_SERVICE_HOST */
    const char *service_port;  /* KUBERNETES_SERVICE_PORT */
    const char *service_dir;   /* the service account's files */
} vmbi_kube_sources;

/* From the process's environment. */
vmbi_kube_sources vmbi_kube_sources_from_env(const char *explicit_path);

/* Loads: the explicit file, else the files of the list, else HOME's, else the pod's service
 * account. context NULL or "": the files' current-context. Errors name file, context and field. */
vmb_code vmbi_kube_config_load(const vmbi_kube_sources *sources, const char *context,
                               vmbi_kube_config *out, vmb_error **err);
/* The pod's service account alone. VMB_E_NOT_FOUND outside a pod. */
vmb_code vmbi_kube_config_in_cluster(const vmbi_kube_sources *sources, vmbi_kube_config *out,
                                     vmb_error **err);
void vmbi_kube_config_free(vmbi_kube_config *config); /* wipes secrets; zeroes */

#endif
