/* SPDX-License-Identifier: Apache-2.0 */
/* A scratch folder with files, for the tests of kubeconfigs and logins. */
#ifndef TEST_KUBE_SUPPORT_H
#define TEST_KUBE_SUPPORT_H

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/compiler.h"

typedef struct scratch {
    char dir[64];
    char path[8][160]; /* of the files written, a ring */
    size_t n;
} scratch;

static inline void scratch_open(scratch *s)
{
    *s = (scratch){.dir = "/tmp/vmb-kube-XXXXXX"};
    assert_non_null(mkdtemp(s->dir));
}

/* Path of a file in the folder; good until seven more were asked for. */
static inline const char *scratch_path(scratch *s, const char *name)
{
    char *out = s->path[s->n++ % 8];
    char dir[sizeof(s->dir)]; /* of its own: gcc takes the parts of a scratch for one object */
    memcpy(dir, s->dir, sizeof(dir));
    assert_true(snprintf(out, sizeof(s->path[0]), "%s/%s", dir, name) > 0);
    return out;
}

/* Writes a file whole: beside it first, then renamed, as rotating tokens are. */
static inline const char *scratch_write(scratch *s, const char *name, const char *text, mode_t mode)
{
    const char *path = scratch_path(s, name);
    const char *tmp = scratch_path(s, ".new");
    int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(fchmod(fd, mode), 0);
    assert_int_equal(close(fd), 0);
    assert_int_equal(rename(tmp, path), 0);
    return path;
}

static inline void scratch_close(scratch *s)
{
    DIR *d = opendir(s->dir);
    struct dirent *e = NULL;
    while (d != NULL && (e = readdir(d)) != NULL) {
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) {
            (void)unlinkat(dirfd(d), e->d_name, 0);
        }
    }
    if (d != NULL) {
        (void)closedir(d);
    }
    (void)rmdir(s->dir);
}

#endif
