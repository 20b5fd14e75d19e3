/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of "vmbackup describe" that tell of volumes and operations, with Velero's headings. */
#include "cli.h"

#include <string.h>

static const char more[] = "included, specify --details for more information";

/* ---- operations ------------------------------------------------------------------------------ */

/* "plural.group ns/name" of an item, whose keys Velero writes with capitals. */
static void print_item(const json_t *item)
{
    const char *group = cli_text(item, "Group", NULL);

    printf("%s%s%s %s/%s", cli_text(item, "Resource", NULL), *group ? "." : "", group,
           cli_text(item, "Namespace", NULL), cli_text(item, "Name", NULL));
}

static void print_field(const char *title, const char *value)
{
    if (*value) {
        printf("    %-28s%s\n", title, value);
    }
}

void cli_describe_operation(const json_t *operation, const char *action_title,
                            const char *action_key)
{
    static const char *const times[][2] = {
        {"Created:", "created"}, {"Started:", "started"}, {"Updated:", "updated"}};
    const json_t *spec = json_object_get(operation, "spec");
    const json_t *status = json_object_get(operation, "status");
    const json_t *items = json_object_get(spec, "postOperationItems");
    const json_t *item;
    size_t index;
    char text[64];

    printf("  Operation for ");
    print_item(json_object_get(spec, "resourceIdentifier"));
    printf(":\n");
    print_field(action_title, cli_text(spec, action_key, NULL));
    print_field("Operation ID:", cli_text(spec, "operationID", NULL));
    if (json_array_size(items) > 0) {
        printf("    Items to Update:\n");
    }
    json_array_foreach(items, index, item)
    {
        printf("      ");
        print_item(item);
        printf("\n");
    }
    print_field("Phase:", cli_text(status, "phase", NULL));
    print_field("Operation Error:", cli_text(status, "error", NULL));
    if (cli_number(status, "nTotal", NULL) > 0 || cli_number(status, "nCompleted", NULL) > 0) {
        printf("    %-28s%lld of %lld complete (%s)\n",
               "Progress:", cli_number(status, "nCompleted", NULL),
               cli_number(status, "nTotal", NULL), cli_text(status, "operationUnits", NULL));
    }
    print_field("Progress description:", cli_text(status, "description", NULL));
    for (size_t i = 0; i < 3; i++) {
        if (*cli_text(status, times[i][1], NULL)) {
            cli_instant(cli_text(status, times[i][1], NULL), text, sizeof(text));
            print_field(times[i][0], text);
        }
    }
}

void cli_describe_operations(const json_t *doc, bool details)
{
    const json_t *operations = json_object_get(doc, "itemOperations");
    const json_t *status = json_object_get(json_object_get(doc, "backup"), "status");
    long long attempted = cli_number(status, "backupItemOperationsAttempted", NULL);
    const json_t *operation;
    size_t index;

    if (attempted == 0 && json_array_size(operations) == 0) {
        return;
    }
    if (!details) {
        printf("\nBackup Item Operations:  %lld of %lld completed successfully, %lld failed (specify "
               "--details for more information)\n",
               cli_number(status, "backupItemOperationsCompleted", NULL), attempted,
               cli_number(status, "backupItemOperationsFailed", NULL));
        return;
    }
    printf("\nBackup Item Operations:\n");
    json_array_foreach(operations, index, operation)
    {
        cli_describe_operation(operation, "Backup Item Action Plugin:", "backupItemAction");
    }
}

/* ---- volumes --------------------------------------------------------------------------------- */

static bool is_csi(const json_t *volume)
{
    return !strcmp(cli_text(volume, "backupMethod", NULL), "CSISnapshot");
}

static bool is_native(const json_t *volume)
{
    return !strcmp(cli_text(volume, "backupMethod", NULL), "NativeSnapshot");
}

static bool is_skipped(const json_t *volume)
{
    return json_is_true(json_object_get(volume, "skipped"));
}

/* Prints the heading of a section; false when no volume belongs there. */
static bool open_section(const char *title, const json_t *volumes, bool (*wants)(const json_t *))
{
    const json_t *volume;
    size_t index;

    json_array_foreach(volumes, index, volume)
    {
        if (wants(volume)) {
            printf("  %s:\n", title);
            return true;
        }
    }
    return false;
}

static void print_native(const json_t *volume, bool details)
{
    const json_t *info = json_object_get(volume, "nativeSnapshotInfo");

    if (!details) {
        printf("    %s: specify --details for more information\n",
               cli_text(volume, "pvName", NULL));
        return;
    }
    printf("    %s:\n      Snapshot ID:        %s\n      Type:               %s\n"
           "      Availability Zone:  %s\n      IOPS:               %s\n      Result:             "
           "%s\n",
           cli_text(volume, "pvName", NULL), cli_text(info, "snapshotHandle", NULL),
           cli_text(info, "volumeType", NULL), cli_text(info, "volumeAZ", NULL),
           cli_text(info, "iops", NULL), cli_text(volume, "result", NULL));
}

static void print_local(const json_t *volume, bool details)
{
    const json_t *info = json_object_get(volume, "csiSnapshotInfo");

    if (!json_is_true(json_object_get(volume, "preserveLocalSnapshot"))) {
        return;
    }
    if (!details) {
        printf("      Snapshot: %s\n", more);
        return;
    }
    printf("      Snapshot:\n");
    if (!json_is_true(json_object_get(volume, "snapshotDataMoved")) &&
        *cli_text(info, "operationID", NULL)) {
        printf("        Operation ID: %s\n", cli_text(info, "operationID", NULL));
    }
    printf("        Snapshot Content Name: %s\n        Storage Snapshot ID: %s\n"
           "        Snapshot Size (bytes): %lld\n        CSI Driver: %s\n        Result: %s\n",
           cli_text(info, "vscName", NULL), cli_text(info, "snapshotHandle", NULL),
           cli_number(info, "size", NULL), cli_text(info, "driver", NULL),
           cli_text(volume, "result", NULL));
}

static void print_moved(const json_t *volume, bool details)
{
    const json_t *info = json_object_get(volume, "snapshotDataMovementInfo");
    const char *mover = cli_text(info, "dataMover", NULL);

    if (!json_is_true(json_object_get(volume, "snapshotDataMoved"))) {
        return;
    }
    if (!details) {
        printf("      Data Movement: %s\n", more);
        return;
    }
    printf("      Data Movement:\n        Operation ID: %s\n        Data Mover: %s\n"
           "        Uploader Type: %s\n        Moved data Size (bytes): %lld\n",
           cli_text(info, "operationID", NULL), *mover ? mover : "velero",
           cli_text(info, "uploaderType", NULL), cli_number(info, "size", NULL));
    if (cli_number(info, "incrementalSize", NULL) > 0) {
        printf("        Incremental data Size (bytes): %lld\n",
               cli_number(info, "incrementalSize", NULL));
    }
    printf("        Result: %s\n", cli_text(volume, "result", NULL));
}

static void print_csi(const json_t *volume, bool details)
{
    printf("    %s/%s:\n", cli_text(volume, "pvcNamespace", NULL),
           cli_text(volume, "pvcName", NULL));
    print_local(volume, details);
    print_moved(volume, details);
}

/* ---- filesystem backups ------------------------------------------------------------------------ */

static const char *phase_of(const json_t *backup)
{
    const char *phase = cli_text(backup, "status", "phase");

    return !*phase ? "New" : !strcmp(phase, "InProgress") ? "In Progress" : phase;
}

static void print_pod_volume(const json_t *backup)
{
    const json_t *spec = json_object_get(backup, "spec");
    char size[32];

    cli_bytes(cli_number(json_object_get(backup, "status"), "progress", "totalBytes"), size,
              sizeof(size));
    printf("      %s/%s: %s (%s)\n", cli_text(spec, "pod", "namespace"),
           cli_text(spec, "pod", "name"), cli_text(spec, "volume", NULL), size);
}

static void print_pod_phase(const json_t *backups, const char *phase, bool details)
{
    const json_t *backup;
    size_t index;
    size_t count = 0;

    json_array_foreach(backups, index, backup)
    {
        count += !strcmp(phase_of(backup), phase) ? 1 : 0;
    }
    if (count == 0) {
        return;
    }
    if (!details) {
        printf("    %s:  %zu\n", phase, count);
        return;
    }
    printf("    %s:\n", phase);
    json_array_foreach(backups, index, backup)
    {
        if (!strcmp(phase_of(backup), phase)) {
            print_pod_volume(backup);
        }
    }
}

static void print_pod_volumes(const json_t *backups, bool details)
{
    static const char *const phases[] = {"Completed", "Failed",   "Canceled", "In Progress",
                                         "Canceling", "Prepared", "Accepted", "New"};
    const char *uploader = cli_text(json_array_get(backups, 0), "spec", "uploaderType");

    if (json_array_size(backups) == 0) {
        printf("  Pod Volume Backups: <none included>\n");
        return;
    }
    printf("  Pod Volume Backups - %s%s:\n", uploader,
           details ? "" : " (specify --details for more information)");
    for (size_t i = 0; i < sizeof(phases) / sizeof(phases[0]); i++) {
        print_pod_phase(backups, phases[i], details);
    }
}

/* Velero tells of them in its log only. */
static void print_skipped(const json_t *volumes)
{
    const json_t *volume;
    size_t index;

    if (!open_section("Skipped", volumes, is_skipped)) {
        return;
    }
    json_array_foreach(volumes, index, volume)
    {
        const char *claim = cli_text(volume, "pvcName", NULL);

        if (is_skipped(volume)) {
            printf("    %s%s%s: %s\n", *claim ? cli_text(volume, "pvcNamespace", NULL) : "",
                   *claim ? "/" : "", *claim ? claim : cli_text(volume, "pvName", NULL),
                   cli_text(volume, "skippedReason", NULL));
        }
    }
}

void cli_describe_volumes(const json_t *doc, bool details)
{
    static const struct {
        const char *title;
        bool (*wants)(const json_t *);
        void (*print)(const json_t *, bool);
    } sections[] = {{"Velero-Native Snapshots", is_native, print_native},
                    {"CSI Snapshots", is_csi, print_csi}};
    const json_t *volumes = json_object_get(doc, "volumes");
    const json_t *volume;
    size_t index;

    printf("\nBackup Volumes:\n");
    for (size_t i = 0; i < 2; i++) {
        if (!open_section(sections[i].title, volumes, sections[i].wants)) {
            printf("  %s: <none included>\n\n", sections[i].title);
            continue;
        }
        json_array_foreach(volumes, index, volume)
        {
            if (sections[i].wants(volume)) {
                sections[i].print(volume, details);
            }
        }
        printf("\n");
    }
    print_pod_volumes(json_object_get(doc, "podVolumeBackups"), details);
    print_skipped(volumes);
}
