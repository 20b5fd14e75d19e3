/* SPDX-License-Identifier: Apache-2.0 */
/* Leader election, with a clock that only the tests move: who takes a lease, and who lets go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "core/control/lease.h"

#define SECOND INT64_C(1000000000)

static vmbi_lease make(const char *identity)
{
    return (vmbi_lease){.identity = identity, .duration_ns = 15 * SECOND, .renew_ns = 10 * SECOND};
}

static vmbi_json *lease_of(const char *holder, const char *renewed)
{
    char text[2048];
    vmbi_json *v = NULL;
    (void)snprintf(text, sizeof(text),
                   "{\"metadata\":{\"name\":\"l\",\"resourceVersion\":\"7\"},\"spec\":"
                   "{\"holderIdentity\":\"%s\",\"leaseDurationSeconds\":15,"
                   "\"leaseTransitions\":3,\"renewTime\":\"%s\"}}",
                   holder, renewed);
    assert_int_equal(vmbi_json_parse(text, strlen(text), "lease", &v, NULL), VMB_OK);
    return v;
}

static void absent_lease_is_created(void **state)
{
    (void)state;
    vmbi_lease l = make("me");
    assert_int_equal(vmbi_lease_look(&l, NULL, SECOND), VMBI_LEASE_CREATE);
}

static void foreign_lease_is_respected_until_it_stands_still(void **state)
{
    (void)state;
    vmbi_lease l = make("me");
    vmbi_json *first = lease_of("other", "t1");
    vmbi_json *second = lease_of("other", "t2");
    /* the clock of the other does not matter: it counts from when we saw the lease change */
    assert_int_equal(vmbi_lease_look(&l, first, 100 * SECOND), VMBI_LEASE_WAIT);
    assert_int_equal(vmbi_lease_look(&l, first, 114 * SECOND), VMBI_LEASE_WAIT);
    assert_int_equal(vmbi_lease_look(&l, second, 114 * SECOND), VMBI_LEASE_WAIT);
    assert_int_equal(vmbi_lease_look(&l, second, 128 * SECOND), VMBI_LEASE_WAIT);
    assert_int_equal(vmbi_lease_look(&l, second, 129 * SECOND), VMBI_LEASE_WRITE);
    vmbi_json_free(first);
    vmbi_json_free(second);
}

static void renewal_of_a_holder_with_a_long_name_is_seen(void **state)
{
    (void)state;
    char name[601];
    vmbi_lease l = make("me");
    memset(name, 'x', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    vmbi_json *first = lease_of(name, "t1");
    vmbi_json *second = lease_of(name, "t2");
    assert_int_equal(vmbi_lease_look(&l, first, 100 * SECOND), VMBI_LEASE_WAIT);
    assert_int_equal(vmbi_lease_look(&l, second, 114 * SECOND), VMBI_LEASE_WAIT);
    assert_int_equal(vmbi_lease_look(&l, second, 128 * SECOND), VMBI_LEASE_WAIT);
    assert_int_equal(vmbi_lease_look(&l, second, 129 * SECOND), VMBI_LEASE_WRITE);
    vmbi_json_free(first);
    vmbi_json_free(second);
}

static void released_lease_is_taken_at_once(void **state)
{
    (void)state;
    vmbi_lease l = make("me");
    vmbi_json *lease = lease_of("", "t1");
    assert_int_equal(vmbi_lease_look(&l, lease, SECOND), VMBI_LEASE_WRITE);
    vmbi_json_free(lease);
}

static void own_lease_is_renewed(void **state)
{
    (void)state;
    vmbi_lease l = make("me");
    vmbi_json *lease = lease_of("me", "t1");
    vmbi_lease_written(&l, 10 * SECOND);
    assert_true(l.held);
    assert_int_equal(vmbi_lease_look(&l, lease, 12 * SECOND), VMBI_LEASE_WRITE);
    assert_int_equal(vmbi_lease_look(&l, lease, 19 * SECOND), VMBI_LEASE_WRITE);
    vmbi_json_free(lease);
}

static void lease_not_renewed_in_time_is_lost_before_others_may_take_it(void **state)
{
    (void)state;
    vmbi_lease l = make("me");
    vmbi_json *lease = lease_of("me", "t1");
    vmbi_lease_written(&l, 10 * SECOND);
    assert_int_equal(vmbi_lease_missed(&l, 19 * SECOND), VMBI_LEASE_WAIT);
    assert_int_equal(vmbi_lease_missed(&l, 20 * SECOND), VMBI_LEASE_LOST);
    assert_int_equal(vmbi_lease_look(&l, lease, 20 * SECOND), VMBI_LEASE_LOST);
    assert_true(l.renew_ns < l.duration_ns);
    vmbi_json_free(lease);
}

static void lease_taken_by_another_is_lost(void **state)
{
    (void)state;
    vmbi_lease l = make("me");
    vmbi_json *lease = lease_of("other", "t9");
    vmbi_lease_written(&l, 10 * SECOND);
    assert_int_equal(vmbi_lease_look(&l, lease, 11 * SECOND), VMBI_LEASE_LOST);
    vmbi_json_free(lease);
}

static void never_held_lease_cannot_be_lost(void **state)
{
    (void)state;
    vmbi_lease l = make("me");
    assert_int_equal(vmbi_lease_missed(&l, 1000 * SECOND), VMBI_LEASE_WAIT);
}

static void document_of_a_takeover_counts_it_and_names_the_version(void **state)
{
    (void)state;
    vmbi_lease l = make("me");
    vmbi_json *lease = lease_of("other", "t1");
    vmbi_json *doc = vmbi_lease_document(&l, lease, "l", INT64_C(1700000000123456789), false);
    assert_non_null(doc);
    assert_string_equal(vmbi_json_path_str(doc, "metadata.resourceVersion"), "7");
    assert_string_equal(vmbi_json_path_str(doc, "spec.holderIdentity"), "me");
    assert_string_equal(vmbi_json_path_str(doc, "spec.renewTime"), "2023-11-14T22:13:20.123456Z");
    assert_non_null(vmbi_json_path_str(doc, "spec.acquireTime"));
    assert_int_equal(vmbi_json_int(vmbi_json_path(doc, "spec.leaseTransitions"), -1), 4);
    assert_int_equal(vmbi_json_int(vmbi_json_path(doc, "spec.leaseDurationSeconds"), -1), 15);
    vmbi_json_free(doc);
    vmbi_json_free(lease);
}

static void document_of_a_renewal_keeps_when_it_was_taken(void **state)
{
    (void)state;
    vmbi_lease l = make("me");
    vmbi_json *lease = lease_of("me", "t1");
    vmbi_json *doc = vmbi_lease_document(&l, lease, "l", SECOND, false);
    assert_null(vmbi_json_path(doc, "spec.acquireTime"));
    assert_null(vmbi_json_path(doc, "spec.leaseTransitions"));
    vmbi_json_free(doc);
    doc = vmbi_lease_document(&l, lease, "l", SECOND, true);
    assert_string_equal(vmbi_json_path_str(doc, "spec.holderIdentity"), "");
    vmbi_json_free(doc);
    vmbi_json_free(lease);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(absent_lease_is_created),
        cmocka_unit_test(foreign_lease_is_respected_until_it_stands_still),
        cmocka_unit_test(renewal_of_a_holder_with_a_long_name_is_seen),
        cmocka_unit_test(released_lease_is_taken_at_once),
        cmocka_unit_test(own_lease_is_renewed),
        cmocka_unit_test(lease_not_renewed_in_time_is_lost_before_others_may_take_it),
        cmocka_unit_test(lease_taken_by_another_is_lost),
        cmocka_unit_test(never_held_lease_cannot_be_lost),
        cmocka_unit_test(document_of_a_takeover_counts_it_and_names_the_version),
        cmocka_unit_test(document_of_a_renewal_keeps_when_it_was_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
