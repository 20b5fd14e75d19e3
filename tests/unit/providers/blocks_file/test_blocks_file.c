/* SPDX-License-Identifier: Apache-2.0 */
/* Files as disks; block devices, which need a loop device, are in tests/interop/restic/run_disk.py. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <vmbackup/volume.h>

#include "base/error.h"
#include "base/job.h"

enum { KIB = 1024, MIB = 1024 * KIB };

static char folder[64];
static char path[128];
static vmb_job job;

static int setup(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof(folder), "/tmp/vmb-blocks-XXXXXX");
    assert_non_null(mkdtemp(folder));
    (void)snprintf(path, sizeof(path), "%s/disk", folder);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    (void)unlink(path);
    (void)rmdir(folder);
    return 0;
}

static vmb_blocks_provider open_file(bool write)
{
    vmb_blocks_provider t = {0};
    vmb_error *err = NULL;
    if (vmb_blocks_open_file(path, write ? 1 : 0, &t, &err) != VMB_OK) {
        fail_msg("open: %s", vmb_error_message(err));
    }
    assert_int_equal(t.struct_size, sizeof(t));
    assert_int_equal(t.api_version, VMB_PROVIDER_API);
    return t;
}

/* A file of size bytes with 64 KiB of data at each offset of the list. */
static void make_file(int64_t size, const int64_t *offsets, size_t n)
{
    static uint8_t block[64 * KIB];
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    memset(block, 'd', sizeof(block));
    assert_int_equal(ftruncate(fd, size), 0);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(pwrite(fd, block, sizeof(block), offsets[i]), sizeof(block));
    }
    (void)close(fd);
}

typedef struct seen {
    int64_t end;
    int64_t zero, data;
    size_t n;
} seen;

static vmb_code see(void *user, int64_t offset, int64_t length, int32_t kind, vmb_error **err)
{
    seen *s = user;
    (void)err;
    assert_int_equal(offset, s->end); /* no gaps, in order */
    s->end += length;
    *(kind == VMB_EXTENT_ZERO ? &s->zero : &s->data) += length;
    s->n++;
    return VMB_OK;
}

static seen look(vmb_blocks_provider *t, int64_t from, int64_t length)
{
    seen s = {.end = from};
    struct vmb_extent_sink sink = {see, &s};
    assert_int_equal(t->extents(t->user, &job, from, length, NULL, &sink, NULL), VMB_OK);
    assert_int_equal(s.end, from + length);
    return s;
}

static void holes_are_zeros(void **state)
{
    const int64_t at[] = {0, 3 * MIB, 10 * MIB - 64 * KIB};
    (void)state;
    make_file(10 * MIB, at, 3);
    vmb_blocks_provider t = open_file(false);
    int64_t size = 0;
    assert_int_equal(t.size(t.user, &job, &size, NULL), VMB_OK);
    assert_int_equal(size, 10 * MIB);
    seen s = look(&t, 0, size);
    if (s.n == 1) { /* this file system knows of no holes */
        assert_int_equal(s.data, size);
        t.destroy(t.user);
        skip();
    }
    assert_int_equal(s.data, 3 * 64 * KIB);
    s = look(&t, MIB, MIB);
    assert_int_equal(s.zero, MIB);
    s = look(&t, 3 * MIB - 1000, 2000);
    assert_int_equal(s.zero, 1000);
    assert_int_equal(s.data, 1000);
    assert_null(t.pwrite);
    assert_null(t.resize);
    t.destroy(t.user);
}

static void space_that_was_never_written_is_zeros(void **state)
{
    (void)state;
    make_file(0, NULL, 0);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fallocate(fd, 0, 0, 128 * MIB) != 0) {
        (void)close(fd);
        skip();
    }
    assert_int_equal(pwrite(fd, "x", 1, 70 * MIB), 1); /* not on the disk yet */
    (void)close(fd);
    vmb_blocks_provider t = open_file(false);
    seen s = look(&t, 0, 128 * MIB);
    assert_in_range(s.data, 1, 2 * MIB);
    t.destroy(t.user);
}

static void state_is_not_known(void **state)
{
    seen s = {0};
    struct vmb_extent_sink sink = {see, &s};
    (void)state;
    make_file(1000, NULL, 0);
    vmb_blocks_provider t = open_file(false);
    assert_null(t.state);
    assert_int_equal(t.extents(t.user, &job, 0, 1000, "x", &sink, NULL), VMB_E_NOT_FOUND);
    assert_int_equal(s.n, 0);
    t.destroy(t.user);
}

static void file_that_shrinks_is_an_error(void **state)
{
    static uint8_t got[MIB];
    const int64_t at[] = {0};
    vmb_error *err = NULL;
    (void)state;
    make_file(MIB, at, 1);
    vmb_blocks_provider t = open_file(false);
    assert_int_equal(t.pread(t.user, &job, got, MIB, 0, NULL), VMB_OK);
    assert_int_equal(got[64 * KIB - 1], 'd');
    assert_int_equal(got[64 * KIB], 0);
    assert_int_equal(truncate(path, 500 * KIB), 0);
    assert_int_equal(t.pread(t.user, &job, got, MIB, 0, &err), VMB_E_IO);
    assert_non_null(strstr(vmb_error_message(err), "at 512000"));
    assert_non_null(strstr(vmb_error_message(err), "become smaller"));
    vmb_error_free(err);
    t.destroy(t.user);
}

static void target_is_made_and_written(void **state)
{
    struct stat st;
    uint8_t got[100];
    (void)state;
    vmb_blocks_provider t = open_file(true);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(t.resize(t.user, &job, 5 * MIB, NULL), VMB_OK);
    assert_int_equal(t.pwrite(t.user, &job, "hello", 5, 4 * MIB, NULL), VMB_OK);
    assert_int_equal(t.flush(t.user, &job, NULL), VMB_OK);
    assert_int_equal(t.pread(t.user, &job, got, 6, 4 * MIB, NULL), VMB_OK);
    assert_memory_equal(got, "hello\0", 6);
    assert_int_equal(t.resize(t.user, &job, MIB, NULL), VMB_OK);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, MIB);
    t.destroy(t.user);
}

static void zeroing_gives_storage_back(void **state)
{
    static uint8_t block[4 * MIB], got[4 * MIB];
    struct stat before, after;
    (void)state;
    memset(block, 'z', sizeof(block));
    vmb_blocks_provider t = open_file(true);
    assert_int_equal(t.pwrite(t.user, &job, block, sizeof(block), 0, NULL), VMB_OK);
    assert_int_equal(t.flush(t.user, &job, NULL), VMB_OK);
    assert_int_equal(stat(path, &before), 0);
    /* not aligned to anything */
    assert_int_equal(t.zero(t.user, &job, 1001, 3 * MIB, NULL), VMB_OK);
    assert_int_equal(stat(path, &after), 0);
    assert_int_equal(after.st_size, before.st_size);
    assert_true(after.st_blocks < before.st_blocks / 2);
    memset(block + 1001, 0, 3 * MIB);
    assert_int_equal(t.pread(t.user, &job, got, sizeof(got), 0, NULL), VMB_OK);
    assert_int_equal(memcmp(got, block, sizeof(got)), 0);
    t.destroy(t.user);
}

static vmb_code code_of(const char *what, int32_t write)
{
    vmb_blocks_provider t = {0};
    vmb_error *err = NULL;
    vmb_code rc = vmb_blocks_open_file(what, write, &t, &err);
    assert_int_equal(vmb_error_code(err), rc);
    vmb_error_free(err);
    assert_null(t.user); /* untouched */
    return rc;
}

static void paths_that_are_no_disks_are_refused(void **state)
{
    (void)state;
    assert_int_equal(code_of("/no/such/disk", 0), VMB_E_NOT_FOUND);
    assert_int_equal(code_of("/no/such/disk", 1), VMB_E_NOT_FOUND);
    assert_int_equal(code_of(folder, 0), VMB_E_INVALID);
    assert_int_equal(code_of(folder, 1), VMB_E_INVALID);
    assert_int_equal(code_of("/dev/null", 0), VMB_E_INVALID);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(code_of(path, 0), VMB_E_INVALID);
    assert_int_equal(code_of(path, 1), VMB_E_INVALID);
    assert_int_equal(code_of("", 0), VMB_E_ARG);
    assert_int_equal(code_of(NULL, 0), VMB_E_ARG);
    assert_int_equal(code_of(path, 2), VMB_E_ARG);
    assert_int_equal(vmb_blocks_open_file(path, 0, NULL, NULL), VMB_E_ARG);
}

/* Where a device has gone, writing must not fill the memory behind /dev, nor a link's target. */
static void target_whose_device_is_gone_is_not_made(void **state)
{
    static const char device[] = "/dev/vmbackup-no-such-disk";
    vmb_blocks_provider t = {0};
    vmb_error *err = NULL;
    char target[160];
    (void)state;
    assert_int_equal(vmb_blocks_open_file(device, 1, &t, &err), VMB_E_NOT_FOUND);
    assert_non_null(strstr(vmb_error_message(err), device));
    vmb_error_free(err);
    assert_int_not_equal(access(device, F_OK), 0);
    (void)snprintf(target, sizeof(target), "%s/gone", folder);
    assert_int_equal(symlink(target, path), 0);
    assert_int_not_equal(vmb_blocks_open_file(path, 1, &t, NULL), VMB_OK);
    assert_int_not_equal(access(target, F_OK), 0);
}

static vmb_code keep(void *user, int64_t offset, int64_t length, int32_t kind, vmb_error **err)
{
    int64_t *v = user;
    (void)err;
    v[0] = offset;
    v[1] = length;
    v[2] = kind;
    return VMB_E_CANCELLED;
}

static void sink_refuses_what_is_no_extent(void **state)
{
    int64_t v[3] = {-1, -1, -1};
    struct vmb_extent_sink sink = {keep, v};
    (void)state;
    assert_int_equal(vmb_extent_sink_push(NULL, 0, 1, 0, NULL), VMB_E_ARG);
    assert_int_equal(vmb_extent_sink_push(&sink, -1, 1, 0, NULL), VMB_E_ARG);
    assert_int_equal(vmb_extent_sink_push(&sink, 0, 0, 0, NULL), VMB_E_ARG);
    assert_int_equal(vmb_extent_sink_push(&sink, INT64_MAX, 1, 0, NULL), VMB_E_ARG);
    assert_int_equal(vmb_extent_sink_push(&sink, 0, 1, 3, NULL), VMB_E_ARG);
    assert_int_equal(vmb_extent_sink_push(&sink, 0, 1, -1, NULL), VMB_E_ARG);
    assert_int_equal(v[0], -1);
    assert_int_equal(vmb_extent_sink_push(&sink, 5, 6, VMB_EXTENT_UNCHANGED, NULL),
                     VMB_E_CANCELLED);
    assert_int_equal(v[0], 5);
    assert_int_equal(v[1], 6);
    assert_int_equal(v[2], VMB_EXTENT_UNCHANGED);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(holes_are_zeros),
        T(space_that_was_never_written_is_zeros),
        T(state_is_not_known),
        T(file_that_shrinks_is_an_error),
        T(target_is_made_and_written),
        T(zeroing_gives_storage_back),
        T(paths_that_are_no_disks_are_refused),
        T(target_whose_device_is_gone_is_not_made),
        T(sink_refuses_what_is_no_extent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
