/* SPDX-License-Identifier: Apache-2.0 */
/* Random reads: any cut, any thread, a small cache. */
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "repo/disk/read.h"
#include "repo/tree/backup.h"

static uint32_t next_random(uint32_t *x)
{
    *x ^= *x << 13;
    *x ^= *x >> 17;
    *x ^= *x << 5;
    return *x;
}

/* Reads pieces at random places; the number of differences. Any thread. */
static int read_around(vmbi_disk *disk, const fake_disk *d, int times, size_t most, uint32_t seed)
{
    int wrong = 0;
    uint8_t *got = malloc(most + 1);
    for (int i = 0; i < times && got != NULL; i++) {
        size_t at = next_random(&seed) % d->size;
        size_t n = next_random(&seed) % most + 1;
        n = n > d->size - at ? d->size - at : n;
        wrong += vmbi_disk_pread(disk, got, n, at, NULL) != VMB_OK ||
                 memcmp(got, d->data + at, n) != 0;
    }
    free(got);
    return got != NULL ? wrong : 1;
}

static void make_disk(world *w, fake_disk *d, vmbi_disk **disk, uint64_t cache)
{
    char id[VMBI_REPO_HEX_SIZE];
    fake_disk_init(d, 100 * CHUNK + 4321);
    fake_disk_fill(d, 0, 30 * CHUNK, 1);
    fake_disk_fill(d, 31 * CHUNK, 32 * CHUNK, 2);
    fake_disk_fill(d, 70 * CHUNK + 5, d->size, 3);
    (void)save_disk(w, d, NULL, id);
    world_reopen(w);
    assert_int_equal(vmbi_disk_open(w->repo, id, "/disk.img", cache, &w->job, disk, NULL), VMB_OK);
}

static void reads_at_any_place_are_right(void **state)
{
    world *w = *state;
    vmbi_disk *disk = NULL;
    fake_disk d;
    uint8_t got[16];
    make_disk(w, &d, &disk, 0);
    assert_int_equal(disk->layout.fixed, CHUNK);
    assert_null(disk->layout.rel); /* no table for chunks of one size */
    assert_int_equal(read_around(disk, &d, 300, 3 * CHUNK, 77), 0);
    assert_int_equal(vmbi_disk_pread(disk, got, 0, d.size, NULL), VMB_OK);
    assert_int_equal(vmbi_disk_pread(disk, got, 1, d.size - 1, NULL), VMB_OK);
    assert_int_equal(got[0], d.data[d.size - 1]);
    assert_int_equal(vmbi_disk_pread(disk, got, 2, d.size - 1, NULL), VMB_E_ARG);
    assert_int_equal(vmbi_disk_pread(disk, got, 1, UINT64_MAX, NULL), VMB_E_ARG);
    vmbi_disk_close(disk);
    fake_disk_free(&d);
}

static void chunk_is_loaded_once(void **state)
{
    world *w = *state;
    vmbi_disk *disk = NULL;
    fake_disk d;
    uint8_t got[100];
    make_disk(w, &d, &disk, 0);
    for (uint64_t at = 0; at < 2 * CHUNK; at += 1000) {
        assert_int_equal(vmbi_disk_pread(disk, got, sizeof(got), at, NULL), VMB_OK);
    }
    assert_int_equal(vmbi_disk_pread(disk, got, sizeof(got), 50 * CHUNK, NULL), VMB_OK);
    assert_int_equal(vmbi_disk_cache_loads(disk->cache), 2 + 1); /* 132000 + 100 is in the third */
    vmbi_disk_close(disk);
    fake_disk_free(&d);
}

typedef struct seen {
    int64_t end;
    size_t n;
    int64_t zero, data;
    size_t stop_at;
} seen;

static vmb_code see(void *user, int64_t offset, int64_t length, int32_t kind)
{
    seen *s = user;
    assert_int_equal(offset, s->end);
    assert_true(length > 0);
    s->end = offset + length;
    s->n++;
    *(kind == VMB_EXTENT_ZERO ? &s->zero : &s->data) += length;
    return s->n == s->stop_at ? VMB_E_CANCELLED : VMB_OK;
}

static void extents_tell_zeros_without_reading(void **state)
{
    world *w = *state;
    vmbi_disk *disk = NULL;
    fake_disk d;
    make_disk(w, &d, &disk, 0);
    seen s = {0};
    assert_int_equal(vmbi_disk_extents(disk, 0, UINT64_MAX, see, &s, NULL), VMB_OK);
    assert_int_equal(s.end, d.size);
    assert_int_equal(s.n, 5);
    assert_int_equal(s.zero, CHUNK + 38 * CHUNK);
    s = (seen){.end = 30 * CHUNK + 7};
    assert_int_equal(vmbi_disk_extents(disk, 30 * CHUNK + 7, 3 * CHUNK, see, &s, NULL), VMB_OK);
    assert_int_equal(s.n, 3);
    assert_int_equal(s.data, CHUNK);
    assert_int_equal(s.end, 33 * CHUNK + 7);
    s = (seen){.stop_at = 2};
    assert_int_equal(vmbi_disk_extents(disk, 0, d.size, see, &s, NULL), VMB_E_CANCELLED);
    assert_int_equal(s.n, 2);
    s = (seen){.end = (int64_t)d.size};
    assert_int_equal(vmbi_disk_extents(disk, d.size, 5, see, &s, NULL), VMB_OK);
    assert_int_equal(s.n, 0);
    assert_int_equal(vmbi_disk_extents(disk, d.size + 1, 5, see, &s, NULL), VMB_E_ARG);
    assert_int_equal(vmbi_disk_cache_loads(disk->cache), 0);
    vmbi_disk_close(disk);
    fake_disk_free(&d);
}

typedef struct reader {
    pthread_t thread;
    vmbi_disk *disk;
    const fake_disk *d;
    uint32_t seed;
    int wrong;
} reader;

static void *read_in_thread(void *arg)
{
    reader *r = arg;
    r->wrong = read_around(r->disk, r->d, 200, 2 * CHUNK, r->seed);
    return NULL;
}

static int read_in_threads(vmbi_disk *disk, const fake_disk *d, void *(*fn)(void *))
{
    reader r[8];
    int wrong = 0;
    for (uint32_t i = 0; i < 8; i++) {
        r[i] = (reader){.disk = disk, .d = d, .seed = i + 1};
        assert_int_equal(pthread_create(&r[i].thread, NULL, fn, &r[i]), 0);
    }
    for (size_t i = 0; i < 8; i++) {
        (void)pthread_join(r[i].thread, NULL);
        wrong += r[i].wrong;
    }
    return wrong;
}

static void threads_share_a_large_cache(void **state)
{
    world *w = *state;
    vmbi_disk *disk = NULL;
    fake_disk d;
    make_disk(w, &d, &disk, 0);
    assert_int_equal(read_in_threads(disk, &d, read_in_thread), 0);
    assert_in_range(vmbi_disk_cache_loads(disk->cache), 50, 62); /* each chunk at most once */
    vmbi_disk_close(disk);
    fake_disk_free(&d);
}

static void threads_share_a_cache_of_two_chunks(void **state)
{
    world *w = *state;
    vmbi_disk *disk = NULL;
    fake_disk d;
    make_disk(w, &d, &disk, 2 * CHUNK + 100);
    assert_int_equal(read_in_threads(disk, &d, read_in_thread), 0);
    assert_true(vmbi_disk_cache_loads(disk->cache) > 62);
    vmbi_disk_close(disk);
    fake_disk_free(&d);
}

static void threads_share_a_cache_that_is_too_small_for_one(void **state)
{
    world *w = *state;
    vmbi_disk *disk = NULL;
    fake_disk d;
    make_disk(w, &d, &disk, 100);
    assert_int_equal(read_in_threads(disk, &d, read_in_thread), 0);
    vmbi_disk_close(disk);
    fake_disk_free(&d);
}

static void *read_damaged(void *arg)
{
    reader *r = arg;
    uint8_t got[10];
    for (int i = 0; i < 20; i++) {
        vmb_error *err = NULL;
        r->wrong += vmbi_disk_pread(r->disk, got, sizeof(got), 5, &err) != VMB_E_INVALID ||
                    strstr(vmb_error_message(err), "in pack") == NULL;
        vmb_error_free(err);
    }
    return NULL;
}

static void damage_is_told_to_every_thread(void **state)
{
    world *w = *state;
    vmbi_disk *disk = NULL;
    fake_disk d;
    make_disk(w, &d, &disk, 0);
    damage_packs(w);
    assert_int_equal(read_in_threads(disk, &d, read_damaged), 0);
    vmbi_disk_close(disk);
    fake_disk_free(&d);
}

static void cancelling_ends_reads(void **state)
{
    world *w = *state;
    vmbi_disk *disk = NULL;
    vmbi_cancel *cancel = NULL;
    fake_disk d;
    uint8_t byte = 0;
    make_disk(w, &d, &disk, 0);
    assert_int_equal(vmbi_cancel_new(&cancel, NULL), VMB_OK);
    vmbi_cancel_fire(cancel);
    w->job.limits.cancel = cancel;
    assert_int_equal(vmbi_disk_pread(disk, &byte, 1, 0, NULL), VMB_E_CANCELLED);
    w->job.limits.cancel = NULL;
    vmbi_cancel_free(cancel);
    vmbi_disk_close(disk);
    fake_disk_free(&d);
}

/* A file that was cut by restic's chunker: chunks of all sizes, zeros in pieces of 512 KiB. */
static void file_with_other_cuts_is_read(void **state)
{
    world *w = *state;
    char folder[] = "/tmp/vmb-disk-file-XXXXXX", path[64], id[VMBI_REPO_HEX_SIZE];
    const char *paths[1] = {path};
    const vmbi_tree_options o = {.paths = paths, .n_paths = 1, .hostname = "h"};
    vmbi_disk *disk = NULL;
    fake_disk d;
    fake_disk_init(&d, 24 << 20);
    fake_disk_fill(&d, 0, 9 << 20, 1);
    fake_disk_fill(&d, 15 << 20, d.size, 2);
    assert_non_null(mkdtemp(folder));
    (void)snprintf(path, sizeof(path), "%s/big", folder);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(d.data, 1, d.size, f), d.size);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(vmbi_tree_backup(w->repo, &o, &w->job, id, NULL, NULL), VMB_OK);
    assert_int_equal(vmbi_disk_open(w->repo, id, NULL, 0, &w->job, &disk, NULL), VMB_OK);
    assert_int_equal(disk->layout.fixed, 0);
    assert_int_equal(read_around(disk, &d, 200, 3 << 20, 5), 0);
    seen s = {0};
    assert_int_equal(vmbi_disk_extents(disk, 0, d.size, see, &s, NULL), VMB_OK);
    assert_in_range(s.zero, 4 << 20, 6 << 20);
    vmbi_disk_close(disk);
    /* and it is restored to a disk */
    fake_disk t;
    fake_disk_init(&t, 0);
    const vmbi_disk_restore_options ro = {.snapshot = id, .verify = true};
    assert_int_equal(vmbi_disk_restore(w->repo, fake_disk_table(&t), &ro, &w->job, NULL, NULL),
                     VMB_OK);
    assert_int_equal(t.size, d.size);
    assert_int_equal(memcmp(t.data, d.data, d.size), 0);
    (void)remove(path);
    (void)remove(folder);
    fake_disk_free(&d);
    fake_disk_free(&t);
}

static void snapshots_that_do_not_fit_are_refused(void **state)
{
    world *w = *state;
    vmbi_disk *disk = NULL;
    fake_disk d;
    make_disk(w, &d, &disk, 0);
    vmbi_disk_close(disk);
    disk = NULL;
    assert_int_equal(vmbi_disk_open(w->repo, "latest", "/other", 0, &w->job, &disk, NULL),
                     VMB_E_NOT_FOUND);
    assert_int_equal(vmbi_disk_open(w->repo, "latest", "/disk.img/x", 0, &w->job, &disk, NULL),
                     VMB_E_NOT_FOUND);
    assert_int_equal(vmbi_disk_open(w->repo, "0123456789", NULL, 0, &w->job, &disk, NULL),
                     VMB_E_NOT_FOUND);
    const char *const paths[2] = {"/proc/self/comm", "/proc/self/cmdline"};
    const vmbi_tree_options o = {.paths = paths, .n_paths = 2, .hostname = "h"};
    char id[VMBI_REPO_HEX_SIZE];
    assert_int_equal(vmbi_tree_backup(w->repo, &o, &w->job, id, NULL, NULL), VMB_OK);
    assert_int_equal(vmbi_disk_open(w->repo, id, NULL, 0, &w->job, &disk, NULL), VMB_E_CONFLICT);
    assert_null(disk);
    fake_disk_free(&d);
}

#define T(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(reads_at_any_place_are_right),
        T(chunk_is_loaded_once),
        T(extents_tell_zeros_without_reading),
        T(threads_share_a_large_cache),
        T(threads_share_a_cache_of_two_chunks),
        T(threads_share_a_cache_that_is_too_small_for_one),
        T(damage_is_told_to_every_thread),
        T(cancelling_ends_reads),
        T(file_with_other_cuts_is_read),
        T(snapshots_that_do_not_fit_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
