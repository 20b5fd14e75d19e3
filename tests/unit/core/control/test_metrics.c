/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "core/control/metrics.h"

static char *print(vmbi_metrics *m)
{
    vmbi_buf out = VMBI_BUF_INIT(VMBI_METRICS_MAX_BYTES);
    char *text = NULL;
    assert_int_equal(vmbi_metrics_print(m, &out, NULL), VMB_OK);
    assert_int_equal(vmbi_buf_take(&out, &text, NULL, NULL, "metrics"), VMB_OK);
    return text;
}

static void counters_and_gauges_print_in_the_text_format(void **state)
{
    (void)state;
    vmbi_metrics m;
    vmbi_metrics_init(&m);
    vmbi_metrics_add(&m, "backup_success_total", "daily", 1);
    vmbi_metrics_add(&m, "backup_success_total", "daily", 1);
    vmbi_metrics_set(&m, "backup_total", "", 12);
    vmbi_metrics_set(&m, "backup_location_status_gauge", "we\"ird\\", 1);
    vmbi_metrics_most(&m, "freeze_seconds_max", "", 2.5);
    vmbi_metrics_most(&m, "freeze_seconds_max", "", 1);
    vmbi_metrics_add(&m, "no_such_metric", "", 1);
    char *text = print(&m);
    assert_non_null(strstr(text, "# TYPE velero_backup_success_total counter\n"
                                 "velero_backup_success_total{schedule=\"\"} 0\n"
                                 "velero_backup_success_total{schedule=\"daily\"} 2\n"));
    /* alerts on increases must see the first failure */
    assert_non_null(strstr(text, "\nvelero_backup_failure_total{schedule=\"daily\"} 0\n"));
    assert_non_null(strstr(text, "\nvelero_backup_deletion_failure_total{schedule=\"\"} 0\n"));
    assert_non_null(strstr(text, "\nvelero_backup_total 12\n"));
    assert_non_null(strstr(text, "{backup_location_name=\"we\\\"ird\\\\\"} 1\n"));
    assert_non_null(strstr(text, "\nvmbackup_freeze_seconds_max 2.5\n"));
    assert_null(strstr(text, "no_such_metric"));
    vmb_free(text);
    vmbi_metrics_done(&m);
}

static void durations_fall_into_cumulative_buckets(void **state)
{
    (void)state;
    vmbi_metrics m;
    vmbi_metrics_init(&m);
    vmbi_metrics_observe(&m, "backup_duration_seconds", "", 61);
    vmbi_metrics_observe(&m, "backup_duration_seconds", "", 20000);
    char *text = print(&m);
    assert_non_null(strstr(text, "_bucket{schedule=\"\",le=\"60\"} 0\n"));
    assert_non_null(strstr(text, "_bucket{schedule=\"\",le=\"300\"} 1\n"));
    assert_non_null(strstr(text, "_bucket{schedule=\"\",le=\"14400\"} 1\n"));
    assert_non_null(strstr(text, "_bucket{schedule=\"\",le=\"+Inf\"} 2\n"));
    assert_non_null(strstr(text, "_sum{schedule=\"\"} 20061\n"));
    assert_non_null(strstr(text, "_count{schedule=\"\"} 2\n"));
    vmb_free(text);
    vmbi_metrics_done(&m);
}

static void location_that_is_gone_is_forgotten(void **state)
{
    (void)state;
    vmbi_metrics m;
    vmbi_metrics_init(&m);
    vmbi_metrics_set(&m, "backup_location_status_gauge", "a", 1);
    vmbi_metrics_set(&m, "backup_location_status_gauge", "b", 0);
    vmbi_metrics_forget(&m, "backup_location_status_gauge", "a");
    vmbi_metrics_forget(&m, "backup_location_status_gauge", "unknown");
    char *text = print(&m);
    assert_null(strstr(text, "\"a\""));
    assert_non_null(strstr(text, "{backup_location_name=\"b\"} 0\n"));
    vmb_free(text);
    vmbi_metrics_done(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counters_and_gauges_print_in_the_text_format),
        cmocka_unit_test(durations_fall_into_cumulative_buckets),
        cmocka_unit_test(location_that_is_gone_is_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
