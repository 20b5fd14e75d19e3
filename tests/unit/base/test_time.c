/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/cancel.h"
#include "base/clock.h"
#include "base/error.h"

/* Seconds from date(1). */
static void time_formats_are_exact(void **state)
{
    static const struct {
        int64_t unix_s;
        const char *rfc, *basic, *http;
    } cases[] = {
        {0, "1970-01-01T00:00:00Z", "19700101T000000Z", "Thu, 01 Jan 1970 00:00:00 GMT"},
        {1369353600, "2013-05-24T00:00:00Z", "20130524T000000Z", "Fri, 24 May 2013 00:00:00 GMT"},
        {951782399, "2000-02-28T23:59:59Z", "20000228T235959Z", "Mon, 28 Feb 2000 23:59:59 GMT"},
        {951782400, "2000-02-29T00:00:00Z", "20000229T000000Z", "Tue, 29 Feb 2000 00:00:00 GMT"},
        {951868800, "2000-03-01T00:00:00Z", "20000301T000000Z", "Wed, 01 Mar 2000 00:00:00 GMT"},
        {4107542400, "2100-03-01T00:00:00Z", "21000301T000000Z", "Mon, 01 Mar 2100 00:00:00 GMT"},
        {1779264022, "2026-05-20T08:00:22Z", "20260520T080022Z", "Wed, 20 May 2026 08:00:22 GMT"},
        {-1, "1969-12-31T23:59:59Z", "19691231T235959Z", "Wed, 31 Dec 1969 23:59:59 GMT"},
    };

    (void)state;
    for (size_t i = 0; i < VMBI_ARRAY_LEN(cases); i++) {
        char out[VMBI_RFC3339_SIZE];
        int64_t ns = cases[i].unix_s * VMBI_SECOND;
        int64_t back = 0;

        vmbi_format_rfc3339(ns, out);
        assert_string_equal(out, cases[i].rfc);
        assert_true(vmbi_parse_rfc3339(out, &back));
        assert_int_equal(back, ns);
        vmbi_format_rfc3339(ns + 999999999, out); /* fractions are dropped, never rounded up */
        assert_string_equal(out, cases[i].rfc);
        vmbi_format_iso_basic(ns, out);
        assert_string_equal(out, cases[i].basic);
        assert_true(vmbi_parse_http_date(cases[i].http, &back));
        assert_int_equal(back, ns);
    }
}

static void time_every_day_reads_back(void **state)
{
    (void)state;
    for (int64_t day = -100000; day < 100000; day++) {
        char out[VMBI_RFC3339_SIZE];
        int64_t back;
        int64_t ns = (day * 86400 + (day & 0xffff)) * VMBI_SECOND;

        vmbi_format_rfc3339(ns, out);
        if (!vmbi_parse_rfc3339(out, &back) || back != ns) {
            fail_msg("%s", out);
        }
    }
}

static void time_extremes_do_not_overflow(void **state)
{
    char out[VMBI_RFC3339_SIZE];

    (void)state;
    vmbi_format_rfc3339(INT64_MAX, out);
    assert_string_equal(out, "2262-04-11T23:47:16Z");
    vmbi_format_rfc3339(INT64_MIN, out);
    assert_string_equal(out, "1677-09-21T00:12:43Z");
}

static void rfc3339_fractions_and_offsets_count(void **state)
{
    static const struct {
        const char *text;
        int64_t ns;
    } cases[] = {
        {"1970-01-01T00:00:01.5Z", 1500000000},
        {"1970-01-01T00:00:00.000000001Z", 1},
        {"1970-01-01T00:00:00.1234567899999Z", 123456789},
        {"1970-01-01t00:00:01z", 1000000000},
        {"1970-01-01T01:00:00+01:00", 0},
        {"1969-12-31T18:30:00-05:30", 0},
        {"1970-01-01T00:00:00-00:00", 0},
        {"1969-12-31T23:59:59.75Z", -250000000},
        {"2024-02-29T00:00:00Z", 1709164800 * VMBI_SECOND},
    };

    (void)state;
    for (size_t i = 0; i < VMBI_ARRAY_LEN(cases); i++) {
        int64_t ns = 42;

        if (!vmbi_parse_rfc3339(cases[i].text, &ns) || ns != cases[i].ns) {
            fail_msg("%s gave %lld", cases[i].text, (long long)ns);
        }
    }
}

static void times_malformed_are_refused(void **state)
{
    static const char *const rfc[] = {
        "",
        "2026",
        "2026-05-20",
        "2026-05-20T08:00:22",
        "2026-05-20 08:00:22Z",
        "2026-5-20T08:00:22Z",
        "2026-13-01T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "2026-01-00T00:00:00Z",
        "2026-01-32T00:00:00Z",
        "2026-02-29T00:00:00Z",
        "2026-02-30T00:00:00Z",
        "2100-02-29T00:00:00Z",
        "2026-04-31T00:00:00Z",
        "2026-01-01T24:00:00Z",
        "2026-01-01T00:60:00Z",
        "2026-01-01T00:00:61Z",
        "2026-01-01T00:00:00.Z",
        "2026-01-01T00:00:00Zx",
        "2026-01-01T00:00:00+1:00",
        "2026-01-01T00:00:00+0100",
        "2026-01-01T00:00:00+24:00",
        "0001-01-01T00:00:00Z",
        "9999-01-01T00:00:00Z",
        "2026-01-01T00:00:00 Z",
        "-026-01-01T00:00:00Z",
    };
    static const char *const http[] = {
        "",
        "Fri",
        "Fri,24 May 2013 00:00:00 GMT",
        "Fri, 24 may 2013 00:00:00 GMT",
        "24 May 2013 00:00:00 GMT",
        "Fri, 4 May 2013 00:00:00 GMT",
        "Fri, 31 Apr 2013 00:00:00 GMT",
        "Fri, 24 May 13 00:00:00 GMT",
        "Fri, 24 May 2013 00:00:00 +0200",
        "Fri, 24 May 2013 00:00:00",
        "Friday, 24-May-13 00:00:00 GMT",
        "Fri, 24 May 2013 00:00:00 GMT+1",
    };
    int64_t ns = 42;

    (void)state;
    for (size_t i = 0; i < VMBI_ARRAY_LEN(rfc); i++) {
        if (vmbi_parse_rfc3339(rfc[i], &ns) || ns != 42) {
            fail_msg("%s gave %lld", rfc[i], (long long)ns);
        }
    }
    for (size_t i = 0; i < VMBI_ARRAY_LEN(http); i++) {
        if (vmbi_parse_http_date(http[i], &ns) || ns != 42) {
            fail_msg("%s gave %lld", http[i], (long long)ns);
        }
    }
}

static void clocks_move_forward(void **state)
{
    int64_t a = vmbi_mono_ns();
    int64_t b = vmbi_mono_ns();

    (void)state;
    assert_true(a > 0 && b >= a);
    assert_true(vmbi_unix_ns() > 1700000000 * VMBI_SECOND);
}

/* Cancellation and limits. */

static void limits_none_never_end(void **state)
{
    vmbi_limits l = {0, NULL};

    (void)state;
    assert_int_equal(vmbi_limits_check(NULL, NULL, "x"), VMB_OK);
    assert_int_equal(vmbi_limits_check(&l, NULL, "x"), VMB_OK);
    assert_int_equal(vmbi_limits_remaining_ns(NULL), -1);
    assert_int_equal(vmbi_limits_remaining_ns(&l), -1);
    assert_int_equal(vmbi_limits_poll_ms(&l, -1), -1);
    assert_int_equal(vmbi_limits_poll_ms(NULL, 250), 250);
    assert_false(vmbi_cancel_is_set(NULL));
    assert_int_equal(vmbi_cancel_fd(NULL), -1);
    vmbi_cancel_free(NULL);
}

static void limits_deadline_passes(void **state)
{
    vmbi_limits l = vmbi_limits_within(NULL, 0);
    vmb_error *err = NULL;

    (void)state;
    assert_int_equal(vmbi_limits_check(&l, &err, "list pods"), VMB_E_TIMEOUT);
    assert_string_equal(vmb_error_message(err), "list pods: timed out");
    assert_int_equal(vmbi_limits_remaining_ns(&l), 0);
    assert_int_equal(vmbi_limits_poll_ms(&l, -1), 0);
    vmb_error_free(err);
}

static void limits_within_only_shorten(void **state)
{
    vmbi_limits hour = vmbi_limits_within(NULL, 3600 * VMBI_SECOND);
    vmbi_limits day = vmbi_limits_within(&hour, 86400 * VMBI_SECOND);
    vmbi_limits second = vmbi_limits_within(&hour, VMBI_SECOND);
    vmbi_limits same = vmbi_limits_within(&hour, -1);
    vmbi_limits none = vmbi_limits_within(NULL, INT64_MAX);

    (void)state;
    assert_int_equal(day.deadline_mono_ns, hour.deadline_mono_ns);
    assert_int_equal(same.deadline_mono_ns, hour.deadline_mono_ns);
    assert_true(second.deadline_mono_ns < hour.deadline_mono_ns);
    assert_int_equal(none.deadline_mono_ns, 0); /* beyond the end of the clock: no limit */
    assert_in_range(vmbi_limits_remaining_ns(&hour), 3590 * VMBI_SECOND, 3600 * VMBI_SECOND);
    assert_int_equal(vmbi_limits_poll_ms(&hour, 100), 100);
    assert_in_range(vmbi_limits_poll_ms(&second, -1), 1, 1001);
}

static void limits_poll_never_spins(void **state)
{
    vmbi_limits l = vmbi_limits_within(NULL, 100 * VMBI_SECOND);

    (void)state;
    l.deadline_mono_ns = vmbi_mono_ns() + VMBI_MS / 2;
    /* half a millisecond is left, or it passed while we asked */
    int ms = vmbi_limits_poll_ms(&l, -1);
    assert_true(ms == 1 || vmbi_limits_remaining_ns(&l) == 0);
}

static void sleep_takes_its_time(void **state)
{
    int64_t start = vmbi_mono_ns();

    (void)state;
    assert_int_equal(vmbi_limits_sleep(NULL, 20 * VMBI_MS, NULL, "x"), VMB_OK);
    assert_true(vmbi_mono_ns() - start >= 20 * VMBI_MS);
    assert_int_equal(vmbi_limits_sleep(NULL, 0, NULL, "x"), VMB_OK);
    assert_int_equal(vmbi_limits_sleep(NULL, -5, NULL, "x"), VMB_OK);
}

static void sleep_ends_at_deadline(void **state)
{
    vmbi_limits l = vmbi_limits_within(NULL, 20 * VMBI_MS);
    int64_t start = vmbi_mono_ns();

    (void)state;
    assert_int_equal(vmbi_limits_sleep(&l, 3600 * VMBI_SECOND, NULL, "x"), VMB_E_TIMEOUT);
    assert_true(vmbi_mono_ns() - start < 10 * VMBI_SECOND);
}

static void *fire_later(void *cancel)
{
    (void)vmbi_limits_sleep(NULL, 20 * VMBI_MS, NULL, "x");
    vmbi_cancel_fire(cancel);
    return NULL;
}

static void sleep_ends_when_cancelled(void **state)
{
    vmbi_cancel *c = NULL;
    vmbi_limits l = {0, NULL};
    vmb_error *err = NULL;
    pthread_t t;
    int64_t start = vmbi_mono_ns();

    (void)state;
    assert_int_equal(vmbi_cancel_new(&c, NULL), VMB_OK);
    l.cancel = c;
    assert_int_equal(pthread_create(&t, NULL, fire_later, c), 0);
    vmb_code code = vmbi_limits_sleep(&l, 3600 * VMBI_SECOND, &err, "wait");
    assert_int_equal(pthread_join(t, NULL), 0);
    assert_int_equal(code, VMB_E_CANCELLED);
    assert_string_equal(vmb_error_message(err), "wait: cancelled");
    assert_false(vmbi_error_is_retryable(err));
    assert_true(vmbi_mono_ns() - start < 10 * VMBI_SECOND);
    vmb_error_free(err);
    vmbi_cancel_free(c);
}

static void cancel_is_sticky_and_readable(void **state)
{
    vmbi_cancel *c = NULL;
    vmbi_limits l = vmbi_limits_within(NULL, 0);

    (void)state;
    assert_int_equal(vmbi_cancel_new(&c, NULL), VMB_OK);
    struct pollfd p = {vmbi_cancel_fd(c), POLLIN, 0};
    assert_true(p.fd >= 0);
    assert_true((fcntl(p.fd, F_GETFD) & FD_CLOEXEC) != 0);
    assert_int_equal(poll(&p, 1, 0), 0);
    assert_false(vmbi_cancel_is_set(c));
    for (int i = 0; i < 3; i++) {
        vmbi_cancel_fire(c);
        assert_true(vmbi_cancel_is_set(c));
        assert_int_equal(poll(&p, 1, 0), 1);
    }
    l.cancel = c; /* cancelled counts more than late */
    assert_int_equal(vmbi_limits_check(&l, NULL, "x"), VMB_E_CANCELLED);
    vmbi_cancel_free(c);
}

static void period_has_an_end_whatever_the_clock_does(void **state)
{
    (void)state;
    assert_int_equal(vmbi_unix_left(100, 90, 30), 20);
    assert_int_equal(vmbi_unix_left(120, 90, 30), 0);
    assert_int_equal(vmbi_unix_left(89, 90, 30), 0);
    assert_int_equal(vmbi_unix_left(100, 90, INT64_MAX), INT64_MAX - 10);
    assert_int_equal(vmbi_unix_left(INT64_MAX, INT64_MIN, INT64_MAX), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(period_has_an_end_whatever_the_clock_does),
        cmocka_unit_test(time_formats_are_exact),
        cmocka_unit_test(time_every_day_reads_back),
        cmocka_unit_test(time_extremes_do_not_overflow),
        cmocka_unit_test(rfc3339_fractions_and_offsets_count),
        cmocka_unit_test(times_malformed_are_refused),
        cmocka_unit_test(clocks_move_forward),
        cmocka_unit_test(limits_none_never_end),
        cmocka_unit_test(limits_deadline_passes),
        cmocka_unit_test(limits_within_only_shorten),
        cmocka_unit_test(limits_poll_never_spins),
        cmocka_unit_test(sleep_takes_its_time),
        cmocka_unit_test(sleep_ends_at_deadline),
        cmocka_unit_test(sleep_ends_when_cancelled),
        cmocka_unit_test(cancel_is_sticky_and_readable),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
