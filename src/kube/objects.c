/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/objects.h"

#include <string.h>

#include "base/error.h"

enum { OBJECT_MAX_BYTES = 64 << 20, URL_MAX_BYTES = 8192 };

static const char merge_patch[] = "application/merge-patch+json";

/* Performs a call on path; out.fn NULL drops the answer. *tries tells how often it was sent. */
static vmb_code run(vmbi_kube *k, vmbi_kube_call *call, const vmbi_kube_path *path,
                    const char *query, const vmbi_limits *limits, vmbi_kube_out out, int *tries,
                    vmb_error **err)
{
    vmbi_buf url = VMBI_BUF_INIT(URL_MAX_BYTES);
    vmbi_http_response response;
    vmbi_http_response_init(&response, OBJECT_MAX_BYTES);
    vmb_code rc = vmbi_kube_path_add(&url, path, err);
    vmbi_buf_adds(&url, query);
    if (rc == VMB_OK) {
        rc = vmbi_buf_check(&url, err, "request path");
    }
    if (rc != VMB_OK) {
        rc = vmbi_wrap(err, rc, "%s", call->what);
        goto out;
    }
    call->path = url.data;
    rc = vmbi_kube_call_perform(k, call, limits, &response, err);
    *tries = response.tries;
    if (rc == VMB_OK && out.fn != NULL) {
        rc = out.fn(out.user, response.body.data, response.body.len, err);
    }
out:
    vmbi_http_response_free(&response);
    vmbi_buf_free(&url);
    return rc;
}

vmb_code vmbi_kube_get(vmbi_kube *k, const vmbi_kube_path *path, const vmbi_limits *limits,
                       vmbi_kube_out out, vmb_error **err)
{
    char what[VMBI_KUBE_WHAT_SIZE];
    int tries = 0;
    vmbi_kube_path_describe("get", path, what);
    vmbi_kube_call call = {.method = "GET", .what = what};
    return run(k, &call, path, "", limits, out, &tries, err);
}

vmb_code vmbi_kube_create(vmbi_kube *k, const vmbi_kube_path *path, const char *json, size_t len,
                          const vmbi_limits *limits, vmbi_kube_out out, vmb_error **err)
{
    char what[VMBI_KUBE_WHAT_SIZE];
    int tries = 0;
    vmbi_kube_path_describe("create", path, what);
    vmbi_kube_call call = {
        .method = "POST",
        .what = what,
        .content_type = "application/json",
        .body = json,
        .body_len = len,
        .once = true, /* a lost answer and a generated name would make two objects */
    };
    return run(k, &call, path, "", limits, out, &tries, err);
}

vmb_code vmbi_kube_patch(vmbi_kube *k, const vmbi_kube_path *path, const char *content_type,
                         const char *json, size_t len, const vmbi_limits *limits,
                         vmbi_kube_out out, vmb_error **err)
{
    char what[VMBI_KUBE_WHAT_SIZE];
    int tries = 0;
    vmbi_kube_path_describe("patch", path, what);
    vmbi_kube_call call = {
        .method = "PATCH",
        .what = what,
        .content_type = content_type,
        .body = json,
        .body_len = len,
        .once = strcmp(content_type, merge_patch) != 0, /* a JSON patch may add to an array */
    };
    return run(k, &call, path, "", limits, out, &tries, err);
}

vmb_code vmbi_kube_remove(vmbi_kube *k, const vmbi_kube_path *path, const vmbi_limits *limits,
                          vmb_error **err)
{
    char what[VMBI_KUBE_WHAT_SIZE];
    int tries = 0;
    vmb_error *e = NULL;
    vmbi_kube_path_describe("delete", path, what);
    vmbi_kube_call call = {.method = "DELETE", .what = what};
    vmb_code rc = run(k, &call, path, "?propagationPolicy=Background", limits,
                      (vmbi_kube_out){NULL, NULL}, &tries, &e);
    if (rc == VMB_E_NOT_FOUND && tries > 1) {
        /* an earlier try, whose answer was lost, has removed it */
        vmb_error_free(e);
        return VMB_OK;
    }
    vmbi_error_move(err, &e);
    return rc;
}
