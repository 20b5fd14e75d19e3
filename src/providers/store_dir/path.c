/* SPDX-License-Identifier: Apache-2.0 */
#include "providers/store_dir/path.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/error.h"

/* Checks one part between slashes. */
static const char *bad_part(const char *p, size_t len)
{
    if (len == 0) {
        return "empty part";
    }
    if ((len == 1 && p[0] == '.') || (len == 2 && p[0] == '.' && p[1] == '.')) {
        return "\".\" or \"..\" as a part";
    }
    if (len > NAME_MAX) {
        return "part longer than 255 bytes";
    }
    return NULL;
}

static vmb_code check(const char *key, bool is_prefix, vmb_error **err)
{
    const size_t total = strlen(key);
    const char *p = key;
    const char *why = NULL;

    if (total > VMBI_STORE_KEY_MAX) {
        return vmbi_fail(err, VMB_E_ARG, "key \"%.64s...\": longer than 1024 bytes", key);
    }
    if (is_prefix && total == 0) {
        return VMB_OK;
    }
    for (;;) {
        const size_t len = strcspn(p, "/");
        const bool last = p[len] == '\0';

        if (p == key && strncmp(p, VMBI_STORE_DIR_TMP, len) == 0 &&
            len == strlen(VMBI_STORE_DIR_TMP)) {
            why = "reserved name";
        } else if (!(is_prefix && last && len <= NAME_MAX)) {
            why = bad_part(p, len);
        }
        if (why) {
            return vmbi_fail(err, VMB_E_ARG, "%s \"%s\": %s", is_prefix ? "prefix" : "key", key,
                             why);
        }
        if (last) {
            return VMB_OK;
        }
        p += len + 1;
    }
}

vmb_code vmbi_store_dir_check_key(const char *key, vmb_error **err)
{
    return check(key, false, err);
}

vmb_code vmbi_store_dir_check_prefix(const char *prefix, vmb_error **err)
{
    return check(prefix, true, err);
}

/* For kernels before 5.6 and sandboxes without openat2: part by part, links refused. Keys have no
 * ".." (checked), so this stays below root too, bar folders renamed away meanwhile. */
static int open_stepwise(int root, const char *path, int flags)
{
    int dir = fcntl(root, F_DUPFD_CLOEXEC, 0);

    while (dir >= 0) {
        char part[NAME_MAX + 1];
        const size_t len = strcspn(path, "/");
        const bool last = path[len] == '\0';
        int next = -1;
        int saved = 0;

        if (len > NAME_MAX) {
            (void)close(dir);
            errno = ENAMETOOLONG;
            return -1;
        }
        memcpy(part, path, len);
        part[len] = '\0';
        next = openat(dir, part,
                      last ? flags | O_NOFOLLOW | O_CLOEXEC
                           : O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        saved = errno;
        (void)close(dir);
        errno = saved;
        if (last || next < 0) {
            return next;
        }
        dir = next;
        path += len + 1;
    }
    return -1;
}

int vmbi_store_dir_open(int root, const char *path, int flags)
{
#ifdef SYS_openat2
    const struct open_how how = {.flags = (uint64_t)(unsigned)(flags | O_CLOEXEC),
                                 .resolve =
                                     RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
    const long fd = syscall(SYS_openat2, root, path, &how, sizeof(how));

    if (fd >= 0 || (errno != ENOSYS && errno != EPERM)) {
        return (int)fd;
    }
#endif
    return open_stepwise(root, path, flags);
}

int vmbi_store_dir_open_parent(int root, const char *key, const char **name)
{
    char folder[VMBI_STORE_KEY_MAX + 1];
    const char *slash = strrchr(key, '/');

    if (!slash) {
        *name = key;
        return fcntl(root, F_DUPFD_CLOEXEC, 0);
    }
    *name = slash + 1;
    memcpy(folder, key, (size_t)(slash - key));
    folder[slash - key] = '\0';
    return vmbi_store_dir_open(root, folder, O_RDONLY | O_DIRECTORY);
}

/* Makes one folder, given the path up to and with it. */
static int make_one(int root, const char *path)
{
    const char *name = NULL;
    int parent = vmbi_store_dir_open_parent(root, path, &name);
    int rc = -1;
    int saved = 0;

    if (parent < 0) {
        return -1;
    }
    rc = mkdirat(parent, name, 0777);
    if (rc == 0) {
        rc = fsync(parent);
    } else if (errno == EEXIST) {
        rc = 0;
    }
    saved = errno;
    (void)close(parent);
    errno = saved;
    return rc;
}

int vmbi_store_dir_make_parents(int root, const char *key)
{
    char path[VMBI_STORE_KEY_MAX + 1];
    size_t i = 0;

    for (i = 0; key[i] != '\0'; i++) {
        if (key[i] == '/') {
            path[i] = '\0';
            if (make_one(root, path) != 0) {
                return -1;
            }
        }
        path[i] = key[i];
    }
    return 0;
}

void vmbi_store_dir_prune_parents(int root, const char *key)
{
    char path[VMBI_STORE_KEY_MAX + 1];
    size_t len = strlen(key);

    memcpy(path, key, len + 1);
    for (;;) {
        char *slash = strrchr(path, '/');
        const char *name = NULL;
        int parent = -1;
        int rc = -1;

        if (!slash) {
            return;
        }
        *slash = '\0';
        parent = vmbi_store_dir_open_parent(root, path, &name);
        if (parent < 0) {
            return;
        }
        rc = unlinkat(parent, name, AT_REMOVEDIR); /* fails on a folder in use: fine */
        (void)close(parent);
        if (rc != 0) {
            return;
        }
    }
}
