/* SPDX-License-Identifier: Apache-2.0 */
/* From the common options to a context: cluster, locations, settings. */
#include "cli.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_INPUT_BYTES = 8 << 20 };

int cli_read_file(const char *path, char **out, size_t *len)
{
    bool input = !strcmp(path, "-");
    FILE *in = input ? stdin : fopen(path, "re");
    char *text = NULL;
    size_t used;

    if (!in) {
        cli_error("%s: %s", path, strerror(errno));
        return CLI_FAILED;
    }
    text = malloc(MAX_INPUT_BYTES + 1);
    used = text ? fread(text, 1, MAX_INPUT_BYTES, in) : 0;
    if (!text || ferror(in) || (used == MAX_INPUT_BYTES && fgetc(in) != EOF)) {
        cli_error("%s: %s", path,
                  !text        ? "out of memory"
                  : ferror(in) ? strerror(errno)
                               : "larger than 8 MiB: give a single resource");
        free(text);
        if (!input) {
            fclose(in);
        }
        return CLI_FAILED;
    }
    if (!input) {
        fclose(in);
    }
    text[used] = '\0';
    *out = text;
    *len = used;
    return CLI_OK;
}

static void print_log(void *user, int32_t level, const char *msg)
{
    static const char *const names[] = {"debug", "info", "warning", "error"};

    (void)user;
    fprintf(stderr, "%s: %s\n", level >= 0 && level <= 3 ? names[level] : "log", msg);
}

static int apply_settings(const struct cli_args *args, vmb_ctx *ctx)
{
    vmb_error *err = NULL;

    for (size_t i = 0; i < args->given_count; i++) {
        const char *text = args->given[i].value;
        const char *equals = strchr(text, '=');
        char key[64];

        if (strcmp(args->given[i].option->name, "set") != 0) {
            continue;
        }
        if (!equals || equals == text || (size_t)(equals - text) >= sizeof(key)) {
            cli_error("--set %s: write KEY=VALUE", text);
            return CLI_USAGE;
        }
        snprintf(key, sizeof(key), "%.*s", (int)(equals - text), text);
        if (vmb_ctx_set(ctx, key, equals + 1, &err) != VMB_OK) {
            cli_fail("--set", err);
            return CLI_USAGE;
        }
    }
    if (cli_flag(args, "verbose") && vmb_ctx_set_log(ctx, print_log, NULL, NULL, &err) != VMB_OK) {
        return cli_fail("log", err);
    }
    return CLI_OK;
}

static int use(vmb_ctx *ctx, const char *name, json_t *settings)
{
    vmb_error *err = NULL;
    char *text = settings ? json_dumps(settings, JSON_COMPACT) : NULL;
    int result = CLI_OK;

    if (settings && !text) {
        cli_error("%s: the settings are no UTF-8", name);
        result = CLI_USAGE;
    } else if (vmb_ctx_use(ctx, name, text, text ? strlen(text) : 0, &err) != VMB_OK) {
        result = cli_fail(name, err);
    }
    free(text);
    json_decref(settings);
    return result;
}

static int use_cluster(const struct cli_args *args, vmb_ctx *ctx)
{
    const char *dir = cli_value(args, "cluster-dir");
    const char *kubeconfig = cli_value(args, "kubeconfig");
    const char *context = cli_value(args, "context");
    /* restores write as fast as the server's own fairness allows, unless told otherwise */
    const char *unlimited = args->command->run == cli_restore ? "0" : NULL;
    const char *qps = cli_value(args, "client-qps") ? cli_value(args, "client-qps") : unlimited;
    const char *burst = cli_value(args, "client-burst");
    json_t *settings = json_object();

    if (dir && (kubeconfig || context)) {
        cli_error("--cluster-dir and --%s exclude each other: the cluster is either a folder or a "
                  "server",
                  kubeconfig ? "kubeconfig" : "context");
        json_decref(settings);
        return CLI_USAGE;
    }
    if (dir) {
        json_object_set_new(settings, "path", json_string(dir));
        return use(ctx, "cluster.dir", settings);
    }
    if (kubeconfig) {
        json_object_set_new(settings, "kubeconfig", json_string(kubeconfig));
    }
    if (context) {
        json_object_set_new(settings, "context", json_string(context));
    }
    if (qps) {
        json_object_set_new(settings, "qps", json_string(qps));
    }
    if (burst) {
        json_object_set_new(settings, "burst", json_string(burst));
    }
    return use(ctx, "cluster.kube", settings);
}

/* Filesystem backup reads the volumes of pods from this machine's disks, so it is asked for. */
static int use_volumes(const struct cli_args *args, bool always, vmb_ctx *ctx)
{
    static const struct {
        const char *flag;
        const char *setting;
    } known[] = {{"fs-host-pods", "hostPods"},
                 {"fs-node", "node"},
                 {"fs-password-file", "passwordFile"},
                 {"fs-compression", "compression"},
                 {"namespace", "namespace"}};
    json_t *settings;

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]) && !always; i++) {
        if (cli_value(args, known[i].flag) && !cli_flag(args, "fs-backup") &&
            strncmp(known[i].flag, "fs-", 3) == 0) {
            cli_error("--%s needs --fs-backup", known[i].flag);
            return CLI_USAGE;
        }
    }
    if (!always && !cli_flag(args, "fs-backup")) {
        return CLI_OK;
    }
    settings = json_object();
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        const char *value = cli_value(args, known[i].flag);
        if (value) {
            json_object_set_new(settings, known[i].setting, json_string(value));
        }
    }
    return use(ctx, "volume.repo", settings);
}

/* The engine's usual providers. Snapshots need a server: a folder of manifests has no volumes. */
static int use_engine(const struct cli_args *args, vmb_ctx *ctx)
{
    int result = use(ctx, "actions.kubernetes", NULL);

    if (result == CLI_OK) {
        result = use(ctx, "actions.kubevirt", NULL);
    }
    if (result == CLI_OK && !cli_value(args, "cluster-dir")) {
        result = use(ctx, "snapshot.csi", NULL);
    }
    if (result == CLI_OK) {
        result = use_volumes(args, false, ctx);
    }
    if (result == CLI_OK) {
        result = cli_use_exec_command(args, ctx);
    }
    return result;
}

static int add_store_dir(vmb_ctx *ctx, const char *given)
{
    vmb_error *err = NULL;
    char *dir = realpath(given, NULL);
    json_t *location;
    char *text;
    int result = CLI_OK;

    if (!dir) {
        cli_error("--store-dir %s: %s%s", given, strerror(errno),
                  errno == ENOENT ? ": create the folder first" : "");
        return CLI_FAILED;
    }
    location = json_pack("{s:s,s:s,s:{s:s},s:{s:s,s:b,s:{s:s}}}", "apiVersion", "velero.io/v1",
                         "kind", "BackupStorageLocation", "metadata", "name", "default", "spec",
                         "provider", "vmbackup.io/dir", "default", 1, "config", "path", dir);
    text = location ? json_dumps(location, JSON_COMPACT) : NULL;
    if (!text) {
        cli_error("--store-dir: the path is no UTF-8");
        result = CLI_USAGE;
    } else if (vmb_ctx_add_location(ctx, text, strlen(text), &err) != VMB_OK) {
        result = cli_fail("--store-dir", err);
    }
    free(text);
    free(dir);
    json_decref(location);
    return result;
}

/* Adds the locations of the command line and tells how many there were. */
static int add_locations(const struct cli_args *args, vmb_ctx *ctx, size_t *count)
{
    const char *dir = cli_value(args, "store-dir");
    int result = CLI_OK;

    *count = dir ? 1 : 0;
    if (dir) {
        result = add_store_dir(ctx, dir);
    }
    for (size_t i = 0; i < args->given_count && result == CLI_OK; i++) {
        const char *path = args->given[i].value;
        vmb_error *err = NULL;
        char *text = NULL;
        size_t len;

        if (strcmp(args->given[i].option->name, "location-file") != 0) {
            continue;
        }
        result = cli_read_file(path, &text, &len);
        if (result == CLI_OK && vmb_ctx_add_location(ctx, text, len, &err) != VMB_OK) {
            result = cli_fail(path, err);
        }
        free(text);
        ++*count;
    }
    return result;
}

static int load_locations(vmb_ctx *ctx)
{
    vmb_error *err = NULL;
    size_t count = 0;

    if (vmb_ctx_load_locations(ctx, &count, &err) != VMB_OK) {
        return cli_fail("storage locations of the cluster", err);
    }
    if (count == 0) {
        cli_error("the cluster has no BackupStorageLocation in the namespace: name another one "
                  "with --namespace, or give --location-file FILE or --store-dir DIR");
        return CLI_FAILED;
    }
    return CLI_OK;
}

int cli_session(const struct cli_args *args, unsigned needs, const char *velero_namespace,
                vmb_ctx **out)
{
    const char *ns = cli_value(args, "namespace");
    vmb_error *err = NULL;
    vmb_ctx *ctx = NULL;
    size_t locations = 0;
    int result;

    if (vmb_ctx_new(&ctx, &err) != VMB_OK) {
        return cli_fail("context", err);
    }
    if (!ns) {
        ns = velero_namespace;
    }
    if (ns && vmb_ctx_set(ctx, "namespace", ns, &err) != VMB_OK) {
        cli_fail("--namespace", err);
        result = CLI_USAGE;
        goto out;
    }
    result = apply_settings(args, ctx);
    if (result == CLI_OK && !(needs & CLI_NO_LOCATIONS)) {
        result = add_locations(args, ctx, &locations);
    }
    if (result == CLI_OK && ((needs & CLI_NEED_CLUSTER) || locations == 0)) {
        result = use_cluster(args, ctx);
    }
    if (result == CLI_OK && locations == 0 && !(needs & CLI_NO_LOCATIONS)) {
        result = load_locations(ctx);
    }
    if (result == CLI_OK && (needs & CLI_NEED_ENGINE)) {
        result = use_engine(args, ctx);
    }
    if (result == CLI_OK && (needs & CLI_NEED_VOLUMES)) {
        result = use_volumes(args, true, ctx);
    }
out:
    if (result == CLI_OK) {
        *out = ctx;
    } else {
        vmb_ctx_unref(ctx);
    }
    return result;
}

int cli_catalog(const struct cli_args *args, vmb_ctx **ctx, vmb_catalog **out)
{
    const char *location = cli_value(args, "storage-location");
    vmb_error *err = NULL;
    int result = cli_session(args, 0, NULL, ctx);

    if (result != CLI_OK) {
        return result;
    }
    if (vmb_catalog_open(*ctx, location, out, &err) != VMB_OK) {
        vmb_ctx_unref(*ctx);
        *ctx = NULL;
        return cli_fail(location ? location : "the default storage location", err);
    }
    return CLI_OK;
}
