/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/tree/backup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/strs.h"
#include "repo/tree/pattern.h"
#include "repo/tree/saver.h"

enum {
    DEFAULT_THREADS = 2,
    DEFAULT_MEMORY = 24 * 1024 * 1024,
    IMAGE_CHUNK_MIN = 64 * 1024,
    IMAGE_CHUNK_DEFAULT = 4 * 1024 * 1024
};

void vmbi_saver_warn(vmbi_saver *s, const char *path, const char *text)
{
    s->stats.warnings++;
    if (s->options->warn != NULL) {
        s->options->warn(s->options->user, path, text);
    }
}

bool vmbi_saver_is_fatal(vmbi_saver *s, vmb_code rc)
{
    return rc == VMB_E_NOMEM || rc == VMB_E_CANCELLED || rc == VMB_E_TIMEOUT ||
           vmbi_pool_failed(&s->pool) != VMB_OK;
}

uint32_t vmbi_saver_image_chunk(const vmbi_saver *s)
{
    return s->options->disk_chunk_bytes != 0 ? s->options->disk_chunk_bytes : IMAGE_CHUNK_DEFAULT;
}

bool vmbi_saver_is_image(const vmbi_saver *s, const char *name)
{
    for (size_t i = 0; i < s->options->n_disk_images; i++) {
        if (vmbi_glob_match(s->options->disk_images[i], name)) {
            return true;
        }
    }
    return false;
}

/* ---- the snapshot ------------------------------------------------------------------------------ */

static void format_time(int64_t unix_ns, char *out, size_t size)
{
    char text[VMBI_RFC3339_SIZE];
    vmbi_format_rfc3339(unix_ns, text);
    long long ns = unix_ns % VMBI_SECOND;
    int digits = 9;
    for (; digits > 0 && ns % 10 == 0; digits--) { /* as Go prints it */
        ns /= 10;
    }
    if (digits == 0) {
        (void)snprintf(out, size, "%.19sZ", text);
    } else {
        (void)snprintf(out, size, "%.19s.%0*lldZ", text, digits, ns);
    }
}

/* What restic keeps in snapshots since 0.17. */
static vmbi_json *summary(const vmbi_saver *s)
{
    const vmbi_tree_stats *t = &s->stats;
    const struct {
        const char *key;
        uint64_t value;
    } numbers[] = {{"files_new", t->files_new},
                   {"files_changed", t->files_changed},
                   {"files_unmodified", t->files_unchanged},
                   {"dirs_new", t->dirs_new},
                   {"dirs_changed", t->dirs_changed},
                   {"dirs_unmodified", t->dirs_unchanged},
                   {"data_blobs", t->data_blobs},
                   {"tree_blobs", t->tree_blobs},
                   {"data_added", t->data_added},
                   {"data_added_packed", t->data_added_packed},
                   {"total_files_processed", t->files},
                   {"total_bytes_processed", t->bytes}};
    char when[64];
    vmbi_json *v = vmbi_json_object();
    format_time(s->started_unix_ns, when, sizeof(when));
    bool ok = v != NULL && vmbi_json_set_str(v, "backup_start", when);
    format_time(vmbi_unix_ns(), when, sizeof(when));
    ok = ok && vmbi_json_set_str(v, "backup_end", when);
    for (size_t i = 0; i < VMBI_ARRAY_LEN(numbers) && ok; i++) {
        ok = vmbi_json_set_int(v, numbers[i].key, (int64_t)numbers[i].value);
    }
    if (!ok) {
        vmbi_json_free(v);
        return NULL;
    }
    return v;
}

static vmb_code save_snapshot(vmbi_saver *s, const vmbi_repo_id *tree, const char *parent_id,
                              char id[VMBI_REPO_HEX_SIZE], vmb_error **err)
{
    const vmbi_tree_options *o = s->options;
    char when[64];
    char hex[VMBI_REPO_HEX_SIZE];
    char host[256] = "";
    format_time(o->time_unix_ns != 0 ? o->time_unix_ns : vmbi_unix_ns(), when, sizeof(when));
    vmbi_repo_id_hex(tree, hex);
    (void)gethostname(host, sizeof(host) - 1);
    vmbi_json *snap = vmbi_json_object();
    bool ok = snap != NULL && vmbi_json_set_str(snap, "time", when);
    ok = ok && (parent_id[0] == '\0' || vmbi_json_set_str(snap, "parent", parent_id));
    ok = ok && vmbi_json_set_str(snap, "tree", hex);
    ok = ok && vmbi_json_set(snap, "paths", vmbi_json_strings(o->paths, o->n_paths));
    ok = ok && vmbi_json_set_str(snap, "hostname", o->hostname != NULL ? o->hostname : host);
    ok = ok && (o->username == NULL || vmbi_json_set_str(snap, "username", o->username));
    ok = ok && (getuid() == 0 || vmbi_json_set_int(snap, "uid", getuid()));
    ok = ok && (getgid() == 0 || vmbi_json_set_int(snap, "gid", getgid()));
    ok = ok && (o->n_excludes == 0 ||
                vmbi_json_set(snap, "excludes", vmbi_json_strings(o->excludes, o->n_excludes)));
    ok = ok && (o->n_tags == 0 || vmbi_json_set(snap, "tags", vmbi_json_strings(o->tags, o->n_tags)));
    ok = ok && (o->program_version == NULL ||
                vmbi_json_set_str(snap, "program_version", o->program_version));
    ok = ok && (o->program_version == NULL || vmbi_json_set(snap, "summary", summary(s)));
    vmb_code rc = ok ? vmbi_repo_snapshot_save(s->repo, snap, id, err) : vmbi_fail_nomem(err);
    vmbi_json_free(snap);
    return rc;
}

/* Paths in the order of their components: '/' before all other bytes. */
static int by_components(const void *a, const void *b)
{
    const unsigned char *x = *(const unsigned char *const *)a;
    const unsigned char *y = *(const unsigned char *const *)b;
    while (*x != '\0' && *x == *y) {
        x++;
        y++;
    }
    int p = *x == '\0' ? -1 : *x == '/' ? 0 : *x;
    int q = *y == '\0' ? -1 : *y == '/' ? 0 : *y;
    return p - q;
}

/* Paths that are not there are warned of and left out, as restic does. */
static vmb_code check_paths(vmbi_saver *s, vmbi_strs *out, vmb_error **err)
{
    const vmbi_tree_options *o = s->options;
    vmb_code rc = o->n_paths > 0 ? VMB_OK : vmbi_fail(err, VMB_E_ARG, "backup: no path is given");
    for (size_t i = 0; i < o->n_paths && rc == VMB_OK; i++) {
        const char *p = o->paths[i];
        struct stat st;
        if (p[0] != '/' || p[1] == '\0' || strstr(p, "//") != NULL || strstr(p, "/./") != NULL ||
            strstr(p, "/../") != NULL || vmbi_ends_with(p, "/") || vmbi_ends_with(p, "/.") ||
            vmbi_ends_with(p, "/..")) {
            return vmbi_fail(err, VMB_E_ARG, "backup: %s is no clean absolute path", p);
        }
        if (lstat(p, &st) != 0) {
            vmbi_saver_warn(s, p, "it is not there");
        } else if (!vmbi_strs_has(out, p)) {
            rc = vmbi_strs_add(out, p, err);
        }
    }
    if (rc == VMB_OK && out->n == 0) {
        return vmbi_fail(err, VMB_E_NOT_FOUND, "nothing to back up: %s is not there", o->paths[0]);
    }
    if (out->n > 1) {
        qsort(out->v, out->n, sizeof(*out->v), by_components);
    }
    for (size_t i = 1; i < out->n && rc == VMB_OK; i++) {
        size_t len = strlen(out->v[i - 1]);
        if (strncmp(out->v[i], out->v[i - 1], len) == 0 && out->v[i][len] == '/') {
            rc = vmbi_fail(err, VMB_E_ARG, "backup: %s is inside of %s", out->v[i],
                           out->v[i - 1]);
        }
    }
    return rc;
}

static vmb_code check_images(const vmbi_tree_options *o, vmb_error **err)
{
    uint32_t chunk = o->disk_chunk_bytes;
    if (chunk != 0 && (chunk < IMAGE_CHUNK_MIN || chunk > VMBI_CHUNK_MAX ||
                       (chunk & (chunk - 1)) != 0)) {
        return vmbi_fail(err, VMB_E_ARG,
                         "backup: chunks of disk images are a power of two, 64 KiB to 8 MiB");
    }
    for (size_t i = 0; i < o->n_disk_images; i++) {
        if (!vmbi_glob_valid(o->disk_images[i])) {
            return vmbi_fail(err, VMB_E_ARG, "backup: the glob \"%.80s\" is malformed",
                             o->disk_images[i]);
        }
    }
    return VMB_OK;
}

static vmb_code open_saver(vmbi_saver *s, vmb_error **err)
{
    const vmbi_tree_options *o = s->options;
    vmbi_repo_info info;
    vmb_code rc = check_images(o, err);
    if (rc == VMB_OK) {
        rc = vmbi_excludes_new(o, &s->excludes, err);
    }
    vmbi_repo_get_info(s->repo, &info);
    if (rc == VMB_OK) {
        rc = vmbi_rabin_new(info.chunker_polynomial, &s->rabin, err);
    }
    if (rc == VMB_OK) {
        vmbi_chunker_init(&s->chunker, s->rabin);
        rc = vmbi_pool_init(&s->pool, s->repo, o->threads != 0 ? o->threads : DEFAULT_THREADS,
                            o->memory_bytes != 0 ? o->memory_bytes : DEFAULT_MEMORY, err);
        s->pool.dry_run = o->dry_run;
    }
    return rc;
}

static void close_saver(vmbi_saver *s)
{
    if (s->pool.n_threads > 0) {
        vmbi_pool_done(&s->pool);
    }
    if (s->rabin != NULL) {
        vmbi_chunker_done(&s->chunker);
    }
    vmbi_rabin_free(s->rabin);
    vmbi_excludes_free(s->excludes);
    vmbi_ring_done(&s->ring);
    for (size_t i = 0; i < VMBI_POOL_MAX_THREADS; i++) {
        vmbi_free(s->workers[i].data);
    }
}

/* What this backup has added, from the repository's counters. */
static void count_added(vmbi_saver *s, const vmbi_repo_stats *before)
{
    vmbi_repo_stats now;
    vmbi_tree_stats *t = &s->stats;
    vmbi_repo_get_stats(s->repo, &now);
    uint64_t blobs = now.blobs_new - before->blobs_new + s->pool.dry_blobs;
    t->data_added = now.bytes_new - before->bytes_new + s->pool.dry_bytes;
    t->data_added_packed = now.bytes_stored - before->bytes_stored;
    t->data_blobs = blobs > t->tree_blobs ? blobs - t->tree_blobs : 0;
}

vmb_code vmbi_tree_backup(vmbi_repo *r, const vmbi_tree_options *o, vmb_job *job,
                          char id[VMBI_REPO_HEX_SIZE], vmbi_tree_stats *stats, vmb_error **err)
{
    vmbi_saver *s = vmbi_zalloc(sizeof(*s));
    vmbi_strs paths = {0};
    char parent_id[VMBI_REPO_HEX_SIZE] = "";
    vmbi_repo_id parent;
    vmbi_repo_id tree;
    vmbi_repo_stats before;
    if (s == NULL) {
        return vmbi_fail_nomem(err);
    }
    s->repo = r;
    s->options = o;
    s->job = job;
    s->started_unix_ns = vmbi_unix_ns();
    vmbi_repo_get_stats(r, &before);
    vmb_code rc = check_paths(s, &paths, err);
    if (rc == VMB_OK) {
        rc = open_saver(s, err);
    }
    if (rc == VMB_OK && o->parent != NULL) {
        rc = vmbi_tree_of_snapshot(r, o->parent, parent_id, &parent, err);
    }
    if (rc == VMB_OK) {
        rc = vmbi_saver_paths(s, (const char *const *)paths.v, paths.n,
                              parent_id[0] != '\0' ? &parent : NULL, &tree, err);
    }
    if (rc == VMB_OK && !o->dry_run) {
        rc = vmbi_repo_flush(r, err);
    }
    count_added(s, &before);
    id[0] = '\0';
    if (rc == VMB_OK && !o->dry_run) {
        rc = save_snapshot(s, &tree, parent_id, id, err);
    }
    close_saver(s);
    vmbi_strs_free(&paths);
    if (stats != NULL) {
        *stats = s->stats;
    }
    vmbi_free(s);
    return rc;
}
