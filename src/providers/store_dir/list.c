/* SPDX-License-Identifier: Apache-2.0 */
#include "providers/store_dir/list.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/strs.h"
#include "providers/store_dir/path.h"

/* A walk over the tree. Names of folders carry their '/' so that sorting them gives the byte order
 * of keys ("a-b" before "a/b"). */
struct walk {
    int root;
    const vmbi_limits *limits;
    const char *prefix;
    bool fold;
    vmb_key_sink *out;
    vmbi_buf path; /* key so far: "" or ending in '/' */
};

static bool hidden(const struct walk *w, const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0 ||
           (w->path.len == 0 && strcmp(name, VMBI_STORE_DIR_TMP) == 0);
}

static vmb_code add_name(const struct walk *w, int fd, const char *name, vmbi_strs *names,
                         vmb_error **err)
{
    char with_slash[256 + 2];
    struct stat st;
    const size_t len = strlen(name);

    if (hidden(w, name)) {
        return VMB_OK;
    }
    if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        return errno == ENOENT ? VMB_OK : vmbi_fail_errno(err, errno, "list \"%s\"", name);
    }
    if (S_ISREG(st.st_mode)) {
        return vmbi_strs_add(names, name, err);
    }
    if (!S_ISDIR(st.st_mode) || len > 255) {
        return VMB_OK; /* neither an object nor a folder of objects */
    }
    memcpy(with_slash, name, len);
    with_slash[len] = '/';
    with_slash[len + 1] = '\0';
    return vmbi_strs_add(names, with_slash, err);
}

/* Reads and sorts the names of the folder at w->path. A missing folder has none. */
static vmb_code read_folder(struct walk *w, vmbi_strs *names, int *folder_fd, vmb_error **err)
{
    const char *path = w->path.len > 0 ? w->path.data : "";
    char trimmed[VMBI_STORE_KEY_MAX + 1];
    struct dirent *e = NULL;
    DIR *dir = NULL;
    vmb_code code = VMB_OK;
    int fd = -1;

    if (w->path.len > VMBI_STORE_KEY_MAX) {
        return VMB_OK; /* too deep to be a key of ours */
    }
    memcpy(trimmed, path, w->path.len);
    trimmed[w->path.len > 0 ? w->path.len - 1 : 0] = '\0';
    fd = trimmed[0] == '\0' ? openat(w->root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
                            : vmbi_store_dir_open(w->root, trimmed, O_RDONLY | O_DIRECTORY);
    if (fd < 0) {
        return errno == ENOENT || errno == ENOTDIR || errno == ELOOP
                   ? VMB_OK
                   : vmbi_fail_errno(err, errno, "list folder \"%s\"", path);
    }
    *folder_fd = fd;
    fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (!dir) {
        code = vmbi_fail_errno(err, errno, "list folder \"%s\"", path);
        if (fd >= 0) {
            (void)close(fd);
        }
        return code;
    }
    while (code == VMB_OK) {
        errno = 0;
        e = readdir(dir);
        if (!e) {
            code = errno == 0 ? VMB_OK : vmbi_fail_errno(err, errno, "list folder \"%s\"", path);
            break;
        }
        code = add_name(w, *folder_fd, e->d_name, names, err);
    }
    (void)closedir(dir);
    vmbi_strs_sort(names);
    return code;
}

/* Is there any object below w->path? An empty folder is no prefix. */
static vmb_code walk_folder(struct walk *w, bool probe, bool *found, vmb_error **err);

static vmb_code push_object(struct walk *w, int fd, const char *name, vmb_error **err)
{
    struct stat st;
    const size_t before = w->path.len;
    vmb_code code = VMB_OK;

    if (fd < 0 || fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        return VMB_OK; /* removed meanwhile */
    }
    vmbi_buf_adds(&w->path, name);
    code = vmbi_buf_check(&w->path, err, "key");
    if (code == VMB_OK) {
        code = vmb_key_sink_push(w->out, w->path.data, (int64_t)st.st_size,
                                 (int64_t)st.st_mtim.tv_sec * VMBI_SECOND + st.st_mtim.tv_nsec, 0,
                                 err);
        w->path.len = before;
        w->path.data[before] = '\0';
    }
    return code;
}

static vmb_code enter_folder(struct walk *w, const char *name, bool probe, bool fold, bool *found,
                             vmb_error **err)
{
    const size_t before = w->path.len;
    bool inside = false;
    vmb_code code = VMB_OK;

    vmbi_buf_adds(&w->path, name);
    code = vmbi_buf_check(&w->path, err, "key");
    if (code != VMB_OK) {
        return code;
    }
    code = walk_folder(w, probe || fold, &inside, err);
    if (code == VMB_OK && inside && fold && !probe) {
        code = vmb_key_sink_push(w->out, w->path.data, -1, -1, 1, err);
    }
    *found = *found || inside;
    w->path.len = before;
    w->path.data[before] = '\0';
    return code;
}

/* Does path + name start with the wanted prefix, or lead to it? */
static bool leads_to_prefix(const struct walk *w, const char *name)
{
    const size_t want = strlen(w->prefix);
    const size_t name_len = strlen(name);
    size_t rest = 0;

    if (w->path.len >= want) {
        return true;
    }
    rest = want - w->path.len;
    if (name_len >= rest) {
        return strncmp(name, w->prefix + w->path.len, rest) == 0;
    }
    return name[name_len - 1] == '/' && strncmp(name, w->prefix + w->path.len, name_len) == 0;
}

static vmb_code visit(struct walk *w, int fd, const char *name, bool probe, bool *found,
                      vmb_error **err)
{
    const size_t len = strlen(name);

    if (!leads_to_prefix(w, name)) {
        return VMB_OK;
    }
    if (name[len - 1] == '/') {
        /* Folded when the whole of the prefix lies before this folder's slash. */
        return enter_folder(w, name, probe, w->fold && w->path.len + len > strlen(w->prefix), found,
                            err);
    }
    *found = true;
    return probe ? VMB_OK : push_object(w, fd, name, err);
}

static vmb_code walk_folder(struct walk *w, bool probe, bool *found, vmb_error **err)
{
    vmbi_strs names = {NULL, 0, 0};
    int fd = -1;
    size_t i = 0;
    vmb_code code = vmbi_limits_check(w->limits, err, "list folder");

    if (code == VMB_OK) {
        code = read_folder(w, &names, &fd, err);
    }
    for (i = 0; code == VMB_OK && i < names.n && !(probe && *found); i++) {
        if (i % 256 == 255) {
            code = vmbi_limits_check(w->limits, err, "list folder");
        }
        if (code == VMB_OK) {
            code = visit(w, fd, names.v[i], probe, found, err);
        }
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    vmbi_strs_free(&names);
    return code;
}

vmb_code vmbi_store_dir_list(int root, const vmbi_limits *limits, const char *prefix, bool fold,
                             vmb_key_sink *out, vmb_error **err)
{
    struct walk w = {.root = root, .limits = limits, .prefix = prefix, .fold = fold, .out = out};
    const char *slash = strrchr(prefix, '/');
    bool found = false;
    vmb_code code = vmbi_store_dir_check_prefix(prefix, err);

    if (code != VMB_OK) {
        return code;
    }
    vmbi_buf_init(&w.path, VMBI_STORE_KEY_MAX + 512);
    vmbi_buf_add(&w.path, prefix, slash ? (size_t)(slash - prefix) + 1 : 0);
    code = vmbi_buf_check(&w.path, err, "prefix");
    if (code == VMB_OK) {
        code = walk_folder(&w, false, &found, err);
    }
    vmbi_buf_free(&w.path);
    return code;
}
