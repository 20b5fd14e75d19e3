/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes as restic prints them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "repo/tree/node.h"

static void quoted(const char *raw, size_t len, const char *want)
{
    vmbi_buf b = VMBI_BUF_INIT(4096);
    char back[256];
    size_t n = 0;
    vmbi_go_quote(raw, len, &b);
    assert_string_equal(b.data != NULL ? b.data : "", want);
    assert_true(vmbi_go_unquote(want, strlen(want), back, sizeof(back), &n));
    assert_int_equal(n, len);
    assert_memory_equal(back, raw, len);
    vmbi_buf_free(&b);
}

static void go_quote_names_as_restic(void **state)
{
    (void)state;
    quoted("plain name.txt", 14, "plain name.txt");
    quoted("a<b>&c", 6, "a<b>&c");
    quoted("q\"uote\\back", 11, "q\\\"uote\\\\back");
    quoted("bad\xff\xfeutf8", 9, "bad\\xff\\xfeutf8");
    quoted("\n\t", 2, "\\n\\t");
    quoted("\xe2\x80\xa8", 3, "\\u2028");
    quoted("\x01\x7f\x08\x0c\x1b\x07\x0b", 7, "\\x01\\x7f\\b\\f\\x1b\\a\\v");
    quoted("\xf0\x9f\xbf\xbe", 4, "\\U0001fffe");
    quoted("\xf0\x9f\x98\x80", 4, "\xf0\x9f\x98\x80");
    quoted("\xef\xbf\xbd", 3, "\xef\xbf\xbd");
    quoted("\xc2\xa0", 2, "\\u00a0");
}

static void go_unquote_malformed_is_refused(void **state)
{
    static const char *const bad[] = {"\\", "\\x1", "\\u12", "\\q", "\\U00110000", "\\ud800",
                                      "\\400"};
    char out[64];
    size_t n = 0;
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(vmbi_go_unquote(bad[i], strlen(bad[i]), out, sizeof(out), &n));
    }
    assert_false(vmbi_go_unquote("abcd", 4, out, 4, &n));
}

static void node_mode_as_go(void **state)
{
    static const struct {
        uint32_t st;
        uint32_t go;
    } table[] = {
        {S_IFREG | 0644, 420},         {S_IFDIR | 0755, 2147484141u},
        {S_IFDIR | 03775, 2152727037u}, {S_IFLNK | 0777, 134218239},
        {S_IFBLK | 0640, 67109280},    {S_IFCHR | 0644, 69206436},
        {S_IFIFO | 0640, 33554848},    {S_IFREG | 04755, 8389101},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        uint32_t go = vmbi_node_mode(table[i].st);
        assert_int_equal(go, table[i].go);
        assert_int_equal(vmbi_node_st_mode(go), table[i].st);
    }
}

static void node_prints_and_parses(void **state)
{
    static const char want[] =
        "{\"name\":\"a\\\\xff\",\"type\":\"file\",\"mode\":420,"
        "\"mtime\":\"2026-11-24T08:00:00.5Z\",\"atime\":\"2026-11-24T08:00:00.5Z\","
        "\"ctime\":\"2026-11-24T08:00:01Z\",\"uid\":0,\"gid\":7,\"user\":\"root\",\"inode\":9,"
        "\"device_id\":3,\"size\":5,\"links\":1,\"extended_attributes\":[{\"name\":\"user.k\","
        "\"value\":\"dmFs\"}],\"content\":["
        "\"07854d2fef297a06ba81685e660c332de36d5d18d546927d30daad6d7fda1541\"]}";
    (void)state;
    vmbi_node n;
    vmb_error *err = NULL;
    vmb_code rc = vmbi_node_parse(want, sizeof(want) - 1, &n, &err);
    if (rc != VMB_OK) {
        print_error("%s\n", vmb_error_message(err));
    }
    assert_int_equal(rc, VMB_OK);
    assert_string_equal(n.name, "a\xff");
    assert_int_equal(n.n_content, 1);
    vmbi_buf b = VMBI_BUF_INIT(4096);
    vmbi_node_print(&n, &b);
    assert_string_equal(b.data, want);
    vmbi_buf_free(&b);
    vmbi_node_done(&n);
}

static void node_hostile_names_are_refused(void **state)
{
    static const char *const names[] = {"", ".", "..", "a/b", "../x", "a\\\\x00b", "\\\\x2e\\\\x2e"};
    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        vmbi_buf b = VMBI_BUF_INIT(4096);
        vmbi_node n;
        vmbi_buf_addf(&b,
                      "{\"name\":\"%s\",\"type\":\"file\",\"mtime\":\"2026-11-24T08:00:00Z\","
                      "\"atime\":\"2026-11-24T08:00:00Z\",\"ctime\":\"2026-11-24T08:00:00Z\","
                      "\"content\":[]}",
                      names[i]);
        assert_int_equal(vmbi_node_parse(b.data, b.len, &n, NULL), VMB_E_INVALID);
        vmbi_buf_free(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(go_quote_names_as_restic),
        cmocka_unit_test(go_unquote_malformed_is_refused),
        cmocka_unit_test(node_mode_as_go),
        cmocka_unit_test(node_prints_and_parses),
        cmocka_unit_test(node_hostile_names_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
