/* SPDX-License-Identifier: Apache-2.0 */
/* A snapshot provider of one's own. Volumes are files here, VOLUME-DIR/NAMESPACE.CLAIM.img, and a
 * snapshot is a copy of the file, VOLUME-DIR/NAMESPACE.CLAIM.BACKUP.snap; a storage system would be
 * asked instead. Documents are read and written with jansson.
 * usage: 06_custom_snapshot CLUSTER-DIR STORE-DIR VOLUME-DIR
 * The folders exist already; STORE-DIR is an absolute path. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <vmbackup/vmbackup.h>

struct snapshot {
    char claim[256];
    char ns[256];
    char volume[256]; /* name of the PersistentVolume */
    char from[1024];
    char to[1024];
    FILE *in;
    FILE *out;
    long long size;
    int32_t state;
};

static vmb_code fail(vmb_error **err, vmb_code code, const char *message)
{
    vmb_error_set(err, code, 0, message);
    return code;
}

/* Fills the names of a snapshot from the description of the volume. */
static int describe_volume(const char *folder, const vmb_job *job, const char *volume, size_t len,
                           struct snapshot *s)
{
    const char *claim = NULL;
    const char *ns = NULL;
    const char *pv = NULL;
    json_t *doc = json_loadb(volume, len, 0, NULL);
    int bad =
        json_unpack(doc, "{s:{s:{s:s,s:s}}}", "pvc", "metadata", "name", &claim, "namespace", &ns);

    if (!bad) {
        json_unpack(doc, "{s:{s:{s:s}}}", "pv", "metadata", "name", &pv); /* may be absent */
        snprintf(s->claim, sizeof(s->claim), "%s", claim);
        snprintf(s->ns, sizeof(s->ns), "%s", ns);
        snprintf(s->volume, sizeof(s->volume), "%s", pv ? pv : "");
        bad = snprintf(s->from, sizeof(s->from), "%s/%s.%s.img", folder, ns, claim) >=
              (int)sizeof(s->from);
        bad |= snprintf(s->to, sizeof(s->to), "%s/%s.%s.%s.snap", folder, ns, claim,
                        vmb_job_backup_name(job)) >= (int)sizeof(s->to);
    }
    json_decref(doc);
    return bad ? -1 : 0;
}

static vmb_code bid(void *user, vmb_job *job, const char *volume, size_t len, int32_t *score,
                    vmb_error **err)
{
    struct snapshot s;

    if (describe_volume(user, job, volume, len, &s) != 0) {
        return fail(err, VMB_E_PROTOCOL, "the volume's description is not as expected");
    }
    *score = access(s.from, R_OK) == 0 ? 1000 : 0; /* 100 would be a generic provider's bid */
    return VMB_OK;
}

static vmb_code begin(void *user, vmb_job *job, const char *volume, size_t len, void **op,
                      vmb_error **err)
{
    struct snapshot *s = calloc(1, sizeof(*s));

    if (!s) {
        return fail(err, VMB_E_NOMEM, "out of memory");
    }
    if (describe_volume(user, job, volume, len, s) != 0) {
        free(s);
        return fail(err, VMB_E_PROTOCOL, "the volume's description is not as expected");
    }
    s->in = fopen(s->from, "re");
    s->out = s->in ? fopen(s->to, "we") : NULL;
    if (!s->out) {
        if (s->in) {
            fclose(s->in);
        }
        free(s);
        return fail(err, VMB_E_IO, "the volume or its snapshot cannot be opened");
    }
    s->state = VMB_SNAPSHOT_PENDING;
    *op = s;
    return VMB_OK;
}

/* Copies a part at each call. A copy is a point in time only at its end, so that the guest stays
 * frozen for all of it; a storage system says CUT in an instant and READY later. */
static vmb_code poll_snapshot(void *user, vmb_job *job, void *op, int64_t wait_ns, int32_t *state,
                              vmb_error **err)
{
    struct snapshot *s = op;
    char buffer[65536];
    size_t n;

    (void)user;
    (void)job;
    (void)wait_ns; /* a local copy needs no waiting */
    if (s->state == VMB_SNAPSHOT_CUT) {
        s->state = VMB_SNAPSHOT_READY;
    }
    if (s->state == VMB_SNAPSHOT_PENDING) {
        n = fread(buffer, 1, sizeof(buffer), s->in);
        s->size += (long long)n;
        if (fwrite(buffer, 1, n, s->out) != n || ferror(s->in)) {
            return fail(err, VMB_E_IO, "the copy failed");
        }
        if (n < sizeof(buffer)) {
            s->state = VMB_SNAPSHOT_CUT;
        }
        if (s->state == VMB_SNAPSHOT_CUT && fflush(s->out) != 0) {
            return fail(err, VMB_E_IO, "the copy failed");
        }
    }
    *state = s->state;
    return VMB_OK;
}

static vmb_code describe(void *user, vmb_job *job, void *op, vmb_sink *out, vmb_error **err)
{
    struct snapshot *s = op;
    vmb_code code;
    char *text;
    json_t *doc = json_pack(
        "{s:{s:{s:{s:s}}},s:[],s:{s:s,s:s,s:s,s:s,s:b,s:b,s:b,s:s,s:{s:s,s:I,s:s,s:s,s:s}},s:s,"
        "s:n}",
        "claimPatch", "metadata", "annotations", "snapshots.example.org/file", s->to, "items",
        "volumeInfo", "pvcName", s->claim, "pvcNamespace", s->ns, "pvName", s->volume,
        "backupMethod", "CSISnapshot", "snapshotDataMoved", 0, "preserveLocalSnapshot", 1,
        "skipped", 0, "result", "succeeded", "csiSnapshotInfo", "snapshotHandle", s->to, "size",
        (json_int_t)s->size, "driver", "snapshots.example.org", "vscName", "", "operationID", "",
        "operationID", s->to, "operation");

    (void)user;
    (void)job;
    text = doc ? json_dumps(doc, JSON_COMPACT) : NULL;
    json_decref(doc);
    if (!text) {
        return fail(err, VMB_E_NOMEM, "out of memory");
    }
    code = vmb_sink_write(out, text, strlen(text), err);
    free(text);
    return code;
}

static vmb_code cancel(void *user, vmb_job *job, void *op, vmb_error **err)
{
    struct snapshot *s = op;

    (void)user;
    (void)job;
    if (unlink(s->to) != 0) {
        return fail(err, VMB_E_IO, "the snapshot could not be removed");
    }
    return VMB_OK;
}

static void op_free(void *user, void *op)
{
    struct snapshot *s = op;

    (void)user;
    fclose(s->in);
    fclose(s->out); /* poll has flushed what counts */
    free(s);
}

static vmb_code back_up(vmb_ctx *ctx, char **argv, vmb_error **err)
{
    char cluster[512];
    char location[512];
    vmb_spec *spec = NULL;
    vmb_run *run = NULL;
    char *report = NULL;
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
        code = vmb_spec_new("snapshots", &spec, err);
    }
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
    if (code == VMB_OK && vmb_run_report_json(run, &report, NULL, NULL) == VMB_OK) {
        puts(report);
    }
    vmb_free(report);
    vmb_run_free(run);
    vmb_spec_free(spec);
    return code;
}

int main(int argc, char **argv)
{
    vmb_snapshot_provider provider = {0};
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
    provider.begin = begin;
    provider.poll = poll_snapshot;
    provider.describe = describe;
    provider.cancel = cancel;
    provider.op_free = op_free;

    code = vmb_ctx_new(&ctx, &err);
    if (code == VMB_OK) {
        code = vmb_ctx_add_snapshot_provider(ctx, &provider, &err);
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
