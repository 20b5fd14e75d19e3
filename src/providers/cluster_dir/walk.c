/* SPDX-License-Identifier: Apache-2.0 */
/* Visiting the files of a folder. A file is read once, however many names lead to it, and nothing
 * outside the folder is opened: a symbolic link is followed to a file below the folder only (so
 * that mounted ConfigMaps work), never to another folder. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/error.h"
#include "codec/yaml.h"
#include "providers/cluster_dir/load.h"

typedef struct walker {
    vmbi_dir_loader *ld;
    char *root;    /* resolved path of the folder */
    vmbi_map seen; /* "device:inode" of files read */
} walker;

static vmb_code join(const char *dir, const char *name, char **out, vmb_error **err)
{
    vmbi_buf b = VMBI_BUF_INIT(64 * 1024);
    if (dir[0] != '\0') {
        vmbi_buf_adds(&b, dir);
        vmbi_buf_addc(&b, '/');
    }
    vmbi_buf_adds(&b, name);
    vmb_code code = vmbi_buf_take(&b, out, NULL, err, "path");
    vmbi_buf_free(&b);
    return code;
}

static bool is_manifest(const char *name)
{
    return vmbi_ends_with(name, ".yaml") || vmbi_ends_with(name, ".yml") ||
           vmbi_ends_with(name, ".json");
}

static vmb_code warn(walker *w, const char *rel, const char *why, vmb_error **err)
{
    vmbi_buf b = VMBI_BUF_INIT(8192);
    vmbi_buf_addf(&b, "%s: %s", rel, why);
    vmb_code code = vmbi_buf_check(&b, err, "note");
    if (code == VMB_OK) {
        code = vmbi_strs_add(&w->ld->tree->warnings, b.data, err);
    }
    vmbi_buf_free(&b);
    return code;
}

static vmb_code read_all(int fd, const char *rel, vmbi_buf *text, vmb_error **err)
{
    for (;;) {
        char chunk[16384];
        ssize_t got = read(fd, chunk, sizeof chunk);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return vmbi_fail_errno(err, errno, "read %s", rel);
        }
        if (got == 0) {
            return vmbi_buf_check(text, err, rel);
        }
        vmbi_buf_add(text, chunk, (size_t)got);
        if (text->status != VMB_OK) {
            return vmbi_buf_check(text, err, rel);
        }
    }
}

/* True when this file was read before under another name. */
static vmb_code seen_before(walker *w, const struct stat *st, bool *seen, vmb_error **err)
{
    static char mark;
    vmbi_buf key = VMBI_BUF_INIT(128);
    vmbi_buf_addf(&key, "%llu:%llu", (unsigned long long)st->st_dev,
                  (unsigned long long)st->st_ino);
    vmb_code code = vmbi_buf_check(&key, err, "file id");
    if (code == VMB_OK) {
        *seen = vmbi_map_has(&w->seen, key.data);
        if (!*seen) {
            code = vmbi_map_set(&w->seen, key.data, &mark, err);
        }
    }
    vmbi_buf_free(&key);
    return code;
}

static vmb_code parse_file(walker *w, int fd, const char *rel, vmb_error **err)
{
    vmbi_dir_loader *ld = w->ld;
    vmbi_buf text = VMBI_BUF_INIT(VMBI_DOC_MAX_BYTES);
    vmb_code code = read_all(fd, rel, &text, err);
    if (code != VMB_OK) {
        goto out;
    }
    ld->bytes += text.len;
    if (ld->tree->files.n >= VMBI_DIR_MAX_FILES || ld->bytes > VMBI_DIR_MAX_TOTAL_BYTES) {
        code = vmbi_fail(err, VMB_E_LIMIT, "%s: more than %d files or %zu bytes of manifests", rel,
                         VMBI_DIR_MAX_FILES, VMBI_DIR_MAX_TOTAL_BYTES);
        goto out;
    }
    code = vmbi_strs_add(&ld->tree->files, rel, err);
    if (code == VMB_OK) {
        ld->file = ld->tree->files.v[ld->tree->files.n - 1];
        code = vmbi_doc_parse_stream(text.data != NULL ? text.data : "", text.len, rel,
                                     vmbi_dir_add_document, ld, err);
    }
out:
    vmbi_buf_free(&text);
    return code;
}

static vmb_code visit_file(walker *w, int dirfd, const char *path, const char *rel, vmb_error **err)
{
    struct stat st;
    bool seen = false;
    vmb_code code = VMB_OK;
    /* O_NONBLOCK: opening a FIFO must not hang; it is refused below. */
    int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) {
        return vmbi_fail_errno(err, errno, "open %s", rel);
    }
    if (fstat(fd, &st) != 0) {
        code = vmbi_fail_errno(err, errno, "stat %s", rel);
    } else if (!S_ISREG(st.st_mode)) {
        code = warn(w, rel, "not a regular file, left out", err);
    } else {
        code = seen_before(w, &st, &seen, err);
        if (code == VMB_OK && !seen) {
            code = parse_file(w, fd, rel, err);
        }
    }
    (void)close(fd); /* read only */
    return code;
}

/* A link is followed to a regular file below the folder. */
static vmb_code visit_link(walker *w, const char *rel, vmb_error **err)
{
    struct stat st;
    char *full = NULL;
    char *target = NULL;
    vmb_code code = join(w->root, rel, &full, err);
    if (code != VMB_OK) {
        goto out;
    }
    target = realpath(full, NULL);
    size_t root_len = strlen(w->root);
    if (target == NULL || stat(target, &st) != 0) {
        code = warn(w, rel, "symbolic link leads nowhere, left out", err);
    } else if (strncmp(target, w->root, root_len) != 0 ||
               (root_len > 1 && target[root_len] != '/')) {
        code = warn(w, rel, "symbolic link leads out of the folder, left out", err);
    } else if (S_ISDIR(st.st_mode)) {
        code = warn(w, rel, "symbolic link to a folder, left out", err);
    } else if (is_manifest(rel)) {
        code = visit_file(w, AT_FDCWD, target, rel, err);
    }
out:
    free(target); /* from realpath(), not from our allocator */
    vmbi_free(full);
    return code;
}

static vmb_code read_names(DIR *dir, const char *rel, vmbi_strs *names, vmb_error **err)
{
    for (;;) {
        errno = 0;
        const struct dirent *e = readdir(dir);
        if (e == NULL) {
            break;
        }
        if (e->d_name[0] == '.') {
            continue; /* hidden: editors, version control, a mounted ConfigMap's inside */
        }
        vmb_code code = names->n < VMBI_DIR_MAX_FILES * 2
                            ? vmbi_strs_add(names, e->d_name, err)
                            : vmbi_fail(err, VMB_E_LIMIT, "folder %s: too many entries", rel);
        if (code != VMB_OK) {
            return code;
        }
    }
    if (errno != 0) {
        return vmbi_fail_errno(err, errno, "read folder %s", rel);
    }
    vmbi_strs_sort(names);
    return VMB_OK;
}

static vmb_code visit_dir(walker *w, int fd, const char *rel, int depth, vmb_error **err);

static vmb_code visit_entry(walker *w, int dirfd, const char *name, const char *rel, int depth,
                            vmb_error **err)
{
    struct stat st;
    if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        return vmbi_fail_errno(err, errno, "stat %s", rel);
    }
    if (S_ISLNK(st.st_mode)) {
        return visit_link(w, rel, err);
    }
    if (S_ISDIR(st.st_mode)) {
        if (depth >= VMBI_DIR_MAX_FOLDERS) {
            return vmbi_fail(err, VMB_E_LIMIT, "folder %s: nested more than %d deep", rel,
                             VMBI_DIR_MAX_FOLDERS);
        }
        int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        return fd < 0 ? vmbi_fail_errno(err, errno, "open folder %s", rel)
                      : visit_dir(w, fd, rel, depth + 1, err);
    }
    return is_manifest(name) ? visit_file(w, dirfd, name, rel, err) : VMB_OK;
}

/* Owns fd. */
static vmb_code visit_dir(walker *w, int fd, const char *rel, int depth, vmb_error **err)
{
    vmbi_strs names = {NULL, 0, 0};
    DIR *dir = fdopendir(fd);
    if (dir == NULL) {
        int why = errno;
        (void)close(fd); /* the first error counts */
        return vmbi_fail_errno(err, why, "read folder %s", rel);
    }
    vmb_code code = read_names(dir, rel[0] == '\0' ? w->root : rel, &names, err);
    for (size_t i = 0; code == VMB_OK && i < names.n; i++) {
        char *sub = NULL;
        code = join(rel, names.v[i], &sub, err);
        if (code == VMB_OK) {
            code = visit_entry(w, dirfd(dir), names.v[i], sub, depth, err);
        }
        vmbi_free(sub);
    }
    (void)closedir(dir); /* read only */
    vmbi_strs_free(&names);
    return code;
}

vmb_code vmbi_dir_walk(vmbi_dir_loader *ld, const char *path, vmb_error **err)
{
    walker w = {ld, NULL, VMBI_MAP_INIT(NULL)};
    vmb_code code = VMB_OK;
    w.root = realpath(path, NULL);
    if (w.root == NULL) {
        return vmbi_fail_errno(err, errno, "folder %s", path);
    }
    int fd = open(w.root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        code = vmbi_fail_errno(err, errno, "folder %s", path);
    } else {
        code = visit_dir(&w, fd, "", 0, err);
    }
    vmbi_map_free(&w.seen);
    free(w.root); /* from realpath(), not from our allocator */
    return code;
}
