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
#include "model/location.h"

#define HEAD "apiVersion: velero.io/v1\nkind: BackupStorageLocation\nmetadata:\n  name: default\n"
#define GOOD HEAD "spec:\n  provider: aws\n  objectStorage:\n    bucket: b\n"

static vmb_code parse(const char *doc, vmbi_location *l, vmbi_problems *p, vmb_error **err)
{
    return vmbi_location_parse(doc, strlen(doc), "bsl", l, p, err);
}

static void location_of_every_field_is_read(void **state)
{
    static const char doc[] = HEAD "  namespace: openshift-adp\n"
                                   "  creationTimestamp: \"2026-05-20T08:00:00Z\"\n"
                                   "spec:\n"
                                   "  provider: velero.io/aws\n"
                                   "  default: true\n"
                                   "  accessMode: ReadOnly\n"
                                   "  backupSyncPeriod: 2m\n"
                                   "  validationFrequency: 0s\n"
                                   "  config: {region: minio, s3ForcePathStyle: \"true\"}\n"
                                   "  credential: {name: cloud-credentials, key: cloud}\n"
                                   "  objectStorage:\n"
                                   "    bucket: /velero/\n"
                                   "    prefix: //a/b/\n"
                                   "    caCert: LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCng=\n"
                                   "status: {phase: Available}\n";
    vmbi_location l;

    (void)state;
    assert_int_equal(parse(doc, &l, NULL, NULL), VMB_OK);
    assert_string_equal(l.name, "default");
    assert_string_equal(l.ns, "openshift-adp");
    assert_string_equal(l.provider, "velero.io/aws");
    assert_string_equal(l.bucket, "velero");
    assert_string_equal(l.prefix, "a/b");
    assert_string_equal(vmbi_json_get_str(l.config, "region"), "minio");
    assert_string_equal(l.ca_cert, "-----BEGIN CERTIFICATE-----\nx");
    assert_string_equal(l.credential_secret, "cloud-credentials");
    assert_string_equal(l.credential_key, "cloud");
    assert_string_equal(l.ca_cert_secret, "");
    assert_string_equal(l.creation_timestamp, "2026-05-20T08:00:00Z");
    assert_string_equal(l.phase, "Available");
    assert_true(l.read_only);
    assert_true(l.is_default);
    assert_true(vmbi_location_is_s3(&l));
    assert_int_equal(l.backup_sync_period_ns, 120 * VMBI_SECOND);
    assert_int_equal(l.validation_frequency_ns, 0);
    vmbi_location_free(&l);
}

static void location_of_few_fields_has_defaults(void **state)
{
    vmbi_location l;

    (void)state;
    assert_int_equal(parse(GOOD, &l, NULL, NULL), VMB_OK);
    assert_string_equal(l.prefix, "");
    assert_string_equal(l.ca_cert, "");
    assert_int_equal(vmbi_json_len(l.config), 0);
    assert_false(l.read_only);
    assert_false(l.is_default);
    assert_int_equal(l.backup_sync_period_ns, -1);
    vmbi_location_free(&l);
    /* a folder needs no bucket */
    assert_int_equal(
        parse(HEAD "spec:\n  provider: vmbackup.io/dir\n  config: {path: /x}\n", &l, NULL, NULL),
        VMB_OK);
    assert_false(vmbi_location_is_s3(&l));
    vmbi_location_free(&l);
}

static const struct {
    const char *doc;
    const char *field;
    int line;
} bad[] = {
    {"kind: Backup\napiVersion: velero.io/v1\nmetadata: {name: a}\nspec: {provider: aws, "
     "objectStorage: {bucket: b}}\n",
     "kind", 1},
    {"kind: BackupStorageLocation\napiVersion: v1\nmetadata: {name: a}\nspec: {provider: aws, "
     "objectStorage: {bucket: b}}\n",
     "apiVersion", 2},
    {HEAD "spec:\n  objectStorage:\n    bucket: b\n", "spec.provider", 0},
    {HEAD "spec:\n  provider: aws\n", "spec.objectStorage.bucket", 0},
    {HEAD "spec:\n  provider: aws\n  objectStorage:\n    bucket: a/b\n",
     "spec.objectStorage.bucket", 8},
    {GOOD "    caCert: \"%%%\"\n", "spec.objectStorage.caCert", 9},
    {GOOD "    caCert: aGVsbG8=\n", "spec.objectStorage.caCert", 9},
    {GOOD "    caCertRef: {name: s}\n", "spec.objectStorage.caCertRef", 9},
    {GOOD "    caCert: LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCng=\n"
          "    caCertRef: {name: s, key: k}\n",
     "spec.objectStorage.caCertRef", 10},
    {GOOD "  credential: {key: k}\n", "spec.credential", 9},
    {GOOD "  accessMode: readonly\n", "spec.accessMode", 9},
    {GOOD "  default: \"yes\"\n", "spec.default", 9},
    {GOOD "  config:\n    s3ForcePathStyle: true\n", "spec.config.s3ForcePathStyle", 10},
    {GOOD "  config: [a]\n", "spec.config", 9},
    {GOOD "  backupSyncPeriod: 1 minute\n", "spec.backupSyncPeriod", 9},
    {GOOD "  validationFrequency: 5\n", "spec.validationFrequency", 9},
    {"apiVersion: velero.io/v1\nkind: BackupStorageLocation\nmetadata:\n  name: <x>\nspec: "
     "{provider: aws, objectStorage: {bucket: b}}\n",
     "metadata.name", 4},
};

static void location_malformed_is_refused_with_its_field(void **state)
{
    (void)state;
    for (size_t i = 0; i < VMBI_ARRAY_LEN(bad); i++) {
        vmbi_location l = {0};
        vmbi_problems p = {0};
        vmb_error *err = NULL;
        vmb_code code = parse(bad[i].doc, &l, &p, &err);

        if (code != VMB_E_INVALID || p.n != 1 || strcmp(p.v[0].field, bad[i].field) != 0 ||
            (bad[i].line != 0 && p.v[0].line != bad[i].line)) {
            fail_msg("case %zu (%s): code %d, %zu problems, %s line %d", i, bad[i].field, (int)code,
                     p.n, p.n > 0 ? p.v[0].field : "", p.n > 0 ? p.v[0].line : 0);
        }
        assert_null(l.name);
        assert_non_null(strstr(vmb_error_message(err), "bsl"));
        vmb_error_free(err);
        vmbi_problems_free(&p);
        assert_int_equal(parse(bad[i].doc, &l, NULL, NULL), VMB_E_INVALID);
    }
}

static void location_out_of_memory_leaves_nothing(void **state)
{
    vmbi_json *tree = NULL;

    (void)state;
    assert_int_equal(vmbi_doc_parse(GOOD, strlen(GOOD), "bsl", NULL, &tree, NULL, NULL), VMB_OK);
    for (uint64_t n = 1; n < 200; n++) {
        vmbi_location l = {0};
        vmb_code code;

        vmbi_alloc_fail_from(n);
        code = vmbi_location_from_tree(tree, "bsl", &l, NULL, NULL);
        vmbi_alloc_fail_from(0);
        vmbi_location_free(&l);
        if (code == VMB_OK) {
            vmbi_json_free(tree);
            return;
        }
        assert_int_equal(code, VMB_E_NOMEM);
    }
    fail_msg("never succeeded");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(location_of_every_field_is_read),
        cmocka_unit_test(location_of_few_fields_has_defaults),
        cmocka_unit_test(location_malformed_is_refused_with_its_field),
        cmocka_unit_test(location_out_of_memory_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
