/* SPDX-License-Identifier: Apache-2.0 */
/* Preloaded into a program: kills it at the call of its number $KILL_AT among those that change
 * files, before the call for odd numbers and behind it for even ones. */
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static atomic_long calls;

static void point(void)
{
    static atomic_long at = -1;
    if (at == -1) {
        const char *text = getenv("KILL_AT");
        at = text ? strtol(text, NULL, 10) : 0;
    }
    if (atomic_fetch_add(&calls, 1) + 1 == at) {
        kill(getpid(), SIGKILL);
    }
}

#define AROUND(type, name, params, args)                                     \
    type name params                                                         \
    {                                                                        \
        static type(*real) params;                                           \
        if (!real) {                                                         \
            real = (type(*) params)dlsym(RTLD_NEXT, #name);                  \
        }                                                                    \
        point();                                                             \
        type result = real args;                                             \
        point();                                                             \
        return result;                                                       \
    }

AROUND(int, unlink, (const char *path), (path))
AROUND(int, unlinkat, (int dir, const char *path, int flags), (dir, path, flags))
AROUND(int, rmdir, (const char *path), (path))
AROUND(int, rename, (const char *from, const char *to), (from, to))
AROUND(int, renameat, (int a, const char *from, int b, const char *to), (a, from, b, to))
AROUND(int, renameat2, (int a, const char *from, int b, const char *to, unsigned int flags),
       (a, from, b, to, flags))
AROUND(int, link, (const char *from, const char *to), (from, to))
AROUND(int, linkat, (int a, const char *from, int b, const char *to, int flags),
       (a, from, b, to, flags))
AROUND(int, mkdir, (const char *path, mode_t mode), (path, mode))
AROUND(int, mkdirat, (int dir, const char *path, mode_t mode), (dir, path, mode))
AROUND(int, fsync, (int fd), (fd))
AROUND(int, fdatasync, (int fd), (fd))
AROUND(ssize_t, write, (int fd, const void *data, size_t len), (fd, data, len))
