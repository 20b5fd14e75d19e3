/* SPDX-License-Identifier: Apache-2.0 */
/* Restores that meet trouble: servers that fail for a while, answers that are lost, namespaces that
 * go away, runs that are interrupted and run again. */
#include "restore_support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"

static const char simple[] = "{\"backupName\":\"b1\"}";

static int64_t count_of(const vmbi_json *report, const char *what)
{
    char path[64];
    (void)snprintf(path, sizeof(path), "restore.status.%s", what);
    return vmbi_json_int(vmbi_json_path(report, path), 0);
}

/* Changes a live object, as a controller would. */
static void edit(fake *f, const char *path, const char *field, const char *value)
{
    vmbi_json *tree = created(f, path);
    object *o = find(f, path);
    char *text = NULL;
    assert_true(vmbi_json_set_str(vmbi_json_ensure_object(tree, "spec"), field, value));
    assert_int_equal(vmbi_json_to_text(tree, &text, NULL, NULL), VMB_OK);
    free(o->json);
    o->json = strdup(text);
    vmb_free(text);
    vmbi_json_free(tree);
}

static bool has_note(const fake *f)
{
    char path[256];
    (void)snprintf(path, sizeof(path), "%s/restores/r1/vmbackup-unfinished.json", f->dir);
    return access(path, F_OK) == 0;
}

static const item pod[] = {
    {"pods/namespaces/shop/web.json",
     "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"web\",\"namespace\":"
     "\"shop\",\"annotations\":{\"velero.io/restore-status\":\"true\","
     "\"post.hook.restore.velero.io/container\":\"c\","
     "\"post.hook.restore.velero.io/command\":\"[\\\"good\\\"]\"}},\"spec\":{"
     "\"containers\":[{\"name\":\"c\"}]},\"status\":{\"phase\":\"Running\","
     "\"containerStatuses\":[{\"name\":\"c\",\"state\":{\"running\":{}}}]}}"}};

/* ---- servers that fail --------------------------------------------------------------------- */

static void create_that_fails_for_a_while_succeeds(void **state)
{
    static const vmb_code codes[] = {VMB_E_SERVER, VMB_E_CONFLICT, VMB_E_NET};
    fake *f = *state;
    SHOP(f);
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        char spec[256];
        f->fail_path = i == 0 ? "configmaps/s0/a" : i == 1 ? "configmaps/s1/a" : "configmaps/s2/a";
        f->fail_code = codes[i];
        f->fail_times = 2;
        (void)snprintf(spec, sizeof(spec),
                       "{\"backupName\":\"b1\",\"includedResources\":[\"configmaps\"],"
                       "\"namespaceMapping\":{\"shop\":\"s%zu\"}}",
                       i);
        vmbi_json *report = restore(f, spec, "Completed");
        assert_int_equal(count_of(report, "warnings"), 0);
        vmbi_json_free(report);
    }
}

static void namespace_that_fails_for_a_while_is_made(void **state)
{
    fake *f = *state;
    SHOP(f);
    f->fail_path = "namespaces//shop";
    f->fail_code = VMB_E_SERVER;
    f->fail_times = 2;
    vmbi_json_free(restore(f, simple, "Completed"));
    assert_non_null(find(f, "configmaps/shop/a"));
}

/* Admission speaks before the server looks whether the name is taken. */
static void refused_object_that_exists_counts_as_existing(void **state)
{
    fake *f = *state;
    SHOP(f);
    add(f, "configmaps/shop/a", OBJ("ConfigMap", "a", "shop", ",\"data\":{\"k\":\"v\"}"));
    f->fail_path = "configmaps/shop/a";
    f->fail_code = VMB_E_DENIED;
    vmbi_json *report = restore(f, simple, "Completed");
    assert_int_equal(count_of(report, "warnings"), 0);
    vmbi_json_free(report);
}

/* A pod whose creation was not heard of gets its hooks all the same. */
static void lost_answer_does_not_lose_what_follows(void **state)
{
    fake *f = *state;
    make_backup(f, pod, 1);
    f->lost_path = "pods/shop/web";
    vmbi_json *report = restore(f, simple, "Completed");
    assert_string_equal(f->hooks, "shop/web/c:good;");
    assert_int_equal(count_of(report, "warnings"), 0);
    vmbi_json_free(report);
}

/* ---- namespaces that go away --------------------------------------------------------------- */

static void namespace_that_goes_away_holds_nobody_up(void **state)
{
    fake *f = *state;
    SHOP(f);
    add(f, "namespaces//shop",
        "{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"shop\","
        "\"deletionTimestamp\":\"2026-01-01T00:00:00Z\"},\"status\":{\"phase\":\"Terminating\"}}");
    f->leaving = "namespaces//shop";
    f->leaving_looks = 2; /* once by the first object, once when the others are done */
    vmbi_json *report = restore(f, simple, "Completed");
    assert_true(place(f, "configmaps/other/b") < place(f, "namespaces//shop"));
    assert_true(place(f, "namespaces//shop") < place(f, "persistentvolumeclaims/shop/disk"));
    assert_true(place(f, "persistentvolumeclaims/shop/disk") < place(f, "configmaps/shop/a"));
    assert_true(place(f, "configmaps/shop/a") < place(f, "pods/shop/web"));
    assert_int_equal(count_of(report, "warnings"), 0);
    vmbi_json_free(report);
}

/* ---- interrupted, and run again ------------------------------------------------------------ */

static void interrupt(fake *f, const char *spec, int creates)
{
    f->cancel = (vmb_run *)(void *)f; /* any; replaced by the run */
    f->creates_left = creates;
    vmbi_json_free(restore(f, spec, "Failed"));
    f->cancel = NULL;
    assert_true(has_note(f));
}

static void interrupted_restore_is_continued(void **state)
{
    fake *f = *state;
    SHOP(f);
    /* after the namespaces, the volume, the claim, one or two ConfigMaps and the pod */
    interrupt(f, simple, 6);
    assert_non_null(find(f, "persistentvolumeclaims/shop/disk"));
    edit(f, "persistentvolumeclaims/shop/disk", "changed", "by a controller");
    vmbi_json *report = restore(f, simple, "Completed");
    assert_int_equal(count_of(report, "warnings"), 0);
    assert_non_null(find(f, "services/shop/svc"));
    vmbi_json_free(report);
    vmbi_json *disk = created(f, "persistentvolumeclaims/shop/disk");
    assert_string_equal(vmbi_json_path_str(disk, "spec.changed"), "by a controller");
    vmbi_json_free(disk);
    assert_false(has_note(f));
}

static void restore_that_ended_is_no_interrupted_one(void **state)
{
    fake *f = *state;
    SHOP(f);
    vmbi_json_free(restore(f, simple, "Completed"));
    assert_false(has_note(f));
    edit(f, "configmaps/shop/a", "changed", "by a user");
    vmbi_json *report = restore(f, simple, "Completed");
    assert_int_equal(count_of(report, "warnings"), 1);
    vmbi_json_free(report);
}

static void interrupted_restore_of_another_spec_is_not_continued(void **state)
{
    fake *f = *state;
    SHOP(f);
    interrupt(f, simple, 6);
    edit(f, "persistentvolumeclaims/shop/disk", "changed", "by a controller");
    vmbi_json *report =
        restore(f, "{\"backupName\":\"b1\",\"preserveNodePorts\":true}", "Completed");
    assert_true(count_of(report, "warnings") >= 1);
    vmbi_json_free(report);
}

/* What was there before the restore began is told of, also in the run that continues. */
static void foreign_object_warns_when_a_restore_is_continued(void **state)
{
    fake *f = *state;
    SHOP(f);
    add(f, "configmaps/shop/a",
        "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"a\",\"namespace\":"
        "\"shop\",\"creationTimestamp\":\"2026-01-01T00:00:00Z\",\"labels\":{"
        "\"velero.io/restore-name\":\"r1\",\"velero.io/backup-name\":\"b1\"}},\"data\":{\"k\":"
        "\"live\"}}");
    interrupt(f, simple, 6);
    vmbi_json *report = restore(f, simple, "Completed");
    assert_int_equal(count_of(report, "warnings"), 1);
    vmbi_json_free(report);
}

/* The second run sees to the volumes of the pods that the first one made. */
static void volumes_are_filled_by_the_run_that_continues(void **state)
{
    static const char records[] =
        "[{\"spec\":{\"pod\":{\"namespace\":\"shop\",\"name\":\"web\"},\"volume\":\"d\","
        "\"uploaderType\":\"restic\"},\"status\":{\"phase\":\"Completed\",\"snapshotID\":"
        "\"abc\"}}]";
    fake *f = *state;
    SHOP(f);
    write_gz(f, "b1-podvolumebackups.json.gz", records);
    interrupt(f, simple, 6);
    assert_non_null(find(f, "pods/shop/web"));
    assert_int_equal(f->fills, 0);
    vmbi_json_free(restore(f, simple, "Completed"));
    assert_string_equal(f->hooks, "shop/web/d=abc");
}

/* Nobody knows what a command does when it runs twice. */
static void hooks_that_may_have_run_are_not_run_again(void **state)
{
    fake *f = *state;
    make_backup(f, pod, 1);
    f->cancel_in_hook = 1;
    interrupt(f, simple, 1000);
    assert_string_equal(f->hooks, "shop/web/c:good;");
    vmbi_json *report = restore(f, simple, "Completed");
    assert_string_equal(f->hooks, "shop/web/c:good;");
    assert_int_equal(count_of(report, "warnings"), 1);
    vmbi_json_free(report);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(create_that_fails_for_a_while_succeeds),
        TEST(namespace_that_fails_for_a_while_is_made),
        TEST(refused_object_that_exists_counts_as_existing),
        TEST(lost_answer_does_not_lose_what_follows),
        TEST(namespace_that_goes_away_holds_nobody_up),
        TEST(interrupted_restore_is_continued),
        TEST(restore_that_ended_is_no_interrupted_one),
        TEST(interrupted_restore_of_another_spec_is_not_continued),
        TEST(foreign_object_warns_when_a_restore_is_continued),
        TEST(volumes_are_filled_by_the_run_that_continues),
        TEST(hooks_that_may_have_run_are_not_run_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
