/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/job.h"
#include "base/strs.h"
#include "providers/common/runcache.h"

static atomic_int made;
static atomic_int freed;

static vmb_code make_text(vmb_job *job, const char *key, void **value, vmb_error **err)
{
    char text[64];
    if (vmbi_streq(key, "bad")) {
        return vmbi_fail(err, VMB_E_SERVER, "no list");
    }
    (void)snprintf(text, sizeof text, "%s of %s", key, vmb_job_backup_name(job));
    *value = vmbi_strdup(text);
    atomic_fetch_add(&made, 1);
    return *value != NULL ? VMB_OK : vmbi_fail_nomem(err);
}

static void free_text(void *p)
{
    vmbi_free(p);
    atomic_fetch_add(&freed, 1);
}

static vmbi_run_cache *new_cache(int64_t max_age_ns)
{
    vmbi_run_cache *c = NULL;
    atomic_store(&made, 0);
    atomic_store(&freed, 0);
    assert_int_equal(vmbi_run_cache_new(make_text, free_text, max_age_ns, &c, NULL), VMB_OK);
    return c;
}

static void expect(vmbi_run_cache *c, vmb_job *job, const char *key, const char *text)
{
    vmbi_cached *v = NULL;
    assert_int_equal(vmbi_run_cache_get(c, job, key, &v, NULL), VMB_OK);
    assert_string_equal(vmbi_cached_value(v), text);
    vmbi_cached_unref(v);
}

static void cache_makes_once_per_run_and_key(void **unused)
{
    vmbi_run_cache *c = new_cache(-1);
    vmb_job a = {.backup_name = "a", .backup_json = "{\"metadata\":{\"uid\":\"1\"}}"};
    vmb_job b = {.backup_name = "a", .backup_json = "{\"metadata\":{\"uid\":\"2\"}}"};
    (void)unused;
    for (int i = 0; i < 3; i++) {
        expect(c, &a, "x", "x of a");
        expect(c, &a, "y", "y of a");
        expect(c, &b, "x", "x of a");
    }
    assert_int_equal(atomic_load(&made), 3);
    vmbi_run_cache_free(c);
    assert_int_equal(atomic_load(&freed), 3);
}

static void cache_old_value_is_made_again(void **unused)
{
    vmbi_run_cache *c = new_cache(VMBI_MS);
    vmb_job a = {.backup_name = "a"};
    struct timespec pause = {0, 3 * 1000000};
    (void)unused;
    expect(c, &a, "x", "x of a");
    (void)nanosleep(&pause, NULL);
    expect(c, &a, "x", "x of a");
    assert_int_equal(atomic_load(&made), 2);
    assert_int_equal(atomic_load(&freed), 1); /* the old one went */
    vmbi_run_cache_free(c);
}

static void cache_failure_is_not_remembered(void **unused)
{
    vmbi_run_cache *c = new_cache(-1);
    vmb_job a = {.backup_name = "a"};
    vmbi_cached *v = NULL;
    (void)unused;
    assert_int_equal(vmbi_run_cache_get(c, &a, "bad", &v, NULL), VMB_E_SERVER);
    assert_null(v);
    assert_int_equal(vmbi_run_cache_get(c, &a, "bad", &v, NULL), VMB_E_SERVER);
    vmbi_run_cache_free(c);
}

static void cache_value_outlives_its_place(void **unused)
{
    vmbi_run_cache *c = new_cache(-1);
    vmb_job a = {.backup_name = "a"};
    vmbi_cached *kept = NULL;
    (void)unused;
    assert_int_equal(vmbi_run_cache_get(c, &a, "first", &kept, NULL), VMB_OK);
    for (int i = 0; i < 200; i++) { /* more than there are places */
        char key[16];
        char text[32];
        (void)snprintf(key, sizeof key, "k%d", i);
        (void)snprintf(text, sizeof text, "k%d of a", i);
        expect(c, &a, key, text);
    }
    vmbi_run_cache_free(c);
    assert_string_equal(vmbi_cached_value(kept), "first of a");
    vmbi_cached_unref(kept);
    assert_int_equal(atomic_load(&freed), atomic_load(&made));
}

typedef struct worker {
    vmbi_run_cache *cache;
    const char *name;
    int wrong;
} worker;

static void *work(void *arg)
{
    worker *w = arg;
    vmb_job job = {.backup_name = w->name};
    for (int i = 0; i < 2000; i++) {
        char key[16];
        char want[48];
        vmbi_cached *v = NULL;
        (void)snprintf(key, sizeof key, "k%d", i % 40);
        (void)snprintf(want, sizeof want, "%s of %s", key, w->name);
        if (vmbi_run_cache_get(w->cache, &job, key, &v, NULL) != VMB_OK ||
            !vmbi_streq(vmbi_cached_value(v), want)) {
            w->wrong++;
        }
        vmbi_cached_unref(v);
    }
    return NULL;
}

static void cache_serves_several_runs_at_a_time(void **unused)
{
    static const char *const run_names[] = {"a", "b", "c", "a"};
    vmbi_run_cache *c = new_cache(VMBI_MS);
    pthread_t threads[4];
    worker workers[4];
    (void)unused;
    for (size_t i = 0; i < 4; i++) {
        workers[i] = (worker){c, run_names[i], 0};
        assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    }
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(workers[i].wrong, 0);
    }
    vmbi_run_cache_free(c);
    assert_int_equal(atomic_load(&freed), atomic_load(&made));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cache_makes_once_per_run_and_key),
        cmocka_unit_test(cache_old_value_is_made_again),
        cmocka_unit_test(cache_failure_is_not_remembered),
        cmocka_unit_test(cache_value_outlives_its_place),
        cmocka_unit_test(cache_serves_several_runs_at_a_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
