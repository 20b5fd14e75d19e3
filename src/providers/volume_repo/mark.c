/* SPDX-License-Identifier: Apache-2.0 */
/* The file that ends the wait of Velero's init container. Source: Velero 1.18
 * pkg/podvolume/restore_micro_service.go. The content of the volume may be anybody's: no link is
 * followed, and only files of the folder are taken away. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/strs.h"
#include "providers/volume_repo/volume_repo.h"

static const char folder_name[] = ".velero";

static int open_folder(int at, const char *name)
{
    return openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* Files of former restores; what cannot be removed does no harm. */
static void clear(int fd)
{
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    DIR *d = copy >= 0 ? fdopendir(copy) : NULL;
    if (d == NULL) {
        if (copy >= 0) {
            (void)close(copy);
        }
        return;
    }
    for (struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) {
            (void)unlinkat(dirfd(d), e->d_name, 0);
        }
    }
    (void)closedir(d);
}

/* The folder, made when there is none; something else of its name is taken away. */
static int make_folder(int volume)
{
    int made = mkdirat(volume, folder_name, 0755);
    int fd = made == 0 || errno == EEXIST ? open_folder(volume, folder_name) : -1;
    if (fd < 0 && (errno == ENOTDIR || errno == ELOOP) &&
        unlinkat(volume, folder_name, 0) == 0 && mkdirat(volume, folder_name, 0755) == 0) {
        fd = open_folder(volume, folder_name);
    }
    return fd;
}

vmb_code vmbi_volrepo_mark(const char *folder, const char *name, vmb_error **err)
{
    vmb_code code = VMB_OK;
    int file = -1;
    if (name[0] == '\0' || strchr(name, '/') != NULL || name[0] == '.') {
        return vmbi_fail(err, VMB_E_ARG, "\"%.80s\" is no name of a file", name);
    }
    int volume = open_folder(AT_FDCWD, folder);
    int fd = volume >= 0 ? make_folder(volume) : -1;
    if (fd >= 0) {
        clear(fd);
        file = openat(fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    }
    /* the container runs as another user, whatever our umask is */
    if (file < 0 || fchmod(file, 0644) != 0 || fchmod(fd, 0755) != 0) {
        code = vmbi_fail_errno(err, errno, "make the file %s/%s that ends the pod's wait",
                               folder_name, name);
    }
    if (file >= 0) {
        (void)close(file);
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    if (volume >= 0) {
        (void)close(volume);
    }
    return code;
}
