/* SPDX-License-Identifier: Apache-2.0 */
/* vmbackup repo: the commands on repositories. */
#include "repo_cli.h"

#include <stdlib.h>
#include <string.h>

static const struct cli_command commands[] = {
    {"repo init", "", "Make a repository", NULL, cli_repo_init_options, 0, false, cli_repo_init},
    {"repo backup", "PATH… | --disk PATH", "Save files and folders, or a disk, as a snapshot",
     "A block device is saved as a disk. Exit codes: 0 saved, 1 failed, 3 saved without what could "
     "not be read.\n\n"
     "  vmbackup repo -r /srv/repo backup /etc /home --exclude '*.tmp' --tag nightly\n"
     "  vmbackup repo -r s3:http://minio:9000/bucket/vms backup --disk /dev/vg/vm1",
     cli_repo_backup_options, 10000, false, cli_repo_backup},
    {"repo restore", "SNAPSHOT[:/path] --target DIR | --disk FILE|DEVICE",
     "Bring a snapshot back into a folder, or onto a disk",
     "SNAPSHOT is an ID, a unique start of one, or latest.", cli_repo_restore_options, 1, false,
     cli_repo_restore},
    {"repo snapshots", "[SNAPSHOT…]", "List the snapshots", NULL, cli_repo_snapshots_options, 10000,
     false, cli_repo_snapshots},
    {"repo ls", "SNAPSHOT [PATH…]", "List what a snapshot holds", NULL, cli_repo_ls_options, 1000,
     false, cli_repo_ls},
    {"repo find", "PATTERN…", "Find entries by name in the snapshots", NULL, cli_repo_find_options,
     1000, false, cli_repo_find},
    {"repo dump", "SNAPSHOT PATH", "Write a file of a snapshot to standard output", NULL,
     cli_repo_dump_options, 2, false, cli_repo_dump},
    {"repo check", "", "Check the repository for errors", NULL, cli_repo_check_options, 0, false,
     cli_repo_check},
    {"repo forget", "[SNAPSHOT…]", "Remove snapshots by ID, or by what to keep",
     "  vmbackup repo -r /srv/repo forget --keep-daily 7 --keep-weekly 5 --prune",
     cli_repo_forget_options, 10000, false, cli_repo_forget},
    {"repo prune", "", "Drop data that no snapshot needs", NULL, cli_repo_prune_options, 0, false,
     cli_repo_prune},
    {"repo copy", "--from-repo REPO [SNAPSHOT…]", "Copy snapshots from another repository", NULL,
     cli_repo_copy_options, 10000, false, cli_repo_copy},
    {"repo stats", "[SNAPSHOT…]", "Count what snapshots hold", NULL, cli_repo_stats_options, 10000,
     false, cli_repo_stats},
    {"repo key", "list | add | remove ID | passwd", "Manage the passwords", NULL,
     cli_repo_key_options, 2, false, cli_repo_key},
    {"repo unlock", "", "Remove stale locks", NULL, cli_repo_unlock_options, 0, false,
     cli_repo_unlock},
    {"repo mount", "SNAPSHOT[:/path]", "Serve a disk of a snapshot over NBD", NULL,
     cli_repo_mount_options, 1, false, cli_repo_mount},
};
enum { COMMAND_COUNT = sizeof(commands) / sizeof(commands[0]) };

/* The name behind "repo ". */
static const char *short_name(const struct cli_command *command)
{
    return command->name + 5;
}

static void print_help(FILE *out)
{
    fprintf(out, "Work with repositories in the format of restic.\n\nUsage:\n"
                 "  vmbackup repo [-r REPOSITORY] COMMAND [flags]\n\nCommands:\n");
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        fprintf(out, "  %-10s %s\n", short_name(&commands[i]), commands[i].summary);
    }
    fprintf(out,
            "\nREPOSITORY is a folder or s3:http://host:port/bucket/prefix; without it "
            "VMBACKUP_REPOSITORY\nor RESTIC_REPOSITORY names it. \"vmbackup repo COMMAND --help\" "
            "shows a command's flags.\nExit codes: 0 done, 1 failed, 2 usage, 3 some of the source "
            "was not read, 10 no repository,\n11 locked, 12 wrong password, 130 interrupted.\n");
}

static const struct cli_command *find(const char *name)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (!strcmp(short_name(&commands[i]), name)) {
            return &commands[i];
        }
    }
    return NULL;
}

static int unknown_command(const char *word)
{
    const char *names[COMMAND_COUNT];
    const char *near;

    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        names[i] = short_name(&commands[i]);
    }
    near = cli_nearest(word, names, COMMAND_COUNT);
    if (near) {
        cli_error("unknown command \"repo %s\": did you mean \"repo %s\"?", word, near);
    } else {
        cli_error("unknown command \"repo %s\": \"vmbackup repo --help\" lists the commands", word);
    }
    return CLI_USAGE;
}

/* Does the flag take the next word as its value? Only flags of all commands stand before one. */
static bool takes_value(const char *word)
{
    const struct cli_option *const all[] = {cli_repo_options, cli_common_options};

    for (size_t t = 0; t < 2; t++) {
        for (const struct cli_option *o = all[t]; o->name; o++) {
            if ((word[1] == '-' && !strcmp(word + 2, o->name)) ||
                (word[1] != '-' && word[1] == o->letter && o->letter && !word[2])) {
                return o->kind != CLI_BOOL;
            }
        }
    }
    return false;
}

/* Position of the command in argv; argc when there is none. */
static int command_at(int argc, char **argv)
{
    int i = 1;

    while (i < argc && argv[i][0] == '-') {
        i += takes_value(argv[i]) ? 2 : 1;
    }
    return i;
}

int cli_repo(int argc, char **argv)
{
    int at = command_at(argc, argv);
    const struct cli_command *command;
    struct cli_args args = {0};
    char **words;
    bool done;
    int count = 0;
    int result;

    if (at >= argc) {
        bool help = argc > 1 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"));

        print_help(help ? stdout : stderr);
        return help ? CLI_OK : CLI_USAGE;
    }
    command = find(argv[at]);
    if (!strcmp(argv[at], "help")) {
        print_help(stdout);
        return CLI_OK;
    }
    if (!command) {
        return unknown_command(argv[at]);
    }
    words = calloc((size_t)argc + 1, sizeof(*words));
    if (!words) {
        cli_error("out of memory");
        return CLI_FAILED;
    }
    for (int i = 1; i < argc; i++) { /* all but the command's name */
        if (i != at) {
            words[count++] = argv[i];
        }
    }
    result = cli_parse(command, count, words, &args, &done);
    if (!done) {
        result = command->run(&args);
    }
    cli_args_free(&args);
    free(words);
    return result;
}
