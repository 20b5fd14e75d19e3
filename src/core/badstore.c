/* SPDX-License-Identifier: Apache-2.0 */
#include "core/badstore.h"

#include "base/alloc.h"
#include "base/error.h"

typedef struct badstore {
    vmb_code code;
    char *message;
} badstore;

static vmb_code refuse(void *user, vmb_error **err)
{
    const badstore *b = user;
    return vmbi_fail(err, b->code, "%s", b->message);
}

static void destroy(void *user)
{
    badstore *b = user;
    vmbi_free(b->message);
    vmbi_free(b);
}

static vmb_code put_begin(void *user, vmb_job *job, const char *key, int64_t size_hint,
                          uint32_t put_flags, void **op, vmb_error **err)
{
    (void)job;
    (void)key;
    (void)size_hint;
    (void)put_flags;
    (void)op;
    return refuse(user, err);
}

/* The rest of an object that cannot be begun is never called. */
static vmb_code put_write(void *user, vmb_job *job, void *op, const void *data, size_t len,
                          vmb_error **err)
{
    (void)job;
    (void)op;
    (void)data;
    (void)len;
    return refuse(user, err);
}

static vmb_code put_commit(void *user, vmb_job *job, void *op, vmb_error **err)
{
    (void)job;
    (void)op;
    return refuse(user, err);
}

static void put_abort(void *user, void *op)
{
    (void)user;
    (void)op;
}

static vmb_code get(void *user, vmb_job *job, const char *key, int64_t offset, int64_t length,
                    vmb_sink *out, vmb_error **err)
{
    (void)job;
    (void)key;
    (void)offset;
    (void)length;
    (void)out;
    return refuse(user, err);
}

static vmb_code stat_key(void *user, vmb_job *job, const char *key, int64_t *size_bytes,
                         int64_t *mtime_unix_ns, vmb_error **err)
{
    (void)job;
    (void)key;
    (void)size_bytes;
    (void)mtime_unix_ns;
    return refuse(user, err);
}

static vmb_code list(void *user, vmb_job *job, const char *prefix, const char *delimiter,
                     vmb_key_sink *out, vmb_error **err)
{
    (void)job;
    (void)prefix;
    (void)delimiter;
    (void)out;
    return refuse(user, err);
}

static vmb_code remove_key(void *user, vmb_job *job, const char *key, vmb_error **err)
{
    (void)job;
    (void)key;
    return refuse(user, err);
}

vmb_code vmbi_badstore_new(vmb_code code, const char *message, vmb_store_provider *out,
                           vmb_error **err)
{
    badstore *b = vmbi_zalloc(sizeof(*b));
    char *copy = vmbi_strdup(message);
    if (b == NULL || copy == NULL) {
        vmbi_free(b);
        vmbi_free(copy);
        return vmbi_fail_nomem(err);
    }
    /* a store's "not found" speaks of an object: that of its Secret must not be taken for one */
    *b = (badstore){code == VMB_E_NOT_FOUND ? VMB_E_INVALID : code, copy};
    *out = (vmb_store_provider){
        .struct_size = sizeof(*out),
        .api_version = VMB_PROVIDER_API,
        .name = "unusable store",
        .user = b,
        .destroy = destroy,
        .put_begin = put_begin,
        .put_write = put_write,
        .put_commit = put_commit,
        .put_abort = put_abort,
        .get = get,
        .stat = stat_key,
        .list = list,
        .remove = remove_key,
    };
    return VMB_OK;
}
