/* SPDX-License-Identifier: Apache-2.0 */
/* vmbackup describe: one backup, in the order in which "velero backup describe" prints it. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>

const struct cli_option cli_describe_options[] = {
    {"details", 0, CLI_BOOL, NULL, "with the resource list, volumes, operations and files"},
    {"storage-location", 0, CLI_STRING, "NAME",
     "where the backup lies; default the default "
     "location"},
    {NULL, 0, CLI_BOOL, NULL, NULL}};

static void print_value(const char *title, int width, const char *value, const char *empty)
{
    printf("%-*s%s\n", width, title, *value ? value : empty);
}

static void print_status(const json_t *status)
{
    char text[64];

    printf("\n");
    print_value("Backup Format Version:", 24, cli_text(status, "formatVersion", NULL), "<n/a>");
    printf("\n");
    cli_instant(cli_text(status, "startTimestamp", NULL), text, sizeof(text));
    printf("Started:    %s\n", text);
    cli_instant(cli_text(status, "completionTimestamp", NULL), text, sizeof(text));
    printf("Completed:  %s\n\n", text);
    cli_instant(cli_text(status, "expiration", NULL), text, sizeof(text));
    printf("Expiration:  %s\n\n", text);
    printf("Total items to be backed up:  %lld\n", cli_number(status, "progress", "totalItems"));
    printf("Items backed up:              %lld\n", cli_number(status, "progress", "itemsBackedUp"));
}

static void print_description(const json_t *doc, bool details)
{
    const json_t *backup = json_object_get(doc, "backup");
    const json_t *metadata = json_object_get(backup, "metadata");
    const json_t *status = json_object_get(backup, "status");
    const json_t *results = json_object_get(doc, "results");
    const json_t *hooks = json_object_get(status, "hookStatus");
    const char *reason = cli_text(status, "failureReason", NULL);
    const json_t *problem;
    size_t index;

    cli_describe_metadata(metadata);
    printf("\nPhase:  %s", cli_text(status, "phase", NULL));
    printf("%s%s\n", *reason ? ": " : "", reason);
    json_array_foreach(json_object_get(status, "validationErrors"), index, problem)
    {
        printf("  %s\n", json_string_value(problem));
    }
    cli_describe_results("Warnings", json_object_get(results, "warnings"),
                         cli_number(status, "warnings", NULL));
    cli_describe_results("Errors", json_object_get(results, "errors"),
                         cli_number(status, "errors", NULL));
    printf("\n");
    cli_describe_spec(stdout, json_object_get(backup, "spec"));
    print_status(status);
    cli_describe_operations(doc, details);
    if (details) {
        cli_describe_resources(json_object_get(doc, "resourceList"));
    }
    cli_describe_volumes(doc, details);
    printf("\nHooksAttempted:  %lld\nHooksFailed:     %lld\n",
           cli_number(hooks, "hooksAttempted", NULL), cli_number(hooks, "hooksFailed", NULL));
    if (details) {
        cli_describe_files(json_object_get(doc, "files"));
    }
}

int cli_describe(struct cli_args *args)
{
    enum cli_format format;
    vmb_ctx *ctx = NULL;
    vmb_catalog *catalog = NULL;
    vmb_error *err = NULL;
    char *text = NULL;
    size_t len = 0;
    json_t *doc;
    int result;

    if (args->name_count == 0) {
        cli_error("no backup is named: vmbackup describe NAME");
        return CLI_USAGE;
    }
    if (!cli_output_format(args, &format)) {
        return CLI_USAGE;
    }
    result = cli_catalog(args, &ctx, &catalog);
    if (result != CLI_OK) {
        return result;
    }
    if (vmb_catalog_describe_json(catalog, args->names[0], &text, &len, &err) != VMB_OK) {
        result = cli_fail(args->names[0], err);
        goto out;
    }
    doc = cli_take_json(text, len);
    if (!doc) {
        result = CLI_FAILED;
    } else if (format == CLI_TABLE) {
        cli_plain(doc);
        print_description(doc, cli_flag(args, "details"));
    } else {
        cli_print_value(format, doc);
    }
    json_decref(doc);
out:
    vmb_catalog_free(catalog);
    vmb_ctx_unref(ctx);
    return result;
}
