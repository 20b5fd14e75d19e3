/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"

/* Opaque to the compiler, which would warn of sizes that cannot be had. */
static size_t huge(void)
{
    volatile size_t n = SIZE_MAX / 2 + 1;

    return n;
}

static void alloc_zero_size_is_memory(void **state)
{
    void *a = vmbi_alloc(0);
    void *b = vmbi_zalloc(0);
    void *c = vmbi_alloc_array(0, 8);
    void *d = vmbi_realloc_array(NULL, 0, 8);
    char *e = vmbi_strndup(NULL, 0);

    (void)state;
    assert_true(a != NULL && b != NULL && c != NULL && d != NULL && e != NULL);
    assert_string_equal(e, "");
    vmbi_free(a);
    vmbi_free(b);
    vmbi_free(c);
    vmbi_free(d);
    vmbi_free(e);
    vmbi_free(NULL);
}

static void alloc_overflow_is_refused(void **state)
{
    int *p = vmbi_alloc_array(4, sizeof(*p));

    (void)state;
    assert_non_null(p);
    p[3] = 7;
    assert_null(vmbi_alloc_array(huge(), 4));
    assert_null(vmbi_realloc_array(p, huge(), 4));
    assert_int_equal(p[3], 7); /* still ours */
    p = vmbi_realloc_array(p, 1000, sizeof(*p));
    assert_non_null(p);
    assert_int_equal(p[3], 7);
    vmbi_free(p);
}

static void copies_are_exact(void **state)
{
    char *a = vmbi_strdup("text");
    char *b = vmbi_strndup("a\0b", 3);
    char *c = vmbi_memdup("xyz", 3);

    (void)state;
    assert_string_equal(a, "text");
    assert_memory_equal(b, "a\0b", 4);
    assert_memory_equal(c, "xyz", 3);
    char *moved = vmbi_steal(&a);
    assert_null(a);
    assert_string_equal(moved, "text");
    vmbi_free(moved);
    vmbi_free(b);
    vmbi_free(c);
}

static void hook_fails_from_the_nth_on(void **state)
{
    void *p[5];
    void *kept;

    (void)state;
    vmbi_alloc_fail_from(3);
    p[0] = vmbi_alloc(1);
    p[1] = vmbi_strdup("x");
    p[2] = vmbi_zalloc(1);
    p[3] = vmbi_alloc_array(1, 1);
    p[4] = vmbi_memdup("x", 1);
    kept = vmbi_realloc_array(p[0], 100, 1);
    assert_int_equal(vmbi_alloc_count(), 6);
    vmbi_alloc_fail_from(0);
    assert_true(p[0] != NULL && p[1] != NULL);
    assert_true(p[2] == NULL && p[3] == NULL && p[4] == NULL && kept == NULL);
    vmbi_free(p[0]);
    vmbi_free(p[1]);
    p[0] = vmbi_alloc(1);
    assert_non_null(p[0]);
    vmbi_free(p[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(alloc_zero_size_is_memory),
        cmocka_unit_test(alloc_overflow_is_refused),
        cmocka_unit_test(copies_are_exact),
        cmocka_unit_test(hook_fails_from_the_nth_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
