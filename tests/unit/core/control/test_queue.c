/* SPDX-License-Identifier: Apache-2.0 */
/* The work queue, with a clock that only the tests move. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/alloc.h"
#include "core/control/queue.h"

#define SECOND INT64_C(1000000000)

static void add(vmbi_queue *q, const char *key, int64_t due)
{
    assert_int_equal(vmbi_queue_add(q, key, due, NULL), VMB_OK);
}

static const vmbi_work *expect(vmbi_queue *q, int64_t now, const char *key)
{
    int64_t next = 0;
    const vmbi_work *w = vmbi_queue_take(q, now, &next);
    if (key == NULL) {
        assert_null(w);
    } else {
        assert_non_null(w);
        assert_string_equal(w->key, key);
    }
    return w;
}

static void work_of_one_time_comes_in_order(void **state)
{
    (void)state;
    vmbi_queue q = {0};
    add(&q, "c", 5);
    add(&q, "a", 5);
    add(&q, "b", 5);
    (void)expect(&q, 5, "c");
    (void)expect(&q, 5, "a");
    (void)expect(&q, 5, "b");
    (void)expect(&q, 5, NULL);
    vmbi_queue_free(&q);
}

static void work_that_is_not_due_tells_when(void **state)
{
    (void)state;
    vmbi_queue q = {0};
    int64_t next = 0;
    add(&q, "late", 100);
    add(&q, "later", 200);
    assert_null(vmbi_queue_take(&q, 99, &next));
    assert_int_equal(next, 100);
    (void)expect(&q, 100, "late");
    assert_null(vmbi_queue_take(&q, 150, &next));
    assert_int_equal(next, 200);
    vmbi_queue_free(&q);
}

static void empty_queue_waits_for_ever(void **state)
{
    (void)state;
    vmbi_queue q = {0};
    int64_t next = 0;
    assert_null(vmbi_queue_take(&q, 1, &next));
    assert_true(next == VMBI_QUEUE_NEVER);
    vmbi_queue_free(&q);
}

static void key_added_twice_comes_once_at_the_earlier_time(void **state)
{
    (void)state;
    vmbi_queue q = {0};
    add(&q, "a", 50);
    add(&q, "a", 10);
    add(&q, "a", 90);
    const vmbi_work *w = expect(&q, 10, "a");
    vmbi_queue_finish(&q, w, 11, false, -1);
    (void)expect(&q, 1000, NULL);
    assert_int_equal(q.n, 0);
    vmbi_queue_free(&q);
}

static void key_added_while_worked_on_is_not_given_twice_at_a_time(void **state)
{
    (void)state;
    vmbi_queue q = {0};
    add(&q, "a", 0);
    const vmbi_work *w = expect(&q, 0, "a");
    add(&q, "a", 0);
    (void)expect(&q, 0, NULL); /* a second worker must not get it */
    vmbi_queue_finish(&q, w, 1, false, -1);
    (void)expect(&q, 1, "a");
    vmbi_queue_free(&q);
}

static void failures_wait_longer_each_time_up_to_a_limit(void **state)
{
    (void)state;
    vmbi_queue q = {0};
    int64_t now = 0;
    int64_t before = 0;
    add(&q, "a", 0);
    for (int i = 0; i < 20; i++) {
        int64_t next = 0;
        const vmbi_work *w = expect(&q, now, "a");
        assert_int_equal(w->failures, i);
        vmbi_queue_finish(&q, w, now, true, 0);
        assert_null(vmbi_queue_take(&q, now, &next));
        int64_t pause = next - now;
        assert_true(pause >= before && pause <= VMBI_QUEUE_RETRY_MAX_NS);
        assert_true(i == 0 ? pause == VMBI_QUEUE_RETRY_NS : true);
        before = pause;
        now = next;
    }
    assert_int_equal(before, VMBI_QUEUE_RETRY_MAX_NS);
    vmbi_queue_free(&q);
}

static void failing_key_is_not_hurried_by_events(void **state)
{
    (void)state;
    vmbi_queue q = {0};
    int64_t next = 0;
    add(&q, "a", 0);
    const vmbi_work *w = expect(&q, 0, "a");
    add(&q, "a", 0); /* its own writes come back as events */
    vmbi_queue_finish(&q, w, 0, true, -1);
    assert_null(vmbi_queue_take(&q, 0, &next));
    assert_int_equal(next, VMBI_QUEUE_RETRY_NS);
    vmbi_queue_free(&q);
}

static void success_forgets_failures(void **state)
{
    (void)state;
    vmbi_queue q = {0};
    add(&q, "a", 0);
    vmbi_queue_finish(&q, expect(&q, 0, "a"), 0, true, -1);
    vmbi_queue_finish(&q, expect(&q, SECOND, "a"), SECOND, true, -1);
    vmbi_queue_finish(&q, expect(&q, 9 * SECOND, "a"), 9 * SECOND, false, SECOND);
    const vmbi_work *w = expect(&q, 10 * SECOND, "a");
    assert_int_equal(w->failures, 0);
    vmbi_queue_free(&q);
}

static void key_that_asks_to_come_again_does_so_then(void **state)
{
    (void)state;
    vmbi_queue q = {0};
    int64_t next = 0;
    add(&q, "a", 0);
    vmbi_queue_finish(&q, expect(&q, 0, "a"), 5, false, 60);
    assert_null(vmbi_queue_take(&q, 64, &next));
    assert_int_equal(next, 65);
    add(&q, "a", 10); /* a change is seen at once all the same */
    (void)expect(&q, 20, "a");
    vmbi_queue_free(&q);
}

static void interrupted_work_goes_first(void **state)
{
    (void)state;
    vmbi_queue q = {0};
    add(&q, "new", 1000);
    add(&q, "interrupted", 1000 - 3600 * SECOND);
    (void)expect(&q, 1000, "interrupted");
    (void)expect(&q, 1000, "new");
    vmbi_queue_free(&q);
}

static void queue_without_memory_stays_whole(void **state)
{
    (void)state;
    for (uint64_t n = 1; n < 6; n++) {
        vmbi_queue q = {0};
        vmbi_alloc_fail_from(n);
        vmb_code rc = VMB_OK;
        for (int i = 0; i < 3 && rc == VMB_OK; i++) {
            rc = vmbi_queue_add(&q, i == 0 ? "a" : i == 1 ? "b" : "c", 0, NULL);
        }
        vmbi_alloc_fail_from(0);
        assert_int_equal(rc, VMB_E_NOMEM);
        vmbi_queue_free(&q);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(work_of_one_time_comes_in_order),
        cmocka_unit_test(work_that_is_not_due_tells_when),
        cmocka_unit_test(empty_queue_waits_for_ever),
        cmocka_unit_test(key_added_twice_comes_once_at_the_earlier_time),
        cmocka_unit_test(key_added_while_worked_on_is_not_given_twice_at_a_time),
        cmocka_unit_test(failures_wait_longer_each_time_up_to_a_limit),
        cmocka_unit_test(failing_key_is_not_hurried_by_events),
        cmocka_unit_test(success_forgets_failures),
        cmocka_unit_test(key_that_asks_to_come_again_does_so_then),
        cmocka_unit_test(interrupted_work_goes_first),
        cmocka_unit_test(queue_without_memory_stays_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
