/* SPDX-License-Identifier: Apache-2.0 */
/* Uploads in parts that nobody ended: a writer that was killed leaves them, invisible and paid for.
 * Source: the S3 API's ListMultipartUploads, ListParts and AbortMultipartUpload. */
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/strs.h"
#include "providers/store_s3/object.h"
#include "providers/store_s3/xml.h"

enum { PAGE_MAX_BODY = 8 * 1024 * 1024, UPLOADS_MAX = 100000 };

struct upload {
    char *key;
    char *id;
    int64_t initiated_unix_ns; /* -1: not told */
};

/* Old uploads, collected before any is ended: a list that changes under its own pages may skip. */
struct sweep {
    vmbi_s3 *s;
    const char *what;
    int64_t given_unix_ns;  /* of our clock */
    int64_t before_unix_ns; /* the same of the server's clock */
    const vmbi_limits *limits;
    struct upload *found;
    size_t n;
    size_t cap;
    /* the page being read */
    struct upload current;
    bool encoded;
    bool truncated;
    bool is_list;
    char *next_key;
    char *next_id;
};

static const struct upload no_upload = {NULL, NULL, -1};

static void upload_done(struct upload *u)
{
    vmbi_free(u->key);
    vmbi_free(u->id);
    *u = no_upload;
}

static vmb_code set_text(char **field, const char *text, vmb_error **err)
{
    vmbi_free(*field);
    *field = vmbi_strdup(text);
    return *field ? VMB_OK : vmbi_fail_nomem(err);
}

/* ---- the list ---------------------------------------------------------------------------------- */

static vmb_code end_of_upload(struct sweep *w, vmb_error **err)
{
    struct upload *u = &w->current;

    if (!u->key || !u->id || u->id[0] == '\0') {
        return vmbi_fail(err, VMB_E_PROTOCOL, "%s: an upload has no key or id", w->what);
    }
    if (u->initiated_unix_ns < 0 || u->initiated_unix_ns >= w->before_unix_ns) {
        upload_done(u);
        return VMB_OK;
    }
    if (w->n == UPLOADS_MAX) {
        return vmbi_fail(err, VMB_E_LIMIT, "%s: more than %d uploads", w->what, (int)UPLOADS_MAX);
    }
    if (w->n == w->cap) {
        const size_t cap = w->cap == 0 ? 16 : w->cap * 2;
        struct upload *v = vmbi_realloc_array(w->found, cap, sizeof(*v));

        if (!v) {
            return vmbi_fail_nomem(err);
        }
        w->found = v;
        w->cap = cap;
    }
    w->found[w->n++] = *u;
    *u = no_upload;
    return VMB_OK;
}

static vmb_code on_upload(void *user, const char *path, const char *text, vmb_error **err)
{
    static const char root[] = "ListMultipartUploadsResult";
    struct sweep *w = user;
    const char *name = path + sizeof(root);

    if (strcmp(path, root) == 0) {
        w->is_list = true;
        return VMB_OK;
    }
    if (strncmp(path, root, sizeof(root) - 1) != 0 || path[sizeof(root) - 1] != '/') {
        return VMB_OK;
    }
    if (strcmp(name, "Upload") == 0) {
        return end_of_upload(w, err);
    }
    if (strcmp(name, "Upload/Key") == 0) {
        return set_text(&w->current.key, text, err);
    }
    if (strcmp(name, "Upload/UploadId") == 0) {
        return set_text(&w->current.id, text, err);
    }
    if (strcmp(name, "NextKeyMarker") == 0) {
        return set_text(&w->next_key, text, err);
    }
    if (strcmp(name, "NextUploadIdMarker") == 0) {
        return set_text(&w->next_id, text, err);
    }
    if (strcmp(name, "Upload/Initiated") == 0 &&
        !vmbi_parse_rfc3339(text, &w->current.initiated_unix_ns)) {
        w->current.initiated_unix_ns = -1;
    } else if (strcmp(name, "EncodingType") == 0) {
        w->encoded = strcmp(text, "url") == 0;
    } else if (strcmp(name, "IsTruncated") == 0) {
        w->truncated = strcmp(text, "true") == 0;
    }
    return VMB_OK;
}

/* After an answer: only then the clocks have been compared. */
static void set_before(struct sweep *w)
{
    (void)pthread_mutex_lock(&w->s->lock);
    if (__builtin_add_overflow(w->given_unix_ns, w->s->clock_offset_ns, &w->before_unix_ns)) {
        w->before_unix_ns = w->given_unix_ns;
    }
    (void)pthread_mutex_unlock(&w->s->lock);
}

static vmb_code fetch_page(struct sweep *w, const char *key_marker, const char *id_marker,
                           vmb_error **err)
{
    vmbi_http_header params[5] = {{"uploads", NULL}, {"encoding-type", "url"},
                                  {"max-uploads", "1000"}};
    vmbi_s3_request q = {.what = w->what,
                         .method = "GET",
                         .params = params,
                         .n_params = 3,
                         .max_body = PAGE_MAX_BODY};
    vmbi_http_response r;
    const size_t before = w->n;
    size_t i = 0;
    vmb_code code = VMB_OK;

    /* Not asked for by prefix: MinIO takes one for the whole key. */
    if (key_marker) {
        params[q.n_params++] = (vmbi_http_header){"key-marker", key_marker};
        params[q.n_params++] = (vmbi_http_header){"upload-id-marker", id_marker};
    }
    w->is_list = false;
    w->encoded = false;
    w->truncated = false;
    code = vmbi_s3_perform_ok(w->s, &q, w->limits, &r, err);
    if (code == VMB_OK) {
        set_before(w);
        code = vmbi_s3_xml_walk(r.body.data ? r.body.data : "", r.body.len, w->what, on_upload, w,
                                err);
    }
    if (code == VMB_OK && !w->is_list) {
        code = vmbi_fail(err, VMB_E_PROTOCOL, "%s: the answer is no list", w->what);
    }
    vmbi_http_response_free(&r);
    for (i = before; code == VMB_OK && w->encoded && i < w->n; i++) {
        if (!vmbi_s3_key_decode(w->found[i].key)) {
            code = vmbi_fail(err, VMB_E_PROTOCOL, "%s: a key is encoded wrongly", w->what);
        }
    }
    if (code == VMB_OK && w->encoded && w->next_key && !vmbi_s3_key_decode(w->next_key)) {
        code = vmbi_fail(err, VMB_E_PROTOCOL, "%s: a key is encoded wrongly", w->what);
    }
    return code;
}

static vmb_code find_all(struct sweep *w, vmb_error **err)
{
    char *key = NULL;
    char *id = NULL;
    vmb_code code = VMB_OK;
    bool more = true;

    while (code == VMB_OK && more) {
        code = fetch_page(w, key, id, err);
        more = w->truncated;
        if (code == VMB_OK && more &&
            (!w->next_key || !w->next_id ||
             (vmbi_streq(w->next_key, key) && vmbi_streq(w->next_id, id)))) {
            code = vmbi_fail(err, VMB_E_PROTOCOL, "%s: the list does not go on", w->what);
        }
        vmbi_free(key);
        vmbi_free(id);
        key = vmbi_steal(&w->next_key);
        id = vmbi_steal(&w->next_id);
    }
    vmbi_free(key);
    vmbi_free(id);
    return code;
}

/* ---- one upload -------------------------------------------------------------------------------- */

struct parts {
    int64_t newest_unix_ns; /* INT64_MAX when a time is missing or cannot be read */
    char next[32];          /* number to go on behind */
    bool truncated;
    bool is_list;
    bool dated; /* the part being read has told its time */
};

static vmb_code on_part(void *user, const char *path, const char *text, vmb_error **err)
{
    struct parts *p = user;
    int64_t when = 0;

    (void)err;
    if (strcmp(path, "ListPartsResult/Part/LastModified") == 0) {
        when = vmbi_parse_rfc3339(text, &when) ? when : INT64_MAX;
        p->newest_unix_ns = when > p->newest_unix_ns ? when : p->newest_unix_ns;
        p->dated = true;
    } else if (strcmp(path, "ListPartsResult/Part") == 0) {
        p->newest_unix_ns = p->dated ? p->newest_unix_ns : INT64_MAX;
        p->dated = false;
    } else if (strcmp(path, "ListPartsResult") == 0) {
        p->is_list = true;
    } else if (strcmp(path, "ListPartsResult/IsTruncated") == 0) {
        p->truncated = strcmp(text, "true") == 0;
    } else if (strcmp(path, "ListPartsResult/NextPartNumberMarker") == 0 &&
               strlen(text) < sizeof(p->next)) {
        memcpy(p->next, text, strlen(text) + 1);
    }
    return VMB_OK;
}

/* *old: nothing has come for the upload since. Long uploads of living writers begin early. */
static vmb_code look(struct sweep *w, const struct upload *u, bool *old, vmb_error **err)
{
    struct parts p = {.newest_unix_ns = u->initiated_unix_ns, .next = "0", .truncated = true};
    vmb_code code = VMB_OK;

    while (code == VMB_OK && p.truncated && p.newest_unix_ns < w->before_unix_ns) {
        char marker[sizeof(p.next)];
        const vmbi_http_header params[] = {{"uploadId", u->id}, {"part-number-marker", marker}};
        const vmbi_s3_request q = {.what = w->what,
                                   .method = "GET",
                                   .key = u->key,
                                   .params = params,
                                   .n_params = 2,
                                   .max_body = PAGE_MAX_BODY};
        vmbi_http_response r;

        memcpy(marker, p.next, sizeof(marker));
        p.truncated = p.is_list = false;
        code = vmbi_s3_perform_ok(w->s, &q, w->limits, &r, err);
        if (code == VMB_OK) {
            code = vmbi_s3_xml_walk(r.body.data ? r.body.data : "", r.body.len, w->what, on_part,
                                    &p, err);
        }
        vmbi_http_response_free(&r);
        if (code == VMB_OK && !p.is_list) {
            code = vmbi_fail(err, VMB_E_PROTOCOL, "%s: the answer is no list of parts", w->what);
        }
        if (code == VMB_OK && p.truncated && strcmp(marker, p.next) == 0) {
            code = vmbi_fail(err, VMB_E_PROTOCOL, "%s: the list of parts does not go on", w->what);
        }
    }
    *old = p.newest_unix_ns < w->before_unix_ns;
    return code;
}

static vmb_code end_upload(struct sweep *w, const struct upload *u, int64_t *removed,
                           vmb_error **err)
{
    const vmbi_http_header params[] = {{"uploadId", u->id}};
    const vmbi_s3_request q = {
        .what = w->what, .method = "DELETE", .key = u->key, .params = params, .n_params = 1};
    vmbi_http_response r;
    vmb_error *e = NULL;
    bool old = false;
    vmb_code code = look(w, u, &old, &e);

    if (code == VMB_OK && old) {
        code = vmbi_s3_perform_ok(w->s, &q, w->limits, &r, &e);
        vmbi_http_response_free(&r);
        *removed += code == VMB_OK ? 1 : 0;
    }
    if (code == VMB_E_NOT_FOUND) { /* its writer has ended it, or another sweep */
        vmb_error_free(e);
        return VMB_OK;
    }
    vmbi_error_move(err, &e);
    return code;
}

vmb_code vmbi_s3_sweep(vmbi_s3 *s, const vmbi_limits *limits, const char *prefix,
                       int64_t before_unix_ns, int64_t *removed, vmb_error **err)
{
    vmbi_buf what = VMBI_BUF_INIT(2048);
    struct sweep w = {
        .s = s, .limits = limits, .given_unix_ns = before_unix_ns, .current = no_upload};
    size_t i = 0;
    vmb_code code = VMB_OK;

    *removed = 0;
    vmbi_buf_addf(&what, "look for uploads below \"%.1024s\"", prefix);
    code = vmbi_buf_check(&what, err, "sweep");
    w.what = what.data;
    if (code == VMB_OK) {
        code = find_all(&w, err);
    }
    for (i = 0; i < w.n && code == VMB_OK; i++) {
        if (vmbi_starts_with(w.found[i].key, prefix)) {
            code = end_upload(&w, &w.found[i], removed, err);
        }
    }
    for (i = 0; i < w.n; i++) {
        upload_done(&w.found[i]);
    }
    vmbi_free(w.found);
    upload_done(&w.current);
    vmbi_free(w.next_key);
    vmbi_free(w.next_id);
    vmbi_buf_free(&what);
    return code;
}
