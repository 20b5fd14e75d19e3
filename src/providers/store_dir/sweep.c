/* SPDX-License-Identifier: Apache-2.0 */
/* What writers that died left in the private folder. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/strs.h"
#include "providers/store_dir/path.h"
#include "providers/store_dir/put.h"

static bool is_old(int dir, const char *name, int64_t before_unix_ns)
{
    struct stat st;

    return vmbi_starts_with(name, "put-") && fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
           S_ISREG(st.st_mode) &&
           (int64_t)st.st_mtim.tv_sec * VMBI_SECOND + st.st_mtim.tv_nsec < before_unix_ns;
}

vmb_code vmbi_dir_sweep(int root, int64_t before_unix_ns, int64_t *removed, vmb_error **err)
{
    const int fd =
        openat(root, VMBI_STORE_DIR_TMP, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    struct dirent *e = NULL;
    vmb_code code = VMB_OK;

    *removed = 0;
    if (!dir) {
        code = errno == ENOENT ? VMB_OK
                               : vmbi_fail_errno(err, errno, "look for what writers left");
        if (fd >= 0) {
            (void)close(fd);
        }
        return code;
    }
    while (code == VMB_OK) {
        errno = 0;
        e = readdir(dir);
        if (!e) {
            code = errno == 0 ? VMB_OK
                              : vmbi_fail_errno(err, errno, "look for what writers left");
            break;
        }
        if (is_old(fd, e->d_name, before_unix_ns)) {
            if (unlinkat(fd, e->d_name, 0) == 0) {
                (*removed)++;
            } else if (errno != ENOENT) { /* its writer has ended it just now */
                code = vmbi_fail_errno(err, errno, "remove what a writer left");
            }
        }
    }
    (void)closedir(dir);
    return code;
}
