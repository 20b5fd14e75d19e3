/* SPDX-License-Identifier: Apache-2.0 */
/* A whole repository over a store in memory that records the order of writes and fails on command:
 * what servers cannot be made to show. Interop with the real restic is tests/interop/restic. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/job.h"
#include "codec/digest.h"
#include "repo/repo.h"
#include "repo/tree/pool.h"

enum { MAX_FILES = 400 };

typedef struct file {
    char key[128];
    char *data;
    size_t len, cap;
    bool there;
    int order; /* of the commit */
} file;

typedef struct memory {
    pthread_mutex_t mutex;
    file files[MAX_FILES];
    size_t n;
    int orders;
    const char *fail_put; /* keys that begin like this: VMB_E_FULL */
    int fail_after;       /* that many succeed first */
} memory;

static memory store_state;
static vmb_job job;

static vmb_code put_begin(void *user, vmb_job *j, const char *key, int64_t size_hint, uint32_t flags,
                          void **op, vmb_error **err)
{
    memory *m = user;
    file *f = NULL;
    vmb_code code = vmbi_limits_check(&j->limits, err, key);

    (void)size_hint;
    (void)flags;
    if (code != VMB_OK) {
        return code;
    }
    (void)pthread_mutex_lock(&m->mutex);
    if (m->fail_put != NULL && strncmp(key, m->fail_put, strlen(m->fail_put)) == 0 &&
        m->fail_after-- <= 0) {
        code = vmbi_fail(err, VMB_E_FULL, "no space for %s", key);
    } else if (m->n == MAX_FILES) {
        code = vmbi_fail(err, VMB_E_LIMIT, "too many files for this test");
    } else {
        f = &m->files[m->n++];
        memset(f, 0, sizeof(*f));
        (void)snprintf(f->key, sizeof(f->key), "%s", key);
    }
    (void)pthread_mutex_unlock(&m->mutex);
    *op = f;
    return code;
}

static vmb_code put_write(void *user, vmb_job *j, void *op, const void *data, size_t len,
                          vmb_error **err)
{
    file *f = op;

    (void)user;
    (void)j;
    (void)err;
    f->data = realloc(f->data, f->len + len + 1);
    memcpy(f->data + f->len, data, len);
    f->len += len;
    return VMB_OK;
}

static vmb_code put_commit(void *user, vmb_job *j, void *op, vmb_error **err)
{
    memory *m = user;
    file *f = op;

    (void)j;
    (void)err;
    (void)pthread_mutex_lock(&m->mutex);
    f->there = true;
    f->order = m->orders++;
    (void)pthread_mutex_unlock(&m->mutex);
    return VMB_OK;
}

static void put_abort(void *user, void *op)
{
    (void)user;
    (void)op;
}

static file *look(memory *m, const char *key)
{
    file *found = NULL;
    size_t i = 0;

    (void)pthread_mutex_lock(&m->mutex);
    for (i = 0; i < m->n; i++) {
        if (m->files[i].there && strcmp(m->files[i].key, key) == 0) {
            found = &m->files[i];
        }
    }
    (void)pthread_mutex_unlock(&m->mutex);
    return found;
}

static vmb_code get(void *user, vmb_job *j, const char *key, int64_t offset, int64_t length,
                    vmb_sink *out, vmb_error **err)
{
    const file *f = look(user, key);
    size_t n = 0;

    (void)j;
    if (f == NULL) {
        return vmbi_fail(err, VMB_E_NOT_FOUND, "no %s", key);
    }
    if ((size_t)offset >= f->len && length != 0 && f->len != 0) {
        return vmbi_fail(err, VMB_E_ARG, "past the end");
    }
    n = f->len - (size_t)offset;
    return out->write(out->user, f->data + offset,
                      length >= 0 && (size_t)length < n ? (size_t)length : n, err);
}

static vmb_code stat_file(void *user, vmb_job *j, const char *key, int64_t *size, int64_t *mtime,
                          vmb_error **err)
{
    const file *f = look(user, key);
    vmb_code code = vmbi_limits_check(&j->limits, err, key);

    if (code != VMB_OK) {
        return code;
    }
    if (f == NULL) {
        return vmbi_fail(err, VMB_E_NOT_FOUND, "no %s", key);
    }
    *size = (int64_t)f->len;
    *mtime = 0;
    return VMB_OK;
}

static int by_key(const void *a, const void *b)
{
    return strcmp((*(file *const *)a)->key, (*(file *const *)b)->key);
}

static vmb_code list(void *user, vmb_job *j, const char *prefix, const char *delimiter,
                     vmb_key_sink *out, vmb_error **err)
{
    memory *m = user;
    file *hits[MAX_FILES];
    size_t n = 0, i = 0;
    vmb_code code = VMB_OK;

    (void)j;
    (void)delimiter;
    (void)pthread_mutex_lock(&m->mutex);
    for (i = 0; i < m->n; i++) {
        if (m->files[i].there && strncmp(m->files[i].key, prefix, strlen(prefix)) == 0) {
            hits[n++] = &m->files[i];
        }
    }
    (void)pthread_mutex_unlock(&m->mutex);
    qsort(hits, n, sizeof(hits[0]), by_key);
    for (i = 0; code == VMB_OK && i < n; i++) {
        code = out->push(out->user, hits[i]->key, (int64_t)hits[i]->len, 0, 0, err);
    }
    return code;
}

static vmb_code remove_file(void *user, vmb_job *j, const char *key, vmb_error **err)
{
    file *f = look(user, key);

    (void)j;
    (void)err;
    if (f != NULL) {
        f->there = false;
    }
    return VMB_OK;
}

static const vmb_store_provider store = {
    .struct_size = sizeof(store), .api_version = VMB_PROVIDER_API, .name = "memory",
    .user = &store_state, .put_begin = put_begin, .put_write = put_write, .put_commit = put_commit,
    .put_abort = put_abort, .get = get, .stat = stat_file, .list = list, .remove = remove_file,
};

static int setup(void **state)
{
    (void)state;
    memset(&store_state, 0, sizeof(store_state));
    (void)pthread_mutex_init(&store_state.mutex, NULL);
    return 0;
}

static int teardown(void **state)
{
    size_t i = 0;

    (void)state;
    for (i = 0; i < store_state.n; i++) {
        free(store_state.files[i].data);
    }
    (void)pthread_mutex_destroy(&store_state.mutex);
    return 0;
}

static vmbi_repo_options options(void)
{
    vmbi_repo_options o;

    memset(&o, 0, sizeof(o));
    o.store = &store;
    o.job = &job;
    o.prefix = "p";
    o.password = "secret";
    o.password_len = 6;
    o.hostname = "h";
    o.username = "u";
    o.pack_bytes = 4 << 20;
    o.scrypt_n = 16;
    o.scrypt_r = 8;
    o.scrypt_p = 1;
    return o;
}

static vmbi_repo *make(void)
{
    const vmbi_repo_options o = options();
    vmbi_repo *r = NULL;

    assert_int_equal(vmbi_repo_init(&o, &r, NULL), VMB_OK);
    return r;
}

static vmbi_repo *make_ready(void)
{
    vmbi_repo *r = make();

    assert_int_equal(vmbi_repo_lock(r, VMBI_REPO_SHARED, 0, NULL), VMB_OK);
    assert_int_equal(vmbi_repo_load_index(r, NULL), VMB_OK);
    return r;
}

static vmbi_repo *reopen(void)
{
    const vmbi_repo_options o = options();
    vmbi_repo *r = NULL;

    assert_int_equal(vmbi_repo_open(&o, &r, NULL), VMB_OK);
    return r;
}

static size_t count(const char *prefix)
{
    size_t n = 0, i = 0;

    (void)pthread_mutex_lock(&store_state.mutex); /* uploads may still be under way */
    for (i = 0; i < store_state.n; i++) {
        n += store_state.files[i].there &&
             strncmp(store_state.files[i].key, prefix, strlen(prefix)) == 0;
    }
    (void)pthread_mutex_unlock(&store_state.mutex);
    return n;
}

static void fill(uint8_t *data, size_t len, uint64_t seed)
{
    size_t i = 0;

    for (i = 0; i + 8 <= len; i += 8) {
        seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        memcpy(data + i, &seed, 8);
    }
}

static vmb_code save(vmbi_repo *r, uint64_t seed, size_t len, vmbi_repo_id *id, bool *known,
                     vmb_error **err)
{
    uint8_t *data = calloc(1, len + 8);
    vmb_code code = VMB_OK;

    fill(data, len, seed);
    code = vmbi_repo_save_blob(r, VMBI_BLOB_DATA, data, len, id, known, err);
    free(data);
    return code;
}

static vmb_code save_snapshot(vmbi_repo *r, vmb_error **err)
{
    static const char tree[] = "{\"nodes\":[]}\n";
    char hex[VMBI_REPO_HEX_SIZE];
    vmbi_repo_id id;
    vmbi_json *v = NULL;
    vmb_code code = vmbi_repo_save_blob(r, VMBI_BLOB_TREE, tree, sizeof(tree) - 1, &id, NULL, err);

    if (code == VMB_OK) {
        vmbi_repo_id_hex(&id, hex);
        v = vmbi_json_object();
        if (!vmbi_json_set_str(v, "time", "2024-01-01T00:00:00Z") ||
            !vmbi_json_set_str(v, "tree", hex)) {
            code = vmbi_fail_nomem(err);
        }
    }
    if (code == VMB_OK) {
        code = vmbi_repo_snapshot_save(r, v, hex, err);
    }
    vmbi_json_free(v);
    return code;
}

static void save_without_lock_or_index_is_refused(void **state)
{
    vmbi_repo *r = make();
    vmbi_repo_id id;

    (void)state;
    assert_int_equal(save(r, 1, 100, &id, NULL, NULL), VMB_E_STATE);
    assert_int_equal(vmbi_repo_lock(r, VMBI_REPO_SHARED, 0, NULL), VMB_OK);
    assert_int_equal(save(r, 1, 100, &id, NULL, NULL), VMB_E_STATE);
    assert_int_equal(vmbi_repo_load_index(r, NULL), VMB_OK);
    assert_int_equal(save(r, 1, 100, &id, NULL, NULL), VMB_OK);
    vmbi_repo_close(r);
    assert_int_equal(count("p/locks/"), 0);
    assert_int_equal(count("p/data/"), 0); /* was not flushed */
}

static void blob_is_read_before_and_after_the_flush(void **state)
{
    vmbi_repo *r = make_ready();
    vmbi_buf out = VMBI_BUF_INIT(1 << 20);
    vmbi_repo_id id, text_id;
    bool known = true;
    int i = 0;

    (void)state;
    assert_int_equal(save(r, 1, 5000, &id, &known, NULL), VMB_OK);
    assert_false(known);
    assert_int_equal(vmbi_repo_save_blob(r, VMBI_BLOB_TREE, "aaaaaaaaaaaaaaaaaaaaaaaaaa", 26, &text_id,
                                         &known, NULL), VMB_OK);
    for (i = 0; i < 3; i++) {
        uint64_t size = 0;

        assert_int_equal(vmbi_repo_load_blob(r, VMBI_BLOB_DATA, &id, &out, NULL), VMB_OK);
        assert_int_equal(out.len, 5000);
        assert_int_equal(vmbi_repo_load_blob(r, VMBI_BLOB_TREE, &text_id, &out, NULL), VMB_OK);
        assert_string_equal(out.data, "aaaaaaaaaaaaaaaaaaaaaaaaaa");
        assert_int_equal(vmbi_repo_load_blob(r, VMBI_BLOB_DATA, &text_id, &out, NULL),
                         VMB_E_NOT_FOUND); /* the type counts */
        assert_true(vmbi_repo_has_blob(r, VMBI_BLOB_DATA, &id));
        if (i == 0) {
            assert_int_equal(vmbi_repo_flush(r, NULL), VMB_OK);
            assert_true(vmbi_repo_blob_size(r, VMBI_BLOB_TREE, &text_id, &size));
            assert_int_equal(size, 26);
        } else if (i == 1) {
            vmbi_repo_close(r);
            r = reopen();
            assert_int_equal(vmbi_repo_load_index(r, NULL), VMB_OK);
        }
    }
    vmbi_buf_free(&out);
    vmbi_repo_close(r);
}

typedef struct saver {
    pthread_t thread;
    vmbi_repo *r;
    vmb_code code;
} saver;

static void *save_many(void *arg)
{
    saver *s = arg;
    uint64_t i = 0;

    for (i = 0; i < 60 && s->code == VMB_OK; i++) {
        vmbi_repo_id id;

        s->code = save(s->r, i, 200000 + (size_t)i, &id, NULL, NULL);
    }
    return NULL;
}

static void save_from_threads_stores_each_blob_once(void **state)
{
    vmbi_repo *r = make_ready();
    const vmbi_repo_check_options deep = {true, 0};
    saver s[4];
    vmbi_repo_stats stats;
    uint64_t errors = 1;
    int i = 0;

    (void)state;
    for (i = 0; i < 4; i++) {
        s[i] = (saver){.r = r};
        assert_int_equal(pthread_create(&s[i].thread, NULL, save_many, &s[i]), 0);
    }
    for (i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(s[i].thread, NULL), 0);
        assert_int_equal(s[i].code, VMB_OK);
    }
    assert_int_equal(save_snapshot(r, NULL), VMB_OK);
    vmbi_repo_get_stats(r, &stats);
    assert_int_equal(stats.blobs_new, 61);
    assert_int_equal(stats.blobs_known, 180);
    assert_int_equal(stats.index_blobs, 61);
    assert_int_equal(stats.packs_written, count("p/data/"));
    assert_true(stats.packs_written >= 4); /* 12 MB in packs of 4 MiB, and the tree */
    assert_int_equal(vmbi_repo_check(r, &deep, NULL, NULL, &errors, NULL), VMB_OK);
    assert_int_equal(errors, 0);
    vmbi_repo_close(r);
}

static void packs_of_tiny_blobs_are_closed_early(void **state)
{
    vmbi_repo *r = make_ready();
    const vmbi_repo_check_options deep = {true, 0};
    vmbi_repo_stats stats;
    vmbi_repo_id id;
    uint64_t errors = 1;
    uint64_t i = 0;

    (void)state;
    for (i = 0; i < 40000; i++) {
        assert_int_equal(save(r, i, 8, &id, NULL, NULL), VMB_OK);
    }
    assert_int_equal(save_snapshot(r, NULL), VMB_OK);
    vmbi_repo_get_stats(r, &stats);
    assert_int_equal(stats.index_blobs, 40001);
    assert_int_equal(stats.packs_written, 4); /* 16384, 16384 and 7232 blobs, and the tree */
    assert_int_equal(vmbi_repo_check(r, &deep, NULL, NULL, &errors, NULL), VMB_OK);
    assert_int_equal(errors, 0);
    vmbi_repo_close(r);
}

static void writes_come_in_the_order_that_a_crash_allows(void **state)
{
    vmbi_repo *r = make_ready();
    vmbi_repo_id id;
    int last_pack = -1, first_index = 1000, last_index = -1, snapshot = -1;
    size_t i = 0;

    (void)state;
    for (i = 0; i < 30; i++) {
        assert_int_equal(save(r, i, 400000, &id, NULL, NULL), VMB_OK);
    }
    assert_int_equal(save_snapshot(r, NULL), VMB_OK);
    for (i = 0; i < store_state.n; i++) {
        const file *f = &store_state.files[i];

        if (strncmp(f->key, "p/data/", 7) == 0) {
            last_pack = f->order > last_pack ? f->order : last_pack;
        } else if (strncmp(f->key, "p/index/", 8) == 0) {
            first_index = f->order < first_index ? f->order : first_index;
            last_index = f->order > last_index ? f->order : last_index;
        } else if (strncmp(f->key, "p/snapshots/", 12) == 0) {
            snapshot = f->order;
        }
    }
    assert_true(last_pack >= 0 && last_pack < first_index && last_index < snapshot);
    vmbi_repo_close(r);
}

static void full_store_fails_every_later_call(void **state)
{
    vmbi_repo *r = make_ready();
    vmb_error *err = NULL;
    vmbi_repo_id id;
    vmb_code code = VMB_OK;
    int i = 0;

    (void)state;
    store_state.fail_put = "p/data/";
    store_state.fail_after = 1;
    for (i = 0; i < 60 && code == VMB_OK; i++) {
        code = save(r, (uint64_t)i, 1000000, &id, NULL, &err);
    }
    if (code == VMB_OK) {
        code = vmbi_repo_flush(r, &err);
    }
    assert_int_equal(code, VMB_E_FULL);
    assert_non_null(strstr(vmb_error_message(err), "no space for p/data/"));
    vmb_error_free(err);
    assert_int_equal(save(r, 1000, 10, &id, NULL, NULL), VMB_E_FULL);
    assert_int_equal(vmbi_repo_flush(r, NULL), VMB_E_FULL);
    assert_int_equal(save_snapshot(r, NULL), VMB_E_FULL);
    assert_int_equal(count("p/snapshots/"), 0);
    vmbi_repo_close(r);
}

static void failed_index_file_leaves_no_snapshot(void **state)
{
    vmbi_repo *r = make_ready();
    vmbi_repo_id id;

    (void)state;
    store_state.fail_put = "p/index/";
    assert_int_equal(save(r, 1, 1000, &id, NULL, NULL), VMB_OK);
    assert_int_equal(save_snapshot(r, NULL), VMB_E_FULL);
    assert_int_equal(count("p/snapshots/"), 0);
    store_state.fail_put = NULL; /* there is room again: what was saved can still be named */
    assert_int_equal(save_snapshot(r, NULL), VMB_OK);
    vmbi_repo_close(r);
}

static void vanished_lock_stops_the_writer(void **state)
{
    vmbi_repo *r = make_ready();
    vmbi_repo_id id;
    size_t i = 0;

    (void)state;
    assert_int_equal(save(r, 1, 1000, &id, NULL, NULL), VMB_OK);
    for (i = 0; i < store_state.n; i++) {
        if (strncmp(store_state.files[i].key, "p/locks/", 8) == 0) {
            store_state.files[i].there = false;
        }
    }
    assert_int_equal(save_snapshot(r, NULL), VMB_E_CONFLICT);
    assert_int_equal(save(r, 2, 1000, &id, NULL, NULL), VMB_E_CONFLICT);
    assert_int_equal(count("p/index/"), 0);
    assert_int_equal(count("p/snapshots/"), 0);
    vmbi_repo_close(r);
}

static void locks_exclude_each_other(void **state)
{
    vmbi_repo *a = make(), *b = reopen();
    vmb_error *err = NULL;

    (void)state;
    assert_int_equal(vmbi_repo_lock(a, VMBI_REPO_SHARED, 0, NULL), VMB_OK);
    assert_int_equal(vmbi_repo_lock(b, VMBI_REPO_SHARED, 0, NULL), VMB_OK);
    vmbi_repo_unlock(b);
    assert_int_equal(vmbi_repo_lock(b, VMBI_REPO_EXCLUSIVE, 0, &err), VMB_E_CONFLICT);
    assert_true(vmb_error_flags(err) & VMB_ERROR_RETRYABLE);
    vmb_error_free(err);
    assert_int_equal(count("p/locks/"), 1);
    vmbi_repo_unlock(a);
    assert_int_equal(vmbi_repo_lock(b, VMBI_REPO_EXCLUSIVE, 0, NULL), VMB_OK);
    assert_int_equal(vmbi_repo_lock(a, VMBI_REPO_SHARED, 0, NULL), VMB_E_CONFLICT);
    assert_int_equal(vmbi_repo_lock(b, VMBI_REPO_SHARED, 0, NULL), VMB_E_STATE);
    vmbi_repo_close(a);
    vmbi_repo_close(b);
    assert_int_equal(count("p/locks/"), 0);
}

/* The pauses between tries grow and are random: the last one must not end the wait early. */
static void lock_in_the_way_is_waited_for_to_the_end(void **state)
{
    vmbi_repo *a = make(), *b = reopen();
    const int64_t start = vmbi_mono_ns();

    (void)state;
    assert_int_equal(vmbi_repo_lock(a, VMBI_REPO_SHARED, 0, NULL), VMB_OK);
    assert_int_equal(vmbi_repo_lock(b, VMBI_REPO_EXCLUSIVE, 300 * VMBI_MS, NULL), VMB_E_CONFLICT);
    assert_true(vmbi_mono_ns() - start >= 300 * VMBI_MS);
    vmbi_repo_close(a);
    vmbi_repo_close(b);
}

static vmb_code count_good(void *user, size_t i, const void *data, size_t len, vmb_error *why,
                           vmb_error **err)
{
    int *good = user;

    (void)i;
    (void)err;
    *good += data != NULL && len == 3000 && why == NULL;
    return VMB_OK;
}

static void run_of_blobs_is_read_and_damage_told(void **state)
{
    vmbi_repo *r = make_ready();
    vmbi_repo_id ids[10];
    vmbi_blob_place places[10];
    int good = 0;
    size_t i = 0;

    (void)state;
    for (i = 0; i < 10; i++) {
        assert_int_equal(save(r, i, 3000, &ids[i], NULL, NULL), VMB_OK);
    }
    assert_int_equal(vmbi_repo_flush(r, NULL), VMB_OK);
    for (i = 0; i < 10; i++) {
        assert_true(vmbi_repo_find_blob(r, VMBI_BLOB_DATA, &ids[i], &places[i]));
        assert_int_equal(places[i].pack, places[0].pack);
    }
    assert_int_equal(vmbi_repo_load_run(r, VMBI_BLOB_DATA, ids, places, 10, true, count_good, &good,
                                        NULL), VMB_OK);
    assert_int_equal(good, 10);
    for (i = 0; i < store_state.n; i++) {
        if (strncmp(store_state.files[i].key, "p/data/", 7) == 0) {
            store_state.files[i].data[places[4].offset + 100] ^= 1;
        }
    }
    good = 0;
    assert_int_equal(vmbi_repo_load_run(r, VMBI_BLOB_DATA, ids, places, 10, true, count_good, &good,
                                        NULL), VMB_OK);
    assert_int_equal(good, 9);
    assert_int_equal(vmbi_repo_load_run(r, VMBI_BLOB_DATA, ids + 1, places + 1, 0, true, count_good,
                                        &good, NULL), VMB_OK);
    places[1].pack = 7;
    assert_int_equal(vmbi_repo_load_run(r, VMBI_BLOB_DATA, ids, places, 2, true, count_good, &good,
                                        NULL), VMB_E_ARG);
    vmbi_repo_close(r);
}

typedef struct seen {
    vmbi_repo *r;
    const vmbi_repo_id *ids;
    unsigned times[16];
    size_t last;
    bool in_order, wrong;
} seen;

static vmb_code look_at_blob(void *user, size_t i, const void *data, size_t len, vmb_error *why,
                             vmb_error **err)
{
    seen *s = user;
    vmbi_repo_id id;

    (void)err;
    s->in_order = s->in_order && i >= s->last;
    s->last = i;
    s->times[i]++;
    if (data != NULL) {
        vmbi_repo_hash(s->r, data, len, &id);
    }
    s->wrong = s->wrong || data == NULL || why != NULL || memcmp(id.b, s->ids[i].b, sizeof(id.b)) != 0;
    return VMB_OK;
}

/* Long and short ones, random bytes and such as shrink. */
static void save_mixed(vmbi_repo *r, vmbi_repo_id ids[16], vmbi_blob_place places[16])
{
    static const size_t sizes[16] = {700000, 1, 64, 0,  300001, 100, 5000, 200000,
                                     63,     2, 65, 64, 90000,  128, 3000, 250000};
    size_t i = 0;

    for (i = 0; i < 16; i++) {
        uint8_t *data = calloc(1, sizes[i] + 8);

        fill(data, i % 3 == 0 ? sizes[i] / 50 : sizes[i], 900 + i);
        data[0] = (uint8_t)i;
        assert_int_equal(vmbi_repo_save_blob(r, VMBI_BLOB_DATA, data, sizes[i], &ids[i], NULL, NULL),
                         VMB_OK);
        free(data);
    }
    assert_int_equal(vmbi_repo_flush(r, NULL), VMB_OK);
    for (i = 0; i < 16; i++) {
        assert_true(vmbi_repo_find_blob(r, VMBI_BLOB_DATA, &ids[i], &places[i]));
        assert_int_equal(places[i].pack, places[0].pack);
    }
}

static void run_of_blobs_gives_each_once_in_order_or_not(void **state)
{
    vmbi_repo *r = make_ready();
    vmbi_repo_id ids[16];
    vmbi_blob_place places[16];
    size_t k = 0, i = 0;

    (void)state;
    save_mixed(r, ids, places);
    for (k = 0; k < 2; k++) {
        seen s = {.r = r, .ids = ids, .in_order = true};

        assert_int_equal(vmbi_repo_load_run(r, VMBI_BLOB_DATA, ids, places, 16, k == 0, look_at_blob,
                                            &s, NULL), VMB_OK);
        assert_false(s.wrong);
        assert_true(s.in_order || k == 1);
        for (i = 0; i < 16; i++) {
            assert_int_equal(s.times[i], 1);
        }
    }
    vmbi_repo_close(r);
}

static void run_of_blobs_that_overlap_gives_them_all_the_same(void **state)
{
    vmbi_repo *r = make_ready();
    vmbi_repo_id ids[16], twice[4];
    vmbi_blob_place places[16], at[4];
    seen s = {.r = r, .ids = twice};

    (void)state;
    save_mixed(r, ids, places);
    twice[0] = twice[1] = ids[4]; /* as an index that lies would have it */
    at[0] = at[1] = places[4];
    twice[2] = twice[3] = ids[7];
    at[2] = at[3] = places[7];
    assert_int_equal(vmbi_repo_load_run(r, VMBI_BLOB_DATA, twice, at, 4, false, look_at_blob, &s,
                                        NULL), VMB_OK);
    assert_false(s.wrong);
    assert_int_equal(s.times[0] + s.times[1] + s.times[2] + s.times[3], 4);
    at[3].offset--; /* not in the order of the pack */
    assert_int_equal(vmbi_repo_load_run(r, VMBI_BLOB_DATA, twice, at, 4, false, look_at_blob, &s,
                                        NULL), VMB_E_ARG);
    vmbi_repo_close(r);
}

/* Saves blobs of 1 MiB until that fails, or until there are n. */
static vmb_code save_row(vmbi_repo *r, uint64_t seed, size_t n)
{
    vmb_code code = VMB_OK;
    vmbi_repo_id id;
    size_t i = 0;

    for (i = 0; code == VMB_OK && i < n; i++) {
        code = save(r, seed + i, 1 << 20, &id, NULL, NULL);
    }
    return code;
}

/* All packs that lie in the store are in the index of who comes next. */
static void expect_all_packs_known(void)
{
    vmbi_repo *r = reopen();
    vmbi_repo_stats stats;
    uint64_t errors = 1;

    assert_int_equal(vmbi_repo_lock(r, VMBI_REPO_SHARED, 0, NULL), VMB_OK);
    assert_int_equal(vmbi_repo_load_index(r, NULL), VMB_OK);
    vmbi_repo_get_stats(r, &stats);
    assert_int_equal(stats.index_packs, count("p/data/"));
    assert_int_equal(vmbi_repo_check(r, &(vmbi_repo_check_options){.read_data = true}, NULL, NULL,
                                     &errors, NULL), VMB_OK);
    assert_int_equal(errors, 0);
    vmbi_repo_close(r);
}

static void work_that_ends_early_leaves_an_index_of_its_uploads(void **state)
{
    vmbi_repo *r = make_ready();

    (void)state;
    assert_int_equal(save_row(r, 10000, 16), VMB_OK); /* the first of four packs is on its way */
    while (count("p/data/") == 0) {
        assert_int_equal(vmbi_limits_sleep(NULL, VMBI_MS, NULL, "wait"), VMB_OK);
    }
    assert_int_equal(count("p/index/"), 0);
    job.limits.deadline_mono_ns = 1; /* passed long ago */
    assert_int_equal(save_row(r, 20000, 16), VMB_E_TIMEOUT);
    vmbi_repo_unlock(r);
    job.limits.deadline_mono_ns = 0;
    assert_int_equal(count("p/index/"), 1);
    assert_int_equal(count("p/locks/"), 0);
    vmbi_repo_close(r);
    assert_int_equal(count("p/index/"), 1);
    expect_all_packs_known();
}

static void work_that_fails_leaves_an_index_of_its_uploads(void **state)
{
    vmbi_repo *r = make_ready();

    (void)state;
    store_state.fail_put = "p/data/";
    store_state.fail_after = 2;
    assert_int_equal(save_row(r, 30000, 64), VMB_E_FULL);
    vmbi_repo_close(r); /* gives the lock back, too */
    assert_int_equal(count("p/data/"), 2);
    assert_int_equal(count("p/index/"), 1);
    expect_all_packs_known();
}

static void work_without_its_lock_leaves_no_index(void **state)
{
    vmbi_repo *r = make_ready();
    size_t i = 0;

    (void)state;
    assert_int_equal(save_row(r, 40000, 16), VMB_OK);
    (void)pthread_mutex_lock(&store_state.mutex);
    for (i = 0; i < store_state.n; i++) { /* somebody breaks it, and may prune */
        if (strncmp(store_state.files[i].key, "p/locks/", 8) == 0) {
            store_state.files[i].there = false;
        }
    }
    (void)pthread_mutex_unlock(&store_state.mutex);
    vmbi_repo_unlock(r);
    vmbi_repo_close(r);
    assert_int_equal(count("p/index/"), 0);
}

/* Where all is known already blobs are hashed two at a time. */
static void pool_gives_the_same_ids_for_new_and_known_blobs(void **state)
{
    enum { BLOBS = 60 };
    vmbi_repo *r = make_ready();
    vmbi_repo_id ids[2][BLOBS];
    vmbi_repo_stats stats;
    size_t k = 0, i = 0;

    (void)state;
    memset(ids, 0, sizeof(ids));
    for (k = 0; k < 2; k++) {
        vmbi_pool pool;
        vmbi_pool_group group = {0};

        assert_int_equal(vmbi_pool_init(&pool, r, 2, 64 << 20, NULL), VMB_OK);
        for (i = 0; i < BLOBS; i++) {
            const size_t len = 1 + i * 997 % 50000;
            uint8_t *data = vmbi_zalloc(len + 8);

            fill(data, len, 50000 + i);
            data[0] = (uint8_t)i;
            assert_int_equal(vmbi_pool_save(&pool, data, len, &ids[k][i], &group, NULL), VMB_OK);
        }
        assert_int_equal(vmbi_pool_wait(&pool, &group, NULL), VMB_OK);
        vmbi_pool_done(&pool);
    }
    assert_memory_equal(ids[0], ids[1], sizeof(ids[0]));
    vmbi_repo_get_stats(r, &stats);
    assert_int_equal(stats.blobs_new, BLOBS);
    assert_int_equal(stats.blobs_known, BLOBS);
    vmbi_repo_close(r);
}

static void options_out_of_range_are_refused(void **state)
{
    vmbi_repo_options o = options();
    vmbi_repo *r = NULL;

    (void)state;
    o.pack_bytes = 3 << 20;
    assert_int_equal(vmbi_repo_init(&o, &r, NULL), VMB_E_ARG);
    o = options();
    o.version = 3;
    assert_int_equal(vmbi_repo_init(&o, &r, NULL), VMB_E_ARG);
    o = options();
    o.format = "kopia";
    assert_int_equal(vmbi_repo_init(&o, &r, NULL), VMB_E_ARG);
    o = options();
    o.prefix = "/p";
    assert_int_equal(vmbi_repo_init(&o, &r, NULL), VMB_E_ARG);
    o = options();
    o.chunker_polynomial = 12;
    assert_int_equal(vmbi_repo_init(&o, &r, NULL), VMB_E_ARG);
    assert_int_equal(vmbi_repo_open(&o, &r, NULL), VMB_E_ARG);
    o = options();
    assert_int_equal(vmbi_repo_open(&o, &r, NULL), VMB_E_NOT_FOUND);
    assert_null(r);
}

/* Opens, reads and writes while one allocation after the other fails. */
static vmb_code whole_round(void)
{
    const vmbi_repo_options o = options();
    vmbi_buf out = VMBI_BUF_INIT(1 << 20);
    vmbi_repo *r = NULL;
    vmbi_repo_id id;
    vmb_code code = vmbi_repo_open(&o, &r, NULL);

    if (code == VMB_OK) {
        code = vmbi_repo_lock(r, VMBI_REPO_SHARED, 0, NULL);
    }
    if (code == VMB_OK) {
        code = vmbi_repo_load_index(r, NULL);
    }
    if (code == VMB_OK) {
        code = save(r, 5, 3000, &id, NULL, NULL);
    }
    if (code == VMB_OK) {
        code = save_snapshot(r, NULL);
    }
    if (code == VMB_OK) {
        code = vmbi_repo_load_blob(r, VMBI_BLOB_DATA, &id, &out, NULL);
    }
    vmbi_buf_free(&out);
    vmbi_repo_close(r);
    return code;
}

static void failing_allocations_are_survived(void **state)
{
    uint64_t n = 0, needed = 0, step = 0;
    int ok = 0;

    (void)state;
    vmbi_repo_close(make());
    vmbi_alloc_fail_from(0);
    assert_int_equal(whole_round(), VMB_OK);
    needed = vmbi_alloc_count();
    step = needed / 60 + 1; /* taking a lock waits 200 ms: not every single one */
    for (n = 1; n <= needed + step; n += step) {
        size_t i = 0;

        vmbi_alloc_fail_from(n);
        ok += whole_round() == VMB_OK;
        vmbi_alloc_fail_from(0);
        for (i = 0; i < store_state.n; i++) { /* a lock that could not be given back */
            if (strncmp(store_state.files[i].key, "p/locks/", 8) == 0) {
                store_state.files[i].there = false;
            }
        }
    }
    assert_int_equal(whole_round(), VMB_OK);
    assert_true(ok < 30);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(save_without_lock_or_index_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(blob_is_read_before_and_after_the_flush, setup, teardown),
        cmocka_unit_test_setup_teardown(save_from_threads_stores_each_blob_once, setup, teardown),
        cmocka_unit_test_setup_teardown(packs_of_tiny_blobs_are_closed_early, setup, teardown),
        cmocka_unit_test_setup_teardown(writes_come_in_the_order_that_a_crash_allows, setup, teardown),
        cmocka_unit_test_setup_teardown(full_store_fails_every_later_call, setup, teardown),
        cmocka_unit_test_setup_teardown(failed_index_file_leaves_no_snapshot, setup, teardown),
        cmocka_unit_test_setup_teardown(vanished_lock_stops_the_writer, setup, teardown),
        cmocka_unit_test_setup_teardown(locks_exclude_each_other, setup, teardown),
        cmocka_unit_test_setup_teardown(lock_in_the_way_is_waited_for_to_the_end, setup, teardown),
        cmocka_unit_test_setup_teardown(run_of_blobs_is_read_and_damage_told, setup, teardown),
        cmocka_unit_test_setup_teardown(work_that_ends_early_leaves_an_index_of_its_uploads, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(work_that_fails_leaves_an_index_of_its_uploads, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(work_without_its_lock_leaves_no_index, setup, teardown),
        cmocka_unit_test_setup_teardown(pool_gives_the_same_ids_for_new_and_known_blobs, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(run_of_blobs_gives_each_once_in_order_or_not, setup, teardown),
        cmocka_unit_test_setup_teardown(run_of_blobs_that_overlap_gives_them_all_the_same, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(options_out_of_range_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(failing_allocations_are_survived, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
