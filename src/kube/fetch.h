/* SPDX-License-Identifier: Apache-2.0 */
/* Private to kube/: fetching one page of a list after the other, with the answers to pages that are
 * too large and to positions that expired. */
#ifndef VMBI_KUBE_FETCH_H
#define VMBI_KUBE_FETCH_H

#include "kube/list.h"

/* State of a list between its pages. Used by one thread at a time. */
typedef struct vmbi_kube_fetch {
    vmbi_kube *k;
    const vmbi_kube_list *list;
    char what[VMBI_KUBE_WHAT_SIZE];
    int64_t limit;     /* items per page now; 0: all */
    size_t max_bytes;  /* of a page now */
    int restarts;      /* from the beginning, in the whole list */
    int resumes;       /* with tokens of 410 answers, since the last page */
} vmbi_kube_fetch;

/* A page with the bytes that it points into; reused from page to page. */
typedef struct vmbi_kube_sheet {
    vmbi_http_response response;
    vmbi_kube_page page;
} vmbi_kube_sheet;

void vmbi_kube_fetch_init(vmbi_kube_fetch *f, vmbi_kube *k, const vmbi_kube_list *list);
/* token NULL: the first page. */
vmb_code vmbi_kube_fetch_page(vmbi_kube_fetch *f, const char *token, const vmbi_limits *limits,
                              vmbi_kube_sheet *sheet, vmb_error **err);
void vmbi_kube_sheet_init(vmbi_kube_sheet *sheet);
void vmbi_kube_sheet_done(vmbi_kube_sheet *sheet);

#endif
