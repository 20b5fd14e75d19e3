/* SPDX-License-Identifier: Apache-2.0 */
/* vmbackup delete, verify, copy, gc: work on backups that are stored. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PASSWORD                                                                                \
    {"fs-password-file", 0, CLI_STRING, "FILE",                                                 \
     "password of the repositories with volume data; default: the cluster's Secret "            \
     "velero-repo-credentials"}
#define WHERE                                                                                   \
    PASSWORD, {"storage-location", 0, CLI_STRING, "NAME", "where the backup lies; default the default "   \
                                                "location"}
#define END {NULL, 0, CLI_BOOL, NULL, NULL}

const struct cli_option cli_delete_options[] = {
    {"confirm", 0, CLI_BOOL, NULL, "do not ask"},
    {"force", 0, CLI_BOOL, NULL, "remove the files also when volume data cannot be removed"},
    {"orphan", 0, CLI_BOOL, NULL, "also a folder without velero-backup.json (see gc)"},
    WHERE, END};
const struct cli_option cli_verify_options[] = {
    {"deep", 0, CLI_BOOL, NULL, "read every byte of the volumes in repositories, too"}, WHERE, END};
const struct cli_option cli_copy_options[] = {
    {"to", 0, CLI_STRING, "LOCATION", "name of the location to copy into; required"},
    {"archive-only", 0, CLI_BOOL, NULL, "copy a backup without its volume data"}, WHERE, END};
const struct cli_option cli_gc_options[] = {
    {"dry-run", 0, CLI_BOOL, NULL, "only show what would be removed"},
    {"orphans-older-than", 0, CLI_STRING, "DURATION",
     "also remove folders without velero-backup.json, and uploads of writers that died, that have "
     "not changed for so long"},
    {"force", 0, CLI_BOOL, NULL, "remove the files also when volume data cannot be removed"},
    PASSWORD,
    {"storage-location", 0, CLI_STRING, "NAME", "the location; default the default location"}, END};

/* ---- what they share ------------------------------------------------------------------------ */

static int need_name(const struct cli_args *args, const char *usage)
{
    if (args->name_count == 0) {
        cli_error("no backup is named: vmbackup %s", usage);
        return CLI_USAGE;
    }
    return CLI_OK;
}

/* Opens the catalogue; with a cluster for the snapshots when the command line names one. */
static int open_catalog(const struct cli_args *args, vmb_ctx **ctx, vmb_catalog **out)
{
    const char *location = cli_value(args, "storage-location");
    bool cluster = cli_value(args, "kubeconfig") || cli_value(args, "context") ||
                   cli_value(args, "cluster-dir");
    vmb_error *err = NULL;
    int result =
        cli_session(args, (cluster ? CLI_NEED_CLUSTER : 0) | CLI_NEED_VOLUMES, NULL, ctx);

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

static char *options_text(json_t *options)
{
    char *text = options ? json_dumps(options, JSON_COMPACT) : NULL;

    json_decref(options);
    if (!text) {
        cli_error("out of memory");
    }
    return text;
}

static const char *plural(long long n)
{
    return n == 1 ? "" : "s";
}

/* ---- delete --------------------------------------------------------------------------------- */

static int confirm(const struct cli_args *args)
{
    char line[16] = "";

    if (cli_flag(args, "confirm")) {
        return CLI_OK;
    }
    if (!isatty(STDIN_FILENO)) {
        cli_error("nobody can be asked here: add --confirm to delete %s", args->names[0]);
        return CLI_USAGE;
    }
    fprintf(stderr, "Delete backup %s with its snapshots and volume data (y/N)? ", args->names[0]);
    if (!fgets(line, sizeof(line), stdin) || (line[0] != 'y' && line[0] != 'Y')) {
        cli_error("not deleted");
        return CLI_FAILED;
    }
    return CLI_OK;
}

static void print_deletion(const json_t *report)
{
    const char *name = cli_text(report, "backup", NULL);
    const json_t *problem;
    size_t index;

    json_array_foreach(json_object_get(report, "errors"), index, problem)
    {
        cli_error("%s", json_string_value(problem));
    }
    if (json_is_true(json_object_get(report, "deleted"))) {
        long long files = cli_number(report, "files", NULL);
        long long snapshots = cli_number(report, "snapshots", NULL);
        long long volumes = cli_number(report, "volumes", NULL);
        long long restores = (long long)json_array_size(json_object_get(report, "restores"));

        printf("backup \"%s\" deleted (%lld file%s, %lld snapshot%s, %lld volume%s, %lld "
               "restore%s)\n", name, files, plural(files), snapshots, plural(snapshots), volumes,
               plural(volumes), restores, plural(restores));
    } else if (json_is_true(json_object_get(report, "listed"))) {
        fprintf(stderr, "       backup \"%s\" is unchanged; --force removes its files nevertheless"
                        "\n", name);
    } else {
        fprintf(stderr, "       backup \"%s\" is removed in part and not listed any more; delete "
                        "it again to go on\n", name);
    }
}

/* Deletes one backup and prints what came of it. */
static int delete_one(vmb_catalog *catalog, const char *name, json_t *options,
                      enum cli_format format)
{
    vmb_error *err = NULL;
    char *text = options_text(options);
    char *out = NULL;
    size_t len = 0;
    json_t *report;
    int result;

    if (!text) {
        return CLI_FAILED;
    }
    if (vmb_catalog_delete(catalog, name, text, strlen(text), &out, &len, &err) != VMB_OK) {
        free(text);
        return cli_fail(name, err);
    }
    free(text);
    report = cli_take_json(out, len);
    if (!report) {
        return CLI_FAILED;
    }
    result = json_is_true(json_object_get(report, "deleted")) ? CLI_OK : CLI_FAILED;
    if (result == CLI_OK && json_array_size(json_object_get(report, "errors")) > 0) {
        result = CLI_PARTIAL;
    }
    if (format == CLI_TABLE) {
        cli_plain(report);
        print_deletion(report);
    } else {
        cli_print_value(format, report);
    }
    json_decref(report);
    return result;
}

int cli_delete(struct cli_args *args)
{
    enum cli_format format;
    vmb_ctx *ctx = NULL;
    vmb_catalog *catalog = NULL;
    int result = need_name(args, "delete backup NAME");

    if (result != CLI_OK || !cli_output_format(args, &format)) {
        return CLI_USAGE;
    }
    result = confirm(args);
    if (result == CLI_OK) {
        result = open_catalog(args, &ctx, &catalog);
    }
    if (result == CLI_OK) {
        result = delete_one(catalog, args->names[0],
                            json_pack("{s:b,s:b}", "force", cli_flag(args, "force"), "orphan",
                                      cli_flag(args, "orphan")), format);
    }
    vmb_catalog_free(catalog);
    vmb_ctx_unref(ctx);
    return result;
}

/* ---- verify --------------------------------------------------------------------------------- */

static void print_verdict(const json_t *report, bool deep)
{
    const json_t *problem;
    size_t index;
    char archive[32];

    json_array_foreach(json_object_get(report, "problems"), index, problem)
    {
        printf("%s: %s: %s\n", cli_text(problem, "level", NULL), cli_text(problem, "file", NULL),
               cli_text(problem, "message", NULL));
    }
    cli_bytes(cli_number(report, "archiveBytes", NULL), archive, sizeof(archive));
    printf("backup %s: %s, %lld files, %lld objects, archive %s",
           cli_text(report, "backup", NULL),
           json_is_true(json_object_get(report, "ok")) ? "ok" : "damaged",
           cli_number(report, "files", NULL), cli_number(report, "objects", NULL), archive);
    if (deep) {
        printf(", %lld volumes read", cli_number(report, "volumes", NULL));
    }
    printf("\n");
}

int cli_verify(struct cli_args *args)
{
    const char *options = cli_flag(args, "deep") ? "{\"deep\":true}" : "{}";
    enum cli_format format;
    vmb_ctx *ctx = NULL;
    vmb_catalog *catalog = NULL;
    vmb_error *err = NULL;
    char *text = NULL;
    size_t len = 0;
    json_t *report;
    int result = need_name(args, "verify NAME");

    if (result != CLI_OK || !cli_output_format(args, &format)) {
        return CLI_USAGE;
    }
    result = open_catalog(args, &ctx, &catalog);
    if (result != CLI_OK) {
        return result;
    }
    if (vmb_catalog_verify_json(catalog, args->names[0], options, strlen(options), &text, &len,
                                &err) != VMB_OK) {
        result = cli_fail(args->names[0], err);
        goto out;
    }
    report = cli_take_json(text, len);
    result = report && json_is_true(json_object_get(report, "ok")) ? CLI_OK : CLI_FAILED;
    if (report && format == CLI_TABLE) {
        cli_plain(report);
        print_verdict(report, cli_flag(args, "deep"));
    } else if (report) {
        cli_print_value(format, report);
    }
    json_decref(report);
out:
    vmb_catalog_free(catalog);
    vmb_ctx_unref(ctx);
    return result;
}

/* ---- copy ----------------------------------------------------------------------------------- */

static int copy_into(const struct cli_args *args, enum cli_format format, vmb_catalog *from,
                     vmb_catalog *to)
{
    const char *options = cli_flag(args, "archive-only") ? "{\"archiveOnly\":true}" : "{}";
    vmb_error *err = NULL;
    char *text = NULL;
    size_t len = 0;
    char bytes[32];
    json_t *report;

    if (vmb_catalog_copy(from, args->names[0], to, options, strlen(options), &text, &len, &err) !=
        VMB_OK) {
        return cli_fail(args->names[0], err);
    }
    report = cli_take_json(text, len);
    if (!report) {
        return CLI_FAILED;
    }
    if (format == CLI_TABLE) {
        cli_bytes(cli_number(report, "bytes", NULL), bytes, sizeof(bytes));
        printf("backup \"%s\" copied from %s to %s (%lld files, %s)\n", args->names[0],
               cli_text(report, "from", NULL), cli_text(report, "to", NULL),
               cli_number(report, "files", NULL), bytes);
    } else {
        cli_print_value(format, report);
    }
    json_decref(report);
    return CLI_OK;
}

int cli_copy(struct cli_args *args)
{
    const char *target = cli_value(args, "to");
    enum cli_format format;
    vmb_ctx *ctx = NULL;
    vmb_catalog *from = NULL;
    vmb_catalog *to = NULL;
    vmb_error *err = NULL;
    int result = need_name(args, "copy NAME --to LOCATION");

    if (result != CLI_OK || !cli_output_format(args, &format)) {
        return CLI_USAGE;
    }
    if (!target) {
        cli_error("no target is named: vmbackup copy NAME --to LOCATION");
        return CLI_USAGE;
    }
    result = open_catalog(args, &ctx, &from);
    if (result == CLI_OK && vmb_catalog_open(ctx, target, &to, &err) != VMB_OK) {
        result = cli_fail("--to", err);
    }
    if (result == CLI_OK) {
        result = copy_into(args, format, from, to);
    }
    vmb_catalog_free(to);
    vmb_catalog_free(from);
    vmb_ctx_unref(ctx);
    return result;
}

/* ---- gc ------------------------------------------------------------------------------------- */

/* The names in a list of the library: expired backups, or orphans. */
static json_t *listing(vmb_catalog *catalog, bool orphans)
{
    vmb_error *err = NULL;
    char *text = NULL;
    size_t len = 0;
    vmb_code rc = orphans ? vmb_catalog_orphans_json(catalog, &text, &len, &err)
                          : vmb_catalog_expired_json(catalog, (int64_t)time(NULL) * 1000000000,
                                                     &text, &len, &err);

    if (rc != VMB_OK) {
        cli_fail("gc", err);
        return NULL;
    }
    return cli_take_json(text, len);
}

static int worse(int a, int b)
{
    return a == CLI_FAILED || b == CLI_FAILED ? CLI_FAILED : a != CLI_OK ? a : b;
}

static int collect_expired(const struct cli_args *args, vmb_catalog *catalog)
{
    json_t *list = listing(catalog, false);
    const json_t *item;
    size_t index;
    int result = list ? CLI_OK : CLI_FAILED;

    json_array_foreach(list, index, item)
    {
        const char *name = cli_text(item, "name", NULL);

        if (cli_flag(args, "dry-run")) {
            printf("backup \"%s\" expired at %s\n", name, cli_text(item, "expiration", NULL));
        } else {
            result = worse(result, delete_one(catalog, name,
                                              json_pack("{s:b}", "force", cli_flag(args, "force")),
                                              CLI_TABLE));
        }
    }
    json_decref(list);
    return result;
}

/* The age of orphans in seconds, 0 when none are asked for; a usage error for what would make it
 * every age: a backup that is being written just now is an orphan, too. */
static int read_age(const struct cli_args *args, long long *seconds)
{
    const char *text = cli_value(args, "orphans-older-than");
    vmb_spec *spec = NULL;
    int64_t ns = 0;

    *seconds = 0;
    if (!text) {
        return CLI_OK;
    }
    if (vmb_spec_new("gc", &spec, NULL) != VMB_OK ||
        vmb_spec_set_string(spec, "spec.ttl", text, NULL) != VMB_OK ||
        vmb_spec_get_duration_ns(spec, "spec.ttl", &ns, NULL) != VMB_OK || ns < 1000000000) {
        vmb_spec_free(spec);
        cli_error("--orphans-older-than %s: write a duration such as 48h", text);
        return CLI_USAGE;
    }
    vmb_spec_free(spec);
    *seconds = ns / 1000000000;
    return CLI_OK;
}

/* As the library decides it when it deletes: what may be in the making stays. */
static bool is_older(const json_t *orphan, long long seconds)
{
    struct tm tm = {0};
    const char *end = strptime(cli_text(orphan, "lastModified", NULL), "%Y-%m-%dT%H:%M:%SZ", &tm);

    return end && *end == '\0' && (long long)timegm(&tm) <= (long long)time(NULL) - seconds;
}

/* Deletions that ended early are taken up in any case; other orphans only when asked for. */
static int collect_orphans(const struct cli_args *args, vmb_catalog *catalog, long long seconds)
{
    const char *age = cli_value(args, "orphans-older-than");
    json_t *list = listing(catalog, true);
    const json_t *item;
    size_t index;
    int result = list ? CLI_OK : CLI_FAILED;

    json_array_foreach(list, index, item)
    {
        const char *name = cli_text(item, "name", NULL);
        bool deleting = json_is_true(json_object_get(item, "deleting"));
        char bytes[32];

        if (!deleting && (!age || !is_older(item, seconds))) {
            continue;
        }
        if (cli_flag(args, "dry-run")) {
            cli_bytes(cli_number(item, "bytes", NULL), bytes, sizeof(bytes));
            printf("%s \"%s\": %lld files, %s, last changed %s\n",
                   deleting ? "unfinished deletion" : "orphan", name,
                   cli_number(item, "files", NULL), bytes, cli_text(item, "lastModified", NULL));
        } else {
            json_t *options = json_pack("{s:b,s:b}", "force", cli_flag(args, "force"), "orphan",
                                        !deleting);
            if (options && !deleting) {
                json_object_set_new(options, "olderThan", json_string(age));
            }
            result = worse(result, delete_one(catalog, name, options, CLI_TABLE));
        }
    }
    json_decref(list);
    return result;
}

/* Uploads that nobody ended. To look for them takes a right that Velero's own policy for S3 does not
 * have: without it the rest of gc is as good as ever. */
static int collect_uploads(const struct cli_args *args, vmb_catalog *catalog, long long seconds)
{
    vmb_error *err = NULL;
    int64_t removed = 0;
    vmb_code rc = VMB_OK;

    if (seconds < 3600 || cli_flag(args, "dry-run")) {
        return CLI_OK; /* none are asked for, or the library would refuse */
    }
    rc = vmb_catalog_sweep(catalog, (int64_t)seconds * 1000000000, &removed, &err);
    if (removed > 0) {
        printf("%lld uploads of writers that died were removed\n", (long long)removed);
    }
    if (rc == VMB_E_DENIED) {
        cli_error("uploads of writers that died are not looked for: %s", vmb_error_message(err));
        vmb_error_free(err);
        return CLI_OK;
    }
    return rc == VMB_OK ? CLI_OK : cli_fail("gc", err);
}

int cli_gc(struct cli_args *args)
{
    vmb_ctx *ctx = NULL;
    vmb_catalog *catalog = NULL;
    long long age = 0;
    int result = read_age(args, &age);

    if (result == CLI_OK) {
        result = open_catalog(args, &ctx, &catalog);
    }
    if (result == CLI_OK) {
        result = collect_expired(args, catalog);
        result = worse(result, collect_orphans(args, catalog, age));
        result = worse(result, collect_uploads(args, catalog, age));
    }
    vmb_catalog_free(catalog);
    vmb_ctx_unref(ctx);
    return result;
}
