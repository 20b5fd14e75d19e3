/* SPDX-License-Identifier: Apache-2.0 */
/* Preloaded: lets the n-th allocation of a process fail, those of all its libraries included, and
 * counts what is alive. Used by sweep.c, which links it too. */
#include "fault.h"

#include <errno.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdlib.h>

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t size);
extern void *__libc_memalign(size_t align, size_t size);
extern void __libc_free(void *p);

#define SHOWN __attribute__((visibility("default")))

static __thread int paused __attribute__((tls_model("initial-exec")));
static atomic_int armed;
static atomic_int forever;
static atomic_long seen;
static atomic_long target;
static atomic_long alive;

SHOWN void fault_pause(void)
{
    paused++;
}

SHOWN void fault_resume(void)
{
    paused--;
}

SHOWN void fault_arm(long n, int and_all_later)
{
    atomic_store(&seen, 0);
    atomic_store(&target, n);
    atomic_store(&forever, and_all_later);
    atomic_store(&armed, 1);
}

SHOWN long fault_disarm(void)
{
    atomic_store(&armed, 0);
    return atomic_load(&seen);
}

SHOWN long fault_alive(void)
{
    return atomic_load(&alive);
}

static int fails(void)
{
    if (!atomic_load(&armed) || paused != 0) {
        return 0;
    }
    long n = atomic_fetch_add(&seen, 1) + 1;
    long t = atomic_load(&target);
    if (t != 0 && (n == t || (n > t && atomic_load(&forever)))) {
        errno = ENOMEM;
        return 1;
    }
    return 0;
}

static void *count(void *p)
{
    if (p != NULL) {
        atomic_fetch_add(&alive, 1);
    }
    return p;
}

SHOWN void *malloc(size_t size)
{
    return fails() ? NULL : count(__libc_malloc(size));
}

SHOWN void *calloc(size_t n, size_t size)
{
    return fails() ? NULL : count(__libc_calloc(n, size));
}

SHOWN void *realloc(void *p, size_t size)
{
    if (fails()) {
        return NULL;
    }
    void *more = __libc_realloc(p, size);
    if (p == NULL) {
        return count(more);
    }
    if (more == NULL && size == 0) {
        atomic_fetch_sub(&alive, 1);
    }
    return more;
}

SHOWN void free(void *p)
{
    if (p != NULL) {
        atomic_fetch_sub(&alive, 1);
    }
    __libc_free(p);
}

SHOWN void *memalign(size_t align, size_t size)
{
    return fails() ? NULL : count(__libc_memalign(align, size));
}

SHOWN void *aligned_alloc(size_t align, size_t size)
{
    return memalign(align, size);
}

SHOWN int posix_memalign(void **out, size_t align, size_t size)
{
    void *p = memalign(align, size);
    if (p == NULL) {
        return ENOMEM;
    }
    *out = p;
    return 0;
}
