/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/map.h"

static int freed;

static void count_free(void *p)
{
    freed++;
    vmbi_free(p);
}

static void map_many_keys_are_found_in_order(void **state)
{
    static int values[5000];
    vmbi_map m = VMBI_MAP_INIT(NULL);
    char key[16];

    (void)state;
    assert_null(vmbi_map_get(&m, "absent"));
    assert_false(vmbi_map_has(&m, "absent"));
    for (int i = 0; i < 5000; i++) {
        (void)snprintf(key, sizeof(key), "key-%d", i * 7);
        assert_int_equal(vmbi_map_set(&m, key, &values[i], NULL), VMB_OK);
    }
    assert_int_equal(m.n, 5000);
    for (int i = 0; i < 5000; i++) {
        (void)snprintf(key, sizeof(key), "key-%d", i * 7);
        assert_ptr_equal(vmbi_map_get(&m, key), &values[i]);
        assert_string_equal(m.entries[i].key, key);
        (void)snprintf(key, sizeof(key), "key-%d", i * 7 + 1);
        assert_false(vmbi_map_has(&m, key));
    }
    vmbi_map_free(&m);
    assert_int_equal(m.n, 0);
    assert_false(vmbi_map_has(&m, "key-0"));
}

static void map_null_value_is_a_member(void **state)
{
    vmbi_map m = VMBI_MAP_INIT(NULL);

    (void)state;
    assert_int_equal(vmbi_map_set(&m, "", NULL, NULL), VMB_OK);
    assert_null(vmbi_map_get(&m, ""));
    assert_true(vmbi_map_has(&m, ""));
    vmbi_map_free(&m);
}

static void map_replaced_value_is_freed_once(void **state)
{
    vmbi_map m = VMBI_MAP_INIT(count_free);
    void *b = vmbi_alloc(1);

    (void)state;
    freed = 0;
    assert_int_equal(vmbi_map_set(&m, "k", vmbi_alloc(1), NULL), VMB_OK);
    assert_int_equal(vmbi_map_set(&m, "k", b, NULL), VMB_OK);
    assert_int_equal(freed, 1);
    assert_int_equal(vmbi_map_set(&m, "k", b, NULL), VMB_OK);
    assert_int_equal(freed, 1);
    assert_int_equal(m.n, 1);
    vmbi_map_free(&m);
    assert_int_equal(freed, 2);
    assert_ptr_equal(m.free_value, count_free);
}

static void map_without_memory_keeps_values_apart(void **state)
{
    (void)state;
    for (uint64_t n = 1;; n++) {
        vmbi_map m = VMBI_MAP_INIT(count_free);
        void *value = NULL;
        vmb_error *err = NULL;
        vmb_code code = VMB_OK;
        char key[16];
        int made = 0;

        freed = 0;
        for (int i = 0; i < 40 && code == VMB_OK; i++) {
            value = vmbi_alloc(1); /* before the hook: it counts from the set */
            (void)snprintf(key, sizeof(key), "%d", i);
            vmbi_alloc_fail_from(n > (uint64_t)i * 3 ? n - (uint64_t)i * 3 : 0);
            code = vmbi_map_set(&m, key, value, &err);
            vmbi_alloc_fail_from(0);
            made += code == VMB_OK ? 1 : 0;
        }
        assert_int_equal(m.n, (size_t)made);
        if (code != VMB_OK) {
            assert_int_equal(code, VMB_E_NOMEM);
            assert_false(vmbi_map_has(&m, key));
            vmbi_free(value);
        }
        for (int i = 0; i < made; i++) {
            (void)snprintf(key, sizeof(key), "%d", i);
            assert_true(vmbi_map_has(&m, key));
        }
        vmbi_map_free(&m);
        assert_int_equal(freed, made);
        vmb_error_free(err);
        if (n > 60) {
            return;
        }
    }
}

static vmbi_key16 key_of(uint32_t i)
{
    vmbi_key16 k = {{0}};

    uint32_t h = i / 2 * 2654435761u;

    /* pairs collide in the first eight bytes, which are the hash */
    memcpy(k.b, &h, sizeof(h));
    k.b[15] = (uint8_t)(1 + i % 2);
    return k;
}

static void keyset_many_keys_are_kept(void **state)
{
    vmbi_keyset s = {0};
    bool added;

    (void)state;
    for (uint32_t i = 0; i < 20000; i++) {
        vmbi_key16 k = key_of(i);

        assert_false(vmbi_keyset_has(&s, &k));
        assert_int_equal(vmbi_keyset_add(&s, &k, &added, NULL), VMB_OK);
        assert_true(added);
        assert_int_equal(vmbi_keyset_add(&s, &k, &added, NULL), VMB_OK);
        assert_false(added);
        assert_int_equal(s.n, i + 1);
        assert_true(s.n <= s.cap - s.cap / 4);
    }
    for (uint32_t i = 0; i < 40000; i++) {
        vmbi_key16 k = key_of(i);

        assert_int_equal(vmbi_keyset_has(&s, &k), i < 20000);
    }
    vmbi_keyset_free(&s);
    vmbi_key16 k = key_of(1);
    assert_false(vmbi_keyset_has(&s, &k));
    vmbi_keyset_free(&s);
}

static void keyset_without_memory_keeps_its_keys(void **state)
{
    vmbi_keyset s = {0};
    vmb_error *err = NULL;
    bool added = true;
    vmb_code code = VMB_OK;
    uint32_t i = 0;

    (void)state;
    vmbi_alloc_fail_from(2);
    for (; i < 1000 && code == VMB_OK; i++) {
        vmbi_key16 k = key_of(i);

        code = vmbi_keyset_add(&s, &k, &added, &err);
    }
    vmbi_alloc_fail_from(0);
    assert_int_equal(code, VMB_E_NOMEM);
    assert_int_equal(s.n, 192); /* three quarters of the first table */
    for (uint32_t j = 0; j < s.n; j++) {
        vmbi_key16 k = key_of(j);

        assert_true(vmbi_keyset_has(&s, &k));
    }
    vmb_error_free(err);
    vmbi_keyset_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(map_many_keys_are_found_in_order),
        cmocka_unit_test(map_null_value_is_a_member),
        cmocka_unit_test(map_replaced_value_is_freed_once),
        cmocka_unit_test(map_without_memory_keeps_values_apart),
        cmocka_unit_test(keyset_many_keys_are_kept),
        cmocka_unit_test(keyset_without_memory_keeps_its_keys),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
