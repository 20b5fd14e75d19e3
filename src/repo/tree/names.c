/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/tree/names.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/error.h"

enum { MAX_ENTRIES = 10 * 1000 * 1000 };

static vmb_code add(vmbi_names *l, const char *name, vmb_error **err)
{
    if (l->n == MAX_ENTRIES) {
        return vmbi_fail(err, VMB_E_LIMIT, "more than %d entries in one directory", MAX_ENTRIES);
    }
    if (l->n == l->cap) {
        size_t cap = l->cap == 0 ? 64 : l->cap + l->cap / 2;
        size_t *starts = vmbi_realloc_array(l->starts, cap, sizeof(*starts));
        if (starts == NULL) {
            return vmbi_fail_nomem(err);
        }
        l->starts = starts;
        l->cap = cap;
    }
    l->starts[l->n++] = l->text.len;
    vmbi_buf_add(&l->text, name, strlen(name) + 1);
    return vmbi_buf_check(&l->text, err, "names of a directory");
}

static int by_bytes(const void *a, const void *b, void *text)
{
    return strcmp((const char *)text + *(const size_t *)a, (const char *)text + *(const size_t *)b);
}

vmb_code vmbi_names_read(int dirfd, vmbi_names *out, vmb_error **err)
{
    memset(out, 0, sizeof(*out));
    vmbi_buf_init(&out->text, (size_t)MAX_ENTRIES * 256);
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
    while (rc == VMB_OK) {
        errno = 0;
        const struct dirent *e = readdir(d);
        if (e == NULL) {
            rc = errno != 0 ? vmbi_fail_errno(err, errno, "list") : VMB_OK;
            break;
        }
        bool dots = strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0;
        rc = dots ? VMB_OK : add(out, e->d_name, err);
    }
    (void)closedir(d);
    if (rc == VMB_OK && out->n > 1) {
        qsort_r(out->starts, out->n, sizeof(*out->starts), by_bytes, out->text.data);
    }
    return rc;
}

void vmbi_names_free(vmbi_names *l)
{
    vmbi_buf_free(&l->text);
    vmbi_free(l->starts);
    *l = (vmbi_names){0};
}
