/* SPDX-License-Identifier: Apache-2.0 */
#include "providers/store_libs3/list.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/strs.h"

enum { PAGE_KEYS = 1000, PAGE_MAX = 4 * PAGE_KEYS };

struct entry {
    char *key;
    int64_t size;
    int64_t mtime_unix_ns;
    int32_t is_prefix;
};

struct page {
    vmbi_libs3_call c; /* first: it is the callback data */
    const char *prefix;
    const char *delimiter;
    const char *marker;
    struct entry v[PAGE_MAX];
    size_t n;
    bool truncated;
    char *next_marker;
};

static void page_clear(struct page *p)
{
    size_t i = 0;

    for (i = 0; i < p->n; i++) {
        vmbi_free(p->v[i].key);
    }
    p->n = 0;
    vmbi_free(p->next_marker);
    p->next_marker = NULL;
}

static bool add(struct page *p, const char *key, int64_t size, int64_t mtime_unix_ns,
                int32_t is_prefix)
{
    struct entry *e = &p->v[p->n];

    if (p->n == PAGE_MAX) {
        p->c.code = vmbi_fail(&p->c.error, VMB_E_LIMIT, "%s: a page is too long", p->c.what);
        return false;
    }
    e->key = vmbi_strdup(key);
    if (!e->key) {
        p->c.code = vmbi_fail_nomem(&p->c.error);
        return false;
    }
    e->size = size;
    e->mtime_unix_ns = mtime_unix_ns;
    e->is_prefix = is_prefix;
    p->n++;
    return true;
}

static S3Status on_list(int truncated, const char *next_marker, int n_contents,
                        const S3ListBucketContent *contents, int n_prefixes, const char **prefixes,
                        void *user)
{
    struct page *p = user;
    int i = 0;

    p->c.last_move_ns = vmbi_mono_ns();
    p->truncated = truncated != 0;
    if (next_marker && next_marker[0] != '\0') {
        vmbi_free(p->next_marker);
        p->next_marker = vmbi_strdup(next_marker);
    }
    for (i = 0; i < n_contents; i++) {
        if (!add(p, contents[i].key, (int64_t)contents[i].size,
                 contents[i].lastModified >= 0 ? contents[i].lastModified * VMBI_SECOND : -1, 0)) {
            return S3StatusAbortedByCallback;
        }
    }
    for (i = 0; i < n_prefixes; i++) {
        if (!add(p, prefixes[i], -1, -1, 1)) {
            return S3StatusAbortedByCallback;
        }
    }
    return S3StatusOK;
}

static void start_list(const vmbi_libs3 *s, vmbi_libs3_call *c, void *user)
{
    struct page *p = user;
    S3ListBucketHandler h = {{NULL, NULL}, on_list};

    h.responseHandler = vmbi_libs3_response_handler;
    page_clear(p); /* of a try that broke in the middle */
    S3_list_bucket(&s->bucket, p->prefix, p->marker, p->delimiter, PAGE_KEYS, VMBI_LIBS3_CONTEXT(c),
                   &h, c);
}

static int compare(const void *a, const void *b)
{
    return strcmp(((const struct entry *)a)->key, ((const struct entry *)b)->key);
}

static vmb_code push(struct page *p, vmb_key_sink *out, char **marker, vmb_error **err)
{
    vmb_code code = VMB_OK;
    size_t i = 0;

    if (p->n > 0) {
        qsort(p->v, p->n, sizeof(p->v[0]), compare);
    }
    for (i = 0; i < p->n && code == VMB_OK; i++) {
        code = vmb_key_sink_push(out, p->v[i].key, p->v[i].size, p->v[i].mtime_unix_ns,
                                 p->v[i].is_prefix, err);
    }
    if (code == VMB_OK && p->truncated) {
        /* Without a delimiter servers name no next marker: the last key is it. */
        char *next = p->next_marker ? vmbi_steal(&p->next_marker)
                     : p->n > 0     ? vmbi_strdup(p->v[p->n - 1].key)
                                    : NULL;

        if (!next || (*marker && strcmp(next, *marker) <= 0)) {
            code = vmbi_fail(err, VMB_E_PROTOCOL, "%s: the list does not go on", p->c.what);
        }
        vmbi_free(*marker);
        *marker = next;
    }
    return code;
}

vmb_code vmbi_libs3_list(const vmbi_libs3 *s, const vmbi_limits *limits, const char *prefix,
                         const char *delimiter, vmb_key_sink *out, vmb_error **err)
{
    struct page *p = vmbi_zalloc(sizeof(*p));
    vmbi_buf what = VMBI_BUF_INIT(2048);
    char *marker = NULL;
    vmb_code code = p ? VMB_OK : vmbi_fail_nomem(err);

    if (code == VMB_OK && (strlen(prefix) > 1024 || prefix[0] == '/')) {
        code = vmbi_fail(err, VMB_E_ARG, "list: prefix too long or with a leading \"/\"");
    }
    vmbi_buf_addf(&what, "list \"%s\"", prefix);
    if (code == VMB_OK) {
        code = vmbi_buf_check(&what, err, "list");
    }
    if (code == VMB_OK) {
        vmbi_libs3_call_init(&p->c, what.data, limits);
        p->prefix = prefix;
        p->delimiter = delimiter && delimiter[0] != '\0' ? delimiter : NULL;
        do {
            p->marker = marker;
            p->truncated = false;
            code = vmbi_libs3_run(s, &p->c, start_list, p, err);
            if (code == VMB_OK) {
                code = push(p, out, &marker, err);
            }
        } while (code == VMB_OK && p->truncated);
    }
    if (p) {
        page_clear(p);
    }
    vmbi_free(marker);
    vmbi_free(p);
    vmbi_buf_free(&what);
    return code;
}
