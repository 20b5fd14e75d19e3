/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/tree/exclude.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/strs.h"
#include "repo/tree/pattern.h"

enum { MAX_HEADER = 64 * 1024 };

/* A tag file: its name, and how its content begins ("": anything). */
typedef struct tag {
    char *name;
    const char *header; /* inside of name's memory */
} tag;

struct vmbi_excludes {
    vmbi_patterns *patterns;  /* NULL: none */
    vmbi_patterns *ipatterns; /* whatever their case */
    tag tags[VMBI_EXCLUDE_MAX_TAGS];
    size_t n_tags;
    uint64_t larger_than;
};

/* The signature of the Cache Directory Tagging standard. */
static const char cache_tag[] = "CACHEDIR.TAG:Signature: 8a477f597d28d172789f06886806bc55";

static vmb_code add_tag(vmbi_excludes *x, const char *spec, vmb_error **err)
{
    const char *colon = strchr(spec, ':');
    size_t len = colon != NULL ? (size_t)(colon - spec) : strlen(spec);
    if (len == 0 || memchr(spec, '/', len) != NULL || strlen(spec) > MAX_HEADER) {
        return vmbi_fail(err, VMB_E_ARG, "exclude if present: \"%.80s\" is not FILE or FILE:HEADER",
                         spec);
    }
    if (x->n_tags == VMBI_EXCLUDE_MAX_TAGS) {
        return vmbi_fail(err, VMB_E_LIMIT, "exclude if present: more than %d files",
                         VMBI_EXCLUDE_MAX_TAGS);
    }
    tag *t = &x->tags[x->n_tags];
    t->name = vmbi_strdup(spec);
    if (t->name == NULL) {
        return vmbi_fail_nomem(err);
    }
    x->n_tags++;
    t->header = colon != NULL ? t->name + len + 1 : t->name + len;
    t->name[len] = '\0';
    return VMB_OK;
}

vmb_code vmbi_excludes_new(const vmbi_tree_options *o, vmbi_excludes **out, vmb_error **err)
{
    vmbi_excludes *x = vmbi_zalloc(sizeof(*x));
    vmb_code rc = x != NULL ? VMB_OK : vmbi_fail_nomem(err);
    if (rc == VMB_OK && o->n_excludes > 0) {
        rc = vmbi_patterns_new(o->excludes, o->n_excludes, false, &x->patterns, err);
    }
    if (rc == VMB_OK && o->n_iexcludes > 0) {
        rc = vmbi_patterns_new(o->iexcludes, o->n_iexcludes, true, &x->ipatterns, err);
    }
    for (size_t i = 0; i < o->n_exclude_if_present && rc == VMB_OK; i++) {
        rc = add_tag(x, o->exclude_if_present[i], err);
    }
    if (rc == VMB_OK && o->exclude_caches) {
        rc = add_tag(x, cache_tag, err);
    }
    if (rc != VMB_OK) {
        vmbi_excludes_free(x);
        return rc;
    }
    x->larger_than = o->exclude_larger_than;
    *out = x;
    return VMB_OK;
}

void vmbi_excludes_free(vmbi_excludes *x)
{
    if (x == NULL) {
        return;
    }
    vmbi_patterns_free(x->patterns);
    vmbi_patterns_free(x->ipatterns);
    for (size_t i = 0; i < x->n_tags; i++) {
        vmbi_free(x->tags[i].name);
    }
    vmbi_free(x);
}

/* Does the file begin like this? NULL: yes; else why not. */
static const char *begins_with(int dirfd, const char *name, const char *header)
{
    char block[4096];
    size_t left = strlen(header);
    int fd = openat(dirfd, name, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) {
        return "it cannot be opened";
    }
    const char *why = NULL;
    while (left > 0 && why == NULL) {
        ssize_t n = read(fd, block, left < sizeof(block) ? left : sizeof(block));
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            why = n < 0 ? "it cannot be read" : "it is too short for its header";
        } else if (memcmp(block, header, (size_t)n) != 0) {
            why = "it has another header";
        } else {
            header += n;
            left -= (size_t)n;
        }
    }
    (void)close(fd);
    return why;
}

uint64_t vmbi_excludes_tags(const vmbi_excludes *x, int dirfd, const char *dir,
                            void (*warn)(void *user, const char *path, const char *text),
                            void *user)
{
    uint64_t out = 0;
    for (size_t i = 0; i < x->n_tags; i++) {
        const tag *t = &x->tags[i];
        struct stat st;
        if (fstatat(dirfd, t->name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
            continue;
        }
        const char *why = t->header[0] != '\0' ? begins_with(dirfd, t->name, t->header) : NULL;
        if (why == NULL) {
            out |= UINT64_C(1) << i;
            continue;
        }
        vmbi_buf text = VMBI_BUF_INIT(4096);
        vmbi_buf_addf(&text, "its tag file %.255s excludes nothing: %s", t->name, why);
        warn(user, dir, text.data != NULL ? text.data : why);
        vmbi_buf_free(&text);
    }
    return out;
}

vmb_code vmbi_excludes_name(vmbi_excludes *x, const char *path, const char *name, uint64_t tags,
                            bool *excluded, vmb_error **err)
{
    bool hit = false;
    for (size_t i = 0; i < x->n_tags && tags != 0 && !hit; i++) {
        /* the tag file itself is kept, so that a restored folder is still tagged */
        hit = (tags >> i & 1) != 0 && strcmp(x->tags[i].name, name) != 0;
    }
    vmb_code rc = hit ? VMB_OK : vmbi_patterns_match(x->patterns, path, &hit, NULL, err);
    if (rc == VMB_OK && !hit) {
        rc = vmbi_patterns_match(x->ipatterns, path, &hit, NULL, err);
    }
    *excluded = hit;
    return rc;
}

bool vmbi_excludes_size(const vmbi_excludes *x, const struct stat *st)
{
    return x->larger_than != 0 && !S_ISDIR(st->st_mode) && (uint64_t)st->st_size > x->larger_than;
}
