/* SPDX-License-Identifier: Apache-2.0 */
/* Which Backup object is that of a stored backup: only with it do the files go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "core/control/recover.h"

static const char stored[] = "{\"metadata\":{\"name\":\"b\",\"uid\":\"u1\"},\"status\":"
                             "{\"phase\":\"Completed\",\"startTimestamp\":\"2026-11-24T22:00:00Z\"}}";

static bool is_stored(const char *object)
{
    vmbi_json *a = NULL;
    vmbi_json *b = NULL;
    assert_int_equal(vmbi_json_parse(object, strlen(object), "object", &a, NULL), VMB_OK);
    assert_int_equal(vmbi_json_parse(stored, strlen(stored), "stored", &b, NULL), VMB_OK);
    bool yes = vmbi_backup_is_stored(a, b);
    vmbi_json_free(a);
    vmbi_json_free(b);
    return yes;
}

static void object_that_made_the_backup_is_its_own(void **state)
{
    (void)state;
    assert_true(is_stored("{\"metadata\":{\"uid\":\"u1\"},\"status\":{\"phase\":\"Failed\"}}"));
    assert_true(is_stored("{\"metadata\":{\"uid\":\"u1\"},\"status\":{\"phase\":\"Deleting\"}}"));
}

static void object_that_a_sync_brought_is_its_own(void **state)
{
    (void)state;
    assert_true(is_stored("{\"metadata\":{\"uid\":\"u2\"},\"status\":{\"phase\":\"Completed\","
                          "\"startTimestamp\":\"2026-11-24T22:00:00Z\"}}"));
    assert_true(is_stored("{\"metadata\":{\"uid\":\"u2\"},\"status\":{\"phase\":\"Deleting\","
                          "\"startTimestamp\":\"2026-11-24T22:00:00Z\"}}"));
}

static void object_that_failed_since_the_name_was_taken_is_another(void **state)
{
    (void)state;
    assert_false(is_stored("{\"metadata\":{\"uid\":\"u2\"},\"status\":{\"phase\":\"Failed\","
                           "\"startTimestamp\":\"2026-11-24T22:00:05Z\"}}"));
    /* schedules of two clusters begin in the same second */
    assert_false(is_stored("{\"metadata\":{\"uid\":\"u2\"},\"status\":{\"phase\":\"Failed\","
                           "\"startTimestamp\":\"2026-11-24T22:00:00Z\"}}"));
    assert_false(is_stored("{\"metadata\":{\"uid\":\"u2\"},\"status\":{\"phase\":\"Deleting\","
                           "\"startTimestamp\":\"2026-11-24T22:00:00Z\","
                           "\"failureReason\":\"it exists\"}}"));
    assert_false(is_stored("{\"metadata\":{\"uid\":\"u2\"},\"status\":"
                           "{\"phase\":\"FailedValidation\"}}"));
    assert_false(is_stored("{\"metadata\":{\"uid\":\"u2\"}}"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(object_that_made_the_backup_is_its_own),
        cmocka_unit_test(object_that_a_sync_brought_is_its_own),
        cmocka_unit_test(object_that_failed_since_the_name_was_taken_is_another),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
