/* SPDX-License-Identifier: Apache-2.0 */
/* The engine over providers that break their contracts, and over stores that others write too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <poll.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <vmbackup/vmbackup.h>

#include "support/fakes.h"

typedef struct world {
    fakes f;
    vmb_ctx *ctx;
} world;

/* Namespace shop with a pod, its claim and two ConfigMaps. */
static void world_new(world *w)
{
    fakes_init(&w->f);
    fakes_add(&w->f, "namespaces",
              "{\"metadata\":{\"name\":\"shop\"},\"status\":{\"phase\":\"Active\"}}");
    fakes_add(&w->f, "pods",
              "{\"metadata\":{\"name\":\"launcher\",\"namespace\":\"shop\"},\"spec\":{"
              "\"containers\":[{\"name\":\"compute\"}],\"volumes\":[{\"name\":\"disk\","
              "\"persistentVolumeClaim\":{\"claimName\":\"disk\"}}]},"
              "\"status\":{\"phase\":\"Running\"}}");
    fakes_add(&w->f, "persistentvolumeclaims",
              "{\"apiVersion\":\"v1\",\"kind\":\"PersistentVolumeClaim\",\"metadata\":{\"name\":"
              "\"disk\",\"namespace\":\"shop\"},\"spec\":{\"volumeName\":\"pv-1\"},"
              "\"status\":{\"phase\":\"Bound\"}}");
    fakes_add(&w->f, "persistentvolumes",
              "{\"apiVersion\":\"v1\",\"kind\":\"PersistentVolume\",\"metadata\":{\"name\":"
              "\"pv-1\"},\"spec\":{}}");
    fakes_add(&w->f, "configmaps",
              "{\"metadata\":{\"name\":\"first\",\"namespace\":\"shop\"},\"data\":{}}");
    w->ctx = fakes_ctx(&w->f);
    assert_non_null(w->ctx);
    assert_int_equal(vmb_ctx_use(w->ctx, "actions.kubernetes", NULL, 0, NULL), VMB_OK);
}

static void world_free(world *w)
{
    vmb_ctx_unref(w->ctx);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(w->f.destroyed[i], 1);
    }
    assert_int_equal(w->f.open_ops, 0);
    fakes_done(&w->f);
}

static vmb_run *new_run(world *w)
{
    vmb_spec *spec = NULL;
    vmb_run *run = NULL;
    assert_int_equal(vmb_spec_new("b1", &spec, NULL), VMB_OK);
    assert_int_equal(vmb_spec_add_string(spec, "spec.includedNamespaces", "shop", NULL), VMB_OK);
    assert_int_equal(vmb_run_new(w->ctx, spec, &run, NULL), VMB_OK);
    vmb_spec_free(spec);
    return run;
}

/* Runs and expects the code and the phase. */
static void run_to(world *w, vmb_code code, const char *phase)
{
    vmb_run *run = new_run(w);
    vmb_error *err = NULL;
    vmb_code rc = vmb_run_execute(run, &err);
    if (rc != code || strcmp(vmb_run_phase(run), phase) != 0) {
        char *report = NULL;
        (void)vmb_run_report_json(run, &report, NULL, NULL);
        print_error("%d %s %s\n%s\n", (int)rc, vmb_run_phase(run), vmb_error_message(err), report);
        vmb_free(report);
    }
    assert_int_equal(rc, code);
    assert_string_equal(vmb_run_phase(run), phase);
    vmb_error_free(err);
    vmb_run_free(run);
}

static void assert_member(world *w, const char *resource, const char *name, int there)
{
    char *text = fakes_member(w->ctx, "b1", resource, "shop", name);
    assert_int_equal(text != NULL, there);
    vmb_free(text);
}

/* ---- the store ----------------------------------------------------------------------------- */

static void metadata_stored_but_answer_lost_is_a_backup(void **state)
{
    (void)state;
    world w;
    world_new(&w);
    w.f.lost_answer = "backups/b1/velero-backup.json";
    run_to(&w, VMB_OK, "Completed");
    assert_non_null(fakes_file(&w.f, "backups/b1/velero-backup.json", NULL));
    assert_non_null(fakes_file(&w.f, "backups/b1/b1.tar.gz", NULL));
    assert_int_equal(w.f.cancelled, 0);
    assert_int_equal(w.f.finished, 1);
    world_free(&w);
}

static void other_run_stores_first(fakes *f, const char *key)
{
    if (strcmp(key, "backups/b1/velero-backup.json") == 0) {
        fakes_put(f, key, "{\"metadata\":{\"name\":\"b1\",\"uid\":\"of another run\"}}");
    }
}

static void metadata_of_another_run_keeps_its_files(void **state)
{
    (void)state;
    world w;
    world_new(&w);
    w.f.on_put = other_run_stores_first;
    run_to(&w, VMB_E_EXISTS, "Failed");
    assert_non_null(strstr(fakes_file(&w.f, "backups/b1/velero-backup.json", NULL), "another"));
    assert_non_null(fakes_file(&w.f, "backups/b1/b1.tar.gz", NULL));
    assert_int_equal(fakes_at(&w.f, "remove"), -1);
    world_free(&w);
}

static void other_run_ends_meanwhile(fakes *f, const char *key)
{
    if (strcmp(key, "backups/b1/b1.tar.gz") == 0) {
        fakes_put(f, key, "of another run");
        fakes_put(f, "backups/b1/velero-backup.json", "{\"metadata\":{\"name\":\"b1\"}}");
    }
}

static void archive_of_a_run_that_ended_meanwhile_survives(void **state)
{
    (void)state;
    world w;
    world_new(&w);
    w.f.on_put = other_run_ends_meanwhile;
    run_to(&w, VMB_E_EXISTS, "Failed");
    assert_string_equal(fakes_file(&w.f, "backups/b1/b1.tar.gz", NULL), "of another run");
    assert_int_equal(fakes_at(&w.f, "remove"), -1);
    world_free(&w);
}

static void other_run_replaces_the_archive(fakes *f, const char *key)
{
    if (strcmp(key, "backups/b1/b1-logs.gz") == 0) {
        for (size_t i = 0; i < f->n_files; i++) {
            if (strcmp(f->files[i].key, "backups/b1/b1.tar.gz") == 0) {
                f->files[i].len = 3;
            }
        }
    }
}

static void archive_replaced_by_another_run_is_no_backup(void **state)
{
    (void)state;
    world w;
    world_new(&w);
    w.f.on_put = other_run_replaces_the_archive;
    run_to(&w, VMB_E_CONFLICT, "Failed");
    assert_null(fakes_file(&w.f, "backups/b1/velero-backup.json", NULL));
    world_free(&w);
}

static void location_that_does_not_exist_is_failed_validation(void **state)
{
    (void)state;
    world w;
    vmb_spec *spec = NULL;
    vmb_run *run = NULL;
    vmb_error *err = NULL;
    char *report = NULL;
    world_new(&w);
    assert_int_equal(vmb_spec_new("b1", &spec, NULL), VMB_OK);
    assert_int_equal(vmb_spec_set_string(spec, "spec.storageLocation", "moon", NULL), VMB_OK);
    assert_int_equal(vmb_run_new(w.ctx, spec, &run, NULL), VMB_OK);
    assert_int_equal(vmb_run_execute(run, &err), VMB_E_INVALID);
    assert_string_equal(vmb_run_phase(run), "FailedValidation");
    assert_non_null(strstr(vmb_error_message(err), "moon"));
    assert_int_equal(vmb_run_report_json(run, &report, NULL, NULL), VMB_OK);
    assert_non_null(strstr(report, "\"name\":\"b1\""));
    vmb_free(report);
    vmb_error_free(err);
    vmb_run_free(run);
    vmb_spec_free(spec);
    world_free(&w);
}

/* ---- the cluster --------------------------------------------------------------------------- */

static void list_of_odd_objects_keeps_the_others(void **state)
{
    (void)state;
    world w;
    world_new(&w);
    fakes_add(&w.f, "configmaps", "{\"metadata\":{\"namespace\":\"shop\"}}");
    fakes_add(&w.f, "configmaps",
              "{\"metadata\":{\"name\":\"../../../etc/x\",\"namespace\":\"shop\"}}");
    fakes_add(&w.f, "configmaps", "{\"metadata\":{\"name\":\"..\",\"namespace\":\"shop\"}}");
    fakes_add(&w.f, "configmaps",
              "{\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"half\",\"namespace\":\"shop\"}}");
    fakes_add(&w.f, "configmaps", "{\"metadata\":{\"name\":\"last\",\"namespace\":\"shop\"}}");
    run_to(&w, VMB_OK, "PartiallyFailed");
    assert_member(&w, "configmaps", "first", 1);
    assert_member(&w, "configmaps", "last", 1);
    assert_member(&w, "configmaps", "..", 0);
    assert_member(&w, "configmaps", "half", 0);
    world_free(&w);
}

static void cancel_ends_a_list_that_ignores_its_sink(void **state)
{
    (void)state;
    world w;
    world_new(&w);
    fakes_add(&w.f, "pods",
              "{\"metadata\":{\"name\":\"a\",\"namespace\":\"shop\",\"annotations\":{"
              "\"pre.hook.backup.velero.io/command\":\"freeze\"}},\"spec\":{\"containers\":["
              "{\"name\":\"c\"}]},\"status\":{\"phase\":\"Running\"}}");
    w.f.ignores_sink = 1;
    vmb_run *run = new_run(&w);
    w.f.cancel_on_exec = run;
    assert_int_equal(vmb_run_execute(run, NULL), VMB_E_CANCELLED);
    assert_int_equal(w.f.n_files, 0);
    vmb_run_free(run);
    world_free(&w);
}

/* ---- actions ------------------------------------------------------------------------------- */

typedef struct bad_action {
    const char *gives;      /* the item is replaced by this */
    const char *logs;       /* a warning */
    const char *names;      /* a related ConfigMap */
    vmb_code returns;
} bad_action;

static vmb_code act(void *user, vmb_job *job, const char *group, const char *resource,
                    const char *item, size_t len, vmb_action_result *result, vmb_error **err)
{
    const bad_action *a = user;
    (void)group;
    (void)resource;
    char *text = strndup(item, len);
    assert_non_null(strstr(text, "\"kind\":\"Pod\"")); /* promised also for items of lists */
    free(text);
    if (a->logs != NULL) {
        vmb_job_log(job, VMB_LOG_WARNING, a->logs);
    }
    if (a->gives != NULL) {
        return vmb_action_result_set_item(result, a->gives, strlen(a->gives), err);
    }
    if (a->names != NULL) {
        return vmb_action_result_add_related(result, "", "configmaps", "shop", a->names, 0, err);
    }
    return a->returns;
}

static void world_act(world *w, bad_action *a)
{
    world_new(w);
    vmb_action_provider p = {.struct_size = sizeof(p), .api_version = VMB_PROVIDER_API,
                             .name = "bad", .user = a, .applies_to = "pods", .backup = act};
    assert_int_equal(vmb_ctx_add_action_provider(w->ctx, &p, NULL), VMB_OK);
}

static void action_result_that_is_another_object_leaves_the_item_out(void **state)
{
    (void)state;
    static const char *const gifts[] = {
        "", "{", "[1,2]", "{\"kind\":", "{}", "\xff\xfe",
        "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"name\":\"launcher\","
        "\"namespace\":\"shop\"}}",
        "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"other\","
        "\"namespace\":\"shop\"}}",
        "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"launcher\"}}",
        "{\"kind\":\"Pod\",\"metadata\":{\"name\":\"launcher\",\"namespace\":\"shop\"}}",
    };
    for (size_t i = 0; i < sizeof(gifts) / sizeof(gifts[0]); i++) {
        bad_action a = {.gives = gifts[i]};
        world w;
        world_act(&w, &a);
        run_to(&w, VMB_OK, "PartiallyFailed");
        assert_member(&w, "pods", "launcher", 0);
        assert_member(&w, "configmaps", "first", 1);
        world_free(&w);
    }
}

static void action_with_unknown_code_or_related_path_leaves_the_item_out(void **state)
{
    (void)state;
    bad_action bad[] = {{.returns = 7}, {.returns = -1000}, {.names = "../x"}, {.names = "a/b"}};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        world w;
        world_act(&w, &bad[i]);
        run_to(&w, VMB_OK, "PartiallyFailed");
        assert_member(&w, "pods", "launcher", 0);
        assert_member(&w, "persistentvolumeclaims", "disk", 1);
        world_free(&w);
    }
}

static void log_text_that_is_no_utf8_does_not_end_the_backup(void **state)
{
    (void)state;
    bad_action a = {.logs = "caf\xe9 \xff\xfe"};
    world w;
    world_act(&w, &a);
    run_to(&w, VMB_OK, "Completed");
    assert_member(&w, "pods", "launcher", 1);
    world_free(&w);
}

static void error_text_is_clean(void **state)
{
    (void)state;
    vmb_error *err = NULL;
    vmb_error_set(&err, VMB_E_IO, 0, "caf\xe9\nline \x1b[31mtwo");
    assert_string_equal(vmb_error_message(err), "caf? line  [31mtwo");
    vmb_error_free(err);
}

/* ---- snapshots ----------------------------------------------------------------------------- */

static void snapshot_polls_that_answer_at_once_do_not_spin(void **state)
{
    (void)state;
    world w;
    world_new(&w);
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    w.f.cut_at_ns = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec + 400000000;
    /* the fakes' poll interval is 1 ms */
    run_to(&w, VMB_OK, "Completed");
    assert_true(w.f.polls < 2000);
    world_free(&w);
}

static vmb_code nowhere(void *user, const void *data, size_t len)
{
    (void)user;
    (void)data;
    (void)len;
    return VMB_OK;
}

static void catalog_file_of_a_missing_backup_names_the_backup(void **state)
{
    (void)state;
    world w;
    vmb_catalog *cat = NULL;
    vmb_error *err = NULL;
    world_new(&w);
    assert_int_equal(vmb_catalog_open(w.ctx, NULL, &cat, NULL), VMB_OK);
    assert_int_equal(vmb_catalog_read(cat, "nope", VMB_FILE_LOG, nowhere, NULL, &err),
                     VMB_E_NOT_FOUND);
    assert_string_equal(vmb_error_message(err), "backup nope does not exist in location default");
    vmb_error_free(err);
    vmb_catalog_free(cat);
    world_free(&w);
}

/* ---- children ------------------------------------------------------------------------------ */

static void child_process_cannot_use_or_disturb_a_run(void **state)
{
    (void)state;
    world w;
    world_new(&w);
    vmb_run *run = new_run(&w);
    vmb_catalog *cat = NULL;
    assert_int_equal(vmb_catalog_open(w.ctx, NULL, &cat, NULL), VMB_OK);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        vmb_event *event = NULL;
        char *text = NULL;
        int bad = 0;
        vmb_run_cancel(run);
        bad |= vmb_run_execute(run, NULL) == VMB_E_FORKED ? 0 : 1;
        bad |= vmb_run_next_event(run, &event, NULL) == VMB_E_FORKED ? 0 : 2;
        bad |= vmb_catalog_list_json(cat, &text, NULL, NULL) == VMB_E_FORKED ? 0 : 4;
        bad |= vmb_catalog_describe_json(cat, "b1", &text, NULL, NULL) == VMB_E_FORKED ? 0 : 8;
        vmb_run_free(run);
        vmb_catalog_free(cat);
        vmb_ctx_unref(w.ctx);
        _exit(bad | (w.f.destroyed[0] != 0 ? 16 : 0));
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_int_equal(vmb_run_execute(run, NULL), VMB_OK);
    vmb_catalog_free(cat);
    vmb_run_free(run);
    world_free(&w);
}

/* ---- the catalogue ------------------------------------------------------------------------- */

static void catalog_names_that_lead_elsewhere_are_refused(void **state)
{
    (void)state;
    static const char *const names[] = {"../x", "..", "a/b", "", "/etc"};
    world w;
    world_new(&w);
    vmb_catalog *cat = NULL;
    assert_int_equal(vmb_catalog_open(w.ctx, NULL, &cat, NULL), VMB_OK);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char *text = NULL;
        vmb_error *err = NULL;
        assert_int_equal(vmb_catalog_describe_json(cat, names[i], &text, NULL, &err), VMB_E_ARG);
        assert_non_null(strstr(vmb_error_message(err), "name of a backup"));
        vmb_error_free(err);
    }
    vmb_catalog_free(cat);
    world_free(&w);
}

static void catalog_entry_that_is_odd_is_listed_with_its_error(void **state)
{
    (void)state;
    static const char *const docs[] = {"", "null", "[]", "{", "{\"metadata\":{\"name\":\"other\"}}",
                                       "{\"metadata\":5}", "{}"};
    for (size_t i = 0; i < sizeof(docs) / sizeof(docs[0]); i++) {
        world w;
        world_new(&w);
        fakes_put(&w.f, "backups/b1/velero-backup.json", docs[i]);
        vmb_catalog *cat = NULL;
        char *text = NULL;
        assert_int_equal(vmb_catalog_open(w.ctx, NULL, &cat, NULL), VMB_OK);
        assert_int_equal(vmb_catalog_list_json(cat, &text, NULL, NULL), VMB_OK);
        assert_non_null(strstr(text, "\"name\":\"b1\""));
        assert_non_null(strstr(text, "\"error\":"));
        vmb_free(text);
        vmb_catalog_free(cat);
        world_free(&w);
    }
}

/* Whatever a store lists is removed with a backup: never what lies elsewhere. */
static void delete_removes_nothing_that_a_store_lists_from_elsewhere(void **state)
{
    (void)state;
    static const char *const keys[] = {"backups/b2/velero-backup.json", "b", ""};
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        world w;
        world_new(&w);
        fakes_put(&w.f, "backups/b1/velero-backup.json", "{\"metadata\":{\"name\":\"b1\"}}");
        fakes_put(&w.f, "backups/b2/velero-backup.json", "{\"metadata\":{\"name\":\"b2\"}}");
        w.f.also_lists = keys[i];
        vmb_catalog *cat = NULL;
        vmb_error *err = NULL;
        assert_int_equal(vmb_catalog_open(w.ctx, NULL, &cat, NULL), VMB_OK);
        assert_int_equal(vmb_catalog_delete(cat, "b1", "{\"force\":true}", 14, NULL, NULL, &err),
                         VMB_E_PROVIDER);
        assert_non_null(strstr(vmb_error_message(err), "does not begin with"));
        assert_non_null(fakes_file(&w.f, "backups/b2/velero-backup.json", NULL));
        vmb_error_free(err);
        vmb_catalog_free(cat);
        world_free(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(metadata_stored_but_answer_lost_is_a_backup),
        cmocka_unit_test(metadata_of_another_run_keeps_its_files),
        cmocka_unit_test(archive_of_a_run_that_ended_meanwhile_survives),
        cmocka_unit_test(archive_replaced_by_another_run_is_no_backup),
        cmocka_unit_test(location_that_does_not_exist_is_failed_validation),
        cmocka_unit_test(list_of_odd_objects_keeps_the_others),
        cmocka_unit_test(cancel_ends_a_list_that_ignores_its_sink),
        cmocka_unit_test(action_result_that_is_another_object_leaves_the_item_out),
        cmocka_unit_test(action_with_unknown_code_or_related_path_leaves_the_item_out),
        cmocka_unit_test(log_text_that_is_no_utf8_does_not_end_the_backup),
        cmocka_unit_test(error_text_is_clean),
        cmocka_unit_test(snapshot_polls_that_answer_at_once_do_not_spin),
        cmocka_unit_test(catalog_file_of_a_missing_backup_names_the_backup),
        cmocka_unit_test(child_process_cannot_use_or_disturb_a_run),
        cmocka_unit_test(catalog_names_that_lead_elsewhere_are_refused),
        cmocka_unit_test(catalog_entry_that_is_odd_is_listed_with_its_error),
        cmocka_unit_test(delete_removes_nothing_that_a_store_lists_from_elsewhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
