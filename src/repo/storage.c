/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/storage.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/job.h"

enum { MAX_KEY = 1024 };

vmb_code vmbi_storage_init(vmbi_storage *s, const vmb_store_provider *store, vmb_job *job,
                           const char *prefix, vmb_error **err)
{
    const size_t len = prefix != NULL ? strlen(prefix) : 0;
    char *owned = NULL;

    if (len > MAX_KEY / 2 || (len > 0 && (prefix[0] == '/' || prefix[len - 1] == '/'))) {
        return vmbi_fail(err, VMB_E_ARG, "repository prefix \"%.64s\": longer than %d bytes, or a '/'"
                         " at an end", prefix, MAX_KEY / 2);
    }
    owned = vmbi_alloc(len + 2);
    if (owned == NULL) {
        return vmbi_fail_nomem(err);
    }
    memcpy(owned, len > 0 ? prefix : "", len);
    owned[len] = len > 0 ? '/' : '\0';
    owned[len + 1] = '\0';
    if (pthread_mutex_init(&s->serial, NULL) != 0) {
        vmbi_free(owned);
        return vmbi_fail_nomem(err);
    }
    s->store = store;
    s->job = job;
    s->prefix = owned;
    return VMB_OK;
}

void vmbi_storage_done(vmbi_storage *s)
{
    if (s->prefix != NULL) {
        (void)pthread_mutex_destroy(&s->serial);
        vmbi_free(s->prefix);
        s->prefix = NULL;
    }
}

static void enter(vmbi_storage *s)
{
    if ((s->store->flags & VMB_PROVIDER_SERIAL) != 0) {
        (void)pthread_mutex_lock(&s->serial);
    }
}

static void leave(vmbi_storage *s)
{
    if ((s->store->flags & VMB_PROVIDER_SERIAL) != 0) {
        (void)pthread_mutex_unlock(&s->serial);
    }
}

static vmb_code make_key(const vmbi_storage *s, const char *path, char key[MAX_KEY + 1],
                         vmb_error **err)
{
    const size_t a = strlen(s->prefix);
    const size_t b = strlen(path);

    if (a + b > MAX_KEY) {
        return vmbi_fail(err, VMB_E_LIMIT, "%s: the name is longer than %d bytes", path, MAX_KEY);
    }
    memcpy(key, s->prefix, a);
    memcpy(key + a, path, b + 1);
    return VMB_OK;
}

static vmb_code begin(vmbi_storage *s, vmb_job *job, const char *key, size_t len, uint32_t flags,
                      void **op, vmb_error **err)
{
    vmb_code code = s->store->put_begin(s->store->user, job, key, (int64_t)len, flags, op, err);

    code = vmbi_check_provider(err, code, "put_begin");
    if (code == VMB_OK && *op == NULL) {
        code = vmbi_fail(err, VMB_E_PROVIDER, "put_begin gave no operation");
    }
    return code;
}

vmb_code vmbi_storage_put(vmbi_storage *s, vmb_job *job, const char *path, const void *data,
                          size_t len, uint32_t flags, vmb_error **err)
{
    char key[MAX_KEY + 1];
    void *op = NULL;
    vmb_code code = make_key(s, path, key, err);

    if (code != VMB_OK) {
        return code;
    }
    job = job != NULL ? job : s->job;
    enter(s);
    code = begin(s, job, key, len, flags, &op, err);
    leave(s);
    if (code == VMB_OK) {
        enter(s);
        code = vmbi_check_provider(err, s->store->put_write(s->store->user, job, op, data, len, err),
                                   "put_write");
        leave(s);
        enter(s);
        if (code == VMB_OK) {
            code = vmbi_check_provider(err, s->store->put_commit(s->store->user, job, op, err),
                                       "put_commit");
        } else {
            s->store->put_abort(s->store->user, op);
        }
        leave(s);
    }
    return code == VMB_OK ? VMB_OK : vmbi_wrap(err, code, "store %s", path);
}

static vmb_code get(vmbi_storage *s, const char *path, int64_t offset, int64_t len,
                    struct vmb_sink *sink, vmb_error **err)
{
    char key[MAX_KEY + 1];
    vmb_code code = make_key(s, path, key, err);

    if (code != VMB_OK) {
        return code;
    }
    enter(s);
    code = s->store->get(s->store->user, s->job, key, offset, len, sink, err);
    leave(s);
    code = vmbi_check_provider(err, code, "get");
    return code == VMB_OK ? VMB_OK : vmbi_wrap(err, code, "read %s", path);
}

vmb_code vmbi_storage_get(vmbi_storage *s, const char *path, vmbi_buf *out, vmb_error **err)
{
    struct vmb_sink sink = vmbi_sink_to_buf(out);

    return get(s, path, 0, -1, &sink, err);
}

typedef struct window {
    uint8_t *at;
    size_t room;
} window;

static vmb_code window_write(void *user, const void *data, size_t len, vmb_error **err)
{
    window *w = user;

    if (len > w->room) {
        return vmbi_fail(err, VMB_E_PROVIDER, "the store gave more than was asked for");
    }
    if (len > 0) {
        memcpy(w->at, data, len);
    }
    w->at += len;
    w->room -= len;
    return VMB_OK;
}

vmb_code vmbi_storage_read(vmbi_storage *s, const char *path, uint64_t offset, void *out,
                           size_t len, vmb_error **err)
{
    window w = {out, len};
    struct vmb_sink sink = {window_write, &w};
    vmb_error *why = NULL;
    vmb_code code = VMB_OK;

    if (len == 0) {
        return VMB_OK;
    }
    if (offset > INT64_MAX || len > INT64_MAX) {
        return vmbi_fail(err, VMB_E_LIMIT, "read %s: the position is too large", path);
    }
    code = get(s, path, (int64_t)offset, (int64_t)len, &sink, &why);
    if (code == VMB_E_ARG) { /* the store's word for a range past the end */
        vmb_error_free(why);
        return vmbi_fail(err, VMB_E_INVALID, "read %s: the file ends before byte %llu", path,
                         (unsigned long long)offset);
    }
    vmbi_error_move(err, &why);
    if (code == VMB_OK && w.room > 0) {
        return vmbi_fail(err, VMB_E_INVALID, "read %s: the file ends %zu bytes early", path, w.room);
    }
    return code;
}

vmb_code vmbi_storage_exists(vmbi_storage *s, vmb_job *job, const char *path, bool *yes,
                             vmb_error **err)
{
    char key[MAX_KEY + 1];
    int64_t size = 0, mtime = 0;
    vmb_error *why = NULL;
    vmb_code code = make_key(s, path, key, err);

    if (code != VMB_OK) {
        return code;
    }
    enter(s);
    code = s->store->stat(s->store->user, job != NULL ? job : s->job, key, &size, &mtime, &why);
    leave(s);
    if (code == VMB_E_NOT_FOUND) {
        vmb_error_free(why);
        *yes = false;
        return VMB_OK;
    }
    vmbi_error_move(err, &why);
    code = vmbi_check_provider(err, code, "stat");
    if (code != VMB_OK) {
        return vmbi_wrap(err, code, "look for %s", path);
    }
    *yes = true;
    return VMB_OK;
}

vmb_code vmbi_storage_remove(vmbi_storage *s, vmb_job *job, const char *path, vmb_error **err)
{
    char key[MAX_KEY + 1];
    vmb_code code = make_key(s, path, key, err);

    if (code != VMB_OK) {
        return code;
    }
    enter(s);
    code = s->store->remove(s->store->user, job != NULL ? job : s->job, key, err);
    leave(s);
    code = vmbi_check_provider(err, code, "remove");
    return code == VMB_OK ? VMB_OK : vmbi_wrap(err, code, "remove %s", path);
}

typedef struct listing {
    const vmbi_storage *s;
    vmbi_storage_list_fn fn;
    void *user;
} listing;

static vmb_code list_push(void *user, const char *key, int64_t size_bytes, int64_t mtime_unix_ns,
                          int32_t is_prefix, vmb_error **err)
{
    listing *l = user;
    const size_t skip = strlen(l->s->prefix);
    const char *name = strrchr(key, '/');

    (void)mtime_unix_ns;
    if (is_prefix || strncmp(key, l->s->prefix, skip) != 0) {
        return VMB_OK;
    }
    return l->fn(l->user, key + skip, name != NULL ? name + 1 : key, size_bytes, err);
}

vmb_code vmbi_storage_list(vmbi_storage *s, const char *path, vmbi_storage_list_fn fn, void *user,
                           vmb_error **err)
{
    char key[MAX_KEY + 1];
    listing l = {s, fn, user};
    struct vmb_key_sink sink = {list_push, &l};
    vmb_code code = make_key(s, path, key, err);

    if (code != VMB_OK) {
        return code;
    }
    enter(s);
    code = s->store->list(s->store->user, s->job, key, NULL, &sink, err);
    leave(s);
    code = vmbi_check_provider(err, code, "list");
    return code == VMB_OK ? VMB_OK : vmbi_wrap(err, code, "list %s", path);
}
