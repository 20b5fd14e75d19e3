/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/tree/stat.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/error.h"

enum { MAX_XATTR_LIST = 64 * 1024, MAX_XATTR_VALUE = 64 * 1024, SMALL_LIST = 1024,
       LOOKUP_SIZE = 16 * 1024 };

static void copy_name(char *out, size_t size, const char *name)
{
    (void)snprintf(out, size, "%s", name != NULL ? name : "");
}

static void look_up_owners(vmbi_owner_cache *c, uint32_t uid, uint32_t gid)
{
    char space[LOOKUP_SIZE];
    if (!c->has_user || c->uid != uid) {
        struct passwd pw;
        struct passwd *found = NULL;
        bool ok = getpwuid_r(uid, &pw, space, sizeof(space), &found) == 0 && found != NULL;
        copy_name(c->user, sizeof(c->user), ok ? pw.pw_name : NULL);
        c->uid = uid;
        c->has_user = true;
    }
    if (!c->has_group || c->gid != gid) {
        struct group gr;
        struct group *found = NULL;
        bool ok = getgrgid_r(gid, &gr, space, sizeof(space), &found) == 0 && found != NULL;
        copy_name(c->group, sizeof(c->group), ok ? gr.gr_name : NULL);
        c->gid = gid;
        c->has_group = true;
    }
}

static vmb_code read_link(int dirfd, const char *name, vmbi_node *out, vmb_error **err)
{
    char target[PATH_MAX + 1];
    ssize_t n = readlinkat(dirfd, name, target, PATH_MAX);
    if (n < 0) {
        return vmbi_fail_errno(err, errno, "read link %s", name);
    }
    out->linktarget = vmbi_strndup(target, (size_t)n);
    return out->linktarget != NULL ? VMB_OK : vmbi_fail_nomem(err);
}

static vmb_code add_xattr(vmbi_node *out, const char *name, const uint8_t *value, size_t len,
                          vmb_error **err)
{
    vmbi_node_xattr *v = vmbi_realloc_array(out->xattrs, out->n_xattrs + 1, sizeof(*v));
    if (v == NULL) {
        return vmbi_fail_nomem(err);
    }
    out->xattrs = v;
    vmbi_node_xattr x = {vmbi_strdup(name), vmbi_memdup(value, len), len};
    if (x.name == NULL || x.value == NULL) {
        vmbi_free(x.name);
        vmbi_free(x.value);
        return vmbi_fail_nomem(err);
    }
    out->xattrs[out->n_xattrs++] = x;
    return VMB_OK;
}

/* An entry whose attributes are read: by descriptor where it is open, else by path. There is no
 * *at form: the path goes through the directory's descriptor, so that no component is looked up
 * again. */
typedef struct target {
    int fd; /* -1: path */
    char path[PATH_MAX];
} target;

static ssize_t list_names(const target *t, char *out, size_t size)
{
    return t->fd >= 0 ? flistxattr(t->fd, out, size) : llistxattr(t->path, out, size);
}

/* Names as the kernel gives them, in that order. list: len bytes of them. */
static vmb_code add_all(const target *t, const char *list, ssize_t len, vmbi_node *out,
                        char **warning, vmb_error **err)
{
    uint8_t *value = vmbi_alloc(MAX_XATTR_VALUE);
    vmb_code rc = value != NULL ? VMB_OK : vmbi_fail_nomem(err);
    for (ssize_t at = 0; at < len && rc == VMB_OK; at += (ssize_t)strlen(list + at) + 1) {
        ssize_t got = t->fd >= 0 ? fgetxattr(t->fd, list + at, value, MAX_XATTR_VALUE)
                                 : lgetxattr(t->path, list + at, value, MAX_XATTR_VALUE);
        if (got >= 0) {
            rc = add_xattr(out, list + at, value, (size_t)got, err);
        } else if (*warning == NULL) {
            *warning = vmbi_strdup("one of its extended attributes cannot be read");
        }
    }
    vmbi_free(value);
    return rc;
}

static vmb_code read_xattrs(int dirfd, const char *name, int fd, vmbi_node *out, char **warning,
                            vmb_error **err)
{
    target t = {.fd = fd};
    int n = snprintf(t.path, sizeof(t.path), "/proc/self/fd/%d/%s", dirfd, name);
    if (dirfd == AT_FDCWD) {
        n = snprintf(t.path, sizeof(t.path), "%s", name);
    }
    if (n < 0 || (size_t)n >= sizeof(t.path)) {
        return VMB_OK;
    }
    char few[SMALL_LIST]; /* most have none */
    ssize_t len = list_names(&t, few, sizeof(few));
    if (len >= 0) {
        return len > 0 ? add_all(&t, few, len, out, warning, err) : VMB_OK;
    }
    if (errno != ERANGE) {
        *warning = errno != ENOTSUP ? vmbi_strdup("its extended attributes cannot be listed") : NULL;
        return VMB_OK;
    }
    char *list = vmbi_alloc(MAX_XATTR_LIST);
    if (list == NULL) {
        return vmbi_fail_nomem(err);
    }
    len = list_names(&t, list, MAX_XATTR_LIST);
    vmb_code rc = len > 0 ? add_all(&t, list, len, out, warning, err) : VMB_OK;
    vmbi_free(list);
    return rc;
}

vmb_code vmbi_stat_node(int dirfd, const char *name, int fd, const char *node_name,
                        const struct stat *st, vmbi_owner_cache *owners, vmbi_node *out,
                        char **warning, vmb_error **err)
{
    vmbi_node n = {0};
    n.type = vmbi_node_type_of(st->st_mode);
    n.mode = vmbi_node_mode(st->st_mode);
    n.mtime = st->st_mtim;
    n.atime = st->st_mtim; /* restic's default: access times would change every tree */
    n.ctime = st->st_ctim;
    n.uid = st->st_uid;
    n.gid = st->st_gid;
    n.inode = st->st_ino;
    n.device_id = st->st_dev;
    bool links = n.type == VMBI_NODE_FILE || n.type == VMBI_NODE_SYMLINK ||
                 n.type == VMBI_NODE_DEV || n.type == VMBI_NODE_CHARDEV;
    n.links = links ? st->st_nlink : 0;
    n.size = n.type == VMBI_NODE_FILE ? (uint64_t)st->st_size : 0;
    n.device = n.type == VMBI_NODE_DEV || n.type == VMBI_NODE_CHARDEV ? st->st_rdev : 0;
    look_up_owners(owners, n.uid, n.gid);
    n.name = vmbi_strdup(node_name);
    n.user = vmbi_strdup(owners->user);
    n.group = vmbi_strdup(owners->group);
    vmb_code rc = n.name != NULL && n.user != NULL && n.group != NULL ? VMB_OK
                                                                      : vmbi_fail_nomem(err);
    if (rc == VMB_OK && n.type == VMBI_NODE_SYMLINK) {
        rc = read_link(dirfd, name, &n, err);
    }
    if (rc == VMB_OK) {
        rc = read_xattrs(dirfd, name, fd, &n, warning, err);
    }
    if (rc != VMB_OK) {
        vmbi_node_done(&n);
        return rc;
    }
    *out = n;
    return VMB_OK;
}
