/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "model/backup.h"
#include "model/fields.h"

static void expect_defaults(const char *doc, const char *location, const char *want)
{
    vmbi_json *tree = NULL;
    vmbi_json *made = NULL;
    char *text = NULL;

    assert_int_equal(vmbi_json_parse(doc, strlen(doc), "test", &tree, NULL), VMB_OK);
    assert_int_equal(vmbi_backup_defaulted(tree, location, &made, NULL), VMB_OK);
    assert_int_equal(vmbi_json_to_text(made, &text, NULL, NULL), VMB_OK);
    assert_string_equal(text, want);
    vmbi_free(text);
    vmbi_json_free(made);
    vmbi_json_free(tree);
}

#define KIND "{\"apiVersion\":\"velero.io/v1\",\"kind\":\"Backup\","
#define TIMES "\"csiSnapshotTimeout\":\"10m0s\","

static void backup_defaults_are_those_of_velero(void **state)
{
    (void)state;
    expect_defaults("{}", NULL,
                    KIND "\"metadata\":{},\"spec\":{" TIMES
                         "\"hooks\":{},\"includedNamespaces\":[\"*\"],\"itemOperationTimeout\":"
                         "\"4h0m0s\",\"metadata\":{},\"ttl\":\"720h0m0s\"}}");
    expect_defaults("{\"status\":{\"phase\":\"New\"},\"metadata\":{\"name\":\"a\"},\"spec\":{"
                    "\"ttl\":\"24h\",\"csiSnapshotTimeout\":\"0s\",\"includedNamespaces\":[],"
                    "\"defaultVolumesToRestic\":true,\"defaultVolumesToFsBackup\":false}}",
                    "main",
                    KIND "\"metadata\":{\"name\":\"a\"},\"spec\":{" TIMES
                         "\"defaultVolumesToFsBackup\":true,\"defaultVolumesToRestic\":true,"
                         "\"hooks\":{},\"includedNamespaces\":[\"*\"],\"itemOperationTimeout\":"
                         "\"4h0m0s\",\"metadata\":{},\"storageLocation\":\"main\",\"ttl\":"
                         "\"24h0m0s\"}}");
    expect_defaults("{\"spec\":{\"storageLocation\":\"x\",\"defaultVolumesToRestic\":false,"
                    "\"includedNamespaces\":[\"a\"],\"itemOperationTimeout\":\"90m\"}}",
                    "main",
                    KIND "\"metadata\":{},\"spec\":{" TIMES
                         "\"defaultVolumesToRestic\":false,\"hooks\":{},\"includedNamespaces\":["
                         "\"a\"],\"itemOperationTimeout\":\"1h30m0s\",\"metadata\":{},"
                         "\"storageLocation\":\"x\",\"ttl\":\"720h0m0s\"}}");
}

static void backup_clone_keeps_places_after_the_original_is_gone(void **state)
{
    static const char doc[] = "apiVersion: velero.io/v1\nkind: Backup\nmetadata: {name: a}\n"
                              "spec:\n  ttl: x\n";
    vmb_spec *spec = NULL;
    vmb_spec *copy = NULL;
    vmbi_problems p = {0};

    (void)state;
    assert_int_equal(vmbi_spec_parse(doc, sizeof(doc) - 1, "b.yaml", &spec, NULL), VMB_OK);
    assert_int_equal(vmbi_spec_clone(spec, &copy, NULL), VMB_OK);
    vmbi_spec_free(spec);
    assert_string_equal(copy->source, "b.yaml");
    assert_string_equal(vmbi_json_path_str(copy->root, "metadata.name"), "a");
    assert_int_equal(vmbi_backup_validate(copy, &p, NULL), VMB_OK);
    assert_int_equal(p.n, 1);
    assert_int_equal(p.v[0].line, 5);
    vmbi_problems_free(&p);
    vmbi_spec_free(copy);
}

/* ---- paths ---------------------------------------------------------------------------------- */

static const struct {
    const char *path;
    size_t steps; /* 0: refused */
    vmbi_field_type type;
    const char *message; /* part of it, when refused */
} path_cases[] = {
    {"metadata.name", 2, VMBI_FIELD_STRING, NULL},
    {"spec", 1, VMBI_FIELD_OBJECT, NULL},
    {"spec.ttl", 2, VMBI_FIELD_DURATION, NULL},
    {"spec.hooks.resources[0].pre[10].exec.command[2]", 9, VMBI_FIELD_STRING, NULL},
    {"spec.hooks.resources", 3, VMBI_FIELD_OBJECTS, NULL},
    {"spec.hooks.resources[1]", 4, VMBI_FIELD_OBJECT, NULL},
    {"metadata.labels", 2, VMBI_FIELD_MAP, NULL},
    {"metadata.labels[\"velero.io/x\"]", 3, VMBI_FIELD_STRING, NULL},
    {"metadata.labels.velero.io/x", 3, VMBI_FIELD_STRING, NULL},
    {"spec.includedNamespaces[0]", 3, VMBI_FIELD_STRING, NULL},
    {"status.progress.totalItems", 3, VMBI_FIELD_ANY, NULL},
    {"metadata.ownerReferences[0].name", 4, VMBI_FIELD_ANY, NULL},
    {"spec.includedNamespace", 0, 0, "includedNamespaces"},
    {"spec.TTL", 0, 0, "\"ttl\""},
    {"specs.ttl", 0, 0, "\"spec\""},
    {"spec.hooks.resources[0].prehooks", 0, 0, "unknown"},
    {"spec.zzzzzzzzzzzz", 0, 0, "unknown"},
    {"", 0, 0, "missing"},
    {"spec.", 0, 0, "missing"},
    {"spec..ttl", 0, 0, "missing"},
    {"spec.ttl.x", 0, 0, "cannot be a member"},
    {"spec.ttl[0]", 0, 0, "needs a list"},
    {"spec[0]", 0, 0, "needs a list"},
    {"spec.hooks.resources.name", 0, 0, "cannot be a member"},
    {"spec.includedNamespaces[", 0, 0, "number"},
    {"spec.includedNamespaces[x]", 0, 0, "number"},
    {"spec.includedNamespaces[-1]", 0, 0, "number"},
    {"spec.includedNamespaces[99999999999]", 0, 0, "number"},
    {"spec.includedNamespaces[0]x", 0, 0, "after ']'"},
    {"metadata.labels[\"x", 0, 0, "without"},
    {"[0]", 0, 0, "missing"},
};

static void path_cases_are_checked_against_the_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < VMBI_ARRAY_LEN(path_cases); i++) {
        vmbi_path p;
        vmb_error *err = NULL;
        vmb_code code = vmbi_path_parse(path_cases[i].path, &p, &err);

        if (path_cases[i].steps == 0) {
            if (code != VMB_E_ARG ||
                strstr(vmb_error_message(err), path_cases[i].message) == NULL) {
                fail_msg("%s: %d %s", path_cases[i].path, (int)code, vmb_error_message(err));
            }
        } else if (code != VMB_OK || p.n != path_cases[i].steps || p.type != path_cases[i].type) {
            fail_msg("%s: %d %s", path_cases[i].path, (int)code, vmb_error_message(err));
        }
        vmb_error_free(err);
    }
}

static void path_too_long_is_refused(void **state)
{
    char text[VMBI_PATH_MAX_BYTES + 1] = "status";
    vmbi_path p;

    (void)state;
    for (size_t i = strlen(text); i + 2 < VMBI_PATH_MAX_BYTES; i += 2) {
        memcpy(text + i, ".a", 3);
    }
    assert_int_equal(vmbi_path_parse(text, &p, NULL), VMB_E_ARG);
    memset(text, 'a', VMBI_PATH_MAX_BYTES);
    text[VMBI_PATH_MAX_BYTES] = '\0';
    assert_int_equal(vmbi_path_parse(text, &p, NULL), VMB_E_ARG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(backup_defaults_are_those_of_velero),
        cmocka_unit_test(backup_clone_keeps_places_after_the_original_is_gone),
        cmocka_unit_test(path_cases_are_checked_against_the_table),
        cmocka_unit_test(path_too_long_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
