/* SPDX-License-Identifier: Apache-2.0 */
#include "bridge.h"

#include "_cgo_export.h"

/* cgo writes no const: the exported functions take plain pointers and change nothing */
static char *plain(const char *text)
{
    return (char *)(uintptr_t)text;
}

static void destroy(void *user)
{
    goDestroy((uintptr_t)user);
}

static vmb_code put_begin(void *user, vmb_job *job, const char *key, int64_t size_hint,
                          uint32_t put_flags, void **op, vmb_error **err)
{
    uintptr_t number = 0;
    vmb_code code = goPutBegin((uintptr_t)user, job, plain(key), put_flags, &number, err);

    (void)size_hint;
    if (code == VMB_OK) {
        *op = (void *)number;
    }
    return code;
}

static vmb_code put_write(void *user, vmb_job *job, void *op, const void *data, size_t len,
                          vmb_error **err)
{
    (void)user;
    (void)job;
    return goPutWrite((uintptr_t)op, (void *)(uintptr_t)data, len, err);
}

static vmb_code put_commit(void *user, vmb_job *job, void *op, vmb_error **err)
{
    return goPutCommit((uintptr_t)user, job, (uintptr_t)op, err);
}

static void put_abort(void *user, void *op)
{
    (void)user;
    goPutAbort((uintptr_t)op);
}

static vmb_code get(void *user, vmb_job *job, const char *key, int64_t offset, int64_t length,
                    vmb_sink *out, vmb_error **err)
{
    return goGet((uintptr_t)user, job, plain(key), offset, length, out, err);
}

static vmb_code stat_key(void *user, vmb_job *job, const char *key, int64_t *size_bytes,
                         int64_t *mtime_unix_ns, vmb_error **err)
{
    *mtime_unix_ns = -1;
    return goStat((uintptr_t)user, job, plain(key), size_bytes, err);
}

static vmb_code list(void *user, vmb_job *job, const char *prefix, const char *delimiter,
                     vmb_key_sink *out, vmb_error **err)
{
    return goList((uintptr_t)user, job, plain(prefix), plain(delimiter), out, err);
}

static vmb_code remove_key(void *user, vmb_job *job, const char *key, vmb_error **err)
{
    return goRemove((uintptr_t)user, job, plain(key), err);
}

vmb_code bridge_add_store(vmb_ctx *ctx, const char *location, const char *prefix, int32_t is_default,
                          uintptr_t user, vmb_error **err)
{
    vmb_store_provider p = {0};

    p.struct_size = sizeof(p);
    p.api_version = VMB_PROVIDER_API;
    p.name = "go store";
    p.user = (void *)user;
    p.destroy = destroy;
    p.put_begin = put_begin;
    p.put_write = put_write;
    p.put_commit = put_commit;
    p.put_abort = put_abort;
    p.get = get;
    p.stat = stat_key;
    p.list = list;
    p.remove = remove_key;
    return vmb_ctx_add_store_provider(ctx, location, prefix, is_default, &p, err);
}

static vmb_code exec_command(void *user, vmb_job *job, const char *ns, const char *pod,
                             const char *container, const char *const *argv, size_t argc,
                             vmb_sink *out, vmb_sink *errout, int32_t *exit_code, vmb_error **err)
{
    return goExec((uintptr_t)user, job, plain(ns), plain(pod), plain(container),
                  (char **)(uintptr_t)argv, argc, out, errout, exit_code, err);
}

vmb_code bridge_add_exec(vmb_ctx *ctx, uintptr_t user, vmb_error **err)
{
    vmb_exec_provider p = {0};

    p.struct_size = sizeof(p);
    p.api_version = VMB_PROVIDER_API;
    p.name = "go exec";
    p.user = (void *)user;
    p.destroy = destroy;
    p.exec = exec_command;
    return vmb_ctx_add_exec_provider(ctx, &p, err);
}

static void on_event(void *user, const vmb_event *event)
{
    goEvent((uintptr_t)user, (vmb_event *)(uintptr_t)event);
}

vmb_code bridge_set_event_fn(vmb_run *run, uintptr_t user, vmb_error **err)
{
    return vmb_run_set_event_fn(run, on_event, (void *)user, err);
}

vmb_code bridge_repo_set_event_fn(vmb_repo *repo, uintptr_t user, vmb_error **err)
{
    return vmb_repo_set_event_fn(repo, on_event, (void *)user, err);
}

static vmb_code on_data(void *user, const void *data, size_t len)
{
    return goData((uintptr_t)user, (void *)(uintptr_t)data, len);
}

vmb_code bridge_read(vmb_catalog *cat, const char *backup, int32_t file, uintptr_t user,
                     vmb_error **err)
{
    return vmb_catalog_read(cat, backup, file, on_data, (void *)user, err);
}

const char *bridge_word(const char *const *argv, size_t i)
{
    return argv[i];
}
