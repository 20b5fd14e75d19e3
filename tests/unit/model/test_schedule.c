/* SPDX-License-Identifier: Apache-2.0 */
/* Cron expressions and Schedule resources. tests/interop/run_cron.py compares many more expressions
 * with robfig/cron; here are the rules, one by one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/zone.h"
#include "model/schedule.h"

static int64_t at(const char *text)
{
    int64_t ns = 0;
    assert_true(vmbi_parse_rfc3339(text, &ns));
    return ns;
}

static void expect_next(const char *expr, const char *after, const char *wanted)
{
    vmbi_cron *c = NULL;
    vmb_error *err = NULL;
    char got[VMBI_RFC3339_SIZE] = "none";
    int64_t ns = 0;
    if (vmbi_cron_parse(expr, NULL, &c, &err) != VMB_OK) {
        fail_msg("%s", vmb_error_message(err));
    }
    if (vmbi_cron_next(c, at(after), &ns)) {
        vmbi_format_rfc3339(ns, got);
    }
    vmbi_cron_free(c);
    assert_string_equal(got, wanted);
}

static void cron_fields_choose_the_next_time(void **state)
{
    (void)state;
    expect_next("0 22 * * *", "2026-11-24T10:00:00Z", "2026-11-24T22:00:00Z");
    expect_next("0 22 * * ?", "2026-11-24T22:00:00Z", "2026-11-25T22:00:00Z");
    expect_next("*/15 8-17 * * mon-fri", "2026-11-27T17:45:00Z", "2026-11-30T08:00:00Z");
    expect_next("5/20 * * * *", "2026-11-24T10:25:00Z", "2026-11-24T10:45:00Z");
    expect_next("0 0 29 2 *", "2026-11-24T10:00:00Z", "2028-02-29T00:00:00Z");
    expect_next("0 0 1 JAN *", "2026-11-24T10:00:00Z", "2027-01-01T00:00:00Z");
    expect_next("1,2,,59 * * * *", "2026-11-24T10:02:30Z", "2026-11-24T10:59:00Z");
    expect_next("0 0 31 2 *", "2026-11-24T10:00:00Z", "none");
}

static void cron_two_day_fields_are_alternatives(void **state)
{
    (void)state;
    /* the 24th of November 2026 is a Tuesday */
    expect_next("0 0 28 * wed", "2026-11-24T10:00:00Z", "2026-11-25T00:00:00Z");
    expect_next("0 0 * * wed", "2026-11-25T10:00:00Z", "2026-12-02T00:00:00Z");
    /* a step of "*" chooses: it is an alternative, "/1" is not */
    expect_next("0 0 */5 * wed", "2026-11-24T10:00:00Z", "2026-11-25T00:00:00Z");
    expect_next("0 0 */1 * wed", "2026-11-25T10:00:00Z", "2026-12-02T00:00:00Z");
}

static void cron_descriptors_are_short_forms(void **state)
{
    (void)state;
    expect_next("@daily", "2026-11-24T10:00:00Z", "2026-11-25T00:00:00Z");
    expect_next("@weekly", "2026-11-24T10:00:00Z", "2026-11-29T00:00:00Z");
    expect_next("@monthly", "2026-11-24T10:00:00Z", "2026-12-01T00:00:00Z");
    expect_next("@annually", "2026-11-24T10:00:00Z", "2027-01-01T00:00:00Z");
    expect_next("@every 1h30m", "2026-11-24T10:00:00.7Z", "2026-11-24T11:30:00Z");
    expect_next("@every 10ms", "2026-11-24T10:00:00Z", "2026-11-24T10:00:01Z");
    expect_next("@every 1500ms", "2026-11-24T10:00:00Z", "2026-11-24T10:00:01Z");
}

static void cron_zones_follow_their_clocks(void **state)
{
    (void)state;
    expect_next("TZ=Europe/Berlin 0 22 * * *", "2026-11-24T10:00:00Z", "2026-11-24T21:00:00Z");
    expect_next("CRON_TZ=Asia/Kolkata 30 5 * * *", "2026-11-24T10:00:00Z", "2026-11-25T00:00:00Z");
    /* 02:30 does not exist on the 29th of March 2026: the next day */
    expect_next("TZ=Europe/Berlin 30 2 * * *", "2026-03-28T12:00:00Z", "2026-03-30T00:30:00Z");
    /* and comes twice on the 25th of October: both count */
    expect_next("TZ=Europe/Berlin 30 2 * * *", "2026-10-24T12:00:00Z", "2026-10-25T00:30:00Z");
    expect_next("TZ=Europe/Berlin 30 2 * * *", "2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z");
    /* a year for which the file gives a rule only */
    expect_next("TZ=Europe/Berlin 0 12 15 7 *", "2071-01-01T00:00:00Z", "2071-07-15T10:00:00Z");
}

static void cron_mistakes_name_their_column(void **state)
{
    static const struct {
        const char *expr;
        const char *says;
    } cases[] = {
        {"", "it is empty"},
        {"* * * *", "it has 4 fields"},
        {"* * * * * *", "it has 6 fields"},
        {"0 25 * * *", "column 3: \"25\" goes beyond the last hour, 23"},
        {"0 0 0 * *", "column 5: \"0\" begins below the least day of month, 1"},
        {"0 0 * * 7", "column 9: \"7\" goes beyond the last day of week, 6 (Sunday is 0)"},
        {"0 0 * foo *", "column 7: \"foo\" is no month: write 1 to 12, or jan to dec"},
        {"9-5 * * * *", "column 1: \"9-5\" ends before it begins"},
        {"*/0 * * * *", "column 1: \"*/0\" has a step of 0"},
        {"1/2/3 * * * *", "more than one '/'"},
        {"1-2-3 * * * *", "more than one '-'"},
        {", * * * *", "column 1: \",\" names no value"},
        {"@often", "\"@often\" is unknown"},
        {"@every soon", "column 8: \"soon\" is no duration"},
        {"TZ=Europe/Berlin", "is followed by nothing"},
        {"TZ=Moon/Base 0 0 * * *", "time zone Moon/Base: there is none of this name"},
        {"TZ=../../etc/passwd 0 0 * * *", "is not the name of a time zone"},
        {"TZ=/etc/localtime 0 0 * * *", "is not the name of a time zone"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        vmbi_cron *c = NULL;
        vmb_error *err = NULL;
        assert_int_not_equal(vmbi_cron_parse(cases[i].expr, NULL, &c, &err), VMB_OK);
        assert_null(c);
        if (strstr(vmb_error_message(err), cases[i].says) == NULL) {
            fail_msg("%s: %s", cases[i].expr, vmb_error_message(err));
        }
        vmb_error_free(err);
    }
}

static void cron_prev_is_the_last_before(void **state)
{
    static const struct {
        const char *expr;
        const char *before;
        const char *wanted;
    } cases[] = {
        {"0 22 * * *", "2026-11-24T22:00:00Z", "2026-11-23T22:00:00Z"},
        {"0 22 * * *", "2026-11-24T22:00:00.5Z", "2026-11-24T22:00:00Z"},
        {"* * * * *", "2026-11-24T22:00:30Z", "2026-11-24T22:00:00Z"},
        {"0 0 29 2 *", "2026-11-24T22:00:00Z", "2024-02-29T00:00:00Z"},
        {"TZ=Europe/Berlin 30 2 * * *", "2026-10-25T03:00:00Z", "2026-10-25T01:30:00Z"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        vmbi_cron *c = NULL;
        int64_t ns = 0;
        char got[VMBI_RFC3339_SIZE];
        assert_int_equal(vmbi_cron_parse(cases[i].expr, NULL, &c, NULL), VMB_OK);
        assert_true(vmbi_cron_prev(c, at(cases[i].before), &ns));
        vmbi_format_rfc3339(ns, got);
        assert_string_equal(got, cases[i].wanted);
        vmbi_cron_free(c);
    }
    vmbi_cron *c = NULL;
    int64_t ns = 0;
    assert_int_equal(vmbi_cron_parse("0 0 31 2 *", NULL, &c, NULL), VMB_OK);
    assert_false(vmbi_cron_prev(c, at("2026-11-24T22:00:00Z"), &ns));
    vmbi_cron_free(c);
}

static void zone_damaged_file_is_refused(void **state)
{
    (void)state;
    uint8_t bytes[4096];
    FILE *f = fopen("/usr/share/zoneinfo/Europe/Berlin", "rbe");
    if (f == NULL) {
        skip();
    }
    size_t len = fread(bytes, 1, sizeof(bytes), f);
    (void)fclose(f);
    vmbi_zone *z = NULL;
    for (size_t cut = 0; cut < len; cut++) {
        assert_int_equal(vmbi_zone_parse(bytes, cut, "cut", &z, NULL), VMB_E_PARSE);
    }
    for (size_t i = 0; i < len; i++) { /* any answer but a wrong read */
        bytes[i] ^= 0xff;
        if (vmbi_zone_parse(bytes, len, "bent", &z, NULL) == VMB_OK) {
            vmbi_zone_span span;
            vmbi_zone_at(z, 1900000000, &span);
            vmbi_zone_free(z);
        }
        bytes[i] ^= 0xff;
    }
}

/* ---- Schedule resources ------------------------------------------------------------------------ */

static const char nightly[] =
    "apiVersion: velero.io/v1\nkind: Schedule\nmetadata:\n  name: nightly\n  namespace: velero\n"
    "  uid: u-1\n  creationTimestamp: \"2026-11-20T10:00:00Z\"\n"
    "  labels: {team: shop}\n"
    "  annotations: {note: x, kubectl.kubernetes.io/last-applied-configuration: y}\n"
    "spec:\n  schedule: 0 22 * * *\n  useOwnerReferencesInBackup: true\n"
    "  template: {includedNamespaces: [shop], ttl: 24h}\n";

static void read_schedule(const char *text, vmbi_schedule *out)
{
    vmb_error *err = NULL;
    if (vmbi_schedule_parse(text, strlen(text), "test", NULL, out, NULL, &err) != VMB_OK) {
        fail_msg("%s", vmb_error_message(err));
    }
}

static void schedule_makes_its_backup(void **state)
{
    (void)state;
    vmbi_schedule s = {0};
    vmbi_json *backup = NULL;
    char *text = NULL;
    read_schedule(nightly, &s);
    assert_int_equal(vmbi_schedule_backup(&s, at("2026-11-24T22:00:05Z"), &backup, NULL), VMB_OK);
    assert_int_equal(vmbi_json_to_text(backup, &text, NULL, NULL), VMB_OK);
    assert_string_equal(
        text,
        "{\"apiVersion\":\"velero.io/v1\",\"kind\":\"Backup\",\"metadata\":{\"annotations\":"
        "{\"note\":\"x\"},\"labels\":{\"team\":\"shop\",\"velero.io/schedule-name\":\"nightly\"},"
        "\"name\":\"nightly-20261124220005\",\"namespace\":\"velero\",\"ownerReferences\":["
        "{\"apiVersion\":\"velero.io/v1\",\"controller\":true,\"kind\":\"Schedule\",\"name\":"
        "\"nightly\",\"uid\":\"u-1\"}]},\"spec\":{\"includedNamespaces\":[\"shop\"],\"ttl\":"
        "\"24h\"}}");
    vmbi_free(text);
    assert_true(vmbi_schedule_blocked_by(&s, backup)); /* no phase yet */
    vmbi_json *status = vmbi_json_ensure_object(backup, "status");
    assert_true(vmbi_json_set_str(status, "phase", "Completed"));
    assert_false(vmbi_schedule_blocked_by(&s, backup));
    vmbi_json_free(backup);
    vmbi_schedule_free(&s);
}

static void schedule_missed_runs_count_once(void **state)
{
    (void)state;
    vmbi_schedule s = {0};
    int64_t next = 0;
    read_schedule(nightly, &s);
    assert_false(vmbi_schedule_due(&s, at("2026-11-20T22:00:00Z"), &next));
    assert_true(next == at("2026-11-20T22:00:00Z"));
    int64_t back = at("2026-11-24T10:00:00Z"); /* four runs later */
    assert_int_equal(vmbi_schedule_look(&s, false, false, back, &next), VMBI_SCHEDULE_SUBMIT);
    assert_int_equal(vmbi_schedule_look(&s, false, true, back, &next), VMBI_SCHEDULE_BLOCKED);
    s.last_backup_unix_ns = back;
    assert_int_equal(vmbi_schedule_look(&s, false, false, back + 1, &next), VMBI_SCHEDULE_WAIT);
    assert_true(next == at("2026-11-24T22:00:00Z"));
    s.paused = true;
    assert_int_equal(vmbi_schedule_look(&s, false, false, at("2026-11-30T00:00:00Z"), &next),
                     VMBI_SCHEDULE_PAUSED);
    vmbi_schedule_free(&s);
}

static void schedule_skip_is_asked_first(void **state)
{
    (void)state;
    vmbi_schedule s = {0};
    int64_t now = at("2026-11-24T10:00:00Z");
    int64_t next = 0;
    read_schedule(nightly, &s);
    assert_int_equal(vmbi_schedule_look(&s, true, false, now, &next), VMBI_SCHEDULE_SKIP);
    s.skip_immediately = 0;
    s.last_skipped_unix_ns = now;
    assert_int_equal(vmbi_schedule_look(&s, true, false, now, &next), VMBI_SCHEDULE_WAIT);
    assert_true(next == at("2026-11-24T22:00:00Z"));
    vmbi_schedule_free(&s);
}

static void schedule_problems_are_all_told(void **state)
{
    static const char bad[] =
        "apiVersion: velero.io/v1\nkind: Schedule\nmetadata: {name: nightly}\nspec:\n"
        "  schedule: 0 99 * * *\n  paused: maybe\n"
        "  template:\n    ttl: soon\n";
    (void)state;
    vmbi_schedule s = {0};
    vmbi_problems p = {0};
    vmbi_json *patch = NULL;
    char *text = NULL;
    assert_int_equal(vmbi_schedule_parse(bad, strlen(bad), "test", NULL, &s, &p, NULL),
                     VMB_E_INVALID);
    assert_int_equal(p.errors, 2);
    bool ttl = false;
    for (size_t i = 0; i < p.n; i++) {
        ttl = ttl || (!p.v[i].is_error && strcmp(p.v[i].field, "spec.template.ttl") == 0 &&
                      p.v[i].line == 8);
    }
    assert_true(ttl);
    assert_int_equal(vmbi_schedule_phase_patch(&p, &patch, NULL), VMB_OK);
    assert_int_equal(vmbi_json_to_text(patch, &text, NULL, NULL), VMB_OK);
    assert_non_null(strstr(text, "\"phase\":\"FailedValidation\""));
    assert_non_null(strstr(text, "goes beyond the last hour"));
    vmbi_free(text);
    vmbi_json_free(patch);
    vmbi_problems_free(&p);
}

static void schedule_memory_runs_out_anywhere(void **state)
{
    (void)state;
    for (uint64_t n = 1; n < 5000; n++) {
        vmbi_schedule s = {0};
        vmbi_json *backup = NULL;
        vmbi_alloc_fail_from(n);
        vmb_code rc = vmbi_schedule_parse(nightly, strlen(nightly), "test", "Europe/Berlin", &s,
                                          NULL, NULL);
        if (rc == VMB_OK) {
            rc = vmbi_schedule_backup(&s, 0, &backup, NULL);
        }
        vmbi_alloc_fail_from(0);
        vmbi_json_free(backup);
        vmbi_schedule_free(&s);
        if (rc == VMB_OK) {
            return;
        }
        assert_int_equal(rc, VMB_E_NOMEM);
    }
    fail();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cron_fields_choose_the_next_time),
        cmocka_unit_test(cron_two_day_fields_are_alternatives),
        cmocka_unit_test(cron_descriptors_are_short_forms),
        cmocka_unit_test(cron_zones_follow_their_clocks),
        cmocka_unit_test(cron_mistakes_name_their_column),
        cmocka_unit_test(cron_prev_is_the_last_before),
        cmocka_unit_test(zone_damaged_file_is_refused),
        cmocka_unit_test(schedule_makes_its_backup),
        cmocka_unit_test(schedule_missed_runs_count_once),
        cmocka_unit_test(schedule_skip_is_asked_first),
        cmocka_unit_test(schedule_problems_are_all_told),
        cmocka_unit_test(schedule_memory_runs_out_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0 ? 1 : 0;
}
