/* SPDX-License-Identifier: Apache-2.0 */
#include "core/store.h"

#include <string.h>

#include "base/error.h"
#include "base/job.h"

enum { MAX_KEY = 1024 };

vmb_code vmbi_store_key(const vmbi_store *s, const char *path, vmbi_buf *out, vmb_error **err)
{
    vmbi_buf_reset(out);
    vmbi_buf_adds(out, s->location->prefix);
    if (out->len != 0 && path[0] != '\0') {
        vmbi_buf_addc(out, '/');
    }
    vmbi_buf_adds(out, path);
    return vmbi_buf_check(out, err, "store key");
}

static vmb_job limit(const vmbi_store *s, const vmb_job *job)
{
    vmb_job limited = *job;
    limited.limits = vmbi_limits_within(&job->limits, s->timeout_ns);
    return limited;
}

vmb_code vmbi_put_begin(vmbi_put *p, const vmbi_store *s, vmb_job *job, const char *path,
                        uint32_t flags, vmb_error **err)
{
    vmbi_buf key = VMBI_BUF_INIT(MAX_KEY);
    vmb_code rc = vmbi_store_key(s, path, &key, err);
    *p = (vmbi_put){&s->location->store, job, NULL, 0};
    if (rc == VMB_OK) {
        void *op = NULL;
        rc = p->provider->put_begin(p->provider->user, job, key.data, -1, flags, &op, err);
        rc = vmbi_check_provider(err, rc, "store an object");
        if (rc == VMB_OK && op == NULL) {
            rc = vmbi_fail(err, VMB_E_PROVIDER, "store an object: put_begin gave no operation");
        }
        p->op = rc == VMB_OK ? op : NULL;
    }
    vmbi_buf_free(&key);
    return rc != VMB_OK ? vmbi_wrap(err, rc, "store %s", path) : VMB_OK;
}

vmb_code vmbi_put_write(void *put, const void *data, size_t len, vmb_error **err)
{
    vmbi_put *p = put;
    vmb_code rc = p->provider->put_write(p->provider->user, p->job, p->op, data, len, err);
    p->bytes += (int64_t)len;
    return vmbi_check_provider(err, rc, "store an object");
}

vmb_code vmbi_put_commit(vmbi_put *p, vmb_error **err)
{
    void *op = p->op;
    p->op = NULL; /* ended also when the commit fails */
    vmb_code rc = p->provider->put_commit(p->provider->user, p->job, op, err);
    return vmbi_check_provider(err, rc, "store an object");
}

void vmbi_put_abort(vmbi_put *p)
{
    if (p->op != NULL) {
        p->provider->put_abort(p->provider->user, p->op);
        p->op = NULL;
    }
}

vmb_code vmbi_store_put(const vmbi_store *s, vmb_job *job, const char *path, const void *data,
                        size_t len, uint32_t flags, vmb_error **err)
{
    vmb_job limited = limit(s, job);
    vmbi_put put;
    vmb_code rc = vmbi_put_begin(&put, s, &limited, path, flags, err);
    if (rc != VMB_OK) {
        return rc;
    }
    if (len > 0) {
        rc = vmbi_put_write(&put, data, len, err);
    }
    if (rc == VMB_OK) {
        rc = vmbi_put_commit(&put, err);
    } else {
        vmbi_put_abort(&put);
    }
    return rc != VMB_OK ? vmbi_wrap(err, rc, "store %s", path) : VMB_OK;
}

vmb_code vmbi_store_get(const vmbi_store *s, vmb_job *job, const char *path, vmbi_buf *out,
                        vmb_error **err)
{
    vmbi_buf key = VMBI_BUF_INIT(MAX_KEY);
    vmb_job limited = limit(s, job);
    struct vmb_sink sink = vmbi_sink_to_buf(out);
    vmb_code rc = vmbi_store_key(s, path, &key, err);
    if (rc == VMB_OK) {
        const vmb_store_provider *p = &s->location->store;
        rc = p->get(p->user, &limited, key.data, 0, -1, &sink, err);
        rc = vmbi_check_provider(err, rc, "read an object");
    }
    vmbi_buf_free(&key);
    return rc != VMB_OK ? vmbi_wrap(err, rc, "read %s", path) : VMB_OK;
}

vmb_code vmbi_store_exists(const vmbi_store *s, vmb_job *job, const char *path, bool *yes,
                           int64_t *size, vmb_error **err)
{
    vmbi_buf key = VMBI_BUF_INIT(MAX_KEY);
    vmb_job limited = limit(s, job);
    int64_t bytes = 0;
    int64_t mtime = 0;
    vmb_error *why = NULL;
    vmb_code rc = vmbi_store_key(s, path, &key, &why);
    if (rc == VMB_OK) {
        const vmb_store_provider *p = &s->location->store;
        rc = p->stat(p->user, &limited, key.data, &bytes, &mtime, &why);
        rc = vmbi_check_provider(&why, rc, "look at an object");
    }
    vmbi_buf_free(&key);
    if (rc == VMB_OK || rc == VMB_E_NOT_FOUND) {
        *yes = rc == VMB_OK;
        if (size != NULL) {
            *size = bytes;
        }
        vmb_error_free(why);
        return VMB_OK;
    }
    vmbi_error_move(err, &why);
    return vmbi_wrap(err, rc, "look for %s", path);
}

vmb_code vmbi_store_remove(const vmbi_store *s, vmb_job *job, const char *path, vmb_error **err)
{
    vmbi_buf key = VMBI_BUF_INIT(MAX_KEY);
    vmb_job limited = limit(s, job);
    vmb_code rc = vmbi_store_key(s, path, &key, err);
    if (rc == VMB_OK) {
        const vmb_store_provider *p = &s->location->store;
        rc = p->remove(p->user, &limited, key.data, err);
        rc = vmbi_check_provider(err, rc, "remove an object");
    }
    vmbi_buf_free(&key);
    return rc != VMB_OK ? vmbi_wrap(err, rc, "remove %s", path) : VMB_OK;
}

struct strip {
    vmb_key_sink *out;
    const char *asked; /* what every key must begin with: those listed may be removed */
    size_t prefix_len; /* of the location's part of it */
};

static vmb_code strip_prefix(void *user, const char *key, int64_t size, int64_t mtime,
                             int32_t is_prefix, vmb_error **err)
{
    struct strip *s = user;
    if (strncmp(key, s->asked, strlen(s->asked)) != 0) {
        return vmbi_fail(err, VMB_E_PROVIDER, "the store listed \"%.200s\", which does not begin "
                         "with \"%.200s\"", key, s->asked);
    }
    return s->out->push(s->out->user, key + s->prefix_len, size, mtime, is_prefix, err);
}

vmb_code vmbi_store_list(const vmbi_store *s, vmb_job *job, const char *path,
                         const char *delimiter, vmb_key_sink *out, vmb_error **err)
{
    vmbi_buf key = VMBI_BUF_INIT(MAX_KEY);
    size_t prefix_len = strlen(s->location->prefix);
    struct strip strip = {out, "", prefix_len != 0 ? prefix_len + 1 : 0};
    struct vmb_key_sink sink = {strip_prefix, &strip};
    vmb_code rc = vmbi_store_key(s, path, &key, err);
    if (rc == VMB_OK && prefix_len != 0 && path[0] == '\0') {
        vmbi_buf_addc(&key, '/');
        rc = vmbi_buf_check(&key, err, "store key");
    }
    if (rc == VMB_OK) {
        const vmb_store_provider *p = &s->location->store;
        strip.asked = key.data != NULL ? key.data : "";
        rc = p->list(p->user, job, strip.asked, delimiter, &sink, err);
        rc = vmbi_check_provider(err, rc, "list objects");
    }
    vmbi_buf_free(&key);
    return rc != VMB_OK ? vmbi_wrap(err, rc, "list %s", path[0] != '\0' ? path : "the top level")
                        : VMB_OK;
}
