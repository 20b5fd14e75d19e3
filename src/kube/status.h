/* SPDX-License-Identifier: Apache-2.0 */
/* What the API server says when it says no: Status objects (meta/v1) and plain HTTP answers, as
 * codes of the library. Source: apimachinery's pkg/apis/meta/v1 Status, StatusReason. */
#ifndef VMBI_KUBE_STATUS_H
#define VMBI_KUBE_STATUS_H

#include <vmbackup/base.h>

#include "base/compiler.h"

typedef struct vmbi_kube_answer {
    int http_status;
    const char *content_type; /* "" or NULL: not told */
    const char *body;
    size_t len;
} vmbi_kube_answer;

/* Reports an answer other than the wanted one as "<what>: <server's message>" and returns its
 * code, never VMB_OK. */
vmb_code vmbi_kube_status_fail(const vmbi_kube_answer *answer, const char *what, vmb_error **err);

/* metadata.continue of the Status that came with 410 Gone: a token that carries on behind the last
 * item, over the newest state. *token is owned, NULL when the server gave none. */
vmb_code vmbi_kube_status_continue(const char *body, size_t len, char **token, vmb_error **err);

/* The Status on the error channel of an exec: the command's exit code, or why it did not run. */
vmb_code vmbi_kube_status_exit(const char *body, size_t len, const char *what, int32_t *exit_code,
                               vmb_error **err);

#endif
