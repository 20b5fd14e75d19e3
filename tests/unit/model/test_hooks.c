/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "cluster.h"
#include "model/hooks.h"

#define DEFAULT_NS (30 * VMBI_SECOND)

static vmbi_discovery *discovery;

static int group_setup(void **state)
{
    (void)state;
    assert_int_equal(
        vmbi_discovery_parse(cluster_discovery, sizeof(cluster_discovery) - 1, &discovery, NULL),
        VMB_OK);
    return 0;
}

static int group_teardown(void **state)
{
    (void)state;
    vmbi_discovery_free(discovery);
    return 0;
}

static vmbi_json *parse(const char *text)
{
    vmbi_json *v = NULL;
    vmb_error *err = NULL;

    if (vmbi_json_parse(text, strlen(text), "test", &v, &err) != VMB_OK) {
        fail_msg("%s: %s", vmb_error_message(err), text);
    }
    return v;
}

static vmbi_hooks *compile(const char *text)
{
    vmbi_json *doc = parse(text);
    vmbi_hooks *h = NULL;
    vmb_error *err = NULL;

    if (vmbi_hooks_compile(doc, discovery, &h, &err) != VMB_OK) {
        fail_msg("%s", vmb_error_message(err));
    }
    vmbi_json_free(doc);
    return h;
}

#define POD(annotations, labels, phase)                                                            \
    "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"p\",\"namespace\":\"shop\"," \
    "\"annotations\":{" annotations "},\"labels\":{" labels "}},\"spec\":{\"containers\":[{"       \
    "\"name\":\"compute\"},{\"name\":\"side\"}],\"initContainers\":[{\"name\":\"init\"},{"         \
    "\"name\":\"sidecar\",\"restartPolicy\":\"Always\"}]},\"status\":{\"phase\":\"" phase "\"}}"
#define PLAIN POD("", "\"app\":\"db\"", "Running")

static void hooks_of(const vmbi_hooks *h, const char *pod, vmbi_hook_phase phase,
                     vmbi_hook_list *out)
{
    vmbi_json *tree = parse(pod);
    vmbi_hook_list raw;

    assert_int_equal(vmbi_hooks_for_pod(h, tree, phase, DEFAULT_NS, out, NULL), VMB_OK);
    vmbi_json_free(tree);
    /* bytes and tree agree */
    assert_int_equal(vmbi_hooks_for_pod_raw(h, pod, strlen(pod), phase, DEFAULT_NS, &raw, NULL),
                     VMB_OK);
    assert_int_equal(raw.n, out->n);
    for (size_t i = 0; i < raw.n; i++) {
        assert_string_equal(raw.v[i].argv.v[0], out->v[i].argv.v[0]);
    }
    vmbi_hook_list_free(&raw);
}

/* ---- annotations ---------------------------------------------------------------------------- */

#define KUBEVIRT                                                                                   \
    "\"pre.hook.backup.velero.io/container\":\"compute\","                                         \
    "\"pre.hook.backup.velero.io/command\":\"[\\\"/usr/bin/virt-freezer\\\",\\\"--freeze\\\"]\","  \
    "\"pre.hook.backup.velero.io/timeout\":\"60s\","                                               \
    "\"post.hook.backup.velero.io/container\":\"compute\","                                        \
    "\"post.hook.backup.velero.io/command\":\"[\\\"/usr/bin/"                                      \
    "virt-freezer\\\",\\\"--unfreeze\\\"]\""

static void hooks_of_kubevirt_are_read(void **state)
{
    static const char pod[] = POD(KUBEVIRT, "", "Running");
    vmbi_hook_list l;

    (void)state;
    hooks_of(NULL, pod, VMBI_HOOK_PRE, &l);
    assert_int_equal(l.n, 1);
    assert_int_equal(l.warnings.n, 0);
    assert_int_equal(l.v[0].argv.n, 2);
    assert_string_equal(l.v[0].argv.v[1], "--freeze");
    assert_string_equal(l.v[0].container, "compute");
    assert_string_equal(l.v[0].target, "compute");
    assert_string_equal(l.v[0].name, "");
    assert_int_equal(l.v[0].timeout_ns, 60 * VMBI_SECOND);
    assert_int_equal(l.v[0].on_error, VMBI_ON_ERROR_UNSET);
    assert_int_equal(l.v[0].source, VMBI_HOOK_ANNOTATION);
    assert_false(l.pod_finished);
    vmbi_hook_list_free(&l);
    hooks_of(NULL, pod, VMBI_HOOK_POST, &l);
    assert_int_equal(l.n, 1);
    assert_int_equal(l.v[0].timeout_ns, DEFAULT_NS);
    vmbi_hook_list_free(&l);
}

static const struct {
    const char *command; /* JSON-escaped annotation value */
    size_t argc;
    const char *first;
    size_t warnings;
} command_cases[] = {
    {"sync", 1, "sync", 0},
    {"ls -l /", 1, "ls -l /", 0}, /* no shell, no splitting */
    {"[\\\"a\\\",\\\"b\\\"]", 2, "a", 0},
    {"[\\\"a\\\",null]", 2, "a", 0},
    {"[\\\"a\\\",\\\"b\\\"", 1, "[\"a\",\"b\"", 1}, /* broken JSON: the text as it is */
    {"[1]", 1, "[1]", 1},
    {"[]", 1, "[]", 1},
    {" [\\\"a\\\"]", 1, " [\"a\"]", 0}, /* only the first byte decides */
};

static void hook_commands_of_annotations_become_argv(void **state)
{
    char pod[1024];

    (void)state;
    for (size_t i = 0; i < VMBI_ARRAY_LEN(command_cases); i++) {
        vmbi_hook_list l;

        (void)snprintf(pod, sizeof(pod),
                       "{\"metadata\":{\"annotations\":{\"pre.hook.backup.velero.io/command\":"
                       "\"%s\"}},\"spec\":{\"containers\":[{\"name\":\"c\"}]}}",
                       command_cases[i].command);
        hooks_of(NULL, pod, VMBI_HOOK_PRE, &l);
        assert_int_equal(l.n, 1);
        assert_int_equal(l.v[0].argv.n, command_cases[i].argc);
        assert_string_equal(l.v[0].argv.v[0], command_cases[i].first);
        assert_int_equal(l.warnings.n, command_cases[i].warnings);
        assert_string_equal(l.v[0].container, "");
        assert_string_equal(l.v[0].target, "c");
        vmbi_hook_list_free(&l);
    }
}

static void hook_annotations_without_phase_mean_pre(void **state)
{
    static const char pod[] =
        POD("\"hook.backup.velero.io/command\":\"old\",\"hook.backup.velero.io/on-error\":\"Fail\","
            "\"hook.backup.velero.io/timeout\":\"-1s\"",
            "", "Running");
    static const char both[] = POD("\"hook.backup.velero.io/command\":\"old\","
                                   "\"pre.hook.backup.velero.io/command\":\"new\"",
                                   "", "Running");
    vmbi_hook_list l;

    (void)state;
    hooks_of(NULL, pod, VMBI_HOOK_PRE, &l);
    assert_int_equal(l.n, 1);
    assert_int_equal(l.v[0].on_error, VMBI_ON_ERROR_FAIL);
    assert_int_equal(l.v[0].timeout_ns, -1);
    vmbi_hook_list_free(&l);
    hooks_of(NULL, pod, VMBI_HOOK_POST, &l);
    assert_int_equal(l.n, 0);
    vmbi_hook_list_free(&l);
    hooks_of(NULL, both, VMBI_HOOK_PRE, &l);
    assert_int_equal(l.n, 1);
    assert_string_equal(l.v[0].argv.v[0], "new");
    vmbi_hook_list_free(&l);
}

static void hook_annotations_of_bad_values_warn(void **state)
{
    static const char pod[] = POD("\"pre.hook.backup.velero.io/command\":\"x\","
                                  "\"pre.hook.backup.velero.io/on-error\":\"fail\","
                                  "\"pre.hook.backup.velero.io/timeout\":\"soon\","
                                  "\"pre.hook.backup.velero.io/container\":\"gone\"",
                                  "", "Running");
    vmbi_hook_list l;

    (void)state;
    hooks_of(NULL, pod, VMBI_HOOK_PRE, &l);
    assert_int_equal(l.n, 1);
    assert_int_equal(l.warnings.n, 2);
    assert_non_null(strstr(l.warnings.v[0], "on-error"));
    assert_non_null(strstr(l.warnings.v[1], "timeout"));
    assert_int_equal(l.v[0].on_error, VMBI_ON_ERROR_UNSET);
    assert_int_equal(l.v[0].timeout_ns, DEFAULT_NS);
    assert_string_equal(l.v[0].container, "gone");
    assert_null(l.v[0].target);
    vmbi_hook_list_free(&l);
}

static void hook_containers_are_regular_ones_and_sidecars(void **state)
{
    vmbi_json *pod = parse(PLAIN);

    (void)state;
    assert_string_equal(vmbi_hooks_container(pod, NULL), "compute");
    assert_string_equal(vmbi_hooks_container(pod, "side"), "side");
    assert_string_equal(vmbi_hooks_container(pod, "sidecar"), "sidecar");
    assert_null(vmbi_hooks_container(pod, "init"));
    assert_null(vmbi_hooks_container(pod, "x"));
    vmbi_json_free(pod);
}

/* ---- the spec -------------------------------------------------------------------------------- */

#define EXEC(command, extra) "{\"exec\":{\"command\":[\"" command "\"]" extra "}}"
#define TWO_ENTRIES                                                                                                                                                        \
    "{\"resources\":[{\"name\":\"first\",\"pre\":[" EXEC("a", "") "," EXEC("b", ",\"onError\":"                                                                            \
                                                                                "\"Fail\","                                                                                \
                                                                                "\"timeout\":"                                                                             \
                                                                                "\"2m\","                                                                                  \
                                                                                "\"container\":"                                                                           \
                                                                                "\"side\"") "],"                                                                           \
                                                                                            "\"po"                                                                         \
                                                                                            "st\""                                                                         \
                                                                                            ":"                                                                            \
                                                                                            "[" EXEC("z", ",\"timeout\":\"0s\"") "]},{\"name\":\"second\",\"pre\":[" EXEC( \
                                                                                                "c",                                                                       \
                                                                                                ",\"onError\":\"Continue\",\"timeout\":\"-1s\"") "]}]}"

static void hooks_of_the_spec_run_in_order(void **state)
{
    vmbi_hooks *h = compile(TWO_ENTRIES);
    vmbi_hook_list l;

    (void)state;
    hooks_of(h, PLAIN, VMBI_HOOK_PRE, &l);
    assert_int_equal(l.n, 3);
    assert_string_equal(l.v[0].argv.v[0], "a");
    assert_string_equal(l.v[1].argv.v[0], "b");
    assert_string_equal(l.v[2].argv.v[0], "c");
    assert_int_equal(l.v[0].index, 0);
    assert_int_equal(l.v[1].index, 1);
    assert_int_equal(l.v[2].index, 0);
    assert_string_equal(l.v[1].name, "first");
    assert_string_equal(l.v[2].name, "second");
    assert_int_equal(l.v[0].source, VMBI_HOOK_SPEC);
    assert_int_equal(l.v[0].timeout_ns, DEFAULT_NS);
    assert_int_equal(l.v[1].timeout_ns, 120 * VMBI_SECOND);
    assert_int_equal(l.v[2].timeout_ns, -1);
    assert_int_equal(l.v[0].on_error, VMBI_ON_ERROR_UNSET);
    assert_int_equal(l.v[1].on_error, VMBI_ON_ERROR_FAIL);
    assert_int_equal(l.v[2].on_error, VMBI_ON_ERROR_CONTINUE);
    assert_string_equal(l.v[0].container, "");
    assert_string_equal(l.v[0].target, "compute");
    assert_string_equal(l.v[1].target, "side");
    vmbi_hook_list_free(&l);
    hooks_of(h, PLAIN, VMBI_HOOK_POST, &l);
    assert_int_equal(l.n, 1);
    assert_int_equal(l.v[0].timeout_ns, DEFAULT_NS);
    vmbi_hook_list_free(&l);
    vmbi_hooks_free(h);
}

static void hook_annotation_suppresses_the_specs_hooks_of_its_phase(void **state)
{
    vmbi_hooks *h = compile(TWO_ENTRIES);
    static const char pod[] =
        POD("\"pre.hook.backup.velero.io/command\":\"own\"", "\"app\":\"db\"", "Running");
    static const char empty[] =
        POD("\"pre.hook.backup.velero.io/command\":\"\"", "\"app\":\"db\"", "Running");
    vmbi_hook_list l;

    (void)state;
    hooks_of(h, pod, VMBI_HOOK_PRE, &l);
    assert_int_equal(l.n, 1);
    assert_string_equal(l.v[0].argv.v[0], "own");
    vmbi_hook_list_free(&l);
    hooks_of(h, pod, VMBI_HOOK_POST, &l);
    assert_int_equal(l.n, 1);
    assert_string_equal(l.v[0].argv.v[0], "z");
    vmbi_hook_list_free(&l);
    hooks_of(h, empty, VMBI_HOOK_PRE, &l);
    assert_int_equal(l.n, 3);
    vmbi_hook_list_free(&l);
    vmbi_hooks_free(h);
}

static const struct {
    const char *filter; /* members of an entry */
    bool applies;
} filter_cases[] = {
    {"", true},
    {"\"includedNamespaces\":[\"shop\"],", true},
    {"\"includedNamespaces\":[\"sh*\"],", true},
    {"\"includedNamespaces\":[\"other\"],", false},
    {"\"excludedNamespaces\":[\"shop\"],", false},
    {"\"includedResources\":[\"po\"],", true},
    {"\"includedResources\":[\"Pod\"],", true},
    {"\"includedResources\":[\"vm\"],", false},
    {"\"excludedResources\":[\"pods\"],", false},
    {"\"labelSelector\":{\"matchLabels\":{\"app\":\"db\"}},", true},
    {"\"labelSelector\":{\"matchLabels\":{\"app\":\"web\"}},", false},
    {"\"labelSelector\":{},", true},
    {"\"labelSelector\":null,", true},
    {"\"includedNamespaces\":[\"shop\"],\"labelSelector\":{\"matchLabels\":{\"app\":\"web\"}},",
     false},
};

static void hook_filters_are_anded(void **state)
{
    char text[512];

    (void)state;
    for (size_t i = 0; i < VMBI_ARRAY_LEN(filter_cases); i++) {
        vmbi_hooks *h;
        vmbi_hook_list l;

        (void)snprintf(text, sizeof(text), "{\"resources\":[{%s\"name\":\"h\",\"pre\":[%s]}]}",
                       filter_cases[i].filter, EXEC("a", ""));
        h = compile(text);
        hooks_of(h, PLAIN, VMBI_HOOK_PRE, &l);
        if (l.n != (filter_cases[i].applies ? 1U : 0U)) {
            fail_msg("%s: %zu hooks", filter_cases[i].filter, l.n);
        }
        vmbi_hook_list_free(&l);
        vmbi_hooks_free(h);
    }
}

static void hooks_of_a_finished_pod_are_marked(void **state)
{
    vmbi_hooks *h = compile(TWO_ENTRIES);
    vmbi_hook_list l;

    (void)state;
    hooks_of(h, POD("", "", "Succeeded"), VMBI_HOOK_PRE, &l);
    assert_true(l.pod_finished);
    vmbi_hook_list_free(&l);
    vmbi_hooks_free(h);
}

static void hooks_malformed_are_refused(void **state)
{
    static const char *const bad[] = {
        "{\"resources\":{}}",
        "{\"resources\":[{\"name\":\"h\",\"pre\":{}}]}",
        "{\"resources\":[{\"name\":\"h\",\"pre\":[{}]}]}",
        "{\"resources\":[{\"name\":\"h\",\"pre\":[{\"exec\":{}}]}]}",
        "{\"resources\":[{\"name\":\"h\",\"pre\":[{\"exec\":{\"command\":[]}}]}]}",
        "{\"resources\":[{\"name\":\"h\",\"pre\":[{\"exec\":{\"command\":[1]}}]}]}",
        "{\"resources\":[{\"name\":\"h\",\"pre\":[" EXEC("a", ",\"timeout\":\"x\"") "]}]}",
        "{\"resources\":[{\"name\":\"h\",\"pre\":[" EXEC("a", ",\"onError\":\"fail\"") "]}]}",
        "{\"resources\":[{\"name\":\"h\",\"labelSelector\":{\"matchLabels\":{\"a b\":\"\"}}}]}",
        "{\"resources\":[{\"name\":\"h\",\"includedNamespaces\":\"a\"}]}",
    };

    (void)state;
    for (size_t i = 0; i < VMBI_ARRAY_LEN(bad); i++) {
        vmbi_json *doc = parse(bad[i]);
        vmbi_hooks *h = NULL;
        vmb_error *err = NULL;

        if (vmbi_hooks_compile(doc, discovery, &h, &err) != VMB_E_INVALID) {
            fail_msg("%s", bad[i]);
        }
        assert_null(h);
        assert_non_null(strstr(vmb_error_message(err), "spec.hooks.resources"));
        vmb_error_free(err);
        vmbi_json_free(doc);
    }
}

static void hooks_out_of_memory_leave_nothing(void **state)
{
    vmbi_json *doc = parse(TWO_ENTRIES);
    vmbi_json *pod = parse(PLAIN);

    (void)state;
    for (uint64_t n = 1; n < 2000; n++) {
        vmbi_hooks *h = NULL;
        vmbi_hook_list l = {0};
        vmb_code code;

        vmbi_alloc_fail_from(n);
        code = vmbi_hooks_compile(doc, discovery, &h, NULL);
        if (code == VMB_OK) {
            code = vmbi_hooks_for_pod(h, pod, VMBI_HOOK_PRE, DEFAULT_NS, &l, NULL);
        }
        vmbi_alloc_fail_from(0);
        vmbi_hook_list_free(&l);
        vmbi_hooks_free(h);
        if (code == VMB_OK) {
            vmbi_json_free(doc);
            vmbi_json_free(pod);
            return;
        }
        assert_int_equal(code, VMB_E_NOMEM);
    }
    fail_msg("never succeeded");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hooks_of_kubevirt_are_read),
        cmocka_unit_test(hook_commands_of_annotations_become_argv),
        cmocka_unit_test(hook_annotations_without_phase_mean_pre),
        cmocka_unit_test(hook_annotations_of_bad_values_warn),
        cmocka_unit_test(hook_containers_are_regular_ones_and_sidecars),
        cmocka_unit_test(hooks_of_the_spec_run_in_order),
        cmocka_unit_test(hook_annotation_suppresses_the_specs_hooks_of_its_phase),
        cmocka_unit_test(hook_filters_are_anded),
        cmocka_unit_test(hooks_of_a_finished_pod_are_marked),
        cmocka_unit_test(hooks_malformed_are_refused),
        cmocka_unit_test(hooks_out_of_memory_leave_nothing),
    };

    return cmocka_run_group_tests(tests, group_setup, group_teardown) != 0;
}
