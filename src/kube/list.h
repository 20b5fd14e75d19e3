/* SPDX-License-Identifier: Apache-2.0 */
/* Lists, page by page: while the items of one page are handed on, the next one is on its way. */
#ifndef VMBI_KUBE_LIST_H
#define VMBI_KUBE_LIST_H

#include "kube/client.h"
#include "kube/page.h"

typedef struct vmbi_kube_list {
    const vmbi_kube_path *path; /* no name */
    const char *selector;       /* label selector; NULL or "": everything */
    int64_t page_size;          /* 0: 500 */
    bool prefetch;              /* fetch a page ahead on a helper thread */
} vmbi_kube_list;

enum {
    VMBI_KUBE_PAGE_SIZE = 500,
    /* A page with more bytes is asked for again with fewer items; only a single item, or an answer
     * of a server that does not page, may have up to the second figure. */
    VMBI_KUBE_PAGE_BYTES = 32 << 20,
    VMBI_KUBE_PAGE_BYTES_MAX = 256 << 20
};

/* Hands every object to fn. When the server forgets the list's position (410), the list goes on
 * with the token the server offers, else from its beginning: objects may then come twice. fn may
 * use the same client. */
vmb_code vmbi_kube_list_each(vmbi_kube *k, const vmbi_kube_list *list, const vmbi_limits *limits,
                             vmbi_kube_item_fn fn, void *user, vmb_error **err);

#endif
