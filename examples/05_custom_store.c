/* SPDX-License-Identifier: Apache-2.0 */
/* A store provider of one's own, here in memory: a backup goes into it and is listed out of it.
 * usage: 05_custom_store CLUSTER-DIR */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vmbackup/vmbackup.h>

/* An object. Those that are being written have no place in the list yet. */
struct object {
    char *key;
    char *data;
    size_t len;
    struct object *next;
};

struct memory {
    struct object *first; /* sorted by key, as list must give them */
};

static vmb_code fail(vmb_error **err, vmb_code code, const char *message)
{
    vmb_error_set(err, code, 0, message);
    return code;
}

static void object_free(struct object *object)
{
    if (object) {
        free(object->key);
        free(object->data);
        free(object);
    }
}

/* The link that points, or would point, to the key. */
static struct object **find(struct memory *memory, const char *key)
{
    struct object **at = &memory->first;

    while (*at && strcmp((*at)->key, key) < 0) {
        at = &(*at)->next;
    }
    return at;
}

static struct object *lookup(struct memory *memory, const char *key)
{
    struct object *object = *find(memory, key);

    return object && !strcmp(object->key, key) ? object : NULL;
}

static vmb_code put_begin(void *user, vmb_job *job, const char *key, int64_t size_hint,
                          uint32_t put_flags, void **op, vmb_error **err)
{
    struct object *object;

    (void)job;       /* nothing here can wait */
    (void)size_hint; /* nothing is reserved */
    if ((put_flags & VMB_PUT_IF_ABSENT) && lookup(user, key)) {
        return fail(err, VMB_E_EXISTS, "the key exists");
    }
    object = calloc(1, sizeof(*object));
    if (!object || !(object->key = strdup(key))) {
        object_free(object);
        return fail(err, VMB_E_NOMEM, "out of memory");
    }
    *op = object;
    return VMB_OK;
}

static vmb_code put_write(void *user, vmb_job *job, void *op, const void *data, size_t len,
                          vmb_error **err)
{
    struct object *object = op;
    char *grown = realloc(object->data, object->len + len + 1);

    (void)user;
    (void)job;
    if (!grown) {
        return fail(err, VMB_E_NOMEM, "out of memory");
    }
    memcpy(grown + object->len, data, len);
    object->data = grown;
    object->len += len;
    return VMB_OK;
}

static vmb_code put_commit(void *user, vmb_job *job, void *op, vmb_error **err)
{
    struct object *object = op;
    struct object **at = find(user, object->key);

    (void)job;
    (void)err;
    if (*at && !strcmp((*at)->key, object->key)) {
        struct object *old = *at;

        *at = old->next;
        object_free(old);
    }
    object->next = *at;
    *at = object;
    return VMB_OK;
}

static void put_abort(void *user, void *op)
{
    (void)user;
    object_free(op);
}

static vmb_code get(void *user, vmb_job *job, const char *key, int64_t offset, int64_t length,
                    vmb_sink *out, vmb_error **err)
{
    struct object *object = lookup(user, key);
    size_t rest;

    (void)job;
    if (!object) {
        return fail(err, VMB_E_NOT_FOUND, "there is no such key");
    }
    if (offset < 0 || (size_t)offset > object->len) {
        return fail(err, VMB_E_ARG, "the range starts past the end");
    }
    rest = object->len - (size_t)offset;
    if (length >= 0 && (size_t)length < rest) {
        rest = (size_t)length;
    }
    return rest ? vmb_sink_write(out, object->data + offset, rest, err) : VMB_OK;
}

static vmb_code stat_object(void *user, vmb_job *job, const char *key, int64_t *size_bytes,
                            int64_t *mtime_unix_ns, vmb_error **err)
{
    struct object *object = lookup(user, key);

    (void)job;
    if (!object) {
        return fail(err, VMB_E_NOT_FOUND, "there is no such key");
    }
    *size_bytes = (int64_t)object->len;
    *mtime_unix_ns = -1;
    return VMB_OK;
}

/* With a delimiter, keys that go on behind the next one are folded into one prefix. */
static vmb_code list(void *user, vmb_job *job, const char *prefix, const char *delimiter,
                     vmb_key_sink *out, vmb_error **err)
{
    struct memory *memory = user;
    size_t len = strlen(prefix);
    char folded[1025] = "";

    (void)job;
    for (struct object *o = memory->first; o; o = o->next) {
        const char *end = NULL;
        vmb_code code;

        if (strncmp(o->key, prefix, len) != 0) {
            continue;
        }
        if (delimiter && *delimiter) {
            end = strstr(o->key + len, delimiter);
        }
        if (end) {
            int cut = (int)(end - o->key) + 1;

            if (!strncmp(folded, o->key, (size_t)cut) && folded[cut] == '\0') {
                continue;
            }
            snprintf(folded, sizeof(folded), "%.*s", cut, o->key);
            code = vmb_key_sink_push(out, folded, -1, -1, 1, err);
        } else {
            code = vmb_key_sink_push(out, o->key, (int64_t)o->len, -1, 0, err);
        }
        if (code != VMB_OK) {
            return code;
        }
    }
    return VMB_OK;
}

static vmb_code remove_object(void *user, vmb_job *job, const char *key, vmb_error **err)
{
    struct object **at = find(user, key);
    struct object *old = *at;

    (void)job;
    (void)err;
    if (old && !strcmp(old->key, key)) {
        *at = old->next;
        object_free(old);
    }
    return VMB_OK;
}

static void destroy(void *user)
{
    struct memory *memory = user;

    while (memory->first) {
        struct object *object = memory->first;

        memory->first = object->next;
        object_free(object);
    }
}

static vmb_code back_up(vmb_ctx *ctx, vmb_error **err)
{
    vmb_spec *spec = NULL;
    vmb_run *run = NULL;
    vmb_code code = vmb_spec_new("in-memory", &spec, err);

    if (code == VMB_OK) {
        code = vmb_spec_add_string(spec, "spec.includedNamespaces", "other", err);
    }
    if (code == VMB_OK) {
        code = vmb_run_new(ctx, spec, &run, err);
    }
    if (code == VMB_OK) {
        code = vmb_run_execute(run, err);
        printf("%s\n", vmb_run_phase(run));
    }
    vmb_run_free(run);
    vmb_spec_free(spec);
    return code;
}

static vmb_code print_backups(vmb_ctx *ctx, vmb_error **err)
{
    vmb_catalog *catalog = NULL;
    char *backups = NULL;
    vmb_code code = vmb_catalog_open(ctx, "memory", &catalog, err);

    if (code == VMB_OK) {
        code = vmb_catalog_list_json(catalog, &backups, NULL, err);
    }
    if (code == VMB_OK) {
        puts(backups);
    }
    vmb_free(backups);
    vmb_catalog_free(catalog);
    return code;
}

int main(int argc, char **argv)
{
    struct memory memory = {NULL};
    vmb_store_provider store = {0};
    vmb_ctx *ctx = NULL;
    vmb_error *err = NULL;
    char cluster[512];
    vmb_code code;

    if (argc != 2) {
        fprintf(stderr, "usage: %s CLUSTER-DIR\n", argv[0]);
        return 2;
    }
    store.struct_size = sizeof(store);
    store.api_version = VMB_PROVIDER_API;
    store.flags = VMB_PROVIDER_SERIAL; /* there is no lock around the list */
    store.name = "memory";
    store.user = &memory;
    store.destroy = destroy;
    store.put_begin = put_begin;
    store.put_write = put_write;
    store.put_commit = put_commit;
    store.put_abort = put_abort;
    store.get = get;
    store.stat = stat_object;
    store.list = list;
    store.remove = remove_object;

    snprintf(cluster, sizeof(cluster), "{\"path\": \"%s\"}", argv[1]);
    code = vmb_ctx_new(&ctx, &err);
    if (code == VMB_OK) {
        code = vmb_ctx_add_store_provider(ctx, "memory", "", 1, &store, &err);
    }
    if (code == VMB_OK) {
        code = vmb_ctx_use(ctx, "cluster.dir", cluster, strlen(cluster), &err);
    }
    if (code == VMB_OK) {
        code = back_up(ctx, &err);
    }
    if (code == VMB_OK) {
        code = print_backups(ctx, &err);
    }
    if (code != VMB_OK) {
        fprintf(stderr, "%s: %s\n", vmb_code_name(code), vmb_error_message(err));
    }
    vmb_error_free(err);
    vmb_ctx_unref(ctx);
    return code != VMB_OK;
}
