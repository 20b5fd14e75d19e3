/* SPDX-License-Identifier: Apache-2.0 */
/* JSON patches between two values. tests/interop/run_catalog.py applies many with Python. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "model/json_diff.h"

static vmbi_json *parse(const char *text)
{
    vmbi_json *v = NULL;
    assert_int_equal(vmbi_json_parse(text, strlen(text), "test", &v, NULL), VMB_OK);
    return v;
}

static void expect(const char *from, const char *to, const char *wanted)
{
    vmbi_json *a = parse(from);
    vmbi_json *b = parse(to);
    vmbi_json *patch = vmbi_json_array();
    char *text = NULL;
    assert_int_equal(vmbi_json_diff(a, b, patch, NULL), VMB_OK);
    assert_int_equal(vmbi_json_to_text(patch, &text, NULL, NULL), VMB_OK);
    assert_string_equal(text, wanted);
    vmbi_free(text);
    vmbi_json_free(a);
    vmbi_json_free(b);
    vmbi_json_free(patch);
}

static void diff_of_objects_goes_by_member(void **state)
{
    (void)state;
    expect("{\"a\":1,\"b\":2}", "{\"b\":2,\"a\":1}", "[]");
    expect("{\"a\":1,\"b\":{\"c\":1}}", "{\"b\":{\"c\":2},\"d\":null}",
           "[{\"op\":\"remove\",\"path\":\"/a\"},{\"op\":\"replace\",\"path\":\"/b/c\",\"value\":2},"
           "{\"op\":\"add\",\"path\":\"/d\",\"value\":null}]");
    expect("{\"a/b\":1,\"m~n\":1}", "{\"a/b\":2,\"m~n\":2}",
           "[{\"op\":\"replace\",\"path\":\"/a~1b\",\"value\":2},{\"op\":\"replace\",\"path\":"
           "\"/m~0n\",\"value\":2}]");
    expect("{}", "[]", "[{\"op\":\"replace\",\"path\":\"\",\"value\":[]}]");
}

static void diff_of_arrays_leaves_equal_ends_alone(void **state)
{
    (void)state;
    expect("[1,2,3]", "[1,3]", "[{\"op\":\"remove\",\"path\":\"/1\"}]");
    expect("[1,3]", "[1,2,3]", "[{\"op\":\"add\",\"path\":\"/1\",\"value\":2}]");
    expect("[1,2,3,4,5]", "[1,5]",
           "[{\"op\":\"remove\",\"path\":\"/3\"},{\"op\":\"remove\",\"path\":\"/2\"},"
           "{\"op\":\"remove\",\"path\":\"/1\"}]");
    expect("[{\"n\":1},{\"n\":2}]", "[{\"n\":1},{\"n\":3}]",
           "[{\"op\":\"replace\",\"path\":\"/1/n\",\"value\":3}]");
    expect("[]", "[1,2]", "[{\"op\":\"add\",\"path\":\"/0\",\"value\":1},{\"op\":\"add\",\"path\":"
                          "\"/1\",\"value\":2}]");
}

static void pointer_removes_what_it_names(void **state)
{
    static const char *const pointers[] = {"/a/x~1y", "/b/0", "/none/deep", "/b/9"};
    (void)state;
    vmbi_json *v = parse("{\"a\":{\"x/y\":1,\"z\":2},\"b\":[1,2]}");
    vmbi_json *wanted = parse("{\"a\":{\"z\":2},\"b\":[2]}");
    for (size_t i = 0; i < sizeof(pointers) / sizeof(pointers[0]); i++) {
        assert_true(vmbi_json_pointer_ok(pointers[i]));
        vmbi_json_pointer_remove(v, pointers[i]);
    }
    assert_true(vmbi_json_equal(v, wanted));
    assert_false(vmbi_json_pointer_ok(""));
    assert_false(vmbi_json_pointer_ok("a"));
    assert_false(vmbi_json_pointer_ok("/a~2"));
    vmbi_json_free(v);
    vmbi_json_free(wanted);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(diff_of_objects_goes_by_member),
        cmocka_unit_test(diff_of_arrays_leaves_equal_ends_alone),
        cmocka_unit_test(pointer_removes_what_it_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0 ? 1 : 0;
}
