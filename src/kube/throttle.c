/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/throttle.h"

#include "base/clock.h"

void vmbi_kube_throttle_init(vmbi_kube_throttle *t, int64_t qps, int64_t burst)
{
    (void)pthread_mutex_init(&t->lock, NULL);
    t->interval_ns = qps > 0 ? VMBI_SECOND / qps : 0;
    t->slack_ns = 0;
    if (burst > 1 &&
        __builtin_mul_overflow(burst - 1, t->interval_ns, &t->slack_ns)) {
        t->interval_ns = 0; /* a burst that no clock can hold is no limit */
    }
    t->next_ns = 0;
}

void vmbi_kube_throttle_done(vmbi_kube_throttle *t)
{
    (void)pthread_mutex_destroy(&t->lock);
}

int64_t vmbi_kube_throttle_reserve(vmbi_kube_throttle *t, int64_t now_ns)
{
    if (t->interval_ns == 0) {
        return 0;
    }
    (void)pthread_mutex_lock(&t->lock);
    if (t->next_ns < now_ns) {
        t->next_ns = now_ns;
    }
    int64_t wait_ns = t->next_ns - t->slack_ns - now_ns;
    t->next_ns += t->interval_ns;
    (void)pthread_mutex_unlock(&t->lock);
    return wait_ns > 0 ? wait_ns : 0;
}

vmb_code vmbi_kube_throttle_wait(vmbi_kube_throttle *t, const vmbi_limits *limits,
                                 vmb_error **err)
{
    int64_t wait_ns = vmbi_kube_throttle_reserve(t, vmbi_mono_ns());
    if (wait_ns == 0) {
        return vmbi_limits_check(limits, err, "request to the api server");
    }
    return vmbi_limits_sleep(limits, wait_ns, err, "waiting for the request rate limit");
}
