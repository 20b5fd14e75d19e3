/* SPDX-License-Identifier: Apache-2.0 */
#include "base/cancel.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"

struct vmbi_cancel {
    atomic_bool fired; /* release on set, acquire on read: what the canceller wrote is seen */
    int fd;            /* eventfd, stays readable once fired */
};

vmb_code vmbi_cancel_new(vmbi_cancel **out, vmb_error **err)
{
    vmbi_cancel *c = vmbi_zalloc(sizeof(*c));
    if (c == NULL) {
        return vmbi_fail_nomem(err);
    }
    c->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (c->fd < 0) {
        int errnum = errno;
        vmbi_free(c);
        return vmbi_fail_errno(err, errnum, "create an event descriptor");
    }
    atomic_init(&c->fired, false);
    *out = c;
    return VMB_OK;
}

void vmbi_cancel_free(vmbi_cancel *c)
{
    if (c != NULL) {
        (void)close(c->fd);
        vmbi_free(c);
    }
}

void vmbi_cancel_fire(vmbi_cancel *c)
{
    if (!atomic_exchange_explicit(&c->fired, true, memory_order_release)) {
        const uint64_t one = 1;
        int saved = errno; /* may run in a signal handler */
        ssize_t n = write(c->fd, &one, sizeof(one));
        (void)n; /* cannot block: the counter was 0 */
        errno = saved;
    }
}

bool vmbi_cancel_is_set(const vmbi_cancel *c)
{
    return c != NULL && atomic_load_explicit(&c->fired, memory_order_acquire);
}

int vmbi_cancel_fd(const vmbi_cancel *c)
{
    return c != NULL ? c->fd : -1;
}

vmbi_limits vmbi_limits_within(const vmbi_limits *outer, int64_t ns)
{
    vmbi_limits l = {0, NULL};
    if (outer != NULL) {
        l = *outer;
    }
    int64_t end = 0;
    if (ns >= 0 && !__builtin_add_overflow(vmbi_mono_ns(), ns, &end) &&
        (l.deadline_mono_ns == 0 || end < l.deadline_mono_ns)) {
        l.deadline_mono_ns = end;
    }
    return l;
}

vmb_code vmbi_limits_check(const vmbi_limits *l, vmb_error **err, const char *what)
{
    if (l == NULL) {
        return VMB_OK;
    }
    if (vmbi_cancel_is_set(l->cancel)) {
        return vmbi_fail(err, VMB_E_CANCELLED, "%s: cancelled", what);
    }
    if (l->deadline_mono_ns != 0 && vmbi_mono_ns() >= l->deadline_mono_ns) {
        return vmbi_fail_retryable(err, VMB_E_TIMEOUT, "%s: timed out", what);
    }
    return VMB_OK;
}

int64_t vmbi_limits_remaining_ns(const vmbi_limits *l)
{
    if (l == NULL || l->deadline_mono_ns == 0) {
        return -1;
    }
    int64_t left = l->deadline_mono_ns - vmbi_mono_ns();
    return left > 0 ? left : 0;
}

int vmbi_limits_poll_ms(const vmbi_limits *l, int cap_ms)
{
    int64_t left = vmbi_limits_remaining_ns(l);
    if (left < 0) {
        return cap_ms;
    }
    int64_t ms = left == 0 ? 0 : left / VMBI_MS + 1;
    if (ms > INT32_MAX) {
        ms = INT32_MAX;
    }
    return cap_ms >= 0 && ms > cap_ms ? cap_ms : (int)ms;
}

vmb_code vmbi_limits_sleep(const vmbi_limits *l, int64_t ns, vmb_error **err, const char *what)
{
    int64_t end = 0;
    if (__builtin_add_overflow(vmbi_mono_ns(), ns, &end)) {
        end = INT64_MAX;
    }
    for (;;) {
        vmb_code rc = vmbi_limits_check(l, err, what);
        int64_t left = end - vmbi_mono_ns();
        if (rc != VMB_OK || left <= 0) {
            return rc;
        }
        int64_t ms = left / VMBI_MS + 1;
        struct pollfd p = {vmbi_cancel_fd(l != NULL ? l->cancel : NULL), POLLIN, 0};
        /* a negative fd is ignored by poll; EINTR just goes around again */
        (void)poll(&p, 1, vmbi_limits_poll_ms(l, ms > 60000 ? 60000 : (int)ms));
    }
}
