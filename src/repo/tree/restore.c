/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/tree/restore.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/job.h"
#include "base/map.h"
#include "repo/tree/tree.h"

enum {
    MAX_DEPTH = 1000,
    RUN_MAX_BLOBS = 64,
    RUN_MAX_BYTES = 8 * 1024 * 1024, /* of one request */
    RUN_MAX_GAP = 64 * 1024          /* of bytes that nobody wants, between two blobs */
};

typedef struct restorer {
    vmbi_repo *repo;
    const vmbi_restore_options *options;
    vmb_job *job;
    int target;        /* descriptor of the target folder */
    vmbi_map links;    /* "device:inode" -> path below the target, of files with more names */
    vmbi_restore_stats stats;
} restorer;

static void warn(restorer *r, const char *path, const char *text)
{
    r->stats.warnings++;
    if (r->options->warn != NULL) {
        r->options->warn(r->options->user, path, text);
    }
}

/* ---- content --------------------------------------------------------------------------------- */

typedef struct writing {
    restorer *r;
    int fd;
    uint64_t offset;
} writing;

static bool all_zero(const uint8_t *p, size_t len)
{
    return len > 0 && p[0] == 0 && memcmp(p, p + 1, len - 1) == 0;
}

static vmb_code write_blob(void *user, size_t i, const void *data, size_t len, vmb_error *why,
                           vmb_error **err)
{
    writing *w = user;
    (void)i;
    if (data == NULL) {
        return vmbi_fail(err, vmb_error_code(why), "%s", vmb_error_message(why));
    }
    const uint8_t *p = data;
    uint64_t at = w->offset;
    w->offset += len;
    if (all_zero(p, len)) { /* a hole: the file is extended when all is written */
        w->r->stats.bytes_hole += len;
        return VMB_OK;
    }
    while (len > 0) {
        ssize_t n = pwrite(w->fd, p, len, (off_t)at);
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

/* How many blobs from i on lie in one pack, one behind the other: one request for all. */
static size_t run_length(restorer *r, const vmbi_node *node, size_t i, vmbi_blob_place *places)
{
    size_t n = 0;
    while (i + n < node->n_content && n < RUN_MAX_BLOBS) {
        vmbi_blob_place *p = &places[n];
        if (!vmbi_repo_find_blob(r->repo, VMBI_BLOB_DATA, &node->content[i + n], p)) {
            break;
        }
        if (n > 0) {
            const vmbi_blob_place *before = &places[n - 1];
            uint64_t end = (uint64_t)before->offset + before->stored_len;
            if (p->pack != before->pack || p->offset < end || p->offset - end > RUN_MAX_GAP ||
                (uint64_t)p->offset + p->stored_len - places[0].offset > RUN_MAX_BYTES) {
                break;
            }
        }
        n++;
    }
    return n;
}

static vmb_code write_content(restorer *r, const vmbi_node *node, int fd, vmb_error **err)
{
    writing w = {r, fd, 0};
    vmbi_blob_place places[RUN_MAX_BLOBS];
    vmb_code rc = VMB_OK;
    for (size_t i = 0; i < node->n_content && rc == VMB_OK;) {
        size_t n = run_length(r, node, i, places);
        if (n == 0) {
            char hex[VMBI_REPO_HEX_SIZE];
            vmbi_repo_id_hex(&node->content[i], hex);
            return vmbi_fail(err, VMB_E_NOT_FOUND, "the index has no blob %s", hex);
        }
        rc = vmbi_repo_load_run(r->repo, VMBI_BLOB_DATA, &node->content[i], places, n, write_blob,
                                &w, err);
        i += n;
        if (rc == VMB_OK) {
            rc = vmbi_limits_check(&r->job->limits, err, "restore");
        }
    }
    if (rc == VMB_OK && ftruncate(fd, (off_t)w.offset) != 0) {
        rc = vmbi_fail_errno(err, errno, "extend");
    }
    if (rc == VMB_OK) {
        r->stats.bytes += w.offset;
    }
    return rc;
}

/* ---- metadata -------------------------------------------------------------------------------- */

/* Owner before attributes and mode: changing it clears them. Times last. */
static void set_metadata(restorer *r, int dirfd, const char *name, const char *path,
                         const vmbi_node *node)
{
    char proc[PATH_MAX];
    int n = snprintf(proc, sizeof(proc), "/proc/self/fd/%d/%s", dirfd, name);
    struct timespec times[2] = {node->atime, node->mtime};
    const char *failed = NULL;
    if (fchownat(dirfd, name, node->uid, node->gid, AT_SYMLINK_NOFOLLOW) != 0 && geteuid() == 0) {
        failed = "its owner cannot be set";
    }
    for (size_t i = 0; i < node->n_xattrs && n > 0 && (size_t)n < sizeof(proc); i++) {
        const vmbi_node_xattr *x = &node->xattrs[i];
        if (lsetxattr(proc, x->name, x->value, x->len, 0) != 0) {
            failed = "an extended attribute cannot be set";
        }
    }
    if (node->type != VMBI_NODE_SYMLINK &&
        fchmodat(dirfd, name, vmbi_node_st_mode(node->mode) & 07777, 0) != 0) {
        failed = "its mode cannot be set";
    }
    if (utimensat(dirfd, name, times, AT_SYMLINK_NOFOLLOW) != 0) {
        failed = "its times cannot be set";
    }
    if (failed != NULL) {
        warn(r, path, failed);
    }
}

/* ---- entries --------------------------------------------------------------------------------- */

/* A further name of a file that was restored already; *done tells. */
static vmb_code link_known(restorer *r, int dirfd, const vmbi_node *node, const char *path,
                           bool *done, vmb_error **err)
{
    vmbi_buf key = VMBI_BUF_INIT(64);
    vmbi_buf_addf(&key, "%llu:%llu", (unsigned long long)node->device_id,
                  (unsigned long long)node->inode);
    const char *first = key.status == VMB_OK ? vmbi_map_get(&r->links, key.data) : NULL;
    vmb_code rc = vmbi_buf_check(&key, err, "link");
    *done = false;
    if (rc == VMB_OK && first != NULL) {
        *done = linkat(r->target, first, dirfd, node->name, 0) == 0;
    } else if (rc == VMB_OK) {
        char *copy = vmbi_strdup(path);
        rc = copy != NULL ? vmbi_map_set(&r->links, key.data, copy, err) : vmbi_fail_nomem(err);
        if (rc != VMB_OK) {
            vmbi_free(copy);
        }
    }
    vmbi_buf_free(&key);
    return rc;
}

static vmb_code restore_file(restorer *r, int dirfd, const vmbi_node *node, const char *path,
                             vmb_error **err)
{
    bool linked = false;
    if (node->links > 1 && node->inode != 0) {
        vmb_code rc = link_known(r, dirfd, node, path, &linked, err);
        if (rc != VMB_OK || linked) {
            return rc;
        }
    }
    int fd = openat(dirfd, node->name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) {
        return vmbi_fail_errno(err, errno, "create");
    }
    vmb_code rc = write_content(r, node, fd, err);
    if (close(fd) != 0 && rc == VMB_OK) {
        rc = vmbi_fail_errno(err, errno, "close");
    }
    if (rc != VMB_OK) {
        (void)unlinkat(dirfd, node->name, 0); /* no half file that looks whole */
        return rc;
    }
    set_metadata(r, dirfd, node->name, path, node);
    return VMB_OK;
}

static vmb_code restore_special(restorer *r, int dirfd, const vmbi_node *node, const char *path,
                                vmb_error **err)
{
    int rc = 0;
    if (node->type == VMBI_NODE_SYMLINK) {
        rc = symlinkat(node->linktarget, dirfd, node->name);
    } else if (node->type == VMBI_NODE_SOCKET || node->type == VMBI_NODE_IRREGULAR) {
        return VMB_OK;
    } else {
        rc = mknodat(dirfd, node->name, (vmbi_node_st_mode(node->mode) & S_IFMT) | 0600,
                     (dev_t)node->device);
    }
    if (rc != 0) {
        return vmbi_fail_errno(err, errno, "create");
    }
    set_metadata(r, dirfd, node->name, path, node);
    return VMB_OK;
}

static vmb_code restore_tree(restorer *r, int dirfd, const vmbi_repo_id *id, const char *path,
                             int depth, vmb_error **err);

static vmb_code restore_dir(restorer *r, int dirfd, const vmbi_node *node, const char *path,
                            int depth, vmb_error **err)
{
    if (mkdirat(dirfd, node->name, 0700) != 0 && errno != EEXIST) {
        return vmbi_fail_errno(err, errno, "create");
    }
    int fd = openat(dirfd, node->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        return vmbi_fail_errno(err, errno, "open");
    }
    vmb_code rc = restore_tree(r, fd, &node->subtree, path, depth + 1, err);
    (void)close(fd);
    if (rc == VMB_OK) {
        set_metadata(r, dirfd, node->name, path, node);
    }
    return rc;
}

static bool is_fatal(vmb_code rc)
{
    return rc == VMB_E_NOMEM || rc == VMB_E_CANCELLED || rc == VMB_E_FULL;
}

static vmb_code restore_node(restorer *r, int dirfd, const vmbi_node *node, const char *path,
                             int depth, vmb_error **err)
{
    vmb_error *why = NULL;
    vmb_code rc = vmbi_limits_check(&r->job->limits, &why, "restore");
    if (rc == VMB_OK && node->type == VMBI_NODE_DIR) {
        rc = restore_dir(r, dirfd, node, path, depth, &why);
        r->stats.dirs++;
    } else if (rc == VMB_OK && node->type == VMBI_NODE_FILE) {
        rc = restore_file(r, dirfd, node, path, &why);
        r->stats.files++;
    } else if (rc == VMB_OK) {
        rc = restore_special(r, dirfd, node, path, &why);
        r->stats.others++;
    }
    if (rc != VMB_OK && !is_fatal(rc)) {
        warn(r, path, vmb_error_message(why));
        vmb_error_free(vmbi_steal(&why));
        rc = VMB_OK;
    }
    vmbi_error_move(err, &why);
    return rc;
}

static vmb_code restore_tree(restorer *r, int dirfd, const vmbi_repo_id *id, const char *path,
                             int depth, vmb_error **err)
{
    vmbi_node_list list = {0};
    vmbi_buf child = VMBI_BUF_INIT(64 * 1024);
    if (depth > MAX_DEPTH) { /* a tree that contains itself ends here, too */
        return vmbi_fail(err, VMB_E_LIMIT, "more than %d directories deep", MAX_DEPTH);
    }
    vmb_code rc = vmbi_tree_load(r->repo, id, &list, err);
    for (size_t i = 0; i < list.n && rc == VMB_OK; i++) {
        vmbi_buf_reset(&child);
        vmbi_buf_addf(&child, "%s%s%s", path, path[0] != '\0' ? "/" : "", list.v[i].name);
        rc = vmbi_buf_check(&child, err, "path");
        if (rc == VMB_OK) {
            rc = restore_node(r, dirfd, &list.v[i], child.data, depth, err);
        }
    }
    vmbi_buf_free(&child);
    vmbi_node_list_free(&list);
    return rc;
}

/* Restores the entry that `path` names inside the tree, under its last name. */
static vmb_code restore_path(restorer *r, vmbi_repo_id tree, const char *path, vmb_error **err)
{
    const char *rest = path + strspn(path, "/");
    for (;;) {
        vmbi_node_list list = {0};
        size_t len = strcspn(rest, "/");
        const char *next = rest + len + strspn(rest + len, "/");
        char *name = vmbi_strndup(rest, len);
        vmb_code rc = name != NULL ? vmbi_tree_load(r->repo, &tree, &list, err)
                                   : vmbi_fail_nomem(err);
        const vmbi_node *node = rc == VMB_OK ? vmbi_node_list_find(&list, name) : NULL;
        vmbi_free(name);
        if (rc == VMB_OK && (node == NULL || (*next != '\0' && !node->has_subtree))) {
            rc = vmbi_fail(err, VMB_E_NOT_FOUND, "%s is not in the snapshot", path);
        } else if (rc == VMB_OK && *next == '\0') {
            rc = restore_node(r, r->target, node, node->name, 0, err);
            vmbi_node_list_free(&list);
            return rc;
        } else if (rc == VMB_OK) {
            tree = node->subtree;
        }
        vmbi_node_list_free(&list);
        if (rc != VMB_OK) {
            return rc;
        }
        rest = next;
    }
}

vmb_code vmbi_tree_restore(vmbi_repo *repo, const vmbi_restore_options *o, vmb_job *job,
                           vmbi_restore_stats *stats, vmb_error **err)
{
    restorer r = {.repo = repo, .options = o, .job = job, .links = VMBI_MAP_INIT(vmbi_free)};
    char full_id[VMBI_REPO_HEX_SIZE];
    vmbi_repo_id tree;
    r.target = open(o->target, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (r.target < 0) {
        return vmbi_fail_errno(err, errno, "open the target folder %s", o->target);
    }
    vmb_code rc = vmbi_tree_of_snapshot(repo, o->snapshot, full_id, &tree, err);
    if (rc == VMB_OK) {
        bool all = o->path == NULL || o->path[strspn(o->path, "/")] == '\0';
        rc = all ? restore_tree(&r, r.target, &tree, "", 0, err)
                 : restore_path(&r, tree, o->path, err);
    }
    (void)close(r.target);
    vmbi_map_free(&r.links);
    if (stats != NULL) {
        *stats = r.stats;
    }
    return rc;
}
