/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes that are written are compared with Go's own by tests/interop/tar_readers.py. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/strs.h"
#include "codec/tar.h"

static vmb_code write_buf(void *user, const void *data, size_t len, vmb_error **err)
{
    vmbi_buf *b = user;

    vmbi_buf_add(b, data, len);
    return vmbi_buf_check(b, err, "tar");
}

static void add(vmbi_tar *t, const char *path, const char *content)
{
    vmbi_slice half[2];
    size_t len = strlen(content);

    half[0] = (vmbi_slice){content, len / 2};
    half[1] = (vmbi_slice){content + len / 2, len - len / 2};
    assert_int_equal(vmbi_tar_add(t, path, 1779264022, half, 2, NULL), VMB_OK);
}

static vmbi_buf archive_of(const char *const *paths, size_t n)
{
    vmbi_buf out = VMBI_BUF_INIT(10000000);
    vmbi_tar *t = NULL;

    assert_int_equal(vmbi_tar_new(write_buf, &out, &t, NULL), VMB_OK);
    for (size_t i = 0; i < n; i++) {
        add(t, paths[i], paths[i]);
    }
    assert_int_equal(vmbi_tar_finish(t, NULL), VMB_OK);
    vmbi_tar_free(t);
    return out;
}

/* Reading. */

typedef struct input {
    const char *data;
    size_t len;
    size_t step; /* bytes per read */
    size_t fail_at;
    size_t at;
} input;

static int64_t read_input(void *user, void *buf, size_t size, vmb_error **err)
{
    input *in = user;
    size_t n = in->len - in->at;

    if (in->fail_at != 0 && in->at >= in->fail_at) {
        return vmbi_fail(err, VMB_E_NET, "connection lost");
    }
    n = n > in->step ? in->step : n;
    n = n > size ? size : n;
    memcpy(buf, in->data + in->at, n);
    in->at += n;
    return (int64_t)n;
}

typedef struct seen {
    vmbi_strs paths;
    vmbi_strs contents;
    size_t stop_after; /* 0: never */
    vmb_code stop_code;
} seen;

static vmb_code take(void *user, const char *path, const char *data, size_t len, vmb_error **err)
{
    seen *s = user;

    assert_int_equal(data[len], '\0');
    assert_int_equal(vmbi_strs_add(&s->paths, path, NULL), VMB_OK);
    assert_int_equal(vmbi_strs_addn(&s->contents, data, len, NULL), VMB_OK);
    if (s->paths.n == s->stop_after) {
        return s->stop_code < 0 ? vmbi_fail(err, s->stop_code, "enough") : s->stop_code;
    }
    return VMB_OK;
}

static void seen_free(seen *s)
{
    vmbi_strs_free(&s->paths);
    vmbi_strs_free(&s->contents);
}

static vmb_code read_all(const char *data, size_t len, size_t step, seen *s, vmb_error **err)
{
    input in = {data, len, step, 0, 0};

    return vmbi_tar_read(read_input, &in, 1 << 20, take, s, err);
}

#define LONG_NAME                                                                                  \
    "a123456789b123456789c123456789d123456789e123456789f123456789g123456789h123456789i123456789"   \
    "j123456789k123456789l123456789m123456789n123456789o123456789p123456789q123456789r123456789"   \
    "s123456789t123456789u123456789v123456789w123456789x123456789y123456789.json"

static const char *const paths[] = {
    "metadata/version",
    "resources/pods/namespaces/shop/p1.json",
    /* 101 bytes and more: prefix and name */
    "resources/virtualmachineinstancemigrations.kubevirt.io/v1-preferredversion/namespaces/shop/"
    "m1.json",
    "resources/clusterserviceversions.operators.coreos.com/v1alpha1-preferredversion/namespaces/"
    "openshift-cnv/kubevirt-hyperconverged-operator.v4.14.0.json",
    /* a name of 256 bytes: PAX */
    "resources/secrets/namespaces/shop/" LONG_NAME,
    "resources/clusterroles.rbac.authorization.k8s.io/cluster/system:node.json",
    "resources/roles/cluster/r\xc3\xb4le-\xe2\x82\xac.json",
};

static void tar_written_paths_read_back(void **state)
{
    static const size_t steps[] = {1, 511, 512, 4096, 1 << 20};
    vmbi_buf tar = archive_of(paths, VMBI_ARRAY_LEN(paths));
    vmbi_buf gz = VMBI_BUF_INIT(1000000);

    (void)state;
    assert_int_equal(vmbi_gzip_buf(tar.data, tar.len, &gz, NULL), VMB_OK);
    for (size_t i = 0; i < 2 * VMBI_ARRAY_LEN(steps); i++) {
        const vmbi_buf *b = i % 2 == 0 ? &tar : &gz;
        seen s = {0};
        vmb_error *err = NULL;

        if (read_all(b->data, b->len, steps[i / 2], &s, &err) != VMB_OK) {
            fail_msg("%s", vmb_error_message(err));
        }
        assert_int_equal(s.paths.n, VMBI_ARRAY_LEN(paths));
        for (size_t k = 0; k < s.paths.n; k++) {
            assert_string_equal(s.paths.v[k], paths[k]);
            assert_string_equal(s.contents.v[k], paths[k]);
        }
        seen_free(&s);
    }
    vmbi_buf_free(&gz);
    vmbi_buf_free(&tar);
}

/* velero-format sheet, section 2: each field of a header. */
static void tar_header_fields_are_exact(void **state)
{
    vmbi_buf tar = archive_of(paths, 1);
    const char *h = tar.data;

    (void)state;
    assert_int_equal(tar.len, 512 + 512 + 1024);
    assert_string_equal(h, "metadata/version");
    assert_memory_equal(h + 100, "0000755\0000000000\0000000000\00000000000020\00015203265026\0",
                        48);
    assert_memory_equal(h + 156, "0", 1);
    assert_memory_equal(h + 257, "ustar\00000", 8);
    assert_memory_equal(h + 329, "0000000\0000000000\0", 16);
    assert_int_equal(h[154], 0);
    assert_int_equal(h[155], ' ');
    unsigned sum = 0;
    for (size_t i = 0; i < 512; i++) {
        sum += i >= 148 && i < 156 ? ' ' : (unsigned char)h[i];
    }
    unsigned stored = 0;
    for (size_t i = 148; i < 154; i++) {
        stored = stored * 8 + (unsigned)(h[i] - '0');
    }
    assert_int_equal(stored, sum);
    for (size_t i = 512 + 16; i < tar.len; i++) {
        assert_int_equal(tar.data[i], 0);
    }
    vmbi_buf_free(&tar);
}

/* The length of a PAX record counts its own digits: around 99/100 and 999/1000 it is easy to be
 * wrong. Every length of name is tried. */
static void tar_pax_any_length_reads_back(void **state)
{
    char path[1101];

    (void)state;
    memset(path, 'n', sizeof(path));
    for (size_t len = 1; len < sizeof(path); len++) {
        seen s = {0};
        vmb_error *err = NULL;
        const char *p = path;

        path[len] = '\0';
        vmbi_buf tar = archive_of(&p, 1);
        assert_int_equal(tar.len % 512, 0);
        if (len > 100) {
            /* "<length> path=…\n" has just that length */
            const char *record = tar.data + 512;
            size_t n = strcspn(record, " ");
            uint64_t told = 0;

            assert_true(vmbi_parse_u64(record, n, &told));
            assert_int_equal(record[told - 1], '\n');
            assert_true(told % 512 == 0 || record[told] == '\0');
        }
        if (read_all(tar.data, tar.len, 4096, &s, &err) != VMB_OK) {
            fail_msg("%zu: %s", len, vmb_error_message(err));
        }
        assert_int_equal(s.paths.n, 1);
        assert_string_equal(s.paths.v[0], path);
        seen_free(&s);
        vmbi_buf_free(&tar);
        path[len] = 'n';
    }
}

static void tar_content_of_any_size_reads_back(void **state)
{
    char *data = vmbi_alloc(2000);

    (void)state;
    assert_non_null(data);
    for (size_t i = 0; i < 2000; i++) {
        data[i] = (char)('a' + i % 26);
    }
    for (size_t len = 0; len < 1100; len += len < 520 ? 1 : 100) {
        vmbi_buf out = VMBI_BUF_INIT(100000);
        vmbi_tar *t = NULL;
        vmbi_slice part = {data, len};
        seen s = {0};

        assert_int_equal(vmbi_tar_new(write_buf, &out, &t, NULL), VMB_OK);
        assert_int_equal(vmbi_tar_add(t, "a", 0, &part, 1, NULL), VMB_OK);
        assert_int_equal(vmbi_tar_add(t, "empty", 0, NULL, 0, NULL), VMB_OK);
        assert_int_equal(vmbi_tar_finish(t, NULL), VMB_OK);
        vmbi_tar_free(t);
        assert_int_equal(read_all(out.data, out.len, 1000, &s, NULL), VMB_OK);
        assert_int_equal(s.contents.n, 2);
        assert_int_equal(strlen(s.contents.v[0]), len);
        assert_memory_equal(s.contents.v[0], data, len);
        assert_string_equal(s.contents.v[1], "");
        seen_free(&s);
        vmbi_buf_free(&out);
    }
    vmbi_free(data);
}

static void tar_bad_arguments_are_refused(void **state)
{
    vmbi_buf out = VMBI_BUF_INIT(100000);
    vmbi_tar *t = NULL;
    char huge[5000];
    vmbi_slice big[2] = {{"", SIZE_MAX}, {"", 1}};

    (void)state;
    memset(huge, 'x', sizeof(huge) - 1);
    huge[sizeof(huge) - 1] = '\0';
    assert_int_equal(vmbi_tar_new(write_buf, &out, &t, NULL), VMB_OK);
    assert_int_equal(vmbi_tar_add(t, "", 0, NULL, 0, NULL), VMB_E_ARG);
    assert_int_equal(vmbi_tar_add(t, "dir/", 0, NULL, 0, NULL), VMB_E_ARG);
    assert_int_equal(vmbi_tar_add(t, "a", -1, NULL, 0, NULL), VMB_E_ARG);
    assert_int_equal(vmbi_tar_add(t, huge, 0, NULL, 0, NULL), VMB_E_LIMIT);
    assert_int_equal(vmbi_tar_add(t, "a", 0, big, 2, NULL), VMB_E_LIMIT);
    big[0].len = (size_t)1 << 33;
    assert_int_equal(vmbi_tar_add(t, "a", 0, big, 1, NULL), VMB_E_LIMIT);
    assert_int_equal(out.len, 0);
    vmbi_tar_free(t);
    vmbi_buf_free(&out);
}

/* Raw blocks, for what we never write. */
static void put_entry(vmbi_buf *b, const char *name, char type, const char *magic, const char *data)
{
    char h[512] = {0};
    unsigned sum = 0;
    size_t len = strlen(data);
    char digits[12] = "00000000000";

    memcpy(h, name, strlen(name));
    memcpy(h + 100, "0000644", 7);
    memcpy(h + 108, "0000000", 7);
    memcpy(h + 116, "0000000", 7);
    for (size_t i = 11, v = len; i > 0; i--, v /= 8) {
        digits[i - 1] = (char)('0' + v % 8);
    }
    memcpy(h + 124, digits, 12);
    memcpy(h + 136, "00000000000", 11);
    h[156] = type;
    if (type == '1' || type == '2') {
        memcpy(h + 157, "target", 6);
    }
    memcpy(h + 257, magic, 8);
    memset(h + 148, ' ', 8);
    for (size_t i = 0; i < 512; i++) {
        sum += (unsigned char)h[i];
    }
    for (size_t i = 6; i > 0; i--, sum /= 8) {
        h[147 + i] = (char)('0' + sum % 8);
    }
    h[154] = '\0';
    vmbi_buf_add(b, h, 512);
    memset(h, 0, 512);
    vmbi_buf_add(b, data, len);
    vmbi_buf_add(b, h, (512 - len % 512) % 512);
}

#define USTAR "ustar\00000"
#define GNU "ustar  "

static void tar_read_other_types_are_ignored(void **state)
{
    vmbi_buf b = VMBI_BUF_INIT(100000);
    seen s = {0};

    (void)state;
    put_entry(&b, "dir/", '5', USTAR, "");
    put_entry(&b, "old", '\0', USTAR, "old style");
    put_entry(&b, "hard", '1', USTAR, "");
    put_entry(&b, "soft", '2', USTAR, "");
    put_entry(&b, "fifo", '6', USTAR, "");
    put_entry(&b, "./resources/./x", '0', USTAR, "dotted");
    put_entry(&b, "v7", '0', "\0\0\0\0\0\0\0", "no magic");
    vmbi_buf_add(&b, (const char[1024]){0}, 1024);
    assert_int_equal(read_all(b.data, b.len, 700, &s, NULL), VMB_OK);
    assert_int_equal(s.paths.n, 3);
    assert_string_equal(s.paths.v[0], "old");
    assert_string_equal(s.paths.v[1], "resources/./x");
    assert_string_equal(s.paths.v[2], "v7");
    assert_string_equal(s.contents.v[2], "no magic");
    seen_free(&s);
    vmbi_buf_free(&b);
}

static void tar_read_gnu_long_name(void **state)
{
    vmbi_buf b = VMBI_BUF_INIT(100000);
    seen s = {0};

    (void)state;
    put_entry(&b, "././@LongLink", 'L', GNU, "resources/secrets/cluster/" LONG_NAME);
    put_entry(&b, "resources/secrets/cluster/a1", '0', GNU, "x");
    vmbi_buf_add(&b, (const char[1024]){0}, 1024);
    assert_int_equal(read_all(b.data, b.len, 700, &s, NULL), VMB_OK);
    assert_int_equal(s.paths.n, 1);
    assert_string_equal(s.paths.v[0], "resources/secrets/cluster/" LONG_NAME);
    seen_free(&s);
    vmbi_buf_free(&b);
}

static void tar_read_evil_paths_are_refused(void **state)
{
    static const char *const evil[] = {"/etc/passwd", "../x",   "a/../../x", "a/..",
                                       "..",          "./../x", ".//x"};

    (void)state;
    for (size_t i = 0; i < VMBI_ARRAY_LEN(evil); i++) {
        vmbi_buf b = VMBI_BUF_INIT(100000);
        seen s = {0};
        vmb_error *err = NULL;

        put_entry(&b, evil[i], '0', USTAR, "x");
        vmbi_buf_add(&b, (const char[1024]){0}, 1024);
        assert_int_equal(read_all(b.data, b.len, 700, &s, &err), VMB_E_INVALID);
        assert_int_equal(s.paths.n, 0);
        vmb_error_free(err);
        seen_free(&s);
        vmbi_buf_free(&b);
    }
    vmbi_buf b = VMBI_BUF_INIT(100000);
    seen s = {0};
    put_entry(&b, "a..b/..c/d..", '0', USTAR, "x");
    assert_int_equal(read_all(b.data, b.len, 700, &s, NULL), VMB_OK);
    assert_int_equal(s.paths.n, 1);
    seen_free(&s);
    vmbi_buf_free(&b);
}

/* A name that is not UTF-8 is refused; one in Latin letters without PAX is read as UTF-8. */
static void tar_read_raw_bytes_in_names(void **state)
{
    vmbi_buf b = VMBI_BUF_INIT(100000);
    seen s = {0};

    (void)state;
    put_entry(&b, "r\xc3\xb4le", '0', USTAR, "x");
    vmbi_buf_add(&b, (const char[1024]){0}, 1024);
    assert_int_equal(read_all(b.data, b.len, 700, &s, NULL), VMB_OK);
    assert_int_equal(s.paths.n, 1);
    assert_string_equal(s.paths.v[0], "r\xc3\xb4le");
    seen_free(&s);
    vmbi_buf_reset(&b);
    put_entry(&b, "r\xf4le", '0', USTAR, "x");
    assert_int_equal(read_all(b.data, b.len, 700, &s, NULL), VMB_E_INVALID);
    seen_free(&s);
    vmbi_buf_free(&b);
}

static void tar_read_large_file_meets_limit(void **state)
{
    vmbi_buf tar = archive_of(paths, 2);
    seen s = {0};
    vmb_error *err = NULL;
    size_t len = strlen(paths[1]);
    input in = {tar.data, tar.len, 512, 0, 0};

    (void)state;
    assert_int_equal(vmbi_tar_read(read_input, &in, len, take, &s, NULL), VMB_OK);
    assert_int_equal(s.paths.n, 2);
    seen_free(&s);
    in.at = 0;
    assert_int_equal(vmbi_tar_read(read_input, &in, len - 1, take, &s, &err), VMB_E_LIMIT);
    assert_int_equal(s.paths.n, 1);
    assert_non_null(strstr(vmb_error_message(err), paths[1]));
    vmb_error_free(err);
    seen_free(&s);
    vmbi_buf_free(&tar);
}

static void tar_read_callback_ends_walk(void **state)
{
    vmbi_buf tar = archive_of(paths, 3);
    seen s = {.stop_after = 2, .stop_code = 1};
    vmb_error *err = NULL;

    (void)state;
    assert_int_equal(read_all(tar.data, tar.len, 512, &s, &err), VMB_OK);
    assert_int_equal(s.paths.n, 2);
    assert_null(err);
    seen_free(&s);
    s = (seen){.stop_after = 1, .stop_code = VMB_E_CANCELLED};
    assert_int_equal(read_all(tar.data, tar.len, 512, &s, &err), VMB_E_CANCELLED);
    assert_int_equal(s.paths.n, 1);
    assert_string_equal(vmb_error_message(err), "enough");
    vmb_error_free(err);
    seen_free(&s);
    vmbi_buf_free(&tar);
}

static void tar_read_failing_source_is_reported(void **state)
{
    vmbi_buf tar = archive_of(paths, 3);
    vmbi_buf gz = VMBI_BUF_INIT(100000);

    (void)state;
    assert_int_equal(vmbi_gzip_buf(tar.data, tar.len, &gz, NULL), VMB_OK);
    for (size_t at = 1; at < gz.len; at += 50) {
        seen s = {0};
        vmb_error *err = NULL;
        input in = {gz.data, gz.len, 50, at, 0};

        assert_int_equal(vmbi_tar_read(read_input, &in, 1 << 20, take, &s, &err), VMB_E_NET);
        assert_string_equal(vmb_error_message(err), "connection lost");
        vmb_error_free(err);
        seen_free(&s);
    }
    vmbi_buf_free(&gz);
    vmbi_buf_free(&tar);
}

static void tar_read_cut_gzip_is_refused(void **state)
{
    vmbi_buf tar = archive_of(paths, 3);
    vmbi_buf gz = VMBI_BUF_INIT(100000);

    (void)state;
    assert_int_equal(vmbi_gzip_buf(tar.data, tar.len, &gz, NULL), VMB_OK);
    for (size_t len = 0; len < gz.len; len++) {
        seen s = {0};
        vmb_error *err = NULL;

        assert_int_equal(read_all(gz.data, len, 50, &s, &err), VMB_E_PARSE);
        assert_true(vmb_error_message(err)[0] != '\0');
        vmb_error_free(err);
        seen_free(&s);
    }
    vmbi_buf_free(&gz);
    vmbi_buf_free(&tar);
}

static void tar_read_wrong_checksum_is_refused(void **state)
{
    vmbi_buf tar = archive_of(paths, 3);
    vmbi_buf gz = VMBI_BUF_INIT(100000);
    seen s = {0};

    (void)state;
    assert_int_equal(vmbi_gzip_buf(tar.data, tar.len, &gz, NULL), VMB_OK);
    gz.data[gz.len - 7] = (char)(gz.data[gz.len - 7] ^ 1); /* the sum of the whole */
    assert_int_equal(read_all(gz.data, gz.len, 50, &s, NULL), VMB_E_PARSE);
    seen_free(&s);
    vmbi_buf_free(&gz);
    vmbi_buf_free(&tar);
}

static void tar_read_no_archive_is_refused(void **state)
{
    seen s = {0};

    (void)state;
    assert_int_equal(read_all("", 0, 1, &s, NULL), VMB_E_PARSE);
    assert_int_equal(read_all("x", 1, 1, &s, NULL), VMB_E_PARSE);
    assert_int_equal(read_all("<html>not found</html>", 22, 5, &s, NULL), VMB_E_PARSE);
    vmbi_buf gz = VMBI_BUF_INIT(1000);
    assert_int_equal(vmbi_gzip_buf("not a tar", 9, &gz, NULL), VMB_OK);
    assert_int_equal(read_all(gz.data, gz.len, 5, &s, NULL), VMB_E_PARSE);
    vmbi_buf_free(&gz);
    assert_int_equal(s.paths.n, 0);
}

static void tar_read_empty_archive_is_fine(void **state)
{
    vmbi_buf tar = archive_of(paths, 0);
    seen s = {0};

    (void)state;
    assert_int_equal(tar.len, 1024);
    assert_int_equal(read_all(tar.data, tar.len, 512, &s, NULL), VMB_OK);
    assert_int_equal(s.paths.n, 0);
    vmbi_buf_free(&tar);
}

static void tar_read_cut_entry_is_refused(void **state)
{
    vmbi_buf tar = archive_of(paths, 2);
    seen s = {0};

    (void)state;
    assert_int_equal(read_all(tar.data, 512 + 5, 512, &s, NULL), VMB_E_PARSE);
    assert_int_equal(read_all(tar.data, 300, 512, &s, NULL), VMB_E_PARSE);
    assert_int_equal(s.paths.n, 0);
    vmbi_buf_free(&tar);
}

static void tar_read_out_of_memory_is_reported(void **state)
{
    vmbi_buf tar = archive_of(paths, 1);
    vmbi_buf gz = VMBI_BUF_INIT(100000);
    uint64_t n = 1;

    (void)state;
    assert_int_equal(vmbi_gzip_buf(tar.data, tar.len, &gz, NULL), VMB_OK);
    for (;; n++) {
        input in = {gz.data, gz.len, 512, 0, 0};
        vmb_error *err = NULL;
        vmb_code code;

        vmbi_alloc_fail_from(n);
        code = vmbi_tar_read(read_input, &in, 1 << 20, NULL, NULL, &err);
        vmbi_alloc_fail_from(0);
        assert_int_equal(code, VMB_E_NOMEM);
        vmb_error_free(err);
        if (n == 5) {
            break; /* source, inflate, its two tables, content */
        }
    }
    vmbi_buf_free(&gz);
    vmbi_buf_free(&tar);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tar_written_paths_read_back),
        cmocka_unit_test(tar_header_fields_are_exact),
        cmocka_unit_test(tar_pax_any_length_reads_back),
        cmocka_unit_test(tar_content_of_any_size_reads_back),
        cmocka_unit_test(tar_bad_arguments_are_refused),
        cmocka_unit_test(tar_read_other_types_are_ignored),
        cmocka_unit_test(tar_read_gnu_long_name),
        cmocka_unit_test(tar_read_evil_paths_are_refused),
        cmocka_unit_test(tar_read_raw_bytes_in_names),
        cmocka_unit_test(tar_read_large_file_meets_limit),
        cmocka_unit_test(tar_read_callback_ends_walk),
        cmocka_unit_test(tar_read_failing_source_is_reported),
        cmocka_unit_test(tar_read_cut_gzip_is_refused),
        cmocka_unit_test(tar_read_wrong_checksum_is_refused),
        cmocka_unit_test(tar_read_no_archive_is_refused),
        cmocka_unit_test(tar_read_empty_archive_is_fine),
        cmocka_unit_test(tar_read_cut_entry_is_refused),
        cmocka_unit_test(tar_read_out_of_memory_is_reported),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
