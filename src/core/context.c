/* SPDX-License-Identifier: Apache-2.0 */
#include "core/context.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/strs.h"
#include "codec/duration.h"
#include "core/vtable.h"
#include "model/snapshot_location.h"

enum { MAX_PROVIDERS = 256 };

/* Size of a table as it was in the first release: everything up to and including `last`. Later
 * functions are optional. */
#define FIRST_SIZE(type, last) (offsetof(type, last) + sizeof(((type *)NULL)->last))

static bool init_lock(pthread_mutex_t *lock)
{
    pthread_mutexattr_t attr;
    if (pthread_mutexattr_init(&attr) != 0) {
        return false;
    }
    /* a callback of a run may ask the catalogue: same thread, same lock */
    bool ok = pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE) == 0 &&
              pthread_mutex_init(lock, &attr) == 0;
    (void)pthread_mutexattr_destroy(&attr);
    return ok;
}

vmb_code vmbi_ctx_new(vmb_ctx **out, vmb_error **err)
{
    vmb_ctx *ctx = vmbi_zalloc(sizeof(*ctx));
    if (ctx == NULL) {
        return vmbi_fail_nomem(err);
    }
    atomic_init(&ctx->refs, 1);
    atomic_init(&ctx->frozen, false);
    ctx->pid = getpid();
    ctx->settings = (vmbi_settings){
        .ns = vmbi_strdup("velero"),
        .page_size = 500,
        .log_level = VMB_LOG_INFO,
        .hook_timeout_ns = INT64_C(30) * 1000000000,
        .resource_timeout_ns = INT64_C(600) * 1000000000,
        .snapshot_poll_ns = INT64_C(1000000000),
        .fs_backup_timeout_ns = INT64_C(4) * 3600 * 1000000000, /* Velero's fs-backup-timeout */
        .volume_workers = 1,
        .strict_hooks = true,
    };
    ctx->settings.snapshot_locations = vmbi_strdup("");
    if (ctx->settings.ns == NULL || ctx->settings.snapshot_locations == NULL ||
        !init_lock(&ctx->serial_lock)) {
        vmbi_free(ctx->settings.ns);
        vmbi_free(ctx->settings.snapshot_locations);
        vmbi_free(ctx);
        return vmbi_fail_nomem(err);
    }
    *out = ctx;
    return VMB_OK;
}

static void free_locations(vmb_ctx *ctx)
{
    for (size_t i = 0; i < ctx->n_locations; i++) {
        vmbi_store_location *l = &ctx->locations[i];
        vmbi_vtable_destroy(&l->store);
        vmbi_free_const(l->store.name);
        vmbi_free(l->name);
        vmbi_free(l->prefix);
        vmbi_json_free(l->resource);
    }
    vmbi_free(ctx->locations);
}

static void free_providers(vmb_ctx *ctx)
{
    vmbi_vtable_destroy(&ctx->cluster);
    vmbi_vtable_destroy(&ctx->exec);
    for (size_t i = 0; i < ctx->n_snapshots; i++) {
        vmbi_vtable_destroy(&ctx->snapshots[i]);
        vmbi_free_const(ctx->snapshots[i].name);
    }
    for (size_t i = 0; i < ctx->n_volumes; i++) {
        vmbi_vtable_destroy(&ctx->volumes[i]);
        vmbi_free_const(ctx->volumes[i].name);
    }
    for (size_t i = 0; i < ctx->n_actions; i++) {
        vmbi_vtable_destroy(&ctx->actions[i]);
        vmbi_free_const(ctx->actions[i].name);
        vmbi_free_const(ctx->actions[i].applies_to);
    }
    vmbi_free_const(ctx->cluster.name);
    vmbi_free_const(ctx->exec.name);
    vmbi_free(ctx->snapshots);
    vmbi_free(ctx->volumes);
    vmbi_free(ctx->actions);
}

void vmbi_ctx_unref(vmb_ctx *ctx)
{
    /* acq_rel: the last holder sees everything the others wrote */
    if (atomic_fetch_sub_explicit(&ctx->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    if (getpid() == ctx->pid) {
        free_locations(ctx);
    }
    if (getpid() == ctx->pid && ctx->parent == NULL) {
        free_providers(ctx);
        if (ctx->log_destroy != NULL) {
            ctx->log_destroy(ctx->log_user);
        }
    }
    (void)pthread_mutex_destroy(&ctx->serial_lock);
    if (ctx->parent != NULL) {
        vmbi_ctx_unref(ctx->parent);
    } else {
        vmbi_free(ctx->settings.ns);
        vmbi_free(ctx->settings.snapshot_locations);
    }
    vmbi_free(ctx);
}

vmb_code vmbi_ctx_derive(vmb_ctx *parent, vmb_ctx **out, vmb_error **err)
{
    vmb_ctx *ctx = vmbi_alloc(sizeof(*ctx));
    if (ctx == NULL) {
        return vmbi_fail_nomem(err);
    }
    memcpy(ctx, parent, sizeof(*ctx)); /* shares what the parent owns, but its locations */
    ctx->locations = NULL;
    ctx->n_locations = 0;
    atomic_init(&ctx->refs, 1);
    atomic_init(&ctx->frozen, false);
    if (!init_lock(&ctx->serial_lock)) {
        vmbi_free(ctx);
        return vmbi_fail_nomem(err);
    }
    ctx->parent = vmb_ctx_ref(parent);
    vmbi_ctx_freeze(parent);
    *out = ctx;
    return VMB_OK;
}

void vmbi_ctx_enter(vmb_ctx *ctx)
{
    if (ctx->serial) {
        (void)pthread_mutex_lock(&ctx->serial_lock);
    }
}

void vmbi_ctx_leave(vmb_ctx *ctx)
{
    if (ctx->serial) {
        (void)pthread_mutex_unlock(&ctx->serial_lock);
    }
}

vmb_code vmbi_ctx_check(const vmb_ctx *ctx, bool change, vmb_error **err)
{
    if (getpid() != ctx->pid) {
        return vmbi_fail(err, VMB_E_FORKED, "context: created by another process; a child process "
                                            "must create its own");
    }
    if (change && atomic_load_explicit(&ctx->frozen, memory_order_acquire)) {
        return vmbi_fail(err, VMB_E_STATE,
                         "context: in use by a run or catalogue and no longer changeable");
    }
    return VMB_OK;
}

void vmbi_ctx_freeze(vmb_ctx *ctx)
{
    atomic_store_explicit(&ctx->frozen, true, memory_order_release);
}

/* ---- settings ------------------------------------------------------------------------------ */

static vmb_code bad_value(vmb_error **err, const char *key, const char *value, const char *wanted)
{
    return vmbi_fail(err, VMB_E_ARG, "setting %s: \"%s\" is not %s", key, value, wanted);
}

static vmb_code set_duration(int64_t *field, const char *key, const char *value, vmb_error **err)
{
    int64_t ns = 0;
    if (!vmbi_duration_parse(value, &ns) || ns <= 0) {
        return bad_value(err, key, value, "a positive Go duration such as 30s or 1h30m");
    }
    *field = ns;
    return VMB_OK;
}

static vmb_code set_number(int64_t *field, int64_t max, const char *key, const char *value,
                           vmb_error **err)
{
    int64_t n = 0;
    char wanted[64];
    if (!vmbi_parse_i64(value, strlen(value), &n) || n < 1 || n > max) {
        (void)snprintf(wanted, sizeof(wanted), "a number from 1 to %lld", (long long)max);
        return bad_value(err, key, value, wanted);
    }
    *field = n;
    return VMB_OK;
}

static vmb_code set_level(vmbi_settings *s, const char *key, const char *value, vmb_error **err)
{
    static const char *const names[] = {"debug", "info", "warning", "error"};
    for (int32_t i = 0; i < 4; i++) {
        if (strcmp(value, names[i]) == 0) {
            s->log_level = i;
            return VMB_OK;
        }
    }
    return bad_value(err, key, value, "one of debug, info, warning, error");
}

static vmb_code set_namespace(vmbi_settings *s, const char *key, const char *value,
                              vmb_error **err)
{
    size_t len = strlen(value);
    if (len == 0 || len > 63) {
        return bad_value(err, key, value, "a namespace");
    }
    char *copy = vmbi_strdup(value);
    if (copy == NULL) {
        return vmbi_fail_nomem(err);
    }
    vmbi_free(s->ns);
    s->ns = copy;
    return VMB_OK;
}

static vmb_code set_snapshot_locations(vmbi_settings *s, const char *key, const char *value,
                                       vmb_error **err)
{
    if (!vmbi_snapshot_defaults_ok(value)) {
        return bad_value(err, key, value, "a list such as aws:location,gcp:other");
    }
    char *copy = vmbi_strdup(value);
    if (copy == NULL) {
        return vmbi_fail_nomem(err);
    }
    vmbi_free(s->snapshot_locations);
    s->snapshot_locations = copy;
    return VMB_OK;
}

vmb_code vmbi_ctx_set(vmb_ctx *ctx, const char *key, const char *value, vmb_error **err)
{
    vmbi_settings *s = &ctx->settings;
    if (strcmp(key, "namespace") == 0) {
        return set_namespace(s, key, value, err);
    }
    if (strcmp(key, "default-snapshot-locations") == 0) {
        return set_snapshot_locations(s, key, value, err);
    }
    if (strcmp(key, "page-size") == 0) {
        return set_number(&s->page_size, 10000, key, value, err);
    }
    if (strcmp(key, "volume-workers") == 0) {
        return set_number(&s->volume_workers, 8, key, value, err);
    }
    if (strcmp(key, "log-level") == 0) {
        return set_level(s, key, value, err);
    }
    if (strcmp(key, "hook-timeout") == 0) {
        return set_duration(&s->hook_timeout_ns, key, value, err);
    }
    if (strcmp(key, "resource-timeout") == 0) {
        return set_duration(&s->resource_timeout_ns, key, value, err);
    }
    if (strcmp(key, "snapshot-poll") == 0) {
        return set_duration(&s->snapshot_poll_ns, key, value, err);
    }
    if (strcmp(key, "fs-backup-timeout") == 0) {
        return set_duration(&s->fs_backup_timeout_ns, key, value, err);
    }
    if (strcmp(key, "strict-hooks") == 0) {
        return vmbi_parse_bool(value, &s->strict_hooks)
                   ? VMB_OK
                   : bad_value(err, key, value, "true or false");
    }
    return vmbi_fail(err, VMB_E_ARG,
                     "setting %s is unknown; known are namespace, page-size, log-level, "
                     "hook-timeout, resource-timeout, snapshot-poll, fs-backup-timeout, "
                     "volume-workers, default-snapshot-locations, strict-hooks",
                     key);
}

/* ---- providers ----------------------------------------------------------------------------- */

/* Copies the table and its name; destroys the caller's provider on any failure. */
static vmb_code take(void *dst, size_t dst_size, size_t min_size, const void *src,
                     const char *kind, vmb_error **err)
{
    vmb_code rc = vmbi_vtable_copy(dst, dst_size, min_size, src, kind, err);
    vmbi_vtable_head *head = dst;
    char *name = NULL;
    if (rc == VMB_OK) {
        name = vmbi_strdup(head->name);
        rc = name != NULL ? VMB_OK : vmbi_fail_nomem(err);
    }
    if (rc != VMB_OK) {
        vmbi_vtable_destroy(src);
        return rc;
    }
    head->name = name;
    return VMB_OK;
}

static vmb_code lacks(void *table, const char *kind, const char *function, vmb_error **err)
{
    vmbi_vtable_head *head = table;
    vmb_code rc = vmbi_fail(err, VMB_E_ARG, "%s %s: the function %s is missing", kind, head->name,
                            function);
    vmbi_vtable_destroy(table);
    vmbi_free_const(head->name);
    return rc;
}

vmb_code vmbi_ctx_add_cluster(vmb_ctx *ctx, const vmb_cluster_provider *p, vmb_error **err)
{
    vmb_cluster_provider t;
    vmb_code rc = take(&t, sizeof(t), FIRST_SIZE(vmb_cluster_provider, remove), p,
                       "cluster provider", err);
    if (rc != VMB_OK) {
        return rc;
    }
    if (t.discover == NULL || t.list == NULL || t.get == NULL) {
        return lacks(&t, "cluster provider", "discover, list or get", err);
    }
    vmbi_vtable_destroy(&ctx->cluster);
    vmbi_free_const(ctx->cluster.name);
    ctx->cluster = t;
    ctx->serial = ctx->serial || (t.flags & VMB_PROVIDER_SERIAL) != 0;
    return VMB_OK;
}

vmb_code vmbi_ctx_add_exec(vmb_ctx *ctx, const vmb_exec_provider *p, vmb_error **err)
{
    vmb_exec_provider t;
    vmb_code rc = take(&t, sizeof(t), FIRST_SIZE(vmb_exec_provider, exec), p, "exec provider", err);
    if (rc != VMB_OK) {
        return rc;
    }
    if (t.exec == NULL) {
        return lacks(&t, "exec provider", "exec", err);
    }
    vmbi_vtable_destroy(&ctx->exec);
    vmbi_free_const(ctx->exec.name);
    ctx->exec = t;
    ctx->serial = ctx->serial || (t.flags & VMB_PROVIDER_SERIAL) != 0;
    return VMB_OK;
}

/* Makes room for one more element in a small array. */
static vmb_code grow(void *array, size_t n, size_t size, void **out, vmb_error **err)
{
    if (n >= MAX_PROVIDERS) {
        return vmbi_fail(err, VMB_E_LIMIT, "context: more than %d providers of one kind",
                         MAX_PROVIDERS);
    }
    *out = vmbi_realloc_array(array, n + 1, size);
    return *out != NULL ? VMB_OK : vmbi_fail_nomem(err);
}

/* Gives up a table that was taken: used when it cannot be kept. */
static vmb_code drop(void *table, vmb_code rc)
{
    vmbi_vtable_head *head = table;
    vmbi_vtable_destroy(table);
    vmbi_free_const(head->name);
    return rc;
}

vmb_code vmbi_ctx_add_snapshot(vmb_ctx *ctx, const vmb_snapshot_provider *p, vmb_error **err)
{
    vmb_snapshot_provider t;
    vmb_code rc = take(&t, sizeof(t), FIRST_SIZE(vmb_snapshot_provider, op_free), p,
                       "snapshot provider", err);
    if (rc != VMB_OK) {
        return rc;
    }
    if (t.begin == NULL || t.poll == NULL || t.describe == NULL || t.cancel == NULL ||
        t.op_free == NULL) {
        return lacks(&t, "snapshot provider", "begin, poll, describe, cancel or op_free", err);
    }
    void *v = NULL;
    rc = grow(ctx->snapshots, ctx->n_snapshots, sizeof(t), &v, err);
    if (rc != VMB_OK) {
        return drop(&t, rc);
    }
    ctx->snapshots = v;
    ctx->snapshots[ctx->n_snapshots++] = t;
    ctx->serial = ctx->serial || (t.flags & VMB_PROVIDER_SERIAL) != 0;
    return VMB_OK;
}

vmb_code vmbi_ctx_add_volume(vmb_ctx *ctx, const vmb_volume_provider *p, vmb_error **err)
{
    vmb_volume_provider t;
    vmb_code rc = take(&t, sizeof(t), FIRST_SIZE(vmb_volume_provider, remove), p,
                       "volume provider", err);
    if (rc != VMB_OK) {
        return rc;
    }
    if (t.backup == NULL) {
        return lacks(&t, "volume provider", "backup", err);
    }
    void *v = NULL;
    rc = grow(ctx->volumes, ctx->n_volumes, sizeof(t), &v, err);
    if (rc != VMB_OK) {
        return drop(&t, rc);
    }
    ctx->volumes = v;
    ctx->volumes[ctx->n_volumes++] = t;
    ctx->serial = ctx->serial || (t.flags & VMB_PROVIDER_SERIAL) != 0;
    return VMB_OK;
}

vmb_code vmbi_ctx_add_action(vmb_ctx *ctx, const vmb_action_provider *p, vmb_error **err)
{
    vmb_action_provider t;
    vmb_code rc = take(&t, sizeof(t), FIRST_SIZE(vmb_action_provider, backup), p, "action provider",
                       err);
    if (rc != VMB_OK) {
        return rc;
    }
    if (t.backup == NULL || t.applies_to == NULL) {
        return lacks(&t, "action provider", "backup or the list applies_to", err);
    }
    char *applies_to = vmbi_strdup(t.applies_to);
    if (applies_to == NULL) {
        return drop(&t, vmbi_fail_nomem(err));
    }
    void *v = NULL;
    rc = grow(ctx->actions, ctx->n_actions, sizeof(t), &v, err);
    if (rc != VMB_OK) {
        vmbi_free(applies_to);
        return drop(&t, rc);
    }
    t.applies_to = applies_to;
    ctx->actions = v;
    ctx->actions[ctx->n_actions++] = t;
    ctx->serial = ctx->serial || (t.flags & VMB_PROVIDER_SERIAL) != 0;
    return VMB_OK;
}

/* ---- locations ----------------------------------------------------------------------------- */

static char *trim_slashes(const char *prefix)
{
    while (*prefix == '/') {
        prefix++;
    }
    size_t len = strlen(prefix);
    while (len > 0 && prefix[len - 1] == '/') {
        len--;
    }
    return vmbi_strndup(prefix, len);
}

static const vmbi_store_location *find_location(const vmb_ctx *ctx, const char *name)
{
    for (size_t i = 0; i < ctx->n_locations; i++) {
        if (strcmp(ctx->locations[i].name, name) == 0) {
            return &ctx->locations[i];
        }
    }
    return NULL;
}

vmb_code vmbi_ctx_add_store(vmb_ctx *ctx, const char *name, const char *prefix, bool is_default,
                            bool read_only, vmbi_json *resource, const vmb_store_provider *p,
                            vmb_error **err)
{
    vmbi_store_location l = {.is_default = is_default, .read_only = read_only};
    vmb_code rc = take(&l.store, sizeof(l.store), FIRST_SIZE(vmb_store_provider, presign), p,
                       "store provider", err);
    if (rc != VMB_OK) {
        return rc;
    }
    if (l.store.put_begin == NULL || l.store.put_write == NULL || l.store.put_commit == NULL ||
        l.store.put_abort == NULL || l.store.get == NULL || l.store.stat == NULL ||
        l.store.list == NULL || l.store.remove == NULL) {
        return lacks(&l.store, "store provider",
                     "put_begin, put_write, put_commit, put_abort, get, stat, list or remove", err);
    }
    if (find_location(ctx, name) != NULL) {
        return drop(&l.store, vmbi_fail(err, VMB_E_EXISTS, "location %s: exists already", name));
    }
    void *v = NULL;
    rc = grow(ctx->locations, ctx->n_locations, sizeof(l), &v, err);
    if (rc != VMB_OK) {
        return drop(&l.store, rc);
    }
    ctx->locations = v;
    l.name = vmbi_strdup(name);
    l.prefix = trim_slashes(prefix);
    if (l.name == NULL || l.prefix == NULL) {
        vmbi_free(l.name);
        vmbi_free(l.prefix);
        return drop(&l.store, vmbi_fail_nomem(err));
    }
    l.resource = resource != NULL ? vmbi_json_ref(resource) : NULL;
    ctx->locations[ctx->n_locations++] = l;
    ctx->serial = ctx->serial || (l.store.flags & VMB_PROVIDER_SERIAL) != 0;
    return VMB_OK;
}

/* Of several defaults the one made last counts, as with Velero; without times the first one. */
static bool is_newer(const vmbi_store_location *l, const vmbi_store_location *than)
{
    static const char field[] = "metadata.creationTimestamp";
    const char *one = vmbi_json_path_str(l->resource, field);
    const char *other = than != NULL ? vmbi_json_path_str(than->resource, field) : NULL;
    return than == NULL || (one != NULL && (other == NULL || strcmp(one, other) > 0));
}

const vmbi_store_location *vmbi_ctx_location(const vmb_ctx *ctx, const char *name, vmb_error **err)
{
    const vmbi_store_location *found = NULL;
    if (name != NULL && name[0] != '\0') {
        found = find_location(ctx, name);
    } else {
        for (size_t i = 0; i < ctx->n_locations; i++) {
            found = ctx->locations[i].is_default && is_newer(&ctx->locations[i], found)
                        ? &ctx->locations[i]
                        : found;
        }
        found = found != NULL ? found : find_location(ctx, "default");
        if (found == NULL && ctx->n_locations == 1) {
            found = &ctx->locations[0];
        }
    }
    if (found == NULL) {
        vmbi_buf names = VMBI_BUF_INIT(1024);
        for (size_t i = 0; i < ctx->n_locations; i++) {
            vmbi_buf_addf(&names, "%s%s", i == 0 ? "" : ", ", ctx->locations[i].name);
        }
        (void)vmbi_fail(err, VMB_E_NOT_FOUND, "storage location %s does not exist; known: %s",
                        name != NULL && name[0] != '\0' ? name : "(default)",
                        names.len != 0 ? names.data : "none");
        vmbi_buf_free(&names);
    }
    return found;
}
