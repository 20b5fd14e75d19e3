/* SPDX-License-Identifier: Apache-2.0 */
/* Making, opening and closing a restic repository. */
#include "repo/restic/restic.h"

#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "codec/digest.h"

enum {
    MIB = 1 << 20,
    MIN_PACK = 4 * MIB,
    MAX_PACK = 128 * MIB,
    DEFAULT_PACK = 16 * MIB,
    DEFAULT_BUFFERS = 3,
    DEFAULT_UPLOADS = 2,
    CONFIG_MAX = 1 << 20,
    DEFAULT_N = 32768
};
#define TAKE_BACK_TIME (30 * VMBI_SECOND)

void vmbi_restic_log(const vmbi_restic *r, int32_t level, const char *fmt, ...)
{
    const vmb_job *job = r->storage.job;
    char text[1024];
    va_list ap;

    if (job->log == NULL) {
        return;
    }
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap); /* cut when longer */
    va_end(ap);
    job->log(job->log_user, level, text);
}

static void copy_name(char out[128], const char *name)
{
    const size_t n = strnlen(name, 127);

    memcpy(out, name, n);
    out[n] = '\0';
}

static void own_names(vmbi_restic *r, const vmbi_repo_options *o)
{
    char buf[1024];
    struct passwd pw, *found = NULL;

    if (o->hostname != NULL) {
        copy_name(r->hostname, o->hostname);
    } else if (gethostname(buf, sizeof(buf) - 1) == 0) {
        buf[sizeof(buf) - 1] = '\0';
        copy_name(r->hostname, buf);
    }
    if (o->username != NULL) {
        copy_name(r->username, o->username);
    } else if (getpwuid_r(getuid(), &pw, buf, sizeof(buf), &found) == 0 && found != NULL) {
        copy_name(r->username, pw.pw_name);
    }
}

static vmb_code check_options(const vmbi_repo_options *o, vmb_error **err)
{
    if (o->pack_bytes != 0 && (o->pack_bytes < MIN_PACK || o->pack_bytes > MAX_PACK)) {
        return vmbi_fail(err, VMB_E_ARG, "repository: pack size %llu, allowed are 4 to 128 MiB",
                         (unsigned long long)o->pack_bytes);
    }
    if (o->uploads > VMBI_RESTIC_MAX_UPLOADS || o->version > 2) {
        return vmbi_fail(err, VMB_E_ARG, "repository: %u uploads or version %u is not possible",
                         (unsigned)o->uploads, (unsigned)o->version);
    }
    if (o->compression != VMBI_REPO_AUTO && o->compression != VMBI_REPO_OFF &&
        o->compression != VMBI_REPO_MAX) {
        return vmbi_fail(err, VMB_E_ARG, "repository: unknown compression mode");
    }
    if (o->chunker_polynomial != 0 && (vmbi_gf2_degree(o->chunker_polynomial) != 53 ||
                                       !vmbi_gf2_irreducible(o->chunker_polynomial))) {
        return vmbi_fail(err, VMB_E_ARG, "repository: the chunker's polynomial is not irreducible");
    }
    return VMB_OK;
}

static bool init_mutexes(vmbi_restic *r)
{
    pthread_condattr_t mono;
    bool ok = pthread_condattr_init(&mono) == 0;

    if (!ok) {
        return false;
    }
    /* With default attributes these fail for lack of memory only, which glibc's never do. */
    ok = pthread_condattr_setclock(&mono, CLOCK_MONOTONIC) == 0 &&
         pthread_mutex_init(&r->mutex, NULL) == 0 && pthread_mutex_init(&r->lanes_mutex, NULL) == 0 &&
         pthread_mutex_init(&r->locker.mutex, NULL) == 0 && pthread_cond_init(&r->cond, &mono) == 0 &&
         pthread_cond_init(&r->locker.cond, &mono) == 0;
    (void)pthread_condattr_destroy(&mono);
    return ok;
}

static vmb_code new_restic(const vmbi_repo_options *o, vmbi_restic **out, vmb_error **err)
{
    vmbi_restic *r = NULL;
    vmb_code code = check_options(o, err);

    if (code != VMB_OK) {
        return code;
    }
    r = vmbi_zalloc(sizeof(*r));
    if (r == NULL) {
        return vmbi_fail_nomem(err);
    }
    r->base.format = &vmbi_repo_restic;
    r->compression = o->compression;
    r->pack_bytes = o->pack_bytes != 0 ? (size_t)o->pack_bytes : (size_t)DEFAULT_PACK;
    r->packer.max_buffers = o->memory_bytes != 0 ? (size_t)(o->memory_bytes / r->pack_bytes)
                                                 : (size_t)DEFAULT_BUFFERS;
    if (r->packer.max_buffers < 2) { /* one for each type of blob */
        r->packer.max_buffers = 2;
    }
    r->packer.threads_wanted = o->uploads != 0 ? o->uploads : DEFAULT_UPLOADS;
    r->scrypt_n = o->scrypt_n != 0 ? o->scrypt_n : DEFAULT_N;
    r->scrypt_r = o->scrypt_n != 0 ? o->scrypt_r : 8;
    r->scrypt_p = o->scrypt_n != 0 ? o->scrypt_p : 1;
    own_names(r, o);
    if (!init_mutexes(r)) {
        vmbi_free(r);
        return vmbi_fail_nomem(err);
    }
    code = vmbi_storage_init(&r->storage, o->store, o->job, o->prefix, err);
    if (code == VMB_OK) {
        code = vmbi_restic_index_new(&r->index, err);
    }
    if (code != VMB_OK) {
        vmbi_repo_close(&r->base);
        return code;
    }
    *out = r;
    return VMB_OK;
}

static void restic_close(vmbi_repo *base)
{
    vmbi_restic *r = vmbi_restic_of(base);

    vmbi_packer_salvage(r);
    vmbi_packer_stop(r);
    if (r->storage.prefix != NULL) {
        vmbi_restic_unlock(base);
    }
    vmbi_pending_free(&r->pending);
    vmbi_restic_index_free(r->index);
    vmbi_lanes_free(r);
    vmbi_storage_done(&r->storage);
    (void)pthread_mutex_destroy(&r->mutex);
    (void)pthread_mutex_destroy(&r->lanes_mutex);
    (void)pthread_mutex_destroy(&r->locker.mutex);
    (void)pthread_cond_destroy(&r->cond);
    (void)pthread_cond_destroy(&r->locker.cond);
    explicit_bzero(r, sizeof(*r));
    vmbi_free(r);
}

static vmb_code restic_reset(vmbi_repo *base, vmb_error **err)
{
    vmbi_restic *r = vmbi_restic_of(base);
    vmbi_restic_index *x = NULL;
    vmb_code code = vmbi_restic_index_new(&x, err);

    if (code != VMB_OK) {
        return code;
    }
    vmbi_packer_salvage(r);
    vmbi_packer_restart(r);
    (void)pthread_mutex_lock(&r->mutex);
    vmbi_pending_free(&r->pending);
    vmbi_restic_index_free(r->index);
    r->index = x;
    r->index_loaded = r->index_exact = false;
    (void)pthread_mutex_unlock(&r->mutex);
    return VMB_OK;
}

static vmb_code read_config(vmbi_restic *r, vmb_error **err)
{
    vmbi_buf raw = VMBI_BUF_INIT(CONFIG_MAX);
    vmbi_lane *lane = NULL;
    vmb_code code = vmbi_storage_get(&r->storage, "config", &raw, err);

    if (code == VMB_OK) {
        code = vmbi_lane_get(r, &lane, err);
    }
    if (code == VMB_OK) {
        uint8_t *p = (uint8_t *)raw.data;

        code = vmbi_restic_open(lane->box, p, raw.len, p + VMBI_RESTIC_NONCE, err);
        if (code == VMB_E_DENIED) { /* the key is right, so it is the file */
            code = vmbi_fail(err, VMB_E_INVALID, "config: damaged: its authentication tag is wrong");
        } else if (code != VMB_OK) {
            code = vmbi_wrap(err, code, "config");
        }
    }
    if (code == VMB_OK) {
        code = vmbi_restic_config_parse(raw.data + VMBI_RESTIC_NONCE,
                                        raw.len - VMBI_RESTIC_OVERHEAD, &r->config, err);
    }
    vmbi_lane_put(r, lane);
    vmbi_buf_free(&raw);
    return code;
}

static vmb_code stop_at_first(void *user, const char *path, const char *name, int64_t size_bytes,
                              vmb_error **err)
{
    bool *found = user;

    (void)path;
    (void)name;
    (void)size_bytes;
    *found = true;
    return vmbi_fail(err, VMB_E_EXISTS, "found"); /* ends the listing */
}

static vmb_code any_below(vmbi_restic *r, const char *dir, bool *found, vmb_error **err)
{
    vmb_error *why = NULL;
    vmb_code code = VMB_OK;

    *found = false;
    code = vmbi_storage_list(&r->storage, dir, stop_at_first, found, &why);
    if (*found) {
        vmb_error_free(why);
        return VMB_OK;
    }
    vmbi_error_move(err, &why);
    return code;
}

static vmb_code restic_open(const vmbi_repo_options *o, vmbi_repo **out, vmb_error **err)
{
    vmbi_restic *r = NULL;
    bool there = false, old = false;
    vmb_code code = new_restic(o, &r, err);

    if (code != VMB_OK) {
        return code;
    }
    code = vmbi_storage_exists(&r->storage, NULL, "config", &there, err);
    if (code == VMB_OK && !there) {
        code = vmbi_fail(err, VMB_E_NOT_FOUND, "repository \"%s\": there is no config file",
                         r->storage.prefix);
    }
    if (code == VMB_OK) {
        code = any_below(r, "keys/", &there, err);
    }
    if (code == VMB_OK && !there) {
        code = any_below(r, "key/", &old, err);
        if (code == VMB_OK && old) {
            code = vmbi_fail(err, VMB_E_UNSUPPORTED, "repository \"%s\": it has the layout of restic "
                             "before 0.7; restic 0.17 can migrate it", r->storage.prefix);
        }
    }
    if (code == VMB_OK) {
        code = vmbi_restic_key_find(r, o->password, o->password_len, o->key_hint, err);
    }
    if (code == VMB_OK) {
        code = read_config(r, err);
    }
    if (code != VMB_OK) {
        vmbi_repo_close(&r->base);
        return code;
    }
    *out = &r->base;
    return VMB_OK;
}

static vmb_code refuse_existing(vmbi_restic *r, vmb_error **err)
{
    static const char *const dirs[] = {"keys/", "snapshots/"};
    bool there = false;
    size_t i = 0;
    vmb_code code = vmbi_storage_exists(&r->storage, NULL, "config", &there, err);

    for (i = 0; code == VMB_OK && !there && i < VMBI_ARRAY_LEN(dirs); i++) {
        code = any_below(r, dirs[i], &there, err);
    }
    if (code == VMB_OK && there) {
        code = vmbi_fail(err, VMB_E_EXISTS, "repository \"%s\": there is one, or a part of one",
                         r->storage.prefix);
    }
    return code;
}

static vmb_code write_config(vmbi_restic *r, vmb_error **err)
{
    vmbi_buf text = VMBI_BUF_INIT(CONFIG_MAX);
    uint8_t sealed[512];
    vmbi_lane *lane = NULL;
    vmb_code code = VMB_OK;

    vmbi_restic_config_print(&r->config, &text);
    code = vmbi_buf_check(&text, err, "config");
    if (code == VMB_OK) {
        code = vmbi_lane_get(r, &lane, err);
    }
    if (code == VMB_OK) { /* the text has at most 155 bytes */
        code = vmbi_restic_seal(lane->box, text.data, text.len, sealed, err);
    }
    if (code == VMB_OK) {
        code = vmbi_storage_put(&r->storage, NULL, "config", sealed,
                                text.len + VMBI_RESTIC_OVERHEAD, 0, err);
    }
    vmbi_lane_put(r, lane);
    vmbi_buf_free(&text);
    return code;
}

/* Removes what there is of a repository that did not come to be: the next attempt would find a part
 * of one. Hears no cancellation, and its own failure is not told. */
static void take_back(vmbi_restic *r)
{
    vmb_job job = *r->storage.job;
    char path[VMBI_RESTIC_PATH];
    vmb_error *why = NULL;

    job.limits = (vmbi_limits){vmbi_mono_ns() + TAKE_BACK_TIME, NULL};
    /* the store may have it, whatever it said */
    (void)vmbi_storage_remove(&r->storage, &job, "config", &why);
    vmb_error_free(vmbi_steal(&why));
    vmbi_restic_path(path, "keys/", &r->key_id);
    (void)vmbi_storage_remove(&r->storage, &job, path, &why);
    vmb_error_free(why);
}

static vmb_code restic_init(const vmbi_repo_options *o, vmbi_repo **out, vmb_error **err)
{
    vmbi_restic *r = NULL;
    vmbi_repo_id id;
    vmb_code code = new_restic(o, &r, err);

    if (code != VMB_OK) {
        return code;
    }
    code = refuse_existing(r, err);
    if (code == VMB_OK) {
        vmbi_random(&r->keys, sizeof(r->keys));
        vmbi_random(id.b, sizeof(id.b));
        vmbi_repo_id_hex(&id, r->config.id);
        r->config.version = o->version != 0 ? o->version : 2;
        r->config.polynomial = o->chunker_polynomial != 0 ? o->chunker_polynomial
                                                          : vmbi_gf2_random();
        code = vmbi_restic_key_new(r, o->password, o->password_len, &r->key_id, err);
    }
    if (code == VMB_OK) { /* last: a repository without config is none */
        code = write_config(r, err);
        if (code != VMB_OK) {
            take_back(r);
        }
    }
    if (code != VMB_OK) {
        vmbi_repo_close(&r->base);
        return code;
    }
    *out = &r->base;
    return VMB_OK;
}

static void restic_info(const vmbi_repo *base, vmbi_repo_info *out)
{
    const vmbi_restic *r = (const vmbi_restic *)(const void *)base;

    *out = (vmbi_repo_info){"restic", r->config.id, r->config.version, r->config.polynomial};
}

static void restic_hash(const vmbi_repo *base, const void *data, size_t len, vmbi_repo_id *out)
{
    (void)base;
    vmbi_sha256(data, len, out->b);
}

static void restic_hash_pair(const vmbi_repo *base, const void *a, size_t a_len, vmbi_repo_id *a_out,
                             const void *b, size_t b_len, vmbi_repo_id *b_out)
{
    vmbi_sha256_state s, t;

    (void)base;
    vmbi_sha256_begin(&s);
    vmbi_sha256_begin(&t);
    vmbi_sha256_add_pair(&s, a, a_len, &t, b, b_len);
    vmbi_sha256_end(&s, a_out->b);
    vmbi_sha256_end(&t, b_out->b);
}

static void restic_stats(vmbi_repo *base, vmbi_repo_stats *out)
{
    vmbi_restic *r = vmbi_restic_of(base);

    (void)pthread_mutex_lock(&r->mutex);
    *out = r->stats;
    out->index_blobs = vmbi_restic_index_blobs(r->index);
    out->index_packs = vmbi_restic_index_packs(r->index);
    out->index_memory_bytes = vmbi_restic_index_bytes(r->index);
    (void)pthread_mutex_unlock(&r->mutex);
}

const vmbi_repo_format vmbi_repo_restic = {
    .name = "restic",
    .init = restic_init,
    .open = restic_open,
    .close = restic_close,
    .get_info = restic_info,
    .lock = vmbi_restic_lock,
    .unlock = vmbi_restic_unlock,
    .break_locks = vmbi_restic_break_locks,
    .load_index = vmbi_restic_load_index,
    .reset = restic_reset,
    .renew_index = vmbi_restic_renew_index,
    .hash = restic_hash,
    .hash_pair = restic_hash_pair,
    .has_blob = vmbi_restic_has,
    .blob_size = vmbi_restic_size,
    .save_blob = vmbi_restic_save_blob,
    .save_hashed = vmbi_restic_save,
    .load_blob = vmbi_restic_load,
    .load_blob_into = vmbi_restic_load_into,
    .find_blob = vmbi_restic_find,
    .load_run = vmbi_restic_load_run,
    .flush = vmbi_restic_flush,
    .get_stats = restic_stats,
    .snapshot_list = vmbi_restic_snapshot_list,
    .snapshot_load = vmbi_restic_snapshot_load,
    .snapshot_save = vmbi_restic_snapshot_save,
    .snapshot_delete = vmbi_restic_snapshot_delete,
    .key_list = vmbi_restic_key_list,
    .key_add = vmbi_restic_key_add,
    .key_remove = vmbi_restic_key_remove,
    .key_passwd = vmbi_restic_key_passwd,
    .check = vmbi_restic_check,
    .prune = vmbi_restic_prune,
};
