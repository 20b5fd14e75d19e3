/* SPDX-License-Identifier: Apache-2.0 */
/* Dry runs over providers in memory: what they tell, and that they touch nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include <vmbackup/vmbackup.h>

#include "base/alloc.h"
#include "support/fakes.h"

static void add_shop(fakes *f)
{
    fakes_add(f, "namespaces",
              "{\"metadata\":{\"name\":\"shop\"},\"status\":{\"phase\":\"Active\"}}");
    fakes_add(f, "pods",
              "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"launcher\","
              "\"namespace\":\"shop\",\"annotations\":{\"pre.hook.backup.velero.io/command\":"
              "\"[\\\"freeze\\\"]\",\"post.hook.backup.velero.io/command\":\"[\\\"thaw\\\"]\"}},"
              "\"spec\":{\"containers\":[{\"name\":\"compute\"}],\"volumes\":[{\"name\":\"disk\","
              "\"persistentVolumeClaim\":{\"claimName\":\"disk\"}}]},\"status\":{\"phase\":"
              "\"Running\"}}");
    fakes_add(f, "persistentvolumeclaims",
              "{\"apiVersion\":\"v1\",\"kind\":\"PersistentVolumeClaim\",\"metadata\":{\"name\":"
              "\"disk\",\"namespace\":\"shop\"},\"spec\":{\"volumeName\":\"pv-1\"},"
              "\"status\":{\"phase\":\"Bound\"}}");
    fakes_add(f, "persistentvolumes",
              "{\"apiVersion\":\"v1\",\"kind\":\"PersistentVolume\",\"metadata\":{\"name\":"
              "\"pv-1\"},\"spec\":{\"persistentVolumeReclaimPolicy\":\"Delete\"}}");
    fakes_add(f, "configmaps",
              "{\"metadata\":{\"name\":\"secret\",\"namespace\":\"shop\",\"labels\":{"
              "\"velero.io/exclude-from-backup\":\"true\"}},\"data\":{\"a\":\"b\"}}");
}

static vmb_ctx *shop_ctx(fakes *f)
{
    vmb_ctx *ctx = fakes_ctx(f);
    assert_non_null(ctx);
    assert_int_equal(vmb_ctx_use(ctx, "actions.kubernetes", NULL, 0, NULL), VMB_OK);
    return ctx;
}

static vmb_spec *shop_spec(void)
{
    vmb_spec *spec = NULL;
    assert_int_equal(vmb_spec_new("b1", &spec, NULL), VMB_OK);
    assert_int_equal(vmb_spec_add_string(spec, "spec.includedNamespaces", "shop", NULL), VMB_OK);
    return spec;
}

static void expect_in(const char *text, const char *wanted)
{
    if (strstr(text, wanted) == NULL) {
        fail_msg("%s is not in %s", wanted, text);
    }
}

static void plan_tells_what_a_backup_takes(void **state)
{
    (void)state;
    fakes f;
    char *out = NULL;
    vmb_error *err = NULL;
    fakes_init(&f);
    add_shop(&f);
    vmb_ctx *ctx = shop_ctx(&f);
    vmb_spec *spec = shop_spec();
    if (vmb_run_plan_json(ctx, spec, &out, NULL, &err) != VMB_OK) {
        fail_msg("%s", vmb_error_message(err));
    }
    expect_in(out, "{\"name\":\"launcher\",\"namespace\":\"shop\",\"resource\":\"pods\"}");
    expect_in(out, "{\"name\":\"disk\",\"namespace\":\"shop\",\"resource\":"
                   "\"persistentvolumeclaims\"}");
    expect_in(out, "{\"name\":\"pv-1\",\"namespace\":\"\",\"resource\":\"persistentvolumes\"}");
    expect_in(out, "{\"name\":\"shop\",\"namespace\":\"\",\"resource\":\"namespaces\"}");
    expect_in(out, "\"leftOut\":[{\"name\":\"secret\",\"namespace\":\"shop\",\"reason\":");
    expect_in(out, "\"method\":\"snapshot\",\"namespace\":\"shop\",\"provider\":");
    expect_in(out, "\"command\":[\"freeze\"],\"container\":\"compute\",\"namespace\":\"shop\","
                   "\"phase\":\"pre\",\"pod\":\"launcher\"");
    expect_in(out, "\"command\":[\"thaw\"]");
    expect_in(out, "\"leftOutTypes\":[\"volumesnapshots.snapshot.storage.k8s.io\"]");
    vmb_free(out);
    assert_int_equal(f.n_journal, 0); /* no hook, no snapshot, no object in the store */
    assert_int_equal(f.n_files, 0);
    vmb_spec_free(spec);
    vmb_ctx_unref(ctx);
    fakes_done(&f);
}

static void plan_of_a_refused_backup_says_why(void **state)
{
    (void)state;
    fakes f;
    char *out = NULL;
    vmb_error *err = NULL;
    fakes_init(&f);
    vmb_ctx *ctx = shop_ctx(&f);
    vmb_spec *spec = shop_spec();
    assert_int_equal(vmb_spec_set_string(spec, "spec.storageLocation", "none", NULL), VMB_OK);
    assert_int_equal(vmb_run_plan_json(ctx, spec, &out, NULL, &err), VMB_E_INVALID);
    expect_in(vmb_error_message(err), "storage location none does not exist");
    assert_null(out);
    vmb_error_free(err);
    vmb_spec_free(spec);
    vmb_ctx_unref(ctx);
    fakes_done(&f);
}

static void plan_memory_runs_out_anywhere(void **state)
{
    (void)state;
    fakes f;
    fakes_init(&f);
    add_shop(&f);
    vmb_ctx *ctx = shop_ctx(&f);
    vmb_spec *spec = shop_spec();
    for (uint64_t n = 1; n < 100000; n += 1 + n / 100) {
        char *out = NULL;
        vmbi_alloc_fail_from(n);
        vmb_code rc = vmb_run_plan_json(ctx, spec, &out, NULL, NULL);
        vmbi_alloc_fail_from(0);
        vmb_free(out);
        if (rc == VMB_OK) {
            vmb_spec_free(spec);
            vmb_ctx_unref(ctx);
            fakes_done(&f);
            return;
        }
        assert_int_equal(rc, VMB_E_NOMEM);
    }
    fail();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plan_tells_what_a_backup_takes),
        cmocka_unit_test(plan_of_a_refused_backup_says_why),
        cmocka_unit_test(plan_memory_runs_out_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0 ? 1 : 0;
}
