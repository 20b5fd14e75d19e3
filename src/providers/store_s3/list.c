/* SPDX-License-Identifier: Apache-2.0 */
/* ListObjectsV2. Servers give keys and folded prefixes apart, each in order; they are merged page
 * by page. encoding-type=url is always asked for: keys may hold bytes that XML cannot. */
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/strs.h"
#include "codec/digest.h"
#include "providers/store_s3/object.h"
#include "providers/store_s3/xml.h"

enum { PAGE_MAX_BODY = 8 * 1024 * 1024, PAGE_MAX_ENTRIES = 100000 };

struct entry {
    char *key;
    int64_t size;
    int64_t mtime_unix_ns;
};

struct entries {
    struct entry *v;
    size_t n;
    size_t cap;
};

struct page {
    const char *what;
    struct entries keys;
    struct entries prefixes;
    struct entry current; /* the Contents being read */
    bool encoded;         /* the answer echoes EncodingType */
    bool truncated;
    bool is_list; /* the root was right */
    char *token;
};

static void entries_free(struct entries *l)
{
    size_t i = 0;

    for (i = 0; i < l->n; i++) {
        vmbi_free(l->v[i].key);
    }
    vmbi_free(l->v);
    memset(l, 0, sizeof(*l));
}

static vmb_code entries_add(struct entries *l, struct entry *e, vmb_error **err)
{
    if (l->n == PAGE_MAX_ENTRIES) {
        return vmbi_fail(err, VMB_E_LIMIT, "list: more than %d entries in a page",
                         (int)PAGE_MAX_ENTRIES);
    }
    if (l->n == l->cap) {
        const size_t cap = l->cap == 0 ? 256 : l->cap * 2;
        struct entry *v = vmbi_realloc_array(l->v, cap, sizeof(*v));

        if (!v) {
            return vmbi_fail_nomem(err);
        }
        l->v = v;
        l->cap = cap;
    }
    l->v[l->n++] = *e;
    memset(e, 0, sizeof(*e));
    return VMB_OK;
}

static vmb_code set_text(char **field, const char *text, vmb_error **err)
{
    vmbi_free(*field);
    *field = vmbi_strdup(text);
    return *field ? VMB_OK : vmbi_fail_nomem(err);
}

static vmb_code end_of_contents(struct page *p, vmb_error **err)
{
    if (!p->current.key) {
        return vmbi_fail(err, VMB_E_PROTOCOL, "%s: an entry has no key", p->what);
    }
    return entries_add(&p->keys, &p->current, err);
}

static vmb_code on_element(void *user, const char *path, const char *text, vmb_error **err)
{
    struct page *p = user;
    const char *name = path + 17;

    if (strcmp(path, "ListBucketResult") == 0) {
        p->is_list = true;
        return VMB_OK;
    }
    if (!vmbi_starts_with(path, "ListBucketResult/")) {
        return VMB_OK;
    }
    if (strcmp(name, "Contents/Key") == 0) {
        return set_text(&p->current.key, text, err);
    }
    if (strcmp(name, "Contents/Size") == 0) {
        if (!vmbi_parse_i64(text, strlen(text), &p->current.size)) {
            p->current.size = -1;
        }
    } else if (strcmp(name, "Contents/LastModified") == 0) {
        if (!vmbi_parse_rfc3339(text, &p->current.mtime_unix_ns)) {
            p->current.mtime_unix_ns = -1;
        }
    } else if (strcmp(name, "Contents") == 0) {
        return end_of_contents(p, err);
    } else if (strcmp(name, "CommonPrefixes/Prefix") == 0) {
        struct entry e = {vmbi_strdup(text), -1, -1};
        vmb_code code = e.key ? entries_add(&p->prefixes, &e, err) : vmbi_fail_nomem(err);

        vmbi_free(e.key);
        return code;
    } else if (strcmp(name, "IsTruncated") == 0) {
        p->truncated = strcmp(text, "true") == 0;
    } else if (strcmp(name, "NextContinuationToken") == 0) {
        return set_text(&p->token, text, err);
    } else if (strcmp(name, "EncodingType") == 0) {
        p->encoded = strcmp(text, "url") == 0;
    }
    return VMB_OK;
}

bool vmbi_s3_key_decode(char *s)
{
    char *out = s;

    for (; *s; s++) {
        uint8_t byte = 0;

        if (*s == '+') {
            *out++ = ' ';
        } else if (*s != '%') {
            *out++ = *s;
        } else if (s[1] != '\0' && s[2] != '\0' && vmbi_unhex(s + 1, 2, &byte) && byte != 0) {
            *out++ = (char)byte;
            s += 2;
        } else {
            return false;
        }
    }
    *out = '\0';
    return true;
}

static vmb_code decode_all(const struct page *p, struct entries *l, vmb_error **err)
{
    size_t i = 0;

    for (i = 0; p->encoded && i < l->n; i++) {
        if (!vmbi_s3_key_decode(l->v[i].key)) {
            return vmbi_fail(err, VMB_E_PROTOCOL, "%s: a key is encoded wrongly", p->what);
        }
    }
    return VMB_OK;
}

static vmb_code push_page(const struct page *p, vmb_key_sink *out, vmb_error **err)
{
    size_t i = 0;
    size_t j = 0;
    vmb_code code = VMB_OK;

    while (code == VMB_OK && (i < p->keys.n || j < p->prefixes.n)) {
        const bool key_next = j == p->prefixes.n ||
                              (i < p->keys.n && strcmp(p->keys.v[i].key, p->prefixes.v[j].key) < 0);
        const struct entry *e = key_next ? &p->keys.v[i++] : &p->prefixes.v[j++];

        code = vmb_key_sink_push(out, e->key, e->size, e->mtime_unix_ns, key_next ? 0 : 1, err);
    }
    return code;
}

static void page_reset(struct page *p)
{
    entries_free(&p->keys);
    entries_free(&p->prefixes);
    vmbi_free(p->current.key);
    vmbi_free(p->token);
    memset(&p->current, 0, sizeof(p->current));
    p->token = NULL;
    p->encoded = false;
    p->truncated = false;
    p->is_list = false;
}

static vmb_code fetch_page(vmbi_s3 *s, const vmbi_limits *limits, const char *prefix,
                           const char *delimiter, const char *token, struct page *p,
                           vmb_error **err)
{
    vmbi_http_header params[6] = {
        {"list-type", "2"}, {"encoding-type", "url"}, {"max-keys", "1000"}, {"prefix", prefix}};
    vmbi_s3_request q = {.what = p->what,
                         .method = "GET",
                         .params = params,
                         .n_params = 4,
                         .max_body = PAGE_MAX_BODY};
    vmbi_http_response r;
    vmb_code code = VMB_OK;

    if (delimiter && delimiter[0] != '\0') {
        params[q.n_params++] = (vmbi_http_header){"delimiter", delimiter};
    }
    if (token) {
        params[q.n_params++] = (vmbi_http_header){"continuation-token", token};
    }
    page_reset(p);
    code = vmbi_s3_perform_ok(s, &q, limits, &r, err);
    if (code == VMB_OK) {
        code = vmbi_s3_xml_walk(r.body.data ? r.body.data : "", r.body.len, p->what, on_element, p,
                                err);
    }
    if (code == VMB_OK && !p->is_list) {
        code = vmbi_fail(err, VMB_E_PROTOCOL, "%s: the answer is no list", p->what);
    }
    vmbi_http_response_free(&r);
    if (code == VMB_OK) {
        code = decode_all(p, &p->keys, err);
    }
    return code == VMB_OK ? decode_all(p, &p->prefixes, err) : code;
}

vmb_code vmbi_s3_list(vmbi_s3 *s, const vmb_job *job, const char *prefix, const char *delimiter,
                      vmb_key_sink *out, vmb_error **err)
{
    struct page p;
    vmbi_buf what = VMBI_BUF_INIT(2048);
    char *token = NULL;
    vmb_code code = VMB_OK;
    bool more = true;

    memset(&p, 0, sizeof(p));
    if (strlen(prefix) > 1024 || prefix[0] == '/') {
        return vmbi_fail(err, VMB_E_ARG, "list: prefix too long or with a leading \"/\"");
    }
    vmbi_buf_addf(&what, "list \"%s\"", prefix);
    code = vmbi_buf_check(&what, err, "list");
    p.what = what.data;
    while (code == VMB_OK && more) {
        code = fetch_page(s, vmbi_s3_limits(job), prefix, delimiter, token, &p, err);
        if (code == VMB_OK) {
            code = push_page(&p, out, err);
        }
        more = p.truncated;
        if (code == VMB_OK && more &&
            (!p.token || p.token[0] == '\0' || vmbi_streq(p.token, token))) {
            code = vmbi_fail(err, VMB_E_PROTOCOL, "%s: the list does not go on", p.what);
        }
        vmbi_free(token);
        token = vmbi_steal(&p.token);
    }
    vmbi_free(token);
    page_reset(&p);
    vmbi_buf_free(&what);
    return code;
}
