/* SPDX-License-Identifier: Apache-2.0 */
/* One cluster, as its API server shows it: who we are, how fast we may ask, and single requests.
 * Safe for threads; counted references. */
#ifndef VMBI_KUBE_CLIENT_H
#define VMBI_KUBE_CLIENT_H

#include "kube/auth.h"
#include "kube/path.h"
#include "net/http.h"

typedef struct vmbi_kube vmbi_kube;

enum { VMBI_KUBE_QPS = 50, VMBI_KUBE_BURST = 100 };
enum { VMBI_KUBE_GZIP_AUTO = -1 }; /* on unless the server is on this machine */

typedef struct vmbi_kube_options {
    const char *kubeconfig; /* NULL: KUBECONFIG, ~/.kube/config or the pod's service account */
    const char *context;    /* NULL: the current one */
    const char *ns;         /* NULL: the context's */
    const char *user_agent; /* NULL: net's */
    int64_t qps;            /* 0: no limit */
    int64_t burst;
    int32_t gzip; /* 0, 1 or VMBI_KUBE_GZIP_AUTO: compressed answers for lists */
} vmbi_kube_options;

/* Reads the configuration; connects to nothing yet. */
vmb_code vmbi_kube_new(const vmbi_kube_options *options, vmbi_kube **out, vmb_error **err);
vmbi_kube *vmbi_kube_hold(vmbi_kube *k); /* one more reference */
void vmbi_kube_drop(vmbi_kube *k);       /* the last one frees; NULL allowed */
const char *vmbi_kube_server(const vmbi_kube *k);
const char *vmbi_kube_user_agent(const vmbi_kube *k);

typedef struct vmbi_kube_call {
    const char *method;
    const char *path;         /* "/api/v1/…", encoded, with its query */
    const char *what;         /* begins messages: "get pods ns/name" */
    const char *accept;       /* NULL: JSON */
    const char *content_type; /* of body */
    const void *body;         /* NULL: none */
    size_t body_len;
    bool once; /* sending it twice would do something twice: no retry but after 429 and 401 */
    int max_tries; /* 0: the client's */
    bool gzip; /* ask for a compressed answer, if the client's options agree */
} vmbi_kube_call;

/* VMB_OK for 2xx with a JSON body; anything else becomes an error with the server's words. The
 * response is the caller's and can be looked at after a failure too. */
vmb_code vmbi_kube_call_perform(vmbi_kube *k, const vmbi_kube_call *call,
                                const vmbi_limits *limits, vmbi_http_response *response,
                                vmb_error **err);

/* What a request needs: the transport and the login of the moment. For exec; the calls above open
 * their own. */
typedef struct vmbi_kube_transport vmbi_kube_transport;
typedef struct vmbi_kube_session {
    vmbi_kube_transport *transport;
    vmbi_http *http; /* of the transport */
    vmbi_kube_login login;
} vmbi_kube_session;
vmb_code vmbi_kube_session_open(vmbi_kube *k, const vmbi_limits *limits, vmbi_kube_session *out,
                                vmb_error **err); /* waits for the rate limit */
void vmbi_kube_session_close(vmbi_kube *k, vmbi_kube_session *session);
/* After a 401: true when another session will have another login. */
bool vmbi_kube_session_refused(vmbi_kube *k, const vmbi_kube_session *session);
/* Calls fn with every header of a login (Authorization, Impersonate-…). */
typedef vmb_code (*vmbi_kube_header_fn)(void *user, const char *name, const char *value,
                                        vmb_error **err);
vmb_code vmbi_kube_login_headers(vmbi_kube *k, const vmbi_kube_login *login,
                                 vmbi_kube_header_fn fn, void *user, vmb_error **err);

#endif
