/* SPDX-License-Identifier: Apache-2.0 */
/* A store in a folder: a key is a file. For tests, for NFS mounts, for air-gapped copies. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/job.h"
#include "base/strs.h"
#include "providers/builtin.h"
#include "providers/store_dir/list.h"
#include "providers/store_dir/path.h"
#include "providers/store_dir/put.h"

enum {
    WRITE_CHUNK = 256 * 1024,
    READ_CHUNK = 64 * 1024 /* it stays in a core's cache, and on the heap for the next call */
};

struct store_dir {
    int root; /* the folder, open for the provider's life */
};

static const vmbi_limits *limits_of(const vmb_job *job)
{
    return job ? &job->limits : NULL;
}

static void dir_destroy(void *user)
{
    struct store_dir *s = user;

    (void)close(s->root);
    vmbi_free(s);
}

static vmb_code dir_put_begin(void *user, vmb_job *job, const char *key, int64_t size_hint,
                              uint32_t put_flags, void **op, vmb_error **err)
{
    struct store_dir *s = user;
    vmbi_dir_put *p = NULL;
    vmb_code code = vmbi_store_dir_check_key(key, err);

    (void)size_hint;
    if (code == VMB_OK && (put_flags & ~(uint32_t)VMB_PUT_IF_ABSENT) != 0) {
        code = vmbi_fail(err, VMB_E_ARG, "write object \"%s\": unknown flag", key);
    }
    if (code == VMB_OK) {
        code = vmbi_limits_check(limits_of(job), err, key);
    }
    if (code == VMB_OK) {
        code = vmbi_dir_put_begin(s->root, key, (put_flags & VMB_PUT_IF_ABSENT) != 0, &p, err);
    }
    if (code == VMB_OK) {
        *op = p;
    }
    return code;
}

static vmb_code dir_put_write(void *user, vmb_job *job, void *op, const void *data, size_t len,
                              vmb_error **err)
{
    const char *p = data;
    vmb_code code = VMB_OK;

    (void)user;
    do { /* in pieces, so that cancellation is heard on a slow disk */
        const size_t n = len < WRITE_CHUNK ? len : WRITE_CHUNK;

        code = vmbi_limits_check(limits_of(job), err, "write object");
        if (code == VMB_OK && n > 0) {
            code = vmbi_dir_put_write(op, p, n, err);
        }
        p = n > 0 ? p + n : p;
        len -= n;
    } while (code == VMB_OK && len > 0);
    return code;
}

static vmb_code dir_put_commit(void *user, vmb_job *job, void *op, vmb_error **err)
{
    vmb_code code = vmbi_limits_check(limits_of(job), err, "write object");

    (void)user;
    if (code == VMB_OK) {
        code = vmbi_dir_put_commit(op, err);
    }
    vmbi_dir_put_free(op);
    return code;
}

static void dir_put_abort(void *user, void *op)
{
    (void)user;
    vmbi_dir_put_free(op);
}

/* Opens an object. O_NONBLOCK: a FIFO someone put there must not hang us. */
static vmb_code open_object(struct store_dir *s, const char *key, int *fd, struct stat *st,
                            vmb_error **err)
{
    vmb_code code = vmbi_store_dir_check_key(key, err);

    if (code != VMB_OK) {
        return code;
    }
    *fd = vmbi_store_dir_open(s->root, key, O_RDONLY | O_NONBLOCK | O_NOCTTY);
    if (*fd < 0) {
        if (errno == ENOTDIR || errno == ELOOP || errno == ENXIO || errno == ENOENT) {
            return vmbi_fail(err, VMB_E_NOT_FOUND, "read object \"%s\": no such object", key);
        }
        return vmbi_fail_errno(err, errno, "read object \"%s\"", key);
    }
    if (fstat(*fd, st) != 0) {
        return vmbi_fail_errno(err, errno, "read object \"%s\"", key);
    }
    if (!S_ISREG(st->st_mode)) {
        return vmbi_fail(err, VMB_E_NOT_FOUND, "read object \"%s\": no such object", key);
    }
    return VMB_OK;
}

static vmb_code copy_range(const vmb_job *job, int fd, const char *key, int64_t offset, int64_t end,
                           vmb_sink *out, vmb_error **err)
{
    char *buf = vmbi_alloc(READ_CHUNK);
    vmb_code code = buf ? VMB_OK : vmbi_fail_nomem(err);

    while (code == VMB_OK && offset < end) {
        const int64_t left = end - offset;
        const size_t want = left < READ_CHUNK ? (size_t)left : READ_CHUNK;
        const ssize_t n = pread(fd, buf, want, (off_t)offset);

        if (n < 0 && errno != EINTR) {
            code = vmbi_fail_errno(err, errno, "read object \"%s\"", key);
        } else if (n == 0) {
            code = vmbi_fail(err, VMB_E_IO, "read object \"%s\": the file became shorter", key);
        } else if (n > 0) {
            code = vmbi_limits_check(limits_of(job), err, "read object");
            if (code == VMB_OK) {
                code = vmb_sink_write(out, buf, (size_t)n, err);
            }
            offset += n;
        }
    }
    vmbi_free(buf);
    return code;
}

static vmb_code dir_get(void *user, vmb_job *job, const char *key, int64_t offset, int64_t length,
                        vmb_sink *out, vmb_error **err)
{
    struct stat st;
    int64_t end = 0;
    int fd = -1;
    vmb_code code = VMB_OK;

    if (offset < 0 || length < -1) {
        return vmbi_fail(err, VMB_E_ARG, "read object \"%s\": negative range", key);
    }
    code = open_object(user, key, &fd, &st, err);
    if (code == VMB_OK) {
        end = (int64_t)st.st_size;
        if (length >= 0 && length < end - offset) {
            end = offset + length;
        }
        if (length != 0 && offset >= (int64_t)st.st_size &&
            !(length == -1 && offset == (int64_t)st.st_size)) {
            code = vmbi_fail(err, VMB_E_ARG, "read object \"%s\": starts past the end", key);
        }
    }
    if (code == VMB_OK) {
        code = copy_range(job, fd, key, offset, end, out, err);
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    return code;
}

static vmb_code dir_stat(void *user, vmb_job *job, const char *key, int64_t *size_bytes,
                         int64_t *mtime_unix_ns, vmb_error **err)
{
    struct stat st;
    int fd = -1;
    vmb_code code = vmbi_limits_check(limits_of(job), err, "read object");

    if (code == VMB_OK) {
        code = open_object(user, key, &fd, &st, err);
    }
    if (code == VMB_OK) {
        *size_bytes = (int64_t)st.st_size;
        *mtime_unix_ns = (int64_t)st.st_mtim.tv_sec * VMBI_SECOND + st.st_mtim.tv_nsec;
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    return code;
}

static vmb_code dir_list(void *user, vmb_job *job, const char *prefix, const char *delimiter,
                         vmb_key_sink *out, vmb_error **err)
{
    const struct store_dir *s = user;
    const bool fold = delimiter && delimiter[0] != '\0';

    if (fold && strcmp(delimiter, "/") != 0) {
        return vmbi_fail(err, VMB_E_ARG, "list: delimiter \"%s\" is not \"/\"", delimiter);
    }
    return vmbi_store_dir_list(s->root, limits_of(job), prefix ? prefix : "", fold, out, err);
}

static vmb_code dir_remove(void *user, vmb_job *job, const char *key, vmb_error **err)
{
    struct store_dir *s = user;
    const char *name = NULL;
    struct stat st;
    int parent = -1;
    vmb_code code = vmbi_store_dir_check_key(key, err);

    if (code == VMB_OK) {
        code = vmbi_limits_check(limits_of(job), err, "remove object");
    }
    if (code != VMB_OK) {
        return code;
    }
    parent = vmbi_store_dir_open_parent(s->root, key, &name);
    if (parent < 0) {
        return errno == ENOENT || errno == ENOTDIR || errno == ELOOP
                   ? VMB_OK
                   : vmbi_fail_errno(err, errno, "remove object \"%s\"", key);
    }
    if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode)) {
        if (unlinkat(parent, name, 0) != 0 && errno != ENOENT) {
            code = vmbi_fail_errno(err, errno, "remove object \"%s\"", key);
        } else if (fsync(parent) != 0) {
            code = vmbi_fail_errno(err, errno, "remove object \"%s\"", key);
        }
    }
    (void)close(parent);
    if (code == VMB_OK) {
        vmbi_store_dir_prune_parents(s->root, key);
    }
    return code;
}

static vmb_code check_settings(const vmbi_json *settings, const char **path, const char **bucket,
                               vmb_error **err)
{
    const vmbi_json *config = vmbi_json_get(settings, "config");
    void *it = NULL;

    for (it = vmbi_json_iter(settings); it; it = vmbi_json_iter_next(settings, it)) {
        const char *key = vmbi_json_iter_key(it);

        if (strcmp(key, "bucket") != 0 && strcmp(key, "config") != 0) {
            return vmbi_fail(err, VMB_E_ARG,
                             "dir store: unknown setting \"%s\" (known: bucket, config)", key);
        }
    }
    for (it = vmbi_json_iter(config); it; it = vmbi_json_iter_next(config, it)) {
        if (strcmp(vmbi_json_iter_key(it), "path") != 0) {
            return vmbi_fail(err, VMB_E_ARG, "dir store: unknown config key \"%s\" (known: path)",
                             vmbi_json_iter_key(it));
        }
    }
    *path = vmbi_json_get_str(config, "path");
    *bucket = vmbi_json_get_str(settings, "bucket");
    if (!*path || (*path)[0] != '/') {
        return vmbi_fail(err, VMB_E_ARG, "dir store: config.path must be an absolute path");
    }
    if (*bucket && ((*bucket)[0] == '\0' || strchr(*bucket, '/'))) {
        return vmbi_fail(err, VMB_E_ARG, "dir store: bucket must be a plain folder name");
    }
    return *bucket ? vmbi_store_dir_check_key(*bucket, err) : VMB_OK;
}

/* The path itself must exist: creating it would fill the root disk when a mount is missing. */
static vmb_code open_root(const char *path, const char *bucket, int *out, vmb_error **err)
{
    int base = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int root = -1;
    vmb_code code = VMB_OK;

    if (base < 0) {
        return vmbi_fail_errno(err, errno, "dir store: open folder %s", path);
    }
    if (!bucket) {
        *out = base;
        return VMB_OK;
    }
    if (mkdirat(base, bucket, 0777) != 0 && errno != EEXIST) {
        code = vmbi_fail_errno(err, errno, "dir store: create folder %s/%s", path, bucket);
    } else {
        root = vmbi_store_dir_open(base, bucket, O_RDONLY | O_DIRECTORY);
        if (root < 0) {
            code = vmbi_fail_errno(err, errno, "dir store: open folder %s/%s", path, bucket);
        }
    }
    (void)close(base);
    if (code == VMB_OK) {
        *out = root;
    }
    return code;
}

/* Which keys the files were meant for, nobody knows any more. */
static vmb_code dir_sweep(void *user, vmb_job *job, const char *prefix, int64_t before_unix_ns,
                          int64_t *removed, vmb_error **err)
{
    const struct store_dir *s = user;

    (void)job;
    (void)prefix;
    return vmbi_dir_sweep(s->root, before_unix_ns, removed, err);
}

vmb_code vmbi_store_dir_new(const vmbi_json *settings, vmb_store_provider *out, vmb_error **err)
{
    struct store_dir *s = NULL;
    const char *path = NULL;
    const char *bucket = NULL;
    vmb_code code = check_settings(settings, &path, &bucket, err);

    if (code != VMB_OK) {
        return code;
    }
    s = vmbi_zalloc(sizeof(*s));
    if (!s) {
        return vmbi_fail_nomem(err);
    }
    code = open_root(path, bucket, &s->root, err);
    if (code != VMB_OK) {
        vmbi_free(s);
        return code;
    }
    *out = (vmb_store_provider){.struct_size = sizeof(*out),
                                .api_version = VMB_PROVIDER_API,
                                .name = "dir",
                                .user = s,
                                .destroy = dir_destroy,
                                .put_begin = dir_put_begin,
                                .put_write = dir_put_write,
                                .put_commit = dir_put_commit,
                                .put_abort = dir_put_abort,
                                .get = dir_get,
                                .stat = dir_stat,
                                .list = dir_list,
                                .remove = dir_remove,
                                .sweep = dir_sweep};
    return VMB_OK;
}
