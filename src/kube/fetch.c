/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/fetch.h"

#include <stdio.h>

#include "base/alloc.h"
#include "base/error.h"
#include "kube/status.h"

enum {
    URL_MAX_BYTES = 48 * 1024,
    RESTARTS_MAX = 3, /* the last one asks for everything at once: that needs no position */
    RESUMES_MAX = 5,
    SHRINK = 4 /* a page too large is transferred for nothing: shrink fast */
};

void vmbi_kube_sheet_init(vmbi_kube_sheet *sheet)
{
    vmbi_http_response_init(&sheet->response, VMBI_KUBE_PAGE_BYTES);
    sheet->page = (vmbi_kube_page){{NULL, 0}, NULL};
}

void vmbi_kube_sheet_done(vmbi_kube_sheet *sheet)
{
    vmbi_kube_page_done(&sheet->page);
    vmbi_http_response_free(&sheet->response);
}

void vmbi_kube_fetch_init(vmbi_kube_fetch *f, vmbi_kube *k, const vmbi_kube_list *list)
{
    *f = (vmbi_kube_fetch){
        .k = k,
        .list = list,
        .limit = list->page_size > 0 ? list->page_size : VMBI_KUBE_PAGE_SIZE,
        .max_bytes = VMBI_KUBE_PAGE_BYTES,
    };
    vmbi_kube_path_describe("list", list->path, f->what);
}

static vmb_code build_url(const vmbi_kube_fetch *f, const char *token, vmbi_buf *url,
                          vmb_error **err)
{
    const char *selector = f->list->selector;
    char limit[24];
    vmb_code rc = vmbi_kube_path_add(url, f->list->path, err);
    if (rc != VMB_OK) {
        return rc;
    }
    if (f->limit > 0) {
        (void)snprintf(limit, sizeof(limit), "%lld", (long long)f->limit);
        vmbi_kube_query_add(url, "limit", limit);
    }
    if (selector != NULL && selector[0] != '\0') {
        vmbi_kube_query_add(url, "labelSelector", selector);
    }
    if (token != NULL) {
        vmbi_kube_query_add(url, "continue", token);
    }
    return vmbi_buf_check(url, err, "request path");
}

static vmb_code ask(const vmbi_kube_fetch *f, const char *token, const vmbi_limits *limits,
                    vmbi_kube_sheet *sheet, vmb_error **err)
{
    vmbi_buf url = VMBI_BUF_INIT(URL_MAX_BYTES);
    vmb_code rc = build_url(f, token, &url, err);
    if (rc != VMB_OK) {
        rc = vmbi_wrap(err, rc, "%s", f->what);
    } else {
        vmbi_kube_call call = {.method = "GET", .path = url.data, .what = f->what, .gzip = true};
        sheet->response.body.max = f->max_bytes;
        rc = vmbi_kube_call_perform(f->k, &call, limits, &sheet->response, err);
    }
    vmbi_buf_free(&url);
    return rc;
}

/* After a page that was too large: false when it cannot become smaller. */
static bool shrink(vmbi_kube_fetch *f)
{
    if (f->limit == 0 || f->limit == 1) {
        bool grown = f->max_bytes < VMBI_KUBE_PAGE_BYTES_MAX;
        f->max_bytes = VMBI_KUBE_PAGE_BYTES_MAX;
        return grown;
    }
    f->limit = f->limit / SHRINK > 0 ? f->limit / SHRINK : 1;
    return true;
}

/* After a good page: back towards the wanted size, where the pages are small again. */
static void grow(vmbi_kube_fetch *f, size_t bytes)
{
    int64_t wanted = f->list->page_size > 0 ? f->list->page_size : VMBI_KUBE_PAGE_SIZE;
    f->resumes = 0;
    if (f->limit > 0 && f->limit < wanted && bytes < VMBI_KUBE_PAGE_BYTES / SHRINK) {
        f->limit = f->limit * 2 < wanted ? f->limit * 2 : wanted;
    }
}

/* After 410: *token becomes where to go on, NULL for the beginning. False when enough was tried. */
static vmb_code reposition(vmbi_kube_fetch *f, const vmbi_kube_sheet *sheet, char **token,
                           bool *again, vmb_error **err)
{
    const vmbi_buf *body = &sheet->response.body;
    char *offered = NULL;
    vmb_code rc = vmbi_kube_status_continue(body->data != NULL ? body->data : "", body->len,
                                            &offered, err);
    if (rc != VMB_OK) {
        return rc;
    }
    vmbi_free(*token);
    *token = offered;
    if (offered != NULL) {
        *again = ++f->resumes <= RESUMES_MAX;
    } else {
        *again = ++f->restarts <= RESTARTS_MAX;
        if (f->restarts == RESTARTS_MAX) {
            f->limit = 0;
            f->max_bytes = VMBI_KUBE_PAGE_BYTES_MAX;
        }
    }
    return VMB_OK;
}

vmb_code vmbi_kube_fetch_page(vmbi_kube_fetch *f, const char *token, const vmbi_limits *limits,
                              vmbi_kube_sheet *sheet, vmb_error **err)
{
    char *position = token != NULL ? vmbi_strdup(token) : NULL;
    vmb_error *e = NULL;
    vmb_code rc = VMB_OK;
    bool again = true;
    if (token != NULL && position == NULL) {
        return vmbi_fail_nomem(err);
    }
    vmbi_kube_page_done(&sheet->page);
    while (again) {
        vmb_error_free(e);
        e = NULL;
        again = false;
        rc = ask(f, position, limits, sheet, &e);
        if (rc == VMB_E_LIMIT && sheet->response.body.status == VMB_E_LIMIT) {
            again = shrink(f);
        } else if (rc == VMB_E_GONE && position != NULL) {
            vmb_code moved = reposition(f, sheet, &position, &again, &e);
            rc = moved != VMB_OK ? moved : rc;
        }
    }
    if (rc == VMB_OK) {
        grow(f, sheet->response.body.len);
        rc = vmbi_kube_page_parse(sheet->response.body.data, sheet->response.body.len, f->what,
                                  &sheet->page, &e);
    }
    vmbi_free(position);
    vmbi_error_move(err, &e);
    return rc;
}
