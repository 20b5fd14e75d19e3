/* SPDX-License-Identifier: Apache-2.0 */
/* Restoring disks to targets of several kinds. */
#include "fixture.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"

/* A source with holes, with zeros inside of chunks, and with equal chunks. */
static void make_source(fake_disk *d)
{
    fake_disk_init(d, 60 * CHUNK + 1234);
    fake_disk_fill(d, 0, 10 * CHUNK, 1);
    fake_disk_fill(d, 20 * CHUNK + 100, 20 * CHUNK + 200, 2);
    fake_disk_fill(d, 21 * CHUNK + 40 * KIB, 22 * CHUNK, 3);
    for (size_t i = 30; i < 40; i++) { /* the same chunk ten times */
        fake_disk_fill(d, i * CHUNK, (i + 1) * CHUNK, 7);
    }
    fake_disk_fill(d, 50 * CHUNK, d->size, 9);
}

static void save_source(world *w, fake_disk *d)
{
    char id[VMBI_REPO_HEX_SIZE];
    make_source(d);
    (void)save_disk(w, d, NULL, id);
    world_reopen(w);
}

static vmb_code restore(world *w, fake_disk *target, bool verify, vmbi_disk_restore_stats *stats,
                        vmb_error **err)
{
    const vmbi_disk_restore_options o = {.snapshot = "latest", .verify = verify};
    return vmbi_disk_restore(w->repo, fake_disk_table(target), &o, &w->job, stats, err);
}

static void check_same(const fake_disk *a, const fake_disk *b)
{
    assert_int_equal(a->size, b->size);
    assert_int_equal(memcmp(a->data, b->data, a->size), 0);
}

static void target_that_grows_gets_data_and_holes(void **state)
{
    world *w = *state;
    vmbi_disk_restore_stats s = {0};
    fake_disk d, t;
    save_source(w, &d);
    fake_disk_init(&t, 0);
    assert_int_equal(restore(w, &t, true, &s, NULL), VMB_OK);
    check_same(&d, &t);
    assert_int_equal(s.bytes, d.size);
    assert_int_equal(s.bytes_verified, d.size);
    assert_int_equal(s.bytes_written, t.bytes_written);
    assert_int_equal(s.bytes_zero, t.bytes_zeroed);
    assert_int_equal(s.bytes_written + s.bytes_zero, d.size);
    /* zeros inside of chunks count in steps of 32 KiB */
    assert_int_equal(s.bytes_written, 10 * CHUNK + 32 * KIB + 32 * KIB + 10 * CHUNK + 10 * CHUNK + 1234);
    assert_int_equal(t.flushes, 1);
    assert_false(t.overlapped);
    fake_disk_free(&d);
    fake_disk_free(&t);
}

static void target_without_zero_gets_zeros_written(void **state)
{
    world *w = *state;
    fake_disk d, t;
    save_source(w, &d);
    fake_disk_init(&t, d.size);
    memset(t.data, 0xff, t.size);
    t.can_zero = false;
    t.can_resize = false;
    assert_int_equal(restore(w, &t, true, NULL, NULL), VMB_OK);
    check_same(&d, &t);
    assert_int_equal(t.bytes_written, d.size);
    fake_disk_free(&d);
    fake_disk_free(&t);
}

static void target_that_is_larger_keeps_what_lies_behind(void **state)
{
    world *w = *state;
    fake_disk d, t;
    save_source(w, &d);
    fake_disk_init(&t, d.size + CHUNK);
    memset(t.data, 0xee, t.size);
    t.can_resize = false;
    assert_int_equal(restore(w, &t, false, NULL, NULL), VMB_OK);
    assert_int_equal(memcmp(d.data, t.data, d.size), 0);
    assert_int_equal(t.data[d.size], 0xee);
    assert_int_equal(t.data[t.size - 1], 0xee);
    fake_disk_free(&d);
    fake_disk_free(&t);
}

static void target_that_is_too_small_is_left_alone(void **state)
{
    world *w = *state;
    fake_disk d, t;
    save_source(w, &d);
    fake_disk_init(&t, d.size - 1);
    t.can_resize = false;
    assert_int_equal(restore(w, &t, false, NULL, NULL), VMB_E_FULL);
    assert_int_equal(t.bytes_written + t.bytes_zeroed, 0);
    fake_disk_free(&d);
    fake_disk_free(&t);
}

static void verify_finds_writes_that_were_lost(void **state)
{
    world *w = *state;
    vmb_error *err = NULL;
    fake_disk d, t;
    save_source(w, &d);
    fake_disk_init(&t, 0);
    t.deaf = true;
    assert_int_equal(restore(w, &t, false, NULL, NULL), VMB_OK);
    assert_int_equal(restore(w, &t, true, NULL, &err), VMB_E_INVALID);
    assert_non_null(strstr(vmb_error_message(err), "reads back other bytes"));
    vmb_error_free(err);
    fake_disk_free(&d);
    fake_disk_free(&t);
}

static void holes_are_verified_without_reading(void **state)
{
    static const extent told[] = {
        {0, 30 * CHUNK, VMB_EXTENT_DATA},
        {40 * CHUNK, 5 * CHUNK, VMB_EXTENT_ZERO},
    };
    world *w = *state;
    vmbi_disk_restore_stats s = {0};
    fake_disk d, t;
    save_source(w, &d);
    fake_disk_init(&t, 0);
    t.extents = told;
    t.n_extents = 2;
    assert_int_equal(restore(w, &t, true, &s, NULL), VMB_OK);
    check_same(&d, &t);
    assert_int_equal(s.bytes_verified, d.size);
    assert_int_equal(t.bytes_read, d.size - 5 * CHUNK);
    fake_disk_free(&d);
    fake_disk_free(&t);
}

static void verify_finds_zeros_that_were_lost(void **state)
{
    static const extent told[] = {{0, INT64_C(1) << 40, VMB_EXTENT_DATA}};
    world *w = *state;
    fake_disk d, t;
    save_source(w, &d);
    fake_disk_init(&t, d.size);
    memset(t.data + 12 * CHUNK, 0xaa, 10);
    t.extents = told;
    t.n_extents = 1;
    t.lazy = true;
    assert_int_equal(restore(w, &t, true, NULL, NULL), VMB_E_INVALID);
    fake_disk_free(&d);
    fake_disk_free(&t);
}

static void write_that_fails_ends_the_restore(void **state)
{
    world *w = *state;
    vmb_error *err = NULL;
    fake_disk d, t;
    save_source(w, &d);
    fake_disk_init(&t, 0);
    t.fail_at = 35 * CHUNK + 5;
    assert_int_equal(restore(w, &t, false, NULL, &err), VMB_E_FULL);
    assert_non_null(strstr(vmb_error_message(err), "write the disk at 2293760"));
    vmb_error_free(err);
    assert_int_equal(t.flushes, 0);
    fake_disk_free(&d);
    fake_disk_free(&t);
}

static void data_that_is_damaged_ends_the_restore(void **state)
{
    world *w = *state;
    vmb_error *err = NULL;
    fake_disk d, t;
    save_source(w, &d);
    fake_disk_init(&t, 0);
    const vmbi_disk_restore_options o = {.snapshot = "latest"};
    vmbi_disk *disk = NULL; /* opened now: the tree is damaged afterwards, too */
    assert_int_equal(vmbi_disk_open(w->repo, "latest", "/disk.img", 0, &w->job, &disk, NULL), VMB_OK);
    damage_packs(w);
    uint8_t byte = 0;
    assert_int_equal(vmbi_disk_pread(disk, &byte, 1, 5, &err), VMB_E_INVALID);
    assert_non_null(strstr(vmb_error_message(err), "in pack"));
    vmb_error_free(err);
    vmbi_disk_close(disk);
    assert_int_equal(vmbi_disk_restore(w->repo, fake_disk_table(&t), &o, &w->job, NULL, NULL),
                     VMB_E_INVALID);
    fake_disk_free(&d);
    fake_disk_free(&t);
}

static void stop(void *user, uint64_t done, uint64_t total)
{
    (void)done;
    (void)total;
    vmbi_cancel_fire(user);
}

static void cancelling_ends_the_restore(void **state)
{
    world *w = *state;
    vmbi_cancel *cancel = NULL;
    fake_disk d, t;
    save_source(w, &d);
    fake_disk_init(&t, 0);
    assert_int_equal(vmbi_cancel_new(&cancel, NULL), VMB_OK);
    vmbi_cancel_fire(cancel);
    w->job.limits.cancel = cancel;
    const vmbi_disk_restore_options o = {.snapshot = "latest", .progress = stop, .user = cancel};
    assert_int_equal(vmbi_disk_restore(w->repo, fake_disk_table(&t), &o, &w->job, NULL, NULL),
                     VMB_E_CANCELLED);
    w->job.limits.cancel = NULL;
    vmbi_cancel_free(cancel);
    fake_disk_free(&d);
    fake_disk_free(&t);
}

static void disk_without_bytes_empties_the_target(void **state)
{
    world *w = *state;
    char id[VMBI_REPO_HEX_SIZE];
    fake_disk d, t;
    fake_disk_init(&d, 0);
    (void)save_disk(w, &d, NULL, id);
    fake_disk_init(&t, 5000);
    assert_int_equal(restore(w, &t, true, NULL, NULL), VMB_OK);
    assert_int_equal(t.size, 0);
    fake_disk_free(&d);
    fake_disk_free(&t);
}

static void target_that_cannot_be_written_is_refused(void **state)
{
    world *w = *state;
    const vmbi_disk_restore_options o = {.snapshot = "latest", .verify = true};
    fake_disk d, t;
    save_source(w, &d);
    fake_disk_init(&t, 0);
    vmb_blocks_provider *table = fake_disk_table(&t);
    table->pread = NULL; /* nothing to verify with */
    assert_int_equal(vmbi_disk_restore(w->repo, table, &o, &w->job, NULL, NULL), VMB_E_ARG);
    table->pwrite = NULL;
    assert_int_equal(vmbi_disk_restore(w->repo, table, &o, &w->job, NULL, NULL), VMB_E_ARG);
    assert_int_equal(t.size, 0);
    fake_disk_free(&d);
    fake_disk_free(&t);
}

#define T(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(target_that_grows_gets_data_and_holes),
        T(target_without_zero_gets_zeros_written),
        T(target_that_is_larger_keeps_what_lies_behind),
        T(target_that_is_too_small_is_left_alone),
        T(verify_finds_writes_that_were_lost),
        T(holes_are_verified_without_reading),
        T(verify_finds_zeros_that_were_lost),
        T(write_that_fails_ends_the_restore),
        T(data_that_is_damaged_ends_the_restore),
        T(cancelling_ends_the_restore),
        T(disk_without_bytes_empties_the_target),
        T(target_that_cannot_be_written_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
