/* SPDX-License-Identifier: Apache-2.0 */
/* Puts the wall clock of a program SKEW_SECONDS off; LD_PRELOADed. The monotonic clock stays. */
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long skew(void)
{
    const char *s = getenv("SKEW_SECONDS");

    return s ? strtol(s, NULL, 10) : 0;
}

__attribute__((visibility("default"))) int clock_gettime(clockid_t id, struct timespec *t)
{
    const int rc = (int)syscall(SYS_clock_gettime, id, t);

    if (rc == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) {
        t->tv_sec += skew();
    }
    return rc;
}

__attribute__((visibility("default"))) time_t time(time_t *out)
{
    struct timespec t = {0, 0};

    (void)clock_gettime(CLOCK_REALTIME, &t);
    if (out) {
        *out = t.tv_sec;
    }
    return t.tv_sec;
}

__attribute__((visibility("default"))) int gettimeofday(struct timeval *restrict tv,
                                                        void *restrict tz)
{
    struct timespec t = {0, 0};
    const int rc = clock_gettime(CLOCK_REALTIME, &t);

    (void)tz;
    tv->tv_sec = t.tv_sec;
    tv->tv_usec = t.tv_nsec / 1000;
    return rc;
}
