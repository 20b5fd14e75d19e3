/* SPDX-License-Identifier: Apache-2.0 */
/* gzip data read from the middle: of our compressor and of zlib's at every level, in one member and
 * in several, damaged and cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include <zlib.h>

#include "base/alloc.h"
#include "codec/gzseek.h"

enum { SIZE = 5 * 1024 * 1024, PIECE = 3000 };

typedef struct memory {
    const char *data;
    size_t len;
    size_t at;
    size_t most; /* given at a time */
    size_t given;
} memory;

static int64_t pull(void *user, void *buf, size_t size, vmb_error **err)
{
    memory *m = user;
    size_t n = m->len - m->at;
    (void)err;
    n = n < size ? n : size;
    n = n < m->most ? n : m->most;
    memcpy(buf, m->data + m->at, n);
    m->at += n;
    m->given += n;
    return (int64_t)n;
}

/* Text that shrinks a little, with runs and noise. */
static char *make_data(void)
{
    char *data = malloc(SIZE);
    uint32_t x = 12345;
    assert_non_null(data);
    for (size_t i = 0; i < SIZE; i++) {
        x = x * 1664525 + 1013904223;
        data[i] = (i / 50000) % 3 == 0 ? (char)('a' + i % 7) : (char)('a' + (x >> 24) % 60);
    }
    return data;
}

static void add_member(vmbi_buf *out, const char *data, size_t len, int level)
{
    z_stream z = {0};
    size_t room = len + len / 100 + 1000;
    char *buf = malloc(room);
    assert_non_null(buf);
    assert_int_equal(deflateInit2(&z, level, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (Bytef *)(uintptr_t)data;
    z.avail_in = (uInt)len;
    z.next_out = (Bytef *)buf;
    z.avail_out = (uInt)room;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    vmbi_buf_add(out, buf, room - z.avail_out);
    (void)deflateEnd(&z);
    free(buf);
}

/* Reads through; the scan is owned. */
static vmbi_gzscan *scan_all(memory *m, const char *data, size_t len)
{
    vmbi_gzscan *s = NULL;
    static char out[70000];
    size_t done = 0;
    int64_t n;
    assert_int_equal(vmbi_gzscan_new(pull, m, &s, NULL), VMB_OK);
    while ((n = vmbi_gzscan_read(s, out, sizeof(out), NULL)) > 0) {
        assert_true(done + (size_t)n <= len);
        assert_memory_equal(out, data + done, (size_t)n);
        done += (size_t)n;
    }
    assert_int_equal(n, 0);
    assert_int_equal(done, len);
    return s;
}

static void check_place(const vmbi_gzscan *s, const memory *whole, const char *data, size_t len,
                        size_t place, size_t *given)
{
    char out[PIECE];
    vmbi_gzcursor *c = NULL;
    memory m = *whole;
    size_t want = len - place < PIECE ? len - place : PIECE;
    size_t done = 0;
    m.at = (size_t)vmbi_gzscan_start(s, place);
    m.given = 0;
    assert_int_equal(vmbi_gzcursor_new(s, place, pull, &m, &c, NULL), VMB_OK);
    while (done < want) {
        int64_t n = vmbi_gzcursor_read(c, out + done, want - done, NULL);
        assert_true(n > 0);
        done += (size_t)n;
    }
    assert_memory_equal(out, data + place, want);
    vmbi_gzcursor_free(c);
    *given = m.given;
}

static void check(const vmbi_buf *packed, const char *data, size_t len, size_t most, size_t limit)
{
    memory m = {packed->data, packed->len, 0, most, 0};
    vmbi_gzscan *s = scan_all(&m, data, len);
    size_t given = 0;
    for (size_t place = 0; place < len; place += 97777) {
        check_place(s, &m, data, len, place, &given);
        assert_true(given <= limit);
    }
    check_place(s, &m, data, len, len - 1, &given);
    check_place(s, &m, data, len, 0, &given);
    vmbi_gzscan_free(s);
}

static void our_gzip_is_read_from_any_place(void **state)
{
    char *data = make_data();
    vmbi_buf packed = VMBI_BUF_INIT(2 * SIZE);
    (void)state;
    assert_int_equal(vmbi_gzip_buf(data, SIZE, &packed, NULL), VMB_OK);
    check(&packed, data, SIZE, 65536, 1024 * 1024); /* of some 4 MB */
    vmbi_buf_free(&packed);
    free(data);
}

static void any_level_is_read_from_any_place(void **state)
{
    char *data = make_data();
    (void)state;
    for (int level = 0; level <= 9; level += 3) {
        vmbi_buf packed = VMBI_BUF_INIT(2 * SIZE);
        add_member(&packed, data, SIZE, level);
        check(&packed, data, SIZE, 7777, 1024 * 1024);
        vmbi_buf_free(&packed);
    }
    free(data);
}

/* Pieces reach over the ends of members; the last one is empty. */
static void members_are_read_from_any_place(void **state)
{
    char *data = make_data();
    vmbi_buf packed = VMBI_BUF_INIT(2 * SIZE);
    size_t at = 0;
    (void)state;
    for (size_t n = 1; at + n < SIZE; n = n * 2 + 777) {
        add_member(&packed, data + at, n, 6);
        at += n;
    }
    add_member(&packed, data + at, SIZE - at, 1);
    add_member(&packed, "", 0, 6);
    check(&packed, data, SIZE, 1000, 1024 * 1024);
    vmbi_buf_free(&packed);
    free(data);
}

static void plain_data_is_read_from_any_place(void **state)
{
    char *data = make_data();
    vmbi_buf plain = VMBI_BUF_INIT(2 * SIZE);
    (void)state;
    vmbi_buf_add(&plain, data, SIZE);
    check(&plain, data, SIZE, 65536, 65536);
    vmbi_buf_free(&plain);
    free(data);
}

/* More blocks than marks are kept: they lie further apart then. */
static void long_data_has_no_more_marks(void **state)
{
    enum { TIMES = 30 };
    char *data = make_data();
    char *more = malloc((size_t)TIMES * SIZE);
    vmbi_buf packed = VMBI_BUF_INIT((size_t)TIMES * SIZE);
    (void)state;
    assert_non_null(more);
    for (size_t i = 0; i < TIMES; i++) {
        memcpy(more + i * SIZE, data, SIZE);
    }
    assert_int_equal(vmbi_gzip_buf(more, (size_t)TIMES * SIZE, &packed, NULL), VMB_OK);
    memory m = {packed.data, packed.len, 0, 65536, 0};
    vmbi_gzscan *s = scan_all(&m, more, (size_t)TIMES * SIZE);
    size_t given = 0;
    for (size_t place = 0; place < (size_t)TIMES * SIZE; place += 9999999) {
        check_place(s, &m, more, (size_t)TIMES * SIZE, place, &given);
        assert_true(given < 4 * 1024 * 1024);
    }
    vmbi_gzscan_free(s);
    vmbi_buf_free(&packed);
    free(more);
    free(data);
}

static void damaged_data_is_an_error(void **state)
{
    char *data = make_data();
    vmbi_buf packed = VMBI_BUF_INIT(2 * SIZE);
    static char out[65536];
    (void)state;
    assert_int_equal(vmbi_gzip_buf(data, SIZE, &packed, NULL), VMB_OK);
    for (int cut = 0; cut < 2; cut++) {
        memory m = {packed.data, cut != 0 ? packed.len / 2 : packed.len, 0, 65536, 0};
        vmbi_gzscan *s = NULL;
        vmb_error *err = NULL;
        int64_t n;
        packed.data[packed.len * 2 / 3] = (char)~packed.data[packed.len * 2 / 3];
        assert_int_equal(vmbi_gzscan_new(pull, &m, &s, NULL), VMB_OK);
        do {
            n = vmbi_gzscan_read(s, out, sizeof(out), &err);
        } while (n > 0);
        assert_int_equal(n, VMB_E_PARSE);
        vmb_error_free(err);
        vmbi_gzscan_free(s);
    }
    vmbi_buf_free(&packed);
    free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(our_gzip_is_read_from_any_place),
        cmocka_unit_test(any_level_is_read_from_any_place),
        cmocka_unit_test(members_are_read_from_any_place),
        cmocka_unit_test(plain_data_is_read_from_any_place),
        cmocka_unit_test(long_data_has_no_more_marks),
        cmocka_unit_test(damaged_data_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
