/* SPDX-License-Identifier: Apache-2.0 */
/* What the descriptions of backups, restores and schedules share, in Velero's forms. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>

void cli_describe_map(const char *title, int width, json_t *map)
{
    const char *lead = title;

    if (json_object_size(map) == 0) {
        printf("%-*s<none>\n", width, title);
        return;
    }
    for (void *at = json_object_iter(map); at; at = json_object_iter_next(map, at)) {
        const char *value = json_string_value(json_object_iter_value(at));

        printf("%-*s%s=%s\n", width, lead, json_object_iter_key(at), value ? value : "?");
        lead = "";
    }
}

void cli_describe_metadata(const json_t *metadata)
{
    printf("%-14s%s\n%-14s%s\n", "Name:", cli_text(metadata, "name", NULL),
           "Namespace:", cli_text(metadata, "namespace", NULL));
    cli_describe_map("Labels:", 14, json_object_get(metadata, "labels"));
    cli_describe_map("Annotations:", 14, json_object_get(metadata, "annotations"));
}

/* ---- the spec of a backup -------------------------------------------------------------------- */

static void print_list(FILE *out, const char *title, int width, const json_t *list,
                       const char *empty)
{
    char *text = cli_join(list, ", ", empty);

    fprintf(out, "  %-*s%s\n", width, title, text ? text : "?");
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

static void print_filters(FILE *out, const json_t *spec)
{
    const json_t *item;
    size_t index;
    /* Velero's rule: the new filters count unless an old one is used */
    bool scoped = json_array_size(json_object_get(spec, "includedResources")) == 0 &&
                  json_array_size(json_object_get(spec, "excludedResources")) == 0 &&
                  !json_is_boolean(json_object_get(spec, "includeClusterResources"));
    char *text;

    fprintf(out, "Namespaces:\n");
    print_list(out, "Included:", 11, json_object_get(spec, "includedNamespaces"), "*");
    print_list(out, "Excluded:", 11, json_object_get(spec, "excludedNamespaces"), "<none>");
    fprintf(out, "\nResources:\n");
    if (scoped) {
        print_list(out, "Included cluster-scoped:", 28,
                   json_object_get(spec, "includedClusterScopedResources"), "<none>");
        print_list(out, "Excluded cluster-scoped:", 28,
                   json_object_get(spec, "excludedClusterScopedResources"), "<none>");
        print_list(out, "Included namespace-scoped:", 28,
                   json_object_get(spec, "includedNamespaceScopedResources"), "*");
        print_list(out, "Excluded namespace-scoped:", 28,
                   json_object_get(spec, "excludedNamespaceScopedResources"), "<none>");
    } else {
        print_list(out, "Included:", 17, json_object_get(spec, "includedResources"), "*");
        print_list(out, "Excluded:", 17, json_object_get(spec, "excludedResources"), "<none>");
        fprintf(out, "  %-17s%s\n",
               "Cluster-scoped:", scope(json_object_get(spec, "includeClusterResources")));
    }
    text = cli_selector_text(json_object_get(spec, "labelSelector"));
    fprintf(out, "\nLabel selector:  %s\n\nOr label selector:  ", text ? text : "?");
    free(text);
    json_array_foreach(json_object_get(spec, "orLabelSelectors"), index, item)
    {
        text = cli_selector_text(item);
        fprintf(out, "%s%s", index ? " or " : "", text ? text : "?");
        free(text);
    }
    fprintf(out, "%s\n", json_array_size(json_object_get(spec, "orLabelSelectors")) == 0 ? "<none>" : "");
}

static void print_value(FILE *out, const char *title, int width, const char *value, const char *empty)
{
    fprintf(out, "%-*s%s\n", width, title, *value ? value : empty);
}

/* The steps of one stage of a hook. */
static void print_steps(FILE *out, const char *title, const json_t *steps)
{
    const json_t *step;
    size_t number;

    json_array_foreach(steps, number, step)
    {
        const json_t *exec = json_object_get(step, "exec");
        char *command = cli_join(json_object_get(exec, "command"), " ", "");

        fprintf(out, "\n      %s Exec Hook:\n", title);
        print_value(out, "        Container:", 20, cli_text(exec, "container", NULL), "<first>");
        print_value(out, "        Command:", 20, command ? command : "?", "");
        print_value(out, "        On Error:", 20, cli_text(exec, "onError", NULL), "Fail");
        print_value(out, "        Timeout:", 20, cli_text(exec, "timeout", NULL), "<default>");
        free(command);
    }
}

/* A list of names inside of a hook. */
static void print_names(FILE *out, const char *title, const json_t *list, const char *empty)
{
    char *text = cli_join(list, ", ", empty);

    fprintf(out, "        %-11s%s\n", title, text ? text : "?");
    free(text);
}

static void print_hooks(FILE *out, const json_t *hooks)
{
    const json_t *hook;
    size_t index;

    fprintf(out, "\nHooks:%s\n", json_array_size(hooks) == 0 ? "  <none>" : "\n  Resources:");
    json_array_foreach(hooks, index, hook)
    {
        char *selector = cli_selector_text(json_object_get(hook, "labelSelector"));

        fprintf(out, "    %s:\n      Namespaces:\n", cli_text(hook, "name", NULL));
        print_names(out, "Included:", json_object_get(hook, "includedNamespaces"), "*");
        print_names(out, "Excluded:", json_object_get(hook, "excludedNamespaces"), "<none>");
        fprintf(out, "\n      Resources:\n");
        print_names(out, "Included:", json_object_get(hook, "includedResources"), "*");
        print_names(out, "Excluded:", json_object_get(hook, "excludedResources"), "<none>");
        fprintf(out, "\n      Label selector:  %s\n", selector ? selector : "?");
        free(selector);
        print_steps(out, "Pre", json_object_get(hook, "pre"));
        print_steps(out, "Post", json_object_get(hook, "post"));
    }
}

static void print_ordered(FILE *out, json_t *ordered)
{
    if (json_object_size(ordered) == 0) {
        return;
    }
    fprintf(out, "\nOrderedResources:\n");
    for (void *at = json_object_iter(ordered); at; at = json_object_iter_next(ordered, at)) {
        const char *value = json_string_value(json_object_iter_value(at));

        fprintf(out, "  %s: %s\n", json_object_iter_key(at), value ? value : "?");
    }
}

void cli_describe_spec(FILE *out, const json_t *spec)
{
    const json_t *fs_backup = json_object_get(spec, "defaultVolumesToFsBackup");
    int width = json_is_boolean(fs_backup) ? 31 : 29; /* of the longest title, and two blanks */

    print_filters(out, spec);
    fprintf(out, "\n");
    print_value(out, "Storage Location:", 19, cli_text(spec, "storageLocation", NULL), "<default>");
    fprintf(out, "\n%-*s%s\n", width,
           "Velero-Native Snapshot PVs:", tristate(json_object_get(spec, "snapshotVolumes")));
    if (json_is_boolean(fs_backup)) {
        fprintf(out, "%-*s%s\n", width, "File System Backup (Default):", tristate(fs_backup));
    }
    fprintf(out, "%-*s%s\n", width, "Snapshot Move Data:",
           tristate(json_object_get(spec, "snapshotMoveData")));
    print_value(out, "Data Mover:", width, cli_text(spec, "datamover", NULL), "velero");
    fprintf(out, "\n");
    print_value(out, "TTL:", 6, cli_text(spec, "ttl", NULL), "<n/a>");
    fprintf(out, "\n");
    print_value(out, "CSISnapshotTimeout:", 23, cli_text(spec, "csiSnapshotTimeout", NULL), "<n/a>");
    print_value(out, "ItemOperationTimeout:", 23, cli_text(spec, "itemOperationTimeout", NULL), "<n/a>");
    print_hooks(out, json_object_get(json_object_get(spec, "hooks"), "resources"));
    print_ordered(out, json_object_get(spec, "orderedResources"));
}

/* ---- what went wrong -------------------------------------------------------------------------- */

/* Messages below one another; a message may have lines itself. */
static void print_messages(const char *title, int indent, int width, const json_t *messages)
{
    const json_t *message;
    size_t index;

    if (json_array_size(messages) == 0) {
        printf("%*s%-*s<none>\n", indent, "", width + 2, title);
    }
    json_array_foreach(messages, index, message)
    {
        const char *text = json_string_value(message);

        printf("%*s%-*s%s\n", indent, "", width, index ? "" : title, text ? text : "?");
    }
}

void cli_describe_results(const char *title, const json_t *part, long long count)
{
    json_t *namespaces = json_object_get(part, "namespaces");
    int width = 0;

    if (count == 0) {
        return;
    }
    printf("\n%s:\n", title);
    print_messages("Velero:", 2, 10, json_object_get(part, "velero"));
    print_messages("Cluster:", 2, 10, json_object_get(part, "cluster"));
    if (json_object_size(namespaces) == 0) {
        printf("  Namespaces: <none>\n");
        return;
    }
    printf("  Namespaces:\n");
    for (void *at = json_object_iter(namespaces); at; at = json_object_iter_next(namespaces, at)) {
        int len = (int)strlen(json_object_iter_key(at)) + 3;

        width = len > width ? len : width;
    }
    for (void *at = json_object_iter(namespaces); at; at = json_object_iter_next(namespaces, at)) {
        char name[300];

        snprintf(name, sizeof(name), "%s:", json_object_iter_key(at));
        print_messages(name, 4, width, json_object_iter_value(at));
    }
}

/* ---- what there is ------------------------------------------------------------------------------ */

void cli_describe_resources(json_t *resources)
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

void cli_describe_files(const json_t *files)
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

