/* SPDX-License-Identifier: Apache-2.0 */
/* Lets one allocation after the other fail in a backup, a restore, the catalogue or a repository, each
 * in a process of its own. Each must end with VMB_E_NOMEM or as if nothing had been, or with the
 * lack told as an error of one object; none may crash, leak or leave a descriptor. What libarchive
 * does when it cannot grow a name, ending the process, is counted apart (docs/errors.md).
 * usage: sweep SCENARIO CLUSTER-DIR WORK-DIR STEP   (with libfault.so preloaded) */
#include <dirent.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vmbackup/vmbackup.h>

#include "fault.h"

static const char *demo;
static char store[512];
static char files[512];
static const char repo_settings[] = "{\"password\":\"geheim\",\"prefix\":\"restic\"}";

/* ---- a cluster that takes everything ------------------------------------------------------- */

#define RESOURCE(name, kind, namespaced)                                                        \
    "{\"name\":\"" name "\",\"singularName\":\"\",\"kind\":\"" kind                             \
    "\",\"namespaced\":" namespaced ",\"shortNames\":[],\"verbs\":[\"create\",\"get\",\"list\"]}"
static const char discovery[] =
    "{\"serverVersion\":{\"gitVersion\":\"v1.36.3\",\"major\":\"1\",\"minor\":\"36\"},\"groups\":[{"
    "\"group\":\"\",\"preferredVersion\":\"v1\",\"versions\":[{\"version\":\"v1\",\"resources\":["
    RESOURCE("configmaps", "ConfigMap", "true") "," RESOURCE("namespaces", "Namespace", "false") ","
    RESOURCE("secrets", "Secret", "true") "]}]}]}";

static vmb_code discover(void *user, vmb_job *job, vmb_sink *out, vmb_error **err)
{
    (void)user;
    (void)job;
    return vmb_sink_write(out, discovery, sizeof(discovery) - 1, err);
}

static vmb_code list(void *user, vmb_job *job, const char *group, const char *version,
                     const char *resource, const char *ns, const char *label_selector,
                     int64_t page_size, vmb_item_sink *out, vmb_error **err)
{
    (void)user, (void)job, (void)group, (void)version, (void)resource, (void)ns;
    (void)label_selector, (void)page_size, (void)out, (void)err;
    return VMB_OK;
}

static vmb_code get(void *user, vmb_job *job, const char *group, const char *version,
                    const char *resource, const char *ns, const char *name, vmb_sink *out,
                    vmb_error **err)
{
    (void)user, (void)job, (void)group, (void)version, (void)resource, (void)ns, (void)name;
    (void)out;
    vmb_error_set(err, VMB_E_NOT_FOUND, 0, "it is not there");
    return VMB_E_NOT_FOUND;
}

static vmb_code create(void *user, vmb_job *job, const char *group, const char *version,
                       const char *resource, const char *ns, const char *json, size_t len,
                       vmb_sink *out, vmb_error **err)
{
    (void)user, (void)job, (void)group, (void)version, (void)resource, (void)ns;
    return vmb_sink_write(out, json, len, err);
}

static vmb_code patch(void *user, vmb_job *job, const char *group, const char *version,
                      const char *resource, const char *ns, const char *name,
                      const char *subresource, int32_t kind, const char *json, size_t len,
                      vmb_sink *out, vmb_error **err)
{
    (void)user, (void)job, (void)group, (void)version, (void)resource, (void)ns, (void)name;
    (void)subresource, (void)kind;
    return vmb_sink_write(out, json, len, err);
}

/* ---- scenarios: each arms when it begins what is tried -------------------------------------- */

#define TRY(call)           \
    do {                    \
        rc = (call);        \
        if (rc != VMB_OK) { \
            goto out;       \
        }                   \
    } while (0)

static vmb_code new_context(int restore, vmb_ctx **out, vmb_error **err)
{
    char text[2048];
    vmb_ctx *ctx = NULL;
    vmb_code rc;
    vmb_cluster_provider c = {.struct_size = sizeof(c), .api_version = VMB_PROVIDER_API,
                              .name = "taker", .discover = discover, .list = list, .get = get,
                              .create = create, .patch = patch};
    TRY(vmb_ctx_new(&ctx, err));
    (void)snprintf(text, sizeof(text), "{\"path\":\"%s\"}", demo);
    TRY(restore ? vmb_ctx_add_cluster_provider(ctx, &c, err)
                : vmb_ctx_use(ctx, "cluster.dir", text, strlen(text), err));
    TRY(vmb_ctx_use(ctx, "actions.kubernetes", NULL, 0, err));
    (void)snprintf(text, sizeof(text),
                   "{\"apiVersion\":\"velero.io/v1\",\"kind\":\"BackupStorageLocation\",\"metadata\":{"
                   "\"name\":\"default\"},\"spec\":{\"provider\":\"vmbackup.io/dir\",\"config\":{"
                   "\"path\":\"%s\"}}}", store);
    TRY(vmb_ctx_add_location(ctx, text, strlen(text), err));
    *out = ctx;
    return VMB_OK;
out:
    vmb_ctx_unref(ctx);
    return rc;
}

static vmb_code execute(vmb_ctx *ctx, const vmb_spec *spec, vmb_error **err)
{
    vmb_run *run = NULL;
    char *report = NULL;
    vmb_code rc;
    TRY(vmb_run_new(ctx, spec, &run, err));
    TRY(vmb_run_execute(run, err));
    TRY(vmb_run_report_json(run, &report, NULL, err));
out:
    vmb_free(report);
    vmb_run_free(run);
    return rc;
}

static vmb_code backup(long n, int later, vmb_error **err)
{
    vmb_ctx *ctx = NULL;
    vmb_spec *spec = NULL;
    vmb_code rc;
    fault_arm(n, later);
    TRY(new_context(0, &ctx, err));
    TRY(vmb_spec_new("one", &spec, err));
    TRY(vmb_spec_add_string(spec, "spec.includedNamespaces", "shop", err));
    TRY(vmb_spec_set_bool(spec, "spec.snapshotVolumes", 0, err));
    TRY(execute(ctx, spec, err));
out:
    vmb_spec_free(spec);
    vmb_ctx_unref(ctx);
    return rc;
}

static vmb_code restore(long n, int later, vmb_error **err)
{
    static const char resources[] = "[\"configmaps\",\"secrets\"]";
    vmb_ctx *ctx = NULL;
    vmb_spec *spec = NULL;
    vmb_code rc;
    fault_arm(n, later);
    TRY(new_context(1, &ctx, err));
    TRY(vmb_spec_new_restore("back", "one", &spec, err));
    TRY(vmb_spec_set_json(spec, "spec.includedResources", resources, strlen(resources), err));
    TRY(execute(ctx, spec, err));
out:
    vmb_spec_free(spec);
    vmb_ctx_unref(ctx);
    return rc;
}

static vmb_code catalog(long n, int later, vmb_error **err)
{
    vmb_ctx *ctx = NULL;
    vmb_catalog *cat = NULL;
    char *text = NULL;
    vmb_code rc;
    TRY(new_context(0, &ctx, err));
    fault_arm(n, later);
    TRY(vmb_catalog_open(ctx, NULL, &cat, err));
    TRY(vmb_catalog_list_json(cat, &text, NULL, err));
    vmb_free(text);
    text = NULL;
    TRY(vmb_catalog_describe_json(cat, "one", &text, NULL, err));
    vmb_free(text);
    text = NULL;
    TRY(vmb_catalog_delete(cat, "one", NULL, 0, &text, NULL, err));
out:
    vmb_free(text);
    vmb_catalog_free(cat);
    vmb_ctx_unref(ctx);
    return rc;
}

static vmb_code repository(long n, int later, vmb_error **err)
{
    vmb_ctx *ctx = NULL;
    vmb_repo *repo = NULL;
    char *text = NULL;
    char options[1100];
    vmb_code rc;
    TRY(new_context(0, &ctx, err));
    TRY(vmb_repo_open(ctx, NULL, repo_settings, strlen(repo_settings), &repo, err));
    (void)snprintf(options, sizeof(options), "%s/back", store);
    (void)mkdir(options, 0700);
    fault_arm(n, later);
    (void)snprintf(options, sizeof(options), "{\"paths\":[\"%s\"]}", files);
    TRY(vmb_repo_backup(repo, options, strlen(options), &text, NULL, err));
    vmb_free(text);
    text = NULL;
    (void)snprintf(options, sizeof(options), "{\"target\":\"%s/back\"}", store);
    TRY(vmb_repo_restore(repo, "latest", options, strlen(options), &text, NULL, err));
    vmb_free(text);
    text = NULL;
    TRY(vmb_repo_prune(repo, NULL, 0, &text, NULL, err));
out:
    (void)fault_disarm();
    vmb_free(text);
    text = NULL;
    if (repo != NULL && /* the handle still works, and nothing in the store is damaged */
        (vmb_repo_check(repo, "{\"readData\":true}", 17, &text, NULL, NULL) != VMB_OK ||
         strstr(text, "\"errors\":0") == NULL)) {
        rc = VMB_E_INTERNAL;
    }
    vmb_free(text);
    vmb_repo_free(repo);
    vmb_ctx_unref(ctx);
    return rc;
}

/* ---- one process for each ------------------------------------------------------------------- */

typedef vmb_code (*scenario)(long n, int later, vmb_error **err);

static int open_files(void)
{
    int n = 0;
    DIR *d = opendir("/proc/self/fd");
    while (d != NULL && readdir(d) != NULL) {
        n++;
    }
    if (d != NULL) {
        closedir(d);
    }
    return n;
}

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st, (void)kind, (void)at;
    return remove(path);
}

/* A store with the backup "one" and a repository. */
static int fill_store(void)
{
    vmb_ctx *ctx = NULL;
    vmb_repo *repo = NULL;
    (void)nftw(store, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    int bad = mkdir(store, 0700) != 0 || backup(0, 0, NULL) != VMB_OK ||
              new_context(0, &ctx, NULL) != VMB_OK ||
              vmb_repo_init(ctx, NULL, repo_settings, strlen(repo_settings), &repo, NULL) != VMB_OK;
    (void)fault_disarm();
    vmb_repo_free(repo);
    vmb_ctx_unref(ctx);
    return bad;
}

struct outcome {
    vmb_code rc;
    long seen;
    long leaked;
    int descriptors;
};

static void child(scenario run, long n, int later, int pipe_fd)
{
    struct outcome o = {0};
    vmb_error *err = NULL;
    (void)alarm(120);
    if (run == backup ? mkdir(store, 0700) != 0 : fill_store() != 0) {
        _exit(3);
    }
    int before = open_files();
    long alive = fault_alive();
    o.rc = run(n, later, &err);
    o.seen = fault_disarm();
    vmb_error_free(err);
    o.leaked = fault_alive() - alive;
    o.descriptors = open_files() - before;
    _exit(write(pipe_fd, &o, sizeof(o)) == (ssize_t)sizeof(o) ? 0 : 3);
}

static int try_one(scenario run, long n, int later, struct outcome *o)
{
    int ends[2];
    int status = 0;
    if (pipe(ends) != 0) {
        return -1;
    }
    (void)nftw(store, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    pid_t pid = fork();
    if (pid == 0) {
        child(run, n, later, ends[1]);
    }
    (void)close(ends[1]);
    int whole = read(ends[0], o, sizeof(*o)) == (ssize_t)sizeof(*o);
    (void)close(ends[0]);
    (void)waitpid(pid, &status, 0);
    return whole ? 0 : status != 0 ? status : -1;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        scenario run;
    } all[] = {{"backup", backup}, {"restore", restore}, {"catalog", catalog},
               {"repository", repository}};
    scenario run = NULL;
    struct outcome o, plain;
    long tried = 0, lacking = 0, other = 0, ended = 0;
    int bad = 0;
    for (size_t i = 0; argc == 5 && i < sizeof(all) / sizeof(all[0]); i++) {
        run = strcmp(argv[1], all[i].name) == 0 ? all[i].run : run;
    }
    if (run == NULL) {
        (void)fprintf(stderr, "usage: sweep SCENARIO CLUSTER-DIR WORK-DIR STEP\n");
        return 2;
    }
    demo = argv[2];
    (void)snprintf(store, sizeof(store), "%s/store", argv[3]);
    (void)snprintf(files, sizeof(files), "%s", demo);
    (void)unsetenv("LD_PRELOAD");
    /* what libraries keep for the process is there before it is counted */
    if (fill_store() != 0 || (run != backup && run(0, 0, NULL) != VMB_OK)) {
        (void)fprintf(stderr, "the scenario fails without faults\n");
        return 1;
    }
    if (try_one(run, 0, 0, &plain) != 0 || plain.rc != VMB_OK) {
        (void)fprintf(stderr, "the scenario fails in a child\n");
        return 1;
    }
    for (long n = 1; n <= plain.seen; n += strtol(argv[4], NULL, 10)) {
        for (int later = 0; later < 2; later++, tried++) {
            int status = try_one(run, n, later, &o);
            if (WIFEXITED(status) && WEXITSTATUS(status) == 1 && (run == restore || run == catalog)) {
                ended++; /* ours ends with 3 */
                continue;
            }
            if (status != 0 || (o.rc != VMB_OK && o.rc != VMB_E_NOMEM) ||
                o.leaked > plain.leaked + 16 || o.descriptors > plain.descriptors) {
                (void)printf("allocation %ld%s: status %d, %s, %ld leaked, %d descriptors\n", n,
                             later ? " and all later" : "", status,
                             status == 0 ? vmb_code_name(o.rc) : "-",
                             status == 0 ? o.leaked : 0L, status == 0 ? o.descriptors : 0);
                bad++;
            }
            lacking += status == 0 && o.rc == VMB_E_NOMEM;
            other += status == 0 && o.rc == VMB_OK;
        }
    }
    (void)printf("%s: %ld faults among %ld allocations, %ld out of memory, %ld went on, "
                 "%ld ended by libarchive, %d wrong\n",
                 argv[1], tried, plain.seen, lacking, other, ended, bad);
    return bad != 0;
}
