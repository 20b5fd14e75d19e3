/* SPDX-License-Identifier: Apache-2.0 */
/* Saving disks: what is read, what is stored, and what is taken from the parent. */
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "codec/json.h"
#include "repo/disk/find.h"

static void disk_of_odd_size_comes_back(void **state)
{
    world *w = *state;
    char id[VMBI_REPO_HEX_SIZE];
    fake_disk d;
    fake_disk_init(&d, 21 * CHUNK + 777);
    fake_disk_fill(&d, 0, d.size, 1);
    vmbi_disk_save_stats s = save_disk(w, &d, NULL, id);
    assert_int_equal(s.chunks, 22);
    assert_int_equal(s.chunk_bytes, CHUNK);
    assert_int_equal(s.bytes_read, d.size);
    assert_int_equal(w->data_new, 22 + 1);
    check_content(w, id, &d);
    world_reopen(w);
    check_content(w, id, &d);
    fake_disk_free(&d);
}

static void disk_without_bytes_is_a_file_without_chunks(void **state)
{
    world *w = *state;
    char id[VMBI_REPO_HEX_SIZE];
    fake_disk d;
    fake_disk_init(&d, 0);
    vmbi_disk_save_stats s = save_disk(w, &d, NULL, id);
    assert_int_equal(s.chunks, 0);
    check_content(w, id, &d);
    (void)save_disk(w, &d, id, id);
    check_content(w, id, &d);
    fake_disk_free(&d);
}

static void disk_of_zeros_stores_one_chunk_per_size(void **state)
{
    world *w = *state;
    char id[VMBI_REPO_HEX_SIZE];
    fake_disk d;
    fake_disk_init(&d, 40 * CHUNK + 100);
    vmbi_disk_save_stats s = save_disk(w, &d, NULL, id);
    assert_int_equal(s.bytes_zero, d.size);
    assert_int_equal(s.bytes_read, d.size); /* nobody told of holes */
    assert_int_equal(w->data_new, 2 + 1);
    check_content(w, id, &d);
    fake_disk_free(&d);
}

static void holes_are_not_read(void **state)
{
    static const extent told[] = {
        {0, CHUNK, VMB_EXTENT_DATA},
        {CHUNK, 9 * CHUNK, VMB_EXTENT_ZERO},
        /* a chunk with two small pieces of data, far enough from each other */
        {10 * CHUNK, 1000, VMB_EXTENT_DATA},
        {10 * CHUNK + 1000, 40000, VMB_EXTENT_ZERO},
        {10 * CHUNK + 41000, 512, VMB_EXTENT_DATA},
        {10 * CHUNK + 41512, CHUNK - 41512, VMB_EXTENT_ZERO},
        /* and a gap that nothing is told of: data */
        {12 * CHUNK, 4 * CHUNK + 5, VMB_EXTENT_ZERO},
    };
    world *w = *state;
    char id[VMBI_REPO_HEX_SIZE];
    fake_disk d;
    fake_disk_init(&d, 16 * CHUNK + 5);
    fake_disk_fill(&d, 0, CHUNK, 1);
    fake_disk_fill(&d, 10 * CHUNK, 10 * CHUNK + 1000, 2);
    fake_disk_fill(&d, 10 * CHUNK + 41000, 10 * CHUNK + 41512, 3);
    fake_disk_fill(&d, 11 * CHUNK + 100, 12 * CHUNK, 4);
    d.extents = told;
    d.n_extents = sizeof(told) / sizeof(told[0]);
    vmbi_disk_save_stats s = save_disk(w, &d, NULL, id);
    assert_int_equal(s.bytes_read, CHUNK + 1000 + 512 + CHUNK);
    assert_int_equal(s.bytes_zero, 13 * CHUNK + 5);
    check_content(w, id, &d);
    fake_disk_free(&d);
}

/* A disk with 20 chunks, saved once with state "s1"; then chunk 7 changes. */
static void save_first(world *w, fake_disk *d, size_t size, char id[VMBI_REPO_HEX_SIZE])
{
    static const extent all[] = {{0, INT64_C(1) << 40, VMB_EXTENT_DATA}};
    fake_disk_init(d, size);
    fake_disk_fill(d, 0, size, 5);
    d->extents = all;
    d->n_extents = 1;
    d->state = "s1";
    (void)save_disk(w, d, NULL, id);
    assert_string_equal(d->asked, " -");
    d->state = "s2";
    d->known_state = "s1";
}

static const extent seven_changed[] = {
    {0, 7 * CHUNK, VMB_EXTENT_UNCHANGED},
    {7 * CHUNK, 100, VMB_EXTENT_DATA},
    {7 * CHUNK + 100, INT64_C(1) << 40, VMB_EXTENT_UNCHANGED},
};

static void unchanged_chunks_are_taken_from_the_parent(void **state)
{
    world *w = *state;
    char first[VMBI_REPO_HEX_SIZE], id[VMBI_REPO_HEX_SIZE];
    fake_disk d;
    save_first(w, &d, 20 * CHUNK, first);
    fake_disk_fill(&d, 7 * CHUNK, 7 * CHUNK + 100, 6);
    d.extents = seven_changed;
    d.n_extents = 3;
    d.fail_at = 3; /* nobody looks there */
    vmbi_disk_save_stats s = save_disk(w, &d, first, id);
    assert_string_equal(d.asked, " s1 -"); /* the holes around what has changed */
    assert_true(s.parent_used);
    assert_int_equal(s.bytes_read, CHUNK); /* all of the chunk that changed in part */
    assert_int_equal(s.bytes_unchanged, 19 * CHUNK);
    assert_int_equal(w->data_new, 1 + 1);
    check_content(w, id, &d);
    d.fail_at = -1;
    world_reopen(w);
    check_content(w, id, &d);
    fake_disk_free(&d);
}

static void zeros_since_the_parent_are_zeros(void **state)
{
    static const extent told[] = {
        {0, 3 * CHUNK, VMB_EXTENT_UNCHANGED},
        {3 * CHUNK, 2 * CHUNK + 50, VMB_EXTENT_ZERO},
        {5 * CHUNK + 50, INT64_C(1) << 40, VMB_EXTENT_UNCHANGED},
    };
    world *w = *state;
    char first[VMBI_REPO_HEX_SIZE], id[VMBI_REPO_HEX_SIZE];
    fake_disk d;
    save_first(w, &d, 20 * CHUNK, first);
    memset(d.data + 3 * CHUNK, 0, 2 * CHUNK + 50);
    d.extents = told;
    d.n_extents = 3;
    vmbi_disk_save_stats s = save_disk(w, &d, first, id);
    assert_int_equal(s.bytes_read, CHUNK - 50); /* chunk 5 is partly zero, partly as before */
    assert_int_equal(s.bytes_zero, 2 * CHUNK);
    check_content(w, id, &d);
    fake_disk_free(&d);
}

static void resize(fake_disk *d, size_t size, uint32_t seed)
{
    uint8_t *data = realloc(d->data, size + 1);
    assert_non_null(data);
    d->data = data;
    size_t old = d->size;
    d->size = size;
    if (size > old) {
        fake_disk_fill(d, old, size, seed);
    }
}

static void holes_around_changes_are_not_read(void **state)
{
    static const extent holes[] = {
        {7 * CHUNK + 50, CHUNK - 50, VMB_EXTENT_ZERO},
        {15 * CHUNK, 100, VMB_EXTENT_ZERO},
    };
    static const extent changed[] = {
        {0, 7 * CHUNK, VMB_EXTENT_UNCHANGED},
        {7 * CHUNK, 100, VMB_EXTENT_DATA},
        {7 * CHUNK + 100, 5 * CHUNK, VMB_EXTENT_UNCHANGED},
        {15 * CHUNK, 4 * CHUNK, VMB_EXTENT_UNCHANGED},
        {19 * CHUNK + 10, 10, VMB_EXTENT_ZERO},
    };
    world *w = *state;
    char first[VMBI_REPO_HEX_SIZE], id[VMBI_REPO_HEX_SIZE];
    fake_disk d;
    save_first(w, &d, 20 * CHUNK, first);
    memset(d.data + 7 * CHUNK + 50, 0, CHUNK - 50);
    memset(d.data + 19 * CHUNK + 10, 0, 10);
    d.extents = changed;
    d.n_extents = 5;
    d.holes = holes;
    d.n_holes = 2;
    vmbi_disk_save_stats s = save_disk(w, &d, first, id);
    assert_string_equal(d.asked, " s1 -");
    /* of chunk 7 the start; chunks 12 to 14, of which nothing was told; chunk 19 in full */
    assert_int_equal(s.bytes_read, 50 + 3 * CHUNK + CHUNK);
    check_content(w, id, &d);
    fake_disk_free(&d);
}

/* The source calls everything unchanged, also what was not there before. */
static void disk_that_grew_is_read_at_its_end(void **state)
{
    world *w = *state;
    char first[VMBI_REPO_HEX_SIZE], id[VMBI_REPO_HEX_SIZE];
    fake_disk d;
    save_first(w, &d, 10 * CHUNK + 10, first);
    resize(&d, 13 * CHUNK + 99, 8);
    d.extents = seven_changed;
    d.n_extents = 3;
    vmbi_disk_save_stats s = save_disk(w, &d, first, id);
    assert_int_equal(s.bytes_read, CHUNK + 3 * CHUNK + 99);
    assert_int_equal(s.bytes_unchanged, 9 * CHUNK);
    check_content(w, id, &d);
    fake_disk_free(&d);
}

static void disk_that_shrank_is_read_at_its_end(void **state)
{
    world *w = *state;
    char first[VMBI_REPO_HEX_SIZE], id[VMBI_REPO_HEX_SIZE];
    fake_disk d;
    save_first(w, &d, 13 * CHUNK, first);
    resize(&d, 9 * CHUNK + 1, 0);
    d.extents = seven_changed;
    d.n_extents = 3;
    vmbi_disk_save_stats s = save_disk(w, &d, first, id);
    assert_int_equal(s.bytes_read, CHUNK + 1);
    check_content(w, id, &d);
    fake_disk_free(&d);
}

static void state_that_is_forgotten_reads_everything(void **state)
{
    world *w = *state;
    char first[VMBI_REPO_HEX_SIZE], id[VMBI_REPO_HEX_SIZE];
    fake_disk d;
    save_first(w, &d, 20 * CHUNK, first);
    d.extents = seven_changed;
    d.n_extents = 3;
    d.known_state = "another";
    vmbi_disk_save_stats s = save_disk(w, &d, first, id);
    assert_string_equal(d.asked, " s1 -");
    assert_false(s.parent_used);
    assert_int_equal(s.bytes_read, d.size); /* without since nothing counts as unchanged */
    assert_int_equal(w->data_new, 0); /* the tree of the parent is the tree of this one */
    assert_non_null(strstr(w->log, "does not know"));
    fake_disk_free(&d);
}

static void parent_with_other_chunks_is_not_used(void **state)
{
    world *w = *state;
    char first[VMBI_REPO_HEX_SIZE];
    fake_disk d;
    save_first(w, &d, 20 * CHUNK, first);
    const vmbi_disk_save_options o = {.chunk_bytes = 2 * CHUNK, .parent = first};
    d.extents = seven_changed;
    d.n_extents = 3;
    d.bytes_read = 0;
    assert_int_equal(try_save(w, &d, &o, NULL), VMB_OK);
    assert_int_equal(d.bytes_read, d.size);
    fake_disk_free(&d);
}

static void parent_with_other_chunks_gives_their_size(void **state)
{
    world *w = *state;
    char first[VMBI_REPO_HEX_SIZE], id[VMBI_REPO_HEX_SIZE];
    fake_disk d;
    save_first(w, &d, 20 * CHUNK, first);
    const vmbi_disk_save_options o = {.parent = first};
    vmbi_disk_save_stats s = {0};
    d.extents = seven_changed;
    d.n_extents = 3;
    assert_int_equal(vmbi_disk_save(w->repo, fake_disk_table(&d), &o, &w->job, id, &s, NULL),
                     VMB_OK);
    assert_int_equal(s.chunk_bytes, CHUNK);
    assert_int_equal(s.bytes_read, CHUNK);
    fake_disk_free(&d);
}

static void parent_of_another_provider_is_not_used(void **state)
{
    world *w = *state;
    char first[VMBI_REPO_HEX_SIZE], id[VMBI_REPO_HEX_SIZE];
    fake_disk d;
    save_first(w, &d, 20 * CHUNK, first);
    d.extents = seven_changed;
    d.n_extents = 3;
    const vmbi_disk_save_options o = {.parent = first};
    vmbi_disk_save_stats s = {0};
    vmb_blocks_provider *table = fake_disk_table(&d);
    table->name = "other";
    assert_int_equal(vmbi_disk_save(w->repo, table, &o, &w->job, id, &s, NULL), VMB_OK);
    assert_int_equal(s.bytes_read, d.size);
    fake_disk_free(&d);
}

static void force_reads_everything(void **state)
{
    world *w = *state;
    char first[VMBI_REPO_HEX_SIZE];
    fake_disk d;
    save_first(w, &d, 20 * CHUNK, first);
    const vmbi_disk_save_options o = {.chunk_bytes = CHUNK, .parent = first, .force = true};
    d.extents = seven_changed;
    d.n_extents = 3;
    d.bytes_read = 0;
    assert_int_equal(try_save(w, &d, &o, NULL), VMB_OK);
    assert_int_equal(d.bytes_read, d.size);
    fake_disk_free(&d);
}

static void parent_that_is_missing_costs_time_only(void **state)
{
    world *w = *state;
    char id[VMBI_REPO_HEX_SIZE], gone[VMBI_REPO_HEX_SIZE];
    fake_disk d;
    memset(gone, 'a', sizeof(gone) - 1);
    gone[sizeof(gone) - 1] = '\0';
    fake_disk_init(&d, 3 * CHUNK);
    fake_disk_fill(&d, 0, d.size, 2);
    vmbi_disk_save_stats s = save_disk(w, &d, gone, id);
    assert_int_equal(s.bytes_read, d.size);
    assert_non_null(strstr(w->log, "nothing can be taken from the parent"));
    check_content(w, id, &d);
    fake_disk_free(&d);
}

static char *tree_of(world *w, const char *id)
{
    vmbi_json *snap = NULL;
    assert_int_equal(vmbi_repo_snapshot_load(w->repo, id, NULL, &snap, NULL), VMB_OK);
    char *tree = strdup(vmbi_json_get_str(snap, "tree"));
    vmbi_json_free(snap);
    return tree;
}

static void disk_that_is_unchanged_has_the_same_tree(void **state)
{
    world *w = *state;
    char first[VMBI_REPO_HEX_SIZE], id[VMBI_REPO_HEX_SIZE];
    fake_disk d;
    save_first(w, &d, 5 * CHUNK, first);
    (void)save_disk(w, &d, first, id);
    char *a = tree_of(w, first), *b = tree_of(w, id);
    assert_string_equal(a, b);
    assert_string_not_equal(first, id);
    free(a);
    free(b);
    fake_disk_free(&d);
}

static void file_lies_in_the_folder_that_was_named(void **state)
{
    world *w = *state;
    const char *tags[] = {"x", "y=z"};
    const vmbi_disk_save_options o = {.name = "root.raw", .folder = "/shop/vm 1", .hostname = "node",
                                      .tags = tags, .n_tags = 2};
    char id[VMBI_REPO_HEX_SIZE];
    vmbi_json *snap = NULL;
    vmbi_node node = {0};
    fake_disk d;
    fake_disk_init(&d, 1000);
    assert_int_equal(vmbi_disk_save(w->repo, fake_disk_table(&d), &o, &w->job, id, NULL, NULL),
                     VMB_OK);
    assert_int_equal(vmbi_disk_find(w->repo, "latest", "/shop/vm 1/root.raw", &node, NULL, &snap,
                                    NULL),
                     VMB_OK);
    assert_int_equal(node.size, 1000);
    vmbi_node_done(&node);
    assert_string_equal(vmbi_json_str(vmbi_json_at(vmbi_json_get(snap, "paths"), 0)),
                        "/shop/vm 1/root.raw");
    assert_string_equal(vmbi_json_get_str(snap, "hostname"), "node");
    assert_string_equal(vmbi_json_str(vmbi_json_at(vmbi_json_get(snap, "tags"), 1)), "y=z");
    vmbi_json_free(snap);
    assert_int_equal(vmbi_disk_find(w->repo, id, "/shop", &node, NULL, NULL, NULL), VMB_E_INVALID);
    assert_int_equal(vmbi_disk_find(w->repo, id, "/root.raw", &node, NULL, NULL, NULL),
                     VMB_E_NOT_FOUND);
    fake_disk_free(&d);
}

static void options_that_make_no_sense_are_refused(void **state)
{
    static const vmbi_disk_save_options bad[] = {
        {.chunk_bytes = 100000},  {.chunk_bytes = 32 * KIB}, {.chunk_bytes = 16 << 20},
        {.name = ""},             {.name = "a/b"},           {.name = ".."},
        {.folder = "relative"},   {.folder = "/a/"},         {.folder = "//a"},
        {.folder = "/a/../b"},
    };
    world *w = *state;
    fake_disk d;
    fake_disk_init(&d, 100);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(try_save(w, &d, &bad[i], NULL), VMB_E_ARG);
    }
    assert_int_equal(d.reads, 0);
    fake_disk_free(&d);
}

static void extents_that_lie_are_refused(void **state)
{
    static const extent twice[] = {{0, CHUNK, 0}, {100, CHUNK, 1}};
    static const extent back[] = {{CHUNK, CHUNK, 0}, {0, CHUNK, 1}};
    static const extent kind[] = {{0, CHUNK, 7}};
    static const struct {
        const extent *v;
        size_t n;
    } bad[] = {{twice, 2}, {back, 2}, {kind, 1}};
    world *w = *state;
    const vmbi_disk_save_options o = {.chunk_bytes = CHUNK};
    for (size_t i = 0; i < 3; i++) {
        fake_disk d;
        fake_disk_init(&d, 4 * CHUNK);
        d.extents = bad[i].v;
        d.n_extents = bad[i].n;
        assert_int_equal(try_save(w, &d, &o, NULL), VMB_E_PROVIDER);
        fake_disk_free(&d);
    }
}

static vmb_code push_outside(void *user, vmb_job *job, int64_t offset, int64_t length,
                             const char *since, vmb_extent_sink *out, vmb_error **err)
{
    (void)user;
    (void)job;
    (void)since;
    return out->push(out->user, offset, length + 1, VMB_EXTENT_ZERO, err);
}

static void extents_past_the_end_are_refused(void **state)
{
    world *w = *state;
    const vmbi_disk_save_options o = {0};
    char id[VMBI_REPO_HEX_SIZE];
    fake_disk d;
    fake_disk_init(&d, 4 * CHUNK);
    vmb_blocks_provider *table = fake_disk_table(&d);
    table->extents = push_outside;
    assert_int_equal(vmbi_disk_save(w->repo, table, &o, &w->job, id, NULL, NULL), VMB_E_PROVIDER);
    fake_disk_free(&d);
}

/* More pieces than are kept: what is not kept is read. */
static vmb_code push_crumbs(void *user, vmb_job *job, int64_t offset, int64_t length,
                            const char *since, vmb_extent_sink *out, vmb_error **err)
{
    vmb_code rc = VMB_OK;
    (void)user;
    (void)job;
    (void)since;
    for (int64_t at = offset; at + 256 <= offset + length && rc == VMB_OK; at += 256) {
        rc = out->push(out->user, at + 16, 240, VMB_EXTENT_ZERO, err);
    }
    return rc;
}

static void crumbs_of_data_are_all_saved(void **state)
{
    world *w = *state;
    const vmbi_disk_save_options o = {.chunk_bytes = CHUNK};
    char id[VMBI_REPO_HEX_SIZE];
    fake_disk d;
    fake_disk_init(&d, 100 * CHUNK);
    for (size_t i = 0; i < d.size; i += 256) {
        memcpy(d.data + i, &i, sizeof(i));
        d.data[i + 15] = 1;
    }
    vmb_blocks_provider *table = fake_disk_table(&d);
    table->extents = push_crumbs;
    assert_int_equal(vmbi_disk_save(w->repo, table, &o, &w->job, id, NULL, NULL), VMB_OK);
    check_content(w, id, &d);
    fake_disk_free(&d);
}

static void read_that_fails_ends_the_backup(void **state)
{
    world *w = *state;
    const vmbi_disk_save_options o = {.chunk_bytes = CHUNK};
    vmb_error *err = NULL;
    fake_disk d;
    fake_disk_init(&d, 30 * CHUNK);
    fake_disk_fill(&d, 0, d.size, 3);
    d.fail_at = 20 * CHUNK;
    assert_int_equal(try_save(w, &d, &o, &err), VMB_E_IO);
    assert_non_null(strstr(vmb_error_message(err), "read the disk at 1310720: bad sector"));
    vmb_error_free(err);
    assert_int_equal(vmbi_repo_snapshot_load(w->repo, "latest", NULL, NULL, NULL), VMB_E_NOT_FOUND);
    d.fail_at = -1; /* what was stored is of use */
    char id[VMBI_REPO_HEX_SIZE];
    (void)save_disk(w, &d, NULL, id);
    assert_int_equal(w->data_new, 10 + 1);
    fake_disk_free(&d);
}

static void cancelling_ends_the_backup(void **state)
{
    world *w = *state;
    const vmbi_disk_save_options o = {.chunk_bytes = CHUNK};
    vmbi_cancel *cancel = NULL;
    fake_disk d;
    assert_int_equal(vmbi_cancel_new(&cancel, NULL), VMB_OK);
    fake_disk_init(&d, 3000 * CHUNK);
    d.cancel_at_read = cancel;
    w->job.limits.cancel = cancel;
    assert_int_equal(try_save(w, &d, &o, NULL), VMB_E_CANCELLED);
    assert_in_range(d.reads, 3, 4);
    w->job.limits.cancel = NULL;
    vmbi_cancel_free(cancel);
    fake_disk_free(&d);
}

static void told(void *user, uint64_t done, uint64_t total)
{
    uint64_t *last = user;
    assert_true(done >= *last && done <= total);
    *last = done;
}

static void progress_ends_at_the_size(void **state)
{
    world *w = *state;
    uint64_t last = 0;
    const vmbi_disk_save_options o = {.chunk_bytes = CHUNK, .progress = told, .user = &last};
    fake_disk d;
    fake_disk_init(&d, 30 * CHUNK + 9);
    fake_disk_fill(&d, 5 * CHUNK, 7 * CHUNK, 3);
    assert_int_equal(try_save(w, &d, &o, NULL), VMB_OK);
    assert_int_equal(last, d.size);
    fake_disk_free(&d);
}

static void source_that_cannot_read_is_refused(void **state)
{
    world *w = *state;
    const vmbi_disk_save_options o = {0};
    char id[VMBI_REPO_HEX_SIZE];
    fake_disk d;
    fake_disk_init(&d, 100);
    vmb_blocks_provider *table = fake_disk_table(&d);
    table->pread = NULL;
    assert_int_equal(vmbi_disk_save(w->repo, table, &o, &w->job, id, NULL, NULL), VMB_E_ARG);
    fake_disk_free(&d);
}

static void state_that_is_no_text_is_refused(void **state)
{
    world *w = *state;
    const vmbi_disk_save_options o = {0};
    static char long_one[5000];
    fake_disk d;
    fake_disk_init(&d, 100);
    d.state = "bad \xff";
    assert_int_equal(try_save(w, &d, &o, NULL), VMB_E_PROVIDER);
    memset(long_one, 'x', sizeof(long_one) - 1);
    d.state = long_one;
    assert_int_not_equal(try_save(w, &d, &o, NULL), VMB_OK);
    fake_disk_free(&d);
}

#define T(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(disk_of_odd_size_comes_back),
        T(disk_without_bytes_is_a_file_without_chunks),
        T(disk_of_zeros_stores_one_chunk_per_size),
        T(holes_are_not_read),
        T(unchanged_chunks_are_taken_from_the_parent),
        T(zeros_since_the_parent_are_zeros),
        T(holes_around_changes_are_not_read),
        T(disk_that_grew_is_read_at_its_end),
        T(disk_that_shrank_is_read_at_its_end),
        T(state_that_is_forgotten_reads_everything),
        T(parent_with_other_chunks_is_not_used),
        T(parent_with_other_chunks_gives_their_size),
        T(parent_of_another_provider_is_not_used),
        T(force_reads_everything),
        T(parent_that_is_missing_costs_time_only),
        T(disk_that_is_unchanged_has_the_same_tree),
        T(file_lies_in_the_folder_that_was_named),
        T(options_that_make_no_sense_are_refused),
        T(extents_that_lie_are_refused),
        T(extents_past_the_end_are_refused),
        T(crumbs_of_data_are_all_saved),
        T(read_that_fails_ends_the_backup),
        T(cancelling_ends_the_backup),
        T(progress_ends_at_the_size),
        T(source_that_cannot_read_is_refused),
        T(state_that_is_no_text_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
