/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <zlib.h>

#include "base/alloc.h"
#include "base/error.h"
#include "codec/gzip.h"

typedef struct sink {
    vmbi_buf buf;
    int fail_at; /* call that fails, from 1; 0: none */
    int calls;
} sink;

static vmb_code write_sink(void *user, const void *data, size_t len, vmb_error **err)
{
    sink *s = user;

    if (++s->calls == s->fail_at) {
        return vmbi_fail(err, VMB_E_FULL, "no room");
    }
    vmbi_buf_add(&s->buf, data, len);
    return vmbi_buf_check(&s->buf, err, "sink");
}

/* Text that compresses about as well as Kubernetes objects do, and some that does not. */
static void fill(char *p, size_t len)
{
    static const char phrase[] =
        "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"";
    uint64_t x = 88172645463325252u;

    for (size_t i = 0; i < len; i++) {
        if (i % 64 == 0) {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
        }
        p[i] = (x & 3) == 0 ? (char)(x >> (i % 56)) : phrase[(i + x % 5) % (sizeof(phrase) - 1)];
    }
}

/* zlib's own reading of the stream, not ours. */
static void assert_zlib_reads(const vmbi_buf *gz, const void *want, size_t len)
{
    z_stream z;
    Bytef *out = vmbi_alloc(len + 1);

    assert_non_null(out);
    memset(&z, 0, sizeof(z));
    assert_int_equal(inflateInit2(&z, 15 + 16), Z_OK);
    z.next_in = (Bytef *)gz->data;
    z.avail_in = (uInt)gz->len;
    z.next_out = out;
    z.avail_out = (uInt)len + 1;
    assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
    assert_int_equal(z.total_out, len);
    assert_int_equal(z.avail_in, 0);
    if (len > 0) {
        assert_memory_equal(out, want, len);
    }
    inflateEnd(&z);
    vmbi_free(out);
}

static void gzip_header_is_gos(void **state)
{
    static const uint8_t want[10] = {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff};
    vmbi_buf out = VMBI_BUF_INIT(1000);

    (void)state;
    assert_int_equal(vmbi_gzip_buf("abc", 3, &out, NULL), VMB_OK);
    assert_true(out.len > 18);
    assert_memory_equal(out.data, want, 10);
    /* CRC-32 and length, little endian, close the member */
    assert_memory_equal(out.data + out.len - 8, "\xc2\x41\x24\x35\x03\0\0\0", 8);
    vmbi_buf_free(&out);
}

static void gzip_any_size_reads_back(void **state)
{
    static const size_t sizes[] = {0, 1, 100, 511, 65535, 65536, 65537, 262144, 1000003, 8000000};
    char *data = vmbi_alloc(8000000);

    (void)state;
    assert_non_null(data);
    fill(data, 8000000);
    for (size_t i = 0; i < VMBI_ARRAY_LEN(sizes); i++) {
        vmbi_buf out = VMBI_BUF_INIT(16000000);

        vmbi_buf_adds(&out, "kept");
        assert_int_equal(vmbi_gzip_buf(data, sizes[i], &out, NULL), VMB_OK);
        assert_memory_equal(out.data, "kept", 4);
        vmbi_buf_consume(&out, 4);
        assert_zlib_reads(&out, data, sizes[i]);
        vmbi_buf_free(&out);
    }
    vmbi_free(data);
}

static void gzip_small_writes_read_back(void **state)
{
    static const size_t len = 700000;
    char *data = vmbi_alloc(len);
    sink s = {VMBI_BUF_INIT(2000000), 0, 0};
    vmbi_gzip *z = NULL;
    size_t step;

    (void)state;
    assert_non_null(data);
    fill(data, len);
    assert_int_equal(vmbi_gzip_new(write_sink, &s, &z, NULL), VMB_OK);
    for (size_t at = 0, i = 0; at < len; at += step, i++) {
        step = (i * 7919) % 1500; /* 0 every now and then */
        step = step > len - at ? len - at : step;
        assert_int_equal(vmbi_gzip_write(z, data + at, step, NULL), VMB_OK);
    }
    assert_int_equal(vmbi_gzip_finish(z, NULL), VMB_OK);
    assert_zlib_reads(&s.buf, data, len);
    vmbi_gzip_free(z);
    vmbi_buf_free(&s.buf);
    vmbi_free(data);
}

static void gzip_incompressible_reads_back(void **state)
{
    static const size_t len = 1000000;
    uint8_t *data = vmbi_alloc(len);
    vmbi_buf out = VMBI_BUF_INIT(2000000);
    uint64_t x = 1;

    (void)state;
    assert_non_null(data);
    for (size_t i = 0; i < len; i++) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        data[i] = (uint8_t)(x >> 56);
    }
    assert_int_equal(vmbi_gzip_buf(data, len, &out, NULL), VMB_OK);
    assert_in_range(out.len, len, len + len / 100);
    assert_zlib_reads(&out, data, len);
    vmbi_buf_free(&out);
    vmbi_free(data);
}

static void gzip_failing_sink_is_reported(void **state)
{
    static const size_t len = 4000000;
    char *data = vmbi_alloc(len);

    (void)state;
    assert_non_null(data);
    fill(data, len);
    for (int at = 1; at <= 2; at++) {
        sink s = {VMBI_BUF_INIT(2000000), at, 0};
        vmbi_gzip *z = NULL;
        vmb_error *err = NULL;
        vmb_code code;

        assert_int_equal(vmbi_gzip_new(write_sink, &s, &z, NULL), VMB_OK);
        code = vmbi_gzip_write(z, data, len, &err);
        if (code == VMB_OK) {
            code = vmbi_gzip_finish(z, &err);
        }
        assert_int_equal(code, VMB_E_FULL);
        assert_string_equal(vmb_error_message(err), "no room");
        vmb_error_free(err);
        vmbi_gzip_free(z);
        vmbi_buf_free(&s.buf);
    }
    vmbi_buf small = VMBI_BUF_INIT(20);
    vmbi_buf_adds(&small, "kept");
    assert_int_equal(vmbi_gzip_buf(data, len, &small, NULL), VMB_E_LIMIT);
    assert_int_equal(small.len, 4);
    vmbi_buf_free(&small);
    vmbi_free(data);
}

/* Decompresses in pieces of `step`; the code of the first failure. */
static vmb_code gunzip(const vmbi_buf *gz, size_t len, size_t step, uint64_t max, vmbi_buf *out)
{
    sink s = {VMBI_BUF_INIT(20000000), 0, 0};
    vmbi_gunzip *z = NULL;
    vmb_code code = vmbi_gunzip_new(max, write_sink, &s, &z, NULL);

    for (size_t at = 0; at < len && code == VMB_OK; at += step) {
        code = vmbi_gunzip_write(z, gz->data + at, step < len - at ? step : len - at, NULL);
    }
    if (code == VMB_OK) {
        code = vmbi_gunzip_finish(z, NULL);
    }
    vmbi_gunzip_free(z);
    *out = s.buf;
    return code;
}

static void gunzip_any_steps_read_back(void **state)
{
    static const size_t len = 300000;
    static const size_t steps[] = {1, 7, 1000, 65536, 1000000};
    char *data = vmbi_alloc(len);
    vmbi_buf gz = VMBI_BUF_INIT(1000000);

    (void)state;
    assert_non_null(data);
    fill(data, len);
    /* two members and an empty one, as a concatenation of files gives */
    assert_int_equal(vmbi_gzip_buf(data, len / 3, &gz, NULL), VMB_OK);
    assert_int_equal(vmbi_gzip_buf("", 0, &gz, NULL), VMB_OK);
    assert_int_equal(vmbi_gzip_buf(data + len / 3, len - len / 3, &gz, NULL), VMB_OK);
    for (size_t i = 0; i < VMBI_ARRAY_LEN(steps); i++) {
        vmbi_buf out;

        assert_int_equal(gunzip(&gz, gz.len, steps[i], 0, &out), VMB_OK);
        assert_int_equal(out.len, len);
        assert_memory_equal(out.data, data, len);
        vmbi_buf_free(&out);
    }
    vmbi_buf_free(&gz);
    vmbi_free(data);
}

static void gunzip_cut_stream_is_refused(void **state)
{
    vmbi_buf gz = VMBI_BUF_INIT(1000);
    vmbi_buf out;

    (void)state;
    assert_int_equal(vmbi_gzip_buf("hello hello hello hello", 23, &gz, NULL), VMB_OK);
    for (size_t len = 0; len < gz.len; len++) {
        assert_int_equal(gunzip(&gz, len, 5, 0, &out), VMB_E_PARSE);
        vmbi_buf_free(&out);
    }
    assert_int_equal(gunzip(&gz, gz.len, 5, 0, &out), VMB_OK);
    vmbi_buf_free(&out);
    vmbi_buf_free(&gz);
}

static void gunzip_damage_is_refused(void **state)
{
    vmbi_buf gz = VMBI_BUF_INIT(1000);
    vmbi_buf out;

    (void)state;
    assert_int_equal(vmbi_gzip_buf("hello hello hello hello", 23, &gz, NULL), VMB_OK);
    for (size_t i = 0; i < gz.len; i++) {
        if (i >= 4 && i < 10) {
            continue; /* time, flags and system mean nothing */
        }
        gz.data[i] = (char)(gz.data[i] ^ 0x40);
        /* only the bits that fill the last byte of the data may change unseen */
        vmb_code code = gunzip(&gz, gz.len, 100, 0, &out);
        if (code == VMB_OK) {
            assert_int_equal(i, gz.len - 9);
            assert_int_equal(out.len, 23);
        } else {
            assert_int_equal(code, VMB_E_PARSE);
        }
        vmbi_buf_free(&out);
        gz.data[i] = (char)(gz.data[i] ^ 0x40);
    }
    vmbi_buf_adds(&gz, "trailing text");
    assert_int_equal(gunzip(&gz, gz.len, 100, 0, &out), VMB_E_PARSE);
    vmbi_buf_free(&out);
    vmbi_buf_free(&gz);
}

static void gunzip_bomb_meets_limit(void **state)
{
    static const size_t len = 10000000;
    char *data = vmbi_zalloc(len);
    vmbi_buf gz = VMBI_BUF_INIT(1000000);
    vmbi_buf out;

    (void)state;
    assert_non_null(data);
    assert_int_equal(vmbi_gzip_buf(data, len, &gz, NULL), VMB_OK);
    assert_in_range(gz.len, 1, 200000);
    assert_int_equal(gunzip(&gz, gz.len, gz.len, 100000, &out), VMB_E_LIMIT);
    assert_in_range(out.len, 0, 100000);
    vmbi_buf_free(&out);
    assert_int_equal(gunzip(&gz, gz.len, gz.len, len, &out), VMB_OK);
    vmbi_buf_free(&out);
    assert_int_equal(gunzip(&gz, gz.len, gz.len, len - 1, &out), VMB_E_LIMIT);
    vmbi_buf_free(&out);
    vmbi_buf_free(&gz);
    vmbi_free(data);
}

static void streams_out_of_memory_is_reported(void **state)
{
    sink s = {VMBI_BUF_INIT(100000), 0, 0};

    (void)state;
    for (uint64_t n = 1; n < 10; n++) {
        vmbi_gzip *z = NULL;
        vmbi_gunzip *g = NULL;
        vmb_error *err = NULL;
        vmb_code code;

        vmbi_alloc_fail_from(n);
        code = vmbi_gzip_new(write_sink, &s, &z, &err);
        if (code == VMB_OK) {
            code = vmbi_gunzip_new(0, write_sink, &s, &g, &err);
        }
        vmbi_alloc_fail_from(0);
        vmb_error_free(err);
        vmbi_gzip_free(z);
        vmbi_gunzip_free(g);
        if (code == VMB_OK) {
            assert_in_range(n, 4, 9);
            return;
        }
        assert_int_equal(code, VMB_E_NOMEM);
        assert_null(g);
    }
    fail_msg("never succeeded");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gzip_header_is_gos),
        cmocka_unit_test(gzip_any_size_reads_back),
        cmocka_unit_test(gzip_small_writes_read_back),
        cmocka_unit_test(gzip_incompressible_reads_back),
        cmocka_unit_test(gzip_failing_sink_is_reported),
        cmocka_unit_test(gunzip_any_steps_read_back),
        cmocka_unit_test(gunzip_cut_stream_is_refused),
        cmocka_unit_test(gunzip_damage_is_refused),
        cmocka_unit_test(gunzip_bomb_meets_limit),
        cmocka_unit_test(streams_out_of_memory_is_reported),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
