/* SPDX-License-Identifier: Apache-2.0 */
/* DataProtectionApplications: the locations that come out, and everything that OADP refuses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "codec/yaml.h"
#include "model/dpa.h"

static vmbi_json *tree_of(const char *yaml)
{
    vmbi_json *doc = NULL;
    vmb_error *err = NULL;
    if (vmbi_doc_parse(yaml, strlen(yaml), "test", NULL, &doc, NULL, &err) != VMB_OK) {
        fail_msg("%s", vmb_error_message(err));
    }
    return doc;
}

static vmb_code look(void *user, const char *secret, const char *key, bool *found, vmb_error **err)
{
    (void)err;
    *found = strcmp(secret, user) == 0 && strcmp(key, "cloud") == 0;
    return VMB_OK;
}

static const char good[] =
    "apiVersion: oadp.openshift.io/v1alpha1\nkind: DataProtectionApplication\n"
    "metadata: {name: dpa, namespace: openshift-adp}\n"
    "spec:\n"
    "  backupLocations:\n"
    "  - velero:\n"
    "      provider: aws\n"
    "      default: true\n"
    "      objectStorage: {bucket: vms, prefix: velero}\n"
    "      config: {region: minio, s3ForcePathStyle: \"true\", s3Url: \"https://minio:443/\"}\n"
    "  configuration:\n"
    "    velero: {defaultPlugins: [openshift, aws, kubevirt, csi], defaultSnapshotMoveData: true}\n"
    "    nodeAgent: {enable: true, uploaderType: kopia}\n";

static void dpa_gives_locations_and_defaults(void **state)
{
    (void)state;
    vmbi_dpa d = {0};
    char *text = NULL;
    char name[] = "cloud-credentials";
    vmbi_dpa_secrets secrets = {look, name};
    vmbi_json *doc = tree_of(good);
    assert_int_equal(vmbi_dpa_from_tree(doc, "dpa", 0, &secrets, &d, NULL, NULL), VMB_OK);
    assert_int_equal(vmbi_json_to_text(d.locations, &text, NULL, NULL), VMB_OK);
    assert_string_equal(
        text,
        "[{\"apiVersion\":\"velero.io/v1\",\"kind\":\"BackupStorageLocation\",\"metadata\":"
        "{\"labels\":{\"app.kubernetes.io/component\":\"bsl\",\"app.kubernetes.io/instance\":"
        "\"dpa-1\",\"app.kubernetes.io/managed-by\":\"oadp-operator\",\"app.kubernetes.io/name\":"
        "\"oadp-operator-velero\",\"openshift.io/oadp\":\"True\",\"openshift.io/oadp-registry\":"
        "\"True\"},\"name\":\"dpa-1\",\"namespace\":\"openshift-adp\"},\"spec\":{\"config\":"
        "{\"checksumAlgorithm\":\"\",\"region\":\"minio\",\"s3ForcePathStyle\":\"true\",\"s3Url\":"
        "\"https://minio\"},\"credential\":{\"key\":\"cloud\",\"name\":\"cloud-credentials\"},"
        "\"default\":true,\"objectStorage\":{\"bucket\":\"vms\",\"prefix\":\"velero\"},"
        "\"provider\":\"aws\"}}]");
    vmbi_free(text);
    assert_true(d.node_agent && d.backup_images);
    assert_string_equal(d.uploader, "kopia");
    assert_int_equal(d.move_data_default, 1);
    assert_int_equal(d.fs_backup_default, -1);
    assert_true(vmbi_strs_has(&d.features, "EnableCSI"));
    vmbi_dpa_free(&d);
    vmbi_json_free(doc);
}

/* The good one with a piece replaced must give a problem that says so. */
static void expect_problem(const char *piece, const char *by, const char *says)
{
    char text[4096];
    const char *at = strstr(good, piece);
    vmbi_dpa d = {0};
    vmbi_problems p = {0};
    bool found = false;
    char name[] = "cloud-credentials";
    vmbi_dpa_secrets secrets = {look, name};
    assert_non_null(at);
    (void)snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - good), good, by, at + strlen(piece));
    vmbi_json *doc = tree_of(text);
    if (vmbi_dpa_from_tree(doc, "dpa", 0, &secrets, &d, &p, NULL) != VMB_E_INVALID) {
        fail_msg("accepted: %s", by);
    }
    for (size_t i = 0; i < p.n; i++) {
        char line[1024];
        (void)snprintf(line, sizeof(line), "%s %s", p.v[i].field, p.v[i].message);
        found = found || strstr(line, says) != NULL;
    }
    if (!found) {
        fail_msg("%s: not told: %s", by, says);
    }
    vmbi_problems_free(&p);
    vmbi_json_free(doc);
}

static void dpa_mistakes_are_told(void **state)
{
    (void)state;
    expect_problem("default: true\n", "default: false\n", "none is the default");
    expect_problem(", prefix: velero", "", "prefix is missing, and images are backed up");
    expect_problem("provider: aws", "provider: ceph", "provider is unknown");
    expect_problem("bucket: vms, ", "", "bucket is missing");
    expect_problem("region: minio, ", "", "config.region is missing");
    expect_problem("uploaderType: kopia", "uploaderType: tape", "must be kopia or restic");
    expect_problem(", csi]", ", csi, vsm]", "vsm is gone");
    expect_problem("aws, kubevirt", "aws, legacy-aws", "exclude each other");
    expect_problem("defaultSnapshotMoveData: true", "noDefaultBackupLocation: true",
                   "noDefaultBackupLocation is set");
    expect_problem("  configuration:\n", "  features: {dataMover: {}}\n  configuration:\n",
                   "is not read any more");
    expect_problem("  - velero:\n", "  - bucket: {}\n    velero:\n", "has velero and bucket");
    expect_problem("  - velero:\n      provider: aws\n      default: true\n",
                   "  - name: default\n    velero:\n      provider: aws\n",
                   "must be the default one");
    expect_problem("      default: true\n", "      default: true\n      credential: {name: none, key: x}\n",
                   "the Secret none is missing, or its key x is empty");
    expect_problem("  configuration:\n",
                   "  snapshotLocations:\n  - velero: {provider: gcp, config: {zone: x}}\n"
                   "  configuration:\n", "velero.config.zone is unknown");
    expect_problem("  configuration:\n",
                   "  snapshotLocations:\n  - velero: {provider: gcp}\n  configuration:\n",
                   "its plugin is not among the plugins");
}

static void dpa_second_one_is_refused(void **state)
{
    (void)state;
    vmbi_dpa d = {0};
    vmb_error *err = NULL;
    vmbi_json *doc = tree_of(good);
    assert_int_equal(vmbi_dpa_from_tree(doc, "dpa", 1, NULL, &d, NULL, &err), VMB_E_INVALID);
    assert_non_null(strstr(vmb_error_message(err), "1 more DataProtectionApplications"));
    vmb_error_free(err);
    vmbi_json_free(doc);
}

static void dpa_condition_keeps_its_time(void **state)
{
    (void)state;
    vmbi_json *patch = NULL;
    char *text = NULL;
    int64_t now = 0;
    assert_true(vmbi_parse_rfc3339("2026-11-24T12:00:00Z", &now));
    vmbi_json *doc = tree_of("status: {conditions: [{type: Other, status: \"True\"}, {type: "
                             "Reconciled, status: \"True\", lastTransitionTime: \"t\"}]}");
    assert_int_equal(vmbi_dpa_status_patch(doc, NULL, now, &patch, NULL), VMB_OK);
    assert_int_equal(vmbi_json_to_text(patch, &text, NULL, NULL), VMB_OK);
    assert_string_equal(text,
                        "{\"status\":{\"conditions\":[{\"status\":\"True\",\"type\":\"Other\"},"
                        "{\"lastTransitionTime\":\"t\",\"message\":\"Reconcile complete\","
                        "\"reason\":\"Complete\",\"status\":\"True\",\"type\":\"Reconciled\"}]}}");
    vmbi_free(text);
    vmbi_json_free(patch);
    assert_int_equal(vmbi_dpa_status_patch(doc, "no bucket", now, &patch, NULL), VMB_OK);
    assert_int_equal(vmbi_json_to_text(patch, &text, NULL, NULL), VMB_OK);
    assert_non_null(strstr(text, "\"lastTransitionTime\":\"2026-11-24T12:00:00Z\",\"message\":"
                                 "\"no bucket\",\"reason\":\"Error\",\"status\":\"False\""));
    vmbi_free(text);
    vmbi_json_free(patch);
    vmbi_json_free(doc);
}

static void dpa_memory_runs_out_anywhere(void **state)
{
    (void)state;
    vmbi_json *doc = tree_of(good);
    for (uint64_t n = 1; n < 5000; n++) {
        vmbi_dpa d = {0};
        vmbi_json *patch = NULL;
        vmbi_alloc_fail_from(n);
        vmb_code rc = vmbi_dpa_from_tree(doc, "dpa", 0, NULL, &d, NULL, NULL);
        if (rc == VMB_OK) {
            rc = vmbi_dpa_status_patch(doc, "x", 0, &patch, NULL);
        }
        vmbi_alloc_fail_from(0);
        vmbi_json_free(patch);
        vmbi_dpa_free(&d);
        if (rc == VMB_OK) {
            vmbi_json_free(doc);
            return;
        }
        assert_int_equal(rc, VMB_E_NOMEM);
    }
    fail();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dpa_gives_locations_and_defaults),
        cmocka_unit_test(dpa_mistakes_are_told),
        cmocka_unit_test(dpa_second_one_is_refused),
        cmocka_unit_test(dpa_condition_keeps_its_time),
        cmocka_unit_test(dpa_memory_runs_out_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0 ? 1 : 0;
}
