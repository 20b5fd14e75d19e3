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
#include "repo/tree/restorer.h"

enum { MAX_DEPTH = 1000 };

static const char temporary_name[] = ".vmbackup-restore.tmp";

void vmbi_restorer_warn(vmbi_restorer *r, const char *path, const char *text)
{
    r->stats.warnings++;
    if (r->options->warn != NULL) {
        r->options->warn(r->options->user, path, text);
    }
}

bool vmbi_restorer_is_fatal(vmb_code rc)
{
    return rc == VMB_E_NOMEM || rc == VMB_E_CANCELLED || rc == VMB_E_TIMEOUT || rc == VMB_E_FULL;
}

/* ---- metadata ---------------------------------------------------------------------------------- */

static bool set_xattrs(int dirfd, const char *name, int fd, const vmbi_node *node)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", dirfd, name);
    bool ok = n > 0 && (size_t)n < sizeof(path);
    for (size_t i = 0; i < node->n_xattrs && ok; i++) {
        const vmbi_node_xattr *x = &node->xattrs[i];
        ok = fd >= 0 ? fsetxattr(fd, x->name, x->value, x->len, 0) == 0
                     : lsetxattr(path, x->name, x->value, x->len, 0) == 0;
    }
    return ok;
}

/* Owner before attributes and mode: changing it clears them. Times last. */
void vmbi_restorer_metadata(vmbi_restorer *r, int dirfd, const char *name, int fd,
                            const char *path, const vmbi_node *node)
{
    struct timespec times[2] = {node->atime, node->mtime};
    mode_t mode = vmbi_node_st_mode(node->mode) & 07777;
    const char *failed = NULL;
    int owned = fd >= 0 ? fchown(fd, node->uid, node->gid)
                        : fchownat(dirfd, name, node->uid, node->gid, AT_SYMLINK_NOFOLLOW);
    if (owned != 0 && geteuid() == 0) {
        failed = "its owner cannot be set";
    }
    if (!set_xattrs(dirfd, name, fd, node)) {
        failed = "an extended attribute cannot be set";
    }
    if (node->type != VMBI_NODE_SYMLINK &&
        (fd >= 0 ? fchmod(fd, mode) : fchmodat(dirfd, name, mode, 0)) != 0) {
        failed = "its mode cannot be set";
    }
    if ((fd >= 0 ? futimens(fd, times) : utimensat(dirfd, name, times, AT_SYMLINK_NOFOLLOW)) != 0) {
        failed = "its times cannot be set";
    }
    if (failed != NULL) {
        vmbi_restorer_warn(r, path, failed);
    }
}

/* ---- places in the target ---------------------------------------------------------------------- */

const char *vmbi_restorer_temporary(const vmbi_restorer *r, const char *name)
{
    return r->options->overwrite == VMBI_OVERWRITE_ALWAYS ? temporary_name : name;
}

vmb_code vmbi_restorer_place(vmbi_restorer *r, int dirfd, const char *temporary, const char *name,
                             vmb_error **err)
{
    (void)r;
    if (temporary == name || renameat(dirfd, temporary, dirfd, name) == 0) {
        return VMB_OK;
    }
    return vmbi_fail_errno(err, errno, "replace");
}

bool vmbi_restorer_keeps(vmbi_restorer *r, const vmbi_restore_dir *d, const char *name)
{
    struct stat st;
    if (r->options->overwrite != VMBI_OVERWRITE_NEVER || d->fd < 0 ||
        fstatat(d->fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        return false;
    }
    r->stats.files_skipped++;
    return true;
}

/* Opens a directory of the target that is there. */
static int open_dir(int dirfd, const char *name)
{
    return openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

vmb_code vmbi_restorer_enter(vmbi_restorer *r, vmbi_restore_dir *d, vmb_error **err)
{
    if (d->fd >= 0) {
        return VMB_OK;
    }
    vmb_code rc = vmbi_restorer_enter(r, d->up, err);
    if (rc != VMB_OK) {
        return rc;
    }
    int made = mkdirat(d->up->fd, d->name, 0700);
    d->fd = made == 0 || errno == EEXIST ? open_dir(d->up->fd, d->name) : -1;
    if (d->fd < 0 && (errno == ENOTDIR || errno == ELOOP) &&
        r->options->overwrite == VMBI_OVERWRITE_ALWAYS) { /* something else has its name */
        made = unlinkat(d->up->fd, d->name, 0) == 0 ? mkdirat(d->up->fd, d->name, 0700) : -1;
        d->fd = made == 0 ? open_dir(d->up->fd, d->name) : -1;
    }
    return d->fd >= 0 ? VMB_OK : vmbi_fail_errno(err, errno, "create the folder %.255s", d->name);
}

/* ---- filters ----------------------------------------------------------------------------------- */

/* snap_path: absolute, in the snapshot. *below: may something below it be chosen? */
static vmb_code choose(vmbi_restorer *r, const char *snap_path, bool *chosen, bool *below,
                       vmb_error **err)
{
    bool hit = false;
    vmb_code rc = VMB_OK;
    *chosen = true;
    *below = true;
    if (r->includes != NULL) {
        rc = vmbi_patterns_match(r->includes, snap_path, chosen, below, err);
    } else if (r->excludes != NULL) {
        rc = vmbi_patterns_match(r->excludes, snap_path, &hit, NULL, err);
        *chosen = !hit;
        *below = !hit;
    }
    return rc;
}

/* ---- entries ----------------------------------------------------------------------------------- */

/* What is being restored: its node, and its paths. */
typedef struct entry {
    vmbi_node *node;
    const char *path;      /* below the target */
    const char *snap_path; /* in the snapshot */
    int depth;
    bool chosen, below;
} entry;

static vmb_code restore_special(vmbi_restorer *r, vmbi_restore_dir *d, const entry *e,
                                vmb_error **err)
{
    const vmbi_node *node = e->node;
    if (node->type == VMBI_NODE_SOCKET || node->type == VMBI_NODE_IRREGULAR ||
        vmbi_restorer_keeps(r, d, node->name)) {
        return VMB_OK;
    }
    vmb_code rc = r->options->dry_run ? VMB_OK : vmbi_restorer_enter(r, d, err);
    if (rc == VMB_OK && !r->options->dry_run) {
        const char *name = vmbi_restorer_temporary(r, node->name);
        if (name != node->name) {
            (void)unlinkat(d->fd, name, 0);
        }
        int made = node->type == VMBI_NODE_SYMLINK
                       ? symlinkat(node->linktarget, d->fd, name)
                       : mknodat(d->fd, name, (vmbi_node_st_mode(node->mode) & S_IFMT) | 0600,
                                 (dev_t)node->device);
        if (made != 0) {
            return vmbi_fail_errno(err, errno, "create");
        }
        vmbi_restorer_metadata(r, d->fd, name, -1, e->path, node);
        rc = vmbi_restorer_place(r, d->fd, name, node->name, err);
        if (rc != VMB_OK) {
            (void)unlinkat(d->fd, name, 0);
        }
    }
    r->stats.others += rc == VMB_OK ? 1 : 0;
    return rc;
}

static vmb_code restore_tree(vmbi_restorer *r, vmbi_restore_dir *d, const vmbi_repo_id *id,
                             const char *snap_path, int depth, vmb_error **err);

/* A folder that is only on the way to what was chosen keeps the metadata that it is made with, as
 * with restic. */
static vmb_code restore_dir(vmbi_restorer *r, vmbi_restore_dir *up, const entry *e,
                            vmb_error **err)
{
    vmbi_restore_dir d = {.up = up, .name = e->node->name, .path = e->path, .fd = -1};
    vmb_code rc = VMB_OK;
    if (r->options->dry_run) {
        d.fd = up->fd >= 0 ? open_dir(up->fd, d.name) : -1;
    } else if (e->chosen) {
        rc = vmbi_restorer_enter(r, &d, err);
    }
    if (rc == VMB_OK && e->below) {
        rc = restore_tree(r, &d, &e->node->subtree, e->snap_path, e->depth + 1, err);
    }
    if (rc == VMB_OK && e->chosen) {
        r->stats.dirs++;
        if (!r->options->dry_run) {
            vmbi_restorer_metadata(r, up->fd, d.name, d.fd, e->path, e->node);
        }
    }
    if (d.fd >= 0) {
        (void)close(d.fd);
    }
    return rc;
}

static vmb_code restore_kind(vmbi_restorer *r, vmbi_restore_dir *d, const entry *e,
                             vmb_error **err)
{
    if (e->node->type == VMBI_NODE_DIR) {
        /* files of this folder that wait come first: the batch belongs to one folder */
        vmb_code rc = vmbi_restorer_flush(r, d, err);
        return rc == VMB_OK ? restore_dir(r, d, e, err) : rc;
    }
    return e->node->type == VMBI_NODE_FILE ? vmbi_restorer_file(r, d, e->node, e->path, err)
                                           : restore_special(r, d, e, err);
}

static vmb_code restore_entry(vmbi_restorer *r, vmbi_restore_dir *d, entry *e, vmb_error **err)
{
    vmb_error *why = NULL;
    bool is_dir = e->node->type == VMBI_NODE_DIR;
    vmb_code rc = vmbi_limits_check(&r->job->limits, err, "restore");
    if (rc == VMB_OK) {
        rc = choose(r, e->snap_path, &e->chosen, &e->below, err);
    }
    if (rc != VMB_OK) {
        return rc;
    }
    if (!e->chosen && !(is_dir && e->below)) {
        r->stats.excluded++;
        return VMB_OK;
    }
    rc = restore_kind(r, d, e, &why);
    if (rc != VMB_OK && !vmbi_restorer_is_fatal(rc)) {
        vmbi_restorer_warn(r, e->path, vmb_error_message(why));
        vmb_error_free(vmbi_steal(&why));
        rc = VMB_OK;
    }
    vmbi_error_move(err, &why);
    if (rc == VMB_OK && r->options->progress != NULL) {
        r->options->progress(r->options->user, &r->stats);
    }
    return rc;
}

static vmb_code restore_next(vmbi_restorer *r, vmbi_restore_dir *d, vmbi_node *node,
                             vmbi_buf *path, vmbi_buf *snap_path, int depth, vmb_error **err)
{
    vmbi_buf_adds(path, node->name);
    vmbi_buf_adds(snap_path, node->name);
    vmb_code rc = vmbi_buf_check(path, err, "path");
    rc = rc == VMB_OK ? vmbi_buf_check(snap_path, err, "path") : rc;
    entry e = {.node = node, .path = path->data, .snap_path = snap_path->data, .depth = depth};
    return rc == VMB_OK ? restore_entry(r, d, &e, err) : rc;
}

static vmb_code restore_tree(vmbi_restorer *r, vmbi_restore_dir *d, const vmbi_repo_id *id,
                             const char *snap_path, int depth, vmb_error **err)
{
    vmbi_tree_reader t;
    const vmbi_node *node = NULL;
    vmbi_buf path = VMBI_BUF_INIT(64 * 1024);
    vmbi_buf snap = VMBI_BUF_INIT(64 * 1024);
    if (depth > MAX_DEPTH) { /* a tree that contains itself ends here, too */
        return vmbi_fail(err, VMB_E_LIMIT, "more than %d directories deep", MAX_DEPTH);
    }
    vmbi_buf_addf(&path, "%s%s", d->path, d->path[0] != '\0' ? "/" : "");
    vmbi_buf_addf(&snap, "%s/", snap_path);
    size_t path_base = path.len;
    size_t snap_base = snap.len;
    vmb_code rc = vmbi_tree_reader_open(r->repo, id, &t, err);
    while (rc == VMB_OK && (rc = vmbi_tree_reader_next(&t, &node, err)) == VMB_OK && node != NULL) {
        path.len = path_base;
        snap.len = snap_base;
        rc = restore_next(r, d, &t.node, &path, &snap, depth, err);
    }
    vmbi_tree_reader_close(&t);
    if (!vmbi_restorer_is_fatal(rc)) { /* what waits belongs to this folder, whatever comes next */
        vmb_code flushed = vmbi_restorer_flush(r, d, rc == VMB_OK ? err : NULL);
        rc = rc == VMB_OK || vmbi_restorer_is_fatal(flushed) ? flushed : rc;
    }
    vmbi_buf_free(&path);
    vmbi_buf_free(&snap);
    return rc;
}

/* Restores the entry that `path` names inside the tree, under its last name. */
static vmb_code restore_path(vmbi_restorer *r, vmbi_restore_dir *top, const vmbi_repo_id *tree,
                             const char *path, vmb_error **err)
{
    vmbi_node node = {0};
    vmbi_buf snap = VMBI_BUF_INIT(64 * 1024);
    vmb_code rc = vmbi_tree_find(r->repo, tree, path, &node, err);
    for (const char *p = path + strspn(path, "/"); *p != '\0'; p += strspn(p, "/")) {
        size_t len = strcspn(p, "/");
        vmbi_buf_addc(&snap, '/');
        vmbi_buf_add(&snap, p, len);
        p += len;
    }
    rc = rc == VMB_OK ? vmbi_buf_check(&snap, err, "path") : rc;
    char *name = rc == VMB_OK ? vmbi_strdup(node.name) : NULL; /* the node may be given away */
    if (name != NULL) {
        entry e = {.node = &node, .path = name, .snap_path = snap.data, .depth = 0};
        rc = restore_entry(r, top, &e, err);
        rc = rc == VMB_OK ? vmbi_restorer_flush(r, top, err) : rc;
    } else if (rc == VMB_OK) {
        rc = vmbi_fail_nomem(err);
    }
    vmbi_free(name);
    vmbi_node_done(&node);
    vmbi_buf_free(&snap);
    return rc;
}

/* ---- the whole --------------------------------------------------------------------------------- */

static vmb_code open_restorer(vmbi_restorer *r, vmb_error **err)
{
    const vmbi_restore_options *o = r->options;
    vmb_code rc = VMB_OK;
    if (o->n_includes > 0 && o->n_excludes > 0) {
        return vmbi_fail(err, VMB_E_ARG, "restore: either includes or excludes, not both");
    }
    if (o->n_includes > 0) {
        rc = vmbi_patterns_new(o->includes, o->n_includes, false, &r->includes, err);
    }
    if (rc == VMB_OK && o->n_excludes > 0) {
        rc = vmbi_patterns_new(o->excludes, o->n_excludes, false, &r->excludes, err);
    }
    r->batch = rc == VMB_OK ? vmbi_zalloc(sizeof(*r->batch)) : NULL;
    if (r->batch == NULL) {
        return rc != VMB_OK ? rc : vmbi_fail_nomem(err);
    }
    r->target = open(o->target, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (r->target < 0 && !o->dry_run) {
        return vmbi_fail_errno(err, errno, "open the target folder %s", o->target);
    }
    return VMB_OK;
}

static void close_restorer(vmbi_restorer *r)
{
    if (r->target >= 0) {
        (void)close(r->target);
    }
    for (size_t i = 0; r->batch != NULL && i < r->batch->n; i++) {
        vmbi_node_done(&r->batch->v[i].node);
    }
    vmbi_free(r->batch);
    vmbi_map_free(&r->links);
    vmbi_patterns_free(r->includes);
    vmbi_patterns_free(r->excludes);
    vmbi_buf_free(&r->check);
}

vmb_code vmbi_tree_restore(vmbi_repo *repo, const vmbi_restore_options *o, vmb_job *job,
                           vmbi_restore_stats *stats, vmb_error **err)
{
    vmbi_restorer r = {.repo = repo, .options = o, .job = job, .target = -1,
                       .links = VMBI_MAP_INIT(vmbi_free),
                       .check = VMBI_BUF_INIT(VMBI_REPO_MAX_BLOB)};
    char full_id[VMBI_REPO_HEX_SIZE];
    vmbi_repo_id tree;
    vmb_code rc = open_restorer(&r, err);
    if (rc == VMB_OK) {
        rc = vmbi_tree_of_snapshot(repo, o->snapshot, full_id, &tree, err);
    }
    if (rc == VMB_OK) {
        vmbi_restore_dir top = {.name = "", .path = "", .fd = r.target};
        bool all = o->path == NULL || o->path[strspn(o->path, "/")] == '\0';
        rc = all ? restore_tree(&r, &top, &tree, "", 0, err)
                 : restore_path(&r, &top, &tree, o->path, err);
    }
    close_restorer(&r);
    if (stats != NULL) {
        *stats = r.stats;
    }
    return rc;
}
