/* SPDX-License-Identifier: Apache-2.0 */
#include "providers/store_s3/put.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/strs.h"
#include "codec/digest.h"
#include "providers/store_s3/complete.h"
#include "providers/store_s3/multipart.h"

#define MIB (INT64_C(1024) * 1024)
#define PART_MAX (INT64_C(5) * 1024 * MIB)
#define OBJECT_MAX (INT64_C(5) * 1024 * 1024 * MIB)
/* Buffers of large parts: fewer of them, rather than more memory than this. */
#define BLOCKS_BUDGET (INT64_C(256) * MIB)

enum { FIRST_BLOCK = 64 * 1024, WRONG_ETAG_TRIES = 2 };

struct vmbi_s3_put {
    vmbi_s3 *s;
    char *key;
    bool if_absent;
    int64_t part_base;
    int64_t total;                /* bytes in parts that were pushed */
    vmbi_s3_block block;          /* being filled */
    int64_t part_size;            /* of the block */
    vmbi_s3_multipart *multipart; /* NULL while one PUT may do */
};

int64_t vmbi_s3_part_size(int64_t base, int64_t total, int max_parts)
{
    /* A tenth of the parts hold base bytes each; from there each part is 10/max_parts of what is
     * up already, so that the object grows by a constant factor per part: 5 TiB need 7,500 parts
     * of 10,000; a server that takes 1,000 parts only gets 1.7 TiB. */
    int64_t size = total / (max_parts / 10);

    size = size > base ? (size + MIB - 1) / MIB * MIB : base;
    return size < PART_MAX ? size : PART_MAX;
}

int64_t vmbi_s3_part_base(int64_t configured, int64_t size_hint, int max_parts)
{
    const int64_t parts = max_parts - max_parts / 10; /* some room for a hint that is low */
    int64_t size = size_hint > 0 ? size_hint / parts + 1 : 0;

    size = (size + MIB - 1) / MIB * MIB;
    size = size > configured ? size : configured;
    return size < PART_MAX ? size : PART_MAX;
}

static void put_free(vmbi_s3_put *p)
{
    if (!p) {
        return;
    }
    vmbi_s3_multipart_free(p->multipart);
    vmbi_free(p->block.data);
    vmbi_free(p->key);
    vmbi_free(p);
}

vmb_code vmbi_s3_put_begin(vmbi_s3 *s, const char *key, int64_t size_hint, bool if_absent,
                           vmbi_s3_put **out, vmb_error **err)
{
    vmbi_s3_put *p = NULL;

    if (size_hint > OBJECT_MAX) {
        return vmbi_fail(err, VMB_E_LIMIT, "write object \"%s\": larger than 5 TiB", key);
    }
    p = vmbi_zalloc(sizeof(*p));
    if (!p) {
        return vmbi_fail_nomem(err);
    }
    p->s = s;
    p->if_absent = if_absent;
    p->part_base = vmbi_s3_part_base(s->config.part_size, size_hint, s->config.max_parts);
    p->part_size = p->part_base;
    p->key = vmbi_strdup(key);
    if (!p->key) {
        put_free(p);
        return vmbi_fail_nomem(err);
    }
    *out = p;
    return VMB_OK;
}

/* Makes room for more bytes in the block, up to the size of the part. */
static vmb_code grow_block(vmbi_s3_put *p, size_t more, const vmbi_limits *limits, vmb_error **err)
{
    vmbi_s3_block *b = &p->block;
    const size_t limit = (size_t)p->part_size;
    size_t cap = b->cap > 0 ? b->cap : FIRST_BLOCK;
    char *data = NULL;

    if (p->multipart && !b->data) {
        return vmbi_s3_multipart_block(p->multipart, limit, limits, b, err);
    }
    if (more > limit - b->len) {
        more = limit - b->len;
    }
    while (cap < b->len + more) {
        cap *= 2;
    }
    cap = cap < limit ? cap : limit;
    if (b->data && cap <= b->cap) {
        return VMB_OK;
    }
    data = vmbi_realloc_array(b->data, cap, 1);
    if (!data) {
        return vmbi_fail_nomem(err);
    }
    b->data = data;
    b->cap = cap;
    return VMB_OK;
}

/* The block is full and more comes: it becomes a part. */
static vmb_code push_block(vmbi_s3_put *p, const vmbi_limits *limits, vmb_error **err)
{
    const int64_t len = (int64_t)p->block.len;
    int64_t blocks = BLOCKS_BUDGET / p->part_size;
    vmb_code code = VMB_OK;

    if (p->total + len > OBJECT_MAX) {
        return vmbi_fail(err, VMB_E_LIMIT, "write object \"%s\": larger than 5 TiB", p->key);
    }
    if (!p->multipart) {
        blocks = blocks < p->s->config.parts_in_flight ? blocks : p->s->config.parts_in_flight;
        code = vmbi_s3_multipart_begin(p->s, p->key, limits, blocks > 1 ? (int)blocks : 1,
                                       &p->multipart, err);
    }
    if (code == VMB_OK) {
        code = vmbi_s3_multipart_push(p->multipart, &p->block, limits, err);
    }
    if (code == VMB_OK) {
        p->total += len;
        p->part_size = vmbi_s3_part_size(p->part_base, p->total, p->s->config.max_parts);
    }
    return code;
}

vmb_code vmbi_s3_put_write(vmbi_s3_put *p, const vmb_job *job, const void *data, size_t len,
                           vmb_error **err)
{
    const vmbi_limits *limits = vmbi_s3_limits(job);
    const char *bytes = data;
    vmb_code code = vmbi_limits_check(limits, err, "write object");

    while (code == VMB_OK && len > 0) {
        if (p->block.data && p->block.len == (size_t)p->part_size) {
            code = push_block(p, limits, err);
        }
        if (code == VMB_OK) {
            code = grow_block(p, len, limits, err);
        }
        if (code == VMB_OK) {
            const size_t space =
                (p->block.cap < (size_t)p->part_size ? p->block.cap : (size_t)p->part_size) -
                p->block.len;
            const size_t n = len < space ? len : space;

            memcpy(p->block.data + p->block.len, bytes, n);
            p->block.len += n;
            bytes += n;
            len -= n;
        }
    }
    return code;
}

/* ---- one PUT --------------------------------------------------------------------------------- */

struct single {
    const vmbi_s3_put *p;
    const char *what;
    char md5_hex[33];
    int wrong;
};

static bool etag_is_wrong(const struct single *c, const vmbi_http_response *r)
{
    char etag[VMBI_S3_ETAG_MAX];

    /* No ETag at all: whoever answered is no S3 server. */
    return !vmbi_s3_etag(r, etag) || vmbi_s3_etag_differs(c->p->s, r, etag, c->md5_hex);
}

static bool retry_wrong_etag(void *user, const vmbi_http_response *r, int try_number)
{
    struct single *c = user;

    (void)try_number;
    return r->status / 100 == 2 && etag_is_wrong(c, r) && ++c->wrong <= WRONG_ETAG_TRIES;
}

static vmb_code send_single(struct single *c, bool conditional, const vmbi_limits *limits,
                            vmbi_http_response *r, vmb_error **err)
{
    const vmbi_s3_put *p = c->p;
    const vmbi_s3_checksum kind = p->s->config.checksum;
    const char *body = p->block.data ? p->block.data : "";
    char md5[VMBI_S3_CHECKSUM_SIZE];
    char checksum[VMBI_S3_CHECKSUM_SIZE];
    vmbi_http_header headers[8];
    vmbi_s3_request q = {.what = c->what,
                         .method = "PUT",
                         .key = p->key,
                         .headers = headers,
                         .body = body,
                         .body_len = p->block.len,
                         .hash_body = true,
                         .customer_key = true,
                         .retry = retry_wrong_etag,
                         .user = c};

    vmbi_s3_content_md5(body, p->block.len, md5);
    vmbi_s3_checksum_of(kind, body, p->block.len, checksum);
    q.n_headers = vmbi_s3_create_headers(p->s, headers);
    headers[q.n_headers++] = (vmbi_http_header){"content-md5", md5};
    if (kind != VMBI_S3_CHECKSUM_NONE) {
        headers[q.n_headers++] = (vmbi_http_header){vmbi_s3_checksum_header(kind), checksum};
        headers[q.n_headers++] =
            (vmbi_http_header){"x-amz-sdk-checksum-algorithm", vmbi_s3_checksum_name(kind)};
    }
    if (conditional) {
        headers[q.n_headers++] = (vmbi_http_header){"if-none-match", "*"};
    }
    return vmbi_s3_perform(p->s, &q, limits, r, err);
}

/* 412: the key is taken; by an earlier try of ours, perhaps, whose answer was lost. */
static vmb_code judge_taken(const struct single *c, const vmbi_http_response *r,
                            const vmbi_limits *limits, vmb_error **err)
{
    vmbi_s3_info info;

    if (r->tries > 1 && vmbi_s3_stat(c->p->s, c->p->key, limits, &info, NULL) == VMB_OK &&
        vmbi_strcaseeq(info.etag, c->md5_hex)) {
        return VMB_OK;
    }
    return vmbi_fail(err, VMB_E_EXISTS, "%s: exists already", c->what);
}

static vmb_code judge_single(const struct single *c, const vmbi_http_response *r,
                             const vmbi_limits *limits, vmb_error **err)
{
    if (r->status / 100 == 2 && !etag_is_wrong(c, r)) {
        return VMB_OK;
    }
    if (r->status / 100 == 2) {
        (void)vmbi_s3_remove(c->p->s, c->p->key, limits, NULL); /* whatever it is, not our bytes */
        return vmbi_fail(err, VMB_E_PROTOCOL,
                         "%s: the ETag in the answer is not that of the bytes sent; removed",
                         c->what);
    }
    if (c->p->if_absent && r->status == 412) {
        return judge_taken(c, r, limits, err);
    }
    return vmbi_s3_fail(c->p->s, c->what, r, err);
}

static vmb_code commit_single(vmbi_s3_put *p, const vmb_job *job, vmb_error **err)
{
    const vmbi_limits *limits = vmbi_s3_limits(job);
    bool conditional = p->if_absent && vmbi_s3_conditional(p->s);
    vmbi_buf what = VMBI_BUF_INIT(2048);
    struct single c = {.p = p};
    vmbi_http_response r;
    uint8_t md5[16];
    vmb_code code = vmbi_s3_what("write", p->key, &what, err);

    c.what = what.data;
    vmbi_http_response_init(&r, 0);
    vmbi_md5(p->block.data ? p->block.data : "", p->block.len, md5);
    vmbi_hex(md5, sizeof(md5), c.md5_hex);
    if (code == VMB_OK && p->if_absent) {
        code = vmbi_s3_refuse_existing(p->s, p->key, limits, err);
    }
    if (code == VMB_OK) {
        code = send_single(&c, conditional, limits, &r, err);
    }
    if (code == VMB_OK && conditional && r.status == 501) {
        vmb_job_log(job, VMB_LOG_WARNING,
                    "the store knows no conditional put: whether an object exists is only looked "
                    "up before it is written");
        vmbi_s3_set_unconditional(p->s);
        vmbi_http_response_free(&r);
        code = send_single(&c, false, limits, &r, err);
    }
    if (code == VMB_OK) {
        code = judge_single(&c, &r, limits, err);
    }
    vmbi_http_response_free(&r);
    vmbi_buf_free(&what);
    return code;
}

/* ---- the end --------------------------------------------------------------------------------- */

static vmb_code commit_parts(vmbi_s3_put *p, const vmbi_limits *limits, vmb_error **err)
{
    vmb_code code = VMB_OK;

    if (p->block.len > 0) {
        code = push_block(p, limits, err);
    }
    if (code == VMB_OK) {
        code = vmbi_s3_multipart_complete(p->multipart, p->if_absent, limits, err);
    }
    if (code != VMB_OK) {
        vmbi_s3_multipart_abort(p->multipart);
    }
    return code;
}

vmb_code vmbi_s3_put_commit(vmbi_s3_put *p, const vmb_job *job, vmb_error **err)
{
    const vmbi_limits *limits = vmbi_s3_limits(job);
    vmb_code code = vmbi_limits_check(limits, err, "write object");

    if (code == VMB_OK) {
        code = p->multipart ? commit_parts(p, limits, err) : commit_single(p, job, err);
    } else if (p->multipart) {
        vmbi_s3_multipart_abort(p->multipart);
    }
    put_free(p);
    return code;
}

void vmbi_s3_put_abort(vmbi_s3_put *p)
{
    if (p->multipart) {
        vmbi_s3_multipart_abort(p->multipart);
    }
    put_free(p);
}
