/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include <dirent.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "codec/json.h"
#include "providers/builtin.h"

/* ---- disks --------------------------------------------------------------------------------- */

static bool touches(const fake_disk *d, size_t len, int64_t offset)
{
    return d->fail_at >= offset && d->fail_at < offset + (int64_t)len;
}

static vmb_code disk_size(void *user, vmb_job *job, int64_t *size, vmb_error **err)
{
    (void)job;
    (void)err;
    *size = (int64_t)((fake_disk *)user)->size;
    return VMB_OK;
}

static vmb_code disk_pread(void *user, vmb_job *job, void *data, size_t len, int64_t offset,
                           vmb_error **err)
{
    fake_disk *d = user;
    (void)job;
    if (touches(d, len, offset) || offset < 0 || (size_t)offset + len > d->size) {
        return vmbi_fail(err, VMB_E_IO, "bad sector");
    }
    memcpy(data, d->data + offset, len);
    (void)pthread_mutex_lock(&d->lock);
    d->bytes_read += len;
    d->reads++;
    if (d->cancel_at_read != NULL && d->reads == 3) {
        vmbi_cancel_fire(d->cancel_at_read);
    }
    (void)pthread_mutex_unlock(&d->lock);
    return VMB_OK;
}

static vmb_code disk_extents(void *user, vmb_job *job, int64_t offset, int64_t length,
                             const char *since, vmb_extent_sink *out, vmb_error **err)
{
    fake_disk *d = user;
    vmb_code rc = VMB_OK;
    (void)job;
    const bool plain = since == NULL && d->holes != NULL;
    const extent *list = plain ? d->holes : d->extents;
    const size_t n = plain ? d->n_holes : d->n_extents, have = strlen(d->asked);
    (void)snprintf(d->asked + have, sizeof(d->asked) - have, " %s", since != NULL ? since : "-");
    if (since != NULL && (d->known_state == NULL || strcmp(since, d->known_state) != 0)) {
        return vmbi_fail(err, VMB_E_NOT_FOUND, "state %s is gone", since);
    }
    for (size_t i = 0; i < n && rc == VMB_OK; i++) {
        extent e = list[i];
        int64_t from = e.offset < offset ? offset : e.offset;
        int64_t to = e.offset + e.length < offset + length ? e.offset + e.length : offset + length;
        if (from < to) {
            rc = out->push(out->user, from, to - from, e.kind, err);
        }
    }
    return rc;
}

static vmb_code disk_state(void *user, vmb_job *job, vmb_sink *out, vmb_error **err)
{
    const fake_disk *d = user;
    (void)job;
    return out->write(out->user, d->state, strlen(d->state), err);
}

static void enter(fake_disk *d)
{
    (void)pthread_mutex_lock(&d->lock);
    d->overlapped = d->overlapped || d->writers > 0;
    d->writers++;
    (void)pthread_mutex_unlock(&d->lock);
}

static void leave(fake_disk *d)
{
    (void)pthread_mutex_lock(&d->lock);
    d->writers--;
    (void)pthread_mutex_unlock(&d->lock);
}

static vmb_code disk_pwrite(void *user, vmb_job *job, const void *data, size_t len, int64_t offset,
                            vmb_error **err)
{
    fake_disk *d = user;
    (void)job;
    if (touches(d, len, offset) || (size_t)offset + len > d->size) {
        return vmbi_fail(err, VMB_E_FULL, "cannot write there");
    }
    enter(d);
    if (!d->deaf) {
        memcpy(d->data + offset, data, len);
    }
    d->bytes_written += len;
    leave(d);
    return VMB_OK;
}

static vmb_code disk_zero(void *user, vmb_job *job, int64_t offset, int64_t length, vmb_error **err)
{
    fake_disk *d = user;
    (void)job;
    (void)err;
    enter(d);
    if (!d->lazy) {
        memset(d->data + offset, 0, (size_t)length);
    }
    d->bytes_zeroed += (uint64_t)length;
    leave(d);
    return VMB_OK;
}

static vmb_code disk_resize(void *user, vmb_job *job, int64_t size, vmb_error **err)
{
    fake_disk *d = user;
    (void)job;
    (void)err;
    uint8_t *data = realloc(d->data, (size_t)size + 1);
    assert_non_null(data);
    if ((size_t)size > d->size) {
        memset(data + d->size, 0, (size_t)size - d->size);
    }
    d->data = data;
    d->size = (size_t)size;
    return VMB_OK;
}

static vmb_code disk_flush(void *user, vmb_job *job, vmb_error **err)
{
    (void)job;
    (void)err;
    ((fake_disk *)user)->flushes++;
    return VMB_OK;
}

void fake_disk_init(fake_disk *d, size_t size)
{
    memset(d, 0, sizeof(*d));
    d->data = calloc(1, size + 1);
    assert_non_null(d->data);
    d->size = size;
    d->fail_at = -1;
    d->can_resize = d->can_zero = true;
    assert_int_equal(pthread_mutex_init(&d->lock, NULL), 0);
}

void fake_disk_fill(fake_disk *d, size_t from, size_t to, uint32_t seed)
{
    uint64_t x = seed * UINT64_C(0x9E3779B97F4A7C15) + 1;
    for (size_t i = from; i < to; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        d->data[i] = (uint8_t)(x >> 32) | 1;
    }
}

vmb_blocks_provider *fake_disk_table(fake_disk *d)
{
    d->table = (vmb_blocks_provider){
        .struct_size = sizeof(d->table),
        .api_version = VMB_PROVIDER_API,
        .name = "fake",
        .user = d,
        .size = disk_size,
        .pread = disk_pread,
        .extents = d->extents != NULL ? disk_extents : NULL,
        .state = d->state != NULL ? disk_state : NULL,
        .resize = d->can_resize ? disk_resize : NULL,
        .pwrite = disk_pwrite,
        .zero = d->can_zero ? disk_zero : NULL,
        .flush = disk_flush,
    };
    return &d->table;
}

void fake_disk_free(fake_disk *d)
{
    free(d->data);
    (void)pthread_mutex_destroy(&d->lock);
}

/* ---- the repository ------------------------------------------------------------------------ */

static void log_line(void *user, int32_t level, const char *msg)
{
    world *w = user;
    size_t have = strlen(w->log);
    (void)level;
    (void)snprintf(w->log + have, sizeof(w->log) - have, "%s\n", msg);
}

static vmbi_repo_options options_of(world *w)
{
    return (vmbi_repo_options){
        .store = &w->store,
        .job = &w->job,
        .password = "geheim",
        .password_len = 6,
        .scrypt_n = 1024,
        .scrypt_r = 8,
        .scrypt_p = 1,
        .pack_bytes = 4 << 20,
    };
}

static void lock_and_load(world *w)
{
    assert_int_equal(vmbi_repo_lock(w->repo, VMBI_REPO_SHARED, 0, NULL), VMB_OK);
    assert_int_equal(vmbi_repo_load_index(w->repo, NULL), VMB_OK);
}

int world_setup(void **state)
{
    world *w = calloc(1, sizeof(*w));
    vmb_error *err = NULL;
    assert_non_null(w);
    (void)snprintf(w->folder, sizeof(w->folder), "/tmp/vmb-disk-XXXXXX");
    assert_non_null(mkdtemp(w->folder));
    vmbi_json *settings = vmbi_json_object();
    vmbi_json *config = vmbi_json_ensure_object(settings, "config");
    assert_true(vmbi_json_set_str(config, "path", w->folder));
    assert_int_equal(vmbi_store_dir_new(settings, &w->store, &err), VMB_OK);
    vmbi_json_free(settings);
    w->job.log = log_line;
    w->job.log_user = w;
    vmbi_repo_options o = options_of(w);
    assert_int_equal(vmbi_repo_init(&o, &w->repo, &err), VMB_OK);
    lock_and_load(w);
    *state = w;
    return 0;
}

void world_reopen(world *w)
{
    vmbi_repo_options o = options_of(w);
    vmbi_repo_close(w->repo);
    w->repo = NULL;
    assert_int_equal(vmbi_repo_open(&o, &w->repo, NULL), VMB_OK);
    lock_and_load(w);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

int world_teardown(void **state)
{
    world *w = *state;
    w->job.limits = (vmbi_limits){0};
    vmbi_repo_close(w->repo);
    w->store.destroy(w->store.user);
    (void)nftw(w->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(w);
    return 0;
}

static int damage_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)at;
    if (type == FTW_F && strstr(path, "/data/") != NULL && st->st_size > 100) {
        FILE *f = NULL;
        (void)chmod(path, 0600);
        f = fopen(path, "r+b");
        assert_non_null(f);
        for (long i = 0; i < st->st_size - 100; i += 1000) {
            (void)fseek(f, i, SEEK_SET);
            (void)fputs("damage", f);
        }
        (void)fclose(f);
    }
    return 0;
}

void damage_packs(world *w)
{
    (void)nftw(w->folder, damage_one, 16, FTW_PHYS);
}

vmb_code try_save(world *w, fake_disk *d, const vmbi_disk_save_options *o, vmb_error **err)
{
    char id[VMBI_REPO_HEX_SIZE];
    return vmbi_disk_save(w->repo, fake_disk_table(d), o, &w->job, id, NULL, err);
}

vmbi_disk_save_stats save_disk(world *w, fake_disk *d, const char *parent,
                               char id[VMBI_REPO_HEX_SIZE])
{
    const vmbi_disk_save_options o = {.chunk_bytes = CHUNK, .parent = parent, .hostname = "h"};
    vmbi_disk_save_stats stats = {0};
    vmbi_repo_stats before, after;
    vmb_error *err = NULL;
    d->bytes_read = 0;
    d->asked[0] = '\0';
    vmbi_repo_get_stats(w->repo, &before);
    vmb_code rc = vmbi_disk_save(w->repo, fake_disk_table(d), &o, &w->job, id, &stats, &err);
    if (rc != VMB_OK) {
        fail_msg("save: %s", vmb_error_message(err));
    }
    vmbi_repo_get_stats(w->repo, &after);
    w->data_new = after.blobs_new - before.blobs_new;
    assert_int_equal(stats.bytes, d->size);
    assert_int_equal(stats.bytes_read, d->bytes_read);
    return stats;
}

void check_content(world *w, const char *id, const fake_disk *d)
{
    vmbi_disk *disk = NULL;
    uint8_t *got = malloc(d->size + 1);
    assert_non_null(got);
    assert_int_equal(vmbi_disk_open(w->repo, id, NULL, 0, &w->job, &disk, NULL), VMB_OK);
    assert_int_equal(vmbi_disk_size(disk), d->size);
    assert_int_equal(vmbi_disk_pread(disk, got, d->size, 0, NULL), VMB_OK);
    assert_int_equal(memcmp(got, d->data, d->size), 0);
    vmbi_disk_close(disk);
    free(got);
}
