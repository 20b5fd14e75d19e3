/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/strs.h"

static void fail_sets_code_and_message(void **state)
{
    vmb_error *err = NULL;

    (void)state;
    assert_int_equal(vmbi_fail(&err, VMB_E_NET, "connect to %s: %d", "host", 7), VMB_E_NET);
    assert_int_equal(vmb_error_code(err), VMB_E_NET);
    assert_string_equal(vmb_error_message(err), "connect to host: 7");
    assert_int_equal(vmb_error_flags(err), 0);
    /* a new failure takes the place of the former one, also when it quotes it */
    assert_int_equal(vmbi_fail(&err, VMB_E_IO, "again: %s", vmb_error_message(err)), VMB_E_IO);
    assert_string_equal(vmb_error_message(err), "again: connect to host: 7");
    vmb_error_free(err);
    assert_int_equal(vmbi_fail(NULL, VMB_E_IO, "nobody listens"), VMB_E_IO);
}

static void error_null_is_no_error(void **state)
{
    (void)state;
    assert_int_equal(vmb_error_code(NULL), VMB_OK);
    assert_string_equal(vmb_error_message(NULL), "");
    assert_int_equal(vmb_error_flags(NULL), 0);
    assert_false(vmbi_error_is_retryable(NULL));
    vmb_error_free(NULL);
}

static void fail_retryable_survives_wrapping(void **state)
{
    vmb_error *err = NULL;

    (void)state;
    assert_int_equal(vmbi_fail_retryable(&err, VMB_E_SERVER, "busy"), VMB_E_SERVER);
    assert_true(vmbi_error_is_retryable(err));
    assert_int_equal(vmbi_wrap(&err, VMB_E_INTERNAL, "list %s", "pods"), VMB_E_SERVER);
    assert_string_equal(vmb_error_message(err), "list pods: busy");
    assert_true(vmbi_error_is_retryable(err));
    vmb_error_free(err);
}

static void wrap_without_error_makes_one(void **state)
{
    vmb_error *err = NULL;

    (void)state;
    assert_int_equal(vmbi_wrap(&err, VMB_E_IO, "write"), VMB_E_IO);
    assert_int_equal(vmb_error_code(err), VMB_E_IO);
    assert_non_null(strstr(vmb_error_message(err), "write"));
    assert_int_equal(vmbi_wrap(NULL, VMB_E_IO, "write"), VMB_E_IO);
    vmb_error_free(err);
}

static void fail_long_message_is_cut(void **state)
{
    static char text[10001];
    vmb_error *err = NULL;

    (void)state;
    memset(text, 'x', 10000);
    (void)vmbi_fail(&err, VMB_E_IO, "%s", text);
    assert_in_range(strlen(vmb_error_message(err)), 4000, 4096);
    for (int i = 0; i < 3; i++) {
        (void)vmbi_wrap(&err, VMB_E_IO, "%s", text);
        assert_in_range(strlen(vmb_error_message(err)), 4000, 4096);
    }
    vmb_error_free(err);
}

static void fail_without_memory_is_reported(void **state)
{
    vmb_error *err = NULL;
    vmb_error *other = NULL;

    (void)state;
    vmbi_alloc_fail_from(1);
    assert_int_equal(vmbi_fail_nomem(&err), VMB_E_NOMEM);
    assert_int_equal(vmb_error_code(err), VMB_E_NOMEM);
    assert_string_equal(vmb_error_message(err), "out of memory");
    assert_int_equal(vmbi_wrap(&err, VMB_E_NOMEM, "list"), VMB_E_NOMEM);
    (void)vmbi_fail(&other, VMB_E_NET, "text");
    assert_non_null(other);
    vmbi_alloc_fail_from(0);
    assert_string_not_equal(vmb_error_message(other), "");
    assert_int_equal(vmbi_fail_nomem(NULL), VMB_E_NOMEM);
    vmb_error_free(err);
    vmb_error_free(other);
    vmb_error_free(err); /* the static one may be given back any number of times */
}

static void fail_errno_maps_codes(void **state)
{
    static const struct {
        int errnum;
        vmb_code code;
    } cases[] = {
        {ENOENT, VMB_E_NOT_FOUND}, {EACCES, VMB_E_DENIED}, {EPERM, VMB_E_DENIED},
        {EEXIST, VMB_E_EXISTS},    {ENOSPC, VMB_E_FULL},   {EDQUOT, VMB_E_FULL},
        {ENOMEM, VMB_E_NOMEM},     {EIO, VMB_E_IO},        {99999, VMB_E_IO},
    };

    (void)state;
    for (size_t i = 0; i < VMBI_ARRAY_LEN(cases); i++) {
        vmb_error *err = NULL;

        assert_int_equal(vmbi_fail_errno(&err, cases[i].errnum, "open %s", "f"), cases[i].code);
        assert_int_equal(vmb_error_code(err), cases[i].code);
        assert_true(vmbi_starts_with(vmb_error_message(err), "open f: "));
        assert_true(strlen(vmb_error_message(err)) > 8);
        vmb_error_free(err);
        assert_int_equal(vmbi_fail_errno(NULL, cases[i].errnum, "x"), cases[i].code);
    }
}

static void error_move_leaves_source_empty(void **state)
{
    vmb_error *a = NULL, *b = NULL;

    (void)state;
    (void)vmbi_fail(&a, VMB_E_IO, "first");
    (void)vmbi_fail(&b, VMB_E_NET, "second");
    vmbi_error_move(&a, &b);
    assert_null(b);
    assert_string_equal(vmb_error_message(a), "second");
    vmbi_error_move(&a, &a);
    assert_string_equal(vmb_error_message(a), "second");
    vmbi_error_move(NULL, &a);
    assert_null(a);
}

static void error_set_is_for_providers(void **state)
{
    vmb_error *err = NULL;

    (void)state;
    vmb_error_set(NULL, VMB_E_IO, 0, "x");
    vmb_error_set(&err, VMB_E_IO, VMB_ERROR_RETRYABLE, "%s is not a format");
    assert_string_equal(vmb_error_message(err), "%s is not a format");
    assert_true(vmbi_error_is_retryable(err));
    vmb_error_set(&err, VMB_E_FULL, 0, NULL);
    assert_int_equal(vmb_error_code(err), VMB_E_FULL);
    assert_string_not_equal(vmb_error_message(err), "");
    vmb_error_set(&err, VMB_E_IO, 0, "two\nlines\xff");
    assert_null(strchr(vmb_error_message(err), '\n'));
    assert_true(vmbi_utf8_valid(vmb_error_message(err), strlen(vmb_error_message(err))));
    vmb_error_free(err);
}

static void code_names_are_complete(void **state)
{
    (void)state;
    assert_string_equal(vmb_code_name(VMB_OK), "VMB_OK");
    assert_string_equal(vmb_code_name(VMB_E_ARG), "VMB_E_ARG");
    assert_string_equal(vmb_code_name(VMB_E_TIMEOUT), "VMB_E_TIMEOUT");
    assert_string_equal(vmb_code_name(VMB_E_LIMIT), "VMB_E_LIMIT");
    assert_string_equal(vmb_code_name(VMB_E_GONE), "VMB_E_GONE");
    assert_string_equal(vmb_code_name(VMB_E_INTERNAL), "VMB_E_INTERNAL");
    assert_string_equal(vmb_code_name(VMB_E_INTERNAL - 1), "VMB_E_UNKNOWN");
    assert_string_equal(vmb_code_name(1), "VMB_E_UNKNOWN");
    assert_string_equal(vmb_code_name(INT32_MIN), "VMB_E_UNKNOWN");
}

static void provider_codes_are_checked(void **state)
{
    vmb_error *err = NULL;

    (void)state;
    assert_int_equal(vmbi_check_provider(&err, VMB_OK, "put"), VMB_OK);
    assert_null(err);
    assert_int_equal(vmbi_check_provider(&err, VMB_E_FULL, "put"), VMB_E_FULL);
    assert_int_equal(vmb_error_code(err), VMB_E_FULL);
    assert_non_null(strstr(vmb_error_message(err), "put"));
    assert_int_equal(vmbi_check_provider(&err, 1, "put"), VMB_E_PROVIDER);
    assert_int_equal(vmbi_check_provider(&err, -999, "put"), VMB_E_PROVIDER);
    assert_int_equal(vmb_error_code(err), VMB_E_PROVIDER);
    (void)vmbi_fail(&err, VMB_E_NET, "lost");
    assert_int_equal(vmbi_check_provider(&err, VMB_E_NET, "put"), VMB_E_NET);
    assert_string_equal(vmb_error_message(err), "lost");
    vmb_error_free(err);
    assert_int_equal(vmbi_check_provider(NULL, -999, "put"), VMB_E_PROVIDER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fail_sets_code_and_message),
        cmocka_unit_test(error_null_is_no_error),
        cmocka_unit_test(fail_retryable_survives_wrapping),
        cmocka_unit_test(wrap_without_error_makes_one),
        cmocka_unit_test(fail_long_message_is_cut),
        cmocka_unit_test(fail_without_memory_is_reported),
        cmocka_unit_test(fail_errno_maps_codes),
        cmocka_unit_test(error_move_leaves_source_empty),
        cmocka_unit_test(error_set_is_for_providers),
        cmocka_unit_test(code_names_are_complete),
        cmocka_unit_test(provider_codes_are_checked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
