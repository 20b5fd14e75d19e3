/* SPDX-License-Identifier: Apache-2.0 */
/* Walking over what is saved: directories, their entries, and the levels above the given paths.
 * The parent snapshot's trees are read beside it, node by node, one directory of each level at a
 * time. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/strs.h"
#include "repo/tree/names.h"
#include "repo/tree/saver.h"

/* ---- the parent snapshot ----------------------------------------------------------------------- */

/* A directory of the parent, read along with the sorted names. */
typedef struct before {
    vmbi_tree_reader reader;
    const vmbi_node *node; /* NULL: nothing (more) */
    bool open;
} before;

/* An unreadable one only costs time. */
static void next_before(vmbi_saver *s, before *b, const char *path)
{
    vmb_error *why = NULL;
    if (vmbi_tree_reader_next(&b->reader, &b->node, &why) != VMB_OK) {
        vmbi_saver_warn(s, path, vmb_error_message(why));
        b->node = NULL;
    }
    vmb_error_free(why);
}

static void open_before(vmbi_saver *s, before *b, const vmbi_repo_id *tree, const char *path)
{
    vmb_error *why = NULL;
    memset(b, 0, sizeof(*b));
    if (tree == NULL) {
        return;
    }
    b->open = true;
    if (vmbi_tree_reader_open(s->repo, tree, &b->reader, &why) == VMB_OK) {
        next_before(s, b, path);
    } else {
        vmbi_saver_warn(s, path, vmb_error_message(why));
    }
    vmb_error_free(why);
}

/* The entry of this name; names are asked for in byte order. */
static const vmbi_node *find_before(vmbi_saver *s, before *b, const char *name, const char *path)
{
    while (b->node != NULL && strcmp(b->node->name, name) < 0) {
        next_before(s, b, path);
    }
    return b->node != NULL && strcmp(b->node->name, name) == 0 ? b->node : NULL;
}

static void close_before(before *b)
{
    if (b->open) {
        vmbi_tree_reader_close(&b->reader);
    }
}

static bool same_time(struct timespec a, struct timespec b)
{
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

/* restic's rule: same type, size, mtime, ctime and inode, and every blob is there. */
static bool unchanged(vmbi_saver *s, const vmbi_node *old, const struct stat *st)
{
    if (old == NULL || old->type != VMBI_NODE_FILE || old->size != (uint64_t)st->st_size ||
        !same_time(old->mtime, st->st_mtim) || !same_time(old->ctime, st->st_ctim) ||
        old->inode != st->st_ino) {
        return false;
    }
    for (size_t i = 0; i < old->n_content; i++) {
        if (!vmbi_repo_has_blob(s->repo, VMBI_BLOB_DATA, &old->content[i])) {
            return false;
        }
    }
    return true;
}

/* ---- entries ----------------------------------------------------------------------------------- */

/* Where an entry is met. */
typedef struct place {
    int dirfd;
    const char *name;      /* below dirfd */
    const char *node_name; /* what the node is called */
    const char *path;
    const vmbi_node *old; /* NULL: not in the parent */
    int depth;
} place;

static vmb_code save_dir(vmbi_saver *s, int dirfd, const char *path, const vmbi_repo_id *old,
                         int depth, bool empty, vmbi_repo_id *id, vmb_error **err);

static int open_entry(const place *p, int more)
{
    int flags = O_RDONLY | O_NOFOLLOW | O_CLOEXEC | more;
    int fd = openat(p->dirfd, p->name, flags | O_NOATIME);
    /* not the owner: the access time changes */
    return fd < 0 && errno == EPERM ? openat(p->dirfd, p->name, flags) : fd;
}

static vmb_code make_node(vmbi_saver *s, const place *p, int fd, const struct stat *st,
                          vmbi_node *node, vmb_error **err)
{
    char *warning = NULL;
    vmb_code rc = vmbi_stat_node(p->dirfd, p->name, fd, p->node_name, st, &s->owners, node,
                                 &warning, err);
    if (warning != NULL) {
        vmbi_saver_warn(s, p->path, warning);
        vmbi_free(warning);
    }
    return rc;
}

static void count_dir(vmbi_saver *s, const vmbi_node *old, const vmbi_repo_id *tree)
{
    bool was = old != NULL && old->type == VMBI_NODE_DIR && old->has_subtree;
    bool same = was && memcmp(old->subtree.b, tree->b, sizeof(tree->b)) == 0;
    uint64_t *counter = same  ? &s->stats.dirs_unchanged
                        : was ? &s->stats.dirs_changed
                              : &s->stats.dirs_new;
    (*counter)++;
    s->stats.dirs++;
}

static vmb_code save_subdir(vmbi_saver *s, vmbi_tree_maker *m, const place *p,
                            const struct stat *st, bool empty, vmb_error **err)
{
    vmbi_node node = {0};
    int fd = open_entry(p, O_DIRECTORY);
    if (fd < 0) {
        return vmbi_fail_errno(err, errno, "open");
    }
    vmb_code rc = make_node(s, p, fd, st, &node, err);
    if (rc == VMB_OK) {
        /* the parent's node goes on to the next one below */
        bool was = p->old != NULL && p->old->has_subtree;
        vmbi_repo_id tree = was ? p->old->subtree : (vmbi_repo_id){{0}};
        rc = save_dir(s, fd, p->path, was ? &tree : NULL, p->depth + 1, empty, &node.subtree, err);
    }
    (void)close(fd);
    if (rc == VMB_OK) {
        node.has_subtree = true;
        count_dir(s, p->old, &node.subtree);
        rc = vmbi_maker_add(m, &node, err);
    }
    vmbi_node_done(&node);
    return rc;
}

static vmb_code save_large(vmbi_saver *s, vmbi_tree_maker *m, const place *p, bool image,
                           vmb_error **err)
{
    vmbi_node node = {0};
    struct stat st;
    struct stat after;
    int fd = open_entry(p, O_NONBLOCK);
    vmb_code rc = fd >= 0 && fstat(fd, &st) == 0 ? VMB_OK : vmbi_fail_errno(err, errno, "open");
    if (rc == VMB_OK && !S_ISREG(st.st_mode)) {
        rc = vmbi_fail(err, VMB_E_IO, "it was a file and is none any more");
    }
    if (rc == VMB_OK) {
        rc = make_node(s, p, fd, &st, &node, err);
    }
    if (rc == VMB_OK) {
        rc = vmbi_saver_large(s, fd, &st, image, &node, err);
    }
    if (rc == VMB_OK && fstat(fd, &after) == 0 &&
        (!same_time(st.st_mtim, after.st_mtim) || st.st_size != after.st_size)) {
        vmbi_saver_warn(s, p->path, "it changed while it was read");
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    if (rc == VMB_OK) {
        s->stats.files++;
        s->stats.bytes += node.size;
        rc = vmbi_maker_add(m, &node, err);
    }
    vmbi_node_done(&node);
    return rc;
}

static vmb_code save_file(vmbi_saver *s, vmbi_tree_maker *m, const place *p, const struct stat *st,
                          vmb_error **err)
{
    bool image = vmbi_saver_is_image(s, p->node_name);
    uint64_t size = (uint64_t)st->st_size;
    bool large = size > VMBI_CHUNK_MIN || (image && size > vmbi_saver_image_chunk(s));
    if (unchanged(s, p->old, st)) {
        size_t n = p->old->n_content;
        vmbi_repo_id *content = vmbi_memdup(p->old->content, n * sizeof(*content));
        if (content == NULL) {
            return vmbi_fail_nomem(err);
        }
        s->stats.files_unchanged++;
        return vmbi_maker_file(m, p->name, p->node_name, st, content, n, err);
    }
    vmb_code rc = VMB_OK;
    bool known = p->old != NULL && p->old->type == VMBI_NODE_FILE;
    if (large) {
        rc = save_large(s, m, p, image, err);
    } else {
        rc = vmbi_maker_file(m, p->name, p->node_name, st, NULL, 0, err);
    }
    if (rc == VMB_OK) {
        s->stats.files_new += known ? 0 : 1;
        s->stats.files_changed += known ? 1 : 0;
    }
    return rc;
}

static vmb_code save_other(vmbi_saver *s, vmbi_tree_maker *m, const place *p,
                           const struct stat *st, vmb_error **err)
{
    vmbi_node node = {0};
    vmb_code rc = make_node(s, p, -1, st, &node, err);
    if (rc == VMB_OK) {
        s->stats.others++;
        rc = vmbi_maker_add(m, &node, err);
    }
    vmbi_node_done(&node);
    return rc;
}

/* One entry that is not excluded by its name. */
static vmb_code save_entry(vmbi_saver *s, vmbi_tree_maker *m, const place *p, vmb_error **err)
{
    struct stat st;
    vmb_code rc = vmbi_limits_check(&s->job->limits, err, "back up files");
    if (rc != VMB_OK) {
        return rc;
    }
    if (fstatat(p->dirfd, p->name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        return vmbi_fail_errno(err, errno, "look at");
    }
    bool elsewhere = s->options->one_file_system && st.st_dev != s->root_device;
    if (S_ISSOCK(st.st_mode)) {
        return VMB_OK;
    }
    if (vmbi_excludes_size(s->excludes, &st) || (elsewhere && !S_ISDIR(st.st_mode))) {
        s->stats.excluded++;
        return VMB_OK;
    }
    if (S_ISDIR(st.st_mode)) { /* a mount point is kept, without what is mounted */
        return save_subdir(s, m, p, &st, elsewhere, err);
    }
    return S_ISREG(st.st_mode) ? save_file(s, m, p, &st, err) : save_other(s, m, p, &st, err);
}

/* The same with excludes, and with failures of single entries as warnings. */
static vmb_code try_entry(vmbi_saver *s, vmbi_tree_maker *m, const place *p, uint64_t tags,
                          vmb_error **err)
{
    vmb_error *why = NULL;
    bool excluded = false;
    vmb_code rc = vmbi_excludes_name(s->excludes, p->path, p->node_name, tags, &excluded, err);
    if (rc != VMB_OK || excluded) {
        s->stats.excluded += rc == VMB_OK ? 1 : 0;
        return rc;
    }
    rc = save_entry(s, m, p, &why);
    if (rc != VMB_OK && !vmbi_saver_is_fatal(s, rc)) {
        vmbi_saver_warn(s, p->path, vmb_error_message(why));
        vmb_error_free(vmbi_steal(&why));
        rc = VMB_OK;
    }
    vmbi_error_move(err, &why);
    if (rc == VMB_OK && s->options->progress != NULL) {
        s->options->progress(s->options->user, &s->stats);
    }
    return rc;
}

/* ---- directories ------------------------------------------------------------------------------- */

static void warn_of(void *user, const char *path, const char *text)
{
    vmbi_saver_warn(user, path, text);
}

static vmb_code save_names(vmbi_saver *s, vmbi_tree_maker *m, const vmbi_names *names,
                           const vmbi_repo_id *old, int depth, vmb_error **err)
{
    vmbi_buf child = VMBI_BUF_INIT(64 * 1024);
    before b;
    vmb_code rc = VMB_OK;
    uint64_t tags = vmbi_excludes_tags(s->excludes, m->dirfd, m->path, warn_of, s);
    open_before(s, &b, old, m->path);
    vmbi_buf_addf(&child, "%s/", m->path);
    size_t base = child.len;
    for (size_t i = 0; i < names->n && rc == VMB_OK; i++) {
        const char *name = vmbi_names_at(names, i);
        child.len = base;
        vmbi_buf_adds(&child, name);
        rc = vmbi_buf_check(&child, err, "path");
        place p = {.dirfd = m->dirfd, .name = name, .node_name = name, .path = child.data,
                   .depth = depth};
        if (rc == VMB_OK) {
            p.old = find_before(s, &b, name, m->path);
            rc = try_entry(s, m, &p, tags, err);
        }
    }
    close_before(&b);
    vmbi_buf_free(&child);
    return rc;
}

static vmb_code save_dir(vmbi_saver *s, int dirfd, const char *path, const vmbi_repo_id *old,
                         int depth, bool empty, vmbi_repo_id *id, vmb_error **err)
{
    vmbi_names names = {0};
    vmbi_tree_maker m;
    if (depth > VMBI_SAVER_MAX_DEPTH) {
        return vmbi_fail(err, VMB_E_LIMIT, "more than %d directories deep", VMBI_SAVER_MAX_DEPTH);
    }
    vmb_code rc = empty ? VMB_OK : vmbi_names_read(dirfd, &names, err);
    vmbi_maker_init(&m, s, dirfd, path);
    if (rc == VMB_OK) {
        rc = save_names(s, &m, &names, old, depth, err);
    }
    vmbi_names_free(&names); /* before the tree is compressed */
    if (rc == VMB_OK) {
        rc = vmbi_maker_save(&m, id, err);
    }
    vmbi_maker_done(&m);
    return rc;
}

/* ---- the levels above the paths ---------------------------------------------------------------- */

static size_t component(const char *rest)
{
    return strcspn(rest, "/");
}

/* Paths from..to of all, which share their first `done` bytes (that end with '/'). */
typedef struct level {
    const char *const *paths;
    size_t from, to;
    size_t done;
} level;

static vmb_code save_level(vmbi_saver *s, const level *l, const vmbi_repo_id *old,
                           vmbi_repo_id *id, vmb_error **err);

/* A path that is saved with all below it. */
static vmb_code save_target(vmbi_saver *s, vmbi_tree_maker *m, const char *path, const char *name,
                            const vmbi_node *old, vmb_error **err)
{
    struct stat st;
    uint64_t tags = 0;
    place p = {.dirfd = AT_FDCWD, .name = path, .node_name = name, .path = path, .old = old};
    char *dir = vmbi_strndup(path, strlen(path) - strlen(name));
    if (dir == NULL) {
        return vmbi_fail_nomem(err);
    }
    s->root_device = lstat(path, &st) == 0 ? st.st_dev : 0;
    int fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        tags = vmbi_excludes_tags(s->excludes, fd, dir, warn_of, s);
        (void)close(fd);
    }
    vmbi_free(dir);
    return try_entry(s, m, &p, tags, err);
}

/* A directory on the way has its own metadata and only the children that lead on. */
static vmb_code save_passage(vmbi_saver *s, vmbi_tree_maker *m, const level *l, const char *path,
                             const char *name, const vmbi_node *old, vmb_error **err)
{
    struct stat st;
    vmbi_node node = {0};
    int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    place p = {.dirfd = fd, .name = ".", .node_name = name, .path = path, .old = old};
    if (fd < 0 || fstat(fd, &st) != 0) {
        vmbi_saver_warn(s, path, strerrordesc_np(errno));
        if (fd >= 0) {
            (void)close(fd);
        }
        return VMB_OK;
    }
    bool was = old != NULL && old->has_subtree;
    vmbi_repo_id tree = was ? old->subtree : (vmbi_repo_id){{0}};
    vmb_code rc = make_node(s, &p, -1, &st, &node, err);
    (void)close(fd);
    if (rc == VMB_OK) {
        rc = save_level(s, l, was ? &tree : NULL, &node.subtree, err);
    }
    if (rc == VMB_OK) {
        node.has_subtree = true;
        count_dir(s, old, &node.subtree);
        rc = vmbi_maker_add(m, &node, err);
    }
    vmbi_node_done(&node);
    return rc;
}

static vmb_code save_component(vmbi_saver *s, vmbi_tree_maker *m, const level *l, before *b,
                               size_t to, vmb_error **err)
{
    const char *rest = l->paths[l->from] + l->done;
    size_t len = component(rest);
    char *full = vmbi_strndup(l->paths[l->from], l->done + len);
    char *name = vmbi_strndup(rest, len);
    vmb_code rc = full != NULL && name != NULL ? VMB_OK : vmbi_fail_nomem(err);
    if (rc == VMB_OK) {
        const vmbi_node *old = find_before(s, b, name, "/");
        level below = {l->paths, l->from, to, l->done + len + 1};
        rc = rest[len] == '\0' ? save_target(s, m, full, full + l->done, old, err)
                               : save_passage(s, m, &below, full, name, old, err);
    }
    vmbi_free(full);
    vmbi_free(name);
    return rc;
}

static vmb_code save_level(vmbi_saver *s, const level *l, const vmbi_repo_id *old,
                           vmbi_repo_id *id, vmb_error **err)
{
    vmbi_tree_maker m;
    before b;
    vmb_code rc = VMB_OK;
    level rest = *l;
    vmbi_maker_init(&m, s, AT_FDCWD, "");
    open_before(s, &b, old, "/");
    while (rest.from < rest.to && rc == VMB_OK) {
        const char *text = rest.paths[rest.from] + rest.done;
        size_t len = component(text);
        size_t next = rest.from + 1;
        while (next < rest.to && strncmp(rest.paths[next] + rest.done, text, len) == 0 &&
               component(rest.paths[next] + rest.done) == len) {
            next++;
        }
        rc = save_component(s, &m, &rest, &b, next, err);
        rest.from = next;
    }
    close_before(&b);
    if (rc == VMB_OK) {
        rc = vmbi_maker_wait(&m, err);
    }
    if (rc == VMB_OK && m.n == 0 && l->done == 1) {
        rc = vmbi_fail(err, VMB_E_NOT_FOUND, "nothing to back up");
    }
    if (rc == VMB_OK) {
        rc = vmbi_maker_save(&m, id, err);
    }
    vmbi_maker_done(&m);
    return rc;
}

/* The option content_root: the folder's entries stand at the root, as restic does it for ".". */
static vmb_code save_root(vmbi_saver *s, const char *path, const vmbi_repo_id *old,
                          vmbi_repo_id *id, vmb_error **err)
{
    vmbi_names names = {0};
    struct stat st;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        return vmbi_fail_errno(err, errno, "open %s", path);
    }
    s->root_device = fstat(fd, &st) == 0 ? st.st_dev : 0;
    vmb_code rc = vmbi_names_read(fd, &names, err);
    if (rc == VMB_OK && names.n == 0) {
        s->stats.root_is_empty = true;
        rc = vmbi_fail(err, VMB_E_NOT_FOUND, "nothing to back up: %s is empty", path);
    }
    vmbi_names_free(&names);
    if (rc == VMB_OK) {
        rc = save_dir(s, fd, path, old, 0, false, id, err);
    }
    (void)close(fd);
    return rc;
}

vmb_code vmbi_saver_paths(vmbi_saver *s, const char *const *paths, size_t n,
                          const vmbi_repo_id *old, vmbi_repo_id *id, vmb_error **err)
{
    if (s->options->content_root) {
        return n == 1 ? save_root(s, paths[0], old, id, err)
                      : vmbi_fail(err, VMB_E_ARG,
                                  "backup: the content of one folder only can be the root");
    }
    level top = {paths, 0, n, 1};
    return save_level(s, &top, old, id, err);
}
