/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* Counters of the failure hook; 0 in fail_from means off. Relaxed: only tests use them, and they
 * drive one thread. */
static atomic_uint_fast64_t alloc_seen;
static atomic_uint_fast64_t alloc_fail_from;

static bool may_alloc(void)
{
    uint64_t from = atomic_load_explicit(&alloc_fail_from, memory_order_relaxed);
    if (VMBI_LIKELY(from == 0)) {
        return true;
    }
    uint64_t n = atomic_fetch_add_explicit(&alloc_seen, 1, memory_order_relaxed) + 1;
    return n < from;
}

void vmbi_alloc_fail_from(uint64_t n)
{
    atomic_store_explicit(&alloc_seen, 0, memory_order_relaxed);
    atomic_store_explicit(&alloc_fail_from, n, memory_order_relaxed);
}

uint64_t vmbi_alloc_count(void)
{
    return atomic_load_explicit(&alloc_seen, memory_order_relaxed);
}

void *vmbi_alloc(size_t size)
{
    return may_alloc() ? malloc(size != 0 ? size : 1) : NULL;
}

void *vmbi_zalloc(size_t size)
{
    return may_alloc() ? calloc(1, size != 0 ? size : 1) : NULL;
}

void *vmbi_alloc_array(size_t n, size_t size)
{
    size_t total = 0;
    if (__builtin_mul_overflow(n, size, &total)) {
        return NULL;
    }
    return vmbi_alloc(total);
}

void *vmbi_realloc_array(void *p, size_t n, size_t size)
{
    size_t total = 0;
    if (__builtin_mul_overflow(n, size, &total) || !may_alloc()) {
        return NULL;
    }
    return realloc(p, total != 0 ? total : 1);
}

void *vmbi_memdup(const void *p, size_t len)
{
    void *copy = vmbi_alloc(len);
    if (copy != NULL && len != 0) {
        memcpy(copy, p, len);
    }
    return copy;
}

char *vmbi_strndup(const char *s, size_t len)
{
    if (len == SIZE_MAX) {
        return NULL;
    }
    char *copy = vmbi_alloc(len + 1);
    if (copy != NULL) {
        if (len != 0) {
            memcpy(copy, s, len);
        }
        copy[len] = '\0';
    }
    return copy;
}

char *vmbi_strdup(const char *s)
{
    return vmbi_strndup(s, strlen(s));
}

void vmbi_free(void *p)
{
    free(p);
}

void vmbi_free_const(const void *p)
{
    union {
        const void *c;
        void *p;
    } u = {p};
    free(u.p);
}
