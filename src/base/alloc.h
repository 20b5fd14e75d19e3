/* SPDX-License-Identifier: Apache-2.0 */
/* Memory: the only door to malloc, with a hook that lets tests fail any allocation. */
#ifndef VMBI_BASE_ALLOC_H
#define VMBI_BASE_ALLOC_H

#include "base/compiler.h"

/* All return NULL when memory cannot be had; size 0 is served as 1. */
void *vmbi_alloc(size_t size) __attribute__((malloc, alloc_size(1)));
void *vmbi_zalloc(size_t size) __attribute__((malloc, alloc_size(1)));
void *vmbi_alloc_array(size_t n, size_t size) __attribute__((malloc, alloc_size(1, 2)));
void *vmbi_realloc_array(void *p, size_t n, size_t size);
char *vmbi_strdup(const char *s);
char *vmbi_strndup(const char *s, size_t len); /* copies exactly len bytes and adds a NUL */
void *vmbi_memdup(const void *p, size_t len);
void vmbi_free(void *p);
void vmbi_free_const(const void *p); /* for owned memory behind a const pointer of a public struct */

/* Moves ownership out of a variable: returns *p and sets it to NULL. */
#define vmbi_steal(p)                     \
    (__extension__({                      \
        __typeof__(*(p)) vmbi_tmp = *(p); \
        *(p) = NULL;                      \
        vmbi_tmp;                         \
    }))

/* Test hook: the n-th allocation from now on fails, and all later ones; 0 switches it off. */
void vmbi_alloc_fail_from(uint64_t n);
/* Number of allocations since the last vmbi_alloc_fail_from(). */
uint64_t vmbi_alloc_count(void);

#endif
