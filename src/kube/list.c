/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/list.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/thread.h"
#include "kube/fetch.h"

/* The helper that fetches a page ahead. It lives from page to page: one thread for each. */
typedef struct helper {
    bool running;
    pthread_t thread;
    int done_fd;       /* eventfd, written when the thread has its result */
    vmbi_cancel *stop; /* fired when the page is wanted no more */
    vmbi_kube_fetch *fetch;
    vmbi_limits limits; /* the caller's deadline, our own stop */
    const char *token;  /* borrowed from the sheet being handed on */
    vmbi_kube_sheet *sheet;
    vmb_code code;
    vmb_error *err;
} helper;

typedef struct lister {
    vmbi_kube_fetch fetch;
    const vmbi_limits *limits;
    vmbi_kube_item_fn fn;
    void *user;
    helper ahead;
    vmbi_kube_sheet sheets[2]; /* never more than two pages in memory */
} lister;

static void *run_helper(void *arg)
{
    helper *h = arg;
    const uint64_t one = 1;
    h->code = vmbi_kube_fetch_page(h->fetch, h->token, &h->limits, h->sheet, &h->err);
    ssize_t n = write(h->done_fd, &one, sizeof(one));
    (void)n; /* cannot block: the counter is 0 or 1 */
    return NULL;
}

static bool helper_init(helper *h)
{
    if (h->stop != NULL) {
        return true;
    }
    if (h->done_fd < 0) {
        h->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    }
    return h->done_fd >= 0 && vmbi_cancel_new(&h->stop, NULL) == VMB_OK;
}

/* Starts fetching; false when there is no thread to be had: the caller fetches by itself. */
static bool helper_start(lister *l, const char *token, vmbi_kube_sheet *sheet)
{
    helper *h = &l->ahead;
    if (!helper_init(h)) {
        return false;
    }
    h->fetch = &l->fetch;
    h->token = token;
    h->sheet = sheet;
    h->limits.deadline_mono_ns = l->limits != NULL ? l->limits->deadline_mono_ns : 0;
    h->limits.cancel = h->stop;
    h->running = vmbi_thread_start(&h->thread, run_helper, h) == 0;
    return h->running;
}

/* Waits for the page; hears the caller's cancellation, which the helper cannot. */
static vmb_code helper_wait(lister *l, vmb_error **err)
{
    helper *h = &l->ahead;
    uint64_t count = 0;
    struct pollfd fds[2] = {
        {h->done_fd, POLLIN, 0},
        {vmbi_cancel_fd(l->limits != NULL ? l->limits->cancel : NULL), POLLIN, 0}};
    /* no time-out: the helper keeps the deadline itself */
    while (poll(fds, 2, -1) < 0 && errno == EINTR) {
    }
    if ((fds[0].revents & POLLIN) == 0) {
        vmbi_cancel_fire(h->stop);
    }
    (void)pthread_join(h->thread, NULL);
    h->running = false;
    ssize_t n = read(h->done_fd, &count, sizeof(count));
    (void)n; /* back to 0 */
    vmb_code rc = vmbi_limits_check(l->limits, err, l->fetch.what);
    if (rc != VMB_OK) {
        vmb_error_free(h->err);
        h->err = NULL;
        return rc;
    }
    vmbi_error_move(err, &h->err);
    return h->code;
}

static void helper_done(helper *h)
{
    if (h->running) {
        vmbi_cancel_fire(h->stop);
        (void)pthread_join(h->thread, NULL);
    }
    vmb_error_free(h->err);
    vmbi_cancel_free(h->stop);
    if (h->done_fd >= 0) {
        (void)close(h->done_fd);
    }
}

/* fn between two looks at the cancellation: a long page must not hide it. */
static vmb_code push(void *user, const char *json, size_t len, vmb_error **err)
{
    lister *l = user;
    if (l->limits != NULL && vmbi_cancel_is_set(l->limits->cancel)) {
        return vmbi_limits_check(l->limits, err, l->fetch.what);
    }
    return l->fn(l->user, json, len, err);
}

static vmb_code hand_on(lister *l, const vmbi_kube_sheet *sheet, vmb_error **err)
{
    return vmbi_kube_page_each(&sheet->page, l->fetch.what, push, l, err);
}

static vmb_code walk(lister *l, vmb_error **err)
{
    vmbi_kube_sheet *now = &l->sheets[0];
    vmbi_kube_sheet *next = &l->sheets[1];
    vmb_code rc = vmbi_kube_fetch_page(&l->fetch, NULL, l->limits, now, err);
    while (rc == VMB_OK) {
        const char *token = now->page.continue_token;
        bool ahead = token != NULL && l->fetch.list->prefetch && helper_start(l, token, next);
        rc = hand_on(l, now, err);
        if (rc != VMB_OK || token == NULL) {
            break;
        }
        rc = ahead ? helper_wait(l, err)
                   : vmbi_kube_fetch_page(&l->fetch, token, l->limits, next, err);
        vmbi_kube_sheet *done = now;
        now = next;
        next = done;
    }
    return rc;
}

vmb_code vmbi_kube_list_each(vmbi_kube *k, const vmbi_kube_list *list, const vmbi_limits *limits,
                             vmbi_kube_item_fn fn, void *user, vmb_error **err)
{
    lister *l = vmbi_zalloc(sizeof(*l));
    if (l == NULL) {
        return vmbi_fail_nomem(err);
    }
    vmbi_kube_fetch_init(&l->fetch, k, list);
    l->limits = limits;
    l->fn = fn;
    l->user = user;
    l->ahead.done_fd = -1;
    vmbi_kube_sheet_init(&l->sheets[0]);
    vmbi_kube_sheet_init(&l->sheets[1]);
    vmb_code rc = walk(l, err);
    helper_done(&l->ahead);
    vmbi_kube_sheet_done(&l->sheets[0]);
    vmbi_kube_sheet_done(&l->sheets[1]);
    vmbi_free(l);
    return rc;
}
