/* SPDX-License-Identifier: Apache-2.0 */
/* One page of a list, taken apart without building a tree. */
#ifndef VMBI_KUBE_PAGE_H
#define VMBI_KUBE_PAGE_H

#include "codec/jscan.h"

typedef struct vmbi_kube_page {
    vmbi_slice items;    /* the array, in the bytes that were parsed; p NULL: no items */
    char *continue_token; /* owned; NULL: the last page */
} vmbi_kube_page;

/* Checks the whole document, so that nothing of a broken page is handed on. VMB_E_PROTOCOL when it
 * is no list. */
vmb_code vmbi_kube_page_parse(const char *json, size_t len, const char *what, vmbi_kube_page *out,
                              vmb_error **err);
void vmbi_kube_page_done(vmbi_kube_page *page);

/* Calls fn with the bytes of each item, in order; ends with fn's first failure. */
typedef vmb_code (*vmbi_kube_item_fn)(void *user, const char *json, size_t len, vmb_error **err);
vmb_code vmbi_kube_page_each(const vmbi_kube_page *page, const char *what, vmbi_kube_item_fn fn,
                             void *user, vmb_error **err);

#endif
