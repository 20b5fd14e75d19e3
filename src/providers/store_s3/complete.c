/* SPDX-License-Identifier: Apache-2.0 */
#include "providers/store_s3/complete.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/strs.h"
#include "codec/digest.h"
#include "providers/store_s3/xml.h"

enum { BODY_MAX = 8 * 1024 * 1024 };
/* Joining ten thousand parts may take a server minutes, in silence or with blanks. */
#define COMPLETE_IDLE_NS (600 * VMBI_SECOND)

vmb_code vmbi_s3_parts_reserve(vmbi_s3_parts *l, size_t n, vmb_error **err)
{
    vmbi_s3_part *v = NULL;
    size_t cap = l->cap == 0 ? 64 : l->cap;

    while (cap < n) {
        cap *= 2;
    }
    if (cap == l->cap) {
        return VMB_OK;
    }
    v = vmbi_realloc_array(l->v, cap, sizeof(*v));
    if (!v) {
        return vmbi_fail_nomem(err);
    }
    memset(v + l->cap, 0, (cap - l->cap) * sizeof(*v));
    l->v = v;
    l->cap = cap;
    return VMB_OK;
}

void vmbi_s3_parts_free(vmbi_s3_parts *l)
{
    size_t i = 0;

    for (i = 0; i < l->cap; i++) {
        vmbi_free(l->v[i].etag);
    }
    vmbi_free(l->v);
    memset(l, 0, sizeof(*l));
}

bool vmbi_s3_conditional(vmbi_s3 *s)
{
    bool yes = false;

    (void)pthread_mutex_lock(&s->lock);
    yes = !s->no_conditional_put;
    (void)pthread_mutex_unlock(&s->lock);
    return yes;
}

void vmbi_s3_set_unconditional(vmbi_s3 *s)
{
    (void)pthread_mutex_lock(&s->lock);
    s->no_conditional_put = true;
    (void)pthread_mutex_unlock(&s->lock);
}

vmb_code vmbi_s3_refuse_existing(vmbi_s3 *s, const char *key, const vmbi_limits *limits,
                                 vmb_error **err)
{
    vmbi_s3_info info;
    vmb_error *e = NULL;
    vmb_code code = vmbi_s3_stat(s, key, limits, &info, &e);

    if (code == VMB_OK) {
        return vmbi_fail(err, VMB_E_EXISTS, "write object \"%s\": exists already", key);
    }
    if (code == VMB_E_NOT_FOUND) {
        vmb_error_free(e);
        return VMB_OK;
    }
    vmbi_error_move(err, &e);
    return code;
}

static vmb_code build_body(const vmbi_s3 *s, const vmbi_s3_completion *c, vmbi_buf *out,
                           vmb_error **err)
{
    const vmbi_s3_checksum kind = s->config.checksum;
    const char *tag = vmbi_s3_checksum_name(kind);
    size_t i = 0;

    vmbi_buf_adds(out, "<CompleteMultipartUpload "
                       "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
    for (i = 0; i < c->n_parts; i++) {
        const vmbi_s3_part *p = &c->parts->v[i];

        vmbi_buf_addf(out, "<Part><PartNumber>%zu</PartNumber><ETag>&quot;", i + 1);
        vmbi_s3_xml_escape(out, p->etag ? p->etag : "");
        vmbi_buf_adds(out, "&quot;</ETag>");
        if (kind != VMBI_S3_CHECKSUM_NONE) {
            vmbi_buf_addf(out, "<Checksum%s>%s</Checksum%s>", tag, p->checksum, tag);
        }
        vmbi_buf_adds(out, "</Part>");
    }
    vmbi_buf_adds(out, "</CompleteMultipartUpload>");
    return vmbi_buf_check(out, err, "list of parts");
}

/* "<md5 of the parts' md5s>-<n>", as the servers make it. */
static vmb_code expected_etag(const vmbi_s3_completion *c, char out[64], vmb_error **err)
{
    vmbi_digest *d = NULL;
    uint8_t md5[20];
    char hex[33];
    size_t i = 0;
    vmb_code code = vmbi_digest_new(VMBI_MD5, &d, err);

    for (i = 0; code == VMB_OK && i < c->n_parts; i++) {
        vmbi_digest_update(d, c->parts->v[i].md5, 16);
    }
    if (code == VMB_OK) {
        vmbi_digest_final(d, md5);
        vmbi_hex(md5, 16, hex);
        (void)snprintf(out, 64, "%s-%zu", hex, c->n_parts);
    }
    vmbi_digest_free(d);
    return code;
}

/* An <Error> inside a 200 is a failure that may pass. */
static bool retry_error_in_success(void *user, const vmbi_http_response *r, int try_number)
{
    char root[64];

    (void)user;
    (void)try_number;
    return r->status / 100 == 2 &&
           vmbi_s3_xml_root(r->body.data, r->body.len, root, sizeof(root)) &&
           strcmp(root, "Error") == 0;
}

/* Looks whether the object at the key is the one that was sent. strict: its ETag must prove it. */
static vmb_code verify(vmbi_s3 *s, const vmbi_s3_completion *c, const char *etag, bool strict,
                       const vmbi_limits *limits, bool *ours, vmb_error **err)
{
    vmbi_s3_info info;
    vmb_code code = vmbi_s3_stat(s, c->key, limits, &info, err);

    if (code == VMB_OK) {
        *ours = info.size_bytes == c->total &&
                (strict ? vmbi_strcaseeq(info.etag, etag)
                        : !vmbi_s3_etag_differs(s, NULL, info.etag, etag));
    }
    return code;
}

static vmb_code not_ours(vmbi_s3 *s, const vmbi_s3_completion *c, const vmbi_limits *limits,
                         vmb_error **err)
{
    /* What stands there is not what was sent: better nothing than that. */
    (void)vmbi_s3_remove(s, c->key, limits, NULL);
    return vmbi_fail(err, VMB_E_PROTOCOL,
                     "%s: the store joined the parts to something else; removed", c->what);
}

/* A 2xx answer: is it a completion, and of our bytes? */
static vmb_code judge_success(vmbi_s3 *s, const vmbi_s3_completion *c, const vmbi_http_response *r,
                              const char *expected, const vmbi_limits *limits, vmb_error **err)
{
    char root[64];
    char etag[VMBI_S3_ETAG_MAX] = "";
    size_t len = 0;
    bool ours = false;
    vmb_code code = VMB_OK;

    if (!vmbi_s3_xml_root(r->body.data, r->body.len, root, sizeof(root))) {
        return vmbi_fail(err, VMB_E_PROTOCOL, "%s: the answer to the completion is no XML",
                         c->what);
    }
    if (strcmp(root, "Error") == 0) {
        return vmbi_s3_fail(s, c->what, r, err);
    }
    if (strcmp(root, "CompleteMultipartUploadResult") != 0) {
        return vmbi_fail(err, VMB_E_PROTOCOL, "%s: the answer to the completion is a <%s>", c->what,
                         root);
    }
    (void)vmbi_s3_xml_text(r->body.data, r->body.len, "CompleteMultipartUploadResult/ETag", etag,
                           sizeof(etag));
    len = strlen(etag);
    if (len >= 2 && etag[0] == '"' && etag[len - 1] == '"') {
        memmove(etag, etag + 1, len - 2);
        etag[len - 2] = '\0';
    }
    if (etag[0] != '\0' && !vmbi_s3_etag_differs(s, r, etag, expected)) {
        return VMB_OK;
    }
    /* RGW leaves the ETag empty; anything else here is a surprise worth a second look. */
    code = verify(s, c, expected, false, limits, &ours, err);
    if (code == VMB_OK && !ours) {
        code = not_ours(s, c, limits, err);
    }
    return code;
}

static vmb_code judge_failure(vmbi_s3 *s, const vmbi_s3_completion *c, const vmbi_http_response *r,
                              const char *expected, const vmbi_limits *limits, vmb_error **err)
{
    const bool taken = c->if_absent && r->status == 412;
    bool ours = false;

    if ((r->status == 404 || taken) && r->tries > 1 &&
        verify(s, c, expected, taken, limits, &ours, NULL) == VMB_OK && ours) {
        return VMB_OK; /* an earlier try did it, only its answer was lost */
    }
    if (taken) {
        return vmbi_fail(err, VMB_E_EXISTS, "%s: exists already", c->what);
    }
    return vmbi_s3_fail(s, c->what, r, err);
}

static vmb_code complete_once(vmbi_s3 *s, const vmbi_s3_completion *c, const vmbi_buf *body,
                              bool conditional, const vmbi_limits *limits, vmbi_http_response *r,
                              vmb_error **err)
{
    static const vmbi_http_header header[] = {{"if-none-match", "*"}};
    const vmbi_http_header params[] = {{"uploadId", c->upload_id}};
    const vmbi_s3_request q = {.what = c->what,
                               .method = "POST",
                               .key = c->key,
                               .params = params,
                               .n_params = 1,
                               .headers = header,
                               .n_headers = conditional ? 1 : 0,
                               .body = body->data,
                               .body_len = body->len,
                               .hash_body = true,
                               .retry = retry_error_in_success,
                               .idle_timeout_ns = COMPLETE_IDLE_NS};

    return vmbi_s3_perform(s, &q, limits, r, err);
}

vmb_code vmbi_s3_complete(vmbi_s3 *s, const vmbi_s3_completion *c, const vmbi_limits *limits,
                          vmb_error **err)
{
    vmbi_buf body = VMBI_BUF_INIT(BODY_MAX);
    vmbi_http_response r;
    char expected[64];
    bool conditional = c->if_absent && vmbi_s3_conditional(s);
    vmb_code code = build_body(s, c, &body, err);

    vmbi_http_response_init(&r, 0);
    if (code == VMB_OK) {
        code = expected_etag(c, expected, err);
    }
    if (code == VMB_OK && c->if_absent) {
        code = vmbi_s3_refuse_existing(s, c->key, limits, err);
    }
    if (code == VMB_OK) {
        code = complete_once(s, c, &body, conditional, limits, &r, err);
    }
    if (code == VMB_OK && conditional && r.status == 501) {
        vmbi_s3_set_unconditional(s);
        vmbi_http_response_free(&r);
        code = complete_once(s, c, &body, false, limits, &r, err);
    }
    if (code == VMB_OK) {
        code = r.status / 100 == 2 ? judge_success(s, c, &r, expected, limits, err)
                                   : judge_failure(s, c, &r, expected, limits, err);
    }
    vmbi_http_response_free(&r);
    vmbi_buf_free(&body);
    return code;
}
