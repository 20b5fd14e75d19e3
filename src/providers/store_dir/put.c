/* SPDX-License-Identifier: Apache-2.0 */
#include "providers/store_dir/put.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/error.h"
#include "codec/digest.h"
#include "providers/store_dir/path.h"

enum { COMMIT_TRIES = 16 };

/* The bytes go into a file without a name where the file system has such (a crash leaves nothing),
 * else into one in the private folder. */
struct vmbi_dir_put {
    int root;
    int fd;
    int tmp_dir;       /* the private folder; -1 until a name in it is needed */
    char tmp_name[48]; /* "" while the file has no name */
    char *key;
    bool if_absent;
};

static vmb_code fail(const vmbi_dir_put *p, int errnum, const char *what, vmb_error **err)
{
    if (errnum == ENOTDIR || errnum == EISDIR || errnum == ENOTEMPTY) {
        return vmbi_fail(err, VMB_E_UNSUPPORTED,
                         "%s \"%s\": a folder store cannot hold both an object and objects below "
                         "its name",
                         what, p->key);
    }
    return vmbi_fail_errno(err, errnum, "%s \"%s\"", what, p->key);
}

static int open_tmp_dir(vmbi_dir_put *p)
{
    if (p->tmp_dir < 0) {
        if (mkdirat(p->root, VMBI_STORE_DIR_TMP, 0700) != 0 && errno != EEXIST) {
            return -1;
        }
        p->tmp_dir =
            openat(p->root, VMBI_STORE_DIR_TMP, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    }
    return p->tmp_dir;
}

static void random_name(char out[48])
{
    memcpy(out, "put-", 4);
    vmbi_uuid4(out + 4);
}

static int open_file(vmbi_dir_put *p)
{
    int fd = -1;

#ifdef O_TMPFILE
    fd = openat(p->root, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0666);
    if (fd >= 0) {
        return fd;
    }
#endif
    if (open_tmp_dir(p) < 0) {
        return -1;
    }
    random_name(p->tmp_name);
    fd = openat(p->tmp_dir, p->tmp_name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0666);
    if (fd < 0) {
        p->tmp_name[0] = '\0';
    }
    return fd;
}

vmb_code vmbi_dir_put_begin(int root, const char *key, bool if_absent, vmbi_dir_put **out,
                            vmb_error **err)
{
    vmbi_dir_put *p = vmbi_zalloc(sizeof(*p));
    vmb_code code = VMB_OK;

    if (!p) {
        return vmbi_fail_nomem(err);
    }
    p->root = root;
    p->fd = -1;
    p->tmp_dir = -1;
    p->if_absent = if_absent;
    p->key = vmbi_strdup(key);
    if (!p->key) {
        code = vmbi_fail_nomem(err);
        goto out;
    }
    p->fd = open_file(p);
    if (p->fd < 0) {
        code = fail(p, errno, "create object", err);
        goto out;
    }
    *out = vmbi_steal(&p);
out:
    vmbi_dir_put_free(p);
    return code;
}

vmb_code vmbi_dir_put_write(vmbi_dir_put *p, const void *data, size_t len, vmb_error **err)
{
    const char *bytes = data;

    while (len > 0) {
        const ssize_t n = write(p->fd, bytes, len);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return fail(p, errno, "write object", err);
        }
        bytes += n;
        len -= (size_t)n;
    }
    return VMB_OK;
}

/* Gives the nameless file a name. */
static int link_fd(const vmbi_dir_put *p, int dir, const char *name)
{
    char path[64];

    if (p->tmp_name[0] != '\0') {
        return linkat(p->tmp_dir, p->tmp_name, dir, name, 0);
    }
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", p->fd);
    return linkat(AT_FDCWD, path, dir, name, AT_SYMLINK_FOLLOW);
}

/* link() refuses an existing name, rename() replaces it: both atomically. */
static int publish(vmbi_dir_put *p, int dir, const char *name)
{
    if (p->if_absent) {
        return link_fd(p, dir, name);
    }
    if (p->tmp_name[0] == '\0') {
        char tmp_name[48];

        if (open_tmp_dir(p) < 0) {
            return -1;
        }
        random_name(tmp_name);
        if (link_fd(p, p->tmp_dir, tmp_name) != 0) {
            return -1;
        }
        memcpy(p->tmp_name, tmp_name, sizeof(p->tmp_name));
    }
    if (renameat(p->tmp_dir, p->tmp_name, dir, name) != 0) {
        return -1;
    }
    p->tmp_name[0] = '\0';
    return 0;
}

static int publish_once(vmbi_dir_put *p)
{
    const char *name = NULL;
    int dir = -1;
    int rc = -1;
    int saved = 0;

    if (vmbi_store_dir_make_parents(p->root, p->key) != 0) {
        return -1;
    }
    dir = vmbi_store_dir_open_parent(p->root, p->key, &name);
    if (dir < 0) {
        return -1;
    }
    rc = publish(p, dir, name);
    if (rc == 0) {
        rc = fsync(dir);
    }
    saved = errno;
    (void)close(dir);
    errno = saved;
    return rc;
}

vmb_code vmbi_dir_put_commit(vmbi_dir_put *p, vmb_error **err)
{
    int i = 0;

    if (fsync(p->fd) != 0) {
        return fail(p, errno, "write object", err);
    }
    for (i = 0; i < COMMIT_TRIES; i++) {
        if (publish_once(p) == 0) {
            return VMB_OK;
        }
        if (errno != ENOENT) {
            break; /* ENOENT: another thread's removal pruned the folder that we just made */
        }
    }
    if (errno == EEXIST && p->if_absent) {
        return vmbi_fail(err, VMB_E_EXISTS, "write object \"%s\": exists already", p->key);
    }
    return fail(p, errno, "write object", err);
}

void vmbi_dir_put_free(vmbi_dir_put *p)
{
    if (!p) {
        return;
    }
    if (p->tmp_name[0] != '\0' && p->tmp_dir >= 0) {
        (void)unlinkat(p->tmp_dir, p->tmp_name, 0);
    }
    if (p->tmp_dir >= 0) {
        (void)close(p->tmp_dir);
    }
    if (p->fd >= 0) {
        (void)close(p->fd);
    }
    vmbi_free(p->key);
    vmbi_free(p);
}
