/* SPDX-License-Identifier: Apache-2.0 */
/* A volume provider of one's own: filesystem backup of pods' volumes. The volumes are files here,
 * VOLUME-DIR/NAMESPACE.POD.VOLUME, and each is kept as one object beside the backups, in the store
 * of the run's location. Documents are read and written with jansson.
 * usage: 08_custom_volume CLUSTER-DIR STORE-DIR VOLUME-DIR
 * The folders exist already; STORE-DIR is an absolute path. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <vmbackup/vmbackup.h>

struct names {
    char from[1024]; /* the file */
    char key[1024];  /* in the store */
    char node[256];
};

static vmb_code fail(vmb_error **err, vmb_code code, const char *message)
{
    vmb_error_set(err, code, 0, message);
    return code;
}

static int read_names(const char *folder, const vmb_job *job, const char *volume, size_t len,
                      struct names *out)
{
    const char *ns = NULL;
    const char *pod = NULL;
    const char *name = NULL;
    const char *node = "";
    const char *prefix = "";
    json_t *doc = json_loadb(volume, len, 0, NULL);
    int bad = json_unpack(doc, "{s:{s:{s:s,s:s}},s:{s:s}}", "pod", "metadata", "namespace", &ns,
                          "name", &pod, "volume", "name", &name);

    if (!bad) {
        json_unpack(doc, "{s:{s:{s?s}}}", "pod", "spec", "nodeName", &node);
        vmb_job_store(job, &prefix);
        bad = snprintf(out->from, sizeof(out->from), "%s/%s.%s.%s", folder, ns, pod, name) >=
              (int)sizeof(out->from);
        /* only some folders are allowed beside "backups"; this one is left to programs */
        bad |= snprintf(out->key, sizeof(out->key), "%s%splugins/example/%s/%s.%s.%s", prefix,
                        prefix[0] != '\0' ? "/" : "", vmb_job_backup_name(job), ns, pod, name) >=
               (int)sizeof(out->key);
        snprintf(out->node, sizeof(out->node), "%s", node);
    }
    json_decref(doc);
    return bad ? -1 : 0;
}

static vmb_code bid(void *user, vmb_job *job, const char *volume, size_t len, int32_t *score,
                    vmb_error **err)
{
    struct names n;

    if (read_names(user, job, volume, len, &n) != 0) {
        return fail(err, VMB_E_PROTOCOL, "the volume's description is not as expected");
    }
    *score = access(n.from, R_OK) == 0 ? 1000 : 0; /* 100 would be a generic provider's bid */
    return VMB_OK;
}

/* Copies the file into an object that begins. On failure the object is left to the caller. */
static vmb_code copy(const vmb_store_provider *store, vmb_job *job, void *op, FILE *in,
                     vmb_progress *progress, int64_t *size, vmb_error **err)
{
    char buffer[65536];
    vmb_code code = VMB_OK;
    size_t n;

    while (code == VMB_OK && (n = fread(buffer, 1, sizeof(buffer), in)) > 0) {
        code = vmb_job_cancelled(job) ? fail(err, VMB_E_CANCELLED, "cancelled")
                                      : store->put_write(store->user, job, op, buffer, n, err);
        *size += (int64_t)n;
        vmb_progress_update(progress, *size, -1);
    }
    return code == VMB_OK && ferror(in) ? fail(err, VMB_E_IO, "the volume cannot be read") : code;
}

static vmb_code write_result(const struct names *n, int64_t size, vmb_sink *out, vmb_error **err)
{
    json_t *doc = json_pack("{s:s,s:s,s:s,s:s,s:s,s:I,s:I}", "snapshotID", n->key, "uploaderType",
                            "restic", /* or kopia: Velero knows no other word */
                            "repoIdentifier", "", "path", n->from, "node", n->node, "size",
                            (json_int_t)size, "incrementalSize", (json_int_t)size);
    char *text = doc ? json_dumps(doc, JSON_COMPACT) : NULL;
    vmb_code code = text ? vmb_sink_write(out, text, strlen(text), err)
                         : fail(err, VMB_E_NOMEM, "out of memory");

    json_decref(doc);
    free(text);
    return code;
}

/* Called from a thread of the library, for different volumes at the same time. */
static vmb_code backup(void *user, vmb_job *job, const char *volume, size_t len,
                       vmb_progress *progress, vmb_sink *out, vmb_error **err)
{
    const vmb_store_provider *store = vmb_job_store(job, NULL);
    struct names n;
    int64_t size = 0;
    void *op = NULL;
    FILE *in;
    vmb_code code;

    if (!store || read_names(user, job, volume, len, &n) != 0) {
        return fail(err, VMB_E_PROTOCOL, "there is no store, or no volume as expected");
    }
    in = fopen(n.from, "re");
    if (!in) {
        return fail(err, VMB_E_NOT_FOUND, "the volume cannot be opened");
    }
    code = store->put_begin(store->user, job, n.key, -1, 0, &op, err);
    if (code == VMB_OK) {
        code = copy(store, job, op, in, progress, &size, err);
        if (code == VMB_OK) {
            code = store->put_commit(store->user, job, op, err);
        } else {
            store->put_abort(store->user, op);
        }
    }
    fclose(in);
    return code == VMB_OK ? write_result(&n, size, out, err) : code;
}

/* The backup failed as a whole, or is being deleted. */
static vmb_code remove_volume(void *user, vmb_job *job, const char *snapshot, size_t len,
                              vmb_error **err)
{
    const vmb_store_provider *store = vmb_job_store(job, NULL);
    const char *key = NULL;
    json_t *doc = json_loadb(snapshot, len, 0, NULL);
    vmb_code code;

    (void)user;
    if (!store || json_unpack(doc, "{s:s}", "snapshotID", &key) != 0) {
        code = fail(err, VMB_E_PROTOCOL, "there is no store, or no snapshot as expected");
    } else {
        code = store->remove(store->user, job, key, err);
    }
    json_decref(doc);
    return code;
}

static void print_event(void *user, const vmb_event *event)
{
    (void)user;
    if (vmb_event_kind(event) == VMB_EVENT_VOLUME) {
        printf("%s %s, %lld bytes\n", vmb_event_subject(event), vmb_event_text(event),
               (long long)vmb_event_done(event));
    }
}

static vmb_code back_up(vmb_ctx *ctx, char **argv, vmb_error **err)
{
    char cluster[512];
    char location[512];
    vmb_spec *spec = NULL;
    vmb_run *run = NULL;
    vmb_code code;

    snprintf(cluster, sizeof(cluster), "{\"path\": \"%s\"}", argv[1]);
    snprintf(location, sizeof(location),
             "{\"apiVersion\": \"velero.io/v1\", \"kind\": \"BackupStorageLocation\", "
             "\"metadata\": {\"name\": \"default\"}, \"spec\": {\"provider\": "
             "\"vmbackup.io/dir\", \"config\": {\"path\": \"%s\"}}}",
             argv[2]);
    code = vmb_ctx_use(ctx, "cluster.dir", cluster, strlen(cluster), err);
    if (code == VMB_OK) {
        code = vmb_ctx_use(ctx, "actions.kubernetes", NULL, 0, err);
    }
    if (code == VMB_OK) {
        code = vmb_ctx_add_location(ctx, location, strlen(location), err);
    }
    if (code == VMB_OK) {
        code = vmb_spec_new("volumes", &spec, err);
    }
    if (code == VMB_OK) {
        code = vmb_spec_add_string(spec, "spec.includedNamespaces", "other", err);
    }
    if (code == VMB_OK) {
        code = vmb_spec_set_bool(spec, "spec.defaultVolumesToFsBackup", 1, err);
    }
    if (code == VMB_OK) {
        code = vmb_run_new(ctx, spec, &run, err);
    }
    if (code == VMB_OK) {
        code = vmb_run_set_event_fn(run, print_event, NULL, err);
    }
    if (code == VMB_OK) {
        code = vmb_run_execute(run, err);
        printf("%s\n", vmb_run_phase(run));
    }
    vmb_run_free(run);
    vmb_spec_free(spec);
    return code;
}

int main(int argc, char **argv)
{
    vmb_volume_provider provider = {0};
    vmb_ctx *ctx = NULL;
    vmb_error *err = NULL;
    vmb_code code;

    if (argc != 4) {
        fprintf(stderr, "usage: %s CLUSTER-DIR STORE-DIR VOLUME-DIR\n", argv[0]);
        return 2;
    }
    provider.struct_size = sizeof(provider);
    provider.api_version = VMB_PROVIDER_API;
    provider.name = "files";
    provider.user = argv[3];
    provider.bid = bid;
    provider.backup = backup;
    provider.remove = remove_volume;

    code = vmb_ctx_new(&ctx, &err);
    if (code == VMB_OK) {
        code = vmb_ctx_add_volume_provider(ctx, &provider, &err);
    }
    if (code == VMB_OK) {
        code = back_up(ctx, argv, &err);
    }
    if (code != VMB_OK) {
        fprintf(stderr, "%s: %s\n", vmb_code_name(code), vmb_error_message(err));
    }
    vmb_error_free(err);
    vmb_ctx_unref(ctx);
    return code != VMB_OK;
}
