/* SPDX-License-Identifier: Apache-2.0 */
/* vmbackup describe restore: in the order and the forms of "velero restore describe". */
#include "cli.h"

#include <stdlib.h>
#include <string.h>

/* ---- reading ------------------------------------------------------------------------------------ */

static vmb_code to_stream(void *user, const void *data, size_t len)
{
    return fwrite(data, 1, len, user) == len ? VMB_OK : VMB_E_NOMEM;
}

/* One JSON file of the restore under `key`; what is not there is null. */
static int add_file(vmb_catalog *catalog, const char *name, int32_t file, json_t *doc,
                    const char *key)
{
    vmb_error *err = NULL;
    char *text = NULL;
    size_t len = 0;
    FILE *stream = open_memstream(&text, &len);
    json_t *value = NULL;
    vmb_code rc;

    if (!stream) {
        cli_error("out of memory");
        return CLI_FAILED;
    }
    rc = vmb_catalog_read(catalog, name, file, to_stream, stream, &err);
    if (fclose(stream) != 0 && rc == VMB_OK) {
        rc = VMB_E_NOMEM;
    }
    if (rc != VMB_OK && rc != VMB_E_NOT_FOUND) {
        free(text);
        return cli_fail(name, err);
    }
    vmb_error_free(err);
    if (rc == VMB_OK) {
        value = json_loadb(text, len, JSON_ALLOW_NUL | JSON_DECODE_ANY, NULL);
        if (!value) {
            cli_error("%s: the file with its %s is no JSON", name, key);
        }
    }
    free(text);
    json_object_set_new(doc, key, value ? value : json_null());
    return rc == VMB_OK && !value ? CLI_FAILED : CLI_OK;
}

static int read_files(vmb_catalog *catalog, const char *name, json_t *doc)
{
    static const struct {
        int32_t file;
        const char *key;
    } files[] = {{VMB_FILE_RESTORE_RESULTS, "results"},
                 {VMB_FILE_RESTORE_RESOURCE_LIST, "resourceList"},
                 {VMB_FILE_RESTORE_ITEM_OPERATIONS, "itemOperations"},
                 {VMB_FILE_RESTORE_VOLUME_INFO, "volumes"}};
    int result = CLI_OK;

    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]) && result == CLI_OK; i++) {
        result = add_file(catalog, name, files[i].file, doc, files[i].key);
    }
    return result;
}

/* ---- printing ----------------------------------------------------------------------------------- */

static void print_phase(const json_t *restore)
{
    const json_t *status = json_object_get(restore, "status");
    const json_t *progress = json_object_get(status, "progress");
    const char *phase = cli_text(status, "phase", NULL);
    const char *reason = cli_text(status, "failureReason", NULL);
    bool running = !strcmp(phase, "InProgress");
    bool hint = !strcmp(phase, "Failed") || !strcmp(phase, "PartiallyFailed");
    int width = !progress ? 8 : running ? 38 : 29; /* of the longest title, and two blanks */

    phase = *phase ? phase : json_object_get(restore, "spec") ? "New" : "<n/a>";
    printf("\n%-*s%s%s", width, "Phase:", phase,
           *cli_text(restore, "metadata", "deletionTimestamp") ? " (Deleting)" : "");
    if (hint) {
        printf(" (run \"vmbackup logs restore %s\" for more information)",
               cli_text(restore, "metadata", "name"));
    }
    printf("\n");
    if (progress) {
        printf("%-*s%lld\n", width,
               running ? "Estimated total items to be restored:" : "Total items to be restored:",
               cli_number(progress, "totalItems", NULL));
        printf("%-*s%lld\n", width, running ? "Items restored so far:" : "Items restored:",
               cli_number(progress, "itemsRestored", NULL));
    }
    if (*reason) {
        printf("\nFailure reason:  %s\n", reason);
    }
}

static void print_status(const json_t *status)
{
    const json_t *problem;
    size_t index;
    char text[64];

    cli_instant(cli_text(status, "startTimestamp", NULL), text, sizeof(text));
    printf("\nStarted:    %s\n", text);
    cli_instant(cli_text(status, "completionTimestamp", NULL), text, sizeof(text));
    printf("Completed:  %s\n", text);
    json_array_foreach(json_object_get(status, "validationErrors"), index, problem)
    {
        printf("%s%-18s  %s\n", index ? "" : "\n", index ? "" : "Validation errors:",
               json_string_value(problem));
    }
}

static const char *choice(const json_t *value, const char *no, const char *yes)
{
    return json_is_true(value) ? yes : json_is_false(value) ? no : "auto";
}

static void print_list(const char *title, int width, const json_t *list, const char *empty)
{
    char *text = cli_join(list, ", ", empty);

    printf("  %-*s%s\n", width, title, text ? text : "?");
    free(text);
}

static void print_selectors(const json_t *spec)
{
    const json_t *alternatives = json_object_get(spec, "orLabelSelectors");
    char *text = cli_selector_text(json_object_get(spec, "labelSelector"));
    const json_t *item;
    size_t index;

    printf("\nLabel selector:  %s\n\nOr label selector:  ", text ? text : "?");
    free(text);
    json_array_foreach(alternatives, index, item)
    {
        text = cli_selector_text(item);
        printf("%s%s", index ? " or " : "", text ? text : "?");
        free(text);
    }
    printf("%s\n", json_array_size(alternatives) == 0 ? "<none>" : "");
}

static void print_filters(const json_t *spec)
{
    const json_t *namespaces = json_object_get(spec, "includedNamespaces");
    bool all = json_array_size(namespaces) == 1 && json_is_string(json_array_get(namespaces, 0)) &&
               !strcmp(json_string_value(json_array_get(namespaces, 0)), "*");

    printf("\nNamespaces:\n");
    print_list("Included:", 11, all ? NULL : namespaces, "all namespaces found in the backup");
    print_list("Excluded:", 11, json_object_get(spec, "excludedNamespaces"), "<none>");
    printf("\nResources:\n");
    print_list("Included:", 17, json_object_get(spec, "includedResources"), "*");
    print_list("Excluded:", 17, json_object_get(spec, "excludedResources"), "<none>");
    printf("  %-17s%s\n\n", "Cluster-scoped:",
           choice(json_object_get(spec, "includeClusterResources"), "excluded", "included"));
    cli_describe_map("Namespace mappings:", 21, json_object_get(spec, "namespaceMapping"));
    print_selectors(spec);
    printf("\nRestore PVs:  %s\n", choice(json_object_get(spec, "restorePVs"), "false", "true"));
}

static void print_snapshot(const json_t *volume, bool moved, bool details)
{
    const json_t *snapshot = json_object_get(volume, "csiSnapshotInfo");
    const json_t *movement = json_object_get(volume, "snapshotDataMovementInfo");

    printf("  %s/%s:\n", cli_text(volume, "pvcNamespace", NULL), cli_text(volume, "pvcName", NULL));
    if (!details) {
        printf("    %s: specify --details for more information\n",
               moved ? "Data Movement" : "Snapshot");
    } else if (moved) {
        printf("    Data Movement:\n      Operation ID: %s\n      Data Mover: %s\n"
               "      Uploader Type: %s\n",
               cli_text(movement, "operationID", NULL), cli_text(movement, "dataMover", NULL),
               cli_text(movement, "uploaderType", NULL));
    } else {
        printf("    Snapshot:\n      Snapshot Content Name: %s\n      Storage Snapshot ID: %s\n"
               "      CSI Driver: %s\n",
               cli_text(snapshot, "vscName", NULL), cli_text(snapshot, "snapshotHandle", NULL),
               cli_text(snapshot, "driver", NULL));
    }
}

static bool is_csi(const json_t *volume)
{
    return !strcmp(cli_text(volume, "restoreMethod", NULL), "CSISnapshot");
}

static bool is_moved(const json_t *volume)
{
    return json_is_true(json_object_get(volume, "snapshotDataMoved"));
}

static void print_snapshots(const json_t *volumes, bool details)
{
    const json_t *volume;
    size_t index;
    size_t count = 0;

    json_array_foreach(volumes, index, volume)
    {
        count += is_csi(volume) ? 1 : 0;
    }
    printf("\nCSI Snapshot Restores:%s\n", count == 0 ? " <none included>" : "");
    for (int moved = 0; moved < 2; moved++) {
        json_array_foreach(volumes, index, volume)
        {
            if (is_csi(volume) && is_moved(volume) == (moved == 1)) {
                print_snapshot(volume, moved == 1, details);
            }
        }
    }
}

/* Velero reads them from PodVolumeRestores; the volume information has them, too. */
static void print_pod_volumes(const json_t *volumes, bool details)
{
    const json_t *volume;
    size_t index;
    size_t count = 0;
    const char *uploader = "";

    json_array_foreach(volumes, index, volume)
    {
        if (!strcmp(cli_text(volume, "restoreMethod", NULL), "PodVolumeRestore")) {
            uploader = cli_text(volume, "pvrInfo", "uploaderType");
            count++;
        }
    }
    if (count == 0) {
        return;
    }
    printf("\n%s Restores%s:\n", uploader, details ? "" : " (specify --details for more information)");
    printf(details ? "  Completed:\n" : "  Completed:  %zu\n", count);
    json_array_foreach(volumes, index, volume)
    {
        const json_t *info = json_object_get(volume, "pvrInfo");

        if (details && !strcmp(cli_text(volume, "restoreMethod", NULL), "PodVolumeRestore")) {
            printf("    %s/%s: %s\n", cli_text(info, "podNamespace", NULL),
                   cli_text(info, "podName", NULL), cli_text(info, "volumeName", NULL));
        }
    }
}

static void print_options(const json_t *spec)
{
    const char *policy = cli_text(spec, "existingResourcePolicy", NULL);
    const char *timeout = cli_text(spec, "itemOperationTimeout", NULL);
    const json_t *modifier = json_object_get(spec, "resourceModifier");
    const json_t *uploader = json_object_get(spec, "uploaderConfig");

    printf("\n%-28s%s\n%-28s%s\n", "Existing Resource Policy:", *policy ? policy : "<none>",
           "ItemOperationTimeout:", *timeout ? timeout : "<n/a>");
    printf("\nPreserve Service NodePorts:  %s\n",
           choice(json_object_get(spec, "preserveNodePorts"), "false", "true"));
    if (modifier) {
        printf("\nResource modifier:\n  Type:  %s\n  Name:  %s\n", cli_text(modifier, "kind", NULL),
               cli_text(modifier, "name", NULL));
    }
    if (uploader) {
        printf("\nUploader config:\n");
        if (json_is_true(json_object_get(uploader, "writeSparseFiles"))) {
            printf("  Write Sparse Files:  true\n");
        }
        if (cli_number(uploader, "parallelFilesDownload", NULL) > 0) {
            printf("  Parallel Restore:    %lld\n",
                   cli_number(uploader, "parallelFilesDownload", NULL));
        }
    }
}

static void print_operations(const json_t *doc, const json_t *status, bool details)
{
    const json_t *operations = json_object_get(doc, "itemOperations");
    const json_t *operation;
    size_t index;
    long long attempted = cli_number(status, "restoreItemOperationsAttempted", NULL);

    if (attempted == 0) {
        return;
    }
    if (!details) {
        printf("\nRestore Item Operations:  %lld of %lld completed successfully, %lld failed "
               "(specify --details for more information)\n",
               cli_number(status, "restoreItemOperationsCompleted", NULL), attempted,
               cli_number(status, "restoreItemOperationsFailed", NULL));
        return;
    }
    printf("\nRestore Item Operations:\n");
    json_array_foreach(operations, index, operation)
    {
        cli_describe_operation(operation, "Restore Item Action Plugin:", "restoreItemAction");
    }
}

static void print_description(const json_t *doc, bool details)
{
    const json_t *restore = json_object_get(doc, "restore");
    const json_t *spec = json_object_get(restore, "spec");
    const json_t *status = json_object_get(restore, "status");
    const json_t *results = json_object_get(doc, "results");
    const json_t *hooks = json_object_get(status, "hookStatus");
    const json_t *volumes = json_object_get(doc, "volumes");

    cli_describe_metadata(json_object_get(restore, "metadata"));
    print_phase(restore);
    print_status(status);
    if (json_is_object(results)) { /* without a status nobody has counted */
        cli_describe_results("Warnings", json_object_get(results, "warnings"),
                             status ? cli_number(status, "warnings", NULL) : 1);
        cli_describe_results("Errors", json_object_get(results, "errors"),
                             status ? cli_number(status, "errors", NULL) : 1);
    }
    if (spec) { /* of another program's restore the location knows no more than its files */
        printf("\nBackup:  %s\n", cli_text(spec, "backupName", NULL));
        print_filters(spec);
    }
    print_pod_volumes(volumes, details);
    print_snapshots(volumes, details);
    if (spec) {
        print_options(spec);
    }
    print_operations(doc, status, details);
    if (hooks) {
        printf("\nHooksAttempted:   %lld\nHooksFailed:      %lld\n",
               cli_number(hooks, "hooksAttempted", NULL), cli_number(hooks, "hooksFailed", NULL));
    }
    if (details) {
        cli_describe_resources(json_object_get(doc, "resourceList"));
    }
}

static int print_found(const struct cli_args *args, enum cli_format format, json_t *doc)
{
    if (format != CLI_TABLE) {
        return cli_print_value(format, doc);
    }
    cli_plain(doc);
    print_description(doc, cli_flag(args, "details"));
    return CLI_OK;
}

int cli_describe_restore(struct cli_args *args)
{
    enum cli_format format;
    const char *name = args->name_count > 0 ? args->names[0] : NULL;
    vmb_ctx *ctx = NULL;
    vmb_catalog *catalog = NULL;
    json_t *restore = NULL;
    json_t *doc = json_object();
    int result = CLI_USAGE;

    if (!name) {
        cli_error("no restore is named: vmbackup describe restore NAME");
        goto out;
    }
    if (!cli_output_format(args, &format)) {
        goto out;
    }
    result = cli_find_restore(args, name, &ctx, &catalog, &restore);
    if (result == CLI_OK) {
        result = read_files(catalog, name, doc);
    }
    if (result == CLI_OK && !restore && json_is_null(json_object_get(doc, "results"))) {
        cli_error("there is no restore \"%s\" in this storage location%s: \"vmbackup get restores\" "
                  "lists them",
                  name, cli_has_cluster(args) ? " or the cluster" : "");
        result = CLI_FAILED;
    }
    if (result == CLI_OK) {
        restore = restore ? restore : json_pack("{s:{s:s}}", "metadata", "name", name);
        json_object_set(doc, "restore", restore);
        result = print_found(args, format, doc);
    }
out:
    json_decref(restore);
    json_decref(doc);
    vmb_catalog_free(catalog);
    vmb_ctx_unref(ctx);
    return result;
}
