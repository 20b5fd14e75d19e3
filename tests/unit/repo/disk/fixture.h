/* SPDX-License-Identifier: Apache-2.0 */
/* A repository in a temporary folder, and disks in memory that count, lie and fail on command. */
#ifndef TESTS_REPO_DISK_FIXTURE_H
#define TESTS_REPO_DISK_FIXTURE_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>

#include "base/job.h"
#include "repo/disk/disk.h"

enum { KIB = 1024, CHUNK = 64 * KIB };

typedef struct extent {
    int64_t offset, length;
    int32_t kind;
} extent;

typedef struct fake_disk {
    uint8_t *data;
    size_t size;
    /* as a source */
    const extent *extents; /* NULL: the table has no such function */
    size_t n_extents;
    const extent *holes; /* what is told without since; NULL: the same */
    size_t n_holes;
    const char *state;       /* NULL: no such function */
    const char *known_state; /* the one that extents knows; others are VMB_E_NOT_FOUND */
    int64_t fail_at;         /* reads and writes that touch this byte fail; -1: none */
    vmbi_cancel *cancel_at_read;
    uint64_t bytes_read;
    uint64_t reads;
    char asked[64]; /* the since of every question, since the last save_disk */
    /* as a target */
    bool can_resize, can_zero, deaf, lazy; /* deaf: writes are lost; lazy: zeroing does nothing */
    uint64_t bytes_written, bytes_zeroed, flushes;
    pthread_mutex_t lock;
    int writers; /* inside of pwrite and zero now */
    bool overlapped;
    vmb_blocks_provider table;
} fake_disk;

void fake_disk_init(fake_disk *d, size_t size);
/* Bytes that depend on the seed, not compressible. */
void fake_disk_fill(fake_disk *d, size_t from, size_t to, uint32_t seed);
vmb_blocks_provider *fake_disk_table(fake_disk *d); /* after all fields are set */
void fake_disk_free(fake_disk *d);

typedef struct world {
    char folder[64];
    vmb_store_provider store;
    vmb_job job;
    vmbi_repo *repo;
    uint64_t data_new; /* data blobs that save_disk stored anew */
    char log[4096];
} world;

int world_setup(void **state);
int world_teardown(void **state);
void world_reopen(world *w); /* as another process finds it */
/* Must succeed. */
vmbi_disk_save_stats save_disk(world *w, fake_disk *d, const char *parent,
                               char id[VMBI_REPO_HEX_SIZE]);
vmb_code try_save(world *w, fake_disk *d, const vmbi_disk_save_options *o, vmb_error **err);
/* The content of the snapshot's disk is that of d. */
void check_content(world *w, const char *id, const fake_disk *d);
/* Overwrites bytes in the middle of every pack. */
void damage_packs(world *w);

#endif
