/* SPDX-License-Identifier: Apache-2.0 */
/* vmbackup: backs up virtual machines on Kubernetes from the command line. */
#include "cli.h"

#include <malloc.h>
#include <signal.h>
#include <string.h>

static const struct cli_command commands[] = {
    {"backup", "[create] [NAME] [-f FILE]", "Run a backup and wait for its end",
     "The Backup comes from a file, from flags with Velero's names, or from both: flags replace "
     "the\nfile's fields. Exit codes: 0 Completed, 1 failed, 2 usage, 3 PartiallyFailed.\n\n"
     "  vmbackup backup -f backup.yaml\n"
     "  vmbackup backup create nightly --include-namespaces shop -l app=db\n"
     "  vmbackup backup create demo --cluster-dir manifests/ --store-dir /srv/backups",
     cli_backup_options, 1, false, cli_backup},
    {"restore", "[create] [NAME] --from-backup BACKUP", "Restore a backup and wait for its end",
     "The Restore comes from flags with Velero's names, from a file, or from both. Exit codes: 0 "
     "Completed,\n1 failed, 2 usage, 3 PartiallyFailed.\n\n"
     "  vmbackup restore create --from-backup nightly\n"
     "  vmbackup restore create copy --from-backup nightly --namespace-mappings shop:shop-copy",
     cli_restore_options, 1, false, cli_restore},
    {"get", "[backups] [NAME]", "List the backups of a storage location",
     "Other lists: get restores, get schedules, get locations, get snapshot-locations.",
     cli_describe_options + 1, 1, false, cli_get},
    {"get restores", "[NAME]", "List the restores",
     "Restores are objects in the cluster. Those of this program also leave a record in the storage "
     "location\nof their backup, and are listed without a cluster, too.",
     cli_describe_options + 1, 1, false, cli_get_restores},
    {"get schedules", "[NAME]", "List the schedules of the cluster", NULL, cli_no_options, 1, false,
     cli_get_schedules},
    {"get snapshot-locations", "[NAME]", "List the volume snapshot locations of the cluster",
     "They choose where Velero's snapshot plugins work. Snapshots of this program are taken through "
     "CSI,\nwhich needs none.",
     cli_no_options, 1, false, cli_get_snapshot_locations},
    {"describe", "[backup] NAME", "Show one backup: what was asked, what was stored, what went wrong",
     "Others: describe restore NAME, describe schedule NAME.", cli_describe_options, 1, false,
     cli_describe},
    {"describe restore", "NAME", "Show one restore: what was asked, what was done, what went wrong",
     NULL, cli_describe_options, 1, false, cli_describe_restore},
    {"describe schedule", "NAME", "Show one schedule of the cluster and its template", NULL,
     cli_no_options, 1, false, cli_describe_schedule},
    {"logs", "[backup] NAME", "Print the log of a backup", NULL, cli_describe_options + 1, 1, false,
     cli_logs},
    {"logs restore", "NAME", "Print the log of a restore", NULL, cli_describe_options + 1, 1, false,
     cli_restore_logs},
    {"download", "NAME", "Save the archive of a backup", NULL, cli_download_options, 1, false,
     cli_download},
    {"delete", "backup NAME", "Delete a backup with its snapshots, volume data and restores",
     "The backup disappears from listings first. CSI snapshots are deleted through the cluster: "
     "with\nlocations from files, name it with --kubeconfig.",
     cli_delete_options, 1, false, cli_delete},
    {"verify", "NAME", "Read a backup and tell whether it is whole", NULL, cli_verify_options, 1,
     false, cli_verify},
    {"copy", "NAME --to LOCATION", "Copy a backup into another storage location", NULL,
     cli_copy_options, 1, false, cli_copy},
    {"diff", "FIRST SECOND", "Show what differs between two backups", NULL, cli_diff_options, 2,
     false, cli_diff},
    {"gc", "", "Delete expired backups and what unfinished deletions left", NULL, cli_gc_options,
     0, false, cli_gc},
    {"schedule next", "EXPRESSION", "Show when a cron expression is due", NULL,
     cli_schedule_options, 1, true, cli_schedule_next},
    {"location get", "", "List the storage locations", NULL, cli_location_options, 1, false,
     cli_location_get},
    {"validate", "-f FILE", "Check a Backup file without a cluster and show every problem", NULL,
     cli_validate_options, 0, true, cli_validate},
    {"version", "", "Print the versions of program and library", NULL, cli_no_options, 0, true,
     cli_version},
};
enum { COMMAND_COUNT = sizeof(commands) / sizeof(commands[0]) };

/* Other spellings: those of the velero command. */
static const struct {
    const char *first;
    const char *second;
    const char *command;
} spellings[] = {
    {"backup", "create", "backup"},
    {"create", "backup", "backup"},
    {"restore", "create", "restore"},
    {"create", "restore", "restore"},
    {"backup", "get", "get"},
    {"backup", "describe", "describe"},
    {"backup", "logs", "logs"},
    {"backup", "download", "download"},
    {"backup", "delete", "delete"},
    {"delete", "backup", "delete"},
    {"schedule", "next", "schedule next"},
    {"get", "backups", "get"},
    {"get", "backup", "get"},
    {"describe", "backup", "describe"},
    {"describe", "backups", "describe"},
    {"logs", "backup", "logs"},
    {"get", "restores", "get restores"},
    {"get", "restore", "get restores"},
    {"restore", "get", "get restores"},
    {"describe", "restore", "describe restore"},
    {"describe", "restores", "describe restore"},
    {"restore", "describe", "describe restore"},
    {"logs", "restore", "logs restore"},
    {"restore", "logs", "logs restore"},
    {"get", "schedules", "get schedules"},
    {"get", "schedule", "get schedules"},
    {"schedule", "get", "get schedules"},
    {"describe", "schedule", "describe schedule"},
    {"describe", "schedules", "describe schedule"},
    {"schedule", "describe", "describe schedule"},
    {"get", "locations", "location get"},
    {"get", "location", "location get"},
    {"get", "backup-locations", "location get"},
    {"location", "get", "location get"},
    {"backup-location", "get", "location get"},
    {"get", "snapshot-locations", "get snapshot-locations"},
    {"get", "snapshot-location", "get snapshot-locations"},
    {"snapshot-location", "get", "get snapshot-locations"},
};

static void print_help(FILE *out)
{
    fprintf(out, "vmbackup backs up virtual machines on Kubernetes (KubeVirt), in the formats of "
                 "Velero.\n\nUsage:\n  vmbackup COMMAND [flags]\n\nCommands:\n");
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        fprintf(out, "  %-24s %s\n", commands[i].name, commands[i].summary);
    }
    fprintf(out, "  %-24s %s\n", "repo", "Work with repositories in the format of restic");
    fprintf(out, "\n\"vmbackup COMMAND --help\" shows a command's flags.\n");
}

static const struct cli_command *command_named(const char *name)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (!strcmp(commands[i].name, name)) {
            return &commands[i];
        }
    }
    return NULL;
}

/* Finds the command that argv starts with; *words is how many words name it. */
static const struct cli_command *find_command(int argc, char **argv, int *words)
{
    for (size_t i = 0; argc > 1 && i < sizeof(spellings) / sizeof(spellings[0]); i++) {
        if (!strcmp(argv[0], spellings[i].first) && !strcmp(argv[1], spellings[i].second)) {
            *words = 2;
            return command_named(spellings[i].command);
        }
        /* "vmbackup location --help" */
        if (!strcmp(argv[0], spellings[i].first) && !command_named(argv[0]) &&
            (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))) {
            *words = 1;
            return command_named(spellings[i].command);
        }
    }
    *words = 1;
    return command_named(argv[0]);
}

static int unknown_command(const char *word)
{
    const char *names[COMMAND_COUNT];
    const char *near;

    if (!strcmp(word, "location") || !strcmp(word, "backup-location")) {
        cli_error("\"%s\" needs a verb: vmbackup location get", word);
        return CLI_USAGE;
    }
    if (!strcmp(word, "schedule")) {
        cli_error("\"schedule\" needs a verb: vmbackup schedule get, schedule describe NAME or "
                  "schedule next EXPRESSION");
        return CLI_USAGE;
    }
    if (!strcmp(word, "snapshot-location")) {
        cli_error("\"snapshot-location\" needs a verb: vmbackup snapshot-location get");
        return CLI_USAGE;
    }
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        names[i] = commands[i].name;
    }
    near = cli_nearest(word, names, COMMAND_COUNT);
    if (near) {
        cli_error("unknown command \"%s\": did you mean \"%s\"?", word, near);
    } else {
        cli_error("unknown command \"%s\": \"vmbackup --help\" lists the commands", word);
    }
    return CLI_USAGE;
}

int cli_version(struct cli_args *args)
{
    static const char *const features[] = {"cluster.kube", "cluster.dir", "exec.kube",
                                           "snapshot.csi", "repo.restic", "store.s3",
                                           "store.libs3",  "store.dir"};

    (void)args; /* takes none */
    printf("vmbackup %s (library %s)\nfeatures:", CLI_VERSION, vmb_version_string());
    for (size_t i = 0; i < sizeof(features) / sizeof(features[0]); i++) {
        if (vmb_has_feature(features[i])) {
            printf(" %s", features[i]);
        }
    }
    printf("\n");
    return CLI_OK;
}

int main(int argc, char **argv)
{
    const struct cli_command *command;
    struct cli_args args;
    bool done;
    int words;
    int result;

    /* a closed pipe ("vmbackup logs x | head") ends in a write error, not in a signal that would
     * leave a guest frozen */
    signal(SIGPIPE, SIG_IGN);
    if (argc < 2) {
        print_help(stderr);
        return CLI_USAGE;
    }
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
        print_help(stdout);
        return CLI_OK;
    }
    if (!strcmp(argv[1], "--version")) {
        return cli_version(NULL);
    }
    if (!strcmp(argv[1], "repo")) {
        /* buffers of this size come and go: glibc would learn to keep them on its heaps */
        mallopt(M_MMAP_THRESHOLD, 256 * 1024);
        result = cli_repo(argc - 1, argv + 1);
        if (fflush(stdout) != 0 && result == CLI_OK) {
            cli_error("standard output: the write failed");
            result = CLI_FAILED;
        }
        return result;
    }
    command = find_command(argc - 1, argv + 1, &words);
    if (!command) {
        return unknown_command(argv[1]);
    }
    result = cli_parse(command, argc - 1 - words, argv + 1 + words, &args, &done);
    if (!done) {
        result = command->run(&args);
    }
    cli_args_free(&args);
    if (fflush(stdout) != 0 && result == CLI_OK) {
        cli_error("standard output: the write failed");
        result = CLI_FAILED;
    }
    return result;
}
