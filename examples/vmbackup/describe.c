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

static void print_map(const char *title, json_t *map)
{
    const char *lead = title;

    if (json_object_size(map) == 0) {
        printf("%-14s<none>\n", title);
        return;
    }
    for (void *at = json_object_iter(map); at; at = json_object_iter_next(map, at)) {
        const char *value = json_string_value(json_object_iter_value(at));

        printf("%-14s%s=%s\n", lead, json_object_iter_key(at), value ? value : "?");
        lead = "";
    }
}

static void print_list(const char *title, int width, const json_t *list, const char *empty)
{
    char *text = cli_join(list, ", ", empty);

    printf("  %-*s%s\n", width, title, text ? text : "?");
    free(text);
}

/* "auto", "true" or "false" of a boolean that may be unset. */
static const char *tristate(const json_t *value)
{
    return json_is_true(value) ? "true" : json_is_false(value) ? "false" : "auto";
}

static const char *scope(const json_t *value)
{
    return json_is_true(value) ? "included" : json_is_false(value) ? "excluded" : "auto";
}

static void print_filters(const json_t *spec)
{
    const json_t *item;
    size_t index;
    bool scoped = json_object_get(spec, "includedClusterScopedResources") ||
                  json_object_get(spec, "excludedClusterScopedResources") ||
                  json_object_get(spec, "includedNamespaceScopedResources") ||
                  json_object_get(spec, "excludedNamespaceScopedResources");
    char *text;

    printf("\nNamespaces:\n");
    print_list("Included:", 11, json_object_get(spec, "includedNamespaces"), "*");
    print_list("Excluded:", 11, json_object_get(spec, "excludedNamespaces"), "<none>");
    printf("\nResources:\n");
    if (scoped) {
        print_list("Included cluster-scoped:", 28,
                   json_object_get(spec, "includedClusterScopedResources"), "<none>");
        print_list("Excluded cluster-scoped:", 28,
                   json_object_get(spec, "excludedClusterScopedResources"), "<none>");
        print_list("Included namespace-scoped:", 28,
                   json_object_get(spec, "includedNamespaceScopedResources"), "*");
        print_list("Excluded namespace-scoped:", 28,
                   json_object_get(spec, "excludedNamespaceScopedResources"), "<none>");
    } else {
        print_list("Included:", 17, json_object_get(spec, "includedResources"), "*");
        print_list("Excluded:", 17, json_object_get(spec, "excludedResources"), "<none>");
        printf("  %-17s%s\n",
               "Cluster-scoped:", scope(json_object_get(spec, "includeClusterResources")));
    }
    text = cli_selector_text(json_object_get(spec, "labelSelector"));
    printf("\nLabel selector:  %s\n\nOr label selector:  ", text ? text : "?");
    free(text);
    json_array_foreach(json_object_get(spec, "orLabelSelectors"), index, item)
    {
        text = cli_selector_text(item);
        printf("%s%s", index ? " or " : "", text ? text : "?");
        free(text);
    }
    printf("%s\n", json_array_size(json_object_get(spec, "orLabelSelectors")) == 0 ? "<none>" : "");
}

static void print_value(const char *title, int width, const char *value, const char *empty)
{
    printf("%-*s%s\n", width, title, *value ? value : empty);
}

/* The steps of one stage of a hook. */
static void print_steps(const char *title, const json_t *steps)
{
    const json_t *step;
    size_t number;

    json_array_foreach(steps, number, step)
    {
        const json_t *exec = json_object_get(step, "exec");
        char *command = cli_join(json_object_get(exec, "command"), " ", "");

        printf("\n      %s Exec Hook:\n", title);
        print_value("        Container:", 20, cli_text(exec, "container", NULL), "<first>");
        print_value("        Command:", 20, command ? command : "?", "");
        print_value("        On Error:", 20, cli_text(exec, "onError", NULL), "Fail");
        print_value("        Timeout:", 20, cli_text(exec, "timeout", NULL), "<default>");
        free(command);
    }
}

/* A list of names inside of a hook. */
static void print_names(const char *title, const json_t *list, const char *empty)
{
    char *text = cli_join(list, ", ", empty);

    printf("        %-11s%s\n", title, text ? text : "?");
    free(text);
}

static void print_hooks(const json_t *hooks)
{
    const json_t *hook;
    size_t index;

    printf("\nHooks:%s\n", json_array_size(hooks) == 0 ? "  <none>" : "\n  Resources:");
    json_array_foreach(hooks, index, hook)
    {
        char *selector = cli_selector_text(json_object_get(hook, "labelSelector"));

        printf("    %s:\n      Namespaces:\n", cli_text(hook, "name", NULL));
        print_names("Included:", json_object_get(hook, "includedNamespaces"), "*");
        print_names("Excluded:", json_object_get(hook, "excludedNamespaces"), "<none>");
        printf("\n      Resources:\n");
        print_names("Included:", json_object_get(hook, "includedResources"), "*");
        print_names("Excluded:", json_object_get(hook, "excludedResources"), "<none>");
        printf("\n      Label selector:  %s\n", selector ? selector : "?");
        free(selector);
        print_steps("Pre", json_object_get(hook, "pre"));
        print_steps("Post", json_object_get(hook, "post"));
    }
}

static void print_ordered(json_t *ordered)
{
    if (json_object_size(ordered) == 0) {
        return;
    }
    printf("\nOrderedResources:\n");
    for (void *at = json_object_iter(ordered); at; at = json_object_iter_next(ordered, at)) {
        const char *value = json_string_value(json_object_iter_value(at));

        printf("  %s: %s\n", json_object_iter_key(at), value ? value : "?");
    }
}

static void print_spec(const json_t *spec)
{
    const json_t *fs_backup = json_object_get(spec, "defaultVolumesToFsBackup");
    int width = json_is_boolean(fs_backup) ? 31 : 29; /* of the longest title, and two blanks */

    print_filters(spec);
    printf("\n");
    print_value("Storage Location:", 19, cli_text(spec, "storageLocation", NULL), "<default>");
    printf("\n%-*s%s\n", width,
           "Velero-Native Snapshot PVs:", tristate(json_object_get(spec, "snapshotVolumes")));
    if (json_is_boolean(fs_backup)) {
        printf("%-*s%s\n", width, "File System Backup (Default):", tristate(fs_backup));
    }
    printf("%-*s%s\n", width, "Snapshot Move Data:",
           tristate(json_object_get(spec, "snapshotMoveData")));
    print_value("Data Mover:", width, cli_text(spec, "datamover", NULL), "velero");
    printf("\n");
    print_value("TTL:", 6, cli_text(spec, "ttl", NULL), "<n/a>");
    printf("\n");
    print_value("CSISnapshotTimeout:", 23, cli_text(spec, "csiSnapshotTimeout", NULL), "<n/a>");
    print_value("ItemOperationTimeout:", 23, cli_text(spec, "itemOperationTimeout", NULL), "<n/a>");
    print_hooks(json_object_get(json_object_get(spec, "hooks"), "resources"));
    print_ordered(json_object_get(spec, "orderedResources"));
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

/* One part of results.json ("Errors" or "Warnings"). */
static void print_results(const char *title, const json_t *part, long long count)
{
    static const char *const scopes[] = {"velero", "cluster"};
    static const char *const titles[] = {"Velero:", "Cluster:"};
    json_t *namespaces = json_object_get(part, "namespaces");
    const json_t *message;
    size_t index;

    if (count == 0) {
        return;
    }
    printf("\n%s:\n", title);
    for (size_t i = 0; i < 2; i++) {
        json_array_foreach(json_object_get(part, scopes[i]), index, message)
        {
            printf("  %-12s%s\n", index ? "" : titles[i], json_string_value(message));
        }
    }
    for (void *at = json_object_iter(namespaces); at; at = json_object_iter_next(namespaces, at)) {
        json_array_foreach(json_object_iter_value(at), index, message)
        {
            printf("  %s%s%s\n", index ? "  " : json_object_iter_key(at), index ? "" : ": ",
                   json_string_value(message));
        }
    }
}

static void print_resources(json_t *resources)
{
    const json_t *item;
    size_t index;

    printf("\nResource List:%s\n", json_object_size(resources) == 0 ? "  <none>" : "");
    for (void *at = json_object_iter(resources); at; at = json_object_iter_next(resources, at)) {
        printf("  %s:\n", json_object_iter_key(at));
        json_array_foreach(json_object_iter_value(at), index, item)
        {
            printf("    - %s\n", json_is_string(item) ? json_string_value(item) : "?");
        }
    }
}

static void print_files(const json_t *files)
{
    const json_t *file;
    size_t index;
    char size[32];

    printf("\nFiles:\n");
    json_array_foreach(files, index, file)
    {
        cli_bytes(cli_number(file, "size", NULL), size, sizeof(size));
        printf("  %-60s %s\n", cli_text(file, "key", NULL), size);
    }
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

    printf("%-14s%s\n%-14s%s\n", "Name:", cli_text(metadata, "name", NULL),
           "Namespace:", cli_text(metadata, "namespace", NULL));
    print_map("Labels:", json_object_get(metadata, "labels"));
    print_map("Annotations:", json_object_get(metadata, "annotations"));
    printf("\nPhase:  %s", cli_text(status, "phase", NULL));
    printf("%s%s\n", *reason ? ": " : "", reason);
    json_array_foreach(json_object_get(status, "validationErrors"), index, problem)
    {
        printf("  %s\n", json_string_value(problem));
    }
    print_results("Warnings", json_object_get(results, "warnings"),
                  cli_number(status, "warnings", NULL));
    print_results("Errors", json_object_get(results, "errors"), cli_number(status, "errors", NULL));
    print_spec(json_object_get(backup, "spec"));
    print_status(status);
    cli_describe_operations(doc, details);
    if (details) {
        print_resources(json_object_get(doc, "resourceList"));
    }
    cli_describe_volumes(doc, details);
    printf("\nHooksAttempted:  %lld\nHooksFailed:     %lld\n",
           cli_number(hooks, "hooksAttempted", NULL), cli_number(hooks, "hooksFailed", NULL));
    if (details) {
        print_files(json_object_get(doc, "files"));
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
