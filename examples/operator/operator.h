/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of vmbackup-operator share. */
#ifndef VMBACKUP_OPERATOR_H
#define VMBACKUP_OPERATOR_H

#include <jansson.h>
#include <stdbool.h>
#include <vmbackup/vmbackup.h>

struct operator_options {
    const char *ns;
    const char *kubeconfig;
    const char *context;
    const char *listen; /* ADDRESS:PORT; NULL: no HTTP */
    const char *log_level;
    const char *host_pods; /* NULL: the kubelet's usual folder */
    const char *node;      /* NULL: pods of every node */
    const char *client_qps;   /* "0": no limit of our own */
    const char *client_burst; /* NULL: the provider's */
    json_t *control;  /* settings of vmb_control_new() */
    json_t *settings; /* settings of vmb_ctx_set(): an object of strings */
};

/* Reads the command line; ends the process for --help, --version and mistakes. */
void options_read(int argc, char **argv, struct operator_options *out);

/* Serves /metrics, /healthz and /readyz on threads of its own until the process ends. Returns
 * false, having said why, when the address cannot be had. */
bool http_start(const char *listen, vmb_control *control);

void operator_log(void *user, int32_t level, const char *msg);

#endif
