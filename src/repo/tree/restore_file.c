/* SPDX-License-Identifier: Apache-2.0 */
/* Regular files: their content, in few requests, and checked afterwards when that is wanted. */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/error.h"
#include "repo/tree/restorer.h"

enum { RUN_MAX_GAP = 64 * 1024 }; /* of bytes that nobody wants, between two blobs */

/* ---- writing ----------------------------------------------------------------------------------- */

static bool all_zero(const uint8_t *p, size_t len)
{
    return len > 0 && p[0] == 0 && memcmp(p, p + 1, len - 1) == 0;
}

vmb_code vmbi_restorer_write(const vmbi_restorer *r, int fd, const void *data, size_t len,
                             uint64_t at, uint64_t *hole, vmb_error **err)
{
    const uint8_t *p = data;
    if (!r->options->no_sparse && all_zero(p, len)) { /* the file is extended at the end */
        *hole += len;
        return VMB_OK;
    }
    while (len > 0) {
        ssize_t n = pwrite(fd, p, len, (off_t)at);
        if (n < 0 && errno != EINTR) {
            return vmbi_fail_errno(err, errno, "write");
        }
        if (n > 0) {
            p += n;
            len -= (size_t)n;
            at += (uint64_t)n;
        }
    }
    return VMB_OK;
}

/* ---- checking ---------------------------------------------------------------------------------- */

static vmb_code read_back(int fd, uint8_t *p, size_t len, uint64_t at, vmb_error **err)
{
    while (len > 0) {
        ssize_t n = pread(fd, p, len, (off_t)at);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return n < 0 ? vmbi_fail_errno(err, errno, "read back")
                         : vmbi_fail(err, VMB_E_INVALID, "read back: it is too short");
        }
        p += n;
        len -= (size_t)n;
        at += (uint64_t)n;
    }
    return VMB_OK;
}

static vmb_code verify(vmbi_restorer *r, int fd, const vmbi_node *node, vmb_error **err)
{
    uint64_t at = 0;
    struct stat st;
    vmb_code rc = VMB_OK;
    for (size_t i = 0; i < node->n_content && rc == VMB_OK; i++) {
        uint64_t size = 0;
        vmbi_repo_id id;
        if (!vmbi_repo_blob_size(r->repo, VMBI_BLOB_DATA, &node->content[i], &size) ||
            size > VMBI_REPO_MAX_BLOB) {
            return vmbi_fail(err, VMB_E_NOT_FOUND, "read back: the index has no such blob");
        }
        vmbi_buf_reset(&r->check);
        vmbi_buf_reserve(&r->check, (size_t)size);
        rc = vmbi_buf_check(&r->check, err, "read back");
        if (rc == VMB_OK) {
            rc = read_back(fd, (uint8_t *)r->check.data, (size_t)size, at, err);
        }
        if (rc == VMB_OK) {
            vmbi_repo_hash(r->repo, r->check.data, (size_t)size, &id);
            if (memcmp(id.b, node->content[i].b, sizeof(id.b)) != 0) {
                rc = vmbi_fail(err, VMB_E_INVALID, "read back: other bytes than were written at %llu",
                               (unsigned long long)at);
            }
        }
        at += size;
    }
    if (rc == VMB_OK && (fstat(fd, &st) != 0 || (uint64_t)st.st_size != at)) {
        rc = vmbi_fail(err, VMB_E_INVALID, "read back: it has another size");
    }
    r->stats.files_verified += rc == VMB_OK ? 1 : 0;
    return rc;
}

/* ---- one file ---------------------------------------------------------------------------------- */

/* data: all of its content, when that was read already; else it is read here. */
static vmb_code write_file(vmbi_restorer *r, vmbi_restore_dir *d, const vmbi_node *node,
                           const char *path, const void *data, size_t len, vmb_error **err)
{
    vmb_code rc = vmbi_restorer_enter(r, d, err);
    if (rc != VMB_OK) {
        return rc;
    }
    const char *temporary = vmbi_restorer_temporary(r, node->name);
    int flags = (r->options->verify ? O_RDWR : O_WRONLY) | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    if (temporary != node->name) {
        (void)unlinkat(d->fd, temporary, 0); /* of an earlier run that was ended */
    }
    int fd = openat(d->fd, temporary, flags, 0600);
    if (fd < 0) {
        return vmbi_fail_errno(err, errno, "create");
    }
    uint64_t size = len;
    rc = data != NULL ? vmbi_restorer_write(r, fd, data, len, 0, &r->stats.bytes_hole, err)
                      : vmbi_restorer_content(r, node, fd, &size, err);
    if (rc == VMB_OK && ftruncate(fd, (off_t)size) != 0) {
        rc = vmbi_fail_errno(err, errno, "extend");
    }
    if (rc == VMB_OK && r->options->verify) {
        rc = verify(r, fd, node, err);
    }
    if (rc == VMB_OK) {
        vmbi_restorer_metadata(r, d->fd, temporary, fd, path, node);
    }
    if (close(fd) != 0 && rc == VMB_OK) {
        rc = vmbi_fail_errno(err, errno, "close");
    }
    if (rc == VMB_OK) {
        rc = vmbi_restorer_place(r, d->fd, temporary, node->name, err);
    }
    if (rc != VMB_OK) {
        (void)unlinkat(d->fd, temporary, 0); /* no half file that looks whole */
        return rc;
    }
    r->stats.files++;
    r->stats.bytes += size;
    return VMB_OK;
}

/* Links to a path below the target, without following a symlink that someone has put there. */
static bool link_below(vmbi_restorer *r, const char *first, int dirfd, const char *name)
{
    struct open_how how = {.flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS};
    const char *slash = strrchr(first, '/');
    if (slash == NULL) {
        return linkat(r->target, first, dirfd, name, 0) == 0;
    }
    char *folder = vmbi_strndup(first, (size_t)(slash - first));
    long fd = folder != NULL ? syscall(SYS_openat2, r->target, folder, &how, sizeof(how)) : -1;
    bool ok = fd >= 0 && linkat((int)fd, slash + 1, dirfd, name, 0) == 0;
    if (fd >= 0) {
        (void)close((int)fd);
    }
    vmbi_free(folder);
    return ok;
}

static vmb_code link_key(const vmbi_node *node, vmbi_buf *key, vmb_error **err)
{
    vmbi_buf_addf(key, "%llu:%llu", (unsigned long long)node->device_id,
                  (unsigned long long)node->inode);
    return vmbi_buf_check(key, err, "link");
}

/* Once it is there: to the name of a file that failed, what lay there before would be linked. */
static vmb_code remember_link(vmbi_restorer *r, const vmbi_node *node, const char *path,
                              vmb_error **err)
{
    vmbi_buf key = VMBI_BUF_INIT(64);
    vmb_code rc = link_key(node, &key, err);
    if (rc == VMB_OK && !vmbi_map_has(&r->links, key.data)) {
        char *copy = vmbi_strdup(path);
        rc = copy != NULL ? vmbi_map_set(&r->links, key.data, copy, err) : vmbi_fail_nomem(err);
        if (rc != VMB_OK) {
            vmbi_free(copy);
        }
    }
    vmbi_buf_free(&key);
    return rc;
}

/* A further name of a file that was restored already; *done tells. */
static vmb_code link_known(vmbi_restorer *r, vmbi_restore_dir *d, const vmbi_node *node,
                           bool *done, vmb_error **err)
{
    vmbi_buf key = VMBI_BUF_INIT(64);
    vmb_code rc = link_key(node, &key, err);
    const char *first = rc == VMB_OK ? vmbi_map_get(&r->links, key.data) : NULL;
    *done = false;
    if (rc == VMB_OK && first != NULL) {
        rc = vmbi_restorer_enter(r, d, err);
        const char *temporary = vmbi_restorer_temporary(r, node->name);
        if (rc == VMB_OK && temporary != node->name) {
            (void)unlinkat(d->fd, temporary, 0);
        }
        *done = rc == VMB_OK && link_below(r, first, d->fd, temporary);
        if (*done) {
            rc = vmbi_restorer_place(r, d->fd, temporary, node->name, err);
            /* renaming one name of a file over another one of it does nothing */
            if (temporary != node->name) {
                (void)unlinkat(d->fd, temporary, 0);
            }
            r->stats.files++;
        }
    }
    vmbi_buf_free(&key);
    return rc;
}

/* ---- batches ----------------------------------------------------------------------------------- */

static int by_place(const void *a, const void *b)
{
    const vmbi_blob_place *x = &((const struct vmbi_batched *)a)->place;
    const vmbi_blob_place *y = &((const struct vmbi_batched *)b)->place;
    if (x->pack != y->pack) {
        return x->pack < y->pack ? -1 : 1;
    }
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

typedef struct flushing {
    vmbi_restorer *r;
    vmbi_restore_dir *d;
    size_t first; /* of the run, in the batch */
} flushing;

static vmb_code write_batched(void *user, size_t i, const void *data, size_t len, vmb_error *why,
                              vmb_error **err)
{
    flushing *f = user;
    vmbi_restorer *r = f->r;
    /* the same content may belong to several files: they lie at one place, side by side */
    size_t at = f->first;
    while (i > 0) {
        size_t k = at;
        while (k < r->batch->n && by_place(&r->batch->v[k], &r->batch->v[at]) == 0) {
            k++;
        }
        at = k;
        i--;
    }
    vmb_code rc = VMB_OK;
    for (size_t k = at; rc == VMB_OK && k < r->batch->n &&
                        by_place(&r->batch->v[k], &r->batch->v[at]) == 0; k++) {
        const vmbi_node *node = &r->batch->v[k].node;
        vmb_error *failed = NULL;
        vmbi_buf path = VMBI_BUF_INIT(1024 * 1024);
        vmbi_buf_addf(&path, "%s%s%s", f->d->path, f->d->path[0] != '\0' ? "/" : "", node->name);
        rc = vmbi_buf_check(&path, &failed, "path");
        if (rc == VMB_OK && data == NULL) {
            rc = vmbi_fail(&failed, vmb_error_code(why), "%s", vmb_error_message(why));
        } else if (rc == VMB_OK) {
            rc = write_file(r, f->d, node, path.data, data, len, &failed);
        }
        if (rc != VMB_OK && !vmbi_restorer_is_fatal(rc)) {
            vmbi_restorer_warn(r, path.data, vmb_error_message(failed));
            vmb_error_free(vmbi_steal(&failed));
            rc = VMB_OK;
        }
        vmbi_error_move(err, &failed);
        vmbi_buf_free(&path);
        if (r->options->progress != NULL) {
            r->options->progress(r->options->user, &r->stats);
        }
    }
    return rc;
}

/* One request for files from i on; *next: the first one behind it. */
static vmb_code flush_run(vmbi_restorer *r, vmbi_restore_dir *d, size_t i, size_t *next,
                          vmb_error **err)
{
    vmbi_repo_id ids[VMBI_BATCH_FILES];
    vmbi_blob_place places[VMBI_BATCH_FILES];
    flushing f = {r, d, i};
    size_t n = 0;
    for (; i < r->batch->n; i++) {
        const struct vmbi_batched *b = &r->batch->v[i];
        if (n > 0 && by_place(b, &r->batch->v[i - 1]) == 0) {
            continue;
        }
        if (n > 0 && (b->place.pack != places[0].pack ||
                      b->place.offset - places[n - 1].offset >
                          (uint64_t)places[n - 1].stored_len + RUN_MAX_GAP ||
                      b->place.offset - places[0].offset > VMBI_BATCH_BYTES)) {
            break;
        }
        places[n] = b->place;
        ids[n++] = b->node.content[0];
    }
    *next = i;
    return vmbi_repo_load_run(r->repo, VMBI_BLOB_DATA, ids, places, n, false, write_batched, &f, err);
}

/* A request that failed as a whole: each of its files is missing, not the next that comes along. */
static void warn_run(vmbi_restorer *r, const vmbi_restore_dir *d, size_t from, size_t to,
                     const char *text)
{
    for (size_t i = from; i < to; i++) {
        vmbi_buf path = VMBI_BUF_INIT(1024 * 1024);
        vmbi_buf_addf(&path, "%s%s%s", d->path, d->path[0] != '\0' ? "/" : "",
                      r->batch->v[i].node.name);
        vmbi_restorer_warn(r, path.status == VMB_OK ? path.data : d->path, text);
        vmbi_buf_free(&path);
    }
}

vmb_code vmbi_restorer_flush(vmbi_restorer *r, vmbi_restore_dir *d, vmb_error **err)
{
    vmbi_restore_batch *b = r->batch;
    vmb_code rc = VMB_OK;
    if (b->n > 1) {
        qsort(b->v, b->n, sizeof(b->v[0]), by_place);
    }
    for (size_t i = 0; i < b->n && rc == VMB_OK;) {
        rc = vmbi_limits_check(&r->job->limits, err, "restore");
        if (rc == VMB_OK) {
            const size_t first = i;
            vmb_error *why = NULL;
            rc = flush_run(r, d, first, &i, &why);
            if (rc != VMB_OK && !vmbi_restorer_is_fatal(rc)) {
                warn_run(r, d, first, i, vmb_error_message(why));
                vmb_error_free(vmbi_steal(&why));
                rc = VMB_OK;
            }
            vmbi_error_move(err, &why);
        }
    }
    for (size_t i = 0; i < b->n; i++) {
        vmbi_node_done(&b->v[i].node);
    }
    b->n = 0;
    b->bytes = 0;
    return rc;
}

static vmb_code put_in_batch(vmbi_restorer *r, vmbi_restore_dir *d, vmbi_node *node,
                             const vmbi_blob_place *place, vmb_error **err)
{
    vmbi_restore_batch *b = r->batch;
    vmb_code rc = VMB_OK;
    if (b->n == VMBI_BATCH_FILES || b->bytes + place->stored_len > VMBI_BATCH_BYTES) {
        rc = vmbi_restorer_flush(r, d, err);
    }
    if (rc == VMB_OK) {
        b->v[b->n].node = *node;
        b->v[b->n++].place = *place;
        b->bytes += place->stored_len;
        *node = (vmbi_node){0};
    }
    return rc;
}

vmb_code vmbi_restorer_file(vmbi_restorer *r, vmbi_restore_dir *d, vmbi_node *node,
                            const char *path, vmb_error **err)
{
    vmbi_blob_place place;
    bool linked = false;
    if (vmbi_restorer_keeps(r, d, node->name)) {
        return VMB_OK;
    }
    if (r->options->dry_run) {
        r->stats.files++;
        r->stats.bytes += node->size;
        return VMB_OK;
    }
    bool several = node->links > 1 && node->inode != 0;
    if (several) {
        vmb_code rc = link_known(r, d, node, &linked, err);
        if (rc != VMB_OK || linked) {
            return rc;
        }
    }
    if (node->n_content == 1 && !several &&
        vmbi_repo_find_blob(r->repo, VMBI_BLOB_DATA, &node->content[0], &place) &&
        place.stored_len < VMBI_BATCH_BYTES / 8) {
        return put_in_batch(r, d, node, &place, err);
    }
    vmb_code rc = write_file(r, d, node, path, NULL, 0, err);
    return rc == VMB_OK && several ? remember_link(r, node, path, err) : rc;
}
