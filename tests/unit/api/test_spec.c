/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include <vmbackup/spec.h>

#include "base/alloc.h"

static vmb_spec *new_spec(void)
{
    vmb_spec *spec = NULL;

    assert_int_equal(vmb_spec_new("b1", &spec, NULL), VMB_OK);
    return spec;
}

static void expect_json(const vmb_spec *spec, const char *want)
{
    char *text = NULL;
    size_t len = 0;

    assert_int_equal(vmb_spec_to_json(spec, &text, &len, NULL), VMB_OK);
    assert_string_equal(text, want);
    assert_int_equal(len, strlen(want));
    vmb_free(text);
}

#define HEAD "{\"apiVersion\":\"velero.io/v1\",\"kind\":\"Backup\",\"metadata\":"

static void spec_new_has_version_kind_and_name(void **state)
{
    vmb_spec *spec = new_spec();

    (void)state;
    expect_json(spec, HEAD "{\"name\":\"b1\"},\"spec\":{}}");
    vmb_spec_free(spec);
    assert_int_equal(vmb_spec_new(NULL, &spec, NULL), VMB_OK);
    expect_json(spec, HEAD "{},\"spec\":{}}");
    vmb_spec_free(spec);
    assert_int_equal(vmb_spec_new("\xff", &spec, NULL), VMB_E_ARG);
    assert_null(spec);
    vmb_spec_free(NULL);
}

static void spec_setters_build_the_resource(void **state)
{
    vmb_spec *spec = new_spec();

    (void)state;
    assert_int_equal(vmb_spec_add_string(spec, "spec.includedNamespaces", "shop", NULL), VMB_OK);
    assert_int_equal(vmb_spec_add_string(spec, "spec.includedNamespaces", "a", NULL), VMB_OK);
    assert_int_equal(vmb_spec_set_bool(spec, "spec.snapshotMoveData", 1, NULL), VMB_OK);
    assert_int_equal(vmb_spec_set_duration_ns(spec, "spec.ttl", INT64_C(86400000000000), NULL),
                     VMB_OK);
    assert_int_equal(vmb_spec_set_int(spec, "spec.uploaderConfig.parallelFilesUpload", 4, NULL),
                     VMB_OK);
    assert_int_equal(
        vmb_spec_set_entry(spec, "spec.labelSelector.matchLabels", "app.io/x", "y", NULL), VMB_OK);
    assert_int_equal(vmb_spec_set_string(spec, "metadata.labels[\"velero.io/x\"]", "true", NULL),
                     VMB_OK);
    assert_int_equal(
        vmb_spec_set_string(spec, "spec.hooks.resources[0].pre[0].exec.command[0]", "ls", NULL),
        VMB_OK);
    assert_int_equal(vmb_spec_set_json(spec, "spec.hooks.resources[0].post",
                                       "- exec:\n    command: [a]\n", 25, NULL),
                     VMB_OK);
    expect_json(
        spec,
        HEAD "{\"labels\":{\"velero.io/x\":\"true\"},\"name\":\"b1\"},\"spec\":{\"hooks\":{"
             "\"resources\":[{\"post\":[{\"exec\":{\"command\":[\"a\"]}}],\"pre\":[{\"exec\":{"
             "\"command\":[\"ls\"]}}]}]},\"includedNamespaces\":[\"shop\",\"a\"],"
             "\"labelSelector\":{\"matchLabels\":{\"app.io/x\":\"y\"}},\"snapshotMoveData\":true,"
             "\"ttl\":\"24h0m0s\",\"uploaderConfig\":{\"parallelFilesUpload\":4}}}");
    vmb_spec_free(spec);
}

static void spec_getters_read_what_was_set(void **state)
{
    static const char doc[] = "metadata: {name: x, labels: {a.b/c: d}}\n"
                              "spec:\n"
                              "  ttl: 1h30m\n"
                              "  snapshotVolumes: false\n"
                              "  uploaderConfig: {parallelFilesUpload: 3}\n"
                              "  includedNamespaces: [a, b]\n"
                              "  storageLocation: 5\n"
                              "  csiSnapshotTimeout: soon\n"
                              "  labelSelector: null\n";
    vmb_spec *spec = NULL;
    const char *s = NULL;
    char *json = NULL;
    int32_t b = 7;
    int64_t i = 0;
    size_t n = 9;

    (void)state;
    assert_int_equal(vmb_spec_parse(doc, sizeof(doc) - 1, NULL, &spec, NULL), VMB_OK);
    assert_int_equal(vmb_spec_get_string(spec, "metadata.name", &s, NULL), VMB_OK);
    assert_string_equal(s, "x");
    assert_int_equal(vmb_spec_get_string(spec, "metadata.labels.a.b/c", &s, NULL), VMB_OK);
    assert_string_equal(s, "d");
    assert_int_equal(vmb_spec_get_string(spec, "spec.includedNamespaces[1]", &s, NULL), VMB_OK);
    assert_string_equal(s, "b");
    assert_int_equal(vmb_spec_get_string(spec, "spec.includedNamespaces[2]", &s, NULL),
                     VMB_E_NOT_FOUND);
    assert_int_equal(vmb_spec_get_string(spec, "spec.storageLocation", &s, NULL), VMB_E_INVALID);
    assert_int_equal(vmb_spec_get_string(spec, "spec.datamover", &s, NULL), VMB_E_NOT_FOUND);
    assert_int_equal(vmb_spec_get_string(spec, "spec.dataMoover", &s, NULL), VMB_E_ARG);
    assert_string_equal(s, "b"); /* untouched by failures */
    assert_int_equal(vmb_spec_get_bool(spec, "spec.snapshotVolumes", &b, NULL), VMB_OK);
    assert_int_equal(b, 0);
    assert_int_equal(vmb_spec_get_bool(spec, "spec.ttl", &b, NULL), VMB_E_INVALID);
    assert_int_equal(vmb_spec_get_int(spec, "spec.uploaderConfig.parallelFilesUpload", &i, NULL),
                     VMB_OK);
    assert_int_equal(i, 3);
    assert_int_equal(vmb_spec_get_duration_ns(spec, "spec.ttl", &i, NULL), VMB_OK);
    assert_int_equal(i, INT64_C(5400000000000));
    assert_int_equal(vmb_spec_get_duration_ns(spec, "spec.csiSnapshotTimeout", &i, NULL),
                     VMB_E_INVALID);
    assert_int_equal(vmb_spec_get_count(spec, "spec.includedNamespaces", &n, NULL), VMB_OK);
    assert_int_equal(n, 2);
    assert_int_equal(vmb_spec_get_count(spec, "spec.excludedNamespaces", &n, NULL), VMB_OK);
    assert_int_equal(n, 0);
    assert_int_equal(vmb_spec_get_count(spec, "spec.labelSelector", &n, NULL), VMB_OK);
    assert_int_equal(vmb_spec_get_count(spec, "spec.ttl", &n, NULL), VMB_E_INVALID);
    assert_int_equal(vmb_spec_get_count(spec, "spec.nope", &n, NULL), VMB_E_ARG);
    assert_int_equal(vmb_spec_get_json(spec, "metadata", &json, NULL, NULL), VMB_OK);
    assert_string_equal(json, "{\"labels\":{\"a.b/c\":\"d\"},\"name\":\"x\"}");
    vmb_free(json);
    vmb_spec_free(spec);
}

static void spec_setter_of_the_wrong_kind_is_refused(void **state)
{
    vmb_spec *spec = new_spec();
    vmb_error *err = NULL;

    (void)state;
    assert_int_equal(vmb_spec_set_string(spec, "spec.includedNamespace", "a", &err), VMB_E_ARG);
    assert_non_null(strstr(vmb_error_message(err), "includedNamespaces"));
    vmb_error_free(err);
    assert_int_equal(vmb_spec_set_string(spec, "spec.includedNamespaces", "a", NULL), VMB_E_ARG);
    assert_int_equal(vmb_spec_set_bool(spec, "spec.ttl", 1, NULL), VMB_E_ARG);
    assert_int_equal(vmb_spec_set_int(spec, "spec.ttl", 1, NULL), VMB_E_ARG);
    assert_int_equal(vmb_spec_set_duration_ns(spec, "spec.storageLocation", 1, NULL), VMB_E_ARG);
    assert_int_equal(vmb_spec_set_duration_ns(spec, "spec.ttl", -1, NULL), VMB_E_ARG);
    assert_int_equal(vmb_spec_add_string(spec, "spec.ttl", "a", NULL), VMB_E_ARG);
    assert_int_equal(vmb_spec_set_entry(spec, "spec.ttl", "a", "b", NULL), VMB_E_ARG);
    assert_int_equal(vmb_spec_set_string(spec, "spec.includedNamespaces[3]", "a", NULL), VMB_E_ARG);
    assert_int_equal(vmb_spec_set_string(spec, "spec.ttl", "\xff", NULL), VMB_E_ARG);
    assert_int_equal(vmb_spec_set_json(spec, "spec.hooks", "{", 1, NULL), VMB_E_PARSE);
    vmb_spec_free(spec);
}

static void spec_of_wrong_shape_refuses_to_grow(void **state)
{
    static const char doc[] = "spec: text\nmetadata: {labels: [a]}\n";
    vmb_spec *spec = NULL;

    (void)state;
    assert_int_equal(vmb_spec_parse(doc, sizeof(doc) - 1, NULL, &spec, NULL), VMB_OK);
    assert_int_equal(vmb_spec_set_string(spec, "spec.ttl", "1h", NULL), VMB_E_INVALID);
    assert_int_equal(vmb_spec_set_entry(spec, "metadata.labels", "a", "b", NULL), VMB_E_INVALID);
    assert_int_equal(vmb_spec_add_string(spec, "spec.includedNamespaces", "b", NULL),
                     VMB_E_INVALID);
    assert_int_equal(vmb_spec_unset(spec, "spec.ttl", NULL), VMB_OK);
    vmb_spec_free(spec);
}

static void spec_unset_removes_fields_and_elements(void **state)
{
    vmb_spec *spec = new_spec();

    (void)state;
    assert_int_equal(vmb_spec_set_json(spec, "spec.includedNamespaces", "- a\n- b\n- c", 11, NULL),
                     VMB_OK);
    assert_int_equal(vmb_spec_unset(spec, "spec.includedNamespaces[1]", NULL), VMB_OK);
    assert_int_equal(vmb_spec_unset(spec, "spec.includedNamespaces[7]", NULL), VMB_OK);
    assert_int_equal(vmb_spec_unset(spec, "spec.ttl", NULL), VMB_OK);
    assert_int_equal(vmb_spec_unset(spec, "spec.nope", NULL), VMB_E_ARG);
    expect_json(spec, HEAD "{\"name\":\"b1\"},\"spec\":{\"includedNamespaces\":[\"a\",\"c\"]}}");
    assert_int_equal(vmb_spec_unset(spec, "spec.includedNamespaces", NULL), VMB_OK);
    expect_json(spec, HEAD "{\"name\":\"b1\"},\"spec\":{}}");
    vmb_spec_free(spec);
}

static void spec_clone_is_deep(void **state)
{
    vmb_spec *spec = new_spec();
    vmb_spec *copy = NULL;

    (void)state;
    assert_int_equal(vmb_spec_clone(spec, &copy, NULL), VMB_OK);
    assert_int_equal(vmb_spec_set_string(copy, "metadata.name", "other", NULL), VMB_OK);
    expect_json(spec, HEAD "{\"name\":\"b1\"},\"spec\":{}}");
    vmb_spec_free(spec);
    expect_json(copy, HEAD "{\"name\":\"other\"},\"spec\":{}}");
    vmb_spec_free(copy);
}

static void spec_validation_reports_also_on_success(void **state)
{
    vmb_spec *spec = new_spec();
    vmb_error *err = NULL;
    char *report = NULL;
    size_t len = 0;

    (void)state;
    assert_int_equal(vmb_spec_validate(spec, &report, &len, NULL), VMB_OK);
    assert_string_equal(report, "{\"problems\":[]}");
    assert_int_equal(len, strlen(report));
    vmb_free(report);
    assert_int_equal(vmb_spec_set_string(spec, "spec.ttl", "30d", NULL), VMB_OK);
    assert_int_equal(vmb_spec_add_string(spec, "spec.includedNamespaces", "<ns>", NULL), VMB_OK);
    assert_int_equal(vmb_spec_validate(spec, &report, NULL, &err), VMB_E_INVALID);
    assert_non_null(strstr(report, "{\"severity\":\"error\",\"line\":0,\"column\":0,\"field\":"
                                   "\"spec.ttl\",\"message\":\"\\\"30d\\\""));
    assert_non_null(strstr(vmb_error_message(err), "1 more"));
    vmb_error_free(err);
    vmb_free(report);
    assert_int_equal(vmb_spec_validate(spec, NULL, NULL, NULL), VMB_E_INVALID);
    vmb_spec_free(spec);
}

static void spec_call_with_null_is_refused(void **state)
{
    vmb_spec *spec = new_spec();
    const char *s = NULL;
    char *text = NULL;
    int32_t b = 0;
    int64_t i = 0;
    size_t n = 0;

    (void)state;
    assert_int_equal(vmb_spec_new("a", NULL, NULL), VMB_E_ARG);
    assert_int_equal(vmb_spec_parse(NULL, 0, NULL, &spec, NULL), VMB_E_ARG);
    assert_non_null(spec);
    assert_int_equal(vmb_spec_clone(NULL, &spec, NULL), VMB_E_ARG);
    assert_int_equal(vmb_spec_validate(NULL, &text, NULL, NULL), VMB_E_ARG);
    assert_int_equal(vmb_spec_to_json(spec, NULL, NULL, NULL), VMB_E_ARG);
    assert_int_equal(vmb_spec_get_string(spec, NULL, &s, NULL), VMB_E_ARG);
    assert_int_equal(vmb_spec_get_bool(NULL, "spec", &b, NULL), VMB_E_ARG);
    assert_int_equal(vmb_spec_get_int(spec, "spec", NULL, NULL), VMB_E_ARG);
    assert_int_equal(vmb_spec_get_duration_ns(NULL, "spec", &i, NULL), VMB_E_ARG);
    assert_int_equal(vmb_spec_get_count(NULL, "spec", &n, NULL), VMB_E_ARG);
    assert_int_equal(vmb_spec_get_json(spec, "spec", NULL, NULL, NULL), VMB_E_ARG);
    assert_int_equal(vmb_spec_set_string(spec, "spec.ttl", NULL, NULL), VMB_E_ARG);
    assert_int_equal(vmb_spec_set_bool(NULL, "spec.snapshotVolumes", 1, NULL), VMB_E_ARG);
    assert_int_equal(vmb_spec_set_int(spec, NULL, 1, NULL), VMB_E_ARG);
    assert_int_equal(vmb_spec_set_duration_ns(NULL, "spec.ttl", 1, NULL), VMB_E_ARG);
    assert_int_equal(vmb_spec_add_string(spec, "spec.includedNamespaces", NULL, NULL), VMB_E_ARG);
    assert_int_equal(vmb_spec_set_entry(spec, "metadata.labels", NULL, "a", NULL), VMB_E_ARG);
    assert_int_equal(vmb_spec_set_json(spec, "spec", NULL, 0, NULL), VMB_E_ARG);
    assert_int_equal(vmb_spec_unset(NULL, "spec", NULL), VMB_E_ARG);
    vmb_spec_free(spec);
}

static void spec_out_of_memory_leaves_nothing(void **state)
{
    static const char doc[] = "metadata: {name: x}\nspec:\n  includedNamespaces: [a, b]\n";

    (void)state;
    for (uint64_t n = 1; n < 2000; n++) {
        vmb_spec *spec = NULL;
        vmb_spec *copy = NULL;
        char *text = NULL;
        vmb_code code;

        vmbi_alloc_fail_from(n);
        code = vmb_spec_parse(doc, sizeof(doc) - 1, "a", &spec, NULL);
        if (code == VMB_OK) {
            code = vmb_spec_set_string(spec, "spec.ttl", "1h", NULL);
        }
        if (code == VMB_OK) {
            code = vmb_spec_clone(spec, &copy, NULL);
        }
        if (code == VMB_OK) {
            code = vmb_spec_to_json(copy, &text, NULL, NULL);
        }
        vmbi_alloc_fail_from(0);
        vmb_free(text);
        vmb_spec_free(spec);
        vmb_spec_free(copy);
        if (code == VMB_OK) {
            return;
        }
        assert_int_equal(code, VMB_E_NOMEM);
    }
    fail_msg("never succeeded");
}

static void spec_of_a_restore_knows_its_kind(void **state)
{
    vmb_spec *spec = NULL;
    const char *text = NULL;

    (void)state;
    assert_int_equal(vmb_spec_new_restore("r1", "b1", &spec, NULL), VMB_OK);
    assert_string_equal(vmb_spec_kind(spec), "Restore");
    assert_int_equal(vmb_spec_set_entry(spec, "spec.namespaceMapping", "a", "b", NULL), VMB_OK);
    assert_int_equal(vmb_spec_set_bool(spec, "spec.restorePVs", 0, NULL), VMB_OK);
    assert_int_equal(vmb_spec_set_string(spec, "spec.ttl", "1h", NULL), VMB_E_ARG);
    assert_int_equal(vmb_spec_get_string(spec, "spec.backupName", &text, NULL), VMB_OK);
    assert_string_equal(text, "b1");
    assert_int_equal(vmb_spec_validate(spec, NULL, NULL, NULL), VMB_OK);
    vmb_spec_free(spec);
    assert_int_equal(vmb_spec_new("b1", &spec, NULL), VMB_OK);
    assert_string_equal(vmb_spec_kind(spec), "Backup");
    vmb_spec_free(spec);
    assert_string_equal(vmb_spec_kind(NULL), "");
    assert_int_equal(vmb_spec_new_restore("r1", "b1", NULL, NULL), VMB_E_ARG);
    assert_int_equal(vmb_spec_new_restore("r1", "\xff", &spec, NULL), VMB_E_ARG);
    assert_null(spec);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spec_new_has_version_kind_and_name),
        cmocka_unit_test(spec_setters_build_the_resource),
        cmocka_unit_test(spec_getters_read_what_was_set),
        cmocka_unit_test(spec_setter_of_the_wrong_kind_is_refused),
        cmocka_unit_test(spec_of_wrong_shape_refuses_to_grow),
        cmocka_unit_test(spec_unset_removes_fields_and_elements),
        cmocka_unit_test(spec_clone_is_deep),
        cmocka_unit_test(spec_validation_reports_also_on_success),
        cmocka_unit_test(spec_of_a_restore_knows_its_kind),
        cmocka_unit_test(spec_call_with_null_is_refused),
        cmocka_unit_test(spec_out_of_memory_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
