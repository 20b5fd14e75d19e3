/* SPDX-License-Identifier: Apache-2.0 */
/* Locations that a cluster holds: broken ones beside good ones, several defaults, sizes of S3. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include <vmbackup/vmbackup.h>

#include "support/fakes.h"

#define BSL "backupstoragelocations.velero.io"

static void expect_in(const char *text, const char *wanted)
{
    if (strstr(text, wanted) == NULL) {
        fail_msg("%s is not in %s", wanted, text);
    }
}

static char *load(fakes *f, vmb_ctx **ctx)
{
    vmb_error *err = NULL;
    size_t count = 0;
    char *out = NULL;
    *ctx = fakes_ctx(f);
    if (vmb_ctx_load_locations(*ctx, &count, &err) != VMB_OK) {
        fail_msg("%s", vmb_error_message(err));
    }
    assert_int_equal(vmb_ctx_locations_json(*ctx, 1, &out, NULL, NULL), VMB_OK);
    return out;
}

static void location_that_is_broken_is_unavailable(void **state)
{
    (void)state;
    fakes f;
    vmb_ctx *ctx = NULL;
    vmb_catalog *cat = NULL;
    vmb_error *err = NULL;
    char *out = NULL;
    fakes_init(&f);
    fakes_add(&f, BSL, "{\"metadata\":{\"name\":\"cloud\",\"namespace\":\"velero\"},\"spec\":{"
                       "\"provider\":\"gcp\",\"objectStorage\":{\"bucket\":\"b\"}}}");
    fakes_add(&f, BSL, "{\"metadata\":{\"name\":\"secretless\",\"namespace\":\"velero\"},\"spec\":{"
                       "\"provider\":\"aws\",\"objectStorage\":{\"bucket\":\"b\"},\"credential\":"
                       "{\"name\":\"gone\",\"key\":\"cloud\"},\"config\":{\"region\":\"x\"}}}");
    fakes_add(&f, BSL, "{\"metadata\":{\"name\":\"good\",\"namespace\":\"velero\"},\"spec\":{"
                       "\"provider\":\"vmbackup.io/dir\",\"config\":{\"path\":\"/tmp\"}}}");
    out = load(&f, &ctx);
    expect_in(out, "\"name\":\"cloud\",\"phase\":\"Unavailable\"");
    expect_in(out, "gcp is unknown");
    expect_in(out, "\"name\":\"secretless\",\"phase\":\"Unavailable\"");
    expect_in(out, "secret velero/gone");
    expect_in(out, "\"name\":\"good\"");
    vmb_free(out);
    assert_int_equal(vmb_catalog_open(ctx, "secretless", &cat, NULL), VMB_OK);
    assert_int_equal(vmb_catalog_list_json(cat, &out, NULL, &err), VMB_E_INVALID);
    expect_in(vmb_error_message(err), "secret velero/gone");
    vmb_error_free(err);
    vmb_catalog_free(cat);
    vmb_ctx_unref(ctx);
    fakes_done(&f);
}

static void location_made_last_is_the_default_one(void **state)
{
    static const char *const times[] = {"2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z",
                                        "2026-01-01T00:00:00Z"};
    (void)state;
    fakes f;
    vmb_ctx *ctx = NULL;
    fakes_init(&f);
    assert_int_equal(vmb_ctx_new(&ctx, NULL), VMB_OK);
    for (size_t i = 0; i < 3; i++) {
        char doc[512];
        int n = snprintf(doc, sizeof(doc),
                         "{\"apiVersion\":\"velero.io/v1\",\"kind\":\"BackupStorageLocation\","
                         "\"metadata\":{\"name\":\"l%zu\",\"creationTimestamp\":\"%s\"},\"spec\":{"
                         "\"provider\":\"vmbackup.io/dir\",\"default\":true,\"config\":{\"path\":"
                         "\"/tmp\"}}}", i, times[i]);
        assert_int_equal(vmb_ctx_add_location(ctx, doc, (size_t)n, NULL), VMB_OK);
    }
    vmb_catalog *cat = NULL;
    vmb_error *err = NULL;
    char *out = NULL;
    assert_int_equal(vmb_catalog_open(ctx, NULL, &cat, NULL), VMB_OK);
    assert_int_equal(vmb_catalog_describe_json(cat, "none", &out, NULL, &err), VMB_E_NOT_FOUND);
    expect_in(vmb_error_message(err), "in location l1");
    vmb_error_free(err);
    vmb_catalog_free(cat);
    vmb_ctx_unref(ctx);
    fakes_done(&f);
}

static vmb_code add_s3(const char *config, const char *annotations, vmb_error **err)
{
    static const char keys[] = "[default]\naws_access_key_id = a\naws_secret_access_key = b\n";
    char path[] = "/tmp/vmb-keys-XXXXXX";
    char doc[1024];
    vmb_ctx *ctx = NULL;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, keys, sizeof(keys) - 1), sizeof(keys) - 1);
    (void)close(fd);
    assert_int_equal(vmb_ctx_new(&ctx, NULL), VMB_OK);
    int n = snprintf(doc, sizeof(doc),
                     "{\"apiVersion\":\"velero.io/v1\",\"kind\":\"BackupStorageLocation\","
                     "\"metadata\":{\"name\":\"l\",\"annotations\":{%s}},\"spec\":{\"provider\":"
                     "\"aws\",\"objectStorage\":{\"bucket\":\"b\"},\"config\":{\"region\":\"x\",\"credentialsFile\":"
                     "\"%s\"%s}}}", annotations, path, config);
    vmb_code rc = vmb_ctx_add_location(ctx, doc, (size_t)n, err);
    vmb_ctx_unref(ctx);
    (void)unlink(path);
    return rc;
}

static void location_sizes_of_s3_can_be_set(void **state)
{
    vmb_error *err = NULL;
    (void)state;
    assert_int_equal(add_s3(",\"partSize\":\"16Mi\",\"partsInFlight\":\"3\"", "", NULL), VMB_OK);
    assert_int_equal(add_s3("", "\"vmbackup.io/part-size\":\"16Mi\"", NULL), VMB_OK);
    assert_int_not_equal(add_s3(",\"partSize\":\"1Ki\"", "", &err), VMB_OK); /* S3 has a least size */
    expect_in(vmb_error_message(err), "partSize");
    vmb_error_free(err);
    err = NULL;
    assert_int_not_equal(add_s3(",\"partSize\":\"large\"", "", &err), VMB_OK);
    expect_in(vmb_error_message(err), "partSize");
    vmb_error_free(err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(location_that_is_broken_is_unavailable),
        cmocka_unit_test(location_made_last_is_the_default_one),
        cmocka_unit_test(location_sizes_of_s3_can_be_set),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0 ? 1 : 0;
}
