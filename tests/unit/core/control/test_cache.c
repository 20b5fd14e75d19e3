/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "core/control/cache.h"

static const char *const fields[] = {"status.phase", "metadata.labels/velero.io/schedule-name",
                                     "spec.default", "spec.n", NULL};

static void put(vmbi_cache *c, const char *json)
{
    vmbi_json *v = NULL;
    assert_int_equal(vmbi_json_parse(json, strlen(json), "object", &v, NULL), VMB_OK);
    assert_int_equal(vmbi_cache_put(c, v, NULL, NULL), VMB_OK);
    vmbi_json_free(v);
}

static void object_keeps_its_fields_as_text(void **state)
{
    (void)state;
    vmbi_cache c = {.fields = fields};
    put(&c, "{\"metadata\":{\"name\":\"a\",\"labels\":{\"velero.io/schedule-name\":\"daily\"}},"
            "\"spec\":{\"default\":true,\"n\":-7,\"huge\":{\"not\":\"kept\"}},"
            "\"status\":{\"phase\":\"New\"}}");
    const vmbi_cached *e = vmbi_cache_get(&c, "a");
    assert_non_null(e);
    assert_string_equal(vmbi_cached_field(e, 0), "New");
    assert_string_equal(vmbi_cached_field(e, 1), "daily");
    assert_string_equal(vmbi_cached_field(e, 2), "true");
    assert_string_equal(vmbi_cached_field(e, 3), "-7");
    put(&c, "{\"metadata\":{\"name\":\"a\"}}");
    e = vmbi_cache_get(&c, "a");
    for (size_t i = 0; i < 4; i++) {
        assert_string_equal(vmbi_cached_field(e, i), "");
    }
    assert_int_equal(c.n, 1);
    vmbi_cache_free(&c);
}

static void objects_of_the_next_list_replace_those_of_the_former(void **state)
{
    (void)state;
    vmbi_cache c = {.fields = fields};
    char json[64];
    for (int i = 0; i < 1000; i++) {
        (void)snprintf(json, sizeof(json), "{\"metadata\":{\"name\":\"b-%d\"}}", i * 7919 % 1000);
        put(&c, json);
    }
    assert_int_equal(c.n, 1000);
    for (size_t i = 1; i < c.n; i++) {
        assert_true(strcmp(c.v[i - 1]->name, c.v[i]->name) < 0);
    }
    vmbi_cache_begin(&c);
    put(&c, "{\"metadata\":{\"name\":\"b-3\"}}");
    put(&c, "{\"metadata\":{\"name\":\"b-new\"}}");
    assert_int_equal(c.n, 1001); /* until the list has ended nothing is forgotten */
    vmbi_cache_end(&c);
    assert_int_equal(c.n, 2);
    assert_non_null(vmbi_cache_get(&c, "b-3"));
    assert_non_null(vmbi_cache_get(&c, "b-new"));
    vmbi_cache_drop(&c, "b-3");
    vmbi_cache_drop(&c, "b-unknown");
    assert_null(vmbi_cache_get(&c, "b-3"));
    assert_int_equal(c.n, 1);
    vmbi_cache_free(&c);
}

static void object_without_a_name_is_refused(void **state)
{
    (void)state;
    vmbi_cache c = {.fields = fields};
    vmbi_json *v = NULL;
    vmb_error *err = NULL;
    assert_int_equal(vmbi_json_parse("{\"metadata\":{}}", 15, "object", &v, NULL), VMB_OK);
    assert_int_equal(vmbi_cache_put(&c, v, NULL, &err), VMB_E_PROTOCOL);
    assert_non_null(err);
    vmb_error_free(err);
    vmbi_json_free(v);
    vmbi_cache_free(&c);
}

static void monstrous_field_counts_as_empty(void **state)
{
    (void)state;
    static char json[40000];
    vmbi_cache c = {.fields = fields};
    int n = snprintf(json, sizeof(json), "{\"metadata\":{\"name\":\"a\"},\"spec\":{\"default\":true},"
                                         "\"status\":{\"phase\":\"%030000d\"}}", 7);
    assert_true(n > 30000 && n < (int)sizeof(json));
    put(&c, json);
    const vmbi_cached *e = vmbi_cache_get(&c, "a");
    assert_non_null(e);
    assert_string_equal(vmbi_cached_field(e, 0), "");
    assert_string_equal(vmbi_cached_field(e, 2), "true");
    vmbi_cache_free(&c);
}

static void cache_without_memory_stays_whole(void **state)
{
    (void)state;
    vmbi_json *v = NULL;
    assert_int_equal(vmbi_json_parse("{\"metadata\":{\"name\":\"a\"}}", 25, "object", &v, NULL),
                     VMB_OK);
    for (uint64_t n = 1; n < 4; n++) {
        vmbi_cache c = {.fields = fields};
        vmbi_alloc_fail_from(n);
        vmb_code rc = vmbi_cache_put(&c, v, NULL, NULL);
        vmbi_alloc_fail_from(0);
        assert_int_equal(rc, VMB_E_NOMEM);
        assert_int_equal(c.n, 0);
        vmbi_cache_free(&c);
    }
    vmbi_json_free(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(object_keeps_its_fields_as_text),
        cmocka_unit_test(objects_of_the_next_list_replace_those_of_the_former),
        cmocka_unit_test(object_without_a_name_is_refused),
        cmocka_unit_test(monstrous_field_counts_as_empty),
        cmocka_unit_test(cache_without_memory_stays_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
