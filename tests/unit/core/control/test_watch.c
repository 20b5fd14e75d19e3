/* SPDX-License-Identifier: Apache-2.0 */
/* The stream of a watch, taken apart: lines in any pieces, bookmarks, errors, limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "kube/watch.h"

static vmb_code note(void *user, const char *type, const char *json, size_t len, vmb_error **err)
{
    (void)err;
    vmbi_buf_addf(user, "%s %.*s|", type, (int)len, json);
    return VMB_OK;
}

static const char stream[] =
    "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"a\",\"resourceVersion\":\"5\"}}}\n"
    "{\"type\":\"MODIFIED\",\"object\":{\"metadata\":{\"name\":\"a\",\"resourceVersion\":\"8\"}}}\n"
    "\n"
    "{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"90\"}}}\r\n";
static const char events[] = "ADDED {\"metadata\":{\"name\":\"a\",\"resourceVersion\":\"5\"}}|"
                             "MODIFIED {\"metadata\":{\"name\":\"a\",\"resourceVersion\":\"8\"}}|"
                             "BOOKMARK {\"metadata\":{\"resourceVersion\":\"90\"}}|";

static void stream_in_any_pieces_gives_the_same_events(void **state)
{
    (void)state;
    for (size_t piece = 1; piece <= sizeof(stream); piece++) {
        vmbi_buf got = VMBI_BUF_INIT(4096);
        vmbi_kube_lines l;
        vmbi_kube_lines_init(&l, "watch things", note, &got);
        for (size_t at = 0; at < sizeof(stream) - 1; at += piece) {
            size_t left = sizeof(stream) - 1 - at;
            assert_int_equal(
                vmbi_kube_lines_feed(&l, stream + at, left < piece ? left : piece, NULL), VMB_OK);
        }
        assert_string_equal(got.data, events);
        assert_string_equal(l.position, "90");
        assert_int_equal(l.events, 3);
        vmbi_kube_lines_done(&l);
        vmbi_buf_free(&got);
    }
}

static vmb_code feed_once(const char *text, vmb_error **err)
{
    vmbi_buf got = VMBI_BUF_INIT(4096);
    vmbi_kube_lines l;
    vmbi_kube_lines_init(&l, "watch things", note, &got);
    vmb_code rc = vmbi_kube_lines_feed(&l, text, strlen(text), err);
    vmbi_kube_lines_done(&l);
    vmbi_buf_free(&got);
    return rc;
}

static void expired_position_is_gone(void **state)
{
    (void)state;
    vmb_error *err = NULL;
    vmb_code rc = feed_once("{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"code\":410,"
                            "\"reason\":\"Expired\",\"message\":\"too old resource version\"}}\n",
                            &err);
    assert_int_equal(rc, VMB_E_GONE);
    assert_non_null(strstr(vmb_error_message(err), "too old"));
    vmb_error_free(err);
}

static void other_errors_carry_the_servers_words(void **state)
{
    (void)state;
    vmb_error *err = NULL;
    vmb_code rc = feed_once("{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"code\":403,"
                            "\"reason\":\"Forbidden\",\"message\":\"no rights\"}}\n",
                            &err);
    assert_int_equal(rc, VMB_E_DENIED);
    assert_non_null(strstr(vmb_error_message(err), "no rights"));
    vmb_error_free(err);
}

static void malformed_lines_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"hello\n", "{}\n", "[1]\n", "{\"type\":\"ADDED\"}\n",
                                      "{\"type\":\"ADDED\",\"object\":7}\n",
                                      "{\"type\":7,\"object\":{}}\n",
                                      "{\"type\":\"ADDED\",\"object\":{\n"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(feed_once(bad[i], NULL), VMB_E_PROTOCOL);
    }
}

static void line_without_end_is_limited(void **state)
{
    (void)state;
    vmbi_buf got = VMBI_BUF_INIT(4096);
    vmbi_kube_lines l;
    size_t size = 1 << 20;
    char *block = malloc(size);
    assert_non_null(block);
    memset(block, 'x', size);
    vmbi_kube_lines_init(&l, "watch things", note, &got);
    vmb_code rc = VMB_OK;
    int blocks = 0;
    for (; blocks < 32 && rc == VMB_OK; blocks++) {
        rc = vmbi_kube_lines_feed(&l, block, size, NULL);
    }
    assert_int_equal(rc, VMB_E_LIMIT);
    assert_true(blocks <= (VMBI_KUBE_EVENT_MAX_BYTES >> 20) + 1);
    vmbi_kube_lines_done(&l);
    vmbi_buf_free(&got);
    free(block);
}

static void event_without_a_version_moves_nothing(void **state)
{
    (void)state;
    vmbi_buf got = VMBI_BUF_INIT(4096);
    vmbi_kube_lines l;
    static const char text[] = "{\"type\":\"ADDED\",\"object\":{\"metadata\":{}}}\n"
                               "{\"type\":\"ADDED\",\"object\":{\"metadata\":"
                               "{\"resourceVersion\":\"\"}}}\n";
    vmbi_kube_lines_init(&l, "watch things", note, &got);
    memcpy(l.position, "44", 3);
    assert_int_equal(vmbi_kube_lines_feed(&l, text, sizeof(text) - 1, NULL), VMB_OK);
    assert_string_equal(l.position, "44");
    vmbi_kube_lines_done(&l);
    vmbi_buf_free(&got);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stream_in_any_pieces_gives_the_same_events),
        cmocka_unit_test(expired_position_is_gone),
        cmocka_unit_test(other_errors_carry_the_servers_words),
        cmocka_unit_test(malformed_lines_are_refused),
        cmocka_unit_test(line_without_end_is_limited),
        cmocka_unit_test(event_without_a_version_moves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
