/* SPDX-License-Identifier: Apache-2.0 */
/* The border: arguments that are missing, calls at the wrong time, old and broken tables, threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <dirent.h>
#include <ftw.h>

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>

#include <vmbackup/vmbackup.h>

#include "support/fakes.h"

static const char pod[] =
    "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"p\",\"namespace\":\"shop\","
    "\"annotations\":{\"pre.hook.backup.velero.io/command\":\"freeze\"}},\"spec\":{"
    "\"containers\":[{\"name\":\"c\"}]},\"status\":{\"phase\":\"Running\"}}";

static void fill(fakes *f, int n)
{
    fakes_init(f);
    fakes_add(f, "namespaces",
              "{\"metadata\":{\"name\":\"shop\"},\"status\":{\"phase\":\"Active\"}}");
    fakes_add(f, "pods", pod);
    for (int i = 0; i < n; i++) {
        char cm[128];
        (void)snprintf(cm, sizeof(cm),
                       "{\"metadata\":{\"name\":\"cm-%d\",\"namespace\":\"shop\"}}", i);
        fakes_add(f, "configmaps", cm);
    }
}

static vmb_run *new_run(vmb_ctx *ctx, const char *name)
{
    vmb_spec *spec = NULL;
    vmb_run *run = NULL;
    assert_int_equal(vmb_spec_new(name, &spec, NULL), VMB_OK);
    assert_int_equal(vmb_run_new(ctx, spec, &run, NULL), VMB_OK);
    vmb_spec_free(spec);
    return run;
}

#define REFUSED(call) assert_int_equal((call), VMB_E_ARG)

static void null_arguments_are_refused_everywhere(void **state)
{
    (void)state;
    vmb_ctx *ctx = NULL;
    vmb_spec *spec = NULL;
    vmb_run *run = NULL;
    vmb_catalog *cat = NULL;
    vmb_selector *sel = NULL;
    char *text = NULL;
    const char *s = NULL;
    size_t n = 0;
    int32_t yes = 0;
    int64_t i64 = 0;
    vmb_event *event = NULL;
    REFUSED(vmb_ctx_new(NULL, NULL));
    REFUSED(vmb_ctx_set(NULL, "namespace", "x", NULL));
    REFUSED(vmb_ctx_set_log(NULL, NULL, NULL, NULL, NULL));
    REFUSED(vmb_ctx_use(NULL, "cluster.dir", NULL, 0, NULL));
    REFUSED(vmb_ctx_add_cluster_provider(NULL, NULL, NULL));
    REFUSED(vmb_ctx_add_exec_provider(NULL, NULL, NULL));
    REFUSED(vmb_ctx_add_snapshot_provider(NULL, NULL, NULL));
    REFUSED(vmb_ctx_add_action_provider(NULL, NULL, NULL));
    REFUSED(vmb_ctx_add_store_provider(NULL, "x", "", 0, NULL, NULL));
    REFUSED(vmb_ctx_add_location(NULL, "{}", 2, NULL));
    REFUSED(vmb_ctx_load_locations(NULL, &n, NULL));
    REFUSED(vmb_ctx_locations_json(NULL, 0, &text, NULL, NULL));
    REFUSED(vmb_ctx_resources_json(NULL, "backups", NULL, &text, NULL, NULL));
    assert_int_equal(vmb_ctx_new(&ctx, NULL), VMB_OK);
    REFUSED(vmb_ctx_set(ctx, NULL, "x", NULL));
    REFUSED(vmb_ctx_set(ctx, "namespace", NULL, NULL));
    REFUSED(vmb_ctx_use(ctx, NULL, NULL, 0, NULL));
    REFUSED(vmb_ctx_use(ctx, "cluster.dir", NULL, 5, NULL));
    REFUSED(vmb_ctx_add_location(ctx, NULL, 2, NULL));
    REFUSED(vmb_ctx_locations_json(ctx, 0, NULL, NULL, NULL));
    REFUSED(vmb_ctx_resources_json(ctx, NULL, NULL, &text, NULL, NULL));
    REFUSED(vmb_ctx_resources_json(ctx, "backups", NULL, NULL, NULL, NULL));
    REFUSED(vmb_spec_new("x", NULL, NULL));
    REFUSED(vmb_spec_parse(NULL, 0, NULL, &spec, NULL));
    REFUSED(vmb_spec_parse("{}", 2, NULL, NULL, NULL));
    REFUSED(vmb_spec_clone(NULL, &spec, NULL));
    REFUSED(vmb_spec_validate(NULL, &text, &n, NULL));
    REFUSED(vmb_spec_to_json(NULL, &text, &n, NULL));
    REFUSED(vmb_spec_get_string(NULL, "spec.ttl", &s, NULL));
    REFUSED(vmb_spec_get_bool(NULL, "spec.ttl", &yes, NULL));
    REFUSED(vmb_spec_get_int(NULL, "spec.ttl", &i64, NULL));
    REFUSED(vmb_spec_get_count(NULL, "spec.ttl", &n, NULL));
    REFUSED(vmb_spec_set_string(NULL, "spec.ttl", "1h", NULL));
    REFUSED(vmb_spec_add_string(NULL, "spec.includedNamespaces", "x", NULL));
    REFUSED(vmb_spec_set_json(NULL, "spec.hooks", "{}", 2, NULL));
    REFUSED(vmb_spec_unset(NULL, "spec.ttl", NULL));
    assert_int_equal(vmb_spec_new(NULL, &spec, NULL), VMB_OK);
    REFUSED(vmb_spec_set_string(spec, NULL, "1h", NULL));
    REFUSED(vmb_spec_set_string(spec, "spec.ttl", NULL, NULL));
    REFUSED(vmb_spec_set_entry(spec, "metadata.labels", NULL, NULL, NULL));
    REFUSED(vmb_run_new(NULL, spec, &run, NULL));
    REFUSED(vmb_run_new(ctx, NULL, &run, NULL));
    REFUSED(vmb_run_execute(NULL, NULL));
    REFUSED(vmb_run_report_json(NULL, &text, NULL, NULL));
    REFUSED(vmb_run_next_event(NULL, &event, NULL));
    REFUSED(vmb_run_set_event_fn(NULL, NULL, NULL, NULL));
    assert_int_equal(vmb_run_fd(NULL), -1);
    assert_string_equal(vmb_run_phase(NULL), "");
    REFUSED(vmb_catalog_open(NULL, NULL, &cat, NULL));
    REFUSED(vmb_catalog_open(ctx, NULL, NULL, NULL));
    REFUSED(vmb_catalog_list_json(NULL, &text, NULL, NULL));
    REFUSED(vmb_catalog_describe_json(NULL, "x", &text, NULL, NULL));
    REFUSED(vmb_catalog_read(NULL, "x", VMB_FILE_LOG, NULL, NULL, NULL));
    REFUSED(vmb_catalog_read_item(NULL, "x", "pods", NULL, "y", &text, NULL, NULL));
    REFUSED(vmb_selector_parse(NULL, &sel, NULL));
    REFUSED(vmb_selector_from_json(NULL, 0, &sel, NULL));
    REFUSED(vmb_selector_matches(NULL, NULL, 0, &yes, NULL));
    REFUSED(vmb_selector_to_string(NULL, &text, NULL));
    REFUSED(vmb_sink_write(NULL, "x", 1, NULL));
    REFUSED(vmb_item_sink_push(NULL, "x", 1, NULL));
    REFUSED(vmb_key_sink_push(NULL, "x", 1, 1, 0, NULL));
    REFUSED(vmb_cluster_get(NULL, NULL, "", NULL, "pods", NULL, "x", &text, NULL, NULL));
    REFUSED(vmb_cluster_list(NULL, NULL, "", NULL, "pods", NULL, NULL, &text, NULL, NULL));
    REFUSED(vmb_action_result_set_item(NULL, "{}", 2, NULL));
    REFUSED(vmb_action_result_add_related(NULL, "", "pods", NULL, "x", 0, NULL));
    vmb_action_result_skip(NULL);
    vmb_job_log(NULL, VMB_LOG_INFO, "x");
    assert_int_equal(vmb_job_cancelled(NULL), 0);
    assert_int_equal(vmb_job_cancel_fd(NULL), -1);
    assert_int_equal(vmb_job_sleep(NULL, 0, NULL), VMB_OK);
    assert_int_equal(vmb_cluster_serves(NULL, "", "pods"), 0);
    assert_int_equal(vmb_has_feature(NULL), 0);
    assert_string_equal(vmb_error_message(NULL), "");
    vmb_error_set(NULL, VMB_E_IO, 0, NULL);
    vmb_error_free(NULL);
    vmb_free(NULL);
    vmb_run_cancel(NULL);
    vmb_run_free(NULL);
    vmb_catalog_free(NULL);
    vmb_event_free(NULL);
    vmb_selector_free(NULL);
    vmb_spec_free(NULL);
    vmb_ctx_unref(NULL);
    assert_null(vmb_ctx_ref(NULL));
    vmb_spec_free(spec);
    vmb_ctx_unref(ctx);
}

static void calls_at_the_wrong_time_are_refused(void **state)
{
    (void)state;
    fakes f;
    fill(&f, 1);
    vmb_ctx *ctx = fakes_ctx(&f);
    vmb_run *run = new_run(ctx, "b1");
    char *text = NULL;
    assert_int_equal(vmb_ctx_set(ctx, "page-size", "7", NULL), VMB_E_STATE);
    assert_int_equal(vmb_ctx_use(ctx, "actions.kubernetes", NULL, 0, NULL), VMB_E_STATE);
    assert_int_equal(vmb_run_report_json(run, &text, NULL, NULL), VMB_E_STATE);
    assert_int_equal(vmb_run_execute(run, NULL), VMB_OK);
    assert_int_equal(vmb_run_execute(run, NULL), VMB_E_STATE);
    assert_int_equal(vmb_run_execute(run, NULL), VMB_E_STATE);
    assert_int_equal(vmb_run_set_event_fn(run, NULL, NULL, NULL), VMB_E_STATE);
    vmb_run_cancel(run);
    assert_string_equal(vmb_run_phase(run), "Completed");
    assert_int_equal(vmb_run_report_json(run, &text, NULL, NULL), VMB_OK);
    vmb_free(text);
    vmb_ctx_unref(ctx); /* the run keeps it */
    assert_int_equal(f.destroyed[0], 0);
    vmb_run_free(run);
    assert_int_equal(f.destroyed[0], 1);
    fakes_done(&f);
}

static vmb_run *own_run;

static void reenter(void *user, const vmb_event *event)
{
    int *calls = user;
    char *text = NULL;
    vmb_event *next = NULL;
    (void)event;
    ++*calls;
    assert_int_equal(vmb_run_execute(own_run, NULL), VMB_E_STATE);
    assert_int_equal(vmb_run_next_event(own_run, &next, NULL), VMB_OK);
    assert_null(next);
    vmb_code rc = vmb_run_report_json(own_run, &text, NULL, NULL);
    assert_true(rc == VMB_E_STATE || rc == VMB_OK); /* there with the last event */
    vmb_free(text);
    assert_int_equal(vmb_run_set_event_fn(own_run, NULL, NULL, NULL), VMB_E_STATE);
}

static void callbacks_may_call_back(void **state)
{
    (void)state;
    fakes f;
    int calls = 0;
    fill(&f, 3);
    vmb_ctx *ctx = fakes_ctx(&f);
    own_run = new_run(ctx, "b1");
    assert_int_equal(vmb_run_set_event_fn(own_run, reenter, &calls, NULL), VMB_OK);
    assert_int_equal(vmb_run_execute(own_run, NULL), VMB_OK);
    assert_true(calls > 3);
    vmb_run_free(own_run);
    vmb_ctx_unref(ctx);
    fakes_done(&f);
}

static void count(void *user)
{
    ++*(int *)user;
}

static void tables_of_other_sizes_are_judged_and_destroyed_once(void **state)
{
    (void)state;
    vmb_ctx *ctx = NULL;
    int destroyed = 0;
    assert_int_equal(vmb_ctx_new(&ctx, NULL), VMB_OK);
    union {
        vmb_action_provider p;
        char room[sizeof(vmb_action_provider) + 64];
    } u;
    memset(&u, 0x5a, sizeof(u)); /* a newer table: what lies behind ours is not looked at */
    u.p = (vmb_action_provider){.struct_size = sizeof(u), .api_version = VMB_PROVIDER_API,
                                .name = "x", .user = &destroyed, .destroy = count,
                                .applies_to = "pods"};
    assert_int_equal(vmb_ctx_add_action_provider(ctx, &u.p, NULL), VMB_E_ARG); /* no function */
    assert_int_equal(destroyed, 1);
    u.p.struct_size = offsetof(vmb_action_provider, backup);
    assert_int_equal(vmb_ctx_add_action_provider(ctx, &u.p, NULL), VMB_E_ARG);
    assert_int_equal(destroyed, 2);
    u.p.struct_size = 0;
    assert_int_equal(vmb_ctx_add_action_provider(ctx, &u.p, NULL), VMB_E_ARG);
    assert_int_equal(destroyed, 2); /* nothing of it can be trusted */
    u.p.struct_size = sizeof(u.p);
    u.p.api_version = 2;
    assert_int_equal(vmb_ctx_add_action_provider(ctx, &u.p, NULL), VMB_E_ARG);
    assert_int_equal(destroyed, 3);
    u.p.api_version = VMB_PROVIDER_API;
    u.p.name = NULL;
    assert_int_equal(vmb_ctx_add_action_provider(ctx, &u.p, NULL), VMB_E_ARG);
    assert_int_equal(destroyed, 4);
    vmb_ctx_unref(ctx);
    assert_int_equal(destroyed, 4);
}

/* ---- threads ------------------------------------------------------------------------------- */

typedef struct watcher {
    vmb_run *run;
    int cancel_after; /* events, -1 never */
    atomic_int stop;
    int seen;
} watcher;

static void *watch(void *user)
{
    watcher *w = user;
    while (!atomic_load(&w->stop)) {
        struct pollfd p = {vmb_run_fd(w->run), POLLIN, 0};
        (void)poll(&p, 1, 5);
        vmb_event *event = NULL;
        while (vmb_run_next_event(w->run, &event, NULL) == VMB_OK && event != NULL) {
            w->seen++;
            if (w->seen == w->cancel_after) {
                vmb_run_cancel(w->run);
            }
            (void)vmb_run_phase(w->run);
            vmb_event_free(event);
        }
    }
    return NULL;
}

static void run_watched_and_cancelled_by_another_thread_ends_clean(void **state)
{
    (void)state;
    for (int after = -1; after < 12; after++) {
        fakes f;
        fill(&f, 60);
        vmb_ctx *ctx = fakes_ctx(&f);
        watcher w = {.run = new_run(ctx, "b1"), .cancel_after = after};
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, watch, &w), 0);
        vmb_code rc = vmb_run_execute(w.run, NULL);
        atomic_store(&w.stop, 1);
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_true(rc == VMB_OK || rc == VMB_E_CANCELLED);
        assert_int_equal(fakes_file(&f, "backups/b1/velero-backup.json", NULL) != NULL,
                         rc == VMB_OK);
        assert_true(rc == VMB_OK || f.n_files == 0);
        vmb_run_free(w.run);
        vmb_ctx_unref(ctx);
        fakes_done(&f);
    }
}

static void *execute(void *run)
{
    return vmb_run_execute(run, NULL) == VMB_OK ? run : NULL;
}

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st;
    (void)kind;
    (void)at;
    return remove(path);
}

/* Two runs on one context over the directory providers, which serve any number of threads. */
static void two_runs_share_a_context(void **state)
{
    (void)state;
    char dir[] = "/tmp/vmb-misuse-XXXXXX";
    char doc[512];
    assert_non_null(mkdtemp(dir));
    vmb_ctx *ctx = NULL;
    assert_int_equal(vmb_ctx_new(&ctx, NULL), VMB_OK);
    (void)snprintf(doc, sizeof(doc), "{\"path\":\"%s\"}", DEMO_CLUSTER);
    assert_int_equal(vmb_ctx_use(ctx, "cluster.dir", doc, strlen(doc), NULL), VMB_OK);
    assert_int_equal(vmb_ctx_use(ctx, "actions.kubernetes", NULL, 0, NULL), VMB_OK);
    assert_int_equal(vmb_ctx_use(ctx, "actions.kubevirt", NULL, 0, NULL), VMB_OK);
    (void)snprintf(doc, sizeof(doc),
                   "{\"apiVersion\":\"velero.io/v1\",\"kind\":\"BackupStorageLocation\","
                   "\"metadata\":{\"name\":\"default\"},\"spec\":{\"provider\":"
                   "\"vmbackup.io/dir\",\"config\":{\"path\":\"%s\"}}}", dir);
    assert_int_equal(vmb_ctx_add_location(ctx, doc, strlen(doc), NULL), VMB_OK);
    pthread_t threads[3];
    vmb_run *runs[3];
    for (size_t i = 0; i < 3; i++) {
        char name[8];
        (void)snprintf(name, sizeof(name), "b%zu", i);
        vmb_spec *spec = NULL;
        assert_int_equal(vmb_spec_new(name, &spec, NULL), VMB_OK);
        assert_int_equal(vmb_spec_add_string(spec, "spec.includedNamespaces", "other", NULL),
                         VMB_OK);
        assert_int_equal(vmb_run_new(ctx, spec, &runs[i], NULL), VMB_OK);
        vmb_spec_free(spec);
    }
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, execute, runs[i]), 0);
    }
    for (size_t i = 0; i < 3; i++) {
        void *done = NULL;
        assert_int_equal(pthread_join(threads[i], &done), 0);
        assert_ptr_equal(done, runs[i]);
        vmb_run_free(runs[i]);
    }
    vmb_ctx_unref(ctx);
    assert_int_equal(nftw(dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static size_t entries(const char *path)
{
    DIR *d = opendir(path);
    size_t n = 0;
    assert_non_null(d);
    while (readdir(d) != NULL) {
        n++;
    }
    (void)closedir(d);
    return n;
}

/* A context with a run and a catalogue, from the first to the last. */
static void live_once(const char *dir, int i)
{
    char doc[512];
    char name[16];
    vmb_ctx *ctx = NULL;
    vmb_catalog *cat = NULL;
    char *text = NULL;
    (void)snprintf(name, sizeof(name), "b%d", i);
    assert_int_equal(vmb_ctx_new(&ctx, NULL), VMB_OK);
    (void)snprintf(doc, sizeof(doc), "{\"path\":\"%s/other\"}", DEMO_CLUSTER);
    assert_int_equal(vmb_ctx_use(ctx, "cluster.dir", doc, strlen(doc), NULL), VMB_OK);
    (void)snprintf(doc, sizeof(doc),
                   "{\"apiVersion\":\"velero.io/v1\",\"kind\":\"BackupStorageLocation\","
                   "\"metadata\":{\"name\":\"default\"},\"spec\":{\"provider\":"
                   "\"vmbackup.io/dir\",\"config\":{\"path\":\"%s\"}}}", dir);
    assert_int_equal(vmb_ctx_add_location(ctx, doc, strlen(doc), NULL), VMB_OK);
    vmb_run *run = new_run(ctx, name);
    assert_true(vmb_run_fd(run) >= 0);
    assert_int_equal(vmb_run_execute(run, NULL), VMB_OK);
    assert_int_equal(vmb_catalog_open(ctx, NULL, &cat, NULL), VMB_OK);
    assert_int_equal(vmb_catalog_describe_json(cat, name, &text, NULL, NULL), VMB_OK);
    vmb_ctx_unref(ctx);
    vmb_free(text);
    vmb_run_free(run);
    vmb_catalog_free(cat);
}

static void hundred_contexts_leave_no_descriptor_and_no_thread(void **state)
{
    (void)state;
    char dir[] = "/tmp/vmb-misuse-XXXXXX";
    assert_non_null(mkdtemp(dir));
    live_once(dir, 0); /* what the libraries below keep for the process */
    size_t files = entries("/proc/self/fd");
    size_t threads = entries("/proc/self/task");
    for (int i = 1; i <= 100; i++) {
        live_once(dir, i);
    }
    assert_int_equal(entries("/proc/self/fd"), files);
    for (int i = 0; i < 1000 && entries("/proc/self/task") > threads; i++) {
        (void)poll(NULL, 0, 10); /* a thread that was joined may be seen for a moment */
    }
    assert_int_equal(entries("/proc/self/task"), threads);
    assert_int_equal(nftw(dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS), 0);
}

/* A provider that must not be entered twice at a time, and notices when it is. */
static atomic_int inside;
static atomic_int entered_twice;

static vmb_code serial_exec(void *user, vmb_job *job, const char *ns, const char *pod_name,
                            const char *container, const char *const *argv, size_t argc,
                            vmb_sink *out, vmb_sink *errout, int32_t *exit_code, vmb_error **err)
{
    (void)user;
    (void)ns;
    (void)pod_name;
    (void)container;
    (void)argv;
    (void)argc;
    (void)out;
    (void)errout;
    if (atomic_fetch_add(&inside, 1) != 0) {
        atomic_store(&entered_twice, 1);
    }
    vmb_code rc = vmb_job_sleep(job, 20 * 1000000, err);
    atomic_fetch_sub(&inside, 1);
    *exit_code = 0;
    return rc;
}

static void serial_provider_is_entered_by_one_run_at_a_time(void **state)
{
    (void)state;
    char dir[] = "/tmp/vmb-misuse-XXXXXX";
    char doc[512];
    pthread_t threads[2];
    vmb_run *runs[2];
    vmb_ctx *ctx = NULL;
    vmb_exec_provider exec = {.struct_size = sizeof(exec), .api_version = VMB_PROVIDER_API,
                              .flags = VMB_PROVIDER_SERIAL, .name = "serial",
                              .exec = serial_exec};
    assert_non_null(mkdtemp(dir));
    assert_int_equal(vmb_ctx_new(&ctx, NULL), VMB_OK);
    (void)snprintf(doc, sizeof(doc), "{\"path\":\"%s\"}", DEMO_CLUSTER);
    assert_int_equal(vmb_ctx_use(ctx, "cluster.dir", doc, strlen(doc), NULL), VMB_OK);
    assert_int_equal(vmb_ctx_add_exec_provider(ctx, &exec, NULL), VMB_OK);
    (void)snprintf(doc, sizeof(doc),
                   "{\"apiVersion\":\"velero.io/v1\",\"kind\":\"BackupStorageLocation\","
                   "\"metadata\":{\"name\":\"default\"},\"spec\":{\"provider\":"
                   "\"vmbackup.io/dir\",\"config\":{\"path\":\"%s\"}}}", dir);
    assert_int_equal(vmb_ctx_add_location(ctx, doc, strlen(doc), NULL), VMB_OK);
    for (size_t i = 0; i < 2; i++) {
        vmb_spec *spec = NULL;
        assert_int_equal(vmb_spec_new(i == 0 ? "one" : "two", &spec, NULL), VMB_OK);
        assert_int_equal(vmb_run_new(ctx, spec, &runs[i], NULL), VMB_OK);
        vmb_spec_free(spec);
        assert_int_equal(pthread_create(&threads[i], NULL, execute, runs[i]), 0);
    }
    for (size_t i = 0; i < 2; i++) {
        void *done = NULL;
        assert_int_equal(pthread_join(threads[i], &done), 0);
        assert_ptr_equal(done, runs[i]);
        vmb_run_free(runs[i]);
    }
    assert_int_equal(atomic_load(&entered_twice), 0);
    vmb_ctx_unref(ctx);
    assert_int_equal(nftw(dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(null_arguments_are_refused_everywhere),
        cmocka_unit_test(calls_at_the_wrong_time_are_refused),
        cmocka_unit_test(callbacks_may_call_back),
        cmocka_unit_test(tables_of_other_sizes_are_judged_and_destroyed_once),
        cmocka_unit_test(run_watched_and_cancelled_by_another_thread_ends_clean),
        cmocka_unit_test(two_runs_share_a_context),
        cmocka_unit_test(hundred_contexts_leave_no_descriptor_and_no_thread),
        cmocka_unit_test(serial_provider_is_entered_by_one_run_at_a_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
