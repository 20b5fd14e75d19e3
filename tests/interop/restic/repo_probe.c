/* SPDX-License-Identifier: Apache-2.0 */
/* The hands of run_format.py: repositories from the command line.
 *   repo_probe STORE PREFIX COMMAND [ARGS]
 * STORE is a folder, or the JSON settings of an S3 store. The password comes from the environment
 * variable PROBE_PASSWORD. Prints lines; ends with 0, or 1 and the error on stderr. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/job.h"
#include "codec/digest.h"
#include "providers/builtin.h"
#include "repo/restic/restic.h"

static vmb_error *error;
static vmbi_repo *repo;
static vmb_job job;

static void log_line(void *user, int32_t level, const char *msg)
{
    (void)user;
    fprintf(stderr, "log %d: %s\n", level, msg);
}

#define TRY(call)                \
    do {                         \
        vmb_code try_ = (call);  \
        if (try_ != VMB_OK) {    \
            return try_;         \
        }                        \
    } while (0)

static vmb_code open_store(const char *text, vmb_store_provider *out)
{
    vmbi_json *settings = NULL;
    vmb_code code = VMB_OK;

    if (text[0] == '{') {
        code = vmbi_json_parse(text, strlen(text), "settings", &settings, &error);
        if (code == VMB_OK) {
            code = vmbi_store_s3_new(settings, out, &error);
        }
    } else {
        vmbi_json *config = vmbi_json_object();

        (void)vmbi_json_set_str(config, "path", text);
        settings = vmbi_json_object();
        (void)vmbi_json_set(settings, "config", config);
        code = vmbi_store_dir_new(settings, out, &error);
    }
    vmbi_json_free(settings);
    return code;
}

static vmb_code print_snapshot(void *user, const char *id, const vmbi_json *v, vmb_error **err)
{
    char *text = NULL;
    size_t len = 0;

    (void)user;
    if (v == NULL) {
        printf("%s damaged\n", id);
        return VMB_OK;
    }
    TRY(vmbi_json_to_text(v, &text, &len, err));
    printf("%s %s\n", id, text);
    vmb_free(text);
    return VMB_OK;
}

/* Every blob of the index, read and verified by load; the IDs are computed here once more. */
static vmb_code load_all(void)
{
    vmbi_restic *r = vmbi_restic_of(repo);
    vmbi_pack_blobs blobs = {NULL, 0, 0};
    vmbi_buf out = VMBI_BUF_INIT(VMBI_REPO_MAX_BLOB);
    size_t n = 0, trees = 0, compressed = 0, i = 0, k = 0;
    uint64_t bytes = 0;
    vmb_code code = vmbi_repo_load_index(repo, &error);

    for (i = 0; code == VMB_OK && i < vmbi_restic_index_packs(r->index); i++) {
        code = vmbi_restic_index_pack_blobs(r->index, (uint32_t)i, &blobs, &error);
        for (k = 0; code == VMB_OK && k < blobs.n; k++) {
            vmbi_repo_id id;

            code = vmbi_repo_load_blob(repo, blobs.v[k].type, &blobs.v[k].id, &out, &error);
            if (code == VMB_OK) {
                vmbi_sha256(out.data, out.len, id.b);
                if (memcmp(id.b, blobs.v[k].id.b, 32) != 0) {
                    code = vmbi_fail(&error, VMB_E_INTERNAL, "a wrong blob was handed over");
                }
            }
            n++;
            trees += blobs.v[k].type == VMBI_BLOB_TREE;
            compressed += blobs.v[k].size != 0;
            bytes += out.len;
        }
    }
    printf("blobs %zu trees %zu compressed %zu packs %zu bytes %llu\n", n, trees, compressed, i,
           (unsigned long long)bytes);
    vmbi_pack_blobs_free(&blobs);
    vmbi_buf_free(&out);
    return code;
}

static void print_finding(void *user, const vmbi_repo_finding *f)
{
    (void)user;
    printf("%s %s file=%s blob=%s %s\n", f->level == VMBI_FINDING_ERROR ? "error" : "hint",
           f->file_kind, f->file, f->blob, f->message);
}

static vmb_code check(bool read_data)
{
    const vmbi_repo_check_options o = {read_data, 0};
    uint64_t errors = 0;

    TRY(vmbi_repo_lock(repo, VMBI_REPO_SHARED, 0, &error));
    TRY(vmbi_repo_check(repo, &o, print_finding, NULL, &errors, &error));
    printf("errors %llu\n", (unsigned long long)errors);
    return VMB_OK;
}

/* A snapshot of one folder with one file per argument, cut into pieces of `piece` bytes. */
static vmb_code save_file(const char *path, size_t piece, vmbi_buf *tree, bool first)
{
    FILE *f = fopen(path, "rb");
    char *data = malloc(piece);
    const char *name = strrchr(path, '/') + 1;
    long long size = 0;
    size_t n = 0;
    bool begun = false;
    vmb_code code = f != NULL && data != NULL ? VMB_OK
                                              : vmbi_fail(&error, VMB_E_IO, "open %s", path);
    vmbi_buf content = VMBI_BUF_INIT(64 << 20);

    while (code == VMB_OK && (n = fread(data, 1, piece, f)) > 0) {
        char hex[VMBI_REPO_HEX_SIZE];
        vmbi_repo_id id;

        code = vmbi_repo_save_blob(repo, VMBI_BLOB_DATA, data, n, &id, NULL, &error);
        vmbi_repo_id_hex(&id, hex);
        vmbi_buf_addf(&content, "%s\"%s\"", begun ? "," : "", hex);
        begun = true;
        size += (long long)n;
    }
    vmbi_buf_addf(tree,
                  "%s{\"name\":\"%s\",\"type\":\"file\",\"mode\":420,\"mtime\":\"2024-01-01T00:00:00Z\","
                  "\"atime\":\"2024-01-01T00:00:00Z\",\"ctime\":\"2024-01-01T00:00:00Z\",\"uid\":0,"
                  "\"gid\":0,\"size\":%lld,\"content\":[%s]}",
                  first ? "" : ",", name, size, content.len > 0 ? content.data : "");
    vmbi_buf_free(&content);
    free(data);
    if (f != NULL) {
        (void)fclose(f);
    }
    return code;
}

static vmb_code backup(size_t piece, char **paths, int n)
{
    vmbi_buf tree = VMBI_BUF_INIT(64 << 20);
    vmbi_json *v = vmbi_json_object();
    vmbi_json *list = vmbi_json_array();
    char hex[VMBI_REPO_HEX_SIZE], when[VMBI_RFC3339_SIZE];
    vmbi_repo_id id;
    int i = 0;
    vmb_code code = vmbi_repo_lock(repo, VMBI_REPO_SHARED, 20 * VMBI_SECOND, &error);

    if (code == VMB_OK) {
        code = vmbi_repo_load_index(repo, &error);
    }
    vmbi_buf_adds(&tree, "{\"nodes\":[");
    for (i = 0; code == VMB_OK && i < n; i++) {
        code = save_file(paths[i], piece, &tree, i == 0);
    }
    vmbi_buf_adds(&tree, "]}\n");
    if (code == VMB_OK) {
        code = vmbi_repo_save_blob(repo, VMBI_BLOB_TREE, tree.data, tree.len, &id, NULL, &error);
    }
    if (code == VMB_OK) { /* blobs on their way can be read */
        code = vmbi_repo_load_blob(repo, VMBI_BLOB_TREE, &id, &tree, &error);
    }
    if (code == VMB_OK) {
        vmbi_repo_id_hex(&id, hex);
        vmbi_format_rfc3339(vmbi_unix_ns(), when);
        (void)vmbi_json_append_str(list, "/probe");
        (void)vmbi_json_set_str(v, "time", when);
        (void)vmbi_json_set_str(v, "tree", hex);
        (void)vmbi_json_set_str(v, "hostname", "probe");
        (void)vmbi_json_set(v, "paths", vmbi_json_ref(list));
        code = vmbi_repo_snapshot_save(repo, v, hex, &error);
    }
    if (code == VMB_OK) {
        vmbi_repo_stats s;

        vmbi_repo_get_stats(repo, &s);
        printf("snapshot %s new %llu known %llu packs %llu\n", hex, (unsigned long long)s.blobs_new,
               (unsigned long long)s.blobs_known, (unsigned long long)s.packs_written);
    }
    vmbi_json_free(list);
    vmbi_json_free(v);
    vmbi_buf_free(&tree);
    return code;
}

static vmb_code print_key(void *user, const vmbi_repo_key *k, vmb_error **err)
{
    (void)user;
    (void)err;
    printf("%s %s %s%s\n", k->id, k->username, k->hostname, k->current ? " current" : "");
    return VMB_OK;
}

/* ---- speed ---- */

typedef struct bench_thread {
    pthread_t thread;
    uint64_t seed;
    uint64_t bytes;
    bool zero;
    vmb_code code;
} bench_thread;

static void *bench_main(void *arg)
{
    enum { PIECE = 1536 << 10 };
    bench_thread *t = arg;
    uint64_t *data = calloc(1, PIECE);
    uint64_t done = 0, s = t->seed;
    size_t i = 0;

    for (i = 0; !t->zero && i < PIECE / 8; i++) {
        uint64_t z = s += UINT64_C(0x9E3779B97F4A7C15);

        z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
        z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
        data[i] = z ^ (z >> 31);
    }
    while (t->code == VMB_OK && done < t->bytes) {
        vmbi_repo_id id;

        if (!t->zero) { /* other bytes for another blob: one in each line of the cache would do */
            data[0] = ++s;
        }
        t->code = vmbi_repo_save_blob(repo, VMBI_BLOB_DATA, data, PIECE, &id, NULL, NULL);
        done += PIECE;
    }
    free(data);
    return NULL;
}

static vmb_code bench(uint64_t mib, bool zero, int threads)
{
    bench_thread t[16];
    vmbi_repo_stats s;
    int64_t start = 0, end = 0;
    struct timespec cpu;
    int i = 0;

    memset(t, 0, sizeof(t));
    TRY(vmbi_repo_lock(repo, VMBI_REPO_SHARED, 0, &error));
    TRY(vmbi_repo_load_index(repo, &error));
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
    const double cpu0 = (double)cpu.tv_sec + (double)cpu.tv_nsec / 1e9;

    start = vmbi_mono_ns();
    for (i = 0; i < threads && i < 16; i++) {
        t[i].seed = (uint64_t)i << 40;
        t[i].bytes = (mib << 20) / (uint64_t)threads;
        t[i].zero = zero;
        (void)pthread_create(&t[i].thread, NULL, bench_main, &t[i]);
    }
    for (i = 0; i < threads && i < 16; i++) {
        (void)pthread_join(t[i].thread, NULL);
        TRY(t[i].code);
    }
    TRY(vmbi_repo_flush(repo, &error));
    end = vmbi_mono_ns();
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
    vmbi_repo_get_stats(repo, &s);
    printf("%.0f MB/s, %.2f CPU s for %llu MiB, %llu packs\n",
           (double)(mib << 20) / 1e6 / ((double)(end - start) / 1e9),
           (double)cpu.tv_sec + (double)cpu.tv_nsec / 1e9 - cpu0, (unsigned long long)mib,
           (unsigned long long)s.packs_written);
    return VMB_OK;
}

/* ---- commands ---- */

static vmb_code maintain(const char *command, char **args, int n)
{
    char id[VMBI_REPO_HEX_SIZE];

    if (strcmp(command, "keyadd") == 0 && n == 1) {
        TRY(vmbi_repo_lock(repo, VMBI_REPO_SHARED, 0, &error));
        TRY(vmbi_repo_key_add(repo, args[0], strlen(args[0]), id, &error));
        printf("%s\n", id);
        return VMB_OK;
    }
    TRY(vmbi_repo_lock(repo, VMBI_REPO_EXCLUSIVE, 0, &error));
    if (strcmp(command, "keyremove") == 0 && n == 1) {
        return vmbi_repo_key_remove(repo, args[0], &error);
    }
    if (strcmp(command, "passwd") == 0 && n == 1) {
        return vmbi_repo_key_passwd(repo, args[0], strlen(args[0]), id, &error);
    }
    if (strcmp(command, "forget") == 0 && n == 1) {
        return vmbi_repo_snapshot_delete(repo, args[0], &error);
    }
    if (strcmp(command, "prune") == 0 && n == 1) {
        const vmbi_repo_prune_options o = {(uint32_t)strtoul(args[0], NULL, 10), 0, false};
        vmbi_repo_prune_stats s;

        TRY(vmbi_repo_prune(repo, &o, &s, &error));
        printf("kept %llu repacked %llu deleted %llu used %llu unused %llu freed %llu\n",
               (unsigned long long)s.packs_kept, (unsigned long long)s.packs_repacked,
               (unsigned long long)s.packs_deleted, (unsigned long long)s.blobs_used,
               (unsigned long long)s.blobs_unused, (unsigned long long)s.bytes_freed);
        return VMB_OK;
    }
    return vmbi_fail(&error, VMB_E_ARG, "unknown command %s", command);
}

static vmb_code lock(bool exclusive)
{
    TRY(vmbi_repo_lock(repo, exclusive ? VMBI_REPO_EXCLUSIVE : VMBI_REPO_SHARED, 0, &error));
    printf("locked\n");
    (void)fflush(stdout);
    while (getchar() != EOF) {
    }
    return VMB_OK;
}

static vmb_code run(const char *command, char **args, int n)
{
    vmbi_repo_info info;
    size_t removed = 0;

    if (strcmp(command, "init") == 0 || strcmp(command, "info") == 0) {
        vmbi_repo_get_info(repo, &info);
        printf("{\"version\":%u,\"id\":\"%s\",\"chunker_polynomial\":\"%llx\"}\n",
               (unsigned)info.version, info.id, (unsigned long long)info.chunker_polynomial);
        return VMB_OK;
    }
    if (strcmp(command, "snapshots") == 0) {
        return vmbi_repo_snapshot_list(repo, print_snapshot, NULL, &error);
    }
    if (strcmp(command, "loadall") == 0) {
        return load_all();
    }
    if (strcmp(command, "check") == 0) {
        return check(n == 1 && strcmp(args[0], "data") == 0);
    }
    if (strcmp(command, "backup") == 0 && n >= 2) {
        return backup((size_t)strtoul(args[0], NULL, 10), args + 1, n - 1);
    }
    if (strcmp(command, "keys") == 0) {
        return vmbi_repo_key_list(repo, print_key, NULL, &error);
    }
    if (strcmp(command, "lock") == 0 && n == 1) {
        return lock(strcmp(args[0], "exclusive") == 0);
    }
    if (strcmp(command, "unlock") == 0 && n == 1) {
        TRY(vmbi_repo_break_locks(repo, strcmp(args[0], "all") == 0, &removed, &error));
        printf("removed %zu\n", removed);
        return VMB_OK;
    }
    if (strcmp(command, "bench") == 0 && n == 3) {
        return bench(strtoul(args[0], NULL, 10), strcmp(args[1], "zero") == 0,
                     (int)strtol(args[2], NULL, 10));
    }
    return maintain(command, args, n);
}

static vmbi_repo_options options_from_environment(const vmb_store_provider *store,
                                                  const char *prefix)
{
    const char *mode = getenv("PROBE_COMPRESSION");
    const char *version = getenv("PROBE_VERSION");
    const char *pack = getenv("PROBE_PACK_MIB");
    vmbi_repo_options o;

    memset(&o, 0, sizeof(o));
    o.store = store;
    o.job = &job;
    o.prefix = prefix;
    o.password = getenv("PROBE_PASSWORD");
    o.password_len = o.password != NULL ? strlen(o.password) : 0;
    o.key_hint = getenv("PROBE_KEY_HINT");
    o.compression = mode == NULL ? VMBI_REPO_AUTO
                    : strcmp(mode, "off") == 0 ? VMBI_REPO_OFF
                    : strcmp(mode, "max") == 0 ? VMBI_REPO_MAX : VMBI_REPO_AUTO;
    o.version = version != NULL ? (uint32_t)strtoul(version, NULL, 10) : 0;
    o.pack_bytes = pack != NULL ? strtoul(pack, NULL, 10) << 20 : 0;
    return o;
}

int main(int argc, char **argv)
{
    vmb_store_provider store;
    vmbi_repo_options o;
    vmb_code code = VMB_OK;

    if (argc < 4) {
        fprintf(stderr, "usage: repo_probe STORE PREFIX COMMAND [ARGS]\n");
        return 2;
    }
    memset(&store, 0, sizeof(store));
    job.log = log_line;
    code = open_store(argv[1], &store);
    if (code == VMB_OK) {
        o = options_from_environment(&store, argv[2]);
        code = strcmp(argv[3], "init") == 0 ? vmbi_repo_init(&o, &repo, &error)
                                            : vmbi_repo_open(&o, &repo, &error);
        if (code == VMB_OK) {
            code = run(argv[3], argv + 4, argc - 4);
        }
        vmbi_repo_close(repo);
        if (store.destroy != NULL) {
            store.destroy(store.user);
        }
    }
    if (code != VMB_OK) {
        fprintf(stderr, "%s: %s\n", vmb_code_name(code), vmb_error_message(error));
    }
    vmb_error_free(error);
    return code == VMB_OK ? 0 : 1;
}
