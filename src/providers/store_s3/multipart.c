/* SPDX-License-Identifier: Apache-2.0 */
#include "providers/store_s3/multipart.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/strs.h"
#include "base/thread.h"
#include "codec/digest.h"
#include "providers/store_s3/complete.h"
#include "providers/store_s3/xml.h"

enum { MAX_THREADS = 64, WRONG_ETAG_TRIES = 2, POLL_CAP_MS = 1000 };
#define ABORT_NS (4 * VMBI_SECOND)

struct part {
    struct part *next;
    int number;
    vmbi_s3_block block;
    int64_t deadline_mono_ns; /* of the call that pushed it */
};

struct vmbi_s3_multipart {
    vmbi_s3 *s;
    char *key;
    char *what;
    char *upload_id;
    int max_blocks;
    int next_number;
    int64_t total;
    vmbi_cancel *stop; /* ends the threads' requests */
    int event;         /* eventfd: a part has ended */
    pthread_t threads[MAX_THREADS];
    int n_threads;
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t work;
    struct part *head;
    struct part *tail;
    int busy; /* parts queued or being sent */
    int idle; /* threads that wait */
    bool quit;
    vmbi_s3_block spare[MAX_THREADS + 1];
    int n_spare;
    vmbi_s3_parts parts;
    vmb_code failed;
    vmb_error *failure;
};

size_t vmbi_s3_create_headers(const vmbi_s3 *s, vmbi_http_header out[4])
{
    const vmbi_s3_config *c = &s->config;
    size_t n = 0;

    if (c->sse) {
        out[n++] = (vmbi_http_header){"x-amz-server-side-encryption", c->sse};
    }
    if (c->kms_key_id) {
        out[n++] = (vmbi_http_header){"x-amz-server-side-encryption-aws-kms-key-id", c->kms_key_id};
    }
    if (c->tagging) {
        out[n++] = (vmbi_http_header){"x-amz-tagging", c->tagging};
    }
    return n;
}

/* ---- begin ----------------------------------------------------------------------------------- */

static vmb_code initiate(vmbi_s3_multipart *m, const vmbi_limits *limits, vmb_error **err)
{
    static const vmbi_http_header params[] = {{"uploads", NULL}};
    const vmbi_s3_config *c = &m->s->config;
    vmbi_http_header headers[5];
    char id[2048];
    vmbi_http_response r;
    vmbi_s3_request q = {.what = m->what,
                         .method = "POST",
                         .key = m->key,
                         .params = params,
                         .n_params = 1,
                         .headers = headers,
                         .body = "",
                         .customer_key = true};
    vmb_code code = VMB_OK;

    q.n_headers = vmbi_s3_create_headers(m->s, headers);
    if (c->checksum != VMBI_S3_CHECKSUM_NONE) {
        headers[q.n_headers++] =
            (vmbi_http_header){"x-amz-checksum-algorithm", vmbi_s3_checksum_name(c->checksum)};
    }
    code = vmbi_s3_perform_ok(m->s, &q, limits, &r, err);
    if (code == VMB_OK &&
        (!vmbi_s3_xml_text(r.body.data, r.body.len, "InitiateMultipartUploadResult/UploadId", id,
                           sizeof(id)) ||
         id[0] == '\0')) {
        code = vmbi_fail(err, VMB_E_PROTOCOL, "%s: the store gave no upload id", m->what);
    }
    vmbi_http_response_free(&r);
    if (code == VMB_OK) {
        m->upload_id = vmbi_strdup(id);
        code = m->upload_id ? VMB_OK : vmbi_fail_nomem(err);
    }
    return code;
}

static vmb_code make(vmbi_s3 *s, const char *key, int max_blocks, vmbi_s3_multipart **out,
                     vmb_error **err)
{
    vmbi_buf what = VMBI_BUF_INIT(2048);
    vmbi_s3_multipart *m = vmbi_zalloc(sizeof(*m));
    vmb_code code = VMB_OK;

    if (!m) {
        return vmbi_fail_nomem(err);
    }
    (void)pthread_mutex_init(&m->lock, NULL); /* cannot fail with default attributes on Linux */
    (void)pthread_cond_init(&m->work, NULL);
    m->s = s;
    m->max_blocks = max_blocks < MAX_THREADS ? max_blocks : MAX_THREADS;
    m->next_number = 1;
    m->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    m->key = vmbi_strdup(key);
    code = vmbi_s3_what("write", key, &what, err);
    if (code == VMB_OK && m->event < 0) {
        code = vmbi_fail_errno(err, errno, "%s: create an event descriptor", what.data);
    }
    if (code == VMB_OK && !m->key) {
        code = vmbi_fail_nomem(err);
    }
    if (code == VMB_OK) {
        code = vmbi_buf_take(&what, &m->what, NULL, err, "write");
    }
    if (code == VMB_OK) {
        code = vmbi_cancel_new(&m->stop, err);
    }
    vmbi_buf_free(&what);
    if (code == VMB_OK) {
        *out = m;
    } else {
        vmbi_s3_multipart_free(m);
    }
    return code;
}

vmb_code vmbi_s3_multipart_begin(vmbi_s3 *s, const char *key, const vmbi_limits *limits,
                                 int max_blocks, vmbi_s3_multipart **out, vmb_error **err)
{
    vmbi_s3_multipart *m = NULL;
    vmb_code code = make(s, key, max_blocks, &m, err);

    if (code == VMB_OK) {
        code = initiate(m, limits, err);
    }
    if (code == VMB_OK) {
        *out = m;
    } else {
        vmbi_s3_multipart_free(m);
    }
    return code;
}

/* ---- the threads ----------------------------------------------------------------------------- */

struct part_check {
    const vmbi_s3_multipart *m;
    char md5[33];
    int wrong;
};

static bool etag_is_wrong(const struct part_check *c, const vmbi_http_response *r)
{
    char etag[VMBI_S3_ETAG_MAX];

    return !vmbi_s3_etag(r, etag) || etag[0] == '\0' ||
           vmbi_s3_etag_differs(c->m->s, r, etag, c->md5);
}

/* A part whose ETag is not its MD5 was changed on the way, or answered for by someone else. */
static bool retry_wrong_etag(void *user, const vmbi_http_response *r, int try_number)
{
    struct part_check *c = user;

    (void)try_number;
    return r->status / 100 == 2 && etag_is_wrong(c, r) && ++c->wrong <= WRONG_ETAG_TRIES;
}

static vmb_code send_part(vmbi_s3_multipart *m, const struct part *p, vmbi_s3_part *result,
                          vmb_error **err)
{
    const vmbi_limits limits = {p->deadline_mono_ns, m->stop};
    const vmbi_s3_checksum kind = m->s->config.checksum;
    struct part_check check = {.m = m};
    char number[16];
    char md5[VMBI_S3_CHECKSUM_SIZE];
    char etag[VMBI_S3_ETAG_MAX];
    const vmbi_http_header params[] = {{"partNumber", number}, {"uploadId", m->upload_id}};
    vmbi_http_header headers[3] = {{"content-md5", md5}};
    vmbi_s3_request q = {.what = m->what,
                         .method = "PUT",
                         .key = m->key,
                         .params = params,
                         .n_params = 2,
                         .headers = headers,
                         .n_headers = 1,
                         .body = p->block.data,
                         .body_len = p->block.len,
                         .customer_key = true,
                         .retry = retry_wrong_etag,
                         .user = &check};
    vmbi_http_response r;
    vmb_code code = VMB_OK;

    (void)snprintf(number, sizeof(number), "%d", p->number);
    vmbi_md5(p->block.data, p->block.len, result->md5);
    vmbi_hex(result->md5, sizeof(result->md5), check.md5);
    vmbi_base64(result->md5, sizeof(result->md5), md5);
    if (kind != VMBI_S3_CHECKSUM_NONE) {
        vmbi_s3_checksum_of(kind, p->block.data, p->block.len, result->checksum);
        headers[q.n_headers++] =
            (vmbi_http_header){vmbi_s3_checksum_header(kind), result->checksum};
        headers[q.n_headers++] =
            (vmbi_http_header){"x-amz-sdk-checksum-algorithm", vmbi_s3_checksum_name(kind)};
    }
    code = vmbi_s3_perform_ok(m->s, &q, &limits, &r, err);
    if (code == VMB_OK && etag_is_wrong(&check, &r)) {
        code = vmbi_fail(err, VMB_E_PROTOCOL,
                         "%s: part %d: the ETag in the answer is not that of the bytes sent",
                         m->what, p->number);
    }
    if (code == VMB_OK && vmbi_s3_etag(&r, etag)) {
        result->etag = vmbi_strdup(etag);
        code = result->etag ? VMB_OK : vmbi_fail_nomem(err);
    }
    vmbi_http_response_free(&r);
    return code;
}

static struct part *next_part(vmbi_s3_multipart *m)
{
    struct part *p = NULL;

    (void)pthread_mutex_lock(&m->lock);
    m->idle++;
    while (!m->head && !m->quit) {
        (void)pthread_cond_wait(&m->work, &m->lock);
    }
    m->idle--;
    p = m->head;
    if (p) {
        m->head = p->next;
        m->tail = m->head ? m->tail : NULL;
    }
    (void)pthread_mutex_unlock(&m->lock);
    return p;
}

/* Takes the outcome of a part and its memory. */
static void end_part(vmbi_s3_multipart *m, struct part *p, vmbi_s3_part *result, vmb_code code,
                     vmb_error *e)
{
    const uint64_t one = 1;
    vmbi_s3_block drop = {NULL, 0, 0};

    (void)pthread_mutex_lock(&m->lock);
    m->busy--;
    if (code == VMB_OK) {
        m->parts.v[p->number - 1] = *result; /* room was made when the part was pushed */
    } else {
        vmbi_free(result->etag);
        if (m->failed == VMB_OK) {
            m->failed = code;
            m->failure = vmbi_steal(&e);
            vmbi_cancel_fire(m->stop);
        }
    }
    if (m->n_spare < m->max_blocks) {
        m->spare[m->n_spare++] = p->block;
    } else {
        drop = p->block;
    }
    (void)pthread_mutex_unlock(&m->lock);
    vmbi_free(drop.data);
    vmb_error_free(e);
    vmbi_free(p);
    if (write(m->event, &one, sizeof(one)) < 0) {
        return; /* the counter is full: readable all the same */
    }
}

static void *thread_main(void *arg)
{
    vmbi_s3_multipart *m = arg;
    struct part *p = NULL;

    while ((p = next_part(m)) != NULL) {
        vmbi_s3_part result;
        vmb_error *e = NULL;
        vmb_code code = VMB_OK;

        memset(&result, 0, sizeof(result));
        code = vmbi_cancel_is_set(m->stop) ? vmbi_fail(&e, VMB_E_CANCELLED, "%s: stopped", m->what)
                                           : send_part(m, p, &result, &e);
        end_part(m, p, &result, code, e);
    }
    return NULL;
}

/* With every signal blocked: the application's handlers belong on its own threads. */
static vmb_code start_thread(vmbi_s3_multipart *m, vmb_error **err)
{
    const int rc = vmbi_thread_start(&m->threads[m->n_threads], thread_main, m);

    if (rc != 0) {
        return vmbi_fail_errno(err, rc, "%s: start a thread", m->what);
    }
    m->n_threads++;
    return VMB_OK;
}

static void stop_threads(vmbi_s3_multipart *m)
{
    int i = 0;

    (void)pthread_mutex_lock(&m->lock);
    m->quit = true;
    (void)pthread_cond_broadcast(&m->work);
    (void)pthread_mutex_unlock(&m->lock);
    for (i = 0; i < m->n_threads; i++) {
        (void)pthread_join(m->threads[i], NULL);
    }
    m->n_threads = 0;
}

/* ---- the caller's side ----------------------------------------------------------------------- */

/* Waits until at most `most` parts are queued or being sent; fails when one has failed. */
static vmb_code wait_busy(vmbi_s3_multipart *m, int most, const vmbi_limits *limits,
                          vmb_error **err)
{
    for (;;) {
        struct pollfd fds[2] = {
            {.fd = m->event, .events = POLLIN},
            {.fd = limits ? vmbi_cancel_fd(limits->cancel) : -1, .events = POLLIN}};
        uint64_t drained = 0;
        vmb_code code = VMB_OK;
        bool ready = false;

        (void)pthread_mutex_lock(&m->lock);
        ready = m->busy <= most;
        code = m->failed;
        if (code != VMB_OK && m->failure) {
            vmbi_error_move(err, &m->failure);
        } else if (code != VMB_OK) {
            code = vmbi_fail(err, code, "%s: an earlier part failed", m->what);
        }
        (void)pthread_mutex_unlock(&m->lock);
        if (code != VMB_OK || ready) {
            return code;
        }
        code = vmbi_limits_check(limits, err, m->what);
        if (code != VMB_OK) {
            return code;
        }
        (void)poll(fds, 2, vmbi_limits_poll_ms(limits, POLL_CAP_MS));
        if (read(m->event, &drained, sizeof(drained)) < 0 && errno != EAGAIN) {
            return vmbi_fail_errno(err, errno, "%s: wait for a part", m->what);
        }
    }
}

vmb_code vmbi_s3_multipart_block(vmbi_s3_multipart *m, size_t cap, const vmbi_limits *limits,
                                 vmbi_s3_block *out, vmb_error **err)
{
    vmbi_s3_block b = {NULL, 0, 0};
    vmb_code code = wait_busy(m, m->max_blocks - 1, limits, err);

    if (code != VMB_OK) {
        return code;
    }
    (void)pthread_mutex_lock(&m->lock);
    if (m->n_spare > 0) {
        b = m->spare[--m->n_spare];
    }
    (void)pthread_mutex_unlock(&m->lock);
    if (b.cap < cap) {
        vmbi_free(b.data);
        b.data = vmbi_alloc(cap);
        b.cap = cap;
    }
    if (!b.data) {
        return vmbi_fail_nomem(err);
    }
    b.len = 0;
    *out = b;
    return VMB_OK;
}

static void enqueue(vmbi_s3_multipart *m, struct part *p, bool *need_thread)
{
    (void)pthread_mutex_lock(&m->lock);
    if (m->tail) {
        m->tail->next = p;
    } else {
        m->head = p;
    }
    m->tail = p;
    m->busy++;
    *need_thread = m->idle == 0 && m->n_threads < m->max_blocks;
    (void)pthread_cond_signal(&m->work);
    (void)pthread_mutex_unlock(&m->lock);
}

vmb_code vmbi_s3_multipart_push(vmbi_s3_multipart *m, vmbi_s3_block *block,
                                const vmbi_limits *limits, vmb_error **err)
{
    struct part *p = vmbi_zalloc(sizeof(*p));
    bool need_thread = false;
    vmb_code code = p ? VMB_OK : vmbi_fail_nomem(err);

    if (code == VMB_OK && m->next_number > m->s->config.max_parts) {
        code =
            vmbi_fail(err, VMB_E_LIMIT, "%s: more than %d parts", m->what, m->s->config.max_parts);
    }
    if (code == VMB_OK) {
        (void)pthread_mutex_lock(&m->lock);
        code = vmbi_s3_parts_reserve(&m->parts, (size_t)m->next_number, err);
        (void)pthread_mutex_unlock(&m->lock);
    }
    if (code != VMB_OK) {
        vmbi_free(block->data);
        vmbi_free(p);
        *block = (vmbi_s3_block){NULL, 0, 0};
        return code;
    }
    p->number = m->next_number++;
    p->block = *block;
    p->deadline_mono_ns = limits ? limits->deadline_mono_ns : 0;
    m->total += (int64_t)block->len;
    *block = (vmbi_s3_block){NULL, 0, 0};
    enqueue(m, p, &need_thread);
    if (need_thread) {
        code = start_thread(m, err);
        if (code != VMB_OK && m->n_threads > 0) {
            vmb_error_free(err ? vmbi_steal(err) : NULL); /* those that run will do */
            code = VMB_OK;
        }
    }
    return code;
}

vmb_code vmbi_s3_multipart_complete(vmbi_s3_multipart *m, bool if_absent, const vmbi_limits *limits,
                                    vmb_error **err)
{
    vmbi_s3_completion c;
    vmb_code code = wait_busy(m, 0, limits, err);

    if (code != VMB_OK) {
        return code;
    }
    stop_threads(m);
    memset(&c, 0, sizeof(c));
    c.key = m->key;
    c.what = m->what;
    c.upload_id = m->upload_id;
    c.parts = &m->parts;
    c.n_parts = (size_t)m->next_number - 1;
    c.total = m->total;
    c.if_absent = if_absent;
    return vmbi_s3_complete(m->s, &c, limits, err);
}

void vmbi_s3_multipart_abort(vmbi_s3_multipart *m)
{
    /* Own limits: the run may be cancelled, the parts must go all the same. */
    const vmbi_limits limits = vmbi_limits_within(NULL, ABORT_NS);
    const vmbi_http_header params[] = {{"uploadId", m->upload_id}};
    const vmbi_s3_request q = {
        .what = m->what, .method = "DELETE", .key = m->key, .params = params, .n_params = 1};
    vmbi_http_response r;

    vmbi_cancel_fire(m->stop);
    stop_threads(m);
    (void)vmbi_s3_perform(m->s, &q, &limits, &r, NULL); /* nobody could act on a failure */
    vmbi_http_response_free(&r);
}

void vmbi_s3_multipart_free(vmbi_s3_multipart *m)
{
    int i = 0;

    if (!m) {
        return;
    }
    if (m->stop) {
        vmbi_cancel_fire(m->stop);
    }
    stop_threads(m);
    while (m->head) {
        struct part *p = m->head;

        m->head = p->next;
        vmbi_free(p->block.data);
        vmbi_free(p);
    }
    for (i = 0; i < m->n_spare; i++) {
        vmbi_free(m->spare[i].data);
    }
    vmbi_s3_parts_free(&m->parts);
    vmb_error_free(m->failure);
    vmbi_cancel_free(m->stop);
    if (m->event >= 0) {
        (void)close(m->event);
    }
    (void)pthread_cond_destroy(&m->work);
    (void)pthread_mutex_destroy(&m->lock);
    vmbi_free(m->key);
    vmbi_free(m->what);
    vmbi_free(m->upload_id);
    vmbi_free(m);
}
