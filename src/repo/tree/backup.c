/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/tree/backup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/strs.h"
#include "repo/tree/saver.h"
#include "repo/tree/tree.h"

enum {
    MAX_DEPTH = 1000, /* each level holds a descriptor */
    MAX_ENTRIES = 10 * 1000 * 1000,
    DEFAULT_THREADS = 2,
    DEFAULT_MEMORY = 24 * 1024 * 1024
};

void vmbi_saver_warn(vmbi_saver *s, const char *path, const char *text)
{
    s->stats.warnings++;
    if (s->options->warn != NULL) {
        s->options->warn(s->options->user, path, text);
    }
}

/* ---- the parent snapshot ------------------------------------------------------------------- */

/* The parent's version of a directory; an unreadable one only costs time. */
static void load_parent(vmbi_saver *s, const vmbi_node *dir, const char *path, vmbi_node_list *out)
{
    vmb_error *why = NULL;
    if (dir != NULL && dir->has_subtree && vmbi_tree_load(s->repo, &dir->subtree, out, &why) != VMB_OK) {
        vmbi_saver_warn(s, path, vmb_error_message(why));
    }
    vmb_error_free(why);
}

static bool same_time(struct timespec a, struct timespec b)
{
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

/* restic's rule: same type, size, mtime, ctime and inode, and every blob is there. */
static bool unchanged(vmbi_saver *s, const vmbi_node *old, const vmbi_node *now)
{
    if (old == NULL || old->type != VMBI_NODE_FILE || old->size != now->size ||
        !same_time(old->mtime, now->mtime) || !same_time(old->ctime, now->ctime) ||
        old->inode != now->inode) {
        return false;
    }
    for (size_t i = 0; i < old->n_content; i++) {
        if (!vmbi_repo_has_blob(s->repo, VMBI_BLOB_DATA, &old->content[i])) {
            return false;
        }
    }
    return true;
}

/* ---- directories --------------------------------------------------------------------------- */

/* Names of a directory in byte order. dirfd stays open. */
static vmb_code list_names(int dirfd, vmbi_strs *names, vmb_error **err)
{
    int copy = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = copy >= 0 ? fdopendir(copy) : NULL;
    if (d == NULL) {
        int errnum = errno;
        if (copy >= 0) {
            (void)close(copy);
        }
        return vmbi_fail_errno(err, errnum, "list");
    }
    vmb_code rc = VMB_OK;
    for (;;) {
        errno = 0;
        struct dirent *e = readdir(d);
        if (e == NULL) {
            rc = errno != 0 ? vmbi_fail_errno(err, errno, "list") : VMB_OK;
            break;
        }
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) {
            continue;
        }
        rc = names->n >= MAX_ENTRIES
                 ? vmbi_fail(err, VMB_E_LIMIT, "more than %d entries in one directory",
                             MAX_ENTRIES)
                 : vmbi_strs_add(names, e->d_name, err);
        if (rc != VMB_OK) {
            break;
        }
    }
    (void)closedir(d);
    vmbi_strs_sort(names);
    return rc;
}

/* Failures that end the backup; others cost one entry. */
static bool is_fatal(const vmbi_saver *s, vmb_code rc)
{
    return rc == VMB_E_NOMEM || rc == VMB_E_CANCELLED || rc == VMB_E_TIMEOUT ||
           s->pool.failed_code != VMB_OK;
}

static vmb_code save_dir(vmbi_saver *s, int dirfd, const char *path, const vmbi_node *old,
                         int depth, vmbi_repo_id *id, vmb_error **err);

static vmb_code save_content(vmbi_saver *s, int dirfd, const char *name, const char *path,
                             const struct stat *st, const vmbi_node *old, int depth,
                             vmbi_node *node, vmbi_pool_group *group, vmb_error **err)
{
    if (node->type == VMBI_NODE_FILE && unchanged(s, old, node)) {
        node->content = vmbi_memdup(old->content, old->n_content * sizeof(*old->content));
        node->n_content = old->n_content;
        s->stats.files_unchanged++;
        s->stats.bytes += node->size;
        return node->content != NULL ? VMB_OK : vmbi_fail_nomem(err);
    }
    bool is_dir = node->type == VMBI_NODE_DIR;
    int flags = O_RDONLY | O_NOFOLLOW | O_CLOEXEC | (is_dir ? O_DIRECTORY : O_NONBLOCK);
    int fd = openat(dirfd, name, flags | O_NOATIME);
    if (fd < 0 && errno == EPERM) {
        fd = openat(dirfd, name, flags); /* not the owner: the access time changes */
    }
    if (fd < 0) {
        return vmbi_fail_errno(err, errno, "open");
    }
    vmb_code rc = VMB_OK;
    if (is_dir) {
        rc = save_dir(s, fd, path, old, depth + 1, &node->subtree, err);
        node->has_subtree = rc == VMB_OK;
    } else {
        rc = vmbi_saver_file(s, fd, (uint64_t)st->st_size, (uint64_t)st->st_blocks * 512, node,
                             group, err);
    }
    (void)close(fd);
    return rc;
}

static void count(vmbi_saver *s, const vmbi_node *node)
{
    uint64_t *counter = node->type == VMBI_NODE_FILE  ? &s->stats.files
                        : node->type == VMBI_NODE_DIR ? &s->stats.dirs
                                                      : &s->stats.others;
    (*counter)++;
}

/* One entry; *node stays zeroed when there is nothing to keep. */
static vmb_code save_entry(vmbi_saver *s, int dirfd, const char *name, const char *node_name,
                           const char *path, const vmbi_node *old, int depth, vmbi_node *node,
                           vmbi_pool_group *group, vmb_error **err)
{
    struct stat st;
    char *warning = NULL;
    vmb_code rc = vmbi_limits_check(&s->job->limits, err, "back up files");
    if (rc != VMB_OK) {
        return rc;
    }
    if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        return vmbi_fail_errno(err, errno, "look at");
    }
    if (S_ISSOCK(st.st_mode) ||
        (s->options->one_file_system && S_ISDIR(st.st_mode) && st.st_dev != s->root_device)) {
        return VMB_OK;
    }
    rc = vmbi_stat_node(dirfd, name, node_name, &st, &s->owners, node, &warning, err);
    if (warning != NULL) {
        vmbi_saver_warn(s, path, warning);
        vmbi_free(warning);
    }
    if (rc == VMB_OK && (node->type == VMBI_NODE_FILE || node->type == VMBI_NODE_DIR)) {
        rc = save_content(s, dirfd, name, path, &st, old, depth, node, group, err);
    }
    if (rc == VMB_OK) {
        count(s, node);
    } else {
        /* a worker may still write the ID of a small file */
        (void)vmbi_pool_wait(&s->pool, group, NULL);
        vmbi_node_done(node);
    }
    return rc;
}

/* The same, with failures of single entries as warnings. */
static vmb_code try_entry(vmbi_saver *s, int dirfd, const char *name, const char *node_name,
                          const char *path, const vmbi_node_list *parent, int depth, vmbi_node_list *list,
                          vmbi_pool_group *group, vmb_error **err)
{
    vmbi_node node = {0};
    vmb_error *why = NULL;
    vmb_code rc = save_entry(s, dirfd, name, node_name, path, vmbi_node_list_find(parent, node_name), depth,
                             &node, group, &why);
    if (rc == VMB_OK && node.name != NULL) {
        rc = vmbi_node_list_push(list, &node, &why);
    } else if (rc != VMB_OK && !is_fatal(s, rc)) {
        vmbi_saver_warn(s, path, vmb_error_message(why));
        vmb_error_free(vmbi_steal(&why));
        rc = VMB_OK;
    }
    vmbi_error_move(err, &why);
    return rc;
}

static vmb_code save_dir(vmbi_saver *s, int dirfd, const char *path, const vmbi_node *old,
                         int depth, vmbi_repo_id *id, vmb_error **err)
{
    vmbi_strs names = {0};
    vmbi_node_list list = {0};
    vmbi_node_list parent = {0};
    vmbi_pool_group group = {0};
    vmbi_buf child = VMBI_BUF_INIT(64 * 1024);
    if (depth > MAX_DEPTH) {
        return vmbi_fail(err, VMB_E_LIMIT, "more than %d directories deep", MAX_DEPTH);
    }
    vmb_code rc = list_names(dirfd, &names, err);
    if (rc == VMB_OK) {
        load_parent(s, old, path, &parent);
    }
    for (size_t i = 0; i < names.n && rc == VMB_OK; i++) {
        vmbi_buf_reset(&child);
        vmbi_buf_addf(&child, "%s/%s", path, names.v[i]);
        rc = vmbi_buf_check(&child, err, "path");
        if (rc == VMB_OK) {
            rc = try_entry(s, dirfd, names.v[i], names.v[i], child.data, &parent, depth, &list,
                           &group, err);
        }
    }
    vmb_code waited = vmbi_pool_wait(&s->pool, &group, rc == VMB_OK ? err : NULL);
    rc = rc == VMB_OK ? waited : rc;
    if (rc == VMB_OK) {
        rc = vmbi_tree_save(s->repo, &list, id, err);
    }
    vmbi_buf_free(&child);
    vmbi_strs_free(&names);
    vmbi_node_list_free(&list);
    vmbi_node_list_free(&parent);
    return rc;
}

/* ---- the levels above the paths -------------------------------------------------------------- */

/* Component of a path at a level: paths[i] without its first `done` bytes. */
static size_t component(const char *rest)
{
    return strcspn(rest, "/");
}


/* Saves the level of the tree at which all given paths share their first `done` bytes (which end
 * with '/'). A directory on the way has its own metadata and only the children that lead on. */
static vmb_code save_level(vmbi_saver *s, const vmbi_strs *paths, size_t from, size_t to,
                           size_t done, const vmbi_node *old, vmbi_repo_id *id, vmb_error **err)
{
    vmbi_node_list list = {0};
    vmbi_node_list parent = {0};
    vmbi_pool_group group = {0};
    vmb_code rc = VMB_OK;
    load_parent(s, old, "/", &parent);
    while (from < to && rc == VMB_OK) {
        const char *rest = paths->v[from] + done;
        size_t len = component(rest);
        size_t next = from + 1;
        while (next < to && strncmp(paths->v[next] + done, rest, len) == 0 &&
               component(paths->v[next] + done) == len) {
            next++;
        }
        char *full = vmbi_strndup(paths->v[from], done + len);
        char *name = vmbi_strndup(rest, len);
        if (full == NULL || name == NULL) {
            rc = vmbi_fail_nomem(err);
        } else if (rest[len] == '\0') { /* a path ends here: all of it */
            rc = try_entry(s, AT_FDCWD, full, name, full, &parent, 0, &list, &group, err);
        } else {
            struct stat st;
            vmbi_node node = {0};
            char *warning = NULL;
            int fd = open(full, O_PATH | O_DIRECTORY | O_CLOEXEC);
            if (fd < 0 || fstat(fd, &st) != 0) {
                vmbi_saver_warn(s, full, strerrordesc_np(errno));
            } else {
                rc = vmbi_stat_node(fd, ".", name, &st, &s->owners, &node, &warning, err);
                vmbi_free(warning);
                if (rc == VMB_OK) {
                    rc = save_level(s, paths, from, next, done + len + 1, vmbi_node_list_find(&parent, name),
                                    &node.subtree, err);
                    node.has_subtree = true;
                }
                rc = rc == VMB_OK ? vmbi_node_list_push(&list, &node, err) : rc;
                vmbi_node_done(&node);
            }
            if (fd >= 0) {
                (void)close(fd);
            }
        }
        vmbi_free(full);
        vmbi_free(name);
        from = next;
    }
    vmb_code waited = vmbi_pool_wait(&s->pool, &group, rc == VMB_OK ? err : NULL);
    rc = rc == VMB_OK ? waited : rc;
    if (rc == VMB_OK && list.n == 0) {
        rc = vmbi_fail(err, VMB_E_NOT_FOUND, "nothing to back up");
    }
    if (rc == VMB_OK) {
        rc = vmbi_tree_save(s->repo, &list, id, err);
    }
    vmbi_node_list_free(&list);
    vmbi_node_list_free(&parent);
    return rc;
}

/* A folder whose entries stand at the root of the snapshot, as restic does it for ".". */
static vmb_code save_root(vmbi_saver *s, const char *path, const vmbi_node *old, vmbi_repo_id *id,
                          vmb_error **err)
{
    vmbi_strs names = {0};
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        return vmbi_fail_errno(err, errno, "open %s", path);
    }
    vmb_code rc = list_names(fd, &names, err);
    if (rc == VMB_OK && names.n == 0) {
        rc = vmbi_fail(err, VMB_E_NOT_FOUND, "nothing to back up: %s is empty", path);
    }
    if (rc == VMB_OK) {
        rc = save_dir(s, fd, path, old, 0, id, err);
    }
    vmbi_strs_free(&names);
    (void)close(fd);
    return rc;
}

/* ---- the snapshot ------------------------------------------------------------------------------ */

static void format_time(int64_t unix_ns, char *out, size_t size)
{
    char text[VMBI_RFC3339_SIZE];
    vmbi_format_rfc3339(unix_ns, text);
    (void)snprintf(out, size, "%.19s.%09lldZ", text, (long long)(unix_ns % VMBI_SECOND));
}

static vmbi_json *string_list(const char *const *v, size_t n)
{
    vmbi_json *list = vmbi_json_array();
    bool ok = list != NULL;
    for (size_t i = 0; i < n && ok; i++) {
        ok = vmbi_json_append_str(list, v[i]);
    }
    if (!ok) {
        vmbi_json_free(list);
        list = NULL;
    }
    return list;
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
    ok = ok && vmbi_json_set(snap, "paths", string_list(o->paths, o->n_paths));
    ok = ok && vmbi_json_set_str(snap, "hostname", o->hostname != NULL ? o->hostname : host);
    ok = ok && (o->username == NULL || vmbi_json_set_str(snap, "username", o->username));
    ok = ok && (getuid() == 0 || vmbi_json_set_int(snap, "uid", getuid()));
    ok = ok && (getgid() == 0 || vmbi_json_set_int(snap, "gid", getgid()));
    ok = ok && (o->n_tags == 0 || vmbi_json_set(snap, "tags", string_list(o->tags, o->n_tags)));
    vmb_code rc = ok ? vmbi_repo_snapshot_save(s->repo, snap, id, err) : vmbi_fail_nomem(err);
    vmbi_json_free(snap);
    return rc;
}

static vmb_code check_paths(const vmbi_tree_options *o, vmbi_strs *out, vmb_error **err)
{
    vmb_code rc = o->n_paths > 0 ? VMB_OK : vmbi_fail(err, VMB_E_ARG, "backup: no path is given");
    for (size_t i = 0; i < o->n_paths && rc == VMB_OK; i++) {
        const char *p = o->paths[i];
        if (p[0] != '/' || p[1] == '\0' || strstr(p, "//") != NULL || strstr(p, "/./") != NULL ||
            strstr(p, "/../") != NULL || vmbi_ends_with(p, "/") || vmbi_ends_with(p, "/.") ||
            vmbi_ends_with(p, "/..")) {
            return vmbi_fail(err, VMB_E_ARG, "backup: %s is no clean absolute path", p);
        }
        rc = vmbi_strs_has(out, p) ? VMB_OK : vmbi_strs_add(out, p, err);
    }
    if (rc == VMB_OK && o->content_root && out->n != 1) {
        rc = vmbi_fail(err, VMB_E_ARG, "backup: the content of one folder only can be the root");
    }
    vmbi_strs_sort(out);
    for (size_t i = 1; i < out->n && rc == VMB_OK; i++) {
        size_t len = strlen(out->v[i - 1]);
        if (strncmp(out->v[i], out->v[i - 1], len) == 0 && out->v[i][len] == '/') {
            rc = vmbi_fail(err, VMB_E_ARG, "backup: %s is inside of %s", out->v[i],
                           out->v[i - 1]);
        }
    }
    return rc;
}

static vmb_code open_saver(vmbi_saver *s, vmb_error **err)
{
    const vmbi_tree_options *o = s->options;
    vmbi_repo_info info;
    struct stat st;
    vmbi_repo_get_info(s->repo, &info);
    vmb_code rc = vmbi_rabin_new(info.chunker_polynomial, &s->rabin, err);
    if (rc != VMB_OK) {
        return rc;
    }
    vmbi_chunker_init(&s->chunker, s->rabin);
    s->window = vmbi_zalloc(VMBI_CHUNK_MAX);
    if (s->window == NULL) {
        return vmbi_fail_nomem(err);
    }
    vmbi_repo_hash(s->repo, s->window, VMBI_CHUNK_MIN, &s->zero_id);
    s->zero_saved = vmbi_repo_has_blob(s->repo, VMBI_BLOB_DATA, &s->zero_id);
    s->root_device = stat(o->paths[0], &st) == 0 ? st.st_dev : 0;
    return vmbi_pool_init(&s->pool, s->repo, o->threads != 0 ? o->threads : DEFAULT_THREADS,
                          o->memory_bytes != 0 ? o->memory_bytes : DEFAULT_MEMORY, err);
}

static void close_saver(vmbi_saver *s)
{
    if (s->pool.n_threads > 0) {
        vmbi_pool_done(&s->pool);
    }
    vmbi_chunker_done(&s->chunker);
    vmbi_rabin_free(s->rabin);
    vmbi_free(s->window);
}

vmb_code vmbi_tree_backup(vmbi_repo *r, const vmbi_tree_options *o, vmb_job *job,
                          char id[VMBI_REPO_HEX_SIZE], vmbi_tree_stats *stats, vmb_error **err)
{
    vmbi_saver s = {.repo = r, .options = o, .job = job};
    vmbi_strs paths = {0};
    vmbi_node root = {0};
    char parent_id[VMBI_REPO_HEX_SIZE] = "";
    vmbi_repo_id tree;
    vmb_code rc = check_paths(o, &paths, err);
    if (rc == VMB_OK) {
        rc = open_saver(&s, err);
    }
    if (rc == VMB_OK && o->parent != NULL) {
        rc = vmbi_tree_of_snapshot(r, o->parent, parent_id, &root.subtree, err);
        root.has_subtree = rc == VMB_OK;
    }
    if (rc == VMB_OK) {
        const vmbi_node *old = root.has_subtree ? &root : NULL;
        rc = o->content_root ? save_root(&s, o->paths[0], old, &tree, err)
                             : save_level(&s, &paths, 0, paths.n, 1, old, &tree, err);
    }
    if (rc == VMB_OK) {
        rc = vmbi_repo_flush(r, err);
    }
    if (rc == VMB_OK) {
        rc = save_snapshot(&s, &tree, parent_id, id, err);
    }
    close_saver(&s);
    vmbi_strs_free(&paths);
    if (stats != NULL) {
        *stats = s.stats;
    }
    return rc;
}
